package fncache_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// All tests here run in bubbles: their sleeps are how long a function runs, how long another process
// holds a lease, or until when the test waits for an event.

// heldElsewhere gives another process the leases of ids for a time.
func (b *bubble) heldElsewhere(w *batched, lasts time.Duration, ids ...int) {
	b.t.Helper()
	for _, id := range ids {
		lock := must(w.Func.Key(id)) + LockSuffix
		require.NoError(b.t, b.redis.Set(lock, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		b.redis.SetTTL(lock, lasts)
	}
}

// An element waits for another process. When it has to compute after all, another call has the place.
func TestBatchElementThatHasWaitedAsksForNoLeaseWithoutAPlace(t *testing.T) {
	const limit = 3 * time.Second
	for name, c := range map[string]struct {
		runs   time.Duration // how long the other call has the place
		leaves time.Duration // when the caller leaves, or the cache is closed; 0 for never
		close  bool
		after  time.Duration
		err    error // of the call
	}{
		"the place comes in time":         {runs: 2500 * time.Millisecond, after: 2500 * time.Millisecond},
		"the place comes after the limit": {runs: 20 * time.Second, after: limit, err: ErrColdCache},
		"the caller leaves meanwhile":     {runs: 20 * time.Second, leaves: 2 * time.Second, after: 2 * time.Second, err: context.Canceled},
		"the cache is closed meanwhile":   {runs: 20 * time.Second, leaves: 2 * time.Second, close: true, after: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s, cache := &batchSource{}, b.cache()
				w := wrapShelf(t, cache, s, Options{OnCold: Wait, WaitTimeout: limit, MaxConcurrent: 1, ComputeTimeout: time.Minute})
				b.heldElsewhere(w, time.Second, 1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				answered := make(chan error, 1)
				began := time.Now()
				var took time.Duration
				go func() {
					_, err := w.get(ctx, []int{1})
					took = time.Since(began)
					answered <- err
				}()
				synctest.Wait()
				s.set(func(s *batchSource) {
					s.do = func(ctx context.Context, ids []int) error {
						if ids[0] == 2 {
							select {
							case <-time.After(c.runs):
							case <-ctx.Done(): // the cache is closed
							}
						}
						return nil
					}
				})
				go func() { _, _ = w.get(t.Context(), []int{2}) }() // has the place
				time.Sleep(1500 * time.Millisecond)                 // virtual: the lease held elsewhere has ended
				assert.NotContains(t, b.locks(), must(w.Func.Key(1))+LockSuffix, "another process can compute 1")
				if c.leaves > 0 {
					time.Sleep(max(0, c.leaves-time.Since(began))) // virtual
					if c.close {
						require.NoError(t, cache.Close())
					} else {
						cancel()
					}
				}
				err := <-answered
				require.ErrorIs(t, err, c.err)
				assert.Equal(t, c.after, took.Round(100*time.Millisecond))
				time.Sleep(30 * time.Second) // the run ends
				synctest.Wait()
				assert.True(t, w.Func.Places().Idle())
				assert.Empty(t, b.locks())
			})
		})
	}
}

// The elements of a call that have waited share a place, also if there is only one.
func TestBatchElementsThatHaveWaitedShareAPlace(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		const ids = 50
		s := &batchSource{do: func(context.Context, []int) error {
			time.Sleep(time.Second) // virtual: the run takes that long
			return nil
		}}
		w := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, WaitTimeout: 10 * time.Second, MaxConcurrent: 1})
		b.heldElsewhere(w, time.Second, upTo(ids)...)
		go func() { // has the place until after that
			time.Sleep(500 * time.Millisecond) // virtual
			_, _ = w.get(t.Context(), []int{1000})
		}()
		found, err := w.get(t.Context(), upTo(ids))
		require.NoError(t, err)
		assert.Len(t, found, ids)
		assert.LessOrEqual(t, len(s.sizes()), 3, "one run for the other call, and one for those that were first to get their leases")
		synctest.Wait()
		assert.True(t, w.Func.Places().Idle())
		assert.Empty(t, b.locks())
	})
}

// Elements wait for another process, and meanwhile Redis goes away, and another call has the place.
func TestBatchElementsThatHaveWaitedComputeWithoutRedisOnlyWithAPlace(t *testing.T) {
	for name, c := range map[string]struct {
		runs  time.Duration // how long the other call has the place
		after time.Duration
	}{
		"in time":         {4 * time.Second, 4 * time.Second},
		"after the limit": {20 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				w := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, WaitTimeout: 5 * time.Second, MaxConcurrent: 1, ComputeTimeout: time.Minute})
				b.heldElsewhere(w, time.Minute, 1, 2)
				answered := make(chan error, 1)
				began := time.Now()
				go func() {
					found, err := w.get(t.Context(), []int{1, 2})
					if err == nil {
						assert.Len(t, found, 2)
					}
					answered <- err
				}()
				synctest.Wait()
				s.set(func(s *batchSource) {
					s.do = func(_ context.Context, ids []int) error {
						if ids[0] == 3 {
							time.Sleep(c.runs) // virtual: the run takes that long
						}
						return nil
					}
				})
				go func() { _, _ = w.get(t.Context(), []int{3}) }() // has the place
				synctest.Wait()
				b.tap.set(func(tap *tap) { tap.broken = errGone })
				err := <-answered
				assert.Equal(t, c.after, time.Since(began).Round(100*time.Millisecond))
				if c.runs < 5*time.Second {
					require.NoError(t, err)
				} else {
					var refused *ColdCacheError
					require.ErrorAs(t, err, &refused)
					slices.SortFunc(refused.IDs, func(x, y any) int { return x.(int) - y.(int) })
					assert.Equal(t, []any{1, 2}, refused.IDs)
				}
				time.Sleep(30 * time.Second) // the run ends
				synctest.Wait()
				assert.True(t, w.Func.Places().Idle())
				assert.Zero(t, w.Func.Places().Waiting())
			})
		})
	}
}

// A function that ignores the end of its context keeps its place, and the next run of the call takes
// another one.
func TestBatchRunThatIsNotWaitedForKeepsItsPlace(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var running, most atomic.Int64
		s := &batchSource{do: func(_ context.Context, ids []int) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if ids[0] == 1 {
				time.Sleep(10 * time.Second) // ignores its context
			}
			return nil
		}}
		w := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, WaitTimeout: time.Minute, MaxConcurrent: 1, ComputeTimeout: 2 * time.Second})
		b.heldElsewhere(w, time.Second, 2)
		_, err := w.get(t.Context(), []int{1, 2})
		require.ErrorIs(t, err, ErrComputeTimeout)
		assert.EqualValues(t, 1, most.Load())
		time.Sleep(30 * time.Second) // the functions return
		synctest.Wait()
		assert.True(t, w.Func.Places().Idle())
		assert.Empty(t, b.locks())
	})
}
