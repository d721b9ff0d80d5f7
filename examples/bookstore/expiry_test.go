package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/fncachetest"
)

func TestPagesOfOneTagAreMadeFewAtATime(t *testing.T) {
	cache := fncachetest.New(t)
	for _, places := range []int{0, shelfPlaces} {
		e, err := expireShelf(t.Context(), cache.Cache, places)
		require.NoError(t, err)
		require.Equal(t, shelfPages, e.computed+e.stale, "nobody is refused")
		require.Positive(t, e.computed)
		if places > 0 {
			require.LessOrEqual(t, e.most, int64(places))
			require.Positive(t, e.stale)
		} else {
			require.Greater(t, e.most, int64(shelfPlaces))
		}
	}
}
