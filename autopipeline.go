package fncache

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// An autoPipeline is go-redis's autopipeliner, through which lookups go: it gathers
// the commands of all goroutines into pipelines, one after the other. It is the
// deferred one, which a caller can wait for as long as it likes. It begins with the
// first lookup, for it starts goroutines.
type autoPipeline struct {
	// open gives the one that the client keeps, which may be a new one if the last
	// was closed.
	open func() (*redis.AutoPipeliner, error)

	mu      sync.Mutex // guards the fields below
	current *redis.AutoPipeliner
	closed  bool
}

// newAutoPipeline is for a client of which New has been given. The autopipeliner
// of a single server is this cache's own: that of a clone, which shares the
// client's connections and gives up on a reply after RedisTimeout, so that one
// that does not come holds up the others no longer than that. A Cluster client
// cannot be cloned.
func newAutoPipeline(client redis.UniversalClient, timeout time.Duration) *autoPipeline {
	if single, ok := client.(*redis.Client); ok {
		client = single.WithTimeout(timeout)
	}
	return &autoPipeline{open: client.AsyncAutoPipeline}
}

// get gives the autopipeliner.
func (a *autoPipeline) get() (*redis.AutoPipeliner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, redis.ErrClosed
	case a.current != nil && !a.current.IsClosed():
		return a.current, nil
	}
	var err error
	a.current, err = a.open()
	return a.current, err
}

// close ends it, and waits for what is on its way.
func (a *autoPipeline) close() {
	a.mu.Lock()
	a.closed = true
	last := a.current
	a.mu.Unlock()
	if last != nil {
		_ = last.Close() // the commands have their errors
	}
}
