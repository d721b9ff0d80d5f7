package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tinyPurchases = 1234 // no multiple of a batch

// tinyDatabase is in a folder whose name a URI could not hold as it is.
func tinyDatabase(t *testing.T) *database {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a b#c%20d?e")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path, err := buildDatabase(t.Context(), dir, tinyCatalog(t), tinyPurchases, newProgress(io.Discard))
	require.NoError(t, err)
	require.FileExists(t, path)
	db, err := openDatabase(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.close()) })
	return db
}

// expectedTop counts the purchases again, without SQL.
func expectedTop(c *catalog, author string) []Bestseller {
	bought := make(map[int64]int64)
	draw := newLottery(c.books)
	for range tinyPurchases {
		book, _, _ := draw.purchase()
		bought[book]++
	}
	top := []Bestseller{}
	for _, b := range c.books {
		if slices.Contains(b.Authors, author) && bought[b.ID] > 0 {
			top = append(top, Bestseller{b.ID, b.Title, bought[b.ID]})
		}
	}
	slices.SortFunc(top, func(a, b Bestseller) int {
		return cmp.Or(cmp.Compare(b.Bought, a.Bought), cmp.Compare(a.BookID, b.BookID))
	})
	return top[:min(10, len(top))]
}

func TestTopBooksAreTheTenMostBought(t *testing.T) {
	db, c := tinyDatabase(t), tinyCatalog(t)
	for _, author := range []string{"Ann", "Bob", "Unread"} {
		top, err := db.topBooks(t.Context(), author)
		require.NoError(t, err)
		require.Equal(t, expectedTop(c, author), top, author)
	}
	ann, err := db.topBooks(t.Context(), "Ann")
	require.NoError(t, err)
	require.Len(t, ann, 10)
	require.Equal(t, "Together", ann[0].Title, "a book counts for each of its authors")
}

func TestTopBooksTellsWhenItIsSlow(t *testing.T) {
	db := tinyDatabase(t)
	var told []string
	db.began = func() { told = append(told, "began") }
	db.ended = func() { told = append(told, "ended") }
	_, err := db.topBooks(t.Context(), "Nobody")
	require.ErrorIs(t, err, errNotFound)
	require.Empty(t, told, "an unknown author costs no slow query")
	_, err = db.topBooks(t.Context(), "Ann")
	require.NoError(t, err)
	require.Equal(t, []string{"began", "ended"}, told)
}

func TestHostileNamesAreNames(t *testing.T) {
	db := tinyDatabase(t)
	for _, name := range []string{"", "' OR 1=1 --", "%", "*", "Ann\x00", "\xff", strings.Repeat("A", 1<<20)} {
		_, err := db.topBooks(t.Context(), name)
		require.ErrorIs(t, err, errNotFound)
	}
}

func TestCancelledQueriesSaySo(t *testing.T) {
	db := tinyDatabase(t)
	ctx, cancel := context.WithCancel(t.Context())
	db.began = cancel // between the two queries
	_, err := db.topBooks(ctx, "Ann")
	require.ErrorIs(t, err, context.Canceled)
	_, err = db.bookByID(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestBookByID(t *testing.T) {
	db, c := tinyDatabase(t), tinyCatalog(t)
	for _, want := range c.books {
		got, err := db.bookByID(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, id := range []int64{0, -1, 16, 1 << 62} {
		_, err := db.bookByID(t.Context(), id)
		require.ErrorIs(t, err, errNotFound)
	}
}

func TestProgressInAFileIsAFewLines(t *testing.T) {
	var said strings.Builder
	p := newProgress(&said)
	p.begin("filling", 2000)
	for i := range 2000 {
		p.at(i + 1)
	}
	require.Equal(t, "filling: 0%\nfilling: 25%\nfilling: 50%\nfilling: 75%\nfilling: 100%\n", said.String())
}
