package fncachedebug

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// functions are what the templates call.
var functions = template.FuncMap{
	"count": count, "dur": dur, "seconds": seconds, "rate": rate, "percent": percent, "bytes": size, "style": embedded("style.css"), "script": embedded("refresh.js"),
	"clock": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
	"ago":   ago,
	"tail":  tail,
	"f1":    func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) },
}

// embedded returns a file of this package as text that a template may write as it is.
func embedded(name string) func() any {
	return func() any {
		text, _ := files.ReadFile(name)
		if name == "style.css" {
			return template.CSS(text) //nolint:gosec // our own file
		}
		return template.JS(text) //nolint:gosec // our own file
	}
}

// count writes a number with a comma after each three digits, and from a million on with its unit.
func count(number any) string {
	n, err := strconv.ParseUint(fmt.Sprint(number), 10, 64)
	switch {
	case err != nil:
		return fmt.Sprint(number)
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	default:
		return fmt.Sprint(n)
	}
}

// dur writes a duration with about three digits.
func dur(d time.Duration) string {
	switch {
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second && d%time.Second != 0:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// tail returns what differs between the keys of a function: the hash of the arguments.
func tail(key string) string {
	head, _, _ := strings.Cut(key, "}")
	return head[strings.LastIndexByte(head, ':')+1:]
}

// ago writes how long ago something was, in whole seconds.
func ago(t time.Time) string {
	if d := time.Since(t); d >= time.Second {
		return dur(d.Truncate(time.Second)) + " ago"
	}
	return "just now"
}

func seconds(s float64) string { return dur(time.Duration(s * float64(time.Second))) }

// rate writes calls per second, always with one digit after the point below 1,000.
func rate(x float64) string {
	if x >= 1000 {
		return count(uint64(x))
	}
	return fmt.Sprintf("%.1f", x)
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return count(n) + " bytes"
	}
}
