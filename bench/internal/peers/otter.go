package peers

import (
	"context"

	"github.com/maypok86/otter/v2"
)

// openOtter is otter as a loading cache, in the process only. After the freshness a call gets the
// old value, and a refresh begins in the background.
func openOtter[V any](s Site, source Source[V]) (*Cached[V], error) {
	c, err := otter.New(&otter.Options[int64, V]{
		MaximumSize:       max(1000, s.Keys),
		ExpiryCalculator:  otter.ExpiryWriting[int64, V](s.Timeout),
		RefreshCalculator: otter.RefreshWriting[int64, V](s.Freshness),
	})
	if err != nil {
		return nil, err
	}
	loader := otter.LoaderFunc[int64, V](source)
	return &Cached[V]{
		Get: func(ctx context.Context, id int64) (V, error) { return c.Get(ctx, id, loader) },
		Invalidate: func(_ context.Context, id int64) error {
			c.Invalidate(id)
			return nil
		},
		Close: func() { c.StopAllGoroutines() },
	}, nil
}
