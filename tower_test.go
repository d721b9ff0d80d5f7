package fncache_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A call goes through the files of the root in one direction, the order of the map in doc.go: no
// file uses a function or a method that is declared in a file above it. Types and variables may
// be used in both directions.
const (
	mapHeading = "# The files"
	// mostFiles bounds the files of the root, without tests: 18 of one call's way, one for tags
	// and one for invalidating, one for the typed forms, one for what a function says from inside,
	// two for batches, one for the Observer, and one for cmd/fncache, which sets what no other
	// package can: how the entries of a cache are reached by their keys.
	mostFiles    = 26
	mostLines    = 550 // of a file
	longestFunc  = 60  // lines
	mapEntryForm = `^\t(\w+\.go)\s`
)

// upward are the uses that run against the order all the same, as "file: function", each
// with its reason.
var upward = map[string]string{}

func TestRootReadsDownwards(t *testing.T) {
	root := parseRoot(t)
	order := orderOfMap(t, root)
	level := make(map[string]int)
	for i, name := range order {
		level[name] = i
	}
	known := make(map[string]bool)
	for _, use := range usesOfFunctions(t, root) {
		if level[use.declared] >= level[use.file] {
			continue
		}
		short := use.file + ": " + use.name
		known[short] = true
		if upward[short] == "" {
			t.Errorf("%s uses %s of %s, which stands above it in the map of doc.go; move the function down, or have the caller above pass what is needed", use.at, use.name, use.declared)
		}
	}
	for short := range upward {
		assert.True(t, known[short], "the exception %q is not needed any more; remove it", short)
	}
}

func TestRootIsSmall(t *testing.T) {
	root := parseRoot(t)
	assert.LessOrEqual(t, len(root.files), mostFiles, "files of the root without tests; merge what is small, or make a package of what is an organ of its own")
	for name, file := range root.files {
		assert.LessOrEqual(t, root.fset.File(file.Pos()).LineCount(), mostLines, "lines of %s; move what does not belong to its one job", name)
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				lines := root.fset.Position(fn.End()).Line - root.fset.Position(fn.Pos()).Line + 1
				assert.LessOrEqual(t, lines, longestFunc, "lines of %s in %s; a function fits on a screen", fn.Name.Name, name)
			}
		}
	}
}

// rootSource is the source of the root package, without tests.
type rootSource struct {
	fset  *token.FileSet
	files map[string]*ast.File // by name
}

func parseRoot(t *testing.T) rootSource {
	t.Helper()
	root := rootSource{token.NewFileSet(), make(map[string]*ast.File)}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(root.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		root.files[name] = file
	}
	return root
}

// orderOfMap returns the files in the order of the map of doc.go, which has to name each of
// them once.
func orderOfMap(t *testing.T, root rootSource) (order []string) {
	t.Helper()
	_, section, ok := strings.Cut(root.files["doc.go"].Doc.Text(), mapHeading+"\n")
	require.True(t, ok, "doc.go has no section %q", mapHeading)
	entry := regexp.MustCompile(mapEntryForm)
	for line := range strings.Lines(section) {
		if match := entry.FindStringSubmatch(line); match != nil {
			require.NotContains(t, order, match[1], "the map of doc.go names a file twice")
			order = append(order, match[1])
		}
	}
	for name := range root.files {
		assert.True(t, name == "doc.go" || slices.Contains(order, name), "the map of doc.go does not name %s; give it its place", name)
	}
	for _, name := range order {
		assert.Contains(t, root.files, name, "the map of doc.go names a file that is not there")
	}
	return order
}

// A use is an identifier that stands for a function or method of the root.
type use struct {
	at       token.Position
	file     string // that uses it
	name     string // as Type.method, or function
	declared string // the file of its declaration
}

// usesOfFunctions returns the uses of functions and methods of the root in its files, in the
// order of the source.
func usesOfFunctions(t *testing.T, root rootSource) (all []use) {
	t.Helper()
	var files []*ast.File
	for _, file := range root.files {
		files = append(files, file)
	}
	info := types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: exportImporter(t, root.fset)}
	_, err := config.Check(module, root.fset, files, &info)
	require.NoError(t, err)
	for ident, object := range info.Uses {
		fn, ok := object.(*types.Func)
		if !ok || fn.Pkg() == nil || fn.Pkg().Path() != module {
			continue
		}
		fn = fn.Origin()
		at := root.fset.Position(ident.Pos())
		all = append(all, use{at, at.Filename, nameOfFunc(fn), root.fset.Position(fn.Pos()).Filename})
	}
	slices.SortFunc(all, func(a, b use) int {
		return strings.Compare(fmt.Sprintf("%s:%09d", a.file, a.at.Offset), fmt.Sprintf("%s:%09d", b.file, b.at.Offset))
	})
	return all
}

func nameOfFunc(fn *types.Func) string {
	receiver := fn.Signature().Recv()
	if receiver == nil {
		return fn.Name()
	}
	of := receiver.Type()
	if pointer, ok := of.(*types.Pointer); ok {
		of = pointer.Elem()
	}
	if named, ok := of.(*types.Named); ok {
		return named.Obj().Name() + "." + fn.Name()
	}
	return fn.Name()
}

// exportImporter imports what the compiler has written about the packages that the root
// needs.
func exportImporter(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	require.NoError(t, err, stderr.String())
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}
