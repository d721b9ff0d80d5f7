package fncache

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// This file is about clients of a Redis Cluster: which node has which key, as far as
// that is known, and how it is found out anew.

// A primary is one of a cluster, and a key that it has.
type primary struct {
	client *redis.Client
	probe  string
}

// probesMost is how many keys are tried for one on each primary: enough for one that
// has a single slot.
const probesMost = 16 << 14

// primaries gives those of a cluster, as it is now. go-redis may ask for its nodes for
// longer than ctx allows.
func (s *lockStore) primaries(ctx context.Context, cluster *redis.ClusterClient, probe func(n int) string) ([]primary, error) {
	type answer struct {
		found []primary
		err   error
	}
	answers := make(chan answer, 1)
	s.spawn(func() {
		found, err := primariesOf(ctx, cluster, probe)
		answers <- answer{found, err}
	})
	select {
	case a := <-answers:
		return a.found, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func primariesOf(ctx context.Context, cluster *redis.ClusterClient, probe func(n int) string) (found []primary, err error) {
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
}
