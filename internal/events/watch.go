package events

import "sync/atomic"

// A Watcher waits for events about a key.
type Watcher struct {
	events  *Events
	channel *Channel
	key     string
	woken   chan struct{} // has an element if something may have happened
}

// Watch begins to watch a key of the channel's function. End ends the watcher.
func (e *Events) Watch(ch *Channel, key string) *Watcher {
	w := &Watcher{events: e, channel: ch, key: key, woken: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[key] = append(e.watchers[key], w)
	return w
}

// End ends the watching.
func (w *Watcher) End() {
	e := w.events
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.watchers[w.key]
	for i, other := range all {
		if other == w {
			all[i] = all[len(all)-1]
			all[len(all)-1] = nil
			all = all[:len(all)-1]
			break
		}
	}
	if len(all) == 0 {
		delete(e.watchers, w.key)
		return
	}
	e.watchers[w.key] = all
}

// Woken returns a channel that has an element when the result of Since may have changed.
func (w *Watcher) Woken() <-chan struct{} { return w.woken }

// wake never blocks. Events.mu is held.
func (w *Watcher) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// wakeAll wakes all watchers on a channel. mu is held.
func (e *Events) wakeAll(ch *Channel) {
	for _, all := range e.watchers {
		for _, w := range all {
			if w.channel == ch {
				w.wake()
			}
		}
	}
}

// News says what a watcher knows about the time since it asked Redis.
type News uint8

// The news.
const (
	Unheard  News = iota // events are not heard: poll
	Coming               // there was no event, and the next one will be heard
	Possible             // there was an event, or may have been: ask
)

// Since returns the news since p, and makes Woken empty.
func (w *Watcher) Since(p Place) News {
	select {
	case <-w.woken:
	default:
	}
	e := w.events
	switch epoch := w.channel.epoch.Load(); {
	case epoch == 0:
		return Unheard
	case p.channel != w.channel || epoch != p.epoch || p.cleared():
		return Possible
	}
	marks := e.marks.Load()
	if marks == nil {
		return Unheard // End was called meanwhile
	}
	if m := marks.of(e.Subject(w.key)).Load(); m != nil && m.any > p.seq {
		return Possible
	}
	return Coming
}

// Failures counts how often the function failed for a key, in any process, while at least one
// call waits for another process to compute it.
type Failures struct {
	n atomic.Uint64

	// Guarded by Events.mu.
	users int
	last  string // the token of the last computation that failed
}

// Count returns how often the function failed since the first CountFailures.
func (f *Failures) Count() uint64 { return f.n.Load() }

// CountFailures returns the count for a key. IgnoreFailures must follow.
func (e *Events) CountFailures(key string) *Failures {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.failing[key]
	if f == nil {
		f = new(Failures)
		e.failing[key] = f
	}
	f.users++
	return f
}

// IgnoreFailures ends what CountFailures began.
func (e *Events) IgnoreFailures(key string, f *Failures) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.users--; f.users == 0 {
		delete(e.failing, key)
	}
}
