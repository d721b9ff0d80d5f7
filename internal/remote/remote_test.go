package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/bubbletest"
)

// get asks for a key, and returns the value, with the kind of error and the time that
// took.
func get(ctx context.Context, r *Remote, key string) (value string, err error, took time.Duration) { //nolint:staticcheck // tests read it in this order
	began := time.Now()
	c := Get("lookup", key, Limits{})
	if err = r.Do(ctx, c); err == nil {
		value = string(c.Raw())
	}
	return value, err, time.Since(began)
}

func kind(t *testing.T, err error) Kind {
	t.Helper()
	var failure *Error
	require.ErrorAs(t, err, &failure)
	return failure.Kind
}

// many runs f for each of n callers, and waits for all.
func many(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// unoccupied checks that nothing is left in the lanes.
func unoccupied(t *testing.T, r *Remote) {
	t.Helper()
	time.Sleep(10 * time.Second) // questions of the watchdog end
	synctest.Wait()
	n := r.only
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range []*lane{&n.small, &n.large} {
		require.Len(t, l.free, map[bool]int{false: smallSeats, true: largeSeats}[l.large])
		require.Nil(t, l.first)
		require.Nil(t, l.last)
		require.Zero(t, l.queued)
	}
	require.Empty(t, n.flights)
}

func values(_ int, cmd []string) string {
	if cmd[0] == "time" {
		return "*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
	}
	return bulk("value of " + cmd[1])
}

func TestCommandsThatComeMeanwhileGoTogether(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if len(cmd[1]) == 2 && cmd[1] < "k4" {
				time.Sleep(5 * time.Millisecond)
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		many(smallSeats+20, func(i int) {
			time.Sleep(time.Duration(i) * time.Microsecond)
			value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("value of k", i), value)
		})
		require.Equal(t, smallSeats, s.conns)
		arrived := map[int]int{}
		for _, cmd := range s.asked()[smallSeats:] {
			arrived[cmd.conn]++
		}
		require.Len(t, arrived, 1, "20 commands in one pipeline")
		unoccupied(t, r)
	})
}

// emptied is a Remote whose pool somebody else's command holds until release is called.
// It runs in real time: go-redis shares timers of its pools between bubbles.
func emptied(t *testing.T, change func(*redis.Options)) (s *scripted, r *Remote, busy <-chan Event, release func()) {
	told, held := make(chan Event, 100), make(chan struct{})
	begun := make(chan struct{})
	s = &scripted{answer: func(conn int, cmd []string) string {
		if cmd[0] == "blpop" {
			close(begun)
			<-held
			return null
		}
		return values(conn, cmd)
	}}
	r = s.remote(t, func(o *redis.Options, cfg *Config) {
		change(o)
		cfg.Timeout = 20 * time.Millisecond
		cfg.Notice = func(e Event) { told <- e }
	})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	go r.client.BLPop(context.Background(), time.Minute, "others")
	<-begun
	return s, r, told, release
}

func TestPoolThatOthersHoldIsWaitedFor(t *testing.T) {
	for name, change := range map[string]func(*redis.Options){
		"PoolSize":       func(o *redis.Options) { o.PoolSize, o.PoolTimeout = 1, 300*time.Millisecond },
		"and no timeout": func(o *redis.Options) { o.PoolSize, o.PoolTimeout = 1, time.Hour },
		"MaxActiveConns": func(o *redis.Options) { o.PoolSize, o.MaxActiveConns = 4, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s, r, told, release := emptied(t, change)
			go func() {
				e := <-told
				require.Equal(t, KindBusyHere, e.Kind)
				require.False(t, e.Away)
				release()
			}()
			many(50, func(i int) {
				_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
				require.NoError(t, err)
			})
			require.Empty(t, told)
			require.Equal(t, 1, s.conns, "opens nothing")
		})
	}
}

func TestWhoGivesUpWhileThePoolIsFullIsToldSo(t *testing.T) {
	_, r, told, _ := emptied(t, func(o *redis.Options) { o.PoolSize = 1 })
	ctx, end := context.WithCancel(t.Context())
	go func() {
		<-told
		end()
	}()
	many(20, func(i int) {
		_, err, _ := get(ctx, r, fmt.Sprint("k", i))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, KindBusyHere, kind(t, err))
	})
	r.only.mu.Lock()
	defer r.only.mu.Unlock()
	require.Zero(t, r.only.small.queued)
}

// hanging is a server that answers until it is told to hang.
func hanging(hangs *atomic.Bool) *scripted {
	return &scripted{answer: func(conn int, cmd []string) string {
		for hangs.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		return values(conn, cmd)
	}}
}

func TestNodeThatHangsIsAway(t *testing.T) {
	for name, calm := range map[string]bool{"calm": true, "at first": false} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var hangs atomic.Bool
				var told notices
				s := hanging(&hangs)
				r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Notice = told.take })
				if calm {
					_, err, _ := get(t.Context(), r, "k")
					require.NoError(t, err)
				}
				hangs.Store(true)
				many(100, func(i int) {
					_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
					require.Contains(t, []Kind{KindTimeout, KindUnreachable}, kind(t, err))
					require.GreaterOrEqual(t, took, r.timeout)
					require.LessOrEqual(t, took, 2*r.timeout)
				})
				_, err, took := get(t.Context(), r, "k")
				require.ErrorIs(t, err, errNotAsked)
				require.Zero(t, took)
				health := r.Health()
				require.Len(t, health, 1)
				require.True(t, health[0].Away)
				require.Error(t, health[0].Why)

				hangs.Store(false)
				time.Sleep(2 * probeInterval)
				_, err, _ = get(t.Context(), r, "k")
				require.NoError(t, err)
				require.False(t, r.Health()[0].Away)
				require.Len(t, told.kinds(), 4, "away and back, for reads and writes: %v", told.kinds())
				time.Sleep(time.Minute)
				unoccupied(t, r)
			})
		})
	}
}

func TestSlowNode(t *testing.T) {
	for _, test := range []struct {
		delay float64 // in timeouts
		away  bool
	}{{0.5, false}, {0.9, false}, {1.5, true}, {2, true}, {5, true}} {
		t.Run(fmt.Sprint(test.delay), func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var slow atomic.Bool
				s := &scripted{}
				r := s.remote(t, nil)
				s.answer = func(conn int, cmd []string) string {
					if slow.Load() {
						time.Sleep(time.Duration(test.delay * float64(r.timeout)))
					}
					return values(conn, cmd)
				}
				_, err, _ := get(t.Context(), r, "k")
				require.NoError(t, err)
				slow.Store(true)
				for range 20 {
					many(1, func(i int) {
						_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
						require.LessOrEqual(t, took, 2*r.timeout)
						require.Equal(t, test.away, err != nil, "%v", err)
					})
				}
				require.Equal(t, test.away, r.Health()[0].Away)
				time.Sleep(10 * time.Second)
				require.Equal(t, test.away, r.Health()[0].Away, "while it stays slow")
			})
		})
	}
}

func TestOneConnectionThatHangsIsNotTheNode(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if conn == 1 && cmd[1] == "stuck" {
				return ""
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		value, err, took := get(t.Context(), r, "stuck")
		require.NoError(t, err)
		require.Equal(t, "value of stuck", value)
		require.LessOrEqual(t, took, r.timeout+r.tick)
		require.False(t, r.Health()[0].Away)
		time.Sleep(time.Second)
		unoccupied(t, r)
	})
}

// A process that is not given the processor sees its timers late. Each reading of the
// clock is later than the timer was set for.
func TestLateWatchdogDrawsNoConclusion(t *testing.T) {
	for _, timeout := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var hangs atomic.Bool
				var late atomic.Int64
				s := &scripted{answer: func(conn int, cmd []string) string {
					for hangs.Load() {
						time.Sleep(timeout / 10)
					}
					return values(conn, cmd)
				}}
				r := s.remote(t, func(_ *redis.Options, cfg *Config) {
					cfg.Timeout = timeout
					cfg.Now = func() time.Time {
						return time.Now().Add(time.Duration(late.Add(int64(cfg.Timeout))))
					}
				})
				hangs.Store(true)
				go func() {
					time.Sleep(8 * timeout)
					hangs.Store(false)
				}()
				many(30, func(i int) {
					_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
					require.NoError(t, err)
				})
				require.False(t, r.Health()[0].Away)
				unoccupied(t, r)
			})
		})
	}
}

// A process that is late in most of its ticks finds out all the same, from the others.
func TestNodeThatHangsIsAwayThoughTheProcessIsBusy(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		var readings atomic.Int64
		s := hanging(&hangs)
		r := s.remote(t, func(_ *redis.Options, cfg *Config) {
			cfg.Now = func() time.Time {
				if readings.Add(1)%4 == 0 {
					return time.Now().Add(cfg.Timeout)
				}
				return time.Now()
			}
		})
		hangs.Store(true)
		_, err, took := get(t.Context(), r, "k")
		require.Equal(t, KindTimeout, kind(t, err))
		require.True(t, r.Health()[0].Away)
		require.Less(t, took, 5*r.timeout)
		hangs.Store(false)
	})
}

func TestIdleWatchdogDoesNothing(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: values}
		r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Timeout = 5 * time.Millisecond })
		for range 3 {
			_, err, _ := get(t.Context(), r, "k")
			require.NoError(t, err)
			time.Sleep(time.Second)
			ticks := r.only.ticks()
			require.LessOrEqual(t, ticks, uint64(9))
			time.Sleep(time.Hour)
			require.Equal(t, ticks, r.only.ticks())
		}
	})
}

func (n *node) ticks() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watch.ticks
}

// A client of the user's own type cannot be cloned, and go-redis reads for as long as
// it says.
func TestClientThatReadsForLongHoldsNoSeat(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[len(cmd)-1] == "stuck" {
				return ""
			}
			return values(conn, cmd)
		}}
		var told notices
		r := s.remote(t, func(o *redis.Options, cfg *Config) {
			o.ReadTimeout = time.Hour
			cfg.Client = struct{ redis.UniversalClient }{redis.NewClient(o)}
			cfg.Notice = told.take
		})
		t.Cleanup(func() { _ = r.client.Close() })
		var ending sync.WaitGroup
		for range 3 * smallSeats {
			ending.Go(func() {
				began := time.Now()
				write := Eval("store", Writes, NewScript("return 1"), []string{"k"}, []any{"stuck"}, Limits{})
				var failure *Error
				require.ErrorAs(t, r.Do(t.Context(), write), &failure)
				require.Equal(t, KindTimeout, failure.Kind)
				require.True(t, failure.MayHaveRun)
				require.LessOrEqual(t, time.Since(began), 5*r.timeout, "it has waited for others of its kind")
			})
			ending.Go(func() {
				_, err, took := get(t.Context(), r, "stuck")
				require.Equal(t, KindTimeout, kind(t, err))
				require.LessOrEqual(t, took, longest+5*r.timeout)
			})
		}
		time.Sleep(5 * r.timeout)
		for i := range 100 {
			_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
			require.NoError(t, err)
			require.Zero(t, took)
		}
		ending.Wait()
		require.Empty(t, told.kinds())
		unoccupied(t, r)
	})
}

func TestConnectingThatFails(t *testing.T) {
	for name, dial := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return errors.New("connection refused") },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var gone atomic.Bool
				gone.Store(true)
				s := &scripted{answer: values, dial: func(ctx context.Context) error {
					if gone.Load() {
						return dial(ctx)
					}
					return nil
				}}
				r := s.remote(t, nil)
				many(100, func(i int) {
					_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
					require.Equal(t, KindUnreachable, kind(t, err))
					require.LessOrEqual(t, took, 2*r.timeout)
				})
				require.True(t, r.Health()[0].Away)
				gone.Store(false)
				for range 100 { // go-redis pauses a second where many dials have failed
					time.Sleep(time.Second)
					if !r.Health()[0].Away {
						break
					}
				}
				_, err, _ := get(t.Context(), r, "k")
				require.NoError(t, err)
				time.Sleep(time.Minute) // go-redis gives up what it dialed
				unoccupied(t, r)
			})
		})
	}
}

// To connect takes several answers (TLS, HELLO, what go-redis asks then): each may come in
// time, and all together not.
func TestConnectingThatTakesLongIsNotSilence(t *testing.T) {
	slow := func(share float64, dials *atomic.Int64, from int64) *scripted {
		s := &scripted{answer: values}
		s.dial = func(ctx context.Context) error {
			if dials.Add(1) > from {
				select {
				case <-time.After(time.Duration(share * 100 * float64(time.Millisecond))):
				case <-ctx.Done():
				}
			}
			return ctx.Err()
		}
		return s
	}
	t.Run("at first", func(t *testing.T) {
		bubbletest.Run(t, func(t *testing.T) {
			r := slow(1.6, new(atomic.Int64), 0).remote(t, nil)
			many(10, func(i int) {
				_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
				require.NoError(t, err)
			})
			require.False(t, r.Health()[0].Away)
			unoccupied(t, r)
		})
	})
	t.Run("while another connection is answered", func(t *testing.T) {
		bubbletest.Run(t, func(t *testing.T) {
			s := slow(15, new(atomic.Int64), 1)
			s.answer = func(conn int, cmd []string) string {
				time.Sleep(5 * time.Millisecond)
				return values(conn, cmd)
			}
			r := s.remote(t, nil)
			end := time.Now().Add(3 * time.Second)
			many(10, func(i int) {
				for time.Now().Before(end) {
					_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
					require.NoError(t, err)
				}
			})
			require.False(t, r.Health()[0].Away)
			time.Sleep(time.Minute) // go-redis gives up what it dialed
			unoccupied(t, r)
		})
	})
	t.Run("so long that it counts as silence, and the node comes back all the same", func(t *testing.T) {
		bubbletest.Run(t, func(t *testing.T) {
			r := slow(3, new(atomic.Int64), 0).remote(t, nil)
			_, err, took := get(t.Context(), r, "k")
			require.Equal(t, KindUnreachable, kind(t, err))
			require.LessOrEqual(t, took, 2*r.timeout)
			time.Sleep(2*probeInterval + 3*r.timeout)
			require.False(t, r.Health()[0].Away)
			unoccupied(t, r)
		})
	})
}

func TestNodeThatSaysItIsAway(t *testing.T) {
	for reply, want := range map[string]struct{ reads, writes bool }{
		"-LOADING Redis is loading the dataset in memory\r\n":          {true, true},
		"-MASTERDOWN Link with MASTER is down\r\n":                     {true, true},
		"-BUSY Redis is busy running a script.\r\n":                    {true, true},
		"-NOAUTH Authentication required.\r\n":                         {true, true},
		"-ERR Protocol error: unauthenticated multibulk length\r\n":    {true, true},
		"-CLUSTERDOWN The cluster is down\r\n":                         {true, true},
		"-CLUSTERDOWN Hash slot not served\r\n":                        {false, false},
		"-READONLY You can't write against a read only replica.\r\n":   {false, true},
		"-OOM command not allowed when used memory > 'maxmemory'.\r\n": {false, false},
		"-MISCONF Redis is configured to save RDB snapshots\r\n":       {false, false},
		"-NOPERM this user has no permissions to run the command\r\n":  {false, false},
		"-ERR something else\r\n":                                      {false, false},
	} {
		t.Run(strings.Fields(reply)[0], func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var wrong atomic.Bool
				wrong.Store(true)
				s := &scripted{answer: func(conn int, cmd []string) string {
					switch {
					case wrong.Load() && (cmd[0] != "get" || want.reads):
						return reply
					case cmd[0] == "get":
						return values(conn, cmd)
					default:
						return ok
					}
				}}
				r := s.remote(t, nil)
				script := NewScript("return 1")
				write := func() error {
					return r.Do(t.Context(), Eval("store", Writes, script, []string{"k"}, nil, Limits{}))
				}
				var failure *Error
				require.ErrorAs(t, write(), &failure)
				require.False(t, failure.NotAsked)
				_, err, took := get(t.Context(), r, "k")
				require.Zero(t, took)
				require.Equal(t, want.reads, errors.Is(err, errNotAsked), "%v", err)
				require.ErrorAs(t, write(), &failure)
				require.Equal(t, want.writes, failure.NotAsked)
				wrong.Store(false)
				time.Sleep(2 * probeInterval)
				require.NoError(t, write())
				_, err, _ = get(t.Context(), r, "k")
				require.NoError(t, err)
				unoccupied(t, r)
			})
		})
	}
}

func TestScriptThatIsNotKnownIsSentWholeInsideAPipeline(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var known atomic.Bool
		script := NewScript("return ARGV[1]")
		s := &scripted{answer: func(_ int, cmd []string) string {
			time.Sleep(time.Millisecond)
			switch {
			case cmd[0] == "eval" && cmd[1] == script.text:
				known.Store(true)
			case !known.Load() || cmd[1] != script.hash:
				return "-NOSCRIPT No matching script.\r\n"
			}
			return bulk(cmd[len(cmd)-1])
		}}
		var told notices
		r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Notice = told.take })
		run := func() {
			many(50, func(i int) {
				c := Eval("acquire", Writes, script, []string{fmt.Sprint("k", i)}, []any{i}, Limits{Once: true})
				require.NoError(t, r.Do(t.Context(), c))
				require.Equal(t, fmt.Sprint(i), c.Reply())
			})
		}
		run()
		require.Empty(t, told.kinds(), "it never knew it")
		known.Store(false)
		run()
		require.Equal(t, fmt.Sprint("note ", KindNoScript), told.kinds()[0], "it has forgotten it")
		unoccupied(t, r)
	})
}

// The race detector judges this one.
func TestCallerThatLeavesMayAskWhetherTheScriptWasForgotten(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		script := NewScript("return 1")
		var forgotten atomic.Bool
		s := &scripted{answer: func(_ int, cmd []string) string {
			time.Sleep(10 * time.Millisecond)
			if forgotten.Load() && cmd[0] == "evalsha" {
				return "-NOSCRIPT No matching script.\r\n"
			}
			return ":1\r\n"
		}}
		r := s.remote(t, nil)
		run := func(ctx context.Context) (*Command, error) {
			c := Eval("store", Writes, script, []string{"k"}, nil, Limits{})
			return c, r.Do(ctx, c)
		}
		_, err := run(t.Context())
		require.NoError(t, err)
		forgotten.Store(true)
		ctx, end := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer end()
		c, err := run(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, c.Forgot(), "there is no answer yet")
		time.Sleep(time.Second) // in the bubble
		require.True(t, c.Forgot())
		unoccupied(t, r)

		c = Eval("store", Writes, script, []string{"k"}, nil, Limits{})
		require.ErrorIs(t, r.Do(ctx, c), context.DeadlineExceeded)
		require.False(t, c.Forgot(), "it was not sent")
	})
}

func TestConnectionThatBreaks(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if conn <= smallSeats && strings.HasPrefix(cmd[len(cmd)-1], "k1") {
				return "close"
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		many(20, func(i int) {
			value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("value of k", i), value)
		})
		require.False(t, r.Health()[0].Away)
		unoccupied(t, r)
	})
}

func TestCommandThatIsSentOnce(t *testing.T) {
	script := NewScript("return 1")
	for name, answer := range map[string]string{"silent": "", "broken": "close"} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				s := &scripted{answer: func(conn int, cmd []string) string {
					if cmd[0] == "evalsha" && cmd[3] == "k" {
						return answer
					}
					return values(conn, cmd)
				}}
				r := s.remote(t, nil)
				var failure *Error
				require.ErrorAs(t, r.Do(t.Context(), Eval("store", Writes, script, []string{"k"}, nil, Limits{Once: true})), &failure)
				require.True(t, failure.MayHaveRun)
				time.Sleep(time.Second)
				require.Len(t, s.asked(), 1)
				require.False(t, r.Health()[0].Away, "others are answered")
			})
		})
	}
}

func TestCallerThatGivesUpLeavesNothing(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Timeout = time.Minute })
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		hangs.Store(true)
		for range smallSeats { // these cannot leave
			go get(context.Background(), r, "k") //nolint:errcheck // it holds a seat
		}
		synctest.Wait()
		var running atomic.Int64
		ctx, end := context.WithCancel(t.Context())
		for i := range 20_000 {
			running.Add(1)
			go func() {
				defer running.Add(-1)
				_, err, _ := get(ctx, r, fmt.Sprint("k", i))
				require.ErrorIs(t, err, context.Canceled)
			}()
		}
		synctest.Wait()
		end()
		synctest.Wait()
		require.Zero(t, running.Load())
		r.only.mu.Lock()
		require.Zero(t, r.only.small.queued)
		r.only.mu.Unlock()
		hangs.Store(false)
		time.Sleep(time.Second)
		unoccupied(t, r)
	})
}

func TestCallerWithADeadlineIsNotLate(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, nil)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		hangs.Store(true)
		ctx, end := context.WithTimeout(t.Context(), r.timeout/2)
		defer end()
		_, err, took := get(ctx, r, "k")
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, r.timeout/2, took)
		hangs.Store(false)
	})
}

func TestLeaderThatLeavesIsReplaced(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, nil)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		n := r.only
		n.mu.Lock()
		a, others := n.small.seat(), n.small.free
		n.small.free = nil
		n.mu.Unlock()
		ctx, end := context.WithCancel(t.Context())
		first, second := Get("lookup", "k1", Limits{}), Get("lookup", "k2", Limits{})
		for _, c := range []*Command{first, second} {
			f, err := n.begin(ctx, c, false)
			require.Nil(t, f)
			require.Nil(t, err)
		}
		// 1. The seat comes back, and the first caller is to lead.
		n.mu.Lock()
		f := n.boardNext(&n.small, a)
		n.small.free = others
		n.mu.Unlock()
		require.True(t, f.led)
		// 2. It leaves before it is woken.
		end()
		require.Equal(t, context.Canceled, first.leave())
		first.wake(f)
		// 3. The second is answered all the same.
		require.NoError(t, second.await(t.Context()))
		require.Equal(t, "value of k2", string(second.Raw()))
		unoccupied(t, r)
	})
}

// A large value over a slow link, while small ones go on.
func TestLargeValuesHoldUpNoSmallOnes(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		large := strings.Repeat("x", 1<<20)
		s := &scripted{
			answer: func(conn int, cmd []string) string {
				if strings.HasPrefix(cmd[1], "large") && !strings.HasSuffix(cmd[1], probeSuffix) {
					return bulk(large)
				}
				return values(conn, cmd)
			},
			pieces: trickle,
		}
		var told notices
		r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Notice = told.take })
		var wg sync.WaitGroup
		for i := range 3 { // whether it is known that it is large, or not
			wg.Go(func() {
				c := Get("lookup", fmt.Sprint("large", i), Limits{Expect: []int{0, 1 << 20, 1 << 20}[i]})
				require.NoError(t, r.Do(t.Context(), c))
				require.Len(t, c.Raw(), len(large))
			})
		}
		time.Sleep(time.Millisecond)
		for i := range 100 {
			_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
			require.NoError(t, err)
			require.LessOrEqual(t, took, r.timeout)
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		require.Empty(t, told.kinds())
		unoccupied(t, r)
	})
}

// trickle sends a reply at 1 MB/s.
func trickle(w io.Writer, reply string) {
	for len(reply) > 0 {
		n := min(len(reply), 32<<10)
		if _, err := io.WriteString(w, reply[:n]); err != nil {
			return
		}
		if reply = reply[n:]; len(reply) > 0 {
			time.Sleep(32 * time.Millisecond)
		}
	}
}

func TestLargeValueAloneOnASlowLink(t *testing.T) {
	for name, change := range map[string]func(*redis.Options){
		"clones":                func(*redis.Options) {},
		"deadlines of contexts": func(o *redis.Options) { o.ContextTimeoutEnabled = true },
		"deadlines of contexts, short ones of its own": func(o *redis.Options) {
			o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout = true, time.Second, time.Second
		},
		"no deadlines": func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = -2, -2 },
	} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				large := strings.Repeat("x", 8<<20)
				s := &scripted{
					answer: func(conn int, cmd []string) string {
						switch {
						case cmd[0] == "evalsha":
							time.Sleep(8 * time.Second) // takes it in
							return ok
						case cmd[0] == "get" && cmd[1] == "large":
							return bulk(large)
						}
						return values(conn, cmd)
					},
					pieces: trickle,
				}
				var told notices
				r := s.remote(t, func(o *redis.Options, cfg *Config) { change(o); cfg.Notice = told.take })
				store := Eval("store", Writes, NewScript("return 1"), []string{"k"}, []any{make([]byte, 8<<20)}, Limits{Once: true})
				require.NoError(t, r.Do(t.Context(), store))
				require.Len(t, s.asked(), 1, "sent once")

				known := Get("lookup", "large", Limits{Expect: 8 << 20})
				require.NoError(t, r.Do(t.Context(), known))
				require.Len(t, known.Raw(), 8<<20)
				require.Len(t, s.asked(), 2, "its size is known: sent once")

				value, err, _ := get(t.Context(), r, "large")
				require.NoError(t, err)
				require.Len(t, value, 8<<20)
				require.Len(t, s.asked(), 4, "it turns out to be large")
				require.Empty(t, told.kinds())
				unoccupied(t, r)
			})
		})
	}
}

func TestCommandsThatWaitAreDoneWhenTheRemoteIsClosed(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, func(_ *redis.Options, cfg *Config) { cfg.Timeout = time.Minute })
		hangs.Store(true)
		go func() {
			time.Sleep(time.Second)
			r.Close()
			time.Sleep(time.Second)
			hangs.Store(false)
		}()
		many(20, func(i int) {
			_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
			require.Equal(t, KindClosed, kind(t, err))
			require.Equal(t, time.Second, took)
		})
		_, err, _ := get(t.Context(), r, "k")
		require.Equal(t, KindClosed, kind(t, err))
	})
}

// Close comes while commands wait, are under way and are asked by the watchdog; while
// the node is away and probed; and while no connection is free.
func TestNothingIsLeftOfARemoteThatWasClosed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*redis.Options)
		after  time.Duration // in which Close comes
	}{
		"under way":    {func(*redis.Options) {}, 10 * time.Millisecond},
		"watchdog":     {func(*redis.Options) {}, 70 * time.Millisecond},
		"away":         {func(*redis.Options) {}, 5 * time.Second},
		"full pool":    {func(o *redis.Options) { o.MaxActiveConns = 1 }, 50 * time.Millisecond},
		"other client": {func(o *redis.Options) { o.ReadTimeout = 20 * time.Second }, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var hangs atomic.Bool
				var told notices
				var running atomic.Int64
				s := hanging(&hangs)
				r := s.remote(t, func(o *redis.Options, cfg *Config) {
					test.change(o)
					if name == "other client" {
						client := redis.NewClient(o)
						t.Cleanup(func() { _ = client.Close() })
						cfg.Client = struct{ redis.UniversalClient }{client}
					}
					cfg.Notice = told.take
					cfg.Spawn = func(f func()) {
						running.Add(1)
						go func() {
							defer running.Add(-1)
							f()
						}()
					}
				})
				_, err, _ := get(t.Context(), r, "k")
				require.NoError(t, err)
				hangs.Store(true)
				t.Cleanup(func() { hangs.Store(false) })
				var waiting sync.WaitGroup
				for i := range 50 {
					waiting.Go(func() {
						_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
						require.Error(t, err)
						require.LessOrEqual(t, took, max(test.after, 2*r.timeout))
					})
				}
				time.Sleep(test.after)
				r.Close()
				waiting.Wait()
				seen := len(told.kinds())
				for _, limit := range []Limits{{}, {Always: true}} {
					err := r.Do(t.Context(), Eval("store", Writes, NewScript("return 1"), []string{"k"}, nil, limit))
					require.Equal(t, KindClosed, kind(t, err))
				}
				time.Sleep(8 * r.timeout)   // a probe ends
				if name != "other client" { // with which go-redis reads for longer
					require.Zero(t, running.Load())
				}
				time.Sleep(time.Minute)
				require.Zero(t, running.Load())
				ticks := r.only.ticks()
				hangs.Store(false)
				time.Sleep(time.Hour)
				require.Equal(t, ticks, r.only.ticks())
				require.Len(t, told.kinds(), seen, "nothing is told")
			})
		})
	}
}

// A wrongHook is a hook of the user's own that goes wrong, before or after a command of
// fncache: if it did so while a connection is made ready, go-redis would lose that one.
type wrongHook struct {
	before, after atomic.Pointer[func()]
}

func (h *wrongHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *wrongHook) around(cmd redis.Cmder, next func() error) error {
	if _, ours := cmd.(*wire); !ours {
		return next()
	}
	if do := h.before.Load(); do != nil {
		(*do)()
	}
	err := next()
	if do := h.after.Load(); do != nil {
		(*do)()
	}
	return err
}

func (h *wrongHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.around(cmd, func() error { return next(ctx, cmd) })
	}
}

func (h *wrongHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.around(cmds[0], func() error { return next(ctx, cmds) })
	}
}

func TestHookThatGoesWrongLosesNoSeat(t *testing.T) {
	for name, wrong := range map[string]func(){
		"panics": func() { panic("no") },
		"Goexit": runtime.Goexit,
	} {
		for _, after := range []bool{false, true} {
			for _, callers := range []int{1, 50} {
				for _, calm := range []bool{false, true} { // who sends: a goroutine, or callers
					t.Run(fmt.Sprint(name, after, callers, calm), func(t *testing.T) {
						bubbletest.Run(t, func(t *testing.T) { testHookThatGoesWrong(t, wrong, after, callers, calm) })
					})
				}
			}
		}
	}
}

func testHookThatGoesWrong(t *testing.T, wrong func(), after bool, callers int, calm bool) {
	s := &scripted{answer: values}
	r := s.remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
	hook := &wrongHook{}
	r.client.AddHook(hook)
	if calm {
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
	}
	if after {
		hook.after.Store(&wrong)
	} else {
		hook.before.Store(&wrong)
	}
	var returned, lost atomic.Int64
	many(callers, func(i int) {
		ended := true
		defer func() {
			if ended { // its own hook has ended the caller, which was to send
				lost.Add(1)
			}
		}()
		value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
		ended = false
		returned.Add(1)
		if after && err == nil { // go-redis has passed on the answer before
			require.Equal(t, fmt.Sprint("value of k", i), value)
			return
		}
		var failure *Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, KindOther, failure.Kind)
		require.ErrorContains(t, failure, "hook")
		require.Equal(t, after, failure.MayHaveRun, "it was sent")
	})
	require.EqualValues(t, callers, returned.Load()+lost.Load())
	if !calm && !after {
		require.Zero(t, lost.Load())
	}
	hook.before.Store(nil)
	hook.after.Store(nil)
	require.False(t, r.Health()[0].Away)
	value, err, _ := get(t.Context(), r, "k")
	require.NoError(t, err)
	require.Equal(t, "value of k", value)
	unoccupied(t, r)
}

// go-redis dials on a goroutine of its own.
func TestDialerThatGoesWrong(t *testing.T) {
	for name, wrong := range map[string]func(){
		"panics": func() { panic("no") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var goes atomic.Bool
				goes.Store(true)
				s := &scripted{answer: values, dial: func(context.Context) error {
					if goes.Load() {
						wrong()
					}
					return nil
				}}
				r := s.remote(t, func(o *redis.Options, _ *Config) { o.PoolSize = 100 })
				many(50, func(i int) {
					_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
					require.Equal(t, KindUnreachable, kind(t, err))
					require.LessOrEqual(t, took, 2*r.timeout)
				})
				require.True(t, r.Health()[0].Away)
				goes.Store(false)
				time.Sleep(time.Minute)
				_, err, _ := get(t.Context(), r, "k")
				require.NoError(t, err)
				unoccupied(t, r)
			})
		})
	}
}

func TestCommandThatIsAlwaysSentFindsOutThatTheNodeIsBack(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, nil)
		hangs.Store(true)
		_, err, _ := get(t.Context(), r, "k")
		require.Error(t, err)
		always := func() error {
			return r.Do(t.Context(), Eval("invalidate", Writes, NewScript("return 1"), []string{"k"}, nil, Limits{Always: true}))
		}
		began := time.Now()
		require.Error(t, always())
		require.LessOrEqual(t, time.Since(began), 2*r.timeout)
		hangs.Store(false)
		require.NoError(t, always())
		require.NoError(t, r.Do(t.Context(), Eval("store", Writes, NewScript("return 1"), []string{"k"}, nil, Limits{})))
		time.Sleep(time.Minute)
		unoccupied(t, r)
	})
}

func TestOneAnswerEndsTheSilenceForReadsAndWrites(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := hanging(&hangs)
		r := s.remote(t, nil)
		hangs.Store(true)
		_, err, _ := get(t.Context(), r, "k")
		require.Error(t, err)
		hangs.Store(false)
		for r.only.isAway(Reads) {
			time.Sleep(time.Millisecond)
		}
		require.False(t, r.only.isAway(Writes))
		unoccupied(t, r)
	})
}

func TestOneConnectionThatIsNotMadeIsNotTheNode(t *testing.T) {
	for name, heeds := range map[string]bool{"a dialer that heeds its context": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var dials atomic.Int32
				let := make(chan struct{})
				s := &scripted{answer: values, dial: func(ctx context.Context) error {
					if dials.Add(1) != 2 {
						return nil
					}
					done := ctx.Done()
					if !heeds {
						done = nil
					}
					select {
					case <-let:
						return nil
					case <-done:
						return ctx.Err()
					}
				}}
				r := s.remote(t, nil)
				many(2, func(i int) {
					_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
					require.NoError(t, err, "another connection does")
				})
				require.False(t, r.Health()[0].Away)
				close(let)
				unoccupied(t, r)
			})
		})
	}
}

func TestACommandThatTheServerNeverAnswersIsNotTheNode(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[0] == "time" {
				time.Sleep(time.Hour)
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		_, err, _ := get(t.Context(), r, "k")
		require.NoError(t, err)
		require.Error(t, r.Do(t.Context(), Plain("time", "", Reads, Limits{}, "time")))
		_, err, took := get(t.Context(), r, "k")
		require.NoError(t, err)
		require.Zero(t, took)
		require.False(t, r.Health()[0].Away)
	})
}

// A tapHook keeps what of the contexts of callers a hook sees, by the key of the command.
type tapHook struct{ seen sync.Map }

type whoKey struct{}

func (h *tapHook) note(ctx context.Context, cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if wire, ok := cmd.(*wire); ok && cmd.Name() == "get" {
			h.seen.Store(fmt.Sprint(cmd.Args()[1]), [2]any{wire.Caller().Value(whoKey{}), ctx.Value(whoKey{})})
		}
	}
}

func (h *tapHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *tapHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { h.note(ctx, cmd); return next(ctx, cmd) }
}

func (h *tapHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { h.note(ctx, cmds...); return next(ctx, cmds) }
}

func TestHooksFindTheContextOfEachCaller(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			time.Sleep(time.Millisecond)
			return values(conn, cmd)
		}}
		hook := &tapHook{}
		r := s.remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
		r.client.AddHook(hook)
		const callers = 20
		many(callers, func(i int) {
			_, err, _ := get(context.WithValue(t.Context(), whoKey{}, i), r, fmt.Sprint("k", i))
			require.NoError(t, err)
		})
		piped := false
		for i := range callers {
			seen, _ := hook.seen.Load(fmt.Sprint("k", i))
			require.Equal(t, i, seen.([2]any)[0])
			piped = piped || seen.([2]any)[1] != i
		}
		require.True(t, piped, "some were in the pipeline of another")
		unoccupied(t, r)
	})
}

// write asks for the script of a write.
func write(ctx context.Context, r *Remote, key string, limit Limits) (err error, took time.Duration) { //nolint:revive,staticcheck // as get
	began := time.Now()
	return r.Do(ctx, Eval("store", Writes, NewScript("return 1"), []string{key}, nil, limit)), time.Since(began)
}

// A server pauses writes for a failover (CLIENT PAUSE), and answers reads.
func TestNodeThatAnswersReadsOnlyIsAwayForWrites(t *testing.T) {
	for name, reading := range map[string]bool{"while others read": true, "while nobody reads": false} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var paused atomic.Bool
				s := &scripted{answer: func(conn int, cmd []string) string {
					if cmd[0] != "get" && paused.Load() {
						return ""
					}
					return values(conn, cmd)
				}}
				r := s.remote(t, nil)
				err, _ := write(t.Context(), r, "k", Limits{})
				require.NoError(t, err)
				paused.Store(true)
				ended := make(chan struct{})
				var readers sync.WaitGroup
				for i := range 10 {
					readers.Go(func() {
						for reading {
							select {
							case <-ended:
								return
							case <-time.After(time.Millisecond):
							}
							_, err, took := get(t.Context(), r, fmt.Sprint("k", i))
							require.NoError(t, err)
							require.LessOrEqual(t, took, 2*r.timeout, "behind a write in its pipeline")
						}
					})
				}
				many(20, func(i int) {
					err, took := write(t.Context(), r, fmt.Sprint("w", i), Limits{})
					require.Equal(t, KindTimeout, kind(t, err))
					require.LessOrEqual(t, took, 2*r.timeout)
				})
				err, took := write(t.Context(), r, "k", Limits{})
				require.ErrorIs(t, err, errNotAsked)
				require.Zero(t, took)
				require.True(t, r.Health()[0].Away)
				require.True(t, !r.only.isAway(Reads) && r.only.isAway(Writes))
				_, err, took = get(t.Context(), r, "k")
				require.NoError(t, err)
				require.LessOrEqual(t, took, r.tick)
				paused.Store(false)
				time.Sleep(2 * probeInterval)
				err, _ = write(t.Context(), r, "k", Limits{})
				require.NoError(t, err)
				close(ended)
				readers.Wait()
				unoccupied(t, r)
			})
		})
	}
}

func TestOneConnectionThatHangsForAWriteIsNotTheNode(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if conn == 1 && cmd[0] == "evalsha" {
				return ""
			}
			return values(conn, cmd)
		}}
		r := s.remote(t, nil)
		err, took := write(t.Context(), r, "k", Limits{})
		require.NoError(t, err)
		require.LessOrEqual(t, took, r.timeout+r.tick)
		require.False(t, r.Health()[0].Away)
		unoccupied(t, r)
	})
}

func TestWhatWasSentBeforeMayHaveRun(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			if cmd[0] == "evalsha" && conn == 1 {
				return "close"
			}
			return ""
		}}
		s.dial = func(context.Context) error {
			if len(s.asked()) > 0 {
				return errors.New("connection refused")
			}
			return nil
		}
		r := s.remote(t, nil)
		err, _ := write(t.Context(), r, "k", Limits{})
		var failure *Error
		require.ErrorAs(t, err, &failure)
		require.True(t, failure.MayHaveRun, "%+v", failure)
		r.Close()
		time.Sleep(time.Minute) // go-redis gives up what it dialed
	})
}

func TestUrgentCommandsGoBeforeThoseThatAreQueued(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lane
		var urgent, others []*Command // what the queue must be
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			queue, c := &others, &Command{}
			if rapid.Bool().Draw(t, "urgent") {
				queue, c.limit.Urgent = &urgent, true
			}
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				l.push(c)
				*queue = append(*queue, c)
			case 1:
				l.unshift(c)
				*queue = slices.Insert(*queue, 0, c)
			default:
				if n := len(*queue); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(t, "which")
					l.remove((*queue)[i])
					*queue = slices.Delete(*queue, i, i+1)
				}
			}
			require.Equal(t, len(urgent)+len(others), l.queued)
		}
		require.True(t, slices.Equal(slices.Concat(urgent, others), l.board(newSeat())))
		require.Nil(t, l.first)
		require.Nil(t, l.last)
		require.Nil(t, l.urgent)
	})
}

func TestAnswersOfAPipelineThatHasNotLandedAreNoSilence(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: func(conn int, cmd []string) string {
			time.Sleep(20 * time.Millisecond)
			return values(conn, cmd)
		}}
		var told notices
		r := s.remote(t, func(o *redis.Options, cfg *Config) {
			o.ReadTimeout, o.PoolSize = time.Minute, 1                       // so that nothing else can be asked meanwhile
			cfg.Client = struct{ redis.UniversalClient }{redis.NewClient(o)} // whose deadline cannot be set
			cfg.Notice = told.take
		})
		many(100, func(i int) { // take 2 s, and the timeout is 100 ms
			value, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("value of k", i), value)
		})
		require.Empty(t, told.kinds())
		unoccupied(t, r)
	})
}

// A connection that was begun while the network was cut may fail when the node has long
// answered others.
func TestConnectingThatFailsIsNotTheNodeThatHasAnsweredSince(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var dials atomic.Int64
		s := &scripted{answer: values}
		s.dial = func(context.Context) error {
			if dials.Add(1) == 1 {
				time.Sleep(50 * time.Millisecond)
				return io.EOF
			}
			return nil
		}
		r := s.remote(t, func(o *redis.Options, _ *Config) { o.DialerRetries = 1 })
		var slow sync.WaitGroup
		slow.Go(func() {
			_, err, _ := get(t.Context(), r, "slow")
			require.NoError(t, err)
		})
		synctest.Wait()
		for range 60 {
			_, err, took := get(t.Context(), r, "k")
			require.NoError(t, err)
			require.Zero(t, took)
			time.Sleep(time.Millisecond)
		}
		slow.Wait()
		require.False(t, r.Health()[0].Away)
		unoccupied(t, r)
	})
}

// A process that does not get the processor finds the deadline of a large answer passed,
// which has been there all the time.
func TestLateProcessIsNoReasonToGiveUpALargeCommand(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		const size = LargeSize + 1
		var hangs atomic.Bool
		var late atomic.Int64
		s := hanging(&hangs)
		answer := s.answer
		s.answer = func(conn int, cmd []string) string {
			_ = answer(conn, cmd)
			return bulk(strings.Repeat("x", size))
		}
		r := s.remote(t, func(_ *redis.Options, cfg *Config) {
			cfg.Now = func() time.Time { return time.Now().Add(time.Duration(late.Add(int64(cfg.Timeout)))) }
		})
		hangs.Store(true)
		go func() {
			time.Sleep(3 * time.Second)
			hangs.Store(false)
		}()
		c := Get("lookup", "k", Limits{Expect: size})
		require.NoError(t, r.Do(t.Context(), c))
		require.Len(t, c.Raw(), size)
		require.False(t, r.Health()[0].Away)
	})
}

// The process has as many files open as it may. The connections that it has will do.
func TestProcessThatIsOutOfFilesIsBusy(t *testing.T) {
	const conns = 2
	for name, why := range map[string]error{"of the process": syscall.EMFILE, "of the machine": syscall.ENFILE} {
		t.Run(name, func(t *testing.T) {
			bubbletest.Run(t, func(t *testing.T) {
				var dials atomic.Int64
				var hangs atomic.Bool
				out := fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", why)})
				s := &scripted{
					answer: func(conn int, cmd []string) string {
						for time.Sleep(100 * time.Microsecond); hangs.Load(); {
							time.Sleep(10 * time.Millisecond)
						}
						return values(conn, cmd)
					},
					dial: func(context.Context) error {
						if dials.Add(1) > conns {
							return out
						}
						return nil
					},
				}
				var told notices
				r := s.remote(t, func(o *redis.Options, cfg *Config) {
					o.PoolSize, cfg.Notice = 2*smallSeats, told.take
				})
				end := time.Now().Add(3 * time.Second)
				many(20, func(i int) {
					for time.Now().Before(end) {
						_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
						require.NoError(t, err)
					}
				})
				require.Empty(t, told.kinds(), "nobody waits for long")
				require.False(t, r.Health()[0].Away)
				dials.Store(-1 << 40)
				unoccupied(t, r)
			})
		})
	}
}

func TestProcessThatIsOutOfFilesFromTheStartIsToldSo(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var open atomic.Bool
		s := &scripted{answer: values, dial: func(context.Context) error {
			if open.Load() {
				return nil
			}
			return os.NewSyscallError("socket", syscall.EMFILE)
		}}
		var told notices
		r := s.remote(t, func(_ *redis.Options, cfg *Config) {
			cfg.Timeout, cfg.Notice = 250*time.Millisecond, told.take // go-redis tries for 400 ms
		})
		go func() {
			time.Sleep(20 * time.Second)
			open.Store(true)
		}()
		many(10, func(i int) {
			ctx, end := context.WithTimeout(t.Context(), time.Duration(i%2+1)*15*time.Second)
			defer end()
			_, err, _ := get(ctx, r, fmt.Sprint("k", i))
			if i%2 == 1 {
				require.NoError(t, err)
				return
			}
			require.Equal(t, KindBusyHere, kind(t, err))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, syscall.EMFILE)
		})
		require.Equal(t, []string{fmt.Sprint("note ", KindBusyHere)}, told.kinds())
		require.ErrorIs(t, told.all[0].Err, syscall.EMFILE)
		unoccupied(t, r)
	})
}

// However long a process is late, its callers wait. They get no error that the answer was
// late: this process was not there to read it.
func TestProcessThatIsLateForLongWaits(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		var hangs atomic.Bool
		var late atomic.Int64
		s := hanging(&hangs)
		r := s.remote(t, func(_ *redis.Options, cfg *Config) {
			cfg.Now = func() time.Time { return time.Now().Add(time.Duration(late.Add(int64(cfg.Timeout)))) }
		})
		hangs.Store(true)
		go func() {
			time.Sleep(3 * maxExcused * r.timeout)
			hangs.Store(false)
		}()
		many(20, func(i int) {
			if i%2 == 0 {
				_, err, _ := get(t.Context(), r, fmt.Sprint("k", i))
				require.NoError(t, err)
				return
			}
			err, _ := write(t.Context(), r, fmt.Sprint("k", i), Limits{Late: int16(i%4 - 1)}) // 0, or 2
			require.NoError(t, err)
		})
		require.False(t, r.Health()[0].Away)
		unoccupied(t, r)
	})
}

// 300 values of 48 KiB take 15 s on their way over a link that all connections share.
func TestBurstOfMiddlingValuesOverASlowLink(t *testing.T) {
	for name, expect := range map[string]int{"of known size": 48 << 10, "of unknown size": 0} {
		for client, change := range map[string]func(*redis.Options){
			"clones":                func(*redis.Options) {},
			"deadlines of contexts": func(o *redis.Options) { o.ContextTimeoutEnabled = true },
		} {
			t.Run(name+", "+client, func(t *testing.T) {
				bubbletest.Run(t, func(t *testing.T) {
					value := strings.Repeat("x", 48<<10)
					link := make(chan struct{}, 1)
					s := &scripted{
						answer: func(conn int, cmd []string) string {
							if cmd[0] == "get" && !strings.HasSuffix(cmd[1], probeSuffix) {
								return bulk(value)
							}
							return values(conn, cmd)
						},
						pieces: func(w io.Writer, reply string) {
							for len(reply) > 0 {
								n := min(len(reply), 4<<10)
								link <- struct{}{}
								time.Sleep(time.Duration(n) * time.Second / (1 << 20))
								<-link
								if _, err := io.WriteString(w, reply[:n]); err != nil {
									return
								}
								reply = reply[n:]
							}
						},
					}
					var told notices
					r := s.remote(t, func(o *redis.Options, cfg *Config) {
						change(o)
						cfg.Timeout, cfg.Notice = 250*time.Millisecond, told.take
					})
					began := time.Now()
					many(300, func(i int) {
						c := Get("lookup", fmt.Sprint("k", i), Limits{Expect: expect})
						require.NoError(t, r.Do(t.Context(), c))
						require.Len(t, c.Raw(), len(value))
					})
					if expect > 0 {
						require.Len(t, s.gets(), 300, "each is sent once")
						require.Less(t, time.Since(began), 16*time.Second)
					}
					require.Empty(t, told.kinds())
					unoccupied(t, r)
				})
			})
		}
	}
}

func TestHookEndsTheGoroutineOfNoCommandButALookup(t *testing.T) {
	bubbletest.Run(t, func(t *testing.T) {
		s := &scripted{answer: values}
		r := s.remote(t, func(o *redis.Options, _ *Config) { o.ContextTimeoutEnabled = true })
		hook := &wrongHook{}
		r.client.AddHook(hook)
		_, err, _ := get(t.Context(), r, "k") // callers may send from now on
		require.NoError(t, err)
		wrong := runtime.Goexit
		hook.before.Store(&wrong)
		for range 3 {
			var failed error
			many(1, func(int) { failed, _ = write(t.Context(), r, "w", Limits{}) })
			require.ErrorContains(t, failed, "hook")
		}
		hook.before.Store(nil)
		unoccupied(t, r)
	})
}
