package measure

import (
	"errors"
	"fmt"
	"math"
)

// An Aim is a claim, with the figure of a run.
type Aim struct {
	What     string
	Limit    float64
	Measured float64
	AtLeast  bool // Measured must be at least Limit; otherwise at most
	Met      bool
}

// AtMost returns an aim that Measured is at most the limit.
func AtMost(what string, limit, measured float64) Aim {
	return Aim{What: what, Limit: limit, Measured: measured, Met: measured <= limit}
}

// AtLeast returns an aim that Measured is at least the limit.
func AtLeast(what string, limit, measured float64) Aim {
	return Aim{What: what, Limit: limit, Measured: measured, AtLeast: true, Met: measured >= limit}
}

func (a Aim) String() string {
	sign, verdict := "<=", "met"
	if a.AtLeast {
		sign = ">="
	}
	if !a.Met {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-6s  %s: %s, aim %s %s", verdict, a.What, figure(a.Measured), sign, figure(a.Limit))
}

// figure writes whole numbers as they are, and others with four digits.
func figure(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e9 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

// Missed returns an error that names the aims that were missed, or nil if there are none.
func Missed(aims []Aim) error {
	var faults []error
	for _, a := range aims {
		if !a.Met {
			faults = append(faults, fmt.Errorf("%v", a))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d aims missed (on a busy machine times are not reliable: run again on an idle machine):\n%w",
		len(faults), len(aims), errors.Join(faults...))
}
