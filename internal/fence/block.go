package fence

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxMarks is how many tags a Block may have: 1,000, and the one of the function itself.
const MaxMarks = 1001

// A Block has the tags of an entry. It is stored as
//
//	offset  size
//	     0    16  epoch
//	    16     2  number of tags, from 1 to MaxMarks
//	    18    24  for each tag: its hash (16), its stamp (8)
//
// Numbers are big endian.
type Block struct {
	Epoch Epoch
	Marks []Mark
}

const (
	blockHeadLen = 18
	markLen      = 24
)

// Len returns the length of the block in bytes.
func (b *Block) Len() int { return blockHeadLen + markLen*len(b.Marks) }

// AppendTo appends the block.
func (b *Block) AppendTo(dst []byte) []byte {
	dst = append(dst, b.Epoch[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b.Marks)))
	for i := range b.Marks {
		dst = append(dst, b.Marks[i].Tag[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.Marks[i].Stamp))
	}
	return dst
}

// ErrTruncated is the error of ParseBlock if bytes are missing.
var ErrTruncated = errors.New("the tags are cut off")

// ParseBlock reads a block, and returns the bytes after it. The block shares no memory with raw.
// The error is ErrTruncated, or says what in raw is never written.
func ParseBlock(raw []byte) (b Block, rest []byte, err error) {
	if len(raw) < blockHeadLen {
		return Block{}, nil, ErrTruncated
	}
	b.Epoch = Epoch(raw[:16])
	n := int(binary.BigEndian.Uint16(raw[16:]))
	raw = raw[blockHeadLen:]
	switch {
	case b.Epoch == Epoch{}:
		return Block{}, nil, errors.New("the epoch is 0")
	case n == 0 || n > MaxMarks:
		return Block{}, nil, fmt.Errorf("%d tags", n)
	case len(raw) < markLen*n:
		return Block{}, nil, ErrTruncated
	}
	b.Marks = make([]Mark, n)
	for i := range b.Marks {
		m := &b.Marks[i]
		m.Tag = Tag(raw[:16])
		m.Stamp = Stamp(binary.BigEndian.Uint64(raw[16:]))
		if m.Stamp == Unknown || m.Stamp > maxStamp {
			return Block{}, nil, fmt.Errorf("tag %d has the stamp %d", i, m.Stamp)
		}
		raw = raw[markLen:]
	}
	return b, raw, nil
}
