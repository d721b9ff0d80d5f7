package faults

import (
	"context"
	"crypto/sha1" // how Redis names scripts
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// A watch records all runs of the function, all commands of the fleet to Redis, and their
// replies. The whole fleet is in one operating system process, so there is one clock and one
// order of events.
//
// Runs of a key are numbered as they begin. The numbers of stored entries increase, because a run
// begins after its lease was granted, and a lease is granted when the one before has stored or can
// no longer store. So once a lookup has returned a number, no later lookup may return a smaller
// one: see confirm.
type watch struct {
	verbs map[string]string // by the name that Redis gives a script
	keys  map[string]string // the fleet's own keys, by those in Redis
	// errors returns how many failed operations a process has counted.
	errors func(process int) uint64

	mu            sync.Mutex // guards the fields below
	runs          []*run
	perKey        map[string]int          // runs begun
	grants        map[int64]*grant        // the last run, by its call
	steps         map[string]time.Time    // by token: when the last step of the lease was sent
	stores        map[place]int           // that the server has confirmed
	confirmed     map[string][]confirmed  // by key, in order
	invalidations []confirmed             // the same for the invalidating process
	era           int                     // see forget
	losses        []loss                  // see losing
	refusals      map[int64]refusal       // by call
	timed         time.Time               // see timeLookups
	lookups       map[int][]time.Duration // how long they took since then, by process
	broken        []string                // violations
	judged        int                     // how many entries were compared with a least number
}

// A place is one key in one process.
type place struct {
	process int
	key     string
}

// A run is one run of the function.
type run struct {
	place
	number int
	began  time.Time
	ended  time.Time // zero while it runs
	grant  *grant    // nil: without a lease
}

// A grant is a lease that the server has granted, and whose process received the reply in time.
type grant struct {
	token string
	sent  time.Time // when the acquire was sent
}

// A refusal is an answer of acquire that another caller has the lease.
type refusal struct{ errors uint64 } // of the process, when it asked

// A loss is a time in which Redis may lose leases that it has granted. to is zero while it lasts.
type loss struct{ from, to time.Time }

// A confirmed is the least number that lookups sent after a time may return.
type confirmed struct {
	at     time.Time
	number int
}

func newWatch(t *testing.T) *watch {
	t.Helper()
	w := &watch{
		verbs: map[string]string{}, keys: map[string]string{},
		perKey: map[string]int{}, grants: map[int64]*grant{}, steps: map[string]time.Time{},
		stores: map[place]int{}, confirmed: map[string][]confirmed{}, refusals: map[int64]refusal{},
		lookups: map[int][]time.Duration{}, errors: func(int) uint64 { return 0 },
	}
	scripts, err := filepath.Glob("../lock_*.lua")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		sum := sha1.Sum(source)
		w.verbs[hex.EncodeToString(sum[:])] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "lock_"), ".lua")
	}
	return w
}

// callKey is the context key of the number of a call. A computation and the commands for it have
// the context values of their call.
type callKey struct{}

func callOf(ctx context.Context) int64 {
	call, _ := ctx.Value(callKey{}).(int64)
	return call
}

// run is the cached function: its value names the key and the run. Some runs are long, so that
// others can begin meanwhile.
func (w *watch) run(ctx context.Context, process int, key string) (string, error) {
	w.mu.Lock()
	w.perKey[key]++
	r := &run{place: place{process, key}, number: w.perKey[key], began: time.Now(), grant: w.grants[callOf(ctx)]}
	delete(w.grants, callOf(ctx)) // a lease is for one run
	w.runs = append(w.runs, r)
	if refused, ok := w.refusals[callOf(ctx)]; ok && r.grant == nil && refused.errors == w.errors(process) {
		w.broken = append(w.broken, fmt.Sprintf("process %d, key %s: run %d although another caller had the lease and Redis was healthy", process, key, r.number))
	}
	w.mu.Unlock()
	time.Sleep(r.takes()) // the work
	w.mu.Lock()
	r.ended = time.Now()
	w.mu.Unlock()
	return fmt.Sprintf("%s#%d", key, r.number), nil
}

func (r *run) takes() time.Duration {
	if r.number%4 == 0 {
		return longRuns
	}
	return shortRuns
}

// soFar returns how often the function has run for each key.
func (w *watch) soFar() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	so := make(map[string]int)
	for key, n := range w.perKey {
		so[key] = n
	}
	return so
}

// valueText matches the value of the function in an entry, after the header.
var valueText = regexp.MustCompile(`([a-z])#(\d+)`)

const headerLen = 32

// numberIn returns the run of an entry; 0 if it is not an entry of the fleet.
func numberIn(raw string) int {
	if len(raw) <= headerLen {
		return 0
	}
	parts := valueText.FindStringSubmatch(raw[headerLen:])
	if parts == nil {
		return 0
	}
	number, _ := strconv.Atoi(parts[2])
	return number
}

// confirm records that lookups of a key from now on return this run or a later one. w.mu is
// held.
func (w *watch) confirm(key string, number int) {
	if number > w.least(key, time.Now()) {
		w.confirmed[key] = append(w.confirmed[key], confirmed{time.Now(), number})
	}
}

// least is like leastOf, for the confirmed runs of a key. w.mu is held.
func (w *watch) least(key string, until time.Time) int {
	return leastOf(w.confirmed[key], until)
}

// leastOf returns the greatest number that was confirmed up to a time.
func leastOf(all []confirmed, until time.Time) int {
	for i := len(all) - 1; i >= 0; i-- {
		if !all[i].at.After(until) {
			return all[i].number
		}
	}
	return 0
}

// invalidating records that a key is about to be invalidated; done records that it is invalidated.
// Then all runs that had begun when invalidating was called are outdated.
func (w *watch) invalidating(key string) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	era, least := w.era, w.perKey[key]+1
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if era != w.era {
			return
		}
		w.confirm(key, least)
		w.invalidations = append(w.invalidations, confirmed{time.Now(), least})
	}
}

// forget is called for faults in which Redis may lose confirmed writes: a failover, because
// replication is asynchronous, and the loading of an older data set. Later lookups are judged only
// by runs that are confirmed later.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.era++
	clear(w.confirmed)
	w.invalidations = nil
}

// losing is called for faults in which Redis may lose leases that it granted before done.
func (w *watch) losing() (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.losses)
	w.losses = append(w.losses, loss{from: time.Now()})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.losses[n].to = time.Now()
	}
}

// timeLookups forgets the times of all lookups that were sent until now.
func (w *watch) timeLookups() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timed = time.Now()
	clear(w.lookups)
}

// usualLookup returns the median time of a process's lookups that were sent after timeLookups
// and answered with an entry; 0 if they are few. The delays of single lookups on a busy machine
// do not affect it.
func (w *watch) usualLookup(process int) time.Duration {
	const few = 10
	w.mu.Lock()
	defer w.mu.Unlock()
	took := w.lookups[process]
	if len(took) < few {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// A sending is a command on its way to Redis.
type sending struct {
	at    time.Time
	verb  string
	place place
	token string // of the last step of a lease
	store int    // the run whose value is stored
	least int    // the oldest run that the answer may have
	era   int
	errs  uint64 // the errors that the process had counted
}

// sending records a command of a process. ok is false if the command does not concern an entry.
func (w *watch) sending(process int, cmd redis.Cmder) (s sending, ok bool) {
	args := cmd.Args()
	var key string
	switch name := strings.ToLower(cmd.Name()); {
	case name == "get" && len(args) == 2:
		s.verb, key = name, text(args[1])
	case name == "evalsha" || name == "eval":
		digest := text(args[1])
		if name == "eval" {
			sum := sha1.Sum([]byte(digest))
			digest = hex.EncodeToString(sum[:])
		}
		s.verb = w.verbs[digest]
		keys, _ := strconv.Atoi(text(args[2]))
		if s.verb == "" || keys < 1 || len(args) < 3+keys {
			return sending{}, false
		}
		key = strings.TrimSuffix(text(args[3]), ":lock")
		switch rest := args[3+keys:]; s.verb {
		case "store":
			s.token, s.store = text(rest[0]), numberIn(text(rest[1]))
		case "release", "cooldown":
			s.token = text(rest[0])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if key = w.keys[key]; key == "" {
		return sending{}, false
	}
	s.at, s.place, s.era, s.least = time.Now(), place{process, key}, w.era, w.least(key, time.Now())
	if s.verb == "acquire" {
		s.errs = w.errors(process)
	}
	if token := baseToken(s.token); token != "" && w.steps[token].IsZero() {
		w.steps[token] = s.at
	}
	return s, true
}

// heard records a reply of Redis.
func (w *watch) heard(ctx context.Context, s sending, cmd redis.Cmder) {
	if cmd.Err() != nil {
		return
	}
	call := callOf(redistest.Caller(ctx, cmd))
	w.mu.Lock()
	defer w.mu.Unlock()
	switch cmd := redistest.Inner(cmd).(type) {
	case *redis.StringCmd:
		w.sawRun(s, numberIn(cmd.Val()))
		if took := time.Since(s.at); !s.at.Before(w.timed) {
			w.lookups[s.place.process] = append(w.lookups[s.place.process], took)
		}
	case *redis.Cmd:
		parts, _ := cmd.Val().([]any)
		if s.verb == "store" && len(parts) == 2 && text(parts[0]) == "held" {
			w.stores[s.place]++
			w.sawRun(s, s.store)
		}
		if s.verb == "acquire" && len(parts) >= 2 {
			w.answered(ctx, call, s, parts)
		}
	}
}

// answered records the result of an acquire. w.mu is held.
func (w *watch) answered(ctx context.Context, call int64, s sending, parts []any) {
	// The context of an operation ends when no caller waits for the answer.
	inTime := ctx.Err() == nil
	delete(w.refusals, call)
	switch status := text(parts[0]); {
	case status == "acquired" && len(parts) == 3 && inTime:
		w.grants[call] = &grant{token: baseToken(text(parts[2])), sent: s.at}
	case status == "held" && inTime:
		w.refusals[call] = refusal{s.errs}
	case status == "changed":
		w.sawRun(s, numberIn(text(parts[1])))
	}
}

// sawRun judges the run of an entry, and records it as confirmed. w.mu is held.
func (w *watch) sawRun(s sending, number int) {
	if number == 0 || s.era != w.era {
		return
	}
	if s.least > 0 {
		w.judged++
	}
	if number < s.least {
		w.broken = append(w.broken, fmt.Sprintf("process %d, key %s: %s returned run %d, but was sent after run %d was seen or all earlier runs were invalidated",
			s.place.process, s.place.key, s.verb, number, s.least))
	}
	w.confirm(s.place.key, number)
}

// baseToken returns a token without the number of its sending.
func baseToken(token string) string {
	base, _, _ := strings.Cut(token, ".")
	return base
}

func text(arg any) string {
	switch arg := arg.(type) {
	case nil:
		return ""
	case string:
		return arg
	case []byte:
		return string(arg)
	default:
		return fmt.Sprint(arg)
	}
}

// A tap is a go-redis hook that passes one process's commands to the watch.
type tap struct {
	*watch
	process int
}

var _ redis.Hook = tap{}

// DialHook implements redis.Hook.
func (t tap) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (t tap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s, ours := t.sending(t.process, cmd)
		err := next(ctx, cmd)
		if ours {
			t.heard(ctx, s, cmd)
		}
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (t tap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		sent := make([]sending, len(cmds))
		ours := make([]bool, len(cmds))
		for i, cmd := range cmds {
			sent[i], ours[i] = t.sending(t.process, cmd)
		}
		err := next(ctx, cmds)
		for i, cmd := range cmds {
			if ours[i] {
				t.heard(ctx, sent[i], cmd)
			}
		}
		return err
	}
}
