package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// A cast is the processes of the stampede, as their parent sees them.
type cast struct {
	actors  []*actor
	reports chan arrival // of all of them
	readers sync.WaitGroup
}

// An actor is one process: this program, started by itself.
type actor struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders *json.Encoder
	dead   bool // killed on purpose
}

// An arrival is a report and who it is from.
type arrival struct {
	report
	from int
}

// startCast starts n processes and opens their shops. They end with ctx.
func startCast(ctx context.Context, n int, b backend) (_ *cast, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it as a worker: %w", err)
	}
	c := &cast{reports: make(chan arrival, n)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for range n {
		if err := c.start(ctx, self); err != nil {
			return nil, fmt.Errorf("start a worker: %w", err)
		}
	}
	if err := c.broadcast(order{Do: doOpen, Backend: &b}); err != nil {
		return nil, err
	}
	return c, c.ready(ctx)
}

func (c *cast) start(ctx context.Context, self string) error {
	cmd := exec.CommandContext(ctx, self, workerMode)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	from := len(c.actors)
	c.actors = append(c.actors, &actor{cmd: cmd, stdin: stdin, orders: json.NewEncoder(stdin)})
	c.readers.Go(func() {
		lines := json.NewDecoder(bufio.NewReader(stdout))
		for {
			var r report
			if lines.Decode(&r) != nil {
				// Its end, or half a line of one that was killed.
				c.reports <- arrival{report{Event: eventGone}, from}
				return
			}
			c.reports <- arrival{r, from}
		}
	})
	return nil
}

// send sends an order to one.
func (c *cast) send(to int, o order) error {
	if err := c.actors[to].orders.Encode(o); err != nil {
		return fmt.Errorf("order %q to worker %d: %w", o.Do, to, err)
	}
	return nil
}

// broadcast sends an order to all.
func (c *cast) broadcast(o order) error {
	for i := range c.actors {
		if err := c.send(i, o); err != nil {
			return err
		}
	}
	return nil
}

// next waits for a report.
func (c *cast) next(ctx context.Context) (arrival, error) {
	var r arrival
	select {
	case r = <-c.reports:
	case <-ctx.Done():
	}
	switch {
	case ctx.Err() != nil: // which also ends the processes
		return r, context.Cause(ctx)
	case r.Event == eventBroken:
		return r, fmt.Errorf("worker %d: %s", r.from, r.Err)
	}
	return r, nil
}

// ready waits until all have said ready.
func (c *cast) ready(ctx context.Context) error {
	for n := 0; n < len(c.actors); {
		r, err := c.next(ctx)
		switch {
		case err != nil:
			return err
		case r.Event == eventReady:
			n++
		case r.Event == eventGone:
			return fmt.Errorf("worker %d ended unexpectedly", r.from)
		}
	}
	return nil
}

// lineUp has all start the callers of a burst and hold them back.
func (c *cast) lineUp(ctx context.Context, b burst) error {
	if err := c.broadcast(order{Do: doLineUp, Burst: &b}); err != nil {
		return err
	}
	return c.ready(ctx)
}

// kill ends one as the kernel does when memory is short: without a warning.
func (c *cast) kill(who int) error {
	c.actors[who].dead = true
	if err := c.actors[who].cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill worker %d: %w", who, err)
	}
	return nil
}

// close ends all, by ending their orders, and waits for them.
func (c *cast) close() (err error) {
	for _, a := range c.actors {
		_ = a.stdin.Close() // one that is dead has closed it
	}
	go func() {
		c.readers.Wait()
		close(c.reports)
	}()
	for range c.reports {
		// Their remaining output is discarded, so that a full pipe does not block them.
	}
	for i, a := range c.actors {
		if e := a.cmd.Wait(); e != nil && !a.dead {
			err = errors.Join(err, fmt.Errorf("worker %d: %w", i, e))
		}
	}
	return err
}
