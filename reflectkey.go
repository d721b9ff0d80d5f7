package fncache

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
)

// A key is
//
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>         the entry
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>:lock    the lease
//
// without "<prefix>:" where there is none. hash is keyhash.Size bytes in hex that change
// with the arguments; sig is fingerprintLen bytes in hex that change with the types of
// the function and with the codec. A Redis Cluster chooses the slot by what stands in
// the braces, so one slot has the entries and leases that all releases of a function
// keep for the same arguments, and one script can delete them. testdata/keys_v1.txt
// holds examples: if one of them changes, every fleet starts cold.
const (
	lockSuffix     = ":lock"
	fingerprintLen = 6
)

// entryPrefix returns the key of an entry up to the hash. name is that of the
// function with its prefix.
func entryPrefix(namespace, name string) string { return namespace + ":{" + name + ":" }

// entrySuffix returns the key of an entry from the hash on.
func entrySuffix(sig string) string { return "}:" + sig }

// ---- fingerprints

// fingerprint is a short hash of the types of parameters and results, and of how
// results are encoded by a codec of ours. The context and the error are neither
// stored nor hashed, and may come and go.
func fingerprint(sig *signature, results []*codec.Plan, codec string) string {
	return fingerprintBy(sig, codec, func(b *strings.Builder) { describe(b, results) })
}

// otherFingerprint is fingerprint for a codec of which nothing is known: whatever
// there is in a result type may be stored.
func otherFingerprint(sig *signature, codec string) string {
	return fingerprintBy(sig, codec, func(b *strings.Builder) {
		for _, t := range sig.results {
			b.WriteString("\nresult ")
			writeType(b, t, nil)
		}
	})
}

func fingerprintBy(sig *signature, codec string, results func(*strings.Builder)) string {
	var b strings.Builder
	b.WriteString(codec)
	for _, t := range sig.params {
		b.WriteString("\nparameter " + keyhash.Form(t, true))
	}
	if sig.varies {
		b.WriteString("\nvary")
	}
	results(&b)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:fingerprintLen])
}

// paramsFingerprint is a short hash of how arguments are hashed: two functions with the
// same one have the same hash for the same arguments. It does not change where types and
// fields are only renamed.
func paramsFingerprint(sig *signature) string {
	var b strings.Builder
	for _, t := range sig.params {
		b.WriteString("\nparameter " + keyhash.Form(t, false))
	}
	if sig.varies {
		b.WriteString("\nvary")
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:fingerprintLen])
}

// encoders are the methods by which a codec may have a type encode itself.
var encoders = []reflect.Type{
	reflect.TypeFor[interface{ MarshalCBOR() ([]byte, error) }](),
	reflect.TypeFor[encoding.BinaryMarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](),
	reflect.TypeFor[json.Marshaler](),
}

// writeType writes a type out with all that may change what a codec stores. above are
// the types that it is inside of.
func writeType(b *strings.Builder, t reflect.Type, above []reflect.Type) {
	fmt.Fprintf(b, "%q.%s %v", t.PkgPath(), t.Name(), t.Kind())
	for _, m := range encoders {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m) {
			b.WriteString(" " + m.Method(0).Name)
		}
	}
	if t == timeType || slices.Contains(above, t) {
		return
	}
	above = append(above, t)
	b.WriteString("(")
	defer b.WriteString(")")
	switch t.Kind() {
	case reflect.Array:
		fmt.Fprintf(b, "%d ", t.Len())
		writeType(b, t.Elem(), above)
	case reflect.Slice, reflect.Pointer:
		writeType(b, t.Elem(), above)
	case reflect.Map:
		writeType(b, t.Key(), above)
		writeType(b, t.Elem(), above)
	case reflect.Struct:
		for field := range t.Fields() {
			fmt.Fprintf(b, "%q %t %q ", field.Name, field.Anonymous, field.Tag)
			writeType(b, field.Type, above)
		}
	}
}

// ---- arguments

// A keyPlan is all about a function's keys that is known when wrapping.
type keyPlan struct {
	fingerprint string
	params      []keyhash.ValueHasher
}

func newKeyPlan(sig *signature, codec string) *keyPlan {
	p := &keyPlan{fingerprint: fingerprint(sig, sig.plans.cbor, codec)}
	for i, t := range sig.params {
		p.params = append(p.params, keyhash.CompileValue(t, sig.place(i)))
	}
	return p
}

// sig is the fingerprint of the function's types and the codec.
func (p *keyPlan) sig() string { return p.fingerprint }

// hash hashes the arguments of a call.
func (p *keyPlan) hash(k *keyhash.Keys, args []reflect.Value) (list keyhash.Hash, err error) {
	for i, arg := range args {
		h, err := p.params[i](k, arg)
		if err != nil {
			return keyhash.Hash{}, err
		}
		list = k.Append(list, h)
	}
	return list, nil
}
