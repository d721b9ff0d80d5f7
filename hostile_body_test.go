package fncache

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
)

// --- Memory that others have, too ---

// vault encrypts itself, and decrypts in place, as crypto/cipher is used.
type vault struct{ secret string }

func (v vault) MarshalBinary() ([]byte, error) { return xor([]byte(v.secret)), nil }
func (v *vault) UnmarshalBinary(raw []byte) error {
	v.secret = string(xor(raw))
	return nil
}

// textVault, jsonVault and cborVault do so in other forms.
type (
	textVault struct{ secret string }
	jsonVault struct{ secret string }
	cborVault struct{ Secret string }
)

func (v textVault) MarshalText() ([]byte, error)     { return shift([]byte(v.secret), 1), nil }
func (v *textVault) UnmarshalText(text []byte) error { v.secret = string(shift(text, -1)); return nil }

func (v jsonVault) MarshalJSON() ([]byte, error)     { return shift([]byte(`"`+v.secret+`"`), 1), nil }
func (v *jsonVault) UnmarshalJSON(body []byte) error { return v.open(shift(body, -1)) }
func (v *jsonVault) open(body []byte) error          { v.secret = strings.Trim(string(body), `"`); return nil }

func (v cborVault) MarshalCBOR() ([]byte, error) {
	return append([]byte{0x46}, shift([]byte(v.Secret), 1)...), nil
}

func (v *cborVault) UnmarshalCBOR(item []byte) error {
	v.Secret = string(shift(item[1:], -1))
	clear(item)
	return nil
}

// shift changes the letters in place.
func shift(text []byte, by int) []byte {
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			text[i] = byte(int(c) + by)
		}
	}
	return text
}

func TestUnmarshalersThatWriteToWhatTheyAreGivenChangeNothingElse(t *testing.T) {
	type all struct {
		Vaults []vault
		Text   map[textVault]textVault
		JSON   *jsonVault
		CBOR   cborVault
	}
	const secret = "canary"
	want := all{[]vault{{secret}, {secret}}, map[textVault]textVault{{secret}: {secret}}, &jsonVault{secret}, cborVault{secret}}
	for name, c := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "around CBOR": xorCodec{}} {
		for _, near := range []time.Duration{0, time.Hour} {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				fn := func(context.Context, int) (all, error) { time.Sleep(time.Second); return want, nil }
				f := must(Wrap(&fn, Options{Cache: b.cache(withCodec(c)), Name: "vault", Timeout: time.Hour, OnCold: Wait, Near: near}))
				for range 3 {
					var callers sync.WaitGroup
					for range 5 {
						callers.Go(func() {
							got, err := fn(t.Context(), 1)
							assert.NoError(t, err)
							assert.Equal(t, want, got, name)
						})
					}
					callers.Wait()
				}
				assert.EqualValues(t, 1, f.Stats().Computations)
				stored := must(b.redis.Get(must(f.Key(1))))
				switch name {
				case "CBOR":
					assert.NotContains(t, stored, secret)
				case "JSON":
					assert.Equal(t, 1, strings.Count(stored, secret), "only what says itself to be visible: %q", stored)
				}
			})
		}
	}
}

// short keeps what it reads beside itself, so it refers to its own memory.
type short struct {
	buf [16]byte
	s   []byte
}

func (s short) MarshalText() ([]byte, error)     { return s.s, nil }
func (s *short) UnmarshalText(text []byte) error { s.s = s.buf[:copy(s.buf[:], text)]; return nil }

func TestUnmarshalersThatReferToTheirOwnMemoryShareItWithNoOtherValue(t *testing.T) {
	type pair struct{ A, B [1]short }
	of := func(text string) short { return short{s: []byte(text)} }
	want := map[string]pair{"x": {[1]short{of("a")}, [1]short{of("b")}}, "y": {[1]short{of("c")}, [1]short{of("d")}}, "z": {}}
	for name, c := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "around CBOR": xorCodec{}} {
		for _, near := range []time.Duration{0, time.Hour} {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				fn := func(context.Context, int) (map[string]pair, error) { return want, nil }
				must(Wrap(&fn, Options{Cache: b.cache(withCodec(c)), Name: "short", Timeout: time.Hour, Near: near}))
				for range 3 {
					got, err := fn(t.Context(), 1)
					require.NoError(t, err)
					require.Len(t, got, len(want))
					for key, pair := range want {
						assert.Equal(t, string(pair.A[0].s), string(got[key].A[0].s), name)
						assert.Equal(t, string(pair.B[0].s), string(got[key].B[0].s), name)
					}
				}
			})
		}
	}
}

// --- Memory that a body asks for ---

// huge hides a megabyte, and is encoded in a byte.
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

// allocated is how much memory a call allocates in all.
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
		for _, c := range []*coder{cborCoder, jsonCoder} {
			f := typesOnly(t, typ)
			for _, body := range bodies {
				took := allocated(func() { _, _ = f.decode(c, body) })
				require.Less(t, took, uint64(40<<20), "%v from %.20q", typ, body)
			}
		}
	}
}

func TestACompressedBodyOfFourKilobytesTakesLessThanAGigabyte(t *testing.T) {
	noise := make([]byte, 4100) // so that it is no longer than a block of it may be
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for _, typ := range hugeTypes {
		for _, item := range []string{"\x80", "\xa0", "\x60", "\xf6", "\xa1\x60\x80"} {
			n := 4 << 20 / len(item)
			body := append([]byte{0x81, 0x9a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, strings.Repeat(item, n)...)
			body = append(body, noise...)
			packed := codec.Compress(body, 0)
			require.NotNil(t, packed)
			require.Less(t, len(packed), 5<<10)
			f := typesOnly(t, typ)
			took := allocated(func() {
				e := envelope{codec: codecCBOR, flags: flagCompressed, body: packed}
				if cborCoder.open(&e) == nil {
					_, _ = f.decode(cborCoder, e.body)
				}
			})
			require.Less(t, took, uint64(1<<30), "%v of %q", typ, item)
		}
	}
}

func TestWhatTakesTooMuchMemoryIsNotStored(t *testing.T) {
	_, err := roundTrip(make([]partly, 100))
	require.ErrorContains(t, err, "would take more memory than 16 MiB and 128 times its")
	_, _, err = through(jsonCoder, make([]huge, 100))
	require.ErrorContains(t, err, "would take more memory than 16 MiB")
	for _, v := range []any{
		make([]map[string]int, 100_000), make([][]string, 1_000_000), make([]*int, 1_000_000), make([][100]byte, 10_000),
	} {
		got, err := roundTrip(v)
		require.NoError(t, err)
		assert.True(t, reflect.DeepEqual(v, got), "%T", v)
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

// FuzzBody: whatever the bytes are, decoding them neither panics nor takes memory out of
// proportion, and leaves them as they are; what was decoded is encoded, and comes back.
func FuzzBody(f *testing.F) {
	lists := fuzzTypes()
	for _, typ := range hugeTypes {
		lists = append(lists, []reflect.Type{typ})
	}
	lists = append(lists, []reflect.Type{reflect.TypeFor[private2](), reflect.TypeFor[vault](), reflect.TypeFor[outer]()})
	for i, results := range fuzzSamples() {
		for _, c := range []*coder{cborCoder, jsonCoder} {
			r := typesOnly(f, lists[i]...).shape.blank().(*reflectedResults)
			for i, v := range results {
				r.values[i].Set(v)
			}
			if body, err := encodeBy(c, nil, r.at); err == nil {
				f.Add(body)
			}
		}
	}
	var funcs []*Func
	for _, list := range lists {
		funcs = append(funcs, typesOnly(f, list...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		for _, fn := range funcs {
			for _, c := range []*coder{cborCoder, jsonCoder} {
				var got results
				var err error
				took := allocated(func() { got, err = fn.decode(c, body) })
				require.Less(t, took, uint64(60<<20+1000*len(body)))
				require.Equal(t, kept, body)
				if err != nil {
					require.NotContains(t, err.Error(), "panic: runtime error")
					continue
				}
				once, err := fn.encode(c, nil, got)
				require.NoError(t, err)
				again, err := fn.decode(c, once)
				require.NoError(t, err)
				for i, v := range got.(*reflectedResults).values {
					twice := again.(*reflectedResults).values[i]
					require.Empty(t, differ(v.Type(), v.Addr().UnsafePointer(), twice.Addr().UnsafePointer()))
				}
			}
		}
	})
}

// --- Options.Lossy ---

type halfHidden struct {
	Shown  int
	hidden string
	Inner  struct {
		Also int
		too  *int
	}
}

func TestLossyAcceptsUnexportedFieldsForOneFunction(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for _, c := range []Codec{CBOR{}, JSON{}, xorCodec{}} {
			cache := b.cache(withCodec(c))
			fn := func(context.Context) (halfHidden, error) {
				v := halfHidden{Shown: 1, hidden: "x"}
				v.Inner.Also, v.Inner.too = 2, new(int)
				return v, nil
			}
			opts := Options{Cache: cache, Name: "lossy", Timeout: time.Hour}
			_, err := Wrap(&fn, opts)
			require.ErrorContains(t, err, "result 1: fncache.halfHidden.hidden (string) is unexported, so it would be lost")
			require.ErrorContains(t, err, "result 1: fncache.halfHidden.Inner.too (*int) is unexported, so it would be lost")
			opts.Lossy = true
			f := must(Wrap(&fn, opts))
			want := halfHidden{Shown: 1}
			want.Inner.Also = 2
			for range 2 {
				got, err := fn(t.Context())
				require.NoError(t, err)
				assert.Equal(t, want, got, "at the miss too")
			}
			assert.EqualValues(t, 1, f.Stats().Fresh)
			f.Unwrap()
		}
		var service struct {
			Get func(context.Context) (halfHidden, error) `fncache:"timeout=1h,lossy"`
			All func(context.Context) (any, error)        `fncache:"timeout=1h,lossy"`
		}
		service.Get = func(context.Context) (halfHidden, error) { return halfHidden{}, nil }
		service.All = func(context.Context) (any, error) { return nil, nil }
		_, err := WrapStruct(&service, Options{Cache: b.cache(), Name: "x"})
		require.ErrorContains(t, err, "return a concrete type", "no option makes a value of an interface")
		require.Equal(t, 1, strings.Count(err.Error(), "result 1"), "Get is accepted: %v", err)
	})
}

func TestKeysOfMapsAreNeverLossy(t *testing.T) {
	type key struct {
		A int
		b int
	}
	_, faults := codec.Compile(reflect.TypeFor[map[key]int](), codec.CBOR, true)
	require.Len(t, faults, 1)
	assert.Equal(t, "[key].b is unexported, so it would be lost", fmt.Sprint(faults[0].Path, " ", faults[0].What))
	_ = key{}.b
}

// --- Types that contain themselves ---

// chain hides that it contains itself, and node shows it; the text of a node has all but
// its Note.
type (
	chain struct {
		text string
		next *chain
	}
	node struct {
		Text, Note string
		Next       []node
	}
)

func (c chain) MarshalBinary() ([]byte, error) {
	var texts []byte
	for link := &c; link != nil; link = link.next {
		texts = append(append(texts, '/'), link.text...)
	}
	return texts, nil
}

func (c *chain) UnmarshalBinary(texts []byte) error {
	first, rest, _ := strings.Cut(string(texts[1:]), "/")
	*c = chain{text: first}
	if rest == "" {
		return nil
	}
	c.next = new(chain)
	return c.next.UnmarshalBinary([]byte("/" + rest))
}

func (n node) MarshalText() ([]byte, error) {
	if len(n.Next) == 0 {
		return []byte(n.Text), nil
	}
	rest, err := n.Next[0].MarshalText()
	return append([]byte(n.Text+"/"), rest...), err
}

func (n *node) UnmarshalText(text []byte) error {
	first, rest, more := strings.Cut(string(text), "/")
	*n = node{Text: first}
	if !more {
		return nil
	}
	n.Next = make([]node, 1)
	return n.Next[0].UnmarshalText([]byte(rest))
}

func TestTypesThatContainThemselvesAreEncodedByTheirMethodsAsAWhole(t *testing.T) {
	type all struct {
		Chain *chain
		Nodes map[string]node
	}
	given := all{&chain{"a", &chain{"b", &chain{"c", nil}}}, map[string]node{"x": {"a", "note", []node{{"b", "note", nil}}}}}
	want := all{given.Chain, map[string]node{"x": {"a", "", []node{{"b", "", nil}}}}}
	for name, c := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "around CBOR": xorCodec{}} {
		for _, near := range []time.Duration{0, time.Hour} {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				fn := func(context.Context, int) (all, error) { return given, nil }
				must(Wrap(&fn, Options{Cache: b.cache(withCodec(c)), Name: "all", Timeout: time.Hour, Near: near}))
				for range 3 {
					got, err := fn(t.Context(), 1)
					require.NoError(t, err)
					assert.Equal(t, want, got, name)
					got.Chain.next.text, got.Nodes["x"].Next[0].Text = "changed", "changed"
				}
			})
		}
	}
}
