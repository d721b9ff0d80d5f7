package fncachetest

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fncache/fncache/internal/memconn"
)

// StopRedis makes Redis unreachable: commands on their way fail, and new connections are refused.
// What is stored stays. Calls notice the outage at once, and follow Config.OnRedisDown.
func (c *Cache) StopRedis() { c.wall.raise() }

// StartRedis makes Redis reachable again, and returns when the cache asks it again. That takes up
// to 1.5 s, and no real time in a testing/synctest bubble. After 10 s StartRedis returns in any
// case, because a cache that was closed does not ask Redis.
func (c *Cache) StartRedis() {
	c.wall.fall()
	for end := time.Now().Add(10 * time.Second); c.away() && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // the cache tries by itself
	}
}

func (c *Cache) away() bool {
	for _, node := range c.Health().Nodes {
		if node.Away {
			return true
		}
	}
	return false
}

// A wall stands between the cache and Redis while it is up.
type wall struct {
	mu    sync.Mutex // guards the fields below, and those of conns
	up    bool
	conns map[*conn]struct{}
}

// A conn is a connection through the wall. An idle one survives an outage.
type conn struct {
	net.Conn
	wall *wall
	used bool // it has been written to or read from since the client was answered, or a Read waits
}

var errUnreachable = errors.New("fncachetest: Redis was stopped by StopRedis")

func (w *wall) dial(server *miniredis.Miniredis) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	inner, err := memconn.Buffered(server.Dial())
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, wall: w}
	w.conns[c] = struct{}{}
	return c, nil
}

// raise ends the connections that are in use.
func (w *wall) raise() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = true
	for c := range w.conns {
		if c.used {
			_ = c.Conn.Close()
		}
	}
}

func (w *wall) fall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = false
}

// use notes that the connection is used, or is not. It returns an error while the wall is up.
func (c *conn) use(used bool) error {
	c.wall.mu.Lock()
	defer c.wall.mu.Unlock()
	c.used = used
	if c.wall.up && used {
		return &net.OpError{Op: "use", Net: "tcp", Err: errUnreachable}
	}
	return nil
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.use(true); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *conn) Read(p []byte) (n int, err error) {
	if err := c.use(true); err != nil {
		return 0, err
	}
	n, err = c.Conn.Read(p)
	_ = c.use(false)
	return n, err
}

func (c *conn) Close() error {
	c.wall.mu.Lock()
	delete(c.wall.conns, c)
	c.wall.mu.Unlock()
	return c.Conn.Close()
}
