package codec

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// through encodes and decodes one result.
func through(format Format, v any) (got any, body string, err error) {
	from := reflect.New(reflect.TypeOf(v))
	from.Elem().Set(reflect.ValueOf(v))
	raw, err := encodeBy(format, nil, []any{from.Interface()})
	if err != nil {
		return nil, "", err
	}
	into := reflect.New(reflect.TypeOf(v))
	err = decodeBy(format, raw, []any{into.Interface()})
	return into.Elem().Interface(), string(raw), err
}

func TestResultsComeBackFromJSONAsTheyWere(t *testing.T) {
	number := 7
	for name, c := range map[string]struct {
		v    any
		body string // not looked at if ""
	}{
		"true": {true, `[true]`}, "int64 max": {int64(math.MaxInt64), `[9223372036854775807]`}, "uint64 max": {uint64(math.MaxUint64), `[18446744073709551615]`},
		"float64": {0.1, `[0.1]`}, "float64 max": {math.MaxFloat64, ""}, "float64 smallest": {math.SmallestNonzeroFloat64, ""},
		"float32": {float32(0.1), `[0.1]`}, "-0": {math.Copysign(0, -1), `[-0]`},
		"string": {"käse & <b>", `["käse & <b>"]`}, "string of brackets": {"]\n,[\"", ""}, "string long": {strings.Repeat("x", 70_000), ""},
		"bytes": {[]byte{0, 1, 255}, `["AAH/"]`}, "bytes nil": {[]byte(nil), `[null]`}, "bytes empty": {[]byte{}, `[""]`}, "byte array": {[2]byte{1, 2}, `["AQI="]`},
		"slice": {[]int64{1, -2}, `[[1,-2]]`}, "slice nil": {[]int64(nil), `[null]`}, "slice empty": {[]int64{}, `[[]]`},
		"map": {map[string]int{"a": 1}, `[{"a":1}]`}, "map nil": {map[string]int(nil), `[null]`}, "map empty": {map[string]int{}, `[{}]`},
		"map int keys": {map[int]string{-1: "a"}, `[{"-1":"a"}]`}, "map text keys": {map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, `[{"::1":1}]`},
		"pointer": {&number, `[7]`}, "pointer nil": {(*int)(nil), `[null]`}, "pointers": {[]*int{&number, nil}, `[[7,null]]`},
		"struct": {point{1, -2}, `[{"X":1,"Y":-2}]`}, "struct empty": {struct{}{}, `[{}]`}, "set": {map[string]struct{}{"a": {}}, `[{"a":{}}]`},
		"embedded": {outer{Inner{A: 1}, lower{3}, "b"}, `[{"Inner":{"A":1,"B":0},"lower":{"C":3},"B":"b"}]`}, "embedded pointer": {embedsPointer{&Inner{1, 2}, 3}, ""},
		"book": {aBook(), ""}, "names by case": {struct{ Name, NAME int }{1, 2}, `[{"Name":1,"NAME":2}]`},
		"time": {time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.UTC), `["2024-02-29T23:59:59.999999999Z"]`}, "time zero": {time.Time{}, ""},
		"duration": {time.Second, `[1000000000]`}, "*big.Int": {new(big.Int).Lsh(big.NewInt(-3), 200), ""}, "big.Int": {*big.NewInt(7), `[7]`},
		"big.Rat": {*big.NewRat(22, 7), `[[22,7]]`}, "level": {level(3), `[3]`}, "levels": {[]level{1}, `[[1]]`},
		"raw": {json.RawMessage(`{"a": 1}`), `["eyJhIjogMX0="]`}, "json.Number": {json.Number("1e400"), `["1e400"]`}, "url.Values": {url.Values{"a": {"1"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, body, err := through(JSON, c.v)
			require.NoError(t, err)
			if c.body != "" {
				assert.Equal(t, c.body, body)
			}
			assert.True(t, reflect.DeepEqual(c.v, got), "%#v comes back as %#v", c.v, got)
			assert.NoError(t, resultsOf(t, reflect.TypeOf(c.v)).Check(JSON))
		})
	}
}

func TestJSONKeepsTheOrderOfResults(t *testing.T) {
	for _, n := range []int{0, 1, 2, 30} {
		from, into := make([]any, n), make([]any, n)
		for i := range n {
			from[i], into[i] = &i, new(int)
		}
		body, err := encodeBy(JSON, []byte("before"), from)
		require.NoError(t, err)
		body, found := bytes.CutPrefix(body, []byte("before"))
		require.True(t, found)
		require.True(t, json.Valid(body))
		require.NoError(t, decodeBy(JSON, body, into))
		assert.Equal(t, from, into)
		assert.Error(t, decodeBy(JSON, body, append(into, new(int))))
		if n > 0 {
			assert.Error(t, decodeBy(JSON, body, into[1:]))
		}
	}
}

type (
	onlyBinary  struct{ a int }
	byPointer   struct{ a int }
	writesOnly  struct{ A int }
	readsOnly   struct{ A int }
	textString  string
	stamped     struct{ byValue }
	alsoStamped struct {
		byValue
		Other int
	}
	byValue  struct{ a int }
	private2 struct {
		A int
		B private
	}
)

func (b onlyBinary) MarshalBinary() ([]byte, error)   { return []byte{byte(b.a)}, nil }
func (b *onlyBinary) UnmarshalBinary(r []byte) error  { b.a = int(r[0]); return nil }
func (b *byPointer) MarshalJSON() ([]byte, error)     { return json.Marshal(b.a) }
func (b *byPointer) UnmarshalJSON(raw []byte) error   { return json.Unmarshal(raw, &b.a) }
func (writesOnly) MarshalJSON() ([]byte, error)       { return []byte("1"), nil }
func (*readsOnly) UnmarshalJSON([]byte) error         { return nil }
func (s textString) MarshalText() ([]byte, error)     { return []byte("t:" + s), nil }
func (s *textString) UnmarshalText(text []byte) error { *s = textString(text[2:]); return nil }
func (b byValue) MarshalJSON() ([]byte, error)        { return json.Marshal(b.a) }
func (b *byValue) UnmarshalJSON(raw []byte) error     { return json.Unmarshal(raw, &b.a) }

func TestTypesOfAllKindsComeBackFromJSON(t *testing.T) {
	link := must(url.Parse("https://user:@example.com/a%2fb"))
	for name, v := range map[string]any{
		"marshals to binary only":             onlyBinary{1},
		"marshals to CBOR only":               private2{1, private{2, 3}},
		"marshals to JSON":                    byValue{1},
		"a URL with its user":                 *link,
		"pointer method in a slice":           map[string][]byPointer{"a": {{1}}},
		"pointer method in a map":             map[string]byPointer{"a": {1}},
		"pointers in a map":                   map[string]*byPointer{"a": {1}},
		"pointer method in a struct in a map": map[string]struct{ P byPointer }{"a": {byPointer{1}}},
		"visible, written and not read":       writesOnly{1},
		"visible, read and not written":       readsOnly{1},
		"a text that is a key":                map[textString]int{"a": 1},
		"a text":                              []textString{"a"},
		"struct keys":                         map[point]int{{1, 2}: 3, {2, 1}: 4},
		"bool keys":                           map[bool]int{true: 1, false: 2},
		"float keys":                          map[float64]int{1: 1, 0.5: 2},
		"array keys":                          map[[2]string]int{{"a", "]"}: 1},
		"embedded marshaler alone":            stamped{byValue{1}},
		"embedded marshaler":                  alsoStamped{byValue{1}, 2},
		"embedded time": struct {
			time.Time
			A int
		}{time.Unix(1, 2).UTC(), 3},
		"year 10000":         time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"pointer to nothing": new([]int), "pointer to a nil pointer": new(*int), "pointer to a slice": &[]int{1}, "pointer to a map": &map[string]int{},
		"omitempty": struct {
			A []int  `json:",omitempty"`
			B int    `json:",string"`
			C string `json:",omitzero"`
		}{[]int{}, 0, ""},
		"odd names": struct {
			A int `json:"a\"b\\c<ä"` //nolint:staticcheck // odd on purpose
		}{1},
		"escapes": "\x00\x01\b\f\n\r\t\"\\/\u2028\ufffd\U0001f600", "a genuine U+FFFD": "\ufffd", "sets of nothing": []struct{}{{}, {}},
		"long numbers": new(big.Int).Lsh(big.NewInt(-3), 5000), "numbers": []big.Int{*big.NewInt(-3), {}},
	} {
		t.Run(name, func(t *testing.T) {
			got, body, err := through(JSON, v)
			require.NoError(t, err)
			assert.True(t, json.Valid([]byte(body)), body)
			assert.True(t, reflect.DeepEqual(v, got), "%#v comes back as %#v", v, got)
		})
	}
}

// halfJSON has one half of a pair of methods, and an unexported field.
type halfJSON struct{ a int }

func (h halfJSON) MarshalJSON() ([]byte, error) { return json.Marshal(h.a) }

func TestJSONLeavesOutFieldsByItsOwnTags(t *testing.T) {
	type both struct {
		A int
		B int      `json:"-"`
		C int      `cbor:"-"`
		D int      `fncache:"-"`
		E chan int `json:"-"`
	}
	got, body, err := through(JSON, both{1, 2, 3, 4, nil})
	require.ErrorContains(t, err, "result 1: codec.both.E (chan int) does not survive", "CBOR has tags of its own")
	_, _ = got, body
	type mine struct {
		A int
		B int `json:"-"`
		C int `cbor:"-"`
		D int `fncache:"-"`
	}
	got, body, err = through(JSON, mine{1, 2, 3, 4})
	require.NoError(t, err)
	assert.Equal(t, `[{"A":1,"C":3}]`, body)
	assert.Equal(t, mine{A: 1, C: 3}, got)
	got, err = roundTrip(mine{1, 2, 3, 4})
	require.NoError(t, err)
	assert.Equal(t, mine{A: 1, B: 2}, got)
	half := CompileResults([]reflect.Type{reflect.TypeFor[halfJSON]()}, false)
	require.ErrorContains(t, half.Check(JSON),
		"codec.halfJSON has no exported field, so nothing of it would be stored; export its fields, give it UnmarshalJSON too (it has a MarshalJSON, but no UnmarshalJSON to read it back), or leave it out")
}

// replaced marshals by encoding/json, which replaces invalid UTF-8.
type replaced struct{ text string }

func (r replaced) MarshalJSON() ([]byte, error)     { return json.Marshal(r.text) }
func (r *replaced) UnmarshalJSON(body []byte) error { return json.Unmarshal(body, &r.text) }

func TestValuesThatJSONCannotRepresentAreErrors(t *testing.T) {
	for text, v := range map[string]any{
		"JSON has no NaN and no infinities":                                      math.NaN(),
		"JSON has no NaN and no infinities; use CBOR for this function, in [].F": []struct{ F float32 }{{float32(math.Inf(-1))}},
		"a string is not valid UTF-8":                                            "a\xff",
		"a string is not valid UTF-8, which JSON cannot represent; ":             map[string]int{"a\xff": 1},
		"its output has \\ufffd, as encoding/json writes for a string that":      replaced{"a\xff"},
	} {
		_, _, err := through(JSON, v)
		assert.ErrorContains(t, err, "encode result 1 (")
		assert.ErrorContains(t, err, text)
	}
	for _, text := range []string{"\ufffd", `\ufffd`, `\\ufffd`} {
		got, _, err := through(JSON, replaced{text})
		require.NoError(t, err)
		assert.Equal(t, replaced{text}, got, "encoding/json writes a genuine U+FFFD unescaped")
	}
}

func TestBodyThatIsNotOfTheseResultsIsAnErrorInJSON(t *testing.T) {
	for name, c := range map[string]struct{ body, text string }{
		"nothing":         {"", "corrupt entry: the body is not a JSON array"},
		"no JSON":         {"x", "the body is not a JSON array"},
		"CBOR":            {"\x82\x01\x61a", "the body is not a JSON array"},
		"null":            {"null", "the body is not a JSON array"},
		"an object":       {`{"a":1}`, "the body is not a JSON array"},
		"fewer":           {`[1]`, "corrupt entry: the body has 1 of 2 results"},
		"more":            {`[1,"a",2]`, "corrupt entry: the body does not end after 2 results"},
		"trailing":        {`[1,"a"] x`, "corrupt entry: there are bytes after the array"},
		"a second array":  {`[1,"a"][]`, "corrupt entry: there are bytes after the array"},
		"no end":          {`[1,"a"`, "corrupt entry: the body does not end after 2 results"},
		"cut in a string": {`[1,"a`, "decode result 2 (string): ends too early"},
		"wrong type":      {`[1,1234567890]`, "decode result 2 (string): cannot put a JSON number into string"},
		"too large":       {`[99999999999999999999,"a"]`, "decode result 1 (int): cannot put a JSON number into int"},
		"malformed":       {`[1,secret]`, "decode result 2 (string): is not JSON at byte "},
	} {
		t.Run(name, func(t *testing.T) {
			err := decodeBy(JSON, []byte(c.body), []any{new(int), new(string)})
			require.ErrorContains(t, err, c.text)
			assert.NotContains(t, err.Error(), "secret")
			assert.NotContains(t, err.Error(), "1234567890")
			assert.NotContains(t, err.Error(), "99999999")
		})
	}
	err := decodeBy(JSON, []byte(`[{"X":1,"Z":2}]`), []any{new(point)})
	assert.ErrorContains(t, err, "decode result 1 (codec.point): ", "a field that the type has not")
	err = decodeBy(JSON, []byte(`[{"X":"secret"}]`), []any{new(point)})
	assert.ErrorContains(t, err, "cannot put a JSON string into int, in X")
	body, err := encodeBy(JSON, nil, []any{new(aBook()), new("text")})
	require.NoError(t, err)
	for n := range body {
		require.Error(t, decodeBy(JSON, body[:n:n], []any{new(book), new(string)}), "%d bytes", n)
	}
}

func TestPanicsOfJSONMarshalersAreErrors(t *testing.T) {
	for _, mood := range []string{"panics", "panics with an error", "breaks", "fails"} {
		for _, verb := range []string{"encode", "decode"} {
			_, _, err := through(JSON, moodyText{moody(verb + " " + mood)})
			require.ErrorContains(t, err, verb)
			assert.NotContains(t, err.Error(), quoted)
		}
	}
}

// FuzzJSON decodes arbitrary bytes: they give results or an error, and never a panic.
func FuzzJSON(f *testing.F) {
	lists := fuzzTypes()
	for i, results := range fuzzSamples() {
		from := pointersTo(lists[i])
		for i, v := range results {
			reflect.ValueOf(from[i]).Elem().Set(v)
		}
		body, err := encodeBy(JSON, nil, from)
		if err != nil {
			require.ErrorContains(f, err, "JSON has no NaN and no infinities")
			continue
		}
		require.NoError(f, decodeBy(JSON, body, pointersTo(lists[i])))
		f.Add(body)
	}
	f.Add([]byte(`[{"A":1}]`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := string(body)
		for _, list := range lists {
			into := pointersTo(list)
			err := decodeBy(JSON, body, into)
			require.Equal(t, kept, string(body))
			if err != nil {
				continue
			}
			once, err := encodeBy(JSON, nil, into)
			if err != nil {
				continue // a NaN in a text
			}
			again := pointersTo(list)
			require.NoError(t, decodeBy(JSON, once, again))
			twice, err := encodeBy(JSON, nil, again)
			require.NoError(t, err)
			require.Equal(t, string(once), string(twice))
		}
	})
}

func pointersTo(list []reflect.Type) (pointers []any) {
	for _, t := range list {
		pointers = append(pointers, reflect.New(t).Interface())
	}
	return pointers
}
