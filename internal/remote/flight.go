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

// A flight is one command or one pipeline on its way. It is the context that go-redis
// is given for it: with the values of the first caller's context, and an end of its
// own, because a caller that cancels must not end what others wait for.
type flight struct {
	context.Context                   // of the first command's caller, for its values
	node            *node             // where to
	lane            *lane             // whose seat it has; nil if it is of none
	seat            *seat             // its own until it has landed
	end             chan struct{}     // of the seat: closed to end waits for a connection; reads go on
	limit           time.Duration     // from sending to the answer
	batch           []*Command        //
	sent            atomic.Bool       // written to a connection, or begun to be
	answered        [uses]atomic.Bool // some of these commands were, since the last tick

	// Guarded by node.mu.
	era    int32  // of the lane, when it took the seat; noSeat if that was taken from it
	since  uint64 // watch.ticks when it began
	lates  uint64 // watch.lates when it began
	heard  uint64 // watch.heard when it began
	flown  int32  // ticks on time in which it was sent
	waits  int32  // ticks on time since then, in which it was not sent
	orphan bool   // its commands are done, and its seat is taken from it
	led    bool   // a caller sends it, whose command is the first
}

// noSeat is the era of a flight whose seat was taken from it.
const noSeat = -1

// Deadline returns the end of the next read or write, for clients that heed it
// (ContextTimeoutEnabled). It moves on: waiting for a connection is not counted.
func (f *flight) Deadline() (time.Time, bool) {
	if !f.node.heeds {
		return time.Time{}, false
	}
	return time.Now().Add(f.limit), true
}

// Done is closed when the flight is to wait for a connection no longer.
func (f *flight) Done() <-chan struct{} { return f.end }

// Err reports whether that is so.
func (f *flight) Err() error {
	select {
	case <-f.end:
		return context.Canceled
	default:
		return nil
	}
}

// travel sends a flight and lands it: see node.land. Code of the user's own, hooks and
// dialers, may panic in it or end the goroutine, and the seat must not be lost.
func (f *flight) travel(serving bool) (next *flight, done bool) {
	landed := false
	defer func() {
		if !landed {
			f.fail(&hookError{"ended its goroutine"})
			f.node.spareCallers()
			f.node.land(f, false)
		}
	}()
	if err := f.Err(); err != nil { // its caller was late to begin
		f.fail(err)
	} else {
		f.fly()
	}
	landed = true
	return f.node.land(f, serving)
}

// fly returns when go-redis lets go of the flight.
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
	var asked *ride // nil: nobody asks anything about a hash
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
		conn := client.Conn() // of the client's pool; a pipeline of the client has another
		defer conn.Close()    //nolint:errcheck // gives it back
		via = conn
	}
	pipe := s.pipeline(via)
	_ = pipe.BatchProcess(f, s.cmds...) // which copies them
	_, err := pipe.Exec(f)
	if asked != nil {
		asked.arrive()
	}
	f.examine(err)
}

// examine looks at how the commands ended while no lock is held: the errors of hooks and
// dialers have methods of the user's own, which may panic. err is that of the whole flight,
// and as a rule each command has its own.
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

// writes reports whether a write is in the flight.
func (f *flight) writes() bool {
	return slices.ContainsFunc(f.batch, func(c *Command) bool { return c.use == Writes })
}

func (f *flight) fail(err error) {
	for _, c := range f.batch {
		c.wire.Cmder = redis.NewCmd(f) // if it was not prepared
		c.wire.SetErr(err)
	}
}

// A hookError is what code of the user's own has done to a flight.
type hookError struct{ did string }

func (e *hookError) Error() string {
	return "a hook or dialer of the Redis client " + e.did + "; mend it"
}

// A sender is what go-redis offers to send by.
type sender interface {
	Process(ctx context.Context, cmd redis.Cmder) error
	Pipeline() redis.Pipeliner
}
