package history

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache"
)

func TestSourcesOfTheElementsOfABatch(t *testing.T) {
	answers := func() []event { // of the computations 1, 2 and 3, and one without an answer
		return []event{{Value: value{Comp: 1}}, {Value: value{Comp: 2}}, {Value: value{Comp: 3}}, {Err: "cold"}}
	}
	counts := func(computed, fresh, stale int) *fncache.Info {
		return &fncache.Info{Elements: fncache.SourceCounts{
			fncache.SourceComputed: computed, fncache.SourceFresh: fresh, fncache.SourceStale: stale, fncache.SourceRefused: 1,
		}}
	}
	for name, c := range map[string]struct {
		begun map[int64]bool
		info  *fncache.Info
		want  []string
	}{
		"all computed":                     {map[int64]bool{1: true, 2: true, 3: true}, counts(3, 0, 0), []string{"computed", "computed", "computed", ""}},
		"the others have one source":       {map[int64]bool{2: true}, counts(1, 2, 0), []string{"fresh", "computed", "fresh", ""}},
		"the others have several":          {map[int64]bool{2: true}, counts(1, 1, 1), []string{sourceMixed, sourceMixed, sourceMixed, ""}},
		"one of the call's own was shared": {map[int64]bool{1: true, 2: true}, counts(1, 2, 0), []string{sourceMixed, sourceMixed, sourceMixed, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			ends := answers()
			(&batchCall{begun: c.begun}).sourcesOf(ends, c.info)
			var sources []string
			for _, e := range ends {
				sources = append(sources, e.Source)
			}
			assert.Equal(t, c.want, sources)
		})
	}
}

func TestErrorsOfTheElementsOfABatch(t *testing.T) {
	cold := &fncache.ColdCacheError{IDs: []any{1}}
	assert.Equal(t, "cold", errorOf(cold, 1))
	assert.Contains(t, errorOf(cold, 2), "unexpected", "it is refused, and not named")
	assert.Equal(t, "failing", errorOf(errFailing, 2))
	joined := errors.Join(errFailing, cold)
	assert.Equal(t, "cold", errorOf(joined, 1))
	assert.Equal(t, "failing", errorOf(joined, 2))
	assert.Contains(t, errorOf(nil, 1), "unexpected", "the function has a value for each id")
}

func TestIDsOfACallHaveTheArgument(t *testing.T) {
	w := &worker{workerSettings: workerSettings{Plan: plan{Args: 3}}}
	twice := 0
	for choice := range 16 {
		ids := w.idsWith(1, choice)
		assert.Contains(t, ids, 1)
		if len(ids) > 1 && ids[0] == ids[len(ids)-1] {
			twice++
		}
		for _, id := range ids {
			assert.True(t, 0 <= id && id < 3)
		}
	}
	assert.Positive(t, twice)
}
