package events

import (
	"hash/maphash"
	"sync/atomic"
)

// A Place is a point in the order of events, on one channel. At the zero Place nothing is
// heard.
type Place struct {
	channel *Channel // nil: the function has none
	epoch   uint64   // of the channel; 0: events are not heard
	seq     uint64   // counts events of all channels
}

// Here returns the present place on a channel, which may be nil. A reader notes it before it
// asks.
func (e *Events) Here(ch *Channel) Place {
	// The epoch first: if it ends between the two, nothing is kept of this place.
	p := Place{channel: ch}
	if ch != nil {
		p.epoch = ch.epoch.Load()
	}
	p.seq = e.seq.Load()
	return p
}

// InHearing reports whether the channel was heard at p. Otherwise an answer that was asked for
// at p must not be kept.
func (p Place) InHearing() bool { return p.epoch != 0 }

// Heard reports whether all events of the channel since p have been heard.
func (p Place) Heard() bool { return p.epoch != 0 && p.channel.epoch.Load() == p.epoch }

// Remembered reports whether no epoch has begun since p. Then all events that could be heard
// since p have been.
func (p Place) Remembered() bool { return p.epoch != 0 && p.channel.last.Load() == p.epoch }

// cleared reports whether all keys of the channel's function were overtaken since p.
func (p Place) cleared() bool { return p.channel != nil && p.channel.cleared.Load() > p.seq }

// A Subject stands for the key of an entry. Each subject has a mark.
type Subject struct{ slot uint32 }

// Subject returns the subject of a key. Two keys may have the same one.
func (e *Events) Subject(key string) Subject {
	return Subject{uint32(maphash.String(e.seed, key) % subjects)}
}

// Overtaken reports whether an entry with that envelope, which was asked for at p, may have been
// replaced or invalidated since. Its own store does not count.
func (e *Events) Overtaken(s Subject, p Place, id uint64) bool {
	marks := e.marks.Load()
	if marks == nil || p.cleared() {
		return true // events are not recorded, or the function was cleared
	}
	m := marks.of(s).Load()
	return m != nil && m.ended > p.seq && (m.stored != id || m.before > p.seq)
}

// subjects is the number of marks. Keys that share one overtake each other's answers, which
// costs a lookup. With 1,000 events a second that happens to one of 65 entries that are kept
// for a second.
const subjects = 1 << 16

// marks has a mark for each subject, or nil if there was no event about it.
type marks [subjects]atomic.Pointer[mark]

func (m *marks) of(s Subject) *atomic.Pointer[mark] { return &m[s.slot] }

// A mark has the last events about a subject. It is never changed.
type mark struct {
	any    uint64 // place of the last event
	ended  uint64 // place of the last event that ended an entry: a store or an invalidation
	stored uint64 // the id of the envelope, if that event was a store; else 0
	before uint64 // the value of ended before that store
}

// after returns the mark after an event at a place in the order. m may be nil.
func (m *mark) after(ev Event, seq uint64) *mark {
	next := mark{}
	if m != nil {
		next = *m
	}
	next.any = seq
	id, stored := ev.stored()
	switch {
	case stored && id == next.stored: // noted before
	case stored:
		next.stored, next.before, next.ended = id, next.ended, seq
	case !ev.keepsEntry():
		next.stored, next.before, next.ended = 0, 0, seq
	}
	return &next
}
