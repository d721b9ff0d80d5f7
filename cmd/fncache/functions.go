package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/releases"
)

type pingCommand struct{}

// Run checks Redis, as Cache.Ping does.
func (pingCommand) Run(ctx context.Context, a *app) error {
	began := time.Now()
	warnings, err := a.operator.Ping(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	rows := [][]string{{"fit", fmt.Sprintf("Redis answers, and this user may do all that fncache does (%s)", short(took))}}
	for _, text := range warnings {
		rows = append(rows, []string{"warning", text})
	}
	return a.show(struct {
		Fit      bool     `json:"fit"`
		Seconds  float64  `json:"seconds"`
		Warnings []string `json:"warnings"`
	}{true, seconds(took), append([]string{}, warnings...)}, nil, rows)
}

type functionsCommand struct {
	Entries bool `help:"Count the entries of each function too: every key of the namespace is sent here."`
}

// A release is a row of functions.
type release struct {
	Function  string    `json:"function"`
	Signature string    `json:"signature"`
	Tagged    bool      `json:"tagged"`
	Seen      time.Time `json:"seen"`
	Kept      time.Time `json:"kept"`
	releases.Description
	Entries *int `json:"entries,omitempty"`
}

// Run lists the registered functions.
func (f functionsCommand) Run(ctx context.Context, a *app) error {
	found, err := a.registered(ctx)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		a.noteNothing(ctx)
	}
	if f.Entries {
		if err := a.countEntries(ctx, found); err != nil {
			return err
		}
	}
	now, err := a.operator.Now(ctx)
	if err != nil {
		now = time.Now()
	}
	head := []string{"FUNCTION", "SIGNATURE", "TAGS", "SEEN", "BUILD", "TYPES"}
	if f.Entries {
		head = append(head, "ENTRIES")
	}
	var rows [][]string
	for _, r := range found {
		row := []string{r.Function, r.Signature, yes(r.Tagged), ago(now, r.Seen), cmp.Or(r.Build, "unknown"), cmp.Or(r.Types, "unknown")}
		if f.Entries {
			row = append(row, strconv.Itoa(*r.Entries))
		}
		rows = append(rows, row)
	}
	return a.show(append([]release{}, found...), head, rows)
}

// registryPart separates the namespace from the name of the function in the key of a registry.
const registryPart = ":functions:{"

// mostNamespaces bounds the namespaces that noteNothing names.
const mostNamespaces = 5

// noteNothing says why no function is listed: often the processes have another namespace.
func (a *app) noteNothing(ctx context.Context) {
	others := make(map[string]bool)
	err := a.scan(ctx, "*"+registryPart+"*", func(_ context.Context, keys []string) error {
		for _, key := range keys {
			if namespace, _, ok := strings.Cut(key, registryPart); ok && len(others) < mostNamespaces {
				others[namespace] = true
			}
		}
		return nil
	})
	text := "no function is registered under the namespace " + a.flags.Namespace
	switch {
	case err != nil: // the list that was asked for is printed
	case len(others) == 0:
		text += ", nor under another: a process registers a function when it first computes"
	default:
		text += "; --namespace chooses another: " + strings.Join(slices.Sorted(maps.Keys(others)), ", ")
	}
	a.note(text)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ago returns how long ago something was.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "unknown"
	}
	return short(max(0, now.Sub(at)).Truncate(time.Second)) + " ago"
}

// registered reads the registries of all functions.
func (a *app) registered(ctx context.Context) (found []release, err error) {
	prefix := a.flags.Namespace + registryPart
	known := make(map[string]bool)
	err = a.scan(ctx, globbed.Replace(prefix)+"*", func(ctx context.Context, keys []string) error {
		keys = slices.DeleteFunc(keys, func(key string) bool { return known[key] || !strings.HasSuffix(key, "}") })
		for _, key := range keys {
			known[key] = true
			limited, end := a.limited(ctx)
			fields, err := a.client.HGetAll(limited, key).Result()
			end()
			switch {
			case redis.HasErrorPrefix(err, "WRONGTYPE"): // not a registry of fncache
				continue
			case err != nil:
				return err
			}
			found = append(found, releasesOf(strings.TrimSuffix(strings.TrimPrefix(key, prefix), "}"), fields)...)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b release) int {
		return cmp.Or(strings.Compare(a.Function, b.Function), b.Seen.Compare(a.Seen), strings.Compare(a.Signature, b.Signature))
	})
	return found, err
}

// releasesOf reads the registry of a function.
func releasesOf(function string, fields map[string]string) (all []release) {
	var answer []any
	for signature, field := range fields {
		answer = append(answer, signature, field)
	}
	for _, r := range releases.Records(answer) {
		all = append(all, release{Function: function, Signature: r.Signature, Tagged: r.Tagged, Seen: r.Seen, Kept: r.Kept, Description: r.About})
	}
	return all
}

// countEntries counts the entries of each release. A key that moves between nodes of a Cluster
// meanwhile may count twice.
func (a *app) countEntries(ctx context.Context, found []release) error {
	type id struct{ function, signature string }
	counts := make(map[id]int)
	err := a.scan(ctx, globbed.Replace(a.flags.Namespace)+":{*", func(_ context.Context, keys []string) error {
		for _, key := range keys {
			if entry, function, err := a.operator.Split(key); err == nil && entry == key {
				counts[id{function, key[strings.LastIndexByte(key, ':')+1:]}]++
			}
		}
		return nil
	})
	for i := range found {
		n := counts[id{found[i].Function, found[i].Signature}]
		found[i].Entries = &n
	}
	return err
}
