// Package signature analyses the type of a function once, when it is wrapped: its parameters
// and results, whether they can be cached and why not, how a handle's arguments become those of
// a call, and the fingerprints in keys.
package signature

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/fncache/fncache/internal/codec"
)

// A Signature is the analysed type of a function that can be cached.
type Signature struct {
	Type       reflect.Type
	HasContext bool           // the first parameter is a context.Context
	Params     []reflect.Type // without the context; the last is a slice if variadic
	Variadic   bool
	Results    []reflect.Type // without the error
	HasError   bool           // the last result is an error
	Encoding   *codec.Results // how the results are encoded
	Varies     bool           // set by the caller: the key has a part that is not a parameter
	Tags       []string       // set by the caller: the templates of tags; nil: entries have none
}

var (
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
)

// New analyses a func type. If lossy is true, results may have unexported fields, which are not
// stored. Results are checked for a format. The error joins the faults of all parameters and
// results. The signature is also returned with an error.
func New(t reflect.Type, lossy bool, format codec.Format) (*Signature, error) {
	s := &Signature{Type: t, Variadic: t.IsVariadic()}
	var faults []error
	for i := range t.NumIn() {
		in := t.In(i)
		if i == 0 && in == contextType {
			s.HasContext = true
			continue
		}
		s.Params = append(s.Params, in)
		faults = append(faults, paramFaults(s.Place(len(s.Params)-1), in)...)
	}
	for i := range t.NumOut() {
		out := t.Out(i)
		if i == t.NumOut()-1 && out == errorType {
			s.HasError = true
			continue
		}
		if i == t.NumOut()-1 && out.Kind() != reflect.Interface && out.Implements(errorType) {
			// Otherwise "not found" would be stored and served as a value.
			faults = append(faults, fmt.Errorf("result %d: %v is an error that would be stored like a value; declare the result as error", i+1, out))
		}
		s.Results = append(s.Results, out)
	}
	s.Encoding = codec.CompileResults(s.Results, lossy)
	faults = append(faults, s.Encoding.Check(format))
	if len(s.Results) == 0 {
		faults = append(faults, errors.New("it has no result to cache; return a value besides the error"))
	}
	return s, errors.Join(faults...)
}

// TakesContext reports whether the first parameter of a func type is a context.
func TakesContext(t reflect.Type) bool { return t.NumIn() > 0 && t.In(0) == contextType }

// ReturnsError reports whether the last result of a func type is an error.
func ReturnsError(t reflect.Type) bool {
	last := t.NumOut() - 1
	return last >= 0 && t.Out(last) == errorType
}

// String returns the type as Go writes it.
func (s *Signature) String() string { return s.Type.String() }

// Place names parameter i in errors. i does not count the context.
func (s *Signature) Place(i int) string {
	if s.HasContext {
		i++
	}
	return fmt.Sprintf("parameter %d", i+1)
}
