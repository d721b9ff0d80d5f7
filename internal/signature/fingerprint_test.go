package signature

import (
	"context"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/specimen"
)

type (
	octet      byte
	nothing    struct{}
	onlyText   struct{ a int }
	onlyBinary struct{ a int }
	writesOnly struct{ A int }
	uuid       [16]byte
)

func (b onlyText) MarshalText() ([]byte, error)      { return []byte{byte(b.a)}, nil }
func (b *onlyText) UnmarshalText(r []byte) error     { b.a = int(r[0]); return nil }
func (b onlyBinary) MarshalBinary() ([]byte, error)  { return []byte{byte(b.a)}, nil }
func (b *onlyBinary) UnmarshalBinary(r []byte) error { b.a = int(r[0]); return nil }
func (writesOnly) MarshalJSON() ([]byte, error)      { return []byte("1"), nil }
func (u uuid) MarshalBinary() ([]byte, error)        { return u[:], nil }
func (u *uuid) UnmarshalBinary(raw []byte) error     { copy(u[:], raw); return nil }

// signatureOf returns the signature of a type that can be cached.
func signatureOf(t testing.TB, fn reflect.Type, lossy bool) *Signature {
	sig, err := New(fn, lossy, codec.CBOR)
	require.NoError(t, err)
	return sig
}

func TestDifferentTypesHaveDifferentFingerprints(t *testing.T) {
	sigOf := func(fn reflect.Type, name string) string {
		return signatureOf(t, fn, false).Fingerprint(name, codec.CBOR)
	}
	base := sigOf(result[struct{ A int }](), "cbor1")
	assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{12}$`), base)
	type aliased struct{ A int }
	type deep struct {
		Books map[string][]struct{ A int }
	}
	type deeper struct {
		Books map[string][]struct{ A int64 }
	}
	for _, test := range []struct {
		what string
		a, b reflect.Type
		same bool
	}{
		{"a context", reflect.TypeFor[func(context.Context, int) int](), reflect.TypeFor[func(int) int](), true},
		{"an error", reflect.TypeFor[func(int) int](), reflect.TypeFor[func(int) (int, error)](), true},
		{"variadic", reflect.TypeFor[func([]int) int](), reflect.TypeFor[func(...int) int](), true},
		{"fields left out of results", result[struct {
			A int
			b int `fncache:"-"`
		}](), result[struct{ A int }](), true},
		{"fields left out of the key", param[struct {
			A int
			B chan int `fncache:"-"`
		}](), param[struct{ A int }](), true},

		{"result type", result[int](), result[int64](), false},
		{"parameter type", param[int](), param[int64](), false},
		{"parameter or result", reflect.TypeFor[func(int) string](), reflect.TypeFor[func(string) int](), false},
		{"parameter type name", param[int](), param[plainID](), false},
		{"parameter field name", param[struct{ A int }](), param[struct{ B int }](), false},
		{"parameter field of another name, deep", param[map[string][]struct{ A time.Time }](), param[map[string][]struct{ B time.Time }](), false},
		{"parameter with an encoding or by value", param[binaryKey](), param[EmbeddedOK](), false},
		{"parameter's tags of other libraries", param[otherTags](), param[otherTags](), true},
		{"a blank field of a parameter", param[struct{ A, _ int }](), param[struct{ A int }](), true},
		{"array length of a parameter", param[[2]byte](), param[[3]byte](), false},
		{"sign of a parameter", param[int](), param[uint](), false},
		{"number of parameters", reflect.TypeFor[func(int) int](), reflect.TypeFor[func(int, int) int](), false},
		{"number of results", reflect.TypeFor[func() int](), reflect.TypeFor[func() (int, int)](), false},
		{"type name", result[struct{ A int }](), result[aliased](), false},
		{"field name", result[struct{ A int }](), result[struct{ B int }](), false},
		{"field type", result[struct{ A int }](), result[struct{ A uint }](), false},
		{"field type, deep", result[struct{ D deep }](), result[struct{ D deeper }](), false},
		{"field tag", result[struct{ A int }](), result[struct {
			A int `json:"a"`
		}](), false},
		{"field added", result[struct{ A int }](), result[struct{ A, B int }](), false},
		{"fields swapped", result[struct{ A, B int }](), result[struct{ B, A int }](), false},
		{"embedded", result[struct{ EmbeddedOK }](), result[struct{ EmbeddedOK EmbeddedOK }](), false},
		{"pointer", result[EmbeddedOK](), result[*EmbeddedOK](), false},
		{"array length", result[[2]int](), result[[3]int](), false},
		{"slice or array", result[[2]int](), result[[]int](), false},
		{"type name of bytes", result[[]octet](), result[[]byte](), false},
		{"type name of bytes of an array", result[[2]octet](), result[[2]byte](), false},
		{"type name of elements of size 0", result[[]nothing](), result[[]struct{}](), false},
		{"type name of bytes of a parameter", param[[]octet](), param[[]byte](), false},
		{"type name of bytes of an array of a parameter", param[[2]octet](), param[[2]byte](), false},
		{"map key", result[map[int]int](), result[map[string]int](), false},
		{"what it is encoded by", result[onlyBinary](), result[onlyText](), false},
		{"its own encoding", result[binaryKey](), result[ownEncoding](), false},
	} {
		t.Run(test.what, func(t *testing.T) {
			assert.Equal(t, test.same, sigOf(test.a, "cbor2") == sigOf(test.b, "cbor2"))
			assert.NotEqual(t, sigOf(test.a, "cbor2"), sigOf(test.a, "cbor3"), "another codec")
		})
	}
}

func TestParametersThatHashAlikeShareAFingerprint(t *testing.T) {
	of := func(fn reflect.Type) string {
		return signatureOf(t, fn, false).ParamsFingerprint()
	}
	type id struct{ ID int64 }
	type renamed struct {
		Key int `json:"key"`
	}
	for _, test := range []struct {
		what string
		a, b reflect.Type
		same bool
	}{
		{"results do not count", reflect.TypeFor[func(int) int](), reflect.TypeFor[func(int) (string, error)](), true},
		{"nor does a context", reflect.TypeFor[func(context.Context, int) int](), reflect.TypeFor[func(int) int](), true},
		{"nor do names of types", param[int64](), param[plainID](), true},
		{"nor do names and tags of fields", param[id](), param[renamed](), true},
		{"nor do methods of what is hashed by value", param[[16]byte](), param[specimen.UUID](), true},
		{"kinds do", param[int64](), param[float64](), false},
		{"sizes do", param[int64](), param[int32](), false},
		{"lists and strings", param[[]byte](), param[[]int8](), false},
		{"the number of parameters does", reflect.TypeFor[func(int, int) int](), reflect.TypeFor[func(int) int](), false},
		{"and of fields", param[struct{ A int }](), param[struct{ A, B int }](), false},
		{"types with an encoding", param[binaryKey](), param[textKey](), false},
	} {
		assert.Equal(t, test.same, of(test.a) == of(test.b), test.what)
	}
}

func TestFingerprintsForOtherCodecsChangeWithAllOfAType(t *testing.T) {
	of := func(fn reflect.Type, mark string) string { return signatureOf(t, fn, true).OtherFingerprint(mark) }
	type recursive struct {
		A    int
		Next *recursive `cbor:"-" json:"-"`
	}
	base := of(result[struct{ A int }](), "json1")
	assert.Len(t, base, 2*fingerprintLen)
	for what, other := range map[string]string{
		"codec":         of(result[struct{ A int }](), "json2"),
		"quoted codec":  of(result[struct{ A int }](), `codec "json1"`),
		"a type":        of(result[struct{ A int64 }](), "json1"),
		"an unexported": of(result[struct{ A, b int }](), "json1"), //nolint:unused // that is the point
		"a left-out field": of(result[struct {
			A int
			B int `json:"-"`
		}](), "json1"),
		"recursive": of(result[recursive](), "json1"),
		"a tag": of(result[struct {
			A int `json:"a"`
		}](), "json1"),
		"inside of what encodes itself": of(result[uuid](), "json1"),
	} {
		assert.NotEqual(t, base, other, what)
	}
	type plain struct{ A int }
	assert.NotEqual(t, of(result[plain](), "json1"), of(result[writesOnly](), "json1"))
	assert.Equal(t, base, of(reflect.TypeFor[func(context.Context) (struct{ A int }, error)](), "json1"))
}
