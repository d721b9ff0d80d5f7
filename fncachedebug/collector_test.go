package fncachedebug

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

func TestASketchFindsTheHottestOfManyKeys(t *testing.T) {
	s := newSketch()
	for i := range 100_000 {
		s.count(fmt.Sprint("cold", i))
		switch {
		case i%5 == 0:
			s.count("hottest")
		case i%7 == 0:
			s.count("hot")
		}
	}
	assert.LessOrEqual(t, len(s.m), sketchSize)
	found := s.hot()
	require.NotEmpty(t, found)
	assert.Equal(t, "hottest", found[0].Key)
	assert.Equal(t, "hot", found[1].Key)
	assert.InEpsilon(t, 20_000*sampled, found[0].Lookups, 0.2)
	for range halfLife {
		s.fade()
	}
	assert.InEpsilon(t, 10_000*sampled, s.hot()[0].Lookups, 0.2, "half after ten minutes")
}

func TestTheDearestKeysAreBounded(t *testing.T) {
	var d dearest
	now := time.Now()
	for i := range 100 {
		d.add(fmt.Sprint(i%50), time.Duration(i)*time.Second, now)
	}
	require.Len(t, d, shownKeys)
	assert.Equal(t, dearKey{Key: "49", Cost: 99 * time.Second, At: now}, d[0])
	assert.Equal(t, 90*time.Second, d[9].Cost)
	d.add("later", time.Second, now.Add(2*dearFor))
	assert.Len(t, d, 1, "old computations are forgotten")
}

func TestStepsAreTheLastTenMinutes(t *testing.T) {
	tr := &track{at: time.Now()}
	now := tr.at
	for i := range uint64(100) {
		now = now.Add(step)
		tr.tick(now, fncache.Stats{Calls: 10 * i, Fresh: 10 * i})
	}
	require.Len(t, tr.ring, steps)
	assert.EqualValues(t, 10, tr.ring[0].Fresh)
	assert.InDelta(t, 1, tr.rate(now, tr.last), 0.01)
	c := chartOf(tr.ring)
	assert.Len(t, c.Columns, steps)
	assert.InDelta(t, 1, c.Most, 1e-9)
	assert.Equal(t, (steps-1)*columnWidth, c.Columns[steps-1].X, "the newest is at the right")
	assert.True(t, chartOf(nil).Empty)
}

func TestSharesOfMoreCallsThan32BitsCount(t *testing.T) {
	all := sharesOf(&fncache.Stats{Near: 30e9, Fresh: 10e9})
	require.Len(t, all, 2)
	assert.EqualValues(t, 30_000_000_000, all[0].Count)
	assert.InDelta(t, 0.75, all[0].Part, 1e-9)
	assert.InDelta(t, 75, all[1].X, 1e-9)
	assert.Empty(t, sharesOf(&fncache.Stats{}))
}

func TestPercentilesAreRightToATenth(t *testing.T) {
	tr := &track{}
	assert.Zero(t, tr.percentile(0.5))
	for i := 1; i <= 1000; i++ {
		tr.costs[bucketOf(time.Duration(i)*time.Millisecond)]++
	}
	assert.InEpsilon(t, 500*time.Millisecond, tr.percentile(0.5), 0.1)
	assert.InEpsilon(t, 990*time.Millisecond, tr.percentile(0.99), 0.1)
	assert.Equal(t, buckets-1, bucketOf(math.MaxInt64))
	assert.Equal(t, 0, bucketOf(-1))
}

type numbered[T any] struct{ error }

func TestTypesOfErrorsAreBounded(t *testing.T) {
	tr := &track{}
	now := time.Now()
	for i := range 5 {
		tr.fail(fmt.Errorf("%d: %w", i, errors.New("a secret")), now)
	}
	require.Len(t, tr.fails, 1)
	assert.Equal(t, failing{"*fmt.wrapError of *errors.errorString", 5, now, "4: a secret"}, tr.fails[0])
	nested := errors.New("x")
	for range 3 * maxErrorTypes {
		nested = fmt.Errorf("%w", nested)
	}
	tr.fail(nested, now)
	for _, err := range []error{
		numbered[int]{},
		numbered[int8]{},
		numbered[int16]{},
		numbered[int32]{},
		numbered[int64]{},
		numbered[uint]{},
		numbered[uint8]{},
		numbered[uint16]{},
		numbered[uint32]{},
		numbered[uint64]{},
		numbered[string]{},
		numbered[bool]{},
		numbered[float32]{},
		numbered[float64]{},
		numbered[[]int]{},
		numbered[[]bool]{},
		numbered[[]string]{},
	} {
		tr.fail(err, now) // its Error method panics
	}
	require.Len(t, tr.fails, maxErrorTypes)
	assert.Equal(t, otherErrors, tr.fails[maxErrorTypes-1].Type)
	assert.Equal(t, "its Error method panics", tr.fails[maxErrorTypes-1].Text)
}

func TestNumbersAreShort(t *testing.T) {
	for want, got := range map[string]string{
		"0": count(0), "999": count(999), "1,000": count(uint64(1000)), "999,999": count(uint32(999_999)), "1.50 M": count(1_500_000), "2.00 G": count(uint64(2e9)),
		"0 s": dur(0), "250 µs": dur(250 * time.Microsecond), "1.5 ms": dur(1500 * time.Microsecond), "42 ms": dur(42 * time.Millisecond), "1.5 s": dur(1500 * time.Millisecond),
		"3 min 05 s": dur(185 * time.Second), "2 h": dur(2 * time.Hour), "2 h 05 min": dur(125 * time.Minute), "3 days": dur(75 * time.Hour), "0.1": rate(0.09), "12,345": rate(12345.6),
		"12.3 %": percent(0.1234), "200 bytes": size(200), "1.5 MiB": size(3 << 19), "64.0 KiB": size(64 << 10),
	} {
		assert.Equal(t, want, got)
	}
}
