package fncache

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logInterval is how long a message about one thing is not repeated.
const logInterval = time.Minute

// A logger tells a person on call what they want to know, once and not per
// request. What it is given never holds an argument, a result or a secret.
type logger struct {
	to *slog.Logger // nil: slog.Default()

	mu   sync.Mutex // guards the field below
	last map[string]*logged
}

// logged is what became of the messages about one thing.
type logged struct {
	at      time.Time // of the last one written
	skipped int       // since then
}

// once writes a message unless one about the same thing was written within
// logInterval; the next one says how many were left out. A subject is a kind of
// event with its function or operation, so their number is bounded.
func (l *logger) once(subject string, level slog.Level, msg string, args ...any) {
	l.mu.Lock()
	if l.last == nil {
		l.last = make(map[string]*logged)
	}
	now := time.Now()
	entry := l.last[subject]
	if entry != nil && now.Sub(entry.at) < logInterval {
		entry.skipped++
		l.mu.Unlock()
		return
	}
	if entry == nil {
		entry = &logged{}
		l.last[subject] = entry
	}
	if entry.skipped > 0 {
		args = append(args, "repeated", entry.skipped)
	}
	*entry = logged{at: now}
	l.mu.Unlock()
	l.write(level, msg, args...)
}

func (l *logger) write(level slog.Level, msg string, args ...any) {
	to := l.to
	if to == nil {
		to = slog.Default()
	}
	to.Log(context.Background(), level, "fncache: "+msg, args...)
}
