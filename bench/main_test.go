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

	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/bench/internal/server"
	"github.com/fncache/fncache/internal/redistest"
)

// TestMain lets the test binary be the workers too.
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
		var r report
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
	row.judge(100, 0, grace) // nothing has taken the value's place
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
	r := results{
		WarmRemote: warmCell(
			warmRow{Peer: peers.Fncache, Nanoseconds: 5, Ratio: map[string]float64{"shares": 1.5, "copies": 0.9}},
			warmRow{Peer: "shares", Shared: true, Nanoseconds: 3}, warmRow{Peer: "copies", Nanoseconds: 6}),
		ColdStampede: []stampedeRow{{Peer: "other", Computations: 4}, {Peer: peers.Fncache, Computations: 1, Commands: 31}},
		Storm:        []stormRow{{Peer: peers.Fncache, Late: 1}},
	}
	r.judge()
	var met []bool
	for _, a := range r.Aims {
		met = append(met, a.Met)
	}
	require.Equal(t, []bool{false, true, true, false, false}, met, "%v", r.Aims)
	require.Contains(t, r.Aims[0].String(), "MISSED")
	require.True(t, atLeast("", 2, 2).Met)
	require.False(t, atLeast("", 2, 1.9).Met)
}

func TestFieldOfInfo(t *testing.T) {
	used, err := field("# Memory\r\nused_memory:1024\r\nused_memory_rss:9\r\n", "used_memory")
	require.NoError(t, err)
	require.Equal(t, 1024.0, used)
	_, err = field("", "used_memory")
	require.ErrorContains(t, err, "used_memory")
}

func TestValuesAreAsLargeAsTheirNamesSay(t *testing.T) {
	require.Len(t, tenIDs(1), 10)
	require.Len(t, aPage(1).Text, 64<<10)
	raw, err := json.Marshal(aBook(1))
	require.NoError(t, err)
	require.InDelta(t, 700, len(raw), 70)
}
