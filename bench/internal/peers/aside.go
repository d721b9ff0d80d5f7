package peers

import (
	"context"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"
)

// openAside is rueidisaside's typed client. It is made for client-side caching, in which Redis
// tells the client which keys have changed. Without tracking, its hits cost a round trip. That is
// enough for a benchmark of hits only.
func openAside[V any](tracking bool) func(Site, Source[V]) (*Cached[V], error) {
	return func(s Site, source Source[V]) (*Cached[V], error) {
		option := rueidis.ClientOption{InitAddress: []string{s.Addr}, DisableCache: !tracking}
		// The default of 128 MiB per connection holds all values except those of 1e6 keys,
		// which are not measured for this peer.
		client, err := rueidisaside.NewClient(rueidisaside.ClientOption{ClientOption: option})
		if err != nil {
			return nil, err
		}
		typed := rueidisaside.NewTypedCacheAsideClient(client,
			func(value *V) (string, error) {
				raw, err := cbor.Marshal(value)
				return string(raw), err
			},
			func(raw string) (*V, error) {
				value := new(V)
				return value, cbor.Unmarshal([]byte(raw), value)
			})
		key := keyer("aside", s)
		get := func(ctx context.Context, id int64) (V, error) {
			value, err := typed.Get(ctx, s.Freshness, key(id), func(ctx context.Context, _ string) (*V, error) {
				computed, err := source(ctx, id)
				return &computed, err
			})
			if err != nil {
				var none V
				return none, err
			}
			return *value, nil
		}
		return &Cached[V]{
			Get:        get,
			Invalidate: func(ctx context.Context, id int64) error { return typed.Del(ctx, key(id)) },
			Key:        inRedis(key),
			Close:      client.Close,
		}, nil
	}
}
