package redistest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterServesAllSlotsFromThreePrimaries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cluster := StartCluster(t)
	require.Len(t, cluster.Addrs(), 3)
	client := cluster.Client()
	// One key in each third of the slots: a 15495, b 3300, c 7365.
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, client.Set(ctx, key, "v", 0).Err())
	}
	for i, node := range cluster.Nodes() {
		require.EqualValues(t, 1, node.Client().DBSize(ctx).Val(), "node %d", i)
	}
	err := client.Eval(ctx, `return redis.call('GET', KEYS[2])`, []string{"{a}1", "{b}1"}).Err()
	require.ErrorContains(t, err, "CROSSSLOT")
}

func TestClusterNodeComesBackAsItself(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cluster := StartCluster(t, "--maxmemory", "12345678")
	nodes := cluster.Nodes()
	require.Equal(t, "12345678", nodes[2].Client().ConfigGet(ctx, "maxmemory").Val()["maxmemory"])
	before := nodes[1].Client().ClusterMyID(ctx).Val()
	nodes[1].Restart()
	require.Equal(t, before, nodes[1].Client().ClusterMyID(ctx).Val())
	require.NoError(t, await(func() error { return serves(nodes[1].Client()) }))
}
