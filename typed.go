package fncache

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/fncache/fncache/internal/shape"
)

// This file wraps functions of a context and one to three arguments, and batch functions, whose
// types the compiler knows. It has their stubs and their handles.

// A Func1 is the handle to a function of a context and one argument, made by [Wrap1] or
// [New1]. Its methods are those of [Func] with the types of the function, so arguments need no
// conversion, and wrong arguments do not compile. The methods are safe for concurrent use.
type Func1[A, R any] struct {
	// Func is the handle without types. It has the name, the counters, and Unwrap.
	Func *Func
	call func(context.Context, A) (R, error)
}

// Wrap1 is [Wrap] for a function of a context and one argument that returns one result and an
// error. It uses the same options, names, keys and entries, so processes that use Wrap and
// processes that use Wrap1 share entries. The compiler knows the types, so the variable holds a
// plain closure, and the compiler checks the arguments of the handle's methods.
//
// A call uses reflection in two steps at most. Arguments other than booleans, numbers, strings and lists
// of these are hashed by reflection. Results are copied by reflection, for several callers or
// out of the near cache, if they contain maps, pointers, or lists whose elements are not
// numbers, strings, or structs and arrays without references and strings.
//
// The type arguments are inferred, also if *fn has a named func type:
//
//	var bookByID func(ctx context.Context, id int64) (Book, error) = store.BookByID
//
//	f, err := fncache.Wrap1(&bookByID, fncache.Options{Timeout: time.Hour})
//
// Use Wrap for functions of other forms, including variadic functions. [New1] takes the
// function as a value, and writes to no variable.
func Wrap1[F ~func(context.Context, A) (R, error), A, R any](fn *F, opts Options) (*Func1[A, R], error) {
	return wrap1[F, A, R](fn, callersLine(), opts)
}

// New1 is [Wrap1] for a function that is passed as a value: it returns the cached version, and
// replaces nothing. Use it in code without a func variable, or for several cached versions of
// one function, each with its own Name. cached has the type of fn. After Unwrap, cached calls
// fn.
func New1[F ~func(context.Context, A) (R, error), A, R any](fn F, opts Options) (cached F, handle *Func1[A, R], err error) {
	cached = fn
	if handle, err = wrap1[F, A, R](&cached, callersLine(), opts); err != nil {
		return nil, nil, err
	}
	return cached, handle, nil
}

func wrap1[F ~func(context.Context, A) (R, error), A, R any](fn *F, at string, opts Options) (*Func1[A, R], error) {
	h := new(Func1[A, R])
	f, err := wrapTyped[R](fn, at, opts, func(f *Func, original F) (invoker[shape.One[A], R], F) {
		invoke := func(ctx context.Context, args *shape.One[A]) (R, error) { return original(ctx, args.A) }
		h.call = func(ctx context.Context, a A) (R, error) {
			args := shape.One[A]{A: a}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.One[A], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.One[A], R](ctx, f, &typedCall[shape.One[A]]{args: args}, vary)
		}
		return invoke, h.call
	})
	if err != nil {
		return nil, err
	}
	h.Func = f
	return h, nil
}

// Call calls the cached version of the function, as a call of the wrapped variable does. After
// Unwrap it calls the function itself.
func (h *Func1[A, R]) Call(ctx context.Context, a A) (R, error) { return h.call(ctx, a) }

// Key returns the Redis key of the entry, as [Func.Key] does.
func (h *Func1[A, R]) Key(a A) (string, error) {
	return h.Func.keyOf(&shape.One[A]{A: a})
}

// KeyFor returns the key of a call with the context ctx, as [Func.KeyFor] does.
func (h *Func1[A, R]) KeyFor(ctx context.Context, a A) (string, error) {
	return h.Func.keyFor(ctx, &shape.One[A]{A: a})
}

// Invalidate deletes the entry in the whole fleet, as [Func.Invalidate] does.
func (h *Func1[A, R]) Invalidate(ctx context.Context, a A) error {
	return h.Func.overtake(ctx, invalidating, &shape.One[A]{A: a})
}

// Expire makes a fresh entry stale in the whole fleet, as [Func.Expire] does.
func (h *Func1[A, R]) Expire(ctx context.Context, a A) error {
	return h.Func.overtake(ctx, expiring, &shape.One[A]{A: a})
}

// Refresh recomputes and stores the entry now, as [Func.Refresh] does, and returns the new
// result. If it returns an error, the result is the one that the function returned with that
// error, or zero.
func (h *Func1[A, R]) Refresh(ctx context.Context, a A) (R, error) {
	return refreshTyped[R](ctx, h.Func, &shape.One[A]{A: a})
}

// Peek returns the fresh or stale entry of the near cache or of Redis that a call would be
// served now. It never computes. It asks for no lease, is not counted in Stats.Calls, and
// ignores WithInfo, WithBypass and WithRefresh. Inside a cached function with tags, the
// function inherits the tags of the entry, as from a call.
//
// ok reports whether there is an answer. Then Info.Source is SourceFresh, SourceStale or
// SourceNear, and err is nil or the cached error (Options.CacheErrors). If ok is false and err
// is nil, no entry may be served. If ok is false and err is not nil, Peek could not find out:
// err is [ErrNoCache], the error of ctx, or wraps [ErrRedisDown]. Info.Key is set if the key
// is known.
func (h *Func1[A, R]) Peek(ctx context.Context, a A) (result R, info Info, ok bool, err error) {
	return peekTyped[R](ctx, h.Func, &shape.One[A]{A: a})
}

// A Func2 is the [Func1] of a function of a context and two arguments, made by [Wrap2] or
// [New2].
type Func2[A, B, R any] struct {
	Func *Func // see Func1
	call func(context.Context, A, B) (R, error)
}

// Wrap2 is [Wrap1] for a function of a context and two arguments.
func Wrap2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn *F, opts Options) (*Func2[A, B, R], error) {
	return wrap2[F, A, B, R](fn, callersLine(), opts)
}

// New2 is [New1] for a function of a context and two arguments.
func New2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn F, opts Options) (cached F, handle *Func2[A, B, R], err error) {
	cached = fn
	if handle, err = wrap2[F, A, B, R](&cached, callersLine(), opts); err != nil {
		return nil, nil, err
	}
	return cached, handle, nil
}

func wrap2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn *F, at string, opts Options) (*Func2[A, B, R], error) {
	h := new(Func2[A, B, R])
	f, err := wrapTyped[R](fn, at, opts, func(f *Func, original F) (invoker[shape.Two[A, B], R], F) {
		invoke := func(ctx context.Context, args *shape.Two[A, B]) (R, error) { return original(ctx, args.A, args.B) }
		h.call = func(ctx context.Context, a A, b B) (R, error) {
			args := shape.Two[A, B]{A: a, B: b}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.Two[A, B], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.Two[A, B], R](ctx, f, &typedCall[shape.Two[A, B]]{args: args}, vary)
		}
		return invoke, h.call
	})
	if err != nil {
		return nil, err
	}
	h.Func = f
	return h, nil
}

// Call is [Func1.Call].
func (h *Func2[A, B, R]) Call(ctx context.Context, a A, b B) (R, error) { return h.call(ctx, a, b) }

// Key is [Func1.Key].
func (h *Func2[A, B, R]) Key(a A, b B) (string, error) {
	return h.Func.keyOf(&shape.Two[A, B]{A: a, B: b})
}

// KeyFor is [Func1.KeyFor].
func (h *Func2[A, B, R]) KeyFor(ctx context.Context, a A, b B) (string, error) {
	return h.Func.keyFor(ctx, &shape.Two[A, B]{A: a, B: b})
}

// Invalidate is [Func1.Invalidate].
func (h *Func2[A, B, R]) Invalidate(ctx context.Context, a A, b B) error {
	return h.Func.overtake(ctx, invalidating, &shape.Two[A, B]{A: a, B: b})
}

// Expire is [Func1.Expire].
func (h *Func2[A, B, R]) Expire(ctx context.Context, a A, b B) error {
	return h.Func.overtake(ctx, expiring, &shape.Two[A, B]{A: a, B: b})
}

// Refresh is [Func1.Refresh].
func (h *Func2[A, B, R]) Refresh(ctx context.Context, a A, b B) (R, error) {
	return refreshTyped[R](ctx, h.Func, &shape.Two[A, B]{A: a, B: b})
}

// Peek is [Func1.Peek].
func (h *Func2[A, B, R]) Peek(ctx context.Context, a A, b B) (result R, info Info, ok bool, err error) {
	return peekTyped[R](ctx, h.Func, &shape.Two[A, B]{A: a, B: b})
}

// A Func3 is the [Func1] of a function of a context and three arguments, made by [Wrap3] or
// [New3].
type Func3[A, B, C, R any] struct {
	Func *Func // see Func1
	call func(context.Context, A, B, C) (R, error)
}

// Wrap3 is [Wrap1] for a function of a context and three arguments.
func Wrap3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn *F, opts Options) (*Func3[A, B, C, R], error) {
	return wrap3[F, A, B, C, R](fn, callersLine(), opts)
}

// New3 is [New1] for a function of a context and three arguments.
func New3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn F, opts Options) (cached F, handle *Func3[A, B, C, R], err error) {
	cached = fn
	if handle, err = wrap3[F, A, B, C, R](&cached, callersLine(), opts); err != nil {
		return nil, nil, err
	}
	return cached, handle, nil
}

func wrap3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn *F, at string, opts Options) (*Func3[A, B, C, R], error) {
	h := new(Func3[A, B, C, R])
	f, err := wrapTyped[R](fn, at, opts, func(f *Func, original F) (invoker[shape.Three[A, B, C], R], F) {
		invoke := func(ctx context.Context, args *shape.Three[A, B, C]) (R, error) {
			return original(ctx, args.A, args.B, args.C)
		}
		h.call = func(ctx context.Context, a A, b B, c C) (R, error) {
			args := shape.Three[A, B, C]{A: a, B: b, C: c}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.Three[A, B, C], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.Three[A, B, C], R](ctx, f, &typedCall[shape.Three[A, B, C]]{args: args}, vary)
		}
		return invoke, h.call
	})
	if err != nil {
		return nil, err
	}
	h.Func = f
	return h, nil
}

// Call is [Func1.Call].
func (h *Func3[A, B, C, R]) Call(ctx context.Context, a A, b B, c C) (R, error) {
	return h.call(ctx, a, b, c)
}

// Key is [Func1.Key].
func (h *Func3[A, B, C, R]) Key(a A, b B, c C) (string, error) {
	return h.Func.keyOf(&shape.Three[A, B, C]{A: a, B: b, C: c})
}

// KeyFor is [Func1.KeyFor].
func (h *Func3[A, B, C, R]) KeyFor(ctx context.Context, a A, b B, c C) (string, error) {
	return h.Func.keyFor(ctx, &shape.Three[A, B, C]{A: a, B: b, C: c})
}

// Invalidate is [Func1.Invalidate].
func (h *Func3[A, B, C, R]) Invalidate(ctx context.Context, a A, b B, c C) error {
	return h.Func.overtake(ctx, invalidating, &shape.Three[A, B, C]{A: a, B: b, C: c})
}

// Expire is [Func1.Expire].
func (h *Func3[A, B, C, R]) Expire(ctx context.Context, a A, b B, c C) error {
	return h.Func.overtake(ctx, expiring, &shape.Three[A, B, C]{A: a, B: b, C: c})
}

// Refresh is [Func1.Refresh].
func (h *Func3[A, B, C, R]) Refresh(ctx context.Context, a A, b B, c C) (R, error) {
	return refreshTyped[R](ctx, h.Func, &shape.Three[A, B, C]{A: a, B: b, C: c})
}

// Peek is [Func1.Peek].
func (h *Func3[A, B, C, R]) Peek(ctx context.Context, a A, b B, c C) (result R, info Info, ok bool, err error) {
	return peekTyped[R](ctx, h.Func, &shape.Three[A, B, C]{A: a, B: b, C: c})
}

// A BatchFunc is the handle to a batch function, made by [WrapBatch]. Its methods are safe for
// concurrent use. They work on the entries of ids, of any call that had them.
type BatchFunc[K comparable, V any] struct {
	// Func is the handle without types. Its methods take one id, and a call of its Refresh runs
	// the function with one id. It has the name, the counters, and Unwrap.
	Func *Func
	call func(context.Context, []K) (map[K]V, error)
}

// WrapBatch replaces the function in *fn, which returns values for many ids at once, by its
// cached version. Each id has an entry of its own: after a call with the ids 1, 2 and 3, a call
// with 3 and 2 is answered from the cache, and an invalidation of 3 reaches every call with 3 in
// it. Options hold for each id: tags may name it, as in "product:{0}".
//
//	var products func(ctx context.Context, ids []int64) (map[int64]Product, error) = store.ProductsByIDs
//
//	f, err := fncache.WrapBatch(&products, fncache.Options{Timeout: time.Hour, OnCold: fncache.Wait})
//
// A call looks up all of its ids in one round trip. The function runs with the ids that no other
// caller computes, each given once: in one run, or in runs of [Options.BatchSize] ids. Ids that
// another caller computes are answered with the stale value, or follow [Options.OnCold]:
// under Wait the call waits for them, beside its own run and never before it; under Compute it
// computes them too; under Fail it returns what there is, and a [*ColdCacheError] whose IDs has
// the others. So a result with an error is partial: it has the values of the ids that have one.
//
// The function leaves out ids that have no value, and so does the cached version.
// Options.MissingTimeout says how long that is cached. Ids that the run did not ask for are ignored. If the
// function returns an error, that is the error of all ids of the run, nothing is stored, and its
// map is ignored; ids with a stale value are served that value (Options.OnError). A panic is
// handled as for [Wrap]. CacheErrors cannot be set.
//
// Inside the function [AddTags], [SetLifetime] and [NoStore] hold for all ids of the run. The cost
// of an entry is the time of the run, divided by its ids. A run takes one place of
// Options.MaxConcurrent. The map that a call returns is never nil.
func WrapBatch[K comparable, V any](fn *func(context.Context, []K) (map[K]V, error), opts Options) (*BatchFunc[K, V], error) {
	h := new(BatchFunc[K, V])
	here := site{at: callersLine(), element: reflect.TypeFor[func(context.Context, K) (V, error)]()}
	f, err := wrapVariable(reflect.ValueOf(fn), here, opts, func(f *Func) (shape.Shape, func() reflect.Value) {
		original := *fn
		s := shape.NewTyped(f.plans, func(ctx context.Context, args *shape.One[K]) (value V, err error) {
			found, err := original(ctx, []K{args.A})
			if err != nil {
				return value, err
			}
			value, ok := found[args.A]
			if !ok {
				return value, errMissing
			}
			return value, nil
		})
		f.many = manyTyped[K, V](original, s)
		h.call = func(ctx context.Context, ids []K) (map[K]V, error) {
			if f.unwrapped.Load() {
				return original(ctx, ids)
			}
			b := newBatch(ctx, f)
			return callBatch(s, ids, b, b.call)
		}
		return s, func() reflect.Value { return reflect.ValueOf(h.call) }
	})
	if err != nil {
		return nil, err
	}
	h.Func = f
	return h, nil
}

// manyTyped returns the manyFunc of a batch function.
func manyTyped[K comparable, V any](original func(context.Context, []K) (map[K]V, error), s *shape.Typed[shape.One[K], V]) manyFunc {
	return func(ctx context.Context, args []shape.Arguments) ([]shape.Results, error) {
		ids := make([]K, len(args))
		for i := range args {
			ids[i] = args[i].(*shape.One[K]).A
		}
		found, err := original(ctx, slices.Clone(ids)) // the function may change its slice
		if err != nil {
			return nil, err
		}
		results := make([]shape.Results, len(ids))
		for i, id := range ids {
			if value, ok := found[id]; ok {
				results[i] = s.Results(value)
			}
		}
		return results, nil
	}
}

// callBatch calls a method of a batch for ids.
func callBatch[K comparable, V any](s *shape.Typed[shape.One[K], V], ids []K, b *batch, call func(int, func(int) shape.Arguments) ([]shape.Results, error)) (map[K]V, error) {
	args := make([]shape.One[K], len(ids))
	results, err := call(len(ids), func(i int) shape.Arguments {
		args[i].A = ids[i]
		return &args[i]
	})
	found := make(map[K]V, len(ids))
	for i, r := range results {
		switch {
		case r == nil:
		case b.shared(i):
			found[args[i].A] = s.ValueCopy(r)
		default:
			found[args[i].A] = s.Value(r)
		}
	}
	return found, err
}

// Call calls the cached version of the function, as a call of the wrapped variable does. After
// Unwrap it calls the function itself.
func (h *BatchFunc[K, V]) Call(ctx context.Context, ids ...K) (map[K]V, error) {
	return h.call(ctx, ids)
}

// Key returns the Redis key of the entry of an id, as [Func.Key] does.
func (h *BatchFunc[K, V]) Key(id K) (string, error) { return h.Func.keyOf(&shape.One[K]{A: id}) }

// KeyFor returns the key of a call with the context ctx, as [Func.KeyFor] does.
func (h *BatchFunc[K, V]) KeyFor(ctx context.Context, id K) (string, error) {
	return h.Func.keyFor(ctx, &shape.One[K]{A: id})
}

// Stats returns the counters of the function since it was wrapped; see [Stats].
func (h *BatchFunc[K, V]) Stats() Stats { return h.Func.stats() }

// Invalidate deletes the entries of ids in the whole fleet, as [Func.Invalidate] does, in two
// round trips. After an error some of them may still be there.
func (h *BatchFunc[K, V]) Invalidate(ctx context.Context, ids ...K) error {
	return h.Func.overtake(ctx, invalidating, argumentsOf(ids)...)
}

// Expire makes fresh entries of ids stale in the whole fleet, as [Func.Expire] does.
func (h *BatchFunc[K, V]) Expire(ctx context.Context, ids ...K) error {
	return h.Func.overtake(ctx, expiring, argumentsOf(ids)...)
}

// Refresh recomputes and stores the entries of ids now, as [Func.Refresh] does, and returns their
// values. If it returns an error, the values are those of the ids for which it has succeeded.
func (h *BatchFunc[K, V]) Refresh(ctx context.Context, ids ...K) (map[K]V, error) {
	s := h.Func.shape.(*shape.Typed[shape.One[K], V])
	b := newBatch(ctx, h.Func)
	return callBatch(s, ids, b, b.refreshAll)
}

func argumentsOf[K any](ids []K) []shape.Arguments {
	args := make([]shape.Arguments, len(ids))
	for i, id := range ids {
		args[i] = &shape.One[K]{A: id}
	}
	return args
}

// wrapTyped wraps *fn. form returns the parts that depend on the number of parameters: how to
// call the original, and the stub. at is the line of the call of Wrap1 or its like.
func wrapTyped[R, T any, F any](fn *F, at string, opts Options, form func(*Func, F) (invoker[T, R], F)) (*Func, error) {
	return wrapVariable(reflect.ValueOf(fn), site{at: at}, opts, func(f *Func) (shape.Shape, func() reflect.Value) {
		invoke, stub := form(f, *fn)
		return shape.NewTyped(f.plans, invoke), func() reflect.Value { return reflect.ValueOf(stub) }
	})
}

// An invoker calls the original function.
type invoker[T, R any] = func(context.Context, *T) (R, error)

// refreshTyped implements Refresh of the typed handles.
func refreshTyped[R, T any](ctx context.Context, f *Func, args *T) (result R, err error) {
	r, err := f.refresh(ctx, args)
	if r == nil && err == nil {
		err = fmt.Errorf("fncache: refresh %s: the result is stored, but cannot be decoded to be returned; correct the codec, or the methods by which its types decode themselves", f.Name())
	}
	return valueTyped[R](f, args, r), err
}

// peekTyped implements Peek of the typed handles.
func peekTyped[R, T any](ctx context.Context, f *Func, args *T) (result R, info Info, ok bool, err error) {
	r, info, ok, err := f.peek(ctx, args)
	return valueTyped[R](f, args, r), info, ok, err
}

// valueTyped returns the result of a function with arguments T; zero if r is nil.
func valueTyped[R, T any](f *Func, _ *T, r shape.Results) (result R) {
	if r != nil {
		result = f.shape.(*shape.Typed[T, R]).Value(r)
	}
	return result
}
