package fncachetest_test

import (
	"context"
	"errors"
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
