package faults

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fncache/fncache"
)

// This file judges what a watch has recorded of a fleet.

// A span is the part of a run in which no other run may begin.
type span struct {
	*run
	from, to time.Time
}

// leased returns for each key the spans of the runs that had a lease. A span ends when the run
// has ended, when the last step of its lease was sent, or when the lease was lost or may have
// expired unrenewed. w.mu is held.
func (w *watch) leased() map[string][]span {
	spans := map[string][]span{}
	for _, r := range w.runs {
		if r.grant == nil {
			continue
		}
		to := r.grant.sent.Add(lease)
		if step := w.steps[r.grant.token]; !step.IsZero() && step.Before(to) {
			to = step
		}
		for _, lost := range w.losses {
			if to.After(lost.from) && (lost.to.IsZero() || r.grant.sent.Before(lost.to)) {
				to = later(lost.from, r.grant.sent)
			}
		}
		spans[r.key] = append(spans[r.key], span{r, r.began, r.until(to)})
	}
	return spans
}

// unleased returns for each key in each process the spans of the runs without a lease. w.mu is
// held.
func (w *watch) unleased() map[place][]span {
	spans := map[place][]span{}
	for _, r := range w.runs {
		if r.grant == nil {
			spans[r.place] = append(spans[r.place], span{r, r.began, r.until(time.Now())})
		}
	}
	return spans
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// until returns when a run ended, or the given time if that is earlier.
func (r *run) until(limit time.Time) time.Time {
	if !r.ended.IsZero() && r.ended.Before(limit) {
		return r.ended
	}
	return limit
}

// overlaps returns the spans that begin before an earlier one is over.
func overlaps(spans []span) (broken []string) {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	for i := 1; i < len(spans); i++ {
		before, this := spans[i-1], spans[i]
		if before.to.After(this.to) {
			spans[i] = before // which may overlap with the next one too
		}
		if this.from.Before(before.to) {
			broken = append(broken, fmt.Sprintf("key %s: run %d of process %d began %v before run %d of process %d was over",
				this.key, this.number, this.process, before.to.Sub(this.from), before.number, before.process))
		}
	}
	return broken
}

// leasedOverlaps returns the runs under a lease, of those that began after a time, that were
// not the only ones of their key in the fleet.
func (w *watch) leasedOverlaps(keys []string, after time.Time) (broken []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.leased()
	for _, key := range keys {
		broken = append(broken, overlaps(since(all[key], after))...)
	}
	return broken
}

// unleasedOverlaps returns the runs without a lease that were not the only ones of their key in
// their process.
func (w *watch) unleasedOverlaps(keys []string) (broken []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for place, spans := range w.unleased() {
		if slices.Contains(keys, place.key) {
			broken = append(broken, overlaps(spans)...)
		}
	}
	return broken
}

func since(spans []span, after time.Time) (some []span) {
	for _, s := range spans {
		if s.from.After(after) {
			some = append(some, s)
		}
	}
	return some
}

// counts returns how many runs of a key began after a time, with a lease and without.
func (w *watch) counts(key string, after time.Time) (leased, unleased int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs {
		switch {
		case r.key != key || !r.began.After(after):
		case r.grant != nil:
			leased++
		default:
			unleased++
		}
	}
	return leased, unleased
}

// storesSoFar returns how many results each process has stored for each key.
func (w *watch) storesSoFar() map[place]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.stores)
}

// leastAnswer returns the oldest run that may answer a call: the newest one known when the
// oldest lookup that can answer it was sent. In the invalidating process its own invalidations
// count too.
func (w *watch) leastAnswer(r record, bound time.Duration) (least int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.source == fncache.SourceFresh || r.source == fncache.SourceStale {
		least = leastOf(w.confirmed[r.key], r.began.Add(-bound))
	}
	if r.member == invalidator && r.key == invalidated {
		least = max(least, leastOf(w.invalidations, r.began))
	}
	return least
}
