package codec

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// A book is encoded in about 700 bytes.
type book struct {
	ID        int64     `json:"id"`
	Title     string    `json:"title"`
	Subtitle  string    `json:"subtitle"`
	Authors   []author  `json:"authors"`
	ISBN      string    `json:"isbn"`
	Pages     int       `json:"pages"`
	Price     float64   `json:"price"`
	Published time.Time `json:"published"`
	Tags      []string  `json:"tags"`
	Abstract  string    `json:"abstract"`
}

type author struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func tenInts() []int64 {
	return []int64{1, 22, 333, 4444, 55555, 666666, 7777777, 88888888, 999999999, 1234567890123}
}

func aBook() book {
	return book{
		ID: 123456789, Title: "The Art of Computer Programming", Subtitle: "Volume 1: Fundamental Algorithms",
		Authors: []author{{1, "Donald E. Knuth"}, {2, "Somebody Else"}}, ISBN: "978-0-201-89683-1", Pages: 672, Price: 79.99,
		Published: time.Date(1997, 7, 4, 0, 0, 0, 0, time.UTC), Tags: []string{"algorithms", "mathematics", "classic"},
		Abstract: "The bible of all fundamental algorithms and the work that taught many of today's software developers most of what they " +
			"know about computer programming. It begins with basic programming concepts and techniques, then focuses on information " +
			"structures: the representation of information inside a computer, the structural relationships between data elements.",
	}
}

func benchmarkDecode[T any](b *testing.B, v T) {
	results := resultsOf(b, reflect.TypeFor[T]())
	body, err := results.Append(nil, CBOR, []any{&v})
	require.NoError(b, err)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var got T
		if err := results.Decode(body, CBOR, []any{&got}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkBareDecode is fxamacker/cbor with its defaults.
func benchmarkBareDecode[T any](b *testing.B, v T) {
	body, err := cbor.Marshal(v)
	require.NoError(b, err)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var got T
		if err := cbor.Unmarshal(body, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEncode[T any](b *testing.B, v T) {
	results, from := resultsOf(b, reflect.TypeFor[T]()), []any{&v}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := results.Append(make([]byte, 32), CBOR, from); err != nil { // as after a header
			b.Fatal(err)
		}
	}
}

func benchmarkBareEncode(b *testing.B, v any) {
	mode := must(cbor.EncOptions{}.EncMode())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mode.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func aMap() map[string]int {
	m := make(map[string]int)
	for i := range 100 {
		m[fmt.Sprint("key-", i)] = i
	}
	return m
}

func BenchmarkDecode_TenInts(b *testing.B)        { benchmarkDecode(b, tenInts()) }
func BenchmarkBareDecode_TenInts(b *testing.B)    { benchmarkBareDecode(b, tenInts()) }
func BenchmarkDecode_Struct700B(b *testing.B)     { benchmarkDecode(b, aBook()) }
func BenchmarkBareDecode_Struct700B(b *testing.B) { benchmarkBareDecode(b, aBook()) }
func BenchmarkDecode_Map100(b *testing.B)         { benchmarkDecode(b, aMap()) }
func BenchmarkBareDecode_Map100(b *testing.B)     { benchmarkBareDecode(b, aMap()) }
func BenchmarkEncode_TenInts(b *testing.B)        { benchmarkEncode(b, tenInts()) }
func BenchmarkBareEncode_TenInts(b *testing.B)    { benchmarkBareEncode(b, tenInts()) }
func BenchmarkEncode_Struct700B(b *testing.B)     { benchmarkEncode(b, aBook()) }
func BenchmarkBareEncode_Struct700B(b *testing.B) { benchmarkBareEncode(b, aBook()) }
