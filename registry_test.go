package fncache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	. "github.com/fncache/fncache"

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
	cfg := c.Config()
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
		assert.Len(t, b.log.About("a function is not cached: another function has its name"), 1)
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
		require.ErrorContains(t, wrapWith(&bob, beside(t, first, withCodec(JSON{}))), "is taken by",
			"an invalidation reaches the entries of every codec")
		for what, other := range map[string]*Cache{
			"another client":    b.cache(),
			"another namespace": beside(t, first, func(c *Config) { c.Namespace = "other" }),
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

func TestInvalidateReachesFlightsOnADefaultCacheThatWasReplaced(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one := b.cache()
		two := beside(t, one)
		defer SetDefault(nil)
		began, end := make(chan int), make(chan int)
		slow := func(context.Context, int) (int, error) { began <- 1; return <-end, nil }
		f, err := Wrap(&slow, Options{Name: "shop.Slow", Timeout: time.Minute, OnCold: Wait})
		require.NoError(t, err)
		defer f.Unwrap()
		answers := make(chan int, 2)
		call := func() { n, _ := slow(t.Context(), 1); answers <- n }

		SetDefault(one)
		go call()
		<-began
		SetDefault(two)
		require.NoError(t, f.Invalidate(t.Context(), 1))
		SetDefault(one)
		go call() // which may not join what began before
		<-began
		end <- 1
		end <- 2
		assert.ElementsMatch(t, []int{1, 2}, []int{<-answers, <-answers})
	})
}

// The race detector judges this one. Each call binds the function again, because a closed cache keeps
// no function.
func TestCallsAtOnceOnADefaultCacheThatIsClosed(t *testing.T) {
	for name, opts := range map[string]Options{
		"without a bound": {Timeout: time.Minute, OnCold: Compute},
		"with a bound":    {Timeout: time.Minute, OnCold: Compute, MaxConcurrent: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				require.NoError(t, c.Close())
				SetDefault(c)
				defer SetDefault(nil)
				w := wrap(t, nil, &source{took: time.Millisecond}, opts)
				defer w.Unwrap()
				for _, o := range w.calls(t.Context(), 100) {
					assert.NoError(t, o.err)
				}
			})
		})
	}
}

func TestInvalidateEndsNearEntriesOfADefaultCacheThatWasReplaced(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one := b.cache()
		two := beside(t, one)
		defer SetDefault(nil)
		runs := 0
		count := func(context.Context, int) (int, error) { runs++; return runs, nil }
		f, err := Wrap(&count, Options{Name: "shop.Count", Timeout: time.Hour, Near: time.Hour})
		require.NoError(t, err)
		defer f.Unwrap()
		SetDefault(one)
		_, err = f.Key(1) // binds it, which subscribes
		require.NoError(t, err)
		awaitBubbleHearing(t, one)
		for range 2 {
			n, err := count(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		require.EqualValues(t, 1, f.Stats().Near)
		SetDefault(two)
		seq := one.Events().Inspect().Noted
		f.Detach(two, must(f.Key(1)))
		assert.Greater(t, one.Events().Inspect().Noted, seq, "before any message comes")
		require.NoError(t, f.Invalidate(t.Context(), 1))
		SetDefault(one)
		n, err := count(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, 2, n)
	})
}

func TestInvalidateReachesFunctionsOfOtherSignatures(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cbor := b.cache()
		json := beside(t, cbor, withCodec(JSON{}))
		elsewhere := beside(t, cbor, func(c *Config) { c.Namespace = "other" })
		var fs []*Func
		for _, c := range []*Cache{cbor, cbor, json, elsewhere} {
			fn := func(context.Context, int) (int, error) { return 1, nil }
			f, err := Wrap(&fn, Options{Cache: c, Name: "shop.One", Shared: true, Timeout: time.Minute})
			require.NoError(t, err)
			_, err = fn(t.Context(), 1)
			require.NoError(t, err)
			fs = append(fs, f)
		}
		key := func(f *Func) string { return must(f.Key(1)) }
		want := []Holding{{cbor, fs[0], key(fs[0])}, {cbor, fs[1], key(fs[0])}, {json, fs[2], key(fs[2])}}
		require.NotEqual(t, key(fs[0]), key(fs[2]))
		for i, from := range want {
			assert.ElementsMatch(t, want, Holdings(from.Func, from.Cache, key(fs[i])))
		}
	})
}

func TestInvalidateThroughACacheOfAnotherCodecEndsEntriesAndComputations(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cbor := b.cache()
		json := beside(t, cbor, withCodec(JSON{}))
		opts := Options{Name: "shop.Slow", Shared: true, Timeout: time.Minute, OnCold: Wait}
		began, end := make(chan int), make(chan int)
		slow := func(context.Context, int) (int, error) { began <- 1; return <-end, nil }
		mine, theirs := slow, slow
		opts.Cache = cbor
		f, err := Wrap(&mine, opts)
		require.NoError(t, err)
		opts.Cache = json
		_, err = Wrap(&theirs, opts)
		require.NoError(t, err)
		answers := make(chan int, 3)
		call := func() { n, _ := theirs(t.Context(), 1); answers <- n }

		go call()
		<-began
		require.NoError(t, f.Invalidate(t.Context(), 1))
		go call() // which may not join what began before
		<-began
		end <- 1
		end <- 2
		assert.ElementsMatch(t, []int{1, 2}, []int{<-answers, <-answers})

		require.NoError(t, f.Invalidate(t.Context(), 1))
		go call()
		<-began
		end <- 3
		assert.Equal(t, 3, <-answers)
	})
}

func TestTheRegistryKeepsNothingOfCachesThatWereReplacedAndClosed(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		defer SetDefault(nil)
		fn := func(context.Context, int) (int, error) { return 1, nil }
		f, err := Wrap(&fn, Options{Name: "shop.One", Timeout: time.Minute})
		require.NoError(t, err)
		for range 10 {
			c := beside(t, first)
			SetDefault(c)
			_, err = fn(t.Context(), 1)
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
		assert.Equal(t, 1, Users(f.Name()), "the claim on the default cache")
		f.Unwrap()
		assert.Zero(t, Users(f.Name()))
	})
}

// hasName reports whether f is known to use its name on the cache c.
func hasName(f *Func, c *Cache) bool {
	return f.HasNameOn(c)
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
		assert.False(t, hasName(f, one))
		assert.True(t, hasName(f, two))
		bob := tenant{"bob"}.Get
		_, err = Wrap(&bob, Options{Cache: two, Timeout: time.Minute})
		require.ErrorContains(t, err, "is taken by")
		f.Unwrap()
		assert.Zero(t, Users(f.Name()))
		_, err = f.Key(1)
		require.NoError(t, err)
		assert.Zero(t, Users(f.Name()), "an unwrapped function takes no name")
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
		require.True(t, hasName(f, c))
		require.NoError(t, c.Close())
		assert.Zero(t, Users(f.Name()))
		late := tenant{"bob"}.Get
		_, err = Wrap(&late, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		assert.Zero(t, Users(f.Name()))
	})
}
