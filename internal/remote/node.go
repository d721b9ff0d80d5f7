package remote

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxSendings is how often a command is sent if its answers are late.
	maxSendings = 3
	// maxBreaks is how often a command is sent if its connection breaks: after a restart
	// the connection of each seat may be dead.
	maxBreaks = smallSeats + 2
	// maxExcused is how often a late answer to a read does not count, because this process
	// was late, before the read uses the large lane. Late answers are excused there too.
	maxExcused = 10
)

// A node is one server, or a whole Cluster client, for commands whose node is not known.
type node struct {
	r       *Remote
	addr    string
	client  redis.UniversalClient
	quick   sender // if bounded, it reads from a socket for at most Remote.timeout
	bounded bool
	heeds   bool          // the client respects the deadline of a context
	own     time.Duration // the timeout of the client itself
	piped   bool          // a single command is sent as a pipeline, to bypass the client's cache
	capped  bool          // the client bounds its connections: pipelines use those of single commands
	pool    int           // the largest number of connections in the client's pool; 0 if unknown
	pipes   int           // the same for the pool that pipelines try first; 0 if there is none

	mu           sync.Mutex // guards the fields below
	small, large lane
	flights      []*flight
	calm         bool  // the last flight that landed took less than two ticks
	spares       bool  // callers send no flights: see spareCallers
	busyHere     error // why this process had no connection for as long as the timeout; nil if it had one
	states       [uses]condition
	ran          map[*Script]bool // the scripts that the server has run
	key          string           // of the last command that had one, for questions to ask about
	watch        watch
	idle         time.Time // when the watchdog has stopped; zero before
	dials        uint32    // how many connections the client has made
}

// A condition is whether a node is away.
type condition struct {
	away   bool
	silent bool // it does not answer: the first answer shows that it is back
	since  time.Time
	why    *Error
}

func newNode(r *Remote, client redis.UniversalClient) *node {
	n := &node{r: r, client: client, quick: client, ran: map[*Script]bool{}}
	n.large.large = true
	n.small.seats, n.large.seats = smallSeats, largeSeats
	switch client := client.(type) {
	case *redis.Client:
		o := client.Options()
		n.addr, n.heeds, n.bounded = o.Addr, o.ContextTimeoutEnabled, true
		n.piped = o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
		n.pool, n.pipes = o.PoolSize, pipePool(o)
		if o.MaxActiveConns > 0 {
			n.pool = min(n.pool, o.MaxActiveConns)
			// A pipeline is the only way to bypass the client's cache. See flight.fly.
			n.capped = n.pipes > 0 && !n.piped
		}
		if n.capped {
			n.pipes = 0
		}
		// The lanes do not compete for a connection, and one is left for questions.
		n.small.seats = min(max(n.pool*2/3, 1), smallSeats)
		n.large.seats = min(max(n.pool/3, 1), largeSeats)
		n.own = ownTimeout(o)
		if !n.heeds {
			n.quick = client.WithTimeout(r.timeout)
		}
	case *redis.ClusterClient:
		o := client.Options()
		n.addr, n.heeds = "cluster", o.ContextTimeoutEnabled
		if o.MaxActiveConns > 0 { // go-redis does not count pipelines in it
			n.small.alone, n.small.seats, n.large.seats = true, 1, 0
		}
	}
	n.small.reset()
	n.large.reset()
	return n
}

// ownTimeout returns the longest time that a client reads or writes.
func ownTimeout(o *redis.Options) time.Duration {
	own := time.Duration(math.MaxInt64)
	for _, timeout := range []time.Duration{o.ReadTimeout, o.WriteTimeout} {
		if timeout > 0 { // else there is no timeout
			own = min(own, timeout)
		}
	}
	return own
}

// pipePool returns how many connections go-redis makes for pipelines. They are not in the
// client's pool, and MaxActiveConns does not count them.
func pipePool(o *redis.Options) int {
	if o.PipelinePoolSize == 0 {
		return redis.DefaultPipelinePoolSize
	}
	return max(o.PipelinePoolSize, 0)
}

// sender returns the sender for a flight: a clone of the client if the client's own timeout is
// too short or too long.
func (n *node) sender(f *flight) sender {
	client, ok := n.client.(*redis.Client)
	if !ok || f.limit == n.r.timeout || n.heeds && f.limit <= n.own {
		return n.quick
	}
	return client.WithTimeout(f.limit)
}

// begin boards a command or queues it. It returns the flight that the caller has to send, if
// any. Otherwise the caller waits for c.ready. If stays is true, the caller never sends.
func (n *node) begin(ctx context.Context, c *Command, stays bool) (*flight, error) {
	c.ctx = ctx
	c.node.Store(n)
	c.stays = stays || !n.mayLead(ctx, c)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.board(c)
}

// board is begin with mu held.
func (n *node) board(c *Command) (*flight, error) {
	if err := n.refusal(c); err != nil {
		return nil, err
	}
	n.attend(c)
	l := n.laneOf(c)
	if l.first == nil {
		if seat := l.seat(); seat != nil {
			f := n.newFlight(l, seat, c.alone())
			if n.leads(f) {
				f.led = true
				return f, nil
			}
			c.ready = n.r.readies.Get().(chan *flight)
			n.serve(f)
			return nil, nil
		}
	}
	c.ready = n.r.readies.Get().(chan *flight)
	l.push(c)
	return nil, nil
}

// attend starts the watchdog, because a command is about to be sent. mu is held.
func (n *node) attend(c *Command) {
	if c.key != "" {
		n.key = c.key
	}
	n.watch.active = true
	if !n.watch.armed {
		n.arm()
	}
}

// mayLead reports whether the caller may send a flight. A sending caller is delayed for as long
// as the flight takes, and a hook may end its goroutine. The caller of a lookup may send: other
// goroutines continue for the callers that wait for the lookup. Other commands begin or end
// something, such as a lease, that would be lost with the goroutine.
func (n *node) mayLead(ctx context.Context, c *Command) bool {
	if !n.bounded || c.other != nil && !c.many() {
		return false
	}
	end, ok := ctx.Deadline()
	return !ok || time.Until(end) > n.r.timeout
}

// leads reports whether the caller of a flight's first command has to send it. mu is held.
func (n *node) leads(f *flight) bool {
	return n.calm && !n.spares && f.limit == n.r.timeout && !f.batch[0].stays
}

// spareCallers makes all later flights use goroutines of their own. It is called after a hook
// has ended the goroutine of a sender, because a caller's goroutine may have other work.
func (n *node) spareCallers() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spares = true
}

func (n *node) laneOf(c *Command) *lane {
	if c.large() && n.large.seats > 0 {
		return &n.large
	}
	return &n.small
}

// refusal returns why a command may not be sent, or nil if it may. mu is held.
func (n *node) refusal(c *Command) *Error {
	s := &n.states[c.use]
	switch {
	case n.r.closed.Load():
		return c.fail(KindClosed, errClosed)
	case s.away && !c.limit.Always:
		err := c.fail(s.why.Kind, &refused{s.why.Err})
		err.NotAsked = !c.unknown
		return err
	}
	return nil
}

// newFlight makes a flight of commands that are in no queue. mu is held.
func (n *node) newFlight(l *lane, s *seat, batch []*Command) *flight {
	first := batch[0]
	f := &first.flight
	if f.node != nil { // the flight before may still be in use
		f = new(flight)
	}
	f.Context, f.node, f.lane, f.seat, f.end, f.limit = first.ctx, n, l, s, s.end, n.r.timeout
	f.since, f.lates, f.heard = n.watch.ticks, n.watch.lates, n.watch.heard
	f.batch = batch
	for _, c := range batch {
		c.state = isBoarded
		c.sendings++
		c.known = c.script != nil && n.ran[c.script]
	}
	if l != nil {
		f.era = l.era
		f.limit = n.r.patience(l, batch)
	}
	n.flights = append(n.flights, f)
	return f
}

// serve starts a goroutine that sends a flight, and then what was queued meanwhile.
func (n *node) serve(f *flight) {
	n.r.spawn(func() {
		for f != nil {
			f, _ = f.travel(true)
		}
	})
}

// lead sends a flight for the caller of its first command. It reports whether that
// command is done.
func (n *node) lead(f *flight) bool {
	_, done := f.travel(false)
	return done
}

// land handles the result of a flight, and gives its seat to the commands that are queued.
// It returns the next flight if this goroutine has to send it, and whether the first command
// is done.
func (n *node) land(f *flight, serving bool) (next *flight, done bool) {
	n.mu.Lock()
	n.flights = slices.DeleteFunc(n.flights, func(other *flight) bool { return other == f })
	if f.orphan {
		n.mu.Unlock()
		return nil, true
	}
	first := f.batch[0]
	if f.led {
		first.leads = nil
	}
	s := settling{f: f}
	for i := len(f.batch) - 1; i >= 0; i-- { // commands that are queued again keep their order
		n.settle(&s, f.batch[i])
	}
	done = first.state == isDone
	switch {
	case s.wrote:
		n.heard(f, Writes)
	case s.heard:
		n.heard(f, Reads)
	}
	switch {
	case f.lane != nil && f.era != f.lane.era: // it has lost its seat: commands that are queued again need another
		n.kick(f.lane)
	case f.lane != nil:
		next = n.pass(f, s.full)
	case s.again != nil:
		next = n.newFlight(nil, f.seat, s.again.alone())
	}
	if next != nil && next.led { // with the lock held: after that the command may be done, and ready in use by another
		next.batch[0].wake(next)
		next = nil
	}
	n.mu.Unlock()

	for c := s.done; c != nil; {
		next := c.next // c belongs to its caller once that is awake
		c.wake(nil)
		c = next
	}
	for _, c := range s.moved {
		n.r.whole.adopt(c)
	}
	if next != nil && !serving {
		n.serve(next)
		next = nil
	}
	return next, done
}

// pass gives the seat of a flight to the commands that are queued. full says why this process
// had no connection; nil if it had one. mu is held.
func (n *node) pass(f *flight, full error) *flight {
	first := f.batch[0]
	l, seat := f.lane, f.seat
	seat.clear()
	if full != nil && l.first != nil {
		if l.pause == 0 {
			l.full = n.watch.ticks
		}
		if n.watch.ticks-l.full >= ticksPerTimeout {
			n.tellBusy(first, full)
		}
		l.pause = min(max(2*l.pause, pauseMin), pauseMax)
		era := l.era
		time.AfterFunc(l.pause, func() { n.resume(l, seat, era) })
		return nil
	}
	l.pause = 0
	return n.boardNext(l, seat)
}

// boardNext makes the next flight of a lane, or frees the seat. mu is held.
func (n *node) boardNext(l *lane, seat *seat) *flight {
	batch := l.board(seat)
	if len(batch) == 0 {
		l.free = append(l.free, seat)
		return nil
	}
	f := n.newFlight(l, seat, batch)
	if n.leads(f) {
		f.led, batch[0].leads = true, f
	}
	return f
}

// resume is pass after a pause, unless the lane has new seats since.
func (n *node) resume(l *lane, seat *seat, era int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.era == era {
		l.free = append(l.free, seat)
		n.kick(l)
	}
}

// adopt queues a command that another node has moved here.
func (n *node) adopt(c *Command) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.refusal(c)
	switch {
	case c.gone:
		c.finish(c.fail(KindClosed, errClosed))
		return
	case c.leaving:
		c.finish(c.left(c.wire.err))
		c.wake(nil)
		return
	case err != nil:
		c.finish(err)
		c.wake(nil)
		return
	}
	n.attend(c)
	l := n.laneOf(c)
	if seat := l.seat(); seat != nil {
		n.serve(n.newFlight(l, seat, c.alone()))
		return
	}
	l.push(c)
}

// leave ends the waiting of a command's caller, whose context has ended. It returns nil if the
// command is done.
func (c *Command) leave() error {
	n := c.lock()
	defer n.mu.Unlock()
	cause := errLate
	switch {
	case c.state == isDone:
		return c.err
	case c.state == isQueued:
		n.laneOf(c).remove(c)
		c.state = isNew
		cause = cmp.Or(c.wire.err, cause)
	case c.leads != nil:
		c.leads.led = false
		n.serve(c.leads)
		c.leads = nil
	}
	if c.limit.Stay && c.state == isBoarded {
		c.leaving = true
		return errStaying
	}
	c.gone = true
	return c.left(cause)
}

// left returns the error of a command whose context has ended before it was done. cause says
// why the last sending was not answered. mu is held.
func (c *Command) left(cause error) error {
	err := c.ctx.Err()
	switch {
	case c.unknown && c.use == Writes: // it may have taken effect
		return c.fail(KindOf(cause), fmt.Errorf("%w: %w", cause, err))
	case c.node.Load().busyHere != nil:
		return c.fail(KindBusyHere, fmt.Errorf("%w: %w", c.node.Load().busyHere, err))
	default:
		return err
	}
}

// wake wakes the caller, because the command is done or the caller has to send a flight. At most
// one of these messages is unread at a time, unless the caller has left.
func (c *Command) wake(f *flight) {
	if c.ready == nil {
		return
	}
	select {
	case c.ready <- f:
	default:
	}
}
