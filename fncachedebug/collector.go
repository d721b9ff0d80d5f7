package fncachedebug

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"
)

// A collector keeps what the pages show of a cache and the cache does not keep itself: the last
// ten minutes of each function, its hottest and most expensive keys, the times of its computations,
// and its errors.
type collector struct {
	cache    *fncache.Cache
	operator operate.Operator
	began    time.Time
	tracks   sync.Map     // name of a function → *track
	sketches atomic.Int32 // how many tracks have sketches

	pinging sync.Mutex // guards the field below, and is held while Redis is asked
	ping    pinged
}

const (
	step  = 10 * time.Second // of the chart
	steps = 60               // of the chart: ten minutes

	// sampled: one lookup of this number is counted for the hottest keys.
	sampled = 8
	// mostSketches bounds the functions whose keys are followed.
	mostSketches = 1000
	// maxErrorTypes bounds the types of errors of a function.
	maxErrorTypes = 16
	// pingAgain is how long the answer of a Ping is shown.
	pingAgain = 5 * time.Second
)

// newCollector begins to watch a cache.
func newCollector(c *fncache.Cache, o operate.Operator) *collector {
	k := &collector{cache: c, operator: o, began: time.Now()}
	for _, g := range k.functions() {
		if g.stats.Calls > 0 {
			k.track(g.name).last = g.stats
		}
	}
	o.Watch(k)
	o.Go(k.run)
	return k
}

// A group has the functions of a name. They share entries, so the pages show them as one.
type group struct {
	name  string
	funcs []*fncache.Func // at least one
	stats fncache.Stats   // of all
}

// functions returns the functions of this process, by their names, in no order.
func (k *collector) functions() (all []*group) {
	byName := make(map[string]*group)
	for _, f := range k.operator.Functions() {
		fn := f.(*fncache.Func)
		name := fn.Name()
		if g := byName[name]; g != nil {
			g.funcs, g.stats = append(g.funcs, fn), g.stats.Add(fn.Stats())
			continue
		}
		g := &group{name, []*fncache.Func{fn}, fn.Stats()}
		byName[name], all = g, append(all, g)
	}
	return all
}

// computing returns how many entries the functions of a group compute.
func (g *group) computing(under map[any]int) (n int) {
	for _, f := range g.funcs {
		n += under[f]
	}
	return n
}

// run takes a step of each function's chart again and again, until the cache is closed.
func (k *collector) run(closing <-chan struct{}) {
	ticks := time.NewTicker(step)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			k.tick(time.Now())
		case <-closing:
			return
		}
	}
}

// tick takes a step. Functions that were never called have no track.
func (k *collector) tick(now time.Time) {
	known := make(map[any]bool)
	for _, g := range k.functions() {
		known[g.name] = true
		if k.known(g.name) != nil || g.stats.Calls > 0 {
			k.track(g.name).tick(now, g.stats)
		}
	}
	k.tracks.Range(func(name, t any) bool {
		if !known[name] { // it was unwrapped
			k.tracks.Delete(name)
			t := t.(*track)
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.hot != nil {
				k.sketches.Add(-1)
			}
		}
		return true
	})
}

// track returns the track of the functions of a name.
func (k *collector) track(name string) *track {
	if t := k.known(name); t != nil {
		return t
	}
	t, _ := k.tracks.LoadOrStore(name, &track{at: time.Now()})
	return t.(*track)
}

// known returns the track of the functions of a name; nil if there is none.
func (k *collector) known(name string) *track {
	t, _ := k.tracks.Load(name)
	found, _ := t.(*track)
	return found
}

// LookedUp implements operate.Watcher. Most lookups cost one random number.
func (k *collector) LookedUp(f any, key string) {
	if rand.Uint32()%sampled != 0 {
		return
	}
	t := k.track(f.(*fncache.Func).Name())
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.sketching(t) {
		t.hot.count(key)
	}
}

// sketching reports whether the keys of a function are followed. t.mu is held.
func (k *collector) sketching(t *track) bool {
	if t.hot == nil {
		if k.sketches.Add(1) > mostSketches {
			k.sketches.Add(-1)
			return false
		}
		t.hot = newSketch()
	}
	return true
}

// Computed implements operate.Watcher.
func (k *collector) Computed(f any, key string, cost time.Duration, err error) {
	t := k.track(f.(*fncache.Func).Name())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.costs[bucketOf(cost)]++
	if k.sketching(t) {
		t.dear.add(key, cost, time.Now())
	}
	if err != nil {
		t.fail(err, time.Now())
	}
}

// A track is what is kept of the functions of a name.
type track struct {
	mu    sync.Mutex // guards the fields below
	last  fncache.Stats
	at    time.Time // of last
	ring  []counts  // the steps, the oldest first; at most steps of them
	costs [buckets]uint64
	hot   *sketch // nil: not followed, or not looked up yet
	dear  dearest
	fails []failing
}

// counts are the calls of one step, by how they were answered.
type counts struct {
	Near     uint32 `json:"near"`
	Fresh    uint32 `json:"fresh"`
	Stale    uint32 `json:"stale"`
	Computed uint32 `json:"computed"`
	Waited   uint32 `json:"waited"`
	Refused  uint32 `json:"refused"`
	Failed   uint32 `json:"failed"`
	Bypassed uint32 `json:"bypassed"`
}

func (c counts) total() uint64 {
	var n uint64
	for _, part := range c.all() {
		n += uint64(part)
	}
	return n
}

// all returns the counts in the order in which they are drawn.
func (c counts) all() [8]uint32 {
	return [8]uint32{c.Near, c.Fresh, c.Stale, c.Waited, c.Computed, c.Bypassed, c.Refused, c.Failed}
}

// between returns the calls between two readings. A counter that has gone back counts as 0.
func between(a, b fncache.Stats) counts {
	less := func(x, y uint64) uint32 { return uint32(min(max(y, x)-x, math.MaxUint32)) }
	return counts{
		less(a.Near, b.Near), less(a.Fresh, b.Fresh), less(a.Stale, b.Stale), less(a.Computed, b.Computed),
		less(a.Waited, b.Waited), less(a.Refused, b.Refused), less(a.Failed, b.Failed), less(a.Bypassed, b.Bypassed),
	}
}

// tick adds a step.
func (t *track) tick(now time.Time, s fncache.Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ring) == steps {
		copy(t.ring, t.ring[1:])
		t.ring = t.ring[:steps-1]
	}
	t.ring = append(t.ring, between(t.last, s))
	t.last, t.at = s, now
	t.hot.fade()
}

// rateSteps is over how many steps the calls per second are taken.
const rateSteps = 3

// rate returns the calls per second, over the last steps and what came after them.
func (t *track) rate(now time.Time, s fncache.Stats) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls, took := between(t.last, s).total(), now.Sub(t.at)
	for i := len(t.ring) - 1; i >= max(0, len(t.ring)-rateSteps); i-- {
		calls += t.ring[i].total()
		took += step
	}
	if took < time.Second {
		took = time.Second
	}
	return float64(calls) / took.Seconds()
}

// A failing is an error type that computations of a function ended with.
type failing struct {
	Type  string    `json:"type"`
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
	Text  string    `json:"text,omitempty"` // of the last, if values are shown
}

// otherErrors collects what comes after maxErrorTypes.
const otherErrors = "other types"

// fail counts an error by the type of what it wraps.
func (t *track) fail(err error, now time.Time) {
	name := typeOf(err)
	for i := range t.fails {
		if f := &t.fails[i]; f.Type == name || i == maxErrorTypes-1 {
			if f.Type != name {
				f.Type = otherErrors
			}
			f.Count, f.Last, f.Text = f.Count+1, now, textOf(err)
			return
		}
	}
	t.fails = append(t.fails, failing{name, 1, now, textOf(err)})
}

// typeOf returns the types of an error and of what it wraps, without texts, which may quote
// arguments.
func typeOf(err error) string {
	name := fmt.Sprintf("%T", err)
	for range 4 {
		if err = errors.Unwrap(err); err == nil {
			break
		}
		name += " of " + fmt.Sprintf("%T", err)
	}
	return name
}

// textOf returns the text of an error. It survives an Error method that panics.
func textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "its Error method panics"
		}
	}()
	text = err.Error()
	return text[:min(len(text), 300)]
}

// --- Times of computations ---

// The times are counted in buckets that grow by the fourth root of 2, so a percentile is right to
// a tenth.
const (
	buckets   = 100
	perOctave = 4
	smallest  = 50 * time.Microsecond
)

func bucketOf(d time.Duration) int {
	if d <= smallest {
		return 0
	}
	return min(buckets-1, int(math.Ceil(perOctave*math.Log2(float64(d)/float64(smallest)))))
}

// percentile returns the time below which the share p of computations stayed; 0 if there were none.
func (t *track) percentile(p float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var total, so uint64
	for _, n := range t.costs {
		total += n
	}
	for i, n := range t.costs {
		if so += n; n > 0 && float64(so) >= p*float64(total) {
			return time.Duration(float64(smallest) * math.Exp2((float64(i)-0.5)/perOctave))
		}
	}
	return 0
}
