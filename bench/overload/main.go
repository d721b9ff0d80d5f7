// Command overload overloads a process while Redis is healthy, and counts the calls of the cached
// function. A cache that mistakes a busy process for a Redis that is away computes too often. In
// the last rows Redis really is away, or slow.
//
//	go -C bench run ./overload
//
// Every row runs in processes of its own, on a redis-server that the command starts itself, and is
// limited in calls and in time. For most rows the same work is also done by bare commands, for
// comparison: only the lookups, acquires and stores.
//
// After printing and writing everything, it fails if an aim is missed.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/fncache/fncache/bench/internal/command"
	"github.com/fncache/fncache/bench/internal/measure"
	"github.com/fncache/fncache/bench/internal/server"
	"github.com/fncache/fncache/internal/child"
)

// The arguments that make this program a child process.
const (
	workerArg = "worker"
	spinArg   = "spin"
)

func main() {
	var err error
	switch {
	case slices.Equal(os.Args[1:], []string{workerArg}):
		w := &worker{}
		err = errors.Join(child.Serve(os.Stdin, os.Stdout, w.obey), w.close())
	case slices.Equal(os.Args[1:], []string{spinArg}):
		spin(os.Stdin)
	default:
		err = run(os.Args[1:], os.Stdout, os.Stderr)
	}
	command.Exit("overload", err)
}

// spin keeps all cores except one, but at least one, busy until the input ends.
func spin(stdin io.Reader) {
	for range max(1, runtime.NumCPU()-1) {
		go func() {
			for { //nolint:staticcheck // it burns processor time on purpose
			}
		}()
	}
	_, _ = io.Copy(io.Discard, stdin)
}

// outcome is everything that a run measured; as JSON it is overload.json. Durations are in
// nanoseconds.
type outcome struct {
	Command string
	Go      string
	Cores   int
	Quick   bool
	Rows    []row
	Aims    []measure.Aim
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := command.Flags("overload", stderr)
	var (
		out   = flags.String("out", "", "`directory` for overload.json (default: none is written)")
		only  = flags.String("only", "", "comma-separated `scenes`: "+command.Names(scenes(), scene.String)+" (default: all)")
		on    = flags.String("machine", "", "comma-separated `machines`, of those in the table, such as \"one core\" (default: all)")
		quick = flags.Bool("quick", false, "a smaller load, of seconds; it fails for counts, and not for times")
	)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	size := fullSize()
	if *quick {
		size = quickSize()
	}
	chosen, err := command.Choose("only", "scene", *only, scenes(), scene.String)
	if err == nil {
		size.conditions, err = command.Choose("machine", "machine", *on, size.conditions, condition.String)
	}
	if err != nil {
		return err
	}
	o := outcome{
		Command: command.Line("go -C bench run ./overload", args),
		Go:      runtime.Version(), Cores: runtime.NumCPU(), Quick: *quick,
	}
	var faults []error
	for _, s := range chosen {
		if err := o.play(s, size, stderr); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.name, err)) // the other scenes are played in any case
		}
	}
	return errors.Join(append(faults, o.deliver(stdout, *out))...)
}

// play runs one scene on a server of its own.
func (o *outcome) play(s scene, size size, stderr io.Writer) (err error) {
	redis, err := server.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Close()) }()
	began := time.Now()
	rows, err := s.run(&stage{redis: redis, size: size, progress: func(what string) {
		fmt.Fprintf(stderr, "%s: %s\n", s.name, what)
	}})
	fmt.Fprintf(stderr, "%s: took %v\n", s.name, time.Since(began).Round(time.Second))
	for _, r := range rows {
		r.Scene = s.name
		o.Rows = append(o.Rows, r)
		o.Aims = append(o.Aims, r.aims()...)
	}
	return err
}

// deliver prints everything, and writes it to a directory unless that is "". Then it returns an
// error for missed aims.
func (o *outcome) deliver(stdout io.Writer, dir string) error {
	o.print(stdout)
	if dir != "" {
		if err := command.Save(dir, "overload.json", o); err != nil {
			return err
		}
	}
	return measure.Missed(o.Aims)
}
