package fncache_test

import (
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

// The README is part of the API: what it shows runs, and what it lists is all
// there is.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

// TestReadmeCodeIsTheCodeOfExamples: before each Go block stands a comment that
// names the declaration in example_test.go which it is: a type as it is declared,
// or an Example's body, but for paragraphs that set up and try out.
func TestReadmeCodeIsTheCodeOfExamples(t *testing.T) {
	text := readme(t)
	blocks := regexp.MustCompile("(?s)<!-- example_test\\.go: (\\w+) -->\n```go\n(.*?)```").FindAllStringSubmatch(text, -1)
	require.Equal(t, strings.Count(text, "```go"), len(blocks), "each block names its example")
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		name, code := block[1], block[2]
		assert.Contains(t, "\n\n"+exampleSource(t, name)+"\n", "\n\n"+code+"\n", name)
	}
}

// exampleSource gives a type's declaration in example_test.go, or a function's
// body without its indentation and its expected output.
func exampleSource(t *testing.T, name string) string {
	t.Helper()
	const file = "example_test.go"
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	require.NoError(t, err)
	between := func(from, to token.Pos) string {
		return string(source[files.Position(from).Offset:files.Position(to).Offset])
	}
	for _, decl := range parsed.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.Name == name {
				body := between(decl.Body.Lbrace+1, decl.Body.Rbrace)
				body, _, _ = strings.Cut(body, "\t// Output:")
				formatted, err := format.Source([]byte(body))
				require.NoError(t, err)
				return unindent(string(formatted))
			}
		case *ast.GenDecl:
			spec, ok := decl.Specs[0].(*ast.TypeSpec)
			if ok && spec.Name.Name == name {
				return between(decl.Pos(), decl.End()) + "\n"
			}
		}
	}
	t.Fatalf("%s: no %s", file, name)
	return ""
}

func unindent(code string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(code, "\n\t "), "\n") {
		lines = append(lines, strings.TrimPrefix(line, "\t"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestReadmeListsAllOptionsAndErrors: a row for every field and every error.
func TestReadmeListsAllOptionsAndErrors(t *testing.T) {
	text := readme(t)
	options := section(t, text, "Options")
	for name := range fieldsOf[fncache.Options]() {
		assert.Contains(t, options, "\n| `"+name+"` |")
	}
	config := section(t, text, "Config")
	for name := range fieldsOf[fncache.Config]() {
		assert.Contains(t, config, "\n| `"+name+"` |")
	}
	source, err := os.ReadFile("errors.go")
	require.NoError(t, err)
	errorRows := section(t, text, "Errors")
	names := regexp.MustCompile(`(?m)^\t(Err\w+) += errors\.New|^type (\w+Error) struct`).FindAllStringSubmatch(string(source), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		if name[1] != "" {
			assert.Contains(t, errorRows, "\n| `"+name[1]+"`")
		} else {
			assert.Contains(t, errorRows, "`*"+name[2]+"`")
		}
	}
}

func fieldsOf[T any]() map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		fields[field.Name] = field.Type
	}
	return fields
}

// section gives the text under a heading.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n## "+heading+"\n")
	require.True(t, found, heading)
	before, _, _ := strings.Cut(after, "\n## ")
	return before
}

// TestReadmeTagsAreRead: each tag in the table of options is accepted as it is
// written there, beside the timeout, and so are all together.
func TestReadmeTagsAreRead(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `\\w+` \\| `(\\w+(?:=[^`]+)?)` \\|").FindAllStringSubmatch(section(t, readme(t), "Options"), -1)
	require.NotEmpty(t, rows)
	var all []string
	for _, row := range rows {
		all = append(all, row[1])
	}
	field := reflect.StructField{
		Name: "F", Type: reflect.TypeFor[func(int) (int, error)](),
		Tag: reflect.StructTag(`fncache:"` + strings.Join(all, ",") + `"`),
	}
	v := reflect.New(reflect.StructOf([]reflect.StructField{field}))
	v.Elem().Field(0).Set(reflect.ValueOf(func(i int) (int, error) { return i, nil }))
	funcs, err := fncache.WrapStruct(v.Interface(), fncache.Options{CacheErrors: []error{errors.New("no such book")}})
	require.NoError(t, err)
	funcs["F"].Unwrap()
}
