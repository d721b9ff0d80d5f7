package fncachedebug

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

var hostname, _ = os.Hostname()

// mostRows bounds the table of functions.
const mostRows = 100

// A nowPage says what goes on in this process.
type nowPage struct {
	Cache     string         `json:"cache"`
	Host      string         `json:"host"`
	PID       int            `json:"pid"`
	Redis     redisState     `json:"redis"`
	HitRatio  *float64       `json:"hit_ratio"`         // nil without calls
	Stopped   uint64         `json:"stampedes_stopped"` // calls that did not compute because another caller did
	Saved     float64        `json:"saved_seconds"`
	Calls     uint64         `json:"calls"`
	Rate      float64        `json:"calls_per_second"`
	Computing int            `json:"computing"`
	Count     int            `json:"functions_in_all"`
	Matching  int            `json:"functions_matching"`
	Functions []functionLine `json:"functions"` // the busiest

	Search string `json:"-"`
	Find   string `json:"-"` // the hidden fields of forms: the cache
	Tags   []tagAction
}

// A redisState is what Redis says.
type redisState struct {
	OK       bool       `json:"ok"`
	Finding  string     `json:"finding"`            // of Cache.Ping, with what to do
	Warnings []string   `json:"warnings,omitempty"` // of what works and is a risk, with what to do
	Asked    time.Time  `json:"asked"`
	Took     float64    `json:"took_seconds"`
	Nodes    []nodeLine `json:"nodes"`
	Breaking int        `json:"nodes_away"`
	// Subscription is idle, up or down: see fncache.SubscriptionState.
	Subscription string `json:"subscription"`
}

type nodeLine struct {
	Addr  string     `json:"addr"`
	Away  bool       `json:"away"`
	Since *time.Time `json:"since,omitempty"`
	Why   string     `json:"why,omitempty"`
}

// A functionLine is a row of the table.
type functionLine struct {
	Name      string        `json:"name"`
	Rate      float64       `json:"calls_per_second"`
	Calls     uint64        `json:"calls"`
	Shares    []share       `json:"shares"`
	Computing int           `json:"computing"`
	Median    time.Duration `json:"cost_median_ns"`
	P99       time.Duration `json:"cost_p99_ns"`
	Refused   uint64        `json:"refused"`
	Failed    uint64        `json:"failed"`
	To        string        `json:"-"`

	group *group
}

// now makes the page of all functions.
func (v *visit) now(c *collector) *nowPage {
	p := &nowPage{Cache: c.cache.String(), Host: hostname, PID: os.Getpid(), Redis: c.redis(v.ctx), Search: v.query.Get("q"), Find: v.query.Get("cache")}
	computing := c.operator.Computing()
	var served uint64
	search, now := strings.ToLower(p.Search), time.Now()
	for _, g := range c.functions() {
		s := &g.stats
		p.Count++
		p.Calls += s.Calls
		served += s.Near + s.Fresh + s.Stale
		p.Stopped += s.Stale + s.Waited + s.Refused
		p.Saved += s.SavedTime.Seconds()
		line := functionLine{Name: g.name, Calls: s.Calls, Computing: g.computing(computing), group: g}
		p.Computing += line.Computing
		if t := c.known(g.name); t != nil {
			line.Rate = t.rate(now, *s)
			p.Rate += line.Rate
		}
		if strings.Contains(strings.ToLower(line.Name), search) {
			p.Matching++
			p.Functions = append(p.Functions, line)
		}
	}
	if p.Calls > 0 {
		ratio := float64(served) / float64(p.Calls)
		p.HitRatio = &ratio
	}
	slices.SortFunc(p.Functions, func(a, b functionLine) int {
		return cmp.Or(cmp.Compare(b.Computing, a.Computing), cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Name, b.Name))
	})
	p.Functions = p.Functions[:min(len(p.Functions), mostRows)]
	v.complete(c, p)
	return p
}

// complete adds what takes time to find out, to the rows that are shown.
func (v *visit) complete(c *collector, p *nowPage) {
	for i := range p.Functions {
		line := &p.Functions[i]
		s := &line.group.stats
		line.Refused, line.Failed, line.Shares = s.Refused, s.Failed, sharesOf(s)
		line.To = v.to("function", "name", line.Name)
		if t := c.known(line.Name); t != nil {
			line.Median, line.P99 = t.percentile(0.5), t.percentile(0.99)
		}
	}
	p.Tags = v.tagActions(c)
}

// A pinged is the last answer of Cache.Ping.
type pinged struct {
	at       time.Time
	took     time.Duration
	warnings []string
	err      error
}

// redis asks Redis, unless it was asked a moment ago, and adds what this process knows. The answer
// is for later requests too, so it does not depend on whether the first one was given up.
func (c *collector) redis(ctx context.Context) redisState {
	c.pinging.Lock()
	if time.Since(c.ping.at) > pingAgain {
		limited, end := context.WithTimeout(context.WithoutCancel(ctx), patience)
		began := time.Now()
		warnings, err := c.operator.Ping(limited)
		end()
		c.ping = pinged{time.Now(), time.Since(began), warnings, err}
	}
	last := c.ping
	c.pinging.Unlock()
	s := redisState{OK: last.err == nil, Warnings: last.warnings, Asked: last.at.UTC(), Took: last.took.Seconds()}
	switch {
	case errors.Is(last.err, context.DeadlineExceeded):
		s.Finding = fmt.Sprintf("Redis has not answered all checks within %v.", patience)
	case last.err != nil:
		s.Finding = strings.TrimPrefix(last.err.Error(), "fncache: ")
	}
	health := c.cache.Health()
	s.Subscription = health.Subscription.String()
	for _, node := range health.Nodes {
		line := nodeLine{Addr: node.Addr, Away: node.Away}
		if node.Away {
			s.Breaking++
			line.Since = &node.Since
			if node.Why != nil {
				line.Why = node.Why.Error()
			}
		}
		s.Nodes = append(s.Nodes, line)
	}
	return s
}

// findFunction returns the functions of the name in the query.
func (v *visit) findFunction(c *collector) (*group, error) {
	name := v.query.Get("name")
	for _, g := range c.functions() {
		if g.name == name {
			return g, nil
		}
	}
	return nil, missing("This process has no function " + strconv.Quote(name) + " on this cache.")
}
