package fncache

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/fence"
)

// This file has the functions that a cached function calls about its own entry while it runs:
// how long it is valid, and that the stored one is still right. AddTags is in tags.go, and NoStore
// in info.go.

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

// A StoredEntry describes the entry that is stored already while its function runs. See [Stored].
type StoredEntry struct {
	Age  time.Duration // since it was stored, or last found unchanged, on the Redis server's clock
	ETag string        // the text of SetETag; "" if the entry has none
}

// Stored describes the stored entry that a running cached function is about to replace, called the
// entry at hand. The function calls Stored with the context that it was given. The entry at hand
// is stale, or is refreshed early (Options.Early), and callers get it meanwhile. The function can
// ask its source by the ETag or the age whether the result has changed since then, and call
// [NotModified] if it has not.
//
// ok is false if there is no such entry. Then the function has to compute the whole result. There
// is none if the cache is cold, if the call is a refresh ([WithRefresh], [Func.Refresh]), if the
// entry or one of its tags was invalidated, if the entry is an error of Options.CacheErrors, while
// Redis is away, after the function has returned, and with any other context.
func Stored(ctx context.Context) (stored StoredEntry, ok bool) {
	f := perCallOf(orBackground(ctx)).frame
	if f != nil && f.stored && f.of.many != nil {
		f.log("Stored, SetETag and NotModified do nothing in a batch function, because each of its ids has an entry of its own")
	}
	if f == nil || f.hand == nil || f.ended.Load() {
		return StoredEntry{}, false
	}
	stored.Age = max(0, time.Duration(f.cache.clock.Now()-f.hand.storedAt)*time.Millisecond)
	if f.hand.etag != nil {
		stored.ETag = *f.hand.etag
	}
	return stored, true
}

// SetETag gives the entry of a running cached function an ETag, which [Stored] returns to a later
// run. The function calls it with the context that it was given. An ETag is any text of up to 256
// bytes that changes with the result, such as the ETag of an HTTP answer or the version of a row.
// If SetETag is called several times, the last call counts, and "" means none. A longer text
// counts as none, and the log says so once. An entry that is kept by [NotModified] keeps its ETag.
// Config.Seal encrypts it together with the result. An error of Options.CacheErrors has none.
// After the function has returned, SetETag has no effect, and the log says so once.
func SetETag(ctx context.Context, etag string) {
	say(ctx, "SetETag", func(f *frame) {
		f.said.etag = nil
		switch {
		case len(etag) > maxETag:
			f.log("SetETag is given more than 256 bytes: the entry has no ETag; use a shorter one, or a hash of it")
		case etag != "":
			own := strings.Clone(etag)
			f.said.etag = &own
		}
	})
}

// NotModified keeps the entry at hand ([Stored]), because it is still right. The cached function
// calls it with the context that it was given. The callers then get the result of the entry, for
// any result or error that the function returns, and the entry is as fresh as a new one. The entry
// gets the lifetime that SetLifetime sets in this run; without SetLifetime it keeps its own. It
// keeps its cost. The result is sent to Redis again only if the entry is no longer there, if the
// entry gets a lifetime or a tag that it did not have, or if it is sealed by a key that no longer
// seals (Config.Seal).
//
// Without an entry at hand the result is not stored, and the log says so once: call NotModified
// only if Stored has returned an entry. After the function has returned, NotModified has no
// effect, and the log says so once.
func NotModified(ctx context.Context) {
	say(ctx, "NotModified", func(f *frame) {
		if f.hand == nil {
			f.noStore.Store(true)
			f.log("NotModified is called where no entry is at hand: the result is not stored; call it only where Stored returns an entry")
			return
		}
		f.said.unmodified = true
	})
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
	if f.of.many != nil && by != "SetLifetime" {
		f.log("Stored, SetETag and NotModified do nothing in a batch function, because each of its ids has an entry of its own")
		return
	}
	what(f)
}

// hand returns the entry that the function of a computation may keep, or nil if there is none.
func (c *computation) hand() *entry {
	if c.fn.many != nil || c.token == "" || c.stale == nil || c.staleGone || c.stale.negative() {
		return nil
	}
	return c.stale
}

// said has the settings that a function has made for its result while it runs.
type said struct {
	life       *lifetimes // nil: the lifetimes of the options
	etag       *string    // nil: none
	unmodified bool       // the entry at hand is kept
}

// keepsHand reports whether the function has called NotModified.
func (f *frame) keepsHand() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.unmodified
}

// facts sets the lifetimes and the ETag of an entry.
func (f *frame) facts(e *envelope) {
	f = f.speaker()
	f.mu.Lock()
	defer f.mu.Unlock()
	e.life, e.etag = f.said.life, f.said.etag
}

// kept returns the entry at hand as an entry that is stored now: the envelope, and all of its bytes
// in raw. head is the part of raw before the body if it is as long as before, so that it can
// replace what is stored; else nil. A body that another key has sealed is sealed anew: otherwise the
// entry could need that key for longer than Options.Timeout.
func (c *computation) kept(now int64, id uint64, tags *fence.Block) (env envelope, raw, head []byte) {
	hand := c.frame.hand
	env = hand.envelope
	env.body, env.storedAt, env.id, env.tags = nil, now, id, tags
	if life := c.frame.lifetimes(); life != nil {
		env.life = life
	}
	old := hand.headLen()
	if !c.cache.coder.current(hand.raw[old:]) {
		env.flags = 0
		return env, c.cache.coder.enclose(&env, append(make([]byte, envelopeHeaderLen), hand.body...), c.key), nil
	}
	env.flags = hand.raw[flagsOffset] & bodyFlags
	if env.life != nil {
		env.flags |= flagLifetime
	}
	if env.tags != nil {
		env.flags |= flagTagged
	}
	raw = append(env.appendTo(make([]byte, 0, env.headLen()+len(hand.raw)-old)), hand.raw[old:]...)
	if env.headLen() == old {
		head = raw[:old]
	}
	return env, raw, head
}

// stores reports whether the outcome of the function has to be stored. negative reports whether
// the outcome is an error of Options.CacheErrors.
func (f *frame) stores(negative bool) bool {
	if f = f.speaker(); f.noStore.Load() {
		return false
	}
	life := f.lifetimes()
	return negative || life == nil || life.timeout > 0
}

// speaker returns the frame in which the function made its settings: that of the run, for an
// element of a batch.
func (f *frame) speaker() *frame {
	if f.run != nil {
		return f.run
	}
	return f
}

// lifetimes returns the lifetimes of the last call of SetLifetime, or nil.
func (f *frame) lifetimes() *lifetimes {
	f = f.speaker()
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
