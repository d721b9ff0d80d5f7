package events_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/clock"
	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/oncelog"
	"github.com/fncache/fncache/internal/redistest"
	"github.com/fncache/fncache/internal/remote"
)

// ready returns Events that take events in, and connect to nothing.
func ready() *events.Events {
	e := events.New(events.Config{SpawnAsking: func(func()) {}})
	e.Join("ready")
	return e
}

func TestAnEventIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := events.Event{
			Verb: rapid.SampledFrom([]events.Verb{events.Store, events.CoolDown, events.Release, events.Invalidate}).Draw(t, "verb"),
			Key:  rapid.String().Draw(t, "key"),
			ID:   events.StoreID(rapid.Uint64().Draw(t, "id")),
		}
		got, ok := events.Parse(e.String())
		require.True(t, ok)
		require.Equal(t, e, got)
	})
	for _, message := range []string{"", "store", "store key", " "} {
		_, ok := events.Parse(message)
		assert.False(t, ok, "%q", message)
	}
}

func TestEachDatabaseHasChannelsOfItsOwn(t *testing.T) {
	single := func(db int) *redis.Client {
		client := redis.NewClient(&redis.Options{DB: db})
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { _ = cluster.Close() })
	first := events.Prefix("fncache", single(0))
	assert.Equal(t, "fncache:events:", first)
	assert.Equal(t, first, events.Prefix("fncache", cluster))
	assert.Equal(t, "fncache:events:{12}:", events.Prefix("fncache", single(12)))
	assert.Equal(t, "fncache:events:{12}:", events.Prefix("fncache", struct{ *redis.Client }{single(12)}), "a client that a user has wrapped")
	for name, other := range map[string]bool{"{12}:": true, "{12}:{fence}": true, "{fence}": false, "Author:TopBookIDs": false} {
		assert.Equal(t, other, events.OtherDatabase(first+name, first), name)
	}
}

func TestWhatOvertakesAnAnswer(t *testing.T) {
	const key, id = "k", 7
	event := func(verb events.Verb, id string) events.Event { return events.Event{Verb: verb, Key: key, ID: id} }
	own, other := event(events.Store, events.StoreID(id)), event(events.Store, events.StoreID(8))
	invalidated := event(events.Invalidate, "-")
	type list = []events.Event
	for name, test := range map[string]struct {
		before, after list
		want          bool
	}{
		"nothing":                               {want: false},
		"an invalidation before it was asked":   {before: list{invalidated}, want: false},
		"an invalidation after":                 {after: list{invalidated}, want: true},
		"another's store":                       {after: list{other}, want: true},
		"its own store":                         {after: list{own}, want: false},
		"its own store, done and then heard":    {after: list{own, own}, want: false},
		"its own store after an invalidation":   {after: list{invalidated, own}, want: true},
		"an invalidation after its own store":   {after: list{own, invalidated}, want: true},
		"another's store after its own":         {after: list{own, other}, want: true},
		"its own after an older one was heard":  {before: list{other}, after: list{own}, want: false},
		"what ends no entry":                    {after: list{event(events.Release, "t"), event(events.CoolDown, "t"), event(events.Failed, "t"), event(events.Open, "t")}, want: false},
		"what ends no entry, after its store":   {after: list{own, event(events.Release, "t")}, want: false},
		"a store of something that is no id":    {after: list{event(events.Store, "?")}, want: true},
		"a verb to come, which might end it":    {after: list{event("touch", "-")}, want: true},
		"its own store, and that it is no news": {before: list{own}, after: list{own}, want: false},
	} {
		t.Run(name, func(t *testing.T) {
			e := ready()
			for _, ev := range test.before {
				e.Note(ev)
			}
			asked := e.Here(nil)
			for _, ev := range test.after {
				e.Note(ev)
			}
			assert.Equal(t, test.want, e.Overtaken(e.Subject(key), asked, id))
			e.End()
			assert.True(t, e.Overtaken(e.Subject(key), asked, id), "nobody knows any more")
		})
	}
}

func TestWatchersOfAKeyComeAndGo(t *testing.T) {
	e := ready()
	all := []*events.Watcher{e.Watch(nil, "k"), e.Watch(nil, "k"), e.Watch(nil, "k"), e.Watch(nil, "l")}
	all[1].End()
	e.Note(events.Event{Verb: events.Release, Key: "k", ID: "-"})
	for i, want := range []int{1, 0, 1, 0} {
		assert.Len(t, all[i].Woken(), want, "watcher %d", i)
	}
	assert.Equal(t, 2, e.Inspect().Watched)
	for _, i := range []int{0, 2, 3} {
		all[i].End()
	}
	assert.Zero(t, e.Inspect().Watched)
}

func TestAFailureThatIsToldTwiceCountsOnce(t *testing.T) {
	e := ready()
	count := e.CountFailures("k")
	assert.Same(t, count, e.CountFailures("k"), "callers of one key share the count")
	for _, token := range []string{"A", "A", "B", "B"} {
		e.Note(events.Event{Verb: events.Failed, Key: "k", ID: token})
	}
	assert.EqualValues(t, 2, count.Count())
	e.IgnoreFailures("k", count)
	assert.Equal(t, 1, e.Inspect().Counting)
	e.IgnoreFailures("k", count)
	assert.Zero(t, e.Inspect().Counting)
}

func TestNothingIsTakenInBeforeTheFirstJoinNorAfterTheEnd(t *testing.T) {
	spawned := 0
	e := events.New(events.Config{SpawnAsking: func(func()) { spawned++ }})
	e.Note(events.Event{Verb: events.Invalidate, Key: "k", ID: "-"})
	assert.Equal(t, events.State{}, e.Inspect())
	assert.Nil(t, e.Known("f"))
	ch := e.Join("f")
	assert.Same(t, ch, e.Join("f"))
	assert.Same(t, ch, e.Known("f"))
	assert.Equal(t, events.State{Channels: []string{"f"}, Ready: true}, e.Inspect())
	assert.Equal(t, 1, spawned, "there is one subscription")
	e.End()
	e.Note(events.Event{Verb: events.Invalidate, Key: "k", ID: "-"})
	assert.Zero(t, e.Inspect().Noted)
}

const patience = 30 * time.Second

// A subscriber is Events on a real server.
type subscriber struct {
	*events.Events
	life  *lifetime.Group
	close func()
}

func subscribe(t *testing.T, client redis.UniversalClient) *subscriber {
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscriber{life: lifetime.New()}
	way := remote.New(remote.Config{
		Client: client, Timeout: time.Second, WriteProbe: remote.NewScript("return 1"), Closing: ctx.Done(),
		Spawn: s.life.Go, Notice: func(remote.Event) {}, Dialed: func() {},
	})
	s.Events = events.New(events.Config{
		Client: client, Remote: way, Prefix: "test:" + t.Name() + ":", Timeout: time.Second,
		Clock:     clock.New(clock.Config{}),
		Suspended: func() {}, Closing: ctx.Done(), Spawn: s.life.Go, SpawnAsking: s.life.Go,
		Log:     oncelog.New(slog.New(slog.DiscardHandler), s.life.Go),
		Explain: func(_ string, err error) error { return err },
	})
	s.close = func() {
		s.life.Close()
		cancel()
		way.Close()
		require.True(t, s.life.Wait(patience), "something still runs")
		s.End()
	}
	return s
}

// awaitHearing waits until every channel is heard, in a later epoch than that.
func (s *subscriber) awaitHearing(t *testing.T, than uint64) (epoch uint64) {
	require.Eventually(t, func() bool { epoch = s.Inspect().Hearing; return epoch > than }, patience, time.Millisecond)
	return epoch
}

func TestWhatIsPublishedIsHeard(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	s := subscribe(t, client)
	defer s.close()
	f, g := s.Join("f"), s.Join("g")
	s.awaitHearing(t, 0)
	assert.True(t, s.Here(f).Heard() && s.Here(g).Heard())
	asked := s.Here(f)
	w := s.Watch(f, "k")
	defer w.End()
	require.NoError(t, client.Publish(t.Context(), "test:"+t.Name()+":f", events.Event{Verb: events.Invalidate, Key: "k", ID: "-"}.String()).Err())
	select {
	case <-w.Woken():
	case <-time.After(patience):
		require.Fail(t, "it is not heard")
	}
	assert.Equal(t, events.Possible, w.Since(asked))
	assert.True(t, s.Overtaken(s.Subject("k"), asked, 7))
	assert.False(t, s.Overtaken(s.Subject("l"), asked, 7))
	assert.True(t, asked.Heard(), "without a gap")
}

func TestAConnectionThatIsLostIsReplacedInAnotherEpoch(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	s := subscribe(t, client)
	defer s.close()
	ch := s.Join("f")
	epoch := s.awaitHearing(t, 0)
	asked := s.Here(ch)
	require.NoError(t, client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	s.awaitHearing(t, epoch)
	assert.False(t, asked.Heard())
	assert.False(t, asked.Remembered(), "something may have been lost between")
}

func TestClosingEndsTheSubscription(t *testing.T) {
	for name, disturb := range map[string]func(*redistest.Server){
		"up":                    func(*redistest.Server) {},
		"the server is stopped": (*redistest.Server).Pause,
		"the server is dead":    (*redistest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := subscribe(t, server.Client())
			s.Join("f")
			s.awaitHearing(t, 0)
			disturb(server)
			s.close()
			assert.Zero(t, s.Inspect().Hearing)
		})
	}
}
