package faults

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/redistest"
)

// Every fault here resets connections in the middle of a reply, repeatedly.
func TestFaultConnectionsAreResetMidReply(t *testing.T) {
	const enough = 30 // connections; each is reset once
	for _, row := range []struct {
		name   string
		rule   rule
		caches bool // caching continues meanwhile
	}{
		{"in the body of an entry, every third", rule{within: inAnEntry, every: 3}, true},
		{"in the body of an entry, every one", rule{within: inAnEntry}, false},
		{"before the body of an entry, every third", rule{within: beforeAnEntry, every: 3}, true},
		{"in the reply of a script, every third", rule{within: inAScript, every: 3}, true},
		{"in the reply of a script, every one", rule{within: inAScript}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			way := newResetter(t, server.Addr())
			fleet := newFleet(t, plan{pace: invalidationPace, connect: func() redis.UniversalClient {
				return redis.NewClient(&redis.Options{Addr: way.addr(), ContextTimeoutEnabled: true}) // so that hooks see everything
			}})
			way.follow(row.rule)
			fleet.awaitAnswers("during the fault")
			if row.caches {
				fleet.awaitCaching("during the fault")
			}
			way.await(enough)
			t.Logf("%d connections were reset", way.count())
			way.follow(rule{})
			fleet.awaitCaching("after the fault")
			fleet.check(noErrors, server.Client())
		})
	}
}

// The tests above rely on this: a client can read the part that has passed, and then sees a
// reset and not a close.
func TestResetterPassesTheFirstPartOfAReplyAndResetsTheConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), "k", "0123456789", 0).Err())
	way := newResetter(t, server.Addr())
	for _, row := range []struct {
		rule           rule
		sent, received string
		reset          bool
		resp3          bool
	}{
		{rule{}, "get k", "$10\r\n0123456789\r\n", false, false},
		{rule{within: inAnEntry}, "get k", "$10\r\n012345", true, false},
		{rule{within: beforeAnEntry}, "get k", "$10\r\n", true, false},
		{rule{within: inAnEntry}, "get none", "$-1\r\n", false, false},
		{rule{within: inAnEntry, every: 2}, "get k, get k, get k", "$10\r\n0123456789\r\n$10\r\n012345", true, false},
		{rule{within: inAnEntry}, "echo 7, subscribe c, get k", "$1\r\n7\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n$10\r\n012345", true, true},
		{rule{within: inAScript}, "eval return{1,{2}} 0, get k", "*2\r\n:1\r\n", true, false},
		{rule{within: inAScript}, "evalsha ffff 0", "-NOSCRIPT", false, false},
		{rule{within: inAScript}, "get k", "$10\r\n0123456789\r\n", false, false},
		{rule{at: isScript}, "eval return{} 0", "", true, false},
	} {
		conn, err := net.Dial("tcp", way.addr())
		require.NoError(t, err)
		if row.resp3 {
			_, err = conn.Write(wire([]string{"hello", "3"}))
			require.NoError(t, err)
			_, err = readReply(bufio.NewReader(conn))
			require.NoError(t, err)
		}
		way.follow(row.rule)
		got := exchange(t, conn, row.sent, len(row.received))
		require.Equal(t, row.received, got, "%q", row.sent)
		if row.reset {
			_, err := conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET, "%q", row.sent)
			require.Equal(t, 1, way.count())
		}
		_ = conn.Close()
	}
}

// A store that was executed, and whose reply was cut, is sent again on another connection, and
// is answered as stored.
func TestAStoreWhoseReplyIsCutIsCountedOnceItIsSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	way, run := newResetter(t, server.Addr()), &atomic.Int64{}
	mine := newProcess(t, run, server.Client(func(o *redis.Options) { o.Addr = way.addr() }), longLease)
	way.follow(rule{within: inAScript, of: storeScript(t), most: 1})
	end := mine.begin(server.Client())
	mine.letGo()
	assert.Equal(t, result{value: "1", source: fncache.SourceComputed}, mine.answer(end))
	require.Equal(t, 1, way.count())
	mine.awaitStats("it learns that it has stored", func(s fncache.Stats) bool { return s.Stored > 0 })
	stats := mine.Stats()
	assert.EqualValues(t, 1, stats.Stored)
	assert.Zero(t, stats.LostLeases)
	assert.Zero(t, stats.RedisErrors, stats.RedisErrorKinds)
	requireStored(t, server.Client(), mine)
	other := newProcess(t, run, server.Client(), longLease)
	assert.Equal(t, result{value: "1", source: fncache.SourceFresh}, other.get())
	assert.EqualValues(t, 1, run.Load())
}

// Here another process invalidates before the store is sent again. The stored value is gone and
// does not come back.
func TestAStoreWhoseReplyIsCutAndThatIsInvalidatedIsALostLease(t *testing.T) {
	t.Parallel()
	server, run := redistest.Start(t), &atomic.Int64{}
	way := newResetter(t, server.Addr())
	mine := newProcess(t, run, server.Client(func(o *redis.Options) { o.Addr = way.addr() }), longLease)
	other := newProcess(t, run, server.Client(), longLease)
	raw := server.Client()
	way.follow(rule{within: inAScript, of: storeScript(t), most: 1, first: func() {
		assert.EqualValues(t, 1, raw.Exists(context.Background(), mine.key()).Val(), "it was stored")
		assert.NoError(t, other.Invalidate(context.Background(), entryArg))
	}})
	end := mine.begin(raw)
	mine.letGo()
	assert.Equal(t, result{value: "1", source: fncache.SourceComputed}, mine.answer(end))
	mine.awaitStats("it learns that its lease is lost", func(s fncache.Stats) bool { return s.LostLeases > 0 })
	assert.Zero(t, mine.Stats().Stored)
	assert.Zero(t, raw.Exists(context.Background(), mine.key(), mine.lock()).Val())
	assert.Equal(t, result{value: "2", source: fncache.SourceComputed}, other.get())
	assert.Equal(t, result{value: "2", source: fncache.SourceFresh}, mine.get())
}

// storeScript returns a function that reports whether a command is a store.
func storeScript(t *testing.T) func(command []string) bool {
	text, err := os.ReadFile("../lock_store.lua")
	require.NoError(t, err)
	hash := redis.NewScript(string(text)).Hash()
	return func(command []string) bool {
		return isScript(command) && (command[1] == hash || command[1] == string(text))
	}
}

// exchange sends commands and reads a number of bytes of the replies.
func exchange(t *testing.T, conn net.Conn, commands string, n int) string {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	for command := range strings.SplitSeq(commands, ", ") {
		_, err := conn.Write(wire(strings.Fields(command)))
		require.NoError(t, err)
	}
	got := make([]byte, n)
	read, err := io.ReadFull(conn, got)
	require.NoError(t, err, "%s: %q", commands, got[:read])
	return string(got)
}
