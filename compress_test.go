package fncache_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readable is n bytes that compress to about a half.
func readable(n int) []byte {
	var b bytes.Buffer
	random := rand.New(rand.NewPCG(5, 6))
	for b.Len() < n {
		fmt.Fprintf(&b, "book %d of author %d, ", random.IntN(1_000_000), random.IntN(1000))
	}
	return b.Bytes()[:n]
}

func TestLongResultsAreCompressedInRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		want := string(readable(100_000))
		runs := 0
		for name, c := range map[string]struct {
			over       int
			compressed bool
		}{"by default": {0, true}, "over more": {200_000, false}, "never": {-1, false}} {
			runs = 0
			fn := func(string) (string, error) { runs++; return want, nil }
			cache := b.cache(func(cfg *Config) { cfg.CompressOver = c.over })
			f := must(Wrap(&fn, Options{Cache: cache, Name: "test.Long", Timeout: time.Minute}))
			arg := name
			for range 3 {
				got, err := fn(arg)
				require.NoError(t, err)
				require.True(t, want == got)
			}
			require.Equal(t, 1, runs, name)
			raw, err := b.redis.Get(must(f.Key(arg)))
			require.NoError(t, err)
			assert.Equal(t, c.compressed, len(raw) < 60_000, "%s: %d bytes", name, len(raw))
			// Others read it, whatever they compress themselves.
			other := func(string) (string, error) { runs++; return "", nil }
			must(Wrap(&other, Options{Cache: b.cache(func(cfg *Config) { cfg.CompressOver = -1 }), Name: "test.Long", Timeout: time.Minute}))
			got, err := other(arg)
			require.NoError(t, err)
			assert.True(t, want == got, name)
			assert.Equal(t, 1, runs, name)
		}
	})
}

func TestCompressedEntryThatIsDamagedIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		want := string(readable(100_000))
		runs := 0
		fn := func(string) (string, error) { runs++; return want, nil }
		f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Long", Timeout: time.Minute}))
		must(fn("a"))
		key := must(f.Key("a"))
		raw := must(b.redis.Get(key))
		for i, damaged := range []string{raw[:len(raw)-1], raw[:bodyAt], raw[:bodyAt] + "\xff\xff\xff\xff\x0f" + raw[bodyAt:]} {
			require.NoError(t, b.redis.Set(key, damaged))
			assert.True(t, want == must(fn("a")))
			assert.Equal(t, i+2, runs)
		}
		assert.Equal(t, uint64(3), f.Stats().Undecodable)
		assert.Len(t, b.log.About("corrupt entry: the compressed body"), 1, "once a minute")
	})
}
