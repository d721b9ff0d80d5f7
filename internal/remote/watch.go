package remote

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// ticksPerTimeout is how many ticks of the watchdog make the timeout.
	ticksPerTimeout = 10
	// ticksToConnect is how many ticks a connection may take while the node answers
	// nothing else: TCP, TLS, HELLO and what go-redis asks then wait for an answer each, and
	// none of these is seen. It is less than two timeouts, within which a node that is
	// away is found out.
	ticksToConnect = 18
	// ticksToProbe is the same for a question to a node that is away, which no caller waits
	// for: a node that is far but answers in time must come back.
	ticksToProbe = 50
)

// minTick is the shortest tick, whatever the timeout. In a process that computes on all
// its processors, Go looks for answers on sockets every 10 ms, though timers come on time:
// silence is judged over twice as long.
const minTick = 2 * time.Millisecond

// A watch is what the watchdog of a node has seen. It is guarded by node.mu. The
// watchdog runs while commands are on their way, and a tick longer.
type watch struct {
	timer  *time.Timer
	armed  bool
	active bool      // commands have begun since the last tick
	fresh  bool      // nothing has landed since the watchdog was started
	due    time.Time // when the next tick is to come
	ticks  uint64
	lates  uint64 // how many of them came late
	heard  uint64 // how many flights were answered

	asked  [uses]bool // at the last tick, something small was unanswered
	cut    [uses]bool // something small was given up since the last answer
	silent [uses]int  // ticks on time, one after the other, with something small unanswered
	quiet  int        // the same with anything unanswered
	mute   int        // ticks on time since anything was answered
	asking [uses]bool // a question of the watchdog's own is on its way
}

// reset forgets what was not answered before an answer: one to a write shows that the node
// answers reads too, but where writes are paused reads are answered.
func (w *watch) reset(answered Use) {
	for use := range answered + 1 {
		w.asked[use], w.cut[use], w.silent[use] = false, false, 0
	}
	w.quiet = 0
}

// arm starts the watchdog. mu is held.
func (n *node) arm() {
	w := &n.watch
	w.fresh = w.fresh || !w.armed
	w.armed, w.due = true, n.r.now().Add(n.r.tick)
	if w.timer == nil {
		w.timer = time.AfterFunc(n.r.tick, n.tick)
		return
	}
	w.timer.Reset(n.r.tick)
}

// tick is the watchdog.
func (n *node) tick() {
	// Whoever was woken before this, by an answer, goes first.
	runtime.Gosched()
	n.look()
	n.r.sweep()
}

// look is what a tick does to its node.
func (n *node) look() {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &n.watch
	if n.r.closed.Load() {
		w.armed = false
		return
	}
	w.ticks++
	n.lookForDials()
	for _, f := range n.flights { // a long pipeline brings answers before it lands
		for use := range uses {
			if f.answered[use].Swap(false) && !f.orphan {
				w.mute = 0
				w.reset(use)
			}
		}
	}
	if n.isLate() {
		w.lates++
	} else {
		n.judge()
	}
	n.flights = slices.DeleteFunc(n.flights, func(f *flight) bool { return f.orphan })
	if len(n.flights) == 0 && n.small.first == nil && n.large.first == nil && !w.active && !w.cut[Reads] && !w.cut[Writes] {
		w.armed, n.idle = false, n.r.now()
		return
	}
	w.active = false
	n.arm()
}

// isLate reports whether the tick that is to come, or has just come, is late: this
// process did not get the processor. Timers may be late by a millisecond in any process.
// mu is held.
func (n *node) isLate() bool { return n.r.now().Sub(n.watch.due) > max(n.r.tick/2, minTick) }

// wasLate reports whether this process was late since a flight began. mu is held.
func (n *node) wasLate(f *flight) bool { return n.watch.lates != f.lates || n.isLate() }

// lookForDials has it noticed that the client has made connections. mu is held.
func (n *node) lookForDials() {
	stats := n.poolStats()
	if stats == nil || n.r.dialed == nil {
		return
	}
	dials := stats.Misses
	if stats.PipelineStats != nil {
		dials += stats.PipelineStats.Misses
	}
	if dials != n.dials {
		n.dials = dials
		n.r.dialed()
	}
}

// judge looks at what is on its way, at a tick that came on time. mu is held.
func (n *node) judge() {
	w := &n.watch
	w.mute++
	asked, unanswered := w.cut, w.cut[Reads] || w.cut[Writes]
	waits := false    // a flight waits for a connection for half the timeout
	var stuck *flight // waits for one for as long as the timeout: the first of these
	for _, f := range n.flights {
		if f.orphan {
			continue
		}
		if w.ticks-f.since >= 2 && (f.lane == nil || !f.lane.large) {
			n.calm = false
		}
		if !f.sent.Load() {
			f.waits++
			waits = waits || f.waits >= ticksPerTimeout/2
			if f.waits >= ticksPerTimeout && f.lane != nil && stuck == nil {
				stuck = f
			}
			abandoned := f.led && f.batch[0].ctx.Err() != nil || f.lane == nil && f.waits >= ticksToProbe
			if abandoned && f.Err() == nil {
				close(f.end)
			}
			continue
		}
		f.flown++
		if f.lane != nil && time.Duration(f.flown)*n.r.tick > f.limit+n.r.timeout {
			n.overdue(f)
		}
		unanswered = true
		for _, c := range f.batch {
			asked[c.use] = asked[c.use] || c.state == isBoarded && (f.lane == nil || !f.lane.large)
		}
	}
	count(&w.quiet, unanswered)
	for use := range uses {
		asked[use] = asked[use] && !n.states[use].away
		count(&w.silent[use], asked[use] && w.asked[use])
	}
	w.asked = asked
	n.conclude(stuck)
	n.askIf(Reads, (waits || w.quiet >= ticksPerTimeout/2) && w.mute >= ticksPerTimeout/2)
	n.askIf(Writes, w.silent[Writes] >= ticksPerTimeout/2)
}

// count counts a tick, or begins anew.
func count(ticks *int, so bool) {
	if *ticks++; !so {
		*ticks = 0
	}
}

// overdue takes its seat from a flight that go-redis does not let go of: it reads from a
// socket for as long as the client says, if the client cannot be cloned. Reads go on being
// waited for, because their answers may be large. mu is held.
func (n *node) overdue(f *flight) {
	patient := n != n.r.whole && time.Duration(f.flown)*n.r.tick <= n.r.longest()
	for _, c := range f.batch {
		switch {
		case c.state != isBoarded || patient && c.use == Reads:
			continue
		case f.sent.Load():
			c.unknown = true
			c.lates++
			c.finish(c.fail(KindTimeout, errLate))
		default:
			c.finish(c.fail(KindUnreachable, errNoConnection))
		}
		c.wake(nil)
	}
	n.unseat(f)
	if !patient {
		n.orphan(f)
	}
}

// unseat takes its seat from a flight, which goes on. mu is held.
func (n *node) unseat(f *flight) {
	if f.era == f.lane.era {
		f.era = noSeat
		f.lane.free = append(f.lane.free, newSeat())
		n.kick(f.lane)
	}
}

// conclude draws the conclusions of a tick. mu is held.
func (n *node) conclude(stuck *flight) {
	w := &n.watch
	switch {
	case w.silent[Reads] >= ticksPerTimeout, w.silent[Writes] >= ticksPerTimeout && w.mute >= ticksPerTimeout:
		n.goAway(n.trouble(Reads, KindTimeout, errSilent), true, true, true)
		w.reset(Writes)
	case w.silent[Writes] >= ticksPerTimeout: // as where the server pauses them
		n.goAway(n.trouble(Writes, KindTimeout, errSilent), false, true, true)
		w.reset(Writes)
	case stuck != nil && n.poolIsFull(stuck):
		n.tellBusy(stuck.batch[0], errPoolFull)
	case stuck == nil || stuck.waits < ticksToConnect:
	case w.mute < ticksPerTimeout && n != n.r.whole: // others are answered: another connection may do
		stuck.waits = 0
		if stuck.Err() == nil {
			close(stuck.end)
		}
	default:
		n.goAway(n.trouble(Reads, KindUnreachable, errNoConnection), true, true, true)
		w.reset(Writes)
	}
}

// tellBusy notes that there was no connection for as long as the timeout, and why. mu is held.
func (n *node) tellBusy(c *Command, why error) {
	if !isOutOfFiles(why) {
		why = errPoolFull
	}
	if n.busyHere == nil {
		n.busyHere = why
		n.r.notice(Event{Node: n.addr, Op: c.op, Kind: KindBusyHere, Err: why})
	}
}

// trouble makes the error of a node, on behalf of what is on its way: of a write, or of
// anything. mu is held.
func (n *node) trouble(use Use, kind Kind, cause error) *Error {
	for _, f := range n.flights {
		for _, c := range f.batch {
			if !f.orphan && c.use >= use {
				return c.fail(kind, cause)
			}
		}
	}
	return &Error{Op: "lookup", Kind: kind, Node: n.addr, Err: cause}
}

// askIf sends a question of the watchdog's own, if there is need. mu is held.
func (n *node) askIf(use Use, need bool) {
	if !need || n.watch.asking[use] || n.states[use].away {
		return
	}
	n.watch.asking[use] = true
	question := n.question(use)
	n.r.spawn(func() {
		_ = n.apart(context.Background(), question, 2*n.r.timeout) // land has taken it in
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watch.asking[use] = false
	})
}

// heard takes in that the server has answered a flight, to a write or only to reads. mu is
// held.
func (n *node) heard(f *flight, answered Use) {
	n.watch.mute = 0
	n.watch.heard++
	if n.watch.fresh { // after a pause a command may have needed a new connection: it is known before its answer
		n.watch.fresh = false
		n.lookForDials()
	}
	n.watch.reset(answered)
	n.busyHere = nil
	if f.lane == nil || !f.lane.large {
		n.calm = n.bounded && n.watch.ticks-f.since < 2
	}
}

// poolStats returns the figures of the client's pool, nil if there are none. A Cluster client
// would ask for its nodes first, for as long as that takes.
func (n *node) poolStats() *redis.PoolStats {
	if n == n.r.whole {
		return nil
	}
	return n.client.PoolStats()
}

// poolIsFull reports whether all connections that a flight may use are in use, by the
// figures of the client's pools. A pipeline takes one of the pool of single commands if
// its own has none.
func (n *node) poolIsFull(f *flight) bool {
	stats := n.poolStats()
	if stats == nil || !isFull(stats, n.pool) {
		return false
	}
	inPipes := n.pipes > 0 && (n.piped || len(f.batch) > 1)
	return !inPipes || stats.PipelineStats == nil || isFull((*redis.PoolStats)(stats.PipelineStats), n.pipes)
}

func isFull(stats *redis.PoolStats, size int) bool {
	if size == 0 { // not known
		return stats.IdleConns == 0 && stats.TotalConns > 0 && stats.PendingRequests > 0
	}
	return stats.IdleConns == 0 && int(stats.TotalConns) >= size
}
