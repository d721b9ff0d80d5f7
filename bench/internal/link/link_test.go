package link

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echo is a server that returns its input.
func echo(t *testing.T) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	return listener.Addr().String()
}

func connect(t *testing.T, l *Link) net.Conn {
	conn, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// say sends bytes and returns how long it took until all of them came back.
func say(t *testing.T, conn net.Conn, n int) time.Duration {
	began := time.Now()
	go func() { _, _ = conn.Write(make([]byte, n)) }()
	_, err := io.ReadFull(conn, make([]byte, n))
	require.NoError(t, err)
	return time.Since(began)
}

func TestDelayIsThatOfEachAnswerAndNotOfAllTogether(t *testing.T) {
	l, err := New(echo(t), 0)
	require.NoError(t, err)
	defer l.Close()
	conn := connect(t, l)
	require.Less(t, say(t, conn, 1), 5*time.Second)
	l.SetDelay(200 * time.Millisecond)
	took := say(t, conn, 40*chunk)
	require.GreaterOrEqual(t, took, 200*time.Millisecond)
	require.Less(t, took, 40*200*time.Millisecond)
	l.SetDelay(0)
	require.EqualValues(t, 1+40*chunk, l.Up())
}

func TestRateIsThatOfAllConnectionsAndTheyTakeTurns(t *testing.T) {
	const rate = 1 << 20
	l, err := New(echo(t), rate)
	require.NoError(t, err)
	defer l.Close()
	large, small := connect(t, l), connect(t, l)
	done := make(chan time.Duration, 1)
	go func() { done <- say(t, large, rate/2) }()
	beside := say(t, small, 10)
	took := <-done
	require.GreaterOrEqual(t, took, 500*time.Millisecond)
	require.Less(t, beside, took/2, "the small one waits for the large one")
}

func TestCloseCutsConnections(t *testing.T) {
	l, err := New(echo(t), 0)
	require.NoError(t, err)
	conn := connect(t, l)
	say(t, conn, 1)
	l.Close()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = net.Dial("tcp", l.Addr())
	require.Error(t, err)
}

func TestTheEndOfAServerIsTheEndOfItsConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := New(listener.Addr().String(), 0)
	require.NoError(t, err)
	defer l.Close()
	conn := connect(t, l)
	server, err := listener.Accept()
	require.NoError(t, err)
	require.NoError(t, server.Close())
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, listener.Close())
	refused := connect(t, l)
	_, err = refused.Read(make([]byte, 1))
	require.Error(t, err, "a connection to a server that is not there")
}
