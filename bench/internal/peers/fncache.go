package peers

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// nearSize has room for all cached values, as the other local tiers have.
const nearSize = 1 << 30

// A variant is one of the ways to use fncache.
type variant struct {
	name  string
	cold  fncache.ColdPolicy
	stale fncache.StalePolicy
	near  bool // Options.Near
	typed bool // Wrap1
	tags  []string
}

// twoTags are the same for all keys, because Fill copies the entry of one key to the others. In the
// benchmarks of the root (Tags), each key has a tag of its own.
var twoTags = []string{"books", "lists"}

func remoteVariants[V any]() []Peer[V] {
	return variants[V](
		variant{name: Fncache},
		variant{name: FncacheTyped, typed: true},
		variant{name: FncacheTagged, typed: true, tags: twoTags},
	)
}

func nearVariants[V any]() []Peer[V] {
	return variants[V](
		variant{name: FncacheNear, near: true},
		variant{name: FncacheNearTyped, near: true, typed: true},
		variant{name: FncacheNearTagged, near: true, typed: true, tags: twoTags},
	)
}

func fleetVariants[V any]() []Peer[V] {
	return variants[V](
		variant{name: Fncache},
		variant{name: FncacheWaiting, cold: fncache.Wait},
		variant{name: "fncache, onstale=background", stale: fncache.Background},
		variant{name: FncacheNearWaiting, cold: fncache.Wait, near: true},
	)
}

func variants[V any](of ...variant) []Peer[V] {
	peers := make([]Peer[V], len(of))
	for i, v := range of {
		peers[i] = Peer[V]{Name: v.name, Local: v.near, Open: func(s Site, source Source[V]) (*Cached[V], error) {
			return openFncache(v, s, source)
		}}
	}
	return peers
}

func openFncache[V any](v variant, s Site, source Source[V]) (*Cached[V], error) {
	client := Client(s.Addr)
	cached, err := cacheOn(v, s, source, client, fncache.Config{
		Redis:    client,
		NearSize: nearSize,
		Logger:   slog.New(slog.DiscardHandler), // a storm loses leases by design
	})
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return cached, nil
}

func cacheOn[V any](v variant, s Site, source Source[V], client *redis.Client, cfg fncache.Config) (*Cached[V], error) {
	cache, err := fncache.New(cfg)
	if err != nil {
		return nil, err
	}
	fn := (func(context.Context, int64) (V, error))(source)
	near := time.Duration(0)
	if v.near {
		near = min(localTTL, s.Freshness)
	}
	wrap := fncache.Wrap[func(context.Context, int64) (V, error)]
	if v.typed {
		wrap = func(fn *func(context.Context, int64) (V, error), opts fncache.Options) (*fncache.Func, error) {
			h, err := fncache.Wrap1(fn, opts)
			if err != nil {
				return nil, err
			}
			return h.Func, nil
		}
	}
	f, err := wrap(&fn, fncache.Options{
		Cache:     cache,
		Name:      s.Name,
		Freshness: s.Freshness,
		Timeout:   s.Timeout,
		OnCold:    v.cold,
		OnStale:   v.stale,
		Near:      near,
		Tags:      v.tags,
	})
	if err != nil {
		return nil, err
	}
	return &Cached[V]{
		Get:        fn,
		Invalidate: func(ctx context.Context, id int64) error { return f.Invalidate(ctx, id) },
		Key:        func(id int64) (string, error) { return f.Key(id) },
		Close: func() {
			_ = cache.Close()
			_ = client.Close()
		},
	}, nil
}
