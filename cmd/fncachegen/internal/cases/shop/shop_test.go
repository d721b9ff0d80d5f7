package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachetest"
)

// memory is an implementation that counts its calls.
type memory struct{ calls map[string]int }

func newMemory() *memory { return &memory{make(map[string]int)} }

func (m *memory) BookByID(_ context.Context, id int64) (Book, error) {
	m.calls["BookByID"]++
	return Book{ID: id, Title: fmt.Sprint("Volume ", m.calls["BookByID"])}, nil
}

func (m *memory) Search(_ context.Context, limit int, words ...string) ([]Book, error) {
	m.calls["Search"]++
	return []Book{{ID: int64(limit), Title: strings.Join(words, " ")}}, nil
}

func (m *memory) Published(context.Context, time.Time, time.Time) ([]string, error) {
	m.calls["Published"]++
	return nil, errors.New("not there")
}

func (m *memory) Count() int { m.calls["Count"]++; return m.calls["Count"] }

func (m *memory) Add(context.Context, Book) error                     { m.calls["Add"]++; return nil }
func (m *memory) Close()                                              { m.calls["Close"]++ }
func (m *memory) Cover(context.Context, int64) (io.ReadCloser, error) { return nil, io.EOF }
func (m *memory) Serve(http.ResponseWriter, *http.Request) int        { return 204 }
func (m *memory) find(title string) (Book, bool)                      { m.calls["find"]++; return Book{Title: title}, true }

func TestMethodsWithOptionsAreCachedAndOthersPassThrough(t *testing.T) {
	cache, m := fncachetest.New(t), newMemory()
	repo, funcs, err := CacheBookRepository(cache.Cache, m, BookRepositoryOptions{
		BookByID: &fncache.Options{Timeout: time.Hour},
		Search:   &fncache.Options{Timeout: time.Hour},
		find:     &fncache.Options{Timeout: time.Hour, OnCold: fncache.Wait},
	})
	require.NoError(t, err)
	for range 3 {
		book, err := repo.BookByID(t.Context(), 7)
		require.NoError(t, err)
		assert.Equal(t, "Volume 1", book.Title)
		found, err := repo.Search(t.Context(), 5, "jane", "austen")
		require.NoError(t, err)
		assert.Equal(t, []Book{{ID: 5, Title: "jane austen"}}, found)
		book, ok := repo.find("Emma")
		assert.True(t, ok)
		assert.Equal(t, "Emma", book.Title)
		repo.Count()
		require.NoError(t, repo.Add(t.Context(), book))
		repo.Close()
		_, err = repo.Cover(t.Context(), 1)
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 204, repo.Serve(nil, nil))
	}
	assert.Equal(t, map[string]int{"BookByID": 1, "Search": 1, "find": 1, "Count": 3, "Add": 3, "Close": 3}, m.calls)
	assert.Equal(t, "github.com/fncache/fncache/cmd/fncachegen/internal/cases/shop.BookRepository.BookByID", funcs.BookByID.Func.Name())
	assert.Nil(t, funcs.Count, "it has no options")

	require.NoError(t, funcs.BookByID.Invalidate(t.Context(), 7))
	book, err := repo.BookByID(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "Volume 2", book.Title)
}

func TestOptionsOfAMethodComeBeforeThoseOfAll(t *testing.T) {
	cache, other := fncachetest.New(t), fncachetest.New(t)
	_, funcs, err := CacheBookRepository(cache.Cache, newMemory(), BookRepositoryOptions{
		Prefix:    "a",
		BookByID:  &fncache.Options{Timeout: time.Hour},
		Published: &fncache.Options{Timeout: time.Hour, Prefix: "b", Name: "Published", Cache: other.Cache},
	})
	require.NoError(t, err)
	assert.Regexp(t, "^a:.*BookRepository.BookByID$", funcs.BookByID.Func.Name())
	assert.Equal(t, "b:Published", funcs.Published.Func.Name())
}

func TestItIsAllOrNothing(t *testing.T) {
	cache, m := fncachetest.New(t), newMemory()
	repo, funcs, err := CacheBookRepository(cache.Cache, m, BookRepositoryOptions{
		BookByID:  &fncache.Options{Timeout: time.Hour},
		Count:     &fncache.Options{Timeout: time.Hour}, // cannot report that it is cold
		Published: &fncache.Options{},
	})
	assert.Nil(t, repo)
	assert.Nil(t, funcs)
	assert.ErrorContains(t, err, "shop.BookRepository.Count")
	assert.ErrorContains(t, err, "OnCold is Fail")
	assert.ErrorContains(t, err, "shop.BookRepository.Published")
	assert.ErrorContains(t, err, "Timeout")

	options := BookRepositoryOptions{BookByID: &fncache.Options{Timeout: time.Hour}}
	_, _, err = CacheBookRepository(cache.Cache, m, options)
	require.NoError(t, err, "the name is free")
	_, _, err = CacheBookRepository(cache.Cache, newMemory(), options)
	require.ErrorContains(t, err, "is taken", "another implementation needs a Prefix")
	options.Prefix = "second"
	_, _, err = CacheBookRepository(cache.Cache, newMemory(), options)
	require.NoError(t, err)

	_, _, err = CacheBookRepository(cache.Cache, nil, options)
	assert.EqualError(t, err, "fncache: CacheBookRepository: next is nil; pass an implementation of BookRepository")
}

// TestHandlesKnowTheTypesOfMethods is checked by the compiler, except that they work.
func TestHandlesKnowTheTypesOfMethods(t *testing.T) {
	m := newMemory()
	options := BookRepositoryOptions{BookByID: &fncache.Options{Timeout: time.Hour}, Search: &fncache.Options{Timeout: time.Hour}}
	repo, funcs, err := CacheBookRepository(fncachetest.New(t).Cache, m, options)
	require.NoError(t, err)
	assert.IsType(t, (*fncache.Func1[int64, Book])(nil), funcs.BookByID)
	assert.IsType(t, (*fncache.Func2[time.Time, time.Time, []string])(nil), funcs.Published)
	assert.IsType(t, (*fncache.Func)(nil), funcs.Search, "it is variadic")
	assert.Nil(t, funcs.Published, "it has no options")
	_, err = repo.BookByID(t.Context(), 7)
	require.NoError(t, err)
	book, _, ok, err := funcs.BookByID.Peek(t.Context(), 7)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "Volume 1", book.Title)
	book, err = funcs.BookByID.Refresh(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "Volume 2", book.Title)
	_, err = repo.Search(t.Context(), 5, "emma")
	require.NoError(t, err)
	require.NoError(t, funcs.Search.Invalidate(t.Context(), 5, []string{"emma"}))
	funcs.BookByID.Func.Unwrap()
	book, err = repo.BookByID(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "Volume 3", book.Title)
}

// prices is an implementation that counts its calls.
type prices struct{ runs [][]int64 }

func (p *prices) PricesByIDs(_ context.Context, ids []int64) (map[int64]int, error) {
	p.runs = append(p.runs, ids)
	found := map[int64]int{}
	for _, id := range ids {
		found[id] = int(id) * 100
	}
	return found, nil
}

func (p *prices) Search(_ context.Context, words []string) (map[string]int, error) {
	return map[string]int{"found by " + words[0]: 1}, nil
}

func TestAMethodOfManyIDsHasAnEntryForEach(t *testing.T) {
	impl := &prices{}
	repo, funcs, err := CachePrices(fncachetest.New(t).Cache, impl, PricesOptions{
		PricesByIDs: &fncache.Options{Timeout: time.Hour, BatchSize: 2, MissingTimeout: time.Minute},
		Search:      &fncache.Options{Timeout: time.Hour},
	})
	require.NoError(t, err)
	assert.IsType(t, (*fncache.BatchFunc[int64, int])(nil), funcs.PricesByIDs)
	assert.IsType(t, (*fncache.Func1[[]string, map[string]int])(nil), funcs.Search)
	for _, ids := range [][]int64{{1, 2, 3}, {3, 1}} {
		found, err := repo.PricesByIDs(t.Context(), ids)
		require.NoError(t, err)
		assert.Len(t, found, len(ids))
		assert.Equal(t, 300, found[3])
	}
	assert.Equal(t, [][]int64{{1, 2}, {3}}, impl.runs)
	require.NoError(t, funcs.PricesByIDs.Invalidate(t.Context(), 2))
	_, err = repo.PricesByIDs(t.Context(), []int64{1, 2, 3})
	require.NoError(t, err)
	assert.Equal(t, [][]int64{{1, 2}, {3}, {2}}, impl.runs)
	for range 2 {
		found, err := repo.Search(t.Context(), []string{"emma"})
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"found by emma": 1}, found, "it is cached as a whole")
	}
	funcs.PricesByIDs.Func.Unwrap()
}
