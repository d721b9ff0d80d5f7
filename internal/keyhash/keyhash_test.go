package keyhash_test

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/dchest/siphash"
	"github.com/mitchellh/hashstructure/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	. "github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/specimen"
)

var public = NewKeys(nil)

// hashOf hashes one value in both forms, which must agree.
func hashOf(t require.TestingT, k *Keys, v any) Hash {
	h, err := tryHash(t, k, v)
	require.NoError(t, err)
	return h
}

func tryHash(t require.TestingT, k *Keys, v any) (Hash, error) {
	value := reflect.ValueOf(v)
	at := reflect.New(value.Type())
	at.Elem().Set(value)
	h, err := Compile(value.Type(), "parameter 1")(k, at.UnsafePointer())
	for _, form := range []reflect.Value{value, at.Elem()} { // addressable or not
		again, againErr := CompileValue(value.Type(), "parameter 1")(k, form)
		require.Equal(t, h, again)
		require.Equal(t, err == nil, againErr == nil)
	}
	return h, err
}

// hasher makes the Hasher that hashstructure is given for one half of a Hash.
func hasher(k *Keys, half int) *hashstructure.HashOptions {
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:], k[half][0])
	binary.LittleEndian.PutUint64(key[8:], k[half][1])
	return &hashstructure.HashOptions{Hasher: siphash.New(key[:]), TagName: "fncache"}
}

// reference hashes a canonical form by hashstructure.
func reference(t require.TestingT, k *Keys, form any) (h Hash) {
	for i := range h {
		var err error
		h[i], err = hashstructure.Hash(form, hashstructure.FormatV2, hasher(k, i))
		require.NoError(t, err)
	}
	return h
}

// canonical returns the canonical form of a value, as the package documentation describes it.
func canonical(t require.TestingT, k *Keys, v reflect.Value) any {
	list := []any{}
	switch typ := v.Type(); {
	case typ == reflect.TypeFor[time.Time]():
		at := v.Interface().(time.Time)
		_, offset := at.Zone()
		return []any{at.Unix(), int64(at.Nanosecond()), int64(offset)}
	case typ.Kind() == reflect.Struct && hidden(typ):
		p := reflect.New(typ)
		p.Elem().Set(v)
		var b []byte
		var err error
		switch m := p.Interface().(type) {
		case *big.Float:
			b, err = m.GobEncode()
		case encoding.BinaryMarshaler:
			b, err = m.MarshalBinary()
		case encoding.TextMarshaler:
			b, err = m.MarshalText()
		}
		require.NoError(t, err)
		return string(b)
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			if f := typ.Field(i); f.Name != "_" && f.Tag.Get("fncache") != "-" {
				list = append(list, canonical(t, k, v.Field(i)))
			}
		}
	case typ.Kind() == reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			list = append(list, []any{canonical(t, k, entry.Key()), canonical(t, k, entry.Value())})
		}
		slices.SortFunc(list, func(a, b any) int {
			x, y := reference(t, k, a.([]any)[0]), reference(t, k, b.([]any)[0])
			return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]))
		})
	case (typ.Kind() == reflect.Slice || typ.Kind() == reflect.Array) && typ.Elem().Kind() == reflect.Uint8:
		var b []byte
		for i := range v.Len() {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return string(b)
	case typ.Kind() == reflect.Slice, typ.Kind() == reflect.Array:
		for i := range v.Len() {
			list = append(list, canonical(t, k, v.Index(i)))
		}
	default:
		return plain(v)
	}
	return list
}

func hidden(t reflect.Type) bool {
	for field := range t.Fields() {
		if !field.IsExported() && field.Name != "_" && field.Tag.Get("fncache") != "-" {
			return true
		}
	}
	return false
}

// plain returns a value of a named type as a value of its kind.
func plain(v reflect.Value) any {
	for _, t := range []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
		reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
		reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	} {
		if t.Kind() == v.Kind() {
			return v.Convert(t).Interface()
		}
	}
	panic(v.Kind())
}

func TestHashesAreHashstructuresOfTheCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := NewKeys(rapid.SliceOf(rapid.Byte()).Draw(t, "secret"))
		v := specimen.Value(t, specimen.Type(t, 3))
		require.Equal(t, reference(t, k, canonical(t, k, v)), hashOf(t, k, v.Interface()), "%v", v.Type())
	})
}

func TestArgumentsTogetherAreOneList(t *testing.T) {
	args := []any{1, "a", []string{"b"}, time.Unix(1, 2).UTC()}
	var list Hash
	form := []any{}
	for _, arg := range args {
		list = public.Append(list, hashOf(t, public, arg))
		form = append(form, canonical(t, public, reflect.ValueOf(arg)))
	}
	assert.Equal(t, reference(t, public, form), list)
	assert.Equal(t, reference(t, public, []any{}), Hash{})
}

func TestEachKindOfNaNAndZeroIsAnArgumentOfItsOwn(t *testing.T) {
	type ratio float32
	seen := make(map[Hash]uint32)
	for _, sign := range []uint32{0, 1 << 31} {
		for _, bits := range []uint32{0, 1, 0x3f800000, 0x7f800000, 0x7f800001, 0x7fa00000, 0x7fbfffff, 0x7fc00000, 0x7fc00001, 0x7fffffff} {
			f := math.Float32frombits(sign | bits)
			h := hashOf(t, public, f)
			assert.Equal(t, h, hashOf(t, public, ratio(f)), "%#x", sign|bits)
			assert.Equal(t, reference(t, public, f), h, "%#x", sign|bits)
			assert.Equal(t, public.Append(Hash{}, h), hashOf(t, public, []ratio{ratio(f)}))
			d := math.Float64frombits(uint64(sign|bits)<<32 | 1)
			assert.Equal(t, reference(t, public, d), hashOf(t, public, d))
			if other, taken := seen[h]; taken {
				t.Errorf("%#x and %#x hash alike", other, sign|bits)
			}
			seen[h] = sign | bits
		}
	}
}

func TestValuesHashAlikeExactlyIfTheyAreTheSameArgument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := specimen.Type(t, 3)
		a, b := specimen.Value(t, typ), specimen.Value(t, typ)
		same := specimen.Normal(a) == specimen.Normal(b)
		require.Equal(t, same, hashOf(t, public, a.Interface()) == hashOf(t, public, b.Interface()), "%v: %s, %s", typ, specimen.Normal(a), specimen.Normal(b))
	})
}

func TestMapsWithTwoKeysThatAreOneArgumentAreRefused(t *testing.T) {
	instant := time.Now()
	for _, m := range []any{
		map[float64]int{math.NaN(): 1, math.Float64frombits(math.Float64bits(math.NaN())): 2},
		map[time.Time]int{instant: 1, instant.Round(0): 2},
		[]map[[1]specimen.Decimal]string{{{specimen.NewDecimal(1, 0)}: "a", {specimen.NewDecimal(1, 0)}: "b"}},
	} {
		_, err := tryHash(t, public, m)
		require.ErrorContains(t, err, "two keys of the map are the same argument")
		require.ErrorContains(t, err, "parameter 1: ")
		require.ErrorContains(t, err, "pass a slice of pairs")
	}
	hashOf(t, public, map[float64]int{math.NaN(): 1, 0: 2})
}

type failing struct{ hidden bool }

var errFails = errors.New("fails")

func (f *failing) MarshalText() ([]byte, error) {
	if f.hidden {
		return nil, errFails
	}
	return nil, nil
}

func TestAnEncodingThatFailsNamesItsPlace(t *testing.T) {
	bad := failing{true}
	for _, test := range []struct {
		v     any
		place string
	}{
		{bad, "parameter 1: keyhash_test.failing cannot be encoded for the key: fails"},
		{[]failing{{}, bad}, "parameter 1: []keyhash_test.failing[] (keyhash_test.failing) cannot be encoded"},
		{map[failing]int{bad: 1}, "parameter 1: map[keyhash_test.failing]int[key] (keyhash_test.failing) cannot be encoded"},
		{map[int][1]failing{1: {bad}}, "parameter 1: map[int][1]keyhash_test.failing[][] (keyhash_test.failing) cannot be encoded"},
		{struct{ A, B failing }{B: bad}, ".B (keyhash_test.failing) cannot be encoded"},
	} {
		_, err := tryHash(t, public, test.v)
		require.ErrorIs(t, err, errFails)
		require.ErrorContains(t, err, test.place)
	}
}

func TestABigFloatWhosePrecisionGobCannotSayIsRefused(t *testing.T) {
	float := func(prec uint, n int64) big.Float { return *new(big.Float).SetPrec(prec).SetInt64(n) }
	assert.NotEqual(t, hashOf(t, public, float(big.MaxPrec-63, 2)), hashOf(t, public, float(big.MaxPrec-63, 3)))
	for _, n := range []int64{2, 3} { // GobEncode gives both the same bytes
		_, err := tryHash(t, public, float(big.MaxPrec-62, n))
		require.ErrorContains(t, err, "parameter 1: big.Float cannot be encoded for the key: its precision is over 4294967232 bits")
	}
}

// selfish writes to itself when it is encoded.
type selfish struct{ n int }

func (s *selfish) MarshalBinary() ([]byte, error) { s.n++; return []byte{byte(s.n)}, nil }

func TestHashingLeavesArgumentsAsTheyAre(t *testing.T) {
	args := []selfish{{1}, {2}}
	_, err := Compile(reflect.TypeFor[[]selfish](), "")(public, unsafe.Pointer(&args))
	require.NoError(t, err)
	assert.Equal(t, []selfish{{1}, {2}}, args)
}

// ---- attacks

func TestStringsWithEqualFNVHashesHaveDifferentHashes(t *testing.T) {
	a, err := hashstructure.Hash("M9MQ9R6pH6K", hashstructure.FormatV2, nil)
	require.NoError(t, err)
	b, err := hashstructure.Hash("j1zgodLjKBN", hashstructure.FormatV2, nil)
	require.NoError(t, err)
	assert.Equal(t, a, b, "why the default hash of hashstructure is not enough")
	assert.NotEqual(t, hashOf(t, public, "M9MQ9R6pH6K"), hashOf(t, public, "j1zgodLjKBN"))
}

// xorCollision returns a non-empty choice of the rows whose exclusive or is target, by Gaussian
// elimination.
func xorCollision(t require.TestingT, rows []Hash, target Hash) (chosen []int) {
	type row struct {
		value Hash
		from  *big.Int
	}
	xor := func(a, b Hash) Hash { return Hash{a[0] ^ b[0], a[1] ^ b[1]} }
	bit := func(h Hash, i int) bool { return h[i/64]>>(i%64)&1 == 1 }
	var basis [128]*row
	reduce := func(r row) (row, int) {
		for i := range 128 {
			if !bit(r.value, i) {
				continue
			}
			if basis[i] == nil {
				return r, i
			}
			r = row{xor(r.value, basis[i].value), new(big.Int).Xor(r.from, basis[i].from)}
		}
		return r, -1
	}
	for i, value := range rows {
		if r, at := reduce(row{value, new(big.Int).SetBit(new(big.Int), i, 1)}); at >= 0 {
			basis[at] = &r
		}
	}
	r, at := reduce(row{target, new(big.Int)})
	require.Equal(t, -1, at, "more rows are needed")
	for i := range rows {
		if r.from.Bit(i) == 1 {
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// rowsOf returns the hash that hashstructure combines for each of n pairs.
func rowsOf(n int, row func(i int) (key, value Hash)) (rows []Hash) {
	for i := range n {
		key, value := row(i)
		rows = append(rows, public.Append(key, value))
	}
	return rows
}

func TestLinearAlgebraFindsNoSecondMapOfTheSameHash(t *testing.T) {
	victim := map[string]string{"user": "alice"}
	name := func(i int) string { return fmt.Sprintf("k%d", i) }
	rows := rowsOf(200, func(i int) (Hash, Hash) { return hashOf(t, public, name(i)), hashOf(t, public, "x") })
	target := public.Append(hashOf(t, public, "user"), hashOf(t, public, "alice"))
	forged := make(map[string]string)
	for _, i := range xorCollision(t, rows, target) {
		forged[name(i)] = "x"
	}
	require.NotEqual(t, victim, forged)
	require.Equal(t, reference(t, public, victim), reference(t, public, forged), "hashstructure itself gives them one hash")
	assert.NotEqual(t, hashOf(t, public, victim), hashOf(t, public, forged))
	assert.NotEqual(t, hashOf(t, public, []any{victim}[0]), hashOf(t, public, map[string]string{}))
}

// A set is a map whose values are empty.
func TestLinearAlgebraFindsNoSecondSetOfTheSameHash(t *testing.T) {
	victim := map[int]struct{}{1: {}}
	empty := reference(t, public, struct{}{})
	rows := rowsOf(200, func(i int) (Hash, Hash) { return hashOf(t, public, i+2), empty })
	forged := make(map[int]struct{})
	for _, i := range xorCollision(t, rows, public.Append(hashOf(t, public, 1), empty)) {
		forged[i+2] = struct{}{}
	}
	require.Equal(t, reference(t, public, victim), reference(t, public, forged), "hashstructure itself gives them one hash")
	assert.NotEqual(t, hashOf(t, public, victim), hashOf(t, public, forged))
	assert.NotEqual(t, hashOf(t, public, []int{1, 1}), hashOf(t, public, []int{}))
}

func TestLinearAlgebraFindsNoSecondStructOfTheSameHash(t *testing.T) {
	// hashstructure mixes after each field: it combines the hash of the fields before with one
	// field. So even two swapped fields could collide.
	type flags struct{ A, B, C, D string }
	seen := make(map[Hash]flags)
	for _, a := range []string{"", "x"} {
		for _, b := range []string{"", "x"} {
			for _, c := range []string{"", "x"} {
				for _, d := range []string{"", "x"} {
					f := flags{a, b, c, d}
					h := hashOf(t, public, f)
					require.NotContains(t, seen, h)
					seen[h] = f
					form := public.Append(public.Append(public.Append(public.Append(Hash{}, hashOf(t, public, a)), hashOf(t, public, b)), hashOf(t, public, c)), hashOf(t, public, d))
					require.Equal(t, form, h, "fields are combined in order")
				}
			}
		}
	}
}

func TestTheOrderInWhichAMapIsBuiltDoesNotChangeItsHash(t *testing.T) {
	keys := rand.Perm(100)
	a, b := make(map[int]string), make(map[int]string)
	for i := range keys {
		a[keys[i]] = fmt.Sprint(keys[i])
		b[keys[len(keys)-1-i]] = fmt.Sprint(keys[len(keys)-1-i])
	}
	for range 10 { // each time in another order
		require.Equal(t, hashOf(t, public, a), hashOf(t, public, b))
	}
}

// ---- types

type cyclicA struct{ B []cyclicB }

type cyclicB struct{ A []cyclicA }

func (cyclicA) MarshalText() ([]byte, error) { return nil, nil }
func (cyclicB) MarshalText() ([]byte, error) { return nil, nil }

type polygon []specimen.Hidden

func (polygon) MarshalBinary() ([]byte, error) { return nil, nil }

func TestOnlyTypesWithHiddenFieldsUseTheirEncoding(t *testing.T) {
	for _, typ := range specimen.Plain {
		assert.False(t, Opaque(typ), "%v", typ)
		assert.Equal(t, None, EncodingOf(typ), "%v", typ)
	}
	for _, typ := range specimen.Encoded {
		assert.True(t, Opaque(typ), "%v", typ)
		assert.NotEqual(t, None, EncodingOf(typ), "%v", typ)
	}
	for _, test := range []struct {
		typ    reflect.Type
		opaque bool
		want   Encoding
	}{
		{reflect.TypeFor[specimen.Hidden](), true, None},
		{reflect.TypeFor[[]specimen.Hidden](), true, None},
		{reflect.TypeFor[polygon](), true, MarshalBinary},
		{reflect.TypeFor[struct{ P polygon }](), false, None},
		{reflect.TypeFor[cyclicA](), true, MarshalText},
		{reflect.TypeFor[cyclicB](), true, MarshalText},
		{reflect.TypeFor[[]cyclicB](), false, None},
		{reflect.TypeFor[specimen.Order](), false, None},
		{reflect.TypeFor[struct {
			A int
			b int `fncache:"-"`
		}](), false, None},
		{reflect.TypeFor[struct{ A, _ int }](), false, None},
	} {
		assert.Equal(t, test.opaque, Opaque(test.typ), "%v", test.typ)
		assert.Equal(t, test.want, EncodingOf(test.typ), "%v", test.typ)
		if !test.opaque || test.want != None {
			assert.NotPanics(t, func() { hashOf(t, public, reflect.Zero(test.typ).Interface()) }, "%v", test.typ)
		}
	}
}

func TestTypesOfOneFormHashAlike(t *testing.T) {
	type id int64
	type key struct {
		ID   id
		Tags [][]byte
	}
	type renamed struct {
		Number int
		Labels []string
	}
	require.Equal(t, Form(reflect.TypeFor[id](), false), Form(reflect.TypeFor[int](), false))
	assert.Equal(t, hashOf(t, public, id(3)), hashOf(t, public, 3))
	require.Equal(t, Form(reflect.TypeFor[key](), false), Form(reflect.TypeFor[renamed](), false))
	assert.Equal(t, hashOf(t, public, key{3, [][]byte{[]byte("a")}}), hashOf(t, public, renamed{3, []string{"a"}}))
	assert.NotEqual(t, Form(reflect.TypeFor[key](), true), Form(reflect.TypeFor[renamed](), true))
	assert.NotEqual(t, Form(reflect.TypeFor[sql.NullInt64](), true), Form(reflect.TypeFor[specimen.NullInt](), true))
}

// ---- speed

func BenchmarkHash(b *testing.B) {
	text := strings.Repeat("x", 1<<20)
	for _, arg := range []any{
		42, "a", time.Now(), text, []byte(text),
		struct{ B []byte }{[]byte(text)},
		bytes.Runes([]byte("runes")),
		specimen.Base{ID: 1, Name: "a"},
		map[string]int{"a": 1, "b": 2, "c": 3},
		specimen.NewDecimal(1, 2),
		specimen.UUID{},
		specimen.Order{Labels: map[string]string{"a": "b"}},
	} {
		v := reflect.ValueOf(arg)
		size := ""
		if s := fmt.Sprint(v); len(s) > 1<<20 {
			size = "_1MiB"
		}
		b.Run(fmt.Sprintf("%v%s", v.Type(), size), func(b *testing.B) {
			at := reflect.New(v.Type())
			at.Elem().Set(v)
			hash := Compile(v.Type(), "")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = hash(public, at.UnsafePointer())
			}
		})
		b.Run(fmt.Sprintf("%v%s/hashstructure", v.Type(), size), func(b *testing.B) {
			first, second := hasher(public, 0), hasher(public, 1)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = hashstructure.Hash(arg, hashstructure.FormatV2, first)
				_, _ = hashstructure.Hash(arg, hashstructure.FormatV2, second)
			}
		})
	}
}

// In a wide64 an int occurs 3 to the power of 64 times.
type (
	wide[T any]   struct{ A, B, C []T }
	wide4[T any]  = wide[wide[wide[wide[T]]]]
	wide16[T any] = wide4[wide4[wide4[wide4[T]]]]
	wide64[T any] = wide16[wide16[wide16[wide16[T]]]]
)

func TestATypeIsExaminedOnceHoweverOftenItOccurs(t *testing.T) {
	assert.False(t, Opaque(reflect.TypeFor[wide64[int]]()))
	assert.True(t, Opaque(reflect.TypeFor[wide64[struct{ n int }]]()))
}
