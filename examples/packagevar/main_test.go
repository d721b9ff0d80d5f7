package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/redistest"
)

// Both run with an empty Redis: the first call computes.
const story = `^TopBookIDs\(42\) = \[4200 4207 4203\]: computed, in .*
TopBookIDs\(42\) = \[4200 4207 4203\]: fresh, in .*
TopBookIDs\(42\) = \[4200 4207 4203\]: fresh, in .*
$`

func TestComputedThenFresh(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), "", &out))
	require.Regexp(t, story, out.String())
}

func TestComputedThenFreshOnARealRedis(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), "redis://"+redistest.Start(t).Addr(), &out))
	require.Regexp(t, story, out.String())
}

func TestWithoutACacheTheErrorSaysSo(t *testing.T) {
	fncache.SetDefault(nil)
	_, err := TopBookIDs(context.Background(), 42)
	require.ErrorIs(t, err, fncache.ErrNoCache)
}

func TestRedisURLFaultsNameTheFlag(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), "http://localhost", io.Discard), "-redis")
}
