package fncache

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
)

// This file has what a caller says of one call through its context, and what it is told of
// a call and of all calls.

// WithInfo returns a context with which the first cached call it reaches writes
// to info where its answer came from, when it returns, on the caller's
// goroutine. All other calls leave info alone, also those that have the same context
// at the same time or later: make a context for each call that is to be known of. The
// context that the cached function is given does not carry it on.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.info = &infoClaim{info: info} })
}

// WithBypass returns a context with which the first cached call it reaches calls
// the function itself, on the caller's goroutine, and touches no cache. The
// context that the function is given does not carry it on.
func WithBypass(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.bypass = true })
}

// WithRefresh returns a context with which the first cached call it reaches
// recomputes and stores, whatever is cached. Where somebody else computes it
// waits for the lease, up to Options.WaitTimeout, and never returns what began
// to be computed before the call. That holds with Redis away too: what this
// process computes already is waited for then, and not taken (under OnCold Fail
// the call is refused meanwhile, under Compute it computes too). The context that
// the function is given does not carry it on.
func WithRefresh(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.refresh = true })
}

// NoStore is called inside a cached function, with the context it was given: its
// result is then returned and not stored. It is for an answer that is good for
// these callers only, such as a partial one. With another context it does nothing.
func NoStore(ctx context.Context) {
	if f := perCallOf(orBackground(ctx)).frame; f != nil {
		f.noStore.Store(true)
	}
}

// perCall is all that fncache keeps in a context: what the next cached call is
// asked for, and the computations around it. One value, so that a hit looks
// into its context once.
type perCall struct {
	info    *infoClaim
	bypass  bool
	refresh bool
	frame   *frame
}

// An infoClaim is the Info of one WithInfo: the first call that reaches it owns it.
type infoClaim struct {
	info    *Info
	claimed atomic.Bool
}

// claim returns the Info to its first caller, and nil to all others.
func (c *infoClaim) claim() *Info {
	if c == nil || !c.claimed.CompareAndSwap(false, true) {
		return nil
	}
	return c.info
}

type perCallKey struct{}

func perCallOf(ctx context.Context) perCall {
	p, _ := ctx.Value(perCallKey{}).(perCall)
	return p
}

// orBackground takes nil for the background, as the stub does.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

func withPerCall(ctx context.Context, change func(*perCall)) context.Context {
	ctx = orBackground(ctx)
	p := perCallOf(ctx)
	change(&p)
	return context.WithValue(ctx, perCallKey{}, p)
}

// enterFrame gives the context that the function is called with: a frame deeper,
// and without what its own call was asked for. tally is what collects the tags of the run.
// comp is the computation; nil for a direct call.
func enterFrame(ctx context.Context, of *Func, tally *tally, comp *computation) (context.Context, *frame) {
	f := &frame{outer: perCallOf(ctx).frame, of: of, tally: tally}
	if comp != nil {
		f.cache, f.flightKey, f.stored = comp.cache, comp.flightKey, true
	}
	return context.WithValue(ctx, perCallKey{}, perCall{frame: f}), f
}

// A Source says where an answer came from.
type Source uint8

const (
	// SourceNone: the call has not ended, or ended before it had an answer.
	SourceNone Source = iota
	// SourceFresh: an entry younger than Freshness.
	SourceFresh
	// SourceStale: an entry between Freshness and Timeout; or, while Redis is away,
	// one of any age up to Timeout that this process had kept (Options.Near).
	SourceStale
	// SourceComputed: this call ran the function.
	SourceComputed
	// SourceWaited: this call waited for another caller's computation.
	SourceWaited
	// SourceRefused: the cache was cold; the answer is ErrColdCache.
	SourceRefused
	// SourceBypassed: the function was called directly, by WithBypass or
	// because it came back to the key it was computing.
	SourceBypassed
	// SourceFailed: the answer is another error.
	SourceFailed
	// SourceNear: a fresh entry that this process had kept (Options.Near).
	SourceNear
)

// String gives the source in one lower-case word, fit for a header or a metric.
func (s Source) String() string {
	names := [...]string{"none", "fresh", "stale", "computed", "waited", "refused", "bypassed", "failed", "near"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Info says where an answer came from. See [WithInfo].
type Info struct {
	Source Source
	// Age is the age of the answer on the Redis server's clock: of the entry
	// for SourceFresh and SourceStale, 0 for one computed just now.
	Age time.Duration
	// Cost is how long the function took to compute the answer, whenever that
	// was.
	Cost time.Duration
	// Key is the Redis key of the entry.
	Key string
}

// Stats are counters since the function was wrapped. Once no call is under way,
//
//	Calls = Fresh + Stale + Computed + Waited + Refused + Bypassed + Failed + Near
//
// holds: every call ends in exactly one of them. Read while calls are under
// way, Calls is ahead by those.
type Stats struct {
	Calls    uint64 // calls of the wrapped function
	Fresh    uint64 // answered with a fresh entry
	Stale    uint64 // answered with a stale entry
	Computed uint64 // answered by running the function
	Waited   uint64 // answered with the value of a computation waited for
	Refused  uint64 // refused with ErrColdCache
	Bypassed uint64 // called directly: WithBypass, or come back to its own key
	Failed   uint64 // any other error, panics and given-up contexts included
	Near     uint64 // answered with a fresh entry from this process's own memory

	Computations uint64 // runs of the function on behalf of the cache, background refreshes included
	Stored       uint64 // of these, how many results Redis has said to have stored, at once or when asked again
	LostLeases   uint64 // computations that found their lease lost: expired, or invalidated; their results are dropped
	// OvertakenHard are entries that were found invalid by one of their tags, and
	// computations that ended early because one of their tags was invalidated;
	// OvertakenSoft are fresh entries that were found expired by a tag.
	OvertakenHard, OvertakenSoft uint64

	// Verified are fresh values that Options.Verify compared with what the function returns
	// now; VerifyDiffered are those among them that differed.
	Verified, VerifyDiffered uint64

	Undecodable uint64 // entries that could not be read: a miss each
	RedisErrors uint64 // Redis operations that failed or took longer than RedisTimeout

	// RedisErrorKinds are RedisErrors by kind: index it by [KindTimeout] and the
	// like. [KindNoScript] stands beside them: what met it was done all
	// the same.
	RedisErrorKinds RedisErrorCounts

	ComputeTime time.Duration // the time Computations took
	SavedTime   time.Duration // the time the entries and values served had once taken to compute
}

// RedisErrorCounts has a count for each [RedisErrorKind].
type RedisErrorCounts [redisErrorKinds]uint64

// String gives the counts that are not zero with the names of their kinds, as in
// "timeout=3 pool=1"; none if there is none.
func (c RedisErrorCounts) String() string {
	var b strings.Builder
	for kind, n := range c {
		if n > 0 {
			fmt.Fprintf(&b, " %v=%d", RedisErrorKind(kind), n)
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()[1:]
}

// MarshalText gives what String does, for JSON and logs.
func (c RedisErrorCounts) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText gave. Kinds that it does not know, as of a
// later release, are left out.
func (c *RedisErrorCounts) UnmarshalText(text []byte) error {
	*c = RedisErrorCounts{}
	for _, field := range strings.Fields(string(text)) {
		name, count, ok := strings.Cut(field, "=")
		if !ok && name == "none" {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 64)
		if err != nil {
			return fmt.Errorf("fncache: counts of Redis errors: %q is not KIND=NUMBER", field)
		}
		for kind := range c {
			if kindFacts[kind].name == name {
				c[kind] = n
			}
		}
	}
	return nil
}

// counters is the live form of Stats.
type counters struct {
	calls    atomic.Uint64
	bySource [SourceNear + 1]atomic.Uint64

	computations, stored, lostLeases, undecodable atomic.Uint64
	overtakenHard, overtakenSoft                  atomic.Uint64
	redisErrors                                   [redisErrorKinds]atomic.Uint64
	computeTime, savedTime                        atomic.Int64
}

func (c *counters) snapshot() Stats {
	// The ends are read before the beginnings, so that Calls never falls
	// behind the sum.
	s := Stats{
		Fresh:       c.bySource[SourceFresh].Load(),
		Stale:       c.bySource[SourceStale].Load(),
		Computed:    c.bySource[SourceComputed].Load(),
		Waited:      c.bySource[SourceWaited].Load(),
		Refused:     c.bySource[SourceRefused].Load(),
		Bypassed:    c.bySource[SourceBypassed].Load(),
		Failed:      c.bySource[SourceFailed].Load(),
		Near:        c.bySource[SourceNear].Load(),
		Stored:      c.stored.Load(),
		LostLeases:  c.lostLeases.Load(),
		Undecodable: c.undecodable.Load(),

		OvertakenHard: c.overtakenHard.Load(),
		OvertakenSoft: c.overtakenSoft.Load(),
		ComputeTime:   time.Duration(c.computeTime.Load()),
		SavedTime:     time.Duration(c.savedTime.Load()),
		Computations:  c.computations.Load(),
	}
	for kind := range c.redisErrors {
		s.RedisErrorKinds[kind] = c.redisErrors[kind].Load()
		if RedisErrorKind(kind) != KindNoScript {
			s.RedisErrors += s.RedisErrorKinds[kind]
		}
	}
	s.Calls = c.calls.Load()
	return s
}

// A frame is one computation that a context passes through.
type frame struct {
	cache *Cache // nil for a direct call, and so what flightKey holds
	flightKey
	of      *Func  // the function, of a direct call too
	tally   *tally // the tags that it collects: nil without Options.Tags; of a direct call that of the run around it
	outer   *frame
	stored  bool // its result may be stored: it is neither a direct call nor a verification
	noStore atomic.Bool
	ended   atomic.Bool // the function has returned; what it started may hold its context yet

	mu   sync.Mutex // guards the field below
	said said
}

// runs reports whether a function with these places is in computation in f or around it.
func (f *frame) runs(places *bulkhead.Bulkhead) bool {
	for ; f != nil; f = f.outer {
		if f.fn != nil && f.fn.places == places && !f.ended.Load() {
			return true
		}
	}
	return false
}

// computes says whether an entry is in computation in f or around it: who waited
// for that would wait for itself. Another Redis may hold an entry of the same key.
func (f *frame) computes(c *Cache, key string) bool {
	for ; f != nil; f = f.outer {
		if f.key == key && f.cache != nil && f.cache.sharesRedis(c) && !f.ended.Load() {
			return true
		}
	}
	return false
}

// sharesRedis says whether an entry of c is one of other, too, if it has the same
// key. Of two clients of one server that is not known.
func (c *Cache) sharesRedis(other *Cache) bool {
	return c == other || reflect.ValueOf(c.cfg.Redis).Comparable() && c.cfg.Redis == other.cfg.Redis
}

// stats is Stats.
func (f *Func) stats() Stats {
	hits, saved := f.near.Counted() // these before the beginnings, as all ends
	s := f.counters.snapshot()
	s.Verified, s.VerifyDiffered = f.verify.Counted()
	s.Calls += hits
	s.Near += hits
	s.SavedTime += saved
	return s
}
