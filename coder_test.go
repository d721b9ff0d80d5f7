package fncache_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/redistest"
)

// gobCodec is a codec as users may have one.
type gobCodec struct{ name string }

func (g gobCodec) Name() string { return g.name }

func (gobCodec) Encode(results []any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := gob.NewEncoder(&buf)
	for _, result := range results {
		if err := encoder.Encode(result); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), nil
}

func (gobCodec) Decode(body []byte, results []any) error {
	decoder := gob.NewDecoder(bytes.NewReader(body))
	for _, result := range results {
		if err := decoder.Decode(result); err != nil {
			return err
		}
	}
	return nil
}

// xorCodec is a codec around another one.
type xorCodec struct{ CBOR }

func (xorCodec) Name() string { return "xor" }

func (c xorCodec) Encode(results []any) ([]byte, error) {
	body, err := c.CBOR.Encode(results)
	return xor(body), err
}

func (c xorCodec) Decode(body []byte, results []any) error { return c.CBOR.Decode(xor(body), results) }

func xor(b []byte) []byte {
	for i := range b { // in place: the body is a copy
		b[i] ^= 0x55
	}
	return b
}

// errMoody is an error whose text quotes a value.
const quoted = "value-that-must-not-be-logged"

var errMoody = errors.New("cannot take " + quoted)

// moodyCodec does what a test says.
type moodyCodec struct {
	encode func(results []any) ([]byte, error)
	decode func(body []byte, results []any) error
}

func (*moodyCodec) Name() string                        { return "moody" }
func (c *moodyCodec) Encode(r []any) ([]byte, error)    { return c.encode(r) }
func (c *moodyCodec) Decode(body []byte, r []any) error { return c.decode(body, r) }

func withCodec(codec Codec) func(*Config) { return func(c *Config) { c.Codec = codec } }

func TestEachCodecHasEntriesOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		keys := map[string]bool{}
		page := plainPage{Author: "Jane Austen", Years: []int{1813, 1815}, At: time.Date(2024, 2, 29, 12, 0, 0, 1, time.UTC)}
		codecs := []Codec{nil, JSON{}, gobCodec{"gob"}, gobCodec{"gob 2"}, gobCodec{"cbor2"}, gobCodec{"json2"}, xorCodec{}}
		for i, codec := range codecs {
			fn := func(context.Context, int) (plainPage, int, error) { return page, i, nil }
			opts := Options{Cache: b.cache(withCodec(codec)), Name: "test.Books", Timeout: time.Minute}
			f := must(Wrap(&fn, opts))
			for range 3 {
				got, from, err := fn(t.Context(), 1)
				require.NoError(t, err)
				require.Equal(t, page, got)
				require.Equal(t, i, from, "nobody reads what another codec has written")
			}
			stats := f.Stats()
			assert.EqualValues(t, 1, stats.Computations)
			assert.EqualValues(t, 2, stats.Fresh)
			assert.Zero(t, stats.Undecodable)
			key := must(f.Key(1))
			keys[key] = true
			want := map[Codec]byte{nil: 1, JSON{}: 2}[codec]
			if want == 0 {
				want = 255
			}
			assert.Equal(t, want, must(b.redis.Get(key))[codecAt])
		}
		assert.Len(t, keys, len(codecs))
		assert.Empty(t, b.log.About(""))
	})
}

func TestTheDefaultCodecGivenIsTheDefault(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		given, none := wrap(t, b.cache(withCodec(CBOR{})), &source{}, Options{}), wrap(t, b.cache(), &source{}, Options{})
		assert.Equal(t, must(none.Key("a")), must(given.Key("a")))
		assert.Regexp(t, "}:"+given.Fingerprint()+"$", must(given.Key("a")))
		given.get(t.Context(), "a")
		assert.Equal(t, SourceFresh, none.get(t.Context(), "a").source)
	})
}

func TestTheCodecIsThatOfTheCacheFoundAtTheCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context) ([]int, error) { return []int{1, 2}, nil }
		f := must(Wrap(&fn, Options{Name: "test.Late", Timeout: time.Minute}))
		defer f.Unwrap()
		defer SetDefault(nil)
		for _, codec := range []Codec{JSON{}, nil} {
			SetDefault(b.cache(withCodec(codec)))
			for range 2 {
				got, err := fn(t.Context())
				require.NoError(t, err)
				require.Equal(t, []int{1, 2}, got)
			}
			raw := must(b.redis.Get(must(f.Key())))
			assert.Equal(t, codec != nil, raw[bodyAt:] == "[[1,2]]")
		}
		assert.EqualValues(t, 2, f.Stats().Computations)
		assert.EqualValues(t, 2, f.Stats().Fresh)
	})
}

func TestAnEntryOfAnotherCodecUnderTheKeyIsAMiss(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(withCodec(JSON{})), &source{}, Options{})
		w.get(t.Context(), "a")
		key := must(w.Key("a"))
		raw := []byte(must(b.redis.Get(key)))
		raw[codecAt] = 255
		require.NoError(t, b.redis.Set(key, string(raw)))
		o := w.get(t.Context(), "a")
		assert.Equal(t, SourceComputed, o.source)
		assert.EqualValues(t, 1, w.Stats().Undecodable)
		assert.Len(t, b.log.About("unknown codec entry: byte 6: codec 255, the cache has 2"), 1)
	})
}

func TestACodecThatFailsIsAMissAndNeverACrash(t *testing.T) {
	good := gobCodec{}
	for name, c := range map[string]struct {
		change func(*moodyCodec)
		log    string
	}{
		"encode fails":     {func(c *moodyCodec) { c.encode = func([]any) ([]byte, error) { return nil, errMoody } }, `encode by codec "moody": *errors.errorString, whose text may quote the value`},
		"encode panics":    {func(c *moodyCodec) { c.encode = func([]any) ([]byte, error) { panic(quoted) } }, `encode by codec "moody": panic with a string`},
		"encode breaks":    {func(c *moodyCodec) { c.encode = func(r []any) ([]byte, error) { return nil, r[7].(error) } }, `encode by codec "moody": panic: runtime error: index out of range`},
		"encodes nothing":  {func(c *moodyCodec) { c.encode = func([]any) ([]byte, error) { return nil, nil } }, `decode by codec "moody": ends too early`},
		"encodes nonsense": {func(c *moodyCodec) { c.encode = func([]any) ([]byte, error) { return []byte(quoted), nil } }, `decode by codec "moody": `},
		"decode fails":     {func(c *moodyCodec) { c.decode = func([]byte, []any) error { return fmt.Errorf("no: %w", errMoody) } }, `decode by codec "moody": *errors.errorString`},
		"decode panics":    {func(c *moodyCodec) { c.decode = func([]byte, []any) error { panic(errMoody) } }, `decode by codec "moody": panic with a *errors.errorString`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				codec := &moodyCodec{good.Encode, good.Decode}
				w := wrap(t, b.cache(withCodec(codec)), &source{}, Options{})
				require.Equal(t, 1, w.get(t.Context(), "a").value)
				require.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
				c.change(codec)
				for i, arg := range []string{"b", "b", "c"} { // nothing there, and nothing can be put there
					o := w.get(t.Context(), arg)
					assert.Equal(t, outcome{value: i + 2, source: SourceComputed}, o, "as the function returned it")
				}
				o := w.get(t.Context(), "a") // something there
				require.NoError(t, o.err)
				assert.Contains(t, []int{1, 5}, o.value)
				assert.EqualValues(t, 1, requireIdentity(t, w.Func).Stored)
				assert.Len(t, b.log.About("result cannot be stored: it does not survive encoding"), 1, "once")
				assert.Len(t, b.log.About(c.log), max(1, int(w.Stats().Undecodable)+1))
				assert.Empty(t, b.log.About(quoted))
				codec.encode, codec.decode = good.Encode, good.Decode
				next := w.get(t.Context(), "d")
				require.Equal(t, SourceComputed, next.source)
				require.Equal(t, outcome{value: next.value, source: SourceFresh}, w.get(t.Context(), "d"), "and caching resumes")
			})
		})
	}
}

// An encoding method of a type calls runtime.Goexit, as testing.T.FailNow does.
func TestACodecThatEndsItsGoroutineWhileAResultIsStoredBlocksNoCall(t *testing.T) {
	good := gobCodec{}
	for name, change := range map[string]func(*moodyCodec){
		"encode": func(c *moodyCodec) { c.encode = func([]any) ([]byte, error) { runtime.Goexit(); return nil, nil } },
		"decode": func(c *moodyCodec) { c.decode = func([]byte, []any) error { runtime.Goexit(); return nil } },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				codec := &moodyCodec{good.Encode, good.Decode}
				change(codec)
				w := wrap(t, b.cache(withCodec(codec)), &source{took: time.Second}, Options{OnCold: Wait})
				first := w.begin(t.Context(), "a")
				synctest.Wait()
				second := w.begin(t.Context(), "a")
				assert.Equal(t, outcome{value: 1, source: SourceComputed, took: time.Second}, <-first, "as the function returned it")
				assert.Equal(t, outcome{value: 1, source: SourceWaited, took: time.Second}, <-second, "and a copy of it")
				time.Sleep(OpenFor + time.Millisecond)
				assert.Empty(t, b.keys(), "the lease is given back")
				assert.Len(t, b.log.About("does not survive encoding"), 1)
				assert.Len(t, b.log.About("a method of the codec or of a result ended its goroutine"), 1)
			})
		})
	}
}

// A codec may reuse its buffer, and may return parts of the body.
func TestACodecCannotMakeCallersShareMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var buf []byte
		codec := &moodyCodec{
			encode: func(r []any) ([]byte, error) {
				buf = append(buf[:0], *r[0].(*[]byte)...)
				return buf, nil
			},
			decode: func(body []byte, r []any) error {
				*r[0].(*[]byte) = body
				*r[1].(*string) = unsafe.String(unsafe.SliceData(body), len(body))
				return nil
			},
		}
		fn := func(_ context.Context, s string) ([]byte, string, error) { return []byte(s), s, nil }
		must(Wrap(&fn, Options{Cache: b.cache(withCodec(codec)), Name: "test.Shared", Timeout: time.Minute}))
		for range 3 {
			for _, arg := range []string{"one", "two"} {
				got, text, err := fn(t.Context(), arg)
				require.NoError(t, err)
				require.Equal(t, arg, string(got))
				require.Equal(t, arg, text)
				got[0] = 'X'
			}
		}
		// Those who share a flight do not share either.
		boarded := make(chan struct{})
		b.tap.on("get", func() { <-boarded })
		all := make(chan []byte)
		for range 4 {
			go func() { got, _, _ := fn(t.Context(), "one"); all <- got }()
		}
		time.Sleep(time.Millisecond)
		close(boarded)
		for range 4 {
			got := <-all
			assert.Equal(t, "one", string(got))
			got[0] = 'X'
		}
	})
}

func TestACodecIsCheckedByNew(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		client := b.cache().Config().Redis
		_, err := New(Config{Redis: client, Codec: gobCodec{}})
		require.EqualError(t, err, "fncache: new cache: Codec: the Name of fncache_test.gobCodec is empty; give it a name, because the name separates the entries of codecs")
		_, err = New(Config{Redis: client, Codec: (*xorCodec)(nil), RedisTimeout: -1})
		require.ErrorContains(t, err, "Codec: the Name method of *fncache_test.xorCodec panics; set a codec that is ready for use")
		require.ErrorContains(t, err, "RedisTimeout is -1ns")
	})
}

func TestErrorsOfACodecAroundCBORAreReported(t *testing.T) {
	for name, body := range map[string][]byte{
		`decode by codec "xor": corrupt entry: the body is not an array`:                     xor([]byte("x")),
		`decode by codec "xor": decode result 1 (int): cannot put CBOR text string into int`: xor([]byte("\x81\x61a")),
	} {
		err := DecodeBy(xorCodec{}, body, []any{new(int)})
		require.EqualError(t, err, name)
		var inner *codec.ResultError
		var reason *codec.BodyError
		assert.True(t, errors.As(err, &inner) || errors.As(err, &reason))
	}
	// One that is given what is no pointer says so, too.
	assert.Error(t, CBOR{}.Decode([]byte("\x81\x01"), []any{7}))
	assert.Error(t, CBOR{}.Decode([]byte("\x81\x01"), []any{nil}))
	assert.Error(t, JSON{}.Decode([]byte("[1]"), []any{7}))
	assert.Error(t, JSON{}.Decode([]byte("[1]"), []any{nil}))
	for _, codec := range []Codec{CBOR{}, JSON{}} {
		for _, given := range []any{nil, 7, (*int)(nil), "text"} {
			_, err := codec.Encode([]any{given})
			require.ErrorContains(t, err, "a codec is given pointers to results")
		}
		_, err := codec.Encode([]any{new(chan int)})
		require.ErrorContains(t, err, "chan int does not survive being stored")
	}
}

func TestEntriesOfTwoCodecsLieSideBySideInOneRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	var crews []*crew
	for _, name := range []string{"", "json"} {
		c := startCrew(t, 2, workerSettings{Addr: server.Addr(), OnCold: Wait, Codec: name})
		crews = append(crews, c)
		c.tell(order{Do: "burst", Key: "a", Callers: 50})
	}
	for _, c := range crews {
		c.await("computing", 1)
		c.await("begun", 2)
	}
	for _, c := range crews {
		c.tell(order{Do: "finish"})
	}
	for _, c := range crews {
		outcomes, total := sum(t, c.await("ended", 2))
		assert.Equal(t, 1, outcomes["computed"], "one for each codec: %v", outcomes)
		assert.EqualValues(t, 1, total.Computations)
		assert.Zero(t, total.Failed)
	}
	keys := slices.DeleteFunc(client.Keys(t.Context(), "fncache:{*").Val(), aside)
	require.Len(t, keys, 2)
	var bodies []string
	for _, key := range keys {
		raw := client.Get(t.Context(), key).Val()
		body := raw[bodyAt:]
		bodies = append(bodies, body)
		assert.Equal(t, raw[codecAt] == 2, json.Valid([]byte(body)))
	}
	assert.Contains(t, bodies, `["value of a"]`)
	assert.True(t, strings.HasPrefix(bodies[0], "\x81") || strings.HasPrefix(bodies[1], "\x81"))
}

func TestJSONEntriesCanBeReadInRedis(t *testing.T) {
	type point struct{ X, Y int }
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context, int64) (point, string, error) { return point{1, 2}, "<näh>", nil }
		f := must(Wrap(&fn, Options{Cache: b.cache(func(c *Config) { c.Codec = JSON{} }), Name: "test.Point", Timeout: time.Minute}))
		for range 2 {
			got, text, err := fn(t.Context(), 7)
			require.NoError(t, err)
			require.Equal(t, point{1, 2}, got)
			require.Equal(t, "<näh>", text)
		}
		raw, err := b.redis.Get(must(f.Key(7)))
		require.NoError(t, err)
		assert.Equal(t, `[{"X":1,"Y":2},"<näh>"]`, raw[bodyAt:])
		assert.Equal(t, byte(2), raw[codecAt])
		assert.Equal(t, uint64(1), f.Stats().Fresh)
	})
}

// onlyInCBOR has a field that only CBOR leaves out.
type onlyInCBOR struct {
	A    int
	Done chan int `cbor:"-"`
}

func TestAResultThatJSONWouldLoseIsRefusedOrNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		cache := b.cache(func(c *Config) { c.Codec = JSON{} })
		fn := func(context.Context) (onlyInCBOR, error) { return onlyInCBOR{A: 7}, nil }
		opts := Options{Name: "test.Lossy", Timeout: time.Minute, Cache: cache}
		_, err := Wrap(&fn, opts)
		require.ErrorContains(t, err, "result 1: fncache_test.onlyInCBOR.Done (chan int) does not survive being stored")

		opts.Cache = nil // found at the first call
		f := must(Wrap(&fn, opts))
		defer f.Unwrap()
		SetDefault(cache)
		defer SetDefault(nil)
		for range 2 {
			got, err := fn(t.Context())
			require.NoError(t, err)
			assert.Equal(t, onlyInCBOR{A: 7}, got, "as it is")
		}
		assert.Equal(t, uint64(2), f.Stats().Computations)
		assert.Zero(t, f.Stats().Stored)
		assert.Len(t, b.log.About("result cannot be stored"), 1)
		assert.Len(t, b.log.About("does not survive being stored; return a slice of what it would carry"), 1)
	})
}
