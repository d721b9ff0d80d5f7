package redistest

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
)

// skipsEnv names a file. Require appends a line with the name of each test that it
// skips. `make test` counts the lines of all test binaries: `go test` shows no output
// of a package that passes.
const skipsEnv = "FNCACHE_TEST_SKIPS"

// skipped counts the tests that Require has skipped in this process.
var skipped atomic.Int64

// recordSkip counts the test if it ends skipped, and appends its name to the file that
// skipsEnv names. Test binaries run at the same time, so each line is one write to the
// end of the file.
func recordSkip(t testing.TB) {
	t.Helper()
	if !t.Skipped() {
		return // a test of Require itself
	}
	skipped.Add(1)
	path := os.Getenv(skipsEnv)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.WriteString(t.Name() + "\n")
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		t.Errorf("redistest: %s: the skipped test cannot be recorded: %v", skipsEnv, err)
	}
}

// ReportSkips writes one line to w if Require has skipped tests in this process: how
// many, and how to run them. A TestMain calls it after its tests. `go test` shows the
// line with -v, or when the package fails.
func ReportSkips(w io.Writer) {
	if n := skipped.Load(); n > 0 {
		_, _ = fmt.Fprintf(w, "SKIPPED: %d tests (with subtests) need a real Redis. "+
			"Install redis-server 7 or later (Debian: apt-get install redis-server), "+
			"or set FNCACHE_REDIS_SERVER to the path of a server.\n", n)
	}
}
