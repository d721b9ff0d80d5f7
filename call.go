package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// This file is the decision table, for one call and for the flight it shares
// with others:
//
//	entry | this process gets the lease  | somebody else holds it
//	------+------------------------------+-----------------------------
//	fresh | no lease is asked for: serve | serve
//	stale | compute, store, return       | serve the stale one
//	cold  | compute, store, return       | the cold policy
//
// A call boards a flight (flight.go), the flight decides, the call acts on the
// decision: it serves, it waits for a computation (compute.go), it is refused,
// or it finds that what it joined may not answer it, and decides again.

// maxFuture is how far ahead of the server's clock an entry may have been stored:
// less is a clock read a little wrong, and age 0; more is not to be trusted.
const maxFuture = time.Minute

var errFuture = errors.New("stored more than a minute in the future")

// maxRounds is how often a flight goes through the table because acquire found
// an entry other than the one it saw.
const maxRounds = 3

// Polling for a lease that another process holds, while events are not heard.
const (
	pollMin = 10 * time.Millisecond
	pollMax = 250 * time.Millisecond
)

// An entry is what a flight read.
type entry struct {
	envelope
	raw  []byte
	err  error      // what a negative entry stands for
	kept results    // decoded once, by the flight
	near *nearEntry // where the near cache has it, and kept with it
}

// results gives the caller results of its own. alone says that it is the only one
// who is given the entry.
func (e *entry) results(fn *Func, c *Cache, alone bool) (results, error) {
	switch {
	case e.near != nil:
		return e.near.copied(c)
	case alone:
		return e.kept, nil
	default:
		return fn.share(c.coder, e.kept, e.body)
	}
}

// read takes in what the entry holds.
func (e *entry) read(fn *Func, c *coder) (err error) {
	if !e.negative() {
		if err = c.open(&e.envelope); err == nil {
			e.kept, err = fn.decode(c, e.body)
		}
		return err
	}
	var known bool
	if e.err, known = fn.negativeOf(e.body); !known {
		return miss(missUnknownError, "its error is not in Options.CacheErrors here")
	}
	return nil
}

// bytes is what acquire compares; nil of no entry.
func (e *entry) bytes() []byte {
	if e == nil {
		return nil
	}
	return e.raw
}

// A state is how old an entry is by a function's own options.
type state uint8

const (
	cold  state = iota // absent, unreadable, or past Timeout
	stale              // past Freshness
	fresh
)

// --- One call ---

// A call is one call of a wrapped function.
type call struct {
	fn    *Func
	cache *Cache
	ctx   context.Context
	args  arguments
	key   string
	// patient calls cannot report that they gave up or were refused, for the
	// function has no error result.
	patient bool
	// strict calls are about storing (Func.Refresh): what could not be stored
	// is an error.
	strict bool
	rounds int // how often a strict call lost the lease

	limit *time.Timer // of waiting for others; nil until the call waits
	began time.Time   // when it began to wait

	// What the next flight to wait starts from.
	left  time.Duration
	seen  *entry
	asked place
}

// An answer is what a call returns, and where it came from.
type answer struct {
	results results // nil where there are none, but an error
	err     error
	panic   any
	goexit  bool
	source  Source
	age     time.Duration
	cost    time.Duration
}

// answer goes through the table until there is an answer.
func (c *call) answer(refresh bool) answer {
	defer c.stopWaiting()
	p := toLookUp
	if refresh {
		p = toRefresh
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
	if c.cache.closed() {
		return decision{verdict: redisDown, cause: newRedisError(opLookup, c.key, ErrClosed)}, nil
	}
	fs := &c.cache.flights
	if p == toLookUp {
		if err := c.cache.health.refuses(opLookup, c.key); err != nil {
			return decision{verdict: redisDown, cause: err}, nil
		}
	}
	now := time.Now()
	f, start, d := fs.board(c, p, now)
	if f == nil {
		return d, nil
	}
	if start {
		c.cache.fly(f, c, now)
	}
	var limit <-chan time.Time
	if f.purpose != toLookUp { // which has its own
		limit = c.wait()
	}
	select {
	case <-f.done:
		return f.decision, nil
	case <-limit:
		fs.leave(f, c)
		return decision{}, c.cold(0)
	case <-c.cancelled():
		fs.leave(f, c)
		return decision{}, c.ctx.Err()
	}
}

// act does what the table says. again means that the call must decide again,
// on a flight for the purpose in p.
func (c *call) act(d decision, p *purpose) (a answer, again bool) {
	switch d.verdict {
	case serveFresh:
		if d.waited {
			return c.serve(d.entry, SourceWaited, d.alone)
		}
		return c.serve(d.entry, SourceFresh, d.alone)
	case serveStale:
		return c.serve(d.entry, SourceStale, d.alone)
	case holderHere:
		return c.withHolder(d, *p == toRefresh)
	case redisDown:
		if *p != toRefresh {
			if a, ok := c.lastResort(); ok {
				return a, false
			}
		}
		return c.withoutRedis(d)
	}
	// holderElsewhere, and cold.
	switch c.fn.opts.OnCold {
	case Wait:
		*p = toWait
		c.left, c.seen, c.asked = d.left, d.seen, d.asked
		return answer{}, true
	case Compute:
		return c.unleased(d.ended)
	default:
		return c.giveUp(c.cold(d.left))
	}
}

// withHolder is for a computation of this process under a lease: its owner waits
// for the new value, all others are served stale or follow the cold policy.
func (c *call) withHolder(d decision, refresh bool) (a answer, again bool) {
	fs := &c.cache.flights
	switch {
	case d.began && fs.own(d.holder, c):
		return c.awaitOwn(d)
	case d.entry != nil:
		return c.serve(d.entry, SourceStale, false)
	case refresh || c.fn.opts.OnCold == Wait:
		limit, passed := c.waitHere()
		if passed {
			return c.giveUp(c.cold(fs.leaseLeft(d.holder)))
		}
		fs.join(d.holder)
		return c.awaitJoined(d.holder, limit)
	case c.fn.opts.OnCold == Compute:
		return c.unleased(d.ended)
	default:
		return c.giveUp(c.cold(fs.leaseLeft(d.holder)))
	}
}

// withoutRedis computes in this process, once per key at a time and under the
// cold policy: what already computes the key here is the holder, as far as
// anybody can know.
func (c *call) withoutRedis(d decision) (a answer, again bool) {
	fs := &c.cache.flights
	if c.strict || c.cache.cfg.OnRedisDown == DownError && !c.patient {
		return c.giveUp(fmt.Errorf("%w; function %s, key %s", d.cause, c.fn.Name(), c.key))
	}
	if holder := fs.computing(flightKey{c.fn, c.key}); holder != nil {
		return c.withHolder(decision{holder: holder, ended: d.ended}, false)
	}
	if c.fn.opts.OnCold != Fail || c.patient {
		return c.unleased(d.ended)
	}
	comp := fs.startUnleased(c)
	if comp == nil {
		return c.giveUp(c.cold(0))
	}
	c.cache.spawn(comp.run)
	return c.awaitOwn(decision{holder: comp})
}

// unleased computes in this process, once for all callers who may share it, and
// stores nothing.
func (c *call) unleased(ended uint64) (a answer, again bool) {
	comp, own, start := c.cache.flights.shareUnleased(c, ended)
	if start {
		c.cache.spawn(comp.run)
	}
	if a, over := c.awaitTurn(comp); over {
		return a, false
	}
	if own {
		return c.awaitOwn(decision{holder: comp})
	}
	return c.awaitJoined(comp, nil)
}

// awaitTurn waits until a computation has a slot of Options.MaxConcurrent; over
// means that the call has ended before.
func (c *call) awaitTurn(comp *computation) (a answer, over bool) {
	if c.fn.bulkhead == nil {
		return answer{}, false
	}
	var limit <-chan time.Time
	if !c.patient {
		limit = c.wait()
	}
	select {
	case <-comp.started:
		return answer{}, false
	case <-comp.done:
		return answer{}, false
	case <-limit:
		c.cache.flights.quit(comp)
		a, _ = c.giveUp(c.cold(0))
		return a, true
	case <-c.cancelled():
		c.cache.flights.quit(comp)
		a, _ = c.giveUp(c.ctx.Err())
		return a, true
	}
}

// awaitOwn waits for the computation that is this call's own.
func (c *call) awaitOwn(d decision) (a answer, again bool) {
	var soft <-chan time.Time
	if d.entry != nil && c.fn.opts.SoftTimeout > 0 {
		timer := time.NewTimer(c.fn.opts.SoftTimeout)
		defer timer.Stop()
		soft = timer.C
	}
	for {
		select {
		case <-d.holder.done:
			return c.take(d.holder)
		case <-soft:
			soft = nil
			if c.cache.servable(c.fn, d.entry) {
				c.cache.flights.quit(d.holder)
				return c.serve(d.entry, SourceStale, false)
			}
		case <-c.cancelled():
			c.cache.flights.quit(d.holder)
			return c.giveUp(c.ctx.Err())
		}
	}
}

// awaitJoined waits for another call's computation.
func (c *call) awaitJoined(comp *computation, limit <-chan time.Time) (a answer, again bool) {
	select {
	case <-comp.done:
		return c.share(comp)
	case <-limit:
		c.cache.flights.quit(comp)
		return c.giveUp(c.cold(c.cache.flights.leaseLeft(comp)))
	case <-c.cancelled():
		c.cache.flights.quit(comp)
		return c.giveUp(c.ctx.Err())
	}
}

// take gives the owner of a computation its end.
func (c *call) take(comp *computation) (a answer, again bool) {
	e := &comp.ending
	if e.late && c.patient {
		// It has no error result to be told by, and waits for the value that
		// the cache has dropped.
		<-comp.returned
		e = &ending{returned: comp.ret}
	}
	if c.strict && !e.failed() {
		return c.takeStrictly(e)
	}
	if e.panic != nil || e.goexit {
		return answer{panic: e.panic, goexit: e.goexit, source: SourceFailed}, false
	}
	if e.stale != nil && c.cache.servable(c.fn, e.stale) {
		return c.serve(e.stale, SourceStale, false)
	}
	if e.err != nil {
		a = answer{results: e.results, err: e.err, source: SourceFailed, cost: e.cost}
		if e.negative {
			a.source = SourceComputed
		}
		return a, false
	}
	results := e.results // as they are, if they do not survive the codec
	if e.body != nil {
		if own, err := c.fn.share(c.cache.coder, e.decoded, e.body); err == nil {
			results = own
		}
	}
	return answer{results: results, source: SourceComputed, cost: e.cost}, false
}

// takeStrictly is take for a call that is about storing.
func (c *call) takeStrictly(e *ending) (a answer, again bool) {
	a = answer{panic: e.panic, goexit: e.goexit, source: SourceComputed, cost: e.cost}
	switch {
	case e.panic != nil || e.goexit:
		a.source = SourceFailed
		return a, false
	case e.shared:
		return a, false
	case e.body == nil:
		a.err = fmt.Errorf("fncache: refresh %s: the result does not survive encoding, so it is not stored", c.fn.Name())
	case e.stepErr != nil:
		a.err = fmt.Errorf("%w; function %s, key %s", e.stepErr, c.fn.Name(), c.key)
	default:
		if c.rounds++; c.rounds < maxRounds {
			return answer{}, true
		}
		a.err = fmt.Errorf("%w: %s was invalidated while it was recomputed, %d times; function %s",
			ErrLeaseLost, c.key, c.rounds, c.fn.Name())
	}
	a.source = SourceFailed
	return a, false
}

// share gives a joiner of a computation its end, or has it decide again where
// the end is not for joiners.
func (c *call) share(comp *computation) (a answer, again bool) {
	e := &comp.ending
	switch {
	case !e.shared:
		return answer{}, true
	case e.panic != nil:
		return c.sharePanic(e.panic), false
	case e.goexit:
		return c.giveUp(fmt.Errorf("%w; function %s, key %s", ErrGoexit, c.fn.Name(), c.key))
	case e.negative:
		c.fn.counters.savedTime.Add(int64(e.cost))
		return answer{err: e.err, source: SourceWaited, cost: e.cost}, false
	case e.err != nil:
		return c.giveUp(e.err)
	}
	results, err := c.fn.share(c.cache.coder, e.decoded, e.body)
	if err != nil {
		return answer{}, true
	}
	c.fn.counters.savedTime.Add(int64(e.cost))
	return answer{results: results, source: SourceWaited, cost: e.cost}, false
}

// sharePanic returns the panic of another call's computation as an error, or
// panics too where there is no error to return.
func (c *call) sharePanic(value any) answer {
	if c.patient {
		return answer{panic: value, source: SourceFailed}
	}
	err, ok := value.(error)
	if !ok {
		err = fmt.Errorf("fncache: the function panicked: %v", value)
	}
	return answer{err: err, source: SourceFailed}
}

// serve gives the call its copy of an entry, or the entry's own where the call is
// alone with it.
func (c *call) serve(e *entry, source Source, alone bool) (a answer, again bool) {
	if e.negative() {
		c.fn.counters.savedTime.Add(int64(e.cost))
		return answer{err: e.err, source: source, age: c.cache.age(e), cost: e.cost}, false
	}
	results, err := e.results(c.fn, c.cache, alone)
	if err != nil {
		// The flight could decode it: a codec of the user's own that changes
		// its mind. Decide again.
		return answer{}, true
	}
	c.fn.counters.savedTime.Add(int64(e.cost))
	return answer{results: results, source: source, age: c.cache.age(e), cost: e.cost}, false
}

// giveUp ends the call with an error. One without an error result computes
// instead, shared like any computation without a lease.
func (c *call) giveUp(err error) (a answer, again bool) {
	if c.patient {
		return c.unleased(c.cache.flights.present())
	}
	source := SourceFailed
	if _, refused := err.(*ColdCacheError); refused { //nolint:errorlint // made by c.cold, not wrapped
		source = SourceRefused
	}
	return answer{err: err, source: source}, false
}

// direct calls the function on the caller's goroutine, past the cache.
func (c *call) direct() answer {
	ctx, _ := enterFrame(c.ctx, "")
	results, err := c.fn.shape.invoke(ctx, c.args)
	return answer{results: results, err: err, source: SourceBypassed}
}

func (c *call) cold(left time.Duration) error {
	err := &ColdCacheError{Func: c.fn.Name(), Key: c.key, LeaseLeft: max(left, 0)}
	if c.limit != nil {
		err.Waited = time.Since(c.began)
	}
	return err
}

// wait starts the clock of waiting for others, once for a call.
func (c *call) wait() <-chan time.Time {
	if c.limit == nil {
		c.began = time.Now()
		c.limit = time.NewTimer(c.fn.waitLimit())
	}
	return c.limit.C
}

// waitHere is wait for a computation of this process. Without a WaitTimeout its
// own ComputeTimeout is the bound, and the answer says so; the limit, of the same
// length, only ends a call that decides again and again.
func (c *call) waitHere() (limit <-chan time.Time, passed bool) {
	limit = c.wait()
	if c.fn.opts.WaitTimeout > 0 {
		return limit, false
	}
	return nil, time.Since(c.began) >= c.fn.waitLimit()
}

func (c *call) stopWaiting() {
	if c.limit != nil {
		c.limit.Stop()
	}
}

// ownArgs gives arguments that the caller cannot change under a computation.
func (c *call) ownArgs() arguments {
	if c.fn.copied {
		return c.fn.shape.own(c.args)
	}
	return c.args
}

// cancelled is closed when the caller gives up, if it can say so.
func (c *call) cancelled() <-chan struct{} {
	if c.patient {
		return nil
	}
	return c.ctx.Done()
}

// --- One flight ---

// fly has a flight run to its decision, for the call that began it.
func (c *Cache) fly(f *flight, by *call, now time.Time) {
	switch f.purpose {
	case toLookUp:
		if !c.lookUpDirectly(f, by, now) {
			c.readers.read(f)
		}
	default:
		c.spawn(func() { c.poll(f) })
	}
}

// lookUp reads the entries of some flights, in one round trip.
func (c *Cache) lookUp(ctx context.Context, batch []*flight) {
	if batch = c.flights.wanted(batch); len(batch) == 0 {
		return
	}
	keys := make([]string, len(batch))
	for i, f := range batch {
		keys[i] = f.key
	}
	clock := c.readClock(ctx)
	asked := c.events.here()
	began := time.Now()
	replies := c.store.lookup(ctx, keys...)
	c.direct.note(time.Since(began), replies[0].err)
	if clock != nil {
		select {
		case <-clock:
		case <-ctx.Done():
		}
	}
	for i, f := range batch {
		c.haveRead(f, replies[i].raw, replies[i].err, asked)
	}
}

// haveRead goes through the table with what was read, and asked for at some place
// in the order of events.
func (c *Cache) haveRead(f *flight, raw []byte, err error, asked place) {
	if err != nil && !errors.Is(err, errWrongType) {
		if c.flights.hasRead(f) {
			c.noteRedis(f.fn, opLookup, f.key, err)
			c.flights.decide(f, decision{verdict: redisDown, cause: err})
		}
		return
	}
	c.noteRedis(f.fn, opLookup, f.key, nil)
	e, s := c.judge(f.fn, raw, err)
	if s == fresh {
		c.keepRead(f, e, asked)
		c.flights.decide(f, decision{verdict: serveFresh, entry: e})
		return
	}
	if !c.flights.hasRead(f) {
		return // its callers were told that Redis is away
	}
	c.spawn(func() {
		if d, ok := c.resolve(f, e, s); ok {
			c.flights.decide(f, d)
		}
	})
}

// keepRead has the near cache keep what was read.
func (c *Cache) keepRead(f *flight, e *entry, asked place) {
	e.near = c.keep(f.fn, f.args, f.key, asked, &e.envelope, e.kept)
}

// timeOut ends the flights whose lookup has taken longer than RedisTimeout,
// whatever go-redis still does for it.
func (c *Cache) timeOut() {
	late := c.flights.overdue(time.Now())
	if len(late) == 0 {
		return
	}
	cause := c.store.timedOut()
	for _, f := range late {
		err := newRedisError(opLookup, f.key, cause)
		c.readers.writeOff(f)
		c.noteRedis(f.fn, opLookup, f.key, err)
		c.flights.decide(f, decision{verdict: redisDown, cause: err})
	}
}

// resolve goes through the table with an entry that is not fresh. ok is false
// where the flight has ended in a computation.
func (c *Cache) resolve(f *flight, e *entry, s state) (d decision, ok bool) {
	for range maxRounds {
		if s == stale && c.flights.computing(f.flightKey) != nil {
			return decision{verdict: serveStale, entry: e}, true
		}
		token, sent, asked := newToken(), time.Now(), c.events.here()
		lease := f.fn.lease(c)
		got, err := c.store.acquire(f.ctx, f.key, token, lease, acquireCompare, e.bytes(), s == stale)
		if c.noteRedis(f.fn, opAcquire, f.key, err) {
			return decisionWithoutRedis(e, s, err), true
		}
		if got.status == entryChanged {
			if e, s = c.judge(f.fn, got.raw, nil); s == fresh {
				c.keepRead(f, e, asked)
				return decision{verdict: serveFresh, entry: e}, true
			}
			continue
		}
		if !got.present {
			s = cold
		}
		if got.status == leaseHeld {
			return c.heldBy(f, e, s, got, asked), true
		}
		c.begin(f, e, s, got.token, sent.Add(lease))
		return decision{}, false
	}
	return c.heldBy(f, e, s, acquisition{}, place{}), true
}

// heldBy decides where the lease is somebody else's, as was asked at some place.
func (c *Cache) heldBy(f *flight, e *entry, s state, got acquisition, asked place) decision {
	if s == stale {
		return decision{verdict: serveStale, entry: e}
	}
	if holder := c.flights.joinable(f.flightKey, got.holder); holder != nil {
		return decision{verdict: holderHere, holder: holder}
	}
	return decision{verdict: holderElsewhere, left: got.left, seen: e, asked: asked}
}

// decisionWithoutRedis serves what is at hand rather than computing.
func decisionWithoutRedis(e *entry, s state, err error) decision {
	if s == stale {
		return decision{verdict: serveStale, entry: e}
	}
	return decision{verdict: redisDown, cause: err}
}

// begin starts the computation under the lease that f was granted, and ends f.
func (c *Cache) begin(f *flight, e *entry, s state, token string, leaseEnd time.Time) {
	comp := c.newComputation(f.flightKey, f.ctx, f.args)
	comp.token, comp.leaseEnd = token, leaseEnd
	var atHand *entry
	if s == stale {
		atHand = e
	}
	comp.stale = atHand
	// A refresh does not look what is there.
	comp.cached = atHand != nil || f.purpose == toRefresh
	behind := atHand != nil && f.fn.opts.OnStale == Background
	c.flights.lead(f, comp, atHand, behind)
	c.spawn(comp.run)
}

// poll asks for the lease, whenever there is reason to, until the flight can
// decide or nobody waits for it any more.
func (c *Cache) poll(f *flight) {
	c.subscribe()
	w := c.events.watch(f.key)
	defer w.end()
	d, ok := decision{verdict: holderElsewhere, left: f.left, seen: f.seen, asked: f.asked}, true
	if f.purpose == toRefresh {
		d, ok = c.refresh(f)
	}
	for backoff := pollMin; ok && d.verdict == holderElsewhere; backoff = min(2*backoff, pollMax) {
		if !c.pause(w, backoff, d) {
			d = decision{verdict: redisDown, cause: newRedisError(opAcquire, f.key, ErrClosed)}
			break
		}
		if c.flights.abandon(f) {
			return
		}
		if f.purpose == toRefresh {
			d, ok = c.refresh(f)
		} else {
			d, ok = c.resolve(f, d.seen, cold)
		}
	}
	if ok {
		c.flights.decide(f, d)
	}
}

// pause waits until it is time to ask for a lease again: when something has
// happened to the key, when the lease may have run out, or when its holder in
// this process is done. Where events are not heard it also waits no longer than
// the backoff, jittered so that processes do not ask in step. It is false if the
// cache was closed.
func (c *Cache) pause(w *watcher, backoff time.Duration, d decision) bool {
	wait := d.left + time.Millisecond // just after it
	switch w.since(d.asked) {
	case newsPossible:
		return !c.closed()
	case newsUnheard:
		if polled := backoff/2 + rand.N(backoff); d.left <= 0 || polled < wait {
			wait = polled
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var done <-chan struct{}
	if d.holder != nil {
		done = d.holder.done
	}
	select {
	case <-timer.C:
		return true
	case <-w.woken:
		return true
	case <-done:
		return true
	case <-c.closing:
		return false
	}
}

// refresh asks once for the lease, whatever the entry is. ok is false where the
// flight has ended in a computation.
func (c *Cache) refresh(f *flight) (d decision, ok bool) {
	token, sent, asked := newToken(), time.Now(), c.events.here()
	lease := f.fn.lease(c)
	got, err := c.store.acquire(f.ctx, f.key, token, lease, acquireRefresh, nil, false)
	switch {
	case c.noteRedis(f.fn, opAcquire, f.key, err):
		return decision{verdict: redisDown, cause: err}, true
	case got.status == leaseHeld:
		// What is computed now began before the call: it is waited for, and not
		// taken.
		return decision{verdict: holderElsewhere, left: got.left, asked: asked, holder: c.flights.computing(f.flightKey)}, true
	}
	c.begin(f, nil, cold, got.token, sent.Add(lease))
	return decision{}, false
}

// --- What an entry is worth ---

// judge tells what state an entry is in. What cannot be read is cold, counted
// and logged, and never a value.
func (c *Cache) judge(fn *Func, raw []byte, err error) (*entry, state) {
	if raw == nil && err == nil {
		return nil, cold
	}
	e := &entry{raw: raw}
	if err == nil {
		e.envelope, err = parseEnvelope(raw)
	}
	since := c.clock.now() - e.storedAt
	if err == nil && since < -maxFuture.Milliseconds() {
		err = errFuture
	}
	var s state
	if err == nil {
		if s = fn.state(e, max(0, time.Duration(since)*time.Millisecond)); s == cold {
			return e, cold
		}
		err = e.read(fn, c.coder)
	}
	if err != nil {
		fn.counters.undecodable.Add(1)
		c.log.once("undecodable "+fn.Name(), slog.LevelWarn, "entry cannot be read: it is a miss, and will be replaced",
			"func", fn.Name(), "err", err)
		return e, cold
	}
	return e, s
}

// age is how long ago an entry was stored, on the server's clock.
func (c *Cache) age(e *entry) time.Duration {
	return max(0, time.Duration(c.clock.now()-e.storedAt)*time.Millisecond)
}

// servable says whether an entry may still be served.
func (c *Cache) servable(fn *Func, e *entry) bool {
	return fn.state(e, c.age(e)) != cold
}

// state tells the state of an entry of that age.
func (f *Func) state(e *entry, age time.Duration) state {
	freshness, timeout := f.freshness(e.id), f.opts.Timeout
	if e.negative() {
		freshness, timeout = f.opts.ErrorTimeout, f.opts.ErrorTimeout
	}
	switch {
	case age < freshness:
		return fresh
	case age < timeout:
		return stale
	default:
		return cold
	}
}

// freshness is how long the entry of that id is fresh: Options.Jitter takes off a
// part that is the entry's own, so that all processes agree on it.
func (f *Func) freshness(id uint64) time.Duration {
	if f.opts.Jitter == 0 {
		return f.opts.Freshness
	}
	part := float64(id>>11) / (1 << 53) // uniform in [0, 1)
	return f.opts.Freshness - time.Duration(f.opts.Jitter*part*float64(f.opts.Freshness))
}
