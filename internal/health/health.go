// Package health tells a person what is wrong with Redis, each kind of trouble of a node
// once, and that it is over.
package health

import (
	"log/slog"
	"sync/atomic"

	"github.com/fncache/fncache/internal/oncelog"
)

// A Log says what becomes of one cache's Redis. Its methods may be called at once.
type Log struct {
	log  *oncelog.Logger
	away atomic.Int64 // nodes that are away: for reads, and for writes
	said atomic.Bool  // that was told, and not that Redis answers again
}

// New returns a Log that writes to log.
func New(log *oncelog.Logger) *Log { return &Log{log: log} }

// A Trouble is what is wrong with a node.
type Trouble struct {
	Kind   string // in one word
	Op     string // the operation that showed it
	Node   string // its address; "" if none was asked
	Err    error
	Remedy string // what to do; "" if nothing is known
	Away   bool   // trouble of its kind is why a node is away
	Busy   bool   // it is this process's trouble, and not that of Redis
}

// NodeAway takes in that a node is away, for reads or for writes.
func (l *Log) NodeAway() { l.away.Add(1) }

// NodeBack takes in that a node answers again.
func (l *Log) NodeBack() {
	if l.away.Add(-1) == 0 {
		l.resume()
	}
}

// NodeLeft takes in that a node that was away has left its Cluster. Whether the others answer is
// told by the next operation that is done.
func (l *Log) NodeLeft() { l.away.Add(-1) }

// Succeeded takes in that an operation was done.
func (l *Log) Succeeded() {
	if l.said.Load() && l.away.Load() == 0 {
		l.resume()
	}
}

// resume tells that Redis answers again, if the contrary was told, however lately: else
// the log would end in what is wrong no more. So it is told as seldom as that.
func (l *Log) resume() {
	if l.said.CompareAndSwap(true, false) {
		l.log.Forget("back")
		l.log.Once("back", slog.LevelInfo, "Redis answers again: caching resumes")
	}
}

// Tell says what is wrong, each kind of trouble of a node once.
func (l *Log) Tell(t Trouble) {
	if t.Busy {
		l.log.Once("redis "+t.Kind, slog.LevelWarn,
			"this process is busy: the Redis client had no connection to give for RedisTimeout, and calls wait for one",
			"kind", t.Kind, "operation", t.Op, "node", t.Node, "err", t.Err, "do", t.Remedy)
		return
	}
	told := l.log.Once("redis "+t.Kind+" "+t.Node, slog.LevelWarn,
		"Redis does not answer as it should: what cannot be served is computed in this process, or refused, and not stored",
		"kind", t.Kind, "operation", t.Op, "node", t.Node, "err", t.Err, "do", t.Remedy)
	if told && t.Away {
		l.said.Store(true)
	}
}

// Forgot says that a server has forgotten a script. No node is away for that: the server
// answers.
func (l *Log) Forgot(t Trouble) {
	l.log.Once("redis "+t.Kind, slog.LevelInfo,
		"Redis has forgotten a script that it had run before: it is sent whole, and nobody notices but by one more command",
		"kind", t.Kind, "operation", t.Op, "do", t.Remedy)
}
