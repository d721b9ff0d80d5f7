package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fncache/fncache"
)

// A result is one act in figures.
type result struct {
	act          string
	computations int
	answers      map[string]int // by fncache.Source
	p50, p99     time.Duration
	commands     int64
	failures     map[string]int // why requests failed
}

func (r result) requests() int {
	n := 0
	for _, answers := range r.answers {
		n += answers
	}
	return n
}

// A tally collects the reports of an act.
type tally struct {
	result
	killed   int     // the process that was, or -1
	answered []int   // requests by process
	commands []int64 // so far, by process
	took     []time.Duration
}

func newTally(act string, processes int) *tally {
	return &tally{
		result:   result{act: act, answers: make(map[string]int), failures: make(map[string]int)},
		killed:   -1,
		answered: make([]int, processes),
		commands: make([]int64, processes),
	}
}

func (t *tally) add(r arrival) {
	if r.Event != eventGone {
		t.commands[r.from] = max(r.Commands, t.commands[r.from]) // reports may overtake each other
	}
	switch r.Event {
	case eventComputing:
		t.computations++
	case eventAnswer:
		t.answered[r.from]++
		t.answers[r.Source]++
		t.took = append(t.took, r.Took)
		if r.Err != "" {
			t.failures[r.Err]++
		}
	}
}

// end gives the result. perProcess is the number of callers of each process. Callers of the
// killed process without an answer died with it.
func (t *tally) end(callers int) result {
	r := t.result
	if t.killed >= 0 {
		if lost := callers - t.answered[t.killed]; lost > 0 {
			r.answers[fncache.SourceFailed.String()] += lost
			r.failures["died with their process"] += lost
		}
	}
	for _, n := range t.commands {
		r.commands += n
	}
	slices.Sort(t.took)
	r.p50, r.p99 = percentile(t.took, 50), percentile(t.took, 99)
	return r
}

// percentile returns the least of the sorted durations that p per cent of them do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1]
}

// A column of the table, with what a reader needs to know about it.
type column struct {
	title  string
	legend string
	cell   func(result) string
}

// answersBy is a column of answers with that source.
func answersBy(source fncache.Source, legend string) column {
	return column{source.String(), legend, func(r result) string { return thousands(r.answers[source.String()]) }}
}

// tableColumns are those of the table. The column waited is shown only if a caller waited.
func tableColumns(waited bool) []column {
	cols := []column{
		{"act", "", func(r result) string { return r.act }},
		{
			"requests", "calls of the function, asking again included; each ends in one of the columns from computed to failed",
			func(r result) string { return thousands(r.requests()) },
		},
		{
			"computations", "how often the slow query was begun, in all processes together",
			func(r result) string { return thousands(r.computations) },
		},
		answersBy(fncache.SourceComputed, "requests that ran the query and got its result"),
		answersBy(fncache.SourceWaited, "requests that waited for another's query and got its result"),
		answersBy(fncache.SourceFresh, "requests that got a value from Redis, younger than its freshness"),
		answersBy(fncache.SourceStale, "requests that got an older value from Redis, while one caller computed it anew"),
		answersBy(fncache.SourceRefused, "requests asked to come again (ErrColdCache; over HTTP 503 with Retry-After: 1): nothing cached, and another computes"),
		answersBy(fncache.SourceFailed, "requests without an answer"),
		{"p50", "half of the requests ended within this time", func(r result) string { return duration(r.p50) }},
		{"p99", "99 in 100 of the requests ended within this time; those that died with their process do not count", func(r result) string { return duration(r.p99) }},
		{
			"Redis commands", "all commands of all processes; a script counts as one, connection set-up does not count",
			func(r result) string { return thousands(int(r.commands)) },
		},
	}
	return slices.DeleteFunc(cols, func(c column) bool { return c.title == fncache.SourceWaited.String() && !waited })
}

// printTable prints a line for each act, and what the columns mean.
func printTable(w io.Writer, results []result) {
	cols := tableColumns(slices.ContainsFunc(results, func(r result) bool { return r.answers[fncache.SourceWaited.String()] > 0 }))
	widths := make([]int, len(cols))
	for i, c := range cols {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, r := range results {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.cell(r)))
		}
	}
	printLine(w, widths, func(i int) string { return cols[i].title })
	printLine(w, widths, func(i int) string { return strings.Repeat("-", widths[i]) })
	for _, r := range results {
		printLine(w, widths, func(i int) string { return cols[i].cell(r) })
	}
	fmt.Fprintln(w)
	for _, c := range cols[1:] {
		fmt.Fprintf(w, "%-*s  %s\n", len("Redis commands"), c.title, c.legend)
	}
	for _, r := range results {
		for _, why := range slices.Sorted(maps.Keys(r.failures)) {
			fmt.Fprintf(w, "%-*s  in act %q %s %s\n", len("Redis commands"), "failed", r.act, thousands(r.failures[why]), why)
		}
	}
}

// printLine prints the cells of a line: the first to the left, figures to the
// right.
func printLine(w io.Writer, widths []int, cell func(int) string) {
	var line strings.Builder
	for i, width := range widths {
		s := cell(i)
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(s))
		if i == 0 {
			line.WriteString(s + pad)
		} else {
			line.WriteString("  " + pad + s)
		}
	}
	fmt.Fprintln(w, line.String())
}

// duration writes a duration with three digits at most.
func duration(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}
