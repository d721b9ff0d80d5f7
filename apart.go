package fncache

import (
	"time"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/shape"
)

// This file runs code of the user's own where others wait for what comes after it: the
// methods by which types encode and decode themselves, codecs, StaleIf, and the like. Such
// code may panic, end its goroutine as testing.T.FailNow does, or never return. So it has
// a goroutine of its own, and the goroutine that waits for it goes on in each case.

// An apartRun is code on a goroutine of its own.
type apartRun struct {
	ended chan struct{} // closed when it has ended
	fault string        // how it ended, "" for well; written before ended is closed
}

// runApart runs code on a goroutine that spawn starts.
func runApart(spawn func(func()), code func()) *apartRun {
	run := &apartRun{ended: make(chan struct{})}
	spawn(func() {
		normal := false
		defer func() {
			switch value := recover(); {
			case normal:
			case value != nil:
				run.fault = "panicked: " + codec.PanicText(value)
			default:
				run.fault = "ended its goroutine"
			}
			close(run.ended)
		}()
		code()
		normal = true
	})
	return run
}

// decodeApart is decodeHere for code of the user's own. What does not end within
// Options.ComputeTimeout is left to itself, with what it writes to: within that time the
// function would have made the value anew.
func (f *Func) decodeApart(c *coder, body []byte) (shape.Results, error) {
	var decoded shape.Results
	var err error
	var unwaited *lifetime.Group
	run := runApart(unwaited.Go, func() { decoded, err = f.decodeHere(c, body) })
	limit := time.NewTimer(f.opts.ComputeTimeout)
	defer limit.Stop()
	select {
	case <-run.ended:
	case <-limit.C:
		return nil, &apartError{"did not end within Options.ComputeTimeout"}
	}
	if run.fault != "" {
		return nil, &apartError{run.fault}
	}
	return decoded, err
}

// An apartError is why code of the user's own gave no result. Like the errors of package codec it goes to
// the log, and shows nothing of a value.
type apartError struct{ fault string }

func (e *apartError) Error() string { return "a method of the codec or of a result " + e.fault }
