package remote

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// What real servers are given in these tests: a short timeout where they stop, a long one
// where they do not, because a busy machine may keep a server from its processor.
const (
	timeout = 250 * time.Millisecond
	ample   = 10 * time.Second
)

var echo = NewScript("redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]")

func on(t *testing.T, client redis.UniversalClient, timeout time.Duration) *Remote {
	t.Helper()
	r := New(Config{Client: client, Timeout: timeout, WriteProbe: NewScript("return redis.call('DEL', KEYS[1])")})
	t.Cleanup(r.Close)
	return r
}

func TestKindsOfClients(t *testing.T) {
	server := redistest.Shared(t)
	for name, client := range map[string]redis.UniversalClient{
		"plain":                      server.Client(),
		"RESP2":                      server.Client(func(o *redis.Options) { o.Protocol = 2 }),
		"ContextTimeoutEnabled":      server.Client(func(o *redis.Options) { o.ContextTimeoutEnabled = true }),
		"client-side cache":          server.Client(func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} }),
		"one connection":             server.Client(func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = 1, -1 }),
		"MaxActiveConns":             server.Client(func(o *redis.Options) { o.MaxActiveConns = 2 }),
		"Cluster":                    redistest.SharedCluster(t).Client(),
		"Cluster, replicas":          redistest.SharedCluster(t).Client(func(o *redis.ClusterOptions) { o.RouteRandomly = true }),
		"Sentinel":                   redistest.SharedSentinel(t).Client(),
		"a client of the user's own": struct{ redis.UniversalClient }{server.Client()},
	} {
		t.Run(name, func(t *testing.T) {
			r := on(t, client, ample)
			many(200, func(i int) {
				key := fmt.Sprintf("kinds:{%s%d}", name, i)
				c := Eval("store", Writes, echo, []string{key}, []any{i}, Limits{})
				require.NoError(t, r.Do(t.Context(), c))
				require.Equal(t, fmt.Sprint(i), c.Reply())
				value, err, _ := get(t.Context(), r, key)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i), value)
				none := Get("lookup", key+"none", Limits{})
				require.NoError(t, r.Do(t.Context(), none))
				require.Nil(t, none.Raw())
				now := Plain("time", "", Reads, Limits{}, "time")
				require.NoError(t, r.Do(t.Context(), now))
				require.Len(t, now.Reply(), 2)
			})
			for _, h := range r.Health() {
				require.False(t, h.Away, "%+v", h)
			}
		})
	}
}

// connections returns how many the server has of one client, by its name.
func connections(t *testing.T, admin redis.UniversalClient, name string) int {
	t.Helper()
	list, err := admin.ClientList(t.Context()).Result()
	require.NoError(t, err)
	return strings.Count(list, " name="+name+" ")
}

func TestMaxActiveConnsIsKept(t *testing.T) {
	server, cluster := redistest.Start(t), redistest.StartCluster(t)
	for name, test := range map[string]struct {
		client redis.UniversalClient
		nodes  []*redistest.Server
	}{
		"server": {
			server.Client(func(o *redis.Options) { o.MaxActiveConns, o.ClientName = 4, "bounded" }),
			[]*redistest.Server{server},
		},
		"smaller than PoolSize, and deadlines of contexts": {
			server.Client(func(o *redis.Options) {
				o.MaxActiveConns, o.PoolSize, o.ClientName, o.ContextTimeoutEnabled = 4, 50, "bounded", true
			}),
			[]*redistest.Server{server},
		},
		"Cluster": {
			cluster.Client(func(o *redis.ClusterOptions) {
				o.MaxActiveConns, o.NewClient = 4, func(o *redis.Options) *redis.Client {
					o.ClientName = "bounded"
					return redis.NewClient(o)
				}
			}),
			cluster.Nodes(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told notices
			r := New(Config{Client: test.client, Timeout: ample, Notice: told.take})
			defer r.Close()
			defer test.client.Close() //nolint:errcheck // a test
			many(500, func(i int) {
				for n := range 5 {
					c := Eval("store", Writes, echo, []string{fmt.Sprint("k", i)}, []any{n}, Limits{})
					require.NoError(t, r.Do(t.Context(), c))
					large := Get("lookup", fmt.Sprint("k", i), Limits{Expect: 2 * LargeSize})
					require.NoError(t, r.Do(t.Context(), large))
					require.Equal(t, fmt.Sprint(n), string(large.Raw()))
				}
			})
			for _, node := range test.nodes {
				n := connections(t, node.Client(), "bounded")
				require.NotZero(t, n)
				require.LessOrEqual(t, n, 4)
			}
			require.Empty(t, told.kinds(), "it is not busy for as long as the timeout")
		})
	}
}

// lateness returns a function that returns for how long this process was not given the
// processor since: a bound of time holds for a process that runs.
func lateness(t *testing.T) func() time.Duration {
	const pace = 10 * time.Millisecond
	var late atomic.Int64
	ticker := time.NewTicker(pace)
	ended := make(chan struct{})
	go func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-ticker.C:
				if over := time.Since(last) - pace; over > time.Millisecond {
					late.Add(int64(over + 3*pace)) // the watchdog loses a tick besides
				}
			case <-ended:
				return
			}
		}
	}()
	t.Cleanup(func() { ticker.Stop(); close(ended) })
	return func() time.Duration { return time.Duration(late.Load()) }
}

func TestServerThatStopsAndComesBack(t *testing.T) {
	for name, stop := range map[string]func(*redistest.Server) func(){
		"paused": func(s *redistest.Server) func() { s.Pause(); return s.Resume },
		"killed": func(s *redistest.Server) func() { s.Kill(); return s.Restart },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			r := on(t, server.Client(), timeout)
			store := func(ctx context.Context, i int) error {
				return r.Do(ctx, Eval("store", Writes, echo, []string{fmt.Sprint("k", i)}, []any{i}, Limits{}))
			}
			many(100, func(i int) { require.NoError(t, store(t.Context(), i)) })
			late := lateness(t)
			back := stop(server)
			var slowest atomic.Int64
			many(100, func(i int) {
				_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
				require.Error(t, err)
				slowest.Store(max(slowest.Load(), int64(took)))
			})
			require.Less(t, time.Duration(slowest.Load()), 2*timeout+100*time.Millisecond+late())
			back()
			require.Eventually(t, func() bool { return !r.Health()[0].Away }, 20*time.Second, 5*time.Millisecond)
			many(100, func(i int) { require.NoError(t, store(t.Context(), i)) })
		})
	}
}

func TestClusterNodeThatHangsHoldsUpItsOwnKeysOnly(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	r := on(t, client, timeout)
	ofNode := func(i int, addr string) string {
		for n := i; ; n += 1000 {
			key := fmt.Sprintf("{k%d}", n)
			if node, err := client.MasterForKey(t.Context(), key); err == nil && node.Options().Addr == addr {
				return key
			}
		}
	}
	nodes := cluster.Nodes()
	for i := range 300 {
		_, err, _ := get(t.Context(), r, ofNode(i, nodes[i%len(nodes)].Addr()))
		require.NoError(t, err)
	}
	nodes[0].Pause()
	var slowest atomic.Int64
	many(300, func(i int) {
		_, err, took := get(t.Context(), r, ofNode(i, nodes[i%len(nodes)].Addr()))
		require.Equal(t, i%len(nodes) == 0, err != nil, "%v", err)
		if err == nil {
			slowest.Store(max(slowest.Load(), int64(took)))
		}
	})
	require.Less(t, time.Duration(slowest.Load()), timeout)
	nodes[0].Resume()
	require.Eventually(t, func() bool {
		for _, h := range r.Health() {
			if h.Away {
				return false
			}
		}
		return true
	}, 20*time.Second, 5*time.Millisecond)
}

func TestClusterSlotThatMoves(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	r := on(t, client, ample)
	const key = "{moves}"
	slot, err := client.ClusterKeySlot(t.Context(), key).Result()
	require.NoError(t, err)
	owner := 0
	for i, node := range cluster.Nodes() {
		if master, err := client.MasterForKey(t.Context(), key); err == nil && master.Options().Addr == node.Addr() {
			owner = i
		}
	}
	ctx, end := context.WithCancel(t.Context())
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		many(20, func(i int) {
			for ctx.Err() == nil {
				c := Eval("store", Writes, echo, []string{key}, []any{i}, Limits{})
				err := r.Do(ctx, c)
				if ctx.Err() != nil {
					return
				}
				require.NoError(t, err)
				value, err, _ := get(ctx, r, key)
				if ctx.Err() == nil {
					require.NoError(t, err)
					require.NotEmpty(t, value)
				}
				asked.Add(1)
			}
		})
	}()
	require.Eventually(t, func() bool { return asked.Load() > 1000 }, 20*time.Second, time.Millisecond)
	require.NoError(t, cluster.MigrateSlot(t.Context(), int(slot), owner, (owner+1)%len(cluster.Nodes())))
	before := asked.Load()
	require.Eventually(t, func() bool { return asked.Load() > before+1000 }, 20*time.Second, time.Millisecond)
	end()
	<-done
}

// busyLoops takes the processor from this process, until the test ends: it is what
// "beside a busy loop" means. A process of its own, because the scheduler of this one
// shares fairly.
func busyLoops(t *testing.T, n int) {
	for range n {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		require.NoError(t, loop.Start())
		t.Cleanup(func() {
			_ = loop.Process.Kill()
			_ = loop.Wait()
		})
	}
}

func TestProcessThatIsBusyIsNotRedisBeingAway(t *testing.T) {
	if testing.Short() || os.Getenv("FNCACHE_BUSY") == "" {
		t.Skip("loads the machine: set FNCACHE_BUSY=1")
	}
	for _, test := range []struct{ callers, size, procs, loops int }{
		{30_000, 60, 0, 0},
		{30_000, 60, 0, 2},
		{30_000, 60, 1, 2},
		{3_000, 160 << 10, 0, 0},
		{3_000, 160 << 10, 1, 2},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			server := redistest.Start(t)
			client := server.Client()
			value := strings.Repeat("v", test.size)
			for i := range test.callers {
				require.NoError(t, client.Set(t.Context(), fmt.Sprint("k", i), value[:len(value)-i%2], 0).Err())
			}
			var told notices
			r := New(Config{Client: client, Timeout: timeout, Notice: told.take})
			defer r.Close()
			if test.procs > 0 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(test.procs))
			}
			busyLoops(t, test.loops)
			var failed, decoded atomic.Int64
			began := time.Now()
			many(test.callers, func(i int) {
				c := Get("lookup", fmt.Sprint("k", i), Limits{Expect: test.size})
				if err := r.Do(t.Context(), c); err != nil || len(c.Raw()) < test.size-1 {
					failed.Add(1)
				}
				for spin := time.Now(); time.Since(spin) < 20*time.Microsecond; { // decodes
				}
				decoded.Add(1)
			})
			t.Logf("%v", time.Since(began).Round(time.Millisecond))
			require.Zero(t, failed.Load())
			require.Empty(t, told.kinds())
		})
	}
}

// spawner counts the goroutines of a Remote that run.
type spawner struct{ running atomic.Int64 }

func (s *spawner) spawn(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Add(-1)
		f()
	}()
}

// storeUntilDone stores a value, as often as it takes for Redis to be back.
func storeUntilDone(t *testing.T, r *Remote, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return r.Do(t.Context(), Eval("store", Writes, echo, []string{key}, []any{"new"}, Limits{})) == nil
	}, 60*time.Second, 10*time.Millisecond)
}

func TestClusterNodeThatIsReplacedIsForgotten(t *testing.T) {
	for name, stop := range map[string]func(*redistest.Server){
		"killed": (*redistest.Server).Kill,
		"paused": (*redistest.Server).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			cluster.AddReplica(t, 1)
			client := cluster.Client()
			var s spawner
			var told notices
			r := New(Config{Client: client, Timeout: timeout, Spawn: s.spawn, Notice: told.take})
			defer r.Close()
			many(100, func(i int) { // all nodes
				require.NoError(t, r.Do(t.Context(), Eval("store", Writes, echo, []string{fmt.Sprint("k", i)}, []any{i}, Limits{})))
			})
			old := cluster.Nodes()[1].Addr()
			stop(cluster.Nodes()[1])
			many(300, func(i int) {
				late := lateness(t)
				_, _, took := get(t.Context(), r, fmt.Sprint("k", i%100))
				require.Less(t, took, 2*timeout+100*time.Millisecond+late())
			})
			for i := range 100 {
				storeUntilDone(t, r, fmt.Sprint("k", i))
			}
			require.Eventually(t, func() bool {
				for _, node := range r.Health() {
					if node.Away || node.Addr == old {
						return false
					}
				}
				return s.running.Load() == 0
			}, 30*time.Second, 10*time.Millisecond, "%+v", r.Health())
			told.balanced(t, old)
			for _, key := range []string{"k1", "k2", "k3", "k4", "k5"} {
				value, err, _ := get(t.Context(), r, key)
				require.NoError(t, err)
				require.Equal(t, "new", value)
			}
		})
	}
}

func TestSentinelFailover(t *testing.T) {
	for name, stop := range map[string]func(*redistest.Server){
		"killed": (*redistest.Server).Kill,
		"paused": (*redistest.Server).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group := redistest.StartSentinel(t)
			client := group.Client()
			var s spawner
			r := New(Config{Client: client, Timeout: timeout, Spawn: s.spawn, WriteProbe: NewScript("return redis.call('DEL', KEYS[1])")})
			defer r.Close()
			many(100, func(i int) {
				require.NoError(t, r.Do(t.Context(), Eval("store", Writes, echo, []string{fmt.Sprint("k", i)}, []any{i}, Limits{})))
			})
			require.EqualValues(t, 1, client.Wait(t.Context(), 1, time.Minute).Val())
			stop(group.Primary())
			many(100, func(i int) {
				late := lateness(t)
				_, _, took := get(t.Context(), r, fmt.Sprint("k", i))
				require.Less(t, took, 2*timeout+100*time.Millisecond+late())
			})
			storeUntilDone(t, r, "k")
			many(100, func(i int) {
				value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i), value)
			})
			require.Eventually(t, func() bool { return s.running.Load() == 0 }, 30*time.Second, 10*time.Millisecond)
			require.False(t, r.Health()[0].Away)
		})
	}
}

// A node that leaves while nothing is asked of it is forgotten, too.
func TestClusterNodesThatNothingIsAskedOfAreForgotten(t *testing.T) {
	client := redistest.SharedCluster(t).Client()
	var ahead atomic.Int64
	r := New(Config{Client: client, Timeout: ample, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	defer r.Close()
	for i := range 100 { // the client learns who has which slot from the first
		_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
		require.NoError(t, err)
	}
	require.Len(t, r.Health(), 3)
	unarmed := func() bool {
		all := true
		r.nodes.Range(func(_, n any) bool {
			n.(*node).mu.Lock()
			defer n.(*node).mu.Unlock()
			all = all && !n.(*node).watch.armed
			return true
		})
		return all
	}
	require.Eventually(t, unarmed, 10*time.Second, time.Millisecond)
	ahead.Store(int64(2 * idleLong))
	require.Eventually(t, func() bool {
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		return len(r.Health()) == 1
	}, 10*time.Second, time.Millisecond, "the one that is asked is left")
	many(100, func(i int) {
		_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
		require.NoError(t, err)
	})
	require.Len(t, r.Health(), 3, "they are known again when they are asked")
}

// What a Cluster client sends by itself goes to any node: one that hangs takes its own keys
// away, and no others.
func TestWhatAClusterClientSendsByItselfIsNotAwayForOneNode(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	var told notices
	r := New(Config{Client: client, Timeout: timeout, Notice: told.take})
	defer r.Close()
	nodes := cluster.Nodes()
	keyOf := map[string]string{}
	for i := 0; len(keyOf) < len(nodes); i++ {
		node, err := client.MasterForKey(t.Context(), fmt.Sprint("k", i))
		require.NoError(t, err)
		keyOf[node.Options().Addr] = fmt.Sprint("k", i)
	}
	for _, key := range keyOf {
		_, err, _ := get(t.Context(), r, key)
		require.NoError(t, err)
	}
	for _, node := range nodes { // those that are left serve their slots
		require.NoError(t, node.Client().ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err())
	}
	byItself := func(key string) error {
		c := Get("lookup", key, Limits{})
		if _, err := r.whole.begin(t.Context(), c, false); err != nil {
			return err
		}
		return c.await(t.Context())
	}
	nodes[0].Pause()
	many(20, func(i int) {
		began, late := time.Now(), lateness(t)
		err := byItself(keyOf[nodes[i%len(nodes)].Addr()])
		if i%len(nodes) == 0 {
			require.Error(t, err)
			require.Less(t, time.Since(began), 10*timeout+late())
		}
	})
	require.False(t, r.whole.isAway(Reads))
	// go-redis may ask the node that hangs for the slots first.
	require.Eventually(t, func() bool { return byItself(keyOf[nodes[1].Addr()]) == nil }, 30*time.Second, time.Millisecond)
	told.mu.Lock()
	defer told.mu.Unlock()
	for _, e := range told.all {
		require.NotEqual(t, r.whole.addr, e.Node)
	}
	nodes[0].Resume()
}

func TestManyKeysAreReadTogether(t *testing.T) {
	server := redistest.Shared(t)
	heeds := func(o *redis.Options) { o.ContextTimeoutEnabled = true } // so that its hooks see all commands
	for name, client := range map[string]redis.UniversalClient{
		"plain":                      server.Client(heeds),
		"RESP2":                      server.Client(heeds, func(o *redis.Options) { o.Protocol = 2 }),
		"client-side cache":          server.Client(heeds, func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} }),
		"one connection":             server.Client(heeds, func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = 1, -1 }),
		"Cluster":                    redistest.SharedCluster(t).Client(func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = true }),
		"a client of the user's own": struct{ redis.UniversalClient }{server.Client(heeds)},
	} {
		t.Run(name, func(t *testing.T) {
			_, clustered := client.(*redis.ClusterClient)
			counter := redistest.NewCounter()
			redistest.AddHook(client, counter)
			r := on(t, client, ample)
			keys, want := make([]string, 300), make([][]byte, 300)
			for i := range keys {
				keys[i] = fmt.Sprintf("many:{%s%d}", name, i)
				switch i % 3 {
				case 0: // there is no such key
				case 1:
					want[i] = []byte{}
				default:
					want[i] = []byte(fmt.Sprint("value ", i))
				}
				if want[i] != nil {
					require.NoError(t, client.Set(t.Context(), keys[i], want[i], time.Minute).Err())
				}
			}
			other := fmt.Sprintf("many:{%s}:hash", name)
			require.NoError(t, client.HSet(t.Context(), other, "field", "text").Err())
			check := func(limit Limits, q *Question) {
				t.Helper()
				counter.Reset()
				got, err := r.GetAll(t.Context(), "lookup", keys, limit, q)
				require.NoError(t, err)
				for i, g := range got {
					require.NoError(t, g.Err)
					require.Equal(t, want[i], g.Raw, "%d", i)
				}
			}
			check(Limits{}, nil)
			sent := counter.ByName()
			if clustered {
				require.Equal(t, map[string]int{"get": 300}, sent)
			} else {
				require.Equal(t, map[string]int{"mget": 3}, sent)
			}
			check(Limits{Expect: TinySize + 1}, nil)
			require.Zero(t, counter.ByName()["mget"], "answers that are not tiny are read by GETs")
			q := NewQuestion("fence", other, []string{"field"}, nil)
			check(Limits{}, q)
			require.Equal(t, "text", q.Value(0))
			one, err := r.GetAll(t.Context(), "lookup", keys[2:3], Limits{}, nil)
			require.NoError(t, err)
			require.Equal(t, []Got{{Raw: want[2]}}, one)

			wrong, err := r.GetAll(t.Context(), "lookup", []string{keys[2], other}, Limits{}, nil)
			require.NoError(t, err)
			require.Equal(t, want[2], wrong[0].Raw)
			require.Nil(t, wrong[1].Raw)
			require.Equal(t, clustered, wrong[1].Err != nil, "MGET takes it for absent")
		})
	}
}

func TestManyKeysOfAServerThatIsAway(t *testing.T) {
	server := redistest.Start(t)
	r := on(t, server.Client(), timeout)
	keys := []string{"a", "b"}
	ended, end := context.WithCancel(t.Context())
	end()
	got, _ := r.GetAll(ended, "lookup", keys, Limits{}, nil)
	for _, g := range got {
		require.ErrorIs(t, g.Err, context.Canceled)
	}
	server.Kill()
	for range 2 {
		got, _ = r.GetAll(t.Context(), "lookup", keys, Limits{}, nil)
		for _, g := range got {
			require.Error(t, g.Err)
			require.Nil(t, g.Raw)
		}
	}
}
