package seal_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/golden"
	"github.com/fncache/fncache/internal/seal"
)

// secret returns a secret for tests.
func secret(n byte) []byte { return bytes.Repeat([]byte{n}, seal.SecretSize) }

func ring(t interface{ Fatal(...any) }, secrets ...[]byte) *seal.Keyring {
	k, err := seal.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsSealedOpensToTheSame(t *testing.T) {
	k := ring(t, secret(1))
	rapid.Check(t, func(t *rapid.T) {
		body, data := rapid.SliceOf(rapid.Byte()).Draw(t, "body"), rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		before := rapid.SliceOf(rapid.Byte()).Draw(t, "before")
		dst := k.Seal(before, seal.NewSalt(), body, data)
		if !bytes.HasPrefix(dst, before) || len(dst) != len(before)+len(body)+seal.Overhead {
			t.Fatalf("%d bytes", len(dst))
		}
		opened, err := k.Open(dst[len(before):], data)
		if err != nil || !bytes.Equal(opened, body) {
			t.Fatal(err, opened)
		}
	})
}

func TestEachBitCounts(t *testing.T) {
	k := ring(t, secret(1), secret(2))
	data := []byte("fncache:{shop:1}:sig")
	sealed := k.Seal(nil, seal.NewSalt(), []byte("42"), data)
	for i := range sealed {
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1 << bit
			_, err := k.Open(changed, data)
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
	}
	for n := range sealed {
		_, err := k.Open(sealed[:n], data)
		require.Error(t, err)
	}
	_, err := k.Open(append(bytes.Clone(sealed), 0), data)
	require.ErrorIs(t, err, seal.ErrForged)
	_, err = k.Open(sealed, []byte("fncache:{shop:2}:sig"))
	require.ErrorIs(t, err, seal.ErrForged)
	_, err = k.Open(sealed[:seal.Overhead-1], data)
	require.ErrorIs(t, err, seal.ErrTruncated)
	_, err = ring(t, secret(3)).Open(sealed, data)
	require.ErrorIs(t, err, seal.ErrUnknown)
}

func TestTheFirstSecretSealsAndAllOpen(t *testing.T) {
	old, both, next := ring(t, secret(1)), ring(t, secret(2), secret(1)), ring(t, secret(2))
	body, data := []byte("42"), []byte("key")
	byOld, byBoth := old.Seal(nil, seal.NewSalt(), body, data), both.Seal(nil, seal.NewSalt(), body, data)
	for _, sealed := range [][]byte{byOld, byBoth} {
		opened, err := both.Open(sealed, data)
		require.NoError(t, err)
		assert.Equal(t, body, opened)
	}
	assert.True(t, old.Current(byOld))
	assert.True(t, both.Current(byBoth))
	assert.False(t, both.Current(byOld))
	_, err := next.Open(byOld, data)
	require.ErrorIs(t, err, seal.ErrUnknown)
	_, err = next.Open(byBoth, data)
	require.NoError(t, err)
}

// TestNothingOfABodyIsSeen: the same body is sealed otherwise each time, and has no bytes in
// common with its sealed form.
func TestNothingOfABodyIsSeen(t *testing.T) {
	k := ring(t, secret(1))
	body := bytes.Repeat([]byte("no such book "), 100)
	one, other := k.Seal(nil, seal.NewSalt(), body, nil), k.Seal(nil, seal.NewSalt(), body, nil)
	assert.NotEqual(t, one, other)
	assert.NotContains(t, string(one), "book")
}

func TestFaultsOfSecretsAreNamedWithoutTheirBytes(t *testing.T) {
	for want, secrets := range map[string][][]byte{
		"[0] has 0 bytes; use 32 random bytes":          {nil},
		"[1] has 31 bytes; use 32 random bytes":         {secret(1), secret(2)[:31]},
		"[2] is the same as [0]; leave one of them out": {secret('s'), secret(2), secret('s')},
		"[0] has 6 bytes; use 32 random bytes":          {[]byte("secret")},
		"[0] has 64 bytes; use 32 random bytes":         {append(secret('s'), secret('t')...)},
		"[1] is the same as [0]; leave one of them out": {secret('s'), secret('s')},
		"[1] has 33 bytes; use 32 random bytes":         {secret(1), append(secret(2), 1)},
		"[0] has 16 bytes; use 32 random bytes":         {secret('s')[:16]},
	} {
		_, err := seal.New(secrets)
		require.EqualError(t, err, want)
		assert.NotContains(t, err.Error(), "sss")
	}
	none, err := seal.New(nil)
	require.NoError(t, err)
	assert.Nil(t, none)
}

func TestSecretsAreCopied(t *testing.T) {
	own := secret(1)
	k := ring(t, own)
	clear(own)
	_, err := ring(t, secret(1)).Open(k.Seal(nil, seal.NewSalt(), nil, nil), nil)
	require.NoError(t, err)
}

// TestGoldenSealed holds the form: entries of other processes and releases must open.
func TestGoldenSealed(t *testing.T) {
	var salt seal.Salt
	for i := range salt {
		salt[i] = byte(i)
	}
	k := ring(t, secret(7))
	sealed := k.Seal(nil, salt, []byte("42"), []byte("key"))
	var dump strings.Builder
	at := 0
	for _, part := range []struct {
		n    int
		what string
	}{{4, "id of the secret"}, {16, "salt"}, {2, "ciphertext"}, {16, "tag"}} {
		fmt.Fprintf(&dump, "%-47s # %s\n", fmt.Sprintf("% x", sealed[at:at+part.n]), part.what)
		at += part.n
	}
	require.Len(t, sealed, at)
	golden.Check(t, "sealed_v1.hex", dump.String())
}

func FuzzOpen(f *testing.F) {
	k := ring(f, secret(1))
	f.Add(k.Seal(nil, seal.NewSalt(), []byte("42"), []byte("key")), []byte("key"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, data []byte) {
		body, err := k.Open(sealed, data)
		if err == nil && len(body) != len(sealed)-seal.Overhead {
			t.Fatal(hex.EncodeToString(body))
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	k := ring(b, secret(1))
	for _, size := range []int{100, 64 << 10} {
		body := make([]byte, size)
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sealed := k.Seal(nil, seal.NewSalt(), body, nil)
				if _, err := k.Open(sealed, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
