package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A scripted is a server that does as a test says. Its connections are pipes in memory,
// so that it runs in a bubble of testing/synctest.
type scripted struct {
	// answer returns the reply to a command, as it goes over the wire; "" keeps the
	// connection silent from then on, "close" closes it. It may sleep.
	answer func(conn int, cmd []string) string
	// dial returns the error of a connection that fails; it may sleep. nil: none fails.
	dial func(ctx context.Context) error
	// greet is called before a HELLO is answered; nil: it is answered at once.
	greet func()
	// pieces is how the bytes of a reply are sent; nil: at once.
	pieces func(w io.Writer, reply string)

	ending sync.WaitGroup // of its goroutines

	mu    sync.Mutex // guards the fields below
	conns int
	seen  []seen
}

// seen is a command that has arrived.
type seen struct {
	conn int
	at   time.Time
	cmd  []string
}

const ok, null = "+OK\r\n", "$-1\r\n"

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

// remote makes a Remote of it, and a client.
func (s *scripted) remote(t *testing.T, change func(*redis.Options, *Config)) *Remote {
	t.Helper()
	o := &redis.Options{Addr: "10.0.0.1:6379", Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1, Dialer: s.dialer}
	cfg := Config{Timeout: 100 * time.Millisecond, WriteProbe: NewScript("return redis.call('DEL', KEYS[1])")}
	if change != nil {
		change(o, &cfg)
	}
	client := cfg.Client
	if client == nil {
		client = redis.NewClient(o)
		cfg.Client = client
	}
	r := New(cfg)
	t.Cleanup(func() {
		r.Close()
		_ = client.Close()
		s.ending.Wait()
	})
	return r
}

func (s *scripted) dialer(ctx context.Context, _, _ string) (net.Conn, error) {
	if s.dial != nil {
		if err := s.dial(ctx); err != nil {
			return nil, err
		}
	}
	here, there := net.Pipe()
	s.mu.Lock()
	s.conns++
	conn := s.conns
	s.mu.Unlock()
	s.ending.Go(func() { s.serve(conn, there) })
	return here, nil
}

func (s *scripted) serve(conn int, c net.Conn) {
	defer c.Close() //nolint:errcheck // a pipe
	replies := make(chan string, 10_000)
	s.ending.Go(func() { // a pipe has no room: who reads must not wait for who writes
		defer c.Close() //nolint:errcheck // a pipe
		for reply := range replies {
			if reply == "close" {
				return
			}
			if s.pieces != nil {
				s.pieces(c, reply)
			} else if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	})
	cmds := make(chan []string, 10_000)
	s.ending.Go(func() {
		defer close(replies)
		for cmd := range cmds {
			reply := s.answerTo(conn, cmd)
			if reply == "" {
				for range cmds { // silent
				}
				return
			}
			replies <- reply
		}
	})
	defer close(cmds)
	in := bufio.NewReader(c)
	for {
		cmd, err := readCommand(in)
		if err != nil {
			return
		}
		cmds <- cmd
	}
}

func (s *scripted) answerTo(conn int, cmd []string) string {
	switch cmd[0] {
	case "hello":
		if s.greet != nil {
			s.greet()
		}
		return "-ERR unknown command 'hello'\r\n"
	case "client":
		return ok
	}
	s.mu.Lock()
	s.seen = append(s.seen, seen{conn, time.Now(), cmd})
	s.mu.Unlock()
	return s.answer(conn, cmd)
}

// asked returns the commands that have arrived, without the probes.
func (s *scripted) asked() (cmds []seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.seen {
		if c.cmd[0] != "time" && !slices.ContainsFunc(c.cmd, func(word string) bool { return strings.HasSuffix(word, probeSuffix) }) {
			cmds = append(cmds, c)
		}
	}
	return cmds
}

func readCommand(in *bufio.Reader) (cmd []string, err error) {
	n, err := readLength(in, '*')
	for range n {
		var size int
		if size, err = readLength(in, '$'); err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err = io.ReadFull(in, word); err != nil {
			return nil, err
		}
		cmd = append(cmd, string(word[:size]))
	}
	if err == nil && len(cmd) == 0 {
		err = errors.New("an empty command")
	}
	return cmd, err
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q, not %c", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// notices is what a Remote has told.
type notices struct {
	mu  sync.Mutex
	all []Event
}

func (n *notices) take(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, e)
}

func (n *notices) kinds() (kinds []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.all {
		switch {
		case e.Away:
			kinds = append(kinds, fmt.Sprint("away ", e.Kind, e.Writes))
		case e.Left:
			kinds = append(kinds, fmt.Sprint("left ", e.Writes))
		case e.Err == nil:
			kinds = append(kinds, fmt.Sprint("back ", e.Writes))
		default:
			kinds = append(kinds, fmt.Sprint("note ", e.Kind))
		}
	}
	return kinds
}

// balanced checks that each time that a node was away has ended, and that one which has left
// its Cluster is not told to be back.
func (n *notices) balanced(t *testing.T, left string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	away, gone := map[string]int{}, 0
	for _, e := range n.all {
		switch {
		case e.Away:
			away[e.Node]++
		case e.Left:
			require.Equal(t, left, e.Node)
			away[e.Node]--
			gone++
		case e.Err == nil:
			require.NotEqual(t, left, e.Node, "it is not back")
			away[e.Node]--
		}
	}
	for node, times := range away {
		require.Zero(t, times, node)
	}
	require.NotZero(t, gone)
}

// gets returns the lookups that have arrived.
func (s *scripted) gets() []seen {
	return slices.DeleteFunc(s.asked(), func(c seen) bool { return c.cmd[0] != "get" || strings.HasSuffix(c.cmd[1], probeSuffix) })
}
