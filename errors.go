package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/health"
	"github.com/fncache/fncache/internal/remote"
)

// The sentinels, for [errors.Is]. If a call cannot be answered, its error wraps one of them or is
// one of the types below. An error that the cached function returned, and the caller's own context
// error, are returned unchanged. Mistakes of the program have no sentinel: errors of wrapping, of
// arguments that do not fit or cannot be part of a key, and of results that cannot be stored.
// Their text says what to change.
var (
	// ErrColdCache: there is no entry that may be served, and another caller computes the
	// value. This is a refusal and not a failure: the value will be there soon, and the
	// database was protected from a stampede. Answer 503 with Retry-After, or set OnCold
	// to Wait. It is wrapped in a [*ColdCacheError].
	ErrColdCache = errors.New("fncache: cold cache")

	// ErrNoCache: the function was wrapped without Options.Cache, and
	// [SetDefault] has not been called yet.
	ErrNoCache = errors.New("fncache: no cache")

	// ErrRedisDown: Redis did not answer, and either Config.OnRedisDown is DownError,
	// or the call needs Redis (Invalidate, Refresh, Ping). The cause is wrapped too.
	ErrRedisDown = errors.New("fncache: redis is down")

	// ErrClosed: the Cache was closed. It is the cause of the ErrRedisDown that
	// calls after Close get, and of the cancelled contexts of computations.
	ErrClosed = errors.New("fncache: cache is closed")

	// ErrComputeTimeout: the function and the encoding of its result took longer than
	// Options.ComputeTimeout. It is wrapped in a [*ComputeTimeoutError].
	ErrComputeTimeout = errors.New("fncache: compute timeout")

	// ErrGoexit: the function ended its goroutine by [runtime.Goexit] (as
	// testing.T.FailNow does) while callers waited for its result. If the function has no
	// error result, the goroutines of these callers end as well.
	ErrGoexit = errors.New("fncache: the function called runtime.Goexit")

	// ErrLeaseLost: [Func.Refresh] computed a value several times, and could not store it,
	// because the key was invalidated or the lease expired.
	ErrLeaseLost = errors.New("fncache: lease lost")
)

// errMissing is the answer for an id for which a batch function returned no value. Its text is
// stored.
var errMissing = errors.New("fncache: the function has no value for this id")

// A ColdCacheError is an [ErrColdCache] with the function, the key and the reason.
type ColdCacheError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// LeaseLeft is how long the holder's lease lasts if it is not renewed. If the holder
	// has died, the next caller can compute after that time. It does not say when the
	// value will be there. 0 if unknown.
	LeaseLeft time.Duration
	// Waited is how long the call waited before it was refused; 0 under OnCold
	// Fail.
	Waited time.Duration
	// MaxConcurrent is Options.MaxConcurrent if that is why the call was refused: the
	// function already runs that often in this process, and no caller computes the entry.
	// 0 otherwise.
	MaxConcurrent int
	// FailedElsewhere is how often the function failed in other processes while the call
	// waited for their value, if that is why the call was refused; 0 otherwise. This process
	// does not know the errors: the other processes returned them to their own callers.
	FailedElsewhere int
	// IDs are the ids that a call of a batch function got no answer for (see [WrapBatch]), in the
	// order of the call; nil for other functions. The other fields are about the first of them.
	IDs []any
}

func (e *ColdCacheError) Error() string {
	if n := len(e.IDs); n > 1 {
		first := *e
		first.IDs = nil
		return fmt.Sprintf("%v; and %d more ids of this call have no answer", &first, n-1)
	}
	if e.FailedElsewhere > 0 {
		return fmt.Sprintf("%v: %s: the function failed %d times in other processes for %s while this call waited for %v; see the errors of these processes, and try again later",
			ErrColdCache, e.Func, e.FailedElsewhere, e.Key, e.Waited.Round(time.Millisecond))
	}
	if e.MaxConcurrent > 0 {
		after := ""
		if e.Waited > 0 {
			after = fmt.Sprintf(" after %v", e.Waited.Round(time.Millisecond))
		}
		return fmt.Sprintf("%v: %s: %s is not being computed%s: the function runs %d times in this process, which is its MaxConcurrent; try again, or raise MaxConcurrent",
			ErrColdCache, e.Func, e.Key, after, e.MaxConcurrent)
	}
	if e.Waited > 0 {
		return fmt.Sprintf("%v: %s: %s is still being computed after %v; try again, or raise WaitTimeout",
			ErrColdCache, e.Func, e.Key, e.Waited.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v: %s: %s is being computed by another caller; try again, or set OnCold to Wait",
		ErrColdCache, e.Func, e.Key)
}

// Unwrap makes errors.Is(err, ErrColdCache) true.
func (e *ColdCacheError) Unwrap() error { return ErrColdCache }

// A ComputeTimeoutError is an [ErrComputeTimeout] with the function, the key and the timeout.
type ComputeTimeoutError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// Timeout is the Options.ComputeTimeout that ran out.
	Timeout time.Duration
	// Encoding reports whether the function had returned and its result was being encoded.
	Encoding bool
}

func (e *ComputeTimeoutError) Error() string {
	if e.Encoding {
		return fmt.Sprintf("%v: %s returned, but its result was not encoded within %v for %s; make the codec, or the methods by which its types encode themselves, faster, or raise ComputeTimeout",
			ErrComputeTimeout, e.Func, e.Timeout, e.Key)
	}
	return fmt.Sprintf("%v: %s ran longer than %v for %s; make it faster, let it return when its context ends, or raise ComputeTimeout",
		ErrComputeTimeout, e.Func, e.Timeout, e.Key)
}

// Unwrap makes errors.Is(err, ErrComputeTimeout) true.
func (e *ComputeTimeoutError) Unwrap() error { return ErrComputeTimeout }

// A PanicError carries a panic of the cached function to its callers: the caller that
// computed panics with it, and callers that waited get it as an error.
type PanicError struct {
	// Value is the argument of the function's call of panic.
	Value any
	// Stack is the stack of the goroutine that panicked, as returned by debug.Stack.
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("fncache: the function panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if that is an error, or nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// A RedisErrorKind is the reason why Redis did not do an operation. Its String is one word
// that can label a metric.
type RedisErrorKind uint8

const (
	// KindOther: the server answered with an error of none of the kinds below.
	KindOther RedisErrorKind = iota
	// KindTimeout: no answer within Config.RedisTimeout.
	KindTimeout
	// KindUnreachable: there was no connection, or it broke, or the client returned another
	// error of its own. A server that has reached its maxclients has this kind too, because
	// go-redis does not pass on the error that the server sends before it closes a new
	// connection.
	KindUnreachable
	// KindPool: this process is busy. No connection of the client's pool was free while the
	// caller waited, or none could be made because too many files are open.
	KindPool
	// KindAuth: wrong user or password, or none given.
	KindAuth
	// KindNoPerm: the user may not run the command, or not on this key.
	KindNoPerm
	// KindReadOnly: a replica was asked to write, as after a failover.
	KindReadOnly
	// KindLoading: the server is reading its data set into memory.
	KindLoading
	// KindOOM: maxmemory is reached, and nothing may be evicted.
	KindOOM
	// KindClusterDown: the slot of the key is served by no node, or not by the one that
	// was asked.
	KindClusterDown
	// KindMasterDown: a replica has lost its primary, and serves no stale data.
	KindMasterDown
	// KindRefusesWrites: the server takes no writes, because it cannot save them to
	// disk (MISCONF) or has too few replicas (NOREPLICAS).
	KindRefusesWrites
	// KindBusy: the server runs a long script of some client.
	KindBusy
	// KindMaxClients: the server takes no more connections, and the client has passed
	// the error on. (A proxy may send this error on an open connection.)
	KindMaxClients
	// KindNoScript: the server does not have a script that it had before. It was restarted,
	// another server took its place, or its scripts were flushed. The whole script was then
	// sent; the operation has not failed.
	KindNoScript
	// KindClosed: the Cache, or its Redis client, was closed.
	KindClosed

	redisErrorKinds
)

// kindFacts has the facts about each kind.
var kindFacts = [redisErrorKinds]struct {
	name string
	// away: Redis cannot do the operations of the cache, and asking costs time or load. For
	// example, go-redis sends a command that a replica refuses several times, each time on a
	// new connection. If away is false, Redis does what it can.
	away   bool
	remedy string
}{
	KindOther:         {"other", false, ""},
	KindTimeout:       {"timeout", true, "look for a slow or stopped server, or a slow network; or raise Config.RedisTimeout"},
	KindUnreachable:   {"unreachable", true, "check that the server runs, its address and the network, and that it is not at its maxclients"},
	KindPool:          {"pool", false, "raise the client's PoolSize, or look for commands that hold its connections for long, or for a slow server"},
	KindAuth:          {"auth", true, "give the client the right user and password"},
	KindNoPerm:        {"noperm", false, "grant the user " + neededRights},
	KindReadOnly:      {"readonly", true, "point the client at the primary, or use a Sentinel or Cluster client, which follow a failover"},
	KindLoading:       {"loading", true, "wait until the server has read its data set"},
	KindOOM:           {"oom", false, "raise maxmemory, or set a maxmemory-policy that evicts, such as volatile-lru"},
	KindClusterDown:   {"clusterdown", true, "bring back the nodes that serve these slots, or let replicas take over; while a slot moves to another node, try again"},
	KindMasterDown:    {"masterdown", true, "bring the primary back, or let a replica take over"},
	KindRefusesWrites: {"refuseswrites", false, "see the server's log: it cannot save to disk, or has too few replicas"},
	KindBusy:          {"busy", true, "look for a long script; SCRIPT KILL ends it"},
	KindMaxClients:    {"maxclients", true, "raise maxclients, or have fewer connections"},
	KindNoScript:      {"noscript", false, "if it happens once, do nothing; if it continues, look for a program that runs SCRIPT FLUSH or hundreds of different scripts, or that restarts the server"},
	KindClosed:        {"closed", true, "close the cache, and its client, after the last call"},
}

// neededRights are the commands that a user must be allowed, as an ACL rule.
const neededRights = "+get +mget +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel +setrange +hget +hmget +hincrby +hlen +hrandfield +publish +subscribe +unsubscribe +ping on the keys (~NAMESPACE:*) and channels (&NAMESPACE:events:*) of the namespace; a client of a Cluster needs +cluster|slots +command too, and Func.Clear of a function without tags +scan +unlink"

// String returns the kind as one lower-case word.
func (k RedisErrorKind) String() string {
	if k < redisErrorKinds {
		return kindFacts[k].name
	}
	return fmt.Sprintf("RedisErrorKind(%d)", uint8(k))
}

// A RedisError is the error of an operation that Redis did not do. It wraps [ErrRedisDown]
// and the cause.
type RedisError struct {
	// Op is the operation: lookup, time, ping, or a verb of the lease protocol.
	Op string
	// Kind is the reason, from which follows what to do.
	Kind RedisErrorKind
	// Err is the cause.
	Err error

	key        string // of the entry; "" if the operation was about no entry
	node       string // the address of the node; "" if none was asked
	notAsked   bool   // nothing was sent
	mayHaveRun bool   // the command was sent and can have taken effect
	late       int    // how often the command was sent without an answer in time
}

func newRedisError(op, key string, cause error) *RedisError {
	return &RedisError{Op: op, Kind: kindOf(cause), Err: cause, key: key}
}

func (e *RedisError) Error() string {
	text := fmt.Sprintf("%v: %s: %v", ErrRedisDown, e.Op, e.Err)
	if remedy := e.remedy(); remedy != "" {
		text += "; " + remedy
	}
	return text
}

// remedy returns the advice for a person; "" if there is none.
func (e *RedisError) remedy() string {
	switch {
	case e.Kind >= redisErrorKinds:
		return ""
	case remote.Elsewhere(e.Err):
		return "this is a node of a Cluster: use redis.NewClusterClient; if you already use it, raise its MaxRedirects"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		return "raise the limit of open files (ulimit -n), or find out which code leaves files and connections open"
	}
	return kindFacts[e.Kind].remedy
}

// Unwrap returns [ErrRedisDown] and the cause.
func (e *RedisError) Unwrap() []error { return []error{ErrRedisDown, e.Err} }

// kindOf classifies an error.
func kindOf(err error) RedisErrorKind {
	var known *RedisError
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.Is(err, ErrClosed):
		return KindClosed
	default:
		return RedisErrorKind(remote.KindOf(err))
	}
}

// worthAnotherTry reports whether an operation that failed can succeed if it is sent again
// soon: Redis is away, and has not refused the operation.
func worthAnotherTry(err error) bool {
	var failure *RedisError
	return errors.As(err, &failure) && kindFacts[failure.Kind].away
}

// trouble returns the facts about the error that are logged.
func (e *RedisError) trouble() health.Trouble {
	facts := kindFacts[e.Kind]
	return health.Trouble{
		Kind: facts.name, Op: e.Op, Node: e.node, Err: e.Err, Remedy: e.remedy(),
		Away: facts.away, Busy: e.Kind == KindPool,
	}
}

// redisErrorOf turns an error of package remote into a *RedisError, and returns any other
// error unchanged.
func redisErrorOf(err error) error {
	failure, ok := err.(*remote.Error) //nolint:errorlint // it is returned as it is
	if !ok {
		return err
	}
	return &RedisError{
		Op: failure.Op, Kind: RedisErrorKind(failure.Kind), Err: failure.Err,
		key: failure.Key, node: failure.Node, notAsked: failure.NotAsked, mayHaveRun: failure.MayHaveRun, late: failure.Late,
	}
}

// unexpectedReply returns the error for a reply that no version of the script or command gives.
func unexpectedReply(of string, elements int) error {
	return fmt.Errorf("unexpected reply of %s, of %d elements; look for a proxy or a server that changes replies", of, elements)
}

// refused reports whether the server itself answered with an error.
func refused(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// A publishRefused is the error that the server returned for PUBLISH in a script.
type publishRefused string

func (e publishRefused) Error() string { return string(e) }

// RedisError marks it as an answer of the server.
func (publishRefused) RedisError() {}

// explain turns an error of package remote or of go-redis into a *RedisError, for the log.
func explain(op string, err error) error {
	if failure, ok := err.(*remote.Error); ok { //nolint:errorlint // it is returned as it is
		return redisErrorOf(failure)
	}
	return newRedisError(op, "", err)
}

// noteRedis counts and logs the outcome err of an operation for fn, and reports whether it
// failed.
func (c *Cache) noteRedis(fn *Func, op, key string, err error) (failed bool) {
	if err == nil {
		c.health.Succeeded()
		return false
	}
	var failure *RedisError
	if !errors.As(err, &failure) {
		failure = newRedisError(op, key, err)
	}
	if !failure.notAsked {
		if fn != nil {
			fn.counters.redisErrors[failure.Kind].Add(1)
		}
		c.health.Tell(failure.trouble())
	}
	return true
}

// hasLeft reports whether an operation was given up because ctx has ended.
func hasLeft(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// noteBusy counts a command that was given up while this process was busy.
func (c *Cache) noteBusy(fn *Func, err error) {
	var failure *RedisError
	if errors.As(err, &failure) {
		c.noteRedis(fn, failure.Op, failure.key, err)
	}
}

// wrongType reports whether a key has another Redis type than the command needs.
func wrongType(err error) bool {
	failure, ok := err.(*remote.Error) //nolint:errorlint // it is returned as it is
	return ok && redis.HasErrorPrefix(failure.Err, "WRONGTYPE")
}

// mayHaveRun reports whether a command that failed can have taken effect: it was sent,
// and its reply was lost.
func mayHaveRun(err error) bool {
	var failure *RedisError
	return errors.As(err, &failure) && failure.mayHaveRun
}

// lateOf returns how often a command that failed was sent without an answer in time.
func lateOf(err error) int {
	var failure *RedisError
	if !errors.As(err, &failure) {
		return 0
	}
	return failure.late
}

// loggable returns a description of an error of the function that quotes no argument. It is
// the text of an error of fncache or of a context. For any other error it is the types, from
// the outermost to the innermost. The function can log the text itself.
func loggable(err error) string {
	var timeout *ComputeTimeoutError
	switch {
	case errors.As(err, &timeout):
		return timeout.Error()
	case err == ErrClosed, err == context.Canceled, err == context.DeadlineExceeded: //nolint:errorlint // wrapped they may quote
		return err.Error()
	}
	types := fmt.Sprintf("%T", err)
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		types += fmt.Sprintf(": %T", inner)
	}
	return types
}

// eachFault applies change to each of the errors that err joins.
func eachFault(err error, change func(error) error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what joins them is outermost
	if !ok {
		return change(err)
	}
	var changed []error
	for _, fault := range joined.Unwrap() {
		changed = append(changed, eachFault(fault, change))
	}
	return errors.Join(changed...)
}

// storeFor returns a store that counts, for fn, the scripts that a server has forgotten. If fn is nil, they
// are not counted.
func (c *Cache) storeFor(fn *Func) *lockStore {
	if fn == nil {
		return c.store
	}
	own := *c.store
	own.forgotten = func(op string) {
		fn.counters.redisErrors[KindNoScript].Add(1)
		c.noteForgotten(op)
	}
	return &own
}

// noteForgotten logs that a server has forgotten a script.
func (c *Cache) noteForgotten(op string) {
	c.health.Forgot((&RedisError{Op: op, Kind: KindNoScript}).trouble())
}

// noteUnpublished logs that this process cannot publish its events.
func (c *Cache) noteUnpublished(channel string, err error) {
	c.log.Once("publish refused", slog.LevelWarn,
		"this user may not publish: other processes do not learn what it stores and invalidates, so their near caches may serve old values until Near is over, and their waiting callers ask about once a second; grant it +publish and the channels",
		"channels", c.store.channel+"*", "channel", channel, "err", err)
}
