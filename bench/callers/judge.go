package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A limit is the most that a hit of Wrap or Wrap1 may cost at a point, as ratios to bare go-redis;
// 0 means no aim.
type limit struct{ time, processor float64 }

// aimsAt returns the aims at a point, for Wrap1 and for Wrap.
func aimsAt(p point) (typed, plain limit) {
	switch {
	case p.Keys == 1: // the aim for the fastest peer applies
		return limit{}, limit{}
	case p.Callers == 1:
		return limit{1.10, 1.20}, limit{1.15, 1.30}
	case p.Callers <= fewCallers:
		return limit{1.10, 1.2}, limit{1.10, 1.2}
	case p.Callers == crowd:
		return limit{0.40, 0.45}, limit{0.45, 0.55}
	case p.Callers == mostCallers:
		return limit{0.25, 0.28}, limit{0.28, 0.35}
	default:
		return limit{}, limit{}
	}
}

// The most allocations of a hit, at any point with more than one key.
const (
	typedAllocs = 12
	plainAllocs = 16
)

// at returns a peer's row at a point. If there is none, all its figures are NaN, which meets no
// aim.
func (o *outcome) at(peer string, p point) row {
	for _, r := range o.Rows {
		if r.Peer == peer && r.point == p {
			return r
		}
	}
	nan := math.NaN()
	return row{peer, p, nan, nan, nan, nan, nan, nan, nil}
}

// judge fills in the aims.
func (o *outcome) judge() {
	for _, p := range o.Plan.Points {
		typed, plain := aimsAt(p)
		o.aim(peers.FncacheTyped, p, typed)
		o.aim(peers.Fncache, p, plain)
	}
	for _, ours := range []string{peers.FncacheTyped, peers.Fncache} {
		one := point{crowd, 1}
		best := o.fastest(one)
		o.Aims = append(o.Aims, measure.AtMost(
			fmt.Sprintf("%s, %v: time, x fastest peer that gives callers a value of their own (%s)", ours, one, best.Peer),
			1, o.at(ours, one).to(best.Peer)))
	}
	o.Aims = append(o.Aims,
		measure.AtMost(peers.FncacheTyped+": allocations of a hit, at the worst point", typedAllocs, o.mostAllocs(peers.FncacheTyped)),
		measure.AtMost(peers.Fncache+": allocations of a hit, at the worst point", plainAllocs, o.mostAllocs(peers.Fncache)))
}

// to returns the ratio of a row's time to that of another peer, or NaN if that was not measured.
func (r row) to(peer string) float64 {
	if times, ok := r.To[peer]; ok {
		return times
	}
	return math.NaN()
}

func (o *outcome) aim(peer string, p point, most limit) {
	if most == (limit{}) {
		return
	}
	r := o.at(peer, p)
	o.Aims = append(o.Aims,
		measure.AtMost(fmt.Sprintf("%s, %v: time, x %s", peer, p, peers.Bare), most.time, r.Ratio),
		measure.AtMost(fmt.Sprintf("%s, %v: processor time, x %s", peer, p, peers.Bare), most.processor, r.ProcessorRatio))
}

func (p point) String() string {
	return fmt.Sprintf("%s, %s", plural(p.Callers, "caller"), plural(p.Keys, "key"))
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case n < 1000:
		return fmt.Sprintf("%d %ss", n, what)
	default:
		return fmt.Sprintf("%d,%03d %ss", n/1000, n%1000, what)
	}
}

// fastest returns the fastest row at a point, except those of fncache.
func (o *outcome) fastest(p point) row {
	best := row{Ratio: math.Inf(1)}
	for _, r := range o.Rows {
		if r.point == p && !ours(r.Peer) && r.Ratio < best.Ratio {
			best = r
		}
	}
	return best
}

func ours(peer string) bool { return peer == peers.Fncache || peer == peers.FncacheTyped }

func (o *outcome) mostAllocs(peer string) float64 {
	most := math.NaN()
	for _, r := range o.Rows {
		// A turn's allocations are divided by its calls and rounded, because occasional allocations
		// of the runtime are not part of a hit.
		if allocs := math.Floor(r.Allocs + 0.05); r.Peer == peer && r.Keys > 1 && !(allocs < most) {
			most = allocs
		}
	}
	return most
}

// print writes the tables: the cost of a hit with bare go-redis, and the costs with the others as
// ratios to it.
func (o *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %d cores; medians of %d rounds\n", o.Command, o.Go, o.Cores, o.Plan.Rounds)
	o.table(w, "Time per hit, all callers together, x "+peers.Bare, func(r row) (float64, float64) { return r.Ratio, r.Nanoseconds })
	o.table(w, "Processor time of the process per hit, x "+peers.Bare, func(r row) (float64, float64) { return r.ProcessorRatio, r.Processor })
	o.table(w, "Allocations per hit", func(r row) (float64, float64) { return r.Allocs, math.NaN() })
	fmt.Fprintf(w, "\nAims%s\n", map[bool]string{true: ", not meaningful in a smoke test"}[o.Plan.Quick])
	for _, a := range o.Aims {
		fmt.Fprintf(w, "  %v\n", a)
	}
}

// table writes a figure of each peer at each point, in nanoseconds for bare go-redis.
func (o *outcome) table(w io.Writer, title string, of func(row) (figure, nanoseconds float64)) {
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { _ = t.Flush() }()
	first := o.Plan.Points[0]
	fmt.Fprint(t, "callers\tkeys\t")
	for _, r := range o.Rows {
		if r.point == first {
			fmt.Fprintf(t, "%s\t", r.Peer)
		}
	}
	for _, p := range o.Plan.Points {
		fmt.Fprintf(t, "\n%d\t%d\t", p.Callers, p.Keys)
		for _, r := range o.Rows {
			if r.point != p {
				continue
			}
			switch figure, nanoseconds := of(r); {
			case r.Peer == peers.Bare && !math.IsNaN(nanoseconds):
				fmt.Fprintf(t, "%.2f µs\t", nanoseconds/1e3)
			default:
				fmt.Fprintf(t, "%.2f\t", figure)
			}
		}
	}
	fmt.Fprintln(t)
}
