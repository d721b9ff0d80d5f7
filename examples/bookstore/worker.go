package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache"
)

// retryAfter is when a refused caller comes back, by the server's Retry-After.
const retryAfter = time.Second

// An agingStore reads and writes the same entries as Store, since their prefix,
// name and signature are the same and both say shared. It finds them stale after a
// second: the
// reader judges by its own freshness. So the stampede need not wait an hour for
// an old value.
type agingStore struct {
	TopBooks func(ctx context.Context, author string) ([]Bestseller, error) `fncache:"timeout=24h,freshness=1s,prefix=Author,name=TopBooks,shared,lease=2s,tags=author:{0}"`
}

// agingFreshness is the freshness of agingStore.
const agingFreshness = time.Second

// work is the program as one of the processes of the stampede.
func work(stdin io.Reader, stdout io.Writer) error {
	// Ctrl-C goes to all processes at once. The parent clears up, and closes our
	// input.
	signal.Ignore(os.Interrupt)
	w := &worker{out: newReporter(stdout), carryOn: make(chan struct{}, 100)}
	err := w.obey(json.NewDecoder(stdin))
	if err != nil {
		w.out.send(report{Event: eventBroken, Err: err.Error()})
	}
	close(w.carryOn) // nothing is held back any more
	if w.shop != nil {
		err = errors.Join(err, w.shop.close(), w.shop.db.close())
	}
	return err
}

// A worker is the state between orders.
type worker struct {
	out     *reporter
	shop    *shop
	aging   agingStore
	hold    atomic.Bool   // queries wait for carryOn before they return
	started chan struct{} // closed by go
	carryOn chan struct{} // one element for each query that may return; far more room than a process has queries

	commandsBefore int64 // when the act began
}

// obey executes orders until they end.
func (w *worker) obey(orders *json.Decoder) error {
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		switch o.Do {
		case doOpen:
			if err := w.open(*o.Backend); err != nil {
				return err
			}
			w.out.send(report{Event: eventReady})
		case doLineUp:
			w.lineUp(*o.Burst)
			w.out.send(report{Event: eventReady})
		case doGo:
			w.commandsBefore = w.shop.commands.n.Load()
			close(w.started)
		case doCarryOn:
			w.carryOn <- struct{}{}
		default:
			return fmt.Errorf("unknown order %q", o.Do)
		}
	}
}

func (w *worker) open(b backend) error {
	db, err := openDatabase(b.Database)
	if err != nil {
		return err
	}
	db.began = func() { w.report(report{Event: eventComputing}) }
	db.ended = func() {
		if w.hold.Load() {
			<-w.carryOn
		}
	}
	if w.shop, err = openShop(db, b, nil); err != nil {
		return errors.Join(err, db.close())
	}
	w.aging.TopBooks = db.topBooks
	if _, err := fncache.WrapStruct(&w.aging, w.shop.options); err != nil {
		return err
	}
	return w.shop.cache.Ping(context.Background())
}

// lineUp starts the callers of a burst. They wait for go.
func (w *worker) lineUp(b burst) {
	w.hold.Store(b.Hold)
	w.started = make(chan struct{})
	started := w.started
	ask := map[callee]func(context.Context, string) ([]Bestseller, error){
		callPlain: w.shop.plain.TopBooks,
		callStore: w.shop.cached.TopBooks,
		callAging: w.aging.TopBooks,
	}[b.Call]
	var callers sync.WaitGroup
	for range b.Requests {
		callers.Go(func() {
			<-started
			for w.request(b, ask) == fncache.SourceRefused && b.AskAgain {
				time.Sleep(retryAfter)
			}
		})
	}
	go func() {
		callers.Wait()
		w.report(report{Event: eventDone})
	}()
}

// request is one request of one visitor, reported when it has ended.
func (w *worker) request(b burst, ask func(context.Context, string) ([]Bestseller, error)) fncache.Source {
	ctx, cancel := context.WithTimeout(context.Background(), b.Patience)
	defer cancel()
	var info fncache.Info
	begin := time.Now()
	_, err := ask(fncache.WithInfo(ctx, &info), b.Author)
	r := report{Event: eventAnswer, Took: time.Since(begin)}
	switch {
	case b.Call == callPlain && err == nil:
		info.Source = fncache.SourceComputed
	case b.Call == callPlain:
		info.Source = fncache.SourceFailed
	}
	r.Source = info.Source.String()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.Err = fmt.Sprintf("gave up after %v", b.Patience)
	case info.Source == fncache.SourceFailed:
		r.Err = err.Error()
	}
	w.report(r)
	return info.Source
}

// report sends r with the number of Redis commands so far.
func (w *worker) report(r report) {
	r.Commands = w.shop.commands.n.Load() - w.commandsBefore
	w.out.send(r)
}

// A reporter writes each report at once, so a killed process has reported everything.
type reporter struct {
	mu    sync.Mutex // guards the field below
	lines *json.Encoder
}

func newReporter(w io.Writer) *reporter { return &reporter{lines: json.NewEncoder(w)} }

func (r *reporter) send(line report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// An error means that the parent is gone, and then the orders end too.
	_ = r.lines.Encode(line)
}
