package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fncache/fncache"
)

const (
	// requestTimeout is how long a visitor waits for a page at most.
	requestTimeout = 10 * time.Second
	// shutdownGrace is how long requests under way may take to end.
	shutdownGrace = 5 * time.Second
	// maxName bounds the author in a path, in bytes. No real name is longer.
	maxName = 500
)

// serve serves the shop until ctx ends, and then lets requests under way end.
func serve(ctx context.Context, addr string, s *shop, redis *redisServer, stdout io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-serve %s: %w", addr, err)
	}
	pages := &web{shop: s, redis: redis, ctx: ctx}
	defer pages.busy.Wait()
	server := &http.Server{
		Handler:           s.metrics.beside(pages.handler()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		WriteTimeout:      3 * requestTimeout,
		MaxHeaderBytes:    16 << 10,
	}
	fmt.Fprintf(stdout, "Open http://%s/ in a browser; Ctrl-C ends it.\n", listener.Addr())
	if os.Getenv(secretEnv) == "" {
		fmt.Fprintf(stdout, "Visitors choose what is asked for: for more than a trial set %s, to the same in every process.\n", secretEnv)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(stdout, "Closing: requests under way may end.")
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("requests still run after %v: %w", shutdownGrace, err), server.Close())
	}
	return nil
}

// handler has the shop's pages, which are JSON.
func handler(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "GET /authors/{name}/top   what sells best of an author, as /authors/Jane%20Austen/top\n"+
			"GET /authors/{name}       these books, as /authors/Jane%20Austen\n"+
			"GET /books/{id}           a book, as /books/42\n"+
			"POST /books/{id}/buy      buys it: the lists of its authors are made anew")
	})
	mux.HandleFunc("GET /authors/{name}/top", func(w http.ResponseWriter, r *http.Request) {
		if name, ok := authorOf(w, r); ok {
			answer(w, r, func(ctx context.Context) ([]Bestseller, error) { return store.TopBooks(ctx, name) })
		}
	})
	mux.HandleFunc("GET /authors/{name}", func(w http.ResponseWriter, r *http.Request) {
		if name, ok := authorOf(w, r); ok {
			answer(w, r, func(ctx context.Context) ([]Book, error) { return store.page(ctx, name) })
		}
	})
	mux.HandleFunc("GET /books/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "the id of a book is a whole number, as in /books/42", http.StatusBadRequest)
			return
		}
		answer(w, r, func(ctx context.Context) (Book, error) { return store.BookByID(ctx, id) })
	})
	mux.HandleFunc("POST /books/{id}/buy", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "the id of a book is a whole number, as in /books/42/buy", http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		if err := store.Buy(ctx, id, 0); err != nil {
			writeError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// authorOf returns the author in a path. An impossible name costs neither Redis nor the database
// anything: it is answered here, and ok is false.
func authorOf(w http.ResponseWriter, r *http.Request) (name string, ok bool) {
	name = r.PathValue("name")
	if len(name) > maxName || !utf8.ValidString(name) {
		http.Error(w, "author: not found", http.StatusNotFound)
		return "", false
	}
	return name, true
}

// answer writes the result of ask, and in X-Cache its source.
func answer[T any](w http.ResponseWriter, r *http.Request, ask func(context.Context) (T, error)) {
	var info fncache.Info
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	value, err := ask(fncache.WithInfo(ctx, &info))
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("X-Cache", fmt.Sprintf("%v; age=%ds", info.Source, int64(info.Age.Seconds())))
	body, err := json.Marshal(value)
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the visitor may have gone
}

// writeError writes only the part of an error that visitors should see.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fncache.ErrColdCache):
		w.Header().Set("X-Cache", fncache.SourceRefused.String())
		w.Header().Set("Retry-After", "1")
		http.Error(w, "this page is being made; try again in a second", http.StatusServiceUnavailable)
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case r.Context().Err() != nil:
		// The visitor has gone.
	case errors.Is(err, context.DeadlineExceeded):
		http.Error(w, "this page takes too long", http.StatusGatewayTimeout)
	default:
		slog.Error("a page failed", "route", r.Pattern, "err", err)
		http.Error(w, "something is wrong here", http.StatusInternalServerError)
	}
}
