package fncache

import (
	"reflect"
	"sync"
)

// names are the wrapped functions of this process.
var names registry

// A registry knows wrapped functions by prefix and name, so that two different
// ones never share entries. A function is in it for each cache that it uses;
// one of the default cache is so from its first call on, and beside it, as that
// cache may not exist yet when it is wrapped, for the cache nil.
type registry struct {
	mu sync.Mutex // guards the field below
	m  map[entryName][]named
}

// An entryName is what entries are shared under.
type entryName struct {
	space keyspace
	name  string // of the function, with its prefix
}

// A keyspace is where a cache keeps its entries: two with equal ones read each
// other's. It is zero for the cache nil.
type keyspace struct {
	client    any // a redis.UniversalClient, or what stands for it
	namespace string
	codec     string
	keys      [2][2]uint64 // of the hashes of arguments
}

func newKeyspace(c *Cache) keyspace {
	s := keyspace{c.cfg.Redis, c.cfg.Namespace, c.coder.mark, c.hashing.keys}
	if !reflect.ValueOf(s.client).Comparable() {
		s.client = c // nobody can say which clients are the same
	}
	return s
}

// A named is a function with the cache that it uses, nil for the default one.
type named struct {
	fn    *Func
	cache *Cache
}

func (m named) entryName() entryName {
	n := entryName{name: m.fn.Name()}
	if m.cache != nil {
		n.space = m.cache.space
	}
	return n
}

// add takes f in, or says why its name is another function's. A closed cache has
// nobody here: its functions share nothing any more.
func (r *registry) add(f *Func, c *Cache) error {
	mine := named{f, c}
	name := mine.entryName()
	r.mu.Lock()
	defer r.mu.Unlock()
	if c != nil && c.closed() {
		return nil
	}
	for _, other := range r.m[name] {
		if other == mine {
			return nil
		}
		if other.fn == f {
			continue
		}
		if err := f.conflict(other.fn); err != nil {
			return err
		}
	}
	if r.m == nil {
		r.m = make(map[entryName][]named)
	}
	r.m[name] = append(r.m[name], mine)
	return nil
}

// remove frees the name that f has for the cache c.
func (r *registry) remove(f *Func, c *Cache) {
	mine := named{f, c}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(mine.entryName(), func(m named) bool { return m == mine })
}

// forget frees the names of all functions of a cache that is closed.
func (r *registry) forget(c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.m {
		if name.space == c.space {
			r.drop(name, func(m named) bool { return m.cache == c })
		}
	}
}

// drop takes out those of which gone says so.
func (r *registry) drop(name entryName, gone func(named) bool) {
	// A copy: peers hands its slices out.
	var rest []named
	for _, m := range r.m[name] {
		if !gone(m) {
			rest = append(rest, m)
		}
	}
	if len(rest) == 0 {
		delete(r.m, name)
		return
	}
	r.m[name] = rest
}

// peers gives all functions that share entries with f on the cache c, and the
// caches by which they do.
func (r *registry) peers(f *Func, c *Cache) []named {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[named{f, c}.entryName()]
}
