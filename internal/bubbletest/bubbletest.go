// Package bubbletest runs tests in bubbles of testing/synctest that leave nothing to the tests
// after them.
package bubbletest

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname
	"weak"

	_ "github.com/redis/go-redis/v9" // has semTimers
)

// Run is [synctest.Test]. It empties the pool of timers of go-redis before and after the bubble.
//
// A caller of go-redis that waits for a connection takes its timer from a pool that all
// clients share. A timer that was made in a bubble ends the process when code
// outside of the bubble uses it, and a timer from outside runs on real time in the bubble.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	emptyPool()
	defer emptyPool()
	synctest.Test(t, f)
}

// semTimers is the pool. Nothing else that go-redis exports reaches it.
//
//go:linkname semTimers github.com/redis/go-redis/v9/internal.semTimers
var semTimers sync.Pool

// timers are those that were made for the pool. As long as one of them is alive, the pool may
// hold it.
var timers struct {
	mu   sync.Mutex // guards the field below
	made []weak.Pointer[time.Timer]
}

func init() {
	newTimer := semTimers.New
	if newTimer == nil {
		panic("bubbletest: go-redis keeps its timers in another pool than internal.semTimers; name that one here")
	}
	semTimers.New = func() any {
		timer := newTimer().(*time.Timer)
		timers.mu.Lock()
		defer timers.mu.Unlock()
		timers.made = append(timers.made, weak.Make(timer))
		return timer
	}
}

// emptyPool collects garbage twice if the pool may hold a timer: a pool keeps what it holds until
// the second time. Most bubbles take no timer from the pool, and cost less than two collections.
func emptyPool() {
	if anyAlive() {
		runtime.GC()
		runtime.GC()
	}
}

// anyAlive forgets the timers that were collected, and reports whether there are others.
func anyAlive() bool {
	timers.mu.Lock()
	defer timers.mu.Unlock()
	timers.made = slices.DeleteFunc(timers.made, func(p weak.Pointer[time.Timer]) bool { return p.Value() == nil })
	return len(timers.made) > 0
}
