package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/logtest"
)

// An upstream is a server that is asked by a cached function: whole, or whether its answer has
// another version than the entry at hand.
type upstream struct {
	mu       sync.Mutex // guards the fields below
	version  int
	whole    int                       // how often it has sent its answer
	same     int                       // how often it has said that nothing has changed
	stored   []StoredEntry             // what the function was told of the entry at hand
	took     time.Duration             // of a whole answer
	inside   func(ctx context.Context) // what the function does before it asks
	returned error                     // what the function returns beside NotModified
}

func (u *upstream) load(ctx context.Context, _ string) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inside != nil {
		u.inside(ctx)
	}
	etag := fmt.Sprintf(`"v%d"`, u.version)
	if stored, ok := Stored(ctx); ok {
		u.stored = append(u.stored, stored)
		if stored.ETag == etag {
			u.same++
			NotModified(ctx)
			return "no answer", u.returned
		}
	}
	time.Sleep(u.took) // virtual, where it is not 0
	u.whole++
	SetETag(ctx, etag)
	return strings.Repeat("long ", 2000) + etag, nil
}

func (u *upstream) set(change func(*upstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

func (u *upstream) counts() [2]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return [2]int{u.whole, u.same}
}

// wrapUpstream caches u in c.
func wrapUpstream(t testing.TB, c *Cache, u *upstream, opts Options) (stringTextFunc, *Func) {
	t.Helper()
	opts.Cache, opts.Shared = c, true
	if opts.Name == "" {
		opts.Name = "test.Upstream"
	}
	if opts.Timeout == 0 {
		opts.Timeout, opts.Freshness = time.Hour, time.Minute
	}
	fn := u.load
	f, err := Wrap(&fn, opts)
	require.NoError(t, err)
	return fn, f
}

// answered calls, and returns the end of the text with the source.
func answered(t testing.TB, fn stringTextFunc) (version string, source Source) {
	t.Helper()
	var info Info
	text, err := fn(WithInfo(t.Context(), &info), "a")
	require.NoError(t, err)
	return text[max(0, len(text)-4):], info.Source
}

func TestAnEntryThatIsNotModifiedIsKeptAndNotSentAgain(t *testing.T) {
	onServers(t, func(t *testing.T, server *backend) {
		for name, test := range map[string]struct {
			opts Options
			cfg  Config
		}{
			"plain":  {Options{}, Config{CompressOver: -1}},
			"packed": {Options{}, Config{}},
			"tagged": {Options{Tags: []string{"books"}}, Config{}},
			"sealed": {Options{Tags: []string{"books"}}, Config{Seal: [][]byte{sealKey(1)}}},
			"near":   {Options{Near: time.Minute}, Config{}},
			"JSON":   {Options{}, Config{Codec: JSON{}}},
		} {
			t.Run(name, func(t *testing.T) {
				test.cfg.Redis, test.cfg.Logger = server.Client(), slog.New(&logtest.Handler{})
				c := newTestCache(t, test.cfg)
				u := &upstream{version: 1}
				test.opts.Name = "test." + name
				fn, f := wrapUpstream(t, c, u, test.opts)
				answered(t, fn)
				key := must(f.Key("a"))
				before := server.Raw.Get(t.Context(), key).Val()
				c.Clock().Shift(10 * time.Minute)
				require.NoError(t, server.Raw.PExpire(t.Context(), key, time.Minute).Err())
				version, source := answered(t, fn)
				assert.Equal(t, `"v1"`, version, "the value of the entry, and not what the function returned")
				assert.Equal(t, SourceComputed, source)
				assert.Equal(t, [2]int{1, 1}, u.counts())
				require.Len(t, u.stored, 1)
				assert.InDelta(t, 10*time.Minute, u.stored[0].Age, float64(time.Minute))

				after := server.Raw.Get(t.Context(), key).Val()
				assert.Equal(t, before[bodyAt:], after[bodyAt:])
				assert.Equal(t, before[costAt:idAt], after[costAt:idAt], "that of the computation")
				assert.NotEqual(t, before[idAt:bodyAt], after[idAt:bodyAt])
				assert.Greater(t, storedAt(after), storedAt(before)+9*60_000)
				assert.InDelta(t, time.Hour, server.Raw.PTTL(t.Context(), key).Val(), float64(time.Minute))
				assert.Zero(t, server.Raw.Exists(t.Context(), key+LockSuffix).Val(), "the lease is released")

				_, source = answered(t, fn)
				assert.Contains(t, []Source{SourceFresh, SourceNear}, source)
				c.Clock().Shift(10 * time.Minute)
				answered(t, fn)
				assert.Equal(t, [2]int{1, 2}, u.counts(), "with its ETag as before")
				u.set(func(u *upstream) { u.version = 2 })
				c.Clock().Shift(10 * time.Minute)
				version, _ = answered(t, fn)
				assert.Equal(t, `"v2"`, version)
				assert.Equal(t, [2]int{2, 2}, u.counts())
			})
		}
	})
}

// known has the server know both scripts, so that none is sent twice, and counts from now on.
func known(t *testing.T, b *bubble, c *Cache) *Cache {
	t.Helper()
	for _, verb := range []string{"store", "keep"} {
		require.NoError(t, scripts[verb].Load(t.Context(), c.Config().Redis).Err())
	}
	b.tap.reset()
	return c
}

// sent counts how often the two steps that end a lease with a value were sent.
func sent(b *bubble) [2]int { return [2]int{b.tap.count("keep"), b.tap.count("store")} }

// staleNow lets the entry become stale, in a bubble, and asks again.
func staleNow(t *testing.T, fn stringTextFunc) (string, Source) {
	t.Helper()
	time.Sleep(2 * time.Minute) // virtual
	return answered(t, fn)
}

func TestKeepingIsOneStepThatSendsNoValue(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1}
		fn, f := wrapUpstream(t, known(t, b, b.cache()), u, Options{})
		answered(t, fn)
		staleNow(t, fn)
		assert.Equal(t, [2]int{1, 1}, sent(b))
		s := f.Stats()
		assert.EqualValues(t, 2, s.Computations)
		assert.EqualValues(t, 2, s.Stored)
		assert.Zero(t, s.LostLeases)
	})
}

// Each row does something while the function runs that finds nothing modified.
func TestWhatHappensToTheEntryWhileItIsFoundUnchanged(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(b *bubble, f *Func)
		sent      [2]int // of keep and store, the first computation included
		stored    bool
	}{
		"it is evicted": {func(b *bubble, f *Func) { b.redis.Del(must(f.Key("a"))) }, [2]int{1, 2}, true},
		"it is replaced": {func(b *bubble, f *Func) {
			_ = b.redis.Set(must(f.Key("a")), entryOf(0, 7, []byte{0x81, 0x61, 'x'}))
		}, [2]int{1, 2}, true},
		"it is of another type": {func(b *bubble, f *Func) {
			b.redis.Del(must(f.Key("a")))
			_, _ = b.redis.Lpush(must(f.Key("a")), "x")
		}, [2]int{1, 2}, true},
		"it is invalidated":  {func(_ *bubble, f *Func) { _ = f.Invalidate(context.Background(), "a") }, [2]int{1, 1}, false},
		"it is expired":      {func(_ *bubble, f *Func) { _ = f.Expire(context.Background(), "a") }, [2]int{1, 1}, false},
		"the lease is taken": {func(b *bubble, f *Func) { _ = b.redis.Set(must(f.Key("a"))+LockSuffix, "somebody") }, [2]int{1, 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				u := &upstream{version: 1}
				fn, f := wrapUpstream(t, known(t, b, b.cache()), u, Options{})
				answered(t, fn)
				u.set(func(u *upstream) { u.inside = func(context.Context) { test.meanwhile(b, f) } })
				version, source := staleNow(t, fn)
				assert.Equal(t, `"v1"`, version, "its caller called before")
				assert.Equal(t, SourceComputed, source)
				assert.Equal(t, test.sent, sent(b))
				u.set(func(u *upstream) { u.inside = nil })
				if test.stored {
					assert.InDelta(t, time.Now().UnixMilli(), storedAt(must(b.redis.Get(must(f.Key("a"))))), 2)
					assert.Equal(t, time.Hour, b.redis.TTL(must(f.Key("a"))))
					_, source = answered(t, fn)
					assert.Equal(t, SourceFresh, source)
				} else {
					assert.EqualValues(t, 1, f.Stats().LostLeases)
				}
			})
		})
	}
}

func TestAnExpiredTagIsNotExpiredForEver(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := known(t, b, b.cache())
		u := &upstream{version: 1}
		fn, f := wrapUpstream(t, c, u, Options{Tags: []string{"books"}})
		answered(t, fn)
		require.NoError(t, c.ExpireTags(t.Context(), "books"))
		_, source := answered(t, fn)
		assert.Equal(t, SourceComputed, source)
		_, source = answered(t, fn)
		assert.Equal(t, SourceFresh, source, "it has the stamps of the run that found it unchanged")
		require.NoError(t, f.Expire(t.Context(), "a"))
		_, source = answered(t, fn)
		assert.Equal(t, SourceComputed, source)
		_, source = answered(t, fn)
		assert.Equal(t, SourceFresh, source, "nor is the flag kept")
		assert.Equal(t, [2]int{1, 2}, u.counts())
		assert.Equal(t, [2]int{2, 1}, sent(b))
	})
}

// TestATagThatOnlyTheResultToldIsKept: the run that finds nothing modified has no result that it
// could tell by.
func TestATagThatOnlyTheResultToldIsKept(t *testing.T) {
	for name, within := range map[string]struct {
		later func(context.Context)
		sent  [2]int
	}{
		"the tags are the same": {nil, [2]int{1, 1}},
		"a tag is new":          {func(ctx context.Context) { AddTags(ctx, "shelf:1") }, [2]int{0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				c := known(t, b, b.cache())
				u := &upstream{version: 1, inside: func(ctx context.Context) { AddTags(ctx, "book:7") }}
				fn, _ := wrapUpstream(t, c, u, Options{Tags: []string{"books"}})
				answered(t, fn)
				u.set(func(u *upstream) { u.inside = within.later })
				staleNow(t, fn)
				assert.Equal(t, within.sent, sent(b))
				for _, tag := range []string{"book:7", "books"} {
					require.NoError(t, c.InvalidateTags(t.Context(), tag))
					whole := u.counts()[0]
					_, source := answered(t, fn)
					assert.Equal(t, SourceComputed, source, tag)
					assert.Equal(t, whole+1, u.counts()[0], "no entry is at hand that was invalidated")
					u.set(func(u *upstream) { u.inside = nil })
				}
			})
		})
	}
}

// TestAnEntryWhoseTagWasInvalidatedAfterTheLookupIsNotAtHand: the stamp that is captured before the
// function runs tells. Nor is it served if the function fails.
func TestAnEntryWhoseTagWasInvalidatedAfterTheLookupIsNotAtHand(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c, elsewhere := b.cache(), b.cache()
		for _, tag := range []string{"books", "book:7"} { // of the call, and added
			u := &upstream{version: 1, inside: func(ctx context.Context) { AddTags(ctx, "book:7") }}
			fn, f := wrapUpstream(t, c, u, Options{Tags: []string{"books"}})
			answered(t, fn)
			b.tap.on("acquire", func() { assert.NoError(t, elsewhere.InvalidateTags(t.Context(), tag)) })
			staleNow(t, fn)
			assert.Empty(t, u.stored)
			assert.Equal(t, [2]int{2, 0}, u.counts())
			f.Unwrap()
			b.redis.FlushAll()
		}

		fails := func(context.Context, string) (int, error) { return 0, errGone }
		s := &source{}
		w := &wrapped{call: s.call}
		w.Func = must(Wrap(&w.call, Options{Cache: c, Name: "test.Failing", Tags: []string{"shelf"}, Timeout: time.Hour, Freshness: time.Minute}))
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Minute) // virtual
		s.set(func(s *source) { s.do = func(ctx context.Context, _ int) (int, error) { return fails(ctx, "a") } })
		b.tap.on("acquire", func() { assert.NoError(t, elsewhere.InvalidateTags(t.Context(), "shelf")) })
		assert.Equal(t, outcome{err: errGone, source: SourceFailed}, timeless(w.get(t.Context(), "a")))
	})
}

func TestLifetimesOfAnEntryThatIsKept(t *testing.T) {
	set := func(timeout time.Duration) func(context.Context) {
		return func(ctx context.Context) { SetLifetime(ctx, time.Minute, timeout) }
	}
	for name, test := range map[string]struct {
		first, later func(context.Context)
		want         time.Duration
		sent         [2]int
	}{
		"its own stays":     {set(30 * time.Minute), nil, 30 * time.Minute, [2]int{1, 1}},
		"a new one":         {set(30 * time.Minute), set(20 * time.Minute), 20 * time.Minute, [2]int{1, 1}},
		"the first one":     {nil, set(20 * time.Minute), 20 * time.Minute, [2]int{0, 2}},
		"none":              {nil, nil, time.Hour, [2]int{1, 1}},
		"it is over":        {nil, set(0), 58 * time.Minute, [2]int{0, 1}}, // what is there stays as it is
		"nothing is stored": {nil, NoStore, 58 * time.Minute, [2]int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				u := &upstream{version: 1, inside: test.first}
				fn, f := wrapUpstream(t, known(t, b, b.cache()), u, Options{})
				answered(t, fn)
				u.set(func(u *upstream) { u.inside = test.later })
				version, _ := staleNow(t, fn)
				assert.Equal(t, `"v1"`, version)
				assert.Equal(t, [2]int{1, 1}, u.counts())
				assert.Equal(t, test.sent, sent(b))
				assert.Equal(t, test.want, b.redis.TTL(must(f.Key("a"))))
			})
		})
	}
}

func TestNothingIsAtHand(t *testing.T) {
	refresh := func(fn stringTextFunc, _ *Func) { _, _ = fn(WithRefresh(context.Background()), "a") }
	for name, act := range map[string]func(fn stringTextFunc, f *Func){
		"under WithRefresh":  refresh,
		"under Func.Refresh": func(_ stringTextFunc, f *Func) { _ = f.Refresh(context.Background(), "a") },
		"under WithBypass":   func(fn stringTextFunc, _ *Func) { _, _ = fn(WithBypass(context.Background()), "a") },
		"after Invalidate": func(fn stringTextFunc, f *Func) {
			_ = f.Invalidate(context.Background(), "a")
			_, _ = fn(context.Background(), "a")
		},
		"past Timeout": func(fn stringTextFunc, _ *Func) {
			time.Sleep(2 * time.Hour) // virtual
			_, _ = fn(context.Background(), "a")
		},
		"while Redis is away": func(fn stringTextFunc, f *Func) {
			tapOf(f).set(func(tap *tap) { tap.broken = errGone })
			_, _ = fn(context.Background(), "a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				u := &upstream{version: 1}
				fn, f := wrapUpstream(t, b.cache(), u, Options{})
				taps.Store(f, b.tap)
				answered(t, fn)
				time.Sleep(2 * time.Minute) // virtual
				act(fn, f)
				assert.Equal(t, [2]int{2, 0}, u.counts())
				assert.Empty(t, u.stored)
			})
		})
	}
	_, ok := Stored(t.Context())
	assert.False(t, ok, "outside of a function")
	_, ok = Stored(nil) //nolint:staticcheck // hostile
	assert.False(t, ok)
}

// taps has the tap of the bubble that a function is in.
var taps sync.Map

func tapOf(f *Func) *tap {
	t, _ := taps.Load(f)
	return t.(*tap)
}

// TestNotModifiedWithoutAnEntryStoresNothing: what the function returns then is no result.
func TestNotModifiedWithoutAnEntryStoresNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(ctx context.Context, run int) (int, error) { NotModified(ctx); return run, nil }}
		w := wrap(t, b.cache(), s, Options{})
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
		assert.Empty(t, b.keys())
		require.Len(t, b.log.About("NotModified is called where no entry is at hand: the result is not stored"), 1)
		NotModified(t.Context()) // outside of a function
	})
}

func TestWhateverTheFunctionReturnsTheEntryIsKept(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1, returned: errGone}
		fn, f := wrapUpstream(t, b.cache(), u, Options{CacheErrors: []error{errGone}, ErrorTimeout: time.Minute, Timeout: time.Hour, Freshness: time.Minute})
		answered(t, fn)
		version, source := staleNow(t, fn)
		assert.Equal(t, `"v1"`, version)
		assert.Equal(t, SourceComputed, source)
		assert.EqualValues(t, 2, f.Stats().Stored)
	})
}

// A run that does not end as it should keeps nothing.
func TestAFailureAfterNotModifiedKeepsNothing(t *testing.T) {
	for name, end := range map[string]func(context.Context) (int, error){
		"a panic":             func(context.Context) (int, error) { panic("broken") },
		"past ComputeTimeout": func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				w := wrap(t, b.cache(), s, Options{Timeout: time.Hour, Freshness: time.Minute, ComputeTimeout: time.Second})
				w.get(t.Context(), "a")
				before := must(b.redis.Get(must(w.Key("a"))))
				s.set(func(s *source) {
					s.do = func(ctx context.Context, _ int) (int, error) { NotModified(ctx); return end(ctx) }
				})
				time.Sleep(2 * time.Minute) // virtual
				w.get(t.Context(), "a")
				assert.Equal(t, before, must(b.redis.Get(must(w.Key("a")))))
				assert.Zero(t, b.tap.count("keep"))
			})
		})
	}
}

// In TestARunThatIsTooLateKeepsTheEntryForCallersWithoutAnErrorResult the callers wait until the
// function returns, and get the entry, not what the function returns with NotModified.
func TestARunThatIsTooLateKeepsTheEntryForCallersWithoutAnErrorResult(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(ctx context.Context, _ string) []int {
			if _, ok := Stored(ctx); ok {
				time.Sleep(10 * time.Second) // virtual: longer than ComputeTimeout
				NotModified(ctx)
				return nil
			}
			return []int{7}
		}
		must(Wrap(&fn, Options{
			Cache: b.cache(), Name: "test.Late", Timeout: 3 * time.Minute, Freshness: time.Minute,
			OnCold: Wait, ComputeTimeout: 2 * time.Second,
		}))
		require.Equal(t, []int{7}, fn(t.Context(), "a"))
		time.Sleep(3*time.Minute - time.Second) // virtual
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				got := fn(t.Context(), "a")
				assert.Equal(t, []int{7}, got)
				clear(got)
			})
			time.Sleep(1200 * time.Millisecond) // virtual: the entry is past Timeout, and the second call joins
		}
		calls.Wait()
	})
}

func TestWhoWaitsForARunThatFindsNothingModifiedHasTheEntry(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1}
		// Timeout is over while the function runs, so that callers wait.
		opts := Options{Timeout: 3 * time.Minute, Freshness: time.Minute, OnCold: Wait}
		fn, _ := wrapUpstream(t, known(t, b, b.cache()), u, opts)
		other, _ := wrapUpstream(t, b.cache(), u, opts)
		answered(t, fn)
		u.set(func(u *upstream) { u.inside = func(context.Context) { time.Sleep(4 * time.Minute) } }) // virtual
		time.Sleep(2 * time.Minute)                                                                   // virtual
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = fn(t.Context(), "a") })
		time.Sleep(2 * time.Minute) // virtual
		for _, fn := range []stringTextFunc{fn, other} {
			wg.Go(func() {
				text, err := fn(t.Context(), "a")
				assert.NoError(t, err)
				assert.Contains(t, text, `"v1"`)
			})
		}
		wg.Wait()
		assert.Equal(t, [2]int{1, 1}, u.counts())
		assert.Equal(t, [2]int{1, 2}, sent(b), "it was gone, so it is stored whole")
	})
}

// TestCallersOwnTheResultOfAnEntryThatIsKept: several are given it.
func TestCallersOwnTheResultOfAnEntryThatIsKept(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(ctx context.Context, _ string) ([]int, error) {
			if _, ok := Stored(ctx); ok {
				NotModified(ctx)
				return nil, nil
			}
			return []int{1, 2, 3}, nil
		}
		c := b.cache()
		must(Wrap(&fn, Options{Cache: c, Name: "test.Owned", Timeout: time.Hour, Freshness: time.Minute, Near: time.Hour}))
		awaitBubbleHearing(t, c)
		for range 10 {
			got, err := fn(t.Context(), "a")
			require.NoError(t, err)
			require.Equal(t, []int{1, 2, 3}, got)
			clear(got)
			time.Sleep(40 * time.Second) // virtual
		}
	})
}

func TestAnEntryIsKeptInTheBackground(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1}
		fn, _ := wrapUpstream(t, known(t, b, b.cache()), u, Options{Timeout: time.Hour, Freshness: time.Minute, OnStale: Background})
		answered(t, fn)
		for n := 1; n <= 3; n++ {
			version, source := staleNow(t, fn)
			assert.Equal(t, `"v1"`, version)
			assert.Equal(t, SourceStale, source)
			synctest.Wait()
			assert.Equal(t, [2]int{1, n}, u.counts())
			assert.Equal(t, [2]int{n, 1}, sent(b))
			_, source = answered(t, fn)
			assert.Equal(t, SourceFresh, source)
		}
	})
}

func TestARefreshThatIsEarlyFindsTheFreshEntry(t *testing.T) {
	for name, near := range map[string]time.Duration{"in Redis": 0, "near": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				u := &upstream{version: 1, took: 10 * time.Second}
				c := known(t, b, b.cache())
				fn, f := wrapUpstream(t, c, u, Options{Timeout: time.Hour, Freshness: 100 * time.Second, Early: 1000, Near: near})
				awaitBubbleHearing(t, c)
				answered(t, fn)
				for range 500 {
					answered(t, fn)
					time.Sleep(time.Second) // virtual
				}
				assert.Equal(t, 1, u.counts()[0])
				assert.Greater(t, u.counts()[1], 5)
				assert.EqualValues(t, u.counts()[1], b.tap.count("keep"))
				assert.Zero(t, f.Stats().Stale, "its cost stays, so it is early each time")
			})
		})
	}
}

func TestAnEntryThatRedisDidNotTakeBackIsStoredLater(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1}
		c := b.cache()
		fn, f := wrapUpstream(t, c, u, Options{})
		answered(t, fn)
		u.set(func(u *upstream) {
			u.inside = func(context.Context) { b.tap.set(func(tap *tap) { tap.broken = errGone }) }
		})
		version, _ := staleNow(t, fn)
		assert.Equal(t, `"v1"`, version)
		u.set(func(u *upstream) { u.inside = nil })
		b.tap.set(func(tap *tap) { tap.broken = nil })
		awaitBack(c)
		time.Sleep(5 * time.Second) // virtual
		synctest.Wait()
		assert.InDelta(t, time.Now().UnixMilli(), storedAt(must(b.redis.Get(must(f.Key("a"))))), 10_000)
		_, source := answered(t, fn)
		assert.Equal(t, SourceFresh, source)
	})
}

func TestAnErrorThatIsAnAnswerIsNotAtHand(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		found := false
		s := &source{do: func(ctx context.Context, _ int) (int, error) {
			if _, ok := Stored(ctx); ok {
				found = true
			}
			SetETag(ctx, "v1")
			SetLifetime(ctx, time.Hour, time.Hour)
			return 0, errGone
		}}
		w := wrap(t, b.cache(), s, Options{CacheErrors: []error{errGone}, ErrorTimeout: time.Minute})
		w.get(t.Context(), "a")
		assert.EqualValues(t, 2, must(b.redis.Get(must(w.Key("a"))))[flagsAt])
		require.NoError(t, w.Expire(t.Context(), "a"))
		w.get(t.Context(), "a")
		assert.Equal(t, 2, s.count())
		assert.False(t, found)
	})
}

func TestETagsThatCannotBeStored(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(ctx context.Context)
		want string
		log  string
	}{
		"the longest":              {func(ctx context.Context) { SetETag(ctx, strings.Repeat("x", 256)) }, strings.Repeat("x", 256), ""},
		"a longer one":             {func(ctx context.Context) { SetETag(ctx, strings.Repeat("x", 257)) }, "", "SetETag is given more than 256 bytes"},
		"none":                     {func(ctx context.Context) { SetETag(ctx, "") }, "", ""},
		"bytes":                    {func(ctx context.Context) { SetETag(ctx, "\x00\xff\n") }, "\x00\xff\n", ""},
		"twice":                    {func(ctx context.Context) { SetETag(ctx, "v1"); SetETag(ctx, "v2") }, "v2", ""},
		"twice, then none":         {func(ctx context.Context) { SetETag(ctx, "v1"); SetETag(ctx, "") }, "", ""},
		"with a lifetime":          {func(ctx context.Context) { SetETag(ctx, "v1"); SetLifetime(ctx, time.Second, time.Hour) }, "v1", ""},
		"with a context of others": {func(context.Context) { SetETag(context.Background(), "v1") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var got []StoredEntry
				s := &source{do: func(ctx context.Context, run int) (int, error) {
					if stored, ok := Stored(ctx); ok {
						got = append(got, stored)
					}
					test.set(ctx)
					return run, nil
				}}
				w := wrap(t, b.cache(), s, Options{Timeout: time.Hour, Freshness: time.Minute})
				w.get(t.Context(), "a")
				time.Sleep(2 * time.Minute) // virtual
				assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
				assert.Equal(t, []StoredEntry{{Age: 2 * time.Minute, ETag: test.want}}, got)
				assert.Equal(t, test.log != "", len(b.log.About("SetETag")) > 0)
				assert.Len(t, b.log.About(test.log), len(b.log.About("")))
			})
		})
	}
}

func TestWhatIsSaidAfterTheFunctionHasReturnedIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		late := make(chan context.Context, 2)
		s := &source{do: func(ctx context.Context, run int) (int, error) { late <- ctx; return run, nil }}
		w := wrap(t, b.cache(), s, Options{Timeout: time.Hour, Freshness: time.Minute})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Minute) // virtual
		w.get(t.Context(), "a")
		<-late
		ctx := <-late
		_, ok := Stored(ctx)
		assert.False(t, ok)
		SetETag(ctx, "v1")
		NotModified(ctx)
		assert.Len(t, b.log.About("SetETag is called after the function has returned"), 1)
		assert.Len(t, b.log.About("NotModified is called after the function has returned"), 1)
	})
}

// TestKeepingIsPublishedAsStoring: other processes drop what they keep near, and who waits is woken.
func TestKeepingIsPublishedAsStoring(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		u := &upstream{version: 1}
		here, there := b.cache(), b.cache()
		opts := Options{Near: time.Hour, Timeout: time.Hour, Freshness: time.Minute}
		fn, _ := wrapUpstream(t, here, u, opts)
		other, _ := wrapUpstream(t, there, u, opts)
		awaitBubbleHearing(t, here)
		awaitBubbleHearing(t, there)
		answered(t, fn)
		_, source := answered(t, other)
		assert.Equal(t, SourceFresh, source)
		staleNow(t, fn)
		synctest.Wait()
		_, source = answered(t, fn)
		assert.Equal(t, SourceNear, source)
		_, source = answered(t, other)
		assert.Equal(t, SourceFresh, source, "it has heard of the store, and asks Redis")
		assert.Equal(t, events.Verb("store"), events.Store)
	})
}
