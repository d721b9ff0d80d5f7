// Package near is what one process keeps in its own memory of what it has looked up and
// stored.
//
// Nothing has to be thrown out of it in time, because each hit judges what it finds. An
// entry is served as fresh while
//
//   - its time is not over: see Entry.Life;
//   - events have been heard without a gap since before it was asked for
//     (package events), and are still known to be heard;
//   - none of them was about its key, except that of its own store, nor about one of
//     its tags.
//
// So a message costs the same however much is kept, and one that comes while the
// key is looked up overtakes the answer. What may not be served is replaced by
// what is looked up then, or gives way to what is used more.
package near

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/early"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/shape"
)

// Config is what a Store needs to know.
type Config struct {
	// Size is how many bytes are kept at most, about.
	Size uint64
	// Events tell what overtakes an entry.
	Events *events.Events
	// Clock tells when the time of an entry is over.
	Clock *clock.Clock
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Store keeps the entries of all functions of a cache. All methods are safe for concurrent
// use.
type Store struct {
	cfg   Config
	made  sync.Once // kept
	ended atomic.Bool
	kept  atomic.Pointer[entries] // nil until something is kept, and after End
}

type entries = otter.Cache[uint64, *Entry]

// New returns a store. It takes no memory until something is kept.
func New(cfg Config) *Store { return &Store{cfg: cfg} }

// An Entry is one result that is kept. The caller of Keep sets the exported fields. After
// that nobody writes to it, nor to what it refers to.
type Entry struct {
	Func     *Func
	Key      shape.Plain  // of the arguments
	RedisKey string       // of the entry in Redis
	Asked    events.Place // when Redis was asked for it, or to store it
	Life     time.Duration
	Timeout  time.Duration // the age up to which it may be served as stale; for the caller
	Early    *Early        // nil: it is not refreshed early
	StoredAt int64         // on the server's clock, in Unix milliseconds
	ID       uint64        // of its envelope
	Cost     time.Duration
	Tags     *Tags // nil if it has none
	Value    any
	Size     uintptr // about how many bytes the value takes

	subject events.Subject
	until   time.Duration // on Clock.Elapsed, moved by Clock.Moved
	// next is when something is to be done at a hit, on the same clock: the dice are to be
	// rolled, or the time is over. So a hit compares one number, with dice and without.
	next   atomic.Int64
	weight uint32
}

// Early is how an entry is refreshed before it is stale.
type Early struct {
	early.Dice               // what hits roll
	Pause      time.Duration // how long they are not rolled after they have fallen
}

// Tags are those of an entry: the invalidation of one of them overtakes it.
type Tags struct {
	Subjects []events.TagSubject
	Asked    events.Place // on the channel that tells of tags
	From     any          // the caller's own
}

// size returns about how many bytes they take.
func (t *Tags) size() uintptr {
	if t == nil {
		return 0
	}
	return 192 + 26*uintptr(len(t.Subjects))
}

// overhead is about what an entry takes beside its value and keys.
const overhead = 400

// Keep takes an entry in. An entry that was asked for while events were not heard must not
// be kept (events.Place.InHearing).
func (s *Store) Keep(e *Entry) {
	e.subject = s.cfg.Events.Subject(e.RedisKey)
	size := e.Size + e.Tags.size() + uintptr(len(e.RedisKey)) + overhead
	e.until = clock.Later(s.now(), e.Life)
	e.next.Store(int64(e.until))
	if e.Early != nil {
		size += unsafe.Sizeof(*e.Early)
		e.putOff(clock.Later(s.now(), e.Early.From()-s.age(e)))
	}
	for i, text := range e.Key.S {
		e.Key.S[i] = strings.Clone(text) // which may be part of something large
		size += uintptr(len(text))
	}
	e.weight = uint32(min(size, math.MaxUint32))
	if kept := s.entries(); kept != nil {
		kept.Set(e.Func.hash(&e.Key), e)
	}
}

// putOff has the dice of an entry not be rolled before a moment.
func (e *Entry) putOff(until time.Duration) { e.next.Store(int64(min(until, e.until))) }

func (s *Store) age(e *Entry) time.Duration {
	return time.Duration(s.cfg.Clock.Now()-e.StoredAt) * time.Millisecond
}

func (s *Store) now() time.Duration { return s.cfg.Clock.Elapsed() + s.cfg.Clock.Moved() }

// entries returns what keeps the entries, made when it is first needed; nil after End.
func (s *Store) entries() *entries {
	s.made.Do(func() {
		s.kept.Store(otter.Must(&otter.Options[uint64, *Entry]{
			MaximumWeight: s.cfg.Size,
			Weigher:       func(_ uint64, e *Entry) uint32 { return e.weight },
			Executor:      s.cfg.Spawn,
		}))
	})
	if s.ended.Load() {
		s.kept.Store(nil) // End may have gone by before
	}
	return s.kept.Load()
}

// End gives up all entries. Nothing is kept after it.
func (s *Store) End() {
	s.ended.Store(true)
	s.kept.Store(nil)
}

// Find returns what is kept under a key, whether it may be served or not; nil if there is
// nothing.
func (s *Store) Find(f *Func, key *shape.Plain) *Entry {
	kept := s.kept.Load()
	if kept == nil {
		return nil
	}
	e, ok := kept.GetIfPresent(f.hash(key))
	if !ok || e.Func != f || e.Key != *key {
		return nil
	}
	return e
}

// Fresh returns what may be served as fresh under a key, or nil. due reports that its dice say
// that it is to be refreshed.
func (s *Store) Fresh(f *Func, key *shape.Plain) (e *Entry, due bool) {
	if e = s.Find(f, key); e == nil {
		return nil, false
	}
	now := s.cfg.Clock.Elapsed()
	if !e.Asked.Heard() || e.Tags != nil && !e.Tags.Asked.Heard() || !s.cfg.Events.Hears(now) {
		return nil, false
	}
	now += s.cfg.Clock.Moved()
	reached := now >= time.Duration(e.next.Load())
	if reached && now >= e.until || s.overtaken(e) {
		return nil, false
	}
	return e, reached && s.roll(e, now)
}

// roll rolls the dice of an entry.
func (s *Store) roll(e *Entry, now time.Duration) bool {
	if !e.Early.Roll(s.age(e)) {
		return false
	}
	e.putOff(clock.Later(now, e.Early.Pause))
	return true
}

// Held returns what may be served as stale under a key while Redis is away, if it is not too
// old; nil if there is nothing. Nothing is served that is known to have been replaced or
// invalidated, nor what is from before events were last heard again, for then that cannot be
// known.
func (s *Store) Held(f *Func, key *shape.Plain) *Entry {
	e := s.Find(f, key)
	if e == nil || s.cfg.Events.Suspended() || !e.Asked.Remembered() || e.Tags != nil && !e.Tags.Asked.Remembered() || s.overtaken(e) {
		return nil
	}
	return e
}

func (s *Store) overtaken(e *Entry) bool {
	return s.cfg.Events.Overtaken(e.subject, e.Asked, e.ID) ||
		e.Tags != nil && s.cfg.Events.TagsOvertaken(e.Tags.Subjects, e.Tags.Asked)
}

// Drop removes what is kept under a key, unless it is the entry with that id. Redis has said
// that it has another entry than what is kept, or none that could be served, even if no
// event has told so yet, or none ever will, as of what was evicted. Otherwise it would come
// back when Redis goes away.
func (s *Store) Drop(f *Func, key *shape.Plain, unless uint64) {
	e := s.Find(f, key)
	if e == nil || e.ID == unless {
		return
	}
	if kept := s.entries(); kept != nil {
		kept.Invalidate(f.hash(key))
	}
}

// Usage is how much a Store keeps.
type Usage struct {
	Entries int
	Weight  uint64 // about the bytes that they take
}

// Usage returns how much is kept, when what does not fit has been thrown out. It is for
// tests.
func (s *Store) Usage() Usage {
	kept := s.kept.Load()
	if kept == nil {
		return Usage{}
	}
	kept.CleanUp()
	return Usage{kept.EstimatedSize(), kept.WeightedSize()}
}
