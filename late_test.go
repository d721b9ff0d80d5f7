package fncache_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// The orders of events that the model of the protocol found (docs/protocol.md).

// slowRoute is a client's dialer. Armed, it holds the next acquire back, as a
// route that loses packets does: its client gets no reply and closes the
// connection, and what it has sent arrives when the test says so.
type slowRoute struct {
	mu    sync.Mutex // guards the fields below
	armed bool
	held  []byte // what was sent
	on    net.Conn
}

func (r *slowRoute) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &slowConn{Conn: conn, route: r}, err
}

func (r *slowRoute) arm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = true
}

// arrive lets what was held back arrive, and gives the server's reply.
func (r *slowRoute) arrive(t *testing.T) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.held, "an acquire was held back")
	defer func() { _ = r.on.Close() }()
	_, err := r.on.Write(r.held)
	require.NoError(t, err)
	require.NoError(t, r.on.SetReadDeadline(time.Time{}))
	reply := make([]byte, 512)
	n, err := r.on.Read(reply)
	require.NoError(t, err)
	return string(reply[:n])
}

type slowConn struct {
	net.Conn
	route *slowRoute
	slow  bool // its acquire is held back; under route.mu
}

func (c *slowConn) Write(p []byte) (int, error) {
	c.route.mu.Lock()
	defer c.route.mu.Unlock()
	if c.route.armed && bytes.Contains(p, []byte(scripts["acquire"].Hash())) {
		c.route.armed, c.slow = false, true
		c.route.held, c.route.on = bytes.Clone(p), c.Conn
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *slowConn) Read(p []byte) (int, error) {
	c.route.mu.Lock()
	slow := c.slow
	c.route.mu.Unlock()
	if slow {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

func (c *slowConn) Close() error {
	c.route.mu.Lock()
	defer c.route.mu.Unlock()
	if c.slow {
		return nil // the system still delivers what was written before
	}
	return c.Conn.Close()
}

func TestAcquireSentAgainArrivesAfterAnInvalidation(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		route := &slowRoute{}
		here := newProcess(t, server.Client(func(o *redis.Options) { o.Dialer = route.dial }))
		there := newProcess(t, server.Client())
		s := newHeld()
		opts := Options{Lease: slowLease, Name: t.Name()}
		a, b := wrap(t, here.Cache, &s.source, opts), wrap(t, there.Cache, &s.source, opts)
		s.let <- struct{}{}
		a.get(t.Context(), "warm the script cache")
		<-s.began

		// 1. The acquire is held back on its way. It is sent again, and granted.
		here.tap.on("acquire", route.arm)
		end := a.begin(t.Context(), "k")
		old := <-s.began
		// 2. The source changes, and the key is invalidated.
		require.NoError(t, b.Invalidate(t.Context(), "k"))
		// 3. The first sending arrives.
		assert.Contains(t, route.arrive(t), "acquired")
		// 4. The computation ends.
		s.let <- struct{}{}
		assert.Equal(t, old, (<-end).value, "its own caller called before")
		// 5. What was computed before the invalidation must not be there.
		key, err := b.Key("k")
		require.NoError(t, err)
		assert.Zero(t, server.Client().Exists(t.Context(), key).Val(),
			"computed before the invalidation, stored after it")
	})
}

func TestCallBetweenAStoreThatIsInvalidatedAndItsReply(t *testing.T) {
	inBothForms(t, func(t *testing.T) {
		server := redistest.Shared(t)
		here, there := newProcess(t, server.Client()), newProcess(t, server.Client())
		s := &source{}
		opts := Options{Lease: slowLease, OnCold: Wait, Name: t.Name()}
		a, b := wrap(t, here.Cache, s, opts), wrap(t, there.Cache, s, opts)

		// 1. The store has run; its reply is on its way.
		var joiner <-chan outcome
		here.tap.onReply("store", func(redis.Cmder) {
			// 2. Another process invalidates.
			assert.NoError(t, b.Invalidate(t.Context(), "k"))
			// 3. A call: it joins the computation, or looks up.
			lookups := here.tap.count("get")
			joiner = a.begin(t.Context(), "k")
			key, err := a.Key("k")
			assert.NoError(t, err)
			assert.Eventually(t, func() bool {
				return a.Joined(key) > 1 || here.tap.count("get") > lookups
			}, 10*time.Second, time.Millisecond)
		})
		assert.Equal(t, 1, a.get(t.Context(), "k").value)
		assert.Equal(t, 2, (<-joiner).value, "it called after the invalidation")
	})
}
