package fncache

import (
	"context"
	"slices"
	"sync"
)

// A bulkhead bounds how many computations of one function run in this process while
// Redis is away (Options.MaxConcurrent), so that its outage does not become that
// of the database. A computation under a lease runs in any case, for it is the only
// one in the fleet; but it is counted, also past the limit, for the database has to
// bear it too: those without a lease begin only where all together are below it.
// What a computation of the same function waits for passes uncounted: it would wait
// for room that the other gives up only when it has it.
// nil is no bound.
type bulkhead struct {
	limit int

	mu      sync.Mutex      // guards the fields below
	running int             // with a lease and without; may be past the limit
	queue   []chan struct{} // who waits, first come, first served: closed when it is counted
}

func newBulkhead(n int) *bulkhead {
	if n == 0 {
		return nil
	}
	return &bulkhead{limit: n}
}

// enter counts a computation under a lease.
func (b *bulkhead) enter() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running++
}

// try counts a computation without a lease, if there is room for it now.
func (b *bulkhead) try() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running >= b.limit || len(b.queue) > 0 {
		return false
	}
	b.running++
	return true
}

// take waits for room for a computation without a lease, and counts it, or lets it
// pass uncounted when passed is closed. give says that it has ended.
func (b *bulkhead) take(ctx context.Context, passed <-chan struct{}) (give func(), err error) {
	select {
	case <-passed:
		return func() {}, nil
	default:
	}
	if b.try() {
		return b.give, nil
	}
	turn := b.enqueue()
	select {
	case <-turn:
		return b.give, nil
	case <-passed:
		b.dequeue(turn)
		return func() {}, nil
	case <-ctx.Done():
		b.dequeue(turn)
		return func() {}, ctx.Err()
	}
}

func (b *bulkhead) enqueue() (turn chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	turn = make(chan struct{})
	b.queue = append(b.queue, turn)
	b.admit() // what ended since try
	return turn
}

// dequeue takes back what enqueue did, for who does not wait any longer.
func (b *bulkhead) dequeue(turn chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, turn); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
		return
	}
	b.running-- // its turn came at the same time
	b.admit()
}

// give says that a computation has ended.
func (b *bulkhead) give() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	b.admit()
}

// admit counts those who wait, as far as there is room. mu is held.
func (b *bulkhead) admit() {
	for len(b.queue) > 0 && b.running < b.limit {
		b.running++
		close(b.queue[0])
		b.queue = b.queue[1:]
	}
}
