package signature

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/mitchellh/hashstructure/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/specimen"
)

// The types below are examples of parameters and results of users.
type (
	plainID   int64
	plainPage struct {
		Author string
		Years  []int
		Seen   map[string]bool
		At     time.Time
		Nested [2]struct{ A, B float32 }
	}
	withIgnored struct {
		ID    int
		Trace chan int `fncache:"-"`
		cache *int     `fncache:"-"` //nolint:unused // refused without its tag
	}
	keyIgnoring struct {
		SKU  string
		Note string `fncache:"-"`
	}
	keyBlank struct {
		SKU string
		_   int `fncache:"-"`
	}
	withUnexported struct {
		ID   int
		note string //nolint:unused // is what is refused
	}
	embedsUnexported struct {
		withUnexported
		ID int
	}
	EmbeddedOK struct{ Shelf string }
	embedsOK   struct {
		EmbeddedOK
		ID int
	}
	tagSet struct {
		IDs []int `fncache:"set"`
	}
	tagString struct {
		At time.Time `fncache:"string"`
	}
	tagIgnore struct {
		ID int `fncache:"ignore"`
	}
	otherTags struct {
		ID int `hash:"ignore" json:"-"`
	}
	recursive  struct{ Next []recursive }
	sliceOfIt  []sliceOfIt
	mapOfIt    map[string]mapOfIt
	hashable   struct{ ID int }
	hashString string
	includable struct{ ID int }
	includeMap struct{ M map[string]int }

	binaryKey  struct{ n int }
	textKey    struct{ n int }
	textFunc   func()
	pointerKey struct{ n int }
	dated      struct{ time.Time }
	datedShelf struct {
		time.Time
		Shelf string
	}
	ownEncoding struct {
		time.Time
		Shelf string
	}
	hiddenList  []specimen.Hidden
	encodedTree struct{ Children []encodedTree }
)

func (hashable) Hash() (uint64, error)                           { return 1, nil }
func (hashString) Hash() (uint64, error)                         { return 1, nil }
func (*includable) HashInclude(string, any) (bool, error)        { return false, nil }
func (includeMap) HashIncludeMap(string, any, any) (bool, error) { return false, nil }
func (k binaryKey) MarshalBinary() ([]byte, error)               { return []byte{byte(k.n)}, nil }
func (k textKey) MarshalText() ([]byte, error)                   { return []byte{byte(k.n)}, errIf(k.n < 0) }
func (textFunc) MarshalText() ([]byte, error)                    { return nil, nil }
func (k *pointerKey) MarshalText() ([]byte, error)               { return []byte{byte(k.n)}, nil }
func (o ownEncoding) MarshalBinary() ([]byte, error)             { return []byte(o.Shelf), nil }
func (o *ownEncoding) UnmarshalBinary(b []byte) error            { o.Shelf = string(b); return nil }
func (l hiddenList) MarshalBinary() ([]byte, error)              { return nil, errIf(len(l) > 9) }
func (t encodedTree) MarshalText() ([]byte, error)               { return nil, errIf(len(t.Children) > 9) }
func (k *binaryKey) UnmarshalBinary(b []byte) error              { k.n = int(b[0]); return nil }

var errEncoding = errors.New("no encoding for that")

func errIf(fails bool) error {
	if fails {
		return errEncoding
	}
	return nil
}

var (
	_ hashstructure.Hashable      = hashable{}
	_ hashstructure.Includable    = &includable{}
	_ hashstructure.IncludableMap = includeMap{}
	_ encoding.TextMarshaler      = textFunc(nil)
)

// param makes the type of a function with this parameter.
func param[T any]() reflect.Type { return reflect.TypeFor[func(context.Context, T) (int, error)]() }

// tagUnreadable is a function of a struct with a tag that go vet would refuse in source.
var tagUnreadable = reflect.FuncOf([]reflect.Type{reflect.StructOf([]reflect.StructField{
	{Name: "Note", Type: reflect.TypeFor[string](), Tag: `fncache: "-"`},
})}, []reflect.Type{reflect.TypeFor[int]()}, false)

// A typeTest is the type of a function, and whether it can be cached.
type typeTest struct {
	name  string
	typ   reflect.Type
	fault []string // parts of the error; none: accepted
}

// testTypes checks which functions are accepted, and the errors of the others.
func testTypes(t *testing.T, tests []typeTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := New(test.typ, false, codec.CBOR)
			if test.fault == nil {
				require.NoError(t, err)
				assert.Equal(t, test.typ.String(), s.String())
				return
			}
			for _, part := range test.fault {
				assert.ErrorContains(t, err, part)
			}
		})
	}
}

func TestParametersOfVisibleValuesAreAccepted(t *testing.T) {
	testTypes(t, []typeTest{
		{"no parameter", reflect.TypeFor[func() (int, error)](), nil},
		{"context only", reflect.TypeFor[func(context.Context) (int, error)](), nil},
		{"no context", reflect.TypeFor[func(int) (int, error)](), nil},
		{
			"context second", reflect.TypeFor[func(int, context.Context) (int, error)](),
			[]string{"parameter 2: context.Context cannot be part of a key; make it the first parameter"},
		},
		{"context twice", reflect.TypeFor[func(context.Context, context.Context) (int, error)](), []string{"parameter 2: context.Context"}},

		{"bool", param[bool](), nil},
		{"int", param[int](), nil},
		{"int8", param[int8](), nil},
		{"uint64", param[uint64](), nil},
		{"float32", param[float32](), nil},
		{"float64", param[float64](), nil},
		{"string", param[string](), nil},
		{"time", param[time.Time](), nil},
		{"named", param[plainID](), nil},
		{"duration", param[time.Duration](), nil},
		{"variadic", reflect.TypeFor[func(context.Context, ...string) (int, error)](), nil},
		{"empty struct", param[struct{}](), nil},

		{"array", param[[3]int](), nil},
		{"slice", param[[]string](), nil},
		{"bytes", param[[]byte](), nil},
		{"map", param[map[string][]int](), nil},
		{"map of structs", param[map[[2]int]plainPage](), nil},
		{"struct", param[plainPage](), nil},
		{"exported embedded struct", param[embedsOK](), nil},
		{"field left out of the key", param[withIgnored](), nil},
		{"another library's tags", param[otherTags](), nil},
	})
}

func TestParametersThatHideFieldsOrHashThemselvesAreRefused(t *testing.T) {
	testTypes(t, []typeTest{
		{"unexported field", param[withUnexported](), []string{
			"parameter 2: signature.withUnexported.note (string) is unexported", "share one entry", "export it", `fncache:"-"`,
		}},
		{"unexported field, deep", param[map[string][]withUnexported](), []string{"parameter 2: map[string][]signature.withUnexported[][].note (string)"}},
		{"embedded unexported struct", param[embedsUnexported](), []string{"signature.embedsUnexported.withUnexported (signature.withUnexported) is unexported"}},
		{"uuid-like array with unexported use", param[[16]byte](), nil},

		{"Hashable", param[hashable](), []string{"signature.hashable has a method Hash"}},
		{"Hashable that is no struct", param[hashString](), []string{"has a method Hash"}},
		{"Includable of the pointer", param[[]includable](), []string{"has a method HashInclude"}},
		{"IncludableMap", param[includeMap](), []string{"has a method HashIncludeMap"}},
		{"tagged set", param[tagSet](), []string{"signature.tagSet.IDs ([]int)", `fncache:"set"`, "leaves the field out"}},
		{"tagged string", param[tagString](), []string{`fncache:"string"`}},
		{"tagged ignore", param[tagIgnore](), []string{`fncache:"ignore"`}},
		{"tagged in a way that Go cannot read", tagUnreadable, []string{".Note (string) has the tag `fncache: \"-\"`", "write it as in"}},
		{"recursive struct", param[recursive](), []string{"contains itself"}},
		{"recursive slice", param[sliceOfIt](), []string{"contains itself"}},
		{"recursive map", param[mapOfIt](), []string{"contains itself"}},
	})
}

func TestParametersWithAnEncoding(t *testing.T) {
	testTypes(t, []typeTest{
		{"MarshalBinary", param[binaryKey](), nil},
		{"MarshalText", param[textKey](), nil},
		{"netip.Addr", param[netip.Addr](), nil},
		{"net.IP", param[net.IP](), nil},
		{"encodings deeper down", param[map[binaryKey][]struct{ A [2]textKey }](), nil},
		{"an encoding of the pointer", param[pointerKey](), nil},
		{"an encoding of the pointer, in a map", param[map[string]pointerKey](), nil},
		{"big.Int", param[big.Int](), nil},
		{"big.Float", param[[]big.Float](), nil},
		{"an order", param[specimen.Order](), nil},
		{"a visible type that has a pointer, and a text that says less", param[url.URL](), []string{"url.URL.User (*url.Userinfo) cannot be part of a key; pass what it points to by value, or what the MarshalBinary of url.URL returns"}},
		{"an unexported field beside an embedded encoding", param[specimen.TimeBeside](), []string{"specimen.TimeBeside has its MarshalBinary from an embedded field", "no part of the key"}},
		{"the same, deep", param[[]specimen.TimeBeside](), []string{"[]specimen.TimeBeside[] (specimen.TimeBeside) has its MarshalBinary"}},
		{"a list of what is hidden", param[[]specimen.Hidden](), []string{"[].n (int) is unexported", "give specimen.Hidden a MarshalBinary or MarshalText"}},
		{"a list with an encoding of what is hidden", param[hiddenList](), nil},
		{"a recursive type with an encoding", param[[]encodedTree](), nil},
		{"a blank field", param[specimen.Blank](), nil},
		{"a func with an encoding", param[textFunc](), []string{"cannot be part of a key"}},
		{"encoding of the one embedded field", param[dated](), nil},
		{"encoding of an embedded field among others, all visible", param[datedShelf](), nil},
		{"encoding of its own over an embedded one", param[ownEncoding](), nil},
	})
}

func TestParametersThatHaveNoValueAreRefused(t *testing.T) {
	testTypes(t, []typeTest{
		{"pointer", param[*int](), []string{"parameter 2: *int cannot be part of a key; pass what it points to by value"}},
		{"pointer with an encoding", param[*big.Int](), []string{"*big.Int cannot be part of a key"}},
		{"chan", param[chan int](), []string{"parameter 2: chan int cannot be part of a key; pass its id instead"}},
		{"func", param[func()](), []string{"func()"}},
		{"unsafe.Pointer", param[unsafe.Pointer](), []string{"unsafe.Pointer"}},
		{"uintptr", param[uintptr](), []string{"uintptr", "uint64"}},
		{"complex", param[complex128](), []string{"complex128", "two floats"}},
		{"any", param[any](), []string{"interface {}", "concrete type", "hash alike"}},
		{"error", param[error](), []string{"concrete type"}},
		{"interface with an encoding", param[encoding.TextMarshaler](), []string{"concrete type"}},
		{"slice of any", param[[]any](), []string{"parameter 2: []interface {}[] (interface {})"}},
		{"map of any", param[map[string]any](), []string{"interface"}},
	})
}

func TestKeysOfMapParameters(t *testing.T) {
	testTypes(t, []typeTest{
		{"map with pointer keys", param[map[*int]int](), []string{"[key] (*int)"}},
		{"map with float keys", param[map[float64]int](), nil},
		{"map with floats in its keys", param[map[[1]struct{ F float32 }]int](), nil},
		{"map with keys that have an encoding", param[map[netip.Addr]int](), nil},
		{"map with times as keys", param[map[time.Time]string](), []string{
			"parameter 2: map[time.Time]string[key] (time.Time) cannot be part of a map's key", "one instant", "UnixNano",
		}},
		{"map with times in its keys", param[[]map[[1]struct{ At time.Time }]int](), []string{"[][key][].At (time.Time)"}},
		{"map whose keys have a field left out", param[map[keyIgnoring]int](), []string{
			"parameter 2: map[signature.keyIgnoring]int[key].Note (string) is left out of a map's key", "hash alike", "slice of pairs",
		}},
		{"map whose keys have a field left out, deep", param[struct{ M map[[2]keyIgnoring]int }](), []string{".M[key][].Note (string)"}},
		{"map whose keys have a blank field left out", param[map[keyBlank]int](), nil},
		{"map whose values have a field left out, and a time", param[map[string]struct {
			At   time.Time
			Note string `fncache:"-"`
		}](), nil},
		{"variadic any", reflect.TypeFor[func(context.Context, ...any) (int, error)](), []string{"parameter 2: []interface {}[]"}},
		{"several faults", reflect.TypeFor[func(chan int, *int) (func(), error)](), []string{"parameter 1", "parameter 2", "result 1"}},
	})
}

type (
	resultBook struct {
		ID     int64
		Title  string
		Cover  []byte
		Scores map[string]float64
		Added  time.Time
		Price  *big.Int
		Site   url.URL
	}
	lossyBook struct {
		ID   int64
		note string //nolint:unused // not exported is what counts
	}
	onlyUnexported struct{ n int } //nolint:unused // not exported is what counts
	allLeftOut     struct {
		A int `fncache:"-"`
		B int `cbor:"-"`
	}
	chanLeftOut struct {
		ID   int
		Done chan int   `cbor:"-"`
		Stop func()     `fncache:"-"`
		mu   sync.Mutex `fncache:"-"` //nolint:unused // left out is what counts
	}
	chanNotLeftOut struct {
		ID   int
		Done chan int `json:"-"`
	}
	mistagged struct {
		A int `fncache:"timeout=1h"`
	}
	embedsLower  struct{ resultLower }
	resultLower  struct{ A int }
	readsNothing struct{ n int } //nolint:unused // not exported is what counts
	deepChan     struct {
		Books []map[string]struct{ Events chan int }
	}
	linked       struct{ Next *linked }
	linkedBinary struct{ next *linkedBinary } //nolint:unused // its type is what counts
	pointerSelf  *pointerSelf
)

func (readsNothing) MarshalBinary() ([]byte, error)  { return nil, nil }
func (linkedBinary) MarshalBinary() ([]byte, error)  { return nil, nil }
func (*linkedBinary) UnmarshalBinary(b []byte) error { return nil }

// stampedNote hides a field beside an embedded time, and encodes both.
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

// level is encoded as a text.
type level int

func (l level) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "level-%d", int(l)), nil }
func (l *level) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "level-%d", (*int)(l))
	return err
}

// notFound is an error of a type of its own.
type notFound struct{}

func (*notFound) Error() string { return "not found" }

// money has its MarshalText from level.
type money struct {
	level
	Currency string
}

func result[T any]() reflect.Type { return reflect.TypeFor[func() (T, error)]() }

// TestResults has the rules for results.
func TestResultsOfVisibleValuesAreAccepted(t *testing.T) {
	testTypes(t, []typeTest{
		{"one", reflect.TypeFor[func() int](), nil},
		{"one and error", result[int](), nil},
		{"several", reflect.TypeFor[func() (int, string, []byte, error)](), nil},
		{"none", reflect.TypeFor[func()](), []string{"no result to cache"}},
		{"only an error", reflect.TypeFor[func() error](), []string{"no result to cache"}},
		{"error first", reflect.TypeFor[func() (error, int)](), []string{"result 1: error", "only the last result"}},
		{
			"an error of a type of its own", reflect.TypeFor[func() (int, *notFound)](),
			[]string{"result 2: *signature.notFound is an error that would be stored like a value; declare the result as error"},
		},
		{"an error among the results", reflect.TypeFor[func() (notFound, error)](), nil},
		{"two errors", reflect.TypeFor[func() (error, error)](), []string{"result 1: error"}},

		{"struct", result[resultBook](), nil},
		{"pointer", result[*resultBook](), nil},
		{"slice of pointers", result[[]*resultBook](), nil},
		{"map", result[map[plainID][]resultBook](), nil},
		{"set", result[map[string]struct{}](), nil},
		{"time", result[time.Time](), nil},
		{"big.Float", result[big.Float](), nil},
		{"raw JSON", result[json.RawMessage](), nil},
		{"netip", result[map[netip.Addr]netip.Prefix](), nil},
		{"a fields left out", result[chanLeftOut](), nil},
		{"exported fields of an unexported embedded struct", result[embedsLower](), nil},
		{"recursive, but with an encoding", result[linkedBinary](), nil},
		{"uuid", result[[16]byte](), nil},
	})
}

func TestResultsThatDoNotSurviveBeingStoredAreRefused(t *testing.T) {
	testTypes(t, []typeTest{
		{"chan", result[chan int](), []string{"result 1: chan int does not survive being stored"}},
		{"func", result[func()](), []string{"func()"}},
		{"unsafe.Pointer", result[unsafe.Pointer](), []string{"unsafe.Pointer"}},
		{"uintptr", result[uintptr](), []string{"uintptr"}},
		{"complex", result[complex64](), []string{"complex64", "two floats"}},
		{"any", result[any](), []string{"interface {}", "concrete type"}},
		{"an interface with methods", result[net.Conn](), []string{"net.Conn"}},
		{"deep", result[deepChan](), []string{"signature.deepChan.Books[][].Events (chan int)"}},
		{"map of any", result[map[string]any](), []string{"map[string]interface {}[] (interface {})"}},
		{"recursive", result[linked](), []string{"contains itself", "MarshalBinary"}},
		{"recursive pointer", result[pointerSelf](), []string{"contains itself"}},
		{"no exported field", result[onlyUnexported](), []string{"no exported field"}},
		{"all fields left out", result[allLeftOut](), []string{"signature.allLeftOut has a tag \"-\" on every field, so nothing of it would be stored; remove a tag"}},
		{"left out for another codec", result[chanNotLeftOut](), []string{"signature.chanNotLeftOut.Done (chan int) does not survive being stored"}},
		{"a tag that says nothing", result[mistagged](), []string{"signature.mistagged.A (int) is tagged `fncache:\"timeout=1h\"`, which means nothing in a result; only \"-\" does"}},
	})
}

func TestResultsWithUnexportedFields(t *testing.T) {
	testTypes(t, []typeTest{
		{"unexported beside exported", result[*lossyBook](), []string{
			"result 1: *signature.lossyBook.note (string) is unexported, so it would be lost; export it, give signature.lossyBook MarshalBinary and UnmarshalBinary, " +
				"tag the field `fncache:\"-\"` to leave it out on purpose, or accept such losses by Options.Lossy (tag lossy)",
		}},
		{"a regular expression", result[*regexp.Regexp](), []string{"*regexp.Regexp does not come back from its text as it was", "return its String"}},
		{"unexported beside an embedded encoding", result[money](), []string{
			"signature.money.level (signature.level) is unexported", "give signature.money a MarshalText and UnmarshalText of its own (those of an embedded field do not cover the others)",
		}},
		{"unexported beside an embedded time", result[specimen.TimeBeside](), []string{"specimen.TimeBeside.note (string) is unexported", "MarshalBinary and UnmarshalBinary of its own"}},
		{"unexported beside an embedded time, with an encoding of its own", result[[]stampedNote](), nil},
		{"unexported, generic", result[map[string]*boxOfAny[[]int]](), nil},
	})
}

func TestKeysOfMapResults(t *testing.T) {
	testTypes(t, []typeTest{
		{"keys by address", result[map[*int]int](), []string{"map[*int]int[key] (*int) cannot be the key of a stored map: it may be compared by an address; use a string"}},
		{"keys that hide an address", result[map[specimen.Decimal]int](), []string{"[key].value (*big.Int) cannot be the key of a stored map"}},
		{"times as keys", result[map[[2]time.Time]int](), []string{"[key][] (time.Time) cannot be the key of a stored map: == also compares the address of a time's zone; use its UnixNano"}},
		{"keys with a field left out", result[map[keyIgnoring]int](), []string{"[key].Note (string) is left out of a map's key by its tag"}},
	})
}

func TestResultsWithAnEncoding(t *testing.T) {
	testTypes(t, []typeTest{
		{"a lock", result[*sync.Mutex](), []string{"no exported field"}},
		{"a location", result[*time.Location](), []string{"no exported field"}},
		{"encoding without decoding", result[[]readsNothing](), []string{"has a MarshalBinary, but no UnmarshalBinary"}},
		{"encoding of an embedded field", result[datedShelf](), nil},
		{"encoding of an embedded field of an embedding", result[struct{ D []datedShelf }](), nil},
		{"float keys", result[map[float64]int](), nil},
		{"keys that encode themselves", result[map[netip.AddrPort]map[specimen.ID]int](), nil},
		{"encoding of its own", result[ownEncoding](), nil},
	})
}

func TestArgumentsAreConvertedWhereNothingIsLost(t *testing.T) {
	type (
		name  string
		lists []int
	)
	variadic := reflect.TypeFor[func(context.Context, string, ...int64) (int, error)]()
	for _, test := range []struct {
		name string
		typ  reflect.Type
		args []any
		want any    // the last argument made
		err  string // or part of the error
	}{
		{"exact", param[int64](), []any{int64(42)}, int64(42), ""},
		{"int for int64", param[int64](), []any{42}, int64(42), ""},
		{"int for a named one", param[plainID](), []any{42}, plainID(42), ""},
		{"int64 for int8", param[int8](), []any{int64(-128)}, int8(-128), ""},
		{"too large for int8", param[int8](), []any{128}, nil, "argument 1, of type int, does not convert to int8 without loss"},
		{"negative for unsigned", param[uint64](), []any{-1}, nil, "without loss"},
		{"large unsigned for signed", param[int64](), []any{uint64(math.MaxUint64)}, nil, "without loss"},
		{"int for float", param[float64](), []any{1 << 53}, float64(1 << 53), ""},
		{"int that a float rounds", param[float64](), []any{1<<53 + 1}, nil, "without loss"},
		{"largest int for float", param[float64](), []any{math.MaxInt64}, nil, "without loss"},
		{"whole float for int", param[int](), []any{42.0}, 42, ""},
		{"broken float for int", param[int](), []any{42.5}, nil, "without loss"},
		{"float out of range", param[int64](), []any{1e300}, nil, "without loss"},
		{"NaN for int", param[int64](), []any{math.NaN()}, nil, "without loss"},
		{"float for float32", param[float32](), []any{0.5}, float32(0.5), ""},
		{"float that float32 rounds", param[float32](), []any{0.1}, nil, "without loss"},
		{"bool for int", param[int](), []any{true}, nil, "without loss"},
		{"int for string", param[string](), []any{65}, nil, "of type int, does not convert to string"},
		{"string for bytes", param[[]byte](), []any{"ab"}, nil, "without loss"},
		{"string for a named one", param[name](), []any{"ab"}, name("ab"), ""},
		{"slice for a named one", param[lists](), []any{[]int{1}}, lists{1}, ""},
		{"nil for a slice", param[[]int](), []any{nil}, []int(nil), ""},
		{"nil for a string", param[string](), []any{nil}, nil, "argument 1, of type nil,"},
		{"struct", param[embedsOK](), []any{embedsOK{ID: 3}}, embedsOK{ID: 3}, ""},
		{"pointer for a struct", param[embedsOK](), []any{&embedsOK{ID: 3}}, nil, "without loss"},

		{"too few", param[int](), nil, nil, "0 arguments given, 1 wanted, without the context"},
		{"too many", param[int](), []any{1, 2}, nil, "2 arguments given, 1 wanted"},
		{"with the context", param[int](), []any{context.Background()}, nil, "argument 1 is a context; leave it out"},
		{"with the context too", param[int](), []any{context.Background(), 1}, nil, "without the context"},
		{"none", reflect.TypeFor[func() int](), nil, nil, ""},

		{"variadic: none", variadic, []any{"a"}, []int64{}, ""},
		{"variadic: some", variadic, []any{"a", 1, int8(2)}, []int64{1, 2}, ""},
		{"variadic: as a slice", variadic, []any{"a", []int64{1, 2}}, []int64{1, 2}, ""},
		{"variadic: wrong type", variadic, []any{"a", "b"}, nil, "argument 2, of type string, does not convert to int64"},
		{"variadic: wrong type later", variadic, []any{"a", 1, "b", 2}, nil, "argument 3, of type string, does not convert to int64"},
		{"variadic: too few", variadic, nil, nil, "at least 1 wanted"},
		{"variadic: nil", variadic, []any{"a", nil}, nil, "argument 2, of type nil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := New(test.typ, false, codec.CBOR)
			require.NoError(t, err)
			values, err := s.Arguments(test.args)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.ErrorContains(t, err, test.typ.String(), "the signature is shown")
				return
			}
			require.NoError(t, err)
			require.Len(t, values, len(s.Params))
			if len(values) > 0 {
				assert.Equal(t, test.want, values[len(values)-1].Interface())
			}
		})
	}
}
