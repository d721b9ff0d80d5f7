package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/internal/redistest"
)

// TestMain lets the test binary also be the child processes.
func TestMain(m *testing.M) {
	if arg := os.Args[1:]; slices.Equal(arg, []string{workerArg}) || slices.Equal(arg, []string{spinArg}) {
		main()
		return
	}
	os.Exit(m.Run())
}

// tiny is so small a load that every aim of a count must be met.
func tiny() size {
	s := quickSize()
	s.coldKeys, s.coldWorkers, s.burst, s.hits, s.largeHits = 40, []int{4}, 10, 40, 4
	s.fewKeys, s.fewWorkers, s.hold = 10, []int{1}, 0
	s.slowValue, s.slowBeside, s.givers = 1<<14, 5, 1
	s.limit = 10 * time.Second
	return s
}

func TestEveryScenePlaysAndATinyLoadMeetsItsAims(t *testing.T) {
	redistest.Require(t)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			o := outcome{Quick: true}
			require.NoError(t, o.play(s, tiny(), io.Discard))
			require.NotEmpty(t, o.Rows)
			for _, r := range o.Rows {
				require.NotEmpty(t, r.Limits, r.What)
				require.Positive(t, r.Calls, r.What)
				require.True(t, r.Done, "%+v", r)
				require.True(t, r.met() || s.name == "give-up" || s.name == "large-value", "%v", r.Limits)
			}
			var printed bytes.Buffer
			_ = o.deliver(&printed, "") // whether the aims are met is judged above
			require.Contains(t, printed.String(), o.Rows[0].What)
		})
	}
}

func TestMissedAimFailsWhenAllIsWritten(t *testing.T) {
	r := row{What: "100 keys", Condition: "busy loop", Keys: 100, report: report{Computations: 101, Stored: 99, Took: 3 * time.Second}, Bare: time.Second}
	r.limit("computations", float64(r.Computations), 102)
	require.True(t, r.met())
	r.allStored()
	require.False(t, r.met())
	require.Equal(t, 3.0, r.ratio())
	dir := filepath.Join(t.TempDir(), "out")
	o := outcome{Rows: []row{r}, Aims: r.Limits}
	var stdout bytes.Buffer
	err := o.deliver(&stdout, dir)
	require.ErrorContains(t, err, "1 of 3 aims missed")
	require.ErrorContains(t, err, "100 keys, busy loop: stored: 99, aim >= 100")
	require.Contains(t, stdout.String(), "MISSED  100 keys")
	raw, err := os.ReadFile(filepath.Join(dir, "overload.json"))
	require.NoError(t, err)
	var back outcome
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, 101, back.Rows[0].Computations)
}

func TestCallsAreCountedByWhatTheyGot(t *testing.T) {
	gaveUp, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		ids  []int64
		err  error
		want [3]int64 // refused, gave up, failed
	}{
		"an answer":            {context.Background(), numbersOf(7, 10), nil, [3]int64{}},
		"refused":              {context.Background(), nil, fncache.ErrColdCache, [3]int64{1}},
		"gave up":              {gaveUp, nil, context.Canceled, [3]int64{0, 1}},
		"refused while giving": {gaveUp, nil, fncache.ErrColdCache, [3]int64{1}},
		"another error":        {context.Background(), nil, errors.New("broken"), [3]int64{0, 0, 1}},
		"another's value":      {context.Background(), numbersOf(8, 10), nil, [3]int64{0, 0, 1}},
		"half of a value":      {context.Background(), numbersOf(7, 10)[:5], nil, [3]int64{0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var got tally
			f := &function{numbers: 10, call: func(context.Context, int64) ([]int64, error) { return c.ids, c.err }}
			_ = got.one(c.ctx, f, 7)
			require.EqualValues(t, 1, got.calls.Load())
			require.Equal(t, c.want, [3]int64{got.refused.Load(), got.gaveUp.Load(), got.failed.Load()})
		})
	}
}

func TestValuesOfAThousandIDsDiffer(t *testing.T) {
	seen := map[int64]bool{}
	for id := range int64(1000) {
		last := numbersOf(id, 10)[9]
		require.Positive(t, last)
		require.False(t, seen[last])
		seen[last] = true
	}
	raw, err := json.Marshal(numbersOf(1, largeNumbers))
	require.NoError(t, err)
	require.InDelta(t, 160_000, len(raw), 8_000)
}

func TestDurationsAreSelectedByWhenCallsBegan(t *testing.T) {
	var d durations
	at := time.Now()
	for i := range 5 {
		d.add(at.Add(time.Duration(i)*time.Second), time.Duration(i)*time.Millisecond)
	}
	require.Equal(t, []time.Duration{3 * time.Millisecond, 4 * time.Millisecond}, d.after(at.Add(2*time.Second)))
	d.add(at.Add(9*time.Second), 0)
	require.Equal(t, at.Add(4*time.Second+4*time.Millisecond), d.lastOver(2*time.Millisecond))
	require.Zero(t, d.lastOver(time.Second))
	require.Zero(t, measure.Quantile(d.after(at.Add(time.Hour)), 0.99))
}

func TestBadFlagsAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-only warm": `no scene "warm"`, "quick": `"quick"`, "-no-such-flag": "no-such-flag", "-only cold,": `no scene ""`, "-machine warm": `no machine "warm"`,
	} {
		require.ErrorContains(t, run(strings.Fields(args), &bytes.Buffer{}, &bytes.Buffer{}), want, args)
	}
}

func TestWorkerRefusesAnUnknownOrder(t *testing.T) {
	_, err := (&worker{}).obey(order{Do: "dance"})
	require.ErrorContains(t, err, `"dance"`)
	require.NoError(t, (&worker{}).close())
}
