package fncache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/gather"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
	"github.com/fncache/fncache/internal/slab"
)

// This file is a call of a batch function (WrapBatch). Each different id is an element: a call of
// its own, with an entry, a lease, a flight and a computation of its own, and goes through the
// table of call.go. The batch does for its elements together what costs a round trip: it looks
// them up, asks for their leases, and sends their last steps. Their computations share a run of
// the function (package gather).
//
// The order of one call:
//
//  1. The near cache answers elements. The others are looked up in one pipeline, without flights.
//     Fresh ones are answered.
//  2. The rest is opened chunk by chunk (Options.BatchSize), when the call has a
//     place of Options.MaxConcurrent (see part). Each element boards the flight of its key. If it
//     began the flight, the batch asks for the lease, in one pipeline for all. From here on each
//     element has a goroutine, which acts on the decision of its flight.
//  3. A computation that an element begins joins the gather. The run begins when each element of
//     the chunk has either begun its computation, or is answered, or waits for another caller.
//  4. The run ends all computations that are in it. Their goroutines encode the results, and take
//     the last steps of the leases together.
//  5. The next chunk is opened when the gather is quiet.
//
// No run waits for another caller, so batches that wait for each other's keys cannot deadlock: an
// element that waits has released its part before. If it has to compute later, its computation
// joins the next run. The next run takes all computations that join while a run is under way.
//
// What a failure does between any two steps:
//
//   - Between lookups and flights this process may invalidate a key. A flight may be joined by
//     calls that began after that, so the entry of the lookup is not used for it then
//     (flights.Detachments): acquire returns the entry that is there.
//   - If acquire is not answered for some keys, their flights decide like those of ordinary calls:
//     they serve the stale entry, or compute without leases, in the same run. A lease that may
//     have been granted is given back.
//   - If a lease is lost, its computation is answered from the run and stores nothing; the others
//     are not affected.
//   - An error, a panic or the end of the run's goroutine is the end of each computation in it.
//     After an error the next chunk is opened. After a panic or the end of the goroutine it is
//     opened only if the caller was served stale values instead.
//   - The run ends with the deadline of its first computation, or when Close begins. If the function
//     ignores that, its computations end by themselves, and the next run does not wait for it.
//   - If the caller leaves, the run continues and is stored, and no further chunk is opened.

// A manyFunc calls the original function for the arguments of several elements. results has a
// result for each, or nil for one without a value. It has none if err is not nil.
type manyFunc func(ctx context.Context, args []shape.Arguments) (results []shape.Results, err error)

// elementOf returns the type of the function for one id of a batch function; nil if t is not the
// type of a batch function.
func elementOf(t reflect.Type) reflect.Type {
	if t.NumIn() != 2 || t.NumOut() != 2 || t.IsVariadic() || !signature.TakesContext(t) || !signature.ReturnsError(t) {
		return nil
	}
	ids, values := t.In(1), t.Out(0)
	if ids.Kind() != reflect.Slice || values.Kind() != reflect.Map || values.Key() != ids.Elem() {
		return nil
	}
	return reflect.FuncOf([]reflect.Type{t.In(0), ids.Elem()}, []reflect.Type{values.Elem(), t.Out(1)}, false)
}

// reflectedBatch is the shaper of a batch function of any type.
func reflectedBatch(f *Func) (shape.Shape, func() reflect.Value) {
	t := f.original.Type()
	var s *shape.Reflected
	f.many = func(ctx context.Context, args []shape.Arguments) ([]shape.Results, error) {
		ids := reflect.MakeSlice(t.In(1), len(args), len(args))
		for i := range args {
			ids.Index(i).Set(s.Argument(args[i], 0))
		}
		out := f.original.Call([]reflect.Value{reflect.ValueOf(&ctx).Elem(), ids})
		if err, _ := out[1].Interface().(error); err != nil {
			return nil, err
		}
		results := make([]shape.Results, len(args))
		for i := range args {
			if value := out[0].MapIndex(s.Argument(args[i], 0)); value.IsValid() {
				results[i] = s.Results(value)
			}
		}
		return results, nil
	}
	one := reflect.MakeFunc(f.site.element, func(in []reflect.Value) []reflect.Value {
		ctx, _ := in[0].Interface().(context.Context)
		results, err := f.many(ctx, []shape.Arguments{s.Arguments(in[1:])})
		switch {
		case err != nil:
			return s.Out(nil, err)
		case results[0] == nil:
			return s.Out(nil, errMissing)
		default:
			return s.Out(results[0], nil)
		}
	})
	s = shape.NewReflected(f.plans, one)
	return s, func() reflect.Value {
		return reflect.MakeFunc(t, func(in []reflect.Value) []reflect.Value { return callReflectedBatch(f, s, in) })
	}
}

// callReflectedBatch is the body of a reflected batch function's cached version.
func callReflectedBatch(f *Func, s *shape.Reflected, in []reflect.Value) []reflect.Value {
	if f.unwrapped.Load() {
		return f.original.Call(in)
	}
	ctx, values := s.Split(in)
	t := f.original.Type()
	ids := reflect.AppendSlice(reflect.MakeSlice(t.In(1), 0, values[0].Len()), values[0]) // runs outlive the caller
	b := newBatch(ctx, f)
	results, err := b.call(ids.Len(), func(i int) shape.Arguments {
		return s.Arguments([]reflect.Value{ids.Index(i)})
	})
	found := reflect.MakeMapWithSize(t.Out(0), len(results))
	for i, r := range results {
		if r == nil {
			continue
		}
		if b.shared(i) {
			r = s.Copy(r)
		}
		found.SetMapIndex(ids.Index(i), s.Value(r))
	}
	return []reflect.Value{found, reflect.ValueOf(&err).Elem()}
}

// A batch is one call of a batch function.
type batch struct {
	fn      *Func
	ctx     context.Context
	per     perCall
	bound   *binding
	cache   *Cache
	vary    string
	refresh bool
	strict  bool      // the call is Refresh of the handle: it is not counted, and has to store
	nested  bool      // the call comes from a computation of the function, which has a place
	began   time.Time // set if there is a Config.Observer

	elements []*element // of each different key that the near cache did not answer first
	of       []*element // for each id; nil if the near cache has answered it
	results  []shape.Results
	hits     int           // ids that the near cache has answered
	saved    time.Duration // the costs of their entries
	oldest   time.Duration // of their entries

	scratch *scratch // has the elements; or nil
	opened  bool     // others may refer to an element

	due    []dueHit // see refreshEarly
	gather *gather.Gather[*computation]
	place  *bulkhead.Shared // of the runs; nil without Options.MaxConcurrent, and if the call is nested
	broken atomic.Bool      // a run that the caller waits for has ended by a panic, or by the end of its goroutine
}

// An element is the call for one id.
type element struct {
	call
	a     answer
	order int  // the place of the id in the call
	named bool // the error names the id

	// What the lookup has found.
	e *entry
	s state
}

// newBatch returns a call of a batch function.
func newBatch(ctx context.Context, f *Func) *batch {
	return &batch{fn: f, ctx: orBackground(ctx), per: perCallOf(orBackground(ctx))}
}

// shared reports whether the result of the i-th id belongs to the near cache, and has to be copied
// for the caller.
func (b *batch) shared(i int) bool { return b.of[i] == nil && b.fn.plans.Copies != nil }

// call answers the call. results has a result for each of the arguments, or nil if there is none:
// the function has no value for it, or err says why. See shared.
func (b *batch) call(n int, arg func(i int) shape.Arguments) (results []shape.Results, err error) {
	f := b.fn
	f.counters.batches.Add(1)
	b.refresh = b.per.refresh
	if f.sig.Varies {
		b.vary = f.opts.Vary(b.ctx)
	}
	if err := b.begin(n, arg); err != nil {
		rest := uint64(n - b.hits)
		f.counters.calls.Add(rest)
		f.counters.bySource[SourceFailed].Add(rest)
		return nil, err
	}
	info := b.per.info.claim()
	defer func() { b.record(info, err) }()
	b.startWatch()
	b.answer(info != nil || b.cache.observer != nil)
	b.refreshEarly()
	return b.outcome()
}

// refreshAll is the Refresh of the handle.
func (b *batch) refreshAll(n int, arg func(i int) shape.Arguments) (results []shape.Results, err error) {
	b.refresh, b.strict = true, true
	b.per.bypass = false
	if b.fn.sig.Varies {
		b.vary = b.fn.opts.Vary(b.ctx)
	}
	if err := b.begin(n, arg); err != nil {
		return nil, err
	}
	for _, el := range b.elements {
		if b.per.frame.computes(b.cache, el.key) {
			return nil, fmt.Errorf("fncache: refresh %s: this call runs inside the computation of %s and would wait for itself; call Refresh outside of the function",
				b.fn.Name(), el.key)
		}
	}
	b.answer(false)
	return b.outcome()
}

// begin makes the elements that the near cache does not answer.
func (b *batch) begin(n int, arg func(i int) shape.Arguments) (err error) {
	f := b.fn
	if b.bound, err = f.bind(); err != nil {
		return fmt.Errorf("fncache: call %s: %w", f.whence(), err)
	}
	b.cache = b.bound.cache
	b.results, b.of = make([]shape.Results, n), make([]*element, n)
	b.serveNear(n, arg)
	if err := b.make(n, arg); err != nil {
		return err
	}
	b.gather = b.newGather()
	if b.nested = f.places != nil && b.per.frame.runs(f.places); !b.nested {
		b.place = f.places.Share()
	}
	return nil
}

// make makes an element for each different key that is not answered.
func (b *batch) make(n int, arg func(i int) shape.Arguments) error {
	f, open := b.fn, n-b.hits
	if open == 0 {
		return nil
	}
	byHash := make(map[keyhash.Hash]*element, open)
	b.elements = make([]*element, 0, open)
	all := b.borrow(open)
	for i := range n {
		if b.results[i] != nil {
			continue
		}
		in := input{arg(i), b.vary}
		hash, err := f.hash(b.bound, in)
		if err != nil {
			return err
		}
		el := byHash[hash]
		if el == nil {
			el = all.Next()
			el.a.goexit, el.a.source = true, SourceFailed // stays if a hook of the client ends the goroutine
			el.fn, el.cache, el.bound, el.ctx, el.input, el.key = f, b.cache, b.bound, b.ctx, in, b.bound.key(hash)
			el.strict, el.order = b.strict, i
			el.handUp(b.per.frame)
			byHash[hash] = el
			b.elements = append(b.elements, el)
		}
		b.of[i] = el
	}
	return nil
}

// A scratch is the memory of the elements of a call, and of the entries that are read for them.
// After a call that had hits only, nothing refers to it, and another call gets it.
type scratch struct {
	elements [mostScratch]element
	entries  [mostScratch]entry
}

// The fewest and the most elements of a call that gets a scratch.
const (
	leastScratch = 16
	mostScratch  = 128
)

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// borrow returns the memory for n elements. The functions that get no scratch are those whose
// hits may start tasks, or may be judged on another goroutine than that of the caller.
func (b *batch) borrow(n int) (elements slab.Slab[element]) {
	f := b.fn
	if n < leastScratch || n > mostScratch || f.tagged() || f.opts.Early > 0 || f.opts.Verify > 0 || f.decodesApart(b.cache.coder) {
		return slab.New[element](n)
	}
	b.scratch = scratches.Get().(*scratch)
	return slab.Of(b.scratch.elements[:n])
}

// giveBack gives the scratch back, unless an element was opened.
func (b *batch) giveBack() {
	s, n := b.scratch, len(b.elements)
	if s == nil || b.opened {
		return
	}
	b.scratch, b.elements = nil, nil
	clear(s.elements[:n])
	clear(s.entries[:n])
	scratches.Put(s)
}

// clockStep is how many ids the near cache is asked for with one reading of the clock, which takes
// as long as a hit.
const clockStep = 32

// serveNear answers ids from the near cache, if their arguments are plain.
func (b *batch) serveNear(n int, arg func(i int) shape.Arguments) {
	f, c := b.fn, b.cache
	if !f.keepsPlain() || b.refresh || b.per.bypass || b.ctx.Err() != nil {
		return
	}
	above := heir(c, f, b.per.frame)
	key := new(shape.Plain)
	f.plans.AddVary(key, b.vary)
	var now time.Duration
	for i := range n {
		if i%clockStep == 0 {
			now = c.clock.Elapsed()
		}
		args := arg(i)
		f.shape.Plain(key, args)
		e, refresh := c.near.FreshAt(f.near, key, now)
		if e == nil || b.per.frame.computes(c, e.RedisKey) || !b.serveEntry(i, e) {
			continue
		}
		if above != nil {
			above.Inherit(*e.Tags.From.(*fence.Provenance))
		}
		if due := f.dues(refresh); due != 0 {
			hit := call{fn: f, cache: c, bound: b.bound, ctx: b.ctx, input: input{args, b.vary}, key: e.RedisKey}
			b.setOff(&element{call: hit, order: i}, e, due)
		}
	}
	if b.hits > 0 {
		f.near.CountMany(b.hits, b.saved)
	}
}

// serveEntry answers the i-th id with an entry of the near cache.
func (b *batch) serveEntry(i int, e *near.Entry) bool {
	if body, encoded := e.Value.([]byte); encoded {
		r, err := b.fn.decode(b.cache.coder, body)
		if err != nil {
			return false
		}
		b.results[i] = r
	} else {
		b.results[i] = e.Value.(shape.Results)
	}
	b.hits++
	b.saved += e.Cost
	if b.per.info != nil {
		b.oldest = max(b.oldest, b.cache.ageOf(e.StoredAt))
	}
	return true
}

// answer answers all elements.
func (b *batch) answer(informed bool) {
	var direct []*element
	open := make([]*element, 0, len(b.elements))
	if !b.strict {
		b.fn.counters.calls.Add(uint64(len(b.elements)))
	}
	for _, el := range b.elements {
		el.informed = informed
		switch {
		case b.per.bypass, b.per.frame.computes(b.cache, el.key):
			direct = append(direct, el)
		case b.ctx.Err() != nil:
			el.a = answer{err: b.ctx.Err(), source: SourceFailed}
		case b.refresh || !b.fromNear(el):
			open = append(open, el)
		}
	}
	if len(direct) > 0 {
		b.opened = true
		b.direct(direct)
	}
	before := b.cache.flights.Detachments()
	if !b.refresh && len(open) > 0 {
		open = b.lookUp(open)
	}
	b.opened = b.opened || len(open) > 0
	size := cmp.Or(b.fn.opts.BatchSize, max(len(open), 1))
	var all sync.WaitGroup
	opened := 0
	for chunk := range slices.Chunk(open, size) {
		if b.broken.Load() { // the caller may have left that run for a stale value, and get no panic
			all.Wait()
			b.broken.Store(slices.ContainsFunc(open[:opened], (*element).raises))
		}
		if b.ctx.Err() != nil || b.broken.Load() {
			for _, el := range chunk {
				el.a = answer{err: b.ctx.Err(), source: SourceFailed}
			}
			continue
		}
		b.open(chunk, before, opened == 0, &all)
		opened += len(chunk)
	}
	all.Wait()
}

// raises reports whether the call panics, or ends its goroutine, because of the element.
func (el *element) raises() bool { return el.a.panic != nil || el.a.goexit }

// setOff starts the tasks of an answer from the near cache, except that refreshEarly begins to
// refresh the entry.
func (b *batch) setOff(el *element, e *near.Entry, due dues) {
	if due&dueEarly != 0 {
		b.due = append(b.due, dueHit{&el.call, el.order, func(f *flight) *entry { return b.cache.lookAgain(f, e.ID) }})
	}
	el.setOff(e, due&^dueEarly)
}

// fromNear answers an element whose arguments are not plain from the near cache, if possible.
func (b *batch) fromNear(el *element) bool {
	a, e, due, ok := el.nearAnswer()
	if ok {
		el.a = a
		b.setOff(el, e, due)
	}
	return ok
}

// direct calls the function on the caller's goroutine, without the cache.
func (b *batch) direct(elements []*element) {
	args := make([]shape.Arguments, len(elements))
	for i, el := range elements {
		args[i] = el.args
		el.a = answer{source: SourceFailed} // stays if the function panics
	}
	ctx, _ := enterFrame(b.ctx, b.fn, elements[0].above, nil)
	results, err := b.fn.many(ctx, args)
	for i, el := range elements {
		el.a = answer{err: err, source: SourceBypassed}
		if err == nil {
			el.a.results = results[i]
		}
	}
}

// --- Answering ---

// record counts the elements, and fills in the caller's Info.
func (b *batch) record(info *Info, err error) {
	total := Info{Age: b.oldest}
	var saved time.Duration
	for _, el := range b.elements {
		total.Elements[el.a.source]++
		total.Age = max(total.Age, el.a.age)
		total.Cost += el.a.cost
		if el.a.source.saves() {
			saved += el.a.cost
		}
	}
	b.fn.counters.savedTime.Add(int64(saved))
	for source, n := range total.Elements {
		b.fn.counters.bySource[source].Add(uint64(n))
	}
	total.Elements[SourceNear] += b.hits
	for _, source := range []Source{SourceNear, SourceFresh, SourceStale, SourceWaited, SourceBypassed, SourceComputed, SourceRefused, SourceFailed} {
		if total.Elements[source] > 0 {
			total.Source = source // the last one that there is
		}
	}
	b.tellEnd(total, err)
	if info != nil {
		*info = total
	}
	b.giveBack()
}

// outcome returns the results of all ids. The error is the first error of the function, of Redis
// or of the context, joined with a ColdCacheError if some ids were refused.
func (b *batch) outcome() ([]shape.Results, error) {
	var failed error
	var refused *ColdCacheError
	for i, el := range b.of {
		if el == nil {
			continue
		}
		switch a := &el.a; {
		case a.panic != nil:
			panic(a.panic)
		case a.goexit:
			runtime.Goexit()
		case a.err == nil:
			b.results[i] = a.results
		case !el.named:
			el.named = true
			failed = cmp.Or(failed, el.failure(&refused))
		}
	}
	switch {
	case refused == nil:
		return b.results, failed
	case failed == nil:
		return b.results, refused
	default:
		return b.results, errors.Join(failed, refused)
	}
}

// failure returns the error of an element; nil if the function has no value for it. A refusal
// is noted in refused.
func (el *element) failure(refused **ColdCacheError) error {
	var cold *ColdCacheError
	switch {
	case el.a.err == errMissing: //nolint:errorlint // made by the run of a batch
		return nil
	case !errors.As(el.a.err, &cold):
		return el.a.err
	case *refused == nil:
		own := *cold
		*refused = &own
	}
	(*refused).IDs = append((*refused).IDs, el.fn.shape.Argument(el.args, 0).Interface())
	return nil
}
