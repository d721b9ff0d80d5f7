package events

import (
	"strconv"
	"strings"
)

// A Verb is what happened to a key. Its text is part of what is published.
type Verb string

// The verbs.
const (
	Store      Verb = "store"      // a value was stored, and the lease is free
	CoolDown   Verb = "cooldown"   // the function failed, and is left alone for a while
	Release    Verb = "release"    // the lease is free, without a value
	Failed     Verb = "failed"     // the lease is free, because the function failed
	Open       Verb = "open"       // the value cannot be stored: compute without a lease
	Invalidate Verb = "invalidate" // the entry and the lease on it are gone
	Expire     Verb = "expire"     // the entry is stale at most, and the lease on it is gone
	Clear      Verb = "clear"      // all entries of a function are gone, and the leases on them; the key is its name

	hello Verb = "hello" // a subscriber asks whether it hears itself
)

// An Event is what a script publishes: `<verb> <key> <id>`.
type Event struct {
	Verb Verb
	Key  string // of the entry; the name of the function, with its prefix, of a Clear
	// ID is that of the envelope of a Store (see StoreID), and the token of the lease of
	// what ends one without a value.
	ID string
}

// failure reports whether the function failed.
func (e Event) failure() bool { return e.Verb == Failed || e.Verb == CoolDown }

// keepsEntry reports whether the event leaves the entry as it was. An event that only a
// later release knows is taken for an invalidation.
func (e Event) keepsEntry() bool {
	return e.Verb == Release || e.Verb == Open || e.failure()
}

// String returns the message that tells of the event.
func (e Event) String() string { return string(e.Verb) + " " + e.Key + " " + e.ID }

// Parse reads a message. The key may hold anything but ends before the last space. ok is
// false for a message of another form, which is none of ours.
func Parse(message string) (e Event, ok bool) {
	what, rest, ok := strings.Cut(message, " ")
	last := strings.LastIndexByte(rest, ' ')
	if !ok || last < 0 {
		return Event{}, false
	}
	return Event{Verb(what), rest[:last], rest[last+1:]}, true
}

// StoreID returns the id of a stored envelope as an event carries it.
func StoreID(id uint64) string { return strconv.FormatUint(id, 16) }

// stored returns the id of the envelope that was stored, if that is what happened.
func (e Event) stored() (id uint64, ok bool) {
	if e.Verb != Store {
		return 0, false
	}
	id, err := strconv.ParseUint(e.ID, 16, 64)
	return id, err == nil
}
