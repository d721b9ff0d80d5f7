package remote

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// probeInterval is the mean time between two questions to a node that is away. The time
// varies by half of it, so that the processes of a fleet do not ask at the same moments.
const probeInterval = time.Second

// probeSuffix is appended to a key. The result is in the same slot, the same users may read it,
// and nothing is ever stored under it.
const probeSuffix = ":probe"

// goAway notes that a node is away for these uses. The commands that are queued for them are
// done at once. dead means that the commands under way will get no answer: they are done too,
// or only the writes among them if the node is away for writes only. mu is held.
func (n *node) goAway(why *Error, reads, writes, dead bool) {
	if n.r.closed.Load() {
		return
	}
	if n == n.r.whole && n.r.answersElsewhere() {
		// The cluster client sends to any node. While one node answers, the silence of another
		// says nothing about the rest.
		if dead {
			n.giveUpOld()
		}
		return
	}
	for use, is := range [uses]bool{Reads: reads, Writes: writes} {
		s := &n.states[use]
		if !is {
			continue
		}
		if s.away {
			s.why = why
			continue
		}
		*s = condition{away: true, silent: dead, since: n.r.now(), why: why}
		n.r.notice(Event{Node: n.addr, Op: why.Op, Kind: why.Kind, Away: true, Writes: Use(use) == Writes, Err: why.Err})
		n.r.spawn(func() { n.probe(Use(use)) })
	}
	n.flush()
	if dead {
		n.abandon(why, writes && !reads)
		n.r.relearn()
	}
}

// flush ends the commands that are queued and refused. mu is held.
func (n *node) flush() {
	for _, l := range []*lane{&n.small, &n.large} {
		for c := l.first; c != nil; {
			next := c.next
			if err := n.refusal(c); err != nil {
				l.remove(c)
				c.finish(err)
				c.wake(nil)
			} else if n.states[c.use].away { // the command has Limits.Always
				l.remove(c)
				n.serve(n.newFlight(nil, newSeat(), c.alone()))
			}
			c = next
		}
	}
}

// abandon fails the commands of all flights that have seats, or only the writes among them.
// A flight without commands is an orphan. A flight with reads left loses its seat, so that
// other commands do not wait for these reads. mu is held.
func (n *node) abandon(why *Error, onlyWrites bool) {
	for _, f := range slices.Clone(n.flights) {
		if f.lane == nil || f.orphan || onlyWrites && !f.boarded(Writes) {
			continue
		}
		left := onlyWrites && f.boarded(Reads)
		mayRun := left || !f.sent.withdraw() // what is left takes the writes with it
		for _, c := range f.batch {
			if c.state != isBoarded || onlyWrites && c.use == Reads {
				continue
			}
			c.unknown = c.unknown || mayRun
			if f.sent.Load() {
				c.lates++
			}
			c.finish(c.fail(why.Kind, why.Err))
			c.wake(nil)
		}
		if onlyWrites {
			n.unseat(f)
		}
		if !left {
			n.orphan(f)
		}
	}
	if !onlyWrites {
		n.small.reset()
		n.large.reset()
	}
}

// giveUpOld ends the flights that have lasted for the timeout. mu is held.
func (n *node) giveUpOld() {
	for _, f := range slices.Clone(n.flights) {
		if f.lane != nil && !f.orphan && n.watch.ticks-f.since >= ticksPerTimeout {
			n.overdue(f)
		}
	}
}

// orphan notes that no caller waits for a flight. mu is held.
func (n *node) orphan(f *flight) {
	f.orphan = true
	if f.Err() == nil {
		close(f.end)
	}
}

// back notes that a node answers again. The answer ends silence for all uses. mu is held.
func (n *node) back(answered Use) {
	for use := range uses {
		s := &n.states[use]
		if !s.away || use != answered && !s.silent {
			continue
		}
		*s = condition{}
		n.watch.reset(Writes)
		n.r.notice(Event{Node: n.addr, Writes: use == Writes})
	}
}

// probe asks a node that is away until it is back.
func (n *node) probe(use Use) {
	for {
		wait := time.NewTimer(probeInterval/2 + rand.N(probeInterval))
		select {
		case <-wait.C:
		case <-n.r.closing:
			wait.Stop()
			return
		}
		n.mu.Lock()
		question := n.question(use)
		n.mu.Unlock()
		err := n.apart(context.Background(), question, (ticksToProbe+ticksPerTimeout)*n.r.tick)
		if n.judgeProbe(use, err, n.hasLeft()) {
			return
		}
		n.r.relearn()
	}
}

// judgeProbe handles the result of a probe. left says whether the node has left its Cluster.
// judgeProbe reports whether that was the last probe.
func (n *node) judgeProbe(use Use, err error, left bool) (last bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.states[use].away {
		return true // a command with Limits.Always was answered
	}
	failure, failed := err.(*Error) //nolint:errorlint // made here
	if !failed {
		n.back(use)
		return true
	}
	if failure.Kind == KindClosed || left {
		n.r.forget(n)
		return true
	}
	away := [uses]bool{}
	away[Reads], away[Writes] = saysAway(failure.Err, failure.Kind)
	if isReply(failure.Err) && !away[use] {
		n.back(use)
		return true
	}
	if failure.Kind == KindBusyHere { // the node was not asked
		return false
	}
	if failure.Kind != n.states[use].why.Kind {
		n.r.notice(Event{Node: n.addr, Op: failure.Op, Kind: failure.Kind, Err: failure.Err})
	}
	s := &n.states[use]
	s.why, s.silent = failure, s.silent && !isReply(failure.Err)
	return false
}

// question makes a command that changes nothing. mu is held.
func (n *node) question(use Use) *Command {
	key := n.key
	switch {
	case key == "":
		return Plain("probe", "", use, Limits{}, "time")
	case use == Writes && n.r.writeProbe != nil:
		return Eval("probe", Writes, n.r.writeProbe, []string{key + probeSuffix}, nil, Limits{})
	default:
		return Get("probe", key+probeSuffix, Limits{})
	}
}

// apart sends a command beside the lanes, even if the node is away, and waits for the answer
// for at most the given time.
func (n *node) apart(ctx context.Context, c *Command, most time.Duration) error {
	f := n.launch(ctx, c)
	limit := time.NewTimer(most)
	defer limit.Stop()
	select {
	case <-c.ready:
		return c.result()
	case <-limit.C:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.state != isDone {
		mayRun := !f.sent.withdraw()
		c.unknown = c.unknown || mayRun
		switch {
		case mayRun:
			c.finish(c.fail(KindTimeout, errLate))
		case n.poolIsFull(f):
			c.finish(c.fail(KindBusyHere, errPoolFull))
		default:
			c.finish(c.fail(KindUnreachable, errNoConnection))
		}
		n.orphan(f)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.result()
}

// launch starts a goroutine that sends a command beside the lanes.
func (n *node) launch(ctx context.Context, c *Command) *flight {
	c.ctx, c.ready = ctx, make(chan *flight, 1)
	c.node.Store(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.watch.armed {
		n.arm()
	}
	f := n.newFlight(nil, newSeat(), c.alone())
	n.serve(f)
	return f
}
