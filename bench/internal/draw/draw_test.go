package draw

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// texts returns what is written in an SVG file.
func texts(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var all strings.Builder
	tokens := xml.NewDecoder(strings.NewReader(string(raw)))
	for {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		require.NoError(t, err)
		if data, ok := token.(xml.CharData); ok {
			all.Write(data)
		}
	}
}

func TestBarsAreDrawnWithNamesAndLabels(t *testing.T) {
	panel := Bars{Title: "commands", Log: true, Line: 2, Bars: []Bar{
		{Name: "none <&>", Value: 0, Label: "0", Color: Other},
		{Name: "some", Value: 1000, Label: "1k", Color: Ours},
	}}
	named, err := panel.Plot(true)
	require.NoError(t, err)
	nameless, err := panel.Plot(false)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "bars.svg")
	require.NoError(t, Save(file, "the title", "the note", vg.Points(700), Height(2), [][]*plot.Plot{{named, nameless}}))
	written := texts(t, file)
	for want, times := range map[string]int{"the title": 1, "the note": 1, "commands": 2, "none <&>": 1, "some": 1, "1k": 2} {
		require.Equal(t, times, strings.Count(written, want), "%s in %s", want, written)
	}
}

func TestLinesAreDrawnOverLogAxes(t *testing.T) {
	panel := Lines{Title: "time", X: "keys", LogX: true, LogY: true, From: 10, To: 100, YMin: 0.1, YMax: 10, ShadeName: "out", Series: []Series{
		{Name: "one", Color: Ours, Points: true, XYs: plotter.XYs{{X: 1, Y: 0.1}, {X: 1000, Y: 10}}},
	}}
	p, err := panel.Plot()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "lines.svg")
	require.NoError(t, Save(file, "", "", vg.Points(400), vg.Points(300), [][]*plot.Plot{{p}}))
	for _, want := range []string{"time", "keys", "one", "out", "1k", "0.1"} {
		require.Contains(t, texts(t, file), want)
	}
}

func TestSaveSaysWhatIsWrong(t *testing.T) {
	p, err := Bars{Bars: []Bar{{Name: "a", Value: 1, Label: "1", Color: Ours}}}.Plot(true)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "no such directory", "x.svg")
	require.ErrorIs(t, Save(file, "", "", vg.Points(100), vg.Points(100), [][]*plot.Plot{{p}}), os.ErrNotExist)
}

func TestShortHasThreeDigitsOrSo(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.0312: "0.031", 1.234: "1.23", 12.34: "12.3", 123.4: "123",
		999.7: "1k", 1000: "1k", 1530: "1.53k", 10_000: "10k", 1_000_000: "1M", 2_500_000: "2.5M",
	} {
		require.Equal(t, want, Short(v), "%v", v)
	}
}
