package fncache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/fncache/fncache/internal/flights"
	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
	"github.com/fncache/fncache/internal/structtag"
)

// Wrap replaces the function in *fn, a func field or variable, by its cached
// version, and returns the handle to it. Call Wrap at start-up: it writes to *fn, so
// nothing may call *fn meanwhile.
//
// Wrap checks the function once: its parameters and results (see the package
// documentation), the options, and the name. The error names every fault, with its
// place and what to do; *fn is then not changed. If Options.Cache is nil, the cache is
// found at the first call, and Wrap can run in the initialization of a package variable:
//
//	var _ = fncache.Must(fncache.Wrap(&TopBookIDs, fncache.Options{Timeout: time.Hour}))
func Wrap[F any](fn *F, opts Options) (*Func, error) {
	return wrapVariable(reflect.ValueOf(fn), site{at: callersLine()}, opts, reflectedShape)
}

// wrapVariable wraps the function in the variable that pointer points to. shapeOf
// makes the shape of the function.
func wrapVariable(pointer reflect.Value, s site, opts Options, shapeOf shaper) (*Func, error) {
	if pointer.IsNil() {
		return nil, (&Func{site: s}).errorf("the pointer is nil; pass the address of a func field or variable")
	}
	f, err := prepare(pointer.Elem(), s, opts, nil, shapeOf)
	if err != nil {
		return nil, err
	}
	if err := names.add(f, f.opts.Cache); err != nil {
		return nil, f.errorf("%w", err)
	}
	f.replace()
	return f, nil
}

// reflectedShape returns the shape of a function of any type.
func reflectedShape(f *Func) (shape.Shape, func() reflect.Value) {
	s := shape.NewReflected(f.plans, f.original)
	return s, func() reflect.Value {
		return reflect.MakeFunc(f.variable.Type(), func(in []reflect.Value) []reflect.Value { return callReflected(f, s, in) })
	}
}

// callersLine returns file and line of the call to the function that calls callersLine.
func callersLine() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return ""
	}
	return filepath.Base(file) + ":" + strconv.Itoa(line)
}

// Funcs has the handles that [WrapStruct] returns, by the name of the field.
type Funcs map[string]*Func

// Get returns the handle of a field. The error names the fields that have one.
func (fs Funcs) Get(name string) (*Func, error) {
	if f := fs[name]; f != nil {
		return f, nil
	}
	if len(fs) == 0 {
		return nil, fmt.Errorf("fncache: no handle for the field %q: there are no handles at all; use what WrapStruct returns without an error", name)
	}
	return nil, fmt.Errorf("fncache: no handle for the field %q; there are handles for %s", name, strings.Join(slices.Sorted(maps.Keys(fs)), ", "))
}

// WrapStruct wraps func fields of the struct that target points to, and returns their
// handles by field name. It wraps the fields that carry a tag `fncache:"..."`. The tag
// holds options in lower case, separated by commas. They override defaults:
//
//	type BookService struct {
//		TopBookIDs func(ctx context.Context, authorID int64) ([]int64, error) `fncache:"timeout=24h,freshness=1h,prefix=Author"`
//		BookByID   func(ctx context.Context, id int64) (Book, error)          `fncache:"timeout=1h,oncold=wait,waittimeout=2s"`
//		Ping       func(ctx context.Context) error // no tag: left alone
//	}
//
// Durations are written as Go writes them. An empty tag takes the defaults as they are; "-" leaves
// the field alone. Cache, Vary, StaleIf and CacheErrors can only be set in defaults. There Vary
// applies to the fields that take a context, and CacheErrors to the fields with an error result,
// except batch functions. With batch in its tag a field holds a batch function, as for [WrapBatch];
// the methods of its handle take one id.
//
// WrapStruct enters embedded structs and embedded pointers to structs. If two of them have a field
// of the same name, the deeper field's handle is under its path ("Base.TopBookIDs"). A tag in a
// struct that is not embedded is an error, unless the tagged field is wrapped already or the field
// that holds the struct is tagged "-".
//
// WrapStruct wraps all tagged fields or none: one error joins the faults of all fields.
func WrapStruct(target any, defaults Options) (Funcs, error) {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("fncache: wrap struct: %T is not a pointer to a struct; pass &svc", target)
	}
	w := structWrapper{
		at:       callersLine(),
		defaults: defaults,
		funcs:    make(Funcs),
	}
	for _, field := range structtag.Fields(v.Elem(), variables.Has) {
		if err := w.wrap(field); err != nil {
			w.faults = append(w.faults, err)
		}
	}
	w.refuseOneName()
	if len(w.faults) == 0 && len(w.funcs) == 0 {
		w.faults = append(w.faults, fmt.Errorf("fncache: wrap %v: no field carries a tag; tag func fields, as in `fncache:\"timeout=1h\"`", v.Elem().Type()))
	}
	if len(w.faults) == 0 {
		w.register()
	}
	if len(w.faults) > 0 {
		return nil, errors.Join(w.faults...)
	}
	for _, f := range w.funcs {
		f.replace()
	}
	return w.funcs, nil
}

// Must returns v, or panics if err is not nil. Use it to wrap in package variables and in
// main, where an error is a bug in the program.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A structWrapper is one run of WrapStruct.
type structWrapper struct {
	at       string // file and line of the call
	defaults Options
	funcs    Funcs
	order    []*Func // in the order of the fields
	faults   []error
}

// wrap prepares a tagged field.
func (w *structWrapper) wrap(field structtag.Field) error {
	if field.Err != nil {
		return fmt.Errorf("fncache: wrap %w", field.Err)
	}
	defaults := w.defaults
	if !signature.ReturnsError(field.Value.Type()) {
		// CacheErrors are meant for the other fields, and no tag can leave them out.
		defaults.CacheErrors, defaults.ErrorTimeout = nil, 0
	}
	if !signature.TakesContext(field.Value.Type()) {
		defaults.Vary = nil // the function has no context to vary by
	}
	defaults.BatchSize, defaults.MissingTimeout = 0, 0 // meant for batch functions
	opts, tagErr := tagOptions.Parse(field.Tag, defaults)
	tagErr = eachFault(tagErr, func(fault error) error {
		return fmt.Errorf("fncache: wrap %s: tag %q: %w", field.Place(), field.Tag, fault)
	})
	here := site{at: w.at, place: field.Place(), field: funcname.OfField(field.Struct, field.Name)}
	shapeOf := reflectedShape
	if opts.batch {
		if here.element = elementOf(field.Value.Type()); here.element == nil {
			return fmt.Errorf("fncache: wrap %s: tag %q: batch is set, but the field is a %v; make it a func(context.Context, []K) (map[K]V, error), or leave batch out",
				field.Place(), field.Tag, field.Value.Type())
		}
		opts, shapeOf = opts.forBatch(&w.defaults), reflectedBatch
	}
	f, err := prepare(field.Value, here, opts, tagErr, shapeOf)
	if err != nil {
		return err
	}
	name := field.Name
	if w.funcs[name] != nil {
		name = field.Path + name
	}
	w.funcs[name] = f
	w.order = append(w.order, f)
	return nil
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

// refuseOneName refuses a Name in the defaults that reaches several fields, unless the
// fields share entries.
func (w *structWrapper) refuseOneName() {
	first := make(map[string]*Func)
	for _, f := range w.order {
		if f.opts.Name != w.defaults.Name || f.opts.Name == "" || f.opts.Shared {
			continue
		}
		if other := first[f.Name()]; other != nil {
			w.faults = append(w.faults, f.errorf("the Name %s in defaults applies to this field and to %s; write name=NAME in the tag of each, or set Shared if they are the same function",
				f.opts.Name, other.site.place))
			continue
		}
		first[f.Name()] = f
	}
}

// register registers all names, or none.
func (w *structWrapper) register() {
	for _, f := range w.order {
		if err := names.add(f, f.opts.Cache); err != nil {
			w.faults = append(w.faults, f.errorf("%w", err))
		}
	}
	if len(w.faults) > 0 {
		for _, f := range w.order {
			names.remove(f)
		}
	}
}

// replace puts the stub into the variable.
func (f *Func) replace() {
	if f.opts.Cache != nil {
		f.noteOpenKeys(f.opts.Cache)
	}
	f.variable.Set(f.stub())
	variables.Add(f.variable, f)
}

// Stats returns the counters of the function since it was wrapped.
func (f *Func) Stats() Stats { return f.stats() }

// Unwrap puts the original function back and frees the name. Like Wrap it writes
// to the variable, so nothing may call the function meanwhile. Copies of the wrapped
// function call the original from then on. Calls under way are not affected.
// A second Unwrap does nothing.
func (f *Func) Unwrap() {
	f.binding.Lock()
	defer f.binding.Unlock()
	if !f.unwrapped.CompareAndSwap(false, true) {
		return
	}
	if variables.Of(f.variable) == f {
		f.variable.Set(f.original)
	}
	variables.Remove(f)
	names.remove(f)
	if b := f.bound.Load(); b != nil {
		b.cache.releases.Forget(f)
		b.cache.events.Leave(b.near)
		b.cache.events.Leave(b.fence)
	}
}

// Key returns the Redis key of the entry for these arguments, which are given without the context.
// Arguments are converted if nothing is lost, so Key(42) works for an int64 parameter. Variadic
// arguments are given as in a call. If Options.Vary is set, Key returns an error: use [Func.KeyFor].
func (f *Func) Key(args ...any) (string, error) {
	given, err := f.arguments("key of", args)
	if err != nil {
		return "", err
	}
	return f.keyOf(given)
}

func (f *Func) keyOf(args shape.Arguments) (string, error) {
	if f.sig.Varies {
		return "", fmt.Errorf("fncache: key of %s: Options.Vary is set, so the key depends on the context; use KeyFor", f.Name())
	}
	return f.keyFor(context.Background(), args)
}

// KeyFor is [Func.Key] for a call with the context ctx: the string that Options.Vary
// returns for ctx is part of the key.
func (f *Func) KeyFor(ctx context.Context, args ...any) (string, error) {
	given, err := f.arguments("key of", args)
	if err != nil {
		return "", err
	}
	return f.keyFor(ctx, given)
}

func (f *Func) keyFor(ctx context.Context, args shape.Arguments) (string, error) {
	t, err := f.target(ctx, "key of", args)
	return t.key, err
}

// Invalidate deletes the entry for these arguments (as for KeyFor) and its lease, in the
// whole fleet. The result of a computation that began before is not stored. Invalidate
// does this for every release of the function that has the same parameter types, so in a
// rolling deploy one release also invalidates the entries of the other.
//
// Calls that begin in this process after Invalidate has returned do not get the invalidated
// value. In another process, calls whose lookup is sent after the invalidation do not get
// it; callers there may still share a lookup that was sent before. With Options.Near, another
// process stops serving the value when it receives the event; while Redis is away, its near
// cache still serves it.
//
// Invalidate is sent even while Redis is away, because its caller has to know the outcome.
// It may then take twice RedisTimeout, because the releases are looked up first. The error is
// nil, the error of ctx, or wraps [ErrRedisDown]. After an error the entry of this or of
// another release may still be there.
func (f *Func) Invalidate(ctx context.Context, args ...any) error {
	given, err := f.arguments(opInvalidate, args)
	if err != nil {
		return err
	}
	return f.overtake(ctx, invalidating, given)
}

// Expire makes a fresh entry for these arguments (as for KeyFor) stale, in the whole fleet:
// the next caller recomputes it, and meanwhile the others are served the stale value. The
// result of a computation that began before is not stored. Otherwise Expire works like
// [Func.Invalidate]. To expire all entries with a tag together, use [Cache.ExpireTags].
func (f *Func) Expire(ctx context.Context, args ...any) error {
	given, err := f.arguments(opExpire, args)
	if err != nil {
		return err
	}
	return f.overtake(ctx, expiring, given)
}

// overtake invalidates or expires the entries for these arguments, as step says.
func (f *Func) overtake(ctx context.Context, step *overtaking, all ...shape.Arguments) error {
	var t target
	keys := make([]string, len(all))
	for i, args := range all {
		var err error
		if t, err = f.target(ctx, step.op, args); err != nil {
			return err
		}
		keys[i] = t.key
	}
	if len(keys) == 0 {
		return nil
	}
	if t.cache.life.Closed() {
		return fmt.Errorf("%w; function %s, key %s", newRedisError(step.op, t.key, ErrClosed), f.Name(), t.key)
	}
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	err := t.cache.overtakeEntries(ctx, f, keys, step)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; function %s, key %s", err, f.Name(), keys[0])
	}
	return err
}

// Refresh recomputes and stores the entry for these arguments (as for KeyFor), even if the
// cached entry is fresh. If another caller computes it, Refresh waits for the lease, up to
// Options.WaitTimeout, and then computes. It never takes the result of a computation that
// began before. The function gets a context with the values of ctx.
//
// The error is nil if the value is stored, if the function called [NoStore], or if a batch function
// has no value for the id. Otherwise it is the error of the function or of ctx, or wraps [ErrColdCache],
// [ErrRedisDown], [ErrComputeTimeout] or [ErrLeaseLost], or its text says why the result cannot be stored.
func (f *Func) Refresh(ctx context.Context, args ...any) error {
	given, err := f.arguments("refresh", args)
	if err != nil {
		return err
	}
	if _, err = f.refresh(ctx, given); err == errMissing { //nolint:errorlint // it is returned as it is
		return nil
	}
	return err
}

// refresh does what Refresh does, and returns the results, or nil.
func (f *Func) refresh(ctx context.Context, args shape.Arguments) (shape.Results, error) {
	t, err := f.target(ctx, "refresh", args)
	if err != nil {
		return nil, err
	}
	ctx = orBackground(ctx)
	c := t.call(ctx, f)
	c.handUp(perCallOf(ctx).frame)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if perCallOf(ctx).frame.computes(t.cache, t.key) {
		return nil, fmt.Errorf("fncache: refresh %s: this call runs inside the computation of %s and would wait for itself; call Refresh outside of the function",
			f.Name(), t.key)
	}
	c.strict = true
	a := c.answer(true)
	a.raise()
	return a.results, a.err
}

// peek returns the results that a call would be served now, or nil. It does not compute.
func (f *Func) peek(ctx context.Context, args shape.Arguments) (r shape.Results, info Info, ok bool, err error) {
	t, err := f.target(ctx, "peek", args)
	if err != nil {
		return nil, info, false, err
	}
	info.Key = t.key
	ctx = orBackground(ctx)
	c := t.call(ctx, f)
	c.handUp(perCallOf(ctx).frame)
	if ctx.Err() != nil {
		return nil, info, false, ctx.Err()
	}
	a := c.peek()
	info.Source, info.Age, info.Cost = a.source, a.age, a.cost
	return a.results, info, a.source != SourceNone, a.err
}

// peek answers a call that reads and never computes. The source is SourceNone if no entry may
// be served. Peeks share a lookup only with other peeks, because the lookup of a call may lead
// to a computation.
func (c *call) peek() answer {
	c.informed = true
	keeps := c.fn.near != nil && !c.fn.unwrapped.Load()
	if keeps {
		e, _ := c.cache.near.Fresh(c.fn.near, c.fn.nearKey(c.input, c.key))
		if a, ok := c.fromNear(e, SourceNear); ok {
			return a
		}
	}
	d, err := c.decision(flights.ToPeek)
	if err != nil {
		return answer{err: err}
	}
	var a answer
	unreadable := false // the entry could be decoded for the flight, but not for this call
	switch v := d.verdict.(type) {
	case serveFresh:
		a, unreadable = c.serve(v.entry, SourceFresh, d.alone)
	case serveStale:
		a, unreadable = c.serve(v.entry, SourceStale, d.alone)
	case redisDown:
		if keeps {
			if a, ok := c.lastResort(); ok {
				return a
			}
		}
		return answer{err: fmt.Errorf("%w; function %s, key %s", v.cause, c.fn.Name(), c.key)}
	}
	if unreadable {
		return answer{}
	}
	return a
}

// A target is the entry that a method of a handle works on.
type target struct {
	*binding
	input
	key string
}

// call returns a call for the entry of the target. The call is not counted.
func (t *target) call(ctx context.Context, f *Func) *call {
	return &call{fn: f, cache: t.cache, bound: t.binding, ctx: ctx, input: t.input, key: t.key}
}

// arguments converts arguments to the types of the parameters. op names the method in the error.
func (f *Func) arguments(op string, args []any) (shape.Arguments, error) {
	values, err := f.sig.Arguments(args)
	if err != nil {
		return nil, fmt.Errorf("fncache: %s %s: %w", op, f.Name(), err)
	}
	return f.shape.Arguments(values), nil
}

// target returns the entry that a method of a handle works on. op names the method in the error.
func (f *Func) target(ctx context.Context, op string, args shape.Arguments) (t target, err error) {
	if t.binding, err = f.bind(); err != nil {
		return t, fmt.Errorf("fncache: %s %s: %w", op, f.Name(), err)
	}
	t.args = args
	if f.sig.Varies {
		t.vary = f.opts.Vary(orBackground(ctx))
	}
	t.key, err = f.key(t.binding, t.input)
	return t, err
}

// Funcs returns the handles of the functions that are wrapped on the cache, sorted by name. A
// function without Options.Cache is on the default cache. For a closed cache Funcs returns nil.
func (c *Cache) Funcs() []*Func {
	if c.life.Closed() {
		return nil
	}
	return names.wrappedOn(c)
}
