// Package activity makes everything happen that has a metric, for tests.
package activity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fncache/fncache"
)

// NearSize is a Config.NearSize from which entries are evicted.
const NearSize = 16 << 10

// A Stage has functions on a cache. The values of their calls mean nothing.
type Stage struct {
	Cache  *fncache.Cache
	Server *miniredis.Miniredis
	gate   chan struct{} // see hold
	round  int
	done   []func()
}

// ErrDatabase is the error of a function that fails. Its text must not be exported.
var ErrDatabase = errors.New("database of reader 4711 is away")

type function = func(context.Context, string) (string, error)

// cached returns the cached version of f.
func (s *Stage) cached(name string, f function, opts fncache.Options) (function, *fncache.Func1[string, string]) {
	opts.Cache, opts.Name = s.Cache, fmt.Sprintf("shop.%s", name)
	opts.Timeout = max(opts.Timeout, time.Hour)
	cached, handle := must2(fncache.New1(f, opts))
	s.done = append(s.done, handle.Func.Unwrap)
	return cached, handle
}

// End unwraps the functions.
func (s *Stage) End() {
	for _, end := range s.done {
		end()
	}
}

// Plays are the functions of a Stage.
type Plays struct {
	*Stage
	titles, stale, near, waiting, refusing, failing, unstored, losing, verified function
	broken, handle                                                              *fncache.Func1[string, string]
}

// New wraps the functions.
func New(cache *fncache.Cache, server *miniredis.Miniredis) *Plays {
	s := &Stage{Cache: cache, Server: server}
	value := func(_ context.Context, id string) (string, error) {
		time.Sleep(2 * time.Millisecond) // what the function takes
		return "value of " + id, nil
	}
	held := func(_ context.Context, id string) (string, error) {
		<-s.gate
		return "value of " + id, nil
	}
	p := &Plays{Stage: s}
	p.titles, p.handle = s.cached("Titles", value, fncache.Options{Tags: []string{"books"}})
	p.stale, _ = s.cached("Stale", value, fncache.Options{Freshness: time.Millisecond, OnStale: fncache.Background})
	p.near, _ = s.cached("Near", value, fncache.Options{Near: time.Minute})
	p.waiting, _ = s.cached("Waiting", held, fncache.Options{OnCold: fncache.Wait})
	p.refusing, _ = s.cached("Refusing", held, fncache.Options{})
	p.failing, _ = s.cached("Failing", func(context.Context, string) (string, error) { return "", ErrDatabase }, fncache.Options{})
	p.unstored, _ = s.cached("Unstored", func(ctx context.Context, id string) (string, error) {
		fncache.NoStore(ctx)
		return id, nil
	}, fncache.Options{})
	var losing *fncache.Func1[string, string]
	p.losing, losing = s.cached("Losing", func(ctx context.Context, id string) (string, error) {
		return id, losing.Invalidate(context.WithoutCancel(ctx), id)
	}, fncache.Options{})
	p.verified, _ = s.cached("Verified", value, fncache.Options{Verify: 1})
	_, p.broken = s.cached("Broken", value, fncache.Options{})
	return p
}

// Play makes everything happen once more.
func (p *Plays) Play(ctx context.Context) error {
	p.round++
	id := fmt.Sprint("reader-4711-", p.round)
	for range 70 { // so that a lookup is reported
		_, _ = p.titles(ctx, id)
	}
	_, _ = p.titles(fncache.WithBypass(ctx), id)
	_, _ = p.titles(fncache.WithRefresh(ctx), id)
	_, _ = p.stale(ctx, id)
	time.Sleep(5 * time.Millisecond) // the entry becomes stale
	_, _ = p.stale(ctx, id)
	for i := range 200 {
		_, _ = p.near(ctx, fmt.Sprint(id, "-", i))
	}
	for range 10 {
		_, _ = p.near(ctx, id)
	}
	p.together(ctx, p.waiting, id)
	p.together(ctx, p.refusing, id)
	_, _ = p.failing(ctx, id)
	_, _ = p.unstored(ctx, id)
	_, _ = p.losing(ctx, id)
	_, _ = p.verified(ctx, id)
	_, _ = p.verified(ctx, id)
	_, _ = p.broken.Call(ctx, id)
	err := p.Server.Set(must(p.broken.Key(id)), "not an entry")
	_, _ = p.broken.Call(ctx, id)
	_, clearErr := p.handle.Func.Clear(ctx)
	err = errors.Join(err, clearErr, p.handle.Invalidate(ctx, id), p.handle.Expire(ctx, id), p.Cache.InvalidateTags(ctx, "books"))
	p.outage(ctx, id)
	return errors.Join(err, await(func() bool { return p.verifiedStats().Verified >= uint64(p.round) }, "a verification"))
}

// together calls a function twice at the same time.
func (p *Plays) together(ctx context.Context, f function, id string) {
	p.gate = make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { _, _ = f(ctx, id) })
	}
	time.Sleep(50 * time.Millisecond) // both have called
	close(p.gate)
	all.Wait()
}

// outage has Redis away for a while.
func (p *Plays) outage(ctx context.Context, id string) {
	p.Server.SetError("LOADING Redis is loading the dataset in memory")
	_, _ = p.titles(ctx, id)
	p.Server.SetError("")
	_ = await(func() bool {
		return !slices.ContainsFunc(p.Cache.Health().Nodes, func(n fncache.NodeHealth) bool { return n.Away })
	}, "Redis")
}

func (p *Plays) verifiedStats() (s fncache.Stats) {
	for _, f := range p.Cache.Funcs() {
		if f.Name() == "shop.Verified" {
			s = f.Stats()
		}
	}
	return s
}

// await waits until something is so.
func await(so func() bool, what string) error {
	for range 1000 {
		if so() {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // nothing says when it is so
	}
	return fmt.Errorf("waited for %s in vain", what)
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[V, W any](v V, w W, err error) (V, W) {
	if err != nil {
		panic(err)
	}
	return v, w
}
