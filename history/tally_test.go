package history

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestARunInWhichARuleJudgedNothingLacksIt(t *testing.T) {
	all := newTally()
	assert.Len(t, all.lacks(), len(rules)+1, "each rule, and elements of batches")
	all.elements = 1
	for _, r := range rules {
		all.judged[r] = 1
	}
	assert.Empty(t, all.lacks())

	more := newTally()
	more.judged[ruleOld], more.excused[notAsked] = 2, 3
	more.orders = orders{ordered: 900, unknown: 100}
	all.add(more)
	assert.Equal(t, 3, all.judged[ruleOld])
	assert.Equal(t, 3, all.excused[notAsked])
	assert.Empty(t, all.lacks(), "a tenth unknown is the bound")

	all.add(tally{orders: orders{unknown: 1}})
	assert.Len(t, all.lacks(), 1)
}

// A run of a minute may, on a slow machine, have no more rounds than these.
func TestSeedsInARowHaveRoundsForEveryRule(t *testing.T) {
	for first := range uint64(100) {
		var near, faulty bool
		for seed := first; seed < first+leastRounds; seed++ {
			p := newPlan(seed, 0)
			near = near || p.Funcs[0].Near > 0
			faulty = faulty || len(p.Faults) > 0
		}
		assert.True(t, near && faulty, "from seed %d: near %v, faulty %v", first, near, faulty)
	}
}
