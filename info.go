package fncache

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/events"
)

// This file has what a user sees of a cache at work: the Info about one call, and the Stats about all
// calls of a function; Health and NearStats. It also has the options of one call in its context.

// WithInfo returns a context that asks for the Info of one cached call. The first cached call
// with this context fills in info when it returns, on the caller's goroutine. Other calls with
// the same context do not write to info, even at the same time or later: make a context for
// each call. The context that the cached function gets does not ask for an Info.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.info = &infoClaim{info: info} })
}

// WithBypass returns a context with which a cached call calls the function itself, on the
// caller's goroutine, and does not use the cache. The context that the function gets does not
// ask for a bypass.
func WithBypass(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.bypass = true })
}

// WithRefresh returns a context with which a cached call recomputes and stores the value, even
// if the cached entry is fresh. If another caller computes it, the call waits for the lease, up
// to Options.WaitTimeout, and then computes. It never returns the result of a computation that
// began before the call.
//
// This also holds while Redis is away. If this process already computes the value then, the
// call waits until that ends and computes after it under OnCold Wait; it is refused under Fail,
// and computes at the same time under Compute. The context that the function gets does not ask
// for a refresh.
func WithRefresh(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.refresh = true })
}

// perCall is everything that fncache keeps in a context: the options of the next cached call,
// and the computations around it. It is one value, so that a hit looks into its context once.
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

// orBackground returns ctx, or the background context if ctx is nil.
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

// A Source says where an answer came from.
type Source uint8

const (
	// SourceNone: the call has not ended, or ended before it had an answer.
	SourceNone Source = iota
	// SourceFresh: an entry younger than Freshness.
	SourceFresh
	// SourceStale: an entry between Freshness and Timeout; or, while Redis is away,
	// an entry of any age up to Timeout from the near cache (Options.Near).
	SourceStale
	// SourceComputed: this call ran the function.
	SourceComputed
	// SourceWaited: this call waited for another caller's computation.
	SourceWaited
	// SourceRefused: the cache was cold; the answer is ErrColdCache.
	SourceRefused
	// SourceBypassed: the function was called directly: by WithBypass, or because
	// the call came from a computation of the same key.
	SourceBypassed
	// SourceFailed: the answer is another error.
	SourceFailed
	// SourceNear: a fresh entry from the near cache (Options.Near).
	SourceNear
)

// saves reports whether the computation of an entry or of another call has answered a call.
func (s Source) saves() bool {
	return s == SourceFresh || s == SourceStale || s == SourceWaited || s == SourceNear
}

// String returns the source as one lower-case word, for headers and metrics.
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
	// Age is the age of the entry on the Redis server's clock; 0 if the answer was
	// just computed.
	Age time.Duration
	// Cost is how long the function took to compute the answer, now or earlier.
	Cost time.Duration
	// Key is the Redis key of the entry; "" for a call of a batch function.
	Key string
	// Elements counts the ids of a call of a batch function by their sources. An id that is given
	// twice counts once, unless the near cache answers it. It is zero for other functions.
	Elements SourceCounts
}

// SourceCounts has a count for each [Source]: index it by [SourceFresh] and the other sources.
type SourceCounts [SourceNear + 1]int

// Stats are counters since the function was wrapped. For a batch function ([WrapBatch]) each
// different id of a call counts as a call, and each id that the near cache answers; Batches counts
// the calls themselves. When no call is under way,
//
//	Calls = Fresh + Stale + Computed + Waited + Refused + Bypassed + Failed + Near
//
// because every call is counted in exactly one of them. A call under way is counted only in
// Calls.
type Stats struct {
	Batches   uint64 // calls of a batch function
	BatchRuns uint64 // runs of a batch function on behalf of the cache; each serves one id or more of Computations

	Calls    uint64 // calls of the wrapped function; of a batch function, the ids of calls
	Fresh    uint64 // answered with a fresh entry
	Stale    uint64 // answered with a stale entry
	Computed uint64 // answered by running the function
	Waited   uint64 // answered with the value of another caller's computation, after waiting for it
	Refused  uint64 // refused with ErrColdCache
	Bypassed uint64 // called directly: by WithBypass, or from a computation of the same key
	Failed   uint64 // ended with any other error, with a panic, or because the context ended
	Near     uint64 // answered with a fresh entry of the near cache

	Computations uint64 // runs of the function on behalf of the cache, background refreshes included
	Stored       uint64 // results of Computations that Redis confirmed as stored
	LostLeases   uint64 // Computations whose lease expired or was invalidated; their results are dropped
	// Errored and NotStored count the other Computations that have ended: those that failed, with
	// their panics, and those whose result is not stored, such as by NoStore, without a lease, or
	// because Redis did not take it.
	Errored, NotStored uint64
	// OvertakenHard counts entries that were found invalid by one of their tags, and
	// computations that ended early because one of their tags was invalidated.
	// OvertakenSoft counts fresh entries that were found expired by a tag.
	OvertakenHard, OvertakenSoft uint64

	// Verified counts fresh values that Options.Verify compared with a new result of the
	// function. VerifyDiffered counts those that differed.
	Verified, VerifyDiffered uint64

	// Lookups counts the keys that calls and peeks have looked up in Redis. Calls of one key at the
	// same time share a lookup. Config.Observer gets a sample of the lookups.
	Lookups uint64

	Undecodable uint64 // entries that could not be read; each is a miss
	RedisErrors uint64 // Redis operations that failed or took longer than RedisTimeout

	// RedisErrorKinds has RedisErrors by kind: index it by [KindTimeout] and the other
	// kinds. [KindNoScript] is not part of RedisErrors, because the operation was done.
	RedisErrorKinds RedisErrorCounts

	ComputeTime time.Duration // total time of Computations
	SavedTime   time.Duration // total time that the computations of the served entries and values had taken
}

// Add returns the sums of the counters, such as those of all functions of a cache.
func (s Stats) Add(other Stats) Stats {
	addTo(reflect.ValueOf(&s).Elem(), reflect.ValueOf(other))
	return s
}

// addTo adds integers, and the integers in structs and arrays.
func addTo(sum, n reflect.Value) {
	switch sum.Kind() {
	case reflect.Uint64:
		sum.SetUint(sum.Uint() + n.Uint())
	case reflect.Int64:
		sum.SetInt(sum.Int() + n.Int())
	case reflect.Array:
		for i := range sum.Len() {
			addTo(sum.Index(i), n.Index(i))
		}
	default: // a struct
		for i := range sum.NumField() {
			addTo(sum.Field(i), n.Field(i))
		}
	}
}

// RedisErrorCounts has a count for each [RedisErrorKind].
type RedisErrorCounts [redisErrorKinds]uint64

// String returns the counts that are not zero with the names of their kinds, such as
// "timeout=3 pool=1"; "none" if all are zero.
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

// MarshalText returns the text of String, for JSON and logs.
func (c RedisErrorCounts) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text that MarshalText returns. Unknown kinds, such as kinds of a
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

	batches, batchRuns                            atomic.Uint64
	computations, stored, lostLeases, undecodable atomic.Uint64
	errored, notStored, lookups                   atomic.Uint64
	overtakenHard, overtakenSoft                  atomic.Uint64
	redisErrors                                   [redisErrorKinds]atomic.Uint64
	computeTime, savedTime                        atomic.Int64
}

func (c *counters) snapshot() Stats {
	// The ends of calls are read before the beginnings, so that Calls is never less than
	// the sum.
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
		Errored:     c.errored.Load(),
		NotStored:   c.notStored.Load(),
		Undecodable: c.undecodable.Load(),
		Lookups:     c.lookups.Load(),

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
	s.BatchRuns, s.Batches = c.batchRuns.Load(), c.batches.Load()
	s.Calls = c.calls.Load()
	return s
}

// stats implements Stats.
func (f *Func) stats() Stats {
	hits, saved := f.near.Counted() // before the beginnings, as all ends are
	s := f.counters.snapshot()
	s.Verified, s.VerifyDiffered = f.verify.Counted()
	s.Calls += hits
	s.Near += hits
	s.SavedTime += saved
	return s
}

// --- The state of a cache ---

// Health is the state of Redis, as this process knows it.
type Health struct {
	// Nodes has the nodes that were asked. A single server or a Sentinel group is one node.
	Nodes []NodeHealth
	// Subscription is whether this process receives the events of others.
	Subscription SubscriptionState
}

// NodeHealth is the state of one node, as this process knows it.
type NodeHealth struct {
	// Addr is the address of the node, as the client has it. "cluster" stands for a Cluster
	// whose nodes the client does not know.
	Addr string
	// Away reports that the node does not answer as it should. It is not asked then, and is
	// checked about once a second. A node that refuses only writes is away too, but is still
	// asked for entries.
	Away bool
	// OnlyWrites reports that the node is away for writes, and not for reads.
	OnlyWrites bool
	// Since is when the node was found away; zero if it is not away.
	Since time.Time
	// Why is the last error of a node that is away, a [*RedisError]; nil if it is not away.
	Why error
}

// Health returns the state of Redis as this process knows it. It sends nothing to Redis. To
// check whether Redis can be used, call [Cache.Ping]. A closed cache knows nothing, because it does
// not check nodes: its Health is the zero value.
func (c *Cache) Health() Health {
	if c.life.Closed() {
		return Health{}
	}
	h := Health{Subscription: map[events.Reception]SubscriptionState{
		events.Unneeded: SubscriptionIdle, events.Lost: SubscriptionDown, events.Heard: SubscriptionUp,
	}[c.events.Reception()]}
	for _, node := range c.store.remote.Health() {
		h.Nodes = append(h.Nodes, NodeHealth{Addr: node.Addr, Away: node.Away, OnlyWrites: node.OnlyWrites, Since: node.Since, Why: redisErrorOf(node.Why)})
	}
	return h
}

// A SubscriptionState says whether a process receives the events of others.
type SubscriptionState uint8

const (
	// SubscriptionIdle: no function needs events. Functions with Options.Near do, and calls that
	// wait for another process.
	SubscriptionIdle SubscriptionState = iota
	// SubscriptionUp: events are received.
	SubscriptionUp
	// SubscriptionDown: events are needed and not received, so the near cache is bypassed, and
	// waiting calls poll.
	SubscriptionDown
)

// String returns the state as one lower-case word.
func (s SubscriptionState) String() string { return nameOf(s, "idle", "up", "down") }

// NearStats are the figures of the near cache, for all functions of a cache together.
type NearStats struct {
	Entries   int
	Size      uint64 // bytes, as Config.NearSize counts them
	Evictions uint64 // entries that gave way to others since the cache was made
}

// NearStats returns the figures of the near cache. It takes about as long as some hits.
func (c *Cache) NearStats() NearStats {
	usage := c.near.Usage()
	return NearStats{Entries: usage.Entries, Size: usage.Weight, Evictions: usage.Evictions}
}

func nameOf[T ~uint8](value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return "unknown"
}
