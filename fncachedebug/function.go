package fncachedebug

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"
)

// A functionPage shows one function.
type functionPage struct {
	Name      string           `json:"name"`
	Types     string           `json:"types"`
	Codec     string           `json:"codec"`
	Wrapped   string           `json:"wrapped,omitempty"`
	Options   []operate.Option `json:"options"`
	Stats     fncache.Stats    `json:"stats"`
	Shares    []share          `json:"shares"`
	Rate      float64          `json:"calls_per_second"`
	Computing int              `json:"computing"`
	Median    time.Duration    `json:"cost_median_ns"`
	P99       time.Duration    `json:"cost_p99_ns"`
	Step      float64          `json:"step_seconds"`
	Steps     []counts         `json:"steps"` // the oldest first
	Hot       []hotKey         `json:"hottest_keys"`
	Dear      []dearKey        `json:"most_expensive_keys"`
	Errors    []failing        `json:"errors"`
	Followed  bool             `json:"keys_followed"`

	Chart   chart    `json:"-"`
	Now     string   `json:"-"` // a link to the page of all functions
	Params  []string `json:"-"`
	Example string   `json:"-"` // of arguments
	Find    string   `json:"-"`
	Actions []offer  `json:"-"`
}

// function makes the page of a function.
func (v *visit) function(c *collector) (*functionPage, error) {
	g, err := v.findFunction(c)
	if err != nil {
		return nil, err
	}
	about := c.operator.About(g.funcs[0])
	p := &functionPage{
		Name: g.name, Types: about.Types, Codec: about.Codec, Wrapped: c.wrapped(g), Options: about.Options, Stats: g.stats,
		Shares: sharesOf(&g.stats), Computing: g.computing(c.operator.Computing()), Step: step.Seconds(),
		Now: v.to("now"), Find: v.query.Get("cache"),
	}
	var examples []string
	for _, t := range about.Params {
		p.Params = append(p.Params, t.String())
		examples = append(examples, exampleOf(t))
	}
	p.Example = "[" + strings.Join(examples, ", ") + "]"
	if t := c.known(g.name); t != nil {
		p.Rate, p.Median, p.P99 = t.rate(time.Now(), g.stats), t.percentile(0.5), t.percentile(0.99)
		t.mu.Lock()
		p.Steps, p.Hot, p.Dear, p.Errors = slices.Clone(t.ring), t.hot.hot(), slices.Clone(t.dear), slices.Clone(t.fails)
		p.Followed = t.hot != nil
		t.mu.Unlock()
	}
	for i := range p.Hot {
		p.Hot[i].To = v.to("key", "key", p.Hot[i].Key)
	}
	for i := range p.Dear {
		p.Dear[i].To = v.to("key", "key", p.Dear[i].Key)
	}
	slices.SortFunc(p.Errors, func(a, b failing) int { return b.Last.Compare(a.Last) })
	for i := range p.Errors {
		if !v.opts.ShowValues {
			p.Errors[i].Text = ""
		}
	}
	p.Chart = chartOf(p.Steps)
	p.Actions = v.offers(Action{Kind: Clear, Cache: c.cache, Function: g.name})
	return p, nil
}

// mostPlaces bounds the places that a page shows.
const mostPlaces = 5

// wrapped returns where the functions of a group were wrapped.
func (k *collector) wrapped(g *group) string {
	var places []string
	for _, f := range g.funcs {
		if at := k.operator.About(f).Wrapped; at != "" && !slices.Contains(places, at) {
			places = append(places, at)
		}
		if len(places) == mostPlaces {
			places = append(places, "and others")
			break
		}
	}
	return strings.Join(places, ", ")
}

// exampleOf returns a value of a type as JSON.
func exampleOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return `"text"`
	case reflect.Bool:
		return "true"
	case reflect.Slice, reflect.Array:
		return "[" + exampleOf(t.Elem()) + "]"
	case reflect.Struct, reflect.Map:
		return "{}"
	default:
		return "7"
	}
}

// --- Shares and the chart ---

// A share is the part of calls with one kind of answer.
type share struct {
	Kind  string  `json:"kind"`
	Count uint64  `json:"count"`
	Part  float64 `json:"part"` // of 1
	X, W  float64 `json:"-"`    // where it is drawn, in percent
}

// kinds are the kinds of answers, in the order of counts.all.
var kinds = [8]string{"near", "fresh", "stale", "waited", "computed", "bypassed", "refused", "failed"}

// answers returns the calls of each of the kinds.
func answers(s *fncache.Stats) [len(kinds)]uint64 {
	return [...]uint64{s.Near, s.Fresh, s.Stale, s.Waited, s.Computed, s.Bypassed, s.Refused, s.Failed}
}

func sharesOf(s *fncache.Stats) (all []share) {
	total := 0.0
	for _, n := range answers(s) {
		total += float64(n)
	}
	x := 0.0
	for i, n := range answers(s) {
		if n > 0 {
			part := float64(n) / total
			all = append(all, share{kinds[i], n, part, 100 * x, 100 * part})
			x += part
		}
	}
	return all
}

// A chart is the last ten minutes, drawn with a column for each step.
type chart struct {
	Columns []column
	Most    float64 // calls per second, at the top
	Width   int
	Text    string // for readers who do not see it
	Empty   bool
}

type column struct {
	X     int
	Title string
	Parts []bar
}

type bar struct {
	Kind string
	Y, H float64
}

// The chart is drawn in this frame.
const (
	columnWidth = 10
	chartHeight = 120
)

// chartOf draws steps, the newest at the right.
func chartOf(all []counts) chart {
	c := chart{Width: steps * columnWidth, Empty: true}
	most, calls, computed := uint64(0), uint64(0), uint64(0)
	for _, s := range all {
		most = max(most, s.total())
		calls += s.total()
		computed += uint64(s.Computed)
	}
	c.Most = nice(float64(most) / step.Seconds())
	c.Empty = calls == 0
	c.Text = fmt.Sprintf("%d calls in the last %v, %d computed; at most %.1f calls per second", calls, time.Duration(len(all))*step, computed, float64(most)/step.Seconds())
	for i, s := range all {
		ago := time.Duration(len(all)-1-i) * step
		col := column{X: (steps - len(all) + i) * columnWidth, Title: fmt.Sprintf("%v ago: %.1f calls per second", ago, float64(s.total())/step.Seconds())}
		y := float64(chartHeight)
		for kind, n := range s.all() {
			if n > 0 {
				h := float64(n) / step.Seconds() / c.Most * chartHeight
				y -= h
				col.Parts = append(col.Parts, bar{kinds[kind], y, h})
				col.Title += fmt.Sprintf("; %s %d", kinds[kind], n)
			}
		}
		c.Columns = append(c.Columns, col)
	}
	return c
}

// nice returns a round number that is x or more.
func nice(x float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, times := range []float64{1, 2, 5} {
			if x <= unit*times {
				return unit * times
			}
		}
	}
}
