// Package ping finds out whether a Redis can be used: whether it is reachable, a primary, new
// enough and whole, and lets this user run what its caller needs to run.
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

// Op is the operation of commands that the checks send.
const Op = "ping"

// minimalMajor is the oldest major version of Redis that can be used.
const minimalMajor = 6

// A Config says what is asked, and how. All fields are required.
type Config struct {
	Client redis.UniversalClient
	// Ask sends a command, and returns an error of package remote, or that of the context.
	Ask func(ctx context.Context, c *remote.Command) error
	// Probe gives keys that nobody else uses, of which each may be on another node of a
	// Cluster.
	Probe func(n int) string
	// Scripts gives the checks of what runs on the server that has a probe.
	Scripts func(probe string) []Check
	// Failed makes an error of what was found out about the server that has a probe, "" if
	// none could be asked.
	Failed func(kind remote.Kind, why error, probe string) error
	// Evicts is told of a maxmemory-policy by which a server evicts keys that have no expiry.
	Evicts func(policy string)
	// Limit is how long a check may take.
	Limit time.Duration
	// Spawn starts a goroutine.
	Spawn func(func())
}

// A Check is one thing that is tried, by commands that it is given a way to send.
type Check func(ask func(*remote.Command) error) error

// Ping checks what is needed of every server that holds entries: of a Cluster, of each
// primary. The error says which check failed, of which node, and what to do. It is that of
// ctx if this has ended.
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

// server checks, one after the other, what is needed of the server that has the probe; more
// are checks before the scripts.
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
		case errors.As(err, &failure): // what is around it says more
			return c.Failed(failure.Kind, withCause(err, failure), probe)
		default:
			return c.Failed(remote.KindOf(err), err, probe)
		}
	}
	return nil
}

// withCause returns an error that wraps one of package remote as one that wraps its cause,
// whose text is all that is of interest here.
func withCause(err error, failure *remote.Error) error {
	if about, ok := err.(*Error); ok { //nolint:errorlint // a check returns it as it is
		return fmt.Errorf("%s: %w%s", about.What, failure.Err, about.Remedy)
	}
	return failure.Err
}

// An Error says what an error is a sign of.
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
			return nil // INFO may be forbidden; what is needed, the next checks run
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

// wholeProbes is how many keys tell whether a server has all: of a Cluster of two
// primaries or more a node has half of them at most, as a rule.
const wholeProbes = 32

// whole checks that a server has the keys of all slots. A node of a Cluster that a
// client is pointed at which does not know of Clusters has those of some, and sends
// the client elsewhere for the others. What INFO says of the mode of the server would
// not tell: there are proxies, and nodes, that have all slots.
func whole(probe func(n int) string) Check {
	return func(ask func(*remote.Command) error) error {
		for n := range wholeProbes {
			// Of other errors the next checks tell.
			if err := ask(remote.Get(Op, probe(n), limits)); remote.Elsewhere(err) {
				return &Error{What: "a node of a Redis Cluster, which has only a part of the keys", Cause: err}
			}
		}
		return nil
	}
}

// Script says what a script that failed is a sign of.
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

// A primary is one of a cluster, and a key that it has.
type primary struct {
	client *redis.Client
	probe  string
}

// probesMost is how many keys are tried for one on each primary: enough for one that
// has a single slot.
const probesMost = 16 << 14

// primaries gives those of a cluster, as it is now. go-redis may ask for its nodes for
// longer than ctx allows.
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
