// Command fncachegen writes the code that caches the methods of an interface.
//
//	go get -tool github.com/fncache/fncache/cmd/fncachegen
//
//	//go:generate go tool fncachegen -type BookRepository
//
// For an interface BookRepository, go generate then writes the file bookrepository_fncache.go
// beside it, with
//
//   - BookRepositoryOptions, which has fncache.Options for each method that can be cached;
//   - CacheBookRepository, which takes an implementation and these options, and returns a
//     BookRepository whose methods are cached, with their handles;
//   - BookRepositoryFuncs, the handles: invalidate, refresh, counters.
//
// A method without options is passed through to the implementation. So is a method that
// cannot be cached: one without a result besides an error, or with a parameter or result of
// a kind that fncache refuses. Its comment in the generated code says why.
//
// Flags:
//
//	-type NAMES    the interfaces, separated by commas; required
//	-output FILE   the file to write; default: the first name in lower case, _fncache.go
//	-name NAME     the stem of the generated names; default: the name of the interface
//	-batch NAMES   methods that return values for many ids, separated by commas
//
// A method of -batch has the form func(context.Context, []K) (map[K]V, error). It is cached by
// fncache.WrapBatch, with an entry for each id, so its map must have the ids as keys and no others.
//
// The interfaces are in the package in the current directory, or in the directory that is given as
// an argument.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	err := run(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "fncachegen:", err)
		os.Exit(1)
	}
}

// A task is one run of the command.
type task struct {
	dir     string
	types   []string
	batches []string // methods that return values for many ids
	stem    string   // of the generated names; "" for the name of the type
	output  string   // the path of the file
}

func run(args []string, stderr io.Writer) error {
	t, err := parse(args, stderr)
	if err != nil {
		return err
	}
	code, err := t.generate()
	if err != nil {
		return err
	}
	return os.WriteFile(t.output, code, 0o644)
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*task, error) {
	flags := flag.NewFlagSet("fncachegen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: fncachegen -type NAMES [-output FILE] [-name NAME] [-batch NAMES] [directory]")
		flags.PrintDefaults()
	}
	types := flags.String("type", "", "the interfaces, separated by commas")
	output := flags.String("output", "", "the file to write (default: the first name in lower case, _fncache.go)")
	stem := flags.String("name", "", "the stem of the generated names (default: the name of the interface)")
	batches := flags.String("batch", "", "methods that return values for many ids, separated by commas")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	t := &task{dir: ".", stem: *stem}
	if flags.NArg() > 0 {
		t.dir = flags.Arg(0)
	}
	t.types, t.batches = list(*types), list(*batches)
	switch {
	case len(t.types) == 0:
		return nil, errors.New("no interface is named; set -type, as in -type BookRepository")
	case flags.NArg() > 1:
		return nil, fmt.Errorf("%d directories are given; give one, or none for the current directory", flags.NArg())
	case len(t.types) > 1 && t.stem != "":
		return nil, errors.New("-name is for one interface; run fncachegen once for each -type")
	}
	if t.output = *output; t.output == "" {
		t.output = strings.ToLower(t.types[0]) + "_fncache.go"
	}
	if !filepath.IsAbs(t.output) {
		t.output = filepath.Join(t.dir, t.output)
	}
	return t, nil
}

// list returns the names in a flag.
func list(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
