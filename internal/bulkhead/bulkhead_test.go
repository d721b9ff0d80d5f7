package bulkhead

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNoMoreRunAtOnceThanThereArePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(3)
		var running, most, done atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				require.NoError(t, b.Take(t.Context()))
				defer b.Give()
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Second)
				running.Add(-1)
				done.Add(1)
			})
		}
		began := time.Now()
		wg.Wait()
		require.EqualValues(t, 3, most.Load())
		require.EqualValues(t, 100, done.Load())
		require.Equal(t, 34*time.Second, time.Since(began), "no place stands empty")
	})
}

func TestPlacesAreGivenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1)
		require.True(t, b.Try())
		var order []int
		for i := range 5 {
			go func() {
				require.NoError(t, b.Take(context.Background()))
				order = append(order, i)
				b.Give()
			}()
			synctest.Wait()
		}
		require.False(t, b.Try())
		b.Give()
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
		require.True(t, b.Try())
	})
}

func TestWhoGivesUpLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1)
		require.True(t, b.Try())
		ctx, end := context.WithCancel(t.Context())
		var gone atomic.Int64
		for range 20_000 {
			go func() {
				require.ErrorIs(t, b.Take(ctx), context.Canceled)
				gone.Add(1)
			}()
		}
		synctest.Wait()
		require.Equal(t, 20_000, b.Waiting())
		end()
		synctest.Wait()
		require.EqualValues(t, 20_000, gone.Load())
		require.Zero(t, b.Waiting())
		b.Give()
		require.True(t, b.Try())
		require.False(t, b.Try())
	})
}

func TestNilHasRoomForEverybody(t *testing.T) {
	b := New(0)
	require.Nil(t, b)
	require.True(t, b.Try())
	require.NoError(t, b.Take(t.Context()))
	b.Give()
	require.Zero(t, b.Waiting())
	ended, end := context.WithCancel(t.Context())
	end()
	require.ErrorIs(t, b.Take(ended), context.Canceled)
}

// However callers come, give up and leave, no place is lost and none is given twice.
func TestPlacesAreKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		places := rapid.IntRange(1, 4).Draw(rt, "places")
		patience := rapid.SliceOfN(rapid.IntRange(0, 30), 1, 40).Draw(rt, "patience")
		work := rapid.SliceOfN(rapid.IntRange(0, 20), len(patience), len(patience)).Draw(rt, "work")
		synctest.Test(t, func(t *testing.T) {
			b := New(places)
			var running atomic.Int64
			var wg sync.WaitGroup
			for i := range patience {
				wg.Go(func() {
					time.Sleep(time.Duration(i%7) * time.Millisecond)
					ctx, end := context.WithTimeout(t.Context(), time.Duration(patience[i])*time.Millisecond)
					defer end()
					if b.Take(ctx) != nil {
						return
					}
					defer b.Give()
					if n := running.Add(1); n > int64(places) {
						t.Errorf("%d run in %d places", n, places)
					}
					time.Sleep(time.Duration(work[i]) * time.Millisecond)
					running.Add(-1)
				})
			}
			wg.Wait()
			for range places {
				if !b.Try() {
					t.Error("a place is lost")
				}
			}
			if b.Try() || b.Waiting() != 0 {
				t.Error("a place too many, or somebody waits")
			}
		})
	})
}

func TestResizeTakesNobodysPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(3)
		for range 3 {
			require.True(t, b.Try())
		}
		require.False(t, b.Idle())
		b.Resize(1)
		b.Give()
		b.Give()
		require.False(t, b.Try(), "the one place is taken")
		var got atomic.Int64
		for range 4 {
			go func() { require.NoError(t, b.Take(t.Context())); got.Add(1) }()
		}
		synctest.Wait()
		require.Zero(t, got.Load())
		b.Resize(4)
		synctest.Wait()
		require.EqualValues(t, 3, got.Load(), "those who wait have the new places")
		b.Give()
		synctest.Wait()
		require.EqualValues(t, 4, got.Load())
		for range 4 {
			b.Give()
		}
		require.True(t, b.Idle())
		require.True(t, (*Bulkhead)(nil).Idle())
	})
}
