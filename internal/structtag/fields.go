// Package structtag reads the tags `fncache:"..."` of struct fields. It finds the func fields that
// have one, and parses the options in it.
package structtag

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// Key is the key of the tags. A field with the tag Ignore is ignored.
const (
	Key    = "fncache"
	Ignore = "-"
)

// A Field is a tagged func field of a struct, or says why a field cannot be wrapped.
type Field struct {
	Struct reflect.Type  // the type in which it is declared
	Name   string        // of the field
	Path   string        // the embedded structs that it was reached through: "", or as "Base."
	Tag    string        // the options
	Value  reflect.Value // settable; not valid if Err is set
	Err    error         // begins with the place: the struct type and the field
}

// Place returns the type of the struct and the name of the field.
func (f Field) Place() string { return place(f.Struct, f.Name) }

func place(t reflect.Type, name string) string { return fmt.Sprintf("%v.%s", t, name) }

// Fields returns the tagged func fields of a struct, which must be addressable, and of the structs
// embedded in it. Fields are in the order of their declaration. Those of embedded structs come
// after the struct's own fields, which shadow them. A tagged field that cannot be wrapped is
// returned with an error. wrapped reports whether a func is wrapped already: such funcs in structs
// that are not embedded are no error.
func Fields(v reflect.Value, wrapped func(reflect.Value) bool) []Field {
	w := walker{wrapped: wrapped, entered: make(map[structAt]bool)}
	w.walk(v, "")
	return w.found
}

// Unreadable reports whether a tag is meant for fncache, but Go finds nothing in it:
// `fncache: "timeout=1h"`, with a space, or `fncache:timeout=1h`.
func Unreadable(tag reflect.StructTag) bool {
	for rest := string(tag); ; {
		rest = strings.TrimLeft(rest, " ")
		key, value, _ := strings.Cut(rest, ":")
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil || quoted[0] != '"' || strings.Contains(key, " ") {
			return strings.Contains(strings.ToLower(rest), Key) // Go reads no further
		}
		if key != Key && strings.EqualFold(key, Key) {
			return true
		}
		rest = value[len(quoted):]
	}
}

// A walker is one run of Fields.
type walker struct {
	wrapped func(reflect.Value) bool
	entered map[structAt]bool // embedded pointers may form a cycle, or lead to one struct twice
	found   []Field
}

// A structAt is the address of a struct and its type: a struct and its first field have
// the same address.
type structAt struct {
	typ     reflect.Type
	address unsafe.Pointer
}

// refuse notes why a field of t cannot be wrapped.
func (w *walker) refuse(t reflect.Type, name, format string, args ...any) {
	err := fmt.Errorf("%s: %w", place(t, name), fmt.Errorf(format, args...))
	w.found = append(w.found, Field{Struct: t, Name: name, Err: err})
}

// walk finds the tagged fields of v. path is where v is embedded.
func (w *walker) walk(v reflect.Value, path string) {
	t := v.Type()
	here := structAt{t, v.Addr().UnsafePointer()}
	if w.entered[here] {
		return
	}
	w.entered[here] = true
	var embedded []int
	for i := range v.NumField() {
		field := t.Field(i)
		tag, tagged := field.Tag.Lookup(Key)
		switch {
		case tagged && tag == Ignore:
		case Unreadable(field.Tag):
			w.refuse(t, field.Name, "no option can be read from its tag `%s`; write it as in `fncache:\"timeout=1h\"`", field.Tag)
		case tagged:
			w.take(v, i, tag, path)
		case field.Anonymous:
			embedded = append(embedded, i)
		case field.Type.Kind() == reflect.Struct:
			w.refuseUnreached(v, i)
		}
	}
	for _, i := range embedded { // after the fields of v itself, which shadow theirs
		w.enter(v, i, path)
	}
}

// take adds field number i, unless it cannot be wrapped.
func (w *walker) take(v reflect.Value, i int, tag, path string) {
	field := Field{Struct: v.Type(), Name: v.Type().Field(i).Name, Path: path, Tag: tag, Value: v.Field(i)}
	switch {
	case !field.Value.CanSet():
		w.refuse(field.Struct, field.Name, "the field is unexported, or in an unexported embedded pointer; export it, or wrap it by Wrap")
	case field.Value.Kind() != reflect.Func:
		w.refuse(field.Struct, field.Name, "the field is a %v, not a func; remove its tag", field.Value.Type())
	default:
		w.found = append(w.found, field)
	}
}

// enter walks into the embedded struct, or pointer to a struct, that is field number i.
func (w *walker) enter(v reflect.Value, i int, path string) {
	inner := v.Field(i)
	if inner.Kind() == reflect.Pointer && inner.Type().Elem().Kind() == reflect.Struct {
		if inner.IsNil() {
			w.refuseNil(v, i)
			return
		}
		inner = inner.Elem()
	}
	if inner.Kind() == reflect.Struct {
		w.walk(inner, path+v.Type().Field(i).Name+".")
	}
}

// refuseUnreached refuses tagged fields in a struct that is not embedded. Otherwise they would
// silently stay unwrapped.
func (w *walker) refuseUnreached(v reflect.Value, i int) {
	field := v.Type().Field(i)
	for _, path := range w.unreached(v.Field(i), field.Name) {
		w.refuse(v.Type(), path, "it is tagged, and only embedded structs are entered; embed %s, or call WrapStruct with a pointer to it first", field.Name)
	}
}

// unreached returns the paths of the tagged funcs of a struct that are not wrapped yet.
func (w *walker) unreached(v reflect.Value, path string) (paths []string) {
	for i := range v.NumField() {
		field, inner := v.Type().Field(i), v.Field(i)
		here := path + "." + field.Name
		tag, tagged := field.Tag.Lookup(Key)
		switch {
		case tagged && tag == Ignore:
		case inner.Kind() == reflect.Struct:
			paths = append(paths, w.unreached(inner, here)...)
		case inner.Kind() == reflect.Func && (tagged || Unreadable(field.Tag)) && !w.wrapped(inner):
			paths = append(paths, here)
		}
	}
	return paths
}

// refuseNil refuses tagged fields in the struct of field number i, an embedded pointer that is
// nil.
func (w *walker) refuseNil(v reflect.Value, i int) {
	field := v.Type().Field(i)
	inner := field.Type.Elem()
	for _, name := range taggedNames(inner, nil) {
		w.refuse(v.Type(), field.Name, "the embedded *%v is nil, and its field %s is tagged; set it before wrapping", inner, name)
	}
}

// taggedNames returns the names of the tagged fields of a struct and of the structs embedded in it.
// above are the structs that the search is inside of.
func taggedNames(t reflect.Type, above []reflect.Type) (names []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(above, t) {
		return nil
	}
	above = append(above, t)
	for field := range t.Fields() {
		switch tag, tagged := field.Tag.Lookup(Key); {
		case tagged && tag != Ignore:
			names = append(names, field.Name)
		case field.Anonymous && !tagged:
			names = append(names, taggedNames(field.Type, above)...)
		}
	}
	return names
}
