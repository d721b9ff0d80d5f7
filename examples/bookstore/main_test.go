package main

import (
	"bytes"
	"io"
	"net"
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

func TestRedisThatIsAwayIsToldBeforeTheDatabaseIsBuilt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close()) // nobody listens there
	var stdout, progress bytes.Buffer
	err = run(t.Context(), config{redisURL: "redis://" + addr}, &stdout, &progress)
	require.ErrorContains(t, err, "does not answer")
	require.Empty(t, progress.String(), "nothing was built")
}

func TestRedisURLFaultsSayWhatIsWrong(t *testing.T) {
	_, err := startRedis(t.Context(), "http://localhost")
	require.ErrorContains(t, err, "-redis")
	require.ErrorContains(t, err, "redis://")
}
