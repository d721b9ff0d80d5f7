package specimen

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// nativeSpecimens are types whose encodings fncache knows.
var nativeSpecimens = []reflect.Type{
	reflect.TypeFor[url.URL](), reflect.TypeFor[*url.Userinfo](), reflect.TypeFor[*big.Int](), reflect.TypeFor[*time.Time](), reflect.TypeFor[Order](),
	reflect.TypeFor[DecimalAndNote](), reflect.TypeFor[outer](), reflect.TypeFor[embedsPointer](), reflect.TypeFor[hiddenPointer](), reflect.TypeFor[twins](),
}

var plainSpecimens = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[struct{}](),
}

var keySpecimens = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[uint8](), reflect.TypeFor[bool](), reflect.TypeFor[float64](), reflect.TypeFor[[2]string](),
	reflect.TypeFor[Token](), reflect.TypeFor[Color](), reflect.TypeFor[UUID](), reflect.TypeFor[ID](), reflect.TypeFor[PointerID](),
	reflect.TypeFor[Base](), reflect.TypeFor[Mixed](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[NullInt](), reflect.TypeFor[struct{}](),
}

var fieldTags = []reflect.StructTag{
	"", `json:"x"`, `json:",omitempty"`, `json:"x,omitzero,string"`, `cbor:"x"`, `cbor:"1,keyasint"`, `cbor:",omitempty"`, `cbor:",toarray"`, `xml:"-"`,
}

// Result draws a type that can be a result, of at most that depth.
func Result(t *rapid.T, depth int) reflect.Type {
	form := rapid.IntRange(0, 9).Draw(t, "form")
	if depth == 0 {
		form = min(form, 3)
	}
	switch form {
	case 0, 1:
		return rapid.SampledFrom(plainSpecimens).Draw(t, "plain")
	case 2:
		return rapid.SampledFrom(slices.Concat(Plain, Encoded)).Draw(t, "specimen")
	case 3:
		return rapid.SampledFrom(nativeSpecimens).Draw(t, "native")
	case 4, 5:
		return reflect.SliceOf(Result(t, depth-1))
	case 6:
		return reflect.ArrayOf(rapid.IntRange(0, 3).Draw(t, "length"), Result(t, depth-1))
	case 7:
		return reflect.MapOf(rapid.SampledFrom(keySpecimens).Draw(t, "key"), Result(t, depth-1))
	case 8:
		return reflect.PointerTo(Result(t, depth-1))
	default:
		fields := make([]reflect.StructField, rapid.IntRange(0, 4).Draw(t, "fields"))
		for i := range fields {
			fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: Result(t, depth-1), Tag: rapid.SampledFrom(fieldTags).Draw(t, "tag")}
		}
		return reflect.StructOf(fields)
	}
}

// Fill draws a value at v, which must be addressable. With json, JSON can represent the value.
func Fill(t *rapid.T, v reflect.Value, json bool) { drawer{t, json}.fill(v) }

// A drawer draws values.
type drawer struct {
	*rapid.T
	json bool
}

func (d drawer) text() string {
	if d.json {
		return rapid.String().Draw(d.T, "text")
	}
	return string(d.bytes())
}

func (d drawer) bytes() []byte { return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(d.T, "bytes") }

func (d drawer) bits() uint64 {
	bits := rapid.Uint64().Draw(d.T, "bits")
	if f := math.Float64frombits(bits); d.json && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return 1
	}
	return bits
}

// fill draws the value at v.
func (d drawer) fill(v reflect.Value) {
	if d.fillKnown(v) {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(d.T, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(d.T, "int") >> (64 - 8*v.Type().Size()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(d.T, "uint") >> (64 - 8*v.Type().Size()))
	case reflect.Float32:
		bits := uint32(d.bits() >> 32)
		if f := float64(math.Float32frombits(bits)); d.json && (math.IsNaN(f) || math.IsInf(f, 0)) {
			bits = 1
		}
		*(*uint32)(v.Addr().UnsafePointer()) = bits
	case reflect.Float64:
		*(*uint64)(v.Addr().UnsafePointer()) = d.bits()
	case reflect.String:
		v.SetString(d.text())
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(d.T, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			d.fillEach(v)
		}
	case reflect.Array:
		d.fillEach(v)
	case reflect.Map:
		d.fillMap(v)
	case reflect.Pointer:
		if rapid.Bool().Draw(d.T, "pointer") {
			elem := reflect.New(v.Type().Elem())
			d.fill(elem.Elem())
			reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem().Set(elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				d.fill(reflect.NewAt(v.Field(i).Type(), v.Field(i).Addr().UnsafePointer()).Elem())
			}
		}
	default:
		panic(v.Type().String())
	}
}

func (d drawer) fillEach(v reflect.Value) {
	for i := range v.Len() {
		d.fill(v.Index(i))
	}
}

func (d drawer) fillMap(v reflect.Value) {
	n := rapid.IntRange(-1, 12).Draw(d.T, "pairs")
	if n < 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range n {
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		d.fill(key)
		d.fill(elem)
		if key.Equal(key) { // not NaN: TestFloatsKeepTheirBits covers it
			v.SetMapIndex(key, elem)
		}
	}
}

// fillKnown draws a value of a type that is not drawn by its parts.
func (d drawer) fillKnown(v reflect.Value) bool {
	number := func() *big.Int {
		n := new(big.Int).SetBytes(d.bytes())
		if rapid.Bool().Draw(d.T, "negative") {
			n.Neg(n)
		}
		return n
	}
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Unix(rapid.Int64().Draw(d.T, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(d.T, "nanoseconds"))
		*at = at.In(time.FixedZone("zone", rapid.IntRange(-90_000, 90_000).Draw(d.T, "offset")))
	case *big.Int:
		at.Set(number())
	case *big.Rat:
		at.SetFrac(number(), new(big.Int).SetUint64(1+rapid.Uint64().Draw(d.T, "denominator")>>1))
	case *big.Float:
		at.SetPrec(rapid.UintRange(0, 200).Draw(d.T, "precision")).SetMode(big.RoundingMode(rapid.IntRange(0, 5).Draw(d.T, "mode")))
		at.SetInt(number())
		at.SetMantExp(at, rapid.IntRange(-1000, 1000).Draw(d.T, "exponent"))
	case *url.Userinfo:
		*at = *url.User(d.text())
		if rapid.Bool().Draw(d.T, "password") {
			*at = *url.UserPassword(at.Username(), d.text())
		}
	case *netip.Addr:
		*at, _ = netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(d.T, "address")[:rapid.SampledFrom([]int{0, 4, 16}).Draw(d.T, "family")])
	case *netip.AddrPort:
		var addr netip.Addr
		d.fill(reflect.ValueOf(&addr).Elem())
		*at = netip.AddrPortFrom(addr, rapid.Uint16().Draw(d.T, "port"))
	case *netip.Prefix:
		var addr netip.Addr
		d.fill(reflect.ValueOf(&addr).Elem())
		*at = netip.PrefixFrom(addr, rapid.IntRange(-1, 130).Draw(d.T, "bits"))
	case *Decimal:
		*at = NewDecimal(rapid.Int64().Draw(d.T, "value"), rapid.Int32().Draw(d.T, "exponent"))
	case *ID:
		*at = NewID(d.text())
	case *PointerID:
		*at = NewPointerID(d.text())
	case *Mixed:
		*at = NewMixed(rapid.Uint32().Draw(d.T, "a"), rapid.Uint32().Draw(d.T, "b"))
	default:
		return false
	}
	return true
}

// Differ returns where the values of a type at two addresses differ, or "" if they are equal.
func Differ(typ reflect.Type, a, b unsafe.Pointer) string {
	v, w := reflect.NewAt(typ, a), reflect.NewAt(typ, b)
	if same, known := sameKnown(v.Interface(), w.Interface()); known {
		return unless(same, " of %v: %v and %v", typ, v.Elem(), w.Elem())
	}
	v, w = v.Elem(), w.Elem()
	switch typ.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		if v.IsNil() || w.IsNil() {
			return unless(v.IsNil() == w.IsNil(), " of %v: nil is %t and %t", typ, v.IsNil(), w.IsNil())
		}
	case reflect.String:
		return unless(v.String() == w.String(), " %q and %q", v, w)
	case reflect.Struct:
		for f := range typ.Fields() {
			if f.Name == "_" {
				continue
			}
			if where := Differ(f.Type, unsafe.Add(a, f.Offset), unsafe.Add(b, f.Offset)); where != "" {
				return "." + f.Name + where
			}
		}
		return ""
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return Differ(typ.Elem(), v.UnsafePointer(), w.UnsafePointer())
	case reflect.Map:
		return differMaps(v, w)
	case reflect.Slice, reflect.Array:
		if v.Len() != w.Len() {
			return fmt.Sprintf(" has %d and %d", v.Len(), w.Len())
		}
		if v.Len() == 0 || typ.Elem().Size() == 0 || sameNumbers(v, w) {
			return ""
		}
		for i := range v.Len() {
			if where := Differ(typ.Elem(), v.Index(i).Addr().UnsafePointer(), w.Index(i).Addr().UnsafePointer()); where != "" {
				return fmt.Sprintf("[%d]%s", i, where)
			}
		}
		return ""
	default: // numbers and booleans
		return unless(bytes.Equal(unsafe.Slice((*byte)(a), typ.Size()), unsafe.Slice((*byte)(b), typ.Size())), " %v and %v", v, w)
	}
}

func unless(same bool, format string, args ...any) string {
	if same {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// sameNumbers compares lists of numbers or booleans at once, since a list can have millions.
func sameNumbers(v, w reflect.Value) bool {
	if kind := v.Type().Elem().Kind(); kind < reflect.Bool || kind > reflect.Complex128 {
		return false
	}
	size := uintptr(v.Len()) * v.Type().Elem().Size()
	one, other := (*byte)(v.Index(0).Addr().UnsafePointer()), (*byte)(w.Index(0).Addr().UnsafePointer())
	return bytes.Equal(unsafe.Slice(one, size), unsafe.Slice(other, size))
}

func differMaps(v, w reflect.Value) string {
	if v.Len() != w.Len() {
		return fmt.Sprintf(" has %d and %d pairs", v.Len(), w.Len())
	}
	for iter := v.MapRange(); iter.Next(); {
		there := w.MapIndex(iter.Key())
		if !there.IsValid() {
			return fmt.Sprintf(" has no %v", iter.Key())
		}
		one, other := reflect.New(v.Type().Elem()), reflect.New(v.Type().Elem())
		one.Elem().Set(iter.Value())
		other.Elem().Set(there)
		if where := Differ(v.Type().Elem(), one.UnsafePointer(), other.UnsafePointer()); where != "" {
			return fmt.Sprintf("[%v]%s", iter.Key(), where)
		}
	}
	return ""
}

// sameKnown compares values of types with hidden fields.
func sameKnown(a, b any) (same, known bool) {
	switch a := a.(type) {
	case *time.Time:
		b := b.(*time.Time)
		_, offset := a.Zone()
		_, other := b.Zone()
		return a.Equal(*b) && offset == other, true
	case *big.Int:
		return a.Cmp(b.(*big.Int)) == 0, true
	case *big.Rat:
		return a.Cmp(b.(*big.Rat)) == 0, true
	case *big.Float:
		b := b.(*big.Float)
		return a.Cmp(b) == 0 && a.Prec() == b.Prec() && a.Mode() == b.Mode() && a.Acc() == b.Acc() && a.Signbit() == b.Signbit(), true
	case *Decimal:
		return bytes.Equal(binaryOf(a), binaryOf(b.(encoding.BinaryMarshaler))), true
	}
	return false, false
}

func binaryOf(v encoding.BinaryMarshaler) []byte {
	raw, err := v.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return raw
}

// Structs with embedded ones.
type (
	// Inner is exported, so that it can be embedded by pointer.
	Inner struct{ A, B int }
	lower struct{ C int } // embedded, and unexported
	outer struct {
		Inner
		lower
		B string // hides Inner.B
	}
	embedsPointer struct {
		*Inner
		C int
	}
	hiddenPointer struct{ *lower }

	// One and Other have a field with the same name in CBOR.
	One struct {
		A int `cbor:"x"`
	}
	// Other is One by another name.
	Other struct {
		A int `cbor:"x"`
	}
	twins struct {
		One
		Other
	}
)
