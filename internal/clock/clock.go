// Package clock tells the time of the Redis server without asking it each time.
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
	// drift is in what time two clocks part by one unit of it: by some 50 parts
	// in a million, 3 ms in a minute.
	drift = 20_000
	// Pause is how soon it asks again where there is reason to: it has opened a
	// connection, maybe to another server, or was not answered quickly. A pool that
	// grows under load opens many, and a network can be slow for long.
	Pause = time.Second
	// maxDoubt is how far off an answer may be to be good for the whole interval.
	maxDoubt = 10 * time.Millisecond
	// Jump is how far wall and monotonic clock may part before the
	// machine is taken to have been suspended, or its clock to have been set.
	Jump = time.Second
)

// Config is what a Clock needs to know.
type Config struct {
	// Ask asks the server for its time.
	Ask func(context.Context) (time.Time, error)
	// Patience is how long an answer may take. One that took longer is not taken.
	Patience time.Duration
	// Refused reports whether an error of Ask means that the server will not tell its
	// time, now and later.
	Refused func(error) bool
	// Local is called when the local clock is taken for the server's, with the error for
	// which it is.
	Local func(error)
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Clock tells the server's time: what TIME said once, carried on by this process's
// monotonic clock. So a host whose wall clock is wrong neither serves old values as fresh
// nor recomputes for ever. It has learned nothing at first, and tells the local wall clock.
// All methods are safe for concurrent use.
type Clock struct {
	cfg     Config
	began   time.Time // where Elapsed counts from; never written
	reading atomic.Pointer[reading]
	asking  atomic.Pointer[question] // the question under way, nil if none
	apart   atomic.Int64             // by how much wall and monotonic clock had parted when Suspended last looked
	shift   atomic.Int64             // nanoseconds a test has moved the clock by
	slept   atomic.Int64             // nanoseconds a test has had the machine suspended for

	// Dialed is set when a connection has been opened, which may be one to another
	// server, and until the clock is read next.
	Dialed atomic.Bool
}

// A question is one to the server; done is closed at its end.
type question struct{ done chan struct{} }

// New returns a clock.
func New(cfg Config) *Clock { return &Clock{cfg: cfg, began: time.Now()} }

// Read has the server asked if that is due. It returns a channel that is closed at the
// answer, if there is one to wait for: at the first call, and after the machine was
// suspended. Otherwise it returns nil, and the server is asked in the background.
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

// Await is Read for a caller that is about to rely on the clock. It waits for the answer,
// if there is one to wait for.
func (c *Clock) Await(ctx context.Context) {
	if done := c.Read(ctx); done != nil {
		<-done
	}
}

// Ask asks the server in the background, one question at a time, and returns a channel
// that is closed when the answer is there.
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

// Shift moves the clock, for tests. What was read from it before is not moved.
func (c *Clock) Shift(d time.Duration) { c.shift.Add(int64(d)) }

// Suspend makes the clock behave as if the machine had been suspended for a time, or its
// wall clock been set, for tests.
func (c *Clock) Suspend(d time.Duration) { c.slept.Add(int64(d)) }

// A reading is what the server's clock said at one instant.
type reading struct {
	at     time.Time // local; its monotonic part is what counts on
	wall   int64     // the local wall clock at that instant, Unix nanoseconds
	server time.Time
	doubt  time.Duration // by how much server may be off
	slow   bool          // the last answer was more in doubt than is good

	local   bool      // TIME was refused: it is the local wall clock
	refused time.Time // when TIME was refused after that; zero if it was not
}

// Now returns the server's time in Unix milliseconds. After a suspend, until the server has been
// asked, the local wall clock says how much of it has passed.
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

// Elapsed returns how long the clock exists, on the monotonic clock alone: that costs
// half of what Now does, and is not moved by a test.
func (c *Clock) Elapsed() time.Duration { return time.Since(c.began) }

// Moved returns how far a test has moved the clock.
func (c *Clock) Moved() time.Duration { return time.Duration(c.shift.Load()) }

// wall is what the local wall clock says, in Unix nanoseconds. On Linux it goes on while the
// machine is suspended, and the monotonic clock does not.
func (c *Clock) wall(now time.Time) int64 { return now.UnixNano() + c.slept.Load() }

// Suspended reports whether the machine was suspended, or its clock set, since it was asked
// before, and calls then before it answers no to anybody again.
func (c *Clock) Suspended(then func()) bool {
	now := time.Now()
	apart := c.wall(now) - c.began.UnixNano() - int64(now.Sub(c.began))
	if was := c.apart.Load(); time.Duration(apart-was).Abs() > Jump {
		then()
		c.apart.Store(apart)
		return true
	}
	c.apart.Store(apart) // a clock that is slewed parts slowly
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

// learn takes what the server said to a question sent at before and answered at
// after: the middle of the two is the best guess of when, and off by half of that
// time at most. An answer that took longer than Config.Patience says too little and is not
// taken. Nobody waits that long for one, but a process may be stopped in between, and
// then both have come when it goes on: the answer, and the end of its time.
//
// Of two answers that do not contradict each other the one that is less in doubt is
// taken (the intersection of intervals of Marzullo and Owicki, 1983, on which NTP
// rests): a network that was slow for a moment does not spoil a clock that was right.
// Not so where it may be another server's clock, or the machine was suspended.
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

// jumped reports whether the machine was suspended since, or its clock was set. wall is what its
// wall clock says now.
func (r *reading) jumped(now time.Time, wall int64) bool {
	apart := time.Duration(wall-r.wall) - now.Sub(r.at)
	return apart.Abs() > Jump
}

// carriedTo gives the server's time at a later instant, and how far off it may be.
func (r *reading) carriedTo(at time.Time) (server time.Time, doubt time.Duration) {
	passed := at.Sub(r.at)
	return r.server.Add(passed), r.doubt + passed/drift
}

// learnLocal takes the local wall clock for the server's, where TIME is refused, and
// reports whether it did: what the server has said before is better, however long ago
// that was, and stays, unless the machine was suspended since.
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

// Later returns the time that comes so long after another: the end of time, if it would be
// past it.
func Later(at, by time.Duration) time.Duration {
	if by > 0 && at > math.MaxInt64-by {
		return math.MaxInt64
	}
	return at + by
}
