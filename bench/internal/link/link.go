// Package link is a slow connection to a server: it delays the server's answers, or limits the
// bytes per second.
package link

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Link is a proxy in front of one server, on the loopback interface.
type Link struct {
	upstream string
	listener net.Listener
	delay    atomic.Int64 // delay of the server's answers, nanoseconds
	up, down *lane
	ended    chan struct{}
	pumps    sync.WaitGroup

	mu    sync.Mutex // guards the field below
	conns map[net.Conn]struct{}
}

// A lane is one direction of the link, shared by all connections: they take turns,
// a chunk each.
type lane struct {
	rate   int // bytes a second; 0: no bound
	passed atomic.Int64

	mu   sync.Mutex // guards the field below
	free time.Time  // when the bytes so far have passed
}

// chunk is how many bytes of one connection pass before the turn of another.
const chunk = 16 << 10

// buffers is the kernel's buffer size for each end of a connection. A larger buffer would
// accept megabytes at once, and the link would not be slow.
const buffers = 64 << 10

// New returns a link to a server with a limit in bytes per second for each direction; 0 means
// no limit.
func New(upstream string, rate int) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{
		upstream: upstream, listener: listener, up: &lane{rate: rate}, down: &lane{rate: rate},
		ended: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	l.pumps.Go(l.accept)
	return l, nil
}

// Addr returns the address for clients.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// SetDelay sets the latency of the server's answers from now on. Answers that follow each other
// closely stay close.
func (l *Link) SetDelay(d time.Duration) { l.delay.Store(int64(d)) }

// Up returns how many bytes have passed to the server.
func (l *Link) Up() int64 { return l.up.passed.Load() }

// Close cuts all connections and waits until all goroutines of the link have ended.
func (l *Link) Close() {
	close(l.ended)
	_ = l.listener.Close()
	l.mu.Lock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.pumps.Wait()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", l.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		narrow(client)
		narrow(server)
		if !l.keep(client, server) {
			return
		}
		l.pumps.Go(func() { l.pump(server, client, l.up, nil) })
		l.pumps.Go(func() { l.pump(client, server, l.down, &l.delay) })
	}
}

func narrow(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_, _ = tcp.SetReadBuffer(buffers), tcp.SetWriteBuffer(buffers)
	}
}

// keep registers the connections, and reports whether the link is open.
func (l *Link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		select {
		case <-l.ended:
			_ = conn.Close()
		default:
			l.conns[conn] = struct{}{}
		}
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// A parcel is received bytes, and the time to pass them on.
type parcel struct {
	bytes []byte
	due   time.Time
}

// pump copies bytes from one connection to another until either ends. Then it ends both.
func (l *Link) pump(to, from net.Conn, through *lane, delay *atomic.Int64) {
	waiting := make(chan parcel, 1024) // the number of parcels on their way
	l.pumps.Go(func() {
		defer close(waiting)
		for {
			buffer := make([]byte, chunk)
			n, err := from.Read(buffer)
			if n > 0 {
				through.pass(n)
				due := time.Now()
				if delay != nil {
					due = due.Add(time.Duration(delay.Load()))
				}
				waiting <- parcel{buffer[:n], due}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range waiting {
		l.until(p.due)
		if _, err := to.Write(p.bytes); err != nil {
			_ = from.Close() // the rest is drained
		}
	}
	_, _ = to.Close(), from.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, to)
	delete(l.conns, from)
}

// until waits for a time, or until the end of the link.
func (l *Link) until(due time.Time) {
	wait := time.Until(due)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ended:
	}
}

// pass waits until n bytes have passed, after those of other connections.
func (a *lane) pass(n int) {
	a.passed.Add(int64(n))
	if a.rate == 0 {
		return
	}
	a.mu.Lock()
	a.free = later(a.free, time.Now()).Add(time.Duration(n) * time.Second / time.Duration(a.rate))
	free := a.free
	a.mu.Unlock()
	time.Sleep(time.Until(free))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
