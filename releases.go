package fncache

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/remote"
)

// This file has an invalidation reach the entries of every release of a function. Two
// releases whose types or codecs differ store under different signatures, side by side,
// so the one that invalidates must know the signatures of the others. They are in a
// registry in Redis, a hash for each function:
//
//	<namespace>:functions:{<prefix>:<name>}
//	    <signature> → <seen> <kept> <fingerprint of the parameter types>
//
// A process registers a release under a lease, before the function runs. That is early
// enough. Invalidate reads the registry (R), and then deletes (D) the entries and leases of
// all releases that it has read. Of a computation whose result is stored, by a release
// that was registered (G) before it began (B):
//
//   - If G came before R, then R has read the release, and D takes the lease from every
//     computation that began before D, and deletes what was stored before D.
//   - If R came before G, then R came before B. The source was changed before Invalidate
//     was called, so the computation has read what was changed.
//
// Both rest on the registry keeping what it was told. It has no expiry, so that no
// volatile-* policy evicts it. Where it is lost all the same (FLUSHALL, an allkeys-* policy,
// a failover), a process restores its own part: before the next computation that begins a
// minute or more after it last registered; for functions that are called and compute less
// often about every five minutes; and a second after the client has opened a connection. Until
// then invalidations by other releases do not reach what it stores.

const (
	// releaseKept is how long a release is remembered that nobody registers, if none of its
	// entries lives longer.
	releaseKept = 35 * 24 * time.Hour
	// maxReleases is how many releases of one function are remembered at most, and so how
	// many entries one script deletes. Of more, those seen longest ago are forgotten: a
	// process that computes registers every minute, so they have no process for long.
	maxReleases = 256

	// registerAgain is the age from which a registration is renewed before a computation.
	registerAgain = time.Minute
	// registerGood is the age up to which one will do if it cannot be renewed.
	registerGood = 10 * time.Minute
	// registerIdle is how often registrations are renewed without a computation. Where no
	// function of the cache is called the interval doubles, up to registerIdlest.
	registerIdle   = 5 * time.Minute
	registerIdlest = 7 * 24 * time.Hour
	// registerDialed is how soon that is done where the client has opened a connection,
	// maybe to another server. A client that opens many has it done once in registerAgain.
	registerDialed = time.Second
)

// registryKey returns the key of the registry of a function. name is with its prefix.
func registryKey(namespace, name string) string { return namespace + ":functions:{" + name + "}" }

// register has the registry of a function know a release of it, which is kept for that
// long. Releases that are kept until a time before outdated are forgotten. missing says that
// the registry did not have the release.
func (s *lockStore) register(ctx context.Context, registry, sig, params string, now, outdated time.Time, keep time.Duration) (missing bool, err error) {
	n, err := s.eval(ctx, opRegister, registerScript, urgent, []string{registry},
		sig, params, now.Unix(), now.Add(keep).Unix(), maxReleases, outdated.Unix())
	return n == int64(1), err
}

// releases returns the signatures that a registry has for the same parameter types.
func (s *lockStore) releases(ctx context.Context, registry, params string) (sigs []string, err error) {
	reply, err := s.eval(ctx, opReleases, releasesScript, remote.Limits{Always: true}, []string{registry}, params)
	if err != nil {
		return nil, err
	}
	all, _ := reply.([]any)
	for _, sig := range all {
		sigs = append(sigs, fmt.Sprint(sig))
	}
	return sigs, nil
}

// A release is a function as this process has it, with the cache that it uses.
type release struct {
	registry, sig, params string
	keep                  time.Duration
	calls                 uint64 // of the function at the last renewal; keepRegistered's

	mu         sync.Mutex    // guards the fields below
	registered bool          // it was, at that time
	at         time.Duration // on the cache's clock.elapsed
	attempt    *registration // under way, nil if none
}

// A registration is an attempt to register. err is written before done is closed.
type registration struct {
	done chan struct{}
	err  error
}

// ownReleases are the releases of one cache that have computed.
type ownReleases struct {
	tending sync.Once
	dialed  chan struct{} // has an element if the client has opened a connection

	mu sync.Mutex // guards the field below
	m  map[*Func]*release
}

func (r *ownReleases) noteDial() {
	select {
	case r.dialed <- struct{}{}:
	default:
	}
}

// of returns the release of fn.
func (r *ownReleases) of(fn *Func, c *Cache) *release {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.m[fn]; known != nil {
		return known
	}
	made := &release{
		registry: registryKey(c.cfg.Namespace, fn.Name()),
		sig:      c.coder.fingerprint(fn),
		params:   fn.params,
		// A day more, for an entry is stored some time after its release was registered.
		keep: max(releaseKept, clock.Later(24*time.Hour, max(fn.opts.Timeout, fn.opts.ErrorTimeout))),
	}
	// A computation may outlive the binding that it began under.
	if b := fn.bound.Load(); b != nil && b.cache == c && !fn.unwrapped.Load() {
		if r.m == nil {
			r.m = make(map[*Func]*release)
		}
		r.m[fn] = made
	}
	return made
}

// end is for a cache that is closed.
func (r *ownReleases) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m = nil
}

// forget is for a function that this cache has no longer.
func (r *ownReleases) forget(fn *Func) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, fn)
}

func (r *ownReleases) all() map[*Func]*release {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[*Func]*release, len(r.m))
	for fn, own := range r.m {
		all[fn] = own
	}
	return all
}

// expire has every release registered again before its next computation.
func (r *ownReleases) expire() {
	for _, own := range r.all() {
		own.mu.Lock()
		own.registered = false
		own.mu.Unlock()
	}
}

// register has the registry know the release of fn, so that a result of it may be
// stored. It may take RedisTimeout. After an error nothing may be stored.
func (c *Cache) register(ctx context.Context, fn *Func) error {
	c.releases.tending.Do(func() { c.life.Go(c.keepRegistered) })
	r := c.releases.of(fn, c)
	err := c.registerUnless(ctx, fn, r, registerAgain)
	if err == nil || r.within(registerGood, c.clock.Elapsed()) {
		return nil
	}
	c.log.Once("register "+fn.Name(), slog.LevelWarn,
		"a release of a function cannot be registered: until it can, its results are not stored, for invalidations by other releases would not reach them",
		"func", fn.Name(), "key", r.registry, "err", err)
	return err
}

// within reports whether the release was registered so lately.
func (r *release) within(age, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registered && now-r.at < age
}

// registerUnless registers a release, unless that was done so lately, and once for all who
// want it at the same time. Both are decided under one lock: a computation that saw an old
// registration would else register again what another has registered since.
func (c *Cache) registerUnless(ctx context.Context, fn *Func, r *release, age time.Duration) error {
	r.mu.Lock()
	attempt := r.attempt
	switch {
	case r.registered && c.clock.Elapsed()-r.at < age:
		r.mu.Unlock()
		return nil
	case attempt == nil:
		attempt = &registration{done: make(chan struct{})}
		r.attempt = attempt
		ctx = context.WithoutCancel(ctx)
		c.life.Go(func() { c.attemptRegistration(ctx, fn, r, attempt) })
	}
	r.mu.Unlock()
	<-attempt.done // it has RedisTimeout
	return attempt.err
}

func (c *Cache) attemptRegistration(ctx context.Context, fn *Func, r *release, attempt *registration) {
	asked, now := c.clock.Elapsed(), time.UnixMilli(c.clock.Now())
	outdated := now
	if !c.clock.Learned() { // a local clock that is fast would have others forgotten that are in use
		outdated = time.Unix(0, 0)
	}
	missing, err := c.storeFor(fn).register(ctx, r.registry, r.sig, r.params, now, outdated, r.keep)
	c.noteRedis(fn, opRegister, r.registry, err)
	r.mu.Lock()
	lost := err == nil && missing && r.registered
	if err == nil {
		r.registered, r.at = true, asked
	}
	r.attempt, attempt.err = nil, err
	r.mu.Unlock()
	close(attempt.done)
	if lost {
		c.log.Once("registry "+fn.Name(), slog.LevelWarn,
			"Redis had lost the registration of a function: invalidations by other releases did not reach it meanwhile; look for FLUSHALL, a maxmemory-policy that evicts keys without an expiry, or a failover",
			"func", fn.Name(), "key", r.registry)
	}
}

// keepRegistered renews the registrations of functions that seldom compute. It ends at
// Close.
func (c *Cache) keepRegistered() {
	select {
	case <-c.releases.dialed: // by what came before the first registration
	default:
	}
	interval := registerIdle
	for c.awaitRenewal(interval) {
		c.clock.Await(context.Background()) // the machine may have been suspended since the last call
		called := false
		for fn, r := range c.releases.all() {
			if c.life.Closed() {
				return
			}
			if calls := fn.Stats().Calls; calls != r.calls {
				r.calls, called = calls, true
			}
			_ = c.registerUnless(context.Background(), fn, r, 0) // it is counted, and the log tells of Redis
		}
		interval = min(2*interval, registerIdlest)
		if called {
			interval = registerIdle
		}
	}
}

// awaitRenewal waits for about that long, or until shortly after the client has opened a
// connection. It is false if the cache was closed.
func (c *Cache) awaitRenewal(interval time.Duration) bool {
	began := c.clock.Elapsed()
	timer := time.NewTimer(interval/2 + rand.N(interval))
	defer timer.Stop()
	dialed := c.releases.dialed
	for {
		select {
		case <-timer.C:
			return true
		case <-dialed:
			dialed = nil
			timer.Reset(max(registerDialed, registerAgain-(c.clock.Elapsed()-began)))
		case <-c.closing:
			return false
		}
	}
}
