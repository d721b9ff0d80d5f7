// Package bulkhead bounds how many computations run at once.
//
// A caller is in one of three states: it has a place, it waits for one, or it is gone.
// Places are given in the order in which callers came. A caller whose context ends
// while it waits leaves nothing; if its place came at the same moment, the place goes
// to the next.
package bulkhead

import (
	"container/list"
	"context"
	"sync"
)

// A Bulkhead has a number of places. A nil one has no bound. It is safe for
// concurrent use.
type Bulkhead struct {
	mu      sync.Mutex // guards the fields below
	places  int
	free    int       // below 0: there were more places, and they are taken
	waiting list.List // of chan struct{}, the oldest first; each is closed when its place comes
}

// New returns a bulkhead with that many places, nil for 0.
func New(places int) *Bulkhead {
	if places == 0 {
		return nil
	}
	return &Bulkhead{places: places, free: places}
}

// Resize gives the bulkhead that many places, more than 0. Places that are taken stay taken.
func (b *Bulkhead) Resize(places int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += places - b.places
	b.places = places
	b.admit()
}

// Idle reports whether no place is taken.
func (b *Bulkhead) Idle() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free == b.places
}

// Try takes a place if one is free and no caller waits for it. It reports whether it did.
func (b *Bulkhead) Try() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.try()
}

// try is Try with mu held.
func (b *Bulkhead) try() bool {
	if b.free <= 0 {
		return false
	}
	b.free-- // no caller waits while a place is free
	return true
}

// Take waits for a place. It returns ctx.Err() if ctx ends first, and no place then.
func (b *Bulkhead) Take(ctx context.Context) error {
	if err := ctx.Err(); b == nil || err != nil {
		return err
	}
	b.mu.Lock()
	if b.try() {
		b.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	me := b.waiting.PushBack(turn)
	b.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-turn: // at the same moment
		b.give()
	default:
		b.waiting.Remove(me)
	}
	return ctx.Err()
}

// Give gives a place back.
func (b *Bulkhead) Give() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give()
}

// give is Give with mu held.
func (b *Bulkhead) give() {
	b.free++
	b.admit()
}

// admit gives the places that are free to callers that wait. mu is held.
func (b *Bulkhead) admit() {
	for first := b.waiting.Front(); first != nil && b.free > 0; first = b.waiting.Front() {
		b.free--
		close(b.waiting.Remove(first).(chan struct{}))
	}
}

// Waiting returns how many callers wait for a place.
func (b *Bulkhead) Waiting() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.Len()
}
