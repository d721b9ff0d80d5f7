package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
)

// scanCount is how many keys one SCAN looks at. After each SCAN the server is left alone for as
// long as the step took, at most mostRest, so that it can serve the processes.
const (
	scanCount = 1000
	mostRest  = 10 * time.Millisecond
)

// globbed escapes a text for the pattern of SCAN.
var globbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

// scan calls visit with the keys that match a pattern, on one primary after the other. SCAN may
// return a key more than once.
func (a *app) scan(ctx context.Context, pattern string, visit func(ctx context.Context, keys []string) error) error {
	primaries, err := a.primaries(ctx)
	if err != nil {
		return err
	}
	progress := a.meter()
	defer progress.end()
	steps := 0
	for _, primary := range primaries {
		for cursor := uint64(0); ; {
			began := time.Now()
			limited, end := a.limited(ctx)
			keys, next, err := primary.Scan(limited, cursor, pattern, scanCount).Result()
			if err == nil && len(keys) > 0 {
				err = visit(ctx, keys)
			}
			end()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return fmt.Errorf("scan: %w%s", err, hint(err))
			}
			steps++
			progress.step("looked at about %d keys", steps*scanCount)
			if cursor = next; cursor == 0 {
				break
			}
			if err := rest(ctx, min(time.Since(began), mostRest)); err != nil {
				return err
			}
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reach returns an error if Redis does not answer a request for its time. It is called first
// because the errors of go-redis say less if Redis is away.
func (a *app) reach(ctx context.Context) error {
	_, err := a.operator.Now(ctx)
	var failure *fncache.RedisError
	if errors.As(err, &failure) && (failure.Kind == fncache.KindNoPerm || failure.Kind == fncache.KindOther) {
		return nil // some hosts refuse TIME
	}
	return err
}

// primaries returns the servers that have keys.
func (a *app) primaries(ctx context.Context) (all []redis.Cmdable, err error) {
	if err := a.reach(ctx); err != nil {
		return nil, err
	}
	limited, end := a.limited(ctx)
	defer end()
	switch client := a.client.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		err = client.ForEachMaster(limited, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, node)
			return nil
		})
		if err != nil {
			err = fmt.Errorf("the primaries of the Cluster: %w%s", err, hint(err))
		}
		return all, err
	default:
		// A server that is not a node of a Cluster answers with an error. So does a server that
		// does not allow this user the command.
		if client.ClusterInfo(limited).Err() == nil {
			return nil, errors.New("this server is a node of a Cluster, and has only some of the keys; add ?addr=HOST:PORT of another node to the URL of --redis")
		}
		return []redis.Cmdable{client}, nil
	}
}

const howToLogIn = "; put the user and the password into the URL, redis://USER:PASSWORD@HOST:PORT, best in FNCACHE_REDIS"

// hint returns what to do about an error of Redis, with a semicolon before it, or "".
func hint(err error) string {
	text := err.Error()
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), strings.Contains(text, "invalid password"):
		return howToLogIn
	case redis.HasErrorPrefix(err, "NOPERM"):
		return "; docs/command-line.md lists the rights that each command needs"
	case redis.HasErrorPrefix(err, "MOVED"), redis.HasErrorPrefix(err, "ASK"):
		return "; this is a Cluster: add ?addr=HOST:PORT of another node to the URL of --redis"
	case strings.Contains(text, "connection refused"), strings.Contains(text, "no such host"), errors.Is(err, context.DeadlineExceeded):
		return "; check --redis or FNCACHE_REDIS, and whether Redis runs"
	default:
		return ""
	}
}
