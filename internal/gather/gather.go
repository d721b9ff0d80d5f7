// Package gather runs a function once for many callers that need it at about the same time.
//
// Members join, and a run takes those that have joined, up to a number. A run begins when
// no caller holds it up and no other run of the same Gather is under way. A caller that will soon
// know whether a member joins holds the run up. The next run takes all members that join while a
// run is under way.
package gather

import "sync"

// A Gather collects members for runs of a function. It is safe for concurrent use.
type Gather[M any] struct {
	run   func(members []M, next func())
	spawn func(func())
	most  int

	mu      sync.Mutex // guards the fields below
	holds   int        // how often a run is held up
	joined  []M        // members of no run yet
	running bool
	quiet   []chan struct{} // of callers that wait until no run is under way or about to begin
}

// New returns a Gather whose runs have at most that many members; 0 is any number. run is called
// on a goroutine that spawn starts. The next run may begin when it returns, or earlier when it
// calls next.
func New[M any](most int, spawn func(func()), run func(members []M, next func())) *Gather[M] {
	return &Gather[M]{run: run, spawn: spawn, most: most}
}

// Hold holds up the next run until Release is called. A nil Gather ignores it.
func (g *Gather[M]) Hold() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds++
}

// Release ends a Hold. A nil Gather ignores it.
func (g *Gather[M]) Release() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds--
	g.begin()
}

// Join adds a member to the next run, and ends its Hold.
func (g *Gather[M]) Join(m M) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joined = append(g.joined, m)
	g.holds--
	g.begin()
}

// Quiet returns a channel that is closed as soon as nothing runs, is held up, or waits for a
// run.
func (g *Gather[M]) Quiet() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	quiet := make(chan struct{})
	g.quiet = append(g.quiet, quiet)
	g.begin()
	return quiet
}

// begin begins a run if it may. mu is held.
func (g *Gather[M]) begin() {
	switch {
	case g.running || g.holds > 0:
		return
	case len(g.joined) == 0:
		for _, quiet := range g.quiet {
			close(quiet)
		}
		g.quiet = nil
		return
	}
	members := g.joined
	g.joined = nil
	if g.most > 0 && len(members) > g.most {
		members, g.joined = members[:g.most:g.most], members[g.most:]
	}
	g.running = true
	var once sync.Once
	next := func() { once.Do(g.ended) }
	g.spawn(func() {
		defer next()
		g.run(members, next)
	})
}

func (g *Gather[M]) ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	g.begin()
}
