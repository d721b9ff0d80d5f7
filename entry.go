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

// This file judges an entry for a function: it decodes it, and decides by the function's own
// options whether it is fresh, stale or cold. It also puts entries into the near cache (package
// near), and answers calls from there.

// maxFuture is how far ahead of the server's clock an entry may have been stored. A smaller
// difference comes from reading the clock, and means age 0. An entry further ahead is a miss.
const maxFuture = time.Minute

var errFuture = errors.New("stored more than a minute in the future: the clock of the Redis server was set back, or clocks of servers differ")

// An entry is an entry that a flight read.
type entry struct {
	envelope
	raw     []byte
	err     error         // the error of a negative entry
	decoded shape.Results // decoded once, by the flight
	near    *near.Entry   // the same entry in the near cache, which then owns decoded; nil if it is not there
	// validAt is the stamp of the fence (its field c) at which the entry was found valid.
	validAt fence.Stamp
}

// results returns results for one caller, which share no memory with those of other callers.
// alone reports whether it is the only caller that gets the entry.
func (e *entry) results(fn *Func, c *Cache, alone bool) (shape.Results, error) {
	switch {
	case e.near != nil:
		return fn.copyOf(c, e.near)
	case alone:
		return e.decoded, nil
	default:
		return fn.share(c.coder, e.decoded, e.body)
	}
}

// read decodes the body of the entry of a key.
func (e *entry) read(fn *Func, c *coder, key string) (err error) {
	if err = c.unseal(&e.envelope, key); err != nil {
		return err
	}
	if !e.negative() {
		if err = c.open(&e.envelope); err == nil {
			e.decoded, err = fn.decode(c, e.body)
		}
		return err
	}
	var known bool
	if e.err, known = fn.negativeOf(e.body); !known {
		return miss(missUnknownError, "its error is not in Options.CacheErrors of this process")
	}
	return nil
}

// bytes returns the bytes that acquire compares; nil if there is no entry.
func (e *entry) bytes() []byte {
	if e == nil {
		return nil
	}
	return e.raw
}

// expected returns how large an entry of f may be, in bytes, judged by recent reads. Large
// answers are read alone, and small ones in groups.
func (f *Func) expected() int { return int(f.answerSize.Load()) }

// expect notes the size of an entry that was read. A large entry counts until a few small
// ones have followed in a row.
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

// A state is fresh, stale or cold, by the age of an entry and a function's options.
type state uint8

const (
	cold  state = iota // absent, unreadable, or past Timeout
	stale              // past Freshness
	fresh
)

// parse reads the parts of an entry before its body, and returns the state that its age
// allows. err is errWrongType if the key holds no string; then raw is nil. An entry that cannot be
// read is cold, and is counted and logged.
func (c *Cache) parse(fn *Func, raw []byte, err error) (*entry, state) {
	if raw == nil && err == nil {
		return nil, cold
	}
	e := new(entry)
	return e, c.parseInto(e, fn, raw, err, c.clock.Now())
}

// parseInto is parse into an entry, at a time of the server's clock.
func (c *Cache) parseInto(e *entry, fn *Func, raw []byte, err error, now int64) state {
	e.raw = raw
	if err == nil {
		e.envelope, err = parseEnvelope(raw)
	}
	since := now - e.storedAt
	switch {
	case err != nil:
	case fn.tagged() && e.tags == nil:
		err = miss(missCorrupt, "byte %d: it has no tags, but the function has Tags", flagsOffset)
	case !fn.tagged() && e.tags != nil:
		err = miss(missCorrupt, "byte %d: it has tags, but the function has no Tags", flagsOffset)
	case since < -maxFuture.Milliseconds():
		err = errFuture
	}
	if err != nil {
		c.undecodable(fn, err)
		return cold
	}
	return fn.state(e, max(0, time.Duration(since)*time.Millisecond))
}

// decode decodes the body of the entry of a key unless the entry is cold, and returns the state
// of the entry after that.
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

// look reads an entry, and judges it by the fence on the primary if it has tags. The state is
// cold if Redis does not answer.
func (c *Cache) look(ctx context.Context, fn *Func, key string) (*entry, state) {
	raw, err := c.store.lookup(ctx, key, fn.expected())
	if err != nil {
		return nil, cold
	}
	e, s := c.parse(fn, raw, nil)
	if s == cold || !fn.tagged() {
		return e, s
	}
	v, err := c.weighAgain(ctx, fn, e)
	if err != nil {
		return nil, cold
	}
	return e, fn.allowed(s, v)
}

// allowed returns the state of an entry after the verdict of the fence, and counts entries that
// the fence has overtaken.
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
	c.log.Once("undecodable "+fn.Name(), slog.LevelWarn, "an entry cannot be read: it is a miss, and will be replaced",
		"func", fn.Name(), "err", err)
}

// age returns how long ago an entry was stored, on the server's clock.
func (c *Cache) age(e *entry) time.Duration { return c.ageOf(e.storedAt) }

// ageOf returns the age of an entry that was stored at that time, in Unix milliseconds.
func (c *Cache) ageOf(storedAt int64) time.Duration {
	return max(0, time.Duration(c.clock.Now()-storedAt)*time.Millisecond)
}

// servable reports whether an entry may still be served.
func (c *Cache) servable(fn *Func, e *entry) bool {
	return fn.state(e, c.age(e)) != cold
}

// state returns the state of an entry of that age.
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

// life returns how long an entry is fresh and how long it may be served: by the options of f,
// or by the lifetimes in the entry, up to Options.Timeout. Options.Jitter takes off a part of
// the freshness. The part depends on the id of the entry, so all processes agree on it.
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

// dice returns the dice that decide when an entry is refreshed before it becomes stale.
func (f *Func) dice(e *envelope) early.Dice {
	return early.Dice{Freshness: f.life(e).freshness, Cost: e.cost, Beta: f.opts.Early}
}

// isDue reports whether the dice decide that a fresh entry is refreshed now.
func (c *Cache) isDue(fn *Func, e *entry) bool {
	if fn.opts.Early == 0 {
		return false
	}
	dice := fn.dice(&e.envelope)
	return dice.Roll(c.age(e))
}

// A moment is the place of a reading in the order of events: key on the channel of the
// function, and tags on the channel of the fence.
type moment struct{ key, tags events.Place }

// now returns the present moment, for the near cache of a function.
func (c *Cache) now(fn *Func) moment { return moment{c.here(fn), c.hereTags(fn)} }

// here returns the present place in the order of events about the keys of a function.
func (c *Cache) here(fn *Func) events.Place {
	var ch *events.Channel
	if b := fn.bound.Load(); b != nil && b.cache == c {
		ch = b.channel.Load()
	}
	return c.events.Here(ch)
}

// hereFor returns the present place in the order of events about the key of a flight. A flight
// that polls always uses the channel that it has joined, because the function may have been
// bound to another cache since then. Without a channel every place counts as one where an event
// may have been missed, so the flight would ask without a pause.
func (c *Cache) hereFor(f *flight) events.Place {
	if f.poll != nil && f.poll.channel != nil {
		return c.events.Here(f.poll.channel)
	}
	return c.here(f.fn)
}

// nearKey returns the key of a call in the near cache: its arguments if they are plain, and
// otherwise the key of the entry in Redis.
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

// keepNear puts an entry into the near cache. asked is the moment when the entry was asked for. r
// has the decoded results, which the near cache owns from then on; results that cannot be
// copied are kept encoded. keepNear returns the entry of the near cache. It keeps nothing and
// returns nil if the function has no near cache, if no events were received, and for a negative
// entry.
func (c *Cache) keepNear(fn *Func, in input, redisKey string, asked moment, e *envelope, validAt fence.Stamp, r shape.Results) *near.Entry {
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
		body := bytes.Clone(e.body) // the body alone, not the whole buffer that was read
		kept.Value, kept.Size = body, uintptr(len(body))
	}
	if fn.opts.Early > 0 {
		kept.Early = &near.Early{Dice: fn.dice(e), Pause: max(e.cost, fn.opts.Cooldown)}
	}
	c.near.Keep(kept)
	return kept
}

// nearTags returns the tags of an entry for the near cache; nil if it has none. An answer from
// the near cache is as valid as the reading of the fence that found the entry valid, and not as
// valid as a reading of the present (W3 of docs/protocol.md).
func nearTags(e *envelope, asked events.Place, validAt fence.Stamp) *near.Tags {
	if e.tags == nil {
		return nil
	}
	t := &near.Tags{
		Asked:    asked,
		Subjects: make([]events.TagSubject, len(e.tags.Marks)),
		From:     &fence.Provenance{Epoch: e.tags.Epoch, Marks: e.tags.Marks, At: validAt},
	}
	for i, m := range e.tags.Marks {
		t.Subjects[i] = events.SubjectOfTag(m.Tag)
	}
	return t
}

// correct notes that Redis has the entry with the id found; 0 means that Redis has no entry
// that may be served.
func (c *Cache) correct(fn *Func, in input, redisKey string, found uint64) {
	if fn.near != nil {
		c.near.Drop(fn.near, fn.nearKey(in, redisKey), found)
	}
}

// copyOf returns a copy of the results of an entry of the near cache, for one caller.
func (f *Func) copyOf(c *Cache, kept *near.Entry) (shape.Results, error) {
	if body, encoded := kept.Value.([]byte); encoded {
		return f.decode(c.coder, body)
	}
	return f.shape.Copy(kept.Value.(shape.Results)), nil
}

// dues are the tasks that a fresh hit starts in the background: see call.setOff.
type dues uint8

const (
	dueVerify dues = 1 << iota // verify the value
	dueEarly                   // refresh the entry
)

// serveNear answers a call with plain arguments from the near cache, before anything is allocated
// for the call. It returns nil if the call has to be answered in another way. own is set if the
// results had to be decoded; otherwise the caller copies the results of the entry.
func (f *Func) serveNear(ctx context.Context, key *shape.Plain, vary string) (e *near.Entry, own shape.Results, due dues) {
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
		above.Inherit(*e.Tags.From.(*fence.Provenance))
	}
	f.near.Count(e.Cost)
	if info := per.info.claim(); info != nil {
		*info = Info{Source: SourceNear, Age: b.cache.ageOf(e.StoredAt), Cost: e.Cost, Key: e.RedisKey}
	}
	return e, own, f.dues(refresh)
}

// dues returns the tasks that an answer from the near cache starts. refresh reports whether the
// entry's dice decided that it is refreshed.
func (f *Func) dues(refresh bool) (due dues) {
	if refresh {
		due = dueEarly
	}
	if f.verify.Draw() {
		due |= dueVerify
	}
	return due
}

// nearAnswer answers a call from the near cache, if possible. e is the entry that answers it.
func (c *call) nearAnswer() (a answer, e *near.Entry, due dues, ok bool) {
	if c.fn.near == nil || c.fn.plans.IsPlain() {
		return answer{}, nil, 0, false // serveNear has already looked for plain arguments
	}
	e, refresh := c.cache.near.Fresh(c.fn.near, c.fn.nearKey(c.input, c.key))
	if a, ok = c.fromNear(e, SourceNear); ok {
		due = c.fn.dues(refresh)
	}
	return a, e, due, ok
}

// lastResort answers a call from the near cache while Redis is away, if possible. The lookup
// of the call must have failed, or must not have been sent: if Redis has answered that there is
// no usable entry, the near cache must not serve one, even if no event was received yet.
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
		p := *e.Tags.From.(*fence.Provenance)
		p.None = source == SourceStale // Redis is away, so it is not known when the answer was right
		c.above.Inherit(p)
	}
	return answer{results: r, source: source, age: c.cache.ageOf(e.StoredAt), cost: e.Cost}, true
}
