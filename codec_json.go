package fncache

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"sync"
)

// jsonName is codecName for JSON.
const jsonName = "json1"

// JSON is the codec for people who read entries, with redis-cli or in a log: all
// that stands behind the 32 bytes of an entry's header is one JSON array of the
// results. Entries that are to be read must not be compressed: set
// Config.CompressOver to -1.
//
// It is encoding/json, with its tags, and loses more than [CBOR] does:
//
//   - Invalid UTF-8 in strings becomes U+FFFD.
//   - What a tag leaves out and what is unexported is lost, and MarshalBinary and
//     MarshalCBOR are not called. A type of which nothing would be stored, or which
//     cannot be read back, is refused: when wrapping where Options.Cache is set;
//     else its results are returned as they are, logged, and not stored.
//   - NaN and the infinities cannot be encoded.
//
// Numbers keep all their digits. It takes five times as long to read as CBOR does,
// and is longer by a tenth (texts) to two thirds (numbers); on an AMD EPYC
// (make bench BENCH=Codec_):
//
//	                   CBOR               JSON
//	ten ids            0.5 µs, 42 bytes   2.5 µs, 71 bytes
//	a book             1.9 µs, 632 bytes  10 µs, 686 bytes
//	a hundred books    139 µs, 60 KB      724 µs, 66 KB
type JSON struct{}

// Name implements [Codec].
func (JSON) Name() string { return jsonName }

// Encode implements [Codec].
func (JSON) Encode(results []any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false) // it is for people
	buf.WriteByte('[')
	for i, result := range results {
		if i > 0 {
			buf.WriteByte(',')
		}
		if err := jsonFit(pointedTo(result)); err != nil {
			return nil, &codecError{"encode", i, pointedTo(result), err.Error(), nil}
		}
		if err := encoder.Encode(result); err != nil {
			return nil, &codecError{"encode", i, pointedTo(result), errorText(err), err}
		}
		buf.Truncate(buf.Len() - len("\n")) // the encoder ends lines
	}
	buf.WriteByte(']')
	return buf.Bytes(), nil
}

// Decode implements [Codec]. The results share no memory with body.
func (JSON) Decode(body []byte, results []any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields() // the types are those that were encoded
	if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
		return miss(missCorrupt, "the body is not a JSON array")
	}
	for i, result := range results {
		if !decoder.More() {
			return miss(missCorrupt, "the body has %d of %d results", i, len(results))
		}
		if err := decoder.Decode(result); err != nil {
			return &codecError{"decode", i, pointedTo(result), errorText(err), err}
		}
	}
	if token, err := decoder.Token(); err != nil || token != json.Delim(']') {
		return miss(missCorrupt, "the body does not end after %d results", len(results))
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // a decoder's end is not wrapped
		return miss(missCorrupt, "there is something behind the array")
	}
	return nil
}

// The interfaces by which encoding/json has a type encode itself, in the order in
// which it prefers them.
var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()

	jsonMarshalings = []marshaling{
		{"MarshalJSON", "UnmarshalJSON", jsonMarshaler, jsonUnmarshaler, func(reflect.Type) bool { return true }},
		{"MarshalText", "UnmarshalText", textMarshaler, textUnmarshaler, func(t reflect.Type) bool {
			return t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
		}},
	}
)

var jsonRules = typeRules{
	native:      []reflect.Type{timeType},
	marshalings: jsonMarshalings,
	promoted:    jsonPromoted,
	tag:         func(f reflect.StructField) string { return f.Tag.Get("json") },
	remedy:      "MarshalJSON and UnmarshalJSON",
	recursive:   true,
	strictKeys:  jsonKey,
}

// jsonPromoted is promoted for the methods that encoding/json calls.
func jsonPromoted(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(jsonMarshaler) {
			method, _ := t.MethodByName("MarshalJSON")
			return written(method)
		}
	}
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(textMarshaler) {
			method, _ := t.MethodByName("MarshalText")
			return written(method)
		}
	}
	return false
}

// jsonKey says whether keys of maps come back. Strings are written without asking
// a MarshalText, but read by an UnmarshalText.
func jsonKey(t reflect.Type) bool {
	reads := reflect.PointerTo(t).Implements(textUnmarshaler)
	switch {
	case t.Kind() == reflect.String:
		return !reads
	case t.Implements(textMarshaler) || reads:
		return t.Implements(textMarshaler) && reads
	default:
		return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
	}
}

// jsonFaults says why values of t do not come back from JSON.
func jsonFaults(place string, t reflect.Type) error {
	w := typeWalk{place: place, root: t, rules: &jsonRules}
	w.result(t, "")
	return errors.Join(w.faults...)
}

// jsonKnown holds what jsonFit has found out: an error or nil, by type.
var jsonKnown sync.Map

// jsonFit is jsonFaults where it was not known when wrapping that the codec would
// be JSON.
func jsonFit(t reflect.Type) error {
	known, ok := jsonKnown.Load(t)
	if !ok {
		var err error
		if t != nil {
			err = jsonFaults("as JSON", t)
		}
		known, _ = jsonKnown.LoadOrStore(t, err)
	}
	err, _ := known.(error)
	return err
}
