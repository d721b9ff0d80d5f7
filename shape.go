package fncache

import (
	"context"
	"reflect"
	"slices"

	"github.com/fncache/fncache/internal/deepcopy"
	"github.com/fncache/fncache/internal/keyhash"
)

// A shape is all that the engine (call.go to settle.go in doc.go's map) needs of a
// function's types. The engine carries arguments and results without looking into
// them, so it serves functions that are known by reflection only, here, and such
// whose types the compiler knows, in typed.go.
type shape interface {
	// hash hashes arguments for the key.
	hash(k *keyhash.Keys, args arguments) (keyhash.Hash, error)
	// own copies arguments, so that the caller cannot change them.
	own(args arguments) arguments
	// arguments makes arguments of their values, one for each parameter.
	arguments(values []reflect.Value) arguments
	// invoke calls the original function.
	invoke(ctx context.Context, args arguments) (results, error)
	// blank makes zero results to decode into.
	blank() results
	// plain puts arguments that need no hashing into a key, as the near cache
	// knows them.
	plain(key *nearKey, args arguments)
	// copy gives results of their own, by the function's plan of copies.
	copy(r results) results
	// stub makes the function that callers call in place of the original.
	stub() reflect.Value
}

// Arguments are those of one call, without the context. Only the shape that made
// them knows what they are. Nobody writes to them.
type arguments any

// An input is all that the key of a call is made of.
type input struct {
	args arguments
	vary string // what Options.Vary has answered; "" without it
}

// Results are those of one call, without the error. Whoever holds them has them
// for itself.
type results interface {
	// pointers gives a pointer to each result, for the codec.
	pointers() []any
	// zero reports whether each result is the zero value of its type.
	zero() bool
}

// encode appends results to dst.
func (f *Func) encode(c *coder, dst []byte, r results) ([]byte, error) {
	return c.encode(dst, f.sig.Encoding, r.pointers())
}

// decode makes results of a body, for callers that go on whatever code of the user's own
// does: see apart.go.
func (f *Func) decode(c *coder, body []byte) (results, error) {
	if f.decodesApart(c) {
		return f.decodeApart(c, body)
	}
	return f.decodeHere(c, body)
}

// decodesApart reports whether decoding may run code of the user's own.
func (f *Func) decodesApart(c *coder) bool { return f.selfDecoding || c.id == codecOther }

// decodeHere is decode on this goroutine.
func (f *Func) decodeHere(c *coder, body []byte) (results, error) {
	r := f.shape.blank()
	if err := c.decode(body, f.sig.Encoding, r.pointers()); err != nil {
		return nil, err
	}
	return r, nil
}

// share gives a caller results of its own: a copy of what was decoded once, or, of
// types that cannot be copied, the body decoded anew.
func (f *Func) share(c *coder, decoded results, body []byte) (results, error) {
	if f.copies == nil {
		return f.decode(c, body)
	}
	return f.shape.copy(decoded), nil
}

// A reflectedShape is that of a function whose type is any.
type reflectedShape struct {
	fn     *Func
	errNil reflect.Value
	zeros  []reflect.Value // of the results, without the error
}

func reflectedShapeOf(f *Func) shape {
	s := &reflectedShape{fn: f, errNil: reflect.Zero(reflect.TypeFor[error]())}
	for _, t := range f.sig.Results {
		s.zeros = append(s.zeros, reflect.Zero(t))
	}
	return s
}

// A reflectedCall is a call and, in one piece of memory with it, the arguments:
// they are a pointer to their values.
type reflectedCall struct {
	call
	values []reflect.Value
}

// reflectedResults are addressable values.
type reflectedResults struct {
	values []reflect.Value // with room for the error
	at     []any

	// Room for those of one result.
	oneValue [2]reflect.Value
	oneAt    [1]any
}

func (r *reflectedResults) pointers() []any { return r.at }

func (r *reflectedResults) zero() bool {
	return !slices.ContainsFunc(r.values, func(v reflect.Value) bool { return !v.IsZero() })
}

func (s *reflectedShape) blank() results {
	types := s.fn.sig.Results
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

func (s *reflectedShape) plain(key *nearKey, args arguments) {
	s.plainValues(key, *args.(*[]reflect.Value))
}

func (s *reflectedShape) plainValues(key *nearKey, values []reflect.Value) {
	for i, place := range s.fn.near.plain {
		if place >= nearString {
			key.s[place-nearString] = values[i].String()
		} else {
			key.n[place] = keyhash.Bits(values[i])
		}
	}
}

func (s *reflectedShape) copy(r results) results {
	fresh := s.blank().(*reflectedResults)
	for i, v := range r.(*reflectedResults).values {
		fresh.values[i].Set(v)
		s.fn.copies.Deepen(i, fresh.values[i].Addr().UnsafePointer())
	}
	return fresh
}

// fromNear makes what the stub returns of an entry of the near cache. Values that
// refer to nothing are handed out as they are: the stub's caller gets copies.
func (s *reflectedShape) fromNear(e *nearEntry, own results) []reflect.Value {
	if own == nil {
		own = e.results
	}
	kept := own.(*reflectedResults).values
	out := make([]reflect.Value, len(kept), len(kept)+1)
	copy(out, kept)
	if plan := s.fn.copies; plan != nil {
		for i := range out {
			out[i] = plan.Copy(i, kept[i])
		}
	}
	if s.fn.sig.HasError {
		out = append(out, s.errNil)
	}
	return out
}

func (s *reflectedShape) hash(k *keyhash.Keys, args arguments) (keyhash.Hash, error) {
	return s.fn.plan.hash(k, *args.(*[]reflect.Value))
}

func (s *reflectedShape) own(args arguments) arguments {
	values := deepcopy.Arguments(*args.(*[]reflect.Value))
	return &values
}

func (s *reflectedShape) arguments(values []reflect.Value) arguments { return &values }

func (s *reflectedShape) invoke(ctx context.Context, args arguments) (results, error) {
	fn, sig, in := s.fn.original, s.fn.sig, *args.(*[]reflect.Value)
	if sig.HasContext {
		in = append([]reflect.Value{reflect.ValueOf(&ctx).Elem()}, in...)
	}
	call := fn.Call
	if sig.Variadic {
		call = fn.CallSlice
	}
	out := call(in)
	var err error
	if sig.HasError {
		err, _ = out[len(out)-1].Interface().(error)
	}
	r := s.blank().(*reflectedResults)
	for i, v := range r.values {
		v.Set(out[i])
	}
	return r, err
}

func (s *reflectedShape) stub() reflect.Value {
	return reflect.MakeFunc(s.fn.variable.Type(), s.serve)
}

// serve is what runs in the stub.
func (s *reflectedShape) serve(in []reflect.Value) []reflect.Value {
	ctx, values := context.Background(), in
	if s.fn.sig.HasContext {
		if given, ok := in[0].Interface().(context.Context); ok {
			ctx = given
		}
		values = in[1:]
	}
	vary := s.fn.varyOfCall(ctx)
	if n := s.fn.near; n != nil && n.plain != nil {
		var key nearKey
		s.plainValues(&key, values)
		if e, own := n.serve(ctx, &key, vary); e != nil {
			return s.fromNear(e, own)
		}
	}
	c := &reflectedCall{values: values}
	r, err := s.fn.call(ctx, input{&c.values, vary}, &c.call)
	var out []reflect.Value
	if r == nil {
		out = slices.Clone(s.zeros)
	} else {
		out = r.(*reflectedResults).values
	}
	switch {
	case !s.fn.sig.HasError:
		return out
	case err == nil:
		return append(out, s.errNil)
	default:
		failed := err // on the heap, which a call without an error does not need
		return append(out, reflect.ValueOf(&failed).Elem())
	}
}
