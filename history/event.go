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

// A kind is what an event tells.
type kind string

// The kinds of events. What ends has the Op of what began.
const (
	callBegins       kind = "call"
	callEnds         kind = "answer"
	invalidateBegins kind = "invalidate"
	invalidateEnds   kind = "invalidated"
	refreshBegins    kind = "refresh" // Func.Refresh
	refreshEnds      kind = "refreshed"
	sourceChanged    kind = "change"
	computeBegins    kind = "compute" // the function runs
	computeEnds      kind = "computed"
	commandSent      kind = "sent"
	commandEnds      kind = "reply" // or an error
	processGone      kind = "gone"  // all that process Victim sent has been executed or never will be
	settled          kind = "settled"
	wipeBegins       kind = "wipe" // Redis is restarted empty
	wipeEnds         kind = "wiped"
	stalled          kind = "stall" // the process got no processor for so long
	note             kind = "note"  // for the reader: a fault and its end
)

// An event is one record of a history.
type event struct {
	Seq  uint64 `json:"seq"`  // its place in the order of all
	At   int64  `json:"at"`   // nanoseconds of CLOCK_MONOTONIC
	Proc int    `json:"proc"` // a process, 0 for the one that conducts; a worker started again is another one
	Kind kind   `json:"kind"`
	Op   int64  `json:"op,omitempty"`
	Cell string `json:"cell,omitempty"`

	// Of calls and invalidations. Err is how it ended, "" for well; see
	// errorKind. Value is the answer.
	Err    string `json:"err,omitempty"`
	Mode   string `json:"mode,omitempty"` // of a call: "refresh"; of acquire: its mode; of cooldown: what it puts before the token
	Value  value  `json:"value,omitzero"` // also of a computation, and of an entry in a command or reply
	Source string `json:"source,omitempty"`

	// Of computations. Call is the call that it runs for; Troubles, also of
	// answers, is how many operations on Redis the process has counted as failed.
	Call     int64  `json:"call,omitempty"` // also of commands
	Troubles uint64 `json:"troubles,omitempty"`

	// Of commands and replies.
	Verb     string `json:"verb,omitempty"`
	Token    string `json:"token,omitempty"`
	Millis   int64  `json:"millis,omitempty"`   // the life that it gives the lock, or the entry; of stalled
	Seen     string `json:"seen,omitempty"`     // of acquire: the id of the entry that the caller saw
	Servable bool   `json:"servable,omitempty"` // of acquire
	Entry    string `json:"entry,omitempty"`    // the id of the entry in the command or reply
	Status   string `json:"status,omitempty"`   // the reply's first word
	Holder   string `json:"holder,omitempty"`   // of acquire's reply
	Present  bool   `json:"present,omitempty"`  // of acquire's reply

	Victim int    `json:"victim,omitempty"` // of processGone and settled
	Since  uint64 `json:"since,omitempty"`  // of settled: it holds for what failed before
	Text   string `json:"text,omitempty"`
}

func (e *event) String() string {
	line, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(line)
}

// A value is what the functions return: where it comes from.
type value struct {
	Comp    int64 // the Op of the computation
	Version int64 // of the source that it read
}

func (v value) String() string { return fmt.Sprintf("v%d of computation %d", v.Version, v.Comp) }

// A memory is what all processes share: a file that each has mapped.
type memory struct{ bytes []byte }

const memorySize = 1 << 12

// newMemory maps a file, which is made if need be.
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

// word gives a number in the memory; processes may use it at the same time.
func (m memory) word(i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&m.bytes[8*i]))
}

// next is the next place in the order of events.
func (m memory) next() uint64 { return m.word(0).Add(1) }

// version is that of the source of the i-th cell.
func (m memory) version(i int) *atomic.Uint64 { return m.word(8 + i) }

// monotonic is the time on the clock that all processes of a machine share.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // there is no Linux without it
	}
	return t.Nano()
}

// A recorder writes the events of one process to a file. They are written one by
// one and unbuffered: what was written is there if the process is killed.
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

// stamp gives e its place and its time, which are those of now: before what
// it tells of begins, or after it has ended.
func (r *recorder) stamp(e *event) {
	e.Seq, e.At, e.Proc = r.mem.next(), monotonic(), r.proc
}

// write writes an event that has its stamp.
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

// watch records when this process is not given a processor, until done.
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

// readEvents reads what processes have recorded, in order. The last line of a
// process that was killed may be cut short, and is left out.
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
