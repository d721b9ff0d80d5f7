package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// A network is the way between the fleet and its server.
type network struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newNetwork(t *testing.T, upstream string) *network {
	t.Helper()
	log := zerolog.Nop()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), log)
	n := &network{t, toxiproxy.NewProxy(api, "redis", "127.0.0.1:0", upstream)}
	require.NoError(t, n.proxy.Start())
	t.Cleanup(n.proxy.Stop)
	return n
}

// addr returns the address for clients. It stays the same after cut and mend.
func (n *network) addr() string { return n.proxy.Listen }

// cut ends all connections and refuses new ones.
func (n *network) cut() { n.proxy.Stop() }

// mend undoes everything.
func (n *network) mend() {
	n.proxy.Toxics.ResetToxics(context.Background())
	if !n.proxy.Enabled {
		require.NoError(n.t, n.proxy.Start())
	}
}

// poison adds a toxic to the server's output (downstream) or input (upstream).
func (n *network) poison(toxic, stream, attributes string) {
	_, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"type": %q, "stream": %q, "attributes": {%s}}`, toxic, stream, attributes)))
	require.NoError(n.t, err)
}
