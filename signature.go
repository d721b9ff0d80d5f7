package fncache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/keyhash"
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
}

var (
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
	timeType    = reflect.TypeFor[time.Time]()
)

// newSignature takes a func type apart. The error joins what is wrong with each
// parameter and result; the signature comes with it all the same.
func newSignature(t reflect.Type) (*signature, error) {
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
		faults = append(faults, resultFaults(fmt.Sprintf("result %d", i+1), out)...)
	}
	if len(s.results) == 0 {
		faults = append(faults, errors.New("it has no result to cache; return a value besides the error"))
	}
	return s, errors.Join(faults...)
}

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

// resultFaults says why values of t do not come back from the default codec.
func resultFaults(place string, t reflect.Type) []error {
	w := typeWalk{place: place, root: t, rules: &cborRules}
	w.result(t, "")
	return w.faults
}

// A typeWalk goes through the parts of a parameter's or result's type.
type typeWalk struct {
	place  string // "parameter 2"
	root   reflect.Type
	rules  *typeRules     // of the codec; for results only
	loose  bool           // the value is in a map, and has no address
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
		if w.rules != nil && w.rules.recursive {
			return
		}
		w.refuse(t, path, "contains itself", "use a type without recursion, or give the type MarshalBinary and UnmarshalBinary")
		return
	}
	w.above = append(w.above, t)
	walk()
	w.above = w.above[:len(w.above)-1]
}

// addressKinds are kinds whose values are addresses.
var addressKinds = []reflect.Kind{
	reflect.Pointer, reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Interface,
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
	return ok && t.Kind() == reflect.Struct && written(method)
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
	tag := field.Tag.Get("fncache")
	switch {
	case keyhash.Ignored(field):
	case unreadable(field.Tag):
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

// promoted says that a struct's encoding is that of an embedded field. Reflection
// does not tell a promoted method from a declared one, but the compiler writes
// the former itself, and the file it then names is no file.
func promoted(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	method, ok := encodingMethod(t)
	if !ok {
		method, ok = encodingMethod(reflect.PointerTo(t))
	}
	return ok && written(method)
}

// written says that the compiler wrote a method.
func written(method reflect.Method) bool {
	file, _ := runtime.FuncForPC(method.Func.Pointer()).FileLine(method.Func.Pointer())
	return file == autogenerated
}

// encodingMethod is the method that encodes values of t. The names are constants
// where they are looked up: else the linker would keep every exported method of a
// program.
func encodingMethod(t reflect.Type) (method reflect.Method, ok bool) {
	switch {
	case t.Implements(cborMarshaler):
		return t.MethodByName("MarshalCBOR")
	case t.Implements(binaryMarshaler):
		return t.MethodByName("MarshalBinary")
	case t.Implements(textMarshaler):
		return t.MethodByName("MarshalText")
	}
	return reflect.Method{}, false
}

// A marshaling is a pair of interfaces by which the codec has a type encode
// itself. The methods may be the pointer's.
type marshaling struct {
	encodeName, decodeName string
	encode, decode         reflect.Type
	// mistaken says that what a type without encode is encoded as would be
	// given to its decode, which knows nothing of it.
	mistaken func(reflect.Type) bool
}

// marshalings in the order in which the codec prefers them.
var marshalings = []marshaling{
	{"MarshalCBOR", "UnmarshalCBOR", cborMarshaler, cborUnmarshaler, func(reflect.Type) bool { return true }},
	{"MarshalBinary", "UnmarshalBinary", binaryMarshaler, binaryUnmarshaler, func(t reflect.Type) bool {
		return (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8
	}},
	{"MarshalText", "UnmarshalText", textMarshaler, textUnmarshaler, func(t reflect.Type) bool { return t.Kind() == reflect.String }},
}

// marshalingOf gives how a type encodes itself by the default codec; nil if that
// does it field by field.
func marshalingOf(t reflect.Type) *marshaling { return cborRules.marshalingOf(t) }

// typeRules are how a codec deals with types.
type typeRules struct {
	native      []reflect.Type // that it knows by themselves
	marshalings []marshaling   // in the order in which it prefers them
	promoted    func(reflect.Type) bool
	tag         func(reflect.StructField) string // that it reads
	remedy      string                           // the methods that help
	recursive   bool                             // types may contain themselves
	// strictKeys has it see to the keys of maps, and to methods of pointers to
	// what is in maps.
	strictKeys func(reflect.Type) bool
}

var cborRules = typeRules{
	native:      []reflect.Type{timeType, reflect.TypeFor[big.Int]()},
	marshalings: marshalings,
	promoted:    promoted,
	tag:         fieldTag,
	remedy:      "MarshalBinary and UnmarshalBinary",
}

func (r *typeRules) marshalingOf(t reflect.Type) *marshaling {
	for i, m := range r.marshalings {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m.encode) {
			return &r.marshalings[i]
		}
	}
	return nil
}

func (r *typeRules) storedFields(t reflect.Type) []reflect.StructField {
	return storedFieldsOf(t, nil, r.tag)
}

// result checks a type that the codec will encode.
func (w *typeWalk) result(t reflect.Type, path string) {
	if slices.Contains(w.rules.native, t) {
		return
	}
	if remedy := resultRemedies[t.Kind()]; remedy != "" {
		w.refuse(t, path, "does not survive being stored", remedy)
		return
	}
	if m := w.rules.marshalingOf(t); m != nil {
		w.marshaled(t, path, m)
		return
	}
	for _, m := range w.rules.marshalings {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m.decode) && m.mistaken(t) {
			w.refuse(t, path, fmt.Sprintf("has a %s, but no %s to write what it reads", m.decodeName, m.encodeName), "add it")
			return
		}
	}
	switch t.Kind() {
	case reflect.Complex64, reflect.Complex128:
		w.refuse(t, path, "does not survive being stored", "return its parts as two floats")
	case reflect.Array:
		w.enter(t, path, func() { w.result(t.Elem(), path+"[]") })
	case reflect.Slice:
		w.enter(t, path, func() { w.within(false, t.Elem(), path+"[]") })
	case reflect.Pointer:
		w.enter(t, path, func() { w.within(false, t.Elem(), path) })
	case reflect.Map:
		w.enter(t, path, func() {
			w.resultKey(t.Key(), path+"[key]")
			w.within(true, t.Elem(), path+"[]")
		})
	case reflect.Struct:
		w.enter(t, path, func() { w.resultStruct(t, path) })
	}
}

// within checks what is behind a reference: a map, where it is loose, or another.
func (w *typeWalk) within(loose bool, t reflect.Type, path string) {
	before := w.loose
	w.loose = loose
	w.result(t, path)
	w.loose = before
}

func (w *typeWalk) resultKey(t reflect.Type, path string) {
	if strict := w.rules.strictKeys; strict == nil {
		w.within(true, t, path)
	} else if !strict(t) {
		w.refuse(t, path, "does not survive being stored as a key of a map",
			"use a string, an integer, or a type with MarshalText and UnmarshalText that is no string")
	}
}

// resultRemedies say what to do about the kinds that cannot be stored, whatever
// methods their types have.
var resultRemedies = map[reflect.Kind]string{
	reflect.Chan:          "return a slice of what it would carry",
	reflect.Func:          "return what it would compute",
	reflect.UnsafePointer: "return what it points to",
	reflect.Uintptr:       "return a uint64 if it is a number",
	reflect.Interface:     "return a concrete type; only the last result may be an interface, error",
}

// marshaled checks a type that encodes itself.
func (w *typeWalk) marshaled(t reflect.Type, path string, m *marshaling) {
	switch {
	case !reflect.PointerTo(t).Implements(m.decode):
		w.refuse(t, path, fmt.Sprintf("has a %s, but no %s to read it back", m.encodeName, m.decodeName), "add it")
	case w.rules.promoted(t) && besidesEmbedded(w.rules.storedFields(t)):
		w.refuse(t, path, "has its encoding from an embedded field, and the other fields would be lost",
			"name the embedded field, or give the struct an encoding of its own")
	case w.loose && w.rules.strictKeys != nil && !t.Implements(m.encode):
		w.refuse(t, path, fmt.Sprintf("has its %s from a pointer, and in a map it is not called", m.encodeName),
			"give the method to the value, or put pointers into the map")
	}
}

// besidesEmbedded says whether there is more than one embedded field, which may
// itself not be among them, for all that is stored of it is what it encodes.
func besidesEmbedded(fields []reflect.StructField) bool {
	return len(fields) > 1 || len(fields) == 1 && !fields[0].Anonymous
}

func (w *typeWalk) resultStruct(t reflect.Type, path string) {
	fields := w.rules.storedFields(t)
	// A struct without any field, as in a map[string]struct{}, has nothing to lose.
	if len(fields) == 0 && t.NumField() > 0 {
		w.refuse(t, path, "has no exported field, so nothing of it would be stored",
			"export its fields, or give it "+w.rules.remedy)
	}
	for _, field := range fields {
		if !field.IsExported() && field.Type.Kind() == reflect.Pointer {
			w.refuse(field.Type, path+"."+field.Name, "is an embedded pointer to an unexported struct, which cannot be set when it is read back",
				"embed the struct itself, or export it")
			continue
		}
		w.result(field.Type, path+"."+field.Name)
	}
}

// storedFields are the fields of a struct that the default codec encodes: the
// exported ones, also in an unexported embedded struct, unless their tag says "-".
func storedFields(t reflect.Type) []reflect.StructField { return storedFieldsOf(t, nil, fieldTag) }

// storedFieldsOf is storedFields inside of the structs above, for any codec.
func storedFieldsOf(t reflect.Type, above []reflect.Type, tag func(reflect.StructField) string) (fields []reflect.StructField) {
	if t.Kind() != reflect.Struct || slices.Contains(above, t) {
		return nil
	}
	for i := range t.NumField() {
		field := t.Field(i)
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		stored := field.IsExported() || field.Anonymous && len(storedFieldsOf(inner, append(above, t), tag)) > 0
		if stored && tag(field) != "-" {
			fields = append(fields, field)
		}
	}
	return fields
}

// allFields are the fields of a struct.
func allFields(t reflect.Type) []reflect.StructField { return slices.Collect(t.Fields()) }

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
