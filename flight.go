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

// This file holds what one process is doing about one key right now: who may
// join whom. It knows neither Redis nor the decision table; call.go and decide.go conduct.
//
// Per key there is a slot. In it there can be, at the same time,
//
//   - a flight for each purpose: to look up, to wait, to refresh. Callers who
//     want the same share it;
//   - a computation under a lease, as long as its lease is good as far as this
//     process knows. One whose lease has run out, because it could not be renewed,
//     stays for those who cannot ask Redis: until Redis says that the lease is lost,
//     or grants the next;
//   - a computation without a lease, and the one that will follow it.
//
// Detaching takes flights and the leased computation out of the slot, and closes
// the one without a lease: they go on for the callers they have, and newcomers
// start afresh. That happens when the process invalidates the key and when the
// lease is known to be lost, so that nobody who calls after an invalidation joins
// what began before it.

// flights is the slots of one process.
type flights struct {
	mu sync.Mutex // guards the fields below, and all of every slot
	m  map[flightKey]*slot
	// spare are slots that are empty, for a hit takes one for a moment.
	spare []*slot
	seq   uint64 // counts the ends of flights and the beginnings of computations
}

// A flightKey is an entry as one function sees it. Two functions may share an
// entry (see Options.Name) and judge it by options of their own, so they share
// no flights.
type flightKey struct {
	fn  *Func
	key string
}

type slot struct {
	flights [purposes]*flight
	leased  *computation // nil, or its lease is not known to be lost
	running *computation // without a lease
	next    *computation // gathers callers until running has ended
}

func (s *slot) empty() bool { return *s == slot{} }

// A purpose is what a flight is for.
type purpose uint8

const (
	toLookUp  purpose = iota // read the entry; ask for the lease if it is not fresh
	toPeek                   // read the entry
	toWait                   // ask for the lease until it is granted or the entry is there
	toRefresh                // ask for the lease until it is granted, whatever the entry is
	purposes
)

// polls reports whether a flight for p asks until it is answered.
func (p purpose) polls() bool { return p == toWait || p == toRefresh }

// A flight finds out what is to be done about a key, for all callers who joined
// it: it looks up, acquires, and ends in one decision.
type flight struct {
	flightKey
	purpose purpose
	ctx     context.Context // of the first caller, for its values: see values
	input                   // set by the call that starts it, before it runs
	tags    []fence.Tag     // of the call; likewise

	// Of a flight that polls.
	from     *notOurs
	failures uint64          // how often the function had failed (events.CountFailures)
	channel  *events.Channel // that it has joined; nil until then

	decision decision // written once, when decided is set; read after done is closed

	// Guarded by flights.mu.
	done     chan struct{} // closed at the decision; nil until somebody waits
	slot     *slot         // that it is in, unless it is detached
	leader   *call         // who started it, nil if gone
	callers  int           // who still wait for the decision
	decided  bool          //
	detached bool          // newcomers may not join, nor join what comes of it
	nested   bool          // a caller is called by a computation of the function, which has a place
	quit     func()        // ends the wait for Redis or for a place under way; nil if there is none
}

// maxSpare bounds what is kept for later.
const maxSpare = 64

// slotOf gives the slot of a key. mu is held.
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

// sweep forgets the slot of a key if nothing is in it. mu is held.
func (fs *flights) sweep(id flightKey, s *slot) {
	if s.empty() {
		delete(fs.m, id)
		if len(fs.spare) < maxSpare {
			fs.spare = append(fs.spare, s)
		}
	}
}

// tick is the next number in the order of events. mu is held.
func (fs *flights) tick() uint64 {
	fs.seq++
	return fs.seq
}

// board puts c on the flight for that purpose, or returns the decision at once
// where this process computes and nothing is cached. start is true for the
// caller that must run the flight, and set its input before. Others can join the
// flight meanwhile. nested says that c comes from a computation that has a place.
func (fs *flights) board(c *call, p purpose, nested bool) (f *flight, start bool, d decision) {
	id := flightKey{c.fn, c.key}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := fs.slotOf(id)
	if p == toLookUp {
		if holder := s.goodLease(); holder != nil && !holder.cached && !holder.settling {
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
		f.interrupt() // it may wait for the place of the very computation that calls
	}
	return f, start, decision{}
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

// doneOf returns what is closed at the decision of a flight.
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

// goodLease gives the leased computation, unless its lease has run out unrenewed.
// mu is held.
func (s *slot) goodLease() *computation {
	if s.leased == nil || !time.Now().Before(s.leased.leaseEnd) {
		return nil
	}
	return s.leased
}

// leave takes c off a flight before its decision.
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

// interrupt ends what a flight waits for. mu is held.
func (f *flight) interrupt() {
	if f.quit != nil {
		f.quit()
	}
}

// attend returns a context for what is done for a flight on a goroutine of the cache. It
// ends when the last caller leaves, and when there is reason to look again whether a place
// is needed. end frees it.
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
	if f.fn.opts.MaxConcurrent == 0 {
		return false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return !f.nested
}

// abandon ends a flight that nobody waits for, and says whether it did.
func (fs *flights) abandon(f *flight) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return f.callers == 0 && fs.end(f, nil)
}

// decide ends f with a verdict. It does nothing if f has ended, and says so.
func (fs *flights) decide(f *flight, v verdict) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.end(f, v)
}

// end is decide with mu held.
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

// lead ends f with a computation under a lease, which the first caller of f
// owns if it is still there, unless it is computed in the background.
func (fs *flights) lead(f *flight, holder *computation, background bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !background && f.leader != nil {
		holder.owner = f.leader
		holder.callers++
	}
	holder.ownable = !background
	if !f.detached {
		// A lease that was still good as far as this process knew is not: Redis
		// has granted the next one.
		fs.slotOf(f.flightKey).leased = holder
	}
	fs.end(f, begunHere{holder})
	holder.began = fs.tick()
}

// computing gives the computation of this process whose lease is good, or nil.
func (fs *flights) computing(id flightKey) *computation {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[id]; s != nil {
		return s.goodLease()
	}
	return nil
}

// holderOf is computing for who could not ask Redis, and tells when in the order of
// events it began. A lease that has run out will do: nobody could renew it, and a
// computation beside it would know no more than it does, and burden the database
// twice.
func (fs *flights) holderOf(id flightKey) (holder *computation, began uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[id]; s != nil && s.leased != nil {
		s.leased.shared = true
		return s.leased, s.leased.began
	}
	return nil, 0
}

// joinable gives the computation of this process that the lock names as its
// holder, or nil. The caller found nothing cached, so neither will newcomers.
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

// present is the place of now in the order of events.
func (fs *flights) present() uint64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.tick()
}

// detach lets newcomers to a key start afresh. What runs goes on for its
// callers.
func (fs *flights) detach(id flightKey) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
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
	for id, s := range fs.m {
		if id.fn.Name() != name {
			continue
		}
		s.detachLookups()
		s.leased = nil
		fs.sweep(id, s)
	}
}

// detachLookups detaches what newcomers might share that asks before them. mu is held.
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

// detachHolder is detach for a computation whose lease is known to be lost.
func (fs *flights) detachHolder(c *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[c.flightKey]; s != nil && s.leased == c {
		s.leased = nil
		fs.sweep(c.flightKey, s)
	}
}

// shareUnleased puts c on a computation without a lease that begins after the
// lookup behind c has ended: such a computation has no sign that the key was
// invalidated elsewhere, so it may answer only callers who asked before it began,
// and those who could not ask at all. One runs at a time, and may wait for a slot
// before; later callers gather for the next.
// own is true for the caller whose computation it is, and that must give it its
// arguments, start for the one that must start it.
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

// startUnleased is shareUnleased for a call that will not wait, and owns and starts what
// it is given: nil if the key is computed here already, or no slot is free: then full is
// true.
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

// pass has a computation without a lease begin without a place. mu is held.
func (c *computation) pass() {
	c.nested = true
	c.endWaiting()
}

// joinable reports whether a computation without a lease may answer a caller whose lookup
// has ended then. One that all callers have left before it began waits for no place, and
// begins no more. mu is held.
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

// endWaiting has a computation wait for its place no longer. mu is held.
func (c *computation) endWaiting() {
	if c.quit != nil {
		c.quit()
	}
}

// own makes c the owner of a leased computation if it has none yet, and says
// whether c is. Only callers of the flight that began it may ask.
func (fs *flights) own(comp *computation, c *call) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if comp.owner == nil && comp.ownable {
		comp.owner = c
		comp.callers++
	}
	return comp.owner == c
}

// join and quit count who waits for a computation.
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

// left counts a caller that has left. A computation that waits for its place waits for its
// callers only. mu is held.
func (c *computation) left() {
	if c.callers--; c.callers == 0 && c.began == 0 {
		c.endWaiting()
	}
}

// quitTurn is quit for a computation without a lease that has not begun, and says
// whether that is for want of a slot: no other of the same key runs.
func (fs *flights) quitTurn(comp *computation) (full bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	comp.left()
	s := fs.m[comp.flightKey]
	return comp.began == 0 && (comp.single || s != nil && s.running == comp)
}

// cancelled says that Close has ended it.
func (c *computation) cancelled() bool { return c.closing != nil && c.cache.life.Closed() }
