package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/internal/redistest"
)

func TestQuickRunPrintsATableAndWritesResultsAndAPlot(t *testing.T) {
	redistest.Require(t)
	for _, how := range []string{"load", "load-kill"} {
		dir := filepath.Join(t.TempDir(), "out")
		var stdout, stderr bytes.Buffer
		require.NoError(t, run([]string{"-quick", "-out", dir, "-kill=" + map[string]string{"load": "false", "load-kill": "true"}[how]}, &stdout, &stderr))
		require.Contains(t, stdout.String(), peers.FncacheWaiting)
		raw, err := os.ReadFile(filepath.Join(dir, how+".json"))
		require.NoError(t, err)
		var o outcome
		require.NoError(t, json.Unmarshal(raw, &o))
		require.Len(t, o.Runs, 2)
		for _, r := range o.Runs {
			require.Len(t, r.Phases, 4)
			require.Positive(t, r.Phases[0].Answered, "%s %s", how, r.Peer)
		}
		require.Len(t, o.Aims, 4)
		require.True(t, o.Aims[0].Met, "fncache failed: %v, %s", o.Aims[0], o.Runs[0].Failure)
		require.True(t, o.Aims[2].Met, "%v", o.Aims[2])
		require.FileExists(t, filepath.Join(dir, how+".svg"))
	}
}

func TestMissedAimFailsAFullRunWhenAllIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		plan   plan
		failed int
		err    string
	}{
		"all met":           {fullPlan(), 0, ""},
		"one missed":        {fullPlan(), 2, "1 of 4 aims missed"},
		"in a smoke test":   {quickPlan(), 2, ""},
		"with Redis killed": {func() plan { p := fullPlan(); p.Kill = true; return p }(), 2, "1 of 4 aims missed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.plan.result("p", []call{{0, time.Second, nil}}, &function{})
			r.Phases[0].Failed = c.failed
			o := outcome{Plan: c.plan, Runs: []result{r}, Aims: r.aims()}
			dir := t.TempDir()
			var stdout bytes.Buffer
			err := o.deliver(&stdout, dir)
			require.Contains(t, stdout.String(), "\nAims")
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
				require.ErrorContains(t, err, "calls that failed: 2")
				require.NotContains(t, err.Error(), "at once", "which was met")
			}
			written, err := filepath.Glob(filepath.Join(dir, "load*"))
			require.NoError(t, err)
			require.Len(t, written, 2, "%v", written)
		})
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	require.ErrorContains(t, run([]string{"now"}, &bytes.Buffer{}, &bytes.Buffer{}), `"now"`)
	require.ErrorContains(t, run([]string{"-catalog", "none.csv"}, &bytes.Buffer{}, &bytes.Buffer{}), "none.csv")
}

func TestCallsBelongToTheOutageIfTheyWereUnderWayInIt(t *testing.T) {
	const s = time.Second
	p := plan{Before: 10 * s, Outage: 10 * s, After: 10 * s, Settling: s, Patience: s}
	f := &function{running: make([]atomic.Int32, 1), runs: []computation{{9 * s, s, 5}, {12 * s, s, 1}, {13 * s, 3 * s, 2}, {31 * s, s, 1}}}
	r := p.result("p", []call{
		{1 * s, 2 * s, nil},
		{9 * s, 15 * s, errors.New("gone")}, // it began before and was hit
		{10 * s, 11 * s, nil},
		{12 * s, 13 * s, nil},
		{19 * s, 25 * s, nil}, // it ended after
		{20 * s, 21 * s, nil},
	}, f)
	var answered, failed, runs, atOnce []int
	for _, ph := range r.Phases {
		answered, failed = append(answered, ph.Answered), append(failed, ph.Failed)
		runs, atOnce = append(runs, ph.Computations), append(atOnce, ph.OneKeyAtOnce)
	}
	require.Equal(t, []int{1, 3, 2, 1}, answered)
	require.Equal(t, []int{0, 1, 0, 0}, failed)
	require.Equal(t, []int{1, 2, 2, 0}, runs)
	require.Equal(t, []int{5, 2, 2, 0}, atOnce)
	require.Equal(t, "gone", r.Failure)
	require.Equal(t, 6*s, r.Phases[1].Max)
	require.Equal(t, 3*s, r.Phases[1].OwnP99)
}

func TestAimsOfAnOutage(t *testing.T) {
	const ms = time.Millisecond
	r := result{Peer: "p", Phases: []phase{
		{Name: "before", OneKeyAtOnce: 1},
		{Name: outage, Max: 519 * ms, OwnP99: 21 * ms, OneKeyAtOnce: 1},
		{Name: knownAway, P99: 23 * ms, OwnP99: 21 * ms, OneKeyAtOnce: 1},
	}}
	for _, a := range r.aims() {
		require.True(t, a.Met, "%v", a)
	}
	r.Phases[0].Failed, r.Phases[1].Max, r.Phases[2].OneKeyAtOnce, r.Phases[2].P99 = 1, 522*ms, 2, 24*ms
	for _, a := range r.aims() {
		require.False(t, a.Met, "%v", a)
	}
}

func TestBucketsCountAnswersWhereTheyCameAndTimesWhereCallsBegan(t *testing.T) {
	p := plan{Before: time.Second, Outage: time.Second}
	buckets := p.buckets([]call{
		{0, 100 * time.Millisecond, nil},
		{100 * time.Millisecond, 1100 * time.Millisecond, nil},
		{600 * time.Millisecond, 700 * time.Millisecond, errors.New("gone")},
		{1900 * time.Millisecond, 4 * time.Second, nil}, // a straggler
	})
	require.Len(t, buckets, 5)
	require.Equal(t, bucket{0, 2, 1, 0, time.Second, time.Second}, buckets[0])
	require.Equal(t, bucket{500 * time.Millisecond, 1, 0, 1, 100 * time.Millisecond, 100 * time.Millisecond}, buckets[1])
	require.Equal(t, 1, buckets[2].Ended)
	require.Equal(t, 1, buckets[3].Began)
	require.Zero(t, buckets[3].Ended)
}
