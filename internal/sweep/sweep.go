// Package sweep deletes all entries of one function, and the leases on them, by looking at
// every key of every primary.
//
// # What a pass does
//
// A pass notes which primary has which slots, scans all primaries twice, deletes what it
// finds, and looks at the slots again. An entry and the lease on it are deleted in one step,
// whichever of the two was found. SCAN finds each key that is there from its beginning to its
// end. Of a computation that holds its lease when the pass begins:
//
//  1. The first scan finds the lock, unless the lock was deleted meanwhile: by a store, in one
//     step with the writing of the entry.
//  2. Then the entry is there before the second scan begins. That scan finds it.
//
// The same holds where the key moves to another primary once, between the two scans of a
// moment. So nothing that was stored or begun before the pass is left, unless the key moves and
// is stored in the same pass. Slots that another primary has at the end of the pass begin
// it again, and so do a redirect, a broken connection and every other error: a cursor of SCAN
// says nothing to another server.
//
// Each primary has one connection for the whole pass, taken from the client's pool. It is
// never replaced in silence, so all answers of a pass are of the same servers.
package sweep

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/remote"
)

//go:embed sweep.lua
var sweepLua string

var script = redis.NewScript(sweepLua)

const (
	// scans is how often a pass looks at every key.
	scans = 2
	// again is how often the pass is begun again, after pauses that double.
	again      = 3
	firstPause = 100 * time.Millisecond

	// A server is asked about so many keys at once, and to delete so many entries at once. Then
	// it is left alone for as long as it took, and mostRest at most.
	scanCount = 1000
	batch     = 100
	mostRest  = 10 * time.Millisecond

	allSlots = 16384
)

// A Config says what is swept. All fields but Told are required.
type Config struct {
	Client redis.UniversalClient
	// Prefix is what all keys begin with that are looked for.
	Prefix string
	// Entry returns the key of the entry that a key is, or is the lock of. ok is false if it is
	// neither, or of another function.
	Entry func(key string) (entry string, ok bool)
	// Lock is what the key of the lock of an entry ends in, after the key of the entry.
	Lock string
	// Probe is a key that no entry has. It shows whether a server is a primary.
	Probe string
	// Limit is how long an answer may take.
	Limit time.Duration
	// Spawn starts a goroutine, which may wait within the client.
	Spawn func(func())
	// Told is called after each step with how many entries it has deleted, for all primaries at
	// the same time. It may be nil.
	Told func(removed int)
}

// Sweep deletes the entries and leases that are there when it begins, and returns how many
// entries it has deleted, also where it fails. The error is the end of ctx, or what kept the
// last pass from its end.
func Sweep(ctx context.Context, c Config) (removed int, err error) {
	pause := firstPause
	for pass := 0; ; pass++ {
		n, err := c.pass(ctx)
		removed += n
		switch {
		case err == nil:
			return removed, nil
		case ctx.Err() != nil:
			return removed, ctx.Err()
		case pass == again || hopeless(err):
			return removed, err
		}
		if err := rest(ctx, pause); err != nil {
			return removed, err
		}
		pause *= 2
	}
}

// hopeless reports whether another pass would fail as well.
func hopeless(err error) bool {
	kind := remote.KindOf(err)
	return kind == remote.KindNoPerm || kind == remote.KindAuth || kind == remote.KindClosed
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A primary is one of the servers of a pass.
type primary struct {
	addr string // "" if it is not known
	redis.Cmdable
	close func() error
	asked sync.WaitGroup // what is under way
}

// release gives the connection back. go-redis has none closed that is in use.
func (p *primary) release() {
	p.asked.Wait()
	_ = p.close()
}

func (c *Config) pass(ctx context.Context) (removed int, err error) {
	all, err := c.primaries(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, p := range all {
			c.Spawn(p.release)
		}
	}()
	before, err := c.layout(ctx, all)
	if err != nil {
		return 0, err
	}
	for range scans {
		n, err := c.scanAll(ctx, all)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	after, err := c.layout(ctx, all)
	if err == nil && before != after {
		err = errMoved
	}
	return removed, err
}

var (
	errMoved = errors.New("slots of the Cluster moved from one node to another meanwhile; try again when they have settled")
	errLate  = fmt.Errorf("no answer in time: %w", os.ErrDeadlineExceeded)
)

// primaries returns those that there are now, each with a connection of its own.
func (c *Config) primaries(ctx context.Context) ([]*primary, error) {
	cluster, clustered := c.Client.(*redis.ClusterClient)
	if !clustered {
		return []*primary{connect(c.Client)}, nil
	}
	return do(ctx, c, new(primary), func(ctx context.Context) (all []*primary, err error) {
		var mu sync.Mutex
		err = cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, connect(node))
			return nil
		})
		return all, err
	})
}

// connect returns a primary on a client. A client of a kind of its own has no connections to
// give, and is used as it is.
func connect(client redis.Cmdable) *primary {
	p := &primary{Cmdable: client, close: func() error { return nil }}
	if single, ok := client.(*redis.Client); ok {
		conn := single.Conn() // it is made by its first command
		p.Cmdable, p.close, p.addr = conn, conn.Close, single.Options().Addr
	}
	return p
}

// layout returns a text that says which primary has which slots, and finds out whether
// each is one and knows the script.
func (c *Config) layout(ctx context.Context, all []*primary) (string, error) {
	cluster, clustered := c.Client.(*redis.ClusterClient)
	var layout string
	for i, p := range all {
		keys := []string{}
		if !clustered {
			keys = []string{c.Probe, c.Probe + c.Lock} // to delete is what a replica refuses
		}
		_, err := do(ctx, c, p, func(ctx context.Context) (any, error) { return script.Eval(ctx, p, keys).Result() })
		if err != nil {
			return "", p.explain("delete", err)
		}
		if !clustered {
			return "", nil
		}
		slots, err := do(ctx, c, p, func(ctx context.Context) ([]redis.ClusterSlot, error) {
			if known := cluster.Options().ClusterSlots; known != nil { // the servers may not know
				return known(ctx)
			}
			return p.ClusterSlots(ctx).Result()
		})
		if err != nil {
			return "", p.explain("cluster slots", err)
		}
		own, err := layoutOf(slots, len(all))
		switch {
		case err != nil:
			return "", p.explain("cluster slots", err)
		case i > 0 && own != layout: // one has not heard yet
			return "", errMoved
		}
		layout = own
	}
	return layout, nil
}

// layoutOf writes down who has which slots. The error says that a slot has no primary, or that
// the primaries are not as many as the client knows.
func layoutOf(slots []redis.ClusterSlot, primaries int) (string, error) {
	slices.SortFunc(slots, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	var text strings.Builder
	known, covered := make(map[string]bool), 0
	for _, s := range slots {
		if len(s.Nodes) == 0 {
			continue
		}
		covered += s.End - s.Start + 1
		id := cmp.Or(s.Nodes[0].ID, s.Nodes[0].Addr)
		known[id] = true
		fmt.Fprintf(&text, "%d-%d %s\n", s.Start, s.End, id)
	}
	switch {
	case covered < allSlots:
		return "", fmt.Errorf("only %d of %d slots have a primary", covered, allSlots)
	case len(known) != primaries:
		return "", errMoved
	}
	return text.String(), nil
}

// scanAll scans all primaries at the same time.
func (c *Config) scanAll(ctx context.Context, all []*primary) (removed int, err error) {
	counts, errs := make([]int, len(all)), make([]error, len(all))
	var done sync.WaitGroup
	for i, p := range all {
		done.Add(1)
		c.Spawn(func() {
			defer done.Done()
			counts[i], errs[i] = c.scan(ctx, p)
		})
	}
	done.Wait() // each answer has its limit
	for _, n := range counts {
		removed += n
	}
	return removed, cmp.Or(errs...)
}

// globbed writes a text as a pattern of SCAN that matches it.
var globbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

// A page is one answer of SCAN.
type page struct {
	keys   []string
	cursor uint64
}

// scan deletes what it finds on a primary.
func (c *Config) scan(ctx context.Context, p *primary) (removed int, err error) {
	pattern := globbed.Replace(c.Prefix) + "*"
	for cursor := uint64(0); ; {
		began := time.Now()
		found, err := do(ctx, c, p, func(ctx context.Context) (found page, err error) {
			found.keys, found.cursor, err = p.Scan(ctx, cursor, pattern, scanCount).Result()
			return found, err
		})
		if err != nil {
			return removed, p.explain("scan", err)
		}
		n, err := c.removeAll(ctx, p, c.entriesOf(found.keys))
		removed += n
		if c.Told != nil {
			c.Told(n)
		}
		if err != nil {
			return removed, err
		}
		if cursor = found.cursor; cursor == 0 {
			return removed, nil
		}
		if err := rest(ctx, min(time.Since(began), mostRest)); err != nil {
			return removed, err
		}
	}
}

// entriesOf returns the entries that keys are, or are locks of, each once.
func (c *Config) entriesOf(keys []string) (entries []string) {
	for _, key := range keys {
		if entry, ok := c.Entry(key); ok {
			entries = append(entries, entry)
		}
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}

// removeAll deletes entries and their locks, some at a time.
func (c *Config) removeAll(ctx context.Context, p *primary, entries []string) (removed int, err error) {
	for some := range slices.Chunk(entries, batch) {
		n, err := do(ctx, c, p, func(ctx context.Context) (int, error) { return c.remove(ctx, p, some) })
		removed += n
		if err != nil {
			return removed, p.explain("delete", err)
		}
	}
	return removed, nil
}

// remove deletes entries and their locks, in one pipeline.
func (c *Config) remove(ctx context.Context, p *primary, entries []string) (removed int, err error) {
	pipe := p.Pipeline()
	answers := make([]*redis.Cmd, len(entries))
	for i, entry := range entries {
		answers[i] = script.EvalSha(ctx, pipe, []string{entry, entry + c.Lock})
	}
	_, err = pipe.Exec(ctx)
	for _, answer := range answers {
		n, _ := answer.Int() // err has what went wrong
		removed += n
	}
	return removed, err
}

// explain says where something failed.
func (p *primary) explain(what string, err error) error {
	if p.addr != "" {
		what += " on " + p.addr
	}
	return fmt.Errorf("%s: %w", what, err)
}

// do asks a server something, on a goroutine of its own: an end of ctx does not interrupt
// go-redis. The answer of one that is not waited for any longer is dropped.
func do[T any](ctx context.Context, c *Config, p *primary, ask func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	limited, end := context.WithTimeoutCause(ctx, c.Limit, errLate)
	defer end()
	answers := make(chan answer, 1)
	p.asked.Add(1)
	c.Spawn(func() {
		defer p.asked.Done()
		value, err := ask(limited)
		answers <- answer{value, err}
	})
	select {
	case a := <-answers:
		return a.value, a.err
	case <-limited.Done():
		var none T
		return none, context.Cause(limited)
	}
}
