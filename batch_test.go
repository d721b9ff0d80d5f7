package fncache_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
)

// All tests here but the last run in bubbles, where a sleep takes no real time: it is how long a
// function runs, or how much older an entry becomes.

// A batchSource is a batch function whose runs the test sees. The value of an id is ten times the id, plus
// the number of the run in hundreds of thousands, so that it shows which run it is from.
type batchSource struct {
	mu   sync.Mutex // guards the fields below
	runs [][]int    // the ids of each run
	none map[int]bool
	do   func(ctx context.Context, ids []int) error
}

type manyInts = func(context.Context, []int) (map[int]int, error)

const ofRun = 100_000

func (s *batchSource) get(ctx context.Context, ids []int) (map[int]int, error) {
	s.mu.Lock()
	s.runs = append(s.runs, slices.Clone(ids))
	run, do := len(s.runs), s.do
	s.mu.Unlock()
	if do != nil {
		if err := do(ctx, ids); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[int]int{-1: 0} // which nobody has asked for
	for _, id := range ids {
		if !s.none[id] {
			found[id] = 10*id + ofRun*(run-1)
		}
	}
	return found, nil
}

func (s *batchSource) set(change func(*batchSource)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// sizes returns how many ids each run has had.
func (s *batchSource) sizes() (all []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ids := range s.runs {
		all = append(all, len(ids))
	}
	return all
}

// batched is a process's own cached view of a shelf.
type batched struct {
	*BatchFunc[int, int]
	get manyInts
}

func wrapShelf(t testing.TB, c *Cache, s *batchSource, opts Options) *batched {
	t.Helper()
	b := &batched{get: s.get}
	opts.Cache, opts.Shared, opts.Name = c, true, "test.Shelf"
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	var err error
	b.BatchFunc, err = WrapBatch(&b.get, opts)
	require.NoError(t, err)
	return b
}

func (b *batched) info(ctx context.Context, ids ...int) (found map[int]int, info Info, err error) {
	found, err = b.get(WithInfo(ctx, &info), ids)
	return found, info, err
}

func tens(ids ...int) map[int]int {
	all := map[int]int{}
	for _, id := range ids {
		all[id] = 10 * id
	}
	return all
}

func upTo(n int) (ids []int) {
	for i := range n {
		ids = append(ids, i+1)
	}
	return ids
}

func TestBatchElementsAreEntriesOfTheirOwn(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{})
		found, info, err := w.info(t.Context(), 1, 2, 3, 2)
		require.NoError(t, err)
		assert.Equal(t, tens(1, 2, 3), found)
		assert.Equal(t, [][]int{{1, 2, 3}}, s.runs, "duplicates are asked for once")
		assert.Equal(t, SourceComputed, info.Source)
		assert.Equal(t, 3, info.Elements[SourceComputed])
		found, info, err = w.info(t.Context(), 3, 2)
		require.NoError(t, err)
		assert.Equal(t, tens(3, 2), found)
		assert.Equal(t, SourceFresh, info.Source)
		assert.Equal(t, 2, info.Elements[SourceFresh])
		found, info, err = w.info(t.Context(), 3, 4)
		require.NoError(t, err)
		assert.Equal(t, map[int]int{3: 30, 4: 40 + ofRun}, found)
		assert.Equal(t, SourceCounts{SourceFresh: 1, SourceComputed: 1}, info.Elements)
		assert.Equal(t, [][]int{{1, 2, 3}, {4}}, s.runs)
		stats := requireIdentity(t, w.Func)
		assert.EqualValues(t, 3, stats.Batches)
		assert.EqualValues(t, 2, stats.BatchRuns)
		assert.EqualValues(t, 7, stats.Calls)
		assert.EqualValues(t, 4, stats.Computations)
		assert.EqualValues(t, 4, stats.Stored)

		require.NoError(t, w.Invalidate(t.Context(), 3))
		found, err = w.get(t.Context(), []int{2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{2: 20, 3: 30 + 2*ofRun}, found, "an invalidation reaches every list with the id")
		found, err = w.get(t.Context(), nil)
		require.NoError(t, err)
		assert.NotNil(t, found)
		assert.Empty(t, found)
	})
}

func TestBatchOfColdIDsTakesFewRoundTrips(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		trips := 0
		count := &pipelines{n: &trips}
		w := wrapShelf(t, b.cache(func(c *Config) { c.Redis.AddHook(count) }), s, Options{})
		_, err := w.get(t.Context(), []int{1000}) // the scripts are known, and the release is registered
		require.NoError(t, err)
		synctest.Wait() // what the call has left to the background is over
		count.reset()
		found, err := w.get(t.Context(), upTo(100))
		require.NoError(t, err)
		assert.Len(t, found, 100)
		assert.Equal(t, []int{1, 100}, s.sizes())
		assert.LessOrEqual(t, count.sum(), 4, "round trips")
		count.reset()
		_, err = w.get(t.Context(), upTo(100))
		require.NoError(t, err)
		assert.Equal(t, 1, count.sum(), "round trips of hits")
	})
}

// pipelines counts what is sent to Redis at once.
type pipelines struct {
	mu sync.Mutex // guards n
	n  *int
}

func (p *pipelines) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	*p.n++
}

func (p *pipelines) sum() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.n
}

func (p *pipelines) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	*p.n = 0
}

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "hello" && cmd.Name() != "client" {
			p.add()
		}
		return next(ctx, cmd)
	}
}

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if verbOf(cmds[0]) != "hello" {
			p.add()
		}
		return next(ctx, cmds)
	}
}

func TestBatchChunks(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		failed := errors.New("no such shelf")
		s.do = func(_ context.Context, ids []int) error {
			assert.LessOrEqual(t, len(b.locks()), ids[0]+2, "the leases of later chunks are not held")
			if ids[0] == 1 {
				return failed
			}
			return nil
		}
		w := wrapShelf(t, b.cache(), s, Options{BatchSize: 3})
		found, info, err := w.info(t.Context(), upTo(7)...)
		assert.Equal(t, failed, err)
		assert.Equal(t, []int{3, 3, 1}, s.sizes(), "the next chunk is run after one that failed")
		assert.Equal(t, map[int]int{4: 40 + ofRun, 5: 50 + ofRun, 6: 60 + ofRun, 7: 70 + 2*ofRun}, found, "the result is partial")
		assert.Equal(t, SourceCounts{SourceFailed: 3, SourceComputed: 4}, info.Elements)
		assert.Empty(t, b.locks(), "the leases are released")
		requireIdentity(t, w.Func)
	})
}

// locks returns the keys of the leases that are held.
func (b *bubble) locks() []string {
	return slices.DeleteFunc(b.keys(), func(key string) bool { return !hasSuffix(key, LockSuffix) })
}

func hasSuffix(s, suffix string) bool {
	return len(s) >= len(suffix) && s[len(s)-len(suffix):] == suffix
}

func TestBatchOfIDsThatOthersCompute(t *testing.T) {
	for _, test := range []struct {
		policy  ColdPolicy
		found   map[int]int
		refused []any
		sizes   []int
		took    time.Duration
	}{
		{Fail, map[int]int{3: 30 + ofRun}, []any{1, 2}, []int{2, 1}, 0},
		{Wait, map[int]int{1: 10, 2: 20, 3: 30 + ofRun}, nil, []int{2, 1}, time.Second},
		{Compute, map[int]int{1: 10 + ofRun, 2: 20 + ofRun, 3: 30 + ofRun}, nil, []int{2, 3}, 0},
	} {
		for _, elsewhere := range []bool{false, true} {
			t.Run(test.policy.String(), func(t *testing.T) {
				inOneBubble(t, func(t *testing.T, b *bubble) {
					s := &batchSource{}
					s.do = func(_ context.Context, ids []int) error {
						if len(ids) == 2 {
							time.Sleep(time.Second)
						}
						return nil
					}
					c := b.cache()
					w := wrapShelf(t, c, s, Options{OnCold: test.policy})
					other := w
					if elsewhere {
						other = wrapShelf(t, b.cache(), s, Options{OnCold: test.policy})
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						found, err := other.get(t.Context(), []int{1, 2})
						assert.NoError(t, err)
						assert.Equal(t, tens(1, 2), found)
					}()
					synctest.Wait()
					began := time.Now()
					found, err := w.get(t.Context(), []int{1, 2, 3})
					assert.Equal(t, test.found, found)
					if test.refused != nil {
						var cold *ColdCacheError
						require.ErrorAs(t, err, &cold)
						assert.Equal(t, test.refused, cold.IDs)
					} else {
						require.NoError(t, err)
					}
					assert.Equal(t, test.sizes, s.sizes())
					assert.InDelta(t, test.took, time.Since(began), float64(100*time.Millisecond))
					<-done
					requireIdentity(t, w.Func)
				})
			})
		}
	}
}

func TestBatchesThatWaitForEachOther(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for _, size := range []int{0, 1, 2} {
			s := &batchSource{}
			s.do = func(context.Context, []int) error {
				time.Sleep(time.Second)
				return nil
			}
			first := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, BatchSize: size})
			second := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, BatchSize: size})
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					found, err := first.get(t.Context(), []int{1, 2, 3, 4})
					assert.NoError(t, err)
					assert.Len(t, found, 4)
				})
				all.Go(func() {
					found, err := second.get(t.Context(), []int{4, 3, 2, 1})
					assert.NoError(t, err)
					assert.Len(t, found, 4)
				})
			}
			began := time.Now()
			all.Wait()
			assert.LessOrEqual(t, time.Since(began), 5*time.Second)
			ran := 0
			for _, n := range s.sizes() {
				ran += n
			}
			assert.Equal(t, 4, ran, "each id is computed once")
			require.NoError(t, first.Invalidate(t.Context(), 1, 2, 3, 4))
			requireIdentity(t, first.Func)
			requireIdentity(t, second.Func)
			first.Func.Unwrap()
			second.Func.Unwrap()
		}
	})
}

func TestBatchErrorsAndPanics(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{Freshness: time.Second, Cooldown: 100 * time.Millisecond})
		_, err := w.get(t.Context(), []int{1, 2})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		failed := errors.New("the shelf fell down")
		s.set(func(s *batchSource) { s.do = func(context.Context, []int) error { return failed } })
		found, info, err := w.info(t.Context(), 1, 2, 3)
		assert.Equal(t, failed, err)
		assert.Equal(t, tens(1, 2), found, "ids with a stale value are served that value")
		assert.Equal(t, SourceCounts{SourceStale: 2, SourceFailed: 1}, info.Elements)
		found, info, err = w.info(t.Context(), 1, 2)
		require.NoError(t, err)
		assert.Equal(t, tens(1, 2), found)
		assert.Equal(t, []int{2, 3}, s.sizes(), "the function is left alone during Cooldown")
		time.Sleep(time.Second)
		s.set(func(s *batchSource) { s.do = func(context.Context, []int) error { panic("no more shelves") } })
		assert.PanicsWithError(t, "", func() {
			defer func() {
				var p *PanicError
				value := recover()
				assert.ErrorAs(t, value.(error), &p)
				assert.Equal(t, "no more shelves", p.Value)
				panic(errors.New(""))
			}()
			_, _ = w.get(t.Context(), []int{1, 2, 3})
		})
		requireIdentity(t, w.Func)
	})
}

func TestBatchMissingIDs(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{none: map[int]bool{2: true}}
		w := wrapShelf(t, b.cache(), s, Options{MissingTimeout: 10 * time.Second, Freshness: 20 * time.Second})
		for range 2 {
			found, err := w.get(t.Context(), []int{1, 2})
			require.NoError(t, err)
			assert.Equal(t, tens(1), found)
		}
		assert.Equal(t, []int{2}, s.sizes(), "a missing id is cached")
		time.Sleep(11 * time.Second)
		_, err := w.get(t.Context(), []int{1, 2})
		require.NoError(t, err)
		assert.Equal(t, []int{2, 1}, s.sizes(), "for MissingTimeout")
		w.Func.Unwrap()

		// Without MissingTimeout it is not cached, and replaces a stale value all the same.
		require.NoError(t, w.Invalidate(t.Context(), 1, 2))
		s = &batchSource{}
		w = wrapShelf(t, b.cache(), s, Options{Freshness: time.Second})
		_, err = w.get(t.Context(), []int{1, 2})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		s.set(func(s *batchSource) { s.none = map[int]bool{2: true} })
		for range 2 {
			found, err := w.get(t.Context(), []int{2})
			require.NoError(t, err)
			assert.Empty(t, found)
			time.Sleep(2 * time.Millisecond)
			assert.Len(t, b.keys(), 1, "the stale value is gone")
		}
		assert.Equal(t, []int{2, 1, 1}, s.sizes())
		requireIdentity(t, w.Func)
	})
}

func TestBatchWhileRedisIsAway(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for _, policy := range []ColdPolicy{Fail, Wait, Compute} {
			s := &batchSource{}
			w := wrapShelf(t, b.cache(), s, Options{OnCold: policy})
			b.tap.set(func(t *tap) { t.broken = errors.New("connection refused") })
			found, err := w.get(t.Context(), upTo(20))
			require.NoError(t, err)
			assert.Len(t, found, 20)
			assert.Equal(t, []int{20}, s.sizes(), "one run, %v", policy)
			b.tap.set(func(t *tap) { t.broken = nil })
			// Between the lookups and the leases.
			awaitBack(w.Func.Opts().Cache)
			b.tap.on("acquire", func() { b.tap.set(func(t *tap) { t.broken = errors.New("connection refused") }) })
			found, err = w.get(t.Context(), upTo(20))
			require.NoError(t, err)
			assert.Len(t, found, 20)
			assert.Equal(t, []int{20, 20}, s.sizes(), "one run, %v", policy)
			b.tap.set(func(t *tap) { t.broken = nil })
			awaitBack(w.Func.Opts().Cache)
			requireIdentity(t, w.Func)
			time.Sleep(time.Minute)
			w.Func.Unwrap()
		}
	})
}

func TestBatchInChunksWhileRedisIsAway(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for _, policy := range []ColdPolicy{Fail, Wait, Compute} {
			s := &batchSource{}
			w := wrapShelf(t, b.cache(), s, Options{OnCold: policy, BatchSize: 2})
			b.tap.set(func(t *tap) { t.broken = errors.New("connection refused") })
			found, err := w.get(t.Context(), upTo(5))
			require.NoError(t, err)
			assert.Equal(t, map[int]int{1: 10, 2: 20, 3: 30 + ofRun, 4: 40 + ofRun, 5: 50 + 2*ofRun}, found)
			assert.Equal(t, []int{2, 2, 1}, s.sizes(), "%v", policy)
			ctx, cancel := context.WithCancel(t.Context())
			s.set(func(s *batchSource) {
				s.do = func(context.Context, []int) error {
					cancel()
					return nil
				}
			})
			_, err = w.get(ctx, upTo(5))
			require.ErrorIs(t, err, context.Canceled)
			synctest.Wait()
			assert.Equal(t, []int{2, 2, 1, 2}, s.sizes(), "no chunk is opened after the caller has left")
			requireIdentity(t, w.Func)
			b.tap.set(func(t *tap) { t.broken = nil })
			awaitBack(w.Func.Opts().Cache)
			w.Func.Unwrap()
		}
	})
}

func TestBatchLostLeases(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{})
		other := wrapShelf(t, b.cache(), s, Options{})
		s.do = func(ctx context.Context, ids []int) error {
			if len(ids) == 3 {
				return other.Invalidate(context.Background(), 2)
			}
			return nil
		}
		found, err := w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, tens(1, 2, 3), found)
		stats := requireIdentity(t, w.Func)
		assert.EqualValues(t, 2, stats.Stored)
		assert.EqualValues(t, 1, stats.LostLeases)
		found, err = w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10, 2: 20 + ofRun, 3: 30}, found)
	})
}

func TestBatchInsideItself(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for _, bound := range []int{0, 1} {
			s := &batchSource{}
			w := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, MaxConcurrent: bound})
			s.do = func(ctx context.Context, ids []int) error {
				switch {
				case len(ids) == 3: // its own ids are computed by the function itself, the other is cached
					found, err := w.get(ctx, []int{1, 2, 4})
					assert.NoError(t, err)
					assert.Len(t, found, 3)
				}
				return nil
			}
			found, err := w.get(t.Context(), []int{1, 2, 3})
			require.NoError(t, err)
			assert.Equal(t, tens(1, 2, 3), found)
			assert.Equal(t, [][]int{{1, 2, 3}, {1, 2}, {4}}, s.runs)
			stats := requireIdentity(t, w.Func)
			assert.EqualValues(t, 2, stats.Bypassed)
			require.NoError(t, w.Invalidate(t.Context(), 1, 2, 3, 4))
			w.Func.Unwrap()
		}
	})
}

func TestBatchTagsAndLifetimes(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		c := b.cache()
		s.do = func(ctx context.Context, _ []int) error {
			AddTags(ctx, "shelf")
			SetLifetime(ctx, 5*time.Second, 10*time.Second)
			return nil
		}
		w := wrapShelf(t, c, s, Options{Tags: []string{"product:{0}"}})
		get := func(ids ...int) {
			t.Helper()
			found, err := w.get(t.Context(), ids)
			require.NoError(t, err)
			assert.Len(t, found, len(ids))
		}
		get(1, 2, 3)
		get(1, 2, 3)
		assert.Equal(t, []int{3}, s.sizes())
		require.NoError(t, c.InvalidateTags(t.Context(), "product:2"))
		get(1, 2, 3)
		assert.Equal(t, []int{3, 1}, s.sizes(), "tags are those of an element")
		require.NoError(t, c.InvalidateTags(t.Context(), "shelf"))
		get(1, 2, 3)
		assert.Equal(t, []int{3, 1, 3}, s.sizes(), "added tags hold for every element")
		time.Sleep(6 * time.Second)
		get(1, 2, 3)
		assert.Equal(t, []int{3, 1, 3, 3}, s.sizes(), "lifetimes hold for every element")
		s.set(func(s *batchSource) {
			s.do = func(ctx context.Context, _ []int) error {
				NoStore(ctx)
				return nil
			}
		})
		get(8, 9)
		get(8, 9)
		assert.Equal(t, []int{3, 1, 3, 3, 2, 2}, s.sizes())
		assert.Empty(t, b.log.About("after the function"))
		s.set(func(s *batchSource) {
			s.do = func(ctx context.Context, _ []int) error {
				_, ok := Stored(ctx)
				assert.False(t, ok)
				SetETag(ctx, "etag")
				NotModified(ctx)
				return nil
			}
		})
		get(10, 11)
		get(10, 11)
		assert.Equal(t, []int{3, 1, 3, 3, 2, 2, 2}, s.sizes())
		assert.Len(t, b.log.About("do nothing in a batch function"), 1)
		requireIdentity(t, w.Func)
	})
}

// The first chunk takes a place and does not need it. The second one must not wait for that place.
func TestBatchChunksThatDoNotRunKeepNoPlace(t *testing.T) {
	for name, opts := range map[string]Options{
		"one place, and calls are refused": {MaxConcurrent: 1, OnCold: Fail},
		"one place, and calls wait":        {MaxConcurrent: 1, OnCold: Compute},
		"two places":                       {MaxConcurrent: 2, OnCold: Fail},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				opts.BatchSize, opts.Freshness, opts.Timeout = 1, time.Second, time.Hour
				w := wrapShelf(t, b.cache(), s, opts)
				_, err := w.get(t.Context(), []int{1})
				require.NoError(t, err)
				time.Sleep(2 * time.Second)
				// Another process computes 1: the stale value is served meanwhile.
				require.NoError(t, b.redis.Set(must(w.Func.Key(1))+LockSuffix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
				b.redis.SetTTL(must(w.Func.Key(1))+LockSuffix, time.Hour)
				for i := range 200 {
					began := time.Now()
					found, err := w.get(t.Context(), []int{1, i + 2})
					require.NoError(t, err)
					require.Len(t, found, 2)
					require.Zero(t, time.Since(began))
				}
			})
		})
	}
}

// What a call has read for a chunk may be old when the chunk is opened: the function has run for the
// chunks before it. Another call may join the flights of the chunk.
func TestBatchOpensAChunkWithoutAnEntryThatATagHasOvertakenMeanwhile(t *testing.T) {
	for name, opts := range map[string]Options{
		"after another chunk":      {BatchSize: 1},
		"after a wait for a place": {MaxConcurrent: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				here, there := b.cache(), b.cache()
				opts.Tags, opts.OnCold, opts.Freshness, opts.OnError = []string{"product:{0}"}, Wait, time.Second, ServeStale
				w := wrapShelf(t, here, s, opts)
				_, _, err := w.info(t.Context(), 2)
				require.NoError(t, err)
				time.Sleep(2 * time.Second) // it is stale
				s.set(func(s *batchSource) {
					s.do = func(context.Context, []int) error {
						time.Sleep(5 * time.Second)
						return nil
					}
				})
				var calls sync.WaitGroup
				first := []int{1, 2}
				if opts.MaxConcurrent > 0 {
					calls.Go(func() { _, _ = w.get(t.Context(), []int{1}) })
					calls.Go(func() { _, _ = w.get(t.Context(), []int{3}) })
					synctest.Wait()
					first = []int{2, 4} // the call waits, because 4 is cold
				}
				calls.Go(func() { _, _ = w.get(t.Context(), first) })
				time.Sleep(time.Second)
				require.NoError(t, there.InvalidateTags(t.Context(), "product:2"))
				asking, asks := make(chan struct{}), make(chan struct{})
				b.tap.on("acquire", func() { close(asking); <-asks })
				<-asking // for the stale entry
				calls.Go(func() {
					found, err := w.get(t.Context(), []int{2})
					assert.NoError(t, err)
					assert.NotEqual(t, tens(2), found, "it was called after the invalidation")
				})
				synctest.Wait()
				close(asks)
				calls.Wait()
			})
		})
	}
}

func TestBatchDoomedHolders(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		c := b.cache()
		w := wrapShelf(t, c, s, Options{Tags: []string{"product:{0}"}, OnCold: Wait})
		s.do = func(_ context.Context, ids []int) error {
			if len(ids) == 3 {
				assert.NoError(t, c.InvalidateTags(context.Background(), "product:2"))
				time.Sleep(time.Second)
			}
			return nil
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			found, err := w.get(t.Context(), []int{1, 2, 3})
			assert.NoError(t, err)
			assert.Len(t, found, 3)
		}()
		time.Sleep(500 * time.Millisecond)
		found, err := w.get(t.Context(), []int{2})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{2: 20 + ofRun}, found, "newcomers do not get what was overtaken")
		<-done
		found, err = w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10, 2: 20 + ofRun, 3: 30}, found)
	})
}

func TestBatchNear(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{Near: time.Second})
		other := wrapShelf(t, b.cache(), s, Options{})
		warm := func() {
			for range 2 {
				_, err := w.get(t.Context(), []int{1, 2})
				require.NoError(t, err)
				time.Sleep(50 * time.Millisecond)
			}
		}
		warm()
		b.tap.reset()
		found, info, err := w.info(t.Context(), 1, 2, 3)
		require.NoError(t, err)
		assert.Len(t, found, 3)
		assert.Equal(t, SourceCounts{SourceNear: 2, SourceComputed: 1}, info.Elements)
		assert.Equal(t, 1, b.tap.count("get"))
		require.NoError(t, other.Invalidate(t.Context(), 2))
		time.Sleep(50 * time.Millisecond)
		found, info, err = w.info(t.Context(), 1, 2, 3)
		require.NoError(t, err)
		assert.NotEqual(t, 20, found[2])
		assert.Equal(t, SourceCounts{SourceNear: 2, SourceComputed: 1}, info.Elements)
		requireIdentity(t, w.Func)
	})
}

func TestBatchRefreshExpireAndBypass(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{OnStale: Background})
		ctx := t.Context()
		_, err := w.get(ctx, []int{1, 2, 3})
		require.NoError(t, err)
		found, err := w.Refresh(ctx, 1, 2)
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10 + ofRun, 2: 20 + ofRun}, found)
		found, err = w.get(WithRefresh(ctx), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10 + 2*ofRun, 2: 20 + 2*ofRun, 3: 30 + 2*ofRun}, found)
		assert.Equal(t, []int{3, 2, 3}, s.sizes())
		require.NoError(t, w.Expire(ctx, 1, 2))
		found, info, err := w.info(ctx, 1, 2, 3)
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10 + 2*ofRun, 2: 20 + 2*ofRun, 3: 30 + 2*ofRun}, found)
		assert.Equal(t, SourceCounts{SourceStale: 2, SourceFresh: 1}, info.Elements)
		synctest.Wait()
		assert.Equal(t, []int{3, 2, 3, 2}, s.sizes(), "in the background, in one run")
		found, info, err = w.info(WithBypass(ctx), 1, 2)
		require.NoError(t, err)
		assert.Len(t, found, 2)
		assert.Equal(t, SourceCounts{SourceBypassed: 2}, info.Elements)
		key, err := w.Key(3)
		require.NoError(t, err)
		assert.Contains(t, b.keys(), key)
		assert.NoError(t, w.Func.Refresh(ctx, 3))
		assert.NoError(t, w.Func.Invalidate(ctx, 3))
		assert.NotContains(t, b.keys(), key)
		requireIdentity(t, w.Func)
	})
}

func TestBatchTimeoutsAndCallersThatLeave(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{ComputeTimeout: time.Second})
		s.do = func(ctx context.Context, ids []int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(ids[0]) * 100 * time.Millisecond):
				return nil
			}
		}
		found, err := w.get(t.Context(), []int{50, 1})
		require.ErrorIs(t, err, ErrComputeTimeout)
		assert.Empty(t, found)
		ctx, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer end()
		_, err = w.get(ctx, []int{5, 6})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		found, info, err := w.info(t.Context(), 5, 6)
		require.NoError(t, err)
		assert.Equal(t, SourceCounts{SourceFresh: 2}, info.Elements, "the run continues, and is stored")
		assert.Len(t, found, 2)
		requireIdentity(t, w.Func)
	})
}

func TestBatchMaxConcurrent(t *testing.T) {
	for _, policy := range []ColdPolicy{Fail, Wait, Compute} {
		t.Run(policy.String(), func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				s.do = func(context.Context, []int) error {
					time.Sleep(time.Second)
					return nil
				}
				w := wrapShelf(t, b.cache(), s, Options{OnCold: policy, MaxConcurrent: 1})
				go func() { _, _ = w.get(t.Context(), []int{1, 2, 3}) }()
				synctest.Wait()
				began := time.Now()
				found, err := w.get(t.Context(), []int{4, 5})
				if policy == Fail {
					var cold *ColdCacheError
					require.ErrorAs(t, err, &cold)
					assert.Equal(t, []any{4, 5}, cold.IDs)
					assert.Equal(t, 1, cold.MaxConcurrent)
				} else {
					require.NoError(t, err)
					assert.Len(t, found, 2)
					assert.Equal(t, 2*time.Second, time.Since(began).Round(time.Second/2))
				}
				time.Sleep(3 * time.Second)
				assert.True(t, w.Func.Places().Idle(), "the places are given back")
				requireIdentity(t, w.Func)
			})
		})
	}
}

type batchStruct struct {
	Shelf manyInts                                    `fncache:"timeout=1m,batch,batchsize=2,missingtimeout=1h,tags=product:{0}"`
	One   func(context.Context, int) (string, error)  `fncache:"timeout=1m"`
	Rest  func(context.Context, []int) (int64, error) `fncache:"-"`
}

func TestBatchInAStruct(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{none: map[int]bool{9: true}}
		v := &batchStruct{Shelf: s.get, One: func(context.Context, int) (string, error) { return "", nil }}
		noBook := errors.New("no such book")
		c := b.cache()
		funcs, err := WrapStruct(v, Options{Cache: c, CacheErrors: []error{noBook}, ErrorTimeout: time.Minute})
		require.NoError(t, err)
		for range 2 {
			found, err := v.Shelf(t.Context(), []int{1, 2, 9, 1})
			require.NoError(t, err)
			assert.Equal(t, map[int]int{1: 10, 2: 20}, found)
		}
		assert.Equal(t, []int{2, 1}, s.sizes())
		f, err := funcs.Get("Shelf")
		require.NoError(t, err)
		require.NoError(t, f.Invalidate(t.Context(), 2))
		found, err := v.Shelf(t.Context(), []int{2, 1})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10, 2: 20 + 2*ofRun}, found)
		require.NoError(t, c.InvalidateTags(t.Context(), "product:1"))
		found, err = v.Shelf(t.Context(), []int{2, 1})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10 + 3*ofRun, 2: 20 + 2*ofRun}, found)
		requireIdentity(t, f)
		f.Unwrap()
		_, err = v.Shelf(t.Context(), []int{5})
		require.NoError(t, err)
	})
}

func TestBatchOptionsThatAreRefused(t *testing.T) {
	noBook := errors.New("no such book")
	many := manyInts((&batchSource{}).get)
	for _, test := range []struct {
		opts Options
		want string
	}{
		{Options{Timeout: time.Minute, CacheErrors: []error{noBook}, ErrorTimeout: time.Minute}, "CacheErrors is set, but an error of a batch function is that of all its ids"},
		{Options{Timeout: time.Minute, BatchSize: -1}, "BatchSize is -1"},
		{Options{Timeout: time.Minute, MissingTimeout: -1}, "MissingTimeout is -1ns"},
	} {
		test.opts.Name = "test.Refused"
		_, err := WrapBatch(&many, test.opts)
		assert.ErrorContains(t, err, test.want)
	}
	one := func(context.Context, int) (int, error) { return 0, nil }
	_, err := Wrap(&one, Options{Name: "test.Refused", Timeout: time.Minute, BatchSize: 3, MissingTimeout: time.Minute})
	assert.ErrorContains(t, err, "BatchSize is set, but the function is not a batch function")
	var bad struct {
		One func(context.Context, int) (int, error) `fncache:"timeout=1m,batch"`
	}
	bad.One = one
	_, err = WrapStruct(&bad, Options{})
	assert.ErrorContains(t, err, "batch is set, but the field is a func(context.Context, int) (int, error)")
	pointers := func(context.Context, []*int) (map[*int]int, error) { return nil, nil }
	_, err = WrapBatch(&pointers, Options{Name: "test.Refused", Timeout: time.Minute})
	assert.Error(t, err)
}

// onBusyMachine is a RedisTimeout within which a real server answers on a busy machine too.
const onBusyMachine = 2 * time.Second

func TestBatchOnServers(t *testing.T) {
	onServers(t, func(t *testing.T, server *backend) {
		s := &batchSource{}
		w := wrapShelf(t, newTestCache(t, Config{Redis: server.Client(), RedisTimeout: onBusyMachine}), s, Options{OnCold: Wait, Tags: []string{"product:{0}"}})
		other := wrapShelf(t, newTestCache(t, Config{Redis: server.Client(), RedisTimeout: onBusyMachine}), s, Options{OnCold: Wait, Tags: []string{"product:{0}"}})
		require.NoError(t, w.Invalidate(t.Context(), upTo(300)...))
		ids := upTo(300)
		found, err := w.get(t.Context(), ids)
		require.NoError(t, err)
		assert.Equal(t, tens(ids...), found)
		assert.Equal(t, []int{300}, s.sizes())
		for _, each := range []*batched{w, other} {
			found, info, err := each.info(t.Context(), ids...)
			require.NoError(t, err)
			assert.Equal(t, tens(ids...), found)
			assert.Equal(t, SourceCounts{SourceFresh: 300}, info.Elements)
		}
		// Servers that have forgotten the scripts are sent them whole, inside pipelines.
		for _, primary := range server.Primaries {
			require.NoError(t, primary.Client().ScriptFlush(t.Context()).Err())
		}
		require.NoError(t, other.Invalidate(t.Context(), ids...))
		found, err = w.get(t.Context(), ids)
		require.NoError(t, err)
		assert.Len(t, found, 300)
		assert.Equal(t, []int{300, 300}, s.sizes())

		// Two batches in opposite order.
		s.set(func(s *batchSource) { s.runs = nil })
		require.NoError(t, other.Expire(t.Context(), ids...))
		require.NoError(t, other.Invalidate(t.Context(), ids...))
		reversed := slices.Clone(ids)
		slices.Reverse(reversed)
		var all sync.WaitGroup
		for each, ids := range map[*batched][]int{w: ids, other: reversed} {
			all.Go(func() {
				found, err := each.get(t.Context(), ids)
				assert.NoError(t, err)
				assert.Len(t, found, 300)
			})
		}
		all.Wait()
		ran := 0
		for _, n := range s.sizes() {
			ran += n
		}
		assert.Equal(t, 300, ran, "each id is computed once")
		requireIdentity(t, w.Func)
		requireIdentity(t, other.Func)
	})
}

func TestBatchOfAKeyThatHoldsAnotherType(t *testing.T) {
	onServers(t, func(t *testing.T, server *backend) {
		s := &batchSource{}
		log := &logtest.Handler{}
		w := wrapShelf(t, newTestCache(t, Config{Redis: server.Client(), RedisTimeout: onBusyMachine, Logger: slog.New(log)}), s, Options{})
		require.NoError(t, w.Invalidate(t.Context(), 1, 2, 3))
		key, err := w.Key(2)
		require.NoError(t, err)
		require.NoError(t, server.Raw.HSet(t.Context(), key, "field", "value").Err())
		for range 2 {
			found, err := w.get(t.Context(), []int{1, 2, 3})
			require.NoError(t, err)
			assert.Equal(t, tens(1, 2, 3), found)
		}
		assert.Equal(t, []int{3}, s.sizes(), "it was replaced")
		assert.EqualValues(t, 1, requireIdentity(t, w.Func).Undecodable)
		assert.Len(t, log.About("an entry cannot be read"), 1)
		require.NoError(t, w.Invalidate(t.Context(), 1, 2, 3))
	})
}
