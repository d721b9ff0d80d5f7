package peers

import (
	"context"
	"errors"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// lockTTL is the life of the hand-written peer's lock.
const lockTTL = 10 * time.Second

// openHandwritten is typical hand-written code. A fresh value is served. After the freshness the
// caller that gets a lock computes, and the others get the old value, or an error if there is none.
// A singleflight limits each process to one lookup per key.
//
// As usual in such code, it uses the clocks of its hosts, and releases the lock by DEL, even if
// another caller holds it by then.
func openHandwritten[V any](s Site, source Source[V]) (*Cached[V], error) {
	h := &handwritten[V]{client: Client(s.Addr), site: s, source: source}
	key := keyer("handwritten", s)
	get := func(ctx context.Context, id int64) (V, error) {
		value, err, _ := h.flights.Do(key(id), func() (any, error) { return h.get(ctx, key(id), id) })
		if err != nil {
			var none V
			return none, err
		}
		return value.(V), nil
	}
	return &Cached[V]{
		Get:        get,
		Invalidate: func(ctx context.Context, id int64) error { return h.client.Del(ctx, key(id)).Err() },
		Key:        inRedis(key),
		Close:      func() { _ = h.client.Close() },
	}, nil
}

type handwritten[V any] struct {
	client  *redis.Client
	site    Site
	source  Source[V]
	flights singleflight.Group
}

// dated is a stored value.
type dated[V any] struct {
	StoredAt int64 // Unix milliseconds
	Value    V
}

func (h *handwritten[V]) get(ctx context.Context, key string, id int64) (V, error) {
	var entry dated[V]
	raw, err := h.client.Get(ctx, key).Bytes()
	found := err == nil
	switch {
	case found:
		if err := cbor.Unmarshal(raw, &entry); err != nil {
			return entry.Value, err
		}
		if time.Since(time.UnixMilli(entry.StoredAt)) < h.site.Freshness {
			return entry.Value, nil
		}
	case !errors.Is(err, redis.Nil):
		return entry.Value, err
	}
	locked, err := h.client.SetNX(ctx, key+":lock", 1, lockTTL).Result()
	switch {
	case err != nil:
		return entry.Value, err
	case locked:
		return h.compute(ctx, key, id)
	case found:
		return entry.Value, nil
	default:
		return entry.Value, errBusy
	}
}

func (h *handwritten[V]) compute(ctx context.Context, key string, id int64) (V, error) {
	defer func() { _ = h.client.Del(ctx, key+":lock").Err() }() // it expires
	value, err := h.source(ctx, id)
	if err != nil {
		return value, err
	}
	raw, err := cbor.Marshal(dated[V]{time.Now().UnixMilli(), value})
	if err != nil {
		return value, err
	}
	return value, h.client.Set(ctx, key, raw, h.site.Timeout).Err()
}
