package fncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

// This file tests results that cannot be stored, and entries that cannot always be read.

// sealed hides what it refers to, and does not encode.
type sealed struct{ at *int }

func (sealed) MarshalBinary() ([]byte, error)     { return nil, errors.New("sealed") }
func (*sealed) UnmarshalBinary(_ []byte) error    { return errors.New("sealed") }
func notEncodable(run int) []float64              { return []float64{float64(run), math.NaN()} }
func asJSON(c *Config)                            { c.Codec = JSON{} }
func (b *bubble) lockOf(f *Func, a ...any) string { return must(f.Key(a...)) + LockSuffix }

// crowd calls from n goroutines at once, and returns when all have their answers.
func crowd(n int, call func(i int)) (took time.Duration) {
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		wg.Go(func() { call(i) })
	}
	wg.Wait()
	return time.Since(began)
}

func TestAnUnstorableResultIsCopiedForWaitingCallers(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var runs atomic.Int64
		fn := func(context.Context) ([]float64, error) {
			run := runs.Add(1)
			time.Sleep(time.Second)
			return notEncodable(int(run)), nil
		}
		f := must(Wrap(&fn, Options{Cache: b.cache(asJSON), Name: "test.NaN", Timeout: time.Minute, OnCold: Wait}))
		const n = 100
		var sources [SourceNear + 1]atomic.Int64
		took := crowd(n, func(i int) {
			var info Info
			v, err := fn(WithInfo(t.Context(), &info))
			if assert.NoError(t, err) && assert.Len(t, v, 2) {
				assert.EqualValues(t, 1, v[0])
				v[0] = float64(-i) // it is this caller's own
			}
			sources[info.Source].Add(1)
		})
		assert.Equal(t, time.Second, took)
		assert.EqualValues(t, 1, runs.Load())
		assert.EqualValues(t, 1, sources[SourceComputed].Load())
		assert.EqualValues(t, n-1, sources[SourceWaited].Load())
		assert.Len(t, b.log.About("result cannot be stored"), 1)
		requireIdentity(t, f)
	})
}

func TestAResultThatCannotBeStoredOrCopiedIsComputedByEachWaitingCaller(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(_ context.Context, list []int) (sealed, error) { // the list is copied for each run
			time.Sleep(time.Second)
			assert.Equal(t, []int{1, 2}, list)
			return sealed{new(int)}, nil
		}
		f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Sealed", Timeout: time.Minute, OnCold: Wait}))
		var mu sync.Mutex
		distinct := map[*int]bool{}
		took := crowd(100, func(int) {
			list := []int{1, 2}
			v, err := fn(t.Context(), list)
			list[0] = 3
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			distinct[v.at] = true
		})
		assert.Equal(t, 2*time.Second, took, "not one after the other")
		assert.Len(t, distinct, 100, "nobody shares memory")
		requireIdentity(t, f)
	})
}

func TestMaxConcurrentBoundsComputationsForOneCallEach(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var now, most atomic.Int64
		fn := func(context.Context) (sealed, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return sealed{new(int)}, nil
		}
		f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Sealed", Timeout: time.Minute, OnCold: Wait, WaitTimeout: 3500 * time.Millisecond, MaxConcurrent: 4}))
		var computed, refused atomic.Int64
		crowd(20, func(int) {
			var cold *ColdCacheError
			switch _, err := fn(t.Context()); {
			case err == nil:
				computed.Add(1)
			case assert.ErrorAs(t, err, &cold):
				refused.Add(1)
				assert.Equal(t, 4, cold.MaxConcurrent)
			}
		})
		assert.EqualValues(t, 4, most.Load())
		assert.EqualValues(t, 1+3*4, computed.Load())
		assert.EqualValues(t, 20-1-3*4, refused.Load())
		requireIdentity(t, f)
	})
}

func TestAKeyWhoseValueCannotBeStoredIsNotLeasedForAWhile(t *testing.T) {
	for _, onCold := range []ColdPolicy{Fail, Wait, Compute} {
		t.Run(onCold.String(), func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				var runs atomic.Int64
				var all []*Func
				calls := make([]func(context.Context) ([]float64, error), 5)
				for i := range calls { // processes
					calls[i] = func(context.Context) ([]float64, error) {
						time.Sleep(time.Second)
						return notEncodable(int(runs.Add(1))), nil
					}
					c := b.cache(asJSON)
					all = append(all, must(Wrap(&calls[i], Options{Cache: c, Name: "test.NaN", Timeout: time.Minute, OnCold: onCold, Shared: true})))
					awaitBubbleHearing(t, c)
				}
				_, err := calls[0](t.Context())
				require.NoError(t, err)
				lock := b.lockOf(all[0])
				require.Equal(t, MarkOpen, must(b.redis.Get(lock))[:len(MarkOpen)])
				require.Equal(t, OpenFor, b.redis.TTL(lock))
				took := crowd(100, func(i int) {
					_, err := calls[i%len(calls)](t.Context())
					assert.NoError(t, err)
				})
				// A caller whose lookup ended after its process had begun waits for the next run.
				assert.LessOrEqual(t, took, 2*time.Second, "nobody waits for another process")
				assert.LessOrEqual(t, runs.Load(), int64(1+2*len(calls)))
				time.Sleep(OpenFor)
				assert.False(t, b.redis.Exists(lock))
				for _, f := range all {
					requireIdentity(t, f)
				}
			})
		})
	}
}

func TestWaitersInOtherProcessesComputeAnUnstorableResultAtOnce(t *testing.T) {
	for _, heard := range []bool{true, false} {
		inOneBubble(t, func(t *testing.T, b *bubble) {
			if !heard {
				b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"publish": replyError("NOPERM no channel")} })
			}
			var runs atomic.Int64
			calls := make([]func(context.Context) ([]float64, error), 5)
			for i := range calls {
				calls[i] = func(context.Context) ([]float64, error) {
					time.Sleep(time.Second)
					return notEncodable(int(runs.Add(1))), nil
				}
				c := b.cache(asJSON)
				must(Wrap(&calls[i], Options{Cache: c, Name: "test.NaN", Timeout: time.Minute, OnCold: Wait, Shared: true}))
				if heard {
					awaitBubbleHearing(t, c)
				}
			}
			took := crowd(100, func(i int) {
				_, err := calls[i%len(calls)](t.Context())
				assert.NoError(t, err)
			})
			assert.LessOrEqual(t, took, 2*time.Second+3*PollMax/2)
			assert.EqualValues(t, len(calls), runs.Load(), "once in each process")
		})
	}
}

func TestWaitersForAResultThatRedisRefusesToStoreDoNotQueue(t *testing.T) {
	tooLong := replyError("ERR Protocol error: invalid bulk length")
	for name, test := range map[string]struct {
		verb string
		do   func(context.Context, int) (int, error)
	}{
		"a result whose store is refused":           {"store", nil},
		"an error as answer whose store is refused": {"store", func(context.Context, int) (int, error) { return 0, errNoBook }},
		"a result of no release":                    {"register", nil},
		"an error as answer of no release":          {"register", func(context.Context, int) (int, error) { return 0, errNoBook }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.tap.set(func(tap *tap) { tap.refuse[test.verb] = tooLong })
				s := &source{took: time.Second, do: test.do}
				opts := caching(errNoBook)
				opts.OnCold = Wait
				var all []*wrapped
				for range 5 { // processes
					c := b.cache()
					all = append(all, wrap(t, c, s, opts))
					awaitBubbleHearing(t, c)
				}
				took := crowd(100, func(i int) {
					o := all[i%len(all)].get(t.Context(), "a")
					if test.do == nil {
						assert.NoError(t, o.err)
					} else {
						assert.Equal(t, errNoBook, o.err)
					}
				})
				assert.Equal(t, 2*time.Second, took, "nobody computes after another process")
				assert.Equal(t, len(all), s.count(), "once in each process")
				err := all[0].Refresh(t.Context(), "a")
				if test.do == nil {
					assert.ErrorContains(t, err, "the result is not stored")
					assert.ErrorIs(t, err, tooLong)
				}
				for _, w := range all {
					assert.Zero(t, requireIdentity(t, w.Func).Stored)
				}
			})
		})
	}
}

func TestARefreshTakesTheLeaseAfterAValueThatCouldNotBeStored(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		value := notEncodable(1)
		fn := func(context.Context) ([]float64, error) { return value, nil }
		f := must(Wrap(&fn, Options{Cache: b.cache(asJSON), Name: "test.NaN", Timeout: time.Minute}))
		err := f.Refresh(t.Context())
		require.ErrorContains(t, err, "does not survive encoding")
		require.ErrorContains(t, err, "JSON has no NaN", "the error of the codec")
		value = []float64{2}
		require.NoError(t, f.Refresh(t.Context()))
		got, err := fn(t.Context())
		require.NoError(t, err)
		assert.Equal(t, value, got)
		assert.EqualValues(t, 1, requireIdentity(t, f).Fresh)
	})
}

func TestAResultReturnedWithAnErrorReachesEachWaitingCallerAsACopy(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context) ([]int, error) {
			time.Sleep(time.Second)
			return []int{1, 2, 3}, errGone
		}
		f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Part", Timeout: time.Minute, OnCold: Wait}))
		took := crowd(20, func(i int) {
			part, err := fn(t.Context())
			assert.ErrorIs(t, err, errGone)
			if assert.Equal(t, []int{1, 2, 3}, part) {
				part[0] = i
				assert.Equal(t, i, part[0])
			}
		})
		assert.Equal(t, time.Second, took)
		assert.EqualValues(t, 20, requireIdentity(t, f).Failed)
	})
}

// boxed hides what it refers to, and encodes.
type boxed struct{ at *byte }

func boxOf(n byte) boxed { return boxed{&n} }

func (b boxed) MarshalBinary() ([]byte, error) { return []byte{*b.at}, nil }
func (b *boxed) UnmarshalBinary(data []byte) error {
	n := data[0]
	b.at = &n
	return nil
}

func TestAResultReturnedWithAnErrorIsCopiedByTheCodecIfItHidesReferences(t *testing.T) {
	for name, test := range map[string]struct {
		call func() (*int, *byte)
		want bool
	}{
		"boxed": {want: true}, "sealed": {want: false},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				opts := Options{Cache: b.cache(), Name: "test.Part", Timeout: time.Minute, OnCold: Wait}
				box := func(context.Context) (boxed, error) { time.Sleep(time.Second); return boxOf(7), errGone }
				seal := func(context.Context) (sealed, error) { time.Sleep(time.Second); return sealed{new(int)}, errGone }
				var got, shared atomic.Int64
				seen := sync.Map{}
				note := func(at any, isNil bool, err error) {
					assert.ErrorIs(t, err, errGone)
					if isNil {
						return
					}
					got.Add(1)
					if _, known := seen.LoadOrStore(at, true); known {
						shared.Add(1)
					}
				}
				call := func(int) { v, err := seal(t.Context()); note(v.at, v.at == nil, err) }
				if test.want {
					call = func(int) { v, err := box(t.Context()); note(v.at, v.at == nil, err) }
					must(Wrap(&box, opts))
				} else {
					must(Wrap(&seal, opts))
				}
				assert.Equal(t, time.Second, crowd(10, call))
				assert.Zero(t, shared.Load())
				if test.want {
					assert.EqualValues(t, 10, got.Load())
				} else {
					assert.EqualValues(t, 1, got.Load(), "the others have the error alone")
				}
			})
		})
	}
}

// --- Entries that cannot always be read ---

// fickle decodes every second time.
type fickle struct{ n *byte }

var fickleDecodes atomic.Int64

func (f fickle) MarshalBinary() ([]byte, error) { return []byte{7}, nil }
func (f *fickle) UnmarshalBinary(data []byte) error {
	if fickleDecodes.Add(1)%2 == 0 {
		return errMoody
	}
	f.n = &data[0]
	return nil
}

func TestAResultThatDecodesEverySecondTimeCausesNoEndlessLoop(t *testing.T) {
	for _, onCold := range []ColdPolicy{Fail, Wait, Compute} {
		for _, patient := range []bool{false, true} {
			if patient && onCold == Fail {
				continue
			}
			inOneBubble(t, func(t *testing.T, b *bubble) {
				fickleDecodes.Store(0)
				c := b.cache()
				opts := Options{Cache: c, Name: "test.Fickle", Timeout: time.Minute, OnCold: onCold}
				asked := func(context.Context) (fickle, error) { time.Sleep(time.Second); return fickle{new(byte)}, nil }
				silent := func(context.Context) fickle { time.Sleep(time.Second); return fickle{new(byte)} }
				var f *Func
				call := func() error { v, err := asked(t.Context()); assert.True(t, err != nil || v.n != nil); return err }
				if patient {
					f = must(Wrap(&silent, opts))
					call = func() error { assert.NotNil(t, silent(t.Context()).n); return nil }
				} else {
					f = must(Wrap(&asked, opts))
				}
				const n = 20
				for range 3 {
					took := crowd(n, func(int) {
						if err := call(); err != nil {
							assert.ErrorIs(t, err, ErrColdCache)
						}
					})
					assert.LessOrEqual(t, took, 4*time.Second)
				}
				assert.Less(t, fickleDecodes.Load(), int64(3*n*(MaxRounds+2)), "a few for each call")
				assert.Less(t, b.tap.total(), 3*n*2*MaxRounds)
				requireIdentity(t, f)
			})
		}
	}
}

func TestAFlightThatFindsAnotherEntryEachTimeWaitsBeforeItAsksAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		c := b.cache()
		w := wrap(t, c, s, Options{OnCold: Wait, WaitTimeout: 50 * time.Millisecond})
		awaitBubbleHearing(t, c)
		key := must(w.Key("a"))
		// Somebody writes nonsense to the key all the time.
		n := byte(0)
		var scribble func()
		scribble = func() {
			n++
			_ = b.redis.Set(key, string([]byte{n, 'x'}))
			b.tap.on("acquire", scribble)
		}
		b.tap.on("acquire", scribble)
		o := w.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrColdCache)
		assert.Less(t, b.tap.count("acquire"), 200)
		b.tap.on("acquire", func() {})
		synctest.Wait()
	})
}

// --- Encoding that takes long ---

// slowly is a codec whose encoding takes a while.
func slowly(takes time.Duration) *moodyCodec {
	good := gobCodec{}
	return &moodyCodec{
		encode: func(r []any) ([]byte, error) { time.Sleep(takes); return good.Encode(r) },
		decode: good.Decode,
	}
}

func TestTheLeaseIsRenewedWhileTheResultIsEncoded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		opts := Options{Lease: 3 * time.Second}
		here, there := wrap(t, b.cache(withCodec(slowly(20*time.Second))), s, opts), wrap(t, b.cache(withCodec(slowly(0))), s, opts)
		first := here.begin(t.Context(), "a")
		for range 20 {
			synctest.Wait()
			require.Equal(t, SourceRefused, there.get(t.Context(), "a").source, "the lease is held")
			time.Sleep(time.Second)
		}
		assert.Equal(t, outcome{value: 1, source: SourceComputed, took: 21 * time.Second}, <-first)
		assert.Equal(t, SourceFresh, there.get(t.Context(), "a").source, "and the result is stored")
		assert.Equal(t, 1, s.count())
		assert.Zero(t, here.Stats().LostLeases)
	})
}

// slowError takes a while to say what it is.
type slowError struct{ takes time.Duration }

func (slowError) Error() string { return "slow" }
func (e slowError) Is(error) bool {
	time.Sleep(e.takes)
	return false
}

func TestTheLeaseIsRenewedWhileErrorsAreAskedAbout(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const lease = 3 * time.Second
		s := &source{do: func(context.Context, int) (int, error) { return 0, slowError{900 * time.Millisecond} }}
		opts := Options{Lease: lease, ErrorTimeout: time.Second}
		for i := range 10 {
			opts.CacheErrors = append(opts.CacheErrors, fmt.Errorf("another %d", i))
		}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		first := here.begin(t.Context(), "a")
		for range 9 {
			synctest.Wait()
			require.Equal(t, SourceRefused, there.get(t.Context(), "a").source)
			time.Sleep(time.Second)
		}
		assert.Equal(t, 9*time.Second, (<-first).took)
		assert.Zero(t, here.Stats().LostLeases)
	})
}

func TestEncodingIsWaitedForWithinComputeTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(withCodec(slowly(time.Hour))), s, Options{ComputeTimeout: 10 * time.Second, OnCold: Wait})
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		second := w.begin(t.Context(), "a")
		for _, end := range []<-chan outcome{first, second} {
			o := <-end
			require.ErrorIs(t, o.err, ErrComputeTimeout)
			require.ErrorContains(t, o.err, "returned, but its result was not encoded within 10s")
			assert.Equal(t, 10*time.Second, o.took)
			assert.Zero(t, o.value, "it is being read")
		}
		assert.Empty(t, b.keys(), "the lease is given back")
		time.Sleep(2 * time.Hour)
		requireIdentity(t, w.Func)
	})
}

func TestAFunctionWithoutAnErrorResultWaitsForTheEncodingOfItsResult(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func() int { return 7 }
		f := must(Wrap(&fn, Options{Cache: b.cache(withCodec(slowly(time.Minute))), Name: "test.Patient", Timeout: time.Hour, OnCold: Wait, ComputeTimeout: 10 * time.Second}))
		began := time.Now()
		assert.Equal(t, 7, fn())
		assert.Equal(t, time.Minute, time.Since(began))
		requireIdentity(t, f)
	})
}

func TestCloseDoesNotWaitForEncodingWithoutEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache(withCodec(slowly(3 * time.Second)))
		w := wrap(t, c, &source{}, Options{})
		end := w.begin(t.Context(), "a")
		synctest.Wait()
		began := time.Now()
		require.NoError(t, c.Close())
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, 1, (<-end).value)

		c = b.cache(withCodec(slowly(4500 * time.Millisecond)))
		w = wrap(t, c, &source{}, Options{Name: "test.Slower"})
		end = w.begin(t.Context(), "a")
		synctest.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, (<-end).err, ErrClosed)
		assert.False(t, b.redis.Exists(b.lockOf(w.Func, "a")))
	})
}

// --- Functions without an error result that do not come to a good end ---

func TestAFunctionWithoutAnErrorResultThatFailsIsNotRunByEveryWaitingCaller(t *testing.T) {
	for name, test := range map[string]struct {
		took time.Duration
		do   func() []int
		want int // callers with an answer
	}{
		"it outlives ComputeTimeout":               {10 * time.Minute, func() []int { return []int{7} }, 100},
		"it outlives ComputeTimeout and panics":    {10 * time.Minute, func() []int { panic("boo") }, 0},
		"it outlives ComputeTimeout, then Goexits": {10 * time.Minute, func() []int { runtime.Goexit(); return nil }, 0},
		"a panic":  {time.Second, func() []int { panic("boo") }, 0},
		"a Goexit": {time.Second, func() []int { runtime.Goexit(); return nil }, 0},
	} {
		for _, onCold := range []ColdPolicy{Wait, Compute} {
			t.Run(name+"/"+onCold.String(), func(t *testing.T) {
				inOneBubble(t, func(t *testing.T, b *bubble) {
					var runs, answered atomic.Int64
					fn := func() []int {
						runs.Add(1)
						time.Sleep(test.took)
						return test.do()
					}
					f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Patient", Timeout: time.Hour, OnCold: onCold}))
					ended := make(chan struct{}, 100)
					began := time.Now()
					for i := range 100 {
						go func() { // Goexit ends it
							defer func() { _ = recover(); ended <- struct{}{} }()
							v := fn()
							answered.Add(1)
							assert.Equal(t, []int{7}, v)
							v[0] = -i // it is this caller's own
						}()
					}
					for range 100 {
						<-ended
					}
					// Under Compute those who came while the function ran share the next runs.
					assert.LessOrEqual(t, runs.Load(), int64(3))
					assert.LessOrEqual(t, time.Since(began), 2*test.took)
					assert.EqualValues(t, test.want, answered.Load())
					requireIdentity(t, f)
				})
			})
		}
	}
}

func TestAResultTooLongForTheServerReachesWaitingCallers(t *testing.T) {
	client := redistest.Start(t).Client()
	require.NoError(t, client.ConfigSet(t.Context(), "proto-max-bulk-len", "1048576").Err())
	c := newTestCache(t, Config{Redis: client, RedisTimeout: shortEnough, CompressOver: -1, Logger: slog.New(&logtest.Handler{})})
	let, want := make(chan struct{}), bytes.Repeat([]byte("long"), 1<<19)
	var runs atomic.Int64
	fn := func(context.Context) ([]byte, error) {
		runs.Add(1)
		<-let
		return want, nil
	}
	f := must(Wrap(&fn, Options{Cache: c, Name: "test.Long", Timeout: time.Minute, OnCold: Wait}))
	key := must(f.Key())
	const n = 10
	go func() {
		assert.Eventually(t, func() bool { return f.Joined(key) == n }, 30*time.Second, time.Millisecond)
		close(let)
	}()
	crowd(n, func(int) {
		v, err := fn(t.Context())
		assert.NoError(t, err)
		assert.True(t, bytes.Equal(want, v))
	})
	assert.EqualValues(t, 1, runs.Load())
	s := requireIdentity(t, f)
	assert.Zero(t, s.Stored)
	assert.EqualValues(t, n-1, s.Waited)
}
