package fncache

import (
	"cmp"
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

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
	"github.com/fncache/fncache/internal/structtag"
)

// Wrap replaces the function in *fn, a func field or variable, by its cached
// version, and returns the handle to it. Wrap at start-up: it writes to *fn, so
// nothing may call *fn meanwhile.
//
// Everything about the function is checked here, once: its parameters and
// results (see the package documentation), the options, the name. The error
// names every fault, with its place and what to do; *fn is then left alone.
// Where the cache is to be found later (Options.Cache is nil), Wrap needs none,
// and runs in the initialization of a package variable:
//
//	var _ = fncache.Must(fncache.Wrap(&TopBookIDs, fncache.Options{Timeout: time.Hour}))
func Wrap[F any](fn *F, opts Options) (*Func, error) {
	return wrapVariable(reflect.ValueOf(fn), site{at: callersLine()}, opts, reflectedShape)
}

// wrapVariable wraps the function in the variable that pointer points to, in the
// form that shapeOf makes.
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

// reflectedShape is that of a function whose type is any.
func reflectedShape(f *Func) (shape.Shape, func() reflect.Value) {
	s := shape.NewReflected(f.plans, f.original)
	return s, func() reflect.Value {
		return reflect.MakeFunc(f.variable.Type(), func(in []reflect.Value) []reflect.Value { return callReflected(f, s, in) })
	}
}

// callersLine is where the caller of the function that calls it stands.
func callersLine() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return ""
	}
	return filepath.Base(file) + ":" + strconv.Itoa(line)
}

// Funcs are the handles that [WrapStruct] returns, by the name of the field.
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

// WrapStruct wraps the func fields of the struct that target points to which
// carry a tag `fncache:"..."`, and returns their handles by field name. The tag
// holds options in lower case, comma-separated, over defaults:
//
//	type BookService struct {
//		TopBookIDs func(ctx context.Context, authorID int64) ([]int64, error) `fncache:"timeout=24h,freshness=1h,prefix=Author"`
//		BookByID   func(ctx context.Context, id int64) (Book, error)          `fncache:"timeout=1h,oncold=wait,waittimeout=2s"`
//		Ping       func(ctx context.Context) error // no tag: left alone
//	}
//
// Durations are written as Go writes them. An empty tag takes the defaults as
// they are; "-" leaves the field alone. CacheErrors, which a tag cannot say, are
// given in defaults, and apply to every field with an error result. Embedded structs, and embedded pointers
// to structs, are entered; where two of them have a field of the same name, the
// deeper one's handle is under its path ("Base.TopBookIDs"). Tags in structs that
// are not embedded are an error, unless they are wrapped already or the field that
// holds the struct is tagged "-".
//
// It is all or nothing: the faults of all fields come in one error, and then
// nothing is replaced.
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

// Must gives v, or panics with err: for wrapping in package variables and in
// main, where an error is a bug in the program.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// structWrapper is one run of WrapStruct.
type structWrapper struct {
	at       string // file and line of the call
	defaults Options
	funcs    Funcs
	order    []*Func // as the fields stand
	faults   []error
}

// wrap prepares a tagged field.
func (w *structWrapper) wrap(field structtag.Field) error {
	if field.Err != nil {
		return fmt.Errorf("fncache: wrap %w", field.Err)
	}
	defaults := w.defaults
	if !signature.ReturnsError(field.Value.Type()) {
		// They are meant for the other fields, and no tag can leave them out.
		defaults.CacheErrors, defaults.ErrorTimeout = nil, 0
	}
	if !signature.TakesContext(field.Value.Type()) {
		defaults.Vary = nil // nor can this function vary by what it is not given
	}
	opts, tagErr := tagOptions.Parse(field.Tag, defaults)
	tagErr = eachFault(tagErr, func(fault error) error {
		return fmt.Errorf("fncache: wrap %s: tag %q: %w", field.Place(), field.Tag, fault)
	})
	here := site{at: w.at, place: field.Place(), field: funcname.OfField(field.Struct, field.Name)}
	f, err := prepare(field.Value, here, opts, tagErr, reflectedShape)
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

// refuseOneName is for a Name in the defaults: it cannot be meant for several
// fields, unless they are to share entries.
func (w *structWrapper) refuseOneName() {
	first := make(map[string]*Func)
	for _, f := range w.order {
		if f.opts.Name != w.defaults.Name || f.opts.Name == "" || f.opts.Shared {
			continue
		}
		if other := first[f.Name()]; other != nil {
			w.faults = append(w.faults, f.errorf("the Name %s of the defaults reaches this field and %s; write name=NAME in the tag of each, or set Shared if they are the same function",
				f.opts.Name, other.site.place))
			continue
		}
		first[f.Name()] = f
	}
}

// register takes all names, or none.
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

// Stats gives the counters of the function since it was wrapped.
func (f *Func) Stats() Stats { return f.stats() }

// Unwrap puts the original function back and frees the name. Like Wrap it writes
// to the variable, so nothing may call it meanwhile; copies of the wrapped
// function call the original from then on. Calls under way end as they would
// have. Unwrapping twice is fine.
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

// Key gives the Redis key of the entry for these arguments, without the context:
// Key(42) serves an int64 parameter, for arguments are converted where nothing
// is lost. Variadic arguments are given as in a call. Where Options.Vary is set, the
// key depends on a context, and Key returns an error: see [Func.KeyFor].
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

// KeyFor is [Func.Key] for a call with that context: what Options.Vary answers for it
// is part of the key.
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

// Invalidate deletes the entry for these arguments (as for KeyFor) in the whole
// fleet, and takes the lease from whoever computes it: what began to be computed
// before is not stored. It does so for every release of the function that has the
// same parameter types, so that in a rolling deploy one release invalidates what
// the other serves. No call that begins in this process after Invalidate has
// returned is answered with it; in another process, no call whose lookup is sent
// after it (callers there may share one that is under way), but for what
// Options.Near has kept there, while Redis is away.
//
// It is sent even where Redis has not answered for a while and is not asked
// otherwise, for somebody must know its end, and so may take twice RedisTimeout: the
// releases are looked up first. The error is nil, the end of ctx, or wraps
// [ErrRedisDown]; after an error the entry, or that of another release, may still be
// there.
func (f *Func) Invalidate(ctx context.Context, args ...any) error {
	given, err := f.arguments(opInvalidate, args)
	if err != nil {
		return err
	}
	return f.overtake(ctx, invalidating, given)
}

// Expire makes the entry for these arguments (as for KeyFor) stale at most, whatever its age,
// in the whole fleet: the next caller recomputes it, and the others are served the stale value
// meanwhile. What began to be computed before is not stored. Otherwise it is like
// [Func.Invalidate]. To expire all entries of one name together, see [Cache.ExpireTags].
func (f *Func) Expire(ctx context.Context, args ...any) error {
	given, err := f.arguments(opExpire, args)
	if err != nil {
		return err
	}
	return f.overtake(ctx, expiring, given)
}

// overtake takes a step that overtakes the entry for these arguments.
func (f *Func) overtake(ctx context.Context, step *overtaking, args shape.Arguments) error {
	t, err := f.target(ctx, step.op, args)
	if err != nil {
		return err
	}
	if t.cache.life.Closed() {
		return fmt.Errorf("%w; function %s, key %s", newRedisError(step.op, t.key, ErrClosed), f.Name(), t.key)
	}
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	if err = t.cache.overtakeEntry(ctx, f, t.key, step); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; function %s, key %s", err, f.Name(), t.key)
	}
	return err
}

// detach lets newcomers to an entry start afresh: in every function of this process
// that shares it or has one of another signature for the same arguments, on whichever
// cache.
func (f *Func) detach(c *Cache, key string) {
	for _, h := range names.holdings(f, c, key) {
		h.cache.events.Note(events.Event{Verb: events.Invalidate, Key: h.key, ID: "-"})
		h.cache.flights.detach(h.flightKey)
	}
}

// overtakeEntry takes a step for the entries of a function for the arguments of one of them,
// in all releases that are registered for the same parameter types. It takes their leases.
func (c *Cache) overtakeEntry(ctx context.Context, fn *Func, key string, step *overtaking) error {
	s := c.storeFor(fn)
	registry := registryKey(c.cfg.Namespace, fn.Name())
	fn.detach(c, key)
	records, err := s.releases(ctx, registry)
	if ctx.Err() == nil && c.noteRedis(fn, opReleases, registry, err) {
		return fmt.Errorf("%w; the releases that may have stored it cannot be read, key %s", err, registry)
	}
	if err != nil {
		return err
	}
	keys := keysOfReleases(key, fn.params, records)
	fn.detach(c, key)
	err = s.overtake(ctx, step, keys)
	fn.detach(c, key)
	if ctx.Err() == nil {
		c.noteRedis(fn, step.op, key, err)
	}
	return err
}

// keysOfReleases returns the key of an entry, and those that other releases with the same
// parameter types give it.
func keysOfReleases(key, params string, records []releases.Record) []string {
	own := strings.LastIndexByte(key, ':') + 1
	keys := []string{key}
	for _, r := range records {
		if r.Takes(params) && r.Signature != key[own:] {
			keys = append(keys, key[:own]+r.Signature)
		}
	}
	return keys
}

// Refresh recomputes and stores the entry for these arguments (as for KeyFor) now,
// whatever is cached. Where somebody else computes it waits for the lease, up to
// Options.WaitTimeout, and then computes; it never takes what began to be
// computed before. The function is given ctx's values.
//
// The error is nil once the value is stored (or the function itself asked not
// to, by NoStore); the function's; that of ctx; or wraps [ErrColdCache],
// [ErrRedisDown] or [ErrLeaseLost].
func (f *Func) Refresh(ctx context.Context, args ...any) error {
	given, err := f.arguments("refresh", args)
	if err != nil {
		return err
	}
	_, err = f.refresh(ctx, given)
	return err
}

// refresh is Refresh, and returns the results, or nil.
func (f *Func) refresh(ctx context.Context, args shape.Arguments) (shape.Results, error) {
	t, err := f.target(ctx, "refresh", args)
	if err != nil {
		return nil, err
	}
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if perCallOf(ctx).frame.computes(t.cache, t.key) {
		return nil, fmt.Errorf("fncache: refresh %s: %s is being computed by the very call that refreshes it, which would wait for itself; refresh it from outside",
			f.Name(), t.key)
	}
	c := t.call(ctx, f)
	c.strict = true
	a := c.answer(true)
	a.raise()
	return a.results, a.err
}

// peek returns what a call would be served now, without computing: the results, or nil, and
// where they come from.
func (f *Func) peek(ctx context.Context, args shape.Arguments) (r shape.Results, info Info, ok bool, err error) {
	t, err := f.target(ctx, "peek", args)
	if err != nil {
		return nil, info, false, err
	}
	info.Key = t.key
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return nil, info, false, ctx.Err()
	}
	c := t.call(ctx, f)
	c.handUp(perCallOf(ctx).frame)
	a := c.peek()
	info.Source, info.Age, info.Cost = a.source, a.age, a.cost
	return a.results, info, a.source != SourceNone, a.err
}

// A target is what a method of a handle is about: the entry of some arguments.
type target struct {
	*binding
	input
	key string
}

// call returns a call for the entry of the target, which keeps no books.
func (t *target) call(ctx context.Context, f *Func) *call {
	return &call{fn: f, cache: t.cache, bound: t.binding, ctx: ctx, input: t.input, key: t.key}
}

// arguments returns the arguments that a method of a handle was given, converted to the types
// of the parameters. op is the method, for the error.
func (f *Func) arguments(op string, args []any) (shape.Arguments, error) {
	values, err := f.sig.Arguments(args)
	if err != nil {
		return nil, fmt.Errorf("fncache: %s %s: %w", op, f.Name(), err)
	}
	return f.shape.Arguments(values), nil
}

// target is the beginning of a method of a handle.
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

// A holding is what one function has of an entry on one cache.
type holding struct {
	cache *Cache
	flightKey
}

// holdings returns what this process may have of the entry that f has under a key on
// the cache c: in every function that has or had its name there, by every cache, under
// every signature.
func (r *registry) holdings(f *Func, c *Cache, key string) []holding {
	all := []holding{{c, flightKey{f, key}}}
	base, _, _ := strings.Cut(key, "}")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.m[f.Name()] {
		if u.cache != nil && u.space() == c.space && (u.fn != f || u.cache != c) {
			all = append(all, holding{u.cache, flightKey{u.fn, base + u.suffix}})
		}
	}
	return all
}

// Funcs returns the handles of the functions that are wrapped on the cache, sorted by their
// names. A function without Options.Cache is on the default cache. Functions that are
// unwrapped are left out, and a closed cache has none.
func (c *Cache) Funcs() []*Func {
	if c.life.Closed() {
		return nil
	}
	return names.wrappedOn(c)
}

// wrappedOn returns the functions whose cache is c, by their names.
func (r *registry) wrappedOn(c *Cache) (all []*Func) {
	isDefault := defaultCache.Load() == c
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, users := range r.m {
		for _, u := range users {
			on := u.fn.opts.Cache == c || u.fn.opts.Cache == nil && isDefault
			if on && !slices.Contains(all, u.fn) {
				all = append(all, u.fn)
			}
		}
	}
	slices.SortFunc(all, func(a, b *Func) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a.whence(), b.whence()))
	})
	return all
}
