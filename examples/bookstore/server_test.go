package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachetest"
)

// cachedHandler is the handler over a Store wrapped as the tags say.
func cachedHandler(t *testing.T, store *Store) (http.Handler, *fncachetest.Cache) {
	t.Helper()
	cache := fncachetest.New(t)
	_, err := fncache.WrapStruct(store, fncache.Options{Cache: cache.Cache})
	require.NoError(t, err)
	return handler(store), cache
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestPagesSayWhereTheyCameFrom(t *testing.T) {
	h, cache := cachedHandler(t, newStore(tinyDatabase(t), nil))

	first := get(h, "/authors/Bob/top")
	require.Equal(t, http.StatusOK, first.Code)
	require.Equal(t, "application/json", first.Header().Get("Content-Type"))
	require.Equal(t, "computed; age=0s", first.Header().Get("X-Cache"))
	require.Contains(t, first.Body.String(), `{"book_id":13,"title":"Together","bought":`)

	cache.Advance(12 * time.Second)
	second := get(h, "/authors/Bob/top")
	require.Equal(t, "fresh; age=12s", second.Header().Get("X-Cache"))
	require.Equal(t, first.Body.String(), second.Body.String())

	require.Equal(t, "computed; age=0s", get(h, "/books/14").Header().Get("X-Cache"))
	book := get(h, "/books/14")
	require.Equal(t, "fresh; age=0s", book.Header().Get("X-Cache"))
	require.JSONEq(t, `{"id":14,"authors":["Bob"],"title":"Alone","average_rating":4,"ratings_count":50}`, book.Body.String())
	require.Equal(t, "[]\n", get(h, "/authors/Unread/top").Body.String())
}

func TestThePageOfAnAuthorLoadsItsBooksByOneBatch(t *testing.T) {
	store := newStore(tinyDatabase(t), nil)
	original, runs := store.BooksByIDs, [][]int64{}
	store.BooksByIDs = func(ctx context.Context, ids []int64) (map[int64]Book, error) {
		runs = append(runs, slices.Clone(ids))
		return original(ctx, ids)
	}
	h, _ := cachedHandler(t, store)
	for range 2 {
		page := get(h, "/authors/Bob")
		require.Equal(t, http.StatusOK, page.Code)
		var books []Book
		require.NoError(t, json.Unmarshal(page.Body.Bytes(), &books))
		require.Len(t, books, 2)
		for _, book := range books {
			require.Contains(t, book.Authors, "Bob")
		}
	}
	require.Len(t, runs, 1, "one run for all books")
	ann := get(h, "/authors/Ann")
	require.Equal(t, http.StatusOK, ann.Code)
	require.Len(t, runs, 2)
	require.NotContains(t, runs[1], int64(13), "a book of Bob and Ann is cached already")
	require.Equal(t, "[]\n", get(h, "/authors/Unread").Body.String())
	require.Equal(t, http.StatusNotFound, get(h, "/authors/Nobody").Code)
}

func TestTheFirstPageSaysWhichThereAre(t *testing.T) {
	h, _ := cachedHandler(t, newStore(tinyDatabase(t), nil))
	first := get(h, "/")
	require.Equal(t, http.StatusOK, first.Code)
	require.Contains(t, first.Body.String(), "/authors/{name}/top")
	require.Contains(t, first.Body.String(), "/books/{id}")
}

func TestUnknownIs404AndNonsense400(t *testing.T) {
	h, cache := cachedHandler(t, newStore(tinyDatabase(t), nil))
	for path, want := range map[string]int{
		"/authors/Nobody/top":                             http.StatusNotFound,
		"/authors/%ff/top":                                http.StatusNotFound,
		"/authors/%00/top":                                http.StatusNotFound,
		"/authors/%0d%0aX-Evil:%201/top":                  http.StatusNotFound,
		"/authors/..%2f..%2fetc%2fpasswd/top":             http.StatusNotFound,
		"/authors/'%20OR%201=1%20--/top":                  http.StatusNotFound,
		"/authors/%3Cscript%3E/top":                       http.StatusNotFound,
		"/authors/" + strings.Repeat("x", 1<<20) + "/top": http.StatusNotFound,
		"/authors/Nobody":                                 http.StatusNotFound,
		"/authors/Ann/bottom":                             http.StatusNotFound,
		"/books/99":                                       http.StatusNotFound,
		"/books/-1":                                       http.StatusNotFound,
		"/books/x":                                        http.StatusBadRequest,
		"/books/1.0":                                      http.StatusBadRequest,
		"/books/99999999999999999999":                     http.StatusBadRequest,
	} {
		w := get(h, path)
		require.Equal(t, want, w.Code, "%.60s", path)
		require.Empty(t, w.Header().Get("X-Cache"), "%.60s", path)
		require.Empty(t, w.Header().Get("X-Evil"))
		require.NotContains(t, w.Body.String(), "script", "a page does not repeat what it was asked for")
	}
	for _, key := range cache.Redis.Keys() {
		require.Regexp(t, `:functions:{|:{process:|:{fence}$`, key, "what is not there leaves no entry in Redis, and no lease")
	}
}

func TestColdRefusalIs503WithRetryAfter(t *testing.T) {
	computing, finish := make(chan struct{}), make(chan struct{})
	h, _ := cachedHandler(t, &Store{
		TopBooks: func(context.Context, string) ([]Bestseller, error) {
			close(computing)
			<-finish
			return []Bestseller{}, nil
		},
		BookByID:   func(context.Context, int64) (Book, error) { return Book{}, nil },
		BooksByIDs: func(context.Context, []int64) (map[int64]Book, error) { return nil, nil },
		Authors:    func(context.Context) ([]string, error) { return nil, nil },
	})
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- get(h, "/authors/Ann/top") }()
	<-computing

	refused := get(h, "/authors/Ann/top")
	require.Equal(t, http.StatusServiceUnavailable, refused.Code)
	require.Equal(t, "1", refused.Header().Get("Retry-After"))
	require.Equal(t, "refused", refused.Header().Get("X-Cache"))

	close(finish)
	require.Equal(t, "computed; age=0s", (<-first).Header().Get("X-Cache"))
	require.Equal(t, "fresh; age=0s", get(h, "/authors/Ann/top").Header().Get("X-Cache"))
}

func TestFaultsOfTheShopAreNotForVisitors(t *testing.T) {
	for err, want := range map[error]int{
		errors.New("disk on fire, password is sesame"): http.StatusInternalServerError,
		context.DeadlineExceeded:                       http.StatusGatewayTimeout,
	} {
		h := handler(&Store{TopBooks: func(context.Context, string) ([]Bestseller, error) { return nil, err }})
		w := get(h, "/authors/Ann/top")
		require.Equal(t, want, w.Code)
		require.NotContains(t, w.Body.String(), "sesame")
	}
}

func TestServeLetsRequestsEnd(t *testing.T) {
	asked, finish := make(chan struct{}), make(chan struct{})
	s := &shop{cached: &Store{TopBooks: func(context.Context, string) ([]Bestseller, error) {
		close(asked)
		<-finish
		return []Bestseller{}, nil
	}}}
	ctx, stop := context.WithCancel(t.Context())
	said, say := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, "127.0.0.1:0", s, &redisServer{}, say)
		_ = say.Close()
	}()
	lines := make(chan string, 10)
	go scan(said, lines)
	url := strings.Fields(<-lines)[1]

	answer := make(chan int, 1)
	go func() {
		resp, err := http.Get(url + "authors/Ann/top")
		if err != nil {
			answer <- 0
			return
		}
		_ = resp.Body.Close()
		answer <- resp.StatusCode
	}()
	<-asked
	stop()
	for line := range lines {
		if strings.HasPrefix(line, "Closing") {
			break
		}
	}
	close(finish)
	require.Equal(t, http.StatusOK, <-answer)
	require.NoError(t, <-ended)

	require.ErrorContains(t, serve(t.Context(), "nonsense", s, &redisServer{}, io.Discard), "-serve nonsense")
}

func TestAPurchaseExpiresTheListsOfTheBooksAuthors(t *testing.T) {
	cache := fncachetest.New(t)
	store := newStore(tinyDatabase(t), cache.ExpireTags)
	_, err := fncache.WrapStruct(store, fncache.Options{Cache: cache.Cache})
	require.NoError(t, err)
	h := handler(store)
	source := func(author string) string { return get(h, "/authors/"+author+"/top").Header().Get("X-Cache") }
	before := get(h, "/authors/Bob/top").Body.String()
	require.Equal(t, "computed; age=0s", source("Ann"))
	require.Equal(t, "computed; age=0s", source("Unread"))

	buy := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		return w.Code
	}
	require.Equal(t, http.StatusNoContent, buy("/books/13/buy")) // by Ann and Bob
	bob := get(h, "/authors/Bob/top")
	require.Equal(t, "computed; age=0s", bob.Header().Get("X-Cache"))
	require.NotEqual(t, before, bob.Body.String(), "one more was bought")
	require.Equal(t, "computed; age=0s", source("Ann"))
	require.Equal(t, "fresh; age=0s", source("Unread"), "another author")

	require.Equal(t, http.StatusNotFound, buy("/books/99/buy"))
	require.Equal(t, http.StatusBadRequest, buy("/books/x/buy"))
}
