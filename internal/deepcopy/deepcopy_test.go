package deepcopy

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/specimen"
)

// everyKind has every kind of reference that can be copied.
type everyKind struct {
	embedded
	Bool    bool
	Number  int16
	Text    string
	Bytes   []byte
	Words   []uint32
	Texts   []string
	Nested  [][]int64
	Structs []embedded
	Array   [3][]int8
	Flat    [2]struct{ A, B float64 }
	Map     map[string]int
	Deep    map[[2]int8]map[string][]*string
	Pointer *int
	Far     **[]string
	Named   namedPointer
	Empty   []struct{}
	Keys    map[struct{ A string }]struct{}
}

type embedded struct {
	List []string
	Flag bool
}

type namedPointer *embedded

func TestCopiesAreEqualAndShareNothing(t *testing.T) {
	plan := Compile([]reflect.Type{reflect.TypeOf(everyKind{})})
	require.NotNil(t, plan)
	values := rapid.Make[everyKind]()
	rapid.Check(t, func(t *rapid.T) {
		was := values.Draw(t, "value")
		is := was
		plan.Deepen(0, reflect.ValueOf(&is).UnsafePointer())
		require.Equal(t, was, is)
		seen := make(map[uintptr]bool)
		references(reflect.ValueOf(was), func(at uintptr) { seen[at] = true })
		references(reflect.ValueOf(is), func(at uintptr) {
			require.False(t, seen[at], "a reference is shared")
		})
	})
}

// references visits the addresses of all memory that v refers to and that can be
// written to.
func references(v reflect.Value, visit func(uintptr)) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Cap() > 0 && v.Type().Elem().Size() > 0 {
			visit(v.Pointer())
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			references(v.Index(i), visit)
		}
	case reflect.Map:
		if !v.IsNil() {
			visit(v.Pointer())
		}
		for entry := v.MapRange(); entry.Next(); {
			references(entry.Key(), visit)
			references(entry.Value(), visit)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Pointer())
			references(v.Elem(), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			references(v.Field(i), visit)
		}
	}
}

func TestNilAndEmptyAreCopiedAsSuch(t *testing.T) {
	for _, v := range []any{
		[]int(nil),
		[]int{},
		[]string(nil),
		[]string{},
		map[string]int(nil),
		map[string]int{},
		(*int)(nil),
		[]struct{}{{}},
		make([]byte, 3, 10),
	} {
		was := reflect.ValueOf(v)
		is := reflect.New(was.Type()).Elem()
		is.Set(was)
		Compile([]reflect.Type{was.Type()}).Deepen(0, is.Addr().UnsafePointer())
		assert.Equal(t, v, is.Interface(), "%T", v)
		if was.Kind() == reflect.Slice && was.Type().Elem().Size() > 0 {
			assert.Equal(t, was.Len(), is.Cap(), "there is no room for an append to be seen by others")
		}
	}
}

func TestTypesWithHiddenReferencesCannotBeCopied(t *testing.T) {
	type hidden struct {
		A    int
		refs []int
	}
	type hiddenFlat struct {
		A int
		b string
	}
	const (
		flat = iota
		copied
		encoded
	)
	_, _ = hidden{}.refs, hiddenFlat{}.b
	for _, test := range []struct {
		value any
		want  int
	}{
		{1, flat},
		{"", flat},
		{1i, flat},
		{time.Time{}, flat},
		{netip.Addr{}, flat},
		{[3]netip.Prefix{}, flat},
		{hiddenFlat{}, flat},
		{struct {
			time.Time
			A [2]string
		}{}, flat},
		{[]int{}, copied},
		{[]time.Time{}, copied},
		{map[string]bool{}, copied},
		{new(int), copied},
		{struct{ A *time.Time }{}, copied},
		{struct{ embedded }{}, copied},
		{json.RawMessage{}, copied},
		{big.Int{}, encoded},
		{new(big.Int), encoded},
		{[]big.Float{}, encoded},
		{url.URL{}, copied},
		{map[string]*big.Rat{}, encoded},
		{hidden{}, encoded},
		{[]hidden{}, encoded},
		{struct {
			time.Time
			A []string
		}{}, copied},
		{specimen.Tags{}, copied},
		{struct{ C chan int }{}, encoded},
		{struct{ A any }{}, encoded},
		{[1]func(){}, encoded},
	} {
		p := Compile([]reflect.Type{reflect.TypeOf(test.value)})
		got := encoded
		switch {
		case p != nil && p.deepen[0] == nil:
			got = flat
		case p != nil:
			got = copied
		}
		assert.Equal(t, test.want, got, "%T", test.value)
	}
}

// argument has fields of all kinds that a parameter may have, with and without references.
type argument struct {
	embedded
	Bytes   []byte
	Words   [2][]uint32
	Texts   [][]string
	Map     map[string][]int
	Structs []embedded
	Number  int
	Left    *int `fncache:"-"` // the caller is responsible for it
}

func TestCopiesOfArgumentsAreEqualAndShareOnlyIgnoredFields(t *testing.T) {
	require.True(t, Shares(reflect.TypeFor[argument]()))
	values := rapid.Make[argument]()
	rapid.Check(t, func(t *rapid.T) {
		was := values.Draw(t, "value")
		is := Arguments([]reflect.Value{reflect.ValueOf(was)})[0].Interface().(argument)
		require.Equal(t, was, is)
		require.Same(t, was.Left, is.Left)
		was.Left, is.Left = nil, nil
		seen := make(map[uintptr]bool)
		references(reflect.ValueOf(was), func(at uintptr) { seen[at] = true })
		references(reflect.ValueOf(is), func(at uintptr) {
			require.False(t, seen[at], "a reference is shared")
		})
	})
}

func TestNumbersOfMathBigAreCopiedWithTheirDigits(t *testing.T) {
	n, r, f := big.NewInt(7), big.NewRat(7, 2), big.NewFloat(7)
	copies := Arguments([]reflect.Value{reflect.ValueOf(*n), reflect.ValueOf(*r), reflect.ValueOf(*f)})
	n.SetInt64(9) // into the same digits
	r.SetFrac64(9, 5)
	f.SetUint64(9)
	i, q, x := copies[0].Interface().(big.Int), copies[1].Interface().(big.Rat), copies[2].Interface().(big.Float)
	assert.Equal(t, "7 7/2 7", i.String()+" "+q.String()+" "+x.String())
}

func TestOnlyArgumentsThatShareMemoryAreCopied(t *testing.T) {
	for _, value := range []any{1, "text", time.Now(), [2]string{"a"}, struct{ A, B int }{1, 2}, netip.Addr{}} {
		assert.False(t, Shares(reflect.TypeOf(value)), "%T", value)
	}
	for _, value := range []any{[]int{}, map[string]int{}, [1][]int{}, struct{ A []int }{}, big.Int{}, []big.Rat{}} {
		assert.True(t, Shares(reflect.TypeOf(value)), "%T", value)
	}
}

func TestFootprint(t *testing.T) {
	for _, test := range []struct {
		value any
		want  uintptr
	}{
		{1, 0},
		{"four", 4},
		{[]int64{1, 2}, 16},
		{[]string{"a", "bc"}, 2*16 + 3},
		{new(int64), 8},
		{(*int64)(nil), 0},
		{struct {
			A string
			B []byte
		}{"abc", []byte("de")}, 5},
		{[2]string{"ab", "c"}, 3},
		{time.Now(), 0},
		{map[int64]int64{1: 2}, 48 + 8*17},
		{map[int64]int64{}, 48},
		{map[int64]int64(nil), 0},
		{map[string]int64{"abc": 2}, 48 + 8*25 + 3},
	} {
		assert.Equal(t, test.want, Footprint(reflect.ValueOf(test.value)), "%T", test.value)
	}
}

func TestFootprintIsCloseToTheMemoryOfACopy(t *testing.T) {
	manyMaps := make([]map[string]int, 20)
	for i := range manyMaps {
		manyMaps[i] = map[string]int{"a": i}
	}
	large := make(map[int]int)
	for i := range 1000 {
		large[i] = i
	}
	for _, value := range []any{
		manyMaps, large,
		map[string]int{"a": 1},
		map[int64]*[4]int{1: {}, 2: {}},
		make([]int, 100),
		[]*[2]int{{}, {}, {}, {}},
		[][]int{{1, 2, 3, 4}, {1, 2, 3, 4}},
	} {
		deepen, ok := deepenerOf(reflect.TypeOf(value))
		require.True(t, ok)
		// The total is large compared to what the process allocates or frees meanwhile.
		const total = 8 << 20
		copies := make([]reflect.Value, total/Footprint(reflect.ValueOf(value)))
		for i := range copies {
			copies[i] = reflect.New(reflect.TypeOf(value))
			copies[i].Elem().Set(reflect.ValueOf(value))
		}
		before := heapInUse()
		for _, v := range copies {
			deepen(v.UnsafePointer())
		}
		took := float64(heapInUse()-before) / float64(len(copies))
		assert.InDelta(t, 1, took/float64(Footprint(copies[0].Elem())), 0.6, "%T: %.0f bytes", value, took)
		runtime.KeepAlive(copies)
	}
}

func heapInUse() int64 {
	for range 3 { // so that leftovers of earlier tests in pools and finalizers are freed
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
