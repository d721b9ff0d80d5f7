package redistest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// exercise sends nine commands: an unknown EVALSHA, its EVAL, and others.
func exercise(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	ctx := context.Background()
	script := redis.NewScript(`return redis.call('SET', KEYS[1], redis.call('INCR', KEYS[1]))`)
	require.NoError(t, script.Run(ctx, c, []string{"{a}n"}).Err())
	require.NoError(t, script.Run(ctx, c, []string{"{a}n"}).Err())
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "{a}k", strings.Repeat("x", 200), 0)
		p.Get(ctx, "{a}k")
		return nil
	})
	require.NoError(t, err)
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Get(ctx, "{a}k")
		p.Set(ctx, "{a}k", []byte{0xff, 0x00}, 0)
		return nil
	})
	require.NoError(t, err)
}

var exercised = map[string]int{"evalsha": 2, "eval": 1, "set": 2, "get": 2, "multi": 1, "exec": 1}

func TestCounterCountsWhatAClientSends(t *testing.T) {
	t.Parallel()
	clients := map[string]func(*testing.T) redis.UniversalClient{
		"single":  func(t *testing.T) redis.UniversalClient { return Start(t).Client() },
		"cluster": func(t *testing.T) redis.UniversalClient { return StartCluster(t).Client() },
	}
	for name, start := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, counter := start(t), NewCounter()
			client.AddHook(counter)
			exercise(t, client)
			require.Equal(t, exercised, counter.ByName())
			require.Equal(t, 9, counter.Total())
			commands := counter.Commands()
			require.Equal(t, "set {a}k "+strings.Repeat("x", 80)+"...", commands[3])
			require.Equal(t, `set {a}k "\xff\x00"`, commands[7])
			counter.Reset()
			require.Zero(t, counter.Total())
			require.Empty(t, counter.ByName())
			require.Empty(t, counter.Commands())
		})
	}
}

func TestMonitorSeesTheSameFromOutside(t *testing.T) {
	t.Parallel()
	s := Start(t)
	require.NoError(t, s.Client().Set(context.Background(), "before", "v", 0).Err())
	m := s.Monitor(t)
	exercise(t, s.Client()) // sets up connections, too
	got := map[string]int{}
	for _, line := range m.Stop() {
		_, name := splitMonitorLine(line)
		got[name]++
	}
	require.Equal(t, exercised, got)
}

func TestMonitorMissesNothingOfABurst(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 500
	s := Start(t)
	m := s.Monitor(t)
	var wg sync.WaitGroup
	for range clients {
		c := s.Client()
		wg.Go(func() {
			for range each {
				if err := c.Incr(context.Background(), "n").Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, m.Stop(), clients*each)
}
