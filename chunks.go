package fncache

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/gather"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/slab"
)

// This file has the steps that the elements of a batch (batch.go) take together: they are looked
// up, those that are stale or cold are put on their flights, their leases are asked for, and the
// function runs for their computations.

// --- Looking up ---

// A finding is what a lookup has found for an element.
type finding struct {
	e    *entry
	s    state
	down error // Redis did not answer
	left bool  // the caller has left before there was an answer
}

// lookUp looks elements up, and returns those that are not answered.
func (b *batch) lookUp(elements []*element) (open []*element) {
	if b.cache.life.Closed() {
		for _, el := range elements {
			el.inBatch(b).foresee(decision{verdict: redisDown{cause: newRedisError(opLookup, el.key, ErrClosed)}}, nil)
		}
		return elements
	}
	found := b.find(elements)
	for i, el := range elements {
		f := finding{left: true}
		if found != nil {
			f = found[i]
		}
		if !el.take(b, f) {
			open = append(open, el)
		}
	}
	return open
}

// find reads the entries of elements in one pipeline, and judges them. It returns nil if the
// caller has left.
func (b *batch) find(elements []*element) []finding {
	c := b.cache
	clock := c.clock.Read(b.ctx)
	asked := c.now(b.fn)
	keys := make([]string, len(elements))
	for i, el := range elements {
		keys[i] = c.lookedUp(b.fn, el.key)
	}
	var tags []fence.Tag // each once
	if b.fn.tagged() {
		known := make(map[fence.Tag]bool)
		for _, el := range elements {
			for _, tag := range c.fence.extras.Beside(el.ownTags(), el.key) {
				if !known[tag] {
					known[tag] = true
					tags = append(tags, tag)
				}
			}
		}
	}
	got, reading, fenceErr := c.readAll(b.ctx, b.fn, keys, b.fn.expected(), tags)
	if clock != nil {
		select {
		case <-clock:
		case <-b.ctx.Done():
			return nil
		}
	}
	if !b.fn.tagged() && !b.fn.decodesApart(c.coder) {
		return b.judge(elements, got, nil, nil, asked)
	}
	// The fence may have to be read again, and the user's decoding methods may not return: the
	// caller must be able to leave.
	judged := make(chan []finding, 1)
	c.life.Go(func() { judged <- b.judge(elements, got, &reading, fenceErr, asked) })
	select {
	case found := <-judged:
		return found
	case <-b.ctx.Done():
		return nil
	}
}

// judge judges what was read for elements. It writes nothing to them.
func (b *batch) judge(elements []*element, got []remote.Got, reading *fence.Reading, fenceErr error, asked moment) []finding {
	c, fn := b.cache, b.fn
	if fenceErr != nil && !hasLeft(b.ctx, fenceErr) {
		c.noteRedis(fn, opFence, c.fence.key, fenceErr)
	}
	found := make([]finding, len(elements))
	about := &flight{flightKey: flightKey{fn: fn}, ctx: b.ctx}
	var entries slab.Slab[entry]
	if b.scratch != nil {
		entries = slab.Of(b.scratch.entries[:len(elements)])
	} else {
		entries = slab.New[entry](len(elements))
	}
	var now int64
	for i, el := range elements {
		if i%clockStep == 0 {
			now = c.clock.Now()
		}
		raw, err := got[i].Raw, lookupError(got[i].Err)
		failed := err
		if failed == errWrongType { //nolint:errorlint // it is returned as it is
			failed = nil
		}
		switch {
		case failed != nil && hasLeft(b.ctx, failed):
			c.noteBusy(fn, failed)
			found[i].left = true
			continue
		case c.noteRedis(fn, opLookup, el.key, failed):
			found[i].down = failed
			continue
		case fenceErr != nil:
			found[i].down, found[i].left = fenceErr, hasLeft(b.ctx, fenceErr)
			continue
		case err == nil:
			fn.expect(len(raw))
		}
		if raw != nil || err != nil {
			found[i].e = entries.Next()
			found[i].s = c.parseInto(found[i].e, fn, raw, err, now)
		}
		b.judgeEntry(el, about, &found[i], reading, asked)
	}
	return found
}

// judgeEntry judges an entry that was parsed. One flight, about, stands for the flight of each element
// in turn.
func (b *batch) judgeEntry(el *element, about *flight, found *finding, reading *fence.Reading, asked moment) {
	c, fn := b.cache, b.fn
	if found.s != cold && fn.tagged() {
		w := c.weigh(found.e, reading)
		if w.again {
			var err error
			if w.verdict, err = c.weighAgain(context.WithoutCancel(b.ctx), fn, found.e); err != nil {
				*found = finding{down: err}
				return
			}
		}
		found.s = fn.allowed(found.s, w.verdict)
	}
	about.key, about.input, about.tags = el.key, el.input, el.tags
	found.s = c.takeEntry(about, found.e, found.s, asked)
}

// take answers an element from what was found, if that is possible, or notes it for its flight.
func (el *element) take(b *batch, f finding) (answered bool) {
	switch {
	case f.left:
		el.a = answer{err: el.ctx.Err(), source: SourceFailed}
		return true
	case f.down != nil:
		var failure *RedisError
		d := decision{verdict: redisDown{cause: f.down}}
		if errors.As(f.down, &failure) && failure.notAsked {
			d.verdict = redisDown{cause: f.down, unasked: true}
		} else {
			d.ended = el.cache.flights.Present()
		}
		el.inBatch(b).foresee(d, nil)
		return false
	case f.s != fresh:
		el.e, el.s, el.missed = f.e, f.s, true
		return false
	}
	if el.cache.isDue(el.fn, f.e) {
		b.due = append(b.due, dueHit{&el.call, el.order, func(*flight) *entry { return el.cache.own(el.fn, f.e) }})
	}
	a, again := el.serve(f.e, SourceFresh, true)
	if again {
		return false
	}
	el.a = a
	el.hit(f.e, false)
	return true
}

// --- Opening ---

// inBatch makes the part of an element in the batch.
func (el *element) inBatch(b *batch) *part {
	if el.part == nil {
		el.part = &part{order: el.order, gather: b.gather, place: b.place}
	}
	return el.part
}

// open opens the elements of a chunk. It waits until they are answered, or until the runs for them
// have ended and the others wait for another caller. before is flights.Detachments from before the
// lookups. first reports whether no run has come between these and the chunk. all counts the
// elements that are not answered yet.
func (b *batch) open(chunk []*element, before uint64, first bool, all *sync.WaitGroup) {
	placed, waited := b.takePlace(chunk)
	for _, el := range chunk {
		el.inBatch(b)
		b.gather.Hold() // the next run waits for the element
	}
	if placed && !b.refresh {
		b.board(chunk, before, first && !waited)
	}
	var missing atomic.Int64
	missing.Store(int64(len(chunk)))
	answered := make(chan struct{})
	for _, el := range chunk {
		all.Go(func() {
			defer func() {
				el.part.release()
				if missing.Add(-1) == 0 {
					close(answered)
				}
			}()
			el.a = el.answer(b.refresh)
		})
	}
	select {
	case <-answered:
	case <-b.gather.Quiet():
	}
}

// takePlace takes a place of Options.MaxConcurrent for the run of a chunk, before leases are asked for. If
// there is none, it decides for the elements: a stale entry is served, and the others are refused. If
// each element has a stale entry, it does not wait for a place. waited reports whether it has waited for a place.
func (b *batch) takePlace(chunk []*element) (placed, waited bool) {
	if b.place == nil {
		return true, false
	}
	waits := func(el *element) bool {
		if el.part.isAhead() { // Redis is away
			return b.cache.cfg.OnRedisDown == DownCompute
		}
		return el.s != stale
	}
	placed = b.place.Try()
	if policy := b.fn.opts.OnCold; !placed && (b.refresh || policy != Fail && slices.ContainsFunc(chunk, waits)) {
		waited = true
		limit := b.fn.waitLimit()
		if policy == Compute && !b.refresh { // no call is refused
			limit = math.MaxInt64
		}
		ctx, end := context.WithTimeout(b.ctx, limit)
		placed = b.place.Take(ctx) == nil
		end()
	}
	if placed {
		for i, el := range chunk {
			if el.inBatch(b).placed = true; i > 0 {
				b.place.Join()
			}
		}
		return true, waited
	}
	for _, el := range chunk {
		switch {
		case b.ctx.Err() != nil:
			el.inBatch(b).foresee(decision{}, b.ctx.Err())
		case el.part.isAhead():
			el.part.full = b.cache.cfg.OnRedisDown == DownCompute
		case el.s == stale && b.cache.servable(b.fn, el.e): // it may have waited
			el.inBatch(b).foresee(decision{verdict: serveStale{el.e}}, nil)
		default:
			el.inBatch(b).foresee(decision{}, el.full())
		}
	}
	return false, waited
}

// board puts the elements on the flights of their keys, and asks for the leases of those that
// began their flight. justRead reports whether the lookups were sent a moment ago.
func (b *batch) board(chunk []*element, before uint64, justRead bool) {
	var asks []*asking
	for _, el := range chunk {
		if el.part.ahead {
			continue
		}
		f, start, d := el.board(flights.ToLookUp, b.nested)
		el.part.ahead, el.part.flight, el.part.start, el.part.decision = true, f, start, d
		if !start {
			continue
		}
		f.input, f.tags, f.part = el.ownInput(), el.ownTags(), el.part
		a := &asking{flight: f, e: el.e, s: el.s}
		// Callers that join the flight may have called after an invalidation. The process that sends
		// one detaches lookups, and acquire reports whether the entry is still there; but it does
		// not report whether a tag has overtaken the entry since it was read.
		if b.cache.flights.Detachments() != before || !justRead && b.fn.tagged() && a.s == stale {
			a.e, a.s = nil, cold
		}
		b.place.Join() // also if the call leaves before there is an answer
		asks = append(asks, a)
	}
	if len(asks) > 0 {
		b.cache.life.Go(func() { b.cache.resolveAll(b.ctx, asks) })
	}
}

// resolveAll asks once for the leases of several flights, in one pipeline, and goes through the
// table with the answers. ctx is that of the caller. What is left to do for one of the flights is
// done on a goroutine of its own.
func (c *Cache) resolveAll(ctx context.Context, asks []*asking) {
	var wanted []*asking
	for _, a := range asks {
		if a.s == stale && c.flights.Computing(a.flightKey) != nil {
			a.part.place.Give()
			c.decide(a.flight, serveStale{a.e})
			continue
		}
		wanted = append(wanted, a)
	}
	if len(wanted) == 0 {
		return
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(c.alive, end)()
	got := c.acquireAll(ctx, wanted)
	granted := 0
	for _, g := range got {
		if g.err == nil && g.status == leaseAcquired {
			granted++
		}
	}
	fences := c.fencesOf(wanted[0].fn, granted)
	together := c.newRenewals(granted)
	for i, a := range wanted {
		if g := got[i]; g.err == nil && (g.status == leaseAcquired || g.status == leaseHeld) {
			if g.status == leaseAcquired {
				a.part.fences, a.part.renewals = fences, together
			}
			if g.foreign && a.e == nil { // which MGET does not report
				c.undecodable(a.fn, errWrongType)
			}
			if v, ok, _ := c.answered(a, g); ok {
				c.decide(a.flight, v)
			}
			continue
		}
		left := got[i].err != nil && hasLeft(ctx, got[i].err)
		c.life.Go(func() { c.resolveRest(a, got[i], left) })
	}
}

// resolveRest continues a flight whose lease was neither granted nor held. left: its caller had left.
func (c *Cache) resolveRest(a *asking, got request, left bool) {
	var v verdict
	ok, again := false, left
	if left {
		c.noteBusy(a.fn, got.err)
	} else {
		v, ok, again = c.answered(a, got)
	}
	if again && !c.flights.Abandon(a.flightKey, a.flight) {
		v, ok = c.resolve(a.flight, a.e, a.s)
	}
	if ok {
		c.decide(a.flight, v)
	}
}

// acquireAll asks for leases in one pipeline. Each flight is a user of the place of its batch.
func (c *Cache) acquireAll(ctx context.Context, asks []*asking) []request {
	got := make([]request, len(asks))
	defer func() {
		for i, a := range asks {
			if got[i].placed = got[i].err == nil && got[i].status == leaseAcquired; !got[i].placed {
				a.part.place.Give()
			}
		}
	}()
	fn := asks[0].fn
	store := c.storeFor(fn)
	cmds, acquirings := make([]*remote.Command, len(asks)), make([]acquiring, len(asks))
	for i, a := range asks {
		a.asked = moment{c.hereFor(a.flight), c.hereTags(fn)}
		acquirings[i] = newAcquiring(a.key, c.holder.Token(), fn.lease(c), acquireCompare, a.e.bytes(), a.s == stale)
		cmds[i] = acquirings[i].Command
	}
	beginning := c.beginningAt(asks[0].key)
	if err := beginning.Take(ctx); err != nil {
		for i := range got {
			got[i].err = err
		}
		return got
	}
	defer beginning.Give()
	for i, err := range store.askAll(ctx, opAcquire, cmds) {
		got[i].acquisition, got[i].err = store.acquired(asks[i].ctx, acquirings[i], err)
	}
	return got
}

// --- Running ---

// newGather returns a gather for the runs of a call.
func (b *batch) newGather() *gather.Gather[*computation] {
	var group *lifetime.Group // nil: Close has not to wait for it
	if !b.cache.life.Closed() {
		group = b.cache.life
	}
	return gather.New(b.fn.opts.BatchSize, group.Go, b.run)
}

// refreshEarly has the entries that are due refreshed in the background, in one run of the function,
// if a place is free. Entries above BatchSize are left out, so that no lease idles until a second run.
func (b *batch) refreshEarly() {
	if len(b.due) == 0 {
		return
	}
	early := &batch{fn: b.fn, ctx: b.ctx, bound: b.bound, cache: b.cache, place: b.fn.places.Share()}
	early.gather = early.newGather()
	if !early.place.Try() {
		return
	}
	due := b.due[:min(len(b.due), cmp.Or(b.fn.opts.BatchSize, len(b.due)))]
	for range due {
		early.gather.Hold()
		early.place.Join()
	}
	early.place.Give()
	for _, hit := range due {
		hit.refreshEarly(&part{order: hit.order, gather: early.gather, place: early.place, placed: true}, hit.find)
	}
}

// run runs the function for the computations that have joined. It is the run of the gather.
func (b *batch) run(all []*computation, next func()) {
	var members []*computation
	for _, m := range all {
		if m.member.ctx.Err() != nil { // it has waited for too long, or Close has begun
			m.ret.err = context.Cause(m.member.ctx)
			close(m.member.ran)
			continue
		}
		members = append(members, m)
	}
	if len(members) == 0 {
		return
	}
	slices.SortFunc(members, func(x, y *computation) int { return cmp.Compare(x.member.order, y.member.order) })
	ctx := members[0].member.ctx // ends when the function has to end
	givePlace, detach, placed := lendPlace(ctx, b.place, members)
	if !placed {
		b.share(members, time.Now(), nil, funcEnd{err: context.Cause(ctx)})
		return
	}
	// A function that ignores the end of its context holds up no other run.
	defer context.AfterFunc(ctx, func() {
		detach()
		next()
	})()
	b.fn.counters.batchRuns.Add(1)
	runCtx, frame := b.enter(ctx, members)
	runCtx = members[0].runBegins(runCtx, len(members))
	args := make([]shape.Arguments, len(members))
	for i, m := range members {
		args[i] = m.args
	}
	began, normal := time.Now(), false
	var ret funcEnd
	var results []shape.Results
	defer func() {
		if !normal {
			ret.panic = panicked(recover())
			ret.goexit = ret.panic == nil
		}
		frame.ended.Store(true)
		givePlace() // before any caller is answered, as computation.callFunction does
		if (ret.panic != nil || ret.goexit) && slices.ContainsFunc(members, func(m *computation) bool { return !m.Background }) {
			b.broken.Store(true)
		}
		if ret.err != nil && ctx.Err() != nil {
			ret.err = context.Cause(ctx)
		}
		b.share(members, began, results, ret)
		members[0].runEnded(runCtx, len(members), ret, time.Since(began))
	}()
	results, ret.err = b.fn.many(runCtx, args)
	normal = true
}

// enter returns the context of a run, whose frame stands for all of its computations.
func (b *batch) enter(ctx context.Context, members []*computation) (context.Context, *frame) {
	var each []*fence.Tally
	keys := make(map[string]bool, len(members))
	for _, m := range members {
		keys[m.key] = true
		if m.tally != nil {
			each = append(each, m.tally.Tally)
		}
	}
	var all *tally
	if each != nil {
		all = &tally{fence.TallyOf(each), b.cache}
	}
	ctx, frame := enterFrame(ctx, b.fn, all, nil)
	frame.cache, frame.flightKey, frame.keys, frame.stored = b.cache, members[0].flightKey, keys, true
	for _, m := range members {
		m.frame.run = frame
	}
	return ctx, frame
}

// share gives each computation of a run its part of the outcome.
func (b *batch) share(members []*computation, began time.Time, results []shape.Results, ret funcEnd) {
	ret.cost = time.Since(began) / time.Duration(len(members))
	leases := 0
	for _, m := range members {
		if m.Token != "" {
			leases++
		}
	}
	var last *remote.Group
	if leases > 1 {
		last = b.cache.store.remote.NewGroup(leases)
	}
	for i, m := range members {
		m.ret = ret
		if ret.err == nil && ret.panic == nil && !ret.goexit {
			if m.ret.results = results[i]; results[i] == nil {
				m.ret.err = errMissing
			}
		}
		if m.Token != "" {
			m.member.last = last
		}
		close(m.member.ran)
	}
}
