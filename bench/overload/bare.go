package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"
)

// This file does the work of a load by bare commands, with a client that differs only in its
// timeouts. The rest of a load's time is the time of fncache itself.

// acquire and store are minimal scripts of the lease protocol.
var (
	acquire = redis.NewScript(`return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`)
	store   = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', 'bare', KEYS[1])
return 1`)
)

func bareKey(id int) string { return "bare:{" + strconv.Itoa(id) + "}" }

// bareClient returns a client without timeouts.
func (w *worker) bareClient() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: w.Addr, PoolSize: max(w.Pool, w.MaxActive),
		ReadTimeout: time.Minute, PoolTimeout: time.Minute,
	})
}

func (w *worker) encode(numbers []int64) ([]byte, error) {
	if w.JSON {
		return json.Marshal(numbers)
	}
	return cbor.Marshal(numbers)
}

func (w *worker) decode(raw []byte) (numbers []int64, err error) {
	if w.JSON {
		return numbers, json.Unmarshal(raw, &numbers)
	}
	return numbers, cbor.Unmarshal(raw, &numbers)
}

func (w *worker) bareFill(o order) error {
	client := w.bareClient()
	defer func() { _ = client.Close() }()
	for id := range o.Keys {
		raw, err := w.encode(numbersOf(int64(id), w.Numbers))
		if err != nil {
			return err
		}
		if err := client.Set(context.Background(), bareKey(id), raw, time.Hour).Err(); err != nil {
			return err
		}
	}
	return nil
}

// bareHits lets one caller for each key look it up and decode it, all at the same time.
func (w *worker) bareHits(o order) (report, error) {
	client := w.bareClient()
	defer func() { _ = client.Close() }()
	return atOnce(o.Keys, o.Keys, func(id int) error {
		raw, err := client.Get(context.Background(), bareKey(id)).Bytes()
		if err != nil {
			return err
		}
		numbers, err := w.decode(raw)
		if err == nil && !w.small.right(int64(id), numbers) {
			err = fmt.Errorf("a wrong value for %d", id)
		}
		return err
	})
}

var errFound = errors.New("there is an entry, or no answer")

// bareCold lets callers look up, acquire, compute and store each key once.
func (w *worker) bareCold(o order) (report, error) {
	client, ctx := w.bareClient(), context.Background()
	defer func() { _ = client.Close() }()
	var holders sync.WaitGroup
	holders.Go(func() { w.holdPool(client, o.Hold) })
	defer holders.Wait()
	return atOnce(o.Callers, o.Keys, func(id int) error {
		if err := client.Get(ctx, bareKey(id)).Err(); !errors.Is(err, redis.Nil) {
			return fmt.Errorf("key %d is not cold, or cannot be read: %w", id, errors.Join(err, errFound))
		}
		if err := acquire.Run(ctx, client, []string{bareKey(id) + ":lock"}, "token", 10_000).Err(); err != nil {
			return err
		}
		time.Sleep(w.Cost)
		raw, err := w.encode(numbersOf(int64(id), w.Numbers))
		if err != nil {
			return err
		}
		return store.Run(ctx, client, []string{bareKey(id), bareKey(id) + ":lock"}, "token", raw, 3_600_000).Err()
	})
}

// atOnce lets callers do an operation for each key, once, and measures the time.
func atOnce(callers, keys int, do func(id int) error) (report, error) {
	var next atomic.Int64
	var running sync.WaitGroup
	loose, faults := make(chan struct{}), make([]error, callers)
	for caller := range callers {
		running.Go(func() {
			<-loose
			for id := int(next.Add(1)) - 1; id < keys && faults[caller] == nil; id = int(next.Add(1)) - 1 {
				faults[caller] = do(id)
			}
		})
	}
	began := time.Now()
	close(loose)
	running.Wait()
	return report{Calls: keys, Took: time.Since(began), Done: true}, errors.Join(faults...)
}
