package lifetime_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache/internal/lifetime"
)

func TestWaitReturnsWhenTheLastGoroutineHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := lifetime.New()
		g.Go(func() { time.Sleep(time.Second) })     // in virtual time
		g.Go(func() { time.Sleep(3 * time.Second) }) // in virtual time
		assert.Equal(t, 2, g.Running())
		g.Close()
		began := time.Now()
		assert.True(t, g.Wait(time.Minute))
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Zero(t, g.Running())
	})
}

func TestWaitEndsAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := lifetime.New()
		end := make(chan struct{})
		g.Go(func() { <-end })
		g.Close()
		began := time.Now()
		assert.False(t, g.Wait(time.Second))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, 1, g.Running())
		close(end)
		assert.True(t, g.Wait(time.Second), "it may be waited for again")
	})
}

// Each goroutine starts the next one before it ends.
func TestWaitCountsGoroutinesThatBeginMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := lifetime.New()
		left := 5
		var next func()
		next = func() {
			time.Sleep(time.Second) // in virtual time
			if left--; left > 0 {
				g.Go(next)
			}
		}
		g.Go(next)
		g.Close()
		assert.True(t, g.Wait(time.Minute))
		assert.Zero(t, left)
	})
}

func TestWaitOfAnEmptyGroupReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := lifetime.New()
		g.Close()
		assert.True(t, g.Wait(0))
	})
}

func TestOnlyTheFirstCloseReportsTrue(t *testing.T) {
	g := lifetime.New()
	assert.False(t, g.Closed())
	assert.True(t, g.Close())
	assert.False(t, g.Close())
	assert.True(t, g.Closed())
}

func TestAPartIsCountedInTheWholeAndClosedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := lifetime.New()
		part := whole.Part()
		part.Go(func() { time.Sleep(time.Second) }) // in virtual time
		whole.Go(func() { time.Sleep(time.Hour) })  // in virtual time
		assert.Equal(t, 2, whole.Running())
		assert.Equal(t, 1, part.Running())
		assert.False(t, part.Closed())
		whole.Close()
		assert.True(t, part.Closed())
		assert.True(t, part.Wait(time.Minute), "the whole runs on")
		assert.Equal(t, 1, whole.Running(), "and no longer counts the part's goroutine")
		assert.True(t, whole.Wait(2*time.Hour))
	})
}

// The last goroutine ends during Close and Wait.
func TestWaitMissesNoEnd(t *testing.T) {
	for range 2_000 {
		g := lifetime.New()
		part := g.Part()
		for range 4 {
			part.Go(func() {})
		}
		g.Close()
		assert.True(t, part.Wait(time.Minute))
		assert.Zero(t, g.Running())
	}
}

func TestGoroutinesOfNoGroupAreNotCounted(t *testing.T) {
	var none *lifetime.Group
	var ran sync.WaitGroup
	ran.Add(1)
	none.Go(ran.Done)
	ran.Wait()
	assert.False(t, none.Closed())
}
