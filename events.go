package fncache

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// This file holds what a process knows of what happens to keys elsewhere: what
// the scripts publish, as the subscription (subscribe.go) reads it. It knows
// nothing of Redis.
//
// Everything that happens gets a place in one order. Who is about to ask Redis
// about a key notes the place, and can tell afterwards whether the answer may
// have been overtaken: by an event about the key, or by a loss of continuity,
// that is, a time in which events may have gone by unheard. So nobody has to
// hold a lock while he asks, and the orders that matter come out right:
//
//	1. a lookup notes its place and is sent, and Redis answers it;
//	2. another process invalidates the key, and the event is heard here;
//	3. the answer is taken in: it has been overtaken, and is not kept.
//
// and, with 2 and 3 the other way round, what was kept is overtaken from then on.

// A verb is what happened to a key. Its text is part of what is published.
type verb string

const (
	verbStore      verb = "store"      // a value was stored, and the lease is free
	verbCoolDown   verb = "cooldown"   // the function failed, and is left alone for a while
	verbRelease    verb = "release"    // the lease is free, without a value
	verbFailed     verb = "failed"     // the lease is free, because the function failed
	verbOpen       verb = "open"       // the value cannot be stored: compute without a lease
	verbInvalidate verb = "invalidate" // the entry and the lease on it are gone
	verbHello      verb = "hello"      // a subscriber asks whether it hears itself
)

// A keyEvent is what a script publishes: `<verb> <key> <id>`. The id is that of
// the envelope of a store.
type keyEvent struct {
	verb verb
	key  string
	id   string
}

// failure reports whether the function failed.
func (e keyEvent) failure() bool { return e.verb == verbFailed || e.verb == verbCoolDown }

// keepsEntry reports whether the event leaves the entry as it was. An event that only a
// later release knows is taken for an invalidation.
func (e keyEvent) keepsEntry() bool {
	return e.verb == verbRelease || e.verb == verbOpen || e.failure()
}

func (e keyEvent) String() string { return string(e.verb) + " " + e.key + " " + e.id }

// parseEvent reads a message. The key may hold anything but ends before the last
// space; a message of another form is none of ours.
func parseEvent(message string) (e keyEvent, ok bool) {
	what, rest, ok := strings.Cut(message, " ")
	last := strings.LastIndexByte(rest, ' ')
	if !ok || last < 0 {
		return keyEvent{}, false
	}
	return keyEvent{verb(what), rest[:last], rest[last+1:]}, true
}

// storeID is the id of a stored envelope as an event carries it.
func storeID(id uint64) string { return strconv.FormatUint(id, 16) }

// stored gives the id of the envelope that was stored, if that is what happened.
func (e keyEvent) stored() (id uint64, ok bool) {
	if e.verb != verbStore {
		return 0, false
	}
	id, err := strconv.ParseUint(e.id, 16, 64)
	return id, err == nil
}

// A channel is what is heard about the keys of one function. It is subscribed to while
// somebody needs it: the function's near cache, or callers that wait for another process.
// Once it is let go it hears nothing. A later user joins another channel of the same name.
type channel struct {
	name  string        // the function's, with its prefix
	epoch atomic.Uint64 // of the present continuous stretch of hearing; 0 while nothing is heard
	last  atomic.Uint64 // the epoch that is, or was the last; 0 once the channel is let go

	// Guarded by events.mu.
	users int
	idle  time.Time // since when there are no users
}

// A place is a point in the order of events, as one channel tells them.
type place struct {
	channel *channel // nil: the function has none
	epoch   uint64   // of the channel; 0: events are not heard
	seq     uint64   // counts events of all channels
}

// heard reports whether everything that the channel told since p has been heard.
func (p place) heard() bool { return p.epoch != 0 && p.channel.epoch.Load() == p.epoch }

// remembered reports whether no stretch of hearing has begun since p: then everything
// that could be heard since p has been.
func (p place) remembered() bool { return p.epoch != 0 && p.channel.last.Load() == p.epoch }

// A mark is the last that was heard about the keys of one slot.
type mark struct {
	any    uint64 // seq of the last event
	ended  uint64 // seq of the last event that ended an entry: a store, an invalidation
	stored uint64 // the id of the envelope, if that was a store; else 0
	before uint64 // ended, before the store
}

// slots is how many marks there are. Keys that share one overtake each other's
// answers, which costs a lookup: with 1,000 events a second it befalls one in 65
// of the entries that are kept for a second.
const slots = 1 << 16

// events is what one process knows. Its zero value hears nothing; listen makes it
// ready to hear.
type events struct {
	seed  maphash.Seed
	seq   atomic.Uint64
	marks atomic.Pointer[[slots]atomic.Pointer[mark]] // nil before listen

	mu       sync.Mutex // guards the fields below, and writing to those above and to channels
	channels map[string]*channel
	changed  chan struct{} // has an element if other channels are needed, or hearing was interrupted
	epochs   uint64        // the last epoch of any channel
	cuts     uint64        // how often hearing was interrupted
	watchers map[string][]*watcher
	failing  map[string]*failures
	ended    bool
}

// channelLinger is how long a channel that nobody needs stays subscribed to: callers of a
// key that is waited for often come again.
const channelLinger = time.Minute

// join returns the channel of a function for somebody who needs it until leave.
func (e *events) join(name string) *channel {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := e.channels[name]
	if ch == nil {
		if e.channels == nil {
			e.channels = make(map[string]*channel)
		}
		ch = &channel{name: name}
		e.channels[name] = ch
		e.signal()
	}
	ch.users++
	return ch
}

// known returns the channel of a function, or nil if nobody has needed it lately.
func (e *events) known(name string) *channel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.channels[name]
}

// leave ends what join began.
func (e *events) leave(ch *channel) {
	if ch == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ch.users--; ch.users == 0 {
		ch.idle = time.Now()
	}
}

// needed lets the channels go that nobody has needed for channelLinger, and returns the
// others.
func (e *events) needed() (all []*channel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, ch := range e.channels {
		if ch.users == 0 && time.Since(ch.idle) >= channelLinger {
			ch.epoch.Store(0)
			ch.last.Store(0) // what is told from now on is heard by another channel, if any
			delete(e.channels, name)
			continue
		}
		all = append(all, ch)
	}
	return all
}

// signal makes the subscription look again. mu is held.
func (e *events) signal() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// listen makes e ready to take events in.
func (e *events) listen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.marks.Load() == nil && !e.ended {
		e.seed = maphash.MakeSeed()
		e.marks.Store(new([slots]atomic.Pointer[mark]))
	}
}

// end gives up the marks: nothing is kept any more that they could be about.
func (e *events) end() {
	e.down()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.marks.Store(nil)
}

// here is the present place on a channel, which may be nil. Note it before you ask, not
// after.
func (e *events) here(ch *channel) place {
	// The epoch first: if it ends between the two, the place is one in which
	// nothing can be kept.
	p := place{channel: ch}
	if ch != nil {
		p.epoch = ch.epoch.Load()
	}
	p.seq = e.seq.Load()
	return p
}

// slot is where the marks of a key are, if listen was called.
func (e *events) slot(key string) uint32 {
	return uint32(maphash.String(e.seed, key) % slots)
}

// cut returns how often hearing was interrupted, for up.
func (e *events) cut() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cuts
}

// up says that from now on every event of a channel is heard, unless hearing was interrupted
// since cut said that, or the channel was let go. It begins an epoch.
func (e *events) up(ch *channel, since uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cuts != since || e.channels[ch.name] != ch {
		return
	}
	e.epochs++
	ch.last.Store(e.epochs)
	ch.epoch.Store(e.epochs)
	e.wakeAll(ch)
}

// interrupt says that what the present connection hears does not count any more: it may have
// lost what happened meanwhile. Another takes its place.
func (e *events) interrupt() {
	e.down()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cuts++
	for _, ch := range e.channels {
		ch.last.Store(0)
	}
	e.signal()
}

// down says that events of any channel may go by unheard.
func (e *events) down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ch := range e.channels {
		if ch.epoch.Swap(0) != 0 {
			e.wakeAll(ch)
		}
	}
}

// note takes an event in. What this process does itself is noted twice, when it
// is done and when it is heard: an invalidation overtakes twice, a store once.
func (e *events) note(ev keyEvent) {
	marks := e.marks.Load()
	if marks == nil {
		return // nobody has kept anything yet
	}
	at := &marks[e.slot(ev.key)]
	e.mu.Lock()
	defer e.mu.Unlock()
	seq := e.seq.Load() + 1
	m := mark{}
	if was := at.Load(); was != nil {
		m = *was
	}
	m.any = seq
	id, stored := ev.stored()
	switch {
	case stored && id == m.stored: // known
	case stored:
		m.stored, m.before, m.ended = id, m.ended, seq
	case !ev.keepsEntry():
		m.stored, m.before, m.ended = 0, 0, seq
	}
	at.Store(&m)
	e.seq.Store(seq)
	if f := e.failing[ev.key]; f != nil && ev.failure() && f.last != ev.id {
		// A release that is sent again after a lost reply publishes its message again.
		f.last = ev.id
		f.n.Add(1)
	}
	for _, w := range e.watchers[ev.key] {
		w.wake()
	}
}

// A failures counts how often the function failed for a key, in whichever process, while
// at least one call waits for another's computation of it.
type failures struct {
	n atomic.Uint64

	// Guarded by events.mu.
	users int
	last  string // the token of the computation that failed last
}

// countFailures returns the count for a key. ignoreFailures must follow.
func (e *events) countFailures(key string) *failures {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.failing[key]
	if f == nil {
		if e.failing == nil {
			e.failing = make(map[string]*failures)
		}
		f = new(failures)
		e.failing[key] = f
	}
	f.users++
	return f
}

// ignoreFailures ends what countFailures began.
func (e *events) ignoreFailures(key string, f *failures) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.users--; f.users == 0 {
		delete(e.failing, key)
	}
}

// overtaken says whether an entry with that envelope, which was asked for at p,
// has been replaced or invalidated since, as far as is known. Its own store does
// not count.
func (e *events) overtaken(slot uint32, p place, id uint64) bool {
	marks := e.marks.Load()
	if marks == nil {
		return true // nobody knows
	}
	m := marks[slot].Load()
	return m != nil && m.ended > p.seq && (m.stored != id || m.before > p.seq)
}

// A watcher is somebody who waits for something to happen to a key.
type watcher struct {
	events  *events
	channel *channel
	key     string
	woken   chan struct{} // has an element if something may have happened
}

// watch begins to watch a key, of which the channel tells.
func (e *events) watch(ch *channel, key string) *watcher {
	w := &watcher{events: e, channel: ch, key: key, woken: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watchers == nil {
		e.watchers = make(map[string][]*watcher)
	}
	e.watchers[key] = append(e.watchers[key], w)
	return w
}

// end ends it.
func (w *watcher) end() {
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

// wake never blocks. events.mu is held.
func (w *watcher) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// wakeAll wakes everybody on a channel: what they can rely on has changed. mu is held.
func (e *events) wakeAll(ch *channel) {
	for _, all := range e.watchers {
		for _, w := range all {
			if w.channel == ch {
				w.wake()
			}
		}
	}
}

// A news is what somebody who asked at some place, and was told to wait, has to
// go by.
type news uint8

const (
	newsUnheard  news = iota // events are not heard: ask now and then
	newsComing               // nothing has happened; it will be heard when it does
	newsPossible             // something has happened, or may have: ask
)

// since tells what there is to go by since p. Then woken has an element when
// that has changed.
func (w *watcher) since(p place) news {
	select {
	case <-w.woken:
	default:
	}
	e := w.events
	switch epoch := w.channel.epoch.Load(); {
	case epoch == 0:
		return newsUnheard
	case p.channel != w.channel || epoch != p.epoch:
		return newsPossible
	}
	marks := e.marks.Load()
	if marks == nil {
		return newsUnheard // ended meanwhile
	}
	if m := marks[e.slot(w.key)].Load(); m != nil && m.any > p.seq {
		return newsPossible
	}
	return newsComing
}
