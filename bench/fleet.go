package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// The processes of a stampede are this program again, with the one argument
// "worker". They talk in lines of JSON: the parent writes orders to a worker's
// standard input, and reads one report for each from its standard output. The end
// of the input ends the worker, so that none outlives its parent.
const workerArg = "worker"

// An order is a line to a worker.
type order struct {
	Do orderKind

	// of doOpen
	Peer      string        `json:",omitempty"`
	Addr      string        `json:",omitempty"`
	Cost      time.Duration `json:",omitempty"` // of the function
	Freshness time.Duration `json:",omitempty"`

	// of doCall
	Key     int64 `json:",omitempty"`
	Version int64 `json:",omitempty"` // of what the function gives from now on
	Callers int   `json:",omitempty"`
	Settle  bool  `json:",omitempty"` // report when what goes on behind the calls has ended too
}

type orderKind string

const (
	doOpen orderKind = "open"
	doCall orderKind = "call" // all callers at once, each once
)

// A report answers an order.
type report struct {
	Err          string          `json:",omitempty"` // the worker gives up
	Computations int             `json:",omitempty"`
	Answers      answers         // by what they are
	Waits        []time.Duration `json:",omitempty"` // of the callers
	Failure      string          `json:",omitempty"` // an example of Answers.Failed
}

const (
	otherKey = 1
	burstKey = 2

	oldVersion = 1
	newVersion = 2
)

// A fleet is some workers.
type fleet struct{ workers []*worker }

// startFleet starts n workers and has them carry out the first order.
func startFleet(n int, first order) (*fleet, error) {
	f := &fleet{}
	for range n {
		w, err := startWorker()
		if err != nil {
			f.end()
			return nil, err
		}
		f.workers = append(f.workers, w)
	}
	if _, err := f.all(first); err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}

// all has all workers do the same at once.
func (f *fleet) all(o order) ([]report, error) {
	reports, faults := make([]report, len(f.workers)), make([]error, len(f.workers))
	var wg sync.WaitGroup
	for i, w := range f.workers {
		wg.Go(func() { reports[i], faults[i] = w.do(o) })
	}
	wg.Wait()
	return reports, errors.Join(faults...)
}

func (f *fleet) end() {
	for _, w := range f.workers {
		w.end()
	}
}

// A worker is a process, seen from its parent.
type worker struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reports *json.Decoder
}

func startWorker() (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, workerArg)
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	reports, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &worker{cmd, orders, json.NewDecoder(reports)}, nil
}

func (w *worker) do(o order) (r report, err error) {
	if err := json.NewEncoder(w.orders).Encode(o); err != nil {
		return r, fmt.Errorf("worker: %w", err)
	}
	if err := w.reports.Decode(&r); err != nil {
		return r, fmt.Errorf("worker: %s: %w", o.Do, err)
	}
	if r.Err != "" {
		return r, fmt.Errorf("worker: %s: %s", o.Do, r.Err)
	}
	return r, nil
}

func (w *worker) end() {
	_ = w.orders.Close()
	_ = w.cmd.Wait() // how it exits says nothing: it has reported
}
