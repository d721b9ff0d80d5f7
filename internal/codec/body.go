package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
)

// A body is the results of one call as one array, of CBOR or JSON. It does not keep:
//
//   - the name of a time's zone, and its monotonic reading. The instant and the
//     offset are kept, UTC as UTC.
//   - the capacity of a slice, and that two pointers or slices share memory.
//   - a field whose tag is `cbor:"-"` (in JSON `json:"-"`) or `fncache:"-"`, and the unexported
//     fields that Compile leaves out when lossy is set.
//
// A type with methods of its own decides what it keeps.

// maxKeptBuffer is the capacity of the largest buffer that is reused.
const maxKeptBuffer = 1 << 20

// buffers holds encoding buffers, so that few encodings need to grow one.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// appendBody appends the results at these pointers to dst, as one array. It returns a panic of
// a marshaler as an error.
func appendBody(dst []byte, format Format, plans []*Plan, from []any) (_ []byte, err error) {
	kept := buffers.Get().(*[]byte)
	buf := (*kept)[:0]
	if format.json {
		buf = append(buf, '[')
	} else {
		buf = appendArrayHead(buf, len(from))
	}
	at := 0
	defer func() {
		if value := recover(); value != nil {
			err = &ResultError{"encode", at, plans[at].typ, PanicText(value), panicCause(value)}
		}
	}()
	for ; at < len(from); at++ {
		if at > 0 && format.json {
			buf = append(buf, ',')
		}
		if buf, err = plans[at].Append(buf, reflect.ValueOf(from[at]).UnsafePointer()); err != nil {
			return nil, &ResultError{"encode", at, plans[at].typ, errorText(err), err}
		}
	}
	if format.json {
		buf = append(buf, ']')
	}
	dst = append(dst, buf...)
	if cap(buf) <= maxKeptBuffer {
		*kept = buf
		buffers.Put(kept)
	}
	return dst, nil
}

// decodeBody reads a body into the zero values at these pointers. The decoded values share no
// memory with the body. It never panics, even if the bytes are damaged or an unmarshaler panics.
func decodeBody(body []byte, format Format, plans []*Plan, into []any) error {
	if format.json {
		return decodeJSONBody(body, plans, into)
	}
	rest, err := cutArrayHead(body, len(into))
	if err != nil {
		return err
	}
	r := NewReader(rest)
	for at := range into {
		if err := decodeOne(r, plans[at], at, into[at]); err != nil {
			return err
		}
	}
	if n := r.Rest(); n > 0 {
		return corrupt("%d bytes after the results", n)
	}
	return nil
}

func decodeJSONBody(body []byte, plans []*Plan, into []any) error {
	r := NewReader(body)
	if !r.Skip("[") {
		return corrupt("the body is not a JSON array")
	}
	for at := range into {
		if at > 0 && !r.Skip(",") {
			return corrupt("the body has %d of %d results", at, len(into))
		}
		if err := decodeOne(r, plans[at], at, into[at]); err != nil {
			return err
		}
	}
	if !r.Skip("]") {
		return corrupt("the body does not end after %d results", len(into))
	}
	if r.Rest() > 0 {
		return corrupt("there are bytes after the array")
	}
	return nil
}

// decodeOne reads result number at.
func decodeOne(r *Reader, plan *Plan, at int, into any) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &ResultError{"decode", at, plan.typ, PanicText(value), panicCause(value)}
		}
	}()
	if err := plan.Decode(r, reflect.ValueOf(into).UnsafePointer()); err != nil {
		return &ResultError{"decode", at, plan.typ, errorText(err), err}
	}
	return nil
}

// appendArrayHead appends the head of a CBOR array. The number of results fits into two bytes,
// so the head has at most three.
func appendArrayHead(dst []byte, n int) []byte { return appendHead(dst, majorArray, uint64(n)) }

// cutArrayHead removes the head of an array of n elements, as appendArrayHead writes it.
func cutArrayHead(body []byte, n int) (rest []byte, err error) {
	var space [3]byte
	head := appendArrayHead(space[:0], n)
	if bytes.HasPrefix(body, head) {
		return body[len(head):], nil
	}
	switch {
	case bytes.HasPrefix(head, body):
		return nil, &BodyError{Truncated: true, Detail: fmt.Sprintf("the body has %d bytes", len(body))}
	case body[0]&majorMask == majorArray:
		return nil, corrupt("the body is not of %d results", n)
	default:
		return nil, corrupt("the body is not an array")
	}
}
