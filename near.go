package fncache

import (
	"context"
	"hash/maphash"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/shape"
)

// This file is the near cache: what one process keeps in its own memory of what
// it has looked up and stored, for Options.Near.
//
// Nothing has to be thrown out of it in time, for each hit judges what it finds.
// It is served as fresh while
//
//   - its time is not over: Near after it came in, and Freshness;
//   - events have been heard without a gap since before it was asked for
//     (package events), and are still known to be heard;
//   - none of them was about its key, but for that of its own store.
//
// So a message costs the same however much is kept, and one that comes while the
// key is looked up overtakes the answer. What may not be served is replaced by
// what is looked up then, or gives way to what is used more.

// A near is all that a function has of the near cache.
type near struct {
	fn   *Func
	wide bool // the arguments take more than two numbers
	seed [4]uint64
	hits [nearStripes]nearStripe
}

// nearSeed keeps those who choose arguments from choosing which collide.
var nearSeed = maphash.MakeSeed()

func newNear(f *Func) *near {
	return &near{
		fn:   f,
		wide: f.plans.IsWide(),
		seed: [4]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()},
	}
}

// hash is where an entry is kept. Two keys that share it keep each other out.
func (n *near) hash(key *shape.Plain) uint64 {
	h := mix(key.N[0]^n.seed[0], key.N[1]^n.seed[1])
	if n.wide {
		h = mix(h^key.N[2]^n.seed[2], key.N[3]^n.seed[3])
	}
	for i := range key.S {
		if s := key.S[i]; s != "" {
			h = mix(h+uint64(i), maphash.String(nearSeed, s))
		}
	}
	return h
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// A nearEntry is one result that is kept. It is never written again.
type nearEntry struct {
	near *near
	key  shape.Plain
	// redisKey is the key of the entry in Redis, subject what events about it are about.
	redisKey string
	subject  events.Subject
	asked    events.Place // when Redis was asked for it, or to store it
	until    time.Duration
	entry    envelope      // with its body only where results is nil
	results  shape.Results // nobody has them but the near cache, which does not write to them
	weight   uint32
}

// copied gives a caller results of its own.
func (e *nearEntry) copied(c *Cache) (shape.Results, error) {
	if e.results == nil {
		return e.near.fn.decode(c.coder, e.entry.body)
	}
	return e.near.fn.shape.Copy(e.results), nil
}

// nearStore is what keeps the entries of all functions of a cache.
type nearStore = otter.Cache[uint64, *nearEntry]

// nearStore gives it, made when it is first needed; nil when the cache is closed.
func (c *Cache) nearStore() *nearStore {
	c.nearOnce.Do(func() {
		c.kept.Store(otter.Must(&otter.Options[uint64, *nearEntry]{
			MaximumWeight: uint64(c.cfg.NearSize),
			Weigher:       func(_ uint64, e *nearEntry) uint32 { return e.weight },
			Executor:      c.spawn,
		}))
	})
	if c.closed() {
		c.kept.Store(nil)
	}
	return c.kept.Load()
}

// find gives what is kept under a key, of whatever worth.
func (n *near) find(c *Cache, key *shape.Plain) *nearEntry {
	kept := c.kept.Load()
	if kept == nil {
		return nil
	}
	e, ok := kept.GetIfPresent(n.hash(key))
	if !ok || e.near != n || e.key != *key {
		return nil
	}
	return e
}

// fresh gives what may be served as fresh under a key, or nil.
func (n *near) fresh(c *Cache, key *shape.Plain) *nearEntry {
	e := n.find(c, key)
	if e == nil {
		return nil
	}
	now := c.clock.Elapsed()
	switch {
	case !e.asked.Heard(), !c.events.Hears(now):
		return nil
	case now+c.clock.Moved() >= e.until:
		return nil
	case c.events.Overtaken(e.subject, e.asked, e.entry.id):
		return nil
	}
	return e
}

// held gives what may be served as stale under a key while Redis is away, or nil:
// nothing that is known to have been replaced or invalidated, nor what is from
// before events were last heard again, for then that cannot be known.
func (n *near) held(c *Cache, key *shape.Plain) *nearEntry {
	e := n.find(c, key)
	if e == nil || c.events.Suspended() || !e.asked.Remembered() || c.events.Overtaken(e.subject, e.asked, e.entry.id) {
		return nil
	}
	if !c.servable(n.fn, &entry{envelope: e.entry}) {
		return nil
	}
	return e
}

// keyOf returns the near cache's key of a call whose Redis key is known.
func (n *near) keyOf(in input, redisKey string) *shape.Plain {
	key := new(shape.Plain)
	if n.fn.plans.IsPlain() {
		n.fn.shape.Plain(key, in.args)
		n.fn.plans.AddVary(key, in.vary)
	} else {
		key.S[0] = redisKey
	}
	return key
}

// keep takes in an entry that was asked for at some place, with the results that
// it decodes to, which are the near cache's from then on. It gives what was kept,
// or nil: where there is no near cache, where events were not heard, and of an
// error that is an answer.
func (c *Cache) keep(fn *Func, in input, redisKey string, asked events.Place, e *envelope, r shape.Results) *nearEntry {
	n := fn.near
	if n == nil || !asked.InHearing() || e.negative() {
		return nil
	}
	age := c.age(&entry{envelope: *e})
	life := min(fn.opts.Near, fn.freshness(e.id)-age)
	kept := &nearEntry{
		near:     n,
		key:      *n.keyOf(in, redisKey),
		redisKey: redisKey,
		subject:  c.events.Subject(redisKey),
		asked:    asked,
		until:    after(c.clock.Elapsed()+c.clock.Moved(), life),
		entry:    *e,
	}
	size := uintptr(len(e.body))
	if n.fn.plans.Copies != nil {
		kept.entry.body, kept.results = nil, r
		size = shape.Footprint(r)
	} else {
		kept.entry.body = append([]byte(nil), e.body...) // not all that was read
	}
	for i, s := range kept.key.S {
		kept.key.S[i] = strings.Clone(s) // which may be part of something large
		size += uintptr(len(s))
	}
	size += uintptr(len(redisKey)) + nearOverhead
	kept.weight = uint32(min(size, 1<<32-1))
	if store := c.nearStore(); store != nil {
		store.Set(n.hash(&kept.key), kept)
	}
	return kept
}

// correct takes note that Redis has another entry than what is kept, or none that
// could be served: what is kept is gone, even if no event has told so yet, or none
// ever will, as of what was evicted. Else it would come back when Redis goes away.
func (n *near) correct(c *Cache, in input, redisKey string, found *envelope) {
	if n == nil {
		return
	}
	key := n.keyOf(in, redisKey)
	if kept := n.find(c, key); kept != nil && (found == nil || found.id != kept.entry.id) {
		if store := c.nearStore(); store != nil {
			store.Invalidate(n.hash(key))
		}
	}
}

// after is that much later: at the end of time, if it would be past it.
func after(now, life time.Duration) time.Duration {
	if life > 0 && now > math.MaxInt64-life {
		return math.MaxInt64
	}
	return now + life
}

// nearOverhead is about what an entry takes beside its results and keys.
const nearOverhead = 384

// serve answers a call whose arguments are plain, before anything is made for it;
// nil if it has to go the long way. own is set where the results had to be
// decoded; else the caller copies those of the entry.
func (n *near) serve(ctx context.Context, key *shape.Plain, vary string) (e *nearEntry, own shape.Results) {
	f := n.fn
	b, err := f.bind()
	if err != nil || f.unwrapped.Load() {
		return nil, nil
	}
	ctx = orBackground(ctx)
	f.plans.AddVary(key, vary)
	if e = n.fresh(b.cache, key); e == nil {
		return nil, nil
	}
	per := perCallOf(ctx)
	if per.bypass || per.refresh || per.frame.computes(b.cache, e.redisKey) || f.sig.HasError && ctx.Err() != nil {
		return nil, nil
	}
	if e.results == nil {
		var err error
		if own, err = e.copied(b.cache); err != nil {
			return nil, nil
		}
	}
	n.count(e)
	if info := per.info.claim(); info != nil {
		*info = Info{Source: SourceNear, Age: b.cache.age(&entry{envelope: e.entry}), Cost: e.entry.cost, Key: e.redisKey}
	}
	return e, own
}

// nearAnswer answers a call from the near cache, if it can.
func (c *call) nearAnswer() (a answer, ok bool) {
	n := c.fn.near
	if n == nil || n.fn.plans.IsPlain() {
		return answer{}, false // plain arguments were asked for before
	}
	return c.fromNear(n.fresh(c.cache, n.keyOf(c.input, c.key)), SourceNear)
}

// lastResort answers a call from the near cache while Redis is away, if it can:
// one whose lookup failed or was not sent. What Redis has said is gone is gone, even
// if no event has told so yet.
func (c *call) lastResort() (a answer, ok bool) {
	n := c.fn.near
	if n == nil || c.strict {
		return answer{}, false
	}
	return c.fromNear(n.held(c.cache, n.keyOf(c.input, c.key)), SourceStale)
}

func (c *call) fromNear(e *nearEntry, source Source) (a answer, ok bool) {
	if e == nil {
		return answer{}, false
	}
	r, err := e.copied(c.cache)
	if err != nil {
		return answer{}, false
	}
	c.fn.counters.savedTime.Add(int64(e.entry.cost))
	return answer{results: r, source: source, age: c.age(&entry{envelope: e.entry}), cost: e.entry.cost}, true
}

// --- Counting hits ---

// Near hits are so fast that counting them in one place would be the slowest
// part, where many cores do it at once.
const nearStripes = 8

type nearStripe struct {
	hits  atomic.Uint64
	saved atomic.Int64
	_     [112]byte // a pair of cache lines each, which processors fetch together
}

// count counts a hit, on a stripe that goroutines have more or less for
// themselves: they are told apart by where their stacks are.
func (n *near) count(e *nearEntry) {
	var here byte
	stripe := &n.hits[(uintptr(unsafe.Pointer(&here))>>12)%nearStripes]
	stripe.hits.Add(1)
	stripe.saved.Add(int64(e.entry.cost))
}

// counted gives how many hits were served before a call was made of them, and the
// time they saved.
func (n *near) counted() (hits uint64, saved time.Duration) {
	if n == nil {
		return 0, 0
	}
	for i := range n.hits {
		hits += n.hits[i].hits.Load()
		saved += time.Duration(n.hits[i].saved.Load())
	}
	return hits, saved
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
