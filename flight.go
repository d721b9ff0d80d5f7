package fncache

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/flights"
)

// A flightTable has the flights and computations of one cache: see package flights.
type flightTable = flights.Table[flightKey, *flight, *computation]

// A flightKey is an entry as one function sees it. Two functions may share an
// entry (see Options.Name), but each judges it by its own options, so they share
// no flights.
type flightKey struct {
	fn  *Func
	key string
}

// A flight decides about a key for all callers that joined it: it looks up the entry, asks for
// the lease, and ends in one decision.
type flight struct {
	flights.Flight[*flight, *computation]
	flightKey
	ctx   context.Context // of the first caller, for its values: see values
	input                 // set by the call that starts the flight, before it runs
	tags  []fence.Tag     // the tags of that call; set at the same time
	part  *part           // the part of that call in a batch, or nil; set at the same time
	poll  *polling        // nil for a flight that does not poll

	decision decision // written once; read after the flight has ended
}

// A polling is the state of a flight that asks for the lease repeatedly. Only the flight's own
// goroutine uses it.
type polling struct {
	from     *notOurs
	failures uint64          // how often the function had failed (events.CountFailures)
	channel  *events.Channel // the channel of the function; nil until the flight has joined it
}

// newFlight returns a flight that c starts. c waits for its decision unless it refreshes an entry
// early.
func newFlight(c *call, p flights.Purpose) *flight {
	f := &flight{flightKey: flightKey{c.fn, c.key}, ctx: c.ctx}
	if p == flights.ToEarly {
		f.Flight = flights.NewFlight[*flight, *computation](p, nil)
		return f
	}
	f.Flight = flights.NewFlight[*flight, *computation](p, c)
	if p.Polls() {
		f.poll = &polling{failures: c.failuresHeard, from: cmp.Or(c.from, &notOurs{})}
	}
	return f
}

// values returns the context of the first caller without its end.
func (f *flight) values() context.Context { return context.WithoutCancel(f.ctx) }

// decide ends a flight with a verdict, and reports whether it did. If the flight has already
// ended, decide does nothing.
func (c *Cache) decide(f *flight, v verdict) bool {
	down, is := v.(redisDown)
	return c.flights.Land(f.flightKey, f, !is || !down.unasked, func(l flights.Landing) { f.conclude(v, l) })
}

// conclude writes the decision.
func (f *flight) conclude(v verdict, l flights.Landing) {
	f.decision = decision{verdict: v, waited: f.Purpose() == flights.ToWait, alone: l.Alone, ended: l.Ended}
}

// board lets c join the flight for a purpose. It returns a decision instead of a flight if this
// process computes the value and no entry is cached. start is true for the caller that must set
// the input of the flight and run it. Others can join the flight meanwhile. nested reports
// whether c comes from a computation that has a place.
func (c *call) board(p flights.Purpose, nested bool) (f *flight, start bool, d decision) {
	fresh := func() *flight { return newFlight(c, p) }
	f, start, holder, joined := c.cache.flights.Board(flightKey{c.fn, c.key}, p, nested, fresh)
	if holder != nil {
		return nil, false, decision{verdict: runsHere{holder}, ended: joined}
	}
	return f, start, decision{}
}

// needsPlace reports whether the computation of a flight needs a place of
// Options.MaxConcurrent.
func (c *Cache) needsPlace(f *flight) bool {
	return f.fn.opts.MaxConcurrent != 0 && !c.flights.Nested(f)
}

// ownInput returns an input that the caller cannot change while a computation uses it.
func (c *call) ownInput() input {
	own := c.input
	if c.fn.plans.Shares {
		own.args = c.fn.shape.Own(own.args)
	}
	return own
}

// cancelled returns a channel that is closed when the caller's context ends; nil for a patient
// call.
func (c *call) cancelled() <-chan struct{} {
	if c.patient {
		return nil
	}
	return c.ctx.Done()
}

// trigger returns why a flight begins a computation, with an entry in the state s.
func (f *flight) trigger(s state) Trigger {
	switch {
	case f.Purpose() == flights.ToRefresh:
		return TriggerRefresh
	case f.Purpose() == flights.ToEarly:
		return TriggerEarly
	case s == stale:
		return TriggerStale
	default:
		return TriggerCold
	}
}

// --- Asking for the lease ---

// A request is the outcome of asking for a lease.
type request struct {
	acquisition
	err       error
	beginning *bulkhead.Bulkhead // has a place for the lease that was granted
	placed    bool               // the lease that was granted has a place of Options.MaxConcurrent
	noPlace   bool               // no place was free, and the lease was not asked for
}

// acquire asks for the lease, as long as a caller waits for the flight. It first takes the
// place that the computation needs, so that a flight that waits for a place holds no lease. A
// flight to wait or to refresh waits for a place. ended reports that no caller waits any more
// and the flight has ended.
func (c *Cache) acquire(f *flight, mode acquireMode, seen []byte, servable bool) (got request, ended bool) {
	for {
		ctx, end := c.flights.Attend(f.values(), f)
		stop := context.AfterFunc(c.alive, end)
		got = c.acquireOnce(ctx, f, mode, seen, servable)
		left := got.err != nil && hasLeft(ctx, got.err)
		stop()
		end()
		switch {
		case !left:
			return got, false
		case c.flights.Abandon(f.flightKey, f):
			c.noteBusy(f.fn, got.err)
			return request{}, true
		}
	}
}

// mostBeginning bounds, for each node, the leases that are asked for or granted and whose
// computations have not begun. A busy process is slow to begin computations: without a bound it
// would be granted so many leases that some expire before their values are stored. The lane of
// a node takes this number of commands at once.
const mostBeginning = 512

// beginningAt returns the bulkhead of the node that has a key. Each node has its own, so a node
// of a Cluster that hangs does not block the others.
func (c *Cache) beginningAt(key string) *bulkhead.Bulkhead {
	addr := c.store.remote.NodeOf(key)
	if b, ok := c.beginning.Load(addr); ok {
		return b.(*bulkhead.Bulkhead)
	}
	b, _ := c.beginning.LoadOrStore(addr, bulkhead.New(mostBeginning))
	return b.(*bulkhead.Bulkhead)
}

func (c *Cache) acquireOnce(ctx context.Context, f *flight, mode acquireMode, seen []byte, servable bool) (got request) {
	if c.life.Closed() { // the computation would be cancelled
		return request{err: &RedisError{Op: opAcquire, Kind: KindClosed, Err: ErrClosed, key: f.key, notAsked: true}}
	}
	places := f.part.places(f.fn)
	if c.needsPlace(f) {
		if !f.Purpose().Polls() || servable { // without a place a stale entry is served
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
		got.acquisition, got.err = c.storeFor(f.fn).acquire(ctx, f.key, c.holder.Token(), f.fn.lease(c), mode, seen, servable)
		if got.err == nil && got.status == leaseAcquired {
			return got // computation.callFunction and givePlace give the places back
		}
		got.beginning.Give()
	}
	if got.placed {
		places.Give()
		got.placed = false
	}
	return got
}

// pause waits until it is time to ask for a lease again: an event about the key was received,
// the lease may have run out, or its holder in this process has ended. It also ends when the
// last caller leaves the flight. It lasts at most mostTold while events are received, and at
// most the backoff while they are not. Both limits are jittered, so that processes do not ask
// at the same time. pause returns false if the cache was closed.
func (c *Cache) pause(f *flight, w *events.Watcher, backoff time.Duration, held *notOurs) bool {
	wait := held.left + time.Millisecond // just after the lease has run out
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
	attended, end := c.flights.Attend(f.values(), f)
	defer end()
	var done <-chan struct{}
	if held.here != nil {
		done = held.here.Done
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
