package fncache

import (
	"context"
	"fmt"
	"time"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/releases"
)

// This file works on the entries of functions that this process may not have, for cmd/fncache.

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
	o.c.tellInvalidated(ctx, Invalidation{Scope: ScopeKey, Expired: soft, Count: 1, Err: err})
	return keys, err
}

// overtakenHere makes sure that later calls in this process get no older value.
func (o operator) overtakenHere(function string, verb events.Verb, keys []string) {
	for _, other := range names.caches(o.c) {
		for _, key := range keys {
			other.events.Note(events.Event{Verb: verb, Key: key, ID: "-"})
		}
		other.flights.detachFunc(function)
	}
}

func (o operator) Clear(ctx context.Context, function string, told func(removed int)) (removed int, err error) {
	return o.c.clear(ctx, clearing{name: function, tag: fence.FuncTag(o.c.hashing, function), told: told})
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
		StoredAt:   time.UnixMilli(e.storedAt).UTC(),
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

// judge returns what the fence says of an entry with tags.
func (o operator) judge(ctx context.Context, b *fence.Block) (verdict string, err error) {
	r, err := o.c.readFence(ctx, nil, nil, false, tagsOfMarks(b.Marks))
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
