package fncachedebug_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachedebug"
	"github.com/fncache/fncache/internal/redistest"
)

// posted returns the answer of a handler to a form.
func posted(h http.Handler, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnActionLeadsBackToThePathInTheBrowser(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	h := fncachedebug.New(fncachedebug.Options{Caches: []*fncache.Cache{s.cache}, Authorize: everybody})
	form := url.Values{"action": {"expire-tag"}, "tag": {"a"}}
	for target, handler := range map[string]http.Handler{
		"http://shop/debug/fncache":       h,
		"http://shop/admin/debug/fncache": http.StripPrefix("/admin", h),
		"http://shop//evil.example/debug": h,
		"http://shop/debug/../x":          h,
	} {
		answer := posted(handler, target, form)
		require.Equal(t, http.StatusSeeOther, answer.Code, answer.Body)
		location := answer.Header().Get("Location")
		assert.True(t, strings.HasPrefix(location, "?"), "%s leads to %s", target, location)
	}
}

// A bomb panics when it is read from JSON.
type bomb struct{ Text string }

func (*bomb) UnmarshalJSON([]byte) error { panic("secret 4711") }

func TestAPanicOfTheProgramIsAPageAndIsLogged(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody, ShowValues: true})
	wrap := func(name string, vary func(context.Context) string, f func(context.Context, int64) (int64, error)) {
		_, err := fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: name, Timeout: time.Hour, Vary: vary})
		require.NoError(t, err)
	}
	wrap("shop.Run", nil, func(context.Context, int64) (int64, error) { panic("secret 4711") })
	wrap("shop.Vary", func(context.Context) string { panic("secret 4711") }, func(_ context.Context, n int64) (int64, error) { return n, nil })
	f := func(context.Context, bomb) (int64, error) { return 1, nil }
	_, err := fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: "shop.Argument", Timeout: time.Hour})
	require.NoError(t, err)

	for name, want := range map[string]int{"shop.Run": http.StatusBadGateway, "shop.Vary": http.StatusInternalServerError, "shop.Argument": http.StatusInternalServerError} {
		s.log.Reset()
		status, body, _ := s.post(t, "same-origin", "action", "refresh", "name", name, "args", "[1]")
		assert.Equal(t, want, status, name)
		assert.Contains(t, body, "panicked, with a value of the type string", name)
		assert.NotContains(t, body+s.log.String(), "4711")
		assert.Equal(t, name == "shop.Run", strings.Contains(s.log.String(), "panicked"), "an action that was begun is logged: %s", s.log)
		if name != "shop.Run" {
			status, body = s.page(t, "page", "key", "name", name, "args", "[1]")
			assert.Equal(t, http.StatusInternalServerError, status)
			assert.NotContains(t, body, "4711")
		}
	}
}

func TestARequestThatIsGivenUpDoesNotMakeRedisLookUnfit(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	h := fncachedebug.Handler(s.cache)
	gone, end := context.WithCancel(t.Context())
	end()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, http.MethodGet, "/", nil))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	assert.Contains(t, w.Body.String(), "Redis is fit.")
}

func TestAWarningOfPingIsShown(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	s := newShop(t, server.Client(), fncachedebug.Options{})
	_, body := s.page(t)
	assert.Contains(t, body, `class="redis warn"`)
	assert.Contains(t, body, "Redis is fit, with a warning.")
	assert.Contains(t, body, "set maxmemory-policy to volatile-lru")
	assert.Len(t, asJSON(t, s)["redis"].(map[string]any)["warnings"], 1)
}

func TestFunctionsOfOneNameAreShownAsOne(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody})
	for range 3 {
		f := func(_ context.Context, n int64) (int64, error) { return n, nil }
		_, err := fncache.Wrap(&f, fncache.Options{Cache: s.cache, Name: "shop.Shared", Shared: true, Timeout: time.Hour})
		require.NoError(t, err)
		_, err = f(t.Context(), 7)
		require.NoError(t, err)
	}
	_, body := s.page(t)
	assert.Equal(t, 1, strings.Count(body, ">shop.Shared</a>"))
	data := asJSON(t, s, "q", "SHARED")
	assert.EqualValues(t, 2, data["functions_in_all"])
	require.Len(t, data["functions"], 1, "upper and lower case are the same in a search")
	line := data["functions"].([]any)[0].(map[string]any)
	assert.EqualValues(t, 3, line["calls"])
	assert.Positive(t, line["cost_median_ns"])
	function := asJSON(t, s, "page", "function", "name", "shop.Shared")
	assert.EqualValues(t, 3, function["stats"].(map[string]any)["Calls"])
	assert.Equal(t, 1, strings.Count(function["wrapped"].(string), "hostile_test.go"), "one place")
}

func TestTheHitRatioIsThatOfTheMetrics(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{})
	for range 4 {
		_, err := s.get(t.Context(), 7, "novel")
		require.NoError(t, err)
	}
	_, err := s.get(fncache.WithBypass(t.Context()), 7, "novel")
	require.NoError(t, err)
	assert.InDelta(t, 3.0/5, asJSON(t, s)["hit_ratio"], 1e-9, "near, fresh and stale by all calls")
}

func TestEveryPageIsJSONOnDemandForEachMethodAndFailure(t *testing.T) {
	s := newShop(t, embedded(t), fncachedebug.Options{Authorize: everybody})
	_, err := s.get(t.Context(), 7, "novel")
	require.NoError(t, err)
	key := url.QueryEscape(fncache.Must(s.top.Key(7, "novel")))
	for _, c := range []struct {
		method, query string
		status        int
	}{
		{"GET", "", 200},
		{"GET", "page=now&q=x", 200},
		{"GET", "page=function&name=shop.TopBooks", 200},
		{"GET", "page=key&key=" + key, 200},
		{"GET", "page=key&name=shop.TopBooks&args=" + url.QueryEscape(`[7, "novel"]`), 200},
		{"GET", "page=other", 404},
		{"GET", "cache=1", 404},
		{"GET", "cache=-1", 404},
		{"GET", "page=function", 404},
		{"GET", "page=key", 404},
		{"GET", "page=key&key=%00%ff%0a%22", 400},
		{"GET", "page=key&name=shop.TopBooks&args=" + strings.Repeat("%5B", 100_000), 400},
		{"GET", "page=key&name=shop.TopBooks&args=" + url.QueryEscape("["+strings.Repeat("1,", 200_000)+"1]"), 400},
		{"GET", "page=key&name=shop.TopBooks&args=" + url.QueryEscape(`[7, "`+strings.Repeat("x", 500_000)+`"]`), 200},
		{"HEAD", "page=now", 200},
		{"PUT", "", 405},
		{"OPTIONS", "", 405},
		{"TRACE", "", 405},
		{"POST", "", 404},
		{"POST", "action=clear", 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.server.URL+"/a/..//b?format=json&"+c.query, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		status, body := read(t, answer)
		what := c.method + " " + c.query[:min(len(c.query), 60)]
		assert.Equal(t, c.status, status, what)
		assert.Equal(t, "application/json", answer.Header.Get("Content-Type"), what)
		if c.method == "HEAD" {
			assert.Empty(t, body)
			continue
		}
		assert.True(t, json.Valid([]byte(body)), what)
		assert.NotContains(t, body, "<", "markup is escaped: %s", what)
	}
}
