package fncache

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file reads options from struct tags, and policies from text:
//
//	timeout=24h,freshness=1h,prefix=Author,oncold=wait
//
// is a list of options, lower case, each once. Spaces around them do not count.

// tagOptions are the options that have a textual form, as they are written.
var tagOptions = []struct {
	key string
	set func(o *Options, value string) error
}{
	{"prefix", func(o *Options, s string) error { o.Prefix = s; return nil }},
	{"name", func(o *Options, s string) error { o.Name = s; return nil }},
	{"timeout", func(o *Options, s string) error { return setDuration(&o.Timeout, s) }},
	{"freshness", func(o *Options, s string) error { return setDuration(&o.Freshness, s) }},
	{"near", func(o *Options, s string) error { return setDuration(&o.Near, s) }},
	{"oncold", func(o *Options, s string) error { return o.OnCold.UnmarshalText([]byte(s)) }},
	{"waittimeout", func(o *Options, s string) error { return setDuration(&o.WaitTimeout, s) }},
	{"onstale", func(o *Options, s string) error { return o.OnStale.UnmarshalText([]byte(s)) }},
	{"softtimeout", func(o *Options, s string) error { return setDuration(&o.SoftTimeout, s) }},
	{"onerror", func(o *Options, s string) error { return o.OnError.UnmarshalText([]byte(s)) }},
	{"errortimeout", func(o *Options, s string) error { return setDuration(&o.ErrorTimeout, s) }},
	{"jitter", func(o *Options, s string) error { return setFraction(&o.Jitter, s) }},
	{"maxconcurrent", func(o *Options, s string) error { return setNumber(&o.MaxConcurrent, s) }},
	{"cooldown", func(o *Options, s string) error { return setDuration(&o.Cooldown, s) }},
	{"lease", func(o *Options, s string) error { return setDuration(&o.Lease, s) }},
	{"computetimeout", func(o *Options, s string) error { return setDuration(&o.ComputeTimeout, s) }},
}

// tagFlags are the options that are written without a value.
var tagFlags = []struct {
	key   string
	field func(o *Options) *bool
}{
	{"shared", func(o *Options) *bool { return &o.Shared }},
	{"lossy", func(o *Options) *bool { return &o.Lossy }},
}

func setDuration(field *time.Duration, s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with its unit, as in 90s or 1h30m", s)
	}
	*field = d
	return nil
}

func setFraction(field *float64, s string) error {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) {
		return fmt.Errorf("%q is not a fraction; write a number from 0 to 1, as in 0.2", s)
	}
	*field = f
	return nil
}

func setNumber(field *int, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", s)
	}
	*field = n
	return nil
}

// parseTag reads a tag over defaults. The error joins all faults.
func parseTag(tag string, defaults Options) (Options, error) {
	if strings.TrimSpace(tag) == "" {
		return defaults, nil
	}
	opts := defaults
	var faults []error
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(tag, ",") {
		item = strings.TrimSpace(item)
		key, value, valued := strings.Cut(item, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		err := setOption(&opts, key, value, valued)
		switch {
		case item == "":
			err = errors.New("an option is missing before or after a comma; remove the comma")
		case err == nil && seen[key]:
			err = fmt.Errorf("%s is given twice; leave one", key)
		}
		if err != nil {
			faults = append(faults, err)
		}
		seen[key] = true
	}
	if len(faults) > 0 {
		return defaults, errors.Join(faults...)
	}
	return opts, nil
}

// unreadable says that a field's tag means to say something to fncache, and that
// Go finds nothing in it: `fncache: "timeout=1h"`, with a space, or `fncache:timeout=1h`.
func unreadable(tag reflect.StructTag) bool {
	for rest := string(tag); ; {
		rest = strings.TrimLeft(rest, " ")
		key, value, _ := strings.Cut(rest, ":")
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil || quoted[0] != '"' || strings.Contains(key, " ") {
			return strings.Contains(strings.ToLower(rest), "fncache") // Go reads no further
		}
		if key != "fncache" && strings.EqualFold(key, "fncache") {
			return true
		}
		rest = value[len(quoted):]
	}
}

// setOption sets one option. valued says that an equals sign stands after the key.
func setOption(o *Options, key, value string, valued bool) error {
	for _, flag := range tagFlags {
		switch {
		case flag.key != key:
			continue
		case valued:
			return fmt.Errorf("%s takes no value; write %s alone, or leave it out", key, key)
		}
		*flag.field(o) = true
		return nil
	}
	for _, option := range tagOptions {
		switch {
		case option.key != key:
			continue
		case value == "":
			return fmt.Errorf("%s has no value; write %s=VALUE, or leave it out", key, key)
		}
		if err := option.set(o, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("unknown option %q; %s", key, suggestion(key))
}

// suggestion says what may have been meant.
func suggestion(key string) string {
	var known []string
	for _, option := range tagOptions {
		known = append(known, option.key)
	}
	for _, flag := range tagFlags {
		known = append(known, flag.key)
	}
	for _, option := range known {
		if distance(strings.ToLower(key), option) <= 2 {
			return "did you mean " + option + "?"
		}
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is how many letters must be put in, left out or changed to make b of
// a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// ---- the textual forms of policies

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
