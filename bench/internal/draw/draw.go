// Package draw draws the plots: panels of bars or lines side by side, as SVG.
package draw

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours: fncache stands out, the baseline is dark, and the rest is grey.
var (
	Ours      = color.RGBA{0xd9, 0x5f, 0x0e, 0xff}
	Reference = color.RGBA{0x40, 0x48, 0x50, 0xff}
	Other     = color.RGBA{0x8f, 0xa3, 0xb8, 0xff}
	Shade     = color.RGBA{0xf4, 0xe3, 0xd7, 0xff}
	faint     = color.RGBA{0xe4, 0xe7, 0xea, 0xff}
)

// A Bar is one bar, with its value written at its end as Label.
type Bar struct {
	Name  string
	Value float64
	Label string
	Color color.Color
}

// Bars is a panel of horizontal bars, the first one on top.
type Bars struct {
	Title string
	Bars  []Bar
	Log   bool    // the length of a bar is the logarithm of its value, from 0.5 on
	Line  float64 // a line across the bars at that value; 0: none
}

const (
	barHeight = 15 // points
	fontSize  = 9
	// room for labels to the right of the longest bar, as a share of it.
	labelRoom = 0.42
)

// Height returns the height of a panel with n bars.
func Height(n int) vg.Length { return vg.Points(float64(n)*(barHeight+5) + 42) }

// Plot makes the panel. If names is true, the names of the bars are beside it.
func (b Bars) Plot(names bool) (*plot.Plot, error) {
	p := newPlot(b.Title)
	length := func(v float64) float64 { return v }
	if b.Log {
		length = func(v float64) float64 { return math.Log10(max(v, 0.5) / 0.5) }
	}
	longest := length(b.Line)
	if b.Line == 0 {
		longest = 0
	}
	for i, bar := range b.Bars {
		at := float64(len(b.Bars) - 1 - i)
		one, err := plotter.NewBarChart(plotter.Values{length(bar.Value)}, vg.Points(barHeight))
		if err != nil {
			return nil, err
		}
		one.Horizontal, one.XMin = true, at
		one.Color, one.LineStyle.Width = bar.Color, 0
		p.Add(one)
		longest = max(longest, length(bar.Value))
	}
	if err := b.label(p, length); err != nil {
		return nil, err
	}
	if b.Line != 0 {
		if err := addLine(p, length(b.Line), len(b.Bars)); err != nil {
			return nil, err
		}
	}
	p.X.Min, p.X.Max = 0, max(longest*(1+labelRoom), 1e-9)
	p.Y.Min, p.Y.Max = -0.6, float64(len(b.Bars))-0.4
	p.X.Tick.Marker = plot.ConstantTicks{}
	p.X.Width = 0
	p.Y.Tick.Width, p.Y.Tick.Length = 0, vg.Points(2)
	p.Y.Width = 0
	ticks := plot.ConstantTicks{}
	if names {
		for i, bar := range b.Bars {
			ticks = append(ticks, plot.Tick{Value: float64(len(b.Bars) - 1 - i), Label: bar.Name})
		}
	}
	p.Y.Tick.Marker = ticks
	return p, nil
}

func (b Bars) label(p *plot.Plot, length func(float64) float64) error {
	var at plotter.XYLabels
	for i, bar := range b.Bars {
		at.XYs = append(at.XYs, plotter.XY{X: length(bar.Value), Y: float64(len(b.Bars) - 1 - i)})
		at.Labels = append(at.Labels, bar.Label)
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i] = style(p, fontSize)
		labels.TextStyle[i].YAlign = draw.YCenter
	}
	labels.Offset = vg.Point{X: vg.Points(3)}
	p.Add(labels)
	return nil
}

func addLine(p *plot.Plot, x float64, bars int) error {
	line, err := plotter.NewLine(plotter.XYs{{X: x, Y: -0.6}, {X: x, Y: float64(bars) - 0.4}})
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: Other, Width: vg.Points(0.7), Dashes: []vg.Length{2, 3}}
	p.Add(line)
	return nil
}

// A Series is one line of a panel.
type Series struct {
	Name   string
	XYs    plotter.XYs
	Color  color.Color
	Dashes []vg.Length
	Points bool
}

// Lines is a panel of lines.
type Lines struct {
	Title, X, Y string
	Series      []Series
	LogX, LogY  bool
	TicksX      []float64 // none: powers of ten if LogX, otherwise chosen from the values
	YMin, YMax  float64   // both 0: chosen from the values
	From, To    float64   // of X, shaded, from YMin to YMax; both 0: no shade
	ShadeName   string
	NoLegend    bool
}

// Plot makes the panel.
func (l Lines) Plot() (*plot.Plot, error) {
	p := newPlot(l.Title)
	p.X.Label.Text, p.Y.Label.Text = l.X, l.Y
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = faint
	if err := l.shade(p); err != nil {
		return nil, err
	}
	p.Add(grid)
	for _, s := range l.Series {
		line, points, err := plotter.NewLinePoints(s.XYs)
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: s.Color, Width: vg.Points(1.6), Dashes: s.Dashes}
		if !l.NoLegend {
			p.Legend.Add(s.Name, line)
		}
		p.Add(line)
		if s.Points {
			points.GlyphStyle = draw.GlyphStyle{Color: s.Color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
			p.Add(points)
		}
	}
	if l.YMin != 0 || l.YMax != 0 {
		p.Y.Min, p.Y.Max = l.YMin, l.YMax
	}
	if l.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, powers{}
	}
	if len(l.TicksX) > 0 {
		p.X.Tick.Marker = ticksAt(l.TicksX)
	}
	if l.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, powers{}
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle = style(p, fontSize)
	p.Legend.ThumbnailWidth = vg.Points(18)
	p.Legend.Padding = vg.Points(2)
	return p, nil
}

// shade marks a part of X behind the lines.
func (l Lines) shade(p *plot.Plot) error {
	if l.From == l.To {
		return nil
	}
	area, err := plotter.NewPolygon(plotter.XYs{{X: l.From, Y: l.YMin}, {X: l.To, Y: l.YMin}, {X: l.To, Y: l.YMax}, {X: l.From, Y: l.YMax}})
	if err != nil {
		return err
	}
	area.Color = Shade
	area.Width = 0
	p.Add(area)
	p.Legend.Add(l.ShadeName, area)
	return nil
}

// ticksAt returns a tick at each value.
func ticksAt(values []float64) (ticks plot.ConstantTicks) {
	for _, v := range values {
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%g", v)})
	}
	return ticks
}

// powers has a tick at each power of ten.
type powers struct{}

func (powers) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		ticks = append(ticks, plot.Tick{Value: math.Pow(10, e), Label: Short(math.Pow(10, e))})
	}
	return ticks
}

// Short writes a number in few letters: 1k, 2.5M, 0.03.
func Short(v float64) string {
	switch {
	case v >= 999_500:
		return trim(v/1e6, "M")
	case v >= 999.5:
		return trim(v/1e3, "k")
	default:
		return trim(v, "")
	}
}

func trim(v float64, unit string) string {
	digits := 0
	for limit := 99.5; digits < 3 && v < limit && v != math.Trunc(v); limit /= 10 {
		digits++
	}
	text := fmt.Sprintf("%.*f", digits, v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + unit
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font = face(10)
	p.Title.Padding = vg.Points(4)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font = face(fontSize)
		axis.Tick.Label.Font = face(fontSize)
		axis.Color = Reference
		axis.Width = vg.Points(0.6)
	}
	return p
}

func face(size float64) font.Font {
	f := plot.DefaultFont
	f.Typeface, f.Variant, f.Size = "Liberation", "Sans", vg.Points(size)
	return f
}

func style(p *plot.Plot, size float64) text.Style {
	s := p.Title.TextStyle
	s.Font = face(size)
	s.XAlign, s.YAlign = draw.XLeft, draw.YBottom
	return s
}

// Save draws panels, row by row, into a file under a title and above a note.
func Save(file, title, note string, width, height vg.Length, panels [][]*plot.Plot) error {
	const (
		head = 30 // points
		foot = 22
		gap  = 14
	)
	canvas := vgsvg.New(width, height+vg.Points(head+foot))
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Path())
	heading := style(plot.New(), 12)
	heading.Font.Weight = 1 // bold
	all.FillText(heading, vg.Point{X: vg.Points(gap), Y: all.Max.Y - vg.Points(head-10)}, title)
	all.FillText(style(plot.New(), 8), vg.Point{X: vg.Points(gap), Y: all.Min.Y + vg.Points(8)}, note)

	inner := draw.Crop(all, vg.Points(gap/2), -vg.Points(gap/2), vg.Points(foot), -vg.Points(head))
	tiles := draw.Tiles{Rows: len(panels), Cols: len(panels[0]), PadX: vg.Points(gap), PadY: vg.Points(gap)}
	canvases := plot.Align(panels, tiles, inner)
	for i, row := range panels {
		for j, p := range row {
			p.Draw(canvases[i][j])
		}
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The letters were measured as Liberation Sans. If that is not installed, these fonts are as
	// wide.
	named := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(file, named, 0o666)
}
