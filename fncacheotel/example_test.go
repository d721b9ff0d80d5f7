package fncacheotel_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheotel"
)

func Example() {
	ctx := context.Background()
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader)) // yours has an exporter

	observer, err := fncacheotel.New(fncacheotel.WithMeterProvider(provider))
	if err != nil {
		panic(err)
	}
	cache, err := fncache.Open(ctx, "redis://"+server.Addr(), fncache.Config{Observer: observer})
	if err != nil {
		panic(err)
	}
	defer cache.Close() //nolint:errcheck // the program ends
	observer.Watch(cache)

	titles, _, err := fncache.New1(func(_ context.Context, id int64) (string, error) { return fmt.Sprint("book ", id), nil },
		fncache.Options{Cache: cache, Name: "shop.Titles", Timeout: time.Hour})
	if err != nil {
		panic(err)
	}
	for range 3 {
		_, _ = titles(ctx, 7)
	}
	var all metricdata.ResourceMetrics
	_ = reader.Collect(ctx, &all)
	for _, m := range all.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "fncache.calls" {
			for _, point := range sum.DataPoints {
				if source, _ := point.Attributes.Value("fncache.source"); point.Value > 0 {
					fmt.Println(m.Name, source.AsString(), point.Value)
				}
			}
		}
	}
	// Unordered output:
	// fncache.calls computed 1
	// fncache.calls fresh 2
}
