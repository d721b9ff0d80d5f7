package fncache_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
)

// This file tests orders of events that break caches like this one. Steps between two commands
// are done from a hook on the client or while the function runs, so no test depends on time. An
// order that consists of times is tested in a bubble.

// process is a cache with its own client on a real server: like a process of its
// own.
type process struct {
	*Cache
	tap *tap
	log *logtest.Handler
}

func newProcess(t *testing.T, client redis.UniversalClient, change ...func(*Config)) *process {
	p := &process{tap: newTap(), log: &logtest.Handler{}}
	redistest.AddHook(client, p.tap)
	cfg := Config{Redis: client, RedisTimeout: 5 * time.Second, Logger: slog.New(p.log)}
	for _, f := range change {
		f(&cfg)
	}
	p.Cache = newTestCache(t, cfg)
	return p
}

// slowLease is long enough for no lease to expire by itself on a real server.
const slowLease = time.Minute

// held is a source whose runs wait to be let go.
type held struct {
	source
	began chan int      // the number of each run, as it begins
	let   chan struct{} // one element lets one run go
	fail  chan error    // one element fails one run
}

func newHeld() *held {
	h := &held{began: make(chan int, 16), let: make(chan struct{}, 16), fail: make(chan error, 1)}
	h.do = func(ctx context.Context, run int) (int, error) {
		h.began <- run
		select {
		case <-h.let:
			return run, nil
		case err := <-h.fail:
			return 0, err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return h
}

func TestComputedAndReleasedBetweenLookupAndAcquire(t *testing.T) {
	onServersInBothForms(t, testComputedAndReleasedBetweenLookupAndAcquire)
}

func testComputedAndReleasedBetweenLookupAndAcquire(t *testing.T, server *backend) {
	s := &source{}
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{Lease: slowLease}
	a, b := wrap(t, here.Cache, s, opts), wrap(t, there.Cache, s, opts)
	here.tap.on("acquire", func() { assert.Equal(t, 1, b.get(t.Context(), "k").value) })
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceFresh, o.source, "acquire gave back what had been stored")
	assert.Equal(t, 1, o.value)
	assert.Equal(t, 1, s.count())
}

func TestEntryReplacedByAnotherStaleOneTimeAndAgain(t *testing.T) {
	// Each acquire finds an entry that the lookup before did not see: the table
	// is gone through three times, and then what is at hand is served.
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second})
		w.get(t.Context(), "k")
		time.Sleep(2 * time.Second)
		key, _ := w.Key("k")
		raw, err := b.redis.Get(key)
		require.NoError(t, err)
		for round := range MaxRounds + 1 {
			next := func() {
				changed := []byte(raw)
				changed[idAt] += byte(round + 1)
				require.NoError(t, b.redis.Set(key, string(changed)))
			}
			if round == 0 {
				b.tap.on("acquire", next)
			} else {
				// chained: before the acquire after the one before
				before := b.tap.before["acquire"]
				b.tap.on("acquire", func() { before(); b.tap.on("acquire", next) })
			}
		}
		o := w.get(t.Context(), "k")
		assert.Contains(t, []Source{SourceStale, SourceComputed}, o.source)
		assert.LessOrEqual(t, b.tap.count("acquire"), MaxRounds+2)
	})
}

func TestEntryDeletedBetweenLookupAndAcquire(t *testing.T) {
	onServersInBothForms(t, testEntryDeletedBetweenLookupAndAcquire)
}

func testEntryDeletedBetweenLookupAndAcquire(t *testing.T, server *backend) {
	for name, onStale := range map[string]StalePolicy{"refresh": Refresh, "background": Background} {
		t.Run(name, func(t *testing.T) {
			s := &source{}
			p := newProcess(t, server.Client())
			w := wrap(t, p.Cache, s, Options{Freshness: time.Minute, Timeout: time.Hour, Lease: slowLease, OnStale: onStale, Name: t.Name()})
			w.get(t.Context(), "k")
			p.Clock().Shift(2 * time.Minute)
			key, _ := w.Key("k")
			p.tap.on("acquire", func() { server.Raw.Del(t.Context(), key) })
			o := w.get(t.Context(), "k")
			assert.Equal(t, SourceComputed, o.source, "nothing stale is left to serve")
			assert.Equal(t, 2, o.value)
		})
	}
}

func TestALeaseThatAStoppedServerGrantsWhenItContinuesIsGivenBack(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Start(t)
		s := &source{}
		// The timeout counts from before the pause. If it passed before acquire is written, there
		// would be no lease to give back.
		p := newProcess(t, server.Client(), func(c *Config) { c.RedisTimeout = time.Second })
		w := wrap(t, p.Cache, s, Options{Lease: slowLease})
		w.get(t.Context(), "warm")
		p.tap.on("acquire", server.Pause)
		released := make(chan struct{})
		p.tap.onReply("release", func(redis.Cmder) { close(released) })
		o := w.get(t.Context(), "k")
		assert.Equal(t, SourceComputed, o.source, "as with Redis away")
		server.Resume()
		select {
		case <-released:
		case <-time.After(slowLease):
			t.Fatal("the lease is not given back")
		}
		key, _ := w.Key("k")
		other := server.Client()
		require.Eventually(t, func() bool { return other.Exists(t.Context(), key+LockSuffix).Val() == 0 }, 30*time.Second, 10*time.Millisecond,
			"nobody has to wait for the lease to expire")
		require.NotEqual(t, SourceRefused, w.get(t.Context(), "k").source)
	})
}

func TestALeaseIsGivenBackWhenRedisIsBackAfterTheFunctionFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := newHeld()
		c := b.cache()
		w := wrap(t, c, &s.source, Options{Lease: time.Minute})
		failing := w.begin(t.Context(), "k")
		<-s.began
		mend := b.cut()
		b.trip(wrap(t, c, &source{}, Options{Name: "test.Other"}))
		s.set(func(s *source) { s.do = nil })
		s.fail <- errSource
		require.ErrorIs(t, (<-failing).err, errSource)
		mend()
		awaitBack(c)
		time.Sleep(StoreAgainMax)
		synctest.Wait()
		assert.Empty(t, b.keys())
		assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source)
	})
}

func TestAnInvalidationByTheComputingProcessDropsTheResult(t *testing.T) {
	onServersInBothForms(t, testInvalidatedByItsOwnProcessWhileComputing)
}

func testInvalidatedByItsOwnProcessWhileComputing(t *testing.T, server *backend) {
	s := newHeld()
	p := newProcess(t, server.Client())
	w := wrap(t, p.Cache, &s.source, Options{Lease: slowLease, OnCold: Wait})

	first := w.begin(t.Context(), "k")
	<-s.began
	joined := w.begin(t.Context(), "k")
	awaitCallers(t, w, "k", 2)
	require.NoError(t, w.Invalidate(t.Context(), "k"))
	// A caller from now on may not be given what began before.
	after := w.begin(t.Context(), "k")
	<-s.began
	s.let <- struct{}{} // either run; both must end
	s.let <- struct{}{}
	assert.Equal(t, 1, (<-first).value, "the caller that computes was there before")
	assert.Equal(t, 2, (<-after).value)
	assert.Equal(t, 2, (<-joined).value, "who joined decides again: store said lost")
	assert.Equal(t, 2, w.get(t.Context(), "k").value)
	assert.EqualValues(t, 1, w.Stats().LostLeases)
}

func TestACallBeforeTheFunctionBeganIsAnsweredByItAlthoughTheKeyIsInvalidated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		opts := Options{OnCold: Wait, WaitTimeout: time.Hour}
		w, other := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		var late <-chan outcome
		s.do = func(ctx context.Context, run int) (int, error) {
			// No run gets to its end without an invalidation. (Time of the bubble.)
			time.Sleep(time.Second)
			assert.NoError(t, other.Invalidate(ctx, "k"))
			if run == 1 {
				// This process cannot know yet: it joins, and store will say lost.
				late = w.begin(t.Context(), "k")
			}
			time.Sleep(time.Second)
			return run, nil
		}
		for _, o := range b.burstOnOneLookup(w, 20, "k") {
			assert.Equal(t, 1, o.value)
			assert.Equal(t, 2*time.Second, o.took)
		}
		o := <-late
		assert.Equal(t, 2, o.value, "who called after the invalidation is not given what was computed before it")
		assert.Equal(t, 3*time.Second, o.took, "but it waits for no third run, for it asked before the second")
		assert.Equal(t, 2, s.count())
		assert.Equal(t, 3, w.get(t.Context(), "k").value, "none of it was stored")
	})
}

func TestACallThatCouldNotAskDoesNotJoinALostLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: 10 * time.Second}
		opts := Options{OnCold: Wait, WaitTimeout: time.Hour, Lease: time.Minute}
		w := wrap(t, b.cache(), s, opts)
		first := w.begin(t.Context(), "k")
		synctest.Wait()
		mend := b.cut()
		for range severalCalls {
			w.get(ctxIn(t, time.Second), "another")
		}
		key, _ := w.Key("k")
		b.redis.Del(key + LockSuffix) // as by an invalidation of another process
		late := w.begin(t.Context(), "k")
		synctest.Wait()
		mend()
		assert.Equal(t, 1, (<-first).value)
		o := <-late
		require.NoError(t, o.err)
		assert.Greater(t, o.value, 1, "it called after that, and Redis has said so since")
	})
}

func TestRefreshesOfAKeyThatIsInvalidatedRepeatedlyGiveUpTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w, other := wrap(t, b.cache(), s, Options{}), wrap(t, b.cache(), s, Options{})
		s.do = func(ctx context.Context, run int) (int, error) {
			time.Sleep(time.Second)
			return run, other.Invalidate(ctx, "k")
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { assert.ErrorIs(t, w.Refresh(t.Context(), "k"), ErrLeaseLost) })
		}
		all.Wait()
		// Each tries that often, and waits for one computation of others before.
		assert.LessOrEqual(t, s.count(), 2*MaxRounds)
	})
}

// awaitCallers waits until n callers wait for the leased computation of a key.
func awaitCallers(t *testing.T, w *wrapped, arg string, n int) {
	t.Helper()
	key, err := w.Key(arg)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.Joined(key) == n }, 10*time.Second, time.Millisecond)
}

func TestAnInvalidationByAnotherProcessBeforeTheNextRenewDropsTheResult(t *testing.T) {
	onServersInBothForms(t, testInvalidatedByAnotherProcessBeforeTheNextRenew)
}

func testInvalidatedByAnotherProcessBeforeTheNextRenew(t *testing.T, server *backend) {
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{Lease: slowLease, OnCold: Wait}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)

	first := a.begin(t.Context(), "k")
	<-s.began
	require.NoError(t, b.Invalidate(t.Context(), "k"))
	// This process cannot know yet, so a caller joins; store will say lost.
	joined := a.begin(t.Context(), "k")
	awaitCallers(t, a, "k", 2)
	s.let <- struct{}{}
	assert.Equal(t, 1, (<-first).value)
	<-s.began
	s.let <- struct{}{}
	assert.Equal(t, 2, (<-joined).value, "who called after the invalidation is not given what was computed before it")
	assert.Equal(t, 2, b.get(t.Context(), "k").value)
}

func TestARenewNoticesAnInvalidationByAnotherProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := newHeld()
		opts := Options{Lease: 3 * time.Second, OnCold: Wait}
		w, other := wrap(t, b.cache(), &s.source, opts), wrap(t, b.cache(), &s.source, opts)
		first := w.begin(t.Context(), "k")
		<-s.began
		before := w.begin(t.Context(), "k")
		synctest.Wait()
		require.NoError(t, other.Invalidate(t.Context(), "k"))
		time.Sleep(time.Second) // a third of the lease: renew says lost
		synctest.Wait()
		after := w.begin(t.Context(), "k")
		assert.Equal(t, 2, <-s.began, "newcomers start afresh while the first still runs")
		s.let <- struct{}{}
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, 2, (<-after).value)
		assert.Equal(t, 2, (<-before).value)
		assert.Len(t, b.log.About("lease lost"), 1)
	})
}

func TestInvalidationReachesAStaleEntrysCallersWhileItIsRecomputed(t *testing.T) {
	onServersInBothForms(t, testInvalidationReachesAStaleEntrysCallersWhileItIsRecomputed)
}

func testInvalidationReachesAStaleEntrysCallersWhileItIsRecomputed(t *testing.T, server *backend) {
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{Freshness: time.Minute, Timeout: time.Hour, Lease: slowLease}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	s.let <- struct{}{}
	a.get(t.Context(), "k")
	<-s.began
	here.Clock().Shift(2 * time.Minute)
	holder := a.begin(t.Context(), "k")
	<-s.began
	assert.Equal(t, SourceStale, a.get(t.Context(), "k").source)
	require.NoError(t, b.Invalidate(t.Context(), "k"))
	after := a.begin(t.Context(), "k")
	assert.Equal(t, 3, <-s.began, "they look up as always, and find it cold")
	s.let <- struct{}{}
	s.let <- struct{}{}
	assert.Equal(t, 3, (<-after).value)
	<-holder
	assert.Equal(t, 3, a.get(t.Context(), "k").value)
}

func TestInvalidateDetachesALookupUnderWay(t *testing.T) {
	onServersInBothForms(t, testInvalidateDetachesALookupUnderWay)
}

func testInvalidateDetachesALookupUnderWay(t *testing.T, server *backend) {
	s := &source{}
	p := newProcess(t, server.Client())
	w := wrap(t, p.Cache, s, Options{Lease: slowLease})
	w.get(t.Context(), "k")
	// 1. A lookup has read the old entry; 2. the key is invalidated; 3. a caller
	// who comes now must not share that lookup.
	read, proceed := make(chan struct{}), make(chan struct{})
	p.tap.onReply("get", func(redis.Cmder) { close(read); <-proceed })
	before := w.begin(t.Context(), "k")
	<-read
	require.NoError(t, w.Invalidate(t.Context(), "k"))
	assert.Equal(t, 2, w.get(t.Context(), "k").value)
	close(proceed)
	assert.Equal(t, 1, (<-before).value, "its call was there before")
}

func TestLateRenewDoesNotReviveACooldown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s, c := newHeld(), b.cache()
		const lease, cooldown = 3 * time.Second, 2 * time.Second
		w := wrap(t, c, &s.source, Options{Freshness: time.Second, Timeout: time.Hour, Lease: lease, Cooldown: cooldown})
		s.let <- struct{}{}
		w.get(t.Context(), "k")
		<-s.began
		time.Sleep(2 * time.Second)
		var token string
		b.tap.onReply("renew", func(cmd redis.Cmder) { token, _ = cmd.Args()[4].(string) })
		s.set(func(s *source) {
			s.do = func(context.Context, int) (int, error) { time.Sleep(1100 * time.Millisecond); return 0, errSource }
		})
		assert.Equal(t, SourceStale, w.get(t.Context(), "k").source)
		key, _ := w.Key("k")
		require.Equal(t, cooldown, b.redis.TTL(key+LockSuffix))
		require.NotEmpty(t, token, "the lease was renewed meanwhile")
		// The same renewal arrives again, after the cool down.
		held, err := c.Renew(t.Context(), key, token, lease)
		require.NoError(t, err)
		assert.False(t, held)
		assert.Equal(t, cooldown, b.redis.TTL(key+LockSuffix), "the cooldown is not prolonged")
	})
}

func TestAHolderWhoseLeaseExpiredDoesNotOverwriteALaterHolder(t *testing.T) {
	onServersInBothForms(t, testLeaseExpiredWhileComputingAndAnotherHolderWasDoneFirst)
}

func testLeaseExpiredWhileComputingAndAnotherHolderWasDoneFirst(t *testing.T, server *backend) {
	s := newHeld()
	here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
	opts := Options{Lease: slowLease, OnCold: Wait}
	a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
	first := a.begin(t.Context(), "k")
	<-s.began
	key, _ := a.Key("k")
	require.Equal(t, int64(1), server.Raw.Del(t.Context(), key+LockSuffix).Val(), "as if it had expired")
	second := b.begin(t.Context(), "k")
	<-s.began
	// Runs are let go in the order they wait, which is not fixed; both return
	// their own number.
	s.let <- struct{}{}
	s.let <- struct{}{}
	assert.Equal(t, 1, (<-first).value, "its caller has its value")
	assert.Equal(t, 2, (<-second).value)
	assert.Equal(t, 2, a.get(t.Context(), "k").value, "and what is stored is the other's")
	assert.EqualValues(t, 1, a.Stats().LostLeases)
	assert.EqualValues(t, 0, a.Stats().Stored)
}

func TestHolderThatIsSuspendedPastItsLeaseStoresNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := newHeld()
		opts := Options{Lease: 3 * time.Second, OnCold: Wait}
		a, other := wrap(t, b.cache(), &s.source, opts), wrap(t, b.cache(), &s.source, opts)
		first := a.begin(t.Context(), "k")
		<-s.began
		b.tap.set(func(tap *tap) { tap.refuse = map[string]error{"renew": replyError("ERR not renewed")} })
		second := other.begin(t.Context(), "k")
		began := time.Now()
		require.Equal(t, 2, <-s.began)
		assert.LessOrEqual(t, time.Since(began), 3*time.Second+5*time.Millisecond, "the lease frees itself")
		// In the first process too, newcomers do not join it any more.
		third := a.begin(t.Context(), "k")
		synctest.Wait()
		s.let <- struct{}{}
		s.let <- struct{}{}
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, 2, (<-second).value)
		assert.Equal(t, 2, (<-third).value)
	})
}

func TestTheLeaseIsRenewedAsLongAsTheFunctionRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{took: time.Minute}
		opts := Options{Lease: 3 * time.Second, Timeout: time.Hour}
		a, other := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		first := a.begin(t.Context(), "k")
		for range 59 {
			time.Sleep(time.Second)
			require.ErrorIs(t, other.get(t.Context(), "k").err, ErrColdCache)
		}
		assert.Equal(t, 1, (<-first).value)
		assert.Equal(t, 1, s.count())
		assert.EqualValues(t, 0, a.Stats().LostLeases)
	})
}

// deaf is a connection that loses the reply of a command after it was sent: the
// client times out reading, and sends the command again on another one.
type deaf struct {
	net.Conn
	armed *atomic.Bool // the next command on any connection is the one
	lost  atomic.Bool  // it was on this connection
	once  sync.Once
}

func (c *deaf) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.armed.CompareAndSwap(true, false) {
		c.lost.Store(true)
	}
	return n, err
}

func (c *deaf) Read(p []byte) (int, error) {
	if c.lost.Load() {
		c.once.Do(func() { _, _ = c.Conn.Read(p) }) // then the command has taken effect
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

func TestEveryScriptResentAfterItTookEffect(t *testing.T) {
	onServersInBothForms(t, testEveryScriptResentAfterItTookEffect)
}

func testEveryScriptResentAfterItTookEffect(t *testing.T, server *backend) {
	armed := new(atomic.Bool)
	client := server.Connect(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &deaf{Conn: conn, armed: armed}, err
	})
	s := &source{}
	p := newProcess(t, client)
	w := wrap(t, p.Cache, s, Options{Lease: slowLease, Freshness: time.Minute, Timeout: time.Hour})
	w.get(t.Context(), "warm the script cache")
	require.NoError(t, w.Invalidate(t.Context(), "warm the script cache"))
	runs := s.count()

	stop := server.Monitor(t)
	p.tap.on("acquire", func() { armed.Store(true) })
	p.tap.on("store", func() { armed.Store(true) })
	assert.Equal(t, SourceComputed, w.get(t.Context(), "k").source)
	assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source, "stored once, known as stored")
	assert.Equal(t, runs+1, s.count())
	assert.EqualValues(t, 0, w.Stats().LostLeases)

	// Release and cool down after an error.
	s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, errSource } })
	p.Clock().Shift(2 * time.Minute)
	p.tap.on("cooldown", func() { armed.Store(true) })
	assert.Equal(t, SourceStale, w.get(t.Context(), "k").source)
	assert.EqualValues(t, 0, w.Stats().LostLeases)
	p.tap.on("invalidate", func() { armed.Store(true) })
	require.NoError(t, w.Invalidate(t.Context(), "k"))
	p.tap.on("release", func() { armed.Store(true) })
	assert.Equal(t, errSource, w.get(t.Context(), "k").err)

	scripts := 0
	for _, line := range stop() {
		if strings.Contains(strings.ToLower(line), "evalsha") {
			scripts++
		}
	}
	assert.GreaterOrEqual(t, scripts, 2*5+1, "five verbs, each sent twice; and one acquire more")
}

func TestALateReplicaCostsARoundTripAndNoComputation(t *testing.T) {
	inBothForms(t, testALateReplica)
}

func testALateReplica(t *testing.T) {
	primary := redistest.Start(t)
	lagging := redistest.Start(t) // a detached server: a replica that never catches up
	replica := lagging.Client()
	client := primary.Client()
	client.AddHook(route{to: replica})
	s := &source{}
	here, there := newProcess(t, client), newProcess(t, primary.Client())
	opts := Options{Freshness: time.Minute, Timeout: time.Hour, Lease: slowLease}
	a, b := wrap(t, here.Cache, s, opts), wrap(t, there.Cache, s, opts)

	b.get(t.Context(), "k")
	o := a.get(t.Context(), "k")
	assert.Equal(t, SourceFresh, o.source, "an absent read costs a round trip, not a computation")
	assert.Equal(t, 1, s.count())

	// The replica has the first value, stale; the primary a newer one.
	key, _ := a.Key("k")
	raw, err := primary.Client().Get(t.Context(), key).Bytes()
	require.NoError(t, err)
	old := storedAt(string(raw)) - (2 * time.Minute).Milliseconds()
	binary.BigEndian.PutUint64(raw[storedAtAt:], uint64(old))
	require.NoError(t, replica.Set(t.Context(), key, raw, 0).Err())
	require.NoError(t, b.Refresh(t.Context(), "k"))
	o = a.get(t.Context(), "k")
	assert.Equal(t, SourceFresh, o.source)
	assert.Equal(t, 2, o.value)
	assert.Equal(t, 2, s.count())

	// The primary has none any more: the stale one is not served.
	require.NoError(t, b.Invalidate(t.Context(), "k"))
	assert.Equal(t, 3, a.get(t.Context(), "k").value)
}

// route sends GET to another server, as a client that reads from replicas does.
type route struct{ to *redis.Client }

func (r route) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r route) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r route) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "get" {
			return r.to.Process(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}

func TestTwoBuildsWithDifferentResultTypesSideBySide(t *testing.T) {
	t.Parallel()
	onServers(t, testTwoBuildsWithDifferentResultTypesSideBySide)
}

func testTwoBuildsWithDifferentResultTypesSideBySide(t *testing.T, server *backend) {
	type bookOld struct{ Title string }
	type book struct {
		Title string
		Year  int
	}
	runsOld, runsNew := 0, 0
	older := func(context.Context, int64) (bookOld, error) { runsOld++; return bookOld{"Emma"}, nil }
	newer := func(context.Context, int64) (book, error) { runsNew++; return book{"Emma", 1815}, nil }
	opts := Options{Name: "shop.Book", Timeout: time.Hour, Lease: slowLease}
	opts.Cache = newProcess(t, server.Client()).Cache
	fOld := Must(Wrap(&older, opts))
	opts.Cache = newProcess(t, server.Client()).Cache
	fNew := Must(Wrap(&newer, opts))
	for range 3 {
		was, err := older(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, bookOld{"Emma"}, was)
		is, err := newer(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, book{"Emma", 1815}, is)
	}
	assert.Equal(t, []int{1, 1}, []int{runsOld, runsNew}, "neither starts the other cold")
	assert.NotEqual(t, must(fOld.Key(1)), must(fNew.Key(1)))
	assert.EqualValues(t, 0, fOld.Stats().Undecodable+fNew.Stats().Undecodable)
}

func TestGarbageUnderAKeyIsAMissWithAReason(t *testing.T) {
	onServersInBothForms(t, testGarbageUnderAKeyIsAMissWithAReason)
}

func testGarbageUnderAKeyIsAMissWithAReason(t *testing.T, server *backend) {
	client := server.Raw
	s := &source{}
	p := newProcess(t, server.Client())
	w := wrap(t, p.Cache, s, Options{Lease: slowLease})
	key, _ := w.Key("k")
	w.get(t.Context(), "k")
	good, err := client.Get(t.Context(), key).Result()
	require.NoError(t, err)
	for name, write := range map[string]func(){
		"empty":        func() { client.Set(t.Context(), key, "", 0) },
		"foreign":      func() { client.Set(t.Context(), key, "<html>somebody else's page, longer than a header</html>", 0) },
		"truncated":    func() { client.Set(t.Context(), key, good[:len(good)-1], 0) },
		"trailing":     func() { client.Set(t.Context(), key, good+"x", 0) },
		"newer format": func() { client.Set(t.Context(), key, good[:4]+"\x63"+good[5:], 0) },
		"another type": func() { client.Del(t.Context(), key); client.SAdd(t.Context(), key, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			write()
			undecodable, runs := w.Stats().Undecodable, s.count()
			o := w.get(t.Context(), "k")
			assert.Equal(t, SourceComputed, o.source)
			assert.Equal(t, runs+1, o.value)
			assert.Equal(t, undecodable+1, w.Stats().Undecodable)
			assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source, "and is replaced")
		})
	}
}

func TestColdStampedeInOneProcess(t *testing.T) {
	onServersInBothForms(t, testColdStampedeInOneProcess)
}

func testColdStampedeInOneProcess(t *testing.T, server *backend) {
	for name, policy := range map[string]ColdPolicy{"fail": Fail, "wait": Wait} {
		t.Run(name, func(t *testing.T) {
			const callers = 1000
			s := newHeld()
			client := server.Client()
			counter := redistest.NewCounter()
			client.AddHook(counter)
			p := newProcess(t, client)
			w := wrap(t, p.Cache, &s.source, Options{OnCold: policy, Lease: slowLease, Name: t.Name()})
			stop := server.Monitor(t)

			var answered atomic.Int64
			ends := make([]outcome, callers)
			var all sync.WaitGroup
			for i := range ends {
				all.Go(func() { ends[i] = w.get(t.Context(), "k"); answered.Add(1) })
			}
			<-s.began
			if policy == Fail {
				require.Eventually(t, func() bool { return answered.Load() == callers-1 }, 10*time.Second, time.Millisecond,
					"refused while the function still runs")
			} else {
				awaitCallers(t, w, "k", callers)
			}
			s.let <- struct{}{}
			all.Wait()

			want := map[Source]int{SourceComputed: 1, SourceRefused: callers - 1}
			if policy == Wait {
				want = map[Source]int{SourceComputed: 1, SourceWaited: callers - 1}
			}
			assert.Equal(t, want, bySource(ends))
			assert.Equal(t, 1, s.count())
			assert.LessOrEqual(t, counter.Total(), 10, "as the client counts: %v", counter.ByName())
			received := stop()
			assert.LessOrEqual(t, len(received), 10, "as the server counts: %v", received)
			requireIdentity(t, w.Func)
		})
	}
}
