package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/logtest"
)

// An order is a command to a worker.
type order struct {
	Do deed

	// of doOpen
	Addr          string             // of the server, or of the link to it
	Direct        string             // of the server itself, to see what it has
	JSON          bool               // the codec; else CBOR
	MaxActive     int                // MaxActiveConns of the client; 0: no bound
	Pool          int                // PoolSize of the client; 0: the default
	Patient       bool               // the client has the timeouts of a user with slow links
	MaxConcurrent int                // of the function; 0: no bound
	OnCold        fncache.ColdPolicy // of the function
	Numbers       int                // that the function returns
	Large         int                // that the large function returns; 0: there is none
	Cost          time.Duration      // of the function

	// of the others
	Keys, Callers int
	Limit         time.Duration // the limit of the load, even if work is left
	Hold          time.Duration // how long the program's own commands hold the pool
	From          time.Duration // calls that begin earlier do not count for P99
	Slow          time.Duration // a call that takes this long has waited for Redis
}

type deed string

const (
	doOpen     deed = "open"
	doFill     deed = "fill"     // store all keys, without haste
	doTogether deed = "together" // a caller for each key, all at the same time, each once
	doWalk     deed = "walk"     // callers go round all keys until all are stored
	doPace     deed = "pace"     // callers call keys at a pace, for a while
	doLarge    deed = "large"    // the same, until the large function was called and its value stored
	doGiveUp   deed = "give up"  // callers that give up, while others hold all slots

	// The same work by bare commands.
	doBareFill deed = "bare fill"
	doBareHits deed = "bare hits" // a caller for each key, all at the same time
	doBareCold deed = "bare cold" // a lookup, an acquire and a store for each key
)

// A report is the result of an order.
type report struct {
	Calls        int
	Computations int // of the function
	Stored       int // keys that have an entry afterwards
	Refused      int // calls that got ErrColdCache
	GaveUp       int // calls that got the error of their context
	Failed       int // calls that got another error, or a wrong value
	Failure      string
	Took         time.Duration // until all was done
	Done         bool          // all work was done within the limit

	P99, OwnP99 time.Duration // of the calls, and of the function by itself
	Late        int           // calls that count for P99
	Found       time.Duration // when the last call began that waited for Redis
	Left        int           // goroutines
	Large       largeReport

	Errors string         // of Redis operations, by kind
	Log    map[string]int // log messages of the cache, with their numbers
}

// A largeReport is the result of the call of the large function.
type largeReport struct {
	Computations int
	Stored       int
	Failure      string
	Answered     time.Duration // when its caller had its answer
	Settled      time.Duration // when it was stored
}

// A worker is the process that is loaded.
type worker struct {
	order  // the order that opened it
	client *redis.Client
	admin  *redis.Client // over another connection than the measured one
	cache  *fncache.Cache
	log    *logtest.Handler
	small  *function
	large  *function
}

// A function is a cached function and its handle.
type function struct {
	call    func(ctx context.Context, id int64) ([]int64, error)
	handle  *fncache.Func
	numbers int
	cost    atomic.Int64 // nanoseconds

	runs atomic.Int64 // that have begun
	hold atomic.Pointer[chan struct{}]
	took durations
}

func (w *worker) close() error {
	if w.cache == nil {
		return nil
	}
	return errors.Join(w.cache.Close(), w.client.Close(), w.admin.Close())
}

func (w *worker) obey(o order) (report, error) {
	switch o.Do {
	case doOpen:
		return report{}, w.open(o)
	case doFill:
		return w.fill(o)
	case doTogether:
		return w.together(o)
	case doWalk:
		return w.walk(o)
	case doPace, doLarge:
		return w.pace(o)
	case doGiveUp:
		return w.giveUp(o)
	case doBareFill:
		return report{}, w.bareFill(o)
	case doBareHits:
		return w.bareHits(o)
	case doBareCold:
		return w.bareCold(o)
	default:
		return report{}, fmt.Errorf("unknown order %q", o.Do)
	}
}

// redisTimeout is Config.RedisTimeout: the default.
const redisTimeout = fncache.DefaultRedisTimeout

func (w *worker) open(o order) (err error) {
	w.order = o
	opts := &redis.Options{Addr: o.Addr, MaxActiveConns: o.MaxActive, PoolSize: o.Pool}
	if o.Patient {
		opts.ReadTimeout, opts.WriteTimeout = time.Minute, time.Minute
	}
	w.client = redis.NewClient(opts)
	w.admin = redis.NewClient(&redis.Options{Addr: o.Direct, ReadTimeout: time.Minute})
	w.log = &logtest.Handler{EnabledFunc: func(level slog.Level) bool { return level >= slog.LevelInfo }}
	cfg := fncache.Config{Redis: w.client, Logger: slog.New(w.log), CompressOver: -1}
	if o.JSON {
		cfg.Codec = fncache.JSON{}
	}
	if w.cache, err = fncache.New(cfg); err != nil {
		return err
	}
	if w.small, err = w.wrap("overload.Small", o.Numbers, 0); err != nil {
		return err
	}
	w.small.cost.Store(int64(o.Cost))
	if o.Large > 0 {
		w.large, err = w.wrap("overload.Large", o.Large, largeLease)
	}
	return err
}

// largeLease is longer than the transfer of a large value takes.
const largeLease = 30 * time.Second

func (w *worker) wrap(name string, numbers int, lease time.Duration) (*function, error) {
	f := &function{numbers: numbers}
	f.call = f.compute
	handle, err := fncache.Wrap1(&f.call, fncache.Options{
		Cache: w.cache, Name: name, Timeout: time.Hour, OnCold: w.OnCold, MaxConcurrent: w.MaxConcurrent, Lease: lease,
	})
	if err != nil {
		return nil, err
	}
	f.handle = handle.Func
	return f, nil
}

func (f *function) compute(ctx context.Context, id int64) ([]int64, error) {
	f.runs.Add(1)
	began := time.Now()
	defer func() { f.took.add(began, time.Since(began)) }()
	if held := f.hold.Load(); held != nil {
		select {
		case <-*held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if cost := time.Duration(f.cost.Load()); cost > 0 {
		time.Sleep(cost)
	}
	return numbersOf(id, f.numbers), nil
}

// numbersOf returns the value for an id: the id, and numbers that look random.
func numbersOf(id int64, n int) []int64 {
	numbers := make([]int64, n)
	numbers[0] = id
	for i := 1; i < n; i++ {
		numbers[i] = scatter(id, i)
	}
	return numbers
}

// scatter is SplitMix64, without a sign.
func scatter(id int64, i int) int64 {
	x := uint64(id)*0x9E3779B97F4A7C15 + uint64(i)*0xD1B54A32D192ED03
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return int64((x ^ x>>31) >> 1)
}

// right reports whether a value is the value of an id. It does not compare all of it.
func (f *function) right(id int64, value []int64) bool {
	last := f.numbers - 1
	return len(value) == f.numbers && value[0] == id && (last == 0 || value[last] == scatter(id, last))
}

// A tally counts the results of calls. It is safe for concurrent use.
type tally struct {
	calls, refused, gaveUp, failed atomic.Int64
	failure                        atomic.Pointer[string] // an example
	took                           durations
}

// one makes one call, which the tally counts.
func (t *tally) one(ctx context.Context, f *function, id int64) error {
	began := time.Now()
	value, err := f.call(ctx, id)
	t.took.add(began, time.Since(began))
	t.calls.Add(1)
	switch {
	case errors.Is(err, fncache.ErrColdCache):
		t.refused.Add(1)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		t.gaveUp.Add(1)
	case err != nil:
		t.fail(err.Error())
	case !f.right(id, value):
		t.fail(fmt.Sprintf("a wrong value for %d: %d numbers", id, len(value)))
	}
	return err
}

func (t *tally) fail(why string) {
	t.failed.Add(1)
	t.failure.Store(&why)
}

// report fills in the results of calls and the statistics of the cache. runs is how often the
// function had run before.
func (w *worker) report(t *tally, runs int64) report {
	r := report{
		Calls: int(t.calls.Load()), Refused: int(t.refused.Load()), GaveUp: int(t.gaveUp.Load()), Failed: int(t.failed.Load()),
		Computations: int(w.small.runs.Load() - runs),
		Errors:       w.small.handle.Stats().RedisErrorKinds.String(),
		Log:          linesOf(w.log),
	}
	if why := t.failure.Load(); why != nil {
		r.Failure = *why
	}
	return r
}

// present returns how many of the first keys have an entry.
func (w *worker) present(f *function, keys int) (n int, err error) {
	ctx := context.Background()
	const batch = 1000
	for first := 0; first < keys; first += batch {
		cmds, err := w.admin.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for id := first; id < min(first+batch, keys); id++ {
				key, err := f.handle.Key(int64(id))
				if err != nil {
					return err
				}
				pipe.Exists(ctx, key)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		for _, cmd := range cmds {
			n += int(cmd.(*redis.IntCmd).Val())
		}
	}
	return n, nil
}

// durations has the durations of calls, and when they began.
type durations struct {
	mu  sync.Mutex // guards the field below
	all []duration
}

type duration struct {
	began time.Time
	took  time.Duration
}

func (d *durations) add(began time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, duration{began, took})
}

// after returns the durations of calls that began after a time.
func (d *durations) after(at time.Time) (took []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		if one.began.After(at) {
			took = append(took, one.took)
		}
	}
	return took
}

// lastOver returns when the last call ended that took at least a given time, or zero if none did.
func (d *durations) lastOver(least time.Duration) (last time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		if end := one.began.Add(one.took); one.took >= least && end.After(last) {
			last = end
		}
	}
	return last
}

// linesOf counts the lines of a log by their text and kind.
func linesOf(h *logtest.Handler) map[string]int {
	counts := map[string]int{}
	for _, r := range h.Records() {
		counts[logtest.Line(r, func(key string) bool { return key == "kind" || key == "op" })]++
	}
	return counts
}
