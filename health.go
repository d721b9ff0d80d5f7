package fncache

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"

	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/remote"
)

// This file has the kinds of what goes wrong with Redis, and what to do about each, and
// tells each once. Whether Redis is asked at all, package remote knows.

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
const neededRights = "+get +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel +publish +subscribe +unsubscribe +ping on the keys (~NAMESPACE:*) and channels (&NAMESPACE:events:*) of the namespace; a client of a Cluster needs +cluster|slots +command too"

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
	case elsewhere(e.Err):
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

// A health says what becomes of one cache's Redis, to the log. What is away is known to
// package remote.
type health struct {
	log   *oncelog.Logger
	away  atomic.Int64 // nodes that are away: for reads, and for writes
	said  atomic.Bool  // that was told, and not that Redis answers again
	again func()       // a node answers again, which may be another server
}

// notice takes in what package remote has found out. Its locks are held.
func (h *health) notice(e remote.Event) {
	kind := RedisErrorKind(e.Kind)
	switch {
	case e.Err == nil:
		h.again()
		if h.away.Add(-1) == 0 {
			h.resume()
		}
	case kind == KindNoScript: // the verb counts it, and tells
	default:
		if e.Away {
			h.away.Add(1)
		}
		h.tell(&RedisError{Op: e.Op, Kind: kind, Err: e.Err, node: e.Node})
	}
}

// succeeded takes in that an operation was done.
func (h *health) succeeded() {
	if h.said.Load() && h.away.Load() == 0 {
		h.resume()
	}
}

// resume tells that Redis answers again, if the contrary was told, however lately: else
// the log would end in what is wrong no more. So it is told as seldom as that.
func (h *health) resume() {
	if h.said.CompareAndSwap(true, false) {
		h.log.Forget("back")
		h.log.Once("back", slog.LevelInfo, "Redis answers again: caching resumes")
	}
}

// tell says what is wrong with Redis, each kind of trouble of a node once.
func (h *health) tell(err *RedisError) {
	facts := kindFacts[err.Kind]
	if err.Kind == KindPool {
		h.log.Once("redis "+facts.name, slog.LevelWarn,
			"this process is busy: the Redis client had no connection to give for RedisTimeout, and calls wait for one",
			"kind", facts.name, "operation", err.Op, "node", err.node, "err", err.Err, "do", err.remedy())
		return
	}
	told := h.log.Once("redis "+facts.name+" "+err.node, slog.LevelWarn,
		"Redis does not answer as it should: what cannot be served is computed in this process, or refused, and not stored",
		"kind", facts.name, "operation", err.Op, "node", err.node, "err", err.Err, "do", err.remedy())
	if told && facts.away {
		h.said.Store(true)
	}
}

// forgot says that a server has forgotten a script. No node is away for that: the
// server answers.
func (h *health) forgot(op string) {
	facts := kindFacts[KindNoScript]
	h.log.Once("redis "+facts.name, slog.LevelInfo,
		"Redis has forgotten a script that it had run before: it is sent whole, and nobody notices but by one more command",
		"kind", facts.name, "operation", op, "do", facts.remedy)
}
