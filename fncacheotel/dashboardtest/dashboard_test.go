// Package dashboardtest runs the queries of the dashboard in fncacheotel/grafana.json by the engine
// of Prometheus, over metrics that were scraped from a cache at work. It is a module of its own,
// because the engine has many dependencies.
package dashboardtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
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

func readDashboard(t require.TestingT) (d dashboard) {
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
	for query, answers := range db.answers(t) {
		assert.Positive(t, answers, "no answer: %s", query)
	}
	for _, v := range readDashboard(t).Templating.List {
		if name, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", "); ok {
			assert.True(t, slices.ContainsFunc(db.series, func(s *series) bool {
				return s.labels.Get("__name__") == name && s.labels.Has(label)
			}), v.Definition)
		}
	}
}

// quiet are the panels that are empty while nothing is wrong, nobody waits, and Options.Verify is not
// used.
var quiet = []string{"Errors of functions", "Errors of Redis", "Wrong entries", "Waits, 99th percentile"}

// TestEveryQueryIsRunOnTheMetricsOfTheBookstore runs the example, as docs/metrics.md says, and scrapes
// it.
func TestEveryQueryIsRunOnTheMetricsOfTheBookstore(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the bookstore, and runs it for some seconds")
	}
	url := runBookstore(t)
	db := &scrapes{now: time.UnixMilli(1_700_000_000_000)}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.NoError(t, db.scrape(url))
		for query, answers := range db.answers(t) {
			if title, _, _ := strings.Cut(query, ": "); !slices.Contains(quiet, title) {
				assert.Positive(t, answers, "no answer: %s", query)
			}
		}
	}, 2*time.Minute, time.Second, "visitors come, and some of them buy")
}

// runBookstore runs the bookstore with visitors until the test ends, and returns where its metrics
// are. If the test is killed, the input of the shell ends, and the shell ends the bookstore.
func runBookstore(t *testing.T) (url string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bookstore")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "../../examples/bookstore"
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	// t.Context ends before the cleanup, and would kill the shell alone.
	shop := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", `"$0" -quick -metrics 127.0.0.1:0 & cat >/dev/null; kill $!; wait`, program)
	input, err := shop.StdinPipe()
	require.NoError(t, err)
	output, err := shop.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shop.Start())
	t.Cleanup(func() {
		_ = input.Close()
		_, _ = io.Copy(io.Discard, output)
		_ = shop.Wait()
	})
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), "Metrics:"); ok {
			return strings.TrimSpace(url)
		}
	}
	t.Fatal("the bookstore has ended")
	return ""
}

// answers runs each query of the dashboard. Its keys are the title of the panel, a colon, and the
// query; its values are how many samples the answer has.
func (s *scrapes) answers(t require.TestingT) map[string]int {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	legend := regexp.MustCompile(`{{(\w+)}}`)
	all := make(map[string]int)
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$function", ".*").Replace(target.Expr)
			what := p.Title + ": " + expr
			query, err := engine.NewInstantQuery(context.Background(), s, nil, expr, s.now)
			require.NoError(t, err, what)
			result := query.Exec(context.Background())
			require.NoError(t, result.Err, what)
			vector, err := result.Vector()
			require.NoError(t, err, what)
			all[what] = 0
			for _, sample := range vector {
				if !math.IsNaN(sample.F) && !math.IsInf(sample.F, 0) {
					all[what]++
				}
				for _, label := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
					assert.True(t, sample.Metric.Has(label[1]), "%s: the legend has %s, and the result has not: %s", p.Title, label[1], sample.Metric)
				}
			}
			query.Close()
		}
	}
	assert.Greater(t, len(all), 20)
	return all
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
		require.NoError(t, db.scrape(web.URL))
	}
	return db
}

// scrape adds the metrics at an address. Their time is a minute after that of the last scrape.
func (s *scrapes) scrape(url string) error {
	response, err := http.Get(url) //nolint:gosec // the server of a test
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	s.now = s.now.Add(time.Minute)
	return s.add(text)
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
