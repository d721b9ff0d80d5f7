package remote

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// TestMeasure measures a GET through the lane beside a bare one of go-redis, in turns,
// with medians: time, processor time of the process, and allocations.
//
//	FNCACHE_MEASURE=1,2,4,8 go test -run TestMeasure -v ./internal/remote
func TestMeasure(t *testing.T) {
	list := os.Getenv("FNCACHE_MEASURE")
	if list == "" {
		t.Skip("set FNCACHE_MEASURE to the numbers of callers")
	}
	const keys = 1000
	client := redistest.Start(t).Client(func(o *redis.Options) { o.PoolSize = 64 })
	value := strings.Repeat("v", 60)
	for i := range keys {
		require.NoError(t, client.Set(t.Context(), benchKey(i), value, 0).Err())
	}
	r := New(Config{Client: client, Timeout: 250 * time.Millisecond})
	bare := func(ctx context.Context, key string) error { return client.Get(ctx, key).Err() }
	lane := func(ctx context.Context, key string) error { return r.Do(ctx, Get("lookup", key, Limits{})) }
	for text := range strings.SplitSeq(list, ",") {
		callers, err := strconv.Atoi(text)
		require.NoError(t, err)
		turn := max(2000, 8*callers)
		var wall, cpu, allocs [2][]float64
		for round := range 41 {
			for _, way := range []int{round % 2, 1 - round%2} {
				w, c, a := measure(t, []func(context.Context, string) error{bare, lane}[way], callers, keys, turn)
				wall[way], cpu[way], allocs[way] = append(wall[way], w), append(cpu[way], c), append(allocs[way], a)
			}
		}
		m := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
		t.Logf("%5d callers: time %.2f (bare %.1f µs)  processor %.2f (bare %.1f µs)  allocs %.1f (bare %.1f)", callers,
			m(wall[1])/m(wall[0]), m(wall[0]), m(cpu[1])/m(cpu[0]), m(cpu[0]), m(allocs[1]), m(allocs[0]))
	}
}

func benchKey(i int) string { return fmt.Sprintf("bare:{bench.IDs:000000000000:%032d}", i) }

func measure(t *testing.T, get func(context.Context, string) error, callers, keys, n int) (wall, cpu, allocs float64) {
	all := make([]string, keys)
	for i := range all {
		all[i] = benchKey(i)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var next atomic.Int64
	var before, after runtime.MemStats
	var use syscall.Rusage
	spent := func() time.Duration {
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use)
		return time.Duration(use.Utime.Nano() + use.Stime.Nano())
	}
	runtime.ReadMemStats(&before)
	c, began := spent(), time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := get(ctx, all[i%keys]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	c = spent() - c
	runtime.ReadMemStats(&after)
	per := float64(n)
	return float64(took) / 1e3 / per, float64(c) / 1e3 / per, float64(after.Mallocs-before.Mallocs) / per
}
