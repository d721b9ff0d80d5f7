package fncache_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/golden"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
	"github.com/fncache/fncache/internal/specimen"
)

// The types below represent arguments of users. The types of the golden keys must stay in this
// package, because its path is part of the keys.
type (
	plainID    int64
	plainRatio float32
	plainPage  struct {
		Author string
		Years  []int
		Seen   map[string]bool
		At     time.Time
		Nested [2]struct{ A, B float32 }
	}
	withIgnored struct {
		ID    int
		Trace chan int `fncache:"-"`
	}
	embedsOK  = EmbedsOK
	otherTags struct {
		ID int `hash:"ignore" json:"-"`
	}
	binaryKey struct{ n int }
	textKey   struct{ n int }
	bothKey   struct{ n int }
)

func (k binaryKey) MarshalBinary() ([]byte, error) { return []byte{byte(k.n)}, nil }
func (k bothKey) MarshalBinary() ([]byte, error)   { return []byte{byte(k.n)}, nil }
func (k bothKey) MarshalText() ([]byte, error)     { return []byte("all the same"), nil }
func (k textKey) MarshalText() ([]byte, error) {
	if k.n < 0 {
		return nil, errEncoding
	}
	return []byte{byte(k.n)}, nil
}

var errEncoding = errors.New("no encoding for that")

// param makes the type of a function with this parameter.
func param[T any]() reflect.Type { return reflect.TypeFor[func(context.Context, T) (int, error)]() }

var publicKeys = keyhash.NewKeys(nil)

// hashOf hashes the arguments of a call of a function of that type, in both forms.
func hashOf(t require.TestingT, k *keyhash.Keys, fn reflect.Type, args ...any) keyhash.Hash {
	sig, err := signature.New(fn, false, codec.CBOR)
	require.NoError(t, err)
	values, err := sig.Arguments(args)
	require.NoError(t, err)
	s := shape.NewReflected(shape.Compile(sig), reflect.Value{})
	h, err := s.Hash(k, s.Arguments(values))
	require.NoError(t, err)
	require.Equal(t, h, hashInMemory(t, k, sig, values))
	return h
}

// hashInMemory hashes arguments as the typed form does.
func hashInMemory(t require.TestingT, k *keyhash.Keys, sig *signature.Signature, values []reflect.Value) (list keyhash.Hash) {
	for i, v := range values {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		h, err := keyhash.Compile(sig.Params[i], sig.Place(i))(k, p.UnsafePointer())
		require.NoError(t, err)
		list = k.Append(list, h)
	}
	return list
}

// hashOne hashes one argument.
func hashOne[T any](v T) keyhash.Hash {
	return hashOf(panics{}, publicKeys, reflect.TypeFor[func(T) int](), v)
}

// panics is for requirements outside of a test.
type panics struct{}

func (panics) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) FailNow()                          { panic("FailNow") }

// A pairOfHashes are the hashes of two lists of arguments.
type pairOfHashes struct {
	name string
	a, b keyhash.Hash
	same bool
}

// compareHashes checks that hashes are the same, or that both of their halves differ.
func compareHashes(t *testing.T, pairs []pairOfHashes) {
	t.Helper()
	for _, test := range pairs {
		t.Run(test.name, func(t *testing.T) {
			if test.same {
				assert.Equal(t, test.a, test.b)
				return
			}
			assert.NotEqual(t, test.a, test.b)
			assert.NotEqual(t, test.a[0], test.b[0], "the first half alone differs")
			assert.NotEqual(t, test.a[1], test.b[1], "the second half alone differs")
		})
	}
}

func TestScalarsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	pair := reflect.TypeFor[func(string, string) int]()
	p := func(fn reflect.Type, args ...any) keyhash.Hash { return hashOf(t, publicKeys, fn, args...) }
	compareHashes(t, []pairOfHashes{
		{"equal ints", hashOne(1), hashOne(1), true},
		{"ints", hashOne(1), hashOne(2), false},
		{"signs", hashOne(1), hashOne(-1), false},
		{"zero and none", hashOne(0), p(reflect.TypeFor[func() int]()), false},
		{"bools", hashOne(true), hashOne(false), false},
		{"strings", hashOne("a"), hashOne("b"), false},
		{"empty string and a NUL", hashOne(""), hashOne("\x00"), false},
		{"strings of NULs", hashOne("\x00"), hashOne("\x00\x00"), false},
		{"invalid UTF-8", hashOne("\xff"), hashOne("\xfe"), false},
		{"the strings that FNV cannot tell apart", hashOne("M9MQ9R6pH6K"), hashOne("j1zgodLjKBN"), false},
		{"the same, as fields", hashOne(EmbeddedOK{"M9MQ9R6pH6K"}), hashOne(EmbeddedOK{"j1zgodLjKBN"}), false},
		{"floats", hashOne(0.1), hashOne(0.2), false},
		{"equal float32", hashOne(float32(0.1)), hashOne(float32(0.1)), true},
		{"float32", hashOne(float32(0.1)), hashOne(float32(0.2)), false},
		{"NaN is itself here", hashOne(math.NaN()), hashOne(math.NaN()), true},
		{"order of arguments", p(pair, "a", "b"), p(pair, "b", "a"), false},
		{"border between arguments", p(pair, "ab", "c"), p(pair, "a", "bc"), false},
		{"moved from one to the other", p(pair, "ab", ""), p(pair, "", "ab"), false},
	})
}

func TestTimesThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	now := time.Now()
	compareHashes(t, []pairOfHashes{
		{"equal instants", hashOne(noon), hashOne(noon.Add(0)), true},
		{"a nanosecond", hashOne(noon), hashOne(noon.Add(1)), false},
		{"a time at two offsets", hashOne(noon), hashOne(noon.In(time.FixedZone("CET", 3600))), false},
		{"a time in two zones of one offset", hashOne(noon.In(time.FixedZone("CET", 3600))), hashOne(noon.In(time.FixedZone("WAT", 3600))), true},
		{"UTC and an offset of zero", hashOne(noon), hashOne(noon.In(time.FixedZone("GMT", 0))), true},
		{"an offset with seconds", hashOne(noon.In(time.FixedZone("", 3600))), hashOne(noon.In(time.FixedZone("", 3601))), false},
		{"an offset beyond what time.Time encodes", hashOne(noon.In(time.FixedZone("", 1<<30))), hashOne(noon.In(time.FixedZone("", 1<<30+1))), false},
		{"a monotonic reading", hashOne(now), hashOne(now.Round(0)), true},
		{"times in structs", hashOne(plainPage{At: noon}), hashOne(plainPage{At: noon.Add(1)}), false},
	})
}

func TestListsAndMapsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	compareHashes(t, []pairOfHashes{
		{"nil and empty slice", hashOne([]int(nil)), hashOne([]int{}), true},
		{"nil and empty map", hashOne(map[string]int(nil)), hashOne(map[string]int{}), true},
		{"nil and empty, deep", hashOne(plainPage{}), hashOne(plainPage{Years: []int{}, Seen: map[string]bool{}}), true},
		{"empty and zero element", hashOne([]int{}), hashOne([]int{0}), false},
		{"numbers of zeros", hashOne([]int{0}), hashOne([]int{0, 0}), false},
		{"nested empties", hashOne([][]int{{}}), hashOne([][]int{{}, {}}), false},
		{"nested borders", hashOne([][]int{{1}, {2}}), hashOne([][]int{{1, 2}}), false},
		{"order in a slice", hashOne([]string{"a", "b"}), hashOne([]string{"b", "a"}), false},
		{"twice the same", hashOne([]string{"a", "a"}), hashOne([]string{}), false},
		{"order in an array", hashOne([2]int{1, 2}), hashOne([2]int{2, 1}), false},
		{"order in a map", hashOne(map[string]int{"a": 1, "b": 2}), hashOne(map[string]int{"b": 2, "a": 1}), true},
		{"swapped values in a map", hashOne(map[string]int{"a": 1, "b": 2}), hashOne(map[string]int{"a": 2, "b": 1}), false},
		{"swapped key and value", hashOne(map[string]string{"a": "b"}), hashOne(map[string]string{"b": "a"}), false},
	})
}

func TestStructsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	compareHashes(t, []pairOfHashes{
		{"equal structs", hashOne(embedsOK{EmbeddedOK{"a"}, 1}), hashOne(embedsOK{EmbeddedOK{"a"}, 1}), true},
		{"embedded field", hashOne(embedsOK{EmbeddedOK{"a"}, 1}), hashOne(embedsOK{EmbeddedOK{"b"}, 1}), false},
		{"swapped fields", hashOne(struct{ A, B int }{1, 2}), hashOne(struct{ A, B int }{2, 1}), false},
		{"field left out", hashOne(withIgnored{ID: 1}), hashOne(withIgnored{ID: 1, Trace: make(chan int)}), true},
		{"field not left out", hashOne(withIgnored{ID: 1}), hashOne(withIgnored{ID: 2}), false},
		{"another library's tag leaves nothing out", hashOne(otherTags{1}), hashOne(otherTags{2}), false},
	})
}

func TestValuesWithEncodingsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	compareHashes(t, []pairOfHashes{
		{"zeros of two signs", hashOne(math.Copysign(0, -1)), hashOne(0.0), false},
		{"a blank field", hashOne(specimen.Blank{A: 1}), hashOne(specimen.Blank{A: 1}), true},
		{"the text of a token", hashOne(specimen.Token("alice")), hashOne(specimen.Token("bob")), false},
		{"enums that share a text", hashOne(specimen.Color(7)), hashOne(specimen.Color(8)), false},
		{"null and empty", hashOne(specimen.NullString{NullString: sql.NullString{Valid: true}}), hashOne(specimen.NullString{}), false},
		{"a field that the text leaves out", hashOne(specimen.HalfText{Shown: "a", Left: "b"}), hashOne(specimen.HalfText{Shown: "a", Left: "c"}), false},
		{"a field that the pointer's encoding leaves out", hashOne(specimen.HalfBinary{Left: 1}), hashOne(specimen.HalfBinary{Left: 2}), false},
		{"an array that prints short", hashOne(specimen.Digest{31: 1}), hashOne(specimen.Digest{31: 2}), false},
		{"a list without borders", hashOne(specimen.Tags{"ab", "c"}), hashOne(specimen.Tags{"a", "bc"}), false},
		{"beside an embedded time", hashOne(specimen.TimeAndNote{Time: noon, Note: "a"}), hashOne(specimen.TimeAndNote{Time: noon, Note: "b"}), false},
		{"beside an embedded decimal", hashOne(specimen.DecimalAndNote{Decimal: specimen.NewDecimal(1, 0), Note: "a"}), hashOne(specimen.DecimalAndNote{Decimal: specimen.NewDecimal(1, 0), Note: "b"}), false},
		{"tokens in maps", hashOne(map[specimen.Token]int{"a": 1}), hashOne(map[specimen.Token]int{"b": 1}), false},
		{"an IPv4 address of two lengths", hashOne(net.IP{1, 2, 3, 4}), hashOne(net.IPv4(1, 2, 3, 4)), false},
		{"encodings in a slice", hashOne([]specimen.ID{specimen.NewID("a")}), hashOne([]specimen.ID{specimen.NewID("b")}), false},
		{"encodings in a map", hashOne(map[specimen.ID]specimen.ID{specimen.NewID("a"): specimen.NewID("b")}), hashOne(map[specimen.ID]specimen.ID{specimen.NewID("b"): specimen.NewID("a")}), false},
		{"encodings in a struct", hashOne(specimen.Order{Price: specimen.NewDecimal(1, 0)}), hashOne(specimen.Order{Price: specimen.NewDecimal(10, -1)}), false},
		{"equal encodings of pointers", hashOne(specimen.NewPointerID("a")), hashOne(specimen.NewPointerID("a")), true},
		{"encodings of pointers", hashOne(specimen.NewPointerID("a")), hashOne(specimen.NewPointerID("b")), false},
		{"encodings of pointers in an array", hashOne([1]specimen.PointerID{specimen.NewPointerID("a")}), hashOne([1]specimen.PointerID{specimen.NewPointerID("b")}), false},
		{"encodings of pointers in a map", hashOne(map[int]specimen.PointerID{1: specimen.NewPointerID("a")}), hashOne(map[int]specimen.PointerID{1: specimen.NewPointerID("b")}), false},
		{"the pointer's MarshalBinary before the value's MarshalText", hashOne(specimen.NewMixed(1, 2)), hashOne(specimen.NewMixed(1, 3)), false},
		{"big.Int", hashOne(*big.NewInt(1)), hashOne(*big.NewInt(2)), false},
		{"big.Float of two precisions and one text", hashOne(*new(big.Float).SetPrec(24).SetFloat64(0.1)), hashOne(*big.NewFloat(0.1)), false},
	})
}

func TestMarshalersThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	compareHashes(t, []pairOfHashes{
		{"equal by MarshalBinary", hashOne(binaryKey{1}), hashOne(binaryKey{1}), true},
		{"MarshalBinary", hashOne(binaryKey{1}), hashOne(binaryKey{2}), false},
		{"MarshalText", hashOne(textKey{1}), hashOne(textKey{2}), false},
		{"MarshalBinary before MarshalText", hashOne(bothKey{1}), hashOne(bothKey{2}), false},
		{"addresses", hashOne(netip.MustParseAddr("::1")), hashOne(netip.MustParseAddr("::2")), false},
		{"an address and itself in IPv6", hashOne(netip.MustParseAddr("1.2.3.4")), hashOne(netip.MustParseAddr("::ffff:1.2.3.4")), false},
	})
}

func TestArgumentListsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	list := reflect.TypeFor[func(...int) int]()
	mixed := reflect.TypeFor[func(context.Context, []string, int) int]()
	p := func(fn reflect.Type, args ...any) keyhash.Hash { return hashOf(t, publicKeys, fn, args...) }
	compareHashes(t, []pairOfHashes{
		{"variadic none and one", p(list), p(list, 0), false},
		{"variadic one and two", p(list, 1), p(list, 1, 1), false},
		{"variadic and its slice", p(list, 1, 2), p(list, []int{1, 2}), true},
		{"a context is no argument", p(mixed, []string{"a"}, 1), p(reflect.TypeFor[func([]string, int) int](), []string{"a"}, 1), true},
		{"an int under another name", hashOne(1), hashOne(plainID(1)), true}, // the fingerprint tells them apart
	})
}

func TestASecretChangesBothHalvesAndNothingElseDoes(t *testing.T) {
	secret, same, other := keyhash.NewKeys([]byte("s3cret")), keyhash.NewKeys([]byte("s3cret")), keyhash.NewKeys([]byte("s3cret\x00"))
	for _, fn := range []reflect.Type{param[string](), reflect.TypeFor[func(EmbeddedOK) int]()} {
		arg := any("a")
		if fn.NumIn() == 1 {
			arg = EmbeddedOK{"a"}
		}
		h := hashOf(t, secret, fn, arg)
		assert.Equal(t, h, hashOf(t, same, fn, arg), "in every process that has it")
		for _, k := range []*keyhash.Keys{other, publicKeys, keyhash.NewKeys([]byte{})} {
			assert.NotEqual(t, h[0], hashOf(t, k, fn, arg)[0])
			assert.NotEqual(t, h[1], hashOf(t, k, fn, arg)[1])
		}
	}
	assert.Equal(t, hashOne("a"), hashOf(t, keyhash.NewKeys([]byte{}), reflect.TypeFor[func(string) int](), "a"), "an empty secret is none")
}

func TestDifferentArgumentsHaveDifferentKeys(t *testing.T) {
	type argument struct {
		ID     int64
		Name   string
		Labels map[string]string
		Years  []uint8
	}
	gen := rapid.Make[argument]()
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		normal := func(v argument) string { // nil and empty are the same
			return fmt.Sprintf("%d %q %q %v", v.ID, v.Name, v.Labels, v.Years)
		}
		require.Equal(t, normal(a) == normal(b), hashOne(a) == hashOne(b))
		require.Equal(t, hashOne(a), hashOne(a))
	})
}

func TestAnEncodingThatFailsIsTheCallsError(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		ran := 0
		call := func(context.Context, int, textKey) (int, error) { ran++; return ran, nil }
		f, err := Wrap(&call, Options{Cache: b.cache(), Name: "test.ByText", Timeout: time.Minute})
		require.NoError(t, err)
		_, err = call(t.Context(), 1, textKey{-1})
		require.ErrorIs(t, err, errEncoding)
		require.ErrorContains(t, err, "fncache: test.ByText: parameter 3: fncache_test.textKey cannot be encoded for the key")
		_, err = f.Key(1, textKey{-1})
		require.ErrorIs(t, err, errEncoding)
		assert.Zero(t, ran)
		_, err = call(t.Context(), 1, textKey{1})
		require.NoError(t, err)
		assert.EqualValues(t, 1, requireIdentity(t, f).Failed)
	})
}

func TestHashingIsSafeForConcurrentUse(t *testing.T) {
	want := hashOne(embedsOK{EmbeddedOK{"a"}, 1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				assert.Equal(t, want, hashOne(embedsOK{EmbeddedOK{"a"}, 1}))
			}
		})
	}
	wg.Wait()
}

// TestGoldenKeys compares whole keys, with the fingerprints of types and the hashes of arguments
// on which running fleets rely.
func TestGoldenKeys(t *testing.T) {
	var got strings.Builder
	for _, k := range []struct {
		name string
		keys *keyhash.Keys
	}{{"public", publicKeys}, {"secret", keyhash.NewKeys([]byte("golden"))}} {
		for _, call := range []struct {
			prefix, name string
			fn           reflect.Type
			args         []any
		}{
			{"", "example.com/shop.All", reflect.TypeFor[func() ([]int64, error)](), nil},
			{"", "example.com/shop.ByID", reflect.TypeFor[func(context.Context, int64) ([]int64, error)](), []any{42}},
			{"Author:", "example.com/shop.ByID", reflect.TypeFor[func(context.Context, int64) ([]int64, error)](), []any{42}},
			{"", "Find", reflect.TypeFor[func(string, bool, ...uint8) (string, int)](), []any{"Dune", true, 1, 2}},
			{"", "Pages", reflect.TypeFor[func(embedsOK, map[string][]int) *EmbeddedOK](), []any{embedsOK{EmbeddedOK{"a"}, 1}, map[string][]int{"b": {2}}}},
			{"", "Days", reflect.TypeFor[func(time.Time, float64) time.Time](), []any{time.Date(2024, 2, 29, 12, 0, 0, 123, time.UTC), 0.5}},
			{"", "Hosts", reflect.TypeFor[func(netip.Addr) []netip.Addr](), []any{netip.MustParseAddr("192.0.2.1")}},
		} {
			sig, err := signature.New(call.fn, false, codec.CBOR)
			require.NoError(t, err)
			key := hashOf(t, k.keys, call.fn, call.args...).AppendHex([]byte("fncache:{" + call.prefix + call.name + ":"))
			key = append(key, "}:"+sig.Fingerprint("cbor1", codec.CBOR)...)
			fmt.Fprintf(&got, "%s %v\n\t%s\n", k.name, call.fn, key)
		}
	}
	golden.Check(t, "keys_v1.txt", got.String())
}
