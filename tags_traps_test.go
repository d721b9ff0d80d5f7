package fncache_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/redistest"
)

// Each test of this file covers an error that other caches make with tags. (The tag that is
// invalidated while the function runs, and the deploy that adds a tag, are in tags_test.go.)

// Peers compare times of hosts. In fncache the clock of the host does not matter.
func TestAProcessWhoseClockIsFifteenMinutesOffInvalidatesCorrectly(t *testing.T) {
	for _, off := range []time.Duration{-15 * time.Minute, 15 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.redis.SetTime(time.Now().Add(off)) // which is the same as seen from here
				here, there := b.cache(), b.cache()
				s := &source{}
				w := wrap(t, here, s, shelf())
				w.get(t.Context(), "a")
				there.Clock().Shift(off) // this process alone
				for run := 2; run < 5; run++ {
					require.NoError(t, there.InvalidateTags(t.Context(), "author:a"))
					assert.Equal(t, run, w.get(t.Context(), "a").value)
					assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
					require.NoError(t, here.InvalidateTags(t.Context(), "author:b"))
					assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
				}
			})
		})
	}
}

// A fleet that invalidates all the time moves the fence while each lookup is under way. Entries
// without the invalidated tags stay hits.
func TestHitsStayHitsWhileOtherTagsAreInvalidated(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		patient := func() Config { return Config{Redis: server.Client(), RedisTimeout: 10 * time.Second} }
		here, there := newTestCache(t, patient()), newTestCache(t, patient())
		w := wrap(t, here, &source{}, shelf(waits, func(o *Options) { o.Lease = time.Minute }))
		for i := range 100 {
			w.get(t.Context(), strconv.Itoa(i))
		}
		ctx, end := context.WithCancel(t.Context())
		var others sync.WaitGroup
		for i := range 4 {
			others.Go(func() {
				for ctx.Err() == nil {
					_ = there.InvalidateTags(ctx, fmt.Sprint("another:", i))
				}
			})
		}
		var readers sync.WaitGroup
		for range 16 {
			readers.Go(func() {
				for i := range 100 {
					assert.Equal(t, SourceFresh, w.get(t.Context(), strconv.Itoa(i)).source)
				}
			})
		}
		readers.Wait()
		end()
		others.Wait()
	})
}

// A marker that expires before its entries would bring them back.
func TestTheFenceDoesNotExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, shelf(func(o *Options) { o.Timeout = 40 * 24 * time.Hour }))
		w.get(t.Context(), "a")
		require.NoError(t, c.InvalidateTags(t.Context(), "author:a"))
		assert.Zero(t, b.redis.TTL(fence.Key("fncache")))
		time.Sleep(39 * 24 * time.Hour)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
	})
}

// An index of keys by tag grows with the entries, and keeps the keys of expired ones.
func TestAFenceIsBoundedByTheTagsAndRedisHoldsNothingElse(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		server := redistest.Shared(t)
		c := newTestCache(t, Config{Redis: server.Client()})
		s := &source{}
		w := wrap(t, c, s, shelf())
		const entries = 10_000
		ctx := t.Context()
		var group sync.WaitGroup
		for worker := range 64 {
			group.Go(func() {
				for i := worker; i < entries; i += 64 {
					w.get(ctx, strconv.Itoa(i))
				}
			})
		}
		group.Wait()
		all := make([]string, entries)
		for i := range all {
			all[i] = fmt.Sprint("author:", i)
		}
		for range 10 {
			require.NoError(t, c.InvalidateTags(ctx, all...))
		}
		client := server.Client()
		assert.EqualValues(t, 3+entries, client.HLen(ctx, fence.Key("fncache")).Val())
		assert.Eventually(t, func() bool { return client.DBSize(ctx).Val() == entries+3 }, time.Minute, 10*time.Millisecond,
			"entries, the fence, the registry of the function and the name of this process; on a slow machine the last of them are stored later")
		assert.Less(t, client.MemoryUsage(ctx, fence.Key("fncache")).Val(), int64(entries*250+1000))
	})
}

// Entries and the fence are on different nodes of a Cluster.
func TestTagsWorkAcrossTheSlotsOfACluster(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		server := redistest.ClusterBackend(t)
		c := newTestCache(t, Config{Redis: server.Client()})
		s := &source{}
		w := wrap(t, c, s, shelf())
		ctx := t.Context()
		slots := map[int]bool{}
		for i := range 50 {
			w.get(ctx, strconv.Itoa(i))
			slots[clusterSlot(must(w.Key(strconv.Itoa(i))))/5462] = true
		}
		require.Len(t, slots, 3, "all nodes have entries")
		require.NoError(t, c.InvalidateTags(ctx, "books"))
		for i := range 50 {
			assert.Equal(t, SourceComputed, w.get(ctx, strconv.Itoa(i)).source)
			assert.Equal(t, SourceFresh, w.get(ctx, strconv.Itoa(i)).source)
		}
	})
}

// The fence is on one node of a Cluster. If that node hangs, functions with tags compute as while
// Redis is away, and the nodes of the entries are not blamed.
func TestIfTheNodeOfTheFenceHangsOnlyThatNodeIsAway(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		cluster := redistest.StartCluster(t)
		ctx := t.Context()
		c := newTestCache(t, Config{Redis: cluster.Client()})
		nodes := cluster.Nodes()
		nodeOf := func(key string) int { return clusterSlot(key) * len(nodes) / 16384 }
		fenced := nodeOf(fence.Key("fncache"))
		w := wrap(t, c, &source{}, shelf())
		plain := wrap(t, c, &source{}, Options{Name: "test.Plain", Timeout: time.Hour})
		var tagged, untagged string // whose entries are on another node
		for i := 0; tagged == "" || untagged == ""; i++ {
			arg := strconv.Itoa(i)
			if nodeOf(must(w.Key(arg))) != fenced {
				tagged = arg
			}
			if nodeOf(must(plain.Key(arg))) != fenced {
				untagged = arg
			}
		}
		for _, each := range []struct {
			w   *wrapped
			arg string
		}{{w, tagged}, {plain, untagged}} {
			assert.Equal(t, []Source{SourceComputed, SourceFresh}, each.w.sources(ctx, each.arg, 2))
		}
		nodes[fenced].Pause()
		defer nodes[fenced].Resume()
		require.Eventually(t, func() bool { return w.get(ctx, tagged).source == SourceComputed && away(c) == nodes[fenced].Addr() }, time.Minute, time.Millisecond)
		assert.Equal(t, SourceFresh, plain.get(ctx, untagged).source)
	})
}

// away returns the addresses of the nodes that are away.
func away(c *Cache) string {
	var all []string
	for _, node := range c.Health().Nodes {
		if node.Away {
			all = append(all, node.Addr)
		}
	}
	return strings.Join(all, " ")
}

// One command expires 100,000 entries, and no stampede follows: each of 4 caches, as processes,
// runs the function at most MaxConcurrent times at once.
func TestManyEntriesOfOneTagExpireAtOnceAndAreRecomputedWithinTheBound(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		server := redistest.Shared(t)
		ctx := t.Context()
		const entries, caches, bound = 100_000, 4, 5
		var running, most atomic.Int64
		s := &source{do: func(_ context.Context, run int) (int, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			time.Sleep(time.Millisecond)
			return run, nil
		}}
		var fleet []*wrapped
		for range caches {
			// MaxConcurrent is that of a name in a process: these are processes of their own.
			name := fmt.Sprint("test.Fleet", len(fleet))
			c := newTestCache(t, Config{Redis: server.Client()})
			fleet = append(fleet, wrap(t, c, s, shelf(func(o *Options) {
				o.Name, o.MaxConcurrent, o.OnStale = name, bound, Background
			})))
		}
		first := fleet[0]
		c := first.Bound()
		first.get(ctx, "0")
		// The other entries are copies of the first, under keys of their own.
		raw := server.Client().Get(ctx, must(first.Key("0"))).Val()
		pipe := server.Client().Pipeline()
		for _, w := range fleet {
			for i := range entries / caches {
				pipe.Set(ctx, must(w.Key(strconv.Itoa(i))), raw, time.Hour)
			}
			_, err := pipe.Exec(ctx)
			require.NoError(t, err)
		}
		require.Equal(t, SourceFresh, fleet[3].get(ctx, "24999").source)
		client := server.Client()
		require.NoError(t, client.Do(ctx, "config", "resetstat").Err())
		require.NoError(t, client.Do(ctx, "config", "set", "slowlog-log-slower-than", "1000").Err())
		require.NoError(t, client.Do(ctx, "slowlog", "reset").Err())
		require.NoError(t, c.ExpireTags(ctx, "books"))
		assert.EqualValues(t, 0, must(client.Do(ctx, "slowlog", "len").Int64()), "it took less than a millisecond")

		most.Store(0)
		var group sync.WaitGroup
		for _, w := range fleet {
			for range 32 {
				group.Go(func() {
					for i := range 30 {
						assert.NoError(t, w.get(ctx, strconv.Itoa(i)).err)
					}
				})
			}
		}
		group.Wait()
		assert.Positive(t, most.Load())
		assert.LessOrEqual(t, most.Load(), int64(caches*bound))
	})
}
