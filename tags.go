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

// This file has the tags of entries: the tags of a call, by Options.Tags, and the tags that a
// run of a function collects from its own call, from AddTags, and from the cached functions
// that it calls. docs/protocol.md has the orders of events that these rules prevent, W1 to W15.

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

// A tally has the tags that one run of a function collects, each with the smallest stamp that
// was handed up for it. A function that calls cached functions depends on the tags of their
// answers.
type tally struct {
	fn    *Func
	cache *Cache
	// each has the tallies of the elements, for the run of a batch: they get all that the run
	// collects, and this one has nothing of its own.
	each []*tally

	mu    sync.Mutex // guards the fields below
	epoch fence.Epoch
	base  fence.Stamp // the stamp that was captured before the function ran; Unknown if none was
	marks []fence.Mark
	at    map[fence.Tag]int // places in marks; nil while they are few
	// unstamped: the run used an answer without a valid stamp, so its own result has none.
	unstamped bool
	sealed    bool // the function has returned
}

// fewMarks is how many marks are searched without a map.
const fewMarks = 16

// newTally returns a tally with the tags of the call.
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

// set adds a tag with a stamp. mu is held, or no other goroutine has the tally.
func (t *tally) set(tag fence.Tag, stamp fence.Stamp) {
	at, known := t.find(tag)
	switch {
	case known:
		t.marks[at].Stamp = min(t.marks[at].Stamp, stamp)
	case t.full(): // the others are not kept
	default:
		t.marks = append(t.marks, fence.Mark{Tag: tag, Stamp: stamp})
		if t.at != nil {
			t.at[tag] = len(t.marks) - 1
		}
	}
}

// full reports whether there are more tags than can be stored. mu is held, or no other goroutine has
// the tally.
func (t *tally) full() bool { return len(t.marks) > maxTags+1 }

// tooMany reports whether there are more tags than can be stored. Then marks has only some of them.
func (t *tally) tooMany() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full()
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

// addTags adds tags with the stamp of the run. It returns false if the function has
// returned.
func (t *tally) addTags(tags []fence.Tag) bool {
	if t.each != nil {
		some := false
		for _, element := range t.each {
			some = element.addTags(tags) || some
		}
		return some
	}
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

// A provenance has the tags that an answer depends on, with their stamps.
type provenance struct {
	epoch fence.Epoch
	marks []fence.Mark
	// at is the stamp of all marks: the c of the reading by which the answer was found valid.
	// If it is Unknown, each mark has its own stamp.
	at fence.Stamp
	// none: it is not known when the answer was right.
	none bool
}

// inherit adds the tags that an answer depends on. It can only lower the stamps of tags that
// are already there.
func (t *tally) inherit(p provenance) {
	for _, element := range t.each {
		element.inherit(p)
	}
	if t.each != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return
	}
	// All parts of a value must be of one epoch (X4).
	t.unstamped = t.unstamped || p.none || p.epoch != t.epoch
	for _, m := range p.marks {
		stamp := m.Stamp
		if p.at != fence.Unknown {
			stamp = p.at
		}
		t.set(m.Tag, min(stamp, t.base))
	}
}

// adopt adds the tags of an entry that is kept, with the stamp of the run. It may be called after
// the run.
func (t *tally) adopt(marks []fence.Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range marks {
		t.set(m.Tag, t.base)
	}
}

// seal ends the collecting, because the function has returned (W7).
func (t *tally) seal() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
}

// provenance returns the tags that a run depends on, after the run has ended. If the function has
// not returned, it may still add tags.
func (t *tally) provenance() provenance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return provenance{epoch: t.epoch, marks: t.marks, none: t.unstamped || t.base == fence.Unknown}
}

var (
	errNoStamp   = errors.New("the fence of tags could not be read before the function ran; the log says why, try again when Redis answers")
	errUnstamped = errors.New("the function used the answer of another cached function, and it is not known when that answer was right, such as while Redis is away; try again")
)

// block returns the tags for the entry of the run. The error says why the result cannot be
// stored.
func (t *tally) block() (*fence.Block, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.base == fence.Unknown:
		return nil, errNoStamp
	case t.unstamped:
		return nil, errUnstamped
	case t.full():
		t.cache.log.Once("many tags "+t.fn.Name(), slog.LevelError,
			fmt.Sprintf("a result has more than %d tags, so it is not stored; use fewer and broader tags", maxTags), "func", t.fn.Name())
		return nil, fmt.Errorf("it has more than %d tags; use fewer and broader tags", maxTags)
	}
	return &fence.Block{Epoch: t.epoch, Marks: slices.Clone(t.marks)}, nil
}

// snapshot returns the epoch, and the marks that were collected so far.
func (t *tally) snapshot() (epoch fence.Epoch, marks []fence.Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, slices.Clone(t.marks)
}

// overtakenBy reports whether the run has one of the tags of an invalidation with an older
// stamp.
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
	if f.ended.Load() || !f.tally.addTags(hashes) {
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
		c.above.addTags(c.ownTags())
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
	p := provenance{epoch: e.tags.Epoch, marks: e.tags.Marks}
	if source != SourceStale {
		p.at = e.validAt
	}
	c.above.inherit(p)
}

// inheritRun hands up the tags of the computation that answers the call.
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
