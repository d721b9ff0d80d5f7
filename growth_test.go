package fncache_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"
	"weak"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/require"
)

// This file tests data that live as long as a cache or the process and grow for each address,
// name or key.

func TestAnUnreferencedFunctionIsFreedWithItsCache(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first := b.cache()
		cfg := first.Config()
		cfg.Logger = slog.New(slog.DiscardHandler) // a logtest.Handler would hold it
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
