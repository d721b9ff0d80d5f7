package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

const sentinels = 3

// MasterName is the name under which Sentinel watches the primary.
const MasterName = "fncache"

// A Sentinel is a primary with one replica, watched by three sentinels of
// which two must agree that the primary is gone.
type Sentinel struct {
	t         testing.TB
	primary   *Server
	replica   *Server
	sentinels []*Server
}

// StartSentinel runs a Sentinel group for this test, and returns when the
// replica is in sync and the sentinels know it and each other. A primary that
// is gone is replaced within a few seconds.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t, primary: Start(t)}
	// A sentinel asks the primary for its replicas at once, and then every ten
	// seconds: the replica has to be there first.
	s.replica = StartReplica(t, s.primary)
	for range sentinels {
		s.sentinels = append(s.sentinels, startSentinel(t, s.primary))
	}
	awaitOrFail(t, "the sentinels to agree", func() error {
		var errs []error
		for i, server := range s.sentinels {
			if err := s.agrees(server); err != nil {
				errs = append(errs, fmt.Errorf("sentinel %d: %w", i, err))
			}
		}
		return errors.Join(errs...)
	}, s.sentinels...)
	return s
}

// startSentinel runs one sentinel. Its configuration is a file: a sentinel
// keeps what it learns there, and refuses to start without one.
func startSentinel(t testing.TB, primary *Server) *Server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	conf := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel down-after-milliseconds %[1]s 1000
sentinel failover-timeout %[1]s 5000
`, MasterName, primary.p.port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, func(port int) []string {
		return []string{file, "--sentinel", "--port", strconv.Itoa(port), "--bind", "127.0.0.1"}
	})
}

// agrees reports, as an error, what a sentinel does not know yet.
func (s *Sentinel) agrees(server *Server) error {
	ctx := context.Background()
	client := redis.NewSentinelClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	others, err := client.Sentinels(ctx, MasterName).Result()
	if err == nil && len(others) != sentinels-1 {
		err = fmt.Errorf("it knows %d others", len(others))
	}
	if err != nil {
		return err
	}
	if err := client.CkQuorum(ctx, MasterName).Err(); err != nil {
		return err
	}
	replicas, err := client.Replicas(ctx, MasterName).Result()
	if err != nil {
		return err
	}
	if len(replicas) != 1 || replicas[0]["flags"] != "slave" || replicas[0]["master-link-status"] != "ok" {
		return fmt.Errorf("its replicas are %v", replicas)
	}
	return nil
}

// Primary returns the server that was the primary at the start.
func (s *Sentinel) Primary() *Server { return s.primary }

// Replica returns the server that was the replica at the start.
func (s *Sentinel) Replica() *Server { return s.replica }

// Sentinels returns the sentinels themselves.
func (s *Sentinel) Sentinels() []*Server { return s.sentinels }

// Addrs returns the sentinels' addresses.
func (s *Sentinel) Addrs() []string { return addrs(s.sentinels) }

// Client returns a client that follows the primary, closed when the test ends.
// Each mut may change its options first.
func (s *Sentinel) Client(mut ...func(*redis.FailoverOptions)) *redis.Client {
	opts := &redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: s.Addrs()}
	for _, m := range mut {
		m(opts)
	}
	c := redis.NewFailoverClient(opts)
	s.t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}
