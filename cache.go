package fncache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/health"
	"github.com/fncache/fncache/internal/holder"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/ping"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/seal"
	"github.com/fncache/fncache/internal/testhook"
)

// Config says where and how a [Cache] keeps results. [New] requires Redis; the zero value of
// each other field is a documented default.
type Config struct {
	// Redis is the client of a single server, of a Sentinel failover group or of a Redis
	// Cluster. A *redis.Ring is refused, because a process may publish to another shard than
	// the one that others listen on. The caller owns the client: Close leaves it open. The
	// client's own client-side caching is bypassed, because it can return entries that were
	// invalidated a moment ago. See also [Open].
	//
	// Set the client's ContextTimeoutEnabled. Without it, commands go through clones of the
	// client, or of a Cluster client's nodes, so that reads from a socket end in time. Hooks of
	// the client, such as for tracing, do not see these commands. Add the hooks of a Cluster
	// client to its nodes (OnNewNode).
	//
	// The cache uses at most 6 connections of a node for commands and 6 for pipelines, and
	// one more for events. go-redis does not count the connections for pipelines in PoolSize.
	// If the client sets MaxActiveConns, all commands keep to it, except with client-side
	// caching: then go-redis has no other way past that cache.
	Redis redis.UniversalClient

	// OnRedisDown is what a call gets when Redis does not answer and the near cache has no
	// entry for it. Default: DownCompute.
	OnRedisDown DownPolicy

	// RedisTimeout is how long an answer of Redis may take after a small command was sent.
	// A large value gets more time, in proportion to its size. A node that answers nothing
	// for RedisTimeout is away: it is not asked until it answers again, and OnRedisDown
	// applies. The time in which a call waits for a connection of the client's pool does not
	// count: a call waits for one as long as its context allows.
	//
	// The cache checks each node ten times in RedisTimeout, but at most every 2 ms, so it takes
	// at least 20 ms to find that a node is away. A large command that may take longer than
	// the client's own ReadTimeout and WriteTimeout goes through a clone of the client, and the
	// client's hooks do not see it. Default: 250ms.
	RedisTimeout time.Duration

	// Namespace is the first part of every key and of the channels of events.
	// The same characters are refused as in Options.Prefix. Default: "fncache".
	Namespace string

	// HashSecret is the secret key of the hashes of arguments. Set it, to the same value in every
	// process, if arguments come from untrusted clients. Without it the hash has no secret, so a
	// caller that chooses arguments can search for two that collide. If a function takes strings, lists or
	// maps and HashSecret is not set, the log says so once. After a change of HashSecret the
	// cache starts cold. Default: none.
	HashSecret []byte

	// Codec turns results into bytes and back. Processes with different codecs can share a
	// Redis, but they share no entries. People can read the entries of [JSON]. Default: [CBOR].
	Codec Codec

	// CompressOver is the size in bytes above which encoded results are compressed, if that
	// makes them shorter by an eighth or more. Each process may set its own: all processes read
	// all entries. A negative value turns compression off, so that entries of JSON stay
	// readable. Default: 4 KiB.
	CompressOver int

	// Seal encrypts and authenticates the results in entries. A person or a program that can
	// read or write the Redis can then neither read a result nor store a false one. Each key
	// has 32 random bytes. The first key seals, and all of them open. The Redis keys of entries,
	// their times, tags and sizes stay visible, and the near cache in this process's memory is
	// not encrypted. docs/seal.md says more, also how keys are replaced. A cache with Seal and
	// one without share no entries. Seal costs about 3 microseconds and 36 bytes an entry.
	// Default: none, entries are plain.
	Seal [][]byte

	// Anonymous keeps the host name, the process id and the build of this program out of Redis.
	// Without it, a process that computes writes them under <namespace>:{process:<id>}, in the
	// background and at most once a minute, so that people can see who holds a lease. The key
	// expires after an hour, and Close deletes it. Default: false.
	Anonymous bool

	// NearSize bounds the memory of the near cache in bytes, for all functions together, to
	// within a tenth. The decoded results and their keys count. The least used entries are
	// evicted. Events need further memory: 512 KiB once the process subscribes, and at most
	// 2.5 MiB for any number of keys. Default: 64 MiB.
	NearSize int

	// Observer is called for computations, waits, operations on Redis, invalidations and changes of
	// the state, for metrics and traces; see [Observer]. Without one a call costs nothing more.
	// Default: none.
	Observer Observer

	// Logger receives messages for a person on call. Each subject is logged at most once a minute, and
	// not per request. A message never contains an argument, a result or a secret. For an error or a panic of
	// a function the types are logged and not the text, which may quote arguments; the function
	// can log the text itself.
	//
	// A slow handler delays only [Cache.Close]: records are written in the background, one after
	// the other, each with the time of its event. Up to 256 records wait. Further records are
	// dropped, and the next record that is written counts them in the attribute "dropped". A
	// record at which the handler panics counts as dropped. Close waits for earlier records, as
	// it waits for computations. Records of later calls are written too. A program that ends
	// without Close may lose the last records. Default: slog.Default(), looked up at each record.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultRedisTimeout = 250 * time.Millisecond
	DefaultNamespace    = "fncache"
	DefaultNearSize     = 64 << 20
	DefaultCompressOver = 4 << 10
)

// A DownPolicy says what a call gets when Redis does not answer.
type DownPolicy uint8

const (
	// DownCompute computes in the process, one computation per key at a time,
	// and stores nothing: the service stays up. As text: compute.
	DownCompute DownPolicy = iota
	// DownError returns an error that wraps [ErrRedisDown] and the cause, unless
	// the near cache has an answer. As text: error.
	DownError
)

const (
	// closeGrace is how long Close waits for computations that it has cancelled.
	closeGrace = 5 * time.Second
	// mostLinger is how much longer Close waits for Redis operations, because a client may
	// wait for an answer without a limit.
	mostLinger = 10 * time.Second
)

// A Cache keeps the results of wrapped functions in one Redis. [New] and [Open] make
// one. It is safe for concurrent use.
type Cache struct {
	cfg      Config // with its defaults; never written
	hashing  *keyhash.Keys
	noted    sync.Once // for the log record that HashSecret is not set
	coder    *coder
	store    *lockStore
	clock    *clock.Clock
	flights  flightTable
	space    keyspace
	log      *oncelog.Logger
	health   *health.Log
	holder   *holder.Holder
	observer *observing // nil without Config.Observer
	// watchers receive lookups and computations, for package fncachedebug; nil if there are none.
	watchers atomic.Pointer[[]operate.Watcher]
	fence    fenceView

	releases *releases.Set
	// beginning has a *bulkhead.Bulkhead for the address of each node. It bounds the leases that
	// are asked for, or that are granted and whose computation has not begun.
	beginning sync.Map

	events *events.Events // what other processes have published about keys

	near *near.Store

	ownsClient bool            // Close closes the client: see Open
	closing    <-chan struct{} // closed when Close begins
	end        func()          // closes it
	alive      context.Context // ends when closing is closed
	shut       chan struct{}   // closed when Close ends
	closeErr   error           // what Close returned; written before shut is closed
	life       *lifetime.Group // the goroutines that Close waits for
	asking     *lifetime.Group // the goroutines of life that may wait within go-redis
}

// New makes a cache on the Redis of cfg. It does not connect, so the service starts even
// while Redis is away. Use [Cache.Ping] to check whether Redis is reachable and usable.
// The error names every fault of cfg.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, eachFault(err, func(fault error) error { return fmt.Errorf("fncache: new cache: %w", fault) })
	}
	c := &Cache{
		cfg:     cfg,
		hashing: keyhash.NewKeys(cfg.HashSecret),
		coder:   newCoder(&cfg),
		life:    lifetime.New(),
	}
	c.fence.key = fence.Key(cfg.Namespace)
	c.asking = c.life.Part()
	c.space, c.holder = newKeyspace(c), c.newHolder()
	c.alive, c.end = context.WithCancel(context.Background())
	c.closing, c.shut = c.alive.Done(), make(chan struct{})
	c.log = oncelog.New(cfg.Logger, c.life.Go)
	c.health = health.New(c.log)
	c.observer = newObserving(&cfg, c.log, c.life.Go)
	c.clock = clock.New(clock.Config{
		Ask:      func(ctx context.Context) (time.Time, error) { return c.store.serverTime(ctx) },
		Patience: cfg.RedisTimeout,
		Refused:  timeRefused,
		Local:    c.noteLocalClock,
		Spawn:    c.life.Go,
	})
	c.releases = releases.New(releases.Config{Clock: c.clock, Log: c.log, Spawn: c.life.Go, Closing: c.closing})
	c.store = &lockStore{
		client:  cfg.Redis,
		timeout: cfg.RedisTimeout,
		channel: events.Prefix(cfg.Namespace, cfg.Redis),
		spawn:   c.life.Go,
		closing: c.closing,
	}
	c.store.forgotten, c.store.unpublished = c.noteForgotten, c.noteUnpublished
	c.store.remote.Remote = c.newRemote()
	if c.observer != nil {
		c.store.remote.Answered = c.observer.answered
	}
	c.events = events.New(events.Config{
		Client:      cfg.Redis,
		Remote:      c.store.remote.Remote,
		Prefix:      c.store.channel,
		Timeout:     cfg.RedisTimeout,
		Clock:       c.clock,
		Suspended:   c.releases.Expire,
		Closing:     c.closing,
		Spawn:       c.life.Go,
		SpawnAsking: c.asking.Go,
		Tags:        c.hearMessage,
		Log:         c.log,
		Explain:     explain,
		Changed:     c.observer.tellSubscription,
	})
	c.near = near.New(near.Config{Size: uint64(cfg.NearSize), Events: c.events, Clock: c.clock, Spawn: c.life.Go})
	return c, nil
}

// newRemote returns the way to the Redis of the cache.
func (c *Cache) newRemote() *remote.Remote {
	return remote.New(remote.Config{
		Client:     c.cfg.Redis,
		Timeout:    c.cfg.RedisTimeout,
		WriteProbe: probeScript,
		Closing:    c.closing,
		Spawn:      c.asking.Go,
		Notice:     c.noteNode,
		Dialed:     c.noteDial,
	})
}

// newHolder returns this process as the holder of leases.
func (c *Cache) newHolder() *holder.Holder {
	return holder.New(holder.Config{
		Anonymous: c.cfg.Anonymous, Namespace: c.cfg.Namespace, Build: releases.Build(),
		Spawn: c.life.Go, Timeout: c.cfg.RedisTimeout,
		Send: func(ctx context.Context, key string, words ...any) error {
			return c.store.remote.Do(ctx, remote.Plain("holder", key, remote.Writes, remote.Limits{}, words...))
		},
	})
}

// Open makes a Redis client from a URL, and a cache on it. Close closes the client too. The
// client sets ContextTimeoutEnabled, so the deadlines of the cache also end reads and writes
// on a socket. cfg.Redis must not be set. The URL has the forms and parameters of go-redis:
//
//	redis://user:password@host:6379/0             a server; rediss:// with TLS
//	unix:///path/to/redis.sock?db=0               a server on this machine
//	redis://host:6379?addr=host2:6379             a Cluster, with one address or more besides
//	redis://sentinel:26379?master_name=mymaster   a Sentinel group
//
// Open checks Redis as [Cache.Ping] does, as long as ctx allows. If Redis is away, Open returns
// no error, because the service has to start without Redis too; the log and [Cache.Health]
// report it. A fault that a person has to fix, such as a wrong password, is an error, and so
// is the end of ctx.
func Open(ctx context.Context, rawURL string, cfg Config) (*Cache, error) {
	if cfg.Redis != nil {
		return nil, errors.New("fncache: open: Config.Redis is set, and Open makes a client of its own; leave it out, or use New")
	}
	client, err := remote.Dial(rawURL)
	if err != nil {
		return nil, fmt.Errorf("fncache: open: %w", err)
	}
	cfg.Redis = client
	c, err := New(cfg)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	c.ownsClient = true
	var failure *RedisError
	switch err = c.Ping(orBackground(ctx)); {
	case err == nil:
		return c, nil
	case errors.As(err, &failure) && kindFacts[failure.Kind].away && failure.Kind != KindAuth:
		if !slices.ContainsFunc(c.store.remote.Health(), func(n remote.NodeHealth) bool { return n.Away }) { // else it is in the log
			c.health.Tell(failure.trouble())
		}
		return c, nil
	default:
		_ = c.Close()
		return nil, fmt.Errorf("fncache: open: %w", err)
	}
}

// withDefaults checks the configuration of a cache and fills in defaults. The
// error joins all faults.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	switch client := c.Redis.(type) {
	case nil:
		faults = append(faults, errors.New("Redis is not set; set a client, such as from redis.NewClient, or use Open"))
	case *redis.Ring:
		faults = append(faults, errors.New("Redis is a *redis.Ring; use a single server, Sentinel or a Cluster: on a Ring, a process may publish to another shard than the one that others listen on"))
	default:
		if v := reflect.ValueOf(client); v.Kind() == reflect.Pointer && v.IsNil() {
			faults = append(faults, fmt.Errorf("Redis is a nil %T; set a client, such as from redis.NewClient", client))
		}
	}
	if _, err := c.OnRedisDown.MarshalText(); err != nil {
		faults = append(faults, fmt.Errorf("OnRedisDown: %w", err))
	}
	setDefault[Codec](&c.Codec, CBOR{})
	if err := checkCodec(c.Codec); err != nil {
		faults = append(faults, err)
	}
	if c.RedisTimeout < 0 {
		faults = append(faults, fmt.Errorf("RedisTimeout is %v; it must not be negative; leave it out for the default of %v", c.RedisTimeout, DefaultRedisTimeout))
	}
	if c.RedisTimeout > math.MaxInt64/minLeases {
		faults = append(faults, fmt.Errorf("RedisTimeout is %v; it is too long, because no Lease can be %d times as long; use at most some seconds", c.RedisTimeout, minLeases))
	}
	if _, err := seal.New(c.Seal); err != nil {
		faults = append(faults, fmt.Errorf("Seal%w", err))
	}
	if c.NearSize < 0 {
		faults = append(faults, fmt.Errorf("NearSize is %d; it must not be negative; to turn the near cache off, leave Options.Near out", c.NearSize))
	}
	if err := errors.Join(append(faults, funcname.Check("Namespace", c.Namespace))...); err != nil {
		return c, err
	}
	setDefault(&c.RedisTimeout, DefaultRedisTimeout)
	setDefault(&c.Namespace, DefaultNamespace)
	setDefault(&c.NearSize, DefaultNearSize)
	setDefault(&c.CompressOver, DefaultCompressOver)
	c.HashSecret = bytes.Clone(c.HashSecret) // the caller may wipe its slice
	return c, nil                            // the coder copies the keys of Seal
}

// Ping checks whether Redis can be used: whether it is reachable, is a primary, is new
// enough, and lets this user run scripts. On a Cluster it checks every primary. It also
// finds a client for a single server that is connected to a node of a Cluster. The error
// names the check that failed, the node, and what to do. It wraps [ErrRedisDown].
func (c *Cache) Ping(ctx context.Context) error { return c.ping(ctx, c.noteEviction) }

// ping is Ping. evicts is called with the maxmemory-policy of a server that may evict keys without
// an expiry, on several goroutines in a Cluster.
func (c *Cache) ping(ctx context.Context, evicts func(policy string)) error {
	if c.life.Closed() {
		return newRedisError(opPing, "", ErrClosed)
	}
	return ping.Ping(orBackground(ctx), ping.Config{
		Client:  c.cfg.Redis,
		Ask:     func(ctx context.Context, cmd *remote.Command) error { return c.store.ask(ctx, opPing, cmd) },
		Probe:   c.pingProbe,
		Scripts: c.store.pingScripts,
		Evicts:  evicts,
		Failed: func(kind remote.Kind, why error, probe string) error {
			return &RedisError{Op: opPing, Kind: RedisErrorKind(kind), Err: why, key: probe}
		},
		Limit: pingLimit * c.cfg.RedisTimeout,
		Spawn: c.life.Go,
	})
}

// pingLimit is how many RedisTimeouts a check may take, because this process may be busy.
const pingLimit = 3

// pingProbe returns the n-th key for Ping. On a Cluster, different keys may be on different
// nodes.
func (c *Cache) pingProbe(n int) string {
	return entryPrefix(c.cfg.Namespace, "ping") + strconv.Itoa(n) + "}"
}

// Close ends the use of the cache. It cancels the contexts of the computations under way, and
// waits up to five seconds until they have ended and released their leases, and until the
// handler of Config.Logger has taken its records. Then Close itself releases the leases of the
// computations that still run. A command that was sent to a Redis that does not answer cannot
// be cancelled: go-redis gives it up after about RedisTimeout, and at the latest after the
// client's own ReadTimeout. Close waits for that up to ten seconds longer.
//
// Calls after Close behave as they do while Redis is away: they compute in the process, or
// return [ErrRedisDown] (see Config.OnRedisDown). Close does not wait for their computations,
// and does not cancel them. The Redis client stays open, and its owner can close it after
// Close; a client that [Open] made is closed.
//
// Close returns an error if something was still running. It may be called again, also
// concurrently, such as by a signal handler and a defer: each Close waits until the first has
// ended, and returns the same error.
func (c *Cache) Close() error {
	if c.life.Close() {
		c.closeErr = c.shutDown()
		c.release()
		close(c.shut)
	}
	<-c.shut
	return c.closeErr
}

// shutDown is the first Close.
func (c *Cache) shutDown() error {
	names.forget(c)
	c.end()
	began := time.Now()
	ended := c.life.Wait(closeGrace)
	c.holder.End()
	c.store.remote.Close()
	ended = ended && c.life.Wait(closeGrace-time.Since(began)) // for the last command
	if c.ownsClient {
		defer func() { _ = c.cfg.Redis.Close() }()
	}
	if ended || c.asking.Wait(mostLinger) && c.life.Running() == 0 {
		return nil
	}
	return errors.New("fncache: close: something still runs after " + time.Since(began).Round(time.Second).String() +
		": a function that ignores its context, a Redis operation, or the handler of Config.Logger; it continues until it ends on its own; let functions return when their context ends")
}

// release frees the memory that a closed cache does not need: functions that are never
// unwrapped keep the Cache itself alive.
func (c *Cache) release() {
	c.near.End()
	c.events.End()
	c.releases.End()
}

// String returns the name of the cache, which has its namespace. It shows nothing else of the
// configuration, because that may contain a secret.
func (c *Cache) String() string {
	if c == nil {
		return "fncache.Cache(nil)"
	}
	return fmt.Sprintf("fncache.Cache(%s)", c.cfg.Namespace)
}

// GoString returns the same as String, for %#v.
func (c *Cache) GoString() string { return c.String() }

// noteNode handles a change of a node that package remote has found. It must not block,
// because locks of package remote are held.
func (c *Cache) noteNode(e remote.Event) {
	c.observer.tellNode(e)
	kind := RedisErrorKind(e.Kind)
	switch {
	case e.Left:
		c.health.NodeLeft()
	case e.Err == nil:
		c.noteDial() // it may be another server
		c.health.NodeBack()
	case kind == KindNoScript: // the verb counts and logs it
	default:
		if e.Away {
			c.health.NodeAway()
		}
		c.health.Tell((&RedisError{Op: e.Op, Kind: kind, Err: e.Err, node: e.Node}).trouble())
	}
}

// noteDial handles a new connection of the client, which may lead to another server. It must
// not block.
func (c *Cache) noteDial() {
	c.clock.Dialed.Store(true)
	c.releases.NoteDial()
}

// noteLocalClock logs that the local clock is used, because Redis refused TIME with err.
func (c *Cache) noteLocalClock(err error) {
	c.log.Once("clock", slog.LevelWarn, "Redis refuses the TIME command: ages are measured on the local clock; grant the user +time, or keep the clocks of all hosts synchronized",
		"err", err)
}

// mayEvict says what a maxmemory-policy means that lets Redis evict keys without an expiry.
const mayEvict = "Redis may evict keys without an expiry: if it evicts the fence of tags, all entries with tags are misses; if it evicts the registry of a function, invalidations by other releases do not reach the function for a while; set maxmemory-policy to volatile-lru, or to another policy that does not evict such keys"

// noteEviction logs such a policy.
func (c *Cache) noteEviction(policy string) {
	c.log.Once("eviction", slog.LevelWarn, mayEvict, "maxmemory-policy", policy)
}

// timeRefused reports whether err means that TIME is refused permanently: by the rights of
// this user, by the server, or by a proxy. Each uses its own words, so any error reply counts,
// except errors about the state of the server, which can change.
func timeRefused(err error) bool {
	kind := kindOf(err)
	return refused(err) && (kind == KindNoPerm || kind == KindOther)
}

// SetDefault makes c the cache of all functions that were or will be wrapped without
// Options.Cache. Call it in main, before the first call of such a function. SetDefault(nil)
// removes the default. A Cache that New or Open did not make counts as nil.
func SetDefault(c *Cache) { defaultCache.Store(c) }

// Default returns the cache of [SetDefault], or nil.
func Default() *Cache { return defaultCache.Load() }

// Package fncachetest needs this: when it moves the clock of a server, the cached reading of
// that clock has to move too.
func init() {
	testhook.AdvanceClock = func(cache any, d time.Duration) { cache.(*Cache).clock.Shift(d) }
}
