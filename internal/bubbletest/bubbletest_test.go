package bubbletest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/fncache/fncache/internal/bubbletest"
)

// Each of the two sides would end the process if it got a timer of the other.
func TestNoTimerCrossesTheWallOfABubbleInAPool(t *testing.T) {
	made := 0
	timers := sync.Pool{New: func() any {
		made++
		return time.NewTimer(time.Hour)
	}}
	use := func() {
		timer := timers.Get().(*time.Timer)
		timer.Reset(time.Nanosecond)
		<-timer.C
		timers.Put(timer)
	}
	for range 3 {
		use()
		bubbletest.Run(t, func(*testing.T) { use() })
	}
	if made != 6 {
		t.Errorf("%d timers were made for 6 uses on alternating sides", made)
	}
}
