package fncache

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A tenant has a method whose values cannot be told apart by their name.
type tenant struct{ name string }

func (t tenant) Get(context.Context, int) (string, error) { return t.name, nil }
func (t tenant) Sure(int) string                          { return t.name }

// beside makes another cache on the client of c, closed before it.
func beside(t *testing.T, c *Cache, change ...func(*Config)) *Cache {
	t.Helper()
	cfg := c.cfg
	for _, f := range change {
		f(&cfg)
	}
	other := newOpenCache(t, cfg)
	t.Cleanup(func() { assert.NoError(t, other.Close()) })
	return other
}

// oneMinute are options for the default cache.
var oneMinute = Options{Timeout: time.Minute}

func TestAFunctionOfTheDefaultCacheConflictsWithOneThatNamesThatCache(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		SetDefault(c)
		defer SetDefault(nil)
		alice, bob := tenant{"alice"}.Get, tenant{"bob"}.Get
		f, err := Wrap(&alice, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		g, err := Wrap(&bob, oneMinute)
		require.NoError(t, err, "the default cache is not looked at yet")
		defer g.Unwrap()

		answer, err := alice(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, "alice", answer)
		for range 2 {
			answer, err = bob(t.Context(), 1)
			assert.Empty(t, answer)
			require.ErrorContains(t, err, "fncache: call "+g.Name()+" (wrapped at registry_test.go:")
			require.ErrorContains(t, err, "is taken by "+f.Name()+" (wrapped at registry_test.go:")
			require.ErrorContains(t, err, "set a Prefix")
		}
		_, err = g.Key(1)
		require.ErrorContains(t, err, "is taken by")
		require.ErrorContains(t, g.Invalidate(t.Context(), 1), "is taken by")
		require.ErrorContains(t, g.Refresh(t.Context(), 1), "is taken by")

		f.Unwrap()
		_, err = bob(t.Context(), 1)
		require.NoError(t, err, "Unwrap frees the name")
		_, err = Wrap(&alice, Options{Cache: c, Timeout: time.Minute})
		require.ErrorContains(t, err, "is taken by "+g.Name(), "the name is that of the one that came first")
		g.Unwrap()
		_, err = Wrap(&alice, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err, "Unwrap frees the name on the default cache, too")
	})
}

func TestAConflictOfAFunctionWithoutAnErrorResultIsLoggedAndItComputes(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		SetDefault(c)
		defer SetDefault(nil)
		alice, bob := tenant{"alice"}.Sure, tenant{"bob"}.Sure
		_, err := Wrap(&alice, Options{Cache: c, Timeout: time.Minute, OnCold: Wait})
		require.NoError(t, err)
		g, err := Wrap(&bob, Options{Timeout: time.Minute, OnCold: Wait})
		require.NoError(t, err)
		defer g.Unwrap()
		for range 3 {
			assert.Equal(t, "alice", alice(1))
			assert.Equal(t, "bob", bob(1))
		}
		assert.EqualValues(t, 3, g.Stats().Bypassed)
		assert.Len(t, b.log.about("a function is not cached: its name is another's"), 1)
	})
}

func TestCachesOfOneClientAndNamespaceShareTheirNames(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		alice, bob := tenant{"alice"}.Get, tenant{"bob"}.Get
		wrapWith := func(fn *func(context.Context, int) (string, error), c *Cache) error {
			_, err := Wrap(fn, Options{Cache: c, Timeout: time.Minute})
			return err
		}
		require.NoError(t, wrapWith(&alice, first))
		second := beside(t, first)
		require.ErrorContains(t, wrapWith(&bob, second), "is taken by")
		for what, other := range map[string]*Cache{
			"another client":    b.cache(),
			"another namespace": beside(t, first, func(c *Config) { c.Namespace = "other" }),
			"another codec":     beside(t, first, withCodec(JSON{})),
			"another secret":    beside(t, first, func(c *Config) { c.HashSecret = []byte("s") }),
		} {
			carol := tenant{"carol"}.Get
			assert.NoError(t, wrapWith(&carol, other), what)
		}
		require.NoError(t, first.Close())
		require.NoError(t, wrapWith(&bob, second), "Close frees the names")
	})
}

func TestInvalidateReachesFlightsOfEveryCacheThatSharesTheEntry(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		SetDefault(c)
		defer SetDefault(nil)
		began, end := make(chan int), make(chan int)
		slow := func(context.Context, int) (int, error) { began <- 1; return <-end, nil }
		mine, theirs, others := slow, slow, slow
		opts := Options{Name: "shop.Slow", Shared: true, Timeout: time.Minute, OnCold: Wait}
		f, err := Wrap(&mine, opts)
		require.NoError(t, err)
		defer f.Unwrap()
		opts.Cache = c
		_, err = Wrap(&theirs, opts)
		require.NoError(t, err)
		opts.Cache = beside(t, c)
		_, err = Wrap(&others, opts)
		require.NoError(t, err)
		for _, fn := range []func(context.Context, int) (int, error){theirs, others} {
			answers := make(chan int, 2)
			call := func() { n, _ := fn(t.Context(), 1); answers <- n }
			go call()
			<-began
			require.NoError(t, f.Invalidate(t.Context(), 1))
			go call() // which may not join what began before
			<-began
			end <- 1
			end <- 1
			<-answers
			<-answers
			require.NoError(t, f.Invalidate(t.Context(), 1))
		}
	})
}

func TestAFunctionFollowsTheDefaultCacheWithItsName(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one, two := b.cache(), b.cache()
		defer SetDefault(nil)
		alice := tenant{"alice"}.Get
		f, err := Wrap(&alice, oneMinute)
		require.NoError(t, err)
		var calls sync.WaitGroup
		for i := range 200 {
			calls.Go(func() {
				SetDefault([]*Cache{one, two}[i%2])
				_, _ = alice(t.Context(), 1)
			})
		}
		calls.Wait()
		SetDefault(two)
		_, err = alice(t.Context(), 1)
		require.NoError(t, err)
		assert.Empty(t, names.peers(f, one))
		assert.Equal(t, []named{{f, two}}, names.peers(f, two))
		bob := tenant{"bob"}.Get
		_, err = Wrap(&bob, Options{Cache: two, Timeout: time.Minute})
		require.ErrorContains(t, err, "is taken by")
		f.Unwrap()
		assert.Empty(t, names.peers(f, two))
		assert.Empty(t, names.peers(f, nil))
		_, err = f.Key(1)
		require.NoError(t, err)
		assert.Empty(t, names.peers(f, two), "an unwrapped function takes no name")
	})
}

// A valueClient is a client that cannot be compared.
type valueClient struct {
	redis.UniversalClient
	_ []int
}

func TestAClientThatCannotBeComparedSharesNoNames(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		client := b.cache()
		for _, name := range []string{"alice", "bob"} {
			get := tenant{name}.Get
			c := beside(t, client, func(c *Config) { c.Redis = valueClient{UniversalClient: c.Redis} })
			_, err := Wrap(&get, Options{Cache: c, Timeout: time.Minute})
			require.NoError(t, err)
		}
	})
}

func TestNothingIsKeptOfACacheThatIsClosed(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		get := tenant{"alice"}.Get
		f, err := Wrap(&get, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		require.NotEmpty(t, names.peers(f, c))
		require.NoError(t, c.Close())
		assert.Empty(t, names.peers(f, c))
		late := tenant{"bob"}.Get
		_, err = Wrap(&late, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		assert.Empty(t, names.peers(f, c))
	})
}
