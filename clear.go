package fncache

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/sweep"
)

// This file invalidates all entries of a function: by the fence, or by a look at every key
// (package sweep).

const opClear = "clear"

// Clear invalidates all entries of the function in the whole fleet, with any arguments and of
// every release: what began to be computed before is not served to calls that come after, as
// for [Func.Invalidate]. It goes by the name of the function, so it reaches all functions that
// share it.
//
// With Options.Tags it is one command, however many entries there are, like
// [Cache.InvalidateTags] with a tag that every entry of the function has: nothing is deleted,
// and removed is 0. Entries of functions that call this one are invalidated too.
//
// Without Options.Tags, and while releases are known that had none, Clear looks at every key of
// every primary twice, in small steps, and deletes what is the function's: removed counts
// these entries. That takes the right to +scan, and some seconds for a million keys. It is
// for maintenance; where it is an everyday matter, give the function Tags. It does not reach
// what is computed under a lease that a failover brings back. See docs/tags.md.
//
// The error is nil, the end of ctx, or wraps [ErrRedisDown]; after an error entries may still
// be served: clear again.
func (f *Func) Clear(ctx context.Context) (removed int, err error) {
	b, err := f.bind()
	switch ctx = orBackground(ctx); {
	case err != nil:
		return 0, fmt.Errorf("fncache: clear %s: %w", f.Name(), err)
	case b.cache.life.Closed():
		return 0, fmt.Errorf("%w; function %s", newRedisError(opClear, "", ErrClosed), f.Name())
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	removed, err = b.clear(ctx, f)
	if err != nil && ctx.Err() != nil {
		return removed, ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("%w; function %s", err, f.Name())
	}
	return removed, err
}

// clear takes the way that each of the releases needs that are known. One that registers later
// calls its function later still.
func (b *binding) clear(ctx context.Context, fn *Func) (removed int, err error) {
	c, name := b.cache, fn.Name()
	registry := registryKey(c.cfg.Namespace, name)
	c.clearedHere(name)
	known, err := c.storeFor(fn).releases(ctx, registry)
	if err != nil {
		if ctx.Err() == nil {
			c.noteRedis(fn, opReleases, registry, err)
		}
		return 0, fmt.Errorf("%w; the releases that may have stored something cannot be read, key %s", err, registry)
	}
	tagged := func(r releases.Record) bool { return r.Tagged }
	untagged := func(r releases.Record) bool { return !r.Tagged }
	if fn.tagged() || slices.ContainsFunc(known, tagged) {
		err = c.overtake(ctx, fence.Hard, []fence.Tag{b.tag})
	}
	if err == nil && (!fn.tagged() || slices.ContainsFunc(known, untagged)) {
		removed, err = c.sweep(ctx, fn)
	}
	c.clearedHere(name)
	return removed, err
}

// sweep deletes all entries of a function. Other processes are told of all keys at once, before
// it and after it: what they read in between may be kept near until then.
func (c *Cache) sweep(ctx context.Context, fn *Func) (removed int, err error) {
	name := fn.Name()
	if err = c.tellCleared(ctx, name); err != nil {
		return 0, err
	}
	limited, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(c.alive, end)()
	removed, err = sweep.Sweep(limited, sweep.Config{
		Client: c.cfg.Redis,
		Prefix: entryPrefix(c.cfg.Namespace, name),
		Entry:  func(key string) (string, bool) { return entryOf(c.cfg.Namespace, name, key) },
		Lock:   lockSuffix,
		Probe:  entryPrefix(c.cfg.Namespace, name) + entrySuffix("clear"),
		Limit:  max(sweepLimit*c.cfg.RedisTimeout, leastSweepLimit),
		Spawn:  c.asking.Go,
	})
	switch {
	case err == nil:
	case c.life.Closed():
		err = newRedisError(opClear, "", ErrClosed)
	case ctx.Err() == nil:
		err = newRedisError(opClear, "", err)
		c.noteRedis(fn, opClear, "", err)
	}
	return removed, cmp.Or(err, c.tellCleared(context.WithoutCancel(ctx), name))
}

// How long an answer may take that a sweep waits for, in RedisTimeouts: each is about many
// keys.
const (
	sweepLimit      = 4
	leastSweepLimit = 2 * time.Second
)

// clearedHere has no later call in this process answered with anything of a function that is
// older: in every cache that has its entries.
func (c *Cache) clearedHere(name string) {
	for _, other := range names.caches(c) {
		other.events.Note(cleared(name))
		other.flights.detachFunc(name)
	}
}

func cleared(name string) events.Event { return events.Event{Verb: events.Clear, Key: name, ID: "-"} }

// tellCleared tells other processes that all entries of a function are gone. A user that may not
// publish can clear all the same.
func (c *Cache) tellCleared(ctx context.Context, name string) error {
	channel := c.store.channel + name
	err := c.store.do(ctx, opClear, remote.Plain(opClear, "", remote.Writes, remote.Limits{Always: true, Urgent: true},
		"publish", channel, cleared(name).String()))
	if err != nil && ctx.Err() == nil && kindOf(err) == KindNoPerm {
		c.noteUnpublished(channel, err)
		return nil
	}
	return err
}
