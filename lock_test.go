package fncache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
)

// verbs is a lockStore with the test's key, and a client to look with.
type verbs struct {
	*lockStore
	raw redis.UniversalClient
	t   *testing.T
	ctx context.Context
	key string
}

func newVerbs(t *testing.T, client, raw redis.UniversalClient) *verbs {
	// Or the first acquire would be sent twice, and hold the token of the second.
	require.NoError(t, raw.ScriptLoad(t.Context(), acquireLua).Err())
	way := remote.New(remote.Config{Client: client, Timeout: 5 * time.Second})
	t.Cleanup(way.Close)
	s := &lockStore{
		client: client, remote: remote.Observed{Remote: way}, timeout: 5 * time.Second, channel: "fncache:events:",
		spawn: func(f func()) { go f() },
	}
	return &verbs{s, raw, t, t.Context(), "fncache:{" + t.Name() + "}"}
}

func newCacheOfVerbs(t *testing.T, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

const testLease = time.Minute

func (v *verbs) acquire(token string, seen string, servable bool) acquisition {
	v.t.Helper()
	a, err := v.lockStore.acquire(v.ctx, v.key, token, testLease, acquireCompare, []byte(seen), servable)
	return v.acquisition(a, err)
}

// acquisition checks until when a lease that was granted is good, and leaves that out.
func (v *verbs) acquisition(a acquisition, err error) acquisition {
	v.t.Helper()
	require.NoError(v.t, err)
	if a.status == leaseAcquired {
		assert.InDelta(v.t, testLease, time.Until(a.until), float64(10*time.Second))
	}
	a.until = time.Time{}
	return a
}

func (v *verbs) refresh(token string) acquisition {
	v.t.Helper()
	a, err := v.lockStore.acquire(v.ctx, v.key, token, testLease, acquireRefresh, nil, false)
	return v.acquisition(a, err)
}

func (v *verbs) store(token string, id uint64) bool {
	v.t.Helper()
	e := envelope{codec: codecCBOR, storedAt: 1, id: id, body: []byte{0x80}}
	held, err := v.lockStore.store(v.ctx, v.key, token, &e, e.appendTo(nil), time.Hour, maxLateStores)
	require.NoError(v.t, err)
	return held
}

// step runs a verb that answers whether the lease was held.
func (v *verbs) step(held bool, err error) bool {
	v.t.Helper()
	require.NoError(v.t, err)
	return held
}

func (v *verbs) lock() string {
	lock, err := v.raw.Get(v.ctx, v.key+lockSuffix).Result()
	if errors.Is(err, redis.Nil) {
		return ""
	}
	require.NoError(v.t, err)
	return lock
}

func (v *verbs) entry() string {
	entry, err := v.raw.Get(v.ctx, v.key).Result()
	if errors.Is(err, redis.Nil) {
		return ""
	}
	require.NoError(v.t, err)
	return entry
}

// onVerbs runs each test on every server, with a key of its own.
func onVerbs(t *testing.T, tests map[string]func(t *testing.T, v *verbs)) {
	t.Helper()
	redistest.OnServers(t, func(t *testing.T, server *redistest.Backend) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) { test(t, newVerbs(t, server.Client(), server.Raw)) })
		}
	})
}

func TestAcquireComparesWhatTheCallerSaw(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"acquire on nothing": func(t *testing.T, v *verbs) {
			assert.Equal(t, acquisition{status: leaseAcquired, token: "me"}, v.acquire("me", "", false))
			assert.Equal(t, "me", v.lock())
			left := v.raw.PTTL(v.ctx, v.key+lockSuffix).Val()
			assert.InDelta(t, testLease, left, float64(10*time.Second))
		},
		"acquire while held": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			a := v.acquire("me", "", false)
			assert.Equal(t, leaseHeld, a.status)
			assert.Equal(t, "you", a.holder)
			assert.InDelta(t, testLease, a.left, float64(10*time.Second))
			assert.False(t, a.present)
		},
		"acquire what the caller saw": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			assert.Equal(t, acquisition{status: leaseAcquired, present: true, token: "me"}, v.acquire("me", v.entry(), true))
		},
		"acquire gives back what the caller did not see": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			assert.Equal(t, acquisition{status: entryChanged, raw: []byte(v.entry())}, v.acquire("me", "", false))
			assert.Empty(t, v.lock())
		},
		"acquire with the entry gone": func(t *testing.T, v *verbs) {
			assert.Equal(t, acquisition{status: leaseAcquired, present: false, token: "me"}, v.acquire("me", "what was seen", true))
		},
		"acquire while held with the entry gone": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			a := v.acquire("me", "what was seen", true)
			assert.Equal(t, leaseHeld, a.status)
			assert.False(t, a.present)
		},
		"refresh does not compare": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			assert.Equal(t, acquisition{status: leaseAcquired, present: true, token: "me"}, v.refresh("me"))
		},
		"garbage counts as seen": func(t *testing.T, v *verbs) {
			v.raw.Set(v.ctx, v.key, "garbage", 0)
			assert.Equal(t, entryChanged, v.acquire("me", "", false).status)
			assert.Equal(t, leaseAcquired, v.acquire("me", "garbage", false).status)
			assert.True(t, v.store("me", 1))
			assert.Len(t, v.entry(), envelopeHeaderLen+1)
		},
	})
}

func TestAcquireReplacesWhatIsNoEntryAndNoLock(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"an entry of another type is replaced": func(t *testing.T, v *verbs) {
			v.raw.LPush(v.ctx, v.key, "x")
			_, err := v.lookup(v.ctx, v.key, 0)
			require.ErrorIs(t, err, errWrongType)
			assert.Equal(t, acquisition{status: leaseAcquired, foreign: true, token: "me"}, v.acquire("me", "", false))
			assert.True(t, v.store("me", 1))
			assert.Len(t, v.entry(), envelopeHeaderLen+1)
		},
		"a lock of another type is nobody's": func(t *testing.T, v *verbs) {
			v.raw.LPush(v.ctx, v.key+lockSuffix, "x")
			assert.False(t, v.step(v.renew(v.ctx, v.key, "me", testLease)))
			assert.False(t, v.store("me", 1))
			assert.Equal(t, leaseAcquired, v.acquire("me", "", false).status)
		},
		"a lock without an expiry gets one": func(t *testing.T, v *verbs) {
			v.raw.Set(v.ctx, v.key+lockSuffix, "stray", 0)
			a := v.acquire("me", "", false)
			assert.Equal(t, leaseHeld, a.status)
			assert.Equal(t, testLease, a.left)
			assert.Positive(t, v.raw.PTTL(v.ctx, v.key+lockSuffix).Val())
		},
		"a lock that holds no token lives no longer than a lease": func(t *testing.T, v *verbs) {
			lock, token := v.key+lockSuffix, newToken()
			for _, stray := range []string{
				"garbage", "", "1", strings.ToLower(token), token[1:], token[1:] + ".23", token + ".", token + ".x",
				"x" + token, "COOL:" + token, token + "\n", "\x00" + token, strings.Repeat("0", 1000),
			} {
				v.raw.Set(v.ctx, lock, stray, 365*24*time.Hour)
				a := v.acquire("me", "", false)
				assert.Equal(t, leaseHeld, a.status, "%q", stray)
				assert.Equal(t, testLease, a.left, "%q", stray)
				assert.InDelta(t, testLease, v.raw.PTTL(v.ctx, lock).Val(), float64(10*time.Second))

				v.raw.PExpire(v.ctx, lock, time.Second)
				assert.LessOrEqual(t, v.acquire("me", "", false).left, time.Second, "and is not prolonged")
			}
		},
		"a cooling lock that holds no token lives no longer than a lease": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			for _, stray := range []string{"cool:", "cool:garbage", "cool:cool:" + newToken()} {
				v.raw.Set(v.ctx, v.key+lockSuffix, stray, 365*24*time.Hour)
				assert.Equal(t, testLease, v.acquire("me", v.entry(), true).left, "%q", stray)
			}
		},
		"a lock that holds a token lives as long as its holder may": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			const longer = time.Hour
			for _, token := range []string{
				newToken(), newToken() + ".2", newToken() + ".17", "cool:" + newToken(), "cool:" + newToken() + ".2", newToken() + newToken(),
				"open:" + newToken(), "open:" + newToken() + ".3",
			} {
				v.raw.Set(v.ctx, v.key+lockSuffix, token, longer)
				a := v.acquire("me", v.entry(), true)
				assert.Equal(t, leaseHeld, a.status, token)
				assert.InDelta(t, longer, a.left, float64(10*time.Second), token)
				assert.InDelta(t, longer, v.raw.PTTL(v.ctx, v.key+lockSuffix).Val(), float64(10*time.Second), token)
			}
		},
	})
}

func TestStepsOfAHolderNeedTheLease(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"renew": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			v.raw.PExpire(v.ctx, v.key+lockSuffix, 10*time.Second)
			assert.True(t, v.step(v.renew(v.ctx, v.key, "me", testLease)))
			assert.InDelta(t, testLease, v.raw.PTTL(v.ctx, v.key+lockSuffix).Val(), float64(10*time.Second))
			assert.False(t, v.step(v.renew(v.ctx, v.key, "you", testLease)))
		},
		"store": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.True(t, v.store("me", 1))
			assert.Empty(t, v.lock())
			assert.InDelta(t, time.Hour, v.raw.PTTL(v.ctx, v.key).Val(), float64(10*time.Second))
		},
		"store without the lease writes nothing": func(t *testing.T, v *verbs) {
			assert.False(t, v.store("me", 1))
			v.acquire("you", "", false)
			assert.False(t, v.store("me", 1))
			assert.Empty(t, v.entry())
			assert.Equal(t, "you", v.lock())
		},
		"release": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.False(t, v.step(v.release(v.ctx, v.key, "you", events.Release)))
			assert.Equal(t, "me", v.lock())
			assert.True(t, v.step(v.release(v.ctx, v.key, "me", events.Release)))
			assert.Empty(t, v.lock())
		},
		"invalidate": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			v.acquire("me", v.entry(), true)
			require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
			assert.Empty(t, v.entry()+v.lock())
			assert.False(t, v.store("me", 2), "it cannot bring the old value back")
			require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}), "of nothing")
		},
	})
}

func TestLocksThatAreOpenOrCoolDown(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"cool down": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			v.acquire("me", v.entry(), true)
			assert.True(t, v.step(v.coolDown(v.ctx, v.key, "me", testLease)))
			assert.Equal(t, "cool:me", v.lock())
			assert.False(t, v.step(v.renew(v.ctx, v.key, "me", testLease)), "a late renew")
			assert.Equal(t, leaseHeld, v.acquire("third", v.entry(), true).status)
			assert.Equal(t, leaseAcquired, v.acquire("third", v.entry(), false).status, "nothing to live on")
		},
		"cool down without the lease": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			assert.False(t, v.step(v.coolDown(v.ctx, v.key, "me", testLease)))
			assert.Equal(t, "you", v.lock())
		},
		"refresh takes a cooling lock": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.step(v.coolDown(v.ctx, v.key, "you", testLease))
			assert.Equal(t, leaseAcquired, v.refresh("me").status)
		},
		"an open lock": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.True(t, v.step(v.leaveOpen(v.ctx, v.key, "me", testLease)))
			assert.True(t, v.step(v.leaveOpen(v.ctx, v.key, "me", testLease)), "sent again")
			assert.Equal(t, "open:me", v.lock())
			assert.False(t, v.step(v.renew(v.ctx, v.key, "me", testLease)), "a late renew")
			assert.False(t, v.step(v.coolDown(v.ctx, v.key, "me", testLease)))
			assert.False(t, v.store("me", 1))
			a := v.acquire("third", "", false)
			assert.Equal(t, leaseHeld, a.status, "though there is nothing to live on")
			assert.True(t, a.open)
			assert.Equal(t, leaseAcquired, v.refresh("third").status)
		},
		"an open lock without the lease": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			assert.False(t, v.step(v.leaveOpen(v.ctx, v.key, "me", testLease)))
			assert.Equal(t, "you", v.lock())
			assert.False(t, v.acquire("me", "", false).open)
		},
	})
}

func TestAcquireSentTwiceHasTheEffectAndTheAnswerOfOnce(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"acquire": func(t *testing.T, v *verbs) {
			assert.Equal(t, v.acquire("me", "", false), v.acquire("me", "", false))
		},
		"acquire of a stale entry": func(t *testing.T, v *verbs) {
			v.acquire("you", "", false)
			v.store("you", 1)
			assert.Equal(t, v.acquire("me", v.entry(), true), v.acquire("me", v.entry(), true))
		},
		"acquire, the earlier sending last": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.Equal(t, "me.10", v.acquire("me.10", "", false).token)
			assert.Equal(t, "me.10", v.acquire("me.9", "", false).token, "the lease does not go back")
			assert.Equal(t, "me.10", v.lock())
			require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
			v.acquire("me.9", "", false)
			assert.False(t, v.store("me.10", 1), "the lease that was invalidated is not back")
			assert.True(t, v.step(v.release(v.ctx, v.key, "me", events.Release)), "of whichever sending")
		},
	})
}

func TestStepsSentTwiceHaveTheEffectAndTheAnswerOfOnce(t *testing.T) {
	onVerbs(t, map[string]func(t *testing.T, v *verbs){
		"renew": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			for range 2 {
				assert.True(t, v.step(v.renew(v.ctx, v.key, "me", testLease)))
			}
		},
		"store": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			for range 2 {
				assert.True(t, v.store("me", 1))
			}
		},
		"store resent after somebody else acquired": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.True(t, v.store("me", 1))
			v.acquire("you", v.entry(), true)
			assert.True(t, v.store("me", 1))
			assert.Equal(t, "you", v.lock(), "the other's lease is left alone")
			assert.True(t, v.store("you", 2))
			assert.False(t, v.store("me", 1), "and the newer value too")
		},
		"cool down": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			for range 2 {
				assert.True(t, v.step(v.coolDown(v.ctx, v.key, "me", testLease)))
			}
		},
		"release": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			assert.True(t, v.step(v.release(v.ctx, v.key, "me", events.Release)))
			v.acquire("you", "", false)
			assert.False(t, v.step(v.release(v.ctx, v.key, "me", events.Release)), "it answers lost: see lock_release.lua")
			assert.Equal(t, "you", v.lock())
		},
		"invalidate": func(t *testing.T, v *verbs) {
			v.acquire("me", "", false)
			for range 2 {
				require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
			}
		},
	})
}

func TestEveryStepThatEndsALeasePublishesIt(t *testing.T) {
	redistest.OnServers(t, testEveryStepThatEndsALeasePublishesIt)
}

func testEveryStepThatEndsALeasePublishesIt(t *testing.T, server *redistest.Backend) {
	v := newVerbs(t, server.Client(), server.Raw)
	sub := server.Client().Subscribe(t.Context(), v.channelOf(v.key))
	defer func() { _ = sub.Close() }()
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)

	v.acquire("me", "", false)
	v.store("me", 0xbeef)
	v.acquire("me2", v.entry(), true)
	v.step(v.coolDown(v.ctx, v.key, "me2", testLease))
	v.refresh("me3")
	v.step(v.release(v.ctx, v.key, "me3", events.Release))
	v.refresh("me4")
	v.step(v.leaveOpen(v.ctx, v.key, "me4", testLease))
	v.refresh("me5")
	v.step(v.release(v.ctx, v.key, "me5", events.Failed))
	require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
	for _, want := range []string{"store " + v.key + " beef", "cooldown " + v.key + " me2", "release " + v.key + " me3", "open " + v.key + " me4", "failed " + v.key + " me5", "invalidate " + v.key + " -"} {
		message, err := sub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, message.Payload)
	}
}

func TestAStepThatFindsItsLeaseLostPublishesIt(t *testing.T) {
	redistest.OnServers(t, testAStepThatFindsItsLeaseLostPublishesThatNobodyHasIt)
}

func testAStepThatFindsItsLeaseLostPublishesThatNobodyHasIt(t *testing.T, server *redistest.Backend) {
	v := newVerbs(t, server.Client(), server.Raw)
	sub := server.Client().Subscribe(t.Context(), v.channelOf(v.key))
	defer func() { _ = sub.Close() }()
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)

	lostSteps := func() {
		assert.False(t, v.store("stored", 1))
		assert.False(t, v.step(v.renew(v.ctx, v.key, "renewed", testLease)))
		assert.False(t, v.step(v.coolDown(v.ctx, v.key, "cooled", testLease)))
		assert.False(t, v.step(v.release(v.ctx, v.key, "released", events.Release)))
	}
	v.acquire("you", "", false)
	lostSteps() // says nothing: who waits, waits for another holder
	require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
	lostSteps()
	for _, want := range []string{"invalidate " + v.key + " -", "release " + v.key + " stored", "release " + v.key + " renewed", "release " + v.key + " cooled", "release " + v.key + " released"} {
		message, err := sub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, message.Payload)
	}
}

func TestAUserThatMayNotPublishCanStore(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">secret", "~fncache:*", "resetchannels", "+@all").Err())
	client := server.Client(func(o *redis.Options) { o.Username, o.Password = "mute", "secret" })
	require.ErrorContains(t, client.Publish(t.Context(), "fncache:events:x", "x").Err(), "NOPERM")
	v := newVerbs(t, client, admin)
	v.acquire("me", "", false)
	assert.True(t, v.store("me", 1))
	assert.NotEmpty(t, v.entry())
	require.NoError(t, v.overtake(v.ctx, invalidating, []string{v.key}))
}

func TestPingNamesTheCheckThatFailed(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	ping := func(client redis.UniversalClient) error {
		c := newCacheOfVerbs(t, Config{Redis: client, RedisTimeout: 5 * time.Second})
		return c.Ping(t.Context())
	}
	require.NoError(t, ping(server.Client()))
	assert.Zero(t, admin.DBSize(t.Context()).Val(), "nothing is left")

	t.Run("scripts forbidden", func(t *testing.T) {
		require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "noscript", "on", ">secret", "~*", "&*", "+@all", "-@scripting").Err())
		err := ping(server.Client(func(o *redis.Options) { o.Username, o.Password = "noscript", "secret" }))
		require.ErrorIs(t, err, ErrRedisDown)
		assert.ErrorContains(t, err, "scripts are not allowed to this user")
		assert.ErrorContains(t, err, "+evalsha")
	})
	t.Run("a command in scripts forbidden", func(t *testing.T) {
		require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "noset", "on", ">secret", "~*", "&*", "+@all", "-set").Err())
		err := ping(server.Client(func(o *redis.Options) { o.Username, o.Password = "noset", "secret" }))
		assert.ErrorContains(t, err, "scripts are not allowed to this user")
	})
	for _, command := range strings.Fields(strings.ReplaceAll(neededRights[:strings.Index(neededRights, " on ")], "+", "-")) {
		switch command {
		case "-time", "-subscribe", "-unsubscribe": // can be done without
			continue
		}
		t.Run(command, func(t *testing.T) {
			require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "lacking", "reset", "on", ">secret", "~*", "&*", "+@all", command).Err())
			err := ping(server.Client(func(o *redis.Options) { o.Username, o.Password = "lacking", "secret" }))
			var failure *RedisError
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, KindNoPerm, failure.Kind, "%v", err)
			assert.ErrorContains(t, err, "+"+command[1:], "what to do")
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		err := ping(server.Client(func(o *redis.Options) { o.Username, o.Password = "noset", "wrong" }))
		assert.ErrorContains(t, err, "not reachable")
		assert.ErrorContains(t, err, "WRONGPASS")
	})
	t.Run("replica", func(t *testing.T) {
		replica := redistest.StartReplica(t, server)
		err := ping(replica.Client())
		require.ErrorIs(t, err, ErrRedisDown)
		assert.ErrorContains(t, err, "not a primary")
	})
	t.Run("gone", func(t *testing.T) {
		gone := redistest.Start(t)
		client := gone.Client()
		gone.Kill()
		assert.ErrorContains(t, ping(client), "not reachable")
	})
}

func TestEachCheckOfPingWorksByItself(t *testing.T) {
	redistest.OnServers(t, func(t *testing.T, server *redistest.Backend) {
		c := newCacheOfVerbs(t, Config{Redis: server.Client(), RedisTimeout: 100 * time.Microsecond})
		patient := newVerbs(t, server.Client(), server.Client())
		// Each by itself, without the timeout that a real server may exceed.
		for i, check := range c.store.pingScripts(c.pingProbe(0)) {
			require.NoError(t, check(func(cmd *remote.Command) error { return patient.ask(t.Context(), opPing, cmd) }), "script %d", i)
		}
	})
}

func TestLocksLiveForWholeMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-time.Second: 1, 0: 1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, 1500 * time.Microsecond: 2,
		10 * time.Second: 10_000, math.MaxInt64: math.MaxInt64 / 1_000_000,
	} {
		assert.Equal(t, want, millis(d), d)
	}
}

// TestTheKeepScript: each case is one state of the entry and the lock.
func TestTheKeepScript(t *testing.T) {
	redistest.OnServers(t, func(t *testing.T, server *redistest.Backend) {
		c := newCacheOfVerbs(t, Config{Redis: server.Client()})
		ctx := t.Context()
		old := envelope{codec: codecCBOR, id: 1, cost: time.Second, body: []byte("body")}
		next := old
		next.id, next.storedAt, next.body = 2, 99, nil
		const key, token = "fncache:{test.Keep:0}:0", "TOKENTOKENTOKENTOKENTOKENTOKEN"
		for name, test := range map[string]struct {
			entry, lock string
			held, gone  bool
		}{
			"held":                        {string(old.appendTo(nil)), token, true, false},
			"held, and the entry is gone": {"", token, false, true},
			"held, and another entry":     {string((&envelope{codec: codecCBOR, id: 3}).appendTo(nil)), token, false, true},
			"the lease is another's":      {string(old.appendTo(nil)), "other", false, false},
			"the lease is nobody's":       {string(old.appendTo(nil)), "", false, false},
			"sent again":                  {string(next.appendTo(nil)) + "body", "other", true, false},
		} {
			t.Run(name, func(t *testing.T) {
				server.Raw.Del(ctx, key, key+lockSuffix)
				if test.entry != "" {
					server.Raw.Set(ctx, key, test.entry, time.Second)
				}
				if test.lock != "" {
					server.Raw.Set(ctx, key+lockSuffix, test.lock, time.Minute)
				}
				held, gone, err := c.store.keep(ctx, key, token, old.idBytes(), &next, next.appendTo(nil), time.Hour)
				require.NoError(t, err)
				assert.Equal(t, []bool{test.held, test.gone}, []bool{held, gone})
				now := server.Raw.Get(ctx, key).Val()
				if name != "held" {
					assert.Equal(t, test.entry, now, "it is as it was")
					assert.Equal(t, test.lock, server.Raw.Get(ctx, key+lockSuffix).Val())
					return
				}
				assert.Equal(t, string(next.appendTo(nil))+"body", now)
				assert.InDelta(t, time.Hour, server.Raw.PTTL(ctx, key).Val(), float64(time.Minute))
				assert.ErrorIs(t, server.Raw.Get(ctx, key+lockSuffix).Err(), redis.Nil)
				held, gone, err = c.store.keep(ctx, key, token, old.idBytes(), &next, next.appendTo(nil), time.Hour)
				require.NoError(t, err)
				assert.Equal(t, []bool{true, false}, []bool{held, gone}, "sent twice")
			})
		}
	})
}

// releasesFor returns the signatures of the releases that take the same parameters.
func (v *verbs) releasesFor(registry, params string) (sigs []string, err error) {
	all, err := v.releases(v.ctx, registry)
	for _, r := range all {
		if r.Takes(params) {
			sigs = append(sigs, r.Signature)
		}
	}
	return sigs, err
}

// When releases are registered in tests.
var registeredAt = time.Unix(1_800_000_000, 0)

const day = 24 * time.Hour

// onRegistry runs each test on every server, with a registry of its own.
func onRegistry(t *testing.T, tests map[string]func(t *testing.T, v *verbs, registry string)) {
	t.Helper()
	onVerbs(t, map[string]func(t *testing.T, v *verbs){"registry": func(t *testing.T, v *verbs) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				v := &verbs{v.lockStore, v.raw, t, t.Context(), v.key}
				registry := registryKey("fncache", t.Name())
				test(t, v, registry)
				v.raw.Del(v.ctx, registry)
			})
		}
	}})
}

func TestReleasesAreRegisteredAndRead(t *testing.T) {
	onRegistry(t, map[string]func(t *testing.T, v *verbs, registry string){
		"a release is missing once": func(t *testing.T, v *verbs, registry string) {
			for _, want := range []bool{true, false} {
				missing, err := v.register(v.ctx, registry, "a", "p", registeredAt, registeredAt, day)
				require.NoError(t, err)
				assert.Equal(t, want, missing)
			}
			assert.Equal(t, map[string]string{"a": "1800000000 1800086400 p"}, v.raw.HGetAll(v.ctx, registry).Val())
			assert.Equal(t, time.Duration(-1), v.raw.TTL(v.ctx, registry).Val(), "no volatile-* policy evicts it")
		},
		"those of the same parameter types are read": func(t *testing.T, v *verbs, registry string) {
			for sig, params := range map[string]string{"a": "p", "b": "p", "c": "q"} {
				_, err := v.register(v.ctx, registry, sig, params, registeredAt, registeredAt, day)
				require.NoError(t, err)
			}
			v.raw.HSet(v.ctx, registry, "later", "in another form")
			sigs, err := v.releasesFor(registry, "p")
			require.NoError(t, err)
			assert.ElementsMatch(t, []string{"a", "b", "later"}, sigs)
		},
		"it says whose entries have tags": func(t *testing.T, v *verbs, registry string) {
			for sig, hasTags := range map[string]bool{"a": true, "b": false} {
				_, err := v.register(v.ctx, registry, sig, releases.Noted("p", hasTags, releases.Description{}), registeredAt, registeredAt, day)
				require.NoError(t, err)
			}
			v.raw.HSet(v.ctx, registry, "later", "in another form, tagged")
			all, err := v.releases(v.ctx, registry)
			require.NoError(t, err)
			require.Len(t, all, 3)
			for _, r := range all {
				assert.Equal(t, r.Signature == "a", r.Tagged, r.Signature)
				assert.True(t, r.Takes("p"), r.Signature)
				assert.Equal(t, r.Signature == "later", r.Takes("q"), r.Signature)
			}
		},
		"there is none": func(t *testing.T, v *verbs, registry string) {
			sigs, err := v.releasesFor(registry, "p")
			require.NoError(t, err)
			assert.Empty(t, sigs)
		},
		"a key of another type is replaced": func(t *testing.T, v *verbs, registry string) {
			v.raw.Set(v.ctx, registry, "x", 0)
			sigs, err := v.releasesFor(registry, "p")
			require.NoError(t, err)
			assert.Empty(t, sigs)
			missing, err := v.register(v.ctx, registry, "a", "p", registeredAt, registeredAt, day)
			require.NoError(t, err)
			assert.True(t, missing)
		},
	})
}

func TestReleasesAreForgotten(t *testing.T) {
	onRegistry(t, map[string]func(t *testing.T, v *verbs, registry string){
		"one that nobody has registered for long is forgotten": func(t *testing.T, v *verbs, registry string) {
			for sig, keep := range map[string]time.Duration{"short": day, "long": 3 * day} {
				_, err := v.register(v.ctx, registry, sig, "p", registeredAt, registeredAt, keep)
				require.NoError(t, err)
			}
			_, err := v.register(v.ctx, registry, "new", "p", registeredAt.Add(2*day), registeredAt.Add(2*day), day)
			require.NoError(t, err)
			sigs, err := v.releasesFor(registry, "p")
			require.NoError(t, err)
			assert.ElementsMatch(t, []string{"long", "new"}, sigs)
		},
		"the longest time to be kept counts": func(t *testing.T, v *verbs, registry string) {
			for _, keep := range []time.Duration{3 * day, day} {
				_, err := v.register(v.ctx, registry, "a", "p", registeredAt, registeredAt, keep)
				require.NoError(t, err)
			}
			assert.Equal(t, "1800000000 1800259200 p", v.raw.HGet(v.ctx, registry, "a").Val())
		},
		"of too many those go that were seen longest ago": func(t *testing.T, v *verbs, registry string) {
			for i := range releases.Most + 2 {
				_, err := v.register(v.ctx, registry, fmt.Sprint(i), "p", registeredAt.Add(time.Duration(i)*time.Second), registeredAt.Add(time.Duration(i)*time.Second), day)
				require.NoError(t, err)
			}
			sigs, err := v.releasesFor(registry, "p")
			require.NoError(t, err)
			known, err := v.releases(v.ctx, registry)
			require.NoError(t, err)
			assert.Len(t, sigs, releases.Most)
			assert.NotContains(t, sigs, "0")
			assert.NotContains(t, sigs, "1")
			require.NoError(t, v.overtake(v.ctx, invalidating, keysOfReleases(registry+":sig", "p", known)), "so many keys are one script's")
		},
	})
}
