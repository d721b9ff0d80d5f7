package faults

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/redistest"
)

// This file is about a part of Redis, or of the way to it, that is slow: the rest must
// not be held up. What is slow as a whole is in fault_test.go.

// through has a cluster client find one of the nodes through a network.
func through(way *network, node string) func(*redis.ClusterOptions) {
	return func(o *redis.ClusterOptions) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == node {
				addr = way.addr()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		// Who waited for that would be seen waiting.
		o.ReadTimeout, o.WriteTimeout, o.DialTimeout, o.PoolTimeout = time.Minute, time.Minute, time.Minute, time.Minute
	}
}

func TestFaultOneNodeOfAClusterIsSlow(t *testing.T) {
	for name, by := range map[string]time.Duration{"0.5x": redisTimeout / 2, "1.5x": redisTimeout * 3 / 2, "2x": redisTimeout * 2} {
		t.Run("answers after "+name+" RedisTimeout", func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			node := cluster.Nodes()[0].Addr()
			way := newNetwork(t, node)
			fleet := newFleet(t, plan{connect: func() redis.UniversalClient { return cluster.Client(through(way, node)) }})
			slow, quick := fleet.spread(cluster)
			begun := time.Now()
			way.poison("latency", "downstream", `"latency": `+strconv.FormatInt(by.Milliseconds(), 10))
			fleet.awaitLeases("on the other nodes", quick)
			fleet.awaitCallsAfter(begun.Add(foundOut))
			fleet.checkLeased(begun, quick)
			if by < redisTimeout {
				fleet.awaitLeases("on the slow node", slow)
				fleet.checkLeased(begun, slow)
			}
			healed := time.Now()
			way.mend()
			fleet.awaitCaching("after the fault")
			var raw []*redis.Client
			for _, server := range cluster.Nodes() {
				raw = append(raw, server.Client())
			}
			fleet.check(noErrors, raw...)
			if by < redisTimeout {
				return
			}
			fleet.checkNoWait(begun.Add(foundOut), healed, slow)
			fleet.checkNoWait(begun, healed, quick)
		})
	}
}

// spread moves slots until the first key is on node 0 and the second one is not.
func (f *fleet) spread(cluster *redistest.Cluster) (first, second string) {
	f.t.Helper()
	for i, key := range undisturbed {
		stored := f.stored(key)
		if from := owner(f.t, cluster, stored); (from == 0) != (i == 0) {
			require.NoError(f.t, cluster.MigrateSlot(f.t.Context(), slotOf(f.t, cluster, stored), from, i))
		}
	}
	f.awaitCaching("after the migrations")
	for i, key := range undisturbed[:2] { // else a lookup is lost with the node that the slot has left
		for _, m := range f.members {
			client := m.client.(*redis.ClusterClient)
			require.Eventually(f.t, func() bool {
				client.ReloadState(f.t.Context())
				node, err := client.MasterForKey(f.t.Context(), f.stored(key))
				return err == nil && (node.Options().Addr == cluster.Nodes()[0].Addr()) == (i == 0)
			}, patience, 50*time.Millisecond, "client %d does not learn who has the slot of %s", m.number, key)
		}
	}
	return undisturbed[0], undisturbed[1]
}

// A value of some megabytes takes seconds on its way over a narrow link. Its store is
// sent once; beside it small entries are served as ever, and nobody takes Redis for away.
func TestFaultALargeValueOverANarrowLinkIsStoredOnceAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	const (
		size = 4 << 20
		most = 20 * time.Second // that the value takes, which is 4 s on its way
	)
	server := redistest.Start(t)
	way := newNetwork(t, server.Addr())
	log := &memory{}
	client := server.Client(func(o *redis.Options) { o.Addr = way.addr() })
	cache, err := fncache.New(fncache.Config{Redis: client, RedisTimeout: redisTimeout, CompressOver: -1, Logger: slog.New(log)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cache.Close()) })
	var smallRuns, largeRuns atomic.Int64
	small := func(_ context.Context, id int) (string, error) { smallRuns.Add(1); return strconv.Itoa(id), nil }
	large := func(context.Context, int) ([]byte, error) {
		largeRuns.Add(1)
		value := make([]byte, size)
		_, err := rand.Read(value)
		return value, err
	}
	options := fncache.Options{Cache: cache, Timeout: time.Hour, OnCold: fncache.Wait, Lease: longLease}
	options.Name = "faults.Small"
	_, err = fncache.Wrap(&small, options)
	require.NoError(t, err)
	options.Name = "faults.Large"
	handle, err := fncache.Wrap(&large, options)
	require.NoError(t, err)
	const smallKeys = 20
	for id := range smallKeys {
		_, err := small(t.Context(), id)
		require.NoError(t, err)
	}
	key, err := handle.Key(1)
	require.NoError(t, err)
	admin := server.Client()
	require.Eventually(t, func() bool { return admin.DBSize(t.Context()).Val() >= smallKeys && len(locksOf(t, admin)) == 0 },
		patience, 5*time.Millisecond, "the small entries are stored")

	way.poison("bandwidth", "upstream", `"rate": 1024`)
	way.poison("bandwidth", "downstream", `"rate": 1024`)
	received := inputBytes(t, admin)
	stop := make(chan struct{})
	var beside sync.WaitGroup
	var watch pulse
	beside.Go(func() { watch.beat(stop) })
	var mu sync.Mutex // guards calls
	var calls []record
	for c := range callers {
		beside.Go(func() {
			for i := c; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				var info fncache.Info
				r := record{began: time.Now()}
				_, r.err = small(fncache.WithInfo(context.Background(), &info), i%smallKeys)
				r.took, r.source = time.Since(r.began), info.Source
				mu.Lock()
				calls = append(calls, r)
				mu.Unlock()
			}
		})
	}
	value, err := large(t.Context(), 1)
	assert.NoError(t, err)
	assert.Len(t, value, size)
	assert.Eventually(t, func() bool { return admin.Exists(context.Background(), key).Val() == 1 }, most, 20*time.Millisecond,
		"the large value is stored\nthe cache said:\n%s", log)
	assert.Eventually(t, func() bool { return handle.Stats().Stored == 1 }, most, 20*time.Millisecond, "it is known to be stored: %+v", handle.Stats())
	time.Sleep(4 * redisTimeout) // what would be sent again is sent again now
	close(stop)
	beside.Wait()
	way.mend()

	sent := inputBytes(t, admin) - received
	assert.Less(t, float64(sent), 1.5*size, "the value is sent once\nthe cache said:\n%s", log)
	assert.EqualValues(t, 1, largeRuns.Load(), "computations of the large value")
	assert.Zero(t, handle.Stats().LostLeases)
	assert.EqualValues(t, smallKeys, smallRuns.Load(), "computations of the small values")
	require.NotEmpty(t, calls)
	computed, waited := 0, 0
	for _, r := range calls {
		require.NoError(t, r.err)
		if r.source != fncache.SourceFresh {
			computed++
		}
		if r.took >= redisTimeout+watch.missed(r.began, r.took) {
			waited++
		}
	}
	assert.Zero(t, computed, "calls for small values, of %d, that were not served what is cached", len(calls))
	assert.Zero(t, waited, "calls for small values, of %d, that waited for the large one", len(calls))
	assert.NotContains(t, log.String(), "Redis does not answer")
}

func locksOf(t *testing.T, client *redis.Client) (locks []string) {
	t.Helper()
	all, err := client.Keys(t.Context(), "*:lock").Result()
	require.NoError(t, err)
	return all
}

// inputBytes gives how many bytes a server has received.
func inputBytes(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	info, err := client.Info(t.Context(), "stats").Result()
	require.NoError(t, err)
	_, rest, found := strings.Cut(info, "total_net_input_bytes:")
	require.True(t, found, info)
	line, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseInt(line, 10, 64)
	require.NoError(t, err)
	return n
}
