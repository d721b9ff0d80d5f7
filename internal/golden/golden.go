// Package golden compares stored formats with golden files, for tests.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// Updating reports whether golden files are written.
func Updating() bool { return *update }

// Check compares got with testdata/name in the package of the test. With -update it writes
// the file.
func Check(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "`go test -run Golden . -update` writes it")
	assert.Equal(t, string(want), got, "what is stored in %s must stay readable: if this change is meant, give it a new version and file", path)
}
