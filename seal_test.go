package fncache_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/seal"
)

// sealKey returns a key of Config.Seal for tests.
func sealKey(n byte) []byte { return bytes.Repeat([]byte{n}, seal.SecretSize) }

// sealing has a cache seal by the first of these keys.
func sealing(keys ...byte) func(*Config) {
	return func(c *Config) {
		c.Seal = nil
		for _, n := range keys {
			c.Seal = append(c.Seal, sealKey(n))
		}
	}
}

// longText is compressed, and has a word in it that must not be found in Redis.
func longText(context.Context, string) (string, error) { return strings.Repeat("secret ", 2000), nil }

func TestSealedEntriesAreServedAndHideTheirResults(t *testing.T) {
	onServers(t, func(t *testing.T, server *backend) {
		ctx := t.Context()
		for name, codec := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "own": ownCodec{}} {
			for what, fn := range map[string]stringTextFunc{
				"short":      func(context.Context, string) (string, error) { return "secret", nil },
				"compressed": longText,
				"an error":   func(context.Context, string) (string, error) { return "", errGone },
			} {
				t.Run(name+" "+what, func(t *testing.T) {
					runs := 0
					cached := func(ctx context.Context, arg string) (string, error) { runs++; return fn(ctx, arg) }
					c := newTestCache(t, Config{Redis: server.Client(), Codec: codec, Seal: [][]byte{sealKey(1)}})
					f := must(Wrap(&cached, Options{Cache: c, Name: "test.Text", Shared: true, Timeout: time.Hour, Tags: []string{"books"}, CacheErrors: []error{errGone}, ErrorTimeout: time.Hour}))
					defer f.Unwrap()
					want, wantErr := fn(ctx, "a")
					for range 3 {
						got, err := cached(ctx, "a")
						require.Equal(t, wantErr, err)
						require.Equal(t, want, got)
					}
					assert.Equal(t, 1, runs)
					raw := server.Raw.Get(ctx, must(f.Key("a"))).Val()
					require.NotEmpty(t, raw)
					assert.NotContains(t, raw, "secret")
					assert.NotContains(t, raw, "refused", "the text of the error")
					require.NoError(t, f.Invalidate(ctx, "a"))
				})
			}
		}
	})
}

type stringTextFunc = func(context.Context, string) (string, error)

// TestKeysAreRotatedWithoutAColdStart rotates a key in three steps: all processes open with the
// new key, then all seal with it, and then the old key is removed, after the Timeout of the
// entries that it sealed.
func TestKeysAreRotatedWithoutAColdStart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const old, next = 1, 2
		opts := Options{Timeout: time.Hour, Freshness: time.Hour}
		s := &source{}
		step := func(keys ...byte) *wrapped { return wrap(t, b.cache(sealing(keys...)), s, opts) }
		get := func(w *wrapped, arg string) outcome { return timeless(w.get(t.Context(), arg)) }

		fleet := []*wrapped{step(old), step(old)}
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, get(fleet[0], "a"))
		// 1. The new key opens. A process at a time is deployed; both kinds read both.
		fleet[0] = step(old, next)
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, get(fleet[0], "a"))
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, get(fleet[0], "b"))
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, get(fleet[1], "b"))
		fleet[1] = step(old, next)
		// 2. The new key seals.
		fleet[0] = step(next, old)
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, get(fleet[0], "a"))
		assert.Equal(t, outcome{value: 3, source: SourceComputed}, get(fleet[0], "c"))
		assert.Equal(t, outcome{value: 3, source: SourceFresh}, get(fleet[1], "c"))
		fleet[1] = step(next, old)
		// 3. The old key goes, after Timeout.
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, get(fleet[1], "a"))
		time.Sleep(opts.Timeout) // virtual
		assert.Equal(t, outcome{value: 4, source: SourceComputed}, get(fleet[1], "a"))
		fleet[0] = step(next)
		assert.Equal(t, outcome{value: 4, source: SourceFresh}, get(fleet[0], "a"))
		assert.Empty(t, b.log.About("cannot be read"))
	})
}

// TestAnEntryThatIsKeptIsSealedAnew: NotModified keeps entries for longer than Timeout, and a key that
// seals no longer must not stay with them.
func TestAnEntryThatIsKeptIsSealedAnew(t *testing.T) {
	for name, tags := range map[string][]string{"plain": nil, "tagged": {"books"}} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				const old, next = 1, 2
				u := &upstream{version: 1}
				step := func(keys ...byte) (*Cache, stringTextFunc) {
					c := known(t, b, b.cache(sealing(keys...)))
					fn, _ := wrapUpstream(t, c, u, Options{Tags: tags})
					return c, fn
				}
				kept := func(fn stringTextFunc, keeps, stores int) {
					t.Helper()
					b.tap.reset()
					version, source := staleNow(t, fn)
					assert.Equal(t, `"v1"`, version)
					assert.Equal(t, SourceComputed, source)
					assert.Equal(t, [2]int{keeps, stores}, sent(b))
				}
				_, fn := step(old)
				answered(t, fn)
				kept(fn, 1, 0)
				_, fn = step(next, old)
				kept(fn, 0, 1) // whole, by the new key
				kept(fn, 1, 0)
				_, fn = step(next)
				kept(fn, 1, 0)
				assert.Equal(t, 1, u.counts()[0], "the function has returned one whole result")
				assert.Empty(t, b.log.About("cannot be read"))
			})
		})
	}
}

// TestAnEntryThatDoesNotOpenIsAMissWithAReason also removes a key too early.
func TestAnEntryThatDoesNotOpenIsAMissWithAReason(t *testing.T) {
	raw := func(b *bubble, w *wrapped, arg string) string { return must(b.redis.Get(must(w.Key(arg)))) }
	for name, test := range map[string]struct {
		keys  []byte // of the reader
		forge func(b *bubble, w *wrapped)
		why   string
	}{
		"the key is not known": {[]byte{2}, func(*bubble, *wrapped) {}, "sealed with a key that is not known here"},
		"the body is changed": {[]byte{1}, func(b *bubble, w *wrapped) {
			text := []byte(raw(b, w, "a"))
			text[len(text)-1] ^= 1
			_ = b.redis.Set(must(w.Key("a")), string(text))
		}, "it does not open"},
		"it is that of other arguments": {[]byte{1}, func(b *bubble, w *wrapped) {
			w.get(context.Background(), "b")
			_ = b.redis.Set(must(w.Key("a")), raw(b, w, "b"))
		}, "it does not open"},
		"it is said to be an error": {[]byte{1}, func(b *bubble, w *wrapped) {
			text := []byte(raw(b, w, "a"))
			text[flagsAt] |= 2
			_ = b.redis.Set(must(w.Key("a")), string(text))
		}, "it does not open"},
		"it is said to be compressed": {[]byte{1}, func(b *bubble, w *wrapped) {
			text := []byte(raw(b, w, "a"))
			text[flagsAt] |= 1
			_ = b.redis.Set(must(w.Key("a")), string(text))
		}, "it does not open"},
		"it is said to have an ETag": {[]byte{1}, func(b *bubble, w *wrapped) {
			text := []byte(raw(b, w, "a"))
			text[flagsAt] |= 64
			_ = b.redis.Set(must(w.Key("a")), string(text))
		}, "it does not open"},
		"it is said to be of another codec": {[]byte{1}, func(b *bubble, w *wrapped) {
			text := []byte(raw(b, w, "a"))
			text[flagsAt+1] = 2
			_ = b.redis.Set(must(w.Key("a")), string(text))
		}, "it does not open"},
		"it is plain": {[]byte{1}, func(b *bubble, w *wrapped) {
			_ = b.redis.Set(must(w.Key("a")), entryOf(time.Now().UnixMilli(), 7, []byte{0x81, 0x18, 0x2a}))
		}, "the body is not sealed, and the cache has Config.Seal"},
		"it is cut off": {[]byte{1}, func(b *bubble, w *wrapped) {
			_ = b.redis.Set(must(w.Key("a")), raw(b, w, "a")[:bodyAt+10])
		}, "shorter than a sealed body"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				opts := Options{CacheErrors: []error{errGone}, ErrorTimeout: time.Minute}
				writer := wrap(t, b.cache(sealing(1)), s, opts)
				reader := wrap(t, b.cache(sealing(test.keys...)), s, opts)
				writer.get(t.Context(), "a")
				test.forge(b, writer)
				runs := s.count()
				assert.Equal(t, outcome{value: runs + 1, source: SourceComputed}, timeless(reader.get(t.Context(), "a")))
				assert.EqualValues(t, 1, reader.Stats().Undecodable)
				require.Len(t, b.log.About("entry cannot be read"), 1)
				assert.Contains(t, b.log.About("entry cannot be read")[0], test.why)
				assert.Equal(t, SourceFresh, reader.get(t.Context(), "a").source, "it is replaced")
			})
		})
	}
}

// A sealed entry may have been copied to the key of a cache without Seal.
func TestASealedEntryIsAMissToACacheWithoutSeal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		sealed, plain := wrap(t, b.cache(sealing(1)), s, Options{}), wrap(t, b.cache(), s, Options{})
		sealed.get(t.Context(), "a")
		require.NoError(t, b.redis.Set(must(plain.Key("a")), must(b.redis.Get(must(sealed.Key("a"))))))
		assert.Equal(t, SourceComputed, plain.get(t.Context(), "a").source)
		require.Len(t, b.log.About("the body is sealed, and the cache has no Config.Seal"), 1)
	})
}

func TestWhetherACacheSealsIsPartOfItsKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var keys []string
		for _, codec := range []Codec{CBOR{}, JSON{}, ownCodec{}} {
			for _, seals := range []func(*Config){sealing(), sealing(1), sealing(2, 1)} {
				w := wrap(t, b.cache(func(c *Config) { c.Codec = codec }, seals), &source{}, Options{})
				keys = append(keys, must(w.Key("a")))
			}
		}
		for i := 0; i < len(keys); i += 3 {
			assert.NotEqual(t, keys[i], keys[i+1], "with Seal and without")
			assert.Equal(t, keys[i+1], keys[i+2], "whichever keys it has")
		}
		slices.Sort(keys)
		assert.Len(t, slices.Compact(keys), 6)
	})
}

// TestAnInvalidationReachesSealedAndPlainReleases plays a deploy that begins to seal.
func TestAnInvalidationReachesSealedAndPlainReleases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		sealed, plain := wrap(t, b.cache(sealing(1)), s, Options{}), wrap(t, b.cache(), s, Options{})
		sealed.get(t.Context(), "a")
		plain.get(t.Context(), "a")
		require.NoError(t, plain.Invalidate(t.Context(), "a"))
		assert.Equal(t, SourceComputed, sealed.get(t.Context(), "a").source)
		require.NoError(t, sealed.Expire(t.Context(), "b"))
	})
}

func TestASealedEntryThatIsExpiredStillOpens(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(sealing(1)), s, Options{OnStale: Background})
		w.get(t.Context(), "a")
		require.NoError(t, w.Expire(t.Context(), "a"))
		assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(w.get(t.Context(), "a")))
		assert.Zero(t, w.Stats().Undecodable)
	})
}

func TestNearKeepsSealedEntriesOpened(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache(sealing(1))
		w := wrap(t, c, &source{}, nearOpts)
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "a")
		assert.Equal(t, outcome{value: 1, source: SourceNear}, timeless(w.get(t.Context(), "a")))
	})
}

func TestKeysOfSealAreCheckedAndNotPrinted(t *testing.T) {
	for want, keys := range map[string][][]byte{
		"Seal[0] has 6 bytes; use 32 random bytes":          {[]byte("secret")},
		"Seal[1] is the same as [0]; leave one of them out": {sealKey('s'), sealKey('s')},
	} {
		_, err := New(Config{Seal: keys})
		assertFaults(t, err, "fncache: new cache: Redis is not set", want)
		assert.NotContains(t, err.Error(), "secret")
		assert.NotContains(t, err.Error(), "sss")
	}
	inBubble(t, func(t *testing.T, b *bubble) {
		own := sealKey('s')
		c := b.cache(func(c *Config) { c.Seal = [][]byte{own} })
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "a")
		clear(own)
		assert.Equal(t, SourceFresh, wrap(t, b.cache(sealing('s')), &source{}, Options{}).get(t.Context(), "a").source, "keys are copied")
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), "sss")
		assert.Empty(t, b.log.About("sss"))
	})
}
