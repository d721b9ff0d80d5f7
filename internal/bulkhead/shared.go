package bulkhead

import (
	"context"
	"sync"
)

// A Shared is one place of a Bulkhead that several users share. A user prepares a run, or is in
// one, or waits for its turn. No two of the runs are under way at once, so one place is enough.
//
//	no user          the place is not taken
//	users            the place is taken, and a further user waits for nothing
//	a detached run   the run keeps the place until it ends. The other users have none until the next
//	                 Take, which takes another place as for the first user
//
// The place is given back when the last user is gone. A nil Shared has room for everybody. It is
// safe for concurrent use.
type Shared struct {
	places *Bulkhead

	mu    sync.Mutex // guards the fields below
	users int
	held  bool               // the place is taken; there are users
	came  context.Context    // ends when the place comes to one of those that wait; nil if none waits
	come  context.CancelFunc // ends came
}

// Share returns a Shared without users; nil for a nil Bulkhead.
func (b *Bulkhead) Share() *Shared {
	if b == nil {
		return nil
	}
	return &Shared{places: b}
}

// Try adds a user if the place is taken or is free. It reports whether it did.
func (s *Shared) Try() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.try()
}

// try is Try with mu held.
func (s *Shared) try() bool {
	if !s.held && !s.places.Try() {
		return false
	}
	s.add()
	return true
}

// add adds a user after the place was taken. Those that wait for the place need not wait for one of
// their own. mu is held.
func (s *Shared) add() {
	s.users++
	s.held = true
	if s.come != nil {
		s.come()
		s.came, s.come = nil, nil
	}
}

// Take adds a user as soon as the place is taken or is free. It returns ctx.Err() if ctx ends
// first, and adds no user then.
func (s *Shared) Take(ctx context.Context) error {
	if s == nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch err := ctx.Err(); {
		case err != nil:
			return err
		case s.try():
			return nil
		case s.wait(ctx):
			if s.held { // it has come to two of those that wait at the same moment
				s.places.Give()
			}
			s.add()
			return nil
		}
	}
}

// wait waits for a place, and reports whether it has one. It ends if ctx ends, and if the place comes
// to another user. mu is held, but not while it waits.
func (s *Shared) wait(ctx context.Context) bool {
	if s.come == nil {
		s.came, s.come = context.WithCancel(context.Background())
	}
	came := s.came
	s.mu.Unlock()
	defer s.mu.Lock()
	waiting, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(came, end)()
	return s.places.Take(waiting) == nil
}

// Join adds a user, for a caller that is or has a user.
func (s *Shared) Join() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

// Give removes a user.
func (s *Shared) Give() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(1)
}

// remove removes users. mu is held.
func (s *Shared) remove(n int) {
	if s.users -= n; s.users == 0 && s.held {
		s.held = false
		s.places.Give()
	}
}

// Lend lends the place to a run for n of its users. end removes them when the run has ended. detach,
// if it comes before that, removes them earlier, and leaves the place to the run until end. end
// must be called once. Both may be called at the same time.
func (s *Shared) Lend(n int) (end, detach func()) {
	if s == nil || n == 0 {
		return func() {}, func() {}
	}
	var ended, detached bool // guarded by mu
	end = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ended = true; detached {
			s.places.Give()
			return
		}
		s.remove(n)
	}
	detach = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !ended {
			detached = true
			s.users -= n
			s.held = false
		}
	}
	return end, detach
}
