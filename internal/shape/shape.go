// Package shape carries the arguments and results of a function through the engine, which does not
// look into them. There are two shapes. Reflected serves functions of any type by reflection. Typed
// serves functions of a context and up to three arguments, whose types the compiler knows, and
// mostly avoids reflection.
package shape

import (
	"context"
	"reflect"
	"slices"

	"github.com/fncache/fncache/internal/deepcopy"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/signature"
)

// A Shape is the engine's view of a function's types. Its methods are safe for concurrent use.
type Shape interface {
	// Hash returns the hash of arguments for the key.
	Hash(k *keyhash.Keys, args Arguments) (keyhash.Hash, error)
	// Own returns a copy of arguments that the caller cannot change.
	Own(args Arguments) Arguments
	// Argument returns argument i, which must not be written to.
	Argument(args Arguments, i int) reflect.Value
	// Arguments makes arguments of their values, one for each parameter.
	Arguments(values []reflect.Value) Arguments
	// Invoke calls the original function.
	Invoke(ctx context.Context, args Arguments) (Results, error)
	// Blank returns zero results to decode into.
	Blank() Results
	// Plain puts arguments that need no hashing into a key: see Plans.IsPlain.
	Plain(key *Plain, args Arguments)
	// Copy returns a copy of results, made by Plans.Copies.
	Copy(r Results) Results
}

// Arguments are the arguments of one call, without the context. Only the shape that made them knows
// their type. They are never modified.
type Arguments any

// Results are the results of one call, without the error. They belong to the code that holds them.
type Results interface {
	// Pointers returns a pointer to each result, for the codec.
	Pointers() []any
	// Zero reports whether each result is the zero value of its type.
	Zero() bool
}

// Footprint returns how many bytes results take, with everything that they refer to.
func Footprint(r Results) (size uintptr) {
	for _, at := range r.Pointers() {
		v := reflect.ValueOf(at).Elem()
		size += v.Type().Size() + deepcopy.Footprint(v)
	}
	return size
}

// Plans have the properties of a function's arguments and results, computed when it is wrapped.
// They are not modified after Compile.
type Plans struct {
	Sig *signature.Signature
	// Copies copies results. It is nil for types with hidden references, which are decoded for
	// each caller.
	Copies *deepcopy.Plan
	// Shares is set if arguments share memory with the caller's, so a computation needs
	// Shape.Own.
	Shares bool

	places []int // see placesOf
	vary   int   // the index in Plain.S for the result of Options.Vary
}

// Compile makes the plans for a signature.
func Compile(sig *signature.Signature) *Plans {
	p := &Plans{
		Sig:    sig,
		Copies: deepcopy.Compile(sig.Results),
		Shares: slices.ContainsFunc(sig.Params, deepcopy.Shares),
	}
	p.places, p.vary = placesOf(sig)
	return p
}
