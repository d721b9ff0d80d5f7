package history

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fncache/fncache"
)

// This file calls the batch function of a plan. Each id of a call is a call of its own in the records,
// with the cell of the id, so that all rules hold for it as for any other. An answer of a batch
// says how many elements have which source, and not which element has which: see sourcesOf.

// A batchCall is one call of a batch function. Commands and computations have it in their context.
type batchCall struct {
	number int64            // of the call itself: that of commands to the fence
	ops    map[string]int64 // the number of the call about each cell; not written to after the call begins

	mu    sync.Mutex     // guards the field below
	begun map[int64]bool // the computations that have begun for the call
}

// of returns the number of the call about a cell.
func (b *batchCall) of(cell string) int64 {
	if op, known := b.ops[cell]; known {
		return op
	}
	return b.number
}

// sourceMixed is the source of an element whose source is not known, because the elements of its
// call have several.
const sourceMixed = "mixed"

// unasked is an id that the function returns although no call has asked for it.
const unasked = -1

// wrapBatch wraps a batch function.
func (w *worker) wrapBatch(i int) (err error) {
	f := &w.funcs[i]
	f.many = func(ctx context.Context, ids []int) (map[int]string, error) { return w.computeMany(ctx, i, ids) }
	if f.batch, err = fncache.WrapBatch(&f.many, w.Plan.Funcs[i].options(w.cache)); err == nil {
		f.handle = f.batch.Func
	}
	return err
}

// computeMany is the batch function.
func (w *worker) computeMany(ctx context.Context, f int, ids []int) (map[int]string, error) {
	ends := make([]event, len(ids))
	found := map[int]string{unasked: "no call asked for this"}
	for i, id := range ids {
		ends[i] = w.beginCompute(ctx, f, id)
		found[id] = writeValue(ends[i].Cell, ends[i].Value)
		if b, ok := ctx.Value(callKey{}).(*batchCall); ok {
			b.mu.Lock()
			b.begun[ends[i].Op] = true
			b.mu.Unlock()
		}
	}
	err := w.work(ctx)
	var added []string
	if w.Plan.Funcs[f].Adds {
		added = []string{tagOfVersion(ends[0].Value.Version)} // of all elements of the run
		fncache.AddTags(ctx, added...)
	}
	for i := range ends {
		ends[i].Tags = append(ends[i].Tags, added...)
		ends[i].Err = errorKind(err)
		w.rec.record(ends[i])
	}
	return found, err
}

// idsWith returns a list of ids with an argument in it: with some others, in this or that order,
// and perhaps twice.
func (w *worker) idsWith(arg, choice int) []int {
	ids := []int{arg}
	for i := 1; i < w.Plan.Args; i++ {
		if choice&(1<<(i-1)) != 0 {
			ids = append(ids, (arg+i)%w.Plan.Args)
		}
	}
	if choice&4 != 0 {
		slices.Reverse(ids)
	}
	if choice&8 != 0 {
		ids = append(ids, ids[0])
	}
	return ids
}

// actOnMany does an operation with several ids. It returns false if the operation is one with a
// single id, which is that of any other function.
func (w *worker) actOnMany(ctx context.Context, f int, ids []int, busy bool, what int, limit time.Duration) bool {
	switch {
	case busy && what < 20:
		w.change(f, ids[0])
		w.invalidateMany(f, ids)
	case busy, what < 3:
		return false
	case what < 5:
		w.callMany(ctx, f, ids, modeRefresh, 0)
	case what < 12:
		w.callMany(ctx, f, ids, "", limit)
	default:
		w.callMany(ctx, f, ids, "", 0)
	}
	return true
}

// callMany calls a batch function. With a limit the caller stops waiting after it.
func (w *worker) callMany(ctx context.Context, f int, ids []int, mode string, limit time.Duration) {
	each := slices.Compact(slices.Sorted(slices.Values(ids)))
	last := w.ops.Add(int64(len(each)) + 1)
	b := &batchCall{number: last - int64(len(each)), ops: map[string]int64{}, begun: map[int64]bool{}}
	var info fncache.Info
	ctx = fncache.WithInfo(context.WithValue(ctx, callKey{}, b), &info)
	if mode == modeRefresh {
		ctx = fncache.WithRefresh(ctx)
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	ends := make([]event, len(each))
	for i, id := range each {
		cell := w.Plan.cell(f, id)
		b.ops[cell] = b.number + 1 + int64(i)
		ends[i] = event{Kind: callEnds, Op: b.ops[cell], Cell: cell, Mode: mode, Batch: b.number}
	}
	for _, e := range ends {
		w.rec.record(event{Kind: callBegins, Op: e.Op, Cell: e.Cell, Mode: mode, Batch: b.number})
	}
	found, err := w.funcs[f].many(ctx, ids)
	for i, id := range each {
		ends[i].Troubles = w.troubles()
		answer, ok := found[id]
		if ends[i].Text = answer; ok {
			ends[i].Value = valueIn(answer)
			delete(found, id)
			continue
		}
		ends[i].Err = errorOf(err, id)
		if err != nil {
			ends[i].Text = err.Error()
		}
	}
	if len(found) > 0 {
		ends[0].Err = "unexpected: values for ids that are not in the call"
	}
	b.sourcesOf(ends, &info)
	for _, e := range ends {
		w.rec.record(e)
	}
}

// sourcesOf finds the sources of the elements that have an answer. Those whose value comes from a
// computation of this very call are computed. If the others have one source, that is it.
func (b *batchCall) sourcesOf(ends []event, info *fncache.Info) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, computed := sourceMixed, 0
	for source, n := range info.Elements {
		switch source := fncache.Source(source); {
		case n == 0, source == fncache.SourceRefused, source == fncache.SourceFailed, source == fncache.SourceComputed:
		case rest == sourceMixed:
			rest = source.String()
		default:
			rest = ""
		}
	}
	for i := range ends {
		if b.begun[ends[i].Value.Comp] {
			computed++
		}
	}
	known := rest != "" && computed == info.Elements[fncache.SourceComputed]
	for i := range ends {
		switch e := &ends[i]; {
		case e.Err != "":
		case !known:
			e.Source = sourceMixed
		case b.begun[e.Value.Comp]:
			e.Source = fncache.SourceComputed.String()
		default:
			e.Source = rest
		}
	}
}

// errorOf returns the error of an element without a value, in one word.
func errorOf(err error, id int) string {
	var cold *fncache.ColdCacheError
	switch {
	case err == nil:
		return "unexpected: neither a value nor an error"
	case !errors.As(err, &cold):
		return errorKind(err)
	case slices.Contains(cold.IDs, any(id)):
		return errorKind(cold)
	}
	all, joined := err.(interface{ Unwrap() []error })
	if !joined {
		return "unexpected: neither a value nor among the ids of " + err.Error()
	}
	return errorKind(all.Unwrap()[0])
}

func (w *worker) invalidateMany(f int, ids []int) {
	var begun []event
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		begun = append(begun, w.rec.record(event{Kind: invalidateBegins, Op: w.ops.Add(1), Cell: w.Plan.cell(f, id)}))
	}
	err := w.funcs[f].batch.Invalidate(context.Background(), ids...)
	for _, begin := range begun {
		w.rec.record(event{Kind: invalidateEnds, Op: begin.Op, Cell: begin.Cell, Err: errorKind(err)})
	}
}
