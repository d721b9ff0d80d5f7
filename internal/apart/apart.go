// Package apart runs the user's code where other code waits for the result: the methods by
// which types encode and decode themselves, codecs, predicates about errors. Such code may
// panic, end its goroutine as testing.T.FailNow does, or never return. It therefore runs on a
// goroutine of its own, and the waiting goroutine continues in each of these cases.
package apart

import "github.com/fncache/fncache/internal/codec"

// A Run is code that runs on a goroutine of its own.
type Run struct {
	// Ended is closed when the code has ended.
	Ended chan struct{}
	// Fault says how the code failed; "" means that it returned. It may be read after Ended is
	// closed, and never quotes a value.
	Fault string
}

// Start runs code on a goroutine that spawn starts.
func Start(spawn func(func()), code func()) *Run {
	run := &Run{Ended: make(chan struct{})}
	spawn(func() {
		normal := false
		defer func() {
			switch value := recover(); {
			case normal:
			case value != nil:
				run.Fault = "panicked: " + codec.PanicText(value)
			default:
				run.Fault = "ended its goroutine"
			}
			close(run.Ended)
		}()
		code()
		normal = true
	})
	return run
}

// An Error says why the user's code gave no result. Like the errors of package codec it goes to
// the log, and never quotes a value.
type Error struct {
	Fault string // as that of a Run
}

func (e *Error) Error() string { return "a method of the codec or of a result " + e.Fault }
