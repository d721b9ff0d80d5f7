package fncache

import (
	"context"
	"reflect"

	"github.com/fncache/fncache/internal/shape"
)

// This file has the stubs: what callers call in place of the original. A stub answers from
// the near cache what it can without memory for a call; all else is a call (decorate.go).

// An input is all that the key of a call is made of.
type input struct {
	args shape.Arguments
	vary string // what Options.Vary has answered; "" without it
}

// A shaper makes the shape of a function, and what makes its stub.
type shaper func(*Func) (s shape.Shape, stub func() reflect.Value)

// keepsPlain reports whether the stub can look in the near cache.
func (f *Func) keepsPlain() bool { return f.near != nil && f.plans.IsPlain() }

// reflectedShape is that of a function whose type is any.
func reflectedShape(f *Func) (shape.Shape, func() reflect.Value) {
	s := shape.NewReflected(f.plans, f.original)
	return s, func() reflect.Value {
		return reflect.MakeFunc(f.variable.Type(), func(in []reflect.Value) []reflect.Value { return callReflected(f, s, in) })
	}
}

// A reflectedCall is a call and, in one piece of memory with it, the arguments.
type reflectedCall struct {
	call
	values []reflect.Value
}

// callReflected is what runs in the stub.
func callReflected(f *Func, s *shape.Reflected, in []reflect.Value) []reflect.Value {
	ctx, values := s.Split(in)
	vary := f.varyOfCall(ctx)
	if f.keepsPlain() {
		var key shape.Plain
		s.PlainValues(&key, values)
		switch e, own := f.near.serve(ctx, &key, vary); {
		case own != nil:
			return s.Out(own, nil)
		case e != nil:
			return s.OutCopy(e.results)
		}
	}
	c := &reflectedCall{values: values}
	return s.Out(f.call(ctx, input{&c.values, vary}, &c.call))
}

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
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[shape.One[A], R], F) {
		invoke := func(ctx context.Context, args *shape.One[A]) (R, error) { return original(ctx, args.A) }
		return invoke, func(ctx context.Context, a A) (R, error) {
			args := shape.One[A]{A: a}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.One[A], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.One[A], R](ctx, f, &typedCall[shape.One[A]]{args: args}, vary)
		}
	})
}

// Wrap2 is [Wrap1] for a function of a context and two arguments.
func Wrap2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn *F, opts Options) (*Func, error) {
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[shape.Two[A, B], R], F) {
		invoke := func(ctx context.Context, args *shape.Two[A, B]) (R, error) { return original(ctx, args.A, args.B) }
		return invoke, func(ctx context.Context, a A, b B) (R, error) {
			args := shape.Two[A, B]{A: a, B: b}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.Two[A, B], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.Two[A, B], R](ctx, f, &typedCall[shape.Two[A, B]]{args: args}, vary)
		}
	})
}

// Wrap3 is [Wrap1] for a function of a context and three arguments.
func Wrap3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn *F, opts Options) (*Func, error) {
	return wrapTyped[R](fn, callersLine(), opts, func(f *Func, original F) (invoker[shape.Three[A, B, C], R], F) {
		invoke := func(ctx context.Context, args *shape.Three[A, B, C]) (R, error) {
			return original(ctx, args.A, args.B, args.C)
		}
		return invoke, func(ctx context.Context, a A, b B, c C) (R, error) {
			args := shape.Three[A, B, C]{A: a, B: b, C: c}
			vary := f.varyOfCall(ctx)
			if f.keepsPlain() {
				if result, ok := keptTyped[shape.Three[A, B, C], R](ctx, f, &args, vary); ok {
					return result, nil
				}
			}
			return callTyped[shape.Three[A, B, C], R](ctx, f, &typedCall[shape.Three[A, B, C]]{args: args}, vary)
		}
	})
}

// wrapTyped wraps *fn. form gives what the number of parameters makes different:
// how the original is called, and the stub. at is the line that wraps.
func wrapTyped[R, T any, F any](fn *F, at string, opts Options, form func(*Func, F) (invoker[T, R], F)) (*Func, error) {
	return wrapVariable(reflect.ValueOf(fn), site{at: at}, opts, func(f *Func) (shape.Shape, func() reflect.Value) {
		invoke, stub := form(f, *fn)
		return shape.NewTyped(f.plans, invoke), func() reflect.Value { return reflect.ValueOf(stub) }
	})
}

// An invoker calls the original function.
type invoker[T, R any] = func(context.Context, *T) (R, error)

// A typedCall is a call and, in one piece of memory with it, the arguments.
type typedCall[T any] struct {
	call
	args T
}

// keptTyped answers a call from the near cache, if it can: with no memory but that
// of the result, and without reflection, except what copies the result by it.
func keptTyped[T, R any](ctx context.Context, f *Func, args *T, vary string) (result R, ok bool) {
	s := f.shape.(*shape.Typed[T, R])
	var key shape.Plain
	s.PlainOf(&key, args)
	e, own := f.near.serve(ctx, &key, vary)
	switch {
	case e == nil:
		return result, false
	case own != nil:
		return s.Value(own), true
	default:
		return s.ValueCopy(e.results), true
	}
}

// callTyped is what runs in the stub.
func callTyped[T, R any](ctx context.Context, f *Func, c *typedCall[T], vary string) (result R, err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	r, err := f.call(ctx, input{&c.args, vary}, &c.call)
	if r != nil {
		result = f.shape.(*shape.Typed[T, R]).Value(r)
	}
	return result, err
}
