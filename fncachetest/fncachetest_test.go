package fncachetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
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

// shopOf returns a function on a cache, its key for 1, and its handle.
func shopOf(t *testing.T, cache *fncachetest.Cache, fn func(context.Context, int64) (int, error), opts fncache.Options) (call func(context.Context, int64) (int, error), key string, f *fncache.Func) {
	t.Helper()
	opts.Cache, opts.Name, opts.Timeout = cache.Cache, "top", time.Hour
	f, err := fncache.Wrap(&fn, opts)
	require.NoError(t, err)
	key, err = f.Key(int64(1))
	require.NoError(t, err)
	return func(ctx context.Context, id int64) (int, error) { return fn(ctx, id) }, key, f
}

func TestAHolderWhoseLeaseWasEndedStoresNothing(t *testing.T) {
	cache := fncachetest.New(t)
	var key string
	end := true
	call, key, f := shopOf(t, cache, func(context.Context, int64) (int, error) {
		if end {
			assert.True(t, cache.EndLease(key))
			assert.False(t, cache.EndLease(key), "it has ended")
		}
		return 5, nil
	}, fncache.Options{})
	got, err := call(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, 5, got)
	assert.Zero(t, f.Stats().Stored)
	assert.EqualValues(t, 1, f.Stats().LostLeases)
	assert.False(t, cache.Redis.Exists(key))

	end = false
	_, err = call(t.Context(), 1)
	require.NoError(t, err)
	assert.EqualValues(t, 1, f.Stats().Stored)
}

func TestATagThatIsInvalidatedWhileTheFunctionRunsInvalidatesItsResult(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	call, _, _ := shopOf(t, cache, func(ctx context.Context, _ int64) (int, error) {
		if runs++; runs == 1 {
			assert.NoError(t, cache.InvalidateTags(ctx, "books"))
		}
		return runs, nil
	}, fncache.Options{Tags: []string{"books"}, OnCold: fncache.Wait}) // its lease is released in the background
	for _, want := range []int{1, 2, 2} {
		got, err := call(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	require.NoError(t, cache.ExpireTags(t.Context(), "books"))
	var info fncache.Info
	_, err := call(fncache.WithInfo(t.Context(), &info), 1)
	require.NoError(t, err)
	assert.Equal(t, fncache.SourceComputed, info.Source, "it was stale, and this caller recomputes")
}

// anOutage has Redis go away and come back, twice, also between calls that nobody makes.
func anOutage(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	call, _, f := shopOf(t, cache, topBooks(&runs), fncache.Options{})
	once := func() fncachetest.Counts {
		return cache.Count(func() {
			_, err := call(t.Context(), 1)
			assert.NoError(t, err)
		})
	}
	assert.EqualValues(t, 1, once().Computations)
	for range 2 {
		cache.StopRedis()
		assert.EqualValues(t, 1, once().Computations)
		assert.True(t, cache.Health().Nodes[0].Away)
		require.ErrorIs(t, f.Invalidate(t.Context(), int64(1)), fncache.ErrRedisDown)
		cache.StartRedis()
		assert.Zero(t, once().Computations, "it is still there")
		require.NoError(t, cache.Ping(t.Context()))
	}
	cache.StopRedis()
	cache.StartRedis() // nobody has noticed
	assert.Equal(t, fncachetest.Counts{Calls: 1, Commands: 1}, once())
}

func TestRedisGoesAwayAndComesBack(t *testing.T) { anOutage(t) }

func TestRedisGoesAwayAndComesBackInABubble(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		began := time.Now()
		anOutage(t)
		assert.Less(t, time.Since(began), 5*time.Second)
	})
}

func TestACacheThatIsClosedDuringAnOutageEnds(t *testing.T) {
	t.Run("inner", func(t *testing.T) {
		cache := fncachetest.New(t)
		runs := 0
		call, _, _ := shopOf(t, cache, topBooks(&runs), fncache.Options{Near: time.Minute, Freshness: time.Hour})
		cache.StopRedis()
		_, err := call(t.Context(), 1)
		require.NoError(t, err)
	})
}

func TestOnlyWhatHappensMeanwhileIsCounted(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	call, _, f := shopOf(t, cache, topBooks(&runs), fncache.Options{})
	twice := func() {
		for range 2 {
			_, err := call(t.Context(), 1)
			assert.NoError(t, err)
		}
	}
	first := cache.Count(twice)
	assert.EqualValues(t, 2, first.Calls)
	assert.EqualValues(t, 1, first.Computations)
	assert.Equal(t, fncachetest.Counts{Calls: 2, Commands: 2}, cache.Count(twice))
	assert.Equal(t, fncachetest.Counts{}, cache.Count(func() {}))
	assert.Zero(t, cache.Count(f.Unwrap).Calls)
}

// typedTop is a function with a handle that knows its types.
func typedTop(t *testing.T, cache *fncachetest.Cache, fn func(context.Context, int64) (int, error), opts fncache.Options) *fncache.Func1[int64, int] {
	t.Helper()
	opts.Cache, opts.Name, opts.Timeout = cache.Cache, "typed", 24*time.Hour
	_, h, err := fncache.New1(fn, opts)
	require.NoError(t, err)
	return h
}

func TestTheHelpersServeHandlesWithTypes(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	end := ""
	h := typedTop(t, cache, func(context.Context, int64) (int, error) {
		runs++
		if end != "" {
			assert.True(t, cache.EndLease(end))
		}
		return runs, nil
	}, fncache.Options{Freshness: time.Hour})
	n := cache.Count(func() {
		for range 2 {
			got, err := h.Call(t.Context(), 7)
			assert.NoError(t, err)
			assert.Equal(t, 1, got)
		}
	})
	assert.EqualValues(t, 2, n.Calls)
	assert.EqualValues(t, 1, n.Computations)

	cache.Advance(2 * time.Hour)
	n = cache.Count(func() {
		_, info, ok, err := h.Peek(t.Context(), 7)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, fncache.SourceStale, info.Source)
	})
	assert.Equal(t, fncachetest.Counts{Commands: 1}, n, "a peek is no call")

	var err error
	end, err = h.Key(7)
	require.NoError(t, err)
	_, err = h.Refresh(t.Context(), 7)
	require.ErrorIs(t, err, fncache.ErrLeaseLost)
	end = ""

	cache.StopRedis()
	require.ErrorIs(t, h.Invalidate(t.Context(), 7), fncache.ErrRedisDown)
	_, _, ok, err := h.Peek(t.Context(), 7)
	assert.False(t, ok)
	require.ErrorIs(t, err, fncache.ErrRedisDown)
	cache.StartRedis()
	require.NoError(t, h.Invalidate(t.Context(), 7))
	_, _, ok, err = h.Peek(t.Context(), 7)
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestTheHelpersServeBatchFunctions(t *testing.T) {
	cache := fncachetest.New(t)
	var ran [][]int64
	end := ""
	get := func(_ context.Context, ids []int64) (map[int64]int64, error) {
		ran = append(ran, ids)
		if end != "" {
			assert.True(t, cache.EndLease(end))
		}
		found := map[int64]int64{}
		for _, id := range ids {
			found[id] = 10 * id
		}
		return found, nil
	}
	h, err := fncache.WrapBatch(&get, fncache.Options{Cache: cache.Cache, Name: "batch", Timeout: 24 * time.Hour, Freshness: time.Hour})
	require.NoError(t, err)
	call := func(ids ...int64) fncachetest.Counts {
		return cache.Count(func() {
			found, err := get(t.Context(), ids)
			assert.NoError(t, err)
			assert.Len(t, found, len(ids))
		})
	}
	n := call(1, 2, 3)
	assert.EqualValues(t, 3, n.Calls, "each id counts")
	assert.EqualValues(t, 3, n.Computations)
	assert.Equal(t, fncachetest.Counts{Calls: 2, Commands: 1}, call(3, 1))
	cache.Advance(2 * time.Hour)
	assert.EqualValues(t, 1, call(2).Computations, "it was stale")

	end, err = h.Key(4)
	require.NoError(t, err)
	assert.EqualValues(t, 2, call(4, 5).Computations)
	end = ""
	assert.EqualValues(t, 1, call(4, 5).Computations, "only the id whose lease was held is stored")
	assert.EqualValues(t, 1, h.Stats().LostLeases)

	cache.StopRedis()
	assert.EqualValues(t, 2, call(1, 2).Computations)
	cache.StartRedis()
	assert.Zero(t, call(2).Computations)
	assert.Equal(t, [][]int64{{1, 2, 3}, {2}, {4, 5}, {4}, {1, 2}}, ran)
}

func TestAdvanceMovesTheNearCacheToo(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		cache := fncachetest.New(t)
		runs := 0
		h := typedTop(t, cache, topBooks(&runs), fncache.Options{Freshness: time.Hour, Near: 24 * time.Hour, OnStale: fncache.Background})
		source := func() fncache.Source {
			var info fncache.Info
			_, err := h.Call(fncache.WithInfo(t.Context(), &info), 7)
			require.NoError(t, err)
			return info.Source
		}
		source()
		time.Sleep(time.Second) // of the bubble: until events are received
		synctest.Wait()
		source()
		require.Equal(t, fncache.SourceNear, source())
		cache.Advance(30 * time.Minute)
		assert.Equal(t, fncache.SourceNear, source())
		cache.Advance(time.Hour)
		assert.Equal(t, fncache.SourceStale, source())
	})
}
