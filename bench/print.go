package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/fncache/fncache/bench/internal/peers"
)

// print writes the tables.
func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %d cores; popularity: %s\n", r.About.Command, r.About.Go, r.About.Cores, r.About.Popularity)
	const inCells = "time per hit, times that of bare go-redis (microseconds of wall clock, all callers together)"
	printWarm(w, "Warm, remote: "+inCells, r.WarmRemote)
	printWarm(w, "Warm, near: "+inCells, r.WarmNear)
	printStampede(w, "Cold stampede", r.ColdStampede)
	printStampede(w, "Stale stampede", r.StaleStampede)
	printStorm(w, r.Storm)
	printScale(w, r.Scale)
	if len(r.Aims) > 0 {
		fmt.Fprintf(w, "\nAims\n")
	}
	for _, a := range r.Aims {
		fmt.Fprintf(w, "  %v\n", a)
	}
}

// A table has aligned columns.
type table struct{ lines *tabwriter.Writer }

func newTable(w io.Writer, title string, head ...any) table {
	fmt.Fprintf(w, "\n%s\n", title)
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.row(head...)
	return t
}

func (t table) row(cells ...any) {
	for _, cell := range cells {
		fmt.Fprintf(t.lines, "%v\t", cell)
	}
	fmt.Fprintln(t.lines)
}

func (t table) end() { _ = t.lines.Flush() }

func printWarm(w io.Writer, title string, rows []warmRow) {
	for _, value := range []string{tenValue, bookValue, pageValue} {
		cells := cellsOf(rows, value)
		if len(cells) == 0 {
			continue
		}
		head := []any{"callers, keys:"}
		for _, cell := range cells {
			head = append(head, cell.name())
		}
		t := newTable(w, title+": "+value, append(head, "allocs/hit", "B/hit")...)
		for _, first := range cells[0].rows {
			line := []any{first.label()}
			for _, cell := range cells {
				row, _ := find(cell.rows, first.Peer)
				line = append(line, fmt.Sprintf("%.3g (%.3g)", toBare(row), row.Nanoseconds/1e3))
			}
			t.row(append(line, fmt.Sprintf("%.0f", first.Allocs), fmt.Sprintf("%.0f", first.Bytes))...)
		}
		t.end()
		fmt.Fprintln(w, sharedNote)
	}
}

// toBare returns the ratio of a row's time to that of bare go-redis. It is 1 for bare go-redis
// itself.
func toBare(row warmRow) float64 {
	if row.Peer == peers.Bare {
		return 1
	}
	return row.Ratio[peers.Bare]
}

// A cellRows has the measurements of one cell.
type cellRows struct {
	callers int
	keys    string
	rows    []warmRow
}

func (c cellRows) name() string {
	if c.callers == 1 {
		return "1 caller, " + c.keys
	}
	return fmt.Sprintf("%d callers, %s", c.callers, c.keys)
}

// cellsOf gathers the rows of a value by cell, in the order of measuring.
func cellsOf(rows []warmRow, value string) []cellRows {
	var cells []cellRows
	for _, row := range rows {
		if row.Value != value {
			continue
		}
		last := len(cells) - 1
		if last < 0 || cells[last].callers != row.Callers || cells[last].keys != row.Keys {
			cells = append(cells, cellRows{row.Callers, row.Keys, nil})
			last++
		}
		cells[last].rows = append(cells[last].rows, row)
	}
	return cells
}

func printStampede(w io.Writer, title string, rows []stampedeRow) {
	if len(rows) == 0 {
		return
	}
	t := newTable(w, title, "", "computations", "at most", "commands", "at most", "last answer", "p50", "p99", "old", "new", "refused", "failed")
	for _, row := range rows {
		t.row(row.Peer, row.Computations, row.MostComputations, row.Commands, row.MostCommands, ms(row.LastAnswer), ms(row.P50), ms(row.P99),
			row.Answers.Old, row.Answers.New, row.Answers.Refused, row.Answers.Failed)
	}
	t.end()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

func printStorm(w io.Writer, rows []stormRow) {
	if len(rows) == 0 {
		return
	}
	t := newTable(w, "Invalidation storm", "", "reads", "refused", "stale", "of these > 50ms", "worst", "writes", "retries", "invalidation", "computations")
	for _, row := range rows {
		t.row(row.Peer, row.Reads, row.Refused, row.Stale, row.Late, ms(row.Worst), row.Writes, row.Retries, ms(row.Invalidation), row.Computations)
	}
	t.end()
}

func printScale(w io.Writer, rows []scaleRow) {
	if len(rows) == 0 {
		return
	}
	t := newTable(w, fmt.Sprintf("Scale: keys at random, %d callers", scaleCallers), "", "keys", "hits/s", "time, x bare", "B/entry in Redis", "B/entry in the process")
	for _, peer := range scaledPeers(rows) {
		for _, row := range rows {
			if row.Peer != peer {
				continue
			}
			here := ""
			if row.Local {
				here = fmt.Sprintf("%.0f", row.ProcessBytes)
			}
			t.row(row.Peer, row.Keys, fmt.Sprintf("%.0f", row.HitsPerSec), fmt.Sprintf("%.3g", row.ToBare), fmt.Sprintf("%.0f", row.RedisBytes), here)
		}
	}
	t.end()
}

// scaledPeers returns the peers of the rows, in their order.
func scaledPeers(rows []scaleRow) []string {
	var all []string
	for _, row := range rows {
		if row.Keys == rows[0].Keys {
			all = append(all, row.Peer)
		}
	}
	return all
}
