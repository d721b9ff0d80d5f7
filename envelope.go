package fncache

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/fncache/fncache/internal/fence"
)

// # The stored format
//
// An entry is an envelope: a header of 32 bytes, then the body. Numbers are big
// endian.
//
//	offset  size
//	     0     4  magic      f5 66 6e 63: 0xf5 'f' 'n' 'c'
//	     4     1  version    1
//	     5     1  flags      1: the body is compressed; 2: a negative entry; 4: tags
//	                         come before the body; 8: expired, never fresh; 16: the
//	                         body is sealed; 32: a lifetime comes before the body;
//	                         64: the body begins with an ETag; others are not
//	                         defined
//	     6     1  codec      how the body is encoded: 1 is CBOR, 2 JSON, 255 a
//	                         codec of the user (codec.go)
//	     7     1  reserved   0
//	     8     8  storedAt   milliseconds since the Unix epoch, on the server's clock
//	    16     8  cost       microseconds the function ran
//	    24     8  id         random, new for each store
//	    32        body
//
// The results 42 and "answer", stored on 2024-02-29 at 12:00:00.123 UTC after
// 1.5 s of work:
//
//	f5 66 6e 63                magic
//	01                         version 1
//	00                         no flags
//	01                         CBOR
//	00                         reserved
//	00 00 01 8d f4 bc 56 7b    1709208000123 ms
//	00 00 00 00 00 16 e3 60    1500000 µs
//	01 23 45 67 89 ab cd ef    id
//	82                         body: an array of two
//	   18 2a                     42
//	   66 61 6e 73 77 65 72      "answer"
//
// A compressed body (flag 1) is one S2 block (internal/codec): the length of the body
// as a varint of 7 bits a byte, the lowest first, and then literals and copies. Flags
// describe the stored bytes of the body: they change neither the codec nor the meaning of
// the body once it is opened. The results 1 and 64 times "answer", stored as above:
//
//	f5 66 6e 63 01 01 01 00    flag 1, CBOR
//	00 00 01 8d f4 bc 56 7b
//	00 00 00 00 00 16 e3 60
//	01 23 45 67 89 ab cd ef
//	85 03                      block: of 389 bytes
//	28                           literals: 11 bytes
//	82 01 79 01 80               an array of two: 1, and a text of 384 bytes
//	61 6e 73 77 65 72            "answer"
//	11 06 19 00 6e 00            copies from 6 bytes before: 378 bytes
//
// The body of a negative entry (flag 2) is the text of an error of
// Options.CacheErrors:
//
//	f5 66 6e 63 01 02 01 00    flag 2
//	00 00 01 8d f4 bc 56 7b 00 00 00 00 00 16 e3 60 01 23 45 67 89 ab cd ef
//	6e 6f 20 73 75 63 68 20 62 6f 6f 6b    "no such book"
//
// The lifetime of an entry (flag 32), which the function has set, comes after the header:
// how long the entry is fresh, and how long it may be served, in milliseconds. The first
// entry above, fresh for an hour and served for a day:
//
//	f5 66 6e 63 01 20 01 00    flag 32, CBOR
//	00 00 01 8d f4 bc 56 7b 00 00 00 00 00 16 e3 60 01 23 45 67 89 ab cd ef
//	00 00 00 00 00 36 ee 80    3600000 ms
//	00 00 00 00 05 26 5c 00    86400000 ms
//	82 18 2a 66 61 6e 73 77 65 72
//
// An ETag (flag 64), which the function has set, is the beginning of the body before the body is
// compressed and sealed: the length of the ETag in two bytes, and its text. The first entry above
// with the ETag "v1", in quotation marks as in HTTP:
//
//	f5 66 6e 63 01 40 01 00    flag 64, CBOR
//	00 00 01 8d f4 bc 56 7b 00 00 00 00 00 16 e3 60 01 23 45 67 89 ab cd ef
//	00 04                      four bytes
//	22 76 31 22                "v1"
//	82 18 2a 66 61 6e 73 77 65 72
//
// The tags of an entry (flag 4) come after the header and the lifetime, and before the body.
// They are never compressed: an epoch of 16 bytes, the number of tags in 2 bytes, and for each
// tag its hash in 16 bytes and its stamp in 8 (internal/fence). The entry above with one tag:
//
//	f5 66 6e 63 01 04 01 00    flag 4, CBOR
//	00 00 01 8d f4 bc 56 7b 00 00 00 00 00 16 e3 60 01 23 45 67 89 ab cd ef
//	f0 f1 f2 f3 f4 f5 f6 f7    epoch
//	f8 f9 fa fb fc fd fe ff
//	00 01                      one tag
//	a0 a1 a2 a3 a4 a5 a6 a7      hash
//	a8 a9 aa ab ac ad ae af
//	00 06 37 d3 36 04 04 00      stamp 1750230144123904
//	82 18 2a 66 61 6e 73 77 65 72
//
// A sealed body (flag 16) is compressed first and then encrypted: the id of the key in 4 bytes,
// a salt of 16, the ciphertext, and a tag of 16 (internal/seal). The tag also authenticates the
// version, the codec, the flags about the body, and the key in Redis, so an entry opens only
// under its own key. It does not authenticate the times, the cost, the id and the tags. The
// entry above, under the key "k", with a secret of 32 bytes 07 and a salt of 16 bytes 05:
//
//	f5 66 6e 63 01 10 01 00    flag 16, CBOR
//	00 00 01 8d f4 bc 56 7b 00 00 00 00 00 16 e3 60 01 23 45 67 89 ab cd ef
//	c0 34 18 07                id of the key
//	05 05 05 05 05 05 05 05    salt
//	05 05 05 05 05 05 05 05
//	4a 62 48 a5 2e 8b 2f 55 5a 60    ciphertext
//	5e 52 88 21 77 49 dd e7    tag
//	67 34 e5 b5 8d d1 d3 6f
//
// lock_expire.lua sets flag 8 in a stored entry: the entry is then never fresh, at any age.
//
// The first byte cannot begin a text in UTF-8 or JSON, an array in CBOR, or gzip, so a value
// that another program wrote under the key is recognized at once.
//
// Four scripts depend on this format. lock_expire.lua sets a flag in entries of this version.
// lock_store.lua and lock_keep.lua compare the id, at envelopeIDOffset, to recognize a step that
// was sent twice; lock_keep.lua also replaces the bytes before the body. lock_acquire.lua compares
// the whole header; entries differ in it because the id is part of it.
//
// # How it evolves
//
// Old and new processes share a Redis during a deploy. If a reader meets something that it does
// not know, the entry is a miss with a reason: another version, a flag that is not defined,
// another codec, or a reserved byte that is not 0.
//
//   - An addition that old readers must not ignore needs a flag or the reserved byte.
//   - Another encoding of the body needs a new codec and codecName. This makes other keys, so
//     two releases do not overwrite each other's entries again and again.
//   - Another compression needs its own flag. Write it only when all running processes can read
//     it: for others these entries are misses, and both would overwrite each other's entries.
//     Flags are not part of keys, because an entry may be compressed or not.
//   - Any other change needs a new version.
//
// Magic, the place of the version, envelopeIDOffset and the length of the header stay the same
// in all versions, because scripts of one version meet entries of the other. Every version
// keeps its golden file in testdata.
const (
	envelopeMagic     = "\xf5fnc"
	envelopeVersion   = 1
	envelopeHeaderLen = 32
	envelopeIDOffset  = 24

	versionOffset  = 4
	flagsOffset    = 5
	codecOffset    = 6
	reservedOffset = 7
	storedAtOffset = 8
	costOffset     = 16
)

// Flags of an entry.
const (
	flagCompressed byte = 1 << 0 // the body is one S2 block
	flagNegative   byte = 1 << 1 // the body is the text of an error
	flagTagged     byte = 1 << 2 // tags come before the body
	flagExpired    byte = 1 << 3 // the entry is never fresh
	flagSealed     byte = 1 << 4 // the body is encrypted
	flagLifetime   byte = 1 << 5 // a lifetime comes before the body
	flagETag       byte = 1 << 6 // the body begins with an ETag

	knownFlags = flagCompressed | flagNegative | flagTagged | flagExpired | flagSealed | flagLifetime | flagETag
	bodyFlags  = flagCompressed | flagNegative | flagSealed | flagETag // the flags about the body
)

// Codecs in the header of an entry. The keys distinguish different codecs of users.
const (
	codecCBOR  byte = 1
	codecJSON  byte = 2
	codecOther byte = 255
)

// isCodec reports whether a header may have that codec.
func isCodec(id byte) bool { return id == codecCBOR || id == codecJSON || id == codecOther }

// maxCost is the longest time that a time.Duration can hold, in microseconds.
const maxCost = uint64(math.MaxInt64 / time.Microsecond)

// An envelope is one stored entry.
type envelope struct {
	flags    byte
	codec    byte
	storedAt int64 // milliseconds since the Unix epoch, on the server's clock
	cost     time.Duration
	id       uint64
	life     *lifetimes   // nil without flagLifetime
	tags     *fence.Block // nil without flagTagged
	body     []byte
	etag     *string // of a body that was opened; nil without one
}

// lifetimes say how long an entry is fresh and how long it may be served:
// 0 <= freshness <= timeout.
type lifetimes struct{ freshness, timeout time.Duration }

// lifetimesLen is the length of lifetimes in an entry.
const lifetimesLen = 16

// maxMillis is the longest time that a time.Duration can hold, in milliseconds.
const maxMillis = uint64(math.MaxInt64 / time.Millisecond)

func (l *lifetimes) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.freshness.Milliseconds()))
	return binary.BigEndian.AppendUint64(dst, uint64(l.timeout.Milliseconds()))
}

// parseLifetimes reads the lifetimes at the beginning of raw. rest has the bytes after them.
func parseLifetimes(raw []byte) (l *lifetimes, rest []byte, reason *missReason) {
	if len(raw) < lifetimesLen {
		return nil, nil, miss(missTruncated, "byte %d: the lifetime is cut off", envelopeHeaderLen)
	}
	freshness, timeout := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	if timeout == 0 || timeout > maxMillis || freshness > timeout {
		return nil, nil, miss(missCorrupt, "byte %d: it is fresh for %d ms and served for %d ms", envelopeHeaderLen, freshness, timeout)
	}
	return &lifetimes{time.Duration(freshness) * time.Millisecond, time.Duration(timeout) * time.Millisecond}, raw[lifetimesLen:], nil
}

// maxETag is the greatest length of an ETag.
const maxETag = 256

// appendETag appends an ETag in its form at the beginning of a body.
func appendETag(dst []byte, etag string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(etag))), etag...)
}

// cutETag takes the ETag from the beginning of a body that was opened.
func (e *envelope) cutETag() error {
	if len(e.body) < 2 {
		return miss(missCorrupt, "the body ends before its ETag")
	}
	n := int(binary.BigEndian.Uint16(e.body))
	if n == 0 || n > maxETag || len(e.body) < 2+n {
		return miss(missCorrupt, "the body has an ETag of %d bytes", n)
	}
	etag := string(e.body[2 : 2+n])
	e.etag, e.body, e.flags = &etag, e.body[2+n:], e.flags&^flagETag
	return nil
}

// headLen returns the length of the parts before the body.
func (e *envelope) headLen() int {
	n := envelopeHeaderLen
	if e.life != nil {
		n += lifetimesLen
	}
	if e.tags != nil {
		n += e.tags.Len()
	}
	return n
}

// negative reports whether the entry is an error of Options.CacheErrors.
func (e *envelope) negative() bool { return e.flags&flagNegative != 0 }

// appendTo appends the header, the lifetimes, the tags and the body.
func (e *envelope) appendTo(dst []byte) []byte {
	dst = append(dst, envelopeMagic...)
	dst = append(dst, envelopeVersion, e.flags, e.codec, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.storedAt))
	dst = binary.BigEndian.AppendUint64(dst, uint64(max(e.cost, 0)/time.Microsecond))
	dst = binary.BigEndian.AppendUint64(dst, e.id)
	if e.flags&flagLifetime != 0 {
		dst = e.life.appendTo(dst)
	}
	if e.flags&flagTagged != 0 {
		dst = e.tags.AppendTo(dst)
	}
	return append(dst, e.body...)
}

// bound returns the data that the tag of a sealed body authenticates besides the body.
func (e *envelope) bound(key string) []byte {
	return append([]byte{envelopeVersion, e.codec, e.flags & bodyFlags}, key...)
}

// idBytes returns the id in its form at envelopeIDOffset.
func (e *envelope) idBytes() (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], e.id)
	return id
}

// parseEnvelope reads the header, the lifetimes and the tags of an entry. It does not read the
// body, which shares memory with raw. The error is a *missReason.
func parseEnvelope(raw []byte) (envelope, error) {
	if reason := checkHeader(raw); reason != nil {
		return envelope{}, reason
	}
	e := envelope{
		flags:    raw[flagsOffset],
		codec:    raw[codecOffset],
		storedAt: int64(binary.BigEndian.Uint64(raw[storedAtOffset:])),
		cost:     time.Duration(binary.BigEndian.Uint64(raw[costOffset:])) * time.Microsecond,
		id:       binary.BigEndian.Uint64(raw[envelopeIDOffset:]),
		body:     raw[envelopeHeaderLen:],
	}
	if e.flags&flagLifetime != 0 {
		var reason *missReason
		if e.life, e.body, reason = parseLifetimes(e.body); reason != nil {
			return envelope{}, reason
		}
	}
	if e.flags&flagTagged == 0 {
		return e, nil
	}
	tags, body, err := fence.ParseBlock(e.body)
	switch {
	case err == fence.ErrTruncated: //nolint:errorlint // it is returned as it is
		return envelope{}, miss(missTruncated, "byte %d: %v", len(raw)-len(e.body), err)
	case err != nil:
		return envelope{}, miss(missCorrupt, "byte %d: tags: %v", len(raw)-len(e.body), err)
	}
	e.tags, e.body = &tags, body
	return e, nil
}

// checkHeader checks the version before anything else, because the bytes after it have a
// meaning only in a known version.
func checkHeader(raw []byte) *missReason {
	n := min(len(raw), len(envelopeMagic))
	switch {
	case len(raw) == 0:
		return miss(missEmpty, "no bytes")
	case string(raw[:n]) != envelopeMagic[:n]:
		return miss(missForeign, "does not begin with the magic bytes of an entry")
	case len(raw) > versionOffset && raw[versionOffset] == 0:
		return miss(missCorrupt, "byte %d: version 0", versionOffset)
	case len(raw) > versionOffset && raw[versionOffset] != envelopeVersion:
		return miss(missNewer, "byte %d: version %d, known is %d", versionOffset, raw[versionOffset], envelopeVersion)
	case len(raw) < envelopeHeaderLen:
		return miss(missTruncated, "%d bytes, the header has %d", len(raw), envelopeHeaderLen)
	case raw[flagsOffset]&^knownFlags != 0:
		return miss(missUnknownFlag, "byte %d: flags %#02x", flagsOffset, raw[flagsOffset])
	case raw[flagsOffset]&flagNegative != 0 && raw[flagsOffset]&(flagETag|flagLifetime) != 0:
		return miss(missCorrupt, "byte %d: an error with an ETag or a lifetime", flagsOffset)
	case !isCodec(raw[codecOffset]):
		return miss(missUnknownCodec, "byte %d: codec %d", codecOffset, raw[codecOffset])
	case raw[reservedOffset] != 0:
		return miss(missUnknownFlag, "byte %d: the reserved byte is %#02x and must be 0", reservedOffset, raw[reservedOffset])
	case raw[storedAtOffset]&0x80 != 0:
		return miss(missCorrupt, "byte %d: stored before 1970", storedAtOffset)
	case binary.BigEndian.Uint64(raw[costOffset:]) > maxCost:
		return miss(missCorrupt, "byte %d: a cost of centuries", costOffset)
	}
	return nil
}

// A missKind is the reason why bytes that Redis has under a key are not a usable entry.
type missKind string

const (
	missEmpty        missKind = "empty"
	missTruncated    missKind = "truncated"
	missForeign      missKind = "foreign"       // written by another program
	missNewer        missKind = "newer format"  // of an unknown version
	missUnknownFlag  missKind = "unknown flag"  // an undefined flag, or a reserved byte that is not 0
	missUnknownCodec missKind = "unknown codec" // of the body
	missCorrupt      missKind = "corrupt"       // bytes that no version writes
	missSealed       missKind = "sealed"        // sealed and does not open, or not sealed but the cache seals
	missUnknownError missKind = "unknown error" // a negative entry whose error this process does not cache
)

// A missReason is an error that says why bytes could not be read. It names the place and never
// the content, because it is logged.
type missReason struct {
	why    missKind
	detail string
}

func miss(why missKind, format string, args ...any) *missReason {
	return &missReason{why: why, detail: fmt.Sprintf(format, args...)}
}

func (m *missReason) kind() string { return string(m.why) }

func (m *missReason) Error() string { return m.kind() + " entry: " + m.detail }

// A negativeError is an error of Options.CacheErrors, with the text by which it is
// stored.
type negativeError struct {
	err  error
	text string
}

func negativesOf(errs []error) (all []negativeError) {
	for _, err := range errs {
		all = append(all, negativeError{err, err.Error()})
	}
	return all
}

// negativeOf returns the error of a negative entry: the error of Options.CacheErrors that
// has the text in the entry.
func (f *Func) negativeOf(body []byte) (error, bool) { //nolint:revive // the error is the value
	for _, listed := range f.negatives {
		if listed.text == string(body) {
			return listed.err, true
		}
	}
	return nil, false
}

// textOf returns the text of an error. ok is false if the Error method panics, as it usually
// does on a nil pointer.
func textOf(err error) (text string, ok bool) {
	defer func() { _ = recover() }()
	return err.Error(), true
}
