package fncache_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errSource = errors.New("the source is broken")

// The decision table, cell by cell. Two caches stand for two processes.

func TestColdCallComputesStoresAndReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{})
		first := w.get(t.Context(), "a")
		assert.Equal(t, outcome{value: 1, source: SourceComputed, took: time.Second}, first)
		second := w.get(t.Context(), "a")
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, second)
		other := w.get(t.Context(), "b")
		assert.Equal(t, 2, other.value, "another argument is another entry")
		assert.Equal(t, Stats{
			Calls: 3, Fresh: 1, Computed: 2, Computations: 2, Stored: 2, Lookups: 3,
			ComputeTime: 2 * time.Second, SavedTime: time.Second,
		}, requireIdentity(t, w.Func))
	})
}

func TestEntryAgesFromFreshToStaleToCold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, Timeout: time.Minute, OnStale: Background})
		w.get(t.Context(), "a")
		time.Sleep(10*time.Second - time.Millisecond)
		assert.Equal(t, outcome{value: 1, source: SourceFresh, age: 10*time.Second - time.Millisecond}, w.get(t.Context(), "a"))
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(time.Millisecond)
		assert.Equal(t, outcome{value: 1, source: SourceStale, age: 10 * time.Second}, w.get(t.Context(), "a"))
		time.Sleep(50*time.Second - time.Millisecond)
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		time.Sleep(time.Millisecond)
		end := w.get(t.Context(), "a")
		assert.Equal(t, SourceFailed, end.source)
		assert.Equal(t, errSource, end.err, "the function's own error, unchanged")
	})
}

func TestZeroResultsAreHits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		runs := 0
		fn := func() ([]int, map[string]int, *int, string, error) { runs++; return nil, nil, nil, "", nil }
		_, err := Wrap(&fn, Options{Cache: c, Timeout: time.Minute, Name: "zero"})
		require.NoError(t, err)
		for range 3 {
			list, m, p, text, err := fn()
			assert.True(t, list == nil && m == nil && p == nil && text == "" && err == nil)
		}
		assert.Equal(t, 1, runs)
	})
}

func TestStaleEntryIsRefreshedByOneAndServedToAllOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		here := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second})
		there := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second})
		here.get(t.Context(), "a")
		time.Sleep(11 * time.Second)

		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		for _, w := range []*wrapped{here, there} {
			for _, o := range w.burst(t.Context(), 100, "a") {
				assert.Equal(t, outcome{value: 1, source: SourceStale, age: 11 * time.Second}, o)
			}
		}
		assert.Equal(t, outcome{value: 2, source: SourceComputed, took: time.Second}, <-holder)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, there.get(t.Context(), "a"))
		assert.Equal(t, 2, s.count())
	})
}

func TestStaleBurstInOneProcessHasOneHolder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second})
		w.get(t.Context(), "a")
		time.Sleep(11 * time.Second)
		ends := w.burst(t.Context(), 100, "a")
		assert.Equal(t, map[Source]int{SourceComputed: 1, SourceStale: 99}, bySource(ends))
		for _, o := range ends {
			if o.source == SourceStale {
				assert.Zero(t, o.took, "who is served stale does not wait")
			}
		}
	})
}

func TestBackgroundServesTheHolderStaleToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, OnStale: Background})
		w.get(t.Context(), "a")
		time.Sleep(11 * time.Second)
		assert.Equal(t, map[Source]int{SourceStale: 100}, bySource(w.burst(t.Context(), 100, "a")))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, w.get(t.Context(), "a"))
	})
}

func TestAFailedBackgroundRefreshIsLoggedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, OnStale: Background, Cooldown: -1})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)
		for range 5 {
			assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
			synctest.Wait()
		}
		assert.Equal(t, 6, s.count())
		told := b.log.About("")
		require.Len(t, told, 1)
		assert.Contains(t, told[0], "err=*errors.errorString")
		assert.Contains(t, told[0], "func=test.Source")
	})
}

func TestSoftTimeoutGivesTheHolderTheStaleValue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, SoftTimeout: 300 * time.Millisecond})
		w.get(t.Context(), "a")
		time.Sleep(11 * time.Second)
		s.set(func(s *source) { s.took = time.Second })
		assert.Equal(t, outcome{value: 1, source: SourceStale, age: 11300 * time.Millisecond, took: 300 * time.Millisecond},
			w.get(t.Context(), "a"))
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 2, w.get(t.Context(), "a").value, "the computation went on and was stored")
	})
}

func TestColdFailRefusesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		here, there := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		for _, w := range []*wrapped{here, there} {
			for _, o := range w.burst(t.Context(), 100, "a") {
				require.ErrorIs(t, o.err, ErrColdCache)
				assert.Equal(t, SourceRefused, o.source)
				assert.Zero(t, o.took)
				var cold *ColdCacheError
				require.ErrorAs(t, o.err, &cold)
				assert.Equal(t, "test.Source", cold.Func)
				key, err := w.Key("a")
				require.NoError(t, err)
				assert.Equal(t, key, cold.Key)
				assert.Equal(t, DefaultLease-100*time.Millisecond, cold.LeaseLeft)
				assert.Zero(t, cold.Waited)
			}
		}
		assert.Equal(t, 1, (<-holder).value)
		requireIdentity(t, here.Func)
		assert.EqualValues(t, 100, requireIdentity(t, there.Func).Refused)
	})
}

func TestColdWaitWaitsForTheHoldersValue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		opts := Options{OnCold: Wait}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		far := make(chan []outcome, 1)
		go func() { far <- there.burst(t.Context(), 100, "a") }()
		near := here.burst(t.Context(), 100, "a")
		assert.Equal(t, map[Source]int{SourceWaited: 100}, bySource(near))
		for _, o := range near {
			assert.Equal(t, time.Second, o.took)
		}
		ends := <-far
		assert.Equal(t, map[Source]int{SourceWaited: 100}, bySource(ends))
		for _, o := range ends {
			assert.Equal(t, 1, o.value)
			assert.LessOrEqual(t, o.took, time.Second+3*PollMax/2, "polled")
		}
		assert.Equal(t, 1, (<-holder).value)
		assert.Equal(t, 1, s.count())
	})
}

func TestWaitTimeoutRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Minute}
		opts := Options{OnCold: Wait, WaitTimeout: 2 * time.Second}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		here.begin(t.Context(), "a")
		synctest.Wait()
		for _, w := range []*wrapped{here, there} {
			o := w.get(t.Context(), "a")
			require.ErrorIs(t, o.err, ErrColdCache)
			assert.Equal(t, 2*time.Second, o.took)
			var cold *ColdCacheError
			require.ErrorAs(t, o.err, &cold)
			assert.Equal(t, 2*time.Second, cold.Waited)
		}
		assert.Equal(t, 1, s.count())
	})
}

func TestWaitIsBoundedByComputeTimeoutByDefault(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Hour}
		opts := Options{OnCold: Wait, ComputeTimeout: 3 * time.Second}
		here, there := wrap(t, b.cache(), s, Options{ComputeTimeout: 2 * time.Hour, Timeout: time.Minute}), wrap(t, b.cache(), s, opts)
		here.begin(t.Context(), "a")
		synctest.Wait()
		o := there.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrColdCache)
		assert.Equal(t, 3*time.Second, o.took)
	})
}

func TestColdComputeComputesTooAndStoresNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		opts := Options{OnCold: Compute}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		ends := b.burstOnOneLookup(there, 100, "a")
		assert.Equal(t, map[Source]int{SourceComputed: 1, SourceWaited: 99}, bySource(ends))
		assert.Equal(t, 1, (<-holder).value)
		assert.Equal(t, 1, there.get(t.Context(), "a").value, "the holder's is what is stored")
		assert.EqualValues(t, 0, there.Stats().Stored)
		assert.Equal(t, 2, s.count())
	})
}

// --- Errors, panics, and callers that leave ---

func TestErrorIsReturnedNotStoredAndReleasesTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(_ context.Context, run int) (int, error) { return -1, errSource }}
		here, there := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		o := here.get(t.Context(), "a")
		assert.Equal(t, errSource, o.err)
		assert.Equal(t, -1, o.value, "what the function returned beside its error")
		assert.Empty(t, b.keys(), "nothing is left, no lock either")
		assert.Equal(t, errSource, there.get(t.Context(), "a").err)
		assert.Equal(t, 2, s.count(), "the next caller may ask again at once")
	})
}

func TestJoinersOfAFailedComputationGetItsError(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second, do: func(context.Context, int) (int, error) { return -1, errSource }}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		for _, o := range w.burst(t.Context(), 10, "a") {
			assert.Equal(t, errSource, o.err)
			assert.Equal(t, SourceFailed, o.source)
		}
		assert.Equal(t, 1, s.count())
	})
}

func TestAFailedHoldersErrorIsNotSharedAcrossProcesses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		s.do = func(_ context.Context, run int) (int, error) {
			if run == 1 {
				return 0, errSource
			}
			return run, nil
		}
		here, there := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{OnCold: Wait})
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		waiter := there.get(t.Context(), "a")
		assert.Equal(t, errSource, (<-holder).err)
		assert.Equal(t, 2, waiter.value)
		assert.Equal(t, SourceComputed, waiter.source, "the waiter has become the holder")
	})
}

func TestErrorWithAStaleEntryServesItForTheCooldown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		opts := Options{Freshness: 10 * time.Second, Cooldown: 5 * time.Second}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		here.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)

		assert.Equal(t, outcome{value: 1, source: SourceStale, age: 11 * time.Second}, here.get(t.Context(), "a"))
		assert.Equal(t, 2, s.count())
		for _, w := range []*wrapped{here, there} {
			assert.Equal(t, map[Source]int{SourceStale: 50}, bySource(w.burst(t.Context(), 50, "a")))
		}
		assert.Equal(t, 2, s.count(), "left alone while cooling")
		time.Sleep(5 * time.Second)
		assert.Equal(t, SourceStale, there.get(t.Context(), "a").source)
		assert.Equal(t, 3, s.count(), "tried again after the cooldown")
		synctest.Wait() // what is logged is logged after the callers have been answered
		require.Len(t, b.log.About("the stale entry is served"), 2, "once for each process")
		assert.Contains(t, b.log.About("the stale entry is served")[0], "err=*errors.errorString")
	})
}

func TestNegativeCooldownReleasesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, Cooldown: -1})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)
		for range 3 {
			assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		}
		assert.Equal(t, 4, s.count())
	})
}

func TestReturnErrorGivesTheErrorInsteadOfTheStaleEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, OnError: ReturnError})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)
		ends := w.burst(t.Context(), 10, "a")
		assert.Equal(t, map[Source]int{SourceFailed: 1, SourceStale: 9}, bySource(ends))
		key, _ := w.Key("a")
		assert.False(t, b.redis.Exists(key+LockSuffix), "no cooldown: the lease is released")
	})
}

func TestACoolingLockIsTakenIfNoStaleEntryIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		opts := Options{Freshness: 10 * time.Second, Cooldown: 30 * time.Second}
		w := wrap(t, b.cache(), s, opts)
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)
		w.get(t.Context(), "a")
		key, _ := w.Key("a")
		require.True(t, b.redis.Exists(key+LockSuffix))
		b.redis.Del(key)
		assert.Equal(t, errSource, w.get(t.Context(), "a").err)
		assert.Equal(t, 3, s.count())
	})
}

func TestPanicReachesTheCallerThatComputes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second, do: func(context.Context, int) (int, error) { panic(errSource) }}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		joined := 0
		for _, o := range w.burst(t.Context(), 10, "a") {
			var p *PanicError
			if o.panic == nil {
				joined++
				require.ErrorAs(t, o.err, &p)
			} else {
				p = o.panic.(*PanicError)
			}
			assert.Equal(t, errSource, p.Value)
			assert.ErrorIs(t, p, errSource)
			assert.Contains(t, string(p.Stack), "call_test.go")
			assert.Equal(t, SourceFailed, o.source)
		}
		assert.Equal(t, 9, joined)
		assert.Empty(t, b.keys(), "the lease is released")
		requireIdentity(t, w.Func)
	})
}

func TestErrAbortHandlerComesThroughUnchanged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(context.Context, int) (int, error) { panic(http.ErrAbortHandler) }}
		w := wrap(t, b.cache(), s, Options{})
		assert.Equal(t, http.ErrAbortHandler, w.get(t.Context(), "a").panic)
	})
}

func TestGoexitEndsTheComputingCallerAndIsAnErrorForWaitingCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second, do: func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		ended := make(chan bool)
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_, _ = w.call(t.Context(), "a")
			returned = true
		}()
		synctest.Wait()
		o := w.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrGoexit)
		assert.False(t, <-ended)
		assert.Empty(t, b.keys())
		requireIdentity(t, w.Func)
	})
}

func TestPanicWithNoCallerLeftIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second, OnStale: Background})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second)
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { panic("boo") } })
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		synctest.Wait()
		require.Len(t, b.log.About("no caller left"), 1)
		assert.Contains(t, b.log.About("no caller left")[0], "err=panic with a string")
	})
}

func TestACallerThatGivesUpGetsItsErrorAtOnceAndTheValueIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 2 * time.Second}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, o := range w.burst(ctx, 10, "a") {
			assert.Equal(t, context.DeadlineExceeded, o.err)
			assert.Equal(t, time.Second, o.took)
			assert.Equal(t, SourceFailed, o.source)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, w.get(t.Context(), "a"))
		assert.Equal(t, errors.Is(w.get(ctx, "a").err, context.DeadlineExceeded), true, "a dead context asks nobody")
	})
}

func TestComputationKeepsTheContextsValuesAndNotItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		type key struct{}
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			assert.Equal(t, "value", ctx.Value(key{}))
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, DefaultComputeTimeout, time.Until(deadline))
			time.Sleep(time.Minute)
			assert.NoError(t, ctx.Err())
			return run, nil
		}}
		w := wrap(t, b.cache(), s, Options{Timeout: time.Hour})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		w.get(ctx, "a")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

func TestComputeTimeoutOfAFunctionThatHeedsItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}
		w := wrap(t, b.cache(), s, Options{ComputeTimeout: 3 * time.Second, OnCold: Wait})
		for _, o := range w.burst(t.Context(), 5, "a") {
			require.ErrorIs(t, o.err, ErrComputeTimeout)
			assert.Contains(t, o.err.Error(), "test.Source ran longer than 3s")
			assert.Equal(t, 3*time.Second, o.took)
		}
		assert.Empty(t, b.keys())
	})
}

func TestComputeTimeoutOfAFunctionThatIgnoresItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(_ context.Context, run int) (int, error) { time.Sleep(time.Minute); return run, nil }}
		w := wrap(t, b.cache(), s, Options{ComputeTimeout: 3 * time.Second})
		o := w.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrComputeTimeout)
		assert.Equal(t, 3*time.Second, o.took)
		assert.Empty(t, b.keys(), "the lease is released")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, b.keys(), "the late result is dropped")
	})
}

func TestComputeTimeoutWithAStaleEntryServesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second, ComputeTimeout: 3 * time.Second})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.took = time.Minute })
		time.Sleep(2 * time.Second)
		assert.Equal(t, outcome{value: 1, source: SourceStale, age: 5 * time.Second, took: 3 * time.Second}, w.get(t.Context(), "a"))
	})
}

// --- Functions without an error result ---

func TestAFunctionWithoutAnErrorResultComputesInsteadOfRefusing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var runs atomic.Int64
		fn := func(string) int64 { time.Sleep(10 * time.Second); return runs.Add(1) }
		here, there := fn, fn
		opts := Options{Cache: b.cache(), Timeout: time.Minute, Name: "x", OnCold: Wait, WaitTimeout: time.Second}
		_, err := Wrap(&here, opts)
		require.NoError(t, err)
		opts.Cache = b.cache()
		f, err := Wrap(&there, opts)
		require.NoError(t, err)
		go here("a")
		synctest.Wait()
		began := time.Now()
		assert.EqualValues(t, 2, there("a"), "WaitTimeout makes it compute")
		assert.Equal(t, 11*time.Second, time.Since(began))
		requireIdentity(t, f)
	})
}

func TestFunctionWithoutErrorAndWithoutCacheComputes(t *testing.T) {
	require.Nil(t, Default())
	fn := func(string) int { return 5 }
	f, err := Wrap(&fn, Options{Timeout: time.Minute, Name: "nocache.noerror", OnCold: Wait})
	require.NoError(t, err)
	defer f.Unwrap()
	assert.Equal(t, 5, fn("a"))
	assert.EqualValues(t, 1, requireIdentity(t, f).Bypassed)
}

func TestCancelledCallerOfAFunctionWithoutErrorGoesOnWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context) int { time.Sleep(time.Minute); return 7 }
		_, err := Wrap(&fn, Options{Cache: b.cache(), Timeout: time.Minute, Name: "x", OnCold: Wait})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, 7, fn(ctx))
	})
}

func TestFunctionWithoutErrorThatOutlivesComputeTimeoutStillAnswersItsCaller(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func() int { time.Sleep(time.Minute); return 7 }
		_, err := Wrap(&fn, Options{Cache: b.cache(), Timeout: time.Hour, Name: "x", OnCold: Wait, ComputeTimeout: time.Second})
		require.NoError(t, err)
		assert.Equal(t, 7, fn())
		assert.Empty(t, b.keys())
	})
}

func TestJoinerOfAPanicPanicsWithoutAnErrorResult(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func() int { time.Sleep(time.Second); panic("boo") }
		_, err := Wrap(&fn, Options{Cache: b.cache(), Timeout: time.Hour, Name: "x", OnCold: Wait})
		require.NoError(t, err)
		ends := make(chan any)
		for range 3 {
			go func() {
				defer func() { ends <- recover() }()
				fn()
			}()
		}
		for range 3 {
			p, ok := (<-ends).(*PanicError)
			require.True(t, ok)
			assert.Equal(t, "boo", p.Value)
		}
	})
}

// --- What a context asks for ---

func TestBypassCallsTheFunctionAndTouchesNoCache(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{})
		o := w.get(WithBypass(t.Context()), "a")
		assert.Equal(t, outcome{value: 1, source: SourceBypassed}, o)
		assert.Empty(t, b.keys())
		assert.Zero(t, b.tap.total())
	})
}

func TestWithRefreshRecomputesAndStores(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		here, there := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		here.get(t.Context(), "a")
		assert.Equal(t, outcome{value: 2, source: SourceComputed, took: time.Second}, here.get(WithRefresh(t.Context()), "a"))
		assert.Equal(t, 2, there.get(t.Context(), "a").value)
	})
}

func TestRefreshNeverReturnsAComputationThatBeganBeforeIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		here, there := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		here.begin(t.Context(), "a")
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		near := here.begin(WithRefresh(t.Context()), "a")
		synctest.Wait()
		o := <-near
		assert.Equal(t, 2, o.value)
		assert.Equal(t, 1500*time.Millisecond, o.took, "woken by the holder in its own process")

		there.begin(WithRefresh(t.Context()), "a")
		synctest.Wait()
		assert.Equal(t, 4, here.get(WithRefresh(t.Context()), "a").value)
	})
}

func TestWithoutRedisARefreshTakesNoComputationThatBeganBeforeIt(t *testing.T) {
	for name, row := range map[string]struct {
		closed bool // the cache
		back   bool // Redis, before what computes has ended
	}{
		"Redis is back soon":  {back: true},
		"Redis stays away":    {},
		"the cache is closed": {closed: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s, c := &source{took: 2 * time.Second}, b.cache()
				w := wrap(t, c, s, Options{OnCold: Wait})
				if row.closed {
					require.NoError(t, c.Close())
				}
				first := w.begin(t.Context(), "a")
				synctest.Wait()
				mend := b.cut()
				time.Sleep(500 * time.Millisecond)
				refreshes := []<-chan outcome{w.begin(WithRefresh(t.Context()), "a")}
				synctest.Wait()
				if row.back {
					mend()
				} else {
					refreshes = append(refreshes, w.begin(WithRefresh(t.Context()), "a"))
				}
				assert.Equal(t, 1, (<-first).value)
				for _, end := range refreshes {
					o := <-end
					require.NoError(t, o.err)
					assert.Equal(t, 2, o.value, "both share what began after them")
					assert.Equal(t, 3500*time.Millisecond, o.took, "one at a time")
				}
				if row.back {
					assert.Equal(t, outcome{value: 2, source: SourceFresh}, w.get(t.Context(), "a"))
				}
				mend()
			})
		})
	}
}

func TestWithoutRedisARefreshWaitsAtMostWaitTimeoutForAnEarlierComputation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Minute}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait, WaitTimeout: 2 * time.Second})
		w.begin(t.Context(), "a")
		synctest.Wait()
		defer b.cut()()
		o := w.get(WithRefresh(t.Context()), "a")
		require.ErrorIs(t, o.err, ErrColdCache)
		assert.Equal(t, 2*time.Second, o.took)
		o = w.get(WithRefresh(ctxIn(t, time.Second)), "a")
		assert.Equal(t, context.DeadlineExceeded, o.err)
		assert.Equal(t, time.Second, o.took)
	})
}

func TestConcurrentRefreshesShareOneLaterComputation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{})
		w.begin(t.Context(), "a")
		synctest.Wait()
		for _, o := range w.burst(WithRefresh(t.Context()), 50, "a") {
			assert.Equal(t, 2, o.value)
		}
		assert.Equal(t, 2, s.count())
	})
}

func TestRefreshTakesACoolingLock(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: 10 * time.Second, Cooldown: 30 * time.Second})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		time.Sleep(11 * time.Second)
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = nil })
		require.NoError(t, w.Refresh(t.Context(), "a"))
		assert.Equal(t, outcome{value: 3, source: SourceFresh}, w.get(t.Context(), "a"))
	})
}

func TestTheContextOfTheFunctionHasNoOptionsOfItsCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := &source{}
		g := wrap(t, c, inner, Options{Name: "inner"})
		outer := &source{do: func(ctx context.Context, _ int) (int, error) { return g.call(ctx, "x") }}
		f := wrap(t, c, outer, Options{Name: "outer"})
		for _, wish := range []func(context.Context) context.Context{WithBypass, WithRefresh} {
			var info Info
			_, err := f.call(WithInfo(wish(t.Context()), &info), "a")
			require.NoError(t, err)
			key, _ := f.Key("a")
			assert.Equal(t, key, info.Key, "the outer call's, not overwritten by the inner")
		}
		assert.Equal(t, 1, inner.count(), "the inner call was neither bypassed nor refreshed")
	})
}

func TestNoStoreReturnsAndDoesNotStore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second, do: func(ctx context.Context, run int) (int, error) { NoStore(ctx); return run, nil }}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		for _, o := range w.burst(t.Context(), 10, "a") {
			assert.Equal(t, 1, o.value, "who waited shares it")
		}
		assert.Empty(t, b.keys())
		assert.NoError(t, w.Refresh(t.Context(), "a"), "the function's own wish is no failure")
		NoStore(t.Context()) // outside a computation: nothing happens
	})
}

func TestNoStoreOfABypassedInnerCallLeavesTheOuterAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		g := wrap(t, c, &source{do: func(ctx context.Context, run int) (int, error) { NoStore(ctx); return run, nil }}, Options{Name: "inner"})
		f := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) { return g.call(WithBypass(ctx), "x") }}, Options{Name: "outer"})
		f.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, f.get(t.Context(), "a").source)
	})
}

// --- Calls in calls ---

func TestCachedFunctionThatComesBackToItsKeyRunsDirectly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var w *wrapped
		s := &source{}
		s.do = func(ctx context.Context, run int) (int, error) {
			if run == 1 {
				return w.call(ctx, "a")
			}
			return run * 10, nil
		}
		w = wrap(t, b.cache(), s, Options{OnCold: Wait})
		assert.Equal(t, 20, w.get(t.Context(), "a").value)
		assert.EqualValues(t, 1, requireIdentity(t, w.Func).Bypassed)
	})
}

func TestCallsOfAGoroutineThatAFunctionLeftRunningAreCached(t *testing.T) {
	for near, want := range map[time.Duration]Source{0: SourceFresh, time.Second: SourceNear} {
		inBubble(t, func(t *testing.T, b *bubble) {
			var held context.Context
			s := &source{do: func(ctx context.Context, run int) (int, error) {
				held = context.WithoutCancel(ctx)
				return run, nil
			}}
			w := wrap(t, b.cache(), s, Options{Near: near})
			_, _ = w.Key("binds it")
			synctest.Wait() // it hears events now, if it is to
			w.get(t.Context(), "a")
			worker := held // which the function has started, and which outlives it
			assert.Equal(t, outcome{value: 1, source: want}, w.get(worker, "a"))
			require.NoError(t, w.Refresh(worker, "a"))
			assert.Equal(t, outcome{value: 2, source: want}, w.get(worker, "a"))
			assert.Zero(t, requireIdentity(t, w.Func).Bypassed)
		})
	}
}

func TestAFunctionCallsOneOfTheSameNameInAnotherRedisThroughItsCache(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		far := &bubble{t: t, redis: miniredis.NewMiniRedis(), log: b.log, tap: newTap()}
		t.Cleanup(far.redis.Close)
		s := &source{}
		global := wrap(t, far.cache(), s, Options{Name: "Top", Timeout: time.Hour})
		local := wrap(t, b.cache(), &source{do: func(ctx context.Context, _ int) (int, error) { return global.call(ctx, "a") }},
			Options{Name: "Top", Timeout: time.Second})
		for range 3 {
			assert.Equal(t, outcome{value: 1, source: SourceComputed}, local.get(t.Context(), "a"))
			time.Sleep(2 * time.Second)
		}
		assert.Equal(t, 1, s.count())
		assert.Zero(t, requireIdentity(t, global.Func).Bypassed)
	})
}

func TestAFunctionThatComesBackToItsKeyThroughAnotherCacheOnItsRedisRunsDirectly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		other, err := New(Config{Redis: c.Config().Redis, Logger: c.Config().Logger, HashSecret: c.Config().HashSecret})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, other.Close()) })
		inner := wrap(t, other, &source{}, Options{OnCold: Wait})
		outer := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) { return inner.call(ctx, "a") }}, Options{})
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, outer.get(t.Context(), "a"), "it would wait for its own lease")
		assert.EqualValues(t, 1, requireIdentity(t, inner.Func).Bypassed)
	})
}

func TestCachedFunctionThatCallsItselfWithOtherArguments(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		runs := 0
		var fib func(ctx context.Context, n int) (int, error)
		fib = func(ctx context.Context, n int) (int, error) {
			runs++
			if n < 2 {
				return n, nil
			}
			x, err := fib(ctx, n-1)
			if err != nil {
				return 0, err
			}
			y, err := fib(ctx, n-2)
			return x + y, err
		}
		_, err := Wrap(&fib, Options{Cache: b.cache(), Timeout: time.Minute, Name: "fib"})
		require.NoError(t, err)
		n, err := fib(t.Context(), 30)
		require.NoError(t, err)
		assert.Equal(t, 832040, n)
		assert.Equal(t, 31, runs)
	})
}

func TestCachedFunctionThatCallsAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := &source{took: time.Second}
		g := wrap(t, c, inner, Options{Name: "g"})
		f := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) { return g.call(ctx, "x") }}, Options{Name: "f"})
		assert.Equal(t, 1, f.get(t.Context(), "a").value)
		assert.Equal(t, 1, f.get(t.Context(), "b").value)
		assert.Equal(t, 1, inner.count())
	})
}
