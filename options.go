package fncache

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/funcname"
	"github.com/fncache/fncache/internal/structtag"
	"github.com/fncache/fncache/internal/tagplan"
)

// Options say how one function is cached. The zero value of every field but
// Timeout is a documented default, so that most functions need two or three
// of them. In a struct tag the same names are written in lower case; see
// [WrapStruct].
type Options struct {
	// Cache is where results are kept. nil means the default cache, looked up
	// at each call, so that package variables may be wrapped before it exists
	// (see [SetDefault]). It has no textual form.
	Cache *Cache

	// Prefix stands before the name in every key: "Author" in
	// fncache:{Author:...}. Use it where functions have the same derived name, such
	// as two method values of one type. It may not contain a colon, braces, spaces
	// or control characters. Default: none.
	Prefix string

	// Name replaces the derived name of the function in every key. A closure in a
	// variable needs one. Each function has a name of its own: wrapping another
	// function under the same Prefix and Name is an error, unless both set Shared.
	// The same characters are refused as in Prefix. The characters * ? [ ] ^ \ mean
	// something in a pattern of SCAN MATCH: a Name without them is found as it is.
	// Default: the name of the function, or else of the struct field (see the
	// section on names in the package documentation).
	Name string

	// Shared says that this is the same function as the others of its Prefix and
	// Name, which set Shared too: they share entries, and an invalidation through one
	// counts for all. Their signatures must agree. Set it where one function is
	// wrapped several times as a closure, a method value or an instance of a generic
	// function; a declared function may be wrapped several times without it.
	// As a tag: shared. Default: off, wrapping a second function under a name is an
	// error.
	Shared bool

	// Vary says what else the answer depends on, of what the context carries: the
	// tenant, the user's rights, the locale. What it returns is part of the key, as if it
	// were one more argument; nothing else of a context is. It is called once for each
	// call, on the caller's goroutine, also for one that the near cache answers, so it
	// should be quick; a panic in it reaches the caller. [Func.Invalidate] and
	// [Func.Refresh] ask it about their own context. The function must take a context. It
	// has no textual form; in the defaults of [WrapStruct] it is for the fields that take
	// a context. Default: none.
	Vary func(ctx context.Context) string

	// Tags are names that the entries of the function carry, so that one command invalidates
	// all entries that have one: see [Cache.InvalidateTags] and [Cache.ExpireTags]. Braces
	// stand for a parameter, counted from 0 without the context, or for a field of a struct
	// parameter: "books", "author:{0}", "tenant:{1.TenantID}". What is in braces must be a
	// boolean, a number or a string; {{ and }} stand for braces. At most 64; an entry has at
	// most 1,000, with those that the function adds ([AddTags]) or inherits.
	//
	// A function with Tags that calls other ones inherits theirs. Empty and not nil are
	// Tags too: an entry has only what is added and inherited then. Entries with other Tags
	// have other keys. As a tag: tags=books|author:{0}; tags= is the empty list.
	// Default: nil, entries have no tags.
	Tags []string

	// Timeout is the greatest age at which an entry may be served at all, and
	// its expiry in Redis. Required; at least 1ms, whole milliseconds are kept.
	Timeout time.Duration

	// Freshness is the age up to which an entry is served without asking
	// anybody to recompute it. From there to Timeout it is stale.
	// Default: Timeout. It may not be more than Timeout.
	Freshness time.Duration

	// Near is how long this process may answer from its own memory, without
	// asking Redis: never longer than an entry is fresh, and not a moment longer
	// than it takes to hear that somebody stored or invalidated it (see the
	// section on the near cache in the package documentation). While Redis is away,
	// what is still kept is served for longer, as stale and up to Timeout, though it
	// may have been invalidated elsewhere meanwhile. A hit is quickest where the
	// arguments are up to four booleans and numbers and two strings.
	// Default: 0, not at all.
	Near time.Duration

	// OnCold is what a caller gets when nothing can be served and somebody
	// else computes. Default: Fail.
	OnCold ColdPolicy

	// WaitTimeout bounds how long a call waits for somebody else's
	// computation: under OnCold Wait, and for [WithRefresh] and
	// [Func.Refresh]. Past it the call gets [ErrColdCache]. With Redis away that
	// goes for what other callers of this process compute, and for the wait until
	// the call's own computation begins; how long that runs is no matter. A key
	// that is invalidated faster than it is computed may keep a call waiting all
	// that time, while other processes are quicker to the lease. Default: as long
	// as the caller's context allows, at most ComputeTimeout.
	WaitTimeout time.Duration

	// OnStale is what the caller that holds the lease on a stale entry does.
	// Default: Refresh.
	OnStale StalePolicy

	// SoftTimeout, under OnStale Refresh, is how long the caller that
	// recomputes a stale entry waits for the new value before it takes the
	// stale one; the computation goes on and is stored. Default: until done.
	SoftTimeout time.Duration

	// OnError is what callers get when recomputing a stale entry fails.
	// Default: ServeStale.
	OnError ErrorPolicy

	// StaleIf, under OnError ServeStale, says whether an error is answered with
	// the stale entry: so that "not found" is not answered with an old book. An
	// error it says no to is returned, and the next caller computes again. Under
	// OnStale Background no caller is there to have it returned: until Timeout all
	// are served the stale entry whatever StaleIf says, which then only chooses
	// whether the function is left alone for Cooldown (an error of CacheErrors does
	// replace the entry). It may be called by several goroutines. It has no textual
	// form. Default: every error.
	StaleIf func(error) bool

	// CacheErrors are errors that are answers, such as "not found". When the
	// function returns an error that [errors.Is] one of them, that one is stored
	// for ErrorTimeout (a negative entry), in place of a stale entry too, and is
	// what every caller gets, the one that computed included: not what was wrapped
	// around it. It is stored by its text, so each needs a text of its own that
	// stays the same from release to release. A panic, a run past ComputeTimeout
	// and [NoStore] leave nothing stored. It has no textual form. Default: none.
	CacheErrors []error

	// ErrorTimeout is how long an error of CacheErrors is cached, and fresh.
	// Required with CacheErrors; at least 1ms, whole milliseconds are kept.
	ErrorTimeout time.Duration

	// Jitter is the fraction of Freshness by which entries may become stale
	// earlier, each by a part of its own, so that entries stored together do not
	// become stale together: with 0.2 an entry is fresh for 80 to 100 percent of
	// Freshness. From 0 to 1. Default: 0.
	Jitter float64

	// Early has a fresh entry refreshed in the background before it becomes stale, the earlier the
	// longer its computation takes: it is the beta of XFetch. A caller that is served a fresh
	// entry at an age that is more than Freshness minus the time of the last computation, times
	// Early, times a random number of mean 1, begins to compute, if it gets the lease; never
	// before half of Freshness. 1 is right where entries are asked for many times while they
	// are computed: then nobody is served a stale one. More refreshes earlier. From 0 to 1000.
	// Tag: early=1. Default: 0, entries are refreshed once they are stale.
	Early float64

	// Verify is the share of fresh hits after which the function is run again in the
	// background, and its result compared with the cached one: it finds functions whose
	// result depends on something that is no part of the key, and invalidations that are
	// missing. A difference is counted ([Stats].VerifyDiffered) and logged, and changes
	// nothing else. At most one verification of the function is under way in a process; it
	// counts in MaxConcurrent, and not in Computations. From 0 to 1; 0.001 is enough for a
	// busy function. Tag: verify=0.001. Default: 0, nothing is verified.
	Verify float64

	// Lossy accepts results that lose something when they are stored: the
	// unexported fields of structs that have no encoding of their own are left out,
	// and come back as zero. The caller that computes gets them as zero too. Without
	// it such a result type is refused when wrapping. Tag: lossy. Default: false.
	Lossy bool

	// Cooldown is how long nobody recomputes an entry after a failure that was
	// answered with the stale value, or after a panic where there is a stale value
	// for others and OnError is ServeStale. Default: 1s; negative: none; otherwise at
	// least 1ms.
	Cooldown time.Duration

	// Lease is the life of the lease on an entry, renewed every Lease/3 while
	// its holder computes: a holder that dies frees the entry within it.
	// Default: 10s; at least 4 times Config.RedisTimeout.
	Lease time.Duration

	// ComputeTimeout bounds one run of the function and the encoding of its result,
	// during which the lease is renewed; the function through the context it is
	// given. A function that ignores its context loses its lease then, and its
	// late result is dropped. Default: 5m.
	ComputeTimeout time.Duration

	// MaxConcurrent bounds how many computations of the function run in this process at
	// once, whether Redis is there or away. The bound is that of a name in the process, however
	// many variables, fields and caches there are; all must have the same MaxConcurrent. A
	// computation takes its place before the lease is asked for. Where no place is free, a
	// stale entry is served; without one the cold policy applies: under OnCold Fail a call is
	// refused with [ErrColdCache], under Wait it waits for its turn, first come first served,
	// up to WaitTimeout, and under Compute as long as its context allows. A refresh waits likewise. A function without an error result waits as
	// long as it takes. What the function itself calls of itself, with the context it was
	// given, takes no place, because it would wait for itself. Two functions that call each
	// other, and have no error result to be refused by, may each hold all their places and
	// wait for one of the other's without end; give them an error result, or no bound.
	// [WithBypass] takes no place.
	// Default: no bound.
	MaxConcurrent int
}

// Defaults of Options.
const (
	DefaultCooldown       = time.Second
	DefaultLease          = 10 * time.Second
	DefaultComputeTimeout = 5 * time.Minute
)

// maxEarly bounds Options.Early.
const maxEarly = 1000

// A ColdPolicy says what a caller gets when the cache is cold (there is
// nothing that may be served) and somebody else holds the lease.
type ColdPolicy uint8

const (
	// Fail refuses the caller at once with [ErrColdCache]. Tag: oncold=fail.
	Fail ColdPolicy = iota
	// Wait waits for the holder's value, up to WaitTimeout. Tag: oncold=wait.
	Wait
	// Compute computes too, once per process at a time, and stores nothing.
	// Tag: oncold=compute.
	Compute
)

// A StalePolicy says what the holder of the lease on a stale entry returns.
type StalePolicy uint8

const (
	// Refresh returns the new value: the one caller that computes waits for
	// it, all others are served the stale one. Tag: onstale=refresh.
	Refresh StalePolicy = iota
	// Background returns the stale value to the holder too, and recomputes
	// behind (stale-while-revalidate, RFC 5861). Tag: onstale=background.
	Background
)

// An ErrorPolicy says what becomes of an error from the function when a stale
// entry is at hand.
type ErrorPolicy uint8

const (
	// ServeStale serves the stale entry and leaves the function alone for
	// Cooldown (stale-if-error, RFC 5861). Tag: onerror=servestale.
	ServeStale ErrorPolicy = iota
	// ReturnError returns the error to the caller that computed.
	// Tag: onerror=returnerror.
	ReturnError
)

// withDefaults checks the options of a function and fills in defaults. hasErr
// says that the function has an error result. The error joins all faults.
func (o Options) withDefaults(hasErr bool) (Options, error) {
	if err := errors.Join(o.durationFaults(), o.policyFaults(hasErr), o.errorFaults(hasErr), o.boundFaults(), o.nameFaults()); err != nil {
		return o, err
	}
	o.CacheErrors, o.Tags = slices.Clone(o.CacheErrors), slices.Clone(o.Tags)
	setDefault(&o.Freshness, o.Timeout)
	setDefault(&o.Cooldown, DefaultCooldown)
	setDefault(&o.Lease, DefaultLease)
	setDefault(&o.ComputeTimeout, DefaultComputeTimeout)
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) durationFaults() error {
	var faults []error
	if o.Timeout == 0 {
		faults = append(faults, errors.New("Timeout is not set; set the greatest age at which a result may be served"))
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		inRedis  bool // kept there, in whole milliseconds
		negative bool // means something
	}{
		{"Timeout", o.Timeout, true, false},
		{"Freshness", o.Freshness, false, false},
		{"Near", o.Near, false, false},
		{"WaitTimeout", o.WaitTimeout, false, false},
		{"SoftTimeout", o.SoftTimeout, false, false},
		{"ErrorTimeout", o.ErrorTimeout, true, false},
		{"Cooldown", o.Cooldown, true, true},
		{"Lease", o.Lease, true, false},
		{"ComputeTimeout", o.ComputeTimeout, false, false},
	} {
		switch {
		case d.value < 0 && !d.negative:
			faults = append(faults, fmt.Errorf("%s is %v; it must not be negative", d.name, d.value))
		case d.inRedis && d.value > 0 && d.value < time.Millisecond:
			faults = append(faults, fmt.Errorf("%s is %v; Redis keeps whole milliseconds, so use at least 1ms", d.name, d.value))
		}
	}
	if o.Timeout > 0 && o.Freshness > o.Timeout {
		faults = append(faults, fmt.Errorf("Freshness is %v, more than the Timeout of %v; an entry is fresh first and then stale", o.Freshness, o.Timeout))
	}
	return errors.Join(faults...)
}

func (o *Options) policyFaults(hasErr bool) error {
	var faults []error
	for _, p := range []struct {
		name  string
		value interface{ MarshalText() ([]byte, error) }
	}{{"OnCold", o.OnCold}, {"OnStale", o.OnStale}, {"OnError", o.OnError}} {
		if _, err := p.value.MarshalText(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if !hasErr && o.OnCold == Fail {
		faults = append(faults, errors.New("OnCold is Fail, and the function has no error result to be refused by; set OnCold to Wait or Compute, or return an error"))
	}
	if !hasErr && o.OnError == ReturnError {
		faults = append(faults, errors.New("OnError is ReturnError, and the function has no error result; set OnError to ServeStale, or return an error"))
	}
	return errors.Join(faults...)
}

// errorFaults checks what is said of errors that are answers.
func (o *Options) errorFaults(hasErr bool) error {
	var faults []error
	switch {
	case len(o.CacheErrors) > 0 && !hasErr:
		faults = append(faults, errors.New("CacheErrors is set, and the function has no error result; leave it out, or return an error"))
	case o.ErrorTimeout != 0 && !hasErr:
		faults = append(faults, errors.New("ErrorTimeout is set, and the function has no error result; leave it out, or return an error"))
	case len(o.CacheErrors) > 0 && o.ErrorTimeout == 0:
		faults = append(faults, errors.New("CacheErrors is set without ErrorTimeout; set how long these errors are cached"))
	case len(o.CacheErrors) == 0 && o.ErrorTimeout != 0:
		faults = append(faults, errors.New("ErrorTimeout is set without CacheErrors; set which errors are cached"))
	}
	if o.StaleIf != nil && o.OnError == ReturnError {
		faults = append(faults, errors.New("StaleIf is set, and OnError is ReturnError: nothing stale is served for an error; leave out one of them"))
	}
	texts := make(map[string]bool)
	for i, err := range o.CacheErrors {
		if err == nil {
			faults = append(faults, fmt.Errorf("CacheErrors[%d] is nil; leave it out", i))
			continue
		}
		text, ok := textOf(err)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("CacheErrors[%d] (%T) panics when asked for its text, which it is stored by; leave it out if it is a nil pointer, or else mend its Error method", i, err))
		case text == "":
			faults = append(faults, fmt.Errorf("CacheErrors[%d] (%T) has no text, which it is stored by; give it one", i, err))
		case texts[text]:
			faults = append(faults, fmt.Errorf("CacheErrors[%d] has the text of another, %q, by which it is stored; give each a text of its own", i, text))
		default:
			texts[text] = true
		}
	}
	return errors.Join(faults...)
}

// textOf gives the text of an error. ok is false where that panics, as it mostly
// does for a nil pointer in an error.
func textOf(err error) (text string, ok bool) {
	defer func() { _ = recover() }()
	return err.Error(), true
}

// boundFaults checks the options that are numbers.
func (o *Options) boundFaults() error {
	var faults []error
	if !(o.Jitter >= 0 && o.Jitter <= 1) { // NaN too
		faults = append(faults, fmt.Errorf("Jitter is %v; it is a fraction of Freshness, from 0 to 1", o.Jitter))
	}
	if !(o.Early >= 0 && o.Early <= maxEarly) {
		faults = append(faults, fmt.Errorf("Early is %v; it is a factor from 0 to %d, and 1 is right for most", o.Early, maxEarly))
	}
	if !(o.Verify >= 0 && o.Verify <= 1) {
		faults = append(faults, fmt.Errorf("Verify is %v; it is a share of the hits, from 0 to 1", o.Verify))
	}
	if o.MaxConcurrent < 0 {
		faults = append(faults, fmt.Errorf("MaxConcurrent is %d; it must not be negative", o.MaxConcurrent))
	}
	return errors.Join(faults...)
}

func (o *Options) nameFaults() error {
	return errors.Join(funcname.Check("Prefix", o.Prefix), funcname.Check("Name", o.Name))
}

// tagOptions are the options that have a textual form, as they are written.
var tagOptions = structtag.Options[Options]{
	structtag.String("prefix", func(o *Options) *string { return &o.Prefix }),
	structtag.String("name", func(o *Options) *string { return &o.Name }),
	structtag.List("tags", func(o *Options) *[]string { return &o.Tags }),
	structtag.Duration("timeout", func(o *Options) *time.Duration { return &o.Timeout }),
	structtag.Duration("freshness", func(o *Options) *time.Duration { return &o.Freshness }),
	structtag.Duration("near", func(o *Options) *time.Duration { return &o.Near }),
	structtag.Text("oncold", func(o *Options) encoding.TextUnmarshaler { return &o.OnCold }),
	structtag.Duration("waittimeout", func(o *Options) *time.Duration { return &o.WaitTimeout }),
	structtag.Text("onstale", func(o *Options) encoding.TextUnmarshaler { return &o.OnStale }),
	structtag.Duration("softtimeout", func(o *Options) *time.Duration { return &o.SoftTimeout }),
	structtag.Text("onerror", func(o *Options) encoding.TextUnmarshaler { return &o.OnError }),
	structtag.Duration("errortimeout", func(o *Options) *time.Duration { return &o.ErrorTimeout }),
	structtag.Fraction("jitter", func(o *Options) *float64 { return &o.Jitter }),
	structtag.Factor("early", func(o *Options) *float64 { return &o.Early }),
	structtag.Fraction("verify", func(o *Options) *float64 { return &o.Verify }),
	structtag.Number("maxconcurrent", func(o *Options) *int { return &o.MaxConcurrent }),
	structtag.Duration("cooldown", func(o *Options) *time.Duration { return &o.Cooldown }),
	structtag.Duration("lease", func(o *Options) *time.Duration { return &o.Lease }),
	structtag.Duration("computetimeout", func(o *Options) *time.Duration { return &o.ComputeTimeout }),
	structtag.Flag("shared", func(o *Options) *bool { return &o.Shared }),
	structtag.Flag("lossy", func(o *Options) *bool { return &o.Lossy }),
}

var (
	coldNames  = []string{Fail: "fail", Wait: "wait", Compute: "compute"}
	staleNames = []string{Refresh: "refresh", Background: "background"}
	errorNames = []string{ServeStale: "servestale", ReturnError: "returnerror"}
	downNames  = []string{DownCompute: "compute", DownError: "error"}
)

// String gives the policy as it is written in tags.
func (p ColdPolicy) String() string { return policyString("ColdPolicy", coldNames, p) }

// MarshalText gives the policy as it is written in tags; an error for a value
// that is none of the constants.
func (p ColdPolicy) MarshalText() ([]byte, error) { return policyText("ColdPolicy", coldNames, p) }

// UnmarshalText reads what MarshalText writes.
func (p *ColdPolicy) UnmarshalText(text []byte) error { return setPolicy(p, coldNames, text) }

// String gives the policy as it is written in tags.
func (p StalePolicy) String() string { return policyString("StalePolicy", staleNames, p) }

// MarshalText gives the policy as it is written in tags; an error for a value
// that is none of the constants.
func (p StalePolicy) MarshalText() ([]byte, error) { return policyText("StalePolicy", staleNames, p) }

// UnmarshalText reads what MarshalText writes.
func (p *StalePolicy) UnmarshalText(text []byte) error { return setPolicy(p, staleNames, text) }

// String gives the policy as it is written in tags.
func (p ErrorPolicy) String() string { return policyString("ErrorPolicy", errorNames, p) }

// MarshalText gives the policy as it is written in tags; an error for a value
// that is none of the constants.
func (p ErrorPolicy) MarshalText() ([]byte, error) { return policyText("ErrorPolicy", errorNames, p) }

// UnmarshalText reads what MarshalText writes.
func (p *ErrorPolicy) UnmarshalText(text []byte) error { return setPolicy(p, errorNames, text) }

// String gives the policy in one word: compute or error.
func (p DownPolicy) String() string { return policyString("DownPolicy", downNames, p) }

// MarshalText gives the policy in one word; an error for a value that is none of
// the constants.
func (p DownPolicy) MarshalText() ([]byte, error) { return policyText("DownPolicy", downNames, p) }

// UnmarshalText reads what MarshalText writes.
func (p *DownPolicy) UnmarshalText(text []byte) error { return setPolicy(p, downNames, text) }

func policyString[P ~uint8](kind string, names []string, p P) string {
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(p))
}

func policyText[P ~uint8](kind string, names []string, p P) ([]byte, error) {
	if int(p) >= len(names) {
		return nil, fmt.Errorf("%s is unknown; use %s", policyString(kind, names, p), oneOf(names))
	}
	return []byte(names[p]), nil
}

func setPolicy[P ~uint8](p *P, names []string, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("%q is unknown; use %s", text, oneOf(names))
	}
	*p = P(i)
	return nil
}

func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// A negativeError is an error of Options.CacheErrors with the text by which it is
// stored, which was asked for once.
type negativeError struct {
	err  error
	text string
}

func negativesOf(errs []error) (all []negativeError) {
	for _, err := range errs {
		all = append(all, negativeError{err, err.Error()})
	}
	return all
}

// negativeOf gives the error that a negative entry stands for: the one of this
// process's list that has its text.
func (f *Func) negativeOf(body []byte) (error, bool) { //nolint:revive // the error is the value
	for _, listed := range f.negatives {
		if listed.text == string(body) {
			return listed.err, true
		}
	}
	return nil, false
}

// compileTags checks Options.Tags against the parameters.
func (f *Func) compileTags() (err error) {
	f.sig.Tags = f.opts.Tags
	if f.opts.Tags == nil {
		return nil
	}
	if n := len(f.opts.Tags); n > maxOwnTags {
		return fmt.Errorf("Tags has %d tags, more than %d; leave some out, or have the function add those that depend on its result (AddTags)", n, maxOwnTags)
	}
	f.tagPlan, err = tagplan.Compile(f.opts.Tags, f.sig.Params, f.sig.Place)
	return err
}
