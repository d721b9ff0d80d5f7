package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/specimen"
)

// huge has an unexported megabyte, and encodes to one byte.
type huge struct{ a [1 << 20]byte }

func (huge) MarshalBinary() ([]byte, error)    { return nil, nil }
func (h *huge) UnmarshalBinary(_ []byte) error { h.a[0] = 1; return nil }

// partly leaves out most of itself.
type partly struct {
	A int
	B [1 << 20]byte `fncache:"-"`
}

var hugeTypes = []reflect.Type{
	reflect.TypeFor[[][1 << 20]byte](), reflect.TypeFor[[][1 << 17]int](), reflect.TypeFor[[]struct{ A, B [1 << 18]uint32 }](),
	reflect.TypeFor[[]*[1 << 20]byte](), reflect.TypeFor[[]**[1 << 17]string](), reflect.TypeFor[map[uint16][1 << 20]byte](),
	reflect.TypeFor[[]partly](), reflect.TypeFor[[]*partly](), reflect.TypeFor[map[uint16]partly](), reflect.TypeFor[map[string]*partly](),
	reflect.TypeFor[[]huge](), reflect.TypeFor[[]*huge](), reflect.TypeFor[map[uint16]huge](),
	reflect.TypeFor[[][]string](), reflect.TypeFor[[]map[string][16]string](), reflect.TypeFor[[][64]struct{}](), reflect.TypeFor[[]time.Time](),
}

// allocated returns how many bytes a call allocates in total.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestFourKilobytesTakeLittleMemoryToDecode(t *testing.T) {
	const n = 4000
	var bodies [][]byte
	for _, item := range []string{"\x00", "\x40", "\x60", "\x80", "\xa0", "\xf6", "\x81\x00", "\x81\x40", "\x81\xf6", "\x82\x00\x00", "\x41\x00"} {
		bodies = append(bodies, append([]byte{0x81, 0x99, n >> 8, n & 255}, strings.Repeat(item, n)...))
		bodies = append(bodies, append([]byte{0x81, 0x9a, 0x7f, 0xff, 0xff, 0xff}, strings.Repeat(item, n)...))
	}
	pairs := []byte{0x81, 0xb9, n >> 8, n & 255}
	for i := range n {
		pairs = append(pairs, 0x19, byte(i>>8), byte(i), 0x00)
	}
	bodies = append(bodies, pairs, bytes.ReplaceAll(pairs, []byte{0}, []byte{0x40}))
	for _, item := range []string{"0", `""`, "[]", "{}", "null", "[0]", `[""]`, "[null]", `"AA=="`, `{"A":0}`} {
		bodies = append(bodies, []byte("[["+strings.Repeat(item+",", n)+item+"]]"))
	}
	for _, typ := range hugeTypes {
		for _, format := range []Format{CBOR, JSON} {
			results, into := resultsOf(t, typ), func() []any { return pointersTo([]reflect.Type{typ}) }
			for _, body := range bodies {
				took := allocated(func() { _ = results.Decode(body, format, into()) })
				require.Less(t, took, uint64(40<<20), "%v from %.20q", typ, body)
			}
		}
	}
}

func TestACompressedBodyOfFourKilobytesTakesLessThanAGigabyte(t *testing.T) {
	noise := make([]byte, 4100) // so that a compressed block of this length is plausible
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for _, item := range []string{"\x80", "\xa0", "\x60", "\xf6", "\xa1\x60\x80"} {
		n := 4 << 20 / len(item)
		body := append([]byte{0x81, 0x9a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, strings.Repeat(item, n)...)
		body = append(body, noise...)
		packed := Compress(body, 0)
		require.NotNil(t, packed)
		require.Less(t, len(packed), 5<<10)
		for _, typ := range hugeTypes {
			results := resultsOf(t, typ)
			took := allocated(func() {
				if body, err := Decompress(packed); err == nil {
					_ = results.Decode(body, CBOR, pointersTo([]reflect.Type{typ}))
				}
			})
			require.Less(t, took, uint64(1<<30), "%v of %q", typ, item)
		}
	}
}

func TestAResultThatNeedsTooMuchMemoryToDecodeIsNotStored(t *testing.T) {
	_, err := roundTrip(make([]partly, 100))
	require.ErrorContains(t, err, "would take more memory than 16 MiB and 128 times its")
	_, _, err = through(JSON, make([]huge, 100))
	require.ErrorContains(t, err, "would take more memory than 16 MiB")
	for _, v := range []any{
		make([]map[string]int, 100_000), make([][]string, 1_000_000), make([]*int, 1_000_000), make([][100]byte, 10_000),
	} {
		got, err := roundTrip(v)
		require.NoError(t, err)
		assert.Equal(t, reflect.ValueOf(v).Len(), reflect.ValueOf(got).Len(), "%T", v)
	}
	maps := make([]map[string][]int, 100_000)
	for i := range maps {
		maps[i] = map[string][]int{"": nil}
	}
	got, err := roundTrip(maps)
	require.NoError(t, err)
	assert.Equal(t, len(maps), len(got.([]map[string][]int)))

	wide := make([]map[string][26][]int, 20_000) // of values that a map keeps beside its slots
	for i := range wide {
		wide[i] = map[string][26][]int{"": {}}
	}
	got, err = roundTrip(wide)
	require.NoError(t, err)
	assert.Equal(t, wide, got)
}

func TestAFewBytesGiveNoEndlessSliceOfElementsWithoutSize(t *testing.T) {
	const tooMany = "has 16777217 elements of type struct {}, which has size 0; at most 16777216 can be stored"
	for _, format := range []Format{CBOR, JSON} {
		got, _, err := through(format, make([]struct{}, 1<<24))
		require.NoError(t, err)
		assert.Len(t, got, 1<<24)
		_, _, err = through(format, make([][]struct{}, 3, 5))
		require.NoError(t, err)
		_, err = resultsOf(t, reflect.TypeFor[[]struct{}]()).Append(nil, format, []any{new(make([]struct{}, 1<<24+1))})
		require.ErrorContains(t, err, tooMany)
	}
	for body, format := range map[string]Format{"\x81\x1a\x01\x00\x00\x01": CBOR, "[16777217]": JSON} {
		err := resultsOf(t, reflect.TypeFor[[]struct{}]()).Decode([]byte(body), format, []any{new([]struct{})})
		require.ErrorContains(t, err, tooMany)
	}
	for body, format := range map[string]Format{"\x81\x1b0\x00000000": CBOR, "[3458817497345568816]": JSON} {
		err := resultsOf(t, reflect.TypeFor[[]struct{}]()).Decode([]byte(body), format, []any{new([]struct{})})
		require.ErrorContains(t, err, "has 34588")
	}
}

// FuzzBody decodes arbitrary bytes. Decoding never panics, allocates in proportion to the
// bytes, and does not modify them. A decoded value encodes and comes back.
func FuzzBody(f *testing.F) {
	lists := fuzzTypes()
	for _, typ := range hugeTypes {
		lists = append(lists, []reflect.Type{typ})
	}
	lists = append(lists, []reflect.Type{reflect.TypeFor[private2](), reflect.TypeFor[vault](), reflect.TypeFor[outer]()})
	for i, values := range fuzzSamples() {
		for _, format := range []Format{CBOR, JSON} {
			from := pointersTo(lists[i])
			for i, v := range values {
				reflect.ValueOf(from[i]).Elem().Set(v)
			}
			if body, err := resultsOf(f, lists[i]...).Append(nil, format, from); err == nil {
				f.Add(body)
			}
		}
	}
	var all []*Results
	for _, list := range lists {
		all = append(all, resultsOf(f, list...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		for i, results := range all {
			for _, format := range []Format{CBOR, JSON} {
				got, again := pointersTo(lists[i]), pointersTo(lists[i])
				var err error
				took := allocated(func() { err = results.Decode(body, format, got) })
				require.Less(t, took, uint64(60<<20+1000*len(body)))
				require.Equal(t, kept, body)
				if err != nil {
					require.NotContains(t, err.Error(), "panic: runtime error")
					continue
				}
				once, err := results.Append(nil, format, got)
				require.NoError(t, err)
				require.NoError(t, results.Decode(once, format, again))
				for at, typ := range lists[i] {
					require.Empty(t, specimen.Differ(typ, reflect.ValueOf(got[at]).UnsafePointer(), reflect.ValueOf(again[at]).UnsafePointer()))
				}
			}
		}
	})
}

func TestKeysOfMapsAreNeverLossy(t *testing.T) {
	type key struct {
		A int
		b int
	}
	_, faults := Compile(reflect.TypeFor[map[key]int](), CBOR, true)
	require.Len(t, faults, 1)
	assert.Equal(t, "[key].b is unexported, so it would be lost", fmt.Sprint(faults[0].Path, " ", faults[0].What))
	_ = key{}.b
}

// FuzzExact draws a type and a value. The value comes back from both codecs and encodes to the
// same bytes. No truncated or changed body makes decoding panic.
func FuzzExact(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		for _, format := range []Format{CBOR, JSON} {
			typ := specimen.Result(t, 3)
			v := reflect.New(typ)
			specimen.Fill(t, v.Elem(), format == JSON)
			plan, faults := Compile(typ, format, false)
			require.Empty(t, faults)
			body, err := plan.Append(nil, v.UnsafePointer())
			require.NoError(t, err)
			got := reflect.New(typ)
			r := NewReader(body)
			require.NoError(t, plan.Decode(r, got.UnsafePointer()))
			require.Zero(t, r.Rest())
			require.Empty(t, specimen.Differ(typ, v.UnsafePointer(), got.UnsafePointer()))
			if len(body) > 0 {
				body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
			_ = plan.Decode(NewReader(body), reflect.New(typ).UnsafePointer()) // must not panic
		}
	}))
}

// vault encrypts its value, and decrypts in place, as users of crypto/cipher do.
type vault struct{ secret string }

func (v vault) MarshalBinary() ([]byte, error) { return xor([]byte(v.secret)), nil }
func (v *vault) UnmarshalBinary(raw []byte) error {
	v.secret = string(xor(raw))
	return nil
}

func xor(b []byte) []byte {
	for i := range b {
		b[i] ^= 0x55
	}
	return b
}
