package fncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/testhook"
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
	health  health

	releases  ownReleases
	bulkheads bulkheads
	beginning *bulkhead.Bulkhead // of leases that are asked for, or granted and not computed under yet

	events     events
	subscribed sync.Once    // the subscription has begun
	heardUntil atomic.Int64 // until when events are known to be heard, on clock.elapsed
	trusted    atomic.Int64 // up to heardUntil; until when it is known that the machine was not suspended

	nearOnce sync.Once
	kept     atomic.Pointer[nearStore] // nil until something is kept

	ownsClient bool            // Close closes the client: see Open
	closing    <-chan struct{} // closed when Close begins
	end        func()          // closes it
	alive      context.Context // ends when closing is closed
	shut       chan struct{}   // closed when Close ends
	closeErr   error           // what Close returned; written before shut is closed
	life       *lifetime.Group // the goroutines that Close waits for
	asking     *lifetime.Group // those among them that may wait within go-redis
}

// mostBeginning bounds the leases that a cache asks for before their computations begin. A
// process that is busy is slow to begin: without a bound it would be granted so many that they
// expire before it has computed and stored. It is what the lane of a node takes at once.
const mostBeginning = 512

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

		beginning: bulkhead.New(mostBeginning),
	}
	c.asking = c.life.Part()
	c.space = newKeyspace(c)
	c.alive, c.end = context.WithCancel(context.Background())
	c.closing, c.shut = c.alive.Done(), make(chan struct{})
	c.log = oncelog.New(cfg.Logger, c.life.Go)
	c.clock = clock.New(clock.Config{
		Ask:      func(ctx context.Context) (time.Time, error) { return c.store.serverTime(ctx) },
		Patience: cfg.RedisTimeout,
		Refused:  timeRefused,
		Local:    c.noteLocalClock,
		Spawn:    c.life.Go,
	})
	c.releases.dialed, c.events.changed = make(chan struct{}, 1), make(chan struct{}, 1)
	c.store = &lockStore{
		client:  cfg.Redis,
		timeout: cfg.RedisTimeout,
		channel: cfg.Namespace + ":events:",
		spawn:   c.life.Go,
		closing: c.closing,
	}
	c.store.forgotten, c.store.unpublished = c.health.forgot, c.noteUnpublished
	c.health.log, c.health.again = c.log, c.noteDial
	c.store.remote = remote.New(remote.Config{
		Client:     cfg.Redis,
		Timeout:    cfg.RedisTimeout,
		WriteProbe: probeScript,
		Closing:    c.closing,
		Spawn:      c.asking.Go,
		Notice:     c.health.notice,
		Dialed:     c.noteDial,
	})
	return c, nil
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
	return c.store.ping(orBackground(ctx), c.pingProbe)
}

// pingProbe gives keys for Ping, of which each may be on another node of a cluster.
func (c *Cache) pingProbe(n int) string {
	return entryPrefix(c.cfg.Namespace, "ping") + strconv.Itoa(n) + "}"
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
	c.kept.Store(nil)
	c.events.end()
	c.releases.end()
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

func (c *Cache) closed() bool { return c.life.Closed() }

// spawn runs f on a goroutine that Close waits for. See also computation.spawn.
func (c *Cache) spawn(f func()) { c.life.Go(f) }

// spawnAsking is spawn for what may wait within go-redis.
func (c *Cache) spawnAsking(f func()) { c.asking.Go(f) }

// noteDial takes in that the client has made a connection, which may be one to another
// server. It must not block.
func (c *Cache) noteDial() {
	c.clock.Dialed.Store(true)
	c.releases.noteDial()
}

// noteLocalClock is told that the local clock serves, because Redis refused TIME with err.
func (c *Cache) noteLocalClock(err error) {
	c.log.Once("clock", slog.LevelWarn, "Redis refuses the TIME command: ages are measured on the local clock, which must agree between hosts",
		"err", err)
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
