package fncache

import (
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/testhook"
)

const (
	// clockInterval is how often a process asks for the server's clock again.
	clockInterval = time.Minute
	// clockDrift is in what time two clocks part by one unit of it: by some 50 parts
	// in a million, 3 ms in a minute.
	clockDrift = 20_000
	// clockPause is how soon it asks again where there is reason to: it has opened a
	// connection, maybe to another server, or was not answered quickly. A pool that
	// grows under load opens many, and a network can be slow for long.
	clockPause = time.Second
	// clockDoubt is how far off an answer may be to be good for the whole interval.
	clockDoubt = 10 * time.Millisecond
	// clockSuspend is how far wall and monotonic clock may part before the
	// machine is taken to have been suspended, or its clock to have been set.
	clockSuspend = time.Second
)

// A serverClock tells the Redis server's time without asking for it: what TIME
// said once, carried on by this process's monotonic clock. So a host whose wall
// clock is wrong neither serves old values as fresh nor recomputes for ever.
//
// The zero value has learned nothing and tells the local wall clock.
type serverClock struct {
	reading atomic.Pointer[clockReading]
	dialed  atomic.Bool  // a connection was opened since the last reading
	began   time.Time    // where elapsed counts from; never written
	apart   atomic.Int64 // by how much wall and monotonic clock had parted when suspended last looked
	shift   atomic.Int64 // nanoseconds a test has moved the clock by
	slept   atomic.Int64 // nanoseconds a test has had the machine suspended for
}

// A clockReading is what the server's clock said at one instant.
type clockReading struct {
	at     time.Time // local; its monotonic part is what counts on
	wall   int64     // the local wall clock at that instant, Unix nanoseconds
	server time.Time
	doubt  time.Duration // by how much server may be off
	slow   bool          // the last answer was more in doubt than is good

	local   bool      // TIME was refused: it is the local wall clock
	refused time.Time // when TIME was refused after that; zero if it was not
}

// now is the server's time in Unix milliseconds. After a suspend, until the server has been
// asked, the local wall clock says how much of it has passed.
func (c *serverClock) now() int64 {
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

// elapsed is how long the clock exists, on the monotonic clock alone: that costs
// half of what now does, and is not moved by a test.
func (c *serverClock) elapsed() time.Duration { return time.Since(c.began) }

// moved is how far a test has moved the clock.
func (c *serverClock) moved() time.Duration { return time.Duration(c.shift.Load()) }

// wall is what the local wall clock says, in Unix nanoseconds. On Linux it goes on while the
// machine is suspended, and the monotonic clock does not.
func (c *serverClock) wall(now time.Time) int64 { return now.UnixNano() + c.slept.Load() }

// suspended reports whether the machine was suspended, or its clock set, since it was asked
// before, and calls then before it answers no to anybody again.
func (c *serverClock) suspended(then func()) bool {
	now := time.Now()
	apart := c.wall(now) - c.began.UnixNano() - int64(now.Sub(c.began))
	if was := c.apart.Load(); time.Duration(apart-was).Abs() > clockSuspend {
		then()
		c.apart.Store(apart)
		return true
	}
	c.apart.Store(apart) // a clock that is slewed parts slowly
	return false
}

// learned reports whether the clock has a reading that can be relied on.
func (c *serverClock) learned() bool {
	r := c.reading.Load()
	if r == nil {
		return false
	}
	now := time.Now()
	return !r.jumped(now, c.wall(now))
}

// learn takes what the server said to a question sent at before and answered at
// after: the middle of the two is the best guess of when, and off by half of that
// time at most. An answer that took longer than most says too little and is not
// taken. Nobody waits that long for one, but a process may be stopped in between, and
// then both have come when it goes on: the answer, and the end of its time.
//
// Of two answers that do not contradict each other the one that is less in doubt is
// taken (the intersection of intervals of Marzullo and Owicki, 1983, on which NTP
// rests): a network that was slow for a moment does not spoil a clock that was right.
// Not so where it may be another server's clock, or the machine was suspended.
func (c *serverClock) learn(before, after, server time.Time, most time.Duration) {
	took := after.Sub(before)
	if took > most {
		return
	}
	at := before.Add(took / 2)
	r := clockReading{at: at, wall: c.wall(at), server: server, doubt: took / 2}
	if last := c.reading.Load(); last != nil && !last.local && !c.dialed.Load() && !last.jumped(after, c.wall(after)) {
		server, doubt := last.carriedTo(at)
		if doubt < r.doubt && r.server.Sub(server).Abs() <= doubt+r.doubt {
			r.server, r.doubt = server, doubt
		}
	}
	r.slow = took/2 > clockDoubt
	c.keep(r)
}

// jumped says whether the machine was suspended since, or its clock was set. wall is what its
// wall clock says now.
func (r *clockReading) jumped(now time.Time, wall int64) bool {
	apart := time.Duration(wall-r.wall) - now.Sub(r.at)
	return apart.Abs() > clockSuspend
}

// carriedTo gives the server's time at a later instant, and how far off it may be.
func (r *clockReading) carriedTo(at time.Time) (server time.Time, doubt time.Duration) {
	passed := at.Sub(r.at)
	return r.server.Add(passed), r.doubt + passed/clockDrift
}

// learnLocal takes the local wall clock for the server's, where TIME is refused, and
// says whether it did: what the server has said before is better, however long ago
// that was, and stays, unless the machine was suspended since.
func (c *serverClock) learnLocal() bool {
	now := time.Now()
	if last := c.reading.Load(); last != nil && !last.local && !last.jumped(now, c.wall(now)) {
		kept := *last
		kept.refused = now
		c.keep(kept)
		return false
	}
	c.keep(clockReading{at: now, wall: c.wall(now), server: time.Unix(0, c.wall(now)), local: true})
	return true
}

func (c *serverClock) keep(r clockReading) {
	c.dialed.Store(false)
	c.reading.Store(&r)
}

// due says whether it is time to ask the server again.
func (c *serverClock) due() bool {
	r := c.reading.Load()
	if r == nil {
		return true
	}
	now := time.Now()
	if r.jumped(now, c.wall(now)) {
		return true
	}
	if !r.refused.IsZero() && now.Sub(r.refused) < clockInterval {
		return false
	}
	elapsed := now.Sub(r.at)
	return elapsed > clockInterval ||
		elapsed > clockPause && (r.slow || c.dialed.Load())
}

// For package fncachetest: moving a server's clock does not move what was read
// from it before.
func init() {
	testhook.AdvanceClock = func(cache any, d time.Duration) {
		cache.(*Cache).clock.shift.Add(int64(d))
	}
}
