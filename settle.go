package fncache

import (
	"errors"
	"log/slog"
	"time"
)

// This file says what becomes of an error of the function, and of a result that
// Redis did not take.

// Storing again what Redis did not take.
const (
	storeAgainMin = 100 * time.Millisecond
	storeAgainMax = time.Second
)

// takeNegative makes an answer of an error of Options.CacheErrors: what callers
// get is that error, as whoever reads the entry later will.
func (c *computation) takeNegative(e *ending) (raw []byte) {
	for _, listed := range c.fn.opts.CacheErrors {
		if c.consult("CacheErrors", func() bool { return errors.Is(e.err, listed) }) {
			e.err, e.results, e.negative = listed, nil, true
			return append(make([]byte, envelopeHeaderLen), listed.Error()...)
		}
	}
	return nil
}

// negativeOf gives the error that a negative entry stands for: the one of this
// process's list that has its text.
func (f *Func) negativeOf(body []byte) (error, bool) { //nolint:revive // the error is the value
	for _, listed := range f.opts.CacheErrors {
		if listed.Error() == string(body) {
			return listed, true
		}
	}
	return nil, false
}

// takeStale has the stale entry served in place of an error, where there is one
// and the policy says so.
func (c *computation) takeStale(e *ending) {
	if !e.failed() || e.negative || c.stale == nil || c.fn.opts.OnError != ServeStale || !c.cache.servable(c.fn, c.stale) {
		return
	}
	staleIf := c.fn.opts.StaleIf
	if staleIf == nil || c.consult("StaleIf", func() bool { return staleIf(e.err) }) {
		e.stale = c.stale
	}
}

// consult asks code of the user's own about an error, on a goroutine of its own.
// Where it panics or ends its goroutine, which here would end the process or leave
// all callers waiting, the answer is no; so it is where it takes Lease/3, in which the
// lease, that is renewed no more, stays good.
func (c *computation) consult(what string, ask func() bool) (yes bool) {
	answer := make(chan bool, 1)
	failed := make(chan string, 1)
	c.cache.spawn(func() {
		normal := false
		defer func() {
			switch value := recover(); {
			case normal:
			case value != nil:
				failed <- "panicked: " + panicText(value)
			default:
				failed <- "ended its goroutine"
			}
		}()
		yes := ask()
		normal = true
		answer <- yes
	})
	limit := time.NewTimer(c.fn.lease(c.cache) / 3)
	defer limit.Stop()
	var how string
	select {
	case yes := <-answer:
		return yes
	case how = <-failed:
	case <-limit.C:
		how = "took a third of Options.Lease"
	}
	c.cache.log.once(what+" "+c.fn.Name(), slog.LevelError, what+" gave no answer about an error: taken as a no",
		"func", c.fn.Name(), "why", how)
	return false
}

// storeLater stores behind what Redis did not take, as soon as it does, while the
// lease can still be ours: the script says whether it is. The callers have long
// been answered.
func (c *computation) storeLater(env *envelope, raw []byte, until time.Time) {
	for wait := storeAgainMin; time.Now().Add(wait).Before(until); wait = min(2*wait, storeAgainMax) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.cache.closing:
			timer.Stop()
			_, _ = c.cache.store.release(c.ctx, c.key, c.token)
			return
		}
		held, err := c.storeOnce(env, raw)
		switch {
		case c.cache.noteRedis(c.fn, opStore, c.key, err):
			if !worthAnotherTry(err) {
				_, _ = c.cache.store.release(c.ctx, c.key, c.token)
				return
			}
		case held:
			c.fn.counters.stored.Add(1)
			return
		default:
			c.lose()
			return
		}
	}
}

// worthAnotherTry says whether an operation that failed may be done if it is sent
// again soon: Redis is away, and not unable or unwilling.
func worthAnotherTry(err error) bool {
	var failure *RedisError
	return errors.As(err, &failure) && (kindFacts[failure.Kind].away || failure.Kind == KindReadOnly)
}
