// Package apart runs code of the user's own where others wait for what comes after it: the
// methods by which types encode and decode themselves, codecs, predicates about errors. Such
// code may panic, end its goroutine as testing.T.FailNow does, or never return. So it has
// a goroutine of its own, and the goroutine that waits for it goes on in each case.
package apart

import "github.com/fncache/fncache/internal/codec"

// A Run is code on a goroutine of its own.
type Run struct {
	// Ended is closed when the code has ended.
	Ended chan struct{}
	// Fault is how it ended, "" for well. It may be read after Ended is closed, and shows
	// nothing of a value.
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

// An Error is why code of the user's own gave no result. Like the errors of package codec it
// goes to the log, and shows nothing of a value.
type Error struct {
	Fault string // as that of a Run
}

func (e *Error) Error() string { return "a method of the codec or of a result " + e.Fault }
