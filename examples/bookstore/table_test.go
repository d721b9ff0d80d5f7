package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

func answered(from int, source fncache.Source, took time.Duration, why string) arrival {
	return arrival{report{Event: eventAnswer, Source: source.String(), Took: took, Err: why, Commands: 3}, from}
}

func TestTallyCountsEveryRequestOnce(t *testing.T) {
	tl := newTally("act", 2)
	tl.add(arrival{report{Event: eventComputing, Commands: 4}, 0})
	tl.add(answered(0, fncache.SourceRefused, 3*time.Millisecond, ""))
	tl.killed = 0
	tl.add(arrival{report{Event: eventGone}, 0})
	tl.add(arrival{report{Event: eventComputing}, 1})
	tl.add(answered(1, fncache.SourceComputed, 2*time.Millisecond, ""))
	tl.add(answered(1, fncache.SourceFailed, time.Millisecond, "gave up"))
	tl.add(arrival{report{Event: eventDone, Commands: 7}, 1})
	require.Equal(t, result{
		act: "act", computations: 2, commands: 11,
		answers:  map[string]int{"refused": 1, "computed": 1, "failed": 3},
		failures: map[string]int{"gave up": 1, "died with their process": 2},
		p50:      2 * time.Millisecond, p99: 3 * time.Millisecond,
	}, tl.end(3))
}

func TestPercentile(t *testing.T) {
	var took []time.Duration
	require.Zero(t, percentile(took, 50))
	for i := range 100 {
		took = append(took, time.Duration(i+1))
	}
	require.EqualValues(t, 50, percentile(took, 50))
	require.EqualValues(t, 99, percentile(took, 99))
	require.EqualValues(t, 1, percentile(took[:1], 99))
}

func TestTableIsAligned(t *testing.T) {
	var out strings.Builder
	printTable(&out, []result{
		{act: "no cache", computations: 77, answers: map[string]int{"computed": 49, "failed": 951}, p50: 10 * time.Second, p99: 10*time.Second + 80*time.Millisecond, failures: map[string]int{"gave up": 951}},
		{act: "fresh", answers: map[string]int{"fresh": 1000}, p50: 7240 * time.Microsecond, p99: 14 * time.Millisecond, commands: 7},
	})
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, []string{
		"act       requests  computations  computed  fresh  stale  refused  failed     p50     p99  Redis commands",
		"--------  --------  ------------  --------  -----  -----  -------  ------  ------  ------  --------------",
		"no cache     1,000            77        49      0      0        0     951  10.0 s  10.1 s               0",
		"fresh        1,000             0         0  1,000      0        0       0  7.2 ms   14 ms               7",
	}, lines[:4])
	for _, title := range strings.Fields("requests computations computed fresh stale refused failed p50 p99") {
		require.Contains(t, out.String(), "\n"+title+" ", "the legend")
	}
	require.Contains(t, out.String(), `in act "no cache" 951 gave up`)
}

func TestTableHasWaitedWhereSomebodyDid(t *testing.T) {
	var out strings.Builder
	printTable(&out, []result{{act: "cold", answers: map[string]int{"waited": 999, "computed": 1}}})
	require.Contains(t, out.String(), "  waited  ")
	require.Contains(t, out.String(), "\nwaited ")
}
