package remote

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	bubbletest.Run(t, func(t *testing.T) { // in which the watchdog does not act while the test runs
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
	})
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

// A lateHook keeps commands of the remote from being written until it is opened.
type lateHook struct{ open chan struct{} }

func (h *lateHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *lateHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if _, ours := cmd.(*wire); ours {
			<-h.open
		}
		return next(context.WithoutCancel(ctx), cmd) // a connection is already there, and go-redis does not look at ctx again
	}
}

func (h *lateHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		<-h.open
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// sendTogether sends commands in one flight, and returns when it is blocked.
func sendTogether(t *testing.T, n *node, cmds ...*Command) {
	t.Helper()
	seat, restore := queued(t, n, t.Context(), cmds...)
	n.mu.Lock()
	f := n.boardNext(&n.small, seat)
	f.led, f.batch[0].leads = false, nil
	n.serve(f)
	n.mu.Unlock()
	restore()
	synctest.Wait()
}

// heeding lets the client be used as it is, with its hooks.
func heeding(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true }

// 1. go-redis has a connection for commands, and this process does not get the processor.
// 2. The node goes away, or the Remote is closed: the commands are done, as not sent.
// 3. go-redis writes them.
//
// An acquire that is written then would be granted a lease that nobody gives back.
func TestCommandsThatWereReportedAsNotSentAreNotSent(t *testing.T) {
	for name, end := range map[string]func(r *Remote){
		"the node goes away": func(r *Remote) {
			r.only.mu.Lock()
			defer r.only.mu.Unlock()
			r.only.goAway(r.only.trouble(Reads, KindTimeout, errSilent), true, true, true)
		},
		"the node goes away for writes": func(r *Remote) {
			r.only.mu.Lock()
			defer r.only.mu.Unlock()
			r.only.goAway(r.only.trouble(Writes, KindTimeout, errSilent), false, true, true)
		},
		"closed": func(r *Remote) { r.Close() },
	} {
		for _, writes := range []int{1, 3} {
			t.Run(fmt.Sprint(name, ", ", writes, " writes"), func(t *testing.T) {
				bubbletest.Run(t, func(t *testing.T) {
					var ran atomic.Int32
					s := &scripted{answer: func(conn int, cmd []string) string {
						if cmd[len(cmd)-1] == "acquire" {
							ran.Add(1)
						}
						return values(conn, cmd)
					}}
					r := s.remote(t, heeding)
					_, err, _ := get(t.Context(), r, "warm")
					require.NoError(t, err)
					hook := &lateHook{make(chan struct{})}
					r.client.AddHook(hook)
					cmds := make([]*Command, writes)
					for i := range cmds {
						cmds[i] = Eval("acquire", Writes, NewScript("return 1"), []string{fmt.Sprint("k", i)}, []any{"acquire"}, Limits{})
					}
					sendTogether(t, r.only, cmds...)
					end(r)
					for _, c := range cmds {
						var failure *Error
						require.ErrorAs(t, c.await(t.Context()), &failure)
						require.False(t, failure.MayHaveRun)
					}
					close(hook.open)
					synctest.Wait()
					require.Zero(t, ran.Load())
					unoccupied(t, r)
				})
			})
		}
	}
}

// 1. The server hangs: it does not answer a command.
// 2. Another command needs a new connection, and waits for the answer to HELLO.
// 3. The node goes away: the second command is done, as not sent.
// 4. The server continues, and answers the HELLO in time. go-redis writes the second command.
func TestACommandThatWaitedForAConnectionIsNotSentWhenTheServerContinues(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var ran atomic.Int32
		var hangs atomic.Bool
		continues := make(chan struct{})
		wait := func() {
			if hangs.Load() {
				<-continues
			}
		}
		s := &scripted{greet: wait, answer: func(conn int, cmd []string) string {
			if cmd[len(cmd)-1] == "acquire" {
				ran.Add(1)
			}
			wait()
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		_, err, _ := get(t.Context(), r, "warm")
		require.NoError(t, err)
		hangs.Store(true)
		go func() { _, _, _ = get(t.Context(), r, "silent") }()
		time.Sleep(r.timeout / 2) // of the bubble: HELLO is answered before its own timeout
		err = r.Do(t.Context(), Eval("acquire", Writes, NewScript("return 1"), []string{"k"}, []any{"acquire"}, Limits{Stay: true}))
		var failure *Error
		require.ErrorAs(t, err, &failure)
		require.False(t, failure.MayHaveRun)
		hangs.Store(false)
		close(continues)
		synctest.Wait()
		require.Zero(t, ran.Load())
		time.Sleep(time.Minute) // of the bubble: go-redis gives up what it dialed
		unoccupied(t, r)
	})
}

// A read that is left in the flight takes the writes with it, so they may run.
func TestAWriteWhoseFlightContinuesForItsReadsMayRun(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		r := (&scripted{answer: values}).remote(t, heeding)
		_, err, _ := get(t.Context(), r, "warm")
		require.NoError(t, err)
		hook := &lateHook{make(chan struct{})}
		r.client.AddHook(hook)
		read, acquire := Get("lookup", "k", Limits{}), Eval("acquire", Writes, NewScript("return 1"), []string{"k"}, nil, Limits{})
		sendTogether(t, r.only, read, acquire)
		r.only.mu.Lock()
		r.only.goAway(r.only.trouble(Writes, KindTimeout, errSilent), false, true, true)
		r.only.mu.Unlock()
		var failure *Error
		require.ErrorAs(t, acquire.await(t.Context()), &failure)
		require.True(t, failure.MayHaveRun)
		close(hook.open)
		require.NoError(t, read.await(t.Context()))
		unoccupied(t, r)
	})
}
