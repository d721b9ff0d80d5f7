// Command packagevar caches a function that is called through a package variable. It is wrapped
// where it is declared, before a cache exists; main sets the cache later.
//
//	go -C examples/packagevar run .
//	go -C examples/packagevar run . -redis redis://localhost:6379/0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// TopBookIDs returns the most bought books of an author. The whole program calls this variable,
// and need not know that it is cached.
var TopBookIDs = topBookIDs

// A mistake in the options, or a function that cannot be cached, ends the
// program here, at its start.
var _ = fncache.Must(fncache.Wrap(&TopBookIDs, fncache.Options{
	Timeout:   24 * time.Hour,
	Freshness: time.Hour,
}))

// topBookIDs stands for a slow query.
func topBookIDs(ctx context.Context, authorID int64) ([]int64, error) {
	select {
	case <-time.After(300 * time.Millisecond):
		return []int64{authorID * 100, authorID*100 + 7, authorID*100 + 3}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func main() {
	url := flag.String("redis", "", "the `URL` of a Redis, as redis://:password@host:6379/0 (default: an embedded miniredis)")
	flag.Parse()
	if err := run(context.Background(), *url, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "packagevar:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, out io.Writer) (err error) {
	if url == "" {
		server := miniredis.NewMiniRedis()
		server.ClockTTL(true) // otherwise entries would never expire
		if err := server.Start(); err != nil {
			return err
		}
		defer server.Close()
		url = "redis://" + server.Addr()
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	client := redis.NewClient(opts)
	defer func() { err = errors.Join(err, client.Close()) }()
	cache, err := fncache.New(fncache.Config{Redis: client})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	if err := cache.Ping(ctx); err != nil {
		return err
	}
	fncache.SetDefault(cache) // from here on TopBookIDs may be called

	for range 3 {
		var info fncache.Info
		begin := time.Now()
		ids, err := TopBookIDs(fncache.WithInfo(ctx, &info), 42)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "TopBookIDs(42) = %v: %v, in %v\n", ids, info.Source, time.Since(begin).Round(100*time.Microsecond))
	}
	return nil
}
