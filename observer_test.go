package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A witness is an observer that keeps what it is told, as lines.
type witness struct {
	NopObserver
	before func(method string) // runs first in each method; may be nil

	mu    sync.Mutex // guards the fields below
	lines []string
	ops   []RedisOperation
}

// spanKey is the key of a value in contexts, which stands for the span of a trace.
type spanKey struct{}

func spanned(ctx context.Context, span string) context.Context {
	return context.WithValue(ctx, spanKey{}, span)
}

func (w *witness) note(ctx context.Context, method, format string, args ...any) {
	if w.before != nil {
		w.before(method)
	}
	for i, arg := range args {
		if p, is := arg.(*PanicError); is { // its text has the stack
			args[i] = p.Value
		}
	}
	span := ""
	if ctx != nil {
		span, _ = ctx.Value(spanKey{}).(string)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, strings.TrimSpace(method+" "+fmt.Sprintf(format, args...)+" "+span))
}

// about returns the lines of one method, sorted, and forgets them. In a bubble it waits until all
// is told.
func (w *witness) about(method string) (found []string) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = slices.DeleteFunc(w.lines, func(line string) bool {
		rest, is := strings.CutPrefix(line, method+" ")
		if is {
			found = append(found, rest)
		}
		return is
	})
	slices.Sort(found)
	return found
}

func (w *witness) operations() []RedisOperation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ops)
}

func (w *witness) RunBegan(ctx context.Context, r Run) context.Context {
	w.note(ctx, "RunBegan", "%v background=%t elements=%d", r.Trigger, r.Background, r.Elements)
	return spanned(ctx, fmt.Sprint(ctx.Value(spanKey{}), "/run"))
}

func (w *witness) RunEnded(ctx context.Context, r Run, end RunEnd) {
	w.note(ctx, "RunEnded", "%v %v err=%v listed=%t", r.Trigger, end.Duration, end.Err, end.Listed)
}

func (w *witness) ComputationEnded(ctx context.Context, c ComputationEnd) {
	w.note(ctx, "ComputationEnded", "%v %v %v size=%t err=%v", c.Trigger, c.Outcome, c.Duration, c.Size > 0, c.Err)
}

func (w *witness) CallEnded(ctx context.Context, c CallEnd) {
	w.note(ctx, "CallEnded", "%v age=%v cost=%v took=%v err=%v", c.Source, c.Age, c.Cost, c.Duration, c.Err)
}

func (w *witness) WaitEnded(ctx context.Context, e WaitEnd) {
	w.note(ctx, "WaitEnded", "%v %v", e.Source, e.Duration)
}

func (w *witness) RedisAnswered(ctx context.Context, op RedisOperation) {
	w.note(ctx, "RedisAnswered", "%s %d err=%t", op.Op, op.Commands, op.Err != nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, op)
}

func (w *witness) LeaseLost(ctx context.Context, l LostLease) {
	w.note(ctx, "LeaseLost", "%v", l.Trigger)
}

func (w *witness) Invalidated(ctx context.Context, i Invalidation) {
	w.note(ctx, "Invalidated", "%v expired=%t count=%d func=%t err=%v", i.Scope, i.Expired, i.Count, i.Func != nil, i.Err)
}

func (w *witness) Verified(ctx context.Context, v Verification) {
	w.note(ctx, "Verified", "differed=%t", v.Differed)
}

func (w *witness) BreakerChanged(b BreakerChange) {
	w.note(nil, "BreakerChanged", "writes=%t open=%t err=%t", b.Writes, b.Open, b.Err != nil) //nolint:staticcheck // it has no context
}

func (w *witness) SubscriptionChanged(s SubscriptionChange) {
	w.note(nil, "SubscriptionChanged", "up=%t err=%t", s.Up, s.Err != nil) //nolint:staticcheck // it has no context
}

// observed makes a cache with an observer.
func (b *bubble) observed(o Observer) *Cache {
	return b.cache(func(cfg *Config) { cfg.Observer = o })
}

// minutely are options of an entry that is stale after a minute.
var minutely = Options{Timeout: time.Hour, Freshness: time.Minute}

// A computing is a case of a computation that an observer is told of.
type computing struct {
	opts  Options
	do    func(ctx context.Context, run int) (int, error)
	fill  bool                                             // an entry is stored first
	act   func(ctx context.Context, w *wrapped, b *bubble) // makes the function run
	began string
	ended string // of the run
	ends  string // of the computation
}

// computes is how long the function runs in each case.
const computes = 2 * time.Second

var errNoDatabase = errors.New("no database")

func TestAnObserverIsToldOfTheTriggerOfAComputation(t *testing.T) {
	requireTold(t, map[string]computing{
		"cold": {
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { w.get(ctx, "a") },
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=<nil> listed=false caller/run",
			ends:  "cold stored 2s size=true err=<nil> caller",
		},
		"stale": {
			fill: true,
			act: func(ctx context.Context, w *wrapped, _ *bubble) {
				time.Sleep(2 * time.Minute)
				w.get(ctx, "a")
			},
			began: "stale background=false elements=1 caller",
			ended: "stale 2s err=<nil> listed=false caller/run",
			ends:  "stale stored 2s size=true err=<nil> caller",
		},
		"stale, in the background": {
			fill: true, opts: Options{OnStale: Background},
			act: func(ctx context.Context, w *wrapped, _ *bubble) {
				time.Sleep(2 * time.Minute)
				w.get(ctx, "a")
				time.Sleep(computes)
			},
			began: "stale background=true elements=1 caller",
			ended: "stale 2s err=<nil> listed=false caller/run",
			ends:  "stale stored 2s size=true err=<nil> caller",
		},
		"early": {
			fill: true, opts: Options{Early: 1000},
			act: func(ctx context.Context, w *wrapped, _ *bubble) {
				time.Sleep(50 * time.Second)
				w.get(ctx, "a")
				time.Sleep(computes)
			},
			began: "early background=true elements=1 caller",
			ended: "early 2s err=<nil> listed=false caller/run",
			ends:  "early stored 2s size=true err=<nil> caller",
		},
		"refresh": {
			fill:  true,
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { _ = w.Refresh(ctx, "a") },
			began: "refresh background=false elements=1 caller",
			ended: "refresh 2s err=<nil> listed=false caller/run",
			ends:  "refresh stored 2s size=true err=<nil> caller",
		},
		"Redis is away": {
			fill: true,
			act: func(ctx context.Context, w *wrapped, b *bubble) {
				b.redis.SetError("LOADING")
				w.get(ctx, "a")
				b.redis.SetError("")
			},
			began: "redis_down background=false elements=1 caller",
			ended: "redis_down 2s err=<nil> listed=false caller/run",
			ends:  "redis_down not_stored 2s size=false err=<nil> caller",
		},
	})
}

func TestAnObserverIsToldOfTheOutcomeOfAComputation(t *testing.T) {
	requireTold(t, map[string]computing{
		"an error": {
			do:    func(context.Context, int) (int, error) { return 0, errNoDatabase },
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { w.get(ctx, "a") },
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=no database listed=false caller/run",
			ends:  "cold error 2s size=false err=no database caller",
		},
		"an error that is an answer": {
			opts:  Options{CacheErrors: []error{errNoDatabase}, ErrorTimeout: time.Minute},
			do:    func(context.Context, int) (int, error) { return 0, errNoDatabase },
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { w.get(ctx, "a") },
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=no database listed=true caller/run",
			ends:  "cold stored 2s size=true err=<nil> caller",
		},
		"a panic": {
			do:    func(context.Context, int) (int, error) { panic("no database") },
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { w.get(ctx, "a") },
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=no database listed=false caller/run",
			ends:  "cold error 2s size=false err=no database caller",
		},
		"NoStore": {
			do:    func(ctx context.Context, _ int) (int, error) { NoStore(ctx); return 1, nil },
			act:   func(ctx context.Context, w *wrapped, _ *bubble) { w.get(ctx, "a") },
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=<nil> listed=false caller/run",
			ends:  "cold not_stored 2s size=false err=<nil> caller",
		},
		"a lost lease": {
			act: func(ctx context.Context, w *wrapped, _ *bubble) {
				end := w.begin(ctx, "a")
				time.Sleep(computes / 2)
				_ = w.Invalidate(context.Background(), "a")
				<-end
			},
			began: "cold background=false elements=1 caller",
			ended: "cold 2s err=<nil> listed=false caller/run",
			ends:  "cold lost_lease 2s size=false err=<nil> caller",
		},
	})
}

func requireTold(t *testing.T, tests map[string]computing) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				told := &witness{}
				s := &source{took: computes}
				opts := test.opts
				opts.Timeout, opts.Freshness = minutely.Timeout, minutely.Freshness
				w := wrap(t, b.observed(told), s, opts)
				if test.fill {
					w.get(t.Context(), "a")
					for _, method := range []string{"RunBegan", "RunEnded", "ComputationEnded"} {
						require.Len(t, told.about(method), 1)
					}
				}
				s.set(func(s *source) { s.do = test.do })
				test.act(spanned(t.Context(), "caller"), w, b)
				assert.Equal(t, []string{test.began}, told.about("RunBegan"))
				assert.Equal(t, []string{test.ended}, told.about("RunEnded"))
				assert.Equal(t, []string{test.ends}, told.about("ComputationEnded"))
				if name == "a lost lease" {
					assert.Equal(t, []string{"cold caller"}, told.about("LeaseLost"))
				}
				requireOutcomes(t, w.Func)
			})
		})
	}
}

// requireOutcomes checks that each computation that has ended has one outcome.
func requireOutcomes(t *testing.T, f *Func) {
	t.Helper()
	s := f.Stats()
	assert.Equal(t, s.Computations, s.Stored+s.LostLeases+s.Errored+s.NotStored, "%+v", s)
}

func TestTheFunctionGetsTheContextOfTheObserver(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var span any
		s := &source{do: func(ctx context.Context, _ int) (int, error) {
			span = ctx.Value(spanKey{})
			return 1, nil
		}}
		w := wrap(t, b.observed(&witness{}), s, minutely)
		w.get(spanned(t.Context(), "caller"), "a")
		assert.Equal(t, "caller/run", span)
	})
}

func TestAResultThatIsStoredLaterHasItsOutcomeThen(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		w := wrap(t, b.observed(told), &source{}, minutely)
		b.tap.set(func(tap *tap) { tap.refuse["store"] = replyError("LOADING Redis is loading the dataset in memory") })
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		assert.Empty(t, told.about("ComputationEnded"))
		b.tap.set(func(tap *tap) { clear(tap.refuse) })
		time.Sleep(5 * time.Second) // until the cache has stored it
		assert.Equal(t, []string{"cold stored 0s size=true err=<nil>"}, told.about("ComputationEnded"))
		requireOutcomes(t, w.Func)
	})
}

func TestAnObserverIsToldOfCallsThatAreNoFreshHits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		s := &source{took: 3 * time.Second}
		ctx := spanned(t.Context(), "caller")
		w := wrap(t, b.observed(told), s, minutely)
		wait := wrap(t, w.Opts().Cache, s, Options{Name: "test.Wait", Timeout: time.Hour, OnCold: Wait})

		w.get(ctx, "a")
		assert.Equal(t, []string{"computed age=0s cost=3s took=3s err=<nil> caller"}, told.about("CallEnded"))
		w.get(ctx, "a")
		assert.Empty(t, told.about("CallEnded"), "a fresh hit")
		time.Sleep(2 * time.Minute)
		end := w.begin(ctx, "a")
		synctest.Wait()
		w.get(ctx, "a")
		assert.Equal(t, []string{"stale age=2m0s cost=3s took=0s err=<nil> caller"}, told.about("CallEnded"))
		<-end
		assert.Equal(t, []string{"computed age=0s cost=3s took=3s err=<nil> caller"}, told.about("CallEnded"))
		_, _ = w.call(WithBypass(ctx), "a")
		assert.Equal(t, []string{"bypassed age=0s cost=0s took=3s err=<nil> caller"}, told.about("CallEnded"))

		end = w.begin(ctx, "b")
		time.Sleep(time.Second)
		w.get(ctx, "b")
		refused := told.about("CallEnded")
		require.Len(t, refused, 1)
		assert.Contains(t, refused[0], "refused age=0s cost=0s took=0s err=fncache: cold cache")
		<-end
		assert.Empty(t, told.about("WaitEnded"), "no call has waited")

		told.about("CallEnded")
		end = wait.begin(ctx, "c")
		time.Sleep(time.Second)
		wait.get(ctx, "c")
		<-end
		assert.Equal(t, []string{"waited 2s caller"}, told.about("WaitEnded"))
		assert.Contains(t, told.about("CallEnded"), "waited age=0s cost=3s took=2s err=<nil> caller")
	})
}

func TestAWaitThatEndsInAComputationIsToldWithoutIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		opts := Options{Timeout: time.Hour, OnCold: Wait}
		failing := wrap(t, b.cache(), &source{took: 2 * time.Second, do: func(context.Context, int) (int, error) { return 0, errors.New("no database") }}, opts)
		w := wrap(t, b.observed(told), &source{took: 3 * time.Second}, opts)
		end := failing.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		<-end
		waits := told.about("WaitEnded")
		require.Len(t, waits, 1)
		source, took, _ := strings.Cut(waits[0], " ")
		waited, err := time.ParseDuration(took)
		require.NoError(t, err)
		assert.Equal(t, "computed", source)
		assert.InDelta(t, 2, waited.Seconds(), 0.5, "the other process failed after 2 s")
	})
}

func TestAnObserverIsToldOfABatchOnceAndOfItsEntries(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		var span any
		s := &batchSource{do: func(ctx context.Context, _ []int) error {
			span = ctx.Value(spanKey{})
			time.Sleep(2 * time.Second) // of the function
			return nil
		}}
		call := manyInts(s.get)
		_, err := WrapBatch(&call, Options{Cache: b.observed(told), Name: "test.Batch", Timeout: time.Hour, Freshness: time.Minute})
		require.NoError(t, err)
		ids := make([]int, 100)
		for i := range ids {
			ids[i] = i
		}
		_, err = call(spanned(t.Context(), "caller"), ids)
		require.NoError(t, err)
		assert.Equal(t, "caller/run", span)
		assert.Equal(t, []string{"cold background=false elements=100 caller"}, told.about("RunBegan"))
		assert.Equal(t, []string{"cold 2s err=<nil> listed=false caller/run"}, told.about("RunEnded"))
		ends := told.about("ComputationEnded")
		assert.Len(t, ends, 100)
		assert.Equal(t, []string{"cold stored 20ms size=true err=<nil> caller"}, slices.Compact(ends))
		assert.Equal(t, []string{"computed age=0s cost=2s took=2s err=<nil> caller"}, told.about("CallEnded"))
		_, err = call(t.Context(), ids)
		require.NoError(t, err)
		assert.Empty(t, told.about("CallEnded"), "all are fresh")
		for _, op := range told.operations() {
			if op.Op == "acquire" {
				assert.Equal(t, 100, op.Commands)
			}
		}
	})
}

func TestABatchThatWaitsIsToldOnce(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		s := &batchSource{do: func(context.Context, []int) error {
			time.Sleep(3 * time.Second) // of the function
			return nil
		}}
		call := manyInts(s.get)
		_, err := WrapBatch(&call, Options{Cache: b.observed(told), Name: "test.Batch", Timeout: time.Hour, OnCold: Wait})
		require.NoError(t, err)
		var all sync.WaitGroup
		all.Go(func() { _, _ = call(t.Context(), []int{1, 2}) })
		time.Sleep(time.Second) // the first call is a second ahead
		_, err = call(t.Context(), []int{1, 2})
		require.NoError(t, err)
		all.Wait()
		assert.Equal(t, []string{"waited 2s"}, told.about("WaitEnded"))
	})
}

func TestAnObserverIsToldOfInvalidations(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		ctx := spanned(t.Context(), "caller")
		c := b.observed(told)
		w := wrap(t, c, &source{}, minutely)
		tagged := wrap(t, c, &source{}, Options{Name: "test.Tagged", Tags: []string{"books"}})
		require.NoError(t, w.Invalidate(ctx, "a"))
		require.NoError(t, w.Expire(ctx, "a"))
		_, err := w.Clear(ctx)
		require.NoError(t, err)
		require.NoError(t, c.InvalidateTags(ctx, "books", "authors"))
		require.NoError(t, c.ExpireTags(ctx, "books"))
		_, err = tagged.Clear(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{
			"function expired=false count=1 func=true err=<nil> caller",
			"function expired=false count=1 func=true err=<nil> caller",
			"key expired=false count=1 func=true err=<nil> caller",
			"key expired=true count=1 func=true err=<nil> caller",
			"tag expired=false count=2 func=false err=<nil> caller",
			"tag expired=true count=1 func=false err=<nil> caller",
		}, told.about("Invalidated"))
	})
}

func TestAnObserverIsToldOfInvalidationsThatFail(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		ctx := spanned(t.Context(), "caller")
		c := b.observed(told)
		w := wrap(t, c, &source{}, minutely)
		key := fncachekey(t, w.Func, "a")
		b.redis.SetError("LOADING")
		for what, fail := range map[string]func() error{
			"key expired=false count=1 func=true":      func() error { return w.Invalidate(ctx, "a") },
			"key expired=true count=1 func=true":       func() error { return w.Expire(ctx, "a") },
			"function expired=false count=1 func=true": func() error { _, err := w.Clear(ctx); return err },
			"tag expired=false count=1 func=false":     func() error { return c.InvalidateTags(ctx, "books") },
			"tag expired=true count=1 func=false":      func() error { return c.ExpireTags(ctx, "books") },
		} {
			require.Error(t, fail())
			told := told.about("Invalidated")
			require.Len(t, told, 1, what)
			assert.Contains(t, told[0], what+" err=fncache: redis is down")
		}
		_, err := operate.Of(c).Overtake(ctx, key, false)
		require.Error(t, err)
		require.Len(t, told.about("Invalidated"), 1)
		b.redis.SetError("")
	})
}

// TestAnInvalidationByItsKeyHasTheFunctionOfThisProcess is about the actions of fncachedebug.
func TestAnInvalidationByItsKeyHasTheFunctionOfThisProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		c := b.observed(told)
		w := wrap(t, c, &source{}, minutely)
		key := fncachekey(t, w.Func, "a")
		_, err := operate.Of(c).Overtake(t.Context(), key, true)
		require.NoError(t, err)
		w.Unwrap()
		_, err = operate.Of(c).Overtake(t.Context(), key, false)
		require.NoError(t, err)
		assert.Equal(t, []string{
			"key expired=false count=1 func=false err=<nil>",
			"key expired=true count=1 func=true err=<nil>",
		}, told.about("Invalidated"))
	})
}

func fncachekey(t *testing.T, f *Func, args ...any) string {
	t.Helper()
	key, err := f.Key(args...)
	require.NoError(t, err)
	return key
}

// TestAnObserverMayCallTheCache has an observer each of whose methods calls the cache, so it would
// wait for itself if a method were called under a lock.
func TestAnObserverMayCallTheCache(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var c *Cache
		var other *wrapped
		var called sync.Map // methods
		told := &witness{before: func(method string) {
			if _, already := called.LoadOrStore(method, true); already {
				return // the calls below are told too
			}
			_, err := other.call(t.Context(), method)
			assert.NoError(t, err)
			assert.NoError(t, other.Refresh(t.Context(), method))
			assert.NoError(t, other.Invalidate(t.Context(), method))
			assert.NoError(t, c.InvalidateTags(t.Context(), "books"))
			_, _, _, _ = c.Health(), c.NearStats(), c.Funcs(), other.Stats()
			temporary := wrap(t, c, &source{}, Options{Name: "test.Temporary"})
			temporary.Unwrap()
		}}
		c = b.observed(told)
		other = wrap(t, c, &source{}, Options{Name: "test.Other", Near: time.Minute, OnCold: Wait})
		w := wrap(t, c, &source{took: time.Second}, Options{Near: time.Minute, OnCold: Wait, Verify: 1, Tags: []string{"books"}})
		for _, arg := range []string{"a", "b", "c"} {
			for _, end := range w.burst(t.Context(), 10, arg) {
				assert.NoError(t, end.err)
			}
			w.get(t.Context(), arg)
			settled()
			require.NoError(t, w.Invalidate(t.Context(), arg))
		}
		for _, method := range []string{"RunBegan", "RunEnded", "ComputationEnded", "CallEnded", "WaitEnded", "RedisAnswered", "Invalidated", "Verified", "SubscriptionChanged"} {
			_, did := called.Load(method)
			assert.True(t, did, method)
		}
	})
}

func TestAnObserverIsToldOfVerifiedHits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		value := 7
		s := &source{do: func(context.Context, int) (int, error) { return value, nil }}
		w := wrap(t, b.observed(told), s, verifyAll)
		ctx := spanned(t.Context(), "caller")
		w.get(ctx, "a")
		w.get(ctx, "a")
		settled()
		assert.Equal(t, []string{"differed=false caller"}, told.about("Verified"))
		value = 8
		w.get(ctx, "a")
		settled()
		assert.Equal(t, []string{"differed=true caller"}, told.about("Verified"))
	})
}

func TestOfLookupsAnObserverIsToldEvery64thAndThoseThatAreSlowOrFail(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		w := wrap(t, b.observed(told), &source{}, minutely)
		w.get(t.Context(), "a") // the first lookup
		synctest.Wait()
		lookups := func() (n int) {
			for _, line := range told.about("RedisAnswered") {
				if strings.HasPrefix(line, "lookup") {
					n++
				}
			}
			return n
		}
		ops := make(map[string]bool)
		for _, op := range told.operations() {
			ops[op.Op] = true
		}
		assert.Equal(t, map[string]bool{"acquire": true, "holder": true, "register": true, "store": true, "time": true}, ops)
		assert.Zero(t, lookups())
		for range 63 {
			w.get(t.Context(), "a")
		}
		assert.Equal(t, 1, lookups())
		for range 128 {
			w.get(t.Context(), "a")
		}
		assert.Equal(t, 2, lookups())

		b.tap.on("get", func() { time.Sleep(DefaultRedisTimeout / 4) }) // Redis is slow
		w.get(t.Context(), "a")
		assert.Equal(t, 1, lookups(), "it took a quarter of RedisTimeout")
		b.tap.set(func(tap *tap) { tap.refuse["get"] = replyError("ERR no") })
		w.get(t.Context(), "a")
		assert.Equal(t, 1, lookups(), "it failed")
		last := told.operations()[len(told.operations())-1]
		require.NotNil(t, last.Err)
		assert.Equal(t, KindOther, last.Err.Kind)
	})
}

func TestAnObserverIsToldOfTheBreakerAndTheSubscriptionInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{}
		c := b.observed(told)
		assert.Equal(t, SubscriptionIdle, c.Health().Subscription)
		w := wrap(t, c, &source{}, Options{Near: time.Minute})
		w.get(t.Context(), "a")
		awaitBubbleHearing(t, c)
		assert.Equal(t, SubscriptionUp, c.Health().Subscription)
		assert.Equal(t, []string{"up=true err=false"}, told.about("SubscriptionChanged"))
		b.redis.SetError("LOADING")
		w.get(t.Context(), "b")
		assert.Equal(t, []string{"writes=false open=true err=true", "writes=true open=true err=true"}, told.about("BreakerChanged"))
		b.redis.SetError("")
		awaitBack(c)
		assert.Equal(t, []string{"writes=false open=false err=false", "writes=true open=false err=false"}, told.about("BreakerChanged"))
	})
}

func TestAPanicInAnObserverHarmsNoCallAndIsLoggedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		told := &witness{before: func(string) { panic("in the observer") }}
		c := b.observed(told)
		w := wrap(t, c, &source{took: time.Second}, Options{Near: time.Minute, OnCold: Wait, Verify: 1})
		for _, arg := range []string{"a", "b"} {
			ends := w.burst(t.Context(), 10, arg)
			for _, end := range ends {
				assert.NoError(t, end.err)
				assert.Nil(t, end.panic)
			}
			w.get(t.Context(), arg)
			settled()
			require.NoError(t, w.Invalidate(t.Context(), arg))
		}
		lines := b.log.About("Config.Observer panicked")
		for _, method := range []string{"RunBegan", "RunEnded", "ComputationEnded", "CallEnded", "WaitEnded", "RedisAnswered", "Invalidated", "Verified", "SubscriptionChanged"} {
			n := 0
			for _, line := range lines {
				if strings.Contains(line, "method="+method) {
					n++
				}
			}
			assert.Equal(t, 1, n, "%s: %v", method, lines)
		}
		assert.NotContains(t, fmt.Sprint(lines), "in the observer", "a panic may quote an argument")
	})
}

// TestASlowObserverDelaysNoRenewalAndNoOtherCall has an observer whose methods take longer than a
// lease.
func TestASlowObserverDelaysNoRenewalAndNoOtherCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var slow atomic.Bool
		told := &witness{before: func(method string) {
			if slow.Load() && method != "CallEnded" {
				time.Sleep(time.Minute) // the observer is slow
			}
		}}
		opts := Options{Timeout: time.Hour, Freshness: 2 * time.Minute, Lease: 10 * time.Second, ComputeTimeout: 3 * time.Minute}
		w := wrap(t, b.observed(told), &source{took: 30 * time.Second}, opts)
		other := wrap(t, b.cache(), &source{}, opts)
		w.get(t.Context(), "b")
		slow.Store(true)
		end := w.begin(t.Context(), "a")
		for range 80 { // the begin of the run takes a minute, and the function half of one
			time.Sleep(time.Second)
			assert.Equal(t, SourceRefused, other.get(t.Context(), "a").source, "the lease is held")
			if hit := w.get(t.Context(), "b"); assert.Equal(t, SourceFresh, hit.source) {
				assert.Zero(t, hit.took)
			}
		}
		got := <-end
		assert.Equal(t, SourceComputed, got.source)
		assert.Equal(t, 90*time.Second, got.took, "only what its own run takes")
		assert.Zero(t, w.Stats().LostLeases)
		assert.Equal(t, SourceFresh, other.get(t.Context(), "a").source, "it is stored")
		slow.Store(false)
		time.Sleep(2 * time.Minute) // until the observer has come to its end
	})
}

func TestEventsForAnObserverThatNeverReturnsAreDropped(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		stuck := make(chan struct{})
		told := &witness{before: func(method string) {
			if method == "RedisAnswered" || method == "ComputationEnded" {
				<-stuck
			}
		}}
		call := manyInts((&batchSource{}).get)
		_, err := WrapBatch(&call, Options{Cache: b.observed(told), Name: "test.Batch", Timeout: time.Hour})
		require.NoError(t, err)
		for from := range 3 {
			ids := make([]int, 1000)
			for i := range ids {
				ids[i] = 1000*from + i
			}
			_, err := call(t.Context(), ids)
			require.NoError(t, err)
		}
		assert.Len(t, b.log.About("Config.Observer is slow: events are dropped"), 1)
		close(stuck)
		assert.Len(t, append(told.about("ComputationEnded"), told.about("RedisAnswered")...), 1024)
	})
}

func TestAnObserverSeesTheOperationsOfARealServer(t *testing.T) {
	onServers(t, func(t *testing.T, server *backend) {
		told := &witness{}
		c := newTestCache(t, Config{Redis: server.Connect(nil), Observer: told})
		call := func(_ context.Context, id int64) (int64, error) { return id, nil }
		h, err := Wrap1(&call, Options{Cache: c, Name: "test." + t.Name()[strings.LastIndexByte(t.Name(), '/')+1:], Prefix: "observer", Timeout: time.Minute})
		if err != nil { // the name of the backend has a blank
			h, err = Wrap1(&call, Options{Cache: c, Name: "test.Observed", Prefix: "observer", Timeout: time.Minute})
		}
		require.NoError(t, err)
		id := time.Now().UnixNano()
		_, err = h.Call(spanned(t.Context(), "caller"), id)
		require.NoError(t, err)
		require.NoError(t, h.Invalidate(t.Context(), id))
		require.NoError(t, c.Close()) // which waits for the events
		told.mu.Lock()
		defer told.mu.Unlock()
		lines := strings.Join(told.lines, "\n")
		for _, part := range []string{"RunBegan cold", "ComputationEnded cold stored", "RedisAnswered acquire 1 err=false", "RedisAnswered store 1 err=false", "Invalidated key"} {
			assert.Contains(t, lines, part)
		}
		for _, op := range told.ops {
			assert.Positive(t, op.Duration)
			assert.Nil(t, op.Err)
		}
	})
}

func TestWithoutAnObserverTellingAllocatesNothing(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, TellNobody()))
}
