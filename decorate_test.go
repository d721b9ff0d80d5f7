package fncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lengthOf is a function to be cached.
func lengthOf(_ context.Context, s string) (int, error) { return len(s), nil }

// sameFunc reports whether two funcs run the same code.
func sameFunc(a, b any) bool { return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() }

// assertFaults checks that each line of an error is one of the faults, and that
// all are there.
func assertFaults(t *testing.T, err error, faults ...string) {
	t.Helper()
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	assert.Len(t, lines, len(faults), "%v", err)
	for i, fault := range faults {
		assert.Contains(t, lines[min(i, len(lines)-1)], fault)
	}
}

// ---- Wrap

func TestWrapReplacesAFieldOrVariableAndUnwrapPutsItBack(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var svc struct {
			Length func(context.Context, string) (int, error)
		}
		svc.Length = lengthOf
		f, err := Wrap(&svc.Length, Options{Cache: b.cache(), Timeout: time.Minute})
		require.NoError(t, err)
		assert.Equal(t, "github.com/fncache/fncache_test.lengthOf", f.Name())
		assert.False(t, sameFunc(lengthOf, svc.Length))
		for range 3 {
			n, err := svc.Length(t.Context(), "four")
			require.NoError(t, err)
			assert.Equal(t, 4, n)
		}
		s := requireIdentity(t, f)
		assert.EqualValues(t, 1, s.Computed)
		assert.EqualValues(t, 2, s.Fresh)

		copied := svc.Length
		f.Unwrap()
		f.Unwrap()
		assert.True(t, sameFunc(lengthOf, svc.Length))
		n, err := copied(t.Context(), "four")
		require.NoError(t, err)
		assert.Equal(t, 4, n)
		assert.EqualValues(t, 3, f.Stats().Calls, "a copy of the wrapped function calls the original")
	})
}

func TestUnwrapLeavesAFunctionThatOtherCodeHasAssigned(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := lengthOf
		f, err := Wrap(&fn, Options{Cache: b.cache(), Timeout: time.Minute})
		require.NoError(t, err)
		theirs := func(context.Context, string) (int, error) { return -1, nil }
		fn = theirs
		f.Unwrap()
		assert.True(t, sameFunc(theirs, fn))
	})
}

func TestSignaturesThatAreCached(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		runs := 0

		none := func() int { runs++; return runs }
		_, err := Wrap(&none, Options{Cache: c, Name: "none", Timeout: time.Minute, OnCold: Wait})
		require.NoError(t, err)
		assert.Equal(t, 1, none())
		assert.Equal(t, 1, none(), "a function without parameters has one entry")

		many := func(_ context.Context, a, b string) (string, []string, error) {
			runs++
			return a + b, []string{a, b}, nil
		}
		_, err = Wrap(&many, Options{Cache: c, Name: "many", Timeout: time.Minute})
		require.NoError(t, err)
		for range 2 {
			joined, parts, err := many(t.Context(), "x", "y")
			require.NoError(t, err)
			assert.Equal(t, "xy", joined)
			assert.Equal(t, []string{"x", "y"}, parts)
		}
		assert.Equal(t, 2, runs)

		variadic := func(sep string, parts ...string) (string, error) {
			runs++
			return strings.Join(parts, sep), nil
		}
		f, err := Wrap(&variadic, Options{Cache: c, Name: "variadic", Timeout: time.Minute})
		require.NoError(t, err)
		for range 2 {
			for _, parts := range [][]string{nil, {"a"}, {"a", "b"}} {
				joined, err := variadic("-", parts...)
				require.NoError(t, err)
				assert.Equal(t, strings.Join(parts, "-"), joined)
			}
		}
		assert.Equal(t, 5, runs)
		require.NoError(t, f.Invalidate(t.Context(), "-", "a", "b"))
		_, err = variadic("-", "a", "b")
		require.NoError(t, err)
		assert.Equal(t, 6, runs)

		type loader func(id int64) (*EmbeddedOK, error)
		named := loader(func(id int64) (*EmbeddedOK, error) {
			runs++
			if id == 0 {
				return nil, nil
			}
			return &EmbeddedOK{Shelf: "B"}, nil
		})
		_, err = Wrap(&named, Options{Cache: c, Name: "named", Timeout: time.Minute})
		require.NoError(t, err)
		for range 2 {
			v, err := named(0)
			require.NoError(t, err)
			assert.Nil(t, v, "nil is a value like any other")
			v, err = named(1)
			require.NoError(t, err)
			assert.Equal(t, &EmbeddedOK{Shelf: "B"}, v)
		}
		assert.Equal(t, 8, runs)
	})
}

func TestANilContextIsTheBackground(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(ctx context.Context, s string) (bool, error) { return ctx != nil, nil }
		_, err := Wrap(&fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Minute})
		require.NoError(t, err)
		for range 2 {
			ok, err := fn(nil, "a") //nolint:staticcheck // is what is tested
			require.NoError(t, err)
			assert.True(t, ok)
		}
	})
}

func TestWrapNamesEveryFaultAndReplacesNothing(t *testing.T) {
	_, err := Wrap[func(int) int](nil, Options{})
	assertFaults(t, err, "the pointer is nil; pass the address")
	assert.Regexp(t, `^fncache: wrap at decorate_test\.go:\d+: `, err.Error())

	number := 1
	_, err = Wrap(&number, Options{})
	assertFaults(t, err, "*fn is a int, not a func")
	assert.Regexp(t, `^fncache: wrap at decorate_test\.go:\d+: `, err.Error())

	var any interface{} = lengthOf
	_, err = Wrap(&any, Options{})
	assertFaults(t, err, "not a func")

	var empty func(int) int
	_, err = Wrap(&empty, Options{Timeout: time.Hour})
	assertFaults(t, err, "the func is nil; assign it before wrapping", "OnCold is Fail")
	for _, line := range strings.Split(err.Error(), "\n") {
		assert.Regexp(t, `^fncache: wrap at decorate_test\.go:\d+: `, line)
	}

	bad := badFunction
	_, err = Wrap(&bad, Options{Prefix: "a:b"})
	for _, fault := range []string{
		"parameter 1: chan int cannot be part of a key; pass its id instead",
		"parameter 2: *int cannot be part of a key",
		"result 1: func() does not survive",
		"Timeout",
		"a:b",
		"OnCold",
	} {
		require.ErrorContains(t, err, fault)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		assert.Regexp(t, `^fncache: wrap fncache_test\.badFunction \(decorate_test\.go:\d+\) at decorate_test\.go:\d+: `, line)
	}
	assert.True(t, sameFunc(badFunction, bad))
}

// badFunction has all faults that a function can have.
func badFunction(chan int, *int) func() { return nil }

func TestMustPanicsWithTheError(t *testing.T) {
	want := errors.New("no")
	assert.PanicsWithValue(t, want, func() { Must(0, want) })
	assert.Equal(t, 7, Must(7, nil))
}

// ---- names

func TestAVariableIsWrappedOnce(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{Cache: b.cache(), Timeout: time.Minute}
		fn := lengthOf
		f, err := Wrap(&fn, opts)
		require.NoError(t, err)
		wrappedCode := reflect.ValueOf(fn).Pointer()

		_, err = Wrap(&fn, opts)
		require.ErrorContains(t, err, "it is wrapped already, or a copy of the wrapped github.com/fncache/fncache_test.lengthOf")
		copied := fn
		_, err = Wrap(&copied, opts)
		require.ErrorContains(t, err, "wrapped already, or a copy")
		assert.Equal(t, wrappedCode, reflect.ValueOf(fn).Pointer())

		f.Unwrap()
		again, err := Wrap(&fn, opts)
		require.NoError(t, err)
		again.Unwrap()
	})
}

func TestOneTopLevelFunctionMayBeWrappedInSeveralPlaces(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		one, two := lengthOf, lengthOf
		f, err := Wrap(&one, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		g, err := Wrap(&two, Options{Cache: c, Timeout: time.Hour})
		require.NoError(t, err)
		_, err = one(t.Context(), "a")
		require.NoError(t, err)
		_, err = two(t.Context(), "a")
		require.NoError(t, err)
		assert.EqualValues(t, 1, f.Stats().Computed)
		assert.EqualValues(t, 1, g.Stats().Fresh, "they share entries")
	})
}

// sharedOptions are options of a name, shared or not.
func sharedOptions(c *Cache, name string, shared bool) Options {
	return Options{Cache: c, Name: name, Shared: shared, Timeout: time.Minute, OnCold: Wait}
}

func TestASecondFunctionUnderANameIsRefusedUnlessBothSetShared(t *testing.T) {
	one, two := &shop{1}, &shop{2}
	for _, kind := range []struct {
		what string
		a, b func(int) int
		same bool // the two are one declared function
		free bool // they have a name of their own
	}{
		{"a top-level function, twice", topLevel, topLevel, true, true},
		{"two top-level functions", topLevel, ünïcode, false, false},
		{"method values", one.Pointer, two.Pointer, false, true},
		{"one method value", one.Pointer, one.Pointer, false, true},
		{"closures", closure(1), closure(2), false, false},
		{"generic functions", generic[int], generic[string], false, true},
		{"a top-level function and a closure", topLevel, closure(1), false, false},
	} {
		for _, name := range []string{"", "shop.Find"} {
			if name == "" && !kind.free {
				continue
			}
			for _, shared := range []struct{ a, b bool }{{}, {a: true}, {b: true}, {a: true, b: true}} {
				t.Run(fmt.Sprintf("%s, named %q, shared %v", kind.what, name, shared), func(t *testing.T) {
					inOneBubble(t, func(t *testing.T, b *bubble) {
						c := b.cache()
						first, second := kind.a, kind.b
						f, err := Wrap(&first, sharedOptions(c, name, shared.a))
						require.NoError(t, err)
						opts := sharedOptions(c, name, shared.b)
						_, err = Wrap(&second, opts)
						if kind.same || shared.a && shared.b {
							require.NoError(t, err)
							assert.Equal(t, first(5), second(5))
							assert.EqualValues(t, 1, f.Stats().Computed)
							return
						}
						require.ErrorContains(t, err, " at decorate_test.go:")
						require.ErrorContains(t, err, "the name "+f.Name()+" is taken by "+f.Name()+" (wrapped at decorate_test.go:")
						require.ErrorContains(t, err, "set a Prefix or Name of its own, or Shared on both if they are the same function")
						opts.Prefix = "Second"
						g, err := Wrap(&second, opts)
						require.NoError(t, err)
						assert.Equal(t, "Second:"+f.Name(), g.Name())
						g.Unwrap()
						f.Unwrap()
						opts.Prefix = ""
						_, err = Wrap(&second, opts)
						require.NoError(t, err, "Unwrap frees the name")
					})
				})
			}
		}
	}
}

func TestSharedFunctionsMustAgreeOnTheirSignature(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		first, other := closure(1), func(string) int { return 0 }
		_, err := Wrap(&first, sharedOptions(c, "shop.Find", true))
		require.NoError(t, err)
		_, err = Wrap(&other, sharedOptions(c, "shop.Find", true))
		require.ErrorContains(t, err, "the name shop.Find is taken by a function of another signature, func(int) int, shop.Find (wrapped at decorate_test.go:")
	})
}

func TestAGivenNameIsNotADerivedOnesOfAnotherFunction(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		derived := lengthOf
		f, err := Wrap(&derived, Options{Cache: c, Timeout: time.Minute})
		require.NoError(t, err)
		given := func(_ context.Context, s string) (int, error) { return -len(s), nil }
		_, err = Wrap(&given, Options{Cache: c, Name: f.Name(), Timeout: time.Minute})
		require.ErrorContains(t, err, "is taken by")
	})
}

func TestAClosureInAVariableNeedsAName(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := closure(1)
		opts := Options{Cache: b.cache(), Timeout: time.Minute, OnCold: Wait}
		_, err := Wrap(&fn, opts)
		require.ErrorContains(t, err, "the func is a closure")
		assert.Regexp(t, `^fncache: wrap \(name_test\.go:\d+\) at decorate_test\.go:\d+: `, err.Error())
		require.ErrorContains(t, err, "set Options.Name")
		unnamed := struct {
			Find func(int) int `fncache:""`
		}{fn}
		_, err = WrapStruct(&unnamed, opts)
		require.ErrorContains(t, err, "name=NAME in the tag", "an unnamed struct type names nothing")
		opts.Name = "shop.Find"
		_, err = Wrap(&fn, opts)
		require.NoError(t, err)
	})
}

func TestEachCacheHasNamesOfItsOwn(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one, two := closure(1), closure(2)
		for _, fn := range []*func(int) int{&one, &two} {
			_, err := Wrap(fn, Options{Cache: b.cache(func(c *Config) { c.Namespace = "n" + string(rune('0'+(*fn)(0))) }), Timeout: time.Minute, OnCold: Wait, Name: "shop.Find"})
			require.NoError(t, err)
		}
		assert.Equal(t, 1, one(0))
		assert.Equal(t, 2, two(0))
	})
}

func TestAHandleAndItsStatsPrintNames(t *testing.T) {
	length := lengthOf
	f, err := Wrap(&length, Options{Timeout: time.Minute, Name: "shop.Length", Prefix: "P"})
	require.NoError(t, err)
	defer f.Unwrap()
	assert.Equal(t, "P:shop.Length "+reflect.TypeOf(lengthOf).String(), fmt.Sprintf("%+v", f))

	assert.Contains(t, fmt.Sprintf("%+v", f.Stats()), " RedisErrorKinds:none ")
	f.CountRedisErrors(KindTimeout, 3)
	f.CountRedisErrors(KindPool, 1)
	assert.Contains(t, fmt.Sprintf("%+v", f.Stats()), " RedisErrorKinds:timeout=3 pool=1 ")
	text, err := json.Marshal(f.Stats())
	require.NoError(t, err)
	assert.Contains(t, string(text), `"RedisErrorKinds":"timeout=3 pool=1"`)
}

// ---- WrapStruct

// Base is embedded in the services below.
type Base struct {
	Top   func(context.Context, int64) ([]int64, error) `fncache:""`
	Count func(context.Context) (int, error)            `fncache:"timeout=5m"`
}

type service struct {
	*Base
	ByID   func(ctx context.Context, id int64) (EmbeddedOK, error) `fncache:"timeout=1h,freshness=5m,oncold=wait,waittimeout=2s,prefix=Author"`
	Ping   func(ctx context.Context) error                         // no tag: left alone
	Left   func(ctx context.Context) error                         `fncache:"-"`
	Number int
}

func newService() *service {
	return &service{
		Base: &Base{
			Top:   func(_ context.Context, n int64) ([]int64, error) { return []int64{n}, nil },
			Count: func(context.Context) (int, error) { return 3, nil },
		},
		ByID: func(context.Context, int64) (EmbeddedOK, error) { return EmbeddedOK{Shelf: "A"}, nil },
		Ping: func(context.Context) error { return nil },
	}
}

func TestWrapStructWrapsTaggedFieldsAndEntersEmbeddedStructs(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		svc := newService()
		ping := svc.Ping
		funcs, err := WrapStruct(svc, Options{Cache: b.cache(), Timeout: time.Minute, Cooldown: 3 * time.Second})
		require.NoError(t, err)
		require.Len(t, funcs, 3)
		assert.True(t, sameFunc(ping, svc.Ping), "a field without a tag is left alone")
		assert.Nil(t, svc.Left)

		byID := funcs["ByID"]
		assert.Equal(t, "Author:"+ownPackage+".service.ByID", byID.Name(), "a closure is called after its field")
		assert.Equal(t, ownPackage+".Base.Top", funcs["Top"].Name(), "the type that declares the field")
		assert.Equal(t, time.Hour, byID.Opts().Timeout)
		assert.Equal(t, 5*time.Minute, byID.Opts().Freshness)
		assert.Equal(t, Wait, byID.Opts().OnCold)
		assert.Equal(t, 2*time.Second, byID.Opts().WaitTimeout)
		assert.Equal(t, 3*time.Second, byID.Opts().Cooldown, "of the defaults passed in")
		assert.Equal(t, time.Minute, funcs["Top"].Opts().Timeout)
		assert.Equal(t, 5*time.Minute, funcs["Count"].Opts().Timeout)

		for range 2 {
			top, err := svc.Top(t.Context(), 7)
			require.NoError(t, err)
			assert.Equal(t, []int64{7}, top)
			book, err := svc.ByID(t.Context(), 7)
			require.NoError(t, err)
			assert.Equal(t, "A", book.Shelf)
		}
		assert.EqualValues(t, 1, requireIdentity(t, byID).Fresh)
		assert.EqualValues(t, 1, requireIdentity(t, funcs["Top"]).Fresh)
	})
}

func TestHandlesOfShadowedFieldsAreUnderTheirPath(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		type outer struct {
			Base
			Count func(context.Context) (int, error) `fncache:"timeout=1m"`
		}
		inner := newService().Base
		svc := outer{Base: *inner, Count: func(context.Context) (int, error) { return 1, nil }}
		funcs, err := WrapStruct(&svc, Options{Cache: b.cache(), Timeout: time.Hour})
		require.NoError(t, err)
		assert.Equal(t, time.Minute, funcs["Count"].Opts().Timeout)
		assert.Equal(t, 5*time.Minute, funcs["Base.Count"].Opts().Timeout)
	})
}

func TestWrapStructIsAllOrNothingAndNamesEveryFault(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		type embedded struct {
			Hidden func() (int, error) `fncache:"timeout=1m"`
		}
		type bad struct {
			Good    func(int) (int, error)      `fncache:"timeout=1m"`
			Nil     func(int) (int, error)      `fncache:"timeout=1m"`
			private func(int) (int, error)      `fncache:"timeout=1m"`
			Number  int                         `fncache:"timeout=1m"`
			Tag     func(int) (int, error)      `fncache:"timeout=soon,freshnes=1m"`
			Param   func(chan int) (int, error) `fncache:"timeout=1m"`
			Empty   func(int) (int, error)      `fncache:""`
			All     func(chan int) (int, error) `fncache:"timeout=1m,freshnes=1m"`
			*embedded
		}
		id := func(n int) (int, error) { return n, nil }
		svc := bad{Good: id, private: id, Tag: id, Param: func(chan int) (int, error) { return 0, nil }, Empty: id}
		funcs, err := WrapStruct(&svc, Options{Cache: b.cache()})
		assert.Nil(t, funcs)
		for _, fault := range []string{
			"bad.Nil: the func is nil",
			"bad.private: the field is unexported",
			"bad.Number: the field is a int, not a func",
			`bad.Tag: tag "timeout=soon,freshnes=1m": timeout`,
			`bad.Tag: tag "timeout=soon,freshnes=1m": unknown option`,
			"parameter 1: chan int",
			"bad.Empty", "Timeout",
			"bad.All: the func is nil", "bad.All: parameter 1: chan int", `bad.All: tag "timeout=1m,freshnes=1m": unknown option`,
			"the embedded *fncache_test.embedded is nil, and its field Hidden is tagged",
		} {
			assert.ErrorContains(t, err, fault)
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			assert.Contains(t, line, "fncache: wrap ", "each fault says where")
			assert.NotRegexp(t, `bad\.(Tag|All).*Timeout`, line, "nothing is said of options that a tag failed to set")
		}
		assert.True(t, sameFunc(id, svc.Good), "nothing is replaced")

		// Nor is a name taken.
		alone := struct {
			Good func(int) (int, error) `fncache:"timeout=1m,name=a"`
		}{id}
		_, err = WrapStruct(&alone, Options{Cache: b.cache()})
		require.NoError(t, err)
	})
}

func TestATagWithoutEffectIsAFault(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		type Repo struct {
			Get   func(int) (int, error) `fncache:"timeout=1h"`
			Plain func(int) (int, error)
		}
		type shelf struct {
			Deep struct{ Repo }
			Top  func(int) (int, error) `fncache:"timeout=1h"`
			Else func(int) (int, error) `doc:"fncache: \"timeout=1h\""`
			Off  Repo                   `fncache:"-"`
			Repo Repo
			Far  *Repo // may be somebody else's, and wrapped there
		}
		id := func(n int) (int, error) { return n, nil }
		svc := shelf{Top: id, Repo: Repo{Get: id}, Far: &Repo{Get: id}}
		opts := Options{Cache: b.cache(), Prefix: "P"}
		_, err := WrapStruct(&svc, opts)
		assertFaults(t, err,
			"shelf.Deep.Repo.Get: it is tagged, and only embedded structs are entered; embed Deep, or call WrapStruct",
			"shelf.Repo.Get: it is tagged, and only embedded structs are entered; embed Repo",
		)
		assert.True(t, sameFunc(id, svc.Top), "nothing is replaced")

		for _, tag := range []string{`fncache: "timeout=1h"`, `json:"x" fncache:timeout=1h`, `Fncache:"timeout=1h"`, `fncache`, "fncache:`timeout=1h`"} {
			// Made by reflection, as go vet would not have it otherwise.
			unread := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Top", Type: reflect.TypeOf(id), Tag: reflect.StructTag(tag)}}))
			unread.Elem().Field(0).Set(reflect.ValueOf(id))
			_, err := WrapStruct(unread.Interface(), opts)
			assertFaults(t, err, ".Top: no option can be read from its tag `"+tag+"`; write it as in `fncache:\"timeout=1h\"`")
		}

		var fine struct {
			Repo Repo
			Top  func(int) (int, error) `fncache:"timeout=1h,name=Top"`
		}
		fine.Top, fine.Repo.Get = id, id
		opts.Prefix = "Q"
		_, err = WrapStruct(&fine.Repo, opts)
		require.NoError(t, err)
		opts.Prefix = "R"
		_, err = WrapStruct(&fine, opts)
		require.NoError(t, err, "it is wrapped by itself")
	})
}

func TestCacheErrorsInTheDefaultsAreForFieldsWithAnErrorResult(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		svc := struct {
			Find  func(int) (int, error) `fncache:"name=Find"`
			Count func(int) int          `fncache:"name=Count,oncold=wait"`
		}{func(int) (int, error) { return 0, errEncoding }, func(n int) int { return n }}
		defaults := Options{Cache: b.cache(), Timeout: time.Minute, CacheErrors: []error{errEncoding}, ErrorTimeout: time.Second}
		funcs, err := WrapStruct(&svc, defaults)
		require.NoError(t, err)
		for range 2 {
			_, err := svc.Find(1)
			require.ErrorIs(t, err, errEncoding)
			assert.Equal(t, 1, svc.Count(1))
		}
		assert.EqualValues(t, 1, funcs["Find"].Stats().Computations)

		bad := struct {
			Count func(int) int `fncache:"name=Count,oncold=wait,errortimeout=1s"`
		}{func(n int) int { return n }}
		_, err = WrapStruct(&bad, defaults)
		assertFaults(t, err, "ErrorTimeout is set, but the function has no error result; leave ErrorTimeout out")
	})
}

func TestWrapStructFreesTheNamesItTookBeforeAConflict(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		type pair struct {
			A func(int) (int, error)    `fncache:"name=first"`
			B func(string) (int, error) `fncache:"name=first"`
			C func(bool) (int, error)   `fncache:"name=first"`
		}
		svc := pair{
			func(int) (int, error) { return 0, nil }, func(string) (int, error) { return 0, nil },
			func(bool) (int, error) { return 0, nil },
		}
		_, err := WrapStruct(&svc, Options{Cache: c, Timeout: time.Minute})
		assertFaults(t, err,
			"the name first is taken by a function of another signature, func(int) (int, error), fncache_test.pair.A (wrapped at decorate_test.go:",
			"fncache_test.pair.C")
		_, err = Wrap(&svc.B, Options{Cache: c, Timeout: time.Minute, Name: "first"})
		require.NoError(t, err)
	})
}

// pairOfBooks has two fields without a name in their tags.
type pairOfBooks struct {
	One func(int) int `fncache:""`
	Two func(int) int `fncache:""`
}

func TestANameInTheDefaultsIsForOneField(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		for what, two := range map[string]func(int) int{"another function": closure(2), "the same function": topLevel} {
			svc := pairOfBooks{topLevel, two}
			_, err := WrapStruct(&svc, sharedOptions(c, "shop.Book", false))
			assertFaults(t, err, "the Name shop.Book in defaults applies to this field and to fncache_test.pairOfBooks.One")
			require.ErrorContains(t, err, "fncache: wrap fncache_test.pairOfBooks.Two", what)
			require.ErrorContains(t, err, "write name=NAME in the tag of each, or set Shared if they are the same function")
		}
		svc := pairOfBooks{closure(1), closure(2)}
		_, err := WrapStruct(&svc, sharedOptions(c, "shop.Book", true))
		require.NoError(t, err)
		one := struct {
			One func(int) int `fncache:""`
			Two func(int) int `fncache:"name=shop.Two"`
			Six func(int) int `fncache:"prefix=Six"`
		}{closure(1), closure(2), closure(6)}
		_, err = WrapStruct(&one, sharedOptions(c, "shop.Other", false))
		require.NoError(t, err)
	})
}

func TestTwoServicesOfATypeNeedAPrefix(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		defaults := Options{Cache: b.cache(), Timeout: time.Minute}
		_, err := WrapStruct(newService(), defaults)
		require.NoError(t, err)
		second := newService()
		_, err = WrapStruct(second, defaults)
		require.ErrorContains(t, err, "set a Prefix")
		assert.NotContains(t, err.Error(), "wrapped already")
	})
}

func TestWrapStructRefusesWhatIsNotAStructPointer(t *testing.T) {
	for _, target := range []any{nil, 1, service{}, (*service)(nil), new(int), lengthOf} {
		_, err := WrapStruct(target, Options{Timeout: time.Hour})
		require.ErrorContains(t, err, "is not a pointer to a struct; pass &svc")
	}
	_, err := WrapStruct(&struct{ F func() (int, error) }{}, Options{Timeout: time.Hour})
	require.ErrorContains(t, err, "no field carries a tag")
}

func TestAFieldThatIsWrappedAlreadyIsRefused(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		svc := newService()
		defaults := Options{Cache: b.cache(), Timeout: time.Minute}
		_, err := WrapStruct(svc, defaults)
		require.NoError(t, err)
		_, err = WrapStruct(svc, defaults)
		require.ErrorContains(t, err, "it is wrapped already")
		require.ErrorContains(t, err, "service.ByID")
		require.ErrorContains(t, err, "Base.Top")
	})
}

// ---- the handle

func TestKeysAreReadableAndHaveThePrefix(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := func(_ context.Context, id int64, _ string) (int, error) { return int(id), nil }
		c := b.cache(func(c *Config) { c.Namespace = "shop" })
		f, err := Wrap(&fn, Options{Cache: c, Prefix: "Author", Name: "ByID", Timeout: time.Minute})
		require.NoError(t, err)
		key, err := f.Key(42, "a")
		require.NoError(t, err)
		assert.Regexp(t, `^shop:\{Author:ByID:[0-9a-f]{32}\}:[0-9a-f]{12}$`, key)
		var info Info
		_, err = fn(WithInfo(t.Context(), &info), 42, "a")
		require.NoError(t, err)
		assert.Equal(t, key, info.Key, "as a call has it")
		assert.True(t, b.redis.Exists(key))
	})
}

func TestAHandlesArgumentsAreChecked(t *testing.T) {
	inBothForms(t, testAHandlesArgumentsAreChecked)
}

func testAHandlesArgumentsAreChecked(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		_, keyErr := w.Key(1)
		for method, err := range map[string]error{
			"key of": keyErr, "invalidate": w.Invalidate(t.Context(), "a", "b"), "refresh": w.Refresh(t.Context()),
		} {
			require.ErrorContains(t, err, "fncache: "+method+" test.Source: ")
			require.ErrorContains(t, err, "the function is func(context.Context, string) (int, error)")
		}
		assert.Zero(t, b.tap.total())
	})
}

func TestAHandleWithoutACacheSaysSo(t *testing.T) {
	fn := lengthOf
	f, err := Wrap(&fn, Options{Timeout: time.Minute})
	require.NoError(t, err)
	defer f.Unwrap()
	_, keyErr := f.Key("a")
	for _, err := range []error{keyErr, f.Invalidate(t.Context(), "a"), f.Refresh(t.Context(), "a")} {
		require.ErrorIs(t, err, ErrNoCache)
		require.ErrorContains(t, err, "call SetDefault before the first call")
	}
}

func TestArgumentsAreNotSharedWithAComputationThatOutlivesItsCaller(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		seen := make(chan []int, 1)
		fn := func(ctx context.Context, ids []int) (int, error) {
			time.Sleep(time.Second)
			seen <- ids
			return len(ids), nil
		}
		_, err := Wrap(&fn, Options{Cache: b.cache(), Name: "f", Timeout: time.Minute})
		require.NoError(t, err)
		ids := []int{1, 2, 3}
		_, err = fn(ctxIn(t, time.Millisecond), ids)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		ids[0] = 99
		assert.Equal(t, []int{1, 2, 3}, <-seen)
	})
}
