// Package deepcopy copies results and arguments, so that callers share no memory with each
// other, with a cache, or with a computation.
//
// Results are copied by a plan that is made once, when a function is wrapped. Assignment copies
// everything except what references point to. A deepener then replaces the references by references
// to copies.
package deepcopy

import (
	"net/netip"
	"reflect"
	"time"
	"unsafe"
)

// A deepener replaces all references in the value at an address by copies. It is nil for a type
// without references.
type deepener func(at unsafe.Pointer)

// A Plan copies values of some types, the results of a function.
type Plan struct {
	deepen []deepener // one for each result; nil: assignment is enough
	// list is the element size if the only result is a slice of elements without references,
	// the most frequent case; otherwise 0.
	list uintptr
	// texts is set if the only result is a slice of strings.
	texts bool
}

// Compile returns the plan for results of these types. It returns nil if one of them cannot be
// copied safely, because it has references in unexported fields or contains itself. Methods do
// not matter.
func Compile(types []reflect.Type) *Plan {
	p := &Plan{deepen: make([]deepener, len(types))}
	for i, t := range types {
		var ok bool
		if p.deepen[i], ok = deepenerOf(t); !ok {
			return nil
		}
	}
	if len(types) == 1 && types[0].Kind() == reflect.Slice {
		switch elem := types[0].Elem(); {
		case pointerFree(elem):
			p.list = elem.Size()
		case elem.Kind() == reflect.String:
			p.texts = true
		}
	}
	return p
}

// Deepen replaces the references in an assigned copy of result number i, so that it shares no
// memory with the original.
func (p *Plan) Deepen(i int, at unsafe.Pointer) {
	if deepen := p.deepen[i]; deepen != nil {
		deepen(at)
	}
}

// Copy returns a copy of result number i. It is v itself if v refers to nothing.
func (p *Plan) Copy(i int, v reflect.Value) reflect.Value { return deepened(v, p.deepen[i]) }

// One returns a copy of the only result of a function, by its plan.
func One[T any](p *Plan, kept *T) T {
	switch {
	case p.list > 0:
		fresh := *kept
		deepenList(unsafe.Pointer(&fresh), p.list)
		return fresh
	case p.texts:
		fresh := *kept
		deepenTexts(unsafe.Pointer(&fresh))
		return fresh
	case p.deepen[0] != nil:
		fresh := new(T)
		*fresh = *kept
		p.deepen[0](unsafe.Pointer(fresh))
		return *fresh
	default:
		return *kept
	}
}

// immutable are types whose references lead to immutable data.
var immutable = map[reflect.Type]bool{
	reflect.TypeFor[time.Time]():      true,
	reflect.TypeFor[netip.Addr]():     true,
	reflect.TypeFor[netip.AddrPort](): true,
	reflect.TypeFor[netip.Prefix]():   true,
}

// deepenerOf returns the deepener of a type. ok is false if there is none, for example because the
// type contains itself.
func deepenerOf(t reflect.Type) (deepen deepener, ok bool) {
	return make(deepeners).of(t)
}

// deepeners has the deepeners of all types seen. Each type is examined once, even if it occurs
// often. A type has no deepener during its examination, so a type that contains itself gets none.
type deepeners map[reflect.Type]deepener

func (ds deepeners) of(t reflect.Type) (deepen deepener, ok bool) {
	if assignable(t) {
		return nil, true
	}
	if known, seen := ds[t]; seen {
		return known, known != nil
	}
	ds[t] = nil
	switch t.Kind() {
	case reflect.Slice:
		deepen, ok = ds.slice(t)
	case reflect.Array:
		deepen, ok = ds.array(t)
	case reflect.Map:
		deepen, ok = ds.mapping(t)
	case reflect.Pointer:
		deepen, ok = ds.pointer(t)
	case reflect.Struct:
		deepen, ok = ds.structure(t)
	}
	if ok {
		ds[t] = deepen
	}
	return deepen, ok
}

// assignable reports whether assignment copies all of a value. Strings are immutable and may be
// shared.
func assignable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return assignable(t.Elem())
	case reflect.Struct:
		if immutable[t] {
			return true
		}
		for i := range t.NumField() {
			if !assignable(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return false
	default:
		return true
	}
}

// pointerFree reports whether values of t contain no pointers.
func pointerFree(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return pointerFree(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !pointerFree(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.String:
		return false
	default:
		return assignable(t)
	}
}

// A sliceHeader is the layout of a slice in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

// deepenList deepens a slice of pointer-free elements of a size.
func deepenList(at unsafe.Pointer, size uintptr) {
	list := (*sliceHeader)(at)
	if list.data == nil {
		return
	}
	bytes := uintptr(list.len) * size
	words := make([]uint64, (bytes+7)/8) // the alignment suffices for any type without pointers
	data := unsafe.Pointer(unsafe.SliceData(words))
	copy(unsafe.Slice((*byte)(data), bytes), unsafe.Slice((*byte)(list.data), bytes))
	list.data, list.cap = data, list.len
}

// deepenTexts deepens a slice of strings, also of a named type.
func deepenTexts(at unsafe.Pointer) {
	list := (*[]string)(at)
	if *list == nil {
		return
	}
	fresh := make([]string, len(*list))
	copy(fresh, *list)
	*list = fresh
}

func (ds deepeners) slice(t reflect.Type) (deepener, bool) {
	size := t.Elem().Size()
	switch {
	case pointerFree(t.Elem()) && size > 0:
		return func(at unsafe.Pointer) { deepenList(at, size) }, true
	case t.Elem().Kind() == reflect.String:
		return deepenTexts, true
	}
	elem, ok := ds.of(t.Elem())
	return func(at unsafe.Pointer) {
		v := reflect.NewAt(t, at).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeSlice(t, v.Len(), v.Len())
		reflect.Copy(fresh, v)
		v.Set(fresh)
		if elem == nil {
			return
		}
		data := v.UnsafePointer()
		for i := range uintptr(v.Len()) {
			elem(unsafe.Add(data, i*size))
		}
	}, ok
}

func (ds deepeners) array(t reflect.Type) (deepener, bool) {
	elem, ok := ds.of(t.Elem())
	size, n := t.Elem().Size(), uintptr(t.Len())
	return func(at unsafe.Pointer) {
		for i := range n {
			elem(unsafe.Add(at, i*size))
		}
	}, ok
}

func (ds deepeners) mapping(t reflect.Type) (deepener, bool) {
	key, keyOK := ds.of(t.Key())
	elem, elemOK := ds.of(t.Elem())
	return func(at unsafe.Pointer) {
		v := reflect.NewAt(t, at).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeMapWithSize(t, v.Len())
		for entry := v.MapRange(); entry.Next(); {
			fresh.SetMapIndex(deepened(entry.Key(), key), deepened(entry.Value(), elem))
		}
		v.Set(fresh)
	}, keyOK && elemOK
}

// deepened returns a copy of v, or v itself if deepen is nil.
func deepened(v reflect.Value, deepen deepener) reflect.Value {
	if deepen == nil {
		return v
	}
	fresh := reflect.New(v.Type())
	fresh.Elem().Set(v)
	deepen(fresh.UnsafePointer())
	return fresh.Elem()
}

func (ds deepeners) pointer(t reflect.Type) (deepener, bool) {
	elem, ok := ds.of(t.Elem())
	return func(at unsafe.Pointer) {
		v := reflect.NewAt(t, at).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.New(t.Elem())
		fresh.Elem().Set(v.Elem())
		if elem != nil {
			elem(fresh.UnsafePointer())
		}
		v.Set(fresh.Convert(t)) // t may be a named pointer type
	}, ok
}

func (ds deepeners) structure(t reflect.Type) (deepener, bool) {
	type part struct {
		offset uintptr
		deepen deepener
	}
	var parts []part
	for i := range t.NumField() {
		field := t.Field(i)
		deepen, ok := ds.of(field.Type)
		// A package may share what its unexported fields refer to. The exported fields of an
		// embedded struct are visible.
		if !ok || deepen != nil && !field.IsExported() && !field.Anonymous {
			return nil, false
		}
		if deepen != nil {
			parts = append(parts, part{field.Offset, deepen})
		}
	}
	return func(at unsafe.Pointer) {
		for _, p := range parts {
			p.deepen(unsafe.Add(at, p.offset))
		}
	}, true
}

// Footprint returns approximately how many bytes v refers to.
func Footprint(v reflect.Value) (n uintptr) {
	switch v.Kind() {
	case reflect.String:
		return uintptr(v.Len())
	case reflect.Slice:
		n = uintptr(v.Len()) * v.Type().Elem().Size()
		return n + elementsFootprint(v)
	case reflect.Array:
		return elementsFootprint(v)
	case reflect.Map:
		n = mapFootprint(v)
		if pointerFree(v.Type().Key()) && pointerFree(v.Type().Elem()) {
			return n
		}
		for entry := v.MapRange(); entry.Next(); {
			n += Footprint(entry.Key()) + Footprint(entry.Value())
		}
		return n
	case reflect.Pointer:
		if v.IsNil() {
			return 0
		}
		return v.Type().Elem().Size() + Footprint(v.Elem())
	case reflect.Struct:
		if immutable[v.Type()] {
			return 0
		}
		for i := range v.NumField() {
			n += Footprint(v.Field(i))
		}
		return n
	default:
		return 0
	}
}

// mapFootprint returns approximately how many bytes a map takes: 48 bytes and groups of eight
// slots, with one more byte for each slot. In maps of several groups, a quarter to more than
// half of the slots are empty.
func mapFootprint(v reflect.Value) uintptr {
	if v.IsNil() {
		return 0
	}
	const header, group = 48, 8
	n := uintptr(v.Len())
	switch slots := n; {
	case slots == 0:
		return header
	case slots <= group:
		n = group
	default:
		n = slots * 3 / 2
	}
	return header + n*(v.Type().Key().Size()+v.Type().Elem().Size()+1)
}

func elementsFootprint(v reflect.Value) (n uintptr) {
	if pointerFree(v.Type().Elem()) {
		return 0
	}
	for i := range v.Len() {
		n += Footprint(v.Index(i))
	}
	return n
}
