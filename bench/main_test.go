package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/bench/internal/server"
	"github.com/fncache/fncache/internal/redistest"
)

// TestMain lets the test binary also be the workers.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{workerArg}) {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestQuickRunPrintsTablesAndWritesResultsAndPlots(t *testing.T) {
	redistest.Require(t)
	dir := filepath.Join(t.TempDir(), "out")
	var stdout, stderr bytes.Buffer
	require.NoError(t, run([]string{"-quick", "-only", "remote,near,cold,storm,scale", "-out", dir}, &stdout, &stderr), &stderr)
	for _, want := range []string{"Warm, remote", "Warm, near", "Cold stampede", "Invalidation storm", "Scale", "Aims", peers.Fncache, "otter"} {
		require.Contains(t, stdout.String(), want)
	}
	require.NotContains(t, stdout.String(), "Stale stampede")
	raw, err := os.ReadFile(filepath.Join(dir, "results.json"))
	require.NoError(t, err)
	var r results
	require.NoError(t, json.Unmarshal(raw, &r))
	require.Len(t, r.WarmRemote, 3*6*len(peers.Remote[ids]()))
	require.Len(t, r.WarmNear, 3*6*(1+len(peers.Near[ids]())))
	require.Len(t, r.Scale, 2*len(scaled()))
	for _, row := range r.Scale {
		inRedis := row.Peer != "otter" && row.Peer != peers.Sturdyc
		require.Equal(t, inRedis, row.RedisBytes > 0, "%+v", row)
	}
	require.NotEmpty(t, r.About.Modules["github.com/viccon/sturdyc"])
	for _, row := range r.ColdStampede {
		a := row.Answers
		require.Equal(t, 40, a.Old+a.New+a.Refused+a.Failed, row.Peer)
		require.Zero(t, a.Failed, row.Peer)
		require.Positive(t, row.Computations, row.Peer)
	}
	plots, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	require.NoError(t, err)
	require.Len(t, plots, 6+3)
}

func TestStaleStampedeTellsOldFromNew(t *testing.T) {
	redistest.Require(t)
	s, err := server.Start()
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	b := newBench()
	b.quicken()
	b.server = s
	row, err := b.burst(peers.Fncache, true)
	require.NoError(t, err)
	require.Equal(t, 1, row.Computations)
	require.Equal(t, 40, row.Answers.Old+row.Answers.New, "%+v", row.Answers)
	require.NotZero(t, row.Answers.Old)
	require.NotZero(t, row.Answers.New)
}

func TestBadFlagsAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-only warm":         `no workload "warm"`,
		"-catalog none.csv":  "none.csv",
		"quick":              `"quick"`,
		"-no-such-flag":      "no-such-flag",
		"-only remote,,cold": `no workload ""`,
	} {
		err := run(strings.Fields(args), &bytes.Buffer{}, &bytes.Buffer{})
		require.ErrorContains(t, err, want, args)
	}
}

func TestWorkerReportsWhatItCannotDo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, work(strings.NewReader(`{"Do":"open","Peer":"memcached"}`+"\n"+`{"Do":"dance"}`), &out))
	reports := json.NewDecoder(&out)
	for _, want := range []string{"memcached", "dance"} {
		var r struct{ Err string }
		require.NoError(t, reports.Decode(&r))
		require.Contains(t, r.Err, want)
	}
	require.ErrorContains(t, work(strings.NewReader("{"), &out), "read an order")
}

func TestStampedeAddsUpWhatTheProcessesReport(t *testing.T) {
	row := stampedeResult("p", []report{
		{Computations: 1, Answers: answers{New: 1, Refused: 1}, Waits: []time.Duration{5, 1}},
		{Computations: 2, Answers: answers{Old: 1, Failed: 1}, Waits: []time.Duration{2, 9}},
	}, map[string]int{"get": 4, "evalsha": 3})
	require.Equal(t, stampedeRow{
		Peer: "p", Computations: 3, Commands: 7, ByName: map[string]int{"get": 4, "evalsha": 3},
		LastAnswer: 9, P50: 2, P99: 9, Answers: answers{1, 1, 1, 1},
	}, row)
}

func TestAnswersAreJudgedByWhatTheyHold(t *testing.T) {
	require.Equal(t, answers{New: 1}, judge(tenIDs(newVersion), nil).Answers)
	require.Equal(t, answers{Old: 1}, judge(tenIDs(oldVersion), nil).Answers)
	require.Equal(t, answers{Failed: 1}, judge(nil, nil).Answers)
	require.Equal(t, answers{Failed: 1}, judge(nil, os.ErrClosed).Answers)
}

func TestReadIsStaleOnlyIfItBeganAfterTheInvalidation(t *testing.T) {
	const grace = 50
	var row stormRow
	row.judge(100, 0, grace) // no newer value
	row.judge(100, 100, grace)
	row.judge(100, 120, grace) // invalidated while it was read
	require.Equal(t, stormRow{}, row)
	row.judge(100, 60, grace)
	require.Equal(t, stormRow{Stale: 1, Worst: 40}, row)
	row.judge(100, 49, grace)
	require.Equal(t, stormRow{Stale: 2, Late: 1, Worst: 51}, row)
}

func warmCell(rows ...warmRow) []warmRow {
	for i := range rows {
		rows[i].Value, rows[i].Callers, rows[i].Keys = tenValue, 128, oneKey
	}
	return rows
}

func TestFastestPeerIsNeverOurs(t *testing.T) {
	rows := warmCell(
		warmRow{Peer: peers.Fncache, Nanoseconds: 1}, warmRow{Peer: "shares", Shared: true, Nanoseconds: 2},
		warmRow{Peer: "copies", Nanoseconds: 3}, warmRow{Peer: "slow", Nanoseconds: 9})
	require.Equal(t, "shares", fastest(rows, true).Peer)
	require.Equal(t, "copies", fastest(rows, false).Peer)
}

func TestAimsAreMetOrMissed(t *testing.T) {
	cell := func(callers int, keys string, rows ...warmRow) []warmRow {
		rows = warmCell(rows...)
		for i := range rows {
			rows[i].Callers, rows[i].Keys = callers, keys
		}
		return rows
	}
	to := func(peer string, times float64) map[string]float64 { return map[string]float64{peer: times} }
	r := results{
		WarmRemote: slices.Concat(
			cell(1, oneKey, warmRow{Peer: peers.Fncache, Ratio: to(peers.Bare, 1.4)}, warmRow{Peer: peers.FncacheTyped, Ratio: to(peers.Bare, 1.04)}),
			cell(128, oneKey,
				warmRow{Peer: peers.Fncache, Nanoseconds: 5, Ratio: map[string]float64{"shares": 1.5, "copies": 0.9}},
				warmRow{Peer: "shares", Shared: true, Nanoseconds: 3}, warmRow{Peer: "copies", Nanoseconds: 6}),
			cell(128, "100 keys", warmRow{Peer: peers.FncacheTyped, Ratio: to(peers.Bare, 0.5)})),
		WarmNear: cell(1, oneKey,
			warmRow{Peer: peers.FncacheNear, Ratio: to(peers.LocalCache, 0.8)}, warmRow{Peer: peers.FncacheNearTyped, Ratio: to(peers.Sturdyc, 0.5)}),
		ColdStampede: []stampedeRow{{Peer: "other", MostComputations: 4}, {Peer: peers.Fncache, MostComputations: 1, Commands: 9, MostCommands: 31}},
		Storm:        []stormRow{{Peer: peers.Fncache, Late: 1}},
		Scale: []scaleRow{
			{Peer: peers.Fncache, ToBare: 1},
			{Peer: peers.FncacheNear, Nanoseconds: 100},
			{Peer: peers.Otter, Nanoseconds: 10},
			{Peer: peers.Fncache, ToBare: 1.2},
			{Peer: peers.FncacheNear, Nanoseconds: 500},
			{Peer: peers.Otter, Nanoseconds: 100},
		},
	}
	require.NoError(t, r.judge(workloads()))
	var met []bool
	for _, a := range r.Aims {
		met = append(met, a.Met)
	}
	require.Equal(t, []bool{false, true, false, true, true, false, true, true, false, false, true, false, true}, met, "%v", r.Aims)
	require.Contains(t, r.Aims[0].String(), "MISSED")
	require.True(t, measure.AtLeast("", 2, 2).Met)
	require.False(t, measure.AtLeast("", 2, 1.9).Met)
	require.ErrorContains(t, (&results{}).judge(workloads()), `the aim "near hit, Wrap`)
}

func TestAStampedeIsJudgedByTheWorstOfItsRuns(t *testing.T) {
	row := middle([]stampedeRow{
		{LastAnswer: 1, Computations: 1, Commands: 40}, {LastAnswer: 3, Computations: 2, Commands: 9}, {LastAnswer: 2, Computations: 1, Commands: 10},
	})
	require.Equal(t, stampedeRow{LastAnswer: 2, Computations: 1, Commands: 10, MostComputations: 2, MostCommands: 40}, row)
}

func TestValuesAreAsLargeAsTheirNamesSay(t *testing.T) {
	require.Len(t, tenIDs(1), 10)
	require.Len(t, aPage(1).Text, 64<<10)
	raw, err := json.Marshal(aBook(1))
	require.NoError(t, err)
	require.InDelta(t, 700, len(raw), 70)
}
