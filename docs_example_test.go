package fncache_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fncache/fncache"
)

// The examples of the pages below docs.

// This example is compiled and not run: it needs a database.
func Example_invalidateAfterCommit() {
	var db *sql.DB
	var prices *fncache.Func // of a function of a book's id

	setPrice := func(ctx context.Context, id int64, price int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		if _, err := tx.ExecContext(ctx, "UPDATE books SET price = $1 WHERE id = $2", price, id); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		return prices.Invalidate(context.WithoutCancel(ctx), id) // after the commit, not before
	}

	if err := setPrice(context.Background(), 5, 12); err != nil {
		fmt.Println(err)
	}
}

func Example_expireAfterCommit() {
	var db *sql.DB
	var cache *fncache.Cache

	buy := func(ctx context.Context, id, customer int64) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		var author int64
		if err := tx.QueryRowContext(ctx, "SELECT author FROM books WHERE id = $1", id).Scan(&author); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO purchases (book, customer) VALUES ($1, $2)", id, customer); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		return cache.ExpireTags(context.WithoutCancel(ctx), fmt.Sprintf("author:%d", author)) // after the commit
	}

	if err := buy(context.Background(), 5, 12); err != nil {
		fmt.Println(err)
	}
}

type tenantKey struct{}

// WithTenant returns a context of a tenant.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, name)
}

// TenantOf returns the tenant of a context.
func TenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return name
}

func Example_vary() {
	cache, stop := newCache()
	defer stop()

	greeting := func(ctx context.Context, name string) (string, error) {
		return "Welcome to " + TenantOf(ctx) + ", " + name, nil
	}
	fncache.Must(fncache.Wrap(&greeting, fncache.Options{
		Cache: cache, Name: "shop.Greeting", Timeout: time.Hour,
		Vary: TenantOf, // func(ctx context.Context) string
	}))

	for _, tenant := range []string{"Oslo", "Turin"} {
		fmt.Println(greeting(WithTenant(context.Background(), tenant), "Ada"))
	}
	// Output:
	// Welcome to Oslo, Ada <nil>
	// Welcome to Turin, Ada <nil>
}

// Query is an argument with a field that is no part of the key.
type Query struct {
	Author string
	Limit  int
	Trace  chan string `fncache:"-"`
}

func Example_fieldThatDoesNotCount() {
	cache, stop := newCache()
	defer stop()
	search := func(_ context.Context, q Query) (string, error) { return "books of " + q.Author, nil }
	f := fncache.Must(fncache.Wrap(&search, fncache.Options{Cache: cache, Name: "shop.Search", Timeout: time.Hour}))
	traced := fncache.Must(f.Key(Query{Author: "Austen", Limit: 10, Trace: make(chan string)}))
	plain := fncache.Must(f.Key(Query{Author: "Austen", Limit: 10}))
	fmt.Println(traced == plain)
	// Output:
	// true
}

// Catalog is what the rest of the program knows.
type Catalog interface {
	BookByID(ctx context.Context, id int64) (Book, error)
	Add(ctx context.Context, b Book) error
}

// CachedCatalog is a Catalog whose BookByID is cached.
type CachedCatalog struct {
	Catalog                                                   // for the methods that are not cached
	Find    func(ctx context.Context, id int64) (Book, error) `fncache:"timeout=1h,freshness=5m,oncold=wait"`
	find    *fncache.Func
}

// NewCachedCatalog caches what next answers.
func NewCachedCatalog(cache *fncache.Cache, next Catalog) (*CachedCatalog, error) {
	c := &CachedCatalog{Catalog: next, Find: next.BookByID}
	funcs, err := fncache.WrapStruct(c, fncache.Options{Cache: cache})
	c.find = funcs["Find"]
	return c, err
}

// BookByID implements Catalog.
func (c *CachedCatalog) BookByID(ctx context.Context, id int64) (Book, error) { return c.Find(ctx, id) }

// Add implements Catalog.
func (c *CachedCatalog) Add(ctx context.Context, b Book) error {
	if err := c.Catalog.Add(ctx, b); err != nil {
		return err
	}
	return c.find.Invalidate(ctx, b.ID)
}

// books is a Catalog in memory.
type books map[int64]Book

func (b books) BookByID(_ context.Context, id int64) (Book, error) {
	fmt.Println("asking the database about book", id)
	return b[id], nil
}

func (b books) Add(_ context.Context, book Book) error {
	b[book.ID] = book
	return nil
}

func Example_interface() {
	cache, stop := newCache()
	defer stop()
	ctx := context.Background()

	var catalog Catalog = books{5: {5, "Dune"}}
	catalog = fncache.Must(NewCachedCatalog(cache, catalog))

	fmt.Println(catalog.BookByID(ctx, 5))
	fmt.Println(catalog.BookByID(ctx, 5))
	fmt.Println(catalog.Add(ctx, Book{5, "Dune Messiah"}))
	fmt.Println(catalog.BookByID(ctx, 5))
	// Output:
	// asking the database about book 5
	// {5 Dune} <nil>
	// {5 Dune} <nil>
	// <nil>
	// asking the database about book 5
	// {5 Dune Messiah} <nil>
}

func Example_movingFromOnce() {
	cache, stop := newCache()
	defer stop()
	loadBook := func(_ context.Context, id int64) (Book, error) { return Book{id, "Dune"}, nil }

	// Once, at start-up:
	bookByID := loadBook
	books := fncache.Must(fncache.Wrap1(&bookByID, fncache.Options{
		Cache: cache, Name: "shop.BookByID",
		Timeout: time.Hour, // the TTL
		OnCold:  fncache.Wait,
	}))

	// Where the value is wanted:
	book, err := bookByID(context.Background(), 5)
	fmt.Println(book.Title, err)

	// Where it changes:
	fmt.Println(books.Invalidate(context.Background(), 5))
	// Output:
	// Dune <nil>
	// <nil>
}
