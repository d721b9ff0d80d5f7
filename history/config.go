package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fncache/fncache"
)

// Times are short, so that a round has many events. No rule relies on how short they are.
const (
	redisTimeout = 50 * time.Millisecond
	freshness    = 200 * time.Millisecond
	timeout      = time.Second
	lease        = 300 * time.Millisecond
	cooldown     = 100 * time.Millisecond
	waitTimeout  = 2 * time.Second
	leftOpen     = time.Second // how long no lease is given after a value could not be stored (settle.go)
)

// A plan is made from a seed. It has everything that is decided before a round begins.
type plan struct {
	Seed    uint64
	Length  time.Duration // how long clients work
	Faulty  time.Duration // how long there are faults; then it is calm, and nothing is excused
	Workers int
	Clients int // of each worker
	Funcs   []funcPlan
	Args    int // of each function: 0 to Args-1

	Faults  []fault       // kinds of faults; none in some rounds
	Calm    time.Duration // the mean time between them
	Work    time.Duration // the mean duration of a computation
	Delay   time.Duration // the mean delay that a link adds to a message
	Down    fncache.DownPolicy
	Failing float64 // the share of computations that fail
	Busy    float64 // the share of operations that are invalidations or changes
}

// A funcPlan is the options of one function.
type funcPlan struct {
	Name        string
	OnCold      fncache.ColdPolicy
	OnStale     fncache.StalePolicy
	OnError     fncache.ErrorPolicy
	SoftTimeout time.Duration
	Near        time.Duration
	Typed       bool // wrapped by Wrap1
	Batch       bool // wrapped by WrapBatch
	BatchSize   int

	// Of functions with tags.
	Tags  []string // Options.Tags; nil: none
	Adds  bool     // it adds a tag that depends on its result
	Calls []int    // the functions that it calls, by their places in plan.Funcs
}

// The tags. All entries of functions with tags have tagAll. Entries for the same argument share a
// tag. The tag that a function adds is shared by results with odd versions, or with even versions.
const tagAll = "all"

func tagOfArg(arg int) string                { return fmt.Sprintf("arg:%d", arg) }
func tagOfVersion(version int64) string      { return fmt.Sprintf("odd:%d", version%2) }
func (f *funcPlan) tagOfCell(arg int) string { return fmt.Sprintf("%s:%d", f.Name, arg) }

// tagsOf returns the tags that the templates of a function give a call.
func (f *funcPlan) tagsOf(arg int) (tags []string) {
	for _, template := range f.Tags {
		tags = append(tags, strings.ReplaceAll(template, "{0}", strconv.Itoa(arg)))
	}
	return tags
}

// setTags gives a function tags. Only one cell has the tag of the last template.
func (f *funcPlan) setTags(adds bool) {
	f.Tags, f.Adds = []string{tagAll, "arg:{0}", f.Name + ":{0}"}, adds
}

// A fault is a kind of disturbance of the workers or of Redis.
type fault string

const (
	faultKill      fault = "kill"      // a worker is killed, and another one takes its place
	faultStop      fault = "stop"      // a worker is stopped with SIGSTOP, and continues
	faultPartition fault = "partition" // messages between some workers and Redis are held back, in one or both directions
	faultRefuse    fault = "refuse"    // the connections of a worker end, and new ones are refused
	faultHang      fault = "hang"      // existing connections hang, and new ones do not
	faultPause     fault = "pause"     // Redis is stopped with SIGSTOP, and continues
	faultRestart   fault = "restart"   // Redis is killed, and another one takes its place, which is empty
	faultFlush     fault = "flush"     // Redis forgets its scripts
	faultEvict     fault = "evict"     // the fence, or one of its own fields, is deleted, or the fence is trimmed
	faultFailover  fault = "failover"  // the fence goes back to its state a moment ago, as if a lagging replica took over
)

var faults = []fault{faultKill, faultStop, faultPartition, faultRefuse, faultHang, faultPause, faultRestart, faultFlush, faultEvict, faultFailover}

// calmAfter is how long it is calm at the end of a round that is long enough. First the excuses of
// the faults end. Then every rule applies in full for some seconds.
const calmAfter = reopened + 3*time.Second

// leastRounds is the number of consecutive seeds that have a round of every kind that a rule
// needs: with near caches, with commands that are sent once, with faults.
const leastRounds = 3

// newPlan draws a plan. A quarter of all seeds has no faults; then only a busy machine can make
// Redis slow. Properties that a rule needs alternate from seed to seed, so that a few rounds are
// enough for all rules.
func newPlan(seed uint64, length time.Duration) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		Seed: seed, Length: length, Faulty: length - min(calmAfter, length/2), Workers: 2 + r.IntN(3), Clients: 3 + r.IntN(4), Args: 3,
		Calm:    []time.Duration{50 * time.Millisecond, 300 * time.Millisecond}[r.IntN(2)],
		Work:    []time.Duration{5 * time.Millisecond, 15 * time.Millisecond, 50 * time.Millisecond}[r.IntN(3)],
		Delay:   []time.Duration{0, time.Millisecond, 3 * time.Millisecond}[r.IntN(3)],
		Failing: []float64{0.05, 0.2, 0.4}[r.IntN(3)],
		Busy:    []float64{0.02, 0.05, 0.15}[r.IntN(3)],
	}
	if seed%4 > 0 {
		// Few kinds at a time: a bug that needs two faults of one kind in short succession then
		// shows more often.
		p.Faults = slices.Clone(faults)
		r.Shuffle(len(faults), func(i, j int) { p.Faults[i], p.Faults[j] = p.Faults[j], p.Faults[i] })
		p.Faults = p.Faults[:1+r.IntN(len(faults))]
	}
	if r.IntN(4) == 0 {
		p.Down = fncache.DownError
	}
	near := seed%3 == 0
	if near && p.Faults == nil {
		p.Delay = 0 // messages about keys would be delayed too; see nearLag
	}
	for i, policy := range []fncache.ColdPolicy{fncache.Fail, fncache.Wait, fncache.Compute} {
		f := funcPlan{Name: fmt.Sprintf("f%d", i), OnCold: policy, Typed: r.IntN(2) == 0}
		if r.IntN(3) == 0 {
			f.OnStale = fncache.Background
		}
		if r.IntN(3) == 0 {
			f.OnError = fncache.ReturnError
		}
		if r.IntN(3) == 0 {
			f.SoftTimeout = 10 * time.Millisecond
		}
		if near {
			f.Near = []time.Duration{freshness / 4, freshness / 2}[r.IntN(2)]
		}
		if i == 1 || r.IntN(2) == 0 {
			f.setTags(r.IntN(2) == 0)
		}
		p.Funcs = append(p.Funcs, f)
	}
	p.Funcs = append(p.Funcs, p.outer(r))
	p.Funcs = append(p.Funcs, p.batch(r))
	return p
}

// batch returns a batch function.
func (p *plan) batch(r *rand.Rand) funcPlan {
	f := funcPlan{
		Name: fmt.Sprintf("f%d", len(p.Funcs)), Batch: true, BatchSize: r.IntN(3),
		OnCold: []fncache.ColdPolicy{fncache.Fail, fncache.Wait, fncache.Wait, fncache.Compute}[r.IntN(4)],
		Near:   p.Funcs[0].Near,
	}
	if r.IntN(3) == 0 {
		f.OnStale = fncache.Background
	}
	if r.IntN(3) == 0 {
		f.OnError = fncache.ReturnError
	}
	if r.IntN(2) == 0 {
		f.setTags(r.IntN(2) == 0)
	}
	return f
}

// outer returns a function that calls all others that have tags, and has one of its own.
func (p *plan) outer(r *rand.Rand) funcPlan {
	f := funcPlan{
		Name: fmt.Sprintf("f%d", len(p.Funcs)), Typed: r.IntN(2) == 0,
		OnCold: []fncache.ColdPolicy{fncache.Fail, fncache.Wait, fncache.Compute}[r.IntN(3)],
		Near:   p.Funcs[0].Near,
	}
	f.Tags = []string{f.Name + ":{0}"}
	for i := range p.Funcs {
		if p.Funcs[i].Tags != nil {
			f.Calls = append(f.Calls, i)
		}
	}
	return f
}

// cell names a function with an argument.
func (p *plan) cell(f, arg int) string { return fmt.Sprintf("%s(%d)", p.Funcs[f].Name, arg) }

// index returns the position of a cell among all cells.
func (p *plan) index(f, arg int) int { return f*p.Args + arg }

// funcOf returns the options of the function of a cell.
func (p *plan) funcOf(cell string) *funcPlan {
	for i := range p.Funcs {
		if len(cell) > len(p.Funcs[i].Name) && cell[:len(p.Funcs[i].Name)] == p.Funcs[i].Name {
			return &p.Funcs[i]
		}
	}
	return nil
}

func (f *funcPlan) options(cache *fncache.Cache) fncache.Options {
	return fncache.Options{
		Cache: cache, Prefix: "history", Name: f.Name,
		Timeout: timeout, Freshness: freshness, Near: f.Near, Lease: lease, Cooldown: cooldown,
		OnCold: f.OnCold, WaitTimeout: waitTimeout,
		OnStale: f.OnStale, OnError: f.OnError, SoftTimeout: f.SoftTimeout,
		Tags: f.Tags, BatchSize: f.BatchSize,
	}
}
