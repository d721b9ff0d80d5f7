package main

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/fncache/fncache/bench/internal/draw"
	"github.com/fncache/fncache/bench/internal/peers"
)

// colors has a color for each line.
var colors = map[string]color.Color{
	peers.Bare:         draw.Reference,
	peers.Rueidis:      color.RGBA{0x1f, 0x78, 0xb4, 0xff},
	peers.Cache:        color.RGBA{0x33, 0x8a, 0x5e, 0xff},
	peers.Aside:        color.RGBA{0x6a, 0x51, 0xa3, 0xff},
	peers.Fncache:      draw.Ours,
	peers.FncacheTyped: draw.Ours,
}

// plot draws both ratios over the callers. The point with one key is left out.
func (o *outcome) plot(file string) error {
	time, err := o.panel("time per hit", func(r row) float64 { return r.Ratio }).Plot()
	if err != nil {
		return err
	}
	processor := o.panel("processor time per hit", func(r row) float64 { return r.ProcessorRatio })
	processor.NoLegend = true // the legend of the other panel applies
	beside, err := processor.Plot()
	if err != nil {
		return err
	}
	return draw.Save(file,
		fmt.Sprintf("A hit in Redis, times bare go-redis; %d keys up to %d callers, then %d (less is better)", someKeys, fewCallers, manyKeys),
		fmt.Sprintf("%s · %s, %d cores", o.Command, o.Go, o.Cores),
		vg.Points(760), vg.Points(300), [][]*plot.Plot{{time, beside}})
}

func (o *outcome) panel(title string, of func(row) float64) draw.Lines {
	lines := draw.Lines{Title: title, X: "callers", LogX: true}
	at := map[string]int{}
	for _, r := range o.Rows {
		if r.Keys == 1 {
			continue
		}
		i, known := at[r.Peer]
		if !known {
			i = len(lines.Series)
			at[r.Peer] = i
			look := draw.Series{Name: r.Peer, Color: colors[r.Peer], Points: true}
			if r.Peer == peers.Fncache {
				look.Dashes = []vg.Length{5, 2}
			}
			lines.Series = append(lines.Series, look)
		}
		lines.Series[i].XYs = append(lines.Series[i].XYs, plotter.XY{X: float64(r.Callers), Y: of(r)})
		lines.YMax = max(lines.YMax, of(r)*1.45) // room for the legend
	}
	for callers := 1; callers <= mostCallers; callers *= 4 {
		lines.TicksX = append(lines.TicksX, float64(callers))
	}
	return lines
}
