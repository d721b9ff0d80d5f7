package clock

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSuspendedMachineAsksForTheClock(t *testing.T) {
	c := New(Config{Patience: time.Second})
	now := time.Now()
	c.learn(now, now, now)
	require.False(t, c.Due())
	for _, slept := range []time.Duration{time.Hour, -time.Hour} {
		// During a suspend the wall clock continues and the monotonic clock stops. A clock that
		// is set jumps either way.
		r := *c.reading.Load()
		r.wall -= int64(slept)
		c.reading.Store(&r)
		assert.True(t, c.Due())
		c.learn(now, now, now)
	}
}

func TestAnAnswerAboutTheClockThatAStoppedProcessReadsLateIsNotTaken(t *testing.T) {
	const most = 250 * time.Millisecond
	c := New(Config{Patience: most})
	asked := time.Now()
	c.learn(asked, asked.Add(10*time.Second), asked.Add(time.Millisecond))
	assert.False(t, c.Learned(), "it would be off by five seconds")
	assert.True(t, c.Due(), "so the next call asks again")
	c.learn(asked, asked.Add(most), asked.Add(time.Millisecond))
	assert.True(t, c.Learned())
}

func TestASuspendedMachineThatMayNotAskTakesItsOwnClock(t *testing.T) {
	c := New(Config{Patience: time.Second})
	now := time.Now()
	c.learn(now, now, now)
	require.False(t, c.learnLocal(), "what the server has said is better")
	r := *c.reading.Load()
	r.wall -= int64(time.Hour) // see above
	r.server = r.server.Add(-time.Hour)
	c.reading.Store(&r)
	require.True(t, c.learnLocal(), "but its last answer is an hour old")
	assert.InDelta(t, time.Now().UnixMilli(), c.Now(), 60_000)
}

func TestAnotherServersClockIsTakenHoweverSlowItsAnswer(t *testing.T) {
	c := New(Config{Patience: time.Second})
	now := time.Now()
	c.learn(now, now, now)
	c.Dialed.Store(true)
	c.learn(now.Add(-100*time.Millisecond), now.Add(100*time.Millisecond), now.Add(90*time.Millisecond))
	assert.Equal(t, now.Add(90*time.Millisecond), c.reading.Load().server)
}

func TestOfTwoAnswersAboutTheClockTheOneLessInDoubtIsTaken(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name           string
		later, took    time.Duration // the second answer, and how long it took
		ahead          time.Duration // how far this answer is ahead of the first one
		taken, askSoon bool
		firstTook      time.Duration
	}{
		{name: "quick and the same", firstTook: 2 * time.Millisecond, took: 0, ahead: time.Millisecond, taken: true},
		{name: "slow, and no contradiction", took: 100 * time.Millisecond, ahead: 50 * time.Millisecond, askSoon: true},
		{name: "slow, and a contradiction", took: 100 * time.Millisecond, ahead: 51 * time.Millisecond, taken: true, askSoon: true},
		{name: "quick after a slow one", firstTook: 100 * time.Millisecond, took: time.Millisecond, ahead: 40 * time.Millisecond, taken: true},
		{name: "not quite as good as one that is old by now", later: 10 * time.Minute, took: 50 * time.Millisecond, ahead: 20 * time.Millisecond, taken: true, askSoon: true},
		{name: "the server's clock was set", took: time.Millisecond, ahead: -time.Hour, taken: true},
	} {
		c := New(Config{Patience: time.Second})
		c.learn(now.Add(-test.firstTook/2), now.Add(test.firstTook/2), now)
		at := now.Add(test.later)
		c.learn(at.Add(-test.took/2), at.Add(test.took/2), at.Add(test.ahead))
		r := c.reading.Load()
		want := at
		if test.taken {
			want = at.Add(test.ahead)
		}
		assert.Equal(t, want, r.server, test.name)
		assert.Equal(t, test.askSoon, r.slow, test.name)
	}
}

// A server gives the answer that a test sets, after a delay.
type server struct {
	takes time.Duration
	ahead time.Duration // of this process
	err   error
	asked int
}

func (s *server) ask(context.Context) (time.Time, error) {
	s.asked++
	time.Sleep(s.takes) // in virtual time
	return time.Now().Add(s.ahead), s.err
}

// of returns a clock of a server, and the errors with which Config.Local was called.
func of(s *server) (c *Clock, local *[]error) {
	local = new([]error)
	return New(Config{
		Ask: s.ask, Patience: time.Second,
		Refused: func(err error) bool { return errors.Is(err, errors.ErrUnsupported) },
		Local:   func(err error) { *local = append(*local, err) },
		Spawn:   func(f func()) { go f() },
	}), local
}

func TestOnlyTheFirstReadWaitsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Millisecond, ahead: time.Hour}
		c, _ := of(s)
		assert.InDelta(t, time.Now().UnixMilli(), c.Now(), 0, "it has learned nothing")
		assert.NotNil(t, c.Read(t.Context()))
		c.Await(t.Context())
		assert.Equal(t, 1, s.asked, "one question for both")
		assert.InDelta(t, time.Now().Add(time.Hour).UnixMilli(), c.Now(), 1)
		c.Dialed.Store(true)
		time.Sleep(Pause + time.Millisecond) // in virtual time
		assert.Nil(t, c.Read(t.Context()), "in the background")
		synctest.Wait()
		assert.Equal(t, 2, s.asked)
		time.Sleep(time.Millisecond) // in virtual time
	})
}

func TestAClockIsAskedForAgainNowAndThenAndSoonerAfterASlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c, _ := of(s)
		c.Await(t.Context())
		for _, quick := range []bool{true, false, true} {
			asked, wait := s.asked, Interval
			if !quick {
				s.takes = 3 * maxDoubt
				<-c.Ask(t.Context())
				asked, wait, s.takes = s.asked, Pause-s.takes/2, 0
			}
			time.Sleep(wait) // in virtual time
			c.Read(t.Context())
			synctest.Wait()
			require.Equal(t, asked, s.asked)
			time.Sleep(time.Millisecond) // in virtual time
			c.Read(t.Context())
			synctest.Wait()
			require.Equal(t, asked+1, s.asked)
		}
	})
}

func TestTheLocalClockServesOnlyWhereTheServerNeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{ahead: time.Hour, err: errors.New("busy")}
		c, local := of(s)
		c.Await(t.Context())
		assert.False(t, c.Learned(), "an error that says nothing of the clock leaves it alone")
		s.err = errors.ErrUnsupported
		c.Await(t.Context())
		assert.True(t, c.Learned())
		assert.Equal(t, []error{errors.ErrUnsupported}, *local)
		assert.Equal(t, time.Now().UnixMilli(), c.Now())

		s.err = nil
		<-c.Ask(t.Context())
		s.err = errors.ErrUnsupported
		<-c.Ask(t.Context())
		assert.Len(t, *local, 1)
		assert.Equal(t, time.Now().Add(time.Hour).UnixMilli(), c.Now(), "what the server has said is better")
	})
}

func TestLaterEndsAtTheEndOfTime(t *testing.T) {
	assert.Equal(t, 3*time.Second, Later(time.Second, 2*time.Second))
	assert.Equal(t, -time.Second, Later(time.Second, -2*time.Second))
	assert.Equal(t, time.Duration(math.MaxInt64), Later(time.Second, math.MaxInt64))
	assert.Equal(t, time.Duration(math.MaxInt64), Later(math.MaxInt64, math.MaxInt64))
}
