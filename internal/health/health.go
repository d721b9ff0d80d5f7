// Package health logs what is wrong with Redis: each kind of trouble of a node once, and its
// end.
package health

import (
	"log/slog"
	"sync/atomic"

	"github.com/fncache/fncache/internal/oncelog"
)

// A Log logs the state of one cache's Redis. Its methods are safe for concurrent use.
type Log struct {
	log  *oncelog.Logger
	away atomic.Int64 // nodes that are away: for reads, and for writes
	said atomic.Bool  // whether trouble was logged, and its end not yet
}

// New returns a Log that writes to log.
func New(log *oncelog.Logger) *Log { return &Log{log: log} }

// A Trouble describes what is wrong with a node.
type Trouble struct {
	Kind   string // in one word
	Op     string // the operation that showed it
	Node   string // its address; "" if no node was asked
	Err    error
	Remedy string // the remedy; "" if none is known
	Away   bool   // such trouble means that a node is away
	Busy   bool   // the trouble is this process's, and not that of Redis
}

// NodeAway records that a node is away, for reads or for writes.
func (l *Log) NodeAway() { l.away.Add(1) }

// NodeBack records that a node answers again.
func (l *Log) NodeBack() {
	if l.away.Add(-1) == 0 {
		l.resume()
	}
}

// NodeLeft records that a node that was away has left its Cluster. The next operation shows
// whether the others answer.
func (l *Log) NodeLeft() { l.away.Add(-1) }

// Succeeded records that an operation succeeded.
func (l *Log) Succeeded() {
	if l.said.Load() && l.away.Load() == 0 {
		l.resume()
	}
}

// resume logs that Redis answers again, if trouble was logged before, however recently.
// Otherwise the last record of the log would be outdated. It is logged as rarely as trouble is.
func (l *Log) resume() {
	if l.said.CompareAndSwap(true, false) {
		l.log.Forget("back")
		l.log.Once("back", slog.LevelInfo, "Redis answers again: caching resumes")
	}
}

// Tell logs what is wrong, each kind of trouble of a node once.
func (l *Log) Tell(t Trouble) {
	if t.Busy {
		l.log.Once("redis "+t.Kind, slog.LevelWarn,
			"this process is busy: the Redis client had no connection to give for RedisTimeout, and calls wait for one",
			"kind", t.Kind, "operation", t.Op, "node", t.Node, "err", t.Err, "do", t.Remedy)
		return
	}
	logged := l.log.Once("redis "+t.Kind+" "+t.Node, slog.LevelWarn,
		"Redis does not answer as it should: what cannot be served is computed in this process, or refused, and not stored",
		"kind", t.Kind, "operation", t.Op, "node", t.Node, "err", t.Err, "do", t.Remedy)
	if logged && t.Away {
		l.said.Store(true)
	}
}

// Forgot logs that a server has forgotten a script. The node does not count as away: the server
// answers.
func (l *Log) Forgot(t Trouble) {
	l.log.Once("redis "+t.Kind, slog.LevelInfo,
		"Redis has forgotten a script that it had run before: the whole script is sent again, which costs one more command",
		"kind", t.Kind, "operation", t.Op, "do", t.Remedy)
}
