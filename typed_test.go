package fncache_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/shape"
)

func TestWrapTestsRunInTheFormTheyAreNamedFor(t *testing.T) {
	for range 2 { // the second time they are called reflected#01 and typed#01
		runs := 0
		inBubble(t, func(t *testing.T, b *bubble) {
			runs++
			w := wrap(t, b.cache(), &source{}, Options{})
			_, reflected := (*w.Shape()).(*shape.Reflected)
			_, typed := (*w.Shape()).(*shape.Typed[shape.One[string], int])
			assert.Equal(t, runs == 1, reflected)
			assert.Equal(t, runs == 2, typed)
		})
		assert.Equal(t, 2, runs)
	}
}

// bothTypedForms wraps one function by Wrap and by its typed form, in two processes,
// and checks that what one of them computes the other serves.
func bothTypedForms[F any](b *bubble, fn F, wrapTyped func(*F, Options) (*Func, error), call func(F) (any, error), args ...any) {
	b.t.Helper()
	t := b.t
	reflected, typed := fn, fn
	opts := Options{Timeout: time.Minute}
	opts.Cache = b.cache()
	f, err := Wrap(&reflected, opts)
	require.NoError(t, err)
	opts.Cache = b.cache()
	g, err := wrapTyped(&typed, opts)
	require.NoError(t, err)

	assert.Equal(t, f.Name(), g.Name())
	assert.Equal(t, reflect.TypeOf(reflected), reflect.TypeOf(typed))
	key, err := f.Key(args...)
	require.NoError(t, err)
	same, err := g.Key(args...)
	require.NoError(t, err)
	assert.Equal(t, key, same)

	for _, order := range []struct{ first, second F }{{reflected, typed}, {typed, reflected}} {
		require.NoError(t, g.Invalidate(t.Context(), args...))
		want, err := call(order.first)
		require.NoError(t, err)
		got, err := call(order.second)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, s := range []Stats{requireIdentity(t, f), requireIdentity(t, g)} {
		assert.EqualValues(t, 1, s.Computed)
		assert.EqualValues(t, 1, s.Fresh)
		assert.Zero(t, s.Undecodable)
	}
	f.Unwrap()
	g.Unwrap()
	assert.True(t, sameFunc(fn, reflected))
	assert.True(t, sameFunc(fn, typed))
}

func idsOf(_ context.Context, id int64) ([]int64, error) { return []int64{id, -1}, nil }

func bookOf(_ context.Context, title string, year int) (map[string][]int, error) {
	return map[string][]int{title: {year}}, nil
}

func pageOf(_ context.Context, p plainPage, id plainID, at time.Time) (*plainPage, error) {
	return &plainPage{Years: append(p.Years, int(id)), At: at}, nil
}

func hostOf(_ context.Context, a netip.Addr, r plainRatio, names [][]string) (netip.Addr, error) {
	return a.Next(), nil
}

func TestBothFormsShareNamesKeysAndEntries(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		bothTypedForms(b, idsOf, wrapUntyped1, func(f func(context.Context, int64) ([]int64, error)) (any, error) {
			return f(t.Context(), 42)
		}, 42)
		bothTypedForms(b, lengthOf, wrapUntyped1, func(f stringFunc) (any, error) { return f(t.Context(), "four") }, "four")
		bothTypedForms(b, bookOf, wrapUntyped2, func(f func(context.Context, string, int) (map[string][]int, error)) (any, error) {
			return f(t.Context(), "Dune", 1965)
		}, "Dune", 1965)
		at := time.Date(2024, 2, 29, 12, 0, 0, 123, time.UTC)
		page := plainPage{Years: []int{1}, At: at, Seen: map[string]bool{"a": true}}
		bothTypedForms(b, pageOf, wrapUntyped3, func(f func(context.Context, plainPage, plainID, time.Time) (*plainPage, error)) (any, error) {
			return f(t.Context(), page, 7, at)
		}, page, 7, at)
		host := netip.MustParseAddr("192.0.2.1")
		bothTypedForms(b, hostOf, wrapUntyped3, func(f func(context.Context, netip.Addr, plainRatio, [][]string) (netip.Addr, error)) (any, error) {
			return f(t.Context(), host, 0.5, [][]string{{"a"}, nil})
		}, host, float32(0.5), [][]string{{"a"}, nil})
	})
}

// lengthFunc is a named func type.
type lengthFunc func(context.Context, string) (int, error)

func TestNamedFuncTypesAreInferred(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var fn lengthFunc = lengthOf
		f, err := wrapUntyped1(&fn, Options{Cache: b.cache(), Timeout: time.Minute})
		require.NoError(t, err)
		assert.Equal(t, "github.com/fncache/fncache_test.lengthOf", f.Name())
		for range 2 {
			n, err := fn(t.Context(), "four")
			require.NoError(t, err)
			assert.Equal(t, 4, n)
		}
		assert.EqualValues(t, 1, f.Stats().Fresh)
	})
}

func TestAVariableIsWrappedOnceInEitherForm(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{Cache: b.cache(), Timeout: time.Minute}
		forms := []func(*stringFunc, Options) (*Func, error){Wrap[stringFunc], wrapUntyped1[stringFunc]}
		for _, first := range forms {
			for _, second := range forms {
				fn := stringFunc(lengthOf)
				f, err := first(&fn, opts)
				require.NoError(t, err)
				_, err = second(&fn, opts)
				require.ErrorContains(t, err, "it is wrapped already, or a copy of the wrapped github.com/fncache/fncache_test.lengthOf")
				copied := fn
				_, err = second(&copied, opts)
				require.ErrorContains(t, err, "wrapped already, or a copy")

				f.Unwrap()
				n, err := copied(t.Context(), "four")
				require.NoError(t, err)
				assert.Equal(t, 4, n)
				assert.Zero(t, f.Stats().Calls, "a copy of the wrapped function calls the original")
				again, err := second(&fn, opts)
				require.NoError(t, err)
				again.Unwrap()
			}
		}
	})
}

func TestNamesConflictAcrossForms(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one, two := &source{}, &source{}
		first, second := one.call, two.call
		opts := Options{Cache: b.cache(), Timeout: time.Minute}
		_, err := Wrap1(&first, opts)
		require.NoError(t, err)
		_, err = Wrap(&second, opts)
		require.ErrorContains(t, err, "which may be another function; set a Prefix or Name of its own")
		other := bookOf
		opts.Name = "github.com/fncache/fncache_test.(%2Asource).call-fm"
		_, err = Wrap2(&other, opts)
		require.ErrorContains(t, err, "is taken by a function of another signature")
	})
}

func TestTypedFormsNameEveryFaultAndReplaceNothing(t *testing.T) {
	_, err := Wrap1[stringFunc](nil, Options{})
	assertFaults(t, err, "the pointer is nil; pass the address")
	assert.Regexp(t, `^fncache: wrap at typed_test\.go:\d+: `, err.Error())

	var empty stringFunc
	_, err = Wrap1(&empty, Options{Timeout: time.Hour})
	assertFaults(t, err, "the func is nil; assign it before wrapping")
	assert.Regexp(t, `^fncache: wrap at typed_test\.go:\d+: `, err.Error())
	assert.Nil(t, empty)

	bad := func(context.Context, chan int, context.Context, *int) (func(), error) { return nil, nil }
	_, err = Wrap3(&bad, Options{Prefix: "a:b"})
	for _, fault := range []string{
		"parameter 2: chan int cannot be part of a key; pass its id instead",
		"parameter 3: context.Context cannot be part of a key; make it the first parameter",
		"parameter 4: *int cannot be part of a key",
		"result 1: func() does not survive",
		"Timeout",
		"a:b",
	} {
		require.ErrorContains(t, err, fault)
	}
	f, err := bad(nil, nil, nil, nil) //nolint:staticcheck // it is still the original
	assert.Nil(t, f)
	assert.NoError(t, err)
}

func TestTypedHandleConvertsRefreshesAndInvalidates(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		var ids []int32
		runs := 0
		typed := func(_ context.Context, id int32, list []string) (int, error) {
			runs++
			ids = append(ids, id)
			return runs, nil
		}
		f, err := wrapUntyped2(&typed, Options{Cache: b.cache(), Name: "test.Typed", Timeout: time.Minute})
		require.NoError(t, err)
		require.NoError(t, f.Refresh(t.Context(), 7, []string{"a"}))
		n, err := typed(t.Context(), 7, []string{"a"})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		require.NoError(t, f.Invalidate(t.Context(), int64(7), []string{"a"}))
		n, err = typed(t.Context(), 7, []string{"a"})
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		assert.Equal(t, []int32{7, 7}, ids)
		_, err = f.Key(int64(1)<<40, nil)
		require.ErrorContains(t, err, "does not convert to int32 without loss")
		_, err = f.Key(1)
		require.ErrorContains(t, err, "1 arguments given, 2 wanted, without the context")
	})
}

func TestArgumentsOfAComputationAreItsOwn(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		type listFunc = func(context.Context, []string, map[string]int) (string, error)
		for _, wrapForm := range []func(*listFunc, Options) (*Func, error){Wrap[listFunc], wrapUntyped2[listFunc]} {
			let := make(chan struct{})
			fn := listFunc(func(_ context.Context, list []string, m map[string]int) (string, error) {
				<-let
				if m["a"] != 1 {
					return "", errors.New("another map")
				}
				return list[0], nil
			})
			f, err := wrapForm(&fn, Options{Cache: b.cache(), Name: "test.List", Timeout: time.Minute})
			require.NoError(t, err)
			ctx, leave := context.WithCancel(t.Context())
			list, m := []string{"first"}, map[string]int{"a": 1}
			left := make(chan error)
			go func() {
				_, err := fn(ctx, list, m)
				left <- err
			}()
			synctest.Wait()
			leave()
			require.ErrorIs(t, <-left, context.Canceled)
			list[0], m["a"] = "next", 2
			close(let)
			synctest.Wait()
			got, err := fn(t.Context(), []string{"first"}, map[string]int{"a": 1})
			require.NoError(t, err)
			assert.Equal(t, "first", got)
			assert.EqualValues(t, 1, f.Stats().Fresh)
			require.NoError(t, f.Invalidate(t.Context(), []string{"first"}, map[string]int{"a": 1}))
		}
	})
}

func TestCallersOfATypedFormShareNoMemory(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := idsOf
		_, err := Wrap1(&fn, Options{Cache: b.cache(), Timeout: time.Minute})
		require.NoError(t, err)
		for range 3 {
			ids, err := fn(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, []int64{1, -1}, ids)
			ids[0] = 99
		}
	})
}

func TestTypedFormTakesANilContextAndAnErrorsValue(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		no := errors.New("no such book")
		fn := func(context.Context, string) (int, error) { return 7, no }
		_, err := Wrap1(&fn, Options{Cache: b.cache(), Name: "test.No", Timeout: time.Minute})
		require.NoError(t, err)
		n, err := fn(nil, "a") //nolint:staticcheck // callers do that
		require.ErrorIs(t, err, no)
		assert.Equal(t, 7, n, "as the original")
	})
}

func TestKeysOfScalarsAndStringsAllocateNothingButTheKey(t *testing.T) {
	fn := func(context.Context, int64, string, float32) (int, error) { return 0, nil }
	for _, wrapForm := range []func() (*Func, error){
		func() (*Func, error) { return Wrap(&fn, Options{Name: "test.Keys", Timeout: time.Minute}) },
		func() (*Func, error) { return wrapUntyped3(&fn, Options{Name: "test.Keys", Timeout: time.Minute}) },
	} {
		f, err := wrapForm()
		require.NoError(t, err)
		key := f.KeyMaker(42, "Ursula K. Le Guin", float32(0.5))
		assert.EqualValues(t, 1, testing.AllocsPerRun(100, func() {
			if _, err := key(); err != nil {
				t.Fatal(err)
			}
		}))
		f.Unwrap()
	}
}

func TestAHitAllocatesLittle(t *testing.T) {
	for name, form := range map[string]struct {
		wrap func(*idsFunc, Options) (*Func, error)
		most float64
	}{
		"Wrap1": {wrapUntyped1[idsFunc], 12},
		"Wrap":  {Wrap[idsFunc], 16},
	} {
		t.Run(name, func(t *testing.T) {
			client := redistest.Start(t).Client()
			fn := func(context.Context, int64) ([]int64, error) { return tenIDs, nil }
			f, err := form.wrap(&fn, Options{Cache: newTestCache(t, Config{Redis: client}), Name: "test.IDs", Timeout: time.Hour})
			require.NoError(t, err)
			_, err = fn(t.Context(), 1)
			require.NoError(t, err)
			const runs = 200
			assert.LessOrEqual(t, testing.AllocsPerRun(runs, func() { _, _ = fn(context.Background(), 1) }), form.most)
			assert.EqualValues(t, 1+runs, f.Stats().Fresh)
		})
	}
}
