package fncache

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/dchest/siphash"
	"github.com/mitchellh/hashstructure/v2"
)

// A key is
//
//	<namespace>:{<prefix>:<name>:<sig>:<hash>}         the entry
//	<namespace>:{<prefix>:<name>:<sig>:<hash>}:lock    the lease
//
// without "<prefix>:" where there is none. The braces keep both in one slot of a
// Redis Cluster. sig is fingerprintLen bytes in hex that change with the types of
// the function and with the codec; hash is 16 bytes in hex that change with the
// arguments. testdata/keys_v1.txt holds examples of all that: if one of them
// changes, every fleet starts cold.
const (
	entrySuffix    = "}"
	lockSuffix     = ":lock"
	fingerprintLen = 6
	executableLen  = 6
)

// entryPrefix is the key of an entry up to the hash.
func entryPrefix(namespace, prefix, name, sig string) string {
	if prefix != "" {
		name = prefix + ":" + name
	}
	return namespace + ":{" + name + ":" + sig + ":"
}

// checkName refuses what would take a key apart: colons stand between the parts
// of a key, and braces choose its slot.
func checkName(what, s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s %q is not valid UTF-8", what, s)
	}
	for _, r := range s {
		if strings.ContainsRune(":{}", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return fmt.Errorf("%s %q contains %q; leave out colons, braces, spaces and control characters", what, s, r)
		}
	}
	return nil
}

// ---- names

// A funcName is what a function is called in keys.
type funcName struct {
	name     string
	explicit bool   // given by Options.Name
	shared   bool   // other functions may have the same derived name
	where    string // file and line, for errors; "" if not known
}

// identifier matches a Go identifier, with the type arguments that the runtime
// leaves out of a generic one.
const identifier = `(?:\w|[^\x00-\x7f])+(?:\[\.\.\.\])?`

// runtimeName matches the names that the runtime gives to top-level functions and
// to methods, after the package path. Everything else is the compiler's own
// naming, which shifts when code around it moves: F.func1, glob..func2, F.G.func3.1.
var runtimeName = regexp.MustCompile(`^(?:` + identifier + `|(?:` + identifier + `|\(\*` + identifier + `\))\.(?P<method>` + identifier + `)(?:-fm)?)$`)

// compilerName matches the last part of such a name where it looks like a method.
var compilerName = regexp.MustCompile(`^(func|gowrap|deferwrap)?[0-9]+$`)

// nameOf names a function: explicitly; by its runtime name if it has one; by the
// struct field it was wrapped in; else by its runtime name and the hash of the
// executable. field is "" outside of WrapStruct.
func nameOf(fn reflect.Value, explicit, field string) (funcName, error) {
	code := runtime.FuncForPC(fn.Pointer())
	full := code.Name()
	file, line := code.FileLine(fn.Pointer())
	n := funcName{where: filepath.Base(file) + ":" + strconv.Itoa(line)}
	// All funcs made by reflection run the same two pieces of code.
	anonymous := full == "reflect.makeFuncStub" || full == "reflect.methodValueCall"
	if anonymous {
		n.where = ""
	}
	pkg, symbol := splitSymbol(full)
	match := runtimeName.FindStringSubmatch(symbol)
	method := ""
	if match != nil {
		method = match[runtimeName.SubexpIndex("method")]
	}
	named := match != nil && !anonymous && !compilerName.MatchString(method)

	switch {
	case explicit != "":
		n.name, n.explicit = explicit, true
		return n, nil
	case named:
		n.shared = strings.Contains(symbol, "[...]") || strings.HasSuffix(symbol, "-fm")
		n.name = escape(pkg + "." + symbol)
		if pkg != "main" {
			return n, nil
		}
		if main := mainPackage(); main != "" {
			n.name = escape(main + "." + symbol)
			return n, nil
		}
	case field != "":
		n.name, n.shared = escape(field), true
		return n, nil
	case anonymous:
		return n, errors.New("the func was made by reflection and has no name; set Options.Name")
	default:
		n.name, n.shared = escape(pkg+"."+symbol), true
	}
	build, err := executableHash()
	if err != nil {
		return n, fmt.Errorf("the func has no name that another build would know, and the executable cannot be read to tell builds apart (%w); set Options.Name", err)
	}
	n.name += "@" + build
	return n, nil
}

// splitSymbol splits a runtime name into package path and the rest. The linker
// has percent-escaped the path.
func splitSymbol(full string) (pkg, symbol string) {
	slash := strings.LastIndexByte(full, '/') + 1
	dot := strings.IndexByte(full[slash:], '.')
	if dot < 0 {
		return "", full
	}
	pkg, symbol = full[:slash+dot], full[slash+dot+1:]
	if plain, err := url.PathUnescape(pkg); err == nil {
		pkg = plain
	}
	return pkg, symbol
}

// mainPackage is the path of the running program's main package; "" where the
// build does not tell one.
func mainPackage() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Path == "command-line-arguments" {
		return ""
	}
	return info.Path
}

// escape percent-escapes what checkName refuses, and the percent sign.
func escape(name string) string {
	if !strings.Contains(name, "%") && checkName("", name) == nil {
		return name
	}
	var b strings.Builder
	for i, r := range name {
		_, size := utf8.DecodeRuneInString(name[i:])
		if c := name[i : i+size]; r != '%' && checkName("", c) == nil {
			b.WriteString(c)
			continue
		}
		for _, c := range []byte(name[i : i+size]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// executableHash tells builds apart: equal code has equal names.
var executableHash = sync.OnceValues(func() (string, error) {
	file, err := openExecutable()
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:executableLen]), nil
})

// openExecutable opens the running program itself where the system can: a deploy
// may have put another under its path.
func openExecutable() (*os.File, error) {
	if file, err := os.Open("/proc/self/exe"); err == nil {
		return file, nil
	}
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(name)
}

// ---- fingerprints

// fingerprint is a short hash of the types of parameters and results, and of how
// results are encoded. The context and the error are neither stored nor hashed,
// and may come and go.
func fingerprint(sig *signature, codec string) string {
	var b strings.Builder
	b.WriteString(codec)
	params := typeText{b: &b, fields: keyFields, opaque: func(t reflect.Type) bool { return t == timeType }}
	for _, t := range sig.params {
		b.WriteString("\nparameter ")
		if hasEncoding(t) {
			params.name(t)
			continue
		}
		params.write(t)
	}
	results := typeText{b: &b, fields: storedFields, opaque: func(t reflect.Type) bool { return t == timeType || marshalingOf(t) != nil }}
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
}

// name writes a type without its insides.
func (w typeText) name(t reflect.Type) {
	fmt.Fprintf(w.b, "%q.%s %v", t.PkgPath(), t.Name(), t.Kind())
	for _, m := range marshalings {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m.encode) {
			w.b.WriteString(" " + m.name)
		}
	}
}

// write writes a type with its insides.
func (w typeText) write(t reflect.Type) {
	w.name(t)
	if w.opaque(t) {
		return
	}
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
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], h[0])
	binary.BigEndian.PutUint64(raw[8:], h[1])
	return hex.AppendEncode(dst, raw[:])
}

// hashKeys are the two keys of SipHash-2-4 (Aumasson and Bernstein, "SipHash: a
// fast short-input PRF", 2012). hashstructure's own hash, FNV, has no key, and
// collisions for it are found in minutes.
type hashKeys struct {
	keys  [2][2]uint64
	pairs sync.Pool // of *[2]hashstructure.HashOptions, which serve one call at a time
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
	case reflect.Float64: // not Float32: reflection gives it as a float64, which alters some NaNs
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

func listHasherOf(t reflect.Type) plainHasher {
	elem := plainHasherOf(t.Elem())
	if elem == nil {
		return nil
	}
	return func(k *hashKeys, v reflect.Value) (list hash128) {
		for i := range v.Len() {
			list = k.chain(list, elem(k, v.Index(i)))
		}
		return list
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
