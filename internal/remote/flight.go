package remote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A flight is one command or one pipeline under way. It is also the context that go-redis
// gets: it has the values of the first caller's context, and an end of its own, because a
// caller that cancels must not end a flight that others wait for.
type flight struct {
	context.Context                   // of the first command's caller, for its values
	node            *node             // that it is sent to
	lane            *lane             // that its seat belongs to; nil beside the lanes
	seat            *seat             // its own until it has landed
	end             chan struct{}     // of the seat: closed to end waits for a connection, but not reads
	limit           time.Duration     // from sending to the answer
	batch           []*Command        //
	sent            passage           // whether writing to a connection has begun
	answered        [uses]atomic.Bool // a command of this use was answered since the last tick

	// Guarded by node.mu.
	era    int32  // of the lane, when the flight took the seat; noSeat after it lost the seat
	since  uint64 // watch.ticks when it began
	heard  uint64 // watch.heard when it began
	lates  uint32 // watch.lates when it began
	flown  int32  // ticks on time since it was sent
	waits  int32  // ticks on time before it was sent
	orphan bool   // its commands are done, and it has lost its seat
	led    bool   // the caller of its first command sends it
}

// A passage is where a flight is: not sent, sent, or withdrawn. It never leaves the latter two.
type passage struct{ state atomic.Int32 }

const (
	notSent     int32 = iota
	isSent            // writing to a connection has begun
	isWithdrawn       // it will not be written: its callers get an error that says that their commands have not run
)

// Load reports whether writing has begun.
func (p *passage) Load() bool { return p.state.Load() == isSent }

// begin is called before the first word is written. It reports whether the flight may be written.
func (p *passage) begin() bool {
	return p.state.Load() == isSent || p.state.CompareAndSwap(notSent, isSent) || p.state.Load() == isSent
}

// withdraw keeps a flight from being written. It reports false if writing has begun.
func (p *passage) withdraw() bool {
	return p.state.CompareAndSwap(notSent, isWithdrawn) || p.state.Load() == isWithdrawn
}

// noSeat is the era of a flight that has lost its seat.
const noSeat = -1

// Deadline returns the end of the next read or write, for clients that respect it
// (ContextTimeoutEnabled). It is counted from each call, so waiting for a connection does not
// count.
func (f *flight) Deadline() (time.Time, bool) {
	if !f.node.heeds {
		return time.Time{}, false
	}
	return time.Now().Add(f.limit), true
}

// Done returns a channel that is closed when the flight must stop waiting for a connection.
func (f *flight) Done() <-chan struct{} { return f.end }

// Err returns context.Canceled once Done is closed.
func (f *flight) Err() error {
	select {
	case <-f.end:
		return context.Canceled
	default:
		return nil
	}
}

// travel sends a flight and lands it: see node.land. The user's code in it, hooks and
// dialers, may panic or end the goroutine. The seat must not be lost then.
func (f *flight) travel(serving bool) (next *flight, done bool) {
	landed := false
	defer func() {
		if !landed {
			f.fail(&hookError{"ended its goroutine"})
			f.node.spareCallers()
			f.node.land(f, false)
		}
	}()
	if err := f.Err(); err != nil { // its caller began late
		f.fail(err)
	} else {
		f.fly()
	}
	landed = true
	return f.node.land(f, serving)
}

// fly gives the flight to go-redis, and returns when go-redis has returned.
func (f *flight) fly() {
	defer func() {
		if value := recover(); value != nil {
			f.fail(&hookError{fmt.Sprint("panicked: ", value)})
		}
	}()
	via := f.node.sender(f)
	if first := f.batch[0]; len(f.batch) == 1 && !f.node.piped && (first.ask == nil || first.only()) {
		f.examine(via.Process(f, first.prepare(f)))
		return
	}
	s := f.seat
	s.cmds = s.cmds[:0]
	var asked *ride // nil: no command has a question
	for _, c := range f.batch {
		if c.ask != nil && asked == nil {
			asked = new(ride)
		}
		if c.ask == nil || !asked.take(f, c) {
			s.cmds = append(s.cmds, c.prepare(f))
		}
	}
	if asked != nil {
		s.cmds = append(s.cmds, asked.command(f))
	}
	if client, ok := via.(*redis.Client); ok && f.node.capped {
		conn := client.Conn() // of the client's pool; pipelines of the client have a pool of their own
		defer conn.Close()    //nolint:errcheck // it returns the connection to the pool
		via = conn
	}
	pipe := s.pipeline(via)
	_ = pipe.BatchProcess(f, s.cmds...) // it copies the slice
	_, err := pipe.Exec(f)
	if asked != nil {
		asked.arrive()
	}
	f.examine(err)
}

// examine classifies the errors of the commands while no lock is held: errors of hooks and
// dialers have methods of the user's, which may panic. err is the error of the whole flight.
// It becomes the error of a command that has none of its own.
func (f *flight) examine(err error) {
	for _, c := range f.batch {
		w := &c.wire
		if w.err == nil && !w.answered {
			w.SetErr(cmp.Or(err, error(&hookError{"did not send a command"})))
		}
		if w.err != nil && !w.answered {
			_, _ = KindOf(w.err), isTimeout(w.err)
		}
	}
}

// boarded reports whether the flight has a command of this use that is not done.
func (f *flight) boarded(use Use) bool {
	return slices.ContainsFunc(f.batch, func(c *Command) bool { return c.use == use && c.state == isBoarded })
}

func (f *flight) fail(err error) {
	for _, c := range f.batch {
		c.wire.Cmder, c.wire.of = redis.NewCmd(f), c // if it was not prepared
		c.wire.SetErr(err)
	}
}

// A hookError says what a hook or dialer of the user has done to a flight.
type hookError struct{ did string }

func (e *hookError) Error() string {
	return "a hook or dialer of the Redis client " + e.did + "; correct the hook or dialer"
}

// A sender sends commands. Clients and connections of go-redis are senders.
type sender interface {
	Process(ctx context.Context, cmd redis.Cmder) error
	Pipeline() redis.Pipeliner
}
