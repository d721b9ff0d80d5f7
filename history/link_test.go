package history

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// linked returns a client that goes through a link, and one that does not.
func linked(t *testing.T) (l *link, through, past *redis.Client) {
	t.Helper()
	server := redistest.Start(t)
	l, err := newLink(server.Addr(), 0, 1)
	require.NoError(t, err)
	t.Cleanup(l.close)
	through = redis.NewClient(&redis.Options{Addr: l.addr(), MaxRetries: -1, ReadTimeout: 50 * time.Millisecond, PoolSize: 1})
	t.Cleanup(func() { _ = through.Close() })
	set(t, through, "before") // so that there is a connection
	return l, through, server.Client()
}

// set writes a key, however slow the machine is.
func set(t *testing.T, client *redis.Client, key string) {
	t.Helper()
	require.Eventually(t, func() bool { return client.Set(t.Context(), key, "1", 0).Err() == nil }, patience, time.Millisecond)
}

// arrives waits until a key is there.
func arrives(t *testing.T, client *redis.Client, key string) {
	t.Helper()
	require.Eventually(t, func() bool { return client.Exists(t.Context(), key).Val() == 1 }, patience, time.Millisecond)
}

func TestMessagesThatALinkHoldsBackArriveLater(t *testing.T) {
	for name, hold := range map[string]func(*link, bool){
		"all":             func(l *link, on bool) { l.hold(on, false) },
		"old connections": (*link).holdOld,
	} {
		t.Run(name, func(t *testing.T) {
			l, through, past := linked(t)
			hold(l, true)
			require.Error(t, through.Set(t.Context(), "late", "1", 0).Err())
			assert.Zero(t, past.Exists(t.Context(), "late").Val())
			if name == "old connections" {
				set(t, through, "overtakes")
			}
			hold(l, false)
			arrives(t, past, "late")
		})
	}
}

func TestRepliesThatALinkHoldsBackAreOfCommandsThatAreExecuted(t *testing.T) {
	l, through, past := linked(t)
	l.hold(false, true)
	require.Error(t, through.Set(t.Context(), "silent", "1", 0).Err())
	arrives(t, past, "silent")
}

func TestOnceALinkIsSettledNothingOldArrives(t *testing.T) {
	l, through, past := linked(t)
	l.hold(true, false)
	require.Error(t, through.Set(t.Context(), "lost", "1", 0).Err())
	require.NoError(t, l.settle(t.Context(), past))
	l.hold(false, false)
	set(t, through, "after")
	assert.Zero(t, past.Exists(t.Context(), "lost").Val())
}

func TestALinkRefuses(t *testing.T) {
	l, through, _ := linked(t)
	l.cut(true)
	require.Error(t, through.Ping(t.Context()).Err())
	l.cut(false)
	assert.Eventually(t, func() bool { return through.Ping(t.Context()).Err() == nil }, patience, time.Millisecond)
}

func TestASeedMakesOnePlan(t *testing.T) {
	assert.Equal(t, newPlan(7, time.Second), newPlan(7, time.Second))
	assert.NotEqual(t, newPlan(7, time.Second), newPlan(8, time.Second))
	none := 0
	for seed := range uint64(100) {
		if len(newPlan(seed, 0).Faults) == 0 {
			none++
		}
	}
	assert.True(t, none > 0 && none < 50, "%d of 100 without faults", none)
}
