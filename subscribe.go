package fncache

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file is the one subscription that a process has to what the scripts
// publish. It begins when somebody needs it: the first caller that waits for
// another process, or the first function with a near cache. It gives what it
// hears to events (events.go), and tells when it hears and when it may not.
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

// subscribe begins the subscription, once.
func (c *Cache) subscribe() {
	c.subscribed.Do(func() {
		c.events.listen()
		c.spawnAsking(c.staySubscribed)
	})
}

// staySubscribed is the life of the subscription: it ends at Close.
func (c *Cache) staySubscribed() {
	pause := resubscribeMin
	for !c.closed() {
		heard := false
		err := c.store.listen(c.closing, listener{
			pulse: c.pulse(),
			up:    func() { heard = true; c.events.up() },
			alive: c.trustEvents,
			heard: c.hear,
		})
		c.events.down()
		if c.closed() {
			return
		}
		if heard {
			pause = resubscribeMin
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
// suspended meanwhile: the answer may have waited in the connection, and what was
// invalidated since may wait behind it.
func (c *Cache) trustEvents(asked time.Time) {
	c.trusted.Store(int64(c.clock.elapsed() - time.Since(asked) + pulses*c.pulse()))
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
		c.log.once("subscription forbidden", slog.LevelWarn,
			"this user may not publish and subscribe: what is invalidated elsewhere is not heard of, so near caches stay empty, and callers that wait for another process poll; grant it +subscribe +ping +publish on the channel",
			"channel", c.store.channel, "err", err)
		return true
	}
	c.log.once("subscription lost", slog.LevelWarn,
		"subscription to events lost: until it is back near caches are left aside, and callers that wait for another process poll",
		"channel", c.store.channel, "err", err)
	return false
}

// A listener is whom a connection serves, on one goroutine.
type listener struct {
	pulse time.Duration
	up    func()                // from now on every message is heard, until listen returns
	alive func(asked time.Time) // what was asked then has been answered
	heard func(message string)  // a message
}

var (
	errDeaf      = errors.New("nothing was heard for too long")
	errReplaced  = errors.New("the client has replaced the connection")
	errHelloLost = errors.New("what was published for a test did not come back")
)

// listen subscribes, and serves l until the connection is lost or closing is
// closed.
//
// It hears when it has heard itself: that takes the right to publish too, without
// which the scripts of this user tell nobody anything, and a way from the
// server that is published on to the one that is listened to.
func (s *lockStore) listen(closing <-chan struct{}, l listener) error {
	dial, noMore := context.WithCancel(context.Background())
	defer noMore()
	c := &connection{listener: l, pubsub: s.client.Subscribe(dial), dial: dial, noMore: noMore, began: time.Now(), over: make(chan struct{})}
	s.spawn(func() { c.keep(closing) })
	defer close(c.over)

	err := c.pubsub.Subscribe(dial, s.channel)
	if err == nil {
		// It has connected. From here on go-redis would do so again: it fails,
		// for this context has ended. Reading does not look at that.
		noMore()
		err = c.read(s)
	}
	if ended := c.ended.Load(); ended != nil {
		return *ended
	}
	return newRedisError("subscribe", "", err)
}

func (s *lockStore) publish(message string) error {
	_, err := bounded(context.Background(), s, "publish", "", func(ctx context.Context) (int64, error) {
		return s.client.Publish(ctx, s.channel, message).Result()
	}, nil)
	return err
}

// A connection is one that listens. Two goroutines belong to it: one reads, the
// other keeps it: asks whether it lives, and closes it. A third greets.
type connection struct {
	listener
	pubsub *redis.PubSub
	dial   context.Context    // of connecting
	noMore context.CancelFunc // ends it
	began  time.Time
	over   chan struct{} // closed when nothing is read any more

	words atomic.Uint64         // how many messages of any kind have come
	hears atomic.Bool           // it has heard itself
	ended atomic.Pointer[error] // why it was closed, if it was
}

// read serves the listener until there is an error.
func (c *connection) read(s *lockStore) error {
	hello := keyEvent{verbHello, "-", newToken()}.String()
	var greeted time.Time
	for subscribed := false; ; {
		message, err := c.pubsub.Receive(c.dial)
		if err != nil {
			return err
		}
		c.words.Add(1)
		switch message := message.(type) {
		case *redis.Subscription:
			if subscribed {
				return errReplaced
			}
			subscribed = true
			greeted = time.Now()
			s.spawn(func() { c.greet(s, hello) })
		case *redis.Message:
			if message.Payload == hello {
				c.hears.Store(true)
				c.alive(greeted)
				c.up()
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

// greet sends what the connection is to hear of itself. It has a goroutine of its
// own, for reading goes on meanwhile: a server that delivers a message before it
// answers who published it would wait for the reader, and the reader for it.
func (c *connection) greet(s *lockStore, hello string) {
	if err := s.publish(hello); err != nil {
		c.end(err)
		_ = c.pubsub.Close()
	}
}

// keep closes the connection: when reading has ended, when the cache closes, and
// when nothing has been heard for too long.
func (c *connection) keep(closing <-chan struct{}) {
	defer func() { _ = c.pubsub.Close() }()
	defer c.noMore() // before, for Close waits for connecting
	ticker := time.NewTicker(c.pulse)
	defer ticker.Stop()
	heard, silent := uint64(0), 0
	for {
		select {
		case <-c.over:
			return
		case <-closing:
			c.end(ErrClosed)
			return
		case <-ticker.C:
		}
		words, hears := c.words.Load(), c.hears.Load()
		if hears {
			// However much is heard: it may have been said long ago. An error is
			// one of reading too.
			_ = c.pubsub.Ping(c.dial, strconv.FormatInt(int64(time.Since(c.began)), 10))
		}
		if hears && words != heard {
			heard, silent = words, 0
			continue
		}
		silent++
		switch {
		case silent == pulses-1 && words > 0 && !hears:
			c.end(errHelloLost)
			return
		case silent == pulses-1:
			c.end(errDeaf)
			return
		}
	}
}

// end notes why the connection is about to be closed.
func (c *connection) end(why error) { c.ended.Store(&why) }
