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

// A Child is a child process, seen from its parent. R is the type of its reports.
type Child[R any] struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reports *json.Decoder
}

// A line is what a child writes for an order.
type line[R any] struct {
	Err    string `json:",omitempty"` // the order was not carried out
	Report R
}

// Start runs this program with one argument, by which its main function recognizes a child. Each
// env is set in the child's environment: "GOMAXPROCS=1".
func Start[R any](arg string, env ...string) (*Child[R], error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, arg)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
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
	return &Child[R]{cmd, orders, json.NewDecoder(reports)}, nil
}

// Do sends an order and waits for the report without a limit.
func (c *Child[R]) Do(order any) (R, error) {
	var l line[R]
	if err := json.NewEncoder(c.orders).Encode(order); err != nil {
		return l.Report, fmt.Errorf("child: %w", err)
	}
	if err := c.reports.Decode(&l); err != nil {
		return l.Report, fmt.Errorf("child: %+v: %w", order, err)
	}
	if l.Err != "" {
		return l.Report, fmt.Errorf("child: %+v: %s", order, l.Err)
	}
	return l.Report, nil
}

// DoWithin is like Do, for an order that must be carried out within a limit. After the limit the
// child is killed, and the error says so.
func (c *Child[R]) DoWithin(limit time.Duration, order any) (R, error) {
	killer := time.AfterFunc(limit, func() { _ = c.cmd.Process.Kill() })
	report, err := c.Do(order)
	if !killer.Stop() {
		err = fmt.Errorf("child: killed, because it was not done after %v: %w", limit, err)
	}
	return report, err
}

// End ends the child and waits for its end.
func (c *Child[R]) End() {
	_ = c.orders.Close()
	_ = c.cmd.Wait() // the exit status does not matter, because the child has reported
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
