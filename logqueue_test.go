package fncache

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// handler is a slog.Handler that does what a test says, and keeps the records that
// it was given.
type handler struct {
	enabled func(slog.Level) bool // nil: yes
	handle  func(slog.Record)     // nil: nothing

	mu      sync.Mutex // guards the field below
	records []slog.Record
}

func (h *handler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *handler) WithGroup(string) slog.Handler      { return h }

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.enabled == nil || h.enabled(level)
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	if h.handle != nil {
		h.handle(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
	return nil
}

// kept gives the records so far.
func (h *handler) kept() []slog.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.records
}

// messages gives their messages.
func (h *handler) messages() (all []string) {
	for _, r := range h.kept() {
		all = append(all, r.Message)
	}
	return all
}

// attr gives an attribute of a record, or nil.
func attr(r slog.Record, key string) (value any) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value.Any()
		}
		return value == nil
	})
	return value
}

// tells is for the configuration of a cache that tells h.
func tells(h slog.Handler) func(*Config) { return func(c *Config) { c.Logger = slog.New(h) } }

// stuck gives handlers that take nothing, neither in the one method nor in the
// other, until they are let go.
func stuck() (all map[string]*handler, let func()) {
	gate := make(chan struct{})
	return map[string]*handler{
		"Handle":  {handle: func(slog.Record) { <-gate }},
		"Enabled": {enabled: func(slog.Level) bool { <-gate; return true }},
	}, sync.OnceFunc(func() { close(gate) })
}

// --- A log that takes nothing delays nothing ---

// What happens is begun and seen to its end while the handler takes nothing. All
// times are those of the bubble, and exact.
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
			assert.LessOrEqual(t, o.took, 2*c.cfg.RedisTimeout)
			o.took = 0
			assert.Equal(t, outcome{value: 2, source: SourceComputed}, o)
			assert.LessOrEqual(t, timeOf(func() { require.Error(t, w.Invalidate(t.Context(), "a")) }), 2*c.cfg.RedisTimeout)
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
			lock := must(b.redis.Get(must(w.Key("a")) + lockSuffix))
			assert.True(t, strings.HasPrefix(lock, markOpen), "callers compute without a lease for a while: %s", lock)
			time.Sleep(openFor)
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
			time.Sleep(3*probeInterval/2 + resubscribeMax) // the node has gone away with it
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
		want: "its name is another's",
	},
}

func TestALogThatTakesNothingDelaysNothing(t *testing.T) {
	for what, row := range untold {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				handlers, let := stuck()
				defer let()
				change := row.change
				if change == nil {
					change = func(*Config) {}
				}
				for _, h := range handlers {
					b.redis.FlushAll()
					row.happen(t, b, b.cache(tells(h), change))
					require.Empty(t, h.kept())
				}
				let()
				synctest.Wait()
				for method, h := range handlers {
					assert.Contains(t, fmt.Sprint(h.messages()), row.want, method)
				}
			})
		})
	}
}

func TestCloseIsBoundedThoughTheLogTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		handlers, let := stuck()
		defer let()
		for method, h := range handlers {
			c := b.cache(tells(h))
			w := wrap(t, c, &source{took: time.Hour}, Options{})
			end := w.begin(t.Context(), "a")
			synctest.Wait()
			c.log.once("s", slog.LevelWarn, "stuck")
			var err error
			assert.Equal(t, closeGrace, timeOf(func() { err = c.Close() }), method)
			require.ErrorContains(t, err, "the handler of Config.Logger", "it says what was still running")
			require.ErrorIs(t, (<-end).err, ErrClosed)
			assert.Empty(t, b.keys(), "the lease was given back")
			assert.EqualValues(t, 1, c.life.running.Load(), "but for the writer nothing is left")
		}
	})
}

func TestWhatWasToldBeforeCloseIsWrittenWhenItReturns(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{handle: func(slog.Record) { time.Sleep(time.Second) }}
		c := b.cache(tells(h))
		for i := range 3 {
			c.log.once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i))
		}
		assert.Equal(t, 3*time.Second, timeOf(func() { assert.NoError(t, c.Close()) }))
		assert.Equal(t, []string{"fncache: 0", "fncache: 1", "fncache: 2"}, h.messages())
		assert.Zero(t, c.life.running.Load(), "and no goroutine is left")
	})
}

func TestWhatIsToldAfterCloseIsWrittenAndLeavesNoGoroutine(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{}
		c := b.cache(tells(h))
		w := wrap(t, c, &source{}, Options{})
		require.NoError(t, c.Close())
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
		c.log.once("s", slog.LevelWarn, "late")
		synctest.Wait()
		assert.Contains(t, h.messages(), "fncache: late")
		assert.Zero(t, c.life.running.Load())
	})
}

// --- What is written ---

func TestRecordsAreWrittenInTheirOrderAndCarryTheTimeOfTheEvent(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		handlers, let := stuck()
		defer let()
		h := handlers["Handle"]
		c := b.cache(tells(h))
		var times []time.Time
		for i := range 10 {
			times = append(times, time.Now())
			c.log.once(fmt.Sprint(i), slog.LevelWarn+slog.Level(i), fmt.Sprint(i), "i", i)
			time.Sleep(time.Second)
		}
		let()
		synctest.Wait()
		require.Len(t, h.kept(), 10)
		for i, r := range h.kept() {
			assert.True(t, times[i].Equal(r.Time), "record %d: %v", i, r.Time)
			assert.Equal(t, slog.LevelWarn+slog.Level(i), r.Level)
			assert.Equal(t, fmt.Sprintf("fncache: %d", i), r.Message)
			assert.EqualValues(t, i, attr(r, "i"))
			assert.Equal(t, "logqueue_test.go", filepath.Base(r.Source().File), "of who told it")
		}
	})
}

func TestAMessageIsRepeatedAfterAMinuteAndSaysHowManyWereLeftOut(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{}
		c := b.cache(tells(h))
		for range 2 {
			for range 5 {
				c.log.once("s", slog.LevelWarn, "m")
			}
			time.Sleep(logInterval)
		}
		c.log.once("s", slog.LevelWarn, "m")
		synctest.Wait()
		var repeated []any
		for _, r := range h.kept() {
			repeated = append(repeated, attr(r, "repeated"))
		}
		assert.Equal(t, []any{nil, int64(4), int64(4)}, repeated)
	})
}

func TestAFullQueueDropsAndTheNextRecordWrittenSaysHowMany(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		gate := make(chan struct{})
		h := &handler{handle: func(slog.Record) { <-gate }}
		c := b.cache(tells(h))
		const dropped = 7
		tell := func(i int) { c.log.once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i)) }
		tell(0)
		synctest.Wait() // the handler has it
		for i := range mostQueued + dropped {
			tell(1 + i)
		}
		gate <- struct{}{}
		synctest.Wait() // it has the next one, and there is room again
		tell(-1)
		close(gate)
		synctest.Wait()
		require.Len(t, h.kept(), 1+mostQueued+1, "the oldest are kept")
		for i, r := range h.kept()[:1+mostQueued] {
			assert.Equal(t, fmt.Sprintf("fncache: %d", i), r.Message)
			var want any
			if i == 1 {
				want = int64(dropped)
			}
			assert.Equal(t, want, attr(r, "dropped"), "record %d", i)
		}
		assert.Equal(t, "fncache: -1", h.messages()[1+mostQueued])
		assert.Nil(t, c.log.out.records, "the memory is given back")
	})
}

func TestAHandlerThatDoesNotTakeARecordLosesThatOneOnly(t *testing.T) {
	for how, fail := range map[string]func(){
		"panics":              func() { panic("no") },
		"ends its goroutine":  runtime.Goexit,
		"has a nil somewhere": func() { var h *handler; h.kept() },
	} {
		t.Run(how, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				h := &handler{}
				h.handle = func(r slog.Record) {
					if attr(r, "bad") != nil {
						fail()
					}
				}
				c := b.cache(tells(h))
				for i, bad := range []bool{false, true, true, false, true} {
					args := []any{"bad", true}
					if !bad {
						args = nil
					}
					c.log.once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i), args...)
				}
				synctest.Wait()
				c.log.once("next", slog.LevelWarn, "next")
				synctest.Wait()
				require.Equal(t, []string{"fncache: 0", "fncache: 3", "fncache: next"}, h.messages())
				for i, want := range []any{nil, int64(2), int64(1)} {
					assert.Equal(t, want, attr(h.kept()[i], "dropped"), "record %d", i)
				}
				assert.Zero(t, c.life.running.Load())
			})
		})
	}
}

func TestALoggerWithoutAHandlerHarmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(func(c *Config) { c.Logger = &slog.Logger{} }), &source{}, Options{})
		defer b.cut()()
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
	})
}

func TestOnlyWhatTheHandlerIsEnabledForIsWritten(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{enabled: func(level slog.Level) bool { return level >= slog.LevelError }}
		c := b.cache(tells(h))
		c.log.once("w", slog.LevelWarn, "warning")
		c.log.once("e", slog.LevelError, "error")
		synctest.Wait()
		assert.Equal(t, []string{"fncache: error"}, h.messages())
		assert.Nil(t, attr(h.kept()[0], "dropped"), "what is not wanted is not missed")
	})
}

func TestTheDefaultLoggerIsLookedUpAtEachRecord(t *testing.T) {
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	defer func() {
		slog.SetDefault(before)
		log.SetOutput(writer) // which SetDefault has changed
		log.SetFlags(flags)
	}()
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache(func(c *Config) { c.Logger = nil })
		handlers, let := stuck()
		defer let()
		first, second := handlers["Handle"], &handler{}
		slog.SetDefault(slog.New(first))
		c.log.once("1", slog.LevelWarn, "first")
		c.log.once("2", slog.LevelWarn, "first too")
		synctest.Wait()
		slog.SetDefault(slog.New(second))
		c.log.once("3", slog.LevelWarn, "second")
		let()
		synctest.Wait()
		assert.Equal(t, []string{"fncache: first", "fncache: first too"}, first.messages(), "as it was when they were told")
		assert.Equal(t, []string{"fncache: second"}, second.messages())
	})
}

// moodyError is an error whose text changes, as its owner says.
type moodyError struct{ text string }

func (e *moodyError) Error() string {
	if e.text == "" {
		panic("no text")
	}
	return e.text
}

func TestAnErrorIsAskedForItsTextBeforeWhoeverToldItGoesOn(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		handlers, let := stuck()
		defer let()
		h := handlers["Handle"]
		c := b.cache(tells(h))
		err := &moodyError{"then"}
		c.log.once("1", slog.LevelWarn, "m", "err", fmt.Errorf("of the user: %w", err))
		err.text = "now" // the race detector has an eye on that
		let()
		synctest.Wait()
		assert.Equal(t, "of the user: then", attr(h.kept()[0], "err"))

		err.text = ""
		var none *moodyError
		c.log.once("2", slog.LevelWarn, "m", "err", err)
		c.log.once("3", slog.LevelWarn, "m", "err", none)
		synctest.Wait()
		require.Len(t, h.kept(), 3)
		assert.Contains(t, attr(h.kept()[1], "err"), "PANIC")
		assert.Equal(t, "<nil>", attr(h.kept()[2], "err"))
	})
}

// --- A handler that uses the cache ---

func TestAHandlerMayCallCachedFunctions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		h := &handler{}
		c := b.cache(tells(h))
		w := wrap(t, c, s, Options{OnCold: Wait})
		var within []outcome
		h.handle = func(slog.Record) {
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
		}, h.messages())
		for _, o := range within {
			require.NoError(t, o.err)
			assert.Zero(t, o.took)
		}
		assert.Len(t, within, 4)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

func TestAHandlerMayCallTheFunctionWhoseFirstCallItIsToldOf(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{}
		c := b.cache(tells(h))
		SetDefault(c)
		defer SetDefault(nil)
		alice, bob := tenant{"alice"}.Sure, tenant{"bob"}.Sure
		f := must(Wrap(&alice, Options{Cache: c, Timeout: time.Minute, OnCold: Wait}))
		defer f.Unwrap()
		g := must(Wrap(&bob, Options{Timeout: time.Minute, OnCold: Wait}))
		defer g.Unwrap()
		h.handle = func(slog.Record) { assert.Equal(t, "bob", bob(1)) }
		assert.Equal(t, "bob", bob(1))
		synctest.Wait()
		assert.Len(t, h.messages(), 1)
	})
}

func TestAHandlerThatClosesTheCacheWaitsForItselfNoLongerThanCloseMay(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		h := &handler{}
		c := b.cache(tells(h))
		var err error
		var took time.Duration
		h.handle = func(slog.Record) { took = timeOf(func() { err = errors.Join(err, c.Close()) }) }
		c.log.once("s", slog.LevelWarn, "fatal")
		time.Sleep(closeGrace)
		synctest.Wait()
		assert.Equal(t, closeGrace, took)
		require.ErrorContains(t, err, "the handler of Config.Logger")
		assert.Equal(t, []string{"fncache: fatal"}, h.messages())
		assert.Zero(t, c.life.running.Load())
	})
}
