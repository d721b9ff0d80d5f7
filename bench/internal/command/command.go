// Package command has what the commands of this module share: how they start, read flags, choose
// what to run, and write what they measured.
package command

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Main runs a command, prints its error and exits.
func Main(name string, run func(args []string, stdout, stderr io.Writer) error) {
	Exit(name, run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit ends the process: with status 0 if err is nil or says that help was printed, else with 1.
func Exit(name string, err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Flags returns an empty set of flags, which prints its help to stderr.
func Flags(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	return flags
}

// Parse parses args, and refuses arguments that are not flags.
func Parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; there are only flags", flags.Arg(0))
	}
	return nil
}

// Choose returns the elements of all that the comma-separated value of a flag names, or all if the
// value is empty. An element is a what, such as a workload.
func Choose[T any](flag, what, value string, all []T, nameOf func(T) string) ([]T, error) {
	if value == "" {
		return all, nil
	}
	var chosen []T
	for name := range strings.SplitSeq(value, ",") {
		i := slices.IndexFunc(all, func(one T) bool { return nameOf(one) == name })
		if i < 0 {
			return nil, fmt.Errorf("-%s: there is no %s %q; choose from %s", flag, what, name, Names(all, nameOf))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Names returns the names of all elements, for help and errors.
func Names[T any](all []T, nameOf func(T) string) string {
	var names []string
	for _, one := range all {
		names = append(names, nameOf(one))
	}
	return strings.Join(names, ", ")
}

// Save writes an outcome as JSON to a file of a directory, which it makes if it is missing.
func Save(dir, file string, outcome any) error {
	raw, err := json.MarshalIndent(outcome, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, file), append(raw, '\n'), 0o666)
}

// Line returns the command line that gives the same figures. It leaves out the path of the
// catalogue on this machine.
func Line(command string, args []string) string {
	words := append([]string{command}, args...)
	for i, word := range words {
		name, _, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case word == name || name != "catalog":
		case valued:
			words[i] = "-catalog=FILE.csv"
		case i+1 < len(words):
			words[i+1] = "FILE.csv"
		}
	}
	return strings.Join(words, " ")
}
