package faults

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A resetter is a proxy to a server. It resets connections at a place that a test chooses: in the
// middle of a reply, or at a command. A toxic of toxiproxy cannot do that, because it has no access
// to the connection, and sees one direction only.
//
// The connection to the client is reset (RST): the client can read the bytes that passed
// before, and then gets an error instead of the end of the stream. A connection is reset once,
// so the number of resets is the number of connections.
type resetter struct {
	t        *testing.T
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	closed  bool
	open    map[net.Conn]bool
	rule    rule
	met     int           // replies to which the rule applied
	resets  int           // under the rule
	changed chan struct{} // closed and made anew at every reset
}

// A rule says what a resetter resets. The zero rule lets everything pass.
type rule struct {
	// within returns how much of a reply passes before the reset; ok is false if the rule does
	// not apply to it.
	within func(command []string, reply []byte) (passes int, ok bool)
	of     func(command []string) bool // commands to whose replies the rule applies; nil: all
	every  int                         // every n-th of these replies; 0: each
	most   int                         // resets; 0: no end
	// at reports whether the connection is reset at a command, which then does not reach the
	// server.
	at func(command []string) bool
	// first is called before a reset, when the server has executed the command.
	first func()
}

func newResetter(t *testing.T, server string) *resetter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &resetter{t: t, listener: listener, server: server, open: map[net.Conn]bool{}, changed: make(chan struct{})}
	r.all.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// addr returns the address for clients.
func (r *resetter) addr() string { return r.listener.Addr().String() }

// follow replaces the rule, and counts from zero.
func (r *resetter) follow(what rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rule, r.met, r.resets = what, 0, 0
}

// count returns the number of resets under the rule.
func (r *resetter) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resets
}

// await waits until there were n resets under the rule.
func (r *resetter) await(least int) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		resets, changed := r.resets, r.changed
		r.mu.Unlock()
		if resets >= least {
			return
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("%d connections were reset within %v, and not %d", resets, patience, least)
		}
	}
}

func (r *resetter) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.open {
		_ = conn.Close()
	}
	r.mu.Unlock()
	r.all.Wait()
}

func (r *resetter) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", r.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !r.keep(client, server) {
			return
		}
		l := &link{r: r, client: client.(*net.TCPConn), server: server, asked: make(chan []string, 1024)}
		r.all.Go(l.commands)
		r.all.Go(l.replies)
	}
}

// keep registers connections that are closed with the resetter. If it is closed already, keep
// closes them and returns false.
func (r *resetter) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		r.open[conn] = true
		if r.closed {
			_ = conn.Close()
		}
	}
	return !r.closed
}

// A link is one connection of a client, and its counterpart to the server.
type link struct {
	r      *resetter
	client *net.TCPConn
	server net.Conn
	asked  chan []string // commands that are not answered yet
}

// commands passes on what the client sends.
func (l *link) commands() {
	defer l.end()
	defer close(l.asked)
	for in := bufio.NewReader(l.client); ; {
		raw, command, err := readCommand(in)
		if err != nil {
			return
		}
		if l.r.resetsAt(command) {
			l.reset()
			return
		}
		if !strings.HasSuffix(strings.ToLower(command[0]), "subscribe") { // answered by pushes
			l.asked <- command
		}
		if _, err := l.server.Write(raw); err != nil {
			return
		}
	}
}

// replies passes on what the server sends. Replies come in the order of commands; pushes, which
// RESP3 marks, answer none.
func (l *link) replies() {
	defer l.end()
	for in := bufio.NewReader(l.server); ; {
		reply, err := readReply(in)
		if err != nil {
			return
		}
		if reply[0] != '>' {
			passes, ok := l.r.resetsWithin(<-l.asked, reply)
			if ok {
				_, _ = l.client.Write(reply[:passes])
				l.reset()
				return
			}
		}
		if _, err := l.client.Write(reply); err != nil {
			return
		}
	}
}

// reset makes the system send RST, so that the client does not see a regular end of the stream.
func (l *link) reset() {
	_ = l.client.SetLinger(0)
	l.end()
}

func (l *link) end() {
	_, _ = l.client.Close(), l.server.Close()
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	delete(l.r.open, l.client)
	delete(l.r.open, l.server)
}

// resetsAt reports whether a connection is reset at a command, and counts the reset.
func (r *resetter) resetsAt(command []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rule.at == nil || !r.rule.at(command) {
		return false
	}
	r.noteReset()
	return true
}

// resetsWithin returns how much of a reply passes before the connection is reset, if it is, and
// counts the reset.
func (r *resetter) resetsWithin(command []string, reply []byte) (passes int, ok bool) {
	r.mu.Lock()
	rule := r.rule
	if rule.within != nil && command != nil && (rule.of == nil || rule.of(command)) {
		passes, ok = rule.within(command, reply)
	}
	if ok {
		r.met++
		ok = r.met%max(rule.every, 1) == 0 && (rule.most == 0 || r.resets < rule.most)
	}
	if ok {
		r.noteReset()
	}
	r.mu.Unlock()
	if ok && rule.first != nil {
		rule.first()
	}
	return passes, ok
}

// noteReset counts a reset. mu is held.
func (r *resetter) noteReset() {
	r.resets++
	close(r.changed)
	r.changed = make(chan struct{})
}

// --- Rules ---

// inAnEntry resets in the middle of the body of an entry that is looked up.
func inAnEntry(command []string, reply []byte) (passes int, ok bool) {
	header := headerOf(reply)
	return header + (len(reply)-header)/2, isEntry(command, reply)
}

// beforeAnEntry resets between the length of such an entry and its body.
func beforeAnEntry(command []string, reply []byte) (passes int, ok bool) {
	return headerOf(reply), isEntry(command, reply)
}

func isEntry(command []string, reply []byte) bool {
	n, ok := lengthOf(reply[:headerOf(reply)])
	return strings.EqualFold(command[0], "get") && reply[0] == '$' && ok && n > 0
}

// inAScript resets in the middle of any reply of a script that has run.
func inAScript(command []string, reply []byte) (passes int, ok bool) {
	return len(reply) / 2, isScript(command) && reply[0] != '-'
}

func isScript(command []string) bool {
	return slices.Contains([]string{"evalsha", "eval"}, strings.ToLower(command[0]))
}
