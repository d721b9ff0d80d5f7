package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A redisServer is the Redis that all processes of the shop share.
type redisServer struct {
	url   string
	what  string // for the reader; without the password
	close func()
	// stop stops the server. start starts it again, with its data. stop is nil if the server is not
	// this process's own.
	stop func() (start func())
}

// startRedis takes the Redis at url, or starts an embedded one.
func startRedis(ctx context.Context, url string) (*redisServer, error) {
	if url == "" {
		return startMiniredis()
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w; write it as redis://:password@host:6379/0", err)
	}
	client := redis.NewClient(opts)
	defer func() { _ = client.Close() }()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("-redis: the Redis at %s does not answer: %w", opts.Addr, err)
	}
	return &redisServer{url: url, what: "the server at " + opts.Addr, close: func() {}}, nil
}

func startMiniredis() (*redisServer, error) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true) // otherwise entries and leases would never expire
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("embedded miniredis: %w", err)
	}
	return &redisServer{
		url:   "redis://" + server.Addr(),
		what:  fmt.Sprintf("an embedded miniredis at %s (-redis URL takes a real one)", server.Addr()),
		close: server.Close,
		stop: func() (start func()) {
			server.Close()
			return func() {
				if err := server.Restart(); err != nil {
					slog.Error("the embedded miniredis does not start again", "err", err)
				}
			}
		},
	}, nil
}

// A commandCounter is a go-redis hook that counts the commands a client sends: a
// script is one, a pipeline as many as it holds. What go-redis sends to set a
// connection up does not pass here.
type commandCounter struct{ n atomic.Int64 }

var _ redis.Hook = (*commandCounter)(nil)

// DialHook leaves dialing alone.
func (c *commandCounter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook counts one.
func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook counts what the pipeline holds.
func (c *commandCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}

func (c *commandCounter) count(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		switch cmd.Name() {
		case "hello", "client", "auth", "select": // should they pass here after all
		default:
			c.n.Add(1)
		}
	}
}
