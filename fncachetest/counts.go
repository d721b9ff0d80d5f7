package fncachetest

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// Counts are numbers of events.
type Counts struct {
	// Calls are the calls of functions that are wrapped on the cache.
	Calls uint64
	// Computations are the runs of these functions, except those by fncache.WithBypass.
	Computations uint64
	// Commands are the commands that the cache has sent to Redis. A script is one, and so is
	// each command of a pipeline. What sets up connections, subscribes, or asks for the
	// server's time is not counted.
	Commands uint64
}

// Count runs f, and returns what happened on the cache meanwhile, also by other goroutines and
// in the background. Functions that f unwraps are left out.
func (c *Cache) Count(f func()) (n Counts) {
	sent := c.count.Load()
	before := make(map[*fncache.Func]fncache.Stats)
	for _, fn := range c.Funcs() {
		before[fn] = fn.Stats()
	}
	f()
	for _, fn := range c.Funcs() {
		stats := fn.Stats()
		n.Calls += stats.Calls - before[fn].Calls
		n.Computations += stats.Computations - before[fn].Computations
	}
	n.Commands = c.count.Load() - sent
	return n
}

// A counter is a hook that counts commands.
type counter struct{ atomic.Uint64 }

var _ redis.Hook = (*counter)(nil)

// uncounted are the commands by which go-redis sets up connections, and the question for the
// time, which the cache asks in the background.
var uncounted = map[string]bool{"hello": true, "auth": true, "select": true, "client": true, "ping": true, "time": true}

func (c *counter) note(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if !uncounted[strings.ToLower(cmd.Name())] {
			c.Add(1)
		}
	}
}

// DialHook implements redis.Hook.
func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.note(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.note(cmds...)
		return next(ctx, cmds)
	}
}
