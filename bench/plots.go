package main

import (
	"fmt"
	"image/color"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/fncache/fncache/bench/internal/draw"
	"github.com/fncache/fncache/bench/internal/peers"
)

const plotWidth = 760 // points

// plot draws every workload, each into a file of its own.
func (r *results) plot(dir string) error {
	for _, p := range []struct {
		name string
		draw func(r *results, file string) error
		any  bool
	}{
		{"stampede-cold", (*results).plotCold, len(r.ColdStampede) > 0},
		{"stampede-stale", (*results).plotStale, len(r.StaleStampede) > 0},
		{"storm", (*results).plotStorm, len(r.Storm) > 0},
		{"scale", (*results).plotScale, len(r.Scale) > 0},
	} {
		if !p.any {
			continue
		}
		if err := p.draw(r, filepath.Join(dir, p.name+".svg")); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for value, suffix := range map[string]string{tenValue: "ids", bookValue: "struct", pageValue: "64k"} {
		if err := r.plotWarm(filepath.Join(dir, "remote-"+suffix+".svg"), "A hit in Redis", value, r.WarmRemote, false); err != nil {
			return err
		}
		if err := r.plotWarm(filepath.Join(dir, "near-"+suffix+".svg"), "A hit in the process", value, r.WarmNear, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) note() string {
	return fmt.Sprintf("%s · %s, %d cores", r.About.Command, r.About.Go, r.About.Cores)
}

func colorOf(peer string) color.Color {
	switch {
	case ours(peer):
		return draw.Ours
	case peer == peers.Bare:
		return draw.Reference
	default:
		return draw.Other
	}
}

// barsOf returns a bar for each peer.
func barsOf[R any](rows []R, peer func(R) string, value func(R) float64, label func(R) string) []draw.Bar {
	bars := make([]draw.Bar, len(rows))
	for i, row := range rows {
		bars[i] = draw.Bar{Name: peer(row), Value: value(row), Label: label(row), Color: colorOf(peer(row))}
	}
	return bars
}

// saveBars draws rows of panels, all with the same peers.
func saveBars(file, title, note string, panels [][]draw.Bars) error {
	plots := make([][]*plot.Plot, len(panels))
	for i, row := range panels {
		for j, panel := range row {
			p, err := panel.Plot(j == 0)
			if err != nil {
				return err
			}
			plots[i] = append(plots[i], p)
		}
	}
	height := vg.Length(len(panels)) * draw.Height(len(panels[0][0].Bars))
	return draw.Save(file, title, note, vg.Points(plotWidth), height, plots)
}

// plotWarm draws the cells of a value: remote hits as ratios to bare go-redis, near hits as
// ratios to the fastest peer of the cell.
func (r *results) plotWarm(file, title, value string, rows []warmRow, near bool) error {
	const across = 3
	var panels [][]draw.Bars
	for i, cell := range cellsOf(rows, value) {
		reference := peers.Bare
		shown := cell.rows
		if near {
			reference, shown = fastest(cell.rows, true).Peer, cell.rows[1:]
		}
		ratio := func(row warmRow) float64 {
			if row.Peer == reference {
				return 1
			}
			return row.Ratio[reference]
		}
		panel := draw.Bars{
			Title: cell.name(),
			Line:  1,
			Bars: barsOf(shown, warmRow.label, ratio, func(row warmRow) string {
				return fmt.Sprintf("%.2f (%s)", ratio(row), wallClock(row.Nanoseconds))
			}),
		}
		if i%across == 0 {
			panels = append(panels, nil)
		}
		panels[len(panels)-1] = append(panels[len(panels)-1], panel)
	}
	if len(panels) == 0 {
		return nil
	}
	what := "bare go-redis"
	if near {
		what = "the fastest peer of the panel"
	}
	return saveBars(file, fmt.Sprintf("%s, %s: time, times that of %s (less is better)", title, value, what), r.note()+" · "+sharedNote, panels)
}

// wallClock writes the time per hit.
func wallClock(nanoseconds float64) string {
	if nanoseconds < 1000 {
		return draw.Short(nanoseconds) + " ns"
	}
	return draw.Short(nanoseconds/1e3) + " µs"
}

func stampedePeer(row stampedeRow) string { return row.Peer }

// times returns the functions for the bars of a time, as ratios to that of bare go-redis.
func times(rows []stampedeRow, of func(stampedeRow) time.Duration) (value func(stampedeRow) float64, label func(stampedeRow) string) {
	bare := time.Duration(0)
	for _, row := range rows {
		if row.Peer == peers.Bare {
			bare = of(row)
		}
	}
	value = func(row stampedeRow) float64 { return float64(of(row)) / float64(max(bare, 1)) }
	return value, func(row stampedeRow) string {
		return fmt.Sprintf("%s (%s ms)", draw.Short(value(row)), draw.Short(float64(of(row))/1e6))
	}
}

func count(of func(stampedeRow) int) (value func(stampedeRow) float64, label func(stampedeRow) string) {
	value = func(row stampedeRow) float64 { return float64(of(row)) }
	return value, func(row stampedeRow) string { return draw.Short(value(row)) }
}

func stampedeBars(rows []stampedeRow, value func(stampedeRow) float64, label func(stampedeRow) string) []draw.Bar {
	return barsOf(rows, stampedePeer, value, label)
}

func (r *results) plotCold(file string) error {
	rows := r.ColdStampede
	computations, computationsLabel := count(func(row stampedeRow) int { return row.Computations })
	commands, commandsLabel := count(func(row stampedeRow) int { return row.Commands })
	last, lastLabel := times(rows, func(row stampedeRow) time.Duration { return row.LastAnswer })
	withRefused := func(row stampedeRow) string {
		if row.Answers.Refused == 0 {
			return lastLabel(row)
		}
		return fmt.Sprintf("%s, %d refused", lastLabel(row), row.Answers.Refused)
	}
	return saveBars(file, fmt.Sprintf("Cold stampede: %s", r.stampedeSize()), r.note(), [][]draw.Bars{{
		{Title: "computations (log)", Log: true, Bars: stampedeBars(rows, computations, computationsLabel)},
		{Title: "Redis commands (log)", Log: true, Bars: stampedeBars(rows, commands, commandsLabel)},
		{Title: "time to the last answer, x bare", Bars: stampedeBars(rows, last, withRefused)},
	}})
}

func (r *results) plotStale(file string) error {
	rows := r.StaleStampede
	computations, computationsLabel := count(func(row stampedeRow) int { return row.Computations })
	p50, p50Label := times(rows, func(row stampedeRow) time.Duration { return row.P50 })
	last, lastLabel := times(rows, func(row stampedeRow) time.Duration { return row.LastAnswer })
	return saveBars(file, fmt.Sprintf("Stale stampede, on an entry past its freshness: %s", r.stampedeSize()), r.note(), [][]draw.Bars{{
		{Title: "computations (log)", Log: true, Bars: stampedeBars(rows, computations, computationsLabel)},
		{Title: "a caller waits (median), x bare", Bars: stampedeBars(rows, p50, p50Label)},
		{Title: "the last caller waits, x bare", Bars: stampedeBars(rows, last, lastLabel)},
	}})
}

func (r *results) stampedeSize() string {
	s, _ := r.About.Settings["stampede"].(stampede)
	return fmt.Sprintf("%d processes x %d callers, a function of %v (less is better)", s.Processes, s.Callers, s.Cost)
}

func (r *results) plotStorm(file string) error {
	bars := func(value func(stormRow) float64, label func(stormRow) string) []draw.Bar {
		return barsOf(r.Storm, func(row stormRow) string { return row.Peer }, value, label)
	}
	share := func(n func(stormRow) int) (func(stormRow) float64, func(stormRow) string) {
		value := func(row stormRow) float64 { return 100 * float64(n(row)) / float64(row.Reads) }
		return value, func(row stormRow) string {
			if n(row) == 0 {
				return "none"
			}
			return fmt.Sprintf("%s %%", draw.Short(value(row)))
		}
	}
	stale, staleShare := share(func(row stormRow) int { return row.Stale })
	staleLabel := func(row stormRow) string {
		if row.Stale == 0 {
			return staleShare(row)
		}
		return fmt.Sprintf("%s, up to %s", staleShare(row), ms(row.Worst))
	}
	late, lateLabel := share(func(row stormRow) int { return row.Late })
	perWrite := func(row stormRow) float64 { return float64(row.Computations) / float64(max(row.Writes, 1)) }
	return saveBars(file, "Invalidation storm: 64 readers, 100 invalidations a second (less is better)", r.note(), [][]draw.Bars{{
		{Title: "reads stale after the invalidation", Bars: bars(stale, staleLabel)},
		{Title: "of all, stale by more than 50 ms", Bars: bars(late, lateLabel)},
		{Title: "computations per invalidation", Bars: bars(perWrite, func(row stormRow) string { return draw.Short(perWrite(row)) })},
	}})
}

// plotScale draws the time of a hit of each peer as the number of keys grows, divided by the time
// with the fewest keys. It should stay flat.
func (r *results) plotScale(file string) error {
	remote := draw.Lines{Title: "asks Redis at every hit", X: "keys", LogX: true}
	local := draw.Lines{Title: "answers from the process", X: "keys", LogX: true}
	for _, peer := range scaledPeers(r.Scale) {
		line, isLocal := r.growth(peer)
		panel := &remote
		if isLocal {
			panel = &local
		}
		line.Color = lineColor(peer, len(panel.Series))
		if !ours(peer) {
			line.Dashes = []vg.Length{4, 2}
		}
		panel.Series = append(panel.Series, line)
		for _, xy := range line.XYs {
			panel.YMax = max(panel.YMax, xy.Y*1.6, 3) // room for the legend
		}
	}
	left, err := remote.Plot()
	if err != nil {
		return err
	}
	right, err := local.Plot()
	if err != nil {
		return err
	}
	return draw.Save(file, fmt.Sprintf("Scale: time per hit, times that with the fewest keys; keys at random, %d callers", scaleCallers), r.note(),
		vg.Points(plotWidth), vg.Points(280), [][]*plot.Plot{{left, right}})
}

func (r *results) growth(peer string) (line draw.Series, local bool) {
	line = draw.Series{Name: peer, Points: true}
	first := 0.0
	for _, row := range r.Scale {
		if row.Peer != peer {
			continue
		}
		if first == 0 {
			first = row.Nanoseconds
		}
		local = row.Local
		line.XYs = append(line.XYs, plotter.XY{X: float64(row.Keys), Y: row.Nanoseconds / first})
	}
	return line, local
}

// lineColor returns the color of a line in a panel.
func lineColor(peer string, i int) color.Color {
	if ours(peer) {
		return draw.Ours
	}
	cool := []color.Color{
		draw.Reference,
		color.RGBA{0x1f, 0x78, 0xb4, 0xff},
		color.RGBA{0x33, 0x8a, 0x5e, 0xff},
		color.RGBA{0x6a, 0x51, 0xa3, 0xff},
	}
	return cool[i%len(cool)]
}
