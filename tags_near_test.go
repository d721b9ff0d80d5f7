package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/redistest"
)

// This file tests near entries of functions with tags.

func nearby(o *Options) { o.Near = time.Hour }

// hears waits, in a bubble, until events of the function and of the fence are heard.
func hears(t *testing.T, w *wrapped) {
	t.Helper()
	c := w.Bound()
	awaitBubbleHearing(t, c)
	require.True(t, w.Hears())
}

func TestANearEntryWithTagsIsServedUntilATagIsInvalidated(t *testing.T) {
	for name, overtake := range map[string]func(*Cache, context.Context, ...string) error{
		"hard": (*Cache).InvalidateTags, "soft": (*Cache).ExpireTags,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				ctx := t.Context()
				here, there := b.cache(), b.cache()
				s := &source{}
				w, other := wrap(t, here, s, shelf(nearby)), wrap(t, there, s, shelf(nearby))
				hears(t, w)
				hears(t, other)
				assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(ctx, "a", 2))
				assert.Equal(t, []Source{SourceFresh, SourceNear}, other.sources(ctx, "a", 2))
				require.NoError(t, here.InvalidateTags(ctx, "author:b"))
				synctest.Wait()
				assert.Equal(t, SourceNear, other.get(ctx, "a").source, "another tag")

				require.NoError(t, overtake(here, ctx, "author:a"))
				assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(w.get(ctx, "a")), "at once in the process that invalidates")
				synctest.Wait()
				assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(other.get(ctx, "a")), "a message later elsewhere")
				// If the process heard its own message while it computed, it did not keep the value.
				assert.Contains(t, []Source{SourceNear, SourceFresh}, w.get(ctx, "a").source)
				assert.Equal(t, SourceNear, w.get(ctx, "a").source)
				assert.Equal(t, SourceNear, other.get(ctx, "a").source)
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestAnAddedTagOvertakesANearEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			return run, nil
		}}
		w := wrap(t, c, s, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "a")
		assert.Equal(t, SourceNear, w.get(t.Context(), "a").source)
		require.NoError(t, c.InvalidateTags(t.Context(), "book:5"))
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
	})
}

func TestANearEntryWithTagsIsNotServedWhileEventsAreNotHeard(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "a")
		w.Bound().Events().Down()
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

// The databases of a server share its channels, but not its keys. A stamp of the fence of another
// database must not make this one look as if it had gone back.
func TestAnInvalidationInAnotherDatabaseOfTheServerChangesNothing(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		ctx := t.Context()
		server := redistest.Start(t)
		here, there := newTestCache(t, Config{Redis: server.Client()}), newTestCache(t, Config{Redis: server.Client()})
		elsewhere := newTestCache(t, Config{Redis: server.Client(func(o *redis.Options) { o.DB = 1 })})
		w := wrap(t, here, &source{}, shelf(nearby))
		awaitHearing(t, here, 0)
		require.Eventually(t, w.Hears, 30*time.Second, time.Millisecond)
		for _, arg := range []string{"a", "b"} {
			assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(ctx, arg, 2))
		}
		require.NoError(t, elsewhere.InvalidateTags(ctx, "books"))
		require.NoError(t, there.ExpireTags(ctx, "author:b"))
		require.Eventually(t, func() bool { return w.get(ctx, "b").source != SourceNear }, 30*time.Second, time.Millisecond, "it hears the later message")
		assert.Equal(t, outcome{value: 1, source: SourceNear}, timeless(w.get(ctx, "a")))
	})
}

// W2.
func TestW2AComputedValueIsKeptNearAsOfBeforeItsStampWasRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{}
		w := wrap(t, here, s, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "so that there is a fence, and scripts are known")
		readings := 0
		var again func()
		again = func() { // after the capture, and after the re-read: it has found nothing
			if readings++; readings < 2 {
				b.tap.onReply("fence", func(redis.Cmder) { again() })
				return
			}
			require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
			synctest.Wait() // the message is heard
		}
		b.tap.onReply("fence", func(redis.Cmder) { again() })
		w.get(t.Context(), "a")
		require.Equal(t, 2, readings)
		synctest.Wait()
		assert.Equal(t, 3, w.get(t.Context(), "a").value, "it is not served from near")
	})
}

// W12: the process reads entry and fence while its command is on its way, and the message is lost.
func TestW12AnEntryReadWhileTheCommandIsOnItsWayIsNotServedFromNear(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "a")
		require.NoError(t, c.InvalidateTags(t.Context(), "so that the script is known"))
		c.SetChannel("nobody hears this:")
		b.tap.on("tags", func() { assert.Equal(t, []Source{SourceFresh, SourceNear}, w.sources(t.Context(), "a", 2)) })
		require.NoError(t, c.InvalidateTags(t.Context(), "author:a"))
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
	})
}

// W3.
func TestW3ANearHitHandsUpTheStampOfWhenItWasFoundValid(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, here, inner, tagged())
		hears(t, p.inner)
		p.inner.get(t.Context(), "x")
		// The invalidation's message is lost, or on its way.
		b.tap.set(func(tap *tap) {})
		there.SetChannel("nobody hears this:")
		require.NoError(t, there.InvalidateTags(t.Context(), "author:x"))
		there.SetChannel("fncache:events:")
		assert.Equal(t, 1, p.outer.get(t.Context(), "a").value, "an old value, as near may be late")
		here.Events().OvertakeTags(fence.Raw([]fence.Tag{tagOf(here, "author:x")})) // it comes
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value, "what was built of it was born invalid")
	})
}

// W3: so does a hit with arguments that are not plain, and one of Peek.
func TestW3OtherNearHitsHandUpTheStampOfWhenTheyWereFoundValid(t *testing.T) {
	for _, peeks := range []bool{false, true} {
		t.Run(fmt.Sprint("peeks: ", peeks), func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				here, there := b.cache(), b.cache()
				innerRuns, outerRuns := 0, 0
				inner := func(context.Context, []string) (int, error) { innerRuns++; return innerRuns, nil }
				h, err := Wrap1(&inner, Options{Cache: here, Name: "inner", Timeout: time.Hour, Near: time.Hour, Tags: []string{"books"}})
				require.NoError(t, err)
				outer := func(ctx context.Context, _ string) (int, error) {
					if outerRuns++; peeks && outerRuns == 1 {
						v, info, _, err := h.Peek(ctx, []string{"x"})
						assert.Equal(t, SourceNear, info.Source)
						return v, err
					}
					return inner(ctx, []string{"x"})
				}
				_, err = Wrap1(&outer, Options{Cache: here, Name: "outer", Timeout: time.Hour, Tags: []string{}})
				require.NoError(t, err)
				awaitBubbleHearing(t, here)
				Must(inner(t.Context(), []string{"x"}))
				there.SetChannel("nobody hears this:")
				require.NoError(t, there.InvalidateTags(t.Context(), "books"))
				assert.Equal(t, 1, Must(outer(t.Context(), "a")), "an old value, as near may be late")
				here.Events().OvertakeTags(fence.Raw([]fence.Tag{tagOf(here, "books")})) // it comes
				assert.Equal(t, 2, Must(outer(t.Context(), "a")), "what was built of it was born invalid")
			})
		})
	}
}

func TestNearHitsHandUpTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, c, inner, tagged())
		hears(t, p.inner)
		p.inner.get(t.Context(), "x")
		assert.Equal(t, SourceNear, p.inner.get(t.Context(), "x").source)
		p.outer.get(t.Context(), "a")
		assert.EqualValues(t, 2, p.inner.Stats().Near)
		assert.Equal(t, SourceFresh, p.outer.get(t.Context(), "a").source)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:x"))
		assert.Equal(t, 2, p.outer.get(t.Context(), "a").value)
	})
}

// W15.
func TestW15ANearEntryHasTheStampOfTheReadingThatFoundItValid(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, here, inner, tagged())
		other := wrapPair(t, there, tagged("author:{0}"), tagged())
		hears(t, p.inner)
		other.inner.get(t.Context(), "x")
		there.SetChannel("nobody hears this:")
		b.tap.onReply("hmget", func(redis.Cmder) { // entry and fence are read
			require.NoError(t, there.InvalidateTags(t.Context(), "author:x"))
		})
		p.inner.get(t.Context(), "x")
		there.SetChannel("fncache:events:")
		require.Equal(t, SourceNear, p.inner.get(t.Context(), "x").source)
		p.outer.get(t.Context(), "a")
		here.Events().OvertakeTags(fence.Raw([]fence.Tag{tagOf(here, "author:x")}))
		assert.Equal(t, SourceComputed, p.outer.get(t.Context(), "a").source)
	})
}

// W10: the process has heard of the invalidation, and has not read the fence since.
func TestW10AMessageShowsThatTheFenceWentBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		w := wrap(t, here, &source{}, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "a")
		fenceKey := fence.Key("fncache")
		now := b.redis.HGet(fenceKey, "c")
		require.NoError(t, there.InvalidateTags(t.Context(), "books"))
		synctest.Wait()
		b.redis.HSet(fenceKey, "c", now) // a failover: the invalidation is lost
		b.redis.HDel(fenceKey, tagOf(here, "books").String())
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
	})
}

// W15: meanwhile another reading has shown a later stamp.
func TestW15ANearEntryHasNoStampOfALaterReading(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		inner := tagged("author:{0}")
		inner.Near = time.Hour
		p := wrapPair(t, here, inner, tagged())
		other := wrapPair(t, there, tagged("author:{0}"), tagged())
		hears(t, p.inner)
		other.inner.get(t.Context(), "x")
		other.inner.get(t.Context(), "y")
		held := make(chan struct{})
		b.tap.onReply("get", func(redis.Cmder) { <-held }) // entry and fence are read
		x := p.inner.begin(t.Context(), "x")
		synctest.Wait()
		there.SetChannel("nobody hears this:")
		require.NoError(t, there.InvalidateTags(t.Context(), "author:x"))
		there.SetChannel("fncache:events:")
		assert.Equal(t, SourceFresh, p.inner.get(t.Context(), "y").source)
		close(held)
		assert.Equal(t, SourceFresh, (<-x).source)
		require.Equal(t, SourceNear, p.inner.get(t.Context(), "x").source)
		p.outer.get(t.Context(), "a")
		here.Events().OvertakeTags(fence.Raw([]fence.Tag{tagOf(here, "author:x")}))
		assert.Equal(t, SourceComputed, p.outer.get(t.Context(), "a").source)
	})
}

func TestWhileRedisIsAwayANearEntryWithTagsIsServedUnlessOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf(nearby))
		hears(t, w)
		w.get(t.Context(), "a")
		w.get(t.Context(), "b")
		c.Events().OvertakeTags(fence.Raw([]fence.Tag{tagOf(c, "author:b")}))
		b.tap.set(func(tap *tap) { tap.broken = errors.New("gone") })
		c.Events().Down()
		assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(w.get(t.Context(), "a")))
		assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source)
		b.tap.set(func(tap *tap) { tap.broken = nil })
	})
}
