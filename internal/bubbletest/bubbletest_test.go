package bubbletest

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// countTimers returns a counter of the timers that are made for the pool from now on.
func countTimers(t *testing.T) (made *int) {
	made = new(int)
	before := semTimers.New
	t.Cleanup(func() { semTimers.New = before })
	semTimers.New = func() any {
		*made++
		return before()
	}
	return made
}

// A timer of the other side would end the process or hang, so none is used.
func TestNoTimerCrossesTheWallOfABubbleInThePool(t *testing.T) {
	emptyPool() // other tests may have filled it
	made := countTimers(t)
	use := func(*testing.T) { semTimers.Put(semTimers.Get()) }
	for range 3 {
		use(t)
		Run(t, use)
	}
	if *made != 6 {
		t.Errorf("%d timers were made for 6 uses on alternating sides", *made)
	}
}

func TestACommandThatWaitsForAConnectionTakesATimerFromThePool(t *testing.T) {
	emptyPool()
	made := countTimers(t)
	ours, theirs := net.Pipe() // on which no answer comes
	defer theirs.Close()       //nolint:errcheck // a pipe
	dialed := make(chan struct{})
	client := redis.NewClient(&redis.Options{
		PoolSize: 1, PoolTimeout: time.Millisecond, MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			close(dialed)
			return ours, nil
		},
	})
	defer client.Close() //nolint:errcheck // its only connection is a pipe
	go client.Ping(t.Context())
	<-dialed
	if err := client.Ping(t.Context()).Err(); !errors.Is(err, redis.ErrPoolTimeout) {
		t.Errorf("the error is %v; want %v", err, redis.ErrPoolTimeout)
	}
	if *made != 1 {
		t.Errorf("%d timers were made for a command that waits; want 1", *made)
	}
}

func TestABubbleThatTakesNoTimerFromThePoolCostsNoCollection(t *testing.T) {
	emptyPool()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		Run(t, func(*testing.T) {})
	}
	runtime.ReadMemStats(&after)
	if n := after.NumForcedGC - before.NumForcedGC; n != 0 {
		t.Errorf("%d collections for 10 bubbles", n)
	}
}
