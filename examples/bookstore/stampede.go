package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fncache/fncache"
)

const (
	processes = 4   // of the stampede
	requests  = 250 // of each of them, all at the same moment
	// actLimit ends an act that hangs.
	actLimit = 2 * time.Minute
)

// An act is one burst and what goes before it.
type act struct {
	name    string
	prepare func(*stampede, context.Context) error
	burst   burst
	// killHolder: the first process that computes is killed while it does.
	killHolder bool
	what       string // is happening, for the reader
}

// acts are the acts of the play. The texts need no other reading.
func acts() []act {
	return []act{
		{
			name:  "no cache",
			burst: burst{Call: callPlain},
			what:  fmt.Sprintf("without fncache: every request runs the query itself; a process runs %d at a time, the others queue", poolSize),
		}, {
			name:    "cold",
			prepare: (*stampede).forget,
			burst:   burst{Call: callStore},
			what:    "with fncache, and nothing in it yet: one caller of them all runs the query; %s",
		}, {
			name:  "fresh",
			burst: burst{Call: callStore},
			what:  "the value is in Redis now, and younger than its freshness: all callers get it",
		}, {
			name:    "stale",
			prepare: (*stampede).outlive,
			burst:   burst{Call: callAging},
			what:    fmt.Sprintf("the value is older than its freshness (here %v): one caller computes it anew, the others get the old one at once", agingFreshness),
		}, {
			name:       "holder dies",
			prepare:    (*stampede).forget,
			burst:      burst{Call: callStore, AskAgain: true, Hold: true},
			killHolder: true,
			what:       fmt.Sprintf("cold again, and the process that runs the query is killed in the middle of it; its lease ends within 2s, and another caller takes over; a refused caller asks again after %v", retryAfter),
		},
	}
}

// coldSays is what the cold act shows, by policy.
var coldSays = map[fncache.ColdPolicy]string{
	fncache.Fail:    "the others are refused at once instead of queueing at the database",
	fncache.Wait:    "the others wait for its value (-oncold wait)",
	fncache.Compute: "in every other process one runs it too, and stores nothing (-oncold compute)",
}

// A stampede is the play under way.
type stampede struct {
	shop    *shop
	author  string
	cast    *cast
	results []result
}

// playStampede plays all acts and prints the table.
func playStampede(ctx context.Context, s *shop, b backend, author string, stdout io.Writer) (err error) {
	begin := time.Now()
	if _, err := s.plain.TopBooks(ctx, author); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Query:     the ten most bought books of %s; it takes %s when nothing else runs.\n", author, duration(time.Since(begin)))
	fmt.Fprintf(stdout, "Burst:     %d processes with %d requests each ask for it at the same moment. A request gives up after %v.\n\n", processes, requests, requestTimeout)

	play := &stampede{shop: s, author: author}
	if play.cast, err = startCast(ctx, processes, b); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, play.cast.close())
		// Leave nothing in the user's Redis, even if interrupted.
		err = errors.Join(err, play.leave(context.WithoutCancel(ctx)))
	}()
	for i, a := range acts() {
		if strings.Contains(a.what, "%s") {
			a.what = fmt.Sprintf(a.what, coldSays[b.OnCold])
		}
		fmt.Fprintf(stdout, "Act %d, %s: %s.\n", i+1, a.name, a.what)
		r, err := play.act(ctx, a)
		if err != nil {
			return fmt.Errorf("act %d, %s: %w", i+1, a.name, err)
		}
		play.results = append(play.results, r)
	}
	if err := playExpiry(ctx, s, len(acts())+1, stdout); err != nil {
		return fmt.Errorf("act %d, one tag: %w", len(acts())+1, err)
	}
	fmt.Fprintln(stdout)
	printTable(stdout, play.results)
	return nil
}

// forget makes the cache cold.
func (s *stampede) forget(ctx context.Context) error {
	return s.shop.funcs["TopBooks"].Invalidate(ctx, s.author)
}

// leave deletes the keys of the play from Redis: the entry, and what outlives entries, the
// registries of the functions' releases and the fence of tags.
func (s *stampede) leave(ctx context.Context) error {
	err := errors.Join(s.forget(ctx), s.shop.client.Del(ctx, namespace+":{fence}").Err())
	for _, name := range []string{s.shop.funcs["TopBooks"].Name(), shelfName(0), shelfName(shelfPlaces)} {
		err = errors.Join(err, s.shop.client.Del(ctx, namespace+":functions:{"+name+"}").Err())
	}
	return err
}

// outlive returns when the value is stale for agingStore.
func (s *stampede) outlive(ctx context.Context) error {
	for {
		var info fncache.Info
		if _, err := s.shop.cached.TopBooks(fncache.WithInfo(ctx, &info), s.author); err != nil {
			return err
		}
		if info.Age > agingFreshness {
			return nil
		}
		select {
		case <-time.After(agingFreshness - info.Age + time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// act plays one act and counts.
func (s *stampede) act(ctx context.Context, a act) (result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, actLimit, fmt.Errorf("it is not over after %v", actLimit))
	defer cancel()
	if a.prepare != nil {
		if err := a.prepare(s, ctx); err != nil {
			return result{}, err
		}
	}
	a.burst.Author, a.burst.Requests, a.burst.Patience = s.author, requests, requestTimeout
	if err := s.cast.lineUp(ctx, a.burst); err != nil {
		return result{}, err
	}
	t := newTally(a.name, processes)
	if err := s.cast.broadcast(order{Do: doGo}); err != nil {
		return result{}, err
	}
	for running := processes; running > 0; {
		r, err := s.cast.next(ctx)
		if err != nil {
			return result{}, err
		}
		t.add(r)
		switch r.Event {
		case eventComputing:
			if err := s.computing(a, t, r.from); err != nil {
				return result{}, err
			}
		case eventDone:
			running--
		case eventGone:
			if !a.killHolder || r.from != t.killed {
				return result{}, fmt.Errorf("worker %d ended unexpectedly", r.from)
			}
			running--
		}
	}
	return t.end(requests), nil
}

// computing handles the beginning of a worker's query: in the act in which the holder dies it
// kills the first worker, and lets the others return.
func (s *stampede) computing(a act, t *tally, from int) error {
	switch {
	case !a.killHolder:
		return nil
	case t.killed < 0:
		t.killed = from
		return s.cast.kill(from)
	default:
		return s.cast.send(from, order{Do: doCarryOn})
	}
}
