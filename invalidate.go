package fncache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/sweep"
)

// This file invalidates and expires: single entries by their keys, entries by their tags, and all
// entries of a function by the fence of tags or by a scan of all keys (package sweep).

// --- Single entries ---

// An overtaking is a step that invalidates or expires entries.
type overtaking struct {
	op     string
	verb   events.Verb
	script *remote.Script
}

var (
	invalidating = &overtaking{opInvalidate, events.Invalidate, invalidateScript}
	expiring     = &overtaking{opExpire, events.Expire, expireScript}
)

// detach keeps later calls for entries from joining the lookups and computations that are
// under way. It does so in every function of this process, on any cache, that shares the
// entries or has entries of another signature for the same arguments.
func (f *Func) detach(c *Cache, keys ...string) {
	for _, key := range keys {
		for _, h := range names.holdings(f, c, key) {
			h.cache.events.Note(events.Event{Verb: events.Invalidate, Key: h.key, ID: "-"})
			h.cache.flights.Detach(h.flightKey)
		}
	}
}

// A holding is an entry as one function has it on one cache.
type holding struct {
	cache *Cache
	flightKey
}

// holdings returns the holdings that this process may have of the entry that f has under key
// on the cache c: of every function that has or had the name of f there, on every cache that
// shares the keys, and under every signature.
func (r *registry) holdings(f *Func, c *Cache, key string) []holding {
	all := []holding{{c, flightKey{f, key}}}
	base, _, _ := strings.Cut(key, "}")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.m[f.Name()] {
		if u.cache != nil && u.space() == c.space && (u.fn != f || u.cache != c) {
			all = append(all, holding{u.cache, flightKey{u.fn, base + u.suffix}})
		}
	}
	return all
}

// overtakeEntries invalidates or expires the entries under these keys and the entries for the same
// arguments of all releases that are registered for the same parameter types, and ends their leases.
func (c *Cache) overtakeEntries(ctx context.Context, fn *Func, keys []string, step *overtaking) (err error) {
	defer func() { c.tellInvalidated(ctx, Invalidation{ScopeKey, fn, step == expiring, len(keys), err}) }()
	s := c.storeFor(fn)
	registry := registryKey(c.cfg.Namespace, fn.Name())
	fn.detach(c, keys...)
	records, err := s.releases(ctx, registry)
	if ctx.Err() == nil && c.noteRedis(fn, opReleases, registry, err) {
		return fmt.Errorf("%w; the list of releases that may have stored the entry cannot be read, key %s", err, registry)
	}
	if err != nil {
		return err
	}
	groups := make([][]string, len(keys)) // an entry and its releases are in one slot
	for i, key := range keys {
		groups[i] = keysOfReleases(key, fn.params, records)
	}
	fn.detach(c, keys...)
	err = s.overtake(ctx, step, groups...)
	fn.detach(c, keys...)
	if ctx.Err() == nil {
		c.noteRedis(fn, step.op, keys[0], err)
	}
	return err
}

// overtake deletes or expires entries, and deletes the leases on them, also those of other
// holders. The entries of one group are in one slot, and are overtaken in one step. The error is
// the first one.
func (s *lockStore) overtake(ctx context.Context, step *overtaking, groups ...[]string) (failed error) {
	cmds := make([]*remote.Command, len(groups))
	for i, entries := range groups {
		keys, args := make([]string, 0, 2*len(entries)), make([]any, 0, 1+len(entries))
		args = append(args, s.channelOf(entries[0]))
		for _, key := range entries {
			keys = append(keys, key, key+lockSuffix)
			args = append(args, events.Event{Verb: step.verb, Key: key, ID: "-"}.String())
		}
		cmds[i] = remote.Eval(step.op, remote.Writes, step.script, keys, args, remote.Limits{Always: true, Urgent: true})
	}
	for i, err := range s.askAll(ctx, step.op, cmds) {
		if err == nil {
			_, err = s.stepDone(groups[i][0], cmds[i].Reply())
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}

// --- Tags ---

// InvalidateTags invalidates all entries that have one of the tags, in the whole fleet. The
// entries are misses from then on, and later calls do not get the result of a computation that
// began before. It sends one command for each 100 tags, for any number of entries.
//
// It gives the same guarantees for an entry as [Func.Invalidate]. Under OnCold Fail, the
// invalidation of a busy tag refuses all callers for a moment, so [Cache.ExpireTags] is better
// for everyday changes. Tags that no entry has are allowed.
//
// Change the data, commit, then invalidate. The error is nil, the error of ctx, or wraps
// [ErrRedisDown]. After an error the entries may still be served: invalidate again.
func (c *Cache) InvalidateTags(ctx context.Context, tags ...string) error {
	return c.overtakeTags(ctx, fence.Hard, tags)
}

// ExpireTags makes all fresh entries that have one of the tags stale, in the whole fleet: the
// next caller of each entry recomputes it, and meanwhile the others get the stale value.
// Otherwise it works like [Cache.InvalidateTags].
func (c *Cache) ExpireTags(ctx context.Context, tags ...string) error {
	return c.overtakeTags(ctx, fence.Soft, tags)
}

func (c *Cache) overtakeTags(ctx context.Context, kind fence.Kind, tags []string) error {
	ctx = orBackground(ctx)
	err := c.overtake(ctx, kind, c.hashTags(tags))
	c.tellInvalidated(ctx, Invalidation{Scope: ScopeTag, Expired: kind == fence.Soft, Count: len(tags), Err: err})
	return err
}

func (c *Cache) hashTags(tags []string) []fence.Tag {
	hashes := make([]fence.Tag, 0, len(tags))
	known := make(map[fence.Tag]bool, len(tags))
	for _, text := range tags {
		if tag := fence.TagOf(c.hashing, text); !known[tag] {
			known[tag] = true
			hashes = append(hashes, tag)
		}
	}
	return hashes
}

// overtake invalidates or expires tags. One command has at most as many tags as the fence
// removes in one step.
func (c *Cache) overtake(ctx context.Context, kind fence.Kind, tags []fence.Tag) error {
	if c.life.Closed() {
		return newRedisError(opInvalidateTags, c.fence.key, ErrClosed)
	}
	ctx = orBackground(ctx)
	for some := range slices.Chunk(tags, fence.MaxRemoved) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.overtakeSome(ctx, kind, some); err != nil {
			return err
		}
	}
	return nil
}

// overtakeSome sends one invalidation. It drops the lookups and near cache entries of this
// process before it and again after it, because a lookup that begins in between may have read
// the fence before the invalidation (W12 of docs/protocol.md).
func (c *Cache) overtakeSome(ctx context.Context, kind fence.Kind, tags []fence.Tag) error {
	c.clock.Await(ctx)
	c.overtakenHere(fence.Message{Kind: kind, Tags: tags})
	channel := c.store.channel + fenceChannel
	reply, err := c.store.eval(ctx, opInvalidateTags, fenceInvalidateScript, remote.Limits{Always: true, Urgent: true},
		[]string{c.fence.key}, fence.InvalidateArgs(c.known(), kind, channel, tags)...)
	var stamp fence.Stamp
	if err == nil {
		var why string
		if stamp, why, err = fence.ParseInvalidated(reply); why != "" {
			c.noteUnpublished(channel, publishRefused(why))
		}
	}
	c.overtakenHere(fence.Message{Stamp: stamp, Kind: kind, Tags: tags})
	switch {
	case err == nil:
		c.fence.seen.Note(stamp)
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return ctx.Err()
	}
	c.noteRedis(nil, opInvalidateTags, c.fence.key, err)
	return fmt.Errorf("%w; the fence of tags, key %s", err, c.fence.key)
}

// fenceChannel is the name of the fence's channel of events. The channel of a function has the
// name of the function.
const fenceChannel = "{fence}"

// overtakenHere makes sure that later calls in this process get no value that is older than an
// invalidation. It does so for every cache that shares the fence.
func (c *Cache) overtakenHere(m fence.Message) {
	for _, other := range names.caches(c) {
		other.flights.Outdate(func(id flightKey) bool { return id.fn.tagged() })
		other.hearTags(m)
		other.events.OvertakeTags(fence.Raw(m.Tags))
	}
}

// hearMessage handles a message about tags that another process has published.
func (c *Cache) hearMessage(text string) (tags [][16]byte, ok bool) {
	m, ok := fence.ParseMessage(text)
	if ok {
		c.hearTags(m)
	}
	return fence.Raw(m.Tags), ok
}

// hearTags handles an invalidation of tags.
func (c *Cache) hearTags(m fence.Message) {
	c.fence.seen.Note(m.Stamp)
	if m.Kind == fence.Hard && m.Stamp != fence.Unknown {
		c.fence.runs.overtake(m)
	}
}

// --- All entries of a function ---

const opClear = "clear"

// Clear invalidates all entries of the function in the whole fleet, for all arguments and all
// releases. As with [Func.Invalidate], later calls do not get the result of a computation that
// began before. Clear finds the entries by the name of the function, so it also clears other
// functions that share the name.
//
// If the function has Options.Tags, Clear sends one command for any number of entries. It works
// like [Cache.InvalidateTags] with a tag that every entry of the function has: nothing is
// deleted, and removed is 0. Entries of functions that call this one are invalidated too.
//
// If the function has no Options.Tags, or a registered release has none, Clear scans all keys of
// every primary twice, in small steps, and deletes the entries of the function; removed counts
// them. This needs the rights +scan and +unlink, and takes some seconds for a million keys. It is
// meant for maintenance; if you clear a function often, give it Tags. A scan misses the result of
// a computation whose lease a failover has brought back. See docs/tags.md.
//
// The error is nil, the error of ctx, or wraps [ErrRedisDown]. After an error entries may still
// be served: call Clear again.
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
	removed, err = b.cache.clear(ctx, clearing{fn: f, name: f.Name(), tag: b.tag})
	if err != nil && ctx.Err() != nil {
		return removed, ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("%w; function %s", err, f.Name())
	}
	return removed, err
}

// A clearing says which function is cleared.
type clearing struct {
	fn       *Func // nil if this process does not have the function
	name     string
	tag      fence.Tag // that all of its entries with tags have
	progress func(removed int)
}

// clear clears the entries of all registered releases, by the fence, by a sweep, or by both. A
// release that registers later also calls its function later. If this process does not have
// the function and nothing is registered, clear does both.
func (c *Cache) clear(ctx context.Context, what clearing) (removed int, err error) {
	defer func() { c.tellInvalidated(ctx, Invalidation{Scope: ScopeFunction, Func: what.fn, Count: 1, Err: err}) }()
	registry := registryKey(c.cfg.Namespace, what.name)
	c.clearedHere(what.name)
	known, err := c.storeFor(what.fn).releases(ctx, registry)
	if err != nil {
		if ctx.Err() == nil {
			c.noteRedis(what.fn, opReleases, registry, err)
		}
		return 0, fmt.Errorf("%w; the list of releases that may have stored entries cannot be read, key %s", err, registry)
	}
	tagged, untagged := what.kinds(known)
	if tagged {
		err = c.overtake(ctx, fence.Hard, []fence.Tag{what.tag})
	}
	if err == nil && untagged {
		removed, err = c.sweep(ctx, what)
	}
	c.clearedHere(what.name)
	return removed, err
}

// kinds reports whether the function may have entries with tags, and entries without.
func (w *clearing) kinds(known []releases.Record) (tagged, untagged bool) {
	if w.fn != nil {
		tagged, untagged = w.fn.tagged(), !w.fn.tagged()
	} else if len(known) == 0 {
		return true, true
	}
	for _, r := range known {
		tagged, untagged = tagged || r.Tagged, untagged || !r.Tagged
	}
	return tagged, untagged
}

// sweep deletes all entries of a function. It publishes one event about all of its keys before
// the sweep and again after it, because other processes may put entries that they read in
// between into their near caches.
func (c *Cache) sweep(ctx context.Context, what clearing) (removed int, err error) {
	name := what.name
	if err = c.tellCleared(ctx, name); err != nil {
		return 0, err
	}
	limited, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(c.alive, end)()
	removed, err = sweep.Sweep(limited, sweep.Config{
		Client:   c.cfg.Redis,
		Prefix:   entryPrefix(c.cfg.Namespace, name),
		Entry:    func(key string) (string, bool) { return entryOf(c.cfg.Namespace, name, key) },
		Lock:     lockSuffix,
		Probe:    entryPrefix(c.cfg.Namespace, name) + entrySuffix("clear"),
		Limit:    max(sweepLimit*c.cfg.RedisTimeout, leastSweepLimit),
		Spawn:    c.asking.Go,
		Progress: what.progress,
	})
	switch {
	case err == nil:
	case c.life.Closed():
		err = newRedisError(opClear, "", ErrClosed)
	case ctx.Err() == nil:
		err = newRedisError(opClear, "", err)
		c.noteRedis(what.fn, opClear, "", err)
	}
	return removed, cmp.Or(err, c.tellCleared(context.WithoutCancel(ctx), name))
}

// How long Redis may take to answer one command of a sweep, which is about many keys: sweepLimit
// RedisTimeouts, but at least leastSweepLimit.
const (
	sweepLimit      = 4
	leastSweepLimit = 2 * time.Second
)

// clearedHere makes sure that later calls of a function in this process get no older value. It
// does so for every cache that has the function's entries.
func (c *Cache) clearedHere(name string) {
	for _, other := range names.caches(c) {
		other.events.Note(cleared(name))
		other.flights.DetachAll(func(id flightKey) bool { return id.fn.Name() == name })
	}
}

func cleared(name string) events.Event { return events.Event{Verb: events.Clear, Key: name, ID: "-"} }

// tellCleared publishes that all entries of a function are gone. A user without the right to
// publish can still clear.
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
