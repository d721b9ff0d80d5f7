package flights_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/flights"
)

// A model does any operations in any order on a table, as an engine may, and checks what each
// returns against what must hold for callers:
//
//   - No caller joins what began before an invalidation of its key.
//   - A caller that has looked up gets a computation without a lease only if it begins later.
//   - One computation without a lease runs at a time for each key.
//   - The callers of each flight are counted, and the table is empty when everything has ended.
type model struct {
	*rapid.T
	fs      table
	age     int            // counts operations
	invalid map[string]int // the age of the last invalidation of a key
	closed  map[string]int // or of its tags
	places  []uint64       // where lookups have ended
	flights []*modelFlight // that have not ended
	leased  []*modelRun    // that have not ended
	shared  []*modelRun    // without a lease, that have not ended
}

type modelFlight struct {
	*flight
	key     string
	born    int
	callers []*caller
}

type modelRun struct {
	*run
	key     string
	born    int // when its flight was boarded; without a lease, when it began
	token   string
	started bool // it may wait for its place
	begun   bool
	callers int
}

func (m *model) aKey() string { return rapid.SampledFrom([]string{"a", "b"}).Draw(m.T, "key") }

// one draws one of all, or skips the operation.
func one[V any](m *model, all []V) V {
	if len(all) == 0 {
		m.Skip("there is none")
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(m.T, "which")]
}

func (m *model) flightOf(f *flight) *modelFlight {
	i := slices.IndexFunc(m.flights, func(known *modelFlight) bool { return known.flight == f })
	if i < 0 {
		m.Fatal("a flight that has ended, or that nobody has started")
	}
	return m.flights[i]
}

func (m *model) runOf(all []*modelRun, r *run) *modelRun {
	i := slices.IndexFunc(all, func(known *modelRun) bool { return known.run == r })
	if i < 0 {
		m.Fatal("a computation that has ended, or that nobody has started")
	}
	return all[i]
}

func remove[V comparable](all []V, v V) []V {
	return slices.DeleteFunc(all, func(known V) bool { return known == v })
}

// joins checks that a caller may join now what was born then.
func (m *model) joins(key string, born int) {
	if born <= m.invalid[key] {
		m.Fatalf("a caller of %s joins what began at %d, before the invalidation at %d", key, born, m.invalid[key])
	}
}

func (m *model) Board(*rapid.T) {
	key := m.aKey()
	p := rapid.SampledFrom([]flights.Purpose{flights.ToLookUp, flights.ToPeek, flights.ToWait, flights.ToRefresh}).Draw(m.T, "purpose")
	c := new(caller)
	f, start, holder, joined := m.fs.Board(key, p, false, func() *flight { return newFlight(p, c) })
	switch {
	case holder != nil:
		m.joins(key, m.runOf(m.leased, holder).born)
		if p != flights.ToLookUp || joined == 0 || joined >= m.fs.Present() {
			m.Fatal("a wrong purpose or place")
		}
	case start:
		m.flights = append(m.flights, &modelFlight{flight: f, key: key, born: m.age, callers: []*caller{c}})
	default:
		known := m.flightOf(f)
		m.joins(key, known.born)
		if known.born <= m.closed[key] {
			m.Fatal("the flight began before an invalidation of tags")
		}
		if f.Purpose() != p && (p != flights.ToLookUp || f.Purpose() != flights.ToWait) || known.key != key {
			m.Fatal("a flight for something else")
		}
		known.callers = append(known.callers, c)
	}
}

func (m *model) Leave(*rapid.T) {
	f := one(m, m.flights)
	c := one(m, f.callers)
	m.fs.Leave(f.flight, c)
	f.callers = remove(f.callers, c)
}

func (m *model) Land(*rapid.T) {
	f := one(m, m.flights)
	looked := rapid.Bool().Draw(m.T, "looked")
	before := m.fs.Present()
	ok := m.fs.Land(f.key, f.flight, looked, func(l flights.Landing) {
		if l.Alone != (len(f.callers) == 1) || looked != (l.Ended > before) {
			m.Fatalf("%+v of a flight with %d callers, looked is %v", l, len(f.callers), looked)
		}
	})
	if !ok || m.fs.Land(f.key, f.flight, looked, nil) {
		m.Fatal("a flight ends once")
	}
	<-m.fs.Done(f.flight)
	m.flights = remove(m.flights, f)
}

func (m *model) Abandon(*rapid.T) {
	f := one(m, m.flights)
	if m.fs.Abandon(f.key, f.flight) != (len(f.callers) == 0) {
		m.Fatalf("a flight with %d callers", len(f.callers))
	}
	if len(f.callers) == 0 {
		m.flights = remove(m.flights, f)
	}
}

func (m *model) Lead(*rapid.T) {
	f := one(m, m.flights)
	r := &modelRun{run: newRun(), key: f.key, born: f.born, token: rapid.StringMatching(`[a-z]{8}`).Draw(m.T, "token")}
	r.Leases(r.token, rapid.Bool().Draw(m.T, "cached"), false)
	before := m.fs.Present()
	m.fs.Lead(f.key, f.flight, r.run, time.Now().Add(time.Hour), func(flights.Landing) {})
	if !r.BeganAfter(before) {
		m.Fatal("it has not begun")
	}
	m.flights, m.leased = remove(m.flights, f), append(m.leased, r)
}

func (m *model) Expire(*rapid.T) {
	m.fs.Renew(one(m, m.leased).run, time.Now().Add(-time.Hour))
}

func (m *model) Lose(*rapid.T) {
	r := one(m, m.leased)
	m.fs.Lose(r.key, r.run)
}

func (m *model) Settle(*rapid.T) { m.fs.Settle(one(m, m.leased).run) }

func (m *model) Finish(*rapid.T) {
	r := one(m, m.leased)
	if next, _ := m.fs.Finish(r.key, r.run, func() {}); next != nil {
		m.Fatal("a lease keeps nobody from beginning")
	}
	m.leased = remove(m.leased, r)
}

func (m *model) Computing(*rapid.T) {
	key := m.aKey()
	if r := m.fs.Computing(key); r != nil {
		m.joins(key, m.runOf(m.leased, r).born)
	}
}

func (m *model) HolderOf(*rapid.T) {
	key := m.aKey()
	if r, _ := m.fs.HolderOf(key); r != nil {
		m.joins(key, m.runOf(m.leased, r).born)
	}
}

func (m *model) Joinable(*rapid.T) {
	r := one(m, m.leased)
	if found := m.fs.Joinable(r.key, r.token); found != nil {
		m.joins(r.key, m.runOf(m.leased, found).born)
	}
}

func (m *model) Share(*rapid.T) {
	key, ended := m.aKey(), m.fs.Present()
	if rapid.Bool().Draw(m.T, "the lookup has ended a while ago") {
		ended = one(m, m.places)
	}
	m.places = append(m.places, ended)
	fresh := &modelRun{run: newRun(), key: key}
	c, own, start := m.fs.Share(key, ended, false, func() *run { return fresh.run })
	if own {
		m.shared = append(m.shared, fresh)
		fresh.started = start
	}
	r := m.runOf(m.shared, c)
	r.callers++
	switch {
	case r.key != key:
		m.Fatal("a computation of another key")
	case r.begun && !r.BeganAfter(ended):
		m.Fatal("it began before the lookup has ended")
	case r.begun && r.born <= m.closed[key]:
		m.Fatal("it began before an invalidation")
	}
	m.oneRuns(key)
}

func (m *model) Start(*rapid.T) {
	key := m.aKey()
	fresh := &modelRun{run: newRun(), key: key, started: true}
	place := rapid.Bool().Draw(m.T, "a place is free")
	c, full := m.fs.Start(key, false, func() bool { return place }, func() *run { return fresh.run })
	if c != nil {
		fresh.callers++
		m.shared = append(m.shared, fresh)
	}
	if full && place {
		m.Fatal("a place is free")
	}
	m.oneRuns(key)
}

// oneRuns checks that one computation without a lease has been started for a key, and not more.
func (m *model) oneRuns(key string) {
	started := 0
	for _, r := range m.shared {
		if r.key == key && r.started {
			started++
		}
	}
	if started > 1 {
		m.Fatalf("%d computations run without a lease", started)
	}
}

func (m *model) Quit(*rapid.T) {
	r := one(m, slices.DeleteFunc(slices.Clone(m.shared), func(r *modelRun) bool { return r.callers == 0 }))
	m.fs.Quit(r.run)
	r.callers--
}

func (m *model) Begin(*rapid.T) { m.beginOne(m.aKey()) }

// beginOne begins the computation of a key that has been started, if there is one.
func (m *model) beginOne(key string) {
	i := slices.IndexFunc(m.shared, func(r *modelRun) bool { return r.key == key && r.started && !r.begun })
	if i < 0 {
		return
	}
	r := m.shared[i]
	next, ok := m.fs.Begin(key, r.run)
	switch {
	case ok != (r.callers > 0):
		m.Fatalf("it has %d callers", r.callers)
	case ok:
		<-r.Started
		r.begun, r.born = true, m.age
	default:
		m.hasEnded(r, next)
	}
}

func (m *model) FinishShared(*rapid.T) {
	r := one(m, slices.DeleteFunc(slices.Clone(m.shared), func(r *modelRun) bool { return !r.begun }))
	next, alone := m.fs.Finish(r.key, r.run, func() {})
	if alone != (r.callers == 0) {
		m.Fatalf("it has %d callers", r.callers)
	}
	m.hasEnded(r, next)
}

// hasEnded notes the end of a computation, and the start of the one that follows it.
func (m *model) hasEnded(r *modelRun, next *run) {
	<-r.Done
	m.shared = remove(m.shared, r)
	if next != nil {
		m.runOf(m.shared, next).started = true
	}
	m.oneRuns(r.key)
}

func (m *model) Detach(*rapid.T) {
	key := m.aKey()
	if rapid.Bool().Draw(m.T, "by function") {
		m.fs.DetachAll(func(k string) bool { return k == key })
	} else {
		m.fs.Detach(key)
	}
	m.invalid[key], m.closed[key] = m.age, m.age
}

func (m *model) Outdate(*rapid.T) {
	key := m.aKey()
	m.fs.Outdate(func(k string) bool { return k == key })
	m.closed[key] = m.age
	if r, _ := m.fs.HolderOf(key); r != nil {
		m.Fatal("a caller that cannot ask Redis joins what began before the invalidation")
	}
}

// Check is called after each operation.
func (m *model) Check(*rapid.T) { m.age++ }

// end ends everything.
func (m *model) end() {
	for _, f := range m.flights {
		m.fs.Land(f.key, f.flight, true, nil)
	}
	for _, r := range m.leased {
		m.fs.Finish(r.key, r.run, func() {})
	}
	for rounds := 0; len(m.shared) > 0; rounds++ {
		i := slices.IndexFunc(m.shared, func(r *modelRun) bool { return r.started })
		if i < 0 || rounds > 2*m.age {
			m.Fatal("a computation that collects callers was forgotten")
		}
		if r := m.shared[i]; r.begun {
			next, _ := m.fs.Finish(r.key, r.run, func() {})
			m.hasEnded(r, next)
		} else {
			m.beginOne(r.key)
		}
	}
	if n := m.fs.Len(); n > 0 {
		m.Fatalf("%d keys are left", n)
	}
}

func TestCallersJoinOnlyWhatMayAnswerThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{T: t, age: 1, invalid: make(map[string]int), closed: make(map[string]int)}
		actions := map[string]func(*rapid.T){
			"": m.Check, "board": m.Board, "leave": m.Leave, "land": m.Land, "abandon": m.Abandon, "lead": m.Lead,
			"expire": m.Expire, "lose": m.Lose, "settle": m.Settle, "finish": m.Finish, "computing": m.Computing, "holder": m.HolderOf,
			"joinable": m.Joinable, "share": m.Share, "start": m.Start, "quit": m.Quit, "begin": m.Begin, "finish shared": m.FinishShared,
			"detach": m.Detach, "outdate": m.Outdate,
		}
		t.Repeat(actions)
		m.end()
	})
}
