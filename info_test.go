package fncache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnInfoBelongsToTheFirstCallThatItsContextReaches(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		near := wrap(t, c, &source{}, Options{Name: "test.Near", Near: time.Minute})
		far := wrap(t, c, &source{}, Options{Name: "test.Far"})
		near.get(t.Context(), "k") // subscribes
		awaitBubbleHearing(t, c)
		require.NoError(t, near.Refresh(t.Context(), "k"))
		far.get(t.Context(), "k")
		for what, call := range map[string]stringFunc{"near": near.call, "far": far.call} {
			var info Info
			ctx := WithInfo(t.Context(), &info)
			_, err := call(ctx, "k")
			require.NoError(t, err)
			first := info
			require.NotZero(t, first.Key, what)
			_, err = call(ctx, "k")
			require.NoError(t, err)
			_, err = call(WithRefresh(ctx), "other")
			require.NoError(t, err)
			assert.Equal(t, first, info, what)
		}
	})
}

// TestCallsThatShareAContextDoNotRaceForItsInfo is for the race detector.
func TestCallsThatShareAContextDoNotRaceForItsInfo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Near: time.Minute, OnCold: Wait})
		w.get(t.Context(), "near")
		awaitBubbleHearing(t, c)
		require.NoError(t, w.Refresh(t.Context(), "near"))
		keys := map[string]bool{}
		for _, arg := range []string{"near", "far", "cold"} {
			keys[must(w.Key(arg))] = true
		}
		w.get(t.Context(), "far")
		for range 10 {
			var info Info
			ctx := WithInfo(t.Context(), &info)
			var calls sync.WaitGroup
			for i := range 30 {
				calls.Go(func() {
					_, err := w.call(ctx, []string{"near", "far", "cold"}[i%3])
					assert.NoError(t, err)
				})
			}
			calls.Wait()
			assert.True(t, keys[info.Key], "one of them has written")
		}
	})
}

func TestAnInfoThatIsNilIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		_, err := w.call(WithInfo(context.Background(), nil), "k")
		require.NoError(t, err)
	})
}
