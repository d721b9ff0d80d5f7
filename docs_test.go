package fncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

// The README and the pages below docs are part of the API. Their code compiles, their lists are
// complete, and their links resolve.

// pages returns the text of the README and of every page, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	texts := make(map[string]string)
	for _, path := range append(paths, "README.md") {
		texts[path] = page(t, path)
	}
	return texts
}

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestReadmeIsOnePage(t *testing.T) {
	assert.LessOrEqual(t, strings.Count(page(t, "README.md"), "\n"), 150, "lines; what does not fit belongs on a page below docs")
}

// goBlock is a Go block of a page. The comment above it says what it is: "program", or the file
// and the declaration whose lines it shows.
var goBlock = regexp.MustCompile("(?s)<!-- ([^>]*) -->\n```go\n(.*?)```")

// TestGoBlocksAreCodeThatCompiles checks that each block is a whole program, or lines of a
// declaration in a test file. So it compiles, and an Example with output also runs.
func TestGoBlocksAreCodeThatCompiles(t *testing.T) {
	t.Parallel()
	var programs []string
	for path, text := range pages(t) {
		blocks := goBlock.FindAllStringSubmatch(text, -1)
		assert.Equal(t, strings.Count(text, "```go"), len(blocks), "%s: each Go block has a comment above it that says where it is from", path)
		for _, block := range blocks {
			source, code := block[1], block[2]
			if source == "program" {
				programs = append(programs, code)
				continue
			}
			file, name, ok := strings.Cut(source, ": ")
			if assert.True(t, ok, "%s: %q is neither program nor file: declaration", path, source) {
				assert.Contains(t, "\n"+flat(declaration(t, file, name)), "\n"+flat(code), "%s: %s", path, source)
			}
		}
	}
	require.NotEmpty(t, programs)
	for _, code := range programs {
		build(t, code)
	}
}

// declaration returns what a block that names a declaration may show: an Example's body without
// its expected output, and everything else as it is written. A method is named
// with its type.
func declaration(t *testing.T, file, name string) string {
	t.Helper()
	source := page(t, file)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	require.NoError(t, err)
	between := func(from, to token.Pos) string {
		return source[files.Position(from).Offset:files.Position(to).Offset]
	}
	var found strings.Builder
	for _, decl := range parsed.Decls {
		if !slices.Contains(namesOf(decl), name) {
			continue
		}
		if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(name, "Example") {
			body, _, _ := strings.Cut(between(fn.Body.Lbrace+1, fn.Body.Rbrace), "\t// Output:")
			found.WriteString(body + "\n")
			continue
		}
		found.WriteString(between(decl.Pos(), decl.End()) + "\n")
	}
	require.NotEmpty(t, found.String(), "%s has no %s", file, name)
	return found.String()
}

// namesOf returns what a declaration declares. A variable that is declared by a call for another
// (var _ = fncache.Must(fncache.Wrap(&TopBookIDs, ...))) goes by the name of that one too.
func namesOf(decl ast.Decl) (names []string) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			return []string{decl.Name.Name}
		}
		typ := decl.Recv.List[0].Type
		if pointer, ok := typ.(*ast.StarExpr); ok {
			typ = pointer.X
		}
		return []string{fmt.Sprintf("%s.%s", typ, decl.Name.Name)}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
				ast.Inspect(spec, func(node ast.Node) bool {
					if of, ok := node.(*ast.UnaryExpr); ok && of.Op == token.AND {
						if variable, ok := of.X.(*ast.Ident); ok {
							names = append(names, variable.Name)
						}
					}
					return true
				})
			}
		}
	}
	return names
}

// flat leaves out indentation: a block may show what stands in a loop.
func flat(code string) string { return regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(code, "") }

// build builds a program as a main package of this module, which lies in an overlay only, and
// returns the executable.
func build(t *testing.T, code string) string {
	t.Helper()
	dir := t.TempDir()
	here, err := os.Getwd()
	require.NoError(t, err)
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	const overlaid = "overlaid" // there is no such directory
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(here, overlaid, "main.go"): write("main.go", []byte(code))},
	})
	require.NoError(t, err)
	program := filepath.Join(dir, "program")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", write("overlay.json", overlay), "-o", program, "./"+overlaid).CombinedOutput()
	require.NoError(t, err, "%s\n%s", output, code)
	return program
}

// TestTheReadmesProgramShowsAHit runs the README's program on an embedded Redis.
func TestTheReadmesProgramShowsAHit(t *testing.T) {
	t.Parallel()
	addr, stop := startRedis()
	defer stop()
	block := goBlock.FindStringSubmatch(page(t, "README.md"))
	require.Equal(t, "program", block[1], "the first block")
	const local = `"redis://localhost:6379"`
	require.Contains(t, block[2], local)
	program := build(t, strings.Replace(block[2], local, fmt.Sprintf("%q", "redis://"+addr), 1))
	output, err := exec.CommandContext(t.Context(), program).Output()
	require.NoError(t, err)
	assert.Equal(t, "[70 140] <nil> computed\n[70 140] <nil> fresh\n", string(output))
}

// TestReferencePagesAreComplete checks that every field and every error has a row.
func TestReferencePagesAreComplete(t *testing.T) {
	options, config, errorRows := page(t, "docs/options.md"), page(t, "docs/config.md"), page(t, "docs/errors.md")
	for name := range fieldsOf[fncache.Options]() {
		assert.Contains(t, options, "\n| `"+name+"` |")
	}
	for name := range fieldsOf[fncache.Config]() {
		assert.Contains(t, config, "\n| `"+name+"` |")
	}
	names := regexp.MustCompile(`(?m)^\t(Err\w+) += errors\.New|^type (\w+Error) struct`).FindAllStringSubmatch(page(t, "errors.go"), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		if name[1] != "" {
			assert.Contains(t, errorRows, "\n| `"+name[1]+"` |")
		} else {
			assert.Contains(t, errorRows, "\n| `*"+name[2]+"` |")
		}
	}
	assert.Contains(t, errorRows, "\n| `*RedisError` |")
	for kind := range len(fncache.RedisErrorCounts{}) {
		assert.Regexp(t, "\n\\| `"+fncache.RedisErrorKind(kind).String()+"` \\|", page(t, "docs/redis-away.md"))
	}
	calls := page(t, "docs/calls.md")
	for name := range fieldsOf[fncache.Stats]() {
		assert.Contains(t, calls, "`"+name+"`")
	}
	methods := 0
	for file := range parseRoot(t).files {
		for _, match := range regexp.MustCompile(`(?m)^func \(f \*Func\) ([A-Z]\w*)\(`).FindAllStringSubmatch(page(t, file), -1) {
			if methods++; match[1] != "String" {
				assert.Contains(t, calls, "`"+match[1]+"(")
			}
		}
	}
	assert.NotZero(t, methods)
	verbs := regexp.MustCompile(`\w+ +Verb = "(\w+)"`).FindAllStringSubmatch(page(t, "internal/events/event.go"), -1)
	assert.NotEmpty(t, verbs)
	for _, verb := range verbs {
		assert.Contains(t, page(t, "docs/events.md"), "\n| `"+verb[1]+"` |")
	}
}

func fieldsOf[T any]() map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if field.IsExported() {
			fields[field.Name] = field.Type
		}
	}
	return fields
}

// TestTagsOfTheOptionsPageAreRead checks that each tag in the table of options is accepted
// together with a timeout, and that all tags are accepted together.
func TestTagsOfTheOptionsPageAreRead(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `\\w+` \\| `(\\w+(?:=[^`]+)?)` \\|").FindAllStringSubmatch(page(t, "docs/options.md"), -1)
	require.NotEmpty(t, rows)
	all, ofBatches := []string{}, []string{"timeout=1h", "batch"}
	for _, row := range rows {
		if strings.HasPrefix(row[1], "batchsize=") || strings.HasPrefix(row[1], "missingtimeout=") { // for batch functions only
			ofBatches = append(ofBatches, row[1])
			continue
		}
		all = append(all, row[1])
	}
	require.Len(t, ofBatches, 4)
	type batch = func(context.Context, []int) (map[int]int, error)
	v := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "F", Type: reflect.TypeFor[func(int) (int, error)](), Tag: reflect.StructTag(`fncache:"` + strings.Join(all, ",") + `"`)},
		{Name: "B", Type: reflect.TypeFor[batch](), Tag: reflect.StructTag(`fncache:"` + strings.Join(ofBatches, ",") + `,name=B"`)},
	}))
	v.Elem().Field(0).Set(reflect.ValueOf(func(i int) (int, error) { return i, nil }))
	v.Elem().Field(1).Set(reflect.ValueOf(func(context.Context, []int) (map[int]int, error) { return nil, nil }))
	funcs, err := fncache.WrapStruct(v.Interface(), fncache.Options{CacheErrors: []error{errors.New("no such book")}})
	require.NoError(t, err)
	funcs["F"].Unwrap()
	funcs["B"].Unwrap()
}

// TestEveryPageOpensWithItsGist checks that each page begins with a heading and a short
// paragraph.
func TestEveryPageOpensWithItsGist(t *testing.T) {
	for path, text := range pages(t) {
		head, rest, _ := strings.Cut(text, "\n\n")
		gist, _, _ := strings.Cut(rest, "\n\n")
		assert.Regexp(t, `^# [^\n]+$`, head, path)
		assert.LessOrEqual(t, strings.Count(gist, "\n")+1, 3, "%s: lines of the gist", path)
		assert.Regexp(t, "^[\\w*`]", gist, "%s: the gist is a paragraph", path)
	}
}

// TestTheIndexListsEveryPage checks that docs/README.md lists every page.
func TestTheIndexListsEveryPage(t *testing.T) {
	index := page(t, "docs/README.md")
	for path := range pages(t) {
		if name := filepath.Base(path); name != "README.md" {
			assert.Contains(t, index, "]("+name+")")
		}
	}
}

// TestLinksResolve checks that each relative link leads to a file, and its anchor to a heading
// of that file.
func TestLinksResolve(t *testing.T) {
	texts := pages(t)
	for _, path := range []string{"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} {
		texts[path] = page(t, path)
	}
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	count := 0
	for path, text := range texts {
		for _, link := range links.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			count++
			file, anchor, _ := strings.Cut(link[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); !assert.NoError(t, err, "%s links to %s", path, link[1]) || anchor == "" {
				continue
			}
			assert.Contains(t, anchors(page(t, target)), anchor, "%s links to %s", path, link[1])
		}
	}
	require.Greater(t, count, 50)
}

// withoutCode leaves out blocks and spans of code.
func withoutCode(text string) string {
	text = regexp.MustCompile("(?s)\n```.*?\n```").ReplaceAllString(text, "")
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(text, "")
}

// anchors returns those of the headings of a page, as GitHub makes them.
func anchors(text string) (all []string) {
	text = regexp.MustCompile("(?s)\n```.*?\n```").ReplaceAllString(text, "")
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

func TestEveryExportedFunctionHasAnExample(t *testing.T) {
	exported, examples := make(map[string]bool), make(map[string]bool)
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range paths {
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			if example, ok := strings.CutPrefix(fn.Name.Name, "Example"); ok {
				examples[example] = true
			} else if ast.IsExported(fn.Name.Name) && !strings.HasSuffix(path, "_test.go") {
				exported[fn.Name.Name] = true
			}
		}
	}
	require.Contains(t, exported, "Wrap")
	for name := range exported {
		assert.Contains(t, examples, name, "an Example%s is missing", name)
	}
}

// TestCommandsOfThePagesExist checks the targets of make, and the directories of go -C.
func TestCommandsOfThePagesExist(t *testing.T) {
	makefile := page(t, "Makefile")
	for path, text := range pages(t) {
		for _, command := range regexp.MustCompile("(?m)(?:^    |`)make ([a-z]+)").FindAllStringSubmatch(text, -1) {
			assert.Regexp(t, `(?m)^`+command[1]+`:`, makefile, "%s: make %s", path, command[1])
		}
		for _, command := range regexp.MustCompile("(?m)(?:^    |`)go -C (\\S+)").FindAllStringSubmatch(text, -1) {
			assert.FileExists(t, filepath.Join(command[1], "go.mod"), "%s: go -C %s", path, command[1])
		}
	}
}
