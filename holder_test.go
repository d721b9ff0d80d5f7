package fncache_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/holder"
)

// ofProcess returns the names of processes in the Redis of a bubble, by their keys.
func (b *bubble) ofProcess() map[string]holder.Process {
	all := make(map[string]holder.Process)
	for _, key := range b.redis.Keys() {
		if strings.Contains(key, ":{process:") {
			text, err := b.redis.Get(key)
			require.NoError(b.t, err)
			p, ok := holder.ParseProcess([]byte(text))
			require.True(b.t, ok, "%s: %s", key, text)
			all[key] = p
		}
	}
	return all
}

func TestAProcessThatComputesIsNamedUntilItCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		synctest.Wait()
		host, _ := os.Hostname()
		named := b.ofProcess()
		require.Len(t, named, 1)
		for key, p := range named {
			assert.Equal(t, host, p.Host)
			assert.Equal(t, os.Getpid(), p.PID)
			assert.Contains(t, p.Build, "fncache")
			assert.Equal(t, holder.Kept, b.redis.TTL(key))
		}

		w.get(t.Context(), "b")
		synctest.Wait()
		assert.Equal(t, 1, b.tap.count("set"), "at most once per period")
		time.Sleep(holder.Again) // moves the clock of the bubble
		w.get(t.Context(), "a")
		synctest.Wait()
		assert.Equal(t, 1, b.tap.count("set"), "a hit takes no lease")
		w.get(t.Context(), "c")
		synctest.Wait()
		assert.Equal(t, 2, b.tap.count("set"))

		require.NoError(t, c.Close())
		assert.Empty(t, b.ofProcess())
	})
}

func TestAProcessThatComputesForLongStaysNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 3 * holder.Kept}
		w := wrap(t, b.cache(), s, Options{Timeout: time.Hour, ComputeTimeout: 4 * holder.Kept})
		end := w.begin(t.Context(), "a")
		time.Sleep(2 * holder.Kept) // moves the clock of the bubble
		synctest.Wait()
		assert.Len(t, b.ofProcess(), 1)
		require.NoError(t, (<-end).err)
	})
}

func TestNoCallWaitsForTheNameOfItsProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		release := make(chan struct{})
		b.tap.on("set", func() { <-release })
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		o := w.get(t.Context(), "a")
		require.NoError(t, o.err)
		assert.Zero(t, o.took)
		assert.Equal(t, SourceComputed, o.source)
		close(release)
	})
}

func TestARefusedNameHarmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		b.tap.set(func(tap *tap) { tap.refuse["set"] = replyError("NOPERM no") })
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		require.NoError(t, w.get(t.Context(), "a").err)
		synctest.Wait()
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		assert.Empty(t, b.log.About("NOPERM"))
		assert.Zero(t, w.Stats().RedisErrors)
	})
}

func TestTheLockNamesItsHolder(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		for _, anonymous := range []bool{false, true} {
			namespace := "holder" + rand.Text()
			c := newTestCache(t, Config{Redis: server.Client(), Anonymous: anonymous, Namespace: namespace})
			s := &source{}
			w := wrap(t, c, s, Options{Timeout: time.Hour})
			key, err := w.Key("a")
			require.NoError(t, err)
			var lock string
			before := time.Now().Truncate(time.Millisecond)
			s.set(func(s *source) {
				s.do = func(ctx context.Context, _ int) (int, error) {
					lock = server.Raw.Get(ctx, key+LockSuffix).Val()
					return 1, nil
				}
			})
			require.NoError(t, w.get(t.Context(), "a").err)
			id, at, ok := holder.Parse(lock)
			name := holder.Key(namespace, id)
			if anonymous {
				assert.False(t, ok && at.After(before) && at.Before(time.Now()), "the time is random")
			} else {
				require.True(t, ok, lock)
				assert.False(t, at.Before(before) || at.After(time.Now()), "%v", at)
				require.Eventually(t, func() bool { return server.Raw.Exists(t.Context(), name).Val() == 1 }, time.Minute, time.Millisecond)
				p, ok := holder.ParseProcess([]byte(server.Raw.Get(t.Context(), name).Val()))
				assert.True(t, ok)
				assert.Equal(t, os.Getpid(), p.PID)
			}
			require.NoError(t, c.Close())
			assert.Zero(t, server.Raw.Exists(t.Context(), name).Val())
		}
	})
}

func TestTheLocksOfABatchNameTheirHolder(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &batchSource{}
		w := wrapShelf(t, c, s, Options{})
		ids := map[string]bool{}
		s.set(func(s *batchSource) {
			s.do = func(context.Context, []int) error {
				for _, key := range b.redis.Keys() {
					if strings.HasSuffix(key, LockSuffix) {
						token, err := b.redis.Get(key)
						require.NoError(t, err)
						id, _, _ := holder.Parse(token)
						ids[holder.Key("fncache", id)] = true
					}
				}
				return nil
			}
		})
		_, err := w.get(t.Context(), []int{1, 2, 3})
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, ids, 1)
		for key := range b.ofProcess() {
			assert.Contains(t, ids, key)
		}
		assert.Len(t, b.ofProcess(), 1)
	})
}
