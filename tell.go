package fncache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/telling"
)

// This file tells Config.Observer what happens. Other files call it with one line each. Without
// an observer that costs one branch.

const (
	// sampleLookups: the observer is told of one lookup of that number.
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

// conclude counts what became of a computation, and tells it. It is called once for each
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

// trigger returns why a flight begins a computation, with an entry in the state s.
func (f *flight) trigger(s state) Trigger {
	switch {
	case f.Purpose() == flights.ToRefresh:
		return TriggerRefresh
	case f.Purpose() == flights.ToEarly:
		return TriggerEarly
	case s == stale:
		return TriggerStale
	default:
		return TriggerCold
	}
}

// trigger returns why the call computes without a lease.
func (c *call) trigger() Trigger {
	switch {
	case c.down:
		return TriggerRedisDown
	case c.since > 0:
		return TriggerRefresh
	default:
		return TriggerCold
	}
}

// tellLost tells that the lease is lost.
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

// tellEnd tells of the end of a call.
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

// tellEnd tells of the end of a call of a batch function.
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

// tellInvalidated tells of an invalidation.
func (c *Cache) tellInvalidated(ctx context.Context, i Invalidation) {
	if o := c.observer; o != nil {
		o.Here("Invalidated", func() { o.to.Invalidated(ctx, i) })
	}
}

// tell tells the result of a verification.
func (v *verification) tell(differed bool) {
	if o := v.cache.observer; o != nil {
		o.Here("Verified", func() { o.to.Verified(v.ctx, Verification{Func: v.fn, Key: v.key, Differed: differed}) })
	}
}

// --- Redis ---

// An asker sends commands, and tells of their answers.
type asker struct {
	*remote.Remote
	observer *observing
}

// Do does what that of remote.Remote does.
func (a asker) Do(ctx context.Context, c *remote.Command) error {
	if a.observer == nil {
		return a.Remote.Do(ctx, c)
	}
	return a.DoWith(ctx, nil, c)
}

// DoWith is Do, for a command of a group unless group is nil.
func (a asker) DoWith(ctx context.Context, group *remote.Group, c *remote.Command) error {
	do := a.Remote.Do
	if group != nil {
		do = group.Do
	}
	if a.observer == nil {
		return do(ctx, c)
	}
	began := time.Now()
	err := do(ctx, c)
	a.observer.answered(ctx, c.Op(), 1, began, err)
	return err
}

// All is that of remote.Remote.
func (a asker) All(ctx context.Context, cmds []*remote.Command) []error {
	if a.observer == nil {
		return a.Remote.All(ctx, cmds)
	}
	began := time.Now()
	errs := a.Remote.All(ctx, cmds)
	a.observer.answered(ctx, cmds[0].Op(), len(cmds), began, cmp.Or(errs...))
	return errs
}

// GetAll is that of remote.Remote.
func (a asker) GetAll(ctx context.Context, op string, keys []string, limit remote.Limits, q *remote.Question) (all []remote.Got, qErr error) {
	if a.observer == nil {
		return a.Remote.GetAll(ctx, op, keys, limit, q)
	}
	began := time.Now()
	all, qErr = a.Remote.GetAll(ctx, op, keys, limit, q)
	err := qErr
	for i := range all {
		err = cmp.Or(err, all[i].Err)
	}
	a.observer.answered(ctx, op, len(keys), began, err)
	return all, qErr
}

// Both is that of remote.Remote.
func (a asker) Both(ctx context.Context, get *remote.Command, q *remote.Question) (err, qErr error) {
	if a.observer == nil {
		return a.Remote.Both(ctx, get, q)
	}
	began := time.Now()
	err, qErr = a.Remote.Both(ctx, get, q)
	a.observer.answered(ctx, get.Op(), 2, began, cmp.Or(err, qErr))
	return err, qErr
}

// answered tells of the answer to the commands of an operation. A command that its caller has
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

// tellNode tells of a change of a node. It does not block.
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

// tellSubscription tells that events are received, or why they are not any more. It does not
// block.
func (o *observing) tellSubscription(lost error) {
	if o != nil {
		o.InOrder("SubscriptionChanged", func() { o.to.SubscriptionChanged(SubscriptionChange{Up: lost == nil, Err: lost}) })
	}
}

// --- Watchers ---

// lookedUp counts a lookup, tells the watchers of package operate, if there are any, and returns
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

// computed tells the watchers of package operate, if there are any.
func (c *Cache) computed(comp *computation, e *ending) {
	watchers := c.watchers.Load()
	if watchers == nil {
		return
	}
	for _, w := range *watchers {
		w.Computed(comp.fn, comp.key, e.cost, e.failure())
	}
}
