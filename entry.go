package fncache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fncache/fncache/internal/early"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/shape"
)

// This file says what an entry is worth to a function: what it holds, and whether
// by the function's own options it is fresh, stale or cold. It also says what of it is kept
// in this process's memory (package near), and which calls may be answered from there.

// maxFuture is how far ahead of the server's clock an entry may have been stored:
// less is a clock read a little wrong, and age 0; more is not to be trusted.
const maxFuture = time.Minute

var errFuture = errors.New("stored more than a minute in the future")

// An entry is what a flight read.
type entry struct {
	envelope
	raw  []byte
	err  error         // what a negative entry stands for
	kept shape.Results // decoded once, by the flight
	near *near.Entry   // where the near cache has it, and kept with it
	// validAt is the c of the reading of the fence by which it was found valid.
	validAt fence.Stamp
}

// results gives the caller results of its own. alone says that it is the only one
// who is given the entry.
func (e *entry) results(fn *Func, c *Cache, alone bool) (shape.Results, error) {
	switch {
	case e.near != nil:
		return fn.copyOf(c, e.near)
	case alone:
		return e.kept, nil
	default:
		return fn.share(c.coder, e.kept, e.body)
	}
}

// read takes in what the entry of a key holds.
func (e *entry) read(fn *Func, c *coder, key string) (err error) {
	if err = c.unseal(&e.envelope, key); err != nil {
		return err
	}
	if !e.negative() {
		if err = c.open(&e.envelope); err == nil {
			e.kept, err = fn.decode(c, e.body)
		}
		return err
	}
	var known bool
	if e.err, known = fn.negativeOf(e.body); !known {
		return miss(missUnknownError, "its error is not in Options.CacheErrors here")
	}
	return nil
}

// bytes is what acquire compares; nil of no entry.
func (e *entry) bytes() []byte {
	if e == nil {
		return nil
	}
	return e.raw
}

// expected returns how large an entry of f may be, in bytes, by what was read lately: large
// answers travel by themselves, and few of the others together.
func (f *Func) expected() int { return int(f.answerSize.Load()) }

// expect takes in the size of an entry that was read. Of entries of all sizes the large
// ones count, until a few small ones have come in a row.
func (f *Func) expect(size int) {
	last := f.answerSize.Load()
	next := max(int64(size), last-last/4)
	if next <= remote.TinySize {
		next = 0
	}
	if next != last {
		f.answerSize.Store(next)
	}
}

// A state is how old an entry is by a function's own options.
type state uint8

const (
	cold  state = iota // absent, unreadable, or past Timeout
	stale              // past Freshness
	fresh
)

// parse reads what stands before the body of an entry, and returns the state that its age
// allows. What cannot be read is cold, counted and logged, and never a value.
func (c *Cache) parse(fn *Func, raw []byte, err error) (*entry, state) {
	if raw == nil && err == nil {
		return nil, cold
	}
	e := &entry{raw: raw}
	if err == nil {
		e.envelope, err = parseEnvelope(raw)
	}
	since := c.clock.Now() - e.storedAt
	switch {
	case err != nil:
	case fn.tagged() && e.tags == nil:
		err = miss(missCorrupt, "byte %d: it has no tags, and the function has", flagsOffset)
	case !fn.tagged() && e.tags != nil:
		err = miss(missCorrupt, "byte %d: it has tags, and the function has none", flagsOffset)
	case since < -maxFuture.Milliseconds():
		err = errFuture
	}
	if err != nil {
		c.undecodable(fn, err)
		return e, cold
	}
	return e, fn.state(e, max(0, time.Duration(since)*time.Millisecond))
}

// decode reads what the entry of a key holds, unless it is cold, and returns its state then.
func (c *Cache) decode(fn *Func, e *entry, key string, s state) state {
	if s == cold {
		return cold
	}
	if err := e.read(fn, c.coder, key); err != nil {
		c.undecodable(fn, err)
		return cold
	}
	return s
}

// allowed returns the state of an entry that the fence allows, and counts what it has
// overtaken.
func (f *Func) allowed(s state, v fence.Verdict) state {
	switch {
	case s == cold:
	case v > fence.Expired:
		f.counters.overtakenHard.Add(1)
		return cold
	case v == fence.Expired && s == fresh:
		f.counters.overtakenSoft.Add(1)
		return stale
	}
	return s
}

// undecodable counts and logs an entry that cannot be read.
func (c *Cache) undecodable(fn *Func, err error) {
	fn.counters.undecodable.Add(1)
	c.log.Once("undecodable "+fn.Name(), slog.LevelWarn, "entry cannot be read: it is a miss, and will be replaced",
		"func", fn.Name(), "err", err)
}

// age is how long ago an entry was stored, on the server's clock.
func (c *Cache) age(e *entry) time.Duration { return c.ageOf(e.storedAt) }

// ageOf is age for an entry of which only that is known, in Unix milliseconds.
func (c *Cache) ageOf(storedAt int64) time.Duration {
	return max(0, time.Duration(c.clock.Now()-storedAt)*time.Millisecond)
}

// servable says whether an entry may still be served.
func (c *Cache) servable(fn *Func, e *entry) bool {
	return fn.state(e, c.age(e)) != cold
}

// state tells the state of an entry of that age.
func (f *Func) state(e *entry, age time.Duration) state {
	life := f.life(&e.envelope)
	switch {
	case age < life.freshness && e.flags&flagExpired == 0:
		return fresh
	case age < life.timeout:
		return stale
	default:
		return cold
	}
}

// life returns how long an entry is fresh and may be served: by the options of f, or by
// lifetimes of its own, up to Options.Timeout. Options.Jitter takes off a part of the
// freshness that is the entry's own, so that all processes agree on it.
func (f *Func) life(e *envelope) lifetimes {
	if e.negative() {
		return lifetimes{f.opts.ErrorTimeout, f.opts.ErrorTimeout}
	}
	life := lifetimes{f.opts.Freshness, f.opts.Timeout}
	if e.life != nil {
		life = lifetimes{e.life.freshness, min(e.life.timeout, f.opts.Timeout)}
	}
	if f.opts.Jitter > 0 {
		part := float64(e.id>>11) / (1 << 53) // uniform in [0, 1)
		life.freshness -= time.Duration(f.opts.Jitter * part * float64(life.freshness))
	}
	life.freshness = min(life.freshness, life.timeout)
	return life
}

// dice returns what decides when an entry is refreshed before it is stale.
func (f *Func) dice(e *envelope) early.Dice {
	return early.Dice{Freshness: f.life(e).freshness, Cost: e.cost, Beta: f.opts.Early}
}

// isDue reports whether the dice say that a fresh entry is to be refreshed.
func (c *Cache) isDue(fn *Func, e *entry) bool {
	if fn.opts.Early == 0 {
		return false
	}
	dice := fn.dice(&e.envelope)
	return dice.Roll(c.age(e))
}

// A moment is the place of a reading in the order of events: as the function's channel tells
// them, and as that of the fence does.
type moment struct{ key, tags events.Place }

// now is the present moment, for the near cache of a function.
func (c *Cache) now(fn *Func) moment { return moment{c.here(fn), c.hereTags(fn)} }

// hereTags returns the present place in the order of events about tags, for the near cache of
// a function.
func (c *Cache) hereTags(fn *Func) (p events.Place) {
	if b := fn.bound.Load(); b != nil && b.cache == c && b.fence != nil {
		p = c.events.Here(b.fence)
	}
	return p
}

// here is the present place in the order of events about the keys of a function.
func (c *Cache) here(fn *Func) events.Place {
	var ch *events.Channel
	if b := fn.bound.Load(); b != nil && b.cache == c {
		ch = b.channel.Load()
	}
	return c.events.Here(ch)
}

// hereFor returns the present place in the order of events about the key of a flight. A flight
// that polls keeps to the channel that it has joined, because the function may be bound to
// another cache meanwhile: a place on no channel is always one where something may have
// happened, so the flight would ask at full speed.
func (c *Cache) hereFor(f *flight) events.Place {
	if f.channel != nil {
		return c.events.Here(f.channel)
	}
	return c.here(f.fn)
}

// nearKey returns the near cache's key of a call: its arguments as they are, or else the key
// of the entry in Redis.
func (f *Func) nearKey(in input, redisKey string) *shape.Plain {
	key := new(shape.Plain)
	if f.plans.IsPlain() {
		f.shape.Plain(key, in.args)
		f.plans.AddVary(key, in.vary)
	} else {
		key.S[0] = redisKey
	}
	return key
}

// keep has the near cache keep an entry that was asked for at some moment, with the results
// that it decodes to, which are the near cache's from then on. Types that cannot be copied
// are kept encoded. It returns what was kept, or nil: where the function has no near cache,
// where events were not heard, and of an error that is an answer.
func (c *Cache) keep(fn *Func, in input, redisKey string, asked moment, e *envelope, validAt fence.Stamp, r shape.Results) *near.Entry {
	if fn.near == nil || !asked.key.InHearing() || e.negative() || fn.tagged() && !asked.tags.InHearing() {
		return nil
	}
	life := fn.life(e)
	kept := &near.Entry{
		Func:     fn.near,
		Key:      *fn.nearKey(in, redisKey),
		RedisKey: redisKey,
		Asked:    asked.key,
		Tags:     nearTags(e, asked.tags, validAt),
		Life:     min(fn.opts.Near, life.freshness-c.ageOf(e.storedAt)),
		Timeout:  life.timeout,
		StoredAt: e.storedAt,
		ID:       e.id,
		Cost:     e.cost,
	}
	if fn.plans.Copies != nil {
		kept.Value, kept.Size = r, shape.Footprint(r)
	} else {
		body := bytes.Clone(e.body) // not all that was read
		kept.Value, kept.Size = body, uintptr(len(body))
	}
	if fn.opts.Early > 0 {
		kept.Early = &near.Early{Dice: fn.dice(e), Pause: max(e.cost, fn.opts.Cooldown)}
	}
	c.near.Keep(kept)
	return kept
}

// nearTags returns what is kept of the tags of an entry; nil if it has none. An answer from
// there depends on them as of the reading of the fence that found it valid, and not as of now
// (W3).
func nearTags(e *envelope, asked events.Place, validAt fence.Stamp) *near.Tags {
	if e.tags == nil {
		return nil
	}
	t := &near.Tags{
		Asked:    asked,
		Subjects: make([]events.TagSubject, len(e.tags.Marks)),
		From:     &provenance{epoch: e.tags.Epoch, marks: e.tags.Marks, at: validAt},
	}
	for i, m := range e.tags.Marks {
		t.Subjects[i] = events.SubjectOfTag(m.Tag)
	}
	return t
}

// correct notes that Redis has an entry of that id, or none that could be served: 0.
func (c *Cache) correct(fn *Func, in input, redisKey string, found uint64) {
	if fn.near != nil {
		c.near.Drop(fn.near, fn.nearKey(in, redisKey), found)
	}
}

// copyOf returns results of their own for a caller that is given what is kept.
func (f *Func) copyOf(c *Cache, kept *near.Entry) (shape.Results, error) {
	if body, encoded := kept.Value.([]byte); encoded {
		return f.decode(c.coder, body)
	}
	return f.shape.Copy(kept.Value.(shape.Results)), nil
}

// What a hit sets off in the background: see hits.go.
type dues uint8

const (
	dueVerify dues = 1 << iota // the value is verified
	dueEarly                   // it is refreshed
)

// serve answers a call whose arguments are plain from the near cache, before anything is
// made for it. It returns nil if the call has to go the long way. own is set where the
// results had to be decoded; otherwise the caller copies those of the entry.
func (f *Func) serve(ctx context.Context, key *shape.Plain, vary string) (e *near.Entry, own shape.Results, due dues) {
	b, err := f.bind()
	if err != nil || f.unwrapped.Load() {
		return nil, nil, 0
	}
	ctx = orBackground(ctx)
	f.plans.AddVary(key, vary)
	e, refresh := b.cache.near.Fresh(f.near, key)
	if e == nil {
		return nil, nil, 0
	}
	per := perCallOf(ctx)
	if per.bypass || per.refresh || per.frame.computes(b.cache, e.RedisKey) || f.sig.HasError && ctx.Err() != nil {
		return nil, nil, 0
	}
	if body, encoded := e.Value.([]byte); encoded {
		if own, err = f.decode(b.cache.coder, body); err != nil {
			return nil, nil, 0
		}
	}
	if above := heir(b.cache, f, per.frame); above != nil {
		above.inherit(*e.Tags.From.(*provenance))
	}
	f.near.Count(e.Cost)
	if info := per.info.claim(); info != nil {
		*info = Info{Source: SourceNear, Age: b.cache.ageOf(e.StoredAt), Cost: e.Cost, Key: e.RedisKey}
	}
	return e, own, f.dues(refresh)
}

// dues returns what an answer from the near cache sets off. refresh says that its dice have
// fallen.
func (f *Func) dues(refresh bool) (due dues) {
	if refresh {
		due = dueEarly
	}
	if f.verify.Draw() {
		due |= dueVerify
	}
	return due
}

// nearAnswer answers a call from the near cache, if it can. e is what answers it.
func (c *call) nearAnswer() (a answer, e *near.Entry, due dues, ok bool) {
	if c.fn.near == nil || c.fn.plans.IsPlain() {
		return answer{}, nil, 0, false // plain arguments were asked for before
	}
	e, refresh := c.cache.near.Fresh(c.fn.near, c.fn.nearKey(c.input, c.key))
	if a, ok = c.fromNear(e, SourceNear); ok {
		due = c.fn.dues(refresh)
	}
	return a, e, due, ok
}

// lastResort answers a call from the near cache while Redis is away, if it can:
// one whose lookup failed or was not sent. What Redis has said is gone is gone, even
// if no event has told so yet.
func (c *call) lastResort() (a answer, ok bool) {
	if c.fn.near == nil || c.strict {
		return answer{}, false
	}
	e := c.cache.near.Held(c.fn.near, c.fn.nearKey(c.input, c.key))
	if e == nil || c.cache.ageOf(e.StoredAt) >= e.Timeout {
		return answer{}, false
	}
	return c.fromNear(e, SourceStale)
}

func (c *call) fromNear(e *near.Entry, source Source) (a answer, ok bool) {
	if e == nil {
		return answer{}, false
	}
	r, err := c.fn.copyOf(c.cache, e)
	if err != nil {
		return answer{}, false
	}
	if c.above != nil {
		p := *e.Tags.From.(*provenance)
		p.none = source == SourceStale // Redis is away: nobody knows
		c.above.inherit(p)
	}
	return answer{results: r, source: source, age: c.cache.ageOf(e.StoredAt), cost: e.Cost}, true
}
