package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// AddReplica gives node i of a cluster a replica, which takes the node's place a few seconds after
// the node is gone. It returns when the replica is in sync, and the replica and the primaries know
// each other.
func (c *Cluster) AddReplica(t testing.TB, i int) *Server {
	t.Helper()
	ctx := context.Background()
	of := c.nodes[i].Client()
	id, err := of.ClusterMyID(ctx).Result()
	if err != nil {
		t.Fatalf("redistest: replica of node %d: %v", i, err)
	}
	var bus int
	replica := start(t, func(port int) []string {
		bus = freePort()
		return serverArgs(port, clusterArgs(bus)...)
	})
	client := replica.Client()
	// CLUSTER MEET introduces the replica to the others.
	if err := of.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", replica.p.port, bus).Err(); err != nil {
		t.Fatalf("redistest: replica of node %d: %v", i, err)
	}
	err = awaitState("the replica to follow, and the cluster to know", func() error {
		if err := infoHas(client, "replication", "role:slave"); err != nil {
			return errors.Join(err, client.ClusterReplicate(ctx, id).Err())
		}
		if err := infoHas(client, "replication", "master_link_status:up"); err != nil {
			return err
		}
		// The replica must know the other primaries before its own primary goes away. After that no
		// node is left to introduce them, and none of them votes for the replica.
		return errors.Join(knowsAllSlots(client), c.allKnowReplica(replica))
	}, replica.p)
	if err != nil {
		t.Fatalf("redistest: replica of node %d: %v", i, err)
	}
	return replica
}

// allKnowReplica returns an error if a primary does not know that the server is a replica.
func (c *Cluster) allKnowReplica(replica *Server) error {
	for i, node := range c.nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr()})
		nodes, err := client.ClusterNodes(context.Background()).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		known := false
		for line := range strings.Lines(nodes) {
			known = known || strings.Contains(line, fmt.Sprintf(" 127.0.0.1:%d@", replica.p.port)) && strings.Contains(line, "slave")
		}
		if !known {
			return fmt.Errorf("node %d does not know of it:\n%s", i, nodes)
		}
	}
	return nil
}

// MigrateSlot moves a slot, with the keys in it, from one node to another, as redis-cli does.
// Clients continue meanwhile, and are redirected. It returns when all nodes know the new owner.
func (c *Cluster) MigrateSlot(ctx context.Context, slot, from, to int) error {
	source := redis.NewClient(&redis.Options{Addr: c.nodes[from].Addr()})
	target := redis.NewClient(&redis.Options{Addr: c.nodes[to].Addr()})
	defer func() { _, _ = source.Close(), target.Close() }()
	sourceID, err := source.ClusterMyID(ctx).Result()
	if err != nil {
		return err
	}
	targetID, err := target.ClusterMyID(ctx).Result()
	if err != nil {
		return err
	}
	if err := target.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", sourceID).Err(); err != nil {
		return err
	}
	if err := source.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", targetID).Err(); err != nil {
		return err
	}
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, slot, 10).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		for _, key := range keys { // one at a time: clients find some of them here and some there
			err := source.Do(ctx, "MIGRATE", "127.0.0.1", c.nodes[to].p.port, key, 0, 5000).Err()
			if err != nil {
				return err
			}
		}
	}
	// The target first: from then on it is the owner, even if the rest fails.
	for _, node := range []int{to, from, 0, 1, 2} {
		client := redis.NewClient(&redis.Options{Addr: c.nodes[node].Addr()})
		err := client.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", targetID).Err()
		_ = client.Close()
		if err != nil {
			return err
		}
	}
	return await(func() error { return c.allKnowOwner(ctx, slot, targetID) })
}

// allKnowOwner returns an error if a node does not know the owner of a slot by the newest epoch.
// Before all nodes know it, another move of the slot could give its next owner the same epoch. Then
// two nodes take each other for the owner permanently, and redirect clients back and forth.
func (c *Cluster) allKnowOwner(ctx context.Context, slot int, owner string) error {
	for i, node := range c.nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr()})
		nodes, err := client.ClusterNodes(ctx).Result()
		shards, shardsErr := client.ClusterShards(ctx).Result()
		_ = client.Close()
		if err := errors.Join(err, shardsErr); err != nil {
			return err
		}
		if !newestEpoch(nodes, owner) {
			return fmt.Errorf("node %d has not heard of the epoch of %s:\n%s", i, owner, nodes)
		}
		if !hasSlot(shards, int64(slot), owner) {
			return fmt.Errorf("node %d has another owner for slot %d", i, slot)
		}
	}
	return nil
}

// hasSlot reports whether CLUSTER SHARDS assigns a slot to the node.
func hasSlot(shards []redis.ClusterShard, slot int64, id string) bool {
	for _, shard := range shards {
		owns := slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End })
		if owns {
			return slices.ContainsFunc(shard.Nodes, func(n redis.Node) bool { return n.ID == id && n.Role == "master" })
		}
	}
	return false
}

// newestEpoch reports whether a node has a newer epoch than all others, by CLUSTER NODES.
func newestEpoch(nodes, id string) bool {
	var its, others int
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		epoch, _ := strconv.Atoi(fields[6])
		if fields[0] == id {
			its = epoch
		} else {
			others = max(others, epoch)
		}
	}
	return its > others
}
