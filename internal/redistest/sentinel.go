package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

const sentinels = 3

// MasterName is the name under which Sentinel watches the primary.
const MasterName = "fncache"

// A Sentinel is a primary with one replica, watched by three sentinels. Two of them must agree that
// the primary is gone.
type Sentinel struct {
	t         testing.TB
	primary   *Server
	replica   *Server
	sentinels []*Server
}

// StartSentinel runs a Sentinel group for this test. It returns when the replica is in sync and the
// sentinels know it and each other. A primary that is gone is replaced within a few seconds.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	Require(t)
	servers, err := runSentinel(forTest(t))
	if err != nil {
		t.Fatalf("redistest: sentinel: %v", err)
	}
	return newSentinel(t, servers, false)
}

var sharedSentinel = sync.OnceValues(func() ([]*process, error) { return runSentinel(forBinary) })

// SharedSentinel is [Shared] with a Sentinel group.
func SharedSentinel(t testing.TB) *Sentinel {
	t.Helper()
	Require(t)
	servers, err := sharedSentinel()
	if err != nil {
		t.Fatalf("redistest: sentinel: %v", err)
	}
	s := newSentinel(t, servers, true)
	s.primary.Flush(t)
	return s
}

// newSentinel returns a Sentinel of the servers that runSentinel has started.
func newSentinel(t testing.TB, started []*process, shared bool) *Sentinel {
	servers := serversOf(t, started, shared)
	return &Sentinel{t: t, primary: servers[0], replica: servers[1], sentinels: servers[2:]}
}

// runSentinel is like StartSentinel. Its servers may live longer than a test. It returns the
// primary, the replica, and the sentinels.
func runSentinel(run launcher) ([]*process, error) {
	primary, err := run(nil, func(port int) []string { return serverArgs(port) })
	if err != nil {
		return nil, err
	}
	// A sentinel asks the primary for its replicas immediately, and then every ten seconds. So the
	// replica must be there first.
	replica, err := runReplica(run, primary)
	if err != nil {
		return nil, err
	}
	servers := []*process{primary, replica}
	for range sentinels {
		p, err := launchSentinel(run, primary)
		if err != nil {
			return nil, err
		}
		servers = append(servers, p)
	}
	return servers, awaitState("the sentinels to agree", func() error {
		var errs []error
		for i, p := range servers[2:] {
			if err := agrees(p); err != nil {
				errs = append(errs, fmt.Errorf("sentinel %d: %w", i, err))
			}
		}
		return errors.Join(errs...)
	}, servers[2:]...)
}

// launchSentinel runs one sentinel. Its configuration is a file: a sentinel
// keeps what it learns there, and refuses to start without one.
func launchSentinel(run launcher, primary *process) (*process, error) {
	const file = "sentinel.conf"
	conf := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel down-after-milliseconds %[1]s 1000
sentinel failover-timeout %[1]s 5000
`, MasterName, primary.port)
	return run(map[string]string{file: conf}, func(port int) []string {
		return []string{file, "--sentinel", "--port", strconv.Itoa(port), "--bind", "127.0.0.1"}
	})
}

// agrees returns an error that says what a sentinel has not learned yet.
func agrees(p *process) error {
	ctx := context.Background()
	client := redis.NewSentinelClient(&redis.Options{Addr: address(p.port)})
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

// Sentinels returns the servers of the sentinels.
func (s *Sentinel) Sentinels() []*Server { return s.sentinels }

// Addrs returns the sentinels' addresses.
func (s *Sentinel) Addrs() []string { return addrs(s.sentinels) }

// Client returns a client that follows the primary. It is closed when the test ends. Each mut may
// change its options first.
func (s *Sentinel) Client(mut ...func(*redis.FailoverOptions)) *redis.Client {
	opts := &redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: s.Addrs(), ContextTimeoutEnabled: true}
	for _, m := range mut {
		m(opts)
	}
	c := redis.NewFailoverClient(opts)
	s.t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}
