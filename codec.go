package fncache

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// codecName is the codec in the fingerprint that keys carry. It changes, as does
// codecCBOR, whenever a body changes its meaning, the options below included.
const codecName = "cbor1"

// CBOR is the codec that a [Cache] has by default: what it writes is short, quickly
// read, and keeps all that the result types that can be wrapped can say but for
// what the package documentation names. It is exported for codecs that wrap it,
// such as one that encrypts.
type CBOR struct{}

// Name implements [Codec].
func (CBOR) Name() string { return codecName }

// Encode implements [Codec].
func (CBOR) Encode(results []any) ([]byte, error) { return encodeAll(nil, results) }

// Decode implements [Codec]. The results share no memory with body.
func (CBOR) Decode(body []byte, results []any) error { return decodeAll(body, results) }

// A body is one CBOR array with the results. What goes in comes out, with these
// exceptions:
//
//   - A time keeps its instant to the nanosecond and its offset in minutes, not
//     its zone's name, nor its monotonic clock. RFC 3339 has no seconds of an
//     offset: with one (local mean time, before about 1940) the instant shifts
//     by them. A year outside 0 to 9999 is an error.
//   - A pointer to what is itself encoded as null (a nil slice or map, another
//     nil pointer, the zero time) comes back nil.
//   - A signalling NaN in a float32 comes back quiet; other NaNs keep their bits.
//   - A big.Float comes back as its shortest text reads with 64 bits.
//   - What a tag leaves out (`cbor:"-"`, `json:"-"`, omitempty, omitzero), what
//     is unexported, and embedded fields that another hides are lost, as with
//     encoding/json; a struct that has its marshaler from an embedded field is
//     encoded as that field.
var encMode = Must(cbor.EncOptions{
	// Exact: a float keeps its width, with the bits of its NaNs.
	ShortestFloat: cbor.ShortestFloatNone,
	NaNConvert:    cbor.NaNConvertNone,
	InfConvert:    cbor.InfConvertNone,
	// The default is whole seconds.
	Time: cbor.TimeRFC3339Nano,
	// By default text marshalers are left aside, and a struct of unexported
	// fields that has only them becomes empty.
	BinaryMarshaler: cbor.BinaryMarshalerByteString,
	TextMarshaler:   cbor.TextMarshalerTextString,
	// As encoding/json does, which drops less.
	OmitEmpty: cbor.OmitEmptyGoValue,
	// The decoder reads them in any case.
	ToIndefArrayStructTag: cbor.ToIndefArrayStructTagAllowed,
}.UserBufferEncMode())

var decMode = Must(cbor.DecOptions{
	// What was encoded can be decoded: there are no limits on the other side. An
	// array's length is believed only once its elements were seen to be there.
	MaxArrayElements: 1<<31 - 1,
	MaxMapPairs:      1<<31 - 1,
	MaxNestedLevels:  1<<16 - 1,
	// Go's strings may hold anything.
	UTF8:              cbor.UTF8DecodeInvalid,
	BinaryUnmarshaler: cbor.BinaryUnmarshalerByteString,
	TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	// Names are those of the same type: a field that is not found, or found
	// twice, is a sign of something else. Two keys of a map come out the same if
	// their marshaler says the same of both, and one value would be lost.
	FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
}.DecMode())

// maxKeptBuffer is the largest buffer that is kept for the next encoding.
const maxKeptBuffer = 1 << 20

// buffers holds buffers to encode into. The encoder grows one more cheaply than
// a slice that is handed in, and once warm it need not grow at all.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encodeAll appends the results at these pointers to dst, as one array. Panics of
// marshalers are errors. By their pointers, for that saves copies, and comes out
// the same.
func encodeAll(dst []byte, from []any) (_ []byte, err error) {
	buf := buffers.Get().(*bytes.Buffer)
	at := 0
	defer func() {
		// Not put back: who knows what the marshaler still does with it.
		if value := recover(); value != nil {
			err = &codecError{"encode", at, pointedTo(from[at]), panicText(value), panicCause(value)}
		}
	}()
	for ; at < len(from); at++ {
		if err := encMode.MarshalToBuffer(from[at], buf); err != nil {
			return nil, &codecError{"encode", at, pointedTo(from[at]), errorText(err), err}
		}
	}
	dst = append(appendArrayHead(dst, len(from)), buf.Bytes()...)
	if buf.Cap() <= maxKeptBuffer {
		buf.Reset()
		buffers.Put(buf)
	}
	return dst, nil
}

// decodeAll reads the array of a body into the zero values at these pointers,
// which then share no memory with it. Whatever the bytes are, and whatever
// unmarshalers do with them, it does not panic.
func decodeAll(body []byte, into []any) (err error) {
	rest, err := cutArrayHead(body, len(into))
	if err != nil {
		return err
	}
	at := 0
	defer func() {
		if value := recover(); value != nil {
			err = &codecError{"decode", at, pointedTo(into[at]), panicText(value), panicCause(value)}
		}
	}()
	for ; at < len(into); at++ {
		if rest, err = decMode.UnmarshalFirst(rest, into[at]); err != nil {
			return &codecError{"decode", at, pointedTo(into[at]), errorText(err), err}
		}
	}
	if len(rest) > 0 {
		return miss(missCorrupt, "%d bytes behind the results", len(rest))
	}
	return nil
}

// The head of an array, in CBOR: its type in three bits, and the length in the
// other five, or in one or two bytes more.
const (
	cborArray      = 4 << 5
	cborOneByte    = 24
	cborTwoBytes   = 25
	cborTypeOf     = 7 << 5
	maxShortLength = 23
)

func appendArrayHead(dst []byte, n int) []byte {
	switch {
	case n <= maxShortLength:
		return append(dst, cborArray|byte(n))
	case n < 1<<8:
		return append(dst, cborArray|cborOneByte, byte(n))
	default: // no function has more than that
		return append(dst, cborArray|cborTwoBytes, byte(n>>8), byte(n))
	}
}

// cutArrayHead cuts off the head of an array of n, as appendArrayHead writes it.
// By hand, for the library would have to go through all elements twice.
func cutArrayHead(body []byte, n int) (rest []byte, err error) {
	var space [3]byte
	head := appendArrayHead(space[:0], n)
	if bytes.HasPrefix(body, head) {
		return body[len(head):], nil
	}
	switch {
	case bytes.HasPrefix(head, body):
		return nil, miss(missTruncated, "the body has %d bytes", len(body))
	case body[0]&cborTypeOf == cborArray:
		return nil, miss(missCorrupt, "the body is not of %d results", n)
	default:
		return nil, miss(missCorrupt, "the body is not an array")
	}
}

// A codecError is why a result could not be encoded or decoded. It names the
// result and never its value, for it goes to the log: the text of the cause,
// which may quote the value, is only there for errors.As.
type codecError struct {
	verb  string
	at    int
	typ   reflect.Type
	text  string
	cause error
}

func (e *codecError) Error() string {
	return fmt.Sprintf("%s result %d (%v): %s", e.verb, e.at+1, e.typ, e.text)
}

func (e *codecError) Unwrap() error { return e.cause }

// errorText tells as much of an error as has nothing of the value in it.
func errorText(err error) string {
	last := err
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) { //nolint:errorlint // the loop unwraps
		case *cbor.UnmarshalTypeError:
			text := "cannot put CBOR " + e.CBORType + " into " + e.GoType
			if e.StructFieldName != "" {
				text += ", in " + e.StructFieldName
			}
			return text
		case *json.UnmarshalTypeError:
			what, _, _ := strings.Cut(e.Value, " ") // behind it may stand the value
			text := fmt.Sprintf("cannot put a JSON %s into %v", what, e.Type)
			if e.Field != "" {
				text += ", in " + e.Field
			}
			return text
		case *json.SyntaxError: // whose text shows a character
			return fmt.Sprintf("is no JSON at byte %d", e.Offset)
		case *json.UnsupportedTypeError, *json.UnsupportedValueError:
			return e.Error()
		case *codecError, *otherCodecError, *missReason: // from a codec around ours
			return e.Error()
		case *cbor.DupMapKeyError:
			return fmt.Sprintf("a map has the same key twice, at element %d", e.Index)
		case *cbor.SyntaxError, *cbor.UnknownFieldError,
			*cbor.UnsupportedTypeError, *cbor.UnsupportedValueError, *cbor.InadmissibleTagContentTypeError,
			*cbor.MaxNestedLevelError, *cbor.MaxArrayElementsError, *cbor.MaxMapPairsError:
			return e.Error()
		}
		last = e
	}
	if last == io.EOF || last == io.ErrUnexpectedEOF { //nolint:errorlint // the innermost
		return "ends too early"
	}
	return fmt.Sprintf("%T, whose text may quote the value", last)
}

// panicText tells as much of a panic. What the runtime says is about code.
func panicText(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a %T", value)
}

func panicCause(value any) error {
	err, _ := value.(error)
	return err
}

// The interfaces by which the codec has a type encode itself, the methods of its
// pointer included, in the order in which it prefers them.
var (
	cborMarshaler     = reflect.TypeFor[cbor.Marshaler]()
	cborUnmarshaler   = reflect.TypeFor[cbor.Unmarshaler]()
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fieldTag is the tag that the library reads.
func fieldTag(f reflect.StructField) string {
	if tag := f.Tag.Get("cbor"); tag != "" {
		return tag
	}
	return f.Tag.Get("json")
}
