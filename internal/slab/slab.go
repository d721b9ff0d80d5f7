// Package slab allocates values of one type several at a time, which costs less than to allocate
// each alone.
package slab

// piece is how many values are allocated at a time.
const piece = 16

// A Slab allocates values. The zero value is ready for use. A value that is referred to keeps the
// other values of its piece in memory. A Slab is not safe for concurrent use.
type Slab[T any] struct{ free []T }

// New returns a slab for about n values.
func New[T any](n int) Slab[T] { return Slab[T]{make([]T, min(n, piece))} }

// Of returns a slab that uses the given values first. They must be zero.
func Of[T any](values []T) Slab[T] { return Slab[T]{values} }

// Next returns a pointer to a zero value that no other call of Next returns.
func (s *Slab[T]) Next() *T {
	if len(s.free) == 0 {
		s.free = make([]T, piece)
	}
	next := &s.free[0]
	s.free = s.free[1:]
	return next
}
