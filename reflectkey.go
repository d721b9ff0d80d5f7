package fncache

import "strings"

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

// functionOf returns the name of the function, with its prefix, in the key of an entry.
func functionOf(key string) string {
	_, name, _ := strings.Cut(key, "{")
	name, _, _ = strings.Cut(name, "}")
	if last := strings.LastIndexByte(name, ':'); last >= 0 {
		name = name[:last]
	}
	return name
}

// registryKey returns the key of the registry of a function. name is with its prefix.
func registryKey(namespace, name string) string { return namespace + ":functions:{" + name + "}" }
