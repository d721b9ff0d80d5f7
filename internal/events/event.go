package events

import (
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Prefix returns what the names of all channels of a namespace begin with. Channels belong to a
// server, and keys to one of its databases: so each database but the first has channels of its own.
// Otherwise the fence of tags of another database would seem to be this one's, gone back.
func Prefix(namespace string, client redis.UniversalClient) string {
	prefix := namespace + ":events:"
	if single, ok := client.(interface{ Options() *redis.Options }); ok && single.Options().DB != 0 {
		prefix += "{" + strconv.Itoa(single.Options().DB) + "}:"
	}
	return prefix
}

// OtherDatabase reports whether a channel that begins with a Prefix of the first database is one of
// another database. No name of a function begins with a brace.
func OtherDatabase(channel, prefix string) bool {
	number, ok := strings.CutPrefix(channel, prefix+"{")
	return ok && strings.Contains(number, "}:")
}

// A Verb says what happened to a key. Its text is part of the published message.
type Verb string

// The verbs.
const (
	Store      Verb = "store"      // a value was stored, and the lease is free
	CoolDown   Verb = "cooldown"   // the function failed, and does not run during the cooldown
	Release    Verb = "release"    // the lease is free, without a value
	Failed     Verb = "failed"     // the lease is free, because the function failed
	Open       Verb = "open"       // the value cannot be stored: compute without a lease
	Invalidate Verb = "invalidate" // the entry and its lease are deleted
	Expire     Verb = "expire"     // the entry is no longer fresh, and its lease is deleted
	Clear      Verb = "clear"      // all entries of a function and their leases are gone; the key is the function's name

	hello Verb = "hello" // a greeting of a subscriber
)

// An Event is what a script publishes: `<verb> <key> <id>`.
type Event struct {
	Verb Verb
	Key  string // of the entry; for Clear, the name of the function with its prefix
	// ID is the id of the stored envelope (see StoreID) for Store, and the token of the lease
	// for verbs that end a lease without a value.
	ID string
}

// failure reports whether the function failed.
func (e Event) failure() bool { return e.Verb == Failed || e.Verb == CoolDown }

// keepsEntry reports whether the event leaves the entry unchanged. A verb that this release does
// not know counts as an invalidation.
func (e Event) keepsEntry() bool {
	return e.Verb == Release || e.Verb == Open || e.failure()
}

// String returns the event as a message.
func (e Event) String() string { return string(e.Verb) + " " + e.Key + " " + e.ID }

// Parse reads a message. The key may contain anything, and ends at the last space. ok is false
// for a message of another form, which does not come from this package.
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

// stored returns the id of the stored envelope. ok is false if the event is not a Store.
func (e Event) stored() (id uint64, ok bool) {
	if e.Verb != Store {
		return 0, false
	}
	id, err := strconv.ParseUint(e.ID, 16, 64)
	return id, err == nil
}
