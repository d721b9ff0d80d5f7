package codec

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
)

// The errors of this package go to the log. They name the place and never quote a value. A
// cause, whose text may quote the value, is reached by errors.As only.

// A BodyError says why bytes are not a body of the expected results.
type BodyError struct {
	Truncated bool // true: the bytes end too early; false: no version writes such bytes
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

// A ResultError says why one result could not be encoded or decoded.
type ResultError struct {
	Verb  string       // the operation: encode, decode, or find its plan
	At    int          // the index of the result
	Type  reflect.Type // of the result
	Text  string
	Cause error
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("%s result %d (%v): %s", e.Verb, e.At+1, e.Type, e.Text)
}

func (e *ResultError) Unwrap() error { return e.Cause }

// A UserError says why a user's codec failed.
type UserError struct {
	Codec string // its name
	Verb  string // encode or decode
	Text  string
	Cause error
}

func (e *UserError) Error() string { return fmt.Sprintf("%s by %s: %s", e.Verb, e.Codec, e.Text) }

func (e *UserError) Unwrap() error { return e.Cause }

// Guard runs a method of a user's codec. It returns the error or panic of the method as a
// *UserError.
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

// errorText returns a text that quotes no value: the text of an error of this package, or the
// type of another error.
func errorText(err error) string {
	last := err
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) { //nolint:errorlint // the loop unwraps
		case *Error, *ResultError, *UserError, *BodyError: // possibly from a codec that wraps ours
			return e.Error()
		}
		last = e
	}
	if last == io.EOF || last == io.ErrUnexpectedEOF { //nolint:errorlint // the innermost
		return "ends too early"
	}
	return fmt.Sprintf("%T, whose text may quote the value", last)
}

// PanicText returns a text for a panic that quotes no value: the text of a runtime error, which
// is about code, or the type of another value.
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
