package fncacheotel_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheotel"
)

// These benchmarks measure what an observer costs a hit. The machine is never quiet, so hits
// without an observer, with one that does nothing, and with fncacheotel are measured in turns, some
// milliseconds each. The figures are medians over the turns:
//
//	none-ns    the time of a hit without an observer
//	same/none  the time of the same with another cache: how exact the figures are
//	nop/none   the time with NopObserver, divided by that
//	otel/none  the time with fncacheotel, divided by that
//
//	go -C fncacheotel test -run '^$' -bench Overhead -count 10 . | tee figures
//	go tool -modfile=tools/go.mod benchstat figures

// BenchmarkOverhead_Near is about hits in this process's memory.
func BenchmarkOverhead_Near(b *testing.B) { benchmarkOverhead(b, time.Hour, 20_000) }

// BenchmarkOverhead_Own is about hits in Redis. The client answers each GET from memory, so what
// is left is the time of fncache.
func BenchmarkOverhead_Own(b *testing.B) { benchmarkOverhead(b, 0, 2_000) }

// kinds is how many kinds of observers are compared.
const kinds = 4

func benchmarkOverhead(b *testing.B, near time.Duration, turn int) {
	reader := metric.NewManualReader()
	otel, err := fncacheotel.New(
		fncacheotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
		fncacheotel.WithTracerProvider(sdktrace.NewTracerProvider()))
	require.NoError(b, err)
	observers := [kinds]fncache.Observer{nil, nil, fncache.NopObserver{}, otel}
	// Where a cache is in memory changes the time of a near hit by some percent, so there are several
	// sets of caches, each made in another order.
	sets := make([][kinds]func(context.Context, int64) ([]int64, error), 8)
	for i := range sets {
		for _, kind := range rand.Perm(kinds) {
			cache, hit := newHits(b, observers[kind], near)
			if observers[kind] == otel {
				otel.Watch(cache)
			}
			sets[i][kind] = hit
		}
	}
	var times []float64
	var ratios [kinds][]float64
	for i := 0; b.Loop(); i++ {
		var took [kinds]float64
		for _, kind := range rand.Perm(kinds) {
			hit := sets[i%len(sets)][kind]
			began := time.Now()
			for range turn {
				if _, err := hit(b.Context(), 7); err != nil {
					b.Fatal(err)
				}
			}
			took[kind] = float64(time.Since(began)) / float64(turn)
		}
		times = append(times, took[0])
		for kind := range took {
			ratios[kind] = append(ratios[kind], took[kind]/took[0])
		}
	}
	b.ReportMetric(0, "ns/op") // of all turns together: says nothing
	b.ReportMetric(median(times), "none-ns")
	b.ReportMetric(median(ratios[1]), "same/none")
	b.ReportMetric(median(ratios[2]), "nop/none")
	b.ReportMetric(median(ratios[3]), "otel/none")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// newHits returns a function all calls of which are hits.
func newHits(b *testing.B, observer fncache.Observer, near time.Duration) (*fncache.Cache, func(context.Context, int64) ([]int64, error)) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(b).Addr(), ContextTimeoutEnabled: true})
	hook := &served{}
	client.AddHook(hook)
	b.Cleanup(func() { _ = client.Close() })
	cache, err := fncache.New(fncache.Config{Redis: client, Observer: observer})
	require.NoError(b, err)
	b.Cleanup(func() { _ = cache.Close() })
	hit, h, err := fncache.New1(func(context.Context, int64) ([]int64, error) { return []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, nil },
		fncache.Options{Cache: cache, Name: "bench.IDs", Timeout: time.Hour, Near: near})
	require.NoError(b, err)
	source := func() fncache.Source {
		var info fncache.Info
		_, err := hit(fncache.WithInfo(b.Context(), &info), 7)
		require.NoError(b, err)
		return info.Source
	}
	want := fncache.SourceFresh
	if near > 0 {
		want = fncache.SourceNear
	}
	require.Eventually(b, func() bool { return source() == want }, 10*time.Second, time.Millisecond)
	key, err := h.Key(7)
	require.NoError(b, err)
	value, err := client.Get(b.Context(), key).Result()
	require.NoError(b, err)
	hook.value.Store(&value)
	return cache, hit
}

// served is a hook that answers each GET with a value, once there is one.
type served struct{ value atomic.Pointer[string] }

func (s *served) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *served) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *served) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		inner := cmd
		if wrapped, ok := cmd.(interface{ Inner() redis.Cmder }); ok {
			inner = wrapped.Inner()
		}
		get, ok := inner.(*redis.StringCmd)
		if value := s.value.Load(); ok && value != nil {
			get.SetVal(*value)
			return nil
		}
		return next(ctx, cmd)
	}
}
