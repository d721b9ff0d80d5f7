package slab_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache/internal/slab"
)

func TestEachValueIsZeroAndGivenOnce(t *testing.T) {
	given := make([]int, 3)
	for name, s := range map[string]slab.Slab[int]{
		"empty": {}, "for a few": slab.New[int](2), "for many": slab.New[int](1000), "of given values": slab.Of(given),
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(map[*int]bool)
			for i := range 100 {
				value := s.Next()
				assert.Zero(t, *value)
				assert.False(t, seen[value])
				seen[value], *value = true, i
			}
		})
	}
	assert.Equal(t, []int{0, 1, 2}, given)
}

func TestASlabAllocatesSeveralValuesAtATime(t *testing.T) {
	var s slab.Slab[[64]byte]
	assert.LessOrEqual(t, testing.AllocsPerRun(160, func() { s.Next() }), 0.2)
}
