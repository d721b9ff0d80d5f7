package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const csvHeader = "book_id,authors,year,title,average_rating,ratings_count\n"

func TestBuiltInCatalog(t *testing.T) {
	c, err := loadCatalog("")
	require.NoError(t, err)
	require.Greater(t, len(c.books), 100)
	require.Equal(t, "Jane Austen", c.busiest())
}

func TestCatalogIsReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.csv")
	require.NoError(t, os.WriteFile(path, []byte(csvHeader+"1,A,2001,T,4.5,10\n"), 0o600))
	c, err := loadCatalog(path)
	require.NoError(t, err)
	require.Equal(t, []Book{{ID: 1, Authors: []string{"A"}, Year: 2001, Title: "T", Rating: 4.5, Ratings: 10}}, c.books)

	_, err = loadCatalog(path + ".not")
	require.ErrorContains(t, err, path+".not")
}

func TestCatalogTakesWhatSpreadsheetsWrite(t *testing.T) {
	c, err := readCatalog("x.csv", strings.NewReader("\ufefftitle,book_id,shelf,ratings_count,average_rating,year,authors\r\n"+
		"\"The  Manifesto,\nnew\",7,B2,12,0,-350,\"Karl Marx, Friedrich  Engels, Karl Marx\"\r\n"+
		"Undated,8,,0,5,,Karl Marx\r\n"))
	require.NoError(t, err)
	require.Equal(t, []Book{
		{ID: 7, Authors: []string{"Karl Marx", "Friedrich Engels"}, Year: -350, Title: "The Manifesto, new", Ratings: 12},
		{ID: 8, Authors: []string{"Karl Marx"}, Title: "Undated", Rating: 5},
	}, c.books)
	require.Equal(t, 2, c.authors)
	require.Equal(t, "Friedrich Engels", c.busiest(), "of two alike the first in the alphabet")
}

func TestCatalogFaultsNameFileLineAndColumn(t *testing.T) {
	good := "1,Ann,2001,One,4.5,10\n"
	for _, c := range []struct{ name, csv, want string }{
		{"empty file", "", "x.csv: the file is empty"},
		{"no header", good, "x.csv:1: there is no column book_id, authors"},
		{"column missing", "book_id,authors,year,title,average_rating\n", "x.csv:1: there is no column ratings_count;"},
		{"no books", csvHeader, "x.csv: the 0 books have no ratings"},
		{"no ratings", csvHeader + "1,Ann,2001,One,4.5,0\n", "x.csv: the 1 books have no ratings"},
		{"too few fields", csvHeader + good + "2,Ann\n", "x.csv:3:1: not CSV: wrong number of fields"},
		{"bare quote", csvHeader + "1,Ann,2001,O\"ne,4.5,10\n", "x.csv:2:13: not CSV: bare"},
		{"open quote", csvHeader + "1,Ann,2001,\"One,4.5,10\n", "x.csv:2:"},
		{"id no number", csvHeader + "one,Ann,2001,One,4.5,10\n", `x.csv:2:1: book_id: "one" is not a whole number`},
		{"id zero", csvHeader + "0,Ann,2001,One,4.5,10\n", `x.csv:2:1: book_id: "0" is not`},
		{"id twice", csvHeader + good + "2,Ann,2001,Two,4.5,10\n" + good, "x.csv:4:1: book_id: 1 is the book of line 2 already"},
		{"no author", csvHeader + "1, ,2001,One,4.5,10\n", "x.csv:2:3: authors: it is empty"},
		{"no title", csvHeader + "1,Ann,2001,,4.5,10\n", "x.csv:2:12: title: it is empty"},
		{"Latin-1", csvHeader + "1,Andr\xe9,2001,One,4.5,10\n", `x.csv:2:3: authors: "Andr\xe9" is not UTF-8`},
		{"year", csvHeader + "1,Ann,MMI,One,4.5,10\n", `x.csv:2:7: year: "MMI" is not`},
		{"rating NaN", csvHeader + "1,Ann,2001,One,NaN,10\n", `x.csv:2:16: average_rating: "NaN" is not`},
		{"rating six", csvHeader + "1,Ann,2001,One,6,10\n", `x.csv:2:16: average_rating: "6" is not`},
		{"ratings negative", csvHeader + "1,Ann,2001,One,4.5,-1\n", `x.csv:2:20: ratings_count: "-1" is not`},
		{"ratings huge", csvHeader + "1,Ann,2001,One,4.5," + strings.Repeat("9", 5000) + "\n", `9..." is not`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readCatalog("x.csv", strings.NewReader(c.csv))
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 200, "an error is for reading")
		})
	}
}

// tinyCatalog has an author with twelve books, and one that shares a book.
func tinyCatalog(t *testing.T) *catalog {
	t.Helper()
	var csv strings.Builder
	csv.WriteString(csvHeader)
	for i := 1; i <= 12; i++ {
		fmt.Fprintf(&csv, "%d,Ann,2001,Book %d,4,%d\n", i, i, 10*i)
	}
	csv.WriteString("13,\"Bob, Ann\",,Together,4,1000\n14,Bob,,Alone,4,50\n15,Unread,,Unread,0,0\n")
	c, err := readCatalog("tiny.csv", strings.NewReader(csv.String()))
	require.NoError(t, err)
	return c
}
