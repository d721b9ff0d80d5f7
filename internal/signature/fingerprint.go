package signature

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
)

// fingerprintLen is the length of a fingerprint in bytes; in text it is twice as long.
const fingerprintLen = 6

// Fingerprint returns a short hash, in hex, of the types of parameters and results, of how one of
// our codecs encodes the results, and of the templates of tags. name is the name of the codec with
// its version. The context and the error may come and go, because they are neither stored nor
// hashed. The results must have passed Check for the format.
func (s *Signature) Fingerprint(name string, format codec.Format) string {
	return s.fingerprint(name, func(b *strings.Builder) { s.Encoding.Describe(b, format) })
}

// OtherFingerprint is like Fingerprint, for a codec of the user. Nothing is known of it, so it may
// store any part of a result type.
func (s *Signature) OtherFingerprint(name string) string {
	return s.fingerprint(name, func(b *strings.Builder) {
		known := make(map[reflect.Type]int)
		for _, t := range s.Results {
			b.WriteString("\nresult ")
			writeType(b, t, known)
		}
	})
}

// ParamsFingerprint returns a short hash of how arguments are hashed. If it is the same for two
// functions, the same arguments have the same hash in both. It does not change when types and
// fields are only renamed.
func (s *Signature) ParamsFingerprint() string {
	var b strings.Builder
	s.describeParams(&b, false)
	return shortHash(b.String())
}

func (s *Signature) fingerprint(codec string, results func(*strings.Builder)) string {
	var b strings.Builder
	b.WriteString(codec)
	s.describeParams(&b, true)
	if s.Tags != nil {
		b.WriteString("\ntags")
		for _, template := range s.Tags {
			fmt.Fprintf(&b, " %q", template)
		}
	}
	results(&b)
	return shortHash(b.String())
}

// describeParams writes everything that determines the hash of arguments. If names is true, it also
// writes the names of types and fields.
func (s *Signature) describeParams(b *strings.Builder, names bool) {
	for _, t := range s.Params {
		b.WriteString("\nparameter " + keyhash.Form(t, names))
	}
	if s.Varies {
		b.WriteString("\nvary")
	}
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:fingerprintLen])
}

// encoders are the methods by which a type may encode itself for a codec.
var encoders = []reflect.Type{
	reflect.TypeFor[interface{ MarshalCBOR() ([]byte, error) }](),
	reflect.TypeFor[encoding.BinaryMarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](),
	reflect.TypeFor[json.Marshaler](),
}

// writeType writes a type with everything that may change what a codec stores. known has the types
// that were written before, numbered in order. They are not written again.
func writeType(b *strings.Builder, t reflect.Type, known map[reflect.Type]int) {
	if n, ok := known[t]; ok {
		fmt.Fprintf(b, "#%d", n)
		return
	}
	fmt.Fprintf(b, "%q.%s %v", t.PkgPath(), t.Name(), t.Kind())
	for _, m := range encoders {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m) {
			b.WriteString(" " + m.Method(0).Name)
		}
	}
	if t == timeType {
		return
	}
	known[t] = len(known)
	b.WriteString("(")
	defer b.WriteString(")")
	switch t.Kind() {
	case reflect.Array:
		fmt.Fprintf(b, "%d ", t.Len())
		writeType(b, t.Elem(), known)
	case reflect.Slice, reflect.Pointer:
		writeType(b, t.Elem(), known)
	case reflect.Map:
		writeType(b, t.Key(), known)
		writeType(b, t.Elem(), known)
	case reflect.Struct:
		for field := range t.Fields() {
			fmt.Fprintf(b, "%q %t %q ", field.Name, field.Anonymous, field.Tag)
			writeType(b, field.Type, known)
		}
	}
}
