package fncachetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachetest"
)

// Shop is what the test is about. Its func fields are wrapped by NewShop.
type Shop struct {
	TopBooks func(ctx context.Context, authorID int64) (int, error) `fncache:"timeout=24h,freshness=1h,name=TopBooks"`
}

// NewShop wires the shop to its database.
func NewShop(cache *fncache.Cache, query func(context.Context, int64) (int, error)) (*Shop, error) {
	s := &Shop{TopBooks: query}
	_, err := fncache.WrapStruct(s, fncache.Options{Cache: cache})
	return s, err
}

func TestTopBooksGoStale(t *testing.T) {
	cache := fncachetest.New(t)
	runs := 0
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { runs++; return runs, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{
		{0, 1},                // computed
		{30 * time.Minute, 1}, // fresh
		{time.Hour, 2},        // stale: this caller recomputes
	} {
		cache.Advance(step.after)
		if got, err := shop.TopBooks(t.Context(), 7); err != nil || got != step.want {
			t.Fatalf("after %v: %d, %v", step.after, got, err)
		}
	}
}

func TestTheShopWithoutRedis(t *testing.T) {
	cache := fncachetest.New(t, func(c *fncache.Config) { c.OnRedisDown = fncache.DownError })
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	cache.Redis.SetError("LOADING Redis is loading the dataset in memory")
	if _, err := shop.TopBooks(t.Context(), 7); !errors.Is(err, fncache.ErrRedisDown) {
		t.Fatal(err)
	}
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleNew() {
	var t *testing.T

	cache := fncachetest.New(t, func(c *fncache.Config) { c.HashSecret = []byte("of this test") })
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	_, _ = shop.TopBooks(t.Context(), 7)
	t.Log(cache.Redis.Keys()) // what is in the embedded Redis
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleCache_Advance() {
	var t *testing.T
	cache := fncachetest.New(t)
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}

	_, _ = shop.TopBooks(t.Context(), 7)
	cache.Advance(2 * time.Hour) // past the freshness of an hour: the entry is stale
	var info fncache.Info
	_, _ = shop.TopBooks(fncache.WithInfo(t.Context(), &info), 7)
	if info.Source != fncache.SourceComputed {
		t.Fatal(info.Source)
	}
}

// A Library invalidates by tags.
type Library struct {
	Books  func(ctx context.Context, authorID int64) ([]string, error) `fncache:"timeout=24h,name=Books,tags=author:{0}"`
	cache  *fncache.Cache
	titles map[int64][]string
}

// NewLibrary wires the library to its database, which is a map.
func NewLibrary(cache *fncache.Cache, titles map[int64][]string) (*Library, error) {
	l := &Library{cache: cache, titles: titles}
	l.Books = func(_ context.Context, authorID int64) ([]string, error) { return l.titles[authorID], nil }
	_, err := fncache.WrapStruct(l, fncache.Options{Cache: cache})
	return l, err
}

// Publish adds a book.
func (l *Library) Publish(ctx context.Context, authorID int64, title string) error {
	l.titles[authorID] = append(l.titles[authorID], title)
	return l.cache.InvalidateTags(ctx, fmt.Sprintf("author:%d", authorID))
}

func TestPublishInvalidatesTheAuthor(t *testing.T) {
	cache := fncachetest.New(t)
	library, err := NewLibrary(cache.Cache, map[int64][]string{7: {"Emma"}, 8: {"Ulysses"}})
	if err != nil {
		t.Fatal(err)
	}
	both := func() {
		for author := range library.titles {
			if _, err := library.Books(t.Context(), author); err != nil {
				t.Fatal(err)
			}
		}
	}
	both()
	if err := library.Publish(t.Context(), 7, "Persuasion"); err != nil {
		t.Fatal(err)
	}
	if n := cache.Count(both); n.Calls != 2 || n.Computations != 1 {
		t.Fatalf("%+v", n) // only the author who has published is computed again
	}
}

func TestTheShopDuringAnOutage(t *testing.T) {
	cache := fncachetest.New(t)
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	call := func() {
		if _, err := shop.TopBooks(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
	}
	call()
	cache.StopRedis()
	if n := cache.Count(call); n.Computations != 1 {
		t.Fatalf("%+v", n) // by default a call computes while Redis is away
	}
	cache.StartRedis()
	if n := cache.Count(call); n.Computations != 0 {
		t.Fatalf("%+v", n) // what was stored before is still there
	}
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleCache_EndLease() {
	var t *testing.T
	cache := fncachetest.New(t)
	var key string
	report := func(context.Context, int64) (string, error) {
		cache.EndLease(key) // as if this process had stood still for longer than the lease
		return "computed", nil
	}
	f, err := fncache.Wrap(&report, fncache.Options{Cache: cache.Cache, Name: "report", Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if key, err = f.Key(int64(7)); err != nil {
		t.Fatal(err)
	}

	_, _ = report(t.Context(), 7) // the caller has the result
	if f.Stats().Stored != 0 {
		t.Fatal("stored under a lease that was lost")
	}
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleCache_Count() {
	var t *testing.T
	cache := fncachetest.New(t)
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}

	_, _ = shop.TopBooks(t.Context(), 7)
	n := cache.Count(func() { _, _ = shop.TopBooks(t.Context(), 7) })
	if n.Computations != 0 || n.Commands != 1 {
		t.Fatalf("a hit costs %+v", n)
	}
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleCache_StartRedis() {
	var t *testing.T
	cache := fncachetest.New(t)
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}

	_, _ = shop.TopBooks(t.Context(), 7)
	cache.StopRedis()
	_, _ = shop.TopBooks(t.Context(), 7) // computed, and not stored
	cache.StartRedis()
	var info fncache.Info
	_, _ = shop.TopBooks(fncache.WithInfo(t.Context(), &info), 7)
	if info.Source != fncache.SourceFresh { // what was stored before is still there
		t.Fatal(info.Source)
	}
}

// In a test of your own, t is its *testing.T. This example is compiled and not run.
func ExampleCache_StopRedis() {
	var t *testing.T
	cache := fncachetest.New(t, func(c *fncache.Config) { c.OnRedisDown = fncache.DownError })
	shop, err := NewShop(cache.Cache, func(context.Context, int64) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}

	cache.StopRedis()
	if _, err := shop.TopBooks(t.Context(), 7); !errors.Is(err, fncache.ErrRedisDown) {
		t.Fatal(err)
	}
	cache.StartRedis()
	if _, err := shop.TopBooks(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
}
