package fncache_test

import (
	"context"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file tests misuse. Each case ends in an error that names the fault, or in the result that
// was most likely meant, and never in a panic or a wait of minutes.

func TestTheLongestDurationsDoNotOverflow(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, policy := range []ColdPolicy{Fail, Wait, Compute} {
		t.Run(policy.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{took: time.Second}
				w := wrap(t, b.cache(), s, Options{
					Timeout: forever, Freshness: forever, WaitTimeout: forever, SoftTimeout: forever,
					Cooldown: forever, Lease: forever, ComputeTimeout: forever, OnCold: policy,
				})
				assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source)
				time.Sleep(365 * 24 * time.Hour) // virtual
				assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)
				require.NoError(t, w.Refresh(t.Context(), "k"))
				require.NoError(t, w.Invalidate(t.Context(), "k"))
				ends := bySource(w.burst(t.Context(), 5, "k"))
				assert.NotZero(t, ends[SourceComputed])
				assert.Zero(t, ends[SourceFailed])
				assert.Empty(t, b.log.About(""))
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestTheLongestNearDoesNotOverflow(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const forever = time.Duration(math.MaxInt64)
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Timeout: forever, Near: forever})
		awaitBubbleHearing(t, c)
		time.Sleep(time.Second)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
	})
}

func TestTheLongestRedisTimeoutIsRefused(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	_, err := New(Config{Redis: client, RedisTimeout: math.MaxInt64})
	require.ErrorContains(t, err, "RedisTimeout is 2562047h47m16.854775807s; it is too long, because no Lease can be 4 times as long")
}

func TestANilContextIsTheBackgroundForHandlesToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var none context.Context
		s := &source{}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		require.NoError(t, w.Refresh(none, "k"))
		require.NoError(t, w.Invalidate(none, "k"))
		require.NoError(t, c.Ping(none))
		NoStore(none)
		for _, ctx := range []context.Context{WithBypass(none), WithRefresh(none), WithInfo(none, nil), none} {
			v, err := w.call(ctx, "k")
			require.NoError(t, err)
			assert.Positive(t, v)
		}
		requireIdentity(t, w.Func)
	})
}

func TestRefreshFromWithinItsOwnComputationIsAnErrorAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var f *Func
		fn := func(ctx context.Context, s string) (int, error) {
			return 1, f.Refresh(ctx, s)
		}
		f, err := wrapString(t, &fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Hour})
		require.NoError(t, err)
		began := time.Now()
		_, err = fn(t.Context(), "k")
		require.ErrorContains(t, err, "would wait for itself")
		assert.Zero(t, time.Since(began))
	})
}

func TestInvalidateFromWithinItsOwnComputationKeepsItsResultOut(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var f *Func
		runs := 0
		fn := func(ctx context.Context, s string) (int, error) {
			runs++
			return runs, f.Invalidate(ctx, s)
		}
		f, err := wrapString(t, &fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Hour})
		require.NoError(t, err)
		for want := 1; want <= 2; want++ {
			v, err := fn(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, want, v)
		}
	})
}

// Chain is embedded in itself, by a pointer.
type Chain struct {
	*Chain
	F func(context.Context, string) (int, error) `fncache:"timeout=1h"`
}

// Left and Right lead to the same struct.
type (
	Left    struct{ *Corner }
	Right   struct{ *Corner }
	Corner  struct{ Chain }
	diamond struct {
		*Left
		*Right
	}
)

func TestWrapStructEntersEachStructOnce(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		defaults := Options{Cache: b.cache()}
		chain := &Chain{F: lengthOf}
		chain.Chain = chain
		funcs, err := WrapStruct(chain, defaults)
		require.NoError(t, err)
		require.Len(t, funcs, 1)
		funcs["F"].Unwrap()
		assert.True(t, sameFunc(lengthOf, chain.F))

		corner := &Corner{Chain{F: lengthOf}}
		corner.Chain.Chain = &corner.Chain
		funcs, err = WrapStruct(&diamond{&Left{corner}, &Right{corner}}, defaults)
		require.NoError(t, err)
		require.Len(t, funcs, 1)
		funcs["F"].Unwrap()
		assert.True(t, sameFunc(lengthOf, corner.F))
	})
}

func TestTaggedFieldsDeepInANilEmbeddedPointerAreNamed(t *testing.T) {
	_, err := WrapStruct(&diamond{&Left{}, &Right{&Corner{}}}, Options{})
	require.ErrorContains(t, err, "fncache: wrap fncache_test.Left.Corner: the embedded *fncache_test.Corner is nil, and its field F is tagged; set it before wrapping")
	require.ErrorContains(t, err, "fncache: wrap fncache_test.Chain.F", "and the other way the func is nil")
	require.ErrorContains(t, err, "fncache: wrap fncache_test.Chain.Chain: the embedded *fncache_test.Chain is nil")
}

func TestACacheThatNewDidNotMakeIsRefused(t *testing.T) {
	fn := lengthOf
	_, err := Wrap(&fn, Options{Cache: &Cache{}, Timeout: time.Hour})
	require.ErrorContains(t, err, "Options.Cache was not made by New")

	f, err := Wrap(&fn, Options{Timeout: time.Hour})
	require.NoError(t, err)
	defer f.Unwrap()
	SetDefault(&Cache{})
	defer SetDefault(nil)
	_, err = fn(t.Context(), "k")
	require.ErrorIs(t, err, ErrNoCache)
}

// panicKey panics when it is encoded for the key.
type panicKey struct{ hidden int } //nolint:unused // so that it is asked for its encoding

func (panicKey) MarshalText() ([]byte, error) { panic("no key") }

func TestAnArgumentThatPanicsPanicsInItsCallerAndIsCounted(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context, panicKey) (int, error) { return 1, nil }
		f, err := Wrap(&fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Hour})
		require.NoError(t, err)
		assert.PanicsWithValue(t, "no key", func() { _, _ = fn(t.Context(), panicKey{}) })
		assert.PanicsWithValue(t, "no key", func() { _, _ = f.Key(panicKey{}) })
		assert.EqualValues(t, 1, requireIdentity(t, f).Failed)
	})
}

func TestACallKeepsTheDefaultCacheThatItBeganWith(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		call := s.call
		f, err := wrapString(t, &call, Options{Name: "hostile.midrun", Timeout: time.Hour})
		require.NoError(t, err)
		defer f.Unwrap()
		SetDefault(b.cache())
		running := make(chan error)
		go func() { _, err := call(t.Context(), "k"); running <- err }()
		synctest.Wait()
		SetDefault(nil)
		_, err = call(t.Context(), "k")
		require.ErrorIs(t, err, ErrNoCache)
		require.ErrorIs(t, f.Invalidate(t.Context(), "k"), ErrNoCache)
		require.NoError(t, <-running, "it keeps the cache it began with")
		requireIdentity(t, f)
	})
}

func TestUnwrapWhileCallsRunLeavesThemTheirAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{took: time.Second}
		w := wrap(t, c, s, Options{OnCold: Wait})
		stub := w.call
		owner := w.begin(t.Context(), "k")
		joiner := w.begin(t.Context(), "k")
		synctest.Wait()
		w.Unwrap()
		w.Unwrap()
		again := wrap(t, c, s, Options{OnCold: Wait})
		other := again.begin(t.Context(), "k")
		for _, end := range []<-chan outcome{owner, joiner, other} {
			assert.Equal(t, 1, (<-end).value, "calls under way end as they would have, and the name is free")
		}
		v, err := stub(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, 2, v, "a copy of the stub calls the original")
		requireIdentity(t, w.Func)
	})
}

func TestACallWithAnEndedContextReturnsItsError(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{})
		w.get(t.Context(), "k")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, context.Canceled, w.get(ended, "k").err)
		assert.Equal(t, context.Canceled, w.get(WithRefresh(ended), "k").err)
		require.ErrorIs(t, w.Invalidate(ended, "k"), context.Canceled)
		require.ErrorIs(t, w.Refresh(ended, "k"), context.Canceled)
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, w.get(t.Context(), "k"), "nothing was begun")
		requireIdentity(t, w.Func)
	})
}

func TestAnArgumentOf64MBIsAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{})
		huge := strings.Repeat("x", 64<<20)
		assert.Equal(t, SourceComputed, w.get(t.Context(), huge).source)
		assert.Equal(t, SourceFresh, w.get(t.Context(), huge).source)
		assert.Equal(t, SourceComputed, w.get(t.Context(), huge[1:]).source)
	})
}

func TestTwoFunctionsThatNeedEachOtherWaitNoLongerThanWaitTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var f, g stringFunc
		both := make(chan struct{}, 2)
		meet := func() { // until the other runs too
			both <- struct{}{}
			time.Sleep(time.Second)
		}
		f = func(ctx context.Context, s string) (int, error) { meet(); return g(ctx, s) }
		g = func(ctx context.Context, s string) (int, error) { meet(); return f(ctx, s) }
		c := b.cache()
		for name, fn := range map[string]*stringFunc{"f": &f, "g": &g} {
			_, err := wrapString(t, fn, Options{Cache: c, Name: name, Timeout: time.Hour, OnCold: Wait, WaitTimeout: 2 * time.Second})
			require.NoError(t, err)
		}
		began := time.Now()
		ends := make(chan error)
		for _, fn := range []stringFunc{f, g} {
			go func() { _, err := fn(t.Context(), "k"); ends <- err }()
		}
		require.ErrorIs(t, <-ends, ErrColdCache)
		require.ErrorIs(t, <-ends, ErrColdCache)
		assert.Equal(t, 3*time.Second, time.Since(began))
	})
}

// A hook of the Redis client ends the goroutine of the call that looks up, as t.FailNow does.
func TestHookThatEndsACallerLeavesOthersTheirAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		for range 3 { // calls send themselves where the node is calm
			require.NoError(t, w.get(t.Context(), "before").err)
		}
		joined := make(chan struct{})
		b.tap.on("get", func() {
			<-joined
			runtime.Goexit()
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.get(t.Context(), "k")
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		other := w.begin(ctx, "k")
		synctest.Wait()
		close(joined)
		<-ended
		require.NoError(t, (<-other).err)
		require.NoError(t, w.get(ctx, "k").err)
	})
}

// A hook of the Redis client ends the goroutine that sends. The flight, the place and the lease
// of a computation are not lost.
func TestAHookThatEndsItsGoroutineLosesNoComputation(t *testing.T) {
	for _, verb := range []string{"acquire", "register", "renew", "store"} {
		for _, onCold := range []ColdPolicy{Fail, Wait} {
			inBubble(t, func(t *testing.T, b *bubble) {
				c, s := b.cache(), &source{took: 4 * time.Second}
				w := wrap(t, c, s, Options{MaxConcurrent: 1, OnCold: onCold})
				quick := wrap(t, c, &source{}, Options{Name: "test.Quick"})
				for range 3 {
					quick.get(t.Context(), "callers send from now on")
				}
				b.tap.on(verb, runtime.Goexit)
				ends := []<-chan outcome{w.begin(t.Context(), "a"), w.begin(t.Context(), "a")}
				for _, end := range ends {
					if o := <-end; onCold == Wait {
						require.NoError(t, o.err, verb)
					}
				}
				synctest.Wait()
				time.Sleep(DefaultLease)
				require.NoError(t, w.get(t.Context(), "b").err, verb)
				require.NoError(t, w.get(t.Context(), "a").err, verb)
				synctest.Wait()
				requireAllPlaces(t, w.Func)
				assert.True(t, c.Beginning("").Idle(), verb)
				requireIdentity(t, w.Func)
			})
		}
	}
}
