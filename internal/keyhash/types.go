package keyhash

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"sync"
	"time"
)

var (
	timeType        = reflect.TypeFor[time.Time]()
	bigFloatType    = reflect.TypeFor[big.Float]()
	float32Type     = reflect.TypeFor[float32]()
	binaryMarshaler = reflect.TypeFor[encoding.BinaryMarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
)

// Ignored reports whether a field is left out of the key by its tag.
func Ignored(field reflect.StructField) bool { return field.Tag.Get("fncache") == "-" }

// Fields returns the fields of a struct that are part of the key: those that are
// neither Ignored nor called "_", which == does not compare either. It returns nil for
// other types.
func Fields(t reflect.Type) (fields []reflect.StructField) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for field := range t.Fields() {
		if !Ignored(field) && field.Name != "_" {
			fields = append(fields, field)
		}
	}
	return fields
}

// Opaque reports whether the visible parts of a value of t do not determine the value, so that
// only its encoding can be hashed. Such types are structs with hidden fields, types that
// contain themselves, because such a value may have no end, and types with a part that is
// Opaque and has no encoding.
func Opaque(t reflect.Type) bool {
	if known, ok := opaque.Load(t); ok {
		return known.(bool)
	}
	is := isOpaque(t)
	opaque.Store(t, is)
	return is
}

// opaque caches which types are Opaque. A type is looked up once for each place where it occurs in
// other types, and there can be thousands of places.
var opaque sync.Map

func isOpaque(t reflect.Type) bool {
	if t == timeType {
		return false
	}
	for _, field := range Fields(t) {
		if !field.IsExported() {
			return true
		}
	}
	for _, part := range parts(t) {
		if contains(part, t, make(map[reflect.Type]bool)) || Opaque(part) && EncodingOf(part) == None {
			return true
		}
	}
	return false
}

// parts returns the types of the visible parts of a value.
func parts(t reflect.Type) (types []reflect.Type) {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return []reflect.Type{t.Elem()}
	case reflect.Map:
		return []reflect.Type{t.Key(), t.Elem()}
	case reflect.Struct:
		for _, field := range Fields(t) {
			if field.IsExported() && t != timeType {
				types = append(types, field.Type)
			}
		}
	}
	return types
}

// contains reports whether inner is t or among its parts, at any depth. The search for a type
// without an encoding does not enter types with one, because hashing does not enter them
// either. seen has the types that were searched.
func contains(t, inner reflect.Type, seen map[reflect.Type]bool) bool {
	if t == inner {
		return true
	}
	if seen[t] || MethodOf(t) != None && MethodOf(inner) == None {
		return false
	}
	seen[t] = true
	return slices.ContainsFunc(parts(t), func(part reflect.Type) bool { return contains(part, inner, seen) })
}

// Chosen reports whether a value of t is, or holds, a string, a list or a map, or has an
// encoding. A person who chooses such values can try any number of them, and without a secret
// can search for two that hash alike.
func Chosen(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return true
	default:
		return EncodingOf(t) != None || slices.ContainsFunc(parts(t), Chosen)
	}
}

// An Encoding is the method that encodes the values of an Opaque type.
type Encoding uint8

// The encodings, in the order in which they are preferred.
const (
	None          Encoding = iota
	MarshalBinary          // the method of encoding.BinaryMarshaler
	MarshalText            // the method of encoding.TextMarshaler
	gobEncode              // of big.Float, because its text does not have the precision
)

// EncodingOf returns the encoding of an Opaque type, or None if the type has no encoding or is not
// Opaque. The method may be declared on the pointer; it is then called on a copy.
func EncodingOf(t reflect.Type) Encoding {
	if !Opaque(t) {
		return None
	}
	return MethodOf(t)
}

// MethodOf returns the encoding that a type has a method for, whether or not it is Opaque.
func MethodOf(t reflect.Type) Encoding {
	switch p := reflect.PointerTo(t); {
	case t == bigFloatType:
		return gobEncode
	case p.Implements(binaryMarshaler):
		return MarshalBinary
	case p.Implements(textMarshaler):
		return MarshalText
	default:
		return None
	}
}

// String returns the name of the method.
func (e Encoding) String() string {
	return [...]string{"None", "MarshalBinary", "MarshalText", "GobEncode"}[e]
}

// of encodes the value that p, a pointer, points to.
func (e Encoding) of(p any) ([]byte, error) {
	switch e {
	case MarshalBinary:
		return p.(encoding.BinaryMarshaler).MarshalBinary()
	case MarshalText:
		return p.(encoding.TextMarshaler).MarshalText()
	default:
		return encodeFloat(p.(*big.Float))
	}
}

// maxFloatPrec is the largest precision at which GobEncode writes all digits. For larger ones its
// rounding up to words overflows, and it writes no digits.
const maxFloatPrec = big.MaxPrec - 63

func encodeFloat(f *big.Float) ([]byte, error) {
	if f.Prec() > maxFloatPrec {
		return nil, fmt.Errorf("its precision is over %d bits; round it by SetPrec", uint(maxFloatPrec))
	}
	return f.GobEncode()
}
