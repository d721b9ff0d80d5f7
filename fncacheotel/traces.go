package fncacheotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fncache/fncache"
)

// runKey is the key of the span of a run in the context of the function. Its value is a
// trace.Span, or nil if the run has none.
type runKey struct{}

// RunBegan begins the span of a run of a function. If a caller waits for the run, the span is a
// child of the caller's span. If not, it is a root that is linked to the caller's span, because it
// goes on when that has ended.
func (o *Observer) RunBegan(ctx context.Context, r fncache.Run) context.Context {
	caller := trace.SpanContextFromContext(ctx)
	if !caller.IsValid() || r.Background && !caller.IsSampled() {
		if ctx.Value(runKey{}) != nil {
			return context.WithValue(ctx, runKey{}, nil) // it is of a run around this one
		}
		return ctx
	}
	name := r.Func.Name()
	opts := []trace.SpanStartOption{trace.WithAttributes(attrFunction.String(name), attrTrigger.String(r.Trigger.String()))}
	if r.Elements > 1 {
		opts = append(opts, trace.WithAttributes(attrBatch.Int(r.Elements)))
	}
	if o.keys {
		opts = append(opts, trace.WithAttributes(attrKey.String(r.Key)))
	}
	if r.Background {
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	ctx, span := o.tracer.Start(ctx, "fncache.compute "+name, opts...)
	return context.WithValue(ctx, runKey{}, span)
}

// RunEnded ends the span of a run of a function.
func (o *Observer) RunEnded(ctx context.Context, _ fncache.Run, end fncache.RunEnd) {
	span, _ := ctx.Value(runKey{}).(trace.Span)
	if span == nil {
		return
	}
	span.SetAttributes(attrCost.Float64(end.Duration.Seconds()))
	if !end.Listed {
		fail(span, end.Err)
	}
	span.End()
}

// CallEnded makes the span of a call whose answer is not a fresh entry.
func (o *Observer) CallEnded(ctx context.Context, c fncache.CallEnd) {
	name := c.Func.Name()
	attrs := []attribute.KeyValue{attrSource.String(c.Source.String()), attrAge.Float64(c.Age.Seconds()), attrCost.Float64(c.Cost.Seconds())}
	elements := 0
	for _, n := range c.Elements {
		elements += n
	}
	if elements > 0 {
		attrs = append(attrs, attrBatch.Int(elements))
	}
	o.span(ctx, "fncache.call ", name, c.Key, c.Began, c.Duration, c.Err, attrs)
}

// WaitEnded records how long a call has waited for others, and makes the span of that.
func (o *Observer) WaitEnded(ctx context.Context, w fncache.WaitEnd) {
	name, source := w.Func.Name(), attrSource.String(w.Source.String())
	o.events.wait.Record(ctx, w.Duration.Seconds(), metric.WithAttributes(attrFunction.String(name), source))
	o.span(ctx, "fncache.wait ", name, w.Key, w.Began, w.Duration, nil, []attribute.KeyValue{source})
}

// span makes a span of something that has ended, below the span of the caller.
func (o *Observer) span(ctx context.Context, what, name, key string, began time.Time, took time.Duration, err error, attrs []attribute.KeyValue) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	attrs = append(attrs, attrFunction.String(name))
	if o.keys && key != "" {
		attrs = append(attrs, attrKey.String(key))
	}
	_, span := o.tracer.Start(ctx, what+name, trace.WithTimestamp(began), trace.WithAttributes(attrs...))
	fail(span, err)
	span.End(trace.WithTimestamp(began.Add(took)))
}

// fail marks a span as failed, without the text of the error, which may quote an argument.
func fail(span trace.Span, err error) {
	if err != nil {
		kind := errorType(err)
		span.SetAttributes(attrError.String(kind))
		span.SetStatus(codes.Error, kind)
	}
}
