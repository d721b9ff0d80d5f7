package fncache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExpireMakesAFreshEntryStale(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		ctx := t.Context()
		for name, opts := range map[string]Options{"plain": {Timeout: time.Hour}, "tagged": shelf()} {
			t.Run(name, func(t *testing.T) {
				opts.Name = "test." + name
				here := newTestCache(t, Config{Redis: server.Client()})
				there := newTestCache(t, Config{Redis: server.Client()})
				s := &source{}
				w, other := wrap(t, here, s, opts), wrap(t, there, s, opts)
				w.get(ctx, "a")
				w.get(ctx, "b")
				ttl := server.Raw.PTTL(ctx, must(w.Key("a"))).Val()
				require.NoError(t, w.Expire(ctx, "a"))
				assert.InDelta(t, ttl, server.Raw.PTTL(ctx, must(w.Key("a"))).Val(), float64(time.Minute), "its end in Redis stays")
				require.NoError(t, w.Expire(ctx, "a"), "twice is fine")

				release, started := make(chan struct{}), make(chan struct{})
				s.set(func(s *source) {
					s.do = func(_ context.Context, run int) (int, error) {
						close(started)
						<-release
						return run, nil
					}
				})
				holder := other.begin(ctx, "a")
				<-started
				assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(w.get(ctx, "a")))
				assert.Equal(t, outcome{value: 1, source: SourceStale}, timeless(other.get(ctx, "a")))
				close(release)
				assert.Equal(t, outcome{value: 3, source: SourceComputed}, timeless(<-holder))
				assert.Equal(t, outcome{value: 3, source: SourceFresh}, timeless(w.get(ctx, "a")))
				assert.Equal(t, SourceFresh, w.get(ctx, "b").source)
			})
		}
	})
}

func TestAResultComputedWhileAnEntryIsExpiredIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{took: time.Second}
		w, other := wrap(t, here, s, Options{OnCold: Wait}), wrap(t, there, s, Options{OnCold: Wait})
		holder := w.begin(t.Context(), "a")
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, other.Expire(t.Context(), "a"))
		assert.Equal(t, 1, (<-holder).value)
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
		assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(t.Context(), "a")))
	})
}

func TestExpireEndsANearEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{}
		w, other := wrap(t, here, s, nearOpts), wrap(t, there, s, nearOpts)
		awaitBubbleHearing(t, here)
		awaitBubbleHearing(t, there)
		w.get(t.Context(), "a")
		other.get(t.Context(), "a")
		assert.Equal(t, SourceNear, other.get(t.Context(), "a").source)
		require.NoError(t, w.Expire(t.Context(), "a"))
		assert.Equal(t, 2, w.get(t.Context(), "a").value)
		synctest.Wait()
		assert.Equal(t, 2, other.get(t.Context(), "a").value)
	})
}

func TestANegativeEntryExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		errNone := errors.New("no such book")
		s := &source{do: func(context.Context, int) (int, error) { return 0, errNone }}
		w := wrap(t, b.cache(), s, Options{CacheErrors: []error{errNone}, ErrorTimeout: time.Minute})
		w.get(t.Context(), "a")
		s.set(func(s *source) { s.do = nil })
		require.NoError(t, w.Expire(t.Context(), "a"))
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(w.get(t.Context(), "a")))
	})
}

func TestExpireReachesOtherReleases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		before := wrap(t, b.cache(), s, Options{})
		after := wrap(t, b.cache(), s, shelf())
		before.get(t.Context(), "a")
		after.get(t.Context(), "a")
		require.NoError(t, after.Expire(t.Context(), "a"))
		assert.Equal(t, SourceComputed, before.get(t.Context(), "a").source)
		assert.Equal(t, SourceComputed, after.get(t.Context(), "a").source)
	})
}

func TestExpireLeavesAForeignValueUnchanged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		key := must(w.Key("a"))
		for _, text := range []string{"", "\xf5fnc", "\xf5fnc\x02\x00later", "not ours, and longer than a header is"} {
			require.NoError(t, b.redis.Set(key, text))
			require.NoError(t, w.Expire(t.Context(), "a"))
			assert.Equal(t, text, must(b.redis.Get(key)))
		}
		b.redis.Del(key)
		_, _ = b.redis.Push(key, "a list")
		require.NoError(t, w.Expire(t.Context(), "a"))
		b.redis.Del(key)
		require.NoError(t, w.Expire(t.Context(), "a"))
		assert.False(t, b.redis.Exists(key))
	})
}
