package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A warmRow is one peer in one cell of the warm workloads, in which everything is cached.
type warmRow struct {
	Peer        string
	Shared      bool // callers share memory
	Value       string
	Callers     int
	Keys        string
	Nanoseconds float64 // of wall clock per hit, of all callers together
	Allocs      float64 // per hit
	Bytes       float64 // allocated per hit
	// Ratio is the time of a hit divided by that of each other peer: the median over the pairs of
	// one round.
	Ratio map[string]float64
}

// A cell is a load at which the peers are compared.
type cell struct {
	callers int
	keys    string
	draws   []int64
}

// The names of the workloads.
const (
	tenValue  = "10 int64"
	bookValue = "700-byte struct"
	pageValue = "64 KiB"

	oneKey     = "one key"
	manyKeys   = "10,000 keys" // fewer for values of 64 KiB, to save memory
	popularity = "popularity"
)

// cells returns a cell for each of two numbers of callers and three choices of keys.
func (b *bench) cells(keys int) []cell {
	many := strings.TrimPrefix(fmt.Sprintf("%d,%03d keys", keys/1000, keys%1000), "0,")
	popular := b.popularity.Draws(b.draws)
	for i := range popular {
		popular[i] %= int64(keys)
	}
	var all []cell
	for _, callers := range []int{1, 128} {
		all = append(all,
			cell{callers, oneKey, []int64{0}},
			cell{callers, many, measure.Uniform(keys).Draws(b.draws)},
			cell{callers, popularity, popular})
	}
	return all
}

// warm measures hits of the peers that ask Redis, or of those with a local tier. Bare go-redis is
// always among them.
func (b *bench) warm(near bool) ([]warmRow, error) {
	ten, err := warmOf(b, near, tenValue, b.keys, tenIDs)
	if err != nil {
		return nil, err
	}
	books, err := warmOf(b, near, bookValue, b.keys, aBook)
	if err != nil {
		return nil, err
	}
	pages, err := warmOf(b, near, pageValue, min(b.keys, 1000), aPage)
	return append(append(ten, books...), pages...), err
}

func warmOf[V any](b *bench, near bool, value string, keys int, make func(int64) V) ([]warmRow, error) {
	racers := peers.Remote[V]()
	if near {
		racers = append(racers[:1:1], peers.Near[V]()...)
	}
	cached, err := openAll(b, racers, keys, make)
	if err != nil {
		return nil, err
	}
	defer closeAll(cached)
	var rows []warmRow
	for _, cell := range b.cells(keys) {
		b.progress("%s, %d callers, %s", value, cell.callers, cell.keys)
		results, err := race(cell, racers, cached, measure.Plan{Rounds: b.rounds, Turn: b.turn})
		if err != nil {
			return nil, fmt.Errorf("%s, %d callers, %s: %w", value, cell.callers, cell.keys, err)
		}
		rows = append(rows, warmRows(value, cell, racers, results)...)
	}
	return rows, nil
}

// openAll opens the peers and fills them.
func openAll[V any](b *bench, racers []peers.Peer[V], keys int, make func(int64) V) ([]*peers.Cached[V], error) {
	if err := b.server.Empty(); err != nil {
		return nil, err
	}
	var all []*peers.Cached[V]
	for _, peer := range racers {
		site := peers.Site{Addr: b.server.Addr(), Name: "bench", Freshness: time.Hour, Timeout: time.Hour, Keys: keys}
		cached, err := peer.Open(site, atOnce(make))
		if err == nil {
			all = append(all, cached)
			err = peers.Fill(b.server.Addr(), fetch(cached), cached.Key, peer.Local, 0, keys)
		}
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
	}
	return all, nil
}

func closeAll[V any](all []*peers.Cached[V]) {
	for _, cached := range all {
		cached.Close()
	}
}

// fetch calls a cached function for its side effects.
func fetch[V any](cached *peers.Cached[V]) func(id int64) error {
	return func(id int64) error {
		_, err := cached.Get(context.Background(), id)
		return err
	}
}

func race[V any](cell cell, racers []peers.Peer[V], cached []*peers.Cached[V], plan measure.Plan) (measure.Results, error) {
	runners := make([]measure.Runner, len(racers))
	for i, c := range cached {
		call := fetch(c)
		runners[i] = measure.Runner{Name: racers[i].Name, Call: func(i int) error {
			return call(cell.draws[i%len(cell.draws)])
		}}
	}
	plan.Callers = cell.callers
	return measure.Race(plan, runners)
}

func warmRows[V any](value string, cell cell, racers []peers.Peer[V], results measure.Results) []warmRow {
	rows := make([]warmRow, len(racers))
	for i, peer := range racers {
		sample := results.Median(i)
		rows[i] = warmRow{
			Peer: peer.Name, Shared: peer.Shared, Value: value, Callers: cell.callers, Keys: cell.keys,
			Nanoseconds: sample.Nanoseconds, Allocs: sample.Allocs, Bytes: sample.Bytes,
			Ratio: map[string]float64{},
		}
		for other, otherPeer := range racers {
			if other != i {
				rows[i].Ratio[otherPeer.Name] = results.Ratio(i, other)
			}
		}
	}
	return rows
}

// label returns the peer's name, with a mark if its callers share memory.
func (row warmRow) label() string {
	if row.Shared {
		return row.Peer + "*"
	}
	return row.Peer
}

const sharedNote = "* callers are given the same memory, not a value of their own"

// fastest returns the fastest of the rows of one cell. It leaves out fncache, and, unless shared is
// true, peers whose callers share memory.
func fastest(rows []warmRow, shared bool) warmRow {
	best := warmRow{Nanoseconds: math.Inf(1)}
	for _, row := range rows {
		if !ours(row.Peer) && (shared || !row.Shared) && row.Nanoseconds < best.Nanoseconds {
			best = row
		}
	}
	return best
}
