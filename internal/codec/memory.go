package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// A Reader reads a body.
type Reader struct {
	body []byte
	off  int
	left int // bytes of memory that decoding may still allocate
}

// Decoding may allocate memoryBase, and memoryFactor bytes for each byte of the body. Slices of
// slices take 24 bytes for a byte, small maps up to a hundred. Only types that encode a small
// part of a large value, because of tags or methods, need more.
const (
	memoryBase   = 16 << 20
	memoryFactor = 128
)

// NewReader returns a reader of a body. It does not modify the body, and no decoded value
// shares memory with it.
func NewReader(body []byte) *Reader {
	return &Reader{body: body, left: memoryBase + memoryFactor*len(body)}
}

// Rest returns how many bytes are left to read.
func (r *Reader) Rest() int { return len(r.body) - r.off }

// take counts memory that a value needs. It returns an error if the limit would be exceeded.
func (r *Reader) take(n, size int) error {
	if size > 0 && n > r.left/size {
		return errorf("would take more memory than %d MiB and %d times its %d bytes", memoryBase>>20, memoryFactor, len(r.body))
	}
	r.left -= n * size
	return nil
}

// An Error says why a value could not be encoded or decoded. Its text never quotes the value;
// the text of its cause may.
type Error struct {
	Path  string // of the part, from the type that was compiled; "" for itself
	Text  string
	Cause error // what a method of the type returned
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Text
	}
	return e.Text + ", in " + strings.TrimPrefix(e.Path, ".")
}

func (e *Error) Unwrap() error { return e.Cause }

func errorf(format string, args ...any) *Error { return &Error{Text: fmt.Sprintf(format, args...)} }

// within puts the place of a part before the path of an error.
func within(place string, err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // it is made here
		e.Path = place + e.Path
	}
	return err
}

// short returns the error for a truncated body. Each call makes a new one, because within
// writes to it.
func short() *Error { return &Error{Text: "ends too early"} }

// A scratch holds one pair of a map while it is encoded or decoded.
type scratch struct{ key, elem reflect.Value }

func newScratch(t reflect.Type) *scratch {
	return &scratch{reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()}
}

// clear zeroes the pair, so that it keeps nothing alive.
func (s *scratch) clear() {
	s.key.SetZero()
	s.elem.SetZero()
}

// another returns the scratch for the next pair to decode. last is the scratch of the last pair.
func (p *Plan) another(last *scratch) *scratch {
	if p.inPlace {
		return newScratch(p.typ)
	}
	last.clear()
	return last
}

// recycle keeps a scratch for reuse, unless decoded pairs may refer to it.
func (p *Plan) recycle(pair *scratch) {
	if !p.inPlace {
		pair.clear()
		p.pairs.Put(pair)
	}
}

// decodesInPlace reports whether a method decodes into the memory of a value itself,
// and not only into what the value points to.
func (p *Plan) decodesInPlace() bool {
	switch {
	case p == nil:
		return false
	case p.kind == kindSelf:
		return !canonical[p.typ]
	case p.kind == kindArray:
		return p.elem.decodesInPlace()
	default:
		return slices.ContainsFunc(p.fields, func(f field) bool { return f.plan.decodesInPlace() })
	}
}

// A sliceHeader is the layout of a slice in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

// integer reads a signed integer of the plan's size.
func (p *Plan) integer(at unsafe.Pointer) int64 {
	switch p.size {
	case 1:
		return int64(*(*int8)(at))
	case 2:
		return int64(*(*int16)(at))
	case 4:
		return int64(*(*int32)(at))
	default:
		return *(*int64)(at)
	}
}

// unsigned reads as many bits as the plan's size has.
func (p *Plan) unsigned(at unsafe.Pointer) uint64 {
	switch p.size {
	case 1:
		return uint64(*(*uint8)(at))
	case 2:
		return uint64(*(*uint16)(at))
	case 4:
		return uint64(*(*uint32)(at))
	default:
		return *(*uint64)(at)
	}
}

// setInteger writes a signed integer, and reports whether it fits.
func (p *Plan) setInteger(at unsafe.Pointer, n int64) bool {
	p.setUnsigned(at, uint64(n))
	return p.integer(at) == n
}

// setUnsigned writes as many bits as the plan's size has, and reports whether the value fits.
func (p *Plan) setUnsigned(at unsafe.Pointer, n uint64) bool {
	switch p.size {
	case 1:
		*(*uint8)(at) = uint8(n)
	case 2:
		*(*uint16)(at) = uint16(n)
	case 4:
		*(*uint32)(at) = uint32(n)
	default:
		*(*uint64)(at) = n
	}
	return p.unsigned(at) == n
}

// bytes returns the bytes of an array.
func (p *Plan) bytes(at unsafe.Pointer) []byte { return unsafe.Slice((*byte)(at), p.len) }

// setBytes sets a slice of bytes to a copy. The slice may have a named type.
func setBytes(at unsafe.Pointer, b []byte) {
	fresh := make([]byte, len(b))
	copy(fresh, b)
	*(*[]byte)(at) = fresh
}

// makeSlice sets a slice to n zero elements.
func (p *Plan) makeSlice(r *Reader, at unsafe.Pointer, n int) error {
	if n > r.Rest()/p.elem.least {
		return short()
	}
	if err := r.take(n, int(p.elem.size)); err != nil {
		return err
	}
	switch {
	case p.elem.kind == kindString:
		*(*[]string)(at) = make([]string, n)
	case p.elem.size == 8 && (p.elem.kind == kindInt || p.elem.kind == kindUint || p.elem.kind == kindFloat):
		*(*[]uint64)(at) = make([]uint64, n)
	default:
		p.value(at).Set(reflect.MakeSlice(p.typ, n, n))
	}
	return nil
}

// makeMap returns a map with capacity for n pairs.
func (p *Plan) makeMap(r *Reader, n int) (reflect.Value, error) {
	const header, group = 48, 8
	key, keys := slotOf(p.key.size)
	elem, elems := slotOf(p.elem.size)
	if p.inPlace {
		keys, elems = int(p.key.size), int(p.elem.size)
	}
	if n > r.Rest()/(p.key.least+p.elem.least) {
		return reflect.Value{}, short()
	}
	slots := group
	if n > group {
		slots = 2 * n
	}
	if err := r.take(slots, key+elem+1); err != nil {
		return reflect.Value{}, err
	}
	if err := r.take(n, keys+elems); err != nil {
		return reflect.Value{}, err
	}
	if err := r.take(1, header); err != nil {
		return reflect.Value{}, err
	}
	return reflect.MakeMapWithSize(p.typ, n), nil
}

// slotOf returns how many bytes a key or value of a size takes in each slot of a map, and how
// many outside the map: large ones are allocated one by one.
func slotOf(size uintptr) (slot, beside int) {
	const largest, pointer = 128, 8
	if size > largest {
		return pointer, int(size)
	}
	return int(size), 0
}

// setPair puts a pair into a map. It returns an error if the map does not have n pairs after that.
func setPair(m reflect.Value, pair *scratch, n int) error {
	m.SetMapIndex(pair.key, pair.elem)
	if m.Len() != n {
		return errorf("a map has the same key twice, at pair %d", n)
	}
	return nil
}

// newElem sets a pointer to a zero value, and returns its address.
func (p *Plan) newElem(r *Reader, at unsafe.Pointer) (unsafe.Pointer, error) {
	if err := r.take(1, int(p.elem.size)); err != nil {
		return nil, err
	}
	fresh := reflect.New(p.elem.typ).UnsafePointer()
	*(*unsafe.Pointer)(at) = fresh
	return fresh, nil
}

// encodeSelf calls a value's encoding method.
func (p *Plan) encodeSelf(at unsafe.Pointer) ([]byte, error) {
	b, err := p.self.encode(reflect.NewAt(p.typ, at).Interface())
	if err != nil {
		return nil, p.failed(p.self.encodeName, err)
	}
	return b, nil
}

// decodeSelf calls a value's decoding method with a copy of the bytes, because the method may
// write to them.
func (p *Plan) decodeSelf(at unsafe.Pointer, b []byte) error {
	if err := p.self.decode(reflect.NewAt(p.typ, at).Interface(), bytes.Clone(b)); err != nil {
		return p.failed(p.self.decodeName, err)
	}
	return nil
}

func (p *Plan) failed(method string, err error) error {
	return &Error{Text: fmt.Sprintf("%s of %v: %T, whose text may quote the value", method, p.typ, err), Cause: err}
}
