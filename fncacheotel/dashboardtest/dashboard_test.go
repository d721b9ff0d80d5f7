// Package dashboardtest runs the queries of the dashboard in fncacheotel/grafana.json by the engine
// of Prometheus, over metrics that were scraped from a cache at work. It is a module of its own,
// because the engine has many dependencies.
package dashboardtest

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheotel"
	"github.com/fncache/fncache/fncacheotel/internal/activity"
)

// A dashboard is what the test needs of the JSON of Grafana.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../grafana.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	return d
}

func TestTheRowsAreTheQuestionsOnCall(t *testing.T) {
	var rows []string
	titles := make(map[string]bool)
	for _, p := range readDashboard(t).Panels {
		assert.False(t, titles[p.Title], "two panels %q", p.Title)
		titles[p.Title] = true
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else {
			assert.NotEmpty(t, p.Targets, p.Title)
		}
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
	}
	assert.Equal(t, []string{"Is it helping?", "What is slow?", "What is refused, and what is lost?", "Is Redis fit?"}, rows)
}

func TestEveryQueryOfTheDashboardHasAnAnswer(t *testing.T) {
	db := scrapedFromACacheAtWork(t)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	legend := regexp.MustCompile(`{{(\w+)}}`)
	d := readDashboard(t)
	queries := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "5m", "$function", ".*").Replace(target.Expr)
			query, err := engine.NewInstantQuery(t.Context(), db, nil, expr, db.now)
			require.NoError(t, err, "%s: %s", p.Title, expr)
			result := query.Exec(t.Context())
			require.NoError(t, result.Err, "%s: %s", p.Title, expr)
			vector, err := result.Vector()
			require.NoError(t, err, "%s: %s", p.Title, expr)
			meaning := 0
			for _, sample := range vector {
				if !math.IsNaN(sample.F) && !math.IsInf(sample.F, 0) {
					meaning++
				}
				for _, label := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
					assert.True(t, sample.Metric.Has(label[1]), "%s: the legend has %s, and the result has not: %s", p.Title, label[1], sample.Metric)
				}
			}
			t.Logf("%s: %v", p.Title, vector)
			assert.Positive(t, meaning, "%s has no answer: %s", p.Title, expr)
			query.Close()
		}
	}
	assert.Greater(t, queries, 20)
	for _, v := range d.Templating.List {
		if name, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", "); ok {
			assert.True(t, slices.ContainsFunc(db.series, func(s *series) bool {
				return s.labels.Get("__name__") == name && s.labels.Has(label)
			}), v.Definition)
		}
	}
}

// TestAMetricThatIsNotExportedHasNoAnswer shows that the test above can fail.
func TestAMetricThatIsNotExportedHasNoAnswer(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	query, err := engine.NewInstantQuery(t.Context(), &scrapes{}, nil, "sum(rate(fncache_calls[5m]))", time.Now())
	require.NoError(t, err)
	vector, err := query.Exec(t.Context()).Vector()
	require.NoError(t, err)
	assert.Empty(t, vector)
}

// scrapedFromACacheAtWork returns the metrics of a cache, scraped over HTTP three times. The times of the
// scrapes are a minute apart, whatever time has passed.
func scrapedFromACacheAtWork(t *testing.T) *scrapes {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	observer, err := fncacheotel.New(fncacheotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	require.NoError(t, err)
	server := miniredis.RunT(t)
	cache, err := fncache.Open(t.Context(), "redis://"+server.Addr(), fncache.Config{Observer: observer, NearSize: activity.NearSize, HashSecret: []byte("of the tests")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cache.Close()) })
	observer.Watch(cache)
	web := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(web.Close)

	plays := activity.New(cache, server)
	t.Cleanup(plays.End)
	db := &scrapes{now: time.UnixMilli(1_700_000_000_000)}
	for range 3 {
		require.NoError(t, plays.Play(t.Context()))
		time.Sleep(100 * time.Millisecond) // events are told in the background
		db.now = db.now.Add(time.Minute)
		response, err := http.Get(web.URL)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.NoError(t, db.add(text))
	}
	return db
}

// --- Storage ---

// scrapes has samples for the engine. It is a storage.Queryable.
type scrapes struct {
	now    time.Time // of the last scrape
	series []*series
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// A sample implements chunks.Sample.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
func (s sample) ST() int64                     { return 0 }

// add parses the text of a scrape.
func (s *scrapes) add(text []byte) error {
	p := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		switch {
		case err == io.EOF: //nolint:errorlint // returned as it is
			return nil
		case err != nil:
			return err
		case entry != textparse.EntrySeries:
			continue
		}
		var of labels.Labels
		p.Labels(&of)
		_, _, value := p.Series()
		i := slices.IndexFunc(s.series, func(known *series) bool { return labels.Equal(known.labels, of) })
		if i < 0 {
			i = len(s.series)
			s.series = append(s.series, &series{labels: of})
		}
		s.series[i].samples = append(s.series[i].samples, sample{s.now.UnixMilli(), value})
	}
}

func (s *scrapes) Querier(int64, int64) (storage.Querier, error) { return querier{s}, nil }

type querier struct{ *scrapes }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, s := range q.series {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			continue
		}
		found = append(found, storage.NewListSeries(s.labels, s.samples))
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &seriesSet{rest: found}
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

// A seriesSet implements storage.SeriesSet.
type seriesSet struct {
	rest []storage.Series
	at   storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.at, s.rest = s.rest[0], s.rest[1:]
	return true
}

func (s *seriesSet) At() storage.Series                { return s.at }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
