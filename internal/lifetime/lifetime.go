// Package lifetime counts goroutines, so that Close can wait until the last of them has ended.
package lifetime

import (
	"sync/atomic"
	"time"
)

// A Group counts goroutines. A sync.WaitGroup does not suffice: goroutines may begin during a
// wait, and waiting has a limit. All methods are safe for concurrent use. The goroutines of a
// nil Group are not counted.
type Group struct {
	whole   *Group // the group that it is a part of; nil if none
	closed  atomic.Bool
	running atomic.Int64
	idle    chan struct{} // one element: running was 0 after Close
}

// New returns a group.
func New() *Group { return &Group{idle: make(chan struct{}, 1)} }

// Part returns a group whose goroutines g counts too. It is closed when g is. When a
// goroutine of the part ends, g counts it as ended first, so after a Wait for the part g
// counts none of its goroutines.
func (g *Group) Part() *Group {
	part := New()
	part.whole = g
	return part
}

// Go runs f on a goroutine of the group, also after Close.
func (g *Group) Go(f func()) {
	if g == nil {
		go f()
		return
	}
	g.enter()
	go func() {
		defer g.leave()
		f()
	}()
}

func (g *Group) enter() {
	for ; g != nil; g = g.whole {
		g.running.Add(1)
	}
}

func (g *Group) leave() {
	if g.whole != nil {
		g.whole.leave()
	}
	if g.running.Add(-1) == 0 && g.Closed() {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// Close marks the group as closed, and reports whether this is the first call. Wait must not be
// called before.
func (g *Group) Close() bool { return g.closed.CompareAndSwap(false, true) }

// Closed reports whether the group, or the group that it is a part of, has been closed.
func (g *Group) Closed() bool {
	for ; g != nil; g = g.whole {
		if g.closed.Load() {
			return true
		}
	}
	return false
}

// Running returns how many goroutines of the group have not ended.
func (g *Group) Running() int { return int(g.running.Load()) }

// Wait waits until no goroutine runs, for a time at most, and reports whether none does. One
// caller waits at a time.
func (g *Group) Wait(most time.Duration) bool {
	limit := time.NewTimer(most)
	defer limit.Stop()
	// 1. leave counts down to 0 before it looks at closed, and
	// 2. closed was set before Wait looks at running:
	// so either Wait sees 0, or leave sees closed and says so.
	for g.running.Load() > 0 {
		select {
		case <-g.idle:
		case <-limit.C:
			return false
		}
	}
	return true
}
