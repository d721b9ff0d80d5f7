package fncache

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/releases"
)

// A key is
//
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>         the entry
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>:lock    the lease
//
// without "<prefix>:" if there is no prefix. hash has keyhash.Size bytes in hex and depends on
// the arguments. sig is a fingerprint of the function's types and the codec, 12 digits in hex
// (see package signature). A Redis Cluster chooses the slot by the text in the braces. So the
// entries and leases of all releases of a function for the same arguments are in one slot,
// and one script can delete them. testdata/keys_v1.txt has examples: if one of them changes,
// every fleet starts cold.
const lockSuffix = ":lock"

// entryPrefix returns the key of an entry up to the hash. name is the name of the function
// with its prefix.
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

// signatureOf returns the signature in the key of an entry.
func signatureOf(key string) string { return key[strings.LastIndexByte(key, ':')+1:] }

// keysOfReleases returns the key of an entry, and its keys in other releases with the same
// parameter types.
func keysOfReleases(key, params string, records []releases.Record) []string {
	own := strings.LastIndexByte(key, ':') + 1
	keys := []string{key}
	for _, r := range records {
		if r.Takes(params) && r.Signature != key[own:] {
			keys = append(keys, key[:own]+r.Signature)
		}
	}
	return keys
}

// entryOf returns the key of the entry that key names, or whose lock key names. ok reports
// whether it is an entry of a release of the function of that name (with its prefix).
func entryOf(namespace, name, key string) (entry string, ok bool) {
	entry = strings.TrimSuffix(key, lockSuffix)
	rest, own := strings.CutPrefix(entry, entryPrefix(namespace, name))
	hash, sig, closed := strings.Cut(rest, entrySuffix(""))
	_, err := hex.DecodeString(hash)
	return entry, own && closed && err == nil && len(hash) == 2*keyhash.Size && sig != "" && !strings.ContainsAny(sig, ":{}")
}

// registryKey returns the key of the registry of a function. name includes the prefix.
func registryKey(namespace, name string) string { return namespace + ":functions:{" + name + "}" }

// A keyspace identifies where a cache keeps its entries. In two caches with equal keyspaces,
// the keys of a function for the same arguments differ only in the signature. The nil cache
// has the zero keyspace.
type keyspace struct {
	client    any // a redis.UniversalClient; the cache itself if clients cannot be compared
	namespace string
	keys      keyhash.Keys // the keys of the argument hashes
}

func newKeyspace(c *Cache) keyspace {
	s := keyspace{c.cfg.Redis, c.cfg.Namespace, *c.hashing}
	if !reflect.ValueOf(s.client).Comparable() {
		s.client = c // clients of this type cannot be compared
	}
	return s
}

// sharesFence reports whether two caches have one fence.
func (c *Cache) sharesFence(other *Cache) bool {
	return c == other || c.space.client == other.space.client && c.space.namespace == other.space.namespace
}

// Name returns the name of the function in keys, with its prefix, if it has one.
func (f *Func) Name() string {
	if f.opts.Prefix != "" {
		return f.opts.Prefix + ":" + f.name.Key
	}
	return f.name.Key
}

// key returns the Redis key of an entry.
func (f *Func) key(b *binding, in input) (string, error) {
	hash, err := f.hash(b, in)
	if err != nil {
		return "", err
	}
	return b.key(hash), nil
}

// hash returns the hash in the Redis key of an entry.
func (f *Func) hash(b *binding, in input) (keyhash.Hash, error) {
	k := b.cache.hashing
	hash, err := f.shape.Hash(k, in.args)
	if err != nil {
		return hash, fmt.Errorf("fncache: %s: %w", f.Name(), err)
	}
	if f.sig.Varies {
		hash = k.Append(hash, k.Text(in.vary))
	}
	return hash, nil
}

// key returns the Redis key of the entry with this hash.
func (b *binding) key(hash keyhash.Hash) string {
	key := make([]byte, 0, len(b.prefix)+2*keyhash.Size+len(b.suffix))
	key = append(key, b.prefix...)
	key = hash.AppendHex(key)
	key = append(key, b.suffix...)
	return unsafe.String(unsafe.SliceData(key), len(key))
}

// sharesRedis reports whether entries of c and other with the same key are the same entry. It
// returns false for two clients of one server, because that cannot be known.
func (c *Cache) sharesRedis(other *Cache) bool {
	return c == other || reflect.ValueOf(c.cfg.Redis).Comparable() && c.cfg.Redis == other.cfg.Redis
}
