package main

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/bench/internal/measure"
)

// This file has the loads that a worker puts on the cache.

// fillers is the number of callers that store all keys without haste.
const fillers = 4

// fill stores all keys, with a function that takes no time, and calls the large function if
// there is one.
func (w *worker) fill(o order) (report, error) {
	cost := w.small.cost.Swap(0)
	defer w.small.cost.Store(cost)
	var t tally
	var callers sync.WaitGroup
	for caller := range fillers {
		callers.Go(func() {
			for id := caller; id < o.Keys; id += fillers {
				_ = t.one(context.Background(), w.small, int64(id)) // it is counted
			}
		})
	}
	callers.Wait()
	if w.large != nil {
		_ = t.one(context.Background(), w.large, 0)
	}
	return w.settled(o, &t, 0)
}

// settled waits until all work under way has ended, and returns the report with the keys stored
// then.
func (w *worker) settled(o order, t *tally, runs int64) (r report, err error) {
	// A computation may be stored a moment after its caller has its answer. What is not stored
	// after this wait never will be.
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
		if r.Stored, err = w.present(w.small, o.Keys); err != nil || r.Stored == o.Keys {
			break
		}
	}
	stored := r.Stored
	r = w.report(t, runs)
	r.Stored = stored
	return r, err
}

// together lets one caller for each key call once, all at the same time.
func (w *worker) together(o order) (report, error) {
	var t tally
	var callers sync.WaitGroup
	loose := make(chan struct{})
	runs := w.small.runs.Load()
	for id := range o.Keys {
		callers.Go(func() {
			<-loose
			_ = t.one(context.Background(), w.small, int64(id)) // it is counted
		})
	}
	began := time.Now()
	close(loose)
	callers.Wait()
	took := time.Since(began)
	r, err := w.settled(o, &t, runs)
	r.Took, r.Done = took, true
	return r, err
}

// walk lets callers walk all keys until all are stored, or until the limit. Two callers begin
// at the same key: one computes, the other is refused and continues with the next key.
func (w *worker) walk(o order) (report, error) {
	ctx, stop := context.WithTimeout(context.Background(), o.Limit)
	defer stop()
	var t tally
	var callers sync.WaitGroup
	runs := w.small.runs.Load()
	began := time.Now()
	callers.Go(func() { w.holdPool(w.client, o.Hold) })
	pairs := (o.Callers + 1) / 2
	for caller := range o.Callers {
		callers.Go(func() {
			for id := caller / 2 * o.Keys / pairs; ctx.Err() == nil; id++ {
				// A call that has begun is finished, also after the limit.
				_ = t.one(context.WithoutCancel(ctx), w.small, int64(id%o.Keys)) // it is counted
			}
		})
	}
	took, done, err := w.awaitStored(ctx, o.Keys, began)
	stop()
	callers.Wait()
	if err != nil {
		return report{}, err
	}
	r, err := w.settled(o, &t, runs)
	r.Took, r.Done = took, done
	return r, err
}

// awaitStored waits until all keys are stored.
func (w *worker) awaitStored(ctx context.Context, keys int, began time.Time) (took time.Duration, done bool, err error) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if w.small.handle.Stats().Stored < uint64(keys) {
			continue
		}
		took = time.Since(began)
		stored, err := w.present(w.small, keys)
		if err != nil || stored == keys {
			return took, err == nil, err
		}
		time.Sleep(100 * time.Millisecond) // some key was stored twice: missing keys come later
	}
	return time.Since(began), false, nil
}

// holdPool occupies all connections of the pool for a time with blocking commands. Each command is
// repeated when it ends.
func (w *worker) holdPool(client *redis.Client, length time.Duration) {
	const each = time.Second // the shortest timeout of BLPOP
	began := time.Now()
	var blocked sync.WaitGroup
	for i := range w.Pool {
		blocked.Go(func() {
			for time.Since(began) < length {
				_ = client.BLPop(context.Background(), each, "nobody pushes:"+strconv.Itoa(i)).Err() // it times out
			}
		})
	}
	blocked.Wait()
}

// pause is how long a caller of pace waits between two calls.
const pause = 10 * time.Millisecond

// pace lets callers call keys in turn until the limit, or until the large value was requested
// and stored.
func (w *worker) pace(o order) (report, error) {
	ctx, stop := context.WithTimeout(context.Background(), o.Limit)
	defer stop()
	var t tally
	var next atomic.Int64
	var callers sync.WaitGroup
	runs, began := w.small.runs.Load(), time.Now()
	for range o.Callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				_ = t.one(context.WithoutCancel(ctx), w.small, next.Add(1)%int64(o.Keys)) // it is counted
				time.Sleep(pause)
			}
		})
	}
	var large largeReport
	var err error
	if o.Do == doLarge {
		large, err = w.callLarge(ctx, began)
		stop()
	}
	callers.Wait()
	took := time.Since(began)
	if err != nil {
		return report{}, err
	}
	r := w.report(&t, runs)
	r.Took, r.Done, r.Large = took, true, large
	late := t.took.after(began.Add(o.From))
	r.P99, r.Late = measure.Quantile(late, 0.99), len(late)
	r.OwnP99 = measure.Quantile(w.small.took.after(began.Add(o.From)), 0.99)
	if last := t.took.lastOver(o.Slow); !last.IsZero() {
		r.Found = last.Sub(began)
	}
	return r, nil
}

// callLarge calls the large function once and waits until its value is stored.
func (w *worker) callLarge(ctx context.Context, began time.Time) (r largeReport, err error) {
	var t tally
	_ = t.one(context.WithoutCancel(ctx), w.large, 0) // it is counted
	r.Answered = time.Since(began)
	if why := t.failure.Load(); why != nil {
		r.Failure = *why
	}
	for ; ctx.Err() == nil && r.Stored == 0; time.Sleep(10 * time.Millisecond) {
		if r.Stored, err = w.present(w.large, 1); err != nil {
			return r, err
		}
	}
	r.Settled = time.Since(began)
	select { // a second sending would happen within this time
	case <-time.After(4 * redisTimeout):
	case <-ctx.Done():
	}
	r.Computations = int(w.large.runs.Load())
	return r, nil
}

// patience is how long a caller of giveUp waits.
const patience = 20 * time.Millisecond

// giveUp is called when Redis is away. All slots of MaxConcurrent are taken. Callers of other keys
// wait for a slot and cancel. The goroutines that they leave a second later are counted.
func (w *worker) giveUp(o order) (report, error) {
	ctx := context.Background()
	const before = 20 // after these calls Redis is known to be away
	var warm tally
	for id := range before {
		_ = warm.one(ctx, w.small, int64(-1-id)) // it is counted
	}
	held := make(chan struct{})
	w.small.hold.Store(&held)
	runs := w.small.runs.Load()
	var holders, callers sync.WaitGroup
	for id := range w.MaxConcurrent {
		holders.Go(func() { _ = warm.one(ctx, w.small, int64(-1-before-id)) })
	}
	for w.small.runs.Load() < runs+int64(w.MaxConcurrent) {
		time.Sleep(time.Millisecond)
	}
	runs = w.small.runs.Load()
	had := goroutines(200*time.Millisecond, func(a, b int) int { return max(a, b) })
	var t tally
	began := time.Now()
	for id := range o.Callers {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_ = t.one(ctx, w.small, int64(id)) // it is counted
		})
	}
	callers.Wait()
	took := time.Since(began)
	left := goroutines(time.Second, func(a, b int) int { return min(a, b) }) - had
	close(held)
	holders.Wait()
	time.Sleep(500 * time.Millisecond) // a caller that still waits for a slot gets one now, and computes
	r := w.report(&t, runs)
	r.Took, r.Done, r.Left = took, true, max(left, 0)
	r.P99 = measure.Quantile(t.took.after(began), 0.99)
	return r, nil
}

// goroutines counts goroutines repeatedly for a time, and returns the number that which chooses.
func goroutines(length time.Duration, which func(a, b int) int) int {
	n := runtime.NumGoroutine()
	for began := time.Now(); time.Since(began) < length; time.Sleep(10 * time.Millisecond) {
		n = which(n, runtime.NumGoroutine())
	}
	return n
}
