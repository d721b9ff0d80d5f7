// Package sweep deletes all entries of one function, and the leases on them, by looking at
// every key of every primary.
//
// # What a pass does
//
// A pass notes which primary has which slots, scans all primaries twice, deletes what it finds, and
// looks at the slots again. An entry and its lease are deleted in one step, even if a scan finds
// only one of the two. SCAN returns each key that exists from the beginning of the scan to its end.
// Take a computation that holds its lease when the pass begins:
//
//  1. The first scan finds the lock, unless a store deleted it meanwhile. A store writes the entry
//     and deletes the lock in one step.
//  2. In that case the entry exists before the second scan begins, and that scan finds it.
//
// The same holds if the key moves once from one primary to another while both are scanned. So
// everything is deleted that was stored or begun before the pass, unless the key both moves and is
// stored in the same pass. The pass begins again if slots have another primary at its end. It also
// begins again after a redirect, a broken connection, or any other error that may be temporary,
// because a cursor of SCAN is only valid on the server that returned it.
//
// Each primary has one connection for the whole pass, taken from the client's pool. The client
// never replaces it silently, so all answers of a pass come from the same servers.
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
	// scans is how many times a pass scans every key.
	scans = 2
	// again is how many times the pass is begun again at most, after pauses that double.
	again      = 3
	firstPause = 100 * time.Millisecond

	// scanCount is how many keys one SCAN looks at, and batch is how many entries one pipeline
	// deletes. After each page the server is left alone for as long as the page took, at most
	// mostRest.
	scanCount = 1000
	batch     = 100
	mostRest  = 10 * time.Millisecond

	allSlots = 16384
)

// A Config says what is swept. All fields but Progress are required.
type Config struct {
	Client redis.UniversalClient
	// All keys that are looked for begin with Prefix.
	Prefix string
	// Entry returns the entry's key for the key of an entry or of its lock. ok is false for other
	// keys, also those of another function.
	Entry func(key string) (entry string, ok bool)
	// Lock is the suffix of the key of a lock. The key of the entry comes before it.
	Lock string
	// Probe is a key that no entry has. It shows whether a server is a primary.
	Probe string
	// Limit is how long an answer may take.
	Limit time.Duration
	// Spawn starts a goroutine, which may wait within the client.
	Spawn func(func())
	// Progress is called after each page with how many entries were deleted. The calls for different
	// primaries are concurrent. It may be nil.
	Progress func(removed int)
}

// Sweep deletes the entries and leases that exist when it begins. It returns how many entries it
// has deleted, also after an error. The error is that of ctx, or the error of the last pass.
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

// hopeless reports whether another pass would fail too.
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

// A primary is a server of a pass.
type primary struct {
	addr string // "" if not known
	redis.Cmdable
	close func() error
	asked sync.WaitGroup // the requests under way
}

// release returns the connection to the pool after the requests under way, because go-redis does
// not close a connection that is in use.
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

// primaries returns the present primaries, each with a connection of its own.
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

// connect returns a primary for a client. A client of another kind than *redis.Client has no
// connections to give, and is used itself.
func connect(client redis.Cmdable) *primary {
	p := &primary{Cmdable: client, close: func() error { return nil }}
	if single, ok := client.(*redis.Client); ok {
		conn := single.Conn() // the first command connects
		p.Cmdable, p.close, p.addr = conn, conn.Close, single.Options().Addr
	}
	return p
}

// layout loads the script on each primary, and returns a text that says which primary has which
// slots. Without a Cluster the text is empty, and a replica is an error.
func (c *Config) layout(ctx context.Context, all []*primary) (string, error) {
	cluster, clustered := c.Client.(*redis.ClusterClient)
	var layout string
	for i, p := range all {
		keys := []string{}
		if !clustered {
			keys = []string{c.Probe, c.Probe + c.Lock} // a replica refuses to delete
		}
		_, err := do(ctx, c, p, func(ctx context.Context) (any, error) { return script.Eval(ctx, p, keys).Result() })
		if err != nil {
			return "", p.explain("delete", err)
		}
		if !clustered {
			return "", nil
		}
		slots, err := do(ctx, c, p, func(ctx context.Context) ([]redis.ClusterSlot, error) {
			if known := cluster.Options().ClusterSlots; known != nil { // then the servers may not know their slots
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
		case i > 0 && own != layout: // not all servers know of a change yet
			return "", errMoved
		}
		layout = own
	}
	return layout, nil
}

// layoutOf describes which primary has which slots. It returns an error if a slot has no primary,
// or if the number of primaries differs from what the client knows.
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
		return "", fmt.Errorf("only %d of %d slots have a primary; bring the nodes of the others back, and try again", covered, allSlots)
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
	done.Wait() // each request has a limit
	for _, n := range counts {
		removed += n
	}
	return removed, cmp.Or(errs...)
}

// globbed escapes a text for the pattern of SCAN.
var globbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

// A page is one answer of SCAN.
type page struct {
	keys   []string
	cursor uint64
}

// scan deletes the entries and locks that it finds on a primary.
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
		if c.Progress != nil {
			c.Progress(n)
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

// entriesOf returns the entries of keys, which are entries and locks. Each entry is returned once.
func (c *Config) entriesOf(keys []string) (entries []string) {
	for _, key := range keys {
		if entry, ok := c.Entry(key); ok {
			entries = append(entries, entry)
		}
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}

// removeAll deletes entries and their locks in several pipelines.
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

// remove deletes entries and their locks in one pipeline.
func (c *Config) remove(ctx context.Context, p *primary, entries []string) (removed int, err error) {
	pipe := p.Pipeline()
	answers := make([]*redis.Cmd, len(entries))
	for i, entry := range entries {
		answers[i] = script.EvalSha(ctx, pipe, []string{entry, entry + c.Lock})
	}
	_, err = pipe.Exec(ctx)
	for _, answer := range answers {
		n, _ := answer.Int() // err says what went wrong
		removed += n
	}
	return removed, err
}

// explain adds the operation and the server to an error.
func (p *primary) explain(what string, err error) error {
	if p.addr != "" {
		what += " on " + p.addr
	}
	return fmt.Errorf("%s: %w", what, err)
}

// do runs a request on a goroutine of its own, because the end of ctx does not interrupt go-redis.
// The answer to a request that has lasted too long is dropped.
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
