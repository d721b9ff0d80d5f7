package remote

import (
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// How many flights of a lane are under way at once. Compared with a bare GET, on two
	// processors with the server on the same machine, 3, 4 and 6 callers took
	//
	//	1 seat    1.14  1.12  0.82 of its time    1.26  1.23  0.82 of its processor time
	//	2 seats   1.30  1.19  1.05                1.29  1.25  1.04
	//	4 seats   1.04  1.04  1.06                1.05  1.04  1.13
	//
	// Each row is a run of its own on a machine with other work. Within a row, the two
	// were measured in turns. With many callers more seats cost more: 8 callers took
	// 0.69, 0.87 and 0.90 of the time with 1, 2 and 4 seats.
	smallSeats = 4
	largeSeats = 2
	// maxBatch bounds the commands of a pipeline, and maxBatchSize the bytes of it and
	// of its answers, because all commands of a pipeline wait for the last answer. A link of
	// 1 MB/s carries maxBatchSize in 64 ms.
	maxBatch     = 128
	maxBatchSize = 64 << 10

	// If no connection of the pool is free, a lane tries again after a pause. The pause
	// doubles from pauseMin to pauseMax.
	pauseMin = time.Millisecond
	pauseMax = 50 * time.Millisecond
)

// A lane sends the small or the large commands of one node. It is guarded by node.mu.
type lane struct {
	large       bool
	seats       int           // the number of its seats
	alone       bool          // each command is sent alone, not in a pipeline
	free        []*seat       // the seats that no flight has
	first, last *Command      // the queue, oldest first
	urgent      *Command      // the last urgent command in the queue; nil if there is none
	queued      int           // the length of the queue
	pause       time.Duration // before the next try to get a connection; 0: the last try got one
	full        uint64        // node.watch.ticks at the first try that got none
	era         int32         // how often the lane has replaced its seats
}

// A seat stands for a connection in use. It keeps the memory that one flight after the other
// needs, so that pipelines are cheap to make. If a flight loses its place in the lane, it keeps
// this struct, and the lane makes another.
type seat struct {
	end   chan struct{}   // of its next flight: closed to end waits for a connection
	batch []*Command      // room for the batch of a flight
	cmds  []redis.Cmder   // room for the commands of go-redis
	pipe  redis.Pipeliner // the last pipeline, now empty
	via   sender          // that pipe belongs to
}

func newSeat() *seat { return &seat{end: make(chan struct{})} }

// pipeline returns an empty pipeline.
func (s *seat) pipeline(via sender) redis.Pipeliner {
	if s.via != via {
		s.pipe, s.via = via.Pipeline(), via
	}
	return s.pipe
}

// clear forgets a flight.
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

// reset gives the lane new, free seats. Flights that had a seat of the lane are orphans.
func (l *lane) reset() {
	l.free = l.free[:0]
	l.era++
	for range l.seats {
		l.free = append(l.free, newSeat())
	}
}

// seat takes a free seat, or returns nil if none is free.
func (l *lane) seat() *seat {
	last := len(l.free) - 1
	if last < 0 {
		return nil
	}
	s := l.free[last]
	l.free = l.free[:last]
	return s
}

// push queues a command after the others of its kind, and unshift before them. Urgent commands
// are before all others.
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

// insert queues a command after another one, or as the first if after is nil.
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

// board takes the next batch off the queue for a flight, or returns nil if the queue is empty.
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
