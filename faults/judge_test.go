package faults

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// These tests show that the rules report each violation, and nothing else.

func TestRunsThatAreNotAloneAreFound(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	in := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	leased := func(process, number, from, to int, token string) *run {
		return &run{place{process, "a"}, number, in(from), in(to), &grant{token, in(from)}}
	}
	alone := func(process, number, from, to int) *run {
		return &run{place{process, "a"}, number, in(from), in(to), nil}
	}
	for _, test := range []struct {
		name             string
		runs             []*run
		steps            map[string]time.Time
		losses           []loss
		leased, unleased int
	}{
		{name: "one after the other", runs: []*run{leased(0, 1, 0, 10, "T"), leased(1, 2, 10, 20, "U")}},
		{name: "two with a lease", runs: []*run{leased(0, 1, 0, 10, "T"), leased(1, 2, 9, 20, "U")}, leased: 1},
		{name: "one beside two others", runs: []*run{leased(0, 1, 0, 30, "T"), leased(1, 2, 5, 10, "U"), leased(1, 3, 20, 25, "V")}, leased: 2},
		{name: "the lease was given back", runs: []*run{leased(0, 1, 0, 10, "T"), leased(1, 2, 9, 20, "U")}, steps: map[string]time.Time{"T": in(8)}},
		{name: "the lease has run out", runs: []*run{leased(0, 1, 0, 2000, "T"), leased(1, 2, 1001, 1010, "U")}},
		{name: "the lease was lost", runs: []*run{leased(0, 1, 0, 10, "T"), leased(1, 2, 9, 20, "U")}, losses: []loss{{in(5), in(6)}}},
		{name: "the lease was granted after the loss", runs: []*run{leased(0, 1, 7, 17, "T"), leased(1, 2, 9, 20, "U")}, losses: []loss{{in(5), in(6)}}, leased: 1},
		{name: "leases are lost all the time", runs: []*run{leased(0, 1, 7, 17, "T"), leased(1, 2, 9, 20, "U")}, losses: []loss{{from: in(5)}}},
		{name: "one that has not ended", runs: []*run{{place{0, "a"}, 1, in(0), time.Time{}, &grant{"T", in(0)}}, leased(1, 2, 9, 20, "U")}, leased: 1},
		{name: "two without a lease in one process", runs: []*run{alone(0, 1, 0, 10), alone(0, 2, 9, 20)}, unleased: 1},
		{name: "two without a lease in two processes", runs: []*run{alone(0, 1, 0, 10), alone(1, 2, 9, 20)}},
		{name: "one with a lease, and one without", runs: []*run{leased(0, 1, 0, 10, "T"), alone(0, 2, 9, 20)}},
	} {
		w := newWatch(t)
		w.runs = test.runs
		w.losses = test.losses
		if test.steps != nil {
			w.steps = test.steps
		}
		assert.Len(t, w.leasedOverlaps([]string{"a"}, time.Time{}), test.leased, test.name)
		assert.Len(t, w.unleasedOverlaps([]string{"a"}), test.unleased, test.name)
		assert.Empty(t, w.leasedOverlaps([]string{"b"}, time.Time{}), test.name)
	}
}

func TestAnOlderEntryAfterANewerOneIsFound(t *testing.T) {
	const key = "fncache:entry"
	entry := func(value string) string { return string(make([]byte, headerLen)) + value }
	// ask sends a lookup, and returns a function that answers it.
	ask := func(w *watch) (answer func(raw string)) {
		get := redis.NewStringCmd(context.Background(), "get", key)
		s, ok := w.sending(1, get)
		assert.True(t, ok)
		return func(raw string) { get.SetVal(raw); w.heard(context.Background(), s, get) }
	}
	for _, test := range []struct {
		name   string
		happen func(w *watch)
		broken int
	}{
		{"newer after older", func(w *watch) { ask(w)(entry("a#1")); ask(w)(entry("a#2")) }, 0},
		{"older after newer", func(w *watch) { ask(w)(entry("a#2")); ask(w)(entry("a#1")) }, 1},
		{"older after newer, but asked before", func(w *watch) { late := ask(w); ask(w)(entry("a#2")); late(entry("a#1")) }, 0},
		{"nothing after something", func(w *watch) { ask(w)(entry("a#2")); ask(w)("") }, 0},
		{"what was invalidated", func(w *watch) { w.perKey["a"] = 3; w.invalidating("a")(); ask(w)(entry("a#3")) }, 1},
		{"what began after the invalidation", func(w *watch) { w.perKey["a"] = 3; w.invalidating("a")(); ask(w)(entry("a#4")) }, 0},
		{"asked before the invalidation was done", func(w *watch) {
			w.perKey["a"] = 3
			done := w.invalidating("a")
			early := ask(w)
			done()
			early(entry("a#3"))
		}, 0},
		{"older after newer, which was forgotten", func(w *watch) { ask(w)(entry("a#2")); w.forget(); ask(w)(entry("a#1")) }, 0},
		{"an answer from before it was forgotten", func(w *watch) { early := ask(w); w.forget(); early(entry("a#2")); ask(w)(entry("a#1")) }, 0},
	} {
		w := newWatch(t)
		w.keys[key] = "a"
		test.happen(w)
		assert.Len(t, w.broken, test.broken, test.name)
	}
}

func TestOnlyLookupsThatWereSentSinceAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		w.keys["fncache:entry"] = "a"
		lookup := func(process int, takes time.Duration) {
			get := redis.NewStringCmd(context.Background(), "get", "fncache:entry")
			s, _ := w.sending(process, get)
			time.Sleep(takes) // in virtual time
			w.heard(context.Background(), s, get)
		}
		var early sync.WaitGroup
		early.Go(func() { lookup(1, time.Minute) })
		time.Sleep(time.Second) // in virtual time
		w.timeLookups()
		early.Wait()
		for range 8 {
			lookup(1, time.Second)
		}
		lookup(2, time.Hour)
		lookup(1, time.Hour)
		assert.Zero(t, w.usualLookup(1), "too few")
		lookup(1, time.Hour)
		assert.Equal(t, time.Second, w.usualLookup(1))
		assert.Zero(t, w.usualLookup(2))
	})
}

func TestEveryFaultHasASignOfItsEffect(t *testing.T) {
	for _, f := range faults {
		assert.True(t, f.kind != 0 || f.again != nil || f.slow != 0, f.name)
	}
}
