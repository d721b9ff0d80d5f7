package faults

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/redistest"
)

// A scene is one server, the network to it, and the fleet's Redis user.
type scene struct {
	t      *testing.T
	server *redistest.Server
	net    *network
	admin  *redis.Client
	spare  *redistest.Server // another server, started if a fault needs it
	hook   *between
	hits   atomic.Int64 // what a repeated fault has hit so far
}

// do runs a command as the administrator, on any goroutine.
func (s *scene) do(args ...any) {
	s.t.Helper()
	assert.NoError(s.t, s.admin.Do(context.Background(), args...).Err(), "%v", args)
}

// hit is like do, for a command that returns how many keys or connections it hit.
func (s *scene) hit(args ...any) {
	s.t.Helper()
	met, err := s.admin.Do(context.Background(), args...).Int64()
	assert.NoError(s.t, err, "%v", args)
	s.hits.Add(met)
}

// The fleet's own user: the administrator can remove its rights and keep its own.
const (
	user     = "app"
	password = "secret"
)

func (s *scene) allow() {
	s.do("ACL", "SETUSER", user, "reset", "on", ">"+password, "~*", "&*", "+@all")
}

// hasty sends a command that the server does not answer. It does not wait for an answer.
func (s *scene) hasty(args ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	client := s.server.Client(func(o *redis.Options) { o.ContextTimeoutEnabled, o.MaxRetries = true, -1 })
	_ = client.Do(ctx, args...).Err()
}

// fill gives the server a large data set to load: keys of 1 KiB, in another database than the
// fleet's.
func (s *scene) fill(n int) {
	client := s.server.Client(func(o *redis.Options) { o.DB = 1 })
	assert.NoError(s.t, client.Do(context.Background(), "DEBUG", "POPULATE", n, "ballast", 1024).Err())
}

// A fault begins, may be repeated, and is healed.
type fault struct {
	name  string
	args  []string // of the server
	begin func(*scene)
	again func(*scene)
	heal  func(*scene)
	bound time.Duration // of a call; 0 for the fleet's own
	// kind is the kind that Stats and the log must report; 0 accepts any kind.
	kind fncache.RedisErrorKind
	// slow is the least time that lookups of every process must take; 0 if that is not a sign of
	// the fault.
	slow time.Duration
	// loses is set if the fault removes leases and entries; older is set if it brings older
	// ones back.
	loses, older bool
	// refused is set if every caller gets ErrRedisDown under DownError; keeps is set if stale
	// entries are served while there are any.
	refused, keeps bool
	// lives is set if Redis answers in time, so every computation has a lease. late is set if
	// it answers too late, or only reads: the cache detects that, and then no call waits for
	// it.
	lives, late bool
	// pool is the size of the clients' pools, or 0 for the default of go-redis.
	pool int
}

func toxic(name string, kind fncache.RedisErrorKind, toxic, stream, attributes string) fault {
	return fault{
		name:  name,
		begin: func(s *scene) { s.net.poison(toxic, stream, attributes) },
		heal:  func(s *scene) { s.net.mend() },
		kind:  kind,
	}
}

// lasting returns f with slow lookups as the sign that it takes effect.
func (f fault) lasting(slow time.Duration) fault {
	f.slow = slow
	return f
}

// slowed is a Redis that is slow but not away: it answers everything after a delay.
func slowed(name string, by time.Duration) fault {
	f := toxic("slow but alive: answers after "+name+" RedisTimeout", 0, "latency", "downstream", fmt.Sprintf(`"latency": %d`, by.Milliseconds()))
	if by < redisTimeout {
		f.lives = true
		return f.lasting(by)
	}
	f.kind, f.late = fncache.KindTimeout, true
	return f
}

var faults = []fault{
	// The server.
	{
		name:    "stopped (SIGSTOP)",
		begin:   func(s *scene) { s.server.Pause() },
		heal:    func(s *scene) { s.server.Resume() },
		kind:    fncache.KindTimeout,
		refused: true,
	},
	{
		name:  "killed and restarted empty (SIGKILL)",
		loses: true,
		begin: func(s *scene) { s.server.Kill() },
		heal:  func(s *scene) { s.server.Restart(); s.allow() },
		kind:  fncache.KindUnreachable,
	},
	{
		name:  "reads its data set after a restart (LOADING)",
		loses: true, older: true,
		args: []string{"--rdbcompression", "no", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"},
		begin: func(s *scene) {
			s.fill(50_000) // takes 100 s, unless it is healed
			s.do("SAVE")
			s.server.Restart()
			s.allow() // while it loads; users are not part of the data set
		},
		heal:    func(s *scene) { s.do("CONFIG", "SET", "key-load-delay", "0") },
		kind:    fncache.KindLoading,
		refused: true,
	},
	{
		name:  "paused for writes (CLIENT PAUSE)",
		begin: func(s *scene) { s.do("CLIENT", "PAUSE", "600000", "WRITE") },
		heal:  func(s *scene) { s.do("CLIENT", "UNPAUSE") },
		kind:  fncache.KindTimeout,
		late:  true,
	},
	{
		name:  "paused for all (CLIENT PAUSE)", // until it ends by itself
		begin: func(s *scene) { s.do("CLIENT", "PAUSE", "3000", "ALL") },
		kind:  fncache.KindTimeout,
	},
	{
		name:  "asleep (DEBUG SLEEP)", // until it wakes by itself
		begin: func(s *scene) { s.hasty("DEBUG", "SLEEP", "3") },
		kind:  fncache.KindTimeout,
	},
	{
		name:  "closes connections (CLIENT KILL)",
		again: func(s *scene) { s.hit("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") },
	},
	{
		name:    "out of memory (maxmemory, noeviction)",
		begin:   func(s *scene) { s.do("CONFIG", "SET", "maxmemory", "1") },
		heal:    func(s *scene) { s.do("CONFIG", "SET", "maxmemory", "0") },
		kind:    fncache.KindOOM,
		refused: true, keeps: true,
	},
	{
		name:  "forgets scripts between every two commands (SCRIPT FLUSH)",
		begin: func(s *scene) { s.hook.on.Store(true) },
		heal:  func(s *scene) { s.hook.on.Store(false) },
		kind:  fncache.KindNoScript,
	},
	{
		name:  "evicts entries and locks at any moment",
		loses: true,
		bound: turns,
		again: func(s *scene) {
			s.hit("EVAL", `local k = redis.call('RANDOMKEY') if k then return redis.call('DEL', k) end return 0`, "0")
		},
	},
	{
		name:  "is emptied repeatedly (FLUSHALL)",
		loses: true,
		bound: turns,
		again: func(s *scene) {
			s.hit("EVAL", `local n = redis.call('DBSIZE') redis.call('FLUSHALL') return n`, "0")
		},
	},
	{
		name:  "has too few replicas (NOREPLICAS)",
		begin: func(s *scene) { s.do("CONFIG", "SET", "min-replicas-to-write", "1") },
		heal:  func(s *scene) { s.do("CONFIG", "SET", "min-replicas-to-write", "0") },
		kind:  fncache.KindRefusesWrites,
	},
	{
		name:  "became a replica (READONLY)",
		loses: true, // it copies the other server, which is empty
		begin: func(s *scene) {
			s.spare = redistest.Start(s.t)
			s.do("REPLICAOF", "127.0.0.1", s.spare.Addr()[len("127.0.0.1:"):])
		},
		heal:    func(s *scene) { s.do("REPLICAOF", "NO", "ONE") },
		kind:    fncache.KindReadOnly,
		refused: true,
	},
	// The user.
	{
		name:    "user may not run scripts (NOPERM)",
		begin:   func(s *scene) { s.do("ACL", "SETUSER", user, "-@scripting") },
		heal:    (*scene).allow,
		kind:    fncache.KindNoPerm,
		refused: true, keeps: true,
	},
	{
		name:  "user may not SET in scripts (NOPERM)",
		begin: func(s *scene) { s.do("ACL", "SETUSER", user, "-set") },
		heal:  (*scene).allow,
		kind:  fncache.KindNoPerm,
	},
	{
		name:  "user may not DEL in scripts (NOPERM)",
		begin: func(s *scene) { s.do("ACL", "SETUSER", user, "-del") },
		heal:  (*scene).allow,
		kind:  fncache.KindNoPerm,
	},
	{
		name:  "user may not read (NOPERM)",
		begin: func(s *scene) { s.do("ACL", "SETUSER", user, "-get") },
		heal:  (*scene).allow,
		kind:  fncache.KindNoPerm,
	},
	{
		name: "password changed (WRONGPASS)",
		begin: func(s *scene) {
			s.do("ACL", "SETUSER", user, "resetpass", ">another")
			s.do("CLIENT", "KILL", "USER", user)
		},
		heal:    (*scene).allow,
		kind:    fncache.KindAuth,
		refused: true,
	},
	// The network.
	{
		name:    "cut",
		begin:   func(s *scene) { s.net.cut() },
		heal:    func(s *scene) { s.net.mend() },
		kind:    fncache.KindUnreachable,
		refused: true,
	},
	toxic("slow", fncache.KindTimeout, "latency", "downstream", `"latency": 1000`),
	slowed("0.5x", redisTimeout/2),
	slowed("1.5x", redisTimeout*3/2),
	slowed("2x", redisTimeout*2),
	toxic("uneven", 0, "latency", "downstream", `"latency": 150, "jitter": 150`).lasting(100 * time.Millisecond),
	toxic("half-open: replies are lost", fncache.KindTimeout, "timeout", "downstream", `"timeout": 0`),
	toxic("half-open: commands are lost", fncache.KindTimeout, "timeout", "upstream", `"timeout": 0`),
	toxic("narrow", 0, "bandwidth", "downstream", `"rate": 1`).lasting(40 * time.Millisecond),
	toxic("reset at the first reply", fncache.KindUnreachable, "reset_peer", "downstream", `"timeout": 0`),
	toxic("reset at the first command", fncache.KindUnreachable, "reset_peer", "upstream", `"timeout": 0`),
	toxic("closed in the middle of the first reply", fncache.KindUnreachable, "limit_data", "downstream", `"bytes": 100`),
	{
		name: "slow, and one connection for all",
		pool: 1,
		begin: func(s *scene) {
			s.net.poison("latency", "downstream", fmt.Sprintf(`"latency": %d`, (redisTimeout/2).Milliseconds()))
		},
		heal: func(s *scene) { s.net.mend() },
		slow: redisTimeout / 2, // one answer that a busy machine delays counts as silence here
	},
}

func TestFaultEveryCallIsAnsweredAndCachingResumes(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			fault.play(t, fncache.DownCompute, noErrors)
		})
	}
}

func TestFaultUnderDownErrorIsAnErrorThatSaysWhich(t *testing.T) {
	for _, fault := range faults {
		if fault.refused {
			t.Run(fault.name, func(t *testing.T) {
				t.Parallel()
				fault.play(t, fncache.DownError, redisDown)
			})
		}
	}
}

// play causes the fault under a fleet, and heals it.
func (f fault) play(t *testing.T, policy fncache.DownPolicy, allowed func(error) bool) {
	s := &scene{t: t, server: redistest.Start(t, append([]string{"--enable-debug-command", "yes"}, f.args...)...)}
	s.net, s.admin = newNetwork(t, s.server.Addr()), s.server.Client()
	s.hook = &between{do: func() { s.do("SCRIPT", "FLUSH") }}
	s.allow()
	fleet := newFleet(t, plan{policy: policy, bound: f.bound, pace: invalidationPace, connect: func() redis.UniversalClient {
		client := redis.NewClient(&redis.Options{
			Addr: s.net.addr(), Username: user, Password: password, PoolSize: f.pool,
			ContextTimeoutEnabled: true, // so that hooks see everything
			// With these a call that waits for go-redis waits so long that the test notices it.
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, DialTimeout: time.Minute, PoolTimeout: time.Minute,
		})
		client.AddHook(s.hook)
		return client
	}})
	lost := func() {}
	if f.loses {
		lost = fleet.watch.losing()
	}
	if f.begin != nil {
		f.begin(s)
		lost() // leases that are granted from now on are kept
	}
	begun := time.Now()
	fleet.watch.timeLookups()
	if f.older {
		fleet.watch.forget()
	}
	f.during(s, func() {
		if policy == fncache.DownError {
			if f.keeps {
				lost := fleet.watch.losing()
				s.do("FLUSHALL")
				lost()
			}
			fleet.awaitRefusals(f.kind, keys...)
		}
		fleet.awaitAnswers("during the fault")
		if f.slow != 0 {
			fleet.awaitSlow(f.slow)
		}
		if f.kind != 0 {
			fleet.awaitCounted(f.kind)
		}
		if f.lives {
			fleet.awaitLeases("during the fault", keys...)
			fleet.checkLeased(begun, keys...)
		}
		if f.late {
			fleet.awaitCallsAfter(begun.Add(foundOut))
		}
	})
	healed := time.Now()
	if f.heal != nil {
		f.heal(s)
	}
	if f.again != nil {
		lost()
		require.Positive(t, s.hits.Load(), "the fault has hit something")
	}
	fleet.awaitCaching("after the fault")
	if f.kind != 0 {
		fleet.checkLoggedOnce(f.kind)
	}
	fleet.check(allowed, s.admin)
	if f.late {
		fleet.checkNoWait(begun.Add(foundOut), healed, keys...)
	}
}

// during repeats the fault while it waits for the fleet.
func (f fault) during(s *scene, wait func()) {
	if f.again == nil {
		wait()
		return
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				f.again(s)
				time.Sleep(10 * time.Millisecond) // a pause in which the fleet makes progress between two faults
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	wait()
}
