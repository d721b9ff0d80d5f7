package fncache

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dchest/siphash"
	"github.com/mitchellh/hashstructure/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var publicKeys = newHashKeys(nil)

// hashOf hashes the arguments of a call of a function of that type, in both forms.
func hashOf(t require.TestingT, k *hashKeys, fn reflect.Type, args ...any) hash128 {
	sig, err := newSignature(fn)
	require.NoError(t, err)
	values, err := sig.arguments(args)
	require.NoError(t, err)
	plan := newKeyPlan(sig, codecName)
	h, err := plan.hash(k, values)
	require.NoError(t, err)
	require.Equal(t, h, hashInMemory(t, k, plan, sig, values))
	return h
}

// hashInMemory hashes arguments as the typed form does.
func hashInMemory(t require.TestingT, k *hashKeys, plan *keyPlan, sig *signature, values []reflect.Value) (list hash128) {
	for i, v := range values {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		h, err := memoryHasherOf(plan, sig, i)(k, p.UnsafePointer())
		require.NoError(t, err)
		list = k.chain(list, h)
	}
	return list
}

// hashOne hashes one argument.
func hashOne[T any](v T) hash128 {
	return hashOf(panics{}, publicKeys, reflect.TypeFor[func(T) int](), v)
}

// panics is for requirements outside of a test.
type panics struct{}

func (panics) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) FailNow()                          { panic("FailNow") }

func TestArgumentsThatAreTheSameShareAKeyAndOthersDoNot(t *testing.T) {
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	pair := reflect.TypeFor[func(string, string) int]()
	list := reflect.TypeFor[func(...int) int]()
	mixed := reflect.TypeFor[func(context.Context, []string, int) int]()
	p := func(fn reflect.Type, args ...any) hash128 { return hashOf(t, publicKeys, fn, args...) }
	for _, test := range []struct {
		name string
		a, b hash128
		same bool
	}{
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

		{"equal instants", hashOne(noon), hashOne(noon.Add(0)), true},
		{"a nanosecond", hashOne(noon), hashOne(noon.Add(1)), false},
		{"a time at two offsets", hashOne(noon), hashOne(noon.In(time.FixedZone("CET", 3600))), false},
		{"a time in two zones of one offset", hashOne(noon.In(time.FixedZone("CET", 3600))), hashOne(noon.In(time.FixedZone("WAT", 3600))), true},
		{"times in structs", hashOne(plainPage{At: noon}), hashOne(plainPage{At: noon.Add(1)}), false},

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

		{"equal structs", hashOne(embedsOK{EmbeddedOK{"a"}, 1}), hashOne(embedsOK{EmbeddedOK{"a"}, 1}), true},
		{"embedded field", hashOne(embedsOK{EmbeddedOK{"a"}, 1}), hashOne(embedsOK{EmbeddedOK{"b"}, 1}), false},
		{"swapped fields", hashOne(struct{ A, B int }{1, 2}), hashOne(struct{ A, B int }{2, 1}), false},
		{"field left out", hashOne(withIgnored{ID: 1}), hashOne(withIgnored{ID: 1, Trace: make(chan int)}), true},
		{"field not left out", hashOne(withIgnored{ID: 1}), hashOne(withIgnored{ID: 2}), false},
		{"another library's tag leaves nothing out", hashOne(otherTags{1}), hashOne(otherTags{2}), false},

		{"equal by MarshalBinary", hashOne(binaryKey{1}), hashOne(binaryKey{1}), true},
		{"MarshalBinary", hashOne(binaryKey{1}), hashOne(binaryKey{2}), false},
		{"MarshalText", hashOne(textKey{1}), hashOne(textKey{2}), false},
		{"MarshalBinary before MarshalText", hashOne(bothKey{1}), hashOne(bothKey{2}), false},
		{"addresses", hashOne(netip.MustParseAddr("::1")), hashOne(netip.MustParseAddr("::2")), false},
		{"an address and itself in IPv6", hashOne(netip.MustParseAddr("1.2.3.4")), hashOne(netip.MustParseAddr("::ffff:1.2.3.4")), false},

		{"variadic none and one", p(list), p(list, 0), false},
		{"variadic one and two", p(list, 1), p(list, 1, 1), false},
		{"variadic and its slice", p(list, 1, 2), p(list, []int{1, 2}), true},
		{"a context is no argument", p(mixed, []string{"a"}, 1), p(reflect.TypeFor[func([]string, int) int](), []string{"a"}, 1), true},
		{"an int under another name", hashOne(1), hashOne(plainID(1)), true}, // the fingerprint tells them apart
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.same {
				assert.Equal(t, test.a, test.b)
				return
			}
			assert.NotEqual(t, test.a, test.b)
			assert.NotEqual(t, test.a[0], test.b[0], "the first half alone tells them apart")
			assert.NotEqual(t, test.a[1], test.b[1], "the second half alone tells them apart")
		})
	}
}

func TestTheStringsThatFNVCannotTellApart(t *testing.T) {
	a, err := hashstructure.Hash("M9MQ9R6pH6K", hashstructure.FormatV2, nil)
	require.NoError(t, err)
	b, err := hashstructure.Hash("j1zgodLjKBN", hashstructure.FormatV2, nil)
	require.NoError(t, err)
	assert.Equal(t, a, b, "why the default hash of hashstructure is not enough")
}

func TestASecretChangesBothHalvesAndNothingElseDoes(t *testing.T) {
	secret, same, other := newHashKeys([]byte("s3cret")), newHashKeys([]byte("s3cret")), newHashKeys([]byte("s3cret\x00"))
	for _, fn := range []reflect.Type{param[string](), reflect.TypeFor[func(EmbeddedOK) int]()} {
		arg := any("a")
		if fn.NumIn() == 1 {
			arg = EmbeddedOK{"a"}
		}
		h := hashOf(t, secret, fn, arg)
		assert.Equal(t, h, hashOf(t, same, fn, arg), "in every process that has it")
		for _, k := range []*hashKeys{other, publicKeys, newHashKeys([]byte{})} {
			assert.NotEqual(t, h[0], hashOf(t, k, fn, arg)[0])
			assert.NotEqual(t, h[1], hashOf(t, k, fn, arg)[1])
		}
	}
	assert.Equal(t, hashOne("a"), hashOf(t, newHashKeys([]byte{}), reflect.TypeFor[func(string) int](), "a"), "an empty secret is none")
}

// reference hashes arguments as the design says: as one []any, by hashstructure.
func reference(t require.TestingT, k *hashKeys, args []any) (h hash128) {
	for i, key := range k.keys {
		raw := make([]byte, 0, 16)
		for _, half := range key {
			for shift := 0; shift < 64; shift += 8 {
				raw = append(raw, byte(half>>shift))
			}
		}
		opts := hashstructure.HashOptions{Hasher: siphash.New(raw), TagName: "fncache"}
		var err error
		h[i], err = hashstructure.Hash(args, hashstructure.FormatV2, &opts)
		require.NoError(t, err)
	}
	return h
}

// everything is a function with a parameter of each kind, for which shortcuts
// are taken or not.
type everything = func(context.Context, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, plainRatio, float64,
	string, plainID, []byte, plainBytes, []plainByte, [5]byte, []byte, [0]byte, [][]byte, [3]int16, [][]string, map[string][]int, plainPage, time.Time, []float32, ...bool) int

func TestKeysAreHashstructuresBitForBit(t *testing.T) {
	fn := reflect.TypeFor[everything]()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOf(rapid.Byte()).Draw(t, "secret")
		args := []any{
			rapid.Bool().Draw(t, "bool"), rapid.Int().Draw(t, "int"),
			rapid.Int8().Draw(t, "int8"), rapid.Int16().Draw(t, "int16"), rapid.Int32().Draw(t, "int32"), rapid.Int64().Draw(t, "int64"),
			rapid.Uint().Draw(t, "uint"), rapid.Uint8().Draw(t, "uint8"), rapid.Uint16().Draw(t, "uint16"),
			rapid.Uint32().Draw(t, "uint32"), rapid.Uint64().Draw(t, "uint64"),
			math.Float32frombits(rapid.Uint32().Draw(t, "float32")),
			plainRatio(math.Float32frombits(rapid.Uint32().Draw(t, "named float32"))), math.Float64frombits(rapid.Uint64().Draw(t, "float64")),
			rapid.String().Draw(t, "string"), plainID(rapid.Int64().Draw(t, "named")),
			rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"), plainBytes(rapid.SliceOf(rapid.Byte()).Draw(t, "named bytes")),
			[]plainByte{plainByte(rapid.Byte().Draw(t, "named byte")), 0},
			[5]byte(rapid.SliceOfN(rapid.Byte(), 5, 5).Draw(t, "array of bytes")), []byte(nil),
			[0]byte{},
			rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "lists of bytes"),
			[3]int16(rapid.SliceOfN(rapid.Int16(), 3, 3).Draw(t, "array")),
			rapid.SliceOf(rapid.SliceOf(rapid.String())).Draw(t, "strings"),
			rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.Int())).Draw(t, "map"),
			rapid.Make[plainPage]().Draw(t, "struct"), rapid.Make[time.Time]().Draw(t, "time"),
			rapid.SliceOf(rapid.Float32()).Draw(t, "float32s"), rapid.SliceOf(rapid.Bool()).Draw(t, "variadic"),
		}
		k := newHashKeys(secret)
		require.Equal(t, reference(t, k, args), hashOf(t, k, fn, args...))
	})
}

func TestKeysOfFloatsAreHashstructuresForEachKindOfNaN(t *testing.T) {
	fn := reflect.TypeFor[func(float32, plainRatio, float64, []float32, []plainRatio, [1]float32) int]()
	for _, sign := range []uint32{0, 1 << 31} {
		for _, bits := range []uint32{0, 1, 0x3f800000, 0x7f800000, 0x7f800001, 0x7fa00000, 0x7fbfffff, 0x7fc00000, 0x7fc00001, 0x7fffffff} {
			f := math.Float32frombits(sign | bits)
			args := []any{f, plainRatio(f), math.Float64frombits(uint64(sign|bits)<<32 | 1), []float32{f}, []plainRatio{plainRatio(f)}, [1]float32{f}}
			assert.Equal(t, reference(t, publicKeys, args), hashOf(t, publicKeys, fn, args...), "%#x", sign|bits)
		}
	}
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
		require.ErrorContains(t, err, "fncache: test.ByText: parameter 3: fncache.textKey cannot be encoded for the key")
		_, err = f.Key(1, textKey{-1})
		require.ErrorIs(t, err, errEncoding)
		assert.Zero(t, ran)
		_, err = call(t.Context(), 1, textKey{1})
		require.NoError(t, err)
		assert.EqualValues(t, 1, requireIdentity(t, f).Failed)
	})
}

func TestATimeThatCannotBeEncodedIsTheCallsError(t *testing.T) {
	sig, err := newSignature(param[[]time.Time]())
	require.NoError(t, err)
	tooFarEast := time.Now().In(time.FixedZone("nowhere", 1<<30))
	values, err := sig.arguments([]any{[]time.Time{tooFarEast}})
	require.NoError(t, err)
	_, err = newKeyPlan(sig, codecName).hash(publicKeys, values)
	require.ErrorContains(t, err, "parameter 2: []time.Time cannot be hashed")
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

// TestGoldenKeys has whole keys: with the fingerprints of types and the hashes
// of arguments that running fleets rely on.
func TestGoldenKeys(t *testing.T) {
	var got strings.Builder
	for _, k := range []struct {
		name string
		keys *hashKeys
	}{{"public", publicKeys}, {"secret", newHashKeys([]byte("golden"))}} {
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
			sig, err := newSignature(call.fn)
			require.NoError(t, err)
			key := []byte(entryPrefix(DefaultNamespace, call.prefix+call.name))
			key = append(appendHex(key, hashOf(t, k.keys, call.fn, call.args...)), entrySuffix(newKeyPlan(sig, "cbor1").sig())...)
			fmt.Fprintf(&got, "%s %v\n\t%s\n", k.name, call.fn, key)
		}
	}
	golden(t, "keys_v1.txt", got.String())
}

// ---- fingerprints

func TestFingerprintsTellTypesApart(t *testing.T) {
	sigOf := func(fn reflect.Type, codec string) string {
		sig, err := newSignature(fn)
		require.NoError(t, err)
		return newKeyPlan(sig, codec).sig()
	}
	base := sigOf(result[struct{ A int }](), "cbor1")
	assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{12}$`), base)
	type aliased struct{ A int }
	type deep struct {
		Books map[string][]struct{ A int }
	}
	type deeper struct {
		Books map[string][]struct{ A int64 }
	}
	for _, test := range []struct {
		what string
		a, b reflect.Type
		same bool
	}{
		{"a context", reflect.TypeFor[func(context.Context, int) int](), reflect.TypeFor[func(int) int](), true},
		{"an error", reflect.TypeFor[func(int) int](), reflect.TypeFor[func(int) (int, error)](), true},
		{"variadic", reflect.TypeFor[func([]int) int](), reflect.TypeFor[func(...int) int](), true},
		{"unexported fields of results", result[struct {
			A int
			b int
		}](), result[struct{ A int }](), true},
		{"fields left out of the key", param[struct {
			A int
			B chan int `fncache:"-"`
		}](), param[struct{ A int }](), true},

		{"result type", result[int](), result[int64](), false},
		{"parameter type", param[int](), param[int64](), false},
		{"parameter or result", reflect.TypeFor[func(int) string](), reflect.TypeFor[func(string) int](), false},
		{"number of parameters", reflect.TypeFor[func(int) int](), reflect.TypeFor[func(int, int) int](), false},
		{"number of results", reflect.TypeFor[func() int](), reflect.TypeFor[func() (int, int)](), false},
		{"type name", result[struct{ A int }](), result[aliased](), false},
		{"field name", result[struct{ A int }](), result[struct{ B int }](), false},
		{"field type", result[struct{ A int }](), result[struct{ A uint }](), false},
		{"field type, deep", result[struct{ D deep }](), result[struct{ D deeper }](), false},
		{"field tag", result[struct{ A int }](), result[struct {
			A int `json:"a"`
		}](), false},
		{"field added", result[struct{ A int }](), result[struct{ A, B int }](), false},
		{"fields swapped", result[struct{ A, B int }](), result[struct{ B, A int }](), false},
		{"embedded", result[struct{ EmbeddedOK }](), result[struct{ EmbeddedOK EmbeddedOK }](), false},
		{"pointer", result[EmbeddedOK](), result[*EmbeddedOK](), false},
		{"array length", result[[2]int](), result[[3]int](), false},
		{"slice or array", result[[2]int](), result[[]int](), false},
		{"map key", result[map[int]int](), result[map[string]int](), false},
		{"its own encoding", result[binaryKey](), result[ownEncoding](), false},
	} {
		t.Run(test.what, func(t *testing.T) {
			assert.Equal(t, test.same, sigOf(test.a, "cbor1") == sigOf(test.b, "cbor1"))
			assert.NotEqual(t, sigOf(test.a, "cbor1"), sigOf(test.a, "cbor2"), "another codec")
		})
	}
}
