package faults

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/holder"
	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

const (
	processes = 3
	callers   = 4 // of a process, on every key

	redisTimeout = 200 * time.Millisecond
	lease        = time.Second
	timeout      = 20 * time.Second
	freshness    = 50 * time.Millisecond

	// How long the function takes usually, and sometimes.
	shortRuns = 5 * time.Millisecond
	longRuns  = 60 * time.Millisecond

	// foundOut bounds the time until the cache detects that a Redis that answers is too slow.
	foundOut = 3 * time.Second

	// between two invalidations
	invalidationPace = 200 * time.Millisecond

	// bound is the most that a call may take: a lookup, an acquire and a store, a lease that is
	// never released, the function, and the delays of a busy machine. On two cores the longest
	// call of all tests took 0.65 s, and 1.14 s beside four busy loops. Time in which the
	// machine did not run this process at all does not count; see pulse.
	bound = 3*redisTimeout + lease + longRuns + 340*time.Millisecond
	// turns is the bound for a key whose leases are removed repeatedly. A caller that joined a
	// running computation whose lease was lost decides again, and then takes the result of its
	// process's next computation in any case. It may lose the race for that lease to another
	// process more than once. But many runs end before their lease is removed, so this does not
	// last long.
	turns = 2 * bound
	// patience is how long a required event may take, also on a busy machine.
	patience = time.Minute
)

// The last key is invalidated repeatedly, which removes leases too.
var (
	keys        = []string{"a", "b", "c"}
	undisturbed = keys[:2]
	invalidated = keys[2]
)

// A plan describes a fleet, and what its calls may return.
type plan struct {
	connect func() redis.UniversalClient // for each process
	policy  fncache.DownPolicy
	bound   time.Duration // of a call; 0 for bound
	pace    time.Duration // of invalidations; 0: none
}

// A fleet is some processes with callers that ask for the same keys repeatedly until the end.
type fleet struct {
	plan
	t       *testing.T
	ctx     context.Context
	watch   *watch
	members []*member
	stop    chan struct{}
	callers sync.WaitGroup
	calls   atomic.Int64
	pulse   pulse
	log     *logtest.Handler

	mu      sync.Mutex // guards the fields below
	records []record
	changed chan struct{} // closed and made anew at every record
}

// A member is one process: a cache with its own client.
type member struct {
	number int
	client redis.UniversalClient
	cache  *fncache.Cache
	call   func(ctx context.Context, key string) (string, error)
	handle *fncache.Func
}

// A record is one call.
type record struct {
	member, caller int
	key            string
	began          time.Time
	took           time.Duration
	source         fncache.Source
	value          string
	run            int // the run of the function that gave the value
	err            error
}

// newFleet starts the processes, and waits until all callers are served from the cache.
func newFleet(t *testing.T, p plan) *fleet {
	t.Helper()
	if p.bound == 0 {
		p.bound = bound
	}
	f := &fleet{
		plan: p, t: t, ctx: context.Background(),
		watch:   newWatch(t),
		stop:    make(chan struct{}),
		changed: make(chan struct{}),
		log:     &logtest.Handler{},
	}
	for i := range processes {
		f.members = append(f.members, f.newMember(i))
	}
	f.watch.errors = func(process int) uint64 { return f.members[process].handle.Stats().RedisErrors }
	for _, key := range keys {
		f.watch.keys[f.stored(key)] = key
	}
	f.callers.Go(func() { f.pulse.beat(f.stop) })
	for _, m := range f.members {
		for c := range callers {
			for _, key := range keys {
				f.callers.Go(func() { f.callUntilStop(m, c, key) })
			}
		}
	}
	if f.pace != 0 {
		f.callers.Go(func() { f.invalidateUntilStop(f.members[invalidator]) })
	}
	t.Cleanup(f.end)
	f.awaitCaching("at the start")
	return f
}

// newMember makes a process.
func (f *fleet) newMember(i int) *member {
	m := &member{number: i, client: f.connect()}
	redistest.AddHook(m.client, tap{f.watch, i})
	cache, err := fncache.New(fncache.Config{
		Redis: m.client, RedisTimeout: redisTimeout, OnRedisDown: f.policy, Logger: slog.New(f.log),
	})
	require.NoError(f.t, err)
	m.cache = cache
	m.call = func(ctx context.Context, key string) (string, error) { return f.watch.run(ctx, i, key) }
	m.handle, err = fncache.Wrap(&m.call, fncache.Options{
		Cache: cache, Name: "faults.Source", Timeout: timeout, Freshness: freshness, Lease: lease,
		OnCold: fncache.Wait, WaitTimeout: 10 * lease,
	})
	require.NoError(f.t, err)
	return m
}

// stopped waits for a time, or until the end, and reports whether the end has come.
func (f *fleet) stopped(wait time.Duration) bool {
	select {
	case <-f.stop:
		return true
	case <-time.After(wait):
		return false
	}
}

func (f *fleet) callUntilStop(m *member, caller int, key string) {
	for !f.stopped(5 * time.Millisecond) { // the callers' pace: the machine is shared
		var info fncache.Info
		ctx := context.WithValue(f.ctx, callKey{}, f.calls.Add(1))
		r := record{member: m.number, caller: caller, key: key, began: time.Now()}
		r.value, r.err = m.call(fncache.WithInfo(ctx, &info), key)
		r.took, r.source = time.Since(r.began), info.Source
		if _, run, ok := strings.Cut(r.value, "#"); ok {
			r.run, _ = strconv.Atoi(run)
		}
		f.note(r)
	}
}

// invalidator is the process that invalidates.
const invalidator = 0

func (f *fleet) invalidateUntilStop(m *member) {
	for !f.stopped(f.pace) {
		done := f.watch.invalidating(invalidated)
		if m.handle.Invalidate(f.ctx, invalidated) == nil {
			done()
		}
	}
}

func (f *fleet) note(r record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records = append(f.records, r)
	close(f.changed)
	f.changed = make(chan struct{})
}

// await waits until every caller has made some calls that began after now and satisfy want.
func (f *fleet) await(what string, often int, wanted func(record) bool) {
	f.t.Helper()
	type caller struct {
		member, number int
		key            string
	}
	missing := make(map[caller]int)
	for _, m := range f.members {
		for c := range callers {
			for _, key := range keys {
				missing[caller{m.number, c, key}] = often
			}
		}
	}
	now, limit := time.Now(), time.After(patience)
	f.mu.Lock()
	next := len(f.records)
	f.mu.Unlock()
	for {
		f.mu.Lock()
		for _, r := range f.records[next:] {
			id := caller{r.member, r.caller, r.key}
			if missing[id] > 0 && !r.began.Before(now) && wanted(r) {
				if missing[id]--; missing[id] == 0 {
					delete(missing, id)
				}
			}
		}
		next = len(f.records)
		changed := f.changed
		f.mu.Unlock()
		if len(missing) == 0 {
			return
		}
		select {
		case <-changed:
		case <-limit:
			f.t.Fatalf("%s: not within %v, for callers %v\nthe calls that began meanwhile:\n%v\nthe cache said:\n%s",
				what, patience, missing, f.outcomes(now), f.log)
		}
	}
}

// outcomes describes the results of the calls that began after a time, with their numbers.
func (f *fleet) outcomes(after time.Time) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := make(map[string]int)
	for _, r := range f.records {
		if !r.began.After(after) {
			continue
		}
		what := r.source.String()
		var failure *fncache.RedisError
		if errors.As(r.err, &failure) {
			what += ", " + failure.Kind.String()
		} else if r.err != nil {
			what += ", another error"
		}
		got[what]++
	}
	return got
}

// awaitAnswers waits until every caller has had some answers of any kind. A caller that hangs
// on Redis never gets there while the fault lasts. The calls that count begin when all entries
// from before the fault are stale, so they need Redis.
func (f *fleet) awaitAnswers(when string) {
	f.t.Helper()
	begun := time.Now()
	f.await("answers "+when, 3, func(r record) bool { return r.began.Sub(begun) > 2*freshness })
}

// awaitCaching waits until every caller has a hit on a value that was computed after now.
func (f *fleet) awaitCaching(when string) {
	f.t.Helper()
	so := f.watch.soFar()
	f.await("caching "+when, 1, func(r record) bool {
		return r.err == nil && r.source == fncache.SourceFresh && r.run > so[r.key]
	})
}

// awaitRefusals waits until every caller of some keys got ErrRedisDown with its cause.
func (f *fleet) awaitRefusals(kind fncache.RedisErrorKind, of ...string) {
	f.t.Helper()
	f.await("refusals for "+kind.String(), 1, func(r record) bool {
		if !slices.Contains(of, r.key) {
			return true
		}
		var failure *fncache.RedisError
		return errors.Is(r.err, fncache.ErrRedisDown) && errors.As(r.err, &failure) && failure.Kind == kind && failure.Err != nil
	})
}

// awaitLeases waits until every process has computed each of some keys under a lease and stored
// the result.
func (f *fleet) awaitLeases(when string, of ...string) {
	f.t.Helper()
	before := f.watch.storesSoFar()
	require.Eventuallyf(f.t, func() bool {
		now := f.watch.storesSoFar()
		for p := range processes {
			for _, key := range of {
				if at := (place{p, key}); now[at] == before[at] {
					return false
				}
			}
		}
		return true
	}, patience, 10*time.Millisecond, "leases of every process %s, keys %v", when, of)
}

// checkLeased checks that every computation of some keys since then had a lease.
func (f *fleet) checkLeased(since time.Time, of ...string) {
	f.t.Helper()
	for _, key := range of {
		leased, unleased := f.watch.counts(key, since)
		assert.Zero(f.t, unleased, "key %s: computations without a lease, beside %d with one, while Redis answers\nthe cache said:\n%s", key, leased, f.log)
	}
}

// awaitCallsAfter waits until every caller has made some calls that began after a time.
func (f *fleet) awaitCallsAfter(at time.Time) {
	f.t.Helper()
	f.await("calls", 20, func(r record) bool { return r.began.After(at) })
}

// checkNoWait checks the calls for some keys that began and ended between two times: none
// waited for Redis. Such a wait takes RedisTimeout; waiting for two computations takes less.
// The fleet has ended.
func (f *fleet) checkNoWait(from, to time.Time, of ...string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	judged, waited, longest := 0, 0, record{}
	for _, r := range f.records {
		if r.began.Before(from) || r.began.Add(r.took).After(to) || !slices.Contains(of, r.key) {
			continue
		}
		judged++
		if r.took >= redisTimeout+f.pulse.missed(r.began, r.took) {
			waited++
		}
		if r.took > longest.took {
			longest = r
		}
	}
	require.Positive(f.t, judged, "calls between %v and %v", from, to)
	assert.Zero(f.t, waited, "calls for %v that waited for Redis, of %d; the longest call: %+v", of, judged, longest)
	f.t.Logf("keys %v: %d calls had no reason to wait; the longest took %v", of, judged, longest.took.Round(time.Millisecond))
}

// calm lets the fleet run for a while after the fault. Then each computation has a lease, is
// alone in the fleet, and begins when the entry is no longer fresh.
func (f *fleet) calm() {
	f.t.Helper()
	f.awaitLeases("after all", keys...)
	began, errs := time.Now(), f.redisErrors()
	f.awaitCaching("in the calm")
	f.awaitCaching("in the calm, once more")
	took := time.Since(began)
	for _, key := range undisturbed {
		leased, unleased := f.watch.counts(key, began)
		if f.redisErrors() == errs { // a busy machine has some
			require.Zero(f.t, unleased, "computations without a lease while Redis is well, key %s", key)
		}
		// The estimates of the server's clock in two processes may differ.
		require.LessOrEqual(f.t, leased, int(took/(freshness/2))+2, "computations in %v, key %s", took, key)
	}
	require.Empty(f.t, f.watch.leasedOverlaps(undisturbed, began), "in the calm")
}

func (f *fleet) redisErrors() (n uint64) {
	for _, m := range f.members {
		n += m.handle.Stats().RedisErrors
	}
	return n
}

// end stops the callers and closes the caches.
func (f *fleet) end() {
	select {
	case <-f.stop:
		return
	default:
	}
	close(f.stop)
	f.callers.Wait()
	for _, m := range f.members {
		assert.NoError(f.t, m.cache.Close())
		assert.NoError(f.t, m.client.Close())
	}
}

// check ends the fleet and checks the answers, the computations, and the keys left in Redis,
// which raw can see.
func (f *fleet) check(allowed func(error) bool, raw ...*redis.Client) {
	f.t.Helper()
	f.calm()
	f.end()
	f.checkAnswers(allowed)
	f.checkComputations()
	for _, client := range raw {
		f.checkState(client)
	}
}

// checkAnswers checks the answers of every caller, and their times.
func (f *fleet) checkAnswers(allowed func(error) bool) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	so, sources, longest := f.watch.soFar(), map[fncache.Source]int{}, record{}
	for _, r := range f.records {
		sources[r.source]++
		if r.took > longest.took {
			longest = r
		}
		if most := f.boundOf(r.key); r.took > most { // rare, so that the sum is computed rarely
			require.LessOrEqual(f.t, r.took, most+f.pulse.missed(r.began, r.took), "a call waited past its bound: %+v", r)
		}
		if r.err != nil {
			require.True(f.t, allowed(r.err), "process %d got for %q, after %v: %v", r.member, r.key, r.took, r.err)
			continue
		}
		require.Truef(f.t, strings.HasPrefix(r.value, r.key+"#") && r.run >= 1 && r.run <= so[r.key],
			"%q was answered for %q", r.value, r.key)
		least := f.watch.leastAnswer(r, f.boundOf(r.key))
		require.GreaterOrEqual(f.t, r.run, least, "an older value than was seen or invalidated: %+v", r)
	}
	for _, m := range f.members {
		s := m.handle.Stats()
		require.Equal(f.t, s.Calls, s.Fresh+s.Stale+s.Computed+s.Waited+s.Refused+s.Bypassed+s.Failed, "%+v", s)
	}
	f.t.Logf("%d calls by source %v; the longest %v, %v", len(f.records), sources, longest.took.Round(time.Millisecond), longest.source)
}

// boundOf returns the most that a call for a key may take.
func (f *fleet) boundOf(key string) time.Duration {
	if key == invalidated && f.pace != 0 {
		return turns
	}
	return f.bound
}

// checkComputations checks how many computations ran at once, and that stored runs have
// increasing numbers.
func (f *fleet) checkComputations() {
	f.t.Helper()
	for _, key := range keys {
		leased, unleased := f.watch.counts(key, time.Time{})
		f.t.Logf("key %s: %d computations with a lease, %d without", key, leased, unleased)
		if f.policy == fncache.DownError {
			require.Zero(f.t, unleased, "key %s: computations without a lease, where there must be errors", key)
		}
	}
	require.Empty(f.t, f.watch.unleasedOverlaps(undisturbed), "one at a time in a process, without a lease")
	require.Empty(f.t, f.watch.leasedOverlaps(undisturbed, time.Time{}), "one at a time in the fleet, with a lease")
	f.watch.mu.Lock()
	defer f.watch.mu.Unlock()
	require.Empty(f.t, f.watch.broken, "an older entry after a newer one or an invalidation; or a computation beside a holder's")
	require.Positive(f.t, f.watch.judged)
}

// awaitCounted waits until every process has counted a kind of error. Calls may not meet it
// while Redis counts as away, but an invalidation is always sent. Its key is one that no caller
// uses.
func (f *fleet) awaitCounted(kind fncache.RedisErrorKind) {
	f.t.Helper()
	for _, m := range f.members {
		require.Eventually(f.t, func() bool {
			_ = m.handle.Invalidate(f.ctx, "a key that no caller uses")
			return m.handle.Stats().RedisErrorKinds[kind] > 0
		}, patience, 10*time.Millisecond, "process %d has counted no %v", m.number, kind)
	}
}

// awaitSlow waits until the median time of timed lookups in every process reaches a minimum.
func (f *fleet) awaitSlow(least time.Duration) {
	f.t.Helper()
	for _, m := range f.members {
		require.Eventually(f.t, func() bool { return f.watch.usualLookup(m.number) >= least },
			patience, 10*time.Millisecond, "lookups of process %d do not take %v: the fault has no effect", m.number, least)
	}
}

// checkLoggedOnce checks that every process has logged a kind of error, and only once.
func (f *fleet) checkLoggedOnce(kind fncache.RedisErrorKind) {
	f.t.Helper()
	logged := func() int { return strings.Count(f.log.String(), "kind="+kind.String()+" ") }
	require.Eventually(f.t, func() bool { return logged() >= processes }, patience, time.Millisecond, "the caches said:\n%s", f.log)
	assert.Equal(f.t, processes, logged(), "the caches said:\n%s", f.log)
}

// checkNothingForgotten checks that no forgotten script was logged.
func (f *fleet) checkNothingForgotten() {
	f.t.Helper()
	for _, m := range f.members {
		assert.Zero(f.t, m.handle.Stats().RedisErrorKinds[fncache.KindNoScript], "process %d: %s", m.number, f.log)
	}
}

// checkState waits until no lock is left, for at most a lease, and checks that every other key
// has an expiry.
func (f *fleet) checkState(client *redis.Client) {
	f.t.Helper()
	ctx := context.Background()
	require.Eventually(f.t, func() bool {
		locks := 0
		iter := client.Scan(ctx, 0, "*", 100).Iterator()
		for iter.Next(ctx) {
			key, most := iter.Val(), timeout
			if strings.Contains(key, ":functions:{") { // a registry of releases stays
				continue
			}
			if strings.HasSuffix(key, ":lock") {
				locks++
				most = lease
			}
			if strings.Contains(key, ":{process:") {
				most = holder.Kept
			}
			left, err := client.PTTL(ctx, key).Result()
			require.NoError(f.t, err)
			if left == -2 { // gone meanwhile
				continue
			}
			require.Positive(f.t, left, "%s has no expiry", key)
			require.LessOrEqual(f.t, left, most, key)
		}
		require.NoError(f.t, iter.Err())
		return locks == 0
	}, patience, 20*time.Millisecond, "a lock without a holder is past its lease")
}

// A pulse detects when the machine did not run this process: a beat of every 10 ms is late
// then. Calls that wait for Redis or for a lock do not delay it.
type pulse struct{ late []beat } // written by beat, read when that has ended

// A beat is one that came late.
type beat struct {
	at time.Time     // when it came
	by time.Duration // how late
}

func (p *pulse) beat(stop <-chan struct{}) {
	const pace = 10 * time.Millisecond
	for last := time.Now(); ; {
		select {
		case <-stop:
			return
		case <-time.After(pace):
		}
		now := time.Now()
		if by := now.Sub(last) - pace; by > pace {
			p.late = append(p.late, beat{now, by})
		}
		last = now
	}
}

// missed returns how long the machine did not run this process during a call.
func (p *pulse) missed(began time.Time, took time.Duration) (all time.Duration) {
	ended := began.Add(took)
	for _, b := range p.late {
		if b.at.After(began) && b.at.Add(-b.by).Before(ended) {
			all += b.by
		}
	}
	return all
}

// noErrors allows no error: under DownCompute and Wait every call returns a value.
func noErrors(error) bool { return false }

// redisDown allows ErrRedisDown.
func redisDown(err error) bool { return errors.Is(err, fncache.ErrRedisDown) }

// between is a go-redis hook that calls a function before every command, while it is on.
type between struct {
	on atomic.Bool
	do func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if b.on.Load() {
			b.do()
		}
		return next(ctx, cmd)
	}
}

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if b.on.Load() {
			b.do()
		}
		return next(ctx, cmds)
	}
}
