// Command release is a process of the next release of a shop, whose books have one more field. It
// calls the cached function on the Redis at the given address, and prints the source of each
// answer, and the book.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheproto"
	"github.com/fncache/fncache/fncacheproto/internal/next"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string) error {
	cache, err := fncache.Open(ctx, "redis://"+address, fncache.Config{Codec: fncacheproto.Codec})
	if err != nil {
		return err
	}
	defer cache.Close() //nolint:errcheck // the process ends
	bookByID := func(_ context.Context, id int64) (*next.Book, error) {
		return &next.Book{Id: id, Title: "Emma", Pages: 474}, nil
	}
	if _, err := fncache.Wrap(&bookByID, fncache.Options{Cache: cache, Name: "shop.BookByID", Timeout: time.Hour}); err != nil {
		return err
	}
	for _, id := range []int64{1, 2} {
		var info fncache.Info
		book, err := bookByID(fncache.WithInfo(ctx, &info), id)
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(book)
		if err != nil {
			return err
		}
		fmt.Printf("%v %q %d %d\n", info.Source, book.GetTitle(), book.GetPages(), len(raw))
	}
	return nil
}
