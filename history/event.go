package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kind is the kind of an event.
type kind string

// The kinds of events. An end has the Op of its beginning.
const (
	callBegins       kind = "call"
	callEnds         kind = "answer"
	invalidateBegins kind = "invalidate"
	invalidateEnds   kind = "invalidated"
	refreshBegins    kind = "refresh" // Func.Refresh
	refreshEnds      kind = "refreshed"
	expireBegins     kind = "expire" // Func.Expire
	expireEnds       kind = "expired"
	overtakeBegins   kind = "overtake" // InvalidateTags, or ExpireTags
	overtakeEnds     kind = "overtook"
	sourceChanged    kind = "change"
	computeBegins    kind = "compute" // the function runs
	computeEnds      kind = "computed"
	commandSent      kind = "sent"
	commandEnds      kind = "reply" // or an error
	processGone      kind = "gone"  // all commands that process Victim sent have been executed or never will be
	settled          kind = "settled"
	wipeBegins       kind = "wipe" // Redis is restarted empty
	wipeEnds         kind = "wiped"
	fenceBegins      kind = "fence" // the conductor changes the fence
	fenceEnds        kind = "fenced"
	stalled          kind = "stall" // the process did not run for this time
	cacheCloses      kind = "close" // the worker ends, and closes its cache; computations may still run
	note             kind = "note"  // for human readers: a fault and its end
)

// An event is one record of a history.
type event struct {
	Seq  uint64 `json:"seq"`  // its place in the order of all events
	At   int64  `json:"at"`   // nanoseconds of CLOCK_MONOTONIC
	Proc int    `json:"proc"` // a process, 0 for the conductor; a restarted worker is a new process
	Kind kind   `json:"kind"`
	Op   int64  `json:"op,omitempty"`
	Cell string `json:"cell,omitempty"`

	// Of calls and invalidations. Err is the kind of error, "" for none; see errorKind. Value
	// is the answer.
	Err    string `json:"err,omitempty"`
	Mode   string `json:"mode,omitempty"` // of a call: "refresh"; of acquire: its mode; of cooldown: the prefix of the token
	Value  value  `json:"value,omitzero"` // also of a computation, and of an entry in a command or reply
	Source string `json:"source,omitempty"`

	// Of computations. Call is the call that it runs for. Troubles, also of answers, is the
	// number of failed Redis operations that the process has counted.
	Call     int64  `json:"call,omitempty"`  // also of commands
	Batch    int64  `json:"batch,omitempty"` // the number of the call of the batch function, whose elements are calls too
	Troubles uint64 `json:"troubles,omitempty"`

	// Of commands and replies.
	Verb     string `json:"verb,omitempty"`
	Token    string `json:"token,omitempty"`
	Try      int    `json:"try,omitempty"`      // which sending of acquire the token is of; in a reply of acquire: that of the token in the lock
	Millis   int64  `json:"millis,omitempty"`   // the life that the command gives the lock or the entry; the time of stalled
	Seen     string `json:"seen,omitempty"`     // of acquire: the id of the entry that the caller saw
	Servable bool   `json:"servable,omitempty"` // of acquire
	Entry    string `json:"entry,omitempty"`    // the id of the entry in the command or reply
	Status   string `json:"status,omitempty"`   // the reply's first word
	Holder   string `json:"holder,omitempty"`   // of acquire's reply
	Present  bool   `json:"present,omitempty"`  // of acquire's reply

	Fenced bool `json:"fenced,omitempty"` // of get: it was sent together with its reading of the fence

	// Of tags. Tags are the tags that are invalidated. At the end of a computation they are the
	// tags of its call, those of the calls that it made, and those that it added. Parts are the
	// computations of the values that those calls returned. Epoch and Stamp are in replies of the
	// fence.
	Tags  []string `json:"tags,omitempty"`
	Soft  bool     `json:"soft,omitempty"`
	Parts []int64  `json:"parts,omitempty"`
	Epoch string   `json:"epoch,omitempty"`
	Stamp uint64   `json:"stamp,omitempty"`

	Victim int    `json:"victim,omitempty"` // of processGone and settled
	Since  uint64 `json:"since,omitempty"`  // of settled: commands that failed before this place are over; of fenceBegins: the fence goes back to a state after this place
	Text   string `json:"text,omitempty"`
}

func (e *event) String() string {
	line, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(line)
}

// A value is a result of the functions, and names its computation.
type value struct {
	Comp    int64 // the Op of the computation
	Version int64 // of the source that it read
}

func (v value) String() string { return fmt.Sprintf("v%d of computation %d", v.Version, v.Comp) }

// A memory is a mapped file that all processes share.
type memory struct{ bytes []byte }

const memorySize = 1 << 12

// newMemory maps a file, and makes it if necessary.
func newMemory(path string) (memory, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return memory{}, err
	}
	defer func() { _ = file.Close() }() // the mapping stays
	if err := file.Truncate(memorySize); err != nil {
		return memory{}, err
	}
	bytes, err := unix.Mmap(int(file.Fd()), 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return memory{bytes}, err
}

func (m memory) close() error { return unix.Munmap(m.bytes) }

// word returns a number in the memory. Processes may use it concurrently.
func (m memory) word(i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&m.bytes[8*i]))
}

// next returns the next place in the order of events.
func (m memory) next() uint64 { return m.word(0).Add(1) }

// version returns the version of the i-th cell's source.
func (m memory) version(i int) *atomic.Uint64 { return m.word(8 + i) }

// monotonic returns the time of the clock that all processes of a machine share.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has it
	}
	return t.Nano()
}

// A recorder writes the events of one process to a file, one by one and unbuffered, so that
// they survive a kill of the process.
type recorder struct {
	mem  memory
	proc int

	mu  sync.Mutex // guards the field below
	out io.WriteCloser
}

func newRecorder(mem memory, proc int, path string) (*recorder, error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &recorder{mem: mem, proc: proc, out: out}, nil
}

// stamp sets the place and time of e to now. It is called before the recorded event begins, or
// after it has ended.
func (r *recorder) stamp(e *event) {
	e.Seq, e.At, e.Proc = r.mem.next(), monotonic(), r.proc
}

// write writes a stamped event.
func (r *recorder) write(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // the type can be encoded
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.out.Write(append(line, '\n')); err != nil {
		panic(fmt.Errorf("history: record an event: %w", err))
	}
}

// record stamps and writes.
func (r *recorder) record(e event) event {
	r.stamp(&e)
	r.write(e)
	return e
}

func (r *recorder) close() error { return r.out.Close() }

// watch records the times in which this process did not run, until done.
func (r *recorder) watch(done <-chan struct{}) {
	const interval, worth = 5 * time.Millisecond, 5 * time.Millisecond
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for last := monotonic(); ; {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		now := monotonic()
		if late := span(last, now) - interval; late > worth {
			r.record(event{Kind: stalled, Millis: late.Milliseconds()})
		}
		last = now
	}
}

// readEvents returns the records of processes, in order. The last line of a killed process may
// be truncated, and is skipped.
func readEvents(paths []string) ([]event, error) {
	var all []event
	for _, path := range paths {
		events, err := readFile(path)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	slices.SortFunc(all, func(a, b event) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return all, nil
}

func readFile(path string) (events []event, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // killed before it began
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	decoder := json.NewDecoder(bufio.NewReaderSize(file, 1<<16))
	for {
		var e event
		err := decoder.Decode(&e)
		switch {
		case err == nil:
			events = append(events, e)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return events, nil
		default:
			return nil, fmt.Errorf("history: read %s: %w", path, err)
		}
	}
}

// span is a time in the records.
func span(from, to int64) time.Duration { return time.Duration(to - from) }
