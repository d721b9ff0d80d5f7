package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A repository is a library with a package below it, and another module.
func repository(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	const test = `package p

import (
	"fmt"
	"os"
	"testing"
)

// ran appends a line to a file, as internal/redistest does for a skipped test.
func ran(t testing.TB, file string) {
	f, err := os.OpenFile(os.Getenv(file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, t.Name())
	f.Close()
}
`
	var many strings.Builder
	for i := range 10 {
		fmt.Fprintf(&many, "func TestNumber%d(t *testing.T) { ran(t, \"RAN\") }\n", i)
	}
	many.WriteString(`
func FuzzSeed(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, _ int) { ran(t, "RAN") })
}

func BenchmarkNothing(b *testing.B) { panic("a benchmark ran") }

func TestBroken(t *testing.T) {
	if os.Getenv("BREAK") != "" {
		t.Error("it is broken")
	}
}
`)
	for name, text := range map[string]string{
		"go.mod":                "module example.com/p\n\ngo 1.26.0\n",
		"p_test.go":             test + many.String(),
		"below/p_test.go":       test + "func TestBelow(t *testing.T) { ran(t, \"RAN\") }\n",
		"deep/below/p_test.go":  test + "func TestDeepBelow(t *testing.T) { ran(t, \"RAN\") }\n",
		"other/go.mod":          "module example.com/p/other\n\ngo 1.26.0\n",
		"other/p_test.go":       test + "func TestOther(t *testing.T) { ran(t, \"RAN\"); ran(t, \"" + skipsEnv + "\") }\n",
		"other/below/p_test.go": test + "func TestOtherBelow(t *testing.T) { ran(t, \"RAN\") }\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEveryTestOfEveryModuleRunsOnceAndSkipsAreCounted(t *testing.T) {
	root := repository(t)
	log := filepath.Join(t.TempDir(), "ran")
	t.Setenv("RAN", log)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-root", root, "other"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	ran, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"FuzzSeed/seed#0", "TestBelow", "TestDeepBelow", "TestOther", "TestOtherBelow"}
	for i := range 10 {
		want = append(want, fmt.Sprintf("TestNumber%d", i))
	}
	got := strings.Fields(string(ran))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("ran %q; want %q", got, want)
	}
	for _, text := range []string{"SKIPPED: 1 tests", "ok  \texample.com/p/below", "ok  \texample.com/p (4 of 4)", "ok  \texample.com/p/other/below"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is missing in:\n%s", text, &out)
		}
	}
}

func TestATestThatFailsIsShownAndFailsTheRun(t *testing.T) {
	root := repository(t)
	t.Setenv("RAN", filepath.Join(t.TempDir(), "ran"))
	t.Setenv("BREAK", "1")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-root", root, "-width", "1", "other"}, &out)
	if err == nil || !strings.Contains(err.Error(), "1 of 8 failed: example.com/p (") {
		t.Errorf("the error is %v", err)
	}
	for _, text := range []string{"it is broken", "--- FAIL: TestBroken", "FAIL\texample.com/p (", "ok  \texample.com/p/other"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is missing in:\n%s", text, &out)
		}
	}
}

func TestCodeThatDoesNotCompileFailsTheRun(t *testing.T) {
	root := repository(t)
	if err := os.WriteFile(filepath.Join(root, "broken_test.go"), []byte("package p\n\nvar x int = \"\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-root", root}, &out); err == nil || !strings.Contains(err.Error(), "broken_test.go") {
		t.Errorf("the error is %v", err)
	}
}

func TestDealGivesEachNameToOneShard(t *testing.T) {
	for _, names := range [][]string{nil, {"a"}, {"a", "b", "c", "d", "e", "f", "g"}} {
		dealt := deal(names, 3)
		got := slices.Concat(dealt...)
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%q were dealt as %q", names, dealt)
		}
	}
}

func TestThePackagesThatRunAloneAreInTheRepository(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range alone {
		tests, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil || len(tests) == 0 {
			t.Errorf("%s has no tests", dir)
		}
		s := &suite{root: root}
		if !s.isAlone(job{dir: filepath.Join(root, dir)}) || s.isAlone(job{dir: filepath.Join(root, dir, "below")}) {
			t.Errorf("%s does not run alone", dir)
		}
	}
}
