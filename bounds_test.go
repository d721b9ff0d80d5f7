package fncache_test

import (
	"context"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// never is a client whose every own limit is far beyond a test's.
func never(o *redis.Options) {
	o.DialTimeout, o.PoolTimeout = time.Hour, time.Hour
	o.ReadTimeout, o.WriteTimeout = -1, -1
	o.MaxRetries = 100
}

// On a stopped server these clients wait for ever. So if a call returns, RedisTimeout or the
// caller's context has ended it.
func TestNoSettingOfTheClientKeepsACallerWaiting(t *testing.T) {
	inBothForms(t, testNoSettingOfTheClientKeepsACallerWaiting)
}

func testNoSettingOfTheClientKeepsACallerWaiting(t *testing.T) {
	for name, option := range map[string]func(*redis.Options){
		"no timeouts":           func(*redis.Options) {},
		"a pool of one":         func(o *redis.Options) { o.PoolSize = 1 },
		"a pool of one, active": func(o *redis.Options) { o.PoolSize, o.MaxActiveConns = 1, 1 },
		"no contexts":           func(o *redis.Options) { o.ContextTimeoutEnabled = false },
		"RESP2":                 func(o *redis.Options) { o.Protocol = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			server := redistest.Start(t)
			testNothingKeepsACallerWaiting(t, server.Client(never, option), true, server)
		})
	}
	for met, name := range map[bool]string{true: "", false: ", from the start"} {
		t.Run("Cluster"+name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			testNothingKeepsACallerWaiting(t, cluster.Client(neverCluster), met, cluster.Nodes()...)
		})
		t.Run("Sentinel"+name, func(t *testing.T) {
			t.Parallel()
			group := redistest.StartSentinel(t)
			all := append([]*redistest.Server{group.Primary(), group.Replica()}, group.Sentinels()...)
			testNothingKeepsACallerWaiting(t, group.Client(neverSentinel), met, all...)
		})
	}
	t.Run("no timeouts, from the start", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		testNothingKeepsACallerWaiting(t, server.Client(never), false, server)
	})
}

// neverCluster and neverSentinel are never for the other kinds of client.
func neverCluster(o *redis.ClusterOptions) {
	o.DialTimeout, o.PoolTimeout = time.Hour, time.Hour
	o.ReadTimeout, o.WriteTimeout = -1, -1
	o.MaxRetries, o.MaxRedirects = 10, 100 // go-redis asks for the slots as often when the client is closed
}

func neverSentinel(o *redis.FailoverOptions) {
	o.DialTimeout, o.PoolTimeout = time.Hour, time.Hour
	o.ReadTimeout, o.WriteTimeout = -1, -1
	// Not as many as the others. The sentinels may find the primary missing before it
	// goes on, and have the client's connections cut. go-redis greets on such a
	// connection again and again, half a second apart, and the autopipeliner does it
	// until it is through: Close would be waiting for that.
	o.MaxRetries = 10
}

// met says that the client has had an answer before the servers stop.
func testNothingKeepsACallerWaiting(t *testing.T, client redis.UniversalClient, met bool, servers ...*redistest.Server) {
	cfg := Config{Redis: client, RedisTimeout: 50 * time.Millisecond}
	c := newTestCache(t, cfg)
	w := wrap(t, c, &source{}, Options{OnCold: Wait})
	if met {
		w.get(t.Context(), "a")
	}
	for _, server := range servers {
		server.Pause()
		defer server.Resume() // so that the client's goroutines end, and Close sees it
	}

	// Its own context first, while Redis is still asked.
	ended, cancel := context.WithCancel(t.Context())
	asked := w.begin(ended, "a")
	cancel()
	if o := <-asked; o.err != nil { // else it was answered before
		require.ErrorIs(t, o.err, context.Canceled)
	}
	for range 2 * severalCalls {
		for _, o := range w.burst(t.Context(), 5, "a") {
			require.NoError(t, o.err)
			assert.Contains(t, []Source{SourceComputed, SourceWaited}, o.source)
		}
	}
	require.ErrorIs(t, w.Invalidate(t.Context(), "a"), ErrRedisDown)
	require.ErrorIs(t, w.Refresh(t.Context(), "a"), ErrRedisDown)
	require.ErrorIs(t, c.Ping(t.Context()), ErrRedisDown)
	require.ErrorIs(t, w.Invalidate(ended, "a"), context.Canceled)
	stats := requireIdentity(t, w.Func)
	// A connection that a stopped server accepts, and does not greet, is one that cannot be made.
	known := stats.RedisErrorKinds[KindTimeout] + stats.RedisErrorKinds[KindUnreachable] + stats.RedisErrorKinds[KindPool]
	assert.Equal(t, stats.RedisErrors, known, "%+v", stats)
}
