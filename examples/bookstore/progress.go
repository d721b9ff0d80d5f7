package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// A progress shows how far a long task is: as a bar on a terminal, and as a few
// plain lines where the output goes to a file.
type progress struct {
	w        io.Writer
	terminal bool
	label    string
	total    int
	shown    int // per cent
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) begin(label string, total int) {
	p.label, p.total, p.shown = label, total, -1
	p.at(0)
}

// at reports how much of the total is done.
func (p *progress) at(done int) {
	percent := 100 * done / p.total
	step := 25
	if p.terminal {
		step = 1
	}
	if percent == p.shown || percent%step != 0 {
		return
	}
	p.shown = percent
	if !p.terminal {
		fmt.Fprintf(p.w, "%s: %d%%\n", p.label, percent)
		return
	}
	const width = 30
	filled := width * percent / 100
	fmt.Fprintf(p.w, "\r%s [%s%s] %3d%%", p.label, strings.Repeat("=", filled), strings.Repeat(" ", width-filled), percent)
	if percent == 100 {
		fmt.Fprintln(p.w)
	}
}

// thousands writes 3000000 as 3,000,000.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
