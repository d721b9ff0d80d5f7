package fncache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/verify"
)

// This file has what a fresh hit sets off in the background, after its caller is answered: the
// value is computed again and compared (Options.Verify).

// setOff begins what an answer from the near cache has set off.
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
}

// withdraw takes back what is due.
func (d dues) withdraw(f *Func) {
	if d&dueVerify != 0 {
		f.verify.End()
	}
}

// hit begins what an answer with a fresh entry from Redis sets off.
func (c *call) hit(e *entry) {
	if c.fn.verify.Draw() {
		body := e.body // results may be the caller's own by now
		c.verify(e.id, e.err, func() (shape.Results, error) { return c.fn.decodeHere(c.cache.coder, body) })
	}
}

// --- Verifying ---

// A verification computes the value of an entry again. It runs the function as a computation
// does, but without a lease: it stores nothing, collects no tags, and is not counted among the
// computations.
//
// The order of events that must not count as a difference:
//  1. the data are changed;
//  2. the function is run, and reads the new data;
//  3. the entry is invalidated.
//
// So a difference counts only if the entry is there and fresh after settleTime.
type verification struct {
	*call
	args   input
	id     uint64
	answer error                         // what the entry stands for, if that is an error
	value  func() (shape.Results, error) // what it holds
}

// settleTime is how long an invalidation may come after the change of the data that it is for.
// It is a variable for tests of real servers.
var settleTime = time.Second

// verify begins a verification that was drawn.
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
			c.cache.log.Once("verify fault "+c.fn.Name(), slog.LevelError, "a value could not be verified", "func", c.fn.Name(), "why", run.Fault)
		}
	})
}

// run computes, compares, and counts.
func (v *verification) run() {
	again := v.compute()
	if again == nil {
		return
	}
	verdict, err := verify.Compare(v.encoderOf(v.value, v.answer), again)
	switch {
	case err != nil: // what cannot be encoded is not stored either
	case verdict == verify.Equal:
		v.fn.verify.Same()
	case verdict == verify.Unstable:
		v.fn.verify.GiveUp()
		v.cache.log.Once("verify unstable "+v.fn.Name(), slog.LevelWarn,
			"values of this function are not verified: the same value encodes in two ways; have the methods by which its types encode themselves write the same bytes each time",
			"func", v.fn.Name())
	case v.cache.store.pause(settleTime) && v.stands():
		v.fn.verify.Differed()
		v.cache.log.Once("verify differs "+v.fn.Name(), slog.LevelWarn,
			"a fresh entry differs from what the function returns now: its result depends on something that is no part of the key, or an invalidation is missing",
			"func", v.fn.Name())
	}
}

// compute runs the function, and returns what encodes the outcome; nil if there is none to
// compare.
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

// encoderOf returns what encodes an outcome so that equal outcomes have equal encodings: an
// error that is an answer, or results after a trip through the codec.
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

// stands reports whether the entry is still there, fresh and not overtaken.
func (v *verification) stands() bool {
	ctx := context.WithoutCancel(v.ctx)
	raw, err := v.cache.store.lookup(ctx, v.key, v.fn.expected())
	if err != nil {
		return false
	}
	e, s := v.cache.parse(v.fn, raw, nil)
	if s != fresh || e.id != v.id {
		return false
	}
	if !v.fn.tagged() {
		return true
	}
	verdict, err := v.cache.weighAgain(ctx, v.fn, e)
	return err == nil && verdict == fence.Valid
}
