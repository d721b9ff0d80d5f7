package fncache

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/fncache/fncache/internal/health"
	"github.com/fncache/fncache/internal/remote"
)

// The sentinels, for [errors.Is]. Everything fncache returns of its own wraps
// one of them or is one of the types below; an error that the cached function
// returned, and the caller's own context error, come through unchanged.
var (
	// ErrColdCache: nothing can be served, and somebody else is computing.
	// It is a refusal, not a failure: the value will be there soon, and the
	// database behind it was spared a stampede. Answer 503 with Retry-After,
	// or set OnCold to Wait. It comes in a [*ColdCacheError].
	ErrColdCache = errors.New("fncache: cold cache")

	// ErrNoCache: the function was wrapped without Options.Cache, and
	// [SetDefault] has not been called yet.
	ErrNoCache = errors.New("fncache: no cache")

	// ErrRedisDown: Redis did not answer, and Config.OnRedisDown is DownError,
	// or the call was one that cannot do without Redis (Invalidate, Refresh,
	// Ping). The cause is wrapped too.
	ErrRedisDown = errors.New("fncache: redis is down")

	// ErrClosed: the Cache was closed. It is the cause of the ErrRedisDown that
	// calls after Close get, and of the cancelled contexts of computations.
	ErrClosed = errors.New("fncache: cache is closed")

	// ErrComputeTimeout: the function, and the encoding of its result, took longer than
	// Options.ComputeTimeout.
	// It comes in a [*ComputeTimeoutError].
	ErrComputeTimeout = errors.New("fncache: compute timeout")

	// ErrGoexit: the function ended its goroutine by [runtime.Goexit] (as
	// testing.T.FailNow does) while others waited for its result. Where it has no error
	// result, their goroutines end as well.
	ErrGoexit = errors.New("fncache: the function called runtime.Goexit")

	// ErrLeaseLost: [Func.Refresh] computed a value that could not be stored,
	// time and again, because the key was invalidated or the lease expired.
	ErrLeaseLost = errors.New("fncache: lease lost")
)

// A ColdCacheError is an [ErrColdCache] with its place.
type ColdCacheError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// LeaseLeft is how long the holder's lease lives if it is not renewed: if
	// the holder died, the next caller can compute after it. It is not an
	// estimate of when the value will be there. 0 where it is not known.
	LeaseLeft time.Duration
	// Waited is how long the call waited before it was refused; 0 under OnCold
	// Fail.
	Waited time.Duration
	// MaxConcurrent is the bound of that name where nobody computes the entry:
	// as many computations of the function run in this process as may. 0 else.
	MaxConcurrent int
	// FailedElsewhere is how often the function failed in other processes while the
	// call waited for their value, if that is why it is refused; 0 else. Their errors
	// are not known here: they are those of their callers.
	FailedElsewhere int
}

func (e *ColdCacheError) Error() string {
	if e.FailedElsewhere > 0 {
		return fmt.Sprintf("%v: %s: the function failed elsewhere %d times for %s while this call waited for %v; see the errors of the processes that ran it, and try again later",
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

// A ComputeTimeoutError is an [ErrComputeTimeout] with its place.
type ComputeTimeoutError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// Timeout is the Options.ComputeTimeout that ran out.
	Timeout time.Duration
	// Encoding says that the function had returned, and its result was being encoded.
	Encoding bool
}

func (e *ComputeTimeoutError) Error() string {
	if e.Encoding {
		return fmt.Sprintf("%v: %s returned, but its result was not encoded within %v for %s; make the codec, or the methods by which its types encode themselves, faster, or raise ComputeTimeout",
			ErrComputeTimeout, e.Func, e.Timeout, e.Key)
	}
	return fmt.Sprintf("%v: %s ran longer than %v for %s; make it faster, make it heed its context, or raise ComputeTimeout",
		ErrComputeTimeout, e.Func, e.Timeout, e.Key)
}

// Unwrap makes errors.Is(err, ErrComputeTimeout) true.
func (e *ComputeTimeoutError) Unwrap() error { return ErrComputeTimeout }

// A PanicError carries a panic of the cached function to its callers: it is
// panicked again in the caller that computed, and returned as an error to those
// who waited for it.
type PanicError struct {
	// Value is what the function panicked with.
	Value any
	// Stack is the stack of the goroutine that panicked, as of debug.Stack.
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("fncache: the function panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap gives the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// A RedisErrorKind is what kept Redis from doing an operation. Its value is one
// word, fit for a metric.
type RedisErrorKind uint8

const (
	// KindOther: the server answered with an error that none of the kinds below
	// names.
	KindOther RedisErrorKind = iota
	// KindTimeout: no answer within Config.RedisTimeout.
	KindTimeout
	// KindUnreachable: no connection, or one that broke; and whatever else the
	// client says of itself. A server at its maxclients shows as this too: go-redis
	// does not pass on what it says before it closes a new connection.
	KindUnreachable
	// KindPool: this process is busy: no connection of the client's pool was free while
	// the caller waited, or none could be made because too many files are open.
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
	// KindRefusesWrites: the server takes no writes, for it cannot save them to
	// disk (MISCONF) or has too few replicas (NOREPLICAS).
	KindRefusesWrites
	// KindBusy: the server runs somebody's long script.
	KindBusy
	// KindMaxClients: the server takes no more connections, and the client has passed
	// that on (a proxy may say it to a connection that is open).
	KindMaxClients
	// KindNoScript: the server has forgotten a script that it had run: it was
	// restarted, or another took its place, or its scripts were flushed. The script
	// was sent whole then; the operation has not failed.
	KindNoScript
	// KindClosed: the Cache, or its Redis client, was closed.
	KindClosed

	redisErrorKinds
)

// kindFacts is what is known of each kind.
var kindFacts = [redisErrorKinds]struct {
	name string
	// away: it is no use to ask, and asking costs time or load. Of a replica go-redis
	// asks each thing that it may not do several times, on a connection of its own
	// each. Otherwise Redis answers what it can.
	away   bool
	remedy string
}{
	KindOther:         {"other", false, ""},
	KindTimeout:       {"timeout", true, "look for a slow or stopped server, or a slow network; or raise Config.RedisTimeout"},
	KindUnreachable:   {"unreachable", true, "check that the server runs, its address and the network, and that it is not at its maxclients"},
	KindPool:          {"pool", false, "raise the client's PoolSize, or look for commands that keep its connections, or for a slow server"},
	KindAuth:          {"auth", true, "give the client the right user and password"},
	KindNoPerm:        {"noperm", false, "grant the user " + neededRights},
	KindReadOnly:      {"readonly", true, "point the client at the primary, or use a Sentinel or Cluster client, which follow a failover"},
	KindLoading:       {"loading", true, "wait until the server has read its data set"},
	KindOOM:           {"oom", false, "raise maxmemory, or set a maxmemory-policy that evicts, such as volatile-lru"},
	KindClusterDown:   {"clusterdown", true, "bring the nodes back that serve these slots, or have replicas take over; while a slot moves to another node, try again"},
	KindMasterDown:    {"masterdown", true, "bring the primary back, or let a replica take over"},
	KindRefusesWrites: {"refuseswrites", false, "see the server's log: it cannot save to disk, or has too few replicas"},
	KindBusy:          {"busy", true, "look for a long script; SCRIPT KILL ends it"},
	KindMaxClients:    {"maxclients", true, "raise maxclients, or have fewer connections"},
	KindNoScript:      {"noscript", false, "nothing, unless it goes on: then look for what runs SCRIPT FLUSH, or hundreds of different scripts, or restarts the server"},
	KindClosed:        {"closed", true, ""},
}

// neededRights are the commands that a user must be allowed, as an ACL rule.
const neededRights = "+get +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel +setrange +hget +hmget +hincrby +hlen +hrandfield +publish +subscribe +unsubscribe +ping on the keys (~NAMESPACE:*) and channels (&NAMESPACE:events:*) of the namespace; a client of a Cluster needs +cluster|slots +command too, and Func.Clear of a function without tags +scan"

// String gives the kind in one lower-case word.
func (k RedisErrorKind) String() string {
	if k < redisErrorKinds {
		return kindFacts[k].name
	}
	return fmt.Sprintf("RedisErrorKind(%d)", uint8(k))
}

// A RedisError is an operation that Redis did not do. It is an [ErrRedisDown],
// and wraps the cause too.
type RedisError struct {
	// Op is the operation: lookup, time, ping, or a verb of the lease protocol.
	Op string
	// Kind tells what to do about it.
	Kind RedisErrorKind
	// Err is the cause.
	Err error

	key      string // of the entry, if the operation was about one
	node     string // its address; "" if none was asked
	notAsked bool   // it was not even tried
	// mayHaveRun says that it was sent, and can have taken effect all the same.
	mayHaveRun bool
	late       int // how often its answer did not come in time
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

// remedy says what to do, "" if nothing is known.
func (e *RedisError) remedy() string {
	switch {
	case e.Kind >= redisErrorKinds:
		return ""
	case remote.Elsewhere(e.Err):
		return "use redis.NewClusterClient, for this is a node of a Cluster; if that is what you use, raise its MaxRedirects"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		return "raise the limit of open files (ulimit -n), or look for what keeps files and connections open"
	}
	return kindFacts[e.Kind].remedy
}

// Unwrap gives [ErrRedisDown] and the cause.
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

// worthAnotherTry says whether an operation that failed may be done if it is sent
// again soon: Redis is away, and not unable or unwilling.
func worthAnotherTry(err error) bool {
	var failure *RedisError
	return errors.As(err, &failure) && kindFacts[failure.Kind].away
}

// trouble is what the log says of the error.
func (e *RedisError) trouble() health.Trouble {
	facts := kindFacts[e.Kind]
	return health.Trouble{
		Kind: facts.name, Op: e.Op, Node: e.node, Err: e.Err, Remedy: e.remedy(),
		Away: facts.away, Busy: e.Kind == KindPool,
	}
}

// redisErrorOf makes a *RedisError of an error of package remote, and leaves others alone.
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

// explain makes a *RedisError of an error of package remote, or of go-redis, for the log.
func explain(op string, err error) error {
	if failure, ok := err.(*remote.Error); ok { //nolint:errorlint // it is returned as it is
		return redisErrorOf(failure)
	}
	return newRedisError(op, "", err)
}

// noteRedis takes in how an operation ended for fn, and reports whether it failed.
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

// mayHaveRun reports whether a command that failed can have taken effect all the
// same: it was sent, and its reply was lost.
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

// loggable says of an error of the function what is sure to quote no argument: the
// text where it is fncache's own, or of a context, and else the types, from the
// outermost to the innermost. The function can log the text itself.
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

// eachFault changes each of the errors that err joins.
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
