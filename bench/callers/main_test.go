package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/internal/redistest"
)

func TestQuickRunPrintsTablesAndWritesResultsAndAPlot(t *testing.T) {
	redistest.Require(t)
	dir := filepath.Join(t.TempDir(), "out")
	var stdout, stderr bytes.Buffer
	require.NoError(t, run([]string{"-quick", "-out", dir}, &stdout, &stderr), &stderr)
	for _, want := range []string{"Time per hit", "Processor time", "Allocations", "Aims", peers.FncacheTyped} {
		require.Contains(t, stdout.String(), want)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "callers.json"))
	require.NoError(t, err)
	var o outcome
	require.NoError(t, json.Unmarshal(raw, &o))
	require.Len(t, o.Plan.Points, 12)
	require.Len(t, o.Rows, 12*6)
	for _, r := range o.Rows {
		require.Positive(t, r.Nanoseconds, "%+v", r)
		require.Positive(t, r.Allocs, "%+v", r)
	}
	require.FileExists(t, filepath.Join(dir, "callers.svg"))
}

// fill gives both forms of fncache the same figures everywhere, and the other peers 1.
func (o *outcome) fill(time, processor, allocs float64) {
	for _, p := range o.Plan.Points {
		for _, peer := range []string{peers.Bare, peers.Cache} {
			o.Rows = append(o.Rows, row{Peer: peer, point: p, Ratio: 1, ProcessorRatio: 1, Allocs: 1})
		}
		for _, peer := range []string{peers.Fncache, peers.FncacheTyped} {
			o.Rows = append(o.Rows, row{Peer: peer, point: p, Ratio: time, ProcessorRatio: processor, Allocs: allocs, To: map[string]float64{peers.Bare: time, peers.Cache: time}})
		}
	}
}

func TestEveryAimIsMetOrMissedByItsOwnFigure(t *testing.T) {
	for name, c := range map[string]struct {
		time, processor, allocs float64
		missed                  int
	}{
		"all met":        {0.25, 0.28, 12, 0},
		"time":           {2, 0.28, 12, 16 + 2}, // 8 points, twice, and the one key
		"processor time": {0.25, 2, 12, 16},
		"allocations":    {0.25, 0.28, 17, 2},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{Plan: fullPlan()}
			o.fill(c.time, c.processor, c.allocs)
			o.judge()
			require.Len(t, o.Aims, 2*16+2+2)
			missed := 0
			for _, a := range o.Aims {
				if !a.Met {
					missed++
				}
			}
			require.Equal(t, c.missed, missed, "%v", o.Aims)
			require.NoError(t, o.deliver(&bytes.Buffer{}, "", false))
			if err := o.deliver(&bytes.Buffer{}, "", true); c.missed > 0 {
				require.ErrorContains(t, err, "missed")
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestAimsWithoutFiguresAreMissed(t *testing.T) {
	o := outcome{Plan: fullPlan()}
	o.judge()
	for _, a := range o.Aims {
		require.False(t, a.Met, "%v", a)
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	for args, want := range map[string]string{"quick": `"quick"`, "-no-such-flag": "no-such-flag"} {
		require.ErrorContains(t, run(strings.Fields(args), &bytes.Buffer{}, &bytes.Buffer{}), want)
	}
}
