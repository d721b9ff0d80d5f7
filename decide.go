package fncache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
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
)

// mostTold is how long a caller trusts that it would be told: the holder may be a process
// that may not publish. It is a variable for processes of tests that hear everything.
var mostTold = time.Second

// A progress is how far a flight came on the goroutine of the call that began it.
type progress uint8

const (
	decided    progress = iota // it has ended
	handedOn                   // a goroutine goes on
	callerLeft                 // the context of the call has ended
)

// A decision is what a flight found out, for all its callers.
type decision struct {
	verdict verdict
	waited  bool   // another process was waited for
	alone   bool   // one caller is given it
	ended   uint64 // flights.seq at the decision: what computations its callers may share; 0, any: nothing was looked up
}

// A verdict is a row of the decision table, with what belongs to it.
type verdict interface{ row() }

// serveFresh: the entry is fresh.
type serveFresh struct{ entry *entry }

// serveStale: the entry is stale, and somebody else computes.
type serveStale struct{ entry *entry }

// begunHere: the flight has begun a computation under the lease, so its callers called
// before that.
type begunHere struct{ holder *computation }

// runsHere: cold, and this process computes under the lease already.
type runsHere struct{ holder *computation }

// notOurs: cold, and another process holds the lease, or no place of Options.MaxConcurrent
// was free to ask for it. A flight to wait starts from there.
type notOurs struct {
	left      time.Duration // the life of the lease
	seen      *entry        // what was read
	asked     events.Place  // when the lease was asked for, in the order of events
	placeless bool          // no place was free, so nothing is known of the lease
	here      *computation  // a computation of this process that holds the lease, and does not answer; nil if there is none
}

// notLeased: cold, and no lease is given for a while, because the value cannot be stored.
type notLeased struct{}

// redisDown: Redis did not answer.
type redisDown struct {
	cause   error
	unasked bool // Redis is away, and was not asked
	missed  bool // Redis has answered before that nothing usable is there
}

// absent: a peek found nothing that may be served.
type absent struct{}

func (absent) row()     {}
func (serveFresh) row() {}
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
	var raw []byte
	var reading fence.Reading
	var err, fenceErr error
	if f.fn.tagged() {
		raw, reading, err, fenceErr = c.lookupTagged(ctx, f.key, f.fn.expected(), c.askedTags(f))
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
		// Methods of the user's own may not return, and the caller must be able to leave.
		c.life.Go(func() { c.takeIn(f, e, s, asked, again) })
		return handedOn
	}
	return c.takeIn(f, e, s, asked, false)
}

// unanswered ends the lookup of a flight, or leaves it to others, where Redis has not answered
// a question of it.
func (c *Cache) unanswered(ctx context.Context, f *flight, op, key string, err error) progress {
	if hasLeft(ctx, err) {
		c.noteBusy(f.fn, err)
		return callerLeft
	}
	c.noteRedis(f.fn, op, key, err)
	var failure *RedisError
	unasked := errors.As(err, &failure) && failure.notAsked
	c.flights.decide(f, redisDown{cause: err, unasked: unasked})
	return decided
}

// hasLeft reports whether an operation was given up because ctx has ended.
func hasLeft(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// noteBusy counts a command that was given up while this process was busy.
func (c *Cache) noteBusy(fn *Func, err error) {
	var failure *RedisError
	if errors.As(err, &failure) {
		c.noteRedis(fn, failure.Op, failure.key, err)
	}
}

// lookUpForOthers is lookUp for callers who joined a flight whose first caller has left, until
// it ends. A hook of the client may end the goroutine meanwhile: then another goes on.
func (c *Cache) lookUpForOthers(f *flight) {
	how := callerLeft
	defer func() {
		if how == callerLeft && !c.flights.abandon(f) {
			c.life.Go(func() { c.lookUpForOthers(f) })
		}
	}()
	ctx, end := c.flights.attend(f)
	defer end()
	how = c.lookUp(ctx, f)
}

// takeIn goes through the table with what Redis has answered. again says that the fence is to
// be read again before.
func (c *Cache) takeIn(f *flight, e *entry, s state, asked moment, again bool) progress {
	if again {
		v, err := c.weighAgain(f.values(), f.fn, e)
		if err != nil {
			c.flights.decide(f, redisDown{cause: err})
			return decided
		}
		s = f.fn.allowed(s, v)
	}
	switch s = c.takeEntry(f, e, s, asked); {
	case s == fresh:
		c.flights.decide(f, serveFresh{e})
		return decided
	case f.purpose == toPeek && s == stale:
		c.flights.decide(f, serveStale{e})
		return decided
	case f.purpose == toPeek:
		c.flights.decide(f, absent{})
		return decided
	}
	c.life.Go(func() {
		if v, ok := c.resolve(f, e, s); ok {
			c.flights.decide(f, v)
		}
	})
	return handedOn
}

// takeEntry decodes an entry, and has the near cache keep it if it is fresh.
func (c *Cache) takeEntry(f *flight, e *entry, s state, asked moment) state {
	s = c.decode(f.fn, e, f.key, s)
	if e != nil && e.tags != nil && s != cold {
		c.noteExtra(f, e)
	}
	if s == fresh {
		e.near = c.keep(f.fn, f.input, f.key, asked, &e.envelope, e.validAt, e.kept)
	}
	switch {
	case s == cold:
		c.correct(f.fn, f.input, f.key, 0)
	case e.near == nil:
		c.correct(f.fn, f.input, f.key, e.id)
	}
	return s
}

// takeChanged takes in an entry that acquire has given back. It is judged by the fence as that
// is now: what was read before may be a minute old (W1).
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
// where the flight has ended.
func (c *Cache) resolve(f *flight, e *entry, s state) (v verdict, ok bool) {
	var asked events.Place
	for range maxRounds {
		if s == stale && c.flights.computing(f.flightKey) != nil {
			return serveStale{e}, true
		}
		asked = c.hereFor(f)
		tagsAsked := c.hereTags(f.fn)
		got, ended := c.acquire(f, acquireCompare, e.bytes(), s == stale)
		switch {
		case ended:
			return nil, false
		case c.noteRedis(f.fn, opAcquire, f.key, got.err):
			return verdictWithoutRedis(e, s, got.err), true
		case got.noPlace && s == stale:
			return serveStale{e}, true
		case got.noPlace:
			return &notOurs{seen: e, placeless: true}, true
		case got.status == entryChanged:
			var err error
			if e, s, err = c.takeChanged(f, got.raw, moment{asked, tagsAsked}); err != nil {
				return redisDown{cause: err}, true
			}
			if s == fresh {
				return serveFresh{e}, true
			}
			continue
		}
		if !got.present {
			s = cold
			c.correct(f.fn, f.input, f.key, 0)
		}
		if got.status == leaseHeld {
			return c.heldBy(f, e, s, got.acquisition, asked), true
		}
		c.begin(f, e, s, got)
		return nil, false
	}
	return c.heldBy(f, e, s, acquisition{}, asked), true
}

// A request is what became of asking for a lease.
type request struct {
	acquisition
	err       error
	beginning *bulkhead.Bulkhead // of which a lease that was granted has a place
	placed    bool               // a lease that was granted has a place of Options.MaxConcurrent
	noPlace   bool               // there was none, and nothing was asked
}

// acquire asks for the lease, for as long as anybody waits for the flight. The place that
// its computation needs is taken before, so that no lease is held by who waits for one. A
// flight to wait or to refresh waits for it. ended reports that nobody waits any more, and
// the flight has ended.
func (c *Cache) acquire(f *flight, mode acquireMode, seen []byte, servable bool) (got request, ended bool) {
	for {
		ctx, end := c.flights.attend(f)
		stop := context.AfterFunc(c.alive, end)
		got = c.acquireOnce(ctx, f, mode, seen, servable)
		left := got.err != nil && hasLeft(ctx, got.err)
		stop()
		end()
		switch {
		case !left:
			return got, false
		case c.flights.abandon(f):
			c.noteBusy(f.fn, got.err)
			return request{}, true
		}
	}
}

// mostBeginning bounds the leases that a cache asks a node for before their computations begin. A
// process that is busy is slow to begin: without a bound it would be granted so many that they
// expire before it has computed and stored. It is what the lane of a node takes at once.
const mostBeginning = 512

// beginningAt returns the bulkhead of the node that has a key. A node of a Cluster that hangs
// uses up its own.
func (c *Cache) beginningAt(key string) *bulkhead.Bulkhead {
	addr := c.store.remote.NodeOf(key)
	if b, ok := c.beginning.Load(addr); ok {
		return b.(*bulkhead.Bulkhead)
	}
	b, _ := c.beginning.LoadOrStore(addr, bulkhead.New(mostBeginning))
	return b.(*bulkhead.Bulkhead)
}

func (c *Cache) acquireOnce(ctx context.Context, f *flight, mode acquireMode, seen []byte, servable bool) (got request) {
	if c.life.Closed() { // what would be computed is cancelled
		return request{err: &RedisError{Op: opAcquire, Kind: KindClosed, Err: ErrClosed, key: f.key, notAsked: true}}
	}
	places := f.fn.places
	if c.flights.needsPlace(f) {
		if f.purpose == toLookUp {
			got.placed = places.Try()
		} else {
			got.err = places.Take(ctx)
			got.placed = got.err == nil
		}
		if !got.placed {
			got.noPlace = got.err == nil
			return got
		}
	}
	got.beginning = c.beginningAt(f.key)
	if got.err = got.beginning.Take(ctx); got.err == nil {
		got.acquisition, got.err = c.storeFor(f.fn).acquire(ctx, f.key, newToken(), f.fn.lease(c), mode, seen, servable)
		if got.err == nil && got.status == leaseAcquired {
			return got // computation.call gives it back
		}
		got.beginning.Give()
	}
	if got.placed {
		places.Give()
		got.placed = false
	}
	return got
}

// heldBy decides where the lease is somebody else's, as was asked at some place.
func (c *Cache) heldBy(f *flight, e *entry, s state, got acquisition, asked events.Place) verdict {
	if s == stale {
		return serveStale{e}
	}
	if got.open {
		return notLeased{}
	}
	if holder := c.flights.joinable(f.flightKey, got.holder); holder != nil {
		return runsHere{holder}
	}
	return &notOurs{left: got.left, seen: e, asked: asked}
}

// verdictWithoutRedis serves what is at hand rather than computing.
func verdictWithoutRedis(e *entry, s state, err error) verdict {
	if s == stale {
		return serveStale{e}
	}
	return redisDown{cause: err, missed: true}
}

// begin starts the computation under the lease that f was granted, and ends f.
func (c *Cache) begin(f *flight, e *entry, s state, got request) {
	comp := c.newComputation(f.flightKey, f.values())
	comp.input, comp.token, comp.leaseEnd, comp.slotted = f.input, got.token, got.until, got.placed
	comp.beginning = got.beginning
	comp.tags, comp.shared = f.tags, f.purpose == toRefresh
	comp.closing = c.closing // even if that was closed while the lease was asked for: Close is to see it given back
	if s == stale {
		comp.stale = e
	}
	// A refresh does not look what is there.
	comp.cached = comp.stale != nil || f.purpose == toRefresh
	c.flights.lead(f, comp, comp.stale != nil && f.fn.opts.OnStale == Background)
	comp.start()
}

// poll asks for the lease, whenever there is reason to, until the flight can
// decide or nobody waits for it any more. A flight to wait also ends when the function has
// failed elsewhere: each of its callers counts for itself how often it did while it waited.
func (c *Cache) poll(f *flight) {
	ch := c.events.Join(f.fn.Name())
	defer c.events.Leave(ch)
	f.channel = ch
	if b := f.fn.bound.Load(); b != nil && b.cache == c {
		b.channel.Store(ch)
	}
	w := c.events.Watch(ch, f.key)
	defer w.End()
	failures := c.events.CountFailures(f.key)
	defer c.events.IgnoreFailures(f.key, failures)
	v, ok := verdict(f.from), true
	if f.purpose == toRefresh {
		v, ok = c.refresh(f)
	}
	atOnce := f.from.placeless // nothing is known of a holder
	for backoff := pollMin; ok; backoff = min(2*backoff, pollMax) {
		held, wait := v.(*notOurs)
		if !wait || f.purpose == toWait && f.fn.opts.OnCold == Compute && !held.placeless {
			break // under Compute a call waits for its turn, and for no other process
		}
		if !atOnce && !c.pause(f, w, backoff, held) {
			v = redisDown{cause: newRedisError(opAcquire, f.key, ErrClosed), missed: true}
			break
		}
		atOnce = false
		if c.flights.abandon(f) {
			return
		}
		c.clock.Await(f.values())
		if f.purpose == toRefresh {
			v, ok = c.refresh(f)
			continue
		}
		if failures.Count() != f.failures {
			break // its callers find out whether they wait on
		}
		v, ok = c.resolve(f, held.seen, cold)
	}
	if ok {
		c.flights.decide(f, v)
	}
}

// pause waits until it is time to ask for a lease again: when something has
// happened to the key, when the lease may have run out, or when its holder in
// this process is done. It also ends with the last caller of the flight. Where events are not heard it also waits no longer than
// the backoff, and where they are no longer than mostTold; both are jittered so that
// processes do not ask in step. It is false if the cache was closed.
func (c *Cache) pause(f *flight, w *events.Watcher, backoff time.Duration, held *notOurs) bool {
	wait := held.left + time.Millisecond // just after it
	switch w.Since(held.asked) {
	case events.Possible:
		return !c.life.Closed()
	case events.Coming:
		if told := mostTold/2 + rand.N(mostTold/2); told < wait {
			wait = told
		}
	case events.Unheard:
		if polled := backoff/2 + rand.N(backoff); held.left <= 0 || polled < wait {
			wait = polled
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	attended, end := c.flights.attend(f)
	defer end()
	var done <-chan struct{}
	if held.here != nil {
		done = held.here.done
	}
	select {
	case <-timer.C:
		return true
	case <-w.Woken():
		return true
	case <-done:
		return true
	case <-attended.Done():
		return true
	case <-c.closing:
		return false
	}
}

// refresh asks once for the lease, whatever the entry is. ok is false where the
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
		// What is computed now began before the call: it is waited for, and not
		// taken.
		return &notOurs{left: got.left, asked: asked, here: c.flights.computing(f.flightKey)}, true
	}
	c.begin(f, nil, cold, got)
	return nil, false
}
