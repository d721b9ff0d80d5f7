package fncache_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/fncache/fncache"
)

// All tests here run in bubbles, in which a sleep takes no time and is exact; see batch_test.go.

func TestBatchFunctionThatIgnoresItsContext(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{ComputeTimeout: time.Second, BatchSize: 2})
		late := make(chan struct{})
		s.do = func(_ context.Context, ids []int) error {
			if ids[0] == 1 {
				<-late
			}
			return nil
		}
		began := time.Now()
		found, err := w.get(t.Context(), []int{1, 2, 3})
		require.ErrorIs(t, err, ErrComputeTimeout)
		assert.Equal(t, map[int]int{3: 30 + ofRun}, found, "the next chunk is run")
		assert.Less(t, time.Since(began), 3*time.Second)
		synctest.Wait()
		assert.Empty(t, b.locks(), "the leases are released")
		close(late)
		synctest.Wait()
		s.set(func(s *batchSource) { s.do = nil })
		found, err = w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{1: 10 + 2*ofRun, 2: 20 + 2*ofRun, 3: 30 + ofRun}, found, "the late result is dropped")
		requireIdentity(t, w.Func)
	})
}

// The race detector judges this one too.
func TestBatchValuesThatRedisDidNotTakeAreStoredLater(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		w := wrapShelf(t, b.cache(), &batchSource{}, Options{})
		b.tap.set(func(t *tap) { t.refuse["store"] = replyError("LOADING Redis is loading the dataset in memory") })
		found, err := w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Len(t, found, 3)
		assert.Zero(t, w.Stats().Stored)
		b.tap.set(func(t *tap) { delete(t.refuse, "store") })
		time.Sleep(5 * time.Second) // of the bubble: Redis is back within them
		synctest.Wait()
		assert.EqualValues(t, 3, w.Stats().Stored)
		assert.Empty(t, b.locks())
		requireIdentity(t, w.Func)
	})
}

func TestBatchFunctionThatEndsItsGoroutine(t *testing.T) {
	for name, end := range map[string]func(){
		"by Goexit":  runtime.Goexit,
		"by a panic": func() { panic("no more shelves") },
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				w := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, BatchSize: 2})
				s.do = func(context.Context, []int) error {
					time.Sleep(time.Second)
					end()
					return nil
				}
				var all sync.WaitGroup
				returned := false
				all.Go(func() {
					defer func() { _ = recover() }()
					_, _ = w.get(t.Context(), []int{1, 2, 3, 4})
					returned = true
				})
				all.Go(func() {
					time.Sleep(500 * time.Millisecond)
					found, err := w.get(t.Context(), []int{2})
					assert.Error(t, err, "for callers who joined it is an error")
					assert.Empty(t, found)
				})
				all.Wait()
				assert.False(t, returned, "the caller ends as the function does")
				synctest.Wait()
				assert.Empty(t, b.locks(), "the leases are released")
				assert.Equal(t, []int{2}, s.sizes(), "no further chunk is run")
				s.set(func(s *batchSource) { s.do = nil })
				found, err := w.get(t.Context(), []int{1, 2, 3, 4})
				require.NoError(t, err)
				assert.Len(t, found, 4)
				requireIdentity(t, w.Func)
			})
		})
	}
}

// The order of events:
//  1. the first id is stale, and is served while its run goes on;
//  2. that run ends by a panic, which no caller gets;
//  3. the second id is computed by the run after that;
//  4. the third id is cold: if it got no run, the call would return neither a value nor an error
//     for it.
func TestBatchRunThatNoCallerWaitsForEndsNoCall(t *testing.T) {
	ends := map[string]func(){
		"Goexit":  runtime.Goexit,
		"a panic": func() { panic("no more shelves") },
	}
	for stale, opts := range map[string]Options{
		"in the background":     {OnStale: Background},
		"past its soft timeout": {SoftTimeout: time.Second},
	} {
		for by, end := range ends {
			t.Run(stale+" by "+by, func(t *testing.T) {
				inOneBubble(t, func(t *testing.T, b *bubble) {
					s := &batchSource{}
					opts.Freshness, opts.BatchSize = time.Second, 1
					w := wrapShelf(t, b.cache(), s, opts)
					_, err := w.get(t.Context(), []int{1})
					require.NoError(t, err)
					time.Sleep(2 * time.Second) // virtual
					s.do = func(_ context.Context, ids []int) error {
						if ids[0] == 1 {
							time.Sleep(2 * time.Second) // virtual
							end()
						}
						return nil
					}
					found, info, err := w.info(t.Context(), 1, 2, 3, 4)
					require.NoError(t, err)
					assert.Equal(t, map[int]int{1: 10, 2: 20 + 2*ofRun, 3: 30 + 3*ofRun, 4: 40 + 4*ofRun}, found)
					assert.Equal(t, SourceCounts{SourceStale: 1, SourceComputed: 3}, info.Elements)
					synctest.Wait()
					assert.Len(t, b.locks(), 1, "the cooldown of the first")
					requireIdentity(t, w.Func)
				})
			})
		}
	}
}

// A shelfMark is an id with a part that does not count in keys.
type shelfMark struct {
	Shelf  int
	Reader string `fncache:"-"`
}

func TestBatchOfIDsWithOneKey(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var runs [][]shelfMark
		get := func(_ context.Context, ids []shelfMark) (map[shelfMark]string, error) {
			runs = append(runs, ids)
			found := map[shelfMark]string{}
			for _, id := range ids {
				found[id] = "for " + id.Reader
			}
			return found, nil
		}
		f, err := WrapBatch(&get, Options{Cache: b.cache(), Name: "test.Marks", Timeout: time.Minute})
		require.NoError(t, err)
		anna, bert := shelfMark{1, "Anna"}, shelfMark{1, "Bert"}
		for range 2 {
			found, err := get(t.Context(), []shelfMark{anna, bert, anna})
			require.NoError(t, err)
			assert.Equal(t, map[shelfMark]string{anna: "for Anna", bert: "for Anna"}, found, "they share an entry")
		}
		assert.Equal(t, [][]shelfMark{{anna}}, runs)
		stats := requireIdentity(t, f.Func)
		assert.EqualValues(t, 2, stats.Calls)
		require.NoError(t, f.Invalidate(t.Context(), bert))
		found, err := f.Refresh(t.Context(), bert, anna)
		require.NoError(t, err)
		assert.Equal(t, map[shelfMark]string{anna: "for Bert", bert: "for Bert"}, found)
		requireIdentity(t, f.Func)
	})
}

func TestBatchFunctionThatReturnsNilOrChangesItsArguments(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		runs := 0
		get := func(_ context.Context, ids []int) (map[int]int, error) {
			runs++
			for i := range ids {
				ids[i] = -7
			}
			if runs == 1 {
				return nil, nil
			}
			return map[int]int{1: 10, 2: 20, 5: 50, -7: 70}, nil
		}
		f, err := WrapBatch(&get, Options{Cache: b.cache(), Name: "test.Nil", Timeout: time.Minute, MissingTimeout: time.Second})
		require.NoError(t, err)
		ids := []int{1, 2}
		for range 2 {
			found, err := get(t.Context(), ids)
			require.NoError(t, err)
			assert.NotNil(t, found)
			assert.Empty(t, found)
		}
		assert.Equal(t, 1, runs, "all are missing")
		time.Sleep(2 * time.Second) // virtual
		for range 2 {
			found, err := get(t.Context(), ids)
			require.NoError(t, err)
			assert.Equal(t, map[int]int{1: 10, 2: 20}, found)
		}
		assert.Equal(t, []int{1, 2}, ids)
		found, err := get(t.Context(), []int{5})
		require.NoError(t, err)
		assert.Equal(t, map[int]int{5: 50}, found)
		assert.Equal(t, 3, runs, "an id that nobody asked for is not stored")
		requireIdentity(t, f.Func)
	})
}

func TestBatchInsideABatch(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := &batchSource{}
		books := wrapShelf(t, c, inner, Options{Tags: []string{"book:{0}"}, OnCold: Wait})
		outerRuns := 0
		authors := func(ctx context.Context, ids []int) (map[int]int, error) {
			outerRuns++
			found, err := books.get(ctx, []int{10, 11})
			sums := map[int]int{}
			for _, id := range ids {
				sums[id] = id + found[10] + found[11]
			}
			return sums, err
		}
		f, err := WrapBatch(&authors, Options{Cache: c, Name: "test.Authors", Timeout: time.Minute, Tags: []string{"author:{0}"}})
		require.NoError(t, err)
		get := func() map[int]int {
			t.Helper()
			found, err := authors(t.Context(), []int{1, 2})
			require.NoError(t, err)
			return found
		}
		assert.Equal(t, map[int]int{1: 211, 2: 212}, get())
		assert.Equal(t, map[int]int{1: 211, 2: 212}, get())
		assert.Equal(t, 1, outerRuns)
		require.NoError(t, c.InvalidateTags(t.Context(), "book:11"))
		assert.Equal(t, map[int]int{1: 211 + ofRun, 2: 212 + ofRun}, get(), "each element inherits the tags of the inner batch")
		assert.Equal(t, [][]int{{10, 11}, {11}}, inner.runs)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:2"))
		get()
		assert.Equal(t, 3, outerRuns)
		assert.Equal(t, [][]int{{10, 11}, {11}}, inner.runs)
		requireIdentity(t, f.Func)
		requireIdentity(t, books.Func)
	})
}

func TestBatchWhoseRedisGoesAwayAfterTheLeasesWereGranted(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		c := b.cache()
		w := wrapShelf(t, c, s, Options{OnCold: Wait})
		s.do = func(context.Context, []int) error {
			b.tap.set(func(t *tap) { t.broken = errors.New("connection refused") })
			return nil
		}
		found, err := w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, tens(1, 2, 3), found, "what was computed is returned")
		s.set(func(s *batchSource) { s.do = nil })
		b.tap.set(func(t *tap) { t.broken = nil })
		awaitBack(c)
		time.Sleep(5 * time.Second)
		found, info, err := w.info(t.Context(), 1, 2, 3)
		require.NoError(t, err)
		assert.Equal(t, tens(1, 2, 3), found)
		assert.Equal(t, SourceCounts{SourceFresh: 3}, info.Elements, "it is stored when Redis is back")
		assert.Empty(t, b.locks())
		assert.Equal(t, []int{3}, s.sizes())
		requireIdentity(t, w.Func)
	})
}

func TestBatchRenewsItsLeasesTogether(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		trips := 0
		count := &pipelines{n: &trips}
		w := wrapShelf(t, b.cache(func(c *Config) { c.Redis.AddHook(count) }), s, Options{Lease: 9 * time.Second})
		_, err := w.get(t.Context(), []int{1000}) // the scripts are known, and the release is registered
		require.NoError(t, err)
		before := 0
		s.do = func(context.Context, []int) error {
			count.reset()
			time.Sleep(10 * time.Second) // virtual
			before = count.sum()
			return nil
		}
		found, err := w.get(t.Context(), upTo(100))
		require.NoError(t, err)
		assert.Len(t, found, 100)
		assert.LessOrEqual(t, before, 3*2, "round trips for three renewals of 100 leases")
		assert.GreaterOrEqual(t, b.tap.count("renew"), 300)
		assert.EqualValues(t, 101, requireIdentity(t, w.Func).Stored)
	})
}

type reader struct{}

func TestBatchWithOtherOptions(t *testing.T) {
	for name, test := range map[string]struct {
		opts Options
		cfg  func(*Config)
	}{
		"sealed":          {Options{}, sealing(1)},
		"sealed and near": {Options{Near: time.Minute}, sealing(1)},
		"JSON":            {Options{}, func(c *Config) { c.Codec = JSON{} }},
		"varying":         {Options{Vary: func(ctx context.Context) string { return ctx.Value(reader{}).(string) }, Near: time.Minute}, nil},
		"early":           {Options{Early: 1, Near: time.Minute, Tags: []string{"book:{0}"}}, nil},
		"verified":        {Options{Verify: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				get := func(ctx context.Context, ids []int) (map[int]string, error) {
					found := map[int]string{}
					for _, id := range ids {
						found[id] = ctx.Value(reader{}).(string) + string(rune('A'+id%26))
					}
					return found, nil
				}
				c := b.cache()
				if test.cfg != nil {
					c = b.cache(test.cfg)
				}
				test.opts.Cache, test.opts.Name, test.opts.Timeout = c, "test.Batch", time.Minute
				f, err := WrapBatch(&get, test.opts)
				require.NoError(t, err)
				for _, who := range []string{"Anna", "Bert", "Anna"} {
					if test.opts.Vary == nil {
						who = "Anna"
					}
					for range 3 {
						found, err := get(context.WithValue(t.Context(), reader{}, who), upTo(40))
						require.NoError(t, err)
						require.Len(t, found, 40)
						for id, value := range found {
							require.Equal(t, who+string(rune('A'+id%26)), value)
						}
						synctest.Wait()
					}
				}
				stats := requireIdentity(t, f.Func)
				want := uint64(1)
				if test.opts.Vary != nil {
					want = 2
				}
				assert.Equal(t, want, stats.BatchRuns, "each id is computed once for each key")
				assert.Equal(t, 40*want, stats.Stored)
				assert.Zero(t, stats.VerifyDiffered)
				assert.Equal(t, test.opts.Verify > 0, stats.Verified > 0)
			})
		})
	}
}

// TestBatchEarlyRefreshesShareARun tests hits of one call that are due together.
func TestBatchEarlyRefreshesShareARun(t *testing.T) {
	for name, test := range map[string]struct {
		near  time.Duration
		bound int
		size  int
		tags  []string
	}{
		"in Redis":  {},
		"near":      {near: time.Hour},
		"tagged":    {near: time.Hour, tags: []string{"book:{0}"}},
		"bounded":   {bound: 1},
		"in chunks": {near: time.Hour, size: 10},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{do: func(_ context.Context, ids []int) error {
					time.Sleep(500 * time.Millisecond * time.Duration(len(ids))) // of the bubble: each id costs 0.5s
					return nil
				}}
				opts := eager
				opts.Freshness = 40 * time.Second // more than all runs of the first call
				opts.Near, opts.MaxConcurrent, opts.BatchSize, opts.Tags = test.near, test.bound, test.size, test.tags
				c := b.cache()
				w := wrapShelf(t, c, s, opts)
				if test.near > 0 {
					awaitBubbleHearing(t, c)
				}
				_, err := w.get(t.Context(), upTo(40))
				require.NoError(t, err)
				time.Sleep(21 * time.Second) // of the bubble
				before := len(s.sizes())
				_, info, err := w.info(t.Context(), upTo(40)...)
				require.NoError(t, err)
				assert.Equal(t, 40, info.Elements[SourceFresh]+info.Elements[SourceNear])
				synctest.Wait()
				after := s.sizes()[before:]
				require.Len(t, after, 1, "one run")
				if test.size > 0 {
					assert.Equal(t, test.size, after[0], "no lease waits for a second run")
				} else {
					assert.Greater(t, after[0], 30, "with nearly all of them, as the dice fall")
				}
				assert.Len(t, b.locks(), after[0])
				time.Sleep(30 * time.Second) // of the bubble: the run ends
				assert.Len(t, s.sizes(), before+1)
				assert.Empty(t, b.locks())
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestBatchRefreshesNothingEarlyWithoutAPlace(t *testing.T) {
	for name, near := range map[string]time.Duration{"in Redis": 0, "near": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{do: func(_ context.Context, ids []int) error {
					time.Sleep(20 * time.Second * time.Duration(len(ids))) // of the bubble
					return nil
				}}
				opts := eager
				opts.Near, opts.MaxConcurrent = near, 1
				c := b.cache()
				w := wrapShelf(t, c, s, opts)
				awaitBubbleHearing(t, c)
				_, err := w.get(t.Context(), []int{1, 2, 3})
				require.NoError(t, err)
				time.Sleep(60 * time.Second) // of the bubble
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = w.get(t.Context(), []int{9})
				}()
				synctest.Wait()
				for range 5 {
					_, info, err := w.info(t.Context(), 1, 2, 3)
					require.NoError(t, err)
					assert.Equal(t, 3, info.Elements[SourceFresh]+info.Elements[SourceNear])
					synctest.Wait()
				}
				assert.Len(t, b.locks(), 1, "a lease is asked for only with a place")
				assert.Len(t, s.sizes(), 2)
				<-done
				time.Sleep(10 * time.Second) // of the bubble
				_, _ = w.get(t.Context(), []int{1, 2, 3})
				synctest.Wait()
				assert.Len(t, s.sizes(), 3)
				time.Sleep(2 * time.Minute) // of the bubble
				assert.True(t, w.Func.Places().Idle(), "the place is given back")
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestBatchThatFailsEndsItsLeasesTogether(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		trips := 0
		count := &pipelines{n: &trips}
		w := wrapShelf(t, b.cache(func(c *Config) { c.Redis.AddHook(count) }), s, Options{Freshness: time.Second, Timeout: time.Hour})
		_, err := w.get(t.Context(), upTo(100)) // the release is registered
		require.NoError(t, err)
		s.do = func(context.Context, []int) error { return errGone }
		for range 2 { // the second time the scripts are known
			time.Sleep(2 * time.Second) // of the bubble
			count.reset()
			b.tap.reset()
			found, info, err := w.info(t.Context(), append(upTo(100), 101, 102, 103)...)
			assert.Equal(t, errGone, err)
			assert.Len(t, found, 100)
			assert.Equal(t, SourceCounts{SourceStale: 100, SourceFailed: 3}, info.Elements)
		}
		assert.GreaterOrEqual(t, b.tap.count("cooldown"), 100)
		assert.GreaterOrEqual(t, b.tap.count("release"), 3)
		assert.LessOrEqual(t, count.sum(), 3, "round trips: the lookups, the leases, and their last steps")
		requireIdentity(t, w.Func)
	})
}

func TestBatchUnderReturnErrorServesNoStaleValue(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		w := wrapShelf(t, b.cache(), s, Options{Freshness: time.Second, OnError: ReturnError})
		_, err := w.get(t.Context(), []int{1, 2})
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // of the bubble
		s.do = func(context.Context, []int) error { return errGone }
		found, info, err := w.info(t.Context(), 1, 2, 3)
		assert.Equal(t, errGone, err)
		assert.Empty(t, found)
		assert.Equal(t, SourceCounts{SourceFailed: 3}, info.Elements)
		s.do = nil
		found, err = w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		assert.Len(t, found, 3, "without a Cooldown")
		requireIdentity(t, w.Func)
	})
}

func TestBatchMissingIDsAreVerified(t *testing.T) {
	for name, opts := range map[string]Options{"in Redis": {}, "near": {Near: time.Hour}, "bounded": {MaxConcurrent: 1}} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{none: map[int]bool{2: true}}
				opts.Verify, opts.Timeout, opts.MissingTimeout = 1, time.Hour, time.Hour
				c := b.cache()
				w := wrapShelf(t, c, s, opts)
				awaitBubbleHearing(t, c)
				for range 2 {
					found, err := w.get(t.Context(), []int{2})
					require.NoError(t, err)
					assert.Empty(t, found)
					settled()
				}
				assert.Equal(t, [2]uint64{1, 0}, verifiedOf(w.Func))
				s.set(func(s *batchSource) { s.none = nil })
				_, err := w.get(t.Context(), []int{2})
				require.NoError(t, err)
				settled()
				assert.Equal(t, [2]uint64{2, 1}, verifiedOf(w.Func), "the id has a value now")
				assert.EqualValues(t, 1, requireIdentity(t, w.Func).BatchRuns, "verifications are none")
			})
		})
	}
}

func TestBatchKeyForIsTheKeyOfTheContext(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		w := wrapShelf(t, b.cache(), &batchSource{}, Options{Vary: tenantOf})
		acme, globex := asTenant(t.Context(), "acme"), asTenant(t.Context(), "globex")
		_, err := w.get(acme, []int{1})
		require.NoError(t, err)
		key, err := w.KeyFor(acme, 1)
		require.NoError(t, err)
		assert.Equal(t, []string{key}, b.keys())
		other, err := w.KeyFor(globex, 1)
		require.NoError(t, err)
		assert.NotEqual(t, key, other)
		_, err = w.Key(1)
		require.ErrorContains(t, err, "use KeyFor")
	})
}

func TestBatchCountsEachIDOnce(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrapShelf(t, c, &batchSource{}, Options{Near: time.Minute})
		awaitBubbleHearing(t, c)
		for _, want := range []SourceCounts{
			{SourceComputed: 2},
			{SourceNear: 3}, // the near cache is asked for each
		} {
			found, info, err := w.info(t.Context(), 1, 2, 1)
			require.NoError(t, err)
			assert.Equal(t, tens(1, 2), found)
			assert.Equal(t, want, info.Elements)
			synctest.Wait()
		}
		assert.EqualValues(t, 5, requireIdentity(t, w.Func).Calls)
	})
}

func TestBatchHandleOfOneIDRefreshesMissingOnes(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"cached": time.Hour, "not cached": 0} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				w := wrapShelf(t, b.cache(), s, Options{MissingTimeout: timeout, Timeout: time.Hour})
				require.NoError(t, w.Func.Refresh(t.Context(), 2))
				s.set(func(s *batchSource) { s.none = map[int]bool{2: true} })
				require.NoError(t, w.Func.Refresh(t.Context(), 2), "as BatchFunc.Refresh")
				found, err := w.Refresh(t.Context(), 2)
				require.NoError(t, err)
				assert.Empty(t, found)
				runs := len(s.sizes())
				found, err = w.get(t.Context(), []int{2})
				require.NoError(t, err)
				assert.Empty(t, found, "the old value is gone")
				assert.Equal(t, timeout > 0, len(s.sizes()) == runs)
				assert.Empty(t, b.locks())
			})
		})
	}
}

func TestBatchOfStaleIDsWaitsForNoPlace(t *testing.T) {
	for _, policy := range []ColdPolicy{Fail, Wait, Compute} {
		t.Run(policy.String(), func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				opts := Options{OnCold: policy, MaxConcurrent: 1, Freshness: time.Second, Timeout: time.Minute}
				w := wrapShelf(t, b.cache(), s, opts)
				_, err := w.get(t.Context(), []int{1, 2})
				require.NoError(t, err)
				time.Sleep(2 * time.Second) // virtual
				s.do = func(context.Context, []int) error {
					time.Sleep(10 * time.Second) // virtual
					return nil
				}
				go func() { _, _ = w.get(t.Context(), []int{3}) }() // has the place
				synctest.Wait()

				began := time.Now()
				found, info, err := w.info(t.Context(), 1, 2)
				require.NoError(t, err)
				assert.Equal(t, tens(1, 2), found)
				assert.Equal(t, SourceCounts{SourceStale: 2}, info.Elements)
				assert.Zero(t, time.Since(began))
				time.Sleep(10 * time.Second) // the run ends
				synctest.Wait()
				assert.True(t, w.Func.Places().Idle())
				requireIdentity(t, w.Func)
			})
		})
	}
}

// Without a place, a batch behaves as a call of another function does: see Options.MaxConcurrent.
func TestBatchIsRefusedWithoutAPlace(t *testing.T) {
	const limit = 3 * time.Second
	call := func(ctx context.Context, w *batched) error {
		_, err := w.get(ctx, []int{3, 4})
		return err
	}
	refresh := func(ctx context.Context, w *batched) error {
		_, err := w.Refresh(ctx, 3, 4)
		return err
	}
	for name, c := range map[string]struct {
		policy ColdPolicy
		away   bool
		do     func(context.Context, *batched) error
		after  time.Duration
	}{
		"Fail while Redis is away": {Fail, true, call, 0},
		"Wait while Redis is away": {Wait, true, call, limit},
		"a refresh":                {Wait, false, refresh, limit},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				s := &batchSource{}
				opts := Options{OnCold: c.policy, MaxConcurrent: 1}
				if c.policy == Wait {
					opts.WaitTimeout = limit
				}
				w := wrapShelf(t, b.cache(), s, opts)
				if c.away {
					b.tap.set(func(tap *tap) { tap.broken = errGone })
					for range severalCalls {
						_, _ = w.get(t.Context(), []int{1})
					}
				}
				s.do = func(context.Context, []int) error {
					time.Sleep(10 * time.Second) // virtual
					return nil
				}
				go func() { _, _ = w.get(t.Context(), []int{1}) }() // has the place
				synctest.Wait()
				held, began := len(b.locks()), time.Now()
				go func() {
					time.Sleep(limit / 2) // virtual
					assert.Len(t, b.locks(), held, "no lease is asked for without a place")
				}()

				var refused *ColdCacheError
				require.ErrorAs(t, c.do(t.Context(), w), &refused)
				assert.Equal(t, []any{3, 4}, refused.IDs)
				assert.Equal(t, 1, refused.MaxConcurrent)
				assert.Equal(t, c.after, time.Since(began))
				time.Sleep(10 * time.Second) // the run ends
				synctest.Wait()
				assert.True(t, w.Func.Places().Idle())
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestBatchThatWaitsForAPlaceServesNothingPastItsTimeout(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		s := &batchSource{}
		opts := Options{OnCold: Wait, WaitTimeout: 5 * time.Second, MaxConcurrent: 1, Freshness: time.Second, Timeout: 4 * time.Second}
		w := wrapShelf(t, b.cache(), s, opts)
		_, err := w.get(t.Context(), []int{1})
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // virtual
		s.do = func(context.Context, []int) error {
			time.Sleep(10 * time.Second) // virtual
			return nil
		}
		go func() { _, _ = w.get(t.Context(), []int{3}) }() // has the place
		synctest.Wait()

		found, err := w.get(t.Context(), []int{1, 2}) // 1 is stale, and 2 is cold
		var refused *ColdCacheError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, []any{1, 2}, refused.IDs)
		assert.Empty(t, found)
		time.Sleep(10 * time.Second) // the run ends
	})
}

func TestBatchWaitsNoLongerThanItsLimits(t *testing.T) {
	const limit = 100 * time.Millisecond
	slow := func(context.Context, []int) error {
		time.Sleep(time.Second) // of the bubble
		return nil
	}
	t.Run("WaitTimeout", func(t *testing.T) {
		inOneBubble(t, func(t *testing.T, b *bubble) {
			s := &batchSource{do: func(ctx context.Context, ids []int) error {
				if ids[0] == 1 {
					return slow(ctx, ids)
				}
				return nil
			}}
			w, other := wrapShelf(t, b.cache(), s, Options{OnCold: Wait, WaitTimeout: limit}), wrapShelf(t, b.cache(), s, Options{OnCold: Wait})
			go func() { _, _ = other.get(t.Context(), []int{1, 2}) }()
			synctest.Wait()
			began := time.Now()
			found, info, err := w.info(t.Context(), 1, 2, 3)
			var cold *ColdCacheError
			require.ErrorAs(t, err, &cold)
			assert.Equal(t, []any{1, 2}, cold.IDs)
			assert.Len(t, found, 1)
			assert.Equal(t, SourceCounts{SourceRefused: 2, SourceComputed: 1}, info.Elements)
			assert.Equal(t, limit, time.Since(began))
			time.Sleep(2 * time.Second) // of the bubble
			requireIdentity(t, w.Func)
		})
	})
	t.Run("SoftTimeout", func(t *testing.T) {
		inOneBubble(t, func(t *testing.T, b *bubble) {
			s := &batchSource{}
			w := wrapShelf(t, b.cache(), s, Options{Freshness: time.Second, SoftTimeout: limit})
			_, err := w.get(t.Context(), []int{1, 2})
			require.NoError(t, err)
			time.Sleep(2 * time.Second) // of the bubble
			s.set(func(s *batchSource) { s.do = slow })
			began := time.Now()
			found, info, err := w.info(t.Context(), 1, 2)
			require.NoError(t, err)
			assert.Equal(t, tens(1, 2), found)
			assert.Equal(t, SourceCounts{SourceStale: 2}, info.Elements)
			assert.Equal(t, limit, time.Since(began))
			time.Sleep(1500 * time.Millisecond) // of the bubble
			found, err = w.get(t.Context(), []int{1, 2})
			require.NoError(t, err)
			assert.Equal(t, map[int]int{1: 10 + ofRun, 2: 20 + ofRun}, found, "the run continues, and is stored")
			requireIdentity(t, w.Func)
		})
	})
}

// In TestBatchCallerMayReuseItsSliceAfterItHasLeft the caller writes other ids into its slice while the
// function runs for it, and before that.
func TestBatchCallerMayReuseItsSliceAfterItHasLeft(t *testing.T) {
	for form, wrapForm := range map[string]func(*Cache, *batchSource, Options) manyInts{
		"WrapBatch": func(c *Cache, s *batchSource, opts Options) manyInts {
			opts.Cache, opts.Name = c, "test.Shelf"
			get := s.get
			_, err := WrapBatch(&get, opts)
			require.NoError(t, err)
			return get
		},
		"WrapStruct": func(c *Cache, s *batchSource, opts Options) manyInts {
			v := &struct {
				Shelf manyInts `fncache:"batch,name=test.Shelf"`
			}{s.get}
			opts.Cache = c
			_, err := WrapStruct(v, opts)
			require.NoError(t, err)
			return v.Shelf
		},
	} {
		for when, opts := range map[string]Options{
			"while it runs":                 {},
			"before it runs, under Wait":    {MaxConcurrent: 1, OnCold: Wait},
			"before it runs, under Compute": {MaxConcurrent: 1, OnCold: Compute},
		} {
			t.Run(form+" "+when, func(t *testing.T) {
				inOneBubble(t, func(t *testing.T, b *bubble) {
					s := &batchSource{do: func(context.Context, []int) error {
						time.Sleep(time.Second) // of the bubble
						return nil
					}}
					opts.Timeout = time.Hour
					get := wrapForm(b.cache(), s, opts)
					if opts.MaxConcurrent > 0 {
						go func() { _, _ = get(t.Context(), []int{9}) }()
						synctest.Wait()
					}
					ids := []int{1, 2}
					ctx, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer end()
					_, err := get(ctx, ids)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					ids[0], ids[1] = 2, 1
					time.Sleep(5 * time.Second) // of the bubble
					found, err := get(t.Context(), []int{1, 2})
					require.NoError(t, err)
					assert.Equal(t, 10, found[1]%ofRun)
					assert.Equal(t, 20, found[2]%ofRun)
				})
			})
		}
	}
}

// A pickyValue is not stored if it is 20.
type pickyValue struct{ n int }

func (v pickyValue) MarshalBinary() ([]byte, error) {
	if v.n == 20 {
		return nil, errGone
	}
	return []byte{byte(v.n)}, nil
}

func (v *pickyValue) UnmarshalBinary(b []byte) error {
	v.n = int(b[0])
	return nil
}

// inBatchForms runs test with a batch function that WrapBatch wraps, and with a field.
func inBatchForms[K comparable, V any](t *testing.T, opts Options, original func(context.Context, []K) (map[K]V, error),
	test func(t *testing.T, b *bubble, f *Func, get func(context.Context, []K) (map[K]V, error)),
) {
	t.Helper()
	type batchFunc = func(context.Context, []K) (map[K]V, error)
	opts.Name, opts.Timeout = "test.Form", time.Hour
	for name, wrapForm := range map[string]func(opts Options) (*Func, batchFunc, error){
		"WrapBatch": func(opts Options) (*Func, batchFunc, error) {
			get := original
			f, err := WrapBatch(&get, opts)
			if err != nil {
				return nil, nil, err
			}
			return f.Func, get, nil
		},
		"WrapStruct": func(opts Options) (*Func, batchFunc, error) {
			v := &struct {
				Get batchFunc `fncache:"batch"`
			}{original}
			funcs, err := WrapStruct(v, opts)
			return funcs["Get"], v.Get, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				opts := opts
				opts.Cache = b.cache()
				f, get, err := wrapForm(opts)
				require.NoError(t, err)
				awaitBubbleHearing(t, opts.Cache)
				test(t, b, f, get)
				requireIdentity(t, f)
			})
		})
	}
}

func TestBatchStoresTheValuesThatCanBeStored(t *testing.T) {
	var runs [][]int
	inBatchForms(t, Options{OnCold: Wait}, func(_ context.Context, ids []int) (map[int]pickyValue, error) {
		runs = append(runs, slices.Clone(ids))
		found := map[int]pickyValue{}
		for _, id := range ids {
			found[id] = pickyValue{10 * id}
		}
		return found, nil
	}, func(t *testing.T, b *bubble, f *Func, get func(context.Context, []int) (map[int]pickyValue, error)) {
		runs = nil
		for range 3 {
			found, err := get(t.Context(), []int{1, 2, 3})
			require.NoError(t, err)
			assert.Equal(t, map[int]pickyValue{1: {10}, 2: {20}, 3: {30}}, found)
		}
		assert.Equal(t, [][]int{{1, 2, 3}, {2}, {2}}, runs)
		assert.Len(t, b.log.About("does not survive encoding"), 1)
		assert.EqualValues(t, 2, f.Stats().Stored)
	})
}

// The callers and the function change all that they are given.
func TestBatchCallersShareNoMemory(t *testing.T) {
	runs := 0
	inBatchForms(t, Options{Near: time.Hour, MissingTimeout: time.Hour}, func(_ context.Context, ids []int) (map[int][]int, error) {
		runs++
		shared := []int{7}
		found := map[int][]int{99: {1}}
		for i, id := range ids {
			if id != 5 {
				found[id] = shared
			}
			ids[i] = -1
		}
		return found, nil
	}, func(t *testing.T, b *bubble, f *Func, get func(context.Context, []int) (map[int][]int, error)) {
		runs = 0
		for range 4 { // computed, near
			ids := []int{1, 2, 5}
			found, err := get(t.Context(), ids)
			require.NoError(t, err)
			assert.Equal(t, []int{1, 2, 5}, ids)
			require.Equal(t, map[int][]int{1: {7}, 2: {7}}, found)
			found[1][0], found[5] = 8, nil
			require.Equal(t, []int{7}, found[2], "each id has its own value")
			delete(found, 2)
			clear(ids)
			synctest.Wait()
		}
		assert.Equal(t, 1, runs)
		assert.Positive(t, f.Stats().Near)
	})
}
