package fncache

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/shape"
)

// A computation is one run of a cached function, with a lease or without. Two
// goroutines belong to it: one calls the function, the other tends: it renews
// the lease while the function runs and its result is encoded, and ends the computation
// when that is done, runs out of time, or is cancelled.
//
// Its end is in this order, so that who looks up after a caller was answered
// finds the value: the lease's last step, then the ending, then done.
type computation struct {
	flightKey
	cache *Cache
	input
	given   chan struct{}   // closed when input is set; nil if they are from the start
	ctx     context.Context // the values of the caller's context, without its end
	token   string          // of the lease; "" without one
	stale   *entry          // what callers live on if the function fails
	closing <-chan struct{} // the cache's; nil without a lease if it was closed before

	frame    *frame        // what the function's context carries
	returned chan struct{} // closed when the function has ended
	ret      returned      // written before returned is closed
	encoding *apartRun     // reads the results, nil if nothing does; written before done is closed

	// Only the tender's.
	tender tender
	lost   bool // the lease is known to be lost
	// unregistered is why the release is not registered, so that nothing is stored; nil if
	// it is.
	unregistered error

	started chan struct{} // without a lease: closed when it begins
	slotted bool          // it has a place of Options.MaxConcurrent from the start
	single  bool          // without a lease: it is one call's own
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
	nested   bool      // it begins without a place: who waits for it has one
	quit     func()    // without a lease: ends the wait for a place; nil if there is none
}

// returned is how the function ended.
type returned struct {
	results shape.Results
	err     error
	panic   any           // the value to panic with again, nil if none
	goexit  bool          // runtime.Goexit ended it
	cost    time.Duration // how long it ran
}

// ending is what the callers of a computation learn.
type ending struct {
	returned
	body     []byte        // the encoded results; nil if they could not be encoded
	decoded  shape.Results // what body decodes to, or else a copy of the results, for callers to copy; nil if there is none
	negative bool          // err is an answer, and cached
	stale    *entry        // what is served instead of err
	storedAt int64
	// confirmed says that who joined while the function ran may have it. With a lease
	// that takes the word of its last step that it was held until then: else a key
	// invalidated meanwhile would be answered with what was computed before. Who else
	// may have it, mayAnswer says.
	confirmed bool
	lost      bool // the lease is known to have been lost

	unstored error // why what there is was not stored, though its lease was held

	late    bool  // the function had not returned, or its result was not encoded: err says why that was not waited for
	stepErr error // of the lease's last step
}

// failed says that there is an error, and not a panic or the end of a goroutine.
func (e *ending) failed() bool { return e.err != nil && e.panic == nil && !e.goexit }

// normal says that the function has returned no error, and has returned.
func (e *ending) normal() bool { return e.err == nil && e.panic == nil && !e.goexit }

// unsuccessful reports whether the function has failed, by an error that is no answer, a
// panic, or the end of its goroutine. That the cache was closed is no failure of the function.
func (e *ending) unsuccessful() bool {
	return !e.normal() && !e.negative && e.err != ErrClosed //nolint:errorlint // errors.Is would ask the user's own
}

// stored says that what there is was confirmed: it is stored, unless the function
// asked that it be not.
func (e *ending) stored() bool {
	return e.normal() && e.body != nil && e.confirmed && e.unstored == nil
}

// mayAnswer says whether the end of a computation, that was not confirmed, may
// answer a caller after a decision that ended then: if it began later, for then it
// is no older than what the caller asked for; or if the caller could not ask, and
// nobody could tell since that the lease was lost. The computation has ended.
func (c *computation) mayAnswer(ended uint64) bool {
	if ended == 0 {
		return !c.ending.lost
	}
	return c.began > ended
}

// cancelled says that Close has ended it.
func (c *computation) cancelled() bool { return c.closing != nil && c.cache.closed() }

// spawn runs f on a goroutine that Close waits for, unless the computation began
// after it: nothing cancels that, and it has no lease to give back.
func (c *computation) spawn(f func()) {
	var group *lifetime.Group
	if c.closing != nil {
		group = c.cache.life
	}
	group.Go(f)
}

// newComputation makes a computation without a lease, for a call that is to call give.
func newComputation(c *call, id flightKey) *computation {
	comp := c.cache.newComputation(id, context.WithoutCancel(c.ctx), c.input)
	if c.fn.plans.Shares {
		comp.input, comp.given = input{}, make(chan struct{})
	}
	return comp
}

// give copies the arguments for a computation that c owns. That may take long, so
// flights.mu is not held; the computation does not run before.
func (c *call) give(comp *computation) {
	if comp.given != nil {
		comp.input = c.ownInput()
		close(comp.given)
	}
}

func (c *Cache) newComputation(id flightKey, ctx context.Context, in input) *computation {
	comp := &computation{
		flightKey: id,
		cache:     c,
		input:     in,
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
	if c.given != nil {
		<-c.given // by a call that is about to: see give
	}
	giveSlot, turn := c.awaitSlot()
	if !turn {
		giveSlot()
		return
	}
	if c.token != "" {
		c.unregistered = c.enlist()
	}
	c.fn.counters.computations.Add(1)
	cause := &ComputeTimeoutError{Func: c.fn.Name(), Key: c.key, Timeout: c.fn.opts.ComputeTimeout}
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, cause.Timeout, cause)
	defer stop()
	ctx, c.frame = enterFrame(ctx, c)

	c.tender = tender{ctx: ctx, cancel: cancel, timeout: ctx.Done(), closing: c.closing}
	if c.token != "" {
		renewals := time.NewTicker(c.fn.lease(c.cache) / 3)
		defer renewals.Stop()
		c.tender.renew = renewals.C
	}
	began := time.Now()
	c.spawn(func() {
		defer giveSlot() // not before the function has returned: until then it is a burden
		c.call(ctx, began)
	})
	cut := c.await(c.returned, nil)
	if cut == nil {
		cut = c.cutShort(ctx)
	}
	c.end(cut, time.Since(began))
}

// enlist prepares a computation under a lease for storing its result: the release must be
// registered before the function runs (releases.go).
func (c *computation) enlist() error {
	c.cache.clock.Await(c.ctx)
	return c.cache.register(c.ctx, c.fn)
}

// awaitSlot waits for a place of Options.MaxConcurrent, unless it was taken before the
// lease was asked for, or a computation of the same function waits for this one. turn is
// false if all callers have left meanwhile, or the cache was closed.
func (c *computation) awaitSlot() (give func(), turn bool) {
	places := c.cache.places(c.fn)
	give = func() {}
	switch {
	case c.slotted:
		give = places.Give
	case c.token != "" || places == nil:
	default:
		ctx, end := c.cache.flights.awaitsPlace(c)
		err := places.Take(ctx)
		end()
		switch {
		case err == nil:
			give = places.Give
		case c.cancelled() && !c.cache.flights.passes(c):
			// Its callers end as those of every computation that Close cuts short.
			if next, _ := c.cache.flights.finish(c, ending{returned: returned{err: ErrClosed}, confirmed: true}); next != nil {
				next.spawn(next.run)
			}
			return give, false
		}
	}
	if c.token != "" {
		return give, true
	}
	next, turn := c.cache.flights.begin(c)
	if next != nil {
		next.spawn(next.run)
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
		c.frame.ended.Store(true)
		close(c.returned)
	}()
	if c.token != "" {
		c.cache.beginning.Give()
	}
	c.ret.results, c.ret.err = c.fn.shape.Invoke(ctx, c.args)
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

// A tender is what the goroutine that tends a computation listens to while code of the
// user's own runs for it: the function, then what encodes its result or is asked about its
// error. A channel is nil while it has nothing to tell, and again once it has told it.
type tender struct {
	ctx     context.Context // the function's
	cancel  context.CancelCauseFunc
	renew   <-chan time.Time // the lease is to be renewed
	timeout <-chan struct{}  // ComputeTimeout is over
	closing <-chan struct{}  // Close has begun
	grace   <-chan time.Time // Close will not wait much longer

	renewing     chan *renewal // the end of the renewal on its way; nil if there is none
	stopRenewing func()
}

// errUnanswered is why await gives up at its limit.
var errUnanswered = errors.New("no answer in time")

// await renews the lease until code of the user's own has ended (nil), or is not waited for
// any longer (the reason).
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
			if c.lost {
				t.renew = nil
			}
		case <-t.closing:
			t.cancel(ErrClosed)
			t.closing, t.timeout = nil, nil
			t.grace = time.After(closeGrace - time.Second) // Close must see the release
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

// cutShort tells a function that returned the error of its own context from one
// that failed: the cause says more.
func (c *computation) cutShort(ctx context.Context) error {
	if c.ret.err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// A renewal is one on its way. The process may be busy, so it has a goroutine of its own.
type renewal struct {
	cancel context.CancelFunc
	until  time.Time // how long the lease is good, if it was held
	held   bool
	err    error
}

// startRenewing sends a renewal, unless the last one is on its way yet.
func (c *computation) startRenewing() {
	if c.tender.renewing != nil {
		return
	}
	lease := c.fn.lease(c.cache)
	ctx, cancel := context.WithTimeout(c.ctx, lease)
	r := &renewal{cancel: cancel, until: time.Now().Add(lease)}
	renewed := make(chan *renewal, 1)
	c.tender.renewing, c.tender.stopRenewing = renewed, cancel
	c.cache.spawn(func() {
		r.held, r.err = c.cache.storeFor(c.fn).renew(ctx, c.key, c.token, lease)
		renewed <- r
	})
}

// takeRenewal takes in how a renewal ended.
func (c *computation) takeRenewal(r *renewal) {
	c.tender.renewing = nil
	r.cancel()
	switch {
	case r.err != nil && errors.Is(r.err, context.Canceled): // see joinRenewal
	case c.cache.noteRedis(c.fn, "renew", c.key, r.err):
	case r.held:
		c.cache.flights.renewed(c, r.until)
	default:
		c.lose()
	}
}

// joinRenewal waits for the renewal on its way, if there is one, so that the last step of the
// lease comes after it. One that waits for its turn is withdrawn. One that hangs, in a hook of
// the client, say, is not waited for: the scripts refuse what comes late.
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

// lose takes note that the lease is lost: newcomers start afresh.
func (c *computation) lose() {
	c.lost = true
	c.cache.flights.detachHolder(c)
	c.fn.counters.lostLeases.Add(1)
	c.cache.log.Once("lost "+c.fn.Name(), slog.LevelWarn,
		"lease lost while computing: the key was invalidated, or the lease expired unrenewed; the result is not stored",
		"func", c.fn.Name())
}

// A frame is one computation that a context passes through.
type frame struct {
	cache *Cache // nil for a direct call, and so what flightKey holds
	flightKey
	outer   *frame
	noStore atomic.Bool
	ended   atomic.Bool // the function has returned; what it started may hold its context yet
}

// runs says whether fn is in computation in f or around it.
func (f *frame) runs(fn *Func) bool {
	for ; f != nil; f = f.outer {
		if f.fn == fn && !f.ended.Load() {
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
