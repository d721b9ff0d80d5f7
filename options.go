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
// Timeout is a documented default, so most functions need only two or three
// of them. In a struct tag the same names are written in lower case; see
// [WrapStruct].
type Options struct {
	// Cache keeps the results. nil means the default cache. It is looked up at each call, so
	// package variables may be wrapped before it exists (see [SetDefault]). Cache has no
	// textual form.
	Cache *Cache

	// Prefix comes before the name in every key: "Author" in fncache:{Author:...}. Use it
	// if functions have the same derived name, such as two method values of one type. It may
	// not contain a colon, braces, spaces or control characters. Default: none.
	Prefix string

	// Name replaces the derived name of the function in every key. A closure in a variable
	// needs a Name. Each function must have its own name: wrapping another function under
	// the same Prefix and Name is an error, unless both set Shared. The same characters are
	// refused as in Prefix. The characters * ? [ ] ^ \ are special in a pattern of SCAN
	// MATCH; avoid them, so that the Name can be used in a pattern without escapes.
	// Default: the name of the function, or else of the struct field (see the section on
	// names in the package documentation).
	Name string

	// Shared says that this is the same function as the others with its Prefix and Name,
	// which must set Shared too. They share entries, and an invalidation through one of them
	// works for all. Their signatures must agree. Set Shared if one function is wrapped
	// several times as a closure, a method value or an instance of a generic function; a
	// declared function may be wrapped several times without it. Tag: shared.
	// Default: off, wrapping a second function under a name is an error.
	Shared bool

	// Vary returns what the result depends on besides the arguments, from the context: the
	// tenant, the user's rights, the locale. The string is part of the key, as if it were one
	// more argument; nothing else of a context is part of the key. Vary is called once for each
	// call, on the caller's goroutine, even if the near cache answers, so it should be fast. A
	// panic in it reaches the caller. [Func.Invalidate] and [Func.Refresh] call it with their
	// own context. The function must take a context. Vary has no textual form; in the defaults
	// of [WrapStruct] it applies to the fields that take a context. Default: none.
	Vary func(ctx context.Context) string

	// Tags are names that the entries of the function carry. One command invalidates all
	// entries that have a tag: see [Cache.InvalidateTags] and [Cache.ExpireTags]. Braces
	// stand for a parameter, counted from 0 without the context, or for a field of a struct
	// parameter: "books", "author:{0}", "tenant:{1.TenantID}". The value in braces must be a
	// boolean, a number or a string; {{ and }} stand for braces. A function has at most 64
	// Tags. An entry has at most 1,000 tags, including those that the function adds
	// ([AddTags]) or inherits.
	//
	// A function with Tags inherits the tags of the cached functions that it calls. An empty
	// list that is not nil counts as Tags: entries then have only added and inherited tags.
	// Entries with other Tags have other keys. Tag: tags=books|author:{0}; tags= is the
	// empty list. Default: nil, entries have no tags.
	Tags []string

	// Timeout is the greatest age at which an entry may be served, and its expiry in
	// Redis. Required; at least 1ms, rounded down to whole milliseconds.
	Timeout time.Duration

	// Freshness is the age up to which an entry is served without recomputing it. An older
	// entry is stale. Freshness may not be more than Timeout. Default: Timeout.
	Freshness time.Duration

	// Near is how long this process may answer from its own memory, without asking Redis. It
	// does so only while the entry is fresh, and only until it receives an event that some
	// process stored or invalidated the entry (see the section on the near cache in the package
	// documentation). While Redis is away, entries in the near cache are served for longer, as
	// stale and up to Timeout, although another process may have invalidated them. Hits are
	// fastest if the arguments are at most four booleans and numbers and two strings.
	// Default: 0, not at all.
	Near time.Duration

	// OnCold is what a caller gets if there is no entry that may be served and another caller
	// computes. Default: Fail.
	OnCold ColdPolicy

	// WaitTimeout bounds how long a call waits for another caller's computation: under OnCold
	// Wait, and for [WithRefresh] and [Func.Refresh]. After that the call gets [ErrColdCache].
	// While Redis is away, it bounds the wait for computations of other callers of this
	// process, and the wait until the call's own computation begins, but not how long that
	// computation runs. If a key is invalidated faster than it is computed, and other processes
	// get the lease first, a call may wait the whole WaitTimeout. Default: as long as the
	// caller's context allows, at most ComputeTimeout.
	WaitTimeout time.Duration

	// OnStale is what the caller that holds the lease on a stale entry does.
	// Default: Refresh.
	OnStale StalePolicy

	// SoftTimeout, under OnStale Refresh, is how long the caller that recomputes a stale entry
	// waits for the new value before it returns the stale one. The computation continues, and
	// its result is stored. Default: no limit.
	SoftTimeout time.Duration

	// OnError is what callers get when recomputing a stale entry fails.
	// Default: ServeStale.
	OnError ErrorPolicy

	// StaleIf, under OnError ServeStale, reports whether the stale entry is served for an error
	// of the function. For example, it can return false for "not found", so that callers do not
	// get a deleted book. An error for which StaleIf returns false is returned to the caller,
	// and the next caller computes again. Under OnStale Background no caller can get the error:
	// all callers get the stale entry until Timeout, and StaleIf only decides whether the
	// Cooldown applies. (An error of CacheErrors does replace the entry.) StaleIf may be called
	// by several goroutines at the same time. It has no textual form. Default: true for every
	// error.
	StaleIf func(error) bool

	// CacheErrors are errors that are answers, such as "not found". If the function returns an
	// error that [errors.Is] one of them, the listed error is stored for ErrorTimeout (a
	// negative entry). It also replaces a stale entry. Every caller gets the listed error,
	// without the errors that were wrapped around it, and so does the caller that computed. The
	// error is stored by its text, so each listed error needs its own text, which must stay the
	// same from release to release. Nothing is stored after a panic, after a run longer than
	// ComputeTimeout, or after [NoStore]. CacheErrors has no textual form. Default: none.
	CacheErrors []error

	// ErrorTimeout is how long an error of CacheErrors is cached; it is fresh for all that
	// time. Required with CacheErrors; at least 1ms, rounded down to whole milliseconds.
	ErrorTimeout time.Duration

	// BatchSize bounds how many ids the function gets in one run; for a batch function only (see
	// [WrapBatch]). The runs of one call come one after the other, and the leases of a later run
	// are asked for when the run before has ended. Default: 0, all ids of a call.
	BatchSize int

	// MissingTimeout is how long an id for which the function returned no value is cached as
	// missing; for a batch function only. It is fresh for all that time. At least 1ms, rounded
	// down to whole milliseconds. Default: 0, missing ids are asked for again by each call.
	MissingTimeout time.Duration

	// Jitter is the fraction of Freshness by which entries may become stale earlier. Each entry
	// gets a random part of it, so that entries stored at the same time do not all become stale
	// at the same time: with 0.2 an entry is fresh for 80 to 100 percent of Freshness. From 0
	// to 1. Default: 0.
	Jitter float64

	// Early refreshes a fresh entry in the background before it becomes stale. It is the beta of
	// XFetch: the longer the last computation took, the earlier the refresh. A hit begins a
	// refresh if the age of the entry is at least
	//
	//	Freshness - Early * (time of the last computation) * (random number of mean 1)
	//
	// and at least half of Freshness, and if the caller gets the lease. With 1, an entry that is
	// requested many times while it is computed is never served stale. Larger values refresh
	// earlier. From 0 to 1000. Tag: early=1. Default: 0, only stale entries are refreshed.
	Early float64

	// Verify is the share of fresh hits after which the function is run again in the
	// background and its result is compared with the cached one. It finds missing
	// invalidations, and functions whose result depends on something that is not part of the
	// key. A difference is counted ([Stats].VerifyDiffered) and logged, and changes nothing
	// else. At most one verification of the function is under way in a process; it counts in
	// MaxConcurrent, but not in Computations. From 0 to 1; 0.001 is enough for a busy function.
	// Tag: verify=0.001. Default: 0, nothing is verified.
	Verify float64

	// Lossy accepts results that lose something when they are stored: the unexported fields of
	// structs without their own encoding are left out, and come back as zero. The caller that
	// computes gets them as zero too. Without Lossy such a result type is refused when
	// wrapping. Tag: lossy. Default: false.
	Lossy bool

	// Cooldown is how long no caller recomputes an entry after a failure for which the stale
	// entry was served. It also applies after a panic, if there is a stale entry and OnError is
	// ServeStale. At least 1ms; negative: none. Default: 1s.
	Cooldown time.Duration

	// Lease is the life of the lease on an entry. It is renewed every Lease/3 while its holder
	// computes, so if the holder dies, another caller can compute after at most Lease. At least
	// 4 times Config.RedisTimeout. Default: 10s.
	Lease time.Duration

	// ComputeTimeout bounds one run of the function and the encoding of its result. The lease
	// is renewed during that time. The context of the function ends after ComputeTimeout. If the
	// function ignores its context, it loses its lease, and its late result is dropped.
	// Default: 5m.
	ComputeTimeout time.Duration

	// MaxConcurrent bounds how many computations of the function run in this process at the
	// same time, also while Redis is away. All variables, fields and caches with the same
	// function name share one bound in a process, and all must set the same MaxConcurrent. A
	// computation takes its place before it asks for the lease.
	//
	// If no place is free, a stale entry is served. Without a stale entry the cold policy
	// applies. Under OnCold Fail a call is refused with [ErrColdCache]. Under Wait it waits for
	// its turn, first come first served, up to WaitTimeout. Under Compute it waits as long as
	// its context allows. A refresh waits up to WaitTimeout. A call of a function without an
	// error result waits without a limit.
	//
	// If the function calls itself with the context that it was given, that call takes no place,
	// because it would wait for itself. [WithBypass] takes no place. Two functions without error
	// results that call each other can deadlock: each can hold all its places and wait for a
	// place of the other. Give them an error result, or no bound. Default: no bound.
	MaxConcurrent int

	batch bool // set by the tag batch: the field holds a batch function
}

// Defaults of Options.
const (
	DefaultCooldown       = time.Second
	DefaultLease          = 10 * time.Second
	DefaultComputeTimeout = 5 * time.Minute
)

// maxEarly bounds Options.Early.
const maxEarly = 1000

// A ColdPolicy says what a caller gets when the cache is cold (there is no entry
// that may be served) and another caller holds the lease.
type ColdPolicy uint8

const (
	// Fail refuses the caller at once with [ErrColdCache]. Tag: oncold=fail.
	Fail ColdPolicy = iota
	// Wait waits for the holder's value, up to WaitTimeout. Tag: oncold=wait.
	Wait
	// Compute computes too, one computation per key and process at a time, and stores
	// nothing. Tag: oncold=compute.
	Compute
)

// A StalePolicy says what the holder of the lease on a stale entry returns.
type StalePolicy uint8

const (
	// Refresh returns the new value to the caller that computes, which waits for it.
	// All others get the stale one. Tag: onstale=refresh.
	Refresh StalePolicy = iota
	// Background returns the stale value to the holder too, and recomputes in the
	// background (stale-while-revalidate, RFC 5861). Tag: onstale=background.
	Background
)

// An ErrorPolicy says what callers get for an error of the function if there is a
// stale entry.
type ErrorPolicy uint8

const (
	// ServeStale serves the stale entry, and the function is not run again for this
	// entry during Cooldown (stale-if-error, RFC 5861). Tag: onerror=servestale.
	ServeStale ErrorPolicy = iota
	// ReturnError returns the error to the caller that computed.
	// Tag: onerror=returnerror.
	ReturnError
)

// withDefaults checks the options of a function and fills in defaults. hasErr
// reports whether the function has an error result. The error joins all faults.
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
		inRedis  bool // stored in Redis, in whole milliseconds
		negative bool // a negative value is allowed
	}{
		{"Timeout", o.Timeout, true, false},
		{"Freshness", o.Freshness, false, false},
		{"Near", o.Near, false, false},
		{"WaitTimeout", o.WaitTimeout, false, false},
		{"SoftTimeout", o.SoftTimeout, false, false},
		{"ErrorTimeout", o.ErrorTimeout, true, false},
		{"MissingTimeout", o.MissingTimeout, true, false},
		{"Cooldown", o.Cooldown, true, true},
		{"Lease", o.Lease, true, false},
		{"ComputeTimeout", o.ComputeTimeout, false, false},
	} {
		switch {
		case d.value < 0 && !d.negative:
			faults = append(faults, fmt.Errorf("%s is %v; it must not be negative; leave it out for the default", d.name, d.value))
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
		faults = append(faults, errors.New("OnCold is Fail, but the function has no error result to report a refusal; set OnCold to Wait or Compute, or add an error result"))
	}
	if !hasErr && o.OnError == ReturnError {
		faults = append(faults, errors.New("OnError is ReturnError, but the function has no error result; set OnError to ServeStale, or add an error result"))
	}
	return errors.Join(faults...)
}

// errorFaults checks the options about errors.
func (o *Options) errorFaults(hasErr bool) error {
	var faults []error
	switch {
	case len(o.CacheErrors) > 0 && !hasErr:
		faults = append(faults, errors.New("CacheErrors is set, but the function has no error result; leave CacheErrors out, or add an error result"))
	case o.ErrorTimeout != 0 && !hasErr:
		faults = append(faults, errors.New("ErrorTimeout is set, but the function has no error result; leave ErrorTimeout out, or add an error result"))
	case len(o.CacheErrors) > 0 && o.ErrorTimeout == 0:
		faults = append(faults, errors.New("CacheErrors is set without ErrorTimeout; set how long these errors are cached"))
	case len(o.CacheErrors) == 0 && o.ErrorTimeout != 0:
		faults = append(faults, errors.New("ErrorTimeout is set without CacheErrors; set which errors are cached"))
	}
	if o.StaleIf != nil && o.OnError == ReturnError {
		faults = append(faults, errors.New("StaleIf is set, but OnError is ReturnError, so no stale entry is served for an error; leave out one of them"))
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
			faults = append(faults, fmt.Errorf("CacheErrors[%d] (%T) panics in its Error method, and an error is stored by its text; if it is a nil pointer, leave it out, otherwise fix its Error method", i, err))
		case text == "":
			faults = append(faults, fmt.Errorf("CacheErrors[%d] (%T) has no text, and an error is stored by its text; give it a text", i, err))
		case texts[text]:
			faults = append(faults, fmt.Errorf("CacheErrors[%d] has the same text as another one, %q, and an error is stored by its text; give each its own text", i, text))
		default:
			texts[text] = true
		}
	}
	return errors.Join(faults...)
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
	if o.BatchSize < 0 {
		faults = append(faults, fmt.Errorf("BatchSize is %d; it must not be negative; 0 means all ids of a call", o.BatchSize))
	}
	if o.MaxConcurrent < 0 {
		faults = append(faults, fmt.Errorf("MaxConcurrent is %d; it must not be negative; 0 means no bound", o.MaxConcurrent))
	}
	return errors.Join(faults...)
}

// checkBatch checks the options of a function that is, or is not, a batch function.
func (o *Options) checkBatch(is bool) error {
	switch {
	case is && len(o.CacheErrors) > 0:
		return errors.New("CacheErrors is set, but an error of a batch function is that of all its ids, and is not cached; leave missing ids out of the result, and set MissingTimeout")
	case !is && o.BatchSize != 0:
		return errors.New("BatchSize is set, but the function is not a batch function; leave BatchSize out, or use WrapBatch, or the tag batch")
	case !is && o.MissingTimeout != 0:
		return errors.New("MissingTimeout is set, but the function is not a batch function; leave MissingTimeout out, or use WrapBatch, or the tag batch")
	}
	return nil
}

func (o *Options) nameFaults() error {
	return errors.Join(funcname.Check("Prefix", o.Prefix), funcname.Check("Name", o.Name))
}

// tagOptions has the options with a textual form, by their names in tags.
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
	structtag.Flag("batch", func(o *Options) *bool { return &o.batch }),
	structtag.Number("batchsize", func(o *Options) *int { return &o.BatchSize }),
	structtag.Duration("missingtimeout", func(o *Options) *time.Duration { return &o.MissingTimeout }),
	structtag.Flag("shared", func(o *Options) *bool { return &o.Shared }),
	structtag.Flag("lossy", func(o *Options) *bool { return &o.Lossy }),
}

var (
	coldNames  = []string{Fail: "fail", Wait: "wait", Compute: "compute"}
	staleNames = []string{Refresh: "refresh", Background: "background"}
	errorNames = []string{ServeStale: "servestale", ReturnError: "returnerror"}
	downNames  = []string{DownCompute: "compute", DownError: "error"}
)

// String returns the policy as it is written in tags.
func (p ColdPolicy) String() string { return policyString("ColdPolicy", coldNames, p) }

// MarshalText returns the policy as it is written in tags, or an error for a value
// that is none of the constants.
func (p ColdPolicy) MarshalText() ([]byte, error) { return policyText("ColdPolicy", coldNames, p) }

// UnmarshalText reads the text that MarshalText returns.
func (p *ColdPolicy) UnmarshalText(text []byte) error { return setPolicy(p, coldNames, text) }

// String returns the policy as it is written in tags.
func (p StalePolicy) String() string { return policyString("StalePolicy", staleNames, p) }

// MarshalText returns the policy as it is written in tags, or an error for a value
// that is none of the constants.
func (p StalePolicy) MarshalText() ([]byte, error) { return policyText("StalePolicy", staleNames, p) }

// UnmarshalText reads the text that MarshalText returns.
func (p *StalePolicy) UnmarshalText(text []byte) error { return setPolicy(p, staleNames, text) }

// String returns the policy as it is written in tags.
func (p ErrorPolicy) String() string { return policyString("ErrorPolicy", errorNames, p) }

// MarshalText returns the policy as it is written in tags, or an error for a value
// that is none of the constants.
func (p ErrorPolicy) MarshalText() ([]byte, error) { return policyText("ErrorPolicy", errorNames, p) }

// UnmarshalText reads the text that MarshalText returns.
func (p *ErrorPolicy) UnmarshalText(text []byte) error { return setPolicy(p, errorNames, text) }

// String returns the policy in one word: compute or error.
func (p DownPolicy) String() string { return policyString("DownPolicy", downNames, p) }

// MarshalText returns the policy in one word, or an error for a value that is none of
// the constants.
func (p DownPolicy) MarshalText() ([]byte, error) { return policyText("DownPolicy", downNames, p) }

// UnmarshalText reads the text that MarshalText returns.
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

// summary returns the options that say how entries live, in their textual form, for people.
func (o *Options) summary() string {
	text := fmt.Sprintf("timeout=%v freshness=%v oncold=%v lease=%v", o.Timeout, o.Freshness, o.OnCold, o.Lease)
	if o.Near > 0 {
		text += fmt.Sprintf(" near=%v", o.Near)
	}
	if o.MaxConcurrent > 0 {
		text += fmt.Sprintf(" maxconcurrent=%d", o.MaxConcurrent)
	}
	return text
}
