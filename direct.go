package fncache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// This file has lookups run on their callers' goroutines. To hand one to a reader
// (lookup.go) and back is two changes of goroutines, across threads where the
// processor has some to spare: that costs a third as much as the whole round trip to
// a Redis on the same machine, and is all that a hit takes noticeably longer than
// the bare GET. Where a lookup fails, or its caller has to leave, a reader goes on
// with it for all who joined.
//
// Through an autopipeliner (Config.AutoPipeline) every lookup can: its caller waits
// on a channel. Without one (Config.DirectLookups), who reads from a socket can leave
// only when the read times out. So it is done only while Redis is known to be quick,
// for one lookup at a time, and for a short time.

// directPart is that time, as a part of Config.RedisTimeout.
const directPart = 10

// A direct is the lookups of one cache on their callers' goroutines.
type direct struct {
	limit time.Duration // of one; 0 if there are none
	busy  atomic.Bool   // one is under way
	calm  atomic.Bool   // the last lookup, of whatever kind, was quick
}

// note takes in how long a lookup took.
func (d *direct) note(took time.Duration, err error) {
	calm := took < d.limit/4 && (err == nil || errors.Is(err, errWrongType))
	if d.calm.Load() != calm {
		d.calm.Store(calm)
	}
}

// enter says whether a lookup for a caller with that context may begin. If so,
// leave must follow.
func (d *direct) enter(ctx context.Context, now time.Time) bool {
	if d.limit == 0 || !d.calm.Load() {
		return false
	}
	if end, ok := ctx.Deadline(); ok && end.Sub(now) < 2*d.limit {
		return false // it could come too late: limit for a connection, and limit to read
	}
	return d.busy.CompareAndSwap(false, true)
}

func (d *direct) leave() { d.busy.Store(false) }

// lookUpDirectly reads the entry of a flight on the goroutine of the caller that
// began it, if that may be; false if not.
func (c *Cache) lookUpDirectly(f *flight, by *call, began time.Time) bool {
	ctx := by.ctx
	if by.patient {
		ctx = f.ctx
	}
	switch {
	case c.clock.Due():
		return false
	case c.store.auto != nil:
		limited, cancel := context.WithDeadline(ctx, f.deadline)
		defer cancel()
		asked := c.here(f.fn)
		c.readDirectly(f, c.store.lookupPipelined(limited, f.key), asked)
		return true
	case c.readers.sending() || !c.direct.enter(ctx, began):
		return false
	}
	defer c.direct.leave()
	limited, cancel := context.WithDeadline(ctx, began.Add(c.direct.limit))
	defer cancel()
	asked := c.here(f.fn)
	c.store.traffic.begin()
	found := c.store.lookupDirectly(limited, f.key)
	ended := time.Now()
	c.store.traffic.end(found.err, ended)
	c.direct.note(ended.Sub(began), found.err)
	c.readDirectly(f, found, asked)
	return true
}

// readDirectly takes in what a lookup on the caller's goroutine found. If that is an
// error, or the caller had to leave, a reader goes on with it.
func (c *Cache) readDirectly(f *flight, found reply, asked place) {
	if found.err != nil && !errors.Is(found.err, errWrongType) {
		c.readers.read(f)
		return
	}
	c.haveRead(f, found.raw, found.err, asked, f.fn.decodesApart(c.coder))
}
