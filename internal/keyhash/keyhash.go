// Package keyhash hashes the arguments of a call for its key. A hash has 128 bits, and is keyed by
// a secret if there is one.
//
// # The canonical form
//
// The canonical form of the arguments is hashed. It is a list with one value for each argument. A
// value is a boolean, a number of one to eight bytes, a string, or a list of values:
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
// Named types count as their kind, whatever methods they have, because the text of a value often
// says less than the value. Only a type that is Opaque, mostly a struct with hidden fields
// (unexported ones, other than "_"), is hashed by its encoding, because its fields are not visible.
// A field tagged `fncache:"-"` counts neither as hidden nor as a field. Nil slices and maps are
// empty. Floats differ if their bits do, so +0 and -0 differ, and a NaN equals itself.
//
// Two values of one type are the same argument exactly if their canonical forms are equal. The form
// does not contain the types, because the key also has the signature.
//
// # The hash
//
// The hash of the form is bit for bit the hash that hashstructure
// (github.com/mitchellh/hashstructure, FormatV2) returns for the form as a []any. Two Hashers give
// its two halves: SipHash-2-4 under two keys. The hash of a number or a string is SipHash of its
// bytes, the lowest first. The hash of an empty list is 0. The hash of another list is SipHash of
// two hashes: that of the list without its last element, and that of the last element.
// hashstructure would combine the fields of structs and the pairs of maps by exclusive or, and then
// linear algebra finds a second map with a given hash. Therefore the canonical form turns structs
// and maps into lists.
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

// A Hash is a hash of arguments: two hashes of 64 bits, of the same form under two keys. The zero
// value is the hash of no arguments.
type Hash [2]uint64

// Bytes returns the bytes of the hash.
func (h Hash) Bytes() (raw [Size]byte) {
	binary.BigEndian.PutUint64(raw[:], h[0])
	binary.BigEndian.PutUint64(raw[8:], h[1])
	return raw
}

// AppendHex appends the hash as it is written in keys.
func (h Hash) AppendHex(dst []byte) []byte {
	raw := h.Bytes()
	return hex.AppendEncode(dst, raw[:])
}

// Keys are the two keys of SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast
// short-input PRF", 2012). They are comparable: equal keys hash alike.
type Keys [2][2]uint64

// NewKeys derives the keys from a secret. Without a secret they are public constants.
func NewKeys(secret []byte) *Keys {
	seed := sha256.Sum256(append([]byte("fncache argument hash v1:"), secret...))
	k := new(Keys)
	for i := range k {
		half := seed[16*i:]
		k[i] = [2]uint64{binary.LittleEndian.Uint64(half), binary.LittleEndian.Uint64(half[8:])}
	}
	return k
}

// String returns the hash of a string that is given as its bytes.
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

// Append returns the hash of a list after one more element is appended.
func (k *Keys) Append(list, elem Hash) (h Hash) {
	var b [16]byte
	for i := range h {
		binary.LittleEndian.PutUint64(b[:], list[i])
		binary.LittleEndian.PutUint64(b[8:], elem[i])
		h[i] = siphash.Hash(k[i][0], k[i][1], b[:])
	}
	return h
}
