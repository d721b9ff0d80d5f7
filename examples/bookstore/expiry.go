package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache"
)

// The last act is about one tag that many entries have.
const (
	shelfPages  = 1000
	shelfPlaces = 5                     // Options.MaxConcurrent, where it is set
	shelfCost   = 10 * time.Millisecond // of making a page
	shelfTag    = "shelf"
)

// An expiry is what happened when all pages were expired at once.
type expiry struct {
	command         time.Duration // that expired them
	most            int64         // pages that were made at the same time
	computed, stale int           // answers
}

// playExpiry expires a thousand entries by one command, and then asks for all at once:
// without a bound, and with one.
func playExpiry(ctx context.Context, s *shop, number int, stdout io.Writer) error {
	fmt.Fprintf(stdout, "Act %d, one tag: %s pages of this process have the tag %s, and one command expires them all; then all are asked for at the same moment.\n", number, thousands(shelfPages), shelfTag)
	for _, places := range []int{0, shelfPlaces} {
		e, err := expireShelf(ctx, s.cache, places)
		if err != nil {
			return err
		}
		bound := "without MaxConcurrent"
		if places > 0 {
			bound = fmt.Sprintf("with MaxConcurrent: %d", places)
		}
		fmt.Fprintf(stdout, "  %s: expired within %s; at most %s pages were made at once; %s callers got a new page, %s the stale one.\n",
			bound, duration(e.command), thousands(int(e.most)), thousands(e.computed), thousands(e.stale))
	}
	return nil
}

// expireShelf stores all pages, expires them and asks for them. It leaves none in Redis.
func expireShelf(ctx context.Context, cache *fncache.Cache, places int) (e expiry, err error) {
	var running, most atomic.Int64
	page, f, err := fncache.New1(func(_ context.Context, n int64) (string, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for known := most.Load(); now > known && !most.CompareAndSwap(known, now); {
			known = most.Load()
		}
		time.Sleep(shelfCost) // as of a template
		return fmt.Sprintf("page %d", n), nil
	}, fncache.Options{
		Cache: cache, Name: shelfName(places), Timeout: time.Hour, OnCold: fncache.Wait, Tags: []string{shelfTag}, MaxConcurrent: places,
	})
	if err != nil {
		return e, err
	}
	defer f.Func.Unwrap()
	// Few at a time, because all pages have to be stored.
	err = eachPage(20, func(n int64) error {
		_, err := page(ctx, n)
		return err
	})
	defer func() {
		err = errors.Join(err, eachPage(20, func(n int64) (err error) {
			for range 5 { // after an error the entry may still be there: invalidate again
				if err = f.Invalidate(context.WithoutCancel(ctx), n); err == nil {
					break
				}
			}
			return err
		}))
	}()
	if err != nil {
		return e, err
	}
	most.Store(0)
	begin := time.Now()
	if err := cache.ExpireTags(ctx, shelfTag); err != nil {
		return e, err
	}
	e.command = time.Since(begin)
	var computed, stale atomic.Int64
	err = eachPage(shelfPages, func(n int64) error {
		var info fncache.Info
		_, err := page(fncache.WithInfo(ctx, &info), n)
		switch info.Source {
		case fncache.SourceComputed:
			computed.Add(1)
		case fncache.SourceStale:
			stale.Add(1)
		}
		return err
	})
	e.most, e.computed, e.stale = most.Load(), int(computed.Load()), int(stale.Load())
	return e, err
}

func shelfName(places int) string { return fmt.Sprintf("Shelf%d", places) }

// eachPage does something for all pages, some at a time.
func eachPage(atOnce int, do func(n int64) error) error {
	var callers sync.WaitGroup
	errs := make([]error, atOnce)
	for i := range atOnce {
		callers.Go(func() {
			for n := i; n < shelfPages && errs[i] == nil; n += atOnce {
				errs[i] = do(int64(n))
			}
		})
	}
	callers.Wait()
	return errors.Join(errs...)
}
