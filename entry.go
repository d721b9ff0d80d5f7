package fncache

import (
	"errors"
	"log/slog"
	"time"

	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/shape"
)

// This file says what an entry is worth to a function: what it holds, and whether
// by the function's own options it is fresh, stale or cold.

// maxFuture is how far ahead of the server's clock an entry may have been stored:
// less is a clock read a little wrong, and age 0; more is not to be trusted.
const maxFuture = time.Minute

var errFuture = errors.New("stored more than a minute in the future")

// An entry is what a flight read.
type entry struct {
	envelope
	raw  []byte
	err  error         // what a negative entry stands for
	kept shape.Results // decoded once, by the flight
	near *nearEntry    // where the near cache has it, and kept with it
}

// results gives the caller results of its own. alone says that it is the only one
// who is given the entry.
func (e *entry) results(fn *Func, c *Cache, alone bool) (shape.Results, error) {
	switch {
	case e.near != nil:
		return e.near.copied(c)
	case alone:
		return e.kept, nil
	default:
		return fn.share(c.coder, e.kept, e.body)
	}
}

// read takes in what the entry holds.
func (e *entry) read(fn *Func, c *coder) (err error) {
	if !e.negative() {
		if err = c.open(&e.envelope); err == nil {
			e.kept, err = fn.decode(c, e.body)
		}
		return err
	}
	var known bool
	if e.err, known = fn.negativeOf(e.body); !known {
		return miss(missUnknownError, "its error is not in Options.CacheErrors here")
	}
	return nil
}

// bytes is what acquire compares; nil of no entry.
func (e *entry) bytes() []byte {
	if e == nil {
		return nil
	}
	return e.raw
}

// expected returns how large an entry of f may be, in bytes, by what was read lately: large
// answers travel by themselves.
func (f *Func) expected() int { return int(f.answerSize.Load()) }

// expect takes in the size of an entry that was read. Of entries of all sizes the large
// ones count, until a few small ones have come in a row.
func (f *Func) expect(size int) {
	last := f.answerSize.Load()
	if size < remote.LargeSize && last == 0 {
		return // as a rule
	}
	next := max(int64(size), last-last/4)
	if next < remote.LargeSize {
		next = 0
	}
	f.answerSize.Store(next)
}

// A state is how old an entry is by a function's own options.
type state uint8

const (
	cold  state = iota // absent, unreadable, or past Timeout
	stale              // past Freshness
	fresh
)

// judge tells what state an entry is in. What cannot be read is cold, counted
// and logged, and never a value.
func (c *Cache) judge(fn *Func, raw []byte, err error) (*entry, state) {
	if raw == nil && err == nil {
		return nil, cold
	}
	e := &entry{raw: raw}
	if err == nil {
		e.envelope, err = parseEnvelope(raw)
	}
	if err == nil && e.tags != nil {
		err = miss(missUnknownFlag, "byte %d: it has tags, and the function has none", flagsOffset)
	}
	since := c.clock.Now() - e.storedAt
	if err == nil && since < -maxFuture.Milliseconds() {
		err = errFuture
	}
	var s state
	if err == nil {
		if s = fn.state(e, max(0, time.Duration(since)*time.Millisecond)); s == cold {
			return e, cold
		}
		err = e.read(fn, c.coder)
	}
	if err != nil {
		c.undecodable(fn, err)
		return e, cold
	}
	return e, s
}

// undecodable counts and logs an entry that cannot be read.
func (c *Cache) undecodable(fn *Func, err error) {
	fn.counters.undecodable.Add(1)
	c.log.Once("undecodable "+fn.Name(), slog.LevelWarn, "entry cannot be read: it is a miss, and will be replaced",
		"func", fn.Name(), "err", err)
}

// age is how long ago an entry was stored, on the server's clock.
func (c *Cache) age(e *entry) time.Duration {
	return max(0, time.Duration(c.clock.Now()-e.storedAt)*time.Millisecond)
}

// servable says whether an entry may still be served.
func (c *Cache) servable(fn *Func, e *entry) bool {
	return fn.state(e, c.age(e)) != cold
}

// state tells the state of an entry of that age.
func (f *Func) state(e *entry, age time.Duration) state {
	freshness, timeout := f.freshness(e.id), f.opts.Timeout
	if e.negative() {
		freshness, timeout = f.opts.ErrorTimeout, f.opts.ErrorTimeout
	}
	switch {
	case age < freshness:
		return fresh
	case age < timeout:
		return stale
	default:
		return cold
	}
}

// freshness is how long the entry of that id is fresh: Options.Jitter takes off a
// part that is the entry's own, so that all processes agree on it.
func (f *Func) freshness(id uint64) time.Duration {
	if f.opts.Jitter == 0 {
		return f.opts.Freshness
	}
	part := float64(id>>11) / (1 << 53) // uniform in [0, 1)
	return f.opts.Freshness - time.Duration(f.opts.Jitter*part*float64(f.opts.Freshness))
}
