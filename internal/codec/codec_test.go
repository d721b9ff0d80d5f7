package codec

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/golden"
	"github.com/fncache/fncache/internal/specimen"
)

// types are the types of a struct's fields: a list of results.
func types[T any]() (list []reflect.Type) {
	for field := range reflect.TypeFor[T]().Fields() {
		list = append(list, field.Type)
	}
	return list
}

func values(results []reflect.Value) (list []any) {
	for _, v := range results {
		list = append(list, v.Interface())
	}
	return list
}

func encodeResults(dst []byte, results []reflect.Value) ([]byte, error) {
	from := make([]any, len(results))
	for i, v := range results {
		if !v.CanAddr() {
			fresh := reflect.New(v.Type()).Elem()
			fresh.Set(v)
			v = fresh
		}
		from[i] = v.Addr().Interface()
	}
	return encodeBy(CBOR, dst, from)
}

func decodeResults(body []byte, types []reflect.Type) ([]reflect.Value, error) {
	into := pointersTo(types)
	if err := decodeBy(CBOR, body, into); err != nil {
		return nil, err
	}
	var values []reflect.Value
	for _, at := range into {
		values = append(values, reflect.ValueOf(at).Elem())
	}
	return values, nil
}

// encodeBy and decodeBy take pointers to results of any types, compiled without loss.

func encodeBy(format Format, dst []byte, from []any) ([]byte, error) {
	plans, err := plansOf(from)
	if err != nil {
		return nil, err
	}
	return plans.Append(dst, format, from)
}

func decodeBy(format Format, body []byte, into []any) error {
	plans, err := plansOf(into)
	if err != nil {
		return err
	}
	return plans.Decode(body, format, into)
}

func plansOf(pointers []any) (*Results, error) {
	var list []reflect.Type
	for _, pointer := range pointers {
		list = append(list, reflect.TypeOf(pointer).Elem())
	}
	results := CompileResults(list, false)
	return results, results.Check(CBOR)
}

func resultsOf(t testing.TB, types ...reflect.Type) *Results {
	results := CompileResults(types, false)
	require.NoError(t, results.Check(CBOR))
	return results
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// roundTrip encodes and decodes one result, as a value of its own and as one
// that can be addressed.
func roundTrip(v any) (any, error) {
	plain := reflect.ValueOf(v)
	addressable := reflect.New(plain.Type()).Elem()
	addressable.Set(plain)
	list := []reflect.Type{plain.Type(), plain.Type()}
	body, err := encodeResults(nil, []reflect.Value{plain, addressable})
	if err != nil {
		return nil, err
	}
	results, err := decodeResults(body, list)
	if err != nil {
		return nil, err
	}
	return results[0].Interface(), differ(results[0], results[1])
}

// differ returns an error if a plain value does not come back as an addressable one does.
func differ(plain, addressable reflect.Value) error {
	if k := plain.Kind(); (k == reflect.Slice || k == reflect.Map) && plain.Len() > 10_000 { // printing it would take seconds
		if reflect.DeepEqual(plain.Interface(), addressable.Interface()) {
			return nil
		}
		return fmt.Errorf("plain comes back as another %s than addressable", plain.Type())
	}
	one, other := fmt.Sprintf("%#v", plain), fmt.Sprintf("%#v", addressable)
	if one != other && !strings.Contains(one, "0x") && !strings.Contains(one, "NaN") { // addresses differ, and so may the order of NaNs
		return fmt.Errorf("plain comes back as %s, addressable as %s", one, other)
	}
	return nil
}

type (
	uuid    [16]byte // both marshalers, as in github.com/google/uuid, but its text cannot be read
	hexID   [16]byte // both marshalers
	level   int      // as text
	name    string
	small   uint8
	digest  [4]small
	digests []small
	point   struct{ X, Y int }
	// Inner is exported, so that it can be embedded by pointer.
	Inner struct{ A, B int }
	lower struct{ C int } // embedded, and unexported
	outer struct {
		Inner
		lower
		B string // hides Inner.B
	}
	embedsPointer struct {
		*Inner
		C int
	}
	hiddenPointer struct{ *lower }
	tagged        struct {
		Short    int    `cbor:"s"`
		JSON     string `json:"j,omitempty"`
		Both     int    `cbor:"c" json:"x"`
		Key      int    `cbor:"1,keyasint"`
		Negative int    `cbor:"-2,keyasint"`
		Name     int
		NAME     int // differs by case only
		Quoted   int `json:"q,string"`
	}
	row struct {
		_    struct{} `cbor:",toarray"`
		A    int
		B    string
		C    []int
		Last *int
	}
	openRow struct {
		_ struct{} `cbor:",toindefarray"`
		A int
	}
	private struct { // its fields are seen by its marshaler only
		a, b int
	}
)

func (u uuid) MarshalText() ([]byte, error)      { return fmt.Appendf(nil, "%x", u[:]), nil }
func (u *uuid) UnmarshalText(text []byte) error  { return errors.New("binary is preferred") }
func (u uuid) MarshalBinary() ([]byte, error)    { return u[:], nil }
func (u *uuid) UnmarshalBinary(raw []byte) error { copy(u[:], raw); return nil }

func (h hexID) MarshalText() ([]byte, error)      { return fmt.Appendf(nil, "%x", h[:]), nil }
func (h hexID) MarshalBinary() ([]byte, error)    { return h[:], nil }
func (h *hexID) UnmarshalBinary(raw []byte) error { return h.set(raw) }
func (h *hexID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		return err
	}
	return h.set(raw)
}

func (h *hexID) set(raw []byte) error {
	if len(raw) != len(h) {
		return fmt.Errorf("a hexID has %d bytes", len(h))
	}
	copy(h[:], raw)
	return nil
}

func (l level) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "level-%d", int(l)), nil }
func (l *level) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "level-%d", (*int)(l))
	return err
}

func (p *private) MarshalCBOR() ([]byte, error) { return cbor.Marshal([]int{p.a, p.b}) }
func (p *private) UnmarshalCBOR(raw []byte) error {
	var list []int
	if err := cbor.Unmarshal(raw, &list); err != nil {
		return err
	}
	p.a, p.b = list[0], list[1]
	return nil
}

// stampedNote has an unexported field beside an embedded time, and encodes both.
type stampedNote struct {
	time.Time
	note string
}

func (s stampedNote) MarshalBinary() ([]byte, error) {
	at, err := s.Time.MarshalBinary()
	return append(at, s.note...), err
}

func (s *stampedNote) UnmarshalBinary(b []byte) error {
	s.note = string(b[15:])
	return s.Time.UnmarshalBinary(b[:15])
}

// boxOfAny is generic, and its only field is unexported.
type boxOfAny[T any] struct{ content T }

func (b boxOfAny[T]) MarshalText() ([]byte, error)     { return json.Marshal(b.content) }
func (b *boxOfAny[T]) UnmarshalText(text []byte) error { return json.Unmarshal(text, &b.content) }

func TestResultsComeBackAsTheyWere(t *testing.T) {
	number, nilPointer := 7, (*int)(nil)
	link, err := url.Parse("https://user:pass@example.com:8080/a%2fb/c?q=1&r=%20#frag")
	require.NoError(t, err)
	for name, v := range map[string]any{
		"true": true, "false": false,
		"int 0": 0, "int -1": -1, "int min": math.MinInt, "int max": math.MaxInt,
		"int8 min": int8(math.MinInt8), "int16 min": int16(math.MinInt16), "int32 min": int32(math.MinInt32),
		"int64 min": int64(math.MinInt64), "int64 max": int64(math.MaxInt64),
		"uint8 max": uint8(math.MaxUint8), "uint16 max": uint16(math.MaxUint16), "uint32 max": uint32(math.MaxUint32),
		"uint64 max": uint64(math.MaxUint64), "uint max": uint(math.MaxUint),
		"float64": 0.1, "float64 max": math.MaxFloat64, "float64 smallest": math.SmallestNonzeroFloat64,
		"float64 inf": math.Inf(1), "float64 -inf": math.Inf(-1), "float64 whole": 3.0,
		"float32": float32(0.1), "float32 max": float32(math.MaxFloat32), "float32 smallest": float32(math.SmallestNonzeroFloat32),
		"float32 -inf": float32(math.Inf(-1)),

		"string": "käse", "string empty": "", "string invalid UTF-8": "a\xff\x00\xc3", "string named": name("n"),
		"string long": strings.Repeat("x", 70_000), "string long invalid": strings.Repeat("\xff", 300),
		"bytes": []byte{0, 1, 255}, "bytes nil": []byte(nil), "bytes empty": []byte{},
		"bytes named": digests{1, 2}, "bytes named nil": digests(nil), "byte array": digest{1, 2, 3, 4}, "byte array empty": [0]byte{},

		"slice": []int64{1, -2, 3}, "slice nil": []int64(nil), "slice empty": []int64{},
		"slice of slices": [][]int{nil, {}, {1}}, "slice of strings": []string{"", "a\xff"}, "slice of empty structs": make([]struct{}, 3),
		"slice of bytes": [][]byte{nil, {}, {1}}, "array": [3]int{1, 2, 3}, "array of arrays": [2][2]string{{"a"}, {"", "b"}},
		"map": map[string]int{"a": 1, "": 0}, "map nil": map[string]int(nil), "map empty": map[string]int{},
		"map of strings": map[string]string{"a\xff": "\xff"}, "map of nil": map[string][]int{"nil": nil, "empty": {}},
		"map int keys": map[int]string{-1: "a", 1 << 40: "b"}, "map bool keys": map[bool]int{true: 1, false: 0},
		"map struct keys": map[point]int{{1, 2}: 3, {2, 1}: 4}, "map array keys": map[[2]string]int{{"a", "b"}: 1, {"b", "a"}: 2},
		"map byte array keys": map[[4]byte]int{{1}: 1, {2}: 2}, "map float keys": map[float64]int{0.5: 1, math.Inf(-1): 2},
		"map text keys": map[level]string{1: "a", 2: "b"}, "map binary keys": map[netip.Addr]int{netip.MustParseAddr("::1"): 1, {}: 2},
		"map of maps": map[string]map[int]bool{"a": {1: true}, "nil": nil, "empty": {}},

		"pointer": &number, "pointer nil": nilPointer, "pointers": []*int{&number, nil}, "pointer to struct": &point{1, 2},
		"pointer to pointer": func() **int { p := &number; return &p }(),

		"struct": point{1, -2}, "struct empty": struct{}{},
		"embedded": outer{Inner{A: 1}, lower{3}, "b"}, "embedded pointer": embedsPointer{&Inner{1, 2}, 3}, "embedded pointer nil": embedsPointer{C: 3},
		"tags":      tagged{1, "j", 2, 3, 4, 5, 6, 7},
		"tags zero": tagged{}, "one of two names that differ by case": struct {
			Name int `cbor:",omitempty"`
			NAME int
		}{0, 6},
		"toarray": row{A: 1, B: "b", C: []int{}, Last: &number}, "toarray nil": row{}, "toindefarray": openRow{A: 1},
		"anonymous": struct {
			A []struct{ B *string }
		}{A: []struct{ B *string }{{}, {new("x")}}},

		"duration": 90 * time.Second, "month": time.May, "slog.Level": slog.LevelWarn + 1,
		"big.Int": *big.NewInt(-7), "*big.Int": new(big.Int).Lsh(big.NewInt(-3), 200), "*big.Int past int64": new(big.Int).SetUint64(math.MaxUint64),
		"*big.Int -2^64": new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 64)), "*big.Int nil": (*big.Int)(nil),
		"big.Rat": *big.NewRat(22, 7), "big.Float": big.NewFloat(1.5).SetPrec(64),
		"netip.Addr": netip.MustParseAddr("fe80::1%eth0"), "netip.Addr zero": netip.Addr{}, "netip.Prefix": netip.MustParsePrefix("10.0.0.0/8"),
		"netip.Prefix zero": netip.Prefix{}, "netip.AddrPort": netip.MustParseAddrPort("[::1]:80"),
		"net.IP": net.ParseIP("192.0.2.1"), "net.IP nil": net.IP(nil), "net.IPNet": net.IPNet{IP: net.ParseIP("2001:db8::"), Mask: net.CIDRMask(32, 128)},
		"net.HardwareAddr": net.HardwareAddr{1, 2, 3, 4, 5, 6}, "url.URL": *link, "*url.URL": link, "url.Values": url.Values{"a": {"1", "2"}, "b": nil},
		"sql.NullString": sql.NullString{String: "x", Valid: true}, "sql.Null": sql.Null[int]{V: 1, Valid: true},
		"json.RawMessage": json.RawMessage(`{"a":1}`), "json.RawMessage nil": json.RawMessage(nil), "json.Number": json.Number("1e400"),
		"cbor.RawMessage": cbor.RawMessage{0x82, 1, 2},
		"uuid":            uuid{1, 2, 3}, "uuids": []uuid{{1}, {2}}, "map of uuid": map[uuid]uuid{{1}: {2}}, "level": level(3), "levels": []level{1, 2},
		"*level nil": (*level)(nil), "MarshalCBOR by pointer": private{1, 2}, "MarshalCBOR in a map": map[string]private{"a": {1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := roundTrip(v)
			require.NoError(t, err)
			assert.Equal(t, v, got)
			assert.True(t, reflect.DeepEqual(v, got), "nil stays nil, and empty stays empty")
		})
	}
}

func TestFloatsKeepTheirBits(t *testing.T) {
	for _, bits := range []uint64{1 << 63, 0x7ff8000000000001, 0x7ff0000000000001, 0xfff8dead0000beef, 0x7ff8000000000000} {
		got, err := roundTrip(math.Float64frombits(bits))
		require.NoError(t, err)
		assert.Equal(t, bits, math.Float64bits(got.(float64)), "%x", bits)
	}
	for _, bits := range []uint32{1 << 31, 0x7fc00001, 0xffc0beef, 0x7f800001} { // the last one signals
		got, err := roundTrip([]float32{math.Float32frombits(bits)})
		require.NoError(t, err)
		assert.Equal(t, bits, math.Float32bits(got.([]float32)[0]), "%x", bits)
	}
	got, err := roundTrip(map[float64]int{math.NaN(): 1, math.Inf(1): 2, math.Copysign(math.NaN(), -1): 3})
	require.NoError(t, err)
	assert.Len(t, got, 3, "no NaN is another's duplicate")
}

func TestTimesKeepInstantAndOffset(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for name, want := range map[string]time.Time{
		"zero":                 {},
		"epoch":                time.Unix(0, 0).UTC(),
		"now":                  time.Now(),
		"nanoseconds":          time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.UTC),
		"zone":                 time.Date(2024, 7, 1, 12, 0, 0, 1, berlin),
		"odd offset":           time.Date(2024, 7, 1, 12, 0, 0, 0, time.FixedZone("NPT", 5*3600+45*60)),
		"far offset":           time.Date(2024, 7, 1, 12, 0, 0, 0, time.FixedZone("", -(23*3600+59*60))),
		"year 0":               time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"year 9999":            time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"nearly zero":          time.Time{}.Add(1),
		"zone at zero":         time.Time{}.In(berlin),
		"seconds of an offset": time.Date(1890, 1, 1, 0, 0, 0, 0, berlin),
		"year 10000":           time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"year -1":              time.Date(-1, 1, 1, 0, 0, 0, 7, time.UTC),
		"offset of 24 h":       time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("", 24*3600)),
		"the first":            time.Unix(math.MinInt64, 0),
		"the last":             time.Unix(math.MaxInt64, 999999999),
	} {
		t.Run(name, func(t *testing.T) {
			single, err := roundTrip(want)
			require.NoError(t, err)
			list, err := roundTrip([]time.Time{want})
			require.NoError(t, err)
			pointer, err := roundTrip(&want)
			require.NoError(t, err)
			inJSON, _, err := through(JSON, want)
			require.NoError(t, err)
			for _, got := range []time.Time{single.(time.Time), list.([]time.Time)[0], *pointer.(*time.Time), inJSON.(time.Time)} {
				assert.True(t, want.Equal(got), "%v is not %v", got, want)
				_, wantOffset := want.Zone()
				_, offset := got.Zone()
				assert.Equal(t, wantOffset, offset)
				if wantOffset == 0 {
					assert.Equal(t, time.UTC, got.Location())
				}
				assert.Equal(t, got.Round(0), got, "no monotonic clock")
				assert.Equal(t, want.IsZero(), got.IsZero())
			}
		})
	}
}

// Each of these values loses something if it is encoded by its text or its tags.
func TestValuesComeBackWhereTextsAndTagsWouldLoseThem(t *testing.T) {
	type omits struct {
		Seen  int
		Empty []int `json:",omitempty"`
		Zero  int   `json:",omitzero"`
	}
	zero, none, noMap, noPointer := time.Time{}, []int(nil), map[string]int(nil), (*int)(nil)
	empty := []int{}
	for name, v := range map[string]any{
		"tags of another codec":         omits{1, []int{}, 0},
		"fields that another hides":     outer{Inner{1, 2}, lower{3}, "b"},
		"fields under one name":         twins{One{1}, Other{2}},
		"embedded unexported pointer":   hiddenPointer{&lower{3}},
		"embedded unexported pointer 0": hiddenPointer{},
		"pointer to the zero time":      &zero, "pointer to a nil slice": &none, "pointer to an empty slice": &empty,
		"pointer to a nil map": &noMap, "pointer to a nil pointer": &noPointer,
		"IP of 4 bytes": net.IP{192, 0, 2, 1}, "IP of 16 bytes": net.IPv4(192, 0, 2, 1), "IP of none": net.IP{},
		"null": specimen.NullInt{}, "not null": specimen.NullInt{Valid: true}, "null text": specimen.NullString{},
		"a token": specimen.Token("secret"), "an enum": specimen.Color(7), "enums as keys": map[specimen.Color]int{7: 1, 8: 2},
		"half a text": specimen.HalfText{Shown: "a", Left: "b"}, "half a binary": specimen.HalfBinary{Shown: 1, Left: 2},
		"embedded time": struct {
			time.Time
			A int
		}{time.Unix(1, 0).UTC(), 2},
		"embedded pointers": struct {
			*big.Int
			*time.Time
		}{big.NewInt(1), &zero},
		"an encoding of its own beside an embedded one": stampedNote{time.Unix(1, 2).UTC(), "note"},
		"generic":      map[string]*boxOfAny[[]int]{"a": {[]int{1}}},
		"raw CBOR nil": cbor.RawMessage(nil), "raw CBOR empty": cbor.RawMessage{}, "raw CBOR that is none": cbor.RawMessage{0xff},
		"raw JSON that is none": json.RawMessage("{"),
		"password empty":        url.UserPassword("a", ""), "password none": url.User("a"), "URL": url.URL{Host: "%zz", RawPath: "/a"},
		"Prefix that is not valid": netip.PrefixFrom(netip.MustParseAddr("::1"), 200), "AddrPort that is not valid": netip.AddrPortFrom(netip.Addr{}, 80),
		"Rat": new(big.Rat), "Int": new(big.Int), "nothing": [3]struct{}{}, "of nothing": []struct{ _ int }{{}, {}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := roundTrip(v)
			require.NoError(t, err)
			assert.True(t, reflect.DeepEqual(v, got), "%#v comes back as %#v", v, got)
			got, _, err = through(JSON, v)
			require.NoError(t, err)
			assert.True(t, reflect.DeepEqual(v, got), "%#v comes back from JSON as %#v", v, got)
		})
	}
	for _, prec := range []uint{0, 1, 24, 53, 64, 100, 1000} {
		for _, mode := range []big.RoundingMode{big.ToNearestEven, big.AwayFromZero} {
			want := new(big.Float).SetPrec(prec).SetMode(mode).SetInf(prec == 1)
			if prec > 1 {
				want.Quo(big.NewFloat(1), big.NewFloat(3))
			}
			for _, trip := range []func() (any, error){
				func() (any, error) { return roundTrip(want) },
				func() (any, error) { v, _, err := through(JSON, want); return v, err },
			} {
				got, err := trip()
				require.NoError(t, err)
				f := got.(*big.Float)
				assert.Zero(t, want.Cmp(f))
				assert.Equal(t, []any{want.Prec(), want.Mode(), want.Acc()}, []any{f.Prec(), f.Mode(), f.Acc()})
			}
		}
	}
}

// One and Other have a field of one name.
type (
	One struct {
		A int `cbor:"x"`
	}
	Other struct {
		A int `cbor:"x"`
	}
	twins struct {
		One
		Other
	}
)

// Types whose encoding would be read by a method other than its counterpart.
type (
	onlyMarshalsText     string
	onlyUnmarshalsText   string
	onlyMarshalsBinary   []byte
	onlyUnmarshalsBinary [2]byte
	onlyMarshalsCBOR     struct{ A int }
	onlyUnmarshalsCBOR   struct{ A int }
)

func (o onlyMarshalsText) MarshalText() ([]byte, error)       { return []byte("other"), nil }
func (o *onlyUnmarshalsText) UnmarshalText(_ []byte) error    { *o = "other"; return nil }
func (o onlyMarshalsBinary) MarshalBinary() ([]byte, error)   { return []byte("other"), nil }
func (o *onlyUnmarshalsBinary) UnmarshalBinary([]byte) error  { o[0] = 9; return nil }
func (o onlyMarshalsCBOR) MarshalCBOR() ([]byte, error)       { return []byte{0xa0}, nil }
func (o *onlyUnmarshalsCBOR) UnmarshalCBOR(_ []byte) error    { o.A = 9; return nil }
func (o *onlyUnmarshalsStruct) UnmarshalText(_ []byte) error  { return errors.New("never called") }
func (o *onlyUnmarshalsInteger) UnmarshalText(_ []byte) error { return errors.New("never called") }

type (
	onlyUnmarshalsStruct  struct{ A int }
	onlyUnmarshalsInteger int
)

func TestMethodsOfVisibleTypesAreNotCalled(t *testing.T) {
	for _, v := range []any{
		onlyMarshalsText("a"), onlyUnmarshalsText("a"),
		[2]onlyMarshalsText{"a"},
		&onlyMarshalsBinary{1},
		onlyUnmarshalsBinary{1},
		onlyMarshalsCBOR{1},
		onlyUnmarshalsCBOR{1},
		map[onlyMarshalsText]int{"a": 1},
		map[string][]onlyUnmarshalsText{"a": {"b"}},
		hiddenPointer{&lower{1}},
		onlyUnmarshalsStruct{1},
		onlyUnmarshalsInteger(1),
		[]small{1},
		struct{ A, B outer }{A: outer{Inner: Inner{A: 1}}},
	} {
		got, err := roundTrip(v)
		require.NoError(t, err)
		assert.True(t, reflect.DeepEqual(v, got), "%#v", v)
	}
	got, err := roundTrip(byCBOR{"x"})
	require.NoError(t, err)
	assert.Equal(t, byCBOR{"cbor"}, got, "only the methods that are written for this codec are called")
}

// byCBOR is visible, and has its own CBOR methods.
type byCBOR struct{ Text string }

func (byCBOR) MarshalCBOR() ([]byte, error)    { return []byte{0xf6}, nil }
func (b *byCBOR) UnmarshalCBOR(_ []byte) error { b.Text = "cbor"; return nil }

func TestManyResultsKeepTheirOrder(t *testing.T) {
	for _, n := range []int{0, 1, 2, 23, 24, 255, 256, 300} {
		var results []reflect.Value
		var list []reflect.Type
		for i := range n {
			results = append(results, reflect.ValueOf(i))
			list = append(list, reflect.TypeFor[int]())
		}
		body, err := encodeResults([]byte("before"), results)
		require.NoError(t, err)
		body = bytes.TrimPrefix(body, []byte("before"))
		require.NoError(t, cbor.Wellformed(body), "it is one CBOR array")
		got, err := decodeResults(body, list)
		require.NoError(t, err)
		require.Equal(t, values(results), values(got))
		_, err = decodeResults(body, append(list, reflect.TypeFor[int]()))
		require.Error(t, err)
		if n > 0 {
			_, err = decodeResults(body, list[1:])
			require.Error(t, err)
		}
	}
}

func TestEveryEncodedValueCanBeDecoded(t *testing.T) {
	long := make([]uint16, 200_000)
	wide := make(map[int]bool, 200_000)
	for i := range long {
		long[i], wide[i] = uint16(i), true
	}
	deep := reflect.ValueOf(42)
	for range 300 {
		s := reflect.MakeSlice(reflect.SliceOf(deep.Type()), 1, 1)
		s.Index(0).Set(deep)
		deep = s
	}
	for name, v := range map[string]any{"long": long, "wide": wide, "deep": deep.Interface()} {
		t.Run(name, func(t *testing.T) {
			got, err := roundTrip(v)
			require.NoError(t, err)
			assert.True(t, reflect.DeepEqual(v, got))
		})
	}
}

func TestBodyThatIsNotOfTheseResultsIsAnError(t *testing.T) {
	list := types[struct {
		int
		string
	}]()
	for name, c := range map[string]struct{ body, text string }{
		"nothing":           {"", "truncated entry: the body has 0 bytes"},
		"not an array":      {"\xa0", "corrupt entry: the body is not an array"},
		"null":              {"\xf6", "corrupt entry: the body is not an array"},
		"fewer":             {"\x81\x01", "corrupt entry: the body is not of 2 results"},
		"more":              {"\x83\x01\x61a\x02", "corrupt entry: the body is not of 2 results"},
		"of unknown length": {"\x9f\x01\x61a\xff", "corrupt entry: the body is not of 2 results"},
		"a huge length":     {"\x9a\x80\x00\x00\x00\x01", "corrupt entry: the body is not of 2 results"},
		"trailing":          {"\x82\x01\x61ax", "corrupt entry: 1 bytes after the results"},
		"one missing":       {"\x82\x01", "decode result 2 (string): ends too early"},
		"wrong type":        {"\x82\x01\x02", "decode result 2 (string): cannot put CBOR positive integer into string"},
		"too large":         {"\x82\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x61a", "decode result 1 (int): cannot put CBOR positive integer into int"},
		"malformed":         {"\x82\x1c\x61a", "decode result 1 (int): is not CBOR at byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			results, err := decodeResults([]byte(c.body), list)
			require.EqualError(t, err, c.text)
			assert.Nil(t, results)
		})
	}
}

func TestShapesThatAreNotOfTheTypeAreAnError(t *testing.T) {
	for name, c := range map[string]struct {
		v, into any
		text    string
	}{
		"a map for a struct":     {map[string]int{"X": 1, "Y": 2}, point{}, "cannot put CBOR map into codec.point"},
		"fewer fields":           {[]int{1}, point{}, "cannot put CBOR array of 1 into codec.point"},
		"more fields":            {[]int{1, 2, 3}, point{}, "cannot put CBOR array of 3 into codec.point"},
		"a field of another":     {[]any{1, "secret"}, point{}, "cannot put CBOR text string into int, in Y"},
		"a field of another one": {map[string]any{"secret": []any{[]any{1, nil}}}, map[string][]point{}, "cannot put CBOR simple value into int, in [][].Y"},
		"a shorter array":        {[]int{1}, [2]int{}, "cannot put CBOR array of 1 into [2]int"},
		"shorter bytes":          {[]byte{1}, [2]byte{}, "cannot put CBOR byte string of 1 into [2]uint8"},
		"text for bytes":         {"secret", []byte{}, "cannot put CBOR text string into []uint8"},
		"null for a number":      {nil, 1, "cannot put CBOR simple value into int"},
		"an integer for a float": {1, 1.0, "cannot put CBOR positive integer into float64"},
		"a short float":          {float32(1), 1.0, "cannot put CBOR simple value into float64"},
		"a negative":             {-1, uint(1), "cannot put CBOR negative integer into uint"},
		"a pointer to null":      {nil, new([]int), ""},
		"a pointer to a list":    {[]int{1}, new([]int), "cannot put CBOR positive integer into []int"},
		"a pair":                 {[]int{1, 2}, new([]int), "cannot put CBOR array of 2 into *[]int"},
		"a time of one":          {[]int{1}, time.Time{}, "cannot put CBOR array of 1 into time.Time"},
		"a time of a text":       {"2024-01-01T00:00:00Z", time.Time{}, "cannot put CBOR text string into time.Time"},
		"nanoseconds":            {[]int{1, 1_000_000_000}, time.Time{}, "cannot put nanoseconds or an offset out of range"},
		"a fraction over 0":      {[]any{big.NewInt(1), new(big.Int)}, big.Rat{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeResults(must(cbor.Marshal([]any{c.v})), []reflect.Type{reflect.TypeOf(c.into)})
			if c.text == "" && name == "a pointer to null" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.ErrorContains(t, err, c.text)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
	_, err := decodeResults([]byte("\x81\xa2\x61X\x01\x61X\x02"), []reflect.Type{reflect.TypeFor[map[string]int]()})
	require.EqualError(t, err, "decode result 1 (map[string]int): a map has the same key twice, at pair 2")
}

func TestTruncatedBodyIsAnErrorAtEveryByte(t *testing.T) {
	for _, results := range fuzzSamples() {
		var list []reflect.Type
		for _, v := range results {
			list = append(list, v.Type())
		}
		body, err := encodeResults(nil, results)
		require.NoError(t, err)
		for n := range body {
			_, err := decodeResults(body[:n:n], list)
			require.Error(t, err, "%d of %d bytes", n, len(body))
		}
		_, err = decodeResults(body, list)
		require.NoError(t, err)
	}
}

func TestHugeLengthTakesNoMemory(t *testing.T) {
	for name, body := range map[string]string{
		"array":    "\x81\x9a\x7f\xff\xff\xff\x01\x02\x03\x04",
		"array 64": "\x81\x9b\x00\x00\x00\x7f\xff\xff\xff\xff",
		"map":      "\x81\xba\x7f\xff\xff\xff\x01\x02\x03\x04",
		"bytes":    "\x81\x5a\x7f\xff\xff\xff\x01\x02\x03\x04",
		"text":     "\x81\x7b\x00\x00\x00\x7f\xff\xff\xff\xff",
	} {
		for _, typ := range []reflect.Type{
			reflect.TypeFor[[]int64](), reflect.TypeFor[map[int]int](), reflect.TypeFor[[]byte](), reflect.TypeFor[string](), reflect.TypeFor[private](),
		} {
			t.Run(name+" as "+typ.String(), func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := decodeResults([]byte(body), []reflect.Type{typ})
				runtime.ReadMemStats(&after)
				require.Error(t, err)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
			})
		}
	}
}

func TestDeepBodyDoesNotOverflowTheStack(t *testing.T) {
	for _, depth := range []int{1000, 60_000, 1_000_000} {
		body := append(bytes.Repeat([]byte{0x81}, depth), 1)
		for _, typ := range []reflect.Type{reflect.TypeFor[private](), reflect.TypeFor[[]int](), reflect.TypeFor[cbor.RawMessage]()} {
			assert.NotPanics(t, func() { _, _ = decodeResults(body, []reflect.Type{typ}) })
		}
	}
}

func TestResultsShareNoMemory(t *testing.T) {
	type all struct {
		Bytes  []byte
		Text   string
		Named  name
		Raw    cbor.RawMessage
		JSON   json.RawMessage
		Map    map[string]string
		Array  [3]byte
		Nested [][]byte
		UUID   uuid
		IP     net.IP
		Long   string
	}
	want := all{
		[]byte("bytes"), "text", "named", cbor.RawMessage("\x63raw"), json.RawMessage(`"json"`),
		map[string]string{"key": "value"},
		[3]byte{1, 2, 3},
		[][]byte{[]byte("nested")},
		uuid{9},
		net.ParseIP("::1"), strings.Repeat("long", 100),
	}
	encoded := []reflect.Value{reflect.ValueOf(want), reflect.ValueOf([]byte("top"))}
	list := []reflect.Type{reflect.TypeFor[all](), reflect.TypeFor[[]byte]()}
	body, err := encodeResults(nil, encoded)
	require.NoError(t, err)
	kept := bytes.Clone(body)

	one, err := decodeResults(body, list)
	require.NoError(t, err)
	other, err := decodeResults(body, list)
	require.NoError(t, err)

	got := one[0].Interface().(all)
	got.Bytes[0], got.Raw[1], got.JSON[1], got.Nested[0][0], got.IP[0], one[1].Bytes()[0] = 'X', 'X', 'X', 'X', 'X', 'X'
	got.Map["key"] = "X"
	assert.Equal(t, kept, body, "what a caller writes does not reach the bytes")
	assert.Equal(t, want, other[0].Interface(), "nor another caller")
	assert.Equal(t, []byte("top"), other[1].Interface())

	clear(body)
	assert.Equal(t, want, other[0].Interface(), "and the bytes can go")
	assert.Equal(t, []byte("top"), other[1].Interface())

	// Two encodings do not share a buffer either.
	first, err := encodeResults(nil, encoded)
	require.NoError(t, err)
	_, err = encodeResults(nil, []reflect.Value{reflect.ValueOf(strings.Repeat("y", 2000))})
	require.NoError(t, err)
	_, err = decodeResults(first, list)
	require.NoError(t, err)
}

func TestDecodedResultsCanBeSet(t *testing.T) {
	body, err := encodeResults(nil, []reflect.Value{reflect.ValueOf(1)})
	require.NoError(t, err)
	results, err := decodeResults(body, []reflect.Type{reflect.TypeFor[int]()})
	require.NoError(t, err)
	assert.True(t, results[0].CanSet())
}

// A moody value names the method that fails or panics, and how.
type moody string

const quoted = "value-that-must-not-be-logged"

var errMoody = errors.New("cannot take " + quoted)

func (m moody) do(verb string) error {
	switch string(m) {
	case verb + " panics":
		panic(quoted)
	case verb + " panics with an error":
		panic(errMoody)
	case verb + " breaks":
		_ = []int{}[len(m)]
	case verb + " fails":
		return fmt.Errorf("moody: %w", errMoody)
	}
	return nil
}

// Each type marshals in another way.
type (
	moodyText   struct{ m moody }
	moodyBinary struct{ m moody }
	moodyCBOR   struct{ m moody }
)

func (m moodyText) MarshalText() ([]byte, error)     { return []byte(m.m), m.m.do("encode") }
func (m *moodyText) UnmarshalText(raw []byte) error  { m.m = moody(raw); return m.m.do("decode") }
func (m moodyBinary) MarshalBinary() ([]byte, error) { return []byte(m.m), m.m.do("encode") }
func (m *moodyBinary) UnmarshalBinary(raw []byte) error {
	m.m = moody(raw)
	return m.m.do("decode")
}

func (m moodyCBOR) MarshalCBOR() ([]byte, error) {
	if m.m == "encode nonsense" {
		return []byte{0x1c}, nil
	}
	return must(cbor.Marshal(string(m.m))), m.m.do("encode")
}

func (m *moodyCBOR) UnmarshalCBOR(raw []byte) error {
	if err := cbor.Unmarshal(raw, (*string)(&m.m)); err != nil {
		return err
	}
	return m.m.do("decode")
}

func TestMarshalersThatFailOrPanicAreErrorsWithoutTheValue(t *testing.T) {
	for _, mood := range []string{"panics", "panics with an error", "breaks", "fails"} {
		for _, verb := range []string{"encode", "decode"} {
			m := moody(verb + " " + mood)
			for _, v := range []any{
				moodyText{m}, moodyBinary{m}, moodyCBOR{m}, []moodyText{{m}}, map[moodyTextKey]int{{m}: 1}, struct{ M *moodyBinary }{&moodyBinary{m}},
			} {
				t.Run(fmt.Sprintf("%s %T", m, v), func(t *testing.T) {
					list := []reflect.Value{reflect.ValueOf("fine"), reflect.ValueOf(v)}
					body, err := encodeResults(nil, list)
					if verb == "encode" {
						assert.Nil(t, body)
					} else {
						require.NoError(t, err)
						var results []reflect.Value
						results, err = decodeResults(body, []reflect.Type{list[0].Type(), list[1].Type()})
						assert.Nil(t, results)
					}
					require.ErrorContains(t, err, fmt.Sprintf("%s result 2 (%T): ", verb, v))
					assert.NotContains(t, err.Error(), quoted)
					if strings.Contains(string(m), "fails") || strings.Contains(string(m), "error") {
						assert.ErrorIs(t, err, errMoody, "errors.Is finds the cause")
					}
					if mood == "breaks" {
						assert.ErrorContains(t, err, "panic: runtime error: index out of range")
					}
					// The next encoding works.
					_, err = roundTrip("next")
					assert.NoError(t, err)
				})
			}
		}
	}
	_, err := encodeResults(nil, []reflect.Value{reflect.ValueOf(moodyCBOR{"encode nonsense"})})
	assert.Error(t, err)
}

type moodyTextKey struct{ m moody }

func (m moodyTextKey) MarshalText() ([]byte, error)    { return moodyText(m).MarshalText() }
func (m *moodyTextKey) UnmarshalText(raw []byte) error { return (*moodyText)(m).UnmarshalText(raw) }

// sameText has one text for all its values.
type sameText struct{ n int }

func (sameText) MarshalText() ([]byte, error)  { return []byte("same"), nil }
func (*sameText) UnmarshalText(_ []byte) error { return nil }

func TestKeysThatComeOutTheSameAreAnError(t *testing.T) {
	m := map[sameText]string{{1}: "a", {2}: "b"}
	_, err := roundTrip(m)
	assert.ErrorContains(t, err, "a map has the same key twice, at pair 2")
	_, _, err = through(JSON, m)
	assert.ErrorContains(t, err, "a map has the same key twice, at pair 2")
}

func TestErrorsDoNotQuoteWhatWasRead(t *testing.T) {
	for _, c := range []struct {
		v   any
		typ reflect.Type
	}{
		{quoted, reflect.TypeFor[time.Time]()},
		{quoted, reflect.TypeFor[netip.Prefix]()},
		{quoted, reflect.TypeFor[level]()},
		{quoted, reflect.TypeFor[*big.Float]()},
		{quoted, reflect.TypeFor[int]()},
		{map[string]int{quoted: 1}, reflect.TypeFor[point]()},
		{cbor.RawMessage("\xa2\x78\x1d" + quoted + "\x01\x78\x1d" + quoted + "\x02"), reflect.TypeFor[map[string]int]()},
		{1234567890123, reflect.TypeFor[int8]()},
	} {
		_, err := decodeResults(must(cbor.Marshal([]any{c.v})), []reflect.Type{c.typ})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), quoted)
		assert.NotContains(t, err.Error(), "1234567890123")
		assert.Contains(t, err.Error(), "decode result 1 ("+c.typ.String()+"): ")
	}
}

func TestCodecIsSafeForConcurrentUse(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				want := point{i, j}
				got, err := roundTrip(want)
				assert.NoError(t, err)
				assert.Equal(t, want, got)
			}
		})
	}
	all.Wait()
}

// A body that changes needs another codec name, because old and new processes read each other's
// entries.
func TestGoldenBodies(t *testing.T) {
	var dump strings.Builder
	for _, v := range []any{
		0, -1, int64(math.MinInt64), uint64(math.MaxUint64), 1.5, float32(1.5), math.NaN(), math.Inf(-1), true, "text", "\xff",
		[]byte{1, 2},
		[]byte(nil),
		[]byte{},
		[2]byte{1, 2},
		[]int{1, 2},
		[]int(nil),
		[]int{},
		map[string]int{"a": 1},
		map[string]int(nil),
		point{1, 2},
		&point{1, 2}, (*point)(nil),
		outer{Inner{1, 2}, lower{3}, "b"},
		tagged{1, "j", 2, 3, 4, 5, 6, 7},
		row{A: 1},
		time.Date(2024, 2, 29, 12, 0, 0, 123, time.FixedZone("", 3600)),
		time.Time{},
		time.Second,
		big.NewInt(7), new(big.Int).Lsh(big.NewInt(1), 64), big.NewFloat(1.5), netip.MustParseAddr("192.0.2.1"),
		net.IP{192, 0, 2, 1},
		uuid{1},
		level(3),
		private{1, 2},
		struct{}{},
	} {
		body, err := encodeResults(nil, []reflect.Value{reflect.ValueOf(v)})
		require.NoError(t, err)
		fmt.Fprintf(&dump, "% x  # %T\n", body, v)
	}
	golden.Check(t, "codec_cbor2.hex", dump.String())
}

// --- The seeds of the fuzz test, and the types that it decodes into ---

type fuzzed struct {
	A int8
	B []string
	C map[string]*fuzzPart
	D time.Time
	E [2]hexID
	F float32
}

type fuzzPart struct {
	X level
	Y netip.Addr
	Z big.Int
	W []byte
}

func fuzzSamples() [][]reflect.Value {
	var samples [][]reflect.Value
	for _, list := range [][]any{
		{[]int64{1, -1, math.MaxInt64}},
		{42, "answer"},
		{map[string]float64{"a": math.Inf(1), "b": 0.5}},
		{fuzzed{
			-1,
			[]string{"", "b"},
			map[string]*fuzzPart{"a": {7, netip.MustParseAddr("::1"), *big.NewInt(7), []byte{1}}, "nil": nil},
			time.Date(2024, 2, 29, 12, 0, 0, 1, time.UTC),
			[2]hexID{{1}, {2}},
			1.5,
		}},
		{[]byte("bytes"), true, []point{{1, 2}}, row{A: 1, B: "b"}},
	} {
		var sample []reflect.Value
		for _, v := range list {
			sample = append(sample, reflect.ValueOf(v))
		}
		samples = append(samples, sample)
	}
	return samples
}

func fuzzTypes() (lists [][]reflect.Type) {
	for _, sample := range fuzzSamples() {
		var list []reflect.Type
		for _, v := range sample {
			list = append(list, v.Type())
		}
		lists = append(lists, list)
	}
	return lists
}
