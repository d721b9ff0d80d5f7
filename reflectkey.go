package fncache

import (
	"encoding/hex"
	"reflect"
	"strings"

	"github.com/fncache/fncache/internal/keyhash"
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

// functionOf returns the name of the function, with its prefix, in the key of an entry.
func functionOf(key string) string {
	_, name, _ := strings.Cut(key, "{")
	name, _, _ = strings.Cut(name, "}")
	if last := strings.LastIndexByte(name, ':'); last >= 0 {
		name = name[:last]
	}
	return name
}

// entryOf returns the entry that a key is, or is the lock of, if it is one of the function of
// that name (with its prefix), in whichever release.
func entryOf(namespace, name, key string) (entry string, ok bool) {
	entry = strings.TrimSuffix(key, lockSuffix)
	rest, own := strings.CutPrefix(entry, entryPrefix(namespace, name))
	hash, sig, closed := strings.Cut(rest, entrySuffix(""))
	_, err := hex.DecodeString(hash)
	return entry, own && closed && err == nil && len(hash) == 2*keyhash.Size && sig != "" && !strings.ContainsAny(sig, ":{}")
}

// registryKey returns the key of the registry of a function. name is with its prefix.
func registryKey(namespace, name string) string { return namespace + ":functions:{" + name + "}" }

// A keyspace is where a cache keeps its entries: in two with equal ones the keys of
// one function for the same arguments differ in the signature alone. It is zero for
// the cache nil.
type keyspace struct {
	client    any // a redis.UniversalClient, or what stands for it
	namespace string
	keys      keyhash.Keys // of the hashes of arguments
}

func newKeyspace(c *Cache) keyspace {
	s := keyspace{c.cfg.Redis, c.cfg.Namespace, *c.hashing}
	if !reflect.ValueOf(s.client).Comparable() {
		s.client = c // nobody can say which clients are the same
	}
	return s
}

// sharesFence reports whether two caches have one fence.
func (c *Cache) sharesFence(other *Cache) bool {
	return c == other || c.space.client == other.space.client && c.space.namespace == other.space.namespace
}
