package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

var errBanned = errors.New("banned in this country")

// failing is a source whose runs fail, wrapped as functions do.
func failing(err error) *source {
	return &source{do: func(_ context.Context, run int) (int, error) { return run, fmt.Errorf("run %d: %w", run, err) }}
}

func caching(errs ...error) Options {
	return Options{Freshness: 30 * time.Second, CacheErrors: errs, ErrorTimeout: 5 * time.Second}
}

// --- Negative entries ---

func TestAnErrorThatIsAnAnswerIsCachedAndComesBackAsThatError(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := failing(errNoBook)
		w, other := wrap(t, b.cache(), s, caching(errBanned, errNoBook)), wrap(t, b.cache(), s, caching(errNoBook, errBanned))
		assert.Equal(t, outcome{err: errNoBook, source: SourceComputed}, w.get(t.Context(), "a"), "what a miss returns a hit will return")
		time.Sleep(2 * time.Second)
		assert.Equal(t, outcome{err: errNoBook, source: SourceFresh, age: 2 * time.Second}, w.get(t.Context(), "a"))
		assert.Equal(t, outcome{err: errNoBook, source: SourceFresh, age: 2 * time.Second}, other.get(t.Context(), "a"),
			"by its text, not by its place in the list")
		assert.Equal(t, 1, s.count())
		time.Sleep(3 * time.Second)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "ErrorTimeout is over")
		stats := requireIdentity(t, w.Func)
		assert.Equal(t, uint64(2), stats.Stored)
		assert.Zero(t, stats.Failed)
	})
}

func TestOtherErrorsAreNotCached(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := failing(errGone)
		w := wrap(t, b.cache(), s, caching(errNoBook))
		for range 3 {
			o := w.get(t.Context(), "a")
			require.ErrorIs(t, o.err, errGone)
			assert.Equal(t, SourceFailed, o.source)
		}
		assert.Equal(t, 3, s.count())
		assert.Empty(t, b.keys())
	})
}

func TestAnErrorThatIsAnAnswerReplacesAStaleEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, caching(errNoBook))
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = failing(errNoBook).do })
		time.Sleep(40 * time.Second)
		assert.Equal(t, errNoBook, w.get(t.Context(), "a").err, "the book is gone: the old one is not served")
		assert.Equal(t, errNoBook, w.get(t.Context(), "a").err)
		s.set(func(s *source) { s.do = nil })
		time.Sleep(5 * time.Second)
		assert.Equal(t, 3, w.get(t.Context(), "a").value, "and comes back after ErrorTimeout")
	})
}

func TestWaitersShareAnErrorThatIsAnAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := failing(errNoBook)
		s.took = time.Second
		opts := caching(errNoBook)
		opts.OnCold = Wait
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		first := here.begin(t.Context(), "a")
		synctest.Wait()
		joined, elsewhere := here.begin(t.Context(), "a"), there.begin(t.Context(), "a")
		assert.Equal(t, SourceComputed, (<-first).source)
		for _, end := range []<-chan outcome{joined, elsewhere} {
			o := <-end
			assert.Equal(t, errNoBook, o.err)
			assert.Equal(t, SourceWaited, o.source)
		}
		assert.Equal(t, 1, s.count())
	})
}

func TestANegativeEntryOfAnErrorThatThisReleaseDoesNotKnowIsAMiss(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		old, s := wrap(t, b.cache(), failing(errBanned), caching(errBanned)), &source{}
		w := wrap(t, b.cache(), s, caching(errNoBook))
		assert.Equal(t, errBanned, old.get(t.Context(), "a").err)
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, w.get(t.Context(), "a"))
		assert.Equal(t, uint64(1), w.Stats().Undecodable)
		assert.Len(t, b.log.About("unknown error entry"), 1)
	})
}

func TestNegativeEntriesLiveInRedisForErrorTimeoutAndAreInvalidated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := failing(errNoBook)
		w := wrap(t, b.cache(), s, caching(errNoBook))
		w.get(t.Context(), "a")
		key, err := w.Key("a")
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, b.redis.TTL(key))
		require.NoError(t, w.Invalidate(t.Context(), "a"))
		w.get(t.Context(), "a")
		assert.Equal(t, 2, s.count())
		require.ErrorIs(t, w.Refresh(t.Context(), "a"), errNoBook)
		assert.Equal(t, 3, s.count())
	})
}

func TestNoStoreKeepsAnErrorFromBeingCached(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(ctx context.Context, _ int) (int, error) {
			NoStore(ctx)
			return 0, errNoBook
		}}
		w := wrap(t, b.cache(), s, caching(errNoBook))
		w.get(t.Context(), "a")
		assert.Equal(t, errNoBook, w.get(t.Context(), "a").err)
		assert.Equal(t, 2, s.count())
		assert.Empty(t, b.keys())
	})
}

// --- Stale if error, chosen ---

func TestStaleIfChoosesWhichErrorsAreAnsweredWithTheStaleEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second, StaleIf: func(err error) bool { return !errors.Is(err, errNoBook) }})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second)
		s.set(func(s *source) { s.do = failing(errGone).do })
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		time.Sleep(2 * time.Second) // the cooldown
		s.set(func(s *source) { s.do = failing(errNoBook).do })
		for range 2 {
			o := w.get(t.Context(), "a")
			require.ErrorIs(t, o.err, errNoBook)
			assert.Equal(t, SourceFailed, o.source)
		}
		assert.Equal(t, 4, s.count(), "no cooldown for an error that is an answer")
	})
}

func TestUnderBackgroundStaleIfOnlyDecidesTheCooldown(t *testing.T) {
	for name, row := range map[string]struct {
		staleIf bool
		runs    int // of four calls within the cooldown
	}{"yes": {true, 1}, "no": {false, 4}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				w := wrap(t, b.cache(), s, Options{
					Freshness: time.Second, Timeout: time.Minute, OnStale: Background,
					StaleIf: func(error) bool { return row.staleIf },
				})
				w.get(t.Context(), "a")
				time.Sleep(2 * time.Second)
				s.set(func(s *source) { s.do = failing(errNoBook).do })
				for range 4 {
					assert.Equal(t, SourceStale, w.get(t.Context(), "a").source, "the error is nobody's call")
					synctest.Wait()
				}
				assert.Equal(t, 1+row.runs, s.count())
				assert.NotEmpty(t, b.log.About("computation failed"))
				time.Sleep(time.Minute)
				require.ErrorIs(t, w.get(t.Context(), "a").err, errNoBook, "past Timeout there is nothing stale")
			})
		})
	}
}

func TestAStaleIfThatDoesNotReturnCountsAsFalse(t *testing.T) {
	for name, staleIf := range map[string]func(error) bool{
		"panicked: ":          func(error) bool { panic("secret") },
		"ended its goroutine": func(error) bool { runtime.Goexit(); return true },
		"took a third of":     func(error) bool { time.Sleep(time.Minute); return true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				w := wrap(t, b.cache(), s, Options{Freshness: time.Second, Timeout: time.Hour, StaleIf: staleIf})
				w.get(t.Context(), "a")
				time.Sleep(2 * time.Second)
				s.set(func(s *source) { s.do = failing(errGone).do })
				for range 2 {
					o := w.get(t.Context(), "a")
					require.ErrorIs(t, o.err, errGone, "the next caller computes again")
					assert.Less(t, o.took, DefaultLease)
				}
				assert.Len(t, b.log.About("StaleIf gave no answer"), 1)
				assert.Len(t, b.log.About(name), 1)
				assert.Empty(t, b.log.About("secret"))
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

func TestStaleIfIsCalledForAComputeTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{
			Freshness: time.Second, ComputeTimeout: time.Second,
			StaleIf: func(err error) bool { return errors.Is(err, ErrComputeTimeout) },
		})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second)
		s.set(func(s *source) { s.took = time.Minute })
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
	})
}

// --- Jitter ---

func TestAllProcessesAgreeOnTheJitterOfAnEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{Timeout: time.Hour, Freshness: 100 * time.Second, Jitter: 0.5, OnStale: Background}
		w, other := wrap(t, b.cache(), &source{}, opts), wrap(t, b.cache(), &source{}, opts)
		for i := range 100 {
			w.get(t.Context(), fmt.Sprint(i))
		}
		time.Sleep(75 * time.Second)
		stale := 0
		for i := range 100 {
			key, _ := w.Key(fmt.Sprint(i))
			raw, err := b.redis.Get(key)
			require.NoError(t, err)
			mine := w.Judged(raw)
			assert.Equal(t, mine, other.Judged(raw))
			if mine == Stale {
				stale++
			}
		}
		assert.Greater(t, stale, 20, "half of them, more or less")
		assert.Less(t, stale, 80)
	})
}

// --- Computations while Redis is away ---

func TestMaxConcurrentBoundsComputationsWhileRedisIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{MaxConcurrent: 3})
		defer b.cut()()
		sources := map[Source]int{}
		for _, end := range beginEach(t, w, 10) {
			o := <-end
			sources[o.source]++
			if o.source == SourceRefused {
				assert.Zero(t, o.took, "refused at once")
				require.ErrorContains(t, o.err, "is not being computed: the function runs 3 times in this process, which is its MaxConcurrent")
			}
		}
		assert.Equal(t, map[Source]int{SourceComputed: 3, SourceRefused: 7}, sources)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "0").source, "the slots are free again")
		requireIdentity(t, w.Func)
	})
}

// beginEach begins calls with n arguments, one after the other.
func beginEach(t *testing.T, w *wrapped, n int) (ends []<-chan outcome) {
	for i := range n {
		ends = append(ends, w.begin(t.Context(), fmt.Sprint(i)))
		synctest.Wait()
	}
	return ends
}

func TestPastMaxConcurrentCallsWaitForTheirTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{MaxConcurrent: 2, OnCold: Wait, WaitTimeout: 3500 * time.Millisecond})
		defer b.cut()()
		ends := beginEach(t, w, 10)
		joined := w.begin(t.Context(), "9")
		for i, end := range ends {
			o := <-end
			if i < 8 { // two each second
				assert.Equal(t, time.Duration(1+i/2)*time.Second, o.took, "call %d", i)
				assert.Equal(t, SourceComputed, o.source)
				continue
			}
			require.ErrorIs(t, o.err, ErrColdCache)
			require.ErrorContains(t, o.err, "is not being computed after 3.5s: the function runs 2 times")
			assert.Equal(t, 3500*time.Millisecond, o.took, "WaitTimeout")
		}
		require.ErrorIs(t, (<-joined).err, ErrColdCache)
		time.Sleep(time.Minute)
		assert.Equal(t, 8, s.count(), "what nobody waits for any more is not computed")
		assert.Equal(t, SourceComputed, w.get(t.Context(), "9").source)
	})
}

func TestAFunctionWithoutErrorWaitsForItsTurnAsLongAsItTakes(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(id int) int { time.Sleep(time.Second); return id }
		f, err := Wrap(&fn, Options{Cache: b.cache(), Name: "test.Patient", Timeout: time.Minute, OnCold: Wait, WaitTimeout: time.Second, MaxConcurrent: 1})
		require.NoError(t, err)
		defer b.cut()()
		began := time.Now()
		ends := make(chan int)
		for i := range 5 {
			go func() { ends <- fn(i) }()
		}
		for range 5 {
			<-ends
		}
		assert.Equal(t, 5*time.Second, time.Since(began), "one at a time")
		requireIdentity(t, f)
	})
}

func TestCloseEndsCallsThatWaitForTheirTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{took: time.Second}, Options{MaxConcurrent: 1, OnCold: Wait})
		defer b.cut()()
		ends := beginEach(t, w, 3)
		later := w.begin(t.Context(), "2")
		synctest.Wait()
		require.NoError(t, c.Close())
		for _, end := range append(ends, later) {
			require.ErrorIs(t, (<-end).err, ErrClosed)
		}
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "calls after it behave as with Redis away")
	})
}

// requireAllPlaces checks that all places of Options.MaxConcurrent are free when all is quiet.
func requireAllPlaces(t *testing.T, f *Func) {
	t.Helper()
	synctest.Wait()
	places := f.Places()
	for range f.Opts().MaxConcurrent {
		require.True(t, places.Try(), "each place is given back once")
	}
	require.False(t, places.Try(), "each place is given back once")
	for range f.Opts().MaxConcurrent {
		places.Give()
	}
}

func TestRecursionIsNotHeldUpByTheSlotsOfItsOwnComputations(t *testing.T) {
	for _, onCold := range []ColdPolicy{Fail, Wait} {
		inBubble(t, func(t *testing.T, b *bubble) {
			var w *wrapped
			s := &source{}
			s.do = func(ctx context.Context, run int) (int, error) {
				if run == 5 {
					return run, nil
				}
				return w.call(ctx, fmt.Sprint(run))
			}
			w = wrap(t, b.cache(), s, Options{MaxConcurrent: 1, OnCold: onCold})
			defer b.cut()()
			o := w.get(t.Context(), "0")
			require.NoError(t, o.err)
			assert.Equal(t, 5, o.value)
			assert.Equal(t, 5, s.count())
			requireAllPlaces(t, w.Func)
			requireIdentity(t, w.Func)
		})
	}
}

func TestRecursionIsNotHeldUpByCallsThatWaitForASlot(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		step := make(chan struct{})
		var fn func(ctx context.Context, n int) int
		fn = func(ctx context.Context, n int) int {
			if n == 1 {
				return 1
			}
			<-step
			return 1 + fn(ctx, n-1)
		}
		f, err := Wrap(&fn, Options{Cache: b.cache(), Name: "test.Deep", Timeout: time.Minute, OnCold: Wait, MaxConcurrent: 1})
		require.NoError(t, err)
		defer b.cut()()
		deep, queued := make(chan int), make(chan int)
		go func() { deep <- fn(t.Context(), 2) }()
		synctest.Wait()
		go func() { queued <- fn(t.Context(), 1) }() // waits for the slot of the first
		synctest.Wait()
		close(step) // and now the first joins it
		assert.Equal(t, 1, <-queued)
		assert.Equal(t, 2, <-deep)
		requireAllPlaces(t, f)
		requireIdentity(t, f)
	})
}

func TestAGoroutineThatAComputationLeftRunningTakesSlots(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		left := make(chan context.Context, 1)
		s := &source{}
		s.do = func(ctx context.Context, run int) (int, error) {
			if run == 1 {
				left <- context.WithoutCancel(ctx)
			} else {
				time.Sleep(time.Second)
			}
			return run, nil
		}
		w := wrap(t, b.cache(), s, Options{MaxConcurrent: 1})
		defer b.cut()()
		w.get(t.Context(), "starts a worker")
		busy := w.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, SourceRefused, w.get(<-left, "b").source)
		<-busy
	})
}

func TestAFunctionWithoutErrorThatWaitsForItsTurnComputesAfterClose(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		fn := func(id int) int { time.Sleep(2 * time.Second); return 100 + id }
		f, err := Wrap(&fn, Options{Cache: c, Name: "test.Patient", Timeout: time.Minute, OnCold: Wait, MaxConcurrent: 1})
		require.NoError(t, err)
		defer b.cut()()
		first, second, joins := make(chan int), make(chan int), make(chan int)
		for _, call := range []struct {
			arg int
			end chan int
		}{{1, first}, {2, second}, {2, joins}} {
			go func() { call.end <- fn(call.arg) }()
			synctest.Wait()
		}
		require.NoError(t, c.Close())
		assert.Equal(t, 101, <-first)
		assert.Equal(t, 102, <-second, "and not 0, which would look like an answer")
		assert.Equal(t, 102, <-joins)
		requireIdentity(t, f)
	})
}

func TestWithoutRedisCallersJoinTheComputationThatStillHoldsItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 2 * time.Second} // until then it is noticed that Redis is back
		w, quick := wrap(t, b.cache(), s, Options{OnCold: Wait}), &source{}
		other := wrap(t, w.Bound(), quick, Options{Name: "test.Other"})
		other.get(t.Context(), "learns the clock")
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		mend := b.cut()
		for range severalCalls {
			other.get(t.Context(), "b")
		}
		mend() // but that has not been noticed yet
		joined := w.begin(t.Context(), "a")
		assert.Equal(t, SourceComputed, (<-first).source)
		assert.Equal(t, SourceWaited, (<-joined).source)
		assert.Equal(t, 1, s.count())
	})
}

func TestWithoutRedisCallersJoinTheComputationWhoseLeaseCouldNotBeRenewed(t *testing.T) {
	for _, onCold := range []ColdPolicy{Fail, Wait} {
		inBubble(t, func(t *testing.T, b *bubble) {
			s, c := &source{took: 6 * time.Second}, b.cache()
			w := wrap(t, c, s, Options{OnCold: onCold, Lease: 2 * time.Second})
			first := w.begin(t.Context(), "a")
			synctest.Wait()
			defer b.cut()()
			b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
			time.Sleep(3 * time.Second)
			late := w.begin(t.Context(), "a")
			synctest.Wait()
			if onCold == Fail {
				o := <-late
				require.ErrorIs(t, o.err, ErrColdCache)
				assert.Zero(t, o.took)
			}
			require.ErrorIs(t, w.Invalidate(t.Context(), "a"), ErrRedisDown)
			after := w.begin(t.Context(), "a")
			assert.Equal(t, 1, (<-first).value)
			if onCold == Wait {
				assert.Equal(t, outcome{value: 1, source: SourceWaited, took: 3 * time.Second}, <-late)
			}
			assert.Equal(t, outcome{value: 2, source: SourceComputed, took: 6 * time.Second}, <-after,
				"what began before this process invalidated the key is older")
			assert.Equal(t, 2, s.count())
		})
	}
}

func TestWithoutRedisAFailedAcquireStartsNoSecondComputationBesideAnUnrenewedOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var running, most atomic.Int64
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(6 * time.Second)
			return run, nil
		}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait, Lease: 2 * time.Second})
		ends := []<-chan outcome{w.begin(t.Context(), "a")}
		synctest.Wait()
		defer b.cut()()
		for range 10 {
			ends = append(ends, w.begin(t.Context(), "a"))
			time.Sleep(500 * time.Millisecond)
		}
		for _, end := range ends {
			require.NoError(t, (<-end).err)
		}
		assert.EqualValues(t, 1, most.Load())
		assert.Equal(t, 2, s.count(), "who asked in vain share the next")
	})
}

func TestRedisThatIsBackGrantsTheLeaseThatCouldNotBeRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 6 * time.Second}
		c := b.cache()
		w := wrap(t, c, s, Options{OnCold: Wait, Lease: 2 * time.Second})
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		mend := b.cut()
		time.Sleep(2100 * time.Millisecond) // its third renewal has failed
		b.tap.set(func(tap *tap) { tap.refuse["renew"] = replyError("ERR not renewed") })
		mend()
		awaitBack(c)
		asked := w.begin(t.Context(), "a") // before it is renewed again
		synctest.Wait()
		b.tap.set(func(tap *tap) { delete(tap.refuse, "renew") })
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, outcome{value: 2, source: SourceComputed, took: 6 * time.Second}, <-asked,
			"who can ask does not join it, for others may have computed since")
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, w.get(t.Context(), "a"))
		assert.EqualValues(t, 1, w.Stats().LostLeases)
	})
}

// --- Leases that nobody uses ---

func TestALeaseWhoseLastStepFailedIsGivenBackOnceRedisIsBack(t *testing.T) {
	for name, test := range map[string]struct {
		opts  Options
		entry bool // there is a stale one
	}{
		"the function fails":                                {opts: Options{}},
		"the function fails, and a stale entry is served":   {opts: Options{Freshness: time.Second, Cooldown: time.Minute}, entry: true},
		"the function fails, and an error is an answer too": {opts: caching(errBanned)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				test.opts.Lease, test.opts.Timeout = time.Hour, time.Hour
				c := b.cache()
				began, end := make(chan struct{}), make(chan error)
				s := &source{}
				w := wrap(t, c, s, test.opts)
				if test.entry {
					w.get(t.Context(), "a")
					time.Sleep(2 * time.Second)
				}
				s.do = func(context.Context, int) (int, error) { close(began); return 0, <-end }
				call := w.begin(t.Context(), "a")
				<-began
				mend := b.cut()
				end <- errNoBook
				<-call
				time.Sleep(time.Minute)
				mend()
				awaitBack(c)
				time.Sleep(StoreAgainMax)
				synctest.Wait()
				for _, key := range b.keys() {
					assert.NotContains(t, key, LockSuffix)
				}
				s.do = nil
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "the next caller gets the lease")
				assert.EqualValues(t, 1+b2u(test.entry), w.Stats().Stored)
				before := b.tap.count("release")
				time.Sleep(2 * time.Minute)
				assert.Equal(t, before, b.tap.count("release"), "it is given back once")
			})
		})
	}
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func TestALeaseThatIsOverIsNotGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		began, end := make(chan struct{}), make(chan error)
		w := wrap(t, c, &source{do: func(context.Context, int) (int, error) { close(began); return 0, <-end }}, Options{})
		call := w.begin(t.Context(), "a")
		<-began
		mend := b.cut()
		end <- errNoBook
		<-call
		time.Sleep(2 * w.Opts().Lease)
		mend()
		awaitBack(c)
		before := b.tap.count("release")
		time.Sleep(time.Minute)
		assert.Equal(t, before, b.tap.count("release"))
	})
}

// The server hangs, and executes the commands when it continues: no caller waits for them any
// more, and they may be executed in another order.
func TestALeaseThatIsGrantedWhenAServerContinuesIsGivenBack(t *testing.T) {
	t.Parallel()
	inBothForms(t, testALeaseThatIsGrantedWhenAServerGoesOnIsGivenBack)
}

func testALeaseThatIsGrantedWhenAServerGoesOnIsGivenBack(t *testing.T) {
	server := redistest.Start(t)
	c := newTestCache(t, Config{Redis: server.Client(), RedisTimeout: 100 * time.Millisecond})
	w := wrap(t, c, &source{}, Options{Lease: time.Hour, Timeout: time.Hour})
	require.Equal(t, SourceComputed, w.get(t.Context(), "known").source) // the script, too
	raw := server.Client()
	away := func() bool { return c.Health().Nodes[0].Away }
	for i := range 5 {
		key := fmt.Sprint("k", i)
		c.Config().Redis.AddHook(&beforeAcquire{do: sync.OnceFunc(func() {
			server.Pause()
			if i == 0 { // a slow process writes the command later
				assert.Eventually(t, away, 20*time.Second, time.Millisecond)
			}
		})})
		assert.Equal(t, SourceComputed, w.get(t.Context(), key).source)
		require.Eventually(t, away, 20*time.Second, time.Millisecond)
		server.Resume()
		require.Eventually(t, func() bool { return w.get(t.Context(), key).source == SourceFresh },
			20*time.Second, 20*time.Millisecond, "the next caller gets the lease")
	}
	assert.Empty(t, raw.Keys(t.Context(), "*"+LockSuffix).Val())
}

// A beforeAcquire is a hook that does something before an acquire is sent.
type beforeAcquire struct{ do func() }

func (h *beforeAcquire) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *beforeAcquire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if verbOf(cmd) == "acquire" {
			h.do()
		}
		return next(ctx, cmd)
	}
}

func (h *beforeAcquire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestAValueWhoseStoringIsLateIsSentOnceMoreAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{})
		w.get(t.Context(), "before")
		b.tap.reset()
		b.tap.set(func(tap *tap) { tap.refuse["store"] = context.DeadlineExceeded })
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		time.Sleep(2 * w.Opts().Lease)
		assert.Equal(t, 2, b.tap.count("store"))
		assert.Len(t, b.keys(), 1, "the lease is given back")
		b.tap.set(func(tap *tap) { clear(tap.refuse) })
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		requireIdentity(t, w.Func)
	})
}
