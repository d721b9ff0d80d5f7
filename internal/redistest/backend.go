package redistest

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Backend is Redis as one kind of client sees it.
type Backend struct {
	// Connect makes a client of this kind, such as another process has.
	Connect func(dial Dialer) redis.UniversalClient
	// Raw sees what is in Redis now, independently of that kind of client.
	Raw redis.UniversalClient
	// Primaries hold the data.
	Primaries []*Server
}

// A Dialer opens the connections of a client. nil means the client's own.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Client makes a client.
func (b *Backend) Client() redis.UniversalClient { return b.Connect(nil) }

// Monitor begins to collect what clients send. stop ends that, and returns a line for each command.
func (b *Backend) Monitor(t *testing.T) (stop func() []string) {
	var monitors []*Monitor
	for _, server := range b.Primaries {
		monitors = append(monitors, server.Monitor(t))
	}
	return func() (received []string) {
		for _, m := range monitors {
			for _, line := range m.Stop() {
				if !bySentinel(line) {
					received = append(received, line)
				}
			}
		}
		return received
	}
}

// bySentinel reports whether a line of MONITOR is of a command that sentinels and replicas send.
func bySentinel(line string) bool {
	line = strings.ToLower(line)
	for _, part := range []string{`] "ping"`, `] "info"`, `] "replconf"`, "__sentinel__"} {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// OnServers runs a test with every kind of client, on every server that this package is
// configured to run (`make servers`). A cluster refuses scripts whose keys are in two slots, so a
// test fails there if a hash tag is missing.
func OnServers(t *testing.T, test func(t *testing.T, server *Backend)) {
	t.Helper()
	single := func(change func(*redis.Options)) func(t *testing.T) *Backend {
		return func(t *testing.T) *Backend {
			server := Shared(t)
			return &Backend{
				Connect: func(dial Dialer) redis.UniversalClient {
					return server.Client(change, func(o *redis.Options) { o.Dialer = dial })
				},
				Raw:       server.Client(),
				Primaries: []*Server{server},
			}
		}
	}
	for _, kind := range []struct {
		name string
		make func(t *testing.T) *Backend
	}{
		{"RESP3", single(func(o *redis.Options) { o.Protocol = 3 })},
		{"RESP2", single(func(o *redis.Options) { o.Protocol = 2 })},
		{"ContextTimeoutEnabled", single(func(o *redis.Options) { o.ContextTimeoutEnabled = true })},
		// The client looks for invalidations once an hour, as if each came late.
		{"client-side caching", single(func(o *redis.Options) {
			o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{DrainInterval: time.Hour}
		})},
		{"Cluster", ClusterBackend},
		{"Sentinel", sentinelBackend},
	} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.make(t)) })
	}
}

// ClusterBackend returns the Cluster that OnServers uses.
func ClusterBackend(t *testing.T) *Backend {
	cluster := SharedCluster(t)
	return &Backend{
		Connect: func(dial Dialer) redis.UniversalClient {
			return cluster.Client(func(o *redis.ClusterOptions) { o.Dialer = dial })
		},
		Raw:       cluster.Client(),
		Primaries: cluster.Nodes(),
	}
}

func sentinelBackend(t *testing.T) *Backend {
	group := SharedSentinel(t)
	return &Backend{
		Connect: func(dial Dialer) redis.UniversalClient {
			return group.Client(func(o *redis.FailoverOptions) { o.Dialer = dial })
		},
		Raw:       group.Client(),
		Primaries: []*Server{group.Primary()},
	}
}
