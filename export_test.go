package fncache

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/fncache/fncache/internal/bulkhead"
	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/releases"
	"github.com/fncache/fncache/internal/remote"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

// What tests of package fncache_test use beside the API.

const (
	CloseGrace    = closeGrace
	Kinds         = redisErrorKinds
	LockSuffix    = lockSuffix
	MarkOpen      = markOpen
	MaxFuture     = maxFuture
	MaxOwnTags    = maxOwnTags
	MaxRounds     = maxRounds
	MaxTags       = maxTags
	MinLeases     = minLeases
	MostBeginning = mostBeginning
	NeededRights  = neededRights
	OpenFor       = openFor
	PollMax       = pollMax
	StoreAgainMax = storeAgainMax
)

var (
	KindOf        = kindOf
	MostTold      = &mostTold
	NewRedisError = newRedisError
	TagOptions    = tagOptions
	SettleTime    = &settleTime
)

func (c *Cache) Config() Config            { return c.cfg }
func (c *Cache) Clock() *clock.Clock       { return c.clock }
func (c *Cache) Events() *events.Events    { return c.events }
func (c *Cache) Life() *lifetime.Group     { return c.life }
func (c *Cache) Log() *oncelog.Logger      { return c.log }
func (c *Cache) NearUsage() near.Usage     { return c.near.Usage() }
func (c *Cache) Releases() *releases.Set   { return c.releases }
func (f *Func) Opts() *Options             { return &f.opts }
func (f *Func) Places() *bulkhead.Bulkhead { return f.places }

func (c *Cache) Beginning(key string) *bulkhead.Bulkhead { return c.beginningAt(key) }
func (c *Cache) Remote() *remote.Remote                  { return c.store.remote.Remote }
func (c *Cache) SetChannel(prefix string)                { c.store.channel = prefix }
func (c *Cache) ShareNames(with *Cache)                  { c.space = with.space }
func (c *Cache) Renew(ctx context.Context, key, token string, lease time.Duration) (bool, error) {
	return c.store.renew(ctx, key, token, lease)
}
func (f *Func) CountRedisErrors(k RedisErrorKind, n uint64)   { f.counters.redisErrors[k].Add(n) }
func (f *Func) DecodesApart(c *Cache) bool                    { return f.decodesApart(c.coder) }
func (f *Func) Detach(c *Cache, key string)                   { f.detach(c, key) }
func (f *Func) Fingerprint() string                           { return f.fingerprint }
func (f *Func) Params() string                                { return f.params }
func (f *Func) IsBound() bool                                 { return f.bound.Load() != nil }
func (f *Func) SetPlaces(b *bulkhead.Bulkhead)                { f.places = b }
func (k RedisErrorKind) Remedy() string                       { return kindFacts[k].remedy }
func (o Options) WithDefaults(hasError bool) (Options, error) { return o.withDefaults(hasError) }
func (o Options) CheckLease(redisTimeout time.Duration) error { return o.checkLease(redisTimeout) }
func (c Config) WithDefaults() (Config, error)                { return c.withDefaults() }
func ParseTag(tag string, defaults Options) (Options, error)  { return tagOptions.Parse(tag, defaults) }

func PingProbe(namespace string) string {
	return (&Cache{cfg: Config{Namespace: namespace}}).pingProbe(0)
}

// Hears reports whether f hears the events of its keys and of its tags.
func (f *Func) Hears() bool {
	m := f.Bound().now(f)
	return m.key.Heard() && m.tags.Heard()
}

// Kept returns what the near cache keeps for arguments.
func (f *Func) Kept(args ...any) *near.Entry {
	in := input{args: f.shape.Arguments(Must(f.sig.Arguments(args)))}
	return f.Bound().near.Find(f.near, f.nearKey(in, Must(f.Key(args...))))
}
func (f *Func) Plain() bool         { return f.plans.IsPlain() }
func (f *Func) Shape() *shape.Shape { return &f.shape }

// Bound binds f, as a call does, and returns its cache.
func (f *Func) Bound() *Cache { return Must(f.bind()).cache }

// A State is what the age of an entry allows.
type State = state

const (
	Cold  = cold
	Stale = stale
)

// Judged returns the state of an entry of f.
func (f *Func) Judged(raw string) State {
	_, s := f.Bound().parse(f, []byte(raw), nil)
	return s
}

// Flights returns how many keys have a lookup or a computation.
func (c *Cache) Flights() int { return c.flights.Len() }

// Joined returns how many callers wait for the computation of a key under a lease.
func (f *Func) Joined(key string) int { return f.Bound().flights.Callers(flightKey{f, key}) }

// KeyMaker returns what makes the key of arguments within a call of f.
func (f *Func) KeyMaker(args ...any) func() (string, error) {
	b := &binding{cache: &Cache{hashing: keyhash.NewKeys(nil)}, prefix: entryPrefix(DefaultNamespace, "bench"), suffix: entrySuffix("000000000000")}
	given := input{args: f.shape.Arguments(Must(f.sig.Arguments(args)))}
	return func() (string, error) { return f.key(b, given) }
}

// KeyMaker is Func.KeyMaker for a function of a type, wrapped by Wrap.
func KeyMaker(fn reflect.Type, args ...any) func() (string, error) {
	sig := Must(signature.New(fn, false, codec.CBOR))
	f := &Func{sig: sig, plans: shape.Compile(sig)}
	f.shape, _ = reflectedShape(f)
	return f.KeyMaker(args...)
}

// JoinAll has c hear the events of all its functions.
func (c *Cache) JoinAll() {
	names.mu.Lock()
	defer names.mu.Unlock()
	for name, users := range names.m {
		for _, u := range users {
			if u.cache != c {
				continue
			}
			ch := c.events.Join(name)
			if b := u.fn.bound.Load(); b != nil && b.cache == c {
				b.channel.Store(ch)
			}
		}
	}
}

// Users returns how many functions use a name.
func Users(name string) int {
	names.mu.Lock()
	defer names.mu.Unlock()
	return len(names.m[name])
}

// HasNameOn reports whether f is known to use its name on the cache c.
func (f *Func) HasNameOn(c *Cache) bool {
	names.mu.Lock()
	defer names.mu.Unlock()
	return slices.ContainsFunc(names.m[f.Name()], func(u user) bool { return u.fn == f && u.cache == c && !u.moved })
}

// HasPlaces reports whether places of Options.MaxConcurrent are kept for a name.
func HasPlaces(name string) bool {
	names.mu.Lock()
	defer names.mu.Unlock()
	return names.places[name] != nil
}

// A Holding is where a result for the same arguments may be in this process.
type Holding struct {
	*Cache
	*Func
	Key string
}

// Holdings returns the holdings that an invalidation of a key of f reaches.
func Holdings(f *Func, c *Cache, key string) (all []Holding) {
	for _, h := range names.holdings(f, c, key) {
		all = append(all, Holding{h.cache, h.fn, h.key})
	}
	return all
}

// TellNobody returns what calls and computations do for an observer that is not there.
func TellNobody() func() {
	c := &Cache{}
	one, many, comp := &call{cache: c}, &batch{cache: c}, &computation{cache: c}
	v := &verification{call: one}
	ctx := context.Background()
	return func() {
		one.startWatch()
		one.waitIsOver()
		one.tellEnd(nil)
		many.startWatch()
		many.tellEnd(Info{}, nil)
		_ = comp.runBegins(ctx, 1)
		comp.runEnded(ctx, 1, funcEnd{}, 0)
		comp.tellLost()
		v.tell(true)
		c.tellInvalidated(ctx, Invalidation{})
	}
}

// IsBatch reports whether the tag batch has set options.
func IsBatch(o Options) bool { return o.batch }
