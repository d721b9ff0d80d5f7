package fncache_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/specimen"
)

type tenantInContext struct{}

func asTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantInContext{}, name)
}

func tenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenantInContext{}).(string)
	return name
}

// greeter is a function whose answer depends on the tenant.
type greeter = func(context.Context, string) (string, error)

func greet(ctx context.Context, who string) (string, error) {
	return "hello " + who + " from " + tenantOf(ctx), nil
}

// varied wraps greet in both forms, and counts how often Vary is asked.
func varied(t *testing.T, opts Options, test func(t *testing.T, f *Func, call greeter, asked func() int64)) {
	for form, wrap := range map[string]func(*greeter, Options) (*Func, error){reflectedForm: Wrap[greeter], typedForm: wrapUntyped1[greeter]} {
		func() { // no t.Run in bubbles
			var asked atomic.Int64
			opts := opts
			opts.Prefix, opts.Name, opts.Timeout = form, "greet", time.Hour
			opts.Vary = func(ctx context.Context) string { asked.Add(1); return tenantOf(ctx) }
			call := greet
			f, err := wrap(&call, opts)
			require.NoError(t, err)
			defer f.Unwrap()
			test(t, f, call, func() int64 { return asked.Swap(0) })
		}()
	}
}

func TestTheStringOfVaryIsPartOfTheKey(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		varied(t, Options{Cache: newTestCache(t, Config{Redis: b.Client(), RedisTimeout: shortEnough})}, func(t *testing.T, f *Func, call greeter, asked func() int64) {
			for range 2 { // misses, and hits
				for _, name := range []string{"acme", "globex", ""} {
					got, err := call(asTenant(t.Context(), name), "you")
					require.NoError(t, err)
					require.Equal(t, "hello you from "+name, got)
					require.EqualValues(t, 1, asked(), "once for each call")
				}
			}
			assert.EqualValues(t, 3, f.Stats().Computations)
			_, err := call(WithBypass(asTenant(t.Context(), "acme")), "you")
			require.NoError(t, err)
			assert.EqualValues(t, 1, asked())
			require.NoError(t, f.Invalidate(asTenant(t.Context(), "acme"), "you"))
			for _, name := range []string{"acme", "globex", ""} {
				_, err := call(asTenant(t.Context(), name), "you")
				require.NoError(t, err)
			}
			assert.EqualValues(t, 4, f.Stats().Computations, "that of acme alone was invalidated")
			require.NoError(t, f.Refresh(asTenant(t.Context(), "globex"), "you"))
			var info Info
			_, err = call(WithInfo(asTenant(t.Context(), "globex"), &info), "you")
			require.NoError(t, err)
			key, err := f.KeyFor(asTenant(t.Context(), "globex"), "you")
			require.NoError(t, err)
			assert.Equal(t, key, info.Key)
			assert.Equal(t, SourceFresh, info.Source)
			for _, name := range []string{"acme", "globex", ""} {
				require.NoError(t, f.Invalidate(asTenant(t.Context(), name), "you"))
			}
		})
	})
}

func TestNearHitsVaryToo(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cache := b.cache()
		varied(t, Options{Cache: cache, Near: time.Minute}, func(t *testing.T, f *Func, call greeter, asked func() int64) {
			require.True(t, f.Plain(), "there is a place for what Vary answers")
			_, err := call(asTenant(t.Context(), "first"), "you")
			require.NoError(t, err)
			time.Sleep(time.Second) // until events are heard
			asked()
			for i := range 4 {
				for _, name := range []string{"acme", "globex", ""} {
					var info Info
					got, err := call(WithInfo(asTenant(t.Context(), name), &info), "you")
					require.NoError(t, err)
					require.Equal(t, "hello you from "+name, got)
					require.EqualValues(t, 1, asked(), "once for each call")
					if i > 1 {
						require.Equal(t, SourceNear, info.Source)
						key, err := f.KeyFor(asTenant(t.Context(), name), "you")
						require.NoError(t, err)
						require.Equal(t, key, info.Key)
						asked()
					}
				}
			}
		})
		// With two strings there is no place left.
		call := func(ctx context.Context, a, b string) (string, error) { return greet(ctx, a+b) }
		f, err := wrapUntyped2(&call, Options{Cache: cache, Name: "two", Timeout: time.Hour, Near: time.Minute, Vary: tenantOf})
		require.NoError(t, err)
		require.False(t, f.Plain())
		for range 3 {
			for _, name := range []string{"acme", "globex"} {
				got, err := call(asTenant(t.Context(), name), "a", "b")
				require.NoError(t, err)
				require.Equal(t, "hello ab from "+name, got)
			}
			time.Sleep(time.Second) // until the events of this function too are heard
		}
		assert.NotZero(t, f.Stats().Near)
	})
}

func TestTheStringOfVaryIsNotTakenForAnArgument(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		one := func(_ context.Context, s ...string) (string, error) { return fmt.Sprint(s), nil }
		other := one
		cache := b.cache()
		varies, err := Wrap(&one, Options{Cache: cache, Prefix: "varies", Name: "same", Timeout: time.Hour, Vary: tenantOf})
		require.NoError(t, err)
		plain, err := Wrap(&other, Options{Cache: cache, Name: "same", Timeout: time.Hour})
		require.NoError(t, err)
		key := func(name string, args ...any) string {
			key, err := varies.KeyFor(asTenant(t.Context(), name), args...)
			require.NoError(t, err)
			return key
		}
		assert.NotEqual(t, key("b", "a"), key("", "a", "b"))
		assert.NotEqual(t, key("ab"), key("b", "a"))
		assert.NotEqual(t, key("", "a"), key("a", ""))
		assert.NotEqual(t, varies.Fingerprint(), plain.Fingerprint(), "and its entries are others than those of a release without Vary")
		assert.NotEqual(t, varies.Params(), plain.Params())
	})
}

func TestKeyReturnsAnErrorIfVaryIsSet(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		varied(t, Options{Cache: b.cache()}, func(t *testing.T, f *Func, _ greeter, _ func() int64) {
			_, err := f.Key("you")
			require.EqualError(t, err, "fncache: key of "+f.Name()+": Options.Vary is set, so the key depends on the context; use KeyFor")
		})
		call := greet
		f, err := Wrap(&call, Options{Cache: b.cache(), Name: "plain", Timeout: time.Hour})
		require.NoError(t, err)
		key, err := f.Key("you")
		require.NoError(t, err)
		forAcme, err := f.KeyFor(asTenant(t.Context(), "acme"), "you")
		require.NoError(t, err)
		assert.Equal(t, key, forAcme, "without Vary nothing of a context is part of the key")
	})
}

func TestAPanicInVaryReachesTheCallerAndIsCounted(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for name, near := range map[string]time.Duration{"far": 0, "near": time.Minute} {
			call := greet
			f, err := wrapUntyped1(&call, Options{Cache: b.cache(), Name: name, Timeout: time.Hour, Near: near, Vary: func(context.Context) string { panic("no tenant") }})
			require.NoError(t, err)
			var info Info
			assert.PanicsWithValue(t, "no tenant", func() { _, _ = call(WithInfo(t.Context(), &info), "you") })
			assert.Equal(t, SourceFailed, info.Source)
			assert.PanicsWithValue(t, "no tenant", func() { _ = f.Invalidate(t.Context(), "you") })
			assert.EqualValues(t, 1, requireIdentity(t, f).Failed)
			f.Unwrap()
			got, err := call(t.Context(), "you")
			require.NoError(t, err)
			assert.Equal(t, "hello you from ", got, "an unwrapped function is asked nothing")
		}
	})
}

func TestVaryNeedsAContext(t *testing.T) {
	cache := newTestCache(t, Config{Redis: redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})})
	fn := func(int) (int, error) { return 0, nil }
	_, err := Wrap(&fn, Options{Cache: cache, Name: "f", Timeout: time.Hour, Vary: tenantOf})
	require.ErrorContains(t, err, "Vary is set, but the function has no context")

	svc := struct {
		With    func(context.Context, int) (int, error) `fncache:""`
		Without func(int) (int, error)                  `fncache:""`
	}{func(context.Context, int) (int, error) { return 0, nil }, fn}
	type service struct {
		With    func(context.Context, int) (int, error) `fncache:""`
		Without func(int) (int, error)                  `fncache:""`
	}
	named := service(svc)
	funcs, err := WrapStruct(&named, Options{Cache: cache, Timeout: time.Hour, Vary: tenantOf})
	require.NoError(t, err)
	_, err = funcs["Without"].Key(1)
	require.NoError(t, err, "it is left out where it means nothing")
	_, err = funcs["With"].Key(1)
	require.ErrorContains(t, err, "use KeyFor")
}

func TestContextsOfNilVaryAsTheBackground(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		varied(t, Options{Cache: b.cache(), Near: time.Minute}, func(t *testing.T, f *Func, call greeter, _ func() int64) {
			key, err := f.KeyFor(nil, "you") //nolint:staticcheck // what a caller may do
			require.NoError(t, err)
			var ctx context.Context
			_, err = call(ctx, "you")
			require.NoError(t, err)
			same, err := f.KeyFor(context.Background(), "you")
			require.NoError(t, err)
			assert.Equal(t, same, key)
		})
	})
}

// withoutSecret makes a cache without a secret, and noSecret is a part of what the log says of one.
func withoutSecret(c *Config) { c.HashSecret = []byte{} }

const noSecret = "HashSecret is not set"

func TestAMissingHashSecretIsLoggedOnce(t *testing.T) {
	type filter struct{ Limits map[string]int }
	inOneBubble(t, func(t *testing.T, b *bubble) {
		for i, wrapOne := range []func(c *Cache, name string) error{
			func(c *Cache, name string) error {
				fn := greet
				_, err := Wrap1(&fn, Options{Cache: c, Name: name, Timeout: time.Hour})
				return err
			},
			func(c *Cache, name string) error {
				fn := func(context.Context, [1]filter) (int, error) { return 0, nil }
				_, err := Wrap(&fn, Options{Cache: c, Name: name, Timeout: time.Hour})
				return err
			},
			func(c *Cache, name string) error {
				fn := func(context.Context, specimen.Decimal) (int, error) { return 0, nil }
				_, err := Wrap(&fn, Options{Cache: c, Name: name, Timeout: time.Hour})
				return err
			},
			func(c *Cache, name string) error {
				fn := func(context.Context) (int, error) { return 0, nil }
				_, err := Wrap(&fn, Options{Cache: c, Name: name, Timeout: time.Hour, Vary: tenantOf})
				return err
			},
			func(c *Cache, name string) error {
				svc := struct {
					Fn greeter `fncache:"timeout=1h"`
				}{greet}
				_, err := WrapStruct(&svc, Options{Cache: c, Name: name})
				return err
			},
		} {
			c := b.cache(withoutSecret)
			for j := range 2 {
				require.NoError(t, wrapOne(c, fmt.Sprintf("f%d.%d", i, j)))
			}
			b.log.KeepUpWith(c.Log())
			lines := b.log.About(noSecret)
			require.Len(t, lines, i+1, "once for a cache")
			assert.Contains(t, lines[i], "the same secret in every process")
			assert.Contains(t, lines[i], fmt.Sprintf("f%d.0", i))
		}
	})
}

func TestASecretIsNotMissedWhereNothingIsHashed(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		quiet := b.cache(withoutSecret)
		number := func(context.Context, int, bool, time.Time, [3]float64) (int, error) { return 0, nil }
		f, err := Wrap(&number, Options{Cache: quiet, Name: "number", Timeout: time.Hour})
		require.NoError(t, err)
		_, err = f.Key(1, true, time.Time{}, [3]float64{})
		require.NoError(t, err)
		secret := b.cache()
		call := greet
		_, err = Wrap(&call, Options{Cache: secret, Name: "secret", Timeout: time.Hour})
		require.NoError(t, err)
		require.Empty(t, b.log.About(noSecret))
	})
}

func TestAMissingHashSecretOfADefaultCacheIsLoggedOnceItIsUsed(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		call := greet
		f, err := Wrap(&call, Options{Name: "later", Timeout: time.Hour})
		require.NoError(t, err)
		defer f.Unwrap()
		SetDefault(b.cache(withoutSecret))
		defer SetDefault(nil)
		require.Empty(t, b.log.About(noSecret))
		for range 2 {
			_, err = call(t.Context(), "you")
			require.NoError(t, err)
		}
		require.Len(t, b.log.About(noSecret), 1)
	})
}
