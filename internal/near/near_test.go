package near_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/early"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/near"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

// A process keeps entries of functions, and hears the events of the channel f.
type process struct {
	*near.Store
	events  *events.Events
	clock   *clock.Clock
	channel *events.Channel
	f       *near.Func // of TestWhatEndsAFreshEntry
}

func newProcess(size uint64) *process {
	c := clock.New(clock.Config{})
	e := events.New(events.Config{Clock: c, Suspended: func() {}, SpawnAsking: func(func()) {}})
	p := &process{
		Store:   near.New(near.Config{Size: size, Events: e, Clock: c, Spawn: func(f func()) { go f() }}),
		events:  e,
		clock:   c,
		channel: e.Join("f"),
	}
	e.Hear(p.channel)
	return p
}

// funcOf returns the Func of a function of that type.
func funcOf(t *testing.T, fn any) *near.Func {
	sig, err := signature.New(reflect.TypeOf(fn), false, codec.CBOR)
	require.NoError(t, err)
	return near.NewFunc(shape.Compile(sig))
}

func ofOne(context.Context, string) (int, error) { return 0, nil }

func text(s string) *shape.Plain { return &shape.Plain{S: [2]string{s}} }

// keep keeps an entry with a value under a key, asked for now.
func (p *process) keep(f *near.Func, key *shape.Plain, id uint64, value any) *near.Entry {
	e := &near.Entry{
		Func: f, Key: *key, RedisKey: "redis " + key.S[0], Asked: p.events.Here(p.channel),
		Life: time.Minute, ID: id, Value: value, Size: 8,
	}
	p.Keep(e)
	return e
}

func (p *process) note(verb events.Verb, key *shape.Plain, id uint64) {
	p.events.Note(events.Event{Verb: verb, Key: "redis " + key.S[0], ID: events.StoreID(id)})
}

func TestWhatIsKeptIsFoundUnderItsFunctionAndKey(t *testing.T) {
	p, f, g := newProcess(1<<20), funcOf(t, ofOne), funcOf(t, ofOne)
	assert.Nil(t, p.Find(f, text("k")))
	assert.Zero(t, p.Usage(), "nothing is made before something is kept")
	kept := p.keep(f, text("k"), 7, 42)
	assert.Same(t, kept, p.Find(f, text("k")))
	assert.Same(t, kept, freshOf(p.Store, f, text("k")))
	assert.Equal(t, 42, kept.Value)
	assert.Nil(t, p.Find(g, text("k")))
	assert.Nil(t, p.Find(f, text("l")))
	assert.Equal(t, 1, p.Usage().Entries)
}

func TestWhatEndsAFreshEntry(t *testing.T) {
	k := text("k")
	for name, test := range map[string]struct {
		happens     func(p *process)
		fresh, held bool
	}{
		"nothing":                  {func(*process) {}, true, true},
		"its own store":            {func(p *process) { p.note(events.Store, k, 7) }, true, true},
		"an event of another key":  {func(p *process) { p.note(events.Invalidate, text("l"), 0) }, true, true},
		"the release of a lease":   {func(p *process) { p.note(events.Release, k, 0) }, true, true},
		"another store":            {func(p *process) { p.note(events.Store, k, 8) }, false, false},
		"an invalidation":          {func(p *process) { p.note(events.Invalidate, k, 0) }, false, false},
		"its time is over":         {func(p *process) { time.Sleep(time.Minute); p.events.Hear(p.channel) }, false, true},
		"a test moves the clock":   {func(p *process) { p.clock.Shift(time.Minute) }, false, true},
		"it is not sure to hear":   {func(p *process) { p.events.Doubt() }, false, true},
		"events are not heard":     {func(p *process) { p.events.Down() }, false, true},
		"they are heard again":     {func(p *process) { p.events.Down(); p.events.Hear(p.channel) }, false, false},
		"the machine is suspended": {func(p *process) { p.clock.Suspend(time.Hour); time.Sleep(events.TrustStep) }, false, false},
		"Redis has that entry":     {func(p *process) { p.Drop(p.f, k, 7) }, true, true},
		"Redis has another":        {func(p *process) { p.Drop(p.f, k, 8) }, false, false},
		"Redis has none":           {func(p *process) { p.Drop(p.f, k, 0) }, false, false},
		"the end of the store":     {func(p *process) { p.End() }, false, false},
		"the end of events":        {func(p *process) { p.events.End() }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, f := newProcess(1<<20), funcOf(t, ofOne)
				p.f = f
				p.keep(f, k, 7, 42)
				require.NotNil(t, freshOf(p.Store, f, k))
				test.happens(p)
				assert.Equal(t, test.held, p.Held(f, k) != nil, "held")
				assert.Equal(t, test.fresh, freshOf(p.Store, f, k) != nil, "fresh")
				synctest.Wait()
			})
		})
	}
}

func TestALifeWithoutEndDoesNotOverflow(t *testing.T) {
	p, f := newProcess(1<<20), funcOf(t, ofOne)
	e := &near.Entry{Func: f, Key: *text("k"), RedisKey: "redis k", Asked: p.events.Here(p.channel), Life: math.MaxInt64}
	p.Keep(e)
	assert.Same(t, e, freshOf(p.Store, f, text("k")))
}

func TestNothingIsKeptAfterTheEnd(t *testing.T) {
	for name, before := range map[string]bool{"something was kept before": true, "nothing was": false} {
		t.Run(name, func(t *testing.T) {
			p, f := newProcess(1<<20), funcOf(t, ofOne)
			if before {
				p.keep(f, text("k"), 7, 42)
			}
			p.End()
			p.keep(f, text("l"), 8, 43)
			p.Drop(f, text("l"), 0)
			assert.Zero(t, p.Usage())
			assert.Nil(t, p.Find(f, text("l")))
		})
	}
}

func TestAKeyIsACopyOfTheArguments(t *testing.T) {
	// A string may be part of a large one.
	p, f := newProcess(1<<20), funcOf(t, ofOne)
	arg := strings.Repeat("k", 10)
	e := p.keep(f, text(arg), 7, 42)
	assert.Equal(t, arg, e.Key.S[0])
	assert.NotSame(t, unsafe.StringData(arg), unsafe.StringData(e.Key.S[0]))
}

func TestHitsAreCountedWhereverTheyAreServed(t *testing.T) {
	f := funcOf(t, ofOne)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 1000 {
				f.Count(time.Millisecond)
			}
		}()
	}
	for range 8 {
		<-done
	}
	hits, saved := f.Counted()
	assert.EqualValues(t, 8000, hits)
	assert.Equal(t, 8*time.Second, saved)
	hits, saved = (*near.Func)(nil).Counted()
	assert.Zero(t, hits)
	assert.Zero(t, saved)
}

func TestTheStoreTakesNoMoreMemoryThanItMay(t *testing.T) {
	// 100,000 small results come in, which are several times as much as may be kept.
	const size, marks = 8 << 20, 2 << 20
	fn := func(context.Context, int) ([]int64, error) { return nil, nil }
	sig, err := signature.New(reflect.TypeOf(fn), false, codec.CBOR)
	require.NoError(t, err)
	plans := shape.Compile(sig)
	s, f := shape.NewReflected(plans, reflect.ValueOf(fn)), near.NewFunc(plans)
	p := newProcess(size)
	before := heapInUse()
	for i := range uint64(100_000) {
		r := s.Blank()
		*r.Pointers()[0].(*[]int64) = make([]int64, 4)
		e := &near.Entry{
			Func: f, Key: shape.Plain{N: [4]uint64{i}}, RedisKey: fmt.Sprintf("fncache:{test.Small:%032d}:000000000000", i),
			Asked: p.events.Here(p.channel), Life: time.Hour, ID: i, Value: r, Size: shape.Footprint(r),
		}
		p.Keep(e)
		p.events.Note(events.Event{Verb: events.Store, Key: e.RedisKey, ID: events.StoreID(i)})
	}
	used := p.Usage()
	took := heapInUse() - before
	assert.LessOrEqual(t, used.Weight, uint64(size))
	assert.Less(t, took, int64(size+size/10+marks), "%d bytes, of %d entries", took, used.Entries)
	assert.Greater(t, took, int64(size/2), "%d bytes, of %d entries", took, used.Entries)
	runtime.KeepAlive(p)
}

func heapInUse() int64 {
	for range 3 { // what tests before have left in pools, and behind finalizers, too
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// freshOf is Store.Fresh for entries without dice.
func freshOf(s *near.Store, f *near.Func, key *shape.Plain) *near.Entry {
	e, due := s.Fresh(f, key)
	if due {
		panic("no dice were rolled")
	}
	return e
}

// TestDiceAreRolledFromTheirMomentOnAndThenPause: before it no hit rolls, and one that has fallen is
// followed by a pause.
func TestDiceAreRolledFromTheirMomentOnAndThenPause(t *testing.T) {
	p, f := newProcess(1<<20), funcOf(t, ofOne)
	dice := early.Dice{Freshness: 100 * time.Second, Cost: time.Hour, Beta: 1000} // they fall from half of it on
	p.Keep(&near.Entry{
		Func: f, Key: *text("k"), RedisKey: "redis k", Asked: p.events.Here(p.channel), Life: 100 * time.Second, StoredAt: p.clock.Now(), Size: 8,
		Early: &near.Early{Dice: dice, Pause: 20 * time.Second},
	})
	fallen := func() (due bool) {
		for range 100 {
			e, fell := p.Fresh(f, text("k"))
			require.NotNil(t, e)
			due = due || fell
		}
		return due
	}
	assert.False(t, fallen())
	p.clock.Shift(49 * time.Second)
	assert.False(t, fallen())
	p.clock.Shift(2 * time.Second)
	assert.True(t, fallen())
	assert.False(t, fallen(), "the pause")
	p.clock.Shift(19 * time.Second)
	assert.False(t, fallen())
	p.clock.Shift(2 * time.Second)
	assert.True(t, fallen())
	p.clock.Shift(time.Hour)
	e, due := p.Fresh(f, text("k"))
	assert.Nil(t, e, "its time is over, whatever the pause")
	assert.False(t, due)
}
