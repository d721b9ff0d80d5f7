package fncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/events"
)

// --- Redis away ---

var errGone = errors.New("connection refused by the test")

// cut makes every command of the bubble's caches fail until the returned func is
// called.
func (b *bubble) cut() (mend func()) {
	b.tap.mu.Lock()
	defer b.tap.mu.Unlock()
	b.tap.broken = errGone
	return func() {
		b.tap.mu.Lock()
		defer b.tap.mu.Unlock()
		b.tap.broken = nil
	}
}

// forbid makes Redis answer every command with an error that does not say that it is away,
// so that it is asked each time, until the returned func is called.
func (b *bubble) forbid() (mend func()) {
	mend = b.cut()
	b.tap.set(func(tap *tap) { tap.broken = replyError("NOPERM forbidden by the test") })
	return mend
}

// stall makes every command hang until the returned func is called, heedless of
// its context, as go-redis does while it reads.
func (b *bubble) stall() (resume func()) {
	gate := make(chan struct{})
	b.tap.mu.Lock()
	defer b.tap.mu.Unlock()
	b.tap.gate = gate
	return func() {
		b.tap.mu.Lock()
		defer b.tap.mu.Unlock()
		b.tap.gate = nil
		close(gate)
	}
}

func TestWithoutRedisOneComputationPerKeyAndNothingStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		mend := b.cut()
		ends := b.burstOnOneLookup(w, 100, "a")
		assert.Equal(t, map[Source]int{SourceComputed: 1, SourceWaited: 99}, bySource(ends))
		assert.Len(t, b.log.About("Redis does not answer"), 1, "told once")
		mend()
		time.Sleep(2 * probeInterval)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "nothing was stored")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "caching has resumed by itself")
		assert.Len(t, b.log.About("Redis answers again"), 1)
	})
}

func TestTheLastWordInTheLogIsWhetherRedisAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{Timeout: time.Hour})
		away := func(from, until time.Duration) {
			began := time.Now()
			time.Sleep(from) // no call comes until then; the bubble's time, as in all that follows here
			mend := b.cut()
			w.get(t.Context(), "a")
			time.Sleep(until - from) // how long it is away
			mend()
			time.Sleep(2 * probeInterval)
			w.get(t.Context(), "a")
			synctest.Wait()
			require.Equal(t, until+2*probeInterval, time.Since(began))
		}
		told := func() (words []string) {
			for _, line := range b.log.About("Redis ") {
				words = append(words, strings.Join(strings.Fields(line)[2:5], " "))
			}
			return words
		}
		const no, yes = "Redis does not", "Redis answers again:"
		w.get(t.Context(), "a")
		away(0, 50*time.Second)
		require.Equal(t, []string{no, yes}, told())
		away(11*time.Second, 12*time.Second)
		require.Equal(t, []string{no, yes, no, yes}, told(), "the contrary was told since, so it is told again, after 12 s")
		away(time.Second, 2*time.Second)
		require.Equal(t, []string{no, yes, no, yes}, told(), "what comes and goes is not told each time")
	})
}

func TestWithoutRedisLaterCallersShareTheNextComputation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		defer b.forbid()()
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		later := b.burstOnOneLookup(w, 50, "a")
		assert.Equal(t, 1, (<-first).value)
		for _, o := range later {
			assert.Equal(t, 2, o.value, "what began before their lookup ended may be older than an invalidation they know of")
			assert.Equal(t, 1500*time.Millisecond, o.took, "one computation at a time")
		}
	})
}

func TestACallThatCannotAskRedisJoinsTheComputationThatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		defer b.cut()()
		b.trip(w)
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		time.Sleep(900 * time.Millisecond)
		joined := w.begin(t.Context(), "a")
		synctest.Wait()
		require.ErrorIs(t, w.Invalidate(t.Context(), "a"), ErrRedisDown)
		after := w.begin(t.Context(), "a")
		want := severalCalls + 1
		assert.Equal(t, want, (<-first).value)
		o := <-joined
		assert.Equal(t, want, o.value, "nobody can tell it anything newer")
		assert.Equal(t, 100*time.Millisecond, o.took)
		o = <-after
		assert.Equal(t, want+1, o.value, "but what began before this process invalidated the key is older")
		assert.Equal(t, 1100*time.Millisecond, o.took, "one at a time")
	})
}

// trip fails lookups until Redis is not asked any more.
func (b *bubble) trip(w *wrapped) {
	for i := range severalCalls {
		w.get(b.t.Context(), fmt.Sprint(i))
	}
}

func TestWithoutRedisWaitTimeoutBoundsTheWaitForOthers(t *testing.T) {
	for name, asks := range map[string]bool{"who joins what runs": false, "who waits for the next run": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				quick, s := &source{}, &source{took: 3 * time.Second}
				c := b.cache()
				w := wrap(t, c, s, Options{OnCold: Wait, WaitTimeout: 300 * time.Millisecond})
				defer b.cut()()
				if !asks {
					b.trip(wrap(t, c, quick, Options{Name: "test.Other"}))
				}
				first := w.begin(t.Context(), "a")
				synctest.Wait()
				time.Sleep(time.Second) // the run is under way, of the bubble's three seconds
				for _, o := range w.burst(t.Context(), 3, "a") {
					var cold *ColdCacheError
					require.ErrorAs(t, o.err, &cold)
					assert.Equal(t, SourceRefused, o.source)
					assert.Equal(t, 300*time.Millisecond, o.took)
					assert.Equal(t, 300*time.Millisecond, cold.Waited)
					require.ErrorContains(t, o.err, "is still being computed after 300ms")
				}
				assert.Equal(t, outcome{value: 1, source: SourceComputed, took: 3 * time.Second}, <-first, "its own run is not waiting for others")
				time.Sleep(time.Minute) // long enough for another run, if there were one
				assert.Equal(t, 1, s.count(), "what nobody waits for any more is not computed")
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestWithoutRedisACallWaitsForOthersAtMostComputeTimeoutByDefault(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Hour}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait, ComputeTimeout: 3 * time.Second})
		defer b.forbid()()
		began, boarded := time.Now(), make(chan struct{})
		b.tap.on("get", func() { <-boarded })
		var first []<-chan outcome
		for range 10 {
			first = append(first, w.begin(t.Context(), "a"))
		}
		synctest.Wait()
		close(boarded)
		time.Sleep(time.Second) // of the three for which anybody is waited for
		next := w.begin(t.Context(), "a")
		synctest.Wait()
		joined := w.begin(t.Context(), "a")
		for _, end := range first {
			require.ErrorIs(t, (<-end).err, ErrComputeTimeout, "the run that all of them waited for says why it ended")
		}
		o := <-joined
		require.ErrorIs(t, o.err, ErrColdCache)
		assert.Equal(t, 3*time.Second, o.took, "a second run is not waited for as long again")
		require.ErrorIs(t, (<-next).err, ErrComputeTimeout)
		assert.Equal(t, 6*time.Second, time.Since(began), "which had its turn in time, and its own run")
	})
}

func TestWithoutRedisAFunctionWithoutAnErrorResultIsNeverRefused(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{took: 3 * time.Second}
		compute := s.call
		Must(Wrap(&compute, Options{Cache: c, Name: "test.Compute", Timeout: time.Minute, OnCold: Compute, WaitTimeout: time.Second}))
		patient := func(string) int { time.Sleep(3 * time.Second); return 7 } // its work, as that of s
		Must(Wrap(&patient, Options{Cache: c, Name: "test.Patient", Timeout: time.Minute, OnCold: Wait, WaitTimeout: time.Second}))
		defer b.forbid()()
		for _, call := range []func() (int, error){
			func() (int, error) { return compute(t.Context(), "a") },
			func() (int, error) { return patient("a"), nil },
		} {
			began := time.Now()
			var all sync.WaitGroup
			for range 3 { // one after the other: the later two share a run
				all.Go(func() {
					value, err := call()
					assert.NoError(t, err)
					assert.NotZero(t, value)
				})
				synctest.Wait()
				time.Sleep(time.Second) // so that each finds the run before it under way
			}
			all.Wait()
			assert.Equal(t, 6*time.Second, time.Since(began))
		}
		assert.Equal(t, 2, s.count())
	})
}

func TestWithoutRedisTheColdPolicyRefusesCallsThatWouldWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{})
		defer b.cut()()
		ends := b.burstOnOneLookup(w, 100, "a")
		assert.Equal(t, map[Source]int{SourceComputed: 1, SourceRefused: 99}, bySource(ends))
		assert.Equal(t, 1, s.count())
	})
}

func TestDownErrorReturnsTheCause(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(func(c *Config) { c.OnRedisDown = DownError }), s, Options{})
		defer b.cut()()
		o := w.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrRedisDown)
		require.ErrorIs(t, o.err, errGone)
		assert.Contains(t, o.err.Error(), "test.Source")
		assert.Zero(t, s.count())
	})
}

func TestASlowRedisCostsRedisTimeoutAndNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		w.get(t.Context(), "a")
		resume := b.stall()
		defer resume()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		o := w.get(ctx, "a")
		assert.Equal(t, context.DeadlineExceeded, o.err)
		assert.Equal(t, 10*time.Millisecond, o.took, "a caller never waits past its own context")
		for _, o := range w.burst(t.Context(), 10, "a") {
			assert.Contains(t, []Source{SourceComputed, SourceWaited}, o.source)
			assert.LessOrEqual(t, o.took, 2*DefaultRedisTimeout)
		}
		for _, o := range w.burst(t.Context(), 10, "b") {
			assert.Contains(t, []Source{SourceComputed, SourceWaited}, o.source)
			assert.Zero(t, o.took, "it is known to be away")
		}
		assert.Equal(t, 10*time.Millisecond, timeOf(func() { _ = w.Invalidate(ctxIn(t, 10*time.Millisecond), "a") }))
		assert.LessOrEqual(t, timeOf(func() {
			err := w.Invalidate(t.Context(), "a")
			require.ErrorIs(t, err, ErrRedisDown)
		}), 2*DefaultRedisTimeout)
	})
}

func timeOf(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func ctxIn(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestRedisThatDiesWhileComputingCostsTheCallerNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var mend func()
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) {
			mend = b.cut()
			time.Sleep(time.Second)
			return run, nil
		}
		w := wrap(t, b.cache(), s, Options{OnCold: Wait})
		ends := b.burstOnOneLookup(w, 20, "a")
		assert.Equal(t, map[Source]int{SourceComputed: 1, SourceWaited: 19}, bySource(ends))
		assert.Equal(t, 1, s.count(), "nobody has to compute again for want of a word from Redis")
		mend()
		time.Sleep(StoreAgainMax + probeInterval + probeInterval/2)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "it was stored behind, for the lease was still ours")
		assert.Equal(t, uint64(1), w.Stats().Stored)
	})
}

func TestAValueThatCouldNotBeStoredIsDroppedWithItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w, other := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		mine := w.begin(t.Context(), "a")
		synctest.Wait()
		mend := b.cut()
		assert.Equal(t, 1, (<-mine).value)
		time.Sleep(DefaultLease) // which expires in Redis too
		mend()
		time.Sleep(2 * probeInterval)
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, w.get(t.Context(), "a"), "nothing brings the first one back")
		assert.Zero(t, w.Stats().Stored)
		assert.Equal(t, uint64(1), w.Stats().LostLeases)
	})
}

func TestAValueThatCouldNotBeStoredIsNotStoredAfterAnInvalidation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w, other := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		b.tap.refuse["store"] = errGone // its next sending succeeds
		mine := w.begin(t.Context(), "a")
		assert.Equal(t, 1, (<-mine).value)
		b.tap.mu.Lock()
		delete(b.tap.refuse, "store")
		b.tap.mu.Unlock()
		require.NoError(t, other.Invalidate(t.Context(), "a"))
		time.Sleep(DefaultLease)
		assert.Equal(t, uint64(1), w.Stats().LostLeases)
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
	})
}

func TestCloseWhileAValueWaitsToBeStoredGivesItUp(t *testing.T) {
	for name, row := range map[string]struct {
		away  func(*bubble) (back func())
		back  bool          // before Close
		limit time.Duration // of Close
	}{
		"Redis is back":     {away: (*bubble).cut, back: true},
		"Redis is away yet": {away: (*bubble).cut},
		"Redis hangs":       {away: (*bubble).stall, limit: CloseGrace + 5*time.Second}, // which is the ReadTimeout
	} {
		t.Run(name, func(t *testing.T) { // in a bubble: a goroutine that is left fails it
			inBubble(t, func(t *testing.T, b *bubble) {
				s, c := &source{took: time.Second}, b.cache()
				w, other := wrap(t, c, s, Options{}), wrap(t, b.cache(), s, Options{})
				mine := w.begin(t.Context(), "a")
				synctest.Wait()
				back := row.away(b)
				assert.Equal(t, 1, (<-mine).value)
				synctest.Wait() // the value waits to be stored
				stores := b.tap.count("store")
				if row.back {
					back()
				}
				assert.LessOrEqual(t, timeOf(func() { _ = c.Close() }), row.limit)
				if !row.back {
					back()
				}
				assert.Equal(t, stores, b.tap.count("store"), "it is not sent again")
				if row.back {
					assert.Empty(t, b.keys(), "the lease was given back")
				}
				time.Sleep(DefaultLease)
				assert.Empty(t, b.keys())
				assert.Zero(t, w.Stats().Stored)
				assert.Equal(t, 2, other.get(t.Context(), "a").value)
			})
		})
	}
}

func TestStaleEntryIsServedWhenAcquireFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second)
		var mend func()
		b.tap.on("acquire", func() { mend = b.cut() })
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		mend()
	})
}

// --- The default cache ---

func TestCallWithoutACacheSaysSo(t *testing.T) {
	require.Nil(t, Default())
	s := &source{}
	w := &wrapped{call: s.call}
	f, err := Wrap(&w.call, Options{Timeout: time.Minute, Name: "nocache"})
	require.NoError(t, err)
	defer f.Unwrap()
	_, err = w.call(t.Context(), "a")
	require.ErrorIs(t, err, ErrNoCache)
	assert.Contains(t, err.Error(), "SetDefault")
	assert.Contains(t, err.Error(), "nocache")
	_, err = f.Key("a")
	require.ErrorIs(t, err, ErrNoCache)
	require.ErrorIs(t, f.Invalidate(t.Context(), "a"), ErrNoCache)
	require.ErrorIs(t, f.Refresh(t.Context(), "a"), ErrNoCache)
}

func TestDefaultCacheIsFoundAtTheFirstCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := &wrapped{call: s.call}
		f, err := Wrap(&w.call, Options{Timeout: time.Minute, Name: "late"})
		require.NoError(t, err)
		defer f.Unwrap()
		SetDefault(b.cache(func(c *Config) { c.Namespace = "first" }))
		defer SetDefault(nil)
		v, err := w.call(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		key, _ := f.Key("a")
		assert.Contains(t, key, "first:{late:")

		SetDefault(b.cache(func(c *Config) { c.Namespace = "second" }))
		v, _ = w.call(t.Context(), "a")
		assert.Equal(t, 2, v, "another default cache is another cache")
	})
}

// --- Close ---

func TestCloseCancelsComputationsAndReleasesTheirLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) }}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		end := w.begin(t.Context(), "a")
		synctest.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, (<-end).err, ErrClosed)
		assert.Empty(t, b.keys())
		require.NoError(t, c.Close(), "twice is fine")
	})
}

func TestCloseGivesBackTheLeaseOfAFunctionThatDoesNotEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(context.Context, int) (int, error) { time.Sleep(time.Minute); return 1, nil }}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		end := w.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, CloseGrace, timeOf(func() { assert.ErrorContains(t, c.Close(), "still runs") }))
		require.ErrorIs(t, (<-end).err, ErrClosed)
		assert.Empty(t, b.keys())
		time.Sleep(time.Minute)
	})
}

func TestEveryCloseWaitsForTheFirstAndReturnsItsError(t *testing.T) {
	for name, row := range map[string]struct {
		took time.Duration // to heed the context
		want string
	}{
		"what runs ends":         {took: time.Second},
		"what runs does not end": {took: time.Minute, want: "still runs"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{do: func(ctx context.Context, _ int) (int, error) {
					<-ctx.Done()
					time.Sleep(row.took) // as a function that is slow to heed its context
					return 0, context.Cause(ctx)
				}}
				c := b.cache()
				w := wrap(t, c, s, Options{})
				end := w.begin(t.Context(), "a")
				synctest.Wait()
				first := make(chan error)
				go func() { first <- c.Close() }()
				synctest.Wait()
				var err error
				assert.Equal(t, min(row.took, CloseGrace), timeOf(func() { err = c.Close() }))
				assert.Empty(t, b.keys(), "the lease was given back before its caller may close the client")
				assert.Equal(t, err, <-first)
				assert.Equal(t, err, c.Close(), "as it was the first time")
				if row.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, row.want)
				}
				require.ErrorIs(t, (<-end).err, ErrClosed)
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestCloseEndsWaiters(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Minute}
		here, c := wrap(t, b.cache(), s, Options{}), b.cache(func(c *Config) { c.OnRedisDown = DownError })
		here.begin(t.Context(), "a")
		synctest.Wait()
		w := wrap(t, c, s, Options{OnCold: Wait})
		end := w.begin(t.Context(), "a")
		synctest.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, (<-end).err, ErrClosed)
	})
}

func TestCallsAfterCloseBehaveAsWithRedisAway(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		require.NoError(t, c.Close())
		b.tap.reset()
		assert.Equal(t, outcome{value: 1, source: SourceComputed, took: time.Second}, w.get(t.Context(), "a"))
		require.ErrorIs(t, w.Invalidate(t.Context(), "a"), ErrClosed)
		require.ErrorIs(t, w.Refresh(t.Context(), "a"), ErrClosed)
		require.ErrorIs(t, c.Ping(t.Context()), ErrClosed)
		assert.Zero(t, b.tap.total())

		d := b.cache(func(c *Config) { c.OnRedisDown = DownError })
		require.NoError(t, d.Close())
		require.ErrorIs(t, wrap(t, d, s, Options{}).get(t.Context(), "a").err, ErrClosed)
	})
}

func TestACallAfterCloseDoesNotJoinACancelledComputation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		s.do = func(ctx context.Context, run int) (int, error) {
			time.Sleep(2 * time.Second) // it is slow to notice; time of the bubble, as in all tests here
			return run, context.Cause(ctx)
		}
		c := b.cache()
		w := wrap(t, c, s, Options{OnCold: Wait})
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		o := w.get(t.Context(), "a")
		require.NoError(t, o.err)
		assert.Equal(t, 2, o.value)
		require.NoError(t, <-closed)
		assert.ErrorIs(t, (<-first).err, ErrClosed)
	})
}

func TestCloseDoesNotWaitForComputationsOfLaterCalls(t *testing.T) {
	for name, opts := range map[string]Options{
		"Fail":          {},
		"Wait":          {OnCold: Wait},
		"Near":          {OnCold: Wait, Near: time.Minute},
		"MaxConcurrent": {OnCold: Wait, MaxConcurrent: 1},
	} {
		t.Run(name, func(t *testing.T) { // in a bubble: a goroutine that is left fails it
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				s.do = func(_ context.Context, run int) (int, error) {
					if run == 1 {
						time.Sleep(2 * time.Second)
					} else {
						time.Sleep(3 * time.Second)
					}
					return run, nil
				}
				c := b.cache()
				w := wrap(t, c, s, opts)
				first := w.begin(t.Context(), "a")
				synctest.Wait()
				closed := make(chan error)
				began := time.Now()
				go func() { closed <- c.Close() }()
				synctest.Wait()
				var calls sync.WaitGroup
				for _, key := range []string{"a", "a", "b", "c"} { // some gather for the next computation
					calls.Go(func() {
						for time.Since(began) < 2*CloseGrace {
							o := w.get(t.Context(), key)
							if opts.OnCold == Wait {
								assert.NoError(t, o.err)
							}
							if o.source == SourceRefused {
								time.Sleep(time.Second)
							}
						}
					})
				}
				assert.NoError(t, <-closed)
				assert.Equal(t, 2*time.Second, time.Since(began), "until what it cancelled had ended")
				assert.Equal(t, 1, (<-first).value)
				calls.Wait()
				assert.Zero(t, c.Life().Running())
			})
		})
	}
}

func TestALeaseThatIsGrantedWhileCloseBeginsIsGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{do: func(ctx context.Context, run int) (int, error) { <-ctx.Done(); return run, context.Cause(ctx) }}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		granted := make(chan struct{})
		b.tap.onReply("acquire", func(redis.Cmder) { <-granted })
		end := w.begin(t.Context(), "a")
		synctest.Wait()
		closed := make(chan error)
		began := time.Now()
		go func() { closed <- c.Close() }()
		synctest.Wait()
		close(granted)
		require.NoError(t, <-closed)
		assert.Zero(t, time.Since(began))
		assert.Empty(t, b.keys())
		assert.ErrorIs(t, (<-end).err, ErrClosed)
	})
}

func TestCloseLeavesTheClientOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		require.NoError(t, c.Close())
		require.NoError(t, c.Config().Redis.Ping(t.Context()).Err())
	})
}

// --- New and Ping ---

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Config{Namespace: "a:b", RedisTimeout: -1})
	require.Error(t, err)
	for _, part := range []string{"fncache: new cache", "Redis", "Namespace", "RedisTimeout"} {
		assert.Contains(t, err.Error(), part)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	_, err = New(Config{Redis: ring})
	assert.ErrorContains(t, err, "Ring")
}

func TestPingOnAnEmbeddedRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		require.NoError(t, c.Ping(t.Context()))
		assert.Empty(t, b.keys(), "nothing is left")
		defer b.cut()()
		err := c.Ping(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		assert.ErrorContains(t, err, "not reachable")
	})
}

// --- The clock ---

func TestAgesAreMeasuredOnTheServersClock(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		opts := Options{Freshness: 10 * time.Second, OnStale: Background}
		// The server is a year behind this host.
		b.redis.SetTime(time.Now().AddDate(-1, 0, 0))
		w := wrap(t, b.cache(), s, opts)
		w.get(t.Context(), "a")
		raw, err := b.redis.Get(must(w.Key("a")))
		require.NoError(t, err)
		stored := storedAt(raw)
		assert.Equal(t, time.Now().AddDate(-1, 0, 0).UnixMilli(), stored)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		assert.Equal(t, 1, b.tap.count("time"), "a hit costs no extra command")
	})
}

func must[T any](v T, err error) T { return Must(v, err) }

func TestClockIsAskedAgainNowAndThen(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		time.Sleep(c.Config().RedisTimeout) // until it is noticed
		c.Clock().Dialed.Store(false)       // the connections of the first call
		time.Sleep(clock.Interval - c.Config().RedisTimeout)
		w.get(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 1, b.tap.count("time"))
		time.Sleep(time.Millisecond)
		w.get(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, 2, b.tap.count("time"), "in the background")
	})
}

func TestClockIsAskedAgainAfterAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		time.Sleep(2 * clock.Pause)
		c.Clock().Dialed.Store(false) // the connections of the first calls
		w.get(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 1, b.tap.count("time"))
		defer func(conn *redis.Conn) { _ = conn.Close() }(c.Config().Redis.(*redis.Client).Conn())
		var held []*redis.Conn
		for range 5 { // more than the pool has idle, so that one is dialled
			conn := c.Config().Redis.(*redis.Client).Conn()
			require.NoError(t, conn.Ping(t.Context()).Err())
			held = append(held, conn)
		}
		for _, conn := range held {
			require.NoError(t, conn.Close())
		}
		w.get(t.Context(), "a")
		time.Sleep(c.Config().RedisTimeout) // until it is noticed
		w.get(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, 2, b.tap.count("time"))
	})
}

func TestTheLocalClockIsUsedIfTimeIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.tap.set(func(tap *tap) {
			tap.refuse = map[string]error{"time": replyError("NOPERM this user has no permissions to run the 'time' command")}
		})
		w := wrap(t, b.cache(), &source{}, Options{Freshness: 10 * time.Second, Timeout: time.Hour, OnStale: Background})
		w.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		time.Sleep(10 * time.Second)
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		assert.Len(t, b.log.About("refuses the TIME command"), 1)
	})
}

func TestAnErrorThatSaysNothingOfTheClockLeavesItAlone(t *testing.T) {
	for _, text := range []string{
		"LOADING Redis is loading the dataset in memory",
		"NOAUTH Authentication required.",
		"WRONGPASS invalid username-password pair or user is disabled.",
		"BUSY Redis is busy running a script.",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"MOVED 7 127.0.0.1:7000",
		"ERR max number of clients reached",
		// Refused, but what the server has said before is better than the local clock.
		"NOPERM this user has no permissions to run the 'time' command",
		"ERR unknown command 'TIME'",
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			// The server is ahead of this host: by the host's clock an entry is
			// younger than it is.
			server := time.Now().Add(50 * time.Second)
			b.redis.SetTime(server)
			c := b.cache()
			w := wrap(t, c, &source{}, Options{Freshness: 20 * time.Second, Timeout: time.Hour, OnStale: Background})
			w.get(t.Context(), "a")
			synctest.Wait()
			time.Sleep(30 * time.Second)
			b.redis.SetTime(server.Add(30 * time.Second))
			c.Clock().Dialed.Store(true) // as after a reconnect: it is asked again
			b.tap.set(func(tap *tap) { tap.refuse["time"] = replyError(text) })
			asked := b.tap.count("time")
			<-c.Clock().Ask(t.Context())
			require.Equal(t, asked+1, b.tap.count("time"))
			assert.InDelta(t, server.Add(30*time.Second).UnixMilli(), c.Clock().Now(), 5, "%s", text)
			synctest.Wait()
			assert.Empty(t, b.log.About("refuses the TIME command"))
		})
	}
}

func TestARefusalOfTimeInAnyWordsIsLoggedOnce(t *testing.T) {
	for _, text := range []string{
		"NOPERM this user has no permissions to run the 'time' command",
		"ERR unknown command 'TIME', with args beginning with: ",
		"ERR unknown command `TIME`",
		"ERR Command is not allowed",
		"ERR this command is not allowed",
		"ERR 'time' command cannot be used on this service",
		"-ERR unsupported command 'TIME'",
		"FORBIDDEN by the proxy",
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"time": replyError(text)} })
			w := wrap(t, b.cache(), &source{}, Options{Freshness: 10 * time.Second, Timeout: time.Hour, OnStale: Background})
			for range 10 {
				w.get(t.Context(), "a")
				synctest.Wait()
			}
			assert.LessOrEqual(t, b.tap.count("time"), 2, "%s", text)
			assert.Len(t, b.log.About("refuses the TIME command"), 1, "%s", text)
			time.Sleep(10 * time.Second)
			assert.Equal(t, SourceStale, w.get(t.Context(), "a").source, "by the local clock")
		})
	}
}

func TestAProcessThatOnlyStoresUsesTheServersClock(t *testing.T) {
	for name, store := range map[string]func(t *testing.T, w *wrapped){
		"Func.Refresh": func(t *testing.T, w *wrapped) { require.NoError(t, w.Refresh(t.Context(), "a")) },
		"WithRefresh":  func(t *testing.T, w *wrapped) { w.get(WithRefresh(t.Context()), "a") },
	} {
		for _, apart := range []int{-1, 1} { // years that the server is ahead of this host
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					server := time.Now().AddDate(apart, 0, 0)
					b.redis.SetTime(server)
					w := wrap(t, b.cache(), &source{}, Options{Freshness: 10 * time.Second, Timeout: time.Hour})
					store(t, w)
					stored := storedAt(must(b.redis.Get(must(w.Key("a")))))
					assert.Equal(t, server.UnixMilli(), stored)
					other := wrap(t, b.cache(), &source{}, Options{Freshness: 10 * time.Second, Timeout: time.Hour})
					assert.Equal(t, SourceFresh, other.get(t.Context(), "a").source)
				})
			})
		}
	}
}

// suspend has the machine of a cache suspended for a time, in which the server goes on.
func (b *bubble) suspend(c *Cache, slept time.Duration) {
	b.redis.SetTime(time.Now().Add(slept))
	c.Clock().Suspend(slept)
}

func TestASuspendedProcessAsksForTheClockBeforeItJudges(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, Options{Freshness: time.Hour, Timeout: 24 * time.Hour, OnStale: Background})
		w.get(t.Context(), "a")
		b.suspend(c, 2*time.Hour)
		// The wall clock was set meanwhile, and does not tell how long it was.
		c.Clock().Suspend(-90 * time.Minute)
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		synctest.Wait()
		stored := storedAt(must(b.redis.Get(must(w.Key("a")))))
		assert.Equal(t, time.Now().Add(2*time.Hour).UnixMilli(), stored)
	})
}

func TestAProcessThatIsSuspendedWhileItComputesStampsWithTheServersClock(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, Options{Freshness: time.Hour, Timeout: 24 * time.Hour, Lease: 12 * time.Hour})
		s.do = func(context.Context, int) (int, error) {
			b.suspend(c, 2*time.Hour)
			c.Clock().Suspend(time.Hour) // the wall clock was set, too
			return 7, nil
		}
		w.get(t.Context(), "a")
		stored := storedAt(must(b.redis.Get(must(w.Key("a")))))
		assert.Equal(t, time.Now().Add(2*time.Hour).UnixMilli(), stored)
	})
}

func TestASuspendedProcessTrustsNoNearCopy(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, Options{Near: time.Hour, Timeout: 24 * time.Hour})
		w.get(t.Context(), "bind")
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "a")
		require.Equal(t, SourceNear, w.get(t.Context(), "a").source)
		time.Sleep(time.Minute) // it goes on hearing
		require.Equal(t, SourceNear, w.get(t.Context(), "a").source)
		epoch := hearing(c)

		c.Clock().Suspend(2 * time.Second)
		time.Sleep(events.TrustStep)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "at once, before anything could be heard")
		assert.NotEqual(t, SourceNear, w.get(t.Context(), "a").source, "nor later, until it hears again")
		time.Sleep(time.Minute)
		assert.Greater(t, hearing(c), epoch, "by another connection")
		w.get(t.Context(), "a")
		assert.Equal(t, SourceNear, w.get(t.Context(), "a").source)

		// Nobody calls while it is suspended, and Redis is away when it goes on.
		mend := b.cut()
		c.Clock().Suspend(2 * time.Second)
		time.Sleep(events.TrustStep)
		o := w.get(t.Context(), "a")
		assert.Equal(t, SourceComputed, o.source, "a copy of unknown age is not served as stale")
		mend()
	})
}

func TestAClockThatIsSlewedIsNoSuspend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, Options{Near: time.Hour, Timeout: 24 * time.Hour})
		w.get(t.Context(), "bind")
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "a")
		for range 100 {
			c.Clock().Suspend(clock.Jump / 2)
			time.Sleep(events.TrustStep)
			require.Equal(t, SourceNear, w.get(t.Context(), "a").source)
		}
	})
}

func TestAClockThatIsRefusedLaterIsAskedForNowAndThen(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		synctest.Wait()
		b.tap.set(func(tap *tap) { tap.refuse["time"] = replyError("NOPERM no permissions to run the 'time' command") })
		asked := b.tap.count("time")
		for range 10 {
			time.Sleep(clock.Interval + time.Millisecond)
			for range 10 {
				w.get(t.Context(), "a")
				synctest.Wait()
			}
		}
		assert.Equal(t, 10, b.tap.count("time")-asked, "and not by every call")
	})
}

func TestEntryFromTheFutureIsAMiss(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		c := b.cache()
		w := wrap(t, c, s, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		c.Clock().Shift(-MaxFuture)
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, w.get(t.Context(), "a"), "a little ahead is age 0")
		c.Clock().Shift(-time.Second)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		assert.EqualValues(t, 1, w.Stats().Undecodable)
	})
}

func TestReaderJudgesByItsOwnOptions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		long := wrap(t, b.cache(), s, Options{Timeout: time.Hour})
		short := wrap(t, b.cache(), s, Options{Timeout: time.Minute, Freshness: 10 * time.Second, OnStale: Background})
		long.get(t.Context(), "a")
		time.Sleep(11 * time.Second)
		assert.Equal(t, SourceStale, short.get(t.Context(), "a").source)
		synctest.Wait()
		time.Sleep(time.Minute)
		assert.Equal(t, SourceComputed, short.get(t.Context(), "a").source)
	})
}

// secretive is a result that does not survive its own encoding.
type secretive struct{ text string }

func (secretive) MarshalBinary() ([]byte, error)     { return nil, errEncoding }
func (*secretive) UnmarshalBinary(data []byte) error { return errEncoding }

func TestTheLogHoldsNoArgumentNoResultAndNoSecret(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		const canary = "canary"
		c := b.cache(func(c *Config) { c.HashSecret = []byte(canary + "secret") })
		fn := func(_ context.Context, arg string) (string, error) { return canary + arg, nil }
		f, err := Wrap(&fn, Options{Cache: c, Name: "f", Timeout: time.Minute})
		require.NoError(t, err)
		lossy := func(_ context.Context, arg string) (secretive, error) { return secretive{canary + arg}, nil }
		_, err = Wrap(&lossy, Options{Cache: c, Name: "lossy", Timeout: time.Minute})
		require.NoError(t, err)
		var losing *Func
		loses := func(ctx context.Context, arg string) (string, error) {
			b.redis.Del(must(losing.Key(arg)) + LockSuffix)
			return canary + arg, nil
		}
		losing, err = Wrap(&loses, Options{Cache: c, Name: "loses", Timeout: time.Minute})
		require.NoError(t, err)

		logs := map[string]func(){
			"does not survive encoding": func() { _, err = lossy(t.Context(), canary+"1") },
			"lease lost":                func() { _, err = loses(t.Context(), canary+"2") },
			"entry cannot be read": func() {
				key, _ := f.Key(canary + "3")
				require.NoError(t, b.redis.Set(key, canary+"is not an envelope, but as long as one would be"))
				_, err = fn(t.Context(), canary+"3")
			},
			"Redis does not answer": func() {
				b.tap.set(func(tap *tap) { tap.broken = errGone })
				_, err = fn(t.Context(), canary+"4")
				b.tap.set(func(tap *tap) { tap.broken = nil })
				awaitBack(c)
			},
		}
		for message, happen := range logs {
			happen()
			require.NoError(t, err)
			synctest.Wait()
			assert.NotEmpty(t, b.log.About(message))
		}
		assert.Empty(t, b.log.About(canary))
	})
}

func TestEachFaultOfAConfigurationNamesItsField(t *testing.T) {
	_, err := New(Config{RedisTimeout: -1, NearSize: -1, Namespace: "a:b"})
	lines := strings.Split(err.Error(), "\n")
	assert.Len(t, lines, 4)
	for _, line := range lines {
		assert.True(t, strings.HasPrefix(line, "fncache: new cache: "), line)
	}
}

func TestAFunctionsErrorsAndPanicsAreLoggedByTheirTypes(t *testing.T) {
	for want, do := range map[string]func(arg string) error{
		"err=*fmt.wrapError: *errors.errorString": func(arg string) error { return fmt.Errorf("%s: %w", arg, errGone) },
		"err=panic with a string":                 func(arg string) error { panic(arg) },
		"err=panic with a *fmt.wrapError":         func(arg string) error { panic(fmt.Errorf("%s: %w", arg, errGone)) },
	} {
		inOneBubble(t, func(t *testing.T, b *bubble) {
			const canary = "canary"
			fn := func(ctx context.Context, arg string) (int, error) {
				time.Sleep(time.Second)
				return 0, do(arg)
			}
			_, err := Wrap(&fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Minute})
			require.NoError(t, err)
			ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
			defer leave()
			_, err = fn(ctx, canary)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			time.Sleep(2 * time.Second)
			assert.Len(t, b.log.About("computation failed with no caller left to see it"), 1)
			assert.Len(t, b.log.About(want), 1)
			assert.Empty(t, b.log.About(canary))
		})
	}
}

func TestPrintingACacheShowsNoSecret(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		const canary = "canary"
		c := b.cache(func(c *Config) { c.HashSecret = []byte(canary) })
		var text, json bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("made", slog.Any("cache", c))
		slog.New(slog.NewJSONHandler(&json, nil)).Info("made", slog.Any("cache", c))
		for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), text.String(), json.String()} {
			assert.NotContains(t, shown, canary)
			assert.NotContains(t, shown, "99 97 110", "nor its bytes")
			assert.NotContains(t, shown, "HashSecret")
		}
		assert.Equal(t, "fncache.Cache(fncache)", c.String())
	})
}
