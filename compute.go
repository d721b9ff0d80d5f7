package fncache

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/verify"
)

// A computation is one run of a cached function, with a lease or without. It has two
// goroutines. One calls the function. The other, the tender, renews the lease while the
// function runs and its result is encoded. It ends the computation when both are done, when
// the time has run out, or when the computation is cancelled.
//
// A computation ends in this order: the last step of the lease, then the ending, then Done. So
// a lookup that begins after a caller was answered finds the value.
type computation struct {
	flights.Computation
	flightKey
	cache *Cache
	input
	given   chan struct{}   // without a lease: closed when input is set
	ctx     context.Context // the values of the caller's context, without its end
	stale   *entry          // served if the function fails; nil if there is none
	closing <-chan struct{} // closed when Close begins; nil without a lease if the cache was closed before

	tags     []fence.Tag     // of the call; nil without Options.Tags
	heard    *events.Channel // of the fence; nil if no caller of another process may wait
	foretold chan struct{}   // has an element if a message has said that a tag overtook the run

	frame    *frame        // of the function's context
	returned chan struct{} // closed when the function has ended
	ret      funcEnd       // written before returned is closed
	encoding *apart.Run    // the run that reads the results, or nil; written before Done is closed

	// Used by the tender only.
	tender tender
	lost   bool   // the lease is known to be lost
	tally  *tally // the tags that the run collects; nil without Options.Tags. Others read it after Done is closed
	// staleGone reports that a tag had overtaken the stale entry before the function ran.
	staleGone bool
	// place is the place in the order of events before the stamp was read.
	place events.Place
	// unregistered is why the release is not registered, so that nothing is stored; nil if
	// it is registered.
	unregistered error

	// beginning has a place until the function begins; nil without a lease.
	beginning   *bulkhead.Bulkhead
	slotted     bool       // has a place of Options.MaxConcurrent: see places
	member      *runMember // the part in the runs of a batch; nil for an ordinary call
	replaces    bool       // there may be an entry that may be served
	trigger     Trigger
	late        sync.Once  // writes lateReading
	lateReading *rereading // see rereadLate
	ending      ending     // written before Done is closed
}

// A funcEnd is how the function ended.
type funcEnd struct {
	results shape.Results
	err     error
	panic   any           // the value of the panic; nil if there was none
	goexit  bool          // runtime.Goexit ended it
	cost    time.Duration // how long it ran
}

// ending is the outcome of a computation, for its callers.
type ending struct {
	funcEnd
	body     []byte        // the encoded results; nil if they could not be encoded
	decoded  shape.Results // the decoded body, or a copy of the results, from which callers copy; nil if there is none
	negative bool          // err is an error of Options.CacheErrors, and is cached
	kept     bool          // the results are those of the stored entry, which is kept
	stale    *entry        // served instead of err; nil if there is none
	storedAt int64
	// confirmed reports whether callers that joined while the function ran may get the outcome.
	// With a lease this needs the answer of the last step that the lease was held until then.
	// Otherwise they could get a value that was computed before an invalidation. mayAnswer
	// decides for the other callers.
	confirmed bool
	lost      bool // the lease is known to have been lost

	unstored error // why the outcome was not stored although the lease was held

	late    bool  // the function had not returned, or its result was not encoded in time: err says why
	stepErr error // the error of the lease's last step

	size    int  // of the entry in Redis, in bytes; 0 if it is not stored
	pending bool // the result may be stored later

	expired bool // a tag has expired the value, so callers that joined do not get it as fresh
}

// stored reports whether the outcome was confirmed: then it is stored, unless the function
// called NoStore.
func (e *ending) stored() bool {
	return e.normal() && e.body != nil && e.confirmed && e.unstored == nil
}

func (c *Cache) newComputation(id flightKey, ctx context.Context) *computation {
	comp := &computation{
		Computation: flights.NewComputation(),
		flightKey:   id,
		cache:       c,
		ctx:         ctx,
		returned:    make(chan struct{}),
	}
	if !c.life.Closed() {
		comp.closing = c.closing
	}
	return comp
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

// newUnleased makes a computation without a lease. The call must call give.
func (c *call) newUnleased() *computation {
	comp := c.cache.newComputation(flightKey{c.fn, c.key}, context.WithoutCancel(c.ctx))
	comp.given, comp.member, comp.trigger = make(chan struct{}), c.part.newMember(), c.trigger()
	if c.above != nil {
		comp.tags = c.ownTags()
	}
	return comp
}

// start runs the computation, and then each computation that may begin when the one before it
// has ended.
func (c *computation) start() {
	if c.member != nil {
		c.member.hold()
		c.slotted = c.slotted || c.Token == "" && c.places().Try()
	}
	c.spawn(func() {
		if next := c.run(); next != nil {
			next.start()
		}
	})
}

// run waits for the computation's turn and runs it to its end. It returns the computation that
// may begin after that, or nil.
func (c *computation) run() (next *computation) {
	if c.given != nil {
		<-c.given // closed by the call that copies the input: see give
	}
	if next, turn := c.awaitSlot(); !turn {
		c.member.leave()
		c.givePlace()
		return next
	}
	if c.Token != "" {
		c.cache.holder.Holds()
		c.unregistered = c.enlist()
	}
	if c.tags != nil {
		c.capture()
		defer c.leaveFence()
	}
	c.fn.counters.computations.Add(1)
	cause := &ComputeTimeoutError{Func: c.fn.Name(), Key: c.key, Timeout: c.fn.opts.ComputeTimeout}
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, cause.Timeout, cause)
	defer stop()
	ctx, c.frame = enterFrame(ctx, c.fn, c.tally, c)
	c.frame.hand = c.hand()

	c.tender = tender{ctx: ctx, cancel: cancel, timeout: ctx.Done(), closing: c.closing}
	if c.Token != "" {
		renewals := time.NewTicker(c.fn.lease(c.cache) / 3)
		defer renewals.Stop()
		c.tender.renew = renewals.C
	}
	began := time.Now()
	c.spawn(func() { c.callFunction(ctx, began) })
	cut := c.await(c.returned, nil)
	if cut == nil {
		cut = c.cutShort(ctx)
	}
	return c.end(cut, time.Since(began))
}

// leaveFence undoes the registrations that capture made.
func (c *computation) leaveFence() {
	c.cache.fence.runs.remove(c)
	c.cache.events.Leave(c.heard)
}

// enlist prepares a computation under a lease for storing its result: the release must be
// registered before the function runs (internal/releases).
func (c *computation) enlist() error {
	c.cache.clock.Await(c.ctx)
	return c.cache.releases.Register(c.ctx, c.cache.releaseOf(c.fn))
}

// releaseOf returns the release of a function on the cache.
func (c *Cache) releaseOf(fn *Func) *releases.Release {
	// A computation may outlive the binding that it began under.
	bound := func() bool {
		b := fn.bound.Load()
		return b != nil && b.cache == c && !fn.unwrapped.Load()
	}
	return c.releases.Of(fn, bound, func() *releases.Release {
		registry, sig := registryKey(c.cfg.Namespace, fn.Name()), c.coder.fingerprint(fn)
		noted := releases.Noted(fn.params, fn.tagged(), c.describe(fn))
		// A day longer, because an entry is stored some time after its release was registered.
		keep := max(releases.Kept, clock.Later(24*time.Hour, max(fn.opts.Timeout, fn.opts.ErrorTimeout)))
		return &releases.Release{
			Name: fn.Name(), Registry: registry, Calls: func() uint64 { return fn.stats().Calls },
			Send: func(ctx context.Context, now, outdated time.Time) (missing bool, err error) {
				missing, err = c.storeFor(fn).register(ctx, registry, sig, noted, now, outdated, keep)
				c.noteRedis(fn, opRegister, registry, err)
				return missing, err
			},
		}
	})
}

// awaitSlot waits for a place of Options.MaxConcurrent. It does not wait if the place was taken
// before the lease was asked for, or if a computation of the same function waits for this one.
// turn is false if all callers have left meanwhile, or if the cache was closed: then next is the
// computation that may begin instead, or nil.
func (c *computation) awaitSlot() (next *computation, turn bool) {
	if c.Token != "" {
		return nil, true
	}
	if !c.slotted && c.fn.places != nil {
		parent := context.Background()
		if c.closing != nil {
			parent = c.cache.alive
		}
		c.member.leave()
		ctx, end := c.cache.flights.AwaitPlace(parent, c)
		c.slotted = c.places().Take(ctx) == nil
		end()
		c.member.hold()
		if !c.slotted && c.Cancelled() && !c.cache.flights.Passes(c) {
			// Its callers get the same error as for a running computation that Close cancels.
			next, _ = c.finish(ending{funcEnd: funcEnd{err: ErrClosed}, confirmed: true})
			return next, false
		}
	}
	return c.cache.flights.Begin(c.flightKey, c)
}

// callFunction runs the function and notes how it ended. The place is given back when the function
// has returned, because until then it causes load, and before any caller is answered: a caller
// that is answered and calls again finds the place free.
func (c *computation) callFunction(ctx context.Context, began time.Time) {
	normal := false
	defer func() {
		if !normal {
			c.ret.panic = panicked(recover())
			c.ret.goexit = c.ret.panic == nil
		}
		if c.member == nil {
			c.ret.cost = time.Since(began)
		}
		c.frame.ended.Store(true)
		if c.tally != nil {
			c.tally.Seal() // W7
		}
		c.givePlace()
		close(c.returned)
		if c.member == nil {
			c.runEnded(ctx, 1, c.ret, c.ret.cost)
		}
	}()
	if c.Token != "" {
		c.beginning.Give()
	}
	if c.member != nil {
		c.member.run(ctx, c) // which sets c.ret
	} else {
		if c.fn.many != nil {
			c.fn.counters.batchRuns.Add(1)
		}
		ctx = c.runBegins(ctx, 1)
		c.ret.results, c.ret.err = c.fn.shape.Invoke(ctx, c.args)
	}
	normal = true
}

// panicked returns the value to panic with again after value was recovered. It returns nil for
// nil: then runtime.Goexit has run the deferred function.
func panicked(value any) any {
	if value == nil || value == http.ErrAbortHandler { //nolint:errorlint // net/http compares like that too
		return value
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// cutShort returns the cause of ctx if the function returned the error of its own context; nil
// if the function failed otherwise.
func (c *computation) cutShort(ctx context.Context) error {
	if c.ret.err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// end takes the lease's last step and publishes the ending. cut is why the function was not
// waited for; nil if it returned. end returns the computation that may begin now, or nil.
func (c *computation) end(cut error, ran time.Duration) (next *computation) {
	var e ending
	switch {
	case cut != nil && !c.hasReturned():
		e.err, e.cost, e.late = cut, ran, true
	case cut != nil:
		e.funcEnd = c.ret
		e.err = cut
	default:
		e.funcEnd = c.ret
	}
	c.fn.counters.computeTime.Add(int64(e.cost))
	c.cache.computed(c, &e)
	var raw []byte
	switch {
	case cut == nil && e.panic == nil && !e.goexit && c.frame.keepsHand():
		raw = c.keepHand(&e)
	case cut == nil && e.hasError():
		if raw = c.takeNegative(&e); raw == nil {
			c.copyBesideError(&e)
		}
	case e.normal():
		var tooLong error
		if raw, tooLong = c.encode(&e); tooLong != nil {
			e = ending{funcEnd: funcEnd{err: notEncoded(tooLong), cost: e.cost}, late: true}
		}
	}
	c.takeStale(&e)
	e.confirmed = true
	if c.Token != "" {
		c.cache.flights.Settle(c)
		again := c.reread()
		e.confirmed = c.settle(&e, raw, again)
		c.member.leaveLast(c.hasReturned())
		c.confirm(&e, again)
	}
	if !e.pending {
		c.conclude(&e)
	}
	next, alone := c.finish(e)
	if alone || e.stale != nil {
		c.spawn(func() { c.logUnseen(&e) }) // on a goroutine, because methods of the error may hang
	}
	return next
}

// keepHand replaces the results of the function by those of the entry at hand.
func (c *computation) keepHand(e *ending) (raw []byte) {
	hand := c.frame.hand
	e.results, e.err, e.kept = hand.decoded, nil, true
	e.body, e.decoded = hand.body, hand.decoded
	if c.tally != nil {
		c.tally.Adopt(hand.tags.Marks)
	}
	return hand.raw
}

// logUnseen logs a failure that no caller sees, because no caller is left or all get the stale
// entry. Without the record it would not be known that the entry is not refreshed.
func (c *computation) logUnseen(e *ending) {
	var err string
	switch {
	case e.panic != nil:
		err = "a panic"
		if p, ok := e.panic.(*PanicError); ok {
			err = codec.PanicText(p.Value)
		}
	case e.goexit:
		err = ErrGoexit.Error()
	case e.err != nil && !e.negative:
		err = "an error whose methods do not return"
		<-apart.Start(c.spawn, func() { err = loggable(e.err) }).Ended
	default:
		return
	}
	msg := "computation failed with no caller left to see it"
	if e.stale != nil {
		msg = "computation failed: the stale entry is served instead, until it is past its timeout"
	}
	c.cache.log.Once("unseen "+c.fn.Name(), slog.LevelError, msg, "func", c.fn.Name(), "err", err)
}

// finish publishes how a computation ended, and returns the computation that may begin now, or
// nil. alone reports whether no caller waits for c.
func (c *computation) finish(e ending) (next *computation, alone bool) {
	return c.cache.flights.Finish(c.flightKey, c, func() { c.ending = e })
}

// Cancelled reports whether Close has ended the computation.
func (c *computation) Cancelled() bool { return c.closing != nil && c.cache.life.Closed() }

// --- Verifying ---

// A verification computes the value of an entry again. It runs the function like a computation,
// but without a lease: it stores nothing, collects no tags, and does not count as a computation.
//
// This order of events must not count as a difference:
//  1. the data change;
//  2. the verification runs the function, which reads the new data;
//  3. the entry is invalidated.
//
// So a difference counts only if the entry is still there and fresh after settleTime.
type verification struct {
	*call
	args   input
	id     uint64
	answer error                         // the error of a negative entry, or nil
	value  func() (shape.Results, error) // returns the results of the entry
}

// settleTime is how long after a change of the data its invalidation may come. It is a variable
// for tests on real servers.
var settleTime = time.Second

// verify starts a verification.
func (c *call) verify(id uint64, answer error, value func() (shape.Results, error)) {
	if c.cache.life.Closed() || !c.fn.places.Try() {
		c.fn.verify.End()
		return
	}
	v := &verification{c, c.ownInput(), id, answer, value}
	c.cache.life.Go(func() {
		defer c.fn.verify.End()
		run := apart.Start(c.cache.life.Go, v.run)
		if <-run.Ended; run.Fault != "" {
			c.cache.log.Once("verify fault "+c.fn.Name(), slog.LevelError, "a value could not be verified: code of the function, or of the encoding of its result, did not return; correct it", "func", c.fn.Name(), "why", run.Fault)
		}
	})
}

// run computes the value, compares it with the entry, and counts the result.
func (v *verification) run() {
	again := v.compute()
	if again == nil {
		return
	}
	verdict, err := verify.Compare(v.encoderOf(v.value, v.answer), again)
	switch {
	case err != nil: // a result that cannot be encoded would not be stored either
	case verdict == verify.Equal:
		v.fn.verify.Same()
		v.tell(false)
	case verdict == verify.Unstable:
		v.fn.verify.GiveUp()
		v.cache.log.Once("verify unstable "+v.fn.Name(), slog.LevelWarn,
			"values of this function are not verified: the encoding of the same value differs from time to time; make the encoding methods of its types write the same bytes each time",
			"func", v.fn.Name())
	case v.cache.store.pause(settleTime) && v.stands():
		v.fn.verify.Differed()
		v.tell(true)
		v.cache.log.Once("verify differs "+v.fn.Name(), slog.LevelWarn,
			"a fresh entry differs from the present result of the function: the result depends on something that is not part of the key (make it a parameter, or set Options.Vary), or an invalidation is missing after a change of the data",
			"func", v.fn.Name())
	}
}

// compute runs the function, and returns an encoder of the outcome; nil if there is no outcome
// to compare.
func (v *verification) compute() (encode func() ([]byte, error)) {
	defer v.fn.places.Give()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), v.fn.opts.ComputeTimeout)
	defer cancel()
	defer context.AfterFunc(v.cache.alive, cancel)()
	ctx, frame := enterFrame(ctx, v.fn, nil, nil)
	frame.cache, frame.flightKey = v.cache, flightKey{v.fn, v.key}
	defer frame.ended.Store(true)
	r, err := v.fn.shape.Invoke(ctx, v.args.args)
	if ctx.Err() != nil || frame.noStore.Load() {
		return nil
	}
	if err != nil {
		for _, listed := range v.fn.negatives {
			if errors.Is(err, listed.err) {
				return v.encoderOf(nil, listed.err)
			}
		}
		return nil
	}
	return v.encoderOf(func() (shape.Results, error) { return r, nil }, nil)
}

// encoderOf returns an encoder that gives equal outcomes equal bytes. An outcome is an error of
// Options.CacheErrors, or results that were encoded and decoded by the codec.
func (v *verification) encoderOf(value func() (shape.Results, error), answer error) func() ([]byte, error) {
	if answer != nil {
		return func() ([]byte, error) { return append([]byte("error "), answer.Error()...), nil }
	}
	coder := v.cache.coder
	var decoded shape.Results
	return func() (_ []byte, err error) {
		if decoded == nil {
			if decoded, err = value(); err != nil {
				return nil, err
			}
			var body []byte
			if body, err = v.fn.encode(coder, nil, decoded); err != nil {
				return nil, err
			}
			if decoded, err = v.fn.decodeHere(coder, body); err != nil {
				return nil, err
			}
		}
		return v.fn.encodeOrdered(coder, []byte("value "), decoded)
	}
}

// stands reports whether the entry is still there, is fresh, and was not invalidated.
func (v *verification) stands() bool {
	e, s := v.cache.look(context.WithoutCancel(v.ctx), v.fn, v.key)
	return s == fresh && e.id == v.id
}
