package fncache_test

import (
	"context"
	"fmt"
	"net"
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

// testChannel is the channel of the functions that wrap wraps, unless a test names them.
const testChannel = "test.Source"

// hearAll has a cache hear the events of all its functions, and of those of testChannel, for
// as long as it is open.
func hearAll(c *Cache) {
	c.Events().Join(testChannel)
	c.JoinAll()
}

// hearing returns the youngest epoch of a cache in which events are heard, 0 if there is none
// or one of its channels is not heard.
func hearing(c *Cache) (epoch uint64) { return c.Events().Inspect().Hearing }

// awaitHearing waits until a cache hears events, in a later epoch than that one,
// and returns the epoch.
func awaitHearing(t testing.TB, c *Cache, than uint64) (epoch uint64) {
	t.Helper()
	hearAll(c)
	require.Eventually(t, func() bool {
		epoch = hearing(c)
		return epoch > than
	}, 30*time.Second, time.Millisecond)
	return epoch
}

// awaitDeaf waits until a cache knows that it does not hear events.
func awaitDeaf(t *testing.T, c *Cache) {
	t.Helper()
	require.Eventually(t, func() bool { return hearing(c) == 0 }, 30*time.Second, time.Millisecond)
}

// awaitWatchers waits until n callers wait across processes.
func awaitWatchers(t *testing.T, c *Cache, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Events().Inspect().Watched == n }, 30*time.Second, time.Millisecond)
}

// onEveryServer runs a test, in both forms, with what makes another client of one
// and the same server.
func onEveryServer(t *testing.T, test func(t *testing.T, client func() redis.UniversalClient)) {
	t.Helper()
	inBothForms(t, func(t *testing.T) {
		t.Run("RESP3", func(t *testing.T) {
			server := redistest.Shared(t)
			test(t, func() redis.UniversalClient { return server.Client() })
		})
		t.Run("RESP2", func(t *testing.T) {
			server := redistest.Shared(t)
			test(t, func() redis.UniversalClient { return server.Client(func(o *redis.Options) { o.Protocol = 2 }) })
		})
		t.Run("cluster", func(t *testing.T) {
			cluster := redistest.SharedCluster(t)
			test(t, func() redis.UniversalClient { return cluster.Client() })
		})
	})
}

func TestWaiterIsWokenByTheStore(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := newHeld()
		here, there := newProcess(t, client()), newProcess(t, client())
		opts := Options{OnCold: Wait, Lease: slowLease}
		a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
		awaitHearing(t, there.Cache, 0)
		there.tap.reset()

		holder := a.begin(t.Context(), "k")
		<-s.began
		waiter := b.begin(t.Context(), "k")
		awaitWatchers(t, there.Cache, 1)
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-holder).value)
		o := <-waiter
		assert.Equal(t, 1, o.value)
		assert.Equal(t, SourceWaited, o.source)
		assert.Equal(t, 1, there.tap.count("get"))
		assert.Equal(t, 2, there.tap.count("acquire"), "once to be told to wait, and once for the value")
		assert.Equal(t, 1, s.count())
	})
}

func TestWaiterAsksAboutOnceASecondWhileEventsAreHeard(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 20 * time.Second}
		opts := Options{OnCold: Wait, Lease: slowLease}
		here, cache := wrap(t, b.cache(), s, opts), b.cache()
		there := wrap(t, cache, s, opts)
		awaitBubbleHearing(t, cache)
		here.get(t.Context(), "warm the script cache")
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		b.tap.reset()
		o := there.get(t.Context(), "a")
		assert.Equal(t, 1+1, o.value)
		assert.Equal(t, 20*time.Second, o.took, "as soon as it is stored")
		assert.InDelta(t, 2+20/0.75, b.tap.count("acquire"), 7)
		assert.Equal(t, 2, (<-holder).value)
	})
}

func TestAWaiterOnADefaultCacheThatIsReplacedDoesNotAskAtFullSpeed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first, second := b.cache(), b.cache(func(c *Config) { c.Namespace = "second" })
		SetDefault(first)
		defer SetDefault(nil)
		s := &source{took: 20 * time.Second}
		holder := wrap(t, b.cache(), s, Options{OnCold: Wait}).begin(t.Context(), "a")
		synctest.Wait()
		w := wrap(t, nil, s, Options{OnCold: Wait})
		w.Bound()
		awaitBubbleHearing(t, first)
		ctx, cancel := context.WithCancel(t.Context())
		waiter := w.begin(ctx, "a")
		synctest.Wait()
		asked := 0
		var count func()
		count = func() {
			if asked++; asked > 100 {
				cancel() // at full speed no time would pass here
			}
			b.tap.on("acquire", count)
		}
		b.tap.on("acquire", count)
		SetDefault(second)
		require.Same(t, second, w.Bound())
		o := <-waiter
		require.NoError(t, o.err)
		assert.Equal(t, SourceWaited, o.source)
		assert.LessOrEqual(t, asked, 2*20, "about once a second")
		assert.Equal(t, o.value, (<-holder).value)
	})
}

func TestAValueStoredBetweenTheAcquireAndTheWaitIsFound(t *testing.T) {
	inBothForms(t, testStoredBetweenTheAcquireAndTheWait)
}

func testStoredBetweenTheAcquireAndTheWait(t *testing.T) {
	server := redistest.Shared(t)
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{OnCold: Wait, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	awaitHearing(t, there.Cache, 0)
	holder := a.begin(t.Context(), "k")
	<-s.began
	// 1. Acquire says that another has the lease; 2. the value is stored, and
	// its event heard; 3. the caller begins to wait: for nothing, if it were
	// not told that it comes too late.
	there.tap.onReply("acquire", func(redis.Cmder) {
		heard := there.Events().Inspect().Noted
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-holder).value)
		assert.Eventually(t, func() bool { return there.Events().Inspect().Noted > heard }, 30*time.Second, time.Millisecond)
	})
	o := b.get(t.Context(), "k")
	assert.Equal(t, 1, o.value)
	assert.Equal(t, 2, there.tap.count("acquire"))
}

func TestAWaitersSubscriptionComesUpAfterTheStore(t *testing.T) {
	inBothForms(t, testAWaitersSubscriptionComesUpAfterTheStore)
}

func testAWaitersSubscriptionComesUpAfterTheStore(t *testing.T) {
	// 1. Acquire says that another has the lease, and nothing is heard yet; 2. the
	// value is stored; 3. the subscription is up: the waiter must ask once more.
	server := redistest.Shared(t)
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{OnCold: Wait, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	holder := a.begin(t.Context(), "k")
	<-s.began
	computed := make(chan outcome, 1)
	there.tap.on("publish", func() { // it has subscribed, and is about to make sure
		s.let <- struct{}{}
		computed <- <-holder
	})
	o := b.get(t.Context(), "k")
	assert.Equal(t, 1, o.value)
	assert.Equal(t, SourceWaited, o.source)
	// Before the test ends, and the holder's context with it.
	assert.Equal(t, 1, (<-computed).value)
}

func TestWaiterIsWokenByARelease(t *testing.T) { inBothForms(t, testWaiterIsWokenByARelease) }

func testWaiterIsWokenByARelease(t *testing.T) {
	server := redistest.Shared(t)
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{OnCold: Wait, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	awaitHearing(t, there.Cache, 0)
	do := s.do
	s.set(func(s *source) {
		s.do = func(ctx context.Context, run int) (int, error) {
			_, err := do(ctx, run)
			if run == 1 {
				err = errSource
			}
			return run, err
		}
	})
	holder := a.begin(t.Context(), "k")
	<-s.began
	waiter := b.begin(t.Context(), "k")
	awaitWatchers(t, there.Cache, 1)
	s.let <- struct{}{}
	assert.Equal(t, errSource, (<-holder).err)
	<-s.began // long before the lease would have run out
	s.let <- struct{}{}
	o := <-waiter
	assert.Equal(t, 2, o.value, "a failed holder's error is not shared across processes: the waiter computes")
	assert.Equal(t, SourceComputed, o.source)
}

func TestWaiterIsWokenByAnInvalidation(t *testing.T) {
	inBothForms(t, testWaiterIsWokenByAnInvalidation)
}

func testWaiterIsWokenByAnInvalidation(t *testing.T) {
	server := redistest.Shared(t)
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{OnCold: Wait, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	awaitHearing(t, there.Cache, 0)
	holder := a.begin(t.Context(), "k")
	<-s.began
	waiter := b.begin(t.Context(), "k")
	awaitWatchers(t, there.Cache, 1)
	require.NoError(t, a.Invalidate(t.Context(), "k"))
	assert.Equal(t, 2, <-s.began, "the lease is free")
	s.let <- struct{}{}
	s.let <- struct{}{}
	<-holder
	assert.Equal(t, 2, (<-waiter).value)
}

func TestWaitersOfManyKeysShareOneSubscription(t *testing.T) {
	inBothForms(t, testWaitersOfManyKeysShareOneSubscription)
}

func testWaitersOfManyKeysShareOneSubscription(t *testing.T) {
	server := redistest.Shared(t)
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{OnCold: Wait, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	const keys = 10
	var ends []<-chan outcome
	for i := range keys {
		key := fmt.Sprint("key", i)
		ends = append(ends, a.begin(t.Context(), key))
		<-s.began
		ends = append(ends, b.begin(t.Context(), key))
	}
	awaitHearing(t, there.Cache, 0)
	awaitWatchers(t, there.Cache, keys)
	subscribers, err := server.Client().PubSubNumSub(t.Context(), "fncache:events:test.Source").Result()
	require.NoError(t, err)
	assert.EqualValues(t, 1, subscribers["fncache:events:test.Source"], "the holder's process waits for nobody")
	for range keys {
		s.let <- struct{}{}
	}
	for i := 0; i < len(ends); i += 2 {
		assert.Equal(t, (<-ends[i]).value, (<-ends[i+1]).value)
	}
	assert.Equal(t, keys, s.count())
}

func TestWaiterAsksAgainWhenTheLeaseHasRunOut(t *testing.T) {
	// The holder is gone without a word: nothing is published.
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		c := b.cache()
		w := wrap(t, c, s, Options{OnCold: Wait, Lease: 10 * time.Second})
		key, _ := w.Key("k")
		require.NoError(t, b.redis.Set(key+LockSuffix, "somebody"))
		b.redis.SetTTL(key+LockSuffix, *MostTold/4)
		awaitBubbleHearing(t, c)
		w.get(t.Context(), "warm the script cache")
		b.tap.reset()
		o := w.get(t.Context(), "k")
		assert.Equal(t, SourceComputed, o.source)
		assert.Equal(t, *MostTold/4+time.Millisecond, o.took)
		assert.Equal(t, 2, b.tap.count("acquire"))
	})
}

func TestWaiterIsWokenWhenTheHolderFindsThatItsLockWasEvicted(t *testing.T) {
	const lease = 1200 * time.Millisecond
	for name, test := range map[string]struct {
		takes, told time.Duration
		fails       bool
	}{
		"by its store":   {takes: *MostTold / 4, told: *MostTold / 4},
		"by its release": {takes: *MostTold / 4, told: *MostTold / 4, fails: true},
		"by a renewal":   {takes: time.Minute, told: lease / 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				opts := Options{OnCold: Wait, Lease: lease, Timeout: time.Hour}
				c, s := b.cache(), &source{took: test.takes}
				if test.fails {
					s.do = failing(errGone).do
				}
				holder, waiter := wrap(t, b.cache(), s, opts), wrap(t, c, &source{}, opts)
				awaitBubbleHearing(t, c)
				held := holder.begin(t.Context(), "k")
				synctest.Wait()
				waits := waiter.begin(t.Context(), "k")
				time.Sleep(*MostTold / 8)
				key, _ := holder.Key("k")
				require.True(t, b.redis.Del(key+LockSuffix))
				o := <-waits
				assert.Equal(t, SourceComputed, o.source)
				assert.Equal(t, test.told, o.took, "before it asks by itself, and not after the rest of the lease")
				<-held
			})
		})
	}
}

func TestWaiterIsWokenWhenTheHolderCannotCoolDownBecauseItsLockWasEvicted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{OnCold: Wait, Freshness: time.Second}
		c, s := b.cache(), &source{}
		holder, waiter := wrap(t, b.cache(), s, opts), wrap(t, c, &source{}, opts)
		awaitBubbleHearing(t, c)
		holder.get(t.Context(), "k")
		time.Sleep(2 * time.Second)
		s.set(func(s *source) { s.took, s.do = *MostTold/4, failing(errGone).do })
		held := holder.begin(t.Context(), "k")
		synctest.Wait()
		refreshed := make(chan error, 1)
		began := time.Now()
		go func() { refreshed <- waiter.Refresh(t.Context(), "k") }() // waits, though there is something stale
		synctest.Wait()
		key, _ := holder.Key("k")
		require.True(t, b.redis.Del(key+LockSuffix))
		require.NoError(t, <-refreshed)
		assert.Equal(t, *MostTold/4, time.Since(began))
		<-held
	})
}

// awaitBubbleHearing has a cache in a bubble subscribe.
func awaitBubbleHearing(t *testing.T, c *Cache) {
	t.Helper()
	hearAll(c)
	synctest.Wait()
	require.NotZero(t, hearing(c))
}

func TestWaiterPollsWhileEventsAreNotHeard(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.tap.set(func(tap *tap) {
			tap.refuse = map[string]error{"publish": replyError("NOPERM No permissions to access a channel")}
		})
		s := &source{took: time.Second}
		opts := Options{OnCold: Wait}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		o := there.get(t.Context(), "a")
		assert.Equal(t, 1, o.value)
		assert.LessOrEqual(t, o.took, time.Second+3*PollMax/2)
		polls := b.tap.count("acquire")
		assert.Greater(t, polls, 5)
		assert.Less(t, polls, 20, "with backoff")
		assert.Equal(t, 1, (<-holder).value)
		forbidden := b.log.About("may not publish and subscribe")
		require.Len(t, forbidden, 1)
		assert.Contains(t, forbidden[0], "grant the user +subscribe")
	})
}

func TestWaiterIsServedAlthoughEventsAreNoLongerReceived(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 5 * time.Second}
		opts := Options{OnCold: Wait}
		here, cache := wrap(t, b.cache(), s, opts), b.cache()
		there := wrap(t, cache, s, opts)
		awaitBubbleHearing(t, cache)
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		waiter := there.begin(t.Context(), "a")
		synctest.Wait()
		b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"publish": replyError("NOPERM not here")} })
		cache.Events().Down() // as the end of a connection does
		o := <-waiter
		assert.Equal(t, 1, o.value)
		assert.LessOrEqual(t, o.took, 5*time.Second+3*PollMax/2, "it polls")
		assert.Equal(t, 1, (<-holder).value)
	})
}

func TestSubscriptionCutComesBackInAnotherEpoch(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := newHeld()
		here, there := newProcess(t, client()), newProcess(t, client())
		opts := Options{OnCold: Wait, Lease: slowLease}
		a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
		epoch := awaitHearing(t, there.Cache, 0)
		holder := a.begin(t.Context(), "k")
		<-s.began
		waiter := b.begin(t.Context(), "k")
		awaitWatchers(t, there.Cache, 1)
		killSubscribers(t, client())
		epoch = awaitHearing(t, there.Cache, epoch)
		killSubscribers(t, client())
		awaitHearing(t, there.Cache, epoch)
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-holder).value)
		assert.Equal(t, 1, (<-waiter).value)
		assert.NotEmpty(t, there.log.About("subscription to events lost"))
	})
}

// killSubscribers cuts all connections that listen.
func killSubscribers(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	kill := func(ctx context.Context, node *redis.Client) error {
		return node.ClientKillByFilter(ctx, "TYPE", "pubsub").Err()
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		require.NoError(t, cluster.ForEachShard(t.Context(), kill))
		return
	}
	require.NoError(t, kill(t.Context(), client.(*redis.Client)))
}

func TestSubscriptionSurvivesARestartOfTheServer(t *testing.T) {
	server := redistest.Start(t)
	p := newProcess(t, server.Client())
	epoch := awaitHearing(t, p.Cache, 0)
	server.Kill()
	awaitDeaf(t, p.Cache)
	server.Restart()
	awaitHearing(t, p.Cache, epoch)
	heard := p.Events().Inspect().Noted
	require.NoError(t, server.Client().Publish(t.Context(), "fncache:events:test.Source", "invalidate k -").Err())
	require.Eventually(t, func() bool { return p.Events().Inspect().Noted > heard }, 30*time.Second, time.Millisecond)
}

func TestSubscriptionFollowsAFailover(t *testing.T) {
	t.Parallel()
	inOneForm(t, testSubscriptionFollowsAFailover)
}

func testSubscriptionFollowsAFailover(t *testing.T) {
	for name, how := range map[string]func(*redistest.Server){
		"the primary is dead":    (*redistest.Server).Kill,
		"the primary is stopped": (*redistest.Server).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			group := redistest.StartSentinel(t)
			s := &source{}
			quick := func(c *Config) { c.RedisTimeout = time.Second }
			here, a := newNearProcess(t, group.Client(), s, quick)
			_, b := newNearProcess(t, group.Client(), s, quick)
			epoch := hearing(here.Cache)
			assert.Equal(t, []Source{SourceComputed, SourceNear}, a.sources(t.Context(), "k", 2))
			how(group.Primary())
			awaitHearing(t, here.Cache, epoch) // by the new primary
			assert.NotEqual(t, SourceNear, a.get(t.Context(), "k").source, "what was kept before may have been invalidated")
			hears := ended(t, here.Cache, a, "k", true)
			require.Eventually(t, func() bool { return b.Invalidate(t.Context(), "k") == nil }, 30*time.Second, time.Millisecond)
			require.Eventually(t, hears, 30*time.Second, time.Millisecond)
		})
	}
}

func TestHalfOpenSubscriptionIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	p := newProcess(t, server.Client(), func(c *Config) { c.RedisTimeout = 100 * time.Millisecond })
	epoch := awaitHearing(t, p.Cache, 0)
	server.Pause() // its connections stay open, and say nothing
	awaitDeaf(t, p.Cache)
	server.Resume()
	awaitHearing(t, p.Cache, epoch)
}

func TestSilentSubscriptionIsKeptAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		awaitBubbleHearing(t, c)
		epoch := hearing(c)
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			assert.True(t, c.Events().Hears(c.Clock().Elapsed()))
		}
		assert.Equal(t, epoch, hearing(c), "nobody has said anything for a minute, and that is fine")
	})
}

func TestUserWithoutTheChannel(t *testing.T) { inBothForms(t, testUserWithoutTheChannel) }

func testUserWithoutTheChannel(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	for name, rules := range map[string][]any{
		"may not subscribe": {"~fncache:*", "resetchannels", "+@all"},
		"may not publish":   {"~fncache:*", "&*", "+@all", "-publish"},
		"may not ping":      {"~fncache:*", "&*", "+@all", "-ping"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "deaf", "reset", "on", ">secret"}, rules...)...).Err())
			client := func() *redis.Client {
				return server.Client(func(o *redis.Options) { o.Username, o.Password = "deaf", "secret" })
			}
			s := newHeld()
			quick := func(c *Config) { c.RedisTimeout = time.Second }
			here, there := newProcess(t, client(), quick), newProcess(t, client(), quick)
			opts := Options{OnCold: Wait, Lease: slowLease, Name: "deaf." + t.Name()[len(t.Name())-4:]}
			a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
			holder := a.begin(t.Context(), "k")
			<-s.began
			waiter := b.begin(t.Context(), "k")
			require.Eventually(t, func() bool { return len(there.log.About("may not publish and subscribe")) == 1 }, 30*time.Second, time.Millisecond)
			awaitDeaf(t, there.Cache)
			s.let <- struct{}{}
			assert.Equal(t, 1, (<-holder).value)
			assert.Equal(t, 1, (<-waiter).value, "it polls")
		})
	}
}

func TestCloseEndsTheSubscription(t *testing.T) {
	for name, disturb := range map[string]func(*redistest.Server){
		"up":                    func(*redistest.Server) {},
		"the server is stopped": func(s *redistest.Server) { s.Pause() },
		"the server is dead":    func(s *redistest.Server) { s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			c, err := New(Config{Redis: server.Client()})
			require.NoError(t, err)
			awaitHearing(t, c, 0)
			disturb(server)
			assert.NoError(t, c.Close(), "and nothing of it still runs")
			assert.Zero(t, c.Life().Running())
			assert.Zero(t, hearing(c))
		})
	}
	t.Run("while it connects", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		client := redis.NewClient(&redis.Options{Addr: l.Addr().String(), ReadTimeout: 200 * time.Millisecond})
		defer func() { _ = client.Close() }()
		c, err := New(Config{Redis: client})
		require.NoError(t, err)
		hearAll(c)
		conn, err := l.Accept()
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		assert.NoError(t, c.Close())
	})
}

func TestAClosedCacheDoesNotSubscribe(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		require.NoError(t, c.Close())
		hearAll(c)
		synctest.Wait()
		assert.Zero(t, c.Life().Running())
	})
}

func TestAProcessHearsOnlyTheFunctionsThatItNeeds(t *testing.T) {
	onEveryServer(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := &source{}
		p, there := newProcess(t, client()), newProcess(t, client())
		name := func(name string) Options {
			return Options{Name: "test.Heard" + name, Lease: slowLease, Near: time.Hour, Timeout: time.Hour}
		}
		near := wrap(t, p.Cache, s, name("Near"))
		wrap(t, p.Cache, s, Options{Name: "test.HeardNever", Lease: slowLease}).get(t.Context(), "k")
		near.get(t.Context(), "bind")
		require.Eventually(t, func() bool { return hearing(p.Cache) != 0 }, patience, time.Millisecond)
		assert.Equal(t, []string{"test.HeardNear"}, p.Events().Inspect().Channels)
		near.get(t.Context(), "k")
		require.Equal(t, SourceNear, near.get(t.Context(), "k").source)

		// Another is added to the same connection, and disturbs nothing.
		added := wrap(t, p.Cache, s, name("Added"))
		added.get(t.Context(), "bind")
		require.Eventually(t, func() bool { return hearing(p.Cache) != 0 }, patience, time.Millisecond)
		assert.Equal(t, SourceNear, near.get(t.Context(), "k").source, "heard without a gap")
		added.get(t.Context(), "k")
		require.Equal(t, SourceNear, added.get(t.Context(), "k").source)
		for _, opts := range []Options{name("Near"), name("Added")} {
			opts.Near = 0
			require.NoError(t, wrap(t, there.Cache, s, opts).Invalidate(t.Context(), "k"))
		}
		for _, w := range []*wrapped{near, added} {
			require.Eventually(t, func() bool { return w.get(t.Context(), "k").source != SourceNear }, patience, time.Millisecond)
		}
	})
}

func TestAnEntryAskedForBeforeItsChannelWasHeardIsNotKept(t *testing.T) {
	// 1. Another function's events are heard; 2. an entry is asked for, whose channel was
	// subscribed to and not yet heard; 3. it is invalidated, and that is not heard; 4. the
	// channel is heard.
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		s := &source{}
		here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
		other := wrap(t, here.Cache, s, Options{Name: "test.Heard", Lease: slowLease, Timeout: time.Hour, Near: time.Hour})
		other.get(t.Context(), "bind")
		require.Eventually(t, func() bool { return hearing(here.Cache) != 0 }, patience, time.Millisecond)
		opts := Options{Name: "test.Later", Lease: slowLease, Timeout: time.Hour}
		writer := wrap(t, there.Cache, s, opts)
		writer.get(t.Context(), "k")
		opts.Near = time.Hour
		reader := wrap(t, here.Cache, s, opts)
		greet := make(chan struct{})
		here.tap.on("publish", func() { <-greet })
		assert.Equal(t, SourceFresh, reader.get(t.Context(), "k").source)
		require.NoError(t, writer.Invalidate(t.Context(), "k"))
		close(greet)
		require.Eventually(t, func() bool { return hearing(here.Cache) != 0 }, patience, time.Millisecond)
		assert.Equal(t, SourceComputed, reader.get(t.Context(), "k").source)
	})
}

func TestChannelsThatNobodyNeedsAreLetGo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		near := wrap(t, c, &source{}, Options{Name: "test.Near", Near: time.Hour, Timeout: time.Hour})
		near.get(t.Context(), "k")
		s := &source{took: time.Second}
		opts := Options{Name: "test.Waits", OnCold: Wait}
		holder, waiter := wrap(t, b.cache(), s, opts), wrap(t, c, s, opts)
		holding := holder.begin(t.Context(), "k")
		synctest.Wait()
		assert.Equal(t, 1, waiter.get(t.Context(), "k").value)
		<-holding
		subscribed := func() int { return len(b.redis.PubSubChannels("fncache:events:*")) }
		assert.Equal(t, 2, subscribed())
		near.get(t.Context(), "k")
		assert.Equal(t, SourceNear, near.get(t.Context(), "k").source)
		time.Sleep(events.Linger + time.Second)
		assert.Equal(t, 1, subscribed(), "nobody waits any more")
		assert.Equal(t, SourceNear, near.get(t.Context(), "k").source, "the others are heard as before")
		near.Unwrap()
		time.Sleep(events.Linger + time.Second)
		assert.Zero(t, subscribed())
		assert.Empty(t, c.Events().Inspect().Channels)

		holding = holder.begin(t.Context(), "l")
		synctest.Wait()
		assert.Equal(t, 2, waiter.get(t.Context(), "l").value, "and come again")
		<-holding
		assert.Equal(t, 1, subscribed())
		assert.Empty(t, b.log.About("subscription"))
	})
}

func TestAProcessWithoutTheRightToPublishIsReported(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Start(t)
		admin := server.Client()
		require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">secret", "~fncache:*", "resetchannels", "+@all").Err())
		mute := newProcess(t, server.Client(func(o *redis.Options) { o.Username, o.Password = "mute", "secret" }))
		heard := newProcess(t, server.Client())
		s := newHeld()
		opts := Options{OnCold: Wait, Lease: slowLease}
		silent := wrap(t, mute.Cache, &s.source, opts)
		waits := wrap(t, heard.Cache, &s.source, opts)
		holder := silent.begin(t.Context(), "k")
		<-s.began
		waiter := waits.begin(t.Context(), "k")
		awaitWatchers(t, heard.Cache, 1)
		require.Eventually(t, func() bool { return hearing(heard.Cache) != 0 }, patience, time.Millisecond)
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-holder).value)
		o := <-waiter
		assert.Equal(t, 1, o.value, "though nobody told it")
		assert.Less(t, o.took, slowLease/2)
		require.NoError(t, silent.Invalidate(t.Context(), "k"))

		told := mute.log.About("may not publish")
		require.Len(t, told, 1, "once")
		assert.Contains(t, told[0], "+publish")
		assert.Contains(t, told[0], "channels=fncache:events:*")
		assert.Empty(t, heard.log.About("publish"))
		assert.Zero(t, silent.Stats().RedisErrors, "what it stores is stored")

		err := mute.Ping(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		require.ErrorContains(t, err, "publishing is not allowed to this user")
		require.ErrorContains(t, err, "+publish and the channels &fncache:events:*")
		require.NoError(t, heard.Ping(t.Context()))
	})
}

func TestANearCopyWithoutEventsEndsWithItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c, s := b.cache(), &source{}
		near := wrap(t, c, s, Options{Near: 10 * time.Second, Timeout: time.Hour})
		writer := wrap(t, b.cache(), s, Options{Timeout: time.Hour})
		near.get(t.Context(), "bind")
		awaitBubbleHearing(t, c)
		near.get(t.Context(), "k")
		c.Events().Lose(func() {
			require.NoError(t, writer.Invalidate(t.Context(), "k"))
			synctest.Wait()
		})
		assert.Equal(t, SourceNear, near.get(t.Context(), "k").source)
		time.Sleep(10 * time.Second)
		assert.Equal(t, SourceComputed, near.get(t.Context(), "k").source)
	})
}

func TestManyChannelsAreHeardThroughFewConnections(t *testing.T) {
	server := redistest.Shared(t)
	p := newProcess(t, server.Client(func(o *redis.Options) { o.PoolSize = 1 }), func(c *Config) { c.RedisTimeout = 250 * time.Millisecond })
	for i := range 500 {
		p.Events().Join(fmt.Sprint("test.Many", i))
	}
	require.Eventually(t, func() bool { return hearing(p.Cache) != 0 }, patience, time.Millisecond)
	assert.Len(t, p.Events().Inspect().Channels, 500)
	assert.Empty(t, p.log.About("subscription"))
}
