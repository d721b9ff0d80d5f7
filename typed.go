package fncache

import (
	"context"
	"reflect"
	"unsafe"

	"github.com/fncache/fncache/internal/deepcopy"
	"github.com/fncache/fncache/internal/keyhash"
)

// Wrap1 is [Wrap] for a function of a context and one argument that returns one
// result and an error. It does the very same, by the same options, names, keys and
// entries, so that processes that use one and such that use the other share what
// is cached. But as the compiler knows the types, a call takes no reflection: the
// variable then holds a plain closure. (Arguments other than booleans, numbers,
// strings and lists of these are still hashed by reflection. So are results copied
// for several callers, or out of the near cache, where they hold maps, pointers, or
// lists of anything but numbers, strings, and structs and arrays without references
// or strings.)
//
// The type arguments are inferred, also where *fn is of a named func type:
//
//	var bookByID func(ctx context.Context, id int64) (Book, error) = store.BookByID
//
//	f, err := fncache.Wrap1(&bookByID, fncache.Options{Timeout: time.Hour})
//
// For functions of any other form there is Wrap; a variadic one is of another form.
func Wrap1[F ~func(context.Context, A) (R, error), A, R any](fn *F, opts Options) (*Func, error) {
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[tuple1[A], R], F) {
		invoke := func(ctx context.Context, args *tuple1[A]) (R, error) { return original(ctx, args.A) }
		return invoke, func(ctx context.Context, a A) (R, error) {
			args := tuple1[A]{a}
			vary := f.varyOfCall(ctx)
			if f.near != nil && f.near.plain != nil {
				if result, ok := nearTyped[tuple1[A], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[tuple1[A], R](ctx, f, &typedCall[tuple1[A]]{args: args}, vary)
		}
	})
}

// Wrap2 is [Wrap1] for a function of a context and two arguments.
func Wrap2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn *F, opts Options) (*Func, error) {
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[tuple2[A, B], R], F) {
		invoke := func(ctx context.Context, args *tuple2[A, B]) (R, error) { return original(ctx, args.A, args.B) }
		return invoke, func(ctx context.Context, a A, b B) (R, error) {
			args := tuple2[A, B]{a, b}
			vary := f.varyOfCall(ctx)
			if f.near != nil && f.near.plain != nil {
				if result, ok := nearTyped[tuple2[A, B], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[tuple2[A, B], R](ctx, f, &typedCall[tuple2[A, B]]{args: args}, vary)
		}
	})
}

// Wrap3 is [Wrap1] for a function of a context and three arguments.
func Wrap3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn *F, opts Options) (*Func, error) {
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[tuple3[A, B, C], R], F) {
		invoke := func(ctx context.Context, args *tuple3[A, B, C]) (R, error) {
			return original(ctx, args.A, args.B, args.C)
		}
		return invoke, func(ctx context.Context, a A, b B, c C) (R, error) {
			args := tuple3[A, B, C]{a, b, c}
			vary := f.varyOfCall(ctx)
			if f.near != nil && f.near.plain != nil {
				if result, ok := nearTyped[tuple3[A, B, C], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[tuple3[A, B, C], R](ctx, f, &typedCall[tuple3[A, B, C]]{args: args}, vary)
		}
	})
}

// The arguments of a call are a pointer to one of these. The fields are exported
// for reflection to set.
type (
	tuple1[A any]    struct{ A A }
	tuple2[A, B any] struct {
		A A
		B B
	}
	tuple3[A, B, C any] struct {
		A A
		B B
		C C
	}
)

// An invoker calls the original function.
type invoker[T, R any] func(context.Context, *T) (R, error)

// wrapTyped wraps *fn. form gives what the number of parameters makes different:
// how the original is called, and the stub. at is the line that wraps.
func wrapTyped[R, T any, F any](fn *F, at string, opts Options, form func(*Func, F) (invoker[T, R], F)) (*Func, error) {
	return wrapVariable(reflect.ValueOf(fn), site{at: at}, opts, func(f *Func) shape {
		call, stub := form(f, *fn)
		return newTypedShape(f, call, reflect.ValueOf(stub))
	})
}

// A typedShape is that of a function with arguments T and the result R.
type typedShape[T, R any] struct {
	fn      *Func
	params  []typedParam // the fields of T
	call    invoker[T, R]
	stubFor reflect.Value
}

// A typedParam hashes one field of the arguments.
type typedParam struct {
	offset uintptr
	size   uintptr
	hash   keyhash.Hasher
}

func newTypedShape[T, R any](f *Func, call invoker[T, R], stub reflect.Value) *typedShape[T, R] {
	s := &typedShape[T, R]{fn: f, call: call, stubFor: stub}
	args := reflect.TypeFor[T]()
	for i := range args.NumField() {
		s.params = append(s.params, typedParam{args.Field(i).Offset, f.sig.Params[i].Size(), keyhash.Compile(f.sig.Params[i], f.sig.Place(i))})
	}
	return s
}

// A typedCall is a call and, in one piece of memory with it, the arguments.
type typedCall[T any] struct {
	call
	args T
}

// A typedResult is the only result, and a pointer to it.
type typedResult[R any] struct {
	value R
	at    [1]any
}

func newTypedResult[R any]() *typedResult[R] {
	r := new(typedResult[R])
	r.at[0] = &r.value
	return r
}

func (r *typedResult[R]) pointers() []any { return r.at[:] }

func (r *typedResult[R]) zero() bool { return reflect.ValueOf(&r.value).Elem().IsZero() }

func (s *typedShape[T, R]) blank() results { return newTypedResult[R]() }

func (s *typedShape[T, R]) hash(k *keyhash.Keys, args arguments) (list keyhash.Hash, err error) {
	at := unsafe.Pointer(args.(*T))
	for i := range s.params {
		p := &s.params[i]
		h, err := p.hash(k, unsafe.Add(at, p.offset))
		if err != nil {
			return keyhash.Hash{}, err
		}
		list = k.Append(list, h)
	}
	return list, nil
}

func (s *typedShape[T, R]) plain(key *nearKey, args arguments) {
	plainMemory(key, unsafe.Pointer(args.(*T)), s.params, s.fn.near.plain)
}

// plainMemory puts plain arguments that stand at an address into a key.
func plainMemory(key *nearKey, at unsafe.Pointer, params []typedParam, places []int) {
	for i, place := range places {
		p := &params[i]
		switch at := unsafe.Add(at, p.offset); {
		case place >= nearString:
			key.s[place-nearString] = *(*string)(at)
		case p.size == 8:
			key.n[place] = *(*uint64)(at)
		case p.size == 4:
			key.n[place] = uint64(*(*uint32)(at))
		case p.size == 2:
			key.n[place] = uint64(*(*uint16)(at))
		default:
			key.n[place] = uint64(*(*uint8)(at))
		}
	}
}

func (s *typedShape[T, R]) copy(r results) results {
	fresh := newTypedResult[R]()
	fresh.value = deepcopy.One(s.fn.copies, &r.(*typedResult[R]).value)
	return fresh
}

func (s *typedShape[T, R]) own(args arguments) arguments {
	fresh := deepcopy.Argument(reflect.ValueOf(args).Elem()).Interface().(T)
	return &fresh
}

func (s *typedShape[T, R]) arguments(values []reflect.Value) arguments {
	args := new(T)
	fields := reflect.ValueOf(args).Elem()
	for i, v := range values {
		fields.Field(i).Set(v)
	}
	return args
}

func (s *typedShape[T, R]) invoke(ctx context.Context, args arguments) (results, error) {
	r := newTypedResult[R]()
	var err error
	r.value, err = s.call(ctx, args.(*T))
	return r, err
}

func (s *typedShape[T, R]) stub() reflect.Value { return s.stubFor }

// nearTyped answers a call from the near cache, if it can: with no memory but that
// of the result, and without reflection, except what deepcopy.One copies by it.
func nearTyped[T, R any](ctx context.Context, f *Func, args *T, vary string) (result R, ok bool) {
	s := f.shape.(*typedShape[T, R])
	var key nearKey
	plainMemory(&key, unsafe.Pointer(args), s.params, f.near.plain)
	e, own := f.near.serve(ctx, &key, vary)
	switch {
	case e == nil:
		return result, false
	case own != nil:
		return own.(*typedResult[R]).value, true
	default:
		return deepcopy.One(f.copies, &e.results.(*typedResult[R]).value), true
	}
}

// callTyped is what runs in the stub.
func callTyped[T, R any](ctx context.Context, f *Func, c *typedCall[T], vary string) (result R, err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	r, err := f.call(ctx, input{&c.args, vary}, &c.call)
	if r != nil {
		result = r.(*typedResult[R]).value
	}
	return result, err
}
