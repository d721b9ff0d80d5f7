package fncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

func ExampleNew() {
	addr, stop := startRedis()
	defer stop()

	client := redis.NewClient(&redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true, // the client's hooks see what the cache sends
	})
	defer client.Close()
	cache, err := fncache.New(fncache.Config{Redis: client, Namespace: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close() // before the client

	fmt.Println(cache.Ping(context.Background()))
	// Output:
	// <nil>
}

func ExampleOpen() {
	addr, stop := startRedis()
	defer stop()

	cache, err := fncache.Open(context.Background(), "redis://"+addr, fncache.Config{})
	if err != nil {
		fmt.Println(err) // such as a wrong password; a Redis that is away is no error
		return
	}
	defer cache.Close() // closes the client too

	fmt.Println(cache)
	// Output:
	// fncache.Cache(fncache)
}

// A price is of another package, say: its field is unexported, and it has no method that
// marshals it, so CBOR would lose the field and refuses the type.
type price struct{ cents int64 }

func ExampleCBORWith() {
	addr, stop := startRedis()
	defer stop()

	prices := fncache.CBORWith("prices1", func(pointer reflect.Type) (*fncache.Form, error) {
		if pointer != reflect.TypeFor[*price]() {
			return nil, nil // stored as CBOR does
		}
		return &fncache.Form{
			Name:   "price1",
			Encode: func(v any) ([]byte, error) { return strconv.AppendInt(nil, v.(*price).cents, 10), nil },
			Decode: func(body []byte, v any) (err error) {
				v.(*price).cents, err = strconv.ParseInt(string(body), 10, 64)
				return err
			},
		}, nil
	})
	cache, err := fncache.Open(context.Background(), "redis://"+addr, fncache.Config{Codec: prices})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()

	pricesOf := func(_ context.Context, bookID int64) (map[string]*price, error) {
		return map[string]*price{"paperback": {999}}, nil
	}
	fncache.Must(fncache.Wrap(&pricesOf, fncache.Options{Cache: cache, Name: "shop.PricesOf", Timeout: time.Hour}))

	for range 2 {
		var info fncache.Info
		of, err := pricesOf(fncache.WithInfo(context.Background(), &info), 1)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(info.Source, of["paperback"].cents)
	}
	// Output:
	// computed 999
	// fresh 999
}

func ExampleWrap() {
	cache, stop := newCache()
	defer stop()

	// A closure has no name of its own, so Name is set.
	count := func(_ context.Context, authorID int64, languages ...string) (books, translations int, err error) {
		return 7, len(languages), nil
	}
	f, err := fncache.Wrap(&count, fncache.Options{
		Cache: cache, Name: "shop.Count", Timeout: time.Hour, Freshness: time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(count(context.Background(), 7, "no", "it"))
	fmt.Println(count(context.Background(), 7, "no", "it"))
	fmt.Println(f.Name(), f.Stats().Computations)
	// Output:
	// 7 2 <nil>
	// 7 2 <nil>
	// shop.Count 1
}

// The handle's methods have the types of the function.
func ExampleFunc1() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()
	title := "Dune"
	bookByID := func(_ context.Context, id int64) (Book, error) { return Book{id, title}, nil }

	books := fncache.Must(fncache.Wrap1(&bookByID, fncache.Options{Cache: cache, Name: "shop.BookByID", Timeout: time.Hour}))
	book, err := books.Refresh(ctx, 5) // recompute, store, and return
	fmt.Println(book.Title, err)

	title = "Dune Messiah"
	fmt.Println(books.Invalidate(ctx, 5))
	book, err = bookByID(ctx, 5)
	fmt.Println(book.Title, err, books.Func.Stats().Computed)
	// Output:
	// Dune <nil>
	// <nil>
	// Dune Messiah <nil> 1
}

// A page shows the values that are cached, and does not wait for the others.
func ExampleFunc1_Peek() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()
	loadBook := func(_ context.Context, id int64) (Book, error) { return Book{id, "Dune"}, nil }
	bookByID, books, err := fncache.New1(loadBook, fncache.Options{Cache: cache, Name: "shop.BookByID", Timeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, _, ok, err := books.Peek(ctx, 5)
	fmt.Println(ok, err)
	if _, err := bookByID(ctx, 5); err != nil {
		fmt.Println(err)
		return
	}
	book, info, ok, err := books.Peek(ctx, 5)
	fmt.Println(book.Title, info.Source, ok, err)
	// Output:
	// false <nil>
	// Dune fresh true <nil>
}

// The function is passed as a value, and is not changed.
func ExampleNew1() {
	cache, stop := newCache()
	defer stop()
	loadBook := func(_ context.Context, id int64) (Book, error) { return Book{id, "Dune"}, nil }

	bookByID, books, err := fncache.New1(loadBook, fncache.Options{Cache: cache, Name: "shop.BookByID", Timeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	book, err := bookByID(context.Background(), 5)
	fmt.Println(book.Title, err)
	fmt.Println(books.Invalidate(context.Background(), 5))
	// Output:
	// Dune <nil>
	// <nil>
}

func ExampleFuncs_Get() {
	cache, stop := newCache()
	defer stop()
	svc := BookService{
		TopBookIDs: func(context.Context, int64) ([]int64, error) { return []int64{2, 1}, nil },
		BookByID:   func(_ context.Context, id int64) (Book, error) { return Book{id, "Dune"}, nil },
	}
	funcs := fncache.Must(fncache.WrapStruct(&svc, fncache.Options{Cache: cache}))

	_, err := funcs.Get("BookById")
	fmt.Println(err)
	for _, f := range cache.Funcs() {
		fmt.Println(f.Name())
	}
	// Output:
	// fncache: no handle for the field "BookById"; there are handles for BookByID, TopBookIDs
	// Author:github.com/fncache/fncache_test.BookService.TopBookIDs
	// github.com/fncache/fncache_test.BookService.BookByID
}

func ExampleWrap2() {
	cache, stop := newCache()
	defer stop()

	page := func(_ context.Context, author string, number int) (string, error) {
		return fmt.Sprintf("page %d of %s", number, author), nil
	}
	fncache.Must(fncache.Wrap2(&page, fncache.Options{Cache: cache, Name: "shop.Page", Timeout: time.Hour}))

	fmt.Println(page(context.Background(), "Austen", 3))
	// Output:
	// page 3 of Austen <nil>
}

func ExampleWrap3() {
	cache, stop := newCache()
	defer stop()

	price := func(_ context.Context, bookID int64, currency string, pieces int) (int, error) {
		return 12 * pieces, nil
	}
	fncache.Must(fncache.Wrap3(&price, fncache.Options{Cache: cache, Name: "shop.Price", Timeout: time.Hour}))

	fmt.Println(price(context.Background(), 5, "EUR", 2))
	// Output:
	// 24 <nil>
}

func ExampleNew2() {
	cache, stop := newCache()
	defer stop()

	page, pages, err := fncache.New2(func(_ context.Context, author string, number int) (string, error) {
		return fmt.Sprintf("page %d of %s", number, author), nil
	}, fncache.Options{Cache: cache, Name: "shop.Page", Timeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(page(context.Background(), "Austen", 3))
	fmt.Println(pages.Expire(context.Background(), "Austen", 3))
	// Output:
	// page 3 of Austen <nil>
	// <nil>
}

func ExampleNew3() {
	cache, stop := newCache()
	defer stop()

	price, prices, err := fncache.New3(func(_ context.Context, bookID int64, currency string, pieces int) (int, error) {
		return 12 * pieces, nil
	}, fncache.Options{Cache: cache, Name: "shop.Price", Timeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(price(context.Background(), 5, "EUR", 2))
	fmt.Println(prices.Invalidate(context.Background(), 5, "EUR", 2))
	// Output:
	// 24 <nil>
	// <nil>
}

// In package variables and in main, an error when wrapping is a bug in the program.
func ExampleMust() {
	defer func() { fmt.Println("panicked:", recover() != nil) }()

	length := func(s *string) (int, error) { return len(*s), nil } // a pointer cannot be part of a key
	fncache.Must(fncache.Wrap(&length, fncache.Options{Name: "Length", Timeout: time.Hour}))
	// Output:
	// panicked: true
}

func ExampleDefault() {
	fmt.Println(fncache.Default() == nil)

	cache, stop := newCache()
	defer stop()
	fncache.SetDefault(cache)
	defer fncache.SetDefault(nil)

	fmt.Println(fncache.Default() == cache)
	// Output:
	// true
	// true
}

// newPrice wraps a function whose answer changes at each run.
func newPrice(cache *fncache.Cache) (price func(context.Context, int64) (int, error), f *fncache.Func) {
	runs := 0
	price = func(context.Context, int64) (int, error) { runs++; return 10 * runs, nil }
	f = fncache.Must(fncache.Wrap(&price, fncache.Options{Cache: cache, Name: "shop.PriceNow", Timeout: time.Hour}))
	return price, f
}

func ExampleWithRefresh() {
	cache, stop := newCache()
	defer stop()
	price, _ := newPrice(cache)
	ctx := context.Background()

	fmt.Println(price(ctx, 5))
	fmt.Println(price(fncache.WithRefresh(ctx), 5)) // recomputes and stores
	fmt.Println(price(ctx, 5))
	// Output:
	// 10 <nil>
	// 20 <nil>
	// 20 <nil>
}

func ExampleWithBypass() {
	cache, stop := newCache()
	defer stop()
	price, _ := newPrice(cache)
	ctx := context.Background()

	fmt.Println(price(ctx, 5))
	fmt.Println(price(fncache.WithBypass(ctx), 5)) // calls the function, stores nothing
	fmt.Println(price(ctx, 5))
	// Output:
	// 10 <nil>
	// 20 <nil>
	// 10 <nil>
}

// Refresh recomputes a value before anyone asks for it.
func ExampleFunc_Refresh() {
	cache, stop := newCache()
	defer stop()
	price, f := newPrice(cache)
	ctx := context.Background()

	if err := f.Refresh(ctx, 5); err != nil {
		fmt.Println(err)
	}
	var info fncache.Info
	n, err := price(fncache.WithInfo(ctx, &info), 5)
	fmt.Println(n, err, info.Source)
	// Output:
	// 10 <nil> fresh
}

func ExampleFunc_Stats() {
	cache, stop := newCache()
	defer stop()
	price, f := newPrice(cache)

	for range 3 {
		_, _ = price(context.Background(), 5)
	}
	stats := f.Stats()
	fmt.Println(stats.Calls, "calls:", stats.Computed, "computed,", stats.Fresh, "fresh; errors of Redis:", stats.RedisErrorKinds)
	// Output:
	// 3 calls: 1 computed, 2 fresh; errors of Redis: none
}

func ExampleStats_Add() {
	cache, stop := newCache()
	defer stop()
	price, _ := newPrice(cache)
	_, _ = price(context.Background(), 5)

	var total fncache.Stats
	for _, f := range cache.Funcs() {
		total = total.Add(f.Stats())
	}
	fmt.Println(total.Calls, "call of all functions,", total.Lookups, "lookup in Redis")
	// Output:
	// 1 call of all functions, 1 lookup in Redis
}

func ExampleFunc_KeyFor() {
	cache, stop := newCache()
	defer stop()
	home := func(_ context.Context, page string) (string, error) { return page, nil }
	f := fncache.Must(fncache.Wrap(&home, fncache.Options{Cache: cache, Name: "shop.Home", Timeout: time.Hour, Vary: TenantOf}))

	oslo, err := f.KeyFor(WithTenant(context.Background(), "Oslo"), "index")
	turin := fncache.Must(f.KeyFor(WithTenant(context.Background(), "Turin"), "index"))
	fmt.Println(err, oslo != turin)
	// Output:
	// <nil> true
}

func ExampleFunc_Unwrap() {
	cache, stop := newCache()
	defer stop()
	greet := func(_ context.Context, name string) (string, error) {
		fmt.Println("running")
		return "Hello " + name, nil
	}
	f := fncache.Must(fncache.Wrap(&greet, fncache.Options{Cache: cache, Name: "shop.Greet", Timeout: time.Hour}))

	_, _ = greet(context.Background(), "Ada")
	_, _ = greet(context.Background(), "Ada") // a hit
	f.Unwrap()
	_, _ = greet(context.Background(), "Ada") // the original
	// Output:
	// running
	// running
}

// A readiness probe asks whether Redis can be used.
func ExampleCache_Ping() {
	cache, stop := newCache()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	fmt.Println(cache.Ping(ctx))
	stop() // closes the cache, and Redis
	fmt.Println(errors.Is(cache.Ping(ctx), fncache.ErrRedisDown))
	// Output:
	// <nil>
	// true
}

func ExampleCache_Health() {
	cache, stop := newCache()
	defer stop()
	price, _ := newPrice(cache)
	_, _ = price(context.Background(), 5)

	for _, node := range cache.Health().Nodes {
		if node.Away {
			slog.Warn("Redis is away", "node", node.Addr, "since", node.Since, "why", node.Why)
		}
	}
	fmt.Println(len(cache.Health().Nodes), "node")
	// Output:
	// 1 node
}

func Example_verify() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	locale := "en" // part of the result, and not of the key
	greeting := func(_ context.Context, name string) (string, error) {
		if locale == "de" {
			return "Hallo " + name, nil
		}
		return "Hello " + name, nil
	}
	f := fncache.Must(fncache.Wrap(&greeting, fncache.Options{
		Cache: cache, Name: "shop.Greeting", Timeout: time.Hour,
		Verify: 0.001, // of the hits
	}))
	defer f.Unwrap()

	fmt.Println(greeting(ctx, "Ann"))
	fmt.Println(greeting(ctx, "Ann"))
	fmt.Println(f.Stats().VerifyDiffered, "differences")
	// Output:
	// Hello Ann <nil>
	// Hello Ann <nil>
	// 0 differences
}

func Example_verifyByHand() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	locale := "en"
	greeting := func(_ context.Context, name string) (string, error) { return locale + " " + name, nil }
	f := fncache.Must(fncache.Wrap(&greeting, fncache.Options{Cache: cache, Name: "shop.Greeting", Timeout: time.Hour}))
	defer f.Unwrap()
	_, _ = greeting(ctx, "Ann")
	locale = "de"

	cached, _ := greeting(ctx, "Ann")
	computed, _ := greeting(fncache.WithBypass(ctx), "Ann")
	fmt.Println(cached == computed)
	// Output:
	// false
}

func Example_seal() {
	addr, stop := startRedis()
	defer stop()
	ctx, url := context.Background(), "redis://"+addr
	key, secret := bytes.Repeat([]byte{1}, 32), []byte("secret") // from where the program's secrets are

	cache, err := fncache.Open(ctx, url, fncache.Config{
		Seal:       [][]byte{key}, // 32 random bytes, the same in every process
		HashSecret: secret,        // so that arguments cannot be guessed from keys
	})
	if err != nil {
		panic(err)
	}
	defer cache.Close()

	token := func(_ context.Context, user string) (string, error) { return "token of " + user, nil }
	f := fncache.Must(fncache.Wrap(&token, fncache.Options{Cache: cache, Name: "shop.Token", Timeout: time.Hour}))
	defer f.Unwrap()
	fmt.Println(token(ctx, "ann"))
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	stored, _ := client.Get(ctx, fncache.Must(f.Key("ann"))).Result()
	fmt.Println(strings.Contains(stored, "token"))
	// Output:
	// token of ann <nil>
	// false
}

// requestToken stands for a request to an authorization server.
func requestToken(user string) (token string, expiresIn time.Duration) {
	return "token of " + user, time.Hour
}

func ExampleSetLifetime() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	accessToken := func(ctx context.Context, user string) (string, error) {
		token, expiresIn := requestToken(user)
		fncache.SetLifetime(ctx, expiresIn/2, expiresIn-time.Minute) // refreshed from half of it on, never served in its last minute
		return token, nil
	}
	f := fncache.Must(fncache.Wrap(&accessToken, fncache.Options{Cache: cache, Name: "shop.AccessToken", Timeout: 24 * time.Hour}))
	defer f.Unwrap()
	fmt.Println(accessToken(ctx, "ann"))
	// Output:
	// token of ann <nil>
}

func Example_early() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	topBookIDs := slowQuery
	fncache.Must(fncache.Wrap(&topBookIDs, fncache.Options{
		Cache: cache, Name: "shop.TopBookIDs",
		Timeout: 24 * time.Hour, Freshness: time.Hour,
		Early: 1,
	}))
	fmt.Println(topBookIDs(ctx, 7))
	// Output:
	// asking the database about author 7
	// [70 140] <nil>
}

func ExampleNotModified() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"7"`)
		if r.Header.Get("If-None-Match") == `"7"` {
			fmt.Println("304: nothing has changed")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Println("200: the whole list")
		fmt.Fprint(w, "Dune, Emma, Ulysses")
	}))
	defer server.Close()

	titles := func(ctx context.Context, shelf string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/"+shelf, nil)
		if err != nil {
			return "", err
		}
		if stored, ok := fncache.Stored(ctx); ok {
			request.Header.Set("If-None-Match", stored.ETag)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		switch response.StatusCode {
		case http.StatusNotModified:
			fncache.NotModified(ctx)
			return "", nil // the callers are given the entry
		case http.StatusOK:
			fncache.SetETag(ctx, response.Header.Get("ETag"))
			body, err := io.ReadAll(response.Body)
			return string(body), err
		default:
			return "", errors.New(response.Status)
		}
	}
	f := fncache.Must(fncache.Wrap(&titles, fncache.Options{Cache: cache, Name: "shop.Titles", Timeout: 24 * time.Hour, Freshness: time.Hour}))
	defer f.Unwrap()

	fmt.Println(titles(ctx, "novels"))
	_ = f.Expire(ctx, "novels") // or an hour passes
	fmt.Println(titles(ctx, "novels"))
	fmt.Println(titles(ctx, "novels"))
	// Output:
	// 200: the whole list
	// Dune, Emma, Ulysses <nil>
	// 304: nothing has changed
	// Dune, Emma, Ulysses <nil>
	// Dune, Emma, Ulysses <nil>
}

func ExampleStored() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	row := struct {
		version int
		title   string
	}{3, "Dune"} // in the database
	title := func(ctx context.Context, _ int64) (string, error) {
		version := strconv.Itoa(row.version) // a query that is cheap
		if stored, ok := fncache.Stored(ctx); ok && stored.ETag == version {
			fncache.NotModified(ctx)
			return "", nil
		}
		fncache.SetETag(ctx, version)
		fmt.Println("the expensive query")
		return row.title, nil
	}
	f := fncache.Must(fncache.Wrap(&title, fncache.Options{Cache: cache, Name: "shop.Title", Timeout: time.Hour}))
	defer f.Unwrap()

	fmt.Println(title(ctx, 7))
	_ = f.Expire(ctx, 7)
	fmt.Println(title(ctx, 7))
	// Output:
	// the expensive query
	// Dune <nil>
	// Dune <nil>
}

func ExampleSetETag() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	page := func(ctx context.Context, _ string) (string, error) {
		fncache.SetETag(ctx, "version 7") // Stored returns it to a later run
		return "the page", nil
	}
	f := fncache.Must(fncache.Wrap(&page, fncache.Options{Cache: cache, Name: "shop.Page", Timeout: time.Hour}))
	defer f.Unwrap()
	fmt.Println(page(ctx, "home"))
	// Output:
	// the page <nil>
}
