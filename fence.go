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

// This file reads and writes the fence (package fence), which remembers for each tag when it was
// last invalidated. The fence is read with each lookup of a function that has tags, and before
// and after each of its computations. An invalidation of tags writes it.

var (
	fenceReadScript       = remote.NewScript(fence.ReadLua)
	fenceInvalidateScript = remote.NewScript(fence.InvalidateLua)
)

// The operations on the fence.
const (
	opFence          = "fence"
	opInvalidateTags = "invalidate tags"
)

// A fenceView is the state of the fence, as a cache knows it.
type fenceView struct {
	key  string
	seen fence.Seen

	runs runSet

	extras atomic.Int64           // how many keys are in extra
	mu     sync.Mutex             // guards extra, and writes to extras
	extra  map[string][]fence.Tag // by key: the tags of the last seen entry that its call does not have
}

// A runSet has the computations of functions with tags that run under a lease.
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

// overtake informs the computations that an invalidation has overtaken.
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

// maxExtra bounds the number of keys in fenceView.extra.
const maxExtra = 4096

// lookupTagged does lookup together with a reading of the fence for these tags. The two
// are sent together, after the lookup has begun, and Redis may execute them in either order. If
// fenceErr is not nil, there is no reading, and the entry cannot be used.
func (c *Cache) lookupTagged(ctx context.Context, key string, expect int, tags []fence.Tag) (raw []byte, r fence.Reading, err, fenceErr error) {
	get := remote.Get(opLookup, key, remote.Limits{Expect: expect})
	ask, seen := c.askFence(tags)
	err, fenceErr = c.store.remote.Both(ctx, get, ask)
	raw, err = lookedUp(get, err)
	r, fenceErr = readingOf(ask, seen, tags, fenceErr)
	return raw, r, err, fenceErr
}

// readAll reads entries of a function together, and with them the fence for these tags if the
// function is tagged.
func (c *Cache) readAll(ctx context.Context, fn *Func, keys []string, tags []fence.Tag) (got []remote.Got, r fence.Reading, fenceErr error) {
	var ask *remote.Question
	var seen fence.Stamp
	if fn.tagged() {
		ask, seen = c.askFence(tags)
	}
	got, fenceErr = c.store.remote.GetAll(ctx, opLookup, keys, remote.Limits{Expect: fn.expected()}, ask)
	if ask != nil {
		r, fenceErr = readingOf(ask, seen, tags, fenceErr)
	}
	return got, r, fenceErr
}

// askFence returns a question to the fence about tags, and the largest stamp that was seen before.
func (c *Cache) askFence(tags []fence.Tag) (ask *remote.Question, seen fence.Stamp) {
	return remote.NewQuestion(opFence, c.fence.key, fence.Fields[:], fence.Raw(tags)), c.fence.seen.Largest()
}

// readingOf returns the reading of a question that askFence has made.
func readingOf(ask *remote.Question, seen fence.Stamp, tags []fence.Tag, err error) (r fence.Reading, _ error) {
	switch {
	case err == nil:
		r = fence.ReadingOf(ask.Value, tags)
		r.Seen = seen
		return r, nil
	case wrongType(err):
		return r, nil // there is no fence: the reading is zero
	default:
		return r, redisErrorOf(err)
	}
}

// known returns the largest known stamp and time, for the scripts of the fence. The time is set
// only if it comes from the server: the clocks of hosts may differ by more than a failover
// takes.
func (c *Cache) known() fence.Known {
	k := fence.Known{Seen: c.fence.seen.Largest()}
	if c.clock.Official() {
		k.Time = fence.FloorAt(c.clock.Now())
	}
	return k
}

// readFence reads the fence on the primary, for fn, together with the other commands of a group
// unless group is nil. If open is true and there is no fence, it makes one.
func (c *Cache) readFence(ctx context.Context, fn *Func, group *remote.Group, open bool, tags []fence.Tag) (r fence.Reading, err error) {
	store := c.storeFor(fn)
	if group != nil { // then fn is not nil, and the store is this call's own
		store.group = group
	}
	known := c.known()
	reply, err := store.eval(ctx, opFence, fenceReadScript, remote.Limits{}, []string{c.fence.key},
		fence.ReadArgs(known, open, tags)...)
	if err == nil {
		r, err = fence.ParseReading(reply, tags)
		r.Seen = known.Seen
	}
	if ctx.Err() == nil {
		c.noteRedis(fn, opFence, c.fence.key, err)
	}
	if err == nil && r.Epoch != (fence.Epoch{}) {
		c.fence.seen.Note(r.Now)
	}
	return r, err
}

// A weighing is the result of judging an entry by a reading of the fence.
type weighing struct {
	verdict fence.Verdict
	again   bool // the fence must be read again, for all tags of the entry
}

// weigh judges an entry by a reading of the fence. It notes the stamps that it sees.
func (c *Cache) weigh(e *entry, r *fence.Reading) (w weighing) {
	if r.Epoch == (fence.Epoch{}) {
		return weighing{verdict: fence.Invalid}
	}
	c.fence.seen.Note(r.Now)
	if r.WentBack() {
		return weighing{again: true}
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

// farAhead is how much the stamp of an entry may exceed all known stamps: about 50 days on the
// clock of a server. A larger stamp comes from a damaged entry, and must not be noted.
const farAhead fence.Stamp = 1 << 42

func (c *Cache) plausible(e *entry, r *fence.Reading) bool {
	most := max(r.Now, c.known().Time) + farAhead
	return !slices.ContainsFunc(e.tags.Marks, func(m fence.Mark) bool { return m.Stamp > most })
}

// weighAgain reads the fence on the primary, and judges an entry by that reading.
func (c *Cache) weighAgain(ctx context.Context, fn *Func, e *entry) (fence.Verdict, error) {
	for range maxRounds { // a fence that goes back each time cannot be used
		r, err := c.readFence(ctx, fn, nil, false, tagsOfMarks(e.tags.Marks))
		if err != nil {
			return fence.Invalid, err
		}
		if w := c.weigh(e, &r); !w.again {
			return w.verdict, nil
		}
	}
	return fence.Invalid, nil
}

// askedTags returns the tags that a lookup asks the fence for: the tags of the call, and the
// tags of the entry that was last seen.
func (c *Cache) askedTags(key string, tags []fence.Tag) []fence.Tag {
	if c.fence.extras.Load() == 0 {
		return tags
	}
	c.fence.mu.Lock()
	extra := c.fence.extra[key]
	c.fence.mu.Unlock()
	if extra == nil {
		return tags
	}
	return append(slices.Clip(tags), extra...)
}

// noteExtra remembers the tags of an entry that its call does not have.
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
		for key := range v.extra { // any key
			delete(v.extra, key)
			break
		}
	}
	v.extra[f.key] = extra
}

// --- Computations ---

// fencesOf returns the group of the readings of the fence before a run; nil without tags.
func (c *Cache) fencesOf(fn *Func, size int) *remote.Group {
	if !fn.tagged() || size < 2 {
		return nil
	}
	return c.store.remote.NewGroup(size)
}

// capture reads the stamp of a computation before its function runs. An invalidation while the
// function runs has a larger stamp. If there is no fence, capture makes one. Without a stamp the
// result is not stored (W9 of docs/protocol.md).
func (c *computation) capture() {
	tags := c.tags
	stale := c.stale
	if stale != nil {
		tags = append(slices.Clip(tags), tagsOfMarks(stale.tags.Marks)...)
	}
	c.place = c.cache.hereTags(c.fn) // must come before the reading: see W2
	r, err := c.cache.readFence(c.ctx, c.fn, c.member.takeFences(), c.token != "", tags)
	if err != nil || r.Epoch == (fence.Epoch{}) {
		c.tally = newTally(c.cache, c.fn, c.tags, nil)
		return
	}
	c.tally = newTally(c.cache, c.fn, c.tags, &r)
	if c.token != "" {
		c.foretold = make(chan struct{}, 1)
		c.cache.fence.runs.add(c)
		if c.fn.opts.OnCold == Wait { // callers in other processes may wait for the result
			c.heard = c.cache.events.Join(fenceChannel)
		}
	}
	if stale != nil && r.Judge(stale.tags.Epoch, stale.tags.Marks) == fence.Invalid {
		c.staleGone = true
	}
}

// A rereading is the last reading of the fence for a computation, which runs in the background.
type rereading struct {
	done    chan struct{} // closed when the fields below are set
	verdict fence.Verdict // about the result of the computation
	err     error         // why there is no verdict
}

// reread begins to read the fence once more, because callers that joined the computation may
// have called after an invalidation. From here on new callers do not join, but look up. reread
// returns nil if no caller and no near cache needs the verdict.
func (c *computation) reread() *rereading {
	if c.tally == nil || c.token == "" || !c.cache.flights.joined(c) && c.fn.near == nil {
		return nil
	}
	return c.startRereading()
}

// startRereading begins to judge the tags of the run. No function runs any more, or its run is no
// longer waited for.
func (c *computation) startRereading() *rereading {
	r := &rereading{done: make(chan struct{})}
	c.cache.life.Go(func() {
		defer close(r.done)
		if r.verdict, r.err = c.judgeRun(c.ctx); c.tally.tooMany() {
			r.verdict = fence.Invalid // not all of the tags are known
		}
	})
	return r
}

// rereadLate reads the fence once more after a function has returned later than ComputeTimeout, once
// for all callers that joined. It returns what counts returns.
func (c *computation) rereadLate() (given, fresh bool) {
	c.late.Do(func() { c.lateReading = c.startRereading() })
	return c.lateReading.counts()
}

// judgeRun judges the tags that the computation has collected so far, by a reading on the
// primary.
func (c *computation) judgeRun(ctx context.Context) (fence.Verdict, error) {
	epoch, marks := c.tally.snapshot()
	r, err := c.cache.readFence(ctx, c.fn, nil, false, tagsOfMarks(marks))
	if err != nil {
		return fence.Invalid, err
	}
	return r.Judge(epoch, marks), nil
}

// counts waits for the rereading. given reports whether callers that joined may get the value.
// fresh reports whether no invalidation or expiry has overtaken the value.
func (r *rereading) counts() (given, fresh bool) {
	if r == nil {
		return true, true
	}
	<-r.done
	return r.err == nil && r.verdict <= fence.Expired, r.err == nil && r.verdict == fence.Valid
}

// joined reports whether a caller may get the value of a computation that it did not wait for
// when the computation began. Refresh counts too (W13 of docs/protocol.md). settles was called
// before, so no caller joins later.
func (fs *flights) joined(c *computation) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return c.shared
}

// --- Invalidating ---

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
		other.flights.detachTagged()
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

// detachTagged detaches the lookups of all functions that have tags. Computations under a lease
// are not detached, because the fence is read again before the callers that joined them are
// answered. Callers that cannot ask Redis do not join them any more.
func (fs *flights) detachTagged() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.detachments++
	for id, s := range fs.m {
		if !id.fn.tagged() {
			continue
		}
		s.detachLookups()
		if s.leased != nil {
			s.leased.outdated = true
		}
		fs.sweep(id, s)
	}
}

// detached returns how often something was detached because of an invalidation. If the number
// has not changed since a lookup was sent, a flight that is boarded now may have its entry: no
// call that joins the flight began after an invalidation that this process sent meanwhile.
func (fs *flights) detached() uint64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.detachments
}
