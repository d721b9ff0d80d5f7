package events

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/remote"
)

// go-redis reconnects a subscription by itself, and then silently loses what was published
// meanwhile. Therefore each connection here is one PubSub, which is kept from reconnecting.
// The Go channel of a PubSub is not used either, because it drops messages when it is full.

var (
	errDeaf      = errors.New("the server sent nothing for too long")
	errReplaced  = errors.New("the client has replaced the connection")
	errHelloLost = errors.New("a message published as a test was not received")
	errCut       = errors.New("this machine was suspended, or its clock was set")
	errUnneeded  = errors.New("no channel is needed any more")
	errClosing   = errors.New("the subscription is being closed")
)

// A connection receives events. It has three goroutines. One reads. One keeps the connection:
// it subscribes to the needed channels, checks that the server answers, and closes the
// connection. One sends greetings.
type connection struct {
	events *Events
	cuts   uint64 // Events.cut when it began
	pubsub *redis.PubSub
	dial   context.Context    // of connecting
	noMore context.CancelFunc // ends dial
	began  time.Time

	connected chan struct{} // closed after the first SUBSCRIBE was sent
	over      chan struct{} // closed when reading has ended

	// asked has the subscribed channels, each with the number of pulses for which it was not
	// heard. Only the goroutine that keeps the connection uses it.
	asked map[*Channel]int

	mu       sync.Mutex // guards the fields below
	awaiting []*Channel // the server has not confirmed these yet; in the order of asking
	unsent   []greeting
	greeting bool // a goroutine is sending greetings

	words atomic.Uint64         // how many messages of any kind have come
	hears atomic.Bool           // it has received a greeting of its own
	ended atomic.Pointer[error] // why it was closed, if it was
}

// A greeting is a message that a connection publishes on a channel to check that it receives
// the channel's messages.
type greeting struct {
	channel *Channel
	hello   string
	at      time.Time // when the subscription was confirmed
}

// hear listens on one connection until the connection is lost, no channel is needed, or Closing
// is closed. heard reports whether a channel was heard on it.
//
// A channel is heard once the connection has received its own greeting on it. That proves that
// the user has the right to publish, which scripts need too, and that messages get from the
// server that scripts publish on to the server that the connection listens to.
func (e *Events) hear() (heard bool, err error) {
	dial, noMore := context.WithCancel(context.Background())
	defer noMore()
	c := &connection{
		events: e, cuts: e.cut(), pubsub: e.cfg.Client.Subscribe(dial), dial: dial, noMore: noMore, began: time.Now(),
		asked: make(map[*Channel]int), connected: make(chan struct{}), over: make(chan struct{}),
	}
	first := c.take(e.needed())
	e.cfg.Spawn(c.keep)
	defer close(c.over)

	err = c.pubsub.Subscribe(dial, first...)
	if err == nil {
		// It has connected. The end of this context makes go-redis fail to reconnect. It does
		// not end reading.
		noMore()
		close(c.connected)
		err = c.read()
	}
	if ended := c.ended.Load(); ended != nil {
		return c.hears.Load(), *ended
	}
	return c.hears.Load(), e.cfg.Explain("subscribe", err)
}

// read handles messages until there is an error.
func (c *connection) read() error {
	// Each subscription has a greeting of its own. If all subscriptions to a channel shared one,
	// the greeting of an ended subscription could be taken for that of the next.
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
			g := greeting{ch, Event{hello, "-", rand.Text()}.String(), time.Now()}
			greetings[g.hello] = g
			c.greet(g)
		case *redis.Message:
			if own, greeted := greetings[message.Payload]; greeted {
				delete(greetings, message.Payload)
				if !c.hears.Swap(true) {
					c.events.heard(nil)
				}
				c.events.trust(own.at)
				c.events.up(own.channel, c.cuts)
			} else if isTagMessage(message.Payload) {
				c.events.hearTags(message.Payload)
			} else if ev, ok := Parse(message.Payload); ok {
				c.events.Note(ev)
			}
		case *redis.Pong:
			if asked, err := strconv.ParseInt(message.Payload, 10, 64); err == nil {
				c.events.trust(c.began.Add(time.Duration(asked)))
			}
		}
	}
}

// greet queues a greeting. A goroutine of its own sends the queued greetings, so that reading
// continues. A server may deliver a message before it answers PUBLISH; if the reader published,
// each could wait for the other.
func (c *connection) greet(g greeting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent = append(c.unsent, g)
	if !c.greeting {
		c.greeting = true
		c.events.cfg.Spawn(c.sendGreetings)
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
		if err := c.publish(all); err != nil {
			c.end(err)
			_ = c.pubsub.Close()
			return
		}
	}
}

// publish sends greetings in one round trip.
func (c *connection) publish(all []greeting) error {
	ctx, end := context.WithTimeout(context.Background(), pulses*LeastPulse)
	defer end()
	errs := make([]error, len(all))
	var sent sync.WaitGroup
	for i, g := range all {
		sent.Add(1)
		c.events.cfg.Spawn(func() {
			defer sent.Done()
			err := c.events.cfg.Remote.Do(ctx, remote.Plain("publish", "", remote.Writes, remote.Limits{}, "publish", c.events.cfg.Prefix+g.channel.name, g.hello))
			if err != nil {
				errs[i] = c.events.cfg.Explain("publish", err)
			}
		})
	}
	sent.Wait()
	return errors.Join(errs...)
}

// take notes that channels are about to be subscribed to, and returns their names.
func (c *connection) take(channels []*Channel) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range channels {
		c.asked[ch] = 0
		c.awaiting = append(c.awaiting, ch)
		names = append(names, c.events.cfg.Prefix+ch.name)
	}
	return names
}

// confirmed returns the channel that the server has now confirmed, or nil if none was asked
// for. The server confirms channels in the order of asking.
func (c *connection) confirmed() (ch *Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.awaiting) > 0 {
		ch, c.awaiting = c.awaiting[0], c.awaiting[1:]
	}
	return ch
}

// follow subscribes to the channels that are needed now, and unsubscribes from all others. It
// ignores errors, because the reader gets them too.
func (c *connection) follow() {
	needed := c.events.needed()
	if len(needed) == 0 {
		c.end(errUnneeded)
		return
	}
	var gone []string
	for ch := range c.asked {
		if !slices.Contains(needed, ch) {
			delete(c.asked, ch)
			gone = append(gone, c.events.cfg.Prefix+ch.name)
		}
	}
	if len(gone) > 0 { // first, because a new channel may have the same name
		_ = c.pubsub.Unsubscribe(c.dial, gone...)
	}
	come := slices.DeleteFunc(needed, func(ch *Channel) bool {
		_, asked := c.asked[ch]
		return asked
	})
	if len(come) > 0 {
		_ = c.pubsub.Subscribe(c.dial, c.take(come)...)
	}
}

// keep subscribes to what is needed, and closes the connection when reading has ended, when
// Closing is closed, when hearing was interrupted, or when nothing was heard for too long.
func (c *connection) keep() {
	defer func() { _ = c.pubsub.Close() }()
	defer c.noMore() // before Close, which waits for connecting
	ticker := time.NewTicker(c.events.pulse())
	defer ticker.Stop()
	connected, changed := c.connected, (<-chan struct{})(nil)
	heard, silent := uint64(0), 0
	for c.ended.Load() == nil {
		if c.events.Suspended() || c.events.cut() != c.cuts {
			c.end(errCut)
			return
		}
		select {
		case <-c.over:
			return
		case <-c.events.cfg.Closing:
			c.end(errClosing)
			return
		case <-connected: // a change meanwhile is in the channel
			connected, changed = nil, c.events.changed
			continue
		case <-changed:
			c.follow()
			continue
		case <-ticker.C:
		}
		if changed != nil {
			c.follow() // there is no signal when a channel's Linger is over
		}
		words, hears := c.words.Load(), c.hears.Load()
		if hears {
			// Also while messages come, because they may be old. The reader gets the error too.
			_ = c.pubsub.Ping(c.dial, strconv.FormatInt(int64(time.Since(c.began)), 10))
		}
		silent++
		if hears && words != heard {
			heard, silent = words, 0
		}
		c.judge(silent, words > 0 && !hears)
	}
}

// judge ends a connection that was silent for that many pulses, or on which a channel is not
// heard. greeting says that the server has answered, but that no greeting has come.
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
