package fncache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fncache/fncache"
)

func ExampleWrapBatch() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()
	productsByIDs := func(_ context.Context, ids []int64) (map[int64]string, error) {
		fmt.Println("the database is asked for", ids)
		found := make(map[int64]string)
		for _, id := range ids {
			found[id] = fmt.Sprint("product ", id)
		}
		return found, nil
	}

	products := fncache.Must(fncache.WrapBatch(&productsByIDs, fncache.Options{
		Cache: cache, Name: "shop.ProductsByIDs", Timeout: time.Hour, MissingTimeout: time.Minute,
	}))
	found, err := productsByIDs(ctx, []int64{1, 2, 3})
	fmt.Println(found, err)

	found, err = productsByIDs(ctx, []int64{3, 2})
	fmt.Println(found, err)
	if err := products.Invalidate(ctx, 3); err != nil {
		panic(err)
	}
	found, err = productsByIDs(ctx, []int64{3, 2})
	fmt.Println(found, err)
	// Output:
	// the database is asked for [1 2 3]
	// map[1:product 1 2:product 2 3:product 3] <nil>
	// map[2:product 2 3:product 3] <nil>
	// the database is asked for [3]
	// map[2:product 2 3:product 3] <nil>
}
