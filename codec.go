package fncache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"sync"

	"github.com/fncache/fncache/internal/codec"
)

// codecName is the codec in the fingerprint that keys carry. It changes, as does
// codecCBOR, whenever a body changes its meaning.
const codecName = "cbor2"

// CBOR is the codec that a [Cache] has by default. What it writes is short and
// quickly read, and each value of a type that can be wrapped comes back as it was
// (see docs/results.md). It is exported for codecs that wrap it, such as one that
// encrypts. What such a codec is given was checked when the function was wrapped.
type CBOR struct{}

// Name implements [Codec].
func (CBOR) Name() string { return codecName }

// Encode implements [Codec].
func (CBOR) Encode(results []any) ([]byte, error) {
	plans, err := pointedPlans(codec.CBOR, results)
	if err != nil {
		return nil, err
	}
	return encodeAll(nil, plans, results, cborMarks)
}

// Decode implements [Codec]. The results share no memory with body.
func (CBOR) Decode(body []byte, results []any) error {
	plans, err := pointedPlans(codec.CBOR, results)
	if err != nil {
		return err
	}
	return decodeCBOR(body, plans, results)
}

// A body is one CBOR array with the results; package codec says how each is written.
// Of a value that comes back, this is not kept:
//
//   - the name of a time's zone, and its monotonic reading. The instant and the
//     offset are kept, UTC as UTC.
//   - the capacity of a slice, and that two pointers or slices share memory.
//   - a field whose tag is `cbor:"-"` or `fncache:"-"`, and the unexported fields that
//     Options.Lossy accepts to lose.
//
// What a type with methods of its own keeps is its own affair.

// bodyMarks are what stands around the results of a body.
type bodyMarks struct {
	open func(dst []byte, n int) []byte
	// comma and end are what stands between the results and after them.
	comma, end string
}

var cborMarks = bodyMarks{open: appendArrayHead}

// maxKeptBuffer is the largest buffer that is kept for the next encoding.
const maxKeptBuffer = 1 << 20

// buffers holds buffers to encode into: once warm they need not grow.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// encodeAll appends the results at these pointers to dst, as one array. Panics of
// marshalers are errors.
func encodeAll(dst []byte, plans []*codec.Plan, from []any, marks bodyMarks) (_ []byte, err error) {
	kept := buffers.Get().(*[]byte)
	buf := marks.open((*kept)[:0], len(from))
	at := 0
	defer func() {
		if value := recover(); value != nil {
			err = &codecError{"encode", at, plans[at].Type(), panicText(value), panicCause(value)}
		}
	}()
	for ; at < len(from); at++ {
		if at > 0 {
			buf = append(buf, marks.comma...)
		}
		if buf, err = plans[at].Append(buf, reflect.ValueOf(from[at]).UnsafePointer()); err != nil {
			return nil, &codecError{"encode", at, plans[at].Type(), errorText(err), err}
		}
	}
	dst = append(append(dst, buf...), marks.end...)
	if cap(buf) <= maxKeptBuffer {
		*kept = buf
		buffers.Put(kept)
	}
	return dst, nil
}

// decodeCBOR reads the array of a body into the zero values at these pointers,
// which then share no memory with it. Whatever the bytes are, and whatever
// unmarshalers do with them, it does not panic.
func decodeCBOR(body []byte, plans []*codec.Plan, into []any) error {
	rest, err := cutArrayHead(body, len(into))
	if err != nil {
		return err
	}
	r := codec.NewReader(rest)
	for at := range into {
		if err := decodeOne(r, plans[at], at, into[at]); err != nil {
			return err
		}
	}
	if n := r.Rest(); n > 0 {
		return miss(missCorrupt, "%d bytes behind the results", n)
	}
	return nil
}

// decodeOne reads result number at.
func decodeOne(r *codec.Reader, plan *codec.Plan, at int, into any) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &codecError{"decode", at, plan.Type(), panicText(value), panicCause(value)}
		}
	}()
	if err := plan.Decode(r, reflect.ValueOf(into).UnsafePointer()); err != nil {
		return &codecError{"decode", at, plan.Type(), errorText(err), err}
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

// errorText returns as much of an error as has nothing of the value in it: the text
// of those that this package and package codec make, and else the type.
func errorText(err error) string {
	last := err
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) { //nolint:errorlint // the loop unwraps
		case *codec.Error, *codecError, *otherCodecError, *missReason: // maybe from a codec around ours
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
