package shape_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

type (
	id    int32
	ratio float32
	book  struct {
		Title string
		Pages map[string][]int
	}
)

func plansOf(t require.TestingT, fn any) *shape.Plans {
	sig, err := signature.New(reflect.TypeOf(fn), false, codec.CBOR)
	require.NoError(t, err)
	return shape.Compile(sig)
}

func reflected(t require.TestingT, fn any) *shape.Reflected {
	return shape.NewReflected(plansOf(t, fn), reflect.ValueOf(fn))
}

func valuesOf(args ...any) (values []reflect.Value) {
	for _, arg := range args {
		values = append(values, reflect.ValueOf(arg))
	}
	return values
}

func resultOf(t require.TestingT, s shape.Shape, args shape.Arguments) (any, error) {
	r, err := s.Invoke(context.Background(), args)
	require.Len(t, r.Pointers(), 1)
	return reflect.ValueOf(r.Pointers()[0]).Elem().Interface(), err
}

var errNone = errors.New("none")

// find takes as many arguments as a Plain has room for.
func find(_ context.Context, title string, year int64, about string) (book, error) {
	if title == "" {
		return book{}, errNone
	}
	return book{title, map[string][]int{about: {int(year)}}}, nil
}

func typedFind(t require.TestingT) *shape.Typed[shape.Three[string, int64, string], book] {
	return shape.NewTyped(plansOf(t, find), func(ctx context.Context, args *shape.Three[string, int64, string]) (book, error) {
		return find(ctx, args.A, args.B, args.C)
	})
}

func TestBothShapesCarryTheSame(t *testing.T) {
	keys := keyhash.NewKeys([]byte("secret"))
	rapid.Check(t, func(t *rapid.T) {
		title, year, about := rapid.String().Draw(t, "title"), rapid.Int64().Draw(t, "year"), rapid.String().Draw(t, "about")
		values := valuesOf(title, year, about)
		var hashes []keyhash.Hash
		var plains []shape.Plain
		var results []any
		for _, s := range []shape.Shape{reflected(t, find), typedFind(t)} {
			args := s.Own(s.Arguments(values))
			h, err := s.Hash(keys, args)
			require.NoError(t, err)
			var key shape.Plain
			s.Plain(&key, args)
			result, err := resultOf(t, s, args)
			require.Equal(t, title == "", err != nil)
			hashes, plains, results = append(hashes, h), append(plains, key), append(results, result)
		}
		require.Equal(t, hashes[0], hashes[1])
		require.Equal(t, plains[0], plains[1])
		require.Equal(t, results[0], results[1])
		require.Equal(t, [2]string{title, about}, plains[0].S)
		require.Equal(t, [4]uint64{uint64(year)}, plains[0].N)
	})
}

func TestACopyOfResultsSharesNothing(t *testing.T) {
	for _, s := range []shape.Shape{reflected(t, find), typedFind(t)} {
		kept, err := s.Invoke(t.Context(), s.Arguments(valuesOf("Emma", int64(1815), "love")))
		require.NoError(t, err)
		assert.False(t, kept.Zero())
		assert.True(t, s.Blank().Zero())
		copied := s.Copy(kept).Pointers()[0].(*book)
		copied.Pages["love"][0] = 0
		copied.Pages["more"] = nil
		assert.Equal(t, &book{"Emma", map[string][]int{"love": {1815}}}, kept.Pointers()[0])
		assert.Greater(t, shape.Footprint(kept), reflect.TypeFor[book]().Size()+uintptr(len("Emma")+len("love"))+8)
	}
	r := reflected(t, find)
	kept, _ := r.Invoke(t.Context(), r.Arguments(valuesOf("Emma", int64(1815), "love")))
	out := r.OutCopy(kept)
	out[0].Interface().(book).Pages["love"][0] = 0
	assert.Equal(t, []int{1815}, kept.Pointers()[0].(*book).Pages["love"])

	typed := typedFind(t)
	kept, _ = typed.Invoke(t.Context(), typed.Arguments(valuesOf("Emma", int64(1815), "love")))
	typed.ValueCopy(kept).Pages["love"][0] = 0
	assert.Equal(t, []int{1815}, typed.Value(kept).Pages["love"])
}

func TestOwnArgumentsStayWhenTheCallersChange(t *testing.T) {
	sum := func(_ context.Context, list []int) (n int, err error) {
		for _, v := range list {
			n += v
		}
		return n, nil
	}
	assert.True(t, plansOf(t, sum).Shares)
	assert.False(t, plansOf(t, find).Shares)
	typed := shape.NewTyped(plansOf(t, sum), func(ctx context.Context, args *shape.One[[]int]) (int, error) { return sum(ctx, args.A) })
	for _, s := range []shape.Shape{reflected(t, sum), typed} {
		list := []int{1, 2}
		own := s.Own(s.Arguments(valuesOf(list)))
		list[0] = 100
		got, err := resultOf(t, s, own)
		require.NoError(t, err)
		assert.Equal(t, 3, got)
	}
}

func TestNumbersAndStringsThatFitArePlain(t *testing.T) {
	for _, test := range []struct {
		fn          any
		plain, wide bool
	}{
		{fn: func() int { return 0 }, plain: true},
		{fn: func(int) int { return 0 }, plain: true},
		{fn: func(id, bool) int { return 0 }, plain: true},
		{fn: func(uint8, float64, string) int { return 0 }, plain: true},
		{fn: func(float32, int16, ratio, bool) int { return 0 }, plain: true, wide: true},
		{fn: func(string, int, string) int { return 0 }, plain: true},
		{fn: func(int, int, int, int, int) int { return 0 }},
		{fn: func(string, string, string) int { return 0 }},
		{fn: func(time.Time) int { return 0 }},
		{fn: func(netip.Addr) int { return 0 }},
		{fn: func(slog.Level) int { return 0 }, plain: true}, // by value, whatever its text
		{fn: func([]int) int { return 0 }},
		{fn: func(...int) int { return 0 }},
		{fn: func(struct{ A int }) int { return 0 }},
	} {
		plans := plansOf(t, test.fn)
		assert.Equal(t, test.plain, plans.IsPlain(), "%T", test.fn)
		assert.Equal(t, test.wide, plans.IsWide(), "%T", test.fn)
	}
}

func TestTheResultOfVaryHasAPlaceInAPlainKey(t *testing.T) {
	sig, err := signature.New(reflect.TypeOf(func(context.Context, string) int { return 0 }), false, codec.CBOR)
	require.NoError(t, err)
	var key shape.Plain
	shape.Compile(sig).AddVary(&key, "unasked")
	assert.Zero(t, key)
	sig.Varies = true
	shape.Compile(sig).AddVary(&key, "tenant")
	assert.Equal(t, shape.Plain{S: [2]string{1: "tenant"}}, key)

	two, err := signature.New(reflect.TypeOf(func(context.Context, string, string) int { return 0 }), false, codec.CBOR)
	require.NoError(t, err)
	assert.True(t, shape.Compile(two).IsPlain())
	two.Varies = true
	assert.False(t, shape.Compile(two).IsPlain(), "there is no room for a third string")
}

func TestPlainNumbersAreTakenByTheirBits(t *testing.T) {
	fn := func(_ context.Context, a float32, b int8, c bool) (int, error) { return 0, nil }
	typed := shape.NewTyped(plansOf(t, fn), func(ctx context.Context, args *shape.Three[float32, int8, bool]) (int, error) {
		return fn(ctx, args.A, args.B, args.C)
	})
	seen := make(map[shape.Plain]bool)
	for _, test := range []struct {
		a    float32
		b    int8
		c    bool
		want [4]uint64
	}{
		{0, 0, false, [4]uint64{}},
		{float32(math.Copysign(0, -1)), 0, false, [4]uint64{0: 1 << 31}},
		{math.Float32frombits(0x7f800001), 0, false, [4]uint64{0: 0x7f800001}},
		{0, -1, true, [4]uint64{1: 0xff, 2: 1}},
	} {
		var key shape.Plain
		typed.PlainOf(&key, &shape.Three[float32, int8, bool]{A: test.a, B: test.b, C: test.c})
		assert.Equal(t, shape.Plain{N: test.want}, key)
		var byReflection shape.Plain
		reflected(t, fn).PlainValues(&byReflection, valuesOf(test.a, test.b, test.c))
		assert.NotContains(t, seen, byReflection, "one of two arguments that differ")
		seen[byReflection] = true
	}
}

func TestAReflectedFunctionReturnsWhatItsTypeSays(t *testing.T) {
	many := reflected(t, func(int) (int, string) { return 1, "a" })
	assert.Equal(t, []any{0, ""}, interfaces(many.Out(nil, nil)))
	r, err := many.Invoke(t.Context(), many.Arguments(valuesOf(1)))
	require.NoError(t, err)
	assert.Equal(t, []any{1, "a"}, interfaces(many.OutCopy(r)))
	assert.Equal(t, []any{1, "a"}, interfaces(many.Out(r, nil)))

	one := reflected(t, find)
	assert.Equal(t, []any{book{}, errNone}, interfaces(one.Out(nil, errNone)))
	out := one.Out(one.Blank(), nil)
	assert.True(t, out[1].IsNil(), "an error result that is nil")

	variadic := reflected(t, func(list ...int) int { return len(list) })
	got, err := resultOf(t, variadic, variadic.Arguments(valuesOf([]int{1, 2, 3})))
	require.NoError(t, err)
	assert.Equal(t, 3, got)
}

func interfaces(values []reflect.Value) (list []any) {
	for _, v := range values {
		list = append(list, v.Interface())
	}
	return list
}

func TestSplitFindsTheContext(t *testing.T) {
	type key struct{}
	s := reflected(t, func(context.Context, int) int { return 0 })
	given := context.WithValue(t.Context(), key{}, 1)
	ctx, values := s.Split([]reflect.Value{reflect.ValueOf(given), reflect.ValueOf(7)})
	assert.Equal(t, given, ctx)
	assert.Equal(t, []any{7}, interfaces(values))

	ctx, values = s.Split([]reflect.Value{reflect.Zero(reflect.TypeFor[context.Context]()), reflect.ValueOf(7)})
	assert.Equal(t, context.Background(), ctx, "the caller has given none")
	assert.Len(t, values, 1)

	ctx, values = reflected(t, func(int) int { return 0 }).Split(valuesOf(7))
	assert.Equal(t, context.Background(), ctx)
	assert.Len(t, values, 1)
}

func TestATypedCallAllocatesNothingForItsPlainKeyNorForACopyWithoutReferences(t *testing.T) {
	fn := func(_ context.Context, n int64) (int64, error) { return n, nil }
	s := shape.NewTyped(plansOf(t, fn), func(ctx context.Context, args *shape.One[int64]) (int64, error) { return fn(ctx, args.A) })
	kept, err := s.Invoke(t.Context(), s.Arguments(valuesOf(int64(7))))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var key shape.Plain
		s.PlainOf(&key, &shape.One[int64]{A: 7})
		if key.N[0] != 7 || s.ValueCopy(kept) != 7 {
			t.Fail()
		}
	}))
}
