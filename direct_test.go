package fncache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// directCache has a limit of 2s for lookups on the caller's goroutine, so that a
// slow machine does not keep any from it.
func directCache(t *testing.T, client redis.UniversalClient, change ...func(*Config)) *Cache {
	cfg := Config{Redis: client, RedisTimeout: 20 * time.Second, DirectLookups: true}
	for _, f := range change {
		f(&cfg)
	}
	return newTestCache(t, cfg)
}

// veryLong is a Lease for a RedisTimeout of 20s.
const veryLong = 5 * time.Minute

func TestALoneLookupTakesNoReader(t *testing.T) {
	inBothForms(t, testALoneLookupTakesNoReader)
}

func testALoneLookupTakesNoReader(t *testing.T) {
	server := redistest.Start(t)
	tap := newTap()
	client := server.Client()
	client.AddHook(tap)
	c := directCache(t, client)
	w := wrap(t, c, &source{}, Options{Lease: veryLong})
	require.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
	require.True(t, c.direct.calm.Load(), "the first lookup, by a reader, was quick")
	require.Eventually(t, func() bool { return !c.readers.sending() }, patience, time.Millisecond, "it has answered before it is idle")
	gets := tap.count("get")
	for range 10 {
		o := w.get(t.Context(), "a")
		require.NoError(t, o.err)
		require.Equal(t, SourceFresh, o.source)
		require.Equal(t, 1, o.value)
	}
	assert.Equal(t, gets, tap.count("get"), "hooks do not see it")
	assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source, "a miss goes on as ever")
	require.NoError(t, w.Invalidate(t.Context(), "a"))
	assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
	requireIdentity(t, w.Func)
}

func TestDirectLookupsAmongMany(t *testing.T) {
	inBothForms(t, testDirectLookupsAmongMany)
}

func testDirectLookupsAmongMany(t *testing.T) {
	onManyKeys(t, wrap(t, directCache(t, redistest.Start(t).Client()), &source{}, Options{Lease: veryLong}))
}

func TestADirectLookupThatIsSlowGoesOnByAReader(t *testing.T) {
	inBothForms(t, testADirectLookupThatIsSlowGoesOnByAReader)
}

func testADirectLookupThatIsSlowGoesOnByAReader(t *testing.T) {
	server := redistest.Start(t)
	c := directCache(t, server.Client(), func(cfg *Config) { cfg.RedisTimeout = 500 * time.Millisecond })
	w := wrap(t, c, &source{}, Options{Lease: time.Minute})
	require.NoError(t, w.get(t.Context(), "a").err)
	c.direct.calm.Store(true)
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	o := w.get(ctx, "a")
	require.ErrorIs(t, o.err, context.DeadlineExceeded, "a caller leaves at its own time")
	assert.False(t, c.direct.calm.Load())
	o = w.get(t.Context(), "a")
	assert.NoError(t, o.err)
	assert.Equal(t, SourceComputed, o.source, "without Redis")
	server.Resume()
	require.Eventually(t, func() bool { return w.get(t.Context(), "a").source == SourceFresh }, patience, time.Millisecond)
	requireIdentity(t, w.Func)
}

func TestACallerTooNearItsDeadlineLooksUpByAReader(t *testing.T) {
	d := direct{limit: 25 * time.Millisecond}
	now := time.Now()
	assert.False(t, d.enter(t.Context(), now), "not before Redis was quick once")
	d.note(time.Millisecond, nil)
	near, cancel := context.WithDeadline(t.Context(), now.Add(40*time.Millisecond))
	defer cancel()
	assert.False(t, d.enter(near, now))
	far, cancel := context.WithDeadline(t.Context(), now.Add(time.Second))
	defer cancel()
	assert.True(t, d.enter(far, now))
	assert.False(t, d.enter(far, now), "one at a time")
	d.leave()
	d.note(time.Millisecond, errWrongType)
	assert.True(t, d.enter(t.Context(), now))
	d.leave()
	d.note(20*time.Millisecond, nil)
	assert.False(t, d.enter(t.Context(), now), "Redis is slow")
	d.note(time.Millisecond, newRedisError(opLookup, "", errRedisTimeout))
	assert.False(t, d.enter(t.Context(), now), "Redis fails")
}

func TestDirectLookupsTakeAPlainClient(t *testing.T) {
	single := redis.NewClient(&redis.Options{})
	caching := redis.NewClient(&redis.Options{Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	for i, cfg := range []Config{{Redis: cluster}, {Redis: caching}, {Redis: single, AutoPipeline: true}} {
		cfg.DirectLookups = true
		_, err := New(cfg)
		assert.ErrorContains(t, err, "DirectLookups is set; it takes a *redis.Client without client-side caching, and no AutoPipeline", i)
	}
	for _, client := range []redis.UniversalClient{single, caching, cluster} {
		require.NoError(t, client.Close())
	}
}

func TestDirectLookupsSharedByCallersWhoJoin(t *testing.T) {
	inBothForms(t, testDirectLookupsSharedByCallersWhoJoin)
}

func testDirectLookupsSharedByCallersWhoJoin(t *testing.T) {
	c := directCache(t, redistest.Start(t).Client())
	w := wrap(t, c, &source{}, Options{Lease: veryLong})
	require.NoError(t, w.get(t.Context(), "a").err)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				o := w.get(t.Context(), "a")
				if !assert.NoError(t, o.err, fmt.Sprint(i)) || !assert.Equal(t, 1, o.value) {
					return
				}
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1600, requireIdentity(t, w.Func).Fresh)
}
