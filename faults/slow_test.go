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
	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

// These tests slow down a part of Redis or of the network: the rest must not be delayed.
// fault_test.go slows down everything.

// through lets a cluster client reach one of the nodes through a network.
func through(way *network, node string) func(*redis.ClusterOptions) {
	return func(o *redis.ClusterOptions) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == node {
				addr = way.addr()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		// With these a call that waits for go-redis waits so long that the test notices it.
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
	for i, key := range undisturbed[:2] { // otherwise a lookup is lost at the slot's former node
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

// The sizes of the test below.
const (
	largeSize   = 4 << 20
	largeAtMost = 20 * time.Second // the value takes 4 s on the narrow link
	smallKeys   = 20
)

// A narrowed is a cache behind a network that a test can narrow. It has one function of small
// values, and one of a large value.
type narrowed struct {
	admin                *redis.Client
	way                  *network
	log                  *logtest.Handler
	small                func(ctx context.Context, id int) (string, error)
	large                func(ctx context.Context, id int) ([]byte, error)
	handle               *fncache.Func // of large
	smallRuns, largeRuns atomic.Int64
}

// newNarrowed returns a cache that has stored all small values.
func newNarrowed(t *testing.T) *narrowed {
	server := redistest.Start(t)
	n := &narrowed{admin: server.Client(), way: newNetwork(t, server.Addr()), log: &logtest.Handler{}}
	client := server.Client(func(o *redis.Options) { o.Addr = n.way.addr() })
	cache, err := fncache.New(fncache.Config{Redis: client, RedisTimeout: redisTimeout, CompressOver: -1, Logger: slog.New(n.log)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cache.Close()) })
	n.small = func(_ context.Context, id int) (string, error) { n.smallRuns.Add(1); return strconv.Itoa(id), nil }
	n.large = func(context.Context, int) ([]byte, error) {
		n.largeRuns.Add(1)
		value := make([]byte, largeSize)
		_, err := rand.Read(value)
		return value, err
	}
	options := fncache.Options{Cache: cache, Timeout: time.Hour, OnCold: fncache.Wait, Lease: longLease}
	options.Name = "faults.Small"
	_, err = fncache.Wrap(&n.small, options)
	require.NoError(t, err)
	options.Name = "faults.Large"
	n.handle, err = fncache.Wrap(&n.large, options)
	require.NoError(t, err)
	for id := range smallKeys {
		_, err := n.small(t.Context(), id)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.admin.DBSize(t.Context()).Val() >= smallKeys && len(locksOf(t, n.admin)) == 0 },
		patience, 5*time.Millisecond, "the small entries are stored")
	return n
}

// callSmall starts callers for small values. stop ends them, and returns their calls and when the
// machine did not run this process.
func (n *narrowed) callSmall() (stop func() ([]record, *pulse)) {
	stopped := make(chan struct{})
	var callersAndPulse sync.WaitGroup
	var watch pulse
	callersAndPulse.Go(func() { watch.beat(stopped) })
	var mu sync.Mutex // guards calls
	var calls []record
	for c := range callers {
		callersAndPulse.Go(func() {
			for i := c; ; i++ {
				select {
				case <-stopped:
					return
				case <-time.After(5 * time.Millisecond): // the callers' pace: the machine is shared
				}
				var info fncache.Info
				r := record{began: time.Now()}
				_, r.err = n.small(fncache.WithInfo(context.Background(), &info), i%smallKeys)
				r.took, r.source = time.Since(r.began), info.Source
				mu.Lock()
				calls = append(calls, r)
				mu.Unlock()
			}
		})
	}
	return func() ([]record, *pulse) {
		close(stopped)
		callersAndPulse.Wait()
		return calls, &watch
	}
}

// A value of some megabytes takes seconds on a narrow link. Its store is sent once.
// Meanwhile small entries are served without delay, and Redis does not count as away.
func TestFaultALargeValueOverANarrowLinkIsStoredOnceAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	n := newNarrowed(t)
	key, err := n.handle.Key(1)
	require.NoError(t, err)
	n.way.poison("bandwidth", "upstream", `"rate": 1024`)
	n.way.poison("bandwidth", "downstream", `"rate": 1024`)
	received := inputBytes(t, n.admin)
	stop := n.callSmall()
	value, err := n.large(t.Context(), 1)
	assert.NoError(t, err)
	assert.Len(t, value, largeSize)
	assert.Eventually(t, func() bool { return n.admin.Exists(context.Background(), key).Val() == 1 }, largeAtMost, 20*time.Millisecond,
		"the large value is stored\nthe cache said:\n%s", n.log)
	assert.Eventually(t, func() bool { return n.handle.Stats().Stored == 1 }, largeAtMost, 20*time.Millisecond,
		"it is known to be stored: %+v", n.handle.Stats())
	time.Sleep(4 * redisTimeout) // a second sending would begin within this time, and no event shows that there is none
	calls, watch := stop()
	n.way.mend()

	sent := inputBytes(t, n.admin) - received
	assert.Less(t, float64(sent), 1.5*largeSize, "the value is sent once\nthe cache said:\n%s", n.log)
	assert.EqualValues(t, 1, n.largeRuns.Load(), "computations of the large value")
	assert.Zero(t, n.handle.Stats().LostLeases)
	assert.EqualValues(t, smallKeys, n.smallRuns.Load(), "computations of the small values")
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
	assert.Zero(t, computed, "calls for small values, of %d, that were not served from the cache", len(calls))
	assert.Zero(t, waited, "calls for small values, of %d, that waited for the large one", len(calls))
	assert.NotContains(t, n.log.String(), "Redis does not answer")
}

func locksOf(t *testing.T, client *redis.Client) (locks []string) {
	t.Helper()
	all, err := client.Keys(t.Context(), "*:lock").Result()
	require.NoError(t, err)
	return all
}

// inputBytes returns how many bytes a server has received.
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
