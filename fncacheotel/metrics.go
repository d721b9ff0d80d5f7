package fncacheotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/fncache/fncache"
)

// --- What is recorded at events ---

// histograms has the instruments that events are recorded with.
type histograms struct {
	computation, wait, redis metric.Float64Histogram
	size                     metric.Int64Histogram
	invalidations            metric.Int64Counter
}

func (h *histograms) make(m metric.Meter) error {
	var errs [5]error
	h.computation, errs[0] = m.Float64Histogram("fncache.computation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long functions run for the cache."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60))
	h.wait, errs[1] = m.Float64Histogram("fncache.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("How long calls wait for other callers."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60))
	h.redis, errs[2] = m.Float64Histogram("fncache.redis.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long operations on Redis take. Of lookups, every 64th and those that are slow or fail."),
		metric.WithExplicitBucketBoundaries(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10))
	h.size, errs[3] = m.Int64Histogram("fncache.entry.size", metric.WithUnit("By"),
		metric.WithDescription("The size of entries when they are stored."),
		metric.WithExplicitBucketBoundaries(64, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20, 4<<20, 16<<20))
	h.invalidations, errs[4] = m.Int64Counter("fncache.invalidations", metric.WithUnit("{invalidation}"),
		metric.WithDescription("Keys, tags and functions that this process has invalidated or expired."))
	return errors.Join(errs[:]...)
}

// ComputationEnded records the duration of a computation, and the size of its entry.
func (o *Observer) ComputationEnded(ctx context.Context, c fncache.ComputationEnd) {
	function := attrFunction.String(c.Func.Name())
	attrs := []attribute.KeyValue{function, attrTrigger.String(c.Trigger.String())}
	if c.Outcome == fncache.OutcomeError {
		attrs = append(attrs, attrError.String(errorType(c.Err)))
	}
	o.events.computation.Record(ctx, c.Duration.Seconds(), metric.WithAttributes(attrs...))
	if c.Size > 0 {
		o.events.size.Record(ctx, int64(c.Size), metric.WithAttributes(function))
	}
}

// RedisAnswered records the duration of an operation on Redis.
func (o *Observer) RedisAnswered(ctx context.Context, op fncache.RedisOperation) {
	attrs := []attribute.KeyValue{attrOperation.String(op.Op)}
	if op.Err != nil {
		attrs = append(attrs, attrError.String(op.Err.Kind.String()))
	}
	o.events.redis.Record(ctx, op.Duration.Seconds(), metric.WithAttributes(attrs...))
}

// Invalidated counts invalidations that have succeeded.
func (o *Observer) Invalidated(ctx context.Context, i fncache.Invalidation) {
	if i.Err != nil {
		return
	}
	attrs := []attribute.KeyValue{attrScope.String(i.Scope.String())}
	if i.Func != nil {
		attrs = append(attrs, attrFunction.String(i.Func.Name()))
	}
	o.events.invalidations.Add(ctx, int64(i.Count), metric.WithAttributes(attrs...))
}

// --- What is read when metrics are collected ---

// observables has the instruments that are read from Stats, NearStats and Health.
type observables struct {
	calls, computations, undecodable, verified metric.Int64ObservableCounter
	active                                     metric.Int64ObservableUpDownCounter
	saved                                      metric.Float64ObservableCounter

	breaker, subscription metric.Int64ObservableGauge
	nearEntries, nearSize metric.Int64ObservableUpDownCounter
	nearEvictions         metric.Int64ObservableCounter
}

func (v *observables) make(m metric.Meter) (all []metric.Observable, _ error) {
	var errs [11]error
	v.calls, errs[0] = m.Int64ObservableCounter("fncache.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of cached functions, by the source of the answer."))
	v.computations, errs[1] = m.Int64ObservableCounter("fncache.computations", metric.WithUnit("{computation}"),
		metric.WithDescription("Runs of functions for the cache, by what became of the result."))
	v.undecodable, errs[2] = m.Int64ObservableCounter("fncache.entry.undecodable", metric.WithUnit("{entry}"),
		metric.WithDescription("Entries that could not be read. Each is a miss."))
	v.verified, errs[3] = m.Int64ObservableCounter("fncache.verify.checks", metric.WithUnit("{check}"),
		metric.WithDescription("Hits that were compared with a new result of the function."))
	v.active, errs[4] = m.Int64ObservableUpDownCounter("fncache.computation.active", metric.WithUnit("{computation}"),
		metric.WithDescription("Computations that have begun and not ended."))
	v.saved, errs[5] = m.Float64ObservableCounter("fncache.saved.time", metric.WithUnit("s"),
		metric.WithDescription("How long the functions would have run for the calls that were answered from the cache."))
	v.breaker, errs[6] = m.Int64ObservableGauge("fncache.redis.breaker.open",
		metric.WithDescription("1 if a node of Redis is away, else 0."))
	v.subscription, errs[7] = m.Int64ObservableGauge("fncache.subscription.up",
		metric.WithDescription("1 if the events of other processes are received, 0 if they are needed and not received."))
	v.nearEntries, errs[8] = m.Int64ObservableUpDownCounter("fncache.near.entries", metric.WithUnit("{entry}"),
		metric.WithDescription("Entries in the near cache."))
	v.nearSize, errs[9] = m.Int64ObservableUpDownCounter("fncache.near.size", metric.WithUnit("By"),
		metric.WithDescription("Memory of the near cache."))
	v.nearEvictions, errs[10] = m.Int64ObservableCounter("fncache.near.evictions", metric.WithUnit("{eviction}"),
		metric.WithDescription("Entries of the near cache that gave way to others."))
	return []metric.Observable{
		v.calls, v.computations, v.undecodable, v.verified, v.active, v.saved,
		v.breaker, v.subscription, v.nearEntries, v.nearSize, v.nearEvictions,
	}, errors.Join(errs[:]...)
}

// register makes the instruments that are read when metrics are collected, and has them read.
func (o *Observer) register(m metric.Meter) (metric.Registration, error) {
	var v observables
	all, err := v.make(m)
	if err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		o.mu.Lock()
		caches := o.caches[:len(o.caches):len(o.caches)]
		o.mu.Unlock()
		v.observeFunctions(to, caches)
		v.observeCaches(to, caches)
		return nil
	}, all...)
}

// observeFunctions reads the counters of functions. Several functions may share a name.
func (v *observables) observeFunctions(to metric.Observer, caches []*fncache.Cache) {
	byName := make(map[string]*fncache.Stats)
	for _, c := range caches {
		for _, f := range c.Funcs() {
			s := f.Stats()
			if sum := byName[f.Name()]; sum != nil {
				s = sum.Add(s)
			}
			byName[f.Name()] = &s
		}
	}
	for name, s := range byName {
		if s.Calls == 0 && s.Computations == 0 {
			continue // it was not used yet
		}
		function := attrFunction.String(name)
		for source, n := range bySource(s) {
			if source != fncache.SourceNone {
				to.ObserveInt64(v.calls, count(n), metric.WithAttributes(function, attrSource.String(source.String())))
			}
		}
		ended := uint64(0)
		for outcome, n := range byOutcome(s) {
			ended += n
			to.ObserveInt64(v.computations, count(n), metric.WithAttributes(function, attrOutcome.String(outcome.String())))
		}
		of := metric.WithAttributes(function)
		to.ObserveInt64(v.active, max(count(s.Computations)-count(ended), 0), of)
		to.ObserveFloat64(v.saved, s.SavedTime.Seconds(), of)
		to.ObserveInt64(v.undecodable, count(s.Undecodable), of)
		if s.Verified > 0 {
			to.ObserveInt64(v.verified, count(s.Verified-s.VerifyDiffered), metric.WithAttributes(function, attrVerify.String("same")))
			to.ObserveInt64(v.verified, count(s.VerifyDiffered), metric.WithAttributes(function, attrVerify.String("differed")))
		}
	}
}

// observeCaches reads the state of caches.
func (v *observables) observeCaches(to metric.Observer, caches []*fncache.Cache) {
	if len(caches) == 0 {
		return
	}
	var near fncache.NearStats
	var awayForReads, awayForWrites bool
	subscription := fncache.SubscriptionIdle
	for _, c := range caches {
		one := c.NearStats()
		near.Entries += one.Entries
		near.Size += one.Size
		near.Evictions += one.Evictions
		health := c.Health()
		subscription = max(subscription, health.Subscription) // down is the largest
		for _, node := range health.Nodes {
			awayForWrites = awayForWrites || node.Away
			awayForReads = awayForReads || node.Away && !node.OnlyWrites
		}
	}
	to.ObserveInt64(v.nearEntries, int64(near.Entries))
	to.ObserveInt64(v.nearSize, count(near.Size))
	to.ObserveInt64(v.nearEvictions, count(near.Evictions))
	to.ObserveInt64(v.breaker, flag(awayForReads), metric.WithAttributes(attrPart.String("reads")))
	to.ObserveInt64(v.breaker, flag(awayForWrites), metric.WithAttributes(attrPart.String("writes")))
	if subscription != fncache.SubscriptionIdle {
		to.ObserveInt64(v.subscription, flag(subscription == fncache.SubscriptionUp))
	}
}

// bySource returns the calls of each source.
func bySource(s *fncache.Stats) map[fncache.Source]uint64 {
	return map[fncache.Source]uint64{
		fncache.SourceFresh: s.Fresh, fncache.SourceStale: s.Stale, fncache.SourceComputed: s.Computed, fncache.SourceWaited: s.Waited,
		fncache.SourceRefused: s.Refused, fncache.SourceBypassed: s.Bypassed, fncache.SourceFailed: s.Failed, fncache.SourceNear: s.Near,
	}
}

// byOutcome returns the computations of each outcome.
func byOutcome(s *fncache.Stats) map[fncache.Outcome]uint64 {
	return map[fncache.Outcome]uint64{
		fncache.OutcomeStored: s.Stored, fncache.OutcomeLostLease: s.LostLeases, fncache.OutcomeError: s.Errored, fncache.OutcomeNotStored: s.NotStored,
	}
}

func count(n uint64) int64 { return int64(n) } //nolint:gosec // a counter of 2^63 is out of reach

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
