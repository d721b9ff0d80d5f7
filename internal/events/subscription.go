package events

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// LeastPulse is the least time between two PINGs. The connection is closed after two
	// pulses without a message.
	LeastPulse = 500 * time.Millisecond
	// pulses is how many pulses may begin before a silent connection is closed.
	pulses = 3

	// The pause before the next attempt doubles from minPause to MaxPause.
	minPause = 50 * time.Millisecond
	MaxPause = 2 * time.Second
	// forbiddenPause is the pause if the user may not subscribe, because a person has to
	// change that.
	forbiddenPause = time.Minute
)

// stay keeps a connection while a channel is needed, until Closing is closed.
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
		e.reception.CompareAndSwap(int32(Unneeded), int32(Lost))
		heard, err := e.hear()
		e.Down()
		if heard {
			pause = minPause
		}
		if e.closing() || errors.Is(err, errUnneeded) {
			e.reception.Store(int32(Unneeded))
			continue
		}
		e.heard(err)
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

// A Reception says whether events are heard.
type Reception int32

const (
	Unneeded Reception = iota // no channel is needed
	Lost                      // they are needed, and not heard
	Heard                     // they are heard
)

// Reception returns whether events are heard.
func (e *Events) Reception() Reception { return Reception(e.reception.Load()) }

// heard notes that events are heard, or why they are not.
func (e *Events) heard(lost error) {
	state := Heard
	if lost != nil {
		state = Lost
	}
	if before := Reception(e.reception.Swap(int32(state))); before != state && (before == Heard || state == Heard) && e.cfg.Changed != nil {
		e.cfg.Changed(lost)
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

// tell logs once why events are not heard. It reports whether the user lacks a right.
func (e *Events) tell(err error) (forbidden bool) {
	if redis.HasErrorPrefix(err, "NOPERM") {
		e.cfg.Log.Once("subscription forbidden", slog.LevelWarn,
			"the Redis user may not publish and subscribe: this process receives no event, so near caches stay empty, and callers that wait for another process poll; grant the user +subscribe +unsubscribe +ping +publish and the channels",
			"channels", e.cfg.Prefix+"*", "err", err)
		return true
	}
	e.cfg.Log.Once("subscription lost", slog.LevelWarn,
		"subscription to events lost: until it is back, near caches are bypassed and callers that wait for another process poll; it is tried again",
		"channels", e.cfg.Prefix+"*", "err", err)
	return false
}

// pulse returns the time between two checks of the connection.
func (e *Events) pulse() time.Duration { return max(LeastPulse, e.cfg.Timeout) }

// trust notes that the server has answered a question of that time, so all events before it
// have been heard. The connection counts as good until it would be closed for silence, counted
// from the question and not from the answer. If this process was stopped meanwhile, the answer
// may have waited in the connection, and later invalidations may wait after it.
func (e *Events) trust(asked time.Time) {
	e.heardUntil.Store(int64(e.cfg.Clock.Elapsed() - time.Since(asked) + pulses*e.pulse()))
}

// TrustStep is the time between two looks at the clocks. A look costs more than a near hit.
const TrustStep = time.Millisecond

// Hears reports whether all events are known to be heard. now is Clock.Elapsed.
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

// Suspended reports whether the machine was suspended since the last call. If so, the
// connection may have missed events, and ages are unknown: nothing that was kept is served,
// and another connection replaces this one.
func (e *Events) Suspended() bool {
	return e.cfg.Clock.Suspended(func() {
		e.heardUntil.Store(0)
		e.trusted.Store(0)
		e.interrupt()
		e.cfg.Suspended()
	})
}
