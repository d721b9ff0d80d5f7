package near

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

func TestKeysThatShareAHashAreTwo(t *testing.T) {
	sig, err := signature.New(reflect.TypeOf(func(context.Context, string) (int, error) { return 0, nil }), false, codec.CBOR)
	require.NoError(t, err)
	f := NewFunc(shape.Compile(sig))
	c := clock.New(clock.Config{})
	s := New(Config{Size: 1 << 20, Events: events.New(events.Config{Clock: c}), Clock: c, Spawn: func(f func()) { go f() }})
	one, other := shape.Plain{S: [2]string{"one"}}, shape.Plain{S: [2]string{"other"}}
	e := &Entry{Func: f, Key: one, RedisKey: "redis one"}
	s.Keep(e)
	s.entries().Set(f.hash(&other), e)
	assert.Same(t, e, s.Find(f, &one))
	assert.Nil(t, s.Find(f, &other))
}

func TestEachPartOfAKeyChangesTheHash(t *testing.T) {
	sig, err := signature.New(reflect.TypeOf(func(_, _, _, _ int, _, _ string) int { return 0 }), false, codec.CBOR)
	require.NoError(t, err)
	f := NewFunc(shape.Compile(sig))
	hashes := make(map[uint64]shape.Plain)
	for _, key := range []shape.Plain{
		{},
		{N: [4]uint64{1}},
		{N: [4]uint64{0, 1}},
		{N: [4]uint64{0, 0, 1}},
		{N: [4]uint64{0, 0, 0, 1}},
		{S: [2]string{"x"}},
		{S: [2]string{"", "x"}},
		{S: [2]string{"x", "x"}},
		{S: [2]string{"xx"}},
	} {
		h := f.hash(&key)
		assert.NotContains(t, hashes, h, "%v and %v", key, hashes[h])
		hashes[h] = key
	}
}
