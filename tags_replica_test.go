package fncache_test

import (
	"context"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/redistest"
)

// readingFromReplicas returns a client of a primary that sends what only reads to its replica,
// as with RouteRandomly: package remote prefers replicas then.
func readingFromReplicas(t *testing.T, primary, replica *redistest.Server) redis.UniversalClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		RouteRandomly: true, ContextTimeoutEnabled: true,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: primary.Addr()}, {Addr: replica.Addr()}}}}, nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Ping(t.Context()).Err(), "it knows the nodes before the cache is made")
	return client
}

// W11.
func TestW11CaptureRereadAndReopenAreAskedOfThePrimary(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		ctx := t.Context()
		primary := redistest.Start(t)
		replica := redistest.StartReplica(t, primary)
		here := newProcess(t, readingFromReplicas(t, primary, replica))
		// It may not publish: a message would end what is joined below.
		require.NoError(t, primary.Client().Do(ctx, "ACL", "SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-publish").Err())
		there := newProcess(t, primary.Client(func(o *redis.Options) { o.Username, o.Password = "mute", "secret" }))
		s := newHeld()
		opts := shelf(slow, waits)
		w, other := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
		s.let <- struct{}{}
		require.Equal(t, SourceComputed, w.get(ctx, "a").source)
		<-s.began
		require.Eventually(t, func() bool { return replica.Client().Exists(ctx, must(w.Key("a"))).Val() == 1 }, 30*time.Second, time.Millisecond)
		replica.Detach() // it lags from here on
		kept := replica.Client().DBSize(ctx).Val()

		// Capture: a stamp of the replica would be older than the invalidation.
		require.NoError(t, there.InvalidateTags(ctx, "books"))
		s.let <- struct{}{}
		assert.Equal(t, SourceComputed, w.get(ctx, "b").source)
		<-s.began
		assert.Equal(t, SourceFresh, other.get(ctx, "b").source)

		// What this process has seen shows that the replica lags; the primary judges.
		s.let <- struct{}{}
		assert.Equal(t, outcome{value: 3, source: SourceComputed}, timeless(w.get(ctx, "a")), "the replica has the old entry, and the old fence")
		<-s.began

		// The re-read: D calls after the invalidation, and joins what began before it.
		first := w.begin(ctx, "c")
		require.Equal(t, 4, <-s.began)
		require.NoError(t, there.InvalidateTags(ctx, "author:c"))
		joiner := w.begin(ctx, "c")
		awaitJoiner(t, w, "c")
		s.let <- struct{}{}
		assert.Equal(t, 4, (<-first).value)
		assert.Equal(t, 5, <-s.began, "the joiner was sent back")
		s.let <- struct{}{}
		assert.Equal(t, 5, (<-joiner).value)

		// Reopen: the primary has gone back, as by a failover, and gets a new epoch.
		raw, key := primary.Client(), fence.Key("fncache")
		epoch := raw.HGet(ctx, key, "e").Val()
		require.NoError(t, raw.HSet(ctx, key, "c", raw.HGet(ctx, key, "f").Val()).Err())
		s.let <- struct{}{}
		assert.Equal(t, SourceComputed, w.get(ctx, "a").source)
		assert.NotEqual(t, epoch, raw.HGet(ctx, key, "e").Val())
		assert.Equal(t, epoch, replica.Client().HGet(ctx, key, "e").Val())
		assert.Equal(t, kept, replica.Client().DBSize(ctx).Val(), "nothing was written to the replica")
	})
}

// awaitJoiner waits until a call has joined the computation of a key.
func awaitJoiner(t *testing.T, w *wrapped, arg string) {
	t.Helper()
	key := must(w.Key(arg))
	require.Eventually(t, func() bool { return w.Joined(key) > 1 }, 30*time.Second, time.Millisecond)
}
