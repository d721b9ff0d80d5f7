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

// LargeSize is the size of a command or of its answer, in bytes, above which the command
// uses the large lane.
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
	key    string // routes the command, and is in its errors; "" if it has none
	limit  Limits
	script *Script   // sent together with other; nil for a GET and for plain words
	other  *other    // nil for a GET, which has only a key
	ask    *Question // sent with a GET, or alone; nil for other commands
	size   int       // about how many bytes are sent

	// Of the flight that the command is in. The goroutine that makes the flight writes them,
	// then the goroutine that sends it.
	wire   wire
	words  [2]any          // of a GET
	get    redis.StringCmd // the inner command of wire, if it is a GET
	flight flight          // room for the flight of which the command is the first
	batch  [1]*Command     // room for the batch of a flight that has only this command

	node atomic.Pointer[node] // the command is in a lane of this node; changed under the mu of the node before

	// Guarded by node.mu.
	ctx        context.Context // of the caller
	leads      *flight         // its caller has to send this flight, and has not begun
	state      state
	use        Use      // of the first group; here because there is room
	gone       bool     // its caller no longer waits
	leaving    bool     // its context has ended, and it waits only for the flight under way (Limits.Stay)
	known      bool     // the server had run its script when it was sent
	forgot     bool     // the server had run its script and has forgotten it
	stays      bool     // its caller never sends, because it must be able to leave in time
	whole      bool     // the script is sent with its text
	suspect    bool     // it was late: its answer may be large
	unknown    bool     // one of its sendings was not answered: it may have taken effect
	sendings   int16    // how often it was sent
	lates      int16    // how often its answer was late
	excused    int16    // how often a late answer did not count, because this process was late
	prev, next *Command // in the queue

	// ready wakes the caller, with the flight that it has to send, or with nil when the
	// command is done. ready is nil until the caller waits.
	ready chan *flight

	err error // written under node.mu before the command is done, and not after
}

// An other has the parts of a command that is not a GET. They are apart because Go allocates a
// Command of at most 512 bytes in a cheaper way, and every hit allocates one.
type other struct {
	mark  mark
	keys  []string   // of a script, or of an MGET
	args  []any      // of a script; or all words
	cmd   *redis.Cmd // the inner command of wire
	reply any        // written as Command.err is
}

// A state says where a command is. The order of states is in doc.go.
type state uint8

const (
	isNew     state = iota // in no lane
	isQueued               // waits in its lane
	isBoarded              // in a flight
	isDone                 // has its result
)

// Limits say how a command is sent.
type Limits struct {
	// Expect is the expected size of the answer in bytes; 0 means at most TinySize. A larger
	// answer is received too, but delays other commands.
	Expect int
	// Late is how often it is sent at most if its answers are late; 0 is maxSendings. A late
	// answer does not count if this process was late. With Late it is not sent again to a
	// node that is silent.
	Late int16
	// Once: the command is not sent again after it may have taken effect.
	Once bool
	// Always: it is sent even if the node is away, because the node may be back.
	Always bool
	// Urgent: it is sent before all queued commands that are not urgent. Set it for a command
	// that ends something, so that this process does not begin more than it can end.
	Urgent bool
	// Stay: if the context ends while the command is under way, the caller waits for the
	// result. A queued command is withdrawn.
	Stay bool
	// Whole: a script is sent with its text.
	Whole bool
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

// getMany makes a command that reads many keys of one server. Answers are expected to be tiny.
func getMany(op string, keys []string, limit Limits) *Command {
	args := make([]any, 1, 1+len(keys))
	args[0] = "mget"
	c := &Command{op: op, key: keys[0], use: Reads, limit: limit, other: &other{keys: keys}, size: 32}
	for i := range keys {
		args = append(args, &keys[i]) // a pointer takes no memory of its own
		c.size += len(keys[i]) + 16
	}
	c.other.args = args
	return c
}

// many reports whether the command reads many keys.
func (c *Command) many() bool { return c.other != nil && c.script == nil && c.other.keys != nil }

// Plain makes any other command from its words. The key is one of them, or "".
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

// Raw returns the answer of a GET, or nil if there is no such key. The caller may change the
// slice. It is valid after [Remote.Do] returned nil.
func (c *Command) Raw() []byte {
	if c.wire.err != nil { // there is no such key
		return nil
	}
	if raw, _ := c.get.Bytes(); raw != nil {
		return raw
	}
	return []byte{} // there is such a key
}

// keys returns how many keys the command reads.
func (c *Command) keys() int {
	if c.many() {
		return len(c.other.keys)
	}
	return 1
}

// put puts the answers of a command that reads keys into got. After an error the command may still
// be under way, and its answer is not read.
func (c *Command) put(got []Got, err error) {
	if err == nil && !c.many() {
		got[0].Raw = c.Raw()
		return
	}
	var values []any
	if err == nil {
		values, _ = c.Reply().([]any)
	}
	for i := range got {
		got[i].Err = err
		if i >= len(values) {
			continue
		}
		switch text, ok := values[i].(string); {
		case ok && text == "":
			got[i].Raw = []byte{} // there is such a key
		case ok:
			got[i].Raw = unsafe.Slice(unsafe.StringData(text), len(text)) // no other code has the text
		}
	}
}

// Op returns the name of the operation that the command is for.
func (c *Command) Op() string { return c.op }

// Reply returns the answer of a command that is not a GET, in the types of go-redis: a string,
// an int64, a slice of these, or nil. It is valid after [Remote.Do] returned nil.
func (c *Command) Reply() any { return c.other.reply }

// Forgot reports whether the server had run the script before and did not know it any more,
// because it was restarted or replaced. The script was then sent with its text. Forgot is
// valid after [Remote.Do].
func (c *Command) Forgot() bool {
	if c.node.Load() == nil { // the command was not sent
		return false
	}
	n := c.lock() // the command of a caller that has left may still be under way
	defer n.mu.Unlock()
	return c.forgot
}

// alone returns the batch of a flight that has only this command.
func (c *Command) alone() []*Command {
	c.batch[0] = c
	return c.batch[:]
}

// weight returns how many bytes the command and its answer are expected to have. mu is held.
func (c *Command) weight() int {
	if c.suspect {
		return max(c.size+c.limit.Expect, LargeSize)
	}
	return c.size + c.limit.Expect
}

// large reports whether the command uses the large lane. mu is held.
func (c *Command) large() bool {
	return c.suspect || c.size > LargeSize || c.limit.Expect > LargeSize
}

// prepare makes the command of go-redis for a flight. Each sending makes it anew, in the same
// memory. That is safe: nothing writes to it after a flight has landed, and the commands of an
// orphan are never sent again.
func (c *Command) prepare(f *flight) redis.Cmder {
	c.wire = wire{flight: f, of: c}
	if c.other != nil {
		c.other.mark.flight = f
	}
	switch {
	case c.script != nil:
		o := c.other
		o.mark.text = c.key
		args := make([]any, 0, 4+len(o.keys)+len(o.args))
		if c.whole {
			args = append(args, "eval", c.script.text)
		} else {
			args = append(args, "evalsha", c.script.hash)
		}
		args = append(args, len(o.keys), &o.mark)
		for _, key := range o.keys[1:] {
			args = append(args, key)
		}
		o.cmd = redis.NewCmd(f, append(args, o.args...)...)
		c.wire.Cmder = o.cmd
	case c.only():
		c.other.mark.text = hmget
		hashes := c.ask.place(make(map[[16]byte]int32, len(c.ask.hashes)), nil)
		c.other.cmd = redis.NewCmd(f, c.ask.words(&c.other.mark, hashes)...)
		c.wire.Cmder = c.other.cmd
	case c.other != nil:
		o := c.other
		o.mark.text = o.args[0].(string)
		o.cmd = redis.NewCmd(f, append([]any{&o.mark}, o.args[1:]...)...)
		c.wire.Cmder = o.cmd
	default:
		c.words = [2]any{"get", (*keyMark)(c)}
		c.get = *redis.NewStringCmd(f, c.words[:]...)
		c.wire.Cmder = &c.get
	}
	return &c.wire
}

// finish sets the result of the command: the error, or the answer that the flight has brought.
// mu is held.
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

// A wire is a command as go-redis sees it. go-redis sends it once: without NoRetry it would
// send the command again after a timeout, while the server may still be working on it. An
// answer that was read is kept even if go-redis sets the error of the whole pipeline later.
type wire struct {
	redis.Cmder
	flight   *flight
	of       *Command // or the first of several that it is for
	err      error
	answered bool
}

// NoRetry keeps go-redis from sending the command again.
func (w *wire) NoRetry() bool { return true }

// SetErr notes the result of the command. go-redis calls it.
func (w *wire) SetErr(err error) {
	if w.answered {
		return
	}
	w.err = err
	w.Cmder.SetErr(err)
	w.answered = err == nil || err == redis.Nil //nolint:errorlint // go-redis returns it as it is
	if use := w.of.use; w.answered && !w.flight.answered[use].Load() {
		w.flight.answered[use].Store(true)
	}
}

// Err returns the error of the command.
func (w *wire) Err() error { return w.err }

// Caller returns the context of the command's caller, for hooks. For a pipeline go-redis gives
// hooks only the context of the first command's caller.
func (w *wire) Caller() context.Context { return w.of.ctx }

// Inner returns the command of go-redis, for hooks that look at replies.
func (w *wire) Inner() redis.Cmder { return w.Cmder }

// A mark is a word of a command. It notes when it is written to a connection, because go-redis
// does not say whether a command waited for a connection or for its answer.
type mark struct {
	text   string
	flight *flight
}

// MarshalBinary returns the word, which go-redis copies to the connection. After an error go-redis
// closes the connection, and sends nothing that it has copied.
func (m *mark) MarshalBinary() ([]byte, error) { return m.flight.write(m.text) }

// String returns the word. go-redis routes by it, and hooks print it.
func (m *mark) String() string { return m.text }

// A keyMark is the mark of a GET: its key.
type keyMark Command

// MarshalBinary is that of mark.
func (m *keyMark) MarshalBinary() ([]byte, error) { return m.wire.flight.write(m.key) }

// String is that of mark.
func (m *keyMark) String() string { return m.key }

// write notes that writing begins, and returns the bytes of a word.
func (f *flight) write(text string) ([]byte, error) {
	if !f.sent.begin() {
		return nil, errWithdrawn
	}
	return unsafe.Slice(unsafe.StringData(text), len(text)), nil
}

// A Script is a Lua script that servers know by its hash.
type Script struct{ text, hash string }

// Hash returns the hash that servers know the script by.
func (s *Script) Hash() string { return s.hash }

// NewScript makes a script from its text.
func NewScript(text string) *Script {
	return &Script{text, redis.NewScript(text).Hash()}
}
