package fncachedebug

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/operate"
)

// A keyPage shows one key.
type keyPage struct {
	Key      string     `json:"key"`
	Function string     `json:"function"`
	Args     string     `json:"arguments,omitempty"` // as they were given
	Trouble  string     `json:"trouble,omitempty"`   // Redis did not answer
	Found    bool       `json:"found"`
	Entry    *entryPart `json:"entry,omitempty"`
	Lease    *leasePart `json:"lease,omitempty"`

	Mine    string  `json:"-"` // a link to the page of the function, if this process has it
	Now     string  `json:"-"`
	Find    string  `json:"-"`
	Name    string  `json:"-"` // of the function whose arguments were given
	Actions []offer `json:"-"`
}

// An entryPart is what is stored.
type entryPart struct {
	State      string    `json:"state"` // fresh, stale or invalid
	Why        string    `json:"why,omitempty"`
	StoredAt   time.Time `json:"stored_at"`
	Age        float64   `json:"age_seconds"`
	Freshness  float64   `json:"freshness_seconds,omitempty"` // 0: not known
	Timeout    float64   `json:"timeout_seconds,omitempty"`   // 0: not known
	Left       *float64  `json:"left_seconds"`                // nil: no expiry
	Cost       float64   `json:"cost_seconds"`
	Size       int       `json:"size_bytes"`
	Codec      string    `json:"codec"`
	Compressed bool      `json:"compressed"`
	Sealed     bool      `json:"sealed"`
	Negative   bool      `json:"negative"`
	ID         string    `json:"id"`
	Tags       []string  `json:"tags,omitempty"`
	ByTags     string    `json:"by_tags,omitempty"` // valid, stale or invalid
	Value      any       `json:"value,omitempty"`
	Hidden     string    `json:"hidden,omitempty"` // why the value is not shown

	Text string `json:"-"` // of the value
	Line *line  `json:"-"`
}

// A line is the age of an entry on a line from stored to timeout, in percent of its length.
type line struct{ Fresh, Stale, Age float64 }

// A leasePart is the lease on an entry.
type leasePart struct {
	State string     `json:"state"`
	Left  float64    `json:"left_seconds"`
	Host  string     `json:"host,omitempty"`
	PID   int        `json:"pid,omitempty"`
	Build string     `json:"build,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	Held  float64    `json:"held_seconds,omitempty"`
}

// key makes the page of a key, which is given as it is in Redis, or by function and arguments.
func (v *visit) key(c *collector) (*keyPage, error) {
	p := &keyPage{Now: v.to("now"), Find: v.query.Get("cache")}
	given := strings.TrimSpace(v.query.Get("key"))
	if given == "" {
		g, err := v.findFunction(c)
		if err != nil {
			return nil, err
		}
		f := g.funcs[0]
		p.Name, p.Args = f.Name(), v.query.Get("args")
		args, err := c.arguments(f, p.Args)
		if err != nil {
			return nil, err
		}
		if given, err = f.KeyFor(v.ctx, args...); err != nil {
			return nil, err
		}
	}
	entry, function, err := c.operator.Split(given)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", given, err)
	}
	p.Key, p.Function = entry, function
	var about *operate.Function
	for _, f := range c.operator.Functions() {
		if f.(*fncache.Func).Name() == function {
			found := c.operator.About(f)
			about, p.Mine = &found, v.to("function", "name", function)
			break
		}
	}
	if err := v.read(c, p, about); err != nil {
		p.Trouble = strings.TrimPrefix(err.Error(), "fncache: ")
	}
	at := Action{Cache: c.cache, Function: function, Key: entry}
	p.Actions = append(v.offers(at.as(ExpireKey)), v.offers(at.as(InvalidateKey))...)
	if p.Name != "" {
		p.Actions = append(v.offers(at.as(RefreshKey)), p.Actions...)
		for i := range p.Actions {
			p.Actions[i].Args = p.Args
		}
	}
	return p, nil
}

// read asks Redis for the entry and its lease.
func (v *visit) read(c *collector, p *keyPage, about *operate.Function) error {
	e, err := c.operator.Read(v.ctx, p.Key)
	if err != nil {
		return err
	}
	lease, err := c.operator.Lease(v.ctx, p.Key)
	if err != nil {
		return err
	}
	now, err := c.operator.Now(v.ctx)
	if err != nil {
		now = time.Now() // TIME may be forbidden
	}
	if lease != nil {
		p.Lease = &leasePart{State: string(lease.State), Left: lease.Left.Seconds()}
		if h := lease.Holder; h != nil {
			p.Lease.Host, p.Lease.PID, p.Lease.Build, p.Lease.Since = h.Host, h.PID, h.Build, &lease.Since
			p.Lease.Held = max(0, now.Sub(lease.Since)).Seconds()
		}
	}
	if e == nil {
		return nil
	}
	left, ok, err := c.operator.Left(v.ctx, p.Key)
	if err != nil || !ok {
		return err
	}
	p.Found, p.Entry = true, v.describe(e, about, now)
	if left >= 0 {
		seconds := left.Seconds()
		p.Entry.Left = &seconds
	}
	return nil
}

// describe says what an entry is, and whether it would be served.
func (v *visit) describe(e *operate.Entry, about *operate.Function, now time.Time) *entryPart {
	p := &entryPart{
		StoredAt: e.StoredAt, Age: max(0, now.Sub(e.StoredAt)).Seconds(), Cost: e.Cost.Seconds(), Size: e.Size, Codec: string(e.Codec),
		Compressed: e.Compressed, Sealed: e.Sealed, Negative: e.Negative, ID: e.ID, Tags: e.Tags, ByTags: e.Verdict,
	}
	switch {
	case e.Lifetime != nil:
		p.Freshness, p.Timeout = e.Lifetime.Freshness.Seconds(), e.Lifetime.Timeout.Seconds()
	case about != nil && !e.Negative:
		p.Freshness, p.Timeout = about.Freshness.Seconds(), about.Timeout.Seconds()
	}
	p.State = "fresh"
	switch {
	case e.Verdict == "invalid":
		p.State, p.Why = "invalid", "one of its tags was invalidated"
	case p.Timeout > 0 && p.Age >= p.Timeout:
		p.State, p.Why = "invalid", "it is older than the timeout of this process"
	case e.Expired:
		p.State, p.Why = "stale", "it was expired"
	case e.Verdict == "stale":
		p.State, p.Why = "stale", "one of its tags was expired"
	case p.Timeout > 0 && p.Age >= p.Freshness:
		p.State, p.Why = "stale", "it is older than its freshness"
	case p.Timeout == 0:
		p.State, p.Why = "stored", "this process does not know how long it is fresh"
	}
	if p.Timeout > 0 {
		whole := max(p.Timeout, p.Freshness)
		fresh := 100 * min(1, p.Freshness/whole)
		p.Line = &line{Fresh: fresh, Stale: 100 - fresh, Age: 100 * min(1, p.Age/whole)}
	}
	v.value(p, e)
	return p
}

// mostText bounds a value that is shown, in bytes.
const mostText = 64 << 10

// value adds the value, if it may be shown.
func (v *visit) value(p *entryPart, e *operate.Entry) {
	switch {
	case !v.opts.ShowValues:
		p.Hidden = "values are hidden: Options.ShowValues is not set"
	case e.Hidden != "":
		p.Hidden = e.Hidden
	case e.Negative:
		p.Value, p.Text = string(e.Body), string(e.Body)
	default:
		value, err := operate.Value(e)
		if err != nil {
			p.Hidden = err.Error()
			return
		}
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			p.Hidden = err.Error()
			return
		}
		if len(text) > mostText {
			p.Hidden = fmt.Sprintf("the value has %d bytes as JSON, more than a page shows", len(text))
			return
		}
		p.Value, p.Text = value, string(text)
	}
}

// arguments reads a JSON list of the arguments of a function, without the context.
func (c *collector) arguments(f *fncache.Func, text string) ([]any, error) {
	types := c.operator.About(f).Params
	var raw []json.RawMessage
	if text = strings.TrimSpace(text); text != "" {
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("the arguments are not a JSON list, such as [7, \"text\"]: %w", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("after the JSON list of the arguments there is more text")
		}
	}
	if len(raw) != len(types) {
		return nil, fmt.Errorf("%s has %d arguments in its key, and the list has %d; the context is left out, and a variadic argument is a list", f.Name(), len(types), len(raw))
	}
	args := make([]any, len(types))
	for i, t := range types {
		v := reflect.New(t)
		d := json.NewDecoder(bytes.NewReader(raw[i]))
		d.DisallowUnknownFields()
		if err := d.Decode(v.Interface()); err != nil {
			return nil, fmt.Errorf("argument %d is not a value of the type %v: %w", i+1, t, err)
		}
		args[i] = v.Elem().Interface()
	}
	return args, nil
}
