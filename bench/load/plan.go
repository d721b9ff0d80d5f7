package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
	"github.com/fncache/fncache/bench/internal/server"
)

// A plan describes one run.
type plan struct {
	Callers  int
	Keys     int
	Cost     time.Duration // of the function
	Pause    time.Duration // of a caller between two calls
	Patience time.Duration // of a caller: the deadline of its context
	Before   time.Duration
	Outage   time.Duration
	After    time.Duration
	Settling time.Duration // from the beginning of the outage until Redis is assumed to be known away
	Kill     bool          // Redis is killed and started again, instead of stopped
	Quick    bool          // a smoke test, whose figures are not meaningful
}

func (p plan) length() time.Duration { return p.Before + p.Outage + p.After }

func (p plan) trouble() string {
	if p.Kill {
		return "killed, and started again empty,"
	}
	return "stopped"
}

// A result is one peer's run.
type result struct {
	Peer    string
	Phases  []phase
	Failure string // an example
	Buckets []bucket
}

// A phase is the calls that belong to a part of the run.
type phase struct {
	Name             string
	Answered, Failed int
	P50, P99, Max    time.Duration
	Computations     int           // that began in it
	OneKeyAtOnce     int           // the most computations of one key at the same time
	OwnP50, OwnP99   time.Duration // of the function alone
}

// A bucket is a short part of the run, for the plot.
type bucket struct {
	At       time.Duration // its beginning
	Began    int           // calls
	Ended    int           // calls that were answered
	Failed   int
	P99, Max time.Duration // of the calls that began in it
}

// A call is the record of one call. Times are since the run began.
type call struct {
	began, ended time.Duration
	err          error
}

// run lets callers call through a peer, on a server of its own.
func (p plan) run(name string, draws []int64) (r result, err error) {
	s, err := server.Start()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	peer, err := peers.ByName(peers.Fleet[[]int64](), name)
	if err != nil {
		return r, err
	}
	f := &function{cost: 0, running: make([]atomic.Int32, p.Keys)}
	site := peers.Site{Addr: s.Addr(), Name: "load", Freshness: time.Hour, Timeout: time.Hour, Keys: p.Keys}
	cached, err := peer.Open(site, f.compute)
	if err != nil {
		return r, err
	}
	defer cached.Close()
	warm := func(id int64) error {
		_, err := cached.Get(context.Background(), id)
		return err
	}
	if err := peers.Fill(s.Addr(), warm, cached.Key, true, 0, p.Keys); err != nil {
		return r, err
	}
	f.begin(p.Cost)
	calls := p.call(cached.Get, draws, f.began, s)
	return p.result(name, calls, f), nil
}

// call starts the callers, and stops and resumes Redis meanwhile.
func (p plan) call(get peers.Source[[]int64], draws []int64, began time.Time, s *server.Server) []call {
	perCaller := make([][]call, p.Callers)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(p.Before)
		if p.Kill {
			s.Kill()
			time.Sleep(p.Outage)
			s.Restart()
			return
		}
		s.Pause()
		time.Sleep(p.Outage)
		s.Resume()
	})
	for caller := range p.Callers {
		wg.Go(func() {
			for i := caller * len(draws) / p.Callers; time.Since(began) < p.length(); i++ {
				perCaller[caller] = append(perCaller[caller], p.one(get, draws[i%len(draws)], began))
				time.Sleep(p.Pause)
			}
		})
	}
	wg.Wait()
	var calls []call
	for _, some := range perCaller {
		calls = append(calls, some...)
	}
	return calls
}

func (p plan) one(get peers.Source[[]int64], id int64, began time.Time) call {
	ctx, cancel := context.WithTimeout(context.Background(), p.Patience)
	defer cancel()
	c := call{began: time.Since(began)}
	_, c.err = get(ctx, id)
	c.ended = time.Since(began)
	return c
}

const (
	outage    = "during"
	knownAway = "during, once known away"
)

// phases returns the parts of a run. A call belongs to the outage if any of it was during the
// outage.
func (p plan) phases() []struct {
	name     string
	from, to time.Duration
	has      func(call) bool
} {
	start, end := p.Before, p.Before+p.Outage
	type part = struct {
		name     string
		from, to time.Duration
		has      func(call) bool
	}
	return []part{
		{"before", 0, start, func(c call) bool { return c.ended < start }},
		{outage, start, end, func(c call) bool { return c.ended >= start && c.began < end }},
		{knownAway, start + p.Settling, end, func(c call) bool { return c.began >= start+p.Settling && c.began < end }},
		{"after", end, p.length() + p.Patience, func(c call) bool { return c.began >= end }},
	}
}

func (p plan) result(name string, calls []call, f *function) result {
	r := result{Peer: name, Buckets: p.buckets(calls)}
	for _, part := range p.phases() {
		ph := phase{Name: part.name}
		var took []time.Duration
		for _, c := range calls {
			if !part.has(c) {
				continue
			}
			took = append(took, c.ended-c.began)
			if c.err == nil {
				ph.Answered++
				continue
			}
			ph.Failed++
			r.Failure = c.err.Error()
		}
		ph.P50, ph.P99, ph.Max = measure.Quantile(took, 0.5), measure.Quantile(took, 0.99), measure.Quantile(took, 1)
		f.between(part.from, part.to, &ph)
		r.Phases = append(r.Phases, ph)
	}
	return r
}

const bucketLength = 500 * time.Millisecond

func (p plan) buckets(calls []call) []bucket {
	all := make([]bucket, int(p.length()/bucketLength)+1)
	took := make([][]time.Duration, len(all))
	for i := range all {
		all[i].At = time.Duration(i) * bucketLength
	}
	for _, c := range calls {
		i := int(c.began / bucketLength)
		if i >= len(all) {
			continue
		}
		all[i].Began++
		took[i] = append(took[i], c.ended-c.began)
		end := int(c.ended / bucketLength)
		switch {
		case end >= len(all): // a late call that ended after the run
		case c.err == nil:
			all[end].Ended++
		default:
			all[end].Failed++
		}
	}
	for i := range all {
		all[i].P99, all[i].Max = measure.Quantile(took[i], 0.99), measure.Quantile(took[i], 1)
	}
	return all
}

// A function is the cached function. It records its runs.
type function struct {
	cost    time.Duration
	began   time.Time
	running []atomic.Int32 // by key

	mu   sync.Mutex // guards the field below
	runs []computation
}

type computation struct {
	began  time.Duration
	took   time.Duration
	atOnce int // computations of the same key, including this one
}

// begin ends the warm-up. From now on the function takes time, and the time of the run begins.
func (f *function) begin(cost time.Duration) {
	f.cost, f.began = cost, time.Now()
	f.runs = nil
}

func (f *function) compute(ctx context.Context, id int64) ([]int64, error) {
	run := computation{began: time.Since(f.began), atOnce: int(f.running[id].Add(1))}
	defer func() {
		f.running[id].Add(-1)
		run.took = time.Since(f.began) - run.began
		f.mu.Lock()
		defer f.mu.Unlock()
		f.runs = append(f.runs, run)
	}()
	select {
	case <-time.After(f.cost):
		return []int64{id, 3, 41865, 2657, 4671, 11870085, 5907, 5107, 960, 1885}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// between adds to a phase the runs that began between two times: their number, their durations, and
// the most computations of one key at the same time.
func (f *function) between(from, to time.Duration, ph *phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var took []time.Duration
	for _, run := range f.runs {
		if run.began >= from && run.began < to {
			took = append(took, run.took)
			ph.OneKeyAtOnce = max(ph.OneKeyAtOnce, run.atOnce)
		}
	}
	ph.Computations = len(took)
	ph.OwnP50, ph.OwnP99 = measure.Quantile(took, 0.5), measure.Quantile(took, 0.99)
}

const (
	// margin is how much longer than the function a call may take once Redis is known to be
	// away.
	margin = 2 * time.Millisecond
	// foundOut is how long a call may wait before that is known.
	foundOut = 2 * fncache.DefaultRedisTimeout
)

// aims returns the aims of fncache.
func (r result) aims() []measure.Aim {
	failed, atOnce := 0, 0
	var during, known phase
	for _, ph := range r.Phases {
		failed += ph.Failed
		atOnce = max(atOnce, ph.OneKeyAtOnce)
		switch ph.Name {
		case outage:
			during = ph
		case knownAway:
			known = ph
		}
	}
	return []measure.Aim{
		measure.AtMost(r.Peer+": calls that failed", 0, float64(failed)),
		measure.AtMost(r.Peer+", "+outage+": the longest call over p99 of the function, ms", foundOut.Seconds()*1e3, (during.Max-during.OwnP99).Seconds()*1e3),
		measure.AtMost(r.Peer+", "+knownAway+": p99 over that of the function, ms", margin.Seconds()*1e3, (known.P99-known.OwnP99).Seconds()*1e3),
		measure.AtMost(r.Peer+": computations of one key at once", 1, float64(atOnce)),
	}
}
