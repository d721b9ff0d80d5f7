package fncache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/golden"
)

// sampleEnvelope is the one in the comment of envelope.go.
func sampleEnvelope(t testing.TB) envelope {
	t.Helper()
	body, err := encodeResults(nil, []reflect.Value{reflect.ValueOf(42), reflect.ValueOf("answer")})
	require.NoError(t, err)
	return envelope{
		codec:    codecCBOR,
		storedAt: time.Date(2024, 2, 29, 12, 0, 0, 123e6, time.UTC).UnixMilli(),
		cost:     1500 * time.Millisecond,
		id:       0x0123456789abcdef,
		body:     body,
	}
}

func TestGoldenEnvelope(t *testing.T) {
	e := sampleEnvelope(t)
	raw := e.appendTo(nil)
	var dump strings.Builder
	at := 0
	line := func(n int, what string) {
		fmt.Fprintf(&dump, "%-24s# %s\n", fmt.Sprintf("% x", raw[at:at+n]), what)
		at += n
	}
	line(4, "magic")
	line(1, "version 1")
	line(1, "no flags")
	line(1, "CBOR")
	line(1, "reserved")
	line(8, "stored at 2024-02-29T12:00:00.123Z, in ms")
	line(8, "cost 1.5s, in µs")
	line(8, "id 0x0123456789abcdef")
	line(1, "body: an array of two")
	line(2, "42")
	line(7, `"answer"`)
	require.Len(t, raw, at)
	golden.Check(t, "envelope_v1.hex", dump.String())
}

// readHex reads a golden file: what is behind a # is a comment.
func readHex(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	var digits strings.Builder
	for line := range strings.Lines(string(file)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	raw, err := hex.DecodeString(digits.String())
	require.NoError(t, err)
	return raw
}

func TestGoldenEnvelopeIsStillRead(t *testing.T) {
	e, err := parseEnvelope(readHex(t, "envelope_v1.hex"))
	require.NoError(t, err)
	assert.Equal(t, sampleEnvelope(t), e)
	results, err := decodeResults(e.body, types[struct {
		int
		string
	}]())
	require.NoError(t, err)
	assert.Equal(t, []any{42, "answer"}, values(results))
}

// sampleNegative is the negative entry in the comment of envelope.go.
func sampleNegative(t testing.TB) envelope {
	e := sampleEnvelope(t)
	e.flags, e.body = flagNegative, []byte("no such book")
	return e
}

func TestGoldenNegativeEnvelope(t *testing.T) {
	e := sampleNegative(t)
	raw := e.appendTo(nil)
	golden.Check(t, "envelope_negative_v1.hex", fmt.Sprintf("%-36s# magic, version 1, negative, CBOR\n% x # stored at, cost, id\n%-36s# %s\n",
		fmt.Sprintf("% x", raw[:8]), raw[8:32], fmt.Sprintf("% x", raw[32:]), raw[32:]))
	read, err := parseEnvelope(readHex(t, "envelope_negative_v1.hex"))
	require.NoError(t, err)
	assert.Equal(t, e, read)
	source, err := os.ReadFile("envelope.go")
	require.NoError(t, err)
	for _, part := range [][]byte{raw[:8], raw[8:32], raw[32:]} {
		assert.Contains(t, string(source), fmt.Sprintf("% x", part))
	}
}

// sampleTagged is the entry with a tag in the comment of envelope.go.
func sampleTagged(t testing.TB) envelope {
	e := sampleEnvelope(t)
	e.flags, e.tags = flagTagged, &fence.Block{Marks: make([]fence.Mark, 1)}
	for i := range e.tags.Epoch {
		e.tags.Epoch[i], e.tags.Marks[0].Tag[i] = byte(0xf0+i), byte(0xa0+i)
	}
	e.tags.Marks[0].Stamp = 1750230144123904
	return e
}

func TestGoldenTaggedEnvelope(t *testing.T) {
	e := sampleTagged(t)
	raw := e.appendTo(nil)
	var dump strings.Builder
	at := 0
	for _, part := range []struct {
		n    int
		what string
	}{{8, "magic, version 1, tags, CBOR"}, {24, "stored at, cost, id"}, {16, "epoch"}, {2, "one tag"}, {16, "its hash"}, {8, "its stamp"}, {10, "body"}} {
		fmt.Fprintf(&dump, "%-47s # %s\n", fmt.Sprintf("% x", raw[at:at+part.n]), part.what)
		at += part.n
	}
	require.Len(t, raw, at)
	golden.Check(t, "envelope_tagged_v1.hex", dump.String())
	read, err := parseEnvelope(readHex(t, "envelope_tagged_v1.hex"))
	require.NoError(t, err)
	assert.Equal(t, e, read)
	source, err := os.ReadFile("envelope.go")
	require.NoError(t, err)
	for _, part := range [][]byte{raw[:8], raw[8:32], raw[32:40], raw[40:48], raw[48:50], raw[50:58], raw[58:66], raw[66:74], raw[74:]} {
		assert.Contains(t, string(source), fmt.Sprintf("% x", part))
	}
}

// A dumpPart is one line of a golden file of an entry: how many bytes, and what they are.
type dumpPart struct {
	n    int
	what string
}

// checkDump compares an entry with its golden file, and with the dump in the comment of
// envelope.go, which has the same lines.
func checkDump(t *testing.T, file string, raw []byte, parts []dumpPart) {
	t.Helper()
	source, err := os.ReadFile("envelope.go")
	require.NoError(t, err)
	var dump strings.Builder
	at := 0
	for _, part := range parts {
		text := fmt.Sprintf("% x", raw[at:at+part.n])
		assert.Contains(t, string(source), "//\t"+text)
		fmt.Fprintf(&dump, "%-32s # %s\n", text, part.what)
		at += part.n
	}
	require.Len(t, raw, at)
	golden.Check(t, file, dump.String())
}

// sampleLasting is the entry with a lifetime in the comment of envelope.go.
func sampleLasting(t testing.TB) envelope {
	e := sampleEnvelope(t)
	e.flags, e.life = flagLifetime, &lifetimes{time.Hour, 24 * time.Hour}
	return e
}

func TestGoldenLastingEnvelope(t *testing.T) {
	e := sampleLasting(t)
	raw := e.appendTo(nil)
	checkDump(t, "envelope_lifetime_v1.hex", raw, []dumpPart{{8, "magic, version 1, lifetime, CBOR"}, {24, "stored at, cost, id"}, {8, "fresh for an hour"}, {8, "served for a day"}, {10, "body"}})
	read, err := parseEnvelope(readHex(t, "envelope_lifetime_v1.hex"))
	require.NoError(t, err)
	assert.Equal(t, e, read)
}

func TestALifetimeThatIsCutOffOrDamagedIsAMiss(t *testing.T) {
	e := sampleLasting(t)
	whole := e.appendTo(nil)
	why := func(raw []byte) missKind {
		_, err := parseEnvelope(raw)
		var reason *missReason
		require.ErrorAs(t, err, &reason)
		return reason.why
	}
	for n := envelopeHeaderLen; n < envelopeHeaderLen+lifetimesLen; n++ {
		assert.Equal(t, missTruncated, why(whole[:n]))
	}
	for name, ms := range map[string][2]uint64{
		"no timeout":                 {0, 0},
		"fresh longer than served":   {2, 1},
		"longer than a Duration has": {0, maxMillis + 1},
		"the longest":                {math.MaxUint64, math.MaxUint64},
	} {
		t.Run(name, func(t *testing.T) {
			raw := bytes.Clone(whole)
			binary.BigEndian.PutUint64(raw[envelopeHeaderLen:], ms[0])
			binary.BigEndian.PutUint64(raw[envelopeHeaderLen+8:], ms[1])
			assert.Equal(t, missCorrupt, why(raw))
		})
	}
	tagged := sampleTagged(t)
	tagged.flags, tagged.life = flagTagged|flagLifetime, e.life
	read, err := parseEnvelope(tagged.appendTo(nil))
	require.NoError(t, err)
	assert.Equal(t, tagged, read, "with tags after it")
	assert.Equal(t, missTruncated, why(tagged.appendTo(nil)[:envelopeHeaderLen+lifetimesLen+3]))
}

func TestTagsThatAreCutOffOrDamagedAreAMiss(t *testing.T) {
	e := sampleTagged(t)
	raw := e.appendTo(nil)
	for n := envelopeHeaderLen; n < envelopeHeaderLen+e.tags.Len(); n++ {
		_, err := parseEnvelope(raw[:n])
		var reason *missReason
		require.ErrorAs(t, err, &reason)
		assert.Equal(t, missTruncated, reason.why)
	}
	raw[envelopeHeaderLen+17] = 0
	_, err := parseEnvelope(raw)
	var reason *missReason
	require.ErrorAs(t, err, &reason)
	assert.Equal(t, missCorrupt, reason.why)
}

func TestCommentShowsTheGoldenEnvelope(t *testing.T) {
	source, err := os.ReadFile("envelope.go")
	require.NoError(t, err)
	raw := readHex(t, "envelope_v1.hex")
	for _, part := range [][]byte{raw[:4], raw[8:16], raw[16:24], raw[24:32], raw[33:35], raw[35:]} {
		assert.Contains(t, string(source), fmt.Sprintf("% x ", part))
	}
}

func TestEnvelopeIsReadAsItWasWritten(t *testing.T) {
	property := func(storedAt, cost int64, id uint64, negative bool, body []byte, before []byte) bool {
		e := envelope{
			codec:    codecCBOR,
			storedAt: storedAt & math.MaxInt64,
			cost:     time.Duration(cost & math.MaxInt64).Truncate(time.Microsecond),
			id:       id,
			body:     append([]byte{}, body...),
		}
		if negative {
			e.flags |= flagNegative
		}
		raw := e.appendTo(before)[len(before):]
		got, err := parseEnvelope(raw)
		return err == nil && reflect.DeepEqual(e, got) && len(raw) == envelopeHeaderLen+len(body) &&
			e.idBytes() == [8]byte(raw[envelopeIDOffset:])
	}
	require.NoError(t, quick.Check(property, &quick.Config{MaxCount: 2000}))
}

func TestEnvelopeHeaderIsFilledInPlace(t *testing.T) {
	e := sampleEnvelope(t)
	raw := append(make([]byte, envelopeHeaderLen), e.body...)
	header := e
	header.body = nil
	header.appendTo(raw[:0])
	assert.Equal(t, e.appendTo(nil), raw)
}

func TestEnvelopeCostIsBounded(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		-1:                    0,
		math.MinInt64:         0,
		999:                   0,
		1001:                  time.Microsecond,
		math.MaxInt64:         time.Duration(math.MaxInt64).Truncate(time.Microsecond),
		time.Duration(1500e6): 1500 * time.Millisecond,
	} {
		e := envelope{codec: codecCBOR, cost: cost}
		got, err := parseEnvelope(e.appendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, want, got.cost, "%d", cost)
	}
}

func TestBodySharesMemoryWithTheEnvelope(t *testing.T) {
	e := sampleEnvelope(t)
	raw := e.appendTo(nil)
	got, err := parseEnvelope(raw)
	require.NoError(t, err)
	assert.Same(t, &raw[envelopeHeaderLen], &got.body[0], "a copy would cost as much as the entry is long")
}

func TestBytesThatAreNoEnvelopeAreAMissWithAReason(t *testing.T) {
	e := sampleEnvelope(t)
	good := e.appendTo(nil)
	with := func(at int, bytes ...byte) []byte {
		raw := append([]byte{}, good...)
		copy(raw[at:], bytes)
		return raw
	}
	for _, c := range []struct {
		name string
		raw  []byte
		kind missKind
		text string
	}{
		{"nil", nil, missEmpty, "empty entry: no bytes"},
		{"empty", []byte{}, missEmpty, "empty entry: no bytes"},
		{"one byte", good[:1], missTruncated, "truncated entry: 1 bytes, the header has 32"},
		{"magic only", good[:4], missTruncated, "truncated entry: 4 bytes, the header has 32"},
		{"header but one", good[:31], missTruncated, "truncated entry: 31 bytes, the header has 32"},
		{"text", []byte("<html>a page, longer than a header is</html>"), missForeign, "foreign entry: does not begin with the magic bytes of an entry"},
		{"one foreign byte", []byte("x"), missForeign, "foreign entry: does not begin with the magic bytes of an entry"},
		{"magic cut and changed", []byte("\xf5fx"), missForeign, "foreign entry: does not begin with the magic bytes of an entry"},
		{"gzip", with(0, 0x1f, 0x8b, 8), missForeign, "foreign entry: does not begin with the magic bytes of an entry"},
		{"version 0", with(4, 0), missCorrupt, "corrupt entry: byte 4: version 0"},
		{"version 2", with(4, 2), missNewer, "newer format entry: byte 4: version 2, known is 1"},
		{"version 99, shorter header", with(4, 99)[:8], missNewer, "newer format entry: byte 4: version 99, known is 1"},
		{"version 255, all else unknown", with(4, 255, 255, 255, 255, 255), missNewer, "newer format entry: byte 4: version 255, known is 1"},
		{"flag", with(5, 0x81), missUnknownFlag, "unknown flag entry: byte 5: flags 0x81"},
		{"codec 0", with(6, 0), missUnknownCodec, "unknown codec entry: byte 6: codec 0"},
		{"codec 3", with(6, 3), missUnknownCodec, "unknown codec entry: byte 6: codec 3"},
		{"codec 254", with(6, 254), missUnknownCodec, "unknown codec entry: byte 6: codec 254"},
		{"reserved", with(7, 0x80), missUnknownFlag, "unknown flag entry: byte 7: the reserved byte is 0x80 and must be 0"},
		{"stored before 1970", with(8, 0x80), missCorrupt, "corrupt entry: byte 8: stored before 1970"},
		{"cost past a Duration", with(16, 0, 0x20, 0xc4, 0x9b, 0xa5, 0xe3, 0x53, 0xf8), missCorrupt, "corrupt entry: byte 16: a cost of centuries"},
		{"cost past an int64", with(16, 0xff), missCorrupt, "corrupt entry: byte 16: a cost of centuries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseEnvelope(c.raw)
			var reason *missReason
			require.ErrorAs(t, err, &reason)
			assert.Equal(t, string(c.kind), reason.kind())
			assert.Equal(t, c.text, err.Error())
		})
	}
	_, err := parseEnvelope(with(16, 0, 0x20, 0xc4, 0x9b, 0xa5, 0xe3, 0x53, 0xf7))
	assert.NoError(t, err, "the longest Duration")
	_, err = parseEnvelope(good)
	assert.NoError(t, err)
}

type (
	fuzzedPage struct {
		Author string
		Years  []int
		Seen   map[string]bool
		At     time.Time
	}
	// EmbeddedOK is embedded.
	EmbeddedOK struct{ Shelf string }
	embedsOK   struct {
		EmbeddedOK
		ID int
	}
	// EmbedsOK is for tests outside of this package. testdata/keys_v1.txt has the name of the type.
	EmbedsOK = embedsOK
)

// fuzzSamples are results that the fuzz test starts from, and whose types it decodes into.
var fuzzSamples = [][]reflect.Value{
	{reflect.ValueOf([]int64{1, -1, math.MaxInt64})},
	{reflect.ValueOf(42), reflect.ValueOf("answer")},
	{reflect.ValueOf(map[string]float64{"a": math.Inf(1), "b": 0.5})},
	{reflect.ValueOf(map[string]*fuzzedPage{
		"a":   {Author: "a", Years: []int{1}, Seen: map[string]bool{"b": true}, At: time.Date(2024, 2, 29, 12, 0, 0, 1, time.UTC)},
		"nil": nil,
	})},
	{reflect.ValueOf([]byte("bytes")), reflect.ValueOf(true), reflect.ValueOf([]embedsOK{{EmbeddedOK{"b"}, 1}})},
}

// FuzzEnvelope checks that reading any bytes does not panic, and that an entry that can be read
// is written as the same bytes.
func FuzzEnvelope(f *testing.F) {
	addEntries(f)
	var lists [][]reflect.Type
	for _, results := range fuzzSamples {
		var list []reflect.Type
		for _, v := range results {
			list = append(list, v.Type())
		}
		lists = append(lists, list)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept := string(raw)
		body, ok := openFuzzed(t, raw)
		for _, list := range lists {
			if ok {
				decodeFuzzed(t, body, list)
				require.Equal(t, kept, string(raw))
			}
		}
	})
}

// addEntries adds entries with each flag.
func addEntries(f *testing.F) {
	e := sampleEnvelope(f)
	f.Add(e.appendTo(nil))
	f.Add([]byte{})
	for _, results := range fuzzSamples {
		body, err := encodeResults(nil, results)
		require.NoError(f, err)
		e.body = body
		f.Add(e.appendTo(nil))
		if packed := codec.Compress(body, 0); packed != nil {
			e.flags, e.body = flagCompressed, packed
			f.Add(e.appendTo(nil))
			e.flags = 0
		}
	}
	_, compressed := compressedEnvelope(f)
	f.Add(compressed)
	negative := sampleNegative(f)
	f.Add(negative.appendTo(nil))
	tagged := sampleTagged(f)
	f.Add(tagged.appendTo(nil))
	tagged.flags |= flagExpired
	f.Add(tagged.appendTo(nil))
	lasting := sampleLasting(f)
	f.Add(lasting.appendTo(nil))
	tagged.flags, tagged.life = tagged.flags|flagLifetime, lasting.life
	f.Add(tagged.appendTo(nil))
	tagged.flags |= flagSealed
	f.Add(tagged.appendTo(nil))
}

// openFuzzed reads an entry and opens its body. If it can be read, it is written as the same bytes.
func openFuzzed(t *testing.T, raw []byte) (body []byte, ok bool) {
	e, err := parseEnvelope(raw)
	if err != nil {
		var reason *missReason
		require.True(t, errors.As(err, &reason))
		require.NotEmpty(t, reason.kind())
		return nil, false
	}
	require.Equal(t, raw, e.appendTo(nil))
	if e.negative() {
		return nil, false // its body is the text of an error, whatever it is
	}
	err = cborCoder.unseal(&e, "key")
	if err == nil {
		err = cborCoder.open(&e)
	}
	if err != nil {
		var reason *missReason
		var wrong *codec.BodyError
		require.True(t, errors.As(err, &reason) || errors.As(err, &wrong))
		return nil, false
	}
	require.Zero(t, e.flags&^(flagTagged|flagExpired|flagLifetime), "flags that an opened body may keep")
	return e.body, true
}

// decodeFuzzed decodes results of some types. What was decoded can be encoded, decoded and
// encoded again.
func decodeFuzzed(t *testing.T, body []byte, list []reflect.Type) {
	results, err := decodeResults(body, list)
	if err != nil {
		require.NotEmpty(t, err.Error())
		return
	}
	require.Len(t, results, len(list))
	for i, v := range results {
		require.Equal(t, list[i], v.Type())
	}
	once, err := encodeResults(nil, results)
	if err != nil {
		return // a year 10000, from a number of seconds
	}
	again, err := decodeResults(once, list)
	require.NoError(t, err)
	twice, err := encodeResults(nil, again)
	require.NoError(t, err)
	require.Len(t, twice, len(once)) // maps have no order
}

func BenchmarkParseEnvelope(b *testing.B) {
	e := sampleEnvelope(b)
	raw := e.appendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseEnvelope(raw); err != nil {
			b.Fatal(err)
		}
	}
}
