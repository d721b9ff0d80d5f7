package codec

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
)

// The errors of this package go to the log. They name the place and never a value: the
// text of a cause, which may quote the value, is only there for errors.As.

// A BodyError is why bytes are not a body of the results that are wanted.
type BodyError struct {
	Truncated bool // the bytes end too early; else no version writes them
	Detail    string
}

func corrupt(format string, args ...any) *BodyError {
	return &BodyError{Detail: fmt.Sprintf(format, args...)}
}

func (e *BodyError) Error() string {
	if e.Truncated {
		return "truncated entry: " + e.Detail
	}
	return "corrupt entry: " + e.Detail
}

// A ResultError is why one result could not be encoded or decoded.
type ResultError struct {
	Verb  string       // what was to be done: encode, decode, or find its plan
	At    int          // the index of the result
	Type  reflect.Type // of the result
	Text  string
	Cause error
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("%s result %d (%v): %s", e.Verb, e.At+1, e.Type, e.Text)
}

func (e *ResultError) Unwrap() error { return e.Cause }

// A UserError is why a codec of the user's own failed.
type UserError struct {
	Codec string // its name
	Verb  string // encode or decode
	Text  string
	Cause error
}

func (e *UserError) Error() string { return fmt.Sprintf("%s by %s: %s", e.Verb, e.Codec, e.Text) }

func (e *UserError) Unwrap() error { return e.Cause }

// Guard runs a method of a codec of the user's own. It returns its error, or its panic, as
// a *UserError.
func Guard(codec, verb string, method func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &UserError{codec, verb, PanicText(value), panicCause(value)}
		}
	}()
	if err := method(); err != nil {
		return &UserError{codec, verb, errorText(err), err}
	}
	return nil
}

// errorText returns as much of an error as has nothing of a value in it: the text of the
// errors of this package, and the type of others.
func errorText(err error) string {
	last := err
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) { //nolint:errorlint // the loop unwraps
		case *Error, *ResultError, *UserError, *BodyError: // maybe from a codec around ours
			return e.Error()
		}
		last = e
	}
	if last == io.EOF || last == io.ErrUnexpectedEOF { //nolint:errorlint // the innermost
		return "ends too early"
	}
	return fmt.Sprintf("%T, whose text may quote the value", last)
}

// PanicText returns as much of a panic as has nothing of a value in it: the text of errors
// of the runtime, which are about code, and the type of other values.
func PanicText(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a %T", value)
}

func panicCause(value any) error {
	err, _ := value.(error)
	return err
}
