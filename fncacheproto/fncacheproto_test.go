package fncacheproto_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncacheproto"
	"github.com/fncache/fncache/fncacheproto/internal/opaque"
	"github.com/fncache/fncache/fncacheproto/internal/shop"
	"github.com/fncache/fncache/fncachetest"
	"github.com/fncache/fncache/internal/bubbletest"
)

func newCache(t testing.TB) *fncachetest.Cache {
	return fncachetest.New(t, func(c *fncache.Config) { c.Codec = fncacheproto.Codec })
}

// fullBook has a value in every field, and one of a field that this release does not know.
func fullBook(t testing.TB) *shop.Book {
	extra, err := anypb.New(&shop.Discount{Cents: 5})
	require.NoError(t, err)
	book := &shop.Book{
		Id: 7, Title: "Emma", Authors: []string{"Jane Austen"}, Stock: map[string]int32{"London": 3, "Bath": 0},
		Edition: proto.Int32(0), Price: &shop.Book_Discount{Discount: &shop.Discount{Cents: 999, Percent: 10}},
		Published: timestamppb.New(time.Date(1815, 12, 23, 0, 0, 0, 1, time.UTC)), Shelf: shop.Shelf_SHELF_FICTION,
		Cover: []byte{0, 0xff}, Rating: math.Inf(1), Sequels: []*shop.Book{{Id: 8}}, Extra: extra,
	}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 20, protowire.VarintType), 474)
	book.ProtoReflect().SetUnknown(unknown)
	return book
}

// twice calls a function that is wrapped on a new cache. The results are computed, and then read.
func twice[T any](t *testing.T, value T) (computed, fresh T) {
	t.Helper()
	fn := func(context.Context) (T, error) { return value, nil }
	_, err := fncache.Wrap(&fn, fncache.Options{Cache: newCache(t).Cache, Name: "test.Value", Timeout: time.Hour})
	require.NoError(t, err)
	var from [2]fncache.Info
	computed, err = fn(fncache.WithInfo(t.Context(), &from[0]))
	require.NoError(t, err)
	fresh, err = fn(fncache.WithInfo(t.Context(), &from[1]))
	require.NoError(t, err)
	require.Equal(t, fncache.SourceComputed, from[0].Source)
	require.Equal(t, fncache.SourceFresh, from[1].Source)
	return computed, fresh
}

func TestMessagesComeBackWithOneofsAndUnknownFields(t *testing.T) {
	note := &opaque.Note{}
	note.SetText("read this")
	note.SetGroup(0) // a member of a oneof that is set to its zero value
	for name, message := range map[string]proto.Message{
		"every kind of field":     fullBook(t),
		"another member of oneof": &shop.Book{Price: &shop.Book_OnRequest{OnRequest: ""}},
		"empty":                   &shop.Book{},
		"opaque":                  note,
		"of another package":      timestamppb.Now(),
	} {
		t.Run(name, func(t *testing.T) {
			var computed, fresh proto.Message
			switch m := message.(type) { // a function returns a concrete type
			case *shop.Book:
				computed, fresh = twice(t, m)
			case *opaque.Note:
				computed, fresh = twice(t, m)
			case *timestamppb.Timestamp:
				computed, fresh = twice(t, m)
			}
			for _, got := range []proto.Message{computed, fresh} {
				assert.True(t, proto.Equal(message, got), "%v comes back as %v", message, got)
				assert.Equal(t, message.ProtoReflect().GetUnknown(), got.ProtoReflect().GetUnknown())
				assert.NotSame(t, message, got)
			}
		})
	}
}

// A Page embeds a message, and has a field of its own.
type Page struct {
	*shop.Book
	Number int
	Notes  map[string]*opaque.Note
	Rows   [][]*shop.Book
}

func TestMessagesStandWithinSlicesMapsAndStructs(t *testing.T) {
	note := &opaque.Note{}
	note.SetReader("Ann")
	page := Page{
		Book: fullBook(t), Number: 3,
		Notes: map[string]*opaque.Note{"a": note, "none": nil},
		Rows:  [][]*shop.Book{nil, {}, {nil, {Id: 1}}},
	}
	computed, fresh := twice(t, page)
	for _, got := range []Page{computed, fresh} {
		assert.True(t, proto.Equal(page.Book, got.Book))
		assert.Equal(t, 3, got.Number, "a struct that embeds a message has the methods of one, and is none")
		assert.Nil(t, got.Notes["none"])
		assert.Len(t, got.Notes, 2)
		assert.True(t, proto.Equal(note, got.Notes["a"]))
		assert.Nil(t, got.Rows[0])
		assert.NotNil(t, got.Rows[1])
		assert.Nil(t, got.Rows[2][0])
		assert.EqualValues(t, 1, got.Rows[2][1].GetId())
	}
	none, fresh2 := twice[*shop.Book](t, nil)
	assert.True(t, none == nil && fresh2 == nil, "nil is not an empty message")
}

func TestOtherResultsAreAsUnderCBOR(t *testing.T) {
	type plain struct {
		A []int
		B map[string]time.Duration
	}
	want := plain{[]int{1}, map[string]time.Duration{"x": time.Second}}
	computed, fresh := twice(t, want)
	assert.Equal(t, want, computed)
	assert.Equal(t, want, fresh)

	hidden := func(context.Context) (struct{ a int }, error) { return struct{ a int }{}, nil }
	_, err := fncache.Wrap(&hidden, fncache.Options{Cache: newCache(t).Cache, Name: "test.Hidden", Timeout: time.Hour})
	assert.ErrorContains(t, err, "has no exported field")
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	cache := newCache(t)
	refused := func(fn any, c *fncache.Cache) error {
		opts := fncache.Options{Cache: c, Name: "test.Refused", Timeout: time.Hour}
		var f *fncache.Func
		var err error
		switch fn := fn.(type) {
		case func() (shop.Book, error):
			f, err = fncache.Wrap(&fn, opts)
		case func() ([]*dynamicpb.Message, error):
			f, err = fncache.Wrap(&fn, opts)
		case func() (proto.Message, error):
			f, err = fncache.Wrap(&fn, opts)
		case func() (*shop.Book, error):
			f, err = fncache.Wrap(&fn, opts)
		}
		require.Nil(t, f)
		return err
	}
	const remedy = "return a pointer to it, and wrap the function for a cache whose Config.Codec is that of package fncacheproto"
	for name, c := range map[string]struct {
		fn    any
		cache *fncache.Cache
		want  []string
	}{
		"by value":          {func() (shop.Book, error) { panic("") }, cache.Cache, []string{"result 1: shop.Book is a message of Protocol Buffers", remedy}}, //nolint:govet // it is refused
		"dynamic":           {func() ([]*dynamicpb.Message, error) { panic("") }, cache.Cache, []string{"result 1: []*dynamicpb.Message[] (*dynamicpb.Message) has its fields in a descriptor", "return a pointer to a generated message"}},
		"an interface":      {func() (proto.Message, error) { panic("") }, cache.Cache, []string{"return a concrete type"}},
		"under CBOR":        {func() (*shop.Book, error) { panic("") }, fncachetest.New(t).Cache, []string{"result 1: *shop.Book", "is a message of Protocol Buffers", remedy}},
		"before SetDefault": {func() (*shop.Book, error) { panic("") }, nil, []string{"or call SetDefault first"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := refused(c.fn, c.cache)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "sizeCache", "what is generated is nobody's business")
		})
	}
}

func TestTheDefaultCacheDecidesIfItIsThereWhenWrapping(t *testing.T) {
	fncache.SetDefault(newCache(t).Cache)
	defer fncache.SetDefault(nil)
	fn := func(context.Context) (*shop.Book, error) { return fullBook(t), nil }
	f, err := fncache.Wrap(&fn, fncache.Options{Name: "test.Default", Timeout: time.Hour})
	require.NoError(t, err)
	defer f.Unwrap()
	for range 2 {
		book, err := fn(t.Context())
		require.NoError(t, err)
		assert.True(t, proto.Equal(fullBook(t), book))
	}
	assert.EqualValues(t, 1, f.Stats().Fresh)

	fncache.SetDefault(fncachetest.New(t).Cache) // this cache stores no messages
	book, err := fn(t.Context())
	require.NoError(t, err)
	assert.True(t, proto.Equal(fullBook(t), book), "what cannot be stored is returned as it is")
	assert.EqualValues(t, 1, f.Stats().Fresh)
}

func TestWhatCannotBeMarshaledIsReturnedAndNotStored(t *testing.T) {
	cache := newCache(t)
	fn := func(context.Context) (*shop.Book, error) { return &shop.Book{Title: "\xff"}, nil }
	f, err := fncache.Wrap(&fn, fncache.Options{Cache: cache.Cache, Name: "test.Invalid", Timeout: time.Hour})
	require.NoError(t, err)
	book, err := fn(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "\xff", book.GetTitle())
	key, err := f.Key()
	require.NoError(t, err)
	assert.False(t, cache.Redis.Exists(key))
}

func TestBytesThatAreNoMessageAreAMiss(t *testing.T) {
	cache := newCache(t)
	fn := func(context.Context) (*shop.Book, error) { return &shop.Book{Title: "Emma"}, nil }
	f, err := fncache.Wrap(&fn, fncache.Options{Cache: cache.Cache, Name: "test.Damaged", Timeout: time.Hour})
	require.NoError(t, err)
	_, err = fn(t.Context())
	require.NoError(t, err)
	key, err := f.Key()
	require.NoError(t, err)
	raw, err := cache.Redis.Get(key)
	require.NoError(t, err)
	require.Contains(t, raw, "\x12\x04Emma")
	require.NoError(t, cache.Redis.Set(key, strings.Replace(raw, "\x12\x04Emma", "\x12\x09Emma", 1))) // longer than the rest
	book, err := fn(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "Emma", book.GetTitle())
	assert.EqualValues(t, 1, f.Stats().Undecodable)
}

func TestCallersShareNoMemory(t *testing.T) {
	cache := newCache(t)
	fn := func(context.Context) (*shop.Book, error) { return fullBook(t), nil }
	_, err := fncache.Wrap(&fn, fncache.Options{Cache: cache.Cache, Name: "test.Near", Timeout: time.Hour, Near: time.Minute})
	require.NoError(t, err)
	for range 3 {
		book, err := fn(t.Context())
		require.NoError(t, err)
		require.True(t, proto.Equal(fullBook(t), book))
		book.Cover[0], book.Sequels[0].Id, book.Stock["London"] = 9, 9, 9
	}
}

func TestCallersOfOneComputationShareNoMemory(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	fn := func(context.Context) (*shop.Book, error) {
		close(begun)
		<-end
		return fullBook(t), nil
	}
	f, err := fncache.Wrap(&fn, fncache.Options{Cache: newCache(t).Cache, Name: "test.Shared", Timeout: time.Hour, OnCold: fncache.Wait})
	require.NoError(t, err)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			book, err := fn(t.Context())
			if assert.NoError(t, err) {
				assert.True(t, proto.Equal(fullBook(t), book))
				book.Cover[0], book.Stock["London"], book.Sequels[0].Id = byte(i), int32(i), int64(i)
			}
		})
	}
	<-begun
	close(end)
	callers.Wait()
	assert.EqualValues(t, 1, f.Stats().Computations)
}

// TestAReleaseThatAddsAFieldStartsWarm lets a process of the next release read what this one
// stored, and this one what that process stored. Only that release knows field 20.
func TestAReleaseThatAddsAFieldStartsWarm(t *testing.T) {
	program := filepath.Join(t.TempDir(), "release")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./internal/release").CombinedOutput()
	require.NoError(t, err, "%s", output)

	cache := newCache(t)
	require.NoError(t, cache.Redis.Start()) // also on a port
	defer cache.Redis.Close()
	var from fncache.Info
	fn := func(_ context.Context, id int64) (*shop.Book, error) { return fullBook(t), nil }
	_, err = fncache.Wrap(&fn, fncache.Options{Cache: cache.Cache, Name: "shop.BookByID", Timeout: time.Hour})
	require.NoError(t, err)
	stored, err := fn(t.Context(), 1)
	require.NoError(t, err)

	output, err = exec.CommandContext(t.Context(), program, cache.Redis.Addr()).Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	require.Len(t, lines, 2)
	var source, title string
	var pages, size int
	scan(t, lines[0], &source, &title, &pages, &size)
	assert.Equal(t, "fresh", source)
	assert.Equal(t, 474, pages, "what is unknown to this release is known to the next")
	assert.Equal(t, proto.Size(stored), size, "and the other way round")
	scan(t, lines[1], &source, &title, &pages, &size)
	assert.Equal(t, "computed", source)

	book, err := fn(fncache.WithInfo(t.Context(), &from), 2)
	require.NoError(t, err)
	assert.Equal(t, fncache.SourceFresh, from.Source)
	number, kind, n := protowire.ConsumeTag(book.ProtoReflect().GetUnknown())
	require.Positive(t, n)
	assert.EqualValues(t, 20, number)
	assert.Equal(t, protowire.VarintType, kind)
}

func scan(t *testing.T, line string, into ...any) {
	t.Helper()
	_, err := fmt.Sscanf(line, "%s %q %d %d", into...)
	require.NoError(t, err, line)
}

func TestMessagesOfTwoNamesAreTwoTypes(t *testing.T) {
	cache := newCache(t)
	keyOf := func(fn func() (*fncache.Func, error)) string {
		f, err := fn()
		require.NoError(t, err)
		defer f.Unwrap()
		key, err := f.Key()
		require.NoError(t, err)
		return key
	}
	opts := fncache.Options{Cache: cache.Cache, Name: "test.Names", Timeout: time.Hour}
	book := func() (*shop.Book, error) { return nil, nil }
	discount := func() (*shop.Discount, error) { return nil, nil }
	assert.NotEqual(t,
		keyOf(func() (*fncache.Func, error) { return fncache.Wrap(&book, opts) }),
		keyOf(func() (*fncache.Func, error) { return fncache.Wrap(&discount, opts) }))
}

func TestABatchOfMessagesTellsNilFromMissing(t *testing.T) {
	runs := 0
	get := func(_ context.Context, ids []int64) (map[int64]*shop.Book, error) {
		runs++
		return map[int64]*shop.Book{1: fullBook(t), 2: nil, 3: {}}, nil
	}
	_, err := fncache.WrapBatch(&get, fncache.Options{Cache: newCache(t).Cache, Name: "test.Books", Timeout: time.Hour, MissingTimeout: time.Hour})
	require.NoError(t, err)
	for range 2 {
		found, err := get(t.Context(), []int64{1, 2, 3, 4})
		require.NoError(t, err)
		require.Len(t, found, 3)
		assert.True(t, proto.Equal(fullBook(t), found[1]))
		assert.True(t, found[2] == nil, "nil is a value")
		assert.NotNil(t, found[3])
		_, known := found[4]
		assert.False(t, known)
	}
	assert.Equal(t, 1, runs)
}

// TestMessagesAreSealedAndVerified has maps in messages, whose order differs from time to time.
func TestMessagesAreSealedAndVerified(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		cache := fncachetest.New(t, func(c *fncache.Config) {
			c.Codec, c.Seal = fncacheproto.Codec, [][]byte{bytes.Repeat([]byte{7}, 32)}
		})
		pages := int32(1)
		fn := func(context.Context) ([]*shop.Book, error) {
			book := fullBook(t)
			for i := range int32(50) {
				book.Stock[fmt.Sprint("shop ", i)] = i + pages
			}
			return []*shop.Book{book, nil}, nil
		}
		f, err := fncache.Wrap(&fn, fncache.Options{Cache: cache.Cache, Name: "test.Sealed", Timeout: time.Hour, Verify: 1})
		require.NoError(t, err)
		call := func() {
			books, err := fn(t.Context())
			require.NoError(t, err)
			assert.Len(t, books[0].GetStock(), 52)
			time.Sleep(3 * time.Second) // of the bubble: until the hit is verified
		}
		for range 6 {
			call()
		}
		assert.EqualValues(t, 5, f.Stats().Verified)
		assert.Zero(t, f.Stats().VerifyDiffered, "equal messages have equal encodings")
		pages = 2
		call()
		assert.EqualValues(t, 1, f.Stats().VerifyDiffered)
		key, err := f.Key()
		require.NoError(t, err)
		raw, err := cache.Redis.Get(key)
		require.NoError(t, err)
		assert.NotContains(t, raw, "Emma")
	})
}
