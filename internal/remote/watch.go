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
	// ticksToConnect is how many ticks connecting may take while the node answers
	// nothing else. TCP, TLS, HELLO and the first commands of go-redis each wait for an answer,
	// and this package sees none of them. It is less than two timeouts, because a node that is
	// away has to be known as away within two timeouts.
	ticksToConnect = 18
	// ticksToProbe is the same for a question to a node that is away. No caller waits for it.
	// A node that is far away but answers in time must come back.
	ticksToProbe = 50
)

// minTick is the shortest tick. In a process that computes on all its processors, Go looks for
// answers on sockets only every 10 ms, but timers come on time. So the silence that is judged
// must last twice as long.
const minTick = 2 * time.Millisecond

// A watch has the observations of a node's watchdog. It is guarded by node.mu. The watchdog
// runs while commands are under way, and for one tick after that.
type watch struct {
	timer  *time.Timer
	armed  bool
	active bool      // commands have begun since the last tick
	fresh  bool      // nothing has landed since the watchdog was started
	due    time.Time // of the next tick
	ticks  uint64
	lates  uint32 // ticks that came late
	heard  uint64 // flights that were answered

	asked  [uses]bool // at the last tick, a small command was unanswered
	cut    [uses]bool // a small command was given up since the last answer
	silent [uses]int  // ticks on time, in a row, with a small command unanswered
	quiet  int        // ticks on time, in a row, with any command unanswered
	mute   int        // ticks on time since the last answer
	asking [uses]bool // a question of the watchdog is under way
}

// reset forgets the silence before an answer. An answer to a write shows that the node answers
// reads too. An answer to a read says nothing about writes, because they may be paused.
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
	// Goroutines that an answer has woken go first.
	runtime.Gosched()
	n.look()
	n.r.sweep()
}

// look is one tick.
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
	for _, f := range n.flights { // a long pipeline has answers before it lands
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

// isLate reports whether the tick that is due is late, which means that this process did not
// get the processor. A millisecond does not count: timers may be that late in any process. mu
// is held.
func (n *node) isLate() bool { return n.r.now().Sub(n.watch.due) > max(n.r.tick/2, minTick) }

// wasLate reports whether this process was late at any time since a flight began. mu is held.
func (n *node) wasLate(f *flight) bool { return n.watch.lates != f.lates || n.isLate() }

// lookForDials calls Config.Dialed if the client has made connections. mu is held.
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

// judge examines the flights at a tick that came on time. mu is held.
func (n *node) judge() {
	w := &n.watch
	w.mute++
	asked, unanswered := w.cut, w.cut[Reads] || w.cut[Writes]
	waits := false    // a flight has waited for a connection for half the timeout
	var stuck *flight // the first flight that has waited for one for the timeout
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

// count counts a tick if so is true, and otherwise resets the count.
func count(ticks *int, so bool) {
	if *ticks++; !so {
		*ticks = 0
	}
}

// overdue takes the seat from a flight that go-redis still reads for. This happens if the client
// cannot be cloned and has a long timeout. The flight's reads are still waited for, because
// their answers may be large. mu is held.
func (n *node) overdue(f *flight) {
	patient := n != n.r.whole && time.Duration(f.flown)*n.r.tick <= n.r.longest()
	mayRun := patient && f.boarded(Reads) || !f.sent.withdraw() // the reads take the writes with them
	for _, c := range f.batch {
		if c.state != isBoarded || patient && c.use == Reads {
			continue
		}
		c.unknown = c.unknown || mayRun
		if f.sent.Load() {
			c.lates++
			c.finish(c.fail(KindTimeout, errLate))
		} else {
			c.finish(c.fail(KindUnreachable, errNoConnection))
		}
		c.wake(nil)
	}
	n.unseat(f)
	if !patient {
		n.orphan(f)
	}
}

// unseat takes the seat from a flight, which continues without one. mu is held.
func (n *node) unseat(f *flight) {
	if f.era == f.lane.era {
		f.era = noSeat
		f.lane.free = append(f.lane.free, newSeat())
		n.kick(f.lane)
	}
}

// conclude decides after a tick whether the node is away or this process is busy. mu is held.
func (n *node) conclude(stuck *flight) {
	w := &n.watch
	switch {
	case w.silent[Reads] >= ticksPerTimeout, w.silent[Writes] >= ticksPerTimeout && w.mute >= ticksPerTimeout:
		n.goAway(n.trouble(Reads, KindTimeout, errSilent), true, true, true)
		w.reset(Writes)
	case w.silent[Writes] >= ticksPerTimeout: // for example, the server pauses them
		n.goAway(n.trouble(Writes, KindTimeout, errSilent), false, true, true)
		w.reset(Writes)
	case stuck != nil && n.poolIsFull(stuck):
		n.tellBusy(stuck.batch[0], errPoolFull)
	case stuck == nil || stuck.waits < ticksToConnect:
	case w.mute < ticksPerTimeout && n != n.r.whole: // other flights are answered: try another connection
		stuck.waits = 0
		if stuck.Err() == nil {
			close(stuck.end)
		}
	default:
		n.goAway(n.trouble(Reads, KindUnreachable, errNoConnection), true, true, true)
		w.reset(Writes)
	}
}

// tellBusy notes why this process had no connection for as long as the timeout. mu is held.
func (n *node) tellBusy(c *Command, why error) {
	if !isOutOfFiles(why) {
		why = errPoolFull
	}
	if n.busyHere == nil {
		n.busyHere = why
		n.r.notice(Event{Node: n.addr, Op: c.op, Kind: KindBusyHere, Err: why})
	}
}

// trouble makes the error of a node. It names a command that is under way: a write, or any
// command if use is Reads. mu is held.
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

// askIf sends a question of the watchdog if there is need. mu is held.
func (n *node) askIf(use Use, need bool) {
	if !need || n.watch.asking[use] || n.states[use].away {
		return
	}
	n.watch.asking[use] = true
	question := n.question(use)
	n.r.spawn(func() {
		_ = n.apart(context.Background(), question, 2*n.r.timeout) // land handles the result
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watch.asking[use] = false
	})
}

// heard notes that the server has answered a flight: a write, or only reads. mu is held.
func (n *node) heard(f *flight, answered Use) {
	n.watch.mute = 0
	n.watch.heard++
	if n.watch.fresh { // after a pause the command may have needed a new connection
		n.watch.fresh = false
		n.lookForDials()
	}
	n.watch.reset(answered)
	n.busyHere = nil
	if f.lane == nil || !f.lane.large {
		n.calm = n.bounded && n.watch.ticks-f.since < 2
	}
}

// poolStats returns the figures of the client's pool, or nil if there are none. It does not ask
// a Cluster client, which would first ask for its nodes and wait.
func (n *node) poolStats() *redis.PoolStats {
	if n == n.r.whole {
		return nil
	}
	return n.client.PoolStats()
}

// poolIsFull reports whether all connections that a flight may use are in use, by the
// figures of the client's pools. A pipeline takes a connection from the pool of single
// commands if its own pool has none.
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
