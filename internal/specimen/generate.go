package specimen

import (
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// Type draws a type that can be a parameter, of at most that many layers.
func Type(t *rapid.T, depth int) reflect.Type {
	kinds := 3
	if depth > 1 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind of type") {
	case 0:
		return rapid.SampledFrom(scalars).Draw(t, "scalar")
	case 1:
		return rapid.SampledFrom(Plain).Draw(t, "plain type")
	case 2:
		return rapid.SampledFrom(Encoded).Draw(t, "encoded type")
	case 3:
		return reflect.SliceOf(Type(t, depth-1))
	case 4:
		return reflect.ArrayOf(rapid.IntRange(0, 3).Draw(t, "length"), Type(t, depth-1))
	case 5:
		return reflect.MapOf(rapid.SampledFrom(keys).Draw(t, "type of keys"), Type(t, depth-1))
	default:
		var fields []reflect.StructField
		for i := range rapid.IntRange(0, 3).Draw(t, "number of fields") {
			fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: Type(t, depth-1)})
		}
		if rapid.Bool().Draw(t, "with a field left out") {
			fields = append(fields, reflect.StructField{Name: "Out", Type: reflect.TypeFor[int](), Tag: `fncache:"-"`})
		}
		return reflect.StructOf(fields)
	}
}

var scalars = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[[]byte](), reflect.TypeFor[[3]byte](), reflect.TypeFor[[]uint16](),
}

// keys are types of keys of maps: two keys that differ by == are two arguments.
var keys = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[[2]string](),
	reflect.TypeFor[Token](), reflect.TypeFor[Color](), reflect.TypeFor[NullString](), reflect.TypeFor[HalfText](), reflect.TypeFor[UUID](),
	reflect.TypeFor[ID](), reflect.TypeFor[PointerID](), reflect.TypeFor[Mixed](), reflect.TypeFor[Pair[Token, ID]](), reflect.TypeFor[netip.Addr](),
}

// Value draws a value of a type that Type drew, or of a similar type. It draws from few values, so
// that two of them are often equal, or nearly equal.
func Value(t *rapid.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	fill(t, v)
	return v
}

func fill(t *rapid.T, v reflect.Value) {
	if made, ok := hiddenValue(t, v.Type()); ok {
		v.Set(reflect.ValueOf(made))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "b", "ab", "\x00", "\xff"}).Draw(t, "string"))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, math.NaN(), math.Inf(1), 0.1}).Draw(t, "float"))
	case reflect.Slice:
		n := rapid.IntRange(-1, 2).Draw(t, "length")
		if n < 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		n := rapid.IntRange(-1, 3).Draw(t, "length")
		if n < 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range n {
			v.SetMapIndex(Value(t, v.Type().Key()), Value(t, v.Type().Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i))
			}
		}
	default:
		n := rapid.IntRange(-1, 2).Draw(t, "number")
		if v.CanInt() {
			v.SetInt(int64(n))
		} else {
			v.SetUint(uint64(n+1) * 0x55)
		}
	}
}

// hiddenValue draws a value of a type with hidden fields. ok is false for other types.
func hiddenValue(t *rapid.T, typ reflect.Type) (v any, ok bool) {
	n := func(name string) int64 { return rapid.Int64Range(-1, 2).Draw(t, name) }
	text := func() string { return rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "text") }
	switch typ {
	case reflect.TypeFor[time.Time]():
		at := time.Unix(n("seconds"), n("nanoseconds"))
		return rapid.SampledFrom([]time.Time{{}, at.UTC(), at.In(time.FixedZone("A", 0)), at.In(time.FixedZone("B", 3600)), at.In(time.FixedZone("", 3601))}).Draw(t, "time"), true
	case reflect.TypeFor[Decimal]():
		if rapid.Bool().Draw(t, "zero") {
			return Decimal{}, true
		}
		return NewDecimal(n("value"), int32(n("exponent"))), true
	case reflect.TypeFor[ID]():
		return NewID(text()), true
	case reflect.TypeFor[PointerID]():
		return NewPointerID(text()), true
	case reflect.TypeFor[Mixed]():
		return NewMixed(uint32(n("a")), uint32(n("b"))), true
	case reflect.TypeFor[big.Int]():
		return *new(big.Int).Lsh(big.NewInt(n("int")), uint(64*(n("shift")+1))), true
	case reflect.TypeFor[big.Rat]():
		return *big.NewRat(n("numerator"), n("denominator")+2), true
	case reflect.TypeFor[big.Float]():
		f := new(big.Float).SetPrec(uint(rapid.SampledFrom([]int{0, 24, 53, 100}).Draw(t, "precision")))
		return *f.SetFloat64(rapid.SampledFrom([]float64{0, 0.1, 1, math.Inf(-1)}).Draw(t, "float")), true
	case reflect.TypeFor[netip.Addr]():
		return rapid.SampledFrom(addresses).Draw(t, "address"), true
	case reflect.TypeFor[netip.AddrPort]():
		return netip.AddrPortFrom(rapid.SampledFrom(addresses).Draw(t, "address"), uint16(n("port")+1)), true
	case reflect.TypeFor[netip.Prefix]():
		return netip.PrefixFrom(rapid.SampledFrom(addresses).Draw(t, "address"), int(n("bits")+1)), true
	case reflect.TypeFor[net.IP]():
		return rapid.SampledFrom([]net.IP{nil, {1, 2, 3, 4}, net.IPv4(1, 2, 3, 4), net.IPv6loopback}).Draw(t, "IP"), true
	default:
		return nil, false
	}
}

var addresses = []netip.Addr{
	{}, netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("::ffff:1.2.3.4"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1%a"), netip.MustParseAddr("fe80::1%b"),
}

// Normal writes out a value as an argument, with its hidden fields. Two values of a type are the
// same argument exactly if their Normal is the same. Normal calls none of their methods.
func Normal(v reflect.Value) string {
	var b strings.Builder
	writeNormal(&b, v)
	return b.String()
}

func writeNormal(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	case reflect.Float32, reflect.Float64:
		fmt.Fprintf(b, "%#x", math.Float64bits(v.Float()))
	case reflect.Slice, reflect.Array:
		b.WriteString("[")
		for i := range v.Len() {
			writeNormal(b, v.Index(i))
			b.WriteString(" ")
		}
		b.WriteString("]")
	case reflect.Map:
		var pairs []string
		for entry := v.MapRange(); entry.Next(); {
			pairs = append(pairs, Normal(entry.Key())+":"+Normal(entry.Value()))
		}
		slices.Sort(pairs)
		fmt.Fprint(b, pairs)
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		b.WriteString("&")
		writeNormal(b, v.Elem())
	case reflect.Struct:
		writeNormalStruct(b, v)
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	default:
		if v.CanInt() {
			b.WriteString(strconv.FormatInt(v.Int(), 10))
		} else {
			b.WriteString(strconv.FormatUint(v.Uint(), 10))
		}
	}
}

func writeNormalStruct(b *strings.Builder, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		t := v.Interface().(time.Time)
		_, offset := t.Zone()
		fmt.Fprintf(b, "%d.%d%+d", t.Unix(), t.Nanosecond(), offset)
		return
	}
	b.WriteString("{")
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.Name != "_" && field.Tag.Get("fncache") != "-" {
			writeNormal(b, v.Field(i))
			b.WriteString(" ")
		}
	}
	b.WriteString("}")
}
