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
)

// This file tests which callers a computation may answer if a tag is invalidated while it runs.

// X6. The store is held back after the last reading of the fence was answered. The call that comes
// then finds no entry, and the lease still held.
func TestX6ACallThatComesAfterTheLastReadingOfTheFenceLooksUpAgain(t *testing.T) {
	for _, joins := range []bool{true, false} {
		t.Run(fmt.Sprint("others have joined before: ", joins), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				here, there := b.cache(), b.cache()
				s := &source{}
				w := wrap(t, here, s, shelf(waits))
				w.get(t.Context(), "so that the scripts are known")
				s.set(func(s *source) { s.took = time.Second })
				owner := w.begin(t.Context(), "a")
				time.Sleep(100 * time.Millisecond)
				var joiner <-chan outcome
				if joins {
					joiner = w.begin(t.Context(), "a")
				}
				storing, release := make(chan struct{}), make(chan struct{})
				b.tap.on("store", func() { close(storing); <-release })
				<-storing
				synctest.Wait() // the fence is read
				require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
				asked := b.tap.count("acquire")
				late := w.begin(t.Context(), "a")
				synctest.Wait()
				require.Equal(t, asked+1, b.tap.count("acquire"))
				close(release)
				assert.Equal(t, 2, (<-owner).value)
				if joins {
					assert.Equal(t, 2, (<-joiner).value, "it called before the invalidation")
				}
				assert.Equal(t, 3, (<-late).value)
			})
		})
	}
}

func TestJoinersDoNotGetAValueWithTooManyTagsToBeJudged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Second, do: func(ctx context.Context, run int) (int, error) {
			for i := range MaxTags + 100 {
				AddTags(ctx, fmt.Sprint("book:", i))
			}
			return run, nil
		}}
		w := wrap(t, here, s, shelf(waits))
		owner := w.begin(t.Context(), "a")
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, there.InvalidateTags(t.Context(), fmt.Sprint("book:", MaxTags+50)))
		joiner := w.begin(t.Context(), "a")
		assert.Equal(t, 1, (<-owner).value)
		assert.Equal(t, 2, (<-joiner).value)
	})
}

// X7. The lease has run out because Redis is away. So the call cannot ask, and the fence cannot be
// read for it.
func TestX7WhileRedisIsAwayNoCallJoinsAComputationFromBeforeAnInvalidationOfThisProcess(t *testing.T) {
	for name, overtake := range map[string]func(*Cache, context.Context, ...string) error{
		"hard": (*Cache).InvalidateTags, "soft": (*Cache).ExpireTags,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				s := &source{took: 50 * time.Second, do: func(ctx context.Context, run int) (int, error) {
					AddTags(ctx, "book:5")
					return run, nil
				}}
				w := wrap(t, c, s, shelf(waits))
				owner := w.begin(t.Context(), "a")
				time.Sleep(time.Second)
				require.NoError(t, overtake(c, t.Context(), "book:5"))
				b.tap.set(func(t *tap) { t.broken = errors.New("gone") })
				time.Sleep(40 * time.Second)
				s.set(func(s *source) { s.took = 0 })
				assert.Equal(t, 2, w.get(t.Context(), "a").value)
				assert.Equal(t, 1, (<-owner).value)
				b.tap.set(func(t *tap) { t.broken = nil })
				awaitBack(c)
				assert.Equal(t, 3, w.get(t.Context(), "a").value, "nothing was stored")
			})
		})
	}
}

// A lateSource is a function without an error result, whose callers wait for longer than
// ComputeTimeout. It adds a tag after that.
type lateSource struct {
	runs int
	call func(context.Context, string) int
}

func wrapLate(t *testing.T, c *Cache) *lateSource {
	s := new(lateSource)
	s.call = func(ctx context.Context, _ string) int {
		s.runs++
		run := s.runs
		time.Sleep(10 * time.Second)
		AddTags(ctx, "book:5")
		return run
	}
	opts := Options{Cache: c, Name: "slow", Timeout: time.Hour, ComputeTimeout: 5 * time.Second, WaitTimeout: time.Minute, OnCold: Wait, Tags: []string{}}
	_, err := Wrap(&s.call, opts)
	require.NoError(t, err)
	return s
}

// X8.
func TestX8JoinersOfAFunctionThatReturnsLateAreAnsweredByALaterReading(t *testing.T) {
	for name, overtake := range map[string]func(*Cache, context.Context, ...string) error{
		"hard": (*Cache).InvalidateTags, "soft": (*Cache).ExpireTags,
		"not": func(*Cache, context.Context, ...string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				here, there := b.cache(), b.cache()
				s := wrapLate(t, here)
				owner := make(chan int)
				go func() { owner <- s.call(t.Context(), "a") }()
				time.Sleep(time.Second)
				require.NoError(t, overtake(there, t.Context(), "book:5"))
				var info Info
				v := s.call(WithInfo(t.Context(), &info), "a")
				assert.Equal(t, 1, <-owner)
				want := map[string]outcome{
					"hard": {value: 2, source: SourceComputed}, "soft": {value: 1, source: SourceStale}, "not": {value: 1, source: SourceWaited},
				}
				assert.Equal(t, want[name], outcome{value: v, source: info.Source})
			})
		})
	}
}

// X8: the tags that come late are those of the functions that call it, too.
func TestX8TheTagsOfAFunctionThatReturnsLateAreInherited(t *testing.T) {
	for _, joins := range []bool{false, true} {
		t.Run(fmt.Sprint("another call is under way: ", joins), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				inner := wrapLate(t, c)
				outer := wrap(t, c, &source{do: func(ctx context.Context, _ int) (int, error) {
					return inner.call(ctx, "a"), nil
				}}, tagged())
				if joins {
					go inner.call(t.Context(), "a")
					time.Sleep(time.Second)
				}
				assert.Equal(t, 1, outer.get(t.Context(), "o").value)
				assert.Equal(t, SourceFresh, outer.get(t.Context(), "o").source)
				require.NoError(t, c.InvalidateTags(t.Context(), "book:5"))
				assert.Equal(t, 2, outer.get(t.Context(), "o").value)
				assert.Empty(t, b.log.About("the tags are lost"))
			})
		})
	}
}

// The call waits for another process, finds a stale entry, and no place is free any more. It must
// not wait for a place with that entry at hand, because later calls join it.
func TestACallWithAStaleEntryDoesNotWaitForAPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{}
		w := wrap(t, here, s, shelf(waits, func(o *Options) { o.MaxConcurrent, o.Freshness = 1, time.Second }))
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second) // it is stale
		key := must(w.Key("a"))
		stored := must(b.redis.Get(key))
		b.redis.Del(key)
		lock := func() {
			require.NoError(t, b.redis.Set(key+LockSuffix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) // of another process
			b.redis.SetTTL(key+LockSuffix, time.Hour)
		}
		lock()
		first := w.begin(t.Context(), "a")
		synctest.Wait()
		s.set(func(s *source) { s.took = 5 * time.Second })
		asking, asks := make(chan struct{}), make(chan struct{})
		b.tap.on("acquire", func() { close(asking); <-asks })
		<-asking // for the lease, with the only place
		require.NoError(t, b.redis.Set(key, stored))
		busy := w.begin(t.Context(), "b")
		synctest.Wait() // it waits for the place
		close(asks)
		time.Sleep(time.Second)
		require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		b.redis.Del(key + LockSuffix)
		late := w.begin(t.Context(), "a")
		assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(<-first))
		<-busy
		assert.Equal(t, 3, (<-late).value)
	})
}
