package fncache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted returns how often it has run, in a list that callers could share.
type counted struct {
	runs int
	err  error
}

func (c *counted) one(context.Context, int64) ([]int, error) {
	c.runs++
	return []int{c.runs}, c.err
}

func (c *counted) two(context.Context, int64, string) ([]int, error) {
	return c.one(context.Background(), 0)
}

func (c *counted) three(context.Context, int64, string, bool) ([]int, error) {
	return c.one(context.Background(), 0)
}

// A typedHandle is a handle of any form, with its arguments given.
type typedHandle struct {
	untyped    *Func
	args       []any
	cached     func(context.Context) ([]int, error)
	call       func(context.Context) ([]int, error)
	key        func() (string, error)
	keyFor     func(context.Context) (string, error)
	invalidate func(context.Context) error
	expire     func(context.Context) error
	refresh    func(context.Context) ([]int, error)
	peek       func(context.Context) ([]int, Info, bool, error)
}

// typedHandles makes a function and its handle by each of New1 to New3.
var typedHandles = map[string]func(*counted, Options) (*typedHandle, error){
	"one": func(c *counted, opts Options) (*typedHandle, error) {
		cached, h, err := New1(c.one, opts)
		if err != nil {
			return nil, err
		}
		return &typedHandle{
			h.Func,
			[]any{7},
			func(ctx context.Context) ([]int, error) { return cached(ctx, 7) },
			func(ctx context.Context) ([]int, error) { return h.Call(ctx, 7) },
			func() (string, error) { return h.Key(7) },
			func(ctx context.Context) (string, error) { return h.KeyFor(ctx, 7) },
			func(ctx context.Context) error { return h.Invalidate(ctx, 7) },
			func(ctx context.Context) error { return h.Expire(ctx, 7) },
			func(ctx context.Context) ([]int, error) { return h.Refresh(ctx, 7) },
			func(ctx context.Context) ([]int, Info, bool, error) { return h.Peek(ctx, 7) },
		}, nil
	},
	"two": func(c *counted, opts Options) (*typedHandle, error) {
		cached, h, err := New2(c.two, opts)
		if err != nil {
			return nil, err
		}
		return &typedHandle{
			h.Func,
			[]any{7, "a"},
			func(ctx context.Context) ([]int, error) { return cached(ctx, 7, "a") },
			func(ctx context.Context) ([]int, error) { return h.Call(ctx, 7, "a") },
			func() (string, error) { return h.Key(7, "a") },
			func(ctx context.Context) (string, error) { return h.KeyFor(ctx, 7, "a") },
			func(ctx context.Context) error { return h.Invalidate(ctx, 7, "a") },
			func(ctx context.Context) error { return h.Expire(ctx, 7, "a") },
			func(ctx context.Context) ([]int, error) { return h.Refresh(ctx, 7, "a") },
			func(ctx context.Context) ([]int, Info, bool, error) { return h.Peek(ctx, 7, "a") },
		}, nil
	},
	"three": func(c *counted, opts Options) (*typedHandle, error) {
		cached, h, err := New3(c.three, opts)
		if err != nil {
			return nil, err
		}
		return &typedHandle{
			h.Func,
			[]any{7, "a", true},
			func(ctx context.Context) ([]int, error) { return cached(ctx, 7, "a", true) },
			func(ctx context.Context) ([]int, error) { return h.Call(ctx, 7, "a", true) },
			func() (string, error) { return h.Key(7, "a", true) },
			func(ctx context.Context) (string, error) { return h.KeyFor(ctx, 7, "a", true) },
			func(ctx context.Context) error { return h.Invalidate(ctx, 7, "a", true) },
			func(ctx context.Context) error { return h.Expire(ctx, 7, "a", true) },
			func(ctx context.Context) ([]int, error) { return h.Refresh(ctx, 7, "a", true) },
			func(ctx context.Context) ([]int, Info, bool, error) { return h.Peek(ctx, 7, "a", true) },
		}, nil
	},
}

// inTypedForms runs test for a function with each number of arguments.
func inTypedForms(t *testing.T, change Options, test func(t *testing.T, b *bubble, c *counted, h *typedHandle)) {
	t.Helper()
	for name, wrapForm := range typedHandles {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				opts := change
				opts.Cache, opts.Name, opts.Timeout, opts.Freshness = b.cache(), "test.Handles", time.Hour, time.Minute
				c := &counted{}
				h, err := wrapForm(c, opts)
				require.NoError(t, err)
				test(t, b, c, h)
			})
		})
	}
}

func TestTypedHandlesActOnTheEntryOfTheirArguments(t *testing.T) {
	inTypedForms(t, Options{}, func(t *testing.T, b *bubble, c *counted, h *typedHandle) {
		ctx := t.Context()
		want, err := h.untyped.Key(h.args...)
		require.NoError(t, err)
		key, err := h.key()
		require.NoError(t, err)
		assert.Equal(t, want, key)
		key, err = h.keyFor(ctx)
		require.NoError(t, err)
		assert.Equal(t, want, key)

		for _, call := range []func(context.Context) ([]int, error){h.cached, h.call} {
			got, err := call(ctx)
			require.NoError(t, err)
			assert.Equal(t, []int{1}, got, "Call is the cached function")
		}
		assert.Equal(t, []string{want}, b.keys())

		got, err := h.refresh(ctx)
		require.NoError(t, err)
		assert.Equal(t, []int{2}, got, "Refresh returns what it has computed")
		got[0] = 99
		got, err = h.call(ctx)
		require.NoError(t, err)
		assert.Equal(t, []int{2}, got, "callers share no memory")

		require.NoError(t, h.expire(ctx))
		_, info, ok, err := h.peek(ctx)
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, SourceStale, info.Source)
		require.NoError(t, h.invalidate(ctx))
		assert.Empty(t, b.keys())

		c.err = errSource
		got, err = h.refresh(ctx)
		require.ErrorIs(t, err, errSource)
		assert.Equal(t, []int{3}, got, "what the function returned with the error")
	})
}

func TestPeekServesAnEntryAndNeverComputes(t *testing.T) {
	inTypedForms(t, Options{}, func(t *testing.T, b *bubble, c *counted, h *typedHandle) {
		ctx := t.Context()
		key, err := h.key()
		require.NoError(t, err)
		got, info, ok, err := h.peek(ctx)
		require.NoError(t, err)
		assert.False(t, ok)
		assert.Equal(t, Info{Key: key}, info)
		assert.Nil(t, got)
		assert.Empty(t, b.keys(), "no lease is asked for")

		Must(h.call(ctx))
		before, leases := h.untyped.Stats(), b.tap.count("acquire")
		for _, step := range []struct {
			after  time.Duration
			source Source
		}{{time.Second, SourceFresh}, {2 * time.Minute, SourceStale}} {
			time.Sleep(step.after)
			got, info, ok, err = h.peek(ctx)
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, []int{1}, got)
			assert.Equal(t, step.source, info.Source)
			assert.GreaterOrEqual(t, info.Age, step.after)
			assert.Equal(t, key, info.Key)
			got[0] = 99
		}
		time.Sleep(time.Hour)
		_, _, ok, err = h.peek(ctx)
		require.NoError(t, err)
		assert.False(t, ok, "past Timeout")
		assert.Equal(t, 1, c.runs)
		before.Lookups += 3 // one by each peek
		assert.Equal(t, before, h.untyped.Stats(), "a peek is no call")
		assert.Equal(t, leases, b.tap.count("acquire"), "a peek asks for no lease")
	})
}

func TestPeekReturnsWhyItCouldNotFindOut(t *testing.T) {
	inTypedForms(t, Options{}, func(t *testing.T, b *bubble, c *counted, h *typedHandle) {
		Must(h.call(t.Context()))
		ended, end := context.WithCancel(t.Context())
		end()
		_, _, ok, err := h.peek(ended)
		require.ErrorIs(t, err, context.Canceled)
		assert.False(t, ok)
		mend := b.cut()
		_, info, ok, err := h.peek(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		require.ErrorContains(t, err, "function test.Handles")
		assert.False(t, ok)
		assert.NotEmpty(t, info.Key)
		assert.Equal(t, 1, c.runs, "a peek computes nothing with Redis away")
		mend()
	})
}

func TestPeekReadsTheNearCache(t *testing.T) {
	inTypedForms(t, Options{Near: time.Second}, func(t *testing.T, b *bubble, c *counted, h *typedHandle) {
		h.untyped.Bound()
		time.Sleep(time.Second) // until events are heard
		Must(h.call(t.Context()))
		Must(h.call(t.Context()))
		asked := b.tap.count("get")
		got, info, ok, err := h.peek(t.Context())
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, []int{1}, got)
		assert.Equal(t, SourceNear, info.Source)
		assert.Equal(t, asked, b.tap.count("get"))
		got[0] = 99
		mend := b.cut()
		time.Sleep(2 * time.Second)
		got, info, ok, err = h.peek(t.Context())
		require.NoError(t, err)
		assert.True(t, ok, "as a call would be served while Redis is away")
		assert.Equal(t, []int{1}, got)
		assert.Equal(t, SourceStale, info.Source)
		mend()
	})
}

func TestPeekReturnsAnErrorThatIsAnAnswer(t *testing.T) {
	no := errors.New("no such book")
	inTypedForms(t, Options{CacheErrors: []error{no}, ErrorTimeout: time.Minute}, func(t *testing.T, _ *bubble, c *counted, h *typedHandle) {
		c.err = no
		_, err := h.call(t.Context())
		require.ErrorIs(t, err, no)
		got, info, ok, err := h.peek(t.Context())
		require.ErrorIs(t, err, no)
		assert.True(t, ok)
		assert.Nil(t, got)
		assert.Equal(t, SourceFresh, info.Source)
	})
}

// TestPeekReadsWhatACallWouldRead has a process peek at what another process has stored.
func TestPeekReadsWhatACallWouldRead(t *testing.T) {
	long := strings.Repeat("long ", 2000)
	for name, test := range map[string]struct {
		cfg    func(*Config)
		reader func(*Config) // nil: as cfg
		none   bool          // the reader finds nothing that may be served
	}{
		"CBOR":                         {cfg: func(c *Config) { c.Codec = CBOR{} }},
		"JSON":                         {cfg: func(c *Config) { c.Codec = JSON{} }},
		"a codec of the user":          {cfg: func(c *Config) { c.Codec = ownCodec{} }},
		"sealed":                       {cfg: sealing(1)},
		"sealed, JSON":                 {cfg: func(c *Config) { sealing(1)(c); c.Codec = JSON{} }},
		"sealed by an older key":       {cfg: sealing(1), reader: sealing(2, 1)},
		"sealed by a key that is gone": {cfg: sealing(1), reader: sealing(2), none: true},
		"not compressed":               {cfg: func(c *Config) { c.CompressOver = -1 }},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, func(t *testing.T, b *bubble) {
				none := errors.New("no such book")
				process := func(cfg func(*Config)) *Func1[string, string] {
					_, h, err := New1(func(_ context.Context, title string) (string, error) {
						if title == "" {
							return "", none
						}
						return long + title, nil
					}, Options{
						Cache: b.cache(cfg), Name: "test.Peeked", Shared: true, Timeout: time.Hour, Freshness: time.Minute,
						CacheErrors: []error{none}, ErrorTimeout: time.Hour,
					})
					require.NoError(t, err)
					return h
				}
				if test.reader == nil {
					test.reader = test.cfg
				}
				writer, reader := process(test.cfg), process(test.reader)
				Must(writer.Call(t.Context(), "Emma"))
				_, err := writer.Call(t.Context(), "")
				require.ErrorIs(t, err, none)
				for _, source := range []Source{SourceFresh, SourceStale} {
					got, info, ok, err := reader.Peek(t.Context(), "Emma")
					require.NoError(t, err)
					require.Equal(t, !test.none, ok)
					if ok {
						assert.Equal(t, long+"Emma", got)
						assert.Equal(t, source, info.Source)
					}
					_, _, ok, err = reader.Peek(t.Context(), "")
					assert.Equal(t, !test.none, ok)
					assert.Equal(t, ok, errors.Is(err, none))
					time.Sleep(2 * time.Minute) // of the bubble
				}
				assert.Equal(t, test.none, reader.Func.Stats().Undecodable > 0)
			})
		})
	}
}

func TestPeekIgnoresWhatTheContextAsksOfACall(t *testing.T) {
	inTypedForms(t, Options{}, func(t *testing.T, _ *bubble, c *counted, h *typedHandle) {
		Must(h.call(t.Context()))
		var info Info
		for _, ctx := range []context.Context{WithInfo(t.Context(), &info), WithBypass(t.Context()), WithRefresh(t.Context())} {
			got, from, ok, err := h.peek(ctx)
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, []int{1}, got)
			assert.Equal(t, SourceFresh, from.Source)
		}
		assert.Zero(t, info)
		assert.Equal(t, 1, c.runs)
	})
}

func TestAPeekThatBeganBeforeAnInvalidationAnswersNoLaterOne(t *testing.T) {
	inTypedForms(t, Options{}, func(t *testing.T, b *bubble, _ *counted, h *typedHandle) {
		Must(h.call(t.Context()))
		answered := make(chan struct{})
		b.tap.onReply("get", func(redis.Cmder) { <-answered })
		early := make(chan bool)
		go func() {
			_, _, ok, _ := h.peek(t.Context())
			early <- ok
		}()
		synctest.Wait()
		require.NoError(t, h.invalidate(t.Context()))
		_, _, ok, err := h.peek(t.Context())
		require.NoError(t, err)
		assert.False(t, ok)
		close(answered)
		assert.True(t, <-early, "it was sent before")
	})
}

func TestPeekObeysVaryAndTags(t *testing.T) {
	inTypedForms(t, Options{Vary: tenantOf, Tags: []string{"books"}}, func(t *testing.T, b *bubble, _ *counted, h *typedHandle) {
		acme, globex := asTenant(t.Context(), "acme"), asTenant(t.Context(), "globex")
		Must(h.call(acme))
		_, err := h.key()
		require.ErrorContains(t, err, "use KeyFor")
		peeks := func(ctx context.Context) (Source, bool) {
			_, info, ok, err := h.peek(ctx)
			require.NoError(t, err)
			key, err := h.keyFor(ctx)
			require.NoError(t, err)
			require.Equal(t, key, info.Key)
			return info.Source, ok
		}
		_, ok := peeks(globex)
		assert.False(t, ok)
		source, _ := peeks(acme)
		assert.Equal(t, SourceFresh, source)
		cache := h.untyped.Opts().Cache
		require.NoError(t, cache.ExpireTags(t.Context(), "books"))
		source, _ = peeks(acme)
		assert.Equal(t, SourceStale, source)
		require.NoError(t, cache.InvalidateTags(t.Context(), "books"))
		_, ok = peeks(acme)
		assert.False(t, ok)
	})
}

func TestTheTagsOfAnEntryThatAFunctionPeeksAtAreInherited(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cache, c := b.cache(), &counted{}
		_, inner, err := New1(c.one, Options{Cache: cache, Name: "inner", Timeout: time.Hour, Tags: []string{"books"}})
		require.NoError(t, err)
		_, outer, err := New1(func(ctx context.Context, id int64) (int, error) {
			got, _, _, err := inner.Peek(ctx, id)
			return len(got), err
		}, Options{Cache: cache, Name: "outer", Timeout: time.Hour, Tags: []string{}})
		require.NoError(t, err)
		assert.Equal(t, 0, Must(outer.Call(t.Context(), 1)))
		Must(inner.Call(t.Context(), 1))
		assert.Equal(t, 0, Must(outer.Call(t.Context(), 1)), "cached")
		require.NoError(t, cache.InvalidateTags(t.Context(), "books"))
		Must(inner.Call(t.Context(), 1))
		assert.Equal(t, 1, Must(outer.Call(t.Context(), 1)), "that there was nothing is invalidated too")
		require.NoError(t, cache.InvalidateTags(t.Context(), "books"))
		assert.Equal(t, 0, Must(outer.Call(t.Context(), 1)))
	})
}

// W5: a peek that fails has handed up its tags too.
func TestW5TheTagsOfAPeekThatFailsAreInherited(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cache, c := b.cache(), &counted{}
		_, inner, err := New1(c.one, Options{Cache: cache, Name: "inner", Timeout: time.Hour, Tags: []string{"books"}})
		require.NoError(t, err)
		runs := 0
		_, outer, err := New1(func(ctx context.Context, id int64) (int, error) {
			ended, end := context.WithCancel(ctx)
			end()
			_, _, _, err := inner.Peek(ended, id)
			assert.ErrorIs(t, err, context.Canceled)
			runs++
			return runs, nil
		}, Options{Cache: cache, Name: "outer", Timeout: time.Hour, Tags: []string{}})
		require.NoError(t, err)
		assert.Equal(t, []int{1, 1}, []int{Must(outer.Call(t.Context(), 1)), Must(outer.Call(t.Context(), 1))})
		require.NoError(t, cache.InvalidateTags(t.Context(), "books"))
		assert.Equal(t, 2, Must(outer.Call(t.Context(), 1)))
	})
}

func TestNewLeavesTheFunctionAndUnwrapsTheCachedOne(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		fn := lengthFunc(lengthOf)
		opts := Options{Cache: b.cache(), Timeout: time.Hour}
		cached, h, err := New1(fn, opts)
		require.NoError(t, err)
		assert.IsType(t, lengthFunc(nil), cached, "it keeps the named type")
		assert.True(t, sameFunc(fn, lengthFunc(lengthOf)))
		assert.Equal(t, "github.com/fncache/fncache_test.lengthOf", h.Func.Name())
		_, _, err = New1(cached, opts)
		require.ErrorContains(t, err, "wrapped already, or a copy")

		h.Func.Unwrap()
		for _, call := range []lengthFunc{cached, h.Call} {
			n, err := call(t.Context(), "four")
			require.NoError(t, err)
			assert.Equal(t, 4, n)
		}
		assert.Zero(t, h.Func.Stats().Calls)
	})
}

func TestNewNamesItsFaults(t *testing.T) {
	cached, h, err := New1[lengthFunc](nil, Options{Timeout: time.Hour})
	assert.Nil(t, cached)
	assert.Nil(t, h)
	assert.Regexp(t, `^fncache: wrap at handles_test\.go:\d+: the func is nil`, err.Error())
	two, h2, err := New2(bookOf, Options{})
	assert.Nil(t, two)
	assert.Nil(t, h2)
	require.ErrorContains(t, err, "Timeout")
	three, h3, err := New3(hostOf, Options{})
	assert.Nil(t, three)
	assert.Nil(t, h3)
	require.ErrorContains(t, err, "Timeout")
	wrapped, err := Wrap1[lengthFunc](nil, Options{})
	assert.Nil(t, wrapped)
	require.Error(t, err)
}

func TestFuncsExplainAFieldThatIsNotThere(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		svc := struct {
			Title stringFunc `fncache:"timeout=1h"`
			Pages stringFunc `fncache:"timeout=1h"`
		}{lengthOf, lengthOf}
		funcs, err := WrapStruct(&svc, Options{Cache: b.cache(), Shared: true, Name: "test.Length"})
		require.NoError(t, err)
		f, err := funcs.Get("Title")
		require.NoError(t, err)
		assert.Same(t, funcs["Title"], f)
		f, err = funcs.Get("title")
		assert.Nil(t, f)
		require.EqualError(t, err, `fncache: no handle for the field "title"; there are handles for Pages, Title`)
		_, err = Funcs(nil).Get("Title")
		require.EqualError(t, err, `fncache: no handle for the field "Title": there are no handles at all; use what WrapStruct returns without an error`)
	})
}

func TestACacheListsTheFunctionsThatAreWrappedOnIt(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		first, second := b.cache(), b.cache()
		make1 := func(cache *Cache, name string) *Func {
			_, h, err := New1((&counted{}).one, Options{Cache: cache, Name: name, Timeout: time.Hour})
			require.NoError(t, err)
			return h.Func
		}
		assert.Empty(t, first.Funcs())
		z, a, other, ofDefault := make1(first, "z"), make1(first, "a"), make1(second, "b"), make1(nil, "listed.byDefault")
		defer ofDefault.Unwrap()
		assert.Equal(t, []*Func{a, z}, first.Funcs(), "in the order of names")
		assert.Equal(t, []*Func{other}, second.Funcs())

		before := Default()
		defer SetDefault(before)
		SetDefault(second)
		assert.Contains(t, second.Funcs(), ofDefault, "also before its first call")
		SetDefault(first)
		assert.NotContains(t, second.Funcs(), ofDefault)
		assert.Contains(t, first.Funcs(), ofDefault)

		z.Unwrap()
		assert.NotContains(t, first.Funcs(), z)
		assert.Contains(t, first.Funcs(), a)
		require.NoError(t, first.Close())
		assert.Empty(t, first.Funcs())
	})
}
