package remote

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/redis/go-redis/v9"
)

// This file has what lets two questions cost little more than one: a GET takes a question
// about fields of a hash along, and all questions about one hash in a pipeline are one HMGET.

// A Question asks for fields of a hash. It is used once.
type Question struct {
	op, key string
	names   []string   // of fields
	hashes  [][16]byte // whose hex digits are the names of more fields

	// Written by the goroutine that sends, and read by the caller once the command is done.
	reply []any
	at    []int32 // where the value of each hash is in the reply
	room  [4]int32
}

// NewQuestion returns a question about the fields that have these names, and those that have
// the hex digits of these hashes for their names. op names it in errors. The slices are not
// written to.
func NewQuestion(op, key string, names []string, hashes [][16]byte) *Question {
	return &Question{op: op, key: key, names: names, hashes: hashes}
}

// Value returns the value of a field: those of the names first. It is a string, or nil where
// there is none. It is valid after [Remote.Both] returned no error for the question.
func (q *Question) Value(i int) any {
	if i >= len(q.names) {
		i = int(q.at[i-len(q.names)])
	}
	if i >= len(q.reply) {
		return nil
	}
	return q.reply[i]
}

// size is about how many bytes are sent.
func (q *Question) size() int { return 32 + len(q.key) + 48*(len(q.names)+len(q.hashes)) }

// command makes a command that asks the question alone.
func (q *Question) command() *Command {
	return &Command{op: q.op, key: q.key, use: Reads, other: new(other), ask: q, size: q.size()}
}

// only reports whether the command is nothing but a question.
func (c *Command) only() bool { return c.ask != nil && c.other != nil }

// Both sends a GET and a question together, and waits for both answers. Where they go to one
// node the question goes in the pipeline of the GET. It returns what [Remote.Do] would return
// for each; where the GET has failed the question may have no answer of its own.
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
	if q.reply == nil { // it failed, or its slot is elsewhere: find out
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

// apart is Both where the two go to different nodes.
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

// place notes where the values of the hashes will be: the question is the first, or comes
// after others whose hashes have places. It returns the hashes that have a place now, in their
// order.
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

// words returns HMGET for names and hashes. A word is a pointer where that saves memory.
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

// A ride is what the commands of a flight ask about one hash.
type ride struct {
	first  *Question
	places map[[16]byte]int32
	hashes [][16]byte
	riders []*Command
	wire   wire
	mark   mark
	cmd    *redis.Cmd
}

// take takes in the question that a command has. It reports whether nothing else is to be sent for
// the command.
func (r *ride) take(f *flight, c *Command) bool {
	q := c.ask
	switch {
	case r.first == nil:
		r.first, r.places = q, make(map[[16]byte]int32, 2*len(f.batch))
	case q.key != r.first.key || !slices.Equal(q.names, r.first.names):
		return false // it is asked by itself
	}
	r.hashes = q.place(r.places, r.hashes)
	r.riders = append(r.riders, c)
	if !c.only() {
		return false
	}
	c.wire = wire{flight: f, use: Reads, caller: c.ctx, Cmder: redis.NewCmd(f)}
	return true
}

// command returns what asks for all.
func (r *ride) command(f *flight) redis.Cmder {
	r.mark = mark{hmget, f}
	r.cmd = redis.NewCmd(f, r.first.words(&r.mark, r.hashes)...)
	r.wire = wire{Cmder: r.cmd, flight: f, use: Reads, caller: r.riders[0].ctx}
	return &r.wire
}

// arrive gives all who have asked the answer. A GET whose question has none goes on without:
// see Both.
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
