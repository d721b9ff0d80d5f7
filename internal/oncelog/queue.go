package oncelog

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// maxQueued is how many records wait for a slow handler: one of each kind for dozens of
// functions.
const maxQueued = 256

// A queue holds the records of a log until the handler has taken them. The handler may
// write to a pipe that no process reads. A caller that waited for it would exceed its time
// limit, and would let a lease go unrenewed.
//
// The queue is quiet (no goroutine, no record) or writing (one goroutine, the writer,
// gives the handler one record after the other, oldest first, until none is left).
//
//   - A caller of put holds mu for a moment, and may hold other locks. It runs no code of
//     the handler, not even Enabled.
//   - The writer holds no lock while the handler runs. So the handler may call cached
//     functions, and what these log is queued after the other records.
//   - A record that finds the queue full is dropped. The next record to be written says
//     how many were dropped.
//   - A handler that panics or ends its goroutine loses the record that it was given,
//     which counts as dropped. Another writer continues.
//   - A handler that does not return keeps the writer. Close of the cache waits for the
//     writer as for every goroutine of the cache, and gives up in the end. If the handler
//     returns later, the rest of the queue is written.
//   - The queue does not know of Close: records from before it are written when it returns,
//     if the handler allows it, because Close waits for the writer. Later records are
//     written too, and no goroutine waits for them.
type queue struct {
	spawn func(func())

	mu      sync.Mutex // guards the fields below
	records []queued   // oldest first, at most maxQueued
	writing bool
	dropped int // records that no written record has reported yet
}

// A queued is a record with the handler that was the log's when it was made.
type queued struct {
	to slog.Handler
	slog.Record
}

func (q *queue) put(r queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) == maxQueued {
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
func (q *queue) write() {
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
		_ = r.to.Handle(context.Background(), r.Record) // slog.Logger ignores the error too
		q.drop(-dropped)
	}
}

// take returns the oldest record and the number of dropped ones. ok is false if there is
// no record; the queue is quiet from then on.
func (q *queue) take() (r queued, dropped int, ok bool) {
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

func (q *queue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += n
}
