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
	length   = flag.Duration("length", 4*time.Second, "how long the clients of a round work")
	keep     = flag.String("keep", "", "where to keep the records of a round that breaks a rule (default: the temporary directory)")
)

func TestMain(m *testing.M) {
	if RunWorker() {
		return
	}
	os.Exit(m.Run())
}

// library is the directory of the module that is tested.
const library = ".."

// An outcome is what a round has shown.
type outcome struct {
	plan    plan
	events  []event
	broken  []violation
	draw    map[string]func(path string) error // of cells without an order
	ordered int                                // cells whose replies have an order
	unknown int                                // cells that took too long to tell
	dir     string
}

// run runs a round and checks it.
func run(t *testing.T, server *redistest.Server, p plan, mutate *mutant) outcome {
	t.Helper()
	s, err := loadScripts(library, mutate)
	require.NoError(t, err)
	o := outcome{plan: p, dir: t.TempDir(), draw: map[string]func(string) error{}}
	o.events, err = runRound(p, s, server, server.Client(), o.dir)
	require.NoError(t, err, "seed %d", p.Seed)
	o.broken = check(&p, o.events)
	return o
}

// order looks for an order of the replies. It may take long where there is none,
// and there is no need for it where a rule is broken.
func (o *outcome) order() {
	if o.plan.MaxRetries > 0 || len(o.broken) > 0 {
		return // a command that may be executed more than once is no operation
	}
	x := newIndex(&o.plan, o.events)
	for _, name := range x.names() {
		broken, drawing, known := x.checkOrder(x.cells[name], 10*time.Second)
		switch {
		case broken != nil:
			o.broken = append(o.broken, *broken)
			o.draw[name] = drawing
		case known:
			o.ordered++
		default:
			o.unknown++
		}
	}
}

// String is a round in a line.
func (o *outcome) String() string {
	count := map[kind]int{}
	sources := map[string]int{}
	for _, e := range o.events {
		count[e.Kind]++
		if e.Kind == callEnds {
			sources[e.Source]++
		}
	}
	return fmt.Sprintf("seed %d: %d calls %v, %d computations, %d invalidations, %d commands, %d notes; replies in order: %d cells, too many orders to tell: %d",
		o.plan.Seed, count[callBegins], sources, count[computeBegins], count[invalidateBegins], count[commandSent], count[note], o.ordered, o.unknown)
}

// report fails the test with what was broken, and keeps the records.
func (o *outcome) report(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp(*keep, fmt.Sprintf("fncache-history-%d-", o.plan.Seed))
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, os.DirFS(o.dir)))
	for name, draw := range o.draw {
		assert.NoError(t, draw(filepath.Join(dir, name+".html")))
	}
	var text strings.Builder
	for i, v := range o.broken {
		if i == 10 {
			fmt.Fprintf(&text, "... %d in all\n", len(o.broken))
			break
		}
		text.WriteString(v.String())
	}
	t.Fatalf("seed %d breaks rules; its records are in %s\nonce more: make soak SEED=%d DURATION=1s\n%s", o.plan.Seed, dir, o.plan.Seed, &text)
}

// TestHistories runs rounds, and checks each.
func TestHistories(t *testing.T) {
	server := redistest.Start(t)
	end := time.Now().Add(*duration)
	for n := *seed; ; n++ {
		o := run(t, server, newPlan(n, *length), nil)
		o.order()
		t.Log(&o)
		if len(o.broken) > 0 {
			o.report(t)
		}
		if time.Now().After(end) {
			return
		}
	}
}

// TestMutants takes one guard out of a script at a time, and demands that the
// rule that rests on it is seen to be broken.
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
						return
					}
				}
			}
			t.Errorf("not caught: %s", m.caught)
		})
	}
}
