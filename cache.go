package fncache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/health"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/ping"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/seal"
	"github.com/fncache/fncache/internal/testhook"
)

// Config says where and how a [Cache] keeps results. Redis is required by [New]; the
// zero value of everything else is a documented default.
type Config struct {
	// Redis is the client: of a single server, of a Sentinel failover group or
	// of a Redis Cluster. A *redis.Ring is refused: what one process publishes
	// there reaches another shard than the one others listen on. The client
	// stays the caller's: Close leaves it open. Its own client-side caching, if
	// on, is passed by: it may answer with what was invalidated a moment ago. Set the
	// client's ContextTimeoutEnabled: without it commands travel through clones of the client,
	// or of a Cluster client's nodes, that end reading from a socket in time, and its hooks,
	// such as for tracing, do not see them. See also [Open]. Hooks of a Cluster client are
	// called where they were added to its nodes (OnNewNode).
	//
	// The cache uses at most 6 connections of a node for commands and 6 for pipelines, and
	// one more to be told of events. go-redis does not count those for pipelines in PoolSize.
	// Where the client sets MaxActiveConns, all commands keep to it, except with client-side
	// caching: then go-redis has no other way past that cache.
	Redis redis.UniversalClient

	// OnRedisDown is what a call gets when Redis does not answer, and Options.Near
	// has kept nothing for it. Default: DownCompute.
	OnRedisDown DownPolicy

	// RedisTimeout is how long an answer of Redis may take, from the sending of a small
	// command; a large value has more time, by its size. A node that answers nothing at all
	// for that long is away: it is not asked until it answers again, and OnRedisDown
	// applies. Waiting for a connection of the client's pool is not counted: a call waits for
	// one as long as its context allows. The cache looks at each node ten times in RedisTimeout,
	// and no more often than every 2 ms, so a node is not found away sooner than after 20 ms.
	// Hooks of the client do not see a large command for which there is more time than the client's
	// own ReadTimeout and WriteTimeout: it goes through a clone of the client. Default: 250ms.
	RedisTimeout time.Duration

	// Namespace is the first part of every key and of the channels of events.
	// The same characters are refused as in Options.Prefix. Default: "fncache".
	Namespace string

	// HashSecret keys the hashes of arguments. Set it, to the same value in
	// every process, where arguments come from strangers: without it the keys
	// are public constants, and nothing secret stands between a caller who can
	// choose arguments and a search for two that collide. So the log says once that
	// it is not set, if a function takes strings, lists or maps. Changing it starts
	// cold. Default: none.
	HashSecret []byte

	// Codec turns results into bytes and back. Processes with different codecs
	// share a Redis, but no entries. Default: [CBOR]. With [JSON] entries can be
	// read by people.
	Codec Codec

	// CompressOver is the number of bytes over which results, as encoded, are
	// compressed, where that makes them shorter by an eighth or more. It is the
	// writer's own: all processes read all entries. Negative is never, which
	// keeps those of JSON readable. Default: 4 KiB.
	CompressOver int

	// Seal encrypts and authenticates what entries hold, so that a person or a program that can
	// read or write the Redis can neither read a result nor put a false one there. Each key has
	// 32 random bytes; the first one seals, and all of them open. Keys of entries in Redis,
	// their times, tags and sizes are visible, and what Options.Near keeps is plain in this
	// process's memory: see docs/seal.md, also for how keys are replaced. A cache with Seal and
	// one without share no entries. It costs about 3 microseconds an entry, and 36 bytes.
	// Default: none, entries are plain.
	Seal [][]byte

	// NearSize bounds the memory, in bytes, of what Options.Near has kept in this
	// process, of all functions together, to within a tenth: what the decoded
	// results take, and their keys. What is used least gives way. Outside of it
	// lies what is known of keys from events: 512 KiB from when the process
	// subscribes on, and at most 2.5 MiB, however many keys there are.
	// Default: 64 MiB.
	NearSize int

	// Logger receives what a person on call wants to know, once and not per
	// request; never an argument, a result or a secret. Of an error or a panic of
	// a function it is given the types and not the text, which may quote arguments:
	// where that is wanted the function logs it itself.
	//
	// However long its handler takes, it delays no call and nothing else but
	// [Cache.Close]: records are written behind, one after the other, with the time of
	// what they tell. Up to 256 of them wait; one more is dropped, and the next one
	// written says how many were, in the attribute "dropped". A record at which the
	// handler panics counts as one of these. Close waits for what was told before it, as
	// it does for computations; what calls tell after it is written too. A program that
	// ends without Close may lose the last records.
	// Default: slog.Default(), looked up at each record.
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
	// Options.Near still keeps an answer. As text: error.
	DownError
)

const (
	// closeGrace is how long Close waits for computations that it has cancelled.
	closeGrace = 5 * time.Second
	// mostLinger bounds how much longer it waits for Redis operations, for clients
	// that wait for an answer as long as it takes.
	mostLinger = 10 * time.Second
)

// A Cache keeps the results of wrapped functions in one Redis. It is made by
// [New] and safe for concurrent use.
type Cache struct {
	cfg     Config // with its defaults; never written
	hashing *keyhash.Keys
	noted   sync.Once // that there is no HashSecret
	coder   *coder
	store   *lockStore
	clock   *clock.Clock
	flights flights
	space   keyspace
	log     *oncelog.Logger
	health  *health.Log
	fence   fenceView

	releases *releases.Set
	// beginning bounds, for each node, the leases that are asked for, or granted and not computed
	// under yet: *bulkhead.Bulkhead by address.
	beginning sync.Map

	events *events.Events // what is known of keys elsewhere

	near *near.Store

	ownsClient bool            // Close closes the client: see Open
	closing    <-chan struct{} // closed when Close begins
	end        func()          // closes it
	alive      context.Context // ends when closing is closed
	shut       chan struct{}   // closed when Close ends
	closeErr   error           // what Close returned; written before shut is closed
	life       *lifetime.Group // the goroutines that Close waits for
	asking     *lifetime.Group // those among them that may wait within go-redis
}

// New makes a cache on the Redis of cfg. It does not connect: the service comes
// up without Redis too. Use [Cache.Ping] to learn whether Redis is there and fit.
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
	c.space = newKeyspace(c)
	c.alive, c.end = context.WithCancel(context.Background())
	c.closing, c.shut = c.alive.Done(), make(chan struct{})
	c.log = oncelog.New(cfg.Logger, c.life.Go)
	c.health = health.New(c.log)
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
		channel: cfg.Namespace + ":events:",
		spawn:   c.life.Go,
		closing: c.closing,
	}
	c.store.forgotten, c.store.unpublished = c.noteForgotten, c.noteUnpublished
	c.store.remote = remote.New(remote.Config{
		Client:     cfg.Redis,
		Timeout:    cfg.RedisTimeout,
		WriteProbe: probeScript,
		Closing:    c.closing,
		Spawn:      c.asking.Go,
		Notice:     c.noteNode,
		Dialed:     c.noteDial,
	})
	c.events = events.New(events.Config{
		Client:      cfg.Redis,
		Remote:      c.store.remote,
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
	})
	c.near = near.New(near.Config{Size: uint64(cfg.NearSize), Events: c.events, Clock: c.clock, Spawn: c.life.Go})
	return c, nil
}

// Open makes a cache with a Redis client of its own, from a URL, which Close closes too. The
// client is fit for the cache: deadlines of the cache end what it waits for on a socket
// (ContextTimeoutEnabled). cfg.Redis must not be set. The forms of the URL, and its
// parameters, are those of go-redis:
//
//	redis://user:password@host:6379/0             a server; rediss:// with TLS
//	unix:///path/to/redis.sock?db=0               a server on this machine
//	redis://host:6379?addr=host2:6379             a Cluster, with one address or more besides
//	redis://sentinel:26379?master_name=mymaster   a Sentinel group
//
// Open asks Redis what [Cache.Ping] does, as long as ctx allows. A Redis that is away is no
// error, because the service is to come up without it: the log says so, and [Cache.Health].
// What a person has to mend, such as a wrong password, is one, and so is the end of ctx.
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
		c.health.Tell(failure.trouble())
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
		faults = append(faults, errors.New("Redis is not set; set a client, as of redis.NewClient, or use Open"))
	case *redis.Ring:
		faults = append(faults, errors.New("Redis is a *redis.Ring; use a single server, Sentinel or a Cluster: on a Ring what is published reaches another shard than the one others listen on"))
	default:
		if v := reflect.ValueOf(client); v.Kind() == reflect.Pointer && v.IsNil() {
			faults = append(faults, fmt.Errorf("Redis is a nil %T; set a client, as of redis.NewClient", client))
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
		faults = append(faults, fmt.Errorf("RedisTimeout is %v; it must not be negative", c.RedisTimeout))
	}
	if c.RedisTimeout > math.MaxInt64/minLeases {
		faults = append(faults, fmt.Errorf("RedisTimeout is %v; no Lease is %d times as long: use seconds at most", c.RedisTimeout, minLeases))
	}
	if _, err := seal.New(c.Seal); err != nil {
		faults = append(faults, fmt.Errorf("Seal%w", err))
	}
	if c.NearSize < 0 {
		faults = append(faults, fmt.Errorf("NearSize is %d; it must not be negative; where nothing is to be kept, leave Options.Near out", c.NearSize))
	}
	if err := errors.Join(append(faults, funcname.Check("Namespace", c.Namespace))...); err != nil {
		return c, err
	}
	setDefault(&c.RedisTimeout, DefaultRedisTimeout)
	setDefault(&c.Namespace, DefaultNamespace)
	setDefault(&c.NearSize, DefaultNearSize)
	setDefault(&c.CompressOver, DefaultCompressOver)
	c.HashSecret = bytes.Clone(c.HashSecret) // the caller may wipe its own
	return c, nil                            // the keys of Seal are copied by the coder
}

// Ping says whether Redis is there and fit to be used: reachable, a primary, new
// enough, and letting this user run scripts; of a Cluster, whether every primary is.
// Of a node of a Cluster with a client that is not one for Clusters it says so.
// The error says which is not so, of which node, and what to do; it wraps
// [ErrRedisDown].
func (c *Cache) Ping(ctx context.Context) error {
	if c.life.Closed() {
		return newRedisError(opPing, "", ErrClosed)
	}
	return ping.Ping(orBackground(ctx), ping.Config{
		Client:  c.cfg.Redis,
		Ask:     func(ctx context.Context, cmd *remote.Command) error { return c.store.ask(ctx, opPing, cmd) },
		Probe:   c.pingProbe,
		Scripts: c.store.pingScripts,
		Evicts:  c.noteEviction,
		Failed: func(kind remote.Kind, why error, probe string) error {
			return &RedisError{Op: opPing, Kind: RedisErrorKind(kind), Err: why, key: probe}
		},
		Limit: pingLimit * c.cfg.RedisTimeout,
		Spawn: c.life.Go,
	})
}

// pingLimit is how long a check may take, in RedisTimeouts, while this process is busy.
const pingLimit = 3

// pingProbe gives keys for Ping, of which each may be on another node of a cluster.
func (c *Cache) pingProbe(n int) string {
	return entryPrefix(c.cfg.Namespace, "ping") + strconv.Itoa(n) + "}"
}

// Health is what is known of the nodes of Redis.
type Health struct {
	// Nodes are those that were asked. Of a single server, or a Sentinel group, it is one.
	Nodes []NodeHealth
}

// NodeHealth is what is known of one node.
type NodeHealth struct {
	// Addr is its address, as the client has it; "cluster" stands for a Cluster of which
	// the client does not know the nodes.
	Addr string
	// Away says that it is not asked, because it does not answer as it should. It is tried
	// about once a second. A node that only does not take writes is away too, and is asked
	// for entries all the same.
	Away bool
	// Since is when it was found away; zero if it is not.
	Since time.Time
	// Why is what was wrong at last, a [*RedisError]; nil if the node is not away.
	Why error
}

// Health returns what is known of Redis. It asks nothing. To find out whether Redis can
// be used, see [Cache.Ping].
func (c *Cache) Health() Health {
	var h Health
	for _, node := range c.store.remote.Health() {
		h.Nodes = append(h.Nodes, NodeHealth{Addr: node.Addr, Away: node.Away, Since: node.Since, Why: redisErrorOf(node.Why)})
	}
	return h
}

// Close cancels the computations under way through their contexts, waits up to
// five seconds for them to end and to release their leases, and for the handler of
// Config.Logger to take what it is to be told, and then gives the leases of those
// that still run back itself. A command that was sent to a Redis that does not answer cannot
// be called back: go-redis lets go of it after about RedisTimeout, and after the client's own
// ReadTimeout at the latest, and Close waits for that, up to ten seconds longer. Calls after
// Close behave as with Redis away: they compute in the process, or get [ErrRedisDown] (see
// Config.OnRedisDown). Close does not wait for what they compute, nor cancels it. The Redis
// client is left open, for its owner to close afterwards; a client that [Open] made is closed.
//
// The error says that something was still running. Closing twice is fine, also at
// once, as by a signal handler and a defer: every Close waits for the end of the
// first, and returns what that returned.
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
	c.store.remote.Close()
	if c.ownsClient {
		defer func() { _ = c.cfg.Redis.Close() }()
	}
	if ended || c.asking.Wait(mostLinger) && c.life.Running() == 0 {
		return nil
	}
	return errors.New("fncache: close: something still runs after " + time.Since(began).Round(time.Second).String() +
		": a function that does not heed its context, a Redis operation, or the handler of Config.Logger; it ends on its own")
}

// release gives up what a closed cache has no use for: functions that are never
// unwrapped keep it alive.
func (c *Cache) release() {
	c.near.End()
	c.events.End()
	c.releases.End()
}

// String names the cache by its namespace. Printed or logged, a Cache shows nothing
// else of its configuration, in which there may be a secret.
func (c *Cache) String() string {
	if c == nil {
		return "fncache.Cache(nil)"
	}
	return fmt.Sprintf("fncache.Cache(%s)", c.cfg.Namespace)
}

// GoString is String, for %#v.
func (c *Cache) GoString() string { return c.String() }

// noteNode takes in what package remote has found out about a node. It must not block: its
// locks are held.
func (c *Cache) noteNode(e remote.Event) {
	kind := RedisErrorKind(e.Kind)
	switch {
	case e.Left:
		c.health.NodeLeft()
	case e.Err == nil:
		c.noteDial() // it may be another server
		c.health.NodeBack()
	case kind == KindNoScript: // the verb counts it, and tells
	default:
		if e.Away {
			c.health.NodeAway()
		}
		c.health.Tell((&RedisError{Op: e.Op, Kind: kind, Err: e.Err, node: e.Node}).trouble())
	}
}

// noteDial takes in that the client has made a connection, which may be one to another
// server. It must not block.
func (c *Cache) noteDial() {
	c.clock.Dialed.Store(true)
	c.releases.NoteDial()
}

// noteLocalClock is told that the local clock serves, because Redis refused TIME with err.
func (c *Cache) noteLocalClock(err error) {
	c.log.Once("clock", slog.LevelWarn, "Redis refuses the TIME command: ages are measured on the local clock, which must agree between hosts",
		"err", err)
}

// noteEviction is told of a maxmemory-policy by which Redis evicts keys without an expiry.
func (c *Cache) noteEviction(policy string) {
	c.log.Once("eviction", slog.LevelWarn,
		"Redis may evict keys without an expiry: where the fence of tags is evicted all entries with tags are misses, and where the registry of a function is, invalidations by other releases do not reach it for a while; set maxmemory-policy to volatile-lru or another that spares them",
		"maxmemory-policy", policy)
}

// timeRefused reports whether this user, or this server or a proxy before it, will not run
// TIME, now and later. Each says so in its own words: it is any answer that is an error, unless
// it is about the state of the server, which says nothing about its clock.
func timeRefused(err error) bool {
	kind := kindOf(err)
	return refused(err) && (kind == KindNoPerm || kind == KindOther)
}

// SetDefault makes c the cache of all functions that were or will be wrapped
// without Options.Cache. Call it in main, before the first call of one of them.
// SetDefault(nil) takes it away again. A Cache that New did not make counts as
// none.
func SetDefault(c *Cache) { defaultCache.Store(c) }

// Default gives the cache of [SetDefault], or nil.
func Default() *Cache { return defaultCache.Load() }

// For package fncachetest: moving a server's clock does not move what was read
// from it before.
func init() {
	testhook.AdvanceClock = func(cache any, d time.Duration) { cache.(*Cache).clock.Shift(d) }
}
