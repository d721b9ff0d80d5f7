package fncache

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
	"github.com/fncache/fncache/internal/stubs"
	"github.com/fncache/fncache/internal/tagplan"
	"github.com/fncache/fncache/internal/verify"
)

// This file has the state of a wrapped function: its checks when it is wrapped, the registry of
// names, and the binding of a function to a cache.

// A Func is the handle to a wrapped function. Its methods are safe for concurrent use, except
// Unwrap. A method that takes arguments also returns an error if they do not fit the parameters of
// the function, or if the function has no cache ([ErrNoCache]).
type Func struct {
	opts   Options // with their defaults; never written
	name   funcname.Name
	site   site
	sig    *signature.Signature
	params string // the fingerprint of the parameters
	// fingerprint is the fingerprint of the types with the default codec.
	fingerprint string
	plans       *shape.Plans // of arguments and results
	shape       shape.Shape
	stub        func() reflect.Value // makes the function that replaces the original
	near        *near.Func           // nil without Options.Near
	verify      *verify.Func         // nil without Options.Verify
	places      *bulkhead.Bulkhead   // of Options.MaxConcurrent; nil without. Set by the registry, when wrapping
	variable    reflect.Value        // has the stub
	original    reflect.Value

	many       manyFunc        // calls a batch function; nil for other functions. Set by the shaper
	tagPlan    *tagplan.Plan   // of Options.Tags; nil without
	negatives  []negativeError // of Options.CacheErrors
	answerSize atomic.Int64    // size of recent large entries; see expected
	counters   counters
	bound      atomic.Pointer[binding]
	binding    sync.Mutex // held while bound or unwrapped changes
	unwrapped  atomic.Bool
}

// A site is where a function is wrapped, for errors.
type site struct {
	at    string // file and line of the call of Wrap or WrapStruct
	place string // the struct field; "" outside of WrapStruct
	field string // the name of that field for keys; "" if there is none
	// element is the type of a function for one id, if the function is a batch function; else nil.
	element reflect.Type
}

// A binding has the facts about a function on its cache that calls need.
type binding struct {
	cache  *Cache
	tag    fence.Tag       // the tag that all entries have, if they have tags
	prefix string          // of keys, up to the hash
	suffix string          // of keys, from the hash on
	near   *events.Channel // events for the near cache; nil without a near cache
	fence  *events.Channel // events about tags for the near cache; nil without a near cache or without tags
	// channel is the channel of the function's events that was last joined; nil if none was.
	channel atomic.Pointer[events.Channel]
	lease   time.Duration // at least 4 times the cache's RedisTimeout
}

// keepsPlain reports whether the stub can look in the near cache.
func (f *Func) keepsPlain() bool { return f.near != nil && f.plans.IsPlain() }

// prepare checks everything about the function in variable. optsErr is a known fault of
// opts; then opts are not checked further. shapeOf is called if there is no fault.
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
	f.fingerprint = f.sig.Fingerprint(codecName, f.typesFormat())
	f.params = f.sig.ParamsFingerprint()
	f.plans = shape.Compile(f.sig)
	if f.opts.Near > 0 {
		f.near = near.NewFunc(f.plans)
	}
	f.verify = verify.New(f.opts.Verify)
	f.shape, f.stub = shapeOf(f)
	f.negatives = negativesOf(f.opts.CacheErrors)
	if f.site.element != nil {
		f.opts.ErrorTimeout, f.negatives = f.opts.MissingTimeout, negativesOf([]error{errMissing})
	}
	return f, nil
}

// take takes the function out of the variable, and finds its name.
func (f *Func) take() (err error) {
	if f.variable.IsNil() {
		return f.errorf("the func is nil; assign it before wrapping")
	}
	if other := variables.Of(f.variable); other != nil {
		return f.errorf("it is wrapped already, or a copy of the wrapped %s; wrap each function once", other.whence())
	}
	// A copy: replace will overwrite the variable.
	f.original = reflect.New(f.variable.Type()).Elem()
	f.original.Set(f.variable)
	f.name, err = funcname.Of(f.original, f.opts.Name, f.site.field)
	return f.faults(err)
}

func (f *Func) checkTypes() (err error) {
	t := f.variable.Type()
	if f.site.element != nil {
		t = f.site.element
	}
	f.sig, err = signature.New(t, f.opts.Lossy, f.typesFormat())
	if c := f.opts.Cache; c != nil && c.made() && err == nil {
		err = c.coder.faults(f.sig)
	}
	return f.faults(err)
}

// typesFormat returns the format that checks the types of results: the format of the cache's
// codec if that is a FormCodec, and CBOR otherwise. Without Options.Cache the cache is known
// only if the default cache is already set.
func (f *Func) typesFormat() codec.Format {
	c := f.opts.Cache
	if c == nil {
		c = defaultCache.Load()
	}
	if c == nil || !c.made() {
		return codec.CBOR
	}
	return c.coder.types
}

// checkOptions checks the options, and sets their defaults.
func (f *Func) checkOptions() (err error) {
	f.sig.Varies = f.opts.Vary != nil
	f.opts, err = f.opts.withDefaults(f.sig.HasError)
	if f.sig.Varies && !f.sig.HasContext {
		err = errors.Join(err, errors.New("Vary is set, but the function has no context to vary by; leave Vary out, or add a context.Context as the first parameter"))
	}
	err = errors.Join(err, f.opts.checkBatch(f.site.element != nil), f.compileTags())
	if c := f.opts.Cache; c != nil && err == nil {
		err = f.opts.checkCache(c)
	}
	return f.faults(err)
}

// checkCache checks the options that depend on the cache.
func (o *Options) checkCache(c *Cache) error {
	if !c.made() {
		return errors.New("Options.Cache was not made by New or Open; pass a Cache that one of them returns")
	}
	return o.checkLease(c.cfg.RedisTimeout)
}

func (o *Options) checkLease(redisTimeout time.Duration) error {
	if least := minLeases * redisTimeout; o.Lease < least {
		return fmt.Errorf("Lease is %v, less than %d times the cache's RedisTimeout of %v; after one failed renewal the next would be too late: use at least %v",
			o.Lease, minLeases, redisTimeout, least)
	}
	return nil
}

// errorf returns an error with its place: the function or field, its file, and the line that
// wraps it.
func (f *Func) errorf(format string, args ...any) error {
	place := f.site.place
	if place == "" {
		place = f.name.Title
	}
	if place != "" {
		place = " " + place
	}
	if f.name.Where != "" {
		place += " (" + f.name.Where + ")"
	}
	if f.site.place == "" && f.site.at != "" {
		place += " at " + f.site.at
	}
	return fmt.Errorf("fncache: wrap%s: %w", place, fmt.Errorf(format, args...))
}

// whence describes f by its struct field and by the line that wrapped it, because other
// functions can have the same name.
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

// faults adds the place to each of the errors that err joins.
func (f *Func) faults(err error) error {
	return eachFault(err, func(fault error) error { return f.errorf("%w", fault) })
}

// conflict returns an error if f may not have the name of other. Two variables may share
// entries only if they hold the same declared function, or if both set Options.Shared.
func (f *Func) conflict(other *Func) error {
	same := f.name.Declared && f.original.Pointer() == other.original.Pointer()
	switch {
	case f.params == other.params && !slices.Equal(f.opts.Tags, other.opts.Tags):
		return fmt.Errorf("the name %s is taken by %s, which has other Tags; set the same Tags, or another Name or Prefix", f.Name(), other.whence())
	case f.fingerprint != other.fingerprint:
		return fmt.Errorf("the name %s is taken by a function of another signature, %v, %s; set another Name or Prefix", f.Name(), other.sig, other.whence())
	case same, f.opts.Shared && other.opts.Shared:
		return nil
	default:
		return fmt.Errorf("the name %s is taken by %s, which may be another function; set a Prefix or Name of its own, or Shared on both if they are the same function",
			f.Name(), other.whence())
	}
}

// String returns the name and the type of the function, for logs.
func (f *Func) String() string { return f.Name() + " " + f.sig.String() }

// errNoCache is ErrNoCache with a remedy.
var errNoCache = fmt.Errorf("%w: call SetDefault before the first call, or set Options.Cache", ErrNoCache)

// defaultCache is the cache of functions without Options.Cache.
var defaultCache atomic.Pointer[Cache]

// made reports whether New or Open made c.
func (c *Cache) made() bool { return c.store != nil }

// bind returns the binding of f to its cache. The error is ErrNoCache, or a conflict of names:
// a default cache may become known only here.
func (f *Func) bind() (*binding, error) {
	cache := f.opts.Cache
	if cache == nil {
		if cache = defaultCache.Load(); cache == nil || !cache.made() {
			return nil, errNoCache
		}
	}
	if b := f.bound.Load(); b != nil && b.cache == cache {
		return b, nil
	}
	return f.bindTo(cache)
}

// bindTo binds f to its first cache, or to a new default cache.
func (f *Func) bindTo(cache *Cache) (*binding, error) {
	f.binding.Lock()
	defer f.binding.Unlock()
	old := f.bound.Load()
	if old != nil && old.cache == cache {
		return old, nil // another call was faster
	}
	if !f.unwrapped.Load() {
		if err := names.add(f, cache); err != nil {
			cache.log.Once("name "+f.Name(), slog.LevelError, "a function is not cached: another function has its name", "func", f.whence(), "err", err)
			return nil, err
		}
	}
	b := &binding{
		cache:  cache,
		tag:    fence.FuncTag(cache.hashing, f.Name()),
		prefix: entryPrefix(cache.cfg.Namespace, f.Name()),
		suffix: entrySuffix(cache.coder.fingerprint(f)),
		lease:  max(f.opts.Lease, minLeases*cache.cfg.RedisTimeout),
	}
	if f.near != nil && !f.unwrapped.Load() {
		b.near = cache.events.Join(f.Name())
		b.channel.Store(b.near)
		if f.tagged() {
			b.fence = cache.events.Join(fenceChannel)
		}
	} else {
		b.channel.Store(cache.events.Known(f.Name()))
	}
	f.bound.Store(b)
	if cache.life.Closed() {
		f.unbind(cache) // Close may have run before the binding was stored
	}
	if old != nil && !f.unwrapped.Load() { // else Unwrap has left it
		names.move(f, old.cache)
		old.cache.releases.Forget(f)
		old.cache.events.Leave(old.near)
		old.cache.events.Leave(old.fence)
	}
	f.noteOpenKeys(cache)
	return b, nil
}

// noteOpenKeys logs once for each cache that HashSecret is not set, if a caller of f could
// search for colliding arguments.
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

// tagged reports whether the entries of f have tags.
func (f *Func) tagged() bool { return f.tagPlan != nil }

// describe returns what a registry has for people.
func (c *Cache) describe(f *Func) releases.Description {
	return releases.Description{Types: f.sig.String(), Codec: c.coder.mark, Options: f.opts.summary(), Build: releases.Build()}
}

// unbind removes a closed default cache from a function, so that the function does not keep it
// alive.
func (f *Func) unbind(c *Cache) {
	if b := f.bound.Load(); b != nil && b.cache == c && f.opts.Cache == nil {
		f.bound.CompareAndSwap(b, nil)
	}
}

// minLeases is the minimum of Lease in RedisTimeouts. A renewal is due every third of a lease,
// so one can fail and the next is still in time.
const minLeases = 4

// lease returns the Lease of f on the cache c. A default cache may be set after Wrap has checked
// the options, and its RedisTimeout may be too long for the Lease in them.
func (f *Func) lease(c *Cache) time.Duration {
	return max(f.opts.Lease, minLeases*c.cfg.RedisTimeout)
}

// waitLimit returns how long a call of f waits for others.
func (f *Func) waitLimit() time.Duration {
	if f.opts.WaitTimeout > 0 {
		return f.opts.WaitTimeout
	}
	return f.opts.ComputeTimeout
}

// variables has the variables of this process that hold a wrapped function.
var variables stubs.Set[Func]

// names has the wrapped functions of this process.
var names registry

// A registry has the wrapped functions by prefix and name, and the caches that each
// uses. With it, two different functions never share entries, and an invalidation finds all
// lookups, computations and near cache entries of this process for an entry.
//
// A function has a user for each cache on which it has been called or wrapped. A function of
// the default cache also has a user with the nil cache, because the default cache may not
// exist yet when the function is wrapped.
type registry struct {
	mu sync.Mutex // guards the fields below
	m  map[string][]user
	// places has the places of Options.MaxConcurrent for each name. A name without functions
	// keeps its places until its last computation has ended.
	places map[string]*bulkhead.Bulkhead
}

// A user is a function with a cache that it uses; the cache is nil for the default cache. It
// stays in the registry until the function is unwrapped or the cache is closed.
type user struct {
	fn     *Func
	cache  *Cache
	suffix string // of the keys of the function on the cache
	// moved: the function now has another default cache. Other functions may take its name on
	// this cache. The user stays, because calls may still be under way, and because the
	// function may return to this cache and its near cache.
	moved bool
}

func newUser(f *Func, c *Cache) user {
	u := user{fn: f, cache: c}
	if c != nil {
		u.suffix = entrySuffix(c.coder.fingerprint(f))
	}
	return u
}

func (u user) space() keyspace {
	if u.cache == nil {
		return keyspace{}
	}
	return u.cache.space
}

// add adds f with the cache c. The error says that another function has the name of f, or that
// it has another MaxConcurrent. A function of a closed cache is not added, because it shares
// nothing any more.
func (r *registry) add(f *Func, c *Cache) error {
	mine := newUser(f, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if c != nil && c.life.Closed() {
		if f.places == nil && f.opts.MaxConcurrent > 0 { // when wrapping: later calls may read it
			f.places = bulkhead.New(f.opts.MaxConcurrent)
		}
		return nil
	}
	known := -1
	for i, other := range r.m[f.Name()] {
		if other.fn != f && !other.moved && other.fn.opts.MaxConcurrent != f.opts.MaxConcurrent {
			return fmt.Errorf("MaxConcurrent is %d, but it is %d for %s, which also has the name %s: all functions of a name have one bound; set the same for both, or another Name or Prefix",
				f.opts.MaxConcurrent, other.fn.opts.MaxConcurrent, other.fn.whence(), f.Name())
		}
		switch {
		case other.space() != mine.space():
		case other.fn == f && other.cache == c:
			known = i
		case other.fn != f && !other.moved:
			if err := f.conflict(other.fn); err != nil {
				return err
			}
		}
	}
	if known >= 0 {
		r.m[f.Name()][known].moved = false
		return nil
	}
	if r.m == nil {
		r.m, r.places = make(map[string][]user), make(map[string]*bulkhead.Bulkhead)
	}
	var others []*verify.Func
	for _, other := range r.m[f.Name()] {
		others = append(others, other.fn.verify)
	}
	f.verify.Join(others...)
	r.m[f.Name()] = append(r.m[f.Name()], mine)
	r.place(f)
	return nil
}

// place gives f its places of Options.MaxConcurrent. All variables, fields and caches of this
// process with the name of f share these places. mu is held.
func (r *registry) place(f *Func) {
	shared := r.places[f.Name()]
	switch {
	case f.opts.MaxConcurrent == 0:
	case f.places == nil && shared != nil:
		shared.Resize(f.opts.MaxConcurrent) // no function with another bound is left
		f.places = shared
	case f.places == nil:
		f.places = bulkhead.New(f.opts.MaxConcurrent)
		r.places[f.Name()] = f.places
	case shared == nil: // the earlier cache of f was closed
		r.places[f.Name()] = f.places
	}
}

// move notes that f has left the default cache c for another, which frees its name on c.
func (r *registry) move(f *Func, c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, u := range r.m[f.Name()] {
		if u.fn == f && u.cache == c {
			r.m[f.Name()][i].moved = true
		}
	}
}

// remove frees the name of f on all caches.
func (r *registry) remove(f *Func) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(f.Name(), func(u user) bool { return u.fn == f })
}

// forget removes a closed cache from the registry and from its functions, which frees their
// names there.
func (r *registry) forget(c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.m {
		r.drop(name, func(u user) bool {
			if u.cache == c {
				u.fn.unbind(c)
			}
			return u.cache == c
		})
	}
}

// drop removes the users of a name for which gone returns true. mu is held.
func (r *registry) drop(name string, gone func(user) bool) {
	rest := slices.DeleteFunc(r.m[name], gone)
	if len(rest) == 0 {
		delete(r.m, name)
		if r.places[name].Idle() {
			delete(r.places, name)
		}
		return
	}
	r.m[name] = rest
}

// wrappedOn returns the functions whose cache is c, sorted by name.
func (r *registry) wrappedOn(c *Cache) (all []*Func) {
	isDefault := defaultCache.Load() == c
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, users := range r.m {
		before := len(all)
		for _, u := range users {
			if (u.fn.opts.Cache == c || u.fn.opts.Cache == nil && isDefault) && !slices.Contains(all[before:], u.fn) {
				all = append(all, u.fn)
			}
		}
	}
	slices.SortFunc(all, func(a, b *Func) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a.whence(), b.whence()))
	})
	return all
}

// caches returns c, and the other caches that share its fence.
func (r *registry) caches(c *Cache) []*Cache {
	all := []*Cache{c}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, users := range r.m {
		for _, u := range users {
			if u.cache != nil && c.sharesFence(u.cache) && !slices.Contains(all, u.cache) {
				all = append(all, u.cache)
			}
		}
	}
	return all
}
