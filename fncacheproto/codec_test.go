package fncacheproto_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/fncache/fncache/fncacheproto"
	"github.com/fncache/fncache/fncacheproto/internal/opaque"
	"github.com/fncache/fncache/fncacheproto/internal/shop"
)

// FuzzBodiesAreAnErrorOrAValue reads bytes that another program may have written. That gives an
// error, or messages that can be written and read again unchanged.
func FuzzBodiesAreAnErrorOrAValue(f *testing.F) {
	body, err := fncacheproto.Codec.Encode([]any{&[]*shop.Book{fullBook(f), nil}, new(*opaque.Note)})
	require.NoError(f, err)
	f.Add(body)
	f.Add(body[:len(body)-1])
	f.Add([]byte("\x82\xf6\x40"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var books []*shop.Book
		var note *opaque.Note
		if fncacheproto.Codec.Decode(body, []any{&books, &note}) != nil {
			return
		}
		again, err := fncacheproto.Codec.Encode([]any{&books, &note})
		require.NoError(t, err)
		var books2 []*shop.Book
		var note2 *opaque.Note
		require.NoError(t, fncacheproto.Codec.Decode(again, []any{&books2, &note2}))
		require.Len(t, books2, len(books))
		for i := range books {
			assert.True(t, proto.Equal(books[i], books2[i]))
		}
		assert.True(t, proto.Equal(note, note2))
	})
}

func BenchmarkCodec(b *testing.B) {
	book := fullBook(b)
	body, err := fncacheproto.Codec.Encode([]any{&book})
	require.NoError(b, err)
	raw, err := proto.Marshal(book)
	require.NoError(b, err)
	for name, run := range map[string]func() error{
		"Encode/Codec": func() error { _, err := fncacheproto.Codec.Encode([]any{&book}); return err },
		"Encode/proto": func() error { _, err := proto.Marshal(book); return err },
		"Decode/Codec": func() error { var to *shop.Book; return fncacheproto.Codec.Decode(body, []any{&to}) },
		"Decode/proto": func() error { return proto.Unmarshal(raw, new(shop.Book)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
