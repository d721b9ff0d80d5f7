package deepcopy

import (
	"math/big"
	"reflect"

	"github.com/fncache/fncache/internal/keyhash"
)

// A computation outlives a caller that cancels, and reads the arguments while that caller may
// already write the next ones into its slice. Then a value would be stored under a wrong key.
// So a flight works on copies.

// bigNumbers are the types of math/big, each with its copier. Assigned values share their
// digits, and their methods write into those. (References in unexported fields of other types
// are shared: only their packages know what they are.)
var bigNumbers = map[reflect.Type]func(to, from any){
	reflect.TypeFor[big.Int]():   func(to, from any) { to.(*big.Int).Set(from.(*big.Int)) },
	reflect.TypeFor[big.Rat]():   func(to, from any) { to.(*big.Rat).Set(from.(*big.Rat)) },
	reflect.TypeFor[big.Float](): func(to, from any) { to.(*big.Float).Copy(from.(*big.Float)) },
}

// Shares reports whether arguments of type t share memory when they are assigned: through
// slices, maps, and numbers of math/big. A parameter can have no other references.
func Shares(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return true
	case reflect.Array:
		return Shares(t.Elem())
	case reflect.Struct:
		if bigNumbers[t] != nil {
			return true
		}
		for field := range t.Fields() {
			// An ignored field may refer to anything; the caller is responsible for it.
			if field.IsExported() && !keyhash.Ignored(field) && Shares(field.Type) {
				return true
			}
		}
		return false
	default:
		return false
	}
}

// Arguments returns copies of the arguments of a call.
func Arguments(args []reflect.Value) []reflect.Value {
	copies := make([]reflect.Value, len(args))
	for i, arg := range args {
		copies[i] = Argument(arg)
	}
	return copies
}

// Argument returns a copy of an argument: v itself if it shares nothing.
func Argument(v reflect.Value) reflect.Value {
	if !Shares(v.Type()) {
		return v
	}
	fresh := reflect.New(v.Type()).Elem()
	if copyNumber := bigNumbers[v.Type()]; copyNumber != nil {
		from := reflect.New(v.Type())
		from.Elem().Set(v)
		copyNumber(fresh.Addr().Interface(), from.Interface()) // into a number without digits
		return fresh
	}
	fresh.Set(v)
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		fresh.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		reflect.Copy(fresh, v)
		copyElements(fresh)
	case reflect.Array:
		copyElements(fresh)
	case reflect.Map:
		if v.IsNil() {
			break
		}
		fresh.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for entry := v.MapRange(); entry.Next(); {
			fresh.SetMapIndex(entry.Key(), Argument(entry.Value()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && !keyhash.Ignored(field) {
				fresh.Field(i).Set(Argument(v.Field(i)))
			}
		}
	}
	return fresh
}

// copyElements copies the elements of a slice or array in place.
func copyElements(v reflect.Value) {
	if !Shares(v.Type().Elem()) {
		return
	}
	for i := range v.Len() {
		v.Index(i).Set(Argument(v.Index(i)))
	}
}
