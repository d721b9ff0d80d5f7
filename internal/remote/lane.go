package remote

import (
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// How many flights of a lane are on their way at once. Beside a bare GET, on two
	// processors with the server on the same machine, 3, 4 and 6 callers took
	//
	//	1 seat    1.14  1.12  0.82 of its time    1.26  1.23  0.82 of its processor time
	//	2 seats   1.30  1.19  1.05                1.29  1.25  1.04
	//	4 seats   1.04  1.04  1.06                1.05  1.04  1.13
	//
	// Each row is a run of its own on a machine with other work; within a row the bare
	// GET was measured in turns. More seats cost where callers are many: 8 callers took
	// 0.69, 0.87 and 0.90 of the time.
	smallSeats = 4
	largeSeats = 2
	// maxBatch bounds the commands of a pipeline, and maxBatchSize the bytes of it and
	// of its answers: past these the first answer waits for too many others. Over a link of
	// 1 MB/s that size takes 64 ms.
	maxBatch     = 128
	maxBatchSize = 64 << 10

	// Where no connection of the pool is free, a lane tries again after a pause, which
	// doubles from the first to the second.
	pauseMin = time.Millisecond
	pauseMax = 50 * time.Millisecond
)

// A lane is the commands of one size that go to one node. It is guarded by node.mu.
type lane struct {
	large       bool
	seats       int           // how many it has
	alone       bool          // each command goes by itself, not in a pipeline
	free        []*seat       // those that no flight has
	first, last *Command      // the queue, oldest first
	urgent      *Command      // the last in the queue that is urgent; nil if none is
	queued      int           // how many are in it
	pause       time.Duration // before the next try for a connection; 0: the last had one
	full        uint64        // node.watch.ticks at the first of the tries that had none
	era         int32         // how often the seats were taken from it
}

// A seat stands for a connection in use. It keeps what one flight after the other needs,
// so that a pipeline costs little to make. A flight whose seat is taken from it keeps this
// one, and the lane makes another.
type seat struct {
	end   chan struct{}   // of its next flight: closed to end waits for a connection
	batch []*Command      // room for that of a flight
	cmds  []redis.Cmder   // room for the same as go-redis sees them
	pipe  redis.Pipeliner // the last pipeline, which is empty,
	via   sender          // and what it sends by
}

func newSeat() *seat { return &seat{end: make(chan struct{})} }

// pipeline returns an empty pipeline.
func (s *seat) pipeline(via sender) redis.Pipeliner {
	if s.via != via {
		s.pipe, s.via = via.Pipeline(), via
	}
	return s.pipe
}

// clear lets go of a flight.
func (s *seat) clear() {
	clear(s.batch)
	clear(s.cmds)
	s.batch = s.batch[:0]
	select {
	case <-s.end:
		s.end = make(chan struct{})
	default:
	}
}

// reset gives the lane seats of which none is taken. Flights that had one are orphans.
func (l *lane) reset() {
	l.free = l.free[:0]
	l.era++
	for range l.seats {
		l.free = append(l.free, newSeat())
	}
}

// seat takes a seat; nil if none is free.
func (l *lane) seat() *seat {
	last := len(l.free) - 1
	if last < 0 {
		return nil
	}
	s := l.free[last]
	l.free = l.free[:last]
	return s
}

// push queues a command as the last of its kind, and unshift as the first: those that are
// urgent go before all others.
func (l *lane) push(c *Command) {
	if c.limit.Urgent {
		l.insert(l.urgent, c)
		return
	}
	l.insert(l.last, c)
}

func (l *lane) unshift(c *Command) {
	if c.limit.Urgent {
		l.insert(nil, c)
		return
	}
	l.insert(l.urgent, c)
}

// insert queues a command after another one; nil: as the first.
func (l *lane) insert(after, c *Command) {
	l.queued++
	c.state, c.prev, c.next = isQueued, after, l.first
	if after != nil {
		c.next, after.next = after.next, c
	} else {
		l.first = c
	}
	if c.next != nil {
		c.next.prev = c
	} else {
		l.last = c
	}
	if c.limit.Urgent && after == l.urgent {
		l.urgent = c
	}
}

// remove takes a command out of the queue.
func (l *lane) remove(c *Command) {
	l.queued--
	if l.urgent == c {
		l.urgent = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
}

// board takes the next batch off the queue, for a flight in a seat; nil if nobody waits.
func (l *lane) board(s *seat) (batch []*Command) {
	if l.first == nil {
		return nil
	}
	limit := maxBatch
	if l.alone {
		limit = 1
	}
	batch = s.batch[:0]
	size := 0
	for c := l.first; c != nil && len(batch) < limit; c = l.first {
		size += c.weight()
		if len(batch) > 0 && size > maxBatchSize {
			break
		}
		l.remove(c)
		batch = append(batch, c)
	}
	s.batch = batch
	return batch
}
