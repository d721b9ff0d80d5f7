package sweep

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/remote"
)

func TestTheLayoutOfSlots(t *testing.T) {
	slot := func(start, end int, id string) redis.ClusterSlot {
		return redis.ClusterSlot{Start: start, End: end, Nodes: []redis.ClusterNode{{ID: id}, {ID: "a replica of " + id}}}
	}
	of := func(slots ...redis.ClusterSlot) string {
		text, err := layoutOf(slots, 2)
		require.NoError(t, err)
		return text
	}
	one := of(slot(0, 99, "a"), slot(100, allSlots-1, "b"))
	assert.Equal(t, one, of(slot(100, allSlots-1, "b"), slot(0, 99, "a")), "nodes list them in any order")
	assert.NotEqual(t, one, of(slot(0, 98, "a"), slot(99, allSlots-1, "b")), "a slot has moved")
	assert.NotEqual(t, one, of(slot(0, 99, "c"), slot(100, allSlots-1, "b")), "another node has taken over")

	_, err := layoutOf([]redis.ClusterSlot{slot(0, 99, "a"), slot(101, allSlots-1, "b")}, 2)
	require.ErrorContains(t, err, "only 16383 of 16384 slots have a primary")
	_, err = layoutOf([]redis.ClusterSlot{slot(0, allSlots-1, "a")}, 2)
	require.ErrorIs(t, err, errMoved)
}

// config sweeps the keys a:*, whose locks end in :lock.
func config(client redis.UniversalClient, limit time.Duration) Config {
	return Config{
		Client: client, Prefix: "a:", Lock: ":lock", Probe: "a:", Limit: limit, Spawn: func(f func()) { go f() },
		Entry: func(key string) (string, bool) { return strings.TrimSuffix(key, ":lock"), true },
	}
}

func TestAServerThatHangsIsNotWaitedFor(t *testing.T) {
	for name, change := range map[string]func(*redis.Options){
		"a client that would wait for ever":     func(o *redis.Options) { o.ReadTimeout, o.ContextTimeoutEnabled = -1, false },
		"a client that heeds contexts":          func(o *redis.Options) { o.ContextTimeoutEnabled = true },
		"a client that has a timeout of itself": func(o *redis.Options) { o.ReadTimeout, o.ContextTimeoutEnabled = 10*time.Millisecond, false },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			client := server.Client(change)
			require.NoError(t, client.Set(t.Context(), "a:1", "x", 0).Err())
			server.Pause()
			t.Cleanup(server.Resume)
			_, err := Sweep(t.Context(), config(client, 50*time.Millisecond))
			require.Error(t, err)
			assert.Equal(t, remote.KindTimeout, remote.KindOf(err), "%v", err)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err = Sweep(ctx, config(client, time.Minute))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

func TestAReplicaIsNotSwept(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	_, err := Sweep(t.Context(), config(replica.Client(), time.Minute))
	require.Error(t, err)
	assert.Equal(t, remote.KindReadOnly, remote.KindOf(err), "there is nothing to delete, and it says so all the same: %v", err)
}

func TestAConnectionThatBreaksBeginsThePassAgain(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	for _, key := range []string{"a:1", "a:1:lock", "a:2", "b:1"} {
		require.NoError(t, client.Set(t.Context(), key, "x", 0).Err())
	}
	scans := 0
	redistest.AddHook(client, hook(func(cmd redis.Cmder) {
		if cmd.Name() == "scan" {
			if scans++; scans == 2 {
				require.NoError(t, server.Client().ClientKillByFilter(context.Background(), "TYPE", "normal").Err())
			}
		}
	}))
	removed, err := Sweep(t.Context(), config(client, time.Minute))
	require.NoError(t, err)
	assert.Equal(t, 2, removed)
	assert.Equal(t, 4, scans)
	assert.Equal(t, []string{"b:1"}, server.Client().Keys(t.Context(), "*").Val())
}

// A hook acts before each command.
type hook func(redis.Cmder)

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h(cmd)
		return next(ctx, cmd)
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
