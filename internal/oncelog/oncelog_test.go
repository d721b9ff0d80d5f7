package oncelog

import (
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
)

// start returns a Logger, and the number of its goroutines that run.
func start(to *slog.Logger) (l *Logger, running *atomic.Int64) {
	running = new(atomic.Int64)
	return New(to, func(f func()) {
		running.Add(1)
		go func() {
			defer running.Add(-1)
			f()
		}()
	}), running
}

func TestRecordsAreWrittenInTheirOrderAndCarryTheTimeOfTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handlers, release := logtest.Stuck()
		defer release()
		h := handlers["Handle"]
		l, _ := start(slog.New(h))
		var times []time.Time
		for i := range 10 {
			times = append(times, time.Now())
			l.Once(fmt.Sprint(i), slog.LevelWarn+slog.Level(i), fmt.Sprint(i), "i", i)
			time.Sleep(time.Second) // in virtual time
		}
		release()
		synctest.Wait()
		require.Len(t, h.Records(), 10)
		for i, r := range h.Records() {
			assert.True(t, times[i].Equal(r.Time), "record %d: %v", i, r.Time)
			assert.Equal(t, slog.LevelWarn+slog.Level(i), r.Level)
			assert.Equal(t, fmt.Sprintf("fncache: %d", i), r.Message)
			assert.EqualValues(t, i, logtest.Attr(r, "i"))
			assert.Equal(t, "oncelog_test.go", filepath.Base(r.Source().File), "of its caller")
		}
	})
}

func TestAMessageIsRepeatedAfterAMinuteAndSaysHowManyWereLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &logtest.Handler{}
		l, _ := start(slog.New(h))
		for range 2 {
			for range 5 {
				l.Once("s", slog.LevelWarn, "m")
			}
			time.Sleep(interval) // in virtual time
		}
		l.Once("s", slog.LevelWarn, "m")
		synctest.Wait()
		var repeated []any
		for _, r := range h.Records() {
			repeated = append(repeated, logtest.Attr(r, "repeated"))
		}
		assert.Equal(t, []any{nil, int64(4), int64(4)}, repeated)
	})
}

func TestAFullQueueDropsAndTheNextRecordWrittenSaysHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		h := &logtest.Handler{HandleFunc: func(slog.Record) { <-gate }}
		l, _ := start(slog.New(h))
		const dropped = 7
		tell := func(i int) { l.Once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i)) }
		tell(0)
		synctest.Wait() // the handler has it
		for i := range maxQueued + dropped {
			tell(1 + i)
		}
		gate <- struct{}{}
		synctest.Wait() // it has the next one, and there is room again
		tell(-1)
		close(gate)
		synctest.Wait()
		require.Len(t, h.Records(), 1+maxQueued+1, "the oldest are kept")
		for i, r := range h.Records()[:1+maxQueued] {
			assert.Equal(t, fmt.Sprintf("fncache: %d", i), r.Message)
			var want any
			if i == 1 {
				want = int64(dropped)
			}
			assert.Equal(t, want, logtest.Attr(r, "dropped"), "record %d", i)
		}
		assert.Equal(t, "fncache: -1", h.Messages()[1+maxQueued])
		assert.Nil(t, l.out.records, "the memory is given back")
	})
}

func TestAHandlerThatDoesNotTakeARecordLosesThatOneOnly(t *testing.T) {
	for how, fail := range map[string]func(){
		"panics":              func() { panic("no") },
		"ends its goroutine":  runtime.Goexit,
		"has a nil somewhere": func() { var h *logtest.Handler; h.Records() },
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &logtest.Handler{}
				h.HandleFunc = func(r slog.Record) {
					if logtest.Attr(r, "bad") != nil {
						fail()
					}
				}
				l, running := start(slog.New(h))
				for i, bad := range []bool{false, true, true, false, true} {
					args := []any{"bad", true}
					if !bad {
						args = nil
					}
					l.Once(fmt.Sprint(i), slog.LevelWarn, fmt.Sprint(i), args...)
				}
				synctest.Wait()
				l.Once("next", slog.LevelWarn, "next")
				synctest.Wait()
				require.Equal(t, []string{"fncache: 0", "fncache: 3", "fncache: next"}, h.Messages())
				for i, want := range []any{nil, int64(2), int64(1)} {
					assert.Equal(t, want, logtest.Attr(h.Records()[i], "dropped"), "record %d", i)
				}
				assert.Zero(t, running.Load())
			})
		})
	}
}

func TestOnlyWhatTheHandlerIsEnabledForIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &logtest.Handler{EnabledFunc: func(level slog.Level) bool { return level >= slog.LevelError }}
		l, _ := start(slog.New(h))
		l.Once("w", slog.LevelWarn, "warning")
		l.Once("e", slog.LevelError, "error")
		synctest.Wait()
		assert.Equal(t, []string{"fncache: error"}, h.Messages())
		assert.Nil(t, logtest.Attr(h.Records()[0], "dropped"), "what is not wanted is not missed")
	})
}

func TestTheDefaultLoggerIsLookedUpAtEachRecord(t *testing.T) {
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	defer func() {
		slog.SetDefault(before)
		log.SetOutput(writer) // which SetDefault has changed
		log.SetFlags(flags)
	}()
	synctest.Test(t, func(t *testing.T) {
		l, _ := start(nil)
		handlers, release := logtest.Stuck()
		defer release()
		first, second := handlers["Handle"], &logtest.Handler{}
		slog.SetDefault(slog.New(first))
		l.Once("1", slog.LevelWarn, "first")
		l.Once("2", slog.LevelWarn, "first too")
		synctest.Wait()
		slog.SetDefault(slog.New(second))
		l.Once("3", slog.LevelWarn, "second")
		release()
		synctest.Wait()
		assert.Equal(t, []string{"fncache: first", "fncache: first too"}, first.Messages(), "the default logger at the time of the message")
		assert.Equal(t, []string{"fncache: second"}, second.Messages())
	})
}

// moodyError is an error whose owner changes its text.
type moodyError struct{ text string }

func (e *moodyError) Error() string {
	if e.text == "" {
		panic("no text")
	}
	return e.text
}

func TestTheTextOfAnErrorIsReadBeforeOnceReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handlers, release := logtest.Stuck()
		defer release()
		h := handlers["Handle"]
		l, _ := start(slog.New(h))
		err := &moodyError{"then"}
		l.Once("1", slog.LevelWarn, "m", "err", fmt.Errorf("of the user: %w", err))
		err.text = "now" // the race detector checks that
		release()
		synctest.Wait()
		assert.Equal(t, "of the user: then", logtest.Attr(h.Records()[0], "err"))

		err.text = ""
		var none *moodyError
		l.Once("2", slog.LevelWarn, "m", "err", err)
		l.Once("3", slog.LevelWarn, "m", "err", none)
		synctest.Wait()
		require.Len(t, h.Records(), 3)
		assert.Contains(t, logtest.Attr(h.Records()[1], "err"), "PANIC")
		assert.Equal(t, "<nil>", logtest.Attr(h.Records()[2], "err"))
	})
}

func TestALoggerForgetsOldSubjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := start(slog.New(slog.DiscardHandler))
		for range 100 {
			for range leastSweep / 2 {
				assert.True(t, l.Once(rand.Text(), slog.LevelInfo, "m"))
			}
			assert.LessOrEqual(t, len(l.last), 2*leastSweep)
			time.Sleep(interval) // in virtual time
			synctest.Wait()
		}
		// Recent subjects are not repeated, however many there are.
		assert.True(t, l.Once("mine", slog.LevelInfo, "m"))
		for range 3 * leastSweep {
			l.Once(rand.Text(), slog.LevelInfo, "m")
		}
		assert.False(t, l.Once("mine", slog.LevelInfo, "m"))
		synctest.Wait()
	})
}
