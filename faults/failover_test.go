package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/redistest"
)

// policies are the options under which each failover is played.
var policies = []struct {
	name   string
	is     fncache.DownPolicy
	allows func(error) bool
}{
	{"DownCompute", fncache.DownCompute, noErrors},
	{"DownError", fncache.DownError, redisDown},
}

func TestFaultSentinelFailover(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.name, func(t *testing.T) {
			t.Parallel()
			group := redistest.StartSentinel(t)
			fleet := newFleet(t, plan{policy: policy.is, connect: func() redis.UniversalClient { return group.Client() }})
			lost := fleet.watch.losing() // the replica may lag
			group.Primary().Kill()
			lost()
			fleet.watch.forget()
			if policy.is == fncache.DownError {
				fleet.awaitRefusals(fncache.KindUnreachable, keys...)
			}
			fleet.awaitAnswers("while the primary is away")
			fleet.awaitCaching("after the failover")
			fleet.check(policy.allows, group.Replica().Client())
		})
	}
}

func TestFaultSentinelFailoverOfAPrimaryThatHangsAndComesBack(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t)
	fleet := newFleet(t, plan{connect: func() redis.UniversalClient { return group.Client() }})
	lost := fleet.watch.losing() // while there are two primaries, each may grant a lease
	group.Primary().Pause()
	fleet.awaitAnswers("while the primary hangs")
	fleet.awaitCaching("after the failover")
	// The old server considers itself the primary until a sentinel demotes it. Clients that
	// still talk to it must find the new one.
	group.Primary().Resume()
	fleet.awaitCaching("with the old primary back")
	lost()
	fleet.watch.forget() // what was recorded while there were two primaries
	fleet.check(noErrors, group.Replica().Client())
}

func TestFaultClusterFailover(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			fleet := newFleet(t, plan{policy: policy.is, connect: func() redis.UniversalClient { return cluster.Client() }})
			key := keys[0]
			node := owner(t, cluster, fleet.stored(key))
			replica := cluster.AddReplica(t, node)
			lost := fleet.watch.losing() // the replica may lag
			cluster.Nodes()[node].Kill()
			lost()
			fleet.watch.forget()
			if policy.is == fncache.DownError {
				// The other keys are on nodes that run.
				fleet.awaitRefusals(fncache.KindUnreachable, key)
			}
			fleet.awaitAnswers("while a primary is away")
			fleet.awaitCaching("after the failover")
			raw := []*redis.Client{replica.Client()}
			for i, server := range cluster.Nodes() {
				if i != node {
					raw = append(raw, server.Client())
				}
			}
			fleet.check(policy.allows, raw...)
		})
	}
}

func TestFaultClusterSlotsMigrateUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	fleet := newFleet(t, plan{pace: invalidationPace, connect: func() redis.UniversalClient { return cluster.Client() }})
	for _, key := range keys {
		stored := fleet.stored(key)
		from := owner(t, cluster, stored)
		slot := slotOf(t, cluster, stored)
		for range 3 { // around the nodes, and back
			to := (from + 1) % len(cluster.Nodes())
			require.NoError(t, cluster.MigrateSlot(t.Context(), slot, from, to))
			from = to
		}
	}
	fleet.awaitCaching("after the migrations")
	fleet.checkNothingForgotten() // a node that has never run the script has not forgotten it
	var raw []*redis.Client
	for _, server := range cluster.Nodes() {
		raw = append(raw, server.Client())
	}
	fleet.check(noErrors, raw...)
}

// stored returns the Redis key of an entry.
func (f *fleet) stored(key string) string {
	f.t.Helper()
	stored, err := f.members[0].handle.Key(key)
	require.NoError(f.t, err)
	return stored
}

func slotOf(t *testing.T, cluster *redistest.Cluster, key string) int {
	slot, err := cluster.Nodes()[0].Client().ClusterKeySlot(context.Background(), key).Result()
	require.NoError(t, err)
	return int(slot)
}

// owner returns the node of the cluster that serves a key.
func owner(t *testing.T, cluster *redistest.Cluster, key string) (node int) {
	t.Helper()
	node = -1
	require.Eventually(t, func() bool {
		for i, server := range cluster.Nodes() {
			err := server.Client().Exists(context.Background(), key).Err()
			if err == nil {
				node = i
				return true
			}
			require.True(t, strings.HasPrefix(err.Error(), "MOVED"), err)
		}
		return false
	}, patience, 10*time.Millisecond)
	return node
}
