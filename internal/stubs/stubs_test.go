package stubs

import (
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A wrapped is what a stub stands for.
type wrapped struct{ variable reflect.Value }

func TestStubsThatAreGoneAreTakenOut(t *testing.T) {
	var s Set[wrapped]
	var kept []*wrapped
	for i := range 20 * leastSweep {
		fn := func(int) (int, error) { return i, errors.ErrUnsupported }
		f := &wrapped{reflect.ValueOf(&fn).Elem()}
		s.Add(f.variable, f)
		require.Same(t, f, s.Of(f.variable))
		if i%100 == 0 {
			kept = append(kept, f)
		}
		if i%leastSweep == 0 {
			runtime.GC()
		}
	}
	assert.Less(t, len(s.m), 4*leastSweep)
	for _, f := range kept {
		require.Same(t, f, s.Of(f.variable))
		s.Remove(f)
		require.Nil(t, s.Of(f.variable))
		require.False(t, s.Has(f.variable))
	}
}
