package fncache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/redistest"
)

func TestRedisErrorsAreToldApart(t *testing.T) {
	for _, row := range []struct {
		err  error
		want RedisErrorKind
	}{
		{errRedisTimeout, KindTimeout},
		{context.DeadlineExceeded, KindTimeout},
		{&net.OpError{Op: "read", Err: timeoutError{}}, KindTimeout},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, KindUnreachable},
		{io.EOF, KindUnreachable},
		{errors.New("x509: certificate signed by unknown authority"), KindUnreachable},
		{redis.ErrPoolTimeout, KindPool},
		{errPoolTimeout, KindPool},
		{redis.ErrClosed, KindClosed},
		{ErrClosed, KindClosed},
		{errors.New("redis: cluster has no nodes"), KindClusterDown},
		{replyError("NOAUTH Authentication required."), KindAuth},
		{replyError("WRONGPASS invalid username-password pair or user is disabled."), KindAuth},
		{replyError("NOPERM User mute has no permissions to run the 'get' command"), KindNoPerm},
		{replyError("ERR The user executing the script can't run this command or subcommand script: 1a2b, on @user_script:1."), KindNoPerm},
		{replyError("ERR ACL failure in script: User noset has no permissions to run the 'set' command script: 1a2b"), KindNoPerm},
		{replyError("READONLY You can't write against a read only replica."), KindReadOnly},
		{replyError("ERR Error running script (call to f_1a2b): @user_script:1: -READONLY You can't write"), KindReadOnly},
		{replyError("LOADING Redis is loading the dataset in memory"), KindLoading},
		{replyError("OOM command not allowed when used memory > 'maxmemory'."), KindOOM},
		{replyError("CLUSTERDOWN Hash slot not served"), KindClusterDown},
		{replyError("TRYAGAIN Multiple keys request during rehashing of slot"), KindClusterDown},
		{replyError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."), KindMasterDown},
		{replyError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist on disk."), KindRefusesWrites},
		{replyError("NOREPLICAS Not enough good replicas to write."), KindRefusesWrites},
		{replyError("BUSY Redis is busy running a script."), KindBusy},
		{replyError("ERR max number of clients reached"), KindMaxClients},
		{replyError("ERR unknown command 'EVALSHA'"), KindOther},
	} {
		wrapped := newRedisError("acquire", "k", fmt.Errorf("wrapped: %w", row.err))
		assert.Equal(t, row.want, wrapped.Kind, "%v", row.err)
		assert.Equal(t, row.want, kindOf(fmt.Errorf("again: %w", wrapped)), "the first judgement stays")
		require.ErrorIs(t, wrapped, ErrRedisDown)
		require.ErrorIs(t, wrapped, row.err)
	}
	moving := newRedisError(opInvalidate, "k", replyError("TRYAGAIN Multiple keys request during rehashing of slot"))
	require.ErrorContains(t, moving, "while a slot moves to another node, try again")
	assert.Equal(t, "oom", KindOOM.String())
	assert.Equal(t, "RedisErrorKind(200)", RedisErrorKind(200).String())
	for k := range redisErrorKinds {
		assert.NotEmpty(t, k.String())
	}
}

func TestCountsOfRedisErrorsComeBackFromJSON(t *testing.T) {
	for _, counts := range []RedisErrorCounts{{}, {KindTimeout: 3, KindPool: 1, KindOther: 18446744073709551615}} {
		text, err := json.Marshal(Stats{RedisErrorKinds: counts})
		require.NoError(t, err)
		back := Stats{RedisErrorKinds: RedisErrorCounts{KindOOM: 7}}
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, counts, back.RedisErrorKinds, "%s", text)
	}
	var c RedisErrorCounts
	require.NoError(t, c.UnmarshalText([]byte("timeout=3 quantum=2")))
	assert.Equal(t, RedisErrorCounts{KindTimeout: 3}, c, "a kind of a later release")
	for _, wrong := range []string{"timeout", "timeout=-1", "timeout=x"} {
		require.ErrorContains(t, c.UnmarshalText([]byte(wrong)), wrong)
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestRedisThatFailsTimeAndAgainIsNotAskedUntilAProbeSucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{})
		w.get(t.Context(), "a")
		resume := b.stall()
		for range tripFailures {
			assert.Equal(t, DefaultRedisTimeout, w.get(t.Context(), "a").took, "it is asked, and does not answer")
		}
		asked := b.tap.count("get")
		for range 100 {
			o := w.get(t.Context(), "a")
			assert.Equal(t, SourceComputed, o.source)
			assert.Zero(t, o.took, "nobody waits for it any more")
		}
		time.Sleep(10 * probeInterval)
		assert.Zero(t, w.get(t.Context(), "a").took, "nor while it is probed")
		probes := b.tap.count("get") - asked
		assert.GreaterOrEqual(t, probes, 5, "it is tried now and then")
		assert.LessOrEqual(t, probes, 20)

		resume()
		time.Sleep(2 * probeInterval)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source, "caching has resumed by itself")
		assert.Len(t, b.log.about("kind=timeout"), 1, "told once")
		assert.Len(t, b.log.about("Redis answers again"), 1)
		stats := requireIdentity(t, w.Func)
		assert.Equal(t, uint64(tripFailures), stats.RedisErrorKinds[KindTimeout], "what is not asked does not fail")
		assert.Equal(t, stats.RedisErrors, stats.RedisErrorKinds[KindTimeout])
	})
}

// slowEntry is a hook by which one key takes longer to be read than anybody waits.
type slowEntry struct{ key string }

func (slowEntry) DialHook(next redis.DialHook) redis.DialHook { return next }

func (slowEntry) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s slowEntry) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "get" && args[1] == s.key {
			<-ctx.Done()
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
		return next(ctx, cmd)
	}
}

func TestAnEntryTooLargeToBeReadInTimeDoesNotKeepRedisFromBeingAskedForOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "small")
		key, err := w.Key("large")
		require.NoError(t, err)
		c.cfg.Redis.AddHook(slowEntry{key})
		for range tripFailures {
			w.get(t.Context(), "large")
		}
		require.Equal(t, SourceComputed, w.get(t.Context(), "small").source, "Redis is not asked")
		time.Sleep(2 * probeInterval)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "small").source, "a probe has found that it answers")
	})
}

// lateReplies is a hook by which the replies to a verb come that much later.
type lateReplies struct {
	verb string
	by   time.Duration
}

func (lateReplies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (lateReplies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l lateReplies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if verbOf(cmd) == l.verb {
			time.Sleep(l.by)
		}
		return err
	}
}

func TestRedisThatAnswersEveryLookupTooLateIsNotAskedAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
		w.get(t.Context(), "a")
		late := c.cfg.RedisTimeout + 10*time.Millisecond
		c.cfg.Redis.AddHook(lateReplies{"get", late})
		for i := range 3 * tripFailures {
			took := timeOf(func() { assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source) })
			if i < tripFailures {
				assert.Equal(t, c.cfg.RedisTimeout, took, "call %d", i)
			} else {
				assert.Zero(t, took, "call %d", i)
			}
			time.Sleep(20 * time.Millisecond) // the answer comes, before the next call
		}
	})
}

func TestALeaseThatIsGrantedTooLateIsGivenBackThoughRedisIsNotAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "a")
		late := c.cfg.RedisTimeout + 10*time.Millisecond
		c.cfg.Redis.AddHook(lateReplies{"acquire", late})
		for i := range tripFailures {
			assert.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
		}
		require.Error(t, c.health.refuses(opAcquire, "any"), "Redis is not asked")
		time.Sleep(20 * time.Millisecond) // the last answer comes, before a probe
		for _, key := range b.redis.Keys() {
			assert.False(t, strings.HasSuffix(key, lockSuffix), "%s is left without a holder", key)
		}
	})
}

func TestRedisThatIsNotAskedIsRedisDown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(func(c *Config) { c.OnRedisDown = DownError }), &source{}, Options{})
		mend := b.cut()
		for range tripFailures + 1 {
			err := w.get(t.Context(), "a").err
			require.ErrorIs(t, err, ErrRedisDown)
			require.ErrorIs(t, err, errGone, "the cause stays the last failure")
		}
		require.ErrorIs(t, w.get(t.Context(), "a").err, errNotAsked)
		require.ErrorIs(t, w.Refresh(t.Context(), "a"), ErrRedisDown)
		mend()
		require.NoError(t, w.Invalidate(t.Context(), "a"), "an invalidation is always sent: somebody must know its end")
	})
}

func TestScriptsThatFailDoNotKeepEntriesFromBeingServed(t *testing.T) {
	// As with a client that reads from replicas while the primary is away.
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Hour, Timeout: 2 * time.Hour})
		w.get(t.Context(), "kept")
		before := b.tap.count("acquire")
		b.tap.mu.Lock()
		b.tap.refuse["acquire"] = errGone
		b.tap.mu.Unlock()
		for i := range 2 * tripFailures {
			assert.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
		}
		assert.Equal(t, tripFailures, b.tap.count("acquire")-before, "scripts are not sent any more")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "kept").source, "lookups are")
	})
}

func TestErrorsOfAServerThatAnswersDoNotStopLookups(t *testing.T) {
	for text, kind := range map[string]RedisErrorKind{
		"OOM command not allowed when used memory > 'maxmemory'.": KindOOM,
		"NOPERM this user has no permissions":                     KindNoPerm,
		"READONLY You can't write against a read only replica.":   KindReadOnly,
		"MISCONF Redis is unable to persist on disk.":             KindRefusesWrites,
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			w := wrap(t, b.cache(), &source{}, Options{})
			w.get(t.Context(), "kept")
			b.tap.set(func(tap *tap) { tap.refuse["acquire"], tap.refuse["probe"] = replyError(text), replyError(text) })
			for range 3 * tripFailures {
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
				assert.Equal(t, SourceFresh, w.get(t.Context(), "kept").source)
			}
			assert.NotZero(t, w.Stats().RedisErrorKinds[kind])
			assert.Equal(t, w.Stats().RedisErrors, w.Stats().RedisErrorKinds[kind])
			time.Sleep(10 * probeInterval) // the bubble's time: it is probed meanwhile
			assert.Len(t, b.log.about("kind="+kind.String()), 1, "told once, with what to do")
			assert.Empty(t, b.log.about("answers again"), "it has not been away, or still is")
		})
	}
}

// Each thing that a replica may not do costs a connection or more: go-redis closes
// the one on which it hears so.
func TestAReplicaIsNotAskedForLeasesTimeAndAgain(t *testing.T) {
	inBothForms(t, testAReplicaIsNotAskedForLeasesTimeAndAgain)
}

func testAReplicaIsNotAskedForLeasesTimeAndAgain(t *testing.T) {
	server := redistest.Start(t)
	admin, client := server.Client(), server.Client()
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logSink{})})
	w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
	require.Equal(t, SourceComputed, w.get(t.Context(), "kept").source)
	require.NoError(t, admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	for i := range 10 * tripFailures {
		require.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
	}
	assert.Equal(t, uint64(tripFailures), w.Stats().RedisErrorKinds[KindReadOnly])
	assert.Equal(t, SourceFresh, w.get(t.Context(), "kept").source, "it is asked for entries")

	require.NoError(t, admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	require.Eventually(t, func() bool { return w.get(t.Context(), "new").source == SourceFresh }, 30*time.Second, 10*time.Millisecond,
		"when it is the primary again, results are stored again")
}

// A client that is led to another server by a name, as after a failover that a DNS
// record follows, has connections to the old one yet.
func TestConnectionsToAReplicaAreUsedUpByProbing(t *testing.T) {
	inBothForms(t, testConnectionsToAReplicaAreUsedUpByProbing)
}

func testConnectionsToAReplicaAreUsedUpByProbing(t *testing.T) {
	old, next := redistest.Start(t), redistest.Start(t)
	var moved atomic.Bool
	const pool = 20
	client := old.Client(func(o *redis.Options) {
		o.PoolSize, o.MinIdleConns, o.MaxRetries = pool, pool, -1
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			to := old.Addr()
			if moved.Load() {
				to = next.Addr()
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		}
	})
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logSink{})})
	require.Eventually(t, func() bool { return client.PoolStats().IdleConns == pool }, 30*time.Second, time.Millisecond)
	failure := c.store.probe(t.Context(), opAcquire, "k")
	require.Nil(t, failure)
	require.NoError(t, old.Client().Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	moved.Store(true)
	for range pool/probesOfReplica + 1 {
		if failure = c.store.probe(t.Context(), opAcquire, "k"); failure == nil {
			return
		}
		require.Equal(t, KindReadOnly, failure.Kind, "%v", failure)
	}
	t.Fatalf("it still asks the old one: %v", failure)
}

func TestAFewFailuresAreForgottenAfterASuccess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		w.get(t.Context(), "a")
		for range 5 {
			mend := b.cut()
			for range tripFailures - 1 {
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
			}
			mend()
			assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
		}
	})
}

// ofACluster is the health of a cluster of four nodes.
func ofACluster() *health {
	return &health{
		log: oncelog.New(slog.New(&logSink{}), func(func()) {}), spawn: func(func()) {}, back: func() {},
		serverOf: func(key string) string { return fmt.Sprint("node ", clusterSlot(key)*4/clusterSlots) },
	}
}

// keysOfParts gives a key in every part of the slots.
func keysOfParts() []string {
	keys := make([]string, slotParts)
	for i, missing := 0, slotParts; missing > 0; i++ {
		key := fmt.Sprintf("fncache:{f:%d}:sig", i)
		if part := clusterSlot(key) / (clusterSlots / slotParts); keys[part] == "" {
			keys[part] = key
			missing--
		}
	}
	return keys
}

func TestOneNodeOfAClusterThatIsAwayLeavesTheOthersKeysAlone(t *testing.T) {
	h, keys := ofACluster(), keysOfParts()
	for i := range tripFailures { // each with another key: the node is what they share
		h.failed(newRedisError(opLookup, keys[i], errRedisTimeout))
		for _, key := range keys[slotParts/4:] {
			h.succeeded(opLookup, key)
		}
	}
	for part, key := range keys {
		assert.Equal(t, part < slotParts/4, h.refuses(opLookup, key) != nil, "part %d", part)
		require.NoError(t, h.refuses(opAcquire, key), "lookups and scripts are judged apart")
	}
}

func TestSlotsThatNobodyServesLeaveTheOthersOfTheirNodeAlone(t *testing.T) {
	h, keys := ofACluster(), keysOfParts()
	for range tripFailures {
		h.failed(newRedisError(opLookup, keys[7], replyError("CLUSTERDOWN Hash slot not served")))
	}
	for part, key := range keys {
		assert.Equal(t, part == 7, h.refuses(opLookup, key) != nil, "part %d", part)
	}
}

func TestTroubleOfANodeThatHasLeftIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, keys := ofACluster(), keysOfParts()
		fail := func() { h.failed(newRedisError(opLookup, keys[0], errRedisTimeout)) }
		for range tripFailures - 1 {
			fail()
		}
		time.Sleep(taintLasts + time.Second) // the bubble's time
		assert.NotZero(t, h.troubled.Load())
		h.succeeded(opLookup, keys[slotParts-1])
		assert.Zero(t, h.troubled.Load())
		assert.False(t, h.down.Load())
		fail()
		assert.NoError(t, h.refuses(opLookup, keys[0]), "it does not count with those of long ago")
	})
}

func TestClusterSlotsAreThoseOfTheServer(t *testing.T) {
	client := redistest.StartCluster(t).Client()
	for _, key := range []string{"123456789", "fncache:{Author:f:00ff}:0a1b", "fncache:{Author:f:00ff}:0a1b:lock", "{}x", "a{b"} {
		slot, err := client.ClusterKeySlot(t.Context(), key).Result()
		require.NoError(t, err)
		assert.Equal(t, int(slot), clusterSlot(key), key)
	}
}

func TestCloseEndsTheProbing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) { // which fails if a goroutine is left
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		defer b.cut()()
		for range tripFailures {
			w.get(t.Context(), "a")
		}
		synctest.Wait()
		require.NoError(t, c.Close())
	})
}

func TestAFullPoolIsToldFromASlowServer(t *testing.T) {
	inBothForms(t, testAFullPoolIsToldFromASlowServer)
}

func testAFullPoolIsToldFromASlowServer(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(func(o *redis.Options) { o.PoolSize, o.ReadTimeout = 1, time.Minute })
	sink := &logSink{}
	c := newTestCache(t, Config{Redis: client, RedisTimeout: 50 * time.Millisecond, Logger: slog.New(sink)})
	w := wrap(t, c, &source{}, Options{})
	w.get(t.Context(), "a") // learns the clock
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan struct{})
	go func() {
		defer close(blocked)
		client.BLPop(ctx, 0, "a list that stays empty")
	}()
	require.Eventually(t, func() bool { return client.PoolStats().IdleConns == 0 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, SourceComputed, w.get(t.Context(), "b").source)
	assert.Equal(t, uint64(1), w.Stats().RedisErrorKinds[KindPool], "%+v", w.Stats())
	assert.Len(t, sink.about("kind=pool"), 1)
	for range 20 { // whether it is judged before it has left the queue must not be luck
		for name, err := range map[string]error{"Ping": c.Ping(t.Context()), "Invalidate": w.Invalidate(t.Context(), "a")} {
			var failure *RedisError
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, KindPool, failure.Kind, "%s: %v", name, err)
		}
	}
	cancel()
	server.Kill()
	<-blocked
}

func TestAServerThatHangsIsToldFromAFullPool(t *testing.T) {
	inBothForms(t, testAServerThatHangsIsToldFromAFullPool)
}

func testAServerThatHangsIsToldFromAFullPool(t *testing.T) {
	server := redistest.Start(t)
	// The pool is full as well, of connections on which no answer comes.
	client := server.Client(func(o *redis.Options) { o.PoolSize, o.ReadTimeout = 4, time.Minute })
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logSink{})})
	w := wrap(t, c, &source{}, Options{OnCold: Wait})
	crowd := func() { // each with a key of its own
		var calls sync.WaitGroup
		for i := range 40 {
			calls.Go(func() { w.get(t.Context(), fmt.Sprint(i)) })
		}
		calls.Wait()
	}
	crowd()
	server.Pause()
	defer server.Resume()
	crowd()
	kinds := w.Stats().RedisErrorKinds
	assert.Greater(t, kinds[KindTimeout], kinds[KindPool], "%v", kinds)
}
