package fncache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/structtag"
)

// A signature is the type of a function that can be cached, taken apart once,
// when wrapping.
type signature struct {
	typ      reflect.Type
	hasCtx   bool           // the first parameter is a context.Context
	params   []reflect.Type // without the context; the last is a slice if variadic
	variadic bool
	results  []reflect.Type // without the error
	hasErr   bool           // the last result is an error
	plans    *resultPlans   // how the results are encoded
	varies   bool           // what Options.Vary answers is part of the key too
}

var (
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
	timeType    = reflect.TypeFor[time.Time]()
)

// newSignature takes a func type apart. lossy is Options.Lossy. The error joins what is
// wrong with each parameter and result; the signature comes with it all the same.
func newSignature(t reflect.Type, lossy bool) (*signature, error) {
	s := &signature{typ: t, variadic: t.IsVariadic()}
	var faults []error
	for i := range t.NumIn() {
		in := t.In(i)
		if i == 0 && in == contextType {
			s.hasCtx = true
			continue
		}
		s.params = append(s.params, in)
		faults = append(faults, paramFaults(s.place(len(s.params)-1), in)...)
	}
	for i := range t.NumOut() {
		out := t.Out(i)
		if i == t.NumOut()-1 && out == errorType {
			s.hasErr = true
			continue
		}
		if i == t.NumOut()-1 && out.Kind() != reflect.Interface && out.Implements(errorType) {
			// Else "not found" would be stored and served as a value.
			faults = append(faults, fmt.Errorf("result %d: %v is an error that would be stored like a value; declare the result as error", i+1, out))
		}
		s.results = append(s.results, out)
	}
	var lost error
	s.plans, lost = newResultPlans(s.results, lossy)
	faults = append(faults, lost)
	if len(s.results) == 0 {
		faults = append(faults, errors.New("it has no result to cache; return a value besides the error"))
	}
	return s, errors.Join(faults...)
}

// takesContext reports whether the first parameter of a func type is a context.
func takesContext(t reflect.Type) bool { return t.NumIn() > 0 && t.In(0) == contextType }

// returnsError says whether the last result of a func type is an error.
func returnsError(t reflect.Type) bool {
	last := t.NumOut() - 1
	return last >= 0 && t.Out(last) == errorType
}

// String gives the type as Go writes it.
func (s *signature) String() string { return s.typ.String() }

// place names parameter i of the function, of those without the context, for errors.
func (s *signature) place(i int) string {
	if s.hasCtx {
		i++
	}
	return fmt.Sprintf("parameter %d", i+1)
}

// paramFaults returns why values of t cannot be part of a key.
func paramFaults(place string, t reflect.Type) []error {
	w := typeWalk{place: place, root: t}
	w.param(t, "")
	return w.faults
}

// A typeWalk goes through the parts of a parameter's type.
type typeWalk struct {
	place  string // "parameter 2"
	root   reflect.Type
	above  []reflect.Type // the types that the walk is inside of
	faults []error
}

// refuse notes a fault of the part at path, which is "" for the root.
func (w *typeWalk) refuse(t reflect.Type, path, what, remedy string) {
	where := t.String()
	if path != "" {
		where = fmt.Sprintf("%v%s (%v)", w.root, path, t)
	}
	w.faults = append(w.faults, fmt.Errorf("%s: %s %s; %s", w.place, where, what, remedy))
}

// enter walks into a type, unless it contains itself.
func (w *typeWalk) enter(t reflect.Type, path string, walk func()) {
	if slices.Contains(w.above, t) {
		w.refuse(t, path, "contains itself", "use a type without recursion, or give the type MarshalBinary and UnmarshalBinary")
		return
	}
	w.above = append(w.above, t)
	walk()
	w.above = w.above[:len(w.above)-1]
}

// paramRemedies say what to do about the kinds that cannot be part of a key.
var paramRemedies = map[reflect.Kind]string{
	reflect.Pointer:       "pass what it points to by value",
	reflect.Chan:          "pass its id instead",
	reflect.Func:          "pass what it depends on instead",
	reflect.UnsafePointer: "pass what it points to by value",
	reflect.Uintptr:       "pass a uint64 if it is a number",
	reflect.Complex64:     "pass its parts as two floats",
	reflect.Complex128:    "pass its parts as two floats",
	reflect.Interface:     "use a concrete type: in an interface 1, int64(1) and true hash alike",
}

func (w *typeWalk) refuseParam(t reflect.Type, path string) {
	remedy := paramRemedies[t.Kind()]
	if t == contextType {
		remedy = "make it the first parameter"
	}
	for _, outer := range w.above {
		if method := keyhash.MethodOf(outer); method != keyhash.None {
			remedy += fmt.Sprintf(", or what the %v of %v returns", method, outer)
			break
		}
	}
	w.refuse(t, path, "cannot be part of a key", remedy)
}

// param checks a type whose values are to be hashed (see package keyhash for how).
func (w *typeWalk) param(t reflect.Type, path string) {
	if t == timeType {
		return
	}
	if paramRemedies[t.Kind()] != "" {
		w.refuseParam(t, path)
		return
	}
	if encoding := keyhash.EncodingOf(t); encoding != keyhash.None {
		w.encodedParam(t, path, encoding)
		return
	}
	for _, hook := range hashHooks {
		if t.Implements(hook) || reflect.PointerTo(t).Implements(hook) {
			w.refuse(t, path, "has a method "+hook.Method(0).Name+", by which it has its own idea of its hash",
				"use a type without it: such a hash has 64 bits and no key, and is not asked for")
			return
		}
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		w.enter(t, path, func() { w.param(t.Elem(), path+"[]") })
	case reflect.Map:
		w.mapKey(t.Key(), path+"[key]")
		w.enter(t, path, func() {
			w.param(t.Key(), path+"[key]")
			w.param(t.Elem(), path+"[]")
		})
	case reflect.Struct:
		w.enter(t, path, func() {
			for field := range t.Fields() {
				w.paramField(t, field, path)
			}
		})
	}
}

// encodedParam checks a type that is hashed by its encoding.
func (w *typeWalk) encodedParam(t reflect.Type, path string, encoding keyhash.Encoding) {
	if fields := keyhash.Fields(t); len(fields) > 1 && promotedMethod(t, encoding) {
		w.refuse(t, path, fmt.Sprintf("has its %v from an embedded field, and the other fields would be no part of the key", encoding),
			"name the embedded field, or give the struct an encoding of its own")
	}
}

// promotedMethod reports whether the encoding of a struct is that of an embedded field.
func promotedMethod(t reflect.Type, encoding keyhash.Encoding) bool {
	method, ok := methodOf(t, encoding)
	if !ok {
		method, ok = methodOf(reflect.PointerTo(t), encoding)
	}
	return ok && t.Kind() == reflect.Struct && codec.WrittenByCompiler(method)
}

// methodOf looks up an encoding. The names are constants where they are looked up: else
// the linker would keep every exported method of a program.
func methodOf(t reflect.Type, encoding keyhash.Encoding) (reflect.Method, bool) {
	switch encoding {
	case keyhash.MarshalBinary:
		return t.MethodByName("MarshalBinary")
	case keyhash.MarshalText:
		return t.MethodByName("MarshalText")
	default:
		return reflect.Method{}, false
	}
}

// hashHooks are the interfaces of hashstructure by which a type decides about
// its hash itself.
var hashHooks = []reflect.Type{
	reflect.TypeFor[interface{ Hash() (uint64, error) }](),
	reflect.TypeFor[interface {
		HashInclude(field string, v any) (bool, error)
	}](),
	reflect.TypeFor[interface {
		HashIncludeMap(field string, k, v any) (bool, error)
	}](),
}

func (w *typeWalk) paramField(t reflect.Type, field reflect.StructField, path string) {
	path += "." + field.Name
	tag := field.Tag.Get(structtag.Key)
	switch {
	case keyhash.Ignored(field):
	case structtag.Unreadable(field.Tag):
		w.refuse(field.Type, path, fmt.Sprintf("has the tag `%s`, from which nothing can be read", field.Tag), "write it as in `fncache:\"-\"`")
	case tag != "":
		w.refuse(field.Type, path, fmt.Sprintf("is tagged `fncache:%q`, which means nothing in a parameter", tag),
			`only "-" does: it leaves the field out of the key`)
	case field.Name == "_":
	case !field.IsExported():
		w.refuse(field.Type, path, "is unexported, so all its values would share one entry",
			fmt.Sprintf(`export it, tag it fncache:"-" to leave it out of the key, or give %v a MarshalBinary or MarshalText`, t))
	default:
		w.param(field.Type, path)
	}
}

// mapKey refuses, in the key of a map, types of which it is known that two keys can be
// the same argument: then two maps that differ would be. Of other types, those with an
// encoding among them, the hash of a map finds out (see package keyhash).
func (w *typeWalk) mapKey(t reflect.Type, path string) {
	switch {
	case t == timeType:
		w.refuse(t, path, "cannot be part of a map's key: two times of one instant can be two keys (one has a monotonic reading, or another Location) and hash alike",
			"use its UnixNano as the key, or a slice of pairs")
	case keyhash.Opaque(t):
	case t.Kind() == reflect.Array:
		w.mapKey(t.Elem(), path+"[]")
	case t.Kind() == reflect.Struct:
		for field := range t.Fields() {
			switch inner := path + "." + field.Name; {
			case !keyhash.Ignored(field):
				w.mapKey(field.Type, inner)
			case field.Name != "_": // which == ignores too
				w.refuse(field.Type, inner, "is left out of a map's key by its tag: keys that differ only in it hash alike", "use other keys, or a slice of pairs")
			}
		}
	}
}

// arguments makes the arguments of a call of what a handle's method was given:
// without the context, variadic ones as in a call or as their slice. Values are
// converted where nothing is lost. The error does not show them.
func (s *signature) arguments(args []any) ([]reflect.Value, error) {
	fixed := len(s.params)
	if s.variadic {
		fixed--
	}
	if len(args) < fixed || len(args) > fixed && !s.variadic {
		return nil, s.wrongCount(len(args), fixed)
	}
	values := make([]reflect.Value, len(s.params))
	for i, arg := range args[:fixed] {
		v, ok := lossless(reflect.ValueOf(arg), s.params[i])
		if !ok {
			return nil, s.wrongType(i, arg, s.params[i])
		}
		values[i] = v
	}
	if !s.variadic {
		return values, nil
	}
	rest, err := s.pack(args[fixed:], fixed)
	values[fixed] = rest
	return values, err
}

// pack makes the slice of the variadic arguments, the first of which is the one
// at position first.
func (s *signature) pack(args []any, first int) (reflect.Value, error) {
	t := s.params[first]
	if len(args) == 1 && args[0] != nil && reflect.TypeOf(args[0]).AssignableTo(t) {
		return reflect.ValueOf(args[0]).Convert(t), nil
	}
	slice := reflect.MakeSlice(t, 0, len(args))
	for i, arg := range args {
		v, ok := lossless(reflect.ValueOf(arg), t.Elem())
		if !ok {
			return slice, s.wrongType(first+i, arg, t.Elem())
		}
		slice = reflect.Append(slice, v)
	}
	return slice, nil
}

func (s *signature) wrongCount(given, fixed int) error {
	want, hint := fmt.Sprint(fixed), ""
	if s.variadic {
		want = "at least " + want
	}
	if s.hasCtx {
		hint = ", without the context"
	}
	return fmt.Errorf("%d arguments given, %s wanted%s: the function is %v", given, want, hint, s)
}

func (s *signature) wrongType(i int, arg any, want reflect.Type) error {
	if _, isCtx := arg.(context.Context); isCtx && s.hasCtx {
		return fmt.Errorf("argument %d is a context; leave it out: the function is %v", i+1, s)
	}
	given := "nil"
	if arg != nil {
		given = reflect.TypeOf(arg).String()
	}
	return fmt.Errorf("argument %d, of type %s, does not convert to %v without loss: the function is %v", i+1, given, want, s)
}

// lossless converts v to t if its value stays what it is: to another name for
// the type, or to another kind of number that can hold it.
func lossless(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	switch {
	case !v.IsValid(): // a nil without a type
		nilable := t.Kind() == reflect.Slice || t.Kind() == reflect.Map
		return reflect.Zero(t), nilable
	case v.Type() == t:
		return v, true
	case isNumber(v.Kind()) && isNumber(t.Kind()):
		return losslessNumber(v, t)
	case v.Kind() == t.Kind() && v.CanConvert(t):
		return v.Convert(t), true
	default:
		return v, false
	}
}

func isNumber(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// losslessNumber converts there and back, and watches the sign: all bits of a
// negative integer fit an unsigned one, and come back. Between floats and
// integers it goes no further than where floats are exact: past the range of the
// integer, what comes out depends on the processor.
func losslessNumber(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	there := v.Convert(t)
	if v.CanFloat() && math.IsNaN(v.Float()) {
		return there, there.CanFloat()
	}
	if v.CanFloat() != there.CanFloat() {
		float := v
		if there.CanFloat() {
			float = there
		}
		if math.Abs(float.Float()) > 1<<53 {
			return there, false
		}
	}
	return there, there.Convert(v.Type()).Equal(v) && negative(there) == negative(v)
}

func negative(v reflect.Value) bool {
	switch {
	case v.CanInt():
		return v.Int() < 0
	case v.CanFloat():
		return v.Float() < 0
	default:
		return false
	}
}
