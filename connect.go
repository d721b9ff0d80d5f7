package fncache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// This file knows what becomes of the connections that the client makes. go-redis
// tries them again behind, for longer than Config.RedisTimeout, and what it would
// say in the end comes too late: an operation that ran out of time has waited for a
// connection, and not for an answer nor for its turn in the pool.

// troubleLasts is how long an attempt that failed explains an operation that ran out
// of time, beyond RedisTimeout: go-redis pauses between attempts, up to a second
// when they fail time and again.
const troubleLasts = time.Second

// errNoConnection is the cause where RedisTimeout ran out and no connection could be
// made.
var errNoConnection = errors.New("no connection within Config.RedisTimeout")

// A connecting is what is known of the connections to one server. An attempt has two
// parts: go-redis dials, and then greets with HELLO.
type connecting struct {
	mu       sync.Mutex   // guards the fields below
	underWay []*time.Time // when each dial began that has not ended
	failure  error        // of the last attempt that ended; nil if it succeeded
	failed   time.Time    // when that was
	dialed   bool         // and it had been dialled
}

// dial notes that a dial has begun, and gives the func to be called at its end.
func (c *connecting) dial(ctx context.Context) (ended func(error)) {
	began := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay = append(c.underWay, &began)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.underWay, &began)
		c.underWay = slices.Delete(c.underWay, i, i+1)
		switch {
		case err == nil && !c.dialed: // else the greeting is what fails
			c.failure = nil
		case err != nil && !errors.Is(ctx.Err(), context.Canceled): // else nobody wants it any more
			c.failure, c.failed, c.dialed = err, time.Now(), false
		}
	}
}

// greeted takes in how the server answered HELLO. A server at its maxclients says so
// and closes: go-redis sends HELLO again, and tells that the connection was closed.
func (c *connecting) greeted(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil, refused(err): // by an old server, or for a password: it answers
		c.failure, c.dialed = nil, false
	case kindOf(err) == KindUnreachable && !errors.Is(err, context.Canceled):
		c.failure, c.failed, c.dialed = err, time.Now(), true
	}
}

// trouble says why no connection can be made, or nil: an operation that began that
// long ago could have had one for all that is known.
func (c *connecting) trouble(since time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failure != nil && time.Since(c.failed) < since+troubleLasts:
		return c.failure
	case len(c.underWay) > 0 && time.Since(*c.underWay[0]) > since/2:
		return fmt.Errorf("dialing for %v without an answer", time.Since(*c.underWay[0]).Round(time.Millisecond))
	}
	return nil
}

// noConnection says why no connection could be made for an operation on a key, or
// nil.
func (s *lockStore) noConnection(key string) error {
	for _, c := range s.connectingTo(key) {
		if err := c.trouble(s.timeout); err != nil {
			return err
		}
	}
	return nil
}

// timedOut gives the cause where RedisTimeout ran out. go-redis does not say what
// an operation waited for, but whether others wait for a connection.
func (s *lockStore) timedOut(key string) error {
	if err := s.noConnection(key); err != nil {
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	if s.poolIsFull(key) {
		return errPoolTimeout
	}
	return errRedisTimeout
}

// poolIsFull says whether operations wait for their turn in the client's pool.
func (s *lockStore) poolIsFull(key string) bool {
	if s.clustered() && s.serverOf(key) == "" {
		// It has not learned the slots, and would ask for them first, for as long as
		// it takes.
		return false
	}
	pool := s.client.PoolStats()
	return pool != nil && pool.PendingRequests > 0 && pool.IdleConns == 0 && !s.traffic.hangs(int64(pool.PendingRequests), s.timeout)
}

// A traffic is what is known of the operations that are within go-redis: whether a
// pool is full because the server does not answer them.
type traffic struct {
	within   atomic.Int64 // operations that wait for a connection, or have one
	answered atomic.Int64 // when the server has answered last, Unix nanoseconds
}

func (t *traffic) begin() { t.within.Add(1) }

// end takes in how an operation ended, and when: an error can be the server's answer,
// too.
func (t *traffic) end(err error, at time.Time) {
	t.within.Add(-1)
	if err == nil || refused(err) {
		t.answered.Store(at.UnixNano())
	}
}

// hangs says whether operations have connections, as so many wait for one, and none
// was answered while one could have run out of time; or nearly so, for it was sent
// before the server fell silent.
func (t *traffic) hangs(waiting int64, timeout time.Duration) bool {
	return t.within.Load() > waiting && time.Since(time.Unix(0, t.answered.Load())) >= timeout-timeout/10
}
