package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fncache/fncache/bench/internal/peers"
)

// The cached values, in three sizes.
type (
	// ids is a list of ten ids.
	ids = []int64
	// book is about 700 bytes.
	book struct {
		ID          int64
		Title       string
		Authors     []string
		Year        int
		Rating      float64
		Ratings     int64
		InPrint     bool
		Subjects    map[string]int
		Description string
	}
	// page is 64 KiB of text.
	page struct {
		ID   int64
		Text string
	}
)

// tenIDs returns ids that begin with the argument of the function or, in stampedes and storms, with
// the version of the value.
func tenIDs(first int64) ids {
	return ids{first, 3, 41865, 2657, 4671, 11870085, 5907, 5107, 960, 1885}
}

const description = "A stranger comes to a town where nobody is in a hurry, and asks after a book that the library lent " +
	"thirty years ago and never saw again. Everybody has read it, nobody remembers how it ends, and each tells " +
	"another story. By the time the stranger has heard them all it is winter, the road is closed, and the only one " +
	"who might know the end is the one who took the book. A novel about memory, snow, and returning things late."

func aBook(id int64) book {
	return book{
		ID:          id,
		Title:       fmt.Sprintf("The Late Return, volume %d", id),
		Authors:     []string{"A. N. Author", "Another Writer"},
		Year:        1974,
		Rating:      4.25,
		Ratings:     98_304,
		InPrint:     true,
		Subjects:    map[string]int{"libraries": 12, "memory": 7, "snow": 3},
		Description: description,
	}
}

const pageSize = 64 << 10

// text is the content of pages: prose that compresses like prose, so that no codec finds the same
// sentence repeatedly.
var text = func() string {
	words := strings.Fields(description)
	var b strings.Builder
	for i := uint32(1); b.Len() < pageSize; i++ {
		mixed := i * 2654435761
		b.WriteString(words[(mixed>>16)%uint32(len(words))])
		fmt.Fprintf(&b, "%x ", mixed&0xff)
	}
	return b.String()[:pageSize]
}()

func aPage(id int64) page { return page{ID: id, Text: text} }

// atOnce makes a source of a value. The source takes no time.
func atOnce[V any](value func(id int64) V) peers.Source[V] {
	return func(_ context.Context, id int64) (V, error) { return value(id), nil }
}
