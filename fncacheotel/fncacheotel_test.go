package fncacheotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheotel"
	"github.com/fncache/fncache/fncacheotel/internal/activity"
)

// newCache returns a cache with an observer, and its server.
func newCache(t *testing.T, opts ...fncacheotel.Option) (*fncache.Cache, *miniredis.Miniredis) {
	t.Helper()
	observer, err := fncacheotel.New(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, observer.Close()) })
	server := miniredis.RunT(t)
	cache, err := fncache.Open(t.Context(), "redis://"+server.Addr(), fncache.Config{Observer: observer, NearSize: activity.NearSize, HashSecret: []byte("of the tests")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cache.Close()) })
	observer.Watch(cache)
	observer.Watch(cache) // which changes nothing
	return cache, server
}

// scraped returns a provider of meters, and a function that scrapes its metrics over HTTP.
func scraped(t *testing.T) (provider *metric.MeterProvider, scrape func() (string, map[string]*dto.MetricFamily)) {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	provider = metric.NewMeterProvider(metric.WithReader(reader))
	web := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(web.Close)
	return provider, func() (string, map[string]*dto.MetricFamily) {
		response, err := http.Get(web.URL)
		require.NoError(t, err)
		defer response.Body.Close() //nolint:errcheck // it was read
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
		require.NoError(t, err)
		return string(body), families
	}
}

// valuesOf returns the values of a label in a family.
func valuesOf(family *dto.MetricFamily, label string) (values []string) {
	for _, m := range family.GetMetric() {
		for _, pair := range m.GetLabel() {
			if pair.GetName() == label && !slices.Contains(values, pair.GetValue()) {
				values = append(values, pair.GetValue())
			}
		}
	}
	slices.Sort(values)
	return values
}

// labelsOf returns the labels of a metric that are not about its origin.
func labelsOf(family *dto.MetricFamily) (labels []string) {
	for _, m := range family.GetMetric() {
		for _, pair := range m.GetLabel() {
			if label := pair.GetName(); !strings.HasPrefix(label, "otel_scope_") && !slices.Contains(labels, label) {
				labels = append(labels, label)
			}
		}
	}
	return labels
}

func TestTheBreakerOfAClosedCacheIsNotExported(t *testing.T) {
	provider, scrape := scraped(t)
	cache, server := newCache(t, fncacheotel.WithMeterProvider(provider))
	get := func(context.Context, int) (int, error) { return 1, nil }
	_, err := fncache.Wrap(&get, fncache.Options{Cache: cache, Name: "shop.Get", Timeout: time.Hour})
	require.NoError(t, err)
	server.SetError("LOADING by the test")
	_, _ = get(t.Context(), 1)
	open := func() float64 {
		_, families := scrape()
		return families["fncache_redis_breaker_open"].GetMetric()[0].GetGauge().GetValue()
	}
	require.EqualValues(t, 1, open())
	server.SetError("")
	require.NoError(t, cache.Close())
	assert.Zero(t, open(), "nobody would find out that the node is back")
}

func TestEveryMetricIsExportedWithItsAttributes(t *testing.T) {
	provider, scrape := scraped(t)
	cache, server := newCache(t, fncacheotel.WithMeterProvider(provider))
	plays := activity.New(cache, server)
	defer plays.End()
	require.NoError(t, plays.Play(t.Context()))
	function := []string{"fncache_function"}
	with := func(labels ...string) []string { return append(labels, function...) }
	want := map[string]struct {
		kind   dto.MetricType
		labels []string
	}{
		"fncache_calls_total":                      {dto.MetricType_COUNTER, with("fncache_source")},
		"fncache_computations_total":               {dto.MetricType_COUNTER, with("fncache_outcome")},
		"fncache_computation_duration_seconds":     {dto.MetricType_HISTOGRAM, with("fncache_trigger", "error_type")},
		"fncache_computation_active":               {dto.MetricType_GAUGE, function},
		"fncache_saved_time_seconds_total":         {dto.MetricType_COUNTER, function},
		"fncache_wait_duration_seconds":            {dto.MetricType_HISTOGRAM, with("fncache_source")},
		"fncache_invalidations_total":              {dto.MetricType_COUNTER, with("fncache_scope")},
		"fncache_entry_size_bytes":                 {dto.MetricType_HISTOGRAM, function},
		"fncache_entry_undecodable_total":          {dto.MetricType_COUNTER, function},
		"fncache_verify_checks_total":              {dto.MetricType_COUNTER, with("fncache_verify_result")},
		"fncache_redis_operation_duration_seconds": {dto.MetricType_HISTOGRAM, []string{"fncache_operation", "error_type"}},
		"fncache_redis_breaker_open":               {dto.MetricType_GAUGE, []string{"fncache_part"}},
		"fncache_near_entries":                     {dto.MetricType_GAUGE, nil},
		"fncache_near_size_bytes":                  {dto.MetricType_GAUGE, nil},
		"fncache_near_evictions_total":             {dto.MetricType_COUNTER, nil},
		"fncache_subscription_up":                  {dto.MetricType_GAUGE, nil},
	}
	require.EventuallyWithT(t, func(t *assert.CollectT) { // events are told in the background
		text, families := scrape()
		for name, is := range want {
			family := families[name]
			if !assert.NotNil(t, family, name) {
				continue
			}
			assert.Equal(t, is.kind, family.GetType(), name)
			assert.ElementsMatch(t, is.labels, labelsOf(family), name)
		}
		for name := range families {
			if strings.HasPrefix(name, "fncache") {
				assert.Contains(t, want, name)
			}
		}
		assert.Equal(t, []string{"bypassed", "computed", "failed", "fresh", "near", "refused", "stale", "waited"}, valuesOf(families["fncache_calls_total"], "fncache_source"))
		assert.Equal(t, []string{"error", "lost_lease", "not_stored", "stored"}, valuesOf(families["fncache_computations_total"], "fncache_outcome"))
		assert.Subset(t, valuesOf(families["fncache_computation_duration_seconds"], "fncache_trigger"), []string{"cold", "redis_down", "refresh", "stale"})
		assert.Equal(t, []string{"*errors.errorString"}, valuesOf(families["fncache_computation_duration_seconds"], "error_type"))
		assert.Equal(t, []string{"function", "key", "tag"}, valuesOf(families["fncache_invalidations_total"], "fncache_scope"))
		assert.Equal(t, []string{"reads", "writes"}, valuesOf(families["fncache_redis_breaker_open"], "fncache_part"))
		assert.Subset(t, valuesOf(families["fncache_redis_operation_duration_seconds"], "fncache_operation"), []string{"acquire", "lookup", "store"})
		assert.Contains(t, valuesOf(families["fncache_redis_operation_duration_seconds"], "error_type"), "loading")
		assert.Equal(t, []string{"differed", "same"}, valuesOf(families["fncache_verify_checks_total"], "fncache_verify_result"))
		assert.Positive(t, families["fncache_near_evictions_total"].GetMetric()[0].GetCounter().GetValue())
		for _, secret := range []string{"4711", "database", server.Addr(), "books", "{shop"} {
			assert.NotContains(t, text, secret, "no argument, text of an error, host, tag or key")
		}
	}, 10*time.Second, 50*time.Millisecond)
	_, families := scrape()
	assertBounds(t, families)
}

// assertBounds checks the bounds of the histograms of times, in seconds.
func assertBounds(t *testing.T, families map[string]*dto.MetricFamily) {
	for name, bounds := range map[string][2]float64{
		"fncache_computation_duration_seconds":     {0.005, 60},
		"fncache_redis_operation_duration_seconds": {0.0001, 10},
	} {
		all := families[name].GetMetric()[0].GetHistogram().GetBucket()
		if last := len(all) - 1; math.IsInf(all[last].GetUpperBound(), 1) {
			all = all[:last]
		}
		assert.Equal(t, bounds, [2]float64{all[0].GetUpperBound(), all[len(all)-1].GetUpperBound()}, name)
	}
}

func TestFunctionsOfOneNameAndSeveralCachesAreSummed(t *testing.T) {
	provider, scrape := scraped(t)
	observer, err := fncacheotel.New(fncacheotel.WithMeterProvider(provider))
	require.NoError(t, err)
	for range 2 {
		server := miniredis.RunT(t)
		cache, err := fncache.Open(t.Context(), "redis://"+server.Addr(), fncache.Config{Observer: observer})
		require.NoError(t, err)
		defer cache.Close() //nolint:errcheck // as the test ends
		observer.Watch(cache)
		for range 2 {
			call, _, err := fncache.New1(func(context.Context, int) (int, error) { return 1, nil },
				fncache.Options{Cache: cache, Name: "shop.Shared", Shared: true, Timeout: time.Hour})
			require.NoError(t, err)
			_, err = call(t.Context(), 1)
			require.NoError(t, err)
		}
	}
	value := func() (fresh, computed float64) {
		_, families := scrape()
		for _, m := range families["fncache_calls_total"].GetMetric() {
			for _, pair := range m.GetLabel() {
				switch pair.GetValue() {
				case "fresh":
					fresh = m.GetCounter().GetValue()
				case "computed":
					computed = m.GetCounter().GetValue()
				}
			}
		}
		return fresh, computed
	}
	fresh, computed := value()
	assert.EqualValues(t, 2, fresh)
	assert.EqualValues(t, 2, computed)
	require.NoError(t, observer.Close())
	fresh, computed = value()
	assert.Zero(t, fresh+computed, "nothing is collected after Close")
}

// --- Spans ---

// A recorded test records spans.
type recorded struct {
	*tracetest.SpanRecorder
	tracer trace.Tracer
	cache  *fncache.Cache
}

func newRecorded(t *testing.T, opts ...fncacheotel.Option) *recorded {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	cache, _ := newCache(t, append(opts, fncacheotel.WithTracerProvider(provider))...)
	return &recorded{spans, provider.Tracer("test"), cache}
}

// below calls f below a span, and returns that span.
func (r *recorded) below(t *testing.T, f func(ctx context.Context)) sdktrace.ReadOnlySpan {
	t.Helper()
	ctx, span := r.tracer.Start(t.Context(), "request")
	f(ctx)
	span.End()
	return span.(sdktrace.ReadOnlySpan)
}

// named returns the spans of a name that have ended. It waits for the first.
func (r *recorded) named(t *testing.T, name string) (found []sdktrace.ReadOnlySpan) {
	t.Helper()
	require.Eventually(t, func() bool {
		found = slices.DeleteFunc(slices.Clone(r.Ended()), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
		return len(found) > 0
	}, 10*time.Second, time.Millisecond, "no span %q", name)
	return found
}

func attributesOf(s sdktrace.ReadOnlySpan) map[attribute.Key]attribute.Value {
	all := make(map[attribute.Key]attribute.Value)
	for _, a := range s.Attributes() {
		all[a.Key] = a.Value
	}
	return all
}

func TestAColdCallHasASpanAndItsRunToo(t *testing.T) {
	r := newRecorded(t)
	var inside trace.SpanContext
	call, _, err := fncache.New1(func(ctx context.Context, _ int) (int, error) {
		inside = trace.SpanContextFromContext(ctx)
		return 1, nil
	}, fncache.Options{Cache: r.cache, Name: "shop.Top", Timeout: time.Hour})
	require.NoError(t, err)
	parent := r.below(t, func(ctx context.Context) { _, _ = call(ctx, 1) })
	run, caller := r.named(t, "fncache.compute shop.Top"), r.named(t, "fncache.call shop.Top")
	require.Len(t, run, 1)
	require.Len(t, caller, 1)
	for _, span := range append(run, caller...) {
		assert.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID())
		assert.Equal(t, parent.SpanContext().TraceID(), span.SpanContext().TraceID())
		assert.NotContains(t, attributesOf(span), attribute.Key("fncache.key"))
		assert.Equal(t, "shop.Top", attributesOf(span)["fncache.function"].AsString())
		assert.False(t, span.StartTime().Before(parent.StartTime()))
	}
	assert.Equal(t, run[0].SpanContext().SpanID(), inside.SpanID(), "the function runs below its span")
	assert.Equal(t, "cold", attributesOf(run[0])["fncache.trigger"].AsString())
	assert.Equal(t, "computed", attributesOf(caller[0])["fncache.source"].AsString())
	assert.Contains(t, attributesOf(caller[0]), attribute.Key("fncache.age"))
	assert.Contains(t, attributesOf(caller[0]), attribute.Key("fncache.cost"))

	before := len(r.Ended())
	r.below(t, func(ctx context.Context) { _, _ = call(ctx, 1) })
	assert.Len(t, r.Ended(), before+1, "a fresh hit has no span: only the request has ended")
	_, _ = call(t.Context(), 2)
	require.NoError(t, r.cache.Close()) // which waits for events
	assert.Len(t, r.Ended(), before+1, "no span without a parent")
}

func TestARunInTheBackgroundIsARootThatIsLinked(t *testing.T) {
	r := newRecorded(t)
	call, h, err := fncache.New1(func(context.Context, int) (int, error) { return 1, nil },
		fncache.Options{Cache: r.cache, Name: "shop.Top", Timeout: time.Hour, Freshness: time.Millisecond, OnStale: fncache.Background})
	require.NoError(t, err)
	_, _ = call(t.Context(), 1)
	require.NoError(t, h.Expire(t.Context(), 1))
	parent := r.below(t, func(ctx context.Context) { _, _ = call(ctx, 1) })
	run := r.named(t, "fncache.compute shop.Top")[0]
	assert.False(t, run.Parent().IsValid())
	assert.NotEqual(t, parent.SpanContext().TraceID(), run.SpanContext().TraceID())
	require.Len(t, run.Links(), 1)
	assert.Equal(t, parent.SpanContext().SpanID(), run.Links()[0].SpanContext.SpanID())
	caller := r.named(t, "fncache.call shop.Top")[0]
	assert.Equal(t, "stale", attributesOf(caller)["fncache.source"].AsString())
	assert.Positive(t, attributesOf(caller)["fncache.cost"].AsFloat64())
}

func TestAWaitHasASpanOfItsOwn(t *testing.T) {
	r := newRecorded(t)
	begun, gate := make(chan struct{}), make(chan struct{})
	call, _, err := fncache.New1(func(context.Context, int) (int, error) {
		close(begun)
		<-gate
		return 1, nil
	}, fncache.Options{Cache: r.cache, Name: "shop.Top", Timeout: time.Hour, OnCold: fncache.Wait})
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() { _, _ = call(t.Context(), 1) })
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { close(gate) }) // what the call waits for
	parent := r.below(t, func(ctx context.Context) { _, _ = call(ctx, 1) })
	all.Wait()
	wait := r.named(t, "fncache.wait shop.Top")
	require.Len(t, wait, 1)
	assert.Equal(t, parent.SpanContext().SpanID(), wait[0].Parent().SpanID())
	assert.Equal(t, "waited", attributesOf(wait[0])["fncache.source"].AsString())
	assert.GreaterOrEqual(t, wait[0].EndTime().Sub(wait[0].StartTime()), 10*time.Millisecond)
}

func TestFailuresHaveATypeAndNoText(t *testing.T) {
	unknown := errors.New("no reader 4711")
	for name, test := range map[string]struct {
		do     func() (int, error)
		opts   fncache.Options
		status codes.Code
		kind   string
	}{
		"an error":                   {func() (int, error) { return 0, fmt.Errorf("get reader 4711: %w", unknown) }, fncache.Options{}, codes.Error, "*errors.errorString"},
		"a panic":                    {func() (int, error) { panic("reader 4711") }, fncache.Options{}, codes.Error, "panic"},
		"an error that is an answer": {func() (int, error) { return 0, unknown }, fncache.Options{CacheErrors: []error{unknown}, ErrorTimeout: time.Minute}, codes.Unset, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorded(t)
			opts := test.opts
			opts.Cache, opts.Name, opts.Timeout = r.cache, "shop.Reader", time.Hour
			call, _, err := fncache.New1(func(context.Context, int) (int, error) { return test.do() }, opts)
			require.NoError(t, err)
			r.below(t, func(ctx context.Context) {
				defer func() { _ = recover() }()
				_, _ = call(ctx, 1)
			})
			run := r.named(t, "fncache.compute shop.Reader")[0]
			assert.Equal(t, test.status, run.Status().Code)
			assert.Equal(t, test.kind, attributesOf(run)["error.type"].AsString())
			for _, span := range r.Ended() {
				assert.NotContains(t, fmt.Sprint(span.Status(), span.Attributes(), span.Events()), "4711")
			}
		})
	}
}

func TestKeysAreInSpansWhereAskedFor(t *testing.T) {
	r := newRecorded(t, fncacheotel.WithKeys())
	call, h, err := fncache.New1(func(context.Context, int) (int, error) { return 1, nil },
		fncache.Options{Cache: r.cache, Name: "shop.Top", Timeout: time.Hour})
	require.NoError(t, err)
	r.below(t, func(ctx context.Context) { _, _ = call(ctx, 1) })
	key, err := h.Key(1)
	require.NoError(t, err)
	assert.Equal(t, key, attributesOf(r.named(t, "fncache.compute shop.Top")[0])["fncache.key"].AsString())
	assert.Equal(t, key, attributesOf(r.named(t, "fncache.call shop.Top")[0])["fncache.key"].AsString())
}

// TestEachRunEndsItsOwnSpan has a cached function that calls another one, with contexts of both
// kinds.
func TestEachRunEndsItsOwnSpan(t *testing.T) {
	r := newRecorded(t)
	inner, _, err := fncache.New1(func(context.Context, int) (int, error) { return 1, nil },
		fncache.Options{Cache: r.cache, Name: "shop.Inner", Timeout: time.Hour})
	require.NoError(t, err)
	outer, _, err := fncache.New1(func(ctx context.Context, id int) (int, error) {
		if _, err := inner(ctx, id); err != nil {
			return 0, err
		}
		if !trace.SpanFromContext(ctx).IsRecording() {
			return 0, errors.New("the span has ended")
		}
		unsampled := trace.ContextWithSpanContext(ctx, trace.SpanContext{}) // the function leaves the trace
		if _, err := inner(unsampled, id+1); err != nil {
			return 0, err
		}
		if !trace.SpanFromContext(ctx).IsRecording() {
			return 0, errors.New("the span has ended")
		}
		return 1, nil
	}, fncache.Options{Cache: r.cache, Name: "shop.Outer", Timeout: time.Hour})
	require.NoError(t, err)
	r.below(t, func(ctx context.Context) {
		_, err := outer(ctx, 1)
		assert.NoError(t, err)
	})
	out, in := r.named(t, "fncache.compute shop.Outer"), r.named(t, "fncache.compute shop.Inner")
	require.Len(t, out, 1)
	require.Len(t, in, 1)
	assert.Equal(t, out[0].SpanContext().SpanID(), in[0].Parent().SpanID())
}

func TestABatchHasOneSpanForItsRun(t *testing.T) {
	r := newRecorded(t)
	call := func(_ context.Context, ids []int) (map[int]int, error) {
		found := make(map[int]int)
		for _, id := range ids {
			found[id] = id
		}
		return found, nil
	}
	_, err := fncache.WrapBatch(&call, fncache.Options{Cache: r.cache, Name: "shop.Batch", Timeout: time.Hour})
	require.NoError(t, err)
	r.below(t, func(ctx context.Context) { _, _ = call(ctx, []int{1, 2, 3}) })
	run := r.named(t, "fncache.compute shop.Batch")
	require.Len(t, run, 1)
	assert.EqualValues(t, 3, attributesOf(run[0])["fncache.batch.size"].AsInt64())
	assert.EqualValues(t, 3, attributesOf(r.named(t, "fncache.call shop.Batch")[0])["fncache.batch.size"].AsInt64())
}
