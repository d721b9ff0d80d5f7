package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/logtest"
)

// tells is for the configuration of a cache that tells h.
func tells(h slog.Handler) func(*Config) { return func(c *Config) { c.Logger = slog.New(h) } }

// --- A log that takes nothing delays nothing ---

// Each event begins and ends while the handler takes no record. All times are times of the
// bubble, and exact.
var untold = map[string]struct {
	change func(*Config)
	happen func(t *testing.T, b *bubble, c *Cache)
	want   string // the message, in the end
}{
	"a call that meets a Redis that is away": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			w := wrap(t, c, &source{}, Options{})
			defer b.cut()()
			assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
		},
		want: "Redis does not answer as it should",
	},
	"a call that meets a Redis that hangs": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			w := wrap(t, c, &source{}, Options{})
			w.get(t.Context(), "learns the clock")
			defer b.stall()()
			o := w.get(t.Context(), "a")
			assert.LessOrEqual(t, o.took, 2*c.Config().RedisTimeout)
			o.took = 0
			assert.Equal(t, outcome{value: 2, source: SourceComputed}, o)
			assert.LessOrEqual(t, timeOf(func() { require.Error(t, w.Invalidate(t.Context(), "a")) }), 2*c.Config().RedisTimeout)
		},
		want: "Redis does not answer as it should",
	},
	"a call that meets an entry it cannot read": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			w := wrap(t, c, &source{}, Options{})
			require.NoError(t, b.redis.Set(must(w.Key("a")), "of somebody else, and long enough to be an envelope"))
			assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
			assert.Equal(t, outcome{value: 1, source: SourceFresh}, w.get(t.Context(), "a"))
		},
		want: "entry cannot be read",
	},
	"the tender of a lease that is lost": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			s := newHeld()
			opts := Options{Lease: 3 * time.Second, OnCold: Wait}
			w, other := wrap(t, c, &s.source, opts), wrap(t, b.cache(), &s.source, opts)
			first := w.begin(t.Context(), "a")
			<-s.began
			require.NoError(t, other.Invalidate(t.Context(), "a"))
			time.Sleep(time.Second) // a third of the lease: renew says lost
			synctest.Wait()
			after := w.begin(t.Context(), "a")
			assert.Equal(t, 2, <-s.began, "newcomers start afresh")
			s.let <- struct{}{}
			s.let <- struct{}{}
			assert.Equal(t, outcome{value: 1, source: SourceComputed, took: time.Second}, <-first)
			assert.Equal(t, outcome{value: 2, source: SourceComputed}, <-after)
		},
		want: "lease lost while computing",
	},
	"a result that does not survive encoding": {
		change: withCodec(&moodyCodec{encode: func([]any) ([]byte, error) { return nil, errMoody }}),
		happen: func(t *testing.T, b *bubble, c *Cache) {
			w := wrap(t, c, &source{took: time.Second}, Options{})
			assert.Equal(t, outcome{value: 1, source: SourceComputed, took: time.Second}, w.get(t.Context(), "a"))
			lock := must(b.redis.Get(must(w.Key("a")) + LockSuffix))
			assert.True(t, strings.HasPrefix(lock, MarkOpen), "callers compute without a lease for a while: %s", lock)
			time.Sleep(OpenFor)
			assert.Empty(t, b.keys())
		},
		want: "does not survive encoding",
	},
	"a StaleIf that panics": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			s := &source{}
			w := wrap(t, c, s, Options{Freshness: time.Second, StaleIf: func(error) bool { panic("no") }})
			w.get(t.Context(), "a")
			time.Sleep(2 * time.Second)
			s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
			o := w.get(t.Context(), "a")
			require.ErrorIs(t, o.err, errSource)
			assert.Zero(t, o.took)
		},
		want: "StaleIf gave no answer",
	},
	"the first call, of a user who may not ask for the time": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			b.tap.set(func(tap *tap) { tap.refuse["time"] = replyError("ERR unknown command 'TIME'") })
			w := wrap(t, c, &source{}, Options{})
			assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
		},
		want: "Redis refuses the TIME command",
	},
	"the prober": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			w := wrap(t, c, &source{}, Options{})
			mend := b.cut()
			for range severalCalls {
				w.get(t.Context(), "a")
			}
			time.Sleep(10 * time.Second)
			mend()
			time.Sleep(3 * probeInterval / 2)
			assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
			assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "caching has resumed")
		},
		want: "Redis answers again",
	},
	"the subscription": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			b.tap.set(func(tap *tap) { tap.refuse["publish"] = errGone })
			hearAll(c)
			synctest.Wait()
			require.Zero(t, hearing(c))
			b.tap.set(func(tap *tap) { delete(tap.refuse, "publish") })
			time.Sleep(3*probeInterval/2 + events.MaxPause) // the node has gone away with it
			synctest.Wait()
			assert.NotZero(t, hearing(c), "events are heard again")
		},
		want: "subscription to events lost",
	},
	"a call whose function has another's name": {
		happen: func(t *testing.T, b *bubble, c *Cache) {
			SetDefault(c)
			defer SetDefault(nil)
			alice, bob := tenant{"alice"}.Get, tenant{"bob"}.Get
			f := must(Wrap(&alice, Options{Cache: c, Timeout: time.Minute}))
			defer f.Unwrap()
			g := must(Wrap(&bob, Options{Timeout: time.Minute}))
			defer g.Unwrap()
			for range 2 {
				_, err := bob(t.Context(), 1)
				require.ErrorContains(t, err, "is taken by")
			}
		},
		want: "another function has its name",
	},
}

func TestALogThatTakesNothingDelaysNothing(t *testing.T) {
	for what, row := range untold {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				handlers, release := logtest.Stuck()
				defer release()
				change := row.change
				if change == nil {
					change = func(*Config) {}
				}
				for _, h := range handlers {
					b.redis.FlushAll()
					row.happen(t, b, b.cache(tells(h), change))
					require.Empty(t, h.Records())
				}
				release()
				synctest.Wait()
				for method, h := range handlers {
					assert.Contains(t, fmt.Sprint(h.Messages()), row.want, method)
				}
			})
		})
	}
}

func TestCloseIsBoundedThoughTheLogTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		handlers, release := logtest.Stuck()
		defer release()
		for method, h := range handlers {
			c := b.cache(tells(h))
			w := wrap(t, c, &source{took: time.Hour}, Options{})
			end := w.begin(t.Context(), "a")
			synctest.Wait()
			c.Log().Once("s", slog.LevelWarn, "stuck")
			var err error
			assert.Equal(t, CloseGrace, timeOf(func() { err = c.Close() }), method)
			require.ErrorContains(t, err, "the handler of Config.Logger", "it says what was still running")
			require.ErrorIs(t, (<-end).err, ErrClosed)
			assert.Empty(t, b.keys(), "the lease was given back")
			assert.EqualValues(t, 1, c.Life().Running(), "only the writer is left")
		}
	})
}

func TestRecordsBeforeCloseAreWrittenWhenItReturns(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &logtest.Handler{HandleFunc: func(slog.Record) { time.Sleep(time.Second) }}
		c := b.cache(tells(h))
		for i := range 3 {
			c.Log().Once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i))
		}
		assert.Equal(t, 3*time.Second, timeOf(func() { assert.NoError(t, c.Close()) }))
		assert.Equal(t, []string{"fncache: 0", "fncache: 1", "fncache: 2"}, h.Messages())
		assert.Zero(t, c.Life().Running(), "and no goroutine is left")
	})
}

func TestRecordsAfterCloseAreWrittenAndLeaveNoGoroutine(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		h := &logtest.Handler{}
		c := b.cache(tells(h))
		w := wrap(t, c, &source{}, Options{})
		require.NoError(t, c.Close())
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
		c.Log().Once("s", slog.LevelWarn, "late")
		synctest.Wait()
		assert.Contains(t, h.Messages(), "fncache: late")
		assert.Zero(t, c.Life().Running())
	})
}

func TestALoggerWithoutAHandlerHarmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(func(c *Config) { c.Logger = &slog.Logger{} }), &source{}, Options{})
		defer b.cut()()
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
	})
}

// --- A handler that uses the cache ---

func TestAHandlerMayCallCachedFunctions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		h := &logtest.Handler{}
		c := b.cache(tells(h))
		w := wrap(t, c, s, Options{OnCold: Wait})
		var within []outcome
		h.HandleFunc = func(slog.Record) {
			// The key that was asked for and another; each meets what there is to tell.
			for _, arg := range []string{"a", fmt.Sprint(len(within))} {
				within = append(within, w.get(t.Context(), arg))
			}
		}
		mend := b.cut()
		for range severalCalls {
			require.NoError(t, w.get(t.Context(), "a").err)
		}
		synctest.Wait()
		mend()
		time.Sleep(3 * probeInterval / 2)
		synctest.Wait()
		assert.Equal(t, []string{
			"fncache: Redis does not answer as it should: what cannot be served is computed in this process, or refused, and not stored",
			"fncache: Redis answers again: caching resumes",
		}, h.Messages())
		for _, o := range within {
			require.NoError(t, o.err)
			assert.Zero(t, o.took)
		}
		assert.Len(t, within, 4)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

func TestAHandlerMayCallTheFunctionThatItsRecordIsAbout(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &logtest.Handler{}
		c := b.cache(tells(h))
		SetDefault(c)
		defer SetDefault(nil)
		alice, bob := tenant{"alice"}.Sure, tenant{"bob"}.Sure
		f := must(Wrap(&alice, Options{Cache: c, Timeout: time.Minute, OnCold: Wait}))
		defer f.Unwrap()
		g := must(Wrap(&bob, Options{Timeout: time.Minute, OnCold: Wait}))
		defer g.Unwrap()
		h.HandleFunc = func(slog.Record) { assert.Equal(t, "bob", bob(1)) }
		assert.Equal(t, "bob", bob(1))
		synctest.Wait()
		assert.Len(t, h.Messages(), 1)
	})
}

func TestAHandlerThatClosesTheCacheWaitsForItselfNoLongerThanCloseMay(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &logtest.Handler{}
		c := b.cache(tells(h))
		var err error
		var took time.Duration
		h.HandleFunc = func(slog.Record) { took = timeOf(func() { err = errors.Join(err, c.Close()) }) }
		c.Log().Once("s", slog.LevelWarn, "fatal")
		time.Sleep(CloseGrace)
		synctest.Wait()
		assert.Equal(t, CloseGrace, took)
		require.ErrorContains(t, err, "the handler of Config.Logger")
		assert.Equal(t, []string{"fncache: fatal"}, h.Messages())
		assert.Zero(t, c.Life().Running())
	})
}
