// Package stubs knows the func variables that hold a stub, so that none is wrapped twice.
package stubs

import (
	"maps"
	"reflect"
	"sync"
	"unsafe"
	"weak"
)

// A Set maps stubs to what they stand for. Stubs share their code; they differ in the closure
// that a func value points to. A Set keeps neither stubs nor their targets alive: an
// unreachable variable is collected with its wrapped function. The zero value is empty. All
// methods are safe for concurrent use.
type Set[F any] struct {
	mu    sync.Mutex // guards the fields below
	m     map[uintptr]stub[F]
	sweep int // the number of stubs at which collected ones are removed
}

// leastSweep is the number of stubs below which collected ones are not searched.
const leastSweep = 256

// A stub is identified by its closure, whose address can be reused after the stub is collected.
type stub[F any] struct {
	closure weak.Pointer[byte]
	of      weak.Pointer[F]
}

// closureOf returns the closure that the func value in an addressable variable points to.
func closureOf(variable reflect.Value) *byte {
	return *(**byte)(variable.Addr().UnsafePointer())
}

func address(closure *byte) uintptr { return uintptr(unsafe.Pointer(closure)) }

// Of returns what the stub in an addressable variable stands for, nil if there is none in it.
func (s *Set[F]) Of(variable reflect.Value) *F {
	closure := closureOf(variable)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.m[address(closure)]; known.closure.Value() == closure {
		return known.of.Value()
	}
	return nil
}

// Has reports whether an addressable variable holds a stub.
func (s *Set[F]) Has(variable reflect.Value) bool { return s.Of(variable) != nil }

// Add notes that the func in an addressable variable is the stub of f.
func (s *Set[F]) Add(variable reflect.Value, f *F) {
	closure := closureOf(variable)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[uintptr]stub[F])
	}
	if len(s.m) >= max(s.sweep, leastSweep) {
		maps.DeleteFunc(s.m, func(_ uintptr, known stub[F]) bool { return known.closure.Value() == nil })
		s.sweep = 2 * len(s.m)
	}
	s.m[address(closure)] = stub[F]{weak.Make(closure), weak.Make(f)}
}

// Remove forgets the stubs of f.
func (s *Set[F]) Remove(f *F) {
	mine := weak.Make(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.m, func(_ uintptr, known stub[F]) bool { return known.of == mine })
}
