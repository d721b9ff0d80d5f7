package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// A Store is what the shop's pages ask. Its functions are wired at start-up; the
// tags say how each is cached.
//
// BooksByIDs is a batch function: each book has an entry, and the page of an author loads its ten books by
// one call. Books that the shop no longer sells are missing, and cached as missing.
//
// TopBooks refuses callers (fncache.ErrColdCache) while another computes the first value: a
// page that says "in a second" is better than a thousand queries. BookByID is quick, so its
// callers wait for each other. TopBooks is shared: the stampede wraps it a second time, see
// agingStore. What is tagged with an author is expired when a book of the author is bought. Buy
// has no tag, so it is left as it is.
type Store struct {
	TopBooks   func(ctx context.Context, author string) ([]Bestseller, error) `fncache:"timeout=24h,freshness=1h,prefix=Author,name=TopBooks,shared,lease=2s,tags=author:{0}"`
	BookByID   func(ctx context.Context, id int64) (Book, error)              `fncache:"timeout=1h,freshness=5m,prefix=Book,name=BookByID,oncold=wait,waittimeout=2s"`
	BooksByIDs func(ctx context.Context, ids []int64) (map[int64]Book, error) `fncache:"timeout=1h,freshness=5m,prefix=Book,name=BooksByIDs,oncold=wait,waittimeout=2s,batch,missingtimeout=1m"`
	Authors    func(ctx context.Context) ([]string, error)                    `fncache:"timeout=1h,freshness=10m,near=30s,prefix=Shop,name=Authors,oncold=wait,waittimeout=2s"`
	Buy        func(ctx context.Context, id, customer int64) error
}

// newStore returns the store on a database. expire is called with the tags that are out of date.
func newStore(db *database, expire func(ctx context.Context, tags ...string) error) *Store {
	return &Store{
		TopBooks:   db.topBooks,
		BookByID:   db.bookByID,
		BooksByIDs: db.booksByIDs,
		Authors:    db.allAuthors,
		Buy: func(ctx context.Context, id, customer int64) error {
			authors, err := db.buy(ctx, id, customer)
			if err != nil {
				return err
			}
			// After the commit: before it, others would store the old list by right. And also for a
			// visitor who has left meanwhile.
			return expire(context.WithoutCancel(ctx), authorTags(authors)...)
		},
	}
}

// page returns the page of an author: the books that sell best, in full.
func (s *Store) page(ctx context.Context, author string) ([]Book, error) {
	top, err := s.TopBooks(ctx, author)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(top))
	for i := range top {
		ids[i] = top[i].BookID
	}
	books, err := s.BooksByIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	page := []Book{} // in JSON [], not null
	for _, id := range ids {
		if book, ok := books[id]; ok {
			page = append(page, book)
		}
	}
	return page, nil
}

// authorTags returns the tags of what depends on these authors: see the tag of TopBooks.
func authorTags(authors []string) (tags []string) {
	for _, name := range authors {
		tags = append(tags, "author:"+name)
	}
	return tags
}

// A backend is the location of the shop's data, the same in all processes.
type backend struct {
	Database string
	Redis    string // a URL
	Secret   []byte // of fncache.Config.HashSecret
	OnCold   fncache.ColdPolicy
}

// A shop is the wired Store with its database, Redis client and cache.
type shop struct {
	db     *database
	plain  *Store // without fncache
	cached *Store
	funcs  fncache.Funcs // of cached, by field

	options  fncache.Options // what the tags do not say
	cache    *fncache.Cache
	client   *redis.Client
	commands *commandCounter
	metrics  *metrics // nil in the processes of the stampede
}

// namespace is the first part of the shop's keys.
const namespace = "bookstore"

// openShop wires the Store to the database and wraps it. The database stays the
// caller's to close. m may be nil.
func openShop(db *database, b backend, m *metrics) (*shop, error) {
	opts, err := redis.ParseURL(b.Redis)
	if err != nil {
		return nil, fmt.Errorf("the URL of Redis: %w", err)
	}
	opts.ContextTimeoutEnabled = true // so that the counting hook sees every command
	s := &shop{db: db, client: redis.NewClient(opts), commands: &commandCounter{}, metrics: m}
	s.client.AddHook(s.commands)
	cfg := fncache.Config{
		Redis:     s.client,
		Namespace: namespace,
		// Visitors choose the arguments: with a secret they cannot look for
		// two authors whose keys collide.
		HashSecret: b.Secret,
		// A thousand requests at once on a small machine need a longer timeout.
		RedisTimeout: fncache.DefaultRedisTimeout * 2,
	}
	if m != nil {
		cfg.Observer = m.observer
	}
	s.cache, err = fncache.New(cfg)
	if err == nil {
		if m != nil {
			m.observer.Watch(s.cache)
		}
		s.plain = newStore(db, func(context.Context, ...string) error { return nil })
		s.cached = newStore(db, s.cache.ExpireTags)
		s.options = fncache.Options{Cache: s.cache, OnCold: b.OnCold}
		s.funcs, err = fncache.WrapStruct(s.cached, s.options)
	}
	if err != nil {
		return nil, errors.Join(err, s.client.Close())
	}
	return s, nil
}

// close cancels computations, releases their leases, and then closes the connections.
func (s *shop) close() error {
	return errors.Join(s.cache.Close(), s.client.Close())
}
