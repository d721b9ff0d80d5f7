package fncache_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/specimen"
)

// Every result that Wrap accepts comes back equal. The test draws types and values, and passes
// them through a wrapped function.

// A returning is a struct with a func that returns a value of a type, for WrapStruct.
func returning(v reflect.Value) any {
	fn := reflect.FuncOf([]reflect.Type{reflect.TypeFor[context.Context]()}, []reflect.Type{v.Type(), reflect.TypeFor[error]()}, false)
	target := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Get", Type: fn, Tag: `fncache:""`}}))
	target.Elem().Field(0).Set(reflect.MakeFunc(fn, func([]reflect.Value) []reflect.Value {
		return []reflect.Value{v, reflect.Zero(reflect.TypeFor[error]())}
	}))
	return target.Interface()
}

func TestEveryAcceptedResultComesBackEqual(t *testing.T) {
	for name, codec := range map[string]Codec{"CBOR": CBOR{}, "JSON": JSON{}, "a codec around CBOR": xorCodec{}} {
		for _, near := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprint(name, ", near for ", near), func(t *testing.T) {
				server := miniredis.RunT(t)
				client := redis.NewClient(&redis.Options{Addr: server.Addr()})
				cache := newTestCache(t, Config{Redis: client, Codec: codec, RedisTimeout: longEnough})
				rapid.Check(t, func(t *rapid.T) {
					v := reflect.New(specimen.Result(t, 3)).Elem()
					specimen.Fill(t, v, codec == Codec(JSON{}))
					comesBack(t, cache, near, v)
					server.FlushAll()
				})
			})
		}
	}
}

// comesBack wraps a function that returns v, and calls it three times.
func comesBack(t *rapid.T, cache *Cache, near time.Duration, v reflect.Value) {
	target := returning(v)
	funcs, err := WrapStruct(target, Options{Cache: cache, Name: "get", Timeout: time.Hour, Lease: time.Minute, Near: near})
	require.NoError(t, err, "%v", v.Type())
	f := funcs["Get"]
	defer f.Unwrap()
	get := reflect.ValueOf(target).Elem().Field(0)
	for call := range 3 {
		out := get.Call([]reflect.Value{reflect.ValueOf(context.Background())})
		require.True(t, out[1].IsNil(), "%v", out[1])
		got := reflect.New(v.Type())
		got.Elem().Set(out[0])
		require.Empty(t, specimen.Differ(v.Type(), v.Addr().UnsafePointer(), got.UnsafePointer()), "call %d of %v", call, v.Type())
	}
	stats := f.Stats()
	require.EqualValues(t, 1, stats.Stored, "%v", v.Type())
	require.EqualValues(t, 2, stats.Fresh+stats.Near)
}
