package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"sort"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite": SQLite without C
)

// How many purchases the database has. The full table makes the query take some
// tenths of a second of one core.
const (
	fullPurchases  = 3_000_000
	quickPurchases = 25_000
)

// poolSize is how many connections, and so queries at a time, one process has.
const poolSize = 4

// errNotFound is the answer for an author or a book that the shop does not sell.
var errNotFound = errors.New("not found")

// schema has no index on purchases.book_id, on purpose: real shops forget it, or cannot afford
// it under thousands of inserts.
const schema = `
CREATE TABLE books (
	id INTEGER PRIMARY KEY, authors TEXT NOT NULL, year INTEGER NOT NULL, title TEXT NOT NULL,
	rating REAL NOT NULL, ratings INTEGER NOT NULL
);
CREATE TABLE authors (
	name TEXT NOT NULL, book_id INTEGER NOT NULL REFERENCES books,
	PRIMARY KEY (name, book_id)
) WITHOUT ROWID;
CREATE TABLE purchases (
	id INTEGER PRIMARY KEY, book_id INTEGER NOT NULL REFERENCES books,
	customer INTEGER NOT NULL, day INTEGER NOT NULL
);`

// topBooksQuery is the slow one: it goes through all purchases.
const topBooksQuery = `
SELECT top.book_id, books.title, top.bought
FROM (
	SELECT book_id, count(*) AS bought FROM purchases
	WHERE book_id IN (SELECT book_id FROM authors WHERE name = ?)
	GROUP BY book_id ORDER BY bought DESC, book_id LIMIT 10
) AS top JOIN books ON books.id = top.book_id
ORDER BY top.bought DESC, top.book_id`

// buildDatabase writes a database of the catalogue with a number of purchases into dir and
// returns its path. The same catalogue gives the same purchases.
func buildDatabase(ctx context.Context, dir string, c *catalog, purchases int, bar *progress) (path string, err error) {
	path = filepath.Join(dir, "bookstore.db")
	// The database is discarded after any failure, so it needs no journal and no sync.
	db, err := sql.Open("sqlite", dsn(path, "_pragma", "journal_mode(off)", "_pragma", "synchronous(off)"))
	if err != nil {
		return "", fmt.Errorf("make the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return "", fmt.Errorf("make the tables in %s: %w", path, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("fill the database: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if err := insertBooks(ctx, tx, c.books); err != nil {
		return "", fmt.Errorf("fill the tables of books: %w", err)
	}
	if err := insertPurchases(ctx, tx, c.books, purchases, bar); err != nil {
		return "", fmt.Errorf("fill the table of purchases: %w", err)
	}
	return path, tx.Commit()
}

func insertBooks(ctx context.Context, tx *sql.Tx, books []Book) error {
	for _, b := range books {
		authors, err := json.Marshal(b.Authors)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO books VALUES (?, ?, ?, ?, ?, ?)`,
			b.ID, string(authors), b.Year, b.Title, b.Rating, b.Ratings); err != nil {
			return fmt.Errorf("book %d: %w", b.ID, err)
		}
		for _, name := range b.Authors {
			if _, err := tx.ExecContext(ctx, `INSERT INTO authors VALUES (?, ?)`, name, b.ID); err != nil {
				return fmt.Errorf("book %d: %w", b.ID, err)
			}
		}
	}
	return nil
}

// insertPurchases draws n purchases, each book as often as its ratings say.
func insertPurchases(ctx context.Context, tx *sql.Tx, books []Book, n int, bar *progress) error {
	const batch = 500 // rows a statement: far faster than one by one
	full, err := tx.PrepareContext(ctx, insertRows(batch))
	if err != nil {
		return err
	}
	defer func() { _ = full.Close() }()
	bar.begin("filling the table of purchases", n)
	draw := newLottery(books)
	args := make([]any, 0, 3*batch)
	for done := 0; done < n; {
		size := min(batch, n-done)
		args = args[:0]
		for range size {
			book, customer, day := draw.purchase()
			args = append(args, book, customer, day)
		}
		if size == batch {
			_, err = full.ExecContext(ctx, args...)
		} else {
			_, err = tx.ExecContext(ctx, insertRows(size), args...)
		}
		if err != nil {
			return err
		}
		done += size
		bar.at(done)
	}
	return nil
}

func insertRows(n int) string {
	return "INSERT INTO purchases (book_id, customer, day) VALUES (?,?,?)" + strings.Repeat(",(?,?,?)", n-1)
}

// A lottery draws books in proportion to their ratings.
type lottery struct {
	books []Book
	upTo  []int64 // the ratings of the books so far
	rng   *rand.Rand
}

func newLottery(books []Book) *lottery {
	l := &lottery{books: books, rng: rand.New(rand.NewPCG(1453, 1564))} // any seed, but always the same
	var sum int64
	for _, b := range books {
		sum += b.Ratings
		l.upTo = append(l.upTo, sum)
	}
	return l
}

func (l *lottery) purchase() (book, customer, day int64) {
	ticket := l.rng.Int64N(l.upTo[len(l.upTo)-1])
	i := sort.Search(len(l.upTo), func(i int) bool { return l.upTo[i] > ticket })
	return l.books[i].ID, l.rng.Int64N(500_000), l.rng.Int64N(10 * 365)
}

// A database answers the shop's questions, and takes its orders.
type database struct {
	db *sql.DB

	// began and ended are called for every slow query. The stampede counts them.
	began, ended func()
}

func openDatabase(path string) (*database, error) {
	db, err := sql.Open("sqlite", dsn(path, "mode", "rw", "_pragma", "busy_timeout(5000)"))
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	nothing := func() {}
	return &database{db: db, began: nothing, ended: nothing}, nil
}

// dsn is the path as a URI, with parameters in pairs.
func dsn(path string, params ...string) string {
	values := url.Values{}
	for i := 0; i < len(params); i += 2 {
		values.Add(params[i], params[i+1])
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: values.Encode()}
	return u.String()
}

func (d *database) close() error { return d.db.Close() }

// A Bestseller is a line of an author's top ten.
type Bestseller struct {
	BookID int64  `json:"book_id"`
	Title  string `json:"title"`
	Bought int64  `json:"bought"`
}

// topBooks returns the ten most bought books of an author. It is slow.
func (d *database) topBooks(ctx context.Context, author string) ([]Bestseller, error) {
	// A query begins when there is a connection for it, not before.
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("a connection to the database: %w", err)
	}
	defer func() { _ = conn.Close() }() // back to the pool
	var known bool
	if err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM authors WHERE name = ?)`, author).Scan(&known); err != nil {
		return nil, queryError(ctx, "look up the author", err)
	}
	if !known {
		return nil, fmt.Errorf("author: %w", errNotFound)
	}
	d.began()
	defer d.ended()
	rows, err := conn.QueryContext(ctx, topBooksQuery, author)
	if err != nil {
		return nil, queryError(ctx, "top books", err)
	}
	defer func() { _ = rows.Close() }()
	top := []Bestseller{} // in JSON [], not null
	for rows.Next() {
		var b Bestseller
		if err := rows.Scan(&b.BookID, &b.Title, &b.Bought); err != nil {
			return nil, queryError(ctx, "top books", err)
		}
		top = append(top, b)
	}
	if err := rows.Err(); err != nil {
		return nil, queryError(ctx, "top books", err)
	}
	return top, nil
}

// bookByID returns one book. It is quick.
func (d *database) bookByID(ctx context.Context, id int64) (Book, error) {
	books, err := d.booksByIDs(ctx, []int64{id})
	if err != nil {
		return Book{}, err
	}
	book, ok := books[id]
	if !ok {
		return Book{}, fmt.Errorf("book: %w", errNotFound)
	}
	return book, nil
}

// booksByIDs returns books by one query. A book that the shop does not sell is left out.
func (d *database) booksByIDs(ctx context.Context, ids []int64) (map[int64]Book, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := d.db.QueryContext(ctx,
		`SELECT id, authors, year, title, rating, ratings FROM books WHERE id IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return nil, queryError(ctx, "books by ids", err)
	}
	defer func() { _ = rows.Close() }()
	books := make(map[int64]Book, len(ids))
	for rows.Next() {
		var b Book
		var authors string
		if err := rows.Scan(&b.ID, &authors, &b.Year, &b.Title, &b.Rating, &b.Ratings); err != nil {
			return nil, queryError(ctx, "books by ids", err)
		}
		if err := json.Unmarshal([]byte(authors), &b.Authors); err != nil {
			return nil, fmt.Errorf("book %d: its authors: %w", b.ID, err)
		}
		books[b.ID] = b
	}
	if err := rows.Err(); err != nil {
		return nil, queryError(ctx, "books by ids", err)
	}
	return books, nil
}

// allAuthors returns the names of all authors, in alphabetical order.
func (d *database) allAuthors(ctx context.Context) ([]string, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT DISTINCT name FROM authors ORDER BY name`)
	if err != nil {
		return nil, queryError(ctx, "authors", err)
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, queryError(ctx, "authors", err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return nil, queryError(ctx, "authors", err)
	}
	return names, nil
}

// buy notes that a customer buys a book, and returns the book's authors.
func (d *database) buy(ctx context.Context, id, customer int64) (authors []string, err error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, queryError(ctx, "buy", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var list string
	err = tx.QueryRowContext(ctx, `SELECT authors FROM books WHERE id = ?`, id).Scan(&list)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("book: %w", errNotFound)
	}
	if err == nil {
		day := time.Now().Unix() / (24 * 60 * 60)
		_, err = tx.ExecContext(ctx, `INSERT INTO purchases (book_id, customer, day) VALUES (?, ?, ?)`, id, customer, day)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return nil, queryError(ctx, "buy", err)
	}
	if err := json.Unmarshal([]byte(list), &authors); err != nil {
		return nil, fmt.Errorf("book %d: its authors: %w", id, err)
	}
	return authors, nil
}

// queryError names the query. The driver reports one that was cancelled as
// "interrupted"; callers look for the context's error.
func queryError(ctx context.Context, query string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("database: %s: %w", query, err)
}
