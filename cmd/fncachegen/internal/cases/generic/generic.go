// Package generic has interfaces with type parameters.
package generic

import (
	"cmp"
	"context"
)

//go:generate go run ../../.. -type Store,Books

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
