package peers

import (
	"context"
	"time"

	"github.com/go-redis/cache/v9"
)

// localTTL is the lifetime that the README of go-redis/cache gives its local tier.
const localTTL = time.Minute

// openCache is go-redis/cache, with or without its local TinyLFU tier. It encodes with msgpack, and
// compresses. A local tier that outlives the freshness would return values that are too old, so its
// lifetime is at most the freshness.
func openCache[V any](local bool) func(Site, Source[V]) (*Cached[V], error) {
	return func(s Site, source Source[V]) (*Cached[V], error) {
		client := Client(s.Addr)
		opts := &cache.Options{Redis: client}
		kind := "cache"
		if local {
			kind = "cache-local"
			opts.LocalCache = cache.NewTinyLFU(max(1000, s.Keys), min(localTTL, s.Freshness))
		}
		c, key := cache.New(opts), keyer(kind, s)
		get := func(ctx context.Context, id int64) (value V, err error) {
			err = c.Once(&cache.Item{
				Ctx:   ctx,
				Key:   key(id),
				Value: &value,
				TTL:   s.Freshness,
				Do:    func(*cache.Item) (any, error) { return source(ctx, id) },
			})
			return value, err
		}
		return &Cached[V]{
			Get:        get,
			Invalidate: func(ctx context.Context, id int64) error { return c.Delete(ctx, key(id)) },
			Key:        inRedis(key),
			Close:      func() { _ = client.Close() },
		}, nil
	}
}
