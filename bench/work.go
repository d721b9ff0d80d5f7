package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/internal/child"
)

// work runs this program as one of the processes of a stampede.
func work(stdin io.Reader, stdout io.Writer) error {
	w := &workerState{}
	defer w.close()
	return child.Serve(stdin, stdout, w.obey)
}

// workerState is the state of a worker between orders.
type workerState struct {
	cached *peers.Cached[ids]
	cost   time.Duration

	version      atomic.Int64 // of the value that the function returns
	computations atomic.Int64 // that have begun
}

func (w *workerState) close() {
	if w.cached != nil {
		w.cached.Close()
	}
}

func (w *workerState) obey(o order) (report, error) {
	switch o.Do {
	case doOpen:
		return report{}, w.open(o)
	case doCall:
		return w.call(o), nil
	default:
		return report{}, fmt.Errorf("unknown order %q", o.Do)
	}
}

func (w *workerState) open(o order) (err error) {
	w.cost = o.Cost
	peer, err := peers.ByName(peers.Fleet[ids](), o.Peer)
	if err != nil {
		return err
	}
	site := peers.Site{Addr: o.Addr, Name: "bench", Freshness: o.Freshness, Timeout: timeout, Keys: 1000}
	w.cached, err = peer.Open(site, w.compute)
	return err
}

// compute is the function that is cached.
func (w *workerState) compute(ctx context.Context, _ int64) (ids, error) {
	w.computations.Add(1)
	value := tenIDs(w.version.Load())
	select {
	case <-time.After(w.cost):
		return value, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call lets many callers call at the same time.
func (w *workerState) call(o order) report {
	w.version.Store(o.Version)
	before := w.computations.Load()
	waits, results := make([]time.Duration, o.Callers), make([]report, o.Callers)
	loose := make(chan struct{})
	var callers sync.WaitGroup
	for i := range o.Callers {
		callers.Go(func() {
			<-loose
			began := time.Now()
			value, err := w.cached.Get(context.Background(), o.Key)
			waits[i] = time.Since(began)
			results[i] = judge(value, err)
		})
	}
	close(loose)
	callers.Wait()
	if o.Settle {
		// By the end of this wait, background work such as a refresh has begun and ended.
		time.Sleep(w.cost + w.cost/2)
	}
	r := report{Waits: waits, Computations: int(w.computations.Load() - before)}
	for _, one := range results {
		r.Answers.add(one.Answers)
		r.Failure = max(r.Failure, one.Failure)
	}
	return r
}

// judge classifies the answer to one caller.
func judge(value ids, err error) (r report) {
	switch {
	case peers.Refused(err):
		r.Answers.Refused = 1
	case err != nil:
		r.Answers.Failed, r.Failure = 1, err.Error()
	case len(value) > 0 && value[0] == newVersion:
		r.Answers.New = 1
	case len(value) > 0 && value[0] == oldVersion:
		r.Answers.Old = 1
	default:
		r.Answers.Failed, r.Failure = 1, fmt.Sprintf("an odd value: %v", value)
	}
	return r
}
