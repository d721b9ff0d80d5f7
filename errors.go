package fncache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The sentinels, for [errors.Is]. Everything fncache returns of its own wraps
// one of them or is one of the types below; an error that the cached function
// returned, and the caller's own context error, come through unchanged.
var (
	// ErrColdCache: nothing can be served, and somebody else is computing.
	// It is a refusal, not a failure: the value will be there soon, and the
	// database behind it was spared a stampede. Answer 503 with Retry-After,
	// or set OnCold to Wait. It comes in a [*ColdCacheError].
	ErrColdCache = errors.New("fncache: cold cache")

	// ErrNoCache: the function was wrapped without Options.Cache, and
	// [SetDefault] has not been called yet.
	ErrNoCache = errors.New("fncache: no cache")

	// ErrRedisDown: Redis did not answer, and Config.OnRedisDown is DownError,
	// or the call was one that cannot do without Redis (Invalidate, Refresh,
	// Ping). The cause is wrapped too.
	ErrRedisDown = errors.New("fncache: redis is down")

	// ErrClosed: the Cache was closed. It is the cause of the ErrRedisDown that
	// calls after Close get, and of the cancelled contexts of computations.
	ErrClosed = errors.New("fncache: cache is closed")

	// ErrComputeTimeout: the function, and the encoding of its result, took longer than
	// Options.ComputeTimeout.
	// It comes in a [*ComputeTimeoutError].
	ErrComputeTimeout = errors.New("fncache: compute timeout")

	// ErrGoexit: the function ended its goroutine by [runtime.Goexit] (as
	// testing.T.FailNow does) while others waited for its result. Where it has no error
	// result, their goroutines end as well.
	ErrGoexit = errors.New("fncache: the function called runtime.Goexit")

	// ErrLeaseLost: [Func.Refresh] computed a value that could not be stored,
	// time and again, because the key was invalidated or the lease expired.
	ErrLeaseLost = errors.New("fncache: lease lost")
)

// A ColdCacheError is an [ErrColdCache] with its place.
type ColdCacheError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// LeaseLeft is how long the holder's lease lives if it is not renewed: if
	// the holder died, the next caller can compute after it. It is not an
	// estimate of when the value will be there. 0 where it is not known.
	LeaseLeft time.Duration
	// Waited is how long the call waited before it was refused; 0 under OnCold
	// Fail.
	Waited time.Duration
	// MaxConcurrent is the bound of that name where nobody computes the entry:
	// as many computations of the function run in this process as may. 0 else.
	MaxConcurrent int
	// FailedElsewhere is how often the function failed in other processes while the
	// call waited for their value, if that is why it is refused; 0 else. Their errors
	// are not known here: they are those of their callers.
	FailedElsewhere int
}

func (e *ColdCacheError) Error() string {
	if e.FailedElsewhere > 0 {
		return fmt.Sprintf("%v: %s: the function failed elsewhere %d times for %s while this call waited for %v; see the errors of the processes that ran it, and try again later",
			ErrColdCache, e.Func, e.FailedElsewhere, e.Key, e.Waited.Round(time.Millisecond))
	}
	if e.MaxConcurrent > 0 {
		after := ""
		if e.Waited > 0 {
			after = fmt.Sprintf(" after %v", e.Waited.Round(time.Millisecond))
		}
		return fmt.Sprintf("%v: %s: %s is not being computed%s: the function runs %d times in this process, which is its MaxConcurrent; try again, or raise MaxConcurrent",
			ErrColdCache, e.Func, e.Key, after, e.MaxConcurrent)
	}
	if e.Waited > 0 {
		return fmt.Sprintf("%v: %s: %s is still being computed after %v; try again, or raise WaitTimeout",
			ErrColdCache, e.Func, e.Key, e.Waited.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v: %s: %s is being computed by another caller; try again, or set OnCold to Wait",
		ErrColdCache, e.Func, e.Key)
}

// Unwrap makes errors.Is(err, ErrColdCache) true.
func (e *ColdCacheError) Unwrap() error { return ErrColdCache }

// A ComputeTimeoutError is an [ErrComputeTimeout] with its place.
type ComputeTimeoutError struct {
	// Func is the name of the function, as in [Func.Name].
	Func string
	// Key is the Redis key of the entry.
	Key string
	// Timeout is the Options.ComputeTimeout that ran out.
	Timeout time.Duration
	// Encoding says that the function had returned, and its result was being encoded.
	Encoding bool
}

func (e *ComputeTimeoutError) Error() string {
	if e.Encoding {
		return fmt.Sprintf("%v: %s returned, but its result was not encoded within %v for %s; make the codec, or the methods by which its types encode themselves, faster, or raise ComputeTimeout",
			ErrComputeTimeout, e.Func, e.Timeout, e.Key)
	}
	return fmt.Sprintf("%v: %s ran longer than %v for %s; make it faster, make it heed its context, or raise ComputeTimeout",
		ErrComputeTimeout, e.Func, e.Timeout, e.Key)
}

// Unwrap makes errors.Is(err, ErrComputeTimeout) true.
func (e *ComputeTimeoutError) Unwrap() error { return ErrComputeTimeout }

// A PanicError carries a panic of the cached function to its callers: it is
// panicked again in the caller that computed, and returned as an error to those
// who waited for it.
type PanicError struct {
	// Value is what the function panicked with.
	Value any
	// Stack is the stack of the goroutine that panicked, as of debug.Stack.
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("fncache: the function panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap gives the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// loggable says of an error of the function what is sure to quote no argument: the
// text where it is fncache's own, or of a context, and else the types, from the
// outermost to the innermost. The function can log the text itself.
func loggable(err error) string {
	var timeout *ComputeTimeoutError
	switch {
	case errors.As(err, &timeout):
		return timeout.Error()
	case err == ErrClosed, err == context.Canceled, err == context.DeadlineExceeded: //nolint:errorlint // wrapped they may quote
		return err.Error()
	}
	types := fmt.Sprintf("%T", err)
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		types += fmt.Sprintf(": %T", inner)
	}
	return types
}

// worthAnotherTry says whether an operation that failed may be done if it is sent
// again soon: Redis is away, and not unable or unwilling.
func worthAnotherTry(err error) bool {
	var failure *RedisError
	return errors.As(err, &failure) && kindFacts[failure.Kind].away
}

// eachFault changes each of the errors that err joins.
func eachFault(err error, change func(error) error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what joins them is outermost
	if !ok {
		return change(err)
	}
	var changed []error
	for _, fault := range joined.Unwrap() {
		changed = append(changed, eachFault(fault, change))
	}
	return errors.Join(changed...)
}
