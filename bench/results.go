package main

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// results is everything that a run measured; as JSON it is results.json. Durations are in
// nanoseconds.
type results struct {
	About         aboutRun
	Aims          []measure.Aim
	WarmRemote    []warmRow
	WarmNear      []warmRow
	ColdStampede  []stampedeRow
	StaleStampede []stampedeRow
	Storm         []stormRow
	Scale         []scaleRow
}

// aboutRun describes the run and the machine.
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
		Command:    command.Line("go -C bench run .", args),
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

// ours reports whether a peer is fncache.
func ours(peer string) bool { return strings.HasPrefix(peer, "fncache") }

// judge compares the measurements with the aims. An aim without a measurement is an error.
func (r *results) judge(ran []workload) error {
	for _, w := range ran {
		if w.aims != nil {
			r.Aims = append(r.Aims, w.aims(r)...)
		}
	}
	var faults []error
	for _, a := range r.Aims {
		if math.IsNaN(a.Measured) {
			faults = append(faults, fmt.Errorf("nothing was measured for the aim %q", a.What))
		}
	}
	return errors.Join(faults...)
}

// at returns the rows of one cell.
func at(rows []warmRow, value string, callers int, keys string) []warmRow {
	var kept []warmRow
	for _, row := range rows {
		if row.Value == value && row.Callers == callers && sameKeys(row.Keys, keys) {
			kept = append(kept, row)
		}
	}
	return kept
}

// sameKeys reports whether two names of keys are the same. A smoke test has fewer keys in the cells
// with many.
func sameKeys(a, b string) bool { return a == b || isMany(a) && isMany(b) }

func isMany(keys string) bool { return strings.HasSuffix(keys, " keys") }

func find(rows []warmRow, peer string) (warmRow, bool) {
	for _, row := range rows {
		if row.Peer == peer {
			return row, true
		}
	}
	return warmRow{}, false
}

// ratio returns the time of a peer's hit divided by that of another peer, or NaN if that was not
// measured.
func ratio(rows []warmRow, peer, other string) float64 {
	if row, ok := find(rows, peer); ok {
		if times, ok := row.Ratio[other]; ok {
			return times
		}
	}
	return math.NaN()
}

func (r *results) remoteAims() []measure.Aim {
	lone := at(r.WarmRemote, tenValue, 1, oneKey)
	crowded := at(r.WarmRemote, tenValue, 128, oneKey)
	spread := at(r.WarmRemote, tenValue, 128, manyKeys)
	best, own := fastest(crowded, true).Peer, fastest(crowded, false).Peer
	return []measure.Aim{
		measure.AtMost("remote hit, 1 caller: time, x "+peers.Bare, 1.05, ratio(lone, peers.Fncache, peers.Bare)),
		measure.AtMost("remote hit, 1 caller, typed: time, x "+peers.Bare, 1.05, ratio(lone, peers.FncacheTyped, peers.Bare)),
		measure.AtMost("remote hit, 128 callers, one key: time, x fastest peer ("+best+")", 1, ratio(crowded, peers.Fncache, best)),
		measure.AtMost("remote hit, 128 callers, one key: time, x fastest peer that shares no memory ("+own+")", 1, ratio(crowded, peers.Fncache, own)),
		measure.AtLeast("remote hit, 128 callers, 10,000 keys, typed: throughput, x "+peers.Bare, 2, 1/ratio(spread, peers.FncacheTyped, peers.Bare)),
	}
}

func (r *results) nearAims() []measure.Aim {
	lone := at(r.WarmNear, tenValue, 1, oneKey)
	return []measure.Aim{
		measure.AtMost("near hit, Wrap: time, x "+peers.LocalCache, 0.75, ratio(lone, peers.FncacheNear, peers.LocalCache)),
		measure.AtMost("near hit, typed: time, x "+peers.Sturdyc, 1, ratio(lone, peers.FncacheNearTyped, peers.Sturdyc)),
	}
}

func (r *results) coldAims() (aims []measure.Aim) {
	for _, row := range r.ColdStampede {
		if ours(row.Peer) {
			aims = append(aims,
				measure.AtMost("cold stampede, "+row.Peer+": computations", 1, float64(row.MostComputations)),
				measure.AtMost("cold stampede, "+row.Peer+": Redis commands", 30, float64(row.MostCommands)))
		}
	}
	return aims
}

func (r *results) stormAims() (aims []measure.Aim) {
	for _, row := range r.Storm {
		if ours(row.Peer) {
			aims = append(aims, measure.AtMost("storm, "+row.Peer+": reads 50 ms stale", 0, float64(row.Late)))
		}
	}
	return aims
}

// flat is the greatest ratio of a hit with the most keys to one with the fewest.
const flat = 1.25

func (r *results) scaleAims() []measure.Aim {
	growth := func(peer string, of func(scaleRow) float64) float64 {
		var figures []float64
		for _, row := range r.Scale {
			if row.Peer == peer {
				figures = append(figures, of(row))
			}
		}
		if len(figures) == 0 {
			return math.NaN()
		}
		return figures[len(figures)-1] / figures[0]
	}
	toBare := func(row scaleRow) float64 { return row.ToBare }
	alone := func(row scaleRow) float64 { return row.Nanoseconds }
	return []measure.Aim{
		measure.AtMost("scale, "+peers.Fncache+": time to bare, most keys x fewest", flat, growth(peers.Fncache, toBare)),
		measure.AtMost("scale, "+peers.FncacheNear+": time, most keys x fewest", flat, growth(peers.FncacheNear, alone)),
		measure.AtMost("scale, "+peers.FncacheNear+": that growth, x otter's own", 1, growth(peers.FncacheNear, alone)/growth(peers.Otter, alone)),
	}
}
