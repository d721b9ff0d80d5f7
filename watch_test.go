package fncache

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
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

func TestCachesOnOneClientHaveOneHookAndLeaveNothingWithIt(t *testing.T) {
	client := &hookCounter{Client: redistest.Shared(t).Client()}
	for range manyCaches {
		c := newOpenCache(t, Config{Redis: client})
		require.NoError(t, c.Ping(t.Context()))
		require.NoError(t, c.Close())
	}
	assert.Equal(t, 1, client.hooks)
	assert.Empty(t, watches.of(client).dialed)
}

func TestCachesOnOneClusterClientHaveOneHookForEachNode(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	nodes := 0
	client.OnNewNode(func(*redis.Client) { nodes++ })
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err(), "it knows nodes before New")
	hooks := map[*serverHook]bool{}
	for i := range manyCaches {
		c := newOpenCache(t, Config{Redis: client, Namespace: "n" + newToken()})
		fn := func(context.Context, int) (int, error) { return i, nil }
		_, err := Wrap(&fn, Options{Cache: c, Name: "test.Node", Timeout: time.Minute})
		require.NoError(t, err)
		for arg := range 10 {
			_, err = fn(t.Context(), arg)
			require.NoError(t, err)
		}
		for _, hook := range c.store.watched.all() {
			hooks[hook] = true
		}
		require.NoError(t, c.Close())
	}
	assert.LessOrEqual(t, len(hooks), nodes)
	assert.NotEmpty(t, hooks)
	assert.Empty(t, watches.of(client).dialed)
}

func TestOpenCachesOfAClientAreToldOfItsConnections(t *testing.T) {
	client := redistest.Shared(t).Client()
	one, two := newOpenCache(t, Config{Redis: client}), newOpenCache(t, Config{Redis: client})
	require.NoError(t, one.Close())
	one.clock.Dialed.Store(false)
	require.NoError(t, two.Ping(t.Context()))
	assert.True(t, two.clock.Dialed.Load())
	assert.False(t, one.clock.Dialed.Load(), "it is closed")
	require.NoError(t, two.Close())
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
		var results []weak.Pointer[nearEntry]
		var decoded []weak.Pointer[bigResult]
		open := func(i int) {
			cfg := first.cfg
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
				kept := f.near.find(c, f.near.keyOf(input{args: f.shape.arguments(must(f.sig.Arguments([]any{1})))}, must(f.Key(1))))
				require.NotNil(t, kept)
				results = append(results, weak.Make(kept))
				decoded = append(decoded, weak.Make(*kept.results.pointers()[0].(**bigResult)))
			}
			require.NoError(t, c.Close())
			assert.Nil(t, c.events.marks.Load())
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
			cfg := first.cfg
			cfg.Logger = slog.New(slog.DiscardHandler) // a logSink would hold it
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
		assert.Nil(t, f.bound.Load())
		time.Sleep(time.Minute) // its timers end
		collect(t, func() bool { return c.Value() == nil })
		runtime.KeepAlive(first)
	})
}

func TestAClientThatIsGoneIsForgotten(t *testing.T) {
	at := func() weak.Pointer[byte] {
		client := redis.NewClient(&redis.Options{})
		c := newOpenCache(t, Config{Redis: client})
		require.NoError(t, c.Close())
		require.NoError(t, client.Close())
		for at, w := range watches.m {
			if w == c.store.watched {
				return at
			}
		}
		require.Fail(t, "it is not known")
		return weak.Pointer[byte]{}
	}()
	collect(t, func() bool { return at.Value() == nil })
	client := redis.NewClient(&redis.Options{})
	watches.of(client)
	assert.NotContains(t, watches.m, at)
	require.NoError(t, client.Close())
}

func TestNodesThatAClusterClientHasGivenUpAreForgotten(t *testing.T) {
	w := &clientWatch{nodes: make(map[weak.Pointer[redis.Client]]*serverHook)}
	churn := func() {
		for i := range 100 {
			node := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("10.0.0.%d:6379", i)})
			w.add(node)
			w.add(node)
			require.NoError(t, node.Close())
		}
	}
	churn()
	collect(t, func() bool { return len(w.all()) == 0 })
	node := redis.NewClient(&redis.Options{})
	w.add(node)
	assert.Len(t, w.nodes, 1)
	assert.NotNil(t, w.of(node))
	require.NoError(t, node.Close())
}
