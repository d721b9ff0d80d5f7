package fncache

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADialWithoutAnAnswerIsNoFullPool(t *testing.T) {
	for name, dial := range map[string]dialer{
		"refused": func(context.Context, string, string) (net.Conn, error) { return nil, errGone },
		"no answer": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBothForms(t, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newTestCache(t, Config{Redis: redis.NewClient(&redis.Options{Addr: "127.0.0.1:0", Dialer: dial}), Logger: slog.New(&logSink{})})
					w := wrap(t, c, &source{}, Options{})
					for range 3 {
						assert.Equal(t, SourceComputed, w.get(t.Context(), "a").source)
					}
					stats := requireIdentity(t, w.Func)
					assert.Equal(t, uint64(3), stats.RedisErrorKinds[KindUnreachable], "%+v", stats)
					for _, err := range []error{c.Ping(t.Context()), w.Invalidate(t.Context(), "a")} {
						var failure *RedisError
						require.ErrorAs(t, err, &failure)
						assert.Equal(t, KindUnreachable, failure.Kind, "%v", err)
						require.ErrorIs(t, err, errNoConnection)
						assert.Equal(t, name == "refused", errors.Is(err, errGone), "the last error is told: %v", err)
					}
					time.Sleep(time.Minute) // go-redis tries on for a while
				})
			})
		})
	}
}

func TestAnAttemptToConnectExplainsWhatRunsOutOfTimeAWhileLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c connecting
		most := DefaultRedisTimeout
		attempt := func(dialed, greeted error) {
			c.dial(t.Context())(dialed)
			if dialed == nil {
				c.greeted(greeted)
			}
		}
		require.NoError(t, c.trouble(most))
		attempt(errGone, nil)
		time.Sleep(most)
		require.ErrorIs(t, c.trouble(most), errGone)
		time.Sleep(troubleLasts)
		require.NoError(t, c.trouble(most), "that is long ago")

		attempt(errGone, nil)
		attempt(nil, nil)
		require.NoError(t, c.trouble(most), "it is over")

		closed := errors.New("connection closed")
		attempt(nil, closed)
		c.dial(t.Context())(nil)
		require.ErrorIs(t, c.trouble(most), closed, "that a server accepts connections says nothing if it closes them")
		c.greeted(replyError("NOAUTH Authentication required."))
		require.NoError(t, c.trouble(most), "it answers")

		cancelled, cancel := context.WithCancel(t.Context())
		ended := c.dial(cancelled)
		time.Sleep(most)
		require.ErrorContains(t, c.trouble(most), "dialing for 250ms")
		cancel()
		ended(cancelled.Err())
		require.NoError(t, c.trouble(most), "nobody wanted it any more")
	})
}
