package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// impatient makes a client that reports a silent server soon, and that does not send commands
// again, which would hide the silence.
func impatient(o *redis.Options) {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout = time.Second, time.Second
}

func TestStartGivesEveryTestAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := Start(t), Start(t)
	require.NotEqual(t, a.Addr(), b.Addr())
	require.NoError(t, a.Client().Set(ctx, "k", "v", 0).Err())
	require.ErrorIs(t, b.Client().Get(ctx, "k").Err(), redis.Nil)
}

func TestStartPassesArguments(t *testing.T) {
	t.Parallel()
	s := Start(t, "--maxmemory", "12345678", "--requirepass", "open sesame")
	c := s.Client(func(o *redis.Options) { o.Password = "open sesame" })
	got, err := c.ConfigGet(context.Background(), "maxmemory").Result()
	require.NoError(t, err)
	require.Equal(t, "12345678", got["maxmemory"])
}

func TestClientIsClosedAtTheEndOfItsTest(t *testing.T) {
	t.Parallel()
	Require(t) // what follows the inner test needs it to have run
	var c *redis.Client
	t.Run("inner", func(t *testing.T) { c = Start(t).Client() })
	require.ErrorIs(t, c.Ping(context.Background()).Err(), redis.ErrClosed)
}

func TestServerEndsWithItsTest(t *testing.T) {
	t.Parallel()
	Require(t) // what follows the inner test needs it to have run
	var addr string
	t.Run("inner", func(t *testing.T) { addr = Start(t).Addr() })
	_, err := net.Dial("tcp", addr)
	require.Error(t, err)
}

func TestPausedServerIsSilentAndThenCatchesUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := Start(t)
	hasty, patient := s.Client(impatient), s.Client()
	require.NoError(t, hasty.Ping(ctx).Err())
	s.Pause()
	var timeout net.Error
	require.ErrorAs(t, hasty.Set(ctx, "k", "v", 0).Err(), &timeout)
	require.True(t, timeout.Timeout())
	s.Resume()
	require.NoError(t, patient.Ping(ctx).Err())
	require.NoError(t, await(func() error { return patient.Get(ctx, "k").Err() }),
		"what was sent during the pause was lost")
}

func TestKilledServerIsGoneAndComesBackEmptyOnItsPort(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := Start(t, "--maxmemory", "12345678")
	c := s.Client(impatient)
	require.NoError(t, c.Set(ctx, "k", "v", 0).Err())
	s.Kill()
	require.ErrorContains(t, c.Ping(ctx).Err(), "refused")
	s.Restart()
	require.ErrorIs(t, c.Get(ctx, "k").Err(), redis.Nil)
	got, err := c.ConfigGet(ctx, "maxmemory").Result()
	require.NoError(t, err)
	require.Equal(t, "12345678", got["maxmemory"])
	require.Equal(t, 2, strings.Count(s.Logs(), "Ready to accept connections"), s.Logs())
}

func TestPausedServerCanBeKilledAndRestarted(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Pause()
	s.Restart()
	require.NoError(t, s.Client().Ping(context.Background()).Err())
	s.Pause() // and ends paused
}

func TestSharedIsOneServerAndEmptiedForEachTest(t *testing.T) {
	Require(t) // what follows the inner tests needs them to have run
	ctx := context.Background()
	script := redis.NewScript(`return 1`)
	var addrs []string
	for range 2 {
		t.Run("user", func(t *testing.T) {
			s := Shared(t)
			c := s.Client()
			addrs = append(addrs, s.Addr())
			require.Zero(t, c.DBSize(ctx).Val())
			require.Equal(t, []bool{false}, script.Exists(ctx, c).Val())
			require.NoError(t, c.Set(ctx, "k", "v", 0).Err())
			require.NoError(t, script.Load(ctx, c).Err())
		})
	}
	require.Equal(t, addrs[0], addrs[1])
}

func TestSharedRefusesToBeDisturbed(t *testing.T) {
	s := Shared(t)
	for _, disturb := range []func(*Server){
		(*Server).Pause, (*Server).Resume, (*Server).Kill, (*Server).Restart, (*Server).Detach,
	} {
		spy := &spyT{TB: t}
		disturb(&Server{t: spy, p: s.p, shared: true})
		require.Contains(t, spy.said, "shared server")
	}
	require.NoError(t, s.Client().Ping(context.Background()).Err())
}

func TestReplicaFollowsUntilDetached(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	primary := Start(t)
	replica := StartReplica(t, primary)
	up, down := primary.Client(), replica.Client()

	require.NoError(t, up.Set(ctx, "k", "old", 0).Err())
	require.EqualValues(t, 1, up.Wait(ctx, 1, patience).Val())
	require.Equal(t, "old", down.Get(ctx, "k").Val())
	require.ErrorContains(t, down.Set(ctx, "k", "mine", 0).Err(), "READONLY")

	replica.Detach()
	require.NoError(t, up.Set(ctx, "k", "new", 0).Err())
	require.Equal(t, "old", down.Get(ctx, "k").Val())
}

func TestRequireSkipsOrFailsWithTheReason(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("FNCACHE_REDIS_SERVER", "")
	t.Setenv("FNCACHE_REQUIRE_REDIS", "")
	counted := skipped.Load()
	t.Cleanup(func() { require.Equal(t, counted, skipped.Load(), "this test is not skipped") })
	spy := &spyT{TB: t}
	Require(spy)
	require.Contains(t, spy.said, "skip: needs a real Redis")
	require.Contains(t, spy.said, "redis-server")

	t.Setenv("FNCACHE_REQUIRE_REDIS", "1")
	spy = &spyT{TB: t}
	Require(spy)
	require.Contains(t, spy.said, "fatal: FNCACHE_REQUIRE_REDIS=1")
}

func TestAnotherServerIsRunWhereTheEnvironmentNamesOne(t *testing.T) {
	Require(t)
	binary, err := serverBinary()
	require.NoError(t, err)
	// A wrapper, named by a relative path, as a Makefile would.
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("wrapper", []byte("#!/bin/sh\nexec '"+binary+"' --maxclients 123 \"$@\"\n"), 0o700))
	t.Setenv("FNCACHE_REDIS_SERVER", "./wrapper")
	got, err := Start(t).Client().ConfigGet(t.Context(), "maxclients").Result()
	require.NoError(t, err)
	require.Equal(t, "123", got["maxclients"])

	t.Setenv("FNCACHE_REDIS_SERVER", "./no-such-server")
	spy := &spyT{TB: t}
	Require(spy)
	require.Contains(t, spy.said, "FNCACHE_REDIS_SERVER: ")
	require.Contains(t, spy.said, "./no-such-server")
}

func TestSharedGroupsAreOneAndEmptied(t *testing.T) {
	groups := map[string]func(*testing.T) (redis.UniversalClient, []string){
		"cluster": func(t *testing.T) (redis.UniversalClient, []string) {
			c := SharedCluster(t)
			return c.Client(), c.Addrs()
		},
		"sentinel": func(t *testing.T) (redis.UniversalClient, []string) {
			s := SharedSentinel(t)
			return s.Client(), s.Addrs()
		},
	}
	for name, group := range groups {
		t.Run(name, func(t *testing.T) {
			var first []string
			for range 2 {
				t.Run("user", func(t *testing.T) {
					client, addrs := group(t)
					if first == nil {
						first = addrs
					}
					require.Equal(t, first, addrs)
					require.ErrorIs(t, client.Get(t.Context(), "k").Err(), redis.Nil)
					require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())
				})
			}
		})
	}
}

// spyT records what would have ended a test.
type spyT struct {
	testing.TB
	said string
}

func (s *spyT) Helper()                      {}
func (s *spyT) Errorf(f string, args ...any) { s.say("error: "+f, args) }
func (s *spyT) Fatalf(f string, args ...any) { s.say("fatal: "+f, args) }
func (s *spyT) Skipf(f string, args ...any)  { s.say("skip: "+f, args) }

func (s *spyT) say(f string, args []any) { s.said += fmt.Sprintf(f+"\n", args...) }
