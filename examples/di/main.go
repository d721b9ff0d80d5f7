// Command di wires a service with cached functions in a dependency injection container,
// go.uber.org/fx. Users of the service call its functions and need not know which are cached.
//
//	go -C examples/di run .
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/fx"

	"github.com/fncache/fncache"
)

// A Book is what the shop sells.
type Book struct {
	ID    int64
	Title string
}

// BookService has a func field for each thing it can do; tags say what is
// cached, and how.
type BookService struct {
	TopBookIDs func(ctx context.Context, authorID int64) ([]int64, error) `fncache:"timeout=24h,freshness=1h,prefix=Author"`
	BookByID   func(ctx context.Context, id int64) (Book, error)          `fncache:"timeout=1h,freshness=5m,oncold=wait,waittimeout=2s"`
	Count      func() int                                                 // no tag: left alone
}

// Books stands for the database.
type Books struct{}

// NewBooks opens it.
func NewBooks() *Books { return &Books{} }

func (*Books) topIDs(_ context.Context, authorID int64) ([]int64, error) {
	return []int64{authorID * 10, authorID*10 + 3}, nil
}

func (*Books) byID(_ context.Context, id int64) (Book, error) {
	return Book{ID: id, Title: fmt.Sprintf("Volume %d", id)}, nil
}

func (*Books) count() int { return 1000 }

// NewRedis connects to an embedded Redis; a real shop takes the address of a real one.
func NewRedis(lc fx.Lifecycle) (redis.UniversalClient, error) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true) // otherwise entries would never expire
	if err := server.Start(); err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	lc.Append(fx.StopHook(func() error {
		defer server.Close()
		return client.Close()
	}))
	return client, nil
}

// NewCache makes the cache. fx stops in reverse order: the cache releases its leases before its
// client is closed.
func NewCache(lc fx.Lifecycle, client redis.UniversalClient) (*fncache.Cache, error) {
	cache, err := fncache.New(fncache.Config{Redis: client})
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(cache.Ping, cache.Close))
	return cache, nil
}

// NewBookService wires the functions, and then wraps those with a tag.
func NewBookService(books *Books, cache *fncache.Cache) (*BookService, error) {
	s := &BookService{TopBookIDs: books.topIDs, BookByID: books.byID, Count: books.count}
	_, err := fncache.WrapStruct(s, fncache.Options{Cache: cache})
	return s, err
}

// providers is the container's contents.
var providers = fx.Options(fx.NopLogger, fx.Provide(NewBooks, NewRedis, NewCache, NewBookService))

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "di:", err)
		os.Exit(1)
	}
}

// run starts the container, visits the shop, and stops it.
func run(ctx context.Context, out io.Writer) error {
	var service *BookService
	app := fx.New(providers, fx.Populate(&service), fx.StopTimeout(10*time.Second))
	if err := app.Start(ctx); err != nil {
		return err
	}
	if err := visit(ctx, service, out); err != nil {
		_ = app.Stop(ctx) // the first error is reported
		return err
	}
	return app.Stop(ctx)
}

// visit shows every book of an author's page, twice.
func visit(ctx context.Context, s *BookService, out io.Writer) error {
	for range 2 {
		var info fncache.Info
		ids, err := s.TopBookIDs(fncache.WithInfo(ctx, &info), 42)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "TopBookIDs(42) = %v: %v\n", ids, info.Source)
		for _, id := range ids {
			book, err := s.BookByID(fncache.WithInfo(ctx, &info), id)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  BookByID(%d) = %s: %v\n", id, book.Title, info.Source)
		}
	}
	fmt.Fprintf(out, "Count() = %d: not cached\n", s.Count())
	return nil
}
