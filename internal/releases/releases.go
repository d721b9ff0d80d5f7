// Package releases makes an invalidation reach the entries of every release of a function. Two
// releases whose types or codecs differ store side by side, under different signatures. Therefore
// the process that invalidates must know the signatures of all releases. They are in a registry in
// Redis, which is one hash for each function:
//
//	<namespace>:functions:{<prefix>:<name>}
//	    <signature> → <seen> <kept> <fingerprint of the parameter types> [tagged] [<name>=<text>]...
//
// The texts describe the release for people (Description), escaped as in a URL.
//
// A process registers a release while it holds the lease, before the function runs. That is early
// enough. Invalidate reads the registry (R), and then deletes (D) the entries and leases of all
// releases that it has read. Take a computation whose result is stored. Its release was registered
// (G) before the computation began (B):
//
//   - If G came before R, then R has read the release. D takes the lease from every computation
//     that began before D, and deletes what was stored before D.
//   - If R came before G, then R came before B. The source was changed before Invalidate was
//     called, so the computation has read the change.
//
// Both require that the registry keeps each registration. It has no expiry, so that no volatile-*
// policy evicts it. It can still be lost, by FLUSHALL, an allkeys-* policy, or a failover. Then
// each process registers its releases again:
//
//   - before the next computation that begins a minute or more after it last registered;
//   - about every five minutes, for functions that are called but compute less often;
//   - about a second after the client has opened a connection, at most once a minute.
//
// Until then invalidations by other releases do not reach what the process stores.
package releases

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/oncelog"
)

// The limits of a registry, and how long a registration is valid.
const (
	// Kept is how long a release is remembered after it was last registered, if none of its entries
	// lives longer.
	Kept = 35 * 24 * time.Hour
	// Most is how many releases of one function are remembered at most. So it also bounds how many
	// entries one script deletes. If there are more, the releases registered longest ago are
	// forgotten. A process that computes registers every minute, so a forgotten release hardly has
	// a process.
	Most = 256

	// Again is the age from which a registration is renewed before a computation.
	Again = time.Minute
	// Good is the age up to which a registration still counts if it cannot be renewed.
	Good = 10 * time.Minute
	// Idle is how often registrations are renewed without a computation. If no function of the
	// cache is called, the interval doubles each time, up to Idlest.
	Idle   = 5 * time.Minute
	Idlest = 7 * 24 * time.Hour
	// Dialed is how long after the client has opened a connection registrations are renewed,
	// because the connection may be to another server. If the client opens many connections, they
	// are renewed once in Again.
	Dialed = time.Second
)

// tagged follows the parameter types of a release whose entries have tags.
const tagged = "tagged"

// A Description describes a release for people. The process that registered last has written it.
type Description struct {
	Types   string `json:"types,omitempty"`   // of the function, as Go writes them
	Codec   string `json:"codec,omitempty"`   // with its version
	Options string `json:"options,omitempty"` // in force
	Build   string `json:"build,omitempty"`   // of the program
}

// mostText bounds each text of a Description, in bytes, because an invalidation reads them all.
const mostText = 300

// texts returns the texts of a description. Their keys are their names in a registry.
func (d *Description) texts() map[string]*string {
	return map[string]*string{"types": &d.Types, "codec": &d.Codec, "options": &d.Options, "build": &d.Build}
}

// Noted returns what a registry stores about a release, after the two times.
func Noted(params string, hasTags bool, about Description) string {
	noted := params
	if hasTags {
		noted += " " + tagged
	}
	texts := about.texts()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if text := *texts[name]; text != "" {
			noted += " " + name + "=" + url.QueryEscape(strings.ToValidUTF8(text[:min(len(text), mostText)], ""))
		}
	}
	return noted
}

// describe reads the texts in the field of a release.
func describe(words []string) (d Description) {
	texts := d.texts()
	for _, word := range words {
		name, escaped, _ := strings.Cut(word, "=")
		if text, err := url.QueryUnescape(escaped); err == nil && texts[name] != nil {
			*texts[name] = text
		}
	}
	return d
}

// Build returns the version and the revision of this program, if the build has recorded them.
var Build = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	build := info.Main.Path + "@" + info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			build += " " + setting.Value[:min(len(setting.Value), 12)]
		}
	}
	return build
})

// A Record is what a registry stores about a release.
type Record struct {
	Signature string
	Tagged    bool      // its entries have tags
	Seen      time.Time // when it was registered last; zero if a later release wrote it in another form
	Kept      time.Time // until when it is remembered; zero as Seen
	About     Description
	Params    string // "" if a later release wrote it in another form
}

// Records parses a registry as a script returns it: signatures, each followed by its field.
func Records(answer []any) (all []Record) {
	for i := 0; i+1 < len(answer); i += 2 {
		r := Record{Signature: fmt.Sprint(answer[i])}
		if words := strings.Fields(fmt.Sprint(answer[i+1])); len(words) >= 3 {
			seen, isSeen := unixOf(words[0])
			kept, isKept := unixOf(words[1])
			if isSeen && isKept {
				r.Seen, r.Kept, r.Params, r.Tagged = seen, kept, words[2], slices.Contains(words[3:], tagged)
				r.About = describe(words[3:])
			}
		}
		all = append(all, r)
	}
	return all
}

// latest is the last second of the year 9999, in Unix seconds: JSON has no later times.
const latest = 253402300799

func unixOf(text string) (at time.Time, ok bool) {
	seconds, err := strconv.ParseUint(text, 10, 63)
	return time.Unix(int64(seconds), 0).UTC(), err == nil && seconds <= latest
}

// ParamsOf returns the parameter types of a release, for Takes. It returns "" if they are not
// known; then Takes is true for all releases.
func ParamsOf(all []Record, signature string) string {
	for i := range all {
		if all[i].Signature == signature {
			return all[i].Params
		}
	}
	return ""
}

// Takes reports whether the release may have these parameter types, and so the same hashes of
// arguments. It is true if the types of either side are not known.
func (r *Record) Takes(params string) bool {
	return r.Params == "" || params == "" || r.Params == params
}

// A Config configures a Set. All fields are required.
type Config struct {
	Clock   *clock.Clock
	Log     *oncelog.Logger
	Spawn   func(func())    // starts a goroutine
	Closing <-chan struct{} // registrations are no longer renewed when it is closed
}

// A Set has those releases of one cache that have computed, and keeps them registered. It is safe
// for concurrent use.
type Set struct {
	cfg     Config
	tending sync.Once
	dialed  chan struct{} // has an element if the client has opened a connection

	mu sync.Mutex // guards the field below
	m  map[any]*Release
}

// New returns an empty Set.
func New(cfg Config) *Set { return &Set{cfg: cfg, dialed: make(chan struct{}, 1)} }

// A Release is a function of this process, in one cache. The exported fields do not change after it
// was added to a Set.
type Release struct {
	Name     string // of the function
	Registry string // the key of its registry
	// Calls returns how often the function was called.
	Calls func() uint64
	// Send registers the release in Redis. It removes releases that are kept until a time before
	// outdated. missing says that the registry did not have this release.
	Send func(ctx context.Context, now, outdated time.Time) (missing bool, err error)

	calls uint64 // at the last renewal; only keepRegistered uses it

	mu         sync.Mutex    // guards the fields below
	registered bool          // whether it was registered, at the time below
	at         time.Duration // on the clock's Elapsed
	attempt    *attempt      // the attempt under way, or nil
}

// An attempt is one attempt to register. err is written before done is closed.
type attempt struct {
	done chan struct{}
	err  error
}

// NoteDial notes that the client has opened a connection. It does not block.
func (s *Set) NoteDial() {
	select {
	case s.dialed <- struct{}{}:
	default:
	}
}

// Of returns the release of fn. If there is none, Of makes one by create, and keeps it if lasting
// returns true.
func (s *Set) Of(fn any, lasting func() bool, create func() *Release) *Release {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.m[fn]; known != nil {
		return known
	}
	made := create()
	if lasting() {
		if s.m == nil {
			s.m = make(map[any]*Release)
		}
		s.m[fn] = made
	}
	return made
}

// End removes all releases. It is called when the cache is closed.
func (s *Set) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m = nil
}

// Forget removes the release of a function that the cache no longer has.
func (s *Set) Forget(fn any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, fn)
}

// Len returns the number of releases that are kept registered.
func (s *Set) Len() int { return len(s.all()) }

func (s *Set) all() []*Release {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.m))
}

// Expire makes every release register again before its next computation.
func (s *Set) Expire() {
	for _, own := range s.all() {
		own.mu.Lock()
		own.registered = false
		own.mu.Unlock()
	}
}

// Register registers a release, so that its results may be stored. It may take as long as Send.
// After an error no result may be stored.
func (s *Set) Register(ctx context.Context, r *Release) error {
	s.tending.Do(func() { s.cfg.Spawn(s.keepRegistered) })
	err := s.registerUnless(ctx, r, Again)
	if err == nil || r.within(Good, s.cfg.Clock.Elapsed()) {
		return nil
	}
	s.cfg.Log.Once("register "+r.Name, slog.LevelWarn,
		"a release of a function cannot be registered: until it can, its results are not stored, because invalidations by other releases would not reach them; err says what to do",
		"func", r.Name, "key", r.Registry, "err", err)
	return err
}

// within reports whether the release was registered less than age ago.
func (r *Release) within(age, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registered && now-r.at < age
}

// registerUnless registers a release, unless it was registered less than age ago. Callers at the
// same time share one attempt. Both are decided under one lock. Otherwise a computation that saw an
// old registration would register again right after another has done so.
func (s *Set) registerUnless(ctx context.Context, r *Release, age time.Duration) error {
	r.mu.Lock()
	under := r.attempt
	switch {
	case r.registered && s.cfg.Clock.Elapsed()-r.at < age:
		r.mu.Unlock()
		return nil
	case under == nil:
		under = &attempt{done: make(chan struct{})}
		r.attempt = under
		ctx = context.WithoutCancel(ctx)
		s.cfg.Spawn(func() { s.try(ctx, r, under) })
	}
	r.mu.Unlock()
	<-under.done // Send takes at most RedisTimeout
	return under.err
}

func (s *Set) try(ctx context.Context, r *Release, own *attempt) {
	asked, now := s.cfg.Clock.Elapsed(), time.UnixMilli(s.cfg.Clock.Now())
	outdated := now
	if !s.cfg.Clock.Learned() { // with a local clock that is fast, Send would remove releases that are in use
		outdated = time.Unix(0, 0)
	}
	missing, err := r.Send(ctx, now, outdated)
	r.mu.Lock()
	lost := err == nil && missing && r.registered
	if err == nil {
		r.registered, r.at = true, asked
	}
	r.attempt, own.err = nil, err
	r.mu.Unlock()
	close(own.done)
	if lost {
		s.cfg.Log.Once("registry "+r.Name, slog.LevelWarn,
			"Redis had lost the registration of a function: invalidations by other releases did not reach it meanwhile; check for FLUSHALL, a maxmemory-policy that evicts keys without an expiry, or a failover",
			"func", r.Name, "key", r.Registry)
	}
}

// keepRegistered renews the registrations of functions that rarely compute. It ends when Closing is
// closed.
func (s *Set) keepRegistered() {
	select {
	case <-s.dialed: // a connection from before the first registration
	default:
	}
	interval := Idle
	for s.awaitRenewal(interval) {
		s.cfg.Clock.Await(context.Background()) // the machine may have been suspended since the last call
		called := false
		for _, r := range s.all() {
			select {
			case <-s.cfg.Closing:
				return
			default:
			}
			if calls := r.Calls(); calls != r.calls {
				r.calls, called = calls, true
			}
			_ = s.registerUnless(context.Background(), r, 0) // a failure is counted, and the log reports that Redis fails
		}
		interval = min(2*interval, Idlest)
		if called {
			interval = Idle
		}
	}
}

// awaitRenewal waits for about the interval, or until shortly after the client has opened a
// connection. It returns false if the cache was closed.
func (s *Set) awaitRenewal(interval time.Duration) bool {
	began := s.cfg.Clock.Elapsed()
	timer := time.NewTimer(interval/2 + rand.N(interval))
	defer timer.Stop()
	dialed := s.dialed
	for {
		select {
		case <-timer.C:
			return true
		case <-dialed:
			dialed = nil
			timer.Reset(max(Dialed, Again-(s.cfg.Clock.Elapsed()-began)))
		case <-s.cfg.Closing:
			return false
		}
	}
}
