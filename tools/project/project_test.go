// Package project checks that the repository's files agree: each list of modules or of steps of
// .ci/run is complete, and the Go version is the same everywhere.
//
// It is a module of its own, because actionlint needs another version of a YAML package than
// golangci-lint in tools/go.mod.
package project

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v4"
)

const root = "../.."

// modules returns the directories below the root that have a go.mod, sorted.
func modules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if entry.Name() == "go.mod" {
			dir, err := filepath.Rel(root, filepath.Dir(path))
			dirs = append(dirs, filepath.ToSlash(dir))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 2 {
		t.Fatalf("found the modules %q only; is this the repository?", dirs)
	}
	slices.Sort(dirs)
	return dirs
}

// read returns the text of a file of the repository.
func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// output returns the words that a command prints when it runs in the repository's root.
func output(t *testing.T, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	// Without this, a make that runs this test would make this one print its directory.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return strings.Fields(string(out))
}

// sameSet fails the test if a list lacks a name of want, or has another one.
func sameSet(t *testing.T, list string, got, want []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: %q is missing", list, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: there is no %q", list, name)
		}
	}
}

func TestEveryModuleHasTheGoLineOfTheLibrary(t *testing.T) {
	line := regexp.MustCompile(`(?m)^(go|toolchain) .*$`)
	want := line.FindAllString(read(t, "go.mod"), -1)
	if len(want) != 1 {
		t.Fatalf("go.mod has the lines %q; a library has a go line, and no toolchain line", want)
	}
	for _, dir := range modules(t) {
		if got := line.FindAllString(read(t, dir, "go.mod"), -1); !slices.Equal(got, want) {
			t.Errorf("%s/go.mod has %q; go.mod has %q", dir, got, want)
		}
	}
}

func TestTheReadmeNamesTheGoVersionOfTheLibrary(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if version == nil {
		t.Fatal("go.mod has no go line")
	}
	if want := "Go " + version[1]; !strings.Contains(read(t, "README.md"), want) {
		t.Errorf("README.md does not say that %s is needed", want)
	}
}

// tools/ is a list of tools: it has nothing that could be tested or linted.
func TestMakeKnowsEveryModule(t *testing.T) {
	want := slices.DeleteFunc(modules(t), func(dir string) bool { return dir == "." || dir == "tools" })
	sameSet(t, "make modules", output(t, "make", "-s", "modules"), want)
}

func TestDependabotUpdatesEveryModuleAndTheActions(t *testing.T) {
	var config struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github", "dependabot.yml")), &config); err != nil {
		t.Fatal(err)
	}
	updated := make(map[string][]string)
	for _, u := range config.Updates {
		for _, dir := range append(u.Directories, u.Directory) {
			if dir != "" {
				updated[u.Ecosystem] = append(updated[u.Ecosystem], dir)
			}
		}
	}
	var want []string
	for _, dir := range modules(t) {
		want = append(want, "/"+strings.TrimPrefix(dir, "."))
	}
	sameSet(t, ".github/dependabot.yml, gomod", updated["gomod"], want)
	sameSet(t, ".github/dependabot.yml, github-actions", updated["github-actions"], []string{"/"})
}

// workflows parses .github/workflows, and fails the test of what actionlint finds.
func workflows(t *testing.T) map[string]*actionlint.Workflow {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no workflow is in .github/workflows (%v)", err)
	}
	parsed := make(map[string]*actionlint.Workflow)
	for _, path := range paths {
		text := read(t, ".github", "workflows", filepath.Base(path))
		workflow, faults := actionlint.Parse([]byte(text))
		for _, fault := range faults {
			t.Errorf("%s: %v", path, fault)
		}
		parsed[filepath.Base(path)] = workflow
	}
	return parsed
}

// steps calls visit for each step of a workflow.
func steps(w *actionlint.Workflow, visit func(job string, step *actionlint.Step)) {
	for _, job := range slices.Sorted(maps.Keys(w.Jobs)) {
		for _, step := range w.Jobs[job].Steps {
			visit(job, step)
		}
	}
}

func TestTheWorkflowRunsEveryStepOfTheCIScript(t *testing.T) {
	call := regexp.MustCompile(`(?m)^\.ci/run +(.+)$`)
	var run []string
	steps(workflows(t)["ci.yml"], func(_ string, step *actionlint.Step) {
		if exec, ok := step.Exec.(*actionlint.ExecRun); ok {
			for _, match := range call.FindAllStringSubmatch(exec.Run.Value, -1) {
				run = append(run, strings.Fields(match[1])...)
			}
		}
	})
	sameSet(t, ".github/workflows/ci.yml", run, output(t, "./.ci/run", "-l"))
}

func TestWorkflowsPassActionlint(t *testing.T) {
	var found bytes.Buffer
	linter, err := actionlint.NewLinter(&found, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linter.LintFiles(paths, nil); err != nil {
		t.Fatal(err)
	}
	if found.Len() > 0 {
		t.Errorf("actionlint:\n%s", &found)
	}
}

func TestWorkflowsMayReadOnlyHaveTimeLimitsAndPinTheirActions(t *testing.T) {
	pinned := regexp.MustCompile(`^actions/[a-z-]+@v\d+$|@[0-9a-f]{40}$`)
	for name, w := range workflows(t) {
		if !readsOnly(w.Permissions) {
			t.Errorf("%s: permissions are not just contents: read", name)
		}
		for id, job := range w.Jobs {
			if job.TimeoutMinutes == nil {
				t.Errorf("%s: job %s has no timeout-minutes", name, id)
			}
			if job.Permissions != nil && !readsOnly(job.Permissions) {
				t.Errorf("%s: job %s has permissions of its own", name, id)
			}
		}
		steps(w, func(job string, step *actionlint.Step) {
			action, ok := step.Exec.(*actionlint.ExecAction)
			if ok && !pinned.MatchString(action.Uses.Value) {
				t.Errorf("%s: job %s uses %s; pin it by its commit, or by the major version if GitHub publishes it", name, job, action.Uses.Value)
			}
		})
	}
}

func readsOnly(p *actionlint.Permissions) bool {
	if p == nil || p.All != nil || len(p.Scopes) != 1 {
		return false
	}
	contents := p.Scopes["contents"]
	return contents != nil && contents.Value.Value == "read"
}

// GitHub leaves out an issue form that it cannot read, and says so on the web only.
func TestIssueFormsAreComplete(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, ".github", "ISSUE_TEMPLATE", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	types := []string{"checkboxes", "dropdown", "input", "markdown", "textarea"}
	forms := 0
	for _, path := range paths {
		name := filepath.Base(path)
		if name == "config.yml" {
			continue
		}
		forms++
		var form struct {
			Name, Description string
			Body              []struct {
				Type       string
				ID         string
				Attributes struct {
					Label   string
					Options []string
				}
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, ".github", "ISSUE_TEMPLATE", name)), &form); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s: a form needs a name, a description and a body", name)
		}
		ids := make(map[string]bool)
		for i, field := range form.Body {
			switch {
			case !slices.Contains(types, field.Type):
				t.Errorf("%s: field %d has the unknown type %q", name, i+1, field.Type)
			case field.Type != "markdown" && (field.ID == "" || field.Attributes.Label == "" || ids[field.ID]):
				t.Errorf("%s: field %d needs a label, and an id that no other field has", name, i+1)
			case field.Type == "dropdown" && len(field.Attributes.Options) == 0:
				t.Errorf("%s: field %d has no options", name, i+1)
			}
			ids[field.ID] = true
		}
	}
	if forms == 0 {
		t.Error("there is no issue form in .github/ISSUE_TEMPLATE")
	}
}

// TestSeededBugsApply checks that the bugs of history/seeded.sh still fit the code that they are
// put into. The script takes minutes, so it is run by hand.
func TestSeededBugsApply(t *testing.T) {
	patches, err := filepath.Glob(filepath.Join(root, "history", "testdata", "seeded", "*.patch"))
	if err != nil || len(patches) == 0 {
		t.Fatalf("found no patches: %v", err)
	}
	for _, patch := range patches {
		path, err := filepath.Abs(patch)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("git", "apply", "--check", path)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply, so change the patch: %v\n%s", filepath.Base(patch), err, out)
		}
	}
}
