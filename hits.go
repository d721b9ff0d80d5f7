package fncache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/verify"
)

// This file has the tasks that a fresh hit starts in the background, after its caller is
// answered: the value is computed again and compared (Options.Verify), or the entry is refreshed
// before it becomes stale (Options.Early).

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

// --- Refreshing early ---

// A dueHit is a call of a batch whose fresh entry is due to be refreshed: see batch.refreshEarly.
type dueHit struct {
	*call
	order int // the place of the id in the call
	find  func(f *flight) *entry
}

// refreshEarly computes a fresh entry again, under the lease. Meanwhile callers get the fresh
// entry, and a failure has the same Cooldown as for a stale entry. find returns the entry, or nil
// if it must not be refreshed.
//
// Many processes may do this at the same time. Each asks for the lease with the entry that it
// found. If another process has stored a new entry since then, acquire returns the new entry, and
// nothing is computed.
//
// p is the part in a run that refreshes several entries; nil for a run of its own.
func (c *call) refreshEarly(p *part, find func(f *flight) *entry) {
	var f *flight
	started := false
	if !c.cache.life.Closed() {
		f, started = c.cache.flights.BoardEarly(flightKey{c.fn, c.key}, func() *flight { return newFlight(c, flights.ToEarly) })
	}
	if !started {
		p.release()
		return
	}
	f.input, f.tags, f.part = c.ownInput(), c.ownTags(), p
	c.cache.life.Go(func() {
		defer p.release()
		e := find(f)
		if e == nil || !c.cache.leaseEarly(f, e) {
			c.cache.decide(f, absent{})
		}
	})
}

// own returns a copy of a fresh entry that has its own results, because the caller of the flight
// may have the results of e. It returns nil if the results cannot be decoded.
func (c *Cache) own(fn *Func, e *entry) *entry {
	own := *e
	if own.near != nil || own.negative() {
		return &own
	}
	var err error
	if own.decoded, err = fn.decode(c.coder, own.body); err != nil {
		return nil
	}
	return &own
}

// lookAgain reads from Redis an entry that the near cache had. It returns nil if it is not fresh.
// It also returns nil if there is a new entry, which it takes into the near cache.
func (c *Cache) lookAgain(f *flight, id uint64) *entry {
	asked := c.now(f.fn)
	e, s := c.look(f.values(), f.fn, f.key)
	switch {
	case s != fresh:
		return nil
	case e.id != id:
		c.takeEntry(f, e, s, asked)
		return nil
	case c.decode(f.fn, e, f.key, s) != fresh:
		return nil
	}
	return e
}

// look reads an entry, and judges it by the fence on the primary if it has tags. The state is
// cold if Redis does not answer.
func (c *Cache) look(ctx context.Context, fn *Func, key string) (*entry, state) {
	raw, err := c.store.lookup(ctx, key, fn.expected())
	if err != nil {
		return nil, cold
	}
	e, s := c.parse(fn, raw, nil)
	if s == cold || !fn.tagged() {
		return e, s
	}
	v, err := c.weighAgain(ctx, fn, e)
	if err != nil {
		return nil, cold
	}
	return e, fn.allowed(s, v)
}

// leaseEarly asks once for the lease on a fresh entry, and begins to compute if the lease is
// granted. It reports whether the computation has begun.
func (c *Cache) leaseEarly(f *flight, e *entry) bool {
	asked := c.now(f.fn)
	got, ended := c.acquire(f, acquireCompare, e.bytes(), true)
	switch {
	case ended, c.noteRedis(f.fn, opAcquire, f.key, got.err), got.noPlace, got.status == leaseHeld:
		return false
	case got.status == entryChanged:
		_, _, _ = c.takeChanged(f, got.raw, asked)
		return false
	}
	s := stale // the entry can be served meanwhile, as a stale one can
	if !got.present {
		s = cold
		c.correct(f.fn, f.input, f.key, 0)
	}
	c.beginLeased(f, e, s, got)
	return true
}

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
