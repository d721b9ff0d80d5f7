package remote

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/redis/go-redis/v9"
)

// This file sends a GET and a question about fields of a hash together, at little more than
// the cost of the GET. All questions about one hash in a pipeline are one HMGET.

// A Question asks for fields of a hash. It is used once.
type Question struct {
	op, key string
	names   []string   // of fields
	hashes  [][16]byte // their hex digits are the names of more fields

	// The goroutine that sends writes these. The caller reads them once the command is done.
	reply []any
	at    []int32 // the index in reply of the value of each hash
	room  [4]int32
}

// NewQuestion returns a question about the fields with these names, and the fields whose names
// are the hex digits of these hashes. op names it in errors. The slices are not written to.
func NewQuestion(op, key string, names []string, hashes [][16]byte) *Question {
	return &Question{op: op, key: key, names: names, hashes: hashes}
}

// Value returns the value of a field, counted through the names and then the hashes. It is a
// string, or nil if there is no such field. It is valid after [Remote.Both] returned no error
// for the question.
func (q *Question) Value(i int) any {
	if i >= len(q.names) {
		i = int(q.at[i-len(q.names)])
	}
	if i >= len(q.reply) {
		return nil
	}
	return q.reply[i]
}

// size returns about how many bytes are sent.
func (q *Question) size() int { return 32 + len(q.key) + 48*(len(q.names)+len(q.hashes)) }

// command makes a command that asks the question alone.
func (q *Question) command() *Command {
	return &Command{op: q.op, key: q.key, use: Reads, other: new(other), ask: q, size: q.size()}
}

// only reports whether the command is a question without a GET.
func (c *Command) only() bool { return c.ask != nil && c.other != nil }

// Both sends a GET and a question together, and waits for both answers. If one node has both,
// the question goes in the pipeline of the GET. Both returns the errors that [Remote.Do] would
// return. If the GET has failed, its error may be the question's too.
func (r *Remote) Both(ctx context.Context, get *Command, q *Question) (err, qErr error) {
	n, other := r.nodeOf(get), r.nodeOf(&Command{key: q.key, use: Reads})
	if n != other || n.small.alone {
		return r.apart(ctx, n, other, get, q.command())
	}
	get.ask = q
	get.size += q.size()
	if err = r.Do(ctx, get); err != nil {
		return err, err
	}
	if q.reply == nil { // it failed, or another node has its slot: ask again, alone
		return nil, r.ask(ctx, q.command())
	}
	return nil, nil
}

// ask is Do for a question alone.
func (r *Remote) ask(ctx context.Context, c *Command) error {
	err := r.Do(ctx, c)
	if err == nil {
		c.ask.reply, _ = c.Reply().([]any)
	}
	return err
}

// apart is Both for two different nodes.
func (r *Remote) apart(ctx context.Context, n, other *node, get, question *Command) (err, qErr error) {
	if err := ctx.Err(); err != nil {
		return err, err
	}
	// The caller waits for the GET first, so it never sends the question.
	_, qErr = other.begin(ctx, question, true)
	f, err := n.begin(ctx, get, false)
	led := f != nil && n.lead(f)
	switch {
	case err != nil:
	case led:
		err = get.result()
	default:
		err = get.await(ctx)
	}
	if qErr == nil {
		qErr = question.await(ctx)
	}
	if qErr == nil {
		question.ask.reply, _ = question.Reply().([]any)
	}
	return err, qErr
}

// place notes where the values of the question's hashes will be in the reply. places and placed
// have the hashes of the questions before it. place returns all hashes in their order.
func (q *Question) place(places map[[16]byte]int32, placed [][16]byte) [][16]byte {
	q.reply, q.at = nil, q.room[:0]
	for _, hash := range q.hashes {
		at, known := places[hash]
		if !known {
			at = int32(len(q.names) + len(placed))
			places[hash] = at
			placed = append(placed, hash)
		}
		q.at = append(q.at, at)
	}
	return placed
}

// words returns the words of HMGET for names and hashes. Some words are pointers, which saves
// memory.
func (q *Question) words(mark *mark, hashes [][16]byte) []any {
	words := make([]any, 0, 2+len(q.names)+len(hashes))
	words = append(words, mark, q.key)
	for i := range q.names {
		words = append(words, &q.names[i])
	}
	digits := make([]byte, 0, 32*len(hashes))
	for i := range hashes {
		digits = hex.AppendEncode(digits, hashes[i][:])
	}
	all, texts := string(digits), make([]string, len(hashes))
	for i := range texts {
		texts[i] = all[32*i : 32*(i+1)]
		words = append(words, &texts[i])
	}
	return words
}

// hmget is the command of a question.
const hmget = "hmget"

// A ride has the questions of a flight about one hash.
type ride struct {
	first  *Question
	places map[[16]byte]int32
	hashes [][16]byte
	riders []*Command
	wire   wire
	mark   mark
	cmd    *redis.Cmd
}

// take adds the question of a command. It reports whether nothing else has to be sent for the
// command.
func (r *ride) take(f *flight, c *Command) bool {
	q := c.ask
	switch {
	case r.first == nil:
		r.first, r.places = q, make(map[[16]byte]int32, 2*len(f.batch))
	case q.key != r.first.key || !slices.Equal(q.names, r.first.names):
		return false // it is sent alone
	}
	r.hashes = q.place(r.places, r.hashes)
	r.riders = append(r.riders, c)
	if !c.only() {
		return false
	}
	c.wire = wire{flight: f, of: c, Cmder: redis.NewCmd(f)}
	return true
}

// command returns the one command for all questions.
func (r *ride) command(f *flight) redis.Cmder {
	r.mark = mark{hmget, f}
	r.cmd = redis.NewCmd(f, r.first.words(&r.mark, r.hashes)...)
	r.wire = wire{Cmder: r.cmd, flight: f, of: r.riders[0]}
	return &r.wire
}

// arrive gives the answer to all commands that asked. A GET whose question has no answer ends
// without one: see Both.
func (r *ride) arrive() {
	values, _ := r.cmd.Val().([]any)
	for _, c := range r.riders {
		switch answered := r.wire.answered && r.wire.err == nil; {
		case !c.only():
			if answered {
				c.ask.reply = values
			}
		case r.wire.answered || r.wire.err != nil:
			c.other.cmd = r.cmd
			c.wire.SetErr(r.wire.err)
		}
	}
}
