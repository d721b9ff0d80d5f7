package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/holder"
)

// A lease is a lock in Redis, as JSON and as a row.
type lease struct {
	Function string  `json:"function"`
	Key      string  `json:"key"`   // of the entry
	State    string  `json:"state"` // one of the constants below
	Left     float64 `json:"left_seconds"`
	// Known if the process has written who it is: see package holder.
	Since  *time.Time      `json:"since,omitempty"` // when the lease was asked for, on the clock of the holder
	Held   *float64        `json:"held_seconds,omitempty"`
	Holder *holder.Process `json:"holder,omitempty"`
}

// The states of a lease.
const (
	computing = "computing" // a process computes the entry
	cooling   = "cooling"   // the function failed; a stale entry is served for a while
	open      = "open"      // the last value could not be stored; callers compute without a lease
)

// stateOf reads the value of a lock.
func stateOf(value string) string {
	switch {
	case strings.HasPrefix(value, "cool:"):
		return cooling
	case strings.HasPrefix(value, "open:"):
		return open
	default:
		return computing
	}
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

// name finds out which process has a lease, by the value of the lock. It leaves out what it
// cannot read.
func (a *app) name(ctx context.Context, l *lease, lock string) {
	id, since, ok := holder.Parse(lock)
	if !ok {
		return
	}
	p, known := a.processes[id]
	if !known {
		limited, end := a.limited(ctx)
		defer end()
		text, err := a.client.Get(limited, holder.Key(a.flags.Namespace, id)).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return
		}
		if found, ok := holder.ParseProcess(text); ok {
			p = &found
		}
		a.processes[id] = p
	}
	if p != nil {
		now, err := a.operator.Now(ctx)
		if err != nil {
			now = time.Now()
		}
		l.Since, l.Held, l.Holder = &since, ptr(max(0, seconds(now.Sub(since)))), p
	}
}

func (l *lease) left() string { return short(time.Duration(l.Left * float64(time.Second))) }

// leaseOn returns the lease on an entry, or nil.
func (a *app) leaseOn(ctx context.Context, entry string) (*lease, error) {
	limited, end := a.limited(ctx)
	defer end()
	pipe := a.client.Pipeline()
	value, left := pipe.Get(limited, entry+":lock"), pipe.PTTL(limited, entry+":lock")
	_, err := pipe.Exec(limited)
	switch {
	case errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, nil
	case err != nil:
		return nil, err
	}
	l := &lease{Key: entry, State: stateOf(value.Val()), Left: seconds(max(0, left.Val()))}
	a.name(ctx, l, value.Val())
	return l, nil
}
