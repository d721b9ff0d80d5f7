package fncache

import (
	"sync"

	"github.com/fncache/fncache/internal/bulkhead"
)

// bulkheads bound how many computations of a function run at once (Options.MaxConcurrent):
// one for each name in a cache, however many variables are wrapped under it.
type bulkheads struct {
	mu sync.Mutex // guards the field below
	m  map[bulkheadID]*bulkhead.Bulkhead
}

type bulkheadID struct {
	name  string
	limit int
}

// places returns the bulkhead of a function; nil if it has no bound. Functions of one name
// with different bounds have one each.
func (c *Cache) places(fn *Func) *bulkhead.Bulkhead {
	if fn.opts.MaxConcurrent == 0 {
		return nil
	}
	id := bulkheadID{fn.Name(), fn.opts.MaxConcurrent}
	c.bulkheads.mu.Lock()
	defer c.bulkheads.mu.Unlock()
	b := c.bulkheads.m[id]
	if b == nil {
		if c.bulkheads.m == nil {
			c.bulkheads.m = make(map[bulkheadID]*bulkhead.Bulkhead)
		}
		b = bulkhead.New(id.limit)
		c.bulkheads.m[id] = b
	}
	return b
}
