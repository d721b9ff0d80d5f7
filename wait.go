package fncache

import (
	"fmt"
	"time"

	"github.com/fncache/fncache/internal/shape"
)

// This file has what a call does after a decision (call.go) about a computation: it waits for
// the computation and takes its outcome, or is refused. It also has the computations without a
// lease, while Redis is away or because the cold policy is Compute.

// confirms reports whether a caller that joined an ended computation may take its confirmed outcome.
// ended is the place in the order of events where the caller's decision ended. The last reading of the fence does not count for a caller that
// joined later, because it has found that the lease is still held: an invalidation of the key takes
// the lease away, but an invalidation of a tag does not (X6 of docs/protocol.md).
func (c *computation) confirms(ended uint64) bool {
	return c.ending.confirmed && (c.tally == nil || !c.SettledBy(ended))
}

// mayAnswer reports whether such a caller may take an outcome that was not confirmed: if the
// computation began after the caller's decision, because its result is then not older than the
// call; or if the caller could not ask Redis, and the lease is not known to be lost.
func (c *computation) mayAnswer(ended uint64) bool {
	if ended == 0 {
		return !c.ending.lost
	}
	return c.BeganAfter(ended)
}

// withBegun handles a computation under a lease that the call's own flight has begun: its
// owner waits for the new value. All others get the stale entry or follow the cold policy.
func (c *call) withBegun(comp *computation, ended uint64, refresh bool) (a answer, again bool) {
	switch {
	case c.cache.flights.MakeOwner(comp, c):
		return c.awaitOwn(comp)
	case comp.stale != nil:
		return c.serve(comp.stale, SourceStale, false)
	default:
		return c.withHolder(comp, ended, refresh)
	}
}

// withHolder applies the cold policy if another call of this process has begun a computation
// and there is no entry to serve.
func (c *call) withHolder(comp *computation, ended uint64, refresh bool) (a answer, again bool) {
	fs := &c.cache.flights
	switch {
	case refresh || c.fn.opts.OnCold == Wait:
		limit, passed := c.waitHere()
		if passed {
			return c.giveUp(c.cold(fs.LeaseLeft(comp)))
		}
		fs.Join(comp)
		return c.awaitJoined(comp, ended, limit)
	case c.fn.opts.OnCold == Compute:
		return c.unleased(ended)
	default:
		return c.giveUp(c.cold(fs.LeaseLeft(comp)))
	}
}

// withoutRedis computes in this process, one computation per key at a time, under the cold
// policy. A computation of the key that already runs in this process counts as the holder. A
// call that refreshes takes no computation that began before it. cause is why Redis is not
// asked.
func (c *call) withoutRedis(cause error, ended uint64, refresh bool) (a answer, again bool) {
	fs := &c.cache.flights
	if c.strict || c.cache.cfg.OnRedisDown == DownError && !c.patient {
		return c.giveUp(fmt.Errorf("%w; function %s, key %s", cause, c.fn.Name(), c.key))
	}
	if refresh {
		ended = c.since
	}
	if holder, began := fs.HolderOf(flightKey{c.fn, c.key}); holder != nil && !holder.Cancelled() {
		if refresh && began <= c.since && c.fn.opts.OnCold == Wait {
			return c.outlast(holder)
		}
		return c.withHolder(holder, ended, false)
	}
	if c.fn.opts.OnCold != Fail || c.patient {
		return c.unleased(ended)
	}
	passes := c.nested()
	comp, full := fs.Start(flightKey{c.fn, c.key}, passes, c.part.places(c.fn).Try, c.newUnleased)
	switch {
	case full:
		return c.giveUp(c.full())
	case comp == nil:
		return c.giveUp(c.cold(0))
	}
	comp.slotted = !passes && c.fn.places != nil
	c.give(comp)
	comp.start()
	return c.awaitOwn(comp)
}

// unleased computes in this process, once for all callers that may share the result, and
// stores nothing.
func (c *call) unleased(ended uint64) (a answer, again bool) {
	comp, own, start := c.cache.flights.Share(flightKey{c.fn, c.key}, ended, c.nested(), c.newUnleased)
	if own {
		c.give(comp)
	}
	if start {
		comp.start()
	}
	var limit <-chan time.Time
	if atOnce := start && c.fn.opts.MaxConcurrent == 0; !atOnce {
		var over bool
		if limit, a, over = c.awaitTurn(comp); over {
			return a, false
		}
	}
	if own {
		return c.awaitOwn(comp)
	}
	return c.awaitJoined(comp, ended, limit)
}

// alone computes for this call only, without a lease, because no computation can be shared.
func (c *call) alone() (a answer, again bool) {
	comp := c.newUnleased()
	comp.Single(c.nested())
	c.give(comp)
	comp.start()
	if c.fn.opts.MaxConcurrent > 0 {
		var over bool
		if _, a, over = c.awaitTurn(comp); over {
			return a, false
		}
	}
	return c.awaitOwn(comp)
}

// give copies the arguments for a computation that c owns. This may take long, so
// no lock is held. The computation waits for the copies.
func (c *call) give(comp *computation) {
	comp.input = c.ownInput()
	close(comp.given)
}

// awaitTurn waits until a computation without a lease has begun: the one before it has ended,
// and a place of Options.MaxConcurrent is free. over reports that the call has ended before
// that. Otherwise limit is how long the call may wait for the end, if it does not own the
// computation.
func (c *call) awaitTurn(comp *computation) (limit <-chan time.Time, a answer, over bool) {
	c.part.release()
	if !c.patient && c.fn.opts.OnCold == Wait { // under Compute no call is refused
		limit = c.wait()
	}
	select {
	case <-comp.Started:
	case <-comp.Done:
	case <-limit:
		refused := c.cold(0)
		if c.cache.flights.QuitTurn(comp.flightKey, comp) {
			refused = c.full()
		}
		a, _ = c.giveUp(refused)
		return nil, a, true
	case <-c.cancelled():
		c.cache.flights.Quit(comp)
		a, _ = c.giveUp(c.ctx.Err())
		return nil, a, true
	}
	if c.fn.opts.WaitTimeout == 0 && time.Since(c.began) < c.cache.cfg.RedisTimeout {
		// The computation began when the call came, so its own ComputeTimeout is the same
		// bound, and its outcome reports that timeout.
		limit = nil
	}
	return limit, answer{}, false
}

// awaitOwn waits for the computation that this call owns.
func (c *call) awaitOwn(comp *computation) (a answer, again bool) {
	c.part.release()
	c.waitIsOver()
	var soft <-chan time.Time
	if comp.stale != nil && c.fn.opts.SoftTimeout > 0 {
		timer := time.NewTimer(c.fn.opts.SoftTimeout)
		defer timer.Stop()
		soft = timer.C
	}
	for {
		select {
		case <-comp.Done:
			return c.take(comp)
		case <-soft:
			soft = nil
			if c.cache.servable(c.fn, comp.stale) {
				c.cache.flights.Quit(comp)
				return c.serve(comp.stale, SourceStale, false)
			}
		case <-c.cancelled():
			c.cache.flights.Quit(comp)
			return c.giveUp(c.ctx.Err())
		}
	}
}

// awaitJoined waits for another call's computation, after a decision that ended at the place
// ended.
func (c *call) awaitJoined(comp *computation, ended uint64, limit <-chan time.Time) (a answer, again bool) {
	c.part.release()
	select {
	case <-comp.Done:
		return c.share(comp, ended, limit)
	case <-limit:
		c.cache.flights.Quit(comp)
		return c.giveUp(c.cold(c.cache.flights.LeaseLeft(comp)))
	case <-c.cancelled():
		c.cache.flights.Quit(comp)
		return c.giveUp(c.ctx.Err())
	}
}

// outlast waits for the end of a computation that may not answer this call, so that the key has
// one computation at a time. Then the call decides again.
func (c *call) outlast(comp *computation) (a answer, again bool) {
	limit, passed := c.waitHere()
	if passed {
		return c.giveUp(c.cold(c.cache.flights.LeaseLeft(comp)))
	}
	c.part.release()
	select {
	case <-comp.Done:
		return answer{}, true
	case <-limit:
		return c.giveUp(c.cold(c.cache.flights.LeaseLeft(comp)))
	case <-c.cancelled():
		return c.giveUp(c.ctx.Err())
	}
}

// take returns the outcome of a computation to its owner.
func (c *call) take(comp *computation) (a answer, again bool) {
	c.inheritRun(comp)
	e := &comp.ending
	if e.late && c.patient {
		// The call has no error result to report the timeout, so it waits for the value, which
		// the cache has dropped.
		<-comp.returned
		if comp.encoding != nil {
			<-comp.encoding.Ended
		}
		c.inheritRun(comp) // also the tags that were added after ComputeTimeout
		if hand := comp.keptLate(); hand != nil {
			return c.serve(hand, SourceStale, false)
		}
		e = &ending{funcEnd: comp.ret}
		if e.normal() {
			if own := comp.copied(e.results); own != nil { // callers that waited copy e.results
				e.results = own
			}
		}
	}
	if c.strict && e.normal() {
		return c.takeStrictly(e)
	}
	if e.panic != nil || e.goexit {
		return answer{panic: e.panic, goexit: e.goexit, source: SourceFailed}, false
	}
	if e.stale != nil && c.cache.servable(c.fn, e.stale) {
		return c.serve(e.stale, SourceStale, false)
	}
	if c.patient && e.err != nil && e.results == nil {
		// The function was not called, because the cache was closed while the computation waited
		// for its turn. Without an error result the caller would take that for zero values.
		return c.giveUp(e.err)
	}
	if e.err != nil {
		a = answer{results: e.results, err: e.err, source: SourceFailed, cost: e.cost}
		if e.negative {
			a.source = SourceComputed
		}
		return a, false
	}
	results := e.results // unchanged, if the codec cannot restore them
	if e.body != nil {
		if own, err := c.fn.share(c.cache.coder, e.decoded, e.body); err == nil {
			results = own
		}
	}
	return answer{results: results, source: SourceComputed, cost: e.cost}, false
}

// takeStrictly does what take or share do for a strict call, if the function returned a result.
func (c *call) takeStrictly(e *ending) (a answer, again bool) {
	a = answer{source: SourceComputed, cost: e.cost}
	switch {
	case e.stored():
		a.results, _ = c.copyOf(e)
		return a, false
	case e.unstored != nil:
		a.err = fmt.Errorf("fncache: refresh: the result is not stored: %w; function %s, key %s", e.unstored, c.fn.Name(), c.key)
	case e.stepErr != nil:
		a.err = fmt.Errorf("%w; function %s, key %s", e.stepErr, c.fn.Name(), c.key)
	default:
		if c.rounds++; c.rounds < maxRounds {
			return answer{}, true
		}
		a.err = fmt.Errorf("%w: %s lost its lease while it was recomputed, %d times, by an invalidation or because it expired unrenewed; try again, or invalidate less often; function %s",
			ErrLeaseLost, c.key, c.rounds, c.fn.Name())
	}
	a.source = SourceFailed
	return a, false
}

// share returns the outcome of a computation to a call that joined it. If the outcome may not
// answer joiners, the call decides again. limit is how long it may wait.
func (c *call) share(comp *computation, ended uint64, limit <-chan time.Time) (a answer, again bool) {
	e := &comp.ending
	switch {
	case c.strict && e.normal():
		c.inheritRun(comp)
		return c.takeStrictly(e)
	case !comp.confirms(ended) && !comp.mayAnswer(ended):
		return answer{}, true
	}
	c.inheritRun(comp)
	source := SourceWaited
	if e.expired && !comp.mayAnswer(ended) {
		source = SourceStale
	}
	switch {
	case e.late && c.patient && e.err != ErrClosed: //nolint:errorlint // Close's own, as it is
		return c.shareLate(comp, ended, limit)
	case e.panic != nil:
		return c.sharePanic(e.panic), false
	case e.goexit && c.patient:
		return answer{goexit: true, source: SourceFailed}, false
	case e.goexit:
		return c.giveUp(fmt.Errorf("%w; let it return an error instead; function %s, key %s", ErrGoexit, c.fn.Name(), c.key))
	case e.negative:
		return answer{err: e.err, source: source, cost: e.cost}, false
	case e.err != nil && c.patient:
		return c.giveUp(e.err)
	}
	results, ok := c.copyOf(e)
	switch {
	case e.err != nil:
		return answer{results: results, err: e.err, source: SourceFailed}, false
	case !ok:
		// The next computation would end in the same way, so callers that waited for it would
		// compute one after the other.
		return c.alone()
	}
	return answer{results: results, source: source, cost: e.cost}, false
}

// shareLate does what share does for a call without an error result if the function has run
// longer than ComputeTimeout: the call continues to wait, as the owner does. If the callers
// computed instead, all of them would compute at the same time, while the function still runs. The
// fence is read once more when it has returned, because it may have added tags since then (X8 of
// docs/protocol.md).
func (c *call) shareLate(comp *computation, ended uint64, limit <-chan time.Time) (a answer, again bool) {
	select {
	case <-comp.returned:
	case <-limit:
		return c.giveUp(c.cold(0))
	}
	if comp.encoding != nil {
		<-comp.encoding.Ended // until then the encoding reads the results
	}
	source := SourceWaited
	if comp.tally != nil && comp.Token != "" && !comp.mayAnswer(ended) {
		given, valid := comp.rereadLate()
		if !given {
			return answer{}, true
		}
		if !valid {
			source = SourceStale
		}
	}
	c.inheritRun(comp)
	switch ret := &comp.ret; {
	case ret.panic != nil:
		return c.sharePanic(ret.panic), false
	case ret.goexit:
		return answer{goexit: true, source: SourceFailed}, false
	case comp.keptLate() != nil:
		return c.serve(comp.keptLate(), SourceStale, false)
	case c.fn.plans.Copies == nil:
		return c.alone()
	default:
		return answer{results: c.fn.shape.Copy(ret.results), source: source, cost: ret.cost}, false
	}
}

// copyOf returns a copy of the results of a computation for the call. ok is false if the results
// can be neither encoded nor copied.
func (c *call) copyOf(e *ending) (r shape.Results, ok bool) {
	switch {
	case e.decoded == nil:
		return nil, false
	case e.body == nil:
		return c.fn.shape.Copy(e.decoded), true
	}
	r, err := c.fn.share(c.cache.coder, e.decoded, e.body)
	return r, err == nil
}

// sharePanic returns the panic of another call's computation as an error. It panics if the
// function has no error result.
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

// serve answers the call with a copy of an entry's results, or with the results themselves if no
// other call gets them.
func (c *call) serve(e *entry, source Source, alone bool) (a answer, again bool) {
	c.inheritEntry(e, source)
	if e.negative() {
		return answer{err: e.err, source: source, age: c.age(e, source), cost: e.cost}, false
	}
	results, err := e.results(c.fn, c.cache, alone)
	if err != nil {
		// The flight could decode the entry, so the user's codec or type is not consistent.
		c.cache.undecodable(c.fn, err)
		if c.misread++; c.misread < maxRounds {
			return answer{}, true
		}
		return c.alone()
	}
	return answer{results: results, source: source, age: c.age(e, source), cost: e.cost}, false
}

// age returns the age of an entry for an Info or an observer; 0 if there is neither. Fresh hits are
// not reported to an observer.
func (c *call) age(e *entry, source Source) time.Duration {
	if !c.informed && (c.watch == nil || source == SourceFresh) {
		return 0
	}
	return c.cache.age(e)
}

// giveUp ends the call with an error. A call without an error result computes
// instead, and others may share that computation without a lease.
func (c *call) giveUp(err error) (a answer, again bool) {
	if c.patient {
		if c.fruitless++; c.fruitless > 1 {
			return c.alone()
		}
		return c.unleased(c.cache.flights.Present())
	}
	source := SourceFailed
	if _, refused := err.(*ColdCacheError); refused { //nolint:errorlint // made by c.cold, not wrapped
		source = SourceRefused
	}
	return answer{err: err, source: source}, false
}

// nested reports whether the call comes from a computation of its own function. That computation
// has a place of Options.MaxConcurrent, and keeps it until the call is answered.
func (c *call) nested() bool {
	return c.fn.places != nil && perCallOf(c.ctx).frame.runs(c.fn.places)
}

func (c *call) cold(left time.Duration) *ColdCacheError {
	err := &ColdCacheError{Func: c.fn.Name(), Key: c.key, LeaseLeft: max(left, 0)}
	if c.limit != nil {
		err.Waited = time.Since(c.began)
	}
	if n := c.failedElsewhere(); n >= failuresBorne {
		err.FailedElsewhere = int(n)
	}
	return err
}

// heedFailures begins to count how often the function fails in other processes.
func (c *call) heedFailures() {
	if c.failures == nil {
		c.failures = c.cache.events.CountFailures(c.key)
		c.failuresBefore = c.failures.Count()
		c.failuresHeard = c.failuresBefore
	}
}

// failedElsewhere returns how often the function has failed in other processes while the call
// waited, as far as events were received.
func (c *call) failedElsewhere() uint64 {
	if c.failures == nil {
		return 0
	}
	c.failuresHeard = c.failures.Count()
	return c.failuresHeard - c.failuresBefore
}

// full returns the error of a call that Options.MaxConcurrent refuses.
func (c *call) full() *ColdCacheError {
	err := c.cold(0)
	err.MaxConcurrent = c.fn.opts.MaxConcurrent
	return err
}

// wait starts the timer of waiting for others, once for a call.
func (c *call) wait() <-chan time.Time {
	if c.limit == nil {
		c.began = time.Now()
		c.limit = time.NewTimer(c.fn.waitLimit())
	}
	return c.limit.C
}

// waitHere does what wait does for a computation of this process. Without a WaitTimeout the
// computation's own ComputeTimeout is the bound, and the answer reports that timeout. The limit
// has the same length, and only ends a call that decides again several times.
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
	if c.failures != nil {
		c.cache.events.IgnoreFailures(c.key, c.failures)
	}
}
