package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/golden"
	"github.com/fncache/fncache/internal/redistest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	redistest.ReportSkips(os.Stderr)
	os.Exit(code)
}

// A target is a Redis with its URL for the command and a client of the test's own.
type target struct {
	url    string
	client redis.UniversalClient
}

// onServers runs a test on a server and on a Cluster.
func onServers(t *testing.T, test func(t *testing.T, at target)) {
	t.Run("server", func(t *testing.T) {
		s := redistest.Shared(t)
		test(t, target{"redis://" + s.Addr(), s.Client()})
	})
	t.Run("Cluster", func(t *testing.T) {
		c := redistest.SharedCluster(t)
		addrs := c.Addrs()
		test(t, target{"redis://" + addrs[0] + "?addr=" + strings.Join(addrs[1:], "&addr="), c.Client()})
	})
}

// A result is what a run of the command returned.
type result struct {
	status   int
	out, err string
}

// run runs the command on a Redis.
func (at target) run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, "", append([]string{"--redis", at.url}, args...)...)
}

// runWith runs the command with an answer on a terminal, or without a terminal if it is "".
func runWith(t *testing.T, answer string, args ...string) result {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), 5*time.Minute)
	defer end()
	var out, errs bytes.Buffer
	status := run(ctx, args, streams{in: strings.NewReader(answer), out: &out, err: &errs, asks: answer != ""})
	return result{status, out.String(), errs.String()}
}

// decoded returns the output as JSON.
func decoded[T any](t *testing.T, r result) (value T) {
	t.Helper()
	require.Equal(t, 0, r.status, r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &value), r.out)
	return value
}

// A page is what the function Page of a shop returns.
type page struct {
	Title string
	Cover []byte
	Ratio float64
	Sold  map[int]string
}

// A shop has functions that cache on a Redis. They have computed once.
type shop struct {
	cache *fncache.Cache
	// top has no tags; page has the tag of its author.
	top  func(ctx context.Context, author int64, kind string) ([]int64, error)
	page func(ctx context.Context, author string) (page, error)
	// The keys of what they have computed.
	topKey, missingKey, pageKey string
}

var errNoAuthor = errors.New("no such \x1b[31mauthor")

func newShop(t *testing.T, at target, cfg fncache.Config) *shop {
	t.Helper()
	cfg.Redis = at.client
	cache, err := fncache.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cache.Close()) })
	s := &shop{cache: cache}
	s.top = func(_ context.Context, author int64, kind string) ([]int64, error) {
		if kind == "none" {
			return nil, errNoAuthor
		}
		return []int64{author, int64(len(kind))}, nil
	}
	s.page = func(_ context.Context, author string) (page, error) {
		return page{"About " + author, []byte("\x00png"), math.Inf(1), map[int]string{7: "seven"}}, nil
	}
	opts := fncache.Options{Name: "shop.Top", Cache: cache, Timeout: time.Hour, Freshness: time.Minute, OnCold: fncache.Wait, CacheErrors: []error{errNoAuthor}, ErrorTimeout: time.Hour}
	top, err := fncache.Wrap(&s.top, opts)
	require.NoError(t, err)
	t.Cleanup(top.Unwrap)
	opts.Name, opts.Tags = "shop.Page", []string{"author:{0}"}
	about, err := fncache.Wrap(&s.page, opts)
	require.NoError(t, err)
	t.Cleanup(about.Unwrap)
	s.call(t)
	s.topKey, s.missingKey, s.pageKey = keyOf(t, top, int64(-3), "new"), keyOf(t, top, int64(-3), "none"), keyOf(t, about, "ann")
	return s
}

func (s *shop) call(t *testing.T) {
	t.Helper()
	_, err := s.top(t.Context(), -3, "new")
	require.NoError(t, err)
	_, err = s.top(t.Context(), -3, "none")
	require.ErrorIs(t, err, errNoAuthor)
	_, err = s.page(t.Context(), "ann")
	require.NoError(t, err)
}

func keyOf(t *testing.T, f *fncache.Func, args ...any) string {
	t.Helper()
	key, err := f.Key(args...)
	require.NoError(t, err)
	return key
}

// stored reports whether there is an entry that is valid, whatever its age.
func (at target) stored(t *testing.T, key string) bool {
	t.Helper()
	r := at.run(t, "--format=json", "get", key)
	if r.status == statusFault {
		assert.Contains(t, r.err, "not found")
		return false
	}
	return decoded[shown](t, r).ByTags != "invalid"
}

func TestHelpGolden(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	for _, command := range []string{"", "ping", "functions", "key", "get", "leases", "expire", "invalidate", "clear", "top", "events"} {
		t.Run(command, func(t *testing.T) {
			r := runWith(t, "", strings.Fields(command+" --help")...)
			assert.Equal(t, statusOK, r.status)
			assert.Empty(t, r.err)
			name := "help"
			if command != "" {
				name += "_" + command
			}
			golden.Check(t, name+".txt", r.out)
		})
	}
}

func TestWrongUsageIsStatus2AndSaysWhatToDo(t *testing.T) {
	key := "fncache:{f:" + strings.Repeat("0", 32) + "}:abc"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "expected one of"},
		{[]string{"foo"}, "unexpected argument foo"},
		{[]string{"get"}, "<key>"},
		{[]string{"get", "foo"}, "not the key of an entry"},
		{[]string{"invalidate", "foo"}, "not the key of an entry"},
		{[]string{"expire"}, "either a KEY or --tag"},
		{[]string{"invalidate", key, "--tag", "a"}, "either a KEY or --tag"},
		{[]string{"invalidate", "--tag", ""}, "--tag is empty"},
		{[]string{"expire", "--tag", "a", "--tag="}, "--tag is empty"},
		{[]string{"get", "shop" + key[len("fncache"):]}, "this one has the namespace shop, and --namespace is fncache"},
		{[]string{"--format", "xml", "ping"}, "--format"},
		{[]string{"--redis", "http://host", "ping"}, "--redis"},
		{[]string{"--namespace", "a:b", "ping"}, "Namespace"},
		{[]string{"top", "--every", "1ms"}, "--every"},
		{[]string{"top", "--rows", "0"}, "--rows"},
		{[]string{"ping", "\x1b[31m"}, `\x1b[31m`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := runWith(t, "", c.args...)
			assert.Equal(t, statusUsage, r.status)
			assert.Empty(t, r.out)
			assert.Contains(t, r.err, c.want)
			assert.NotContains(t, r.err, "\x1b")
		})
	}
	t.Setenv("SEAL_KEYS", strings.Repeat("ab", 32)+",abc")
	r := runWith(t, "", "ping")
	assert.Equal(t, statusUsage, r.status)
	assert.Contains(t, r.err, "SEAL_KEYS: key 2")
}

func TestNoRedisIsStatus1(t *testing.T) {
	key := "fncache:{f:" + strings.Repeat("0", 32) + "}:abc"
	for _, command := range []string{"ping", "functions", "key f 1", "get " + key, "leases", "expire " + key, "invalidate --tag a", "clear --yes f", "top", "events"} {
		t.Run(command, func(t *testing.T) {
			r := runWith(t, "", append([]string{"--redis", "redis://127.0.0.1:1", "--timeout", "300ms"}, strings.Fields(command)...)...)
			assert.Equal(t, statusFault, r.status, r.err)
			assert.Empty(t, r.out)
			assert.Contains(t, r.err, "connection refused")
			assert.Equal(t, 1, strings.Count(r.err, "\n"), "the trouble is named once: %s", r.err)
			assert.NotContains(t, r.err, "fncache: fncache")
		})
	}
}

func TestAWrongPasswordIsNamed(t *testing.T) {
	s := redistest.Start(t)
	require.NoError(t, s.Client().ConfigSet(t.Context(), "requirepass", "right").Err())
	for _, command := range []string{"ping", "functions", "key f 1", "leases", "invalidate --tag a", "clear --yes f", "events"} {
		for _, password := range []string{"", ":wrong@"} {
			t.Run(command+password, func(t *testing.T) {
				r := runWith(t, "", append([]string{"--redis", "redis://" + password + s.Addr()}, strings.Fields(command)...)...)
				assert.Equal(t, statusFault, r.status, r.err)
				assert.Regexp(t, `NOAUTH|WRONGPASS|unauthenticated`, r.err)
				assert.Contains(t, r.err, "put the user and the password into the URL")
				assert.Equal(t, 1, strings.Count(r.err, "\n"), "the trouble is named once: %s", r.err)
				assert.NotContains(t, r.err, "wrong@")
			})
		}
	}
	assert.Equal(t, statusOK, runWith(t, "", "--redis", "redis://:right@"+s.Addr(), "ping").status)
}

func TestAServerOfAClusterIsNamed(t *testing.T) {
	url := "redis://" + redistest.SharedCluster(t).Addrs()[0]
	for _, command := range []string{"ping", "functions", "leases"} {
		r := runWith(t, "", "--redis", url, command)
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "Cluster", command)
	}
}

func TestPing(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		r := at.run(t, "ping")
		assert.Equal(t, statusOK, r.status, r.err)
		assert.Contains(t, r.out, "Redis answers")
		got := decoded[map[string]any](t, at.run(t, "--format", "json", "ping"))
		assert.Equal(t, true, got["fit"])
		assert.Empty(t, got["warnings"])
	})
	s := redistest.Start(t)
	require.NoError(t, s.Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	r := runWith(t, "", "--redis", "redis://"+s.Addr(), "ping")
	assert.Equal(t, statusOK, r.status)
	assert.Regexp(t, `warning +Redis may evict .*; it is allkeys-lru`, r.out)
	assert.Empty(t, r.err)
}

func TestAnEmptyListSaysWhy(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		r := at.run(t, "functions")
		assert.Equal(t, statusOK, r.status)
		assert.Contains(t, r.err, "no function is registered under the namespace fncache, nor under another")
		newShop(t, at, fncache.Config{Namespace: "books"})
		r = at.run(t, "--format", "json", "functions")
		assert.Empty(t, decoded[[]release](t, r))
		assert.Contains(t, r.err, "--namespace chooses another: books")
		assert.Empty(t, at.run(t, "--namespace", "books", "functions").err)
		assert.Contains(t, at.run(t, "--namespace", "books", "leases").err, "nothing is computed now")
	})
}

func TestFunctions(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		assert.Empty(t, decoded[[]release](t, at.run(t, "--format=json", "functions")))
		newShop(t, at, fncache.Config{})
		got := decoded[[]release](t, at.run(t, "--format=json", "functions", "--entries"))
		require.Len(t, got, 2)
		assert.Equal(t, []string{"shop.Page", "shop.Top"}, []string{got[0].Function, got[1].Function})
		assert.Equal(t, []bool{true, false}, []bool{got[0].Tagged, got[1].Tagged})
		assert.Equal(t, []int{1, 2}, []int{*got[0].Entries, *got[1].Entries})
		assert.WithinDuration(t, time.Now(), got[0].Seen, time.Minute)
		assert.Contains(t, got[1].Types, "int64, string")
		assert.Equal(t, "cbor2", got[1].Codec)
		assert.Contains(t, got[1].Options, "timeout=1h0m0s freshness=1m0s oncold=wait")
		assert.NotEmpty(t, got[1].Build)
		assert.Regexp(t, `^FUNCTION +SIGNATURE +TAGS +SEEN +BUILD +TYPES\nshop\.Page +[0-9a-f]{12} +yes +\S+ ago +\S.*string.*\nshop\.Top `, at.run(t, "functions").out)
	})
}

func TestKey(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		t.Setenv("HASH_SECRET", "secret")
		s := newShop(t, at, fncache.Config{HashSecret: []byte("secret")})
		assert.Equal(t, s.topKey+"\n", at.run(t, "key", "shop.Top", "--", "-3", "new").out)
		assert.Equal(t, s.pageKey+"\n", at.run(t, "key", "shop.Page", "ann").out)
		r := at.run(t, "key", "shop.Nothing", "1")
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "not found")
		for _, args := range [][]string{{"shop.Page"}, {"shop.Page", "ann", "bob"}, {"shop.Top", "x", "new"}, {"shop.Page", "--vary=x", "ann"}} {
			r := at.run(t, append([]string{"key"}, args...)...)
			assert.Equal(t, statusUsage, r.status, args)
			assert.Contains(t, r.err, "Func.Key")
		}
	})
}

func TestGet(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		s := newShop(t, at, fncache.Config{})
		got := decoded[shown](t, at.run(t, "--format=json", "get", s.topKey))
		assert.Equal(t, []any{[]any{-3.0, 3.0}}, got.Value)
		assert.Equal(t, "shop.Top", got.Function)
		assert.InDelta(t, 3600, *got.Left, 60)
		assert.InDelta(t, 0, got.Age, 60)
		assert.Equal(t, got.ID, decoded[shown](t, at.run(t, "--format=json", "get", s.topKey+":lock")).ID)

		got = decoded[shown](t, at.run(t, "--format=json", "get", s.pageKey))
		assert.Equal(t, []any{[]any{"About ann", "AHBuZw==", "+Inf", map[string]any{"7": "seven"}}}, got.Value, "structs are stored as the list of their fields")
		assert.Equal(t, "valid", got.ByTags)
		assert.Len(t, got.Tags, 2, "its own, and that of the function")

		r := at.run(t, "get", s.missingKey)
		assert.Contains(t, r.out, `"no such \x1b[31mauthor"`)
		assert.NotContains(t, r.out, "\x1b")
		assert.Equal(t, errNoAuthor.Error(), decoded[shown](t, at.run(t, "--format=json", "get", s.missingKey)).Error)

		r = at.run(t, "get", strings.Replace(s.topKey, ":{shop.Top:", ":{shop.Bottom:", 1))
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "not found")
		require.NoError(t, at.client.Set(t.Context(), s.topKey, "\x1b[31m", 0).Err())
		r = at.run(t, "get", s.topKey)
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "foreign entry")
	})
}

func TestGetOfASealedEntry(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		key := []byte(strings.Repeat("k", 32))
		s := newShop(t, at, fncache.Config{Seal: [][]byte{key}})
		got := decoded[shown](t, at.run(t, "--format=json", "get", s.topKey))
		assert.Nil(t, got.Value)
		assert.Contains(t, got.Hidden, "SEAL_KEYS")
		t.Setenv("SEAL_KEYS", hex.EncodeToString(key))
		assert.Equal(t, []any{[]any{-3.0, 3.0}}, decoded[shown](t, at.run(t, "--format=json", "get", s.topKey)).Value)
	})
}

func TestGetOfJSON(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		s := newShop(t, at, fncache.Config{Codec: fncache.JSON{}})
		assert.Contains(t, at.run(t, "get", s.topKey).out, "-3")
	})
}

func TestLeases(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		s := newShop(t, at, fncache.Config{})
		assert.Empty(t, decoded[[]lease](t, at.run(t, "--format=json", "leases")))
		token := strings.Repeat("A", 26)
		for key, value := range map[string]string{s.topKey: token, s.missingKey: "cool:" + token, s.pageKey: "open:" + token} {
			require.NoError(t, at.client.Set(t.Context(), key+":lock", value, time.Minute).Err())
		}
		got := decoded[[]lease](t, at.run(t, "--format=json", "leases"))
		states := map[string]string{}
		for _, l := range got {
			states[l.Key] = l.State
			assert.InDelta(t, 60, l.Left, 30)
		}
		assert.Equal(t, map[string]string{s.topKey: "computing", s.missingKey: "cooling", s.pageKey: "open"}, states)
		assert.Len(t, decoded[[]lease](t, at.run(t, "--format=json", "leases", "--function", "shop.Page")), 1)
		assert.Contains(t, at.run(t, "get", s.topKey).out, "lease")
	})
}

func TestLeasesNameTheHolder(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		for _, anonymous := range []bool{false, true} {
			cache, err := fncache.New(fncache.Config{Redis: at.client, Anonymous: anonymous})
			require.NoError(t, err)
			block, done := make(chan struct{}), make(chan error, 1)
			slow := func(context.Context, int) (int, error) { <-block; return 1, nil }
			handle, err := fncache.Wrap(&slow, fncache.Options{Name: "shop.Slow", Cache: cache, Timeout: time.Hour})
			require.NoError(t, err)
			go func() {
				_, err := slow(t.Context(), 1)
				done <- err
			}()
			key := keyOf(t, handle, 1)
			var token string
			require.Eventually(t, func() bool {
				token = at.client.Get(t.Context(), key+":lock").Val()
				return token != ""
			}, time.Minute, time.Millisecond)
			processKey := "fncache:{process:" + token[:8] + "}"
			if anonymous {
				assert.Contains(t, at.run(t, "leases").out, "unknown")
				assert.Contains(t, at.run(t, "get", key).err, "holder unknown")
			} else {
				host, _ := os.Hostname()
				name := host + "/" + strconv.Itoa(os.Getpid())
				require.Eventually(t, func() bool { return strings.Contains(at.run(t, "leases").out, name) }, time.Minute, 10*time.Millisecond)
				got := decoded[[]lease](t, at.run(t, "--format=json", "leases"))
				require.Len(t, got, 1)
				assert.Positive(t, at.client.PTTL(t.Context(), processKey).Val())
				assert.Equal(t, host, got[0].Holder.Host)
				assert.WithinDuration(t, time.Now(), *got[0].Since, time.Minute)
				assert.Less(t, *got[0].Held, 60.0)
				assert.Regexp(t, `its lease is computing, .* left, holder `+name+` since \d\d:\d\d:\d\d, for \d`, at.run(t, "get", key).err)
			}
			close(block)
			require.NoError(t, <-done)
			handle.Unwrap()
			require.NoError(t, cache.Close())
			assert.Zero(t, at.client.Exists(t.Context(), processKey).Val(), "Close deletes it")
			require.NoError(t, at.client.Del(t.Context(), key).Err())
		}
	})
}

func TestInvalidateAndExpire(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		s := newShop(t, at, fncache.Config{})
		require.True(t, at.stored(t, s.topKey))
		older := s.topKey[:strings.LastIndexByte(s.topKey, ':')+1] + "0123456789ab" // of another release
		registered, err := at.client.HGet(t.Context(), "fncache:functions:{shop.Top}", s.topKey[len(older)-12:]).Result()
		require.NoError(t, err)
		require.NoError(t, at.client.HSet(t.Context(), "fncache:functions:{shop.Top}", "0123456789ab", registered).Err())
		require.NoError(t, at.client.Set(t.Context(), older, "older", 0).Err())

		assert.Equal(t, statusOK, at.run(t, "expire", s.topKey).status)
		assert.True(t, decoded[shown](t, at.run(t, "--format=json", "get", s.topKey)).Expired)
		r := at.run(t, "invalidate", s.topKey)
		assert.Equal(t, statusOK, r.status, r.err)
		assert.Contains(t, r.out, older)
		assert.False(t, at.stored(t, s.topKey))
		assert.Zero(t, at.client.Exists(t.Context(), older).Val())
		assert.True(t, at.stored(t, s.missingKey))

		require.Equal(t, statusOK, at.run(t, "expire", "--tag", "author:ann").status)
		assert.Equal(t, "stale", decoded[shown](t, at.run(t, "--format=json", "get", s.pageKey)).ByTags)
		require.Equal(t, statusOK, at.run(t, "invalidate", "--tag", "author:bob", "--tag", "author:ann").status)
		assert.False(t, at.stored(t, s.pageKey))
	})
}

func TestClear(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		s := newShop(t, at, fncache.Config{})
		assert.Equal(t, statusUsage, at.run(t, "clear", "shop.Top").status, "the input is not a terminal")
		r := runWith(t, "n\n", "--redis", at.url, "clear", "shop.Top")
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "nothing was changed")
		require.True(t, at.stored(t, s.topKey))

		r = runWith(t, "y\n", "--redis", at.url, "clear", "shop.Top")
		assert.Equal(t, statusOK, r.status, r.err)
		assert.Contains(t, r.out, "2 entries deleted")
		assert.False(t, at.stored(t, s.topKey))
		assert.True(t, at.stored(t, s.pageKey))

		r = at.run(t, "clear", "--yes", "shop.Page")
		assert.Equal(t, statusOK, r.status, r.err)
		assert.False(t, at.stored(t, s.pageKey))
		r = at.run(t, "clear", "--yes", "shop.Nothing")
		assert.Equal(t, statusFault, r.status)
		assert.Contains(t, r.err, "not found")
	})
}

// background runs the command, and returns its output so far, and its result once it ends.
type background struct {
	out  *lockedBuffer
	end  context.CancelFunc
	done chan int
}

type lockedBuffer struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (at target) start(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	b := &background{new(lockedBuffer), end, make(chan int, 1)}
	errs := new(lockedBuffer)
	go func() {
		b.done <- run(ctx, append([]string{"--redis", at.url}, args...), streams{in: strings.NewReader(""), out: b.out, err: errs, progress: true})
	}()
	t.Cleanup(end)
	require.Eventually(t, func() bool { return strings.Contains(errs.String(), "listening") }, time.Minute, 5*time.Millisecond)
	return b
}

func (b *background) await(t *testing.T, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(b.out.String(), want) }, time.Minute, 5*time.Millisecond, want)
}

// interrupt ends the command as Ctrl-C does.
func (b *background) interrupt(t *testing.T) {
	t.Helper()
	b.end()
	select {
	case status := <-b.done:
		assert.Equal(t, statusOK, status)
	case <-time.After(time.Minute):
		t.Fatal("the command does not end")
	}
}

func TestEvents(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		all, one := at.start(t, "--format=json", "events"), at.start(t, "events", "--function=shop.Page")
		s := newShop(t, at, fncache.Config{})
		require.NoError(t, s.cache.InvalidateTags(t.Context(), "author:ann"))
		require.Equal(t, statusOK, at.run(t, "clear", "--yes", "shop.Top").status)
		all.await(t, `"event":"clear"`)
		all.await(t, `"event":"invalidate tags"`) // of another node of the Cluster
		all.interrupt(t)
		one.await(t, s.pageKey)
		one.interrupt(t)
		assert.NotContains(t, one.out.String(), s.topKey)
		var seen []string
		for line := range strings.Lines(all.out.String()) {
			var h happening
			require.NoError(t, json.Unmarshal([]byte(line), &h), line)
			seen = append(seen, h.Event+" "+h.Key)
		}
		assert.Contains(t, seen, "store "+s.topKey)
		assert.Contains(t, seen, "invalidate tags ")
	})
}

func TestEventsAreThoseOfTheDatabaseInTheURL(t *testing.T) {
	s := redistest.Shared(t)
	var listeners []*background
	for db := range 2 {
		at := target{fmt.Sprintf("redis://%s/%d", s.Addr(), db), s.Client(func(o *redis.Options) { o.DB = db })}
		t.Cleanup(func() { require.NoError(t, at.client.FlushDB(context.Background()).Err()) })
		listeners = append(listeners, at.start(t, "events"))
		cache := newShop(t, at, fncache.Config{}).cache
		for range db + 1 {
			require.NoError(t, cache.InvalidateTags(t.Context(), "author:ann"))
		}
		require.Equal(t, statusOK, at.run(t, "clear", "--yes", "shop.Top").status)
	}
	for db, heard := range listeners {
		heard.await(t, "  clear  ")
		heard.interrupt(t)
		assert.Equal(t, db+1, strings.Count(heard.out.String(), "  invalidate tags  "))
	}
}

func TestTop(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		rows, lines := at.start(t, "top", "--every=100ms"), at.start(t, "--format=json", "top", "--every=100ms", "--rows=1")
		newShop(t, at, fncache.Config{})
		rows.await(t, "shop.Top")
		lines.await(t, `"function":"shop.`)
		rows.interrupt(t)
		lines.interrupt(t)
		for line := range strings.Lines(lines.out.String()) {
			require.True(t, json.Valid([]byte(line)), line)
		}
		r := at.run(t, "top", "--for=10ms")
		assert.Equal(t, statusOK, r.status)
	})
}

func TestHostileNamesArePrintedQuoted(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		const name = "\x1b]0;title\x07\u202e\u009b31m<b>"
		hash := strings.Repeat("0", 32)
		key := "fncache:{" + name + ":" + hash + "}:abc"
		at.client.HSet(t.Context(), "fncache:functions:{"+name+"}", "abc\x1b[2J", "1 2 params", "\x1b", "\x1b")
		at.client.Set(t.Context(), key+":lock", "\x1b[31m", time.Minute)
		at.client.Set(t.Context(), "fncache:functions:{string}", "\x1b", time.Minute)
		at.client.Set(t.Context(), "fncache:{\x1b}:lock", "\x1b", time.Minute)
		heard := at.start(t, "events")
		for _, args := range []string{"functions", "leases", "functions --entries"} {
			for _, format := range []string{"table", "json"} {
				r := at.run(t, append([]string{"--format", format}, strings.Fields(args)...)...)
				require.Equal(t, statusOK, r.status, r.err)
				assert.Contains(t, r.out, "title", args)
				assertHarmless(t, r.out)
			}
		}
		for _, args := range [][]string{{"get", key}, {"key", name}, {"invalidate", key}, {"clear", "--yes", name}, {"clear", name}} {
			r := at.run(t, args...)
			assertHarmless(t, r.out)
			assertHarmless(t, r.err)
		}
		heard.await(t, "invalidate")
		assertHarmless(t, heard.out.String())
	})
}

// JSON has no times after the year 9999.
func TestTimesOfTheFarFutureArePrinted(t *testing.T) {
	onServers(t, func(t *testing.T, at target) {
		key := "fncache:{far:" + strings.Repeat("0", 32) + "}:abc"
		header := []byte("\xf5fnc\x01\x00\x01\x00\x7fffffff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")
		at.client.Set(t.Context(), key, append(header, "\x81\x07"...), time.Minute)
		at.client.Set(t.Context(), key+":lock", "ABCDEFGH7777777777ABCDEFGH", time.Minute)
		at.client.Set(t.Context(), "fncache:{process:ABCDEFGH}", `{"host":"web","pid":1}`, time.Minute)
		at.client.HSet(t.Context(), "fncache:functions:{far}", "abc", "9223372036854775807 9223372036854775807 params")
		for _, args := range [][]string{{"functions"}, {"leases"}, {"get", key}} {
			for _, format := range []string{"table", "json"} {
				r := at.run(t, append([]string{"--format", format}, args...)...)
				assert.Equal(t, statusOK, r.status, r.err)
				assert.Contains(t, r.out, "far", args)
			}
		}
	})
}

func assertHarmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		assert.True(t, r == '\n' || strconv.IsPrint(r), "%q in %q", r, text)
	}
}

// fewKeys is how many entries TestManyKeys makes, unless FNCACHE_KEYS has another number.
const fewKeys = 20_000

// TestManyKeys lists and clears a function of many entries, in steps that do not block the
// server.
func TestManyKeys(t *testing.T) {
	total := fewKeys
	if text := os.Getenv("FNCACHE_KEYS"); text != "" {
		var err error
		total, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	s := redistest.Start(t)
	client := s.Client()
	at := target{"redis://" + s.Addr(), client}
	newShop(t, at, fncache.Config{})
	signature := decoded[[]release](t, at.run(t, "--format=json", "functions"))[1].Signature
	for begin := 0; begin < total; begin += 10_000 {
		pipe := client.Pipeline()
		for i := begin; i < min(total, begin+10_000); i++ {
			pipe.Set(t.Context(), fmt.Sprintf("fncache:{shop.Top:%032x}:%s", i, signature), "entry", time.Hour)
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, client.ConfigResetStat(t.Context()).Err())

	// watched runs the command with standard error on a terminal.
	watched := func(args ...string) result {
		var out, errs bytes.Buffer
		status := run(t.Context(), append([]string{"--redis", at.url, "--format=json"}, args...), streams{out: &out, err: &errs, progress: true})
		return result{status, out.String(), errs.String()}
	}
	r := watched("functions", "--entries")
	assert.Contains(t, r.err, "\r\x1b[Klooked at about 1000 keys")
	assert.True(t, strings.HasSuffix(r.err, "\r\x1b[K"), "the line is removed: %q", r.err)
	got := decoded[[]release](t, r)
	assert.Equal(t, total+2, *got[1].Entries)
	began := time.Now()
	r = watched("clear", "--yes", "shop.Top")
	assert.Regexp(t, `\r\x1b\[K\d+ entries deleted`, r.err)
	cleared := decoded[map[string]any](t, r)
	t.Logf("%d entries cleared in %v", total, time.Since(began))
	assert.InDelta(t, total+2, cleared["removed"], 0)
	got = decoded[[]release](t, at.run(t, "--format=json", "functions", "--entries"))
	assert.Zero(t, *got[1].Entries)
	stats := client.Info(t.Context(), "commandstats").Val()
	assert.NotContains(t, stats, "cmdstat_keys:")
	assert.Contains(t, stats, "cmdstat_unlink:")
	assert.NotContains(t, stats, "cmdstat_del:")
	mean := regexp.MustCompile(`cmdstat_scan:\S*usec_per_call=(\d+)`).FindStringSubmatch(stats)
	require.NotNil(t, mean, stats)
	micros, err := strconv.Atoi(mean[1])
	require.NoError(t, err)
	assert.Less(t, micros, 50_000, "a step of the scan does not block the server for long")
}

func TestCtrlCEndsAClear(t *testing.T) {
	s := redistest.Start(t)
	at := target{"redis://" + s.Addr(), s.Client()}
	newShop(t, at, fncache.Config{})
	s.Pause()
	ctx, end := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	time.AfterFunc(100*time.Millisecond, end)
	began := time.Now()
	status := run(ctx, []string{"--redis", at.url, "--timeout=1m", "clear", "--yes", "shop.Top"}, streams{out: &out, err: &errs})
	s.Resume()
	assert.Equal(t, statusFault, status)
	assert.Contains(t, errs.String(), "interrupted")
	assert.Less(t, time.Since(began), 30*time.Second)
}
