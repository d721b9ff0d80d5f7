package fncache

import (
	"context"
	"log/slog"
	"time"
)

// This file has the functions that a cached function calls about its own entry while it runs.
// AddTags is in tags.go, and NoStore in info.go.

// SetLifetime sets how long the entry of a running cached function is fresh, and how long it may
// be served, instead of Options.Freshness and Options.Timeout. The function calls it with the
// context that it was given. Use it if the function learns how long its result is valid, such as
// from the expires_in of a token or the max-age of an answer. A timeout above Options.Timeout is
// reduced to Options.Timeout, and a freshness above timeout is reduced to timeout. Options.Jitter
// applies to freshness.
//
// Zero is not a default here. With a freshness of 0 or less the entry is stale at once. With a
// timeout under 1ms the result is returned to its callers and not stored. If SetLifetime is
// called several times, the last call counts. An error of Options.CacheErrors keeps
// Options.ErrorTimeout. After the function has returned, SetLifetime has no effect, and the log
// says so once. With another context it does nothing.
func SetLifetime(ctx context.Context, freshness, timeout time.Duration) {
	say(ctx, "SetLifetime", func(f *frame) {
		timeout = max(0, min(timeout, f.of.opts.Timeout).Truncate(time.Millisecond))
		freshness = max(0, min(freshness, timeout).Truncate(time.Millisecond))
		f.said.life = &lifetimes{freshness, timeout}
	})
}

// said has the settings that a function has made for its result while it runs.
type said struct {
	life *lifetimes // nil: the lifetimes of the options
}

// say applies a setting that a function makes for its result. by names the function of this
// package that was called.
func say(ctx context.Context, by string, what func(f *frame)) {
	f := perCallOf(orBackground(ctx)).frame
	if f == nil || !f.stored {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended.Load() {
		f.log(by + " is called after the function has returned: it has no effect; call it before the function returns")
		return
	}
	what(f)
}

// stores reports whether the outcome of the function has to be stored. negative reports whether
// the outcome is an error of Options.CacheErrors.
func (f *frame) stores(negative bool) bool {
	if f.noStore.Load() {
		return false
	}
	life := f.lifetimes()
	return negative || life == nil || life.timeout > 0
}

// lifetimes returns the lifetimes of the last call of SetLifetime, or nil.
func (f *frame) lifetimes() *lifetimes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.life
}

// log logs a message about the function of a frame, once.
func (f *frame) log(message string) {
	if b := f.of.bound.Load(); b != nil {
		b.cache.log.Once("inside "+message[:24]+f.of.Name(), slog.LevelError, message, "func", f.of.Name())
	}
}
