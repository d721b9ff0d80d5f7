// Package generic has interfaces with type parameters.
package generic

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

//go:generate go run ../../.. -type Store,Books
//go:generate go run ../../.. -type Clash

// A Store keeps values by key.
type Store[K cmp.Ordered, V any] interface {
	Load(ctx context.Context, key K) (V, error)
	All(ctx context.Context, K ...K) (map[K]V, error)
	Save(ctx context.Context, key K, value V) error
}

// Books embeds an instance.
type Books interface {
	Store[int64, string]
	Titles(ctx context.Context) ([]string, error)
}

// A Dated has a method with a type of package time.
type Dated interface {
	At(ctx context.Context, id int) (time.Time, error)
}

// Titled has the method of Dated too.
type Titled interface {
	Dated
	At(ctx context.Context, id int) (time.Time, error)
	fmt.Stringer
}

// Clash has a type parameter with the name of a package that an embedded method needs, and a method
// that it embeds twice.
type Clash[time any] interface {
	Get(ctx context.Context, id int) (time, error)
	Dated
	Titled
}
