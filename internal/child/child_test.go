package child

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const arg = "a child of this test"

// TestMain lets the test binary also be the child.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == arg {
		_ = Serve(os.Stdin, os.Stdout, obey)
		return
	}
	os.Exit(m.Run())
}

// obey doubles numbers. It refuses negative ones, and never ends for 0.
func obey(n int) (string, error) {
	switch {
	case n < 0:
		return "", errors.New("negative")
	case n == 0:
		time.Sleep(time.Hour) // until it is killed
	}
	return os.Getenv("UNIT") + strconv.Itoa(2*n), nil
}

func TestChildReportsOnEachOrder(t *testing.T) {
	c, err := Start[string](arg, "UNIT=x")
	require.NoError(t, err)
	report, err := c.Do(3)
	require.NoError(t, err)
	require.Equal(t, "x6", report)
	_, err = c.DoWithin(time.Minute, -1)
	require.ErrorContains(t, err, "-1: negative")
	report, err = c.DoWithin(time.Minute, 4)
	require.NoError(t, err)
	require.Equal(t, "x8", report)
	c.End()
	require.NotNil(t, c.Cmd.ProcessState, "it is gone")
}

func TestChildThatIsNotDoneInTimeIsKilled(t *testing.T) {
	c, err := Start[string](arg)
	require.NoError(t, err)
	_, err = c.DoWithin(100*time.Millisecond, 0)
	require.ErrorContains(t, err, "killed, because it was not done after 100ms")
	c.End()
	require.NotNil(t, c.Cmd.ProcessState, "it is gone")
}

func TestChildIsToldAndReportsLater(t *testing.T) {
	c, err := Start[string](arg)
	require.NoError(t, err)
	for _, n := range []int{1, 2} {
		require.NoError(t, c.Tell(n))
	}
	for _, want := range []string{"2", "4"} {
		report, err := c.Next()
		require.NoError(t, err)
		require.Equal(t, want, report)
	}
	c.Close()
	_, err = c.Next()
	require.ErrorIs(t, err, io.EOF, "it ends with its orders")
	c.End()
}

func TestReportIsWhatNextReads(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Report(&out, "a"))
	c := &Child[string]{reports: json.NewDecoder(&out)}
	report, err := c.Next()
	require.NoError(t, err)
	require.Equal(t, "a", report)
}

func TestServeSaysWhatItCannotRead(t *testing.T) {
	require.ErrorContains(t, Serve(strings.NewReader("{"), &bytes.Buffer{}, obey), "read an order")
}
