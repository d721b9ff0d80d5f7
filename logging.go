package fncache

import (
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"time"
)

// logInterval is how long a message about one thing is not repeated.
const logInterval = time.Minute

// A logger tells a person on call what they want to know, once and not per
// request. What it is given never holds an argument, a result or a secret. Whoever
// tells something does not wait for it to be written: see recordQueue.
type logger struct {
	to  *slog.Logger // nil: slog.Default()
	out recordQueue

	mu    sync.Mutex // guards the fields below
	last  map[string]*logged
	sweep int // the number of subjects at which those of long ago are forgotten
}

// logged is what became of the messages about one thing.
type logged struct {
	at      time.Time // of the last one told
	skipped int       // since then
}

// once tells a message unless one about the same thing was told within
// logInterval; the next one says how many were left out. A subject is a kind of
// event with its function or operation; those of more than logInterval ago are
// forgotten where there are many.
func (l *logger) once(subject string, level slog.Level, msg string, args ...any) (told bool) {
	now := time.Now()
	skipped, due := l.due(subject, now)
	if !due {
		return false
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:]) // who tells
	r := slog.NewRecord(now, level, "fncache: "+msg, pc[0])
	for i, arg := range args {
		if err, ok := arg.(error); ok { // what its text is made of may change until it is written
			args[i] = fmt.Sprint(err) // even of one whose method panics
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

// forget has the next message about a subject told, however soon it comes.
func (l *logger) forget(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, subject)
}

// due says whether a message is to be told, and how many about the same thing were
// left out since the last one. Who is told yes tells it.
func (l *logger) due(subject string, now time.Time) (skipped int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]*logged)
	}
	last := l.last[subject]
	if last == nil && len(l.last) >= max(l.sweep, leastSweep) {
		maps.DeleteFunc(l.last, func(_ string, last *logged) bool { return now.Sub(last.at) >= logInterval })
		l.sweep = 2 * len(l.last)
	}
	switch {
	case last == nil:
	case now.Sub(last.at) < logInterval:
		last.skipped++
		return 0, false
	default:
		skipped = last.skipped
	}
	l.last[subject] = &logged{at: now}
	return skipped, true
}
