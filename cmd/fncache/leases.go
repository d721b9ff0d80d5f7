package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/holder"
)

// A lease is a lock in Redis, as JSON and as a row.
type lease struct {
	Function string  `json:"function"`
	Key      string  `json:"key"`   // of the entry
	State    string  `json:"state"` // an operate.LeaseState
	Left     float64 `json:"left_seconds"`
	// Known if the process has written who it is: see package holder.
	Since  *time.Time      `json:"since,omitempty"` // when the lease was asked for, on the clock of the holder
	Held   *float64        `json:"held_seconds,omitempty"`
	Holder *holder.Process `json:"holder,omitempty"`
}

type leasesCommand struct {
	Function string `help:"Only leases of this function." placeholder:"NAME"`
}

// Run lists the leases. It looks at every key.
func (l leasesCommand) Run(ctx context.Context, a *app) error {
	var found []lease
	known := make(map[string]bool)
	prefix := a.flags.Namespace + ":{"
	if l.Function != "" {
		prefix += l.Function + ":"
	}
	err := a.scan(ctx, globbed.Replace(prefix)+"*:lock", func(ctx context.Context, keys []string) error {
		for _, key := range keys {
			entry, function, err := a.operator.Split(key)
			if err != nil || entry == key || known[key] || l.Function != "" && function != l.Function {
				continue
			}
			known[key] = true
			held, err := a.leaseOn(ctx, entry)
			if err != nil {
				return err
			}
			if held != nil {
				held.Function = function
				found = append(found, *held)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		a.note("nothing is computed now, and nothing cools down, under the namespace " + a.flags.Namespace)
	}
	slices.SortFunc(found, func(a, b lease) int {
		return cmp.Or(strings.Compare(a.Function, b.Function), strings.Compare(a.Key, b.Key))
	})
	var rows [][]string
	for _, l := range found {
		who, since, held := l.holder()
		rows = append(rows, []string{l.Function, l.State, l.left(), who, since, held, l.Key})
	}
	return a.show(append([]lease{}, found...), []string{"FUNCTION", "STATE", "LEFT", "HOLDER", "SINCE", "FOR", "KEY"}, rows)
}

// holder returns which process has the lease, since when, and for how long.
func (l *lease) holder() (who, since, held string) {
	if l.Holder == nil {
		return "unknown", "-", "-"
	}
	return fmt.Sprintf("%s/%d", l.Holder.Host, l.Holder.PID), l.Since.Format(time.TimeOnly), span(*l.Held)
}

// String describes the lease in a line.
func (l *lease) String() string {
	who, since, held := l.holder()
	text := l.State + ", " + l.left() + " left, holder " + who
	if l.Holder != nil {
		text += " since " + since + ", for " + held
	}
	return text
}

func (l *lease) left() string { return short(time.Duration(l.Left * float64(time.Second))) }

// leaseOn returns the lease on an entry, or nil.
func (a *app) leaseOn(ctx context.Context, entry string) (*lease, error) {
	limited, end := a.limited(ctx)
	defer end()
	held, err := a.operator.Lease(limited, entry)
	if err != nil || held == nil {
		return nil, err
	}
	l := &lease{Key: entry, State: string(held.State), Left: seconds(held.Left), Holder: held.Holder}
	if held.Holder != nil {
		now, err := a.operator.Now(limited)
		if err != nil {
			now = time.Now()
		}
		l.Since, l.Held = &held.Since, ptr(max(0, seconds(now.Sub(held.Since))))
	}
	return l, nil
}
