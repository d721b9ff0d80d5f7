package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/child"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/holder"
	"github.com/fncache/fncache/internal/redistest"
)

// patience is how long a required event may take on a busy machine.
const patience = time.Minute

// A round is one run of a plan, in the process that conducts it.
type round struct {
	plan    plan
	scripts scripts
	dir     string
	server  *redistest.Server
	client  *redis.Client // of the server, past the links
	mem     memory
	rec     *recorder
	workers []*process // by slot; nil while there is none
	links   []*link    // by slot
	procs   int        // the number of processes so far
	records []string   // their files
}

// A process is one worker process.
type process struct {
	*child.Child[event] // gets no orders
	proc                int
	stderr              *os.File
}

// runRound runs a plan on a server, in an empty directory, and returns the records. The error
// means that the round itself, or a worker, failed.
func runRound(p plan, s scripts, server *redistest.Server, client *redis.Client, dir string) (events []event, err error) {
	r := &round{plan: p, scripts: s, dir: dir, server: server, client: client}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(); err != nil {
		return nil, err
	}
	for slot := range p.Workers {
		if err := r.start(slot); err != nil {
			return nil, err
		}
	}
	done, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); r.rec.watch(done) }()
	err = r.disturb()
	close(done)
	<-watched
	if err != nil {
		return nil, err
	}
	for _, p := range r.workers {
		p.Close() // makes it end
	}
	for slot := range p.Workers {
		if err := r.finish(slot); err != nil {
			return nil, err
		}
	}
	if err := r.leftBehind(); err != nil {
		return nil, err
	}
	return readEvents(r.records)
}

func (r *round) open() (err error) {
	if r.mem, err = newMemory(filepath.Join(r.dir, memoryName)); err != nil {
		return err
	}
	if err := keepPlan(r.dir, r.plan); err != nil {
		return err
	}
	path := filepath.Join(r.dir, recordName(0))
	r.records = append(r.records, path)
	if r.rec, err = newRecorder(r.mem, 0, path); err != nil {
		return err
	}
	r.workers = make([]*process, r.plan.Workers)
	for slot := range r.plan.Workers {
		l, err := newLink(r.server.Addr(), r.plan.Delay, r.plan.Seed+uint64(slot))
		if err != nil {
			return err
		}
		r.links = append(r.links, l)
	}
	return r.wipe(false)
}

// close ends everything that still runs after an error.
func (r *round) close() (err error) {
	for _, p := range r.workers {
		if p != nil {
			_ = p.Cmd.Process.Kill()
			_ = p.Cmd.Wait()
		}
	}
	for _, l := range r.links {
		l.close()
	}
	if r.rec != nil {
		err = r.rec.close()
	}
	if r.mem.bytes != nil {
		err = errors.Join(err, r.mem.close())
	}
	return err
}

// starter starts all workers on one thread, which lives as long as this process. Workers, also
// stopped ones, must die with this process, and Linux signals them when the thread that started
// them ends.
var starter = func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

// start starts a worker in a slot.
func (r *round) start(slot int) error {
	r.procs++
	settings, err := json.Marshal(workerSettings{
		Plan: r.plan, Scripts: r.scripts, Dir: r.dir, Addr: r.links[slot].addr(), Slot: slot, Proc: r.procs,
	})
	if err != nil {
		return err
	}
	c, err := child.New[event](workerArg, workerEnv+"="+string(settings), "GORACE=halt_on_error=1")
	if err != nil {
		return err
	}
	p := &process{Child: c, proc: r.procs}
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.stderr, err = os.Create(filepath.Join(r.dir, fmt.Sprintf("stderr-%d", p.proc))); err != nil {
		return err
	}
	p.Cmd.Stderr = p.stderr
	done := make(chan error)
	starter <- func() { done <- p.Cmd.Start() }
	if err := <-done; err != nil {
		return err
	}
	r.workers[slot] = p
	r.records = append(r.records, filepath.Join(r.dir, recordName(p.proc)))
	r.note("worker %d started", p.proc)
	return nil
}

// kill ends a worker with SIGKILL.
func (r *round) kill(slot int) error {
	p := r.workers[slot]
	r.workers[slot] = nil
	r.note("worker %d killed", p.proc)
	if err := p.Cmd.Process.Kill(); err != nil {
		return p.failure(err)
	}
	var exit *exec.ExitError
	err := p.Cmd.Wait()
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return p.failure(fmt.Errorf("ended before it was killed: %w", err))
	}
	return r.gone(slot, p)
}

// finish waits for a worker that is ending.
func (r *round) finish(slot int) error {
	p := r.workers[slot]
	r.workers[slot] = nil
	ended := make(chan error, 1)
	go func() { ended <- p.Cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return p.failure(err)
		}
	case <-time.After(patience):
		_ = p.Cmd.Process.Signal(syscall.SIGQUIT) // for its goroutines
		return p.failure(fmt.Errorf("does not end within %v: %w", patience, <-ended))
	}
	return r.gone(slot, p)
}

// failure returns the error of a worker, with its output.
func (p *process) failure(err error) error {
	said, _ := os.ReadFile(p.stderr.Name())
	const most = 1 << 14
	return fmt.Errorf("history: worker %d: %w; it said:\n%s", p.proc, err, bytes.ToValidUTF8(said[max(0, len(said)-most):], nil))
}

// gone records that a process has ended, once Redis has noticed.
func (r *round) gone(slot int, p *process) error {
	_ = p.stderr.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.links[slot].settle(ctx, r.client); err != nil {
		return err
	}
	r.rec.record(event{Kind: processGone, Victim: p.proc})
	return nil
}

// settle cuts the connections of some workers, or of all if no slot is given. It records the place
// from which their earlier commands without a reply can no longer be executed.
func (r *round) settle(slots ...int) error {
	if len(slots) == 0 {
		for slot := range r.workers {
			slots = append(slots, slot)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, slot := range slots {
		since := r.mem.next()
		if err := r.links[slot].settle(ctx, r.client); err != nil {
			return err
		}
		r.rec.record(event{Kind: settled, Victim: r.workers[slot].proc, Since: since})
	}
	return nil
}

// wipe empties Redis: it is killed and started again, or flushed.
func (r *round) wipe(restart bool) error {
	r.rec.record(event{Kind: wipeBegins})
	if restart {
		r.server.Restart()
	} else if err := r.client.FlushAll(context.Background()).Err(); err != nil {
		return fmt.Errorf("history: empty Redis: %w", err)
	}
	r.rec.record(event{Kind: wipeEnds})
	return nil
}

func (r *round) note(format string, args ...any) {
	r.rec.record(event{Kind: note, Text: fmt.Sprintf(format, args...)})
}

// disturb causes one fault after the other while the workers work, and ends each.
func (r *round) disturb() error {
	random := rand.New(rand.NewPCG(r.plan.Seed, 3))
	end := time.Now().Add(r.plan.Length)
	calm := end.Add(r.plan.Faulty - r.plan.Length)
	for len(r.plan.Faults) > 0 {
		wait := time.Duration(random.ExpFloat64() * float64(r.plan.Calm))
		if time.Until(calm) <= wait {
			break
		}
		time.Sleep(wait)
		f := fate{
			fault:  r.plan.Faults[random.IntN(len(r.plan.Faults))],
			slots:  []int{random.IntN(r.plan.Workers)},
			length: time.Duration(float64(2*lease) * math.Pow(2, -6*random.Float64())), // short and long ones equally often
			up:     random.IntN(3) > 0,
			down:   random.IntN(3) > 0,
		}
		if other := random.IntN(2 * r.plan.Workers); other < r.plan.Workers && other != f.slots[0] {
			f.slots = append(f.slots, other)
		}
		r.note("%s of workers in slots %v, %v", f.fault, f.slots, f.length)
		if err := r.suffer(f); err != nil {
			return err
		}
		r.note("end of %s", f.fault)
	}
	time.Sleep(time.Until(end))
	return nil
}

// A fate is one occurrence of a fault.
type fate struct {
	fault    fault
	slots    []int // of the affected workers: one or two
	length   time.Duration
	up, down bool // of a partition: the direction that is held back
}

// suffer causes a fault and ends it.
func (r *round) suffer(f fate) error {
	switch f.fault {
	case faultKill:
		return r.replace(f)
	case faultStop:
		return r.stop(f)
	case faultPartition:
		return r.partition(f, func(l *link, on bool) { l.hold(on && f.up, on && f.down) })
	case faultHang:
		return r.partition(f, (*link).holdOld)
	case faultRefuse:
		return r.partition(f, (*link).cut)
	case faultPause:
		r.server.Pause()
		time.Sleep(f.length / 2)
		r.server.Resume()
		return r.settle()
	case faultRestart:
		if err := r.wipe(true); err != nil {
			return err
		}
		return r.settle()
	case faultEvict:
		return r.evict(f)
	case faultFailover:
		return r.failOver(f)
	case faultFlush:
		return r.client.ScriptFlush(context.Background()).Err()
	}
	return fmt.Errorf("history: no fault %q", f.fault)
}

// replace kills workers and starts others.
func (r *round) replace(f fate) error {
	for _, slot := range f.slots {
		if err := r.kill(slot); err != nil {
			return err
		}
	}
	time.Sleep(f.length / 2)
	for _, slot := range f.slots {
		if err := r.start(slot); err != nil {
			return err
		}
	}
	return nil
}

// stop stops workers for a while.
func (r *round) stop(f fate) error {
	for _, slot := range f.slots {
		if p := r.workers[slot]; p.Cmd.Process.Signal(syscall.SIGSTOP) != nil {
			return p.failure(errors.New("cannot be stopped: it has ended"))
		}
	}
	time.Sleep(f.length)
	for _, slot := range f.slots {
		if p := r.workers[slot]; p.Cmd.Process.Signal(syscall.SIGCONT) != nil {
			return p.failure(errors.New("cannot go on: it has ended"))
		}
	}
	return nil
}

// partition disturbs links for a while. Then messages that were held back arrive, if their
// connection still exists and the link is not settled before.
func (r *round) partition(f fate, disturb func(l *link, on bool)) error {
	for _, slot := range f.slots {
		disturb(r.links[slot], true)
	}
	time.Sleep(f.length)
	for _, slot := range f.slots {
		disturb(r.links[slot], false)
	}
	time.Sleep(f.length / 10)
	return r.settle(f.slots...)
}

// leftBehind returns an error for keys that must not be in Redis when all workers have ended: a
// lock without an expiry, or with one beyond the longest lease; an entry without an expiry.
func (r *round) leftBehind() error {
	ctx := context.Background()
	keys, err := r.client.Keys(ctx, "*").Result()
	if err != nil {
		return err
	}
	var faults []error
	for _, key := range keys {
		if strings.Contains(key, ":functions:{") || key == fenceKey { // a registry of releases stays, and the fence
			continue
		}
		left, err := r.client.PTTL(ctx, key).Result()
		if err != nil {
			return err
		}
		most := timeout
		if strings.HasSuffix(key, ":lock") {
			most = max(lease, leftOpen)
		}
		if strings.Contains(key, ":{process:") {
			most = holder.Kept
		}
		if left == -1 || left > most {
			faults = append(faults, fmt.Errorf("history: left over in Redis: %s, which lives for %v (-1ns: no expiry)", key, left))
		}
	}
	return errors.Join(faults...)
}

// changeFence records a change of the fence by the conductor. The fence goes back to a state after
// the place since. If since is 0, the fence only loses something.
func (r *round) changeFence(what string, since uint64, change func(context.Context) error) error {
	r.rec.record(event{Kind: fenceBegins, Text: what, Since: since})
	err := change(context.Background())
	r.rec.record(event{Kind: fenceEnds, Text: what})
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("history: %s of the fence: %w", what, err)
	}
	return nil
}

// trimScript forgets some tags of the fence, as an invalidation does if there are too many.
var trimScript = redis.NewScript(`
local function larger(a, b)
  return (#a < #b or (#a == #b and a < b)) and b or a
end
local floor = redis.call('HGET', KEYS[1], 'f')
local some = redis.call('HRANDFIELD', KEYS[1], 4, 'WITHVALUES')
for i = 1, #some, 2 do
  local hard, soft = string.match(some[i + 1], '^(%d+) (%d+)$')
  if hard and floor then
    floor = larger(floor, larger(hard, soft))
    redis.call('HSET', KEYS[1], 'f', floor)
    redis.call('HDEL', KEYS[1], some[i])
  end
end
return 1`)

// evict removes all of the fence, one of its own fields, or some tags.
func (r *round) evict(f fate) error {
	field := fence.Fields[int(f.length)%len(fence.Fields)]
	switch {
	case f.up && f.down:
		return r.changeFence("eviction", 0, func(ctx context.Context) error { return r.client.Del(ctx, fenceKey).Err() })
	case f.up:
		return r.changeFence("loss of field "+field, 0, func(ctx context.Context) error { return r.client.HDel(ctx, fenceKey, field).Err() })
	default:
		return r.changeFence("trimming", 0, func(ctx context.Context) error {
			return trimScript.Run(ctx, r.client, []string{fenceKey}).Err()
		})
	}
}

// failOver sets the fence back to its state a moment ago. Invalidations in between are lost, as if
// a lagging replica took over.
func (r *round) failOver(f fate) error {
	since := r.mem.next()
	was, err := r.client.Dump(context.Background(), fenceKey).Result()
	if errors.Is(err, redis.Nil) {
		return nil // there is no fence yet, or none any more
	}
	if err != nil {
		return fmt.Errorf("history: read the fence: %w", err)
	}
	time.Sleep(f.length) // the lag of the replica
	return r.changeFence("failover", since, func(ctx context.Context) error {
		return r.client.RestoreReplace(ctx, fenceKey, 0, was).Err()
	})
}
