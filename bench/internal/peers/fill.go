package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	fillers   = 32   // callers that fill a local tier
	fillBatch = 1000 // keys in a pipeline
)

// Fill fills a peer with the keys from first to before end. Entries in Redis are copied from the
// entry of id 0 through pipelines, which takes seconds for a million. Entries in the process come
// from calls.
func Fill(addr string, call func(id int64) error, key func(id int64) (string, error), local bool, first, end int) error {
	if err := call(0); err != nil {
		return err
	}
	if key != nil {
		if err := copyEntry(addr, key, first, end); err != nil {
			return err
		}
	}
	if !local {
		return nil
	}
	return inParallel(fillers, first, end, call)
}

// inParallel calls for every id from first to before end.
func inParallel(callers, first, end int, call func(id int64) error) error {
	var wg sync.WaitGroup
	faults := make(chan error, callers)
	for caller := range callers {
		wg.Go(func() {
			for id := first + caller; id < end; id += callers {
				if err := call(int64(id)); err != nil {
					faults <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(faults)
	return <-faults
}

// awaitEntry reads an entry, which may still be on its way: sturdyc sends it after its caller
// has the value.
func awaitEntry(ctx context.Context, client *redis.Client, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		raw, err := client.Get(ctx, key).Bytes()
		if !errors.Is(err, redis.Nil) || ctx.Err() != nil {
			return raw, err
		}
		time.Sleep(time.Millisecond)
	}
}

// copyEntry gives the keys the bytes of the entry of id 0, which exists.
func copyEntry(addr string, key func(id int64) (string, error), first, end int) error {
	ctx := context.Background()
	client := Client(addr)
	defer func() { _ = client.Close() }()
	origin, err := key(0)
	if err != nil {
		return err
	}
	raw, err := awaitEntry(ctx, client, origin)
	if err != nil {
		return fmt.Errorf("read the entry to be copied, %s: %w", origin, err)
	}
	for first < end {
		upTo := min(first+fillBatch, end)
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for ; first < upTo; first++ {
				to, err := key(int64(first))
				if err != nil {
					return err
				}
				pipe.Set(ctx, to, raw, time.Hour)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
