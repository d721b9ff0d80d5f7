package events

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// ready returns Events that take events in, and connect to nothing.
func ready() *Events {
	e := New(Config{SpawnAsking: func(func()) {}})
	e.Leave(e.Join("ready"))
	return e
}

func TestAWatcherIsToldWhatItCanRelyOn(t *testing.T) {
	e := ready()
	ch := e.Join("f")
	w := e.Watch(ch, "k")
	defer w.End()
	asked := e.Here(ch)
	assert.Equal(t, Unheard, w.Since(asked))
	e.up(ch, 0)
	assert.Len(t, w.Woken(), 1, "it is told that events are heard now")
	assert.Equal(t, Possible, w.Since(asked), "what happened before is not known")
	asked = e.Here(ch)
	assert.Equal(t, Coming, w.Since(asked))
	e.Note(Event{Release, "another", "-"})
	assert.Empty(t, w.Woken())
	assert.Equal(t, Coming, w.Since(asked))
	e.Note(Event{Release, "k", "-"})
	assert.Len(t, w.Woken(), 1)
	assert.Equal(t, Possible, w.Since(asked))
	asked = e.Here(ch)
	e.Down()
	assert.Len(t, w.Woken(), 1)
	assert.Equal(t, Unheard, w.Since(asked))
	e.up(ch, 0)
	assert.Equal(t, Possible, w.Since(asked), "the epoch is another")
	asked = e.Here(ch)
	e.End()
	assert.Equal(t, Unheard, w.Since(asked))
}

func TestAChannelThatIsJoinedAgainIsNotTakenForTheOneThatWasLetGo(t *testing.T) {
	e := ready()
	former := e.Join("f")
	e.up(former, 0)
	asked := e.Here(former)
	e.Leave(former)
	former.idle = time.Now().Add(-Linger)
	assert.NotContains(t, e.needed(), former)
	assert.False(t, asked.Heard())
	later := e.Join("f")
	e.up(former, 0) // what was sent to greet it arrives
	assert.False(t, e.Here(former).InHearing())
	assert.False(t, e.Here(later).InHearing())
	e.up(later, 0)
	assert.True(t, e.Here(later).Heard())
	assert.False(t, asked.Heard())
	assert.False(t, asked.Remembered())
}

func TestWhatWasAskedForIsRememberedUntilTheNextStretchOfHearing(t *testing.T) {
	e := ready()
	ch := e.Join("f")
	e.up(ch, 0)
	asked := e.Here(ch)
	assert.True(t, asked.InHearing() && asked.Heard() && asked.Remembered())
	e.Down()
	assert.False(t, asked.Heard())
	assert.True(t, asked.Remembered(), "what could be heard has been")
	assert.False(t, e.Here(ch).InHearing())
	e.up(ch, 0)
	assert.False(t, asked.Heard() || asked.Remembered(), "something may have been lost between")

	asked = e.Here(ch)
	e.interrupt()
	assert.False(t, asked.Remembered(), "the connection may have lost something before it ended")
	e.up(ch, 0)
	assert.False(t, e.Here(ch).InHearing(), "what the interrupted connection says does not count")
	e.up(ch, e.cut())
	assert.True(t, e.Here(ch).InHearing())
}
