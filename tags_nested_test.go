package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
)

// A cached function with tags depends on the tags of the cached functions that it calls.

// A pair is a function with tags, and one that it calls.
type pair struct {
	inner, outer *wrapped
	innerSource  *source
	outerSource  *source
}

// wrapPair wraps both on c. The outer one calls the inner one with the same argument, and
// answers with its value, or -1 where it fails.
func wrapPair(t *testing.T, c *Cache, inner, outer Options) *pair {
	p := &pair{innerSource: &source{}}
	inner.Name = "test.Inner"
	p.inner = wrap(t, c, p.innerSource, inner)
	p.outerSource = &source{do: func(ctx context.Context, _ int) (int, error) {
		v, err := p.inner.call(ctx, "x")
		if err != nil {
			return -1, nil //nolint:nilerr // the outer function has an answer of its own
		}
		return v, nil
	}}
	outer.Name = "test.Outer"
	p.outer = wrap(t, c, p.outerSource, outer)
	return p
}

func tagged(tags ...string) Options {
	return Options{Timeout: time.Hour, Tags: append([]string{}, tags...)}
}

func TestTheOuterFunctionInheritsTags(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		ctx := t.Context()
		c := newTestCache(t, Config{Redis: server.Client()})
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		assert.Equal(t, 1, p.outer.get(ctx, "a").value)
		assert.Equal(t, SourceFresh, p.outer.get(ctx, "a").source)
		require.NoError(t, c.InvalidateTags(ctx, "author:x"))
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(p.outer.get(ctx, "a")))

		assert.Equal(t, 2, p.outer.get(ctx, "b").value, "the inner one is a hit")
		require.NoError(t, c.InvalidateTags(ctx, "author:x"))
		assert.Equal(t, 3, p.outer.get(ctx, "b").value)

		require.NoError(t, c.ExpireTags(ctx, "author:x"))
		assert.Equal(t, SourceComputed, p.outer.get(ctx, "a").source)
		assert.Equal(t, SourceFresh, p.outer.get(ctx, "a").source)
	})
}

func TestATagThatTheInnerFunctionAddsIsInherited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged(), tagged())
		p.innerSource.do = func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			return run, nil
		}
		for _, arg := range []string{"computed", "hit"} {
			p.outer.get(t.Context(), arg)
		}
		assert.Equal(t, 1, p.innerSource.count())
		require.NoError(t, c.InvalidateTags(t.Context(), "book:5"))
		for _, arg := range []string{"computed", "hit"} {
			assert.Equal(t, SourceComputed, p.outer.get(t.Context(), arg).source)
		}
	})
}

// W4.
func TestW4AResultBuiltWithAnUnstampedAnswerIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := wrapPair(t, b.cache(), tagged("author:{0}"), tagged())
		p.outer.get(t.Context(), "so that the scripts are known")
		p.outerSource.do = func(ctx context.Context, _ int) (int, error) {
			b.tap.set(func(t *tap) { t.broken = errors.New("gone") })
			defer b.tap.set(func(t *tap) { t.broken = nil })
			return p.inner.call(ctx, "y")
		}
		assert.Equal(t, SourceComputed, p.outer.get(t.Context(), "a").source)
		time.Sleep(5 * time.Second)
		assert.False(t, b.redis.Exists(must(p.outer.Key("a"))))
	})
}

// W4: one level up, too.
func TestW4AResultBuiltWithOneThatHasNoStampIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		top := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) { return p.outer.call(ctx, "a") }}, tagged())
		p.outer.get(t.Context(), "so that the scripts are known")
		p.outerSource.do = func(ctx context.Context, _ int) (int, error) {
			b.tap.set(func(t *tap) { t.broken = errors.New("gone") })
			defer b.tap.set(func(t *tap) { t.broken = nil })
			return p.inner.call(ctx, "y")
		}
		assert.Equal(t, SourceComputed, top.get(t.Context(), "t").source)
		time.Sleep(5 * time.Second)
		assert.False(t, b.redis.Exists(must(top.Key("t"))))
	})
}

// W4: while Redis is away, a near entry answers, and it is not known whether it is still right.
func TestW4AResultBuiltWithANearEntryWhileRedisIsAwayIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, c, inner, tagged())
		hears(t, p.inner)
		p.outer.get(t.Context(), "so that the scripts are known, and the inner entry is near")
		p.outerSource.do = func(ctx context.Context, _ int) (int, error) {
			b.tap.set(func(t *tap) { t.broken = errors.New("gone") })
			defer b.tap.set(func(t *tap) { t.broken = nil })
			c.Events().Down()
			o := p.inner.get(ctx, "x")
			assert.Equal(t, SourceStale, o.source)
			return o.value, o.err
		}
		assert.Equal(t, SourceComputed, p.outer.get(t.Context(), "a").source)
		time.Sleep(5 * time.Second)
		assert.False(t, b.redis.Exists(must(p.outer.Key("a"))))
	})
}

// W4: a computation without a lease that another call has begun collects no tags.
func TestW4AResultBuiltWithAnotherCallsComputationWithoutALeaseIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		inner := tagged()
		inner.OnCold = Compute
		p := wrapPair(t, b.cache(), inner, tagged())
		p.innerSource.took = time.Second
		p.innerSource.do = func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			return run, nil
		}
		lock := must(p.inner.Key("x")) + LockSuffix
		require.NoError(t, b.redis.Set(lock, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) // of another process
		b.redis.SetTTL(lock, time.Hour)
		first := p.inner.begin(t.Context(), "x")
		synctest.Wait()
		second := p.inner.begin(t.Context(), "x") // its computation waits for the end of the first
		synctest.Wait()
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value)
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, 2, (<-second).value)
		assert.False(t, b.redis.Exists(must(p.outer.Key("a"))))
	})
}

// W5.
func TestW5TheTagsOfACallThatFailsAreInherited(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context, p *pair) error{
		"an error": func(ctx context.Context, p *pair) error {
			_, err := p.inner.call(ctx, "x")
			return err
		},
		"a context that ends": func(ctx context.Context, p *pair) error {
			ctx, end := context.WithTimeout(ctx, time.Millisecond)
			defer end()
			_, err := p.inner.call(ctx, "x")
			return err
		},
		"bypass": func(ctx context.Context, p *pair) error {
			_, err := p.inner.call(WithBypass(ctx), "x")
			return err
		},
		"a context that has ended": func(ctx context.Context, p *pair) error {
			ctx, end := context.WithCancel(ctx)
			end()
			_, err := p.inner.call(ctx, "x")
			return err
		},
		"a refusal": func(ctx context.Context, p *pair) error {
			go func() { _, _ = p.inner.call(context.WithoutCancel(ctx), "x") }()
			synctest.Wait()
			_, err := p.inner.call(ctx, "x")
			assert.ErrorIs(t, err, ErrColdCache)
			return err
		},
		"Refresh of the handle": func(ctx context.Context, p *pair) error { return p.inner.Refresh(ctx, "x") },
		"Refresh of the handle, with a context that has ended": func(ctx context.Context, p *pair) error {
			ctx, end := context.WithCancel(ctx)
			end()
			return p.inner.Refresh(ctx, "x")
		},
		"refresh": func(ctx context.Context, p *pair) error {
			_, err := p.inner.call(WithRefresh(ctx), "x")
			return err
		},
		"a panic": func(ctx context.Context, p *pair) (err error) {
			defer func() { err, _ = recover().(error) }()
			p.innerSource.set(func(s *source) {
				s.do = func(context.Context, int) (int, error) { panic("no such book") }
			})
			_, err = p.inner.call(ctx, "x")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				p := wrapPair(t, c, tagged("author:{0}"), tagged())
				p.innerSource.took = 10 * time.Millisecond
				p.innerSource.do = func(context.Context, int) (int, error) { return 0, errors.New("no such book") }
				p.outerSource.do = func(ctx context.Context, run int) (int, error) {
					assert.Error(t, fail(ctx, p))
					return run, nil
				}
				p.outer.get(t.Context(), "a")
				time.Sleep(time.Second)
				assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(p.outer.get(t.Context(), "a")))
				require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
				assert.Equal(t, 2, p.outer.get(t.Context(), "a").value)
			})
		})
	}
}

// Refresh of a typed handle returns the value.
func TestW5RefreshOfAHandleHandsUpTags(t *testing.T) {
	for _, joins := range []bool{false, true} {
		t.Run(fmt.Sprint("another refresh is under way: ", joins), func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				runs := 0
				inner := func(ctx context.Context, _ string) (int, error) {
					runs++
					run := runs
					time.Sleep(time.Second)
					AddTags(ctx, "book:5")
					return run, nil
				}
				h, err := Wrap1(&inner, Options{Cache: c, Name: "inner", Timeout: time.Hour, Tags: []string{"author:{0}"}})
				require.NoError(t, err)
				outer := func(ctx context.Context, _ string) (int, error) {
					if joins {
						go func() { _, _ = h.Refresh(t.Context(), "x") }()
						synctest.Wait()
					}
					return h.Refresh(ctx, "x")
				}
				f, err := Wrap1(&outer, Options{Cache: c, Name: "outer", Timeout: time.Hour, Tags: []string{}})
				require.NoError(t, err)
				for _, tag := range []string{"author:x", "book:5"} {
					v, err := outer(t.Context(), "a")
					require.NoError(t, err)
					again, err := outer(t.Context(), "a")
					require.NoError(t, err)
					assert.Equal(t, v, again)
					require.NoError(t, c.InvalidateTags(t.Context(), tag))
				}
				_, _, ok, err := f.Peek(t.Context(), "a")
				require.NoError(t, err)
				assert.False(t, ok)
				assert.EqualValues(t, 2, f.Func.Stats().Fresh)
			})
		})
	}
}

func TestW5ADirectCallHandsUpTheTagsOfItsCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		top := &source{do: func(ctx context.Context, _ int) (int, error) {
			return p.outer.call(WithBypass(ctx), "a")
		}}
		w := wrap(t, c, top, tagged())
		w.get(t.Context(), "t")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "t").source)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, 2, w.get(t.Context(), "t").value)
	})
}

func TestW5ARecursiveCallHandsUpItsTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		var w *wrapped
		s.do = func(ctx context.Context, run int) (int, error) {
			if run%2 == 1 {
				return w.call(ctx, "a") // its own key: directly
			}
			AddTags(ctx, "deep")
			return run, nil
		}
		w = wrap(t, c, s, tagged())
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		require.NoError(t, c.InvalidateTags(t.Context(), "deep"))
		assert.Equal(t, 4, w.get(t.Context(), "a").value)
	})
}

// W6.
func TestW6AFunctionWithoutTagsInTheMiddleStopsInheritance(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged("author:{0}"), Options{Timeout: time.Hour})
		top := &source{do: func(ctx context.Context, _ int) (int, error) { return p.outer.call(ctx, "a") }}
		w := wrap(t, c, top, tagged())
		w.get(t.Context(), "the middle computes")
		w.get(t.Context(), "the middle is a hit")
		require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, SourceFresh, w.get(t.Context(), "the middle computes").source)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "the middle is a hit").source)
		lines := b.log.About("do not inherit")
		require.Len(t, lines, 1)
		assert.Contains(t, lines[0], "func=test.Outer calls=test.Inner")
	})
}

// W7.
func TestW7AfterTheFunctionHasReturnedNothingIsInherited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		done := make(chan struct{})
		p.outerSource.do = func(ctx context.Context, run int) (int, error) {
			go func() {
				defer close(done)
				time.Sleep(time.Minute)
				_, _ = p.inner.call(context.WithoutCancel(ctx), "x")
			}()
			return run, nil
		}
		p.outer.get(t.Context(), "a")
		<-done
		require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source)
	})
}

// A slowCodec takes its time, in which a goroutine that the function left running goes on.
type slowCodec struct{ CBOR }

func (slowCodec) Name() string { return "slow" }

func (slowCodec) Encode(results []any) ([]byte, error) {
	time.Sleep(time.Minute)
	return CBOR{}.Encode(results)
}

func TestW7ACallWhileTheResultIsEncodedIsNotInherited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache(func(cfg *Config) { cfg.Codec = slowCodec{} })
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		p.inner.get(t.Context(), "x") // so that the call is a hit
		p.outerSource.do = func(ctx context.Context, run int) (int, error) {
			go func() {
				time.Sleep(time.Second)
				AddTags(ctx, "late")
				assert.Equal(t, SourceFresh, p.inner.get(context.WithoutCancel(ctx), "x").source)
			}()
			return run, nil
		}
		p.outer.get(t.Context(), "a")
		time.Sleep(5 * time.Minute)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:x", "late"))
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source)
		assert.Len(t, b.log.About("after the function has returned"), 1)
	})
}

// W8.
func TestW8AResultBuiltWithAStaleAnswerIsStoredAsStale(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := tagged("author:{0}")
		inner.OnStale = Background
		p := wrapPair(t, c, inner, tagged())
		p.inner.get(t.Context(), "x")
		p.innerSource.set(func(s *source) { s.took = time.Minute })
		require.NoError(t, c.ExpireTags(t.Context(), "author:x"))
		assert.Equal(t, 1, p.outer.get(t.Context(), "a").value, "the stale one, while it is recomputed")
		time.Sleep(2 * time.Minute)
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value, "the expiry is not undone one level up")
	})
}

func TestAnOuterEntryHasTheStampBeforeItsFunctionRanAndNoLaterOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged("author:{0}"), tagged())
		p.outerSource.do = func(ctx context.Context, run int) (int, error) {
			// The source that both read changes before the inner one is asked.
			require.NoError(t, c.InvalidateTags(context.WithoutCancel(t.Context()), "author:x"))
			_, err := p.inner.call(ctx, "x")
			return run, err
		}
		p.outer.get(t.Context(), "a")
		p.outerSource.set(func(s *source) { s.do = nil })
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value)
	})
}

// W5: an answer can only lower the stamps.
func TestW5OfTwoAnswersWithATagTheOlderOneCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, here, inner, tagged())
		hears(t, p.inner)
		p.inner.get(t.Context(), "x")
		p.outerSource.do = func(ctx context.Context, _ int) (int, error) {
			first, _ := p.inner.call(ctx, "x") // the old value, as near may be late
			second, _ := p.inner.call(WithRefresh(ctx), "x")
			return 10*first + second, nil
		}
		there.SetChannel("nobody hears this:")
		require.NoError(t, there.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, 12, p.outer.get(t.Context(), "a").value)
		assert.Equal(t, 23, p.outer.get(t.Context(), "a").value, "it was born invalid")
	})
}

// W5: also for a tag that the inner function has added.
func TestW5AnAddedTagHasNoLaterStampThanTheRunThatInheritsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		p := wrapPair(t, c, tagged(), tagged())
		p.innerSource.do = func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			return run, nil
		}
		p.outerSource.do = func(ctx context.Context, run int) (int, error) {
			// The source that both read changes before the inner one is asked.
			require.NoError(t, c.InvalidateTags(context.WithoutCancel(t.Context()), "book:5"))
			_, err := p.inner.call(ctx, "x")
			return run, err
		}
		p.outer.get(t.Context(), "a")
		p.outerSource.set(func(s *source) { s.do = nil })
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value)
	})
}

func TestJoinersOfTheInnerComputationInheritToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := tagged()
		inner.OnCold = Wait
		p := wrapPair(t, c, inner, tagged())
		p.innerSource.took = time.Second
		p.innerSource.do = func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			return run, nil
		}
		first, second := p.outer.begin(t.Context(), "a"), p.outer.begin(t.Context(), "b")
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, 1, (<-second).value)
		for _, arg := range []string{"a", "b"} {
			assert.Equal(t, SourceFresh, p.outer.get(t.Context(), arg).source)
		}
		require.NoError(t, c.InvalidateTags(t.Context(), "book:5"))
		for _, arg := range []string{"a", "b"} {
			assert.Equal(t, SourceComputed, p.outer.get(t.Context(), arg).source)
		}
	})
}

func TestAnInnerComputationWithoutALeaseKeepsNothingFromBeingStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		inner := tagged("author:{0}")
		inner.OnCold = Compute
		p, other := wrapPair(t, here, inner, tagged()), wrapPair(t, there, inner, tagged())
		other.innerSource.took = time.Minute
		holder := other.inner.begin(t.Context(), "x")
		synctest.Wait()
		p.outer.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source)
		require.NoError(t, here.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, SourceComputed, p.outer.get(t.Context(), "a").source)
		<-holder
	})
}

func TestBetweenTwoNamespacesOrTwoRedisInheritanceStops(t *testing.T) {
	for name, change := range map[string]func(cfg, of *Config){
		"namespace": func(cfg, of *Config) {
			_ = cfg.Redis.Close()
			cfg.Redis, cfg.Namespace = of.Redis, "other"
		},
		"Redis": func(_, _ *Config) {}, // each cache of these tests has a client of its own
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				of := c.Config()
				elsewhere := b.cache(func(cfg *Config) { change(cfg, &of) })
				inner := wrap(t, elsewhere, &source{}, shelf(func(o *Options) { o.Name = "inner" }))
				outer := wrap(t, c, &source{do: func(ctx context.Context, run int) (int, error) {
					_, err := inner.call(ctx, "x")
					return run, err
				}}, tagged())
				outer.get(t.Context(), "a")
				require.NoError(t, elsewhere.InvalidateTags(t.Context(), "author:x"))
				require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
				assert.Equal(t, SourceFresh, outer.get(t.Context(), "a").source)
				assert.Equal(t, SourceComputed, inner.get(t.Context(), "x").source)
			})
		})
	}
}

// The outer function has said its own.
func TestFreshnessAndTimeoutAreNotInherited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		inner := tagged("author:{0}")
		inner.Freshness, inner.Timeout, inner.OnStale = time.Second, time.Minute, Background
		p := wrapPair(t, b.cache(), inner, tagged())
		p.inner.get(t.Context(), "x")
		time.Sleep(2 * time.Second) // it is stale by its age
		p.innerSource.set(func(s *source) { s.took = time.Second })
		assert.Equal(t, 1, p.outer.get(t.Context(), "a").value)
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source, "built with a stale answer")
		time.Sleep(2 * time.Minute)
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source, "the inner entry is gone")
	})
}

// X4.
func TestX4AnAnswerOfAnotherEpochKeepsTheOuterOneFromBeingStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := wrapPair(t, b.cache(), tagged("author:{0}"), tagged())
		p.outer.get(t.Context(), "so that there is a fence")
		p.outerSource.do = func(ctx context.Context, run int) (int, error) {
			b.redis.Del(fence.Key("fncache")) // the inner one makes a new epoch
			_, err := p.inner.call(ctx, "x")
			return run, err
		}
		p.outer.get(t.Context(), "a")
		assert.False(t, b.redis.Exists(must(p.outer.Key("a"))))
	})
}
