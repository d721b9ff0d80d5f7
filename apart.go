package fncache

import (
	"encoding"
	"encoding/json"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"time"
)

// This file runs code of the user's own where others wait for what comes after it: the
// methods by which types encode and decode themselves, codecs, StaleIf, and the like. Such
// code may panic, end its goroutine as testing.T.FailNow does, or never return. So it has
// a goroutine of its own, and whoever waits for it goes on in each case.

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
				run.fault = "panicked: " + panicText(value)
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
func (f *Func) decodeApart(c *coder, body []byte) (results, error) {
	var decoded results
	var err error
	run := runApart(func(code func()) { go code() }, func() { decoded, err = f.decodeHere(c, body) })
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

// An apartError is why code of the user's own gave no result. Like a codecError it goes to
// the log, and shows nothing of a value.
type apartError struct{ fault string }

func (e *apartError) Error() string { return "a method of the codec or of a result " + e.fault }

// unmarshalers are the interfaces by which a type decodes itself, under any codec.
var unmarshalers = []reflect.Type{
	reflect.TypeFor[interface{ UnmarshalCBOR(data []byte) error }](),
	reflect.TypeFor[encoding.BinaryUnmarshaler](),
	reflect.TypeFor[encoding.TextUnmarshaler](),
	reflect.TypeFor[json.Unmarshaler](),
}

// harmless are types whose methods are known to return.
var harmless = map[reflect.Type]bool{
	timeType:                          true,
	reflect.TypeFor[big.Int]():        true,
	reflect.TypeFor[big.Float]():      true,
	reflect.TypeFor[big.Rat]():        true,
	reflect.TypeFor[netip.Addr]():     true,
	reflect.TypeFor[netip.AddrPort](): true,
	reflect.TypeFor[netip.Prefix]():   true,
	reflect.TypeFor[url.URL]():        true,
}

// decodeThemselves reports whether values of these types may be decoded by methods of the
// user's own.
func decodeThemselves(types []reflect.Type) bool {
	seen := make(map[reflect.Type]bool)
	for _, t := range types {
		if decodesItself(t, seen) {
			return true
		}
	}
	return false
}

func decodesItself(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || harmless[t] {
		return false
	}
	seen[t] = true
	for _, unmarshaler := range unmarshalers {
		if reflect.PointerTo(t).Implements(unmarshaler) {
			return true
		}
	}
	switch t.Kind() {
	case reflect.Array, reflect.Slice, reflect.Pointer:
		return decodesItself(t.Elem(), seen)
	case reflect.Map:
		return decodesItself(t.Key(), seen) || decodesItself(t.Elem(), seen)
	case reflect.Struct:
		for field := range t.Fields() {
			if decodesItself(field.Type, seen) {
				return true
			}
		}
	}
	return false
}
