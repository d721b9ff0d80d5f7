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

	"github.com/fncache/fncache/internal/gather"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
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
//  2. The rest is opened chunk by chunk (Options.BatchSize). Each element boards the flight of its
//     key. Where it began the flight, the batch asks for the lease, in one pipeline for all. From
//     here on each element has a goroutine, which acts on the decision of its flight.
//  3. A computation that an element begins joins the gather. The run begins when each element of
//     the chunk has either begun its computation, or is answered, or waits for somebody else.
//  4. The run ends all computations that are in it. Their goroutines encode the results, and take
//     the last steps of the leases together.
//  5. The next chunk is opened when the gather is quiet.
//
// No run waits for anybody else, so batches that wait for each other's keys cannot deadlock: an
// element that waits has released its part before. If it has to compute later, its computation
// joins the next run; those that come while one is under way are taken together by the next.
//
// What a failure does between any two steps:
//
//   - Between lookups and flights this process may invalidate a key. A flight may be joined by
//     calls that began after that, so the entry of the lookup is not used for it then
//     (flights.detached): acquire returns the entry that is there.
//   - If acquire is not answered for some keys, their flights decide as those of ordinary calls:
//     the stale entry, or computations without leases, which join the same run. A lease that may
//     have been granted is given back.
//   - If a lease is lost, its computation is answered from the run and stores nothing; the others
//     are not affected.
//   - An error, a panic or the end of the run's goroutine is the end of each computation in it.
//     The next chunk is opened after an error, and not after the others.
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

// callReflectedBatch is the body of the stub.
func callReflectedBatch(f *Func, s *shape.Reflected, in []reflect.Value) []reflect.Value {
	if f.unwrapped.Load() {
		return f.original.Call(in)
	}
	ctx, values := s.Split(in)
	ids, t := values[0], f.original.Type()
	results, err := newBatch(ctx, f).call(ids.Len(), func(i int) shape.Arguments {
		return s.Arguments([]reflect.Value{ids.Index(i)})
	})
	found := reflect.MakeMapWithSize(t.Out(0), len(results))
	for i, r := range results {
		if r != nil {
			found.SetMapIndex(ids.Index(i), s.Value(r))
		}
	}
	return []reflect.Value{found, reflect.ValueOf(&err).Elem()}
}

// forBatch returns the options of a tagged field for a batch function. Some defaults are meant for
// batch functions, and others for all other functions.
func (o Options) forBatch(defaults *Options) Options {
	setDefault(&o.BatchSize, defaults.BatchSize)
	setDefault(&o.MissingTimeout, defaults.MissingTimeout)
	o.CacheErrors = nil
	if o.ErrorTimeout == defaults.ErrorTimeout {
		o.ErrorTimeout = 0
	}
	return o
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
	strict  bool // the call is Refresh of the handle: it is not counted, and has to store
	nested  bool // the call comes from a computation of the function, which has a place

	elements []*element // of each different key that the near cache did not answer first
	of       []*element // for each id; nil if the near cache has answered it
	results  []shape.Results
	fromNear SourceCounts
	oldest   time.Duration // of those from the near cache

	gather *gather.Gather[*computation]
	placed atomic.Bool // the next run has a place of Options.MaxConcurrent
	broken atomic.Bool // a run has ended by a panic, or by the end of its goroutine
}

// An element is the call for one id.
type element struct {
	call
	a     answer
	order int // the place of the id in the call

	// What the lookup has found.
	e *entry
	s state
}

// newBatch returns a call of a batch function.
func newBatch(ctx context.Context, f *Func) *batch {
	ctx = orBackground(ctx)
	return &batch{fn: f, ctx: ctx, per: perCallOf(ctx)}
}

// call answers the call. results has a result for each of the arguments, or nil if there is none:
// the function has no value for it, or err says why.
func (b *batch) call(n int, arg func(i int) shape.Arguments) (results []shape.Results, err error) {
	f := b.fn
	f.counters.batches.Add(1)
	b.refresh = b.per.refresh
	if f.sig.Varies {
		b.vary = f.opts.Vary(b.ctx)
	}
	if err := b.begin(n, arg); err != nil {
		rest := uint64(n - b.fromNear[SourceNear])
		f.counters.calls.Add(rest)
		f.counters.bySource[SourceFailed].Add(rest)
		return nil, err
	}
	info := b.per.info.claim()
	defer b.record(info)
	b.answer(info != nil)
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
	byKey := make(map[string]*element)
	for i := range n {
		in := input{arg(i), b.vary}
		if b.serve(i, in) {
			continue
		}
		key, err := f.key(b.bound, in)
		if err != nil {
			return err
		}
		el := byKey[key]
		if el == nil {
			el = &element{a: answer{goexit: true, source: SourceFailed}} // stays if a hook of the client ends the goroutine
			el.fn, el.cache, el.bound, el.ctx, el.input, el.key = f, b.cache, b.bound, b.ctx, in, key
			el.strict, el.order = b.strict, i
			byKey[key] = el
			b.elements = append(b.elements, el)
		}
		b.of[i] = el
	}
	var group *lifetime.Group // nil: Close has not to wait for it
	if !b.cache.life.Closed() {
		group = b.cache.life
	}
	b.gather = gather.New(f.opts.BatchSize, group.Go, b.run)
	b.nested = f.places != nil && b.per.frame.runs(f.places)
	return nil
}

// serve answers the i-th id from the near cache, if its arguments are plain and the near cache
// has an entry.
func (b *batch) serve(i int, in input) bool {
	f := b.fn
	if !f.keepsPlain() || b.refresh || b.per.bypass || b.ctx.Err() != nil {
		return false
	}
	var key shape.Plain
	f.shape.Plain(&key, in.args)
	f.plans.AddVary(&key, in.vary)
	e, refresh := b.cache.near.Fresh(f.near, &key)
	if e == nil || b.per.frame.computes(b.cache, e.RedisKey) {
		return false
	}
	r, err := f.copyOf(b.cache, e)
	if err != nil {
		return false
	}
	if above := heir(b.cache, f, b.per.frame); above != nil {
		above.inherit(*e.Tags.From.(*provenance))
	}
	f.near.Count(e.Cost)
	b.results[i] = r
	b.fromNear[SourceNear]++
	if b.per.info != nil {
		b.oldest = max(b.oldest, b.cache.ageOf(e.StoredAt))
	}
	b.setOff(e, f.dues(refresh), in)
	return true
}

// setOff starts the tasks of an answer from the near cache.
func (b *batch) setOff(e *near.Entry, due dues, in input) {
	if due != 0 {
		b.fn.setOff(b.ctx, e, due, in)
	}
}

// answer answers all elements.
func (b *batch) answer(informed bool) {
	var open, direct []*element
	for _, el := range b.elements {
		if !b.strict {
			b.fn.counters.calls.Add(1)
		}
		el.informed = informed
		el.handUp(b.per.frame)
		switch {
		case b.per.bypass, b.per.frame.computes(b.cache, el.key):
			direct = append(direct, el)
		case b.ctx.Err() != nil:
			el.a = answer{err: b.ctx.Err(), source: SourceFailed}
		case b.refresh || !el.fromNear():
			open = append(open, el)
		}
	}
	if len(direct) > 0 {
		b.direct(direct)
	}
	before := b.cache.flights.detached()
	if !b.refresh && len(open) > 0 {
		open = b.lookUp(open)
	}
	size := cmp.Or(b.fn.opts.BatchSize, max(len(open), 1))
	var all sync.WaitGroup
	for chunk := range slices.Chunk(open, size) {
		if b.ctx.Err() != nil || b.broken.Load() {
			for _, el := range chunk {
				el.part.release()
				el.a = answer{err: b.ctx.Err(), source: SourceFailed}
			}
			continue
		}
		b.open(chunk, before, &all)
	}
	all.Wait()
}

// fromNear answers an element whose arguments are not plain from the near cache, if possible.
func (el *element) fromNear() bool {
	a, e, due, ok := el.nearAnswer()
	if ok {
		el.a = a
		el.setOff(e, due)
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
func (b *batch) record(info *Info) {
	total := Info{Elements: b.fromNear, Age: b.oldest}
	for _, el := range b.elements {
		el.fn.record(&el.a, nil, "")
		total.Elements[el.a.source]++
		total.Age = max(total.Age, el.a.age)
		total.Cost += el.a.cost
	}
	for _, source := range []Source{SourceNear, SourceFresh, SourceStale, SourceWaited, SourceBypassed, SourceComputed, SourceRefused, SourceFailed} {
		if total.Elements[source] > 0 {
			total.Source = source // the last one that there is
		}
	}
	if info != nil {
		*info = total
	}
}

// outcome returns the results of all ids. The error is the first error of the function, of Redis
// or of the context, joined with a ColdCacheError if some ids were refused.
func (b *batch) outcome() ([]shape.Results, error) {
	var failed error
	var refused *ColdCacheError
	seen := make(map[*element]bool)
	for i, el := range b.of {
		if el == nil {
			continue
		}
		var cold *ColdCacheError
		switch a := &el.a; {
		case a.panic != nil:
			panic(a.panic)
		case a.goexit:
			runtime.Goexit()
		case a.err == nil:
			b.results[i] = a.results
		case errors.As(a.err, &cold) && !seen[el]:
			if refused == nil {
				own := *cold
				refused = &own
			}
			refused.IDs = append(refused.IDs, el.fn.shape.Argument(el.args, 0).Interface())
		case cold == nil && a.err != errMissing: //nolint:errorlint // made by the run of a batch
			failed = cmp.Or(failed, a.err)
		}
		seen[el] = true
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
