package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A screen keeps what is printed. It is safe for concurrent use.
type screen struct {
	mu   sync.Mutex // guards the field below
	text []byte
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	return len(p), nil
}

// find waits until something is printed, and returns what the group matches.
func (s *screen) find(t *testing.T, pattern string) (found string) {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		match := expression.FindSubmatch(s.text)
		if match != nil {
			found = string(match[1])
		}
		return match != nil
	}, time.Minute, 10*time.Millisecond, pattern)
	return found
}

func scrape(url string) string {
	response, err := http.Get(url) //nolint:gosec // the test's own server
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

func TestOneCommandPlaysVisitorsAndServesTheirMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a table of purchases")
	}
	out := &screen{}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, config{quick: true, metrics: "127.0.0.1:0"}, out, io.Discard) }()
	url := out.find(t, `Metrics: +(http://\S+)`)
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		text := scrape(url)
		for _, part := range []string{
			`fncache_calls_total{fncache_function="Author:TopBooks",fncache_source="fresh"`,
			`fncache_calls_total{fncache_function="Book:BookByID",fncache_source="computed"`,
			`fncache_computation_duration_seconds_bucket{fncache_function="Author:TopBooks",fncache_trigger="cold"`,
			`fncache_redis_breaker_open{fncache_part="reads"`,
		} {
			assert.Contains(t, text, part)
		}
	}, time.Minute, 50*time.Millisecond)
	end()
	require.NoError(t, <-ended)
}

func TestTheShopServesItsMetricsBesideItsPages(t *testing.T) {
	m, err := newMetrics()
	require.NoError(t, err)
	h := m.beside(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") }))
	require.Equal(t, "a page", get(h, "/").Body.String())
	require.Contains(t, get(h, metricsPath).Body.String(), "target_info")
}
