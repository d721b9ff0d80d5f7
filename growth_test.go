package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/oncelog"
)

// What lives as long as a cache or the process, and grows per address, name or key.

func TestCircuitsOfNodesThatCameAndWentAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ""
		spawn := func(f func()) { go f() }
		h := &health{log: oncelog.New(slog.New(slog.DiscardHandler), spawn), spawn: spawn, back: func() {}}
		h.serverOf = func(string) string { return server }
		fail := func() {
			failure := newRedisError(opLookup, "k", errRedisTimeout)
			h.failed(failure)
		}
		circuits := func() (n int) {
			h.circuits.Range(func(any, any) bool { n++; return true })
			return n
		}
		for i := range 1000 {
			server = fmt.Sprintf("10.0.%d.%d:6379", i/250, i%250)
			fail()
			h.succeeded(opLookup, "k")
		}
		assert.LessOrEqual(t, circuits(), 2)
		assert.Zero(t, h.troubled.Load())

		// One that has seen a failure since the last success stays, also where others come.
		server = "stays"
		fail()
		fail()
		server = "another"
		fail()
		server = "stays"
		require.Len(t, h.seen(opLookup, "k"), 1)
		assert.EqualValues(t, 2, h.troubled.Load())
		// Of nodes that are gone no success is heard: they are forgiven in time.
		time.Sleep(taintLasts + time.Second)
		server = "last"
		fail()
		h.succeeded(opLookup, "k")
		assert.Zero(t, h.troubled.Load())
		fail()
		assert.LessOrEqual(t, circuits(), 3)
		synctest.Wait()
	})
}

func TestAFunctionThatNobodyHasAnyMoreIsForgottenWithItsCache(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		cfg := first.cfg
		cfg.Logger = slog.New(slog.DiscardHandler) // a logSink would hold it
		open := func() (weak.Pointer[Func], weak.Pointer[Cache]) {
			c := newOpenCache(t, cfg)
			fn := stringFunc(func(context.Context, string) (int, error) { return 1, nil })
			f, err := wrapString(t, &fn, Options{Cache: c, Name: "test.One", Timeout: time.Hour, Near: time.Hour})
			require.NoError(t, err)
			_, err = fn(t.Context(), "k")
			require.NoError(t, err)
			copied := fn
			_, err = wrapString(t, &copied, Options{Cache: c, Name: "test.Two", Timeout: time.Hour})
			require.ErrorContains(t, err, "it is wrapped already")
			require.NoError(t, c.Close())
			return weak.Make(f), weak.Make(c)
		}
		f, c := open()
		time.Sleep(time.Minute) // its timers end
		collect(t, func() bool { return f.Value() == nil && c.Value() == nil })
		runtime.KeepAlive(first)
	})
}

func TestStubsThatAreGoneAreTakenOut(t *testing.T) {
	var s stubSet
	var kept []*Func
	for i := range 20 * leastSweep {
		fn := func(int) (int, error) { return i, errors.ErrUnsupported }
		f := &Func{variable: reflect.ValueOf(&fn).Elem()}
		s.add(f)
		require.Same(t, f, s.of(f.variable))
		if i%100 == 0 {
			kept = append(kept, f)
		}
		if i%leastSweep == 0 {
			runtime.GC()
		}
	}
	assert.Less(t, len(s.m), 4*leastSweep)
	for _, f := range kept {
		require.Same(t, f, s.of(f.variable))
		s.remove(f)
		require.Nil(t, s.of(f.variable))
	}
}
