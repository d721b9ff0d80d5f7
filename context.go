package fncache

import (
	"context"
	"sync/atomic"
)

// perCall is all that fncache keeps in a context: what the next cached call is
// asked for, and the computations around it. One value, so that a hit looks
// into its context once.
type perCall struct {
	info    *infoClaim
	bypass  bool
	refresh bool
	frame   *frame
}

// An infoClaim is the Info of one WithInfo: the first call that reaches it owns it.
type infoClaim struct {
	info    *Info
	claimed atomic.Bool
}

// claim returns the Info to its first caller, and nil to all others.
func (c *infoClaim) claim() *Info {
	if c == nil || !c.claimed.CompareAndSwap(false, true) {
		return nil
	}
	return c.info
}

type perCallKey struct{}

func perCallOf(ctx context.Context) perCall {
	p, _ := ctx.Value(perCallKey{}).(perCall)
	return p
}

// orBackground takes nil for the background, as the stub does.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

func withPerCall(ctx context.Context, change func(*perCall)) context.Context {
	ctx = orBackground(ctx)
	p := perCallOf(ctx)
	change(&p)
	return context.WithValue(ctx, perCallKey{}, p)
}

// enterFrame gives the context that the function is called with: a frame deeper,
// and without what its own call was asked for. comp is the computation; nil for a
// direct call.
func enterFrame(ctx context.Context, comp *computation) (context.Context, *frame) {
	f := &frame{outer: perCallOf(ctx).frame}
	if comp != nil {
		f.cache, f.flightKey = comp.cache, comp.flightKey
	}
	return context.WithValue(ctx, perCallKey{}, perCall{frame: f}), f
}

// WithInfo returns a context with which the first cached call it reaches writes
// to info where its answer came from, when it returns, on the caller's
// goroutine. All other calls leave info alone, also those that have the same context
// at the same time or later: make a context for each call that is to be known of. The
// context that the cached function is given does not carry it on.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.info = &infoClaim{info: info} })
}

// WithBypass returns a context with which the first cached call it reaches calls
// the function itself, on the caller's goroutine, and touches no cache. The
// context that the function is given does not carry it on.
func WithBypass(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.bypass = true })
}

// WithRefresh returns a context with which the first cached call it reaches
// recomputes and stores, whatever is cached. Where somebody else computes it
// waits for the lease, up to Options.WaitTimeout, and never returns what began
// to be computed before the call. That holds with Redis away too: what this
// process computes already is waited for then, and not taken (under OnCold Fail
// the call is refused meanwhile, under Compute it computes too). The context that
// the function is given does not carry it on.
func WithRefresh(ctx context.Context) context.Context {
	return withPerCall(ctx, func(p *perCall) { p.refresh = true })
}

// NoStore is called inside a cached function, with the context it was given: its
// result is then returned and not stored. It is for an answer that is good for
// these callers only, such as a partial one. With another context it does nothing.
func NoStore(ctx context.Context) {
	if f := perCallOf(orBackground(ctx)).frame; f != nil {
		f.noStore.Store(true)
	}
}
