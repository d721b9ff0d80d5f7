package main

import (
	"errors"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/child"
)

// The processes of a stampede are this program again, with the one argument
// "worker". See internal/child.
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
	Version int64 `json:",omitempty"` // of the values of the function from now on
	Callers int   `json:",omitempty"`
	Settle  bool  `json:",omitempty"` // the report comes after background work of the calls has ended too
}

type orderKind string

const (
	doOpen orderKind = "open"
	doCall orderKind = "call" // all callers at the same time, each once
)

// A report answers an order.
type report struct {
	Computations int             `json:",omitempty"`
	Answers      answers         // by kind
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
type fleet struct{ workers []*child.Child[report] }

// startFleet starts n workers, and has them carry out the first order.
func startFleet(n int, first order) (*fleet, error) {
	f := &fleet{}
	for range n {
		w, err := child.Start[report](workerArg)
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

// all has all workers carry out an order at the same time.
func (f *fleet) all(o order) ([]report, error) {
	reports, faults := make([]report, len(f.workers)), make([]error, len(f.workers))
	var wg sync.WaitGroup
	for i, w := range f.workers {
		wg.Go(func() { reports[i], faults[i] = w.Do(o) })
	}
	wg.Wait()
	return reports, errors.Join(faults...)
}

func (f *fleet) end() {
	for _, w := range f.workers {
		w.End()
	}
}
