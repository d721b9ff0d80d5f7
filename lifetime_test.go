package fncache_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lasting is a source whose function sets these operate.Lifetime.
func lasting(freshness, timeout time.Duration) *source {
	return &source{do: func(ctx context.Context, run int) (int, error) {
		SetLifetime(ctx, freshness, timeout)
		return run, nil
	}}
}

// dayOpts are options that the operate.Lifetime of these tests differ from in both directions.
var dayOpts = Options{Timeout: 24 * time.Hour, Freshness: time.Hour, OnStale: Background}

func TestAnEntryHasTheLifetimeThatItsFunctionSets(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		c := newTestCache(t, Config{Redis: server.Client()})
		for name, tags := range map[string][]string{"plain": nil, "tagged": {"books"}} {
			t.Run(name, func(t *testing.T) {
				opts := dayOpts
				opts.Name, opts.Tags = "test."+name, tags
				w := wrap(t, c, lasting(2*time.Hour, 3*time.Hour), opts)
				get := func() Source { return w.get(t.Context(), "a").source }
				assert.Equal(t, SourceComputed, get())
				left := server.Raw.PTTL(t.Context(), must(w.Key("a"))).Val()
				assert.InDelta(t, 3*time.Hour, left, float64(time.Minute), "its expiry in Redis")
				c.Clock().Shift(119 * time.Minute) // past Options.Freshness
				assert.Equal(t, SourceFresh, get())
				c.Clock().Shift(2 * time.Minute)
				w.Opts().Cooldown = -1
				key := must(w.Key("a"))
				assert.Equal(t, Stale, w.Judged(server.Raw.Get(t.Context(), key).Val()))
				e, err := operate.Of(c).Read(t.Context(), key)
				require.NoError(t, err)
				assert.Equal(t, lives(2*time.Hour, 3*time.Hour), *e.Lifetime)
				c.Clock().Shift(time.Hour)
				assert.Equal(t, Cold, w.Judged(server.Raw.Get(t.Context(), key).Val()))
				c.Clock().Shift(-181 * time.Minute)
			})
		}
	})
}

func lives(freshness, timeout time.Duration) operate.Lifetime {
	return operate.Lifetime{Freshness: freshness, Timeout: timeout}
}

// Each row calls the function once, and then reads from the stored entry how long it is fresh
// and served; 0 if nothing is stored.
func TestHostileLifetimesAreLimitedOrNotStored(t *testing.T) {
	hour, day := time.Hour, 24*time.Hour
	for name, test := range map[string]struct {
		set  func(ctx context.Context)
		want operate.Lifetime
	}{
		"none":                        {func(context.Context) {}, lives(hour, day)},
		"both":                        {func(ctx context.Context) { SetLifetime(ctx, 1*time.Minute, 2*time.Minute) }, lives(time.Minute, 2*time.Minute)},
		"longer than Options.Timeout": {func(ctx context.Context) { SetLifetime(ctx, 48*hour, 96*hour) }, lives(day, day)},
		"the longest":                 {func(ctx context.Context) { SetLifetime(ctx, math.MaxInt64, math.MaxInt64) }, lives(day, day)},
		"fresh longer than served":    {func(ctx context.Context) { SetLifetime(ctx, 2*hour, hour) }, lives(hour, hour)},
		"fresh for no time":           {func(ctx context.Context) { SetLifetime(ctx, 0, hour) }, lives(0, hour)},
		"fresh for less":              {func(ctx context.Context) { SetLifetime(ctx, -hour, hour) }, lives(0, hour)},
		"no time at all":              {func(ctx context.Context) { SetLifetime(ctx, hour, 0) }, operate.Lifetime{}},
		"negative":                    {func(ctx context.Context) { SetLifetime(ctx, -hour, -hour) }, operate.Lifetime{}},
		"the shortest":                {func(ctx context.Context) { SetLifetime(ctx, math.MinInt64, math.MinInt64) }, operate.Lifetime{}},
		"less than a millisecond":     {func(ctx context.Context) { SetLifetime(ctx, 1, 999*time.Microsecond) }, operate.Lifetime{}},
		"a part of a millisecond":     {func(ctx context.Context) { SetLifetime(ctx, 1500*time.Microsecond, 2999*time.Microsecond) }, lives(time.Millisecond, 2*time.Millisecond)},
		"twice":                       {func(ctx context.Context) { SetLifetime(ctx, 0, 0); SetLifetime(ctx, 1*hour, 2*hour) }, lives(hour, 2*hour)},
		"twice, the last one is none": {func(ctx context.Context) { SetLifetime(ctx, 1*hour, 2*hour); SetLifetime(ctx, 0, 0) }, operate.Lifetime{}},
		"with NoStore":                {func(ctx context.Context) { NoStore(ctx); SetLifetime(ctx, hour, hour) }, operate.Lifetime{}},
		"with a context of its own":   {func(context.Context) { SetLifetime(context.Background(), 1, 1) }, lives(hour, day)},
		"with no context":             {func(context.Context) { SetLifetime(nil, 1, 1) }, lives(hour, day)}, //nolint:staticcheck // hostile
		"with a context made of it":   {func(ctx context.Context) { SetLifetime(WithBypass(context.WithValue(ctx, depthKey{}, 1)), hour, hour) }, lives(hour, hour)},
		"on a goroutine, and it waits": {func(ctx context.Context) {
			done := make(chan struct{})
			go func() { SetLifetime(ctx, hour, hour); close(done) }()
			<-done
		}, lives(hour, hour)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{do: func(ctx context.Context, run int) (int, error) { test.set(ctx); return run, nil }}
				w := wrap(t, b.cache(), s, dayOpts)
				assert.Equal(t, outcome{value: 1, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
				key := must(w.Key("a"))
				if test.want.Timeout == 0 {
					assert.False(t, b.redis.Exists(key), "nothing is stored")
					assert.False(t, b.redis.Exists(key+LockSuffix), "and the lease is released")
					return
				}
				e, err := operate.Of(w.Bound()).Read(t.Context(), key)
				require.NoError(t, err)
				none := name == "none" || name == "with a context of its own" || name == "with no context"
				require.Equal(t, none, e.Lifetime == nil)
				if !none {
					assert.Equal(t, test.want, *e.Lifetime)
				}
				assert.Equal(t, test.want.Timeout, b.redis.TTL(key))
				assert.Empty(t, b.log.About("SetLifetime"))
			})
		})
	}
}

func TestALifetimeThatIsSetTooLateIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		late := make(chan context.Context, 1)
		s := &source{do: func(ctx context.Context, run int) (int, error) { late <- ctx; return run, nil }}
		w := wrap(t, b.cache(), s, dayOpts)
		w.get(t.Context(), "a")
		SetLifetime(<-late, time.Minute, time.Minute)
		require.Len(t, b.log.About("SetLifetime is called after the function has returned: it has no effect"), 1)
		time.Sleep(30 * time.Minute) // virtual
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

// There is no entry in a direct call, in a computation without a lease, and outside of
// functions.
func TestALifetimeWithoutAnEntryDoesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), lasting(time.Minute, time.Minute), dayOpts)
		assert.Equal(t, 1, w.get(WithBypass(t.Context()), "a").value)
		SetLifetime(t.Context(), time.Minute, time.Minute)
		b.tap.set(func(tap *tap) { tap.broken = errGone })
		assert.Equal(t, 2, w.get(t.Context(), "a").value, "Redis is away")
		assert.Empty(t, b.keys())
		assert.Empty(t, b.log.About("SetLifetime"))
	})
}

// In TestALifetimeAppliesToTheInnermostFunction a function that another one calls sets its own
// lifetime.
func TestALifetimeAppliesToTheInnermostFunction(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := wrap(t, c, lasting(time.Minute, time.Minute), Options{Name: "test.Inner", Timeout: time.Hour})
		outer := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) { return inner.call(ctx, "a") }}, Options{Name: "test.Outer", Timeout: time.Hour})
		outer.get(t.Context(), "a")
		assert.Equal(t, time.Minute, b.redis.TTL(must(inner.Key("a"))))
		assert.Equal(t, time.Hour, b.redis.TTL(must(outer.Key("a"))))
	})
}

func TestAReaderWithAShorterTimeoutObeysIts(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := lasting(10*time.Hour, 20*time.Hour)
		writer := wrap(t, b.cache(), s, dayOpts)
		writer.get(t.Context(), "a")
		reader := wrap(t, b.cache(), s, Options{Timeout: 2 * time.Hour, Freshness: time.Minute})
		time.Sleep(119 * time.Minute) // virtual
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(reader.get(t.Context(), "a")), "its Freshness does not count, but the entry's")
		time.Sleep(2 * time.Minute) // virtual
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(writer.get(t.Context(), "a")))
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(reader.get(t.Context(), "a")))
	})
}

func TestNearGoesByTheLifetime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		opts := dayOpts
		opts.Near = 12 * time.Hour
		w := wrap(t, c, lasting(4*time.Minute, 8*time.Minute), opts)
		awaitBubbleHearing(t, c)
		get := func() Source { return w.get(t.Context(), "a").source }
		get()
		time.Sleep(4*time.Minute - time.Second) // virtual
		assert.Equal(t, SourceNear, get())
		time.Sleep(2 * time.Second) // virtual
		assert.Equal(t, SourceStale, get())
		synctest.Wait()
		assert.Equal(t, SourceNear, get())
		b.tap.set(func(tap *tap) { tap.broken = errGone })
		time.Sleep(6 * time.Minute) // virtual
		assert.Equal(t, SourceStale, get(), "while Redis is away, up to the entry's own timeout")
		time.Sleep(2*time.Minute + time.Second) // virtual
		assert.Equal(t, SourceComputed, get())
	})
}

func TestErrorsThatAreAnswersKeepErrorTimeout(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"longer": 20 * time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{do: func(ctx context.Context, _ int) (int, error) {
					SetLifetime(ctx, timeout, timeout)
					return 0, errGone
				}}
				opts := dayOpts
				opts.CacheErrors, opts.ErrorTimeout = []error{errGone}, time.Minute
				w := wrap(t, b.cache(), s, opts)
				w.get(t.Context(), "a")
				assert.Equal(t, time.Minute, b.redis.TTL(must(w.Key("a"))))
				assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
			})
		})
	}
}

// As with NoStore, callers that waited get the result, and the stored entry stays.
func TestAResultThatLivesForNoTimeLeavesTheStoredOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Timeout: time.Hour, Freshness: time.Minute})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = lasting(0, 0).do })
		time.Sleep(2 * time.Minute) // virtual
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
		assert.Equal(t, "\x81\x01", must(b.redis.Get(must(w.Key("a"))))[bodyAt:])
	})
}
