package fncache_test

import (
	"context"
	"reflect"
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

func TestStatsAreAddedWithAllTheirCounters(t *testing.T) {
	var a Stats
	next := int64(0)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		next++
		switch v.Kind() {
		case reflect.Uint64:
			v.SetUint(uint64(next))
		case reflect.Int64:
			v.SetInt(next)
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		default:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		}
	}
	fill(reflect.ValueOf(&a).Elem())
	assert.Equal(t, a, Stats{}.Add(a))
	twice, one := reflect.ValueOf(a.Add(a)), reflect.ValueOf(a)
	for i := range twice.NumField() {
		assert.NotEqual(t, one.Field(i).Interface(), twice.Field(i).Interface(), twice.Type().Field(i).Name)
	}
	assert.Equal(t, 2*a.Calls, a.Add(a).Calls)
	assert.Equal(t, 2*a.RedisErrorKinds[KindOOM], a.Add(a).RedisErrorKinds[KindOOM])
	assert.Equal(t, 2*a.SavedTime, a.Add(a).SavedTime)
}
