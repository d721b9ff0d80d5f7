package shape

import (
	"context"
	"reflect"
	"unsafe"

	"github.com/fncache/fncache/internal/deepcopy"
	"github.com/fncache/fncache/internal/keyhash"
)

// The arguments of a Typed are one of these. The fields are exported for reflection to set.
type (
	// One is one argument.
	One[A any] struct{ A A }
	// Two are two arguments.
	Two[A, B any] struct {
		A A
		B B
	}
	// Three are three arguments.
	Three[A, B, C any] struct {
		A A
		B B
		C C
	}
)

// Typed is the shape of a function of a context and the arguments T that returns R and an error. T
// is One, Two or Three. Its Arguments are a *T.
type Typed[T, R any] struct {
	plans  *Plans
	params []param // the fields of T
	hashes []keyhash.Hasher
	call   func(context.Context, *T) (R, error)
}

// NewTyped returns the shape of the function that call calls.
func NewTyped[T, R any](plans *Plans, call func(context.Context, *T) (R, error)) *Typed[T, R] {
	s := &Typed[T, R]{plans: plans, call: call}
	args := reflect.TypeFor[T]()
	for i, t := range plans.Sig.Params {
		s.params = append(s.params, param{args.Field(i).Offset, t.Size()})
		s.hashes = append(s.hashes, keyhash.Compile(t, plans.Sig.Place(i)))
	}
	return s
}

// A typedResult has the only result of a function, and a pointer to it.
type typedResult[R any] struct {
	value R
	at    [1]any
}

func newTypedResult[R any]() *typedResult[R] {
	r := new(typedResult[R])
	r.at[0] = &r.value
	return r
}

func (r *typedResult[R]) Pointers() []any { return r.at[:] }

func (r *typedResult[R]) Zero() bool { return reflect.ValueOf(&r.value).Elem().IsZero() }

// Value returns the value of a result.
func (s *Typed[T, R]) Value(r Results) R { return r.(*typedResult[R]).value }

// ValueCopy returns a copy of the value of a result that is kept. The result does not change. The
// value must be copyable (Plans.Copies).
func (s *Typed[T, R]) ValueCopy(kept any) R {
	return deepcopy.One(s.plans.Copies, &kept.(*typedResult[R]).value)
}

// Blank implements Shape.
func (s *Typed[T, R]) Blank() Results { return newTypedResult[R]() }

// Hash implements Shape.
func (s *Typed[T, R]) Hash(k *keyhash.Keys, args Arguments) (list keyhash.Hash, err error) {
	at := unsafe.Pointer(args.(*T))
	for i := range s.params {
		h, err := s.hashes[i](k, unsafe.Add(at, s.params[i].offset))
		if err != nil {
			return keyhash.Hash{}, err
		}
		list = k.Append(list, h)
	}
	return list, nil
}

// Plain implements Shape.
func (s *Typed[T, R]) Plain(key *Plain, args Arguments) { s.PlainOf(key, args.(*T)) }

// PlainOf is like Plain for arguments whose type is known. It keeps them on the caller's stack.
func (s *Typed[T, R]) PlainOf(key *Plain, args *T) {
	plainMemory(key, unsafe.Pointer(args), s.params, s.plans.places)
}

// Copy implements Shape.
func (s *Typed[T, R]) Copy(r Results) Results {
	fresh := newTypedResult[R]()
	fresh.value = s.ValueCopy(r)
	return fresh
}

// Own implements Shape.
func (s *Typed[T, R]) Own(args Arguments) Arguments {
	fresh := deepcopy.Argument(reflect.ValueOf(args).Elem()).Interface().(T)
	return &fresh
}

// Argument implements Shape.
func (s *Typed[T, R]) Argument(args Arguments, i int) reflect.Value {
	return reflect.ValueOf(args.(*T)).Elem().Field(i)
}

// Arguments implements Shape.
func (s *Typed[T, R]) Arguments(values []reflect.Value) Arguments {
	args := new(T)
	fields := reflect.ValueOf(args).Elem()
	for i, v := range values {
		fields.Field(i).Set(v)
	}
	return args
}

// Invoke implements Shape.
func (s *Typed[T, R]) Invoke(ctx context.Context, args Arguments) (Results, error) {
	r := newTypedResult[R]()
	var err error
	r.value, err = s.call(ctx, args.(*T))
	return r, err
}

// Results returns results with this value.
func (s *Typed[T, R]) Results(value R) Results {
	r := newTypedResult[R]()
	r.value = value
	return r
}
