package fncachedebug_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachedebug"
	"github.com/fncache/fncache/internal/redistest"
)

// A shop has a cache, some functions, and a server of the pages.
type shop struct {
	cache  *fncache.Cache
	top    *fncache.Func // of author and kind; tagged
	get    func(context.Context, int64, string) ([]int64, error)
	fails  error         // what the function returns
	block  chan struct{} // what it waits for
	server *httptest.Server
	log    *bytes.Buffer // of actions; read after a request
}

func newShop(t *testing.T, client redis.UniversalClient, o fncachedebug.Options) *shop {
	t.Helper()
	s := &shop{log: new(bytes.Buffer)}
	var err error
	s.cache, err = fncache.New(fncache.Config{Redis: client, RedisTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.cache.Close(); _ = client.Close() })
	s.get = func(_ context.Context, author int64, kind string) ([]int64, error) {
		if s.block != nil {
			<-s.block
		}
		return []int64{author, 4711}, s.fails
	}
	s.top, err = fncache.Wrap(&s.get, fncache.Options{Cache: s.cache, Name: "shop.TopBooks", Timeout: time.Hour, Freshness: 15 * time.Minute, Tags: []string{"author:{0}"}})
	require.NoError(t, err)
	o.Caches, o.Logger = []*fncache.Cache{s.cache}, slog.New(slog.NewTextHandler(s.log, nil))
	s.server = httptest.NewServer(fncachedebug.New(o))
	t.Cleanup(s.server.Close)
	return s
}

func embedded(t *testing.T) redis.UniversalClient {
	t.Helper()
	server := miniredis.RunT(t)
	return redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
}

func everybody(*http.Request, fncachedebug.Action) bool { return true }

// page gets a page. pairs are names and values of the query.
func (s *shop) page(t *testing.T, pairs ...string) (status int, body string) {
	t.Helper()
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	answer, err := http.Get(s.server.URL + "/debug/fncache?" + q.Encode())
	require.NoError(t, err)
	return read(t, answer)
}

func read(t *testing.T, answer *http.Response) (status int, body string) {
	t.Helper()
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		requireWellFormed(t, string(text))
	}
	return answer.StatusCode, string(text)
}

// asJSON gets a page as JSON.
func asJSON(t *testing.T, s *shop, pairs ...string) map[string]any {
	t.Helper()
	_, body := s.page(t, append(pairs, "format", "json")...)
	var data map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &data), body)
	return data
}

var (
	tagForm   = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^<>"]|"[^"]*")*)>`)
	voidTags  = []string{"meta", "input", "br"}
	rawBlocks = regexp.MustCompile(`(?s)(<style[^>]*>).*?(</style>)|(<script[^>]*>).*?(</script>)`)
)

// requireWellFormed fails if an element is not closed, or if text has a bare < or >.
func requireWellFormed(t *testing.T, page string) {
	t.Helper()
	page = rawBlocks.ReplaceAllString(strings.TrimPrefix(page, "<!DOCTYPE html>"), "$1$2$3$4")
	var open []string
	for _, tag := range tagForm.FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(tag[2])
		switch {
		case tag[1] == "/":
			require.NotEmpty(t, open, "%s", tag[0])
			require.Equal(t, open[len(open)-1], name, "in %s", tag[0])
			open = open[:len(open)-1]
		case !slices.Contains(voidTags, name) && !strings.HasSuffix(tag[3], "/"):
			open = append(open, name)
		}
	}
	require.Empty(t, open)
	text := tagForm.ReplaceAllString(page, "")
	require.NotContains(t, text, "<")
	require.NotContains(t, text, ">")
}

func TestTheFirstPageShowsWhatGoesOn(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	status, body := s.page(t)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "Redis is fit.")
	assert.Contains(t, body, "shop.TopBooks")
	for range 4 {
		_, err := s.get(t.Context(), 7, "novel")
		require.NoError(t, err)
	}
	data := asJSON(t, s)
	assert.InDelta(t, 0.75, data["hit_ratio"], 1e-9)
	assert.EqualValues(t, 4, data["calls"])
	assert.EqualValues(t, 1, data["functions_in_all"])
	line := data["functions"].([]any)[0].(map[string]any)
	assert.Equal(t, "shop.TopBooks", line["name"])
	assert.Positive(t, line["calls_per_second"])
	assert.Positive(t, line["cost_median_ns"])
	assert.Equal(t, true, data["redis"].(map[string]any)["ok"])
	assert.Equal(t, "idle", data["redis"].(map[string]any)["subscription"])
	_, body = s.page(t)
	assert.Contains(t, body, "75.0 %")
	_, body = s.page(t, "q", "nothing")
	assert.Contains(t, body, "No function has nothing in its name.")
}

func TestComputationsUnderWayAreShown(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	s.block = make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.get(context.Background(), 7, "novel")
		done <- err
	}()
	require.Eventually(t, func() bool { return asJSON(t, s)["computing"] == 1.0 }, 10*time.Second, time.Millisecond)
	data := asJSON(t, s, "page", "key", "name", "shop.TopBooks", "args", `[7, "novel"]`)
	assert.Equal(t, false, data["found"])
	lease := data["lease"].(map[string]any)
	assert.Equal(t, "computing", lease["state"])
	require.Eventually(t, func() bool {
		_, body := s.page(t, "page", "key", "key", fncache.Must(s.top.Key(7, "novel")))
		return strings.Contains(body, ", process ")
	}, 10*time.Second, time.Millisecond, "the holder is named in the background")
	close(s.block)
	require.NoError(t, <-done)
	assert.EqualValues(t, 0, asJSON(t, s)["computing"])
}

type lookupError struct{ isbn string }

func (e lookupError) Error() string { return "no book " + e.isbn }

func TestThePageOfAFunction(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	for i := range int64(400) {
		_, _ = s.get(t.Context(), i%20, "novel")
		_, _ = s.get(t.Context(), 1, "poem")
	}
	s.fails = fmt.Errorf("reading: %w", lookupError{"12-345"})
	_, err := s.get(t.Context(), 99, "novel")
	require.Error(t, err)
	status, body := s.page(t, "page", "function", "name", "shop.TopBooks")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "*fmt.wrapError of fncachedebug_test.lookupError")
	assert.NotContains(t, body, "12-345", "texts of errors are hidden")
	assert.Contains(t, body, "<dt>Freshness</dt><dd>15m0s</dd>")
	data := asJSON(t, s, "page", "function", "name", "shop.TopBooks")
	hot := data["hottest_keys"].([]any)
	require.NotEmpty(t, hot)
	assert.Equal(t, fncache.Must(s.top.Key(1, "poem")), hot[0].(map[string]any)["key"])
	assert.InDelta(t, 400, hot[0].(map[string]any)["lookups"], 300)
	assert.Len(t, data["most_expensive_keys"], 10)
	assert.EqualValues(t, 801, data["stats"].(map[string]any)["Calls"])

	status, body = s.page(t, "page", "function", "name", "shop.Unknown")
	assert.Equal(t, http.StatusNotFound, status)
	assert.Contains(t, body, "no function")
}

func TestThePageOfAKey(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	key := fncache.Must(s.top.Key(7, "novel"))
	_, body := s.page(t, "page", "key", "key", key)
	assert.Contains(t, body, "Nothing is stored under this key.")
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	for _, query := range [][]string{{"key", key}, {"key", key + ":lock"}, {"name", "shop.TopBooks", "args", `[7, "novel"]`}} {
		data := asJSON(t, s, append(query, "page", "key")...)
		assert.Equal(t, key, data["key"])
		entry := data["entry"].(map[string]any)
		assert.Equal(t, "fresh", entry["state"])
		assert.EqualValues(t, 900, entry["freshness_seconds"])
		assert.EqualValues(t, 3600, entry["timeout_seconds"])
		assert.Equal(t, "valid", entry["by_tags"])
		assert.Len(t, entry["tags"], 2)
		assert.NotContains(t, entry, "value")
		assert.Nil(t, data["lease"])
	}
	_, body = s.page(t, "page", "key", "key", key)
	assert.NotContains(t, body, "4711", "values are hidden")

	require.NoError(t, s.cache.InvalidateTags(t.Context(), "author:7"))
	entry := asJSON(t, s, "page", "key", "key", key)["entry"].(map[string]any)
	assert.Equal(t, "invalid", entry["state"])
	assert.Equal(t, "one of its tags was invalidated", entry["why"])
	for _, wrong := range [][]string{
		{"key", "fncache:{fence}"},
		{"key", "x"},
		{"name", "shop.TopBooks", "args", "7"},
		{"name", "shop.TopBooks", "args", "[7]"},
		{"name", "shop.TopBooks", "args", `["7", "novel"]`},
		{"name", "shop.TopBooks", "args", `[7, "novel"] x`},
		{"name", "shop.TopBooks", "args", `[7.5, ""]`},
	} {
		status, body := s.page(t, append(wrong, "page", "key")...)
		assert.Equal(t, http.StatusBadRequest, status, "%v: %s", wrong, body)
	}
}

func TestValuesAreShownWithTheSwitch(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{ShowValues: true})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	_, body := s.page(t, "page", "key", "key", fncache.Must(s.top.Key(7, "novel")))
	assert.Contains(t, body, "4711")
	s.fails = errors.New("the text of the error")
	_, _ = s.get(t.Context(), 8, "novel")
	_, body = s.page(t, "page", "function", "name", "shop.TopBooks")
	assert.Contains(t, body, "the text of the error")
}

func TestHostileNamesAndKeysAreText(t *testing.T) {
	const name = `shop.<script>alert("1")</script>&'`
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody})
	f := func(context.Context, string) (string, error) { return "", errors.New("no") }
	handle, err := fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: name, Timeout: time.Hour})
	if err != nil { // some characters are refused in names
		handle, err = fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: strings.ReplaceAll(name, " ", ""), Timeout: time.Hour})
	}
	require.NoError(t, err)
	_, _ = f(t.Context(), "a")
	for _, query := range [][]string{
		nil,
		{"q", `"><script>alert(2)</script>`},
		{"cache", `"><script>alert(2)</script>`},
		{"page", `"><script>alert(2)</script>`},
		{"page", "function", "name", handle.Name()},
		{"page", "function", "name", `<script>alert(2)</script>`},
		{"page", "key", "key", fncache.Must(handle.Key("a"))},
		{"page", "key", "key", `<script>alert(2)</script>`},
		{"page", "key", "name", handle.Name(), "args", `["<script>alert(2)</script>"]`},
		{"page", "key", "key", `fncache:{<script>alert(2)</script>:00000000000000000000000000000000}:000000000000`},
		{"done", `<script>alert(2)</script>`, "n", `<script>`},
	} {
		_, body := s.page(t, query...)
		assert.NotContains(t, body, "<script>", "%v", query)
		assert.NotContains(t, body, `"><`+"script", "%v", query)
	}
}

func TestPagesForbidWhatTheyDoNotUse(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	answer, err := http.Get(s.server.URL)
	require.NoError(t, err)
	_, body := read(t, answer)
	policy := answer.Header.Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'none'")
	assert.Contains(t, policy, "frame-ancestors 'none'")
	nonce := regexp.MustCompile(`nonce-([A-Z2-7]+)'`).FindStringSubmatch(policy)[1]
	assert.Contains(t, body, `<style nonce="`+nonce+`">`)
	assert.NotContains(t, body, "style=", "the policy forbids styles of elements")
	assert.NotContains(t, body, "http://")
	assert.NotContains(t, body, "https://")
	assert.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
}

// post sends a form. The request comes from site, as a browser says it.
func (s *shop) post(t *testing.T, site string, pairs ...string) (status int, body, location string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+"/debug/fncache", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	require.NoError(t, err)
	status, body = read(t, answer)
	return status, body, answer.Header.Get("Location")
}

func TestWithoutAuthorizeThereAreNoActions(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	key := fncache.Must(s.top.Key(7, "novel"))
	for _, query := range [][]string{nil, {"page", "function", "name", "shop.TopBooks"}, {"page", "key", "key", key}} {
		_, body := s.page(t, query...)
		assert.NotContains(t, body, `method="post"`)
	}
	status, _, _ := s.post(t, "same-origin", "action", "invalidate", "key", key)
	assert.Equal(t, http.StatusNotFound, status)
	assert.Equal(t, "fresh", asJSON(t, s, "page", "key", "key", key)["entry"].(map[string]any)["state"])
}

func TestAnActionThatAuthorizeRefusesIsForbiddenAndNotOffered(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: func(_ *http.Request, a fncachedebug.Action) bool { return a.Kind == fncachedebug.ExpireKey }})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	key := fncache.Must(s.top.Key(7, "novel"))
	_, body := s.page(t, "page", "key", "key", key)
	assert.Contains(t, body, `value="expire"`)
	assert.NotContains(t, body, `value="invalidate"`)
	status, _, _ := s.post(t, "same-origin", "action", "invalidate", "key", key)
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, s.log.String(), "refused=true")
	assert.Equal(t, true, asJSON(t, s, "page", "key", "key", key)["found"])
}

func TestActionsFromOtherSitesAreRefused(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	key := fncache.Must(s.top.Key(7, "novel"))
	for _, site := range []string{"cross-site", "same-site"} {
		status, _, _ := s.post(t, site, "action", "invalidate", "key", key)
		assert.Equal(t, http.StatusForbidden, status)
	}
	assert.Equal(t, true, asJSON(t, s, "page", "key", "key", key)["found"])
	assert.Empty(t, s.log.String())
}

func TestActions(t *testing.T) {
	for name, client := range map[string]func(t *testing.T) redis.UniversalClient{
		"embedded": embedded,
		"server":   func(t *testing.T) redis.UniversalClient { return redistest.Shared(t).Client() },
		"Cluster":  func(t *testing.T) redis.UniversalClient { return redistest.SharedCluster(t).Client() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, client(t), fncachedebug.Options{Authorize: everybody})
			key := fncache.Must(s.top.Key(7, "novel"))
			state := func() any {
				entry, _ := asJSON(t, s, "page", "key", "key", key)["entry"].(map[string]any)
				return entry["state"]
			}
			for _, step := range []struct {
				form  []string
				state any
				page  string
			}{
				{[]string{"action", "refresh", "name", "shop.TopBooks", "args", `[7, "novel"]`}, "fresh", "computed and stored again"},
				{[]string{"action", "expire", "key", key}, "stale", "The entry is stale now."},
				{[]string{"action", "refresh", "name", "shop.TopBooks", "args", `[7, "novel"]`}, "fresh", "computed and stored again"},
				{[]string{"action", "expire-tag", "tag", "author:7"}, "stale", "All entries with the tag are stale."},
				{[]string{"action", "invalidate-tag", "tag", "author:7"}, "invalid", "All entries with the tag are invalid."},
				{[]string{"action", "refresh", "name", "shop.TopBooks", "args", `[7, "novel"]`}, "fresh", "computed and stored again"},
				{[]string{"action", "clear", "name", "shop.TopBooks", "sure", "yes"}, nil, "The function is cleared."},
				{[]string{"action", "refresh", "name", "shop.TopBooks", "args", `[7, "novel"]`}, "fresh", "computed and stored again"},
				{[]string{"action", "invalidate", "key", key}, nil, "The entry is invalidated."},
			} {
				s.log.Reset()
				status, body, location := s.post(t, "same-origin", step.form...)
				require.Equal(t, http.StatusSeeOther, status, body)
				if got := state(); step.form[1] == "clear" {
					assert.Contains(t, []any{nil, "invalid"}, got)
				} else {
					assert.Equal(t, step.state, got, "%v", step.form)
				}
				assert.Contains(t, s.log.String(), "action="+step.form[1])
				answer, err := http.Get(s.server.URL + location)
				require.NoError(t, err)
				_, body = read(t, answer)
				assert.Contains(t, body, step.page)
			}
		})
	}
}

func TestFormsThatAreWrongChangeNothing(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody})
	for _, form := range [][]string{
		{},
		{"action", "drop"},
		{"action", "invalidate"},
		{"action", "invalidate", "key", "fncache:{fence}"},
		{"action", "expire-tag", "tag", " "},
		{"action", "clear", "name", "shop.TopBooks"},
		{"action", "clear", "name", "other", "sure", "yes"},
		{"action", "refresh", "name", "shop.TopBooks", "args", "[]"},
		{"action", "invalidate", "cache", "1"},
	} {
		status, body, _ := s.post(t, "same-origin", form...)
		assert.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, status, "%v: %s", form, body)
	}
	s.fails = errors.New("with an argument")
	status, body, _ := s.post(t, "same-origin", "action", "refresh", "name", "shop.TopBooks", "args", `[7, ""]`)
	assert.Equal(t, http.StatusBadGateway, status)
	assert.NotContains(t, body+s.log.String(), "with an argument")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.server.URL, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	status, _ = read(t, answer)
	assert.Equal(t, http.StatusMethodNotAllowed, status)
}

func TestThePagesAnswerWhileRedisIsAway(t *testing.T) {
	server := redistest.Start(t)
	s := newShop(t, server.Client(), fncachedebug.Options{})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	server.Pause()
	defer server.Resume()
	began := time.Now()
	_, body := s.page(t)
	assert.Contains(t, body, `class="redis bad"`)
	assert.Contains(t, body, "shop.TopBooks")
	_, body = s.page(t, "page", "key", "key", fncache.Must(s.top.Key(7, "novel")))
	assert.Contains(t, body, "Redis did not answer.")
	status, _ := s.page(t, "page", "function", "name", "shop.TopBooks")
	assert.Equal(t, http.StatusOK, status)
	assert.Less(t, time.Since(began), 15*time.Second, "each page has a limit of two seconds for Redis; a busy machine has more")
}

func TestTenThousandFunctionsMakeNoPageSlow(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	for i := range 10_000 {
		f := func(context.Context, int64) (int64, error) { return 1, nil }
		_, err := fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: fmt.Sprintf("shop.Function%d", i), Timeout: time.Hour})
		require.NoError(t, err)
		if i%50 == 0 {
			_, err = f(t.Context(), 1)
			require.NoError(t, err)
		}
	}
	var status int
	var body string
	took := time.Hour
	for range 5 { // the machine may be busy
		began := time.Now()
		status, body = s.page(t)
		took = min(took, time.Since(began))
	}
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 100, strings.Count(body, `<tr><th scope="row">`))
	assert.Contains(t, body, "These are the 100 busiest of 10,001.")
	assert.Less(t, took, 2*time.Second)
	_, body = s.page(t, "q", "Function7777")
	assert.Equal(t, 1, strings.Count(body, `<tr><th scope="row">`))
	t.Logf("10,001 functions: the page took %v", took)
}

func TestAMillionKeysMakeNoPageSlow(t *testing.T) {
	server := redistest.Start(t, "--enable-debug-command", "yes")
	s := newShop(t, server.Client(), fncachedebug.Options{})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	require.NoError(t, server.Client().Do(t.Context(), "debug", "populate", 1_000_000, "fncache:{shop.TopBooks:0").Err())
	began := time.Now()
	for _, query := range [][]string{nil, {"page", "function", "name", "shop.TopBooks"}, {"page", "key", "key", fncache.Must(s.top.Key(7, "novel"))}} {
		status, _ := s.page(t, query...)
		assert.Equal(t, http.StatusOK, status)
	}
	assert.Less(t, time.Since(began), 3*time.Second)
}

func TestWithoutACacheThePageSaysWhatToDo(t *testing.T) {
	answer := httptest.NewRecorder()
	fncachedebug.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusNotFound, answer.Code)
	assert.Contains(t, answer.Body.String(), "call fncache.SetDefault")
}

func TestCloseEndsTheHandlerOfACache(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	require.NoError(t, s.cache.Close(), "Close waits for the goroutine of the handler")
	status, body := s.page(t)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "closed")
}

// A near hit costs the same with the pages and without: nothing on its way knows of them.
func BenchmarkNearHit(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("pages=%v", with), func(b *testing.B) {
			server := miniredis.RunT(b)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
			cache, err := fncache.New(fncache.Config{Redis: client})
			require.NoError(b, err)
			defer func() { _ = cache.Close(); _ = client.Close() }()
			if with {
				fncachedebug.Handler(cache)
			}
			f := func(_ context.Context, n int64) (int64, error) { return n, nil }
			_, err = fncache.Wrap1(&f, fncache.Options{Cache: cache, Name: "shop.Near", Timeout: time.Hour, Near: time.Hour})
			require.NoError(b, err)
			var info fncache.Info
			require.Eventually(b, func() bool {
				_, err := f(fncache.WithInfo(b.Context(), &info), 7)
				return err == nil && info.Source == fncache.SourceNear
			}, 10*time.Second, time.Millisecond)
			ctx := b.Context()
			for b.Loop() {
				_, _ = f(ctx, 7)
			}
		})
	}
}
