package fncache

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/ping"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
)

// The lease protocol has one script for each verb. Each script is one atomic step, and names its
// keys and arguments in its head. A script that arrives twice has the same effect as once,
// because a command is sent again if its connection broke or its answer was late.
var (
	//go:embed lock_acquire.lua
	acquireLua string
	//go:embed lock_renew.lua
	renewLua string
	//go:embed lock_store.lua
	storeLua string
	//go:embed lock_keep.lua
	keepLua string
	//go:embed lock_cooldown.lua
	coolDownLua string
	//go:embed lock_release.lua
	releaseLua string
	//go:embed lock_invalidate.lua
	invalidateLua string
	//go:embed lock_expire.lua
	expireLua string
	//go:embed lock_register.lua
	registerLua string
	//go:embed lock_releases.lua
	releasesLua string
	//go:embed lock_probe.lua
	probeLua string

	acquireScript    = remote.NewScript(acquireLua)
	renewScript      = remote.NewScript(renewLua)
	storeScript      = remote.NewScript(storeLua)
	keepScript       = remote.NewScript(keepLua)
	coolDownScript   = remote.NewScript(coolDownLua)
	releaseScript    = remote.NewScript(releaseLua)
	invalidateScript = remote.NewScript(invalidateLua)
	expireScript     = remote.NewScript(expireLua)
	registerScript   = remote.NewScript(registerLua)
	releasesScript   = remote.NewScript(releasesLua)
	probeScript      = remote.NewScript(probeLua)
)

// A lockStore sends the commands of the protocol to one Redis. tags.go and invalidate.go send those about tags.
type lockStore struct {
	client  redis.UniversalClient
	remote  remote.Observed // sends the commands
	timeout time.Duration   // of one operation, from sending to the answer
	channel string          // the prefix of all channels of events; see channelOf
	spawn   func(func())    // starts a goroutine that Close waits for
	closing <-chan struct{} // closed when the cache is being closed

	unpublished func(channel string, why error) // called if an event could not be published; may be nil

	forgotten func(op string) // called if a server has forgotten a script; may be nil

	group *remote.Group // sends the next command with those of others; nil: alone
}

// The names of operations.
const (
	opLookup     = "lookup"
	opAcquire    = "acquire"
	opStore      = "store"
	opInvalidate = "invalidate"
	opExpire     = "expire"
	opRegister   = "register"
	opReleases   = "releases"
	opPing       = ping.Op
	opTime       = "time"
)

// newToken returns the token of a lease that no process holds, for Ping. Computations have tokens
// of package holder. A token is at least 26 letters of base32: by that form lock_acquire.lua
// recognizes the locks of this protocol.
func newToken() string { return rand.Text() }

// A sentToken is the token as an argument of acquire. go-redis marshals it each time that it
// sends the command, so that each sending has a different token: see lock_acquire.lua.
type sentToken struct {
	base     string
	sendings atomic.Int64
	first    time.Time // when the first sending began; valid if there is an answer
}

// MarshalBinary returns the token of the next sending.
func (t *sentToken) MarshalBinary() ([]byte, error) {
	n := t.sendings.Add(1)
	if n == 1 {
		t.first = time.Now()
		return []byte(t.base), nil
	}
	return fmt.Appendf(nil, "%s.%d", t.base, n), nil
}

// These methods send a command, and each uses the one before it: ask, do (its error is for users), eval
// (runs a script), step (runs a script of the lease, and returns its status), holds (reports whether the
// lease was held). Lookups do not use them: they go to the remote's Do, Both and GetAll.

// ask sends a command. The error is the error of ctx, or a *remote.Error.
func (s *lockStore) ask(ctx context.Context, op string, c *remote.Command) (err error) {
	err = s.remote.DoWith(ctx, s.group, c)
	s.noteForgot(op, c)
	return err
}

func (s *lockStore) noteForgot(op string, c *remote.Command) {
	if c.Forgot() && s.forgotten != nil {
		s.forgotten(op)
	}
}

// askAll sends commands together. The errors are those of do.
func (s *lockStore) askAll(ctx context.Context, op string, cmds []*remote.Command) []error {
	errs := s.remote.All(ctx, cmds)
	for i, c := range cmds {
		s.noteForgot(op, c)
		errs[i] = redisErrorOf(errs[i])
	}
	return errs
}

// do sends a command. The error is the error of ctx, or a *RedisError.
func (s *lockStore) do(ctx context.Context, op string, c *remote.Command) error {
	return redisErrorOf(s.ask(ctx, op, c))
}

// channelOf returns the channel for events about the key of an entry: the channel of its
// function.
func (s *lockStore) channelOf(key string) string { return s.channel + functionOf(key) }

// eval runs a script on the node of the first key.
func (s *lockStore) eval(ctx context.Context, op string, script *remote.Script, limit remote.Limits, keys []string, args ...any) (reply any, err error) {
	c := remote.Eval(op, remote.Writes, script, keys, args, limit)
	if err = s.do(ctx, op, c); err != nil {
		return nil, err // the reply must not be read: the command may still be under way
	}
	return c.Reply(), nil
}

// errWrongType is the reason of a miss if another program wrote the key.
var errWrongType = errors.New("the key holds another Redis type than a string")

// lookup reads an entry. expect is its expected size in bytes. raw is nil if there is no entry.
// The error is errWrongType if the key holds another Redis type.
func (s *lockStore) lookup(ctx context.Context, key string, expect int) (raw []byte, err error) {
	get := remote.Get(opLookup, key, remote.Limits{Expect: expect})
	return lookedUp(get, s.remote.Do(ctx, get))
}

// lookedUp returns the outcome of a command that reads an entry.
func lookedUp(get *remote.Command, err error) (raw []byte, _ error) {
	if err != nil {
		return nil, lookupError(err)
	}
	return get.Raw(), nil
}

// lookupError returns the error of a lookup for the error of its command, which may be nil.
func lookupError(err error) error {
	if err != nil && wrongType(err) {
		return errWrongType
	}
	return redisErrorOf(err)
}

// An acquireMode says whether acquire compares the entry with the one that the caller has seen.
type acquireMode string

const (
	acquireCompare acquireMode = "compare" // return an entry that the caller has not seen
	acquireRefresh acquireMode = "refresh" // do not compare the entry
)

// An acquireStatus is the answer of acquire.
type acquireStatus string

const (
	leaseAcquired acquireStatus = "acquired" // the caller has the lease
	leaseHeld     acquireStatus = "held"     // another caller has it
	entryChanged  acquireStatus = "changed"  // there is an entry that the caller has not seen
)

// An acquisition is the result of acquire.
type acquisition struct {
	status  acquireStatus
	present bool          // the entry is still there (leaseAcquired, leaseHeld)
	foreign bool          // the key holds another Redis type than a string (leaseAcquired)
	token   string        // the token of the lease (leaseAcquired)
	until   time.Time     // when the lease ends if it is not renewed (leaseAcquired)
	holder  string        // the value of the lock (leaseHeld)
	left    time.Duration // the remaining life of the lock (leaseHeld)
	open    bool          // the lock has no holder, because the last value could not be stored (leaseHeld)
	raw     []byte        // the entry (entryChanged)
}

// An acquiring is one acquire that is sent.
type acquiring struct {
	*remote.Command
	key   string
	sent  *sentToken
	lease time.Duration
}

// acquire asks for the lease on an entry. seen is the entry that the caller read, or nil;
// servable reports whether that entry is stale and can be served. If ctx ends while the command
// is under way, acquire waits for its answer; if it ends before, the error is that of ctx. If a
// command that failed may have been granted the lease, the lease is released in the background.
func (s *lockStore) acquire(ctx context.Context, key, token string, lease time.Duration, mode acquireMode, seen []byte, servable bool) (acquisition, error) {
	a := newAcquiring(key, token, lease, mode, seen, servable)
	return s.acquired(ctx, a, s.do(ctx, opAcquire, a.Command))
}

func newAcquiring(key, token string, lease time.Duration, mode acquireMode, seen []byte, servable bool) acquiring {
	flag := "0"
	if servable {
		flag = "1"
	}
	if len(seen) > envelopeHeaderLen {
		seen = seen[:envelopeHeaderLen]
	}
	sent := &sentToken{base: token}
	c := remote.Eval(opAcquire, remote.Writes, acquireScript, []string{key, key + lockSuffix},
		[]any{sent, millis(lease), string(mode), seen, flag}, remote.Limits{Stay: true})
	return acquiring{c, key, sent, lease}
}

// acquired takes the outcome of an acquire.
func (s *lockStore) acquired(ctx context.Context, a acquiring, err error) (acquisition, error) {
	if err == nil {
		got, err := parseAcquisition(a.Reply())
		if got.status == leaseAcquired {
			got.until = a.sent.first.Add(a.lease)
		}
		return got, err
	}
	if mayHaveRun(err) { // and may have been granted the lease
		until := time.Now().Add(max(a.lease, leastGiveBack))
		s.spawn(func() { s.giveBack(context.WithoutCancel(ctx), a.key, a.sent.base, until) })
	}
	return acquisition{}, err
}

// parseAcquisition reads the reply of lock_acquire.lua.
func parseAcquisition(answer any) (acquisition, error) {
	reply, _ := answer.([]any)
	var a acquisition
	if len(reply) >= 2 {
		status, _ := reply[0].(string)
		a.status = acquireStatus(status)
	}
	switch {
	case a.status == leaseAcquired && len(reply) == 3:
		a.present, a.foreign = reply[1] == int64(1), reply[1] == int64(2)
		a.token, _ = reply[2].(string)
		return a, nil
	case a.status == leaseHeld && len(reply) == 4:
		a.holder, _ = reply[1].(string)
		a.open = strings.HasPrefix(a.holder, markOpen)
		ms, _ := reply[2].(int64)
		a.left = time.Duration(ms) * time.Millisecond
		a.present = reply[3] == int64(1)
		return a, nil
	case a.status == entryChanged:
		raw, _ := reply[1].(string)
		a.raw = []byte(raw)
		return a, nil
	}
	return a, unexpectedReply("lock_acquire.lua", len(reply))
}

// millis returns d in milliseconds, rounded up. It returns at least 1, because Redis refuses 0.
func millis(d time.Duration) int64 {
	whole := d.Milliseconds()
	if d%time.Millisecond > 0 && whole < math.MaxInt64/int64(time.Millisecond) { // so that it still is a Duration
		whole++
	}
	return max(1, whole)
}

// The verbs below report whether the lease was held until the step was done.

// urgent limits the steps of a lease that is held: they are sent before lookups and acquires. If
// they had to wait for these, a busy process would be granted more leases than it can end before
// they expire, and its results would not be stored.
var urgent = remote.Limits{Urgent: true}

// renew extends the lease to its whole life.
func (s *lockStore) renew(ctx context.Context, key, token string, lease time.Duration) (held bool, err error) {
	return s.holds(ctx, "renew", renewScript, urgent, []string{key + lockSuffix}, token, millis(lease),
		s.channelOf(key), events.Event{Verb: events.Release, Key: key, ID: token}.String())
}

// store writes the envelope with its timeout, and releases the lease.
// late bounds how often the command is sent without an answer in time.
func (s *lockStore) store(ctx context.Context, key, token string, e *envelope, raw []byte, timeout time.Duration, late int) (held bool, err error) {
	id := e.idBytes()
	return s.holds(ctx, opStore, storeScript, remote.Limits{Urgent: true, Late: int16(late)}, []string{key, key + lockSuffix},
		token, raw, timeout.Milliseconds(), id[:], s.channelOf(key), events.Event{Verb: events.Store, Key: key, ID: events.StoreID(e.id)}.String(),
		events.Event{Verb: events.Release, Key: key, ID: token}.String())
}

// keep replaces the part before the body of the entry with the id old, and releases the lease. gone
// reports that the lease is held, and that the key has another entry or none.
func (s *lockStore) keep(ctx context.Context, key, token string, old [8]byte, e *envelope, head []byte, timeout time.Duration) (held, gone bool, err error) {
	id := e.idBytes()
	status, err := s.step(ctx, opStore, keepScript, urgent, []string{key, key + lockSuffix},
		token, old[:], head, timeout.Milliseconds(), id[:], s.channelOf(key), events.Event{Verb: events.Store, Key: key, ID: events.StoreID(e.id)}.String(),
		events.Event{Verb: events.Release, Key: key, ID: token}.String())
	return status == stepHeld, status == stepGone, err
}

// The prefixes of the token in a lock without a holder.
const (
	markCool = "cool:" // a stale entry is served instead of computing
	markOpen = "open:" // callers compute without a lease
)

// coolDown keeps the lock for d without a holder, while a stale entry is served.
func (s *lockStore) coolDown(ctx context.Context, key, token string, d time.Duration) (held bool, err error) {
	return s.unhold(ctx, key, token, d, markCool, events.CoolDown)
}

// leaveOpen keeps the lock for d without a holder, while callers compute without a lease.
func (s *lockStore) leaveOpen(ctx context.Context, key, token string, d time.Duration) (held bool, err error) {
	return s.unhold(ctx, key, token, d, markOpen, events.Open)
}

func (s *lockStore) unhold(ctx context.Context, key, token string, d time.Duration, mark string, why events.Verb) (held bool, err error) {
	return s.holds(ctx, "cooldown", coolDownScript, urgent, []string{key + lockSuffix},
		token, millis(d), s.channelOf(key), events.Event{Verb: why, Key: key, ID: token}.String(),
		events.Event{Verb: events.Release, Key: key, ID: token}.String(), mark)
}

// release gives the lease back. why is the event for callers that wait for it: events.Release
// or events.Failed.
func (s *lockStore) release(ctx context.Context, key, token string, why events.Verb) (held bool, err error) {
	return s.holds(ctx, "release", releaseScript, urgent, []string{key + lockSuffix},
		token, s.channelOf(key), events.Event{Verb: why, Key: key, ID: token}.String())
}

// giveBack releases a lease that is not used, or that may have been granted by a command whose
// answer was lost: without it no caller could compute the key until the lease expires. It tries
// until Redis has answered, or the lease has expired.
//
// The order of events that needs a second answer:
//  1. acquire is sent, the server stops, and the connection is closed;
//  2. the server continues, and answers the release on another connection: not held;
//  3. it reads acquire, and grants the lease.
func (s *lockStore) giveBack(ctx context.Context, key, token string, until time.Time) {
	limit, answered := urgent, false
	for wait := storeAgainMin; ; wait = min(2*wait, storeAgainMax) {
		held, err := s.holds(ctx, "release", releaseScript, limit, []string{key + lockSuffix},
			token, s.channelOf(key), events.Event{Verb: events.Release, Key: key, ID: token}.String())
		if held || answered && err == nil || err != nil && !worthAnotherTry(err) || limit.Always || !time.Now().Add(wait).Before(until) {
			return
		}
		answered = answered || err == nil
		limit.Always = !s.pause(wait) // if the cache is being closed: once more, even if the node is away
	}
}

// pause waits, and returns false at once if the cache is being closed.
func (s *lockStore) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}

// leastGiveBack is how long giveBack tries at least, because a server that stopped may read the
// command when it continues.
const leastGiveBack = time.Minute

// holds runs the script of a step, and reports whether the lease was held.
func (s *lockStore) holds(ctx context.Context, op string, script *remote.Script, limit remote.Limits, keys []string, args ...any) (held bool, err error) {
	status, err := s.step(ctx, op, script, limit, keys, args...)
	return status == stepHeld, err
}

// A stepStatus is the answer of a step. Any other than these two means that the lease is lost.
type stepStatus string

const (
	stepHeld stepStatus = "held" // the lease was held until the step was done
	stepGone stepStatus = "gone" // it was held, but the entry to keep is not there any more
)

// step runs the script of a step, and returns its status.
func (s *lockStore) step(ctx context.Context, op string, script *remote.Script, limit remote.Limits, keys []string, args ...any) (status stepStatus, err error) {
	key := strings.TrimSuffix(keys[0], lockSuffix)
	reply, err := s.eval(ctx, op, script, limit, keys, args...)
	if err != nil {
		return "", err
	}
	return s.stepDone(key, reply)
}

// stepDone reads the reply of a step on the entry of a key, and returns its status.
func (s *lockStore) stepDone(key string, reply any) (status stepStatus, err error) {
	status, refused, err := stepReply(reply)
	if refused != nil && s.unpublished != nil {
		s.unpublished(s.channelOf(key), refused)
	}
	return status, err
}

// stepReply reads the reply of a step's script. status says whether the lease was held, and
// refused why the event could not be published.
func stepReply(reply any) (status stepStatus, refused, err error) {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return "", nil, unexpectedReply("a script", len(parts))
	}
	text, _ := parts[0].(string)
	status = stepStatus(text)
	if why, _ := parts[1].(string); why != "" {
		refused = publishRefused(why)
	}
	return status, refused, nil
}

// leastPingLease is the least expiry of the keys of Ping: they must not expire between its
// commands.
const leastPingLease = time.Second

// pingScripts returns checks that run the protocol on a key that no function uses, so that every
// command in it is called. They need a primary, and the right to run scripts and these commands,
// and to publish. Keys that a failed check leaves in Redis expire, except Ping's own registry,
// which the next Ping deletes.
func (s *lockStore) pingScripts(probe string) (checks []ping.Check) {
	token, lease := newToken(), millis(max(s.timeout, leastPingLease))
	registry := []string{strings.Replace(probe, ":{", ":functions:{", 1)} // in the same slot
	fences := []string{strings.Replace(probe, ":{", ":fence:{", 1)}       // in the same slot
	probe += ":" + token                                                  // in the same slot
	entry, lock := []string{probe, probe + lockSuffix}, []string{probe + lockSuffix}
	stored := envelope{codec: codecCBOR, id: 1}
	id, released := stored.idBytes(), events.Event{Verb: events.Release, Key: probe, ID: token}.String()
	for i, step := range []struct {
		script *remote.Script
		keys   []string
		args   []any
	}{
		{acquireScript, entry, []any{token, lease, string(acquireRefresh), "", "0"}},      // the whole script, as for a server that does not know it
		{acquireScript, entry, []any{newToken(), lease, string(acquireCompare), "", "0"}}, // the lease is held: the script asks for its remaining life
		{renewScript, lock, []any{token, lease, s.channelOf(probe), events.Event{Verb: events.Release, Key: probe, ID: token}.String()}},
		{registerScript, registry, []any{"former", "-", 0, 0, 1, 0}},
		{registerScript, registry, []any{"latter", "-", 0, 0, 1, 0}}, // one more than the limit: the former is removed
		{releasesScript, registry, nil},
		{probeScript, registry, nil},
		{storeScript, entry, []any{token, stored.appendTo(nil), lease, id[:], s.channelOf(probe), released, released}},
		{expireScript, entry, []any{s.channelOf(probe)}},
		{probeScript, entry[:1], nil},
		// Two tags are one more than the limit: the first is removed.
		{fenceInvalidateScript, fences, append(fence.Known{}.Args(), string(fence.Hard), s.channelOf(probe), 0, 1, "former")},
		{fenceInvalidateScript, fences, append(fence.Known{}.Args(), string(fence.Hard), s.channelOf(probe), 0, 1, "latter")},
		{fenceReadScript, fences, fence.ReadArgs(fence.Known{}, true, nil)},
		{probeScript, fences, nil},
	} {
		checks = append(checks, func(ask func(*remote.Command) error) error {
			return ping.Script(ask(remote.Eval(opPing, remote.Writes, step.script, step.keys, step.args, remote.Limits{Always: true, Whole: i == 0})))
		})
	}
	for _, words := range [][]any{{"mget", probe}, {"hmget", fences[0], "e", "c", "f"}} {
		checks = append(checks, func(ask func(*remote.Command) error) error {
			return ping.Script(ask(remote.Plain(opPing, words[1].(string), remote.Reads, remote.Limits{Always: true}, words...)))
		})
	}
	return append(checks, func(ask func(*remote.Command) error) error {
		release := remote.Eval(opPing, remote.Writes, releaseScript, lock,
			[]any{token, s.channelOf(probe), events.Event{Verb: events.Release, Key: probe, ID: token}.String()}, remote.Limits{Always: true})
		if err := ask(release); err != nil {
			return ping.Script(err)
		}
		_, refused, err := stepReply(release.Reply())
		if refused != nil {
			return &ping.Error{What: "publishing is not allowed to this user", Cause: refused, Remedy: fmt.Sprintf(
				"; grant it +publish and the channels &%s*, otherwise other processes do not learn what this process stores and invalidates", s.channel)}
		}
		return err
	})
}

// register notes a release of a function (releases.Noted) in the function's registry, which
// keeps it for the duration keep. Releases whose time ends before outdated are removed. missing
// reports whether the registry did not have the release.
func (s *lockStore) register(ctx context.Context, registry, sig, noted string, now, outdated time.Time, keep time.Duration) (missing bool, err error) {
	n, err := s.eval(ctx, opRegister, registerScript, urgent, []string{registry},
		sig, noted, now.Unix(), now.Add(keep).Unix(), releases.Most, outdated.Unix())
	return n == int64(1), err
}

// releases returns the releases in a registry.
func (s *lockStore) releases(ctx context.Context, registry string) ([]releases.Record, error) {
	reply, err := s.eval(ctx, opReleases, releasesScript, remote.Limits{Always: true}, []string{registry})
	all, _ := reply.([]any)
	return releases.Records(all), err
}

// serverTime asks the server for its clock. It uses a plain command, because some hosted
// services refuse TIME inside scripts.
func (s *lockStore) serverTime(ctx context.Context) (time.Time, error) {
	c := remote.Plain(opTime, "", remote.Reads, remote.Limits{}, "time")
	if err := s.do(ctx, opTime, c); err != nil {
		return time.Time{}, err
	}
	var seconds, micros int64
	var err error
	if parts, _ := c.Reply().([]any); len(parts) == 2 {
		seconds, err = strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
		if err == nil {
			micros, err = strconv.ParseInt(fmt.Sprint(parts[1]), 10, 64)
		}
	} else {
		err = unexpectedReply("TIME", len(parts))
	}
	if err != nil {
		return time.Time{}, newRedisError(opTime, "", err)
	}
	return time.Unix(seconds, 1000*micros), nil
}
