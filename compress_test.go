package fncache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/golden"
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

// The golden file fixes how a compressed body is read, and not how it is written: another
// release of the library, or another processor, may choose other copies.
func TestGoldenCompressedEnvelopeIsOnlyRewrittenOnRequest(t *testing.T) {
	_, raw := compressedEnvelope(t)
	assert.Equal(t, readHex(t, "envelope_v1_compressed.hex")[:envelopeHeaderLen+2], raw[:envelopeHeaderLen+2], "header and length")
	if !golden.Updating() {
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
	golden.Check(t, "envelope_v1_compressed.hex", dump.String())
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
		assert.Len(t, b.log.About("corrupt entry: the compressed body"), 1, "once a minute")
	})
}
