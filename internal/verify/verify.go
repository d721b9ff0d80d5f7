// Package verify decides which hits of a function are verified, compares what is cached with
// what the function returns now, and counts the outcomes.
package verify

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
)

// A Func verifies the hits of one function. A nil Func verifies none. All methods are safe for
// concurrent use.
type Func struct {
	share    float64
	running  *atomic.Bool // a verification is under way, of this Func or of one that it has joined
	joined   bool         // Join was called
	unstable atomic.Bool  // the function is not verified any more
	verified atomic.Uint64
	differed atomic.Uint64
}

// New returns a Func that verifies that share of the hits, from 0 to 1; nil for 0.
func New(share float64) *Func {
	if share == 0 {
		return nil
	}
	return &Func{share: share, running: new(atomic.Bool)}
}

// Join has one verification at a time under way of f and others, which verify the same function. Some
// of them may be nil. Join must be called before Draw. Only its first call has an effect.
func (f *Func) Join(others ...*Func) {
	if f == nil || f.joined {
		return
	}
	f.joined = true
	for _, other := range others {
		if other != nil {
			f.running = other.running
			return
		}
	}
}

// Draw reports whether a hit is to be verified: for its share of the hits, while no other
// verification of the function is under way (see Join). The caller must call End after the verification.
func (f *Func) Draw() bool { return f != nil && f.draw() }

func (f *Func) draw() bool {
	return rand.Float64() < f.share && !f.unstable.Load() && f.running.CompareAndSwap(false, true)
}

// End ends a verification that Draw has begun.
func (f *Func) End() { f.running.Store(false) }

// Same counts a verification that found no difference.
func (f *Func) Same() { f.verified.Add(1) }

// Differed counts a verification that found a difference.
func (f *Func) Differed() {
	f.differed.Add(1)
	f.verified.Add(1)
}

// GiveUp ends all verification of the function, because its values cannot be compared. It
// reports whether this is the first call.
func (f *Func) GiveUp() bool { return f.unstable.CompareAndSwap(false, true) }

// Counted returns how many values were compared, and how many of them differed.
func (f *Func) Counted() (verified, differed uint64) {
	if f == nil {
		return 0, 0
	}
	// A difference is counted as such first, so that no reader finds more of them than values.
	verified = f.verified.Load()
	return verified, min(f.differed.Load(), verified)
}

// A Verdict says how two values compare.
type Verdict uint8

const (
	// Equal: they have the same encoding.
	Equal Verdict = iota
	// Different: their encodings differ, and each value has one.
	Different
	// Unstable: one of the values has several encodings, so nothing is known.
	Unstable
)

// encodings is how often a value is encoded before it counts as one that has one encoding. A
// value with two encodings that are equally likely passes once in 32,000 times.
const encodings = 16

// Compare compares two values by their encodings. An error is that of one of the encoders.
func Compare(one, other func() ([]byte, error)) (Verdict, error) {
	first, err := one()
	if err != nil {
		return Unstable, err
	}
	second, err := other()
	if err != nil {
		return Unstable, err
	}
	if bytes.Equal(first, second) {
		return Equal, nil
	}
	for range encodings - 1 {
		for _, value := range []struct {
			encode func() ([]byte, error)
			before []byte
		}{{one, first}, {other, second}} {
			again, err := value.encode()
			switch {
			case err != nil:
				return Unstable, err
			case !bytes.Equal(again, value.before):
				return Unstable, nil
			}
		}
	}
	return Different, nil
}
