package fncache

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A computation is one run of a cached function, with a lease or without. Two
// goroutines belong to it: one calls the function, the other tends: it renews
// the lease while the function runs, and ends the computation when the function
// returns, runs out of time, or is cancelled.
//
// Its end is in this order, so that who looks up after a caller was answered
// finds the value: the lease's last step, then the ending, then done.
type computation struct {
	flightKey
	cache   *Cache
	args    arguments
	ctx     context.Context // the values of the caller's context, without its end
	token   string          // of the lease; "" without one
	stale   *entry          // what callers live on if the function fails
	closing <-chan struct{} // the cache's; nil if it was closed before

	frame    *frame        // what the function's context carries
	returned chan struct{} // closed when the function has ended
	ret      returned      // written before returned is closed
	lost     bool          // the lease is known to be lost; only the tender's

	started chan struct{} // without a lease: closed when it begins
	slotted bool          // it has its slot of Options.MaxConcurrent from the start
	done    chan struct{} // closed at the end
	ending  ending        // written before done is closed

	// Guarded by flights.mu.
	owner    *call     // the caller whose computation it is, nil if there is none
	ownable  bool      // a caller may become the owner
	callers  int       // who waits for the end
	detached bool      // without a lease: it began before this process invalidated the key
	cached   bool      // newcomers look up, for there may be an entry
	settling bool      // newcomers look up, for the lease may be over
	leaseEnd time.Time // until when the lease is good as far as is known
	began    uint64    // flights.seq when it began; 0 before
}

// returned is how the function ended.
type returned struct {
	results results
	err     error
	panic   any           // the value to panic with again, nil if none
	goexit  bool          // runtime.Goexit ended it
	cost    time.Duration // how long it ran
}

// ending is what the callers of a computation learn.
type ending struct {
	returned
	body     []byte  // the encoded results; nil if there are none to share
	decoded  results // what body decodes to, for callers to copy
	negative bool    // err is an answer, and cached
	stale    *entry  // what is served instead of err
	storedAt int64
	// shared says that joiners may have this. With a lease that takes the
	// confirmation of its last step that it was held until then: else a key
	// invalidated meanwhile would be answered with what was computed before.
	shared  bool
	late    bool  // the function had not returned: err says why it was not waited for
	stepErr error // of the lease's last step
}

// failed says that there is an error, and not a panic or the end of a goroutine.
func (e *ending) failed() bool { return e.err != nil && e.panic == nil && !e.goexit }

func newComputation(c *call, id flightKey) *computation {
	return c.cache.newComputation(id, context.WithoutCancel(c.ctx), c.ownArgs())
}

func (c *Cache) newComputation(id flightKey, ctx context.Context, args arguments) *computation {
	comp := &computation{
		flightKey: id,
		cache:     c,
		args:      args,
		ctx:       ctx,
		returned:  make(chan struct{}),
		started:   make(chan struct{}),
		done:      make(chan struct{}),
		ownable:   true,
	}
	if !c.closed() {
		comp.closing = c.closing
	}
	return comp
}

// run computes to the end, when it is its turn.
func (c *computation) run() {
	giveSlot, turn := c.awaitSlot()
	if !turn {
		giveSlot()
		return
	}
	c.fn.counters.computations.Add(1)
	cause := &ComputeTimeoutError{Func: c.fn.Name(), Key: c.key, Timeout: c.fn.opts.ComputeTimeout}
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, cause.Timeout, cause)
	defer stop()
	ctx, c.frame = enterFrame(ctx, c.key)

	began := time.Now()
	c.cache.spawn(func() {
		defer giveSlot() // not before the function has returned: until then it is a burden
		c.call(ctx, began)
	})
	cut := c.tend(ctx, cancel)
	c.end(cut, time.Since(began))
}

// awaitSlot waits for a slot of Options.MaxConcurrent. turn is false if all callers
// have left meanwhile, or the cache was closed.
func (c *computation) awaitSlot() (give func(), turn bool) {
	bulkhead := c.fn.bulkhead
	if c.token != "" {
		if bulkhead.try() {
			return bulkhead.give, true
		}
		return func() {}, true
	}
	give = bulkhead.give
	if !c.slotted {
		waiting := c.cache.alive
		if c.closing == nil {
			waiting = context.Background()
		}
		if bulkhead.take(waiting) != nil {
			// Its callers end as those of every computation that Close cuts short.
			if next, _ := c.cache.flights.finish(c, ending{returned: returned{err: ErrClosed}, shared: true}); next != nil {
				c.cache.spawn(next.run)
			}
			return func() {}, false
		}
	}
	next, turn := c.cache.flights.begin(c)
	if next != nil {
		c.cache.spawn(next.run)
	}
	return give, turn
}

// call runs the function and notes how it ended.
func (c *computation) call(ctx context.Context, began time.Time) {
	normal := false
	defer func() {
		if !normal {
			c.ret.panic = panicked(recover())
			c.ret.goexit = c.ret.panic == nil
		}
		c.ret.cost = time.Since(began)
		close(c.returned)
	}()
	c.ret.results, c.ret.err = c.fn.shape.invoke(ctx, c.args)
	normal = true
}

// panicked gives what to panic with again where value was recovered, nil if
// nothing was: then runtime.Goexit has run the deferred function.
func panicked(value any) any {
	if value == nil || value == http.ErrAbortHandler { //nolint:errorlint // net/http compares like that too
		return value
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// tend renews the lease until the function has returned (nil) or is not waited
// for any longer (the reason).
func (c *computation) tend(ctx context.Context, cancel context.CancelCauseFunc) error {
	var renew, grace <-chan time.Time
	if c.token != "" {
		ticker := time.NewTicker(c.fn.lease(c.cache) / 3)
		defer ticker.Stop()
		renew = ticker.C
	}
	closing, timeout := c.closing, ctx.Done()
	for {
		select {
		case <-c.returned:
			return c.cutShort(ctx)
		case <-renew:
			c.renew()
			if c.lost {
				renew = nil
			}
		case <-closing:
			cancel(ErrClosed)
			closing, timeout = nil, nil
			timer := time.NewTimer(closeGrace - time.Second) // Close must see the release
			defer timer.Stop()
			grace = timer.C
		case <-grace:
			return ErrClosed
		case <-timeout:
			return context.Cause(ctx)
		}
	}
}

// cutShort tells a function that returned the error of its own context from one
// that failed: the cause says more.
func (c *computation) cutShort(ctx context.Context) error {
	if c.ret.err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (c *computation) renew() {
	sent := time.Now()
	lease := c.fn.lease(c.cache)
	held, err := c.cache.store.renew(c.ctx, c.key, c.token, lease)
	switch {
	case c.cache.noteRedis(c.fn, "renew", c.key, err):
	case held:
		c.cache.flights.renewed(c, sent.Add(lease))
	default:
		c.lose()
	}
}

// lose takes note that the lease is lost: newcomers start afresh.
func (c *computation) lose() {
	c.lost = true
	c.cache.flights.detachHolder(c)
	c.fn.counters.lostLeases.Add(1)
	c.cache.log.once("lost "+c.fn.Name(), slog.LevelWarn,
		"lease lost while computing: the key was invalidated, or the lease expired unrenewed; the result is not stored",
		"func", c.fn.Name())
}

// end takes the lease's last step and publishes the ending. cut is why the
// function was not waited for, nil if it returned.
func (c *computation) end(cut error, ran time.Duration) {
	var e ending
	switch {
	case cut != nil && !c.hasReturned():
		e.err, e.cost, e.late = cut, ran, true
	case cut != nil:
		e.returned = c.ret
		e.err = cut
	default:
		e.returned = c.ret
	}
	c.fn.counters.computeTime.Add(int64(e.cost))
	var raw []byte
	if cut == nil && e.failed() {
		raw = c.takeNegative(&e)
	} else {
		raw = c.encode(&e)
	}
	c.takeStale(&e)
	if c.token == "" {
		e.shared = e.body != nil || e.failed() || e.panic != nil || e.goexit
	} else {
		c.cache.flights.settles(c)
		e.shared = c.settle(&e, raw)
	}
	next, alone := c.cache.flights.finish(c, e)
	if alone || e.stale != nil {
		c.logUnseen(&e)
	}
	if next != nil {
		c.cache.spawn(next.run)
	}
}

func (c *computation) hasReturned() bool {
	select {
	case <-c.returned:
		return true
	default:
		return false
	}
}

// encode turns results into bytes, for everybody to decode their own copy from.
// Results that do not survive the trip are returned as they are to the caller
// that computed, and not stored.
func (c *computation) encode(e *ending) (raw []byte) {
	if e.failed() || e.panic != nil || e.goexit {
		return nil
	}
	raw, err := c.cache.coder.encode(make([]byte, envelopeHeaderLen), e.results.pointers())
	if err == nil {
		e.decoded, err = c.fn.decode(c.cache.coder, raw[envelopeHeaderLen:])
	}
	if err != nil {
		c.cache.log.once("codec "+c.fn.Name(), slog.LevelError,
			"result cannot be stored: it does not survive encoding; it is returned as it is",
			"func", c.fn.Name(), "err", err)
		return nil
	}
	e.body = raw[envelopeHeaderLen:]
	return raw
}

// settle takes the last step of the lease and reports whether it was held until
// then. Renewals have stopped: they and this run on the same goroutine.
func (c *computation) settle(e *ending, raw []byte) (held bool) {
	if c.lost {
		return false
	}
	var err error
	switch {
	case raw != nil && !c.frame.noStore.Load():
		held, err = c.put(e, raw)
	case e.stale != nil && c.fn.opts.Cooldown > 0:
		held, err = c.cache.store.coolDown(c.ctx, c.key, c.token, c.fn.opts.Cooldown)
	default:
		held, err = c.cache.store.release(c.ctx, c.key, c.token)
	}
	e.stepErr = err
	if !c.cache.noteRedis(c.fn, opStore, c.key, err) && !held {
		c.lose()
	}
	// Without a value there is nothing that joiners could have.
	return held && (e.body != nil || e.err != nil || e.panic != nil || e.goexit)
}

// keepStored has the near cache keep what was stored. It comes before any caller
// is answered: from then on nobody in this process is to be given an older value.
func (c *computation) keepStored(e *ending, stored *envelope, asked place) {
	c.cache.events.note(keyEvent{verbStore, c.key, storeID(stored.id)})
	kept := *stored
	kept.body = e.body
	c.cache.keep(c.fn, c.args, c.key, asked, &kept, e.decoded)
}

// put stores the results. If Redis does not take them it is tried again behind,
// or else the lease is given back: the next caller may try.
func (c *computation) put(e *ending, raw []byte) (held bool, err error) {
	asked := c.cache.events.here()
	flags := flagNegative
	if !e.negative {
		raw, flags = c.cache.coder.pack(raw)
	}
	env := envelope{flags: flags, codec: c.cache.coder.id, storedAt: c.cache.clock.now(), cost: e.cost, id: rand.Uint64()}
	env.appendTo(raw[:0])
	e.storedAt = env.storedAt
	held, err = c.storeOnce(&env, raw)
	switch {
	case held:
		c.fn.counters.stored.Add(1)
		c.keepStored(e, &env, asked)
	case err == nil:
	case worthAnotherTry(err):
		until := time.Now().Add(c.cache.flights.leaseLeft(c))
		c.cache.spawn(func() { c.storeLater(&env, raw, until) })
	default:
		c.cache.spawn(func() { _, _ = c.cache.store.release(c.ctx, c.key, c.token) })
	}
	return held, err
}

// storeOnce sends the entry.
func (c *computation) storeOnce(env *envelope, raw []byte) (held bool, err error) {
	timeout := c.fn.opts.Timeout
	if env.negative() {
		timeout = c.fn.opts.ErrorTimeout
	}
	return c.cache.store.store(c.ctx, c.key, c.token, env, raw, timeout)
}

// logUnseen tells of a failure that no caller sees: none was left, or they are
// given the stale entry, while nobody would know that it is never refreshed.
func (c *computation) logUnseen(e *ending) {
	var err any
	switch {
	case e.panic != nil:
		err = e.panic
	case e.goexit:
		err = ErrGoexit
	case e.err != nil && !e.negative:
		err = e.err
	default:
		return
	}
	msg := "computation failed with no caller left to see it"
	if e.stale != nil {
		msg = "computation failed: the stale entry is served instead, until it is past its timeout"
	}
	c.cache.log.once("unseen "+c.fn.Name(), slog.LevelError, msg, "func", c.fn.Name(), "err", err)
}

// A frame is one computation that a context passes through.
type frame struct {
	key     string // "" for a direct call
	outer   *frame
	noStore atomic.Bool
}

// computes says whether key is in computation in f or around it.
func (f *frame) computes(key string) bool {
	for ; f != nil; f = f.outer {
		if f.key == key {
			return true
		}
	}
	return false
}
