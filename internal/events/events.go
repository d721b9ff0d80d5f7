// Package events informs a process of what other processes do to keys. It subscribes to the messages
// that scripts publish, and remembers the last event about each key.
//
// Each event gets a place in one order. A reader that is about to ask Redis about a key notes
// the current place. Later it can find out whether the answer may have been overtaken: by an
// event about the key, or because events may have been missed meanwhile. So no reader has to
// hold a lock while it asks, and each order of events gives a correct result:
//
//  1. a lookup notes its place and is sent, and Redis answers it;
//  2. another process invalidates the key, and the event is heard here;
//  3. the answer arrives: it has been overtaken, and is not kept.
//
// If 3 comes before 2, the answer is kept, and is overtaken from step 2 on.
//
// There is a channel for each function. A process has one subscription, to the channels
// that are needed by functions with a near cache and by callers that wait for another
// process. It begins when the first channel is needed (subscription.go).
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

// Config configures Events.
type Config struct {
	// Client makes the connection that receives events.
	Client redis.UniversalClient
	// Remote sends the greetings that show whether the connection receives messages.
	Remote *remote.Remote
	// Prefix comes before the name of the function in the names of channels.
	Prefix string
	// Timeout is how long Redis may take to answer.
	Timeout time.Duration
	// Clock measures time, and detects that the machine was suspended.
	Clock *clock.Clock
	// Suspended is called when the machine was suspended, or its clock was set.
	Suspended func()
	// The subscription ends when Closing is closed.
	Closing <-chan struct{}
	// Spawn starts a goroutine. SpawnAsking starts one that may wait inside the client.
	Spawn, SpawnAsking func(func())
	// Tags is called with each message that begins with "tags ". It returns the keyed hashes of
	// the message's tags. ok is false if it cannot read the message.
	Tags func(message string) (tags [][16]byte, ok bool)
	// Log reports when and why events are not heard.
	Log *oncelog.Logger
	// Changed is called with nil when events begin to be heard, and with the reason when they are
	// not heard any more. The end of a subscription that is not needed is no change. Changed must not block.
	// It may be nil.
	Changed func(lost error)
	// Explain adds the operation to an error, for the log.
	Explain func(op string, err error) error
}

// A Channel has the events about the keys of one function. It is subscribed to while it has
// users, and for Linger after that. Then it hears nothing more, and the next user gets
// another Channel of the same name.
type Channel struct {
	name  string        // of the function, with its prefix
	epoch atomic.Uint64 // the number of the current period of hearing without a gap; 0 while nothing is heard
	last  atomic.Uint64 // the current epoch, or the last one; 0 after Linger
	// cleared is the place of the last event that overtook all keys of the function.
	cleared atomic.Uint64

	// Guarded by Events.mu.
	users int
	idle  time.Time // since when there are no users
}

// Events has the events that one process knows. All methods are safe for concurrent use.
type Events struct {
	cfg   Config
	seed  maphash.Seed
	seq   atomic.Uint64            // the last place in the order
	marks atomic.Pointer[marks]    // nil until the first Join, and after End
	tags  atomic.Pointer[tagMarks] // nil as marks is

	subscribed sync.Once    // the subscription has begun
	heardUntil atomic.Int64 // until then all events are known to be heard, on Clock.Elapsed
	trusted    atomic.Int64 // until then Hears need not look at the clocks; at most heardUntil

	reception atomic.Int32 // see Reception

	changed chan struct{} // has an element if other channels are needed, or hearing was interrupted

	mu       sync.Mutex // guards the fields below, and writing to seq, marks and channels
	channels map[string]*Channel
	epochs   uint64 // the last epoch of any channel
	cuts     uint64 // how often hearing was interrupted
	watchers map[string][]*Watcher
	failing  map[string]*Failures
	ended    bool
}

// Linger is how long a channel without users stays subscribed. Callers often wait for the same
// function again.
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

// Join returns the channel of a function, which is subscribed to until Leave. The first
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

// Known returns the channel of a function, or nil if there is none.
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

// needed drops the channels that had no users for Linger, and returns the others.
func (e *Events) needed() (all []*Channel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, ch := range e.channels {
		if ch.users == 0 && time.Since(ch.idle) >= Linger {
			ch.epoch.Store(0)
			ch.last.Store(0) // later events go to another Channel, if any
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

// listen makes e ready for events.
func (e *Events) listen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.marks.Store(new(marks))
		e.tags.Store(new(tagMarks))
	}
}

// End forgets all events. After it no reader may keep an answer.
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

// up begins an epoch: from now on every event of a channel is heard. It does nothing if hearing
// was interrupted after cut had returned since, or if the channel was dropped.
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

// interrupt ends the current connection, because it may have missed events. Another connection
// replaces it.
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

// Down notes that events of all channels may be missed until the next connection hears them.
func (e *Events) Down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ch := range e.channels {
		if ch.epoch.Swap(0) != 0 {
			e.wakeAll(ch)
		}
	}
}

// Note records an event. The events that this process causes are noted twice: when they happen,
// and when they are heard. An invalidation then overtakes twice, a store once.
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
