package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/bench/internal/peers"
)

// Names of the peers that the aims compare.
const (
	batch     = "fncache, WrapBatch"
	nearBatch = "fncache, WrapBatch, near"
)

// A source is the function that is cached, in two forms: for many ids, and for one.
type source struct{ runs atomic.Int64 }

func (s *source) many(_ context.Context, ids []int64) (map[int64][]int64, error) {
	s.runs.Add(1)
	found := make(map[int64][]int64, len(ids))
	for _, id := range ids {
		found[id] = tenIDs(id)
	}
	return found, nil
}

func (s *source) one(_ context.Context, id int64) ([]int64, error) {
	s.runs.Add(1)
	return tenIDs(id), nil
}

func tenIDs(id int64) []int64 {
	return []int64{id, 3, 41865, 2657, 4671, 11870085, 5907, 5107, 960, 1885}
}

// A peer is a way to cache the source.
type peer struct {
	name string
	open func(peers.Site, *source) (*cached, error)
}

// cached is a source that is cached by a peer.
type cached struct {
	get   getMany
	close func()
	trips *trips

	// repeat returns a call for the same ids each time, whose arguments are made only once. If
	// repeat is nil, get is called.
	repeat func(ids []int64) func() error
}

// getMany is a function that returns the values of ids.
type getMany func(ctx context.Context, ids []int64) (map[int64][]int64, error)

// inRedis are the peers that keep all values in Redis.
func inRedis() []peer {
	return []peer{
		{"go-redis, MGET", openMGET},
		{batch, openBatch(0)},
		{"fncache, WrapStruct", openReflected()},
		{"go-redis, GET for each id", openEach},
		{"fncache, Wrap1 for each id", openSingle(0)},
	}
}

// inProcess are the peers that keep all values in the process. The callers of sturdyc share memory,
// those of fncache do not.
func inProcess() []peer {
	return []peer{
		{"sturdyc, ids as strings", openSturdyc(false)},
		{"sturdyc, ids as numbers", openSturdyc(true)},
		{nearBatch, openBatch(time.Minute)},
		{"fncache, Wrap1 for each id, near", openSingle(time.Minute)},
	}
}

// newClient returns a client that counts round trips, with the settings that fncache recommends.
func newClient(s peers.Site) (*redis.Client, *trips) {
	counted := new(trips)
	client := peers.Client(s.Addr, func(o *redis.Options) { o.ContextTimeoutEnabled = true }) // then fncache uses this client, not a clone of it
	client.AddHook(counted)
	return client, counted
}

// openMGET is the minimum for many ids with go-redis: MGET and decode, with the codec of fncache.
// Missing values are computed in one run, and stored by a pipeline.
func openMGET(s peers.Site, src *source) (*cached, error) {
	client, counted := newClient(s)
	get := func(ctx context.Context, ids []int64) (map[int64][]int64, error) {
		keys := make([]string, len(ids))
		for i, id := range ids {
			keys[i] = bareKey(s, "mget", id)
		}
		raws, err := client.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, err
		}
		found := make(map[int64][]int64, len(ids))
		var missing []int64
		for i, raw := range raws {
			text, ok := raw.(string)
			if !ok {
				missing = append(missing, ids[i])
				continue
			}
			var value []int64
			if err := cbor.Unmarshal([]byte(text), &value); err != nil {
				return nil, err
			}
			found[ids[i]] = value
		}
		if len(missing) == 0 {
			return found, nil
		}
		computed, err := src.many(ctx, missing)
		if err != nil {
			return nil, err
		}
		_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for id, value := range computed {
				found[id] = value
				raw, err := cbor.Marshal(value)
				if err != nil {
					return err
				}
				pipe.Set(ctx, bareKey(s, "mget", id), raw, s.Freshness)
			}
			return nil
		})
		return found, err
	}
	return &cached{get: get, close: func() { _ = client.Close() }, trips: counted}, nil
}

// openEach gets one id after the other with bare go-redis, as a loop around Rails.cache.fetch does.
func openEach(s peers.Site, src *source) (*cached, error) {
	client, counted := newClient(s)
	get := func(ctx context.Context, id int64) (value []int64, err error) {
		key := bareKey(s, "each", id)
		raw, err := client.Get(ctx, key).Bytes()
		if err == nil {
			return value, cbor.Unmarshal(raw, &value)
		}
		if !errors.Is(err, redis.Nil) {
			return nil, err
		}
		if value, err = src.one(ctx, id); err != nil {
			return nil, err
		}
		if raw, err = cbor.Marshal(value); err != nil {
			return nil, err
		}
		return value, client.Set(ctx, key, raw, s.Freshness).Err()
	}
	return &cached{get: loop(get), close: func() { _ = client.Close() }, trips: counted}, nil
}

func bareKey(s peers.Site, kind string, id int64) string {
	return kind + ":" + s.Name + ":" + strconv.FormatInt(id, 10)
}

// loop returns a function that gets one id after the other.
func loop(get func(context.Context, int64) ([]int64, error)) getMany {
	return func(ctx context.Context, ids []int64) (map[int64][]int64, error) {
		found := make(map[int64][]int64, len(ids))
		for _, id := range ids {
			value, err := get(ctx, id)
			if err != nil {
				return nil, err
			}
			found[id] = value
		}
		return found, nil
	}
}

// openSturdyc is sturdyc with all values in the process. Its ids are strings. With converting, the
// caller converts the ids and the map that it gets, as a caller with numbers does.
func openSturdyc(converting bool) func(peers.Site, *source) (*cached, error) {
	return func(s peers.Site, src *source) (*cached, error) {
		c := peers.NewSturdyc[[]int64](s)
		key := c.BatchKeyFn("sturdyc:" + s.Name)
		fetch := func(ctx context.Context, texts []string) (map[string][]int64, error) {
			ids := make([]int64, len(texts))
			for i, text := range texts {
				ids[i], _ = strconv.ParseInt(text, 10, 64)
			}
			computed, err := src.many(ctx, ids)
			found := make(map[string][]int64, len(computed))
			for id, value := range computed {
				found[strconv.FormatInt(id, 10)] = value
			}
			return found, err
		}
		texts := func(ids []int64) []string {
			texts := make([]string, len(ids))
			for i, id := range ids {
				texts[i] = strconv.FormatInt(id, 10)
			}
			return texts
		}
		get := func(ctx context.Context, ids []int64) (map[int64][]int64, error) {
			texts := texts(ids)
			values, err := c.GetOrFetchBatch(ctx, texts, key, fetch)
			found := make(map[int64][]int64, len(values))
			for i, text := range texts {
				if value, ok := values[text]; ok {
					found[ids[i]] = value
				}
			}
			return found, err
		}
		each := &cached{get: get, close: func() {}, trips: new(trips)}
		if converting {
			return each, nil
		}
		each.repeat = func(ids []int64) func() error {
			texts := texts(ids)
			return func() error {
				_, err := c.GetOrFetchBatch(context.Background(), texts, key, fetch)
				return err
			}
		}
		return each, nil
	}
}

// openFncache is fncache. wrap wraps the source, and returns a function for many ids.
func openFncache(wrap func(*source, fncache.Options) (getMany, error)) func(peers.Site, *source) (*cached, error) {
	return func(s peers.Site, src *source) (*cached, error) {
		client, counted := newClient(s)
		cache, err := fncache.New(fncache.Config{Redis: client, NearSize: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		get, err := wrap(src, fncache.Options{Cache: cache, Name: s.Name, Freshness: s.Freshness, Timeout: s.Timeout})
		if err != nil {
			return nil, err
		}
		return &cached{get: get, trips: counted, close: func() {
			_ = cache.Close()
			_ = client.Close()
		}}, nil
	}
}

// openBatch uses WrapBatch.
func openBatch(near time.Duration) func(peers.Site, *source) (*cached, error) {
	return openFncache(func(src *source, opts fncache.Options) (getMany, error) {
		get := getMany(src.many)
		opts.Near = near
		_, err := fncache.WrapBatch((*func(context.Context, []int64) (map[int64][]int64, error))(&get), opts)
		return get, err
	})
}

// openReflected uses a batch function in a struct, which is called by reflection.
func openReflected() func(peers.Site, *source) (*cached, error) {
	return openFncache(func(src *source, opts fncache.Options) (getMany, error) {
		v := struct {
			Many func(context.Context, []int64) (map[int64][]int64, error) `fncache:"batch"`
		}{src.many}
		_, err := fncache.WrapStruct(&v, opts)
		return v.Many, err
	})
}

// openSingle calls a function for one id after the other.
func openSingle(near time.Duration) func(peers.Site, *source) (*cached, error) {
	return openFncache(func(src *source, opts fncache.Options) (getMany, error) {
		opts.Near = near
		get, _, err := fncache.New1(src.one, opts)
		return loop(get), err
	})
}

// trips counts round trips: commands and pipelines, except those that set up connections.
type trips struct{ atomic.Int64 }

func (t *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !settingUp[cmd.Name()] {
			t.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (t *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !settingUp[cmds[0].Name()] {
			t.Add(1)
		}
		return next(ctx, cmds)
	}
}

// settingUp has the commands by which go-redis sets up a connection.
var settingUp = map[string]bool{"hello": true, "client": true, "auth": true, "select": true}
