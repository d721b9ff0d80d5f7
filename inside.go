package fncache

import (
	"context"
	"log/slog"
	"time"
)

// This file has what a cached function says of its own entry while it runs: how long it is good.
// AddTags is in tags.go, and NoStore in info.go.

// SetLifetime is called inside a cached function, with the context it was given, by a function
// that learns how long its result is good, such as a token with an expires_in, or an answer
// with a max-age. The entry is fresh up to the age of freshness, and may be served up to that
// of timeout, in place of Options.Freshness and Options.Timeout. Neither can be more than
// Options.Timeout, nor freshness more than timeout: they are cut to that. Options.Jitter applies
// to freshness.
//
// Zero is no default here: with a freshness of 0 or less the entry is stale at once, and with a
// timeout under 1ms the result is returned to its callers and not stored. Of several calls the
// last one counts. An error of Options.CacheErrors keeps Options.ErrorTimeout. After the function
// has returned SetLifetime does nothing, and the log says so once. With another context it does
// nothing.
func SetLifetime(ctx context.Context, freshness, timeout time.Duration) {
	say(ctx, "SetLifetime", func(f *frame) {
		timeout = max(0, min(timeout, f.of.opts.Timeout).Truncate(time.Millisecond))
		freshness = max(0, min(freshness, timeout).Truncate(time.Millisecond))
		f.said.life = &lifetimes{freshness, timeout}
	})
}

// said is what a function says of its result while it runs.
type said struct {
	life *lifetimes // nil: it is that of the options
}

// say takes in what a function says, by the function of this package that it has called.
func say(ctx context.Context, by string, what func(f *frame)) {
	f := perCallOf(orBackground(ctx)).frame
	if f == nil || !f.stored {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended.Load() {
		f.log(by + " is called after the function has returned: it has no effect; call it before")
		return
	}
	what(f)
}

// stores reports whether what the function returned is to be stored: a result, or an error that
// is an answer (negative).
func (f *frame) stores(negative bool) bool {
	if f.noStore.Load() {
		return false
	}
	life := f.lifetimes()
	return negative || life == nil || life.timeout > 0
}

// lifetimes returns what SetLifetime was last told, or nil.
func (f *frame) lifetimes() *lifetimes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.life
}

// log says something about the function of a frame, once.
func (f *frame) log(message string) {
	if b := f.of.bound.Load(); b != nil {
		b.cache.log.Once("inside "+message[:24]+f.of.Name(), slog.LevelError, message, "func", f.of.Name())
	}
}
