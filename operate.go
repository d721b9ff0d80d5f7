package fncache

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/holder"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
)

// This file works on the entries of functions that this process may not have, for cmd/fncache and
// fncachedebug, and shows fncachedebug the functions that it has.

func init() {
	operate.Of = func(cache any) operate.Operator { return operator{cache.(*Cache)} }
}

// An operator implements operate.Operator.
type operator struct{ c *Cache }

func (o operator) Split(key string) (entry, function string, err error) {
	function = functionOf(key)
	entry, ok := entryOf(o.c.cfg.Namespace, function, key)
	if !ok {
		return "", "", operate.ErrNoKey
	}
	return entry, function, nil
}

func (o operator) EntryKey(function string, hash keyhash.Hash, signature string) string {
	key := hash.AppendHex([]byte(entryPrefix(o.c.cfg.Namespace, function)))
	return string(key) + entrySuffix(signature)
}

func (o operator) Hashing() *keyhash.Keys { return o.c.hashing }

func (o operator) Releases(ctx context.Context, function string) ([]releases.Record, error) {
	return o.c.store.releases(ctx, registryKey(o.c.cfg.Namespace, function))
}

func (o operator) Now(ctx context.Context) (time.Time, error) { return o.c.store.serverTime(ctx) }

// Overtake takes the entries of all releases whose parameter types are those of the release in
// the key. If that release is not registered, it takes the entries of all releases.
func (o operator) Overtake(ctx context.Context, key string, soft bool) (keys []string, err error) {
	entry, function, err := o.Split(key)
	if err != nil {
		return nil, err
	}
	defer func() {
		o.c.tellInvalidated(ctx, Invalidation{Scope: ScopeKey, Func: names.find(o.c, function), Expired: soft, Count: 1, Err: err})
	}()
	records, err := o.Releases(ctx, function)
	if err != nil {
		return nil, fmt.Errorf("%w; the list of releases that may have stored the entry cannot be read", err)
	}
	step := invalidating
	if soft {
		step = expiring
	}
	keys = keysOfReleases(entry, releases.ParamsOf(records, signatureOf(entry)), records)
	o.overtakenHere(function, step.verb, keys)
	err = o.c.store.overtake(ctx, step, keys)
	o.overtakenHere(function, step.verb, keys)
	return keys, err
}

// overtakenHere makes sure that later calls in this process get no older value.
func (o operator) overtakenHere(function string, verb events.Verb, keys []string) {
	for _, other := range names.caches(o.c) {
		for _, key := range keys {
			other.events.Note(events.Event{Verb: verb, Key: key, ID: "-"})
		}
		other.flights.DetachAll(func(id flightKey) bool { return id.fn.Name() == function })
	}
}

func (o operator) Clear(ctx context.Context, function string, progress func(removed int)) (removed int, err error) {
	return o.c.clear(ctx, clearing{name: function, tag: fence.FuncTag(o.c.hashing, function), progress: progress})
}

func (o operator) Read(ctx context.Context, key string) (*operate.Entry, error) {
	raw, err := o.c.store.lookup(ctx, key, 0)
	if err != nil || raw == nil {
		return nil, err
	}
	e, err := parseEnvelope(raw)
	if err != nil {
		return nil, err
	}
	shown := &operate.Entry{
		StoredAt:   time.UnixMilli(min(e.storedAt, latestMillis)).UTC(),
		Cost:       e.cost,
		ID:         events.StoreID(e.id),
		Codec:      map[byte]operate.Codec{codecCBOR: operate.CBOR, codecJSON: operate.JSON, codecOther: operate.Other}[e.codec],
		Negative:   e.negative(),
		Compressed: e.flags&flagCompressed != 0,
		Sealed:     e.flags&flagSealed != 0,
		Expired:    e.flags&flagExpired != 0,
		Size:       len(raw),
	}
	if e.life != nil {
		shown.Lifetime = &operate.Lifetime{Freshness: e.life.freshness, Timeout: e.life.timeout}
	}
	if e.tags != nil {
		if shown.Verdict, err = o.judge(ctx, e.tags); err != nil {
			return nil, err
		}
		for _, mark := range e.tags.Marks {
			shown.Tags = append(shown.Tags, mark.Tag.String())
		}
	}
	if shown.Body, err = o.body(&e, key); err != nil {
		shown.Hidden = err.Error()
	}
	return shown, nil
}

// latestMillis is the end of the year 9999, in Unix milliseconds: JSON has no later times. An entry
// that is damaged may have one.
const latestMillis = 253402300799999

// judge returns what the fence says of an entry with tags.
func (o operator) judge(ctx context.Context, b *fence.Block) (verdict string, err error) {
	r, err := o.c.readFence(ctx, nil, nil, false, fence.TagsOf(b.Marks))
	if err != nil {
		return "", err
	}
	switch r.Judge(b.Epoch, b.Marks) {
	case fence.Valid:
		return "valid", nil
	case fence.Expired:
		return "stale", nil
	default:
		return "invalid", nil
	}
}

// body returns the body of an entry, opened with the seal of the cache, whatever its codec.
func (o operator) body(e *envelope, key string) ([]byte, error) {
	if e.flags&flagSealed != 0 {
		if err := o.c.coder.unseal(e, key); err != nil {
			return nil, err
		}
	}
	if e.flags&flagCompressed != 0 {
		return codec.Decompress(e.body)
	}
	return e.body, nil
}

// Lease reads the lock, its life, and the name of the process in its token.
func (o operator) Lease(ctx context.Context, entry string) (*operate.Lease, error) {
	lock, err := o.text(ctx, entry+lockSuffix)
	if err != nil || lock == "" {
		return nil, err
	}
	left, ok, err := o.Left(ctx, entry+lockSuffix)
	if err != nil || !ok {
		return nil, err
	}
	l := &operate.Lease{State: operate.StateOf(lock), Left: max(0, left)}
	id, since, ok := holder.Parse(lock)
	if !ok {
		return l, nil
	}
	written, err := o.text(ctx, holder.Key(o.c.cfg.Namespace, id))
	if p, ok := holder.ParseProcess([]byte(written)); ok {
		l.Since, l.Holder = since, &p
	}
	return l, err
}

// text returns the value of a key; "" if there is none, or if it is no string.
func (o operator) text(ctx context.Context, key string) (string, error) {
	raw, err := o.c.store.lookup(ctx, key, 0)
	if err == errWrongType { //nolint:errorlint // it is returned as it is
		return "", nil
	}
	return string(raw), err
}

func (o operator) Left(ctx context.Context, key string) (left time.Duration, ok bool, err error) {
	cmd := remote.Plain("pttl", key, remote.Reads, remote.Limits{}, "pttl", key)
	if err := o.c.store.remote.Do(ctx, cmd); err != nil {
		return 0, false, redisErrorOf(err)
	}
	millis, _ := cmd.Reply().(int64)
	return time.Duration(millis) * time.Millisecond, millis != -2, nil
}

func (o operator) Ping(ctx context.Context) (warnings []string, err error) {
	var mu sync.Mutex
	err = o.c.ping(ctx, func(policy string) {
		mu.Lock()
		defer mu.Unlock()
		if text := mayEvict + "; it is " + policy; !slices.Contains(warnings, text) {
			warnings = append(warnings, text)
		}
	})
	return warnings, err
}

func (o operator) Functions() (all []any) {
	for _, f := range names.wrappedOn(o.c) {
		all = append(all, f)
	}
	return all
}

func (o operator) About(function any) operate.Function {
	f := function.(*Func)
	about := o.c.describe(f)
	return operate.Function{
		Name: f.Name(), Types: about.Types, Codec: about.Codec, Wrapped: f.site.at, Options: f.opts.inForce(), Params: f.sig.Params, Varies: f.sig.Varies,
		Freshness: f.opts.Freshness, Timeout: f.opts.Timeout,
	}
}

func (o operator) Computing() map[any]int {
	all := make(map[any]int)
	o.c.flights.Computations(func(id flightKey) { all[id.fn]++ })
	return all
}

func (o operator) Go(f func(closing <-chan struct{})) { o.c.life.Go(func() { f(o.c.closing) }) }

func (o operator) Watch(w operate.Watcher) {
	for {
		old := o.c.watchers.Load()
		all := []operate.Watcher{w}
		if old != nil {
			all = slices.Concat(*old, all)
		}
		if o.c.watchers.CompareAndSwap(old, &all) {
			return
		}
	}
}

// inForce returns the options that are set, or have a default that is not zero.
func (o *Options) inForce() (all []operate.Option) {
	v := reflect.ValueOf(*o)
	for i, field := range reflect.VisibleFields(v.Type()) {
		value := v.Field(i)
		if field.Name == "Cache" || !field.IsExported() || value.IsZero() && value.Kind() != reflect.Uint8 { // policies have a zero that says something
			continue
		}
		text := "set"
		if value.Kind() != reflect.Func {
			text = fmt.Sprint(value.Interface())
		}
		if field.Name == "CacheErrors" {
			text = fmt.Sprintf("%d errors", value.Len()) // their texts are the user's own
		}
		all = append(all, operate.Option{Name: field.Name, Value: text})
	}
	return all
}

// find returns a function of a name that uses the cache c, or nil.
func (r *registry) find(c *Cache, name string) *Func {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all := r.named(c, name); len(all) > 0 {
		return all[0]
	}
	return nil
}

// named returns the functions of a name that use the cache c. mu is held.
func (r *registry) named(c *Cache, name string) (all []*Func) {
	isDefault := defaultCache.Load() == c
	for _, u := range r.m[name] {
		if (u.cache == c || u.cache == nil && isDefault) && !u.moved && !slices.Contains(all, u.fn) {
			all = append(all, u.fn)
		}
	}
	return all
}
