package events

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// LeastPulse is how often the server is asked for a word. After two pulses
	// without any the connection is given up.
	LeastPulse = 500 * time.Millisecond
	// pulses is how many pulses may begin before a connection that has gone deaf
	// is given up.
	pulses = 3

	// minPause and MaxPause are how long until the next attempt, doubling.
	minPause = 50 * time.Millisecond
	MaxPause = 2 * time.Second
	// forbiddenPause is that for a user who may not subscribe: a person has to
	// do something.
	forbiddenPause = time.Minute
)

// stay is the life of the subscription: it ends when Closing is closed. There is a
// connection while a channel is needed.
func (e *Events) stay() {
	pause := minPause
	for !e.closing() {
		if len(e.needed()) == 0 {
			select {
			case <-e.changed:
			case <-e.cfg.Closing:
			}
			continue
		}
		heard, err := e.hear()
		e.Down()
		if heard {
			pause = minPause
		}
		if e.closing() || errors.Is(err, errUnneeded) {
			continue
		}
		wait := pause/2 + rand.N(pause)
		if e.tell(err) {
			wait = forbiddenPause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.cfg.Closing:
			timer.Stop()
		}
		pause = min(2*pause, MaxPause)
	}
}

func (e *Events) closing() bool {
	select {
	case <-e.cfg.Closing:
		return true
	default:
		return false
	}
}

// tell logs why events are not heard, once, and reports whether that is for a person to
// change.
func (e *Events) tell(err error) (forbidden bool) {
	if redis.HasErrorPrefix(err, "NOPERM") {
		e.cfg.Log.Once("subscription forbidden", slog.LevelWarn,
			"this user may not publish and subscribe: what is invalidated elsewhere is not heard of, so near caches stay empty, and callers that wait for another process poll; grant it +subscribe +unsubscribe +ping +publish and the channels",
			"channels", e.cfg.Prefix+"*", "err", err)
		return true
	}
	e.cfg.Log.Once("subscription lost", slog.LevelWarn,
		"subscription to events lost: until it is back, near caches are bypassed and callers that wait for another process poll",
		"channels", e.cfg.Prefix+"*", "err", err)
	return false
}

// pulse is how often the connection is looked after. A server that may take longer than
// usual to answer may do so here too.
func (e *Events) pulse() time.Duration { return max(LeastPulse, e.cfg.Timeout) }

// trust notes that the server has answered what the connection asked at that time, so
// everything that happened until then has been heard. That is good until the connection
// would be given up, and no longer, even if this process was stopped meanwhile: the answer
// may have waited in the connection, and what was invalidated since may wait after it.
func (e *Events) trust(asked time.Time) {
	e.heardUntil.Store(int64(e.cfg.Clock.Elapsed() - time.Since(asked) + pulses*e.pulse()))
}

// TrustStep is for how long a look at the clocks will do: a near hit costs less than that
// look does.
const TrustStep = time.Millisecond

// Hears reports whether everything that has happened is known to have been heard. now is
// Clock.Elapsed.
func (e *Events) Hears(now time.Duration) bool {
	if int64(now) < e.trusted.Load() {
		return true
	}
	until := e.heardUntil.Load()
	if int64(now) >= until || e.Suspended() {
		return false
	}
	e.trusted.Store(min(until, int64(now+TrustStep)))
	return true
}

// Suspended reports whether the machine was suspended since it was asked before. The
// connection may have lost what happened meanwhile, and how long ago anything was is not
// known: nothing that was kept is served, and another connection takes its place.
func (e *Events) Suspended() bool {
	return e.cfg.Clock.Suspended(func() {
		e.heardUntil.Store(0)
		e.trusted.Store(0)
		e.interrupt()
		e.cfg.Suspended()
	})
}
