package redistest

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// AddHook adds a hook that sees every command on its way to a server. On a Cluster client it adds
// the hook to the clients of the nodes, because some commands are sent to nodes past the hooks of
// the Cluster client.
func AddHook(client redis.UniversalClient, hook redis.Hook) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		client.AddHook(hook)
		return
	}
	cluster.OnNewNode(func(node *redis.Client) { node.AddHook(hook) })
	ended, end := context.WithCancel(context.Background())
	end()
	_ = cluster.ForEachShard(ended, func(_ context.Context, node *redis.Client) error { // the nodes that it knows
		node.AddHook(hook)
		return nil
	})
}

// Caller returns the context of the caller of a command that a hook was given. The ctx that the
// hook was given may be that of another command in the same pipeline.
func Caller(ctx context.Context, cmd redis.Cmder) context.Context {
	if wire, ok := cmd.(interface{ Caller() context.Context }); ok {
		return wire.Caller()
	}
	return ctx
}

// Inner returns the command of go-redis inside a command that a hook was given. The hook can read
// its reply.
func Inner(cmd redis.Cmder) redis.Cmder {
	if wire, ok := cmd.(interface{ Inner() redis.Cmder }); ok {
		return wire.Inner()
	}
	return cmd
}
