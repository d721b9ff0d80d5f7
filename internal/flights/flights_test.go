package flights_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/flights"
)

// The types of an engine that does nothing.
type (
	table  = flights.Table[string, *flight, *run]
	flight struct {
		flights.Flight[*flight, *run]
	}
	run struct {
		flights.Computation
		cancelled bool
	}
	// A caller has a size, so that two have different addresses.
	caller struct{ _ byte }
)

func (r *run) Cancelled() bool { return r.cancelled }

func newFlight(p flights.Purpose, leader *caller) *flight {
	return &flight{flights.NewFlight[*flight, *run](p, leader)}
}

func newRun() *run { return &run{Computation: flights.NewComputation()} }

// --- The rules, one by one ---

func board(t *table, key string, p flights.Purpose) (f *flight, c *caller, start bool, holder *run) {
	c = new(caller)
	f, start, holder, _ = t.Board(key, p, false, func() *flight { return newFlight(p, c) })
	return f, c, start, holder
}

// lead starts a flight, and ends it with a computation under a lease.
func lead(t *table, key string, p flights.Purpose, cached bool) *run {
	f, _, _, _ := board(t, key, p)
	r := newRun()
	r.Leases("token", cached, p == flights.ToRefresh)
	t.Lead(key, f, r, time.Now().Add(time.Hour), func(flights.Landing) {})
	return r
}

func TestCallersOfOnePurposeShareAFlight(t *testing.T) {
	var fs table
	first, _, start, _ := board(&fs, "k", flights.ToLookUp)
	require.True(t, start)
	second, _, start, _ := board(&fs, "k", flights.ToLookUp)
	assert.Same(t, first, second)
	assert.False(t, start)
	for _, other := range []flights.Purpose{flights.ToPeek, flights.ToRefresh} {
		f, _, start, _ := board(&fs, "k", other)
		assert.True(t, start, "another purpose has a flight of its own")
		assert.NotSame(t, first, f)
	}
	f, _, start, _ := board(&fs, "another", flights.ToLookUp)
	assert.True(t, start)
	assert.NotSame(t, first, f)
}

func TestACallerThatLooksUpJoinsTheFlightThatWaits(t *testing.T) {
	var fs table
	waiting, _, _, _ := board(&fs, "k", flights.ToWait)
	f, _, start, _ := board(&fs, "k", flights.ToLookUp)
	assert.Same(t, waiting, f)
	assert.False(t, start)
}

func TestACallerThatLooksUpJoinsTheComputationOfItsProcess(t *testing.T) {
	for name, test := range map[string]struct {
		cached bool
		change func(fs *table, r *run)
		joins  bool
	}{
		"nothing is cached":        {joins: true},
		"an entry may be cached":   {cached: true},
		"the lease has run out":    {change: func(fs *table, r *run) { fs.Renew(r, time.Now()) }},
		"the lease is lost":        {change: func(fs *table, r *run) { fs.Lose("k", r) }},
		"the last step is sent":    {change: func(fs *table, r *run) { fs.Settle(r) }},
		"the key is invalidated":   {change: func(fs *table, _ *run) { fs.Detach("k") }},
		"all keys are invalidated": {change: func(fs *table, _ *run) { fs.DetachAll(func(string) bool { return true }) }},
		"tags are invalidated":     {change: func(fs *table, _ *run) { fs.Outdate(func(string) bool { return true }) }, joins: true},
		"another is invalidated":   {change: func(fs *table, _ *run) { fs.Detach("another") }, joins: true},
		"it has ended":             {change: func(fs *table, r *run) { fs.Finish("k", r, func() {}) }},
		"another token has found nothing cached": {
			cached: true, change: func(fs *table, _ *run) { fs.Joinable("k", "token") }, joins: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var fs table
			r := lead(&fs, "k", flights.ToLookUp, test.cached)
			if test.change != nil {
				test.change(&fs, r)
			}
			f, _, start, holder := board(&fs, "k", flights.ToLookUp)
			if test.joins {
				assert.Same(t, r, holder)
				assert.Nil(t, f)
				assert.True(t, fs.Shared(r))
			} else {
				assert.Nil(t, holder)
				assert.True(t, start)
			}
		})
	}
}

func TestACallerThatCannotAskRedisJoinsAnExpiredLeaseAndNoOutdatedRun(t *testing.T) {
	var fs table
	r := lead(&fs, "k", flights.ToLookUp, true)
	fs.Renew(r, time.Now().Add(-time.Hour))
	assert.Nil(t, fs.Computing("k"))
	holder, began := fs.HolderOf("k")
	assert.Same(t, r, holder)
	assert.True(t, r.BeganAfter(began-1))
	fs.Outdate(func(string) bool { return true })
	holder, _ = fs.HolderOf("k")
	assert.Nil(t, holder, "the function may still add the tag that was invalidated")
}

func TestTheFirstCallerThatHasNotLeftOwnsTheComputation(t *testing.T) {
	for name, test := range map[string]struct {
		background, left bool // the first caller has left
		first, second    bool // owns it
	}{
		"the first waits":               {first: true},
		"the first has left":            {left: true, second: true},
		"the computation has no caller": {background: true},
	} {
		t.Run(name, func(t *testing.T) {
			var fs table
			f, first, _, _ := board(&fs, "k", flights.ToLookUp)
			_, second, _, _ := board(&fs, "k", flights.ToLookUp)
			if test.left {
				fs.Leave(f, first)
			}
			r := newRun()
			r.Background = test.background
			r.Leases("token", false, false)
			fs.Lead("k", f, r, time.Now().Add(time.Hour), func(flights.Landing) {})
			if !test.left {
				assert.Equal(t, test.first, fs.MakeOwner(r, first))
			}
			assert.Equal(t, test.second, fs.MakeOwner(r, second))
			assert.Equal(t, test.first || test.second, fs.Callers("k") == 1, "its owner waits for it")
		})
	}
}

func TestTheWaitOfAFlightEndsWithItsLastCaller(t *testing.T) {
	var fs table
	f, first, _, _ := board(&fs, "k", flights.ToWait)
	_, second, _, _ := board(&fs, "k", flights.ToWait)
	ctx, end := fs.Attend(t.Context(), f)
	defer end()
	fs.Leave(f, first)
	require.NoError(t, ctx.Err())
	assert.False(t, fs.Abandon("k", f), "a caller still waits")
	fs.Leave(f, second)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	late, end := fs.Attend(t.Context(), f)
	defer end()
	require.Error(t, late.Err(), "nobody waits")
	assert.True(t, fs.Abandon("k", f))
	assert.False(t, fs.Abandon("k", f), "it has ended")
	assert.Zero(t, fs.Len())
}

func TestANestedCallerFreesTheFlightFromItsPlace(t *testing.T) {
	var fs table
	f, _, _, _ := board(&fs, "k", flights.ToLookUp)
	ctx, end := fs.Attend(t.Context(), f)
	defer end()
	assert.False(t, fs.Nested(f))
	_, _, _, _ = fs.Board("k", flights.ToLookUp, true, nil)
	assert.True(t, fs.Nested(f))
	assert.Error(t, ctx.Err(), "the flight asks again whether it needs a place")
}

func TestTheWaitForAPlaceEndsWhenNoPlaceIsNeeded(t *testing.T) {
	for name, change := range map[string]func(fs *table, r *run){
		"the last caller has left": func(fs *table, r *run) { fs.Quit(r) },
		"a nested caller has come": func(fs *table, _ *run) { fs.Share("k", 0, true, nil) },
		"the last caller gives up": func(fs *table, r *run) { assert.True(t, fs.QuitTurn("k", r), "no place was free") },
	} {
		t.Run(name, func(t *testing.T) {
			var fs table
			r, own, start := fs.Share("k", fs.Present(), false, newRun)
			require.True(t, own && start)
			ctx, end := fs.AwaitPlace(t.Context(), r)
			defer end()
			require.NoError(t, ctx.Err())
			change(&fs, r)
			require.Error(t, ctx.Err())
			late, end := fs.AwaitPlace(t.Context(), r)
			defer end()
			require.Error(t, late.Err(), "it does not wait any more")
		})
	}
}

func TestAComputationThatAllCallersLeftIsFollowedByTheNext(t *testing.T) {
	var fs table
	first, _, _ := fs.Share("k", fs.Present(), false, newRun)
	fs.Quit(first)
	next, own, start := fs.Share("k", fs.Present(), false, newRun)
	assert.True(t, own)
	assert.False(t, start, "it begins when the first has given up")
	begins, ok := fs.Begin("k", first)
	assert.False(t, ok)
	assert.Same(t, next, begins)
	<-first.Done
	_, ok = fs.Begin("k", next)
	assert.True(t, ok)
	<-next.Started
}

func TestOneComputationWithoutALeaseRunsAtATime(t *testing.T) {
	var fs table
	place := func() bool { return true }
	running, full := fs.Start("k", false, place, newRun)
	require.NotNil(t, running)
	assert.False(t, full)
	again, full := fs.Start("k", false, place, newRun)
	assert.Nil(t, again)
	assert.False(t, full)
	none, full := fs.Start("another", false, func() bool { return false }, newRun)
	assert.Nil(t, none)
	assert.True(t, full)
	assert.Equal(t, 1, fs.Len(), "a call that was refused leaves no slot")
}

func TestACancelledComputationIsNotJoined(t *testing.T) {
	var fs table
	cancelled, _, _ := fs.Share("k", fs.Present(), false, newRun)
	cancelled.cancelled = true
	next, own, start := fs.Share("k", fs.Present(), false, newRun)
	assert.NotSame(t, cancelled, next)
	assert.True(t, own)
	assert.False(t, start)
}

func TestACallThatGivesUpLearnsWhetherNoPlaceWasFree(t *testing.T) {
	var fs table
	running, _, _ := fs.Share("k", fs.Present(), false, newRun)
	_, ok := fs.Begin("k", running)
	require.True(t, ok)
	next, _, _ := fs.Share("k", fs.Present(), false, newRun)
	assert.False(t, fs.QuitTurn("k", next), "it has waited for the one that runs")
	assert.False(t, fs.QuitTurn("k", running), "it runs")

	alone := newRun()
	alone.Single(false)
	assert.True(t, fs.QuitTurn("k", alone), "it waits for nothing else")
	passes := newRun()
	passes.Single(true)
	assert.True(t, fs.Passes(passes))
	assert.False(t, fs.Passes(alone))
}

func TestAnEntryIsRefreshedEarlyOnce(t *testing.T) {
	early := func(fs *table) (f *flight, ok bool) {
		return fs.BoardEarly("k", func() *flight { return newFlight(flights.ToEarly, nil) })
	}
	var fs table
	f, ok := early(&fs)
	require.True(t, ok)
	_, ok = early(&fs)
	assert.False(t, ok, "one flight does")
	assert.False(t, fs.Abandon("k", f), "it goes on without callers")
	r := newRun()
	r.Background = true
	r.Leases("token", true, false)
	fs.Lead("k", f, r, time.Now().Add(time.Hour), func(l flights.Landing) { assert.True(t, l.Alone) })
	_, ok = early(&fs)
	assert.False(t, ok, "the computation does")
	fs.Finish("k", r, func() {})
	_, ok = early(&fs)
	assert.True(t, ok)
}

func TestTheLastStepOfALeaseHasAPlaceInTheOrderOfEvents(t *testing.T) {
	var fs table
	r := lead(&fs, "k", flights.ToLookUp, false)
	before := fs.Present()
	assert.False(t, r.SettledBy(before))
	fs.Settle(r)
	assert.False(t, r.SettledBy(before))
	assert.True(t, r.SettledBy(fs.Present()))
}
