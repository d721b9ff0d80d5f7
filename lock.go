package fncache

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The lease protocol: a script per verb. Each is one atomic step, names its keys
// and arguments in its head, and has the effect of once when it arrives twice,
// since go-redis sends a command again after a read timeout.
var (
	//go:embed lock_acquire.lua
	acquireLua string
	//go:embed lock_renew.lua
	renewLua string
	//go:embed lock_store.lua
	storeLua string
	//go:embed lock_cooldown.lua
	coolDownLua string
	//go:embed lock_release.lua
	releaseLua string
	//go:embed lock_invalidate.lua
	invalidateLua string
	//go:embed lock_register.lua
	registerLua string
	//go:embed lock_releases.lua
	releasesLua string
	//go:embed lock_probe.lua
	probeLua string

	acquireScript    = redis.NewScript(acquireLua)
	renewScript      = redis.NewScript(renewLua)
	storeScript      = redis.NewScript(storeLua)
	coolDownScript   = redis.NewScript(coolDownLua)
	releaseScript    = redis.NewScript(releaseLua)
	invalidateScript = redis.NewScript(invalidateLua)
	registerScript   = redis.NewScript(registerLua)
	releasesScript   = redis.NewScript(releasesLua)
	probeScript      = redis.NewScript(probeLua)
)

// A lockStore speaks the protocol to one Redis. It is the only part of fncache
// that does.
type lockStore struct {
	client  redis.UniversalClient
	timeout time.Duration // of one operation, as its caller sees it
	channel string        // what channels of events begin with; see channelOf
	spawn   func(func())  // starts a goroutine that Close waits for
	auto    *autoPipeline // of lookups; nil if there is none
	traffic *traffic
	// refuses gives the error of an operation that is not to be sent, or nil. It is
	// nil where all are.
	refuses func(op, key string) error
	quick   *redis.Client // which gives up early, for lookupDirectly; nil if there is none

	unpublished func(channel string, why error) // told that nothing could be published; nil: nobody

	forgotten func(op string) // told that a server has forgotten a script; nil: nobody
	watched   *clientWatch    // what is known of the client's servers
	unwatch   func()          // ends the part of this cache in it
}

// What is asked of Redis, beside the verbs of the protocol.
const (
	opLookup     = "lookup"
	opAcquire    = "acquire"
	opStore      = "store"
	opInvalidate = "invalidate"
	opRegister   = "register"
	opReleases   = "releases"
	opPing       = "ping"
	opTime       = "time"
)

// newToken gives the owner value of one computation's lease: 26 letters of base32, or
// more. lock_acquire.lua tells by that form which locks this protocol has written.
func newToken() string { return rand.Text() }

// A sentToken is the token as an argument of acquire. go-redis marshals it each
// time that it sends the command, and each sending has a token of its own: see
// lock_acquire.lua.
type sentToken struct {
	base     string
	sendings atomic.Int64
}

// MarshalBinary gives the token of the next sending.
func (t *sentToken) MarshalBinary() ([]byte, error) {
	n := t.sendings.Add(1)
	if n == 1 {
		return []byte(t.base), nil
	}
	return fmt.Appendf(nil, "%s.%d", t.base, n), nil
}

// The causes where Config.RedisTimeout ran out.
var (
	errRedisTimeout = errors.New("no answer within Config.RedisTimeout")
	errPoolTimeout  = errors.New("no connection of the client's pool was free within Config.RedisTimeout")
)

// bounded runs one operation and returns within s.timeout, or when ctx ends.
//
// The operation has a goroutine of its own, because neither a deadline nor a
// cancellation interrupts go-redis while it reads from a socket (unless its
// ContextTimeoutEnabled is set). If the operation ends after its caller has
// left, its answer goes to late.
//
// Where Redis has not answered for a while it is not asked, but for what somebody
// must know the end of.
func bounded[T any](ctx context.Context, s *lockStore, op, key string, do func(context.Context) (T, error), late func(T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	if s.refuses != nil && op != opInvalidate && op != opReleases && op != opPing {
		if err := s.refuses(op, key); err != nil {
			var zero T
			return zero, err
		}
	}
	opCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	limit := time.AfterFunc(s.timeout, func() {
		// Judged first: once the operation is cancelled it waits for nothing.
		cancel(s.timedOut(key))
	})
	answers := make(chan answer)
	left := make(chan struct{}) // closed when the caller has left
	deadline := time.Now().Add(s.timeout)
	s.spawn(func() {
		defer cancel(nil)
		defer limit.Stop()
		s.traffic.begin()
		value, err := do(deadlined{opCtx, deadline})
		s.traffic.end(err, time.Now())
		to := answers
		if err != nil {
			err = newRedisError(op, key, err)
			if opCtx.Err() != nil {
				to = nil // the caller is told that the time ran out, and why
			}
		}
		select {
		case to <- answer{value, err}:
		case <-left:
			if late != nil {
				late(value, err)
			}
		}
	})
	select {
	case a := <-answers:
		return a.value, a.err
	case <-opCtx.Done():
		close(left)
		var zero T
		return zero, newRedisError(op, key, context.Cause(opCtx))
	case <-ctx.Done():
		close(left)
		var zero T
		return zero, ctx.Err()
	}
}

// deadlined is a context with a deadline that ends nothing by itself: what sends
// can look at it.
type deadlined struct {
	context.Context
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }

// lingers is how long go-redis may keep the goroutine of an operation whose time has
// run out: as long as it may read or write. Other waits end with the context.
func (s *lockStore) lingers() time.Duration {
	var read, write time.Duration
	switch client := s.client.(type) {
	case *redis.Client:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	case *redis.ClusterClient:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	}
	if read <= 0 || write <= 0 { // as long as it takes, or who knows
		return mostLinger
	}
	return min(max(read, write), mostLinger)
}

// errWrongType is the reason of a miss where another program wrote the key.
var errWrongType = errors.New("the key holds another Redis type than a string")

// A reply is what a lookup found: raw is nil if the entry is absent, err is
// errWrongType if it is none.
type reply struct {
	raw []byte
	err error
}

// batch is how many entries may be looked up in one round trip. On a cluster it
// is one: else a node that is down would cost the others' callers their answer. An
// autopipeliner makes the batches itself.
func (s *lockStore) batch() int {
	if s.clustered() || s.auto != nil {
		return 1
	}
	return maxBatch
}

// lookupAll reads some entries into replies. It may take longer than RedisTimeout:
// who calls it bounds it, and should give it a context with that deadline, which
// ends waits for a connection and for a retry.
//
// It asks Redis, even where the client has a cache of its own: go-redis learns
// of an invalidation some time later, and until then would answer with what was
// invalidated, in the very process that did it. A pipeline passes by that cache.
func (s *lockStore) lookupAll(ctx context.Context, keys []string, replies []reply) {
	if len(keys) == 1 && !clientCaches(s.client) {
		replies[0] = s.lookupOne(ctx, keys[0])
		return
	}
	pipe := s.client.Pipeline()
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = pipe.Get(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, get := range gets {
		replies[i] = replyOf(keys[i], get)
	}
}

// lookup is lookupAll for one.
func (s *lockStore) lookup(ctx context.Context, key string) reply {
	var one [1]reply
	s.lookupAll(ctx, []string{key}, one[:])
	return one[0]
}

func (s *lockStore) lookupOne(ctx context.Context, key string) reply {
	if s.auto == nil {
		return replyOf(key, s.client.Get(ctx, key))
	}
	auto, err := s.auto.get()
	if err != nil {
		return reply{err: newRedisError(opLookup, key, err)}
	}
	return replyOf(key, auto.Get(ctx, key))
}

// lookupPipelined reads an entry through the autopipeliner, and waits for it until
// ctx ends.
func (s *lockStore) lookupPipelined(ctx context.Context, key string) reply {
	auto, err := s.auto.get()
	if err != nil {
		return reply{err: newRedisError(opLookup, key, err)}
	}
	get := redis.NewStringCmd(ctx, "get", key)
	s.traffic.begin()
	err = auto.Submit(ctx, get).WaitContext(ctx)
	s.traffic.end(err, time.Now())
	if err != nil && err == ctx.Err() { //nolint:errorlint // then get may be written to yet
		return reply{err: newRedisError(opLookup, key, err)}
	}
	return replyOf(key, get)
}

// giveUpAfter makes a clone of a client, which shares its connections, but not its
// hooks, and reads from a socket no longer than that.
func giveUpAfter(client redis.UniversalClient, limit time.Duration) *redis.Client {
	return client.(*redis.Client).WithTimeout(limit)
}

// lookupDirectly reads an entry, on the way for which quick was made.
func (s *lockStore) lookupDirectly(ctx context.Context, key string) reply {
	return replyOf(key, s.quick.Get(ctx, key))
}

// clientCaches says whether a client caches replies (RESP3 client tracking).
func clientCaches(c redis.UniversalClient) bool {
	client, ok := c.(*redis.Client)
	if !ok {
		return false // no other client can
	}
	o := client.Options()
	return o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
}

func replyOf(key string, get *redis.StringCmd) reply {
	raw, err := get.Bytes()
	switch {
	case err == nil:
		return reply{raw: raw}
	case errors.Is(err, redis.Nil):
		return reply{}
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return reply{err: errWrongType}
	default:
		return reply{err: newRedisError(opLookup, key, err)}
	}
}

// An acquireMode says whether acquire compares the entry.
type acquireMode string

const (
	acquireCompare acquireMode = "compare" // give back an entry that the caller has not seen
	acquireRefresh acquireMode = "refresh" // recompute whatever is there
)

// An acquireStatus is the answer of acquire.
type acquireStatus string

const (
	leaseAcquired acquireStatus = "acquired" // the lease is the caller's
	leaseHeld     acquireStatus = "held"     // it is somebody else's
	entryChanged  acquireStatus = "changed"  // there is an entry that the caller has not seen
)

// An acquisition is what acquire learned.
type acquisition struct {
	status  acquireStatus
	present bool          // whether the entry is still there (leaseAcquired, leaseHeld)
	token   string        // the lease's (leaseAcquired)
	holder  string        // the value of the lock (leaseHeld)
	left    time.Duration // the life of the lock (leaseHeld)
	open    bool          // nobody holds it: the last value could not be stored (leaseHeld)
	raw     []byte        // the entry (entryChanged)
}

// acquire asks for the lease on an entry. seen is what the caller read, or nil;
// servable says that it is stale and can be served. A lease that is granted to a
// caller that has stopped waiting is released in the background.
func (s *lockStore) acquire(ctx context.Context, key, token string, lease time.Duration, mode acquireMode, seen []byte, servable bool) (acquisition, error) {
	flag := "0"
	if servable {
		flag = "1"
	}
	if len(seen) > envelopeHeaderLen {
		seen = seen[:envelopeHeaderLen]
	}
	do := func(ctx context.Context) (acquisition, error) {
		reply, err := s.runScript(ctx, opAcquire, acquireScript, []string{key, key + lockSuffix},
			&sentToken{base: token}, millis(lease), string(mode), seen, flag).Slice()
		if err != nil {
			return acquisition{}, err
		}
		return parseAcquisition(reply)
	}
	late := func(acquisition, error) {
		// Whatever the answer was: an error can stand for a lease that was
		// granted and whose reply was lost.
		s.giveBack(context.WithoutCancel(ctx), key, token)
	}
	a, err := bounded(ctx, s, opAcquire, key, do, late)
	if err != nil && mayHaveRun(err) {
		s.spawn(func() { late(a, err) })
	}
	return a, err
}

// parseAcquisition reads the reply of lock_acquire.lua.
func parseAcquisition(reply []any) (acquisition, error) {
	var a acquisition
	if len(reply) >= 2 {
		status, _ := reply[0].(string)
		a.status = acquireStatus(status)
	}
	switch {
	case a.status == leaseAcquired && len(reply) == 3:
		a.present = reply[1] == int64(1)
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
	return a, fmt.Errorf("unexpected reply of lock_acquire.lua: %v elements", len(reply))
}

// refused says whether the server itself answered with an error.
func refused(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// mayHaveRun says whether a command that failed can have taken effect all the
// same: it was sent, and its reply was lost.
func mayHaveRun(err error) bool {
	for _, settled := range []error{
		errRedisTimeout, errPoolTimeout, errNoConnection, // bounded has given the answer to late
		errNotAsked,
	} {
		if errors.Is(err, settled) {
			return false
		}
	}
	var netErr *net.OpError
	switch {
	case refused(err):
		return false
	case errors.As(err, &netErr) && netErr.Op == "dial", errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout):
		return false
	}
	return true
}

// millis is how long a lock lives at least: a whole number of milliseconds, and one or
// more, for Redis refuses 0.
func millis(d time.Duration) int64 {
	whole := d.Milliseconds()
	if d%time.Millisecond > 0 && whole < math.MaxInt64/int64(time.Millisecond) { // else it is no Duration any more
		whole++
	}
	return max(1, whole)
}

// The verbs below answer whether the lease was held until the step was done.

// renew gives the lease its whole life again.
func (s *lockStore) renew(ctx context.Context, key, token string, lease time.Duration) (held bool, err error) {
	return s.run(ctx, "renew", renewScript, []string{key + lockSuffix}, token, millis(lease),
		s.channelOf(key), keyEvent{verbRelease, key, token}.String())
}

// store writes the envelope with its timeout and releases the lease.
func (s *lockStore) store(ctx context.Context, key, token string, e *envelope, raw []byte, timeout time.Duration) (held bool, err error) {
	id := e.idBytes()
	return s.run(ctx, opStore, storeScript, []string{key, key + lockSuffix},
		token, raw, timeout.Milliseconds(), id[:], s.channelOf(key), keyEvent{verbStore, key, storeID(e.id)}.String(),
		keyEvent{verbRelease, key, token}.String())
}

// What stands before the token in a lock without a holder.
const (
	markCool = "cool:" // a stale entry is served instead of computing
	markOpen = "open:" // callers compute without a lease
)

// coolDown keeps the lock for d without a holder, while a stale entry is served.
func (s *lockStore) coolDown(ctx context.Context, key, token string, d time.Duration) (held bool, err error) {
	return s.unhold(ctx, key, token, d, markCool, verbCoolDown)
}

// leaveOpen keeps the lock for d without a holder, while callers compute without a lease.
func (s *lockStore) leaveOpen(ctx context.Context, key, token string, d time.Duration) (held bool, err error) {
	return s.unhold(ctx, key, token, d, markOpen, verbOpen)
}

func (s *lockStore) unhold(ctx context.Context, key, token string, d time.Duration, mark string, why verb) (held bool, err error) {
	return s.run(ctx, "cooldown", coolDownScript, []string{key + lockSuffix},
		token, millis(d), s.channelOf(key), keyEvent{why, key, token}.String(),
		keyEvent{verbRelease, key, token}.String(), mark)
}

// release gives the lease back. why is what those who wait for it are told: verbRelease, or
// verbFailed.
func (s *lockStore) release(ctx context.Context, key, token string, why verb) (held bool, err error) {
	return s.run(ctx, "release", releaseScript, []string{key + lockSuffix},
		token, s.channelOf(key), keyEvent{why, key, token}.String())
}

// giveBack is release for a lease that nobody uses. It is tried though Redis is not
// asked otherwise: Redis may answer again, before anybody has found out, and have
// granted just then what it was asked before. The key would be nobody's to compute
// for as long as the lease lives.
func (s *lockStore) giveBack(ctx context.Context, key, token string) {
	asking := *s
	asking.refuses = nil
	_, _ = asking.release(ctx, key, token, verbRelease)
}

// invalidate deletes entries and the leases on them, also leases of other holders. The entries are
// in one slot.
func (s *lockStore) invalidate(ctx context.Context, entries []string) error {
	keys, args := make([]string, 0, 2*len(entries)), make([]any, 0, 1+len(entries))
	args = append(args, s.channelOf(entries[0]))
	for _, key := range entries {
		keys = append(keys, key, key+lockSuffix)
		args = append(args, keyEvent{verbInvalidate, key, "-"}.String())
	}
	_, err := s.run(ctx, opInvalidate, invalidateScript, keys, args...)
	return err
}

func (s *lockStore) run(ctx context.Context, op string, script *redis.Script, keys []string, args ...any) (held bool, err error) {
	key := strings.TrimSuffix(keys[0], lockSuffix)
	return bounded(ctx, s, op, key, func(ctx context.Context) (bool, error) {
		status, refused, err := stepReply(s.runScript(ctx, op, script, keys, args...))
		if refused != nil && s.unpublished != nil {
			s.unpublished(s.channelOf(key), refused)
		}
		return status == "held", err
	}, nil)
}

// stepReply reads what the script of a step answers: whether the lease was held, and why
// nothing could be published.
func stepReply(cmd *redis.Cmd) (status string, refused, err error) {
	parts, err := cmd.StringSlice()
	switch {
	case err != nil:
		return "", nil, err
	case len(parts) != 2:
		return "", nil, fmt.Errorf("unexpected reply of a script: %d elements", len(parts))
	case parts[1] != "":
		refused = publishRefused(parts[1])
	}
	return parts[0], refused, nil
}

// A publishRefused is what the server answered to PUBLISH in a script.
type publishRefused string

func (e publishRefused) Error() string { return string(e) }

// RedisError marks it as an answer of the server.
func (publishRefused) RedisError() {}

// serverTime asks the server for its clock, by a plain command: TIME inside
// scripts is refused by some hosted services.
func (s *lockStore) serverTime(ctx context.Context) (time.Time, error) {
	return bounded(ctx, s, opTime, "", func(ctx context.Context) (time.Time, error) {
		return s.client.Time(ctx).Result()
	}, nil)
}
