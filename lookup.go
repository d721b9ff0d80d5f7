package fncache

import (
	"context"
	"runtime"
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
	wake chan struct{} // has an element when it is taken from idle

	// Guarded by readers.mu.
	writtenOff bool
	youngest   *flight            // of the batch that is sent: when its time is over, so is that of all
	cancel     context.CancelFunc // of the batch
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
		batch, ended := r.take(me)
		if ended {
			return
		}
		if batch != nil {
			r.sendAs(me, batch)
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
func (r *readers) take(me *reader) (batch []*flight, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if me.writtenOff {
		return nil, true
	}
	n := min(len(r.queue), r.batch)
	if n == 0 {
		r.busy--
		if len(r.idle) >= r.limit() {
			return nil, true
		}
		r.idle = append(r.idle, me)
		return nil, false
	}
	batch = append(batch, r.queue[:n]...)
	r.queue = append(r.queue[:0], r.queue[n:]...)
	return batch, false
}

// sendAs sends a batch, until the time of its youngest is over.
func (r *readers) sendAs(me *reader, batch []*flight) {
	youngest := batch[len(batch)-1]
	ctx, cancel := context.WithCancel(batch[0].ctx)
	defer cancel()
	r.mu.Lock()
	me.youngest, me.cancel, youngest.reader = youngest, cancel, me
	r.mu.Unlock()
	r.send(deadlined{ctx, youngest.deadline}, batch)
}

// deadlined is a context with a deadline that ends nothing by itself: what sends
// can look at it, and writeOff cancels. A timer for each lookup would wake
// another thread up each time.
type deadlined struct {
	context.Context
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }

// writeOff cancels the batch in which f was the youngest, for its time is over,
// and has another reader take the place of the one that sends it.
func (r *readers) writeOff(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	late := f.reader
	if late == nil || late.youngest != f || late.writtenOff {
		return
	}
	late.cancel()
	late.writtenOff = true
	r.busy--
	if len(r.queue) > 0 {
		r.employ()
	}
}
