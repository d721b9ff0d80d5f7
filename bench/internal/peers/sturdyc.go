package peers

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"
)

// The values of sturdyc's README.
const (
	sturdycShards   = 10
	sturdycEviction = 10 // per cent
	sturdycRetry    = 10 * time.Millisecond
)

// openSturdyc is sturdyc, with early refreshes: after the freshness a call gets the old value, and
// a refresh begins in the background. With Redis it uses what its README calls distributed storage.
func openSturdyc[V any](withRedis bool) func(Site, Source[V]) (*Cached[V], error) {
	return func(s Site, source Source[V]) (*Cached[V], error) {
		var options []sturdyc.Option
		key := keyer("sturdyc", s)
		cached := &Cached[V]{Close: func() {}}
		drop := func(context.Context, string) error { return nil }
		if withRedis {
			client := Client(s.Addr)
			options = append(options, sturdyc.WithDistributedStorageEarlyRefreshes(
				&sturdycStorage{client, s.Timeout}, s.Freshness))
			drop = func(ctx context.Context, key string) error { return client.Del(ctx, key).Err() }
			cached.Key = inRedis(key)
			cached.Close = func() { _ = client.Close() }
		}
		c := NewSturdyc[V](s, options...)
		cached.Get = func(ctx context.Context, id int64) (V, error) {
			return c.GetOrFetch(ctx, key(id), func(ctx context.Context) (V, error) { return source(ctx, id) })
		}
		cached.Invalidate = func(ctx context.Context, id int64) error {
			// Redis comes first. In the other order a call in between would bring the old value
			// back.
			err := drop(ctx, key(id))
			c.Delete(key(id))
			return err
		}
		return cached, nil
	}
}

// NewSturdyc returns a client of sturdyc with room for all keys.
func NewSturdyc[V any](s Site, options ...sturdyc.Option) *sturdyc.Client[V] {
	options = append(options,
		sturdyc.WithEarlyRefreshes(s.Freshness, min(s.Freshness+s.Freshness/100, s.Timeout), s.Timeout, sturdycRetry))
	// A full shard drops a tenth of its keys, and keys are not spread evenly over shards.
	return sturdyc.New[V](2*max(1000, s.Keys), sturdycShards, s.Timeout, sturdycEviction, options...)
}

// sturdycStorage is Redis behind the interface of sturdyc.
type sturdycStorage struct {
	client *redis.Client
	ttl    time.Duration
}

var _ sturdyc.DistributedStorageWithDeletions = (*sturdycStorage)(nil)

func (s *sturdycStorage) Get(ctx context.Context, key string) ([]byte, bool) {
	raw, err := s.client.Get(ctx, key).Bytes()
	return raw, err == nil
}

func (s *sturdycStorage) Set(ctx context.Context, key string, value []byte) {
	_ = s.client.Set(ctx, key, value, s.ttl).Err() // sturdyc accepts no error
}

func (s *sturdycStorage) GetBatch(ctx context.Context, keys []string) map[string][]byte {
	found := make(map[string][]byte, len(keys))
	for _, key := range keys {
		if raw, ok := s.Get(ctx, key); ok {
			found[key] = raw
		}
	}
	return found
}

func (s *sturdycStorage) SetBatch(ctx context.Context, records map[string][]byte) {
	for key, value := range records {
		s.Set(ctx, key, value)
	}
}

func (s *sturdycStorage) Delete(ctx context.Context, key string) {
	_ = s.client.Del(ctx, key).Err()
}

func (s *sturdycStorage) DeleteBatch(ctx context.Context, keys []string) {
	_ = s.client.Del(ctx, keys...).Err()
}
