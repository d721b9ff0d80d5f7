package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/fncache/fncache/internal/oncelog"
)

// This file knows whether Redis is fit to be asked: it tells failures apart,
// stops asking where they come in a row, finds out when asking is worth it again,
// and says each of that once.

const (
	// tripFailures is how many operations must fail in a row before Redis is not
	// asked any more: one or two are a connection that went stale.
	tripFailures = 5
	// probeInterval is how often a Redis that is not asked is tried, give or take
	// half of it, so that the processes of a fleet do not try in step.
	probeInterval = time.Second
)

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
	// KindPool: no connection of the client's pool was free, or the queue of its
	// autopipeliner was full.
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
	KindPool:          {"pool", true, "raise the client's PoolSize (or, with AutoPipeline, MaxQueuedCommands), or look for commands that keep its connections, or for a slow server"},
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
const neededRights = "+get +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel +publish +subscribe +unsubscribe +ping on the keys (~NAMESPACE:*) and channels (&NAMESPACE:events:*) of the namespace"

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
	notAsked bool   // it was not even tried
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
	}
	return kindFacts[e.Kind].remedy
}

// Unwrap gives [ErrRedisDown] and the cause.
func (e *RedisError) Unwrap() []error { return []error{ErrRedisDown, e.Err} }

// kindOf tells errors apart: the server's by what they begin with, the client's
// and the network's by their type.
func kindOf(err error) RedisErrorKind {
	var known *RedisError
	var reply redis.Error
	var netErr net.Error
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &reply):
		return replyKindOf(reply.Error())
	case errors.Is(err, ErrClosed), errors.Is(err, redis.ErrClosed):
		return KindClosed
	case errors.Is(err, errNoConnection):
		return KindUnreachable
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, errPoolTimeout),
		errors.Is(err, redis.ErrAutoPipelineQueueFull):
		return KindPool
	case errors.Is(err, errRedisTimeout), errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.As(err, &netErr) && netErr.Timeout():
		return KindTimeout
	case strings.Contains(err.Error(), "cluster has no nodes"):
		return KindClusterDown
	default: // of the network, of TLS, of a Dialer of the user's own
		return KindUnreachable
	}
}

// replyKinds are the beginnings of the server's errors. In a script an older
// server wraps the error of the command: there it stands behind a hyphen.
var replyKinds = []struct {
	code string
	kind RedisErrorKind
}{
	{"NOAUTH", KindAuth},
	{"WRONGPASS", KindAuth},
	{"ERR invalid password", KindAuth},
	{"ERR AUTH", KindAuth},
	{"NOPERM", KindNoPerm},
	{"READONLY", KindReadOnly},
	{"LOADING", KindLoading},
	{"OOM", KindOOM},
	{"CLUSTERDOWN", KindClusterDown},
	{"TRYAGAIN", KindClusterDown},
	{"MOVED", KindClusterDown},
	{"ASK", KindClusterDown},
	{"MASTERDOWN", KindMasterDown},
	{"MISCONF", KindRefusesWrites},
	{"NOREPLICAS", KindRefusesWrites},
	{"BUSY", KindBusy},
	{"ERR max number of clients", KindMaxClients},
	{"NOSCRIPT", KindNoScript},
}

func replyKindOf(text string) RedisErrorKind {
	for _, reply := range replyKinds {
		if strings.HasPrefix(text, reply.code) || strings.Contains(text, ": -"+reply.code+" ") {
			return reply.kind
		}
	}
	if strings.Contains(text, "can't run this command") || // in a script, Redis up to 7.0
		strings.Contains(text, "ACL failure in script") { // later, and Valkey
		return KindNoPerm
	}
	return KindOther
}

// errNotAsked is the cause where Redis was not asked, because it did not answer
// before.
var errNotAsked = errors.New("not asked")

// A health is what one cache knows of its Redis. Lookups and scripts are judged
// apart, for they may go to different servers: a client may read from replicas
// while the primary is away. So are the parts of a cluster: one node that is down
// must not take the cache away from the keys of all others, nor slots that no node
// serves from the others of a node.
type health struct {
	circuits sync.Map                // by circuitID; made at the first failure, see taint
	tainting sync.Mutex              // held while a failure is noted in a circuit
	serverOf func(key string) string // on a cluster, "" if not known; nil for a single server
	troubled atomic.Int64            // circuits that saw a failure since the last success
	down     atomic.Bool             // Redis did not answer, and has not since
	said     atomic.Bool             // that was told, and not that it answers again

	log     *oncelog.Logger
	spawn   func(func())
	closing <-chan struct{}
	probe   func(op, key string) *RedisError // a harmless operation on the same server
	back    func()                           // Redis answers again
}

// A circuitID says what a circuit is the breaker of.
type circuitID struct {
	lookups bool
	server  string // its address; "" for the only one, or if that is not known
	part    int    // of the slots of a cluster, from 1; 0 for a server
}

const (
	// slotParts is into how many parts the slots of a cluster are taken apart.
	slotParts = 64
	// taintLasts is how long after its last failure a circuit that never opened is
	// forgotten: of a node that has left its cluster no success will be heard.
	taintLasts = 10 * probeInterval
)

// A circuit is the breaker before one part of Redis (Nygard, "Release It!",
// 2007). Closed, everything is asked, and nothing is kept of success; open,
// nothing is, but by the goroutine that probes.
type circuit struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	tainted atomic.Bool                // a failure since the last success
	last    atomic.Pointer[RedisError] // that failure
	failed  atomic.Int64               // when that was, Unix nanoseconds
	probing atomic.Bool                // its prober runs
}

func (h *health) newCircuit() *circuit {
	c := new(circuit)
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     probeInterval / 4, // the prober waits longer
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen && c.probing.CompareAndSwap(false, true) {
				h.spawn(func() { h.keepProbing(c) })
			}
		},
	})
	return c
}

// circuitsOf names the circuits that an operation on a key passes: of its server,
// and of its part of the slots.
func (h *health) circuitsOf(op, key string) (ids []circuitID) {
	lookups := op == opLookup
	if h.serverOf == nil {
		return []circuitID{{lookups: lookups}}
	}
	return []circuitID{
		{lookups: lookups, server: h.serverOf(key)},
		{lookups: lookups, part: 1 + clusterSlot(key)/(clusterSlots/slotParts)},
	}
}

// seen gives the circuits on an operation's way that have seen a failure.
func (h *health) seen(op, key string) (all []*circuit) {
	for _, id := range h.circuitsOf(op, key) {
		if c, ok := h.circuits.Load(id); ok {
			all = append(all, c.(*circuit))
		}
	}
	return all
}

// refuses says that an operation is not to be sent: its error, or nil.
func (h *health) refuses(op, key string) error {
	if h.troubled.Load() == 0 {
		return nil
	}
	for _, c := range h.seen(op, key) {
		if c.breaker.State() == gobreaker.StateClosed {
			continue
		}
		kind, cause := KindUnreachable, error(errNotAsked)
		if last := c.last.Load(); last != nil {
			kind, cause = last.Kind, fmt.Errorf("%w, for Redis has failed time and again, at last with: %w", errNotAsked, last.Err)
		}
		return &RedisError{Op: op, Kind: kind, Err: cause, key: key, notAsked: true}
	}
	return nil
}

// succeeded takes in that an operation was done.
func (h *health) succeeded(op, key string) {
	if h.troubled.Load() == 0 {
		return
	}
	for _, c := range h.seen(op, key) {
		h.relieve(c)
	}
	h.circuits.Range(func(_, any any) bool {
		c := any.(*circuit)
		old := time.Since(time.Unix(0, c.failed.Load())) > taintLasts
		if old && c.tainted.Load() && c.breaker.State() == gobreaker.StateClosed { // one that is open has its prober
			h.relieve(c)
		}
		return true
	})
}

// relieve has a circuit forget its failures, if it lets anything through.
func (h *health) relieve(c *circuit) {
	if done, refused := c.breaker.Allow(); refused == nil {
		done(nil)
		h.cleanse(c)
	}
}

// tell says what is wrong with Redis, each kind of trouble once.
func (h *health) tell(err *RedisError) {
	facts := kindFacts[err.Kind]
	told := h.log.Once("redis "+facts.name, slog.LevelWarn,
		"Redis does not answer as it should: what cannot be served is computed in this process, or refused, and not stored",
		"kind", facts.name, "operation", err.Op, "err", err.Err, "do", err.remedy())
	if told && facts.away {
		h.said.Store(true)
	}
}

// forgot says that a server has forgotten a script. No circuit hears of it: the
// server answers.
func (h *health) forgot(op string) {
	facts := kindFacts[KindNoScript]
	h.log.Once("redis "+facts.name, slog.LevelInfo,
		"Redis has forgotten a script that it had run before: it is sent whole, and nobody notices but by one more command",
		"kind", facts.name, "operation", op, "do", facts.remedy)
}

// failed takes in that an operation was not done.
func (h *health) failed(err *RedisError) {
	h.tell(err)
	if !kindFacts[err.Kind].away {
		return
	}
	h.down.Store(true)
	ids := h.circuitsOf(err.Op, err.key)
	id := ids[0]
	if err.Kind == KindClusterDown {
		id = ids[len(ids)-1] // it is of the slot, whatever server has said so
	}
	c := h.taint(id, err)
	if done, refused := c.breaker.Allow(); refused == nil {
		done(err)
	}
}

// taint notes a failure in its circuit. One that is made makes room: those that have
// seen no failure since the last success are as good as new, and of a Cluster whose
// nodes come and go there would be more and more. A circuit that is tainted under the
// lock is not taken out by another.
func (h *health) taint(id circuitID, err *RedisError) *circuit {
	h.tainting.Lock()
	defer h.tainting.Unlock()
	found, ok := h.circuits.Load(id)
	if !ok {
		h.circuits.Range(func(id, old any) bool {
			if c := old.(*circuit); !c.tainted.Load() && c.breaker.State() == gobreaker.StateClosed {
				h.circuits.Delete(id)
			}
			return true
		})
		found = h.newCircuit()
		h.circuits.Store(id, found)
	}
	c := found.(*circuit)
	c.last.Store(err)
	c.failed.Store(time.Now().UnixNano())
	if c.tainted.CompareAndSwap(false, true) {
		h.troubled.Add(1)
	}
	return c
}

// cleanse takes note that a circuit has no failure since its last success.
func (h *health) cleanse(c *circuit) {
	if c.breaker.State() != gobreaker.StateClosed || !c.tainted.CompareAndSwap(true, false) {
		return
	}
	if h.troubled.Add(-1) > 0 {
		return
	}
	if h.down.CompareAndSwap(true, false) {
		h.back()
	}
	// Whenever the contrary was told, however lately this was: else the log would end
	// in what is wrong no more. So it is told as seldom as that.
	if h.said.CompareAndSwap(true, false) {
		h.log.Forget("back")
		h.log.Once("back", slog.LevelInfo, "Redis answers again: caching resumes")
	}
}

// keepProbing repeats what failed, in a form that changes nothing, until it
// succeeds: so no caller ever waits for a Redis that may still be away.
func (h *health) keepProbing(c *circuit) {
	for {
		wait := time.NewTimer(probeInterval/2 + rand.N(probeInterval))
		select {
		case <-wait.C:
		case <-h.closing:
			wait.Stop()
			return
		}
		done, err := c.breaker.Allow()
		if err != nil {
			continue
		}
		last := c.last.Load()
		failure := h.probe(last.Op, last.key)
		if failure != nil && kindFacts[failure.Kind].away {
			c.last.Store(failure)
			h.tell(failure)
			done(failure)
			continue
		}
		done(nil)
		h.cleanse(c)
		c.probing.Store(false)
		// It may have opened again before that was said.
		if c.breaker.State() == gobreaker.StateClosed || !c.probing.CompareAndSwap(false, true) {
			return
		}
	}
}
