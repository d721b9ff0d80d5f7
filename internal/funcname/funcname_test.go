package funcname

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mitchellh/hashstructure/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func topLevel(int) int { return 0 }

type shop struct{}

func (shop) Value(int) int        { return 0 }
func (*shop) Pointer(int) int     { return 0 }
func generic[T any](int) int      { var t T; _ = t; return 0 }
func closure(n int) func(int) int { return func(int) int { return n } }

type genericShop[T any] struct{}

func (*genericShop[T]) Find(int) int { return 0 }

// ünïcode has a name that is not ASCII.
func ünïcode(int) int { return 0 }

var packageLevel = func(int) int { return 0 }

const ownPackage = "github.com/fncache/fncache/internal/funcname"

func TestNames(t *testing.T) {
	made := reflect.MakeFunc(reflect.TypeFor[func(int) int](), func([]reflect.Value) []reflect.Value { return nil }).Interface()
	bound := reflect.ValueOf(&shop{}).MethodByName("Pointer").Interface()
	type local struct{ *shop }
	const (
		field     = "example.com/shop.Service.Top"
		isClosure = "the func is a closure"
		isMade    = "the func was made by reflection"
	)
	for _, test := range []struct {
		what   string
		fn     any
		inFree string // the name by Wrap; "" if there is none
		inTag  string // the name by WrapStruct
		refuse string // the error by Wrap
	}{
		{"top-level function", topLevel, ownPackage + ".topLevel", ownPackage + ".topLevel", ""},
		{"function of another package", strings.ToUpper, "strings.ToUpper", "strings.ToUpper", ""},
		{"function of a package with a dot", hashstructure.Hash, "github.com/mitchellh/hashstructure/v2.Hash", "github.com/mitchellh/hashstructure/v2.Hash", ""},
		{"name that is not ASCII", ünïcode, ownPackage + ".ünïcode", ownPackage + ".ünïcode", ""},
		{"method expression", shop.Value, ownPackage + ".shop.Value", ownPackage + ".shop.Value", ""},
		{"method expression of the pointer", (*shop).Pointer, ownPackage + ".(%2Ashop).Pointer", ownPackage + ".(%2Ashop).Pointer", ""},
		{"method value", shop{}.Value, ownPackage + ".shop.Value-fm", field, ""},
		{"method value of the pointer", (&shop{}).Pointer, ownPackage + ".(%2Ashop).Pointer-fm", field, ""},
		{"method value of a generic type", (&genericShop[int]{}).Find, ownPackage + ".(%2AgenericShop%5B...%5D).Find-fm", field, ""},
		{"instance of a generic function", generic[int], ownPackage + ".generic%5B...%5D", field, ""},
		{"method expression of a type inside a function", local.Pointer, "", field, isClosure},
		{"closure", closure(1), "", field, isClosure},
		{"closure of a package variable", packageLevel, "", field, isClosure},
		{"closure of a closure", func() func(int) int { return func(int) int { return 0 } }(), "", field, isClosure},
		{"closure that only calls a declared function", func(i int) int { return topLevel(i) }, "", field, isClosure},
		{"made by reflection", made, "", field, isMade},
		{"bound by reflection", bound, "", field, isMade},
	} {
		t.Run(test.what, func(t *testing.T) {
			fn := reflect.ValueOf(test.fn)
			n, err := Of(fn, "", "")
			if test.refuse != "" {
				require.ErrorContains(t, err, test.refuse)
				require.ErrorContains(t, err, "set Options.Name")
			} else {
				require.NoError(t, err)
				require.NoError(t, Check("name", n.Key))
			}
			assert.Equal(t, test.inFree, n.Key)
			assert.Regexp(t, `^(\w+\.go:\d+)?$`, n.Where)
			tagged, err := Of(fn, "", field)
			require.NoError(t, err)
			assert.Equal(t, test.inTag, tagged.Key)
			given, err := Of(fn, "mine", field)
			require.NoError(t, err)
			assert.Equal(t, "mine", given.Key)
			declared := test.inFree == test.inTag
			assert.Equal(t, []bool{declared, declared, declared}, []bool{n.Declared, tagged.Declared, given.Declared})
		})
	}
}

func TestTheCompilersOwnNamesAreNoNames(t *testing.T) {
	for symbol, want := range map[string]form{
		"F": formDeclared, "T.M": formDeclared, "(*T).M": formDeclared, "func1": formDeclared, "Größe.Größe": formDeclared, "T.func1x": formDeclared,
		"T.M-fm": formBound, "(*T).M-fm": formBound, "F[...]": formBound, "T[...].M": formBound, "(*T[...]).M": formBound, "(*T[...]).M-fm": formBound,
		"F.func1": formClosure, "F.func1.2": formClosure, "F.G.func1": formClosure, "init.func1": formClosure, "init.0": formClosure, "glob..func1": formClosure,
		"(*T).M.func1": formClosure, "T.M.func1": formClosure, "F[...].func1": formClosure, "F.gowrap1": formClosure, "F.deferwrap2": formClosure, "F-range1": formClosure,
		"F.func1-range1": formClosure, "struct { io.Reader }.Read": formClosure, "F.func1.G": formClosure, "": formClosure,
		"T·1.M": formClosure, "(*T·12).M": formClosure, "T·1.M-fm": formClosure,
	} {
		assert.Equal(t, want, formOf("example.com/shop."+symbol), symbol)
	}
	assert.Equal(t, formMade, formOf("reflect.makeFuncStub"))
	assert.Equal(t, formMade, formOf("reflect.methodValueCall"))
}

func TestDerivedNamesAreEscaped(t *testing.T) {
	for _, test := range []struct{ full, pkg, symbol string }{
		{"example.com/shop.F", "example.com/shop", "F"},
		{"gopkg.in/yaml%2ev3.(*T).M", "gopkg.in/yaml.v3", "(*T).M"},
		{"main.F", "main", "F"},
		{"a.b/c.d/e.F.func1", "a.b/c.d/e", "F.func1"},
		{"nothing", "", "nothing"},
	} {
		pkg, symbol := splitSymbol(test.full)
		assert.Equal(t, []string{test.pkg, test.symbol}, []string{pkg, symbol}, test.full)
	}
	assert.Equal(t, "shop.(%2AT%5B...%5D).M-fm", escape("shop.(*T[...]).M-fm"))
	assert.Equal(t, "T%5Bstruct%20%7B%20A%20int%20%7D%5D", escape("T[struct { A int }]"))
	assert.Equal(t, "a%3Ab%25c%0A%FFé%E2%80%83\ufffd", escape("a:b%c\n\xffé\u2003\ufffd"))
	rapid.Check(t, func(t *rapid.T) {
		a, b := string(rapid.SliceOf(rapid.Byte()).Draw(t, "a")), string(rapid.SliceOf(rapid.Byte()).Draw(t, "b"))
		require.NoError(t, Check("name", escape(a)))
		require.False(t, strings.ContainsAny(escape(a), globSpecial))
		require.Equal(t, a == b, escape(a) == escape(b), "two names stay two")
	})
}

func TestGivenNamesAreChecked(t *testing.T) {
	for _, ok := range []string{"", "Author", "shop.TopBooks", "größe", "a/b-c_d(*e)[...]", "100%"} {
		require.NoError(t, Check("prefix", ok))
	}
	for _, bad := range []string{"a:b", "{a", "a}", "a b", "a\tb", "a\n", "a\x00", "\x7f", "a\u2003", "\xff"} {
		require.ErrorContains(t, Check("prefix", bad), "prefix", bad)
	}
}
