// Package peers has the libraries that are compared: fncache and its alternatives, each used as its
// README recommends.
//
// A peer caches func(ctx, id int64) (V, error). The cost of a call includes the work of the user at
// each call, such as making a key from the id.
package peers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// A Source is the function that is cached.
type Source[V any] func(ctx context.Context, id int64) (V, error)

// A Site says where and how a peer caches.
type Site struct {
	Addr string // of the redis-server
	Name string // of the cached values; peers that store different bytes also have different keys

	// Freshness and Timeout mean the same as in fncache. A peer that has only one age gets
	// Freshness for it.
	Freshness, Timeout time.Duration

	Keys int // the number of keys; a local tier has room for all
}

// Cached is a source that a peer caches.
type Cached[V any] struct {
	Get        Source[V]
	Invalidate func(ctx context.Context, id int64) error
	Key        func(id int64) (string, error) // in Redis; nil if nothing is there
	Close      func()
}

// A Peer is a way to cache a function.
type Peer[V any] struct {
	Name   string
	Local  bool // it keeps values in the process too
	Shared bool // its callers share memory: a write to one result changes all
	Open   func(Site, Source[V]) (*Cached[V], error)
}

// Names of the peers that are compared in particular.
const (
	Fncache            = "fncache"
	FncacheTyped       = "fncache, typed"
	FncacheWaiting     = "fncache, oncold=wait"
	FncacheNear        = "fncache, near"
	FncacheNearWaiting = "fncache, near, oncold=wait"
	FncacheNearTyped   = "fncache, near, typed"
	FncacheTagged      = "fncache, typed, two tags"
	FncacheNearTagged  = "fncache, near, typed, two tags"

	Bare       = "go-redis, bare"
	Rueidis    = "rueidis, bare"
	Aside      = "rueidisaside, no tracking"
	Cache      = "go-redis/cache"
	LocalCache = "go-redis/cache, local"
	Sturdyc    = "sturdyc"
	Otter      = "otter"
)

// errBusy is the error of a call that the hand-written peer refuses.
var errBusy = errors.New("cold, and another caller computes")

// Refused reports whether a call was refused because the cache was cold.
func Refused(err error) bool {
	return errors.Is(err, fncache.ErrColdCache) || errors.Is(err, errBusy)
}

// Remote are the peers that ask Redis at every hit.
func Remote[V any]() []Peer[V] {
	return append([]Peer[V]{
		{Name: Bare, Open: openBare[V]},
		{Name: Rueidis, Open: openRueidis[V]},
		{Name: Cache, Open: openCache[V](false)},
		{Name: Aside, Open: openAside[V](false)},
		{Name: "singleflight + SET NX", Shared: true, Open: openHandwritten[V]},
	}, remoteVariants[V]()...)
}

// Near are the peers with a local tier, turned on.
func Near[V any]() []Peer[V] {
	return append([]Peer[V]{
		{Name: LocalCache, Local: true, Open: openCache[V](true)},
		{Name: "rueidisaside", Local: true, Open: openAside[V](true)},
		{Name: Sturdyc, Local: true, Shared: true, Open: openSturdyc[V](false)},
		{Name: Otter, Local: true, Shared: true, Open: openOtter[V]},
	}, nearVariants[V]()...)
}

// Fleet are the peers that several processes with one Redis use.
func Fleet[V any]() []Peer[V] {
	return append([]Peer[V]{
		{Name: Bare, Open: openBare[V]},
		{Name: Cache, Open: openCache[V](false)},
		{Name: LocalCache, Local: true, Open: openCache[V](true)},
		{Name: "rueidisaside", Local: true, Open: openAside[V](true)},
		{Name: "sturdyc + Redis", Local: true, Shared: true, Open: openSturdyc[V](true)},
		{Name: Otter, Local: true, Shared: true, Open: openOtter[V]},
		{Name: "singleflight + SET NX", Shared: true, Open: openHandwritten[V]},
	}, fleetVariants[V]()...)
}

// ByName returns the peer with a name from a list.
func ByName[V any](list []Peer[V], name string) (Peer[V], error) {
	for _, peer := range list {
		if peer.Name == name {
			return peer, nil
		}
	}
	return Peer[V]{}, fmt.Errorf("no peer is called %q", name)
}

// poolSize is the pool size of every go-redis client. With the default, ten per core, bare go-redis
// is slower at 128 callers.
const poolSize = 64

// Client returns a go-redis client, with the settings that all peers on go-redis have.
func Client(addr string, change ...func(*redis.Options)) *redis.Client {
	opts := &redis.Options{Addr: addr, PoolSize: poolSize}
	for _, f := range change {
		f(opts)
	}
	return redis.NewClient(opts)
}

// keyer returns a function from ids to keys, for peers whose users make keys.
func keyer(kind string, s Site) func(id int64) string {
	prefix := kind + ":" + s.Name + ":"
	return func(id int64) string { return prefix + strconv.FormatInt(id, 10) }
}

// inRedis makes a Cached.Key from a keyer.
func inRedis(key func(int64) string) func(int64) (string, error) {
	return func(id int64) (string, error) { return key(id), nil }
}
