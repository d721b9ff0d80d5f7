package codec

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// These benchmarks are the evidence for the choice of library and level: time and size for
// bodies as a shop would have them.
//
//	make bench BENCH=Algorithm COUNT=6

// An algorithm is one way to compress a body.
type algorithm struct {
	name   string
	encode func(raw []byte) []byte
	decode func(compressed []byte, rawLen int) ([]byte, error)
}

func algorithms(t testing.TB) []algorithm {
	reader, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	require.NoError(t, err)
	t.Cleanup(reader.Close)
	unzstd := func(compressed []byte, rawLen int) ([]byte, error) {
		return reader.DecodeAll(compressed, make([]byte, 0, rawLen))
	}
	uns2 := func(compressed []byte, rawLen int) ([]byte, error) {
		return s2.Decode(make([]byte, rawLen), compressed)
	}
	list := []algorithm{
		{"s2", func(raw []byte) []byte { return s2.Encode(nil, raw) }, uns2},
		{"s2-better", func(raw []byte) []byte { return s2.EncodeBetter(nil, raw) }, uns2},
		{"s2-best", func(raw []byte) []byte { return s2.EncodeBest(nil, raw) }, uns2},
	}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		writer, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))
		require.NoError(t, err)
		list = append(list, algorithm{
			"zstd-" + level.String(),
			func(raw []byte) []byte { return writer.EncodeAll(raw, nil) },
			unzstd,
		})
	}
	return list
}

// someIDs are n ids of a catalogue, in no order.
func someIDs(n int) []int64 {
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = random.Int64N(40_000_000)
	}
	return ids
}

// someBooks are n books with texts of their own: words of this package's source, drawn so that
// some words are frequent, as in any language.
func someBooks(n int) []book {
	text, err := os.ReadFile("plan.go")
	if err != nil {
		panic(err)
	}
	words := strings.Fields(string(text))
	random := rand.New(rand.NewPCG(3, 4))
	some := func(n int) string {
		drawn := make([]string, n)
		for i := range drawn {
			drawn[i] = words[random.IntN(len(words))]
		}
		return strings.Join(drawn, " ")
	}
	books := make([]book, n)
	for i := range books {
		books[i] = book{
			ID: random.Int64N(40_000_000), Title: some(4), Subtitle: some(5),
			Authors: []author{{random.Int64N(1_000_000), some(2)}, {random.Int64N(1_000_000), some(2)}},
			ISBN:    fmt.Sprintf("978-%d", random.Int64N(1e10)), Pages: random.IntN(1000), Price: float64(random.IntN(10_000)) / 100,
			Published: time.Unix(random.Int64N(1_700_000_000), 0).UTC(), Tags: []string{some(1), some(1), some(1)},
			Abstract: some(60),
		}
	}
	return books
}

// bodies returns the bodies to compress, by name.
func bodies(t testing.TB) map[string][]byte {
	encoded := func(v any) []byte {
		body, err := encodeResults(nil, []reflect.Value{reflect.ValueOf(v)})
		require.NoError(t, err)
		return body
	}
	return map[string][]byte{
		"ids-4KiB":         encoded(someIDs(830)),
		"ids-64KiB":        encoded(someIDs(13_100)),
		"books-4KiB":       encoded(someBooks(7)),
		"books-64KiB":      encoded(someBooks(103)),
		"JSON-ids-64KiB":   must(json.Marshal(someIDs(7500))),
		"JSON-books-64KiB": must(json.Marshal(someBooks(90))),
	}
}

var bodyNames = []string{"ids-4KiB", "ids-64KiB", "books-4KiB", "books-64KiB", "JSON-ids-64KiB", "JSON-books-64KiB"}

func BenchmarkAlgorithmDecode(b *testing.B) {
	all := bodies(b)
	for _, name := range bodyNames {
		body := all[name]
		for _, a := range algorithms(b) {
			b.Run(name+"/"+a.name, func(b *testing.B) {
				compressed := a.encode(body)
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.decode(compressed, len(body)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(100*float64(len(compressed))/float64(len(body)), "size%")
			})
		}
	}
}

func BenchmarkAlgorithmEncode(b *testing.B) {
	all := bodies(b)
	for _, name := range bodyNames {
		body := all[name]
		for _, a := range algorithms(b) {
			b.Run(name+"/"+a.name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					a.encode(body)
				}
			})
		}
	}
}

func BenchmarkDecode_IDs64KiB(b *testing.B)   { benchmarkDecode(b, someIDs(13_100)) }
func BenchmarkDecode_Books64KiB(b *testing.B) { benchmarkDecode(b, someBooks(103)) }

// benchmarkDecodeBy decodes a body in a format. The comment of the JSON codec quotes its
// results.
func benchmarkDecodeBy[T any](b *testing.B, format Format, v T) {
	results := resultsOf(b, reflect.TypeFor[T]())
	body, err := results.Append(nil, format, []any{&v})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		var got T
		if err := results.Decode(body, format, []any{&got}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(body)), "bytes")
}

func BenchmarkCodec_TenIntsCBOR(b *testing.B)    { benchmarkDecodeBy(b, CBOR, tenInts()) }
func BenchmarkCodec_TenIntsJSON(b *testing.B)    { benchmarkDecodeBy(b, JSON, tenInts()) }
func BenchmarkCodec_Struct700BCBOR(b *testing.B) { benchmarkDecodeBy(b, CBOR, aBook()) }
func BenchmarkCodec_Struct700BJSON(b *testing.B) { benchmarkDecodeBy(b, JSON, aBook()) }
func BenchmarkCodec_Books64KiBCBOR(b *testing.B) { benchmarkDecodeBy(b, CBOR, someBooks(103)) }
func BenchmarkCodec_Books64KiBJSON(b *testing.B) { benchmarkDecodeBy(b, JSON, someBooks(103)) }
