// Package child runs this program again as child processes. Orders go to a child's standard input,
// and its reports come from its standard output, both as lines of JSON. A child ends at the end of
// its input, so none outlives its parent.
package child

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Child is a child process, seen from its parent. R is the type of its reports. Orders may be
// given while a report is awaited.
type Child[R any] struct {
	Cmd *exec.Cmd // may be changed before it is started

	stdin   io.Closer
	orders  *json.Encoder
	reports *json.Decoder
}

// A line is what a child writes.
type line[R any] struct {
	Err    string `json:",omitempty"` // the order was not carried out
	Report R
}

// New prepares to run this program with one argument, by which its main function, or TestMain,
// recognizes a child. Each env is set in the child's environment: "GOMAXPROCS=1".
func New[R any](arg string, env ...string) (*Child[R], error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, arg)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &Child[R]{cmd, stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)}, nil
}

// Start is like New, and starts the child.
func Start[R any](arg string, env ...string) (*Child[R], error) {
	c, err := New[R](arg, env...)
	if err != nil {
		return nil, err
	}
	return c, c.Cmd.Start()
}

// Tell sends an order.
func (c *Child[R]) Tell(order any) error {
	if err := c.orders.Encode(order); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	return nil
}

// Next waits for the next report, without a limit.
func (c *Child[R]) Next() (R, error) {
	var l line[R]
	if err := c.reports.Decode(&l); err != nil {
		return l.Report, err
	}
	if l.Err != "" {
		return l.Report, errors.New(l.Err)
	}
	return l.Report, nil
}

// Do sends an order and waits for the report on it, without a limit.
func (c *Child[R]) Do(order any) (R, error) {
	if err := c.Tell(order); err != nil {
		var none R
		return none, err
	}
	report, err := c.Next()
	if err != nil {
		return report, fmt.Errorf("child: %+v: %w", order, err)
	}
	return report, nil
}

// DoWithin is like Do, for an order that must be carried out within a limit. After the limit the
// child is killed, and the error says so.
func (c *Child[R]) DoWithin(limit time.Duration, order any) (R, error) {
	killer := time.AfterFunc(limit, func() { _ = c.Cmd.Process.Kill() })
	report, err := c.Do(order)
	if !killer.Stop() {
		err = fmt.Errorf("child: killed, because it was not done after %v: %w", limit, err)
	}
	return report, err
}

// Close ends the orders of the child, so that it ends.
func (c *Child[R]) Close() { _ = c.stdin.Close() }

// End ends the child and waits until it is gone.
func (c *Child[R]) End() {
	c.Close()
	_ = c.Cmd.Wait() // its exit status does not matter: it has reported
}

// Report writes a report, in the child.
func Report[R any](stdout io.Writer, report R) error {
	return json.NewEncoder(stdout).Encode(line[R]{Report: report})
}

// Serve is the child's side: it calls obey with each order of the parent until the input ends.
func Serve[O, R any](stdin io.Reader, stdout io.Writer, obey func(O) (R, error)) error {
	orders, reports := json.NewDecoder(stdin), json.NewEncoder(stdout)
	for {
		var order O
		if err := orders.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		var l line[R]
		var err error
		if l.Report, err = obey(order); err != nil {
			l.Err = err.Error()
		}
		if err := reports.Encode(l); err != nil {
			return fmt.Errorf("write a report: %w", err)
		}
	}
}
