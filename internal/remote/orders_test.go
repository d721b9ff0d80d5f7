package remote

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/bubbletest"
	"github.com/fncache/fncache/internal/redistest"
)

// Orders of events that are rare, and that a busy process meets all the same.

// queued begins commands that find no seat free, and returns one that was taken, and how
// to give the others back. They are small.
func queued(t *testing.T, n *node, ctx context.Context, cmds ...*Command) (taken *seat, restore func()) { //nolint:revive // as get
	t.Helper()
	n.mu.Lock()
	taken = n.small.seat()
	others := append([]*seat{}, n.small.free...)
	n.small.free = n.small.free[:0]
	n.mu.Unlock()
	for _, c := range cmds {
		f, err := n.begin(ctx, c, false)
		require.Nil(t, f)
		require.NoError(t, err)
	}
	return taken, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.small.free = append(n.small.free, others...)
	}
}

// 1. A caller is woken to lead, and is not given the processor.
// 2. Its context ends, and the watchdog sees that nobody is to wait for a connection.
// 3. The caller is given the processor.
func TestFlightThatIsEndedBeforeItBeginsIsSentByOthers(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		r := (&scripted{answer: values}).remote(t, nil)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		n := r.only
		ctx, end := context.WithCancel(t.Context())
		first := Get("lookup", "k1", Limits{})
		others := []*Command{Get("lookup", "k2", Limits{}), Eval("store", Writes, NewScript("return 1"), []string{"k3"}, nil, Limits{})}
		seat, restore := queued(t, n, ctx, append([]*Command{first}, others...)...)
		n.mu.Lock()
		f := n.boardNext(&n.small, seat)
		n.mu.Unlock()
		restore()
		require.True(t, f.led)
		end()
		time.Sleep(3 * r.tick)
		require.Error(t, f.Err())
		require.False(t, n.lead(f))
		require.ErrorIs(t, first.await(ctx), context.Canceled)
		for _, c := range others {
			require.NoError(t, c.await(t.Context()))
		}
		require.Equal(t, "value of k2", string(others[0].Raw()))
		unoccupied(t, r)
	})
}

// 1. A flight lands, and a caller is to lead the next one.
// 2. The node goes away, and that caller's command is done: it returns.
// 3. The caller is told that it is to lead. Its channel is another's by then.
func TestCallerIsToldThatItLeadsBeforeItCanLeave(t *testing.T) {
	s := &scripted{answer: func(int, []string) string { return "-MOVED 1 10.0.0.2:6379\r\n" }}
	r := s.remote(t, nil)
	n := r.only
	r.whole = newNode(r, r.client)
	moved, leader := Get("lookup", "k1", Limits{}), Get("lookup", "k2", Limits{})
	seat, restore := queued(t, n, t.Context(), moved)
	n.mu.Lock()
	f := n.boardNext(&n.small, seat)
	n.calm = true
	n.mu.Unlock()
	_, err := n.begin(t.Context(), leader, false)
	require.NoError(t, err)
	restore()
	r.whole.mu.Lock() // keeps the goroutine that lands from going on
	landed := make(chan struct{})
	go func() {
		defer close(landed)
		f.travel(true)
	}()
	for led := false; !led; runtime.Gosched() {
		n.mu.Lock()
		led = leader.leads != nil
		n.mu.Unlock()
	}
	n.mu.Lock()
	n.goAway(n.trouble(Reads, KindTimeout, errSilent), true, true, true)
	n.mu.Unlock()
	require.Equal(t, KindTimeout, kind(t, leader.await(t.Context())))
	r.whole.mu.Unlock()
	<-landed
	require.Empty(t, leader.ready)
}

// A read that its connection breaks after its flight has lost the seat, while nothing else
// is asked of the node.
func TestReadThatBreaksWithoutASeatIsSentAgain(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var broken atomic.Bool
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[1] == "stuck" && broken.CompareAndSwap(false, true) {
				time.Sleep(time.Second)
				return "close"
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, func(o *redis.Options, cfg *Config) {
			o.ReadTimeout = time.Hour
			cfg.Client = struct{ redis.UniversalClient }{redis.NewClient(o)}
		})
		t.Cleanup(func() { _ = r.client.Close() })
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		value, err, took := get(ctx, r, "stuck")
		require.NoError(t, err)
		require.Equal(t, "value of stuck", value)
		require.Less(t, took, 2*time.Second)
		unoccupied(t, r)
	})
}

// 1. A command is sent, and its connection breaks.
// 2. It is queued, to be sent again.
// 3. Its caller leaves.
func TestCommandThatIsWithdrawnAfterItWasSentMayHaveRun(t *testing.T) {
	for _, limit := range []Limits{{}, {Stay: true}} {
		t.Run(fmt.Sprintf("%+v", limit), func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				s := &scripted{answer: func(conn int, cmd []string) string {
					switch cmd[len(cmd)-1] {
					case "acquire":
						time.Sleep(10 * time.Millisecond)
						return "close"
					case "release":
						time.Sleep(50 * time.Millisecond)
					}
					return values(conn, cmd)
				}}
				r := s.remote(t, nil)
				n := r.only
				n.small.alone, n.small.seats = true, 1
				n.small.reset()
				script := NewScript("return 1")
				ctx, end := context.WithCancel(t.Context())
				defer end()
				time.AfterFunc(5*time.Millisecond, func() {
					_ = r.Do(t.Context(), Eval("release", Writes, script, []string{"k"}, []any{"release"}, Limits{Urgent: true}))
				})
				time.AfterFunc(30*time.Millisecond, end)
				err := r.Do(ctx, Eval("acquire", Writes, script, []string{"k"}, []any{"acquire"}, limit))
				require.ErrorIs(t, err, context.Canceled)
				var failure *Error
				require.ErrorAs(t, err, &failure)
				require.True(t, failure.MayHaveRun)
				require.Equal(t, KindUnreachable, failure.Kind)
				time.Sleep(time.Second)
			})
		})
	}
}

// A shortHook answers commands itself.
type shortHook struct{ err error }

func (h *shortHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *shortHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if _, ours := cmd.(*wire); !ours {
			return next(ctx, cmd)
		}
		time.Sleep(time.Millisecond) // others gather
		return h.err
	}
}

func (h *shortHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if _, ours := cmds[0].(*wire); !ours {
			return next(ctx, cmds)
		}
		return h.err
	}
}

type typedError struct{ text string }

func (e *typedError) Error() string { return e.text }

func TestHookThatSendsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		kind Kind
	}{
		"an error":                  {errors.New("rate limit"), KindUnreachable},
		"a nil pointer as an error": {(*typedError)(nil), KindOther},
	} {
		for _, callers := range []int{1, 50} {
			t.Run(fmt.Sprint(name, callers), func(t *testing.T) {
				bubbletest.Run(t, func(t *testing.T) {
					r := (&scripted{answer: values}).remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
					r.client.AddHook(&shortHook{test.err})
					many(callers, func(i int) {
						value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
						require.Equal(t, test.kind, kind(t, err), "%q", value)
					})
				})
			})
		}
	}
	t.Run("no error, of a pipeline", func(t *testing.T) {
		bubbletest.Run(t, func(t *testing.T) {
			r := (&scripted{answer: values}).remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
			r.client.AddHook(&shortHook{})
			var failed atomic.Int64
			many(50, func(i int) {
				if _, err, _ := get(t.Context(), r, fmt.Sprint("k", i)); err != nil {
					require.Equal(t, KindOther, kind(t, err))
					failed.Add(1)
				}
			})
			require.GreaterOrEqual(t, failed.Load(), int64(50-smallSeats))
		})
	})
}

func TestHookThatEndsGoroutinesEndsFewCallers(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		r := (&scripted{answer: values}).remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
		hook, wrong := &wrongHook{}, runtime.Goexit
		r.client.AddHook(hook)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		hook.after.Store(&wrong)
		var returned atomic.Int64
		for i := range 10 {
			many(10, func(int) {
				_, _, _ = get(t.Context(), r, fmt.Sprint("k", i))
				returned.Add(1)
			})
		}
		require.GreaterOrEqual(t, returned.Load(), int64(100-smallSeats))
		unoccupied(t, r)
	})
}

// A hit costs no more where two callers travel together than where each travels alone.
func TestAPipelineAllocatesNoMoreThanItsCommandsAlone(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Addr()}) // with no hook of the test's own
	t.Cleanup(func() { _ = client.Close() })
	r, ctx := on(t, client, ample), t.Context()
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	n, l := r.only, &r.only.small
	const runs = 100
	alone := testing.AllocsPerRun(runs, func() { _ = r.Do(ctx, Get("lookup", "k", Limits{})) })
	for _, size := range []int{2, 3, 16} {
		cmds := make([]*Command, size)
		together := testing.AllocsPerRun(runs, func() {
			n.mu.Lock()
			for i := range cmds {
				cmds[i] = Get("lookup", "k", Limits{})
				cmds[i].ctx = ctx
				cmds[i].node.Store(n)
				l.push(cmds[i])
			}
			f := n.boardNext(l, l.seat())
			n.mu.Unlock()
			f.travel(false)
		})
		for _, c := range cmds {
			require.NoError(t, c.result())
		}
		assert.LessOrEqual(t, together, float64(size)*alone, "%d commands", size)
	}
}
