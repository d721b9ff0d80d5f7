package signature

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/structtag"
)

var timeType = reflect.TypeFor[time.Time]()

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
			w.refuse(t, path, "has a method "+hook.Method(0).Name+", by which it defines its own hash",
				"use a type without it: such a hash has 64 bits and no key, so it is not used")
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

// methodOf looks up an encoding. The names are constants at the lookup. Otherwise the linker
// would keep every exported method of a program.
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

// hashHooks are the interfaces of hashstructure by which a type defines its own hash.
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
		w.refuse(field.Type, path, fmt.Sprintf("has the tag `%s`, which Go cannot read", field.Tag), "write it as in `fncache:\"-\"`")
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

// mapKey refuses types of map keys if two different keys can be the same argument, because two
// different maps would then be the same argument too. For other types, such as those with an
// encoding, the hash of a map checks this at each call (see package keyhash).
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
			case field.Name != "_": // == ignores it too
				w.refuse(field.Type, inner, "is left out of a map's key by its tag: keys that differ only in it hash alike", "use other keys, or a slice of pairs")
			}
		}
	}
}
