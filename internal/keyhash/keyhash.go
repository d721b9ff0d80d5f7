// Package keyhash hashes the arguments of a call for its key: 128 bits, keyed by a
// secret if there is one.
//
// # The canonical form
//
// What is hashed is the canonical form of the arguments: a list of one value for
// each argument. A value is a boolean, a number of one to eight bytes, a string, or
// a list of values:
//
//	argument                               canonical form
//	-------------------------------------  -------------------------------------------
//	bool, integers, floats                 the number; int and uint have 8 bytes
//	string, []byte, [N]byte                the string of the bytes
//	time.Time                              the list of its Unix seconds, nanoseconds,
//	                                       and offset from UTC in seconds
//	slice, array                           the list of the elements
//	map                                    the list of the pairs, each a list of key and
//	                                       value, in the order of the hashes of the keys
//	struct                                 the list of the fields, in order
//	struct with hidden fields, and any     the string that its MarshalBinary, or else its
//	other type that is Opaque              MarshalText, returns
//
// Named types count as their kind, whatever methods they have: a text often says less than the
// value. Only a type that is Opaque, mostly a struct with hidden fields (unexported ones, other
// than "_"), is hashed by its encoding, because its fields are not visible. A field tagged
// `fncache:"-"` counts neither as hidden nor as a field. Nil slices and maps are empty. Floats
// differ if their bits do, so +0 and -0 differ, and a NaN equals itself.
//
// Two values of one type are the same argument exactly if their canonical forms are
// equal. The types themselves are no part of the form: the signature in the key is
// there for them.
//
// # The hash
//
// The hash of the form is bit for bit what hashstructure
// (github.com/mitchellh/hashstructure, FormatV2) gives for it as a []any, by two
// Hashers: SipHash-2-4 under two keys. For a number or a string that is SipHash of its
// bytes, the lowest first; for a list it is 0 if it is empty, or else SipHash of the
// hash of the list without its last element and the hash of that. hashstructure would
// combine the fields of structs and the pairs of maps by exclusive or, and then a
// second map with a given hash is a matter of linear algebra. It never sees either, so
// each type is hashed here by what is known of it beforehand.
package keyhash

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"unsafe"

	"github.com/dchest/siphash"
)

// Size is the number of bytes of a Hash.
const Size = 16

// A Hash is a hash of arguments: two of 64 bits, of the same form under two keys. The
// zero value is that of no arguments.
type Hash [2]uint64

// Bytes returns the bytes of the hash.
func (h Hash) Bytes() (raw [Size]byte) {
	binary.BigEndian.PutUint64(raw[:], h[0])
	binary.BigEndian.PutUint64(raw[8:], h[1])
	return raw
}

// AppendHex appends the hash as it stands in keys.
func (h Hash) AppendHex(dst []byte) []byte {
	raw := h.Bytes()
	return hex.AppendEncode(dst, raw[:])
}

// Keys are the two keys of SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast
// short-input PRF", 2012). They are comparable: equal keys hash alike.
type Keys [2][2]uint64

// NewKeys derives the keys from a secret. Without one they are constants that anybody
// can compute.
func NewKeys(secret []byte) *Keys {
	seed := sha256.Sum256(append([]byte("fncache argument hash v1:"), secret...))
	k := new(Keys)
	for i := range k {
		half := seed[16*i:]
		k[i] = [2]uint64{binary.LittleEndian.Uint64(half), binary.LittleEndian.Uint64(half[8:])}
	}
	return k
}

// String returns the hash of a string, given as its bytes.
func (k *Keys) String(s []byte) Hash {
	return Hash{
		siphash.Hash(k[0][0], k[0][1], s),
		siphash.Hash(k[1][0], k[1][1], s),
	}
}

// Text returns the hash of a string.
func (k *Keys) Text(s string) Hash { return k.String(unsafe.Slice(unsafe.StringData(s), len(s))) }

// Number returns the hash of the lowest bytes of n, the lowest first.
func (k *Keys) Number(n uint64, bytes int) Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return k.String(b[:bytes])
}

// Append returns the hash of a list with one element more.
func (k *Keys) Append(list, elem Hash) (h Hash) {
	var b [16]byte
	for i := range h {
		binary.LittleEndian.PutUint64(b[:], list[i])
		binary.LittleEndian.PutUint64(b[8:], elem[i])
		h[i] = siphash.Hash(k[i][0], k[i][1], b[:])
	}
	return h
}
