package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/peers"
)

// A storm is the invalidation storm: a writer changes and invalidates one key repeatedly while
// readers read it. The readers are spread over instances of the cache, each with clients and a
// local tier of its own, as if they were processes. The writer has an instance of its own.
type storm struct {
	Instances int
	Readers   int           // of all instances together
	Pause     time.Duration // of a reader between two reads
	Every     time.Duration // the writer writes
	Cost      time.Duration // of the function, once it has read the source
	Length    time.Duration
	Grace     time.Duration // the age from which a stale read counts as late
}

// A stormRow is one peer in the storm. A read is stale if it returns a value whose invalidation had
// returned before the read began.
type stormRow struct {
	Peer         string
	Reads        int
	Refused      int
	Stale        int
	Late         int           // stale reads that were stale by more than storm.Grace
	Worst        time.Duration // the greatest time by which a read was stale
	Invalidation time.Duration // the median time of an invalidation
	Writes       int
	Retries      int // of invalidations that failed
	Computations int
}

func (b *bench) storm() ([]stormRow, error) {
	var rows []stormRow
	for _, peer := range peers.Fleet[ids]() {
		b.progress("%s", peer.Name)
		if err := b.server.Empty(); err != nil {
			return nil, err
		}
		row, err := b.stormOf(peer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peer.Name, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (b *bench) stormOf(peer peers.Peer[ids]) (stormRow, error) {
	s := &underStorm{storm: b.stormy, began: time.Now()}
	s.invalidated = make([]atomic.Int64, 2+2*int(s.Length/s.Every))
	for range s.Instances + 1 {
		site := peers.Site{Addr: b.server.Addr(), Name: "bench", Freshness: time.Minute, Timeout: timeout, Keys: 1000}
		cached, err := peer.Open(site, s.compute)
		if err != nil {
			return stormRow{}, err
		}
		defer cached.Close()
		s.instances = append(s.instances, cached)
	}
	return s.run(peer.Name)
}

// underStorm is a storm under way.
type underStorm struct {
	storm
	began     time.Time
	instances []*peers.Cached[ids] // the last one is the writer's

	version      atomic.Int64 // the value of the source
	computations atomic.Int64
	// invalidated has for each version when the invalidation returned that made it the current one,
	// in nanoseconds since began; 0: not yet.
	invalidated []atomic.Int64
}

func (s *underStorm) compute(context.Context, int64) (ids, error) {
	s.computations.Add(1)
	value := tenIDs(s.version.Load())
	time.Sleep(s.Cost)
	return value, nil
}

func (s *underStorm) run(name string) (stormRow, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Length)
	defer cancel()
	rows, faults := make([]stormRow, s.Readers), make([]error, s.Readers+1)
	var took []time.Duration
	var retries int
	var wg sync.WaitGroup
	for i := range s.Readers {
		wg.Go(func() { rows[i], faults[i] = s.read(ctx, s.instances[i%s.Instances]) })
	}
	wg.Go(func() { took, retries, faults[s.Readers] = s.write(ctx, s.instances[s.Instances]) })
	wg.Wait()
	all := stormRow{
		Peer: name, Writes: len(took), Retries: retries, Invalidation: measure.Quantile(took, 0.5),
		Computations: int(s.computations.Load()),
	}
	for _, row := range rows {
		all.Reads += row.Reads
		all.Refused += row.Refused
		all.Stale += row.Stale
		all.Late += row.Late
		all.Worst = max(all.Worst, row.Worst)
	}
	i := slices.IndexFunc(faults, func(err error) bool { return err != nil })
	if i >= 0 {
		return all, faults[i]
	}
	return all, nil
}

func (s *underStorm) write(ctx context.Context, to *peers.Cached[ids]) (took []time.Duration, retries int, err error) {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return took, retries, nil
		case <-tick.C:
		}
		version := s.version.Add(1)
		began := time.Now()
		for err = to.Invalidate(context.Background(), burstKey); err != nil && ctx.Err() == nil; retries++ {
			err = to.Invalidate(context.Background(), burstKey)
		}
		if err != nil {
			return took, retries, err
		}
		took = append(took, time.Since(began))
		s.invalidated[version].Store(int64(time.Since(s.began)))
	}
}

func (s *underStorm) read(ctx context.Context, from *peers.Cached[ids]) (row stormRow, err error) {
	for ctx.Err() == nil {
		began := time.Since(s.began)
		value, err := from.Get(context.Background(), burstKey)
		row.Reads++
		switch {
		case peers.Refused(err):
			row.Refused++
		case err != nil:
			return row, err
		default:
			row.judge(began, s.replaced(value[0]), s.Grace)
		}
		time.Sleep(s.Pause)
	}
	return row, nil
}

// replaced returns when the invalidation of a version's value returned, or 0 if it has not.
func (s *underStorm) replaced(version int64) time.Duration {
	return time.Duration(s.invalidated[version+1].Load())
}

// judge counts a read that began at a time and returned a value replaced at another time.
func (r *stormRow) judge(began, replaced, grace time.Duration) {
	age := began - replaced
	if replaced == 0 || age <= 0 {
		return
	}
	r.Stale++
	r.Worst = max(r.Worst, age)
	if age > grace {
		r.Late++
	}
}
