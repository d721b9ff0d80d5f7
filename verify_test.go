package fncache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
)

// verifyAll verifies each hit.
var verifyAll = Options{Verify: 1}

// settled waits until what a hit has set off has ended, in a bubble.
func settled() {
	time.Sleep(*SettleTime + time.Second) // virtual
	synctest.Wait()
}

// verifiedOf returns Verified and VerifyDiffered.
func verifiedOf(f *Func) [2]uint64 {
	s := f.Stats()
	return [2]uint64{s.Verified, s.VerifyDiffered}
}

func TestAFreshHitIsVerifiedInTheBackground(t *testing.T) {
	for name, near := range map[string]time.Duration{"in Redis": 0, "near": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				opts := verifyAll
				opts.Near = near
				s := &source{took: time.Second, do: func(context.Context, int) (int, error) { return 7, nil }}
				w := wrap(t, b.cache(), s, opts)
				if near > 0 {
					awaitBubbleHearing(t, w.Opts().Cache)
				}
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
				hit := w.get(t.Context(), "a")
				assert.Equal(t, 7, hit.value)
				assert.Zero(t, hit.took, "the caller does not wait")
				settled()
				assert.Equal(t, 2, s.count())
				assert.Equal(t, [2]uint64{1, 0}, verifiedOf(w.Func))
				stats := requireIdentity(t, w.Func)
				assert.EqualValues(t, 1, stats.Computations, "a verification is none")
				assert.Equal(t, time.Second, stats.ComputeTime)
				assert.Empty(t, b.log.About("verif"))
				assert.Empty(t, b.log.About("differs"))
			})
		})
	}
}

func TestADifferenceIsCountedAndLoggedWithoutValues(t *testing.T) {
	for name, near := range map[string]time.Duration{"in Redis": 0, "near": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				opts := verifyAll
				opts.Near = near
				s := &source{do: func(_ context.Context, run int) (int, error) { return 1000 + run, nil }}
				w := wrap(t, b.cache(), s, opts)
				if near > 0 {
					awaitBubbleHearing(t, w.Opts().Cache)
				}
				w.get(t.Context(), "secret")
				assert.Equal(t, 1001, w.get(t.Context(), "secret").value)
				settled()
				assert.Equal(t, [2]uint64{1, 1}, verifiedOf(w.Func))
				assert.Equal(t, 1001, w.get(t.Context(), "secret").value, "it changes nothing else")
				settled()
				assert.Equal(t, [2]uint64{2, 2}, verifiedOf(w.Func))
				lines := b.log.About("a fresh entry differs from the present result of the function")
				require.Len(t, lines, 1)
				assert.Contains(t, lines[0], "func=test.Source")
				for _, value := range []string{"secret", "1001", "1002"} {
					assert.NotContains(t, lines[0], value)
				}
			})
		})
	}
}

// The entry changes while it is verified: a difference from an entry that is no longer served
// does not count.
func TestADifferenceFromAnEntryThatIsReplacedOrOldDoesNotCount(t *testing.T) {
	for name, meanwhile := range map[string]func(w *wrapped, c *Cache){
		"invalidated":            func(w *wrapped, _ *Cache) { _ = w.Invalidate(context.Background(), "a") },
		"expired":                func(w *wrapped, _ *Cache) { _ = w.Expire(context.Background(), "a") },
		"refreshed":              func(w *wrapped, _ *Cache) { _ = w.Refresh(context.Background(), "a") },
		"its tag is invalidated": func(_ *wrapped, c *Cache) { _ = c.InvalidateTags(context.Background(), "books") },
		"its tag is expired":     func(_ *wrapped, c *Cache) { _ = c.ExpireTags(context.Background(), "books") },
		"it has become stale":    func(*wrapped, *Cache) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				s := &source{}
				w := wrap(t, c, s, Options{Verify: 1, Tags: []string{"books"}, Freshness: 20 * time.Second})
				w.get(t.Context(), "a")
				verified := make(chan struct{})
				s.set(func(s *source) {
					s.do = func(_ context.Context, run int) (int, error) {
						if run == 2 {
							close(verified)
						}
						return run, nil
					}
				})
				time.Sleep(19500 * time.Millisecond) // virtual: the last look comes after Freshness
				w.get(t.Context(), "a")
				<-verified // between the run and the last look
				meanwhile(w, c)
				settled()
				assert.Equal(t, [2]uint64{}, verifiedOf(w.Func))
				assert.Empty(t, b.log.About("differs"))
			})
		})
	}
}

func TestMapsAreComparedWithSortedKeys(t *testing.T) {
	for name, codec := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "own": ownCodec{}} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				fn := func(context.Context, string) (map[string]map[int]string, error) {
					m := make(map[string]map[int]string)
					for i := range 50 {
						m[fmt.Sprint(i)] = map[int]string{i: "a", i + 1: "b", i + 2: "c"}
					}
					return m, nil
				}
				f, err := Wrap(&fn, Options{Cache: b.cache(func(c *Config) { c.Codec = codec }), Name: "test.Map", Timeout: time.Hour, Verify: 1})
				require.NoError(t, err)
				for range 10 {
					_, err := fn(t.Context(), "a")
					require.NoError(t, err)
					settled()
				}
				assert.Equal(t, [2]uint64{9, 0}, verifiedOf(f))
				assert.Empty(t, b.log.About("verified"))
			})
		})
	}
}

// ownCodec is a codec of a user.
type ownCodec struct{ CBOR }

func (ownCodec) Name() string { return "own" }

// salted is encoded otherwise each time.
type salted struct{ n int }

func (s salted) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint64([]byte{byte(s.n)}, rand.Uint64()), nil
}

func (s *salted) UnmarshalBinary(b []byte) error {
	s.n = int(b[0])
	return nil
}

func TestAFunctionWhoseEncodingDiffersIsNotVerified(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		runs := 0
		fn := func(context.Context, string) (salted, error) { runs++; return salted{7}, nil }
		f, err := Wrap(&fn, Options{Cache: b.cache(), Name: "test.Salted", Timeout: time.Hour, Verify: 1})
		require.NoError(t, err)
		for range 5 {
			got, err := fn(t.Context(), "a")
			require.NoError(t, err)
			assert.Equal(t, 7, got.n)
			settled()
		}
		assert.Equal(t, 2, runs, "and is not run for it again")
		assert.Equal(t, [2]uint64{}, verifiedOf(f))
		require.Len(t, b.log.About("the encoding of the same value differs"), 1)
	})
}

// A run without a result to compare is not a difference, and is not logged.
func TestARunWithoutAResultIsNoVerification(t *testing.T) {
	for name, run := range map[string]func(context.Context) (int, error){
		"an error": func(context.Context) (int, error) { return 0, errors.New("broken") },
		"NoStore": func(ctx context.Context) (int, error) {
			NoStore(ctx)
			return 2, nil
		},
		"past ComputeTimeout": func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 2, nil
		},
		"a panic":                  func(context.Context) (int, error) { panic("secret") },
		"the end of the goroutine": func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				s := &source{}
				w := wrap(t, b.cache(), s, Options{Verify: 1, ComputeTimeout: 3 * time.Second})
				w.get(t.Context(), "a")
				s.set(func(s *source) {
					s.do = func(ctx context.Context, _ int) (int, error) { return run(ctx) }
				})
				for range 3 {
					assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
					time.Sleep(5 * time.Second) // virtual
				}
				assert.Equal(t, 4, s.count(), "it goes on with the next hit")
				assert.Equal(t, [2]uint64{}, verifiedOf(w.Func))
				assert.Empty(t, b.log.About("secret"))
			})
		})
	}
}

func TestAnErrorThatIsAnAnswerIsVerified(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		gone := true
		s := &source{do: func(context.Context, int) (int, error) {
			if gone {
				return 0, fmt.Errorf("deep: %w", errGone)
			}
			return 5, nil
		}}
		w := wrap(t, b.cache(), s, Options{Verify: 1, CacheErrors: []error{errGone}, ErrorTimeout: 50 * time.Second})
		w.get(t.Context(), "a")
		assert.Equal(t, errGone, w.get(t.Context(), "a").err)
		settled()
		assert.Equal(t, [2]uint64{1, 0}, verifiedOf(w.Func))
		s.set(func(*source) { gone = false })
		assert.Equal(t, errGone, w.get(t.Context(), "a").err)
		settled()
		assert.Equal(t, [2]uint64{2, 1}, verifiedOf(w.Func), "the book is there now")
	})
}

func TestAVerificationTakesAPlaceOfMaxConcurrent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 10 * time.Second}
		w := wrap(t, b.cache(), s, Options{Verify: 1, MaxConcurrent: 1, OnCold: Wait})
		w.get(t.Context(), "a")
		w.get(t.Context(), "a") // is verified from now on
		synctest.Wait()
		began := time.Now()
		assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source)
		assert.Equal(t, 20*time.Second, time.Since(began), "the other waits for the place")
		other := w.begin(t.Context(), "c")
		time.Sleep(time.Second) // virtual
		runs := s.count()
		w.get(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, runs, s.count(), "no place is free, so nothing is verified")
		<-other
		settled()
		assert.EqualValues(t, 1, w.Stats().Verified)
	})
}

func TestOneVerificationOfAFunctionRunsAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var now, most atomic.Int32
		s := &source{do: func(context.Context, int) (int, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second) // virtual
			now.Add(-1)
			return 7, nil
		}}
		w, other := wrap(t, b.cache(), s, verifyAll), wrap(t, b.cache(), s, verifyAll) // one function
		for _, arg := range []string{"a", "b", "c"} {
			w.get(t.Context(), arg)
		}
		for range 10 {
			for _, arg := range []string{"a", "b", "c"} {
				w.get(t.Context(), arg)
				other.get(t.Context(), arg)
			}
			time.Sleep(500 * time.Millisecond) // virtual
		}
		settled()
		assert.EqualValues(t, 1, most.Load())
		assert.EqualValues(t, s.count()-3, w.Stats().Verified+other.Stats().Verified)
	})
}

func TestOnlyFreshHitsAreVerified(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, Options{Verify: 1, OnCold: Wait, OnStale: Background, Freshness: 10 * time.Second, Timeout: time.Hour})
		w.burst(t.Context(), 10, "a") // computed, waited
		time.Sleep(time.Minute)       // virtual
		w.burst(t.Context(), 10, "a") // stale
		w.get(WithBypass(t.Context()), "a")
		w.get(WithRefresh(t.Context()), "a")
		settled()
		assert.EqualValues(t, 4, s.count())
		assert.Zero(t, w.Stats().Verified)
	})
}

// In TestAVerifiedFunctionMayCallItself a call of the same key runs directly, as in a
// computation, and does not get the entry that is verified.
func TestAVerifiedFunctionMayCallItself(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, verifyAll)
		base := 10
		s.do = func(ctx context.Context, run int) (int, error) {
			if strings.HasPrefix(fmt.Sprint(ctx.Value(depthKey{})), "deep") {
				return base, nil
			}
			n, err := w.call(context.WithValue(ctx, depthKey{}, "deep"), "a")
			return n + 1, err
		}
		assert.Equal(t, 11, w.get(t.Context(), "a").value)
		base = 20
		assert.Equal(t, 11, w.get(t.Context(), "a").value)
		settled()
		assert.Equal(t, [2]uint64{1, 1}, verifiedOf(w.Func))
	})
}

type depthKey struct{}

func TestCloseEndsAVerification(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, Options{Verify: 1, ComputeTimeout: time.Hour})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.took = time.Hour })
		w.get(t.Context(), "a")
		synctest.Wait()
		began := time.Now()
		require.NoError(t, c.Close())
		assert.Less(t, time.Since(began), time.Second)
	})
}

func TestFreshHitsAreVerifiedOnServers(t *testing.T) {
	defer func(d time.Duration) { *SettleTime = d }(*SettleTime)
	*SettleTime = 10 * time.Millisecond
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		c := newTestCache(t, Config{Redis: server.Client(), Logger: slog.New(&logtest.Handler{})})
		for name, opts := range map[string]Options{"plain": {Timeout: time.Hour, Verify: 1}, "tagged": {Timeout: time.Hour, Verify: 1, Tags: []string{"books"}}} {
			t.Run(name, func(t *testing.T) {
				opts.Name = "test." + name
				s := &source{}
				w := wrap(t, c, s, opts)
				w.get(t.Context(), "a")
				require.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
				require.Eventually(t, func() bool { return w.Stats().VerifyDiffered == 1 }, 10*time.Second, time.Millisecond)
				assert.Equal(t, 1, w.get(t.Context(), "a").value)
			})
		}
	})
}

func TestVerifyIsCheckedAndReadFromTags(t *testing.T) {
	for _, bad := range []float64{-0.1, 1.1} {
		_, err := Options{Timeout: time.Minute, Verify: bad}.WithDefaults(true)
		assertFaults(t, err, fmt.Sprintf("Verify is %v; it is a share of the hits, from 0 to 1", bad))
	}
	got, err := ParseTag("verify=0.001", Options{})
	require.NoError(t, err)
	assert.Equal(t, Options{Verify: 0.001}, got)
}
