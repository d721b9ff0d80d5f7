// Package codec turns the results of functions into bytes and back, exactly: each value of a
// type that [Compile] accepts comes back equal, nil as nil and empty as empty. A type whose
// values would not come back is refused with a [Fault].
//
// # How a type is encoded
//
// A type is compiled once into a plan. The plan reads and writes values in place, so it needs
// no methods and no tags of the type:
//
//   - A visible type (a plain kind, or an array, slice, map, pointer or struct of
//     exported fields of such types) is encoded by value, whatever methods it has.
//     Its text may say less than its value: null types print "" for null and for "".
//     One pair of methods is honoured, in CBOR: MarshalCBOR and UnmarshalCBOR of the
//     type itself, because their author wrote them for this codec.
//   - A type with hidden (unexported) fields is encoded by a pair of methods of its own: in
//     CBOR MarshalCBOR, MarshalBinary, MarshalText or MarshalJSON, in JSON MarshalJSON,
//     MarshalText, MarshalBinary or MarshalCBOR, the first for which it has both halves.
//     Methods that it has from an embedded field do not count, because they do not cover the
//     other fields. A type that contains itself is also encoded by its methods, because its
//     values may be cyclic.
//   - Some types of the standard library have forms of their own (native.go).
//   - The codec of a user may give a form to the values that pointers of a type point to
//     (form.go).
//
// # Forms
//
//	                CBOR                          JSON
//	bool            true, false                   true, false
//	integer         integer                       number
//	float           its bits, in 4 or 8 bytes     number; NaN and infinities are errors
//	string          text, as it is                string; invalid UTF-8 is an error
//	bytes           byte string                   string in base64
//	slice, array    array                         array
//	map             map                           object, or an array of pairs
//	struct          array of its fields           object
//	nil             null                          null
//	pointer         what it points to             what it points to
//
// A pointer to a value that may itself be null is written as an array of one, so that a pointer
// to nil differs from nil. The decoder accepts exactly the shapes that the encoder writes, so
// memory stays proportional to the length of the body.
package codec

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// A Format is how values are written. Formats are compared by ==.
type Format struct{ *format }

type format struct {
	json  bool
	order bool                                      // see Ordered
	forms func(pointer reflect.Type) (*Form, error) // of the user; nil if there are none
	known sync.Map                                  // see pointedPlans
}

// The formats of the two codecs.
var (
	CBOR = Format{new(format)}
	JSON = Format{&format{json: true}}
)

// A Plan encodes and decodes the values of one type in one format. It is
// immutable, and safe for concurrent use.
type Plan struct {
	kind   kind
	format Format
	typ    reflect.Type
	size   uintptr
	key    *Plan // of a map
	elem   *Plan // of a slice, array, map or pointer
	len    int   // of an array
	fields []field
	self   *pair // how a type encodes itself
	// least is the least number of bytes that a value takes in the format.
	least int
	// null is set if a value may be written as null.
	null bool
	// pairs are scratch values for the pairs of maps of the type.
	pairs *sync.Pool
	// inPlace is set if each pair of a map is decoded into memory of its own. A decoding method
	// may keep the address of its value: a short text may refer to a buffer beside it.
	inPlace bool
	asks    bool // what AsksMethods returns
}

// A field is a part of a struct that is stored.
type field struct {
	index  int    // in the type
	name   string // in Go
	label  string // in JSON: the quoted name, and a colon
	offset uintptr
	plan   *Plan
}

// A kind says how a plan encodes a value.
type kind uint8

const (
	kindEmpty kind = iota // of size 0, so there is one value
	kindBool
	kindInt
	kindUint
	kindFloat
	kindString
	kindBytes     // a slice of bytes
	kindByteArray // an array of bytes
	kindCount     // a slice of elements of size 0
	kindSlice
	kindArray
	kindMap
	kindPointer
	kindStruct
	kindSelf // encoded by its methods
	kindTime
	kindBigInt
	kindBigFloat
	kindBigRat
	kindUserinfo
)

// A Fault says why values of a type would not come back.
type Fault struct {
	Path   string       // of the part, from the type that was compiled; "" for itself
	Type   reflect.Type // of the part
	What   string
	Remedy string
}

// Compile returns the plan for values of t. With lossy it leaves out unexported fields of
// structs that have no encoding of their own; they come back as zero. The plan is nil if there
// are faults.
func Compile(t reflect.Type, format Format, lossy bool) (*Plan, []Fault) {
	c := compiler{format: format, lossy: lossy, known: make(map[subject]outcome)}
	p := c.compile(t, "")
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return p, nil
}

// A compiler walks the parts of a type.
type compiler struct {
	format Format
	lossy  bool
	above  []reflect.Type // the types around the current part
	faults []Fault
	known  map[subject]outcome
}

// strict returns a compiler for the same place that accepts no loss. It begins without faults.
func (c *compiler) strict() compiler {
	return compiler{format: c.format, above: c.above, known: c.known}
}

// A subject is a type to compile and the mode; an outcome is the result. A type is compiled once,
// even if it occurs often: a type of a few levels can occur in millions of places.
type subject struct {
	typ   reflect.Type
	lossy bool
}

type outcome struct {
	plan  *Plan
	fault Fault // the first one, if plan is nil; its path begins at the type
}

func (c *compiler) refuse(t reflect.Type, path, what, remedy string) {
	c.faults = append(c.faults, Fault{path, t, what, remedy})
}

// remedies says what to do about the kinds that cannot be stored.
var remedies = map[reflect.Kind]string{
	reflect.Chan:          "return a slice of what it would carry",
	reflect.Func:          "return what it would compute",
	reflect.UnsafePointer: "return what it points to",
	reflect.Uintptr:       "return a uint64 if it is a number",
	reflect.Interface:     "return a concrete type; only the last result may be an interface, error",
	reflect.Complex64:     "return its parts as two floats",
	reflect.Complex128:    "return its parts as two floats",
}

// compile returns the plan of a type at path. It returns nil if there are faults.
func (c *compiler) compile(t reflect.Type, path string) *Plan {
	about := subject{t, c.lossy}
	if known, ok := c.known[about]; ok {
		if known.plan == nil {
			known.fault.Path = path + known.fault.Path
			c.faults = append(c.faults, known.fault)
		}
		return known.plan
	}
	before := len(c.faults)
	p := c.choose(t, path)
	if len(c.faults) > before {
		first := c.faults[before]
		first.Path = strings.TrimPrefix(first.Path, path)
		c.known[about] = outcome{fault: first}
		return nil
	}
	p.asks = p.asksMethods()
	c.known[about] = outcome{plan: p}
	return p
}

// choose chooses between a type's value and its methods. The first choice is the value without
// loss, then the methods, and then, if lossy is set, the value with a loss.
func (c *compiler) choose(t reflect.Type, path string) *Plan {
	if t.Size() == 0 {
		return c.made(&Plan{kind: kindEmpty, least: 1}, t)
	}
	if kind, ok := natives[t]; ok {
		return c.made(&Plan{kind: kind, least: 1}, t)
	}
	if reason, ok := inexact[t]; ok {
		c.refuse(t, path, reason.what, reason.remedy)
		return nil
	}
	self := pairOf(t, c.format)
	if self != nil && (self.form == formCBOR && !c.format.json && !standsForCBOR(t) || c.contains(t, t, make(map[reflect.Type]bool))) {
		return c.bySelf(t, self)
	}
	strict := c.strict()
	p := strict.byValue(t, path)
	switch {
	case len(strict.faults) == 0:
		return p
	case self != nil && addressable(t):
		return c.bySelf(t, self)
	case c.lossy:
		return c.byValue(t, path)
	default:
		c.faults = append(c.faults, strict.faults...)
		return nil
	}
}

// contains reports whether values of inner are among the visible parts of values of t, at any
// depth. seen has the types that were searched.
func (c *compiler) contains(t, inner reflect.Type, seen map[reflect.Type]bool) bool {
	if _, native := natives[t]; native || seen[t] {
		return false
	}
	seen[t] = true
	in := func(part reflect.Type) bool { return part == inner || c.contains(part, inner, seen) }
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return in(t.Elem())
	case reflect.Map:
		return in(t.Key()) || in(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !isHidden(f) && !leftOut(f, c.format) && in(f.Type) {
				return true
			}
		}
	}
	return false
}

// addressable reports whether methods may encode values of t. It returns false for kinds that may
// be only an address, because no decoder can make the address.
func addressable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Interface, reflect.Pointer:
		return false
	default:
		return true
	}
}

// made completes a plan of t.
func (c *compiler) made(p *Plan, t reflect.Type) *Plan {
	p.format, p.typ, p.size = c.format, t, t.Size()
	return p
}

func (c *compiler) bySelf(t reflect.Type, self *pair) *Plan {
	own := self.form == formCBOR && !c.format.json || self.form == formJSON && c.format.json
	return c.made(&Plan{kind: kindSelf, self: self, least: 1, null: own}, t)
}

// kinds are the plans of plain kinds, and the least length of a value.
var kinds = map[reflect.Kind]struct {
	kind  kind
	least int
}{
	reflect.Bool: {kindBool, 1}, reflect.String: {kindString, 1},
	reflect.Int: {kindInt, 1}, reflect.Int8: {kindInt, 1}, reflect.Int16: {kindInt, 1}, reflect.Int32: {kindInt, 1}, reflect.Int64: {kindInt, 1},
	reflect.Uint: {kindUint, 1}, reflect.Uint8: {kindUint, 1}, reflect.Uint16: {kindUint, 1}, reflect.Uint32: {kindUint, 1}, reflect.Uint64: {kindUint, 1},
	reflect.Float32: {kindFloat, 1}, reflect.Float64: {kindFloat, 1},
}

func (c *compiler) byValue(t reflect.Type, path string) *Plan {
	if plain, ok := kinds[t.Kind()]; ok {
		return c.made(&Plan{kind: plain.kind, least: plain.least}, t)
	}
	if remedy := remedies[t.Kind()]; remedy != "" {
		c.refuse(t, path, "does not survive being stored", remedy)
		return nil
	}
	if slices.Contains(c.above, t) {
		c.refuse(t, path, "contains itself", "use a type without recursion, or give the type MarshalBinary and UnmarshalBinary")
		return nil
	}
	c.above = append(c.above, t)
	defer func() { c.above = c.above[:len(c.above)-1] }()
	switch t.Kind() {
	case reflect.Slice:
		return c.slice(t, path)
	case reflect.Array:
		return c.array(t, path)
	case reflect.Map:
		return c.mapping(t, path)
	case reflect.Pointer:
		return c.made(&Plan{kind: kindPointer, elem: c.pointee(t, path), least: 1, null: true}, t)
	default:
		return c.structure(t, path)
	}
}

// plainBytes reports whether t is a byte type that is encoded by value.
func (c *compiler) plainBytes(t reflect.Type) bool {
	if t.Kind() != reflect.Uint8 {
		return false
	}
	p := c.compile(t, "")
	return p != nil && p.kind == kindUint
}

func (c *compiler) slice(t reflect.Type, path string) *Plan {
	switch {
	case t.Elem().Size() == 0:
		return c.made(&Plan{kind: kindCount, least: 1, null: true}, t)
	case c.plainBytes(t.Elem()):
		return c.made(&Plan{kind: kindBytes, least: 1, null: true}, t)
	}
	elem := c.compile(t.Elem(), path+"[]")
	return c.made(&Plan{kind: kindSlice, elem: elem, least: 1, null: true}, t)
}

func (c *compiler) array(t reflect.Type, path string) *Plan {
	p := c.made(&Plan{kind: kindByteArray, len: t.Len(), least: sum(1, t.Len())}, t)
	if c.plainBytes(t.Elem()) {
		return p
	}
	p.kind = kindArray
	if p.elem = c.compile(t.Elem(), path+"[]"); p.elem != nil {
		p.least = sum(1, product(p.len, p.elem.least))
	}
	return p
}

func (c *compiler) mapping(t reflect.Type, path string) *Plan {
	key := c.keyPlan(t.Key(), path+"[key]")
	elem := c.compile(t.Elem(), path+"[]")
	p := c.made(&Plan{kind: kindMap, key: key, elem: elem, least: 1, null: true}, t)
	p.pairs = &sync.Pool{New: func() any { return newScratch(t) }}
	p.inPlace = key.decodesInPlace() || elem.decodesInPlace()
	return p
}

// keyPlan compiles the key of a map, always without loss: keys that differ only in a lost part
// would become one.
func (c *compiler) keyPlan(t reflect.Type, path string) *Plan {
	strict := c.strict()
	strict.key(t, path)
	var p *Plan
	if len(strict.faults) == 0 {
		p = strict.compile(t, path)
	}
	c.faults = append(c.faults, strict.faults...)
	return p
}

// key refuses keys that a lookup would not find after decoding: those that == compares by
// address.
func (c *compiler) key(t reflect.Type, path string) {
	const remedy = "use a string or a number as the key, or return a slice of pairs"
	switch {
	case t == timeType:
		c.refuse(t, path, "cannot be the key of a stored map: == also compares the address of a time's zone", "use its UnixNano as the key, or return a slice of pairs")
	case canonical[t]:
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.UnsafePointer, t.Kind() == reflect.Chan, t.Kind() == reflect.Interface:
		c.refuse(t, path, "cannot be the key of a stored map: it may be compared by an address", remedy)
	case t.Kind() == reflect.Array:
		c.key(t.Elem(), path+"[]")
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			switch {
			case f.Name == "_":
			case leftOut(f, c.format):
				c.refuse(f.Type, path+"."+f.Name, "is left out of a map's key by its tag, and keys that differ only in it would become one", remedy)
			default:
				c.key(f.Type, path+"."+f.Name)
			}
		}
	}
}

// leftOut reports whether a field's tag leaves it out.
func leftOut(f reflect.StructField, format Format) bool {
	own := "cbor"
	if format.json {
		own = "json"
	}
	return f.Tag.Get("fncache") == "-" || f.Tag.Get(own) == "-"
}

// structure compiles a struct by its fields. Embedded ones are fields like others.
func (c *compiler) structure(t reflect.Type, path string) *Plan {
	p := c.made(&Plan{kind: kindStruct, least: 1}, t)
	var stored []reflect.StructField
	hidden, dropped := 0, 0
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Name == "_", f.Type.Size() == 0 && !f.IsExported():
		case leftOut(f, c.format):
			dropped++
		case isHidden(f):
			hidden++
		default:
			stored = append(stored, f)
			p.fields = append(p.fields, field{i, f.Name, "", f.Offset, c.fieldPlan(f, path)})
		}
	}
	switch {
	case c.lossy:
	case hidden > 0:
		c.refuseHidden(t, path, len(stored)+dropped == 0)
	case dropped > 0 && len(stored) == 0:
		c.refuse(t, path, "has a tag \"-\" on every field, so nothing of it would be stored", "remove a tag")
	}
	if len(c.faults) > 0 {
		return nil
	}
	if c.format.json {
		p.label(stored)
	}
	for _, f := range p.fields {
		p.least = sum(p.least, sum(len(f.label), f.plan.least))
	}
	return p
}

// isHidden reports whether a field is unexported. An embedded struct is never hidden, whatever
// the name of its type: its own fields are promoted.
func isHidden(f reflect.StructField) bool {
	return !f.IsExported() && (!f.Anonymous || !ofStruct(f.Type))
}

// ofStruct reports whether t is a struct or a pointer to one.
func ofStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

func (c *compiler) fieldPlan(f reflect.StructField, path string) *Plan {
	path += "." + f.Name
	if tag := f.Tag.Get("fncache"); tag != "" {
		c.refuse(f.Type, path, fmt.Sprintf("is tagged `fncache:%q`, which means nothing in a result", tag), `only "-" does: it leaves the field out`)
	}
	return c.compile(f.Type, path)
}

// refuseHidden refuses the unexported fields of a struct: each by its name, or the whole struct
// if it has no other fields.
func (c *compiler) refuseHidden(t reflect.Type, path string, all bool) {
	if isMessage(t) {
		c.refuse(t, path, "is a message of Protocol Buffers, of which something would be lost",
			"return a pointer to it, and wrap the function for a cache whose Config.Codec is that of package fncacheproto: set Options.Cache, or call SetDefault first")
		return
	}
	if all {
		c.refuse(t, path, "has no exported field, so nothing of it would be stored", "export its fields, give it "+c.remedy(t)+", or leave it out: by a tag `fncache:\"-\"`, or by Options.Lossy (tag lossy)")
		return
	}
	for f := range t.Fields() {
		if f.Name == "_" || !isHidden(f) || f.Type.Size() == 0 || leftOut(f, c.format) {
			continue
		}
		c.refuse(f.Type, path+"."+f.Name, "is unexported, so it would be lost",
			fmt.Sprintf("export it, give %v %s, tag the field `fncache:\"-\"` to leave it out on purpose, or accept such losses by Options.Lossy (tag lossy)", t, c.remedy(t)))
	}
}

// remedy says which methods would help, or what is wrong with the existing ones.
func (c *compiler) remedy(t reflect.Type) string {
	pointer := reflect.PointerTo(t)
	for _, p := range pairsOf(c.format) {
		encodes, decodes := pointer.Implements(p.encoder), pointer.Implements(p.decoder)
		switch {
		case encodes && decodes:
			return fmt.Sprintf("a %s and %s of its own (those of an embedded field do not cover the others)", p.encodeName, p.decodeName)
		case encodes:
			return fmt.Sprintf("%s too (it has a %s, but no %s to read it back)", p.decodeName, p.encodeName, p.decodeName)
		case decodes:
			return fmt.Sprintf("%s too (it has a %s, but no %s to write what it reads)", p.encodeName, p.decodeName, p.encodeName)
		}
	}
	return "MarshalBinary and UnmarshalBinary"
}

// label sets the fields' names in JSON: those of their tags, unless two of them are equal.
func (p *Plan) label(stored []reflect.StructField) {
	names, seen := make([]string, len(stored)), make(map[string]bool)
	for i, f := range stored {
		names[i], _, _ = strings.Cut(f.Tag.Get("json"), ",")
		if names[i] == "" || names[i] == "-" || !utf8.ValidString(names[i]) {
			names[i] = f.Name
		}
		seen[names[i]] = true
	}
	for i, f := range stored {
		if len(seen) < len(names) {
			names[i] = f.Name
		}
		p.fields[i].label = string(append(appendQuoted(nil, names[i]), ':'))
	}
}

// Describe writes everything that determines the bytes of a value, and the names and tags,
// which may determine their meaning. A struct that occurs again is written as a number.
func (p *Plan) Describe(b *strings.Builder) { p.describe(b, make(map[*Plan]int)) }

func (p *Plan) describe(b *strings.Builder, structs map[*Plan]int) {
	if p.kind == kindStruct {
		if n, ok := structs[p]; ok {
			fmt.Fprintf(b, "#%d", n)
			return
		}
		structs[p] = len(structs)
	}
	if p.self != nil && p.self.form == formUser {
		fmt.Fprintf(b, "%d form %q", p.kind, p.self.encodeName)
		return
	}
	fmt.Fprintf(b, "%d %q.%s %v %d", p.kind, p.typ.PkgPath(), p.typ.Name(), p.typ.Kind(), p.len)
	if p.self != nil {
		fmt.Fprintf(b, " %s", p.self.encodeName)
	}
	if kind := p.typ.Kind(); p.elem == nil && (kind == reflect.Slice || kind == reflect.Array) && p.typ.Elem().PkgPath() != "" {
		fmt.Fprintf(b, " of %q.%s", p.typ.Elem().PkgPath(), p.typ.Elem().Name()) // for example bytes of a named type
	}
	b.WriteString("(")
	defer b.WriteString(")")
	for _, inner := range []*Plan{p.key, p.elem} {
		if inner != nil {
			inner.describe(b, structs)
		}
	}
	for _, f := range p.fields {
		declared := p.typ.Field(f.index)
		fmt.Fprintf(b, "%q %t %q ", f.name, declared.Anonymous, declared.Tag)
		f.plan.describe(b, structs)
	}
}

// AsksMethods reports whether values are encoded or decoded by methods that might not return. Some
// methods of the standard library are known to return.
func (p *Plan) AsksMethods() bool { return p != nil && p.asks }

// asksMethods is like AsksMethods, for a plan whose parts are complete.
func (p *Plan) asksMethods() bool {
	if p.kind == kindSelf {
		return !canonical[p.typ]
	}
	asks := func(f field) bool { return f.plan.asks }
	return p.key.AsksMethods() || p.elem.AsksMethods() || slices.ContainsFunc(p.fields, asks)
}

// value returns the value of the plan's type at an address.
func (p *Plan) value(at unsafe.Pointer) reflect.Value { return reflect.NewAt(p.typ, at).Elem() }

// sum and product saturate.
func sum(a, b int) int {
	if a > maxLeast-b {
		return maxLeast
	}
	return a + b
}

func product(a, b int) int {
	if b > 0 && a > maxLeast/b {
		return maxLeast
	}
	return a * b
}

// maxLeast stands for every length that no body can have. A sum of two fits in an int of 32 bits.
const maxLeast = min(1<<40, math.MaxInt/2)
