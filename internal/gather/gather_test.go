package gather_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache/internal/gather"
)

// runs is a Gather whose runs the test ends.
type runs struct {
	*gather.Gather[int]
	began chan []int
	end   chan struct{}
	early bool // each lets the next begin as soon as it has begun
}

func newRuns(most int) *runs {
	r := &runs{began: make(chan []int, 10), end: make(chan struct{})}
	r.Gather = gather.New(most, func(f func()) { go f() }, func(members []int, next func()) {
		r.began <- members
		if r.early {
			next()
		}
		<-r.end
	})
	return r
}

// begun returns the members of the runs that have begun since it was called last.
func (r *runs) begun() (all [][]int) {
	synctest.Wait()
	for {
		select {
		case members := <-r.began:
			all = append(all, members)
		default:
			return all
		}
	}
}

func (r *runs) join(members ...int) {
	for range members {
		r.Hold()
	}
	for _, m := range members {
		r.Join(m)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestARunBeginsWhenNobodyHoldsItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRuns(0)
		for range 3 {
			r.Hold()
		}
		r.Join(1)
		r.Join(2)
		quiet := r.Quiet()
		assert.Empty(t, r.begun(), "one may still join")
		r.Release()
		assert.Equal(t, [][]int{{1, 2}}, r.begun())
		assert.False(t, closed(quiet), "it runs")
		close(r.end)
		synctest.Wait()
		assert.True(t, closed(quiet))
		assert.True(t, closed(r.Quiet()), "nothing runs")
	})
}

func TestMembersThatJoinDuringARunAreTakenByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRuns(0)
		r.join(1)
		assert.Equal(t, [][]int{{1}}, r.begun())
		r.join(2)
		r.join(3)
		assert.Empty(t, r.begun(), "one run at a time")
		r.end <- struct{}{}
		assert.Equal(t, [][]int{{2, 3}}, r.begun())
		close(r.end)
	})
}

func TestARunThatCallsNextLetsTheNextBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRuns(0)
		r.early = true
		r.join(1)
		r.join(2)
		assert.ElementsMatch(t, [][]int{{1}, {2}}, r.begun())
		close(r.end)
	})
}

func TestARunTakesNoMoreThanItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRuns(2)
		r.join(1, 2, 3, 4, 5)
		assert.Equal(t, [][]int{{1, 2}}, r.begun())
		close(r.end)
		assert.Equal(t, [][]int{{3, 4}, {5}}, r.begun())
	})
}

func TestANilGatherIsHeldByNobody(*testing.T) {
	var none *gather.Gather[int]
	none.Hold()
	none.Release()
}
