package memconn

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALongPipelineIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in virtual time, which passes only while all goroutines wait
		server := miniredis.NewMiniRedis()
		defer server.Close()
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0", Dialer: func(context.Context, string, string) (net.Conn, error) {
			return Buffered(server.Dial())
		}})
		defer client.Close() //nolint:errcheck // it is in memory
		began := time.Now()
		pipe := client.Pipeline()
		for range 100 {
			pipe.Set(t.Context(), "key", strings.Repeat("long", 1000), 0)
			pipe.Get(t.Context(), "key")
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
	})
}

func TestAConnectionEnds(t *testing.T) {
	for name, end := range map[string]func(ours, theirs net.Conn){
		"closed here":  func(ours, _ net.Conn) { _ = ours.Close() },
		"closed there": func(_, theirs net.Conn) { _ = theirs.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
				ours, theirs := net.Pipe()
				c, err := Buffered(ours, nil)
				require.NoError(t, err)
				_, err = c.Write([]byte("never read"))
				require.NoError(t, err)
				synctest.Wait()
				end(c, theirs)
				synctest.Wait()
				_, err = c.Write([]byte("nor this"))
				require.Error(t, err)
			})
		})
	}
}

func TestADeadlineBoundsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close() //nolint:errcheck // it is in memory
		c, err := Buffered(ours, nil)
		require.NoError(t, err)
		defer c.Close() //nolint:errcheck // it is in memory
		began := time.Now()
		require.NoError(t, c.SetDeadline(began.Add(time.Second)))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		require.NoError(t, c.SetWriteDeadline(began))
		_, err = c.Write([]byte("written"))
		require.NoError(t, err)
		got := make([]byte, 7)
		_, err = io.ReadFull(theirs, got)
		require.NoError(t, err)
		assert.Equal(t, "written", string(got))
	})
}

func TestADialThatFails(t *testing.T) {
	c, err := Buffered(nil, io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Nil(t, c)
}
