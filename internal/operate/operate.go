// Package operate lets cmd/fncache and fncachedebug work on what a cache has in Redis, by the
// names of functions and by keys, also for functions that the process does not have. It also lets
// fncachedebug watch the functions of the process.
package operate

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/holder"
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
	// Clear invalidates all entries of a function. progress is called after each step, with the number of
	// entries that the step has removed, from several goroutines.
	Clear(ctx context.Context, function string, progress func(removed int)) (removed int, err error)
	// Read reads an entry. The entry is nil if there is none.
	Read(ctx context.Context, key string) (*Entry, error)
	// Lease returns the lease on an entry. It is nil if there is none.
	Lease(ctx context.Context, entry string) (*Lease, error)
	// Left returns how long a key lives. The key does not exist if ok is false; it has no expiry if
	// left is negative.
	Left(ctx context.Context, key string) (left time.Duration, ok bool, err error)
	// Ping checks Redis, as Cache.Ping does. The warnings are about what works and is a risk.
	Ping(ctx context.Context) (warnings []string, err error)
	// Now returns the time of the server.
	Now(ctx context.Context) (time.Time, error)

	// Functions returns the functions of this process on the cache, each a *fncache.Func, in no
	// order.
	Functions() []any
	// About describes a *fncache.Func.
	About(function any) Function
	// Computing returns how many entries this process computes, for each *fncache.Func.
	Computing() map[any]int
	// Watch calls the methods of w from now on.
	Watch(w Watcher)
	// Go runs f on a goroutine that Close waits for. closing is closed when Close begins.
	Go(f func(closing <-chan struct{}))
}

// A Watcher receives what the functions of a process do. Its methods are called on the goroutines of
// the calls, also at the same time, so they have to be fast.
type Watcher interface {
	// LookedUp is called for each look into Redis for an entry. Near hits have none.
	LookedUp(function any, key string)
	// Computed is called when a computation has ended. err is nil if it has a result.
	Computed(function any, key string, cost time.Duration, err error)
}

// A Function describes a function of this process.
type Function struct {
	Name    string
	Types   string // its type, as Go writes it
	Codec   string
	Wrapped string // file and line where it was wrapped
	Options []Option
	Params  []reflect.Type // of a key, so without the context; of a batch function, the id
	Varies  bool           // the key also depends on the context
	// How long entries are fresh and are served, if they do not say so themselves.
	Freshness, Timeout time.Duration
}

// An Option is an option in force. Options that are off are left out.
type Option struct{ Name, Value string }

// A Lease is the lock on an entry.
type Lease struct {
	State LeaseState
	Left  time.Duration
	// Since is when the holder asked for the lease, on the clock of the holder.
	Since  time.Time
	Holder *holder.Process // nil if it is not known
}

// A LeaseState is what a lock is there for.
type LeaseState string

// The states of a lease.
const (
	Computing LeaseState = "computing" // a process computes the entry
	Cooling   LeaseState = "cooling"   // the function failed; a stale entry is served for a while
	Open      LeaseState = "open"      // the last value could not be stored; callers compute without a lease
)

// StateOf reads the value of a lock.
func StateOf(lock string) LeaseState {
	switch {
	case strings.HasPrefix(lock, "cool:"):
		return Cooling
	case strings.HasPrefix(lock, "open:"):
		return Open
	default:
		return Computing
	}
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
