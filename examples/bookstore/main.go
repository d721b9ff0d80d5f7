// Command bookstore shows what fncache is for: a shop whose page "the ten most
// bought books of this author" comes from a really slow query, and a thousand
// visitors who ask for it at the same moment.
//
//	go -C examples/bookstore run .                  # play the stampede, print a table
//	go -C examples/bookstore run . -quick           # the same with a small table of purchases
//	go -C examples/bookstore run . -serve :8080     # serve the shop: open localhost:8080 in a browser
//	go -C examples/bookstore run . -metrics :9464   # play visitors, and serve metrics for Prometheus
//
// It needs nothing installed: the database is an embedded SQLite in a temporary
// folder, and Redis an embedded miniredis, unless -redis names a real one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/fncache/fncache"
)

// workerMode is the one argument with which the program starts itself as one of
// the processes of the stampede. See worker.go.
const workerMode = "worker"

// secretEnv names the environment variable for fncache.Config.HashSecret, which must be the
// same in every process that shares a Redis. It is not a flag, because ps shows flags.
const secretEnv = "BOOKSTORE_HASH_SECRET"

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerMode {
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bookstore worker:", err)
			os.Exit(1)
		}
		return
	}
	cfg, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, cfg, os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "bookstore: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bookstore:", err)
		os.Exit(1)
	}
}

// config is what the command line says.
type config struct {
	catalog  string // a CSV file; "" for the built-in classics
	redisURL string // "" for an embedded miniredis
	serve    string // an address; "" plays the stampede
	metrics  string // an address; "" serves metrics with the shop only
	quick    bool
	onCold   fncache.ColdPolicy
}

func parseFlags(args []string, output io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("bookstore", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&cfg.catalog, "catalog", "", "sell the books of this CSV `FILE` with the columns "+columnList()+" (default: some hundred classics)")
	flags.StringVar(&cfg.redisURL, "redis", "", "cache in the Redis at this `URL`, as redis://:password@host:6379/0 (default: an embedded miniredis)")
	flags.StringVar(&cfg.serve, "serve", "", "serve the shop over HTTP at this `ADDR`, as :8080, instead of playing the stampede")
	flags.StringVar(&cfg.metrics, "metrics", "", "serve metrics for Prometheus at this `ADDR`, as :9464; without -serve, visitors are played instead of the stampede")
	flags.BoolVar(&cfg.quick, "quick", false, "a small table of purchases: the query is less slow, and the run takes seconds")
	flags.Func("oncold", "what a caller gets while the cache is cold and another computes: `POLICY` fail (at once), wait or compute (default fail)", func(s string) error {
		switch s {
		case "fail":
			cfg.onCold = fncache.Fail
		case "wait":
			cfg.onCold = fncache.Wait
		case "compute":
			cfg.onCold = fncache.Compute
		default:
			return errors.New("it must be fail, wait or compute")
		}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(output, err)
		flags.Usage()
		return config{}, err
	}
	return cfg, nil
}

// run sets the shop up, serves it or plays the stampede, and clears up.
func run(ctx context.Context, cfg config, stdout, stderr io.Writer) (err error) {
	books, err := loadCatalog(cfg.catalog)
	if err != nil {
		return err
	}
	server, err := startRedis(ctx, cfg.redisURL) // before the database, which takes longer to build
	if err != nil {
		return err
	}
	defer server.close()
	dir, err := os.MkdirTemp("", "bookstore-")
	if err != nil {
		return fmt.Errorf("a folder for the database: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	rows := fullPurchases
	if cfg.quick {
		rows = quickPurchases
	}
	path, err := buildDatabase(ctx, dir, books, rows, newProgress(stderr))
	if err != nil {
		return err
	}
	db, err := openDatabase(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()

	fmt.Fprintf(stdout, "Catalogue: %d books of %d authors; %s purchases in SQLite.\n", len(books.books), books.authors, thousands(rows))
	fmt.Fprintf(stdout, "Redis:     %s\n", server.what)

	backend := backend{Database: path, Redis: server.url, Secret: []byte(os.Getenv(secretEnv)), OnCold: cfg.onCold}
	meters, err := newMetrics()
	if err != nil {
		return err
	}
	shop, err := openShop(db, backend, meters)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.close()) }()
	if err := shop.cache.Ping(ctx); err != nil {
		return err
	}
	if cfg.metrics != "" {
		end, serveErr := meters.serve(cfg.metrics, stdout)
		if serveErr != nil {
			return serveErr
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	switch {
	case cfg.serve != "":
		return serve(ctx, cfg.serve, shop, server, stdout)
	case cfg.metrics != "":
		visit(ctx, shop, books.books, stdout)
		return nil
	}
	return playStampede(ctx, shop, backend, books.busiest(), stdout)
}
