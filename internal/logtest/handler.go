// Package logtest has a handler of logs for tests.
package logtest

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A Handler is a slog.Handler whose behaviour a test sets, and which keeps its records. It is
// safe for concurrent use, except for the writing of its fields.
type Handler struct {
	EnabledFunc func(slog.Level) bool // nil: yes
	HandleFunc  func(slog.Record)     // nil: nothing

	mu      sync.Mutex // guards the fields below
	records []slog.Record
	queues  []Queue
}

// A Queue holds records on their way to a Handler.
type Queue interface {
	Quiet() bool // reports whether none is on its way
}

// KeepUpWith has About wait until q is quiet. That takes no time, as in a synctest bubble
// none must pass.
func (h *Handler) KeepUpWith(q Queue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queues = append(h.queues, q)
}

// WithAttrs returns h. Nothing in this repository uses attributes of a logger.
func (h *Handler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup returns h. Nothing in this repository uses groups.
func (h *Handler) WithGroup(string) slog.Handler { return h }

// Enabled returns the result of EnabledFunc.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.EnabledFunc == nil || h.EnabledFunc(level)
}

// Handle calls HandleFunc, and keeps the record when that returns.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	if h.HandleFunc != nil {
		h.HandleFunc(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
	return nil
}

// Records returns the records so far.
func (h *Handler) Records() []slog.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

// Lines returns the records so far as lines: level, message and attributes.
func (h *Handler) Lines() (all []string) {
	for _, r := range h.Records() {
		all = append(all, r.Level.String()+" "+Line(r, nil))
	}
	return all
}

// About returns the lines that contain part, of all records that were logged before the call.
func (h *Handler) About(part string) (found []string) {
	h.mu.Lock()
	queues := slices.Clone(h.queues)
	h.mu.Unlock()
	for _, q := range queues {
		for !q.Quiet() {
			runtime.Gosched()
		}
	}
	for _, line := range h.Lines() {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

// String returns the lines, one below the other.
func (h *Handler) String() string { return strings.Join(h.Lines(), "\n") }

// Line returns the message of a record and those of its attributes that are wanted; nil: all.
func Line(r slog.Record, wanted func(key string) bool) string {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if wanted == nil || wanted(a.Key) {
			line += " " + a.String()
		}
		return true
	})
	return line
}

// Messages returns the messages of the records so far.
func (h *Handler) Messages() (all []string) {
	for _, r := range h.Records() {
		all = append(all, r.Message)
	}
	return all
}

// Attr returns an attribute of a record, or nil.
func Attr(r slog.Record, key string) (value any) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value.Any()
		}
		return value == nil
	})
	return value
}

// Stuck returns two handlers that take no record until release is called: one stays in
// Handle, the other in Enabled. The keys are the names of these methods.
func Stuck() (handlers map[string]*Handler, release func()) {
	gate := make(chan struct{})
	return map[string]*Handler{
		"Handle":  {HandleFunc: func(slog.Record) { <-gate }},
		"Enabled": {EnabledFunc: func(slog.Level) bool { <-gate; return true }},
	}, sync.OnceFunc(func() { close(gate) })
}
