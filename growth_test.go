package fncache

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What lives as long as a cache or the process, and grows per address, name or key.

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
