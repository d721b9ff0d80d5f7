package fncache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// This file lets a lone lookup run on its caller's goroutine. To hand it to a
// reader (lookup.go) and back is two changes of goroutines, across threads where
// the processor has some to spare: that costs a third as much as the whole round
// trip to a Redis on the same machine, and is all that a hit takes noticeably
// longer than the bare GET.
//
// But who reads from a socket in go-redis can leave only when the read times out.
// So it is done only while Redis is known to be quick, for one lookup at a time,
// and for a short time: then a reader goes on with it, and the caller, who waits
// for that like any other, can leave.

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
	if c.clock.due() || c.readers.sending() || !c.direct.enter(ctx, began) {
		return false
	}
	defer c.direct.leave()
	limited, cancel := context.WithDeadline(ctx, began.Add(c.direct.limit))
	defer cancel()
	asked := c.events.here()
	found := c.store.lookupDirectly(limited, f.key)
	c.direct.note(time.Since(began), found.err)
	if found.err != nil && !errors.Is(found.err, errWrongType) {
		c.readers.read(f) // which finds out what it means
		return true
	}
	c.haveRead(f, found.raw, found.err, asked)
	return true
}
