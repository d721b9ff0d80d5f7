package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A scaleRow is one peer with a number of keys, which are requested at random.
type scaleRow struct {
	Peer        string
	Local       bool
	Keys        int
	Nanoseconds float64 // of wall clock per hit, of all callers together
	HitsPerSec  float64
	// RedisBytes is the size of an entry in Redis, as MEMORY USAGE reports it; 0 if the peer has no
	// entry there.
	RedisBytes float64
	// ProcessBytes is the memory of an entry in this process, measured while the keys grew from
	// the previous number.
	ProcessBytes float64
	// ToBare is the time of a hit divided by that of bare go-redis.
	ToBare float64
}

const (
	scaleCallers = 16
	// warmedUp is the number of other keys that are used before the measurement, so that
	// one-time allocations of a peer do not count for entries.
	warmedUp = 256
)

// scaled returns the peers that scale measures. It leaves out peers whose entries in Redis and
// local tiers are like those of another peer.
func scaled() []peers.Peer[ids] {
	return slices.DeleteFunc(append(peers.Remote[ids](), peers.Near[ids]()...), func(p peers.Peer[ids]) bool {
		return strings.HasPrefix(p.Name, "rueidis") || strings.Contains(p.Name, "typed")
	})
}

// scale lets the keys of all peers grow, and measures at each step.
func (b *bench) scale() ([]scaleRow, error) {
	if err := b.server.Empty(); err != nil {
		return nil, err
	}
	racers := scaled()
	largest := slices.Max(b.scales)
	var cached []*peers.Cached[ids]
	defer func() { closeAll(cached) }()
	for _, peer := range racers {
		site := peers.Site{Addr: b.server.Addr(), Name: "bench", Freshness: timeout, Timeout: timeout, Keys: largest + warmedUp}
		c, err := peer.Open(site, atOnce(tenIDs))
		if err == nil {
			cached = append(cached, c)
			err = peers.Fill(b.server.Addr(), fetch(c), c.Key, peer.Local, largest, largest+warmedUp)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
	}
	var rows []scaleRow
	had := 0
	for _, keys := range b.scales {
		b.progress("%d keys", keys)
		step, err := b.grow(racers, cached, had, keys)
		if err != nil {
			return nil, err
		}
		rows = append(rows, step...)
		had = keys
	}
	return rows, nil
}

// grow fills in the keys from had to keys, and measures.
func (b *bench) grow(racers []peers.Peer[ids], cached []*peers.Cached[ids], had, keys int) ([]scaleRow, error) {
	rows := make([]scaleRow, len(racers))
	for i, peer := range racers {
		before := heap()
		if err := peers.Fill(b.server.Addr(), fetch(cached[i]), cached[i].Key, peer.Local, had, keys); err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
		rows[i] = scaleRow{Peer: peer.Name, Local: peer.Local, Keys: keys}
		if peer.Local {
			rows[i].ProcessBytes = (heap() - before) / float64(keys-had)
		}
		var err error
		if rows[i].RedisBytes, err = redisBytes(b.server.Addr(), cached[i].Key, int64(keys-1)); err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
	}
	draws := measure.Uniform(keys).Draws(1 << 20)
	results, err := race(cell{scaleCallers, "", draws}, racers, cached, measure.Plan{Rounds: b.rounds, Turn: b.turn, KeepGarbage: true})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Nanoseconds = results.Median(i).Nanoseconds
		rows[i].HitsPerSec = 1e9 / rows[i].Nanoseconds
		rows[i].ToBare = results.Ratio(i, 0)
	}
	return rows, nil
}

// heap returns how many bytes are in use in this process.
func heap() float64 {
	runtime.GC()
	runtime.GC() // so that late sweeping counts too
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// redisBytes returns how many bytes an entry takes in the server.
func redisBytes(addr string, keyOf func(int64) (string, error), id int64) (float64, error) {
	if keyOf == nil {
		return 0, nil
	}
	key, err := keyOf(id)
	if err != nil {
		return 0, err
	}
	client := peers.Client(addr)
	defer func() { _ = client.Close() }()
	used, err := client.MemoryUsage(context.Background(), key).Result()
	return float64(used), err
}
