package fncache

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// A bulkhead bounds how many computations of one function run in this process while
// Redis is away (Options.MaxConcurrent), so that its outage does not become that
// of the database. A computation under a lease takes one if one is free, and runs
// in any case: it is the only one in the fleet. nil is no bound.
type bulkhead struct{ free *semaphore.Weighted }

func newBulkhead(n int) *bulkhead {
	if n == 0 {
		return nil
	}
	return &bulkhead{semaphore.NewWeighted(int64(n))}
}

// try takes a slot if one is free.
func (s *bulkhead) try() bool { return s == nil || s.free.TryAcquire(1) }

// take waits for a slot, first come, first served.
func (s *bulkhead) take(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return s.free.Acquire(ctx, 1)
}

// give gives a slot back.
func (s *bulkhead) give() {
	if s != nil {
		s.free.Release(1)
	}
}
