// Command fncache shows and changes what processes that use the library fncache keep in Redis:
// the functions, what is stored under a key, the holders of leases, and events as they happen.
//
//	go install github.com/fncache/fncache/cmd/fncache@latest
//	fncache --redis redis://localhost:6379 functions
//
// docs/command-line.md describes the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9/logging"
	"golang.org/x/term"
)

// The exit statuses.
const (
	statusOK    = 0
	statusFault = 1 // not found, not fit, or interrupted before the end
	statusUsage = 2
)

// grammar has the flags and commands; kong reads its tags.
type grammar struct {
	Redis     string           `help:"URL of Redis: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path; ?addr=host2:6379 makes it a Cluster, ?master_name=NAME a Sentinel group." default:"redis://localhost:6379" env:"FNCACHE_REDIS" placeholder:"URL"`
	Namespace string           `help:"Config.Namespace of the processes." default:"fncache" env:"FNCACHE_NAMESPACE"`
	Format    string           `help:"Output: table or json." enum:"table,json" default:"table" env:"FNCACHE_FORMAT"`
	Timeout   time.Duration    `help:"How long Redis may take to answer a command." default:"2s"`
	Version   kong.VersionFlag `help:"Print the version."`

	Ping       pingCommand       `cmd:"" help:"Check whether Redis is fit for fncache, and whether this user has the rights."`
	Functions  functionsCommand  `cmd:"" help:"List the functions that processes have registered."`
	Key        keyCommand        `cmd:"" help:"Print the Redis key of a call, from its arguments."`
	Get        getCommand        `cmd:"" help:"Show an entry: its header and its value."`
	Leases     leasesCommand     `cmd:"" help:"List the leases: what is computed now, and what cools down."`
	Expire     expireCommand     `cmd:"" help:"Make an entry, or all entries with a tag, stale."`
	Invalidate invalidateCommand `cmd:"" help:"Invalidate an entry, or all entries with a tag."`
	Clear      clearCommand      `cmd:"" help:"Invalidate all entries of a function."`
	Top        topCommand        `cmd:"" help:"Show what happens, by function, until Ctrl-C."`
	Events     eventsCommand     `cmd:"" help:"Print each event until Ctrl-C."`
}

const description = `Shows and changes what processes that use the library fncache keep in Redis.

HASH_SECRET in the environment is Config.HashSecret: key, clear and --tag need it if the processes set it. SEAL_KEYS is Config.Seal, in hex, with commas between keys: get needs it for sealed values.

Exit status: 0; 1 if something is not found, not fit, or was interrupted; 2 for wrong usage.`

// A usageError is wrong usage that kong does not find.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// Errors about what is not in Redis wrap errNotFound.
var errNotFound = errors.New("not found")

// An exited is the panic value by which kong ends the command early, for example for --help.
type exited int

func main() {
	logging.Disable() // go-redis would log the errors that it returns
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process immediately
	os.Exit(run(ctx, os.Args[1:], terminal()))
}

// streams are what the command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	asks     bool // in is a terminal
	live     bool // out is a terminal
	progress bool // err is a terminal
}

func terminal() streams {
	return streams{os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr)}
}

func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd()))
}

// run runs the command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) (status int) {
	defer func() {
		switch value := recover().(type) {
		case nil:
		case exited:
			status = int(value)
		default:
			panic(value)
		}
	}()
	var flags grammar
	parser, err := kong.New(&flags, kong.Name("fncache"), kong.Description(description), kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(exited(code)) }), kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		panic(err) // the grammar is wrong
	}
	command, err := parser.Parse(args)
	if err != nil {
		return report(s, usageError{err.Error() + "; see fncache --help"})
	}
	a, err := newApp(&flags, s)
	if err != nil {
		return report(s, err)
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = a.await(ctx, func() error { return command.Run(a) })
	status = report(s, err)
	a.close(err)
	return status
}

// report prints an error and returns the exit status.
func report(s streams, err error) int {
	if err == nil {
		return statusOK
	}
	fmt.Fprintf(s.err, "fncache: %s\n", clean(strings.TrimPrefix(err.Error(), "fncache: ")))
	if errors.As(err, new(usageError)) {
		return statusUsage
	}
	return statusFault
}

// version returns the version of the module, as the build has recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
