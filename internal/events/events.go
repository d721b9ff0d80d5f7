// Package events is what a process knows of what happens to keys elsewhere: it subscribes to
// what the scripts publish, and remembers the last that was heard about each key.
//
// Everything that happens gets a place in one order. A reader that is about to ask Redis
// about a key notes the place, and can tell afterwards whether the answer may have been
// overtaken: by an event about the key, or by a loss of continuity, that is, a time in which
// events may have gone by unheard. So no reader has to hold a lock while it asks, and the
// orders that matter come out right:
//
//  1. a lookup notes its place and is sent, and Redis answers it;
//  2. another process invalidates the key, and the event is heard here;
//  3. the answer is taken in: it has been overtaken, and is not kept.
//
// and, with 2 and 3 the other way round, what was kept is overtaken from then on.
//
// There is a channel for each function. A process has one subscription, to the channels
// that are needed: by a function with a near cache, or by callers that wait for another
// process. It begins when the first is needed (subscription.go).
package events

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/remote"
)

// Config is what Events need to know.
type Config struct {
	// Client makes the connection that listens.
	Client redis.UniversalClient
	// Remote sends the greetings by which the connection finds out whether it hears.
	Remote *remote.Remote
	// Prefix is what the names of channels begin with, before the name of the function.
	Prefix string
	// Timeout is how long Redis may take to answer.
	Timeout time.Duration
	// Clock tells how time passes, and whether the machine was suspended.
	Clock *clock.Clock
	// Suspended is called when the machine was suspended, or its clock was set.
	Suspended func()
	// Closing is closed when the subscription is to end.
	Closing <-chan struct{}
	// Spawn starts a goroutine; SpawnAsking one that may wait within the client.
	Spawn, SpawnAsking func(func())
	// Tags is told of each message that begins with "tags ", and returns the tags that it is
	// about, by their keyed hashes. ok is false if it cannot be read.
	Tags func(message string) (tags [][16]byte, ok bool)
	// Log is told when events are not heard.
	Log *oncelog.Logger
	// Explain words an error for the log: what failed in an operation.
	Explain func(op string, err error) error
}

// A Channel is what is heard about the keys of one function. It is subscribed to while
// somebody needs it. Once it is let go it hears nothing: who needs it later joins another
// channel of the same name.
type Channel struct {
	name  string        // the function's, with its prefix
	epoch atomic.Uint64 // of the present continuous stretch of hearing; 0 while nothing is heard
	last  atomic.Uint64 // the epoch that is, or was the last; 0 once the channel is let go
	// cleared is the place of the last event that overtook all keys of the function.
	cleared atomic.Uint64

	// Guarded by Events.mu.
	users int
	idle  time.Time // since when there are no users
}

// Events are what one process knows. All methods are safe for concurrent use.
type Events struct {
	cfg   Config
	seed  maphash.Seed
	seq   atomic.Uint64            // the last place in the order
	marks atomic.Pointer[marks]    // nil until the first Join, and after End
	tags  atomic.Pointer[tagMarks] // likewise

	subscribed sync.Once    // the subscription has begun
	heardUntil atomic.Int64 // until when events are known to be heard, on Clock.Elapsed
	trusted    atomic.Int64 // up to heardUntil; until when it is known that the machine was not suspended

	changed chan struct{} // has an element if other channels are needed, or hearing was interrupted

	mu       sync.Mutex // guards the fields below, and writing to seq, marks and channels
	channels map[string]*Channel
	epochs   uint64 // the last epoch of any channel
	cuts     uint64 // how often hearing was interrupted
	watchers map[string][]*Watcher
	failing  map[string]*Failures
	ended    bool
}

// Linger is how long a channel that nobody needs stays subscribed to: callers of a key that
// is waited for often come again.
const Linger = time.Minute

// New returns Events that subscribe to nothing yet.
func New(cfg Config) *Events {
	return &Events{
		cfg:      cfg,
		seed:     maphash.MakeSeed(),
		changed:  make(chan struct{}, 1),
		channels: make(map[string]*Channel),
		watchers: make(map[string][]*Watcher),
		failing:  make(map[string]*Failures),
	}
}

// Join returns the channel of a function, and has it subscribed to until Leave. The first
// Join begins the subscription.
func (e *Events) Join(name string) *Channel {
	e.subscribed.Do(func() {
		e.listen()
		e.cfg.SpawnAsking(e.stay)
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := e.channels[name]
	if ch == nil {
		ch = &Channel{name: name}
		e.channels[name] = ch
		e.signal()
	}
	ch.users++
	return ch
}

// Known returns the channel of a function, or nil if nobody has needed it lately.
func (e *Events) Known(name string) *Channel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.channels[name]
}

// Leave ends what Join began. ch may be nil.
func (e *Events) Leave(ch *Channel) {
	if ch == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ch.users--; ch.users == 0 {
		ch.idle = time.Now()
	}
}

// needed lets the channels go that nobody has needed for Linger, and returns the others.
func (e *Events) needed() (all []*Channel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, ch := range e.channels {
		if ch.users == 0 && time.Since(ch.idle) >= Linger {
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
func (e *Events) signal() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// listen makes e ready to take events in.
func (e *Events) listen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.marks.Store(new(marks))
		e.tags.Store(new(tagMarks))
	}
}

// End gives up what was heard: nothing may be kept any more that it could be about.
func (e *Events) End() {
	e.Down()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.marks.Store(nil)
	e.tags.Store(nil)
}

// cut returns how often hearing was interrupted, for up.
func (e *Events) cut() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cuts
}

// up says that from now on every event of a channel is heard, unless hearing was interrupted
// since cut said that, or the channel was let go. It begins an epoch.
func (e *Events) up(ch *Channel, since uint64) {
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
func (e *Events) interrupt() {
	e.Down()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cuts++
	for _, ch := range e.channels {
		ch.last.Store(0)
	}
	e.signal()
}

// Down says that events of any channel may go by unheard, until the next connection hears
// them.
func (e *Events) Down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ch := range e.channels {
		if ch.epoch.Swap(0) != 0 {
			e.wakeAll(ch)
		}
	}
}

// Note takes an event in. What this process does itself is noted twice, when it is done and
// when it is heard: an invalidation overtakes twice, a store once.
func (e *Events) Note(ev Event) {
	marks := e.marks.Load()
	if marks == nil {
		return // nothing has been kept yet
	}
	at := marks.of(e.Subject(ev.Key))
	e.mu.Lock()
	defer e.mu.Unlock()
	seq := e.seq.Load() + 1
	if ev.Verb == Clear {
		if ch := e.channels[ev.Key]; ch != nil {
			ch.cleared.Store(seq)
			e.wakeAll(ch)
		}
		e.seq.Store(seq)
		return
	}
	at.Store(at.Load().after(ev, seq))
	e.seq.Store(seq)
	if f := e.failing[ev.Key]; f != nil && ev.failure() && f.last != ev.ID {
		// A release that is sent again after a lost reply publishes its message again.
		f.last = ev.ID
		f.n.Add(1)
	}
	for _, w := range e.watchers[ev.Key] {
		w.wake()
	}
}
