package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// clean returns a text as a terminal may show it. Texts with control characters, escape
// sequences, marks that change the direction of writing, or invalid UTF-8 are quoted: keys and
// the texts of errors may come from untrusted clients.
func clean(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return strconv.Quote(text)
		}
	}
	return text
}

// show prints a value as JSON, or as the rows of a table.
func (a *app) show(value any, head []string, rows [][]string) error {
	if a.flags.Format == "json" {
		return a.showJSON(value, "  ")
	}
	return table(a.out, head, rows)
}

// showJSON prints a value as JSON. It escapes characters that a terminal must not get.
func (a *app) showJSON(value any, indent string) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := a.out.Write(printable(b.Bytes()))
	return err
}

// printable escapes the characters in JSON that are not printable. They occur only in strings,
// except line feeds.
func printable(text []byte) []byte {
	var out []byte
	for _, r := range string(text) {
		switch {
		case r == '\n' || strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// table prints rows below a row of headings.
func table(out io.Writer, head []string, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		if len(row) > 0 {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	}
	return w.Flush()
}

// short returns a duration in a form for tables.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Minute:
		return strings.TrimSuffix(strings.TrimSuffix(d.Round(time.Second).String(), "0s"), "0m")
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// seconds returns a duration in a form for JSON.
func seconds(d time.Duration) float64 { return d.Seconds() }

// A meter shows progress on a terminal, in one line that is overwritten. On other outputs it
// shows nothing.
type meter struct {
	out  io.Writer
	last time.Time
	used bool
}

func (a *app) meter() *meter {
	if !a.progress {
		return &meter{}
	}
	return &meter{out: a.err}
}

// step shows a text, at most ten times a second.
func (m *meter) step(format string, args ...any) {
	if m.out == nil || time.Since(m.last) < 100*time.Millisecond {
		return
	}
	m.last, m.used = time.Now(), true
	fmt.Fprintf(m.out, "\r\x1b[K"+format, args...)
}

// end removes the line.
func (m *meter) end() {
	if m.used {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}
