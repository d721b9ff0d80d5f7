package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// results is all of a run; as JSON it is results.json. Durations are in
// nanoseconds.
type results struct {
	About         aboutRun
	Aims          []aim
	WarmRemote    []warmRow
	WarmNear      []warmRow
	ColdStampede  []stampedeRow
	StaleStampede []stampedeRow
	Storm         []stormRow
	Scale         []scaleRow
}

// aboutRun says what was run where.
type aboutRun struct {
	Command    string
	Go         string
	Cores      int
	Modules    map[string]string
	Popularity string
	Settings   map[string]any
}

// measuredModules are those whose versions matter.
var measuredModules = []string{
	"github.com/redis/go-redis/v9", "github.com/go-redis/cache/v9", "github.com/redis/rueidis",
	"github.com/redis/rueidis/rueidisaside", "github.com/viccon/sturdyc", "github.com/maypok86/otter/v2",
}

func about(args []string, b *bench) aboutRun {
	a := aboutRun{
		Command:    measure.CommandLine("go -C bench run .", args),
		Go:         runtime.Version(),
		Cores:      runtime.GOMAXPROCS(0),
		Modules:    map[string]string{},
		Popularity: b.popularity.Origin,
		Settings: map[string]any{
			"keys": b.keys, "rounds": b.rounds, "turn": b.turn.String(), "repeats": b.repeats,
			"stampede": b.stamped, "storm": b.stormy,
		},
	}
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		for _, name := range measuredModules {
			if module.Path == name {
				a.Modules[name] = module.Version
			}
		}
	}
	return a
}

// ours tells fncache from its peers.
func ours(peer string) bool { return strings.HasPrefix(peer, "fncache") }

func (r *results) json() ([]byte, error) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetIndent("", "  ")
	err := lines.Encode(r)
	return b.Bytes(), err
}

// An aim is what is claimed, and whether this run shows it.
type aim struct {
	What     string
	Limit    float64
	Measured float64
	AtLeast  bool // Measured is to be at least Limit; else at most
	Met      bool
}

func atMost(what string, limit, measured float64) aim {
	return aim{What: what, Limit: limit, Measured: measured, Met: measured <= limit}
}

func atLeast(what string, limit, measured float64) aim {
	return aim{What: what, Limit: limit, Measured: measured, AtLeast: true, Met: measured >= limit}
}

func (a aim) String() string {
	sign, verdict := "<=", "met"
	if a.AtLeast {
		sign = ">="
	}
	if !a.Met {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-6s  %s: %.3g, aim %s %.3g", verdict, a.What, a.Measured, sign, a.Limit)
}

// judge compares what was measured with what is aimed at.
func (r *results) judge() {
	r.Aims = append(r.Aims, aimsOfRemote(r.WarmRemote)...)
	r.Aims = append(r.Aims, aimsOfNear(r.WarmNear)...)
	for _, row := range r.ColdStampede {
		if ours(row.Peer) {
			r.Aims = append(r.Aims,
				atMost("cold stampede, "+row.Peer+": computations", 1, float64(row.Computations)),
				atMost("cold stampede, "+row.Peer+": Redis commands", 30, float64(row.Commands)))
		}
	}
	for _, row := range r.Storm {
		if ours(row.Peer) {
			r.Aims = append(r.Aims, atMost("storm, "+row.Peer+": reads 50 ms stale", 0, float64(row.Late)))
		}
	}
}

// at keeps the rows of one cell. Empty keys mean any.
func at(rows []warmRow, value string, callers int, keys string) []warmRow {
	var kept []warmRow
	for _, row := range rows {
		if row.Value == value && row.Callers == callers && row.Keys == keys {
			kept = append(kept, row)
		}
	}
	return kept
}

func find(rows []warmRow, peer string) (warmRow, bool) {
	for _, row := range rows {
		if row.Peer == peer {
			return row, true
		}
	}
	return warmRow{}, false
}

func aimsOfRemote(rows []warmRow) (aims []aim) {
	if row, ok := find(at(rows, tenValue, 1, oneKey), peers.Fncache); ok {
		aims = append(aims, atMost("remote hit, 1 caller: time, x "+peers.Bare, 1.05, row.Ratio[peers.Bare]))
	}
	stormed := at(rows, tenValue, 128, oneKey)
	if row, ok := find(stormed, peers.Fncache); ok {
		best, own := fastest(stormed, true).Peer, fastest(stormed, false).Peer
		aims = append(aims,
			atMost("remote hit, 128 callers, one key: time, x fastest peer ("+best+")", 1, row.Ratio[best]),
			atMost("remote hit, 128 callers, one key: time, x fastest peer that shares no memory ("+own+")", 1, row.Ratio[own]))
	}
	if row, ok := find(at(rows, tenValue, 128, manyKeys), peers.FncachePipelined); ok {
		aims = append(aims, atLeast("remote hit, 128 callers, 10,000 keys, AutoPipeline: throughput, x "+peers.Bare, 2, 1/row.Ratio[peers.Bare]))
	}
	return aims
}

func aimsOfNear(rows []warmRow) (aims []aim) {
	cell := at(rows, tenValue, 1, oneKey)
	if row, ok := find(cell, peers.FncacheNear); ok {
		aims = append(aims, atMost("near hit, Wrap: time, x "+peers.LocalCache, 0.75, row.Ratio[peers.LocalCache]))
	}
	if row, ok := find(cell, peers.FncacheNearTyped); ok {
		aims = append(aims, atMost("near hit, typed: time, x "+peers.Sturdyc, 1, row.Ratio[peers.Sturdyc]))
	}
	return aims
}
