package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/remote"
)

// An app is one run of the command: its flags, its streams, and the cache that it works on.
type app struct {
	streams
	flags    *grammar
	client   redis.UniversalClient
	cache    *fncache.Cache
	operator operate.Operator
	warnings *warnings
}

// newApp makes the client and the cache. It does not connect.
func newApp(flags *grammar, s streams) (*app, error) {
	keys, err := sealKeys(os.Getenv("SEAL_KEYS"))
	if err != nil {
		return nil, usageError{err.Error()}
	}
	client, err := remote.Dial(flags.Redis)
	if err != nil {
		return nil, usageError{fmt.Sprintf("--redis: %v", err)}
	}
	a := &app{streams: s, flags: flags, client: client, warnings: new(warnings)}
	a.cache, err = fncache.New(fncache.Config{
		Redis:        client,
		RedisTimeout: flags.Timeout,
		Namespace:    flags.Namespace,
		HashSecret:   []byte(os.Getenv("HASH_SECRET")),
		Seal:         keys,
		Anonymous:    true, // it holds no lease
		Logger:       slog.New(a.warnings),
	})
	if err != nil {
		_ = client.Close()
		return nil, usageError{err.Error()}
	}
	a.operator = operate.Of(a.cache)
	return a, nil
}

// sealKeys reads keys of 32 bytes in hex, with commas between them.
func sealKeys(text string) (keys [][]byte, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		key, err := hex.DecodeString(part)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("SEAL_KEYS: key %d is not 64 hex digits; make one by openssl rand -hex 32", len(keys)+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// close closes the cache and the client, and prints the warnings of the library. A warning about
// the trouble that the command has reported says nothing new, and is left out.
func (a *app) close(reported error) {
	_ = a.cache.Close()
	_ = a.client.Close()
	var failure *fncache.RedisError
	failed := errors.As(reported, &failure)
	for _, w := range a.warnings.take() {
		if !failed || w.kind != failure.Kind.String() {
			a.note("warning: " + w.text)
		}
	}
}

// note prints a remark beside the output.
func (a *app) note(text string) { fmt.Fprintf(a.err, "fncache: %s\n", clean(text)) }

// grace is how long a command has after Ctrl-C to report how far it has come. go-redis itself is
// not interrupted.
const grace = 500 * time.Millisecond

// await runs a command. After Ctrl-C it waits for the command for grace at most.
func (a *app) await(ctx context.Context, command func() error) error {
	done := make(chan error, 1)
	go func() { done <- command() }()
	select {
	case err := <-done:
		return explained(err)
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return explained(err)
	case <-time.After(grace):
		return errInterrupted
	}
}

var errInterrupted = errors.New("interrupted")

// explained replaces the error of a context that was canceled by errInterrupted, and says how this
// command is given a password.
func explained(err error) error {
	var failure *fncache.RedisError
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case errors.As(err, &failure) && failure.Kind == fncache.KindAuth:
		return fmt.Errorf("%w%s", err, howToLogIn)
	default:
		return err
	}
}

// limited returns a context for one command of Redis.
func (a *app) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.flags.Timeout)
}

// warnings keeps the warnings that the library logs. It is a slog.Handler.
type warnings struct {
	mu  sync.Mutex // guards the field below
	all []warning
}

// A warning is what the library has logged.
type warning struct {
	text string
	kind string // of the trouble with Redis that it is about, or ""
}

// Enabled implements slog.Handler.
func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	said := warning{text: strings.TrimPrefix(r.Message, "fncache: ")}
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "kind" {
			said.kind = attr.Value.String()
		}
		said.text += fmt.Sprintf(" %s=%v", attr.Key, attr.Value)
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, said)
	return nil
}

// WithAttrs implements slog.Handler.
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *warnings) WithGroup(string) slog.Handler { return w }

// take returns the warnings, and forgets them.
func (w *warnings) take() []warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}
