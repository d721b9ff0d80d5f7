package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A stampede is a burst of calls for one key by several processes, with a function
// that takes a while.
type stampede struct {
	Processes int
	Callers   int // of each process
	Cost      time.Duration
	// Freshness is that of the cached value. In the stale stampede a bit more than this time passes
	// between the storing and the burst. A second is the least that go-redis/cache accepts.
	Freshness time.Duration
}

const timeout = time.Hour // after this a stale value would no longer be served

// A stampedeRow is one peer in a stampede. If the stampede was repeated, the figures are those of
// the run with the median time.
type stampedeRow struct {
	Peer         string
	Computations int
	Commands     int // sent to Redis by the processes
	ByName       map[string]int
	// MostComputations and MostCommands are the greatest numbers of any run.
	MostComputations, MostCommands int
	LastAnswer                     time.Duration // after the burst began
	P50, P99                       time.Duration // how long callers waited
	Answers                        answers
}

// answers counts calls by what they returned.
type answers struct {
	Old     int // the value from before the burst, in the stale stampede
	New     int
	Refused int
	Failed  int
}

func (a *answers) add(b answers) {
	a.Old += b.Old
	a.New += b.New
	a.Refused += b.Refused
	a.Failed += b.Failed
}

// stampede measures every peer that several processes can share.
func (b *bench) stampede(stale bool) ([]stampedeRow, error) {
	repeats := b.repeats
	if stale {
		repeats = max(1, repeats-1) // each waits until the value is stale
	}
	var rows []stampedeRow
	for _, peer := range peers.Fleet[ids]() {
		b.progress("%s", peer.Name)
		var runs []stampedeRow
		for range repeats {
			row, err := b.burst(peer.Name, stale)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", peer.Name, err)
			}
			runs = append(runs, row)
		}
		rows = append(rows, middle(runs))
	}
	return rows, nil
}

// middle returns the run with the median time, and the greatest counts of all runs.
func middle(runs []stampedeRow) stampedeRow {
	slices.SortFunc(runs, func(a, b stampedeRow) int { return int(a.LastAnswer - b.LastAnswer) })
	row := runs[(len(runs)-1)/2]
	for _, run := range runs {
		row.MostComputations = max(row.MostComputations, run.Computations)
		row.MostCommands = max(row.MostCommands, run.Commands)
	}
	return row
}

// burst is one stampede in processes of its own.
func (b *bench) burst(peer string, stale bool) (row stampedeRow, err error) {
	if err := b.server.Empty(); err != nil {
		return row, err
	}
	f, err := startFleet(b.stamped.Processes, order{
		Do: doOpen, Peer: peer, Addr: b.server.Addr(), Cost: b.stamped.Cost, Freshness: b.stamped.Freshness,
	})
	if err != nil {
		return row, err
	}
	defer f.end()
	// Warm up the processes: open connections, load scripts.
	if _, err := f.all(order{Do: doCall, Key: otherKey, Version: oldVersion, Callers: 1}); err != nil {
		return row, err
	}
	if stale {
		if err := b.goStale(f); err != nil {
			return row, err
		}
	}
	var reports []report
	commands, err := b.server.Count(func() error {
		reports, err = f.all(order{Do: doCall, Key: burstKey, Version: newVersion, Callers: b.stamped.Callers, Settle: true})
		return err
	})
	if err != nil {
		return row, err
	}
	return stampedeResult(peer, reports, commands), nil
}

// goStale caches the old value and waits until it is stale. The processes call twice. After the
// second call every process that keeps values of its own has the old value.
func (b *bench) goStale(f *fleet) error {
	for _, settle := range []bool{true, false} {
		if _, err := f.all(order{Do: doCall, Key: burstKey, Version: oldVersion, Callers: 1, Settle: settle}); err != nil {
			return err
		}
	}
	time.Sleep(b.stamped.Freshness + b.stamped.Freshness/5)
	return nil
}

func stampedeResult(peer string, reports []report, commands map[string]int) stampedeRow {
	row := stampedeRow{Peer: peer, ByName: commands}
	for n := range maps.Values(commands) {
		row.Commands += n
	}
	var waits []time.Duration
	for _, r := range reports {
		row.Computations += r.Computations
		row.Answers.add(r.Answers)
		waits = append(waits, r.Waits...)
	}
	row.LastAnswer = slices.Max(waits)
	row.P50, row.P99 = measure.Quantile(waits, 0.5), measure.Quantile(waits, 0.99)
	return row
}
