// Package fncachetest gives tests a [fncache.Cache] on an embedded Redis
// (miniredis), and moves its time.
//
//	func TestTopBooksGoStale(t *testing.T) {
//		cache := fncachetest.New(t)
//		shop := NewShop(cache.Cache) // wraps its func fields
//		...
//		cache.Advance(2 * time.Hour)
//		...
//	}
//
// It needs no network, so it also works inside a testing/synctest bubble; there
// time passes by time.Sleep, and Advance is not needed.
//
// A test can also end leases ([Cache.EndLease]), have Redis go away ([Cache.StopRedis]), and
// count what its calls cost ([Cache.Count]). The methods of [fncache.Cache] do the rest, such as
// InvalidateTags.
//
// miniredis is not Redis: what depends on eviction, replication, a Cluster or
// faults has to be tested on a real server.
package fncachetest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/testhook"
)

// A Cache is a [fncache.Cache] with the Redis below it.
type Cache struct {
	*fncache.Cache
	// Redis is the embedded server: to look at keys, and to set errors that it answers. For an
	// outage use StopRedis: after Close of the server, clients connect again.
	Redis *miniredis.Miniredis

	wall  *wall
	count *counter
}

// New returns a cache on a Redis of its own. Both are closed at the end of the test. Each
// change may alter the configuration, except Config.Redis. By default the cache logs nothing.
func New(t testing.TB, change ...func(*fncache.Config)) *Cache {
	t.Helper()
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	wall, count := &wall{conns: make(map[*conn]struct{})}, new(counter)
	client := redis.NewClient(&redis.Options{
		// An address, so that go-redis resolves no name.
		Addr:                  "127.0.0.1:0",
		Dialer:                func(context.Context, string, string) (net.Conn, error) { return wall.dial(server) },
		ContextTimeoutEnabled: true, // so that hooks see every command
		// Commands that the client would send and miniredis does not know.
		DisableIdentity: true,
		DialerRetries:   1, // of StopRedis, which is logged
	})
	client.AddHook(count)
	cfg := fncache.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&cfg)
	}
	cfg.Redis = client
	cache, err := fncache.New(cfg)
	if err != nil {
		t.Fatalf("fncachetest: %v", err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Errorf("fncachetest: %v", err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("fncachetest: close the client: %v", err)
		}
		server.Close()
	})
	return &Cache{Cache: cache, Redis: server, wall: wall, count: count}
}

// Advance moves the time by which ages are measured and keys expire, as if d had passed:
// entries become stale, and expire. It does not move real time: a running function does not
// become older, and a lease that expires in Redis is renewed as before.
func (c *Cache) Advance(d time.Duration) {
	c.Redis.FastForward(d)
	testhook.AdvanceClock(c.Cache, d)
}

// EndLease deletes the lease on the entry with a key, of [fncache.Func.Key], as if it had expired
// while its holder stood still. It reports whether there was one. The holder's result is given to
// its caller, and not stored. A wait after a failed computation (Options.Cooldown) ends too.
func (c *Cache) EndLease(key string) bool { return c.Redis.Del(key + ":lock") }
