package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A link is a forwarder between one worker and Redis, which can hold back what
// goes through it, add delay, or refuse connections.
type link struct {
	target string
	ln     net.Listener
	delay  time.Duration // mean, of every message
	pumps  sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond // of mu: signals changes of holding, and of a pair's dead or held
	random  *rand.Rand
	holding [2]bool // whether messages up (to Redis) and down are held back
	refuse  bool
	pairs   map[*pair]bool
	ended   []string // addresses of connections to Redis that were closed since settle
}

// A pair is a worker's connection and its counterpart to Redis.
type pair struct {
	down, up net.Conn

	// Guarded by link.mu.
	dead bool
	held bool // messages up are held back
}

// Directions.
const (
	up   = 0
	down = 1
)

func newLink(target string, delay time.Duration, seed uint64) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{
		target: target, ln: ln, delay: delay,
		random: rand.New(rand.NewPCG(seed, 2)),
		pairs:  map[*pair]bool{},
	}
	l.changed = sync.NewCond(&l.mu)
	l.pumps.Go(l.accept)
	return l, nil
}

func (l *link) addr() string { return l.ln.Addr().String() }

func (l *link) accept() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.carry(conn)
	}
}

// carry joins a worker's connection to one of its own to Redis.
func (l *link) carry(conn net.Conn) {
	upstream, err := net.Dial("tcp", l.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	p := &pair{down: conn, up: upstream}
	l.mu.Lock()
	refuse := l.refuse
	l.pairs[p] = true
	l.mu.Unlock()
	if refuse {
		l.drop(p)
		return
	}
	l.pumps.Go(func() { l.pump(p, up, upstream, conn) })
	l.pumps.Go(func() { l.pump(p, down, conn, upstream) })
}

// pump carries one direction. When its source ends, it delivers what came before, and then
// closes both connections.
func (l *link) pump(p *pair, direction int, to, from net.Conn) {
	defer l.drop(p)
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !l.pass(p, direction) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits until a message may continue; false if its connection is cut.
func (l *link) pass(p *pair, direction int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delay > 0 && l.random.IntN(2) == 0 {
		d := time.Duration(l.random.ExpFloat64() * float64(2*l.delay))
		l.mu.Unlock()
		time.Sleep(min(d, 20*l.delay)) // this is the delay itself, not a wait for an event
		l.mu.Lock()
	}
	for (l.holding[direction] || p.held && direction == up) && !p.dead {
		l.changed.Wait()
	}
	return !p.dead
}

func (l *link) drop(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.dead {
		return
	}
	p.dead = true
	delete(l.pairs, p)
	l.ended = append(l.ended, p.up.LocalAddr().String())
	_ = p.down.Close()
	_ = p.up.Close()
	l.changed.Broadcast()
}

// hold holds messages back, or releases them.
func (l *link) hold(upwards, downwards bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = [2]bool{upwards, downwards}
	l.changed.Broadcast()
}

// holdOld holds back messages up on the existing connections, or releases them. Messages on new
// connections overtake them.
func (l *link) holdOld(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.held = held
	}
	l.changed.Broadcast()
}

// cut sets whether new connections are refused, and ends the existing ones.
func (l *link) cut(refuse bool) {
	l.mu.Lock()
	l.refuse = refuse
	pairs := l.snapshot()
	l.mu.Unlock()
	for _, p := range pairs {
		l.drop(p)
	}
}

// snapshot returns the existing pairs. mu is held.
func (l *link) snapshot() []*pair {
	all := make([]*pair, 0, len(l.pairs))
	for p := range l.pairs {
		all = append(all, p)
	}
	return all
}

// settle ends all connections, and returns when Redis has noticed the end of these and of all
// earlier ones. Then Redis has executed what it received on them, and nothing more arrives.
func (l *link) settle(ctx context.Context, client *redis.Client) error {
	l.mu.Lock()
	refuse := l.refuse
	l.mu.Unlock()
	l.cut(refuse)
	l.mu.Lock()
	ended := l.ended
	l.ended = nil
	l.mu.Unlock()
	for {
		list, err := client.ClientList(ctx).Result()
		if err == nil && !anyOf(list, ended) {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("history: connections to Redis do not end: %w", ctx.Err()), err)
		}
		time.Sleep(time.Millisecond)
	}
}

// anyOf reports whether CLIENT LIST names one of the addresses.
func anyOf(list string, addrs []string) bool {
	for _, addr := range addrs {
		if strings.Contains(list, " addr="+addr+" ") {
			return true
		}
	}
	return false
}

// close ends the link.
func (l *link) close() {
	_ = l.ln.Close()
	l.cut(true)
	l.pumps.Wait()
}
