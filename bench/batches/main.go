// Command batches measures calls of WrapBatch with 100 ids, and other ways to get as many values,
// in one run against one redis-server that it starts itself: with all ids in Redis, with all in the
// process, and with none cached.
//
//	go -C bench run ./batches -strict
//
// All peers take turns in every round. Figures are medians over the rounds, and ratios are between
// turns of one round. See internal/measure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/bench/internal/server"
)

func main() { command.Main("batches", run) }

// idsOfCall is how many ids a call has.
const idsOfCall = 100

// The aims.
const (
	mostInRedis    = 1.3 // x bare MGET
	mostInProcess  = 0.5 // x sturdyc
	mostRuns       = 1
	mostRoundTrips = 4
)

// A plan is the size of a run.
type plan struct {
	rounds int
	turn   time.Duration // of one peer in one round
	calls  int           // with distinct ids, which a peer makes one after the other
}

// outcome is everything that a run measured.
type outcome struct {
	command string
	quick   bool
	plan    plan
	hits    []table
	cold    []coldRow
	aims    []measure.Aim
}

// A table has the cost of a call of each peer, also as a ratio to that of the first peer.
type table struct {
	title string
	rows  []row
}

type row struct {
	peer      string
	sample    measure.Sample
	time      float64 // as a ratio
	processor float64 // as a ratio
}

// A coldRow counts what one call does for ids that are not cached.
type coldRow struct {
	peer       string
	runs       int // of the function
	roundTrips int
	took       time.Duration
}

func run(args []string, stdout, stderr io.Writer) (err error) {
	flags := command.Flags("batches", stderr)
	var (
		quick  = flags.Bool("quick", false, "a smoke test of seconds; its times are not meaningful")
		strict = flags.Bool("strict", false, "fail, after printing everything, if an aim is missed")
	)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	o := outcome{command: command.Line("go -C bench run ./batches", args), quick: *quick}
	o.plan = plan{rounds: 31, turn: 100 * time.Millisecond, calls: 100}
	if *quick {
		o.plan = plan{rounds: 2, turn: 2 * time.Millisecond, calls: 4}
	}
	s, err := server.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := o.measure(s); err != nil {
		return err
	}
	o.judge()
	o.print(stdout)
	if *strict {
		return measure.Missed(o.aims)
	}
	return nil
}

func (o *outcome) measure(s *server.Server) error {
	site := peers.Site{Addr: s.Addr(), Name: "batches", Freshness: time.Hour, Timeout: time.Hour, Keys: o.plan.calls * idsOfCall}
	if err := o.race("in Redis", site, inRedis()); err != nil {
		return err
	}
	if err := o.race("in the process", site, inProcess()); err != nil {
		return err
	}
	for _, p := range inRedis() {
		if err := s.Empty(); err != nil {
			return err
		}
		counted, err := countCold(p, site)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		o.cold = append(o.cold, counted)
	}
	return nil
}

// race compares the peers at calls whose ids are all cached.
func (o *outcome) race(where string, site peers.Site, racing []peer) error {
	lists := make([][]int64, o.plan.calls)
	for i := range lists {
		lists[i] = idsFrom(int64(i * idsOfCall))
	}
	runners := make([]measure.Runner, len(racing))
	for i, p := range racing {
		cached, err := p.open(site, new(source))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		defer cached.close()
		if err := warm(cached, lists); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		calls := cached.calls(lists)
		runners[i] = measure.Runner{Name: p.name, Call: func(i int) error { return calls[i%len(calls)]() }}
	}
	results, err := measure.Race(measure.Plan{Callers: 1, Rounds: o.plan.rounds, Turn: o.plan.turn}, runners)
	if err != nil {
		return err
	}
	t := table{title: where}
	for i, p := range racing {
		t.rows = append(t.rows, row{p.name, results.Median(i), results.Ratio(i, 0), results.ProcessorRatio(i, 0)})
	}
	o.hits = append(o.hits, t)
	return nil
}

// calls returns a call for each list of ids.
func (c *cached) calls(lists [][]int64) []func() error {
	calls := make([]func() error, len(lists))
	for i, ids := range lists {
		calls[i] = func() error {
			_, err := c.get(context.Background(), ids)
			return err
		}
		if c.repeat != nil {
			calls[i] = c.repeat(ids)
		}
	}
	return calls
}

// warm caches all ids, and checks the values.
func warm(c *cached, lists [][]int64) error {
	for range 2 {
		for _, ids := range lists {
			found, err := c.get(context.Background(), ids)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if !slices.Equal(found[id], tenIDs(id)) {
					return fmt.Errorf("the value of %d is %v", id, found[id])
				}
			}
		}
	}
	return nil
}

func idsFrom(first int64) []int64 {
	ids := make([]int64, idsOfCall)
	for i := range ids {
		ids[i] = first + int64(i)
	}
	return ids
}

// countCold counts what a call does for ids that are not cached. A call before it, for other ids,
// opens the connections and loads the scripts.
func countCold(p peer, site peers.Site) (coldRow, error) {
	s := new(source)
	cached, err := p.open(site, s)
	if err != nil {
		return coldRow{}, err
	}
	defer cached.close()
	if err := warm(cached, [][]int64{idsFrom(idsOfCall)}); err != nil {
		return coldRow{}, err
	}
	s.runs.Store(0)
	cached.trips.Store(0)
	began := time.Now()
	if _, err := cached.get(context.Background(), idsFrom(0)); err != nil {
		return coldRow{}, err
	}
	return coldRow{p.name, int(s.runs.Load()), int(cached.trips.Load()), time.Since(began)}, nil
}

// at returns the row of a peer in a table. If there is none, its figures are NaN, which meets no
// aim.
func (t table) at(peer string) row {
	for _, r := range t.rows {
		if r.peer == peer {
			return r
		}
	}
	return row{peer: peer, time: math.NaN(), processor: math.NaN()}
}

// judge fills in the aims.
func (o *outcome) judge() {
	redis, process := o.hits[0], o.hits[1]
	o.aims = append(o.aims,
		measure.AtMost(fmt.Sprintf("%s, %d ids in Redis: time, x %s", batch, idsOfCall, redis.rows[0].peer), mostInRedis, redis.at(batch).time),
		measure.AtMost(fmt.Sprintf("%s, %d ids in the process: time, x %s", nearBatch, idsOfCall, process.rows[0].peer), mostInProcess, process.at(nearBatch).time))
	for _, r := range o.cold {
		if r.peer == batch {
			o.aims = append(o.aims,
				measure.AtMost(fmt.Sprintf("%s, %d cold ids: runs of the function", batch, idsOfCall), mostRuns, float64(r.runs)),
				measure.AtMost(fmt.Sprintf("%s, %d cold ids: round trips", batch, idsOfCall), mostRoundTrips, float64(r.roundTrips)))
		}
	}
}

// print writes the tables.
func (o *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %d cores; medians of %d rounds\n", o.command, runtime.Version(), runtime.GOMAXPROCS(0), o.plan.rounds)
	for _, t := range o.hits {
		first := t.rows[0]
		fmt.Fprintf(w, "\nA call for %d ids that are %s, x %s (%.1f µs)\n", idsOfCall, t.title, first.peer, first.sample.Nanoseconds/1e3)
		columns(w, "\ttime\tprocessor time\tallocations of an id\tbytes of an id\t", func(t0 io.Writer) {
			for _, r := range t.rows {
				fmt.Fprintf(t0, "%s\t%.2f\t%.2f\t%.1f\t%.0f\t\n", r.peer, r.time, r.processor, r.sample.Allocs/idsOfCall, r.sample.Bytes/idsOfCall)
			}
		})
	}
	fmt.Fprintf(w, "\nA call for %d ids that are not cached\n", idsOfCall)
	columns(w, "\truns of the function\tround trips\ttime\t", func(t io.Writer) {
		for _, r := range o.cold {
			fmt.Fprintf(t, "%s\t%d\t%d\t%v\t\n", r.peer, r.runs, r.roundTrips, r.took.Round(10*time.Microsecond))
		}
	})
	fmt.Fprintf(w, "\nAims%s\n", map[bool]string{true: "; times are not meaningful in a smoke test"}[o.quick])
	for _, a := range o.aims {
		fmt.Fprintf(w, "  %v\n", a)
	}
}

func columns(w io.Writer, head string, rows func(io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { _ = t.Flush() }()
	fmt.Fprintln(t, head)
	rows(t)
}
