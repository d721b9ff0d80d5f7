package fncache

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/gather"
	"github.com/fncache/fncache/internal/remote"
)

// This file has a run of a function from inside: what the function says of its own entry while it
// runs (AddTags is in tags.go), the run in the context that the function gets, and its part in a
// batch.

// SetLifetime sets how long the entry of a running cached function is fresh, and how long it may
// be served, instead of Options.Freshness and Options.Timeout. The function calls it with the
// context that it was given. Use it if the function learns how long its result is valid, such as
// from the expires_in of a token or the max-age of an answer. A timeout above Options.Timeout is
// reduced to Options.Timeout, and a freshness above timeout is reduced to timeout. Options.Jitter
// applies to freshness.
//
// Zero is not a default here. With a freshness of 0 or less the entry is stale at once. With a
// timeout under 1ms the result is returned to its callers and not stored. If SetLifetime is
// called several times, the last call counts. An error of Options.CacheErrors keeps
// Options.ErrorTimeout. After the function has returned, SetLifetime has no effect, and the log
// says so once. With another context it does nothing.
func SetLifetime(ctx context.Context, freshness, timeout time.Duration) {
	say(ctx, "SetLifetime", func(f *frame) {
		timeout = max(0, min(timeout, f.of.opts.Timeout).Truncate(time.Millisecond))
		freshness = max(0, min(freshness, timeout).Truncate(time.Millisecond))
		f.said.life = &lifetimes{freshness, timeout}
	})
}

// A StoredEntry describes the entry that is stored already while its function runs. See [Stored].
type StoredEntry struct {
	Age  time.Duration // since it was stored, or last found unchanged, on the Redis server's clock
	ETag string        // the text of SetETag; "" if the entry has none
}

// Stored describes the stored entry that a running cached function is about to replace, called the
// entry at hand. The function calls Stored with the context that it was given. The entry at hand
// is stale, or is refreshed early (Options.Early), and callers get it meanwhile. The function can
// ask its source by the ETag or the age whether the result has changed since then, and call
// [NotModified] if it has not.
//
// ok is false if there is no such entry. Then the function has to compute the whole result. There
// is none if the cache is cold, if the call is a refresh ([WithRefresh], [Func.Refresh]), if the
// entry or one of its tags was invalidated, if the entry is an error of Options.CacheErrors, while
// Redis is away, after the function has returned, and with any other context.
func Stored(ctx context.Context) (stored StoredEntry, ok bool) {
	f := perCallOf(orBackground(ctx)).frame
	if f != nil && f.stored && f.of.many != nil {
		f.log("Stored, SetETag and NotModified do nothing in a batch function, because each of its ids has an entry of its own")
	}
	if f == nil || f.hand == nil || f.ended.Load() {
		return StoredEntry{}, false
	}
	stored.Age = max(0, time.Duration(f.cache.clock.Now()-f.hand.storedAt)*time.Millisecond)
	if f.hand.etag != nil {
		stored.ETag = *f.hand.etag
	}
	return stored, true
}

// SetETag gives the entry of a running cached function an ETag, which [Stored] returns to a later
// run. The function calls it with the context that it was given. An ETag is any text of up to 256
// bytes that changes with the result, such as the ETag of an HTTP answer or the version of a row.
// If SetETag is called several times, the last call counts, and "" means none. A longer text
// counts as none, and the log says so once. An entry that is kept by [NotModified] keeps its ETag.
// Config.Seal encrypts it together with the result. An error of Options.CacheErrors has none.
// After the function has returned, SetETag has no effect, and the log says so once.
func SetETag(ctx context.Context, etag string) {
	say(ctx, "SetETag", func(f *frame) {
		f.said.etag = nil
		switch {
		case len(etag) > maxETag:
			f.log("SetETag is given more than 256 bytes: the entry has no ETag; use a shorter one, or a hash of it")
		case etag != "":
			own := strings.Clone(etag)
			f.said.etag = &own
		}
	})
}

// NotModified keeps the entry at hand ([Stored]), because it is still right. The cached function
// calls it with the context that it was given. The callers then get the result of the entry, for
// any result or error that the function returns, and the entry is as fresh as a new one. The entry
// gets the lifetime that SetLifetime sets in this run; without SetLifetime it keeps its own. It
// keeps its cost. The result is sent to Redis again only if the entry is no longer there, if the
// entry gets a lifetime or a tag that it did not have, or if it is sealed by a key that no longer
// seals (Config.Seal).
//
// Without an entry at hand the result is not stored, and the log says so once: call NotModified
// only if Stored has returned an entry. After the function has returned, NotModified has no
// effect, and the log says so once.
func NotModified(ctx context.Context) {
	say(ctx, "NotModified", func(f *frame) {
		if f.hand == nil {
			f.noStore.Store(true)
			f.log("NotModified is called where no entry is at hand: the result is not stored; call it only where Stored returns an entry")
			return
		}
		f.said.unmodified = true
	})
}

// NoStore keeps the result of a cached function out of the cache. The function calls it with
// the context that it was given; its result is returned to the callers and not stored. Use it
// for a result that only these callers should get, such as a partial one. With another context
// NoStore does nothing.
func NoStore(ctx context.Context) {
	if f := perCallOf(orBackground(ctx)).frame; f != nil {
		f.noStore.Store(true)
	}
}

// say applies a setting that a function makes for its result. by names the function of this
// package that was called.
func say(ctx context.Context, by string, what func(f *frame)) {
	f := perCallOf(orBackground(ctx)).frame
	if f == nil || !f.stored {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended.Load() {
		f.log(by + " is called after the function has returned: it has no effect; call it before the function returns")
		return
	}
	if f.of.many != nil && by != "SetLifetime" {
		f.log("Stored, SetETag and NotModified do nothing in a batch function, because each of its ids has an entry of its own")
		return
	}
	what(f)
}

// hand returns the entry that the function of a computation may keep, or nil if there is none.
func (c *computation) hand() *entry {
	if c.fn.many != nil || c.Token == "" || c.stale == nil || c.staleGone || c.stale.negative() {
		return nil
	}
	return c.stale
}

// said has the settings that a function has made for its result while it runs.
type said struct {
	life       *lifetimes // nil: the lifetimes of the options
	etag       *string    // nil: none
	unmodified bool       // the entry at hand is kept
}

// keepsHand reports whether the function has called NotModified.
func (f *frame) keepsHand() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.unmodified
}

// keptLate returns the entry at hand if the function has called NotModified and has returned after
// ComputeTimeout; else nil. Only callers that cannot get an error have waited for that.
func (c *computation) keptLate() *entry {
	if c.ret.panic != nil || c.ret.goexit || !c.frame.keepsHand() {
		return nil
	}
	return c.frame.hand
}

// facts sets the lifetimes and the ETag of an entry.
func (f *frame) facts(e *envelope) {
	f = f.speaker()
	f.mu.Lock()
	defer f.mu.Unlock()
	e.life, e.etag = f.said.life, f.said.etag
}

// handAsNew returns the entry at hand as an entry that is stored now: the envelope, and all of its
// bytes in raw. head is the part of raw before the body if it is as long as before, so that it can
// replace what is stored; else nil. A body that another key has sealed is sealed anew: otherwise
// the entry could need that key for longer than Options.Timeout.
func (c *computation) handAsNew(now int64, id uint64, tags *fence.Block) (env envelope, raw, head []byte) {
	hand := c.frame.hand
	env = hand.envelope
	env.body, env.storedAt, env.id, env.tags = nil, now, id, tags
	if life := c.frame.lifetimes(); life != nil {
		env.life = life
	}
	old := hand.headLen()
	if !c.cache.coder.current(hand.raw[old:]) {
		env.flags = 0
		return env, c.cache.coder.enclose(&env, append(make([]byte, envelopeHeaderLen), hand.body...), c.key), nil
	}
	env.flags = hand.raw[flagsOffset] & bodyFlags
	if env.life != nil {
		env.flags |= flagLifetime
	}
	if env.tags != nil {
		env.flags |= flagTagged
	}
	raw = append(env.appendTo(make([]byte, 0, env.headLen()+len(hand.raw)-old)), hand.raw[old:]...)
	if env.headLen() == old {
		head = raw[:old]
	}
	return env, raw, head
}

// stores reports whether the outcome of the function has to be stored. negative reports whether
// the outcome is an error of Options.CacheErrors.
func (f *frame) stores(negative bool) bool {
	if f = f.speaker(); f.noStore.Load() {
		return false
	}
	life := f.lifetimes()
	return negative || life == nil || life.timeout > 0
}

// speaker returns the frame in which the function made its settings: that of the run, for an
// element of a batch.
func (f *frame) speaker() *frame {
	if f.run != nil {
		return f.run
	}
	return f
}

// lifetimes returns the lifetimes of the last call of SetLifetime, or nil.
func (f *frame) lifetimes() *lifetimes {
	f = f.speaker()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.life
}

// log logs a message about the function of a frame, once. Messages differ in their first 24 bytes,
// which are their subject in the log.
func (f *frame) log(message string) {
	if b := f.of.bound.Load(); b != nil {
		b.cache.log.Once("inside "+message[:24]+f.of.Name(), slog.LevelError, message, "func", f.of.Name())
	}
}

// --- The run in its context ---

// A frame is one run of a function that a context passes through.
type frame struct {
	cache *Cache // nil for a direct call; flightKey is then zero
	flightKey
	of      *Func  // the function, of a direct call too
	tally   *tally // collects the tags of the run; nil without Options.Tags. A direct call has the tally of the run around it
	outer   *frame
	run     *frame          // for an element of a batch: the frame of its run, or nil. Written before the function runs
	keys    map[string]bool // for the run of a batch: the keys of its elements
	stored  bool            // the result may be stored: the run is neither a direct call nor a verification
	hand    *entry          // the entry that the function may keep; nil if there is none
	noStore atomic.Bool
	ended   atomic.Bool // the function has returned; goroutines that it started may still have its context

	mu   sync.Mutex // guards the field below
	said said
}

// runs reports whether f, or a frame around it, is a computation of a function with these places.
func (f *frame) runs(places *bulkhead.Bulkhead) bool {
	for ; f != nil; f = f.outer {
		if f.fn != nil && f.fn.places == places && !f.ended.Load() {
			return true
		}
	}
	return false
}

// computes reports whether f, or a frame around it, computes the entry: a call that waited for
// that computation would wait for itself. Another Redis may have an entry of the same key.
func (f *frame) computes(c *Cache, key string) bool {
	for ; f != nil; f = f.outer {
		if (f.key == key || f.keys[key]) && f.cache != nil && f.cache.sharesRedis(c) && !f.ended.Load() {
			return true
		}
	}
	return false
}

// enterFrame returns the context for a run of the function. It has one more frame, and none of
// the options of the call. tally collects the tags of the run. comp is the computation; nil for
// a direct call or a verification.
func enterFrame(ctx context.Context, of *Func, tally *tally, comp *computation) (context.Context, *frame) {
	f := &frame{outer: perCallOf(ctx).frame, of: of, tally: tally}
	if comp != nil {
		f.cache, f.flightKey, f.stored = comp.cache, comp.flightKey, true
	}
	return context.WithValue(ctx, perCallKey{}, perCall{frame: f}), f
}

// --- The part in a batch ---

// The runs of a call of a batch share one place of Options.MaxConcurrent. The place has users:
//
//	an element     from the opening of its chunk until it is answered or waits (part.release)
//	a flight       while it asks for the lease (board, acquireOnce)
//	a computation  from the grant of its lease, or from its turn without one, until its run has ended
//
// So no flight asks for a lease without a place, and a run waits for no place. There is one exception:
// if a function ignores the end of its context, its run keeps the place, and the next run takes
// another one (lendPlace). A user waits for Redis and for runs of its own call only, so no two calls
// wait for each other's places.
//
// What fails ends the use: a flight gives the place if it is not granted the lease, or if its callers
// leave before that. A computation gives it when it ends, also if the callers have left, if the lease
// is lost, and if Close has begun.

// places are where a computation takes its place of Options.MaxConcurrent: those of the function, or
// the one that the computations of a batch share.
type places interface {
	Try() bool
	Take(ctx context.Context) error
	Give()
}

// A part is the part of one element's call in a call of a batch function: see batch.go. It
// is nil for an ordinary call. Only release may be called on another goroutine than the call's.
type part struct {
	order  int                          // the place of the element in the call
	gather *gather.Gather[*computation] // runs the function for the elements of the batch
	gone   atomic.Bool                  // see release
	place  *bulkhead.Shared             // of the batch
	placed bool                         // the call is a user of place until release

	// The batch has decided for the call, or put it on a flight, if ahead is set.
	ahead    bool
	flight   *flight // nil: decision and err
	start    bool    // the call began the flight
	decision decision
	err      error
	full     bool // no place of Options.MaxConcurrent is free for a run without Redis

	// For the member of the computation under the lease.
	fences   *remote.Group
	renewals *renewals
}

// release says that the call waits for others, or has ended: the run of the batch waits for it no
// longer. Otherwise two batches could wait for each other.
func (p *part) release() {
	if p != nil && p.gone.CompareAndSwap(false, true) {
		if p.placed {
			p.place.Give()
		}
		p.gather.Release()
	}
}

// places returns the places for the computations of the call.
func (p *part) places(fn *Func) places {
	if p != nil {
		return p.place
	}
	return fn.places
}

func (p *part) isAhead() bool { return p != nil && p.ahead }

// foresee decides for the call. The next run does not wait for it before its chunk is opened.
func (p *part) foresee(d decision, err error) { p.ahead, p.decision, p.err = true, d, err }

func (p *part) isFull() bool { return p != nil && p.full }

// newMember returns the member for a computation of the call's entry.
func (p *part) newMember() *runMember {
	if p == nil {
		return nil
	}
	return &runMember{order: p.order, gather: p.gather, place: p.place, ran: make(chan struct{}), fences: p.fences, renewals: p.renewals}
}

// A runMember is the part of a computation in the runs of a batch. A nil runMember is that of an
// ordinary computation.
type runMember struct {
	order  int // the place of the element in the call of the batch
	gather *gather.Gather[*computation]
	place  *bulkhead.Shared
	held   bool            // the next run waits for the computation
	ctx    context.Context // of the computation; written before it joins the gather
	ran    chan struct{}   // closed when the run has ended, and has set the computation's ret
	last   *remote.Group   // sends the last steps of the leases together; written before ran is closed
	fences *remote.Group   // sends the first readings of the fence together

	renewals *renewals // nil: the lease is renewed alone
	renewed  int       // how often its renewal was begun
}

// renewals are those of leases that were granted together, and so are renewed at about the same
// times.
type renewals struct {
	remote *remote.Remote
	leases int

	mu     sync.Mutex      // guards the field below
	groups []*remote.Group // of the first renewal, the second, and so on
}

// newRenewals returns the renewals of leases that were granted together; nil for a single one.
func (c *Cache) newRenewals(leases int) *renewals {
	if leases < 2 {
		return nil
	}
	return &renewals{remote: c.store.remote.Remote, leases: leases}
}

// group returns the group of the n-th renewal, counted from 0.
func (r *renewals) group(n int) *remote.Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.groups) <= n {
		r.groups = append(r.groups, r.remote.NewGroup(r.leases))
	}
	return r.groups[n]
}

// nextRenewal returns the group of the next renewal, or nil.
func (m *runMember) nextRenewal() *remote.Group {
	if m == nil || m.renewals == nil {
		return nil
	}
	m.renewed++
	return m.renewals.group(m.renewed - 1)
}

// hold has the next run wait for the computation.
func (m *runMember) hold() {
	if m != nil && !m.held {
		m.held = true
		m.gather.Hold()
	}
}

// leave ends a hold: the computation does not run, or waits for its place.
func (m *runMember) leave() {
	if m != nil && m.held {
		m.held = false
		m.gather.Release()
	}
}

// run takes part in the next run, and returns when it has ended.
func (m *runMember) run(ctx context.Context, c *computation) {
	m.ctx = ctx
	m.gather.Join(c)
	<-m.ran
}

// takeFences returns the group of the first reading of the fence, or nil.
func (m *runMember) takeFences() *remote.Group {
	if m == nil {
		return nil
	}
	return m.fences
}

// takeLast returns the group of the next step of the lease, once; or nil. returned reports whether
// the function has returned for the computation.
func (m *runMember) takeLast(returned bool) (g *remote.Group) {
	if m != nil && returned {
		g, m.last = m.last, nil
	}
	return g
}

// leaveLast says that the last step of the lease, if there was one, was sent.
func (m *runMember) leaveLast(returned bool) {
	if g := m.takeLast(returned); g != nil {
		g.Leave()
	}
}

// places returns where the computation takes its place.
func (c *computation) places() places {
	if c.member != nil {
		return c.member.place
	}
	return c.fn.places
}

// givePlace gives the place back, if the computation has one.
func (c *computation) givePlace() {
	if c.slotted {
		c.slotted = false
		c.places().Give()
	}
}

// lendPlace lends the place that computations have taken to their run. It waits only if a run before
// has been detached and has kept the place. placed is false if the function has to end meanwhile.
func lendPlace(ctx context.Context, place *bulkhead.Shared, members []*computation) (end, detach func(), placed bool) {
	users := 0
	for _, m := range members {
		if m.slotted {
			users++
		}
	}
	if users > 0 {
		if place.Take(ctx) != nil {
			return nil, nil, false
		}
		place.Give()
	}
	for _, m := range members {
		m.slotted = false
	}
	end, detach = place.Lend(users)
	return end, detach, true
}

// hasReturned reports whether the function has returned.
func (c *computation) hasReturned() bool {
	select {
	case <-c.returned:
		return true
	default:
		return false
	}
}

// steps returns the store for the next step of the lease. The last step of the computations of a
// batch is sent together.
func (c *computation) steps() *lockStore {
	s := c.cache.storeFor(c.fn)
	s.group = c.member.takeLast(c.hasReturned())
	return s
}
