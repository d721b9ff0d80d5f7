// Package stubs knows the func variables that hold a stub, so that none is wrapped twice.
package stubs

import (
	"maps"
	"reflect"
	"sync"
	"unsafe"
	"weak"
)

// A Set knows stubs, and what each stands for. Stubs share their code; they differ in the
// closure that a func value points to. A Set keeps neither stubs nor what they stand for
// alive: a variable that nobody has any more is gone with what it was wrapped in. The zero
// value is empty. All methods are safe for concurrent use.
type Set[F any] struct {
	mu    sync.Mutex // guards the fields below
	m     map[uintptr]stub[F]
	sweep int // the number of stubs at which those that are gone are taken out
}

// leastSweep is the least number of stubs that are searched for those that are gone.
const leastSweep = 256

// A stub is what stands for something, by its closure, whose address is another's when it is
// gone.
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
