package fncache

import (
	"reflect"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/signature"
)

// A key is
//
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>         the entry
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>:lock    the lease
//
// without "<prefix>:" where there is none. hash is keyhash.Size bytes in hex that change
// with the arguments; sig is a fingerprint of the function's types and the codec, 12 digits
// in hex (see package signature). A Redis Cluster chooses the slot by what stands in
// the braces, so one slot has the entries and leases that all releases of a function
// keep for the same arguments, and one script can delete them. testdata/keys_v1.txt
// holds examples: if one of them changes, every fleet starts cold.
const lockSuffix = ":lock"

// entryPrefix returns the key of an entry up to the hash. name is that of the
// function with its prefix.
func entryPrefix(namespace, name string) string { return namespace + ":{" + name + ":" }

// entrySuffix returns the key of an entry from the hash on.
func entrySuffix(sig string) string { return "}:" + sig }

// A keyPlan is all about a function's keys that is known when wrapping.
type keyPlan struct {
	fingerprint string
	params      []keyhash.ValueHasher
}

func newKeyPlan(sig *signature.Signature, codecName string) *keyPlan {
	p := &keyPlan{fingerprint: sig.Fingerprint(codecName, codec.CBOR)}
	for i, t := range sig.Params {
		p.params = append(p.params, keyhash.CompileValue(t, sig.Place(i)))
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
