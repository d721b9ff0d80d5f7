package fncache_test

import (
	"context"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
)

// touchy decodes as a test says.
type touchy struct{ n int }

var touch struct {
	sync.Mutex
	decode func() // nil: well
}

func setTouch(decode func()) {
	touch.Lock()
	defer touch.Unlock()
	touch.decode = decode
}

func (v touchy) MarshalBinary() ([]byte, error) { return []byte{byte(v.n)}, nil }
func (v *touchy) UnmarshalBinary(data []byte) error {
	touch.Lock()
	decode := touch.decode
	touch.Unlock()
	if decode != nil {
		decode()
	}
	if len(data) != 1 {
		return errors.New("not one byte")
	}
	v.n = int(data[0])
	return nil
}

type touchyFunc = func(context.Context, string) (touchy, error)

// wrapTouchy caches a function whose results are numbered.
func wrapTouchy(c *Cache, opts Options) (touchyFunc, *Func) {
	var mu sync.Mutex
	n := 0
	fn := func(context.Context, string) (touchy, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return touchy{n}, nil
	}
	opts.Cache, opts.Shared = c, true
	opts.Timeout = time.Hour
	if opts.Name == "" {
		opts.Name = "test.Touchy"
	}
	f := must(Wrap(&fn, opts))
	return fn, f
}

func TestAnUnmarshalerThatDoesNotReturnIsAMissAndDelaysNoOtherCall(t *testing.T) {
	for name, decode := range map[string]func(){
		"Goexit": runtime.Goexit,
		"panic":  func() { panic("secret") },
		"hang":   func() { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				defer setTouch(nil)
				c := b.cache()
				fn, f := wrapTouchy(c, Options{ComputeTimeout: time.Minute})
				for range 3 { // Redis is known to be quick
					_, err := fn(t.Context(), "k")
					require.NoError(t, err)
				}
				others := wrap(t, c, &source{}, Options{Name: "test.Others"})
				others.get(t.Context(), "x")

				setTouch(decode)
				ends := make(chan error, 3)
				for range cap(ends) {
					go func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						_, err := fn(ctx, "k")
						ends <- err
					}()
				}
				synctest.Wait()
				assert.Equal(t, outcome{value: 1, source: SourceFresh}, others.get(t.Context(), "x"), "another key")
				for range cap(ends) {
					err := <-ends
					if name == "hang" {
						assert.ErrorIs(t, err, context.DeadlineExceeded, "who gives up is answered at once")
					} else {
						assert.True(t, err == nil || errors.Is(err, ErrColdCache), "%v", err)
					}
				}
				time.Sleep(2 * time.Minute)
				setTouch(nil)
				assert.NotZero(t, f.Stats().Undecodable)
				assert.NotEmpty(t, b.log.About("entry cannot be read"))
				assert.Empty(t, b.log.About("secret"))
				for range 3 {
					_, err := fn(t.Context(), "k")
					require.NoError(t, err, "the key does not hang")
				}
				time.Sleep(2 * time.Hour)
				requireIdentity(t, f)
			})
		})
	}
}

func TestAnUnmarshalerThatEndsItsGoroutineEndsNoCallThatWaitsForTheLease(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		defer setTouch(nil)
		c := b.cache()
		awaitBubbleHearing(t, c)
		fn, f := wrapTouchy(c, Options{OnCold: Wait})
		key := must(f.Key("k"))
		// Another process has the lease, and stores what cannot be decoded here.
		require.NoError(t, b.redis.Set(key+LockSuffix, "somebody"))
		b.redis.SetTTL(key+LockSuffix, time.Hour)
		setTouch(runtime.Goexit)
		end := make(chan error)
		go func() { _, err := fn(t.Context(), "k"); end <- err }()
		synctest.Wait()
		body := must(CBOR{}.Encode([]any{&touchy{9}}))
		require.NoError(t, b.redis.Set(key, entryOf(c.Clock().Now(), 7, body)))
		b.redis.Del(key + LockSuffix)
		b.redis.Publish(eventsOf(f), events.Event{Verb: events.Store, Key: key, ID: events.StoreID(7)}.String())
		require.NoError(t, <-end)
		assert.NotZero(t, requireIdentity(t, f).Undecodable)
	})
}

func TestAnUnmarshalerThatEndsItsGoroutineEndsNoCallerThatSharesAHit(t *testing.T) {
	for _, near := range []time.Duration{0, time.Minute} {
		inOneBubble(t, func(t *testing.T, b *bubble) {
			defer setTouch(nil)
			c := b.cache()
			fn, f := wrapTouchy(c, Options{Near: near})
			awaitBubbleHearing(t, c)
			_, err := fn(t.Context(), "k")
			require.NoError(t, err)
			n := 0
			setTouch(func() { // under no lock
				touch.Lock()
				n++
				bad := n%2 == 0
				touch.Unlock()
				if bad {
					runtime.Goexit()
				}
			})
			ended := 0
			var mu sync.Mutex
			crowd(20, func(int) {
				_, err := fn(t.Context(), "k")
				mu.Lock()
				defer mu.Unlock()
				if err == nil || errors.Is(err, ErrColdCache) {
					ended++
				}
			})
			assert.Equal(t, 20, ended)
			requireIdentity(t, f)
		})
	}
}

func TestTypesWithTheirOwnDecodingAreKnown(t *testing.T) {
	type plain struct {
		A int
		B []string
		C map[string]*[2]float64
		D time.Time
		E *big.Int
		F url.URL
	}
	for want, types := range map[bool][]reflect.Type{
		false: {
			reflect.TypeFor[int](), reflect.TypeFor[[]byte](), reflect.TypeFor[plain](), reflect.TypeFor[[]*plain](), reflect.TypeFor[*time.Time](),
			reflect.TypeFor[map[shownText]netip.Addr](), // whose methods are not asked
		},
		true: {
			reflect.TypeFor[touchy](), reflect.TypeFor[*touchy](), reflect.TypeFor[[]touchy](), reflect.TypeFor[[1]touchy](),
			reflect.TypeFor[map[string]touchy](), reflect.TypeFor[map[fromText]int](), reflect.TypeFor[struct{ A struct{ touchy } }](),
		},
	} {
		for _, typ := range types {
			plans := codec.CompileResults([]reflect.Type{reflect.TypeFor[int](), typ}, false)
			require.NoError(t, plans.Check(codec.CBOR))
			assert.Equal(t, want, plans.AskMethods(codec.CBOR), "%v", typ)
		}
	}
}

type (
	fromText  struct{ s string }
	shownText string
)

func (f fromText) MarshalText() ([]byte, error)      { return []byte(f.s), nil }
func (f *fromText) UnmarshalText(text []byte) error  { f.s = string(text); return nil }
func (s shownText) MarshalText() ([]byte, error)     { return nil, nil }
func (s *shownText) UnmarshalText(text []byte) error { return nil }
