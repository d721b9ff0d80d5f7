package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newWeb serves a tiny shop with an embedded Redis.
func newWeb(t *testing.T) (h http.Handler, s *web) {
	t.Helper()
	server, err := startMiniredis()
	require.NoError(t, err)
	t.Cleanup(server.close)
	shop, err := openShop(tinyDatabase(t), backend{Redis: server.url}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shop.close()) })
	s = &web{shop: shop, redis: server, ctx: t.Context()}
	return s.handler(), s
}

// browse gets a page as a browser does.
func browse(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/html,*/*")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// press presses a button on the page of an author.
func press(h http.Handler, button, author, site string) *httptest.ResponseRecorder {
	form := url.Values{"author": {author}, "here": {"/authors/" + author + "/top"}}
	r := httptest.NewRequest(http.MethodPost, "/do/"+button, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestABrowserGetsPagesAndAProgramGetsJSON(t *testing.T) {
	h, _ := newWeb(t)
	first := browse(h, "/").Body.String()
	assert.Contains(t, first, `<a href="/authors/Bob/top">Bob</a>`)
	assert.Contains(t, first, ">computed</span> The database was asked")
	assert.Regexp(t, "from the cache, .* old", browse(h, "/").Body.String())
	author := browse(h, "/authors/Bob/top").Body.String()
	assert.Contains(t, author, `<a href="/books/13">Together</a>`)
	assert.Contains(t, browse(h, "/books/13").Body.String(), "Together")
	assert.Equal(t, "application/json", get(h, "/books/13").Header().Get("Content-Type"))
	assert.Contains(t, browse(h, "/debug/fncache").Body.String(), "Author:TopBooks")
	for _, path := range []string{"/books/0", "/books/x", "/authors/Nobody/top"} {
		missing := browse(h, path)
		assert.Equal(t, http.StatusNotFound, missing.Code, path)
		assert.Contains(t, missing.Body.String(), "There is no such page.")
	}
	for _, path := range []string{"/", "/authors/Bob/top", "/debug/fncache"} {
		assert.NotRegexp(t, regexp.MustCompile(`(src|href|action)="(https?:)?//`), browse(h, path).Body.String(), "nothing from outside")
	}
}

func TestAuthorsAreText(t *testing.T) {
	h, _ := newWeb(t)
	page := browse(h, "/authors/%3Cscript%3Ealert(1)%3C%2Fscript%3E/top").Body.String()
	assert.NotContains(t, page, "<script>alert")
}

func TestTheBurstButtonRunsOneQuery(t *testing.T) {
	h, s := newWeb(t)
	answer := press(h, "cold-burst", "Bob", "same-origin")
	require.Equal(t, http.StatusSeeOther, answer.Code)
	require.Equal(t, "/authors/Bob/top", answer.Header().Get("Location"))
	b := s.counters().Burst
	require.NotNil(t, b)
	assert.EqualValues(t, 1, s.shop.funcs["TopBooks"].Stats().Computations)
	total := 0
	for _, source := range b.Sources {
		total += source.Count
	}
	assert.Equal(t, burstSize, total)
	assert.Contains(t, browse(h, "/live").Body.String(), "1,000 visitors asked for Bob at once")
	press(h, "invalidate", "Bob", "same-origin")
	assert.Contains(t, browse(h, "/authors/Bob/top").Body.String(), ">computed</span>")
}

func TestButtonsOfOtherSitesAreRefused(t *testing.T) {
	h, s := newWeb(t)
	assert.Equal(t, http.StatusForbidden, press(h, "cold-burst", "Bob", "cross-site").Code)
	assert.Nil(t, s.counters().Burst)
	assert.Equal(t, http.StatusNotFound, press(h, "other", "Bob", "same-origin").Code)
}

func TestPagesAreServedWhileRedisIsStopped(t *testing.T) {
	h, s := newWeb(t)
	browse(h, "/authors/Bob/top")
	start := s.redis.stop()
	assert.Equal(t, http.StatusOK, browse(h, "/authors/Bob/top").Code)
	require.Eventually(t, func() bool {
		browse(h, "/authors/Bob/top")
		return strings.Contains(browse(h, "/live").Body.String(), "Redis is away")
	}, 10*time.Second, 10*time.Millisecond)
	start()
	require.Eventually(t, func() bool { return strings.Contains(browse(h, "/authors/Bob/top").Body.String(), ">fresh</span>") }, 10*time.Second, 10*time.Millisecond,
		"the data is still there")
}
