package fncache_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fncache/fncache"
)

// slowRuns logs computations that take a second, and those whose result is not stored.
type slowRuns struct {
	fncache.NopObserver
	log *slog.Logger
}

func (s slowRuns) ComputationEnded(ctx context.Context, c fncache.ComputationEnd) {
	if c.Duration >= time.Second || c.Outcome != fncache.OutcomeStored {
		s.log.InfoContext(ctx, "computed", "func", c.Func.Name(), "trigger", c.Trigger, "outcome", c.Outcome, "seconds", c.Duration.Seconds())
	}
}

func ExampleObserver() {
	ctx := context.Background()
	addr, stop := startRedis()
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "seconds" {
			return slog.Attr{}
		}
		return a
	}}))

	cache, err := fncache.Open(ctx, "redis://"+addr, fncache.Config{Observer: slowRuns{log: logger}})
	if err != nil {
		fmt.Println(err)
		return
	}
	title := func(ctx context.Context, id int64) (string, error) {
		fncache.NoStore(ctx)
		return fmt.Sprint("book ", id), nil
	}
	titles, _, err := fncache.New1(title, fncache.Options{Cache: cache, Name: "titles", Timeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	book, err := titles(ctx, 7)
	_ = cache.Close() // which waits for the observer
	fmt.Println(book, err)
	// Output:
	// level=INFO msg=computed func=titles trigger=cold outcome=not_stored
	// book 7 <nil>
}
