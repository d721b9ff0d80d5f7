package fncache_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In a wide64 a T stands in 3 to the power of 64 places.
type (
	wide[T any]   struct{ A, B, C []T }
	wide4[T any]  = wide[wide[wide[wide[T]]]]
	wide16[T any] = wide4[wide4[wide4[wide4[T]]]]
	wide64[T any] = wide16[wide16[wide16[wide16[T]]]]
)

func TestAResultTypeIsCheckedOnceForAllItsPlacesInOtherTypes(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	c := newTestCache(t, Config{Redis: client})
	var want wide64[int]
	want.A = slices.Grow(want.A, 1)[:1]
	fn := func() (wide64[int], error) { return want, nil }
	_, err := Wrap(&fn, Options{Cache: c, Name: "wide", Timeout: time.Hour, Near: time.Minute})
	require.NoError(t, err)
	for range 2 {
		got, err := fn()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	refused := func() (wide64[chan int], error) { return wide64[chan int]{}, nil }
	_, err = Wrap(&refused, Options{Cache: c, Name: "refused", Timeout: time.Hour})
	require.ErrorContains(t, err, "does not survive being stored")
	assert.Less(t, strings.Count(err.Error(), "does not survive"), 200, "a fault is told once for a field")
}
