package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/remote"
)

// Cached entries are served while scripts fail: on a server that pauses writes, as for a
// failover, and on a replica whose primary hangs.
func TestScriptsThatFailDoNotKeepEntriesFromBeingServed(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) (client redis.UniversalClient, stop, resume func(key string)){
		"writes are paused": func(t *testing.T) (redis.UniversalClient, func(string), func(string)) {
			server := redistest.Start(t)
			admin := server.Client()
			return server.Client(),
				func(string) { require.NoError(t, admin.Do(t.Context(), "CLIENT", "PAUSE", 60_000, "WRITE").Err()) },
				func(string) { require.NoError(t, admin.Do(t.Context(), "CLIENT", "UNPAUSE").Err()) }
		},
		"reads from replicas": readsFromReplicas,
	} {
		t.Run(name, func(t *testing.T) {
			inOneForm(t, func(t *testing.T) {
				client, stop, resume := start(t)
				testScriptsThatFailDoNotKeepEntriesFromBeingServed(t, client, stop, resume)
			})
		})
	}
}

func testScriptsThatFailDoNotKeepEntriesFromBeingServed(t *testing.T, client redis.UniversalClient, stop, resume func(key string)) {
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logtest.Handler{})})
	w := wrap(t, c, &source{}, Options{Freshness: time.Hour, Timeout: 2 * time.Hour})
	key, err := w.Key("kept")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.get(t.Context(), "kept").source == SourceFresh }, 30*time.Second, 10*time.Millisecond)
	var cold []string // on the same node
	for i := 0; len(cold) < 20; i++ {
		arg := fmt.Sprint(i)
		if other, err := w.Key(arg); err == nil && sameNode(t, client, key, other) {
			cold = append(cold, arg)
		}
	}
	stop(key)
	for i, arg := range cold {
		o := w.get(t.Context(), arg)
		require.NoError(t, o.err)
		assert.Equal(t, SourceComputed, o.source)
		require.Equal(t, SourceFresh, w.get(t.Context(), "kept").source, "call %d", i)
	}
	assert.NotZero(t, w.Stats().RedisErrors)
	assert.LessOrEqual(t, w.Stats().RedisErrors, uint64(severalCalls), "scripts are not sent any more")
	resume(key)
	require.Eventually(t, func() bool {
		return w.get(t.Context(), cold[0]).source == SourceFresh
	}, 60*time.Second, 10*time.Millisecond, "when writes are answered, results are stored again")
}

// readsFromReplicas is a Cluster whose client reads from replicas. The node of a key hangs,
// and no replica takes its place.
func readsFromReplicas(t *testing.T) (client redis.UniversalClient, stop, resume func(key string)) {
	cluster := redistest.StartCluster(t)
	servers := cluster.Nodes()
	for i := range cluster.Nodes() {
		servers = append(servers, cluster.AddReplica(t, i))
	}
	for _, server := range servers {
		admin := server.Client()
		require.NoError(t, admin.ConfigSet(t.Context(), "cluster-replica-no-failover", "yes").Err())
		require.NoError(t, admin.ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err())
		require.NoError(t, admin.ConfigSet(t.Context(), "cluster-node-timeout", "600000").Err())
	}
	ofCluster := cluster.Client(func(o *redis.ClusterOptions) { o.ReadOnly = true })
	node := func(key string) *redistest.Server {
		master, err := ofCluster.MasterForKey(t.Context(), key)
		require.NoError(t, err)
		for _, server := range cluster.Nodes() {
			if server.Addr() == master.Options().Addr {
				return server
			}
		}
		t.Fatal("the key is of no node")
		return nil
	}
	for _, server := range servers { // each node that the client may ask lists the replicas
		admin := server.Client()
		require.Eventually(t, func() bool {
			shards, err := admin.ClusterShards(t.Context()).Result()
			// A replica that has heard nothing of its primary yet is not listed to clients.
			return err == nil && len(shards) > 0 && !slices.ContainsFunc(shards, func(s redis.ClusterShard) bool {
				return len(s.Nodes) < 2 || slices.ContainsFunc(s.Nodes, func(n redis.Node) bool { return n.Health != "online" })
			})
		}, time.Minute, 50*time.Millisecond, "a node does not list the replicas")
	}
	require.Eventually(t, func() bool { // the client knows a replica of each node
		for _, key := range []string{"a", "b", "c"} {
			master, err := ofCluster.MasterForKey(t.Context(), key)
			require.NoError(t, err)
			if replica, err := ofCluster.SlaveForKey(t.Context(), key); err != nil || replica == master {
				ofCluster.ReloadState(t.Context())
				return false
			}
		}
		return true
	}, 30*time.Second, 50*time.Millisecond)
	return ofCluster, func(key string) { node(key).Pause() }, func(key string) { node(key).Resume() }
}

// sameNode reports whether one server serves both keys.
func sameNode(t *testing.T, client redis.UniversalClient, a, b string) bool {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return true
	}
	nodeA, err := cluster.MasterForKey(t.Context(), a)
	require.NoError(t, err)
	nodeB, err := cluster.MasterForKey(t.Context(), b)
	require.NoError(t, err)
	return nodeA == nodeB
}

// After a failover behind a DNS name, a client still has connections to the old server. Probing
// uses them up.
func TestConnectionsToAReplicaAreUsedUpByProbing(t *testing.T) {
	old, next := redistest.Start(t), redistest.Start(t)
	var moved atomic.Bool
	const pool = 20
	client := old.Client(func(o *redis.Options) {
		o.PoolSize, o.MinIdleConns, o.MaxRetries = pool, pool, -1
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			to := old.Addr()
			if moved.Load() {
				to = next.Addr()
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		}
	})
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logtest.Handler{})})
	require.Eventually(t, func() bool { return client.PoolStats().IdleConns == pool }, 30*time.Second, time.Millisecond)
	ask := func() error {
		always := remote.Limits{Always: true} // as a probe, but at once
		return c.Remote().Do(t.Context(), remote.Eval("probe", remote.Writes, remote.NewScript(string(must(os.ReadFile("lock_probe.lua")))), []string{"k"}, nil, always))
	}
	require.NoError(t, ask())
	require.NoError(t, old.Client().Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	moved.Store(true)
	const ofOneProbe = 4 // connections
	var err error
	for range pool/ofOneProbe + 1 {
		if err = ask(); err == nil {
			assert.False(t, c.Health().Nodes[0].Away)
			return
		}
		require.Equal(t, KindReadOnly, KindOf(err), "%v", err)
	}
	t.Fatalf("it still asks the old one: %v", err)
}
