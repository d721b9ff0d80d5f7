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

// onManyKeys computes 100 keys and then has 100 callers at once get them.
func onManyKeys(t *testing.T, w *wrapped) {
	t.Helper()
	for i := range 100 {
		require.NoError(t, w.get(t.Context(), fmt.Sprint(i)).err)
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			o := w.get(t.Context(), fmt.Sprint(i))
			assert.NoError(t, o.err)
			assert.Equal(t, i+1, o.value, "each caller has the answer to its own key")
			assert.Equal(t, SourceFresh, o.source)
		})
	}
	all.Wait()
	requireIdentity(t, w.Func)
}

func TestAutoPipelineAnswersAsWithout(t *testing.T) {
	inBothForms(t, testAutoPipelineAnswersAsWithout)
}

func testAutoPipelineAnswersAsWithout(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	c := newTestCache(t, Config{Redis: client, AutoPipeline: true, RedisTimeout: 5 * time.Second})
	w := wrap(t, c, &source{}, Options{Lease: slowLease})
	onManyKeys(t, w)

	// What is no entry is told apart as ever.
	key, err := w.Key("other type")
	require.NoError(t, err)
	require.NoError(t, client.RPush(t.Context(), key, "a").Err())
	assert.Equal(t, SourceComputed, w.get(t.Context(), "other type").source)
	assert.EqualValues(t, 1, w.Stats().Undecodable)
	require.NoError(t, w.Invalidate(t.Context(), "1"))
	assert.Equal(t, SourceComputed, w.get(t.Context(), "1").source)
}

func TestAutoPipelineOnACluster(t *testing.T) {
	inOneForm(t, testAutoPipelineOnACluster)
}

func testAutoPipelineOnACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client()
	c := newTestCache(t, Config{Redis: client, AutoPipeline: true, RedisTimeout: 5 * time.Second})
	onManyKeys(t, wrap(t, c, &source{}, Options{Lease: slowLease}))
}

func TestCloseEndsItsAutoPipelineAndNotTheClients(t *testing.T) {
	inBothForms(t, testCloseEndsItsAutoPipelineAndNotTheClients)
}

func testCloseEndsItsAutoPipelineAndNotTheClients(t *testing.T) {
	client := redistest.Start(t).Client()
	t.Cleanup(func() { _ = client.Close() })
	theirs, err := client.AutoPipeline()
	require.NoError(t, err)
	c, err := New(Config{Redis: client, AutoPipeline: true, RedisTimeout: 5 * time.Second})
	require.NoError(t, err)
	w := wrap(t, c, &source{}, Options{Lease: slowLease})
	require.NoError(t, w.get(t.Context(), "a").err)
	ours := c.store.auto.current
	require.NoError(t, c.Close())
	assert.True(t, ours.IsClosed())
	require.NoError(t, theirs.Set(t.Context(), "a", 1, 0).Err())
	require.NoError(t, client.Get(t.Context(), "a").Err())
	assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "as with Redis away")
	_, err = c.store.auto.get()
	require.ErrorIs(t, err, redis.ErrClosed, "none begins after Close")
}

func TestCachesOnOneClusterClientShareItsAutoPipeline(t *testing.T) {
	inOneForm(t, testCachesOnOneClusterClientShareItsAutoPipeline)
}

func testCachesOnOneClusterClientShareItsAutoPipeline(t *testing.T) {
	client := redistest.StartCluster(t).Client()
	cfg := Config{Redis: client, AutoPipeline: true, RedisTimeout: 5 * time.Second, HashSecret: []byte("of both")}
	first, err := New(cfg)
	require.NoError(t, err)
	w := wrap(t, newTestCache(t, cfg), &source{}, Options{Lease: slowLease})
	v := wrap(t, first, &source{}, Options{Lease: slowLease})
	require.NoError(t, v.get(t.Context(), "a").err)
	require.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	require.NoError(t, first.Close())
	assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "the other goes on, on a new one")
}

func TestAutoPipelineIsRefusedWhereTheClientCachesItself(t *testing.T) {
	client := redis.NewClient(&redis.Options{Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	defer func() { _ = client.Close() }()
	_, err := New(Config{Redis: client, AutoPipeline: true})
	require.ErrorContains(t, err, "AutoPipeline is set, and the client of Redis has client-side caching on")
}

func TestAutoPipelineTakesTheClientsSettingsIfTheyAreRight(t *testing.T) {
	inBothForms(t, testAutoPipelineTakesTheClientsSettingsIfTheyAreRight)
}

func testAutoPipelineTakesTheClientsSettingsIfTheyAreRight(t *testing.T) {
	short := &redis.AutoPipelineOptions{MaxQueuedCommands: 1}
	server := redistest.Start(t)
	client := server.Client(func(o *redis.Options) { o.AutoPipelineOptions = short })
	c := newTestCache(t, Config{Redis: client, AutoPipeline: true, RedisTimeout: 5 * time.Second, OnRedisDown: DownError})
	w := wrap(t, c, &source{}, Options{Lease: slowLease})
	for _, key := range []string{"a", "b"} {
		require.NoError(t, w.get(t.Context(), key).err)
	}
	server.Pause()
	one, other := w.begin(t.Context(), "a"), w.begin(t.Context(), "b")
	var refused outcome
	select { // of the two that are asked for, one is queued
	case refused = <-one:
		one = other
	case refused = <-other:
	}
	require.ErrorIs(t, refused.err, redis.ErrAutoPipelineQueueFull)
	assert.Equal(t, uint64(1), w.Stats().RedisErrorKinds[KindPool])
	server.Resume()
	require.NoError(t, (<-one).err)

	wrong := &redis.AutoPipelineOptions{MaxConcurrentBatches: 2}
	for i, client := range []redis.UniversalClient{
		redis.NewClient(&redis.Options{AutoPipelineOptions: wrong}),
		redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, AutoPipelineOptions: wrong}),
	} {
		_, err := New(Config{Redis: client, AutoPipeline: true})
		require.ErrorContains(t, err, "AutoPipelineOptions of the client of Redis are wrong", i)
		require.NoError(t, client.Close())
	}
}

func TestAutoPipelineOnAStoppedServerCostsRedisTimeout(t *testing.T) {
	inBothForms(t, testAutoPipelineOnAStoppedServerCostsRedisTimeout)
}

func testAutoPipelineOnAStoppedServerCostsRedisTimeout(t *testing.T) {
	server := redistest.Start(t)
	c := newTestCache(t, Config{Redis: server.Client(), AutoPipeline: true, RedisTimeout: 100 * time.Millisecond})
	w := wrap(t, c, &source{}, Options{Lease: slowLease, OnCold: Wait})
	require.NoError(t, w.get(t.Context(), "a").err)
	server.Pause()
	ends := w.burst(t.Context(), 20, "a")
	ctx, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, w.get(ctx, "a").err, context.Canceled)
	server.Resume()
	for _, o := range ends {
		assert.NoError(t, o.err, "computed without Redis")
	}
	assert.Positive(t, w.Stats().RedisErrors)
	require.Eventually(t, func() bool { return w.get(t.Context(), "a").source == SourceFresh }, patience, time.Millisecond)
}
