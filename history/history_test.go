package history

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

var (
	duration = flag.Duration("duration", 6*time.Second, "how long TestHistories goes on")
	seed     = flag.Uint64("seed", 1, "the seed of its first round; the next has the next number")
	length   = flag.Duration("length", 12*time.Second, "how long the clients of a round work")
	keep     = flag.String("keep", "", "where to keep the records of a round that breaks a rule (default: the temporary directory)")
	recheck  = flag.String("check", "", "a directory of records that were kept: TestHistories checks them again, and runs nothing")
)

func TestMain(m *testing.M) {
	if RunWorker() {
		return
	}
	os.Exit(m.Run())
}

// library is the directory of the module that is tested.
const library = ".."

// An outcome is the result of a round.
type outcome struct {
	plan   plan
	events []event
	broken []violation
	draw   map[string]func(path string) error // of cells without an order
	tally  tally
	dir    string
}

// run runs a round and checks it.
func run(t *testing.T, server *redistest.Server, p plan, mutate *mutant) outcome {
	t.Helper()
	s, err := loadScripts(library, mutate)
	require.NoError(t, err)
	dir := t.TempDir()
	events, err := runRound(p, s, server, server.Client(), dir)
	if err != nil {
		t.Fatalf("seed %d: %v; its records are in %s", p.Seed, err, keepRecords(t, p.Seed, dir))
	}
	return judge(p, events, dir)
}

// judge checks the records of a round, except the order of replies.
func judge(p plan, events []event, dir string) outcome {
	o := outcome{plan: p, events: events, dir: dir, draw: map[string]func(string) error{}}
	o.broken, o.tally = check(&p, events)
	return o
}

// orderTime is how long porcupine may search for the order of a piece of a history. Most pieces
// take some milliseconds.
const orderTime = 2 * time.Second

// order searches for an order of the replies. It may take long if there is none, and is skipped if
// a rule is broken.
func (o *outcome) order() {
	if len(o.broken) > 0 {
		return
	}
	x := newIndex(&o.plan, o.events)
	for _, name := range x.names() {
		found, broken, drawing := x.checkOrder(x.cells[name], orderTime)
		o.tally.orders.add(found)
		o.tally.judged[ruleOrder] += found.ordered
		if broken != nil {
			o.broken = append(o.broken, *broken)
			o.draw[name] = drawing
		}
	}
}

// String returns a round in one line.
func (o *outcome) String() string {
	count := map[kind]int{}
	sources := map[string]int{}
	for _, e := range o.events {
		count[e.Kind]++
		if e.Kind == callEnds {
			sources[e.Source]++
		}
	}
	return fmt.Sprintf("seed %d: %d calls %v, %d computations, %d invalidations, %d commands, %d notes",
		o.plan.Seed, count[callBegins], sources, count[computeBegins], count[invalidateBegins], count[commandSent], count[note])
}

// keepRecords copies the records of a round to a place where they outlive the test.
func keepRecords(t *testing.T, seed uint64, from string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(*keep, fmt.Sprintf("fncache-history-%d-", seed))
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	return dir
}

// report fails the test with the violations, and keeps the records.
func (o *outcome) report(t *testing.T) {
	t.Helper()
	dir := o.dir
	if *recheck == "" {
		dir = keepRecords(t, o.plan.Seed, dir)
	}
	for name, draw := range o.draw {
		assert.NoError(t, draw(filepath.Join(dir, name+".html")))
	}
	var text strings.Builder
	for i, v := range o.broken {
		if i == 10 {
			fmt.Fprintf(&text, "... %d in total\n", len(o.broken))
			break
		}
		text.WriteString(v.String())
	}
	t.Fatalf("seed %d breaks rules; its records are in %s\nto check them again: make soak CHECK=%s\na round with the same decisions: make soak SEED=%d DURATION=1s\n%s",
		o.plan.Seed, dir, dir, o.plan.Seed, &text)
}

// mostRounds is how many rounds a run may add past its time, on a machine so slow that some
// rule has judged nothing yet.
const mostRounds = 5 * leastRounds

// TestHistories runs rounds and checks each, or checks kept records.
func TestHistories(t *testing.T) {
	all := newTally()
	defer func() { t.Log(&all) }()
	if *recheck != "" {
		p, events, err := readRound(*recheck)
		require.NoError(t, err)
		o := judge(p, events, *recheck)
		o.finish(t, &all)
		return
	}
	long := *duration >= time.Minute // long enough to show something of every rule
	server := redistest.Start(t)
	end := time.Now().Add(*duration)
	for n := *seed; time.Now().Before(end) || long && n < *seed+mostRounds && len(all.lacks()) > 0; n++ {
		o := run(t, server, newPlan(n, *length), nil)
		o.finish(t, &all)
	}
	if long {
		assert.Empty(t, all.lacks(), "this run shows too little")
	}
}

// finish searches for orders too, and reports the result of the round.
func (o *outcome) finish(t *testing.T, all *tally) {
	t.Helper()
	o.order()
	all.add(o.tally)
	t.Log(o)
	if len(o.broken) > 0 {
		o.report(t)
	}
}

// TestMutants removes one guard from a script at a time, and requires a violation of the rule
// that rests on it.
func TestMutants(t *testing.T) {
	for i := range mutants {
		m := &mutants[i]
		t.Run(m.name, func(t *testing.T) {
			server := redistest.Start(t)
			for n := range uint64(20) {
				p := mutants[i].plan(100 + n)
				o := run(t, server, p, m)
				t.Log(&o)
				for _, v := range o.broken {
					if v.rule == m.caught {
						t.Logf("caught with seed %d:\n%s", p.Seed, v)
						kept, events, err := readRound(o.dir)
						require.NoError(t, err)
						again := judge(kept, events, o.dir)
						assert.Equal(t, o.broken, again.broken, "the records, judged again")
						return
					}
				}
			}
			t.Errorf("not caught: %s", m.caught)
		})
	}
}
