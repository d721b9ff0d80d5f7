package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Monitor collects what a server receives from all clients of all processes.
type Monitor struct {
	t    testing.TB
	s    *Server
	conn net.Conn
	r    *bufio.Reader
}

// Monitor begins to collect what the server receives. It sees every command that is sent after it
// returns.
func (s *Server) Monitor(t testing.TB) *Monitor {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr(), patience)
	if err != nil {
		t.Fatalf("redistest: monitor: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m := &Monitor{t: t, s: s, conn: conn, r: bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		t.Fatalf("redistest: monitor: %v", err)
	}
	if line := m.read(); line != "OK" {
		t.Fatalf("redistest: monitor: the server says %q", line)
	}
	return m
}

// Stop returns a line for each command that clients have sent since Monitor, in order, as MONITOR
// writes it:
//
//	1700000000.123456 [0 127.0.0.1:40404] "get" "key"
//
// The commands of scripts are left out, and so is connection set-up; see [Counter].
//
// The server keeps the lines until Stop reads them, so no goroutine has to read them meanwhile.
func (m *Monitor) Stop() []string {
	m.t.Helper()
	defer func() { _ = m.conn.Close() }()
	// The marker is the last command. MONITOR reports all earlier commands before it.
	marker := "end of monitor " + m.conn.LocalAddr().String()
	c := redis.NewClient(&redis.Options{Addr: m.s.Addr()})
	defer func() { _ = c.Close() }()
	if err := c.Echo(context.Background(), marker).Err(); err != nil {
		m.t.Fatalf("redistest: monitor: %v", err)
	}
	var lines []string
	for {
		line := m.read()
		if strings.Contains(line, marker) {
			return lines
		}
		if origin, name := splitMonitorLine(line); origin != "lua" && !setUp[name] {
			lines = append(lines, line)
		}
	}
}

func (m *Monitor) read() string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := m.r.ReadString('\n')
	if err != nil {
		m.t.Fatalf("redistest: monitor: %v", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), "+")
}

// splitMonitorLine returns the origin of a command, which is a client's address or "lua", and the
// command's name in lower case.
func splitMonitorLine(line string) (origin, name string) {
	var stamp, db, quoted string
	_, _ = fmt.Sscan(line, &stamp, &db, &origin, &quoted)
	return strings.TrimSuffix(origin, "]"), strings.ToLower(strings.Trim(quoted, `"`))
}
