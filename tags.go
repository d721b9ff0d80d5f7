package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/shape"
)

// This file has the tags of entries: the tags of a call, by Options.Tags, and the tags that a
// run of a function collects from its own call, from AddTags, and from the cached functions
// that it calls. It reads the fence (package fence), which remembers for each tag when it was last
// invalidated: with each lookup of a function that has tags, and before and after each of its
// computations. docs/protocol.md has the orders of events that these rules prevent, W1 to W15.

const (
	// maxOwnTags is how many tags Options.Tags may have.
	maxOwnTags = 64
	// maxTags is how many tags an entry may have, besides the tag of its function.
	maxTags = fence.MaxMarks - 1
)

// tagsOf returns the tags of a call, each once. The tag of the function comes first.
func (f *Func) tagsOf(b *binding, args shape.Arguments) []fence.Tag {
	tags := make([]fence.Tag, 1, 1+f.tagPlan.Len())
	tags[0] = b.tag
	var room [96]byte
	value := func(i int) reflect.Value { return f.shape.Argument(args, i) }
	for i := range f.tagPlan.Len() {
		text := fence.Text(f.tagPlan.Append(fence.Begin(room[:]), i, value))
		if tag := text.Hash(b.cache.hashing); !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// --- What a run collects ---

// A tally is a fence.Tally with the cache of its run.
type tally struct {
	*fence.Tally
	cache *Cache
}

func newTally(c *Cache, tags []fence.Tag, r *fence.Reading) *tally {
	return &tally{fence.NewTally(tags, r), c}
}

// block returns the tags for the entry of the run. The error says why the result cannot be
// stored.
func (c *computation) block() (*fence.Block, error) {
	tags, err := c.tally.Block()
	if errors.Is(err, fence.ErrManyTags) {
		c.cache.log.Once("many tags "+c.fn.Name(), slog.LevelError,
			fmt.Sprintf("a result has more than %d tags, so it is not stored; use fewer and broader tags", maxTags), "func", c.fn.Name())
	}
	return tags, err
}

// AddTags adds tags to the result of a cached function that has [Options.Tags]. The function
// calls it with the context that it was given. Use it for tags that depend on the result, such
// as the tags of the books in a list. If a tag is invalidated while the function runs, the
// result is invalid, even if the tag is added later.
//
// In a function without Options.Tags, AddTags keeps the result from being stored; set Tags, to
// an empty list if there are no others. Tags that are added after the function has returned are
// lost. Each of these two faults is logged once. With another context AddTags does nothing.
func AddTags(ctx context.Context, tags ...string) {
	f := perCallOf(orBackground(ctx)).frame
	if f == nil || len(tags) == 0 {
		return
	}
	if f.tally == nil {
		if f.of.tagged() {
			return // a direct call: no run around it inherits its tags
		}
		f.noStore.Store(true)
		f.log("AddTags is called in a function without Options.Tags: its result is not stored; set Tags, to an empty list if it has no others")
		return
	}
	hashes := make([]fence.Tag, len(tags))
	for i, text := range tags {
		hashes[i] = fence.TagOf(f.tally.cache.hashing, text)
	}
	if f.ended.Load() || !f.tally.Add(hashes) {
		f.log("AddTags is called after the function has returned: the tags are lost; call it before the function returns")
	}
}

// heir returns the tally of the run that contains a call of fn. The call hands its tags up to
// that tally. heir returns nil if no tags are inherited: outside of a run, or if the function
// has no tags, or the run has no tags, or the two use another Redis or another namespace.
func heir(c *Cache, fn *Func, f *frame) *tally {
	if f == nil || !fn.tagged() {
		return nil
	}
	if f.tally == nil {
		if outer := f.taggedAround(); outer != nil && !f.of.tagged() {
			c.log.Once("tags stop "+f.of.Name()+" "+fn.Name(), slog.LevelWarn,
				"a cached function without Options.Tags calls one that has tags: the functions that called it do not inherit these tags; set its Tags, to an empty list if it has no tags of its own",
				"func", f.of.Name(), "calls", fn.Name(), "around", outer.of.Name())
		}
		return nil
	}
	if !f.tally.cache.sharesFence(c) {
		return nil
	}
	return f.tally
}

// taggedAround returns the nearest frame around f that collects tags, or nil.
func (f *frame) taggedAround() *frame {
	for f = f.outer; f != nil; f = f.outer {
		if f.tally != nil && !f.ended.Load() {
			return f
		}
	}
	return nil
}

// handUp hands the tags of the call up before the call runs, with the stamp of the run around
// it. So the tags are there for every outcome of the call, and its answer can only lower their
// stamps (W5).
func (c *call) handUp(f *frame) {
	if c.above = heir(c.cache, c.fn, f); c.above != nil {
		c.above.Add(c.ownTags())
	}
}

// ownTags returns the tags of the call; nil if the function has no tags.
func (c *call) ownTags() []fence.Tag {
	if c.tags == nil && c.fn.tagged() {
		c.tags = c.fn.tagsOf(c.bound, c.args)
	}
	return c.tags
}

// inheritEntry hands up the tags of the entry that answers the call. A fresh entry gets the
// stamp of the reading of the fence. A stale entry keeps its own stamps: with later stamps the
// function one level up would lose an expiry (W8).
func (c *call) inheritEntry(e *entry, source Source) {
	if c.above == nil || e.tags == nil {
		return
	}
	p := fence.Provenance{Epoch: e.tags.Epoch, Marks: e.tags.Marks}
	if source != SourceStale {
		p.At = e.validAt
	}
	c.above.Inherit(p)
}

// inheritRun hands up the tags of the computation that answers the call.
func (c *call) inheritRun(comp *computation) {
	if c.above == nil {
		return
	}
	if comp.tally == nil {
		c.above.Inherit(fence.Provenance{None: true})
		return
	}
	c.above.Inherit(comp.tally.Provenance())
}

// --- Reading the fence ---

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

	extras fence.Extras
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
		if c.tally.OvertakenBy(m) {
			select {
			case c.foretold <- struct{}{}:
			default:
			}
		}
	}
}

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
func (c *Cache) readAll(ctx context.Context, fn *Func, keys []string, expect int, tags []fence.Tag) (got []remote.Got, r fence.Reading, fenceErr error) {
	var ask *remote.Question
	var seen fence.Stamp
	if fn.tagged() {
		ask, seen = c.askFence(tags)
	}
	got, fenceErr = c.store.remote.GetAll(ctx, opLookup, keys, remote.Limits{Expect: expect}, ask)
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
		r, err := c.readFence(ctx, fn, nil, false, fence.TagsOf(e.tags.Marks))
		if err != nil {
			return fence.Invalid, err
		}
		if w := c.weigh(e, &r); !w.again {
			return w.verdict, nil
		}
	}
	return fence.Invalid, nil
}

// hereTags returns the present place in the order of events about tags, for the near cache of
// a function.
func (c *Cache) hereTags(fn *Func) (p events.Place) {
	if b := fn.bound.Load(); b != nil && b.cache == c && b.fence != nil {
		p = c.events.Here(b.fence)
	}
	return p
}

// --- The fence before and after a run ---

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
		tags = append(slices.Clip(tags), fence.TagsOf(stale.tags.Marks)...)
	}
	c.place = c.cache.hereTags(c.fn) // must come before the reading: see W2
	r, err := c.cache.readFence(c.ctx, c.fn, c.member.takeFences(), c.Token != "", tags)
	if err != nil || r.Epoch == (fence.Epoch{}) {
		c.tally = newTally(c.cache, c.tags, nil)
		return
	}
	c.tally = newTally(c.cache, c.tags, &r)
	if c.Token != "" {
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
	if c.tally == nil || c.Token == "" || !c.cache.flights.Shared(c) && c.fn.near == nil {
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
		if r.verdict, r.err = c.judgeRun(c.ctx); c.tally.TooMany() {
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
	epoch, marks := c.tally.Snapshot()
	r, err := c.cache.readFence(ctx, c.fn, nil, false, fence.TagsOf(marks))
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
