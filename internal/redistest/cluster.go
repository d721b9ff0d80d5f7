package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
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

// StartCluster runs a Redis Cluster for this test, and returns when every node knows every slot and
// serves. This takes at least two seconds, because a new primary refuses to serve for that long.
// The arguments are options of redis-server.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	Require(t)
	nodes, err := runCluster(forTest(t), args...)
	if err != nil {
		t.Fatalf("redistest: cluster: %v", err)
	}
	return &Cluster{t: t, nodes: serversOf(t, nodes, false)}
}

var sharedCluster = sync.OnceValues(func() ([]*process, error) { return runCluster(forBinary) })

// SharedCluster is [Shared] with a Redis Cluster.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	Require(t)
	nodes, err := sharedCluster()
	if err != nil {
		t.Fatalf("redistest: cluster: %v", err)
	}
	c := &Cluster{t: t, nodes: serversOf(t, nodes, true)}
	for _, node := range c.nodes {
		node.Flush(t)
	}
	return c
}

func serversOf(t testing.TB, ps []*process, shared bool) []*Server {
	var servers []*Server
	for _, p := range ps {
		servers = append(servers, &Server{t: t, p: p, shared: shared})
	}
	return servers
}

// runCluster is like StartCluster. Its servers may live longer than a test.
func runCluster(run launcher, args ...string) ([]*process, error) {
	var nodes []*process
	var clients []*redis.Client
	var firstBus int
	for i := range primaries {
		var bus int
		node, err := run(nil, func(port int) []string {
			bus = freePort()
			return serverArgs(port, append(clusterArgs(bus), args...)...)
		})
		if err != nil {
			return nil, err
		}
		client := redis.NewClient(&redis.Options{Addr: address(node.port)})
		defer func() { _ = client.Close() }()
		nodes, clients = append(nodes, node), append(clients, client)
		if i == 0 {
			firstBus = bus
		}
	}
	for i, client := range clients {
		if err := joinCluster(client, i, nodes[0].port, firstBus); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nodes, awaitState("the cluster to serve", func() error {
		var errs []error
		for i, client := range clients {
			if err := serves(client); err != nil {
				errs = append(errs, fmt.Errorf("node %d: %w", i, err))
			}
		}
		return errors.Join(errs...)
	}, nodes...)
}

func clusterArgs(bus int) []string {
	return []string{
		"--cluster-enabled", "yes",
		"--cluster-config-file", "nodes.conf",
		"--cluster-port", strconv.Itoa(bus),
		"--cluster-announce-ip", "127.0.0.1",
		// How long a silent node is still trusted: short enough for quick tests of a node's
		// failure, and long enough for a busy machine.
		"--cluster-node-timeout", "2000",
	}
}

// joinCluster gives node i its share of the slots and makes it meet the first one.
func joinCluster(node *redis.Client, i, firstPort, firstBus int) error {
	ctx := context.Background()
	// The nodes get different epochs at the start, because they would resolve equal ones slowly.
	if err := node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
		return err
	}
	if err := node.ClusterAddSlotsRange(ctx, i*slots/primaries, (i+1)*slots/primaries-1).Err(); err != nil {
		return err
	}
	if i == 0 {
		return nil
	}
	return node.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", firstPort, firstBus).Err()
}

// serves returns an error that says why a node does not serve the whole cluster yet.
func serves(node *redis.Client) error {
	err := clusterInfoHas(node, "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", primaries))
	if err := errors.Join(err, knowsAllSlots(node)); err != nil {
		return err
	}
	shards, err := node.ClusterShards(context.Background()).Result()
	if err == nil && len(shards) != primaries {
		err = fmt.Errorf("CLUSTER SHARDS has %d of them", len(shards))
	}
	return err
}

// knowsAllSlots returns an error if a node does not know yet which slots each primary has.
func knowsAllSlots(node *redis.Client) error {
	return clusterInfoHas(node, fmt.Sprintf("cluster_slots_assigned:%d", slots), fmt.Sprintf("cluster_size:%d", primaries))
}

// clusterInfoHas returns an error if CLUSTER INFO of a node lacks one of the texts.
func clusterInfoHas(node *redis.Client, wanted ...string) error {
	info, err := node.ClusterInfo(context.Background()).Result()
	if err != nil {
		return err
	}
	for _, want := range wanted {
		if !strings.Contains(info, want) {
			return fmt.Errorf("CLUSTER INFO has no %s:\n%s", want, info)
		}
	}
	return nil
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

// Client returns a client of the cluster, which is closed when the test ends. Each mut may change
// its options first.
func (c *Cluster) Client(mut ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	opts := &redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true} // so that hooks see everything
	for _, m := range mut {
		m(opts)
	}
	client := redis.NewClusterClient(opts)
	c.t.Cleanup(func() { _ = client.Close() }) // the test may have closed it
	return client
}
