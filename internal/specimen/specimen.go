// Package specimen has types for tests of parameters and results: each is a
// specimen of a kind that real programs have, with the methods that make the
// kind difficult.
package specimen

import (
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// ---- types whose values are visible, and whose text says less ----

// Token is a secret that prints, and marshals, as stars.
type Token string

func (Token) String() string { return "***" }

// GoString returns the text of every Token.
func (Token) GoString() string { return "***" }

// MarshalText returns the text of every Token.
func (Token) MarshalText() ([]byte, error) { return []byte("***"), nil }

// UnmarshalText sets nothing, because no text has the value.
func (t *Token) UnmarshalText([]byte) error { *t = ""; return nil }

// Color is an enumeration. All its unknown values have the same text.
type Color int

// The known values of Color.
const (
	Red Color = iota + 1
	Green
)

var colors = map[Color]string{Red: "red", Green: "green"}

func (c Color) String() string {
	if s, ok := colors[c]; ok {
		return s
	}
	return "unknown"
}

// MarshalText returns the name of the color.
func (c Color) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText returns; an unknown name is 0.
func (c *Color) UnmarshalText(text []byte) error {
	*c = 0
	for color, name := range colors {
		if name == string(text) {
			*c = color
		}
	}
	return nil
}

// NullString is a string or null. Null and "" have the same text.
type NullString struct {
	sql.NullString
}

// MarshalText returns the string, or "" for null.
func (n NullString) MarshalText() ([]byte, error) {
	if !n.Valid {
		return nil, nil
	}
	return []byte(n.String), nil
}

// UnmarshalText reads a string; "" is null.
func (n *NullString) UnmarshalText(text []byte) error {
	n.String, n.Valid = string(text), len(text) > 0
	return nil
}

// NullInt is an int or null. Null has an empty text.
type NullInt struct {
	Int   int64
	Valid bool
}

// MarshalText returns the number, or "" for null.
func (n NullInt) MarshalText() ([]byte, error) {
	if !n.Valid {
		return nil, nil
	}
	return strconv.AppendInt(nil, n.Int, 10), nil
}

// UnmarshalText reads a number; "" is null.
func (n *NullInt) UnmarshalText(text []byte) (err error) {
	*n = NullInt{Valid: len(text) > 0}
	if n.Valid {
		n.Int, err = strconv.ParseInt(string(text), 10, 64)
	}
	return err
}

// HalfText is a struct whose text has one of its two fields.
type HalfText struct{ Shown, Left string }

// MarshalText returns Shown.
func (h HalfText) MarshalText() ([]byte, error) { return []byte(h.Shown), nil }

// UnmarshalText sets Shown.
func (h *HalfText) UnmarshalText(text []byte) error {
	*h = HalfText{Shown: string(text)}
	return nil
}

// HalfBinary is a struct whose encoding is on the pointer, and has one of the two fields.
type HalfBinary struct{ Shown, Left uint32 }

// MarshalBinary returns Shown.
func (h *HalfBinary) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint32(nil, h.Shown), nil
}

// UnmarshalBinary sets Shown.
func (h *HalfBinary) UnmarshalBinary(b []byte) error {
	if len(b) != 4 {
		return errors.New("4 bytes wanted")
	}
	*h = HalfBinary{Shown: binary.BigEndian.Uint32(b)}
	return nil
}

// Digest is an array of bytes that prints short.
type Digest [32]byte

// MarshalText returns the first four bytes in hex.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:4]), nil }

// UnmarshalText sets the first four bytes.
func (d *Digest) UnmarshalText(text []byte) error {
	*d = Digest{}
	_, err := hex.Decode(d[:4], text[:min(len(text), 8)])
	return err
}

// Tags is a list whose text does not separate the elements.
type Tags []string

// MarshalText returns the elements one after the other.
func (t Tags) MarshalText() ([]byte, error) { return []byte(strings.Join(t, "")), nil }

// UnmarshalText makes a list of one.
func (t *Tags) UnmarshalText(text []byte) error { *t = Tags{string(text)}; return nil }

// ---- types whose values are visible, and whose text says all ----

// UUID is like the types of common packages.
type UUID [16]byte

// MarshalText returns the bytes in hex.
func (u UUID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, u[:]), nil }

// UnmarshalText reads what MarshalText returns.
func (u *UUID) UnmarshalText(text []byte) error {
	if len(text) != 2*len(u) {
		return errors.New("32 digits wanted")
	}
	_, err := hex.Decode(u[:], text)
	return err
}

// MarshalBinary returns the bytes.
func (u UUID) MarshalBinary() ([]byte, error) { return u[:], nil }

// UnmarshalBinary reads what MarshalBinary returns.
func (u *UUID) UnmarshalBinary(b []byte) error {
	if len(b) != len(u) {
		return errors.New("16 bytes wanted")
	}
	copy(u[:], b)
	return nil
}

// ---- types with hidden fields and an encoding ----

// Decimal is like the types of common packages: a number behind a pointer, and an exponent.
type Decimal struct {
	value *big.Int
	exp   int32
}

// NewDecimal returns value * 10^exp.
func NewDecimal(value int64, exp int32) Decimal { return Decimal{big.NewInt(value), exp} }

// MarshalBinary returns the exponent and the number.
func (d Decimal) MarshalBinary() ([]byte, error) {
	b := binary.BigEndian.AppendUint32(nil, uint32(d.exp))
	if d.value == nil {
		return b, nil
	}
	return d.value.Append(b, 16), nil
}

// UnmarshalBinary reads what MarshalBinary returns.
func (d *Decimal) UnmarshalBinary(b []byte) error {
	if len(b) < 4 {
		return errors.New("4 bytes or more wanted")
	}
	*d = Decimal{exp: int32(binary.BigEndian.Uint32(b))}
	if len(b) == 4 {
		return nil
	}
	var ok bool
	if d.value, ok = new(big.Int).SetString(string(b[4:]), 16); !ok {
		return errors.New("no number")
	}
	return nil
}

// MarshalText returns the number in scientific notation.
func (d Decimal) MarshalText() ([]byte, error) {
	if d.value == nil {
		return []byte("0"), nil
	}
	return fmt.Appendf(nil, "%ve%d", d.value, d.exp), nil
}

// UnmarshalText reads what MarshalText returns.
func (d *Decimal) UnmarshalText(text []byte) error {
	number, exp, ok := strings.Cut(string(text), "e")
	if !ok {
		*d = Decimal{}
		return nil
	}
	e, err := strconv.ParseInt(exp, 10, 32)
	if err != nil {
		return err
	}
	value, ok := new(big.Int).SetString(number, 10)
	if !ok {
		return errors.New("no number")
	}
	*d = Decimal{value, int32(e)}
	return nil
}

// ID hides a string, and has a text by value.
type ID struct{ id string }

// NewID returns an ID.
func NewID(id string) ID { return ID{id} }

// MarshalText returns the string.
func (i ID) MarshalText() ([]byte, error) { return []byte(i.id), nil }

// UnmarshalText sets the string.
func (i *ID) UnmarshalText(text []byte) error { i.id = string(text); return nil }

// PointerID hides a string, and has a text by pointer.
type PointerID struct{ id string }

// NewPointerID returns a PointerID.
func NewPointerID(id string) PointerID { return PointerID{id} }

// MarshalText returns the string.
func (i *PointerID) MarshalText() ([]byte, error) { return []byte(i.id), nil }

// UnmarshalText sets the string.
func (i *PointerID) UnmarshalText(text []byte) error { i.id = string(text); return nil }

// Mixed has two unexported numbers. Its text is declared on the value and has one of them; its
// binary form is declared on the pointer and has both.
type Mixed struct{ a, b uint32 }

// NewMixed returns a Mixed.
func NewMixed(a, b uint32) Mixed { return Mixed{a, b} }

// MarshalText returns the first number.
func (m Mixed) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(m.a), 10), nil }

// MarshalBinary returns both numbers.
func (m *Mixed) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, m.a), m.b), nil
}

// UnmarshalBinary reads what MarshalBinary returns.
func (m *Mixed) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return errors.New("8 bytes wanted")
	}
	m.a, m.b = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return nil
}

// ---- types with hidden fields and no encoding of their own ----

// Hidden has only a hidden field.
type Hidden struct{ n int }

// NewHidden returns a Hidden.
func NewHidden(n int) Hidden { return Hidden{n} }

// N returns the number, so that the field is in use.
func (h Hidden) N() int { return h.n }

// TimeBeside has the encoding of an embedded time, which leaves out the other field.
type TimeBeside struct {
	time.Time
	note string
}

// NewTimeBeside returns a TimeBeside.
func NewTimeBeside(t time.Time, note string) TimeBeside { return TimeBeside{t, note} }

// Note returns the note.
func (t TimeBeside) Note() string { return t.note }

// ---- structs of all these ----

// Base is embedded in others.
type Base struct {
	ID   int64
	Name string
}

// Derived embeds Base.
type Derived struct {
	Base
	Extra string
}

// TimeAndNote embeds a time, and so has the encoding of the time. Its other field is visible.
type TimeAndNote struct {
	time.Time
	Note string
}

// DecimalAndNote is the same with a Decimal.
type DecimalAndNote struct {
	Decimal
	Note string
}

// Pair is generic.
type Pair[A, B any] struct {
	First  A
	Second B
}

// Page is generic, and has a slice.
type Page[T any] struct {
	Items []T
	Next  string
}

// Blank has a field without a name.
type Blank struct {
	A int
	_ int
	B int
}

// Order is an example from a shop.
type Order struct {
	ID     UUID
	Price  Decimal
	At     time.Time
	Color  Color
	Note   NullString
	Lines  []Pair[ID, int]
	Labels map[string]string
	Prices map[ID]Decimal
}

// Plain are types whose values are visible, or made of visible values. Each can be a parameter.
var Plain = []reflect.Type{
	reflect.TypeFor[Token](), reflect.TypeFor[Color](), reflect.TypeFor[NullString](), reflect.TypeFor[NullInt](),
	reflect.TypeFor[HalfText](), reflect.TypeFor[HalfBinary](), reflect.TypeFor[Digest](), reflect.TypeFor[Tags](), reflect.TypeFor[UUID](),
	reflect.TypeFor[Base](), reflect.TypeFor[Derived](), reflect.TypeFor[TimeAndNote](),
	reflect.TypeFor[Pair[string, int]](), reflect.TypeFor[Pair[Token, Color]](), reflect.TypeFor[Page[Base]](), reflect.TypeFor[Blank](),
	reflect.TypeFor[sql.NullString](), reflect.TypeFor[sql.NullInt64](), reflect.TypeFor[sql.NullInt32](), reflect.TypeFor[sql.NullInt16](),
	reflect.TypeFor[sql.NullByte](), reflect.TypeFor[sql.NullFloat64](), reflect.TypeFor[sql.NullBool](), reflect.TypeFor[sql.NullTime](),
	reflect.TypeFor[sql.Null[string]](), reflect.TypeFor[sql.Null[time.Time]](),
	reflect.TypeFor[json.RawMessage](), reflect.TypeFor[json.Number](),
	reflect.TypeFor[net.IP](), reflect.TypeFor[net.IPNet](), reflect.TypeFor[net.HardwareAddr](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[time.Month](),
}

// Encoded are types with hidden fields and a complete encoding.
var Encoded = []reflect.Type{
	reflect.TypeFor[Decimal](), reflect.TypeFor[ID](), reflect.TypeFor[PointerID](), reflect.TypeFor[Mixed](),
	reflect.TypeFor[big.Int](), reflect.TypeFor[big.Rat](), reflect.TypeFor[big.Float](),
	reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix](),
}
