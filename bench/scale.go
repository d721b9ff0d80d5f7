package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A scaleRow is one peer with a number of keys, asked for at random.
type scaleRow struct {
	Peer        string
	Local       bool
	Keys        int
	Nanoseconds float64 // of wall clock per hit, of all callers together
	HitsPerSec  float64
	// RedisBytes and ProcessBytes are what an entry takes, there and here; as
	// the keys grew to their number from the one before. Where fncache has a local
	// tier its entries in Redis are those that fncache without one has already.
	RedisBytes   float64
	ProcessBytes float64
	// ToBare is how many times as long as with bare go-redis a hit takes.
	ToBare float64
}

const scaleCallers = 16

// scaled are the peers that scale measures: those with bytes of their own in
// Redis, and those with a local tier of their own.
func scaled() []peers.Peer[ids] {
	return slices.DeleteFunc(append(peers.Remote[ids](), peers.Near[ids]()...), func(p peers.Peer[ids]) bool {
		return strings.HasPrefix(p.Name, "rueidis") || strings.Contains(p.Name, "typed") || p.Name == peers.FncachePipelined
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
		site := peers.Site{Addr: b.server.Addr(), Name: "bench", Freshness: timeout, Timeout: timeout, Keys: largest}
		c, err := peer.Open(site, atOnce(tenIDs))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
		cached = append(cached, c)
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
		redisBefore, err := redisMemory(b.server.Addr())
		if err != nil {
			return nil, err
		}
		heapBefore := heap()
		if err := peers.Fill(b.server.Addr(), fetch(cached[i]), cached[i].Key, peer.Local, had, keys); err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
		redisAfter, err := redisMemory(b.server.Addr())
		if err != nil {
			return nil, err
		}
		rows[i] = scaleRow{Peer: peer.Name, Local: peer.Local, Keys: keys, RedisBytes: (redisAfter - redisBefore) / float64(keys-had)}
		if peer.Local {
			rows[i].ProcessBytes = (heap() - heapBefore) / float64(keys-had)
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
	runtime.GC() // what has been swept late
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// redisMemory returns how many bytes the server's data takes.
func redisMemory(addr string) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := peers.Client(addr)
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	used, err := field(info, "used_memory")
	if err != nil {
		return 0, err
	}
	clients, err := field(info, "mem_clients_normal") // buffers, which come and go
	return used - clients, err
}

// field returns a number from what INFO says.
func field(info, name string) (float64, error) {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("INFO has no %s", name)
}
