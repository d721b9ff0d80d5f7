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
	"github.com/fncache/fncache/internal/shape"
)

// This file and decide.go are the decision table, for one call and for the flight
// it shares with others:
//
//	entry | this process gets the lease  | somebody else holds it
//	------+------------------------------+-----------------------------
//	fresh | no lease is asked for: serve | serve
//	stale | compute, store, return       | serve the stale one
//	cold  | compute, store, return       | the cold policy
//
// A call boards a flight (flight.go), the flight decides (decide.go), the call acts
// on the decision: it serves, it waits for a computation (wait.go), it is
// refused, or it finds that what it joined may not answer it, and decides again.

// An input is all that the key of a call is made of.
type input struct {
	args shape.Arguments
	vary string // what Options.Vary has answered; "" without it
}

// A shaper makes the shape of a function, and what makes its stub.
type shaper func(*Func) (s shape.Shape, stub func() reflect.Value)

// A reflectedCall is a call and, in one piece of memory with it, the arguments.
type reflectedCall struct {
	call
	values []reflect.Value
}

// callReflected is what runs in the stub.
func callReflected(f *Func, s *shape.Reflected, in []reflect.Value) []reflect.Value {
	ctx, values := s.Split(in)
	vary := f.varyOfCall(ctx)
	if f.keepsPlain() {
		var key shape.Plain
		s.PlainValues(&key, values)
		e, own, due := f.serve(ctx, &key, vary)
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

// A typedCall is a call and, in one piece of memory with it, the arguments.
type typedCall[T any] struct {
	call
	args T
}

// keptTyped answers a call from the near cache, if it can: with no memory but that
// of the result, and without reflection, except what copies the result by it.
func keptTyped[T, R any](ctx context.Context, f *Func, args *T, vary string) (result R, ok bool) {
	s := f.shape.(*shape.Typed[T, R])
	var key shape.Plain
	s.PlainOf(&key, args)
	e, own, due := f.serve(ctx, &key, vary)
	if due != 0 {
		kept := *args // so that those of other calls stay on the stack
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

// callTyped is what runs in the stub.
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

// varyOfCall returns what Options.Vary answers for a call, which is asked once. A panic
// in it is the caller's, and counted as a call that failed.
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
	above *tally      // what the call hands up to; nil: nobody inherits from it
	// patient calls cannot report that they gave up or were refused, for the
	// function has no error result.
	patient bool
	// strict calls are about storing (Func.Refresh): what could not be stored
	// is an error.
	strict bool
	// informed calls are asked how old their answer is.
	informed bool
	// missed calls know from Redis that nothing usable is there.
	missed bool
	// What bounds deciding again: see answer.
	rounds    int // how often a strict call lost the lease
	misread   int // how often an entry could not be decoded for it
	fruitless int // how often a patient call could have reported an error instead
	// since is, of a call that refreshes, its place in the order of events
	// (flights.seq): what began to be computed before does not answer it.
	since uint64

	limit *time.Timer // of waiting for others; nil until the call waits
	began time.Time   // when it began to wait

	// How often the function has failed elsewhere: the count for the key, nil until the
	// call waits for another process; what it was then, and what it was last.
	failures       *events.Failures
	failuresBefore uint64
	failuresHeard  uint64

	from *notOurs // what the next flight to wait starts from; nil until one does
}

// failuresBorne is how often a call that waits for another process lets the function fail
// there before it is refused. Otherwise each process of the fleet would try in turn.
const failuresBorne = 2

// An answer is what a call returns, and where it came from.
type answer struct {
	results shape.Results // nil where there are none, but an error
	err     error
	panic   any
	goexit  bool
	source  Source
	age     time.Duration
	cost    time.Duration
}

// call is one call of the wrapped function: it finds out how it is to be
// answered, and keeps the books. c is a new call, whose memory the caller gives,
// together with that of the arguments.
func (f *Func) call(ctx context.Context, in input, c *call) (shape.Results, error) {
	if f.unwrapped.Load() {
		return f.shape.Invoke(ctx, in.args)
	}
	f.counters.calls.Add(1)
	per := perCallOf(ctx)
	a := answer{source: SourceFailed} // stays if a direct call panics
	c.fn, c.ctx, c.input, c.patient = f, ctx, in, !f.sig.HasError
	info := per.info.claim()
	c.informed = info != nil
	defer func() { f.record(&a, info, c.key) }()

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
			kept, e, ok := c.nearAnswer()
			if ok {
				a = kept
				c.setOff(e, f.drawNear())
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

// raise panics or ends the goroutine where the function did.
func (a *answer) raise() {
	if a.panic != nil {
		panic(a.panic)
	}
	if a.goexit {
		runtime.Goexit()
	}
}

// record counts the call, and tells the caller where its answer came from.
func (f *Func) record(a *answer, info *Info, key string) {
	f.counters.bySource[a.source].Add(1)
	switch a.source {
	case SourceFresh, SourceStale, SourceWaited, SourceNear:
		f.counters.savedTime.Add(int64(a.cost))
	}
	if info != nil {
		*info = Info{Source: a.source, Age: a.age, Cost: a.cost, Key: key}
	}
}

// direct calls the function on the caller's goroutine, past the cache.
func (c *call) direct() answer {
	ctx, _ := enterFrame(c.ctx, c.fn, c.above, nil)
	results, err := c.fn.shape.Invoke(ctx, c.args)
	return answer{results: results, err: err, source: SourceBypassed}
}

// answer goes through the table until there is an answer. Each way of deciding again is
// bounded, or waits for something, so that no call goes round at full speed:
//
//   - the lease is another process's, under OnCold Wait: the next flight waits for that
//     process, within the limit of waiting, and for failuresBorne failures at most;
//   - what was joined may not answer the call, because its lease was lost or it began
//     before the call refreshed: the call has waited for its end, and goes on waiting
//     within the same limit;
//   - no place of Options.MaxConcurrent is free, under OnCold Wait or Compute: the next flight
//     waits for one;
//   - a refresh that is about storing (strict) lost its lease: maxRounds;
//   - an entry could be decoded by the flight, and not for the call: maxRounds. Then the
//     call computes alone;
//   - a call that cannot report an error (patient) computes instead: shared with others
//     once, and alone after that.
//
// A computation that a call has for itself (alone) ends with an answer.
func (c *call) answer(refresh bool) answer {
	defer c.stopWaiting()
	p := toLookUp
	if refresh {
		p, c.since = toRefresh, c.cache.flights.present()
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

// decision boards a flight and waits for what it decides.
func (c *call) decision(p purpose) (decision, error) {
	if c.cache.life.Closed() {
		return decision{verdict: redisDown{cause: newRedisError(opLookup, c.key, ErrClosed)}}, nil
	}
	fs := &c.cache.flights
	if c.failedElsewhere() >= failuresBorne && c.fn.opts.OnCold == Wait {
		return decision{}, c.cold(0)
	}
	f, start, d := fs.board(c, p, c.nested())
	if f == nil {
		return d, nil
	}
	if start {
		f.input, f.tags = c.ownInput(), c.ownTags() // that may take long: not under the lock of all flights
		switch c.fly(f) {
		case decided:
			return f.decision, nil
		case callerLeft:
			return decision{}, c.ctx.Err()
		}
	}
	done := fs.doneOf(f)
	var limit <-chan time.Time
	if f.purpose == toRefresh || f.purpose == toWait && c.fn.opts.OnCold == Wait {
		limit = c.wait() // under Compute, where a call only waits for its turn, nobody is refused
	}
	if f.purpose == toWait {
		c.heedFailures()
	}
	select {
	case <-done:
		return f.decision, nil
	case <-limit:
		fs.leave(f, c)
		if c.from != nil && c.from.placeless {
			return decision{}, c.full()
		}
		return decision{}, c.cold(0)
	case <-c.cancelled():
		fs.leave(f, c)
		return decision{}, c.ctx.Err()
	}
}

// fly has a flight run to its decision. The call that began it looks up on its own
// goroutine. If it leaves meanwhile, a goroutine goes on for those who have joined.
func (c *call) fly(f *flight) (how progress) {
	if f.purpose.polls() {
		c.cache.life.Go(func() { c.cache.poll(f) })
		return handedOn
	}
	ctx := c.ctx
	if c.patient {
		ctx = f.values()
	}
	how = callerLeft // unless it returns: a hook of the Redis client may end this goroutine
	defer func() {
		if how == callerLeft {
			c.cache.flights.leave(f, c)
			if !c.cache.flights.abandon(f) {
				c.cache.life.Go(func() { c.cache.lookUpForOthers(f) })
			}
		}
	}()
	how = c.cache.lookUp(ctx, f)
	return how
}

// act does what the table says. again means that the call must decide again,
// on a flight for the purpose in p.
func (c *call) act(d decision, p *purpose) (a answer, again bool) {
	refresh := *p == toRefresh
	down, isDown := d.verdict.(redisDown)
	c.missed = c.missed || !isDown || down.missed // what Redis has answered holds for the next round
	switch v := d.verdict.(type) {
	case serveFresh:
		source := SourceFresh
		if d.waited && (*p == toWait || c.cache.age(v.entry) <= time.Since(c.began)) {
			// A call that joined others who wait has waited itself only if the entry
			// was stored since.
			source = SourceWaited
		}
		if source == SourceFresh {
			defer c.hit(v.entry)
		}
		return c.serve(v.entry, source, d.alone)
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
		return c.withoutRedis(v.cause, d.ended, refresh)
	}
	panic(fmt.Sprintf("fncache: no verdict: %T", d.verdict))
}

// withoutLease is for a cold entry whose lease another process holds, or that no place of
// Options.MaxConcurrent is free for: the cold policy.
func (c *call) withoutLease(v *notOurs, ended uint64, p *purpose) (a answer, again bool) {
	switch {
	case c.fn.opts.OnCold == Wait, c.fn.opts.OnCold == Compute && v.placeless:
		*p = toWait
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

// peek answers a call that reads and never computes. The source is SourceNone where nothing
// may be served. Peeks share a lookup with each other alone, because a lookup of a call may go
// on to compute.
func (c *call) peek() answer {
	c.informed = true
	keeps := c.fn.near != nil && !c.fn.unwrapped.Load()
	if keeps {
		if a, ok := c.fromNear(c.cache.near.Fresh(c.fn.near, c.fn.nearKey(c.input, c.key)), SourceNear); ok {
			return a
		}
	}
	d, err := c.decision(toPeek)
	if err != nil {
		return answer{err: err}
	}
	var a answer
	unreadable := false
	switch v := d.verdict.(type) {
	case serveFresh:
		a, unreadable = c.serve(v.entry, SourceFresh, d.alone)
	case serveStale:
		a, unreadable = c.serve(v.entry, SourceStale, d.alone)
	case redisDown:
		if keeps {
			if a, ok := c.lastResort(); ok {
				return a
			}
		}
		return answer{err: fmt.Errorf("%w; function %s, key %s", v.cause, c.fn.Name(), c.key)}
	}
	if unreadable {
		return answer{}
	}
	return a
}
