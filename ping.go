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
)

// This file finds out whether Redis can be used: Ping asks for all that fncache needs,
// and a probe for what has failed before.

// probeSuffix makes of the key of an entry one in the same slot, and for the same
// users, that nothing is ever stored under.
const probeSuffix = ":probe"

// probesOfReplica is how often in a row a server is probed that says it is a replica:
// the client may have connections yet to what was the primary when they were made. As
// go-redis hears READONLY it closes the connection, and tries another, four in all by
// default. It is not more often, since lookups use these connections, too.
const probesOfReplica = 3

// probe does something that changes nothing, on the server of a key, where an
// operation on that key has failed. It does not look the entry up: one that is too
// large to be read within RedisTimeout would keep the others from being asked for.
func (s *lockStore) probe(ctx context.Context, op, key string) (failure *RedisError) {
	for range probesOfReplica {
		failure = s.probeOnce(ctx, op, key)
		if failure == nil || failure.Kind != KindReadOnly {
			break
		}
	}
	return failure
}

func (s *lockStore) probeOnce(ctx context.Context, op, key string) *RedisError {
	_, err := bounded(ctx, s, opPing, key, func(ctx context.Context) (struct{}, error) {
		if op == opLookup {
			return struct{}{}, s.lookup(ctx, key+probeSuffix).err
		}
		return struct{}{}, s.runScript(ctx, op, probeScript, []string{key + probeSuffix}).Err()
	}, nil)
	var failure *RedisError
	if errors.As(err, &failure) {
		failure.Op = op
	}
	return failure
}

// minimalMajor is the oldest major version of Redis that fncache is used with.
const minimalMajor = 6

// ping checks what fncache needs of every server that holds entries. probe gives keys
// that nobody else uses.
func (s *lockStore) ping(ctx context.Context, probe func(n int) string) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.pingServer(ctx, s.client, probe(0), func(ctx context.Context) error {
			return pingWhole(ctx, s.client, probe)
		})
	}
	nodes, err := s.primaries(ctx, cluster, probe)
	if err != nil {
		return err
	}
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Add(1)
		s.spawn(func() {
			defer all.Done()
			if err := s.pingServer(ctx, node.client, node.probe); err != nil {
				errs[i] = fmt.Errorf("%w; node %s", err, node.client.Options().Addr)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.pingServer(ctx, s.client, probe(0)) // as operations go, whoever has the key
}

// pingServer checks, one after the other, what fncache needs of a server, which has
// the probe; more are checks before the scripts. Each error says which is missing and
// what to do.
func (s *lockStore) pingServer(ctx context.Context, server redis.UniversalClient, probe string, more ...func(context.Context) error) error {
	checks := slices.Concat([]func(context.Context) error{
		func(ctx context.Context) error { return pingReachable(ctx, server) },
		func(ctx context.Context) error { return pingVersion(ctx, server) },
	}, more, s.pingScripts(probe))
	for _, check := range checks {
		_, err := bounded(ctx, s, opPing, probe, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, check(ctx)
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func pingReachable(ctx context.Context, server redis.UniversalClient) error {
	if err := server.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("not reachable: %w", err)
	}
	return nil
}

func pingVersion(ctx context.Context, server redis.UniversalClient) error {
	info, err := server.Info(ctx, "server").Result()
	if err != nil {
		return nil //nolint:nilerr // INFO may be forbidden; what fncache itself needs, the next check runs
	}
	for line := range strings.Lines(info) {
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

// wholeProbes is how many keys tell whether a server has all: of a Cluster of two
// primaries or more a node has half of them at most, as a rule.
const wholeProbes = 32

// pingWhole checks that a server has the keys of all slots. A node of a Cluster that a
// client is pointed at which does not know of Clusters has those of some, and sends
// the client elsewhere for the others. What INFO says of the mode of the server would
// not tell: there are proxies, and nodes, that have all slots.
func pingWhole(ctx context.Context, server redis.UniversalClient, probe func(n int) string) error {
	pipe := server.Pipeline()
	for n := range wholeProbes {
		pipe.Get(ctx, probe(n))
	}
	answers, _ := pipe.Exec(ctx) // each has its own error, of which the next checks tell the others
	for _, answer := range answers {
		if err := answer.Err(); elsewhere(err) {
			return fmt.Errorf("a node of a Redis Cluster, which has only a part of the keys: %w", err)
		}
	}
	return nil
}

// elsewhere says whether a node of a Cluster has sent the client to another node.
func elsewhere(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED ") || redis.HasErrorPrefix(err, "ASK ")
}

// leastPingLease is how long what a failed Ping has left in Redis stays there at least:
// it is to outlive the few commands between.
const leastPingLease = time.Second

// pingScripts run the protocol on a key that nobody else uses, so that every
// command in it is called: that takes a primary, and the right to run scripts and these
// commands, and to publish. What a failure leaves of it expires. Only Ping's own registry
// does not: the next Ping deletes it.
func (s *lockStore) pingScripts(probe string) (checks []func(context.Context) error) {
	token, lease := newToken(), millis(max(s.timeout, leastPingLease))
	registry := []string{strings.Replace(probe, ":{", ":functions:{", 1)} // in the same slot
	probe += ":" + token                                                  // also
	entry, lock := []string{probe, probe + lockSuffix}, []string{probe + lockSuffix}
	for _, step := range []func(context.Context) *redis.Cmd{
		func(ctx context.Context) *redis.Cmd { // whole, as to a server that does not know it
			return acquireScript.Eval(ctx, s.client, entry, token, lease, string(acquireRefresh), "", "0")
		},
		func(ctx context.Context) *redis.Cmd { // held: asks for the remaining life
			return s.runScript(ctx, opPing, acquireScript, entry, newToken(), lease, string(acquireCompare), "", "0")
		},
		func(ctx context.Context) *redis.Cmd {
			return s.runScript(ctx, opPing, renewScript, lock, token, lease, s.channelOf(probe), keyEvent{verbRelease, probe, token}.String())
		},
		func(ctx context.Context) *redis.Cmd {
			return s.runScript(ctx, opPing, registerScript, registry, "former", "-", 0, 0, 1, 0)
		},
		func(ctx context.Context) *redis.Cmd { // the former is one too many
			return s.runScript(ctx, opPing, registerScript, registry, "latter", "-", 0, 0, 1, 0)
		},
		func(ctx context.Context) *redis.Cmd {
			return s.runScript(ctx, opPing, releasesScript, registry, "-")
		},
		func(ctx context.Context) *redis.Cmd {
			return s.runScript(ctx, opPing, probeScript, registry)
		},
	} {
		checks = append(checks, func(ctx context.Context) error { return pingScriptError(step(ctx).Err()) })
	}
	return append(checks, func(ctx context.Context) error {
		_, refused, err := stepReply(s.runScript(ctx, opPing, releaseScript, lock, token,
			s.channelOf(probe), keyEvent{verbRelease, probe, token}.String()))
		if refused != nil {
			return fmt.Errorf("publishing is not allowed to this user: %w; grant it +publish and the channels &%s*, or other processes are not told what it stores and invalidates",
				refused, s.channel)
		}
		return pingScriptError(err)
	})
}

// pingScriptError says what a script that failed is a sign of.
func pingScriptError(err error) error {
	if err == nil {
		return nil
	}
	switch kind := kindOf(err); {
	case kind == KindReadOnly:
		return fmt.Errorf("not a primary: %w", err)
	case kind == KindNoPerm:
		return fmt.Errorf("scripts are not allowed to this user: %w", err)
	case strings.Contains(err.Error(), "unknown command"):
		return fmt.Errorf("scripts are not allowed on this server: %w; fncache needs EVAL and EVALSHA", err)
	default:
		return fmt.Errorf("scripts fail: %w", err)
	}
}
