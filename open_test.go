package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/remote"
)

func TestOpenMakesAClientOfAURLAndClosesIt(t *testing.T) {
	inOneForm(t, testOpenMakesAClientOfAURLAndClosesIt)
}

func testOpenMakesAClientOfAURLAndClosesIt(t *testing.T) {
	server, cluster, group := redistest.Start(t), redistest.StartCluster(t), redistest.StartSentinel(t)
	for name, url := range map[string]string{
		"server":   "redis://" + server.Addr() + "/0?client_name=x",
		"cluster":  "redis://" + cluster.Addrs()[0] + "?addr=" + cluster.Addrs()[1],
		"sentinel": "redis://" + group.Addrs()[0] + "?master_name=" + redistest.MasterName,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(t.Context(), url, Config{RedisTimeout: 5 * time.Second})
			require.NoError(t, err)
			w := wrap(t, c, &source{}, Options{Lease: slowLease})
			assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
			assert.Equal(t, SourceFresh, w.get(t.Context(), "a").source)
			client := c.Config().Redis
			require.NoError(t, c.Close())
			require.ErrorIs(t, client.Ping(t.Context()).Err(), redis.ErrClosed)
		})
	}
}

func TestOpenReturnsAnErrorThatAPersonHasToFix(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().ConfigSet(t.Context(), "requirepass", "right").Err())
	for url, want := range map[string]string{
		"redis://:wrong@" + server.Addr(): "give the client the right user and password",
		"http://localhost":                "use redis://",
		"redis://:secret@local host":      "cannot be parsed",
		"redis://127.0.0.1:1?no_such=1":   "no_such",
	} {
		_, err := Open(t.Context(), url, Config{RedisTimeout: 5 * time.Second})
		require.ErrorContains(t, err, want, url)
		assert.NotContains(t, err.Error(), "secret")
		assert.True(t, strings.HasPrefix(err.Error(), "fncache: open: "), "%v", err)
	}
	_, err := Open(t.Context(), "redis://", Config{Redis: server.Client()})
	require.ErrorContains(t, err, "Config.Redis is set")
	ended, end := context.WithCancel(t.Context())
	end()
	_, err = Open(ended, "redis://"+server.Addr(), Config{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenSucceedsWithoutRedis(t *testing.T) {
	sink := &logtest.Handler{}
	gone := redistest.Start(t)
	gone.Kill()
	c, err := Open(t.Context(), fmt.Sprintf("redis://%s", gone.Addr()), Config{Logger: slog.New(sink)})
	require.NoError(t, err)
	sink.KeepUpWith(c.Log())
	assert.Len(t, sink.About("kind=unreachable"), 1, "one outage is logged once")
	require.NoError(t, c.Close())
}

func TestOpenMakesTheClientThatTheURLNames(t *testing.T) {
	for url, check := range map[string]func(redis.UniversalClient){
		"redis://user:secret@host:6380/3?read_timeout=7s": func(c redis.UniversalClient) {
			o := c.(*redis.Client).Options()
			assert.Equal(t, []any{"host:6380", "user", "secret", 3, 7 * time.Second}, []any{o.Addr, o.Username, o.Password, o.DB, o.ReadTimeout})
			assert.Nil(t, o.TLSConfig)
			assert.True(t, o.ContextTimeoutEnabled)
		},
		"rediss://host": func(c redis.UniversalClient) {
			o := c.(*redis.Client).Options()
			assert.Equal(t, "host:6379", o.Addr)
			require.NotNil(t, o.TLSConfig)
			assert.Equal(t, "host", o.TLSConfig.ServerName)
			assert.True(t, o.ContextTimeoutEnabled)
		},
		"unix:///run/redis.sock?db=2": func(c redis.UniversalClient) {
			o := c.(*redis.Client).Options()
			assert.Equal(t, []any{"unix", "/run/redis.sock", 2}, []any{o.Network, o.Addr, o.DB})
			assert.True(t, o.ContextTimeoutEnabled)
		},
		"rediss://host:1?addr=host2:2": func(c redis.UniversalClient) {
			o := c.(*redis.ClusterClient).Options()
			assert.Equal(t, []string{"host:1", "host2:2"}, o.Addrs)
			assert.NotNil(t, o.TLSConfig)
			assert.True(t, o.ContextTimeoutEnabled)
		},
	} {
		client, err := remote.Dial(url)
		require.NoError(t, err, url)
		check(client)
		require.NoError(t, client.Close())
	}
}

func TestPingWorksWithARedisTimeoutUnderAMillisecond(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) { // in which no time passes
		c := b.cache(func(c *Config) { c.RedisTimeout = 100 * time.Microsecond })
		require.NoError(t, c.Ping(t.Context()))
	})
}
