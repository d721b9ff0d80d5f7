package remote

import (
	"context"
	"slices"
	"sync"
	"time"
)

// This file sends many commands together: all of one caller (All), or one from each of several
// goroutines (Group). It also reads many keys (GetAll). The commands for one node go in as few pipelines as their sizes allow.

// All sends commands together and waits for all answers. It returns for each command what
// [Remote.Do] would return.
func (r *Remote) All(ctx context.Context, cmds []*Command) []error {
	if len(cmds) == 1 {
		return []error{r.Do(ctx, cmds[0])}
	}
	errs := make([]error, len(cmds))
	ctxs := make([]context.Context, len(cmds))
	for i := range cmds {
		ctxs[i], errs[i] = ctx, ctx.Err()
	}
	r.beginAll(ctxs, cmds, errs)
	for i, c := range cmds {
		if errs[i] == nil {
			errs[i] = c.finishIn(ctx, r)
		}
	}
	return errs
}

// A Got is what was read of a key: nil if there is no such key. Err is what [Remote.Do] would
// return.
type Got struct {
	Raw []byte
	Err error
}

// GetAll reads keys together. It asks a question with them if q is not nil; qErr is the error of
// that. op names the commands in errors.
//
// If answers are expected to be tiny, one server is sent an MGET for each maxBatch keys. MGET
// reports a key of another type than a string as absent, where GET returns an error.
func (r *Remote) GetAll(ctx context.Context, op string, keys []string, limit Limits, q *Question) (all []Got, qErr error) {
	cmds := r.gets(op, keys, limit)
	gets := len(cmds)
	if q != nil {
		cmds = append(cmds, q.command())
	}
	errs := r.All(ctx, cmds)
	if q != nil {
		if qErr = errs[gets]; qErr == nil {
			q.reply, _ = cmds[gets].Reply().([]any)
		}
	}
	all = make([]Got, len(keys))
	rest := all
	for i, c := range cmds[:gets] {
		part := rest[:c.keys()]
		rest = rest[len(part):]
		c.put(part, errs[i])
	}
	return all, qErr
}

// gets makes the commands that read keys.
func (r *Remote) gets(op string, keys []string, limit Limits) (cmds []*Command) {
	if r.only != nil && len(keys) > 1 && limit.Expect <= TinySize {
		for part := range slices.Chunk(keys, maxBatch) {
			cmds = append(cmds, getMany(op, part, limit))
		}
		return cmds
	}
	cmds = make([]*Command, 0, len(keys)+1)
	for _, key := range keys {
		cmds = append(cmds, Get(op, key, limit))
	}
	return cmds
}

// finishIn waits for a command that beginAll has begun, or sends it if beginAll has not.
func (c *Command) finishIn(ctx context.Context, r *Remote) error {
	if c.ready == nil {
		return r.Do(ctx, c)
	}
	return c.await(ctx)
}

// beginAll queues and sends the commands that have no error yet. It does not begin a command
// with Limits.Always for a node that is away.
func (r *Remote) beginAll(ctxs []context.Context, cmds []*Command, errs []error) {
	var nodes []*node
	of := make([]*node, len(cmds))
	for i, c := range cmds {
		n := r.nodeOf(c)
		if errs[i] != nil || c.limit.Always && n.isAway(c.use) {
			continue
		}
		of[i] = n
		if !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		c.ctx, c.stays = ctxs[i], true
		c.node.Store(n)
	}
	for _, n := range nodes {
		n.boardAll(of, cmds, errs)
	}
}

// boardAll queues the commands of a node, and sends one pipeline for each free seat.
func (n *node) boardAll(of []*node, cmds []*Command, errs []error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, c := range cmds {
		if of[i] != n {
			continue
		}
		if err := n.refusal(c); err != nil {
			errs[i] = err
			continue
		}
		n.attend(c)
		c.ready = n.r.readies.Get().(chan *flight)
		n.laneOf(c).push(c)
	}
	for _, l := range []*lane{&n.small, &n.large} {
		for l.first != nil && len(l.free) > 0 {
			n.kick(l)
		}
	}
}

// patience is how long the commands of a Group wait for the missing ones.
const patience = 5 * time.Millisecond

// A Group sends one command from each of several goroutines together: when all have called Do
// or Leave, or when the first has waited for a few milliseconds. It is safe for concurrent use.
type Group struct {
	r *Remote

	mu      sync.Mutex // guards the fields below
	missing int        // goroutines that have neither sent their command nor left
	held    []*heldCommand
	over    bool // the patience is over: later commands are sent at once
	timer   *time.Timer
}

type heldCommand struct {
	ctx   context.Context
	c     *Command
	err   error         // written before begun is closed
	begun chan struct{} // closed when the command was begun
}

// NewGroup returns a group for the commands of that many goroutines.
func (r *Remote) NewGroup(size int) *Group { return &Group{r: r, missing: size} }

// Do is [Remote.Do], but sends the command together with the others of the group.
func (g *Group) Do(ctx context.Context, c *Command) error {
	h := &heldCommand{ctx: ctx, c: c, begun: make(chan struct{})}
	g.mu.Lock()
	g.held = append(g.held, h)
	if g.timer == nil {
		g.timer = time.AfterFunc(patience, g.endPatience)
	}
	g.missing--
	g.flush()
	<-h.begun
	if h.err != nil {
		return h.err
	}
	return c.finishIn(ctx, g.r)
}

// Leave says that one of the goroutines of the group sends no command.
func (g *Group) Leave() {
	g.mu.Lock()
	g.missing--
	g.flush()
}

func (g *Group) endPatience() {
	g.mu.Lock()
	g.over = true
	g.flush()
}

// flush sends the held commands if none is missing or the patience is over. mu is held, and
// flush releases it.
func (g *Group) flush() {
	if len(g.held) == 0 || g.missing > 0 && !g.over {
		g.mu.Unlock()
		return
	}
	held := g.held
	g.held = nil
	g.timer.Stop()
	g.mu.Unlock()
	ctxs, cmds, errs := make([]context.Context, len(held)), make([]*Command, len(held)), make([]error, len(held))
	for i, h := range held {
		ctxs[i], cmds[i], errs[i] = h.ctx, h.c, h.ctx.Err()
	}
	g.r.beginAll(ctxs, cmds, errs)
	for i, h := range held {
		h.err = errs[i]
		close(h.begun)
	}
}
