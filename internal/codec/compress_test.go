package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

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
		packed := Compress(body, 7)
		require.NotNil(t, packed, "%d bytes", n)
		require.Equal(t, make([]byte, 7), packed[:7], "there is room for a header")
		assert.LessOrEqual(t, len(packed)-7, n/8*keepAtMost)
		got, err := Decompress(packed[7:])
		require.NoError(t, err)
		assert.True(t, bytes.Equal(kept, got) && bytes.Equal(kept, body))
	}
}

func TestABodyThatShrinksByLessThanAnEighthStaysUncompressed(t *testing.T) {
	for n := range 20 {
		assert.Nil(t, Compress(make([]byte, n)[:min(n, 4)], 0))
	}
	assert.Nil(t, Compress(random(1<<16), 32))
	// Nine tenths that do not compress.
	assert.Nil(t, Compress(append(random(58_000), make([]byte, 6_000)...), 32))
	assert.NotNil(t, Compress(append(random(52_000), make([]byte, 12_000)...), 32))
}

func TestABodyThatCompressesTooWellStaysUncompressed(t *testing.T) {
	// 4 MiB of zeros fit into about 20 bytes, and a reader would refuse the block.
	assert.Nil(t, Compress(make([]byte, 4<<20), 32))
	_, err := Decompress(s2.EncodeBetter(nil, make([]byte, 4<<20)))
	assert.ErrorContains(t, err, "corrupt entry: the compressed body of ")
}

func TestBlocksThatCannotBeReadAreAMiss(t *testing.T) {
	good := s2.EncodeBetter(nil, readable(5000))
	for name, c := range map[string]struct {
		block []byte
		text  string
	}{
		"nothing":           {nil, "has no valid length"},
		"an endless length": {bytes.Repeat([]byte{0xff}, 20), "has no valid length"},
		"a huge length":     {binary.AppendUvarint(nil, 1<<32-1), "of 5 bytes claims a length of 4294967295"},
		"a large length":    {append(binary.AppendUvarint(nil, 400<<20), good...), "claims a length of 419430400"},
		"a length only":     {binary.AppendUvarint(nil, 1000), "cannot be read"},
		"longer than said":  {append(binary.AppendUvarint(nil, 4000), good[2:]...), "cannot be read"},
		"something behind":  {append(bytes.Clone(good), 0, 'x'), "cannot be read"},
		"something else":    {[]byte("\x10something else, in sixteen"), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decompress(c.block)
			require.ErrorContains(t, err, "corrupt entry: the compressed body ")
			require.ErrorContains(t, err, c.text)
		})
	}
	for n := range good {
		_, err := Decompress(good[:n:n])
		require.Error(t, err, "%d of %d bytes", n, len(good))
	}
}

func TestHugeBlockTakesNoMemory(t *testing.T) {
	block := binary.AppendUvarint(nil, maxBody)
	block = append(block, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Decompress(block)
	runtime.ReadMemStats(&after)
	require.Error(t, err)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2000*maxRatio))
}

// FuzzCompressed decompresses arbitrary bytes: that never panics, and allocates no more memory
// than the length of the bytes allows.
func FuzzCompressed(f *testing.F) {
	f.Add(s2.EncodeBetter(nil, readable(1000)))
	f.Add(s2.Encode(nil, readable(1000)))
	f.Add(s2.Encode(nil, random(100)))
	f.Add(binary.AppendUvarint(nil, 1<<32-1))
	f.Fuzz(func(t *testing.T, block []byte) {
		kept := string(block)
		body, err := Decompress(block)
		require.Equal(t, kept, string(block))
		if err != nil {
			var reason *BodyError
			require.ErrorAs(t, err, &reason)
			return
		}
		require.LessOrEqual(t, len(body), (len(block)+1)*maxRatio)
		if packed := Compress(body, 0); packed != nil {
			again, err := Decompress(packed)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, again))
		}
	})
}
