package bulkhead

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPlaceAheadIsLeftToTheNextStepOrGivenBack(t *testing.T) {
	places := New(1)
	var a Ahead
	first, held := a.Next(places)
	require.True(t, held)
	require.False(t, places.Try(), "it is taken")

	second, held := a.Next(places)
	require.True(t, held, "the first step has left it")
	a.GiveBack(first, places)
	require.False(t, places.Try(), "the second step has it")
	a.GiveBack(second, places)
	require.True(t, places.Try())

	third, held := a.Next(places)
	require.False(t, held, "somebody else has the place")
	places.Give()
	require.True(t, places.Try())
	a.Hold()
	require.True(t, a.Take(), "for a run")
	require.False(t, a.Take())
	a.GiveBack(third, places)
	require.False(t, places.Try(), "the run has it")
}
