package redistest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	code := m.Run()
	ReportSkips(os.Stderr)
	os.Exit(code)
}

func TestARunWithoutAServerReportsHowManyTestsWereSkipped(t *testing.T) {
	const inside = "REDISTEST_TEST_WITHOUT_A_SERVER"
	if os.Getenv(inside) != "" {
		for _, name := range []string{"first", "second"} {
			t.Run(name, func(t *testing.T) {
				Start(t)
				t.Error("a server was started")
			})
		}
		return
	}
	t.Parallel()
	skips := filepath.Join(t.TempDir(), "skips")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1", skipsEnv+"="+skips, "FNCACHE_REQUIRE_REDIS=",
		"FNCACHE_REDIS_SERVER="+filepath.Join(t.TempDir(), "no-such-server"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^SKIPPED: 2 tests .*apt-get install redis-server.*FNCACHE_REDIS_SERVER`, string(out))
	recorded, err := os.ReadFile(skips)
	require.NoError(t, err)
	require.Equal(t, t.Name()+"/first\n"+t.Name()+"/second\n", string(recorded))
}
