//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStartTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	t.Parallel()
	Require(t)
	foreign, err := net.Listen("tcp", address(freePort()))
	require.NoError(t, err)
	defer func() { _ = foreign.Close() }()
	var ports []int
	p, err := forTest(t)(nil, func(port int) []string {
		ports = append(ports, port)
		if len(ports) == 1 { // another process got the port first
			port = foreign.Addr().(*net.TCPAddr).Port
		}
		return serverArgs(port)
	})
	require.NoError(t, err)
	require.Len(t, ports, 2)
	require.Equal(t, ports[1], p.port)
}

func TestAnotherServerOnThePortIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	other := Start(t).p
	p := &process{port: other.port, pid: other.pid + 1}
	require.ErrorContains(t, p.ask(), "another process answers")
}

func TestServerThatCannotStartShowsItsLog(t *testing.T) {
	t.Parallel()
	Require(t)
	began := time.Now()
	_, err := forTest(t)(nil, func(port int) []string { return serverArgs(port, "--no-such-option", "1") })
	require.ErrorContains(t, err, "it ended by itself; its log:")
	require.ErrorContains(t, err, "no-such-option")
	require.Less(t, time.Since(began), patience, "its end was not noticed")
}

func TestSignalToAServerThatEndedByItselfIsAnError(t *testing.T) {
	t.Parallel()
	s := Start(t)
	_ = s.Client(impatient).ShutdownNoSave(t.Context()).Err() // "EOF" is its success
	require.True(t, s.p.deadWithin(patience))
	require.ErrorContains(t, s.p.pause(), "not running")
}

// holder makes this binary the process that is killed below.
const holder = "REDISTEST_HOLD"

func TestNoServerOutlivesAKilledTestBinary(t *testing.T) {
	if os.Getenv(holder) != "" {
		hold(t)
	}
	t.Parallel()
	Require(t)
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), holder+"=1")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var running, paused int
	var dir string
	_, err = fmt.Fscanf(stdout, "servers %d %d %q\n", &running, &paused, &dir)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // "signal: killed"
	require.NoError(t, err, "the other test binary did not start its servers")
	for _, pid := range []int{running, paused} {
		require.NoError(t, await(func() error { return gone(pid) }))
	}
	require.NoError(t, await(func() error {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the shared server's folder is still there: %s", dir)
		}
		return nil
	}))
}

// hold starts servers, one of them paused, and waits to be killed.
func hold(t *testing.T) {
	running, paused := Shared(t), Start(t)
	paused.Pause()
	fmt.Printf("servers %d %d %q\n", running.p.pid, paused.p.pid, running.p.dir)
	time.Sleep(patience) // until it is killed
	t.Fatal("nobody killed this process")
}

func gone(pid int) error {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("server %d is still there", pid)
}

func TestManyServersAtOnceGetPortsOfTheirOwn(t *testing.T) {
	t.Parallel()
	Require(t)
	const n = 8
	type result struct {
		p   *process
		err error
	}
	results := make(chan result)
	for range n {
		dir := t.TempDir()
		go func() {
			p, err := launch(plan{dir: dir, args: func(port int) []string { return serverArgs(port) }})
			results <- result{p, err}
		}()
	}
	ports := map[int]bool{}
	for range n {
		r := <-results
		if r.err == nil {
			defer r.p.kill()
			ports[r.p.port] = true
		}
		require.NoError(t, r.err)
	}
	require.Len(t, ports, n)
}
