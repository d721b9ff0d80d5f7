package fncache

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// This file sends lookups to Redis: the one thing that every call of a cold or
// warm key may need, and so the one that is made cheap. It knows neither Redis
// nor what a lookup is for.
//
// A lookup does not run on its caller's goroutine, for go-redis can be
// interrupted neither by a deadline nor by a cancellation while it reads from a
// socket. It runs on a reader: a goroutine that is kept, because go-redis goes
// deep, and growing the stack of a new goroutine for it takes a sixth of the
// time of a hit. Where more lookups are to be made than readers may be busy,
// those that wait go together, in one round trip.

const (
	// maxBatch bounds a round trip: past that the first answer waits for too
	// many others, and little more is saved.
	maxBatch = 32
	// readersPerCPU is how many readers may be busy before lookups wait for
	// each other: as many as go-redis has connections by default.
	readersPerCPU = 10
)

// readers are the goroutines of one cache that send lookups.
type readers struct {
	send    func(ctx context.Context, batch []*flight)
	spawn   func(func())
	closing <-chan struct{}
	batch   int // most lookups in a round trip

	mu    sync.Mutex // guards the fields below
	queue []*flight  // not taken by a reader yet, the oldest first
	busy  int        // readers that send, but for those written off
	idle  []*reader  // the one that was busy last is the last
}

// A reader is in one of three states: idle, busy, or written off, when a batch
// of it took longer than Config.RedisTimeout. Then another takes its place, and
// it ends when go-redis lets go of it.
type reader struct {
	wake  chan struct{} // has an element when it is taken from idle
	batch []*flight     // what it sends: room that is used again

	// Guarded by readers.mu.
	writtenOff bool
	youngest   *flight  // of the batch that is sent: when its time is over, so is that of all
	sending    *sending // of that batch
}

// read has f sent.
func (r *readers) read(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, f)
	r.employ()
}

// sending says whether a reader is at work.
func (r *readers) sending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy > 0
}

// employ puts a reader to work, if one may be busy more. mu is held.
func (r *readers) employ() {
	switch last := len(r.idle) - 1; {
	case last >= 0:
		r.busy++
		r.idle[last].wake <- struct{}{}
		r.idle = r.idle[:last]
	case r.busy < r.limit() || r.batch == 1:
		r.busy++
		reader := &reader{wake: make(chan struct{}, 1)}
		r.spawn(func() { r.run(reader) })
	}
}

func (r *readers) limit() int { return readersPerCPU * runtime.GOMAXPROCS(0) }

// run is the life of a reader.
func (r *readers) run(me *reader) {
	for {
		ended := r.take(me)
		if ended {
			return
		}
		if len(me.batch) > 0 {
			r.sendAs(me)
			continue
		}
		select {
		case <-me.wake:
		case <-r.closing:
			return
		}
	}
}

// take gives the reader what it is to send next: nothing if it is idle now.
func (r *readers) take(me *reader) (ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if me.writtenOff {
		return true
	}
	me.youngest, me.sending = nil, nil // and with them what was read
	n := min(len(r.queue), r.batch)
	if n == 0 {
		r.busy--
		if len(r.idle) >= r.limit() {
			return true
		}
		r.idle = append(r.idle, me)
		return false
	}
	me.batch = append(me.batch, r.queue[:n]...)
	r.queue = slices.Delete(r.queue, 0, n)
	return false
}

// sendAs sends the reader's batch, until the time of its youngest is over.
func (r *readers) sendAs(me *reader) {
	youngest := me.batch[len(me.batch)-1]
	ctx := &sending{Context: me.batch[0].ctx, deadline: youngest.deadline}
	r.mu.Lock()
	me.youngest, me.sending, youngest.reader = youngest, ctx, me
	r.mu.Unlock()
	r.send(ctx, me.batch)
	ctx.cancel() // what still waits for it
	clear(me.batch)
	me.batch = me.batch[:0]
}

// A sending is the context of a batch, with the values of its first lookup's. Its
// deadline ends nothing by itself: what sends can look at it, and writeOff cancels.
// A timer for each lookup would wake another thread up each time; and what package
// context has for this allocates three times.
type sending struct {
	context.Context
	deadline time.Time

	mu   sync.Mutex    // guards the fields below
	done chan struct{} // nil until somebody asks for it
	err  error
}

func (s *sending) Deadline() (time.Time, bool) { return s.deadline, true }

func (s *sending) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		}
	}
	return s.done
}

func (s *sending) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sending) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = context.Canceled
	if s.done != nil {
		close(s.done)
	}
}

// writeOff cancels the batch in which f was the youngest, for its time is over,
// and has another reader take the place of the one that sends it.
func (r *readers) writeOff(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	late := f.reader
	if late == nil || late.youngest != f || late.writtenOff {
		return
	}
	late.sending.cancel()
	late.writtenOff = true
	r.busy--
	if len(r.queue) > 0 {
		r.employ()
	}
}
