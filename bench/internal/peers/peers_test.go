package peers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

type value = []int64

// all returns the peers of every list, once each.
func all() []Peer[value] {
	var peers []Peer[value]
	seen := map[string]bool{}
	for _, list := range [][]Peer[value]{Remote[value](), Near[value](), Fleet[value]()} {
		for _, peer := range list {
			if !seen[peer.Name] {
				seen[peer.Name] = true
				peers = append(peers, peer)
			}
		}
	}
	return peers
}

func eachPeer(t *testing.T, test func(t *testing.T, addr string, peer Peer[value])) {
	server := redistest.Start(t)
	for _, peer := range all() {
		t.Run(peer.Name, func(t *testing.T) {
			server.Flush(t)
			test(t, server.Addr(), peer)
		})
	}
}

// open opens a peer on a source that returns {id, version} and counts its runs.
func open(t *testing.T, peer Peer[value], addr string) (cached *Cached[value], version, runs *atomic.Int64) {
	t.Helper()
	version, runs = new(atomic.Int64), new(atomic.Int64)
	site := Site{Addr: addr, Name: "test", Freshness: time.Hour, Timeout: time.Hour, Keys: 100}
	cached, err := peer.Open(site, func(_ context.Context, id int64) (value, error) {
		runs.Add(1)
		return value{id, version.Load()}, nil
	})
	require.NoError(t, err)
	t.Cleanup(cached.Close)
	return cached, version, runs
}

func TestEveryPeerCachesAndInvalidates(t *testing.T) {
	eachPeer(t, func(t *testing.T, addr string, peer Peer[value]) {
		cached, version, runs := open(t, peer, addr)
		for range 3 {
			for _, id := range []int64{7, 8} {
				got, err := cached.Get(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, value{id, 0}, got)
			}
		}
		require.EqualValues(t, 2, runs.Load(), "computations for two keys")
		awaitStored(t, addr, cached, 7)
		version.Store(1)
		require.NoError(t, cached.Invalidate(t.Context(), 7))
		// Redis tells rueidis a moment later what has changed.
		require.Eventually(t, func() bool {
			got, err := cached.Get(t.Context(), 7)
			return err == nil && got[1] == 1
		}, 10*time.Second, time.Millisecond)
		got, err := cached.Get(t.Context(), 8)
		require.NoError(t, err)
		require.Equal(t, value{8, 0}, got)
	})
}

// awaitStored waits until the entry of an id is in Redis: sturdyc sends it in the background,
// and would undo an invalidation that overtakes it.
func awaitStored(t *testing.T, addr string, cached *Cached[value], id int64) {
	t.Helper()
	if cached.Key == nil {
		return
	}
	key, err := cached.Key(id)
	require.NoError(t, err)
	client := Client(addr)
	defer func() { require.NoError(t, client.Close()) }()
	require.Eventually(t, func() bool { return client.Exists(t.Context(), key).Val() == 1 }, 10*time.Second, time.Millisecond)
}

func TestFillCopiesTheFirstEntryAndSparesTheFunction(t *testing.T) {
	eachPeer(t, func(t *testing.T, addr string, peer Peer[value]) {
		cached, _, runs := open(t, peer, addr)
		call := func(id int64) error {
			_, err := cached.Get(context.Background(), id)
			return err
		}
		require.NoError(t, Fill(addr, call, cached.Key, peer.Local, 0, 50))
		filled := runs.Load()
		for id := range int64(50) {
			require.NoError(t, call(id))
		}
		require.Equal(t, filled, runs.Load(), "a filled key was computed")
		if cached.Key != nil {
			require.EqualValues(t, 1, filled)
		}
	})
}

func TestFillEndsWithTheFirstFault(t *testing.T) {
	broken := errors.New("broken")
	fails := func(id int64) error {
		if id == 5 {
			return broken
		}
		return nil
	}
	require.ErrorIs(t, Fill("", fails, nil, true, 0, 10), broken)
	require.NoError(t, Fill("", fails, nil, true, 6, 10))
}

func TestRefusalsAreDistinguishedFromFailures(t *testing.T) {
	server := redistest.Start(t)
	for _, name := range []string{Fncache, "singleflight + SET NX"} {
		peer, err := ByName(all(), name)
		require.NoError(t, err)
		computing, goOn := make(chan struct{}), make(chan struct{})
		site := Site{Addr: server.Addr(), Name: "test", Freshness: time.Hour, Timeout: time.Hour, Keys: 100}
		slow := func(context.Context, int64) (value, error) {
			close(computing)
			<-goOn
			return value{1}, nil
		}
		holder, err := peer.Open(site, slow)
		require.NoError(t, err)
		other, err := peer.Open(site, slow)
		require.NoError(t, err)
		done := make(chan error)
		go func() {
			_, err := holder.Get(context.Background(), 1)
			done <- err
		}()
		<-computing
		_, err = other.Get(t.Context(), 1)
		require.True(t, Refused(err), "%s: %v", name, err)
		close(goOn)
		require.NoError(t, <-done)
		holder.Close()
		other.Close()
	}
	require.False(t, Refused(errors.New("broken")))
	require.False(t, Refused(nil))
}

func TestUnknownPeerIsAnError(t *testing.T) {
	_, err := ByName(all(), "memcached")
	require.ErrorContains(t, err, `"memcached"`)
}
