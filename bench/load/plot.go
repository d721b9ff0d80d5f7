package main

import (
	"fmt"
	"image/color"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/fncache/fncache/bench/internal/draw"
)

// plot draws how long calls took and how many were answered, over the run.
func (o outcome) plot(file string) error {
	took := draw.Lines{
		Title: "p99 of the calls that began then (ms, log)", X: "seconds", LogY: true,
		YMin: 0.1, YMax: 100_000,
	}
	answered := draw.Lines{Title: "answers per second", X: "seconds", NoLegend: true}
	for i, r := range o.Runs {
		slow, many := r.lines()
		look := draw.Series{Name: r.Peer, Color: []color.Color{draw.Ours, draw.Reference}[i%2], XYs: slow}
		took.Series = append(took.Series, look)
		look.XYs = many
		answered.Series = append(answered.Series, look)
		for _, xy := range many {
			answered.YMax = max(answered.YMax, xy.Y*1.1)
		}
	}
	var plots []*plot.Plot
	for _, lines := range []draw.Lines{took, answered} {
		lines.From, lines.To = o.Plan.Before.Seconds(), (o.Plan.Before + o.Plan.Outage).Seconds()
		lines.ShadeName = "Redis " + o.Plan.trouble()
		p, err := lines.Plot()
		if err != nil {
			return err
		}
		plots = append(plots, p)
	}
	title := fmt.Sprintf("%d callers, %d keys, a function of %v; Redis %s for %v", o.Plan.Callers, o.Plan.Keys, o.Plan.Cost, o.Plan.trouble(), o.Plan.Outage)
	return draw.Save(file, title, o.Command, vg.Points(760), vg.Points(280), [][]*plot.Plot{plots})
}

// lines returns the p99 in milliseconds and the answers per second, by second of the run. A second
// in which no call began has no p99.
func (r result) lines() (slow, many plotter.XYs) {
	for _, b := range r.Buckets[:len(r.Buckets)-1] { // the last one is cut short
		at := (b.At + bucketLength/2).Seconds()
		if b.Began > 0 {
			slow = append(slow, plotter.XY{X: at, Y: max(float64(b.P99)/float64(time.Millisecond), 0.1)})
		}
		many = append(many, plotter.XY{X: at, Y: float64(b.Ended) / bucketLength.Seconds()})
	}
	return slow, many
}
