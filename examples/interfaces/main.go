// Command interfaces caches the methods of an interface. Go generate has written the code for
// it, bookrepository_fncache.go.
//
//	go -C examples/interfaces run .
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fncache/fncache"
)

//go:generate go -C ../../cmd/fncachegen run . -type BookRepository ../../examples/interfaces

// A Book is what the shop sells.
type Book struct {
	ID    int64
	Title string
}

// A BookRepository keeps the books of the shop.
type BookRepository interface {
	BookByID(ctx context.Context, id int64) (Book, error)
	Search(ctx context.Context, words ...string) ([]Book, error)
	Rename(ctx context.Context, id int64, title string) error
}

// database stands for the implementation on a database.
type database struct{ titles map[int64]string }

func (d *database) BookByID(_ context.Context, id int64) (Book, error) {
	return Book{id, d.titles[id]}, nil
}

func (d *database) Search(context.Context, ...string) ([]Book, error) { return nil, nil }

func (d *database) Rename(_ context.Context, id int64, title string) error {
	d.titles[id] = title
	return nil
}

// books is the repository that the rest of the program is given: a method that changes a book
// invalidates it.
type books struct {
	BookRepository // cached
	funcs          *BookRepositoryFuncs
}

// Rename changes the title of a book.
func (b *books) Rename(ctx context.Context, id int64, title string) error {
	if err := b.BookRepository.Rename(ctx, id, title); err != nil {
		return err
	}
	return b.funcs.BookByID.Invalidate(ctx, id)
}

// newBooks caches the repository on a database.
func newBooks(cache *fncache.Cache, db BookRepository) (BookRepository, error) {
	cached, funcs, err := CacheBookRepository(cache, db, BookRepositoryOptions{
		BookByID: &fncache.Options{Timeout: time.Hour, Freshness: 5 * time.Minute, OnCold: fncache.Wait},
		// Search has no options, so it is not cached.
	})
	return &books{cached, funcs}, err
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "interfaces:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := miniredis.NewMiniRedis() // instead of a Redis of your own
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Close()
	cache, err := fncache.Open(ctx, "redis://"+server.Addr(), fncache.Config{})
	if err != nil {
		return err
	}
	defer cache.Close() //nolint:errcheck // the process ends
	repo, err := newBooks(cache, &database{map[int64]string{7: "Emma"}})
	if err != nil {
		return err
	}
	for i := range 3 {
		var info fncache.Info
		book, err := repo.BookByID(fncache.WithInfo(ctx, &info), 7)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, book.Title, info.Source)
		if i == 1 {
			if err := repo.Rename(ctx, 7, "Emma, revised"); err != nil {
				return err
			}
		}
	}
	return nil
}
