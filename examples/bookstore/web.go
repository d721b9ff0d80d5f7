package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachedebug"
)

// The pages for people: authors, what sells best of one, a book, and buttons that play what
// happens to a busy shop. Programs get JSON from the same server: see handler.

const (
	burstSize = 1000 // visitors of a burst
	walkers   = 16   // visitors who walk in
	walkFor   = time.Minute
	awayFor   = 10 * time.Second // how long Redis is stopped
)

//go:embed web/*
var webFiles embed.FS

var webPages = template.Must(template.New("").Funcs(template.FuncMap{
	"thousands": func(n any) string { i, _ := strconv.Atoi(fmt.Sprint(n)); return thousands(i) },
	"short":     short,
	"style":     func() template.CSS { text, _ := webFiles.ReadFile("web/style.css"); return template.CSS(text) },
	"script":    func() template.JS { text, _ := webFiles.ReadFile("web/live.js"); return template.JS(text) },
	"path":      url.PathEscape,
}).ParseFS(webFiles, "web/*.html"))

// short writes a duration for people.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	default:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// A web serves the pages of a shop.
type web struct {
	shop  *shop
	redis *redisServer
	ctx   context.Context //nolint:containedctx // of the server: visitors who walk in leave when it ends
	busy  sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	last    *crowdBurst
	walking time.Time // until when visitors walk
	back    time.Time // when Redis comes back
}

// handler returns all that the server serves.
func (s *web) handler() http.Handler {
	programs := handler(s.shop.cached)
	mux := http.NewServeMux()
	mux.Handle("/", programs)
	people := func(pattern string, page func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept"), "text/html") {
				programs.ServeHTTP(w, r)
				return
			}
			page(w, r)
		})
	}
	people("GET /{$}", s.authors)
	people("GET /authors/{name}/top", s.author)
	people("GET /books/{id}", s.book)
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("POST /do/{what}", s.do)
	mux.Handle("/debug/fncache", fncachedebug.New(fncachedebug.Options{
		Caches: []*fncache.Cache{s.shop.cache}, ShowValues: true,
		Authorize: func(r *http.Request, _ fncachedebug.Action) bool { return fromHere(r) },
	}))
	return http.NewCrossOriginProtection().Handler(mux)
}

// fromHere reports whether a request comes from this machine.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// --- Pages ---

// A webPage is what each page shows. One of the last fields is set.
type webPage struct {
	Title   string
	Here    string // its path
	Source  string // where the answer came from
	Age     time.Duration
	Took    time.Duration
	Trouble string
	Live    *liveCounters
	Buttons bool // of an author
	Author  string

	Authors []string
	Top     []Bestseller
	Book    *Book
}

// page asks for what a page shows, and writes it.
func (s *web) page(w http.ResponseWriter, r *http.Request, p *webPage, ask func(context.Context) error) {
	var info fncache.Info
	ctx, end := context.WithTimeout(r.Context(), requestTimeout)
	defer end()
	began := time.Now()
	err := ask(fncache.WithInfo(ctx, &info))
	p.Here, p.Took, p.Source, p.Age, p.Live = r.URL.EscapedPath(), time.Since(began), info.Source.String(), info.Age, s.counters()
	status := http.StatusOK
	switch {
	case errors.Is(err, fncache.ErrColdCache):
		status, p.Trouble = http.StatusServiceUnavailable, "This page is being made for another visitor. The cache is cold, so this call was refused at once (ErrColdCache) and ran no query. Try again in a second."
	case errors.Is(err, errNotFound):
		status, p.Trouble = http.StatusNotFound, "There is no such page."
	case err != nil:
		status, p.Trouble = http.StatusInternalServerError, "Something is wrong here: the log says what."
		if !errors.Is(err, context.Canceled) {
			writeError(httpDiscard{}, r, err)
		}
	}
	s.write(w, status, "page.html", p)
}

// httpDiscard takes an answer that no client gets; writeError also logs.
type httpDiscard struct{}

func (httpDiscard) Header() http.Header         { return http.Header{} }
func (httpDiscard) Write(b []byte) (int, error) { return len(b), nil }
func (httpDiscard) WriteHeader(int)             {}

func (s *web) write(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := webPages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the visitor may have gone
}

func (s *web) authors(w http.ResponseWriter, r *http.Request) {
	p := &webPage{Title: "Authors"}
	s.page(w, r, p, func(ctx context.Context) (err error) {
		p.Authors, err = s.shop.cached.Authors(ctx)
		return err
	})
}

func (s *web) author(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p := &webPage{Title: name, Author: name, Buttons: true}
	s.page(w, r, p, func(ctx context.Context) (err error) {
		if len(name) > maxName || !utf8.ValidString(name) {
			p.Title, p.Buttons = "Not found", false
			return errNotFound
		}
		p.Top, err = s.shop.cached.TopBooks(ctx, name)
		return err
	})
}

func (s *web) book(w http.ResponseWriter, r *http.Request) {
	p := &webPage{Title: "Book"}
	s.page(w, r, p, func(ctx context.Context) error {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			return errNotFound
		}
		book, err := s.shop.cached.BookByID(ctx, id)
		if err == nil {
			p.Title, p.Book = book.Title, &book
		}
		return err
	})
}

// --- Live counters ---

// liveCounters are what happened since the start.
type liveCounters struct {
	Calls, Hits, Waited, Refused, Computed, Failed uint64
	Queries                                        int64 // slow queries that the database has run
	Saved                                          time.Duration
	Away                                           bool // a node of Redis does not answer
	CanStop                                        bool
	Walking, Back                                  time.Duration // for how long visitors walk, and until Redis is back; 0: not
	Burst                                          *crowdBurst
	Metrics                                        bool
}

func (s *web) counters() *liveCounters {
	c := &liveCounters{CanStop: s.redis.stop != nil, Metrics: s.shop.metrics != nil}
	for _, f := range s.shop.funcs {
		n := f.Stats()
		c.Calls += n.Calls
		c.Hits += n.Near + n.Fresh + n.Stale
		c.Waited += n.Waited
		c.Refused += n.Refused
		c.Computed += n.Computed
		c.Failed += n.Failed
		c.Saved += n.SavedTime
	}
	c.Queries = int64(s.shop.funcs["TopBooks"].Stats().Computations) //nolint:gosec // a small number
	for _, node := range s.shop.cache.Health().Nodes {
		c.Away = c.Away || node.Away
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Burst, c.Walking, c.Back = s.last, max(0, time.Until(s.walking)), max(0, time.Until(s.back))
	return c
}

func (s *web) live(w http.ResponseWriter, _ *http.Request) {
	s.write(w, http.StatusOK, "live", s.counters())
}

// --- Buttons ---

// A crowdBurst is what became of many visitors who came at once.
type crowdBurst struct {
	Author  string
	Size    int
	Took    time.Duration
	Sources []sourceCount
}

type sourceCount struct {
	Source string
	Count  int
}

// do does what a button says, and goes back to the page.
func (s *web) do(w http.ResponseWriter, r *http.Request) {
	author := r.PostFormValue("author")
	switch r.PathValue("what") {
	case "burst":
		s.burst(r.Context(), author)
	case "cold-burst":
		if s.invalidate(w, r, author) {
			s.burst(r.Context(), author)
		}
	case "invalidate":
		s.invalidate(w, r, author)
	case "walk":
		s.walk()
	case "stop":
		if err := s.stopRedis(); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
	default:
		http.NotFound(w, r)
		return
	}
	here := r.PostFormValue("here")
	if !strings.HasPrefix(here, "/") || strings.HasPrefix(here, "//") || strings.ContainsAny(here, "\\\r\n") {
		here = "/"
	}
	http.Redirect(w, r, here, http.StatusSeeOther)
}

// invalidate invalidates the pages of an author by their tag. If that fails, the next visitors are
// served as before, and the log says so.
func (s *web) invalidate(_ http.ResponseWriter, r *http.Request, author string) bool {
	if err := s.shop.cache.InvalidateTags(r.Context(), authorTags([]string{author})...); err != nil {
		writeError(httpDiscard{}, r, err)
		return false
	}
	return true
}

// burst has many visitors ask for an author at once.
func (s *web) burst(ctx context.Context, author string) {
	ctx, end := context.WithTimeout(ctx, 2*requestTimeout)
	defer end()
	sources := make([]string, burstSize)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range sources {
		all.Go(func() {
			<-start
			var info fncache.Info
			_, _ = s.shop.cached.TopBooks(fncache.WithInfo(ctx, &info), author)
			sources[i] = info.Source.String()
		})
	}
	began := time.Now()
	close(start)
	all.Wait()
	b := &crowdBurst{Author: author, Size: burstSize, Took: time.Since(began)}
	slices.Sort(sources)
	for _, source := range sources {
		if n := len(b.Sources); n > 0 && b.Sources[n-1].Source == source {
			b.Sources[n-1].Count++
		} else {
			b.Sources = append(b.Sources, sourceCount{source, 1})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = b
}

// walk lets visitors walk through the shop for a minute.
func (s *web) walk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	already := time.Now().Before(s.walking)
	if s.walking = time.Now().Add(walkFor); already {
		return
	}
	for range walkers {
		s.busy.Go(s.walkOne)
	}
}

// walkOne is one visitor. The visitor looks at an author and at a book, in a loop.
func (s *web) walkOne() {
	names, err := s.shop.plain.Authors(s.ctx)
	if err != nil || len(names) == 0 {
		return
	}
	popular := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.2, 2, uint64(len(names)-1)) //nolint:gosec // not for secrets
	for {
		s.mu.Lock()
		until := s.walking
		s.mu.Unlock()
		if s.ctx.Err() != nil || time.Now().After(until) {
			return
		}
		ctx, end := context.WithTimeout(s.ctx, requestTimeout)
		top, _ := s.shop.cached.TopBooks(ctx, names[popular.Uint64()])
		if len(top) > 0 {
			_, _ = s.shop.cached.BookByID(ctx, top[rand.IntN(len(top))].BookID) //nolint:gosec // not for secrets
		}
		end()
		select {
		case <-time.After(rand.N(150 * time.Millisecond)): //nolint:gosec // not for secrets
		case <-s.ctx.Done():
		}
	}
}

// stopRedis stops the embedded Redis for a while.
func (s *web) stopRedis() error {
	if s.redis.stop == nil {
		return errors.New("only the embedded Redis can be stopped here, and -redis names another")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.back) {
		return nil
	}
	s.back = time.Now().Add(awayFor)
	start := s.redis.stop()
	s.busy.Go(func() {
		select {
		case <-time.After(awayFor):
		case <-s.ctx.Done():
		}
		start()
	})
	return nil
}
