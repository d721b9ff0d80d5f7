// Package flights has the state of each key in one process: which flights and computations are
// under way, and which callers may join them. It sends nothing to Redis, runs no function, and
// decides nothing about entries: the engine does that. A flight decides about a key for all callers
// that joined it. A computation is one run of a function.
//
// Each key has a slot. A slot can have, at the same time,
//
//   - a flight for each purpose: to look up, to peek, to wait, to refresh, to refresh early. Callers
//     with the same purpose share it;
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
//
// Events have an order: [Table.Present] is the present place in it, and the ends of flights and the
// beginnings of computations have places too. If a caller's lookup ended after a
// computation without a lease began, the caller does not get its value, because the value may be
// older than the lookup.
package flights

import (
	"sync"
	"time"
)

// A Table has the slots of one process. K is the key of an entry as one function sees it, F a
// pointer to the engine's flight, and C a pointer to its computation. The engine's types embed
// [Flight] and [Computation]. The zero Table is empty.
type Table[K comparable, F flight[F, C], C computation] struct {
	mu sync.Mutex // guards the fields below, and the guarded fields of Flight and Computation
	m  map[K]*slot[F, C]
	// spare has empty slots, because each hit needs one for a moment.
	spare []*slot[F, C]
	seq   uint64 // counts the ends of flights and the beginnings of computations
	// detachments counts how often something was detached because of an invalidation.
	detachments uint64
}

// maxSpare bounds the number of spare slots.
const maxSpare = 64

type slot[F, C any] struct {
	flights [purposes]F
	leased  C // the computation whose lease is not known to be lost; nil if there is none
	running C // the computation without a lease
	next    C // collects callers until running has ended
}

// slotOf returns the slot of a key, and makes it if there is none. mu is held.
func (t *Table[K, F, C]) slotOf(key K) *slot[F, C] {
	s := t.m[key]
	if s == nil {
		if t.m == nil {
			t.m = make(map[K]*slot[F, C])
		}
		if last := len(t.spare) - 1; last >= 0 {
			s, t.spare = t.spare[last], t.spare[:last]
		} else {
			s = new(slot[F, C])
		}
		t.m[key] = s
	}
	return s
}

// sweep removes the slot of a key if it is empty. mu is held.
func (t *Table[K, F, C]) sweep(key K, s *slot[F, C]) {
	var none C
	if s.flights != [purposes]F{} || s.leased != none || s.running != none || s.next != none {
		return
	}
	delete(t.m, key)
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, s)
	}
}

// tick returns the next place in the order of events. mu is held.
func (t *Table[K, F, C]) tick() uint64 {
	t.seq++
	return t.seq
}

// Present returns the present place in the order of events. It is not 0.
func (t *Table[K, F, C]) Present() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tick()
}

// goodLease returns the leased computation, or nil if its lease has run out without a renewal.
// mu is held.
func (t *Table[K, F, C]) goodLease(s *slot[F, C]) (holder C) {
	if s.leased != holder && time.Now().Before(s.leased.state().leaseEnd) {
		return s.leased
	}
	return holder
}

// --- Invalidation ---

// Detach keeps new callers of a key from joining flights and computations that are under way.
// These continue for their callers.
func (t *Table[K, F, C]) Detach(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detachments++
	if s := t.m[key]; s != nil {
		t.detach(key, s)
	}
}

// DetachAll is Detach for all keys for which which returns true.
func (t *Table[K, F, C]) DetachAll(which func(key K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detachments++
	for key, s := range t.m {
		if which(key) {
			t.detach(key, s)
		}
	}
}

// detach detaches a key. mu is held.
func (t *Table[K, F, C]) detach(key K, s *slot[F, C]) {
	t.detachLookups(s)
	var none C
	s.leased = none
	t.sweep(key, s)
}

// Outdate detaches the lookups of all keys for which which returns true, after an invalidation of
// tags. Computations under a lease are not detached, because the engine reads the fence of tags
// again before the callers that joined them are answered. Callers that cannot ask Redis do not join
// them any more.
func (t *Table[K, F, C]) Outdate(which func(key K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detachments++
	var none C
	for key, s := range t.m {
		if !which(key) {
			continue
		}
		t.detachLookups(s)
		if s.leased != none {
			s.leased.state().outdated = true
		}
		t.sweep(key, s)
	}
}

// detachLookups detaches the flights of a slot, and its computation without a lease if that has
// begun. mu is held.
func (t *Table[K, F, C]) detachLookups(s *slot[F, C]) {
	var none F
	for i, f := range s.flights {
		if f != none {
			f.state().detached = true
			s.flights[i] = none
		}
	}
	var nothing C
	if s.running != nothing {
		if r := s.running.state(); r.began != 0 {
			r.detached = true
		}
	}
}

// Detachments returns how often something was detached because of an invalidation. If the number
// has not changed since a lookup was sent, a flight that is boarded now may have its entry: no
// call that joins the flight began after an invalidation that this process sent meanwhile.
func (t *Table[K, F, C]) Detachments() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.detachments
}

// --- For the debug page and tests ---

// Len returns how many keys have a flight or a computation.
func (t *Table[K, F, C]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.m)
}

// Computations calls each for the key of each computation under way. each must not block.
func (t *Table[K, F, C]) Computations(each func(key K)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none C
	for key, s := range t.m {
		for _, c := range []C{s.leased, s.running} {
			if c != none {
				each(key)
			}
		}
	}
}

// Callers returns how many callers wait for the computation of a key under a lease.
func (t *Table[K, F, C]) Callers(key K) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none C
	if s := t.m[key]; s != nil && s.leased != none {
		return s.leased.state().callers
	}
	return 0
}
