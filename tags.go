package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/shape"
)

// This file has the tags of entries: those of a call, by Options.Tags, and those that a run of
// a function collects: from its own call, from AddTags, and from the cached functions that it
// calls. docs/protocol.md has the orders of events that the rules here stop, W1 to W15.

const (
	// maxOwnTags is how many tags Options.Tags may have.
	maxOwnTags = 64
	// maxTags is how many an entry may have, beside the one of its function.
	maxTags = fence.MaxMarks - 1
)

// tagsOf returns the tags of a call: that of the function first, each once.
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

// A tally is the tags that one run of a function collects, each with the smallest stamp that
// was handed up for it. A function that calls cached functions depends on what they depend
// on.
type tally struct {
	fn    *Func
	cache *Cache

	mu    sync.Mutex // guards the fields below
	epoch fence.Epoch
	base  fence.Stamp // that was captured before the function ran; Unknown: none was
	marks []fence.Mark
	at    map[fence.Tag]int // places in marks; nil while they are few
	// unstamped: what the run used has no stamp that counts for it, so that it has none
	// itself.
	unstamped bool
	sealed    bool // the function has returned
}

// fewMarks is how many marks are searched without a map.
const fewMarks = 16

// newTally begins to collect with the tags of the call.
func newTally(c *Cache, f *Func, tags []fence.Tag, r *fence.Reading) *tally {
	t := &tally{fn: f, cache: c}
	if r != nil {
		t.epoch, t.base = r.Epoch, r.Now
	}
	t.marks = make([]fence.Mark, 0, len(tags)+4)
	for _, tag := range tags {
		t.set(tag, t.base)
	}
	return t
}

// set notes a tag with a stamp. mu is held, or nobody else has the tally.
func (t *tally) set(tag fence.Tag, stamp fence.Stamp) {
	at, known := t.find(tag)
	switch {
	case known:
		t.marks[at].Stamp = min(t.marks[at].Stamp, stamp)
	case len(t.marks) > maxTags+1: // one more than can be stored tells that it cannot
	default:
		t.marks = append(t.marks, fence.Mark{Tag: tag, Stamp: stamp})
		if t.at != nil {
			t.at[tag] = len(t.marks) - 1
		}
	}
}

func (t *tally) find(tag fence.Tag) (at int, known bool) {
	if len(t.marks) <= fewMarks {
		at = slices.IndexFunc(t.marks, func(m fence.Mark) bool { return m.Tag == tag })
		return at, at >= 0
	}
	if t.at == nil {
		t.at = make(map[fence.Tag]int, 2*len(t.marks))
		for i, m := range t.marks {
			t.at[m.Tag] = i
		}
	}
	at, known = t.at[tag]
	return at, known
}

// addTags takes tags in at the stamp of the run. It reports false if the function has
// returned.
func (t *tally) addTags(tags []fence.Tag) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return false
	}
	for _, tag := range tags {
		t.set(tag, t.base)
	}
	return true
}

// A provenance is what an answer says of the tags that it depends on.
type provenance struct {
	epoch fence.Epoch
	marks []fence.Mark
	// at is the stamp that counts for all marks: the c of the reading by which the answer was
	// found valid. Unknown: each has its own.
	at fence.Stamp
	// none: nothing is known of when the answer was right.
	none bool
}

// inherit takes in what an answer depends on. It may only lower what is there.
func (t *tally) inherit(p provenance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return
	}
	// Values live in one epoch (X4).
	t.unstamped = t.unstamped || p.none || p.epoch != t.epoch
	for _, m := range p.marks {
		stamp := m.Stamp
		if p.at != fence.Unknown {
			stamp = p.at
		}
		t.set(m.Tag, min(stamp, t.base))
	}
}

// seal ends the collecting: the function has returned, or is not waited for (W7).
func (t *tally) seal() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
}

// provenance returns what a run depends on that is over.
func (t *tally) provenance() provenance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return provenance{epoch: t.epoch, marks: t.marks, none: t.unstamped || t.base == fence.Unknown}
}

var (
	errNoStamp   = errors.New("no stamp could be read of the fence of tags before the function ran")
	errUnstamped = errors.New("it was made of an answer of another cached function of which nobody knows when it was right")
)

// block returns what the entry of the run says of its tags, or why it cannot be stored.
func (t *tally) block() (*fence.Block, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.base == fence.Unknown:
		return nil, errNoStamp
	case t.unstamped:
		return nil, errUnstamped
	case len(t.marks) > maxTags+1:
		t.cache.log.Once("many tags "+t.fn.Name(), slog.LevelError,
			fmt.Sprintf("a result has more than %d tags, so it is not stored; give it fewer and broader ones", maxTags), "func", t.fn.Name())
		return nil, fmt.Errorf("it has more than %d tags", maxTags)
	}
	return &fence.Block{Epoch: t.epoch, Marks: slices.Clone(t.marks)}, nil
}

// snapshot returns the epoch, the marks and their tags so far.
func (t *tally) snapshot() (epoch fence.Epoch, marks []fence.Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, slices.Clone(t.marks)
}

// overtakenBy reports whether an invalidation of tags is later than the stamp that the run
// has for one of them.
func (t *tally) overtakenBy(m fence.Message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tag := range m.Tags {
		if at, known := t.find(tag); known && m.Stamp > t.marks[at].Stamp {
			return true
		}
	}
	return false
}

// tagsOfMarks returns the tags of marks.
func tagsOfMarks(marks []fence.Mark) []fence.Tag {
	tags := make([]fence.Tag, len(marks))
	for i := range marks {
		tags[i] = marks[i].Tag
	}
	return tags
}

// AddTags is called inside a cached function that has [Options.Tags], with the context it was
// given: its result has these tags too. It is for tags that only the result tells, such as
// those of the books of a list. What was invalidated while the function ran invalidates the
// result, also by a tag that is added at its end.
//
// With the context of a function without Options.Tags the result is not stored; set Tags,
// empty if need be. After the function has returned the tags are lost. The log says either
// once. With another context AddTags does nothing.
func AddTags(ctx context.Context, tags ...string) {
	f := perCallOf(orBackground(ctx)).frame
	if f == nil || len(tags) == 0 {
		return
	}
	if f.tally == nil {
		if f.of.tagged() {
			return // a direct call that nothing around it inherits from
		}
		f.noStore.Store(true)
		f.log("AddTags is called in a function without Options.Tags: its result is not stored; set Tags, empty if it has no others")
		return
	}
	hashes := make([]fence.Tag, len(tags))
	for i, text := range tags {
		hashes[i] = fence.TagOf(f.tally.cache.hashing, text)
	}
	if f.ended.Load() || !f.tally.addTags(hashes) {
		f.log("AddTags is called after the function has returned: the tags are lost; call it before")
	}
}

// heir returns the tally of the run that a call of fn is made in, to which it hands up what it
// depends on; nil where nothing is inherited: outside of a run, or with a function without
// tags, another Redis or another namespace in between.
func heir(c *Cache, fn *Func, f *frame) *tally {
	if f == nil || !fn.tagged() {
		return nil
	}
	if f.tally == nil {
		if outer := f.taggedAround(); outer != nil && !f.of.tagged() {
			c.log.Once("tags stop "+f.of.Name()+" "+fn.Name(), slog.LevelWarn,
				"a cached function without Options.Tags calls one that has tags: what is around it does not inherit them; set its Tags, empty if it has none of its own",
				"func", f.of.Name(), "calls", fn.Name(), "around", outer.of.Name())
		}
		return nil
	}
	if !f.tally.cache.sharesFence(c) {
		return nil
	}
	return f.tally
}

// taggedAround returns the next frame around f that collects tags.
func (f *frame) taggedAround() *frame {
	for f = f.outer; f != nil; f = f.outer {
		if f.tally != nil && !f.ended.Load() {
			return f
		}
	}
	return nil
}

// handUp hands the tags of the call up before it runs, at the stamp of the run around it: so
// they are there however the call ends, and its answer may only lower their stamps (W5).
func (c *call) handUp(f *frame) {
	if c.above = heir(c.cache, c.fn, f); c.above != nil {
		c.above.addTags(c.ownTags())
	}
}

// ownTags returns the tags of the call; nil of a function without tags.
func (c *call) ownTags() []fence.Tag {
	if c.tags == nil && c.fn.tagged() {
		c.tags = c.fn.tagsOf(c.bound, c.args)
	}
	return c.tags
}

// inheritEntry hands up what an entry depends on that the call is given. A fresh one is as
// right as the fence was when it was read. A stale one has its own stamps: with later ones an
// expiry would be undone one level up (W8).
func (c *call) inheritEntry(e *entry, source Source) {
	if c.above == nil || e.tags == nil {
		return
	}
	p := provenance{epoch: e.tags.Epoch, marks: e.tags.Marks}
	if source != SourceStale {
		p.at = e.validAt
	}
	c.above.inherit(p)
}

// inheritRun hands up what a computation depends on that answers the call.
func (c *call) inheritRun(comp *computation) {
	if c.above == nil {
		return
	}
	if comp.tally == nil {
		c.above.inherit(provenance{none: true})
		return
	}
	c.above.inherit(comp.tally.provenance())
}
