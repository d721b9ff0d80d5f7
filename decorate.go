package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
	"weak"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
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

// A site is where a function is wrapped, for errors.
type site struct {
	at    string // file and line of the call of Wrap or WrapStruct
	place string // the struct field; "" outside of WrapStruct
	field string // the name of that field for keys; "" if there is none
}

// callersLine is where the caller of the function that calls it stands.
func callersLine() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return ""
	}
	return filepath.Base(file) + ":" + strconv.Itoa(line)
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
func WrapStruct(target any, defaults Options) (map[string]*Func, error) {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("fncache: wrap struct: %T is not a pointer to a struct; pass &svc", target)
	}
	w := structWrapper{
		at:       callersLine(),
		defaults: defaults,
		funcs:    make(map[string]*Func),
	}
	for _, field := range structtag.Fields(v.Elem(), stubs.has) {
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
	funcs    map[string]*Func
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
	here := site{at: w.at, place: field.Place(), field: fieldName(field.Struct, field.Name)}
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

// A Func is the handle to a wrapped function. Its methods are safe for
// concurrent use, but for Unwrap.
type Func struct {
	opts   Options // with their defaults; never written
	name   funcName
	site   site
	sig    *signature.Signature
	params string // the fingerprint of the parameters alone
	// fingerprint is that of the types and of the default codec.
	fingerprint string
	plans       *shape.Plans // of arguments and results
	shape       shape.Shape
	stub        func() reflect.Value // makes what replaces the function
	near        *near                // nil without Options.Near
	variable    reflect.Value        // where the stub stands
	original    reflect.Value
	// selfDecoding says that results may be decoded by methods of the user's own.
	selfDecoding bool

	negatives  []negativeError // of Options.CacheErrors
	answerSize atomic.Int64    // of large entries, lately; see expected
	counters   counters
	bound      atomic.Pointer[binding]
	binding    sync.Mutex // held while bound or unwrapped changes
	unwrapped  atomic.Bool
}

// A binding is what a function's calls need of its cache.
type binding struct {
	cache  *Cache
	prefix string   // of keys, up to the hash
	suffix string   // of keys, from the hash on
	near   *channel // of events, for the near cache; nil without one
	// channel is what was last heard of the function's events, nil if nothing was.
	channel atomic.Pointer[channel]
	lease   time.Duration // at least 4 times the cache's RedisTimeout
}

// prepare checks everything about the function in variable. optsErr is what is
// known to be wrong with opts, which then are looked at no further. shapeOf is
// called when all is well.
func prepare(variable reflect.Value, s site, opts Options, optsErr error, shapeOf shaper) (*Func, error) {
	f := &Func{opts: opts, variable: variable, site: s}
	if variable.Kind() != reflect.Func {
		return nil, f.errorf("*fn is a %v, not a func; pass the address of a func field or variable", variable.Type())
	}
	takeErr := f.take()
	typeErr := f.checkTypes()
	if optsErr == nil {
		optsErr = f.checkOptions()
	}
	if err := errors.Join(takeErr, typeErr, optsErr); err != nil {
		return nil, err
	}
	f.fingerprint = f.sig.Fingerprint(codecName, codec.CBOR)
	f.params = f.sig.ParamsFingerprint()
	f.plans = shape.Compile(f.sig)
	f.selfDecoding = f.sig.Encoding.AskMethods()
	if f.opts.Near > 0 {
		f.near = newNear(f)
	}
	f.shape, f.stub = shapeOf(f)
	f.negatives = negativesOf(f.opts.CacheErrors)
	return f, nil
}

// take takes the function out of the variable, and finds its name.
func (f *Func) take() (err error) {
	if f.variable.IsNil() {
		return f.errorf("the func is nil; assign it before wrapping")
	}
	if other := stubs.of(f.variable); other != nil {
		return f.errorf("it is wrapped already, or a copy of the wrapped %s; wrap each function once", other.whence())
	}
	// A copy: replace will overwrite the variable.
	f.original = reflect.New(f.variable.Type()).Elem()
	f.original.Set(f.variable)
	f.name, err = nameOf(f.original, f.opts.Name, f.site.field)
	return f.faults(err)
}

func (f *Func) checkTypes() (err error) {
	f.sig, err = signature.New(f.variable.Type(), f.opts.Lossy)
	if c := f.opts.Cache; c != nil && c.made() && err == nil {
		err = c.coder.faults(f.sig)
	}
	return f.faults(err)
}

// checkOptions checks the options, and gives them their defaults.
func (f *Func) checkOptions() (err error) {
	f.sig.Varies = f.opts.Vary != nil
	f.opts, err = f.opts.withDefaults(f.sig.HasError)
	if f.sig.Varies && !f.sig.HasContext {
		err = errors.Join(err, errors.New("Vary is set, and the function has no context that it could vary by; leave it out, or take a context.Context as the first parameter"))
	}
	if c := f.opts.Cache; c != nil && err == nil {
		err = f.opts.checkCache(c)
	}
	return f.faults(err)
}

// errorf names the place of an error in wrapping: function or field, its file,
// and the line that wraps it.
func (f *Func) errorf(format string, args ...any) error {
	place := f.site.place
	if place == "" {
		place = f.name.title
	}
	if place != "" {
		place = " " + place
	}
	if f.name.where != "" {
		place += " (" + f.name.where + ")"
	}
	if f.site.place == "" && f.site.at != "" {
		place += " at " + f.site.at
	}
	return fmt.Errorf("fncache: wrap%s: %w", place, fmt.Errorf(format, args...))
}

// whence tells f apart from others of its name: by the field that it stands in,
// and the line that wrapped it.
func (f *Func) whence() string {
	what := f.site.place
	if what == "" {
		what = f.Name()
	}
	if f.site.at != "" {
		what += " (wrapped at " + f.site.at + ")"
	}
	return what
}

// faults puts the place before each of the errors that err joins.
func (f *Func) faults(err error) error {
	return eachFault(err, func(fault error) error { return f.errorf("%w", fault) })
}

// eachFault changes each of the errors that err joins.
func eachFault(err error, change func(error) error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what joins them is outermost
	if !ok {
		return change(err)
	}
	var changed []error
	for _, fault := range joined.Unwrap() {
		changed = append(changed, eachFault(fault, change))
	}
	return errors.Join(changed...)
}

// replace puts the stub into the variable.
func (f *Func) replace() {
	if f.opts.Cache != nil {
		f.noteOpenKeys(f.opts.Cache)
	}
	f.variable.Set(f.stub())
	stubs.add(f)
}

// conflict says why f may not have the name that other has: two variables share
// entries only where they hold one declared function, or where both say so.
func (f *Func) conflict(other *Func) error {
	same := f.name.declared && f.original.Pointer() == other.original.Pointer()
	switch {
	case f.fingerprint != other.fingerprint:
		return fmt.Errorf("the name %s is taken by a function of another signature, %v, %s; set another Name or Prefix", f.Name(), other.sig, other.whence())
	case same, f.opts.Shared && other.opts.Shared:
		return nil
	default:
		return fmt.Errorf("the name %s is taken by %s, which may be another function; set a Prefix or Name of its own, or Shared on both if they are the same function",
			f.Name(), other.whence())
	}
}

// Name gives the name of the function as it stands in keys: with its prefix, if
// it has one.
func (f *Func) Name() string {
	if f.opts.Prefix != "" {
		return f.opts.Prefix + ":" + f.name.name
	}
	return f.name.name
}

// String gives the name and the type of the function, for logs.
func (f *Func) String() string { return f.Name() + " " + f.sig.String() }

// Stats gives the counters of the function since it was wrapped.
func (f *Func) Stats() Stats {
	hits, saved := f.near.counted() // these before the beginnings, as all ends
	s := f.counters.snapshot()
	s.Calls += hits
	s.Near += hits
	s.SavedTime += saved
	return s
}

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
	if stubs.of(f.variable) == f {
		f.variable.Set(f.original)
	}
	stubs.remove(f)
	names.remove(f)
	if b := f.bound.Load(); b != nil {
		b.cache.releases.forget(f)
		b.cache.events.leave(b.near)
	}
}

// Key gives the Redis key of the entry for these arguments, without the context:
// Key(42) serves an int64 parameter, for arguments are converted where nothing
// is lost. Variadic arguments are given as in a call. Where Options.Vary is set, the
// key depends on a context, and Key returns an error: see [Func.KeyFor].
func (f *Func) Key(args ...any) (string, error) {
	if f.sig.Varies {
		return "", fmt.Errorf("fncache: key of %s: Options.Vary is set, so the key depends on the context; use KeyFor", f.Name())
	}
	return f.KeyFor(context.Background(), args...)
}

// KeyFor is [Func.Key] for a call with that context: what Options.Vary answers for it
// is part of the key.
func (f *Func) KeyFor(ctx context.Context, args ...any) (string, error) {
	b, given, err := f.handle(ctx, args)
	if err != nil {
		return "", fmt.Errorf("fncache: key of %s: %w", f.Name(), err)
	}
	return f.key(b, given)
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
	b, given, err := f.handle(ctx, args)
	if err != nil {
		return fmt.Errorf("fncache: invalidate %s: %w", f.Name(), err)
	}
	key, err := f.key(b, given)
	if err != nil {
		return err
	}
	if b.cache.closed() {
		return fmt.Errorf("%w; function %s, key %s", newRedisError(opInvalidate, key, ErrClosed), f.Name(), key)
	}
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	if err = b.cache.invalidate(ctx, f, key); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; function %s, key %s", err, f.Name(), key)
	}
	return err
}

// detach lets newcomers to an entry start afresh: in every function of this process
// that shares it or has one of another signature for the same arguments, on whichever
// cache.
func (f *Func) detach(c *Cache, key string) {
	for _, h := range names.holdings(f, c, key) {
		h.cache.events.note(keyEvent{verbInvalidate, h.key, "-"})
		h.cache.flights.detach(h.flightKey)
	}
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
	b, given, err := f.handle(ctx, args)
	if err != nil {
		return fmt.Errorf("fncache: refresh %s: %w", f.Name(), err)
	}
	key, err := f.key(b, given)
	if err != nil {
		return err
	}
	if ctx = orBackground(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	if perCallOf(ctx).frame.computes(b.cache, key) {
		return fmt.Errorf("fncache: refresh %s: %s is being computed by the very call that refreshes it, which would wait for itself; refresh it from outside",
			f.Name(), key)
	}
	c := &call{fn: f, cache: b.cache, ctx: ctx, input: given, key: key, strict: true}
	a := c.answer(true)
	a.raise()
	return a.err
}

// handle is the beginning of a handle's method: the binding, and what the key is made
// of.
func (f *Func) handle(ctx context.Context, args []any) (b *binding, in input, err error) {
	values, err := f.sig.Arguments(args)
	if err != nil {
		return nil, in, err
	}
	if b, err = f.bind(); err != nil {
		return nil, in, err
	}
	in.args = f.shape.Arguments(values)
	if f.sig.Varies {
		in.vary = f.opts.Vary(orBackground(ctx))
	}
	return b, in, nil
}

// varyOfCall returns what Options.Vary answers for a call, which is asked once. A panic
// in it is the caller's, and counted as a call that failed.
func (f *Func) varyOfCall(ctx context.Context) (vary string) {
	if !f.sig.Varies || f.unwrapped.Load() {
		return ""
	}
	answered := false
	defer func() {
		if !answered {
			f.counters.calls.Add(1)
			f.record(&answer{source: SourceFailed}, perCallOf(orBackground(ctx)).info.claim(), "")
		}
	}()
	vary = f.opts.Vary(orBackground(ctx))
	answered = true
	return vary
}

// errNoCache says what to do about ErrNoCache.
var errNoCache = fmt.Errorf("%w: call SetDefault before the first call, or set Options.Cache", ErrNoCache)

// bind finds the cache of f. The error is ErrNoCache, or says that another
// function has the name of f there: a default cache is known only now.
func (f *Func) bind() (*binding, error) {
	cache := f.opts.Cache
	if cache == nil {
		if cache = Default(); cache == nil || !cache.made() {
			return nil, errNoCache
		}
	}
	if b := f.bound.Load(); b != nil && b.cache == cache {
		return b, nil
	}
	return f.bindTo(cache)
}

// bindTo binds f to a cache: the first one, or another default one.
func (f *Func) bindTo(cache *Cache) (*binding, error) {
	f.binding.Lock()
	defer f.binding.Unlock()
	old := f.bound.Load()
	if old != nil && old.cache == cache {
		return old, nil // another call was faster
	}
	if !f.unwrapped.Load() {
		if err := names.add(f, cache); err != nil {
			cache.log.Once("name "+f.Name(), slog.LevelError, "a function is not cached: its name is another's", "function", f.whence(), "err", err)
			return nil, err
		}
	}
	b := &binding{
		cache:  cache,
		prefix: entryPrefix(cache.cfg.Namespace, f.Name()),
		suffix: entrySuffix(cache.coder.fingerprint(f)),
		lease:  max(f.opts.Lease, minLeases*cache.cfg.RedisTimeout),
	}
	if f.near != nil && !f.unwrapped.Load() {
		b.near = cache.joinChannel(f.Name())
		b.channel.Store(b.near)
	} else {
		b.channel.Store(cache.events.known(f.Name()))
	}
	f.bound.Store(b)
	if cache.closed() {
		f.unbind(cache) // Close may have gone by before
	}
	if old != nil {
		names.move(f, old.cache)
		old.cache.releases.forget(f)
		old.cache.events.leave(old.near)
	}
	f.noteOpenKeys(cache)
	return b, nil
}

// noteOpenKeys logs, once for a cache, that there is no HashSecret, if a caller of f could
// make use of that.
func (f *Func) noteOpenKeys(c *Cache) {
	if len(c.cfg.HashSecret) > 0 || !f.sig.Varies && !slices.ContainsFunc(f.sig.Params, keyhash.Chosen) {
		return
	}
	c.noted.Do(func() {
		c.log.Once("hash secret", slog.LevelInfo,
			"Config.HashSecret is not set: a caller who chooses strings, lists or maps among the arguments can search for two that share an entry; "+
				"if they come from strangers, set the same secret in every process",
			"func", f.Name())
	})
}

// unbind has a function of the default cache forget one that is closed, which it would
// keep alive.
func (f *Func) unbind(c *Cache) {
	if b := f.bound.Load(); b != nil && b.cache == c && f.opts.Cache == nil {
		f.bound.CompareAndSwap(b, nil)
	}
}

// minLeases is the least Lease in RedisTimeouts: a renewal that is due every
// third of a lease can fail once and still come in time.
const minLeases = 4

// lease is the Lease of f on that cache. A default cache comes after Wrap has
// checked the options, and may have a longer RedisTimeout than they allow for.
func (f *Func) lease(c *Cache) time.Duration {
	return max(f.opts.Lease, minLeases*c.cfg.RedisTimeout)
}

// waitLimit is how long a call of f waits for others.
func (f *Func) waitLimit() time.Duration {
	if f.opts.WaitTimeout > 0 {
		return f.opts.WaitTimeout
	}
	return f.opts.ComputeTimeout
}

// key gives the Redis key of an entry.
func (f *Func) key(b *binding, in input) (string, error) {
	k := b.cache.hashing
	hash, err := f.shape.Hash(k, in.args)
	if err != nil {
		return "", fmt.Errorf("fncache: %s: %w", f.Name(), err)
	}
	if f.sig.Varies {
		hash = k.Append(hash, k.Text(in.vary))
	}
	key := make([]byte, 0, len(b.prefix)+2*keyhash.Size+len(b.suffix))
	key = append(key, b.prefix...)
	key = hash.AppendHex(key)
	key = append(key, b.suffix...)
	return unsafe.String(unsafe.SliceData(key), len(key)), nil
}

// stubs knows the wrapped functions by their stub, so that none is wrapped twice.
// Stubs share their code; they differ in the closure that a func value points to.
var stubs stubSet

// A stubSet keeps neither stubs nor functions alive: a variable that nobody has any
// more is gone with what it was wrapped in.
type stubSet struct {
	mu    sync.Mutex // guards the fields below
	m     map[uintptr]stubbed
	sweep int // the number of stubs at which those that are gone are taken out
}

// leastSweep is the least number of stubs that are searched for those that are gone.
const leastSweep = 256

// A stubbed is a function with the closure of its stub, whose address is another's
// when it is gone.
type stubbed struct {
	closure weak.Pointer[byte]
	fn      weak.Pointer[Func]
}

// closureOf is the closure that the func value in an addressable variable points
// to.
func closureOf(variable reflect.Value) *byte {
	return *(**byte)(variable.Addr().UnsafePointer())
}

func address(closure *byte) uintptr { return uintptr(unsafe.Pointer(closure)) }

func (s *stubSet) of(variable reflect.Value) *Func {
	closure := closureOf(variable)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.m[address(closure)]; known.closure.Value() == closure {
		return known.fn.Value()
	}
	return nil
}

// has reports whether a variable holds a stub.
func (s *stubSet) has(variable reflect.Value) bool { return s.of(variable) != nil }

func (s *stubSet) add(f *Func) {
	closure := closureOf(f.variable)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[uintptr]stubbed)
	}
	if len(s.m) >= max(s.sweep, leastSweep) {
		maps.DeleteFunc(s.m, func(_ uintptr, known stubbed) bool { return known.closure.Value() == nil })
		s.sweep = 2 * len(s.m)
	}
	s.m[address(closure)] = stubbed{weak.Make(closure), weak.Make(f)}
}

func (s *stubSet) remove(f *Func) {
	mine := weak.Make(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.m, func(_ uintptr, known stubbed) bool { return known.fn == mine })
}
