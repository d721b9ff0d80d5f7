package fncache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
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

// One command expires 100,000 entries, and no stampede follows: each of 4 processes runs the
// function at most MaxConcurrent times at once.
func TestManyEntriesOfOneTagExpireAtOnceAndAreRecomputedWithinTheBound(t *testing.T) {
	t.Parallel()
	const entries, bound, calls = 100_000, 5, 32 * 30
	server, ctx := redistest.Start(t), t.Context()
	client := server.Client()
	c := newTestCache(t, Config{Redis: client})
	fn := (&source{}).call
	h, err := Wrap(&fn, shelf(func(o *Options) { o.Cache, o.Name = c, recomputed }))
	require.NoError(t, err)
	must(fn(ctx, "0"))
	copyEntry(t, client, h, entries)
	workers := startCrew(t, fleet, workerSettings{Addr: server.Addr(), Bound: bound})

	require.NoError(t, client.Do(ctx, "config", "resetstat").Err())
	require.NoError(t, client.Do(ctx, "config", "set", "slowlog-log-slower-than", "1000").Err())
	require.NoError(t, client.Do(ctx, "slowlog", "reset").Err())
	require.NoError(t, c.ExpireTags(ctx, "books"))
	assert.EqualValues(t, 0, must(client.Do(ctx, "slowlog", "len").Int64()), "it took less than a millisecond")

	for i, m := range workers.members {
		m.tell(order{Do: "burst", Key: strconv.Itoa(i * entries / fleet), Callers: calls})
	}
	most, stale := 0, 0
	for _, end := range workers.await("ended", fleet) {
		assert.Empty(t, end.Wrong)
		most = max(most, end.Outcomes["at once"])
		stale += end.Outcomes["stale"]
	}
	assert.Positive(t, most)
	assert.LessOrEqual(t, most, fleet*bound, "in the whole fleet at once")
	assert.Equal(t, fleet*calls, stale, "all were served at once")
}

// recomputed is the name of the function of that test.
const recomputed = "test.Recomputed"

// copyEntry stores the entry of the key "0" under the keys "1", "2" and so on, too.
func copyEntry(t *testing.T, client *redis.Client, h *Func, entries int) {
	t.Helper()
	raw := client.Get(t.Context(), must(h.Key("0"))).Val()
	require.NotEmpty(t, raw)
	pipe := client.Pipeline()
	for i := 1; i < entries; i++ {
		pipe.Set(t.Context(), must(h.Key(strconv.Itoa(i))), raw, time.Hour)
		if i%10_000 == 0 || i == entries-1 {
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
		}
	}
}

// A recomputer is a worker of that test. Its function counts in Redis how often it runs at once in
// the whole fleet.
type recomputer struct {
	client *redis.Client
	lookup stringFunc
	handle *Func
	most   atomic.Int64
	worker *worker
}

// runRecomputer is the inside of such a process.
func runRecomputer(s workerSettings) {
	r := &recomputer{client: redis.NewClient(&redis.Options{Addr: s.Addr}), worker: &worker{}}
	cache := Must(New(Config{Redis: r.client, RedisTimeout: 10 * time.Second, HashSecret: []byte(testSecret)}))
	r.lookup = r.run
	r.handle = Must(Wrap(&r.lookup, shelf(func(o *Options) {
		o.Cache, o.Name, o.MaxConcurrent, o.OnStale, o.Lease = cache, recomputed, s.Bound, Background, slowLease
	})))
	r.worker.tell(event{What: "ready"})
	orders := json.NewDecoder(os.Stdin)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return // the parent has gone
		}
		r.burst(Must(strconv.Atoi(o.Key)), o.Callers)
	}
}

// run is the function.
func (r *recomputer) run(ctx context.Context, _ string) (int, error) {
	now := r.client.Incr(ctx, "running").Val()
	defer r.client.Decr(context.WithoutCancel(ctx), "running")
	for seen := r.most.Load(); now > seen && !r.most.CompareAndSwap(seen, now); seen = r.most.Load() {
	}
	time.Sleep(time.Millisecond) // so that runs overlap
	return int(now), nil
}

// burst asks for n keys at once, from a first key on.
func (r *recomputer) burst(first, n int) {
	ended := event{What: "ended", Outcomes: map[string]int{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var info Info
			_, err := r.lookup(WithInfo(context.Background(), &info), strconv.Itoa(first+i))
			mu.Lock()
			defer mu.Unlock()
			ended.Outcomes[info.Source.String()]++
			if err != nil {
				ended.Wrong = append(ended.Wrong, err.Error())
			}
		})
	}
	all.Wait()
	for r.handle.Stats().Stored == 0 {
		time.Sleep(time.Millisecond) // until a computation in the background has ended
	}
	ended.Outcomes["at once"] = int(r.most.Load())
	r.worker.tell(ended)
}
