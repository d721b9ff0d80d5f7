package fncache_test

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

func TestRedisErrorsAreClassified(t *testing.T) {
	for _, row := range []struct {
		err  error
		want RedisErrorKind
	}{
		{context.DeadlineExceeded, KindTimeout},
		{&net.OpError{Op: "read", Err: timeoutError{}}, KindTimeout},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, KindUnreachable},
		{io.EOF, KindUnreachable},
		{errors.New("x509: certificate signed by unknown authority"), KindUnreachable},
		{redis.ErrPoolTimeout, KindPool},
		{redis.ErrClosed, KindClosed},
		{ErrClosed, KindClosed},
		{errors.New("redis: cluster has no nodes"), KindClusterDown},
		{replyError("NOAUTH Authentication required."), KindAuth},
		{replyError("WRONGPASS invalid username-password pair or user is disabled."), KindAuth},
		{replyError("ERR Protocol error: unauthenticated multibulk length"), KindAuth},
		{replyError("ERR Protocol error: unauthenticated bulk length"), KindAuth},
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
		wrapped := NewRedisError("acquire", "k", fmt.Errorf("wrapped: %w", row.err))
		assert.Equal(t, row.want, wrapped.Kind, "%v", row.err)
		assert.Equal(t, row.want, KindOf(fmt.Errorf("again: %w", wrapped)), "the first judgement stays")
		require.ErrorIs(t, wrapped, ErrRedisDown)
		require.ErrorIs(t, wrapped, row.err)
	}
	moving := NewRedisError("invalidate", "k", replyError("TRYAGAIN Multiple keys request during rehashing of slot"))
	require.ErrorContains(t, moving, "while a slot moves to another node, try again")
	assert.Equal(t, "oom", KindOOM.String())
	assert.Equal(t, "RedisErrorKind(200)", RedisErrorKind(200).String())
	for k := range Kinds {
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

func TestRedisThatFailsRepeatedlyIsNotAskedUntilAProbeSucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		c := b.cache()
		w := wrap(t, c, s, Options{})
		w.get(t.Context(), "a")
		assert.Equal(t, Health{Nodes: []NodeHealth{{Addr: "127.0.0.1:0"}}}, c.Health())
		resume := b.stall()
		assert.LessOrEqual(t, w.get(t.Context(), "a").took, 2*DefaultRedisTimeout, "it is asked, and does not answer")
		assert.True(t, c.Health().Nodes[0].Away)
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
		assert.Len(t, b.log.About("kind=timeout"), 1, "told once")
		assert.Len(t, b.log.About("Redis answers again"), 1)
		stats := requireIdentity(t, w.Func)
		assert.Equal(t, uint64(1), stats.RedisErrorKinds[KindTimeout], "what is not asked does not fail")
		assert.Equal(t, stats.RedisErrors, stats.RedisErrorKinds[KindTimeout])
		assert.False(t, c.Health().Nodes[0].Away)
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
		late := 2 * c.Config().RedisTimeout
		c.Config().Redis.AddHook(lateReplies{"get", late})
		began := time.Now()
		for range 3 * severalCalls {
			took := timeOf(func() { assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source) })
			if c.Health().Nodes[0].Away {
				assert.LessOrEqual(t, time.Since(began), 3*time.Second)
				took = timeOf(func() { assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source) })
				assert.Zero(t, took)
				return
			}
			_ = took
			time.Sleep(20 * time.Millisecond) // the answer comes, before the next call
		}
		t.Error("it is asked time and again")
	})
}

func TestALeaseThatIsGrantedTooLateIsGivenBackThoughRedisIsNotAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "a")
		late := 2 * c.Config().RedisTimeout
		c.Config().Redis.AddHook(lateReplies{"acquire", late})
		for i := range severalCalls {
			assert.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
		}
		time.Sleep(4 * c.Config().RedisTimeout) // the last answer comes
		for _, key := range b.redis.Keys() {
			assert.False(t, strings.HasSuffix(key, LockSuffix), "%s is left without a holder", key)
		}
	})
}

func TestRedisThatIsNotAskedIsRedisDown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(func(c *Config) { c.OnRedisDown = DownError }), &source{}, Options{})
		mend := b.cut()
		for range severalCalls + 1 {
			err := w.get(t.Context(), "a").err
			require.ErrorIs(t, err, ErrRedisDown)
			require.ErrorIs(t, err, errGone, "the cause stays the last failure")
		}
		require.ErrorContains(t, w.get(t.Context(), "a").err, "not asked, because the node is away")
		require.ErrorIs(t, w.Refresh(t.Context(), "a"), ErrRedisDown)
		mend()
		require.NoError(t, w.Invalidate(t.Context(), "a"), "an invalidation is always sent: somebody must know its end")
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
			for range 3 * severalCalls {
				assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
				assert.Equal(t, SourceFresh, w.get(t.Context(), "kept").source)
			}
			assert.NotZero(t, w.Stats().RedisErrorKinds[kind])
			assert.Equal(t, w.Stats().RedisErrors, w.Stats().RedisErrorKinds[kind])
			time.Sleep(10 * probeInterval) // the bubble's time: it is probed meanwhile
			assert.Len(t, b.log.About("kind="+kind.String()), 1, "told once, with what to do")
			assert.Empty(t, b.log.About("answers again"), "it has not been away, or still is")
		})
	}
}

// Each command that a replica refuses costs at least one connection: go-redis closes a
// connection that returns this error.
func TestAReplicaIsNotAskedForLeasesTimeAndAgain(t *testing.T) {
	inBothForms(t, testAReplicaIsNotAskedForLeasesTimeAndAgain)
}

func testAReplicaIsNotAskedForLeasesTimeAndAgain(t *testing.T) {
	server := redistest.Start(t)
	admin, client := server.Client(), server.Client()
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logtest.Handler{})})
	w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
	require.Equal(t, SourceComputed, w.get(t.Context(), "kept").source)
	require.NoError(t, admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	for i := range 10 * severalCalls {
		require.Equal(t, SourceComputed, w.get(t.Context(), fmt.Sprint(i)).source)
	}
	assert.LessOrEqual(t, w.Stats().RedisErrorKinds[KindReadOnly], uint64(severalCalls))
	assert.NotZero(t, w.Stats().RedisErrorKinds[KindReadOnly])
	assert.Equal(t, SourceFresh, w.get(t.Context(), "kept").source, "it is asked for entries")

	require.NoError(t, admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	require.Eventually(t, func() bool { return w.get(t.Context(), "new").source == SourceFresh }, 30*time.Second, 10*time.Millisecond,
		"when it is the primary again, results are stored again")
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
		for range severalCalls {
			w.get(t.Context(), "a")
		}
		synctest.Wait()
		require.NoError(t, c.Close())
	})
}

func TestAFullPoolIsNotTakenForASlowServer(t *testing.T) {
	inBothForms(t, testAFullPoolIsToldFromASlowServer)
}

func testAFullPoolIsToldFromASlowServer(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(func(o *redis.Options) { o.PoolSize, o.ReadTimeout = 1, time.Minute })
	sink := &logtest.Handler{}
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
	for range 3 {
		impatient, end := context.WithTimeout(t.Context(), 5*c.Config().RedisTimeout)
		require.ErrorIs(t, w.get(impatient, "b").err, context.DeadlineExceeded, "it is not answered by computing")
		end()
	}
	assert.NotZero(t, w.Stats().RedisErrorKinds[KindPool], "%+v", w.Stats())
	assert.Equal(t, w.Stats().RedisErrors, w.Stats().RedisErrorKinds[KindPool])
	assert.Len(t, sink.About("kind=pool"), 1)
	assert.False(t, c.Health().Nodes[0].Away)
	var failure *RedisError
	require.ErrorAs(t, c.Ping(t.Context()), &failure)
	assert.Equal(t, KindPool, failure.Kind)
	waits := w.begin(t.Context(), "c")
	require.NoError(t, server.Client().RPush(ctx, "a list that stays empty", "but now").Err())
	<-blocked
	cancel()
	assert.Equal(t, SourceComputed, (<-waits).source, "it has its turn")
	assert.Equal(t, uint64(1), w.Stats().Stored-1, "and is stored")
}

func TestAServerThatHangsIsNotTakenForAFullPool(t *testing.T) {
	inBothForms(t, testAServerThatHangsIsToldFromAFullPool)
}

func testAServerThatHangsIsToldFromAFullPool(t *testing.T) {
	server := redistest.Start(t)
	// The pool is full as well, of connections on which no answer comes.
	client := server.Client(func(o *redis.Options) { o.PoolSize, o.ReadTimeout = 4, time.Minute })
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logtest.Handler{})})
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

// A closed cache checks no node, so one that was away would be reported for ever.
func TestTheHealthOfAClosedCacheHasNoNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		mend := b.cut()
		b.trip(w)
		require.Len(t, c.Health().Nodes, 1)
		require.True(t, c.Health().Nodes[0].Away)
		require.NoError(t, c.Close())
		mend()
		assert.Equal(t, Health{}, c.Health())
	})
}
