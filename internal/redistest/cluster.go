package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	primaries = 3
	slots     = 16384
)

// A Cluster is a Redis Cluster of three primaries without replicas. It needs
// Redis 7 or later.
type Cluster struct {
	t     testing.TB
	nodes []*Server
}

// StartCluster runs a Redis Cluster for this test, and returns when every node
// knows every slot and serves. This takes two seconds and more, for which a
// new primary refuses to serve. The arguments are options of redis-server.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var clients []*redis.Client
	var buses []int
	for range primaries {
		var bus int
		node := start(t, t.TempDir(), func(port int) []string {
			bus = freePort()
			return serverArgs(port, append(clusterArgs(bus), args...)...)
		})
		c.nodes = append(c.nodes, node)
		clients = append(clients, node.Client())
		buses = append(buses, bus)
	}
	for i, client := range clients {
		if err := c.join(client, i, buses[0]); err != nil {
			t.Fatalf("redistest: cluster node %d: %v", i, err)
		}
	}
	awaitOrFail(t, "the cluster to serve", func() error {
		var errs []error
		for i, client := range clients {
			if err := c.serves(client); err != nil {
				errs = append(errs, fmt.Errorf("node %d: %w", i, err))
			}
		}
		return errors.Join(errs...)
	}, c.nodes...)
	return c
}

func clusterArgs(bus int) []string {
	return []string{
		"--cluster-enabled", "yes",
		"--cluster-config-file", "nodes.conf",
		"--cluster-port", strconv.Itoa(bus),
		"--cluster-announce-ip", "127.0.0.1",
		// How long a silent node is still trusted. Short, so that tests of a
		// node's failure are quick; not so short that a busy machine looks dead.
		"--cluster-node-timeout", "2000",
	}
}

// join gives node i its share of the slots and makes it meet the first one.
func (c *Cluster) join(node *redis.Client, i, firstBus int) error {
	ctx := context.Background()
	// Different epochs from the start: with equal ones the nodes would sort
	// them out between themselves, one by one.
	if err := node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
		return err
	}
	if err := node.ClusterAddSlotsRange(ctx, i*slots/primaries, (i+1)*slots/primaries-1).Err(); err != nil {
		return err
	}
	if i == 0 {
		return nil
	}
	return node.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", c.nodes[0].p.port, firstBus).Err()
}

// serves reports, as an error, what keeps a node from serving the whole cluster.
func (c *Cluster) serves(node *redis.Client) error {
	ctx := context.Background()
	info, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok",
		fmt.Sprintf("cluster_slots_assigned:%d", slots),
		fmt.Sprintf("cluster_known_nodes:%d", primaries),
	} {
		if !strings.Contains(info, want) {
			return fmt.Errorf("CLUSTER INFO has no %s:\n%s", want, info)
		}
	}
	shards, err := node.ClusterShards(ctx).Result()
	if err == nil && len(shards) != primaries {
		err = fmt.Errorf("CLUSTER SHARDS has %d of them", len(shards))
	}
	return err
}

// Nodes returns the servers; node i has the i-th third of the slots.
func (c *Cluster) Nodes() []*Server { return c.nodes }

// Addrs returns the servers' addresses.
func (c *Cluster) Addrs() []string { return addrs(c.nodes) }

func addrs(servers []*Server) []string {
	var out []string
	for _, s := range servers {
		out = append(out, s.Addr())
	}
	return out
}

// Client returns a client of the cluster, closed when the test ends. Each mut
// may change its options first.
func (c *Cluster) Client(mut ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	opts := &redis.ClusterOptions{Addrs: c.Addrs()}
	for _, m := range mut {
		m(opts)
	}
	client := redis.NewClusterClient(opts)
	c.t.Cleanup(func() { _ = client.Close() }) // the test may have closed it
	return client
}
