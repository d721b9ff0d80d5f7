package generic

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachetest"
)

type table[K comparable, V any] struct {
	value V
	loads int
}

func (t *table[K, V]) Load(context.Context, K) (V, error) { t.loads++; return t.value, nil }
func (t *table[K, V]) All(_ context.Context, keys ...K) (map[K]V, error) {
	all := make(map[K]V)
	for _, k := range keys {
		all[k] = t.value
	}
	return all, nil
}
func (t *table[K, V]) Save(context.Context, K, V) error             { return nil }
func (t *table[K, V]) Titles(ctx context.Context) ([]string, error) { return []string{"Emma"}, nil }

func TestInstancesAreToldApartByTheirPrefix(t *testing.T) {
	cache := fncachetest.New(t)
	texts, numbers := &table[string, string]{value: "a"}, &table[string, int]{value: 1}
	options := StoreOptions{Load: &fncache.Options{Timeout: time.Hour}, All: &fncache.Options{Timeout: time.Hour}}
	_, _, err := CacheStore[string, string](cache.Cache, texts, options)
	require.ErrorContains(t, err, "fncache: CacheStore: All: another instance of Store could share its entries; set StoreOptions.Prefix, or a Name")

	options.Prefix = "texts"
	cachedTexts, _, err := CacheStore[string, string](cache.Cache, texts, options)
	require.NoError(t, err)
	options.Prefix = "numbers"
	cachedNumbers, funcs, err := CacheStore[string, int](cache.Cache, numbers, options)
	require.NoError(t, err)
	for range 2 {
		text, err := cachedTexts.Load(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "a", text)
		number, err := cachedNumbers.Load(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, 1, number)
		all, err := cachedNumbers.All(t.Context(), "k", "l")
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"k": 1, "l": 1}, all)
	}
	assert.Equal(t, 1, texts.loads)
	assert.Equal(t, 1, numbers.loads)
	assert.EqualValues(t, 1, funcs.All.Stats().Fresh)
}

func TestAnEmbeddedInstanceIsNotGeneric(t *testing.T) {
	books, funcs, err := CacheBooks(fncachetest.New(t).Cache, &table[int64, string]{value: "Emma"}, BooksOptions{Load: &fncache.Options{Timeout: time.Hour}})
	require.NoError(t, err)
	title, err := books.Load(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "Emma", title)
	assert.EqualValues(t, 1, funcs.Load.Func.Stats().Computations)
}

// clash implements Clash.
type clash struct{ table[int, string] }

func (c *clash) Get(ctx context.Context, id int) (string, error) { return c.Load(ctx, id) }
func (*clash) At(context.Context, int) (time.Time, error)        { return time.Unix(1, 0).UTC(), nil }
func (*clash) String() string                                    { return "clash" }

func TestATypeParameterMayHaveTheNameOfAPackage(t *testing.T) {
	cached, funcs, err := CacheClash[string](fncachetest.New(t).Cache, &clash{table[int, string]{value: "a"}}, ClashOptions{
		Prefix: "texts", Get: &fncache.Options{Timeout: time.Hour}, At: &fncache.Options{Timeout: time.Hour},
	})
	require.NoError(t, err)
	for range 2 {
		text, err := cached.Get(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, "a", text)
		at, err := cached.At(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, time.Unix(1, 0).UTC(), at)
	}
	assert.EqualValues(t, 1, funcs.At.Func.Stats().Fresh)
	assert.EqualValues(t, 1, funcs.Get.Func.Stats().Fresh)
}
