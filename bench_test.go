package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/redistest"
)

// The machine is never quiet, so these benchmarks report a ratio: the time of a hit divided by
// the time of a bare GET and CBOR decode, which is the lower bound. Both are measured in turns,
// some milliseconds each, and the figures are medians over the pairs:
//
//	hit/bare      the time of a hit divided by the time of the bare GET
//	overhead-µs   how much longer the hit takes
//	bare-µs       the time of the bare GET
//
//	make bench BENCH=Hit BENCHTIME=3s

// tenIDs is what most of these benchmarks cache: a list of ids.
var tenIDs = []int64{2767052, 3, 41865, 2657, 4671, 11870085, 5907, 5107, 960, 1885}

type idsFunc = func(context.Context, int64) ([]int64, error)

// hitBench is a cached function and, beside its entries, the bare values.
type hitBench struct {
	client redis.UniversalClient
	cached idsFunc
}

func newHitBench(b *testing.B, keys int, wrapIDs func(*idsFunc, Options) (*Func, error)) *hitBench {
	server := redistest.Start(b)
	h := &hitBench{client: server.Client(func(o *redis.Options) { o.PoolSize = 64 })}
	h.cached = func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
	must := require.New(b)
	cfg := Config{Redis: h.client}
	_, err := wrapIDs(&h.cached, Options{Cache: newTestCache(b, cfg), Name: "bench.IDs", Timeout: time.Hour})
	must.NoError(err)
	value, err := cbor.Marshal(tenIDs)
	must.NoError(err)
	for id := range int64(keys) {
		_, err := h.cached(b.Context(), id)
		must.NoError(err)
		must.NoError(h.client.Set(b.Context(), bareKey(id), value, time.Hour).Err())
	}
	return h
}

// bareKey is as long as the key of an entry.
func bareKey(id int64) string { return fmt.Sprintf("bare:{bench.IDs:000000000000:%032d}", id) }

// bare is the least that a hit in Redis takes.
func (h *hitBench) bare(ctx context.Context, id int64) ([]int64, error) {
	raw, err := h.client.Get(ctx, bareKey(id)).Bytes()
	if err != nil {
		return nil, err
	}
	var ids []int64
	return ids, cbor.Unmarshal(raw, &ids)
}

// run has callers call n times in all, each going through the keys on its own,
// and returns the time a call of one caller takes.
func run(b *testing.B, f idsFunc, callers, keys, n int) time.Duration {
	var wg sync.WaitGroup
	began := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < n; i += callers {
				if ids, err := f(b.Context(), int64(i%keys)); err != nil || len(ids) != len(tenIDs) {
					b.Errorf("%v, %v", ids, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began) / time.Duration(n)
}

func benchmarkHit(b *testing.B, callers, keys int, wrapIDs func(*idsFunc, Options) (*Func, error)) {
	h := newHitBench(b, keys, wrapIDs)
	// A turn is some milliseconds long.
	turn := 16 * max(callers, 8)
	var bare, ratio, overhead []float64
	for b.Loop() {
		first, second := run(b, h.bare, callers, keys, turn), run(b, h.cached, callers, keys, turn)
		third, fourth := run(b, h.cached, callers, keys, turn), run(b, h.bare, callers, keys, turn)
		for _, pair := range [][2]time.Duration{{first, second}, {fourth, third}} {
			bare = append(bare, float64(pair[0])/1e3)
			ratio = append(ratio, float64(pair[1])/float64(pair[0]))
			overhead = append(overhead, float64(pair[1]-pair[0])/1e3)
		}
	}
	b.ReportMetric(0, "ns/op") // of all turns together: says nothing
	b.ReportMetric(median(ratio), "hit/bare")
	b.ReportMetric(median(overhead), "overhead-µs")
	b.ReportMetric(median(bare), "bare-µs")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func BenchmarkHit_OneCaller(b *testing.B) { benchmarkHit(b, 1, 1, Wrap[idsFunc]) }

func BenchmarkHit_OneCallerTyped(b *testing.B) { benchmarkHit(b, 1, 1, wrapUntyped1[idsFunc]) }

func BenchmarkHit_128CallersOneKey(b *testing.B) {
	benchmarkHit(b, 128, 1, Wrap[idsFunc])
}

func BenchmarkHit_128CallersOneKeyTyped(b *testing.B) {
	benchmarkHit(b, 128, 1, wrapUntyped1[idsFunc])
}

func BenchmarkHit_128CallersTenThousandKeys(b *testing.B) {
	benchmarkHit(b, 128, 10_000, Wrap[idsFunc])
}

func BenchmarkHit_128CallersTenThousandKeysTyped(b *testing.B) {
	benchmarkHit(b, 128, 10_000, wrapUntyped1[idsFunc])
}

// ---- what tags cost

// benchmarkTags compares hits of two functions that differ in their tags, in turns:
//
//	tagged/untagged   how many times as long a hit with two tags takes
func benchmarkTags(b *testing.B, callers, keys int, near time.Duration, client func(b *testing.B) redis.UniversalClient) {
	c := newTestCache(b, Config{Redis: client(b)})
	wrapped := func(name string, tags []string) idsFunc {
		f := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
		h, err := Wrap1(&f, Options{Cache: c, Name: name, Timeout: time.Hour, Near: near, Tags: tags})
		require.NoError(b, err)
		if near > 0 {
			awaitHearing(b, c, 0)
		}
		for id := range int64(keys) {
			_, err := h.Call(b.Context(), id)
			require.NoError(b, err)
		}
		return f
	}
	untagged, tagged := wrapped("bench.Untagged", nil), wrapped("bench.Tagged", []string{"books", "author:{0}"})
	turn := 16 * max(callers, 8)
	if near > 0 {
		turn *= 32
	}
	var ratio []float64
	for b.Loop() {
		first, second := run(b, untagged, callers, keys, turn), run(b, tagged, callers, keys, turn)
		third, fourth := run(b, tagged, callers, keys, turn), run(b, untagged, callers, keys, turn)
		ratio = append(ratio, float64(second)/float64(first), float64(third)/float64(fourth))
	}
	b.ReportMetric(0, "ns/op") // of all turns together: says nothing
	b.ReportMetric(median(ratio), "tagged/untagged")
}

func benchServer(b *testing.B) redis.UniversalClient {
	return redistest.Start(b).Client(func(o *redis.Options) { o.PoolSize = 64 })
}

func BenchmarkTags_OneCaller(b *testing.B) { benchmarkTags(b, 1, 1000, 0, benchServer) }

func BenchmarkTags_128CallersTenThousandKeys(b *testing.B) {
	benchmarkTags(b, 128, 10_000, 0, benchServer)
}

func BenchmarkTags_Near(b *testing.B) { benchmarkTags(b, 1, 1000, time.Hour, benchServer) }

func BenchmarkTags_128CallersOfACluster(b *testing.B) {
	benchmarkTags(b, 128, 10_000, 0, func(b *testing.B) redis.UniversalClient { return redistest.StartCluster(b).Client() })
}

// BenchmarkTags_ClusterCap measures what the lookups of functions with tags cost the node of a
// Cluster that has the fence, in addition to its share of the entries:
//
//	fence-µs/hit   processor time of that node, beyond the mean of the other nodes
//	hits/s         the number of such lookups that would take one whole processor
func BenchmarkTags_ClusterCap(b *testing.B) {
	for _, callers := range []int{1, 128} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) { benchmarkClusterCap(b, callers) })
	}
}

func benchmarkClusterCap(b *testing.B, callers int) {
	cluster := redistest.StartCluster(b)
	c := newTestCache(b, Config{Redis: cluster.Client()})
	f := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
	_, err := Wrap1(&f, Options{Cache: c, Name: "bench.Tagged", Timeout: time.Hour, Tags: []string{"books", "author:{0}"}})
	require.NoError(b, err)
	const keys = 3000
	for id := range int64(keys) {
		_, err := f(b.Context(), id)
		require.NoError(b, err)
	}
	// used returns the processor time of a node so far, in seconds.
	used := func(node int) (seconds float64) {
		info, err := cluster.Nodes()[node].Client().Info(b.Context(), "cpu").Result()
		require.NoError(b, err)
		for line := range strings.Lines(info) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_user" || name == "used_cpu_sys" {
				part, err := strconv.ParseFloat(value, 64)
				require.NoError(b, err)
				seconds += part
			}
		}
		return seconds
	}
	nodes := len(cluster.Nodes())
	fenced := clusterSlot(fence.Key(DefaultNamespace)) * nodes / clusterSlots
	before, hits := make([]float64, nodes), 0
	for node := range before {
		before[node] = used(node)
	}
	turn := 1000 * min(callers, 16)
	for b.Loop() {
		run(b, f, callers, keys, turn)
		hits += turn
	}
	var own, others float64
	for node := range before {
		if spent := used(node) - before[node]; node == fenced {
			own = spent
		} else {
			others += spent / float64(nodes-1)
		}
	}
	perHit := (own - others) / float64(hits)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(1e6*perHit, "fence-µs/hit")
	b.ReportMetric(1/perHit, "hits/s")
}

// BenchmarkStub measures a call through reflection, without the work of a hit.
func BenchmarkStub(b *testing.B) {
	fn := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
	f, err := Wrap(&fn, Options{Name: "bench.Stub", Timeout: time.Hour})
	require.NoError(b, err)
	stub := fn
	f.Unwrap() // the stub calls the original
	b.ReportAllocs()
	for b.Loop() {
		_, _ = stub(b.Context(), 1)
	}
}

// ---- keys

func benchmarkKey(b *testing.B, fn reflect.Type, args ...any) {
	key := KeyMaker(fn, args...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey_Int64(b *testing.B) {
	benchmarkKey(b, reflect.TypeFor[func(context.Context, int64) (int, error)](), 42)
}

func BenchmarkKey_1MiBOfBytes(b *testing.B) {
	benchmarkKey(b, reflect.TypeFor[func(context.Context, []byte) (int, error)](), make([]byte, 1<<20))
}

func BenchmarkKey_StringInt(b *testing.B) {
	benchmarkKey(b, reflect.TypeFor[func(context.Context, string, int) (int, error)](), "Ursula K. Le Guin", 10)
}

func BenchmarkKey_SmallStruct(b *testing.B) {
	type filter struct {
		Author string
		Year   int
		InShop bool
	}
	benchmarkKey(b, reflect.TypeFor[func(context.Context, filter) (int, error)](), filter{"Ursula K. Le Guin", 1969, true})
}

// ---- what a hit takes besides the server

// served is a go-redis hook that answers every GET with the entry that was there
// when it was told to, so that what is left is this package's own.
type served struct{ value atomic.Pointer[string] }

func (s *served) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *served) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *served) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		get, ok := redistest.Inner(cmd).(*redis.StringCmd)
		if value := s.value.Load(); ok && value != nil {
			get.SetVal(*value)
			return nil
		}
		return next(ctx, cmd)
	}
}

// benchmarkOwn is a hit without the round trip.
func benchmarkOwn(b *testing.B, wrapIDs func(*idsFunc, Options) (*Func, error)) {
	must := require.New(b)
	client := redistest.Start(b).Client()
	hook := &served{}
	client.AddHook(hook)
	fn := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
	f, err := wrapIDs(&fn, Options{Cache: newTestCache(b, Config{Redis: client}), Name: "bench.IDs", Timeout: time.Hour})
	must.NoError(err)
	_, err = fn(b.Context(), 1)
	must.NoError(err)
	key, err := f.Key(1)
	must.NoError(err)
	value, err := client.Get(b.Context(), key).Result()
	must.NoError(err)
	hook.value.Store(&value)
	b.ReportAllocs()
	for b.Loop() {
		if ids, err := fn(b.Context(), 1); err != nil || len(ids) != len(tenIDs) {
			b.Fatal(ids, err)
		}
	}
}

func BenchmarkOwn_Wrap(b *testing.B)  { benchmarkOwn(b, Wrap[idsFunc]) }
func BenchmarkOwn_Wrap1(b *testing.B) { benchmarkOwn(b, wrapUntyped1[idsFunc]) }

// benchmarkBatch is a call for 100 ids that are all cached.
func benchmarkBatch(b *testing.B, near time.Duration) {
	c := newTestCache(b, Config{Redis: benchServer(b)})
	get := func(_ context.Context, ids []int64) (map[int64][]int64, error) {
		found := make(map[int64][]int64, len(ids))
		for _, id := range ids {
			found[id] = tenIDs
		}
		return found, nil
	}
	f, err := WrapBatch(&get, Options{Cache: c, Name: "bench.Batch", Timeout: time.Hour, Near: near})
	require.NoError(b, err)
	if near > 0 {
		f.Func.Bound()
		awaitHearing(b, c, 0)
	}
	ids := make([]int64, 100)
	for i := range ids {
		ids[i] = int64(i)
	}
	for range 2 {
		_, err := get(b.Context(), ids)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := get(b.Context(), ids); err != nil || len(found) != len(ids) {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkBatch_InRedis(b *testing.B) { benchmarkBatch(b, 0) }
func BenchmarkBatch_Near(b *testing.B)    { benchmarkBatch(b, time.Hour) }

// nearBench is a function whose results are in this process's memory, in its
// three forms.
func nearBench[R any](b *testing.B, value R) (reflected, typed func(context.Context, int64) (R, error)) {
	server := redistest.Start(b)
	cache := newTestCache(b, Config{Redis: server.Client()})
	reflected = func(context.Context, int64) (R, error) { return value, nil }
	typed = func(context.Context, int64) (R, error) { return value, nil }
	opts := Options{Cache: cache, Name: "bench.Near", Shared: true, Timeout: time.Hour, Near: time.Hour}
	f1, err := Wrap(&reflected, opts)
	require.NoError(b, err)
	f2, err := wrapUntyped1(&typed, opts)
	require.NoError(b, err)
	for f, call := range map[*Func]func(context.Context, int64) (R, error){f1: reflected, f2: typed} {
		f.Bound()
		require.Eventually(b, func() bool { return hearing(cache) != 0 }, 30*time.Second, time.Millisecond)
		for range 2 {
			_, err := call(b.Context(), 1)
			require.NoError(b, err)
		}
		require.NotZero(b, f.Stats().Near)
	}
	return reflected, typed
}

func benchmarkNear[R any](b *testing.B, value R) {
	reflected, typed := nearBench(b, value)
	for name, call := range map[string]func(context.Context, int64) (R, error){"Wrap": reflected, "Wrap1": typed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := context.Background()
			for b.Loop() {
				if _, err := call(ctx, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				ctx := context.Background()
				for pb.Next() {
					if _, err := call(ctx, 1); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkNear_TenInt64(b *testing.B) { benchmarkNear(b, tenIDs) }
func BenchmarkNear_Int64(b *testing.B)    { benchmarkNear(b, int64(1)) }

func BenchmarkNear_Struct(b *testing.B) {
	type author struct{ Name, Country string }
	type book struct {
		ID      int64
		Title   string
		Authors []author
		Tags    map[string]int
	}
	benchmarkNear(b, book{1, "Emma", []author{{"Jane Austen", "GB"}}, map[string]int{"novel": 1, "classic": 2}})
}

// ---- how soon a waiter has its value

// BenchmarkWake measures the time from the store command of a holder until a caller that waits
// in another process returns with the value: the store, the message, and the acquire that
// returns the value.
func BenchmarkWake(b *testing.B) {
	server := redistest.Start(b)
	holder := server.Client()
	tap := newTap()
	holder.AddHook(tap)
	began, let := make(chan struct{}), make(chan struct{})
	compute := func(context.Context, int64) ([]int64, error) {
		began <- struct{}{}
		<-let
		return tenIDs, nil
	}
	wait := func(context.Context, int64) ([]int64, error) { return nil, errSource }
	opts := Options{Name: "bench.Wake", Timeout: time.Hour, OnCold: Wait}
	opts.Cache = newTestCache(b, Config{Redis: holder})
	Must(Wrap(&compute, opts))
	there := newTestCache(b, Config{Redis: server.Client()})
	opts.Cache = there
	Must(Wrap(&wait, opts))
	hearAll(there)
	require.Eventually(b, func() bool { return hearing(there) != 0 }, 30*time.Second, time.Millisecond)

	var took []float64
	for id := int64(0); b.Loop(); id++ {
		var sent time.Time
		tap.on("store", func() { sent = time.Now() })
		var all sync.WaitGroup
		all.Go(func() { _, _ = compute(b.Context(), id) })
		<-began
		var had time.Time
		all.Go(func() {
			if ids, err := wait(b.Context(), id); err != nil || len(ids) != len(tenIDs) {
				b.Errorf("%v, %v", ids, err)
			}
			had = time.Now()
		})
		for there.Events().Inspect().Watched == 0 {
			runtime.Gosched()
		}
		let <- struct{}{}
		all.Wait()
		took = append(took, float64(had.Sub(sent))/1e3)
	}
	b.ReportMetric(0, "ns/op") // of the setting-up too: says nothing
	b.ReportMetric(median(took), "p50-µs")
	b.ReportMetric(took[len(took)*99/100], "p99-µs")
}

// ---- what a call takes while Redis is not asked

// While Redis is away, a call computes at once. It is measured in turns with the bare function:
//
//	overhead-µs   how much longer the call takes
//	bare-µs       the time of the bare function

func BenchmarkRedisAway_Wrap(b *testing.B)  { benchmarkRedisAway(b, Wrap[idsFunc]) }
func BenchmarkRedisAway_Wrap1(b *testing.B) { benchmarkRedisAway(b, wrapUntyped1[idsFunc]) }

func benchmarkRedisAway(b *testing.B, wrapIDs func(*idsFunc, Options) (*Func, error)) {
	server := redistest.Start(b)
	bare := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
	cached := bare
	c := newTestCache(b, Config{Redis: server.Client(), Logger: slog.New(slog.DiscardHandler)})
	f, err := wrapIDs(&cached, Options{Cache: c, Name: "bench.IDs", Timeout: time.Hour})
	require.NoError(b, err)
	server.Kill()
	for !c.Health().Nodes[0].Away {
		_, err := cached(b.Context(), 0)
		require.NoError(b, err)
	}
	const turn = 500 // some milliseconds long
	var alone, overhead []float64
	for b.Loop() {
		first, second := run(b, bare, 1, 1, turn), run(b, cached, 1, 1, turn)
		alone = append(alone, float64(first)/1e3)
		overhead = append(overhead, float64(second-first)/1e3)
	}
	b.ReportMetric(0, "ns/op") // of all turns together: says nothing
	b.ReportMetric(median(overhead), "overhead-µs")
	b.ReportMetric(median(alone), "bare-µs")
	require.Equal(b, uint64(0), f.Stats().Fresh)
}
