package fncache

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// This file is about clients of a Redis Cluster: which node has which key, as far as
// that is known, and how it is found out anew.

// clustered says whether keys live on several servers.
func (s *lockStore) clustered() bool {
	_, cluster := s.client.(*redis.ClusterClient)
	return cluster
}

// clusterSlots is how many slots a Redis Cluster has.
const clusterSlots = 1 << 14

// clusterSlot is the slot of a key of ours: CRC-16/XMODEM of what stands between
// its braces (Redis Cluster specification, "Key distribution model").
func clusterSlot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if tag, _, ok := strings.Cut(key[open+1:], "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % clusterSlots
}

// masterKnown gives the node that has a key, if a cluster client knows that without
// asking.
func masterKnown(cluster *redis.ClusterClient, key string) (*redis.Client, error) {
	ended, end := context.WithCancel(context.Background())
	end()
	return cluster.MasterForKey(ended, key)
}

// serverOf gives the address of the node of a cluster that has a key, "" if the
// client does not know it without asking.
func (s *lockStore) serverOf(key string) string {
	node, err := masterKnown(s.client.(*redis.ClusterClient), key)
	if err != nil {
		return ""
	}
	return node.Options().Addr
}

// relearn has a cluster client ask again who has which slot, after an operation
// that got no answer. By itself go-redis asks when its own dials and retries are
// over, which is after RedisTimeout has ended them: without this, callers would
// ask a node that is gone long after its replica took its place. go-redis bounds
// how often it asks.
func (s *lockStore) relearn(err error) {
	if cluster, ok := s.client.(*redis.ClusterClient); ok && !refused(err) {
		cluster.ReloadState(context.Background())
	}
}

// A primary is one of a cluster, and a key that it has.
type primary struct {
	client *redis.Client
	probe  string
}

// probesMost is how many keys are tried for one on each primary: enough for one that
// has a single slot.
const probesMost = 16 * clusterSlots

// primaries gives those of a cluster, as it is now.
func (s *lockStore) primaries(ctx context.Context, cluster *redis.ClusterClient, probe func(n int) string) ([]primary, error) {
	return bounded(ctx, s, opPing, "", func(ctx context.Context) (found []primary, err error) {
		var mu sync.Mutex
		missing := map[string]*redis.Client{}
		err = cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			missing[node.Options().Addr] = node
			return nil
		})
		for n := 0; err == nil && n < probesMost && len(missing) > 0; n++ {
			var node *redis.Client
			if node, err = cluster.MasterForKey(ctx, probe(n)); err != nil {
				break
			}
			if addr := node.Options().Addr; missing[addr] != nil {
				found = append(found, primary{node, probe(n)})
				delete(missing, addr)
			}
		}
		return found, err
	}, nil)
}
