// Package server runs a redis-server for a benchmark, by package redistest.
package server

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fncache/fncache/internal/redistest"
)

// A Server is a redis-server on the loopback interface.
type Server struct {
	*redistest.Server
	run *run
}

// Start runs a redis-server, which must be on the PATH. It ends at Close, and at the latest when
// this process ends.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "fncache-bench-")
	if err != nil {
		return nil, err
	}
	s := &Server{run: &run{dir: dir}}
	s.run.Cleanup(func() { _ = os.RemoveAll(dir) })
	err = s.run.catch(func() { s.Server = redistest.Start(s.run) })
	if err != nil {
		s.run.clear()
		return nil, err
	}
	return s, nil
}

// Close ends the server. The error joins all failures of the server so far.
func (s *Server) Close() error {
	s.run.clear()
	return errors.Join(s.run.faults...)
}

// Empty deletes all data in the server.
func (s *Server) Empty() error {
	return s.run.catch(func() { s.Flush(s.run) })
}

// Count calls during, and returns how many commands clients sent meanwhile, by their names in lower
// case. A script counts as one command, and the set-up of connections does not count.
func (s *Server) Count(during func() error) (map[string]int, error) {
	var lines []string
	var inner error
	err := s.run.catch(func() {
		monitor := s.Monitor(s.run)
		inner = during()
		lines = monitor.Stop()
	})
	return byName(lines), errors.Join(err, inner)
}

// byName counts lines of MONITOR:
//
//	1700000000.123456 [0 127.0.0.1:40404] "get" "key"
func byName(lines []string) map[string]int {
	counts := make(map[string]int)
	for _, line := range lines {
		_, command, _ := strings.Cut(line, "] ")
		name, _, _ := strings.Cut(command, " ")
		counts[strings.ToLower(strings.Trim(name, `"`))]++
	}
	return counts
}

// A run is the testing.TB for redistest: Close runs the cleanups of the test, and a failure of
// the test is an error.
type run struct {
	testing.TB // nil: only the methods below are called
	dir        string
	cleanups   []func()
	faults     []error
}

// stop is the value that Fatalf panics with.
type stop struct{ err error }

func (r *run) catch(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case stop:
			err = p.err
		default:
			panic(p)
		}
	}()
	f()
	return nil
}

func (r *run) clear() {
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		f := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		f()
	}
}

func (r *run) Helper()                     {}
func (r *run) Cleanup(f func())            { r.cleanups = append(r.cleanups, f) }
func (r *run) TempDir() string             { return r.dir }
func (r *run) Logf(string, ...any)         {}
func (r *run) Errorf(why string, a ...any) { r.faults = append(r.faults, fmt.Errorf(why, a...)) }
func (r *run) Fatalf(why string, a ...any) { panic(stop{fmt.Errorf(why, a...)}) }
func (r *run) Skipf(why string, a ...any)  { panic(stop{fmt.Errorf(why, a...)}) }
