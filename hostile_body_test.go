package fncache_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestUnmarshalersThatWriteToTheirInputChangeNothingElse(t *testing.T) {
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
			require.ErrorContains(t, err, "result 1: fncache_test.halfHidden.hidden (string) is unexported, so it would be lost")
			require.ErrorContains(t, err, "result 1: fncache_test.halfHidden.Inner.too (*int) is unexported, so it would be lost")
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
