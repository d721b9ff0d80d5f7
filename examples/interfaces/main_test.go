package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestComputedFreshAndInvalidated(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "Emma computed\nEmma fresh\nEmma, revised computed\n", out.String())
}
