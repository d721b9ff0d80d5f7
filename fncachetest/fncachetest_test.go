package fncachetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachetest"

	"github.com/fncache/fncache/internal/bubbletest"
)

// topBooks is a func that counts its runs.
func topBooks(runs *int) func(context.Context, int64) (int, error) {
	return func(context.Context, int64) (int, error) {
		*runs++
		return *runs, nil
	}
}

func TestAdvanceMakesEntriesStaleAndThenGo(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	top := topBooks(&runs)
	_, err := fncache.Wrap(&top, fncache.Options{
		Cache: cache.Cache, Name: "top", Timeout: 24 * time.Hour, Freshness: time.Hour, OnError: fncache.ReturnError,
	})
	require.NoError(t, err)
	for _, step := range []struct {
		after time.Duration
		want  fncache.Source
		age   time.Duration
	}{
		{0, fncache.SourceComputed, 0},
		{30 * time.Minute, fncache.SourceFresh, 30 * time.Minute},
		{time.Hour, fncache.SourceComputed, 0}, // was stale
		{25 * time.Hour, fncache.SourceComputed, 0},
		{0, fncache.SourceFresh, 0},
	} {
		cache.Advance(step.after)
		var info fncache.Info
		_, err := top(fncache.WithInfo(t.Context(), &info), 1)
		require.NoError(t, err)
		assert.Equal(t, step.want, info.Source)
		// The computer's own time passes too.
		assert.InDelta(t, step.age, info.Age, float64(time.Minute))
	}
	assert.Equal(t, 3, runs)
}

func TestInABubbleTimePassesBySleeping(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		cache := fncachetest.New(t)
		runs := 0
		top := topBooks(&runs)
		_, err := fncache.Wrap(&top, fncache.Options{Cache: cache.Cache, Name: "top", Timeout: 24 * time.Hour, Freshness: time.Hour})
		require.NoError(t, err)
		var info fncache.Info
		for _, want := range []fncache.Source{fncache.SourceComputed, fncache.SourceFresh, fncache.SourceComputed} {
			_, err := top(fncache.WithInfo(t.Context(), &info), 1)
			require.NoError(t, err)
			assert.Equal(t, want, info.Source)
			time.Sleep(31 * time.Minute) // in virtual time
		}
	})
}

func TestAnOutageIsPlayedThroughTheServer(t *testing.T) {
	cache := fncachetest.New(t, func(c *fncache.Config) { c.OnRedisDown = fncache.DownError })
	runs := 0
	top := topBooks(&runs)
	f, err := fncache.Wrap(&top, fncache.Options{Cache: cache.Cache, Name: "top", Timeout: time.Hour})
	require.NoError(t, err)
	cache.Redis.SetError("LOADING Redis is loading the dataset in memory")
	_, err = top(t.Context(), 1)
	require.ErrorIs(t, err, fncache.ErrRedisDown)
	assert.Zero(t, runs)
	cache.Redis.SetError("")
	require.Eventually(t, func() bool { return !cache.Health().Nodes[0].Away }, 10*time.Second, time.Millisecond, "it is tried about once a second")
	_, err = top(t.Context(), 1)
	require.NoError(t, err)
	key, err := f.Key(1)
	require.NoError(t, err)
	assert.True(t, cache.Redis.Exists(key))
}

func TestTheCacheIsClosedAtTheEndOfTheTest(t *testing.T) {
	var closed *fncachetest.Cache
	t.Run("inner", func(t *testing.T) { closed = fncachetest.New(t) })
	err := closed.Ping(t.Context())
	assert.True(t, errors.Is(err, fncache.ErrClosed), "%v", err)
}

func TestInABubbleManyCallsAtOnceTakeNoTime(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		cache := fncachetest.New(t)
		top := func(_ context.Context, id int64) (int64, error) { return id, nil }
		f, err := fncache.Wrap(&top, fncache.Options{Cache: cache.Cache, Name: "top", Timeout: time.Hour})
		require.NoError(t, err)
		began := time.Now()
		var calls sync.WaitGroup
		for id := range int64(500) { // whose commands go in long pipelines
			calls.Go(func() {
				got, err := top(t.Context(), id)
				assert.NoError(t, err)
				assert.Equal(t, id, got)
			})
		}
		calls.Wait()
		assert.Zero(t, time.Since(began))
		assert.EqualValues(t, 500, f.Stats().Stored)
	})
}
