//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const startAttempts = 20

// keeper is the shell program that a server runs under; see the package comment. Its arguments are
// a folder to remove at its end, or "", and the server's command line. Its file descriptors are:
//
//	0  the lifeline: end of file when the test binary ends or lets go
//	1  takes the server's process id to the test binary
//	2  the server's log
//	3  the vigil: held open by the server alone, end of file when it is dead
//
// It ignores the signals that a terminal or a supervisor sends to all processes, because the keeper
// must end last. It ends when the server has ended and its resources are free.
const keeper = `
trap '' HUP INT QUIT TERM
tidy=$1
shift
"$@" </dev/null >&2 &
exec 3>&-
echo $!
exec >&-
read -r _
kill -9 $!
wait
[ -z "$tidy" ] || rm -rf "$tidy"
`

// errInUse says that the port of a server was in use.
var errInUse = errors.New("address already in use")

// A process is one redis-server on a port of its own. It keeps its port, arguments, directory and
// log when it is killed and started again.
type process struct {
	port int
	dir  string
	args []string // of redis-server
	log  *os.File // unlinked; the output of all runs, one after the other
	tidy string   // what the keeper removes after the run: "", or dir

	mu       sync.Mutex // guards the fields below, which are of one run
	keeper   *exec.Cmd  // nil: not running
	pid      int        // of redis-server
	lifeline *os.File   // closing it ends the keeper
	vigil    *os.File   // at end of file the server is dead
}

// serverBinary returns the path of the server to run: the one that FNCACHE_REDIS_SERVER in the
// environment names, or else redis-server on the PATH.
func serverBinary() (string, error) {
	name := os.Getenv("FNCACHE_REDIS_SERVER")
	if name == "" {
		return exec.LookPath("redis-server")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("FNCACHE_REDIS_SERVER: %w", err)
	}
	return filepath.Abs(path) // the server runs in a folder of its own
}

// launch starts a server on a free port. It is up when launch returns.
func launch(l plan) (*process, error) {
	// The log has no name, so nothing is left of it, however the test binary ends.
	log, err := os.CreateTemp("", "redis-*.log")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(log.Name()); err != nil {
		return nil, err
	}
	for range startAttempts {
		if err = l.writeFiles(); err != nil {
			break
		}
		port := freePort()
		p := &process{port: port, dir: l.dir, args: l.args(port), log: log}
		if l.tidy {
			p.tidy = l.dir
		}
		if err = p.start(); err == nil {
			return p, nil
		}
		if !errors.Is(err, errInUse) {
			break
		}
	}
	_ = log.Close()
	return nil, err
}

// writeFiles makes the folder and its files before the server starts.
func (l *plan) writeFiles() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	for name, text := range l.files {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// freePort draws a port on which no process listens. Another process may draw the same one a moment
// later; the loser of that race tries again.
//
// It does not use the ports that the kernel gives for port 0, because the kernel also gives them to
// outgoing connections. While a killed server is down, another connection could take its port. And
// a client that dials the port again and again would be connected to itself once in thirty thousand
// times.
func freePort() int {
	for {
		port := 10_000 + rand.IntN(22_000) // below the ephemeral ports of Linux, the BSDs and macOS
		l, err := net.Listen("tcp", address(port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
}

// start runs the server and waits until it answers.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeper != nil {
		return errors.New("it is running")
	}
	before := len(p.logs())
	err := p.spawn()
	if err == nil {
		err = p.awaitAnswer()
	}
	if err == nil {
		return nil
	}
	p.reap()
	output := p.logs()[before:]
	if strings.Contains(output, "Address already in use") {
		return fmt.Errorf("%s: %w", address(p.port), errInUse)
	}
	return fmt.Errorf("redis-server %s: %w; its log:\n%s", strings.Join(p.args, " "), err, output)
}

// spawn starts the keeper, and the server under it. The caller holds p.mu.
func (p *process) spawn() error {
	binary, err := serverBinary()
	if err != nil {
		return err
	}
	var ours, theirs [3]*os.File // the ends of lifeline, process id and vigil
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		ours[i], theirs[i] = r, w
	}
	ours[0], theirs[0] = theirs[0], ours[0] // we have the writing end of the lifeline

	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "keeper", p.tidy, binary}, p.args...)...)
	cmd.Dir = p.dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], p.log
	cmd.ExtraFiles = []*os.File{theirs[2]}
	// A session of its own: Ctrl-C in a terminal reaches the tests and not
	// their servers, and the kernel sends no SIGHUP to a paused orphan.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		return err
	}
	p.keeper, p.lifeline, p.vigil = cmd, ours[0], ours[2]
	defer func() { _ = ours[1].Close() }()
	_, err = fmt.Fscanln(ours[1], &p.pid)
	return err
}

// awaitAnswer waits until this very server answers, is dead, or the deadline is over. The caller
// holds p.mu.
func (p *process) awaitAnswer() error {
	var why error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if why = p.ask(); why == nil {
			return nil
		}
		if p.deadWithin(pollInterval) {
			return errors.New("it ended by itself")
		}
	}
	return fmt.Errorf("no answer within %v: %w", patience, why)
}

// deadWithin waits up to d for the server's death, and reports it. The caller holds p.mu.
func (p *process) deadWithin(d time.Duration) bool {
	_ = p.vigil.SetReadDeadline(time.Now().Add(d))
	_, err := p.vigil.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// ask checks that our process answers on the port. By now the port may belong to another server,
// which answers too.
func (p *process) ask() error {
	reply, err := p.info()
	if err != nil {
		return err
	}
	if strings.HasPrefix(reply, "-NOAUTH") { // the arguments have "requirepass"; the server is up
		return nil
	}
	if !strings.Contains(reply, fmt.Sprintf("\nprocess_id:%d\r\n", p.pid)) {
		return fmt.Errorf("another process answers on port %d: %.80q", p.port, reply)
	}
	return nil
}

// info returns the server's answer to INFO, or its error as Redis sends it. It
// uses no client, so that a server's first answer does not depend on what a
// client does to set up a connection.
func (p *process) info() (string, error) {
	conn, err := net.DialTimeout("tcp", address(p.port), time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, "INFO server\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	reply, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(reply, "$") {
		return reply, err
	}
	size, err := strconv.Atoi(strings.TrimSpace(reply[1:]))
	if err != nil {
		return "", err
	}
	bulk := make([]byte, size)
	_, err = io.ReadFull(r, bulk)
	return string(bulk), err
}

// pause stops the server as a debugger would. Its sockets stay open.
func (p *process) pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal is sent but may not have taken effect: the server may run on another core.
	// Linux reports when it has stopped; on other systems there is no check.
	stat := fmt.Sprintf("/proc/%d/stat", p.pid)
	return await(func() error {
		line, err := os.ReadFile(stat)
		if err == nil && !strings.Contains(string(line), ") T ") {
			return errors.New("the server has not stopped")
		}
		return nil
	})
}

// resume lets the server continue.
func (p *process) resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal(syscall.SIGCONT)
}

// signal sends a signal to the server. The caller holds p.mu.
func (p *process) signal(sig syscall.Signal) error {
	if p.keeper == nil || p.deadWithin(time.Millisecond) {
		return errors.New("the server is not running")
	}
	return syscall.Kill(p.pid, sig)
}

// kill ends the server with SIGKILL, if it runs. The port is free when kill returns.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reap()
}

// reap closes the lifeline and waits for the keeper, which kills the server and waits for it. The
// caller holds p.mu.
func (p *process) reap() {
	if p.keeper == nil {
		return
	}
	_ = p.lifeline.Close()
	_ = p.keeper.Wait() // the exit status says nothing, because the keeper's child was killed
	_ = p.vigil.Close()
	p.keeper = nil
}

// logs returns what the server has written so far.
func (p *process) logs() string {
	info, err := p.log.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, info.Size())
	n, _ := p.log.ReadAt(text, 0)
	return string(text[:n])
}
