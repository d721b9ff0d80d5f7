// Package oncelog logs for a person on call: once a minute per subject and not per request, and
// without waiting for the handler of the log.
package oncelog

import (
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"time"
)

const (
	// interval is how long a message about one subject is not repeated.
	interval = time.Minute
	// leastSweep is the number of subjects below which old ones are not searched.
	leastSweep = 256
)

// A Logger writes the first message about each subject, and then at most one a minute.
// Callers pass it no argument, no result and no secret of a function. No method waits for
// a record to be written: see queue. All methods are safe for concurrent use.
type Logger struct {
	to  *slog.Logger // nil: slog.Default()
	out queue

	mu    sync.Mutex // guards the fields below
	last  map[string]*message
	sweep int // the number of subjects at which old ones are forgotten
}

// A message is the state of the messages about one subject.
type message struct {
	at      time.Time // when the last one was written
	skipped int       // messages since then
}

// New returns a Logger that writes to a logger; nil means slog.Default as it is at each
// message. spawn starts the goroutine that writes.
func New(to *slog.Logger, spawn func(func())) *Logger {
	return &Logger{to: to, out: queue{spawn: spawn}}
}

// Once writes a message, unless one about the same subject was written within the last
// minute, and reports whether it does. The next message about the subject then says how
// many were left out ("repeated"). A subject is a kind of event together with its function
// or operation.
func (l *Logger) Once(subject string, level slog.Level, msg string, args ...any) (written bool) {
	now := time.Now()
	skipped, due := l.due(subject, now)
	if !due {
		return false
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:]) // the caller of Once
	r := slog.NewRecord(now, level, "fncache: "+msg, pc[0])
	for i, arg := range args {
		if err, ok := arg.(error); ok { // its text may change before the record is written
			args[i] = fmt.Sprint(err) // also of an error whose method panics
		}
	}
	r.Add(args...)
	if skipped > 0 {
		r.Add("repeated", skipped)
	}
	to := l.to
	if to == nil {
		to = slog.Default()
	}
	l.out.put(queued{to.Handler(), r})
	return true
}

// Forget lets the next message about a subject be written in any case.
func (l *Logger) Forget(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, subject)
}

// Quiet reports whether every message so far has been written or dropped. Tests wait
// for that.
func (l *Logger) Quiet() bool {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return !l.out.writing
}

// due reports whether a message is to be written, and how many about the same subject were
// left out since the last one. After a yes the caller writes the message.
func (l *Logger) due(subject string, now time.Time) (skipped int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]*message)
	}
	last := l.last[subject]
	if last == nil && len(l.last) >= max(l.sweep, leastSweep) {
		maps.DeleteFunc(l.last, func(_ string, last *message) bool { return now.Sub(last.at) >= interval })
		l.sweep = 2 * len(l.last)
	}
	switch {
	case last == nil:
	case now.Sub(last.at) < interval:
		last.skipped++
		return 0, false
	default:
		skipped = last.skipped
	}
	l.last[subject] = &message{at: now}
	return skipped, true
}
