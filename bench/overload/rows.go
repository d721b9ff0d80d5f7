package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fncache/fncache/bench/internal/measure"
)

// A row is one load in one form.
type row struct {
	Scene     string
	What      string
	Condition string
	Keys      int
	Detail    string
	report
	Bare   time.Duration // the same work by bare commands; 0: there is none
	Limits []measure.Aim
}

func (r *row) limit(what string, measured, most float64) {
	r.Limits = append(r.Limits, measure.AtMost(r.name()+": "+what, most, measured))
}

func (r *row) least(what string, measured, least float64) {
	r.Limits = append(r.Limits, measure.AtLeast(r.name()+": "+what, least, measured))
}

// allStored is the aim of a load on a cold cache.
func (r *row) allStored() {
	r.least("stored", float64(r.Stored), float64(r.Keys))
	r.noneFailed()
}

func (r *row) noneFailed() { r.limit("calls that failed", float64(r.Failed), 0) }

func (r *row) name() string {
	if r.Condition == idle.name {
		return r.What
	}
	return r.What + ", " + r.Condition
}

// aims are the limits of a row.
func (r *row) aims() []measure.Aim { return r.Limits }

// ratio returns the time of the load divided by that of the bare commands.
func (r *row) ratio() float64 {
	if r.Bare == 0 {
		return 0
	}
	return r.Took.Seconds() / r.Bare.Seconds()
}

func (r *row) met() bool { return measure.Missed(r.Limits) == nil }

// print writes the table, the remarks about rows, and the missed aims.
func (o *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %d cores\n\n", o.Command, o.Go, o.Cores)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tload\tmachine\tcalls\tcomputed\tstored\trefused\tfailed\ttime\tbare\tx bare\terrors")
	for _, r := range o.Rows {
		verdict, bare, times, took := "met", "", "", round(r.Took).String()
		if !r.met() {
			verdict = "MISSED"
		}
		if r.Bare > 0 {
			bare, times = round(r.Bare).String(), fmt.Sprintf("%.2f", r.ratio())
		}
		if !r.Done {
			took = "> " + took
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", verdict, r.What, r.Condition,
			r.Calls, r.Computations, r.Stored, r.Refused, r.Failed, took, bare, times, r.Errors)
	}
	_ = t.Flush()
	for _, r := range o.Rows {
		r.remark(w)
	}
	fmt.Fprintf(w, "\nAims\n")
	for _, a := range o.Aims {
		fmt.Fprintf(w, "  %v\n", a)
	}
}

// remark writes details that do not fit into the table.
func (r *row) remark(w io.Writer) {
	var remarks []string
	if r.Detail != "" {
		remarks = append(remarks, r.Detail)
	}
	if r.Failure != "" {
		remarks = append(remarks, "a failure: "+r.Failure)
	}
	for _, line := range slices.Sorted(maps.Keys(r.Log)) {
		remarks = append(remarks, fmt.Sprintf("logged %d times: %s", r.Log[line], line))
	}
	if len(remarks) > 0 {
		fmt.Fprintf(w, "\n%s\n  %s\n", r.name(), strings.Join(remarks, "\n  "))
	}
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mega(bytes int) float64 { return float64(bytes) / (1 << 20) }
