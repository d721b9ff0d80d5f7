package peers

import (
	"context"
	"errors"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// openBare is the minimum with go-redis: GET and decode, with the codec of fncache. On a miss it
// calls the function and sends SET.
func openBare[V any](s Site, source Source[V]) (*Cached[V], error) {
	client, key := Client(s.Addr), keyer("bare", s)
	get := func(ctx context.Context, id int64) (value V, err error) {
		raw, err := client.Get(ctx, key(id)).Bytes()
		if err == nil {
			return value, cbor.Unmarshal(raw, &value)
		}
		if !errors.Is(err, redis.Nil) {
			return value, err
		}
		if value, err = source(ctx, id); err != nil {
			return value, err
		}
		if raw, err = cbor.Marshal(value); err != nil {
			return value, err
		}
		return value, client.Set(ctx, key(id), raw, s.Freshness).Err()
	}
	return &Cached[V]{
		Get:        get,
		Invalidate: func(ctx context.Context, id int64) error { return client.Del(ctx, key(id)).Err() },
		Key:        inRedis(key),
		Close:      func() { _ = client.Close() },
	}, nil
}

// openRueidis does the same with rueidis, which sends the commands of concurrent callers in one
// write.
func openRueidis[V any](s Site, source Source[V]) (*Cached[V], error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	key := keyer("rueidis", s)
	get := func(ctx context.Context, id int64) (value V, err error) {
		raw, err := client.Do(ctx, client.B().Get().Key(key(id)).Build()).AsBytes()
		if err == nil {
			return value, cbor.Unmarshal(raw, &value)
		}
		if !rueidis.IsRedisNil(err) {
			return value, err
		}
		if value, err = source(ctx, id); err != nil {
			return value, err
		}
		if raw, err = cbor.Marshal(value); err != nil {
			return value, err
		}
		return value, client.Do(ctx, client.B().Set().Key(key(id)).Value(rueidis.BinaryString(raw)).Px(s.Freshness).Build()).Error()
	}
	return &Cached[V]{
		Get: get,
		Invalidate: func(ctx context.Context, id int64) error {
			return client.Do(ctx, client.B().Del().Key(key(id)).Build()).Error()
		},
		Key:   inRedis(key),
		Close: client.Close,
	}, nil
}
