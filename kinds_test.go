package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/remote"
)

// This file tests the errors of real servers, and how they are classified. The error texts in
// TestRedisErrorsAreClassified are written by hand; here they come from servers.

// A trouble is what can be wrong with a server.
type trouble struct {
	kind   RedisErrorKind
	args   []string // of the server
	begin  func(*troubled)
	heal   func(*troubled)
	client func(*redis.Options) // how the cache's client is made; nil: as it comes
	late   bool                 // no answer comes, however long it is waited for
}

// troubled is a server with its trouble.
type troubled struct {
	*testing.T
	server *redistest.Server
	admin  *redis.Client
	ended  chan struct{} // of what runs meanwhile
}

func (s *troubled) do(args ...any) {
	s.Helper()
	require.NoError(s, s.admin.Do(context.Background(), args...).Err(), "%v", args)
}

// await waits until PING is answered by an error that begins so.
func (s *troubled) await(code string) {
	s.Helper()
	require.Eventually(s, func() bool {
		return redis.HasErrorPrefix(s.admin.Ping(context.Background()).Err(), code)
	}, 30*time.Second, time.Millisecond)
}

// behind runs a command that takes long.
func (s *troubled) behind(args ...any) {
	client := s.server.Client(func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = -1, -1 })
	go func() {
		defer close(s.ended)
		client.Do(context.Background(), args...)
	}()
}

// asUser has the client be a user of its own, and the administrator another.
func asUser(o *redis.Options) { o.Username, o.Password = "app", "secret" }

func (s *troubled) allow() { s.do("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all") }

func troubles(t *testing.T) []trouble {
	return slices.Concat(troublesOfTheProcess(), troublesOfRights(), troublesOfReplication(), troublesOfData(t.TempDir()))
}

func troublesOfTheProcess() []trouble {
	return []trouble{
		{
			kind: KindTimeout, late: true,
			begin: func(s *troubled) { s.server.Pause() },
			heal:  func(s *troubled) { s.server.Resume() },
		},
		{
			kind:  KindUnreachable,
			begin: func(s *troubled) { s.server.Kill() },
			heal:  func(s *troubled) { s.server.Restart() },
		},
		{
			kind: KindBusy, args: []string{"--busy-reply-threshold", "1"},
			begin: func(s *troubled) {
				s.behind("EVAL", "while true do end", "0")
				s.await("BUSY")
			},
			heal: func(s *troubled) { s.do("SCRIPT", "KILL"); <-s.ended },
		},
		{
			// The server says so and closes; go-redis greets again, and finds the
			// connection closed.
			kind: KindUnreachable,
			begin: func(s *troubled) {
				s.do("CONFIG", "SET", "maxclients", "1")
				s.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			},
			heal: func(s *troubled) { s.do("CONFIG", "SET", "maxclients", "100") },
		},
	}
}

func troublesOfRights() []trouble {
	return []trouble{
		{
			kind: KindAuth, client: asUser,
			begin: func(s *troubled) {
				s.do("ACL", "SETUSER", "app", "resetpass", ">another")
				s.do("CLIENT", "KILL", "USER", "app")
			},
			heal: (*troubled).allow,
		},
		{
			kind: KindNoPerm, client: asUser,
			begin: func(s *troubled) { s.do("ACL", "SETUSER", "app", "-set") },
			heal:  (*troubled).allow,
		},
		{
			kind: KindNoPerm, client: asUser,
			begin: func(s *troubled) { s.do("ACL", "SETUSER", "app", "-get") },
			heal:  (*troubled).allow,
		},
	}
}

func troublesOfReplication() []trouble {
	return []trouble{
		{
			kind:  KindReadOnly,
			begin: func(s *troubled) { s.do("REPLICAOF", "127.0.0.1", "1") },
			heal:  func(s *troubled) { s.do("REPLICAOF", "NO", "ONE") },
		},
		{
			kind: KindMasterDown, args: []string{"--replica-serve-stale-data", "no"},
			begin: func(s *troubled) { s.do("REPLICAOF", "127.0.0.1", "1") },
			heal:  func(s *troubled) { s.do("REPLICAOF", "NO", "ONE") },
		},
		{
			kind:  KindRefusesWrites, // NOREPLICAS
			begin: func(s *troubled) { s.do("CONFIG", "SET", "min-replicas-to-write", "1") },
			heal:  func(s *troubled) { s.do("CONFIG", "SET", "min-replicas-to-write", "0") },
		},
	}
}

func troublesOfData(dir string) []trouble {
	return []trouble{
		{
			kind: KindLoading,
			args: []string{
				"--enable-debug-command", "yes", "--rdbcompression", "no",
				"--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024",
			},
			begin: func(s *troubled) {
				pipe := s.admin.Pipeline()
				for i := range 3000 { // half a minute, if it were not healed
					pipe.Set(context.Background(), fmt.Sprint("ballast ", i), strings.Repeat("x", 1024), 0)
				}
				_, err := pipe.Exec(context.Background())
				require.NoError(s, err)
				s.behind("DEBUG", "RELOAD")
				s.await("LOADING")
			},
			heal: func(s *troubled) {
				s.do("CONFIG", "SET", "key-load-delay", "0")
				<-s.ended
			},
		},
		{
			kind:  KindOOM,
			begin: func(s *troubled) { s.do("CONFIG", "SET", "maxmemory", "1") },
			heal:  func(s *troubled) { s.do("CONFIG", "SET", "maxmemory", "0") },
		},
		{
			kind: KindRefusesWrites, // MISCONF
			args: []string{"--dir", dir},
			begin: func(s *troubled) {
				// A directory stands where the snapshot should.
				require.NoError(s, os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700))
				s.do("CONFIG", "SET", "save", "3600 1000000")
				s.do("BGSAVE")
				require.Eventually(s, func() bool {
					info := s.admin.Info(context.Background(), "persistence").Val()
					return strings.Contains(info, "rdb_last_bgsave_status:err")
				}, 30*time.Second, time.Millisecond)
			},
			heal: func(s *troubled) { s.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") },
		},
	}
}

func TestTroublesOfARealServerAreClassified(t *testing.T) {
	t.Parallel()
	inBothForms(t, testWhatIsWrongWithARealServerIsToldApart)
}

func testWhatIsWrongWithARealServerIsToldApart(t *testing.T) {
	for _, trouble := range troubles(t) {
		t.Run(trouble.kind.String(), func(t *testing.T) { trouble.tell(t, shortEnough) })
	}
	for _, trouble := range troubles(t) {
		if !trouble.late {
			t.Run(trouble.kind.String()+", waited for", func(t *testing.T) { trouble.tell(t, longEnough) })
		}
	}
}

// shortEnough is a RedisTimeout that ends before any limit of go-redis. A server that is not
// given the processor for a moment answers in time all the same.
const shortEnough = 2 * time.Second

// longEnough is a RedisTimeout within which any answer comes, and go-redis gives up
// by itself.
const longEnough = 10 * time.Second

// tell has the trouble come over a cache, and go.
func (tr trouble) tell(t *testing.T, redisTimeout time.Duration) {
	server := redistest.Start(t, tr.args...)
	s := &troubled{T: t, server: server, ended: make(chan struct{})}
	s.admin = server.Client(func(o *redis.Options) { o.PoolSize = 1 })
	s.allow()
	var options []func(*redis.Options)
	if tr.client != nil {
		options = append(options, tr.client)
	}
	cfg := Config{Redis: server.Client(options...), RedisTimeout: redisTimeout}
	checkKind(t, cfg, tr.kind, anyKey, func() { tr.begin(s) }, func() { tr.heal(s) })
}

// checkKind has a trouble begin under a cache, and checks that callers get their
// value, and that Stats, the log and Ping say what it is; then that it is over.
// The key that is asked for is as wanted.
func checkKind(t *testing.T, cfg Config, kind RedisErrorKind, wanted func(key string) bool, begin, heal func()) {
	t.Helper()
	sink := &logtest.Handler{}
	cfg.Logger = slog.New(sink)
	c := newTestCache(t, cfg)
	w := wrap(t, c, &source{}, Options{Lease: 4 * cfg.RedisTimeout})
	arg := argument(t, w, wanted)
	require.NoError(t, c.Ping(t.Context()))
	w.get(t.Context(), arg) // learns the clock
	require.NoError(t, w.Invalidate(t.Context(), arg))

	begin()
	for range 2 {
		o := w.get(t.Context(), arg)
		require.NoError(t, o.err)
		assert.Equal(t, SourceComputed, o.source)
	}
	stats := requireIdentity(t, w.Func)
	assert.Positive(t, stats.RedisErrorKinds[kind], "%+v", stats)
	assert.Equal(t, stats.RedisErrors, stats.RedisErrorKinds[kind], "nothing else is wrong: %+v\n%v", stats, sink.About("kind="))
	lines := sink.About("kind=" + kind.String())
	if assert.Len(t, lines, 1, "told once") {
		assert.Contains(t, lines[0], kind.Remedy(), "with what to do")
	}
	err := c.Ping(t.Context())
	var failure *RedisError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, kind, failure.Kind, "%v", err)
	assert.ErrorContains(t, err, kind.Remedy())

	heal()
	require.Eventually(t, func() bool { return c.Ping(t.Context()) == nil }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return w.get(t.Context(), arg).source == SourceFresh },
		30*time.Second, 10*time.Millisecond, "caching resumes")
}

func TestAClusterWithAnUnservedSlotIsClassified(t *testing.T) {
	inOneForm(t, testAClusterWithASlotThatNobodyServesIsToldApart)
}

func testAClusterWithASlotThatNobodyServesIsToldApart(t *testing.T) {
	cluster := redistest.StartCluster(t)
	nodes := len(cluster.Nodes())
	// Ping's key says which node; its slots are these, as redistest deals them.
	down := clusterSlot(PingProbe(DefaultNamespace)) * nodes / clusterSlots
	first, last := down*clusterSlots/nodes, (down+1)*clusterSlots/nodes-1
	its := func(key string) bool { return first <= clusterSlot(key) && clusterSlot(key) <= last }
	admin := cluster.Nodes()[down].Client()
	take := func() {
		require.NoError(t, admin.Do(t.Context(), "CLUSTER", "DELSLOTSRANGE", first, last).Err())
		for i, node := range cluster.Nodes() { // else one of them gives the slots back to their owner
			if i != down {
				require.NoError(t, node.Client().Do(t.Context(), "CLUSTER", "DELSLOTSRANGE", first, last).Err())
			}
		}
	}
	give := func() { require.NoError(t, admin.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", first, last).Err()) }
	checkKind(t, Config{Redis: cluster.Client(), RedisTimeout: longEnough}, KindClusterDown, its, take, give)
}

func TestPingAsksEveryPrimaryOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	c := newTestCache(t, Config{Redis: cluster.Client(), Logger: slog.New(&logtest.Handler{})})
	ping := func() string { return fmt.Sprint(c.Ping(t.Context())) }
	healthy := func() bool { return c.Ping(t.Context()) == nil }
	require.Eventually(t, healthy, 30*time.Second, 10*time.Millisecond)
	for kind, change := range map[RedisErrorKind][2][]any{
		KindOOM:           {{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "SET", "maxmemory", "0"}},
		KindNoPerm:        {{"ACL", "SETUSER", "default", "-set"}, {"ACL", "SETUSER", "default", "+set"}},
		KindRefusesWrites: {{"CONFIG", "SET", "min-replicas-to-write", "1"}, {"CONFIG", "SET", "min-replicas-to-write", "0"}},
	} {
		for i, node := range cluster.Nodes() {
			admin := node.Client()
			require.NoError(t, admin.Do(t.Context(), change[0]...).Err())
			err := c.Ping(t.Context())
			var failure *RedisError
			require.ErrorAs(t, err, &failure, "%v, node %d", kind, i)
			assert.Equal(t, kind, failure.Kind, "%v", err)
			for j, addr := range cluster.Addrs() {
				assert.Equal(t, j == i, strings.Contains(err.Error(), "; node "+addr), "which node: %v", err)
			}
			require.NoError(t, admin.Do(t.Context(), change[1]...).Err())
			require.NoError(t, c.Ping(t.Context()))
		}
	}

	// Two at once, and then one that is gone.
	for i, node := range cluster.Nodes()[:2] {
		require.NoError(t, node.Client().ConfigSet(t.Context(), "maxmemory", fmt.Sprint(i+1)).Err())
	}
	for _, addr := range cluster.Addrs()[:2] {
		assert.Contains(t, ping(), "; node "+addr)
	}
	cluster.Nodes()[2].Kill()
	assert.Contains(t, ping(), cluster.Addrs()[2])
}

func TestAPlainClientOfAClusterNodeIsReported(t *testing.T) {
	cluster := redistest.StartCluster(t)
	const want = "use redis.NewClusterClient"
	for i, node := range cluster.Nodes() {
		sink := &logtest.Handler{}
		c := newTestCache(t, Config{Redis: node.Client(), Logger: slog.New(sink), RedisTimeout: longEnough})
		err := c.Ping(t.Context())
		var failure *RedisError
		require.ErrorAs(t, err, &failure, "node %d", i)
		assert.Equal(t, KindClusterDown, failure.Kind)
		assert.Contains(t, err.Error(), "a node of a Redis Cluster")
		assert.Contains(t, err.Error(), want)
		assert.NotContains(t, err.Error(), "bring back the nodes")

		fn := func(context.Context, string) (int, error) { return 1, nil }
		f, err := Wrap(&fn, Options{Cache: c, Name: "test.Find", Timeout: time.Hour, Lease: time.Minute})
		require.NoError(t, err)
		theirs := argument(t, &wrapped{Func: f}, func(key string) bool {
			return clusterSlot(key)*len(cluster.Nodes())/clusterSlots != i
		})
		require.ErrorContains(t, f.Invalidate(t.Context(), theirs), want)
		got, err := fn(t.Context(), theirs)
		require.NoError(t, err)
		assert.Equal(t, 1, got)
		assert.NotEmpty(t, sink.About(want))
	}
}

func TestPingIsContentWithAClusterNodeThatHasAllSlots(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	client := server.Client()
	require.NoError(t, client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, clusterSlots-1).Err())
	c := newTestCache(t, Config{Redis: client, Logger: slog.New(&logtest.Handler{}), RedisTimeout: longEnough})
	require.Eventually(t, func() bool { return c.Ping(t.Context()) == nil }, 30*time.Second, 10*time.Millisecond)
}

// anyKey is for a server that has all keys.
func anyKey(string) bool { return true }

// argument finds an argument whose key is as wanted.
func argument(t *testing.T, w *wrapped, wanted func(key string) bool) string {
	for i := 0; ; i++ {
		key, err := w.Key(fmt.Sprint(i))
		require.NoError(t, err)
		if wanted(key) {
			return fmt.Sprint(i)
		}
	}
}

// --- Scripts that a server has forgotten ---

// forgottenSoFar returns what w counts of them, and what p has told.
func forgottenSoFar(w *wrapped, p *process) (counted uint64, told []string) {
	return w.Stats().RedisErrorKinds[KindNoScript], p.log.About("kind=noscript")
}

func TestFlushedScriptsAreCountedLoggedOnceAndSentWhole(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		flush := func() {
			for _, primary := range server.Primaries {
				require.NoError(t, primary.Client().ScriptFlush(t.Context()).Err())
			}
		}
		flush()
		p := newProcess(t, server.Client())
		s := &source{}
		w := wrap(t, p.Cache, s, Options{Lease: slowLease})
		cycle := func() { // one run each of acquire, store, releases and invalidate
			assert.Equal(t, outcome{value: s.count() + 1, source: SourceComputed}, untimed(w.get(t.Context(), "k")))
			require.NoError(t, w.Invalidate(t.Context(), "k"))
		}
		// A server that is new to the scripts has forgotten nothing.
		for range 2 {
			cycle()
		}
		counted, told := forgottenSoFar(w, p)
		assert.Zero(t, counted)
		assert.Empty(t, told)

		flush()
		p.tap.reset()
		cycle()
		scripts := func() int {
			return p.tap.count("acquire") + p.tap.count("store") + p.tap.count("releases") + p.tap.count("invalidate")
		}
		assert.Equal(t, 2*4, scripts(), "each is sent again, whole")
		p.tap.reset()
		cycle()
		assert.Equal(t, 4, scripts(), "and is known again")
		counted, told = forgottenSoFar(w, p)
		assert.EqualValues(t, 4, counted)
		if assert.Len(t, told, 1, "once for all four") {
			assert.Contains(t, told[0], "INFO")
			assert.Contains(t, told[0], KindNoScript.Remedy(), "with what to do")
		}
		assert.Zero(t, requireIdentity(t, w.Func).RedisErrors, "nothing has failed")
		assert.False(t, p.Health().Nodes[0].Away, "nor is anything away")
		flush()
		require.NoError(t, p.Ping(t.Context()))
	})
}

// untimed is an outcome without what a clock has measured.
func untimed(o outcome) outcome {
	o.age, o.took = 0, 0
	return o
}

func TestInAClusterForgottenScriptsAreKnownForEachNode(t *testing.T) {
	inOneForm(t, testInAClusterEachNodeForgetsForItself)
}

func testInAClusterEachNodeForgetsForItself(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	require.NoError(t, client.Ping(t.Context()).Err(), "it knows the nodes before the cache is made")
	p := newProcess(t, client)
	w := wrap(t, p.Cache, &source{}, Options{Lease: slowLease})
	cycle := func(arg string) {
		require.NoError(t, w.get(t.Context(), arg).err)
		require.NoError(t, w.Invalidate(t.Context(), arg))
	}
	nodes, moving := len(cluster.Nodes()), -1
	ofNode := func(node int) string { // but for what moves away
		return argument(t, w, func(key string) bool {
			return clusterSlot(key)*nodes/clusterSlots == node && clusterSlot(key) != moving
		})
	}
	moves, stays := ofNode(0), ofNode(1)
	for range 3 { // the first run of a node is how the cache comes to watch it
		cycle(moves)
	}
	key, err := w.Key(moves)
	require.NoError(t, err)
	moving = clusterSlot(key)

	// The slot comes to a node that has run nothing yet.
	require.NoError(t, cluster.MigrateSlot(t.Context(), moving, 0, 1))
	cycle(moves)
	for range 3 {
		cycle(stays)
	}
	counted, told := forgottenSoFar(w, p)
	assert.Zero(t, counted, "no node has forgotten anything")
	assert.Empty(t, told)

	require.NoError(t, cluster.Nodes()[1].Client().ScriptFlush(t.Context()).Err())
	cycle(ofNode(0))
	counted, _ = forgottenSoFar(w, p)
	assert.Zero(t, counted, "another node was flushed")
	cycle(stays)
	counted, told = forgottenSoFar(w, p)
	assert.EqualValues(t, 3, counted, "acquire, store, invalidate")
	assert.Len(t, told, 1)
}

// The public list of kinds in this package and the list in internal/remote are equal.
func TestTheKindsOfPackageRemoteAreThoseOfRedisError(t *testing.T) {
	same := map[remote.Kind]RedisErrorKind{
		remote.KindOther: KindOther, remote.KindTimeout: KindTimeout, remote.KindUnreachable: KindUnreachable,
		remote.KindBusyHere: KindPool, remote.KindAuth: KindAuth, remote.KindNoPerm: KindNoPerm,
		remote.KindReadOnly: KindReadOnly, remote.KindLoading: KindLoading, remote.KindOOM: KindOOM,
		remote.KindClusterDown: KindClusterDown, remote.KindMasterDown: KindMasterDown,
		remote.KindRefusesWrites: KindRefusesWrites, remote.KindBusy: KindBusy, remote.KindMaxClients: KindMaxClients,
		remote.KindNoScript: KindNoScript, remote.KindClosed: KindClosed,
	}
	assert.Len(t, same, int(remote.Kinds))
	assert.EqualValues(t, remote.Kinds, Kinds)
	for inner, public := range same {
		assert.Equal(t, public, RedisErrorKind(inner), public.String())
	}
}
