package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// startRedis starts an embedded Redis, so that the examples run anywhere.
func startRedis() (addr string, stop func()) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	return server.Addr(), server.Close
}

// newCache makes a cache on an embedded Redis.
func newCache() (cache *fncache.Cache, stop func()) {
	addr, stopRedis := startRedis()
	client := redis.NewClient(&redis.Options{Addr: addr})
	cache = fncache.Must(fncache.New(fncache.Config{Redis: client}))
	return cache, func() {
		_ = cache.Close()
		_ = client.Close()
		stopRedis()
	}
}

// slowQuery stands for what is too expensive to run for every request.
func slowQuery(_ context.Context, authorID int64) ([]int64, error) {
	fmt.Println("asking the database about author", authorID)
	return []int64{authorID * 10, authorID * 20}, nil
}

func Example() {
	addr, stop := startRedis()
	defer stop()
	ctx := context.Background()

	cache := fncache.Must(fncache.Open(ctx, "redis://"+addr, fncache.Config{}))
	defer cache.Close()

	topBookIDs := slowQuery // func(ctx context.Context, authorID int64) ([]int64, error)
	fncache.Must(fncache.Wrap(&topBookIDs, fncache.Options{
		Cache: cache, Timeout: 24 * time.Hour, Freshness: time.Hour,
	}))

	fmt.Println(topBookIDs(ctx, 7)) // asks the database
	fmt.Println(topBookIDs(ctx, 7)) // asks Redis
	// Output:
	// asking the database about author 7
	// [70 140] <nil>
	// [70 140] <nil>
}

// Book is what the examples cache.
type Book struct {
	ID    int64
	Title string
}

// BookService has func fields, wired at start-up.
type BookService struct {
	TopBookIDs func(ctx context.Context, authorID int64) ([]int64, error) `fncache:"timeout=24h,freshness=1h,prefix=Author"`
	BookByID   func(ctx context.Context, id int64) (Book, error)          `fncache:"timeout=1h,freshness=5m,oncold=wait,waittimeout=2s"`
	Ping       func(ctx context.Context) error                            // no tag: left alone
}

func ExampleWrapStruct() {
	cache, stop := newCache()
	defer stop()

	svc := BookService{
		TopBookIDs: slowQuery,
		BookByID:   func(_ context.Context, id int64) (Book, error) { return Book{id, "Dune"}, nil },
	}
	funcs, err := fncache.WrapStruct(&svc, fncache.Options{Cache: cache})
	if err != nil {
		panic(err)
	}

	for range 2 {
		book, err := svc.BookByID(context.Background(), 5)
		fmt.Println(book.Title, err)
	}
	stats := funcs["BookByID"].Stats()
	fmt.Println(stats.Calls, "calls,", stats.Computations, "computation")
	// Output:
	// Dune <nil>
	// Dune <nil>
	// 2 calls, 1 computation
}

// TopBookIDs is wrapped while the program's variables are initialized, before
// there is a cache.
var TopBookIDs = func(_ context.Context, authorID int64) ([]int64, error) {
	return []int64{authorID * 10}, nil
}

var _ = fncache.Must(fncache.Wrap(&TopBookIDs, fncache.Options{Name: "shop.TopBookIDs", Timeout: time.Hour}))

func ExampleSetDefault() {
	_, err := TopBookIDs(context.Background(), 7)
	fmt.Println(errors.Is(err, fncache.ErrNoCache))

	cache, stop := newCache()
	defer stop()
	fncache.SetDefault(cache) // in main
	defer fncache.SetDefault(nil)

	ids, err := TopBookIDs(context.Background(), 7)
	fmt.Println(ids, err)
	// Output:
	// true
	// [70] <nil>
}

func ExampleFunc_Invalidate() {
	cache, stop := newCache()
	defer stop()
	price := 10
	priceOf := func(context.Context, int64) (int, error) { return price, nil }
	prices := fncache.Must(fncache.Wrap(&priceOf, fncache.Options{Cache: cache, Name: "shop.PriceOf", Timeout: time.Hour}))

	ctx := context.Background()
	fmt.Println(priceOf(ctx, 5))
	price = 12
	fmt.Println(priceOf(ctx, 5))
	if err := prices.Invalidate(ctx, 5); err != nil { // the same arguments, without the context
		fmt.Println(err)
	}
	fmt.Println(priceOf(ctx, 5))
	// Output:
	// 10 <nil>
	// 10 <nil>
	// 12 <nil>
}

var errNoBook = errors.New("no such book")

func ExampleWrap1() {
	cache, stop := newCache()
	defer stop()

	bookByID := func(_ context.Context, id int64) (Book, error) { return Book{}, errNoBook }
	fncache.Must(fncache.Wrap1(&bookByID, fncache.Options{
		Cache: cache, Name: "shop.BookByID", Timeout: time.Hour,
		Near:         time.Second,        // answer from this process's memory
		CacheErrors:  []error{errNoBook}, // an answer too
		ErrorTimeout: time.Minute,
	}))

	for range 2 {
		var info fncache.Info
		_, err := bookByID(fncache.WithInfo(context.Background(), &info), 5)
		fmt.Println(err, info.Source) // where it came from: computed, then fresh
	}
	// Output:
	// no such book computed
	// no such book fresh
}

func ExampleWithInfo() {
	cache, stop := newCache()
	defer stop()
	length := func(_ context.Context, s string) (int, error) { return len(s), nil }
	fncache.Must(fncache.Wrap(&length, fncache.Options{Cache: cache, Name: "example.Length", Timeout: time.Hour}))

	for range 2 {
		var info fncache.Info
		n, err := length(fncache.WithInfo(context.Background(), &info), "four")
		fmt.Println(n, err, info.Source)
	}
	// Output:
	// 4 <nil> computed
	// 4 <nil> fresh
}

// A refusal means that another caller computes the value, and that this server stays free for
// other requests. The handler asks the client to come back.
func ExampleErrColdCache() {
	topBookIDs := func(context.Context, int64) ([]int64, error) {
		return nil, &fncache.ColdCacheError{Func: "shop.TopBookIDs"} // as the wrapped function does
	}

	handler := func(w http.ResponseWriter, r *http.Request) {
		ids, err := topBookIDs(r.Context(), 7)
		if errors.Is(err, fncache.ErrColdCache) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "in a moment", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, ids, err)
	}

	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("Retry-After"))
	// Output:
	// 503 1
}

func ExampleNoStore() {
	cache, stop := newCache()
	defer stop()
	runs := 0

	search := func(ctx context.Context, _ string) (string, error) {
		if runs++; runs == 1 {
			fncache.NoStore(ctx) // one of the shards did not answer
			return "some of the results", nil
		}
		return "all of the results", nil
	}

	fncache.Must(fncache.Wrap(&search, fncache.Options{Cache: cache, Name: "shop.Search", Timeout: time.Hour}))

	for range 3 {
		fmt.Println(search(context.Background(), "dune"))
	}
	fmt.Println(runs, "runs")
	// Output:
	// some of the results <nil>
	// all of the results <nil>
	// all of the results <nil>
	// 2 runs
}

func ExampleFunc_Key() {
	cache, stop := newCache()
	defer stop()
	byID := func(_ context.Context, id int64) (Book, error) { return Book{ID: id}, nil }
	f := fncache.Must(fncache.Wrap(&byID, fncache.Options{Cache: cache, Prefix: "Book", Name: "ByID", Timeout: time.Hour}))
	fmt.Println(f.Key(42))
	_, err := f.Key("42")
	fmt.Println(err)
	// Output:
	// fncache:{Book:ByID:478c6c07e801b5b6b477d5411452caf1}:3a28af0fc355 <nil>
	// fncache: key of Book:ByID: argument 1, of type string, does not convert to int64 without loss: the function is func(context.Context, int64) (fncache_test.Book, error)
}
