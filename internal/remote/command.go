package remote

import (
	"context"
	"sync/atomic"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// A Use is what a command does to a node. A node can be away for writes alone.
type Use uint8

const (
	Reads  Use = iota // the command changes nothing, and may go to a replica
	Writes            // the command needs a primary
	uses
)

// LargeSize is the size of a command or of its answer, in bytes, from which on it
// travels in the large lane.
const LargeSize = 64 << 10

// TinySize is the size of an answer, in bytes, that need not be expected: a whole pipeline of
// these is small.
const TinySize = 1 << 10

// A Command is one question to Redis and its answer. It is used once.
//
// The fields of the first group are written before the command is given to
// [Remote.Do], and not after.
type Command struct {
	op     string // in errors
	key    string // routes the command, and stands in errors; "" if it has none
	limit  Limits
	script *Script   // what is sent, together with other; nil of a GET and of plain words
	other  *other    // nil of a GET, which has a key only
	ask    *Question // what a GET takes along, or all that is sent; nil of others
	size   int       // bytes that are sent, more or less

	// Of the flight that the command is in: written by the goroutine that makes the flight, then
	// by the one that sends it.
	wire   wire
	mark   mark
	words  [2]any          // of a GET
	get    redis.StringCmd // the inner command of wire, if it is a GET
	flight flight          // of which the command is the first; room for it
	batch  [1]*Command     // the command; room for the batch of a flight of one

	node atomic.Pointer[node] // in whose lane it is; changed under the mu of the one before

	// Guarded by node.mu.
	ctx        context.Context // of the caller
	leads      *flight         // its caller is to send this one, and has not been seen to begin
	state      state
	use        Use      // of the first group; here because there is room
	gone       bool     // its caller does not wait any longer
	leaving    bool     // its context has ended: it waits for what is under way, and no longer (Limits.Stay)
	known      bool     // the server had run its script when it was sent
	forgot     bool     // and has forgotten it
	stays      bool     // its caller never sends: it must be able to leave in time
	whole      bool     // the script is sent with its text
	suspect    bool     // it was late: its answer may be large
	unknown    bool     // one of the sendings was not answered: it may have taken effect
	sendings   int16    // how often it was sent
	lates      int16    // how often its answer was late
	excused    int16    // how often that was not counted, because this process was late
	prev, next *Command // in the queue

	// ready wakes the caller: with the flight that it is to send, or with nil when the
	// command is done. It is nil until the caller waits.
	ready chan *flight

	err error // written under node.mu before the command is done, and not after
}

// The other commands, which are no GET, have more than a key. What every hit sends is kept
// small: Go allocates up to 512 bytes in a cheaper way than more.
type other struct {
	keys  []string   // of a script
	args  []any      // of a script; or all words
	cmd   *redis.Cmd // the inner command of wire
	reply any        // written as Command.err is
}

// A state is where a command is; doc.go says how they follow each other.
type state uint8

const (
	isNew     state = iota // in no lane
	isQueued               // waits in its lane
	isBoarded              // in a flight
	isDone                 // has its result
)

// Limits are what a caller asks of the sending of a command.
type Limits struct {
	// Once: the command is not sent again after it may have taken effect.
	Once bool
	// Late is how often it is sent at most if its answer is late, and not again to a node
	// that is silent; 0 is maxSendings. It is sent as often more as this process was late.
	Late int
	// Always: it is sent although the node is away, because it may be back.
	Always bool
	// Urgent: it is sent before those that are queued and not urgent. What ends something
	// is, so that less is begun than this process can bring to its end.
	Urgent bool
	// Stay: when the context ends, a command that is under way is waited for, so that
	// its end is known. One that is queued is withdrawn.
	Stay bool
	// Whole: a script is sent with its text, as to a server that does not know it.
	Whole bool
	// Expect is how large the answer may be, in bytes; 0 is at most TinySize. An answer that
	// turns out larger than expected is waited for, but holds up others.
	Expect int
}

// Get makes a command that reads a key.
func Get(op, key string, limit Limits) *Command {
	c := &Command{op: op, key: key, use: Reads, limit: limit, size: len(key) + 32}
	return c
}

// Eval makes a command that runs a script. The first key routes it.
func Eval(op string, use Use, script *Script, keys []string, args []any, limit Limits) *Command {
	c := &Command{op: op, key: keys[0], use: use, limit: limit, script: script, other: &other{keys: keys, args: args}, whole: limit.Whole, size: 128}
	for _, key := range keys {
		c.size += len(key) + 16
	}
	for _, arg := range args {
		c.size += sizeOf(arg)
	}
	return c
}

// Plain makes any other command, of its words. The key is one of them, or "".
func Plain(op, key string, use Use, limit Limits, words ...any) *Command {
	return &Command{op: op, key: key, use: use, limit: limit, other: &other{args: words}, size: 128}
}

func sizeOf(arg any) int {
	switch arg := arg.(type) {
	case string:
		return len(arg) + 16
	case []byte:
		return len(arg) + 16
	default:
		return 32
	}
}

// Raw returns the answer of a GET: nil if there is no such key. It belongs to the
// caller. It is valid after [Remote.Do] returned nil.
func (c *Command) Raw() []byte {
	if c.wire.err != nil { // the answer is that there is none
		return nil
	}
	if raw, _ := c.get.Bytes(); raw != nil {
		return raw
	}
	return []byte{} // there is such a key
}

// Reply returns the answer of another command, as go-redis reads one: a string, an
// int64, a slice of these, or nil. It is valid after [Remote.Do] returned nil.
func (c *Command) Reply() any { return c.other.reply }

// Forgot reports whether the server had run the script, and knew it no more: it was
// restarted, or another took its place. The script was sent whole then. It is valid
// after [Remote.Do].
func (c *Command) Forgot() bool { return c.forgot }

// alone returns the batch of a flight that has no other command.
func (c *Command) alone() []*Command {
	c.batch[0] = c
	return c.batch[:]
}

// weight returns how many bytes the command and its answer have, as far as is known. mu is
// held.
func (c *Command) weight() int {
	if c.suspect {
		return max(c.size+c.limit.Expect, LargeSize)
	}
	return c.size + c.limit.Expect
}

// large reports whether the command travels in the large lane. mu is held.
func (c *Command) large() bool {
	return c.suspect || c.size > LargeSize || c.limit.Expect > LargeSize
}

// prepare makes what is sent, for a flight. It is made anew for each sending, in the same
// place: nobody writes to it any more when a flight has landed, and the commands of an
// orphan are not sent again.
func (c *Command) prepare(f *flight) redis.Cmder {
	c.mark.flight = f
	c.wire = wire{flight: f, use: c.use, caller: c.ctx}
	switch {
	case c.script != nil:
		c.mark.text = c.key
		o := c.other
		args := make([]any, 0, 4+len(o.keys)+len(o.args))
		if c.whole {
			args = append(args, "eval", c.script.text)
		} else {
			args = append(args, "evalsha", c.script.hash)
		}
		args = append(args, len(o.keys), &c.mark)
		for _, key := range o.keys[1:] {
			args = append(args, key)
		}
		o.cmd = redis.NewCmd(f, append(args, o.args...)...)
		c.wire.Cmder = o.cmd
	case c.only():
		c.mark.text = hmget
		hashes := c.ask.place(make(map[[16]byte]int32, len(c.ask.hashes)), nil)
		c.other.cmd = redis.NewCmd(f, c.ask.words(&c.mark, hashes)...)
		c.wire.Cmder = c.other.cmd
	case c.other != nil:
		o := c.other
		c.mark.text = o.args[0].(string)
		o.cmd = redis.NewCmd(f, append([]any{&c.mark}, o.args[1:]...)...)
		c.wire.Cmder = o.cmd
	default:
		c.mark.text = c.key
		c.words = [2]any{"get", &c.mark}
		c.get = *redis.NewStringCmd(f, c.words[:]...)
		c.wire.Cmder = &c.get
	}
	return &c.wire
}

// finish gives the command its result: the error, or what the flight has brought. mu
// is held.
func (c *Command) finish(err error) {
	c.state, c.err = isDone, err
	if c.other != nil && err == nil && c.wire.err == nil {
		c.other.reply = c.other.cmd.Val()
	}
}

// fail makes the error of the command. mu is held, or the command is in no lane.
func (c *Command) fail(kind Kind, cause error) *Error {
	err := &Error{Op: c.op, Kind: kind, Key: c.key, Err: cause, MayHaveRun: c.unknown, Late: int(c.lates)}
	if n := c.node.Load(); n != nil {
		err.Node = n.addr
	}
	return err
}

// A wire is a command as go-redis sees it. It is sent once: go-redis would send a
// command again after a timeout, when the server may be working at it yet. The answer
// that was read is kept when go-redis stamps the error of a whole pipeline on it.
type wire struct {
	redis.Cmder
	flight   *flight
	use      Use
	caller   context.Context
	answered bool
	err      error
}

// NoRetry keeps go-redis from sending the command again.
func (w *wire) NoRetry() bool { return true }

// SetErr takes how the command ended, as far as go-redis knows.
func (w *wire) SetErr(err error) {
	if w.answered {
		return
	}
	w.err = err
	w.Cmder.SetErr(err)
	w.answered = err == nil || err == redis.Nil //nolint:errorlint // go-redis returns it as it is
	if w.answered && !w.flight.answered[w.use].Load() {
		w.flight.answered[w.use].Store(true)
	}
}

// Err returns how it ended.
func (w *wire) Err() error { return w.err }

// Caller returns the context of the caller whose command it is, for hooks: of a pipeline
// they are given that of the first command's caller.
func (w *wire) Caller() context.Context { return w.caller }

// Inner returns the command of go-redis, for hooks that look at replies.
func (w *wire) Inner() redis.Cmder { return w.Cmder }

// A mark is a word of a command that notes when it is written to a connection.
// go-redis does not say otherwise whether a command waited for one, or for its answer.
type mark struct {
	text   string
	flight *flight
}

// MarshalBinary returns the word, which go-redis copies to the connection.
func (m *mark) MarshalBinary() ([]byte, error) {
	if !m.flight.sent.Load() {
		m.flight.sent.Store(true)
	}
	return unsafe.Slice(unsafe.StringData(m.text), len(m.text)), nil
}

// String returns the word: go-redis routes by it, and hooks print it.
func (m *mark) String() string { return m.text }

// A Script is a Lua script that servers know by its hash.
type Script struct{ text, hash string }

// Hash returns what servers know it by.
func (s *Script) Hash() string { return s.hash }

// NewScript makes a script of its text.
func NewScript(text string) *Script {
	return &Script{text, redis.NewScript(text).Hash()}
}
