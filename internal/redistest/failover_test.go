package redistest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterReplicaTakesThePlaceOfItsNode(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	const node = 1 // it has slot 7365, of the key c
	client := cluster.Nodes()[node].Client()
	require.NoError(t, client.Set(t.Context(), "c", "v", 0).Err())
	replica := cluster.AddReplica(t, node)
	require.NoError(t, await(func() error { // it was in sync before; now it has this, too
		if n := replica.Client().DBSize(t.Context()).Val(); n != 1 {
			return errors.New("the key is not there")
		}
		return nil
	}))
	cluster.Nodes()[node].Kill()
	other := replica.Client(impatient)
	require.NoError(t, await(func() error { return other.Set(t.Context(), "c", "new", 0).Err() }))
}

func TestClusterReplicaKnowsWhoVotesForIt(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	replica := cluster.AddReplica(t, 0).Client()
	// The replica is asked once, and immediately, because a primary may be gone a moment later.
	shards, err := replica.ClusterShards(t.Context()).Result()
	require.NoError(t, err)
	var owners int
	for _, shard := range shards {
		owners += min(len(shard.Slots), 1)
	}
	require.Equal(t, primaries, owners, "primaries of which the replica knows the slots: %+v", shards)
}

func TestClusterSlotMovesWithItsKeys(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	require.NoError(t, cluster.Client().Set(t.Context(), "c", "v", 0).Err())
	require.NoError(t, cluster.MigrateSlot(t.Context(), 7365, 1, 2))
	require.Equal(t, "v", cluster.Nodes()[2].Client().Get(t.Context(), "c").Val())
	require.ErrorContains(t, cluster.Nodes()[1].Client().Get(t.Context(), "c").Err(), "MOVED 7365")
}
