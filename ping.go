package fncache

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

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/remote"
)

// This file finds out whether Redis can be used: Ping asks for all that fncache needs.

// minimalMajor is the oldest major version of Redis that fncache is used with.
const minimalMajor = 6

// A check is one thing that Ping tries, by commands that it is given a way to send.
type check func(ask func(*remote.Command) error) error

// ping checks what fncache needs of every server that holds entries. probe gives keys
// that nobody else uses.
func (s *lockStore) ping(ctx context.Context, probe func(n int) string) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.pingServer(ctx, probe(0), pingWhole(probe))
	}
	limited, end := context.WithTimeout(ctx, pingLimit*s.timeout)
	nodes, err := s.primaries(limited, cluster, probe)
	end()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return newRedisError(opPing, "", err)
	}
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Add(1)
		s.spawn(func() {
			defer all.Done()
			if err := s.pingServer(ctx, node.probe); err != nil {
				errs[i] = fmt.Errorf("%w; node %s", err, node.client.Options().Addr)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// pingLimit is how long a check may take, in RedisTimeouts, while this process is busy.
const pingLimit = 3

// pingServer checks, one after the other, what fncache needs of the server that has
// the probe; more are checks before the scripts. Each error says which is missing and
// what to do.
func (s *lockStore) pingServer(ctx context.Context, probe string, more ...check) error {
	checks := slices.Concat([]check{pingReachable(probe), pingVersion(probe)}, more, s.pingScripts(probe))
	for _, check := range checks {
		limited, end := context.WithTimeout(ctx, pingLimit*s.timeout)
		err := check(func(c *remote.Command) error { return s.do(limited, opPing, c) })
		end()
		var failure *RedisError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &failure): // what is around it says more
			return &RedisError{Op: opPing, Kind: failure.Kind, Err: withoutDown(err, failure), key: probe}
		default:
			return newRedisError(opPing, probe, err)
		}
	}
	return nil
}

// withoutDown returns an error that wraps a RedisError as one that wraps its cause, so that
// it does not say twice that Redis is down.
func withoutDown(err error, failure *RedisError) error {
	if about, ok := err.(*pingError); ok { //nolint:errorlint // a check returns it as it is
		return fmt.Errorf("%s: %w%s", about.what, failure.Err, about.remedy)
	}
	return failure.Err
}

// A pingError says what an error is a sign of.
type pingError struct {
	what   string
	cause  error
	remedy string
}

func (e *pingError) Error() string { return fmt.Sprintf("%s: %v%s", e.what, e.cause, e.remedy) }

func (e *pingError) Unwrap() error { return e.cause }

var pingLimits = remote.Limits{Always: true}

func pingReachable(probe string) check {
	return func(ask func(*remote.Command) error) error {
		if err := ask(remote.Plain(opPing, probe, remote.Writes, pingLimits, "ping")); err != nil {
			return &pingError{what: "not reachable", cause: err}
		}
		return nil
	}
}

func pingVersion(probe string) check {
	return func(ask func(*remote.Command) error) error {
		info := remote.Plain(opPing, probe, remote.Writes, pingLimits, "info", "server")
		if ask(info) != nil {
			return nil // INFO may be forbidden; what fncache itself needs, the next check runs
		}
		for line := range strings.Lines(fmt.Sprint(info.Reply())) {
			version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:")
			if !ok {
				continue
			}
			number, _, _ := strings.Cut(version, ".")
			if major, err := strconv.Atoi(number); err == nil && major > 0 && major < minimalMajor {
				return fmt.Errorf("version %s is too old; use Redis %d or newer, or Valkey", version, minimalMajor)
			}
		}
		return nil
	}
}

// wholeProbes is how many keys tell whether a server has all: of a Cluster of two
// primaries or more a node has half of them at most, as a rule.
const wholeProbes = 32

// pingWhole checks that a server has the keys of all slots. A node of a Cluster that a
// client is pointed at which does not know of Clusters has those of some, and sends
// the client elsewhere for the others. What INFO says of the mode of the server would
// not tell: there are proxies, and nodes, that have all slots.
func pingWhole(probe func(n int) string) check {
	return func(ask func(*remote.Command) error) error {
		for n := range wholeProbes {
			// Of other errors the next checks tell.
			if err := ask(remote.Get(opPing, probe(n), pingLimits)); elsewhere(err) {
				return &pingError{what: "a node of a Redis Cluster, which has only a part of the keys", cause: err}
			}
		}
		return nil
	}
}

// leastPingLease is how long what a failed Ping has left in Redis stays there at least:
// it is to outlive the few commands between.
const leastPingLease = time.Second

// pingScripts run the protocol on a key that nobody else uses, so that every
// command in it is called: that takes a primary, and the right to run scripts and these
// commands, and to publish. What a failure leaves of it expires. Only Ping's own registry
// does not: the next Ping deletes it.
func (s *lockStore) pingScripts(probe string) (checks []check) {
	token, lease := newToken(), millis(max(s.timeout, leastPingLease))
	registry := []string{strings.Replace(probe, ":{", ":functions:{", 1)} // in the same slot
	probe += ":" + token                                                  // also
	entry, lock := []string{probe, probe + lockSuffix}, []string{probe + lockSuffix}
	for i, step := range []struct {
		script *remote.Script
		keys   []string
		args   []any
	}{
		{acquireScript, entry, []any{token, lease, string(acquireRefresh), "", "0"}},      // whole, as to a server that does not know it
		{acquireScript, entry, []any{newToken(), lease, string(acquireCompare), "", "0"}}, // held: asks for the remaining life
		{renewScript, lock, []any{token, lease, s.channelOf(probe), events.Event{Verb: events.Release, Key: probe, ID: token}.String()}},
		{registerScript, registry, []any{"former", "-", 0, 0, 1, 0}},
		{registerScript, registry, []any{"latter", "-", 0, 0, 1, 0}}, // the former is one too many
		{releasesScript, registry, []any{"-"}},
		{probeScript, registry, nil},
	} {
		checks = append(checks, func(ask func(*remote.Command) error) error {
			return pingScriptError(ask(remote.Eval(opPing, remote.Writes, step.script, step.keys, step.args, remote.Limits{Always: true, Whole: i == 0})))
		})
	}
	return append(checks, func(ask func(*remote.Command) error) error {
		release := remote.Eval(opPing, remote.Writes, releaseScript, lock,
			[]any{token, s.channelOf(probe), events.Event{Verb: events.Release, Key: probe, ID: token}.String()}, pingLimits)
		if err := ask(release); err != nil {
			return pingScriptError(err)
		}
		_, refused, err := stepReply(release.Reply())
		if refused != nil {
			return &pingError{"publishing is not allowed to this user", refused, fmt.Sprintf(
				"; grant it +publish and the channels &%s*, or other processes are not told what it stores and invalidates", s.channel)}
		}
		return err
	})
}

// pingScriptError says what a script that failed is a sign of.
func pingScriptError(err error) error {
	if err == nil {
		return nil
	}
	switch kind := kindOf(err); {
	case kind == KindReadOnly:
		return &pingError{what: "not a primary", cause: err}
	case kind == KindNoPerm:
		return &pingError{what: "scripts are not allowed to this user", cause: err}
	case strings.Contains(err.Error(), "unknown command"):
		return &pingError{"scripts are not allowed on this server", err, "; fncache needs EVAL and EVALSHA"}
	default:
		return &pingError{what: "scripts fail", cause: err}
	}
}
