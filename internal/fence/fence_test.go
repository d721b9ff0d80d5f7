package fence_test

import (
	"context"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/redistest"
)

var keys = keyhash.NewKeys(nil)

func tag(text string) fence.Tag { return fence.TagOf(keys, text) }

// A subject is a fence on some server.
type subject struct {
	t      testing.TB
	client redis.UniversalClient
	key    string
}

// onEach runs a test on each kind of server.
func onEach(t *testing.T, test func(t *testing.T, s *subject)) {
	t.Helper()
	key := fence.Key("fncache")
	t.Run("miniredis", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = client.Close() })
		test(t, &subject{t, client, key})
	})
	t.Run("server", func(t *testing.T) { test(t, &subject{t, redistest.Shared(t).Client(), key}) })
	t.Run("Cluster", func(t *testing.T) { test(t, &subject{t, redistest.SharedCluster(t).Client(), key}) })
}

func (s *subject) eval(lua string, args []any) any {
	s.t.Helper()
	reply, err := s.client.Eval(context.Background(), lua, []string{s.key}, args...).Result()
	require.NoError(s.t, err)
	return reply
}

// read asks on the primary.
func (s *subject) read(k fence.Known, tags ...fence.Tag) fence.Reading {
	s.t.Helper()
	return s.readBy(fence.ReadArgs(k, false, tags), tags)
}

// open is read, and makes a fence if there is none.
func (s *subject) open(k fence.Known, tags ...fence.Tag) fence.Reading {
	s.t.Helper()
	return s.readBy(fence.ReadArgs(k, true, tags), tags)
}

func (s *subject) readBy(args []any, tags []fence.Tag) fence.Reading {
	s.t.Helper()
	r, err := fence.ParseReading(s.eval(fence.ReadLua, args), tags)
	require.NoError(s.t, err)
	return r
}

// look reads without a script.
func (s *subject) look(tags ...fence.Tag) fence.Reading {
	s.t.Helper()
	fields := append([]string{}, fence.Fields[:]...)
	for _, t := range tags {
		fields = append(fields, t.String())
	}
	reply, err := s.client.HMGet(context.Background(), s.key, fields...).Result()
	require.NoError(s.t, err)
	r, err := fence.ParseReading(reply, tags)
	require.NoError(s.t, err)
	return r
}

func (s *subject) invalidate(time fence.Stamp, kind fence.Kind, tags ...fence.Tag) fence.Stamp {
	s.t.Helper()
	return s.invalidateWith(fence.InvalidateArgs(fence.Known{Time: time}, kind, "events", tags))
}

func (s *subject) invalidateWith(args []any) fence.Stamp {
	s.t.Helper()
	stamp, refused, err := fence.ParseInvalidated(s.eval(fence.InvalidateLua, args))
	require.NoError(s.t, err)
	require.Empty(s.t, refused)
	return stamp
}

func (s *subject) set(pairs ...any) {
	s.t.Helper()
	require.NoError(s.t, s.client.HSet(context.Background(), s.key, pairs...).Err())
}

// captured returns what an entry with these tags has if it is computed from now on.
func captured(r fence.Reading, tags ...fence.Tag) (fence.Epoch, []fence.Mark) {
	marks := make([]fence.Mark, len(tags))
	for i, t := range tags {
		marks[i] = fence.Mark{Tag: t, Stamp: r.Now}
	}
	return r.Epoch, marks
}

var none fence.Known

func TestWhatIsInvalidatedAfterACaptureIsOvertaken(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a, b := tag("a"), tag("b")
		epoch, marks := captured(s.open(none), a, b)

		r := s.look(a, b)
		assert.Equal(t, fence.Valid, r.Judge(epoch, marks))
		s.invalidate(0, fence.Hard, tag("another"))
		r = s.look(a, b)
		assert.Equal(t, fence.Valid, r.Judge(epoch, marks), "another tag was invalidated")

		s.invalidate(0, fence.Soft, b)
		r = s.look(a, b)
		assert.Equal(t, fence.Expired, r.Judge(epoch, marks))

		s.invalidate(0, fence.Hard, a)
		r = s.look(a, b)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))
		assert.Equal(t, fence.Expired, r.Judge(epoch, marks[1:]), "each kind is remembered for itself")

		epoch, marks = captured(s.read(none), a, b)
		r = s.look(a, b)
		assert.Equal(t, fence.Valid, r.Judge(epoch, marks), "what is computed later is not overtaken")
	})
}

func TestEachInvalidationHasALargerStamp(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		first := s.open(none)
		last := first.Now
		for _, least := range []fence.Stamp{0, 5, 1 << 40, 3, fence.FloorAt(1_795_000_000_000), 0} {
			stamp := s.invalidate(least, fence.Hard, tag("a"))
			assert.Greater(t, stamp, last)
			assert.GreaterOrEqual(t, stamp, least)
			last = stamp
		}
		r := s.look()
		assert.Equal(t, last, r.Now)
		assert.Equal(t, first.Epoch, r.Epoch)
		assert.Equal(t, first.Floor, r.Floor)
	})
}

// Numbers of Lua have 53 bits, and texts of different length do not compare as numbers.
func TestStampsAreComparedAsNumbersOfAnyLength(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		rapid.Check(t, func(r *rapid.T) {
			number := rapid.OneOf(rapid.Uint64Range(1, 9_999_999_999_999_998), rapid.Uint64Range(1, 1200),
				rapid.Uint64Range(1<<53-3, 1<<53+3))
			now, least := number.Draw(r, "now"), number.Draw(r, "least")
			s.set("e", fence.NewEpoch().String(), "c", now, "f", 1)
			// It did not go back, so open does not change it.
			want := new(big.Int).Add(new(big.Int).SetUint64(now), big.NewInt(1))
			if floor := new(big.Int).SetUint64(least); floor.Cmp(want) > 0 {
				want = floor
			}
			if got := s.invalidate(fence.Stamp(least), fence.Hard, tag("a")); got.String() != want.String() {
				r.Fatalf("%d, at least %d: stamp %v, want %v", now, least, got, want)
			}
		})
	})
}

func TestParseStampReadsWhatAFenceHolds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-9]{1,19}`), rapid.StringMatching(`[-+ 0]?[0-9]{1,18}[ a]?`), rapid.String()).Draw(r, "text")
		n, isNumber := new(big.Int).SetString(text, 10)
		canonical := isNumber && n.Sign() > 0 && n.String() == text && len(text) <= 17
		s, ok := fence.ParseStamp(text)
		if ok != canonical || ok && s.String() != text {
			r.Fatalf("%q: %v, %t", text, s, ok)
		}
	})
}

func TestAFenceIsMadeOnceByWhoeverOpensItFirst(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		r := s.read(none)
		assert.Zero(t, r.Epoch, "a reader makes none")
		assert.Zero(t, s.client.Exists(context.Background(), s.key).Val())
		assert.Equal(t, fence.Invalid, r.Judge(r.Epoch, []fence.Mark{{tag("a"), 1}}), "without a fence nothing is valid")

		first := s.open(fence.Known{Time: 1000})
		assert.Equal(t, fence.Stamp(1001), first.Now)
		assert.Equal(t, first.Now, first.Floor)
		second := s.open(fence.Known{Time: 2000})
		assert.Equal(t, first, second, "the second opener gets the first's")
	})
}

func TestAnEvictedFenceMakesEntriesInvalid(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a := tag("a")
		epoch, marks := captured(s.open(none), a)
		require.NoError(t, s.client.Del(context.Background(), s.key).Err())
		r := s.look(a)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))
		s.invalidate(0, fence.Soft, a)
		r = s.look(a)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))
		r = s.open(none, a)
		assert.NotZero(t, r.Epoch)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))
		epoch, marks = captured(r, a)
		assert.Equal(t, fence.Valid, r.Judge(epoch, marks))
	})
}

// W10.
func TestAFenceThatWentBackGetsANewEpoch(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a := tag("a")
		before := s.open(none)
		epoch, marks := captured(before, a)
		var seen fence.Seen
		seen.Note(s.invalidate(0, fence.Hard, a))
		require.NoError(t, s.client.HDel(context.Background(), s.key, a.String()).Err()) // the failover
		s.set("c", before.Now.String())
		r := s.look(a)
		require.Equal(t, fence.Valid, r.Judge(epoch, marks), "by itself it cannot be noticed")

		largest := seen.Largest()
		r.Seen = largest
		require.True(t, r.WentBack())
		r = s.read(fence.Known{Seen: largest}, a)
		assert.NotEqual(t, epoch, r.Epoch)
		assert.Greater(t, r.Now, largest)
		assert.Equal(t, r.Now, r.Floor)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))

		again := s.read(fence.Known{Seen: largest}, a)
		assert.Equal(t, r, again, "another process that has seen the same, and a resend, get what the first made")
	})
}

// X2.
func TestAnInvalidationOfAFenceThatWentBackMakesANewEpoch(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a := tag("a")
		before := s.open(none)
		epoch, marks := captured(before, a)
		lost := s.invalidate(0, fence.Hard, a)
		require.NoError(t, s.client.HDel(context.Background(), s.key, a.String()).Err()) // the failover
		s.set("c", before.Now.String())
		after := s.invalidateWith(fence.InvalidateArgs(fence.Known{Seen: lost}, fence.Hard, "events", []fence.Tag{tag("b")}))
		assert.Greater(t, after, lost)
		r := s.look(a)
		assert.Equal(t, fence.Invalid, r.Judge(epoch, marks))
	})
}

// X1.
func TestAnOlderEpochThatComesBackIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		ctx := context.Background()
		var seen fence.Seen
		first := s.open(none)
		seen.Note(first.Now)
		dump := s.client.HGetAll(ctx, s.key).Val()
		require.NoError(t, s.client.Del(ctx, s.key).Err())
		second := s.open(fence.Known{Seen: seen.Largest()})
		seen.Note(second.Now)
		require.NoError(t, s.client.Del(ctx, s.key).Err())
		require.NoError(t, s.client.HSet(ctx, s.key, dump).Err())
		third := s.read(fence.Known{Seen: seen.Largest()})
		assert.NotEqual(t, first.Epoch, third.Epoch)
		assert.Greater(t, third.Now, second.Now)
	})
}

func TestAFenceThatIsNotBehindStaysAsItIs(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		opened := s.open(none)
		stamp := s.invalidate(0, fence.Hard, tag("a"))
		r := s.read(fence.Known{Seen: stamp}) // as if a replica had lagged
		assert.Equal(t, opened.Epoch, r.Epoch)
		assert.Equal(t, stamp, r.Now)
	})
}

func TestWhatCannotBeReadIsNoFence(t *testing.T) {
	ctx := context.Background()
	a := tag("a")
	for name, spoil := range map[string]func(s *subject){
		"c is no number":       func(s *subject) { s.set("c", "x") },
		"c is 0":               func(s *subject) { s.set("c", "0") },
		"c is too long":        func(s *subject) { s.set("c", strings.Repeat("9", 18)) },
		"c is large":           func(s *subject) { s.set("c", strings.Repeat("9", 17)) },
		"c is about to be":     func(s *subject) { s.set("c", strings.Repeat("9", 16)); s.invalidate(0, fence.Hard, tag("b")) },
		"c is gone":            func(s *subject) { s.client.HDel(ctx, s.key, "c") },
		"f is gone":            func(s *subject) { s.client.HDel(ctx, s.key, "f") },
		"f is large":           func(s *subject) { s.set("f", strings.Repeat("9", 17)) },
		"f is above c":         func(s *subject) { s.set("f", (s.look().Now + 1).String()) },
		"f is too long":        func(s *subject) { s.set("f", strings.Repeat("9", 18)) },
		"e is gone":            func(s *subject) { s.client.HDel(ctx, s.key, "e") },
		"e is another's":       func(s *subject) { s.set("e", strings.Repeat("G", 32)) },
		"it is a string":       func(s *subject) { s.client.Set(ctx, s.key, "x", 0) },
		"it is a string again": func(s *subject) { s.client.Set(ctx, s.key, "x", 0); s.invalidate(0, fence.Hard, a) },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, s *subject) {
				before := s.open(none, a)
				s.invalidate(1<<50, fence.Hard, a)
				spoil(s)
				if strings.HasPrefix(name, "c is no") { // a mere reader makes no fence
					assert.Zero(t, s.read(none, a).Epoch)
				}
				r := s.open(fence.Known{Time: 5}, a)
				require.NotZero(t, r.Epoch)
				assert.NotEqual(t, before.Epoch, r.Epoch)
				epoch, marks := captured(r, a)
				assert.Equal(t, fence.Valid, r.Judge(epoch, marks), "the new epoch can be used")
				s.invalidate(0, fence.Hard, a)
				r = s.look(a)
				assert.Equal(t, fence.Invalid, r.Judge(epoch, marks), "and invalidated")
			})
		})
	}
}

// An invalidation must not take over the stamp in the field, which would overtake all entries
// forever.
func TestAFieldAboveThePresentStampIsMendedByTheNextInvalidation(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a := tag("a")
		s.open(none)
		for _, text := range []string{"99999999999999999 0", "0 99999999999999999", "99999999999999999 99999999999999999"} {
			for _, kind := range []fence.Kind{fence.Hard, fence.Soft} {
				s.set(a.String(), text)
				s.invalidate(0, kind, a)
				r := s.look(a)
				epoch, marks := captured(r, a)
				assert.Equal(t, fence.Valid, r.Judge(epoch, marks), "%s, %s", text, kind)
			}
		}
	})
}

func TestAFieldThatCannotBeReadOvertakesEverything(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		a := tag("a")
		for _, text := range []string{"", "x", "1", "1 ", " 1", "01 1", "1 2 3", "-1 0"} {
			epoch, marks := captured(s.open(none), a)
			s.set(a.String(), text)
			r := s.look(a)
			assert.Equal(t, fence.Invalid, r.Judge(epoch, marks), "%q", text)
			s.invalidate(0, fence.Soft, a)
			r = s.look(a)
			assert.Equal(t, fence.Invalid, r.Judge(epoch, marks), "%q, expired since", text)
			epoch, marks = captured(r, a)
			assert.Equal(t, fence.Valid, r.Judge(epoch, marks), "%q, what is computed after that", text)
		}
	})
}

func TestAFenceIsBoundedAndWhatItForgetsIsInvalid(t *testing.T) {
	const most, removed = 50, 10
	onEach(t, func(t *testing.T, s *subject) {
		r := s.open(none)
		type entry struct {
			epoch fence.Epoch
			marks []fence.Mark
		}
		var old []entry
		for i := range 200 {
			id := tag("entry " + strconv.Itoa(i))
			epoch, marks := captured(s.look(), id)
			old = append(old, entry{epoch, marks})
			args := fence.InvalidateArgs(none, fence.Hard, "events", []fence.Tag{id})
			args[5], args[6] = most, removed
			s.invalidateWith(args)
			n := s.client.HLen(context.Background(), s.key).Val()
			require.LessOrEqual(t, n, int64(most+3))
		}
		for i, e := range old { // each was invalidated after it was captured
			look := s.look(e.marks[0].Tag)
			assert.Equal(t, fence.Invalid, look.Judge(e.epoch, e.marks), "%d", i)
		}
		after := s.look()
		assert.Greater(t, after.Floor, r.Floor)
		assert.Less(t, after.Floor, after.Now, "what was invalidated just now is still remembered")
	})
}

func TestManyTagsAreTrimmedAtMostSoManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		s.open(none)
		for i := range 120 {
			s.set(tag(strconv.Itoa(i)).String(), fmt.Sprintf("%d 0", i+1))
		}
		args := fence.InvalidateArgs(none, fence.Hard, "events", []fence.Tag{tag("new")})
		args[5], args[6] = 50, 10
		s.invalidateWith(args)
		assert.Equal(t, int64(3+121-10), s.client.HLen(context.Background(), s.key).Val())
	})
}

func TestAnInvalidationIsPublished(t *testing.T) {
	onEach(t, func(t *testing.T, s *subject) {
		ctx := context.Background()
		const channel = "of this test" // the test's own, because a Cluster may deliver the messages of others late
		sub := s.client.Subscribe(ctx, channel)
		defer sub.Close() //nolint:errcheck // the server goes away with the test
		_, err := sub.Receive(ctx)
		require.NoError(t, err)
		stamp := s.invalidateWith(fence.InvalidateArgs(fence.Known{Time: 7}, fence.Soft, channel, []fence.Tag{tag("a"), tag("b")}))
		message, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		m, ok := fence.ParseMessage(message.Payload)
		require.True(t, ok, message.Payload)
		assert.Equal(t, fence.Message{Stamp: stamp, Kind: fence.Soft, Tags: []fence.Tag{tag("a"), tag("b")}}, m)
	})
}

func TestMessagesOfAnotherFormAreNone(t *testing.T) {
	id := tag("a").String()
	for _, text := range []string{"", "tags", "tags 1 h", "tags 0 h " + id, "tags 1 x " + id, "tags 1 h x", "tag 1 h " + id, "tags 1 h " + id + " "} {
		_, ok := fence.ParseMessage(text)
		assert.False(t, ok, "%q", text)
	}
}

// A tag that the reading lacks needs no second reading if nothing was invalidated since the entry's
// stamp.
func TestJudgeSaysWhatToReadAgain(t *testing.T) {
	a, b := tag("a"), tag("b")
	epoch := fence.NewEpoch()
	read := func(now, floor string, fields ...any) fence.Reading {
		r, err := fence.ParseReading(append([]any{epoch.String(), now, floor}, fields...), []fence.Tag{a})
		require.NoError(t, err)
		return r
	}
	for _, row := range []struct {
		name    string
		reading fence.Reading
		marks   []fence.Mark
		want    fence.Verdict
	}{
		{"nothing since", read("10", "1", nil), []fence.Mark{{a, 10}, {b, 10}}, fence.Valid},
		{"an unread tag, and something was invalidated", read("10", "1", nil), []fence.Mark{{a, 10}, {b, 9}}, fence.Unread},
		{"newer than the reading", read("10", "1", nil), []fence.Mark{{a, 11}}, fence.Newer},
		{"newer, and not asked for", read("10", "1", nil), []fence.Mark{{b, 11}}, fence.Newer},
		{"below the floor", read("10", "9", nil), []fence.Mark{{b, 8}}, fence.Invalid},
		{"at the floor", read("10", "9", nil), []fence.Mark{{a, 9}}, fence.Valid},
		{"hard at the stamp", read("10", "1", "9 0"), []fence.Mark{{a, 9}}, fence.Valid},
		{"hard over the stamp", read("10", "1", "10 0"), []fence.Mark{{a, 9}}, fence.Invalid},
		{"soft over the stamp", read("10", "1", "9 10"), []fence.Mark{{a, 9}}, fence.Expired},
		{"longer numbers", read("1000", "1", "1000 0"), []fence.Mark{{a, 999}}, fence.Invalid},
		{"the worst counts", read("10", "1", "9 10"), []fence.Mark{{a, 9}, {b, 9}}, fence.Unread},
	} {
		assert.Equal(t, row.want, row.reading.Judge(epoch, row.marks), row.name)
	}
	r := read("10", "1", nil)
	assert.Equal(t, fence.Invalid, r.Judge(fence.NewEpoch(), []fence.Mark{{a, 10}}), "another epoch")
	_, err := fence.ParseReading([]any{"x"}, nil)
	assert.Error(t, err)
}

func TestSeenRemembersTheLargestStamp(t *testing.T) {
	var s fence.Seen
	for _, note := range []struct{ stamp, largest fence.Stamp }{{5, 5}, {4, 5}, {6, 6}} {
		s.Note(note.stamp)
		assert.Equal(t, note.largest, s.Largest())
	}
	assert.Equal(t, fence.Stamp(6), s.Largest())
	s.Note(fence.Latest)
	assert.Equal(t, fence.Stamp(6), s.Largest(), "a damaged one is not remembered")
}

func TestTagsOfFunctionsAreNoTagsOfUsers(t *testing.T) {
	assert.NotEqual(t, fence.TagOf(keys, "x"), fence.FuncTag(keys, "x"))
	assert.NotEqual(t, fence.TagOf(keys, "x"), fence.TagOf(keyhash.NewKeys([]byte("secret")), "x"))
	id, ok := fence.ParseTag(tag("x").String())
	assert.True(t, ok)
	assert.Equal(t, tag("x"), id)
}

func TestABlockComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := fence.Block{Epoch: fence.NewEpoch()}
		for i := range rapid.IntRange(1, fence.MaxMarks).Draw(r, "tags") {
			b.Marks = append(b.Marks, fence.Mark{Tag: tag(strconv.Itoa(i)), Stamp: fence.Stamp(i + 1)})
		}
		raw := b.AppendTo([]byte("before"))
		require.Len(t, raw, len("before")+b.Len())
		got, rest, err := fence.ParseBlock(append(raw[len("before"):], "after"...))
		require.NoError(t, err)
		assert.Equal(t, "after", string(rest))
		assert.Equal(t, b, got)
		_, _, err = fence.ParseBlock(raw[len("before") : len(raw)-1])
		assert.ErrorIs(t, err, fence.ErrTruncated)
	})
}

func TestWhatNoVersionWritesIsNoBlock(t *testing.T) {
	good := fence.Block{Epoch: fence.NewEpoch(), Marks: []fence.Mark{{tag("a"), 7}}}
	for name, spoil := range map[string]func(raw []byte) []byte{
		"no epoch":   func(raw []byte) []byte { return append(make([]byte, 16), raw[16:]...) },
		"no tags":    func(raw []byte) []byte { raw[17] = 0; return raw },
		"many tags":  func(raw []byte) []byte { raw[16] = 0xff; return raw },
		"no stamp":   func(raw []byte) []byte { raw[len(raw)-1] = 0; return raw },
		"long stamp": func(raw []byte) []byte { raw[len(raw)-8] = 0xff; return raw },
	} {
		_, _, err := fence.ParseBlock(spoil(good.AppendTo(nil)))
		assert.Error(t, err, name)
		assert.NotErrorIs(t, err, fence.ErrTruncated, name)
	}
}
