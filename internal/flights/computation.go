package flights

import (
	"context"
	"time"
)

// A Computation is what a computation of the engine has in common with the [Table]. Make it with
// [NewComputation].
type Computation struct {
	Done    chan struct{} // closed at the end
	Started chan struct{} // without a lease: closed when it begins

	// These fields are set before the computation is in a table.

	Token      string // of the lease; "" without one
	Background bool   // no caller owns it, because callers are served what is there
	single     bool   // without a lease: for one caller only

	// The fields below are guarded by Table.mu. Others read began and settled after Done is closed.

	owner    any       // the caller that owns it; nil if there is none
	callers  int       // how many callers wait for the end
	detached bool      // without a lease: it began before this process invalidated the key
	outdated bool      // under a lease: it began before this process invalidated tags, maybe its own
	cached   bool      // new callers look up, because there may be an entry
	shared   bool      // callers that may have called after it began have joined, or it is a refresh
	settled  uint64    // the place where new callers began to look up, because the lease may have ended; 0 before
	leaseEnd time.Time // when the lease ends, as far as is known
	began    uint64    // the place where it began; 0 before
	nested   bool      // begins without a place of the engine's, because the computation that waits for it has one
	quit     func()    // without a lease: ends the wait for a place; nil if there is none
}

// NewComputation returns a computation that has not begun.
func NewComputation() Computation {
	return Computation{Done: make(chan struct{}), Started: make(chan struct{})}
}

// Leases makes it a computation under a lease. cached reports whether there may be an entry, and
// shared whether callers that called after its beginning may get its value.
func (c *Computation) Leases(token string, cached, shared bool) {
	c.Token, c.cached, c.shared = token, cached, shared
}

// Single makes it a computation without a lease for one caller only. nested reports whether it
// begins without a place.
func (c *Computation) Single(nested bool) {
	c.single, c.callers, c.nested = true, 1, nested
}

// BeganAfter reports whether an ended computation began after a place in the order of events.
func (c *Computation) BeganAfter(place uint64) bool { return c.began > place }

// SettledBy reports whether new callers of an ended computation looked up, instead of joining it,
// at a place in the order of events and from then on.
func (c *Computation) SettledBy(place uint64) bool { return c.settled != 0 && place >= c.settled }

func (c *Computation) state() *Computation { return c } //nolint:unused // the constraint computation asks for it

// A computation is a pointer to the engine's computation, which embeds [Computation].
type computation interface {
	comparable
	state() *Computation
	// Cancelled reports whether the engine has ended it because the cache is closed. It must not
	// block.
	Cancelled() bool
}

// --- Under a lease ---

// Computing returns the computation of this process whose lease has not run out, or nil.
func (t *Table[K, F, C]) Computing(key K) (holder C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.m[key]; s != nil {
		return t.goodLease(s)
	}
	return holder
}

// HolderOf is for a caller that could not ask Redis. It returns the leased computation, even if the
// lease has run out, and the place where it began. It returns nil if there is none, or if this
// process has invalidated tags since then.
//
// A lease that has run out could not be renewed while Redis was away, and a second computation would
// only load the database twice. After an invalidation of tags the function may still add the tag,
// and the fence of tags cannot be read (X7 of docs/protocol.md).
func (t *Table[K, F, C]) HolderOf(key K) (holder C, began uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.m[key]
	if s == nil || s.leased == holder || s.leased.state().outdated {
		return holder, 0
	}
	c := s.leased.state()
	c.shared = true
	return s.leased, c.began
}

// Joinable returns the computation of this process that has the lease with that token, or nil.
// The caller found no usable entry, so new callers will find none either.
func (t *Table[K, F, C]) Joinable(key K, token string) (holder C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.m[key]
	if s == nil || s.leased == holder || s.leased.state().Token != token {
		return holder
	}
	c := s.leased.state()
	c.cached, c.shared = false, true
	return s.leased
}

// MakeOwner makes a caller the owner of a leased computation if it has no owner, and reports
// whether the caller is the owner. Only callers of the flight that began the computation may call
// it.
func (t *Table[K, F, C]) MakeOwner(holder C, caller any) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := holder.state()
	if c.owner == nil && !c.Background {
		c.owner = caller
		c.callers++
	}
	return c.owner == caller
}

// LeaseLeft returns how long the lease of a computation lasts if it is not renewed.
func (t *Table[K, F, C]) LeaseLeft(holder C) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(holder.state().leaseEnd)
}

// Renew notes when the lease of a computation now ends.
func (t *Table[K, F, C]) Renew(holder C, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	holder.state().leaseEnd = until
}

// Lose detaches a computation whose lease is known to be lost.
func (t *Table[K, F, C]) Lose(key K, holder C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.m[key]; s != nil && s.leased == holder {
		var none C
		s.leased = none
		t.sweep(key, s)
	}
}

// Settle makes new callers look up, because the last step of the lease is about to be sent.
// Otherwise:
//  1. the store has run, and its answer is on its way;
//  2. another process invalidates the key;
//  3. a call joins the computation, and gets the value although it was invalidated before the call.
func (t *Table[K, F, C]) Settle(holder C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	holder.state().settled = t.tick()
}

// Shared reports whether a caller may get the value of a computation that it did not wait for
// when the computation began. A refresh counts too (W13 of docs/protocol.md). Settle was called
// before, so no caller joins later.
func (t *Table[K, F, C]) Shared(holder C) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return holder.state().shared
}

// --- Without a lease ---

// Share returns a computation without a lease that begins after the caller's lookup has ended.
// Such a computation does not learn that another process has invalidated the key, so it may answer
// only callers whose lookup ended before it began, and callers that could not ask Redis. One such
// computation runs at a time, and may first wait for a place; later callers wait for the next one.
// own is true for the caller that owns the computation, which fresh has made. start is true for the
// caller that must start it.
func (t *Table[K, F, C]) Share(key K, ended uint64, nested bool, fresh func() C) (c C, own, start bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none C
	s := t.slotOf(key)
	switch {
	case s.running == none:
		s.running = fresh()
		c, own, start = s.running, true, true
	case joinable(s.running, ended):
		c = s.running
	case s.next == none:
		s.next = fresh()
		c, own = s.next, true
	default:
		c = s.next
	}
	state := c.state()
	state.callers++
	if nested {
		state.pass()
	}
	return c, own, start
}

// Start returns a computation without a lease for a caller that does not wait; the caller owns and
// starts it. It returns nil if this process already computes the key without a lease, or if place
// returns false because no place is free; in the second case full is true. A nested caller needs no
// place.
func (t *Table[K, F, C]) Start(key K, nested bool, place func() bool, fresh func() C) (c C, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none C
	s := t.slotOf(key)
	if s.running != none {
		return none, false
	}
	if !nested && !place() {
		t.sweep(key, s)
		return none, true
	}
	s.running = fresh()
	state := s.running.state()
	state.callers++
	if nested {
		state.pass()
	}
	return s.running, false
}

// joinable reports whether a computation without a lease may answer a caller whose lookup ended
// at the place ended in the order of events. A computation that all callers left before it
// began never begins, so it may not. Table.mu is held.
func joinable[C computation](running C, ended uint64) bool {
	c := running.state()
	switch {
	case running.Cancelled():
		return false
	case c.began == 0:
		return c.callers > 0
	default:
		return c.began > ended && !c.detached
	}
}

// pass lets a computation without a lease begin without a place. Table.mu is held.
func (c *Computation) pass() {
	c.nested = true
	c.endWaiting()
}

// endWaiting ends a computation's wait for its place. Table.mu is held.
func (c *Computation) endWaiting() {
	if c.quit != nil {
		c.quit()
	}
}

// AwaitPlace returns a context for the wait of a computation without a lease for its place. The
// context ends with parent, when the last caller leaves, or when no place is needed. end releases
// it.
func (t *Table[K, F, C]) AwaitPlace(parent context.Context, running C) (ctx context.Context, end context.CancelFunc) {
	ctx, end = context.WithCancel(parent)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := running.state()
	if c.quit = end; c.nested || c.callers == 0 {
		end()
	}
	return ctx, end
}

// Passes reports whether a computation without a lease begins without a place.
func (t *Table[K, F, C]) Passes(running C) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return running.state().nested
}

// Begin marks a computation without a lease as begun. ok is false if all callers have left it
// meanwhile: then next is the computation that may begin instead, or nil.
func (t *Table[K, F, C]) Begin(key K, running C) (next C, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := running.state()
	if c.callers > 0 {
		c.began = t.tick()
		close(c.Started)
		return next, true
	}
	next = t.end(key, running)
	close(c.Done)
	return next, false
}

// QuitTurn does what Quit does for a computation without a lease. full reports whether it has
// not begun because no place was free, and not because another one of the same key runs.
func (t *Table[K, F, C]) QuitTurn(key K, running C) (full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := running.state()
	c.left()
	s := t.m[key]
	return c.began == 0 && (c.single || s != nil && s.running == running)
}

// --- Both ---

// Join counts a caller that waits for a computation.
func (t *Table[K, F, C]) Join(c C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.state().callers++
}

// Quit counts a caller that does not wait for a computation any more.
func (t *Table[K, F, C]) Quit(c C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.state().left()
}

// left counts a caller that has left. If the last caller leaves a computation that waits for
// its place, the wait ends. Table.mu is held.
func (c *Computation) left() {
	if c.callers--; c.callers == 0 && c.began == 0 {
		c.endWaiting()
	}
}

// Finish ends a computation, and returns the computation that may begin now, or nil. alone reports
// whether no caller waits for it. publish is called before callers learn of the end; it must not
// block.
func (t *Table[K, F, C]) Finish(key K, c C, publish func()) (next C, alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next = t.end(key, c)
	publish()
	state := c.state()
	close(state.Done)
	return next, state.callers == 0
}

// end takes a computation out of its slot, and returns the computation that collected callers
// while it ran, or nil. mu is held.
func (t *Table[K, F, C]) end(key K, c C) (next C) {
	s := t.m[key]
	if s == nil {
		return next
	}
	var none C
	if s.leased == c {
		s.leased = none
	}
	if s.running == c {
		s.running, s.next = s.next, none
		next = s.running
	}
	t.sweep(key, s)
	return next
}
