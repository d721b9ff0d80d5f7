package early

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// chance returns in what share of the rolls an entry is refreshed at an age.
func chance(d Dice, age time.Duration) float64 {
	const rolls = 20_000
	n := 0
	for range rolls {
		if d.Roll(age) {
			n++
		}
	}
	return float64(n) / rolls
}

func TestTheChanceIsThatOfXFetch(t *testing.T) {
	for _, beta := range []float64{0.5, 1, 2} {
		d := Dice{Freshness: time.Minute, Cost: time.Second, Beta: beta}
		for _, left := range []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second} {
			want := math.Exp(-left.Seconds() / (d.Cost.Seconds() * beta))
			assert.InDelta(t, want, chance(d, d.Freshness-left), 0.02, "beta %v, %v left", beta, left)
		}
	}
}

func TestNothingIsRefreshedBeforeHalfOfFreshness(t *testing.T) {
	d := Dice{Freshness: time.Minute, Cost: time.Hour, Beta: 1} // slower than it is fresh
	assert.Zero(t, chance(d, d.Freshness/2-1))
	assert.InDelta(t, 1, chance(d, d.Freshness/2), 0.02)
	assert.Equal(t, d.Freshness/2, d.From())
}

func TestWithoutACostTheEndOfFreshnessIsTheEnd(t *testing.T) {
	for _, d := range []Dice{{Freshness: time.Minute, Beta: 1}, {Freshness: time.Minute, Cost: time.Second}} {
		assert.Equal(t, time.Minute, d.From())
		assert.Zero(t, chance(d, time.Minute-1))
	}
}

// TestFromIsWhereTheChanceBegins: before it nothing that can be drawn refreshes, and from it on
// the largest number does.
func TestFromIsWhereTheChanceBegins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Dice{
			Freshness: time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "freshness")),
			Cost:      time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "cost")),
			Beta:      rapid.Float64Range(0, 1e9).Draw(t, "beta"),
		}
		from := d.From()
		if from < d.Freshness/2 || from > d.Freshness && d.Freshness < 1<<53 {
			t.Fatal(from)
		}
		const rounding = 1 << 11 // of a float64 of nanoseconds
		if early := from - 2*rounding; early >= d.Freshness/2 && d.due(early, mostDrawn) {
			t.Fatal("a chance before", from)
		}
	})
}
