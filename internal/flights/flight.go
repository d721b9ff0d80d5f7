package flights

import (
	"context"
	"time"
)

// A Purpose is the task of a flight.
type Purpose uint8

const (
	ToLookUp  Purpose = iota // read the entry; ask for the lease if it is not fresh
	ToPeek                   // read the entry
	ToWait                   // ask for the lease until it is granted or the entry is there
	ToRefresh                // ask for the lease until it is granted, even if the entry is fresh
	ToEarly                  // ask once for the lease on a fresh entry; no caller waits
	purposes
)

// Polls reports whether a flight for p asks for the lease repeatedly.
func (p Purpose) Polls() bool { return p == ToWait || p == ToRefresh }

// A Flight is what a flight of the engine has in common with the [Table]. Make it with
// [NewFlight].
type Flight[F, C any] struct {
	// The fields below are guarded by Table.mu.
	done     chan struct{} // closed at the end; nil until a caller waits
	slot     *slot[F, C]   // of the flight, unless it is detached or has ended
	leader   any           // the caller that started the flight; nil once it has left
	callers  int           // how many callers still wait for the end
	ended    bool          //
	detached bool          // new callers may join neither the flight nor a computation that it begins
	nested   bool          // a caller is inside a computation of the same function, which has a place
	purpose  Purpose       // never changed
	quit     func()        // ends the current wait for Redis or for a place; nil if there is none
}

// NewFlight returns a flight for a purpose. leader is the caller that starts it, a pointer; nil if
// no caller waits for it.
func NewFlight[F, C any](p Purpose, leader any) Flight[F, C] {
	return Flight[F, C]{purpose: p, leader: leader}
}

// Purpose returns the task of the flight.
func (f *Flight[F, C]) Purpose() Purpose { return f.purpose }

func (f *Flight[F, C]) state() *Flight[F, C] { return f }

// A flight is a pointer to the engine's flight, which embeds [Flight].
type flight[F, C any] interface {
	comparable
	state() *Flight[F, C]
}

// Board lets a caller join the flight for a purpose. If this process computes the value and no
// entry is cached, it returns that computation instead, and the place of this in the order of
// events. start is true for the caller that must run the flight; fresh makes it. Others can join the
// flight meanwhile. nested reports whether the caller comes from a computation that has a place.
func (t *Table[K, F, C]) Board(key K, p Purpose, nested bool, fresh func() F) (f F, start bool, holder C, joined uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none F
	var nothing C
	s := t.slotOf(key)
	if p == ToLookUp {
		if holder = t.goodLease(s); holder != nothing {
			if c := holder.state(); !c.cached && c.settled == 0 {
				c.shared = true
				return none, false, holder, t.tick()
			}
		}
		if s.flights[ToWait] != none {
			p = ToWait
		}
	}
	f = s.flights[p]
	if f == none {
		f = fresh()
		s.flights[p], f.state().slot = f, s
		start = true
	}
	own := f.state()
	own.callers++
	if !own.nested && nested {
		own.nested = true
		own.interrupt() // the flight may wait for the place of the computation that the caller comes from
	}
	return f, start, nothing, 0
}

// BoardEarly returns a flight that is to refresh an entry before it is stale. ok is false where
// this process does that, or computes the entry, already.
func (t *Table[K, F, C]) BoardEarly(key K, fresh func() F) (f F, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none F
	var nothing C
	s := t.slotOf(key)
	if s.flights[ToEarly] != none || t.goodLease(s) != nothing {
		return none, false
	}
	f = fresh()
	own := f.state()
	own.callers, own.slot = 1, s
	s.flights[ToEarly] = f
	return f, true
}

// Done returns a channel that is closed at the end of a flight.
func (t *Table[K, F, C]) Done(f F) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := f.state()
	if own.done == nil {
		own.done = make(chan struct{})
		if own.ended {
			close(own.done)
		}
	}
	return own.done
}

// Leave removes a caller from a flight before its end.
func (t *Table[K, F, C]) Leave(f F, caller any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := f.state()
	own.callers--
	if own.leader == caller {
		own.leader = nil
	}
	if own.callers == 0 {
		own.interrupt()
	}
}

// interrupt ends the current wait of a flight. mu is held.
func (f *Flight[F, C]) interrupt() {
	if f.quit != nil {
		f.quit()
	}
}

// Attend returns a context for the work of a flight on a goroutine of the cache, with the values
// of ctx. The context ends when the last caller leaves, and when the flight has to check again
// whether it needs a place. end releases the context.
func (t *Table[K, F, C]) Attend(ctx context.Context, f F) (attended context.Context, end context.CancelFunc) {
	attended, end = context.WithCancel(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	own := f.state()
	own.quit = end
	if own.callers == 0 {
		end()
	}
	return attended, end
}

// Nested reports whether a caller of a flight comes from a computation that has a place, so that
// the flight needs none.
func (t *Table[K, F, C]) Nested(f F) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.state().nested
}

// A Landing is the end of a flight.
type Landing struct {
	// Ended is its place in the order of events. Callers of the flight may share only computations
	// that begin later; 0 means any, because nothing was looked up.
	Ended uint64
	Alone bool // the flight has only one caller
}

// Abandon ends a flight that no caller waits for, and reports whether it did.
func (t *Table[K, F, C]) Abandon(key K, f F) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.state().callers == 0 && t.land(key, f, true, nil)
}

// Land ends a flight, and reports whether it did. If the flight has already ended, Land does
// nothing. looked reports whether Redis was asked. publish is called before callers learn of the
// end; it must not block.
func (t *Table[K, F, C]) Land(key K, f F, looked bool, publish func(Landing)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.land(key, f, looked, publish)
}

// land does what Land does, with mu held.
func (t *Table[K, F, C]) land(key K, f F, looked bool, publish func(Landing)) bool {
	own := f.state()
	if own.ended {
		return false
	}
	own.ended = true
	l := Landing{Alone: own.callers == 1}
	if looked {
		l.Ended = t.tick()
	}
	if publish != nil {
		publish(l)
	}
	if !own.detached {
		var none F
		own.slot.flights[own.purpose] = none
		t.sweep(key, own.slot)
	}
	own.slot = nil
	if own.done != nil {
		close(own.done)
	}
	return true
}

// Lead ends a flight with a computation under a lease, which lasts until leaseEnd. Unless the
// computation runs in the background, the first caller of the flight owns it, if that caller has
// not left.
func (t *Table[K, F, C]) Lead(key K, f F, holder C, leaseEnd time.Time, publish func(Landing)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own, c := f.state(), holder.state()
	c.leaseEnd = leaseEnd
	if !c.Background && own.leader != nil {
		c.owner = own.leader
		c.callers++
	}
	if !own.detached {
		// A lease that this process still took for valid is lost, because Redis has granted
		// the next one.
		t.slotOf(key).leased = holder
	}
	t.land(key, f, true, publish)
	c.began = t.tick()
}
