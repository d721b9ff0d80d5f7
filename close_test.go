package fncache

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// Close is called with a default client while the server has a fault.
func TestCloseLeavesNothingForAnyFaultOfTheServer(t *testing.T) {
	inBothForms(t, testCloseLeavesNothingBehind)
}

func testCloseLeavesNothingBehind(t *testing.T) {
	for name, trouble := range map[string]struct {
		begin func(*testing.T, *redistest.Server)
		heal  func(*redistest.Server)
		limit time.Duration // of Close
	}{
		"stopped": {
			begin: func(_ *testing.T, s *redistest.Server) { s.Pause() },
			heal:  (*redistest.Server).Resume,
			limit: closeGrace + 5*time.Second, // ReadTimeout
		},
		"killed": {
			begin: func(_ *testing.T, s *redistest.Server) { s.Kill() },
			heal:  (*redistest.Server).Restart,
			limit: closeGrace,
		},
		"connections cut": {
			begin: func(t *testing.T, s *redistest.Server) {
				for _, kind := range []string{"normal", "pubsub"} {
					require.NoError(t, s.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", kind).Err())
				}
			},
			heal:  func(*redistest.Server) {},
			limit: closeGrace,
		},
		"out of memory": {
			begin: func(t *testing.T, s *redistest.Server) {
				require.NoError(t, s.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
			},
			heal:  func(*redistest.Server) {},
			limit: closeGrace,
		},
		"became a replica": {
			begin: func(t *testing.T, s *redistest.Server) {
				require.NoError(t, s.Client().Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
			},
			heal:  func(*redistest.Server) {},
			limit: closeGrace,
		},
	} {
		for form, near := range map[string]time.Duration{"": 0, ", Near": time.Minute} {
			t.Run(name+form, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				server := redistest.Start(t)
				client := server.Client()
				c, err := New(Config{Redis: client, Logger: slog.New(&logSink{})})
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
				w := wrap(t, c, s, Options{Near: near})
				require.NoError(t, w.get(t.Context(), "learns the clock").err)
				end := w.begin(t.Context(), "a")
				<-computes
				trouble.begin(t, server)
				defer trouble.heal(server)

				assert.LessOrEqual(t, timeOf(func() { assert.NoError(t, c.Close()) }), trouble.limit)
				assert.Zero(t, c.life.Running(), "goroutines")
				require.ErrorIs(t, (<-end).err, ErrClosed)
				if name == "connections cut" || name == "out of memory" {
					n, err := server.Client().Exists(t.Context(), must(w.Key("a"))+lockSuffix).Result()
					require.NoError(t, err)
					assert.Zero(t, n, "the lease was given back")
				}
			})
		}
	}
}
