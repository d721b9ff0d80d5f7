package fncache_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/holder"
	"github.com/fncache/fncache/internal/redistest"
)

// TestTheDocumentedRightsAreSufficient gives a user the rights in docs/redis.md, and uses every
// command of the cache. The package documentation has the same rights.
func TestTheDocumentedRightsAreSufficient(t *testing.T) {
	command := regexp.MustCompile(`(?m)^    ACL SETUSER app .*\n(?:        .*\n)+`)
	found := command.FindString(page(t, "docs/redis.md"))
	require.NotEmpty(t, found)
	inPackage := regexp.MustCompile(`(?m)^//\t`).ReplaceAllString(page(t, "doc.go"), "    ")
	assert.Equal(t, strings.Fields(found), strings.Fields(command.FindString(inPackage)), "docs/redis.md and doc.go")

	scan := regexp.MustCompile(`(?m)^    ACL SETUSER app \+scan \+unlink$`).FindString(page(t, "docs/redis.md"))
	require.NotEmpty(t, scan)
	cluster := regexp.MustCompile(`(?m)^    ACL SETUSER app \+cluster.*$`).FindString(page(t, "docs/redis.md"))
	require.NotEmpty(t, cluster)
	t.Run("a single server", func(t *testing.T) {
		s := redistest.Start(t)
		require.NoError(t, errors.Join(s.Client().Do(t.Context(), words(found)...).Err(), s.Client().Do(t.Context(), words(scan)...).Err()))
		useAll(t, redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "app", Password: "secret", ContextTimeoutEnabled: true}))
	})
	t.Run("a Cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		require.NoError(t, c.Client().ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			return errors.Join(node.Do(ctx, words(found)...).Err(), node.Do(ctx, words(cluster)...).Err(), node.Do(ctx, words(scan)...).Err())
		}))
		useAll(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "app", Password: "secret", ContextTimeoutEnabled: true}))
	})
}

func words(command string) (all []any) {
	for _, word := range strings.Fields(command) {
		all = append(all, word)
	}
	return all
}

// useAll does all that a cache does. The client is closed.
func useAll(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	defer func() { _ = client.Close() }()
	cache := fncache.Must(fncache.New(fncache.Config{Redis: client}))
	defer func() { _ = cache.Close() }()
	require.NoError(t, cache.Ping(t.Context()))

	runs := 0
	f := func(_ context.Context, n int64) (string, error) { runs++; return strings.Repeat("x", int(n)), nil }
	handle, err := fncache.Wrap(&f, fncache.Options{Cache: cache, Name: "rights", Timeout: time.Hour, Near: time.Minute, OnCold: fncache.Wait, Tags: []string{"size:{0}"}})
	require.NoError(t, err)
	var info fncache.Info
	for range 3 {
		for _, size := range []int64{1, 1 << 20} {
			_, err := f(t.Context(), size)
			require.NoError(t, err)
		}
	}
	require.NoError(t, handle.Refresh(t.Context(), 1))
	require.NoError(t, handle.Invalidate(t.Context(), 1))
	require.NoError(t, handle.Expire(t.Context(), 3))
	require.NoError(t, cache.ExpireTags(t.Context(), "size:2"))
	require.NoError(t, cache.InvalidateTags(t.Context(), "size:3"))
	var lock string
	var clearing *fncache.Func
	untagged := func(ctx context.Context, n int64) (int64, error) {
		lock = client.Get(ctx, fncache.Must(clearing.Key(n))+":lock").Val()
		return n, nil
	}
	clearing, err = fncache.Wrap(&untagged, fncache.Options{Cache: cache, Name: "rights.untagged", Timeout: time.Hour})
	require.NoError(t, err)
	_, err = untagged(t.Context(), 1)
	require.NoError(t, err)
	id, _, ok := holder.Parse(lock)
	require.True(t, ok, lock)
	require.Eventually(t, func() bool { return client.Get(t.Context(), holder.Key("fncache", id)).Val() != "" }, 10*time.Second, time.Millisecond,
		"the process is named")
	removed, err := clearing.Clear(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, removed)
	require.Eventually(t, func() bool {
		_, err := f(fncache.WithInfo(t.Context(), &info), 1)
		return err == nil && info.Source == fncache.SourceNear
	}, 10*time.Second, time.Millisecond, "the subscription comes up")
	many := func(_ context.Context, ids []int64) (map[int64]int64, error) { return map[int64]int64{ids[0]: 1}, nil }
	batch, err := fncache.WrapBatch(&many, fncache.Options{Cache: cache, Name: "rights.batch", Timeout: time.Hour, MissingTimeout: time.Minute})
	require.NoError(t, err)
	for range 2 {
		found, err := many(t.Context(), []int64{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int64]int64{1: 1}, found)
	}
	assert.Zero(t, batch.Stats().RedisErrors, "%v", batch.Stats().RedisErrorKinds)
	assert.EqualValues(t, 1, batch.Stats().BatchRuns)
	assert.Zero(t, handle.Stats().RedisErrors, "%v", handle.Stats().RedisErrorKinds)
	assert.Equal(t, 4, runs)
}
