// Package ping finds out whether a Redis server can be used: it is reachable, a primary, new
// enough, has the keys of all slots, and lets this user run all that the caller needs.
package ping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/remote"
)

// Op names the operation of the commands that the checks send.
const Op = "ping"

// minimalMajor is the oldest major version of Redis that can be used.
const minimalMajor = 6

// A Config configures Ping. All fields are required.
type Config struct {
	Client redis.UniversalClient
	// Ask sends a command. It returns an error of package remote, or the error of the context.
	Ask func(ctx context.Context, c *remote.Command) error
	// Probe returns keys that nothing else uses. Different n may give keys on different nodes of a
	// Cluster.
	Probe func(n int) string
	// Scripts returns the checks of scripts. They run on the server that has the probe.
	Scripts func(probe string) []Check
	// Failed makes the error that Ping returns. probe is a key of the server that failed, or "" if
	// no server could be asked.
	Failed func(kind remote.Kind, why error, probe string) error
	// Evicts is called with a server's maxmemory-policy if it evicts keys that have no expiry.
	Evicts func(policy string)
	// Limit is how long a check may take.
	Limit time.Duration
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Check tries one thing. It sends commands by ask.
type Check func(ask func(*remote.Command) error) error

// Ping checks every server that holds entries; on a Cluster, each primary. The error says which
// check failed, on which node, and what to do. If ctx has ended, the error is that of ctx.
func Ping(ctx context.Context, c Config) error {
	cluster, ok := c.Client.(*redis.ClusterClient)
	if !ok {
		return c.server(ctx, c.Probe(0), whole(c.Probe))
	}
	limited, end := context.WithTimeout(ctx, c.Limit)
	nodes, err := c.primaries(limited, cluster)
	end()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return c.Failed(remote.KindOf(err), err, "")
	}
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Add(1)
		c.Spawn(func() {
			defer all.Done()
			if err := c.server(ctx, node.probe); err != nil {
				errs[i] = fmt.Errorf("%w; node %s", err, node.client.Options().Addr)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// server runs the checks on the server that has the probe, one after the other. The checks in more
// run before the scripts.
func (c *Config) server(ctx context.Context, probe string, more ...Check) error {
	checks := slices.Concat([]Check{reachable(probe), version(probe), c.eviction(probe)}, more, c.Scripts(probe))
	for _, check := range checks {
		limited, end := context.WithTimeout(ctx, c.Limit)
		err := check(func(cmd *remote.Command) error { return c.Ask(limited, cmd) })
		end()
		var failure *remote.Error
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &failure): // the error around it says more
			return c.Failed(failure.Kind, withCause(err, failure), probe)
		default:
			return c.Failed(remote.KindOf(err), err, probe)
		}
	}
	return nil
}

// withCause returns err with the cause of failure in place of failure, because only the text of the
// cause is of interest here.
func withCause(err error, failure *remote.Error) error {
	if about, ok := err.(*Error); ok { //nolint:errorlint // a check returns it as it is
		return fmt.Errorf("%s: %w%s", about.What, failure.Err, about.Remedy)
	}
	return failure.Err
}

// An Error says what the failure of a check means.
type Error struct {
	What   string
	Cause  error
	Remedy string // "; " and what to do, or ""
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v%s", e.What, e.Cause, e.Remedy) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

var limits = remote.Limits{Always: true}

func reachable(probe string) Check {
	return func(ask func(*remote.Command) error) error {
		if err := ask(remote.Plain(Op, probe, remote.Writes, limits, "ping")); err != nil {
			return &Error{What: "not reachable", Cause: err}
		}
		return nil
	}
}

func version(probe string) Check {
	return func(ask func(*remote.Command) error) error {
		info := remote.Plain(Op, probe, remote.Writes, limits, "info", "server")
		if ask(info) != nil {
			return nil // INFO may be forbidden; the next checks try what is needed
		}
		for line := range strings.Lines(fmt.Sprint(info.Reply())) {
			number, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:")
			if !ok {
				continue
			}
			first, _, _ := strings.Cut(number, ".")
			if major, err := strconv.Atoi(first); err == nil && major > 0 && major < minimalMajor {
				return fmt.Errorf("version %s is too old; use Redis %d or newer, or Valkey", number, minimalMajor)
			}
		}
		return nil
	}
}

func (c *Config) eviction(probe string) Check {
	return func(ask func(*remote.Command) error) error {
		info := remote.Plain(Op, probe, remote.Writes, limits, "info", "memory")
		if ask(info) != nil {
			return nil // INFO may be forbidden
		}
		for line := range strings.Lines(fmt.Sprint(info.Reply())) {
			policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
			if ok && strings.HasPrefix(policy, "allkeys-") {
				c.Evicts(policy)
			}
		}
		return nil
	}
}

// wholeProbes is how many keys are tried to find out whether a server has all keys. If a Cluster
// has two or more primaries, a node usually has at most half of the keys.
const wholeProbes = 32

// whole checks that a server has the keys of all slots. That fails if the server is a node of a
// Cluster and the client is not a Cluster client: the node redirects the client for keys of other
// nodes. The mode that INFO reports would not show this, because some proxies and nodes have all
// slots.
func whole(probe func(n int) string) Check {
	return func(ask func(*remote.Command) error) error {
		for n := range wholeProbes {
			// The next checks report other errors.
			if err := ask(remote.Get(Op, probe(n), limits)); remote.Elsewhere(err) {
				return &Error{What: "a node of a Redis Cluster, which has only a part of the keys", Cause: err}
			}
		}
		return nil
	}
}

// Script returns an error that says why a script failed, or nil if err is nil.
func Script(err error) error {
	if err == nil {
		return nil
	}
	switch kind := remote.KindOf(err); {
	case kind == remote.KindReadOnly:
		return &Error{What: "not a primary", Cause: err}
	case kind == remote.KindNoPerm:
		return &Error{What: "scripts are not allowed to this user", Cause: err}
	case strings.Contains(err.Error(), "unknown command"):
		return &Error{"scripts are not allowed on this server", err, "; fncache needs EVAL and EVALSHA"}
	default:
		return &Error{What: "scripts fail", Cause: err}
	}
}

// A primary is a primary of a Cluster, and a key that it has.
type primary struct {
	client *redis.Client
	probe  string
}

// probesMost is how many keys are tried to find one on each primary. It is enough for a primary
// that has a single slot.
const probesMost = 16 << 14

// primaries returns the present primaries of a Cluster. It returns when ctx ends, even though
// go-redis may still be asking the nodes.
func (c *Config) primaries(ctx context.Context, cluster *redis.ClusterClient) ([]primary, error) {
	type answer struct {
		found []primary
		err   error
	}
	answers := make(chan answer, 1)
	c.Spawn(func() {
		found, err := primariesOf(ctx, cluster, c.Probe)
		answers <- answer{found, err}
	})
	select {
	case a := <-answers:
		return a.found, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func primariesOf(ctx context.Context, cluster *redis.ClusterClient, probe func(n int) string) (found []primary, err error) {
	var mu sync.Mutex
	missing := map[string]*redis.Client{}
	err = cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		missing[node.Options().Addr] = node
		return nil
	})
	for n := 0; err == nil && n < probesMost && len(missing) > 0; n++ {
		var node *redis.Client
		if node, err = cluster.MasterForKey(ctx, probe(n)); err != nil {
			break
		}
		if addr := node.Options().Addr; missing[addr] != nil {
			found = append(found, primary{node, probe(n)})
			delete(missing, addr)
		}
	}
	return found, err
}
