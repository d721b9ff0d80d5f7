package fncache

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// mostQueued is how many records wait for a handler that takes its time: one of
// each kind for dozens of functions.
const mostQueued = 256

// A recordQueue holds the records of a log until the handler has taken them. It may
// write to a pipe that nobody reads, and whoever tells something must not wait for
// that: a call would last longer than it may, and a lease go unrenewed meanwhile.
//
// The queue is quiet (no goroutine, no record) or writing (one goroutine, the writer,
// gives the handler one record after the other, oldest first, until none is left).
//
//   - Who tells something holds mu for a moment, and may hold other locks. It runs no
//     code of the handler, not even to ask whether it is enabled.
//   - The writer holds no lock while the handler runs. So the handler may call cached
//     functions, and they may tell something: it is queued behind the others.
//   - A record that finds the queue full is dropped. The next one to be written says how
//     many were.
//   - A handler that panics or ends its goroutine loses the record that it was
//     given, which counts as dropped. Another writer goes on.
//   - A handler that does not return keeps the writer. Close waits for the writer as for
//     every goroutine of the cache, and leaves it in the end. If the handler ever
//     returns, the queue is written.
//   - The queue knows nothing of Close: what was told before it is written when it
//     returns, if the handler lets it, for the writer is waited for. What is told
//     later is written too, and nobody waits for that.
type recordQueue struct {
	spawn func(func())

	mu      sync.Mutex // guards the fields below
	records []queued   // oldest first, at most mostQueued
	writing bool
	dropped int // records, of which none has told yet
}

// queued is a record with the handler that was to get it when it was made.
type queued struct {
	to slog.Handler
	slog.Record
}

func (q *recordQueue) put(r queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) == mostQueued {
		q.dropped++
		return
	}
	q.records = append(q.records, r)
	if !q.writing {
		q.writing = true
		q.spawn(q.write)
	}
}

// write is the writer.
func (q *recordQueue) write() {
	quiet := false
	defer func() {
		if !quiet { // the handler panics, or ends this goroutine
			_ = recover()
			q.drop(1)
			q.spawn(q.write)
		}
	}()
	for {
		r, dropped, ok := q.take()
		if !ok {
			quiet = true
			return
		}
		if !r.to.Enabled(context.Background(), r.Level) {
			continue
		}
		if dropped > 0 {
			r.Add("dropped", dropped)
		}
		_ = r.to.Handle(context.Background(), r.Record) // a slog.Logger does not ask either
		q.drop(-dropped)
	}
}

// take gives the oldest record and how many were dropped so far, or says that the
// queue is quiet from now on.
func (q *recordQueue) take() (r queued, dropped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) == 0 {
		q.records, q.writing = nil, false
		return queued{}, 0, false
	}
	r = q.records[0]
	q.records = slices.Delete(q.records, 0, 1)
	return r, q.dropped, true
}

func (q *recordQueue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += n
}
