package events

import "time"

// This file is for tests.

// A State has what tests examine.
type State struct {
	Hearing  uint64   // the youngest epoch of a channel; 0 if there is no channel, or if one is not heard
	Channels []string // that are subscribed to
	Noted    uint64   // events
	Watched  int      // keys
	Counting int      // callers of CountFailures
	Failed   uint64   // failures that they have counted
	Ready    bool     // events are recorded
}

// Inspect returns the present state.
func (e *Events) Inspect() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := State{Noted: e.seq.Load(), Watched: len(e.watchers), Ready: e.marks.Load() != nil}
	for _, f := range e.failing {
		s.Counting, s.Failed = s.Counting+f.users, s.Failed+f.n.Load()
	}
	deaf := false
	for _, ch := range e.channels {
		s.Channels = append(s.Channels, ch.name)
		now := ch.epoch.Load()
		s.Hearing, deaf = max(s.Hearing, now), deaf || now == 0
	}
	if deaf {
		s.Hearing = 0
	}
	return s
}

// Ended returns the place of the last event that ended an entry of a subject, or 0 if there was
// none. invalidated reports whether that event was an invalidation.
func (e *Events) Ended(s Subject) (place uint64, invalidated bool) {
	marks := e.marks.Load()
	if marks == nil {
		return 0, false
	}
	m := marks.of(s).Load()
	return m.place(), m.place() > 0 && m.stored == 0
}

func (m *mark) place() uint64 {
	if m == nil {
		return 0
	}
	return m.ended
}

// Hear makes a channel count as heard for three pulses, as after a greeting.
func (e *Events) Hear(ch *Channel) {
	if ch.epoch.Load() == 0 {
		e.up(ch, e.cut())
	}
	e.trust(time.Now())
}

// Lose discards the events that are noted during f.
func (e *Events) Lose(f func()) {
	kept := e.marks.Swap(new(marks))
	defer e.marks.Store(kept)
	f()
}

// Doubt makes Hears return false until the server answers a later question, as after the
// process was stopped.
func (e *Events) Doubt() {
	e.heardUntil.Store(int64(e.cfg.Clock.Elapsed()))
	e.trusted.Store(0)
}
