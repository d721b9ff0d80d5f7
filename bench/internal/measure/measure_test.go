package measure

import (
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedianIsTheMiddleAndLeavesTheValuesAsTheyAre(t *testing.T) {
	values := []float64{9, 1, 5}
	require.Equal(t, 5.0, Median(values))
	require.Equal(t, []float64{9, 1, 5}, values)
	require.Equal(t, 3.0, Median([]float64{5, 1}))
	require.Equal(t, 3.0, Median([]float64{100, 1, 2, 4}))
	require.True(t, math.IsNaN(Median(nil)))
}

func TestQuantileCountsFromTheSmallest(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		require.Equal(t, want, Quantile(hundred, q), "q %v", q)
	}
	require.Equal(t, time.Duration(100), hundred[0], "the durations have been sorted in place")
	require.Zero(t, Quantile(nil, 0.5))
	require.Equal(t, time.Duration(7), Quantile([]time.Duration{7}, 0.01))
}

func TestRatioIsTheMedianOverPairsAndNotTheRatioOfMedians(t *testing.T) {
	r := Results{
		{{Nanoseconds: 10}, {Nanoseconds: 100}, {Nanoseconds: 1000}}, // the machine slows down
		{{Nanoseconds: 20}, {Nanoseconds: 200}, {Nanoseconds: 500}},
	}
	require.Equal(t, 0.5, r.Ratio(0, 1))
	require.Equal(t, 2.0, r.Ratio(1, 0))
	require.Equal(t, 100.0, r.Median(0).Nanoseconds)
}

func TestTurnMakesEachCallOnceAndSaysHowLongOneTakes(t *testing.T) {
	var mu sync.Mutex
	var seen []int
	sample, err := Turn(func(i int) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, i)
		return nil
	}, 4, 20)
	require.NoError(t, err)
	slices.Sort(seen)
	require.Len(t, seen, 20)
	require.Equal(t, seen, slices.Compact(slices.Clone(seen)))
	require.Positive(t, sample.Nanoseconds)
}

func TestTurnCountsAllocations(t *testing.T) {
	var kept [1000][]byte
	sample, err := Turn(func(i int) error {
		kept[i] = make([]byte, 4096)
		return nil
	}, 1, len(kept))
	require.NoError(t, err)
	require.InDelta(t, 1, sample.Allocs, 0.5)
	require.InDelta(t, 4096, sample.Bytes, 400)
	require.NotNil(t, kept[999])
}

func TestTurnEndsWithTheErrorOfACall(t *testing.T) {
	broken := errors.New("broken")
	_, err := Turn(func(i int) error {
		if i == 7 {
			return broken
		}
		return nil
	}, 2, 10)
	require.ErrorIs(t, err, broken)
}

func TestOrderHasEachRunnerOnceARoundAndNotAlwaysAfterTheSame(t *testing.T) {
	behind := map[[2]int]bool{}
	for round := range 8 {
		turns := order(4, round)
		for i := 1; i < len(turns); i++ {
			behind[[2]int{turns[i-1], turns[i]}] = true
		}
		slices.Sort(turns)
		require.Equal(t, []int{0, 1, 2, 3}, turns)
	}
	require.True(t, behind[[2]int{0, 1}] && behind[[2]int{1, 0}])
}

func TestRaceMeasuresEveryRunnerInEveryRound(t *testing.T) {
	idle := func(int) error { return nil }
	results, err := Race(Plan{Callers: 2, Rounds: 3, Turn: time.Millisecond}, []Runner{{"a", idle}, {"b", idle}})
	require.NoError(t, err)
	require.Len(t, results, 2)
	for _, samples := range results {
		require.Len(t, samples, 3)
		for _, s := range samples {
			require.Positive(t, s.Nanoseconds)
		}
	}
	broken := func(int) error { return errors.New("broken") }
	_, err = Race(Plan{Callers: 1, Rounds: 1, Turn: time.Millisecond}, []Runner{{"a", idle}, {"culprit", broken}})
	require.ErrorContains(t, err, "culprit: broken")
}

func TestProcessorTimeIsThatOfAllCallersAndNotOfWaiting(t *testing.T) {
	if math.IsNaN(processor()) {
		t.Skip("this system does not report the processor time of a process")
	}
	const turn = 50 * time.Millisecond
	waiting, err := Turn(func(int) error { time.Sleep(turn); return nil }, 1, 1) // the wait is measured
	require.NoError(t, err)
	before := processor()
	working, err := Turn(func(int) error {
		for processor()-before < float64(turn) { // also on a busy machine
		}
		return nil
	}, 2, 2)
	require.NoError(t, err)
	require.InDelta(t, float64(turn)/2, working.Processor, float64(turn)/4)
	require.Less(t, waiting.Processor, working.Processor/2)
}

func TestProcessorRatioIsTheMedianOverPairs(t *testing.T) {
	r := Results{{{Processor: 10}, {Processor: 100}, {Processor: 1000}}, {{Processor: 20}, {Processor: 200}, {Processor: 500}}}
	require.Equal(t, 0.5, r.ProcessorRatio(0, 1))
	require.Equal(t, 100.0, r.Median(0).Processor)
}
