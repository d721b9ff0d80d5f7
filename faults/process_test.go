package faults

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/logtest"
)

// These tests control every step of their processes. In a fleet single steps cannot be
// distinguished.

const (
	// entryArg is the argument of all calls.
	entryArg = "k"
	// longLease outlives a test: only the test itself removes it.
	longLease = 5 * time.Minute
)

// A process is a cache with a client of its own, and a function that answers with
// the number of its run, counted over all processes.
type process struct {
	*fncache.Func
	t      *testing.T
	cache  *fncache.Cache
	client redis.UniversalClient
	log    *logtest.Handler
	call   func(ctx context.Context, key string) (string, error)
	run    *atomic.Int64

	began, let chan struct{} // nil: the function is not held open
	goes       time.Time     // when the function was let go
}

// A result is the answer to a call.
type result struct {
	value  string
	err    error
	source fncache.Source
}

func newProcess(t *testing.T, run *atomic.Int64, client redis.UniversalClient, lease time.Duration, change ...func(*fncache.Config)) *process {
	t.Helper()
	p := &process{t: t, client: client, run: run, log: &logtest.Handler{}}
	cfg := fncache.Config{Redis: client, RedisTimeout: redisTimeout, Logger: slog.New(p.log)}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	p.cache, err = fncache.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.cache.Close()) })
	p.call = func(ctx context.Context, _ string) (string, error) {
		answer := strconv.FormatInt(p.run.Add(1), 10)
		if p.let != nil {
			p.began <- struct{}{}
			select {
			case <-p.let:
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}
		return answer, nil
	}
	p.Func, err = fncache.Wrap(&p.call, fncache.Options{
		Cache: p.cache, Name: "faults.Later", Timeout: time.Hour, Lease: lease, OnCold: fncache.Wait,
	})
	require.NoError(t, err)
	return p
}

func (p *process) key() string {
	key, err := p.Key(entryArg)
	require.NoError(p.t, err)
	return key
}

func (p *process) lock() string { return p.key() + ":lock" }

// get calls the function once.
func (p *process) get() result {
	var info fncache.Info
	value, err := p.call(fncache.WithInfo(context.Background(), &info), entryArg)
	return result{value, err, info.Source}
}

// begin lets the process compute under a lease, which raw can see, until letGo.
func (p *process) begin(raw *redis.Client) (end <-chan result) {
	p.t.Helper()
	p.began, p.let = make(chan struct{}), make(chan struct{})
	answers := make(chan result, 1)
	go func() { answers <- p.get() }()
	select {
	case <-p.began:
	case <-time.After(patience):
		p.t.Fatalf("the function was not called within %v", patience)
	}
	require.EqualValues(p.t, 1, raw.Exists(context.Background(), p.lock()).Val(), "it computes under a lease")
	return answers
}

func (p *process) letGo() {
	p.goes = time.Now()
	close(p.let)
}

// answer waits for the answer to begin's call.
func (p *process) answer(end <-chan result) result {
	p.t.Helper()
	select {
	case r := <-end:
		return r
	case <-time.After(patience):
		p.t.Fatalf("no answer within %v", patience)
		return result{}
	}
}

// awaitStats waits until the counters are as wanted.
func (p *process) awaitStats(what string, wanted func(fncache.Stats) bool) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return wanted(p.Stats()) }, patience, 5*time.Millisecond,
		"%s: not within %v\nthe cache said:\n%s", what, patience, p.log)
}

// awaitRedis waits until Redis answers a process that has not asked before.
func (p *process) awaitRedis() {
	p.t.Helper()
	var err error
	// This polls as a readiness probe does, and shows the last error.
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		if err = p.cache.Ping(context.Background()); err == nil {
			return
		}
	}
	p.t.Fatalf("Redis does not answer within %v: %v", patience, err)
}

// requireStored waits until the entry is there, with a timeout, and the lock gone.
func requireStored(t *testing.T, raw *redis.Client, p *process) {
	t.Helper()
	ctx := context.Background()
	require.Eventually(t, func() bool { return raw.Exists(ctx, p.key()).Val() == 1 }, patience, 5*time.Millisecond,
		"nothing is stored within %v\nthe cache said:\n%s", patience, p.log)
	require.Positive(t, raw.PTTL(ctx, p.key()).Val())
	require.Zero(t, raw.Exists(ctx, p.lock()).Val(), "the lease was given back by the same step")
}

func closeProcesses(t *testing.T, all ...*process) {
	t.Helper()
	for _, p := range all {
		require.NoError(t, p.cache.Close())
		require.NoError(t, p.client.Close())
	}
}
