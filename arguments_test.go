package fncache_test

import (
	"context"
	"math/big"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/shape"
)

// A slowCopy is a shape for which copying the first arguments takes until the test
// lets it go on.
type slowCopy struct {
	shape.Shape
	copies atomic.Int32
	begun  chan struct{}
	goOn   chan struct{}
}

func (s *slowCopy) Own(args shape.Arguments) shape.Arguments {
	if s.copies.Add(1) == 1 {
		close(s.begun)
		<-s.goOn
	}
	return s.Shape.Own(args)
}

func newSlowCopy(f *Func) *slowCopy {
	s := &slowCopy{Shape: *f.Shape(), begun: make(chan struct{}), goOn: make(chan struct{})}
	*f.Shape() = s
	return s
}

type sumFunc = func(context.Context, []byte) (int, error)

func sumOf(_ context.Context, numbers []byte) (n int, err error) {
	for _, b := range numbers {
		n += int(b)
	}
	return n, nil
}

// result is how a call of a sumFunc ended.
type sumResult struct {
	n   int
	err error
}

func begin(ctx context.Context, fn sumFunc, arg ...byte) <-chan sumResult {
	end := make(chan sumResult, 1)
	go func() {
		n, err := fn(ctx, arg)
		end <- sumResult{n, err}
	}()
	return end
}

func TestCopyingAnArgumentStopsNoOtherCall(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cache := b.cache()
		slow, other := sumOf, sumOf
		f, err := Wrap(&slow, Options{Cache: cache, Name: "slow", Timeout: time.Minute, OnCold: Wait})
		require.NoError(t, err)
		_, err = Wrap(&other, Options{Cache: cache, Name: "other", Timeout: time.Minute})
		require.NoError(t, err)
		copying := newSlowCopy(f)

		first := begin(t.Context(), slow, 1, 2)
		<-copying.begun
		for range 2 { // a miss, and a hit
			n, err := other(t.Context(), []byte{3})
			require.NoError(t, err)
			require.Equal(t, 3, n)
			n, err = slow(t.Context(), []byte{4})
			require.NoError(t, err, "the same function, another key")
			require.Equal(t, 4, n)
		}
		require.NoError(t, f.Invalidate(t.Context(), []byte{4}))
		copies := copying.copies.Load()
		second := begin(t.Context(), slow, 1, 2)
		synctest.Wait()
		time.Sleep(time.Hour) // of the bubble: the lookup has not begun, so its time does not run out
		require.Empty(t, first)
		require.Empty(t, second)
		require.Equal(t, copies, copying.copies.Load(), "a call that joins copies nothing")

		close(copying.goOn)
		assert.Equal(t, sumResult{n: 3}, <-first)
		assert.Equal(t, sumResult{n: 3}, <-second)
		assert.Equal(t, copies, copying.copies.Load(), "one lookup, one computation, one copy")
	})
}

func TestInvalidatingWhileAnArgumentIsCopiedDetachesTheLookup(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		slow := sumOf
		f, err := Wrap(&slow, Options{Cache: b.cache(), Name: "slow", Timeout: time.Minute})
		require.NoError(t, err)
		copying := newSlowCopy(f)
		first := begin(t.Context(), slow, 1, 2)
		<-copying.begun
		require.NoError(t, f.Invalidate(t.Context(), []byte{1, 2}))
		n, err := slow(t.Context(), []byte{1, 2})
		require.NoError(t, err)
		require.Equal(t, 3, n, "on a lookup of its own")
		close(copying.goOn)
		assert.Equal(t, sumResult{n: 3}, <-first)
	})
}

// TestAComputationWaitsForItsArguments forces this order of events without Redis:
//  1. a call computes;
//  2. another call, which may not share that computation, computes next, and copies its argument;
//  3. the first computation ends, and the next one could begin;
//  4. the copy is ready.
func TestAComputationWaitsForItsArguments(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		cache := b.cache()
		running, end := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		slow := func(ctx context.Context, numbers []byte) (int, error) {
			if calls.Add(1) == 1 {
				close(running)
				<-end
			}
			return sumOf(ctx, numbers)
		}
		f, err := Wrap(&slow, Options{Cache: cache, Name: "slow", Timeout: time.Minute, OnCold: Compute})
		require.NoError(t, err)
		b.redis.SetError("LOADING Redis is loading the dataset in memory")
		first := begin(t.Context(), slow, 1, 2)
		<-running

		copying := newSlowCopy(f)
		second := begin(WithRefresh(t.Context()), slow, 1, 2)
		<-copying.begun
		close(end)
		require.Equal(t, sumResult{n: 3}, <-first)
		synctest.Wait()
		require.EqualValues(t, 1, calls.Load(), "its arguments are not there yet")
		require.Empty(t, second)
		close(copying.goOn)
		assert.Equal(t, sumResult{n: 3}, <-second)
		assert.EqualValues(t, 2, calls.Load())
	})
}

// Numbers of math/big are passed by value, but their digits are shared with the caller.
func TestNumbersOfMathBigAreCopiedForAComputation(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		seen := make(chan string, 1)
		type numbers struct {
			Int   big.Int
			Rat   []big.Rat
			Float map[string]big.Float
		}
		text := func(n numbers) string {
			f := n.Float["a"]
			return n.Int.String() + " " + n.Rat[0].String() + " " + f.String()
		}
		fn := func(_ context.Context, n numbers) (string, error) {
			time.Sleep(time.Second)
			seen <- text(n)
			return "", nil
		}
		_, err := Wrap(&fn, Options{Cache: b.cache(), Name: "big", Timeout: time.Minute})
		require.NoError(t, err)
		n := numbers{*big.NewInt(7), []big.Rat{*big.NewRat(7, 2)}, map[string]big.Float{"a": *big.NewFloat(7)}}
		want := text(n)
		_, err = fn(ctxIn(t, time.Millisecond), n)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		n.Int.SetInt64(9) // into the same digits
		n.Rat[0].SetFrac64(9, 5)
		f := n.Float["a"]
		f.SetUint64(9)
		require.NotEqual(t, want, text(n))
		assert.Equal(t, want, <-seen)
	})
}
