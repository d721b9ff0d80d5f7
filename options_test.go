package fncache_test

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptionsHaveDocumentedDefaults(t *testing.T) {
	got, err := Options{Timeout: time.Hour}.WithDefaults(true)
	require.NoError(t, err)
	assert.Equal(t, Options{
		Timeout: time.Hour, Freshness: time.Hour, OnCold: Fail, OnStale: Refresh, OnError: ServeStale,
		Cooldown: time.Second, Lease: 10 * time.Second, ComputeTimeout: 5 * time.Minute,
	}, got)
	given := Options{
		Prefix: "A", Name: "B", Timeout: time.Hour, Freshness: time.Minute, OnCold: Wait, WaitTimeout: 1, OnStale: Background,
		SoftTimeout: 1, OnError: ReturnError, Cooldown: -1, Lease: time.Second, ComputeTimeout: 1,
	}
	got, err = given.WithDefaults(true)
	require.NoError(t, err)
	assert.Equal(t, given, got, "what is set stays")
}

func TestEachFaultOfOptionsIsNamed(t *testing.T) {
	for _, test := range []struct {
		opts    Options
		noError bool
		faults  []string // one or more; parts of each, separated by |
	}{
		{Options{}, false, []string{"Timeout is not set; set the greatest age"}},
		{Options{Timeout: -1}, false, []string{"Timeout is -1ns; it must not be negative"}},
		{Options{Timeout: time.Microsecond}, false, []string{"Timeout is 1µs; Redis keeps whole milliseconds"}},
		{Options{Timeout: time.Minute, Freshness: time.Hour}, false, []string{"Freshness is 1h0m0s, more than the Timeout of 1m0s"}},
		{Options{Timeout: time.Minute, Freshness: -1}, false, []string{"Freshness is -1ns"}},
		{Options{Timeout: time.Minute, WaitTimeout: -1}, false, []string{"WaitTimeout"}},
		{Options{Timeout: time.Minute, SoftTimeout: -1}, false, []string{"SoftTimeout"}},
		{Options{Timeout: time.Minute, ComputeTimeout: -1}, false, []string{"ComputeTimeout"}},
		{Options{Timeout: time.Minute, Lease: -1}, false, []string{"Lease"}},
		{Options{Timeout: time.Minute, Lease: 1}, false, []string{"Lease is 1ns; Redis keeps whole milliseconds"}},
		{Options{Timeout: time.Minute, Cooldown: 1}, false, []string{"Cooldown is 1ns; Redis keeps whole milliseconds"}},
		{Options{Timeout: time.Minute, OnCold: 7}, false, []string{"OnCold: ColdPolicy(7) is unknown; use fail, wait or compute"}},
		{Options{Timeout: time.Minute, OnStale: 7}, false, []string{"OnStale: StalePolicy(7) is unknown; use refresh or background"}},
		{Options{Timeout: time.Minute, OnError: 7}, false, []string{"OnError: ErrorPolicy(7) is unknown"}},
		{Options{Timeout: time.Minute}, true, []string{"OnCold is Fail, but the function has no error result to report a refusal; set OnCold to Wait or Compute"}},
		{Options{Timeout: time.Minute, OnCold: Wait, OnError: ReturnError}, true, []string{"OnError is ReturnError, but the function has no error"}},
		{Options{Timeout: time.Minute, OnError: ReturnError, StaleIf: func(error) bool { return true }}, false, []string{"StaleIf is set, but OnError is ReturnError"}},
		{Options{Timeout: time.Minute, CacheErrors: []error{errGone}}, false, []string{"CacheErrors is set without ErrorTimeout; set how long"}},
		{Options{Timeout: time.Minute, ErrorTimeout: time.Second}, false, []string{"ErrorTimeout is set without CacheErrors; set which"}},
		{Options{Timeout: time.Minute, CacheErrors: []error{errGone}, ErrorTimeout: -1}, false, []string{"ErrorTimeout is -1ns"}},
		{Options{Timeout: time.Minute, CacheErrors: []error{errGone}, ErrorTimeout: 1}, false, []string{"ErrorTimeout is 1ns; Redis keeps whole milliseconds"}},
		{
			Options{Timeout: time.Minute, ErrorTimeout: time.Second, CacheErrors: []error{errors.New("a"), nil, errors.New(""), errors.New("a")}},
			false,
			[]string{"CacheErrors[1] is nil", "CacheErrors[2] (*errors.errorString) has no text", `CacheErrors[3] has the same text as another one, "a"`},
		},
		{
			Options{Timeout: time.Minute, ErrorTimeout: time.Second, CacheErrors: []error{(*ComputeTimeoutError)(nil), errGone}},
			false,
			[]string{"CacheErrors[0] (*fncache.ComputeTimeoutError) panics in its Error method"},
		},
		{
			Options{Timeout: time.Minute, OnCold: Wait, CacheErrors: []error{errGone}, ErrorTimeout: time.Second},
			true,
			[]string{"CacheErrors is set, but the function has no error result"},
		},
		{Options{Timeout: time.Minute, Jitter: -0.1}, false, []string{"Jitter is -0.1; it is a fraction of Freshness, from 0 to 1"}},
		{Options{Timeout: time.Minute, Jitter: 1.1}, false, []string{"Jitter is 1.1"}},
		{Options{Timeout: time.Minute, Jitter: math.NaN()}, false, []string{"Jitter is NaN"}},
		{Options{Timeout: time.Minute, MaxConcurrent: -1}, false, []string{"MaxConcurrent is -1; it must not be negative"}},
		{Options{Timeout: time.Minute, Prefix: "a:b"}, false, []string{`Prefix "a:b" contains ':'; leave out colons`}},
		{Options{Timeout: time.Minute, Name: "a b"}, false, []string{`Name "a b" contains ' '`}},
		{
			Options{Freshness: -1, Lease: -1, OnCold: 9, Prefix: "{", Name: "}"},
			false,
			[]string{"Timeout", "Freshness", "Lease", "OnCold", "Prefix", "Name"},
		},
	} {
		t.Run(test.faults[0], func(t *testing.T) {
			_, err := test.opts.WithDefaults(!test.noError)
			assertFaults(t, err, test.faults...)
		})
	}
}

func TestALeaseLeavesTimeForARenewalThatFails(t *testing.T) {
	opts := Options{Lease: time.Second}
	require.NoError(t, opts.CheckLease(250*time.Millisecond))
	require.ErrorContains(t, opts.CheckLease(251*time.Millisecond), "Lease is 1s, less than 4 times the cache's RedisTimeout of 251ms")

	inBubble(t, func(t *testing.T, b *bubble) {
		fn := lengthOf
		c := b.cache(func(c *Config) { c.RedisTimeout = time.Second })
		_, err := Wrap(&fn, Options{Cache: c, Timeout: time.Minute, Lease: 3 * time.Second})
		assertFaults(t, err, "fncache: wrap fncache_test.lengthOf (decorate_test.go:")
		require.ErrorContains(t, err, "use at least 4s")
	})
}

func TestConfigHasDocumentedDefaultsAndCopiesTheSecret(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
	defer func() { _ = client.Close() }()
	secret := []byte("secret")
	got, err := Config{Redis: client, HashSecret: secret}.WithDefaults()
	require.NoError(t, err)
	assert.Equal(t, 250*time.Millisecond, got.RedisTimeout)
	assert.Equal(t, "fncache", got.Namespace)
	assert.Equal(t, DownCompute, got.OnRedisDown)
	clear(secret)
	assert.Equal(t, "secret", string(got.HashSecret))
}

func TestEachFaultOfAConfigIsNamed(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	for _, test := range []struct {
		cfg    Config
		faults []string
	}{
		{Config{}, []string{"Redis is not set; set a client"}},
		{Config{Redis: (*redis.Client)(nil)}, []string{"Redis is a nil *redis.Client; set a client"}},
		{Config{Redis: (*redis.ClusterClient)(nil)}, []string{"Redis is a nil *redis.ClusterClient"}},
		{Config{Redis: ring}, []string{"Redis is a *redis.Ring; use a single server, Sentinel or a Cluster"}},
		{
			Config{OnRedisDown: 5, RedisTimeout: -1, Namespace: "a b"},
			[]string{"Redis", "OnRedisDown: DownPolicy(5) is unknown; use compute or error", "RedisTimeout is -1ns", "Namespace"},
		},
	} {
		t.Run(test.faults[0], func(t *testing.T) {
			_, err := test.cfg.WithDefaults()
			assertFaults(t, err, test.faults...)
		})
	}
}

// ---- tags

func TestTagsSetEachOption(t *testing.T) {
	defaults := Options{Timeout: time.Minute, Prefix: "Default"}
	for _, test := range []struct {
		tag    string
		change func(*Options)
	}{
		{"", func(*Options) {}},
		{"  ", func(*Options) {}},
		{"prefix=Author", func(o *Options) { o.Prefix = "Author" }},
		{"name=shop.Find", func(o *Options) { o.Name = "shop.Find" }},
		{"name=a=b", func(o *Options) { o.Name = "a=b" }},
		{"timeout=24h", func(o *Options) { o.Timeout = 24 * time.Hour }},
		{"freshness=1h30m", func(o *Options) { o.Freshness = 90 * time.Minute }},
		{"oncold=fail", func(o *Options) { o.OnCold = Fail }},
		{"oncold=wait", func(o *Options) { o.OnCold = Wait }},
		{"oncold=compute", func(o *Options) { o.OnCold = Compute }},
		{"waittimeout=2s", func(o *Options) { o.WaitTimeout = 2 * time.Second }},
		{"onstale=background", func(o *Options) { o.OnStale = Background }},
		{"softtimeout=100ms", func(o *Options) { o.SoftTimeout = 100 * time.Millisecond }},
		{"onerror=returnerror", func(o *Options) { o.OnError = ReturnError }},
		{"cooldown=-1s", func(o *Options) { o.Cooldown = -time.Second }},
		{"errortimeout=30s", func(o *Options) { o.ErrorTimeout = 30 * time.Second }},
		{"jitter=0.25", func(o *Options) { o.Jitter = 0.25 }},
		{"shared", func(o *Options) { o.Shared = true }},
		{"timeout=1s, shared ", func(o *Options) { o.Timeout, o.Shared = time.Second, true }},
		{"maxconcurrent=8", func(o *Options) { o.MaxConcurrent = 8 }},
		{"lease=0", func(o *Options) { o.Lease = 0 }},
		{"tags=books|author:{0}", func(o *Options) { o.Tags = []string{"books", "author:{0}"} }},
		{"tags=", func(o *Options) { o.Tags = []string{} }},
		{"near=1s", func(o *Options) { o.Near = time.Second }},
		{"early=1.5", func(o *Options) { o.Early = 1.5 }},
		{"verify=0.01", func(o *Options) { o.Verify = 0.01 }},
		{"batchsize=100", func(o *Options) { o.BatchSize = 100 }},
		{"missingtimeout=1m", func(o *Options) { o.MissingTimeout = time.Minute }},
		{"lossy", func(o *Options) { o.Lossy = true }},
		{"computetimeout=1.5h", func(o *Options) { o.ComputeTimeout = 90 * time.Minute }},
		{" timeout = 1s , oncold= wait ", func(o *Options) { o.Timeout, o.OnCold = time.Second, Wait }},
	} {
		t.Run(test.tag, func(t *testing.T) {
			want := defaults
			test.change(&want)
			got, err := ParseTag(test.tag, defaults)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestEachFaultOfATagIsNamedAndDefaultsStay(t *testing.T) {
	defaults := Options{Timeout: time.Minute}
	for _, test := range []struct {
		tag    string
		faults []string
	}{
		{"timeout", []string{"timeout has no value; write timeout=VALUE"}},
		{"timeout=", []string{"timeout has no value"}},
		{"timeout=24", []string{`timeout: "24" is not a duration; write a number with its unit, as in 90s`}},
		{"timeout=soon", []string{`timeout: "soon" is not a duration`}},
		{"timeout=1h,", []string{"an option is missing before or after a comma"}},
		{",", []string{"an option is missing", "an option is missing"}},
		{"timeout=1h,timeout=2h", []string{"timeout is given twice; leave one"}},
		{"oncold=later", []string{`oncold: "later" is unknown; use fail, wait or compute`}},
		{"oncold=Wait", []string{`oncold: "Wait" is unknown`}},
		{"onstale=wait", []string{"use refresh or background"}},
		{"onerror=fail", []string{"use servestale or returnerror"}},
		{"jitter=some", []string{`jitter: "some" is not a fraction; write a number from 0 to 1`}},
		{"jitter=NaN", []string{`jitter: "NaN" is not a fraction`}},
		{"maxconcurrent=1.5", []string{`maxconcurrent: "1.5" is not a whole number`}},
		{"freshnes=1h", []string{`unknown option "freshnes"; did you mean freshness?`}},
		{"Timeout=1h", []string{`unknown option "Timeout"; did you mean timeout?`}},
		{"ttl=1h", []string{`unknown option "ttl"; known are prefix, name, tags, timeout, `}},
		{"shared=true", []string{"shared takes no value; write shared alone"}},
		{"shared=", []string{"shared takes no value"}},
		{"shared,shared", []string{"shared is given twice; leave one"}},
		{"share", []string{`unknown option "share"; did you mean shared?`}},
		{"=1h", []string{`unknown option ""`}},
		{"timeout=1,oncold=2,x=3,lease=1s", []string{"timeout", "oncold", `"x"`}},
	} {
		t.Run(test.tag, func(t *testing.T) {
			got, err := ParseTag(test.tag, defaults)
			assertFaults(t, err, test.faults...)
			assert.Equal(t, defaults, got)
		})
	}
}

func TestEveryOptionWithATextHasATagOfItsName(t *testing.T) {
	var fields, keys []string
	for field := range reflect.TypeFor[Options]().Fields() {
		if !slices.Contains([]string{"Cache", "Vary", "StaleIf", "CacheErrors"}, field.Name) {
			fields = append(fields, strings.ToLower(field.Name))
		}
	}
	for _, option := range TagOptions {
		keys = append(keys, option.Key())
	}
	assert.ElementsMatch(t, fields, keys)
}

func TestPoliciesHaveATextualForm(t *testing.T) {
	for text, policy := range map[string]interface {
		encoding.TextMarshaler
		fmt.Stringer
	}{
		"fail": Fail, "wait": Wait, "compute": Compute, "refresh": Refresh, "background": Background,
		"servestale": ServeStale, "returnerror": ReturnError, "error": DownError,
	} {
		assert.Equal(t, text, policy.String())
		b, err := policy.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, text, string(b))
		back := reflect.New(reflect.TypeOf(policy))
		require.NoError(t, back.Interface().(encoding.TextUnmarshaler).UnmarshalText(b))
		assert.Equal(t, policy, back.Elem().Interface())
		require.ErrorContains(t, back.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte("x")), `"x" is unknown; use `)
	}
	assert.Equal(t, "ColdPolicy(9)", ColdPolicy(9).String())
	_, err := DownPolicy(9).MarshalText()
	require.ErrorContains(t, err, "DownPolicy(9) is unknown; use compute or error")
}

// optionsTag writes options as a tag.
func optionsTag(o Options) string {
	var items []string
	add := func(key, value string) {
		if value != "" {
			items = append(items, key+"="+value)
		}
	}
	add("prefix", o.Prefix)
	add("name", o.Name)
	if o.Tags != nil {
		items = append(items, "tags="+strings.Join(o.Tags, "|"))
	}
	for flag, set := range map[string]bool{"batch": IsBatch(o), "shared": o.Shared, "lossy": o.Lossy} {
		if set {
			items = append(items, flag)
		}
	}
	add("timeout", o.Timeout.String())
	add("freshness", o.Freshness.String())
	add("oncold", o.OnCold.String())
	add("waittimeout", o.WaitTimeout.String())
	add("onstale", o.OnStale.String())
	add("softtimeout", o.SoftTimeout.String())
	add("onerror", o.OnError.String())
	add("errortimeout", o.ErrorTimeout.String())
	for key, value := range map[string]float64{"jitter": o.Jitter, "early": o.Early, "verify": o.Verify} {
		add(key, strconv.FormatFloat(value, 'g', -1, 64))
	}
	for key, value := range map[string]int{"maxconcurrent": o.MaxConcurrent, "batchsize": o.BatchSize} {
		add(key, strconv.Itoa(value))
	}
	add("near", o.Near.String())
	add("missingtimeout", o.MissingTimeout.String())
	add("cooldown", o.Cooldown.String())
	add("lease", o.Lease.String())
	add("computetimeout", o.ComputeTimeout.String())
	return strings.Join(items, ",")
}

// FuzzTag checks that reading any tag ends in options or in an error, and that options written
// as a tag are read back unchanged.
func FuzzTag(f *testing.F) {
	for _, tag := range []string{
		"", "timeout=24h,freshness=1h,prefix=Author", "timeout=1h,oncold=wait,waittimeout=2s", "timeout=1h,", "=", ",,", "timeout=-9223372036854775808ns",
		"name=a=b", "prefix=\xff", "cooldown=-1s,lease=1ms", "TIMEOUT=1h", "timeout=1h,timeout=1h", " onerror = returnerror ", "softtimeout=.5s",
		"near=1s,early=1,verify=0.5", "tags=books|author:{0},batch,batchsize=2,missingtimeout=1s", "tags=,shared,lossy",
	} {
		f.Add(tag)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		defaults := Options{Timeout: time.Minute}
		opts, err := ParseTag(tag, defaults)
		if err != nil {
			assert.Equal(t, defaults, opts)
			return
		}
		again, err := ParseTag(optionsTag(opts), Options{})
		require.NoError(t, err)
		assert.Equal(t, opts, again)
		if checked, err := opts.WithDefaults(true); err == nil {
			twice, err := checked.WithDefaults(true)
			require.NoError(t, err)
			assert.Equal(t, checked, twice, "defaults are options too")
		}
	})
}
