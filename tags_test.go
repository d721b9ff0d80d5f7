package fncache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/redistest"
)

// A test whose name or comment has a letter and a number, such as W1, proves that rule of
// docs/protocol.md.

// shelf is how most of these tests cache a source: fresh for long, so that only tags end that.
func shelf(change ...func(*Options)) Options {
	o := Options{Timeout: time.Hour, Tags: []string{"books", "author:{0}"}}
	for _, f := range change {
		f(&o)
	}
	return o
}

func waits(o *Options) { o.OnCold = Wait }
func TestATagInvalidatesAllEntriesThatHaveIt(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		ctx := t.Context()
		here := newTestCache(t, Config{Redis: server.Client()})
		there := newTestCache(t, Config{Redis: server.Client()})
		s := &source{}
		w, other := wrap(t, here, s, shelf()), wrap(t, there, s, shelf())
		for _, arg := range []string{"a", "b", "c"} {
			assert.Equal(t, SourceComputed, w.get(ctx, arg).source)
			assert.Equal(t, SourceFresh, other.get(ctx, arg).source)
		}
		require.NoError(t, here.InvalidateTags(ctx, "author:a", "nothing has this"))
		assert.Equal(t, outcome{value: 4, source: SourceComputed}, timeless(other.get(ctx, "a")))
		assert.Equal(t, SourceFresh, w.get(ctx, "a").source)
		assert.Equal(t, SourceFresh, w.get(ctx, "b").source)

		require.NoError(t, there.InvalidateTags(ctx, "books"))
		for _, arg := range []string{"a", "b", "c"} {
			assert.Equal(t, SourceComputed, w.get(ctx, arg).source)
			assert.Equal(t, SourceFresh, other.get(ctx, arg).source)
		}
		require.NoError(t, here.InvalidateTags(ctx))
		require.NoError(t, here.InvalidateTags(ctx, "author:"))
		assert.Equal(t, SourceFresh, w.get(ctx, "b").source)
		assert.Equal(t, uint64(4), w.Stats().OvertakenHard+other.Stats().OvertakenHard)
		requireIdentity(t, w.Func)
	})
}

func timeless(o outcome) outcome {
	o.age, o.took = 0, 0
	return o
}

func TestAnExpiredTagMakesFreshEntriesStale(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		ctx := t.Context()
		c := newTestCache(t, Config{Redis: server.Client()})
		s := &source{}
		w := wrap(t, c, s, shelf())
		w.get(ctx, "a")
		require.NoError(t, c.ExpireTags(ctx, "author:a"))
		release, started := make(chan struct{}), make(chan struct{})
		s.set(func(s *source) {
			s.do = func(_ context.Context, run int) (int, error) {
				close(started)
				<-release
				return run, nil
			}
		})
		holder := w.begin(ctx, "a")
		<-started
		for range 3 {
			assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(w.get(ctx, "a")))
		}
		close(release)
		assert.Equal(t, 2, (<-holder).value)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(ctx, "a")))
		assert.Positive(t, w.Stats().OvertakenSoft)
		assert.Zero(t, w.Stats().OvertakenHard)
	})
}

// A tag is invalidated while the function runs: the stored entry is invalid from the beginning,
// in the foreground and in the background. Peers get this wrong.
func TestAResultInvalidatedWhileItIsComputedIsNeverServed(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"foreground": func(*Options) {},
		"background": func(o *Options) { o.Freshness, o.OnStale = time.Second, Background },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				here, there := b.cache(), b.cache()
				s := &source{took: 100 * time.Millisecond}
				w, other := wrap(t, here, s, shelf(change)), wrap(t, there, s, shelf(change))
				if name == "background" {
					w.get(t.Context(), "a")
					time.Sleep(2 * time.Second)
				}
				end := w.begin(t.Context(), "a")
				time.Sleep(50 * time.Millisecond)
				require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
				<-end
				time.Sleep(time.Second)
				runs := s.count()
				assert.Equal(t, SourceComputed, other.get(t.Context(), "a").source, "what was stored is born invalid")
				assert.Equal(t, runs+1, s.count())
			})
		})
	}
}

// W1.
func TestW1AnEntryThatAcquireReturnsIsJudgedByALaterReading(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{}
		w, other := wrap(t, here, s, shelf()), wrap(t, there, s, shelf())
		w.get(t.Context(), "seed a fence")
		b.tap.on("acquire", func() { // the lookup has found nothing
			other.get(t.Context(), "a")
			require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		})
		assert.Equal(t, outcome{value: 3, source: SourceComputed}, w.get(t.Context(), "a"))
	})
}

func TestW9WithoutAFenceNothingIsServedAndNothingIsStoredWithoutAStamp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, shelf())
		w.get(t.Context(), "a")
		b.redis.Del(fence.Key("fncache"))
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source, "the fence was evicted")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "there is a new one")

		key := must(w.Key("b"))
		b.tap.set(func(t *tap) { t.refuse["fence"] = replyError("ERR no scripts today") })
		assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source)
		assert.False(t, b.redis.Exists(key), "no stamp could be captured")
		b.tap.set(func(t *tap) { delete(t.refuse, "fence") })
		time.Sleep(2 * time.Second)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source)
		assert.True(t, b.redis.Exists(key))
		err := w.Refresh(t.Context(), "b")
		require.NoError(t, err)
	})
}

func TestAFenceThatCannotBeReadIsRedisAway(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "nohash", "on", ">secret", "~*", "&*", "+@all", "-hmget").Err())
		t.Cleanup(func() { _ = server.Client().Do(context.Background(), "ACL", "DELUSER", "nohash").Err() })
		client := server.Client(func(o *redis.Options) { o.Username, o.Password = "nohash", "secret" })
		c := newTestCache(t, Config{Redis: client, OnRedisDown: DownError})
		w := wrap(t, c, &source{}, shelf())
		o := w.get(t.Context(), "a")
		require.ErrorIs(t, o.err, ErrRedisDown)
		require.ErrorContains(t, o.err, "fence: NOPERM")
		assert.Positive(t, w.Stats().RedisErrorKinds[KindNoPerm])
	})
}

// W10.
func TestW10AFenceThatWentBackMakesAllEntriesMissesOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf())
		w.get(t.Context(), "a")
		fenceKey := fence.Key("fncache")
		now := b.redis.HGet(fenceKey, "c")
		require.NoError(t, c.InvalidateTags(t.Context(), "books"))
		b.redis.HSet(fenceKey, "c", now) // a failover: the invalidation is lost
		b.redis.HDel(fenceKey, tagOf(c, "books").String())
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

// X2: the lost invalidation would be hidden by the next one.
func TestX2AnInvalidationNoticesThatTheFenceWentBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf())
		w.get(t.Context(), "a")
		fenceKey := fence.Key("fncache")
		now := b.redis.HGet(fenceKey, "c")
		require.NoError(t, c.InvalidateTags(t.Context(), "books"))
		b.redis.HSet(fenceKey, "c", now) // a failover: the invalidation is lost
		b.redis.HDel(fenceKey, tagOf(c, "books").String())
		require.NoError(t, c.InvalidateTags(t.Context(), "another"))
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
	})
}

func TestAFenceIsNotReadAgainBecauseOfWhatWasInvalidatedSince(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		w := wrap(t, here, &source{}, shelf())
		w.get(t.Context(), "a")
		w.get(t.Context(), "b")
		held := make(chan struct{})
		b.tap.onReply("get", func(redis.Cmder) { <-held }) // both have been read
		a := w.begin(t.Context(), "a")
		synctest.Wait()
		require.NoError(t, there.InvalidateTags(t.Context(), "another"))
		assert.Equal(t, SourceFresh, w.get(t.Context(), "b").source, "which shows a later stamp")
		b.tap.reset()
		close(held)
		assert.Equal(t, SourceFresh, (<-a).source)
		assert.Zero(t, b.tap.count("fence"))
	})
}

// X3: a stamp of an entry counts as seen.
func TestAnEntryThatIsNewerThanTheFenceShowsThatTheFenceWentBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here := b.cache()
		w := wrap(t, here, &source{}, shelf())
		fenceKey := fence.Key("fncache")
		w.get(t.Context(), "seed")
		before := b.redis.HGet(fenceKey, "c")
		require.NoError(t, here.InvalidateTags(t.Context(), "another"))
		w.get(t.Context(), "a")
		b.redis.HSet(fenceKey, "c", before)
		epoch := b.redis.HGet(fenceKey, "e")

		other := wrap(t, b.cache(), &source{}, shelf()) // which has seen nothing
		assert.Equal(t, SourceComputed, other.get(t.Context(), "a").source)
		assert.NotEqual(t, epoch, b.redis.HGet(fenceKey, "e"))
	})
}

func TestAStampFromTheFarFutureSpoilsNothing(t *testing.T) {
	for _, stamp := range []uint64{99_999_999_999_999_999, 9_000_000_000_000_000} {
		t.Run(fmt.Sprint(stamp), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				w := wrap(t, b.cache(), &source{}, shelf())
				w.get(t.Context(), "a")
				key := must(w.Key("a"))
				e := []byte(must(b.redis.Get(key)))
				binary.BigEndian.PutUint64(e[bodyAt+16+2+16:], stamp) // of the first tag
				require.NoError(t, b.redis.Set(key, string(e)))
				epoch := b.redis.HGet(fence.Key("fncache"), "e")
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
				assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
				assert.Equal(t, epoch, b.redis.HGet(fence.Key("fncache"), "e"))
			})
		})
	}
}

// W12.
func TestW12LookupsUnderWayInTheProcessThatInvalidatesAreNotJoined(t *testing.T) {
	for name, overtake := range map[string]func(*Cache, context.Context, ...string) error{
		"hard": (*Cache).InvalidateTags, "soft": (*Cache).ExpireTags,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				here, sibling := b.cache(), b.cache(func(*Config) {})
				sibling.ShareNames(here) // another cache on the same client
				s := &source{}
				w, other := wrap(t, here, s, shelf()), wrap(t, sibling, s, shelf())
				w.get(t.Context(), "a")
				held := make(chan struct{})
				b.tap.onReply("get", func(redis.Cmder) { <-held }) // it has read
				first := other.begin(t.Context(), "a")
				synctest.Wait()
				require.NoError(t, overtake(here, t.Context(), "author:a"))
				b.tap.reset()
				second := other.begin(t.Context(), "a")
				synctest.Wait()
				assert.Equal(t, 1, b.tap.count("get"), "it does not join the first")
				close(held)
				<-first
				assert.Equal(t, 2, (<-second).value)
			})
		})
	}
}

// W12: the second detaching. The lookup has read the fence before the command is executed.
func TestW12LookupsThatBeginWhileTheCommandIsOnItsWayAreNotJoined(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf())
		w.get(t.Context(), "a")
		require.NoError(t, c.InvalidateTags(t.Context(), "so that the script is known"))
		held := make(chan struct{})
		var first <-chan outcome
		b.tap.on("tags", func() {
			b.tap.onReply("get", func(redis.Cmder) { <-held })
			first = w.begin(t.Context(), "a")
			synctest.Wait() // it has read
		})
		require.NoError(t, c.InvalidateTags(t.Context(), "author:a"))
		b.tap.reset()
		second := w.begin(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, 1, b.tap.count("get"), "it does not join the first")
		close(held)
		<-first
		assert.Equal(t, 2, (<-second).value)
	})
}

// W12: a call that waits for another process has found its entry, and has read the fence.
func TestW12WaitingCallsOfTheProcessThatInvalidatesAreNotJoined(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, shelf(waits))
		w.get(t.Context(), "a")
		require.NoError(t, c.InvalidateTags(t.Context(), "so that the script is known"))
		key := must(w.Key("a"))
		stored := must(b.redis.Get(key))
		b.redis.Del(key)
		require.NoError(t, b.redis.Set(key+LockSuffix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) // of another process
		b.redis.SetTTL(key+LockSuffix, time.Hour)
		first := w.begin(t.Context(), "a")
		synctest.Wait() // it waits
		held, read := make(chan struct{}), make(chan struct{})
		b.tap.onReply("fence", func(redis.Cmder) { close(read); <-held })
		require.NoError(t, b.redis.Set(key, stored))
		<-read
		require.NoError(t, c.InvalidateTags(t.Context(), "author:a"))
		second := w.begin(t.Context(), "a")
		synctest.Wait()
		close(held)
		assert.Equal(t, 1, (<-first).value, "it called before the invalidation")
		b.redis.Del(key + LockSuffix)
		assert.Equal(t, 2, (<-second).value)
	})
}

// W13: the fence is read again before joiners are answered.
func TestJoinersDoNotGetAValueThatWasInvalidatedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Second}
		w := wrap(t, here, s, shelf(waits))
		owner := w.begin(t.Context(), "a")
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		joiner := w.begin(t.Context(), "a") // it comes after the invalidation
		assert.Equal(t, 1, (<-owner).value)
		assert.Equal(t, 2, (<-joiner).value)
	})
}

func TestJoinersGetAValueThatExpiredMeanwhileAsStale(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Second}
		w := wrap(t, here, s, shelf(waits))
		owner := w.begin(t.Context(), "a")
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, there.ExpireTags(t.Context(), "author:a"))
		joiner := w.begin(t.Context(), "a")
		assert.Equal(t, outcome{value: 1, source: SourceComputed}, timeless(<-owner))
		assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(<-joiner))
		s.set(func(s *source) { s.took = 0 })
		assert.Equal(t, 2, w.get(t.Context(), "a").value, "it was born stale")
	})
}

func TestAJoinerLooksUpItselfIfTheFenceCannotBeReadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Second}
		w := wrap(t, b.cache(), s, shelf(waits))
		owner := w.begin(t.Context(), "a")
		time.Sleep(100 * time.Millisecond)
		joiner := w.begin(t.Context(), "a")
		synctest.Wait()
		b.tap.set(func(t *tap) { t.refuse["fence"] = replyError("ERR not now") })
		assert.Equal(t, 1, (<-owner).value)
		assert.Equal(t, outcome{value: 1, source: SourceFresh}, timeless(<-joiner), "it has looked up")
	})
}

func TestW13RefreshComputesAgainAfterAnInvalidation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Second}
		w := wrap(t, here, s, shelf())
		end := make(chan error)
		go func() { end <- w.Refresh(t.Context(), "a") }()
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		require.NoError(t, <-end)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
	})
}

func TestAFunctionWithoutTagsNeverAsksTheFence(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{took: time.Minute}, shelf(waits, func(o *Options) { o.Tags = nil }))
		end := w.begin(t.Context(), "a")
		time.Sleep(time.Second)
		joiner := w.begin(t.Context(), "a")
		<-end
		<-joiner
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		require.NoError(t, w.Refresh(t.Context(), "a"))
		assert.Zero(t, b.tap.count("hmget")+b.tap.count("fence"))
		assert.False(t, b.redis.Exists(fence.Key("fncache")))
	})
}

// Tags may have names of people in them.
func TestNoTextOfATagIsStoredOrPublished(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{do: func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "secret:ann")
			return run, nil
		}}, Options{Timeout: time.Hour, Tags: []string{"secret:{0}"}})
		heard := b.redis.NewSubscriber()
		heard.Psubscribe("*")
		messages := make(chan string, 10)
		go func() {
			for m := range heard.Pmessages() {
				messages <- m.Channel + " " + m.Message
			}
			close(messages)
		}()
		w.get(t.Context(), "bob")
		require.NoError(t, c.InvalidateTags(t.Context(), "secret:ann", "secret:bob"))
		synctest.Wait()
		heard.Punsubscribe("*")
		heard.Close()
		written := b.redis.Dump() + must(b.redis.Get(must(w.Key("bob"))))
		published := 0
		for message := range messages {
			written += message
			published++
		}
		assert.Equal(t, 2, published, "about the entry, and about the tags")
		assert.NotContains(t, written, "ann")
		assert.NotContains(t, written, "bob")
	})
}

func TestAJoinerThatIsAloneCausesNoReading(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, shelf())
		w.get(t.Context(), "a")
		b.tap.reset()
		w.get(t.Context(), "b")
		assert.Equal(t, 1, b.tap.count("fence"), "capture")
		assert.Equal(t, 1, b.tap.count("hmget"))
		w.get(t.Context(), "b")
		assert.Equal(t, 1, b.tap.count("fence"), "a hit reads the fence beside the entry")
		assert.Equal(t, 2, b.tap.count("hmget"))
	})
}

func TestADoomedHolderThatHearsEventsGivesItsLeaseBackAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Minute}
		w, other := wrap(t, here, s, shelf(waits)), wrap(t, there, s, shelf(waits))
		end := w.begin(t.Context(), "a")
		time.Sleep(2 * time.Second) // it hears by now
		require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		synctest.Wait()
		s.set(func(s *source) { s.took = 0 })
		began := time.Now()
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
		assert.Less(t, time.Since(began), 20*time.Millisecond)
		<-end
	})
}

func TestADoomedHolderThatHearsNothingGivesItsLeaseBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Minute}
		b.tap.set(func(t *tap) { t.refuse["publish"] = replyError("NOPERM no events") })
		w, other := wrap(t, here, s, shelf(waits)), wrap(t, there, s, shelf(waits))
		end := w.begin(t.Context(), "a")
		time.Sleep(time.Second)
		require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
		s.set(func(s *source) { s.took = 0 })
		began := time.Now()
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
		assert.Less(t, time.Since(began), 5*time.Second, "the holder finds out when it renews")
		assert.Equal(t, 1, (<-end).value)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
		assert.EqualValues(t, 1, w.Stats().LostLeases)
		assert.EqualValues(t, 1, w.Stats().OvertakenHard)
	})
}

func TestADoomedHolderInTheProcessThatInvalidatesGivesItsLeaseBackAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{took: time.Minute}
		w := wrap(t, c, s, shelf(waits))
		end := w.begin(t.Context(), "a")
		time.Sleep(time.Second)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:a"))
		synctest.Wait()
		s.set(func(s *source) { s.took = 0 })
		began := time.Now()
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
		assert.Zero(t, time.Since(began))
		<-end
	})
}

func TestNegativeEntriesHaveTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		errNone := errors.New("no such book")
		c := b.cache()
		s := &source{do: func(context.Context, int) (int, error) { return 0, errNone }}
		w := wrap(t, c, s, shelf(func(o *Options) { o.CacheErrors, o.ErrorTimeout = []error{errNone}, time.Minute }))
		w.get(t.Context(), "a")
		assert.Equal(t, outcome{err: errNone, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
		require.NoError(t, c.InvalidateTags(t.Context(), "books"))
		assert.Equal(t, outcome{err: errNone, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
	})
}

func TestCompressedEntriesHaveReadableTags(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context, string) (string, error) {
			var text strings.Builder
			for i := range 10_000 {
				fmt.Fprintf(&text, "%06d", i)
			}
			return text.String(), nil
		}
		c := b.cache()
		f, err := Wrap(&fn, Options{Cache: c, Name: "f", Timeout: time.Hour, Tags: []string{"books"}})
		require.NoError(t, err)
		for range 2 {
			v, err := fn(t.Context(), "a")
			require.NoError(t, err)
			assert.Len(t, v, 60_000)
		}
		assert.EqualValues(t, 1, f.Stats().Fresh)
		e, err := operate.Of(c).Read(t.Context(), must(f.Key("a")))
		require.NoError(t, err)
		assert.True(t, e.Compressed)
		assert.Equal(t, tagOf(c, "books").String(), e.Tags[1])
	})
}

func TestTagsThatTheFunctionAddsInvalidateToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5", "book:6")
			return run, nil
		}}
		w := wrap(t, here, s, shelf(func(o *Options) { o.Tags = []string{} }))
		other := wrap(t, there, s, shelf(func(o *Options) { o.Tags = []string{} }))
		w.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, other.get(t.Context(), "a").source)
		require.NoError(t, here.InvalidateTags(t.Context(), "book:7"))
		b.tap.reset()
		assert.Equal(t, SourceFresh, other.get(t.Context(), "a").source)
		assert.Equal(t, 0, b.tap.count("fence"), "the tags last seen under the key are asked for at once")
		third := wrap(t, b.cache(), s, shelf(func(o *Options) { o.Tags = []string{} }))
		assert.Equal(t, SourceFresh, third.get(t.Context(), "a").source)
		assert.Equal(t, 1, b.tap.count("fence"), "who does not know them reads again")
		require.NoError(t, here.ExpireTags(t.Context(), "book:6"))
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
		require.NoError(t, here.InvalidateTags(t.Context(), "book:5"))
		assert.Equal(t, 3, w.get(t.Context(), "a").value)
		assert.Empty(t, b.log.About(""))
	})
}

func TestATagAddedAtTheEndCoversWhatWasInvalidatedBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			require.NoError(t, c.InvalidateTags(context.WithoutCancel(t.Context()), "book:5"))
			AddTags(ctx, "book:5")
			return run, nil
		}}
		w := wrap(t, c, s, shelf())
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = nil })
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
	})
}

func TestAddTagsInTheWrongPlaceIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var kept context.Context
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			AddTags(ctx, "book:5")
			kept = ctx
			return run, nil
		}}
		untagged := wrap(t, b.cache(), s, Options{})
		untagged.get(t.Context(), "a")
		assert.Equal(t, 2, untagged.get(t.Context(), "a").value, "it was not stored")
		assert.Len(t, b.log.About("without Options.Tags"), 1)
		assert.Empty(t, b.log.About("after the function"))

		tagged := wrap(t, b.cache(), s, shelf(func(o *Options) { o.Name = "tagged" }))
		tagged.get(t.Context(), "a")
		AddTags(kept, "late")
		assert.Len(t, b.log.About("after the function has returned"), 1)
		AddTags(t.Context(), "book:5")
		AddTags(nil, "book:5") //nolint:staticcheck // as callers do
	})
}

func TestAResultWithTooManyTagsIsReturnedAndNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		n := MaxTags - 2
		s := &source{do: func(ctx context.Context, run int) (int, error) {
			for i := range n {
				AddTags(ctx, fmt.Sprint("book:", i), fmt.Sprint("book:", i/2))
			}
			return run, nil
		}}
		c := b.cache()
		w := wrap(t, c, s, shelf())
		w.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		require.NoError(t, c.InvalidateTags(t.Context(), fmt.Sprint("book:", n-1)))
		n++
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, w.get(t.Context(), "a"))
		assert.False(t, b.redis.Exists(must(w.Key("a"))) && w.get(t.Context(), "a").source == SourceFresh)
		assert.Len(t, b.log.About("more than 1000 tags"), 1)
	})
}

func TestTagsAreCheckedWhenWrapping(t *testing.T) {
	many := make([]string, MaxOwnTags+1)
	for i := range many {
		many[i] = fmt.Sprint("tag", i)
	}
	for _, row := range []struct {
		tags []string
		says string
	}{
		{[]string{"author:{1}"}, `tag "author:{1}": {1} names a parameter that is not there`},
		{[]string{""}, "it is empty"},
		{many, "Tags has 65 tags, more than 64"},
	} {
		fn := func(context.Context, string) (int, error) { return 0, nil }
		_, err := Wrap(&fn, Options{Name: "f", Timeout: time.Hour, Tags: row.tags})
		require.ErrorContains(t, err, "fncache: wrap f")
		require.ErrorContains(t, err, row.says)
	}
}

func TestTagsCanBeSetInStructTags(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var svc struct {
			A func(context.Context, int64) (int, error) `fncache:"timeout=1h,tags=books|author:{0},name=A"`
			B func(context.Context, int64) (int, error) `fncache:"timeout=1h,tags=,name=B"`
			C func(context.Context, int64) (int, error) `fncache:"timeout=1h,name=C"`
		}
		var runs atomic.Int64
		count := func(context.Context, int64) (int, error) { return int(runs.Add(1)), nil }
		svc.A, svc.B, svc.C = count, count, count
		c := b.cache()
		funcs, err := WrapStruct(&svc, Options{Cache: c})
		require.NoError(t, err)
		assert.Equal(t, []string{"books", "author:{0}"}, funcs["A"].Opts().Tags)
		assert.Equal(t, []string{}, funcs["B"].Opts().Tags)
		assert.Nil(t, funcs["C"].Opts().Tags)
		_, _ = svc.A(t.Context(), 7)
		require.NoError(t, c.InvalidateTags(t.Context(), "author:7"))
		v, _ := svc.A(t.Context(), 7)
		assert.Equal(t, 2, v)

		svc.A = count
		var bad struct {
			A func(context.Context, int64) (int, error) `fncache:"timeout=1h,tags=a||b"`
		}
		bad.A = count
		_, err = WrapStruct(&bad, Options{Cache: c})
		require.ErrorContains(t, err, "tags: an item is missing before or after a |")
	})
}

func TestADeployThatAddsATagStartsCold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		before := wrap(t, b.cache(), s, shelf(func(o *Options) { o.Tags = nil }))
		after := wrap(t, b.cache(), s, shelf())
		before.get(t.Context(), "a")
		assert.NotEqual(t, must(before.Key("a")), must(after.Key("a")))
		assert.Equal(t, SourceComputed, after.get(t.Context(), "a").source)
		assert.Equal(t, SourceFresh, before.get(t.Context(), "a").source)
		require.NoError(t, after.Invalidate(t.Context(), "a"))
		assert.Equal(t, SourceComputed, before.get(t.Context(), "a").source, "a key is invalidated in all releases")
	})
}

func TestOneNameHasOneListOfTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		wrap(t, c, &source{}, shelf())
		fn := (&source{}).call
		_, err := wrapString(t, &fn, Options{Cache: c, Name: "test.Source", Shared: true, Timeout: time.Hour, Tags: []string{"books"}})
		require.ErrorContains(t, err, "which has other Tags")
	})
}

func TestInvalidateTagsReturnsTheCauseOfAFailure(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		b.tap.set(func(t *tap) { t.refuse["tags"] = replyError("NOPERM no") })
		err := c.InvalidateTags(t.Context(), "secret")
		require.ErrorIs(t, err, ErrRedisDown)
		require.ErrorContains(t, err, fence.Key("fncache"))
		assert.NotContains(t, err.Error(), "secret")
		ended, end := context.WithCancel(t.Context())
		end()
		require.ErrorIs(t, c.InvalidateTags(ended, "a"), context.Canceled)
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.ExpireTags(t.Context(), "a"), ErrClosed)
	})
}

func TestManyTagsGoInSeveralCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, shelf())
		var tags []string
		for i := range 250 {
			w.get(t.Context(), fmt.Sprint(i))
			tags = append(tags, fmt.Sprint("author:", i), fmt.Sprint("author:", i))
		}
		require.NoError(t, c.InvalidateTags(t.Context(), "first, so that the server knows the script"))
		b.tap.reset()
		require.NoError(t, c.InvalidateTags(t.Context(), tags...))
		assert.Equal(t, 3, b.tap.count("tags"))
		for _, i := range []int{0, 99, 100, 249} {
			assert.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
		}
	})
}

func TestPingWarnsIfTheFenceMayBeEvicted(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	log := &logtest.Handler{}
	c := newTestCache(t, Config{Redis: server.Client(), Logger: slog.New(log)})
	require.NoError(t, c.Ping(t.Context()))
	require.NoError(t, c.Ping(t.Context()))
	require.Len(t, log.About("maxmemory-policy=allkeys-lru"), 1)
	keys, err := server.Client().Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	assert.Empty(t, keys)
}

func TestAnEntryWithTagsIsAMissToAFunctionWithoutTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		w.get(t.Context(), "a")
		key := must(w.Key("a"))
		other := wrap(t, b.cache(), &source{}, Options{Name: "other", Tags: []string{"books"}})
		other.get(t.Context(), "a")
		require.NoError(t, b.redis.Set(key, must(b.redis.Get(must(other.Key("a"))))))
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, w.get(t.Context(), "a"))
		assert.EqualValues(t, 1, w.Stats().Undecodable)
	})
}
