package fncache

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/releases"
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
	given   chan struct{}   // without a lease: closed when input is set
	ctx     context.Context // the values of the caller's context, without its end
	token   string          // of the lease; "" without one
	stale   *entry          // what callers live on if the function fails
	closing <-chan struct{} // the cache's; nil without a lease if it was closed before

	tags     []fence.Tag     // of the call; nil without Options.Tags
	heard    *events.Channel // of the fence; nil if nobody waits elsewhere
	foretold chan struct{}   // has an element if the fence is to be read again: what is computed may be overtaken

	frame    *frame        // what the function's context carries
	returned chan struct{} // closed when the function has ended
	ret      returned      // written before returned is closed
	encoding *apart.Run    // reads the results, nil if nothing does; written before done is closed

	// Only the tender's.
	tender tender
	lost   bool   // the lease is known to be lost
	tally  *tally // the tags that the run collects; nil without Options.Tags. Others read it once done is closed
	// staleGone says that the stale entry was overtaken before the function ran.
	staleGone bool
	// place is where in the order of events it was before the stamp was read.
	place events.Place
	// unregistered is why the release is not registered, so that nothing is stored; nil if
	// it is.
	unregistered error

	started chan struct{} // without a lease: closed when it begins
	// beginning has a place until the function begins; nil without a lease.
	beginning *bulkhead.Bulkhead
	slotted   bool          // it has a place of Options.MaxConcurrent from the start
	single    bool          // without a lease: it is one call's own
	done      chan struct{} // closed at the end
	ending    ending        // written before done is closed

	// Guarded by flights.mu.
	owner    *call     // the caller whose computation it is, nil if there is none
	ownable  bool      // a caller may become the owner
	callers  int       // who waits for the end
	detached bool      // without a lease: it began before this process invalidated the key
	cached   bool      // newcomers look up, for there may be an entry
	shared   bool      // callers have joined who may have called after it began, or it is about storing
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
	kept     bool          // the results are those of the entry at hand
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

	unread  bool // the fence was not read again: nobody who joined is confirmed
	expired bool // overtaken softly: never given to those who joined as fresh
}

// stored says that what there is was confirmed: it is stored, unless the function
// asked that it be not.
func (e *ending) stored() bool {
	return e.normal() && e.body != nil && e.confirmed && e.unstored == nil
}

func (c *Cache) newComputation(id flightKey, ctx context.Context) *computation {
	comp := &computation{
		flightKey: id,
		cache:     c,
		ctx:       ctx,
		returned:  make(chan struct{}),
		started:   make(chan struct{}),
		done:      make(chan struct{}),
		ownable:   true,
	}
	if !c.life.Closed() {
		comp.closing = c.closing
	}
	return comp
}

// newUnleased makes a computation without a lease, for a call that is to call give.
func (c *call) newUnleased() *computation {
	comp := c.cache.newComputation(flightKey{c.fn, c.key}, context.WithoutCancel(c.ctx))
	comp.given = make(chan struct{})
	if c.above != nil {
		comp.tags = c.ownTags()
	}
	return comp
}

// start runs the computation, and then each that may begin at the end of the one before.
func (c *computation) start() {
	c.spawn(func() {
		if next := c.run(); next != nil {
			next.start()
		}
	})
}

// run computes to the end, when it is its turn. It returns the computation that may begin
// then, nil if there is none.
func (c *computation) run() (next *computation) {
	if c.given != nil {
		<-c.given // by a call that is about to: see give
	}
	giveSlot, next, turn := c.awaitSlot()
	if !turn {
		giveSlot()
		return next
	}
	if c.token != "" {
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
	if c.token != "" {
		renewals := time.NewTicker(c.fn.lease(c.cache) / 3)
		defer renewals.Stop()
		c.tender.renew = renewals.C
	}
	began := time.Now()
	c.spawn(func() { c.call(ctx, began, giveSlot) })
	cut := c.await(c.returned, nil)
	if cut == nil {
		cut = c.cutShort(ctx)
	}
	return c.end(cut, time.Since(began))
}

// leaveFence ends what capture began.
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

// releaseOf returns the release that a function is on the cache.
func (c *Cache) releaseOf(fn *Func) *releases.Release {
	// A computation may outlive the binding that it began under.
	bound := func() bool {
		b := fn.bound.Load()
		return b != nil && b.cache == c && !fn.unwrapped.Load()
	}
	return c.releases.Of(fn, bound, func() *releases.Release {
		registry, sig := registryKey(c.cfg.Namespace, fn.Name()), c.coder.fingerprint(fn)
		noted := releases.Noted(fn.params, fn.tagged())
		// A day more, for an entry is stored some time after its release was registered.
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

// awaitSlot waits for a place of Options.MaxConcurrent, unless it was taken before the
// lease was asked for, or a computation of the same function waits for this one. turn is
// false if all callers have left meanwhile, or the cache was closed: next is the computation
// that may begin instead, nil if there is none.
func (c *computation) awaitSlot() (give func(), next *computation, turn bool) {
	places := c.fn.places
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
			next, _ = c.cache.flights.finish(c, ending{returned: returned{err: ErrClosed}, confirmed: true})
			return give, next, false
		}
	}
	if c.token != "" {
		return give, nil, true
	}
	next, turn = c.cache.flights.begin(c)
	return give, next, turn
}

// awaitsPlace returns a context for the wait of a computation without a lease for its
// place. It ends with the last caller, with Close, and where no place is needed. end frees
// it.
func (fs *flights) awaitsPlace(c *computation) (ctx context.Context, end context.CancelFunc) {
	parent := context.Background()
	if c.closing != nil {
		parent = c.cache.alive
	}
	ctx, end = context.WithCancel(parent)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if c.quit = end; c.nested || c.callers == 0 {
		end()
	}
	return ctx, end
}

// passes reports whether a computation without a lease begins without a place.
func (fs *flights) passes(c *computation) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return c.nested
}

// begin marks a computation without a lease as begun. It is false if all callers
// have left it meanwhile: then next is what may begin instead, if anything.
func (fs *flights) begin(c *computation) (next *computation, ok bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if c.callers > 0 {
		c.began = fs.tick()
		close(c.started)
		return nil, true
	}
	if s := fs.m[c.flightKey]; s != nil && s.running == c {
		next = s.advance()
		fs.sweep(c.flightKey, s)
	}
	close(c.done)
	return next, false
}

// call runs the function and notes how it ended. The place is given back when the function
// has returned, for until then it is a burden, and before anybody learns the end: a caller that
// is answered, and calls again, finds it free.
func (c *computation) call(ctx context.Context, began time.Time, giveSlot func()) {
	normal := false
	defer func() {
		if !normal {
			c.ret.panic = panicked(recover())
			c.ret.goexit = c.ret.panic == nil
		}
		c.ret.cost = time.Since(began)
		c.frame.ended.Store(true)
		c.tally.seal()
		giveSlot()
		close(c.returned)
	}()
	if c.token != "" {
		c.beginning.Give()
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

// cutShort tells a function that returned the error of its own context from one
// that failed: the cause says more.
func (c *computation) cutShort(ctx context.Context) error {
	if c.ret.err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// end takes the lease's last step and publishes the ending. cut is why the
// function was not waited for, nil if it returned. It returns the computation that may begin
// now, nil if there is none.
func (c *computation) end(cut error, ran time.Duration) (next *computation) {
	var e ending
	c.tally.seal()
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
	switch {
	case cut == nil && e.panic == nil && !e.goexit && c.frame.keepsHand():
		raw = c.keepHand(&e)
	case cut == nil && e.failed():
		if raw = c.takeNegative(&e); raw == nil {
			c.copyBesideError(&e)
		}
	case e.normal():
		var tooLong error
		if raw, tooLong = c.encode(&e); tooLong != nil {
			e = ending{returned: returned{err: notEncoded(tooLong), cost: e.cost}, late: true}
		}
	}
	c.takeStale(&e)
	e.confirmed = true
	if c.token != "" {
		c.cache.flights.settles(c)
		again := c.reread()
		e.confirmed = c.settle(&e, raw, again)
		c.confirm(&e, again)
	}
	next, alone := c.cache.flights.finish(c, e)
	if alone || e.stale != nil {
		c.spawn(func() { c.logUnseen(&e) }) // it may wait for methods of the error
	}
	return next
}

// keepHand has the entry at hand stand for what the function returned.
func (c *computation) keepHand(e *ending) (raw []byte) {
	hand := c.frame.hand
	e.results, e.err, e.kept = hand.kept, nil, true
	e.body, e.decoded = hand.body, hand.kept
	if c.tally != nil {
		c.tally.adopt(hand.tags.Marks)
	}
	return hand.raw
}

func (c *computation) hasReturned() bool {
	select {
	case <-c.returned:
		return true
	default:
		return false
	}
}

// logUnseen tells of a failure that no caller sees: none was left, or they are
// given the stale entry, while nobody would know that it is never refreshed.
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

// settles has newcomers look up, for the last step of c is about to be sent. Else:
//  1. the store has run, and its answer is on its way;
//  2. another process invalidates the key;
//  3. a call joins c, and is given what the store, it says, has stored.
func (fs *flights) settles(c *computation) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	c.settling = true
}

// finish publishes how a computation ended, and gives the one that may begin
// now, if any. alone says that nobody waits for it.
func (fs *flights) finish(c *computation, e ending) (next *computation, alone bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if s := fs.m[c.flightKey]; s != nil {
		if s.leased == c {
			s.leased = nil
		}
		if s.running == c {
			next = s.advance()
		}
		fs.sweep(c.flightKey, s)
	}
	if c.shared && e.unread { // somebody has joined since
		e.confirmed = false
	}
	c.ending = e
	close(c.done)
	return next, c.callers == 0
}

// advance gives the computation that gathered callers while another ran, to be
// run now. mu is held.
func (s *slot) advance() *computation {
	s.running, s.next = s.next, nil
	return s.running
}
