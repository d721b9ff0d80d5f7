package remote

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// This file has what lets two questions cost little more than one: they are sent in one
// pipeline, and questions about the fields of one hash are asked once for a whole pipeline.

// Both sends two commands together, and waits for both answers. Where they go to one node
// and are small, they go in one pipeline. It returns what [Remote.Do] would return for each.
func (r *Remote) Both(ctx context.Context, first, second *Command) (firstErr, secondErr error) {
	if err := ctx.Err(); err != nil {
		return err, err
	}
	n, other := r.nodeOf(first), r.nodeOf(second)
	var f *flight
	if n == other {
		f, firstErr, secondErr = n.beginBoth(ctx, first, second)
	} else {
		_, secondErr = other.begin(ctx, second, true)
		f, firstErr = n.begin(ctx, first, false)
	}
	led := f != nil && n.lead(f)
	switch {
	case firstErr != nil:
	case led:
		firstErr = first.result()
	default:
		firstErr = first.await(ctx)
	}
	if secondErr == nil {
		secondErr = second.await(ctx)
	}
	return firstErr, secondErr
}

// beginBoth is begin for two commands. The caller waits for the first first, so the second
// never waits for it to send: see Command.stays.
func (n *node) beginBoth(ctx context.Context, first, second *Command) (f *flight, firstErr, secondErr error) {
	first.ctx, second.ctx = ctx, ctx
	first.node.Store(n)
	second.node.Store(n)
	first.stays, second.stays = !n.mayLead(ctx, first), true
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.refusal(first); err != nil {
		return nil, err, n.refusalAsError(second)
	}
	l := n.laneOf(first)
	if l != n.laneOf(second) || l.first != nil || len(l.free) == 0 || n.refusal(second) != nil || l.alone {
		_, secondErr = n.board(second)
		f, firstErr = n.board(first)
		return f, firstErr, secondErr
	}
	n.attend(first)
	first.ready, second.ready = n.r.readies.Get().(chan *flight), n.r.readies.Get().(chan *flight)
	l.push(first)
	l.push(second)
	f = n.boardNext(l, l.seat())
	if !f.led {
		n.serve(f)
		return nil, nil, nil
	}
	first.leads = nil
	return f, nil, nil
}

func (n *node) refusalAsError(c *Command) error {
	if err := n.refusal(c); err != nil {
		return err
	}
	return nil
}

// Fields makes a command that reads fields of a hash: HMGET. Those of one pipeline that read
// the same hash are sent as one, so the answer ([Command.Reply], a slice) may have more
// values than were asked for, after these.
func Fields(op, key string, fields []string, limit Limits) *Command {
	words := make([]any, 0, 2+len(fields))
	words = append(words, "hmget", key)
	size := 32 + len(key)
	for _, field := range fields {
		words = append(words, field)
		size += 32 + len(field)
	}
	return &Command{op: op, key: key, use: Reads, limit: limit, other: &other{args: words, fields: true}, size: size}
}

// A ride is the commands of a flight that another one of them asks for.
type ride struct {
	carrier *Command
	place   map[any]int // of a field among the words that are sent
	words   []any
	riders  []*Command
}

// take reports whether the question of a command is asked by another one, that the flight
// has already.
func (r *ride) take(f *flight, c *Command) bool {
	switch {
	case c.other == nil || !c.other.fields:
		return false
	case r.carrier == nil:
		r.carrier, r.words = c, c.other.args
		return false
	case r.carrier.key != c.key:
		return false
	}
	if r.place == nil {
		r.words = append([]any(nil), r.words...)
		r.place = make(map[any]int, 2*len(r.words))
		for i, field := range r.words[2:] {
			r.place[field] = i
		}
	}
	for _, field := range c.other.args[2:] {
		if _, known := r.place[field]; !known {
			r.place[field] = len(r.words) - 2
			r.words = append(r.words, field)
		}
	}
	c.wire = wire{flight: f, use: c.use, caller: c.ctx}
	c.other.cmd = redis.NewCmd(f)
	c.wire.Cmder = c.other.cmd
	r.riders = append(r.riders, c)
	return true
}

// arrive gives the riders what the carrier has brought.
func (r *ride) arrive() {
	if r.riders == nil || r.carrier.wire.err == nil && !r.carrier.wire.answered {
		return
	}
	values, _ := r.carrier.other.cmd.Val().([]any)
	for _, c := range r.riders {
		if r.carrier.wire.err == nil {
			own := make([]any, len(c.other.args)-2)
			for i, field := range c.other.args[2:] {
				if at := r.place[field]; at < len(values) {
					own[i] = values[at]
				}
			}
			c.other.cmd.SetVal(own)
		}
		c.wire.SetErr(r.carrier.wire.err)
	}
}
