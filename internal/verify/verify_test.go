package verify_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/verify"
)

func TestThatShareOfTheHitsIsDrawn(t *testing.T) {
	f := verify.New(0.25)
	drawn := 0
	for range 10_000 {
		if f.Draw() {
			drawn++
			f.End()
		}
	}
	assert.InDelta(t, 2500, drawn, 300)
}

func TestOneVerificationIsUnderWayAtATime(t *testing.T) {
	f := verify.New(1)
	require.True(t, f.Draw())
	assert.False(t, f.Draw())
	f.End()
	require.True(t, f.Draw())
}

func TestOneVerificationOfThoseThatHaveJoinedIsUnderWay(t *testing.T) {
	first, second, third := verify.New(1), verify.New(1), verify.New(1)
	first.Join()
	second.Join(nil, first)
	third.Join(second)
	third.Join(verify.New(1)) // too late
	for _, f := range []*verify.Func{first, second, third} {
		require.True(t, f.Draw())
		for _, other := range []*verify.Func{first, second, third} {
			assert.False(t, other.Draw())
		}
		f.End()
	}
	var none *verify.Func
	none.Join(first)
}

func TestNothingIsDrawnOfAFunctionWithoutAShareOrAfterGiveUp(t *testing.T) {
	assert.Nil(t, verify.New(0))
	var none *verify.Func
	assert.False(t, none.Draw())
	verified, differed := none.Counted()
	assert.Zero(t, verified+differed)

	f := verify.New(1)
	assert.True(t, f.GiveUp(), "the first")
	assert.False(t, f.GiveUp(), "the second")
	assert.False(t, f.Draw())
}

func TestCountedCountsValuesAndDifferences(t *testing.T) {
	f := verify.New(1)
	f.Same()
	f.Differed()
	f.Same()
	verified, differed := f.Counted()
	assert.Equal(t, []uint64{3, 1}, []uint64{verified, differed})
}

func TestCompare(t *testing.T) {
	always := func(text string) func() ([]byte, error) {
		return func() ([]byte, error) { return []byte(text), nil }
	}
	times := func() func() ([]byte, error) { // another encoding each fifth time
		n := 0
		return func() ([]byte, error) { n++; return []byte{byte(n / 5)}, nil }
	}
	broken := errors.New("broken")
	failing := func() ([]byte, error) { return nil, broken }
	for name, test := range map[string]struct {
		one, other func() ([]byte, error)
		want       verify.Verdict
		err        error
	}{
		"equal":                       {always("a"), always("a"), verify.Equal, nil},
		"different":                   {always("a"), always("b"), verify.Different, nil},
		"the first is unstable":       {times(), always("b"), verify.Unstable, nil},
		"the second is unstable":      {always("a"), times(), verify.Unstable, nil},
		"the first cannot be encoded": {failing, always("a"), verify.Unstable, broken},
		"nor the second":              {always("a"), failing, verify.Unstable, broken},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verify.Compare(test.one, test.other)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.err, err)
		})
	}
}
