// Package bubbletest runs tests in bubbles of testing/synctest that leave nothing to the tests
// after them.
package bubbletest

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Run is [synctest.Test]. It empties every [sync.Pool] of the process before and after the bubble.
//
// A caller of go-redis that waits for a connection takes its timer from a pool that all
// clients share. A timer that was made in a bubble ends the process when somebody
// outside of the bubble uses it, and a timer from outside runs on real time in the bubble.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, f)
}

// emptyPools collects garbage twice: a pool keeps what it holds until the second time.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}
