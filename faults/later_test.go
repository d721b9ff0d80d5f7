package faults

import (
	"bytes"
	"context"
	"runtime/pprof"
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

// These tests let Redis go away while a function computes under a lease. Its value is stored
// later if the lease is still held, and dropped otherwise. The function is held open until the
// fault has begun.

const (
	// shortLease is for tests that wait until it has expired.
	shortLease = 2 * time.Second
	// quick bounds the wait of a caller whose value cannot be stored: the store's own bound,
	// and the delays of a busy machine.
	quick = redisTimeout + 400*time.Millisecond
	// reads is the read timeout of a client in the tests of Close, for a stopped server.
	reads = time.Second
)

// endWithoutRedis lets the function return while Redis is away. Its caller still gets the value
// immediately.
func (p *process) endWithoutRedis(end <-chan result) {
	p.t.Helper()
	var watch pulse
	var beats sync.WaitGroup
	stop := make(chan struct{})
	beats.Go(func() { watch.beat(stop) })
	p.letGo()
	r := p.answer(end)
	took := time.Since(p.goes)
	close(stop)
	beats.Wait()
	require.Equal(p.t, result{value: "1", source: fncache.SourceComputed}, r)
	require.LessOrEqual(p.t, took, quick+watch.missed(p.goes, took), "the caller waited for Redis")
	require.Zero(p.t, p.Stats().Stored)
}

// awaitRetry waits until the store has failed. Retries while Redis is away are neither sent nor
// counted.
func (p *process) awaitRetry() {
	p.t.Helper()
	p.awaitStats("it is tried again", func(s fncache.Stats) bool { return s.RedisErrors >= 1 })
}

// An outage is a fault of Redis while the process mine computes.
type outage struct {
	t           *testing.T
	mine, other *process
	// raw is the server that has the entry after the outage; before is the one that had it at the
	// start.
	raw, before *redis.Client
	begin, end  func()
}

func (o *outage) connect(lease time.Duration, mine, other redis.UniversalClient) {
	run := &atomic.Int64{}
	o.mine, o.other = newProcess(o.t, run, mine, lease), newProcess(o.t, run, other, lease)
}

// aCut is an outage for mine alone: its connection to the server is cut.
func aCut(t *testing.T, lease time.Duration) *outage {
	server := redistest.Start(t)
	way := newNetwork(t, server.Addr())
	o := &outage{t: t, raw: server.Client(), before: server.Client(), begin: way.cut, end: way.mend}
	o.connect(lease, server.Client(func(o *redis.Options) { o.Addr = way.addr() }), server.Client())
	return o
}

func aStop(t *testing.T) *outage {
	server := redistest.Start(t)
	o := &outage{t: t, raw: server.Client(), before: server.Client(), begin: server.Pause, end: server.Resume}
	o.connect(longLease, server.Client(func(o *redis.Options) { o.ReadTimeout = reads }), server.Client())
	return o
}

// anEmptyRestart is an outage that takes lock and entry with it.
func anEmptyRestart(t *testing.T) *outage {
	server := redistest.Start(t)
	o := &outage{t: t, raw: server.Client(), before: server.Client(), begin: server.Kill, end: server.Restart}
	o.connect(longLease, server.Client(), server.Client())
	return o
}

// aStopInACluster stops the one node of a cluster that has the entry.
func aStopInACluster(t *testing.T) *outage {
	cluster := redistest.StartCluster(t)
	o := &outage{t: t}
	o.connect(longLease, cluster.Client(), cluster.Client())
	server := cluster.Nodes()[owner(t, cluster, o.mine.key())]
	o.raw, o.before, o.begin, o.end = server.Client(), server.Client(), server.Pause, server.Resume
	return o
}

// aFailover lets Sentinel promote the replica, which has or lacks the last writes.
func aFailover(t *testing.T, lags bool) *outage {
	group := redistest.StartSentinel(t)
	o := &outage{t: t, raw: group.Replica().Client(), before: group.Primary().Client(), end: func() {}}
	o.begin = func() { o.failOver(lags, group.Primary().Kill) }
	o.connect(longLease, group.Client(), group.Client())
	return o
}

func aFailoverInACluster(t *testing.T) *outage {
	cluster := redistest.StartCluster(t)
	o := &outage{t: t, end: func() {}}
	o.connect(longLease, cluster.Client(), cluster.Client())
	node := owner(t, cluster, o.mine.key())
	o.raw, o.before = cluster.AddReplica(t, node).Client(), cluster.Nodes()[node].Client()
	o.begin = func() { o.failOver(false, cluster.Nodes()[node].Kill) }
	return o
}

// failOver kills the primary once the replica certainly has the lock, or certainly has nothing.
func (o *outage) failOver(lags bool, kill func()) {
	ctx := context.Background()
	// There is no other lock. WAIT does not help here: it waits for writes of its own client.
	require.Eventually(o.t, func() bool { return len(o.raw.Keys(ctx, "fncache:{*:lock").Val()) == 1 }, patience, 5*time.Millisecond,
		"the replica does not have the lock within %v", patience)
	if lags {
		require.NoError(o.t, o.raw.ConfigSet(ctx, "replica-read-only", "no").Err())
		require.NoError(o.t, o.raw.FlushAll(ctx).Err())
	}
	kill()
}

func TestAValueThatRedisDidNotTakeIsStoredLaterWhileTheLeaseIsOurs(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *outage{
		"cut":                   func(t *testing.T) *outage { return aCut(t, longLease) },
		"stopped":               aStop,
		"stopped, in a Cluster": aStopInACluster,
		"Sentinel failover to a replica that has the lock": func(t *testing.T) *outage { return aFailover(t, false) },
		"Cluster failover to a replica that has the lock":  aFailoverInACluster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := start(t)
			end := o.mine.begin(o.before)
			o.begin()
			o.mine.endWithoutRedis(end)
			o.mine.awaitRetry()
			o.end()
			requireStored(t, o.raw, o.mine)
			o.mine.awaitStats("it is counted", func(s fncache.Stats) bool { return s.Stored > 0 })
			assert.EqualValues(t, 1, o.mine.Stats().Stored)
			assert.Zero(t, o.mine.Stats().LostLeases)
			o.other.awaitRedis()
			assert.Equal(t, result{value: "1", source: fncache.SourceFresh}, o.other.get())
			assert.EqualValues(t, 1, o.mine.run.Load(), "runs of the function in total")
		})
	}
}

func TestAValueThatRedisDidNotTakeIsDroppedWhereTheLeaseIsLost(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *outage{
		"restarted empty": anEmptyRestart,
		"Sentinel failover to a replica that has not the lock": func(t *testing.T) *outage { return aFailover(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := start(t)
			end := o.mine.begin(o.before)
			o.begin()
			o.mine.endWithoutRedis(end)
			o.mine.awaitRetry()
			o.end()
			o.other.awaitRedis()
			// This may happen before or after mine has tried again.
			assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, o.other.get())
			o.requireDropped()
		})
	}
}

// requireDropped waits until mine has dropped its value. It checks that the newer value of the
// other is stored, that every process gets it, and that there was no further computation.
func (o *outage) requireDropped() {
	o.t.Helper()
	o.mine.awaitStats("it gives its value up", func(s fncache.Stats) bool { return s.LostLeases > 0 })
	assert.EqualValues(o.t, 1, o.mine.Stats().LostLeases)
	assert.Zero(o.t, o.mine.Stats().Stored)
	requireStored(o.t, o.raw, o.other)
	assert.EqualValues(o.t, 1, o.other.Stats().Stored)
	o.mine.awaitRedis()
	for _, p := range []*process{o.other, o.mine} {
		assert.Equal(o.t, result{value: "2", source: fncache.SourceFresh}, p.get())
	}
	assert.EqualValues(o.t, 2, o.mine.run.Load(), "runs of the function in total")
}

func TestAValueThatRedisDidNotTakeIsDroppedWhenAnotherHasTakenTheLeaseOver(t *testing.T) {
	for name, goesFirst := range map[string]bool{"while it is tried again": true, "before the function returns": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := aCut(t, shortLease)
			end := o.mine.begin(o.before)
			o.begin()
			if goesFirst {
				o.mine.endWithoutRedis(end)
			}
			// It waits until the lease has expired, and computes.
			assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, o.other.get())
			if !goesFirst {
				o.mine.endWithoutRedis(end)
			}
			o.end()
			o.requireDropped()
		})
	}
}

func TestAValueThatRedisDidNotTakeIsDroppedWhenTheKeyIsInvalidated(t *testing.T) {
	t.Parallel()
	o := aCut(t, longLease)
	end := o.mine.begin(o.before)
	o.begin()
	o.mine.endWithoutRedis(end)
	require.NoError(t, o.other.Invalidate(t.Context(), entryArg))
	o.end()
	o.mine.awaitStats("it gives its value up", func(s fncache.Stats) bool { return s.LostLeases > 0 })
	assert.Zero(t, o.raw.Exists(t.Context(), o.mine.key(), o.mine.lock()).Val(), "nothing is stored")
	assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, o.other.get())
	o.requireDropped()
}

// A stopped server has received each sending of the store and the invalidation. When it
// continues it executes them in an order of its own.
func TestAValueThatAStoppedServerStoresLateDoesNotOutliveAnInvalidation(t *testing.T) {
	t.Parallel()
	server, run := redistest.Start(t), &atomic.Int64{}
	raw := server.Client()
	mine := newProcess(t, run, server.Client(), longLease)
	sending := make(chan struct{}, 1)
	hook := &between{do: func() { sending <- struct{}{} }}
	patient := server.Client(func(o *redis.Options) { o.ReadTimeout = patience })
	patient.AddHook(hook)
	other := newProcess(t, run, patient, longLease, func(cfg *fncache.Config) { cfg.RedisTimeout = patience })
	other.awaitRedis() // and has a connection
	end := mine.begin(raw)
	server.Pause()
	mine.endWithoutRedis(end)
	mine.awaitRetry()
	hook.on.Store(true)
	invalidated := make(chan error, 1)
	go func() { invalidated <- other.Invalidate(context.Background(), entryArg) }()
	<-sending
	hook.on.Store(false)
	server.Resume()
	require.NoError(t, <-invalidated)
	mine.awaitStats("it learns the outcome of its store", func(s fncache.Stats) bool { return s.Stored+s.LostLeases > 0 })
	assert.Zero(t, raw.Exists(t.Context(), mine.key(), mine.lock()).Val(), "nothing comes after the invalidation")
	assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, other.get())
	assert.Equal(t, result{value: "2", source: fncache.SourceFresh}, mine.get())
}

func TestCloseWhileAValueWaitsToBeStoredGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	server, run := redistest.Start(t), &atomic.Int64{}
	raw, way := server.Client(), newResetter(t, server.Addr())
	leavesNoGoroutine(t, func() {
		mine := newProcess(t, run, server.Client(func(o *redis.Options) { o.Addr = way.addr() }), longLease)
		way.follow(rule{at: storeScript(t)}) // everything else gets through
		end := mine.begin(raw)
		mine.endWithoutRedis(end)
		// Redis answers here; another test covers a Redis that counts as away.
		require.NoError(t, mine.Invalidate(t.Context(), "nobody calls this"))
		require.NoError(t, mine.cache.Close())
		assert.Zero(t, raw.Exists(t.Context(), mine.key(), mine.lock()).Val(), "the lease was given back, and nothing is stored")
		assert.Zero(t, mine.Stats().Stored)
		other := newProcess(t, run, server.Client(), longLease)
		assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, other.get())
		closeProcesses(t, mine, other)
	})
}

func TestCloseEndsWithoutRedisToo(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *outage{
		"cut":                    func(t *testing.T) *outage { return aCut(t, longLease) },
		"stopped":                aStop,
		"in a Sentinel failover": func(t *testing.T) *outage { return aFailover(t, false) },
		"in a Cluster failover":  aFailoverInACluster,
	} {
		for when, returns := range map[string]bool{"while a value waits to be stored": true, "while the function computes": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				o := start(t)
				leavesNoGoroutine(t, func() {
					end := o.mine.begin(o.before)
					o.begin()
					if returns {
						o.mine.endWithoutRedis(end)
					}
					began := time.Now()
					require.NoError(t, o.mine.cache.Close(), "nothing runs any more")
					assert.Less(t, time.Since(began), 5*time.Second+reads, "the bound that Close is documented to have")
					if !returns {
						require.ErrorIs(t, o.mine.answer(end).err, fncache.ErrClosed)
					}
					closeProcesses(t, o.mine, o.other)
				})
				o.end()
				require.Eventually(t, func() bool { // a replica in a Cluster, as soon as it is the primary
					left, err := o.raw.PTTL(t.Context(), o.mine.lock()).Result()
					return err == nil && (left > 0 || left == -2)
				}, patience, 20*time.Millisecond, "the rest of the lease has an expiry, or it is gone")
			})
		}
	}
}

// leavesNoGoroutine runs a test, and waits until all goroutines that it started have ended,
// also beside other tests: a goroutine inherits the labels of the one that started it.
func leavesNoGoroutine(t *testing.T, test func()) {
	t.Helper()
	label := "test of " + t.Name()
	pprof.Do(context.Background(), pprof.Labels("started by", label), func(context.Context) { test() })
	var left bytes.Buffer
	// This polls, because no event shows that a goroutine has ended.
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		left.Reset()
		_ = pprof.Lookup("goroutine").WriteTo(&left, 1)
		if !strings.Contains(left.String(), label) {
			return
		}
	}
	t.Fatalf("goroutines are left:\n%s", &left)
}
