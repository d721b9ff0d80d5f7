package fncache_test

import (
	"testing"

	"github.com/fncache/fncache/internal/redistest"
)

// The protocol suite: a test that is passed to onServers runs with every kind of client, on
// every server that internal/redistest is configured to run (`make servers`).

type backend = redistest.Backend

var onServers = redistest.OnServers

// onServersInBothForms is onServers, with Wrap and with Wrap1.
func onServersInBothForms(t *testing.T, test func(t *testing.T, server *backend)) {
	t.Helper()
	inBothForms(t, func(t *testing.T) { onServers(t, test) })
}
