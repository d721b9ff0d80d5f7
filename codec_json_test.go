package fncache

import (
	"bytes"
	"context"
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

var jsonCoder = newCoder(&Config{Codec: JSON{}, CompressOver: -1})

// through encodes and decodes one result.
func through(c *coder, v any) (got any, body string, err error) {
	from := reflect.New(reflect.TypeOf(v))
	from.Elem().Set(reflect.ValueOf(v))
	raw, err := c.encode(nil, []any{from.Interface()})
	if err != nil {
		return nil, "", err
	}
	into := reflect.New(reflect.TypeOf(v))
	err = c.decode(raw, []any{into.Interface()})
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
		"bytes": {[]byte{0, 1, 255}, `["AAH/"]`}, "bytes nil": {[]byte(nil), `[null]`}, "bytes empty": {[]byte{}, `[""]`}, "byte array": {[2]byte{1, 2}, `[[1,2]]`},
		"slice": {[]int64{1, -2}, `[[1,-2]]`}, "slice nil": {[]int64(nil), `[null]`}, "slice empty": {[]int64{}, `[[]]`},
		"map": {map[string]int{"a": 1}, `[{"a":1}]`}, "map nil": {map[string]int(nil), `[null]`}, "map empty": {map[string]int{}, `[{}]`},
		"map int keys": {map[int]string{-1: "a"}, `[{"-1":"a"}]`}, "map text keys": {map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, `[{"::1":1}]`},
		"pointer": {&number, `[7]`}, "pointer nil": {(*int)(nil), `[null]`}, "pointers": {[]*int{&number, nil}, `[[7,null]]`},
		"struct": {point{1, -2}, `[{"X":1,"Y":-2}]`}, "struct empty": {struct{}{}, `[{}]`}, "set": {map[string]struct{}{"a": {}}, `[{"a":{}}]`},
		"embedded": {outer{Inner{A: 1}, lower{3}, "b"}, `[{"A":1,"C":3,"B":"b"}]`}, "embedded pointer": {embedsPointer{&Inner{1, 2}, 3}, ""},
		"book": {aBook(), ""}, "names by case": {struct{ Name, NAME int }{1, 2}, `[{"Name":1,"NAME":2}]`},
		"time": {time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.UTC), `["2024-02-29T23:59:59.999999999Z"]`}, "time zero": {time.Time{}, ""},
		"duration": {time.Second, `[1000000000]`}, "*big.Int": {new(big.Int).Lsh(big.NewInt(-3), 200), ""}, "big.Int": {*big.NewInt(7), `[7]`},
		"big.Rat": {*big.NewRat(22, 7), `["22/7"]`}, "level": {level(3), `["level-3"]`}, "levels": {[]level{1}, `[["level-1"]]`},
		"raw": {json.RawMessage(`{"a": 1}`), `[{"a":1}]`}, "json.Number": {json.Number("1e400"), `[1e400]`}, "url.Values": {url.Values{"a": {"1"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, body, err := through(jsonCoder, c.v)
			require.NoError(t, err)
			if c.body != "" {
				assert.Equal(t, c.body, body)
			}
			if name != "raw" { // which loses its spaces
				assert.True(t, reflect.DeepEqual(c.v, got), "%#v comes back as %#v", c.v, got)
			}
			assert.NoError(t, jsonFaults("result 1", reflect.TypeOf(c.v)))
		})
	}
}

func TestJSONKeepsTheOrderOfResults(t *testing.T) {
	for _, n := range []int{0, 1, 2, 30} {
		from, into := make([]any, n), make([]any, n)
		for i := range n {
			from[i], into[i] = &i, new(int)
		}
		body, err := jsonCoder.encode([]byte("before"), from)
		require.NoError(t, err)
		body, found := bytes.CutPrefix(body, []byte("before"))
		require.True(t, found)
		require.True(t, json.Valid(body))
		require.NoError(t, jsonCoder.decode(body, into))
		assert.Equal(t, from, into)
		assert.Error(t, jsonCoder.decode(body, append(into, new(int))))
		if n > 0 {
			assert.Error(t, jsonCoder.decode(body, into[1:]))
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

func TestWhatJSONWouldLoseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		v    any
		text string // "" if it is not refused
	}{
		"marshals to binary only":             {onlyBinary{1}, "fncache.onlyBinary has no exported field, so nothing of it would be stored; export its fields, or give it MarshalJSON and UnmarshalJSON"},
		"marshals to CBOR only":               {private2{}, "fncache.private2.B (fncache.private) has no exported field"},
		"a URL's user":                        {url.URL{}, "url.URL.User (url.Userinfo) has no exported field"},
		"pointer method":                      {byPointer{1}, ""},
		"pointer method in a slice":           {map[string][]byPointer{"a": {{1}}}, ""},
		"pointer method in a map":             {map[string]byPointer{"a": {1}}, "has its MarshalJSON from a pointer, and in a map it is not called; give the method to the value, or put pointers into the map"},
		"pointers in a map":                   {map[string]*byPointer{"a": {1}}, ""},
		"pointer method in a struct in a map": {map[string]struct{ P byPointer }{}, "has its MarshalJSON from a pointer"},
		"written, not read":                   {writesOnly{1}, "has a MarshalJSON, but no UnmarshalJSON to read it back; add it"},
		"read, not written":                   {readsOnly{1}, "has a UnmarshalJSON, but no MarshalJSON to write what it reads; add it"},
		"a text that is a key":                {map[textString]int{"a": 1}, "does not survive being stored as a key of a map"},
		"a text":                              {[]textString{"a"}, ""},
		"struct keys":                         {map[point]int{{1, 2}: 3}, "fncache.point) does not survive being stored as a key of a map; use a string, an integer"},
		"bool keys":                           {map[bool]int{true: 1}, "as a key of a map"},
		"float keys":                          {map[float64]int{1: 1}, "as a key of a map"},
		"embedded marshaler alone":            {stamped{byValue{1}}, ""},
		"embedded marshaler":                  {alsoStamped{byValue{1}, 2}, "has its encoding from an embedded field, and the other fields would be lost"},
		"embedded time": {struct {
			time.Time
			A int
		}{}, "has its encoding from an embedded field"},
	} {
		t.Run(name, func(t *testing.T) {
			err := jsonFaults("result 1", reflect.TypeOf(c.v))
			got, _, trip := through(jsonCoder, c.v)
			if c.text == "" {
				require.NoError(t, err)
				require.NoError(t, trip)
				assert.True(t, reflect.DeepEqual(c.v, got))
				return
			}
			require.ErrorContains(t, err, "result 1: ")
			require.ErrorContains(t, err, c.text)
			for range 2 { // the second time it is known
				_, _, trip = through(jsonCoder, c.v)
				require.ErrorContains(t, trip, "encode result 1 ("+reflect.TypeOf(c.v).String()+"): as JSON: ")
			}
		})
	}
}

func TestWhatJSONCannotSayIsAnError(t *testing.T) {
	for _, v := range []any{math.NaN(), math.Inf(1), float32(math.Inf(-1)), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, _, err := through(jsonCoder, v)
		assert.ErrorContains(t, err, "encode result 1 (")
	}
	got, _, err := through(jsonCoder, "a\xff")
	require.NoError(t, err)
	assert.Equal(t, "a\ufffd", got, "and that is lost")
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
		"trailing":        {`[1,"a"] x`, "corrupt entry: there is something behind the array"},
		"a second array":  {`[1,"a"][]`, "corrupt entry: there is something behind the array"},
		"no end":          {`[1,"a"`, "corrupt entry: the body does not end after 2 results"},
		"cut in a string": {`[1,"a`, "decode result 2 (string): ends too early"},
		"wrong type":      {`[1,1234567890]`, "decode result 2 (string): cannot put a JSON number into string"},
		"too large":       {`[99999999999999999999,"a"]`, "decode result 1 (int): cannot put a JSON number into int"},
		"malformed":       {`[1,secret]`, "decode result 2 (string): is no JSON at byte "},
	} {
		t.Run(name, func(t *testing.T) {
			err := jsonCoder.decode([]byte(c.body), []any{new(int), new(string)})
			require.ErrorContains(t, err, c.text)
			assert.NotContains(t, err.Error(), "secret")
			assert.NotContains(t, err.Error(), "1234567890")
			assert.NotContains(t, err.Error(), "99999999")
		})
	}
	err := jsonCoder.decode([]byte(`[{"X":1,"Z":2}]`), []any{new(point)})
	assert.ErrorContains(t, err, "decode result 1 (fncache.point): ", "a field that the type has not")
	err = jsonCoder.decode([]byte(`[{"X":"secret"}]`), []any{new(point)})
	assert.ErrorContains(t, err, "cannot put a JSON string into int, in X")
	body, err := jsonCoder.encode(nil, []any{new(aBook()), new("text")})
	require.NoError(t, err)
	for n := range body {
		require.Error(t, jsonCoder.decode(body[:n:n], []any{new(book), new(string)}), "%d bytes", n)
	}
}

func TestPanicsOfJSONMarshalersAreErrors(t *testing.T) {
	for _, mood := range []string{"panics", "panics with an error", "breaks", "fails"} {
		for _, verb := range []string{"encode", "decode"} {
			_, _, err := through(jsonCoder, moodyText{moody(verb + " " + mood)})
			require.ErrorContains(t, err, verb)
			assert.NotContains(t, err.Error(), quoted)
		}
	}
}

func TestJSONEntriesCanBeReadInRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fn := func(context.Context, int64) (point, string, error) { return point{1, 2}, "<näh>", nil }
		f := must(Wrap(&fn, Options{Cache: b.cache(func(c *Config) { c.Codec = JSON{} }), Name: "test.Point", Timeout: time.Minute}))
		for range 2 {
			got, text, err := fn(t.Context(), 7)
			require.NoError(t, err)
			require.Equal(t, point{1, 2}, got)
			require.Equal(t, "<näh>", text)
		}
		raw, err := b.redis.Get(must(f.Key(7)))
		require.NoError(t, err)
		assert.Equal(t, `[{"X":1,"Y":2},"<näh>"]`, raw[envelopeHeaderLen:])
		assert.Equal(t, codecJSON, raw[codecOffset])
		assert.Equal(t, uint64(1), f.Stats().Fresh)
	})
}

func TestWhatJSONWouldLoseIsAnErrorWhenWrappingOrNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		cache := b.cache(func(c *Config) { c.Codec = JSON{} })
		fn := func(context.Context) (onlyBinary, error) { return onlyBinary{7}, nil }
		opts := Options{Name: "test.Lossy", Timeout: time.Minute, Cache: cache}
		_, err := Wrap(&fn, opts)
		require.ErrorContains(t, err, "result 1: fncache.onlyBinary has no exported field")

		opts.Cache = nil // found at the first call
		f := must(Wrap(&fn, opts))
		defer f.Unwrap()
		SetDefault(cache)
		defer SetDefault(nil)
		for range 2 {
			got, err := fn(t.Context())
			require.NoError(t, err)
			assert.Equal(t, onlyBinary{7}, got, "as it is")
		}
		assert.Equal(t, uint64(2), f.Stats().Computations)
		assert.Zero(t, f.Stats().Stored)
		assert.Len(t, b.log.about("result cannot be stored"), 1)
		assert.Len(t, b.log.about("export its fields, or give it MarshalJSON"), 1)
	})
}

// FuzzJSON: whatever the bytes are, they are results or an error.
func FuzzJSON(f *testing.F) {
	lists := fuzzTypes()
	for i, results := range fuzzSamples() {
		from := pointersTo(lists[i])
		for i, v := range results {
			reflect.ValueOf(from[i]).Elem().Set(v)
		}
		body, err := jsonCoder.encode(nil, from)
		if err != nil {
			require.ErrorContains(f, err, "unsupported value: +Inf")
			continue
		}
		require.NoError(f, jsonCoder.decode(body, pointersTo(lists[i])))
		f.Add(body)
	}
	f.Add([]byte(`[{"A":1}]`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := string(body)
		for _, list := range lists {
			into := pointersTo(list)
			err := jsonCoder.decode(body, into)
			require.Equal(t, kept, string(body))
			if err != nil {
				continue
			}
			once, err := jsonCoder.encode(nil, into)
			if err != nil {
				continue // a NaN that a text can say
			}
			again := pointersTo(list)
			require.NoError(t, jsonCoder.decode(once, again))
			twice, err := jsonCoder.encode(nil, again)
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
