package keyhash

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
	"unsafe"
)

// A Hasher hashes the argument at an address, and does not modify it. It returns the error of
// an encoding, or an error for a map with two keys that are the same argument. The errors name
// the place, and never quote a value.
type Hasher func(k *Keys, at unsafe.Pointer) (Hash, error)

// A ValueHasher is like a Hasher, for an argument that is known by reflection.
type ValueHasher func(k *Keys, v reflect.Value) (Hash, error)

// Compile returns the hasher of a type that can be a parameter. place, such as
// "parameter 2", is for errors.
func Compile(t reflect.Type, place string) Hasher {
	return compiler{place: place, root: t}.hasher(t, "")
}

// CompileValue is like Compile, for arguments that are known by reflection.
func CompileValue(t reflect.Type, place string) ValueHasher {
	c := compiler{place: place, root: t}
	if width := widthOf(t); width > 0 {
		return func(k *Keys, v reflect.Value) (Hash, error) { return k.Number(Bits(v), width), nil }
	}
	switch kind := t.Kind(); {
	case kind == reflect.String:
		return func(k *Keys, v reflect.Value) (Hash, error) { return k.Text(v.String()), nil }
	case kind == reflect.Slice && !Opaque(t):
		list := c.list(t, "")
		return func(k *Keys, v reflect.Value) (Hash, error) { return list(k, v.UnsafePointer(), v.Len()) }
	default:
		hash := c.hasher(t, "")
		return func(k *Keys, v reflect.Value) (Hash, error) {
			if !v.CanAddr() {
				fresh := reflect.New(t).Elem()
				fresh.Set(v)
				v = fresh
			}
			return hash(k, v.Addr().UnsafePointer())
		}
	}
}

// widthOf returns how many bytes of a boolean or number are hashed, or 0 for other types. int and
// uint count as 64 bits on every machine.
func widthOf(t reflect.Type) int {
	switch k := t.Kind(); {
	case k == reflect.Int, k == reflect.Uint:
		return 8
	case k == reflect.Bool, k >= reflect.Int8 && k <= reflect.Float64 && k != reflect.Uintptr:
		return int(t.Size())
	default:
		return 0
	}
}

// Bits returns the bits of a boolean or number. Its lowest bytes are hashed.
func Bits(v reflect.Value) uint64 {
	switch k := v.Kind(); {
	case k == reflect.Bool:
		if v.Bool() {
			return 1
		}
		return 0
	case v.CanInt():
		return uint64(v.Int())
	case v.CanUint():
		return v.Uint()
	case k == reflect.Float32:
		f := v.Float()
		if f != f { //nolint:staticcheck // a NaN changes when it is converted to float64
			return uint64(math.Float32bits(v.Convert(float32Type).Interface().(float32)))
		}
		return uint64(math.Float32bits(float32(f)))
	default:
		return math.Float64bits(v.Float())
	}
}

// A compiler makes the hashers of one parameter.
type compiler struct {
	place string
	root  reflect.Type
}

// where names the part of the parameter at path.
func (c compiler) where(t reflect.Type, path string) string {
	if path == "" {
		return fmt.Sprintf("%s: %v", c.place, t)
	}
	return fmt.Sprintf("%s: %v%s (%v)", c.place, c.root, path, t)
}

func (c compiler) hasher(t reflect.Type, path string) Hasher {
	if width := widthOf(t); width > 0 {
		return numberHasher(t.Kind(), width)
	}
	if Opaque(t) {
		return c.encoded(t, path)
	}
	switch t.Kind() {
	case reflect.String:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Text(*(*string)(at)), nil }
	case reflect.Slice:
		list := c.list(t, path)
		return func(k *Keys, at unsafe.Pointer) (Hash, error) {
			s := *(*[]byte)(at) // elements of any type: only their address and number matter
			return list(k, unsafe.Pointer(unsafe.SliceData(s)), len(s))
		}
	case reflect.Array:
		list, n := c.list(t, path), t.Len()
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return list(k, at, n) }
	case reflect.Map:
		return c.mapHasher(t, path)
	case reflect.Struct:
		if t == timeType {
			return timeHasher
		}
		return c.structHasher(t, path)
	default:
		panic(fmt.Sprintf("fncache: %s cannot be hashed", c.where(t, path))) // refused when wrapping
	}
}

func numberHasher(kind reflect.Kind, width int) Hasher {
	switch {
	case kind == reflect.Int: // 32 bits on some machines, and then extended
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(uint64(*(*int)(at)), 8), nil }
	case kind == reflect.Uint:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(uint64(*(*uint)(at)), 8), nil }
	case width == 1:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(uint64(*(*uint8)(at)), 1), nil }
	case width == 2:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(uint64(*(*uint16)(at)), 2), nil }
	case width == 4:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(uint64(*(*uint32)(at)), 4), nil }
	default:
		return func(k *Keys, at unsafe.Pointer) (Hash, error) { return k.Number(*(*uint64)(at), 8), nil }
	}
}

// list returns a function that hashes the n elements of a slice or array that begin at an
// address.
func (c compiler) list(t reflect.Type, path string) func(k *Keys, at unsafe.Pointer, n int) (Hash, error) {
	if t.Elem().Kind() == reflect.Uint8 {
		return func(k *Keys, at unsafe.Pointer, n int) (Hash, error) {
			return k.String(unsafe.Slice((*byte)(at), n)), nil
		}
	}
	elem, size := c.hasher(t.Elem(), path+"[]"), t.Elem().Size()
	return func(k *Keys, at unsafe.Pointer, n int) (list Hash, err error) {
		for i := range n {
			h, err := elem(k, unsafe.Add(at, uintptr(i)*size))
			if err != nil {
				return Hash{}, err
			}
			list = k.Append(list, h)
		}
		return list, nil
	}
}

func (c compiler) structHasher(t reflect.Type, path string) Hasher {
	type part struct {
		offset uintptr
		hash   Hasher
	}
	var parts []part
	for _, field := range Fields(t) {
		parts = append(parts, part{field.Offset, c.hasher(field.Type, path+"."+field.Name)})
	}
	return func(k *Keys, at unsafe.Pointer) (list Hash, err error) {
		for i := range parts {
			h, err := parts[i].hash(k, unsafe.Add(at, parts[i].offset))
			if err != nil {
				return Hash{}, err
			}
			list = k.Append(list, h)
		}
		return list, nil
	}
}

// timeHasher hashes an instant and its offset from UTC. It leaves out the name of the
// zone, and the monotonic reading, which means nothing to other processes.
func timeHasher(k *Keys, at unsafe.Pointer) (list Hash, err error) {
	t := (*time.Time)(at)
	_, offset := t.Zone()
	list = k.Append(list, k.Number(uint64(t.Unix()), 8))
	list = k.Append(list, k.Number(uint64(t.Nanosecond()), 8))
	return k.Append(list, k.Number(uint64(offset), 8)), nil
}

// encoded returns the hasher of a type that is Opaque. The method is called on a copy, because
// it may be declared on the pointer, and the argument belongs to the caller.
func (c compiler) encoded(t reflect.Type, path string) Hasher {
	encoding, where := EncodingOf(t), c.where(t, path)
	return func(k *Keys, at unsafe.Pointer) (Hash, error) {
		fresh := reflect.New(t)
		fresh.Elem().Set(reflect.NewAt(t, at).Elem())
		b, err := encoding.of(fresh.Interface())
		if err != nil {
			return Hash{}, fmt.Errorf("%s cannot be encoded for the key: %w", where, err)
		}
		return k.String(b), nil
	}
}

// mapHasher returns the hasher of a map. Its pairs are sorted by the hashes of their keys. That
// needs no order of the keys themselves, and equal maps have equal lists. Two keys with the same
// canonical form are an error, because two different maps could then have the same list. This
// happens for a type whose encoding says less than == compares, and for two NaNs.
func (c compiler) mapHasher(t reflect.Type, path string) Hasher {
	hashKey, hashElem := c.hasher(t.Key(), path+"[key]"), c.hasher(t.Elem(), path+"[]")
	where := c.where(t, path)
	return func(k *Keys, at unsafe.Pointer) (list Hash, err error) {
		m := reflect.NewAt(t, at).Elem()
		if m.Len() == 0 {
			return Hash{}, nil
		}
		type pair struct{ key, elem Hash }
		pairs := make([]pair, 0, m.Len())
		key, elem := reflect.New(t.Key()), reflect.New(t.Elem())
		for entry := m.MapRange(); entry.Next(); {
			key.Elem().SetIterKey(entry)
			elem.Elem().SetIterValue(entry)
			var p pair
			if p.key, err = hashKey(k, key.UnsafePointer()); err != nil {
				return Hash{}, err
			}
			if p.elem, err = hashElem(k, elem.UnsafePointer()); err != nil {
				return Hash{}, err
			}
			pairs = append(pairs, p)
		}
		slices.SortFunc(pairs, func(a, b pair) int {
			return cmp.Or(cmp.Compare(a.key[0], b.key[0]), cmp.Compare(a.key[1], b.key[1]))
		})
		for i, p := range pairs {
			if i > 0 && p.key == pairs[i-1].key {
				return Hash{}, fmt.Errorf("%s: two keys of the map are the same argument, so it cannot be hashed for the key; pass a slice of pairs", where)
			}
			list = k.Append(list, k.Append(k.Append(Hash{}, p.key), p.elem))
		}
		return list, nil
	}
}
