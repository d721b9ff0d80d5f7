// Package fncacheotel gives the metrics and the traces of fncache to OpenTelemetry.
//
//	observer, err := fncacheotel.New()
//	...
//	cache, err := fncache.Open(ctx, "redis://localhost:6379", fncache.Config{Observer: observer})
//	...
//	observer.Watch(cache)
//
// Counters are read from the cache when they are collected, so a near hit costs nothing more.
// Durations and spans come from the events of [fncache.Observer]. Spans are made only below a span
// of the caller. docs/metrics.md lists the metrics and the spans, and grafana.json in this directory is a
// dashboard for Grafana.
package fncacheotel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fncache/fncache"
)

// scope is the name of the meter and of the tracer.
const scope = "github.com/fncache/fncache/fncacheotel"

// An Option changes how [New] makes an observer.
type Option func(*options)

type options struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	keys    bool
}

// WithMeterProvider sets where metrics go. Default: otel.GetMeterProvider().
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithTracerProvider sets where spans go. Default: otel.GetTracerProvider().
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithKeys adds the Redis key of the entry to spans, as fncache.key. A key has the name of the
// function and a hash of the arguments. Default: spans have no keys.
func WithKeys() Option { return func(o *options) { o.keys = true } }

// An Observer is an [fncache.Observer] for OpenTelemetry. It is safe for concurrent use, and
// several caches may have the same one.
type Observer struct {
	fncache.NopObserver
	tracer       trace.Tracer
	keys         bool
	events       histograms
	registration metric.Registration

	mu     sync.Mutex // guards the field below
	caches []*fncache.Cache
}

// New returns an observer, for Config.Observer. Call [Observer.Watch] once the cache is made. The
// error is that of a meter provider.
func New(opts ...Option) (*Observer, error) {
	o := options{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, option := range opts {
		option(&o)
	}
	observer := &Observer{tracer: o.tracers.Tracer(scope), keys: o.keys}
	meter := o.meters.Meter(scope)
	if err := observer.events.make(meter); err != nil {
		return nil, fmt.Errorf("fncacheotel: %w", err)
	}
	var err error
	if observer.registration, err = observer.register(meter); err != nil {
		return nil, fmt.Errorf("fncacheotel: %w", err)
	}
	return observer, nil
}

// Watch begins to collect the counters of a cache and of its functions, until [Observer.Close]. The
// counters of a closed cache are no longer collected.
func (o *Observer) Watch(c *fncache.Cache) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.caches, c) {
		o.caches = append(o.caches, c)
	}
}

// Close ends the collection of counters. Events are still taken.
func (o *Observer) Close() error { return o.registration.Unregister() }

// The attributes of metrics and spans.
const (
	attrFunction  = attribute.Key("fncache.function")
	attrSource    = attribute.Key("fncache.source")
	attrOutcome   = attribute.Key("fncache.outcome")
	attrTrigger   = attribute.Key("fncache.trigger")
	attrScope     = attribute.Key("fncache.scope")
	attrOperation = attribute.Key("fncache.operation")
	attrPart      = attribute.Key("fncache.part")
	attrVerify    = attribute.Key("fncache.verify.result")
	attrError     = attribute.Key("error.type")

	// Of spans alone.
	attrAge   = attribute.Key("fncache.age")  // in seconds
	attrCost  = attribute.Key("fncache.cost") // in seconds
	attrBatch = attribute.Key("fncache.batch.size")
	attrKey   = attribute.Key("fncache.key")
)

// errorType returns the value of error.type: a word for what fncache knows, and otherwise the Go
// type. It never returns the text of an error, which may quote an argument.
func errorType(err error) string {
	var cold *fncache.ColdCacheError
	var timeout *fncache.ComputeTimeoutError
	var panicked *fncache.PanicError
	var redis *fncache.RedisError
	switch {
	case errors.As(err, &cold):
		return "cold_cache"
	case errors.As(err, &timeout):
		return "timeout"
	case errors.As(err, &panicked):
		return "panic"
	case errors.Is(err, fncache.ErrGoexit):
		return "goexit"
	case errors.Is(err, fncache.ErrClosed):
		return "closed"
	case errors.As(err, &redis):
		return "redis_" + redis.Kind.String()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline_exceeded"
	}
	for {
		name := fmt.Sprintf("%T", err)
		inner := errors.Unwrap(err)
		if inner == nil || name != "*fmt.wrapError" {
			return name
		}
		err = inner
	}
}
