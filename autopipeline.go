package fncache

import (
	"cmp"
	"errors"
	"fmt"
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
	single, ok := client.(*redis.Client)
	if !ok {
		return &autoPipeline{open: client.AsyncAutoPipeline}
	}
	settings := cmp.Or(autoPipelineSettings(client), overlapping())
	clone := single.WithTimeout(timeout)
	return &autoPipeline{open: func() (*redis.AutoPipeliner, error) {
		return clone.AsyncAutoPipelineWithOptions(settings)
	}}
}

// autoPipelineFaults says why lookups cannot go through a client's autopipeliner.
func autoPipelineFaults(client redis.UniversalClient) (faults []error) {
	if clientCaches(client) {
		faults = append(faults, errors.New("AutoPipeline is set, and the client of Redis has client-side caching on, which would answer lookups; unset one of them"))
	}
	if settings := autoPipelineSettings(client); settings != nil {
		if err := settings.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("AutoPipeline is set, and AutoPipelineOptions of the client of Redis are wrong: %w; change them, or leave them out", err))
		}
	}
	return faults
}

// autoPipelineSettings are those of a client; nil if it has none of its own.
func autoPipelineSettings(client redis.UniversalClient) *redis.AutoPipelineOptions {
	switch client := client.(type) {
	case *redis.Client:
		return client.Options().AutoPipelineOptions
	case *redis.ClusterClient:
		return client.Options().AutoPipelineOptions
	default:
		return nil
	}
}

// overlapping is the settings of go-redis, but that one batch is gathered and sent
// while Redis works at another: lookups need no order among each other. A third
// would make the batches shallow.
func overlapping() *redis.AutoPipelineOptions {
	settings := redis.DefaultAutoPipelineOptions()
	settings.Unordered, settings.MaxConcurrentBatches = true, 2
	return settings
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
