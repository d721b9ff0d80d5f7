package main

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// classicsCSV is the default catalogue of the shop. Its ratings are made up: they only decide
// how often a book was bought.
//
//go:embed classics.csv
var classicsCSV []byte

// The columns of a catalogue, in any order; others are ignored.
var columns = []string{"book_id", "authors", "year", "title", "average_rating", "ratings_count"}

func columnList() string { return strings.Join(columns, ",") }

// A Book as the shop sells it.
type Book struct {
	ID      int64    `json:"id"`
	Authors []string `json:"authors"`
	Year    int      `json:"year,omitempty"` // of first publication, negative BC; 0 if not known
	Title   string   `json:"title"`
	Rating  float64  `json:"average_rating"`
	Ratings int64    `json:"ratings_count"`
}

// A catalog is the books for sale.
type catalog struct {
	books   []Book
	authors int // how many different ones
}

// loadCatalog reads a CSV file, or for "" the built-in classics.
func loadCatalog(path string) (*catalog, error) {
	if path == "" {
		return readCatalog("classics.csv", bytes.NewReader(classicsCSV))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	return readCatalog(path, f)
}

// readCatalog reads CSV. An error names the file, the line and the column; file
// is only what it is called there.
func readCatalog(file string, r io.Reader) (*catalog, error) {
	in := catalogReader{file: file, csv: csv.NewReader(r), index: make(map[string]int), seen: make(map[int64]int)}
	in.csv.ReuseRecord = true
	if err := in.header(); err != nil {
		return nil, err
	}
	c := &catalog{}
	names := make(map[string]bool)
	var ratings int64
	for {
		book, err := in.book()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		c.books = append(c.books, book)
		ratings += book.Ratings
		for _, name := range book.Authors {
			names[name] = true
		}
	}
	if ratings == 0 {
		return nil, fmt.Errorf("%s: the %d books have no ratings; purchases follow ratings_count, so one book at least must have some", file, len(c.books))
	}
	c.authors = len(names)
	return c, nil
}

// busiest returns the author whose books have the most ratings, and whose page the visitors ask
// for. Of two equal authors it is the first in the alphabet.
func (c *catalog) busiest() string {
	ratings := make(map[string]int64)
	for _, b := range c.books {
		for _, name := range b.Authors {
			ratings[name] += b.Ratings
		}
	}
	var best string
	for name, n := range ratings {
		if best == "" || n > ratings[best] || n == ratings[best] && name < best {
			best = name
		}
	}
	return best
}

// A catalogReader reads a catalogue book by book.
type catalogReader struct {
	file   string
	csv    *csv.Reader
	index  map[string]int // of a column in the record
	record []string
	seen   map[int64]int // the line of each book_id
	err    error         // the first fault of the record
}

func (r *catalogReader) header() error {
	if err := r.read(); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the file is empty; its first line must be %s", r.file, columnList())
	} else if err != nil {
		return err
	}
	r.record[0] = strings.TrimPrefix(r.record[0], "\ufeff") // as spreadsheets write it
	for i, name := range r.record {
		r.index[strings.TrimSpace(name)] = i
	}
	var missing []string
	for _, name := range columns {
		if _, ok := r.index[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s:1: there is no column %s; the first line must name the columns %s", r.file, strings.Join(missing, ", "), columnList())
	}
	return nil
}

// read reads the next record.
func (r *catalogReader) read() (err error) {
	r.record, err = r.csv.Read()
	if fault, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%s:%d:%d: not CSV: %w", r.file, fault.Line, fault.Column, fault.Err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	return err
}

func (r *catalogReader) book() (Book, error) {
	if err := r.read(); err != nil {
		return Book{}, err
	}
	r.err = nil
	b := Book{
		ID:      r.integer("book_id", 1, 1<<53),
		Authors: r.authors(),
		Year:    int(r.year()),
		Title:   r.text("title"),
		Rating:  r.rating(),
		Ratings: r.integer("ratings_count", 0, 1_000_000_000),
	}
	line, _ := r.csv.FieldPos(0)
	if first, ok := r.seen[b.ID]; ok {
		r.fault("book_id", "%d is the book of line %d already", b.ID, first)
	}
	r.seen[b.ID] = line
	return b, r.err
}

// fault notes what is wrong with a column, if it is the record's first fault.
func (r *catalogReader) fault(column, format string, args ...any) {
	if r.err == nil {
		line, col := r.csv.FieldPos(r.index[column])
		r.err = fmt.Errorf("%s:%d:%d: %s: %s", r.file, line, col, column, fmt.Sprintf(format, args...))
	}
}

// text returns a column that may not be empty, with its white space normalized.
func (r *catalogReader) text(column string) string {
	s := r.record[r.index[column]]
	if !utf8.ValidString(s) {
		r.fault(column, "%q is not UTF-8; convert the file", cut(s))
	}
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		r.fault(column, "it is empty")
	}
	return s
}

// authors splits "Karl Marx, Friedrich Engels". Some files name one twice.
func (r *catalogReader) authors() []string {
	var names []string
	for name := range strings.SplitSeq(r.text("authors"), ", ") {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (r *catalogReader) integer(column string, low, high int64) int64 {
	s := r.record[r.index[column]]
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < low || n > high {
		r.fault(column, "%q is not a whole number from %d to %d", cut(s), low, high)
	}
	return n
}

func (r *catalogReader) year() int64 {
	if r.record[r.index["year"]] == "" {
		return 0
	}
	return r.integer("year", -5000, 5000)
}

func (r *catalogReader) rating() float64 {
	s := r.record[r.index["average_rating"]]
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0 && x <= 5) { // as NaN is not
		r.fault("average_rating", "%q is not a number from 0 to 5", cut(s))
	}
	return x
}

// cut shortens what an error quotes.
func cut(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
