package fncache_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// plain is how these tests cache a source without tags, and shelf with them.
func plain() Options { return Options{Timeout: time.Hour, Lease: slowLease} }

func slow(o *Options) { o.Lease = slowLease }

// inBothKinds runs a test for a function without tags and for one with tags.
func inBothKinds(t *testing.T, test func(t *testing.T, opts Options, tagged bool)) {
	t.Helper()
	t.Run("untagged", func(t *testing.T) { test(t, plain(), false) })
	t.Run("tagged", func(t *testing.T) {
		test(t, shelf(slow), true)
	})
}

func TestClearInvalidatesAllEntriesOfAFunctionAndNoOthers(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		inBothKinds(t, func(t *testing.T, opts Options, tagged bool) {
			ctx := t.Context()
			here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
			s := &source{}
			named := func(c *Cache, prefix, name string) *wrapped {
				o := opts
				o.Prefix, o.Name = prefix, name
				if tagged { // the registry knows of those without
					o.Name = strings.Replace(o.Name, "cl", "tagged", 1)
				}
				return wrap(t, c, s, o)
			}
			// The pattern of SCAN would match the others too, if nothing else were looked at.
			cleared := named(here.Cache, "", "cl[e]ar?*")
			elsewhere := named(there.Cache, "", "cl[e]ar?*")
			others := []*wrapped{
				named(here.Cache, "", "clear.x"), named(here.Cache, "", "cl[e]ar?*more"), named(here.Cache, "cl[e]ar?*", "clear"),
			}
			const n = 30
			fill := func(w *wrapped) {
				for i := range n {
					require.NoError(t, w.get(ctx, strconv.Itoa(i)).err)
				}
			}
			fill(cleared)
			for _, other := range others {
				fill(other)
			}
			removed, err := elsewhere.Clear(ctx)
			require.NoError(t, err)
			if tagged {
				assert.Zero(t, removed)
				assert.Zero(t, there.tap.count("scan"), "one command")
				assert.LessOrEqual(t, there.tap.count("tags"), 2, "one command, and again where the server does not know the script")
			} else {
				assert.Equal(t, n, removed)
			}
			for i := range n {
				arg := strconv.Itoa(i)
				for _, other := range others {
					assert.Equal(t, SourceFresh, other.get(ctx, arg).source, "%s %s", other.Name(), arg)
				}
				assert.Equal(t, SourceComputed, cleared.get(ctx, arg).source, arg)
				assert.Equal(t, SourceFresh, elsewhere.get(ctx, arg).source, arg)
			}
		})
	})
}

// This order of events is W14 in docs/protocol.md.
func TestW14AResultComputedWhileAFunctionIsClearedDoesNotComeBack(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		inBothKinds(t, func(t *testing.T, opts Options, tagged bool) {
			ctx := t.Context()
			here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
			s := newHeld()
			opts.Name, opts.OnCold = fmt.Sprint("test.Cleared", tagged), Wait // Clear of a name with releases of both kinds does both
			w, other := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
			first := w.begin(ctx, "k")
			<-s.began
			_, err := other.Clear(ctx)
			require.NoError(t, err)
			s.let <- struct{}{}
			assert.Equal(t, 1, (<-first).value, "its own caller has it")

			s.let <- struct{}{}
			assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(other.get(ctx, "k")), "and nobody else")
			<-s.began
			assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(w.get(ctx, "k")))

			_, err = w.Clear(ctx)
			require.NoError(t, err)
			second := w.begin(ctx, "k") // in the process that clears
			<-s.began
			_, err = w.Clear(ctx)
			require.NoError(t, err)
			third := w.begin(ctx, "k")
			assert.Equal(t, 4, <-s.began, "it does not join")
			s.let <- struct{}{}
			s.let <- struct{}{}
			assert.Equal(t, 3, (<-second).value)
			assert.Equal(t, 4, (<-third).value)
			assert.Equal(t, outcome{value: 4, source: SourceFresh}, timeless(other.get(ctx, "k")))
		})
	})
}

// The order of events:
//  1. A holds the lease, and the first scan has passed the place of the future entry;
//  2. A stores;
//  3. the scan reaches the place of the lock.
func TestAnEntryThatIsStoredAfterTheFirstScanPassedIsFoundByTheSecond(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		p := newProcess(t, server.Client())
		w := wrap(t, p.Cache, &source{}, plain())
		w.get(t.Context(), "k")
		key := must(w.Key("k"))
		entry, err := server.Raw.GetDel(t.Context(), key).Result()
		require.NoError(t, err)
		var scans atomic.Int32
		redistest.AddHook(p.Config().Redis, scanHook(func() {
			if int(scans.Add(1)) == len(server.Primaries) || len(server.Primaries) == 0 {
				assert.NoError(t, server.Raw.Set(context.Background(), key, entry, time.Hour).Err())
			}
		}))
		removed, err := w.Clear(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, removed)
		assert.Zero(t, server.Raw.Exists(t.Context(), key).Val())
	})
}

// A scanHook acts after each answer of SCAN, before the client sees it.
type scanHook func()

func (h scanHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h scanHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "scan" {
			h()
		}
		return err
	}
}

func (h scanHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestClearCountsAnEntryThatMovesToAnotherNodeOnce(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		cluster := redistest.StartCluster(t)
		p := newProcess(t, cluster.Client())
		w := wrap(t, p.Cache, &source{}, plain())
		const n = 60
		for i := range n {
			require.NoError(t, w.get(t.Context(), strconv.Itoa(i)).err)
		}
		nodes := len(cluster.Nodes())
		slot := clusterSlot(must(w.Key("0")))
		from := slot * nodes / clusterSlots
		to := (from + 1) % nodes

		var scans atomic.Int32
		var always atomic.Bool
		redistest.AddHook(p.Config().Redis, scanHook(func() {
			if n := scans.Add(1); n != 1 && (!always.Load() || n%int32(2*nodes) != 0) {
				return
			}
			assert.NoError(t, cluster.MigrateSlot(context.Background(), slot, from, to))
			from, to = to, from
		}))
		removed, err := w.Clear(t.Context())
		require.NoError(t, err)
		assert.Equal(t, n, removed)
		keys := 0
		for _, node := range cluster.Nodes() {
			found, err := node.Client().Keys(t.Context(), "fncache:{test.Source:*").Result()
			require.NoError(t, err)
			keys += len(found)
		}
		assert.Zero(t, keys)
		assert.Greater(t, int(scans.Load()), 2*nodes, "another pass")

		always.Store(true)
		_, err = w.Clear(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		assert.ErrorContains(t, err, "slots of the Cluster moved")
	})
}

func TestClearFindsItsEntriesAmongManyKeys(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		ctx := t.Context()
		server := redistest.Start(t)
		raw := server.Client()
		require.NoError(t, raw.Eval(ctx, `for i = 1, 100000 do redis.call('SET', KEYS[1] .. i, 'x') end return 1`, []string{"another:"}).Err())
		p := newProcess(t, server.Client())
		w := wrap(t, p.Cache, &source{}, plain())
		const n = 250
		for i := range n {
			w.get(ctx, strconv.Itoa(i))
		}
		hash := strings.Repeat("0", 32)
		foreign := []string{"fncache:{test.Source:0}:x", "fncache:{test.Source:" + hash + "}", "fncache:{test.Source:" + hash + "}:", "fncache:{test.Source:more:" + hash + "}:x"}
		for _, key := range foreign {
			require.NoError(t, raw.Set(ctx, key, "x", 0).Err())
		}
		// Of another release, and a lease alone.
		other, alone := "fncache:{test.Source:"+hash+"}:0123456789ab", "fncache:{test.Source:"+hash+"}:ba9876543210:lock"
		require.NoError(t, raw.MSet(ctx, other, "x", alone, "x").Err())
		before := raw.DBSize(ctx).Val()
		began := time.Now()
		removed, err := w.Clear(ctx)
		require.NoError(t, err)
		t.Log(time.Since(began))
		assert.Equal(t, n+1, removed)
		assert.Equal(t, before-n-2, raw.DBSize(ctx).Val())
		assert.EqualValues(t, len(foreign), raw.Exists(ctx, foreign...).Val())
		assert.Zero(t, raw.Exists(ctx, other, alone).Val())
		assert.Greater(t, p.tap.count("scan"), 100, "a little at a time")
	})
}

// In a deploy that adds Options.Tags, the new release has tags and the old one has none.
func TestClearReachesAReleaseThatHasTagsAndOneThatHasNone(t *testing.T) {
	onServersInBothForms(t, func(t *testing.T, server *backend) {
		for _, from := range []string{"former", "latter"} {
			t.Run(from, func(t *testing.T) {
				ctx := t.Context()
				here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
				s := &source{}
				former, latter := wrap(t, here.Cache, s, plain()), wrap(t, there.Cache, s, shelf(slow))
				outer := wrap(t, there.Cache, &source{do: func(ctx context.Context, _ int) (int, error) { return latter.call(ctx, "k") }},
					Options{Name: "outer", Timeout: time.Hour, Lease: slowLease, Tags: []string{}})
				former.get(ctx, "k")
				outer.get(ctx, "k")
				assert.Equal(t, SourceFresh, latter.get(ctx, "k").source)
				assert.Equal(t, SourceFresh, former.get(ctx, "k").source)

				clearing := map[string]*wrapped{"former": former, "latter": latter}[from]
				_, err := clearing.Clear(ctx)
				require.NoError(t, err)
				assert.Equal(t, SourceComputed, former.get(ctx, "k").source)
				assert.Equal(t, SourceComputed, outer.get(ctx, "k").source, "it inherits the tag of the function that it calls")
				assert.Equal(t, SourceFresh, latter.get(ctx, "k").source)
			})
		}
	})
}

func TestClearOvertakesNearEntriesOfAllProcesses(t *testing.T) {
	inBothKinds(t, func(t *testing.T, opts Options, _ bool) {
		inBubble(t, func(t *testing.T, b *bubble) {
			ctx := t.Context()
			opts := opts
			opts.Near = time.Hour
			here, sibling, there := b.cache(), b.cache(), b.cache()
			sibling.ShareNames(here) // another cache on the same client
			s := &source{}
			all := []*wrapped{wrap(t, here, s, opts), wrap(t, sibling, s, opts), wrap(t, there, s, opts)}
			apart := wrap(t, there, &source{}, Options{Name: "apart", Timeout: time.Hour, Near: time.Hour})
			for _, w := range append(all, apart) {
				awaitBubbleHearing(t, w.Bound())
				w.get(ctx, "a")
				require.Equal(t, SourceNear, w.get(ctx, "a").source)
			}
			_, err := all[0].Clear(ctx)
			require.NoError(t, err)
			assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(all[1].get(ctx, "a")), "at once in the process that clears")
			synctest.Wait()
			assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(all[2].get(ctx, "a")), "a message later elsewhere")
			assert.Equal(t, outcome{value: 2, source: SourceFresh}, timeless(all[0].get(ctx, "a")))
			all[1].get(ctx, "a") // the sibling may have heard the message only after it had computed
			for _, w := range all {
				assert.Equal(t, SourceNear, w.get(ctx, "a").source)
			}
			assert.Equal(t, SourceNear, apart.get(ctx, "a").source, "another function")
		})
	})
}

// The second message overtakes entries that another process reads between the first message and
// the deletion.
func TestAnEntryReadWhileAFunctionIsClearedIsNotKeptNear(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := plain()
		opts.Near = time.Hour
		here, there := b.cache(), b.cache()
		s := &source{}
		w, other := wrap(t, here, s, opts), wrap(t, there, s, opts)
		w.get(t.Context(), "a")
		awaitBubbleHearing(t, there)
		b.tap.on("scan", func() {
			synctest.Wait()
			assert.Equal(t, []Source{SourceFresh, SourceNear}, other.sources(t.Context(), "a", 2))
		})
		_, err := w.Clear(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, outcome{value: 2, source: SourceComputed}, timeless(other.get(t.Context(), "a")))
	})
}

func TestAProcessThatWaitsForAHolderHearsOfAClear(t *testing.T) {
	inBothKinds(t, func(t *testing.T, opts Options, _ bool) {
		inBubble(t, func(t *testing.T, b *bubble) {
			opts := opts
			opts.OnCold = Wait
			here, there := b.cache(), b.cache()
			s := newHeld()
			w, other := wrap(t, here, &s.source, opts), wrap(t, there, &s.source, opts)
			first := w.begin(t.Context(), "a")
			<-s.began
			second := other.begin(t.Context(), "a")
			time.Sleep(10 * time.Second) // until it hears events
			began := time.Now()
			_, err := b.clearElsewhere(&s.source, opts)
			require.NoError(t, err)
			assert.Equal(t, 2, <-s.began, "it computes by itself")
			assert.Less(t, time.Since(began), 2*time.Second)
			s.let <- struct{}{}
			s.let <- struct{}{}
			<-first
			assert.Equal(t, 2, (<-second).value)
		})
	})
}

// clearElsewhere clears a function in a process that computes nothing.
func (b *bubble) clearElsewhere(s *source, opts Options) (removed int, err error) {
	return wrap(b.t, b.cache(), s, opts).Clear(b.t.Context())
}

func TestClearEndsWithItsContext(t *testing.T) {
	inBothKinds(t, func(t *testing.T, opts Options, tagged bool) {
		inBubble(t, func(t *testing.T, b *bubble) {
			w := wrap(t, b.cache(), &source{}, opts)
			w.get(t.Context(), "a")
			ctx, cancel := context.WithCancel(t.Context())
			verb := "scan"
			if tagged {
				verb = "tags"
			}
			b.tap.on(verb, func() {
				cancel()
				synctest.Wait() // Clear sees that ctx has ended before the command is answered
			})
			_, err := w.Clear(ctx)
			require.ErrorIs(t, err, context.Canceled)
			_, err = w.Clear(ctx)
			require.ErrorIs(t, err, context.Canceled)
		})
	})
}

func TestClearFailsIfRedisIsAway(t *testing.T) {
	inBothKinds(t, func(t *testing.T, opts Options, tagged bool) {
		inBubble(t, func(t *testing.T, b *bubble) {
			c := b.cache()
			w := wrap(t, c, &source{}, opts)
			w.get(t.Context(), "a")
			b.tap.set(func(tap *tap) { tap.broken = fmt.Errorf("no route") })
			_, err := w.Clear(t.Context())
			require.ErrorIs(t, err, ErrRedisDown)
			assert.ErrorContains(t, err, "function test.Source")
			b.tap.set(func(tap *tap) { tap.broken = nil })
			awaitBack(c)
			if !tagged {
				b.tap.reset()
				b.tap.set(func(tap *tap) {
					tap.refuse["scan"] = replyError("NOPERM this user has no permissions to run the 'scan' command")
				})
				_, err = w.Clear(t.Context())
				require.ErrorIs(t, err, ErrRedisDown)
				assert.ErrorContains(t, err, "scan")
				assert.Equal(t, 1, b.tap.count("scan"), "trying again is of no use")

				b.tap.set(func(tap *tap) { tap.refuse["scan"] = replyError("LOADING for a while") })
				_, err = w.Clear(t.Context())
				require.ErrorIs(t, err, ErrRedisDown)
				assert.Equal(t, 1+4, b.tap.count("scan"), "it tries three times more: %v", err)
				b.tap.set(func(tap *tap) { delete(tap.refuse, "scan") })
			}
			_, err = w.Clear(t.Context())
			require.NoError(t, err)
			assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
			require.NoError(t, c.Close())
			_, err = w.Clear(t.Context())
			require.ErrorIs(t, err, ErrClosed)
		})
	})
}

func TestClearDoesNotWaitForAServerThatHangs(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		server := redistest.Start(t)
		// The client would wait for ever.
		client := server.Client(func(o *redis.Options) { o.ReadTimeout, o.ContextTimeoutEnabled = -1, false })
		c := newTestCache(t, Config{Redis: client})
		w := wrap(t, c, &source{}, plain())
		w.get(t.Context(), "a")
		redistest.AddHook(client, scanHook(func() {}))
		server.Pause()
		t.Cleanup(server.Resume)
		_, err := w.Clear(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		server.Resume()
	})
}

func TestClearNeedsTheRightToScan(t *testing.T) {
	inOneForm(t, func(t *testing.T) {
		server := redistest.Start(t)
		require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "noscan", "on", ">secret", "~*", "&*", "+@all", "-scan").Err())
		c := newTestCache(t, Config{Redis: server.Client(func(o *redis.Options) { o.Username, o.Password = "noscan", "secret" })})
		w := wrap(t, c, &source{}, plain())
		w.get(t.Context(), "a")
		_, err := w.Clear(t.Context())
		require.ErrorIs(t, err, ErrRedisDown)
		assert.ErrorContains(t, err, "scan")
		assert.ErrorContains(t, err, "NOPERM")
	})
}
