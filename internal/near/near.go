// Package near keeps in the memory of one process what it has looked up and stored.
//
// Entries need not be removed when they become invalid, because each hit checks the entry that
// it finds. An entry is served as fresh while
//
//   - its time is not over: see Entry.Life;
//   - events have been heard without a gap since before it was asked for
//     (package events), and are still known to be heard;
//   - no event was about its key, except that of its own store, nor about one of its tags.
//
// So the cost of an event does not depend on the number of entries, and an event that comes
// while the key is looked up overtakes the answer. The next lookup replaces an entry that may
// not be served, or entries that are used more displace it.
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

// Config configures a Store.
type Config struct {
	// Size is about how many bytes are kept at most.
	Size uint64
	// Events has the events that overtake entries.
	Events *events.Events
	// Clock measures the ages of entries.
	Clock *clock.Clock
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Store keeps the entries of all functions of a cache. All methods are safe for concurrent
// use.
type Store struct {
	cfg     Config
	made    sync.Once // makes kept
	ended   atomic.Bool
	kept    atomic.Pointer[entries] // nil before the first Keep, and after End
	evicted atomic.Uint64           // how many entries have given way to others
}

type entries = otter.Cache[uint64, *Entry]

// New returns a store. It uses no memory before the first Keep.
func New(cfg Config) *Store { return &Store{cfg: cfg} }

// An Entry is one result that is kept. The caller of Keep sets the exported fields. After Keep,
// the entry and what it refers to must not be changed.
type Entry struct {
	Func     *Func
	Key      shape.Plain  // of the arguments
	RedisKey string       // of the entry in Redis
	Asked    events.Place // when Redis was asked for it, or to store it
	Life     time.Duration
	Timeout  time.Duration // the age up to which it may be served as stale; only callers use it
	Early    *Early        // nil: it is not refreshed early
	StoredAt int64         // on the server's clock, in Unix milliseconds
	ID       uint64        // of its envelope
	Cost     time.Duration
	Tags     *Tags // nil if it has none
	Value    any
	Size     uintptr // about how many bytes the value takes

	subject events.Subject
	until   time.Duration // on Clock.Elapsed, moved by Clock.Moved
	// next is when a hit has to do something, on the same clock: roll the dice, or stop serving
	// the entry. So a hit compares one number, with dice and without.
	next   atomic.Int64
	weight uint32
}

// Early says how an entry is refreshed before it is stale.
type Early struct {
	early.Dice               // hits roll them
	Pause      time.Duration // how long the dice are not rolled after a hit was due
}

// Tags are the tags of an entry. The invalidation of one of them overtakes the entry.
type Tags struct {
	Subjects []events.TagSubject
	Asked    events.Place // on the channel of tags
	From     any          // of the caller
}

// size returns about how many bytes the tags use.
func (t *Tags) size() uintptr {
	if t == nil {
		return 0
	}
	return 192 + 26*uintptr(len(t.Subjects))
}

// overhead is about how many bytes an entry uses beside its value and keys.
const overhead = 400

// Keep adds an entry. An entry that was asked for while events were not heard must not be
// kept (events.Place.InHearing).
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
		e.Key.S[i] = strings.Clone(text) // it may be part of a large string
		size += uintptr(len(text))
	}
	e.weight = uint32(min(size, math.MaxUint32))
	if kept := s.entries(); kept != nil {
		kept.Set(e.Func.hash(&e.Key), e)
	}
}

// putOff postpones the next roll of an entry's dice.
func (e *Entry) putOff(until time.Duration) { e.next.Store(int64(min(until, e.until))) }

func (s *Store) age(e *Entry) time.Duration {
	return time.Duration(s.cfg.Clock.Now()-e.StoredAt) * time.Millisecond
}

func (s *Store) now() time.Duration { return s.cfg.Clock.Elapsed() + s.cfg.Clock.Moved() }

// entries returns the map of entries, and makes it if needed. It returns nil after End.
func (s *Store) entries() *entries {
	s.made.Do(func() {
		s.kept.Store(otter.Must(&otter.Options[uint64, *Entry]{
			MaximumWeight: s.cfg.Size,
			Weigher:       func(_ uint64, e *Entry) uint32 { return e.weight },
			Executor:      s.cfg.Spawn,
			OnAtomicDeletion: func(e otter.DeletionEvent[uint64, *Entry]) {
				if e.WasEvicted() {
					s.evicted.Add(1)
				}
			},
		}))
	})
	if s.ended.Load() {
		s.kept.Store(nil) // End may have run before the line above
	}
	return s.kept.Load()
}

// End removes all entries. Nothing is kept after it.
func (s *Store) End() {
	s.ended.Store(true)
	s.kept.Store(nil)
}

// Find returns the entry under a key, even if it may not be served, or nil if there is none.
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

// Fresh returns the entry under a key if it may be served as fresh, or nil. due reports whether
// its dice say that the caller should refresh it.
func (s *Store) Fresh(f *Func, key *shape.Plain) (e *Entry, due bool) {
	return s.FreshAt(f, key, s.cfg.Clock.Elapsed())
}

// FreshAt is Fresh at a moment on Clock.Elapsed, which must be the present.
func (s *Store) FreshAt(f *Func, key *shape.Plain, now time.Duration) (e *Entry, due bool) {
	if e = s.Find(f, key); e == nil {
		return nil, false
	}
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

// Held returns the entry under a key if it may be served as stale while Redis is away, or nil.
// The caller checks its age. Held returns no entry that is known to be replaced or invalidated,
// and none from before a gap in hearing, because events of the gap are unknown.
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

// Drop removes the entry under a key, unless it has that id. It is called when Redis has
// answered with another entry, or with none that could be served. There may be no event about
// that, for example after an eviction. Without Drop the entry would be served again when Redis
// goes away.
func (s *Store) Drop(f *Func, key *shape.Plain, unless uint64) {
	e := s.Find(f, key)
	if e == nil || e.ID == unless {
		return
	}
	if kept := s.entries(); kept != nil {
		kept.Invalidate(f.hash(key))
	}
}

// Usage says how much a Store keeps.
type Usage struct {
	Entries   int
	Weight    uint64 // about the bytes that they take
	Evictions uint64 // how many have given way to others so far
}

// Usage returns how much is kept, when what does not fit has been evicted.
func (s *Store) Usage() Usage {
	kept := s.kept.Load()
	if kept == nil {
		return Usage{Evictions: s.evicted.Load()}
	}
	kept.CleanUp()
	return Usage{kept.EstimatedSize(), kept.WeightedSize(), s.evicted.Load()}
}
