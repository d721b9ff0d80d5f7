package fncache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// This file is the decision table (call.go) for one flight: it looks up, judges what
// it read (entry.go), asks for the lease, and ends in one decision for all callers.

// maxRounds is how often a flight goes through the table because acquire found
// an entry other than the one it saw, and how often a call does where it could not be
// given what it was promised: see call.answer.
const maxRounds = 3

// Polling for a lease that another process holds, while events are not heard.
const (
	pollMin = 10 * time.Millisecond
	pollMax = 250 * time.Millisecond
	// mostTold is how long a caller trusts that it would be told: the holder may be a
	// process that may not publish.
	mostTold = time.Second
)

// fly has a flight run to its decision, for the call that began it.
func (c *Cache) fly(f *flight, by *call, now time.Time) {
	switch f.purpose {
	case toLookUp:
		if !c.lookUpDirectly(f, by, now) {
			c.readers.read(f)
		}
	default:
		c.spawn(func() { c.poll(f) })
	}
}

// lookUp reads the entries of some flights, in one round trip.
func (c *Cache) lookUp(ctx context.Context, batch []*flight) {
	if batch = c.flights.wanted(batch); len(batch) == 0 {
		return
	}
	var room struct { // on the stack
		keys    [maxBatch]string
		replies [maxBatch]reply
		asked   [maxBatch]place
	}
	keys, replies := room.keys[:len(batch)], room.replies[:len(batch)]
	for i, f := range batch {
		keys[i] = f.key
	}
	clock := c.clock.Read(ctx)
	for i, f := range batch {
		room.asked[i] = c.here(f.fn)
	}
	began := time.Now()
	c.store.traffic.begin()
	c.store.lookupAll(ctx, keys, replies)
	ended := time.Now()
	c.store.traffic.end(replies[0].err, ended)
	c.direct.note(ended.Sub(began), replies[0].err)
	if clock != nil {
		select {
		case <-clock:
		case <-ctx.Done():
		}
	}
	for i, f := range batch {
		handOver := len(replies[i].raw) > decodedHere || f.fn.decodesApart(c.coder)
		c.haveRead(f, replies[i].raw, replies[i].err, room.asked[i], handOver)
	}
}

// decodedHere is how many bytes of an entry a reader decodes itself: what is longer takes
// it some ten microseconds and more, and the callers of other keys would wait for it.
const decodedHere = 4 << 10

// haveRead goes through the table with what was read, and asked for at some place
// in the order of events. handOver says that it is to be decoded on another goroutine, for
// others wait for this one.
func (c *Cache) haveRead(f *flight, raw []byte, err error, asked place, handOver bool) {
	// An answer that comes too late counts as the failure that its callers were told
	// of. Were it a success too, a Redis that answers all too slowly would be asked,
	// and waited for, time and again.
	inTime := c.flights.hasRead(f)
	failed := err != nil && !errors.Is(err, errWrongType)
	switch {
	case inTime && failed:
		c.noteRedis(f.fn, opLookup, f.key, err)
		c.flights.decide(f, decision{verdict: redisDown, cause: err})
	case inTime:
		c.noteRedis(f.fn, opLookup, f.key, nil)
	}
	switch {
	case failed:
	case handOver && raw != nil:
		c.spawn(func() { c.takeIn(f, raw, err, asked, inTime) })
	default:
		c.takeIn(f, raw, err, asked, inTime)
	}
}

// takeIn is haveRead for what Redis has answered.
func (c *Cache) takeIn(f *flight, raw []byte, err error, asked place, inTime bool) {
	e, s := c.judgeRead(f, raw, err, asked)
	if s == fresh {
		c.flights.decide(f, decision{verdict: serveFresh, entry: e})
		return
	}
	if !inTime {
		return
	}
	c.spawn(func() {
		if d, ok := c.resolve(f, e, s); ok {
			c.flights.decide(f, d)
		}
	})
}

// judgeRead judges what was read, and has the near cache keep it if it is fresh.
func (c *Cache) judgeRead(f *flight, raw []byte, err error, asked place) (*entry, state) {
	e, s := c.judge(f.fn, raw, err)
	if s == fresh {
		e.near = c.keep(f.fn, f.input, f.key, asked, &e.envelope, e.kept)
	}
	switch {
	case s == cold:
		f.fn.near.correct(c, f.input, f.key, nil)
	case e.near == nil:
		f.fn.near.correct(c, f.input, f.key, &e.envelope)
	}
	return e, s
}

// timeOut ends the flights whose lookup has taken longer than RedisTimeout,
// whatever go-redis still does for it.
func (c *Cache) timeOut() {
	late := c.flights.overdue(time.Now())
	if len(late) == 0 {
		return
	}
	// Judged first: once they are cancelled they wait for nothing.
	causes := make([]error, len(late))
	for i, f := range late {
		causes[i] = c.store.timedOut(f.key)
	}
	for i, f := range late {
		err := newRedisError(opLookup, f.key, causes[i])
		c.readers.writeOff(f)
		c.noteRedis(f.fn, opLookup, f.key, err)
		c.flights.decide(f, decision{verdict: redisDown, cause: err})
	}
}

// resolve goes through the table with an entry that is not fresh. ok is false
// where the flight has ended in a computation.
func (c *Cache) resolve(f *flight, e *entry, s state) (d decision, ok bool) {
	var asked place
	for range maxRounds {
		if s == stale && c.flights.computing(f.flightKey) != nil {
			return decision{verdict: serveStale, entry: e}, true
		}
		asked = c.hereFor(f)
		token, sent := newToken(), time.Now()
		lease := f.fn.lease(c)
		got, err := c.storeFor(f.fn).acquire(f.ctx, f.key, token, lease, acquireCompare, e.bytes(), s == stale)
		if c.noteRedis(f.fn, opAcquire, f.key, err) {
			return decisionWithoutRedis(e, s, err), true
		}
		if got.status == entryChanged {
			if e, s = c.judgeRead(f, got.raw, nil, asked); s == fresh {
				return decision{verdict: serveFresh, entry: e}, true
			}
			continue
		}
		if !got.present {
			s = cold
			f.fn.near.correct(c, f.input, f.key, nil)
		}
		if got.status == leaseHeld {
			return c.heldBy(f, e, s, got, asked), true
		}
		c.begin(f, e, s, got.token, sent.Add(lease))
		return decision{}, false
	}
	return c.heldBy(f, e, s, acquisition{}, asked), true
}

// heldBy decides where the lease is somebody else's, as was asked at some place.
func (c *Cache) heldBy(f *flight, e *entry, s state, got acquisition, asked place) decision {
	if s == stale {
		return decision{verdict: serveStale, entry: e}
	}
	if got.open {
		return decision{verdict: notLeased}
	}
	if holder := c.flights.joinable(f.flightKey, got.holder); holder != nil {
		return decision{verdict: holderHere, holder: holder}
	}
	return decision{verdict: holderElsewhere, left: got.left, seen: e, asked: asked}
}

// decisionWithoutRedis serves what is at hand rather than computing.
func decisionWithoutRedis(e *entry, s state, err error) decision {
	if s == stale {
		return decision{verdict: serveStale, entry: e}
	}
	return decision{verdict: redisDown, cause: err, missed: true}
}

// begin starts the computation under the lease that f was granted, and ends f.
func (c *Cache) begin(f *flight, e *entry, s state, token string, leaseEnd time.Time) {
	comp := c.newComputation(f.flightKey, f.ctx, f.input)
	comp.token, comp.leaseEnd = token, leaseEnd
	comp.closing = c.closing // even if that was closed while the lease was asked for: Close is to see it given back
	var atHand *entry
	if s == stale {
		atHand = e
	}
	comp.stale = atHand
	// A refresh does not look what is there.
	comp.cached = atHand != nil || f.purpose == toRefresh
	behind := atHand != nil && f.fn.opts.OnStale == Background
	c.flights.lead(f, comp, atHand, behind)
	c.spawn(comp.run)
}

// poll asks for the lease, whenever there is reason to, until the flight can
// decide or nobody waits for it any more. A flight to wait also ends when the function has
// failed elsewhere: each of its callers counts for itself how often it did while it waited.
func (c *Cache) poll(f *flight) {
	ch := c.joinChannel(f.fn.Name())
	defer c.events.leave(ch)
	f.channel = ch
	if b := f.fn.bound.Load(); b != nil && b.cache == c {
		b.channel.Store(ch)
	}
	w := c.events.watch(ch, f.key)
	defer w.end()
	failures := c.events.countFailures(f.key)
	defer c.events.ignoreFailures(f.key, failures)
	d, ok := decision{verdict: holderElsewhere, left: f.left, seen: f.seen, asked: f.asked}, true
	if f.purpose == toRefresh {
		d, ok = c.refresh(f)
	}
	for backoff := pollMin; ok && d.verdict == holderElsewhere; backoff = min(2*backoff, pollMax) {
		if !c.pause(w, backoff, d) {
			d = decision{verdict: redisDown, cause: newRedisError(opAcquire, f.key, ErrClosed), missed: true}
			break
		}
		if c.flights.abandon(f) {
			return
		}
		c.clock.Await(f.ctx)
		if f.purpose == toRefresh {
			d, ok = c.refresh(f)
			continue
		}
		if failures.n.Load() != f.failures {
			break // its callers find out whether they wait on
		}
		d, ok = c.resolve(f, d.seen, cold)
	}
	if ok {
		c.flights.decide(f, d)
	}
}

// pause waits until it is time to ask for a lease again: when something has
// happened to the key, when the lease may have run out, or when its holder in
// this process is done. Where events are not heard it also waits no longer than
// the backoff, and where they are no longer than mostTold; both are jittered so that
// processes do not ask in step. It is false if the cache was closed.
func (c *Cache) pause(w *watcher, backoff time.Duration, d decision) bool {
	wait := d.left + time.Millisecond // just after it
	switch w.since(d.asked) {
	case newsPossible:
		return !c.closed()
	case newsComing:
		if told := mostTold/2 + rand.N(mostTold/2); told < wait {
			wait = told
		}
	case newsUnheard:
		if polled := backoff/2 + rand.N(backoff); d.left <= 0 || polled < wait {
			wait = polled
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var done <-chan struct{}
	if d.holder != nil {
		done = d.holder.done
	}
	select {
	case <-timer.C:
		return true
	case <-w.woken:
		return true
	case <-done:
		return true
	case <-c.closing:
		return false
	}
}

// refresh asks once for the lease, whatever the entry is. ok is false where the
// flight has ended in a computation.
func (c *Cache) refresh(f *flight) (d decision, ok bool) {
	token, sent, asked := newToken(), time.Now(), c.hereFor(f)
	lease := f.fn.lease(c)
	got, err := c.storeFor(f.fn).acquire(f.ctx, f.key, token, lease, acquireRefresh, nil, false)
	switch {
	case c.noteRedis(f.fn, opAcquire, f.key, err):
		return decision{verdict: redisDown, cause: err}, true
	case got.status == leaseHeld:
		// What is computed now began before the call: it is waited for, and not
		// taken.
		return decision{verdict: holderElsewhere, left: got.left, asked: asked, holder: c.flights.computing(f.flightKey)}, true
	}
	c.begin(f, nil, cold, got.token, sent.Add(lease))
	return decision{}, false
}
