package codec

import "github.com/klauspost/compress/s2"

// Bodies are compressed by S2, by its better level: a block of it is the length
// of the body as a varint, then literals and copies.
//
// Why S2 and not zstd: a hit pays for decompression, and zstd takes about twice as
// long for it. Why the better level: it makes text shorter by another eighth, hits
// take as long, and only a computation pays for it, once. Of 64 KiB, on an AMD EPYC
// (make bench BENCH=Algorithm):
//
//	              size in %         decompress, µs    compress, µs
//	              s2  better  zstd  s2  better  zstd  s2  better  zstd
//	books         54      47    38  21      23    49  62     110   220
//	ids          100     100   100   -       -     -  15      25    30
//	JSON, books   50      43    34  20      25    49  65     105   213
//	JSON, ids    100      79    47   -      38    67  13     260   610
//
// zstd is at its default level; at its fastest and better ones it decompresses no faster.
// Decoding these books from CBOR takes over 100 µs more. Besides, S2 has no state to keep and
// no goroutines, and knows the length of its output in advance.

const (
	// keepAtMost is the share of a body, in eighths, beyond which a compressed one is
	// discarded. The JSON ids above are about the least that pays: 14 KB of Redis and network
	// for 38 µs of a hit.
	keepAtMost = 7
	// maxRatio bounds what a reader allocates for an entry by the entry's length. Without it 20
	// bytes could ask for gigabytes. A body that would compress better is stored uncompressed.
	maxRatio = 1 << 10
	// maxBody is the longest value that Redis accepts by default, 512 MiB, so no stored body is
	// longer.
	maxBody = 512 << 20
)

// Compress returns the compressed body after room bytes that the caller fills. It returns nil
// if compression does not pay.
func Compress(body []byte, room int) []byte {
	longest := s2.MaxEncodedLen(len(body))
	if longest < 0 {
		return nil // 4 GiB
	}
	packed := make([]byte, room+longest)
	block := s2.EncodeBetter(packed[room:], body)
	if len(block) > len(body)/8*keepAtMost || !plausible(len(body), len(block)) {
		return nil
	}
	return packed[:room+len(block)]
}

// Decompress returns the body of a block that Compress wrote. The error is a *BodyError.
func Decompress(block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return nil, corrupt("the compressed body has no valid length")
	case !plausible(n, len(block)):
		return nil, corrupt("the compressed body of %d bytes claims a length of %d", len(block), n)
	}
	body, err := s2.Decode(make([]byte, n), block)
	if err != nil {
		return nil, corrupt("the compressed body cannot be read: %v", err)
	}
	return body, nil
}

// plausible reports whether a body of length bytes may have a block of that size. Reader and
// writer use the same bound.
func plausible(body, block int) bool { return body <= maxBody && body/maxRatio <= block }
