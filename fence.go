package fncache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/remote"
)

// This file asks the fence (package fence), which remembers for each tag when it was last
// invalidated: with each lookup of a function that has tags, before and after each
// computation, and to invalidate.

var (
	fenceReadScript       = remote.NewScript(fence.ReadLua)
	fenceInvalidateScript = remote.NewScript(fence.InvalidateLua)
)

// What the fence is asked.
const (
	opFence          = "fence"
	opInvalidateTags = "invalidate tags"
)

// A fenceView is what a cache knows of its fence.
type fenceView struct {
	key  string
	seen fence.Seen

	runs runSet

	extras atomic.Int64           // how many keys are in extra
	mu     sync.Mutex             // guards the field below, and writing to the one above
	extra  map[string][]fence.Tag // by key: the tags last seen under it that its call does not tell
}

// A runSet is computations of functions with tags, under a lease.
type runSet struct {
	mu  sync.Mutex // guards the field below
	all map[*computation]struct{}
}

func (s *runSet) add(c *computation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*computation]struct{})
	}
	s.all[c] = struct{}{}
}

func (s *runSet) remove(c *computation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// overtake tells the computations that an invalidation has overtaken.
func (s *runSet) overtake(m fence.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.tally.overtakenBy(m) {
			select {
			case c.foretold <- struct{}{}:
			default:
			}
		}
	}
}

// maxExtra is how many keys are remembered with tags that only their entries tell.
const maxExtra = 4096

// fields returns the names of the fields that a reading asks for.
func fields(tags []fence.Tag) []string {
	names := make([]string, 0, len(fence.Fields)+len(tags))
	names = append(names, fence.Fields[:]...)
	for _, tag := range tags {
		names = append(names, tag.String())
	}
	return names
}

// lookupTagged is lookup, with a reading of the fence for these tags. The two are sent
// together, after the lookup has begun: either may be read first. fenceErr is why there is no
// reading; what the entry is does not matter then.
func (c *Cache) lookupTagged(ctx context.Context, key string, expect int, tags []fence.Tag) (raw []byte, r fence.Reading, err, fenceErr error) {
	get := remote.Get(opLookup, key, remote.Limits{Expect: expect})
	ask := remote.Fields(opFence, c.fence.key, fields(tags), remote.Limits{})
	err, fenceErr = c.store.remote.Both(ctx, get, ask)
	switch {
	case err == nil:
		raw = get.Raw()
	case wrongType(err):
		err = errWrongType
	default:
		err = redisErrorOf(err)
	}
	switch {
	case fenceErr == nil:
		r, fenceErr = fence.ParseReading(ask.Reply(), tags)
	case wrongType(fenceErr):
		fenceErr = nil // no fence: a zero reading
	default:
		fenceErr = redisErrorOf(fenceErr)
	}
	return raw, r, err, fenceErr
}

// known is what the scripts of the fence are told. The server's time is theirs if it is
// known, because clocks of hosts may differ by more than a failover takes.
func (c *Cache) known() fence.Known {
	k := fence.Known{Seen: c.fence.seen.Largest()}
	if c.clock.Official() {
		k.Time = fence.FloorAt(c.clock.Now())
	}
	return k
}

// readFence reads the fence on the primary, for fn. With open it makes one if there is none.
func (c *Cache) readFence(ctx context.Context, fn *Func, open bool, tags []fence.Tag) (r fence.Reading, err error) {
	reply, err := c.storeFor(fn).eval(ctx, opFence, fenceReadScript, remote.Limits{}, []string{c.fence.key},
		fence.ReadArgs(c.known(), open, tags)...)
	if err == nil {
		r, err = fence.ParseReading(reply, tags)
	}
	if ctx.Err() == nil {
		c.noteRedis(fn, opFence, c.fence.key, err)
	}
	if err == nil && r.Epoch != (fence.Epoch{}) {
		c.fence.seen.Note(r.Now)
	}
	return r, err
}

// A weighing is what an entry is worth by a reading of the fence.
type weighing struct {
	verdict fence.Verdict
	again   bool // the fence must be read again, for all tags of the entry
}

// weigh judges an entry. What it says of the fence is noted.
func (c *Cache) weigh(e *entry, r *fence.Reading) (w weighing) {
	if r.Epoch == (fence.Epoch{}) {
		return weighing{verdict: fence.Invalid}
	}
	if c.fence.seen.Note(r.Now) > r.Now {
		return weighing{again: true} // it went back, or a replica is behind (W10)
	}
	switch w.verdict = r.Judge(e.tags.Epoch, e.tags.Marks); w.verdict {
	case fence.Newer:
		if !c.plausible(e, r) {
			return weighing{verdict: fence.Invalid}
		}
		for _, m := range e.tags.Marks {
			c.fence.seen.Note(m.Stamp) // X3
		}
		w.again = true
	case fence.Unread:
		w.again = true
	default:
		e.validAt = r.Now
	}
	return w
}

// farAhead is how much larger than all that is known the stamp of an entry may be: about
// 50 days on the clock of a server. One that is larger is damaged, and would spoil what was
// seen.
const farAhead fence.Stamp = 1 << 42

func (c *Cache) plausible(e *entry, r *fence.Reading) bool {
	most := max(r.Now, c.known().Time) + farAhead
	return !slices.ContainsFunc(e.tags.Marks, func(m fence.Mark) bool { return m.Stamp > most })
}

// weighAgain reads the fence on the primary and judges an entry by that.
func (c *Cache) weighAgain(ctx context.Context, fn *Func, e *entry) (fence.Verdict, error) {
	for range maxRounds { // a fence that goes back on and on is none
		r, err := c.readFence(ctx, fn, false, tagsOfMarks(e.tags.Marks))
		if err != nil {
			return fence.Invalid, err
		}
		if w := c.weigh(e, &r); !w.again {
			return w.verdict, nil
		}
	}
	return fence.Invalid, nil
}

// askedTags returns the tags that a lookup asks for: those of the call, and those that were
// last seen in the entry.
func (c *Cache) askedTags(f *flight) []fence.Tag {
	if c.fence.extras.Load() == 0 {
		return f.tags
	}
	c.fence.mu.Lock()
	extra := c.fence.extra[f.key]
	c.fence.mu.Unlock()
	if extra == nil {
		return f.tags
	}
	return append(slices.Clip(f.tags), extra...)
}

// noteExtra remembers the tags of an entry that its call does not tell.
func (c *Cache) noteExtra(f *flight, e *entry) {
	var extra []fence.Tag
	if len(e.tags.Marks) > len(f.tags) {
		for _, m := range e.tags.Marks {
			if !slices.Contains(f.tags, m.Tag) {
				extra = append(extra, m.Tag)
			}
		}
	}
	v := &c.fence
	if extra == nil && v.extras.Load() == 0 {
		return
	}
	v.mu.Lock()
	defer func() {
		v.extras.Store(int64(len(v.extra)))
		v.mu.Unlock()
	}()
	if extra == nil {
		delete(v.extra, f.key)
		return
	}
	if v.extra == nil {
		v.extra = make(map[string][]fence.Tag)
	}
	if _, known := v.extra[f.key]; !known && len(v.extra) >= maxExtra {
		for key := range v.extra { // any
			delete(v.extra, key)
			break
		}
	}
	v.extra[f.key] = extra
}

// --- Computations ---

// capture reads the stamp of a computation, before its function runs: what is invalidated
// while it runs has a larger one. Where there is no fence it makes one. Without a stamp the
// result is not stored (W9).
func (c *computation) capture() {
	tags := c.tags
	stale := c.stale
	if stale != nil {
		tags = append(slices.Clip(tags), tagsOfMarks(stale.tags.Marks)...)
	}
	c.place = c.cache.hereTags(c.fn) // not later: see W2
	r, err := c.cache.readFence(c.ctx, c.fn, c.token != "", tags)
	if err != nil || r.Epoch == (fence.Epoch{}) {
		c.tally = newTally(c.cache, c.fn, c.tags, nil)
		return
	}
	c.tally = newTally(c.cache, c.fn, c.tags, &r)
	if c.token != "" {
		c.foretold = make(chan struct{}, 1)
		c.cache.fence.runs.add(c)
		if c.fn.opts.OnCold == Wait { // callers elsewhere may wait for it
			c.heard = c.cache.events.Join(fenceChannel)
		}
	}
	if stale != nil && r.Judge(stale.tags.Epoch, stale.tags.Marks) == fence.Invalid {
		c.staleGone = true
	}
}

// A rereading is the last reading of the fence for a computation, on its way.
type rereading struct {
	done    chan struct{} // closed when the fields below are set
	verdict fence.Verdict // of what was computed
	err     error         // there is none
}

// reread begins to read the fence once more, for those who joined the computation: they may
// have come after an invalidation. Newcomers look up from here on. It returns nil where nobody
// needs it.
func (c *computation) reread() *rereading {
	if c.tally == nil || c.token == "" || !c.cache.flights.joined(c) && c.fn.near == nil {
		return nil
	}
	r := &rereading{done: make(chan struct{})}
	c.cache.life.Go(func() {
		defer close(r.done)
		r.verdict, r.err = c.judgeRun(c.ctx)
	})
	return r
}

// judgeRun judges what the computation has collected so far, by a reading on the primary.
func (c *computation) judgeRun(ctx context.Context) (fence.Verdict, error) {
	epoch, marks := c.tally.snapshot()
	r, err := c.cache.readFence(ctx, c.fn, false, tagsOfMarks(marks))
	if err != nil {
		return fence.Invalid, err
	}
	return r.Judge(epoch, marks), nil
}

// counts waits for the rereading, and reports what of the value holds for those who joined:
// that they may have it, and that it is not overtaken in any way.
func (r *rereading) counts() (given, fresh bool) {
	if r == nil {
		return true, true
	}
	<-r.done
	return r.err == nil && r.verdict <= fence.Expired, r.err == nil && r.verdict == fence.Valid
}

// joined reports whether the value of a computation is for others than who waited before it
// began. Refresh counts (W13). settles was called before, so nobody joins later.
func (fs *flights) joined(c *computation) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return c.shared
}

// --- Invalidating ---

// InvalidateTags invalidates all entries that have one of the tags, in the whole fleet: they
// are gone, and what began to be computed before is not served to calls that come after. It
// costs one command for each 100 tags, however many entries there are.
//
// For an entry it promises what [Func.Invalidate] does. A busy tag under OnCold Fail refuses
// all callers for a moment, so [Cache.ExpireTags] is the better one for everyday changes. Tags
// that no entry has are fine.
//
// Change the data, commit, then invalidate. The error is nil, the end of ctx, or wraps
// [ErrRedisDown]; after an error entries may still be served: invalidate again.
func (c *Cache) InvalidateTags(ctx context.Context, tags ...string) error {
	return c.overtake(ctx, fence.Hard, c.hashTags(tags))
}

// ExpireTags makes all entries that have one of the tags stale at most, in the whole fleet,
// whatever their age: the next caller of each recomputes it, and the others are served the
// stale one meanwhile. Otherwise it is like [Cache.InvalidateTags].
func (c *Cache) ExpireTags(ctx context.Context, tags ...string) error {
	return c.overtake(ctx, fence.Soft, c.hashTags(tags))
}

func (c *Cache) hashTags(tags []string) []fence.Tag {
	hashes := make([]fence.Tag, 0, len(tags))
	for _, text := range tags {
		if tag := fence.TagOf(c.hashing, text); !slices.Contains(hashes, tag) {
			hashes = append(hashes, tag)
		}
	}
	return hashes
}

// overtake invalidates or expires tags, so many with one command as the fence forgets at most.
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

// overtakeSome sends one invalidation. What this process keeps and shares is given up before
// it and after it: what begins in between may have read the fence before (W12).
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

// fenceChannel is the channel of events of the fence, as that of a function is its name.
const fenceChannel = "{fence}"

// overtakenHere has no later call in this process answered with anything older than an
// invalidation: in every cache that has the fence.
func (c *Cache) overtakenHere(m fence.Message) {
	for _, other := range names.caches(c) {
		other.flights.detachTagged()
		other.hearTags(m)
		other.events.OvertakeTags(bytesOf(m.Tags))
	}
}

func bytesOf(tags []fence.Tag) [][16]byte {
	all := make([][16]byte, len(tags))
	for i, tag := range tags {
		all[i] = tag
	}
	return all
}

// hearMessage takes in what another process has published about tags.
func (c *Cache) hearMessage(text string) (tags [][16]byte, ok bool) {
	m, ok := fence.ParseMessage(text)
	if ok {
		c.hearTags(m)
	}
	return bytesOf(m.Tags), ok
}

// hearTags takes in an invalidation of tags.
func (c *Cache) hearTags(m fence.Message) {
	c.fence.seen.Note(m.Stamp)
	if m.Kind == fence.Hard && m.Stamp != fence.Unknown {
		c.fence.runs.overtake(m)
	}
}

// detachTagged is detach for all functions that have tags. Computations under a lease stay:
// the fence is read again before their joiners are answered.
func (fs *flights) detachTagged() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for id, s := range fs.m {
		if !id.fn.tagged() {
			continue
		}
		s.detachLookups()
		fs.sweep(id, s)
	}
}
