package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fncache/fncache/internal/operate"
	"github.com/fncache/fncache/internal/releases"
)

type keyCommand struct {
	Function string   `arg:"" help:"Name of the function, as functions lists it."`
	Args     []string `arg:"" optional:"" help:"Arguments without the context: booleans, numbers, strings, times in RFC 3339, and JSON lists of these."`
	Vary     *string  `help:"What Options.Vary returns for the call." placeholder:"TEXT"`
}

// A callKey is the Redis key of a call, and the types of its arguments.
type callKey struct {
	Key   string   `json:"key"`
	Types []string `json:"types"`
}

// Run prints the keys. It finds the types of the parameters by their fingerprint in the registry.
func (k keyCommand) Run(ctx context.Context, a *app) error {
	records, err := a.operator.Releases(ctx, k.Function)
	switch {
	case err != nil:
		return err
	case len(records) == 0:
		return fmt.Errorf("%w: no process has registered a function %s; `fncache functions` lists the names", errNotFound, k.Function)
	}
	readings, err := operate.Readings(a.operator.Hashing(), k.Args, k.Vary)
	if err != nil {
		return usageError{err.Error()}
	}
	var keys []callKey
	var rows [][]string
	for _, r := range records {
		if reading, ok := readings[r.Params]; ok {
			key := callKey{a.operator.EntryKey(k.Function, reading.Hash, r.Signature), append([]string{}, reading.Types...)}
			keys = append(keys, key)
			rows = append(rows, []string{key.Key})
		}
	}
	if len(keys) == 0 {
		return usageError{fmt.Sprintf("no release of %s takes %d arguments that these texts can be; structs and maps cannot be given here, and a function with Options.Vary needs --vary: use the Redis key, as Func.Key returns it", k.Function, len(k.Args))}
	}
	slices.SortFunc(keys, func(a, b callKey) int { return strings.Compare(a.Key, b.Key) })
	return a.show(keys, nil, rows)
}

type getCommand struct {
	Key string `arg:"" help:"Redis key of the entry, or of its lease."`
}

// A shown is an entry as get prints it. Times are those of the server.
type shown struct {
	Key        string    `json:"key"`
	Function   string    `json:"function"`
	StoredAt   time.Time `json:"stored_at"`
	Age        float64   `json:"age_seconds"`
	Left       *float64  `json:"left_seconds"` // nil if it has no expiry
	Cost       float64   `json:"cost_seconds"`
	Size       int       `json:"size_bytes"`
	ID         string    `json:"id"`
	Codec      string    `json:"codec"`
	Compressed bool      `json:"compressed"`
	Sealed     bool      `json:"sealed"`
	Expired    bool      `json:"expired"`
	Freshness  *float64  `json:"freshness_seconds,omitempty"`
	Timeout    *float64  `json:"timeout_seconds,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	ByTags     string    `json:"by_tags,omitempty"`
	Lease      *lease    `json:"lease,omitempty"`
	Error      string    `json:"error,omitempty"` // of Options.CacheErrors
	Value      any       `json:"value,omitempty"`
	Hidden     string    `json:"hidden,omitempty"` // why the value is not shown
}

// Run shows an entry.
func (g getCommand) Run(ctx context.Context, a *app) error {
	entry, function, err := a.operator.Split(g.Key)
	if err != nil {
		return a.noKey(g.Key, err)
	}
	stored, err := a.operator.Read(ctx, entry)
	if err != nil {
		return err
	}
	held, err := a.leaseOn(ctx, entry)
	if err != nil {
		return err
	}
	switch {
	case stored == nil && held != nil:
		return fmt.Errorf("%w: there is no entry yet; its lease is %s", errNotFound, held)
	case stored == nil:
		return fmt.Errorf("%w: there is no entry under this key", errNotFound)
	}
	s, err := a.describe(ctx, entry, stored)
	if err != nil {
		return err
	}
	s.Function = function
	if s.Lease = held; held != nil {
		held.Function = function
	}
	return a.showEntry(s)
}

// describe returns what is known about an entry.
func (a *app) describe(ctx context.Context, key string, e *operate.Entry) (*shown, error) {
	now, err := a.operator.Now(ctx)
	if err != nil {
		now = time.Now()
	}
	limited, end := a.limited(ctx)
	defer end()
	left, err := a.client.PTTL(limited, key).Result()
	if err != nil {
		return nil, err
	}
	s := &shown{
		Key: key, StoredAt: e.StoredAt, Age: seconds(now.Sub(e.StoredAt)), Cost: seconds(e.Cost), Size: e.Size, ID: e.ID,
		Codec: string(e.Codec), Compressed: e.Compressed, Sealed: e.Sealed, Expired: e.Expired, Tags: e.Tags, ByTags: e.Verdict, Hidden: e.Hidden,
	}
	if left >= 0 {
		s.Left = ptr(seconds(left))
	}
	if e.Lifetime != nil {
		s.Freshness, s.Timeout = ptr(seconds(e.Lifetime.Freshness)), ptr(seconds(e.Lifetime.Timeout))
	}
	switch {
	case e.Hidden != "" && e.Sealed:
		s.Hidden += "; set SEAL_KEYS to the keys of Config.Seal"
	case e.Hidden != "":
	case e.Negative:
		s.Error = string(e.Body)
	default:
		if s.Value, err = operate.Value(e); err != nil {
			s.Hidden = err.Error()
		}
	}
	return s, nil
}

func ptr[T any](v T) *T { return &v }

// showEntry prints an entry: a row for each fact, and the value as JSON.
func (a *app) showEntry(s *shown) error {
	if a.flags.Format == "json" {
		return a.showJSON(s, "  ")
	}
	left, flags := "no expiry", []string{}
	if s.Left != nil {
		left = span(*s.Left)
	}
	for _, flag := range []struct {
		set  bool
		name string
	}{{s.Compressed, "compressed"}, {s.Sealed, "sealed"}, {s.Expired, "expired"}, {s.Error != "", "negative"}} {
		if flag.set {
			flags = append(flags, flag.name)
		}
	}
	rows := [][]string{
		{"key", s.Key},
		{"function", s.Function},
		{"stored", s.StoredAt.Format(time.RFC3339Nano) + ", " + span(s.Age) + " ago"},
		{"expires", "in " + left},
		{"cost", span(s.Cost)},
		{"size", fmt.Sprintf("%d bytes, %s", s.Size, strings.Join(append([]string{s.Codec}, flags...), ", "))},
	}
	if s.Left == nil {
		rows[3][1] = left
	}
	if s.Freshness != nil {
		rows = append(rows, []string{"lifetime", fmt.Sprintf("fresh for %s, served for %s", span(*s.Freshness), span(*s.Timeout))})
	}
	if s.ByTags != "" {
		rows = append(rows, []string{"tags", s.ByTags + ": " + strings.Join(s.Tags, " ")})
	}
	if s.Lease != nil {
		rows = append(rows, []string{"lease", s.Lease.String()})
	}
	switch {
	case s.Hidden != "":
		rows = append(rows, []string{"hidden", s.Hidden})
	case s.Error != "":
		rows = append(rows, []string{"error", s.Error})
	}
	if err := table(a.out, nil, rows); err != nil || s.Hidden != "" || s.Error != "" {
		return err
	}
	return a.showJSON(s.Value, "  ")
}

// noKey returns the error about a text that is not the key of an entry.
func (a *app) noKey(key string, err error) error {
	text := fmt.Sprintf("%s: %v", clean(key), err)
	if namespace, _, ok := strings.Cut(key, ":{"); ok && namespace != a.flags.Namespace {
		text += fmt.Sprintf("; this one has the namespace %s, and --namespace is %s", clean(namespace), a.flags.Namespace)
	}
	return usageError{text}
}

// span returns a number of seconds in a form for tables.
func span(s float64) string { return short(time.Duration(s * float64(time.Second))) }

// An overtaking has the arguments of expire and invalidate.
type overtaking struct {
	Key string   `arg:"" optional:"" help:"Redis key of the entry."`
	Tag []string `help:"A tag; give it again for more." placeholder:"TAG" sep:"none"`
}

type (
	expireCommand     struct{ overtaking }
	invalidateCommand struct{ overtaking }
)

// Run makes entries stale.
func (e expireCommand) Run(ctx context.Context, a *app) error {
	return e.run(ctx, a, "expired", true, a.cache.ExpireTags)
}

// Run invalidates entries.
func (i invalidateCommand) Run(ctx context.Context, a *app) error {
	return i.run(ctx, a, "invalidated", false, a.cache.InvalidateTags)
}

func (o overtaking) run(ctx context.Context, a *app, done string, soft bool, byTags func(context.Context, ...string) error) error {
	switch {
	case (o.Key == "") == (len(o.Tag) == 0):
		return usageError{"give either a KEY or --tag"}
	case slices.Contains(o.Tag, ""):
		return usageError{"--tag is empty: is a variable of the shell not set?"}
	}
	what := map[string]any{"done": done}
	if len(o.Tag) > 0 {
		if err := byTags(ctx, o.Tag...); err != nil {
			return err
		}
		what["tags"] = o.Tag
		return a.show(what, nil, [][]string{{fmt.Sprintf("%s all entries with a tag of %q", done, o.Tag)}})
	}
	keys, err := a.operator.Overtake(ctx, o.Key, soft)
	switch {
	case errors.Is(err, operate.ErrNoKey):
		return a.noKey(o.Key, err)
	case err != nil:
		return err
	}
	what["keys"] = keys
	rows := [][]string{}
	for _, key := range keys {
		rows = append(rows, []string{done, key})
	}
	return a.show(what, nil, rows)
}

type clearCommand struct {
	Function string `arg:"" help:"Name of the function, as functions lists it."`
	Yes      bool   `short:"y" help:"Do not ask."`
}

// Run clears a function.
func (c clearCommand) Run(ctx context.Context, a *app) error {
	records, err := a.operator.Releases(ctx, c.Function)
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := a.confirm(ctx, c.Function, len(records)); err != nil {
			return err
		}
	}
	var so atomic.Int64
	steps := make(chan struct{}, 1)
	shown := make(chan struct{})
	go func() { // progress is called from several goroutines
		defer close(shown)
		progress := a.meter()
		defer progress.end()
		for range steps {
			progress.step("%d entries deleted", so.Load())
		}
	}()
	removed, err := a.operator.Clear(ctx, c.Function, func(n int) {
		so.Add(int64(n))
		select {
		case steps <- struct{}{}:
		default:
		}
	})
	close(steps)
	<-shown
	switch {
	case err != nil:
		return fmt.Errorf("%w; %d entries were deleted, others may still be served: clear again", explained(err), removed)
	case len(records) == 0 && removed == 0:
		return fmt.Errorf("%w: no process has registered a function %s, and it has no entries; `fncache functions` lists the names", errNotFound, c.Function)
	}
	tagged := slices.ContainsFunc(records, func(r releases.Record) bool { return r.Tagged })
	text := fmt.Sprintf("cleared %s: %d entries deleted", c.Function, removed)
	if tagged {
		text += ", and those with tags are invalid"
	}
	return a.show(map[string]any{"cleared": c.Function, "removed": removed, "tagged": tagged}, nil, [][]string{{text}})
}

// confirm asks on the terminal.
func (a *app) confirm(ctx context.Context, function string, known int) error {
	if !a.asks {
		return usageError{"clear asks before it begins, but the input is not a terminal; give --yes"}
	}
	releases := "1 registered release"
	if known != 1 {
		releases = fmt.Sprintf("%d registered releases", known)
	}
	fmt.Fprintf(a.err, "Invalidate all entries of %s (%s) for the whole fleet? [y/N] ", clean(function), releases)
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return nil
		}
		return errors.New("nothing was changed")
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return errInterrupted
	}
}
