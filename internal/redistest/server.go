package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// patience bounds how long an event may take on a busy machine. Nothing
	// waits longer than the event itself does.
	patience     = 30 * time.Second
	pollInterval = 5 * time.Millisecond
)

// Require skips the test with the reason if there is no server to run: the one that
// FNCACHE_REDIS_SERVER in the environment names, or else redis-server on the PATH. With
// FNCACHE_REQUIRE_REDIS=1 the test fails instead. All Start functions call it.
func Require(t testing.TB) {
	t.Helper()
	_, err := serverBinary()
	switch {
	case err == nil:
	case os.Getenv("FNCACHE_REQUIRE_REDIS") == "1":
		t.Fatalf("FNCACHE_REQUIRE_REDIS=1, but no real Redis can be started: %v", err)
	default:
		t.Cleanup(func() { recordSkip(t) })
		t.Skipf("needs a real Redis: %v (Debian: apt-get install redis-server)", err)
	}
}

// A Server is a Redis server on the loopback interface.
type Server struct {
	t      testing.TB
	p      *process
	shared bool
}

// Start runs a server for this test, with persistence off, in a directory of
// its own, and ends it when the test ends. The arguments are options as
// redis-server takes them: "--maxmemory", "10mb".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, func(port int) []string { return serverArgs(port, args...) })
}

func start(t testing.TB, argsFor func(port int) []string) *Server {
	t.Helper()
	Require(t)
	p, err := forTest(t)(nil, argsFor)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return &Server{t: t, p: p}
}

// A plan describes a server to start.
type plan struct {
	dir   string                  // where it runs
	tidy  bool                    // dir is removed after the server has ended
	files map[string]string       // written into dir before the start
	args  func(port int) []string // its command line
}

// A launcher starts servers, and determines how long they live. It puts the files into the folder
// that a server runs in.
type launcher func(files map[string]string, argsFor func(port int) []string) (*process, error)

// forTest launches servers that end with the test.
func forTest(t testing.TB) launcher {
	return func(files map[string]string, argsFor func(port int) []string) (*process, error) {
		p, err := launch(plan{dir: t.TempDir(), files: files, args: argsFor})
		if err == nil {
			t.Cleanup(p.kill)
		}
		return p, err
	}
}

// forBinary launches servers that end with the test binary, as every server here does. They leave
// nothing behind.
func forBinary(files map[string]string, argsFor func(port int) []string) (*process, error) {
	dir, err := os.MkdirTemp("", "redistest-*")
	if err != nil {
		return nil, err
	}
	return launch(plan{dir: dir, tidy: true, files: files, args: argsFor})
}

func serverArgs(port int, more ...string) []string {
	return append([]string{
		"--port", strconv.Itoa(port),
		"--bind", "127.0.0.1",
		"--save", "",
		"--appendonly", "no",
		"--repl-diskless-sync-delay", "0", // a replica is in sync at once, not after 5 s
	}, more...)
}

// sharedServer is started by the first test that needs it.
var sharedServer = sync.OnceValues(func() (*process, error) {
	return forBinary(nil, func(port int) []string { return serverArgs(port) })
})

// Shared returns the one server that the tests of a binary share, emptied. It is for tests that are
// not parallel and do not disturb the server: Pause, Kill, Restart and Detach are refused.
func Shared(t testing.TB) *Server {
	t.Helper()
	Require(t)
	p, err := sharedServer()
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s := &Server{t: t, p: p, shared: true}
	s.Flush(t)
	return s
}

// StartReplica runs a replica of primary, and returns when the two are in sync.
func StartReplica(t testing.TB, primary *Server, args ...string) *Server {
	t.Helper()
	Require(t)
	p, err := runReplica(forTest(t), primary.p, args...)
	if err != nil {
		t.Fatalf("redistest: replica: %v", err)
	}
	return &Server{t: t, p: p}
}

// runReplica is like StartReplica. Its server may live longer than a test.
func runReplica(run launcher, primary *process, args ...string) (*process, error) {
	args = append([]string{"--replicaof", fmt.Sprintf("127.0.0.1 %d", primary.port)}, args...)
	replica, err := run(nil, func(port int) []string { return serverArgs(port, args...) })
	if err != nil {
		return nil, err
	}
	above, below := redis.NewClient(&redis.Options{Addr: address(primary.port)}), redis.NewClient(&redis.Options{Addr: address(replica.port)})
	defer func() { _, _ = above.Close(), below.Close() }()
	err = awaitState("the replica to be in sync", func() error {
		return infoHas(below, "replication", "master_link_status:up")
	}, replica)
	if err == nil {
		// WAIT and Sentinel rely on the primary's view.
		err = awaitState("the primary to agree", func() error {
			return infoHas(above, "replication", fmt.Sprintf("port=%d,state=online", replica.port))
		}, primary)
	}
	return replica, err
}

// Detach makes a replica independent of its primary. From then on it keeps its data, like a replica
// that lags forever. Restart attaches it again.
func (s *Server) Detach() {
	s.t.Helper()
	if s.refuses("Detach") {
		return
	}
	if err := s.Client().ReplicaOf(context.Background(), "NO", "ONE").Err(); err != nil {
		s.t.Errorf("redistest: detach %s: %v", s.Addr(), err)
	}
}

// Addr is the server's address, host:port.
func (s *Server) Addr() string { return address(s.p.port) }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Client returns a client of the server. It is closed when the test ends. Each mut may change its
// options first.
func (s *Server) Client(mut ...func(*redis.Options)) *redis.Client {
	opts := &redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true} // so that hooks see everything
	for _, m := range mut {
		m(opts)
	}
	c := redis.NewClient(opts)
	s.t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}

// Flush removes all data and scripts of the server.
func (s *Server) Flush(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer func() { _ = c.Close() }()
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatalf("redistest: flush %s: %v", s.Addr(), err)
	}
	if err := c.ScriptFlush(ctx).Err(); err != nil {
		t.Fatalf("redistest: flush the scripts of %s: %v", s.Addr(), err)
	}
}

// Pause stops the server with SIGSTOP. Connections stay open, dials still succeed, and nothing is
// answered before Resume.
func (s *Server) Pause() { s.t.Helper(); s.do("Pause", (*process).pause) }

// Resume lets a paused server continue. It then handles all that was sent to it meanwhile.
func (s *Server) Resume() { s.t.Helper(); s.do("Resume", (*process).resume) }

// Kill ends the server with SIGKILL. When it returns, the connections are cut and dials are
// refused.
func (s *Server) Kill() {
	s.t.Helper()
	s.do("Kill", func(p *process) error { p.kill(); return nil })
}

// Restart kills the server if it runs, and starts it again on the same port, with the same
// arguments, and empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.do("Restart", func(p *process) error { p.kill(); return p.start() })
}

// do runs an operation that disturbs a server. It may be called from any goroutine, so a
// failure does not end the test.
func (s *Server) do(what string, f func(*process) error) {
	s.t.Helper()
	if s.refuses(what) {
		return
	}
	if err := f(s.p); err != nil {
		s.t.Errorf("redistest: %s of %s: %v", what, s.Addr(), err)
	}
}

func (s *Server) refuses(what string) bool {
	s.t.Helper()
	if s.shared {
		s.t.Errorf("redistest: %s would disturb the shared server; use Start", what)
	}
	return s.shared
}

// Logs returns what the server has logged so far, also before restarts.
func (s *Server) Logs() string { return s.p.logs() }

// await calls ready until it returns no error.
func await(ready func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", patience, err)
		}
		time.Sleep(pollInterval)
	}
}

// awaitState is like await, for a state of servers. If they do not reach it, the error has their
// logs.
func awaitState(what string, ready func() error, of ...*process) error {
	err := await(ready)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("waiting for %s: %w", what, err)
	for _, p := range of {
		err = fmt.Errorf("%w\nlog of %s:\n%s", err, address(p.port), p.logs())
	}
	return err
}

// infoHas returns an error if a section of INFO lacks a text.
func infoHas(c *redis.Client, section, want string) error {
	got, err := c.Info(context.Background(), section).Result()
	if err == nil && !strings.Contains(got, want) {
		err = fmt.Errorf("INFO %s has no %s:\n%s", section, want, got)
	}
	return err
}
