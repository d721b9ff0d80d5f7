package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"
	"weak"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/shape"
)

// A hookCounter is a client that counts the hooks it is given.
type hookCounter struct {
	*redis.Client
	hooks int
}

func (c *hookCounter) AddHook(hook redis.Hook) {
	c.hooks++
	c.Client.AddHook(hook)
}

// manyCaches is how often a test opens and closes a cache on one client.
const manyCaches = 45

func TestCachesLeaveNothingOnTheirClient(t *testing.T) {
	client := &hookCounter{Client: redistest.Shared(t).Client()}
	for range manyCaches {
		c := newOpenCache(t, Config{Redis: client})
		require.NoError(t, c.Ping(t.Context()))
		require.NoError(t, c.Close())
	}
	assert.Zero(t, client.hooks, "a hook cannot be taken off again")
}

func TestACacheNoticesThatItsClientHasMadeAConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		time.Sleep(c.Config().RedisTimeout)
		c.Clock().Dialed.Store(false)
		w.get(t.Context(), "a")
		time.Sleep(c.Config().RedisTimeout)
		assert.False(t, c.Clock().Dialed.Load(), "it has used the one that there was")
		var all []*redis.Conn
		for range 5 { // more than there were
			held := c.Config().Redis.(*redis.Client).Conn()
			require.NoError(t, held.Ping(t.Context()).Err())
			all = append(all, held)
		}
		w.get(t.Context(), "a")
		time.Sleep(c.Config().RedisTimeout)
		assert.True(t, c.Clock().Dialed.Load())
		for _, held := range all {
			require.NoError(t, held.Close())
		}
	})
}

// collect runs the garbage collector until what it may collect is gone.
func collect(t *testing.T, gone func() bool) {
	t.Helper()
	for range 10 {
		runtime.GC()
		if gone() {
			return
		}
	}
	assert.Fail(t, "something is still held")
}

// A kept result can be found in memory.
type bigResult struct{ Text []byte }

func TestAClosedCacheHoldsNothingThatItDecoded(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		defer SetDefault(nil)
		var results []weak.Pointer[near.Entry]
		var decoded []weak.Pointer[bigResult]
		open := func(i int) {
			cfg := first.Config()
			c := newOpenCache(t, cfg)
			SetDefault(c)
			for _, of := range []*Cache{c, nil} {
				fn := func(context.Context, int) (*bigResult, error) { return &bigResult{make([]byte, 100_000)}, nil }
				f, err := Wrap(&fn, Options{Cache: of, Name: fmt.Sprintf("test.Big%d-%v", i, of == nil), Timeout: time.Hour, Near: time.Hour})
				require.NoError(t, err)
				t.Cleanup(f.Unwrap) // and not before
				_, err = f.Key(1)
				require.NoError(t, err)
				awaitBubbleHearing(t, c)
				_, err = fn(t.Context(), 1)
				require.NoError(t, err)
				kept := f.Kept(1)
				require.NotNil(t, kept)
				results = append(results, weak.Make(kept))
				decoded = append(decoded, weak.Make(*kept.Value.(shape.Results).Pointers()[0].(**bigResult)))
			}
			require.NoError(t, c.Close())
			assert.False(t, c.Events().Inspect().Ready)
			SetDefault(nil)
		}
		for i := range 5 {
			open(i)
		}
		require.Len(t, results, 10)
		time.Sleep(time.Minute) // timers end
		collect(t, func() bool {
			for i := range results {
				if results[i].Value() != nil || decoded[i].Value() != nil {
					return false
				}
			}
			return true
		})
		runtime.KeepAlive(first)
	})
}

func TestFunctionsOfTheDefaultCacheDoNotHoldOneThatIsClosed(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		defer SetDefault(nil)
		fn := func(context.Context, int) (int, error) { return 1, nil }
		f, err := Wrap(&fn, Options{Name: "test.One", Timeout: time.Hour, Near: time.Hour})
		require.NoError(t, err)
		defer f.Unwrap()
		open := func() weak.Pointer[Cache] {
			cfg := first.Config()
			cfg.Logger = slog.New(slog.DiscardHandler) // a logtest.Handler would hold it
			c := newOpenCache(t, cfg)
			SetDefault(c)
			_, err = fn(t.Context(), 1)
			require.NoError(t, err)
			require.NoError(t, c.Close())
			_, err = fn(t.Context(), 1)
			require.NoError(t, err, "it computes")
			SetDefault(nil)
			return weak.Make(c)
		}
		c := open()
		assert.False(t, f.IsBound())
		time.Sleep(time.Minute) // its timers end
		collect(t, func() bool { return c.Value() == nil })
		runtime.KeepAlive(first)
	})
}
