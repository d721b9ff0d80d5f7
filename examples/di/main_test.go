package main

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"

	"github.com/fncache/fncache"
)

func TestComputedThenFresh(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `TopBookIDs(42) = [420 423]: computed
  BookByID(420) = Volume 420: computed
  BookByID(423) = Volume 423: computed
TopBookIDs(42) = [420 423]: fresh
  BookByID(420) = Volume 420: fresh
  BookByID(423) = Volume 423: fresh
Count() = 1000: not cached
`, out.String())
}

func TestStopClosesTheCacheAndThenItsClient(t *testing.T) {
	var cache *fncache.Cache
	var client redis.UniversalClient
	app := fxtest.New(t, providers, fx.Populate(&cache, &client)).RequireStart()
	require.NoError(t, cache.Ping(t.Context()))
	app.RequireStop()
	require.ErrorIs(t, cache.Ping(t.Context()), fncache.ErrClosed)
	require.ErrorIs(t, client.Ping(t.Context()).Err(), redis.ErrClosed)
}
