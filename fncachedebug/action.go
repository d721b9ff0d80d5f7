package fncachedebug

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fncache/fncache"
)

// An Action is something that a page can do.
type Action struct {
	Kind     ActionKind
	Cache    *fncache.Cache
	Function string // of the key, or to clear; "" for tags
	Key      string // of the entry; "" for tags and Clear
	Tag      string // "" for keys and Clear, and while a page is shown
}

func (a Action) as(kind ActionKind) Action {
	a.Kind = kind
	return a
}

// An ActionKind is what an [Action] does.
type ActionKind string

// The kinds of actions.
const (
	InvalidateKey ActionKind = "invalidate"     // deletes an entry and its lease
	ExpireKey     ActionKind = "expire"         // makes an entry stale
	RefreshKey    ActionKind = "refresh"        // computes an entry and stores it
	InvalidateTag ActionKind = "invalidate-tag" // invalidates all entries with a tag
	ExpireTag     ActionKind = "expire-tag"     // makes all entries with a tag stale
	Clear         ActionKind = "clear"          // invalidates all entries of a function
)

// actionTexts has the label and the explanation of each action, and what a page says when it is
// done.
var actionTexts = map[ActionKind][3]string{
	InvalidateKey: {"Invalidate", "Deletes the entry in the whole fleet. The next call computes it.", "The entry is invalidated."},
	ExpireKey:     {"Expire", "Makes the entry stale. Callers are served the old value until a new one is stored.", "The entry is stale now."},
	RefreshKey:    {"Refresh", "Runs the function now, and stores the result.", "The entry is computed and stored again."},
	InvalidateTag: {"Invalidate", "All entries with the tag are misses from now on.", "All entries with the tag are invalid."},
	ExpireTag:     {"Expire", "All entries with the tag are stale from now on.", "All entries with the tag are stale."},
	Clear:         {"Clear the function", "Invalidates all entries of the function, in the whole fleet.", "The function is cleared."},
}

// An offer is an action as a form.
type offer struct {
	Action
	Label, Explain string
	Args           string
	Cache          string // in the query
}

// A tagAction is an offer for any tag.
type tagAction = offer

// offers returns the form of an action, if the request may do it.
func (v *visit) offers(a Action) []offer {
	if v.opts.Authorize == nil || !v.opts.Authorize(v.r, a) {
		return nil
	}
	text := actionTexts[a.Kind]
	return []offer{{Action: a, Label: text[0], Explain: text[1], Cache: v.query.Get("cache")}}
}

func (v *visit) tagActions(c *collector) []tagAction {
	a := Action{Cache: c.cache}
	return append(v.offers(a.as(ExpireTag)), v.offers(a.as(InvalidateTag))...)
}

// done returns what an action has done, as the query says after it.
func (v *visit) done() string {
	kind := ActionKind(v.query.Get("done"))
	text := actionTexts[kind][2]
	if n, err := strconv.Atoi(v.query.Get("n")); err == nil && kind == Clear {
		text += fmt.Sprintf(" %d entries were deleted.", n)
	}
	return text
}

// mostForm bounds the body of a request, in bytes.
const mostForm = 64 << 10

// act does what a form asks for.
func (v *visit) act(w http.ResponseWriter) {
	if v.opts.Authorize == nil {
		v.fail(w, http.StatusNotFound, "There are no actions here: fncachedebug.Options.Authorize is not set.")
		return
	}
	if err := v.protection.Check(v.r); err != nil {
		v.fail(w, http.StatusForbidden, "The request comes from another site.")
		return
	}
	v.r.Body = http.MaxBytesReader(w, v.r.Body, mostForm)
	if err := v.r.ParseForm(); err != nil {
		v.fail(w, http.StatusBadRequest, "The form cannot be read.")
		return
	}
	form := v.r.PostForm
	v.query.Set("cache", form.Get("cache"))
	c := v.cache()
	if c == nil {
		v.fail(w, http.StatusNotFound, "There is no such cache.")
		return
	}
	var a Action
	var do func() (int, error)
	err := attempt(func() (err error) {
		a, do, err = v.action(c, form)
		return err
	})
	if err != nil {
		v.fail(w, statusOf(err), err.Error())
		return
	}
	if !v.opts.Authorize(v.r, a) {
		v.log(a, "refused", nil)
		v.fail(w, http.StatusForbidden, "You may not do this: Options.Authorize has refused it.")
		return
	}
	began, n := time.Now(), 0
	err = attempt(func() (err error) {
		n, err = do()
		return err
	})
	v.log(a, time.Since(began).String(), err)
	if err != nil {
		v.fail(w, http.StatusBadGateway, "It failed: "+v.explain(err))
		return
	}
	v.acted(w, a, n, form)
}

// explain returns the text of an error of the cache, and only the type of an error of a function.
func (v *visit) explain(err error) string {
	if errors.As(err, new(panicked)) || v.opts.ShowValues || errors.Is(err, fncache.ErrRedisDown) || errors.Is(err, fncache.ErrColdCache) {
		return err.Error()
	}
	return "the error has the type " + typeOf(err) + "; its text is hidden"
}

// action reads a form. do returns how many entries were deleted, as far as that is known.
func (v *visit) action(c *collector, form url.Values) (a Action, do func() (int, error), err error) {
	a = Action{Kind: ActionKind(form.Get("action")), Cache: c.cache}
	switch a.Kind {
	case InvalidateKey, ExpireKey:
		if a.Key, a.Function, err = c.operator.Split(form.Get("key")); err != nil {
			return a, nil, fmt.Errorf("%q: %w", form.Get("key"), err)
		}
		return a, func() (int, error) {
			keys, err := c.operator.Overtake(v.ctx, a.Key, a.Kind == ExpireKey)
			return len(keys), err
		}, nil
	case InvalidateTag, ExpireTag:
		if a.Tag = strings.TrimSpace(form.Get("tag")); a.Tag == "" {
			return a, nil, errors.New("the tag is missing; write it into the field tag")
		}
		if a.Kind == ExpireTag {
			return a, func() (int, error) { return 0, c.cache.ExpireTags(v.ctx, a.Tag) }, nil
		}
		return a, func() (int, error) { return 0, c.cache.InvalidateTags(v.ctx, a.Tag) }, nil
	case RefreshKey, Clear:
		v.query.Set("name", form.Get("name"))
		g, err := v.findFunction(c)
		if err != nil {
			return a, nil, err
		}
		f := g.funcs[0]
		a.Function = f.Name()
		if a.Kind == Clear {
			if form.Get("sure") == "" {
				return a, nil, errors.New("the action is not confirmed; tick the box")
			}
			return a, func() (int, error) { return f.Clear(v.ctx) }, nil
		}
		args, err := c.arguments(f, form.Get("args"))
		if err != nil {
			return a, nil, err
		}
		if a.Key, err = f.KeyFor(v.ctx, args...); err != nil {
			return a, nil, err
		}
		return a, func() (int, error) { return 1, f.Refresh(v.ctx, args...) }, nil
	default:
		return a, nil, missing(fmt.Sprintf("There is no action %q.", a.Kind))
	}
}

// acted answers a request whose action is done: the page that it came from shows it.
func (v *visit) acted(w http.ResponseWriter, a Action, n int, form url.Values) {
	if v.query.Get("format") == "json" {
		v.render(w, http.StatusOK, "", map[string]any{"done": a.Kind, "function": a.Function, "key": a.Key, "tag": a.Tag, "entries": n})
		return
	}
	done := []string{"done", string(a.Kind), "n", strconv.Itoa(n)}
	var to string
	switch {
	case a.Kind == Clear:
		to = v.to("function", append(done, "name", a.Function)...)
	case a.Tag != "":
		to = v.to("now", done...)
	case form.Get("args") != "":
		to = v.to("key", append(done, "name", a.Function, "args", form.Get("args"))...)
	default:
		to = v.to("key", append(done, "key", a.Key)...)
	}
	// The link is relative, because the path of the request is not the path in the browser if the
	// handler is mounted below a prefix, and could name another site.
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// log records an action.
func (v *visit) log(a Action, took string, err error) {
	attrs := []slog.Attr{slog.String("action", string(a.Kind)), slog.String("cache", a.Cache.String()), slog.String("from", v.r.RemoteAddr)}
	for _, pair := range [][2]string{{"function", a.Function}, {"key", a.Key}, {"tag", a.Tag}} {
		if pair[1] != "" {
			attrs = append(attrs, slog.String(pair[0], pair[1]))
		}
	}
	level := slog.LevelInfo
	switch {
	case took == "refused":
		level, attrs = slog.LevelWarn, append(attrs, slog.Bool("refused", true))
	case err != nil:
		level, attrs = slog.LevelWarn, append(attrs, slog.String("took", took), slog.String("err", v.explain(err)))
	default:
		attrs = append(attrs, slog.String("took", took))
	}
	v.logger().LogAttrs(v.ctx, level, "fncachedebug: an action", slices.Clip(attrs)...)
}
