// Package measure turns turns of work into figures: medians, ratios, quantiles.
//
// No machine is idle, so the relevant figures are ratios of two runners that were measured in
// turns. See [Race].
package measure

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Median returns the middle of the values, or the mean of the two in the middle, or NaN if there
// are none. It does not modify values.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

// Quantile returns the smallest duration that at least the share q of them do not exceed, or 0 if
// there are none. It does not modify durations.
func Quantile(durations []time.Duration, q float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// A Sample is the cost of one turn of a runner, per call.
type Sample struct {
	Nanoseconds float64 // of wall clock, of all callers together: 1e9 divided by it is the throughput
	Processor   float64 // nanoseconds of processor time of this process, on all cores; NaN if unknown
	Allocs      float64
	Bytes       float64 // allocated
}

// A Call is the measured operation. i counts the calls of a runner, and differs between
// callers.
type Call func(i int) error

// Turn lets callers make n calls in total and measures them. The callers start before the
// measurement, so the cost of a goroutine is not part of a call.
func Turn(call Call, callers, n int) (Sample, error) {
	var (
		before, after runtime.MemStats
		wg            sync.WaitGroup
		loose         = make(chan struct{})
		faults        = make([]error, callers)
		each          = max(n/callers, 1)
	)
	for caller := range callers {
		wg.Go(func() {
			<-loose
			for i := range each {
				if err := call(caller*each + i); err != nil {
					faults[caller] = err
					return
				}
			}
		})
	}
	runtime.ReadMemStats(&before)
	spent, began := processor(), time.Now()
	close(loose)
	wg.Wait()
	took, spent := time.Since(began), processor()-spent
	runtime.ReadMemStats(&after)
	for _, err := range faults {
		if err != nil {
			return Sample{}, err
		}
	}
	calls := float64(each * callers)
	return Sample{
		Nanoseconds: float64(took) / calls,
		Processor:   spent / calls,
		Allocs:      float64(after.Mallocs-before.Mallocs) / calls,
		Bytes:       float64(after.TotalAlloc-before.TotalAlloc) / calls,
	}, nil
}

// A Runner is one contestant of a Race.
type Runner struct {
	Name string
	Call Call
}

// A Plan says how long a race takes.
type Plan struct {
	Callers int
	Rounds  int
	Turn    time.Duration // approximate duration of a turn; the number of calls is calibrated before the first round
	// KeepGarbage skips the collection before each turn, which takes too long for large heaps.
	KeepGarbage bool
}

// Results are the samples of a race, by runner and round.
type Results [][]Sample

// Race lets the runners take turns. In each round each runner has one turn, and the order
// changes from round to round, so disturbances affect all runners alike and no runner always
// follows the same other one. Each turn begins after a garbage collection, unless the plan says
// otherwise.
func Race(p Plan, runners []Runner) (Results, error) {
	results := make(Results, len(runners))
	calls := make([]int, len(runners))
	for i, r := range runners {
		n, err := calibrate(r.Call, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		calls[i] = n
		results[i] = make([]Sample, p.Rounds)
	}
	for round := range p.Rounds {
		for _, i := range order(len(runners), round) {
			if !p.KeepGarbage {
				runtime.GC()
			}
			sample, err := Turn(runners[i].Call, p.Callers, calls[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", runners[i].Name, err)
			}
			results[i][round] = sample
		}
	}
	return results, nil
}

// calibrate finds how many calls fill a turn, and warms the runner up.
func calibrate(call Call, p Plan) (int, error) {
	for n := p.Callers; ; n *= 4 {
		began := time.Now()
		sample, err := Turn(call, p.Callers, n)
		if err != nil {
			return 0, err
		}
		if time.Since(began) >= p.Turn/4 {
			return max(int(float64(p.Turn)/sample.Nanoseconds), p.Callers), nil
		}
	}
}

// order returns the order of the runners in a round: rotated by one each round, and reversed
// every second round.
func order(n, round int) []int {
	turns := make([]int, n)
	for i := range turns {
		turns[i] = (i + round/2) % n
	}
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	return turns
}

// Median returns the medians of a runner's samples.
func (r Results) Median(runner int) Sample {
	return Sample{
		Nanoseconds: Median(column(r[runner], func(s Sample) float64 { return s.Nanoseconds })),
		Processor:   Median(column(r[runner], func(s Sample) float64 { return s.Processor })),
		Allocs:      Median(column(r[runner], func(s Sample) float64 { return s.Allocs })),
		Bytes:       Median(column(r[runner], func(s Sample) float64 { return s.Bytes })),
	}
}

// Ratio returns the time of a call of a, divided by that of b: the median over the pairs of one
// round.
func (r Results) Ratio(a, b int) float64 {
	return r.ratio(a, b, func(s Sample) float64 { return s.Nanoseconds })
}

// ProcessorRatio is like Ratio, for processor time.
func (r Results) ProcessorRatio(a, b int) float64 {
	return r.ratio(a, b, func(s Sample) float64 { return s.Processor })
}

func (r Results) ratio(a, b int, of func(Sample) float64) float64 {
	ratios := make([]float64, len(r[a]))
	for i := range ratios {
		ratios[i] = of(r[a][i]) / of(r[b][i])
	}
	return Median(ratios)
}

func column(samples []Sample, of func(Sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return values
}
