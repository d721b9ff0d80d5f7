package telling

import (
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/oncelog"
)

func newTeller(t *testing.T) (teller *Teller, log *logtest.Handler, all *sync.WaitGroup) {
	t.Helper()
	all = new(sync.WaitGroup)
	log = new(logtest.Handler)
	out := oncelog.New(slog.New(log), all.Go)
	log.KeepUpWith(out)
	return New(out, all.Go), log, all
}

func TestOrderedCallsKeepTheirOrderPastPanicsAndEndsOfGoroutines(t *testing.T) {
	teller, log, all := newTeller(t)
	var told []int
	for i := range 100 {
		teller.InOrder("BreakerChanged", func() {
			told = append(told, i)
			switch i % 3 {
			case 1:
				panic("a secret")
			case 2:
				runtime.Goexit()
			}
		})
	}
	all.Wait()
	for i, n := range told {
		assert.Equal(t, i, n)
	}
	assert.Len(t, told, 100)
	assert.Len(t, log.About("Config.Observer panicked"), 1)
	assert.Empty(t, log.About("secret"))
}

func TestCallsPastTheBoundAreDropped(t *testing.T) {
	teller, log, all := newTeller(t)
	stuck := make(chan struct{})
	var mu sync.Mutex
	told := map[string]int{}
	call := func(how string) func() {
		return func() {
			<-stuck
			mu.Lock()
			defer mu.Unlock()
			told[how]++
		}
	}
	for range 3 * Most {
		teller.Apart("RedisAnswered", call("apart"))
		teller.InOrder("BreakerChanged", call("in order"))
	}
	assert.Len(t, log.About("events are dropped"), 1)
	close(stuck)
	all.Wait()
	assert.Equal(t, Most, told["apart"])
	assert.InDelta(t, Most, told["in order"], 1, "the one under way does not count")
	teller.Apart("RedisAnswered", call("apart"))
	all.Wait()
	assert.Equal(t, Most+1, told["apart"])
}
