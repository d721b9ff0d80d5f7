package fncache_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/releases"
)

// wrapText caches s as wrap does, as another release of the function would: with a string
// for its result.
func wrapText(t *testing.T, c *Cache, s *source, opts Options) (text func(context.Context, string) (string, error), f *Func) {
	t.Helper()
	text = func(ctx context.Context, arg string) (string, error) {
		n, err := s.call(ctx, arg)
		return fmt.Sprint(n), err
	}
	opts.Cache, opts.Name = c, "test.Source"
	opts.Timeout = cmp.Or(opts.Timeout, time.Minute)
	f, err := Wrap(&text, opts)
	require.NoError(t, err)
	return text, f
}

func TestAnInvalidationTakesTheEntriesAndLeasesOfOtherReleases(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		s := newHeld()
		here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
		former := wrap(t, here.Cache, &s.source, Options{Lease: slowLease})
		text, later := wrapText(t, there.Cache, &s.source, Options{Lease: slowLease})
		s.let <- struct{}{}
		assert.Equal(t, 1, former.get(t.Context(), "k").value)
		s.let <- struct{}{}
		n, err := text(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "2", n)
		require.NoError(t, former.Invalidate(t.Context(), "k"))
		for len(s.began) > 0 {
			<-s.began
		}

		// A computation of the later release that began before an invalidation by the former.
		done := make(chan string, 1)
		go func() {
			n, _ := text(t.Context(), "k")
			done <- n
		}()
		assert.Equal(t, 3, <-s.began, "its entry was gone")
		require.NoError(t, former.Invalidate(t.Context(), "k"))
		s.let <- struct{}{}
		assert.Equal(t, "3", <-done, "its own caller has it")
		assert.EqualValues(t, 1, later.Stats().LostLeases)
		s.let <- struct{}{}
		n, err = text(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "4", n, "and nobody else")
		s.let <- struct{}{}
		assert.Equal(t, 5, former.get(t.Context(), "k").value)
	})
}

func TestAReleaseThatRegistersDuringAnInvalidationStoresLaterResults(t *testing.T) {
	// 1. The former release changes the source, invalidates, and has read the registry; 2. the
	// later one acquires, registers, computes and stores; 3. the entries are deleted. What the
	// later one has computed is new, so that it does not matter whether it is among them.
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		s := &source{}
		here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
		former := wrap(t, here.Cache, s, Options{Lease: slowLease})
		text, later := wrapText(t, there.Cache, s, Options{Lease: slowLease})
		former.get(t.Context(), "k")
		there.tap.on("register", func() {
			assert.Equal(t, 1, s.count(), "it registers before the function runs")
			assert.EqualValues(t, 1, server.Raw.Exists(t.Context(), must(later.Key("k"))+LockSuffix).Val())
		})
		here.tap.onReply("releases", func(redis.Cmder) {
			n, err := text(t.Context(), "k")
			assert.NoError(t, err)
			assert.Equal(t, "2", n)
		})
		require.NoError(t, former.Invalidate(t.Context(), "k"))
		n, err := text(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "2", n)
		require.NoError(t, former.Invalidate(t.Context(), "k"))
		n, err = text(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "3", n, "from now on it is known")
	})
}

func TestAnInvalidationLeavesReleasesOfOtherParameterTypesAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		former := wrap(t, b.cache(), &source{}, Options{})
		former.get(t.Context(), "k")
		other := func(context.Context, int) (int, error) { return 7, nil }
		f, err := Wrap(&other, Options{Cache: b.cache(), Name: "test.Source", Timeout: time.Minute})
		require.NoError(t, err)
		_, err = other(t.Context(), 1)
		require.NoError(t, err)
		var invalidated []any
		b.tap.onReply("invalidate", func(cmd redis.Cmder) { invalidated = cmd.Args() })
		require.NoError(t, former.Invalidate(t.Context(), "k"))
		assert.Contains(t, fmt.Sprint(invalidated...), must(former.Key("k")))
		assert.NotContains(t, fmt.Sprint(invalidated...), must(f.Key(1))[strings.LastIndexByte(must(f.Key(1)), ':'):])
	})
}

func TestAFunctionIsRegisteredOnceBeforeItFirstStores(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{took: time.Second}, Options{})
		var registered bool
		b.tap.on("store", func() { registered = b.tap.count("register") == 2 }) // by its hash, then whole
		ends := bySource(w.burst(t.Context(), 10, "a"))
		assert.Equal(t, 1, ends[SourceComputed])
		assert.True(t, registered)
		b.tap.reset()
		for _, key := range []string{"b", "c", "b", "c"} {
			w.get(t.Context(), key)
		}
		assert.Zero(t, b.tap.count("register"), "a hit and a further store cost nothing more")
		time.Sleep(releases.Again)
		w.burst(t.Context(), 10, "d")
		assert.Equal(t, 1, b.tap.count("register"), "after a minute it is renewed")
	})
}

func TestManyComputationsThatBeginAtOnceShareOneRegistration(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		w.get(t.Context(), "warm the script cache")
		time.Sleep(releases.Again)
		b.tap.reset()
		arrive := make(chan struct{})
		b.tap.on("register", func() { <-arrive })
		var ends []<-chan outcome
		for i := range 20 {
			ends = append(ends, w.begin(t.Context(), fmt.Sprint(i)))
		}
		synctest.Wait()
		close(arrive)
		for _, end := range ends {
			assert.Equal(t, SourceComputed, (<-end).source)
		}
		assert.Equal(t, 1, b.tap.count("register"))
	})
}

func TestNothingIsStoredIfTheReleaseCannotBeRegistered(t *testing.T) {
	refusal := replyError("NOPERM this user has no permissions to access one of the keys used as arguments")
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		b.tap.set(func(tap *tap) { tap.refuse["register"] = refusal })
		for want := 1; want <= 2; want++ {
			o := w.get(t.Context(), "k")
			assert.Equal(t, outcome{value: want, source: SourceComputed}, untimed(o), "its value is returned")
			time.Sleep(OpenFor + time.Millisecond)
			assert.Empty(t, b.keys(), "and the lease given back")
		}
		require.ErrorIs(t, w.Refresh(t.Context(), "k"), ErrRedisDown, "for it is about storing")
		assert.EqualValues(t, 3, w.Stats().RedisErrorKinds[KindNoPerm])
		assert.Zero(t, w.Stats().Stored)
		told := b.log.About("cannot be registered")
		require.Len(t, told, 1)
		assert.Contains(t, told[0], "fncache:functions:{test.Source}")

		b.tap.set(func(tap *tap) { delete(tap.refuse, "register") })
		time.Sleep(OpenFor + time.Millisecond)
		assert.Equal(t, 4, w.get(t.Context(), "k").value)
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)

		// What was registered a while ago is stored if that cannot be renewed at the moment.
		b.tap.set(func(tap *tap) { tap.refuse["register"] = refusal })
		time.Sleep(2 * releases.Again)
		w.get(t.Context(), "l")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "l").source)
		time.Sleep(2 * releases.Good)
		w.get(t.Context(), "m")
		assert.Equal(t, SourceComputed, w.get(t.Context(), "m").source)
	})
}

func TestAnInvalidationFailsIfTheReleasesCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{})
		w.get(t.Context(), "k")
		b.tap.set(func(tap *tap) {
			tap.refuse["releases"] = replyError("NOPERM this user has no permissions to run the 'hgetall' command")
		})
		err := w.Invalidate(t.Context(), "k")
		require.ErrorIs(t, err, ErrRedisDown)
		require.ErrorContains(t, err, "+hgetall")
		require.ErrorContains(t, err, "key fncache:functions:{test.Source}")
		require.ErrorContains(t, err, "function test.Source, key fncache:{test.Source:")
		assert.Equal(t, SourceFresh, w.get(t.Context(), "k").source)
	})
}

func TestALostRegistrationIsRestoredAndLogged(t *testing.T) {
	const registry = "fncache:functions:{test.Source}"
	restored := func(t *testing.T, b *bubble, within time.Duration) {
		t.Helper()
		b.redis.Del(registry) // as if it had been evicted
		time.Sleep(within)
		synctest.Wait()
		assert.True(t, b.redis.Exists(registry))
		assert.Len(t, b.log.About("had lost the registration"), 1)
	}
	t.Run("of a function that computes", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			w := wrap(t, b.cache(), &source{}, Options{})
			w.get(t.Context(), "k")
			time.Sleep(releases.Again)
			b.redis.Del(registry)
			w.get(t.Context(), "l")
			synctest.Wait() // the log is written after the computation has gone on
			assert.True(t, b.redis.Exists(registry))
			assert.Len(t, b.log.About("had lost the registration"), 1)
		})
	})
	t.Run("of a function whose entries are only served", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			w := wrap(t, b.cache(), &source{}, Options{Timeout: time.Hour})
			w.get(t.Context(), "k")
			restored(t, b, 2*releases.Idle)
		})
	})
	t.Run("of a function that was not called for long", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			w := wrap(t, b.cache(), &source{}, Options{})
			w.get(t.Context(), "k")
			time.Sleep(10 * releases.Idlest)
			restored(t, b, 2*releases.Idlest)
		})
	})
	t.Run("after a connection was opened", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			c := b.cache()
			w := wrap(t, c, &source{}, Options{Timeout: time.Hour})
			w.get(t.Context(), "k")
			time.Sleep(2 * releases.Again)
			c.Releases().NoteDial()
			restored(t, b, releases.Dialed+time.Millisecond)
		})
	})
}

func TestAProcessWhoseWallClockWasSetForgetsNoOtherRelease(t *testing.T) {
	const registry = "fncache:functions:{test.Source}"
	inBubble(t, func(t *testing.T, b *bubble) {
		c, other := b.cache(), b.cache()
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "k")
		text, _ := wrapText(t, other, &source{}, Options{})
		_, err := text(t.Context(), "k")
		require.NoError(t, err)
		require.NoError(t, other.Close()) // it does not register again
		before, err := b.redis.HKeys(registry)
		require.NoError(t, err)
		require.Len(t, before, 2)

		c.Clock().Suspend(2 * releases.Kept) // the server's clock has not moved
		registered := b.tap.count("register")
		renewed := func() { // in the background: how long that takes is drawn at random
			t.Helper()
			for waited := 0 * time.Hour; b.tap.count("register") == registered; waited += time.Minute {
				require.Less(t, waited, 8*releases.Idle)
				time.Sleep(time.Minute)
			}
		}
		check := func(why string) {
			t.Helper()
			synctest.Wait()
			require.Greater(t, b.tap.count("register"), registered)
			registered = b.tap.count("register")
			after, err := b.redis.HKeys(registry)
			require.NoError(t, err)
			assert.ElementsMatch(t, before, after, why)
		}
		renewed() // no call asks for the server's clock
		check("it has asked for the server's clock")
		c.Clock().Suspend(2 * releases.Kept)
		b.tap.set(func(p *tap) { p.refuse["time"] = context.DeadlineExceeded })
		renewed()
		check("the server's clock is not known")
		c.Releases().Expire()
		w.get(t.Context(), "l")
		check("the server's clock is not known to a call")
	})
}

func TestAReleaseIsKeptLongerThanItsEntries(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		w := wrap(t, b.cache(), &source{}, Options{Timeout: 365 * 24 * time.Hour})
		w.get(t.Context(), "k")
		w.Unwrap() // nobody registers it any more
		time.Sleep(300 * 24 * time.Hour)
		text, _ := wrapText(t, b.cache(), &source{}, Options{})
		_, err := text(t.Context(), "k")
		require.NoError(t, err)
		registered, err := b.redis.HKeys("fncache:functions:{test.Source}")
		require.NoError(t, err)
		assert.Len(t, registered, 2)
		time.Sleep(100 * 24 * time.Hour)
		_, err = text(t.Context(), "k")
		require.NoError(t, err)
		registered, err = b.redis.HKeys("fncache:functions:{test.Source}")
		require.NoError(t, err)
		assert.Len(t, registered, 1)
	})
}

func TestAnUnwrappedFunctionIsNotRegisteredAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		w := wrap(t, c, &source{}, Options{})
		w.get(t.Context(), "k")
		assert.Equal(t, 1, c.Releases().Len())
		w.Unwrap()
		assert.Zero(t, c.Releases().Len())
	})
}

// ---- a rolling deploy, in real processes

// A deployed is a worker of TestARollingDeployWithARollback: a release of a function that
// reads what a source in Redis holds.
type deployed struct {
	release int
	client  redis.UniversalClient
	source  func(ctx context.Context, key string) (string, error)
	handle  *Func
	finish  chan struct{}
	worker  *worker
}

// runDeployed is the inside of such a process.
func runDeployed(s workerSettings) {
	d := &deployed{release: s.Release, finish: make(chan struct{}), worker: &worker{}}
	d.client = redis.NewUniversalClient(&redis.UniversalOptions{Addrs: s.Addrs, IsClusterMode: s.Cluster})
	cache := Must(New(Config{Redis: d.client, RedisTimeout: 10 * time.Second}))
	opts := Options{Cache: cache, Name: "test.Deployed", Timeout: time.Hour, Lease: slowLease, Near: s.Near}
	if s.Release == 1 {
		d.source = d.read
		d.handle = Must(Wrap(&d.source, opts))
	} else {
		type later struct{ Value string }
		fn := func(ctx context.Context, key string) (later, error) {
			value, err := d.read(ctx, key)
			return later{value}, err
		}
		d.handle = Must(wrapUntyped1(&fn, opts))
		d.source = func(ctx context.Context, key string) (string, error) {
			l, err := fn(ctx, key)
			return l.Value, err
		}
	}
	d.worker.tell(event{What: "ready"})
	orders := json.NewDecoder(os.Stdin)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return // the parent has gone
		}
		switch o.Do {
		case "get":
			go func() { d.worker.tell(event{What: "got", Value: Must(d.source(context.Background(), o.Key))}) }()
		case "invalidate":
			mustDo(d.handle.Invalidate(context.Background(), o.Key))
			d.worker.tell(event{What: "invalidated"})
		case "finish":
			close(d.finish)
		}
	}
}

// read is the function. For keys that begin with "slow" it goes on, after it has read,
// until the parent says so.
func (d *deployed) read(ctx context.Context, key string) (string, error) {
	value, err := d.client.Get(ctx, "source").Result()
	if strings.HasPrefix(key, "slow") {
		d.worker.tell(event{What: "computing"})
		<-d.finish
	}
	return value, err
}

func TestARollingDeployWithARollback(t *testing.T) {
	t.Run("single server", func(t *testing.T) {
		server := redistest.Start(t)
		testARollingDeployWithARollback(t, server.Client(), workerSettings{Addrs: []string{server.Addr()}})
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		client := cluster.Client()
		require.NoError(t, client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			return node.FlushAll(ctx).Err()
		}))
		testARollingDeployWithARollback(t, client, workerSettings{Addrs: cluster.Addrs(), Cluster: true})
	})
	t.Run("near caches", func(t *testing.T) {
		server := redistest.Start(t)
		testARollingDeployWithARollback(t, server.Client(), workerSettings{Addrs: []string{server.Addr()}, Near: time.Hour})
	})
}

// A deployment is the processes of two releases, and the source of their function.
type deployment struct {
	*crew
	client  redis.UniversalClient
	worker  workerSettings
	changes int
}

func (d *deployment) run(release int) *member {
	d.worker.Release = release
	settings, err := json.Marshal(d.worker)
	require.NoError(d.t, err)
	d.start(string(settings))
	d.await("ready", 1)
	return d.members[len(d.members)-1]
}

// change changes the source, and returns its new value.
func (d *deployment) change() string {
	d.changes++
	require.NoError(d.t, d.client.Set(d.t.Context(), "source", d.changes, 0).Err())
	return fmt.Sprint(d.changes)
}

func (d *deployment) get(m *member, key string) string {
	m.tell(order{Do: "get", Key: key})
	return d.await("got", 1)[0].Value
}

// serve checks that a process answers with a value: at once, or where it keeps copies
// after it has heard of the invalidation.
func (d *deployment) serve(m *member, want, why string) {
	d.t.Helper()
	if d.worker.Near > 0 {
		require.Eventually(d.t, func() bool { return d.get(m, "k") == want }, patience, time.Millisecond, why)
		return
	}
	require.Equal(d.t, want, d.get(m, "k"), why)
}

func (d *deployment) invalidate(m *member, key string) {
	m.tell(order{Do: "invalidate", Key: key})
	d.await("invalidated", 1)
}

func testARollingDeployWithARollback(t *testing.T, client redis.UniversalClient, s workerSettings) {
	d := &deployment{crew: &crew{t: t, reports: make(chan report, 64)}, client: client, worker: s}
	value := d.change()
	old1, old2 := d.run(1), d.run(1)
	d.serve(old1, value, "release 1 serves")
	d.serve(old2, value, "release 1 serves")
	new1 := d.run(2)
	d.serve(new1, value, "release 2 starts cold")

	value = d.change()
	d.invalidate(new1, "k")
	for _, m := range []*member{old1, old2, new1} {
		d.serve(m, value, "release 2 has invalidated")
	}
	value = d.change()
	d.invalidate(old1, "k")
	for _, m := range []*member{old1, old2, new1} {
		d.serve(m, value, "release 1 has invalidated")
	}

	old2.tell(order{Do: "get", Key: "slow"})
	d.await("computing", 1)
	value = d.change()
	d.invalidate(new1, "slow")
	old2.tell(order{Do: "finish"})
	require.NotEqual(t, value, d.await("got", 1)[0].Value, "the caller was there before")
	require.Equal(t, value, d.get(old2, "slow"), "release 2 has taken the lease of release 1")

	d.invalidate(new1, "k")
	d.serve(old1, value, "before the deploy ends")
	old1.signal(syscall.SIGKILL)
	old2.signal(syscall.SIGKILL)
	value = d.change()
	d.invalidate(new1, "k")
	d.serve(new1, value, "release 2 is alone")
	back := d.run(1) // the rollback
	d.serve(back, value, "what release 1 had stored before is not served again")
	value = d.change()
	d.invalidate(back, "k")
	d.serve(new1, value, "release 1 has invalidated")
	d.serve(back, value, "release 1 has invalidated")
}

func TestAUserWithTheDocumentedRightsCanUseACache(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Start(t)
		commands, _, _ := strings.Cut(NeededRights, " on ")
		rule := []any{"ACL", "SETUSER", "app", "reset", "on", ">secret", "~fncache:*", "&fncache:events:*"}
		for _, command := range strings.Fields(commands) {
			rule = append(rule, command)
		}
		require.NoError(t, server.Client().Do(t.Context(), rule...).Err())
		client := func() *redis.Client {
			return server.Client(func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
		}
		here, there := newProcess(t, client()), newProcess(t, client())
		require.NoError(t, here.Ping(t.Context()))
		s := &source{}
		opts := Options{Lease: slowLease, Near: time.Hour, Timeout: time.Hour}
		a, b := wrap(t, here.Cache, s, opts), wrap(t, there.Cache, s, opts)
		a.get(t.Context(), "bind")
		require.Eventually(t, func() bool { return hearing(here.Cache) != 0 }, patience, time.Millisecond)
		a.get(t.Context(), "k")
		require.Equal(t, SourceNear, a.get(t.Context(), "k").source)
		require.NoError(t, b.Invalidate(t.Context(), "k"))
		require.Eventually(t, func() bool { return a.get(t.Context(), "k").source != SourceNear }, patience, time.Millisecond)
		require.NoError(t, a.Refresh(t.Context(), "k"))
		assert.Empty(t, here.log.About("WARN"))
		assert.Empty(t, there.log.About("WARN"))
		assert.Zero(t, requireIdentity(t, a.Func).RedisErrors)
	})
}
