// Command callers measures the cost of a hit in Redis, from 1 to 1,024 callers: time, processor
// time of this process, and allocations, as ratios to bare go-redis (GET and decoding ten
// int64), in one run against one redis-server that it starts itself.
//
//	go -C bench run ./callers -out ../docs/bench -strict
//
// All peers take turns in every round. Figures are medians over the rounds, and ratios are between
// turns of one round. See internal/measure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/bench/internal/server"
)

func main() { command.Main("callers", run) }

// A plan is the size of a run.
type plan struct {
	Points []point
	Rounds int
	Turn   time.Duration // of one peer at one point in one round
	Quick  bool          // a smoke test, whose figures are not meaningful
}

// A point is a load at which the peers are compared. All keys are cached.
type point struct {
	Callers int
	Keys    int // requested at random
}

// fullPlan returns the plan of a run whose figures count.
func fullPlan() plan {
	p := plan{Rounds: 31, Turn: 100 * time.Millisecond}
	for callers := 1; callers <= mostCallers; callers *= 2 {
		keys := manyKeys
		if callers <= fewCallers {
			keys = someKeys
		}
		p.Points = append(p.Points, point{callers, keys})
	}
	p.Points = append(p.Points, point{crowd, 1})
	return p
}

const (
	someKeys    = 1_000
	manyKeys    = 10_000
	fewCallers  = 32 // the most callers that request a few keys; more callers request many
	crowd       = 128
	mostCallers = 1_024
)

// quickPlan returns a smoke test of seconds, at the same points.
func quickPlan() plan {
	p := fullPlan()
	p.Quick, p.Rounds, p.Turn = true, 2, 2*time.Millisecond
	return p
}

// racers returns bare go-redis, fncache, and the peers that ask Redis at every hit and give each
// caller a value of its own.
func racers() ([]peers.Peer[[]int64], error) {
	var all []peers.Peer[[]int64]
	for _, name := range []string{peers.Bare, peers.Rueidis, peers.Cache, peers.Aside, peers.Fncache, peers.FncacheTyped} {
		peer, err := peers.ByName(peers.Remote[[]int64](), name)
		if err != nil {
			return nil, err
		}
		all = append(all, peer)
	}
	return all, nil
}

// outcome is everything that a run measured; as JSON it is callers.json.
type outcome struct {
	Command string
	Go      string
	Cores   int
	Plan    plan
	Rows    []row
	Aims    []measure.Aim
}

// A row is one peer at one point.
type row struct {
	Peer string
	point
	Nanoseconds    float64 // of wall clock per hit, of all callers together
	Processor      float64 // nanoseconds of processor time of this process per hit
	Allocs         float64 // per hit
	Bytes          float64 // allocated per hit
	Ratio          float64 // of the time to that of bare go-redis
	ProcessorRatio float64 // of the processor time to that of bare go-redis
	// To is the ratio of the time to that of each other peer.
	To map[string]float64
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := command.Flags("callers", stderr)
	var (
		out    = flags.String("out", "", "`directory` for callers.json and callers.svg (default: none are written)")
		quick  = flags.Bool("quick", false, "a smoke test of seconds; its figures are not meaningful")
		strict = flags.Bool("strict", false, "fail, after printing and writing everything, if an aim is missed")
	)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	o := outcome{
		Command: command.Line("go -C bench run ./callers", args),
		Go:      runtime.Version(), Cores: runtime.GOMAXPROCS(0), Plan: fullPlan(),
	}
	if *quick {
		o.Plan = quickPlan()
	}
	if err := o.measure(func(p point) { fmt.Fprintln(stderr, p) }); err != nil {
		return err
	}
	o.judge()
	return o.deliver(stdout, *out, *strict)
}

// measure fills in the rows.
func (o *outcome) measure(progress func(point)) (err error) {
	s, err := server.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	racing, err := racers()
	if err != nil {
		return err
	}
	var calls []peers.Source[[]int64]
	for _, peer := range racing {
		site := peers.Site{Addr: s.Addr(), Name: "callers", Freshness: time.Hour, Timeout: time.Hour, Keys: manyKeys}
		cached, err := peer.Open(site, tenIDs)
		if err != nil {
			return fmt.Errorf("%s: %w", peer.Name, err)
		}
		defer cached.Close()
		if err := peers.Fill(s.Addr(), fetch(cached.Get), cached.Key, peer.Local, 0, manyKeys); err != nil {
			return fmt.Errorf("%s: %w", peer.Name, err)
		}
		calls = append(calls, cached.Get)
	}
	for _, at := range o.Plan.Points {
		progress(at)
		if err := o.race(at, racing, calls); err != nil {
			return fmt.Errorf("%d callers, %d keys: %w", at.Callers, at.Keys, err)
		}
	}
	return nil
}

// tenIDs is the cached function.
func tenIDs(_ context.Context, id int64) ([]int64, error) {
	return []int64{id, 3, 41865, 2657, 4671, 11870085, 5907, 5107, 960, 1885}, nil
}

// fetch calls a cached function for its cost only.
func fetch(get peers.Source[[]int64]) func(id int64) error {
	return func(id int64) error {
		_, err := get(context.Background(), id)
		return err
	}
}

// race compares all peers at one point.
func (o *outcome) race(at point, racing []peers.Peer[[]int64], calls []peers.Source[[]int64]) error {
	draws := measure.Uniform(at.Keys).Draws(1 << 16)
	runners := make([]measure.Runner, len(racing))
	for i, peer := range racing {
		call := fetch(calls[i])
		runners[i] = measure.Runner{Name: peer.Name, Call: func(i int) error { return call(draws[i%len(draws)]) }}
	}
	turn := o.Plan.Turn
	if at.Callers > crowd {
		turn *= 2 // so that each peer makes some calls
	}
	results, err := measure.Race(measure.Plan{Callers: at.Callers, Rounds: o.Plan.Rounds, Turn: turn}, runners)
	if err != nil {
		return err
	}
	for i, peer := range racing {
		sample := results.Median(i)
		to := map[string]float64{}
		for other, rival := range racing {
			if other != i {
				to[rival.Name] = results.Ratio(i, other)
			}
		}
		o.Rows = append(o.Rows, row{
			Peer: peer.Name, point: at, To: to,
			Nanoseconds: sample.Nanoseconds, Processor: sample.Processor, Allocs: sample.Allocs, Bytes: sample.Bytes,
			Ratio: results.Ratio(i, 0), ProcessorRatio: results.ProcessorRatio(i, 0),
		})
	}
	return nil
}

// deliver prints everything, and writes it to a directory unless that is "". If strict is set, it
// then returns an error for missed aims.
func (o *outcome) deliver(stdout io.Writer, dir string, strict bool) error {
	o.print(stdout)
	if dir != "" {
		if err := o.save(dir); err != nil {
			return err
		}
	}
	if strict {
		return measure.Missed(o.Aims)
	}
	return nil
}

// save writes callers.json and callers.svg.
func (o *outcome) save(dir string) error {
	if err := command.Save(dir, "callers.json", o); err != nil {
		return err
	}
	return o.plot(filepath.Join(dir, "callers.svg"))
}
