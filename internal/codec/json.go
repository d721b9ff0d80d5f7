package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The encoder writes no spaces, and the decoder accepts none.

func (p *Plan) appendJSON(dst []byte, at unsafe.Pointer) ([]byte, error) {
	switch p.kind {
	case kindEmpty:
		return append(dst, "{}"...), nil
	case kindBool:
		return strconv.AppendBool(dst, *(*bool)(at)), nil
	case kindInt:
		return strconv.AppendInt(dst, p.integer(at), 10), nil
	case kindUint:
		return strconv.AppendUint(dst, p.unsigned(at), 10), nil
	case kindFloat:
		return p.appendFloat(dst, at)
	case kindString:
		return appendText(dst, *(*string)(at))
	case kindByteArray:
		return appendBase64(dst, p.bytes(at)), nil
	case kindArray:
		return p.elem.appendList(dst, at, p.len)
	case kindStruct:
		return p.appendObject(dst, at)
	case kindBytes, kindCount, kindSlice, kindMap, kindPointer:
		return p.appendReferenceJSON(dst, at)
	case kindSelf:
		return p.appendSelfJSON(dst, at)
	default:
		return p.appendNativeJSON(dst, at)
	}
}

// appendFloat writes a float as encoding/json does.
func (p *Plan) appendFloat(dst []byte, at unsafe.Pointer) ([]byte, error) {
	var f float64
	bits := 64
	if p.size == 4 {
		f, bits = float64(*(*float32)(at)), 32
	} else {
		f = *(*float64)(at)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errorf("JSON has no NaN and no infinities; use CBOR for this function")
	}
	form := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(dst, f, form, -1, bits), nil
}

// appendText writes a string. It returns an error if JSON cannot represent the string.
func appendText(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errorf("a string is not valid UTF-8, which JSON cannot represent; return it as []byte, or use CBOR")
	}
	return appendQuoted(dst, s), nil
}

func appendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	begin := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begin:i]...)
		begin = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(dst, s[begin:]...), '"')
}

func appendBase64(dst, b []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}

func (p *Plan) appendList(dst []byte, at unsafe.Pointer, n int) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = p.appendJSON(dst, unsafe.Add(at, uintptr(i)*p.size)); err != nil {
			return nil, within("[]", err)
		}
	}
	return append(dst, ']'), nil
}

func (p *Plan) appendObject(dst []byte, at unsafe.Pointer) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := range p.fields {
		f := &p.fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = f.plan.appendJSON(append(dst, f.label...), unsafe.Add(at, f.offset)); err != nil {
			return nil, within("."+f.name, err)
		}
	}
	return append(dst, '}'), nil
}

func (p *Plan) appendReferenceJSON(dst []byte, at unsafe.Pointer) (_ []byte, err error) {
	if *(*unsafe.Pointer)(at) == nil { // the first word of each
		return append(dst, "null"...), nil
	}
	switch p.kind {
	case kindBytes:
		return appendBase64(dst, *(*[]byte)(at)), nil
	case kindCount:
		n := uint64((*sliceHeader)(at).len)
		return strconv.AppendUint(dst, n, 10), p.checkCount(n)
	case kindSlice:
		list := (*sliceHeader)(at)
		return p.elem.appendList(dst, list.data, list.len)
	case kindMap:
		return p.appendMapJSON(dst, at)
	}
	elem := *(*unsafe.Pointer)(at)
	if !p.elem.null {
		return p.elem.appendJSON(dst, elem)
	}
	if dst, err = p.elem.appendJSON(append(dst, '['), elem); err != nil {
		return nil, err
	}
	return append(dst, ']'), nil
}

// inObject reports whether a map with keys of this plan is written as an object.
func (p *Plan) inObject() bool {
	return p.kind == kindString || p.kind == kindInt || p.kind == kindUint || p.kind == kindSelf && p.self.form == formText
}

// quotesKeys reports whether a key needs quotes around what appendJSON writes.
func (p *Plan) quotesKeys() bool { return p.kind == kindInt || p.kind == kindUint }

// appendMapJSON writes the pairs sorted by their written keys, for human readers.
func (p *Plan) appendMapJSON(dst []byte, at unsafe.Pointer) (_ []byte, err error) {
	m := p.value(at)
	scratched := p.pairs.Get().(*scratch)
	key, elem := scratched.key.Addr().UnsafePointer(), scratched.elem.Addr().UnsafePointer()
	type pair struct{ key, elem []byte }
	pairs := make([]pair, 0, m.Len())
	for iter := m.MapRange(); iter.Next(); {
		scratched.key.SetIterKey(iter)
		scratched.elem.SetIterValue(iter)
		var written pair
		if written.key, err = p.key.appendJSON(nil, key); err != nil {
			return nil, within("[key]", err)
		}
		if written.elem, err = p.elem.appendJSON(nil, elem); err != nil {
			return nil, within("[]", err)
		}
		pairs = append(pairs, written)
	}
	scratched.clear()
	p.pairs.Put(scratched)
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	marks := p.marks()
	dst = append(dst, marks.open)
	for i, written := range pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, marks.before...), written.key...)
		dst = append(append(dst, marks.between...), written.elem...)
		dst = append(dst, marks.after...)
	}
	return append(dst, marks.end), nil
}

// A mapMarks has the marks around the pairs of a map: {"key":1} or [["key",1]].
type mapMarks struct {
	open, end              byte
	before, between, after string
}

func (p *Plan) marks() mapMarks {
	switch {
	case !p.key.inObject():
		return mapMarks{'[', ']', "[", ",", "]"}
	case p.key.quotesKeys():
		return mapMarks{'{', '}', `"`, `":`, ""}
	default:
		return mapMarks{'{', '}', "", ":", ""}
	}
}

func (p *Plan) appendSelfJSON(dst []byte, at unsafe.Pointer) ([]byte, error) {
	b, err := p.encodeSelf(at)
	if err != nil {
		return nil, err
	}
	switch p.self.form {
	case formJSON:
		if saysReplaced(b) {
			return nil, errorf("%s of %v: its output has \\ufffd, as encoding/json writes for a string that is not valid UTF-8", p.self.encodeName, p.typ)
		}
		buf := bytes.NewBuffer(dst)
		if !utf8.Valid(b) || json.Compact(buf, b) != nil {
			return nil, errorf("%s of %v: its output is not JSON", p.self.encodeName, p.typ)
		}
		return buf.Bytes(), nil
	case formText:
		dst, err := appendText(dst, string(b))
		if err != nil {
			return nil, errorf("%s of %v: its output is not valid UTF-8", p.self.encodeName, p.typ)
		}
		return dst, nil
	default:
		return appendBase64(dst, b), nil
	}
}

// saysReplaced reports whether JSON has U+FFFD as an escape. encoding/json writes invalid UTF-8
// that way, and a genuine U+FFFD unescaped.
func saysReplaced(b []byte) bool {
	for i := 0; i+5 < len(b); i++ {
		switch {
		case b[i] != '\\':
		case bytes.EqualFold(b[i:i+6], []byte(`\ufffd`)):
			return true
		default:
			i++ // the escaped character, which may be a backslash
		}
	}
	return false
}

// longNumber is the length in bits beyond which a big.Int is written in hex. The time for
// decimal digits grows with the square of their number.
const longNumber = 4096

func (p *Plan) appendNativeJSON(dst []byte, at unsafe.Pointer) ([]byte, error) {
	switch p.kind {
	case kindTime:
		return appendTimeJSON(dst, *(*time.Time)(at)), nil
	case kindBigInt:
		return appendBigJSON(dst, (*big.Int)(at)), nil
	case kindBigRat:
		rat := (*big.Rat)(at)
		dst = appendBigJSON(append(dst, '['), rat.Num())
		return append(appendBigJSON(append(dst, ','), rat.Denom()), ']'), nil
	case kindBigFloat:
		b, err := (*big.Float)(at).GobEncode()
		if err != nil {
			return nil, p.failed("GobEncode", err)
		}
		return appendBase64(dst, b), nil
	default:
		user := (*url.Userinfo)(at)
		dst, err := appendText(append(dst, '['), user.Username())
		if password, has := user.Password(); has && err == nil {
			dst, err = appendText(append(dst, ','), password)
		}
		return append(dst, ']'), err
	}
}

// appendTimeJSON writes a time by RFC 3339. If that format cannot represent it, it writes the
// seconds since 1970, the nanoseconds, and the offset in seconds.
func appendTimeJSON(dst []byte, t time.Time) []byte {
	_, offset := t.Zone()
	if year := t.Year(); year >= 0 && year <= 9999 && offset%60 == 0 && offset > -24*3600 && offset < 24*3600 {
		return append(t.AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
	}
	dst = strconv.AppendInt(append(dst, '['), t.Unix(), 10)
	dst = strconv.AppendInt(append(dst, ','), int64(t.Nanosecond()), 10)
	return append(strconv.AppendInt(append(dst, ','), int64(offset), 10), ']')
}

func appendBigJSON(dst []byte, n *big.Int) []byte {
	if n.BitLen() <= longNumber {
		return n.Append(dst, 10)
	}
	return append(n.Append(append(dst, '"'), 16), '"')
}

// ---- decoding

// noJSON returns the error for input that appendJSON does not write.
func (p *Plan) noJSON(r *Reader) error {
	if r.Rest() == 0 {
		return short()
	}
	what := "number"
	switch r.body[r.off] {
	case '"':
		what = "string"
	case '[':
		what = "array"
	case '{':
		what = "object"
	case 't', 'f':
		what = "bool"
	case 'n':
		what = "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
	default:
		return errorf("is not JSON at byte %d", r.off)
	}
	return errorf("cannot put a JSON %s into %v", what, p.typ)
}

// Skip consumes a text if it comes next, and reports whether it did.
func (r *Reader) Skip(text string) bool {
	if r.Rest() < len(text) || string(r.body[r.off:r.off+len(text)]) != text {
		return false
	}
	r.off += len(text)
	return true
}

// expect consumes a text that must come next.
func (p *Plan) expect(r *Reader, text string) error {
	if !r.Skip(text) {
		return p.noJSON(r)
	}
	return nil
}

// number consumes the digits and signs that come next.
func (r *Reader) number() string {
	begin := r.off
	for r.off < len(r.body) && isNumeric(r.body[r.off]) {
		r.off++
	}
	return unsafe.String(unsafe.SliceData(r.body[begin:]), r.off-begin) // does not outlive the call
}

func isNumeric(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

func (p *Plan) decodeJSON(r *Reader, at unsafe.Pointer) error {
	switch p.kind {
	case kindEmpty:
		return p.expect(r, "{}")
	case kindBool:
		*(*bool)(at) = r.Skip("true")
		if *(*bool)(at) || r.Skip("false") {
			return nil
		}
		return p.noJSON(r)
	case kindInt, kindUint, kindFloat:
		return p.decodeNumber(r, at)
	case kindString:
		b, err := p.text(r)
		if err == nil {
			*(*string)(at) = string(b)
		}
		return err
	case kindByteArray:
		b, err := p.base64(r)
		if err == nil && len(b) != p.len {
			err = errorf("cannot put %d bytes into %v", len(b), p.typ)
		}
		copy(p.bytes(at), b)
		return err
	case kindArray:
		return p.elem.decodeList(r, at, p.len)
	case kindStruct:
		return p.decodeObject(r, at)
	case kindBytes, kindCount, kindSlice, kindMap, kindPointer:
		return p.decodeReferenceJSON(r, at)
	case kindSelf:
		return p.decodeFormJSON(r, at)
	default:
		return p.decodeNativeJSON(r, at)
	}
}

func (p *Plan) decodeNumber(r *Reader, at unsafe.Pointer) error {
	begin := r.off
	digits := r.number()
	fits := false
	switch p.kind {
	case kindInt:
		n, err := strconv.ParseInt(digits, 10, 64)
		fits = err == nil && p.setInteger(at, n)
	case kindUint:
		n, err := strconv.ParseUint(digits, 10, 64)
		fits = err == nil && p.setUnsigned(at, n)
	default:
		bits := int(8 * p.size)
		f, err := strconv.ParseFloat(digits, bits)
		if fits = err == nil; bits == 32 {
			*(*float32)(at) = float32(f)
		} else {
			*(*float64)(at) = f
		}
	}
	if !fits {
		r.off = begin
		return p.noJSON(r)
	}
	return nil
}

// text reads a string. The result may share memory with the body.
func (p *Plan) text(r *Reader) ([]byte, error) {
	if err := p.expect(r, `"`); err != nil {
		return nil, err
	}
	begin := r.off
	for ; r.off < len(r.body); r.off++ {
		switch c := r.body[r.off]; {
		case c == '"':
			b := r.body[begin:r.off]
			r.off++
			if !utf8.Valid(b) {
				return nil, errorf("is not JSON at byte %d", begin)
			}
			return b, nil
		case c == '\\':
			return r.unquote(begin)
		case c < ' ':
			return nil, errorf("is not JSON at byte %d", r.off)
		}
	}
	return nil, short()
}

// unquote reads a string that has escapes. The string begins at begin, and its first escape is
// next.
func (r *Reader) unquote(begin int) ([]byte, error) {
	b := bytes.Clone(r.body[begin:r.off])
	for r.off < len(r.body) {
		c := r.body[r.off]
		r.off++
		switch {
		case c == '"' && utf8.Valid(b):
			return b, nil
		case c == '"', c < ' ':
			return nil, errorf("is not JSON at byte %d", r.off-1)
		case c != '\\':
			b = append(b, c)
		default:
			char, ok := r.escape()
			if !ok {
				return nil, errorf("is not JSON at byte %d", r.off)
			}
			b = utf8.AppendRune(b, char)
		}
	}
	return nil, short()
}

// escapes are the characters after a backslash, and what they stand for.
var escapes = strings.NewReplacer("b", "\b", "f", "\f", "n", "\n", "r", "\r", "t", "\t")

// escape reads what follows a backslash.
func (r *Reader) escape() (rune, bool) {
	c, err := r.byte()
	switch {
	case err != nil:
		return 0, false
	case c == '"', c == '\\', c == '/':
		return rune(c), true
	case strings.IndexByte("bfnrt", c) >= 0:
		return rune(escapes.Replace(string(c))[0]), true
	case c != 'u':
		return 0, false
	}
	char, ok := r.hex4()
	if !ok || !utf16.IsSurrogate(char) {
		return char, ok
	}
	if !r.Skip(`\u`) {
		return 0, false
	}
	low, ok := r.hex4()
	char = utf16.DecodeRune(char, low)
	return char, ok && char != utf8.RuneError
}

// hex4 reads four hexadecimal digits.
func (r *Reader) hex4() (rune, bool) {
	b, err := r.next(4)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 16, 16)
	return rune(n), err == nil
}

// base64 decodes a string into newly allocated bytes.
func (p *Plan) base64(r *Reader) ([]byte, error) {
	b, err := p.text(r)
	if err != nil {
		return nil, err
	}
	decoded, err := base64.StdEncoding.AppendDecode(make([]byte, 0, len(b)/4*3), b)
	if err != nil {
		return nil, errorf("cannot put a JSON string that is not base64 into %v", p.typ)
	}
	return decoded, nil
}

func (p *Plan) decodeList(r *Reader, at unsafe.Pointer, n int) error {
	if err := p.expect(r, "["); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := p.expect(r, ","); err != nil {
				return err
			}
		}
		if err := p.decodeJSON(r, unsafe.Add(at, uintptr(i)*p.size)); err != nil {
			return within("[]", err)
		}
	}
	return p.expect(r, "]")
}

func (p *Plan) decodeObject(r *Reader, at unsafe.Pointer) error {
	if err := p.expect(r, "{"); err != nil {
		return err
	}
	for i := range p.fields {
		f := &p.fields[i]
		if i > 0 {
			if err := p.expect(r, ","); err != nil {
				return err
			}
		}
		if err := p.expect(r, f.label); err != nil {
			return err
		}
		if err := f.plan.decodeJSON(r, unsafe.Add(at, f.offset)); err != nil {
			return within("."+f.name, err)
		}
	}
	return p.expect(r, "}")
}

// decodeReferenceJSON reads a value of a kind that may be nil. The value at the address must be
// nil.
func (p *Plan) decodeReferenceJSON(r *Reader, at unsafe.Pointer) error {
	if r.Skip("null") {
		return nil
	}
	switch p.kind {
	case kindBytes:
		b, err := p.base64(r)
		if err == nil {
			*(*[]byte)(at) = b
		}
		return err
	case kindCount:
		var n uint64
		if err := uintPlan.decodeNumber(r, unsafe.Pointer(&n)); err != nil {
			return err
		}
		return p.setCount(at, n)
	case kindSlice:
		return p.decodeSliceJSON(r, at)
	case kindMap:
		return p.decodeMapJSON(r, at)
	}
	if p.elem.null {
		if err := p.expect(r, "["); err != nil {
			return err
		}
	}
	elem, err := p.newElem(r, at)
	if err != nil {
		return err
	}
	if err := p.elem.decodeJSON(r, elem); err != nil || !p.elem.null {
		return err
	}
	return p.expect(r, "]")
}

// decodeSliceJSON counts the elements before it allocates the slice.
func (p *Plan) decodeSliceJSON(r *Reader, at unsafe.Pointer) error {
	n, ok := r.count()
	if !ok {
		return p.noJSON(r)
	}
	if err := p.makeSlice(r, at, n); err != nil {
		return err
	}
	list := (*sliceHeader)(at)
	return p.elem.decodeList(r, list.data, n)
}

// count returns how many elements the next array or object has, judged by brackets and commas.
func (r *Reader) count() (n int, ok bool) {
	probe := *r
	open, err := probe.byte()
	if err != nil || open != '[' && open != '{' {
		return 0, false
	}
	if probe.off < len(probe.body) && (probe.body[probe.off] == ']' || probe.body[probe.off] == '}') {
		return 0, true
	}
	for n = 1; probe.skipValue(); n++ {
		if !probe.Skip(",") {
			break
		}
	}
	return n, true
}

// skipValue skips a value, or a key and a value: up to a comma or the closing bracket around
// it.
func (r *Reader) skipValue() bool {
	depth := 0
	for ; r.off < len(r.body); r.off++ {
		switch r.body[r.off] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return true
			}
			depth--
		case ',':
			if depth == 0 {
				return true
			}
		case '"':
			for r.off++; r.off < len(r.body) && r.body[r.off] != '"'; r.off++ {
				if r.body[r.off] == '\\' {
					r.off++
				}
			}
		}
	}
	return false
}

func (p *Plan) decodeMapJSON(r *Reader, at unsafe.Pointer) error {
	marks := p.marks()
	if r.Rest() == 0 || r.body[r.off] != marks.open {
		return p.noJSON(r)
	}
	n, _ := r.count()
	m, err := p.makeMap(r, n)
	if err != nil {
		return err
	}
	r.off++
	pair := p.pairs.Get().(*scratch)
	for i := range n {
		if i > 0 {
			if err := p.expect(r, ","); err != nil {
				return err
			}
		}
		pair = p.another(pair)
		if err := p.decodePairJSON(r, pair, &marks); err != nil {
			return err
		}
		if err := setPair(m, pair, i+1); err != nil {
			return err
		}
	}
	p.recycle(pair)
	p.value(at).Set(m)
	return p.expect(r, string(marks.end))
}

func (p *Plan) decodePairJSON(r *Reader, pair *scratch, marks *mapMarks) error {
	if err := p.expect(r, marks.before); err != nil {
		return err
	}
	if err := p.key.decodeJSON(r, pair.key.Addr().UnsafePointer()); err != nil {
		return within("[key]", err)
	}
	if err := p.expect(r, marks.between); err != nil {
		return err
	}
	if err := p.elem.decodeJSON(r, pair.elem.Addr().UnsafePointer()); err != nil {
		return within("[]", err)
	}
	return p.expect(r, marks.after)
}

// decodeFormJSON reads what a type's own method wrote.
func (p *Plan) decodeFormJSON(r *Reader, at unsafe.Pointer) error {
	var b []byte
	var err error
	switch p.self.form {
	case formJSON:
		begin := r.off
		r.skipValue()
		if b = r.body[begin:r.off]; !json.Valid(b) {
			r.off = begin
			return errorf("is not JSON at byte %d", begin)
		}
	case formText:
		b, err = p.text(r)
	default:
		b, err = p.base64(r)
	}
	if err != nil {
		return err
	}
	return p.decodeSelf(at, b)
}

func (p *Plan) decodeNativeJSON(r *Reader, at unsafe.Pointer) error {
	switch p.kind {
	case kindTime:
		return p.decodeTimeJSON(r, (*time.Time)(at))
	case kindBigInt:
		return p.decodeBigJSON(r, (*big.Int)(at))
	case kindBigRat:
		var parts [2]big.Int
		err := p.tuple(r, 2, 2, func(i int) error { return p.decodeBigJSON(r, &parts[i]) })
		if err != nil {
			return err
		}
		return p.setRat(at, &parts[0], &parts[1])
	case kindBigFloat:
		b, err := p.base64(r)
		if err != nil {
			return err
		}
		return p.setFloat(at, b)
	default:
		var parts []string
		err := p.tuple(r, 1, 2, func(int) error {
			b, err := stringPlan.text(r)
			parts = append(parts, string(b))
			return err
		})
		if err == nil {
			setUserinfo((*url.Userinfo)(at), parts)
		}
		return err
	}
}

// tuple reads an array of at least least and at most most elements.
func (p *Plan) tuple(r *Reader, least, most int, read func(i int) error) error {
	if err := p.expect(r, "["); err != nil {
		return err
	}
	for i := range most {
		if i > 0 {
			if i >= least && r.Skip("]") {
				return nil
			}
			if err := p.expect(r, ","); err != nil {
				return err
			}
		}
		if err := read(i); err != nil {
			return err
		}
	}
	return p.expect(r, "]")
}

func (p *Plan) decodeTimeJSON(r *Reader, at *time.Time) error {
	if r.Rest() > 0 && r.body[r.off] == '[' {
		var parts [3]int64
		if err := p.tuple(r, 3, 3, func(i int) error { return intPlan.decodeNumber(r, unsafe.Pointer(&parts[i])) }); err != nil {
			return err
		}
		return p.setTime(at, parts)
	}
	b, err := p.text(r)
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return errorf("cannot put a JSON string that is not a time into %v", p.typ)
	}
	_, offset := t.Zone()
	*at = timeOf(t.Unix(), int64(t.Nanosecond()), offset)
	return nil
}

func (p *Plan) decodeBigJSON(r *Reader, at *big.Int) error {
	begin, base := r.off, 10
	digits := ""
	if r.Skip(`"`) {
		r.off = begin
		b, err := p.text(r)
		if err != nil {
			return err
		}
		digits, base = string(b), 16
	} else {
		digits = r.number()
	}
	if base == 10 && len(digits) > longNumber || digits == "" {
		r.off = begin
		return p.noJSON(r)
	}
	if digits == "0" {
		return nil
	}
	if _, ok := at.SetString(digits, base); !ok {
		r.off = begin
		return p.noJSON(r)
	}
	return nil
}
