package fncache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fncache/fncache"
)

func ExampleCache_ExpireTags() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	runs := 0
	topBookIDs := func(_ context.Context, authorID int64) ([]int64, error) {
		runs++
		return []int64{100*authorID + 1, 100*authorID + 2}, nil
	}
	fncache.Must(fncache.Wrap(&topBookIDs, fncache.Options{
		Cache: cache, Name: "TopBookIDs", Timeout: 24 * time.Hour,
		Tags: []string{"books", "author:{0}"}, // {0} is authorID
	}))
	_, _ = topBookIDs(ctx, 7)
	_, _ = topBookIDs(ctx, 8)

	// A book of author 7 was sold: recompute their lists, and serve the stale ones meanwhile.
	if err := cache.ExpireTags(ctx, "author:7"); err != nil {
		fmt.Println(err)
	}
	_, _ = topBookIDs(ctx, 7)
	_, _ = topBookIDs(ctx, 8)
	fmt.Println(runs, "runs")
	// Output:
	// 3 runs
}

func ExampleCache_InvalidateTags() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	price := 10
	priceOf := func(_ context.Context, id int64) (int, error) { return price, nil }
	fncache.Must(fncache.Wrap(&priceOf, fncache.Options{
		Cache: cache, Name: "PriceOf", Timeout: time.Hour, Tags: []string{"prices"},
	}))
	fmt.Println(priceOf(ctx, 1))

	price = 12
	// No call may be answered with an old price any more.
	if err := cache.InvalidateTags(ctx, "prices"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(priceOf(ctx, 1))
	// Output:
	// 10 <nil>
	// 12 <nil>
}

func ExampleAddTags() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	runs := 0
	newest := func(ctx context.Context) ([]int64, error) {
		runs++
		ids := []int64{5, 6}
		for _, id := range ids {
			fncache.AddTags(ctx, fmt.Sprintf("book:%d", id))
		}
		return ids, nil
	}
	fncache.Must(fncache.Wrap(&newest, fncache.Options{
		Cache: cache, Name: "Newest", Timeout: time.Hour,
		Tags: []string{}, // only those that the function adds
	}))
	_, _ = newest(ctx)
	_ = cache.InvalidateTags(ctx, "book:6")
	_, _ = newest(ctx)
	fmt.Println(runs, "runs")
	// Output:
	// 2 runs
}

func ExampleFunc_Expire() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	price := 10
	priceOf := func(_ context.Context, id int64) (int, error) { return price, nil }
	f := fncache.Must(fncache.Wrap(&priceOf, fncache.Options{Cache: cache, Name: "PriceOf", Timeout: time.Hour}))
	_, _ = priceOf(ctx, 1)

	price = 12
	if err := f.Expire(ctx, 1); err != nil {
		fmt.Println(err)
	}
	fmt.Println(priceOf(ctx, 1)) // this call recomputes; others get 10 meanwhile
	// Output:
	// 12 <nil>
}
