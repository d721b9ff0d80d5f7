package holder

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// record returns a Holder, and what it has sent.
func record(anonymous bool, failure error) (h *Holder, sent *[][]any) {
	sent = new([][]any)
	h = New(Config{
		Anonymous: anonymous, Namespace: "ns", Build: "b", Spawn: func(f func()) { f() },
		Send: func(_ context.Context, key string, words ...any) error {
			*sent = append(*sent, append([]any{key}, words...))
			return failure
		},
		Timeout: time.Second,
	})
	return h, sent
}

func TestATokenSaysWhoAndWhen(t *testing.T) {
	h, _ := record(false, nil)
	before := time.Now().Truncate(time.Millisecond)
	one, other := h.Token(), h.Token()
	assert.NotEqual(t, one, other)
	for _, token := range []string{one, other, one + ".2", "cool:" + one, "open:" + one + ".3"} {
		id, at, ok := Parse(token)
		require.True(t, ok)
		assert.Equal(t, h.id, id)
		assert.False(t, at.Before(before) || at.After(time.Now()), "%v", at)
	}
	hidden, _ := record(true, nil)
	for _, token := range []string{one, hidden.Token()} {
		assert.Regexp(t, regexp.MustCompile(`^[A-Z2-7]{26}$`), token)
	}
	assert.NotEqual(t, hidden.id, hidden.Token()[:idLen])
	for _, token := range []string{"", "short", "0000000000000000000000000", "cool:", "cool:cool:" + one} {
		_, _, ok := Parse(token)
		assert.False(t, ok, token)
	}
}

func TestAProcessIsWrittenOncePerPeriodAndDeleted(t *testing.T) {
	for _, failure := range []error{nil, errors.New("away")} {
		synctest.Test(t, func(t *testing.T) {
			h, sent := record(false, failure)
			assert.Empty(t, *sent)
			h.Holds()
			h.Holds()
			require.Len(t, *sent, 1)
			set := (*sent)[0]
			assert.Equal(t, []any{Key("ns", h.id), "set", Key("ns", h.id)}, set[:3])
			assert.Equal(t, []any{"px", Kept.Milliseconds()}, set[4:])
			var p Process
			require.NoError(t, json.Unmarshal(set[3].([]byte), &p))
			host, _ := os.Hostname()
			assert.Equal(t, Process{host, os.Getpid(), "b"}, p)
			time.Sleep(Again)
			h.Holds()
			assert.Len(t, *sent, 2)
			h.End()
			h.End()
			require.Len(t, *sent, 3)
			assert.Equal(t, []any{Key("ns", h.id), "del", Key("ns", h.id)}, (*sent)[2])
			time.Sleep(Again)
			h.Holds()
			assert.Len(t, *sent, 3, "it has ended")
		})
	}
}

func TestAnAnonymousProcessWritesNothing(t *testing.T) {
	h, sent := record(true, nil)
	h.Holds()
	h.End()
	assert.Empty(t, *sent)
}

func TestWhatIsNoProcessIsNotRead(t *testing.T) {
	for _, text := range []string{"", "null", "{}", "[]", "{", `{"host":1}`} {
		_, ok := ParseProcess([]byte(text))
		assert.False(t, ok, text)
	}
	p, ok := ParseProcess([]byte(`{"host":"web-1","pid":4711,"later":true}`))
	assert.True(t, ok)
	assert.Equal(t, Process{Host: "web-1", PID: 4711}, p)
}
