package fncache_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/specimen"
)

// unconnected is a cache whose Redis is not there: keys need none.
func unconnected(t testing.TB) *fncache.Cache {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	cache, err := fncache.New(fncache.Config{Redis: client, HashSecret: []byte("of the test")})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, cache.Close())
		require.NoError(t, client.Close())
	})
	return cache
}

// keyOfType wraps a function of one parameter of that type, and returns what makes its
// keys.
func keyOfType(t require.TestingT, cache *fncache.Cache, typ reflect.Type) (key func(arg reflect.Value) string, unwrap func()) {
	fn := reflect.FuncOf(
		[]reflect.Type{reflect.TypeFor[context.Context](), typ},
		[]reflect.Type{reflect.TypeFor[int](), reflect.TypeFor[error]()}, false)
	service := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Fn", Type: fn, Tag: `fncache:"timeout=1h,name=keys.ofType"`}}))
	service.Elem().Field(0).Set(reflect.MakeFunc(fn, nil))
	funcs, err := fncache.WrapStruct(service.Interface(), fncache.Options{Cache: cache})
	require.NoError(t, err, "%v", typ)
	return func(arg reflect.Value) string {
		key, err := funcs["Fn"].Key(arg.Interface())
		require.NoError(t, err, "%v", typ)
		return key
	}, funcs["Fn"].Unwrap
}

// keysTellValuesApart: two values of one type have one key exactly if they are the same
// argument.
func keysTellValuesApart(cache *fncache.Cache) func(*rapid.T) {
	return func(t *rapid.T) {
		typ := specimen.Type(t, 3)
		key, unwrap := keyOfType(t, cache, typ)
		defer unwrap()
		a, b := specimen.Value(t, typ), specimen.Value(t, typ)
		require.Equal(t, key(a), key(a), "%v", typ)
		require.Equal(t, specimen.Normal(a) == specimen.Normal(b), key(a) == key(b),
			"%v: %s, %s", typ, specimen.Normal(a), specimen.Normal(b))
	}
}

func TestEveryTypeThatIsAcceptedHasAKeyForEachOfItsValues(t *testing.T) {
	cache := unconnected(t)
	rapid.Check(t, keysTellValuesApart(cache))
}

func FuzzKeys(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(keysTellValuesApart(unconnected(f))))
}

// TestKeysOfRealTypes uses the types that programs pass. With Wrap and Wrap1, a call looks up
// the key that Key returns, and different values have different keys.
func TestKeysOfRealTypes(t *testing.T) {
	cache := unconnected(t)
	bothForms[specimen.Token](t, cache)
	bothForms[specimen.Color](t, cache)
	bothForms[specimen.NullString](t, cache)
	bothForms[specimen.NullInt](t, cache)
	bothForms[specimen.HalfText](t, cache)
	bothForms[specimen.HalfBinary](t, cache)
	bothForms[specimen.Digest](t, cache)
	bothForms[specimen.UUID](t, cache)
	bothForms[specimen.Tags](t, cache)
	bothForms[specimen.Decimal](t, cache)
	bothForms[specimen.PointerID](t, cache)
	bothForms[specimen.Mixed](t, cache)
	bothForms[specimen.Derived](t, cache)
	bothForms[specimen.TimeAndNote](t, cache)
	bothForms[specimen.DecimalAndNote](t, cache)
	bothForms[specimen.Blank](t, cache)
	bothForms[specimen.Order](t, cache)
	bothForms[specimen.Page[specimen.Pair[specimen.ID, time.Time]]](t, cache)
	bothForms[map[specimen.ID]specimen.Decimal](t, cache)
	bothForms[map[specimen.Token][]specimen.Color](t, cache)
	bothForms[[]specimen.PointerID](t, cache)
	bothForms[[2]specimen.Mixed](t, cache)
	bothForms[sql.NullString](t, cache)
	bothForms[sql.NullTime](t, cache)
	bothForms[sql.Null[float64]](t, cache)
	bothForms[json.RawMessage](t, cache)
	bothForms[json.Number](t, cache)
	bothForms[netip.Addr](t, cache)
	bothForms[netip.AddrPort](t, cache)
	bothForms[netip.Prefix](t, cache)
	bothForms[net.IP](t, cache)
	bothForms[net.IPNet](t, cache)
	bothForms[big.Int](t, cache)
	bothForms[big.Rat](t, cache)
	bothForms[big.Float](t, cache)
	bothForms[[]big.Int](t, cache)
	bothForms[time.Time](t, cache)
	bothForms[time.Duration](t, cache)
	bothForms[float32](t, cache)
	bothForms[[3]byte](t, cache)
}

func bothForms[T any](t *testing.T, cache *fncache.Cache) {
	typ := reflect.TypeFor[T]()
	t.Run(typ.String(), func(t *testing.T) {
		fn := func(context.Context, T) (string, error) { return "", nil }
		reflected, typed := fn, fn
		opts := fncache.Options{Cache: cache, Name: "keys.ofRealTypes", Timeout: time.Hour, Shared: true}
		f, err := fncache.Wrap(&reflected, opts)
		require.NoError(t, err)
		defer f.Unwrap()
		g, err := fncache.Wrap1(&typed, opts)
		require.NoError(t, err)
		defer g.Func.Unwrap()
		// What a call looks up: bypassed, it does not ask Redis for it.
		lookedUp := func(t require.TestingT, call func(context.Context, T) (string, error), arg T) string {
			var info fncache.Info
			_, err := call(fncache.WithBypass(fncache.WithInfo(context.Background(), &info)), arg)
			require.NoError(t, err)
			return info.Key
		}
		rapid.Check(t, func(t *rapid.T) {
			a, b := specimen.Value(t, typ), specimen.Value(t, typ)
			argA, argB := a.Interface().(T), b.Interface().(T)
			key, err := f.Key(argA)
			require.NoError(t, err)
			require.Equal(t, key, lookedUp(t, reflected, argA))
			require.Equal(t, key, lookedUp(t, typed, argA))
			again, err := g.Key(argA)
			require.NoError(t, err)
			require.Equal(t, key, again)
			require.Equal(t, specimen.Normal(a) == specimen.Normal(b), key == lookedUp(t, typed, argB),
				"%s, %s", specimen.Normal(a), specimen.Normal(b))
		})
	})
}
