package fncache

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/redistest"
)

// The protocol suite: a test that is passed to onServers runs with every kind of client, on
// every server that internal/redistest is configured to run (`make servers`).

// A backend is Redis as one kind of client sees it.
type backend struct {
	// connect makes a client of this kind: what another process has.
	connect func(dial dialer) redis.UniversalClient
	// raw sees what is in Redis now, whatever that kind of client would see.
	raw redis.UniversalClient
	// primaries hold the data.
	primaries []*redistest.Server
}

// A dialer opens the connections of a client; nil is the client's own.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Client makes a client.
func (b *backend) Client() redis.UniversalClient { return b.connect(nil) }

// Monitor begins to collect what clients send; what it gives ends that.
func (b *backend) Monitor(t *testing.T) (stop func() []string) {
	var monitors []*redistest.Monitor
	for _, server := range b.primaries {
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

// bySentinel reports whether a line of MONITOR is what sentinels and replicas send.
func bySentinel(line string) bool {
	line = strings.ToLower(line)
	for _, part := range []string{`] "ping"`, `] "info"`, `] "replconf"`, "__sentinel__"} {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// onServers runs a test of the protocol with every kind of client it must hold
// for. A cluster refuses scripts whose keys are in two slots, so it fails where
// a hash tag is missing.
func onServers(t *testing.T, test func(t *testing.T, server *backend)) {
	t.Helper()
	single := func(change func(*redis.Options)) func(t *testing.T) *backend {
		return func(t *testing.T) *backend {
			server := redistest.Shared(t)
			return &backend{
				connect: func(dial dialer) redis.UniversalClient {
					return server.Client(change, func(o *redis.Options) { o.Dialer = dial })
				},
				raw:       server.Client(),
				primaries: []*redistest.Server{server},
			}
		}
	}
	for _, kind := range []struct {
		name string
		make func(t *testing.T) *backend
	}{
		{"RESP3", single(func(o *redis.Options) { o.Protocol = 3 })},
		{"RESP2", single(func(o *redis.Options) { o.Protocol = 2 })},
		{"ContextTimeoutEnabled", single(func(o *redis.Options) { o.ContextTimeoutEnabled = true })},
		// The client looks for invalidations once an hour: as if each came late.
		{"client-side caching", single(func(o *redis.Options) {
			o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{DrainInterval: time.Hour}
		})},
		{"Cluster", clusterBackend},
		{"Sentinel", sentinelBackend},
	} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.make(t)) })
	}
}

// onServersInBothForms is onServers, with Wrap and with Wrap1.
func onServersInBothForms(t *testing.T, test func(t *testing.T, server *backend)) {
	t.Helper()
	inBothForms(t, func(t *testing.T) { onServers(t, test) })
}

func clusterBackend(t *testing.T) *backend {
	cluster := redistest.SharedCluster(t)
	return &backend{
		connect: func(dial dialer) redis.UniversalClient {
			return cluster.Client(func(o *redis.ClusterOptions) { o.Dialer = dial })
		},
		raw:       cluster.Client(),
		primaries: cluster.Nodes(),
	}
}

func sentinelBackend(t *testing.T) *backend {
	group := redistest.SharedSentinel(t)
	return &backend{
		connect: func(dial dialer) redis.UniversalClient {
			return group.Client(func(o *redis.FailoverOptions) { o.Dialer = dial })
		},
		raw:       group.Client(),
		primaries: []*redistest.Server{group.Primary()},
	}
}
