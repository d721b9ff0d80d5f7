package bulkhead

import "sync"

// An Ahead holds at most one place of a Bulkhead for a run that has not begun. Runs are prepared
// in steps, one after the other: a place that one step did not need is there for the next. The
// zero value holds none. An Ahead is safe for concurrent use.
type Ahead struct {
	mu   sync.Mutex // guards the fields below
	step int        // the number of the present step
	held bool
}

// Next begins a step. It reports whether there is a place: one that the step before has left, or
// one that is free.
func (a *Ahead) Next(places *Bulkhead) (step int, held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.step++
	a.held = a.held || places.Try()
	return a.step, a.held
}

// Hold notes that the caller has taken a place for a.
func (a *Ahead) Hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = true
}

// Take takes the place for a run, and reports whether there was one. The run gives it back to the
// Bulkhead.
func (a *Ahead) Take() (held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held, a.held = a.held, false
	return held
}

// GiveBack ends a step. It gives the place back, unless a run or a later step has it.
func (a *Ahead) GiveBack(step int, places *Bulkhead) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held && a.step == step {
		a.held = false
		places.Give()
	}
}
