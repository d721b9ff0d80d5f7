package fncache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readable is n bytes that compress to about a half.
func readable(n int) []byte {
	var b bytes.Buffer
	random := rand.New(rand.NewPCG(5, 6))
	for b.Len() < n {
		fmt.Fprintf(&b, "book %d of author %d, ", random.IntN(1_000_000), random.IntN(1000))
	}
	return b.Bytes()[:n]
}

// random is n bytes that do not compress.
func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestCompressedBodiesComeBack(t *testing.T) {
	for _, n := range []int{100, 4096, 4097, 1 << 16, 3<<20 + 1} {
		body := readable(n)
		kept := bytes.Clone(body)
		packed := compress(body, 7)
		require.NotNil(t, packed, "%d bytes", n)
		require.Equal(t, make([]byte, 7), packed[:7], "there is room for a header")
		assert.LessOrEqual(t, len(packed)-7, n/8*keepAtMost)
		got, err := decompress(packed[7:])
		require.NoError(t, err)
		assert.True(t, bytes.Equal(kept, got) && bytes.Equal(kept, body))
	}
}

func TestWhatDoesNotGetShorterByAnEighthIsLeft(t *testing.T) {
	for n := range 20 {
		assert.Nil(t, compress(make([]byte, n)[:min(n, 4)], 0))
	}
	assert.Nil(t, compress(random(1<<16), 32))
	// Nine tenths that do not compress.
	assert.Nil(t, compress(append(random(58_000), make([]byte, 6_000)...), 32))
	assert.NotNil(t, compress(append(random(52_000), make([]byte, 12_000)...), 32))
}

func TestWhatCompressesTooWellIsLeft(t *testing.T) {
	// 4 MiB of zeros fit into some 20 bytes, and a reader would not believe it.
	assert.Nil(t, compress(make([]byte, 4<<20), 32))
	_, err := decompress(s2.EncodeBetter(nil, make([]byte, 4<<20)))
	assert.ErrorContains(t, err, "corrupt entry: the compressed body says that its ")
}

func TestBlocksThatCannotBeReadAreAMiss(t *testing.T) {
	good := s2.EncodeBetter(nil, readable(5000))
	for name, c := range map[string]struct {
		block []byte
		text  string
	}{
		"nothing":           {nil, "does not tell its length"},
		"an endless length": {bytes.Repeat([]byte{0xff}, 20), "does not tell its length"},
		"a huge length":     {binary.AppendUvarint(nil, 1<<32-1), "says that its 5 bytes were 4294967295"},
		"a large length":    {append(binary.AppendUvarint(nil, 400<<20), good...), "were 419430400"},
		"a length only":     {binary.AppendUvarint(nil, 1000), "cannot be read"},
		"longer than said":  {append(binary.AppendUvarint(nil, 4000), good[2:]...), "cannot be read"},
		"something behind":  {append(bytes.Clone(good), 0, 'x'), "cannot be read"},
		"something else":    {[]byte("\x10something else, in sixteen"), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decompress(c.block)
			require.ErrorContains(t, err, "corrupt entry: the compressed body ")
			require.ErrorContains(t, err, c.text)
		})
	}
	for n := range good {
		_, err := decompress(good[:n:n])
		require.Error(t, err, "%d of %d bytes", n, len(good))
	}
}

func TestHugeBlockTakesNoMemory(t *testing.T) {
	block := binary.AppendUvarint(nil, maxBody)
	block = append(block, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decompress(block)
	runtime.ReadMemStats(&after)
	require.Error(t, err)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2000*maxRatio))
}

func TestOnlyLongBodiesAreCompressed(t *testing.T) {
	for _, c := range []struct {
		over, body int
		compressed bool
	}{
		{DefaultCompressOver, 4096, false},
		{DefaultCompressOver, 4097, true},
		{1, 100, true},
		{10_000, 9_999, false},
		{-1, 1 << 20, false},
	} {
		coder := &coder{id: codecCBOR, compressOver: c.over}
		raw := append(make([]byte, envelopeHeaderLen), readable(c.body)...)
		kept := bytes.Clone(raw)
		packed, flags := coder.pack(raw)
		require.Equal(t, kept, raw, "joiners decode from it")
		require.Equal(t, c.compressed, flags == flagCompressed, "%d over %d", c.body, c.over)
		if !c.compressed {
			require.Same(t, &raw[0], &packed[0])
			continue
		}
		require.NotSame(t, &raw[0], &packed[0])
		e := envelope{flags: flags, codec: codecCBOR, body: packed[envelopeHeaderLen:]}
		require.NoError(t, coder.open(&e))
		require.Equal(t, envelope{codec: codecCBOR, body: raw[envelopeHeaderLen:]}, e)
	}
}

// compressedEnvelope is the second one in the comment of envelope.go.
func compressedEnvelope(t testing.TB) (e envelope, raw []byte) {
	e = sampleEnvelope(t)
	body, err := encodeResults(make([]byte, envelopeHeaderLen), []reflect.Value{reflect.ValueOf(1), reflect.ValueOf(strings.Repeat("answer", 64))})
	require.NoError(t, err)
	packed, flags := (&coder{compressOver: 0}).pack(body)
	require.Equal(t, flagCompressed, flags)
	e.flags, e.body = flags, packed[envelopeHeaderLen:]
	return e, e.appendTo(nil)
}

// What is compressed is not golden: it may be told by other copies, by another
// release of the library or on another processor. That it is read is.
func TestGoldenCompressedEnvelopeIsWrittenOnlyAnew(t *testing.T) {
	_, raw := compressedEnvelope(t)
	assert.Equal(t, readHex(t, "envelope_v1_compressed.hex")[:envelopeHeaderLen+2], raw[:envelopeHeaderLen+2], "header and length")
	if !*update {
		return
	}
	var dump strings.Builder
	at := 0
	line := func(n int, what string) {
		fmt.Fprintf(&dump, "%-24s# %s\n", fmt.Sprintf("% x ", raw[at:at+n]), what)
		at += n
	}
	line(5, "magic, version 1")
	line(1, "compressed")
	line(1, "CBOR")
	line(1, "reserved")
	line(8, "stored at 2024-02-29T12:00:00.123Z, in ms")
	line(8, "cost 1.5s, in µs")
	line(8, "id 0x0123456789abcdef")
	line(2, "block: of 389 bytes")
	line(len(raw)-at, "literals and copies")
	golden(t, "envelope_v1_compressed.hex", dump.String())
}

func TestGoldenCompressedEnvelopeIsStillRead(t *testing.T) {
	raw := readHex(t, "envelope_v1_compressed.hex")
	e, err := parseEnvelope(raw)
	require.NoError(t, err)
	require.Equal(t, flagCompressed, e.flags)
	require.NoError(t, cborCoder.open(&e))
	results, err := decodeResults(e.body, types[struct {
		int
		string
	}]())
	require.NoError(t, err)
	assert.Equal(t, []any{1, strings.Repeat("answer", 64)}, values(results))
}

func TestCommentShowsTheGoldenCompressedEnvelope(t *testing.T) {
	source, err := os.ReadFile("envelope.go")
	require.NoError(t, err)
	raw := readHex(t, "envelope_v1_compressed.hex")
	for _, part := range [][]byte{raw[:8], raw[32:34], raw[34:35], raw[35:40], raw[40:46], raw[46:]} {
		assert.True(t, strings.Contains(string(source), fmt.Sprintf("//\t% x  ", part)), "% x", part)
	}
}

func TestLongResultsAreCompressedInRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		want := string(readable(100_000))
		runs := 0
		for name, c := range map[string]struct {
			over       int
			compressed bool
		}{"by default": {0, true}, "over more": {200_000, false}, "never": {-1, false}} {
			runs = 0
			fn := func(string) (string, error) { runs++; return want, nil }
			cache := b.cache(func(cfg *Config) { cfg.CompressOver = c.over })
			f := must(Wrap(&fn, Options{Cache: cache, Name: "test.Long", Timeout: time.Minute}))
			arg := name
			for range 3 {
				got, err := fn(arg)
				require.NoError(t, err)
				require.True(t, want == got)
			}
			require.Equal(t, 1, runs, name)
			raw, err := b.redis.Get(must(f.Key(arg)))
			require.NoError(t, err)
			assert.Equal(t, c.compressed, len(raw) < 60_000, "%s: %d bytes", name, len(raw))
			// Others read it, whatever they compress themselves.
			other := func(string) (string, error) { runs++; return "", nil }
			must(Wrap(&other, Options{Cache: b.cache(func(cfg *Config) { cfg.CompressOver = -1 }), Name: "test.Long", Timeout: time.Minute}))
			got, err := other(arg)
			require.NoError(t, err)
			assert.True(t, want == got, name)
			assert.Equal(t, 1, runs, name)
		}
	})
}

func TestCompressedEntryThatIsDamagedIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		want := string(readable(100_000))
		runs := 0
		fn := func(string) (string, error) { runs++; return want, nil }
		f := must(Wrap(&fn, Options{Cache: b.cache(), Name: "test.Long", Timeout: time.Minute}))
		must(fn("a"))
		key := must(f.Key("a"))
		raw := must(b.redis.Get(key))
		for i, damaged := range []string{raw[:len(raw)-1], raw[:envelopeHeaderLen], raw[:envelopeHeaderLen] + "\xff\xff\xff\xff\x0f" + raw[envelopeHeaderLen:]} {
			require.NoError(t, b.redis.Set(key, damaged))
			assert.True(t, want == must(fn("a")))
			assert.Equal(t, i+2, runs)
		}
		assert.Equal(t, uint64(3), f.Stats().Undecodable)
		assert.Len(t, b.log.about("corrupt entry: the compressed body"), 1, "once a minute")
	})
}

// FuzzCompressed: whatever is flagged as compressed, opening it does not panic,
// and asks for no more memory than its length allows.
func FuzzCompressed(f *testing.F) {
	_, raw := compressedEnvelope(f)
	f.Add(raw[envelopeHeaderLen:])
	f.Add(s2.Encode(nil, readable(1000)))
	f.Add(s2.Encode(nil, random(100)))
	f.Add(binary.AppendUvarint(nil, 1<<32-1))
	f.Fuzz(func(t *testing.T, block []byte) {
		kept := string(block)
		body, err := decompress(block)
		require.Equal(t, kept, string(block))
		if err != nil {
			var reason *missReason
			require.ErrorAs(t, err, &reason)
			return
		}
		require.LessOrEqual(t, len(body), (len(block)+1)*maxRatio)
		if packed := compress(body, 0); packed != nil {
			again, err := decompress(packed)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, again))
		}
	})
}
