package fncache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/events"
)

// This file tests the effect of a failure of the function on callers that wait for it in other
// processes, and on later callers.

func TestAWaiterIsRefusedAfterTheSecondFailureElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const processes = 8
		s := failing(errGone)
		s.took = time.Second
		var all []*wrapped
		for range processes {
			c := b.cache()
			all = append(all, wrap(t, c, s, Options{OnCold: Wait}))
			awaitBubbleHearing(t, c)
		}
		var ends [][]<-chan outcome
		for _, w := range all {
			ends = append(ends, []<-chan outcome{w.begin(t.Context(), "a"), w.begin(t.Context(), "a")})
			synctest.Wait()
		}
		failed, refused := 0, 0
		for _, process := range ends {
			for _, end := range process {
				o := <-end
				var cold *ColdCacheError
				if errors.As(o.err, &cold) {
					refused++
					assert.Equal(t, SourceRefused, o.source)
					assert.Equal(t, 2, cold.FailedElsewhere)
					assert.Equal(t, 2*time.Second, cold.Waited)
					assert.ErrorContains(t, o.err, "the function failed 2 times in other processes for "+must(all[0].Key("a"))+" while this call waited for 2s")
					continue
				}
				failed++
				assert.ErrorIs(t, o.err, errGone)
			}
		}
		assert.Equal(t, 2, s.count(), "and not once in each process")
		assert.Equal(t, 4, failed, "who is in the process that ran it learns its error")
		assert.Equal(t, 2*processes-4, refused)
		for _, w := range all {
			requireIdentity(t, w.Func)
			synctest.Wait() // until the flight that waited has ended
			assert.Zero(t, w.Bound().Events().Inspect().Counting)
		}
	})
}

func TestAWaiterThatCameAfterAFailureHasNotWaitedForIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := failing(errGone)
		s.took = time.Second
		waiting := b.cache()
		awaitBubbleHearing(t, waiting)
		opts := Options{OnCold: Wait}
		holders := []*wrapped{wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)}
		w := wrap(t, waiting, s, opts)
		// Each holder has the next lease, for it is there when the last is released.
		b.tap.on("release", func() {})
		first := holders[0].begin(t.Context(), "a")
		synctest.Wait()
		early := w.begin(t.Context(), "a")
		synctest.Wait()
		require.ErrorIs(t, (<-first).err, errGone)
		synctest.Wait() // the early one has the lease, and fails
		late := wrap(t, b.cache(), s, opts)
		o := late.begin(t.Context(), "a")
		require.ErrorIs(t, (<-early).err, errGone, "it was told of one failure, and tried itself")
		require.ErrorIs(t, (<-o).err, errGone, "one failure in its wait: it tries itself")
		assert.Equal(t, 3, s.count())
	})
}

func TestAFunctionWithoutAnErrorThatIsRefusedForFailuresElsewhereComputes(t *testing.T) {
	inOneBubble(t, func(t *testing.T, b *bubble) {
		c := b.cache()
		runs := 0
		fn := func() int { runs++; return 7 }
		f := must(Wrap(&fn, Options{Cache: c, Name: "test.Patient", Timeout: time.Minute, OnCold: Wait}))
		awaitBubbleHearing(t, c)
		// Another process has the lease, fails, and has it again before anybody else.
		key := must(f.Key())
		require.NoError(t, b.redis.Set(key+LockSuffix, "somebody"))
		b.redis.SetTTL(key+LockSuffix, time.Hour)
		end := make(chan int)
		go func() { end <- fn() }()
		for range 2 {
			synctest.Wait()
			b.redis.Publish(eventsOf(f), events.Event{Verb: events.Failed, Key: key, ID: "token"}.String())
		}
		assert.Equal(t, 7, <-end)
		assert.Equal(t, 1, runs)
		requireIdentity(t, f)
	})
}

func TestTheMessageThatEndsALeaseReportsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(context.Context, int) (int, error)
		want events.Verb
	}{
		"an error":  {func(context.Context, int) (int, error) { return 0, errGone }, events.Failed},
		"a panic":   {func(context.Context, int) (int, error) { panic("boo") }, events.Failed},
		"a Goexit":  {func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }, events.Failed},
		"NoStore":   {func(ctx context.Context, _ int) (int, error) { NoStore(ctx); return 1, nil }, events.Release},
		"an answer": {func(ctx context.Context, _ int) (int, error) { NoStore(ctx); return 0, errNoBook }, events.Release},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c := b.cache()
				w := wrap(t, c, &source{do: test.do}, caching(errNoBook))
				heard := b.redis.NewSubscriber()
				defer heard.Close()
				heard.Subscribe(eventsOf(w.Func))
				go w.get(t.Context(), "a")
				message := <-heard.Messages()
				ev, ok := events.Parse(message.Message)
				require.True(t, ok)
				assert.Equal(t, test.want, ev.Verb)
				assert.Equal(t, must(w.Key("a")), ev.Key)
			})
		})
	}
}

func TestAPanicIsFollowedByTheCooldownIfThereIsAStaleEntry(t *testing.T) {
	for name, do := range map[string]func(context.Context, int) (int, error){
		"panic":  func(context.Context, int) (int, error) { panic("boo") },
		"Goexit": func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		for _, policy := range []struct {
			opts     Options
			cooldown bool
		}{
			{Options{}, true},
			{Options{OnStale: Background}, true},
			{Options{StaleIf: func(error) bool { return false }}, true}, // which is asked about errors
			{Options{OnError: ReturnError}, false},
			{Options{Cooldown: -1}, false},
		} {
			t.Run(fmt.Sprintf("%s/%+v", name, policy.cooldown), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					s, opts := &source{}, policy.opts
					opts.Freshness = 10 * time.Second
					here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
					here.get(t.Context(), "a")
					s.set(func(s *source) { s.do = do })
					time.Sleep(11 * time.Second)
					fails := func() {
						go func() { here.get(t.Context(), "a") }() // it may end its goroutine
						synctest.Wait()
					}
					fails()
					require.Equal(t, 2, s.count())
					if !policy.cooldown {
						fails()
						assert.Equal(t, 3, s.count())
						return
					}
					for _, w := range []*wrapped{here, there} {
						assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
					}
					assert.Equal(t, 2, s.count(), "it is left alone")
					time.Sleep(1100 * time.Millisecond)
					fails()
					assert.Equal(t, 3, s.count(), "for the Cooldown")
					requireIdentity(t, here.Func)
				})
			})
		}
	}
}

func TestACallThatJoinsAWaitForAnExistingEntryHasNotWaited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		// Events are not heard, so that others ask now and then.
		b.tap.set(func(tap *tap) {
			tap.refuse = map[string]error{"publish": replyError("NOPERM No permissions to access a channel")}
		})
		s := &source{took: time.Minute}
		opts := Options{OnCold: Wait, Timeout: 2 * time.Hour, ComputeTimeout: 2 * time.Hour}
		here, there := wrap(t, b.cache(), s, opts), wrap(t, b.cache(), s, opts)
		holder := here.begin(t.Context(), "a")
		synctest.Wait()
		waited := there.begin(t.Context(), "a")
		require.Equal(t, SourceComputed, (<-holder).source)
		time.Sleep(2 * time.Millisecond)
		o := there.get(t.Context(), "a")
		require.Less(t, o.took, time.Second)
		assert.Equal(t, SourceFresh, o.source, "it was there before the call")
		assert.Equal(t, SourceWaited, (<-waited).source)
		requireIdentity(t, there.Func)
	})
}

// vicious is an error whose methods panic.
type vicious struct{}

func (vicious) Error() string { panic("secret") }
func (vicious) Unwrap() error { panic("secret") }
func (vicious) Is(error) bool { panic("secret") }
func (vicious) As(any) bool   { panic("secret") }

func TestAnErrorWhoseMethodsPanicEndsNoProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &source{}
		w := wrap(t, b.cache(), s, Options{Freshness: time.Second, CacheErrors: []error{errNoBook}, ErrorTimeout: time.Second})
		w.get(t.Context(), "a")
		time.Sleep(2 * time.Second)
		s.set(func(s *source) { s.do = func(context.Context, int) (int, error) { return 0, vicious{} } })
		assert.Equal(t, SourceStale, w.get(t.Context(), "a").source)
		synctest.Wait()
		assert.Len(t, b.log.About("whose methods do not return"), 1)
		time.Sleep(time.Hour)
		assert.Equal(t, vicious{}, w.get(t.Context(), "a").err)
		assert.Empty(t, b.log.About("secret"))
		requireIdentity(t, w.Func)
	})
}
