package redistest

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestSentinelReplacesAPrimaryThatIsGone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	group := StartSentinel(t)
	require.Len(t, group.Addrs(), 3)
	client := group.Client(func(o *redis.FailoverOptions) { o.MaxRetries = -1 })
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	require.EqualValues(t, 1, client.Wait(ctx, 1, patience).Val())

	group.Primary().Kill()
	require.NoError(t, await(func() error { return client.Set(ctx, "k2", "v", 0).Err() }))
	replica := group.Replica().Client()
	require.Equal(t, "v", replica.Get(ctx, "k").Val())
	require.Equal(t, "v", replica.Get(ctx, "k2").Val())
}
