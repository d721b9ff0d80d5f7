package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/shape"
)

// This file tends a computation: it renews the lease while code of the user runs. Then it settles
// the computation: it handles the result or the error, takes the last step of the lease, and
// stores a result later if Redis did not take it. compute.go calls these in order.

// openFor is how long a key is computed without leases after its value could not be stored, because
// callers would wait for such a value in vain.
const openFor = time.Second

// Storing a result again that Redis did not take.
const (
	storeAgainMin = 100 * time.Millisecond
	storeAgainMax = time.Second
	// maxLateStores is how often a value is sent if Redis does not answer in time: sending a
	// large value again over a slow connection makes it later still.
	maxLateStores = 2
)

// spawn runs f on a goroutine that Close waits for. If the computation began after Close, Close does
// not wait: nothing cancels the computation, and it has no lease to give back.
func (c *computation) spawn(f func()) {
	var group *lifetime.Group
	if c.closing != nil {
		group = c.cache.life
	}
	group.Go(f)
}

// A tender has the channels that the tending goroutine receives from while code of the user runs:
// the function, then the encoding of its result, or a predicate about its error. A channel is nil
// before it is needed, and again after it was received from.
type tender struct {
	ctx     context.Context // the function's
	cancel  context.CancelCauseFunc
	renew   <-chan time.Time // the lease must be renewed
	timeout <-chan struct{}  // ComputeTimeout is over
	closing <-chan struct{}  // Close has begun
	grace   <-chan time.Time // Close will soon stop waiting

	renewing     chan *renewal // the outcome of the renewal under way; nil if there is none
	stopRenewing func()
}

// errUnanswered is the error of await at its limit.
var errUnanswered = errors.New("no answer in time")

// await renews the lease until code of the user has ended. The error is why it no longer waits
// for that; nil if the code has ended.
func (c *computation) await(ended <-chan struct{}, limit <-chan time.Time) error {
	t := &c.tender
	for {
		select {
		case <-ended:
			return nil
		case <-t.renew:
			c.startRenewing()
		case r := <-t.renewing:
			c.takeRenewal(r)
		case <-c.foretold:
			c.doom()
		case <-t.closing:
			t.cancel(ErrClosed)
			t.closing, t.timeout = nil, nil
			t.grace = time.After(closeGrace - time.Second) // so that the lease is released before Close returns
		case <-t.grace:
			t.grace = nil
			return ErrClosed
		case <-t.timeout:
			t.timeout = nil
			return context.Cause(t.ctx)
		case <-limit:
			return errUnanswered
		}
	}
}

// A renewal is a renewal under way. The process may be busy, so it runs on its own goroutine.
type renewal struct {
	cancel context.CancelFunc
	until  time.Time // when the lease ends, if it was held
	held   bool
	err    error
	// verdict is the fence's verdict about the tags collected so far; Valid if it was not read.
	verdict fence.Verdict
}

// startRenewing sends a renewal, unless the last one is still under way.
func (c *computation) startRenewing() {
	if c.tender.renewing != nil {
		return
	}
	lease := c.fn.lease(c.cache)
	ctx, cancel := context.WithTimeout(c.ctx, lease)
	r := &renewal{cancel: cancel, until: time.Now().Add(lease)}
	renewed := make(chan *renewal, 1)
	c.tender.renewing, c.tender.stopRenewing = renewed, cancel
	store := c.cache.storeFor(c.fn)
	store.group = c.member.nextRenewal()
	c.cache.life.Go(func() {
		c.cache.holder.Holds()
		r.held, r.err = store.renew(ctx, c.key, c.Token, lease)
		if r.held && c.tally != nil {
			if v, err := c.judgeRun(ctx); err == nil {
				r.verdict = v
			}
		}
		renewed <- r
	})
}

// takeRenewal handles the outcome of a renewal.
func (c *computation) takeRenewal(r *renewal) {
	c.tender.renewing = nil
	r.cancel()
	switch {
	case r.err != nil && errors.Is(r.err, context.Canceled): // see joinRenewal
	case c.cache.noteRedis(c.fn, "renew", c.key, r.err): // the next tick tries again: the lease survives one failure
	case r.held:
		c.cache.flights.Renew(c, r.until)
		if r.verdict == fence.Invalid {
			c.doom()
		}
	default:
		c.lose()
	}
}

// doom gives back the lease of a computation that a tag has overtaken, so that new callers do not
// wait for a value that they may not get.
func (c *computation) doom() {
	if !c.lost {
		c.fn.counters.overtakenHard.Add(1)
		c.giveBack()
		c.lose()
	}
}

// joinRenewal waits for the renewal under way, if there is one, so that the last step of the
// lease comes after it. A renewal that waits for its turn is withdrawn. joinRenewal does not wait
// for a renewal that hangs, such as in a hook of the client, because the scripts refuse a late
// renewal.
func (c *computation) joinRenewal() {
	if c.tender.renewing == nil {
		return
	}
	c.tender.stopRenewing()
	limit := time.NewTimer(c.cache.cfg.RedisTimeout)
	defer limit.Stop()
	select {
	case r := <-c.tender.renewing:
		c.takeRenewal(r)
	case <-limit.C:
		c.tender.renewing = nil
	}
}

// lose notes that the lease is lost. New callers do not join the computation any more.
func (c *computation) lose() {
	c.lost, c.tender.renew = true, nil
	c.cache.flights.Lose(c.flightKey, c)
	c.fn.counters.lostLeases.Add(1)
	c.tellLost()
	c.cache.log.Once("lost "+c.fn.Name(), slog.LevelWarn,
		"lease lost while computing: the key or a tag of it was invalidated, or the lease expired unrenewed; the result is not stored; if this happens often, invalidate less often, or raise Options.Lease",
		"func", c.fn.Name())
}

// encode turns results into bytes, from which each caller decodes its own copy. Results that the
// codec cannot restore are returned unchanged to the caller that computed, copied for callers
// that waited, and not stored. tooLong is why encode no longer waits for the encoding: then no
// caller may get the results, because the encoding still reads them.
func (c *computation) encode(e *ending) (raw []byte, tooLong error) {
	t, tooLong := c.trip(e.results)
	if tooLong != nil {
		return nil, tooLong
	}
	if t.err != nil {
		e.decoded = c.copied(e.results)
		c.cache.log.Once("codec "+c.fn.Name(), slog.LevelError,
			"result cannot be stored: it does not survive encoding; it is returned as it is; correct what err names",
			"func", c.fn.Name(), "err", t.err)
		e.unstored = fmt.Errorf("it does not survive encoding: %w", t.err)
		return nil, nil
	}
	e.body, e.decoded = t.raw[envelopeHeaderLen:], t.decoded
	return t.raw, nil
}

// notEncoded returns the error for a result that was not encoded in time.
func notEncoded(tooLong error) error {
	var timeout *ComputeTimeoutError
	if errors.As(tooLong, &timeout) {
		encoding := *timeout
		encoding.Encoding = true
		return &encoding
	}
	return tooLong
}

// A trip has results that were encoded and decoded by the codec. raw has room for the header
// of an entry.
type trip struct {
	raw     []byte
	decoded shape.Results
	err     error
}

// trip encodes and decodes results on a separate goroutine, because it may call methods of their
// types. The error is why trip no longer waits for that.
func (c *computation) trip(r shape.Results) (*trip, error) {
	t := new(trip)
	c.encoding = apart.Start(c.spawn, func() {
		t.raw, t.err = c.fn.encode(c.cache.coder, make([]byte, envelopeHeaderLen), r)
		if t.err == nil {
			t.decoded, t.err = c.fn.decodeHere(c.cache.coder, t.raw[envelopeHeaderLen:])
		}
	})
	if tooLong := c.await(c.encoding.Ended, nil); tooLong != nil {
		return nil, tooLong
	}
	if c.encoding.Fault != "" {
		t.err = &apart.Error{Fault: c.encoding.Fault}
	}
	return t, nil
}

// copied returns a copy of results before a caller gets them. It returns nil if their types have
// hidden references, because copying or sharing these could break them.
func (c *computation) copied(r shape.Results) shape.Results {
	if c.fn.plans.Copies == nil {
		return nil
	}
	return c.fn.shape.Copy(r)
}

// copyBesideError keeps a copy of the results that the function returned together with an error,
// for callers that wait. If the results cannot be copied, they get zero values with the error.
func (c *computation) copyBesideError(e *ending) {
	if e.results == nil || e.results.Zero() {
		return
	}
	if e.decoded = c.copied(e.results); e.decoded != nil {
		return
	}
	switch t, tooLong := c.trip(e.results); {
	case tooLong != nil:
		e.results = nil // the encoding still reads them
	case t.err == nil:
		e.body, e.decoded = t.raw[envelopeHeaderLen:], t.decoded
	}
}

// lastStep returns a context for the last step of the lease. It ends with the lease, because
// after that the step would be refused.
func (c *computation) lastStep() (ctx context.Context, end context.CancelFunc) {
	left := max(c.cache.flights.LeaseLeft(c), c.cache.cfg.RedisTimeout)
	return context.WithTimeout(c.ctx, left)
}

// confirm applies the verdict of the fence about the value, for the callers that have joined.
func (c *computation) confirm(e *ending, again *rereading) {
	switch {
	case c.tally == nil, again == nil: // if again is nil, no caller joined before it would have been sent
	default:
		given, valid := again.counts()
		e.confirmed = e.confirmed && given
		e.lost = e.lost || !given && again.err == nil
		e.expired = given && !valid
	}
}

// settle takes the last step of the lease, and reports whether the lease was held until then.
// again is the last reading of the fence, which may still be under way.
func (c *computation) settle(e *ending, raw []byte, again *rereading) (held bool) {
	c.joinRenewal()
	if c.lost {
		e.lost = true
		return false
	}
	ctx, end := c.lastStep()
	defer end()
	var err error
	store := raw != nil && c.frame.stores(e.negative) && (c.replaces || !c.unkept(e))
	var tags *fence.Block
	if store && c.tally != nil {
		tags, e.unstored = c.block()
	}
	if store && c.unregistered != nil {
		e.unstored = fmt.Errorf("this release of the function could not be registered, so an invalidation might not reach it: %w", c.unregistered)
	}
	switch {
	case store && e.unstored == nil:
		held, err = c.put(ctx, e, raw, tags, again)
	case e.normal() && raw == nil, e.unstored != nil:
		held, err = c.leaveOpen(ctx)
	case c.cools(e):
		held, err = c.orGiveBack(c.steps().coolDown(ctx, c.key, c.Token, c.fn.opts.Cooldown))
	case e.failed():
		held, err = c.orGiveBack(c.steps().release(ctx, c.key, c.Token, events.Failed))
	default:
		held, err = c.orGiveBack(c.steps().release(ctx, c.key, c.Token, events.Release))
	}
	e.stepErr = err
	if !c.cache.noteRedis(c.fn, opStore, c.key, err) && !held {
		e.lost = true
		c.lose()
	}
	return held
}

// orGiveBack gives the lease back if the last step failed.
func (c *computation) orGiveBack(held bool, err error) (bool, error) {
	if err != nil {
		c.giveBack()
	}
	return held, err
}

// giveBack gives the lease back in the background.
func (c *computation) giveBack() {
	until := time.Now().Add(c.cache.flights.LeaseLeft(c))
	c.cache.life.Go(func() { c.cache.storeFor(c.fn).giveBack(c.ctx, c.key, c.Token, until) })
}

// leaveOpen takes the last step of the lease if the value cannot be stored. Then callers compute
// without leases for a while, and not one after the other.
func (c *computation) leaveOpen(ctx context.Context) (held bool, err error) {
	return c.orGiveBack(c.steps().leaveOpen(ctx, c.key, c.Token, openFor))
}

// cools reports whether the function is not run again during Options.Cooldown, because callers
// get the stale entry meanwhile. After a panic the caller that computed does not get the stale
// entry, but later callers do.
func (c *computation) cools(e *ending) bool {
	if c.fn.opts.Cooldown <= 0 {
		return false
	}
	return e.stale != nil || (e.panic != nil || e.goexit) && c.canServeStale()
}

// unkept reports whether the outcome is an answer that is not cached: an id of a batch without a
// value, and without Options.MissingTimeout.
func (c *computation) unkept(e *ending) bool { return e.negative && c.fn.opts.ErrorTimeout == 0 }

// keepNear puts the stored value into the near cache, unless the fence reports it as overtaken
// or does not answer. This comes before any caller is answered, because after that no caller of
// this process may get an older value.
func (c *computation) keepNear(e *ending, stored *envelope, asked events.Place, again *rereading) {
	c.cache.events.Note(events.Event{Verb: events.Store, Key: c.key, ID: events.StoreID(stored.id)})
	if _, valid := again.counts(); !valid {
		return
	}
	kept := *stored
	kept.body = e.body
	c.cache.keepNear(c.fn, c.input, c.key, moment{asked, c.place}, &kept, fence.Unknown, e.decoded)
}

// put stores the results. If Redis is away, it tries again in the background. If Redis refuses
// them, such as because they are too long, the lease is left open; if Redis refuses that too, the
// lease is given back.
func (c *computation) put(ctx context.Context, e *ending, raw []byte, tags *fence.Block, again *rereading) (held bool, err error) {
	c.cache.clock.Await(c.ctx)
	asked := c.cache.here(c.fn)
	env := envelope{codec: c.cache.coder.id, storedAt: c.cache.clock.Now(), cost: e.cost, id: rand.Uint64(), tags: tags}
	var head []byte
	switch {
	case e.kept:
		env, raw, head = c.handAsNew(env.storedAt, env.id, tags)
	case e.negative:
		env.flags = flagNegative
	default:
		c.frame.facts(&env)
	}
	if !e.kept {
		raw = c.cache.coder.enclose(&env, raw, c.key)
	}
	e.storedAt = env.storedAt
	held, err = c.keepOrStore(ctx, &env, head, raw)
	switch {
	case held:
		c.fn.counters.stored.Add(1)
		e.size = len(raw)
		c.keepNear(e, &env, asked, again)
	case err == nil:
	case worthAnotherTry(err):
		until := time.Now().Add(c.cache.flights.LeaseLeft(c))
		later := *e
		e.pending = true
		c.cache.life.Go(func() { c.storeLater(&later, &env, raw, until, lateOf(err)) })
	default:
		c.cache.noteRedis(c.fn, opStore, c.key, err)
		e.unstored = err
		held, err = c.leaveOpen(ctx)
	}
	return held, err
}

// keepOrStore sends only the parts before the body of an entry that is kept, if that is enough.
// Otherwise it sends the whole entry.
func (c *computation) keepOrStore(ctx context.Context, env *envelope, head, raw []byte) (held bool, err error) {
	if head != nil {
		held, gone, err := c.cache.storeFor(c.fn).keep(ctx, c.key, c.Token, c.frame.hand.idBytes(), env, head, c.fn.life(env).timeout)
		if !gone {
			return held, err
		}
	}
	return c.store(ctx, c.steps(), env, raw, 0)
}

// store sends the entry. late is how often it was sent before without an answer in time.
func (c *computation) store(ctx context.Context, by *lockStore, env *envelope, raw []byte, late int) (held bool, err error) {
	return by.store(ctx, c.key, c.Token, env, raw, max(c.fn.life(env).timeout, time.Millisecond), maxLateStores-late)
}

// takeNegative turns an error of Options.CacheErrors into an answer: callers get the listed
// error, as later readers of the entry do.
func (c *computation) takeNegative(e *ending) (raw []byte) {
	if c.fn.many != nil {
		if e.err != errMissing { //nolint:errorlint // made by the run of the batch
			return nil
		}
		e.results, e.negative = nil, true
		return append(make([]byte, envelopeHeaderLen), errMissing.Error()...)
	}
	for _, listed := range c.fn.negatives {
		if c.consult("CacheErrors", func() bool { return errors.Is(e.err, listed.err) }) {
			e.err, e.results, e.negative = listed.err, nil, true
			return append(make([]byte, envelopeHeaderLen), listed.text...)
		}
	}
	return nil
}

// takeStale serves the stale entry instead of an error, if there is a stale entry and the
// policy allows it.
func (c *computation) takeStale(e *ending) {
	if !e.hasError() || e.negative || !c.canServeStale() {
		return
	}
	staleIf := c.fn.opts.StaleIf
	if staleIf == nil || c.consult("StaleIf", func() bool { return staleIf(e.err) }) {
		e.stale = c.stale
	}
}

// canServeStale reports whether there is a stale entry that may be served instead of a failure.
func (c *computation) canServeStale() bool {
	return c.stale != nil && !c.staleGone && c.fn.opts.OnError == ServeStale && c.cache.servable(c.fn, c.stale)
}

// consult runs the user's predicate about an error on a separate goroutine. A panic, a Goexit,
// or more than Lease/3 counts as false.
func (c *computation) consult(what string, ask func() bool) (yes bool) {
	var answer bool
	run := apart.Start(c.spawn, func() { answer = ask() })
	limit := time.NewTimer(c.fn.lease(c.cache) / 3)
	defer limit.Stop()
	var why string
	switch err := c.await(run.Ended, limit.C); {
	case err == nil && run.Fault == "":
		return answer
	case err == nil:
		why = run.Fault
	case err == errUnanswered: //nolint:errorlint // await's own
		why = "took a third of Options.Lease"
	default:
		why = "was not waited for: " + loggable(err)
	}
	c.cache.log.Once(what+" "+c.fn.Name(), slog.LevelError, what+" gave no answer about an error, which counts as false; let it return true or false within a third of Options.Lease",
		"func", c.fn.Name(), "why", why)
	return false
}

// storeLater stores in the background a result that Redis did not take. It tries as long as this
// process may still hold the lease; the script checks whether it does. After that the result is
// dropped, and the lease counts as lost. The callers have already been answered. late is how
// often the entry was sent without an answer in time.
func (c *computation) storeLater(e *ending, env *envelope, raw []byte, until time.Time, late int) {
	defer c.conclude(e)
	if late >= maxLateStores {
		c.giveBack()
		return
	}
	for wait := storeAgainMin; time.Now().Add(wait).Before(until); wait = min(2*wait, storeAgainMax) {
		if !c.cache.store.pause(wait) {
			c.giveBack()
			return
		}
		ctx, end := context.WithDeadline(c.ctx, until)
		held, err := c.store(ctx, c.cache.storeFor(c.fn), env, raw, late)
		end()
		failed := c.cache.noteRedis(c.fn, opStore, c.key, err)
		late += lateOf(err)
		switch {
		case failed && (!worthAnotherTry(err) || late >= maxLateStores):
			c.giveBack()
			return
		case failed:
		case held:
			c.fn.counters.stored.Add(1)
			e.size = len(raw)
			return
		default:
			c.lose()
			return
		}
	}
	c.lose() // the lease ends before the next try
}
