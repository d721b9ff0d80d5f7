package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/keyhash"
)

// namespace is the namespace of all caches.
const namespace = "history"

// workerArg is the argument of a worker, and workerEnv holds its settings.
const (
	workerArg = "worker"
	workerEnv = "FNCACHE_HISTORY_WORKER"
)

// workerSettings are the settings of a worker.
type workerSettings struct {
	Plan    plan
	Scripts scripts
	Dir     string // of the memory and the records
	Addr    string // of its link
	Slot    int    // 0 to Plan.Workers-1
	Proc    int    // its number among all processes of the round
}

const memoryName = "memory"

// recordName names the records of a process.
func recordName(proc any) string { return fmt.Sprintf("events-%v.jsonl", proc) }

// A worker is the state of a worker process.
type worker struct {
	workerSettings
	mem   memory
	rec   *recorder
	ops   atomic.Int64
	tap   *tap
	cache *fncache.Cache
	funcs []workerFunc
	done  chan struct{} // closed to end the clients

	mu     sync.Mutex // guards the field below
	random *rand.Rand // of what computations do
}

// A workerFunc is one cached function.
type workerFunc struct {
	call   func(context.Context, int) (string, error)
	many   func(context.Context, []int) (map[int]string, error) // of a batch function; call then calls it with one id
	batch  *fncache.BatchFunc[int, string]
	handle *fncache.Func
}

// RunWorker runs a worker if this process is one. Otherwise it returns false.
func RunWorker() bool {
	if len(os.Args) != 2 || os.Args[1] != workerArg {
		return false
	}
	w := &worker{done: make(chan struct{})}
	err := json.Unmarshal([]byte(os.Getenv(workerEnv)), &w.workerSettings)
	if err == nil {
		err = w.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "history: worker:", err)
		os.Exit(1)
	}
	return true
}

// run works until the standard input ends.
func (w *worker) run() (err error) {
	if w.mem, err = newMemory(filepath.Join(w.Dir, memoryName)); err != nil {
		return err
	}
	if w.rec, err = newRecorder(w.mem, w.Proc, filepath.Join(w.Dir, recordName(w.Proc))); err != nil {
		return err
	}
	w.ops.Store(int64(w.Proc) << 32)
	w.random = w.newRandom(1 << 10)
	client := redis.NewClient(&redis.Options{
		Addr:        w.Addr,
		DialTimeout: 2 * redisTimeout,
		// Without this the cache would use a clone of the client, whose commands the tap does
		// not see.
		ContextTimeoutEnabled: true, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	w.tap = &tap{rec: w.rec, scripts: w.Scripts, ops: &w.ops, fields: map[string]string{}}
	client.AddHook(w.tap)
	w.cache, err = fncache.New(fncache.Config{
		Redis: client, Namespace: namespace, RedisTimeout: redisTimeout, OnRedisDown: w.Plan.Down,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	cells, err := w.wrap()
	if err != nil {
		return err
	}
	w.tap.cells.Store(&cells)

	var clients sync.WaitGroup
	clients.Go(func() { w.rec.watch(w.done) })
	for i := range w.Plan.Clients {
		clients.Go(func() { w.client(i) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(w.done)
	clients.Wait()
	w.rec.record(event{Kind: cacheCloses})
	return errors.Join(w.cache.Close(), client.Close(), w.rec.close())
}

// newRandom returns a random source for one use in this process.
func (w *worker) newRandom(use int) *rand.Rand {
	return rand.New(rand.NewPCG(w.Plan.Seed, uint64(w.Proc)<<32+uint64(use)))
}

// wrap wraps the functions, and returns the cell of each key.
func (w *worker) wrap() (map[string]string, error) {
	cells, hashing := map[string]string{}, keyhash.NewKeys(nil)
	w.funcs = make([]workerFunc, len(w.Plan.Funcs))
	for i := range w.funcs {
		f := &w.funcs[i]
		if w.Plan.Funcs[i].Batch {
			if err := w.wrapBatch(i); err != nil {
				return nil, err
			}
			if err := w.nameCells(i, cells, hashing); err != nil {
				return nil, err
			}
			continue
		}
		f.call = func(ctx context.Context, arg int) (string, error) { return w.compute(ctx, i, arg) }
		wrap := fncache.Wrap[func(context.Context, int) (string, error)]
		if w.Plan.Funcs[i].Typed {
			wrap = func(fn *func(context.Context, int) (string, error), opts fncache.Options) (*fncache.Func, error) {
				h, err := fncache.Wrap1(fn, opts)
				if err != nil {
					return nil, err
				}
				return h.Func, nil
			}
		}
		handle, err := wrap(&f.call, w.Plan.Funcs[i].options(w.cache))
		if err != nil {
			return nil, err
		}
		f.handle = handle
		if err := w.nameCells(i, cells, hashing); err != nil {
			return nil, err
		}
	}
	return cells, nil
}

// nameCells adds the cells of a function.
func (w *worker) nameCells(f int, cells map[string]string, hashing *keyhash.Keys) error {
	for arg := range w.Plan.Args {
		key, err := w.funcs[f].handle.Key(arg)
		if err != nil {
			return err
		}
		cell := w.Plan.cell(f, arg)
		cells[key] = cell
		w.tap.fields[cell] = fence.TagOf(hashing, w.Plan.Funcs[f].tagOfCell(arg)).String()
	}
	return nil
}

var errFailing = errors.New("history: the function fails")

// compute is the function: it reads the source, and takes a while.
func (w *worker) compute(ctx context.Context, f, arg int) (string, error) {
	end := w.beginCompute(ctx, f, arg)
	w.callOthers(ctx, f, arg, &end)
	err := w.work(ctx)
	if w.Plan.Funcs[f].Adds {
		tag := tagOfVersion(end.Value.Version)
		fncache.AddTags(ctx, tag)
		end.Tags = append(end.Tags, tag)
	}
	end.Err = errorKind(err)
	w.rec.record(end)
	return writeValue(end.Cell, end.Value), err
}

// beginCompute records the beginning of a computation, and reads the source. It returns the event
// of its end.
func (w *worker) beginCompute(ctx context.Context, f, arg int) (end event) {
	cell := w.Plan.cell(f, arg)
	e := event{Kind: computeBegins, Op: w.ops.Add(1), Cell: cell, Call: callOf(ctx, cell), Troubles: w.troubles()}
	if batch := callOf(ctx, ""); batch != e.Call {
		e.Batch = batch
	}
	w.rec.stamp(&e) // before it reads
	e.Value = value{Comp: e.Op, Version: int64(w.mem.version(w.Plan.index(f, arg)).Load())}
	w.rec.write(e)
	return event{Kind: computeEnds, Op: e.Op, Cell: cell, Value: e.Value, Tags: w.Plan.Funcs[f].tagsOf(arg)}
}

// work takes a while. It returns the error of the function.
func (w *worker) work(ctx context.Context) error {
	w.mu.Lock()
	d := time.Duration(w.random.ExpFloat64() * float64(w.Plan.Work))
	if w.random.IntN(20) == 0 {
		d += lease
	}
	failing, storing := w.random.Float64() < w.Plan.Failing, w.random.IntN(50) > 0
	w.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if !storing {
		fncache.NoStore(ctx)
	}
	if failing {
		return errFailing
	}
	return nil
}

// callOthers calls the functions that a function calls, and notes what its result depends on. If a
// called function has no answer, the result says so, and so it depends on its tags too.
func (w *worker) callOthers(ctx context.Context, f, arg int, end *event) {
	for _, other := range w.Plan.Funcs[f].Calls {
		for _, tag := range w.Plan.Funcs[other].tagsOf(arg) {
			if !slices.Contains(end.Tags, tag) {
				end.Tags = append(end.Tags, tag)
			}
		}
		if v := w.call(ctx, other, arg, modeNested, 0); v.Comp != 0 {
			end.Parts = append(end.Parts, v.Comp)
		}
	}
}

// troubles returns how many Redis operations have failed so far.
func (w *worker) troubles() (n uint64) {
	for i := range w.funcs {
		n += w.funcs[i].handle.Stats().RedisErrors
	}
	// A command that a mutant does not send is not an error of Redis, although the library
	// counts it.
	return n - min(n, w.tap.kept.Load())
}

// client does one operation after the other until it must end.
func (w *worker) client(number int) {
	random := w.newRandom(number)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-pause.C:
		}
		w.act(random)
		pause.Reset(time.Duration(random.ExpFloat64() * float64(8*time.Millisecond)))
	}
}

// act does one operation. It draws all its numbers first, so that the next operation depends on
// the seed alone.
func (w *worker) act(r *rand.Rand) {
	f, arg := r.IntN(len(w.funcs)), min(r.IntN(w.Plan.Args), r.IntN(w.Plan.Args))
	busy, what, limit := r.Float64() < w.Plan.Busy, r.IntN(100), time.Duration(r.Int64N(int64(60*time.Millisecond)))
	which, soft := r.IntN(100), r.IntN(2) == 0
	ids := w.idsWith(arg, r.IntN(16))
	ctx := context.Background()
	if w.Plan.Funcs[f].Batch && w.actOnMany(ctx, f, ids, busy, what, limit) {
		return
	}
	switch {
	case busy && what < 25:
		w.change(f, arg)
		w.invalidate(f, arg)
	case busy && what < 45:
		w.invalidate(f, arg)
	case busy && what < 55:
		w.expire(f, arg)
	case busy && what < 60:
		w.rush(ctx, f, arg, ids, w.someTag(f, arg, which), soft)
	case busy:
		if what < 85 {
			w.change(f, arg)
		}
		w.overtake(w.someTag(f, arg, which), soft)
	case what < 3:
		w.refresh(f, arg)
	case what < 5:
		w.call(ctx, f, arg, modeRefresh, 0)
	case what < 12:
		w.call(ctx, f, arg, "", limit)
	default:
		w.call(ctx, f, arg, "", 0)
	}
}

// someTag returns a tag: mostly one that few entries have.
func (w *worker) someTag(f, arg, which int) string {
	switch {
	case which < 45:
		return w.Plan.Funcs[f].tagOfCell(arg)
	case which < 80:
		return tagOfArg(arg)
	case which < 95:
		return tagOfVersion(int64(which))
	default:
		return tagAll
	}
}

// change changes the source of a cell.
func (w *worker) change(f, arg int) {
	version := w.mem.version(w.Plan.index(f, arg)).Add(1)
	w.rec.record(event{Kind: sourceChanged, Cell: w.Plan.cell(f, arg), Value: value{Version: int64(version)}})
}

// The modes of calls.
const (
	modeRefresh = "refresh"
	modeNested  = "nested" // made by another cached function
)

// call calls the cached function, and returns the value that it answers. With a limit the
// caller stops waiting after it.
func (w *worker) call(ctx context.Context, f, arg int, mode string, limit time.Duration) value {
	cell, op := w.Plan.cell(f, arg), w.ops.Add(1)
	var info fncache.Info
	ctx = fncache.WithInfo(context.WithValue(ctx, callKey{}, op), &info)
	if mode == modeRefresh {
		ctx = fncache.WithRefresh(ctx)
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	w.rec.record(event{Kind: callBegins, Op: op, Cell: cell, Mode: mode})
	answer, err := w.funcs[f].call(ctx, arg)
	end := event{Kind: callEnds, Op: op, Cell: cell, Mode: mode, Err: errorKind(err), Source: info.Source.String(), Troubles: w.troubles()}
	if err == nil {
		end.Text = answer
		end.Value = valueIn(answer)
	} else {
		end.Text = err.Error()
		if mode == modeNested && ctx.Err() != nil {
			end.Err = "gave up" // the outer call is no longer waited for
		}
	}
	w.rec.record(end)
	return end.Value
}

func (w *worker) invalidate(f, arg int) {
	begin := w.rec.record(event{Kind: invalidateBegins, Op: w.ops.Add(1), Cell: w.Plan.cell(f, arg)})
	err := w.funcs[f].handle.Invalidate(context.Background(), arg)
	w.rec.record(event{Kind: invalidateEnds, Op: begin.Op, Cell: begin.Cell, Err: errorKind(err)})
}

func (w *worker) expire(f, arg int) {
	begin := w.rec.record(event{Kind: expireBegins, Op: w.ops.Add(1), Cell: w.Plan.cell(f, arg), Soft: true})
	err := w.funcs[f].handle.Expire(context.Background(), arg)
	w.rec.record(event{Kind: expireEnds, Op: begin.Op, Cell: begin.Cell, Err: errorKind(err)})
}

// overtake invalidates or expires a tag.
func (w *worker) overtake(tag string, soft bool) {
	op := w.ops.Add(1)
	ctx := context.WithValue(context.Background(), callKey{}, op)
	w.rec.record(event{Kind: overtakeBegins, Op: op, Tags: []string{tag}, Soft: soft})
	do := w.cache.InvalidateTags
	if soft {
		do = w.cache.ExpireTags
	}
	err := do(ctx, tag)
	w.rec.record(event{Kind: overtakeEnds, Op: op, Err: errorKind(err)})
}

// rush makes an order of events that is rare by chance: a tag is overtaken while a computation with
// the tag runs, and then a call joins the computation.
func (w *worker) rush(ctx context.Context, f, arg int, ids []int, tag string, soft bool) {
	call := func() {
		if w.Plan.Funcs[f].Batch {
			w.callMany(ctx, f, ids, "", 0)
			return
		}
		w.call(ctx, f, arg, "", 0)
	}
	w.overtake(tag, false)
	var first sync.WaitGroup
	first.Go(call)
	time.Sleep(w.Plan.Work / 4) // the computation has probably begun by then; no rule relies on it
	w.change(f, arg)
	w.overtake(tag, soft)
	call()
	first.Wait()
}

func (w *worker) refresh(f, arg int) {
	op := w.ops.Add(1)
	ctx := context.WithValue(context.Background(), callKey{}, op)
	w.rec.record(event{Kind: refreshBegins, Op: op, Cell: w.Plan.cell(f, arg)})
	err := w.funcs[f].handle.Refresh(ctx, arg)
	w.rec.record(event{Kind: refreshEnds, Op: op, Cell: w.Plan.cell(f, arg), Err: errorKind(err)})
}

// errorKind returns an error in one word, or an unexpected error as its text.
func errorKind(err error) string {
	for _, known := range []struct {
		is   error
		kind string
	}{
		{fncache.ErrColdCache, "cold"},
		{fncache.ErrLeaseLost, "lost"},
		{errFailing, "failing"},
		{fncache.ErrClosed, "closed"},  // before the error of Redis, which can have this cause
		{fncache.ErrRedisDown, "down"}, // before the context's error, which can be its cause
		{context.DeadlineExceeded, "gave up"},
	} {
		if errors.Is(err, known.is) {
			return known.kind
		}
	}
	if err != nil {
		return "unexpected: " + err.Error()
	}
	return ""
}
