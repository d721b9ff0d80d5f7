// Package telling calls the methods of an observer, which are code of the user: they may panic,
// end their goroutine, take long, or never return.
package telling

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/fncache/fncache/internal/oncelog"
)

// Most bounds the calls that wait for slow methods. Further ones are dropped, because a method
// that never returns must not fill the memory.
const Most = 1024

// A Teller calls methods. All of its methods are safe for concurrent use.
type Teller struct {
	log   *oncelog.Logger
	spawn func(func())
	apart atomic.Int64 // calls on goroutines of their own

	mu      sync.Mutex // guards the fields below
	ordered []func()   // calls that come one after the other
	running bool       // a goroutine makes them
}

// New returns a Teller that starts goroutines with spawn.
func New(log *oncelog.Logger, spawn func(func())) *Teller { return &Teller{log: log, spawn: spawn} }

// Here calls a method on this goroutine.
func (t *Teller) Here(method string, call func()) {
	normal := false
	defer func() {
		if normal {
			return
		}
		if value := recover(); value != nil {
			// The value may quote what must not be in a log.
			t.log.Once("observer panic "+method, slog.LevelError, "Config.Observer panicked: the event is lost; fix its method",
				"method", method, "panic", fmt.Sprintf("%T", value))
		}
	}()
	call()
	normal = true
}

// Apart calls a method on a goroutine of its own.
func (t *Teller) Apart(method string, call func()) {
	if t.isFull(t.apart.Add(1), method) {
		t.apart.Add(-1)
		return
	}
	t.spawn(func() {
		defer t.apart.Add(-1)
		t.Here(method, call)
	})
}

// InOrder calls a method after those of earlier calls of InOrder. It does not block.
func (t *Teller) InOrder(method string, call func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isFull(int64(len(t.ordered)+1), method) {
		return
	}
	t.ordered = append(t.ordered, func() { t.Here(method, call) })
	if !t.running {
		t.running = true
		t.spawn(t.work)
	}
}

// work makes the ordered calls. If a method ends the goroutine, another one goes on.
func (t *Teller) work() {
	ended := false
	defer func() {
		if !ended {
			t.spawn(t.work)
		}
	}()
	for call := t.next(); call != nil; call = t.next() {
		call()
	}
	ended = true
}

// next takes the next ordered call; nil if there is none.
func (t *Teller) next() (call func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running = len(t.ordered) > 0; !t.running {
		t.ordered = nil
		return nil
	}
	call, t.ordered = t.ordered[0], t.ordered[1:]
	return call
}

func (t *Teller) isFull(calls int64, method string) bool {
	if calls <= Most {
		return false
	}
	t.log.Once("observer slow", slog.LevelWarn, "Config.Observer is slow: events are dropped; let its methods return sooner", "method", method)
	return true
}
