package fence_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/fence"
)

func numbered(n int) (t fence.Tag) {
	binary.BigEndian.PutUint64(t[:], uint64(n))
	return t
}

func reading(now fence.Stamp) *fence.Reading { return &fence.Reading{Epoch: fence.Epoch{1}, Now: now} }

func TestARunWithoutAStampOrWithAnAnswerOfUnknownTimeHasNoTagsToStore(t *testing.T) {
	for name, c := range map[string]struct {
		tally *fence.Tally
		then  func(*fence.Tally)
		err   string
	}{
		"no reading":       {fence.NewTally([]fence.Tag{{1}}, nil), func(*fence.Tally) {}, "could not be read before the function ran"},
		"no fence":         {fence.NewTally([]fence.Tag{{1}}, new(fence.Reading)), func(*fence.Tally) {}, "could not be read before the function ran"},
		"unknown time":     {fence.NewTally([]fence.Tag{{1}}, reading(9)), func(t *fence.Tally) { t.Inherit(fence.Provenance{Epoch: fence.Epoch{1}, None: true}) }, "it is not known when that answer was right"},
		"of another epoch": {fence.NewTally([]fence.Tag{{1}}, reading(9)), func(t *fence.Tally) { t.Inherit(fence.Provenance{Epoch: fence.Epoch{2}}) }, "it is not known when that answer was right"},
		"too many tags": {fence.NewTally(nil, reading(9)), func(t *fence.Tally) {
			for n := range fence.MaxMarks + 1 {
				t.Add([]fence.Tag{numbered(n)})
			}
		}, "more than 1000 tags"},
	} {
		t.Run(name, func(t *testing.T) {
			c.then(c.tally)
			_, err := c.tally.Block()
			require.ErrorContains(t, err, c.err)
		})
	}
}

// FuzzTally compares a tally with a map from tags to the smallest stamps, for few tags and for so
// many that they are searched by a map.
func FuzzTally(f *testing.F) { f.Fuzz(rapid.MakeFuzz(tallyIsAMapOfSmallestStamps)) }

func TestTheStampsOfATallyOnlyGetSmaller(t *testing.T) { rapid.Check(t, tallyIsAMapOfSmallestStamps) }

func tallyIsAMapOfSmallestStamps(t *rapid.T) {
	const base = fence.Stamp(100)
	tags := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 40), numbered), 0, 3)
	want := make(map[fence.Tag]fence.Stamp)
	lower := func(tag fence.Tag, stamp fence.Stamp) {
		if was, known := want[tag]; !known || stamp < was {
			want[tag] = stamp
		}
	}
	own := tags.Draw(t, "own")
	tally := fence.NewTally(own, reading(base))
	for _, tag := range own {
		lower(tag, base)
	}
	for range rapid.IntRange(0, 40).Draw(t, "steps") {
		some := tags.Draw(t, "tags")
		if rapid.Bool().Draw(t, "adds") {
			require.True(t, tally.Add(some))
			for _, tag := range some {
				lower(tag, base)
			}
			continue
		}
		p := fence.Provenance{Epoch: fence.Epoch{1}, At: fence.Stamp(rapid.IntRange(0, 120).Draw(t, "at"))}
		for _, tag := range some {
			m := fence.Mark{tag, fence.Stamp(rapid.IntRange(1, 120).Draw(t, "stamp"))}
			p.Marks = append(p.Marks, m)
			if p.At != fence.Unknown {
				m.Stamp = p.At
			}
			lower(tag, min(m.Stamp, base))
		}
		tally.Inherit(p)
	}
	block, err := tally.Block()
	require.NoError(t, err)
	got := make(map[fence.Tag]fence.Stamp)
	for _, m := range block.Marks {
		got[m.Tag] = m.Stamp
		require.False(t, tally.OvertakenBy(fence.Message{Stamp: m.Stamp, Tags: []fence.Tag{m.Tag}}))
		require.True(t, tally.OvertakenBy(fence.Message{Stamp: m.Stamp + 1, Tags: []fence.Tag{numbered(1000), m.Tag}}))
	}
	require.Equal(t, want, got)
	require.Len(t, block.Marks, len(want), "each tag once")
	require.False(t, tally.OvertakenBy(fence.Message{Stamp: fence.Latest, Tags: []fence.Tag{numbered(1000)}}))
	require.Equal(t, fence.Provenance{Epoch: fence.Epoch{1}, Marks: block.Marks}, tally.Provenance())
}

func TestATallyTakesNoTagsOfCallsAfterTheFunctionHasReturned(t *testing.T) {
	tally := fence.NewTally([]fence.Tag{{1}}, reading(9))
	tally.Seal()
	assert.False(t, tally.Add([]fence.Tag{{2}}))
	tally.Inherit(fence.Provenance{None: true})
	tally.Adopt([]fence.Mark{{fence.Tag{3}, 4}}) // of the entry that is kept
	block, err := tally.Block()
	require.NoError(t, err)
	assert.Equal(t, []fence.Mark{{fence.Tag{1}, 9}, {fence.Tag{3}, 9}}, block.Marks)
}

func TestATallyOfABatchPassesOnToThoseOfItsElements(t *testing.T) {
	one, other := fence.NewTally([]fence.Tag{{1}}, reading(9)), fence.NewTally([]fence.Tag{{2}}, reading(8))
	batch := fence.TallyOf([]*fence.Tally{one, other})
	assert.True(t, batch.Add([]fence.Tag{{3}}))
	batch.Inherit(fence.Provenance{Epoch: fence.Epoch{1}, Marks: []fence.Mark{{fence.Tag{4}, 5}}})
	for tally, want := range map[*fence.Tally][]fence.Mark{
		one:   {{fence.Tag{1}, 9}, {fence.Tag{3}, 9}, {fence.Tag{4}, 5}},
		other: {{fence.Tag{2}, 8}, {fence.Tag{3}, 8}, {fence.Tag{4}, 5}},
	} {
		_, marks := tally.Snapshot()
		assert.Equal(t, want, marks)
	}
	one.Seal()
	assert.True(t, batch.Add([]fence.Tag{{5}}), "one element still collects")
	other.Seal()
	assert.False(t, batch.Add([]fence.Tag{{5}}))
}

func TestExtrasRemembersTheTagsThatTheCallOfAnEntryDoesNotHave(t *testing.T) {
	var x fence.Extras
	own := []fence.Tag{{1}}
	assert.Equal(t, own, x.Beside(own, "key"))
	x.Note("key", own, []fence.Mark{{fence.Tag{1}, 1}})
	assert.Equal(t, own, x.Beside(own, "key"))
	x.Note("key", own, []fence.Mark{{fence.Tag{1}, 1}, {fence.Tag{2}, 1}})
	assert.Equal(t, []fence.Tag{{1}, {2}}, x.Beside(own, "key"))
	assert.Equal(t, own, x.Beside(own, "other"))
	x.Note("key", own, []fence.Mark{{fence.Tag{1}, 1}})
	assert.Equal(t, own, x.Beside(own, "key"), "the new entry has no others")
}

func TestExtrasForgetsAKeyForANewOneIfThereAreTooMany(t *testing.T) {
	var x fence.Extras
	more := []fence.Mark{{fence.Tag{1}, 1}, {fence.Tag{2}, 1}}
	for n := range 5000 {
		x.Note(fmt.Sprint(n), nil, more)
	}
	known := 0
	for n := range 5000 {
		if x.Beside(nil, fmt.Sprint(n)) != nil {
			known++
		}
	}
	assert.Equal(t, 4096, known)
	assert.NotEmpty(t, x.Beside(nil, "4999"), "the last one")
}
