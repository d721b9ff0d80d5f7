package fncache_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

// Close is called with a default client while the server has a fault.
func TestCloseLeavesNothingForAnyFaultOfTheServer(t *testing.T) {
	inBothForms(t, testCloseLeavesNothingBehind)
}

// A closeTrouble is what is wrong with the server while the cache is closed.
type closeTrouble struct {
	begin   func(*testing.T, *redistest.Server)
	heal    func(*redistest.Server)
	limit   time.Duration // of Close
	answers bool          // the lease is given back
}

var closeTroubles = map[string]closeTrouble{
	"stopped": {
		begin: func(_ *testing.T, s *redistest.Server) { s.Pause() },
		heal:  (*redistest.Server).Resume,
		limit: CloseGrace + 5*time.Second, // ReadTimeout
	},
	"killed": {
		begin: func(_ *testing.T, s *redistest.Server) { s.Kill() },
		heal:  (*redistest.Server).Restart,
		limit: CloseGrace,
	},
	"connections cut": {
		begin: func(t *testing.T, s *redistest.Server) {
			for _, kind := range []string{"normal", "pubsub"} {
				require.NoError(t, s.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", kind).Err())
			}
		},
		heal:    func(*redistest.Server) {},
		limit:   CloseGrace,
		answers: true,
	},
	"out of memory": {
		begin: func(t *testing.T, s *redistest.Server) {
			require.NoError(t, s.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
		},
		heal:    func(*redistest.Server) {},
		limit:   CloseGrace,
		answers: true,
	},
	"became a replica": {
		begin: func(t *testing.T, s *redistest.Server) {
			require.NoError(t, s.Client().Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
		},
		heal:  func(*redistest.Server) {},
		limit: CloseGrace,
	},
}

func testCloseLeavesNothingBehind(t *testing.T) {
	for name, trouble := range closeTroubles {
		for form, near := range map[string]time.Duration{"": 0, ", Near": time.Minute} {
			t.Run(name+form, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				trouble.test(t, near)
			})
		}
	}
}

func (w closeTrouble) test(t *testing.T, near time.Duration) {
	server := redistest.Start(t)
	client := server.Client()
	c, err := New(Config{Redis: client, Logger: slog.New(&logtest.Handler{})})
	require.NoError(t, err)
	computes := make(chan struct{})
	s := &source{do: func(ctx context.Context, run int) (int, error) {
		if run == 1 {
			return run, nil
		}
		close(computes)
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}}
	fn := wrap(t, c, s, Options{Near: near})
	require.NoError(t, fn.get(t.Context(), "learns the clock").err)
	end := fn.begin(t.Context(), "a")
	<-computes
	w.begin(t, server)
	defer w.heal(server)

	assert.LessOrEqual(t, timeOf(func() { assert.NoError(t, c.Close()) }), w.limit)
	assert.Zero(t, c.Life().Running(), "goroutines")
	require.ErrorIs(t, (<-end).err, ErrClosed)
	if w.answers {
		n, err := server.Client().Exists(t.Context(), must(fn.Key("a"))+LockSuffix).Result()
		require.NoError(t, err)
		assert.Zero(t, n, "the lease was given back")
	}
}
