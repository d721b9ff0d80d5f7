package remote

import (
	"context"
	"slices"
	"sync"
	"time"
)

// This file sends many commands together: all of one caller (All), or one from each of several
// goroutines (Group). The commands for one node go in as few pipelines as their sizes allow.

// All sends commands together and waits for all answers. It returns for each command what
// [Remote.Do] would return.
func (r *Remote) All(ctx context.Context, cmds []*Command) []error {
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

// AllAsking is All with a question that is asked together with the commands.
func (r *Remote) AllAsking(ctx context.Context, cmds []*Command, q *Question) (errs []error, qErr error) {
	ask := q.command()
	errs = r.All(ctx, append(slices.Clip(cmds), ask))
	if qErr = errs[len(cmds)]; qErr == nil {
		q.reply, _ = ask.Reply().([]any)
	}
	return errs[:len(cmds)], qErr
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

// Leave tells the group that one of the goroutines sends no command.
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
