package server

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

func TestCommandsAreCountedByName(t *testing.T) {
	require.Equal(t, map[string]int{"get": 2, "set": 1}, byName([]string{
		`1700000000.123456 [0 127.0.0.1:40404] "get" "key] x"`,
		`1700000000.123457 [0 127.0.0.1:40404] "GET" "key"`,
		`1700000000.123458 [0 127.0.0.1:40405] "set" "a" "b"`,
	}))
}

func TestServerCountsAScriptAsOne(t *testing.T) {
	redistest.Require(t)
	s, err := Start()
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer func() { require.NoError(t, client.Close()) }()
	counts, err := s.Count(func() error {
		return client.Eval(context.Background(), "redis.call('SET', KEYS[1], 1); return redis.call('GET', KEYS[1])", []string{"k"}).Err()
	})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"eval": 1}, counts)

	broken := errors.New("broken")
	_, err = s.Count(func() error { return broken })
	require.ErrorIs(t, err, broken)

	require.NoError(t, s.Empty())
	require.Zero(t, client.DBSize(context.Background()).Val())
	require.NoError(t, s.Close())
	require.Error(t, client.Ping(context.Background()).Err(), "the server is still there")
}

func TestAFailureOfTheTestIsAnErrorOfTheServer(t *testing.T) {
	r := &run{}
	require.EqualError(t, r.catch(func() { r.Fatalf("no %s", "server") }), "no server")
	require.NoError(t, r.catch(func() {}))
	require.Panics(t, func() { _ = r.catch(func() { panic("a bug") }) })
	r.Errorf("pause: %v", "gone")
	require.EqualError(t, (&Server{run: r}).Close(), "pause: gone")
}
