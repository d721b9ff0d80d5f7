package fncache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

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
// results are encoded by the default codec. The context and the error are neither
// stored nor hashed, and may come and go.
func fingerprint(sig *signature, codec string) string {
	return fingerprintBy(sig, codec, typeText{
		fields:      storedFields,
		opaque:      func(t reflect.Type) bool { return t == timeType || marshalingOf(t) != nil },
		marshalings: marshalings,
	})
}

// otherFingerprint is fingerprint for a codec of which nothing is known: whatever
// there is in a result type may be stored.
func otherFingerprint(sig *signature, codec string) string {
	return fingerprintBy(sig, codec, typeText{
		fields:      allFields,
		opaque:      func(t reflect.Type) bool { return t == timeType },
		marshalings: slices.Concat(marshalings, jsonMarshalings),
	})
}

func fingerprintBy(sig *signature, codec string, results typeText) string {
	var b strings.Builder
	b.WriteString(codec)
	results.b = &b
	for _, t := range sig.params {
		b.WriteString("\nparameter " + keyhash.Form(t, true))
	}
	for _, t := range sig.results {
		b.WriteString("\nresult ")
		results.write(t)
	}
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
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:fingerprintLen])
}

// A typeText writes types out with all that changes what is stored or hashed.
type typeText struct {
	b      *strings.Builder
	fields func(reflect.Type) []reflect.StructField // that count
	opaque func(reflect.Type) bool                  // types that encode themselves: their insides do not count
	// marshalings are the methods that count.
	marshalings []marshaling
	above       []reflect.Type // the types that are being written
}

// name writes a type without its insides.
func (w typeText) name(t reflect.Type) {
	fmt.Fprintf(w.b, "%q.%s %v", t.PkgPath(), t.Name(), t.Kind())
	for _, m := range w.marshalings {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m.encode) {
			w.b.WriteString(" " + m.encodeName)
		}
	}
}

// write writes a type with its insides.
func (w typeText) write(t reflect.Type) {
	w.name(t)
	if w.opaque(t) || slices.Contains(w.above, t) {
		return
	}
	w.above = append(w.above, t)
	w.b.WriteString("(")
	defer w.b.WriteString(")")
	switch t.Kind() {
	case reflect.Array:
		fmt.Fprintf(w.b, "%d ", t.Len())
		w.write(t.Elem())
	case reflect.Slice, reflect.Pointer:
		w.write(t.Elem())
	case reflect.Map:
		w.write(t.Key())
		w.write(t.Elem())
	case reflect.Struct:
		for _, field := range w.fields(t) {
			fmt.Fprintf(w.b, "%q %t %q ", field.Name, field.Anonymous, field.Tag)
			w.write(field.Type)
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
	p := &keyPlan{fingerprint: fingerprint(sig, codec)}
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
