package structtag

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Options are the options of a T that a tag may set. Parse reads a tag such as
//
//	timeout=24h,freshness=1h,prefix=Author,oncold=wait,shared
//
// which is a list of options, each at most once. Spaces around keys and values are
// ignored.
type Options[T any] []Option[T]

// An Option is one option of a T that has a textual form.
type Option[T any] struct {
	key  string
	flag bool // it is written without a value
	list bool // its value may be empty
	set  func(o *T, value string) error
}

// Key returns the option as it is written in a tag, in lower case.
func (o Option[T]) Key() string { return o.key }

// String returns an option that is a string.
func String[T any](key string, field func(*T) *string) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error {
		*field(o) = s
		return nil
	}}
}

// Duration returns an option that is written as time.ParseDuration reads it.
func Duration[T any](key string, field func(*T) *time.Duration) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is not a duration; write a number with its unit, as in 90s or 1h30m", s)
		}
		*field(o) = d
		return nil
	}}
}

// Fraction returns an option that is a decimal number. Its range is not checked.
func Fraction[T any](key string, field func(*T) *float64) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) {
			return fmt.Errorf("%q is not a fraction; write a number from 0 to 1, as in 0.2", s)
		}
		*field(o) = f
		return nil
	}}
}

// Factor returns an option that is a decimal number, of any size. Its range is not checked.
func Factor[T any](key string, field func(*T) *float64) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) {
			return fmt.Errorf("%q is not a number; write one as in 1 or 0.5", s)
		}
		*field(o) = f
		return nil
	}}
}

// Number returns an option that is a whole number.
func Number[T any](key string, field func(*T) *int) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("%q is not a whole number; write one as in 8", s)
		}
		*field(o) = n
		return nil
	}}
}

// Text returns an option that reads its text itself.
func Text[T any](key string, field func(*T) encoding.TextUnmarshaler) Option[T] {
	return Option[T]{key: key, set: func(o *T, s string) error { return field(o).UnmarshalText([]byte(s)) }}
}

// List returns an option that is a list of strings, separated by vertical bars. If nothing follows
// the equals sign, the list is empty but not nil.
func List[T any](key string, field func(*T) *[]string) Option[T] {
	return Option[T]{key: key, list: true, set: func(o *T, s string) error {
		*field(o) = []string{}
		if s == "" {
			return nil
		}
		for item := range strings.SplitSeq(s, "|") {
			if item = strings.TrimSpace(item); item == "" {
				return errors.New("an item is missing before or after a |; remove the |")
			}
			*field(o) = append(*field(o), item)
		}
		return nil
	}}
}

// Flag returns an option that is written without a value, and is then true.
func Flag[T any](key string, field func(*T) *bool) Option[T] {
	return Option[T]{key: key, flag: true, set: func(o *T, _ string) error {
		*field(o) = true
		return nil
	}}
}

// Parse returns defaults with the options of a tag. The error joins all faults of the tag; then
// Parse returns the defaults unchanged.
func (all Options[T]) Parse(tag string, defaults T) (T, error) {
	if strings.TrimSpace(tag) == "" {
		return defaults, nil
	}
	parsed := defaults
	var faults []error
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(tag, ",") {
		item = strings.TrimSpace(item)
		key, value, valued := strings.Cut(item, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		err := all.set(&parsed, key, value, valued)
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
	return parsed, nil
}

// set sets one option. valued reports whether an equals sign stands after the key.
func (all Options[T]) set(o *T, key, value string, valued bool) error {
	for _, option := range all {
		switch {
		case option.key != key:
			continue
		case option.flag && valued:
			return fmt.Errorf("%s takes no value; write %s alone, or leave it out", key, key)
		case !option.flag && value == "" && (!option.list || !valued):
			return fmt.Errorf("%s has no value; write %s=VALUE, or leave it out", key, key)
		}
		if err := option.set(o, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("unknown option %q; %s", key, all.suggestion(key))
}

// suggestion says which option was probably meant by an unknown one, or which options exist.
func (all Options[T]) suggestion(key string) string {
	known := make([]string, len(all))
	for i, option := range all {
		known[i] = option.key
	}
	for _, option := range known {
		if distance(strings.ToLower(key), option) <= 2 {
			return "did you mean " + option + "?"
		}
	}
	return "known are " + strings.Join(known, ", ")
}

// distance returns how many bytes must be inserted, removed or changed to turn a into b
// (Levenshtein).
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
