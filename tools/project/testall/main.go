// Testall runs the tests of the library and of the other modules of this repository.
//
//	testall [-race] [-width N] [-root DIR] MODULE...
//
// It runs several test binaries at the same time, because most tests wait for servers or for time
// to pass. Each begins as soon as it is built. In the end it runs the tests that need a
// processor for themselves, one by one.
//
// The tests of the library's root package run in shards. Each shard is a process that runs a part
// of the tests one after the other. So tests that must not run in parallel, because they look at
// everything that a process does, still wait at the same time.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// skipsEnv names the file to which internal/redistest appends skipped tests.
	skipsEnv = "FNCACHE_TEST_SKIPS"
	// shards is how many processes share the tests of the root package. With more processes, the
	// slowest single test determines the time, and each process starts servers of its own.
	shards = 4
	// parallel is how many parallel tests of a process run at the same time. They wait for servers
	// that do not answer.
	parallel = 4
	// parallelAlone is the same for tests that have the processor for themselves. With 8, one of
	// faults was too late beside other programs.
	parallelAlone = 6
)

// long are the modules whose tests take longest. They begin first, so that nothing waits for them
// in the end.
var long = []string{"examples/bookstore", "history"}

// alone are the directories of the packages whose tests have the processor for themselves, because
// they measure what it does, or require answers within fractions of a second.
var alone = []string{"faults", "bench", "bench/callers", "bench/load", "bench/overload"}

// raced are the modules tested with the race detector, as the library is. Other modules are not:
// the bookstore has a SQLite translated from C, which the detector only slows down, and a benchmark
// would measure the detector.
var raced = []string{"faults"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testall:", err)
		os.Exit(1)
	}
}

// A suite is the state that the jobs of a run share.
type suite struct {
	root  string
	race  []string // the flag of go test, or none
	width int
	work  string // a temporary directory
	out   io.Writer

	mu     sync.Mutex // guards the fields below, and out
	jobs   int        // that have ended
	failed []string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("testall", flag.ContinueOnError)
	race := flags.Bool("race", false, "test the library and faults with the race detector")
	width := flags.Int("width", runtime.NumCPU()+1, "how many test binaries run at once")
	root := flags.String("root", ".", "the directory of the library")
	if err := flags.Parse(args); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "testall-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	top, err := filepath.Abs(*root) // as go list gives directories
	if err != nil {
		return err
	}
	s := &suite{root: top, width: max(*width, 1), work: work}
	if *race {
		s.race = []string{"-race"}
	}
	failed, err := s.runAll(ctx, inOrder(flags.Args()), out)
	if err != nil {
		return err
	}
	if err := s.reportSkips(out); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d failed: %s", len(failed), s.jobs, strings.Join(failed, ", "))
	}
	return ctx.Err()
}

// inOrder returns the library, which is ".", and the other modules in the order in which their
// tests run.
func inOrder(modules []string) []string {
	rank := func(module string) int {
		if slices.ContainsFunc(alone, func(dir string) bool { return dir == module || strings.HasPrefix(dir, module+"/") }) {
			return len(long) + 2
		}
		if at := slices.Index(long, module); at >= 0 {
			return at
		}
		return len(long)
	}
	all := append([]string{"."}, modules...)
	slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	return all
}

// A job is a test binary, and which of its tests to run.
type job struct {
	name   string
	binary string
	dir    string // of its package
	run    string // a pattern
	alone  bool
}

// isAlone reports whether a job has the processor for itself.
func (s *suite) isAlone(j job) bool {
	return slices.ContainsFunc(alone, func(dir string) bool { return filepath.Join(s.root, dir) == filepath.Clean(j.dir) })
}

// build builds the test binaries of a module, several at once, as a job each. The root package of
// the library has several.
func (s *suite) build(ctx context.Context, module string) ([]job, error) {
	dir := filepath.Join(s.root, module)
	list, err := s.output(ctx, dir, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}", "./...")
	if err != nil {
		return nil, err
	}
	var jobs []job
	folders := make(map[string][]string) // the packages whose binaries go to a folder: their names differ
	for line := range strings.Lines(list) {
		path, packageDir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue // it has no tests
		}
		folder := filepath.Join(s.work, module)
		binary := func() string { return filepath.Join(folder, filepath.Base(path)+".test") }
		for slices.ContainsFunc(jobs, func(j job) bool { return j.binary == binary() }) {
			folder = filepath.Join(folder, "more")
		}
		folders[folder] = append(folders[folder], path)
		jobs = append(jobs, job{name: path, binary: binary(), dir: packageDir, run: "."})
	}
	for folder, packages := range folders {
		// Without symbols for debuggers, linking takes two thirds of the time. Stack traces do not
		// need them.
		command := []string{"go", "test", "-c", "-ldflags=-s -w", "-o", folder + string(filepath.Separator)}
		if module == "." || slices.Contains(raced, module) {
			command = append(command, s.race...)
		}
		if _, err := s.output(ctx, dir, append(command, packages...)...); err != nil {
			return nil, err
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("module %s has no tests", module)
	}
	if module != "." {
		return jobs, nil
	}
	shards, err := s.shards(ctx, jobs[0])
	return append(shards, jobs[1:]...), err
}

// testName matches the names in the output of -test.list that -test.run runs.
var testName = regexp.MustCompile(`^(Test|Example|Fuzz)`)

// shards splits the tests of a binary into jobs.
func (s *suite) shards(ctx context.Context, all job) ([]job, error) {
	list, err := s.output(ctx, all.dir, all.binary, "-test.list", ".")
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(strings.Fields(list), func(name string) bool { return !testName.MatchString(name) })
	dealt := deal(names, shards)
	var jobs []job
	for i, names := range dealt {
		shard := all
		shard.name = fmt.Sprintf("%s (%d of %d)", all.name, i+1, len(dealt))
		shard.run = "^(" + strings.Join(names, "|") + ")$"
		jobs = append(jobs, shard)
	}
	return jobs, nil
}

// deal gives each name to one of n shards. Neighbours go to different shards, because tests of one
// file take about the same time.
func deal(names []string, n int) [][]string {
	dealt := make([][]string, min(n, len(names)))
	for i, name := range names {
		dealt[i%len(dealt)] = append(dealt[i%len(dealt)], name)
	}
	return dealt
}

// output runs a command, and returns what it prints.
func (s *suite) output(ctx context.Context, dir string, command ...string) (string, error) {
	cmd := s.cmd(ctx, dir, command...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(command, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// cmd returns a command that is interrupted when ctx ends.
func (s *suite) cmd(ctx context.Context, dir string, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	// A binary with the race detector waits a second in the end, for races of goroutines that are
	// left. Nothing that is tested runs then.
	cmd.Env = append(os.Environ(), skipsEnv+"="+s.skips(), "GORACE=atexit_sleep_ms=100 "+os.Getenv("GORACE"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runAll builds the modules one after the other, and runs their tests meanwhile, width jobs at once.
// Then it runs the jobs that need a processor for themselves. It returns the names of the jobs
// that failed.
func (s *suite) runAll(ctx context.Context, modules []string, out io.Writer) (failed []string, err error) {
	s.out = out
	ctx, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	slots := make(chan struct{}, s.width)
	defer running.Wait()
	defer end() // if a module cannot be built
	began := time.Now()
	var last []job
	for _, module := range modules {
		jobs, err := s.build(ctx, module)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if j.alone = s.isAlone(j); j.alone {
				last = append(last, j)
				continue
			}
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				s.run(ctx, j)
			})
		}
	}
	s.print("testall: built in %.0f s, while other tests ran\n", time.Since(began).Seconds())
	running.Wait()
	for _, j := range last {
		s.run(ctx, j)
	}
	return s.failed, nil
}

func (s *suite) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// run runs a job, and prints the result.
func (s *suite) run(ctx context.Context, j job) {
	began := time.Now()
	var printed bytes.Buffer
	atOnce := parallel
	if j.alone {
		atOnce = parallelAlone
	}
	// These are the flags that go test would give it.
	cmd := s.cmd(ctx, j.dir, j.binary, "-test.paniconexit0", "-test.timeout=10m",
		"-test.parallel="+strconv.Itoa(atOnce), "-test.shuffle=on", "-test.run="+j.run)
	cmd.Stdout, cmd.Stderr = &printed, &printed
	err := cmd.Run()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs++
	if err == nil { // go test also leaves out the output of tests that pass
		fmt.Fprintf(s.out, "ok  \t%s\t%.3fs\t%.0fs of a processor\n", j.name, time.Since(began).Seconds(), processor(cmd).Seconds())
		return
	}
	s.failed = append(s.failed, j.name)
	_, _ = printed.WriteTo(s.out)
	fmt.Fprintf(s.out, "FAIL\t%s\t%.3fs\t(%v)\n", j.name, time.Since(began).Seconds(), err)
}

// processor returns how long a command kept a processor busy. A job that took longer waited for
// servers or for time to pass.
func processor(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func (s *suite) skips() string { return filepath.Join(s.work, "skips") }

// reportSkips prints how many tests were skipped because there is no server for them.
func (s *suite) reportSkips(out io.Writer) error {
	names, err := os.ReadFile(s.skips())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if n := bytes.Count(names, []byte("\n")); n > 0 {
		fmt.Fprintf(out, "\nSKIPPED: %d tests (with subtests) need a real Redis. Install redis-server 7 or later\n"+
			"(Debian: apt-get install redis-server), or set FNCACHE_REDIS_SERVER to the path of a server, and run them again.\n", n)
	}
	return err
}
