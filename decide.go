package fncache

import (
	"context"
	"errors"
	"time"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/flights"
)

// This file is the decision table (call.go) for one flight: it looks up, judges the entry
// (entry.go), asks for the lease (flight.go), and ends in one decision for all callers.

// maxRounds is how often a flight goes through the table because acquire found another entry
// than the lookup. It is also how often a call decides again because a lease was lost or an
// entry could not be decoded: see call.answer.
const maxRounds = 3

// Polling for a lease that another process holds, while no events are received.
const (
	pollMin = 10 * time.Millisecond
	pollMax = 250 * time.Millisecond
)

// mostTold is how long a caller waits for an event before it asks again: the holder may be a
// process without the right to publish. It is a variable for tests whose processes receive all events.
var mostTold = time.Second

// A progress is how far a flight came on the goroutine of the call that began it.
type progress uint8

const (
	decided    progress = iota // the flight has ended
	handedOn                   // another goroutine continues the flight
	callerLeft                 // the context of the call has ended
)

// A decision is the outcome of a flight, for all its callers.
type decision struct {
	verdict verdict
	waited  bool   // the flight waited for another process
	alone   bool   // the flight has only one caller
	ended   uint64 // see flights.Landing
}

// A verdict is a row of the decision table, with the data of that row.
type verdict interface{ row() }

// serveFresh: the entry is fresh.
type serveFresh struct{ entry *entry }

// serveDue: the entry is fresh, and the first caller of the flight has it refreshed.
type serveDue struct{ entry *entry }

// serveStale: the entry is stale, and another caller computes.
type serveStale struct{ entry *entry }

// begunHere: the flight has begun a computation under the lease, after all of its callers
// called.
type begunHere struct{ holder *computation }

// runsHere: cold, and this process already computes under the lease.
type runsHere struct{ holder *computation }

// notOurs: cold, and another process holds the lease, or no place of Options.MaxConcurrent
// was free. A flight to wait starts with this state.
type notOurs struct {
	left      time.Duration // remaining life of the lease
	seen      *entry        // the entry that was read
	asked     events.Place  // when the lease was asked for, in the order of events
	placeless bool          // no place was free, so nothing is known about the lease
	here      *computation  // a computation of this process that holds the lease but may not answer the flight; or nil
}

// notLeased: cold, and no lease is granted for a while, because the value cannot be stored.
type notLeased struct{}

// redisDown: Redis did not answer.
type redisDown struct {
	cause   error
	unasked bool // Redis is away, and was not asked
	missed  bool // Redis had answered before that there is no usable entry
}

// absent: a peek found nothing that may be served.
type absent struct{}

func (absent) row()     {}
func (serveFresh) row() {}
func (serveDue) row()   {}
func (serveStale) row() {}
func (begunHere) row()  {}
func (runsHere) row()   {}
func (*notOurs) row()   {}
func (notLeased) row()  {}
func (redisDown) row()  {}

// lookUp reads the entry of a flight, and goes through the table with it.
func (c *Cache) lookUp(ctx context.Context, f *flight) progress {
	clock := c.clock.Read(ctx)
	asked := c.now(f.fn)
	c.lookedUp(f.fn, f.key)
	var raw []byte
	var reading fence.Reading
	var err, fenceErr error
	if f.fn.tagged() {
		raw, reading, err, fenceErr = c.lookupTagged(ctx, f.key, f.fn.expected(), c.fence.extras.Beside(f.tags, f.key))
	} else {
		raw, err = c.store.lookup(ctx, f.key, f.fn.expected())
	}
	if clock != nil {
		select {
		case <-clock:
		case <-ctx.Done():
			return callerLeft
		}
	}
	wrong := err == errWrongType //nolint:errorlint // it is returned as it is
	if err == nil {
		f.fn.expect(len(raw))
	}
	if err == nil || wrong {
		c.noteRedis(f.fn, opLookup, f.key, nil)
		if fenceErr != nil {
			return c.unanswered(ctx, f, opFence, c.fence.key, fenceErr)
		}
	} else {
		return c.unanswered(ctx, f, opLookup, f.key, err)
	}
	e, s := c.parse(f.fn, raw, err)
	again := false
	if s != cold && f.fn.tagged() {
		w := c.weigh(e, &reading)
		if again = w.again; !again {
			s = f.fn.allowed(s, w.verdict)
		}
	}
	if again || s != cold && f.fn.decodesApart(c.coder) {
		// The user's decoding methods may not return, and the caller must be able to leave.
		c.life.Go(func() { c.takeIn(f, e, s, asked, again) })
		return handedOn
	}
	return c.takeIn(f, e, s, asked, false)
}

// unanswered handles a command of a flight's lookup that got no answer. It ends the flight,
// unless the caller has left: then another goroutine continues the flight.
func (c *Cache) unanswered(ctx context.Context, f *flight, op, key string, err error) progress {
	if hasLeft(ctx, err) {
		c.noteBusy(f.fn, err)
		return callerLeft
	}
	c.noteRedis(f.fn, op, key, err)
	var failure *RedisError
	unasked := errors.As(err, &failure) && failure.notAsked
	c.decide(f, redisDown{cause: err, unasked: unasked})
	return decided
}

// lookUpForOthers does lookUp for callers that joined a flight whose first caller has left. If
// a hook of the client ends the goroutine, a new goroutine continues.
func (c *Cache) lookUpForOthers(f *flight) {
	how := callerLeft
	defer func() {
		if how == callerLeft && !c.flights.Abandon(f.flightKey, f) {
			c.life.Go(func() { c.lookUpForOthers(f) })
		}
	}()
	ctx, end := c.flights.Attend(f.values(), f)
	defer end()
	how = c.lookUp(ctx, f)
}

// takeIn goes through the table with the entry e that Redis has returned, in the state s. If
// again is true, the fence is read again first.
func (c *Cache) takeIn(f *flight, e *entry, s state, asked moment, again bool) progress {
	if again {
		v, err := c.weighAgain(f.values(), f.fn, e)
		if err != nil {
			c.decide(f, redisDown{cause: err})
			return decided
		}
		s = f.fn.allowed(s, v)
	}
	switch s = c.takeEntry(f, e, s, asked); {
	case s == fresh:
		if f.Purpose() == flights.ToLookUp && c.isDue(f.fn, e) {
			c.decide(f, serveDue{e})
		} else {
			c.decide(f, serveFresh{e})
		}
		return decided
	case f.Purpose() == flights.ToPeek && s == stale:
		c.decide(f, serveStale{e})
		return decided
	case f.Purpose() == flights.ToPeek:
		c.decide(f, absent{})
		return decided
	}
	c.life.Go(func() {
		if v, ok := c.resolve(f, e, s); ok {
			c.decide(f, v)
		}
	})
	return handedOn
}

// takeEntry decodes an entry, and puts it into the near cache if it is fresh.
func (c *Cache) takeEntry(f *flight, e *entry, s state, asked moment) state {
	s = c.decode(f.fn, e, f.key, s)
	if e != nil && e.tags != nil && s != cold {
		c.fence.extras.Note(f.key, f.tags, e.tags.Marks)
	}
	if s == fresh {
		e.near = c.keepNear(f.fn, f.input, f.key, asked, &e.envelope, e.validAt, e.decoded)
	}
	switch {
	case s == cold:
		c.correct(f.fn, f.input, f.key, 0)
	case e.near == nil:
		c.correct(f.fn, f.input, f.key, e.id)
	}
	return s
}

// takeChanged decodes and judges an entry that acquire has returned. The fence is read again
// for it, because the earlier reading may be a minute old (W1 of docs/protocol.md).
func (c *Cache) takeChanged(f *flight, raw []byte, asked moment) (e *entry, s state, err error) {
	e, s = c.parse(f.fn, raw, nil)
	if s != cold && f.fn.tagged() {
		v, err := c.weighAgain(f.values(), f.fn, e)
		if err != nil {
			return nil, cold, err
		}
		s = f.fn.allowed(s, v)
	}
	return e, c.takeEntry(f, e, s, asked), nil
}

// resolve goes through the table with an entry that is not fresh. ok is false
// if the flight has ended.
func (c *Cache) resolve(f *flight, e *entry, s state) (v verdict, ok bool) {
	a := &asking{flight: f, e: e, s: s}
	for range maxRounds {
		if a.s == stale && c.flights.Computing(f.flightKey) != nil {
			return serveStale{a.e}, true
		}
		a.asked = moment{c.hereFor(f), c.hereTags(f.fn)}
		got, ended := c.acquire(f, acquireCompare, a.e.bytes(), a.s == stale)
		if ended {
			return nil, false
		}
		v, ok, again := c.answered(a, got)
		if !again {
			return v, ok
		}
	}
	return c.heldBy(f, a.e, a.s, acquisition{}, a.asked.key), true
}

// An asking is a flight that asks for the lease on an entry that is not fresh.
type asking struct {
	*flight
	e     *entry
	s     state
	asked moment // when it was asked for
}

// answered goes through the table with the answer to an asking. It begins the computation if the
// lease was granted; then ok is false. again reports that the asking has another entry now, which
// is not fresh either.
func (c *Cache) answered(a *asking, got request) (v verdict, ok, again bool) {
	f := a.flight
	switch {
	case c.noteRedis(f.fn, opAcquire, f.key, got.err):
		return verdictWithoutRedis(a.e, a.s, got.err), true, false
	case got.noPlace && a.s == stale:
		return serveStale{a.e}, true, false
	case got.noPlace:
		return &notOurs{seen: a.e, placeless: true}, true, false
	case got.status == entryChanged:
		var err error
		if a.e, a.s, err = c.takeChanged(f, got.raw, a.asked); err != nil {
			return redisDown{cause: err}, true, false
		}
		if a.s == fresh {
			return serveFresh{a.e}, true, false
		}
		return nil, false, true
	}
	if !got.present {
		a.s = cold
		c.correct(f.fn, f.input, f.key, 0)
	}
	if got.status == leaseHeld {
		return c.heldBy(f, a.e, a.s, got.acquisition, a.asked.key), true, false
	}
	c.beginLeased(f, a.e, a.s, got)
	return nil, false, false
}

// heldBy returns the verdict if another caller holds the lease. asked is when the lease was
// asked for, in the order of events.
func (c *Cache) heldBy(f *flight, e *entry, s state, got acquisition, asked events.Place) verdict {
	if s == stale {
		return serveStale{e}
	}
	if got.open {
		return notLeased{}
	}
	if holder := c.flights.Joinable(f.flightKey, got.holder); holder != nil {
		return runsHere{holder}
	}
	return &notOurs{left: got.left, seen: e, asked: asked}
}

// verdictWithoutRedis serves a stale entry, if there is one, rather than computing.
func verdictWithoutRedis(e *entry, s state, err error) verdict {
	if s == stale {
		return serveStale{e}
	}
	return redisDown{cause: err, missed: true}
}

// beginLeased starts the computation under the lease that f was granted, and ends f.
func (c *Cache) beginLeased(f *flight, e *entry, s state, got request) {
	comp := c.newComputation(f.flightKey, f.values())
	comp.input, comp.tags, comp.slotted, comp.beginning = f.input, f.tags, got.placed, got.beginning
	comp.closing = c.closing // also if the cache was closed while the lease was asked for: Close waits until it is released
	if s == stale {
		comp.stale = e
	}
	// A refresh does not look up the entry, so one may be cached.
	refresh := f.Purpose() == flights.ToRefresh
	comp.replaces = comp.stale != nil || refresh
	comp.Leases(got.token, comp.replaces, refresh)
	comp.member = f.part.newMember()
	comp.member.hold() // before the call is answered, which ends its own hold
	comp.trigger, comp.Background = f.trigger(s), f.Purpose() == flights.ToEarly || comp.stale != nil && f.fn.opts.OnStale == Background
	c.flights.Lead(f.flightKey, f, comp, got.until, func(l flights.Landing) { f.conclude(begunHere{comp}, l) })
	comp.start()
}

// poll asks for the lease, whenever there is a reason to, until the flight can decide or no
// caller waits for it any more. A flight to wait also ends when the function has failed in
// another process: each caller counts how often it failed while that caller waited.
func (c *Cache) poll(f *flight) {
	ch := c.events.Join(f.fn.Name())
	defer c.events.Leave(ch)
	f.poll.channel = ch
	if b := f.fn.bound.Load(); b != nil && b.cache == c {
		b.channel.Store(ch)
	}
	w := c.events.Watch(ch, f.key)
	defer w.End()
	failures := c.events.CountFailures(f.key)
	defer c.events.IgnoreFailures(f.key, failures)
	v, ok := verdict(f.poll.from), true
	if f.Purpose() == flights.ToRefresh {
		v, ok = c.refresh(f)
	}
	atOnce := f.poll.from.placeless // nothing is known about a holder
	for backoff := pollMin; ok; backoff = min(2*backoff, pollMax) {
		held, wait := v.(*notOurs)
		if !wait || f.Purpose() == flights.ToWait && f.fn.opts.OnCold == Compute && !held.placeless {
			break // under Compute a call waits for its turn, and for no other process
		}
		f.part.release()
		if !atOnce && !c.pause(f, w, backoff, held) {
			v = redisDown{cause: newRedisError(opAcquire, f.key, ErrClosed), missed: true}
			break
		}
		atOnce = false
		if c.flights.Abandon(f.flightKey, f) {
			return
		}
		c.clock.Await(f.values())
		if f.Purpose() == flights.ToRefresh {
			v, ok = c.refresh(f)
			continue
		}
		if failures.Count() != f.poll.failures {
			break // each caller decides whether it continues to wait
		}
		v, ok = c.resolve(f, held.seen, cold)
	}
	if ok {
		c.decide(f, v)
	}
}

// refresh asks once for the lease, even if the entry is fresh. ok is false if the
// flight has ended.
func (c *Cache) refresh(f *flight) (v verdict, ok bool) {
	asked := c.hereFor(f)
	got, ended := c.acquire(f, acquireRefresh, nil, false)
	switch {
	case ended:
		return nil, false
	case c.noteRedis(f.fn, opAcquire, f.key, got.err):
		return redisDown{cause: got.err}, true
	case got.status == leaseHeld:
		// The computation under way began before the call, so the flight waits for its end
		// and does not take its result.
		return &notOurs{left: got.left, asked: asked, here: c.flights.Computing(f.flightKey)}, true
	}
	c.beginLeased(f, nil, cold, got)
	return nil, false
}

// --- Refreshing early ---

// A dueHit is a call of a batch whose fresh entry is due to be refreshed: see batch.refreshEarly.
type dueHit struct {
	*call
	order int // the place of the id in the call
	find  func(f *flight) *entry
}

// refreshEarly computes a fresh entry again, under the lease. Meanwhile callers get the fresh
// entry, and a failure has the same Cooldown as for a stale entry. find returns the entry, or nil
// if it must not be refreshed.
//
// Many processes may do this at the same time. Each asks for the lease with the entry that it
// found. If another process has stored a new entry since then, acquire returns the new entry, and
// nothing is computed.
//
// p is the part in a run that refreshes several entries; nil for a run of its own.
func (c *call) refreshEarly(p *part, find func(f *flight) *entry) {
	var f *flight
	started := false
	if !c.cache.life.Closed() {
		f, started = c.cache.flights.BoardEarly(flightKey{c.fn, c.key}, func() *flight { return newFlight(c, flights.ToEarly) })
	}
	if !started {
		p.release()
		return
	}
	f.input, f.tags, f.part = c.ownInput(), c.ownTags(), p
	c.cache.life.Go(func() {
		defer p.release()
		e := find(f)
		if e == nil || !c.cache.leaseEarly(f, e) {
			c.cache.decide(f, absent{})
		}
	})
}

// own returns a copy of a fresh entry that has its own results, because the caller of the flight
// may have the results of e. It returns nil if the results cannot be decoded.
func (c *Cache) own(fn *Func, e *entry) *entry {
	own := *e
	if own.near != nil || own.negative() {
		return &own
	}
	var err error
	if own.decoded, err = fn.decode(c.coder, own.body); err != nil {
		return nil
	}
	return &own
}

// lookAgain reads from Redis an entry that the near cache had. It returns nil if it is not fresh.
// It also returns nil if there is a new entry, which it takes into the near cache.
func (c *Cache) lookAgain(f *flight, id uint64) *entry {
	asked := c.now(f.fn)
	e, s := c.look(f.values(), f.fn, f.key)
	switch {
	case s != fresh:
		return nil
	case e.id != id:
		c.takeEntry(f, e, s, asked)
		return nil
	case c.decode(f.fn, e, f.key, s) != fresh:
		return nil
	}
	return e
}

// leaseEarly asks once for the lease on a fresh entry, and begins to compute if the lease is
// granted. It reports whether the computation has begun.
func (c *Cache) leaseEarly(f *flight, e *entry) bool {
	asked := c.now(f.fn)
	got, ended := c.acquire(f, acquireCompare, e.bytes(), true)
	switch {
	case ended, c.noteRedis(f.fn, opAcquire, f.key, got.err), got.noPlace, got.status == leaseHeld:
		return false
	case got.status == entryChanged:
		_, _, _ = c.takeChanged(f, got.raw, asked)
		return false
	}
	s := stale // the entry can be served meanwhile, as a stale one can
	if !got.present {
		s = cold
		c.correct(f.fn, f.input, f.key, 0)
	}
	c.beginLeased(f, e, s, got)
	return true
}
