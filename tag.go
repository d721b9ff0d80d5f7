package fncache

import (
	"encoding"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/structtag"
)

// This file has the textual forms of options, in struct tags, and of policies.

// tagOptions are the options that have a textual form, as they are written.
var tagOptions = structtag.Options[Options]{
	structtag.String("prefix", func(o *Options) *string { return &o.Prefix }),
	structtag.String("name", func(o *Options) *string { return &o.Name }),
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
