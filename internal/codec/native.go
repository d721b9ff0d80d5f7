package codec

import (
	"encoding"
	"encoding/json"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"time"
)

var timeType = reflect.TypeFor[time.Time]()

// natives are types of the standard library with unexported fields whose own encodings lose
// something: time.Time the seconds of an offset, big.Float the precision, url.URL an empty
// password.
var natives = map[reflect.Type]kind{
	timeType:                        kindTime,
	reflect.TypeFor[big.Int]():      kindBigInt,
	reflect.TypeFor[big.Float]():    kindBigFloat,
	reflect.TypeFor[big.Rat]():      kindBigRat,
	reflect.TypeFor[url.Userinfo](): kindUserinfo,
}

// inexact are types of the standard library whose own encoding loses something, and that cannot
// be rebuilt in another way.
var inexact = map[reflect.Type]struct{ what, remedy string }{
	reflect.TypeFor[regexp.Regexp](): {
		"does not come back from its text as it was: whether it is POSIX or Longest is lost",
		"return its String, and compile that",
	},
}

// canonical are types with references for which == holds exactly if the values are equal.
var canonical = map[reflect.Type]bool{
	reflect.TypeFor[netip.Addr]():     true,
	reflect.TypeFor[netip.AddrPort](): true,
	reflect.TypeFor[netip.Prefix]():   true,
}

// binaryInJSON are types whose text loses what their binary form keeps: the port or address of
// an invalid value.
var binaryInJSON = map[reflect.Type]bool{
	reflect.TypeFor[netip.AddrPort](): true,
	reflect.TypeFor[netip.Prefix]():   true,
}

// A form names the encoding that a pair of methods writes and reads.
type form uint8

const (
	formCBOR form = iota
	formBinary
	formText
	formJSON
	formUser // of form.go
)

// A pair is two methods by which a type encodes itself. They may be declared on the pointer.
type pair struct {
	form                   form
	encodeName, decodeName string
	encoder, decoder       reflect.Type // interfaces
	encode                 func(v any) ([]byte, error)
	decode                 func(v any, b []byte) error
}

// The interfaces of MarshalCBOR and UnmarshalCBOR, as in CBOR libraries.
type (
	cborMarshaler   interface{ MarshalCBOR() ([]byte, error) }
	cborUnmarshaler interface{ UnmarshalCBOR([]byte) error }
)

var (
	cborPair = &pair{
		formCBOR, "MarshalCBOR", "UnmarshalCBOR",
		reflect.TypeFor[cborMarshaler](), reflect.TypeFor[cborUnmarshaler](),
		func(v any) ([]byte, error) { return v.(cborMarshaler).MarshalCBOR() },
		func(v any, b []byte) error { return v.(cborUnmarshaler).UnmarshalCBOR(b) },
	}
	binaryPair = &pair{
		formBinary, "MarshalBinary", "UnmarshalBinary",
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
		func(v any) ([]byte, error) { return v.(encoding.BinaryMarshaler).MarshalBinary() },
		func(v any, b []byte) error { return v.(encoding.BinaryUnmarshaler).UnmarshalBinary(b) },
	}
	textPair = &pair{
		formText, "MarshalText", "UnmarshalText",
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
		func(v any) ([]byte, error) { return v.(encoding.TextMarshaler).MarshalText() },
		func(v any, b []byte) error { return v.(encoding.TextUnmarshaler).UnmarshalText(b) },
	}
	jsonPair = &pair{
		formJSON, "MarshalJSON", "UnmarshalJSON",
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		func(v any) ([]byte, error) { return v.(json.Marshaler).MarshalJSON() },
		func(v any, b []byte) error { return v.(json.Unmarshaler).UnmarshalJSON(b) },
	}

	pairsInCBOR = []*pair{cborPair, binaryPair, textPair, jsonPair}
	pairsInJSON = []*pair{jsonPair, textPair, binaryPair, cborPair}
)

// pairsOf returns the pairs in the order in which the format prefers them.
func pairsOf(format Format) []*pair {
	if format.json {
		return pairsInJSON
	}
	return pairsInCBOR
}

// pairOf returns the pair of t's own methods that the format prefers, or nil.
func pairOf(t reflect.Type, format Format) *pair {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return nil
	}
	if format.json && binaryInJSON[t] {
		return binaryPair
	}
	pointer := reflect.PointerTo(t)
	for _, p := range pairsOf(format) {
		if pointer.Implements(p.encoder) && pointer.Implements(p.decoder) && !promoted(t, p) {
			return p
		}
	}
	return nil
}

// standsForCBOR reports whether t is a CBOR library's type for raw CBOR. Such a value is
// encoded as its bytes, because its methods write null for both nil and empty.
func standsForCBOR(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "github.com/fxamacker/cbor/")
}

// promoted reports whether t has one half of a pair from an embedded field.
func promoted(t reflect.Type, p *pair) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	encoder, decoder := methodsOf(t, p.form)
	return embeds(t, p.encoder) && WrittenByCompiler(encoder) || embeds(t, p.decoder) && WrittenByCompiler(decoder)
}

// embeds reports whether t embeds a type that has the method of an interface.
func embeds(t, method reflect.Type) bool {
	for f := range t.Fields() {
		if f.Anonymous && (f.Type.Implements(method) || reflect.PointerTo(f.Type).Implements(method)) {
			return true
		}
	}
	return false
}

// WrittenByCompiler reports whether the compiler generated a method. Reflection does not
// distinguish a promoted method from a declared one. For a generated method, however, the compiler
// names no real file.
func WrittenByCompiler(method reflect.Method) bool {
	file, _ := runtime.FuncForPC(method.Func.Pointer()).FileLine(method.Func.Pointer())
	return file == "<autogenerated>"
}

// methodsOf returns the methods of a form. If the value has them, it returns those of the value,
// because the compiler then generates those of the pointer. The names are constants at the lookup.
// Otherwise the linker would keep every exported method of a program.
func methodsOf(t reflect.Type, f form) (encoder, decoder reflect.Method) {
	for _, t := range []reflect.Type{reflect.PointerTo(t), t} {
		var e, d reflect.Method
		var hasE, hasD bool
		switch f {
		case formCBOR:
			e, hasE = t.MethodByName("MarshalCBOR")
			d, hasD = t.MethodByName("UnmarshalCBOR")
		case formBinary:
			e, hasE = t.MethodByName("MarshalBinary")
			d, hasD = t.MethodByName("UnmarshalBinary")
		case formText:
			e, hasE = t.MethodByName("MarshalText")
			d, hasD = t.MethodByName("UnmarshalText")
		case formJSON:
			e, hasE = t.MethodByName("MarshalJSON")
			d, hasD = t.MethodByName("UnmarshalJSON")
		}
		if hasE {
			encoder = e
		}
		if hasD {
			decoder = d
		}
	}
	return encoder, decoder
}
