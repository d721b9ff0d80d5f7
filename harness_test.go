package fncache_test

import (
	"context"
	"encoding"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/bubbletest"
	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/logtest"
	"github.com/fncache/fncache/internal/memconn"
	"github.com/fncache/fncache/internal/operate"
)

// A bubble is what most tests stand on: one embedded Redis, in a bubble where time
// is the test's. Every cache made on it is like a process of its own.
type bubble struct {
	t     *testing.T
	redis *miniredis.Miniredis
	log   *logtest.Handler
	tap   *tap
}

// inBubble runs test with an embedded Redis in a synctest bubble, in both forms.
// Everything it starts has ended when it returns, or synctest fails the test.
func inBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	t.Helper()
	inBothForms(t, func(t *testing.T) { inOneBubble(t, test) })
}

// inOneBubble is inBubble for tests that do not wrap by wrap.
func inOneBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	t.Helper()
	bubbletest.Run(t, func(t *testing.T) {
		b := &bubble{t: t, redis: miniredis.NewMiniRedis(), log: &logtest.Handler{}, tap: newTap()}
		b.redis.ClockTTL(true)
		t.Cleanup(b.redis.Close)
		test(t, b)
	})
}

// inBothForms runs test twice: what wrap wraps in it is wrapped by Wrap, and then
// by Wrap1.
func inBothForms(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run(reflectedForm, test)
	t.Run(typedForm, test)
}

// inOneForm is for tests that start a cluster or a group of servers for something
// that is below either form, and take seconds.
func inOneForm(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run(reflectedForm, test)
}

// The forms, as they stand in the names of tests.
const (
	reflectedForm = "reflected"
	typedForm     = "typed"
)

// wrapString wraps a stringFunc in the form that the test is run in.
func wrapString(t testing.TB, fn *stringFunc, opts Options) (*Func, error) {
	t.Helper()
	for _, name := range strings.Split(t.Name(), "/") {
		switch name, _, _ := strings.Cut(name, "#"); name { // the second of a name is #01
		case typedForm:
			return wrapUntyped1(fn, opts)
		case reflectedForm:
			return Wrap(fn, opts)
		}
	}
	t.Fatalf("%s wraps in one form only; give it to inBothForms", t.Name())
	return nil, nil
}

// wrapUntyped1 and the like are Wrap1 and the like for what takes the handle of any form.
func wrapUntyped1[F ~func(context.Context, A) (R, error), A, R any](fn *F, opts Options) (*Func, error) {
	h, err := Wrap1(fn, opts)
	if err != nil {
		return nil, err
	}
	return h.Func, nil
}

func wrapUntyped2[F ~func(context.Context, A, B) (R, error), A, B, R any](fn *F, opts Options) (*Func, error) {
	h, err := Wrap2(fn, opts)
	if err != nil {
		return nil, err
	}
	return h.Func, nil
}

func wrapUntyped3[F ~func(context.Context, A, B, C) (R, error), A, B, C, R any](fn *F, opts Options) (*Func, error) {
	h, err := Wrap3(fn, opts)
	if err != nil {
		return nil, err
	}
	return h.Func, nil
}

// cache makes a cache, closed at the end of the test.
func (b *bubble) cache(change ...func(*Config)) *Cache {
	b.t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr:            "127.0.0.1:0",
		Dialer:          func(context.Context, string, string) (net.Conn, error) { return memconn.Buffered(b.redis.Dial()) },
		DisableIdentity: true,

		ContextTimeoutEnabled: true, // so that hooks see everything
	})
	client.AddHook(b.tap)
	cfg := Config{Redis: client, Logger: slog.New(b.log)}
	for _, f := range change {
		f(&cfg)
	}
	return newTestCache(b.t, cfg)
}

// keys returns the keys of entries and leases, and all others except the registries of releases
// and the names of processes.
func (b *bubble) keys() []string { return slices.DeleteFunc(b.redis.Keys(), aside) }

// aside reports whether a key is a registry of releases or the name of a process.
func aside(key string) bool {
	return strings.Contains(key, ":functions:{") || strings.Contains(key, ":{process:")
}

// burstOnOneLookup is burst with all calls on one lookup: it is held until they
// have boarded.
func (b *bubble) burstOnOneLookup(w *wrapped, n int, arg string) []outcome {
	boarded := make(chan struct{})
	b.tap.on("get", func() { <-boarded })
	all := make(chan []outcome)
	go func() { all <- w.burst(b.t.Context(), n, arg) }()
	synctest.Wait()
	close(boarded)
	return <-all
}

// awaitBack waits, in a bubble, until the cache has noticed that Redis is back.
func awaitBack(c *Cache) {
	away := func(n NodeHealth) bool { return n.Away }
	for slices.ContainsFunc(c.Health().Nodes, away) {
		time.Sleep(time.Millisecond)
	}
}

// newTestCache makes a cache that is closed, with its client, after the test. One that
// the test has closed itself would only say again what it said then.
func newTestCache(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c := newOpenCache(t, cfg)
	t.Cleanup(func() {
		closed := c.Life().Closed()
		if err := c.Close(); err != nil && !closed {
			var running strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&running, 1)
			t.Errorf("%v\nrunning:\n%s", err, &running)
		}
		_ = cfg.Redis.Close()
	})
	return c
}

// testSecret is the HashSecret of caches of tests.
const testSecret = "of the tests"

// newOpenCache makes a cache that the test closes. A logtest.Handler that it logs to
// keeps up with it.
func newOpenCache(t testing.TB, cfg Config) *Cache {
	t.Helper()
	if cfg.HashSecret == nil {
		cfg.HashSecret = []byte(testSecret) // the log would say each time that there is none
	}
	c, err := New(cfg)
	require.NoError(t, err)
	if cfg.Logger != nil {
		if sink, ok := cfg.Logger.Handler().(*logtest.Handler); ok {
			sink.KeepUpWith(c.Log())
		}
	}
	return c
}

// source is a function to be cached whose every run the test sees. It answers
// with the number of the run.
type source struct {
	mu   sync.Mutex // guards the fields below
	runs int
	took time.Duration // of one run, unless its context ends before
	do   func(ctx context.Context, run int) (int, error)
}

func (s *source) call(ctx context.Context, _ string) (int, error) {
	s.mu.Lock()
	s.runs++
	run, do, took := s.runs, s.do, s.took
	s.mu.Unlock()
	select {
	case <-time.After(took): // in a bubble: no real time
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if do != nil {
		return do(ctx, run)
	}
	return run, nil
}

func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

const (
	// severalCalls are enough to find out that Redis is away, and that calls then cost no wait.
	severalCalls = 5
	// probeInterval is about how often package remote tries a node that is away.
	probeInterval = time.Second
)

// clusterSlots is how many slots a Redis Cluster has.
const clusterSlots = 1 << 14

// clusterSlot is the slot of a key of ours: CRC-16/XMODEM of what stands between
// its braces (Redis Cluster specification, "Key distribution model").
func clusterSlot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if tag, _, ok := strings.Cut(key[open+1:], "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % clusterSlots
}

// The places of parts in a stored entry. See "The stored format" in envelope.go.
const (
	flagsAt    = 5
	codecAt    = 6
	storedAtAt = 8
	costAt     = 16
	idAt       = 24
	bodyAt     = 32
)

// storedAt returns when an entry was stored, in milliseconds.
func storedAt(entry string) int64 {
	return int64(binary.BigEndian.Uint64([]byte(entry[storedAtAt:costAt])))
}

// entryOf returns an entry in CBOR that cost nothing.
func entryOf(storedAt int64, id uint64, body []byte) string {
	e := append([]byte("\xf5fnc\x01\x00\x01\x00"), make([]byte, bodyAt-storedAtAt)...)
	binary.BigEndian.PutUint64(e[storedAtAt:], uint64(storedAt))
	binary.BigEndian.PutUint64(e[idAt:], id)
	return string(append(e, body...))
}

// eventsOf returns the channel of the events of f.
func eventsOf(f *Func) string { return "fncache:events:" + f.Name() }

// tagOf returns a tag as it stands in Redis.
func tagOf(c *Cache, tag string) fence.Tag { return fence.TagOf(operate.Of(c).Hashing(), tag) }

// stringFunc is the function most tests cache.
type stringFunc = func(context.Context, string) (int, error)

// wrapped is a process's own cached view of a source.
type wrapped struct {
	*Func
	call stringFunc
}

// wrap caches s in c. Equal names share entries, as in a fleet: one test is several
// processes.
func wrap(t testing.TB, c *Cache, s *source, opts Options) *wrapped {
	t.Helper()
	w := &wrapped{call: s.call}
	opts.Cache, opts.Shared = c, true
	if opts.Name == "" {
		opts.Name = "test.Source"
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	f, err := wrapString(t, &w.call, opts)
	require.NoError(t, err)
	if c == nil { // no Close frees the name, and the next test may bound it otherwise
		t.Cleanup(f.Unwrap)
	}
	w.Func = f
	return w
}

// outcome is how one call ended.
type outcome struct {
	value  int
	err    error
	panic  any
	source Source
	age    time.Duration
	took   time.Duration
}

// get calls and tells how it ended.
func (w *wrapped) get(ctx context.Context, arg string) (o outcome) {
	var info Info
	began := time.Now()
	defer func() {
		o.panic = recover()
		o.source, o.age, o.took = info.Source, info.Age, time.Since(began)
	}()
	o.value, o.err = w.call(WithInfo(ctx, &info), arg)
	return o
}

// burst makes n calls at once and gives their ends.
func (w *wrapped) burst(ctx context.Context, n int, arg string) []outcome {
	ends := make([]outcome, n)
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() { ends[i] = w.get(ctx, arg) })
	}
	wg.Wait()
	return ends
}

// begin calls in the background; the outcome comes by the channel.
func (w *wrapped) begin(ctx context.Context, arg string) <-chan outcome {
	end := make(chan outcome, 1)
	go func() { end <- w.get(ctx, arg) }()
	return end
}

// bySource counts outcomes.
func bySource(ends []outcome) map[Source]int {
	counts := make(map[Source]int)
	for _, o := range ends {
		counts[o.source]++
	}
	return counts
}

// requireIdentity checks that every call was counted once.
func requireIdentity(t testing.TB, f *Func) Stats {
	t.Helper()
	s := f.Stats()
	require.Equal(t, s.Calls, s.Fresh+s.Stale+s.Computed+s.Waited+s.Refused+s.Bypassed+s.Failed+s.Near, "%+v", s)
	return s
}

// tap is a go-redis hook that knows the verbs of the protocol, counts them, and
// lets a test act before a command is sent or after its reply has come.
type tap struct {
	mu     sync.Mutex // guards the fields below
	counts map[string]int
	before map[string]func()
	after  map[string]func(redis.Cmder)
	broken error            // what every command fails with, nil if none
	gate   chan struct{}    // what every command hangs on, nil if none
	refuse map[string]error // what a verb fails with
}

// replyError is an error that the server answers.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

func newTap() *tap {
	return &tap{counts: map[string]int{}, before: map[string]func(){}, after: map[string]func(redis.Cmder){}, refuse: map[string]error{}}
}

// scripts are those of the protocol, by their verbs.
var scripts = func() map[string]*redis.Script {
	all := map[string]*redis.Script{"fence": redis.NewScript(fence.ReadLua), "tags": redis.NewScript(fence.InvalidateLua)}
	files, _ := filepath.Glob("lock_*.lua")
	for _, file := range files {
		source, _ := os.ReadFile(file)
		all[strings.TrimSuffix(strings.TrimPrefix(file, "lock_"), ".lua")] = redis.NewScript(string(source))
	}
	return all
}()

// verbOfScript has the verb of each script, by its hash.
var verbOfScript = func() map[string]string {
	verbs := make(map[string]string)
	for verb, script := range scripts {
		verbs[script.Hash()] = verb
	}
	return verbs
}()

// verbOf names a command: a verb of the protocol, or the Redis command.
func verbOf(cmd redis.Cmder) string {
	name := strings.ToLower(cmd.Name())
	if name == "evalsha" || name == "eval" {
		script, _ := cmd.Args()[1].(string)
		if name == "eval" {
			script = redis.NewScript(script).Hash()
		}
		return verbOfScript[script]
	}
	return name
}

// on acts before the next command of that verb is sent, once.
func (t *tap) on(verb string, do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before[verb] = do
}

// onReply acts after the next successful command of that verb, once, before the
// client sees the reply.
func (t *tap) onReply(verb string, do func(redis.Cmder)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after[verb] = do
}

func (t *tap) set(change func(*tap)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t)
}

func (t *tap) count(verb string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[verb]
}

func (t *tap) total() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for verb, count := range t.counts {
		if verb != "hello" && verb != "client" {
			n += count
		}
	}
	return n
}

func (t *tap) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.counts)
}

// fault hangs or fails a command as the test has asked.
func (t *tap) fault(ctx context.Context, cmd redis.Cmder, verb string) error {
	t.mu.Lock()
	gate, broken, refused := t.gate, t.broken, t.refuse[verb]
	t.mu.Unlock()
	if gate != nil {
		if err := hang(ctx, cmd, gate); err != nil {
			return err
		}
	}
	if broken != nil {
		return broken
	}
	if refused == context.DeadlineExceeded { //nolint:errorlint // the test's own: no answer comes
		write(cmd)
	}
	return refused
}

// write does what writing a command to a socket does to its words.
func write(cmd redis.Cmder) {
	for _, arg := range cmd.Args() {
		if arg, ok := arg.(encoding.BinaryMarshaler); ok {
			_, _ = arg.MarshalBinary()
		}
	}
}

// hang is a command that is written to a socket, on which no answer comes until the gate is
// opened, or the deadline of the socket is over.
func hang(ctx context.Context, cmd redis.Cmder, gate <-chan struct{}) error {
	write(cmd)
	var over <-chan time.Time
	if end, ok := ctx.Deadline(); ok {
		over = time.After(time.Until(end))
	}
	select {
	case <-gate:
		return nil
	case <-over:
		return &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	}
}

func (t *tap) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t *tap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if err := t.sending(ctx, cmd); err != nil {
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			t.replied(cmd, cmd.Err())
		}
		return err
	}
}

func (t *tap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := t.sending(ctx, cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		err := next(ctx, cmd)
		if t.replied(cmd, err) {
			return cmd.Err()
		}
		return err
	}
}

// sending counts a command and does what the test has asked for before it.
func (t *tap) sending(ctx context.Context, cmd redis.Cmder) error {
	verb := verbOf(cmd)
	t.mu.Lock()
	t.counts[verb]++
	before := t.before[verb]
	delete(t.before, verb)
	t.mu.Unlock()
	if before != nil {
		before()
	}
	return t.fault(ctx, cmd, verb)
}

// replied does what the test has asked for after the command's reply, if there
// is such a thing.
func (t *tap) replied(cmd redis.Cmder, err error) bool {
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return false
	}
	verb := verbOf(cmd)
	t.mu.Lock()
	after := t.after[verb]
	delete(t.after, verb)
	t.mu.Unlock()
	if after != nil {
		after(cmd)
	}
	return after != nil
}
