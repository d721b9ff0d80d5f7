// Package memconn makes a connection in memory behave as a socket does.
package memconn

import (
	"net"
	"sync"
	"time"
)

// Buffered returns a connection on c, one end of a [net.Pipe], with room for what is written
// and not read yet. A pipe has none, so a pipeline can block forever:
//
//  1. the client writes several commands at once;
//  2. the server reads the first of them, and answers it;
//  3. the client does not read the answer before it has written all of its commands,
//     and the server reads no further before its answer is read.
//
// Closing the connection ends its goroutine. What was not read until then is lost. An err that
// came with c is returned.
func Buffered(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	b := &conn{Conn: c}
	b.changed.L = &b.mu
	go b.pump()
	return b, nil
}

type conn struct {
	net.Conn // of which the pump alone writes

	mu      sync.Mutex // guards the fields below
	changed sync.Cond  // signalled when buf is not empty, or err is set
	unread  []byte
	err     error // why writing has ended
}

// Write never blocks.
func (b *conn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.unread = append(b.unread, p...)
	b.changed.Signal()
	return len(p), nil
}

func (b *conn) pump() {
	for {
		out, ok := b.next()
		if !ok {
			return
		}
		if _, err := b.Conn.Write(out); err != nil {
			b.fail(err)
			return
		}
	}
}

// next waits for something to write. ok is false when writing has ended.
func (b *conn) next() (out []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.unread) == 0 && b.err == nil {
		b.changed.Wait()
	}
	out, b.unread = b.unread, nil
	return out, b.err == nil
}

func (b *conn) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		b.changed.Signal()
	}
}

// Close closes the connection.
func (b *conn) Close() error {
	b.fail(net.ErrClosed)
	return b.Conn.Close()
}

// SetDeadline sets the deadline of reading, as SetReadDeadline does: writing never blocks.
func (b *conn) SetDeadline(t time.Time) error { return b.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (b *conn) SetWriteDeadline(time.Time) error { return nil }
