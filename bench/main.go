// Command bench measures fncache and its alternatives in one run, against one redis-server that it
// starts itself. It prints tables, and writes everything that it measured as JSON and the plots as
// SVG.
//
//	go -C bench run . -out ../docs/bench
//
// Figures are medians over rounds in which all peers take turns. Ratios are between turns of one
// round; see internal/measure.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/server"
)

func main() {
	var err error
	if slices.Equal(os.Args[1:], []string{workerArg}) {
		err = work(os.Stdin, os.Stdout)
	} else {
		err = run(os.Args[1:], os.Stdout, os.Stderr)
	}
	command.Exit("bench", err)
}

// A bench is one run of the benchmark.
type bench struct {
	server     *server.Server
	popularity *measure.Popularity
	progress   func(format string, a ...any)

	// of the warm workloads and of scale
	keys   int
	draws  int // of keys, before they are the same again
	rounds int
	turn   time.Duration
	scales []int

	repeats int // of each stampede
	stamped stampede
	stormy  storm
}

// newBench returns a bench of the full size.
func newBench() *bench {
	return &bench{
		keys:    10_000,
		draws:   1 << 16,
		rounds:  11,
		turn:    20 * time.Millisecond,
		scales:  []int{1_000, 10_000, 100_000, 1_000_000},
		repeats: 3,
		stamped: stampede{Processes: 4, Callers: 250, Cost: 200 * time.Millisecond, Freshness: time.Second},
		stormy: storm{
			Instances: 4, Readers: 64, Pause: 5 * time.Millisecond, Every: 10 * time.Millisecond,
			Cost: 2 * time.Millisecond, Length: 3 * time.Second, Grace: 50 * time.Millisecond,
		},
	}
}

// quicken turns the bench into a smoke test of some seconds. Its figures are not meaningful.
func (b *bench) quicken() {
	b.keys, b.draws, b.rounds, b.turn = 100, 1<<10, 2, 500*time.Microsecond
	b.scales = []int{100, 1_000}
	b.repeats = 1
	b.stamped.Processes, b.stamped.Callers, b.stamped.Cost = 2, 20, 20*time.Millisecond
	b.stormy.Length = 100 * time.Millisecond
}

// A workload is one line of the benchmark.
type workload struct {
	name string
	run  func(*bench, *results) error
	aims func(*results) []measure.Aim // of what it measured; nil if there are none
}

func (w workload) String() string { return w.name }

func workloads() []workload {
	return []workload{
		{"remote", func(b *bench, r *results) (err error) { r.WarmRemote, err = b.warm(false); return err }, (*results).remoteAims},
		{"near", func(b *bench, r *results) (err error) { r.WarmNear, err = b.warm(true); return err }, (*results).nearAims},
		{"cold", func(b *bench, r *results) (err error) { r.ColdStampede, err = b.stampede(false); return err }, (*results).coldAims},
		{"stale", func(b *bench, r *results) (err error) { r.StaleStampede, err = b.stampede(true); return err }, nil},
		{"storm", func(b *bench, r *results) (err error) { r.Storm, err = b.storm(); return err }, (*results).stormAims},
		{"scale", func(b *bench, r *results) (err error) { r.Scale, err = b.scale(); return err }, (*results).scaleAims},
	}
}

func run(args []string, stdout, stderr io.Writer) (err error) {
	flags := command.Flags("bench", stderr)
	var (
		catalog = flags.String("catalog", "", "CSV `file` whose column ratings_count is the popularity of keys (default: a built-in one)")
		out     = flags.String("out", "", "`directory` for results.json and the plots (default: none are written)")
		only    = flags.String("only", "", "comma-separated `workloads`: "+command.Names(workloads(), workload.String)+" (default: all)")
		quick   = flags.Bool("quick", false, "a smoke test of seconds; its figures are not meaningful")
	)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	chosen, err := command.Choose("only", "workload", *only, workloads(), workload.String)
	if err != nil {
		return err
	}
	b := newBench()
	if *quick {
		b.quicken()
	}
	if b.popularity, err = measure.PopularityOf(*catalog, b.keys); err != nil {
		return err
	}
	if b.server, err = server.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.Close()) }()
	r := &results{About: about(args, b)}
	for _, w := range chosen {
		b.progress = func(format string, a ...any) {
			fmt.Fprintf(stderr, "%s: %s\n", w.name, fmt.Sprintf(format, a...))
		}
		began := time.Now()
		if err := w.run(b, r); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		b.progress("took %v", time.Since(began).Round(time.Second))
	}
	if err := r.judge(chosen); err != nil {
		return err
	}
	r.print(stdout)
	if *out == "" {
		return nil
	}
	return r.save(*out)
}

// save writes the results and their plots.
func (r *results) save(dir string) error {
	if err := command.Save(dir, "results.json", r); err != nil {
		return err
	}
	return r.plot(dir)
}
