package remote

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// A settling has the results of a flight that has landed.
type settling struct {
	f     *flight
	heard bool       // the server has answered a command
	wrote bool       // the server has answered a write
	full  error      // why this process had no connection; nil if it had one
	done  *Command   // the first of the commands that are done, linked by next
	moved []*Command // to the lane of the cluster client
	again *Command   // is sent again, if the flight was beside the lanes
}

// settle handles the result of one command: see "What failures do" in doc.go. mu is held.
func (n *node) settle(s *settling, c *Command) {
	if c.state != isBoarded {
		return // done: the node went away
	}
	err := c.wire.err
	if err == nil || isReply(err) {
		s.heard, s.wrote = true, s.wrote || c.use == Writes
		n.settleAnswer(s, c, err)
		return
	}
	kind, sent := KindOf(err), s.f.sent.Load()
	c.unknown = c.unknown || sent
	var hook *hookError
	switch {
	case errors.As(err, &hook):
		s.finish(c, c.fail(KindOther, err))
	case kind == KindClosed:
		n.settleClosed(s, c, err)
	case kind == KindBusyHere && !sent:
		s.full = err
		c.sendings--
		n.again(s, c)
	case !sent && errors.Is(err, context.Canceled) && s.f.Err() != nil: // the watchdog has ended the wait
		if s.f.lane == nil {
			s.finish(c, c.fail(KindUnreachable, errNoConnection))
			return
		}
		c.sendings--
		n.again(s, c)
	case !sent && !n.answeredSince(s.f):
		n.fell(s, c, err, kind)
	case sent && isTimeout(err):
		n.settleLate(s, c, err)
	case sent && c.limit.Once:
		s.finish(c, c.fail(kind, err))
	case c.sendings < maxBreaks:
		n.again(s, c)
	case sent && s.f.lane != nil && s.f.lane.large:
		// The server accepts connections, and closes each one that carries this command. The
		// command may be too long for the server.
		s.finish(c, c.fail(KindOther, err))
	default:
		n.fell(s, c, err, kind)
	}
}

// settleAnswer is settle for a command that the server has answered.
func (n *node) settleAnswer(s *settling, c *Command, err error) {
	if err == nil || errors.Is(err, redis.Nil) {
		if c.script != nil {
			n.ran[c.script] = true
		}
		s.finish(c, nil)
		return
	}
	kind := KindOf(err)
	switch {
	case kind == KindNoScript && c.script != nil && !c.whole:
		if c.known && n.ran[c.script] && n != n.r.whole { // whole stands for many servers
			delete(n.ran, c.script)
			c.forgot = true
			n.r.notice(Event{Node: n.addr, Op: c.op, Kind: KindNoScript, Err: err})
		}
		c.whole = true
		c.sendings--
		n.again(s, c)
		return
	case n.r.whole != nil && n != n.r.whole && (redis.HasErrorPrefix(err, "MOVED ") || redis.HasErrorPrefix(err, "ASK ")):
		n.r.relearn()
		s.move(c, n.r.whole)
		return
	case kind == KindReadOnly && c.use == Writes && c.sendings <= maxSendings:
		n.again(s, c) // go-redis has closed that connection; another may lead to a primary
		return
	}
	failure := c.fail(kind, err)
	s.finish(c, failure)
	if reads, writes := saysAway(err, kind); reads || writes {
		n.goAway(failure, reads, writes, false)
	}
}

// settleClosed is settle after the client was closed. go-redis closes the client of a node that
// has left its Cluster.
func (n *node) settleClosed(s *settling, c *Command, err error) {
	if n.r.whole != nil && n != n.r.whole {
		n.r.forget(n)
		s.move(c, n.r.whole)
		return
	}
	s.finish(c, c.fail(KindClosed, err))
}

// settleLate is settle after the socket's deadline has passed. That alone does not mean that
// the node is away: the watchdog decides. If this process was late, the answer may have arrived.
func (n *node) settleLate(s *settling, c *Command, err error) {
	n.watch.cut[c.use] = true
	n.calm = false
	small := s.f.lane != nil && !s.f.lane.large && !c.limit.Once
	if n.excuses(s.f, c) {
		c.sendings--
		c.excused = min(c.excused+1, maxExcused)
		c.suspect = c.use == Reads && c.excused == maxExcused
		n.again(s, c)
		return
	}
	c.lates++
	switch {
	case c.limit.Late > 0 && (c.lates >= c.limit.Late || n.watch.silent[c.use] >= ticksPerTimeout/2):
		s.finish(c, c.fail(KindTimeout, &lateError{err}))
		return
	case small && c.sendings < maxSendings:
		// If the server was silent all the time, the size of the answer is not the cause.
		c.suspect = c.use == Reads && n.watch.silent[Reads] < ticksPerTimeout-2
	default:
		s.finish(c, c.fail(KindTimeout, &lateError{err}))
		return
	}
	n.again(s, c)
}

// answeredSince reports whether the node has answered another flight since f began. If so, a
// failure of f to connect does not mean that the node is away.
func (n *node) answeredSince(f *flight) bool { return f.heard != n.watch.heard }

// excuses reports whether a late answer does not count, because this process was late. There is
// no limit to how often. For a large read the process must have been late for most of the
// time; otherwise a value that is too large for its link would be sent again and again. mu is
// held.
func (n *node) excuses(f *flight, c *Command) bool {
	switch {
	case f.lane == nil || c.limit.Once:
		return false
	case f.lane.large:
		return c.use == Reads && time.Duration(f.flown)*n.r.tick < f.limit/2
	default:
		return n.wasLate(f)
	}
}

// fell finishes a command that could not be sent because connecting failed. The node is away
// then, unless it answers other flights.
func (n *node) fell(s *settling, c *Command, err error, kind Kind) {
	failure := c.fail(kind, err)
	s.finish(c, failure)
	if s.f.lane != nil && !n.answeredSince(s.f) {
		n.goAway(failure, true, true, true)
	}
}

// again queues a command that has to be sent once more, before later commands.
func (n *node) again(s *settling, c *Command) {
	refused := n.refusal(c)
	switch {
	case c.gone, c.leaving:
		s.finish(c, c.left(c.wire.err))
	case refused != nil && s.f.lane != nil: // the node went away meanwhile
		s.finish(c, refused)
	case s.f.lane == nil && s.full != nil: // sent beside the lanes, it has no queue to wait in
		s.finish(c, c.fail(KindBusyHere, c.wire.err))
	case s.f.lane == nil:
		s.again = c
	default:
		if c.ready == nil {
			c.ready = n.r.readies.Get().(chan *flight)
		}
		n.laneOf(c).unshift(c)
		if n.laneOf(c) != s.f.lane {
			n.kick(n.laneOf(c))
		}
	}
}

// kick sends what is queued in a lane if a seat is free. mu is held.
func (n *node) kick(l *lane) {
	if seat := l.seat(); seat != nil {
		if f := n.boardNext(l, seat); f != nil {
			f.led, f.batch[0].leads = false, nil
			n.serve(f)
		}
	}
}

func (s *settling) finish(c *Command, err error) {
	c.finish(err)
	if !s.f.led || c != s.f.batch[0] { // else its caller is the one that calls this
		c.next, s.done = s.done, c
	}
}

// move hands a command to another node's lane.
func (s *settling) move(c *Command, to *node) {
	if c.ready == nil {
		c.ready = to.r.readies.Get().(chan *flight)
	}
	c.state = isNew
	c.node.Store(to)
	s.moved = append(s.moved, c)
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// A lateError is the error of a socket whose deadline has passed.
type lateError struct{ cause error }

func (e *lateError) Error() string   { return errLate.Error() + ": " + e.cause.Error() }
func (e *lateError) Unwrap() []error { return []error{errLate, e.cause} }

// A refused is the cause of the error of a command that was not sent, because its node is away.
type refused struct{ why error }

func (e *refused) Error() string {
	return errNotAsked.Error() + ", because the node is away: " + e.why.Error()
}
func (e *refused) Unwrap() []error { return []error{errNotAsked, e.why} }
