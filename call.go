package fncache

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
)

// This file and decide.go are the decision table, for one call and for the flight
// it shares with others:
//
//	entry | this process gets the lease  | another caller holds it
//	------+------------------------------+-----------------------------
//	fresh | no lease is asked for: serve | serve
//	stale | compute, store, return       | serve the stale one
//	cold  | compute, store, return       | the cold policy
//
// A call joins or starts a flight (package flights). The flight decides (decide.go), and the call
// acts on the decision: it serves an entry, waits for a computation (wait.go), or is refused.
// If the flight or computation that the call joined may not answer it, the call decides again.

// An input is everything from which the key of a call is made.
type input struct {
	args shape.Arguments
	vary string // the string that Options.Vary returned; "" without Vary
}

// A shaper returns the shape of a function, and a function that makes its stub.
type shaper func(*Func) (s shape.Shape, stub func() reflect.Value)

// A reflectedCall has a call and its arguments in one allocation.
type reflectedCall struct {
	call
	values []reflect.Value
}

// callReflected is the body of the stub.
func callReflected(f *Func, s *shape.Reflected, in []reflect.Value) []reflect.Value {
	ctx, values := s.Split(in)
	vary := f.varyOfCall(ctx)
	if f.keepsPlain() {
		var key shape.Plain
		s.PlainValues(&key, values)
		e, own, due := f.serveNear(ctx, &key, vary)
		if due != 0 {
			kept := slices.Clone(values)
			f.setOff(ctx, e, due, input{&kept, vary})
		}
		switch {
		case own != nil:
			return s.Out(own, nil)
		case e != nil:
			return s.OutCopy(e.Value)
		}
	}
	c := &reflectedCall{values: values}
	return s.Out(f.call(ctx, input{&c.values, vary}, &c.call))
}

// A typedCall has a call and its arguments in one allocation.
type typedCall[T any] struct {
	call
	args T
}

// keptTyped answers a call from the near cache, if possible. It allocates only the result,
// and uses reflection only if the result is copied by reflection.
func keptTyped[T, R any](ctx context.Context, f *Func, args *T, vary string) (result R, ok bool) {
	s := f.shape.(*shape.Typed[T, R])
	var key shape.Plain
	s.PlainOf(&key, args)
	e, own, due := f.serveNear(ctx, &key, vary)
	if due != 0 {
		kept := *args // so that the arguments of other calls stay on the stack
		f.setOff(ctx, e, due, input{&kept, vary})
	}
	switch {
	case e == nil:
		return result, false
	case own != nil:
		return s.Value(own), true
	default:
		return s.ValueCopy(e.Value), true
	}
}

// callTyped is the body of the stub.
func callTyped[T, R any](ctx context.Context, f *Func, c *typedCall[T], vary string) (result R, err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	r, err := f.call(ctx, input{&c.args, vary}, &c.call)
	if r != nil {
		result = f.shape.(*shape.Typed[T, R]).Value(r)
	}
	return result, err
}

// varyOfCall calls Options.Vary once for a call, and returns its result. A panic in Vary goes
// to the caller, and the call is counted as failed.
func (f *Func) varyOfCall(ctx context.Context) (vary string) {
	if !f.sig.Varies || f.unwrapped.Load() {
		return ""
	}
	answered := false
	defer func() {
		if !answered {
			f.counters.calls.Add(1)
			f.record(&answer{source: SourceFailed}, perCallOf(orBackground(ctx)).info.claim(), "")
		}
	}()
	vary = f.opts.Vary(orBackground(ctx))
	answered = true
	return vary
}

// A call is one call of a wrapped function.
type call struct {
	fn    *Func
	cache *Cache
	ctx   context.Context
	input
	key   string
	bound *binding
	tags  []fence.Tag // see ownTags
	above *tally      // gets the tags of the call; nil if no caller inherits them
	// A patient call cannot report that it gave up or was refused, because the function has
	// no error result.
	patient bool
	// A strict call has to store its value (Func.Refresh): if it cannot, that is an error.
	strict bool
	// An informed call has to return the age of its answer.
	informed bool
	// led: the call has started its last flight.
	led bool
	// A missed call has learned from Redis that there is no usable entry.
	missed bool
	// A down call could not ask Redis in its last round.
	down bool
	// Counters that bound how often the call decides again: see answer.
	rounds    uint8 // how often a strict call lost the lease
	misread   uint8 // how often an entry could not be decoded for the call
	fruitless uint8 // how often the patient call would have returned an error
	// since is the place of a call that refreshes in the order of events (package flights). A
	// computation that began before does not answer the call.
	since uint64

	limit *time.Timer // ends the waiting for others; nil until the call waits
	began time.Time   // when it began to wait

	// How often the function has failed in other processes: failures counts for the key, and
	// is nil until the call waits for another process. failuresBefore is the count when that
	// began, failuresHeard the count when it was last read.
	failures       *events.Failures
	failuresBefore uint64
	failuresHeard  uint64

	from *notOurs // where the next flight to wait starts; nil until there is one

	part *part // the part of the call in a batch; nil for an ordinary call

	watch *stopwatch // nil without Config.Observer
}

// failuresBorne is the number of failures of the function in other processes at which a call that
// waits for them is refused. Without it each process of the fleet would try in turn.
const failuresBorne = 2

// An answer is the outcome of a call, and its source.
type answer struct {
	results shape.Results // nil if there is only an error
	err     error
	panic   any
	goexit  bool
	source  Source
	age     time.Duration
	cost    time.Duration
}

// call does one call of the wrapped function: it finds the answer, and counts it. c is a new
// call, which the caller has allocated together with the arguments.
func (f *Func) call(ctx context.Context, in input, c *call) (shape.Results, error) {
	if f.unwrapped.Load() {
		return f.shape.Invoke(ctx, in.args)
	}
	f.counters.calls.Add(1)
	per := perCallOf(ctx)
	a := answer{source: SourceFailed} // recorded if a direct call panics
	c.fn, c.ctx, c.input, c.patient = f, ctx, in, !f.sig.HasError
	info := per.info.claim()
	c.informed = info != nil
	defer func() {
		f.record(&a, info, c.key)
		c.tellEnd(&a)
	}()

	err := c.find()
	if c.bound != nil {
		c.handUp(per.frame)
	}
	switch {
	case per.bypass, err == nil && per.frame.computes(c.cache, c.key), err != nil && c.patient:
		a.source = SourceBypassed
		a = c.direct()
	case err != nil:
		a.err = err
	case ctx.Err() != nil && !c.patient:
		a.err = ctx.Err()
	default:
		if !per.refresh {
			kept, e, due, ok := c.nearAnswer()
			if ok {
				a = kept
				c.setOff(e, due)
				break
			}
		}
		a = c.answer(per.refresh)
		a.raise()
	}
	return a.results, a.err
}

// find sets the cache and the key of the call.
func (c *call) find() (err error) {
	b, err := c.fn.bind()
	switch {
	case errors.Is(err, ErrNoCache):
		return fmt.Errorf("%w; function %s", err, c.fn.Name())
	case err != nil:
		return fmt.Errorf("fncache: call %s: %w", c.fn.whence(), err)
	}
	c.cache, c.bound = b.cache, b
	c.key, err = c.fn.key(b, c.input)
	return err
}

// raise panics or ends the goroutine if the function did so.
func (a *answer) raise() {
	if a.panic != nil {
		panic(a.panic)
	}
	if a.goexit {
		runtime.Goexit()
	}
}

// record counts the call, and fills in the caller's Info.
func (f *Func) record(a *answer, info *Info, key string) {
	f.counters.bySource[a.source].Add(1)
	if a.source.saves() {
		f.counters.savedTime.Add(int64(a.cost))
	}
	if info != nil {
		*info = Info{Source: a.source, Age: a.age, Cost: a.cost, Key: key}
	}
}

// direct calls the function on the caller's goroutine, without the cache.
func (c *call) direct() answer {
	c.startWatch()
	ctx, _ := enterFrame(c.ctx, c.fn, c.above, nil)
	results, err := c.fn.shape.Invoke(ctx, c.args)
	return answer{results: results, err: err, source: SourceBypassed}
}

// answer goes through the table until there is an answer. Each way of deciding again is
// bounded or waits for something, so no call loops without a pause:
//
//   - Another process holds the lease, under OnCold Wait: the next flight waits for that
//     process, within the limit of waiting, and for at most failuresBorne failures.
//   - The computation that the call joined may not answer it, because its lease was lost or
//     because it began before the call refreshed: the call has waited for its end, and
//     continues to wait within the same limit.
//   - No place of Options.MaxConcurrent is free, under OnCold Wait or Compute: the next flight
//     waits for a place.
//   - A strict refresh lost its lease: at most maxRounds times.
//   - The flight could decode an entry, but the call could not: at most maxRounds times. Then
//     the call computes alone.
//   - A patient call cannot report an error, and computes instead: once shared with others,
//     and then alone.
//
// A computation that a call has for itself (alone) ends with an answer.
func (c *call) answer(refresh bool) answer {
	defer c.stopWaiting()
	c.startWatch()
	p := flights.ToLookUp
	if refresh {
		p, c.since = flights.ToRefresh, c.cache.flights.Present()
	}
	for {
		var a answer
		var again bool
		if d, err := c.decision(p); err != nil {
			a, again = c.giveUp(err)
		} else {
			a, again = c.act(d, &p)
		}
		if !again {
			return a
		}
	}
}

// decision joins or starts a flight, and waits for its decision.
func (c *call) decision(p flights.Purpose) (decision, error) {
	if c.part.isAhead() {
		return c.decisionAhead()
	}
	if c.cache.life.Closed() {
		return decision{verdict: redisDown{cause: newRedisError(opLookup, c.key, ErrClosed)}}, nil
	}
	if c.failedElsewhere() >= failuresBorne && c.fn.opts.OnCold == Wait {
		return decision{}, c.cold(0)
	}
	f, start, d := c.board(p, c.nested())
	if f == nil {
		return d, nil
	}
	if c.led = start; !start {
		c.part.release()
	} else {
		f.input, f.tags, f.part = c.ownInput(), c.ownTags(), c.part // can take long, so the lock of the flights is not held
		switch c.fly(f) {
		case decided:
			return f.decision, nil
		case callerLeft:
			return decision{}, c.ctx.Err()
		}
	}
	return c.await(f)
}

// decisionAhead returns the decision of a call that its batch has made for it, or waits for the
// flight on which its batch has put it.
func (c *call) decisionAhead() (decision, error) {
	p := c.part
	p.ahead = false
	if p.flight == nil {
		return p.decision, p.err
	}
	if c.led = p.start; !p.start {
		p.release()
	}
	return c.await(p.flight)
}

// await waits for the decision of a flight.
func (c *call) await(f *flight) (decision, error) {
	fs := &c.cache.flights
	done := fs.Done(f)
	var limit <-chan time.Time
	if f.Purpose() == flights.ToRefresh || f.Purpose() == flights.ToWait && c.fn.opts.OnCold == Wait {
		limit = c.wait() // no limit under Compute: there a call only waits for its turn, and is not refused
	}
	if f.Purpose() == flights.ToWait {
		c.heedFailures()
	}
	select {
	case <-done:
		return f.decision, nil
	case <-limit:
		fs.Leave(f, c)
		if c.from != nil && c.from.placeless {
			return decision{}, c.full()
		}
		return decision{}, c.cold(0)
	case <-c.cancelled():
		fs.Leave(f, c)
		return decision{}, c.ctx.Err()
	}
}

// fly runs a flight until its decision. The call that began the flight looks up on its own
// goroutine. If that call leaves, a new goroutine continues for the calls that have joined.
func (c *call) fly(f *flight) (how progress) {
	if f.Purpose().Polls() {
		c.cache.life.Go(func() { c.cache.poll(f) })
		return handedOn
	}
	ctx := c.ctx
	if c.patient {
		ctx = f.values()
	}
	how = callerLeft // stays if a hook of the Redis client ends this goroutine
	defer func() {
		if how == callerLeft {
			c.cache.flights.Leave(f, c)
			if !c.cache.flights.Abandon(f.flightKey, f) {
				c.cache.life.Go(func() { c.cache.lookUpForOthers(f) })
			}
		}
	}()
	how = c.cache.lookUp(ctx, f)
	return how
}

// act does what the table says. again reports that the call must decide again, on a flight
// for the purpose in p.
func (c *call) act(d decision, p *flights.Purpose) (a answer, again bool) {
	refresh := *p == flights.ToRefresh
	if down, isDown := d.verdict.(redisDown); isDown { // what is noted here also counts in the next rounds
		c.down, c.missed = true, c.missed || down.missed
	} else {
		c.down, c.missed = false, true
	}
	switch v := d.verdict.(type) {
	case serveFresh:
		return c.serveHit(v.entry, d, *p, false)
	case serveDue:
		return c.serveHit(v.entry, d, *p, c.led)
	case serveStale:
		return c.serve(v.entry, SourceStale, d.alone)
	case begunHere:
		return c.withBegun(v.holder, d.ended, refresh)
	case runsHere:
		return c.withHolder(v.holder, d.ended, refresh)
	case *notOurs:
		return c.withoutLease(v, d.ended, p)
	case notLeased:
		return c.unleased(d.ended)
	case redisDown:
		if !refresh && !c.missed {
			if a, ok := c.lastResort(); ok {
				return a, false
			}
		}
		if c.part.isFull() {
			return c.giveUp(c.full())
		}
		return c.withoutRedis(v.cause, d.ended, refresh)
	}
	panic(fmt.Sprintf("fncache: no verdict: %T", d.verdict))
}

// serveHit serves a fresh entry. due reports whether the call has it refreshed.
func (c *call) serveHit(e *entry, d decision, p flights.Purpose, due bool) (a answer, again bool) {
	if d.waited && (p == flights.ToWait || c.cache.age(e) <= time.Since(c.began)) {
		// A call that joined waiting calls has itself waited only if the entry was stored
		// after it joined.
		return c.serve(e, SourceWaited, d.alone)
	}
	a, again = c.serve(e, SourceFresh, d.alone)
	c.hit(e, due)
	return a, again
}

// withoutLease applies the cold policy: there is no entry, and another process holds the lease
// or no place of Options.MaxConcurrent is free.
func (c *call) withoutLease(v *notOurs, ended uint64, p *flights.Purpose) (a answer, again bool) {
	switch {
	case c.fn.opts.OnCold == Wait, c.fn.opts.OnCold == Compute && v.placeless:
		*p = flights.ToWait
		c.part.release()
		c.heedFailures()
		c.from = v
		return answer{}, true
	case v.placeless:
		return c.giveUp(c.full())
	case c.fn.opts.OnCold == Compute:
		return c.unleased(ended)
	default:
		return c.giveUp(c.cold(v.left))
	}
}

// --- What a fresh hit starts ---

// A fresh hit can start tasks in the background, after its caller is answered: the value is
// computed again and compared (Options.Verify), or the entry is refreshed before it becomes stale
// (Options.Early).

// setOff starts the tasks of an answer from the near cache.
func (f *Func) setOff(ctx context.Context, e *near.Entry, due dues, in input) {
	b, err := f.bind()
	if err != nil {
		due.withdraw(f)
		return
	}
	c := &call{fn: f, cache: b.cache, bound: b, ctx: orBackground(ctx), input: in, key: e.RedisKey}
	c.setOff(e, due)
}

func (c *call) setOff(e *near.Entry, due dues) {
	if due&dueVerify != 0 {
		c.verify(e.ID, nil, func() (shape.Results, error) { return c.fn.copyOf(c.cache, e) })
	}
	if due&dueEarly != 0 {
		c.refreshEarly(nil, func(f *flight) *entry { return c.cache.lookAgain(f, e.ID) })
	}
}

// withdraw cancels tasks that have not started.
func (d dues) withdraw(f *Func) {
	if d&dueVerify != 0 {
		f.verify.End()
	}
}

// hit starts the tasks of an answer with a fresh entry from Redis. due reports whether the entry
// has to be refreshed.
func (c *call) hit(e *entry, due bool) {
	if due {
		c.refreshEarly(nil, func(*flight) *entry { return c.cache.own(c.fn, e) })
	}
	if c.fn.verify.Draw() {
		body := e.body // not the results: the caller may already use and change them
		c.verify(e.id, e.err, func() (shape.Results, error) { return c.fn.decodeHere(c.cache.coder, body) })
	}
}
