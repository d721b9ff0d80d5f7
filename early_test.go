package fncache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eager are options under which nearly each roll refreshes from half of Freshness on.
var eager = Options{Early: 1000, Freshness: 100 * time.Second, Timeout: time.Hour}

// seconds is a source whose function takes that long.
func seconds(n int) *source { return &source{took: time.Duration(n) * time.Second} }

// untilRun calls until the function has begun to run more than n times, and reports whether it has
// within that many calls.
func untilRun(w *wrapped, s *source, n, calls int) bool {
	for range calls {
		w.get(context.Background(), "a")
		synctest.Wait()
		if s.count() > n {
			return true
		}
	}
	return false
}

// TestABusyKeyIsNeverStaleAndComputedOnceAtATime tests the aim of Options.Early, with a key that
// is requested 100 times while it is computed.
func TestABusyKeyIsNeverStaleAndComputedOnceAtATime(t *testing.T) {
	const cost, freshness, rounds = time.Second, 40 * time.Second, 5
	for name, test := range map[string]struct {
		processes int
		near      time.Duration
		tags      []string
	}{"one process": {1, 0, nil}, "three processes": {3, 0, nil}, "near": {3, time.Hour, nil}, "tagged": {1, 0, []string{"books"}}} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				var running, most, runs atomic.Int32
				load := func(context.Context, string) (int, error) {
					runs.Add(1)
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(cost) // virtual
					running.Add(-1)
					return 1, nil
				}
				var funcs []*Func
				var calls []stringFunc
				for range test.processes {
					c := b.cache()
					fn := load
					f, err := Wrap(&fn, Options{Cache: c, Name: "test.Busy", Shared: true, Early: 1, Freshness: freshness, Timeout: time.Hour, Near: test.near, Tags: test.tags})
					require.NoError(t, err)
					if test.near > 0 {
						awaitBubbleHearing(t, c)
					}
					funcs, calls = append(funcs, f), append(calls, fn)
				}
				_, err := calls[0](t.Context(), "a")
				require.NoError(t, err)
				began := time.Now()
				for i := 0; time.Since(began) < rounds*freshness; i++ {
					_, err := calls[i%len(calls)](t.Context(), "a")
					require.NoError(t, err)
					time.Sleep(cost / 25) // virtual
				}
				for _, f := range funcs {
					s := requireIdentity(t, f)
					assert.Zero(t, s.Stale+s.Waited+s.Refused, "%+v", s)
				}
				assert.EqualValues(t, 1, most.Load(), "computed once at a time")
				// An entry is refreshed 4 costs before its end in the mean, and 12 at most, unless
				// something happens that does once in 1,600 such tests.
				assert.InDelta(t, rounds*freshness.Seconds()/(freshness-4*cost).Seconds(), float64(runs.Load()-1), 1.5)
			})
		})
	}
}

func TestWithoutEarlyABusyKeyIsServedStaleWhileItIsComputed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), seconds(1), Options{Freshness: 20 * time.Second, Timeout: time.Hour, OnStale: Background})
		for range 300 {
			w.get(t.Context(), "a")
			time.Sleep(100 * time.Millisecond) // virtual
		}
		assert.InDelta(t, 10, w.Stats().Stale, 2)
	})
}

func TestTheFreshEntryStaysAtHandWhileItIsRefreshed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := seconds(10)
		w, other := wrap(t, b.cache(), s, eager), wrap(t, b.cache(), s, eager)
		w.get(t.Context(), "a")
		time.Sleep(40 * time.Second) // virtual
		assert.False(t, untilRun(w, s, 1, 20), "not before half of Freshness")
		time.Sleep(20 * time.Second) // virtual
		require.True(t, untilRun(w, s, 1, 20))
		for range 20 {
			assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
			assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(other.get(t.Context(), "a")))
		}
		assert.Equal(t, 2, s.count(), "nobody else computes")
		time.Sleep(11 * time.Second) // virtual
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(other.get(t.Context(), "a")))
		assert.EqualValues(t, 2, w.Stats().Computations)
	})
}

func TestAnEntryWhoseRefreshOutlastsItsFreshnessBecomesStale(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := seconds(10)
		w := wrap(t, b.cache(), s, eager)
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.took = 60 * time.Second })
		time.Sleep(60 * time.Second) // virtual
		require.True(t, untilRun(w, s, 1, 20))
		time.Sleep(50 * time.Second) // virtual
		assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(w.get(t.Context(), "a")))
		time.Sleep(20 * time.Second) // virtual
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
	})
}

func TestAFailureToRefreshEarlyCoolsDownAndTheEntryIsServed(t *testing.T) {
	for name, fail := range map[string]func(context.Context, int) (int, error){
		"an error": func(context.Context, int) (int, error) { return 0, errGone },
		"a panic":  func(context.Context, int) (int, error) { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				opts := eager
				opts.Cooldown = 15 * time.Second
				s := seconds(10)
				w, other := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
				w.get(t.Context(), "a")
				s.set(func(s *source) { s.took, s.do = 0, fail })
				time.Sleep(60 * time.Second) // virtual
				require.True(t, untilRun(w, s, 1, 20))
				assert.False(t, untilRun(w, s, 2, 20), "left alone for Cooldown")
				assert.False(t, untilRun(other, s, 2, 20), "in the whole fleet")
				assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
				time.Sleep(16 * time.Second) // virtual
				assert.True(t, untilRun(other, s, 2, 20), "and tried again")
				require.NotEmpty(t, b.log.About("computation failed"))
			})
		})
	}
}

// In TestAProcessThatKeepsAnOldEntryAsksRedisBeforeItComputes Redis has a newer entry than the
// near cache, and the process received no event about it.
func TestAProcessThatKeepsAnOldEntryAsksRedisBeforeItComputes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := eager
		opts.Near = time.Hour
		s := seconds(10)
		here, there := b.cache(), b.cache()
		w, other := wrap(t, here, s, opts), wrap(t, there, s, Options{Freshness: opts.Freshness, Timeout: opts.Timeout})
		awaitBubbleHearing(t, here)
		w.get(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		raw := must(b.redis.Get(must(w.Key("a"))))
		require.NoError(t, other.Refresh(t.Context(), "b"))
		e := entryOf(here.Clock().Now(), 7, []byte{0x81, 0x18, 0x63}) // as if stored elsewhere
		require.NoError(t, b.redis.Set(must(w.Key("a")), raw[:costAt-8]+e[costAt-8:costAt]+raw[costAt:idAt]+e[idAt:]))
		runs := s.count()
		for range 20 {
			w.get(t.Context(), "a")
			synctest.Wait()
		}
		assert.Equal(t, runs, s.count())
		assert.Equal(t, outcome{value: 99, source: SourceNear}, timeless(w.get(t.Context(), "a")), "it is taken in")
	})
}

// In TestAnEntryThatChangedBeforeTheLeaseIsTakenIn the entry changes between the lookup and the
// request for the lease.
func TestAnEntryThatChangedBeforeTheLeaseIsTakenIn(t *testing.T) {
	for name, tags := range map[string][]string{"plain": nil, "tagged": {"books"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				opts := eager
				opts.Tags = tags
				s := seconds(10)
				w, other := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
				w.get(t.Context(), "a")
				time.Sleep(60 * time.Second) // virtual
				b.tap.on("acquire", func() { assert.NoError(t, other.Refresh(t.Context(), "a")) })
				for s.count() == 1 {
					w.get(t.Context(), "a")
					time.Sleep(time.Second) // virtual
				}
				time.Sleep(30 * time.Second) // virtual
				assert.Equal(t, 2, s.count(), "the one of Refresh")
				assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
			})
		})
	}
}

func TestAnEntryThatIsInvalidatedWhileItIsRefreshedEarlyIsNotBroughtBack(t *testing.T) {
	for name, opts := range map[string]Options{"plain": eager, "tagged": {Early: eager.Early, Freshness: eager.Freshness, Timeout: eager.Timeout, OnCold: Wait, Tags: []string{"books"}}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				s := seconds(10)
				w := wrap(t, c, s, opts)
				w.get(t.Context(), "a")
				time.Sleep(60 * time.Second) // virtual
				require.True(t, untilRun(w, s, 1, 20))
				if opts.Tags != nil {
					require.NoError(t, c.InvalidateTags(t.Context(), "books"))
				} else {
					require.NoError(t, w.Invalidate(t.Context(), "a"))
				}
				assert.Equal(t, outcome{value: 3, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
				time.Sleep(20 * time.Second) // virtual
				assert.Equal(t, outcome{value: 3, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
			})
		})
	}
}

// In TestAnEntryThatIsRefreshedEarlyHasTheTagsOfThatRun the function adds a tag that only its result
// tells, and the entry is refreshed from the near cache.
func TestAnEntryThatIsRefreshedEarlyHasTheTagsOfThatRun(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := eager
		opts.Near, opts.Tags = time.Hour, []string{}
		s := &source{took: 10 * time.Second, do: func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, fmt.Sprint("shelf:", run))
			return run, nil
		}}
		here, elsewhere := b.cache(), b.cache()
		w := wrap(t, here, s, opts)
		w.Bound() // which subscribes
		awaitBubbleHearing(t, here)
		w.get(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		synctest.Wait()              // until it is known that events are still received
		assert.Equal(t, outcome{value: 1, source: SourceNear}, timeless(w.get(t.Context(), "a")))
		require.True(t, untilRun(w, s, 1, 20))
		time.Sleep(11 * time.Second) // virtual
		require.NoError(t, elsewhere.InvalidateTags(t.Context(), "shelf:1"))
		synctest.Wait()
		assert.Equal(t, outcome{value: 2, source: SourceNear}, timeless(w.get(t.Context(), "a")), "the tag of the first run")
		require.NoError(t, elsewhere.InvalidateTags(t.Context(), "shelf:2"))
		synctest.Wait()
		assert.Equal(t, outcome{value: 3, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
	})
}

// In TestATagThatIsInvalidatedDuringAnEarlyRefreshInvalidatesItsResult the run adds the tag after that.
func TestATagThatIsInvalidatedDuringAnEarlyRefreshInvalidatesItsResult(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := eager
		opts.Near, opts.Tags = time.Hour, []string{}
		here, elsewhere := b.cache(), b.cache()
		s := &source{took: 10 * time.Second, do: func(ctx context.Context, run int) (int, error) {
			if run == 2 {
				assert.NoError(t, elsewhere.InvalidateTags(context.WithoutCancel(ctx), "shelf:2"))
				time.Sleep(time.Second) // virtual
			}
			AddTags(ctx, fmt.Sprint("shelf:", run))
			return run, nil
		}}
		w := wrap(t, here, s, opts)
		w.Bound() // which subscribes
		awaitBubbleHearing(t, here)
		w.get(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		require.True(t, untilRun(w, s, 1, 20))
		time.Sleep(20 * time.Second) // virtual
		assert.Equal(t, outcome{value: 3, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
	})
}

func TestNothingIsRefreshedEarlyWithoutAPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := eager
		opts.MaxConcurrent = 1
		s := seconds(10)
		w := wrap(t, b.cache(), s, opts)
		w.get(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		busy := w.begin(t.Context(), "b")
		synctest.Wait()
		assert.False(t, untilRun(w, s, 2, 20))
		<-busy
		assert.True(t, untilRun(w, s, 2, 20))
	})
}

// Only a call that is answered with a fresh entry refreshes it.
func TestOnlyHitsOfCallsRefreshEarly(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var runs atomic.Int32
		fn := func(context.Context, string) (int, error) {
			runs.Add(1)
			time.Sleep(10 * time.Second) // virtual
			return 1, nil
		}
		opts := eager
		opts.Cache, opts.Name = b.cache(), "test.Peeked"
		h, err := Wrap1(&fn, opts)
		require.NoError(t, err)
		_, _ = fn(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		for range 20 {
			_, info, ok, err := h.Peek(t.Context(), "a")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, SourceFresh, info.Source)
			synctest.Wait()
		}
		assert.EqualValues(t, 1, runs.Load())
	})
}

// In TestTheCallerWhoseHitRefreshesOwnsItsResult the caller changes its result, and the function
// fails; other callers still get the unchanged entry.
func TestTheCallerWhoseHitRefreshesOwnsItsResult(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var runs atomic.Int32
		fn := func(context.Context, string) ([]int, error) {
			time.Sleep(10 * time.Second) // virtual
			if runs.Add(1) > 1 {
				time.Sleep(20 * time.Second) // virtual
				return nil, errGone
			}
			return []int{1, 2, 3}, nil
		}
		opts := eager
		opts.Cache, opts.Name, opts.OnStale = b.cache(), "test.Owned", Background
		must(Wrap(&fn, opts))
		_, _ = fn(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		for range 100 {
			got, err := fn(t.Context(), "a")
			require.NoError(t, err)
			require.Equal(t, []int{1, 2, 3}, got)
			clear(got)
			time.Sleep(time.Second) // virtual
		}
		assert.Greater(t, runs.Load(), int32(1))
		time.Sleep(time.Minute) // virtual: the last run ends
	})
}

func TestTheDiceGoByTheLifetimeOfTheEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 10 * time.Second, do: lasting(1000*time.Second, time.Hour).do}
		w := wrap(t, b.cache(), s, eager)
		w.get(t.Context(), "a")
		time.Sleep(400 * time.Second) // virtual
		assert.False(t, untilRun(w, s, 1, 20), "not before half of it")
		time.Sleep(200 * time.Second) // virtual
		assert.True(t, untilRun(w, s, 1, 20))
	})
}

func TestAnErrorThatIsAnAnswerIsRefreshedEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 10 * time.Second, do: func(context.Context, int) (int, error) { return 0, errGone }}
		w := wrap(t, b.cache(), s, Options{Early: 1000, CacheErrors: []error{errGone}, ErrorTimeout: 100 * time.Second})
		w.get(t.Context(), "a")
		time.Sleep(60 * time.Second) // virtual
		require.True(t, untilRun(w, s, 1, 20))
		time.Sleep(60 * time.Second) // virtual: past the first ErrorTimeout
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

// TestABurstOfDueHitsComputesOnce runs on real servers, with processes that find the entry due at
// the same moment.
func TestABurstOfDueHitsComputesOnce(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		for name, test := range map[string]struct {
			tags []string
			seal [][]byte
			near time.Duration
		}{"plain": {}, "tagged": {tags: []string{"books"}}, "sealed": {seal: [][]byte{sealKey(1)}}, "near": {near: time.Hour}} {
			t.Run(name, func(t *testing.T) {
				let := make(chan struct{}) // closed when all calls but one are answered
				s := &source{took: 50 * time.Millisecond, do: func(_ context.Context, run int) (int, error) {
					if run > 1 {
						<-let
					}
					return run, nil
				}}
				opts := Options{Name: "test." + name, Early: 1000, Freshness: time.Hour, Timeout: 2 * time.Hour, Tags: test.tags, Near: test.near}
				var all []*wrapped
				for range 3 {
					c := newTestCache(t, Config{Redis: server.Client(), Seal: test.seal})
					all = append(all, wrap(t, c, s, opts))
				}
				all[0].get(t.Context(), "a")
				for _, w := range all {
					w.get(t.Context(), "a")
					w.Opts().Cache.Clock().Shift(59*time.Minute + 59*time.Second) // so the dice fall nearly each time
				}
				var wg sync.WaitGroup
				for _, w := range all {
					wg.Go(func() {
						for range 10 {
							assert.Equal(t, 1, w.get(t.Context(), "a").value)
						}
					})
				}
				wg.Wait()
				close(let)
				require.Eventually(t, func() bool { return all[0].get(t.Context(), "a").value == 2 }, 10*time.Second, time.Millisecond)
				assert.Equal(t, 2, s.count())
			})
		}
	})
}

func TestEarlyIsCheckedAndReadFromTags(t *testing.T) {
	for _, bad := range []float64{-0.1, 1000.1} {
		_, err := Options{Timeout: time.Minute, Early: bad}.WithDefaults(true)
		assertFaults(t, err, fmt.Sprintf("Early is %v; it is a factor from 0 to 1000", bad))
	}
	got, err := ParseTag("early=1.5", Options{})
	require.NoError(t, err)
	assert.Equal(t, Options{Early: 1.5}, got)
	_, err = ParseTag("early=soon", Options{})
	assertFaults(t, err, `early: "soon" is not a number; write one as in 1 or 0.5`)
}
