package codec

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
)

// The major types of CBOR (RFC 8949, 3.1), as they stand in the first three bits.
const (
	majorUint   = 0 << 5
	majorNegint = 1 << 5
	majorBytes  = 2 << 5
	majorText   = 3 << 5
	majorArray  = 4 << 5
	majorMap    = 5 << 5
	majorTag    = 6 << 5
	majorSimple = 7 << 5

	majorMask  = 7 << 5
	cborFalse  = majorSimple | 20
	cborTrue   = majorSimple | 21
	cborNull   = majorSimple | 22
	cborFloat4 = majorSimple | 26
	cborFloat8 = majorSimple | 27

	tagPositive = majorTag | 2 // a big number
	tagNegative = majorTag | 3
)

// foreign checks what MarshalCBOR of a type wrote: any well-formed item is accepted.
var foreign = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32, MaxNestedLevels: 1 << 10,
		UTF8: cbor.UTF8DecodeInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// appendHead appends a major type and its argument in the shortest form.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return append(dst, major|25, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, major|27), n)
	}
}

func appendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, majorNegint, uint64(^n))
	}
	return appendHead(dst, majorUint, uint64(n))
}

func appendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// Append appends the value at an address to dst.
func (p *Plan) Append(dst []byte, at unsafe.Pointer) ([]byte, error) {
	if p.format.json {
		return p.appendJSON(dst, at)
	}
	return p.appendCBOR(dst, at)
}

// Decode reads a value into the zero value at an address.
func (p *Plan) Decode(r *Reader, at unsafe.Pointer) error {
	if p.format.json {
		return p.decodeJSON(r, at)
	}
	return p.decodeCBOR(r, at)
}

func (p *Plan) appendCBOR(dst []byte, at unsafe.Pointer) ([]byte, error) {
	switch p.kind {
	case kindEmpty:
		return append(dst, majorArray), nil
	case kindBool:
		if *(*bool)(at) {
			return append(dst, cborTrue), nil
		}
		return append(dst, cborFalse), nil
	case kindInt:
		return appendInt(dst, p.integer(at)), nil
	case kindUint:
		return appendHead(dst, majorUint, p.unsigned(at)), nil
	case kindFloat:
		if p.size == 4 {
			return binary.BigEndian.AppendUint32(append(dst, cborFloat4), *(*uint32)(at)), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, cborFloat8), *(*uint64)(at)), nil
	case kindString:
		return appendString(dst, *(*string)(at)), nil
	case kindByteArray:
		return appendBytes(dst, p.bytes(at)), nil
	case kindArray:
		return p.elem.appendElements(appendHead(dst, majorArray, uint64(p.len)), at, p.len)
	case kindStruct:
		return p.appendFields(dst, at)
	case kindBytes, kindCount, kindSlice, kindMap, kindPointer:
		return p.appendReference(dst, at)
	case kindSelf:
		return p.appendSelf(dst, at)
	default:
		return p.appendNative(dst, at)
	}
}

// appendElements appends n elements from an address on.
func (p *Plan) appendElements(dst []byte, at unsafe.Pointer, n int) (_ []byte, err error) {
	for i := range n {
		if dst, err = p.appendCBOR(dst, unsafe.Add(at, uintptr(i)*p.size)); err != nil {
			return nil, within("[]", err)
		}
	}
	return dst, nil
}

func (p *Plan) appendFields(dst []byte, at unsafe.Pointer) (_ []byte, err error) {
	dst = appendHead(dst, majorArray, uint64(len(p.fields)))
	for i := range p.fields {
		f := &p.fields[i]
		if dst, err = f.plan.appendCBOR(dst, unsafe.Add(at, f.offset)); err != nil {
			return nil, within("."+f.name, err)
		}
	}
	return dst, nil
}

// appendReference appends a value of a kind that may be nil.
func (p *Plan) appendReference(dst []byte, at unsafe.Pointer) ([]byte, error) {
	if *(*unsafe.Pointer)(at) == nil { // the first word of each
		return append(dst, cborNull), nil
	}
	switch p.kind {
	case kindBytes:
		return appendBytes(dst, *(*[]byte)(at)), nil
	case kindCount:
		n := uint64((*sliceHeader)(at).len)
		return appendHead(dst, majorUint, n), p.checkCount(n)
	case kindSlice:
		list := (*sliceHeader)(at)
		return p.elem.appendElements(appendHead(dst, majorArray, uint64(list.len)), list.data, list.len)
	case kindMap:
		return p.appendMap(dst, at)
	default:
		if p.elem.null {
			dst = append(dst, majorArray|1)
		}
		return p.elem.appendCBOR(dst, *(*unsafe.Pointer)(at))
	}
}

func (p *Plan) appendMap(dst []byte, at unsafe.Pointer) (_ []byte, err error) {
	m := p.value(at)
	dst = appendHead(dst, majorMap, uint64(m.Len()))
	pair := p.pairs.Get().(*scratch)
	key, elem := pair.key.Addr().UnsafePointer(), pair.elem.Addr().UnsafePointer()
	var ends []int // of the pairs, if they are sorted
	begin := len(dst)
	for iter := m.MapRange(); iter.Next(); {
		pair.key.SetIterKey(iter)
		pair.elem.SetIterValue(iter)
		if dst, err = p.key.appendCBOR(dst, key); err != nil {
			return nil, within("[key]", err)
		}
		if dst, err = p.elem.appendCBOR(dst, elem); err != nil {
			return nil, within("[]", err)
		}
		if p.format.order {
			ends = append(ends, len(dst))
		}
	}
	pair.clear()
	p.pairs.Put(pair)
	sortPairs(dst, begin, ends)
	return dst, nil
}

// sortPairs sorts the pairs of a map, which were appended from begin on and have these ends, by
// their encodings.
func sortPairs(dst []byte, begin int, ends []int) {
	if len(ends) < 2 {
		return
	}
	pairs := make([][]byte, len(ends))
	at := begin
	for i, end := range ends {
		pairs[i] = bytes.Clone(dst[at:end])
		at = end
	}
	slices.SortFunc(pairs, bytes.Compare)
	dst = dst[:begin]
	for _, pair := range pairs {
		dst = append(dst, pair...)
	}
}

func (p *Plan) appendSelf(dst []byte, at unsafe.Pointer) ([]byte, error) {
	b, err := p.encodeSelf(at)
	if err != nil {
		return nil, err
	}
	switch p.self.form {
	case formCBOR:
		if err := foreign.Wellformed(b); err != nil {
			return nil, errorf("%s of %v: its encoding is not one CBOR item", p.self.encodeName, p.typ)
		}
		return append(dst, b...), nil
	case formText:
		return append(appendHead(dst, majorText, uint64(len(b))), b...), nil
	default:
		return appendBytes(dst, b), nil
	}
}

func (p *Plan) appendNative(dst []byte, at unsafe.Pointer) ([]byte, error) {
	switch p.kind {
	case kindTime:
		return appendTime(dst, *(*time.Time)(at)), nil
	case kindBigInt:
		return appendBigInt(dst, (*big.Int)(at)), nil
	case kindBigRat:
		rat := (*big.Rat)(at)
		return appendBigInt(appendBigInt(append(dst, majorArray|2), rat.Num()), rat.Denom()), nil
	case kindBigFloat:
		b, err := (*big.Float)(at).GobEncode()
		if err != nil {
			return nil, p.failed("GobEncode", err)
		}
		return appendBytes(dst, b), nil
	default:
		user := (*url.Userinfo)(at)
		password, has := user.Password()
		if !has {
			return appendString(append(dst, majorArray|1), user.Username()), nil
		}
		return appendString(appendString(append(dst, majorArray|2), user.Username()), password), nil
	}
}

// appendTime writes a time as its seconds since 1970, its nanoseconds, and, unless
// it is 0, its offset in seconds.
func appendTime(dst []byte, t time.Time) []byte {
	_, offset := t.Zone()
	length := byte(2)
	if offset != 0 {
		length = 3
	}
	dst = appendInt(append(dst, majorArray|length), t.Unix())
	dst = appendHead(dst, majorUint, uint64(t.Nanosecond()))
	if offset != 0 {
		dst = appendInt(dst, int64(offset))
	}
	return dst
}

// timeOf returns a time. It is in UTC if the offset is 0, in the local zone if that has the offset
// at that time, and otherwise in a zone without a name.
func timeOf(sec, nsec int64, offset int) time.Time {
	t := time.Unix(sec, nsec)
	if offset == 0 {
		return t.UTC()
	}
	if _, local := t.Zone(); local == offset {
		return t
	}
	return t.In(time.FixedZone("", offset))
}

func appendBigInt(dst []byte, n *big.Int) []byte {
	tag := byte(tagPositive)
	if n.Sign() < 0 {
		tag = tagNegative
		n = new(big.Int).Not(n)
	}
	return appendBytes(append(dst, tag), n.Bytes())
}

// ---- decoding

// byte returns the next byte.
func (r *Reader) byte() (byte, error) {
	if r.off >= len(r.body) {
		return 0, short()
	}
	b := r.body[r.off]
	r.off++
	return b, nil
}

// next returns the next n bytes. It does not copy them.
func (r *Reader) next(n uint64) ([]byte, error) {
	if n > uint64(r.Rest()) {
		return nil, short()
	}
	b := r.body[r.off : r.off+int(n)]
	r.off += int(n)
	return b, nil
}

// isNull reports whether the next item is null, and then takes it.
func (r *Reader) isNull() bool {
	if r.off < len(r.body) && r.body[r.off] == cborNull {
		r.off++
		return true
	}
	return false
}

// argument reads the argument of a head.
func (r *Reader) argument(head byte) (uint64, error) {
	info := head &^ majorMask
	if info < 24 {
		return uint64(info), nil
	}
	if info > 27 {
		return 0, errorf("is not CBOR at byte %d", r.off-1)
	}
	b, err := r.next(1 << (info - 24))
	if err != nil {
		return 0, err
	}
	switch info {
	case 24:
		return uint64(b[0]), nil
	case 25:
		return uint64(binary.BigEndian.Uint16(b)), nil
	case 26:
		return uint64(binary.BigEndian.Uint32(b)), nil
	default:
		return binary.BigEndian.Uint64(b), nil
	}
}

// head reads a head of a major type.
func (p *Plan) head(r *Reader, major byte) (uint64, error) {
	head, err := r.byte()
	if err != nil {
		return 0, err
	}
	if head&majorMask != major {
		return 0, p.wrong(head)
	}
	return r.argument(head)
}

// majors are the names of items in errors.
var majors = [8]string{"positive integer", "negative integer", "byte string", "text string", "array", "map", "tag", "simple value"}

func (p *Plan) wrong(head byte) error {
	return errorf("cannot put CBOR %s into %v", majors[head>>5], p.typ)
}

// length reads a head whose argument must be n.
func (p *Plan) length(r *Reader, major byte, n int) error {
	got, err := p.head(r, major)
	if err == nil && got != uint64(n) {
		err = errorf("cannot put CBOR %s of %d into %v", majors[major>>5], got, p.typ)
	}
	return err
}

// span reads a byte string or text.
func (p *Plan) span(r *Reader, major byte) ([]byte, error) {
	n, err := p.head(r, major)
	if err != nil {
		return nil, err
	}
	return r.next(n)
}

func (p *Plan) decodeCBOR(r *Reader, at unsafe.Pointer) error {
	switch p.kind {
	case kindEmpty:
		return p.length(r, majorArray, 0)
	case kindBool:
		return p.decodeBool(r, at)
	case kindInt:
		return p.decodeInt(r, at)
	case kindUint:
		n, err := p.head(r, majorUint)
		if err == nil && !p.setUnsigned(at, n) {
			err = p.wrong(majorUint)
		}
		return err
	case kindFloat:
		return p.decodeFloat(r, at)
	case kindString:
		b, err := p.span(r, majorText)
		if err == nil {
			*(*string)(at) = string(b)
		}
		return err
	case kindByteArray:
		err := p.length(r, majorBytes, p.len)
		if err != nil {
			return err
		}
		b, err := r.next(uint64(p.len))
		copy(p.bytes(at), b)
		return err
	case kindArray:
		if err := p.length(r, majorArray, p.len); err != nil {
			return err
		}
		return p.elem.decodeElements(r, at, p.len)
	case kindStruct:
		return p.decodeFields(r, at)
	case kindBytes, kindCount, kindSlice, kindMap, kindPointer:
		return p.decodeReference(r, at)
	case kindSelf:
		return p.decodeForm(r, at)
	default:
		return p.decodeNative(r, at)
	}
}

func (p *Plan) decodeBool(r *Reader, at unsafe.Pointer) error {
	b, err := r.byte()
	if err == nil && b&^1 != cborFalse {
		err = p.wrong(b)
	}
	*(*bool)(at) = b == cborTrue
	return err
}

func (p *Plan) decodeInt(r *Reader, at unsafe.Pointer) error {
	head, err := r.byte()
	if err != nil {
		return err
	}
	n, err := r.argument(head)
	if err != nil {
		return err
	}
	i := int64(n)
	switch head & majorMask {
	case majorUint:
	case majorNegint:
		i = ^i
	default:
		return p.wrong(head)
	}
	if n > math.MaxInt64 || !p.setInteger(at, i) {
		return p.wrong(head)
	}
	return nil
}

func (p *Plan) decodeFloat(r *Reader, at unsafe.Pointer) error {
	want := byte(cborFloat8)
	if p.size == 4 {
		want = cborFloat4
	}
	head, err := r.byte()
	if err != nil {
		return err
	}
	if head != want {
		return p.wrong(head)
	}
	bits, err := r.argument(head)
	p.setUnsigned(at, bits)
	return err
}

func (p *Plan) decodeElements(r *Reader, at unsafe.Pointer, n int) (err error) {
	for i := range n {
		if elem := unsafe.Add(at, uintptr(i)*p.size); p.kind == kindInt { // the most frequent
			err = p.decodeInt(r, elem)
		} else {
			err = p.decodeCBOR(r, elem)
		}
		if err != nil {
			return within("[]", err)
		}
	}
	return nil
}

func (p *Plan) decodeFields(r *Reader, at unsafe.Pointer) error {
	if err := p.length(r, majorArray, len(p.fields)); err != nil {
		return err
	}
	for i := range p.fields {
		f := &p.fields[i]
		if err := f.plan.decodeCBOR(r, unsafe.Add(at, f.offset)); err != nil {
			return within("."+f.name, err)
		}
	}
	return nil
}

// decodeReference reads a value of a kind that may be nil. The value at the address must be nil.
func (p *Plan) decodeReference(r *Reader, at unsafe.Pointer) error {
	if r.isNull() {
		return nil
	}
	switch p.kind {
	case kindBytes:
		b, err := p.span(r, majorBytes)
		if err == nil {
			setBytes(at, b)
		}
		return err
	case kindCount:
		n, err := p.head(r, majorUint)
		if err == nil {
			err = p.setCount(at, n)
		}
		return err
	case kindSlice:
		n, err := p.head(r, majorArray)
		if err != nil {
			return err
		}
		if err := p.makeSlice(r, at, clamp(n)); err != nil {
			return err
		}
		list := (*sliceHeader)(at)
		return p.elem.decodeElements(r, list.data, list.len)
	case kindMap:
		return p.decodeMap(r, at)
	default:
		if p.elem.null {
			if err := p.length(r, majorArray, 1); err != nil {
				return err
			}
		}
		elem, err := p.newElem(r, at)
		if err != nil {
			return err
		}
		return p.elem.decodeCBOR(r, elem)
	}
}

// clamp converts a length to int. No body has a length that does not fit.
func clamp(n uint64) int { return int(min(n, maxLeast)) }

// maxCount limits the elements of size 0 in a slice. They take no memory, so [Reader.take] does
// not limit them, and a few bytes would give a caller a loop without end.
const maxCount = memoryBase

func (p *Plan) checkCount(n uint64) error {
	if n > maxCount {
		return errorf("has %d elements of type %v, which has size 0; at most %d can be stored", n, p.typ.Elem(), maxCount)
	}
	return nil
}

// setCount sets a slice to n elements of size 0.
func (p *Plan) setCount(at unsafe.Pointer, n uint64) error {
	if err := p.checkCount(n); err != nil {
		return err
	}
	p.value(at).Set(reflect.MakeSlice(p.typ, int(n), int(n)))
	return nil
}

func (p *Plan) decodeMap(r *Reader, at unsafe.Pointer) error {
	n, err := p.head(r, majorMap)
	if err != nil {
		return err
	}
	m, err := p.makeMap(r, clamp(n))
	if err != nil {
		return err
	}
	pair := p.pairs.Get().(*scratch)
	for i := range int(n) {
		pair = p.another(pair)
		if err := p.key.decodeCBOR(r, pair.key.Addr().UnsafePointer()); err != nil {
			return within("[key]", err)
		}
		if err := p.elem.decodeCBOR(r, pair.elem.Addr().UnsafePointer()); err != nil {
			return within("[]", err)
		}
		if err := setPair(m, pair, i+1); err != nil {
			return err
		}
	}
	p.recycle(pair)
	p.value(at).Set(m)
	return nil
}

// decodeForm reads what a type's own method wrote.
func (p *Plan) decodeForm(r *Reader, at unsafe.Pointer) error {
	major := byte(majorBytes)
	switch p.self.form {
	case formCBOR:
		rest, err := foreign.UnmarshalFirst(r.body[r.off:], new(cbor.RawMessage))
		if err != nil {
			return errorf("is not CBOR at byte %d", r.off)
		}
		item := r.body[r.off : len(r.body)-len(rest)]
		r.off += len(item)
		return p.decodeSelf(at, item)
	case formText:
		major = majorText
	}
	b, err := p.span(r, major)
	if err != nil {
		return err
	}
	return p.decodeSelf(at, b)
}

func (p *Plan) decodeNative(r *Reader, at unsafe.Pointer) error {
	switch p.kind {
	case kindTime:
		return p.decodeTime(r, (*time.Time)(at))
	case kindBigInt:
		return p.decodeBigInt(r, (*big.Int)(at))
	case kindBigRat:
		var num, denom big.Int
		if err := p.length(r, majorArray, 2); err != nil {
			return err
		}
		if err := p.decodeBigInt(r, &num); err != nil {
			return err
		}
		if err := p.decodeBigInt(r, &denom); err != nil {
			return err
		}
		return p.setRat(at, &num, &denom)
	case kindBigFloat:
		b, err := p.span(r, majorBytes)
		if err != nil {
			return err
		}
		return p.setFloat(at, b)
	default:
		return p.decodeUserinfo(r, (*url.Userinfo)(at))
	}
}

// setRat sets a big.Rat to a fraction.
func (p *Plan) setRat(at unsafe.Pointer, num, denom *big.Int) error {
	if denom.Sign() <= 0 {
		return errorf("cannot put a fraction with denominator 0 into %v", p.typ)
	}
	if num.Sign() != 0 { // the zero value has no denominator
		(*big.Rat)(at).SetFrac(num, denom)
	}
	return nil
}

// setFloat sets a big.Float to what GobEncode wrote.
func (p *Plan) setFloat(at unsafe.Pointer, b []byte) error {
	if err := (*big.Float)(at).GobDecode(b); err != nil {
		return p.failed("GobDecode", err)
	}
	return nil
}

func (p *Plan) decodeTime(r *Reader, at *time.Time) error {
	n, err := p.head(r, majorArray)
	if err != nil {
		return err
	}
	if n != 2 && n != 3 {
		return errorf("cannot put CBOR array of %d into %v", n, p.typ)
	}
	var parts [3]int64
	for i := range int(n) {
		if err := intPlan.decodeInt(r, unsafe.Pointer(&parts[i])); err != nil {
			return err
		}
	}
	return p.setTime(at, parts)
}

// setTime sets a time to seconds, nanoseconds and an offset in seconds.
func (p *Plan) setTime(at *time.Time, parts [3]int64) error {
	if parts[1] < 0 || parts[1] >= int64(time.Second) || parts[2] != int64(int32(parts[2])) {
		return errorf("cannot put nanoseconds or an offset out of range into %v", p.typ)
	}
	*at = timeOf(parts[0], parts[1], int(parts[2]))
	return nil
}

// These plans are for parts of natives.
var (
	uintPlan   = &Plan{kind: kindUint, typ: reflect.TypeFor[uint64](), size: 8}
	intPlan    = &Plan{kind: kindInt, typ: reflect.TypeFor[int64](), size: 8}
	stringPlan = &Plan{kind: kindString, typ: reflect.TypeFor[string]()}
)

func (p *Plan) decodeBigInt(r *Reader, at *big.Int) error {
	tag, err := r.byte()
	if err != nil {
		return err
	}
	if tag != tagPositive && tag != tagNegative {
		return p.wrong(tag)
	}
	b, err := p.span(r, majorBytes)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		at.SetBytes(b)
	}
	if tag == tagNegative {
		at.Not(at)
	}
	return nil
}

func (p *Plan) decodeUserinfo(r *Reader, at *url.Userinfo) error {
	n, err := p.head(r, majorArray)
	if err != nil {
		return err
	}
	if n != 1 && n != 2 {
		return errorf("cannot put CBOR array of %d into %v", n, p.typ)
	}
	var parts [2]string
	for i := range int(n) {
		b, err := stringPlan.span(r, majorText)
		if err != nil {
			return err
		}
		parts[i] = string(b)
	}
	setUserinfo(at, parts[:n])
	return nil
}

// setUserinfo sets a user to a name, or a name and a password.
func setUserinfo(at *url.Userinfo, parts []string) {
	if len(parts) == 1 {
		*at = *url.User(parts[0])
		return
	}
	*at = *url.UserPassword(parts[0], parts[1])
}
