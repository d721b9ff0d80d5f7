package fncache_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fncache/fncache/internal/child"
	"github.com/fncache/fncache/internal/redistest"
)

// The tests below run real processes. The test binary starts itself as workers, which read
// orders from their standard input and write reports to their standard output, one line of JSON
// each.

// workerArg is the argument of a worker, and workerEnv holds its settings.
const (
	workerArg = "worker"
	workerEnv = "FNCACHE_TEST_WORKER"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		runWorker(os.Getenv(workerEnv))
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		redistest.ReportSkips(os.Stderr)
		os.Exit(code)
	}))
}

// workerSettings are what a worker is started with.
type workerSettings struct {
	Addr   string
	OnCold ColdPolicy
	Lease  time.Duration
	Typed  bool   // wrap by Wrap1
	Codec  string // "json", or none
	Fails  bool   // the function fails, once for each order to

	// Of the workers of TestARollingDeployWithARollback.
	Release int // 0: it is no such worker
	Addrs   []string
	Cluster bool
	Near    time.Duration

	Bound int // MaxConcurrent of the workers of TestManyEntriesOfOneTag…; 0: it is no such worker
}

// order is what a worker is told to do.
type order struct {
	Do      string // "burst", "get", "invalidate", "finish" or "fail"
	Key     string
	Callers int
}

// event is what a worker tells.
type event struct {
	What     string // "ready", "computing", "waiting", "waiting on", "begun", "ended", "got" or "invalidated"
	Value    string // that a call got
	Outcomes map[string]int
	Wrong    []string // answers that no caller should have got
	Stats    Stats
}

// worker is the inside of a worker process.
type worker struct {
	mu     sync.Mutex    // held while a report is written
	finish chan struct{} // closed when the function may end
	fail   chan struct{} // an element for each run that may fail
	lookup func(context.Context, string) (string, error)
	handle *Func
	cache  *Cache

	callers  atomic.Int64 // of the last burst
	acquires atomic.Int64 // that were answered
}

// DialHook, ProcessHook and ProcessPipelineHook make a worker a hook that counts acquires.
func (w *worker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *worker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		w.countAcquires(cmd)
		return err
	}
}

func (w *worker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		w.countAcquires(cmds...)
		return err
	}
}

func (w *worker) countAcquires(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if verbOf(cmd) == "acquire" && !redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			w.acquires.Add(1)
		}
	}
}

func runWorker(settings string) {
	var s workerSettings
	mustDo(json.Unmarshal([]byte(settings), &s))
	if s.Release != 0 {
		runDeployed(s)
		return
	}
	if s.Bound != 0 {
		runRecomputer(s)
		return
	}
	s.Lease = cmp.Or(s.Lease, slowLease)
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true}) // so that hooks see everything
	// As much time for Redis as the lease allows: a busy machine is no outage.
	cfg := Config{Redis: client, RedisTimeout: s.Lease / MinLeases}
	if s.Codec == "json" {
		cfg.Codec = JSON{}
	}
	cache := Must(New(cfg))
	w := &worker{cache: cache, finish: make(chan struct{}), fail: make(chan struct{}, 1)}
	client.AddHook(w)
	w.lookup = w.compute
	if s.Fails {
		// A caller that asks again by itself may be granted the lease of a function that has
		// just failed before it hears of that.
		*MostTold = time.Hour
		w.lookup = w.computeAndFail
	}
	opts := Options{Cache: cache, Name: "test.Expensive", Timeout: time.Hour, OnCold: s.OnCold, Lease: s.Lease}
	if s.Typed {
		w.handle = Must(wrapUntyped1(&w.lookup, opts))
	} else {
		w.handle = Must(Wrap(&w.lookup, opts))
	}
	w.tell(event{What: "ready"})
	orders := json.NewDecoder(os.Stdin)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return // the parent has gone
		}
		switch o.Do {
		case "burst":
			w.callers.Store(int64(o.Callers))
			go w.burst(o.Key, o.Callers)
			if s.Fails {
				go w.watchFailures(Must(w.handle.Key(o.Key)), o.Callers)
			}
		case "finish":
			close(w.finish)
		case "fail":
			w.fail <- struct{}{}
		}
	}
}

func mustDo(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *worker) tell(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mustDo(child.Report(os.Stdout, e))
}

// compute is the expensive function: it takes until the parent says so.
func (w *worker) compute(_ context.Context, key string) (string, error) {
	w.tell(event{What: "computing"})
	<-w.finish
	return "value of " + key, nil
}

// errWorker is what the function fails with.
var errWorker = errors.New("the database is away")

// computeAndFail is compute for a function that fails, when the parent says so. It begins when
// all callers of this process wait for it: one that came after the failure would wait for
// another process.
func (w *worker) computeAndFail(_ context.Context, key string) (string, error) {
	for w.joined(key) < int(w.callers.Load()) {
		time.Sleep(time.Millisecond) // until they have joined
	}
	w.tell(event{What: "computing"})
	<-w.fail
	return "", errWorker
}

// joined returns how many callers wait for the computation of a key in this process.
func (w *worker) joined(key string) int {
	return w.handle.Joined(Must(w.handle.Key(key)))
}

// burst calls from many goroutines at once.
func (w *worker) burst(key string, callers int) {
	ended := event{What: "ended", Outcomes: map[string]int{}}
	var mu sync.Mutex
	var begun, all sync.WaitGroup
	begun.Add(callers)
	for range callers {
		all.Go(func() {
			var info Info
			begun.Done()
			value, err := w.lookup(WithInfo(context.Background(), &info), key)
			mu.Lock()
			defer mu.Unlock()
			ended.Outcomes[info.Source.String()]++
			var refused *ColdCacheError
			switch {
			case errors.Is(err, errWorker):
				return
			case errors.As(err, &refused) && refused.FailedElsewhere > 0:
				ended.Outcomes["failed elsewhere"]++
			}
			if value != "value of "+key && info.Source != SourceRefused {
				ended.Wrong = append(ended.Wrong, fmt.Sprintf("%v: %q, %v", info.Source, value, err))
			}
		})
	}
	begun.Wait()
	w.tell(event{What: "begun"})
	all.Wait()
	ended.Stats = w.handle.Stats()
	w.tell(ended)
}

// watchFailures tells when all callers wait for another process and would hear of its end, and
// when they have heard that the function failed there, have asked again, and wait on.
func (w *worker) watchFailures(key string, callers int) {
	state := func() (users int, failed uint64) {
		s := w.cache.Events().Inspect()
		if s.Hearing == 0 {
			return 0, 0
		}
		return s.Counting, s.Failed
	}
	for _, stage := range []string{"waiting", "waiting on"} {
		for {
			// The flight that waits for them counts too.
			users, failed := state()
			again := failed > 0 && w.acquires.Load() >= 2 // else the next may yet be granted
			if users == callers+1 && (stage == "waiting" && failed == 0 || stage == "waiting on" && again) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		w.tell(event{What: stage})
	}
}

// A crew is some workers as their parent sees them.
type crew struct {
	t       *testing.T
	members []*member
	reports chan report
	kept    []report // that nobody has awaited yet
}

// member is one worker of a crew.
type member struct {
	*child.Child[event]
	t *testing.T
}

// report is what one of them told.
type report struct {
	from *member
	event
}

// startCrew starts n workers and waits until they are ready. Every other one
// wraps by Wrap1.
func startCrew(t *testing.T, n int, s workerSettings) *crew {
	t.Helper()
	c := &crew{t: t, reports: make(chan report, 16*n)}
	for i := range n {
		s.Typed = i%2 == 1
		settings, err := json.Marshal(s)
		require.NoError(t, err)
		c.start(string(settings))
	}
	c.await("ready", n)
	return c
}

func (c *crew) start(settings string) {
	process, err := child.Start[event](workerArg, workerEnv+"="+settings)
	require.NoError(c.t, err)
	m := &member{process, c.t}
	c.members = append(c.members, m)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			e, err := m.Next()
			if err != nil {
				return // the worker has gone
			}
			c.reports <- report{m, e}
		}
	}()
	c.t.Cleanup(func() {
		_ = m.Cmd.Process.Kill()
		<-read
		m.End()
	})
}

// tell sends an order to all workers.
func (c *crew) tell(o order) {
	for _, m := range c.members {
		m.tell(o)
	}
}

func (m *member) tell(o order) { require.NoError(m.t, m.Tell(o)) }

func (m *member) signal(s os.Signal) { require.NoError(m.t, m.Cmd.Process.Signal(s)) }

// patience is how long a test waits for what must happen before it fails.
const patience = time.Minute

// await returns the next n reports of a kind, and keeps the others for later.
func (c *crew) await(what string, n int) (found []report) {
	c.t.Helper()
	kept := c.kept
	c.kept = nil
	for _, r := range kept {
		found = c.sort(r, what, n, found)
	}
	for len(found) < n {
		select {
		case r := <-c.reports:
			found = c.sort(r, what, n, found)
		case <-time.After(patience):
			require.FailNow(c.t, "the workers do not do what they should", "%d of %d: %s; others: %v", len(found), n, what, c.kept)
		}
	}
	return found
}

func (c *crew) sort(r report, what string, n int, found []report) []report {
	if r.What == what && len(found) < n {
		return append(found, r)
	}
	c.kept = append(c.kept, r)
	return found
}

// sum adds up what workers told at the end.
func sum(t *testing.T, ends []report) (outcomes map[string]int, total Stats) {
	t.Helper()
	outcomes = map[string]int{}
	for _, e := range ends {
		assert.Empty(t, e.Wrong)
		for source, n := range e.Outcomes {
			outcomes[source] += n
		}
		total.Calls += e.Stats.Calls
		total.Computations += e.Stats.Computations
		total.Failed += e.Stats.Failed
	}
	return outcomes, total
}

const (
	fleet   = 4
	callers = 250
)

func TestFourProcessesOnOneColdKeyComputeOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy   ColdPolicy
		meantime int // workers whose callers all have their answer while the holder computes
		others   string
	}{
		{Fail, fleet - 1, "refused"},
		{Wait, 0, "waited"},
	} {
		t.Run(fmt.Sprint(test.policy), func(t *testing.T) {
			server := redistest.Start(t)
			c := startCrew(t, fleet, workerSettings{Addr: server.Addr(), OnCold: test.policy})
			c.tell(order{Do: "burst", Key: "a", Callers: callers})
			holder := c.await("computing", 1)[0].from
			c.await("begun", fleet)
			ends := c.await("ended", test.meantime)
			holder.tell(order{Do: "finish"})
			ends = append(ends, c.await("ended", fleet-test.meantime)...)

			outcomes, total := sum(t, ends)
			assert.Equal(t, 1, outcomes["computed"])
			// A caller may come to its lookup only after the holder was done.
			assert.Equal(t, fleet*callers-1, outcomes[test.others]+outcomes["fresh"], "%v", outcomes)
			assert.EqualValues(t, fleet*callers, total.Calls)
			assert.EqualValues(t, 1, total.Computations, "one in the whole fleet")
		})
	}
}

func TestAFunctionThatFailsIsNotTriedByEveryProcessInTurn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const fleet, callers = 6, 20
	c := startCrew(t, fleet, workerSettings{Addr: server.Addr(), OnCold: Wait, Fails: true})
	c.tell(order{Do: "burst", Key: "a", Callers: callers})
	first := c.await("computing", 1)[0].from
	c.await("waiting", fleet-1)
	first.tell(order{Do: "fail"})
	second := c.await("computing", 1)[0].from
	require.NotSame(t, first, second, "the process that waited tries it once")
	for others := 0; others < fleet-2; { // the second may tell so too, before it is given the lease
		if c.await("waiting on", 1)[0].from != second {
			others++
		}
	}
	second.tell(order{Do: "fail"})
	outcomes, total := sum(t, c.await("ended", fleet))
	assert.EqualValues(t, 2, total.Computations, "in the whole fleet")
	assert.Equal(t, map[string]int{
		"failed": 2 * callers, "refused": (fleet - 2) * callers, "failed elsewhere": (fleet - 2) * callers,
	}, outcomes)
}

func TestAKilledHolderIsReplacedWithinItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	lease := 4 * time.Second
	c := startCrew(t, fleet, workerSettings{Addr: server.Addr(), OnCold: Wait, Lease: lease})
	require.NoError(t, client.Set(t.Context(), "something else", "kept", 0).Err())
	c.tell(order{Do: "burst", Key: "a", Callers: callers})
	holder := c.await("computing", 1)[0].from
	c.await("begun", fleet)
	holder.signal(syscall.SIGKILL)
	lock := onlyLock(t, client)
	left := client.PTTL(t.Context(), lock).Val()
	assert.LessOrEqual(t, left, lease)
	assert.Positive(t, left, "the dead holder's lease is there, and ends by itself")

	next := c.await("computing", 1)[0].from
	require.NotSame(t, holder, next)
	next.tell(order{Do: "finish"})
	outcomes, total := sum(t, c.await("ended", fleet-1))
	assert.Equal(t, 1, outcomes["computed"])
	assert.Equal(t, (fleet-1)*callers-1, outcomes["waited"]+outcomes["fresh"], "every surviving caller has its value: %v", outcomes)
	assert.EqualValues(t, 1, total.Computations)
	assert.Zero(t, total.Failed)
	assert.Equal(t, "kept", client.Get(t.Context(), "something else").Val())
	assert.Zero(t, client.Exists(t.Context(), lock).Val(), "no lock is left behind")
}

func TestAStoppedHolderDoesNotOverwriteItsSuccessorsValue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	c := startCrew(t, 2, workerSettings{Addr: server.Addr(), OnCold: Wait, Lease: 4 * time.Second})
	c.tell(order{Do: "burst", Key: "a", Callers: 1})
	holder := c.await("computing", 1)[0].from
	entry := strings.TrimSuffix(onlyLock(t, client), LockSuffix)
	holder.signal(syscall.SIGSTOP)
	next := c.await("computing", 1)[0].from // the lease has run out
	require.NotSame(t, holder, next)
	next.tell(order{Do: "finish"})
	assert.Equal(t, map[string]int{"computed": 1}, c.await("ended", 1)[0].Outcomes)
	stored := client.Get(t.Context(), entry).Val()
	require.NotEmpty(t, stored)

	holder.signal(syscall.SIGCONT)
	holder.tell(order{Do: "finish"})
	end := c.await("ended", 1)[0]
	assert.Empty(t, end.Wrong, "its own caller has an answer")
	assert.Equal(t, stored, client.Get(t.Context(), entry).Val(), "a process that lost its lease stores nothing")
	assert.EqualValues(t, 1, end.Stats.LostLeases)
}

// onlyLock returns the one lock there is.
func onlyLock(t *testing.T, client *redis.Client) string {
	t.Helper()
	locks, err := client.Keys(t.Context(), "*"+LockSuffix).Result()
	require.NoError(t, err)
	require.Len(t, locks, 1)
	return locks[0]
}
