package fncache

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/remote"
)

// This file is the one subscription that a process has to what the scripts
// publish. It begins when somebody needs it: the first caller that waits for
// another process, or the first function with a near cache. There is a channel for each
// function, and the one connection subscribes to those that are needed, as they come and go.
// It gives what it hears to events (events.go), and tells when it hears and when it may
// not.
//
// go-redis connects a subscription anew by itself, and what was published
// meanwhile is lost without a word. Therefore one connection here is one PubSub,
// which is kept from connecting again, and the channel that go-redis offers to
// read from, which drops messages when it is full, is not used.

const (
	// leastPulse is how often the server is asked for a word. After two pulses
	// without any the connection is given up.
	leastPulse = 500 * time.Millisecond
	// pulses is how many pulses may begin before a connection that has gone deaf
	// is given up.
	pulses = 3

	// How long until the next attempt, doubling.
	resubscribeMin = 50 * time.Millisecond
	resubscribeMax = 2 * time.Second
	// forbiddenPause is that for a user who may not subscribe: a person has to
	// do something.
	forbiddenPause = time.Minute
)

// channelOf returns the channel that tells of the key of an entry, which is that of its
// function.
func (s *lockStore) channelOf(key string) string { return s.channel + functionOf(key) }

// functionOf returns the name of the function, with its prefix, in the key of an entry.
func functionOf(key string) string {
	_, name, _ := strings.Cut(key, "{")
	name, _, _ = strings.Cut(name, "}")
	if last := strings.LastIndexByte(name, ':'); last >= 0 {
		name = name[:last]
	}
	return name
}

// here is the present place in the order of events about the keys of a function.
func (c *Cache) here(fn *Func) place {
	var ch *channel
	if b := fn.bound.Load(); b != nil && b.cache == c {
		ch = b.channel.Load()
	}
	return c.events.here(ch)
}

// hereFor returns the present place in the order of events about the key of a flight. A flight
// that polls keeps to the channel that it has joined, because the function may be bound to
// another cache meanwhile: a place on no channel is always one where something may have
// happened, so the flight would ask at full speed.
func (c *Cache) hereFor(f *flight) place {
	if f.channel != nil {
		return c.events.here(f.channel)
	}
	return c.here(f.fn)
}

// joinChannel has the channel of a function subscribed to until events.leave.
func (c *Cache) joinChannel(name string) *channel {
	c.subscribed.Do(func() {
		c.events.listen()
		c.spawnAsking(c.staySubscribed)
	})
	return c.events.join(name)
}

// staySubscribed is the life of the subscription: it ends at Close. There is a connection
// while a channel is needed.
func (c *Cache) staySubscribed() {
	pause := resubscribeMin
	for !c.closed() {
		if len(c.events.needed()) == 0 {
			select {
			case <-c.events.changed:
			case <-c.closing:
			}
			continue
		}
		heard, since := false, c.events.cut()
		err := c.store.listen(c.closing, listener{
			pulse:    c.pulse(),
			channels: c.events.needed,
			changed:  c.events.changed,
			cut:      func() bool { return c.suspended() || c.events.cut() != since },
			up:       func(ch *channel) { heard = true; c.events.up(ch, since) },
			alive:    c.trustEvents,
			heard:    c.hear,
		})
		c.events.down()
		if heard {
			pause = resubscribeMin
		}
		if c.closed() || errors.Is(err, errUnneeded) {
			continue
		}
		wait := pause/2 + rand.N(pause)
		if c.noteSubscription(err) {
			wait = forbiddenPause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.closing:
			timer.Stop()
		}
		pause = min(2*pause, resubscribeMax)
	}
}

// pulse is how often the connection is looked after. A server that may take
// longer than usual to answer may do so here too.
func (c *Cache) pulse() time.Duration { return max(leastPulse, c.cfg.RedisTimeout) }

// trustEvents notes that the server has answered what the connection asked at that
// time, so that all that happened until then has been heard. That is good until
// the connection would be given up, and no longer, even if this process was
// stopped meanwhile: the answer may have waited in the connection, and what was
// invalidated since may wait behind it.
func (c *Cache) trustEvents(asked time.Time) {
	c.heardUntil.Store(int64(c.clock.Elapsed() - time.Since(asked) + pulses*c.pulse()))
}

// trustStep is for how long a look at the clocks will do: a near hit costs less than that
// look does.
const trustStep = time.Millisecond

// hears reports whether everything that has happened is known to have been heard. now is
// clock.elapsed.
func (c *Cache) hears(now time.Duration) bool {
	if int64(now) < c.trusted.Load() {
		return true
	}
	until := c.heardUntil.Load()
	if int64(now) >= until || c.suspended() {
		return false
	}
	c.trusted.Store(min(until, int64(now+trustStep)))
	return true
}

// suspended reports whether the machine was suspended since it was asked before. The
// connection may have lost what happened meanwhile, and how long ago anything was is not
// known: nothing that was kept is served, and another connection takes its place.
func (c *Cache) suspended() bool {
	return c.clock.Suspended(func() {
		c.heardUntil.Store(0)
		c.trusted.Store(0)
		c.events.interrupt()
		c.releases.expire()
	})
}

// hear takes a message in.
func (c *Cache) hear(message string) {
	if ev, ok := parseEvent(message); ok {
		c.events.note(ev)
	}
}

// noteSubscription tells why events are not heard, once, and whether that is for
// a person to change.
func (c *Cache) noteSubscription(err error) (forbidden bool) {
	if redis.HasErrorPrefix(err, "NOPERM") {
		c.log.Once("subscription forbidden", slog.LevelWarn,
			"this user may not publish and subscribe: what is invalidated elsewhere is not heard of, so near caches stay empty, and callers that wait for another process poll; grant it +subscribe +unsubscribe +ping +publish and the channels",
			"channels", c.store.channel+"*", "err", err)
		return true
	}
	c.log.Once("subscription lost", slog.LevelWarn,
		"subscription to events lost: until it is back near caches are left aside, and callers that wait for another process poll",
		"channels", c.store.channel+"*", "err", err)
	return false
}

// noteUnpublished tells that what this process does is not published, once.
func (c *Cache) noteUnpublished(channel string, err error) {
	c.log.Once("publish refused", slog.LevelWarn,
		"this user may not publish: what it stores and invalidates is not told to other processes, so their near caches may serve it until Near is over, and their callers who wait ask about once a second; grant it +publish and the channels",
		"channels", c.store.channel+"*", "channel", channel, "err", err)
}

// A listener is whom a connection serves.
type listener struct {
	pulse    time.Duration
	channels func() []*channel     // that are needed now
	changed  <-chan struct{}       // has an element when it is time to ask for them
	cut      func() bool           // what is heard on this connection does not count any more
	up       func(ch *channel)     // from now on every message on it is heard, until listen returns
	alive    func(asked time.Time) // what was asked then has been answered
	heard    func(message string)  // a message
}

var (
	errDeaf      = errors.New("nothing was heard for too long")
	errReplaced  = errors.New("the client has replaced the connection")
	errHelloLost = errors.New("what was published for a test did not come back")
	errCut       = errors.New("this machine was suspended, or its clock was set")
	errUnneeded  = errors.New("no channel is needed any more")
)

// listen subscribes, and serves l until the connection is lost, no channel is needed, or
// closing is closed.
//
// A channel is heard when the connection has heard itself on it: that takes the right to
// publish too, without which the scripts of this user tell nobody anything, and a way from
// the server that is published on to the one that is listened to.
func (s *lockStore) listen(closing <-chan struct{}, l listener) error {
	dial, noMore := context.WithCancel(context.Background())
	defer noMore()
	c := &connection{
		listener: l, store: s, pubsub: s.client.Subscribe(dial), dial: dial, noMore: noMore, began: time.Now(),
		asked: make(map[*channel]int), connected: make(chan struct{}), over: make(chan struct{}),
	}
	first := c.take(l.channels())
	s.spawn(func() { c.keep(closing) })
	defer close(c.over)

	err := c.pubsub.Subscribe(dial, first...)
	if err == nil {
		// It has connected. From here on go-redis would do so again: it fails,
		// for this context has ended. Reading does not look at that.
		noMore()
		close(c.connected)
		err = c.read()
	}
	if ended := c.ended.Load(); ended != nil {
		return *ended
	}
	return newRedisError("subscribe", "", err)
}

// A greeting is what a connection sends to hear itself on a channel.
type greeting struct {
	channel *channel
	hello   string
	at      time.Time // when the subscription was confirmed
}

// publish sends greetings, in one round trip.
func (s *lockStore) publish(all []greeting) error {
	ctx, end := context.WithTimeout(context.Background(), pulses*leastPulse)
	defer end()
	errs := make([]error, len(all))
	var sent sync.WaitGroup
	for i, g := range all {
		sent.Add(1)
		s.spawn(func() {
			defer sent.Done()
			errs[i] = s.do(ctx, "publish", remote.Plain("publish", "", remote.Writes, remote.Limits{}, "publish", s.channel+g.channel.name, g.hello))
		})
	}
	sent.Wait()
	return errors.Join(errs...)
}

// A connection is one that listens. Two goroutines belong to it: one reads, the
// other keeps it: has it subscribe to what is needed, asks whether it lives, and closes
// it. A third greets.
type connection struct {
	listener
	store  *lockStore
	pubsub *redis.PubSub
	dial   context.Context    // of connecting
	noMore context.CancelFunc // ends it
	began  time.Time

	connected chan struct{} // closed when the first channels were asked for
	over      chan struct{} // closed when nothing is read any more

	// asked are the channels that are subscribed to, each with how many pulses it was not
	// heard for. It is the keeper's.
	asked map[*channel]int

	mu       sync.Mutex // guards the fields below
	awaiting []*channel // that the server has not confirmed yet, in the order of asking
	unsent   []greeting
	greeting bool // they are being sent

	words atomic.Uint64         // how many messages of any kind have come
	hears atomic.Bool           // it has heard itself
	ended atomic.Pointer[error] // why it was closed, if it was
}

// read serves the listener until there is an error.
func (c *connection) read() error {
	// Each subscription has a greeting of its own. Were there one for a channel, then that
	// of a subscription which has ended could be heard, and taken for that of the next.
	greetings := make(map[string]greeting)
	for {
		message, err := c.pubsub.Receive(c.dial)
		if err != nil {
			return err
		}
		c.words.Add(1)
		switch message := message.(type) {
		case *redis.Subscription:
			if message.Kind != "subscribe" {
				continue
			}
			ch := c.confirmed()
			if ch == nil {
				return errReplaced
			}
			g := greeting{ch, keyEvent{verbHello, "-", newToken()}.String(), time.Now()}
			greetings[g.hello] = g
			c.greet(g)
		case *redis.Message:
			if own, greeted := greetings[message.Payload]; greeted {
				delete(greetings, message.Payload)
				c.hears.Store(true)
				c.alive(own.at)
				c.up(own.channel)
				continue
			}
			c.heard(message.Payload)
		case *redis.Pong:
			if asked, err := strconv.ParseInt(message.Payload, 10, 64); err == nil {
				c.alive(c.began.Add(time.Duration(asked)))
			}
		}
	}
}

// greet has a greeting sent, together with those that come while others are on their way.
// That has a goroutine of its own, for reading goes on meanwhile: a server that delivers a
// message before it answers who published it would wait for the reader, and the reader for
// it.
func (c *connection) greet(g greeting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent = append(c.unsent, g)
	if !c.greeting {
		c.greeting = true
		c.store.spawn(c.sendGreetings)
	}
}

func (c *connection) sendGreetings() {
	for {
		c.mu.Lock()
		all := c.unsent
		c.unsent, c.greeting = nil, len(all) > 0
		c.mu.Unlock()
		if len(all) == 0 {
			return
		}
		if err := c.store.publish(all); err != nil {
			c.end(err)
			_ = c.pubsub.Close()
			return
		}
	}
}

// take notes that some channels are about to be subscribed to, and returns their names.
func (c *connection) take(channels []*channel) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range channels {
		c.asked[ch] = 0
		c.awaiting = append(c.awaiting, ch)
		names = append(names, c.store.channel+ch.name)
	}
	return names
}

// confirmed returns the channel whose subscription the server has confirmed: it does so in
// the order of asking. It is nil if none was asked for.
func (c *connection) confirmed() (ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.awaiting) > 0 {
		ch, c.awaiting = c.awaiting[0], c.awaiting[1:]
	}
	return ch
}

// follow subscribes to the channels that are needed now, and to no others. An error is one
// of reading too.
func (c *connection) follow() {
	needed := c.channels()
	if len(needed) == 0 {
		c.end(errUnneeded)
		return
	}
	var gone []string
	for ch := range c.asked {
		if !slices.Contains(needed, ch) {
			delete(c.asked, ch)
			gone = append(gone, c.store.channel+ch.name)
		}
	}
	if len(gone) > 0 { // first, for one of the same name may come
		_ = c.pubsub.Unsubscribe(c.dial, gone...)
	}
	come := slices.DeleteFunc(needed, func(ch *channel) bool {
		_, asked := c.asked[ch]
		return asked
	})
	if len(come) > 0 {
		_ = c.pubsub.Subscribe(c.dial, c.take(come)...)
	}
}

// keep follows what is needed, and closes the connection: when reading has ended, when the
// cache closes, when what it hears does not count any more, and when nothing has been heard
// for too long.
func (c *connection) keep(closing <-chan struct{}) {
	defer func() { _ = c.pubsub.Close() }()
	defer c.noMore() // before, for Close waits for connecting
	ticker := time.NewTicker(c.pulse)
	defer ticker.Stop()
	connected, changed := c.connected, (<-chan struct{})(nil)
	heard, silent := uint64(0), 0
	for c.ended.Load() == nil {
		if c.cut() {
			c.end(errCut)
			return
		}
		select {
		case <-c.over:
			return
		case <-closing:
			c.end(ErrClosed)
			return
		case <-connected: // what has changed meanwhile is waiting in the channel
			connected, changed = nil, c.changed
			continue
		case <-changed:
			c.follow()
			continue
		case <-ticker.C:
		}
		if changed != nil {
			c.follow() // nobody signals that a channel has lingered for long enough
		}
		words, hears := c.words.Load(), c.hears.Load()
		if hears {
			// However much is heard: it may have been said long ago. An error is
			// one of reading too.
			_ = c.pubsub.Ping(c.dial, strconv.FormatInt(int64(time.Since(c.began)), 10))
		}
		silent++
		if hears && words != heard {
			heard, silent = words, 0
		}
		c.judge(silent, words > 0 && !hears)
	}
}

// judge ends a connection that was silent for that many pulses, or on which a channel was
// not heard. greeting says that nothing was heard but answers.
func (c *connection) judge(silent int, greeting bool) {
	switch {
	case silent >= pulses-1 && greeting:
		c.end(errHelloLost)
	case silent >= pulses-1:
		c.end(errDeaf)
	}
	for ch := range c.asked {
		if ch.epoch.Load() != 0 {
			c.asked[ch] = 0
		} else if c.asked[ch]++; c.asked[ch] >= pulses {
			c.end(errHelloLost)
		}
	}
}

// end notes why the connection is about to be closed: the first reason counts.
func (c *connection) end(why error) { c.ended.CompareAndSwap(nil, &why) }
