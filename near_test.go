package fncache_test

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/redistest"
)

// nearOpts keep long enough for nothing to end by itself on a real server.
var nearOpts = Options{Near: time.Hour, Timeout: 2 * time.Hour, Lease: slowLease}

// newNearProcess is a process that hears events, and s with a near cache in it.
func newNearProcess(t *testing.T, client redis.UniversalClient, s *source, change ...func(*Config)) (*process, *wrapped) {
	t.Helper()
	p := newProcess(t, client, change...)
	w := wrap(t, p.Cache, s, nearOpts)
	awaitHearing(t, p.Cache, 0)
	return p, w
}

// ended returns what reports whether a cache has heard since that an entry was invalidated,
// or replaced.
func ended(t *testing.T, c *Cache, w *wrapped, arg string, byInvalidation bool) func() bool {
	t.Helper()
	key, err := w.Key(arg)
	require.NoError(t, err)
	subject := c.Events().Subject(key)
	before, _ := c.Events().Ended(subject)
	return func() bool {
		place, invalidated := c.Events().Ended(subject)
		return place > before && invalidated == byInvalidation
	}
}

// invalidate has w invalidate, and waits until a cache has heard of that.
func invalidate(t *testing.T, w *wrapped, arg string, c *Cache) {
	t.Helper()
	heard := ended(t, c, w, arg, true)
	require.NoError(t, w.Invalidate(t.Context(), arg))
	require.Eventually(t, heard, 30*time.Second, time.Millisecond)
}

// sources calls some times and tells where the answers came from.
func (w *wrapped) sources(ctx context.Context, arg string, n int) (all []Source) {
	for range n {
		all = append(all, w.get(ctx, arg).source)
	}
	return all
}

func TestNearHitSendsNoCommand(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := &source{}
		_, a := newNearProcess(t, client(), s)
		there, b := newNearProcess(t, client(), s)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2), "what is stored here is kept")
		assert.Equal(t, []Source{SourceFresh, SourceNear}, b.sources(t.Context(), "k", 2), "what is looked up is kept")
		there.tap.reset()
		var info Info
		v, err := b.call(WithInfo(t.Context(), &info), "k")
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		key, _ := b.Key("k")
		assert.Equal(t, SourceNear, info.Source)
		assert.Equal(t, "near", info.Source.String())
		assert.Equal(t, key, info.Key)
		assert.Less(t, info.Age, time.Minute)
		assert.Zero(t, there.tap.total())
		assert.Equal(t, SourceComputed, b.get(t.Context(), "other").source, "another argument is another entry")
		assert.EqualValues(t, 2, requireIdentity(t, b.Func).Near)
	})
}

func TestNearIsOffByDefault(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		assert.Equal(t, []Source{SourceComputed, SourceFresh, SourceFresh}, w.sources(t.Context(), "k", 3))
		assert.False(t, c.Events().Inspect().Ready, "nobody needs a subscription")
		assert.Zero(t, c.NearUsage())
	})
}

func TestNearEndsWithItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		here, there := b.cache(), b.cache()
		s := &source{}
		opts := Options{Near: 2 * time.Second, Freshness: 10 * time.Second, Timeout: time.Minute}
		a, w := wrap(t, here, s, opts), wrap(t, there, s, opts)
		awaitBubbleHearing(t, there)
		a.get(t.Context(), "k")
		time.Sleep(5 * time.Second)
		assert.Equal(t, []Source{SourceFresh, SourceNear}, w.sources(t.Context(), "k", 2))
		time.Sleep(2*time.Second - time.Millisecond)
		o := w.get(t.Context(), "k")
		assert.Equal(t, SourceNear, o.source)
		assert.Equal(t, 7*time.Second-time.Millisecond, o.age)
		time.Sleep(time.Millisecond)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source, "Near after it came in, Redis is asked")
		time.Sleep(2 * time.Second)
		assert.Equal(t, []Source{SourceFresh, SourceNear}, w.sources(t.Context(), "k", 2))
		time.Sleep(time.Second - time.Millisecond)
		assert.Equal(t, SourceNear, w.get(t.Context(), "k").source)
		time.Sleep(time.Millisecond)
		assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source, "and when it is no longer fresh, at any rate")
	})
}

func TestNearEndsWhenATestMovesTheClock(t *testing.T) {
	// As package fncachetest does.
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Near: time.Minute, Timeout: time.Hour})
		awaitBubbleHearing(t, c)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
		c.Clock().Shift(59 * time.Second)
		assert.Equal(t, SourceNear, w.get(t.Context(), "k").source)
		c.Clock().Shift(time.Second)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)
	})
}

func TestNearObeysTheFunctionsOwnOptions(t *testing.T) {
	// Two functions that share entries each keep their own.
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		long := wrap(t, c, s, Options{Near: time.Minute, Timeout: time.Hour})
		short := wrap(t, c, s, Options{Near: time.Second, Timeout: time.Hour})
		none := wrap(t, c, s, Options{Timeout: time.Hour})
		awaitBubbleHearing(t, c)
		long.get(t.Context(), "k")
		short.get(t.Context(), "k")
		time.Sleep(time.Second)
		assert.Equal(t, SourceNear, long.get(t.Context(), "k").source)
		assert.Equal(t, SourceFresh, short.get(t.Context(), "k").source)
		assert.Equal(t, SourceFresh, none.get(t.Context(), "k").source)
		require.NoError(t, none.Invalidate(t.Context(), "k"))
		assert.Equal(t, SourceComputed, long.get(t.Context(), "k").source, "but not past an invalidation by any of them")
		assert.Equal(t, 2, short.get(t.Context(), "k").value)
	})
}

func TestNearUnderBypassAndRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, nearOpts)
		awaitBubbleHearing(t, c)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
		o := w.get(WithBypass(t.Context()), "k")
		assert.Equal(t, SourceBypassed, o.source)
		assert.Equal(t, 2, o.value)
		assert.Equal(t, 1, w.get(t.Context(), "k").value)
		o = w.get(WithRefresh(t.Context()), "k")
		assert.Equal(t, SourceComputed, o.source)
		assert.Equal(t, 3, o.value)
		o = w.get(t.Context(), "k")
		assert.Equal(t, SourceNear, o.source)
		assert.Equal(t, 3, o.value)
		require.NoError(t, w.Refresh(t.Context(), "k"))
		assert.Equal(t, 4, w.get(t.Context(), "k").value)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, w.get(cancelled, "k").err, context.Canceled)
		requireIdentity(t, w.Func)
	})
}

func TestNearNeverAnswersAfterUnwrap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, nearOpts)
		copied := w.call
		awaitBubbleHearing(t, c)
		w.sources(t.Context(), "k", 2)
		w.Unwrap()
		v, err := copied(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, 2, v)
	})
}

func TestNearKeepsNothingThatIsNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		s.do = func(ctx context.Context, run int) (int, error) { NoStore(ctx); return run, nil }
		w := wrap(t, c, s, nearOpts)
		awaitBubbleHearing(t, c)
		assert.Equal(t, []Source{SourceComputed, SourceComputed}, w.sources(t.Context(), "k", 2))
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
		assert.Equal(t, []Source{SourceFailed, SourceFailed}, w.sources(t.Context(), "k", 2))
	})
}

// --- Orders of events ---

func TestNearInvalidatedByAnotherProcess(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := &source{}
		here, a := newNearProcess(t, client(), s)
		_, b := newNearProcess(t, client(), s)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
		a.get(t.Context(), "other")
		invalidate(t, b, "k", here.Cache)
		o := a.get(t.Context(), "k")
		assert.Equal(t, SourceComputed, o.source)
		assert.Equal(t, 3, o.value)
		assert.Equal(t, SourceNear, a.get(t.Context(), "other").source, "of another key that says nothing")
	})
}

func TestNearReplacedByAnotherProcess(t *testing.T) { inBothForms(t, testNearReplacedByAnotherProcess) }

func testNearReplacedByAnotherProcess(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here, a := newNearProcess(t, server.Client(), s)
	_, b := newNearProcess(t, server.Client(), s)
	assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
	replaced := ended(t, here.Cache, a, "k", false)
	require.NoError(t, b.Refresh(t.Context(), "k"))
	require.Eventually(t, replaced, 30*time.Second, time.Millisecond)
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceFresh, o.source, "looked up afresh")
	assert.Equal(t, 2, o.value)
	assert.Equal(t, SourceNear, a.get(t.Context(), "k").source)
}

func TestNearGivesWayToAnErrorThatIsAnAnswer(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		s := &source{}
		here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
		opts := nearOpts
		opts.CacheErrors, opts.ErrorTimeout = []error{errNoBook}, time.Hour
		a, b := wrap(t, here.Cache, s, opts), wrap(t, there.Cache, s, opts)
		a.Bound()
		b.Bound()
		awaitHearing(t, here.Cache, 0)
		awaitHearing(t, there.Cache, 0)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
		replaced := ended(t, here.Cache, a, "k", false)
		s.set(func(s *source) { s.do = failing(errNoBook).do })
		require.ErrorIs(t, b.Refresh(t.Context(), "k"), errNoBook)
		require.Eventually(t, replaced, 30*time.Second, time.Millisecond)
		for range 2 { // it is not kept: it is asked for each time
			o := a.get(t.Context(), "k")
			assert.Equal(t, errNoBook, o.err)
			assert.Equal(t, SourceFresh, o.source)
		}
		assert.Equal(t, errNoBook, b.get(t.Context(), "k").err, "nor by whom stored it")
		assert.Zero(t, b.Stats().Near)
	})
}

func TestNearKeepsWhatItStoredWhenItHearsOfIt(t *testing.T) {
	inBothForms(t, testNearKeepsWhatItStoredWhenItHearsOfIt)
}

func testNearKeepsWhatItStoredWhenItHearsOfIt(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here, a := newNearProcess(t, server.Client(), s)
	a.get(t.Context(), "k")
	// What is published after the store is heard after it.
	heard := ended(t, here.Cache, a, "other", true)
	require.NoError(t, server.Client().Publish(t.Context(), "fncache:events:test.Source", events.Event{Verb: events.Invalidate, Key: must(a.Key("other")), ID: "-"}.String()).Err())
	require.Eventually(t, heard, 30*time.Second, time.Millisecond)
	assert.Equal(t, SourceNear, a.get(t.Context(), "k").source)
}

func TestNearOwnInvalidationNeedsNoRoundTrip(t *testing.T) {
	inBothForms(t, testNearOwnInvalidationNeedsNoRoundTrip)
}

func testNearOwnInvalidationNeedsNoRoundTrip(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	p, w := newNearProcess(t, server.Client(), s)
	assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
	asked := false
	p.tap.on("invalidate", func() {
		// The command is about to be sent: Redis still has the entry.
		asked = true
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)
	})
	require.NoError(t, w.Invalidate(t.Context(), "k"))
	assert.True(t, asked)
	assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source, "what was looked up meanwhile is not kept either")
}

func TestNearInvalidationThatFailsIsAnInvalidationHere(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		p, w := newNearProcess(t, client(), &source{})
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
		p.tap.set(func(tap *tap) { tap.refuse = map[string]error{"invalidate": replyError("NOPERM not here")} })
		require.Error(t, w.Invalidate(t.Context(), "k"))
		assert.Equal(t, []Source{SourceFresh, SourceNear}, w.sources(t.Context(), "k", 2), "Redis is asked, which still has it")
	})
}

func TestNearInvalidatedWhileItIsLookedUp(t *testing.T) {
	inBothForms(t, testNearInvalidatedWhileItIsLookedUp)
}

func testNearInvalidatedWhileItIsLookedUp(t *testing.T) {
	server := redistest.Shared(t)
	for name, byItself := range map[string]bool{"by another process": false, "by itself": true} {
		t.Run(name, func(t *testing.T) {
			server.Flush(t)
			s := &source{}
			here, a := newNearProcess(t, server.Client(), s)
			_, b := newNearProcess(t, server.Client(), s)
			b.get(t.Context(), "k")
			// 1. The lookup has read the entry; 2. it is invalidated, and that is
			// heard; 3. the lookup's answer is taken in: too late to be kept.
			here.tap.onReply("get", func(redis.Cmder) {
				who := b
				if byItself {
					who = a
				}
				invalidate(t, who, "k", here.Cache)
			})
			o := a.get(t.Context(), "k")
			assert.Equal(t, 1, o.value, "its call was there before")
			o = a.get(t.Context(), "k")
			assert.Equal(t, SourceComputed, o.source)
			assert.Equal(t, 2, o.value)
		})
	}
}

func TestNearInvalidatedBeforeItsStoreIsAnswered(t *testing.T) {
	inBothForms(t, testNearInvalidatedBeforeItsStoreIsAnswered)
}

func testNearInvalidatedBeforeItsStoreIsAnswered(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here, a := newNearProcess(t, server.Client(), s)
	_, b := newNearProcess(t, server.Client(), s)
	here.tap.onReply("store", func(redis.Cmder) {
		invalidate(t, b, "k", here.Cache)
	})
	assert.Equal(t, 1, a.get(t.Context(), "k").value)
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceComputed, o.source)
	assert.Equal(t, 2, o.value)
}

func TestNearRefreshIsNotUndoneByAnOlderLookup(t *testing.T) {
	inBothForms(t, testNearRefreshIsNotUndoneByAnOlderLookup)
}

func testNearRefreshIsNotUndoneByAnOlderLookup(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here, a := newNearProcess(t, server.Client(), s)
	_, b := newNearProcess(t, server.Client(), s)
	stored := ended(t, here.Cache, a, "k", false)
	b.get(t.Context(), "k")
	require.Eventually(t, stored, 30*time.Second, time.Millisecond)
	// 1. A lookup has read the first value; 2. this process stores the second;
	// 3. the lookup's answer is taken in, after it.
	read, proceed := make(chan struct{}), make(chan struct{})
	here.tap.onReply("get", func(redis.Cmder) { close(read); <-proceed })
	before := a.begin(t.Context(), "k")
	<-read
	require.NoError(t, a.Refresh(t.Context(), "k"))
	assert.Equal(t, 2, a.get(t.Context(), "k").value)
	close(proceed)
	assert.Equal(t, 1, (<-before).value)
	assert.Equal(t, 2, a.get(t.Context(), "k").value, "who has seen the new value is not given the old one")
}

func TestNearLookedUpBeforeEventsAreHeardIsNotKept(t *testing.T) {
	inBothForms(t, testNearLookedUpBeforeEventsAreHeardIsNotKept)
}

func testNearLookedUpBeforeEventsAreHeardIsNotKept(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here := newProcess(t, server.Client())
	a := wrap(t, here.Cache, s, nearOpts)
	_, b := newNearProcess(t, server.Client(), s)
	b.get(t.Context(), "k")
	// 1. A lookup is sent, while nothing is heard yet; 2. the key is
	// invalidated, unheard; 3. events are heard; 4. the lookup's answer comes.
	here.tap.onReply("get", func(redis.Cmder) {
		assert.NoError(t, b.Invalidate(t.Context(), "k"))
		hearAll(here.Cache)
		assert.Eventually(t, func() bool { return hearing(here.Cache) > 0 }, 30*time.Second, time.Millisecond)
	})
	here.tap.on("publish", func() {
		assert.Eventually(t, func() bool {
			n, err := server.Client().Exists(t.Context(), must(b.Key("k"))).Result()
			return err == nil && n == 0
		}, 30*time.Second, time.Millisecond)
	})
	assert.Equal(t, 1, a.get(t.Context(), "k").value)
	assert.Equal(t, SourceComputed, a.get(t.Context(), "k").source)
}

func TestNearAfterALossOfTheSubscription(t *testing.T) {
	inBothForms(t, testNearAfterALossOfTheSubscription)
}

func testNearAfterALossOfTheSubscription(t *testing.T) {
	server := redistest.Shared(t)
	s := &source{}
	here, a := newNearProcess(t, server.Client(), s)
	_, b := newNearProcess(t, server.Client(), s)
	assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
	epoch := hearing(here.Cache)
	// Invalidated while nothing is heard: before it hears again, it has to ask.
	here.tap.on("publish", func() { assert.NoError(t, b.Invalidate(t.Context(), "k")) })
	killSubscribers(t, server.Client())
	awaitHearing(t, here.Cache, epoch)
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceComputed, o.source)
	assert.Equal(t, 2, o.value)
	assert.Equal(t, SourceNear, a.get(t.Context(), "k").source, "and goes on")
}

func TestNearIsBypassedWhileTheSubscriptionIsLost(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		p, w := newNearProcess(t, client(), &source{})
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
		epoch := hearing(p.Cache)
		// It has subscribed anew, and is about to make sure that it hears.
		reached, proceed := make(chan struct{}), make(chan struct{})
		p.tap.on("publish", func() { close(reached); <-proceed })
		killSubscribers(t, client())
		<-reached
		p.tap.reset()
		assert.Equal(t, []Source{SourceFresh, SourceFresh}, w.sources(t.Context(), "k", 2))
		assert.Equal(t, 2, p.tap.count("get"))
		close(proceed)
		awaitHearing(t, p.Cache, epoch)
		assert.Equal(t, []Source{SourceFresh, SourceNear}, w.sources(t.Context(), "k", 2), "what was kept before is looked up once more")
	})
}

func TestNearIsBypassedWhileEventsMayBeMissed(t *testing.T) {
	// The process was suspended: events may wait unread in its connection.
	inBubble(t, func(t *testing.T, b *bubble) {
		c, there, s := b.cache(), b.cache(), &source{}
		w, elsewhere := wrap(t, c, s, nearOpts), wrap(t, there, s, nearOpts)
		awaitBubbleHearing(t, c)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, w.sources(t.Context(), "k", 2))
		c.Events().Doubt()
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)
		invalidate(t, elsewhere, "other", c)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source, "what is heard may have waited too, and more behind it")
		time.Sleep(2 * events.LeastPulse) // it has asked, and been answered
		synctest.Wait()
		assert.Equal(t, SourceNear, w.get(t.Context(), "k").source)
	})
}

func TestNearOfAUserWithoutTheChannel(t *testing.T) { inBothForms(t, testNearOfAUserWithoutTheChannel) }

func testNearOfAUserWithoutTheChannel(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "deaf", "on", ">secret", "~fncache:*", "resetchannels", "+@all").Err())
	s := &source{}
	p := newProcess(t, server.Client(func(o *redis.Options) { o.Username, o.Password = "deaf", "secret" }))
	w := wrap(t, p.Cache, s, nearOpts)
	assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source)
	require.Eventually(t, func() bool { return len(p.log.About("may not publish and subscribe")) == 1 }, 30*time.Second, time.Millisecond)
	assert.Equal(t, []Source{SourceFresh, SourceFresh}, w.sources(t.Context(), "k", 2))
	assert.Zero(t, p.NearUsage())
}

// --- With Redis away ---

func TestNearServesStaleWithRedisAway(t *testing.T) {
	for name, policy := range map[string]DownPolicy{"compute": DownCompute, "error": DownError} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c, s := b.cache(func(cfg *Config) { cfg.OnRedisDown = policy }), &source{}
				w := wrap(t, c, s, Options{Near: time.Second, Freshness: 10 * time.Second, Timeout: time.Minute})
				awaitBubbleHearing(t, c)
				w.get(t.Context(), "kept")
				w.get(t.Context(), "invalidated")
				require.NoError(t, w.Invalidate(t.Context(), "invalidated"))
				synctest.Wait()
				b.tap.set(func(tap *tap) { tap.broken = errGone })
				c.Events().Down()

				o := w.get(t.Context(), "kept")
				assert.Equal(t, SourceStale, o.source)
				assert.Equal(t, 1, o.value)
				time.Sleep(time.Minute - time.Millisecond)
				o = w.get(t.Context(), "kept")
				assert.Equal(t, SourceStale, o.source)
				assert.Equal(t, time.Minute-time.Millisecond, o.age)
				time.Sleep(time.Millisecond)
				for _, arg := range []string{"kept", "invalidated"} {
					o = w.get(t.Context(), arg)
					if policy == DownError {
						assert.ErrorIs(t, o.err, ErrRedisDown, arg)
					} else {
						assert.Equal(t, SourceComputed, o.source, arg)
					}
				}
				assert.NotEqual(t, SourceStale, w.get(WithRefresh(t.Context()), "kept").source)
				assert.Error(t, w.Refresh(t.Context(), "kept"), "it is about storing")
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestNearIsNotServedIfTheLookupFoundNoEntry(t *testing.T) {
	// 1. A value is kept; 2. it is gone from Redis, and no event has told so: it
	// was evicted, or the message is under way; 3. the lookup says so; 4. what
	// fails is to ask for the lease.
	opts := Options{Near: time.Second, Freshness: 10 * time.Second, Timeout: time.Minute}
	for name, gone := range map[string]func(t *testing.T, b *bubble, key string){
		"deleted": func(t *testing.T, b *bubble, key string) { b.redis.Del(key) },
		"unreadable": func(t *testing.T, b *bubble, key string) {
			require.NoError(t, b.redis.Set(key, "somebody else's"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c, s := b.cache(), &source{}
				w := wrap(t, c, s, opts)
				awaitBubbleHearing(t, c)
				for _, refusal := range []string{
					"OOM command not allowed when used memory > 'maxmemory'.",
					"READONLY You can't write against a read only replica.",
					"NOPERM this user has no permissions",
				} {
					b.tap.set(func(tap *tap) { tap.refuse = nil })
					before := w.get(t.Context(), "k").value
					time.Sleep(time.Second)
					gone(t, b, must(w.Key("k")))
					b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"acquire": replyError(refusal)} })
					o := w.get(t.Context(), "k")
					assert.Equal(t, SourceComputed, o.source, refusal)
					assert.Equal(t, before+1, o.value, refusal)
					b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"get": errGone} })
					o = w.get(t.Context(), "k")
					assert.Equal(t, SourceComputed, o.source, "nor when the next lookup fails")
					b.redis.Del(must(w.Key("k")))
					time.Sleep(time.Minute) // the circuit breaker has closed again
				}
				requireIdentity(t, w.Func)
			})
		})
	}
}

func TestNearIsNotServedToAWaiterWhoseLookupFoundNoEntry(t *testing.T) {
	// As above, but somebody else has the lease, until it runs out, and with it Redis.
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w := wrap(t, c, s, Options{Near: time.Second, Timeout: time.Minute, OnCold: Wait})
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "k")
		time.Sleep(time.Second)
		key := must(w.Key("k"))
		b.redis.Del(key)
		require.NoError(t, b.redis.Set(key+LockSuffix, "somebody"))
		b.redis.SetTTL(key+LockSuffix, 5*time.Second)
		first := w.begin(t.Context(), "k")
		synctest.Wait()
		b.tap.set(func(tap *tap) { tap.broken = errGone })
		second := w.begin(t.Context(), "k") // boards the flight that waits
		for _, o := range []outcome{<-first, <-second} {
			assert.NotEqual(t, SourceStale, o.source)
			assert.Greater(t, o.value, 1)
		}
	})
}

func TestNearIsNotServedAfterALookupThatFoundAnother(t *testing.T) {
	// 1. A value is kept; 2. events are lost; 3. another process stores anew, and a
	// lookup finds that, which is not kept while nothing is heard; 4. Redis is away.
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		w, elsewhere := wrap(t, c, s, nearOpts), wrap(t, b.cache(), s, nearOpts)
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "k")
		c.Events().Down()
		c.Events().Lose(func() {
			require.NoError(t, elsewhere.Refresh(t.Context(), "k"))
			synctest.Wait()
		})
		assert.Equal(t, 2, w.get(t.Context(), "k").value)
		b.tap.set(func(tap *tap) { tap.broken = errGone })
		o := w.get(t.Context(), "k")
		assert.Equal(t, SourceComputed, o.source)
		assert.Equal(t, 3, o.value)
	})
}

func TestNearOfAProcessCutOffIsServedStaleEvenIfInvalidatedElsewhere(t *testing.T) {
	// 1. A value is kept; 2. its process is cut off from Redis; 3. another process
	// invalidates; 4. the first can ask again: what it kept is gone.
	for name, policy := range map[string]DownPolicy{"compute": DownCompute, "error": DownError} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c, s := b.cache(func(cfg *Config) { cfg.OnRedisDown = policy }), &source{}
				w, elsewhere := wrap(t, c, s, nearOpts), wrap(t, b.cache(), s, nearOpts)
				awaitBubbleHearing(t, c)
				w.get(t.Context(), "k")
				c.Events().Down()
				c.Events().Lose(func() {
					require.NoError(t, elsewhere.Invalidate(t.Context(), "k"))
					synctest.Wait()
				})
				b.tap.set(func(tap *tap) { tap.broken = errGone })
				o := w.get(t.Context(), "k")
				require.NoError(t, o.err)
				assert.Equal(t, SourceStale, o.source)
				assert.Equal(t, 1, o.value)
				b.tap.set(func(tap *tap) { tap.broken = nil })
				time.Sleep(2 * probeInterval)
				assert.Equal(t, 2, w.get(t.Context(), "k").value)
			})
		})
	}
}

func TestNearFromBeforeEventsWereHeardAgainIsNeverServed(t *testing.T) {
	// 1. Events are lost for a while; 2. what is kept is invalidated meanwhile;
	// 3. they are heard again; 4. Redis is away: what was kept before 3 may have
	// been invalidated, and is not served as stale either.
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := &source{}
		here, a := newNearProcess(t, client(), s)
		_, b := newNearProcess(t, client(), s)
		assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
		a.get(t.Context(), "not invalidated")
		epoch := hearing(here.Cache)
		here.tap.on("publish", func() { assert.NoError(t, b.Invalidate(t.Context(), "k")) })
		killSubscribers(t, client())
		awaitHearing(t, here.Cache, epoch)
		here.tap.set(func(tap *tap) { tap.broken = errGone })
		for _, arg := range []string{"k", "not invalidated"} {
			assert.Equal(t, SourceComputed, a.get(t.Context(), arg).source, arg)
		}
	})
}

func TestNearInvalidatedElsewhereAndThenRedisGoesAway(t *testing.T) {
	inBothForms(t, testNearInvalidatedElsewhereAndThenRedisGoesAway)
}

func testNearInvalidatedElsewhereAndThenRedisGoesAway(t *testing.T) {
	// 1. Another process invalidates, and that is heard; 2. Redis goes away; 3. what
	// had been kept is not served: the function is called.
	server := redistest.Start(t)
	s := &source{}
	quick := func(c *Config) { c.RedisTimeout = time.Second }
	here, a := newNearProcess(t, server.Client(), s, quick)
	_, b := newNearProcess(t, server.Client(), s, quick)
	assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
	kept := a.get(t.Context(), "other").value
	invalidate(t, b, "k", here.Cache)
	server.Kill()
	awaitDeaf(t, here.Cache)
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceComputed, o.source)
	assert.Equal(t, 3, o.value)
	o = a.get(t.Context(), "other")
	assert.Equal(t, SourceStale, o.source, "of which nothing was heard")
	assert.Equal(t, kept, o.value)
}

func TestNearServesStaleFromADeadServer(t *testing.T) {
	inBothForms(t, testNearServesStaleFromADeadServer)
}

func testNearServesStaleFromADeadServer(t *testing.T) {
	server := redistest.Start(t)
	s := &source{}
	p, w := newNearProcess(t, server.Client(), s, func(c *Config) { c.RedisTimeout = time.Second })
	w.get(t.Context(), "k")
	epoch := hearing(p.Cache)
	server.Kill()
	awaitDeaf(t, p.Cache)
	o := w.get(t.Context(), "k")
	assert.Equal(t, SourceStale, o.source)
	assert.Equal(t, 1, o.value)
	server.Restart()
	awaitHearing(t, p.Cache, epoch)
	require.Eventually(t, func() bool { return w.get(t.Context(), "k").source != SourceStale }, 30*time.Second, time.Millisecond)
	assert.Equal(t, SourceNear, w.get(t.Context(), "k").source)
}

// --- What is kept ---

// A nearForm is a function with a near cache that hears, wrapped in one of the two
// forms, and called often enough for the next call to be a near hit.
type nearForm[R any] struct {
	*Func
	call func() R
}

// nearFormsOf wraps a function by Wrap and by Wrap1, each in a cache of its own.
func nearFormsOf[A, R any](t *testing.T, b *bubble, arg A, do func() R, change ...func(*Config)) map[string]nearForm[R] {
	t.Helper()
	forms := make(map[string]nearForm[R])
	for name, wrap := range map[string]func(*func(context.Context, A) (R, error), Options) (*Func, error){
		"Wrap":  Wrap[func(context.Context, A) (R, error)],
		"Wrap1": wrapUntyped1[func(context.Context, A) (R, error), A, R],
	} {
		fn := func(context.Context, A) (R, error) { return do(), nil }
		opts := nearOpts
		opts.Cache = b.cache(change...)
		opts.Name = "test." + t.Name()[strings.LastIndexByte(t.Name(), '/')+1:] + name
		f, err := wrap(&fn, opts)
		require.NoError(t, err)
		awaitBubbleHearing(t, opts.Cache)
		ctx := t.Context()
		call := func() R {
			r, err := fn(ctx, arg)
			if err != nil { // require would allocate
				t.Fatal(err)
			}
			return r
		}
		call()
		call()
		require.EqualValues(t, 1, f.Stats().Near, name)
		forms[name] = nearForm[R]{f, call}
	}
	return forms
}

// nearForms returns nearFormsOf as functions that make sure that each call is a near
// hit.
func nearForms[A, R any](t *testing.T, b *bubble, arg A, do func() R) map[string]func() R {
	t.Helper()
	calls := make(map[string]func() R)
	for name, f := range nearFormsOf(t, b, arg, do) {
		calls[name] = func() R {
			hits := f.Stats().Near
			r := f.call()
			require.Equal(t, hits+1, f.Stats().Near)
			return r
		}
	}
	return calls
}

// countingCodec counts what is decoded.
type countingCodec struct {
	CBOR
	decoded *atomic.Int64
}

func (c countingCodec) Decode(body []byte, results []any) error {
	c.decoded.Add(1)
	return c.CBOR.Decode(body, results)
}

type nearBook struct {
	Title string
	Years []int16
	Tags  map[string][]string
	Next  *book2
}

// requireNearCost checks what a near hit costs in either form: no decoding, and no
// more allocations than that.
func requireNearCost[R any](t *testing.T, b *bubble, value R, byWrap, byWrap1 float64) {
	t.Helper()
	var decoded atomic.Int64
	for name, f := range nearFormsOf(t, b, int64(1), func() R { return value }, func(cfg *Config) {
		cfg.Codec = countingCodec{decoded: &decoded}
	}) {
		before := decoded.Load()
		require.NotZero(t, before)
		most := map[string]float64{"Wrap": byWrap, "Wrap1": byWrap1}[name]
		assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { f.call() }), most, "%s: allocations of %T", name, value)
		assert.Equal(t, before, decoded.Load(), "%s: %T is decoded when it is kept, and not for a hit", name, value)
		assert.EqualValues(t, 102, f.Stats().Near)
		f.Unwrap() // the name is free for the next
	}
}

func TestNearHitsDecodeNothingAndAllocateNoMoreThanTheirCopy(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		// What refers to nothing is handed out as it is; what calling through
		// reflection costs is the least by Wrap.
		requireNearCost(t, b, int64(1), 4, 0)
		requireNearCost(t, b, "text", 4, 0)
		requireNearCost(t, b, [2]float64{1, 2}, 4, 0)
		requireNearCost(t, b, struct{ A, B string }{"a", "b"}, 4, 0)
		// A list is one piece of memory, as is a list of texts.
		requireNearCost(t, b, []int64{1, 2, 3}, 6, 1)
		requireNearCost(t, b, []string{"a", "b"}, 6, 1)
		// The rest has a piece for each reference, and is copied by reflection.
		requireNearCost(t, b, &book2{Pages: []int{1}}, 7, 3)
		requireNearCost(t, b, map[string]int{"a": 1}, 9, 5)
		requireNearCost(t, b, nearBook{"Emma", []int16{1815}, map[string][]string{"a": {"b"}}, &book2{Pages: []int{1}}}, 14, 10)
	})
}

func TestNearSharesNoMemoryWithCallers(t *testing.T) {
	type book struct {
		Title   string
		Tags    []string
		Ratings map[string][]int
		Next    *book2
		Price   *big.Rat
	}
	want := book{
		"Emma", []string{"a", "b"}, map[string][]int{"x": {1, 2}}, &book2{Pages: []int{7}}, nil,
	}
	inBubble(t, func(t *testing.T, b *bubble) {
		for name, call := range nearForms(t, b, int64(1), func() book { return want }) {
			for range 3 {
				got := call()
				assert.Equal(t, want, got, name)
				got.Tags[0], got.Next.Pages[0] = "changed", 0
				got.Ratings["x"][0] = 0
				got.Ratings["y"] = nil
				got.Tags = append(got.Tags[:1], "c")
			}
		}
		for name, call := range nearForms(t, b, "arg", func() []int64 { return []int64{1, 2, 3} }) {
			for range 3 {
				got := call()
				assert.Equal(t, []int64{1, 2, 3}, got, name)
				got[0] = 0
				_ = append(got[:1], 0)
			}
		}
		for name, call := range nearForms(t, b, "none", func() []int64 { return nil }) {
			assert.Nil(t, call(), name)
		}
	})
}

type book2 struct{ Pages []int }

func TestNearReturnsValuesWithoutReferencesUncopied(t *testing.T) {
	type point struct {
		X, Y [2]float64
		At   time.Time
		Name string
	}
	want := point{[2]float64{1, 2}, [2]float64{3, 4}, time.Unix(1, 2).UTC(), "p"}
	inBubble(t, func(t *testing.T, b *bubble) {
		for name, call := range nearForms(t, b, true, func() point { return want }) {
			assert.Equal(t, want, call(), name)
		}
	})
}

func TestNearDecodesValuesThatCannotBeCopied(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		for name, call := range nearForms(t, b, 1.5, func() *big.Int { return big.NewInt(42) }) {
			for range 3 {
				got := call()
				assert.Equal(t, "42", got.String(), name)
				got.SetInt64(0)
			}
		}
	})
}

func TestNearOfManyResultsAndNoError(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		fn := func(s string, n int64, on bool) (int, []string) { return int(n), []string{s, fmt.Sprint(on)} }
		opts := nearOpts
		opts.Cache, opts.Name, opts.OnCold = c, "test.Many", Wait
		f := Must(Wrap(&fn, opts))
		awaitBubbleHearing(t, c)
		for range 4 {
			n, list := fn("a", 1, true)
			assert.Equal(t, 1, n)
			assert.Equal(t, []string{"a", "true"}, list)
			list[0] = "changed"
		}
		fn("a", 1, false)
		fn("b", 1, true)
		fn("a", 2, true)
		assert.EqualValues(t, 3, f.Stats().Near, "each of the others is another entry")
		assert.EqualValues(t, 4, f.Stats().Computations)
		assert.True(t, f.Plain())
	})
}

func TestNearByHashedArguments(t *testing.T) {
	type query struct {
		Author string
		Years  []int
	}
	inBubble(t, func(t *testing.T, b *bubble) {
		for name, call := range nearFormsHashed(t, b, query{"Austen", []int{1815}}) {
			assert.Equal(t, "Austen [1815]", call(), name)
		}
	})
}

// nearFormsHashed is nearForms for arguments that are hashed.
func nearFormsHashed[A any](t *testing.T, b *bubble, arg A) map[string]func() string {
	return nearForms(t, b, arg, func() string { return strings.Trim(fmt.Sprint(arg), "{}") })
}

func TestNearDistinguishesArgumentsThatAreNotHashed(t *testing.T) {
	// Four numbers and two strings: each alone changes the key, as does where they
	// stand.
	type arguments struct {
		a    float32
		b    int8
		on   bool
		c    float64
		s, t string
	}
	signalling := math.Float32frombits(0x7f800001)
	quiet := math.Float32frombits(0x7fc00001)
	all := []arguments{
		{},
		{a: 1},
		{b: 1},
		{on: true},
		{c: 1},
		{s: "x"},
		{t: "x"},
		{s: "x", t: "x"},
		{s: "xx"},
		{s: "x", t: "y"},
		{s: "y", t: "x"},
		{b: -1},
		{a: float32(math.Copysign(0, -1))},
		{c: math.Copysign(0, -1)},
		{a: signalling},
		{a: quiet},
		{a: -1, b: -1, on: true, c: -1, s: "a", t: "b"},
	}
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		runs := 0
		fn := func(_ context.Context, a float32, b int8, on bool, c float64, s, t string) (int, error) {
			runs++
			return runs, nil
		}
		opts := nearOpts
		opts.Cache, opts.Name = c, "test.Plain"
		f := Must(Wrap(&fn, opts))
		awaitBubbleHearing(t, c)
		for range 2 {
			for i, v := range all {
				got, err := fn(t.Context(), v.a, v.b, v.on, v.c, v.s, v.t)
				require.NoError(t, err)
				assert.Equal(t, i+1, got, "%+v", v)
			}
		}
		assert.EqualValues(t, len(all), f.Stats().Near)
	})
}

func TestNearKeepsAtMostNearSize(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const size = 64 << 10
		c := b.cache(func(cfg *Config) { cfg.NearSize = size })
		fn := func(_ context.Context, n int) ([]byte, error) { return make([]byte, 1000), nil }
		opts := nearOpts
		opts.Cache, opts.Name = c, "test.Bytes"
		Must(Wrap(&fn, opts))
		awaitBubbleHearing(t, c)
		for i := range 1000 {
			_, err := fn(t.Context(), i)
			require.NoError(t, err)
		}
		synctest.Wait()
		kept := c.NearUsage()
		assert.LessOrEqual(t, kept.Weight, uint64(size))
		assert.Greater(t, kept.Entries, size/3000)
		assert.Less(t, kept.Entries, size/1000)
	})
}

func TestNearHitOfAFunctionInComputation(t *testing.T) {
	// f refreshes, and comes back to its own key: it is run directly, as without
	// a near cache. A cached g inside of f is answered from it.
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		s := &source{}
		g := wrap(t, c, s, nearOpts)
		var sources []Source
		inside := false
		var f stringFunc
		f = func(ctx context.Context, arg string) (int, error) {
			var own, other Info
			if !inside {
				inside = true
				defer func() { inside = false }()
				_, _ = f(WithInfo(ctx, &own), arg)
				sources = append(sources, own.Source)
			}
			_, err := g.call(WithInfo(ctx, &other), "k")
			sources = append(sources, other.Source)
			return 0, err
		}
		opts := nearOpts
		opts.Cache, opts.Name = c, "test.F"
		h := Must(Wrap(&f, opts))
		awaitBubbleHearing(t, c)
		g.get(t.Context(), "k")
		_, err := f(t.Context(), "k")
		require.NoError(t, err)
		sources = nil
		require.NoError(t, h.Refresh(t.Context(), "k"))
		assert.Equal(t, []Source{SourceNear, SourceBypassed, SourceNear}, sources)
	})
}

func TestNearOptionsAreChecked(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	c, err := New(Config{Redis: client, NearSize: -1})
	assert.Nil(t, c)
	assert.ErrorContains(t, err, "NearSize is -1; it must not be negative")
	fn := func(int) (int, error) { return 0, nil }
	_, err = Wrap(&fn, Options{Timeout: time.Hour, Near: -1})
	assert.ErrorContains(t, err, "Near is -1ns; it must not be negative")
	opts, err := ParseTag("timeout=1h,near=1s", Options{})
	require.NoError(t, err)
	assert.Equal(t, time.Second, opts.Near)
}

func TestNearOfADefaultCacheThatComesBackIsNotServedAfterAMissedInvalidation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		opts := Options{Timeout: 2 * time.Hour, Near: time.Hour}
		first, second := b.cache(), b.cache(func(c *Config) { c.Namespace = "second" })
		other := wrap(t, b.cache(), s, opts)
		SetDefault(first)
		defer SetDefault(nil)
		w := wrap(t, nil, s, opts)
		w.Bound()
		time.Sleep(time.Second) // it hears
		w.get(t.Context(), "a")
		require.Equal(t, SourceNear, w.get(t.Context(), "a").source)

		SetDefault(second)
		w.Bound()
		time.Sleep(2 * events.Linger) // the channel is let go
		require.NoError(t, other.Invalidate(t.Context(), "a"))
		SetDefault(first)
		w.Bound()
		time.Sleep(time.Second) // it hears again

		b.tap.set(func(tap *tap) { tap.broken = errGone })
		o := w.get(t.Context(), "a")
		assert.Equal(t, SourceComputed, o.source)
		assert.Equal(t, 2, o.value)
	})
}

func TestNearOfAFunctionWhoseNameAnUnwrappedFunctionHadIsHeard(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first, second := b.cache(), b.cache(func(c *Config) { c.Namespace = "second" })
		SetDefault(first)
		defer SetDefault(nil)
		opts := Options{Timeout: time.Hour, Near: time.Hour}
		former := wrap(t, nil, &source{}, opts)
		former.get(t.Context(), "a") // on the first cache
		former.Unwrap()
		SetDefault(second)
		_, err := former.Key("a") // on the second
		require.NoError(t, err)

		w := wrap(t, first, &source{}, opts)
		w.Bound()
		time.Sleep(2 * events.Linger) // the channels without users are let go
		w.get(t.Context(), "b")
		assert.Equal(t, SourceNear, w.get(t.Context(), "b").source)
	})
}
