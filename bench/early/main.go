// Command early simulates one entry that is requested at random, with Options.Early and without it:
// how many answers are stale, and how often it is computed. The dice are those of fncache.
//
//	go -C bench run ./early -out ../docs/bench
package main

import (
	"fmt"
	"image/color"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/draw"
	"github.com/fncache/fncache/internal/early"
)

func main() { command.Main("early", run) }

const (
	cost      = time.Second // of one computation
	freshness = 100 * cost
)

// loads are the mean numbers of requests during one computation.
var loads = []float64{0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000}

// betas are the values of Options.Early; 0 means without it.
var betas = []float64{0, 0.5, 1, 2}

// rounds is how many times Freshness is simulated at least. At low loads it is more.
const rounds = 50

// An outcome has the counts of one simulated entry.
type outcome struct {
	load, beta   float64
	answers      int
	stale        int
	computations int
	passed       time.Duration
}

// staleShare returns the share of the answers that were stale, in percent.
func (o outcome) staleShare() float64 { return 100 * float64(o.stale) / float64(o.answers) }

// perFreshness returns how often the entry was computed in one Freshness.
func (o outcome) perFreshness() float64 {
	return float64(o.computations) / (float64(o.passed) / float64(freshness))
}

// simulate requests an entry at random moments, for a time. As under OnStale Background, the first
// caller that finds it stale, or whose dice fall, starts a computation, and gets the present entry.
func simulate(load, beta float64, passed time.Duration) outcome {
	o := outcome{load: load, beta: beta, passed: passed}
	dice := early.Dice{Freshness: freshness, Cost: cost, Beta: beta}
	var stored time.Duration // when the entry was stored
	var done time.Duration   // when the computed entry will be stored; 0: none is computed
	for now := gap(load); now < passed; now += gap(load) {
		if done > 0 && now >= done {
			stored, done = done, 0
		}
		o.answers++
		age := now - stored
		fresh := age < freshness
		if !fresh {
			o.stale++
		}
		if done == 0 && (!fresh || beta > 0 && dice.Roll(age)) {
			done = now + cost
			o.computations++
		}
	}
	return o
}

// gap returns the time to the next request.
func gap(load float64) time.Duration { return time.Duration(rand.ExpFloat64() / load * float64(cost)) }

// timeFor returns how long a load is simulated: long enough for some thousand answers.
func timeFor(load float64) time.Duration {
	return max(rounds*freshness, time.Duration(5000/load*float64(cost)))
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := command.Flags("early", stderr)
	out := flags.String("out", "", "`directory` for early.svg (default: none is written)")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "An entry that is fresh for %v, and takes %v to compute. Load is questions per computation.\n\n", freshness, cost)
	fmt.Fprintln(stdout, "| load | Early | stale answers, % | computations per Freshness |")
	fmt.Fprintln(stdout, "| --- | --- | --- | --- |")
	var all []outcome
	for _, load := range loads {
		for _, beta := range betas {
			o := simulate(load, beta, timeFor(load))
			fmt.Fprintf(stdout, "| %v | %v | %.3f | %.2f |\n", load, beta, o.staleShare(), o.perFreshness())
			all = append(all, o)
		}
	}
	if *out == "" {
		return nil
	}
	return save(filepath.Join(*out, "early.svg"), all)
}

// colors has a color for each value of Early.
var colors = map[float64]color.Color{
	0: draw.Reference, 0.5: color.RGBA{0x1f, 0x78, 0xb4, 0xff}, 1: draw.Ours, 2: color.RGBA{0x33, 0x8a, 0x5e, 0xff},
}

// save draws the stale answers and the computations over the load.
func save(file string, all []outcome) error {
	stale, err := panel("stale answers, percent", all, outcome.staleShare).Plot()
	if err != nil {
		return err
	}
	second := panel("computations per Freshness", all, outcome.perFreshness)
	second.NoLegend = true // the legend of the other panel applies
	computations, err := second.Plot()
	if err != nil {
		return err
	}
	return draw.Save(file,
		"An entry that is fresh for 100 computations, refreshed early and not: simulation",
		"go -C bench run ./early -out ../docs/bench",
		vg.Points(760), vg.Points(300), [][]*plot.Plot{{stale, computations}})
}

func panel(title string, all []outcome, of func(outcome) float64) draw.Lines {
	lines := draw.Lines{Title: title, X: "questions while it is computed once", LogX: true}
	for _, beta := range betas {
		series := draw.Series{Name: fmt.Sprintf("Early %v", beta), Color: colors[beta], Points: true}
		if beta == 0 {
			series.Name = "without"
		}
		for _, o := range all {
			if o.beta == beta {
				series.XYs = append(series.XYs, plotter.XY{X: o.load, Y: of(o)})
				lines.YMax = max(lines.YMax, of(o)*1.3) // room for the legend
			}
		}
		lines.Series = append(lines.Series, series)
	}
	return lines
}
