package fncachedebug

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"
)

// Options of [New]. The zero value shows the default cache, read-only.
type Options struct {
	// Caches are shown. Default: the cache of [fncache.SetDefault], looked up by New.
	Caches []*fncache.Cache

	// Authorize reports whether a request may do an action. Without it there are no actions. It is
	// also called when a page is shown, to decide whether the page offers the action; for an action
	// about a tag, Action.Tag is then "". An action is refused if its request comes from another site
	// ([http.CrossOriginProtection]). Each action is logged.
	Authorize func(r *http.Request, a Action) bool

	// ShowValues shows the decoded results of entries, and the last error text of each type.
	// Both can contain personal data. Default: false.
	ShowValues bool

	// Logger receives a record for each action. Default: slog.Default(), looked up at each record.
	Logger *slog.Logger
}

// Handler returns a handler that shows caches and changes nothing. Without caches it shows the
// default cache. See [New].
func Handler(caches ...*fncache.Cache) http.Handler { return New(Options{Caches: caches}) }

// New returns a handler of the pages. It works at any path, because the query names the page. For
// each cache it starts a goroutine that [fncache.Cache.Close] ends, so make one handler and keep
// it.
func New(o Options) http.Handler {
	if len(o.Caches) == 0 && fncache.Default() != nil {
		o.Caches = []*fncache.Cache{fncache.Default()}
	}
	h := &handler{opts: o, protection: http.NewCrossOriginProtection()}
	for _, c := range slices.DeleteFunc(slices.Clone(o.Caches), func(c *fncache.Cache) bool { return c == nil }) {
		h.caches = append(h.caches, newCollector(c, operate.Of(c)))
	}
	return h
}

// A handler implements http.Handler.
type handler struct {
	opts       Options
	caches     []*collector
	protection *http.CrossOriginProtection
}

// patience bounds the questions to Redis for one page.
const patience = 2 * time.Second

// actionPatience bounds an action, which may run a function or look at every key.
const actionPatience = 5 * time.Minute

// ServeHTTP shows a page, or does an action.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		query = url.Values{}
	}
	v := &visit{handler: h, r: r, query: query, nonce: rand.Text()}
	v.headers(w.Header())
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		limited, end := context.WithTimeout(r.Context(), patience)
		defer end()
		v.ctx = limited
		v.show(w)
	case http.MethodPost:
		limited, end := context.WithTimeout(r.Context(), actionPatience)
		defer end()
		v.ctx = limited
		v.act(w)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		v.fail(w, http.StatusMethodNotAllowed, "This page answers GET.")
	}
}

// A visit is one request.
type visit struct {
	*handler
	r     *http.Request
	ctx   context.Context //nolint:containedctx // of the request, with a limit
	query url.Values
	nonce string
}

// headers forbids everything that the pages do not use.
func (v *visit) headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+v.nonce+"'; script-src 'nonce-"+v.nonce+
		"'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // other values would hide the origin of actions
	h.Set("Cache-Control", "no-store")
}

// A missing is an error that says what the page does not know.
type missing string

func (m missing) Error() string { return string(m) }

// show shows a page.
func (v *visit) show(w http.ResponseWriter) {
	if len(v.caches) == 0 {
		v.fail(w, http.StatusNotFound, "There is no cache to show: call fncache.SetDefault before fncachedebug.Handler, or pass a cache.")
		return
	}
	c := v.cache()
	if c == nil {
		v.fail(w, http.StatusNotFound, fmt.Sprintf("There is no cache %q: this page has %d.", v.query.Get("cache"), len(v.caches)))
		return
	}
	var data any
	var err error
	page := cmp.Or(v.query.Get("page"), "now")
	switch page {
	case "now":
		data = v.now(c)
	case "function":
		data, err = v.function(c)
	case "key":
		err = attempt(func() (err error) {
			data, err = v.key(c)
			return err
		})
	default:
		err = missing(fmt.Sprintf("There is no page %q.", page))
	}
	if err != nil {
		v.fail(w, statusOf(err), err.Error())
		return
	}
	v.render(w, http.StatusOK, page, data)
}

func statusOf(err error) int {
	switch {
	case errors.As(err, new(missing)):
		return http.StatusNotFound
	case errors.As(err, new(panicked)):
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// panicked is the type of the value that code of the program has panicked with. The value itself
// may quote an argument.
type panicked string

func (p panicked) Error() string {
	return "code of the program panicked, with a value of the type " + string(p)
}

// attempt calls code of the program, such as Options.Vary, methods of arguments, and functions. It
// returns a panic as an error, so that there is a page, and a record of an action.
func attempt(do func() error) (err error) {
	defer func() {
		value := recover()
		if failed, is := value.(*fncache.PanicError); is {
			value = failed.Value
		}
		if value != nil {
			err = panicked(fmt.Sprintf("%T", value))
		}
	}()
	return do()
}

// cache returns the cache that the query names; nil if there is none.
func (v *visit) cache() *collector {
	n, err := strconv.Atoi(cmp.Or(v.query.Get("cache"), "0"))
	if err != nil || n < 0 || n >= len(v.caches) {
		return nil
	}
	return v.caches[n]
}

// A failure is a page that says what is wrong.
type failure struct {
	Status int    `json:"status"`
	Error  string `json:"error"`
}

func (v *visit) fail(w http.ResponseWriter, status int, text string) {
	v.render(w, status, "failure", failure{status, text})
}

// A shell is what each page has around it.
type shell struct {
	Page    string
	Title   string
	Nonce   string
	Refresh bool   // the page may be loaded again without losing input
	Links   []link // to the caches, if there are several
	Query   url.Values
	Done    string // what an action has done
	Host    string
	At      time.Time
	Data    any
}

type link struct {
	Text, To string
	Current  bool
}

//go:embed *.html style.css refresh.js
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "*.html"))

// render writes a page, whole or not at all.
func (v *visit) render(w http.ResponseWriter, status int, page string, data any) {
	var b bytes.Buffer
	if v.query.Get("format") == "json" {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(data); err != nil {
			http.Error(w, `{"error":"this page cannot be written as JSON"}`, http.StatusInternalServerError)
			return
		}
	} else {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		s := shell{Page: page, Title: v.title(page), Nonce: v.nonce, Query: v.query, Done: v.done(), Host: hostname, At: time.Now(), Data: data}
		s.Refresh = status == http.StatusOK
		for i, c := range v.caches {
			if len(v.caches) > 1 {
				s.Links = append(s.Links, link{c.cache.String(), "?cache=" + strconv.Itoa(i), c == v.cache()})
			}
		}
		if err := pages.ExecuteTemplate(&b, "shell.html", s); err != nil {
			http.Error(w, "fncachedebug: the page cannot be written: "+err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = b.WriteTo(w)
	}
}

func (v *visit) title(page string) string {
	switch page {
	case "function":
		return v.query.Get("name")
	case "key":
		return "Key"
	case "failure":
		return "Not found"
	default:
		return "Now"
	}
}

// to returns a link to a page of the same cache.
func (v *visit) to(page string, pairs ...string) string {
	q := url.Values{}
	if cache := v.query.Get("cache"); cache != "" {
		q.Set("cache", cache)
	}
	q.Set("page", page)
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "?" + q.Encode()
}

func (v *visit) logger() *slog.Logger {
	if v.opts.Logger != nil {
		return v.opts.Logger
	}
	return slog.Default()
}
