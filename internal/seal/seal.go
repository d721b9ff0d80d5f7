// Package seal encrypts and authenticates the bodies of entries, with AES-256-GCM.
//
// Each body has a key of its own, which HKDF (RFC 5869, with SHA-256) derives from a secret and
// a random salt. With one key for all of them, random nonces would repeat too often after 2^32
// entries; salts of 16 bytes do not in the life of any Redis.
//
// A sealed body is
//
//	offset  size
//	     0     4  the id of the secret, which HKDF derives from it
//	     4    16  salt
//	    20        the ciphertext, as long as the body
//	          16  the tag of GCM
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	// SecretSize is the length of a secret.
	SecretSize = 32

	idSize   = 4
	saltSize = 16
	tagSize  = 16

	// Overhead is how much longer a body is when it is sealed.
	Overhead = idSize + saltSize + tagSize

	nonceSize = 12
)

// What HKDF derives keys for. A body that is sealed otherwise takes other texts.
const (
	idInfo   = "fncache seal 1 id"
	bodyInfo = "fncache seal 1 body"
)

// A Keyring seals with one secret, and opens what was sealed with any of its secrets. A nil
// Keyring does neither. Its methods are safe for concurrent use.
type Keyring struct{ secrets []secret }

type secret struct {
	id    [idSize]byte
	bytes []byte
}

// New returns a keyring whose first secret seals; nil where there is none. The secrets are
// copied. The error names the position of a secret that cannot be used, and never quotes it.
func New(secrets [][]byte) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	k := &Keyring{secrets: make([]secret, len(secrets))}
	for i, s := range secrets {
		if len(s) != SecretSize {
			return nil, fmt.Errorf("[%d] has %d bytes; use %d random bytes", i, len(s), SecretSize)
		}
		for j, other := range secrets[:i] {
			if bytes.Equal(s, other) {
				return nil, fmt.Errorf("[%d] is the same as [%d]; leave one of them out", i, j)
			}
		}
		id, err := hkdf.Key(sha256.New, s, nil, idInfo, idSize)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		k.secrets[i] = secret{[idSize]byte(id), bytes.Clone(s)}
	}
	return k, nil
}

// A Salt makes the key of one body.
type Salt [saltSize]byte

// NewSalt returns a random salt. A salt must not be used twice.
func NewSalt() (s Salt) {
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

// Seal appends a body to dst, sealed. data is authenticated and not stored: Open must be given the
// same.
func (k *Keyring) Seal(dst []byte, salt Salt, body, data []byte) []byte {
	s := &k.secrets[0]
	gcm, nonce := s.cipher(salt[:])
	dst = append(dst, s.id[:]...)
	dst = append(dst, salt[:]...)
	return gcm.Seal(dst, nonce, body, s.bound(data))
}

// The reasons why a body does not open.
var (
	ErrTruncated = errors.New("it is shorter than a sealed body")
	ErrUnknown   = errors.New("it is sealed with a key that is not known here")
	ErrForged    = errors.New("it does not open: it is damaged, or was sealed for another key or header")
)

// Open returns the body of what Seal has appended. It shares no memory with sealed.
func (k *Keyring) Open(sealed, data []byte) (body []byte, err error) {
	if len(sealed) < Overhead {
		return nil, ErrTruncated
	}
	id, salt, rest := sealed[:idSize], sealed[idSize:idSize+saltSize], sealed[idSize+saltSize:]
	err = ErrUnknown
	for i := range k.secrets { // two secrets may have one id
		s := &k.secrets[i]
		if !bytes.Equal(id, s.id[:]) {
			continue
		}
		gcm, nonce := s.cipher(salt)
		if body, failed := gcm.Open(nil, nonce, rest, s.bound(data)); failed == nil {
			return body, nil
		}
		err = ErrForged
	}
	return nil, err
}

// Current reports whether a body, which Open has opened, is sealed with the secret that seals. It
// returns false if that is not certain, because another secret has the same id.
func (k *Keyring) Current(sealed []byte) bool {
	for i := range k.secrets[1:] {
		if k.secrets[i+1].id == k.secrets[0].id {
			return false
		}
	}
	return bytes.HasPrefix(sealed, k.secrets[0].id[:])
}

// cipher returns the cipher of one body, with its nonce. They depend on the secret and the salt.
func (s *secret) cipher(salt []byte) (gcm cipher.AEAD, nonce []byte) {
	derived, err := hkdf.Key(sha256.New, s.bytes, salt, bodyInfo, SecretSize+nonceSize)
	if err == nil {
		var block cipher.Block
		if block, err = aes.NewCipher(derived[:SecretSize]); err == nil {
			gcm, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic("fncache: seal: " + err.Error()) // the lengths are right, and were used before
	}
	return gcm, derived[SecretSize:]
}

// bound returns what is authenticated beside the body.
func (s *secret) bound(data []byte) []byte { return append(s.id[:len(s.id):len(s.id)], data...) }
