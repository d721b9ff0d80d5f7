// Package operate lets cmd/fncache work on the entries of functions that its process does not
// have: by their names and their keys in Redis.
package operate

import (
	"context"
	"errors"
	"time"

	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/releases"
)

// Of returns the operator of a *fncache.Cache. Package fncache sets it.
var Of func(cache any) Operator

// ErrNoKey says that a key is not the key of an entry or of its lease.
var ErrNoKey = errors.New(`this is not the key of an entry; one has the form <namespace>:{<function>:<hash>}:<signature>`)

// An Operator works on what a cache has in Redis. Its methods may be called from several
// goroutines.
type Operator interface {
	// Split returns the key of the entry that key names, or whose lease it names, and the name
	// of the function. The error is ErrNoKey.
	Split(key string) (entry, function string, err error)
	// EntryKey returns the key of an entry.
	EntryKey(function string, hash keyhash.Hash, signature string) string
	// Hashing returns the keys that arguments are hashed with.
	Hashing() *keyhash.Keys
	// Releases returns the registered releases of a function.
	Releases(ctx context.Context, function string) ([]releases.Record, error)
	// Overtake invalidates an entry, or expires it if soft is set, with the entries of all other
	// releases for the same arguments. It returns their keys.
	Overtake(ctx context.Context, key string, soft bool) (keys []string, err error)
	// Clear invalidates all entries of a function. told is called with the number of entries that a
	// step has removed. Its calls come from several goroutines.
	Clear(ctx context.Context, function string, told func(removed int)) (removed int, err error)
	// Read reads an entry. The entry is nil if there is none.
	Read(ctx context.Context, key string) (*Entry, error)
	// Now returns the time of the server.
	Now(ctx context.Context) (time.Time, error)
}

// An Entry is an entry as it is stored.
type Entry struct {
	StoredAt time.Time
	Cost     time.Duration // how long the function ran
	ID       string
	Codec    Codec

	Negative   bool // the body is the text of an error
	Compressed bool // whether it is compressed in Redis
	Sealed     bool // whether it is sealed in Redis
	Expired    bool // never fresh

	Lifetime *Lifetime // nil if the function has set none
	Tags     []string  // the hashes of tags, in hex
	Verdict  string    // how the tags judge the entry: "valid", "stale" or "invalid"; "" without tags

	Size   int    // of the entry in Redis, in bytes
	Body   []byte // opened; nil if Hidden is set
	Hidden string // why the body cannot be opened
}

// A Lifetime is how long an entry is fresh, and how long it may be served.
type Lifetime struct{ Freshness, Timeout time.Duration }

// A Codec is how a body is encoded.
type Codec string

// The codecs.
const (
	CBOR  Codec = "cbor"
	JSON  Codec = "json"
	Other Codec = "other" // a codec of the user
)
