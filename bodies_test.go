package fncache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/golden"
	"github.com/fncache/fncache/internal/seal"
)

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
		raw := append(make([]byte, envelopeHeaderLen), strings.Repeat("answer", c.body)[:c.body]...)
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

// TestGoldenSealedEnvelope fixes the form of a sealed entry, and the data that are authenticated
// with it.
func TestGoldenSealedEnvelope(t *testing.T) {
	e := sampleEnvelope(t)
	e.flags |= flagSealed
	plain := e.body
	keyring := Must(seal.New([][]byte{bytes.Repeat([]byte{7}, seal.SecretSize)}))
	e.body = keyring.Seal(nil, seal.Salt(bytes.Repeat([]byte{5}, 16)), plain, e.bound("k"))
	raw := e.appendTo(nil)
	parts := []struct {
		n    int
		what string
	}{{8, "magic, version 1, sealed, CBOR"}, {24, "stored at, cost, id"}, {4, "id of the key"}, {8, "salt"}, {8, "salt"}, {10, "ciphertext"}, {8, "tag"}, {8, "tag"}}
	source := Must(os.ReadFile("envelope.go"))
	var dump strings.Builder
	at := 0
	for _, part := range parts {
		text := fmt.Sprintf("% x", raw[at:at+part.n])
		assert.Contains(t, string(source), "//\t"+text, part.what)
		fmt.Fprintf(&dump, "%-47s # %s\n", text, part.what)
		at += part.n
	}
	require.Len(t, raw, at)
	golden.Check(t, "envelope_sealed_v1.hex", dump.String())

	read, err := parseEnvelope(readHex(t, "envelope_sealed_v1.hex"))
	require.NoError(t, err)
	require.NoError(t, (&coder{id: codecCBOR, seal: keyring}).unseal(&read, "k"))
	assert.Equal(t, plain, read.body)
	assert.Zero(t, read.flags)
}

func TestGoldenEnvelopeWithETag(t *testing.T) {
	e := sampleEnvelope(t)
	plain := e
	e.flags, e.body = flagETag, append(appendETag(nil, `"v1"`), e.body...)
	raw := e.appendTo(nil)
	checkDump(t, "envelope_etag_v1.hex", raw, []dumpPart{{8, "magic, version 1, ETag, CBOR"}, {24, "stored at, cost, id"}, {2, "four bytes"}, {4, `"v1"`}, {10, "results"}})
	read, err := parseEnvelope(readHex(t, "envelope_etag_v1.hex"))
	require.NoError(t, err)
	require.NoError(t, cborCoder.open(&read))
	require.NotNil(t, read.etag)
	assert.Equal(t, `"v1"`, *read.etag)
	read.etag = nil
	assert.Equal(t, plain, read)
}

func TestAnETagThatIsCutOffOrDamagedIsAMiss(t *testing.T) {
	for name, body := range map[string]string{
		"no body":             "",
		"half a length":       "\x00",
		"a length of nothing": "\x00\x00\x81\x01",
		"it is cut off":       "\x00\x04v1",
		"a length too great":  "\x01\x01" + strings.Repeat("x", 400),
	} {
		t.Run(name, func(t *testing.T) {
			e := envelope{codec: codecCBOR, flags: flagETag, body: []byte(body)}
			var reason *missReason
			require.True(t, errors.As(cborCoder.open(&e), &reason))
			assert.Equal(t, missCorrupt, reason.why)
		})
	}
	for _, flag := range []byte{flagETag, flagLifetime} {
		e := sampleLasting(t)
		e.flags = flagNegative | flag
		_, err := parseEnvelope(e.appendTo(nil))
		require.ErrorContains(t, err, "an error with an ETag or a lifetime")
	}
}
