package fncache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/bulkhead"
)

// A gauge counts what runs at once.
type gauge struct {
	mu        sync.Mutex // guards the fields below
	now, most int
}

func (g *gauge) run(took time.Duration) {
	g.add(1)
	time.Sleep(took)
	g.add(-1)
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

// wrapElsewhere is wrap in another process, with places of its own.
func wrapElsewhere(t *testing.T, c *Cache, s *source, opts Options) *wrapped {
	w := wrap(t, c, s, opts)
	w.SetPlaces(bulkhead.New(opts.MaxConcurrent))
	return w
}

func TestMaxConcurrentBoundsComputationsUnderLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{MaxConcurrent: 2})
		for i, end := range beginEach(t, w, 5) {
			o := <-end
			if i < 2 {
				assert.Equal(t, SourceComputed, o.source)
				continue
			}
			var cold *ColdCacheError
			require.ErrorAs(t, o.err, &cold)
			assert.Equal(t, 2, cold.MaxConcurrent)
			assert.Zero(t, o.took, "refused at once")
		}
		assert.Equal(t, 2, s.count())
		for i := range 5 {
			require.NoError(t, w.get(t.Context(), fmt.Sprint(i)).err, "the places are free again")
		}
		requireAllPlaces(t, w.Func)
		requireIdentity(t, w.Func)
	})
}

func TestCallsWaitForAPlaceBeforeTheyAskForTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		opts := Options{MaxConcurrent: 2, OnCold: Wait}
		w := wrap(t, b.cache(), s, opts)
		ends := beginEach(t, w, 6)
		assert.Len(t, b.keys(), 2, "no lease is held by a call that waits for a place")
		// Another process has places of its own, and finds no lease in its way.
		other := wrapElsewhere(t, b.cache(), &source{}, opts)
		assert.Equal(t, SourceComputed, other.get(t.Context(), "4").source)
		for i, end := range ends {
			o := <-end
			require.NoError(t, o.err)
			if i == 4 {
				assert.Equal(t, SourceWaited, o.source)
				continue
			}
			assert.Equal(t, SourceComputed, o.source)
			assert.Equal(t, time.Duration(1+i/2)*time.Second, o.took, "first come, first served")
		}
		assert.Equal(t, 5, s.count())
		requireAllPlaces(t, w.Func)
		requireIdentity(t, w.Func)
	})
}

func TestAStaleEntryIsServedIfNoPlaceIsFree(t *testing.T) {
	for _, onStale := range []StalePolicy{Refresh, Background} {
		inBubble(t, func(t *testing.T, b *bubble) {
			s := &source{}
			w := wrap(t, b.cache(), s, Options{MaxConcurrent: 1, Freshness: time.Minute, Timeout: time.Hour, OnStale: onStale})
			w.get(t.Context(), "a")
			time.Sleep(2 * time.Minute)
			s.set(func(s *source) { s.took = time.Second })
			busy := w.begin(t.Context(), "b")
			synctest.Wait()
			o := w.get(t.Context(), "a")
			assert.Equal(t, SourceStale, o.source)
			assert.Zero(t, o.took)
			assert.Equal(t, 2, s.count(), "nothing runs beside the one")
			<-busy
			requireAllPlaces(t, w.Func)
			requireIdentity(t, w.Func)
		})
	}
}

func TestComputationsWithLeasesAndWithoutShareThePlaces(t *testing.T) {
	for _, onCold := range []ColdPolicy{Fail, Wait} {
		inBubble(t, func(t *testing.T, b *bubble) {
			s := &source{took: 3 * time.Second}
			c := b.cache()
			w := wrap(t, c, s, Options{MaxConcurrent: 2, OnCold: onCold})
			leased := beginEach(t, w, 2)
			defer b.cut()()
			b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
			began := time.Now()
			late := w.begin(t.Context(), "y")
			if onCold == Fail {
				o := <-late
				require.ErrorContains(t, o.err, "the function runs 2 times in this process, which is its MaxConcurrent")
				assert.Zero(t, o.took, "refused at once")
			}
			for _, end := range leased {
				assert.Equal(t, SourceComputed, (<-end).source)
			}
			waited := time.Since(began)
			if onCold == Wait {
				o := <-late
				assert.Equal(t, SourceComputed, o.source)
				assert.Equal(t, waited+3*time.Second, o.took, "its turn comes when a place is free")
			}
			requireAllPlaces(t, w.Func)
			requireIdentity(t, w.Func)
		})
	}
}

func TestMaxConcurrentHoldsAcrossAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var g gauge
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) { g.run(300 * time.Millisecond); return run, nil }
		c := b.cache()
		w := wrap(t, c, s, Options{MaxConcurrent: 3, OnCold: Wait, WaitTimeout: time.Hour})
		ends := beginEach(t, w, 20)
		time.Sleep(500 * time.Millisecond)
		mend := b.cut()
		for i := range 20 {
			ends = append(ends, w.begin(t.Context(), fmt.Sprint("during", i)))
			time.Sleep(50 * time.Millisecond)
		}
		mend()
		awaitBack(c)
		for i := range 20 {
			ends = append(ends, w.begin(t.Context(), fmt.Sprint("after", i)))
		}
		for _, end := range ends {
			require.NoError(t, (<-end).err)
		}
		assert.Equal(t, 3, g.most)
		requireAllPlaces(t, w.Func)
		requireIdentity(t, w.Func)
	})
}

func TestACallThatGivesUpWhileItWaitsForAPlaceLeavesNothing(t *testing.T) {
	for name, away := range map[string]bool{"Redis there": false, "Redis away": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := newHeld()
				c := b.cache()
				w := wrap(t, c, &s.source, Options{MaxConcurrent: 1, OnCold: Wait})
				if away {
					defer b.cut()()
					b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
				}
				first := w.begin(t.Context(), "first")
				<-s.began
				giveUp := func(n int) (left int) {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					defer cancel()
					var ends []<-chan outcome
					for i := range n {
						ends = append(ends, w.begin(ctx, fmt.Sprint(i)))
					}
					for _, end := range ends {
						require.ErrorIs(t, (<-end).err, context.DeadlineExceeded)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					return c.Life().Running()
				}
				one := giveUp(1) // with which the process subscribes to events
				assert.LessOrEqual(t, giveUp(200), one, "goroutines of the cache")
				assert.Zero(t, w.Places().Waiting())
				s.let <- struct{}{}
				require.NoError(t, (<-first).err)
				assert.Equal(t, 1, s.count())
				requireAllPlaces(t, w.Func)
			})
		})
	}
}

func TestVariablesOfOneNameShareThePlaces(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		c := b.cache()
		opts := Options{MaxConcurrent: 1, Name: "test.Shared", Shared: true}
		one, two := wrap(t, c, s, opts), wrap(t, c, s, opts)
		busy := one.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, SourceRefused, two.get(t.Context(), "b").source)
		<-busy
		requireAllPlaces(t, one.Func)
	})
}

func TestCachesShareThePlacesOfAName(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var g gauge
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) { g.run(time.Second); return run, nil }
		opts := Options{MaxConcurrent: 2, OnCold: Wait}
		var ends []<-chan outcome
		for i, c := range []*Cache{b.cache(), b.cache(func(cfg *Config) { cfg.Namespace = "other" })} {
			w := wrap(t, c, s, opts)
			defer requireAllPlaces(t, w.Func)
			for n := range 5 {
				ends = append(ends, w.begin(t.Context(), fmt.Sprint(i, n)))
			}
		}
		for _, end := range ends {
			assert.Equal(t, SourceComputed, (<-end).source)
		}
		assert.Equal(t, 2, g.most)
	})
}

func TestAFunctionThatIsWrappedAgainSharesThePlacesOfItsRunningComputations(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{took: time.Second}
		first := wrap(t, c, s, Options{MaxConcurrent: 1})
		busy := first.begin(t.Context(), "a")
		synctest.Wait()
		first.Unwrap()
		again := wrap(t, c, s, Options{MaxConcurrent: 2}) // the name has no other function now
		also := again.begin(t.Context(), "b")
		synctest.Wait()
		assert.Equal(t, SourceRefused, again.get(t.Context(), "c").source)
		assert.Equal(t, SourceComputed, (<-busy).source)
		assert.Equal(t, SourceComputed, (<-also).source)
		requireAllPlaces(t, again.Func)
		again.Unwrap()
		assert.False(t, HasPlaces(again.Name()), "nothing is left of a name")
	})
}

func TestAnotherBoundForOneNameIsRefused(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one, two, three := (&source{}).call, (&source{}).call, (&source{}).call
		opts := Options{Cache: b.cache(), Name: "test.Bound", Shared: true, Timeout: time.Minute, MaxConcurrent: 5}
		_, err := Wrap(&one, opts)
		require.NoError(t, err)
		for _, other := range []int{0, 6} {
			opts.Cache, opts.MaxConcurrent = b.cache(func(cfg *Config) { cfg.Namespace = "other" }), other
			_, err = Wrap(&two, opts)
			require.ErrorContains(t, err, fmt.Sprintf("MaxConcurrent is %d, but it is 5 for test.Bound (wrapped at ", other))
			require.ErrorContains(t, err, "maxconcurrent_test.go:")
			require.ErrorContains(t, err, "set the same for both, or another Name or Prefix")
		}
		opts.MaxConcurrent = 5
		_, err = Wrap(&three, opts)
		require.NoError(t, err)
	})
}

func TestUnderComputeACallWaitsForItsTurnAndIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var g gauge
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) { g.run(time.Minute); return run, nil }
		c := b.cache()
		w := wrap(t, c, s, Options{MaxConcurrent: 2, OnCold: Compute, ComputeTimeout: 2 * time.Minute, Timeout: time.Hour})
		for i, end := range beginEach(t, w, 8) {
			o := <-end
			require.NoError(t, o.err, "nobody is refused, though it waits for longer than a run may take")
			assert.Equal(t, SourceComputed, o.source)
			assert.Equal(t, time.Duration(1+i/2)*time.Minute, o.took, "first come, first served")
		}
		assert.EqualValues(t, 8, w.Stats().Stored)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		busy := []<-chan outcome{w.begin(t.Context(), "x"), w.begin(t.Context(), "y")}
		synctest.Wait()
		require.ErrorIs(t, w.get(ctx, "z").err, context.DeadlineExceeded)
		for _, end := range busy {
			assert.Equal(t, SourceComputed, (<-end).source)
		}
		assert.Equal(t, 2, g.most)
		assert.Equal(t, 10, s.count())
		requireAllPlaces(t, w.Func)
		requireIdentity(t, w.Func)
	})
}

// The bound covers runs with and without a lease, with and without Redis.
func TestUnderComputeTheBoundHoldsForEveryRun(t *testing.T) {
	for _, away := range []bool{false, true} {
		inBubble(t, func(t *testing.T, b *bubble) {
			var g gauge
			s := &source{}
			s.do = func(_ context.Context, run int) (int, error) { g.run(time.Second); return run, nil }
			c := b.cache()
			w := wrap(t, c, s, Options{MaxConcurrent: 3, OnCold: Compute})
			if away {
				defer b.cut()()
				b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
			}
			var ends []<-chan outcome
			for i := range 30 { // of which most find the lease held here
				ends = append(ends, w.begin(t.Context(), fmt.Sprint(i%5)))
				time.Sleep(10 * time.Millisecond)
			}
			for _, end := range ends {
				require.NoError(t, (<-end).err)
			}
			assert.Equal(t, 3, g.most)
			requireAllPlaces(t, w.Func)
			requireIdentity(t, w.Func)
		})
	}
}

func TestUnderComputeALeaseThatIsHeldElsewhereIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{OnCold: Compute, MaxConcurrent: 1}
		other := newHeld()
		holder := wrapElsewhere(t, b.cache(), &other.source, opts).begin(t.Context(), "k")
		<-other.began
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, opts)
		busy := w.begin(t.Context(), "another key")
		synctest.Wait()
		o := w.get(t.Context(), "k") // waits for its turn first
		require.NoError(t, o.err)
		assert.Equal(t, 2*time.Second, o.took)
		<-busy
		other.let <- struct{}{}
		assert.Equal(t, SourceComputed, (<-holder).source)
		requireAllPlaces(t, w.Func)
	})
}

func TestBypassTakesNoPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{MaxConcurrent: 1})
		busy := w.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, SourceBypassed, w.get(WithBypass(t.Context()), "b").source)
		assert.Equal(t, SourceComputed, (<-busy).source)
	})
}

func TestACallFromInsideAComputationUnderALeaseTakesNoPlace(t *testing.T) {
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
			o := w.get(t.Context(), "0")
			require.NoError(t, o.err)
			assert.Equal(t, 5, o.value)
			assert.EqualValues(t, 5, w.Stats().Stored)
			requireAllPlaces(t, w.Func)
			requireIdentity(t, w.Func)
		})
	}
}

// The order of events:
//  1. A computation collects callers while the one before it runs, and all of them leave.
//  2. Other callers join it.
//  3. The one before it ends, and its place is given to another key.
func TestAComputationThatAllCallersHadLeftWaitsForItsPlaceOnceJoined(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var g gauge
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) { g.run(10 * time.Second); return run, nil }
		c := b.cache()
		w := wrap(t, c, s, Options{MaxConcurrent: 1, OnCold: Wait})
		defer b.cut()()
		b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
		ends := beginEach(t, w, 1)
		require.Error(t, w.Invalidate(t.Context(), "0")) // who comes now does not join it
		ctx, cancel := context.WithCancel(t.Context())
		left := w.begin(ctx, "0")
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-left).err, context.Canceled)
		ends = append(ends, w.begin(t.Context(), "1"))
		synctest.Wait()
		for _, end := range append(ends, w.begin(t.Context(), "0")) {
			require.NoError(t, (<-end).err)
		}
		assert.Equal(t, 1, g.most)
		requireAllPlaces(t, w.Func)
	})
}

func TestNothingIsComputedUnderALeaseThatWasAskedForAfterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var g gauge
		var cut atomic.Int64
		s := &source{}
		s.do = func(ctx context.Context, run int) (int, error) {
			if ctx.Err() != nil {
				cut.Add(1)
			}
			g.run(time.Second)
			return run, nil
		}
		c := b.cache()
		w := wrap(t, c, s, Options{MaxConcurrent: 1, OnCold: Wait})
		ends := beginEach(t, w, 10)
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		require.NoError(t, c.Close())
		assert.LessOrEqual(t, time.Since(began), time.Second)
		for i, end := range ends {
			if o := <-end; i > 0 {
				require.NoError(t, o.err, "computed as with Redis away")
			}
		}
		assert.Zero(t, cut.Load(), "computations that were cancelled before they began")
		assert.Equal(t, 1, g.most)
		requireAllPlaces(t, w.Func)
	})
}

func TestACallerThatIsAnsweredFindsItsPlaceFree(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{MaxConcurrent: 1})
		inTurn := func(arg string) {
			for i := range 200 {
				require.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(arg, i)).source)
			}
		}
		inTurn("under a lease ")
		defer b.cut()()
		inTurn("without Redis ")
	})
}
