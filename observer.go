package fncache

import (
	"context"
	"time"

	"github.com/fncache/fncache/internal/events"
)

// This file has what a user sees of a cache at work: the Observer with its events, Health and
// NearStats. tell.go tells the observer.

// An Observer is told of the slow things that a cache does: see [Config].Observer. Nothing is
// told of near hits and of fresh hits: [Func.Stats] counts them. Metrics and traces of
// OpenTelemetry are in the package fncacheotel, a module of its own.
//
// An implementation embeds [NopObserver], so that methods can be added in later releases:
//
//	type observer struct{ fncache.NopObserver }
//
//	func (observer) LeaseLost(ctx context.Context, l fncache.LostLease) { ... }
//
// The methods are called at the same time from many goroutines. RunBegan and RunEnded are called
// on the goroutine of the function, and CallEnded, WaitEnded and Invalidated on that of the
// caller, so they should be quick. All others are called on goroutines of their own, in no
// particular order; only changes of a breaker and of the subscription come one after the other.
// A slow method delays no renewal of a lease, and no call but the one that it is called for. If
// 1,024 events wait for slow methods, further ones are dropped. A panic is recovered, and both are
// logged. [Cache.Close] waits for methods that run, as it waits for computations.
//
// A context has the values of the context of the call, such as the span of a trace. It may have
// ended.
type Observer interface {
	// RunBegan is called before the function runs for the cache. The function gets the context
	// that RunBegan returns, which has to be ctx or to be derived from it; nil stands for ctx.
	RunBegan(ctx context.Context, r Run) context.Context
	// RunEnded is called when the function has returned, with the context that RunBegan returned.
	// Callers get the result at the same time, or may already have been answered otherwise.
	RunEnded(ctx context.Context, r Run, end RunEnd)
	// ComputationEnded is called when it is known what became of a result: once for each entry,
	// so once for each id of the run of a batch function.
	ComputationEnded(ctx context.Context, c ComputationEnd)
	// CallEnded is called when a call ends whose answer is not a fresh entry.
	CallEnded(ctx context.Context, c CallEnd)
	// WaitEnded is called when a call ends that has waited for another caller, or for a place of
	// Options.MaxConcurrent. It is called before CallEnded.
	WaitEnded(ctx context.Context, w WaitEnd)
	// RedisAnswered is called after an operation that Redis was asked for. Of lookups, it is
	// called for every 64th, and for each that has failed or has taken a quarter of
	// Config.RedisTimeout or longer; [Stats] counts them all.
	RedisAnswered(ctx context.Context, op RedisOperation)
	// LeaseLost is called when a computation learns that its lease is lost.
	LeaseLost(ctx context.Context, l LostLease)
	// Invalidated is called after this process has invalidated or expired keys, tags or a
	// function, or has tried to.
	Invalidated(ctx context.Context, i Invalidation)
	// Verified is called when a hit was verified (Options.Verify).
	Verified(ctx context.Context, v Verification)
	// BreakerChanged is called when a node of Redis is found away, or back.
	BreakerChanged(b BreakerChange)
	// SubscriptionChanged is called when this process begins to receive the events of others, or
	// has lost its subscription. A subscription that nobody needs any more is not lost.
	SubscriptionChanged(s SubscriptionChange)

	embedsNopObserver()
}

// NopObserver is an [Observer] whose methods do nothing, for embedding.
type NopObserver struct{}

// RunBegan returns ctx.
func (NopObserver) RunBegan(ctx context.Context, _ Run) context.Context { return ctx }

// RunEnded does nothing.
func (NopObserver) RunEnded(context.Context, Run, RunEnd) {}

// ComputationEnded does nothing.
func (NopObserver) ComputationEnded(context.Context, ComputationEnd) {}

// CallEnded does nothing.
func (NopObserver) CallEnded(context.Context, CallEnd) {}

// WaitEnded does nothing.
func (NopObserver) WaitEnded(context.Context, WaitEnd) {}

// RedisAnswered does nothing.
func (NopObserver) RedisAnswered(context.Context, RedisOperation) {}

// LeaseLost does nothing.
func (NopObserver) LeaseLost(context.Context, LostLease) {}

// Invalidated does nothing.
func (NopObserver) Invalidated(context.Context, Invalidation) {}

// Verified does nothing.
func (NopObserver) Verified(context.Context, Verification) {}

// BreakerChanged does nothing.
func (NopObserver) BreakerChanged(BreakerChange) {}

// SubscriptionChanged does nothing.
func (NopObserver) SubscriptionChanged(SubscriptionChange) {}

func (NopObserver) embedsNopObserver() {}

// A Run is one run of a function for the cache.
type Run struct {
	Func       *Func
	Key        string // of the entry; of the first of a batch
	Trigger    Trigger
	Background bool // no caller waits for it
	Elements   int  // ids of a batch function; otherwise 1
}

// A RunEnd is how a [Run] has ended.
type RunEnd struct {
	Duration time.Duration
	// Err is the error of the function, a *PanicError, or ErrGoexit.
	Err error
	// Listed reports that Err is in Options.CacheErrors, so it is an answer.
	Listed bool
}

// A ComputationEnd is what became of the computation of one entry.
type ComputationEnd struct {
	Func    *Func
	Key     string
	Trigger Trigger
	Outcome Outcome
	// Duration is how long the function ran; for an id of a batch function, the time of the run
	// divided by its ids.
	Duration time.Duration
	Size     int // bytes of the entry in Redis; 0 if it was not stored
	// Err is why the function failed, or why the result is not stored; nil if there is no error.
	Err error
}

// A CallEnd is the end of a call whose answer is not a fresh entry.
type CallEnd struct {
	Func     *Func
	Key      string // "" for a call of a batch function
	Source   Source
	Age      time.Duration // as that of Info
	Cost     time.Duration // as that of Info
	Began    time.Time     // after its look into the near cache
	Duration time.Duration // from then on
	Elements SourceCounts  // as that of Info
	Err      error         // nil if the call has a result, panics, or ends its goroutine
}

// A WaitEnd is the end of a call that has waited.
type WaitEnd struct {
	Func *Func
	Key  string // of a batch, the key that was waited for longest
	// Source is the source of the answer: SourceComputed if the call waited and then computed.
	Source   Source
	Began    time.Time     // when the waiting began
	Duration time.Duration // of the waiting alone
}

// A RedisOperation is an operation of the cache on Redis, of one command or several together.
type RedisOperation struct {
	// Op is the operation in one word or two, such as "lookup", "acquire" or "store".
	Op       string
	Commands int           // for a lookup of a batch, its keys
	Duration time.Duration // from the need for it to the answer, so waiting for a connection counts
	Err      *RedisError   // the first error; nil if there is none
}

// A LostLease is a lease that was lost while its holder computed.
type LostLease struct {
	Func    *Func
	Key     string
	Trigger Trigger
}

// An Invalidation is an invalidation by this process.
type Invalidation struct {
	Scope   Scope
	Func    *Func // nil for tags, and if this process does not have the function
	Expired bool  // entries have become stale; otherwise they are gone
	Count   int   // keys or tags; 1 for a function
	Err     error // nil if it succeeded
}

// A Verification is the result of a verified hit.
type Verification struct {
	Func     *Func
	Key      string
	Differed bool // the present result of the function differs from the entry
}

// A BreakerChange is a change of a node of Redis.
type BreakerChange struct {
	Node   string // its address
	Writes bool   // for writes; otherwise for reads
	Open   bool   // the node is away; otherwise it is back, or has left its Cluster
	Err    error  // why it is away, a *RedisError; nil otherwise
}

// A SubscriptionChange is a change of the subscription to events.
type SubscriptionChange struct {
	Up  bool
	Err error // why it was lost; nil if it is up
}

// A Trigger is why a function was run.
type Trigger uint8

const (
	// TriggerCold: there was no entry to serve.
	TriggerCold Trigger = iota
	// TriggerStale: the entry was stale.
	TriggerStale
	// TriggerEarly: the entry was fresh, and due to Options.Early.
	TriggerEarly
	// TriggerRefresh: Refresh or WithRefresh asked for it.
	TriggerRefresh
	// TriggerRedisDown: Redis did not answer.
	TriggerRedisDown
)

// String returns the trigger as one lower-case word.
func (t Trigger) String() string {
	return nameOf(t, "cold", "stale", "early", "refresh", "redis_down")
}

// An Outcome is what became of a computation.
type Outcome uint8

const (
	// OutcomeStored: Redis has confirmed that the result is stored.
	OutcomeStored Outcome = iota
	// OutcomeLostLease: the lease was lost, so nothing was stored.
	OutcomeLostLease
	// OutcomeError: the function returned an error that is not in Options.CacheErrors, panicked,
	// or was not waited for any longer.
	OutcomeError
	// OutcomeNotStored: there is a result, and it is not stored: because of NoStore, because
	// there was no lease, because the codec cannot restore it, or because Redis did not take it.
	OutcomeNotStored
)

// String returns the outcome as one lower-case word.
func (o Outcome) String() string {
	return nameOf(o, "stored", "lost_lease", "error", "not_stored")
}

// A Scope is what an invalidation is about.
type Scope uint8

const (
	// ScopeKey: entries, by their keys.
	ScopeKey Scope = iota
	// ScopeTag: all entries with a tag.
	ScopeTag
	// ScopeFunction: all entries of a function.
	ScopeFunction
)

// String returns the scope as one lower-case word.
func (s Scope) String() string { return nameOf(s, "key", "tag", "function") }

func nameOf[T ~uint8](value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return "unknown"
}

// --- State ---

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
// check whether Redis can be used, call [Cache.Ping].
func (c *Cache) Health() Health {
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
