package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

// asProgram in the environment makes the test binary the program itself, and
// then the workers that it starts are workers.
const asProgram = "BOOKSTORE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFlags(t *testing.T) {
	cfg, err := parseFlags([]string{"-quick", "-oncold", "wait", "-serve", ":0", "-catalog", "a.csv", "-redis", "redis://h"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, config{catalog: "a.csv", redisURL: "redis://h", serve: ":0", quick: true, onCold: fncache.Wait}, cfg)

	for _, args := range [][]string{{"-oncold", "perhaps"}, {"-unknown"}, {"stray"}} {
		var said strings.Builder
		_, err := parseFlags(args, &said)
		require.Error(t, err)
		require.Contains(t, said.String(), strings.TrimPrefix(args[len(args)-1], "-"))
		require.Contains(t, said.String(), "Usage of bookstore")
	}
}

func TestRedisURLFaultsSayWhatIsWrong(t *testing.T) {
	_, err := startRedis(t.Context(), "http://localhost")
	require.ErrorContains(t, err, "-redis")
	require.ErrorContains(t, err, "redis://")
}
