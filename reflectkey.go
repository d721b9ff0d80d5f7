package fncache

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/dchest/siphash"
	"github.com/mitchellh/hashstructure/v2"
)

// A key is
//
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>         the entry
//	<namespace>:{<prefix>:<name>:<hash>}:<sig>:lock    the lease
//
// without "<prefix>:" where there is none. hash is hashLen bytes in hex that change
// with the arguments; sig is fingerprintLen bytes in hex that change with the types of
// the function and with the codec. A Redis Cluster chooses the slot by what stands in
// the braces, so one slot has the entries and leases that all releases of a function
// keep for the same arguments, and one script can delete them. testdata/keys_v1.txt
// holds examples: if one of them changes, every fleet starts cold.
const (
	lockSuffix     = ":lock"
	fingerprintLen = 6
	hashLen        = 16
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
	params := typeText{b: &b, fields: keyFields, opaque: func(t reflect.Type) bool { return t == timeType }, marshalings: marshalings}
	for _, t := range sig.params {
		b.WriteString("\nparameter ")
		if hasEncoding(t) {
			params.name(t)
			continue
		}
		params.write(t)
	}
	for _, t := range sig.results {
		b.WriteString("\nresult ")
		results.write(t)
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

// hash128 is a hash of arguments: two of 64 bits, of the same function under two
// keys.
type hash128 [2]uint64

// appendHex appends the hash as it stands in keys.
func appendHex(dst []byte, h hash128) []byte {
	var raw [hashLen]byte
	binary.BigEndian.PutUint64(raw[:], h[0])
	binary.BigEndian.PutUint64(raw[8:], h[1])
	return hex.AppendEncode(dst, raw[:])
}

// hashKeys are the two keys of SipHash-2-4 (Aumasson and Bernstein, "SipHash: a
// fast short-input PRF", 2012). hashstructure's own hash, FNV, has no key, and
// collisions for it are found in minutes.
type hashKeys struct {
	keys  [2][2]uint64
	bytes [256]hash128 // of each byte
	pairs sync.Pool    // of *[2]hashstructure.HashOptions, which serve one call at a time
}

// newHashKeys derives the keys from a secret; without one they are constants
// that anybody can compute.
func newHashKeys(secret []byte) *hashKeys {
	seed := sha256.Sum256(append([]byte("fncache argument hash v1:"), secret...))
	k := &hashKeys{}
	for i := range k.keys {
		half := seed[16*i:]
		k.keys[i] = [2]uint64{binary.LittleEndian.Uint64(half), binary.LittleEndian.Uint64(half[8:])}
	}
	for i := range k.bytes {
		k.bytes[i] = k.sum([]byte{byte(i)})
	}
	k.pairs.New = func() any {
		var opts [2]hashstructure.HashOptions
		for i := range opts {
			opts[i] = hashstructure.HashOptions{Hasher: siphash.New(seed[16*i : 16*i+16]), TagName: "fncache"}
		}
		return &opts
	}
	return k
}

// sum hashes bytes under both keys.
func (k *hashKeys) sum(b []byte) hash128 {
	return hash128{
		siphash.Hash(k.keys[0][0], k.keys[0][1], b),
		siphash.Hash(k.keys[1][0], k.keys[1][1], b),
	}
}

// chain is how hashstructure puts an element at the end of a list: the list
// begins with zero.
func (k *hashKeys) chain(list, elem hash128) (h hash128) {
	var b [16]byte
	for i := range h {
		binary.LittleEndian.PutUint64(b[:], list[i])
		binary.LittleEndian.PutUint64(b[8:], elem[i])
		h[i] = siphash.Hash(k.keys[i][0], k.keys[i][1], b[:])
	}
	return h
}

// byteList is the hash of a list of bytes: chain over the hash of each. As a
// megabyte is a million links, the hashes of bytes are known beforehand.
func (k *hashKeys) byteList(bytes []byte) (list hash128) {
	for _, b := range bytes {
		list = k.chain(list, k.bytes[b])
	}
	return list
}

// structure hashes a value by hashstructure under both keys.
func (k *hashKeys) structure(v reflect.Value) (h hash128, err error) {
	opts := k.pairs.Get().(*[2]hashstructure.HashOptions)
	defer k.pairs.Put(opts)
	arg := v.Interface()
	for i := range h {
		if h[i], err = hashstructure.Hash(arg, hashstructure.FormatV2, &opts[i]); err != nil {
			return h, err
		}
	}
	return h, nil
}

// A keyPlan is all about a function's keys that is known when wrapping.
type keyPlan struct {
	fingerprint string
	params      []argHasher
}

// An argHasher hashes the argument of one parameter.
type argHasher func(*hashKeys, reflect.Value) (hash128, error)

func newKeyPlan(sig *signature, codec string) *keyPlan {
	p := &keyPlan{fingerprint: fingerprint(sig, codec)}
	for i, t := range sig.params {
		position := i + 1
		if sig.hasCtx {
			position++
		}
		p.params = append(p.params, argHasherOf(t, position))
	}
	return p
}

// sig is the fingerprint of the function's types and the codec.
func (p *keyPlan) sig() string { return p.fingerprint }

// hash hashes arguments, taken together as one []any: bit for bit what
// hashstructure's FormatV2 gives for it, but that values with an encoding of
// their own are replaced by that.
func (p *keyPlan) hash(k *hashKeys, args []reflect.Value) (hash128, error) {
	var list hash128
	for i, arg := range args {
		h, err := p.params[i](k, arg)
		if err != nil {
			return hash128{}, err
		}
		list = k.chain(list, h)
	}
	return list, nil
}

// argHasherOf chooses the hash for a parameter. hashstructure knows nothing of a
// type before it sees the value, and allocates for every number, so what is
// plain, or a list of what is plain, is hashed here.
func argHasherOf(t reflect.Type, position int) argHasher {
	if hasEncoding(t) {
		return func(k *hashKeys, v reflect.Value) (hash128, error) {
			b, err := encodeArgument(v)
			if err != nil {
				return hash128{}, fmt.Errorf("parameter %d: %v cannot be encoded for the key: %w", position, t, err)
			}
			return k.sum(b), nil
		}
	}
	if plain := plainHasherOf(t); plain != nil {
		return func(k *hashKeys, v reflect.Value) (hash128, error) { return plain(k, v), nil }
	}
	return func(k *hashKeys, v reflect.Value) (hash128, error) {
		h, err := k.structure(v)
		if err != nil {
			return h, fmt.Errorf("parameter %d: %v cannot be hashed for the key: %w", position, t, err)
		}
		return h, nil
	}
}

// encodeArgument gives the encoding of a value that has one.
func encodeArgument(v reflect.Value) ([]byte, error) {
	switch m := v.Interface().(type) {
	case encoding.BinaryMarshaler:
		return m.MarshalBinary()
	case encoding.TextMarshaler:
		return m.MarshalText()
	default:
		return nil, errors.New("it has no MarshalBinary or MarshalText")
	}
}

// A plainHasher hashes values that need no hashstructure.
type plainHasher func(*hashKeys, reflect.Value) hash128

// plainHasherOf gives the hasher of booleans, numbers, strings and lists of
// these; nil for other types.
func plainHasherOf(t reflect.Type) plainHasher {
	switch t.Kind() {
	case reflect.Bool:
		return func(k *hashKeys, v reflect.Value) hash128 {
			if v.Bool() {
				return k.number(1, 1)
			}
			return k.number(0, 1)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		width := widthOf(t)
		return func(k *hashKeys, v reflect.Value) hash128 { return k.number(uint64(v.Int()), width) }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		width := widthOf(t)
		return func(k *hashKeys, v reflect.Value) hash128 { return k.number(v.Uint(), width) }
	case reflect.Float32:
		return func(k *hashKeys, v reflect.Value) hash128 { return k.number(uint64(float32Bits(v)), 4) }
	case reflect.Float64:
		return func(k *hashKeys, v reflect.Value) hash128 { return k.number(math.Float64bits(v.Float()), 8) }
	case reflect.String:
		return func(k *hashKeys, v reflect.Value) hash128 {
			s := v.String()
			return k.sum(unsafe.Slice(unsafe.StringData(s), len(s)))
		}
	case reflect.Slice, reflect.Array:
		return listHasherOf(t)
	default:
		return nil
	}
}

var float32Type = reflect.TypeFor[float32]()

// float32Bits gives what hashstructure hashes of a float32. Reflection has it as a
// float64 only, and on that way signalling NaNs change: so hashstructure sees those
// of a named type, while one of float32 itself it takes out as it is.
func float32Bits(v reflect.Value) uint32 {
	f := v.Float()
	if f != f && v.Type() == float32Type { //nolint:staticcheck // a NaN
		return math.Float32bits(v.Interface().(float32))
	}
	return math.Float32bits(float32(f))
}

func listHasherOf(t reflect.Type) plainHasher {
	elem := plainHasherOf(t.Elem())
	if elem == nil {
		return nil
	}
	bytes := t.Elem().Kind() == reflect.Uint8
	return func(k *hashKeys, v reflect.Value) (list hash128) {
		if bytes && (v.Kind() == reflect.Slice || v.CanAddr()) {
			return k.byteList(v.Bytes())
		}
		for i := range v.Len() {
			list = k.chain(list, elem(k, v.Index(i)))
		}
		return list
	}
}

// A memoryHasher hashes the argument that stands at an address. It answers like
// the argHasher of the same parameter.
type memoryHasher func(*hashKeys, unsafe.Pointer) (hash128, error)

// memoryHasherOf chooses the hash for parameter i of a function: for what is plain,
// or a list of what is plain, one without reflection.
func memoryHasherOf(p *keyPlan, sig *signature, i int) memoryHasher {
	t := sig.params[i]
	if !hasEncoding(t) {
		if plain := plainMemoryHasherOf(t); plain != nil {
			return func(k *hashKeys, at unsafe.Pointer) (hash128, error) { return plain(k, at), nil }
		}
	}
	hash := p.params[i]
	return func(k *hashKeys, at unsafe.Pointer) (hash128, error) { return hash(k, reflect.NewAt(t, at).Elem()) }
}

// plainMemoryHasherOf is plainHasherOf for what stands at an address.
func plainMemoryHasherOf(t reflect.Type) func(*hashKeys, unsafe.Pointer) hash128 {
	switch t.Kind() {
	case reflect.Bool:
		return func(k *hashKeys, at unsafe.Pointer) hash128 {
			if *(*bool)(at) {
				return k.number(1, 1)
			}
			return k.number(0, 1)
		}
	case reflect.Int: // 32 bits on some machines, and then extended
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*int)(at)), 8) }
	case reflect.Uint:
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*uint)(at)), 8) }
	case reflect.Int8, reflect.Uint8:
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*uint8)(at)), 1) }
	case reflect.Int16, reflect.Uint16:
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*uint16)(at)), 2) }
	case reflect.Int32, reflect.Uint32:
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*uint32)(at)), 4) }
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(*(*uint64)(at), 8) }
	case reflect.Float32:
		if t == float32Type {
			return func(k *hashKeys, at unsafe.Pointer) hash128 { return k.number(uint64(*(*uint32)(at)), 4) }
		}
		return func(k *hashKeys, at unsafe.Pointer) hash128 {
			return k.number(uint64(float32Bits(reflect.NewAt(t, at).Elem())), 4)
		}
	case reflect.String:
		return func(k *hashKeys, at unsafe.Pointer) hash128 {
			s := *(*string)(at)
			return k.sum(unsafe.Slice(unsafe.StringData(s), len(s)))
		}
	case reflect.Slice, reflect.Array:
		return memoryListHasherOf(t)
	default:
		return nil
	}
}

// memoryListHasherOf is listHasherOf for what stands at an address.
func memoryListHasherOf(t reflect.Type) func(*hashKeys, unsafe.Pointer) hash128 {
	elem, size := plainMemoryHasherOf(t.Elem()), t.Elem().Size()
	if elem == nil {
		return nil
	}
	bytes := t.Elem().Kind() == reflect.Uint8
	hash := func(k *hashKeys, at unsafe.Pointer, n int) (list hash128) {
		if bytes {
			return k.byteList(unsafe.Slice((*byte)(at), n))
		}
		for i := range n {
			list = k.chain(list, elem(k, unsafe.Add(at, uintptr(i)*size)))
		}
		return list
	}
	if t.Kind() == reflect.Array {
		n := t.Len()
		return func(k *hashKeys, at unsafe.Pointer) hash128 { return hash(k, at, n) }
	}
	return func(k *hashKeys, at unsafe.Pointer) hash128 {
		bytes := *(*[]byte)(at) // whatever they are: only where they are, and how many
		return hash(k, unsafe.Pointer(unsafe.SliceData(bytes)), len(bytes))
	}
}

// widthOf is how many bytes of an integer are hashed: int and uint count as 64
// bits everywhere.
func widthOf(t reflect.Type) int {
	if t.Kind() == reflect.Int || t.Kind() == reflect.Uint {
		return 8
	}
	return int(t.Size())
}

// number hashes the lowest bytes of n, the lowest first.
func (k *hashKeys) number(n uint64, width int) hash128 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return k.sum(b[:width])
}
