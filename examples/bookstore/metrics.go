package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/fncache/fncache/fncacheotel"
)

// metricsPath is where metrics are served.
const metricsPath = "/metrics"

// metrics are those of this process, as Prometheus scrapes them.
type metrics struct {
	observer *fncacheotel.Observer // for fncache.Config
	http.Handler
}

// newMetrics makes an observer, and a handler that serves its metrics.
func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	observer, err := fncacheotel.New(fncacheotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &metrics{observer, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}, nil
}

// beside returns a handler of pages and of the metrics, if there are any.
func (m *metrics) beside(pages http.Handler) http.Handler {
	if m == nil {
		return pages
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, m)
	mux.Handle("/", pages)
	return mux
}

// serve serves the metrics at addr until end is called.
func (m *metrics) serve(addr string, stdout io.Writer) (end func() error, err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-metrics %s: %w", addr, err)
	}
	server := &http.Server{Handler: m.beside(http.RedirectHandler(metricsPath, http.StatusFound)), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "Metrics:   http://%s%s\n", listener.Addr(), metricsPath)
	return func() error {
		err := server.Close()
		if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}, nil
}

const (
	// crowd is how many visitors there are, and pace how long one looks at a page at most.
	crowd = 16
	pace  = 100 * time.Millisecond
	// buys is which of the pages a visitor buys a book on, one in that many.
	buys = 200
)

// visit has visitors look at pages until ctx ends. Some books are more popular than others. Now and
// then a visitor buys one, which makes the lists of its authors stale.
func visit(ctx context.Context, s *shop, books []Book, stdout io.Writer) {
	fmt.Fprintf(stdout, "%d visitors look at books; Ctrl-C ends it.\n", crowd)
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			popular := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.1, 1, uint64(len(books)-1)) //nolint:gosec // not for secrets
			for ctx.Err() == nil {
				s.visitOnce(ctx, &books[popular.Uint64()])
				select {
				case <-time.After(rand.N(pace)): //nolint:gosec // not for secrets
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
}

// visitOnce looks at the list of authors, at a book and at what its first author sells best. What becomes of that is in the
// metrics, errors too.
func (s *shop) visitOnce(ctx context.Context, book *Book) {
	ctx, end := context.WithTimeout(ctx, requestTimeout)
	defer end()
	_, _ = s.cached.Authors(ctx)
	_, _ = s.cached.BookByID(ctx, book.ID)
	_, _ = s.cached.TopBooks(ctx, book.Authors[0])
	if rand.N(buys) == 0 { //nolint:gosec // not for secrets
		_ = s.cached.Buy(ctx, book.ID, 0)
	}
}
