// Command load measures a service while Redis is stopped. Callers call for a minute, and Redis does
// not answer for ten seconds in the middle of it. They call once through fncache (OnCold: Wait),
// and once through go-redis/cache, with the same settings of the Redis client.
//
//	go -C bench run ./load -out ../docs/bench
//
// After printing and writing everything, it fails if fncache has missed an aim.
package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

func main() { command.Main("load", run) }

// fullPlan returns the plan of a run whose figures count.
func fullPlan() plan {
	return plan{
		Callers:  64,
		Keys:     10_000,
		Cost:     20 * time.Millisecond,
		Pause:    5 * time.Millisecond,
		Patience: 5 * time.Second,
		Before:   25 * time.Second,
		Outage:   10 * time.Second,
		After:    25 * time.Second,
		Settling: time.Second,
	}
}

// quickPlan returns a smoke test.
func quickPlan() plan {
	p := fullPlan()
	p.Quick = true
	p.Callers, p.Keys = 8, 100
	p.Before, p.Outage, p.After, p.Settling = 300*time.Millisecond, time.Second, 300*time.Millisecond, 500*time.Millisecond
	return p
}

// outcome is everything that a run measured; as JSON it is load.json. Durations are in nanoseconds.
type outcome struct {
	Command    string
	Popularity string
	Plan       plan
	Runs       []result
	Aims       []measure.Aim
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := command.Flags("load", stderr)
	var (
		catalog = flags.String("catalog", "", "CSV `file` whose column ratings_count is the popularity of keys (default: a built-in one)")
		out     = flags.String("out", "", "`directory` for load.json and load.svg (default: none are written)")
		quick   = flags.Bool("quick", false, "a smoke test of seconds; its figures are not meaningful, and no missed aim fails it")
		kill    = flags.Bool("kill", false, "kill Redis and restart it empty, instead of stopping it")
	)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	p := fullPlan()
	if *quick {
		p = quickPlan()
	}
	p.Kill = *kill
	popularity, err := measure.PopularityOf(*catalog, p.Keys)
	if err != nil {
		return err
	}
	p.Keys = popularity.Keys()
	o := outcome{Command: command.Line("go -C bench run ./load", args), Popularity: popularity.Origin, Plan: p}
	for _, name := range []string{peers.FncacheWaiting, peers.Cache} {
		fmt.Fprintf(stderr, "%s: %v\n", name, p.length())
		r, err := p.run(name, popularity.Draws(1<<16))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		o.Runs = append(o.Runs, r)
		if name == peers.FncacheWaiting {
			o.Aims = r.aims()
		}
	}
	return o.deliver(stdout, *out)
}

// deliver prints everything, writes it to a directory unless that is "", and then returns the
// error for missed aims.
func (o outcome) deliver(stdout io.Writer, dir string) error {
	o.print(stdout)
	if dir != "" {
		if err := o.save(dir); err != nil {
			return err
		}
	}
	return o.missed()
}

// missed returns an error that names the missed aims, or nil if there are none. A smoke test misses
// none, because within a second on a busy machine the function's own p99 is not reliable.
func (o outcome) missed() error {
	if o.Plan.Quick {
		return nil
	}
	return measure.Missed(o.Aims)
}

// print writes the table.
func (o outcome) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%d callers, %d keys (%s), a function of %v; Redis %s for %v\n\n", o.Command,
		o.Plan.Callers, o.Plan.Keys, o.Popularity, o.Plan.Cost, o.Plan.trouble(), o.Plan.Outage)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join([]string{"", "", "answered", "failed", "p50", "p99", "max", "computations", "of one key at once", "p50", "and p99 of the function", ""}, "\t"))
	for _, r := range o.Runs {
		for _, phase := range r.Phases {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t\n", r.Peer, phase.Name, phase.Answered, phase.Failed,
				ms(phase.P50), ms(phase.P99), ms(phase.Max), phase.Computations, phase.OneKeyAtOnce, ms(phase.OwnP50), ms(phase.OwnP99))
		}
	}
	_ = t.Flush()
	for _, r := range o.Runs {
		if r.Failure != "" {
			fmt.Fprintf(w, "\n%s, a failure: %s\n", r.Peer, r.Failure)
		}
	}
	heading := "Aims"
	if o.Plan.Quick {
		heading = "Aims, not meaningful in a smoke test"
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	for _, a := range o.Aims {
		fmt.Fprintf(w, "  %v\n", a)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

// save writes load.json and load.svg, or load-kill.json and load-kill.svg.
func (o outcome) save(dir string) error {
	name := "load"
	if o.Plan.Kill {
		name = "load-kill"
	}
	if err := command.Save(dir, name+".json", o); err != nil {
		return err
	}
	return o.plot(filepath.Join(dir, name+".svg"))
}
