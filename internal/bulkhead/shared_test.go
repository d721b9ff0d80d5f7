package bulkhead

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsersShareOnePlace(t *testing.T) {
	places := New(2)
	s := places.Share()
	require.True(t, s.Try())
	require.NoError(t, s.Take(t.Context()))
	s.Join()
	require.True(t, places.Try(), "they have one")
	require.False(t, places.Try())
	other := places.Share()
	require.False(t, other.Try())
	for range 3 {
		require.False(t, places.Try())
		s.Give()
	}
	require.True(t, other.Try(), "the last user gives it back")
	other.Give()
	places.Give()
	require.True(t, places.Idle())
}

func TestUsersThatWaitGetThePlaceTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := New(1)
		require.True(t, places.Try())
		s := places.Share()
		var got, gone, later atomic.Int64
		cancelled, cancel := context.WithCancel(t.Context())
		for range 50 {
			go func() {
				require.NoError(t, s.Take(t.Context()))
				got.Add(1)
			}()
			go func() {
				require.ErrorIs(t, s.Take(cancelled), context.Canceled)
				gone.Add(1)
			}()
		}
		synctest.Wait()
		go func() { // another caller, which comes after them
			require.NoError(t, places.Take(t.Context()))
			later.Add(1)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 50, gone.Load())
		places.Give()
		synctest.Wait()
		require.EqualValues(t, 50, got.Load())
		require.Zero(t, later.Load())
		require.Equal(t, 1, places.Waiting(), "only the other caller waits")
		for range 50 {
			s.Give()
		}
		synctest.Wait()
		require.EqualValues(t, 1, later.Load())
		places.Give()
		require.True(t, places.Idle())
	})
}

func TestADetachedRunKeepsThePlace(t *testing.T) {
	for name, late := range map[string]bool{"it is detached before its end": false, "after its end": true} {
		t.Run(name, func(t *testing.T) {
			places := New(2)
			s := places.Share()
			for range 3 {
				require.True(t, s.Try())
			}
			end, detach := s.Lend(2)
			if late {
				end()
				detach()
				s.Give()
				require.True(t, places.Idle())
				return
			}
			detach()
			require.True(t, s.Try(), "another place, for the user that remains and this one")
			require.False(t, places.Try())
			end()
			require.True(t, places.Try())
			require.False(t, places.Try())
			s.Give()
			s.Give()
			places.Give()
			require.True(t, places.Idle())
		})
	}
}

func TestANilSharedHasRoomForEverybody(t *testing.T) {
	s := New(0).Share()
	require.Nil(t, s)
	require.True(t, s.Try())
	require.NoError(t, s.Take(t.Context()))
	s.Join()
	s.Give()
	end, detach := s.Lend(1)
	detach()
	end()
}

// Users come, wait, leave and run at random.
func TestSharedPlacesAreNeitherLostNorTakenTwice(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			most := 1 + rand.IntN(3)
			places := New(most)
			var running atomic.Int64
			var wg sync.WaitGroup
			for range 1 + rand.IntN(5) {
				s := places.Share()
				turn := make(chan struct{}, 1) // full while a run is under way that is not detached
				for range rand.IntN(20) {
					wg.Go(func() {
						// So that the callers do not come at the same moment.
						time.Sleep(rand.N(100 * time.Millisecond))
						ctx, cancel := context.WithTimeout(t.Context(), rand.N(100*time.Millisecond))
						defer cancel()
						if s.Take(ctx) != nil {
							return
						}
						if rand.IntN(3) == 0 { // it does not run
							time.Sleep(rand.N(10 * time.Millisecond)) // it asks for a lease
							s.Give()
							return
						}
						turn <- struct{}{}
						if s.Take(ctx) != nil { // a run before has kept the place
							<-turn
							s.Give()
							return
						}
						s.Give()
						end, detach := s.Lend(1)
						require.LessOrEqual(t, running.Add(1), int64(most))
						time.Sleep(rand.N(10 * time.Millisecond)) // the run
						detached := rand.IntN(3) == 0
						if detached {
							detach()
							<-turn
							time.Sleep(rand.N(30 * time.Millisecond)) // it goes on
						}
						running.Add(-1)
						end()
						if !detached {
							<-turn
						}
					})
				}
			}
			wg.Wait()
			require.True(t, places.Idle())
			require.Zero(t, places.Waiting())
		})
	}
}
