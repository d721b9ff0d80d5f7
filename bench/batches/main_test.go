package main

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/internal/redistest"
)

func TestQuickRunPrintsTablesAndCounts(t *testing.T) {
	redistest.Require(t)
	var stdout, stderr bytes.Buffer
	require.NoError(t, run([]string{"-quick"}, &stdout, &stderr), &stderr)
	for _, want := range []string{
		"that are in Redis", "that are in the process", "that are not cached", "not meaningful",
		"met     fncache, WrapBatch, 100 cold ids: runs of the function: 1",
		"met     fncache, WrapBatch, 100 cold ids: round trips",
	} {
		require.Contains(t, stdout.String(), want)
	}
	for line := range strings.Lines(stdout.String()) {
		if strings.Contains(line, "MGET") && strings.HasSuffix(strings.TrimSpace(line), "µs") && !strings.HasPrefix(line, "A call") {
			words := strings.Fields(line)
			require.Equal(t, []string{"1", "2"}, words[len(words)-3:len(words)-1], "one run and two round trips: MGET and the SETs")
		}
	}
}

// measured is an outcome in which fncache has these figures.
func measured(redis, process float64, runs, roundTrips int) *outcome {
	return &outcome{
		hits: []table{
			{rows: []row{{peer: "first", time: 1}, {peer: batch, time: redis}}},
			{rows: []row{{peer: "first", time: 1}, {peer: nearBatch, time: process}}},
		},
		cold: []coldRow{{peer: "first", runs: 100, roundTrips: 200}, {peer: batch, runs: runs, roundTrips: roundTrips}},
	}
}

func TestEveryAimIsMetOrMissedByItsOwnFigure(t *testing.T) {
	for name, c := range map[string]struct {
		o      *outcome
		missed string
	}{
		"all met":        {measured(1.3, 0.5, 1, 4), ""},
		"in Redis":       {measured(1.4, 0.5, 1, 4), "in Redis"},
		"in the process": {measured(1.3, 0.6, 1, 4), "in the process"},
		"runs":           {measured(1.3, 0.5, 2, 4), "runs"},
		"round trips":    {measured(1.3, 0.5, 1, 5), "round trips"},
		"no figure":      {measured(math.NaN(), 0.5, 1, 4), "in Redis"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.judge()
			require.Len(t, c.o.aims, 4)
			err := measure.Missed(c.o.aims)
			if c.missed == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "1 of 4 aims missed")
			require.ErrorContains(t, err, c.missed)
		})
	}
	require.True(t, math.IsNaN(table{}.at(batch).time), "a peer without figures")
}

func TestBadFlagsAreRefused(t *testing.T) {
	for args, want := range map[string]string{"quick": `"quick"`, "-no-such-flag": "no-such-flag"} {
		require.ErrorContains(t, run(strings.Fields(args), &bytes.Buffer{}, &bytes.Buffer{}), want)
	}
}
