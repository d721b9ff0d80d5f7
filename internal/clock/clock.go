// Package clock keeps the Redis server's time, so that callers need no command to read it.
package clock

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

const (
	// Interval is how often a process asks for the server's clock again.
	Interval = time.Minute
	// drift is the time in which two clocks diverge by one unit of it: about 50 parts in a
	// million, or 3 ms in a minute.
	drift = 20_000
	// Pause is the least time between two questions when there is a reason to ask early: the
	// client opened a connection, possibly to another server, or the last answer was slow. A
	// pool that grows under load opens many connections, and a network can be slow for long.
	Pause = time.Second
	// maxDoubt is the greatest uncertainty of an answer that is kept for the whole interval.
	maxDoubt = 10 * time.Millisecond
	// Jump is how far the wall clock and the monotonic clock may diverge before the package
	// assumes that the machine was suspended, or that its clock was set.
	Jump = time.Second
)

// Config has the parameters of a Clock.
type Config struct {
	// Ask asks the server for its time.
	Ask func(context.Context) (time.Time, error)
	// Patience is how long an answer may take. A later answer is discarded.
	Patience time.Duration
	// Refused reports whether an error of Ask means that the server refuses TIME permanently.
	Refused func(error) bool
	// Local is called when the local clock replaces the server's, with the error that is the
	// reason.
	Local func(error)
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Clock returns the server's time: the last answer to TIME, advanced by this process's
// monotonic clock. So a host whose wall clock is wrong neither serves old values as fresh nor
// recomputes forever. Before the first answer a Clock returns the local wall clock. All methods
// are safe for concurrent use.
type Clock struct {
	cfg     Config
	began   time.Time // the start of Elapsed; never written
	reading atomic.Pointer[reading]
	asking  atomic.Pointer[question] // the question under way, nil if none
	apart   atomic.Int64             // the difference of wall and monotonic clock at the last call of Suspended
	shift   atomic.Int64             // nanoseconds a test has moved the clock by
	slept   atomic.Int64             // nanoseconds a test has had the machine suspended for

	// Dialed is set when a connection is opened, possibly to another server, and cleared by the
	// next Read.
	Dialed atomic.Bool
}

// A question is one TIME command under way; done is closed when it ends.
type question struct{ done chan struct{} }

// New returns a clock.
func New(cfg Config) *Clock { return &Clock{cfg: cfg, began: time.Now()} }

// Read asks the server if a question is due. It returns a channel that is closed at the answer
// if the caller should wait for it: at the first call, and after the machine was suspended.
// Otherwise it returns nil, and the server is asked in the background.
func (c *Clock) Read(ctx context.Context) <-chan struct{} {
	if !c.Due() {
		return nil
	}
	learned := c.Learned()
	done := c.Ask(context.WithoutCancel(ctx))
	if learned {
		return nil
	}
	return done
}

// Await is Read for a caller that is about to rely on the clock: it waits for the answer if
// Read says so, or until ctx ends.
func (c *Clock) Await(ctx context.Context) {
	done := c.Read(ctx)
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Ask asks the server in the background, one question at a time. The returned channel is closed
// when the answer arrives.
func (c *Clock) Ask(ctx context.Context) <-chan struct{} {
	mine := &question{done: make(chan struct{})}
	for !c.asking.CompareAndSwap(nil, mine) {
		if theirs := c.asking.Load(); theirs != nil {
			return theirs.done
		}
	}
	c.cfg.Spawn(func() {
		defer close(mine.done)
		defer c.asking.Store(nil)
		before := time.Now()
		server, err := c.cfg.Ask(ctx)
		switch {
		case err == nil:
			c.learn(before, time.Now(), server)
		case c.cfg.Refused(err) && c.learnLocal():
			c.cfg.Local(err)
		}
	})
	return mine.done
}

// Shift moves the clock, for tests. Times read before do not change.
func (c *Clock) Shift(d time.Duration) { c.shift.Add(int64(d)) }

// Suspend makes the clock behave as if the machine had been suspended for a time, or its
// wall clock been set, for tests.
func (c *Clock) Suspend(d time.Duration) { c.slept.Add(int64(d)) }

// A reading is what the server's clock said at one instant.
type reading struct {
	at     time.Time // local; its monotonic part is what counts on
	wall   int64     // the local wall clock at that instant, Unix nanoseconds
	server time.Time
	doubt  time.Duration // the uncertainty of server
	slow   bool          // the last answer was less certain than maxDoubt

	local   bool      // TIME was refused: it is the local wall clock
	refused time.Time // when TIME was refused after that; zero if it was not
}

// Now returns the server's time in Unix milliseconds. Between a suspend and the next answer,
// the local wall clock says how much time has passed.
func (c *Clock) Now() int64 {
	now := time.Now()
	if r := c.reading.Load(); r != nil {
		passed, wall := now.Sub(r.at), c.wall(now)
		if r.jumped(now, wall) {
			passed = time.Duration(wall - r.wall)
		}
		now = r.server.Add(passed)
	}
	return now.Add(time.Duration(c.shift.Load())).UnixMilli()
}

// Elapsed returns the age of the Clock on the monotonic clock. It costs half of what Now costs,
// and tests do not move it.
func (c *Clock) Elapsed() time.Duration { return time.Since(c.began) }

// Moved returns how far a test has moved the clock.
func (c *Clock) Moved() time.Duration { return time.Duration(c.shift.Load()) }

// wall returns the local wall clock in Unix nanoseconds. On Linux it continues while the
// machine is suspended, and the monotonic clock stops.
func (c *Clock) wall(now time.Time) int64 { return now.UnixNano() + c.slept.Load() }

// Suspended reports whether the machine was suspended, or its clock set, since the last call.
// If so, it calls then before any other call returns false.
func (c *Clock) Suspended(then func()) bool {
	now := time.Now()
	apart := c.wall(now) - c.began.UnixNano() - int64(now.Sub(c.began))
	if was := c.apart.Load(); time.Duration(apart-was).Abs() > Jump {
		then()
		c.apart.Store(apart)
		return true
	}
	c.apart.Store(apart) // a clock that is slewed diverges slowly
	return false
}

// Learned reports whether the clock has a reading that can be relied on.
func (c *Clock) Learned() bool {
	r := c.reading.Load()
	if r == nil {
		return false
	}
	now := time.Now()
	return !r.jumped(now, c.wall(now))
}

// Official reports whether the clock has a reading that can be relied on, and that is the
// server's and not that of this machine.
func (c *Clock) Official() bool {
	r := c.reading.Load()
	return r != nil && !r.local && c.Learned()
}

// learn records the server's answer to a question sent at before and answered at after. The
// best guess is that the server read its clock in the middle, and the error is at most half of
// that time. An answer that took longer than Config.Patience is discarded. Callers stop waiting
// by then, but if the process was stopped meanwhile, the answer and the end of the wait arrive
// together.
//
// Of two answers that do not contradict each other the more certain one is kept (the
// intersection of intervals of Marzullo and Owicki, 1983, on which NTP rests), so a network
// that was slow for a moment does not spoil a clock that was right. The newer answer always
// replaces the old one if it may come from another server, or if the machine was suspended.
func (c *Clock) learn(before, after, server time.Time) {
	took := after.Sub(before)
	if took > c.cfg.Patience {
		return
	}
	at := before.Add(took / 2)
	r := reading{at: at, wall: c.wall(at), server: server, doubt: took / 2}
	if last := c.reading.Load(); last != nil && !last.local && !c.Dialed.Load() && !last.jumped(after, c.wall(after)) {
		server, doubt := last.carriedTo(at)
		if doubt < r.doubt && r.server.Sub(server).Abs() <= doubt+r.doubt {
			r.server, r.doubt = server, doubt
		}
	}
	r.slow = took/2 > maxDoubt
	c.keep(r)
}

// jumped reports whether the machine was suspended, or its clock set, since the reading. wall
// is the current wall clock.
func (r *reading) jumped(now time.Time, wall int64) bool {
	apart := time.Duration(wall-r.wall) - now.Sub(r.at)
	return apart.Abs() > Jump
}

// carriedTo returns the server's time at a later instant, and its uncertainty.
func (r *reading) carriedTo(at time.Time) (server time.Time, doubt time.Duration) {
	passed := at.Sub(r.at)
	return r.server.Add(passed), r.doubt + passed/drift
}

// learnLocal replaces the server's clock by the local wall clock where TIME is refused, and
// reports whether it did. An earlier answer of the server is better, however old it is, and
// stays unless the machine was suspended since.
func (c *Clock) learnLocal() bool {
	now := time.Now()
	if last := c.reading.Load(); last != nil && !last.local && !last.jumped(now, c.wall(now)) {
		kept := *last
		kept.refused = now
		c.keep(kept)
		return false
	}
	c.keep(reading{at: now, wall: c.wall(now), server: time.Unix(0, c.wall(now)), local: true})
	return true
}

func (c *Clock) keep(r reading) {
	c.Dialed.Store(false)
	c.reading.Store(&r)
}

// Due reports whether it is time to ask the server again.
func (c *Clock) Due() bool {
	r := c.reading.Load()
	if r == nil {
		return true
	}
	now := time.Now()
	if r.jumped(now, c.wall(now)) {
		return true
	}
	if !r.refused.IsZero() && now.Sub(r.refused) < Interval {
		return false
	}
	elapsed := now.Sub(r.at)
	return elapsed > Interval ||
		elapsed > Pause && (r.slow || c.Dialed.Load())
}

// Later returns at plus by, or the largest Duration if the sum would be larger.
func Later(at, by time.Duration) time.Duration {
	if by > 0 && at > math.MaxInt64-by {
		return math.MaxInt64
	}
	return at + by
}
