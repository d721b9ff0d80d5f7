package fncache

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestJitterSpreadsTheEndOfFreshness(t *testing.T) {
	f := &Func{opts: Options{Freshness: 1000 * time.Second, Timeout: 2000 * time.Second, Jitter: 0.2}}
	freshness := func(id uint64) time.Duration { return f.life(&envelope{id: id}).freshness }
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	for i := range uint64(1000) {
		id := i * (math.MaxUint64 / 999)
		d := freshness(id)
		assert.Equal(t, d, freshness(id))
		least, most = min(least, d), max(most, d)
	}
	assert.Equal(t, 1000*time.Second, most)
	assert.InDelta(t, 800, least.Seconds(), 1)
	f.opts.Jitter = 1
	assert.Positive(t, freshness(math.MaxUint64), "fresh for a moment at least")
}

func TestJitterGoesByTheLifetime(t *testing.T) {
	f := &Func{opts: Options{Freshness: time.Hour, Timeout: 24 * time.Hour, Jitter: 0.5}}
	e := envelope{life: &lifetimes{10 * time.Hour, 12 * time.Hour}}
	seen := map[time.Duration]bool{}
	for i := range uint64(16) {
		e.id = i << 60
		life := f.life(&e)
		assert.Equal(t, 12*time.Hour, life.timeout)
		assert.GreaterOrEqual(t, life.freshness, 5*time.Hour)
		assert.LessOrEqual(t, life.freshness, 10*time.Hour)
		seen[life.freshness] = true
	}
	assert.Len(t, seen, 16)
}
