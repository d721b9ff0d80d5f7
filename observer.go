package fncache

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/telling"
)

// This file has the Observer with its events, and calls its methods.

// An Observer has the methods that a cache calls for the slow things that it does: see
// [Config].Observer. Near hits and fresh hits are not reported; [Func.Stats] counts them. Metrics
// and traces of OpenTelemetry are in the package fncacheotel, a module of its own.
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
// A slow method delays only the call that it is called for, and never the renewal of a lease. If
// 1,024 events wait for slow methods, further events are dropped. A panic is recovered. Dropped
// events and panics are logged. [Cache.Close] waits for methods that run, as it waits for computations.
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
	// ComputationEnded is called when the outcome of a result is known: once for each entry,
	// so once for each id of the run of a batch function.
	ComputationEnded(ctx context.Context, c ComputationEnd)
	// CallEnded is called when a call ends, unless its answer is a fresh entry.
	CallEnded(ctx context.Context, c CallEnd)
	// WaitEnded is called when a call ends that has waited for another caller, or for a place of
	// Options.MaxConcurrent. It is called before CallEnded.
	WaitEnded(ctx context.Context, w WaitEnd)
	// RedisAnswered is called after an operation on Redis, but not for every lookup: only for every
	// 64th, and for each that has failed or has taken a quarter of Config.RedisTimeout or longer.
	// [Stats] counts all lookups.
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
	// has lost its subscription. A subscription that ends because it is no longer needed is not lost.
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

// A ComputationEnd is the outcome of the computation of one entry.
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
	Duration time.Duration // until the answer, including the wait for a connection
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

// An Outcome says how a computation ended.
type Outcome uint8

const (
	// OutcomeStored: Redis has confirmed that the result is stored.
	OutcomeStored Outcome = iota
	// OutcomeLostLease: the lease was lost, so nothing was stored.
	OutcomeLostLease
	// OutcomeError: the function returned an error that is not in Options.CacheErrors, panicked,
	// or the cache no longer waited for it.
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

// --- Calling its methods ---

// The functions below report to Config.Observer. Other files call each in one line. Without an
// observer that costs one branch.

const (
	// sampleLookups: one of this many lookups is reported.
	sampleLookups = 64
	// slowLookups: a lookup is slow if it takes this part of RedisTimeout.
	slowLookups = 4
)

// An observing is an observer, and how its methods are called.
type observing struct {
	*telling.Teller
	to      Observer
	slow    time.Duration // what a slow lookup takes
	lookups atomic.Uint64
}

// newObserving returns nil if there is no observer.
func newObserving(cfg *Config, log *oncelog.Logger, spawn func(func())) *observing {
	if cfg.Observer == nil {
		return nil
	}
	return &observing{Teller: telling.New(log, spawn), to: cfg.Observer, slow: cfg.RedisTimeout / slowLookups}
}

// --- Computations ---

// runBegins returns the context for a run of the function for that many computations, of which c
// is the first.
func (c *computation) runBegins(ctx context.Context, elements int) context.Context {
	o := c.cache.observer
	if o == nil {
		return ctx
	}
	own := ctx
	o.Here("RunBegan", func() {
		if changed := o.to.RunBegan(ctx, c.asRun(elements)); changed != nil {
			own = changed
		}
	})
	return own
}

// runEnded is called with what runBegins returned.
func (c *computation) runEnded(ctx context.Context, elements int, ret funcEnd, took time.Duration) {
	o := c.cache.observer
	if o == nil {
		return
	}
	end := RunEnd{Duration: took, Err: ret.failure(), Listed: ret.err != nil && c.fn.lists(ret.err)}
	o.Here("RunEnded", func() { o.to.RunEnded(ctx, c.asRun(elements), end) })
}

// lists reports whether an error is in Options.CacheErrors. A panic of its methods counts as no.
func (f *Func) lists(err error) (is bool) {
	defer func() { is = recover() == nil && is }()
	return slices.ContainsFunc(f.negatives, func(n negativeError) bool { return errors.Is(err, n.err) })
}

func (c *computation) asRun(elements int) Run {
	return Run{Func: c.fn, Key: c.key, Trigger: c.trigger, Background: c.Background, Elements: elements}
}

// failure returns what the function returned, panicked with, or did otherwise, as an error.
func (r *funcEnd) failure() error {
	switch failed, is := r.panic.(error); {
	case is:
		return failed
	case r.goexit:
		return ErrGoexit
	default:
		return r.err
	}
}

// hasError reports whether there is an error that is neither a panic nor a Goexit.
func (e *ending) hasError() bool { return e.err != nil && e.panic == nil && !e.goexit }

// normal reports whether the function has returned without an error.
func (e *ending) normal() bool { return e.err == nil && e.panic == nil && !e.goexit }

// failed reports whether the function has failed: by an error that is not in
// Options.CacheErrors, by a panic, or by Goexit. Closing the cache is not a failure of the
// function.
func (e *ending) failed() bool {
	return !e.normal() && !e.negative && e.err != ErrClosed //nolint:errorlint // errors.Is would ask the user's own
}

// conclude counts and reports the outcome of a computation. It is called once for each
// computation that has begun.
func (c *computation) conclude(e *ending) {
	outcome := OutcomeNotStored
	switch {
	case e.size > 0:
		outcome = OutcomeStored
	case c.lost:
		outcome = OutcomeLostLease
	case e.failed():
		outcome = OutcomeError
		c.fn.counters.errored.Add(1)
	default:
		c.fn.counters.notStored.Add(1)
	}
	o := c.cache.observer
	if o == nil {
		return
	}
	end := ComputationEnd{Func: c.fn, Key: c.key, Trigger: c.trigger, Outcome: outcome, Duration: e.cost, Size: e.size, Err: e.unstored}
	if outcome == OutcomeError {
		end.Err = e.failure()
	}
	o.Apart("ComputationEnded", func() { o.to.ComputationEnded(c.ctx, end) })
}

// tellLost reports that the lease is lost.
func (c *computation) tellLost() {
	if o := c.cache.observer; o != nil {
		lost := LostLease{Func: c.fn, Key: c.key, Trigger: c.trigger}
		o.Apart("LeaseLost", func() { o.to.LeaseLost(c.ctx, lost) })
	}
}

// --- Calls ---

// A stopwatch times an observed call.
type stopwatch struct {
	began  time.Time
	waited time.Duration // until the call computed; 0 if it does not compute
}

// startWatch begins to time a call that the near cache did not answer. A call of a function without
// a cache may have none.
func (c *call) startWatch() {
	if c.cache != nil && c.cache.observer != nil {
		c.watch = &stopwatch{began: time.Now()}
	}
}

// waitIsOver notes that a call computes from now on.
func (c *call) waitIsOver() {
	if c.watch != nil && c.limit != nil {
		c.watch.waited = time.Since(c.began)
	}
}

// waited returns how long an observed call has waited for others.
func (c *call) waited() time.Duration {
	switch {
	case c.limit == nil:
		return 0
	case c.watch.waited > 0:
		return c.watch.waited
	default:
		return time.Since(c.began)
	}
}

// tellEnd reports the end of a call.
func (c *call) tellEnd(a *answer) {
	if c.watch != nil {
		c.cache.observer.ended(c.ctx, c.watch.began,
			WaitEnd{Func: c.fn, Key: c.key, Source: a.source, Began: c.began, Duration: c.waited()},
			CallEnd{Func: c.fn, Key: c.key, Source: a.source, Age: a.age, Cost: a.cost, Err: a.err})
	}
}

// startWatch begins to time a call of a batch function.
func (b *batch) startWatch() {
	if b.cache.observer != nil {
		b.began = time.Now()
	}
}

// tellEnd reports the end of a call of a batch function.
func (b *batch) tellEnd(total Info, err error) {
	if b.cache.observer == nil {
		return
	}
	wait := WaitEnd{Func: b.fn}
	for _, el := range b.elements {
		if el.watch != nil && el.waited() > wait.Duration {
			wait.Key, wait.Source, wait.Began, wait.Duration = el.key, el.a.source, el.began, el.waited()
		}
	}
	b.cache.observer.ended(b.ctx, b.began, wait,
		CallEnd{Func: b.fn, Source: total.Source, Age: total.Age, Cost: total.Cost, Elements: total.Elements, Err: err})
}

func (o *observing) ended(ctx context.Context, began time.Time, w WaitEnd, end CallEnd) {
	if w.Duration > 0 {
		o.Here("WaitEnded", func() { o.to.WaitEnded(ctx, w) })
	}
	if end.Source != SourceFresh && end.Source != SourceNear {
		end.Began, end.Duration = began, time.Since(began)
		o.Here("CallEnded", func() { o.to.CallEnded(ctx, end) })
	}
}

// tellInvalidated reports an invalidation.
func (c *Cache) tellInvalidated(ctx context.Context, i Invalidation) {
	if o := c.observer; o != nil {
		o.Here("Invalidated", func() { o.to.Invalidated(ctx, i) })
	}
}

// tell reports the result of a verification.
func (v *verification) tell(differed bool) {
	if o := v.cache.observer; o != nil {
		o.Here("Verified", func() { o.to.Verified(v.ctx, Verification{Func: v.fn, Key: v.key, Differed: differed}) })
	}
}

// --- Redis ---

// answered reports the answer to the commands of an operation. A command that its caller has
// given up, or that was not sent because the node is away, has no answer.
func (o *observing) answered(ctx context.Context, name string, commands int, began time.Time, err error) {
	op := RedisOperation{Op: name, Commands: commands, Duration: time.Since(began)}
	if err != nil && !wrongType(err) { // another type than a string is an answer
		failure, is := redisErrorOf(err).(*RedisError) //nolint:errorlint // made by redisErrorOf
		if !is || failure.notAsked {
			return
		}
		op.Err = failure
	}
	if op.Op == opLookup && o.lookups.Add(1)%sampleLookups != 0 && op.Err == nil && op.Duration < o.slow {
		return
	}
	o.Apart("RedisAnswered", func() { o.to.RedisAnswered(ctx, op) })
}

// tellNode reports a change of a node. It does not block.
func (o *observing) tellNode(e remote.Event) {
	if o == nil || e.Err != nil && !e.Away {
		return
	}
	change := BreakerChange{Node: e.Node, Writes: e.Writes, Open: e.Away}
	if e.Err != nil {
		change.Err = &RedisError{Op: e.Op, Kind: RedisErrorKind(e.Kind), Err: e.Err, node: e.Node}
	}
	o.InOrder("BreakerChanged", func() { o.to.BreakerChanged(change) })
}

// tellSubscription reports that events are received, or why they are not any more. It does not
// block.
func (o *observing) tellSubscription(lost error) {
	if o != nil {
		o.InOrder("SubscriptionChanged", func() { o.to.SubscriptionChanged(SubscriptionChange{Up: lost == nil, Err: lost}) })
	}
}

// --- Watchers ---

// lookedUp counts a lookup, reports it to the watchers of package operate, if any, and returns
// the key.
func (c *Cache) lookedUp(f *Func, key string) string {
	f.counters.lookups.Add(1)
	if watchers := c.watchers.Load(); watchers != nil {
		for _, w := range *watchers {
			w.LookedUp(f, key)
		}
	}
	return key
}

// computed reports to the watchers of package operate, if there are any.
func (c *Cache) computed(comp *computation, e *ending) {
	watchers := c.watchers.Load()
	if watchers == nil {
		return
	}
	for _, w := range *watchers {
		w.Computed(comp.fn, comp.key, e.cost, e.failure())
	}
}
