package fncacheproto_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheproto"
	"github.com/fncache/fncache/fncacheproto/internal/shop"
)

func Example() {
	server := miniredis.NewMiniRedis() // instead of a Redis of your own
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()

	cache, err := fncache.Open(ctx, "redis://"+server.Addr(), fncache.Config{Codec: fncacheproto.Codec})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	booksOf := func(ctx context.Context, author string) ([]*shop.Book, error) {
		return []*shop.Book{
			{Id: 1, Title: "Emma", Price: &shop.Book_Cents{Cents: 999}},
			{Id: 2, Title: "Persuasion", Price: &shop.Book_OnRequest{OnRequest: "rare"}},
		}, nil
	}
	fncache.Must(fncache.Wrap(&booksOf, fncache.Options{Cache: cache, Name: "shop.BooksOf", Timeout: time.Hour}))

	for range 2 {
		var info fncache.Info
		books, err := booksOf(fncache.WithInfo(ctx, &info), "Jane Austen")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Source, books[0].GetTitle(), books[0].GetCents(), books[1].GetOnRequest())
	}
	// Output:
	// computed Emma 999 rare
	// fresh Emma 999 rare
}
