package fncache_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/fncache/fncache"

// allowed are the packages of this module, each with all that it imports beside the
// standard library. The packages below internal/ are walls: none imports the root, and
// what is foreign (Redis, CBOR, compression, hashes, memory) has one package that knows
// its ways, so that it can be replaced there. A new import belongs here only with a
// reason.
var allowed = map[string][]string{
	".": {
		"internal/apart", "internal/bulkhead", "internal/clock", "internal/codec", "internal/early", "internal/events", "internal/fence", "internal/flights", "internal/funcname", "internal/gather",
		"internal/health", "internal/holder", "internal/keyhash", "internal/lifetime", "internal/near", "internal/oncelog", "internal/operate", "internal/ping", "internal/releases", "internal/remote",
		"internal/seal", "internal/shape", "internal/signature", "internal/slab", "internal/structtag", "internal/stubs", "internal/sweep", "internal/tagplan", "internal/telling", "internal/testhook", "internal/verify",
		"github.com/redis/go-redis/v9",
	},
	"fncachedebug": {".", "internal/operate"},
	"fncachetest":  {".", "internal/memconn", "internal/testhook", "github.com/alicebob/miniredis/v2", "github.com/redis/go-redis/v9"},

	"internal/apart":     {"internal/codec"},
	"internal/bulkhead":  {},
	"internal/clock":     {},
	"internal/codec":     {"github.com/fxamacker/cbor/v2", "github.com/klauspost/compress/s2"},
	"internal/deepcopy":  {"internal/keyhash"},
	"internal/early":     {},
	"internal/events":    {"internal/clock", "internal/oncelog", "internal/remote", "github.com/redis/go-redis/v9"},
	"internal/fence":     {"internal/keyhash"},
	"internal/flights":   {},
	"internal/funcname":  {},
	"internal/gather":    {},
	"internal/health":    {"internal/oncelog"},
	"internal/holder":    {},
	"internal/keyhash":   {"github.com/dchest/siphash"},
	"internal/lifetime":  {},
	"internal/memconn":   {},
	"internal/near":      {"internal/clock", "internal/early", "internal/events", "internal/shape", "github.com/maypok86/otter/v2"},
	"internal/oncelog":   {},
	"internal/operate":   {"internal/holder", "internal/keyhash", "internal/releases", "internal/signature", "github.com/fxamacker/cbor/v2"},
	"internal/ping":      {"internal/remote", "github.com/redis/go-redis/v9"},
	"internal/releases":  {"internal/clock", "internal/oncelog"},
	"internal/remote":    {"github.com/redis/go-redis/v9"},
	"internal/shape":     {"internal/deepcopy", "internal/keyhash", "internal/signature"},
	"internal/seal":      {},
	"internal/signature": {"internal/codec", "internal/keyhash", "internal/structtag"},
	"internal/structtag": {},
	"internal/slab":      {},
	"internal/stubs":     {},
	"internal/sweep":     {"internal/remote", "github.com/redis/go-redis/v9"},
	"internal/tagplan":   {"internal/keyhash"},
	"internal/telling":   {"internal/oncelog"},
	"internal/testhook":  {},
	"internal/verify":    {},

	// For tests only.
	"internal/bubbletest": {"github.com/redis/go-redis/v9"},
	"internal/child":      {},
	"internal/golden":     {"github.com/stretchr/testify/assert", "github.com/stretchr/testify/require"},
	"internal/logtest":    {},
	"internal/redistest":  {"github.com/redis/go-redis/v9"},
	"internal/specimen":   {"pgregory.net/rapid"},
}

// TestPackagesImportWhatTheTableAllows reads the source files of all platforms.
func TestPackagesImportWhatTheTableAllows(t *testing.T) {
	found := importsOfModule(t)
	for pkg, imports := range found {
		want, known := allowed[pkg]
		require.True(t, known, "package %s is not in the table of deps_test.go; add it, with what it may import", pkg)
		assert.ElementsMatch(t, want, imports, "what package %s imports is not what the table of deps_test.go says; take the import back, or change the table", pkg)
	}
	for pkg := range allowed {
		assert.Contains(t, found, pkg, "the table of deps_test.go has a package that is not there; remove it")
	}
}

// importsOfModule returns the imports of each package of this module, without its tests and
// without the standard library.
func importsOfModule(t *testing.T) map[string][]string {
	found := make(map[string][]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(path)) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		imports := found[pkg]
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if name = inModule(name); name != "" && !slices.Contains(imports, name) {
				imports = append(imports, name)
			}
		}
		found[pkg] = imports
		return nil
	}))
	return found
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// inModule returns the path of a package as the table has it: "" for the standard library,
// whose paths begin with no host name.
func inModule(path string) string {
	if path == module {
		return "."
	}
	if inner, ok := strings.CutPrefix(path, module+"/"); ok {
		return inner
	}
	if host, _, _ := strings.Cut(path, "/"); !strings.Contains(host, ".") {
		return ""
	}
	return path
}
