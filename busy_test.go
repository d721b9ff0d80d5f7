package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

// A busy process does not mean that Redis is away: callers wait for connections, and the
// function is not called without a lease.

// calls makes n calls at once, each with a key of its own, and returns their ends.
func (w *wrapped) calls(ctx context.Context, n int) []outcome {
	ends := make([]outcome, n)
	var callers sync.WaitGroup
	for i := range ends {
		callers.Go(func() { ends[i] = w.get(ctx, strconv.Itoa(i)) })
	}
	callers.Wait()
	return ends
}

// fewConnections are the ways in which a client has few connections.
var fewConnections = map[string]func(*redis.Options){
	"as many as go-redis makes": func(*redis.Options) {},
	"MaxActiveConns":            func(o *redis.Options) { o.MaxActiveConns = 4 },
	"a pool of one":             func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = 1, -1 },
}

func TestABurstOfColdKeysComputesEachKeyOnce(t *testing.T) {
	const keys = 1000
	inBothForms(t, func(t *testing.T) {
		for name, change := range fewConnections {
			t.Run(name, func(t *testing.T) {
				sink := &logtest.Handler{}
				c := newTestCache(t, Config{Redis: redistest.Start(t).Client(change), Logger: slog.New(sink)})
				s := &source{took: 20 * time.Millisecond}
				w := wrap(t, c, s, Options{})
				for _, source := range []Source{SourceComputed, SourceFresh} {
					assert.Equal(t, map[Source]int{source: keys}, bySource(w.calls(t.Context(), keys)))
					assert.Equal(t, keys, s.count())
					assert.Equal(t, uint64(keys), w.Stats().Stored)
				}
				assert.Zero(t, w.Stats().RedisErrors, "%v", w.Stats().RedisErrorKinds)
				assert.Empty(t, sink.About("Redis"), "nothing was wrong")
			})
		}
	})
}

func TestAPoolThatOtherCommandsHoldKeepsCallersWaitingAndNotComputing(t *testing.T) {
	const keys, pool = 100, 4
	inBothForms(t, func(t *testing.T) {
		server := redistest.Start(t)
		client := server.Client(func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize, o.ReadTimeout = pool, -1, time.Minute })
		sink := &logtest.Handler{}
		c := newTestCache(t, Config{Redis: client, RedisTimeout: 200 * time.Millisecond, Logger: slog.New(sink)})
		s := &source{}
		w := wrap(t, c, s, Options{Lease: time.Minute})
		w.get(t.Context(), "cached")

		var held sync.WaitGroup
		for range pool {
			held.Go(func() { client.BLPop(t.Context(), 0, "a list") })
		}
		require.Eventually(t, func() bool { return int(clientsBlocked(t, server)) == pool }, 10*time.Second, time.Millisecond)
		cached, cold := w.begin(t.Context(), "cached"), make(chan []outcome)
		go func() { cold <- w.calls(t.Context(), keys) }()
		require.Eventually(t, func() bool { return len(sink.About("kind=pool")) > 0 }, 10*time.Second, time.Millisecond)
		assert.Equal(t, 1, s.count(), "nothing is computed without a lease")

		for range pool {
			require.NoError(t, server.Client().RPush(t.Context(), "a list", "an end").Err())
		}
		assert.Equal(t, SourceFresh, (<-cached).source)
		assert.Equal(t, map[Source]int{SourceComputed: keys}, bySource(<-cold))
		held.Wait()
		assert.Equal(t, 1+keys, s.count())
		assert.Equal(t, uint64(1+keys), w.Stats().Stored)
		assert.False(t, c.Health().Nodes[0].Away)
	})
}

// An invalidation of tags reads the server's clock first, if it is not known. Here the question is on
// its way for longer than the caller waits.
func TestAnInvalidationOfTagsEndsWithItsContextWhileTheClockIsAskedFor(t *testing.T) {
	const patience = 100 * time.Millisecond // less than RedisTimeout
	for name, overtake := range map[string]func(*Cache, context.Context, ...string) error{
		"invalidate": (*Cache).InvalidateTags,
		"expire":     (*Cache).ExpireTags,
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				b.tap.on("time", func() { time.Sleep(2 * patience) }) // in virtual time
				ctx, end := context.WithTimeout(t.Context(), patience)
				defer end()
				began := time.Now()
				assert.Equal(t, context.DeadlineExceeded, overtake(c, ctx, "books"))
				assert.Equal(t, patience, time.Since(began))
			})
		})
	}
}

// clientsBlocked returns how many connections wait for a list.
func clientsBlocked(t *testing.T, server *redistest.Server) (n int) {
	info := server.Client().InfoMap(t.Context(), "clients").Val()
	n, err := strconv.Atoi(info["Clients"]["blocked_clients"])
	require.NoError(t, err)
	return n
}

func TestCallersThatGiveUpLeaveNothing(t *testing.T) {
	const (
		callers     = 2000
		mostProbing = 4 // goroutines that ask a Redis that hangs
	)
	for name, trouble := range map[string]func(t *testing.T, b *bubble, w *wrapped){
		"Redis is down, and MaxConcurrent is full": func(t *testing.T, b *bubble, w *wrapped) {
			b.redis.Close()
			for range severalCalls {
				w.get(t.Context(), "a")
			}
			occupy(t, w)
		},
		"MaxConcurrent is full": func(t *testing.T, _ *bubble, w *wrapped) { occupy(t, w) },
		"Redis hangs": func(_ *testing.T, b *bubble, _ *wrapped) {
			b.tap.set(func(tap *tap) { tap.gate = make(chan struct{}) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				w := wrap(t, c, &source{took: time.Minute}, Options{MaxConcurrent: 2, OnCold: Wait, ComputeTimeout: time.Hour})
				trouble(t, b, w)
				synctest.Wait()
				before := len(ownGoroutines())

				ctx, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer end()
				for _, o := range w.calls(ctx, callers) {
					require.ErrorIs(t, o.err, context.DeadlineExceeded)
					require.Less(t, o.took, 21*time.Millisecond)
				}
				time.Sleep(time.Second)
				left := ownGoroutines()
				assert.LessOrEqual(t, len(left), before+mostProbing, "%s", left)
				assert.LessOrEqual(t, c.Flights(), 2, "what occupies the places")
				assert.Zero(t, w.Places().Waiting())
			})
		})
	}
}

func TestAWaitForAnotherProcessEndsWithItsLastCaller(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{OnCold: Wait}
		elsewhere := wrap(t, b.cache(), &source{took: time.Minute}, opts)
		for i := range 10 {
			elsewhere.begin(t.Context(), strconv.Itoa(i))
		}
		synctest.Wait()
		c := b.cache()
		s := &source{}
		w := wrap(t, c, s, opts)
		w.get(t.Context(), "other")
		for range 3 { // the first time the subscription is not up
			ctx, end := context.WithTimeout(t.Context(), 5*time.Second)
			for _, o := range w.calls(ctx, 10) {
				require.ErrorIs(t, o.err, context.DeadlineExceeded)
			}
			end()
			synctest.Wait()
			assert.Zero(t, c.Flights())
		}
		assert.Equal(t, 1, s.count())
	})
}

// ownGoroutines returns the stacks of the goroutines that the cache has, or its callers. The
// embedded Redis has one for each connection.
func ownGoroutines() []string {
	all := make([]byte, 64<<20)
	stacks := strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n")
	return slices.DeleteFunc(stacks, func(stack string) bool { return !strings.Contains(stack, "fncache/fncache.") })
}

// occupy has computations take all places of MaxConcurrent.
func occupy(t *testing.T, w *wrapped) {
	for i := range w.Opts().MaxConcurrent {
		go w.get(t.Context(), fmt.Sprint("occupies ", i))
	}
	synctest.Wait()
}

func TestABurstThatTakesLongerThanALeaseLosesNone(t *testing.T) {
	t.Parallel()
	const keys = 8000
	inBothForms(t, func(t *testing.T) {
		client := redistest.Start(t).Client(func(o *redis.Options) {
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &farConn{conn, 100 * time.Millisecond}, err
			}
		})
		c := newTestCache(t, Config{Redis: client, RedisTimeout: 500 * time.Millisecond})
		s := &source{took: 20 * time.Millisecond}
		w := wrap(t, c, s, Options{Lease: 2 * time.Second})
		began := time.Now()
		assert.Equal(t, map[Source]int{SourceComputed: keys}, bySource(w.calls(t.Context(), keys)))
		assert.Greater(t, time.Since(began), w.Opts().Lease)
		assert.Equal(t, keys, s.count())
		stats := w.Stats()
		assert.Equal(t, uint64(keys), stats.Stored)
		assert.Zero(t, stats.LostLeases)
		assert.Zero(t, stats.RedisErrors, "%v", stats.RedisErrorKinds)
	})
}

// A farConn is a connection on which everything that is sent takes so long.
type farConn struct {
	net.Conn
	delay time.Duration
}

func (c *farConn) Write(p []byte) (int, error) {
	time.Sleep(c.delay)
	return c.Conn.Write(p)
}

// Requests for leases at a node of a Cluster that hangs do not block those at other nodes.
func TestEachNodeHasABoundOfLeasesThatBegin(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		c := newTestCache(t, Config{Redis: cluster.Client(), RedisTimeout: longEnough, Logger: slog.New(&logtest.Handler{})})
		w := wrap(t, c, &source{}, Options{OnCold: Wait, Name: "test.Nodes", Lease: slowLease})
		nodeOf := func(arg string) string { return c.Remote().NodeOf(must(w.Key(arg))) }
		require.NoError(t, w.get(t.Context(), "learns the nodes").err)
		first, other := "0", ""
		for i := 1; other == ""; i++ {
			if nodeOf(fmt.Sprint(i)) != nodeOf(first) {
				other = fmt.Sprint(i)
			}
		}
		hung := c.Beginning(must(w.Key(first)))
		for range MostBeginning {
			require.True(t, hung.Try())
		}
		waits := w.begin(t.Context(), first)
		require.Eventually(t, func() bool { return hung.Waiting() == 1 }, patience, time.Millisecond)
		require.NoError(t, w.get(t.Context(), other).err)
		for range MostBeginning {
			hung.Give()
		}
		require.NoError(t, (<-waits).err)
		require.Eventually(t, hung.Idle, patience, time.Millisecond)
	})
}

// slowToDecode is a codec that takes until it is released to decode the values up to one.
type slowToDecode struct {
	Codec
	upTo     atomic.Int64
	begun    chan struct{}
	released chan struct{}
}

func (s *slowToDecode) Decode(body []byte, results []any) error {
	if err := s.Codec.Decode(body, results); err != nil {
		return err
	}
	if v, ok := results[0].(*int); ok && int64(*v) <= s.upTo.Load() {
		s.begun <- struct{}{}
		<-s.released
	}
	return nil
}

// Each caller decodes on its own goroutine, after its connection was given back. So callers of
// other keys do not wait, and a caller whose context ends returns.
func TestDecodingDoesNotHoldUpCallersOfOtherKeys(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		const slow, others = 20, 200 // more slow ones than a client has connections for lookups
		codec := &slowToDecode{Codec: CBOR{}, begun: make(chan struct{}, 2*slow), released: make(chan struct{})}
		c := newTestCache(t, Config{Redis: redistest.Start(t).Client(), Codec: codec})
		s := &source{}
		s.do = func(_ context.Context, run int) (int, error) { return run, nil }
		w := wrap(t, c, s, Options{})
		for i := range slow + others { // so that the first have the smallest values
			require.Equal(t, i+1, w.get(t.Context(), strconv.Itoa(i)).value)
		}
		codec.upTo.Store(slow)
		var decoding sync.WaitGroup
		for i := range slow {
			decoding.Go(func() {
				o := w.get(t.Context(), strconv.Itoa(i))
				assert.NoError(t, o.err)
				assert.Equal(t, SourceFresh, o.source)
				assert.Equal(t, i+1, o.value)
			})
		}
		for range slow {
			<-codec.begun
		}
		for i := range others {
			o := w.get(t.Context(), strconv.Itoa(slow+i))
			require.NoError(t, o.err)
			require.Equal(t, SourceFresh, o.source)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, w.get(ctx, "0").err, context.Canceled, "a caller of the same key leaves when its context ends")
		assert.Zero(t, w.Stats().RedisErrors)
		close(codec.released)
		decoding.Wait()
		assert.Equal(t, slow+others, s.count(), "nothing is computed again")
	})
}
