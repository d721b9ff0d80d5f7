package shape

import (
	"context"
	"reflect"
	"slices"

	"github.com/fncache/fncache/internal/deepcopy"
	"github.com/fncache/fncache/internal/keyhash"
)

// Reflected is the shape of a function of any type. Its Arguments are a *[]reflect.Value.
type Reflected struct {
	plans  *Plans
	fn     reflect.Value // the original
	hashes []keyhash.ValueHasher
	errNil reflect.Value
	zeros  []reflect.Value // of the results, without the error
}

// NewReflected returns the shape of a function.
func NewReflected(plans *Plans, fn reflect.Value) *Reflected {
	s := &Reflected{plans: plans, fn: fn, errNil: reflect.Zero(reflect.TypeFor[error]())}
	for i, t := range plans.Sig.Params {
		s.hashes = append(s.hashes, keyhash.CompileValue(t, plans.Sig.Place(i)))
	}
	for _, t := range plans.Sig.Results {
		s.zeros = append(s.zeros, reflect.Zero(t))
	}
	return s
}

// reflectedResults are addressable values.
type reflectedResults struct {
	values []reflect.Value // with room for the error
	at     []any

	// Memory for the slices of one result.
	oneValue [2]reflect.Value
	oneAt    [1]any
}

func (r *reflectedResults) Pointers() []any { return r.at }

func (r *reflectedResults) Zero() bool {
	return !slices.ContainsFunc(r.values, func(v reflect.Value) bool { return !v.IsZero() })
}

// Blank implements Shape.
func (s *Reflected) Blank() Results { return s.blank() }

func (s *Reflected) blank() *reflectedResults {
	types := s.plans.Sig.Results
	r := &reflectedResults{}
	if len(types) == 1 {
		r.values, r.at = r.oneValue[:1], r.oneAt[:]
	} else {
		r.values, r.at = make([]reflect.Value, len(types), len(types)+1), make([]any, len(types))
	}
	for i, t := range types {
		v := reflect.New(t)
		r.values[i], r.at[i] = v.Elem(), v.Interface()
	}
	return r
}

// Plain implements Shape.
func (s *Reflected) Plain(key *Plain, args Arguments) {
	s.PlainValues(key, *args.(*[]reflect.Value))
}

// PlainValues is like Plain, for arguments that are given by their values.
func (s *Reflected) PlainValues(key *Plain, values []reflect.Value) {
	for i, place := range s.plans.places {
		if place >= placeOfString {
			key.S[place-placeOfString] = values[i].String()
		} else {
			key.N[place] = keyhash.Bits(values[i])
		}
	}
}

// Copy implements Shape.
func (s *Reflected) Copy(r Results) Results {
	fresh := s.blank()
	for i, v := range r.(*reflectedResults).values {
		fresh.values[i].Set(v)
		s.plans.Copies.Deepen(i, fresh.values[i].Addr().UnsafePointer())
	}
	return fresh
}

// Hash implements Shape.
func (s *Reflected) Hash(k *keyhash.Keys, args Arguments) (list keyhash.Hash, err error) {
	for i, arg := range *args.(*[]reflect.Value) {
		h, err := s.hashes[i](k, arg)
		if err != nil {
			return keyhash.Hash{}, err
		}
		list = k.Append(list, h)
	}
	return list, nil
}

// Own implements Shape.
func (s *Reflected) Own(args Arguments) Arguments {
	values := deepcopy.Arguments(*args.(*[]reflect.Value))
	return &values
}

// Argument implements Shape.
func (s *Reflected) Argument(args Arguments, i int) reflect.Value {
	return (*args.(*[]reflect.Value))[i]
}

// Arguments implements Shape.
func (s *Reflected) Arguments(values []reflect.Value) Arguments { return &values }

// Invoke implements Shape.
func (s *Reflected) Invoke(ctx context.Context, args Arguments) (Results, error) {
	sig, in := s.plans.Sig, *args.(*[]reflect.Value)
	if sig.HasContext {
		in = append([]reflect.Value{reflect.ValueOf(&ctx).Elem()}, in...)
	}
	call := s.fn.Call
	if sig.Variadic {
		call = s.fn.CallSlice
	}
	out := call(in)
	var err error
	if sig.HasError {
		err, _ = out[len(out)-1].Interface().(error)
	}
	r := s.blank()
	for i, v := range r.values {
		v.Set(out[i])
	}
	return r, err
}

// Split splits the parameters of a function made by reflect.MakeFunc into the context and the
// arguments. The context is context.Background if the caller gave none.
func (s *Reflected) Split(in []reflect.Value) (ctx context.Context, values []reflect.Value) {
	ctx = context.Background()
	if !s.plans.Sig.HasContext {
		return ctx, in
	}
	if given, ok := in[0].Interface().(context.Context); ok {
		ctx = given
	}
	return ctx, in[1:]
}

// Out returns what such a function returns. If r is nil, the results are zero. r must not be used
// again.
func (s *Reflected) Out(r Results, err error) (out []reflect.Value) {
	if r == nil {
		out = slices.Clone(s.zeros)
	} else {
		out = r.(*reflectedResults).values
	}
	switch {
	case !s.plans.Sig.HasError:
		return out
	case err == nil:
		return append(out, s.errNil)
	default:
		failed := err // on the heap, which a call without an error does not need
		return append(out, reflect.ValueOf(&failed).Elem())
	}
}

// OutCopy is like Out for Results that are kept. It copies them, so they do not change. Values
// without references are returned as they are, because the caller of the function gets copies of
// them. The results must be copyable (Plans.Copies).
func (s *Reflected) OutCopy(kept any) []reflect.Value {
	values := kept.(*reflectedResults).values
	out := make([]reflect.Value, len(values), len(values)+1)
	for i := range out {
		out[i] = s.plans.Copies.Copy(i, values[i])
	}
	if s.plans.Sig.HasError {
		out = append(out, s.errNil)
	}
	return out
}

// Results returns results with these values.
func (s *Reflected) Results(values ...reflect.Value) Results {
	r := s.blank()
	for i, v := range values {
		r.values[i].Set(v)
	}
	return r
}

// Value returns the first result.
func (s *Reflected) Value(r Results) reflect.Value { return r.(*reflectedResults).values[0] }
