// Package shop has an interface like those of services.
package shop

import (
	"context"
	"io"
	"net/http"
	"time"
)

//go:generate go run ../../.. -type BookRepository
//go:generate go run ../../.. -type Prices -batch PricesByIDs

// A Book is what the shop sells.
type Book struct {
	ID    int64
	Title string
	Since time.Time
}

// A Counter is embedded in the repository.
type Counter interface {
	Count() int
}

// A BookRepository keeps books.
type BookRepository interface {
	Counter

	// BookByID returns a book.
	BookByID(ctx context.Context, id int64) (Book, error)
	// Search returns the books whose titles have all words.
	Search(ctx context.Context, limit int, words ...string) ([]Book, error)
	// Published returns the titles of a span of time.
	Published(ctx context.Context, from, to time.Time) ([]string, error)

	Add(ctx context.Context, b Book) error
	Close()
	Cover(ctx context.Context, id int64) (io.ReadCloser, error)
	Serve(w http.ResponseWriter, r *http.Request) int
	find(title string) (Book, bool)
}

// Prices has a method that returns values for many ids, and one of the same form whose map has other
// keys.
type Prices interface {
	PricesByIDs(ctx context.Context, ids []int64) (map[int64]int, error)
	Search(ctx context.Context, words []string) (map[string]int, error)
}
