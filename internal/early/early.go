// Package early decides when a caller of a fresh entry refreshes it, before it becomes stale.
//
// It is XFetch, of Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
// Prevention" (VLDB 2015): each caller draws a number that is exponentially distributed, and
// refreshes if the entry would be stale by the time that many computations take. So an entry that
// is asked for often, or takes long to compute, is refreshed early enough, and one that is
// rarely asked for is not refreshed needlessly.
package early

import (
	"math"
	"math/rand/v2"
	"time"
)

// mostDrawn is the largest number that is drawn: of the 2^53 numbers that rand.Float64 returns,
// the one closest to 1.
const mostDrawn = 53 * math.Ln2

// Dice are what callers of one entry roll.
type Dice struct {
	Freshness time.Duration // the age at which the entry becomes stale
	Cost      time.Duration // how long its computation took
	Beta      float64       // times Cost; over 1 it is refreshed earlier
}

// From returns the age from which there is a chance: half of Freshness, or later.
func (d *Dice) From() time.Duration {
	earliest := float64(d.Freshness) - d.gap(mostDrawn)
	return max(d.Freshness/2, time.Duration(max(earliest, 0)))
}

// Roll reports whether a caller that finds the entry at an age refreshes it.
func (d *Dice) Roll(age time.Duration) bool {
	return age >= d.Freshness/2 && d.due(age, -math.Log(1-rand.Float64()))
}

// due is Roll for the number that was drawn.
func (d *Dice) due(age time.Duration, drawn float64) bool {
	return float64(age)+d.gap(drawn) >= float64(d.Freshness)
}

// gap returns how long before the end of Freshness the number that was drawn refreshes.
func (d *Dice) gap(drawn float64) float64 { return float64(d.Cost) * d.Beta * drawn }
