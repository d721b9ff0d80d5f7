package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A flight of more than swift bytes gets extra time, for a link of slowest bytes a second.
	// A link of 1 MB/s carries swift bytes in 32 ms, and in less than 200 ms if every seat has
	// as many under way.
	slowest = 128 << 10
	swift   = 32 << 10
	// longest is how long a flight waits for an answer of unknown size, after the answer was
	// late in the small lane.
	longest = 10 * time.Second
)

// A Config configures a Remote.
type Config struct {
	Client  redis.UniversalClient // not a Ring
	Timeout time.Duration         // from sending a small command to its answer

	// WriteProbe is a script that changes nothing, but that only a primary runs. Its key is one
	// under which nothing is stored.
	WriteProbe *Script

	// Closing ends the probes of nodes that are away when it is closed. If it is nil, only Close
	// ends them.
	Closing <-chan struct{}
	// Spawn starts a goroutine; nil: the go statement. Such a goroutine may wait inside go-redis.
	Spawn func(func())
	// Notice is called with each Event. It must not block and must not call the Remote, because
	// locks are held. It may be nil.
	Notice func(Event)

	// Dialed is called some time after the client has made connections, which may lead to
	// another server. It must not block. It may be nil.
	Dialed func()

	// Now is the watchdog's clock, for tests; nil: time.Now.
	Now func() time.Time
}

// An Event is something worth a log line.
type Event struct {
	Node   string // its address
	Op     string // of the command that showed it; "" if none did
	Kind   Kind   //
	Away   bool   // the node is away from now on
	Left   bool   // the node was away, and has left its Cluster: it gets no more commands
	Writes bool   // Away, or back, for writes; otherwise for reads
	Err    error  // nil: the node is back, or has left
}

// A Remote is one Redis. It is safe for concurrent use.
type Remote struct {
	client     redis.UniversalClient
	timeout    time.Duration
	tick       time.Duration
	writeProbe *Script
	spawn      func(func())
	notice     func(Event)
	dialed     func()
	now        func() time.Time

	only  *node                     // the server; nil on a Cluster
	whole *node                     // the cluster client, which finds nodes by itself; nil without a Cluster
	nodes sync.Map                  // the nodes of a Cluster, *node by *redis.Client
	swept atomic.Pointer[time.Time] // when sweep last looked for nodes that have left

	readies sync.Pool // of channels for callers that wait

	closed  atomic.Bool
	closing <-chan struct{}
	end     func() // closes closing, if the Remote has made it
}

// New makes a Remote. It does not connect.
func New(cfg Config) *Remote {
	r := &Remote{
		client:     cfg.Client,
		timeout:    cfg.Timeout,
		tick:       max(cfg.Timeout/ticksPerTimeout, minTick),
		writeProbe: cfg.WriteProbe,
		spawn:      cfg.Spawn,
		notice:     cfg.Notice,
		dialed:     cfg.Dialed,
		now:        cfg.Now,
		closing:    cfg.Closing,
		end:        func() {},
	}
	if r.closing == nil {
		closing := make(chan struct{})
		r.closing, r.end = closing, func() { close(closing) }
	}
	r.readies.New = func() any { return make(chan *flight, 1) }
	if r.spawn == nil {
		r.spawn = func(f func()) { go f() }
	}
	if r.notice == nil {
		r.notice = func(Event) {}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if _, clustered := cfg.Client.(*redis.ClusterClient); clustered {
		r.whole = newNode(r, cfg.Client)
	} else {
		r.only = newNode(r, cfg.Client)
	}
	return r
}

// Do sends a command and waits for the answer. It returns nil if there is an answer. Then
// [Command.Raw] or [Command.Reply] is valid.
//
// Do waits for a connection and for other commands for as long as ctx allows, and for the
// answer for at most the timeout; a large command gets more time. If ctx ends first, Do
// returns an error that wraps ctx.Err(), and the command may still be sent, or may have
// been. Any other error is an *Error.
func (r *Remote) Do(ctx context.Context, c *Command) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := r.nodeOf(c)
	if c.limit.Always && n.isAway(c.use) {
		return n.askAgain(ctx, c)
	}
	f, err := n.begin(ctx, c, false)
	switch {
	case err != nil:
		return err
	case f != nil && n.lead(f):
		return c.result()
	}
	return c.await(ctx)
}

// await waits for the result of a command. Meanwhile the caller may have to send a flight.
func (c *Command) await(ctx context.Context) error {
	for {
		select {
		case f := <-c.ready:
			if f == nil || f.node.lead(f) {
				select {
				case <-c.ready: // the node went away while this caller was sending
				default:
				}
				c.node.Load().r.readies.Put(c.ready)
				return c.result()
			}
		case <-ctx.Done():
			if err := c.leave(); err != errStaying { //nolint:errorlint // leave returns it unwrapped
				return err
			}
			return c.stay()
		}
	}
}

// stay waits for the end of a command that is under way. It ignores a flight that its caller
// was woken to send: another goroutine sends it.
func (c *Command) stay() error {
	for !c.isDone() {
		<-c.ready
	}
	return c.result()
}

// isDone reports whether the command has its result.
func (c *Command) isDone() bool {
	n := c.lock()
	defer n.mu.Unlock()
	return c.state == isDone
}

// lock locks the node that has the command in a lane.
func (c *Command) lock() *node {
	for {
		n := c.node.Load()
		n.mu.Lock()
		if n == c.node.Load() { // else it was moved meanwhile
			return n
		}
		n.mu.Unlock()
	}
}

// result returns the error of a command that is done.
func (c *Command) result() error { return c.err }

// longest returns how long a flight waits for an answer of unknown size.
func (r *Remote) longest() time.Duration { return max(longest, 2*r.timeout) }

// patience returns how long a flight may take after it was sent.
func (r *Remote) patience(l *lane, batch []*Command) time.Duration {
	size := 0
	for _, c := range batch {
		if c.suspect && l.large {
			return r.longest()
		}
		size += c.weight()
	}
	if size <= swift {
		return r.timeout
	}
	return r.timeout + time.Duration(size)*time.Second/slowest
}

// nodeOf returns the node that a command goes to.
func (r *Remote) nodeOf(c *Command) *node {
	if r.only != nil {
		return r.only
	}
	if c.key == "" {
		return r.whole
	}
	cluster := r.client.(*redis.ClusterClient)
	var client *redis.Client
	var err error
	if c.use == Reads && cluster.Options().ReadOnly { // which routing by latency or at random implies
		client, err = cluster.SlaveForKey(ended, c.key)
	} else {
		client, err = cluster.MasterForKey(ended, c.key)
	}
	if err != nil { // the client does not know the slots, or no node has this one
		return r.whole
	}
	if found, ok := r.nodes.Load(client); ok {
		return found.(*node)
	}
	found, _ := r.nodes.LoadOrStore(client, newNode(r, client))
	return found.(*node)
}

// NodeOf returns the address of the node that writes of a key go to, or "cluster" if it is not
// known.
func (r *Remote) NodeOf(key string) string {
	if r.only != nil {
		return r.only.addr
	}
	return r.nodeOf(&Command{key: key, use: Writes}).addr
}

// idleLong is how long a node of a Cluster is remembered after its last command. The node may
// have left.
const idleLong = time.Minute

// sweep forgets nodes that got no command for idleLong. It does so at most once per idleLong.
// No lock is held.
func (r *Remote) sweep() {
	if r.whole == nil {
		return
	}
	now := r.now()
	last := r.swept.Load()
	if last != nil && now.Sub(*last) < idleLong || !r.swept.CompareAndSwap(last, &now) {
		return
	}
	r.nodes.Range(func(client, any any) bool {
		n := any.(*node)
		n.mu.Lock()
		defer n.mu.Unlock()
		idle := !n.watch.armed && !n.idle.IsZero() && now.Sub(n.idle) > idleLong
		if idle && !n.states[Reads].away && !n.states[Writes].away {
			r.nodes.CompareAndDelete(client, n)
		}
		return true
	})
}

// ended is a context that has ended, for calls of go-redis that must not wait.
var ended = func() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}()

// relearn makes a cluster client ask again which node has which slot. go-redis bounds how often.
func (r *Remote) relearn() {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(context.Background())
	}
}

// hasLeft reports whether a node has left its Cluster, as far as the cluster client knows.
func (n *node) hasLeft() bool {
	cluster, ok := n.r.client.(*redis.ClusterClient)
	if !ok || n == n.r.whole {
		return false
	}
	var found atomic.Bool
	err := cluster.ForEachShard(ended, func(_ context.Context, client *redis.Client) error {
		if client == n.client {
			found.Store(true)
		}
		return nil
	})
	return err == nil && !found.Load()
}

// forget drops a node that has left its Cluster. n.mu is held.
func (r *Remote) forget(n *node) {
	if n == r.only || n == r.whole {
		return
	}
	r.nodes.CompareAndDelete(n.client, n)
	for use := range n.states {
		if s := &n.states[use]; s.away {
			*s = condition{}
			r.notice(Event{Node: n.addr, Left: true, Writes: Use(use) == Writes})
		}
	}
}

// answersElsewhere reports whether a node of the Cluster is known and not away. The caller may
// hold whole.mu, but no other lock.
func (r *Remote) answersElsewhere() (so bool) {
	r.nodes.Range(func(_, n any) bool {
		so = !n.(*node).isAway(Reads)
		return !so
	})
	return so
}

// isAway reports whether a node is away for a use.
func (n *node) isAway(use Use) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.states[use].away
}

// askAgain sends a command to a node that is away. An answer shows that it is back.
func (n *node) askAgain(ctx context.Context, c *Command) error {
	if n.r.closed.Load() {
		c.node.Store(n)
		return c.fail(KindClosed, errClosed)
	}
	err := n.apart(ctx, c, 2*n.r.timeout) // one for connecting, and one for the answer
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.back(c.use)
	}
	return err
}

// A NodeHealth is the known state of one node.
type NodeHealth struct {
	Addr       string
	Away       bool      // for reads, or for writes
	OnlyWrites bool      // it is away for writes, and not for reads
	Since      time.Time // since when it is away
	Why        error     // the last error of a node that is away
}

// Health returns the known states of the nodes that commands were sent to.
func (r *Remote) Health() (nodes []NodeHealth) {
	if r.only != nil {
		return []NodeHealth{r.only.health()}
	}
	if whole := r.whole.health(); whole.Away {
		nodes = append(nodes, whole)
	}
	r.nodes.Range(func(_, n any) bool {
		nodes = append(nodes, n.(*node).health())
		return true
	})
	return nodes
}

func (n *node) health() NodeHealth {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := NodeHealth{Addr: n.addr}
	for _, use := range []Use{Writes, Reads} {
		if s := n.states[use]; s.away {
			h.Away, h.Since, h.Why = true, s.since, s.why
			h.OnlyWrites = use == Writes
		}
	}
	return h
}

// Close refuses all later commands, and ends those that wait. Flights that were sent continue
// until go-redis returns. Close leaves the client open.
func (r *Remote) Close() {
	if !r.closed.CompareAndSwap(false, true) {
		return
	}
	r.end()
	all := []*node{r.only, r.whole}
	r.nodes.Range(func(_, n any) bool {
		all = append(all, n.(*node))
		return true
	})
	for _, n := range all {
		if n != nil {
			n.close()
		}
	}
}

func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flush()
	n.abandon(&Error{Kind: KindClosed, Err: errClosed}, false)
}
