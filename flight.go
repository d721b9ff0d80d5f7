package fncache

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
)

// This file has the state of each key in this process: which flights and computations are
// under way, and which callers may join them. It sends nothing to Redis, and decides nothing;
// call.go and decide.go use it.
//
// Each key has a slot. A slot can have, at the same time,
//
//   - a flight for each purpose: to look up, to peek, to wait, to refresh. Callers with the
//     same purpose share it;
//   - a computation under a lease, as long as this process does not know that the lease is
//     lost. If the lease has run out because it could not be renewed, the computation stays
//     for callers that cannot ask Redis, until Redis reports the lease as lost or grants the
//     next one;
//   - a computation without a lease, and the one that follows it.
//
// To detach a key means to take its flights and its leased computation out of the slot, and to
// close its computation without a lease to new callers. They continue for the callers that
// they have; new callers start their own. A key is detached when this process invalidates it.
// When a lease is known to be lost, its computation is detached. So a caller that calls after
// an invalidation joins nothing that began before it.

// flights has the slots of one process.
type flights struct {
	mu sync.Mutex // guards the fields below, and all of every slot
	m  map[flightKey]*slot
	// spare has empty slots, because each hit needs one for a moment.
	spare []*slot
	seq   uint64 // counts the ends of flights and the beginnings of computations
	// detachments counts how often something was detached because of an invalidation.
	detachments uint64
}

// A flightKey is an entry as one function sees it. Two functions may share an
// entry (see Options.Name), but each judges it by its own options, so they share
// no flights.
type flightKey struct {
	fn  *Func
	key string
}

type slot struct {
	flights [purposes]*flight
	leased  *computation // the computation whose lease is not known to be lost; nil if there is none
	running *computation // the computation without a lease
	next    *computation // collects callers until running has ended
}

func (s *slot) empty() bool { return *s == slot{} }

// A purpose is the task of a flight.
type purpose uint8

const (
	toLookUp  purpose = iota // read the entry; ask for the lease if it is not fresh
	toPeek                   // read the entry
	toWait                   // ask for the lease until it is granted or the entry is there
	toRefresh                // ask for the lease until it is granted, even if the entry is fresh
	toEarly                  // ask once for the lease on a fresh entry; no caller waits
	purposes
)

// polls reports whether a flight for p asks for the lease repeatedly.
func (p purpose) polls() bool { return p == toWait || p == toRefresh }

// A flight decides about a key for all callers that joined it: it looks up the entry, asks for
// the lease, and ends in one decision.
type flight struct {
	flightKey
	ctx   context.Context // of the first caller, for its values: see values
	input                 // set by the call that starts the flight, before it runs
	tags  []fence.Tag     // the tags of that call; set at the same time
	part  *part           // the part of that call in a batch, or nil; set at the same time

	// The fields of a flight that polls.
	from     *notOurs
	failures uint64          // how often the function had failed (events.CountFailures)
	channel  *events.Channel // the channel of the function; nil until the flight has joined it

	decision decision // written once, when decided is set; read after done is closed

	// Guarded by flights.mu.
	done     chan struct{} // closed at the decision; nil until a caller waits
	slot     *slot         // the slot of the flight, unless it is detached
	leader   *call         // the call that started the flight; nil once it has left
	callers  int           // how many callers still wait for the decision
	decided  bool          //
	detached bool          // new callers may join neither the flight nor a computation that it begins
	nested   bool          // a caller is inside a computation of the same function, which has a place
	purpose  purpose       // never changed; here, because Go allocates up to 208 bytes in a cheaper way than more
	quit     func()        // ends the current wait for Redis or for a place; nil if there is none
}

// maxSpare bounds the number of spare slots.
const maxSpare = 64

// slotOf returns the slot of a key, and makes it if there is none. mu is held.
func (fs *flights) slotOf(id flightKey) *slot {
	s := fs.m[id]
	if s == nil {
		if fs.m == nil {
			fs.m = make(map[flightKey]*slot)
		}
		if last := len(fs.spare) - 1; last >= 0 {
			s, fs.spare = fs.spare[last], fs.spare[:last]
		} else {
			s = new(slot)
		}
		fs.m[id] = s
	}
	return s
}

// sweep removes the slot of a key if it is empty. mu is held.
func (fs *flights) sweep(id flightKey, s *slot) {
	if s.empty() {
		delete(fs.m, id)
		if len(fs.spare) < maxSpare {
			fs.spare = append(fs.spare, s)
		}
	}
}

// tick returns the next number in the order of events. mu is held.
func (fs *flights) tick() uint64 {
	fs.seq++
	return fs.seq
}

// board lets c join the flight for a purpose. It returns a decision instead of a flight if this
// process computes the value and no entry is cached. start is true for the caller that must set
// the input of the flight and run it. Others can join the flight meanwhile. nested reports
// whether c comes from a computation that has a place.
func (fs *flights) board(c *call, p purpose, nested bool) (f *flight, start bool, d decision) {
	id := flightKey{c.fn, c.key}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.slotOf(id)
	if p == toLookUp {
		if holder := s.goodLease(); holder != nil && !holder.cached && holder.settled == 0 {
			holder.shared = true
			return nil, false, decision{verdict: runsHere{holder}, ended: fs.tick()}
		}
		if s.flights[toWait] != nil {
			p = toWait
		}
	}
	f = s.flights[p]
	if f == nil {
		f = newFlight(c, id, p)
		s.flights[p], f.slot = f, s
		start = true
	}
	f.callers++
	if !f.nested && nested {
		f.nested = true
		f.interrupt() // the flight may wait for the place of the computation that c comes from
	}
	return f, start, decision{}
}

// boardEarly returns a flight that is to refresh an entry before it is stale; nil where this
// process does that, or computes it, already.
func (fs *flights) boardEarly(c *call) *flight {
	id := flightKey{c.fn, c.key}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.slotOf(id)
	if s.flights[toEarly] != nil || s.goodLease() != nil {
		return nil
	}
	f := newFlight(c, id, toEarly)
	f.leader, f.callers = nil, 1
	s.flights[toEarly], f.slot = f, s
	return f
}

func newFlight(c *call, id flightKey, p purpose) *flight {
	f := &flight{
		flightKey: id,
		purpose:   p,
		ctx:       c.ctx,
		leader:    c,
	}
	if p.polls() {
		f.failures, f.from = c.failuresHeard, cmp.Or(c.from, &notOurs{})
	}
	return f
}

// values returns the context of the first caller without its end.
func (f *flight) values() context.Context { return context.WithoutCancel(f.ctx) }

// doneOf returns a channel that is closed at the decision of a flight.
func (fs *flights) doneOf(f *flight) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
		if f.decided {
			close(f.done)
		}
	}
	return f.done
}

// goodLease returns the leased computation, or nil if its lease has run out without a renewal.
// mu is held.
func (s *slot) goodLease() *computation {
	if s.leased == nil || !time.Now().Before(s.leased.leaseEnd) {
		return nil
	}
	return s.leased
}

// leave removes the caller c from a flight before its decision.
func (fs *flights) leave(f *flight, c *call) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.callers--
	if f.leader == c {
		f.leader = nil
	}
	if f.callers == 0 {
		f.interrupt()
	}
}

// interrupt ends the current wait of a flight. mu is held.
func (f *flight) interrupt() {
	if f.quit != nil {
		f.quit()
	}
}

// attend returns a context for the work of a flight on a goroutine of the cache. The context
// ends when the last caller leaves, and when the flight has to check again whether it needs a
// place. end releases the context.
func (fs *flights) attend(f *flight) (ctx context.Context, end context.CancelFunc) {
	ctx, end = context.WithCancel(f.values())
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.quit = end
	if f.callers == 0 {
		end()
	}
	return ctx, end
}

// needsPlace reports whether the computation of a flight needs a place of
// Options.MaxConcurrent.
func (fs *flights) needsPlace(f *flight) bool {
	if f.fn.opts.MaxConcurrent == 0 || f.part != nil { // the run of a batch takes the place
		return false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return !f.nested
}

// abandon ends a flight that no caller waits for, and reports whether it did.
func (fs *flights) abandon(f *flight) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return f.callers == 0 && fs.end(f, nil)
}

// decide ends f with a verdict, and reports whether it did. If f has already ended, decide does
// nothing.
func (fs *flights) decide(f *flight, v verdict) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.end(f, v)
}

// end does what decide does, with mu held.
func (fs *flights) end(f *flight, v verdict) bool {
	if f.decided {
		return false
	}
	f.decided = true
	f.decision = decision{verdict: v, waited: f.purpose == toWait, alone: f.callers == 1}
	if down, is := v.(redisDown); !is || !down.unasked {
		f.decision.ended = fs.tick()
	}
	if !f.detached {
		f.slot.flights[f.purpose] = nil
		fs.sweep(f.flightKey, f.slot)
	}
	if f.done != nil {
		close(f.done)
	}
	return true
}

// lead ends f with a computation under a lease. Unless the computation runs in the background,
// the first caller of f owns it, if that caller has not left.
func (fs *flights) lead(f *flight, holder *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !holder.background && f.leader != nil {
		holder.owner = f.leader
		holder.callers++
	}
	if !f.detached {
		// A lease that this process still took for valid is lost, because Redis has granted
		// the next one.
		fs.slotOf(f.flightKey).leased = holder
	}
	fs.end(f, begunHere{holder})
	holder.began = fs.tick()
}

// computing returns the computation of this process whose lease has not run out, or nil.
func (fs *flights) computing(id flightKey) *computation {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[id]; s != nil {
		return s.goodLease()
	}
	return nil
}

// holderOf returns the leased computation for a caller that could not ask Redis, or nil, and
// when it began in the order of events. The lease may have run out: it could not be renewed
// while Redis was away, and a second computation would only load the database twice. But a
// computation that began before this process invalidated tags is not joined: the fence cannot be
// read, and the function may still add the tag (X7 of docs/protocol.md).
func (fs *flights) holderOf(id flightKey) (holder *computation, began uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[id]; s != nil && s.leased != nil && !s.leased.outdated {
		s.leased.shared = true
		return s.leased, s.leased.began
	}
	return nil, 0
}

// joinable returns the computation of this process that has the lease with that token, or nil.
// The caller found no usable entry, so new callers will find none either.
func (fs *flights) joinable(id flightKey, token string) *computation {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.m[id]
	if s == nil || s.leased == nil || s.leased.token != token {
		return nil
	}
	s.leased.cached, s.leased.shared = false, true
	return s.leased
}

// present returns the present place in the order of events.
func (fs *flights) present() uint64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.tick()
}

// detach keeps new callers of a key from joining flights and computations that are under way.
// These continue for their callers.
func (fs *flights) detach(id flightKey) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.detachments++
	s := fs.m[id]
	if s == nil {
		return
	}
	s.detachLookups()
	s.leased = nil
	fs.sweep(id, s)
}

// detachFunc is detach for all keys of the functions of a name.
func (fs *flights) detachFunc(name string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.detachments++
	for id, s := range fs.m {
		if id.fn.Name() != name {
			continue
		}
		s.detachLookups()
		s.leased = nil
		fs.sweep(id, s)
	}
}

// detachLookups detaches the flights of a slot, and its computation without a lease if that has
// begun. mu is held.
func (s *slot) detachLookups() {
	for i, f := range s.flights {
		if f != nil {
			f.detached = true
			s.flights[i] = nil
		}
	}
	if s.running != nil && s.running.began != 0 {
		s.running.detached = true
	}
}

// detachHolder detaches a computation whose lease is known to be lost.
func (fs *flights) detachHolder(c *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[c.flightKey]; s != nil && s.leased == c {
		s.leased = nil
		fs.sweep(c.flightKey, s)
	}
}

// shareUnleased returns a computation without a lease that begins after the caller's lookup has
// ended. Such a computation does not learn that another process has invalidated the key, so it
// may answer only callers whose lookup ended before it began, and callers that could not ask
// Redis. One such computation runs at a time, and may first wait for a place; later callers wait
// for the next one. own is true for the caller that owns the computation and must give it its
// arguments. start is true for the caller that must start it.
func (fs *flights) shareUnleased(id flightKey, ended uint64, nested bool, newUnleased func() *computation) (comp *computation, own, start bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.slotOf(id)
	switch {
	case s.running == nil:
		s.running = newUnleased()
		comp, own, start = s.running, true, true
	case s.running.joinable(ended):
		comp = s.running
	case s.next == nil:
		s.next = newUnleased()
		comp, own = s.next, true
	default:
		comp = s.next
	}
	comp.callers++
	if nested {
		comp.pass()
	}
	return comp, own, start
}

// startUnleased returns a computation without a lease for a call that does not wait; the call
// owns and starts it. It returns nil if this process already computes the key without a lease,
// or if no place is free; in the second case full is true.
func (fs *flights) startUnleased(id flightKey, nested bool, places *bulkhead.Bulkhead, newUnleased func() *computation) (comp *computation, full bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.slotOf(id)
	if s.running != nil {
		return nil, false
	}
	if !nested && !places.Try() {
		fs.sweep(id, s)
		return nil, true
	}
	s.running = newUnleased()
	s.running.callers++
	if nested {
		s.running.pass()
	} else {
		s.running.slotted = places != nil
	}
	return s.running, false
}

// pass lets a computation without a lease begin without a place. mu is held.
func (c *computation) pass() {
	c.nested = true
	c.endWaiting()
}

// joinable reports whether a computation without a lease may answer a caller whose lookup ended
// at the place ended in the order of events. A computation that all callers left before it
// began never begins, so it may not. mu is held.
func (c *computation) joinable(ended uint64) bool {
	switch {
	case c.cancelled():
		return false
	case c.began == 0:
		return c.callers > 0
	default:
		return c.began > ended && !c.detached
	}
}

// endWaiting ends a computation's wait for its place. mu is held.
func (c *computation) endWaiting() {
	if c.quit != nil {
		c.quit()
	}
}

// makeOwner makes c the owner of a leased computation if it has no owner, and reports whether c is
// the owner. Only callers of the flight that began the computation may call it.
func (fs *flights) makeOwner(comp *computation, c *call) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if comp.owner == nil && !comp.background {
		comp.owner = c
		comp.callers++
	}
	return comp.owner == c
}

// join and quit count the callers that wait for a computation.
func (fs *flights) join(comp *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	comp.callers++
}

func (fs *flights) quit(comp *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	comp.left()
}

// left counts a caller that has left. If the last caller leaves a computation that waits for
// its place, the wait ends. mu is held.
func (c *computation) left() {
	if c.callers--; c.callers == 0 && c.began == 0 {
		c.endWaiting()
	}
}

// quitTurn does what quit does for a computation without a lease. full reports whether it has
// not begun because no place was free, and not because another one of the same key runs.
func (fs *flights) quitTurn(comp *computation) (full bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	comp.left()
	s := fs.m[comp.flightKey]
	return comp.began == 0 && (comp.single || s != nil && s.running == comp)
}

// cancelled reports whether Close has ended the computation.
func (c *computation) cancelled() bool { return c.closing != nil && c.cache.life.Closed() }
