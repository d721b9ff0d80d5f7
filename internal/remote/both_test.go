package remote

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/bubbletest"
	"github.com/fncache/fncache/internal/redistest"
)

// hashes answers HMGET with the name of each field, and other commands as values does.
func hashes(conn int, cmd []string) string {
	if cmd[0] != "hmget" {
		return values(conn, cmd)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(cmd)-2)
	for _, field := range cmd[2:] {
		b.WriteString(bulk("of " + field))
	}
	return b.String()
}

// heads are names of fields.
var heads = []string{"e", "c"}

// both asks for a key and for fields of a hash, and checks what is answered.
func both(t *testing.T, r *Remote, key string, fields ...string) {
	t.Helper()
	hashes := make([][16]byte, len(fields))
	for i, field := range fields {
		copy(hashes[i][:], field)
	}
	first, second := Get("lookup", key, Limits{}), NewQuestion("fence", "hash", heads, hashes)
	firstErr, secondErr := r.Both(t.Context(), first, second)
	require.NoError(t, firstErr)
	require.NoError(t, secondErr)
	require.Equal(t, "value of "+key, string(first.Raw()))
	for i, name := range heads {
		require.Equal(t, "of "+name, second.Value(i))
	}
	for i, hash := range hashes {
		require.Equal(t, fmt.Sprintf("of %x", hash), second.Value(len(heads)+i))
	}
}

func TestBothGoInOnePipeline(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: hashes}
		r := s.remote(t, nil)
		both(t, r, "k", "a", "b")
		require.Equal(t, 1, s.conns)
		require.Len(t, s.asked(), 2)
		unoccupied(t, r)
	})
}

func TestFieldsOfOneHashAreAskedForOnceInAPipeline(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[0] == "get" && strings.HasPrefix(cmd[1], "slow") {
				time.Sleep(5 * time.Millisecond)
			}
			return hashes(conn, cmd)
		}}
		r := s.remote(t, nil)
		many(smallSeats+20, func(i int) {
			time.Sleep(time.Duration(i) * time.Microsecond)
			if i < smallSeats {
				_, err, _ := get(t.Context(), r, fmt.Sprint("slow", i))
				require.NoError(t, err)
				return
			}
			both(t, r, fmt.Sprint("k", i), fmt.Sprint("tag", i), "all", fmt.Sprint("tag", i/2), "1", "2", "3")
		})
		hmgets := 0
		for _, cmd := range s.asked() {
			if cmd.cmd[0] == "hmget" {
				hmgets++
			}
		}
		require.Equal(t, 1, hmgets)
		unoccupied(t, r)
	})
}

func TestOneOfBothFailsAlone(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[0] == "hmget" {
				return "-WRONGTYPE no hash\r\n"
			}
			time.Sleep(time.Millisecond)
			return hashes(conn, cmd)
		}}
		r := s.remote(t, nil)
		many(30, func(i int) {
			first, second := Get("lookup", fmt.Sprint("k", i), Limits{}), NewQuestion("fence", "hash", heads, nil)
			firstErr, secondErr := r.Both(t.Context(), first, second)
			require.NoError(t, firstErr)
			require.ErrorContains(t, secondErr, "WRONGTYPE")
		})
		unoccupied(t, r)
	})
}

func TestACallerThatCancelsLeavesBoth(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			time.Sleep(60 * time.Millisecond) // virtual, and within the timeout: the node stays known
			return hashes(conn, cmd)
		}}
		r := s.remote(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		began := time.Now()
		first, second := Get("lookup", "k", Limits{}), NewQuestion("fence", "hash", heads, nil)
		firstErr, secondErr := r.Both(ctx, first, second)
		require.ErrorIs(t, firstErr, context.DeadlineExceeded)
		require.ErrorIs(t, secondErr, context.DeadlineExceeded)
		require.Equal(t, 30*time.Millisecond, time.Since(began))
		unoccupied(t, r)
	})
}

func TestBothOnEachKindOfClient(t *testing.T) {
	server := redistest.Shared(t)
	for name, client := range map[string]redis.UniversalClient{
		"plain":                 server.Client(),
		"ContextTimeoutEnabled": server.Client(func(o *redis.Options) { o.ContextTimeoutEnabled = true }),
		"client-side cache":     server.Client(func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} }),
		"one connection":        server.Client(func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = 1, -1 }),
		"MaxActiveConns":        server.Client(func(o *redis.Options) { o.MaxActiveConns = 2 }),
		"Cluster":               redistest.SharedCluster(t).Client(),
		"Cluster, replicas":     redistest.SharedCluster(t).Client(func(o *redis.ClusterOptions) { o.RouteRandomly = true }),
		"Cluster, capped":       redistest.SharedCluster(t).Client(func(o *redis.ClusterOptions) { o.MaxActiveConns = 2 }),
		"Sentinel":              redistest.SharedSentinel(t).Client(),
		"of the user's own":     struct{ redis.UniversalClient }{server.Client()},
	} {
		t.Run(name, func(t *testing.T) {
			r := on(t, client, ample)
			hash := "{both " + name + "}"
			var one, none [16]byte
			one[0] = 1
			require.NoError(t, client.HSet(t.Context(), hash, "a", "1", "b", "2", fmt.Sprintf("%x", one), "3").Err())
			many(200, func(i int) {
				key := fmt.Sprintf("both %s %d", name, i)
				require.NoError(t, r.Do(t.Context(), Eval("store", Writes, echo, []string{key}, []any{i}, Limits{})))
				first, second := Get("lookup", key, Limits{Expect: i % 3 * LargeSize}), NewQuestion("fence", hash, []string{"b", "c", "a"}, [][16]byte{none, one, {15: byte(i)}, none})
				firstErr, secondErr := r.Both(t.Context(), first, second)
				require.NoError(t, firstErr)
				require.NoError(t, secondErr)
				require.Equal(t, fmt.Sprint(i), string(first.Raw()))
				for n, want := range []any{"2", nil, "1", nil, "3", nil, nil} {
					require.Equal(t, want, second.Value(n), n)
				}
			})
		})
	}
}
